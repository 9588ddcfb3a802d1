//! Which event does what. Discord docs, Gateway Events; one function an event in the modules beside this one.

use trunkline_discord::EventKind;
use trunkline_etf::Value;

use crate::Change;
use crate::cache::Cache;
use crate::key::{Key, Kind};
use crate::stored::Stored;

impl Cache {
    /// Takes one event's effect, in the order in which Discord sent them.
    ///
    /// Never fails: a payload without what its kind must have changes nothing, and [`Change::malformed`] says so.
    pub fn apply(&mut self, kind: EventKind, d: Value<'_>) -> Change {
        use EventKind as K;
        let change = match kind {
            K::Ready => self.own_user(d.get("user")),
            K::UserUpdate => self.own_user(Some(d)),
            K::GuildCreate => self.guild_create(d),
            K::GuildUpdate => self.guild_update(d),
            K::GuildDelete => self.guild_delete(d),
            K::GuildRoleCreate => self.role_upsert(d, false),
            K::GuildRoleUpdate => self.role_upsert(d, true),
            K::GuildRoleDelete => self.role_delete(d),
            K::GuildEmojisUpdate => self.emojis_update(d),
            K::GuildStickersUpdate => self.stickers_update(d),
            K::GuildMemberAdd => self.member_add(d),
            K::GuildMemberUpdate => self.member_update(d),
            K::GuildMemberRemove => self.member_remove(d),
            K::GuildMembersChunk => self.members_chunk(d),
            K::PresenceUpdate => self.presence_update(d),
            K::VoiceStateUpdate => self.voice_state_update(d),
            K::ChannelCreate => self.channel_upsert(d, false),
            K::ChannelUpdate => self.channel_upsert(d, true),
            K::ChannelDelete => self.channel_delete(d),
            K::ChannelPinsUpdate => self.channel_pins(d),
            K::ThreadCreate | K::ThreadUpdate => self.thread_upsert(d),
            K::ThreadDelete => self.thread_delete(d),
            K::ThreadListSync => self.thread_list_sync(d),
            K::ThreadMemberUpdate => self.thread_member(d),
            K::ThreadMembersUpdate => self.thread_members(d),
            _ => return Change::NONE,
        };
        change.unwrap_or(Change::MALFORMED)
    }

    fn own_user(&mut self, user: Option<Value<'_>>) -> Option<Change> {
        let user = user?;
        user.get("id")?.as_id()?;
        self.put(Key::of_guild(Kind::OwnUser, 0), Some(Stored::copy_of(user)));
        Some(Change::NONE)
    }
}

/// An id under a key.
pub(crate) fn id(d: Value<'_>, key: &str) -> Option<u64> {
    d.get(key)?.as_id()
}

/// The id of the user in a member, presence or event.
pub(crate) fn user_id(d: Value<'_>) -> Option<u64> {
    id(d.get("user")?, "id")
}

/// A list under a key; nothing where it is absent or null.
pub(crate) fn items<'a>(d: Value<'a>, key: &str) -> impl Iterator<Item = Value<'a>> {
    d.get(key).into_iter().flat_map(Value::items)
}

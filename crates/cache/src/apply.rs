//! Which event does what. Discord docs, Gateway Events; the effects are in the modules beside this one, by subject.
//!
//! Events without a line change nothing: RESUMED, RATE_LIMITED, VOICE_SERVER_UPDATE (credentials that are never kept), VOICE_CHANNEL_EFFECT_SEND,
//! GUILD_AUDIT_LOG_ENTRY_CREATE, AUTO_MODERATION_ACTION_EXECUTION; TYPING_START and INTERACTION_CREATE, whose members and users other events
//! tell as well; and WEBHOOKS_UPDATE and APPLICATION_COMMAND_PERMISSIONS_UPDATE, since neither webhooks nor permissions are kept.

use bytes::Bytes;
use trunkline_discord::message::Step;
use trunkline_discord::{EventKind, Fields, Routing, routing};
use trunkline_etf::Value;

use crate::Change;
use crate::cache::Cache;
use crate::key::{Key, Kind};

impl Cache {
    /// Takes one event's effect, in the order in which Discord sent them. `body` is `d`'s own bytes: messages and presences that are kept share
    /// them, so they should own no more than `d`.
    ///
    /// Never fails: a payload without what its kind must have changes nothing, and [`Change::malformed`] says so.
    pub fn apply(&mut self, kind: EventKind, d: Value<'_>, body: &Bytes) -> Change {
        if looked_at(kind) {
            let ids = routing(kind, d);
            self.expect(kind, ids);
            self.apply_found(kind, d, &Fields::of(d), ids, body)
        } else {
            self.apply_found(kind, d, &Fields::new(d.encoding()), Routing::default(), body)
        }
    }

    /// Asks for the memory that an event's ids lead to first: its guild's tables, its user, its channel's messages. A hint, to be given before
    /// [`Cache::apply_found`] as soon as the ids are known: what else there is to do with the event is then done while the memory comes.
    #[inline]
    pub fn expect(&self, kind: EventKind, ids: Routing) {
        if !looked_at(kind) {
            return;
        }
        use EventKind as K;
        if let Some(channel) = ids.channel_id.filter(|_| !matches!(kind, K::VoiceStateUpdate)) {
            self.messages.ask_for(channel);
        }
        let Some(guild) = ids.guild_id.and_then(|guild| self.guilds.get(guild)) else { return };
        let ask = |kind, id| guild.tables.get(kind).into_iter().for_each(|table| table.ask_for(id));
        match (kind, ids.user_id) {
            // A presence's user has mostly nothing but its id, and then neither the member nor the user is looked at.
            (K::PresenceUpdate, Some(user)) => return ask(Kind::Presence, user),
            (K::VoiceStateUpdate, Some(user)) => ask(Kind::VoiceState, user),
            (K::MessageReactionAdd | K::MessageReactionRemove, _) => {}
            _ => ids.channel_id.into_iter().for_each(|channel| ask(Kind::Channel, channel)),
        }
        if let Some(user) = ids.user_id {
            ask(Kind::Member, user);
            self.tenant.users.ask_for(user);
        }
    }

    /// Asks for what lies behind what [`Cache::expect`] asked for: the objects themselves. A hint again, for whoever has something else to do
    /// between the two and behind this: where the tables have not come yet, they are waited for.
    #[inline]
    pub fn expect_objects(&self, kind: EventKind, ids: Routing) {
        use EventKind as K;
        let Some(guild) = ids.guild_id else { return };
        match (kind, ids.channel_id, ids.user_id) {
            (K::MessageCreate, Some(channel), _) => self.expect_channel(guild, channel),
            (K::GuildMemberAdd | K::GuildMemberUpdate | K::GuildMemberRemove, _, Some(user)) => self.expect_member(guild, user),
            (K::PresenceUpdate, _, Some(user)) => self.expect_object(Kind::Presence, guild, user),
            (K::VoiceStateUpdate, _, Some(user)) => self.expect_object(Kind::VoiceState, guild, user),
            _ => {}
        }
    }

    fn expect_object(&self, kind: Kind, guild: u64, id: u64) {
        if let Some(handle) = self.table(kind, guild).and_then(|table| table.likely(id)) {
            self.heap.ask_for(handle, 0);
        }
    }

    /// [`Cache::apply`] where decoding has found the fields of `d` and its ids already
    /// ([`Envelope::decode_fields`](trunkline_discord::Envelope::decode_fields)).
    pub fn apply_found(&mut self, kind: EventKind, d: Value<'_>, fields: &Fields<'_>, ids: Routing, body: &Bytes) -> Change {
        use EventKind as K;
        let change = match kind {
            K::Ready => self.own_user(d.get("user"), false),
            K::UserUpdate => self.own_user(Some(d), true),

            K::GuildCreate => self.guild_create(d),
            K::GuildUpdate => self.guild_update(d),
            K::GuildDelete => self.guild_delete(d),
            K::GuildRoleCreate => self.role_upsert(d, false),
            K::GuildRoleUpdate => self.role_upsert(d, true),
            K::GuildRoleDelete => self.role_delete(d),

            K::GuildMemberAdd => self.member_add(d, fields),
            K::GuildMemberUpdate => self.member_update(d, fields, ids),
            K::GuildMemberRemove => self.member_remove(fields),
            K::GuildMembersChunk => self.members_chunk(d),
            K::PresenceUpdate => self.presence_update(d, fields, ids, body),
            K::GuildBanAdd => self.ban(d, true),
            K::GuildBanRemove => self.ban(d, false),

            K::ChannelCreate => self.channel_upsert(d, fields, false),
            K::ChannelUpdate => self.channel_upsert(d, fields, true),
            K::ChannelDelete => self.channel_delete(d),
            K::ChannelPinsUpdate => self.channel_pins(d),
            K::ChannelInfo => self.channel_info(d),
            K::VoiceChannelStatusUpdate | K::VoiceChannelStartTimeUpdate => self.voice_channel(d),

            K::ThreadCreate => self.thread_create(d, fields),
            K::ThreadUpdate => self.thread_update(d, fields),
            K::ThreadDelete => self.thread_delete(d),
            K::ThreadListSync => self.thread_list_sync(d),
            K::ThreadMemberUpdate => self.thread_member(d),
            K::ThreadMembersUpdate => self.thread_members(d),

            K::MessageCreate => self.message_create(d, fields, ids, body),
            K::MessageUpdate => self.message_update(d, fields, ids, body),
            K::MessageDelete => self.message_delete(ids),
            K::MessageDeleteBulk => self.messages_delete(d),
            K::MessageReactionAdd => self.reaction(d, fields, ids, body, Step::Up),
            K::MessageReactionRemove => self.reaction(d, fields, ids, body, Step::Down),
            K::MessageReactionRemoveAll => self.reactions_clear(d, None),
            K::MessageReactionRemoveEmoji => d.get("emoji").and_then(|emoji| self.reactions_clear(d, Some(emoji))),
            K::MessagePollVoteAdd => self.vote(d, Step::Up),
            K::MessagePollVoteRemove => self.vote(d, Step::Down),

            K::VoiceStateUpdate => self.voice_state_update(d, fields, ids, body),
            K::StageInstanceCreate => self.upsert(Kind::StageInstance, d),
            K::StageInstanceUpdate => self.update(Kind::StageInstance, d),
            K::StageInstanceDelete => self.delete(Kind::StageInstance, d),

            K::GuildEmojisUpdate => self.list_update(Kind::Emojis, d, "emojis"),
            K::GuildStickersUpdate => self.list_update(Kind::Stickers, d, "stickers"),
            K::GuildSoundboardSoundCreate => self.sound(d, false),
            K::GuildSoundboardSoundUpdate => self.sound(d, true),
            K::GuildSoundboardSoundDelete => self.delete(Kind::Sound, d),
            K::GuildSoundboardSoundsUpdate => self.sounds_update(d),
            K::SoundboardSounds => self.sounds(d),

            K::GuildScheduledEventCreate => self.upsert(Kind::ScheduledEvent, d),
            K::GuildScheduledEventUpdate => self.update(Kind::ScheduledEvent, d),
            K::GuildScheduledEventDelete => self.delete(Kind::ScheduledEvent, d),
            K::GuildScheduledEventUserAdd => self.interested(d, 1),
            K::GuildScheduledEventUserRemove => self.interested(d, -1),
            K::AutoModerationRuleCreate => self.upsert(Kind::AutoModerationRule, d),
            K::AutoModerationRuleUpdate => self.update(Kind::AutoModerationRule, d),
            K::AutoModerationRuleDelete => self.delete(Kind::AutoModerationRule, d),
            K::IntegrationCreate | K::IntegrationUpdate => self.upsert(Kind::Integration, d),
            K::IntegrationDelete => self.delete(Kind::Integration, d).map(|_| Change::NONE),
            K::GuildIntegrationsUpdate => self.integrations_update(d),
            K::InviteCreate => self.invite(d, true),
            K::InviteDelete => self.invite(d, false),

            K::EntitlementCreate => self.upsert(Kind::Entitlement, d),
            K::EntitlementUpdate => self.update(Kind::Entitlement, d),
            K::EntitlementDelete => self.delete(Kind::Entitlement, d),
            K::SubscriptionCreate => self.upsert(Kind::Subscription, d),
            K::SubscriptionUpdate => self.update(Kind::Subscription, d),
            K::SubscriptionDelete => self.delete(Kind::Subscription, d),
            _ => return Change::NONE,
        };
        self.relieve(body.len());
        change.unwrap_or(Change::MALFORMED)
    }

    fn own_user(&mut self, user: Option<Value<'_>>, update: bool) -> Option<Change> {
        let user = user?;
        user.get("id")?.as_id()?;
        let key = Key::of_guild(Kind::OwnUser, 0);
        let previous = if update { self.before(key) } else { None };
        self.set(key, Some(user));
        self.learn_user(user);
        Some(Change::previous(previous))
    }
}

/// Whether [`Fields`] are looked at for an event of this kind: others may be megabytes.
fn looked_at(kind: EventKind) -> bool {
    use EventKind as K;
    matches!(
        kind,
        K::GuildMemberAdd
            | K::GuildMemberUpdate
            | K::GuildMemberRemove
            | K::ChannelCreate
            | K::ChannelUpdate
            | K::ThreadCreate
            | K::ThreadUpdate
            | K::MessageCreate
            | K::MessageUpdate
            | K::MessageDelete
            | K::MessageReactionAdd
            | K::MessageReactionRemove
            | K::VoiceStateUpdate
            | K::PresenceUpdate
    )
}

/// An id under a key.
pub(crate) fn id(d: Value<'_>, key: &str) -> Option<u64> {
    d.get(key)?.as_id()
}

/// The id of a user or another object.
#[inline]
pub(crate) fn own_id(d: Value<'_>) -> Option<u64> {
    // Unlike with `get`, what there is to know of the key is known when the program is built.
    let [id] = d.get_all(["id"]);
    id?.as_id()
}

/// The id of the user in a member, presence or event.
pub(crate) fn user_id(d: Value<'_>) -> Option<u64> {
    own_id(d.get("user")?)
}

/// A list under a key; nothing where it is absent or null.
pub(crate) fn items<'a>(d: Value<'a>, key: &str) -> impl Iterator<Item = Value<'a>> {
    d.get(key).into_iter().flat_map(Value::items)
}

/// The ids in a list.
pub(crate) fn ids(list: Value<'_>) -> Vec<u64> {
    list.items().filter_map(Value::as_id).collect()
}

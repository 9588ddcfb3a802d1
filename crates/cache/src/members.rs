//! Members, presences, voice states.

use trunkline_etf::Value;

use crate::Change;
use crate::apply::{id, items, user_id};
use crate::cache::{Cache, State};
use crate::guilds::{ids, offline};
use crate::key::{Key, Kind};
use crate::stored::{self, Stored};

impl Cache {
    /// Discord docs, Gateway Events: Guild Member Add. It may come for someone who is a member already.
    pub(crate) fn member_add(&mut self, d: Value<'_>) -> Option<Change> {
        let (guild, user) = (id(d, "guild_id")?, user_id(d)?);
        if self.put(Key::new(Kind::Member, guild, user), Some(Stored::copy_of(d))).is_none() {
            self.count_members(guild, 1);
        }
        Some(Change::NONE)
    }

    /// Discord docs, Gateway Events: Guild Member Update. It does not list all fields of a member: what it lacks stays.
    pub(crate) fn member_update(&mut self, d: Value<'_>) -> Option<Change> {
        let (guild, user) = (id(d, "guild_id")?, user_id(d)?);
        let Some(known) = self.guilds.get(&guild) else { return Some(Change::NONE) };
        let previous = (!known.doubtful()).then(|| known.member(user)).flatten();
        self.merge_member(guild, user, d)?;
        Some(Change::previous(previous.map(|member| member.object())))
    }

    pub(crate) fn member_remove(&mut self, d: Value<'_>) -> Option<Change> {
        let (guild, user) = (id(d, "guild_id")?, user_id(d)?);
        for kind in [Kind::Member, Kind::Presence, Kind::VoiceState] {
            self.put(Key::new(kind, guild, user), None);
        }
        self.count_members(guild, -1);
        Some(Change::NONE)
    }

    /// Discord docs, Gateway Events: Guild Members Chunk.
    pub(crate) fn members_chunk(&mut self, d: Value<'_>) -> Option<Change> {
        let guild = id(d, "guild_id")?;
        d.get("members")?;
        for member in items(d, "members") {
            if let Some(user) = user_id(member) {
                self.put(Key::new(Kind::Member, guild, user), Some(Stored::copy_of(member)));
            }
        }
        for presence in items(d, "presences") {
            if let Some(user) = user_id(presence) {
                self.set_presence(guild, user, presence);
            }
        }
        for user in ids(d, "not_found") {
            self.put(Key::new(Kind::Member, guild, user), None);
        }
        Some(Change::NONE)
    }

    /// Discord docs, Gateway Events: Presence Update. Of its user only the id is sure, so no member learns from it.
    pub(crate) fn presence_update(&mut self, d: Value<'_>) -> Option<Change> {
        let (guild, user) = (id(d, "guild_id")?, user_id(d)?);
        let previous = self.set_presence(guild, user, d);
        Some(Change::previous(self.told(guild, previous).map(|presence| presence.object())))
    }

    pub(crate) fn set_presence(&mut self, guild: u64, user: u64, presence: Value<'_>) -> Option<Stored> {
        let stored = (!offline(presence)).then(|| Stored::copy_of(presence));
        self.put(Key::new(Kind::Presence, guild, user), stored)
    }

    /// Discord docs, Gateway Events: Voice State Update. Without a channel the user has left.
    pub(crate) fn voice_state_update(&mut self, d: Value<'_>) -> Option<Change> {
        let user = id(d, "user_id")?;
        let Some(guild) = id(d, "guild_id") else { return Some(Change::NONE) };
        let stored = id(d, "channel_id").map(|_| Stored::copy_of(d));
        let previous = self.put(Key::new(Kind::VoiceState, guild, user), stored);
        if let Some(member) = d.get("member") {
            self.refresh_member(guild, user, member);
        }
        Some(Change::previous(self.told(guild, previous).map(|state| state.object())))
    }

    /// Takes a member that came inside another event, if it is a whole one. Guests in voice have no `joined_at`, and are no members.
    pub(crate) fn refresh_member(&mut self, guild: u64, user: u64, member: Value<'_>) {
        let joined = member.get("joined_at").is_some_and(|at| !at.is_null());
        if joined && user_id(member) == Some(user) {
            // One that cannot be written is left out; the event itself is fine.
            let _ = self.merge_member(guild, user, member);
        }
    }

    fn merge_member(&mut self, guild: u64, user: u64, member: Value<'_>) -> Option<()> {
        let Some(known) = self.guilds.get(&guild) else { return Some(()) };
        let stored = match known.members.get(&user) {
            Some(old) => stored::merged(Some(old.value()), Some(member), &[], None)?,
            None => Stored::copy_of(member),
        };
        self.put(Key::new(Kind::Member, guild, user), Some(stored));
        Some(())
    }

    fn count_members(&mut self, guild: u64, by: i64) {
        let Some(state) = self.guilds.get(&guild).map(|known| known.state) else { return };
        if let Some(count) = state.member_count {
            self.set_state(guild, State { member_count: Some(count.saturating_add(by).max(0)), ..state });
        }
    }
}

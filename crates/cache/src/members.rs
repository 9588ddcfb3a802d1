//! Members and users.

use trunkline_discord::message::merged_if;
use trunkline_discord::{Field, Fields, Routing};
use trunkline_etf::{Kind as TermKind, Value};

use crate::Change;
use crate::apply::{id, items, own_id, user_id};
use crate::cache::{Cache, State};
use crate::key::{Key, Kind};
use crate::pack::Packed;

impl Cache {
    /// Discord docs, Gateway Events: Guild Member Add. It may come for someone who is a member already.
    pub(crate) fn member_add(&mut self, d: Value<'_>, fields: &Fields<'_>) -> Option<Change> {
        let (guild, user) = found_guild_and_user(fields)?;
        let key = Key::new(Kind::Member, guild, user);
        let known = self.find(key);
        self.replace_told_member(key, known, d, [fields.get(Field::GuildId), fields.get(Field::User)]);
        if known.is_none() {
            self.count_members(guild, 1);
        }
        Some(Change::NONE)
    }

    /// Discord docs, Gateway Events: Guild Member Update. It does not list all fields of a member: what it lacks stays.
    pub(crate) fn member_update(&mut self, d: Value<'_>, fields: &Fields<'_>, ids: Routing) -> Option<Change> {
        let (guild, user) = match fields.get(Field::UserId) {
            None => (ids.guild_id?, ids.user_id?),
            Some(_) => found_guild_and_user(fields)?,
        };
        let key = Key::new(Kind::Member, guild, user);
        self.expect_member(guild, user);
        let known = self.find(key);
        let previous = self.member_before(key, known);
        self.merge_told_parts(key, known, d, [fields.get(Field::GuildId), fields.get(Field::User)]);
        Some(Change::previous(previous))
    }

    pub(crate) fn member_remove(&mut self, fields: &Fields<'_>) -> Option<Change> {
        let (guild, user) = found_guild_and_user(fields)?;
        let known = self.has(Key::new(Kind::Member, guild, user));
        let all =
            self.state(guild).and_then(|state| state.member_count).is_some_and(|count| self.count(Kind::Member, guild) as i64 >= count);
        self.forget_member(guild, user);
        // Where every member is known, one who is not has been counted already.
        if known || !all {
            self.count_members(guild, -1);
        }
        Some(Change::NONE)
    }

    /// Discord docs, Gateway Events: Guild Members Chunk.
    pub(crate) fn members_chunk(&mut self, d: Value<'_>) -> Option<Change> {
        let mut told = std::mem::take(&mut self.told);
        let change = self.members_told(told.pack(d, &[]));
        self.told = told.emptied();
        change
    }

    fn members_told(&mut self, Packed { d, members }: Packed<'_>) -> Option<Change> {
        let guild = id(d, "guild_id")?;
        d.get("members")?;
        for (nth, member) in items(d, "members").enumerate() {
            self.set_listed_member(guild, member, members.get(nth));
        }
        for presence in items(d, "presences") {
            if let Some(user) = user_id(presence) {
                self.put_presence(guild, user, presence);
            }
        }
        for user in items(d, "not_found").filter_map(Value::as_id) {
            self.forget_member(guild, user);
        }
        Some(Change::NONE)
    }

    /// Of a presence's user only the id is sure, and no type is promised: what differs in kind from what is known is left out.
    pub(crate) fn merge_user(&mut self, user: u64, told: Value<'_>) {
        let merged = self.tenant.users.read(user, |known| {
            merged_if(known, told, |name, value| {
                let known = known.get(name).map_or(value.kind(), Value::kind);
                let either_null = value.is_null() || known == TermKind::Null;
                name != "id" && (value.kind() == known || (either_null && name != "username"))
            })
        });
        if let Some(merged) = merged.flatten() {
            self.set(Key::new(Kind::User, 0, user), Some(merged.value()));
        }
    }

    /// A whole user, told beside something else. Kept only while some guild has it as a member.
    pub(crate) fn learn_user(&mut self, user: Value<'_>) {
        if let Some(id) = own_id(user) {
            self.set_user(id, user);
        }
    }

    /// Takes a member that came inside another event: one who is known is told more of, one who is not becomes known if all of a member is told.
    /// A guest in voice has a `joined_at` of null (Discord docs, Guild: Guild Member Object), and is met only while `here`: what tells that he
    /// leaves may come after the event that removes him.
    pub(crate) fn refresh_member(&mut self, guild: u64, user: u64, member: Value<'_>, here: bool) {
        let [who, joined_at] = member.get_all(["user", "joined_at"]);
        let Some(who) = who.filter(|who| own_id(*who) == Some(user)) else { return };
        let key = Key::new(Kind::Member, guild, user);
        let print = self.print_of_member(member, None, Some(who));
        let whole = joined_at.is_some_and(|at| here || !at.is_null());
        if self.has_print(key, print) {
            self.set_user(user, who);
        } else if whole || self.has(key) {
            self.merge_seen_member(key, member, who, print);
        } else if self.knows(guild) {
            self.set_user(user, who);
        }
    }

    fn forget_member(&mut self, guild: u64, user: u64) {
        for kind in [Kind::Member, Kind::Presence, Kind::VoiceState] {
            self.set(Key::new(kind, guild, user), None);
        }
    }

    fn count_members(&mut self, guild: u64, by: i64) {
        if let Some(state) = self.state(guild)
            && let Some(count) = state.member_count
        {
            self.set_state(guild, State { member_count: Some(count.saturating_add(by).max(0)), ..state });
        }
    }
}

fn found_guild_and_user(fields: &Fields<'_>) -> Option<(u64, u64)> {
    Some((fields.id(Field::GuildId)?, id(fields.get(Field::User)?, "id")?))
}

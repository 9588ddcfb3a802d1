//! The ids by which an event finds its way: guild, channel, user.
//!
//! Discord docs, Gateway Events: where each event keeps them. Read in one pass over the body's top-level keys, without
//! allocating, and stopping as soon as everything that the kind can have is found. [`Spots`] can also be filled while a
//! frame is checked, so that finding the ids costs no walk of its own.

use trunkline_etf::Value;

use crate::EventKind;

/// The ids that a payload names. Absent ones are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Routing {
    /// The guild it happened in.
    pub guild_id: Option<u64>,
    /// The channel or thread it is about.
    pub channel_id: Option<u64>,
    /// The user it is about or who did it.
    pub user_id: Option<u64>,
    /// The object's own id, when it is none of the above: a message, an interaction, an entitlement.
    pub id: Option<u64>,
}

impl Routing {
    /// By what events are spread and kept in order: the guild, else the channel, else the user, else the object, else 0.
    pub fn key(self) -> u64 {
        self.guild_id.or(self.channel_id).or(self.user_id).or(self.id).unwrap_or(0)
    }
}

/// The ids of one event's body. Ids of the wrong type count as absent; a body that is no map has none.
pub fn routing(kind: EventKind, d: Value<'_>) -> Routing {
    let mut spots = Spots::default();
    let own = own_id(kind);
    for (key, value) in d.entries() {
        spots.see(key, value);
        if spots.complete(kind, own) {
            break;
        }
    }
    spots.routing(kind)
}

/// The places in a body where some kind of event keeps an id, as far as they were seen. Which of them count is known
/// only with the kind, which may come after the body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spots<'a> {
    guild_id: Option<Value<'a>>,
    channel_id: Option<Value<'a>>,
    user_id: Option<Value<'a>>,
    id: Option<Value<'a>>,
    user: Option<Value<'a>>,
    author: Option<Value<'a>>,
    member: Option<Value<'a>>,
    inviter: Option<Value<'a>>,
    creator_id: Option<Value<'a>>,
    meta: Option<Value<'a>>,
}

impl<'a> Spots<'a> {
    /// Takes note of one entry of the body. Of a repeated key the first one counts.
    #[inline]
    pub(crate) fn see(&mut self, key: Value<'a>, value: Value<'a>) {
        let Some(key) = key.as_bytes() else { return };
        let slot = match &*key {
            b"guild_id" => &mut self.guild_id,
            b"channel_id" => &mut self.channel_id,
            b"user_id" => &mut self.user_id,
            b"id" => &mut self.id,
            b"user" => &mut self.user,
            b"author" => &mut self.author,
            b"member" => &mut self.member,
            b"inviter" => &mut self.inviter,
            b"creator_id" => &mut self.creator_id,
            b"meta" => &mut self.meta,
            _ => return,
        };
        slot.get_or_insert(value);
    }

    /// What the places mean in an event of this kind.
    pub(crate) fn routing(&self, kind: EventKind) -> Routing {
        let id = self.id.and_then(Value::as_id);
        let mut found = Routing {
            guild_id: self.guild_id.and_then(Value::as_id),
            channel_id: self.channel_id.and_then(Value::as_id),
            user_id: self.user_id.and_then(Value::as_id),
            id: None,
        };
        match own_id(kind) {
            OwnId::Guild => found.guild_id = id.or(found.guild_id),
            OwnId::Channel => found.channel_id = id.or(found.channel_id),
            OwnId::User => found.user_id = id.or(found.user_id),
            OwnId::Object => found.id = id,
        }
        if kind == EventKind::RateLimited && found.guild_id.is_none() {
            found.guild_id = self.meta.and_then(|meta| meta.get("guild_id")).and_then(Value::as_id);
        }
        if found.user_id.is_none() {
            found.user_id = self.user_inside(kind);
        }
        found
    }

    /// The user of an event that has no `user_id`.
    fn user_inside(&self, kind: EventKind) -> Option<u64> {
        let object_id = |object: Option<Value<'a>>| object?.get("id")?.as_id();
        match kind {
            EventKind::MessageCreate | EventKind::MessageUpdate => object_id(self.author),
            EventKind::InteractionCreate => object_id(self.member.and_then(|member| member.get("user"))).or(object_id(self.user)),
            EventKind::InviteCreate => object_id(self.inviter),
            EventKind::GuildScheduledEventCreate | EventKind::GuildScheduledEventUpdate | EventKind::GuildScheduledEventDelete => {
                self.creator_id.and_then(Value::as_id)
            }
            // An integration's or a rule's `user` is who made it; that is as good as any.
            _ => object_id(self.user),
        }
    }

    /// Whether the rest of the body cannot add anything. It matters for GUILD_CREATE, whose body may be megabytes.
    fn complete(&self, kind: EventKind, own: OwnId) -> bool {
        match own {
            OwnId::Guild | OwnId::User => self.id.is_some(),
            OwnId::Channel => {
                self.guild_id.is_some() && self.id.is_some() && (self.user_id.is_some() || kind != EventKind::ThreadMemberUpdate)
            }
            OwnId::Object => self.guild_id.is_some() && self.channel_id.is_some() && self.user_id.is_some() && self.id.is_some(),
        }
    }
}

/// What the top-level `id` of a payload is.
#[derive(Clone, Copy)]
enum OwnId {
    Guild,
    Channel,
    User,
    Object,
}

/// What `id` means in events of this kind.
const fn own_id(kind: EventKind) -> OwnId {
    use EventKind as K;
    match kind {
        K::GuildCreate | K::GuildUpdate | K::GuildDelete => OwnId::Guild,
        K::ChannelCreate
        | K::ChannelUpdate
        | K::ChannelDelete
        | K::ThreadCreate
        | K::ThreadUpdate
        | K::ThreadDelete
        | K::ThreadMemberUpdate
        | K::ThreadMembersUpdate
        | K::VoiceChannelStatusUpdate
        | K::VoiceChannelStartTimeUpdate => OwnId::Channel,
        K::UserUpdate => OwnId::User,
        _ => OwnId::Object,
    }
}

#[cfg(test)]
mod tests {
    use trunkline_etf::Encoding;

    use super::*;

    #[track_caller]
    fn check(kind: EventKind, json: &str, want: [u64; 4]) {
        let value = Value::parse(Encoding::Json, json.as_bytes(), &trunkline_etf::Limits::GATEWAY);
        let found = value.map(|value| routing(kind, value));
        let some = |id| (id != 0).then_some(id);
        let [guild, channel, user, id] = want.map(some);
        assert_eq!(found, Ok(Routing { guild_id: guild, channel_id: channel, user_id: user, id }));
    }

    #[test]
    fn a_guild_routes_by_its_own_id() {
        for kind in [EventKind::GuildCreate, EventKind::GuildUpdate, EventKind::GuildDelete] {
            check(kind, r#"{"unavailable":true,"id":"41"}"#, [41, 0, 0, 0]);
            check(kind, r#"{"id":41,"channels":[{"id":"9"}]}"#, [41, 0, 0, 0]);
        }
    }

    #[test]
    fn a_channel_or_thread_routes_by_its_guild_and_names_itself() {
        check(EventKind::ChannelUpdate, r#"{"id":"5","guild_id":"1","parent_id":"7"}"#, [1, 5, 0, 0]);
        check(EventKind::ThreadMemberUpdate, r#"{"id":"5","guild_id":"1","user_id":"3"}"#, [1, 5, 3, 0]);
        check(EventKind::VoiceChannelStatusUpdate, r#"{"id":"5","guild_id":"1","status":null}"#, [1, 5, 0, 0]);
    }

    #[test]
    fn a_direct_message_routes_by_channel_then_user() {
        let json = r#"{"id":"8","channel_id":"5","author":{"id":"3","username":"x"},"content":"guild_id"}"#;
        check(EventKind::MessageCreate, json, [0, 5, 3, 8]);
        let key = |guild_id, channel_id, user_id, id| Routing { guild_id, channel_id, user_id, id }.key();
        assert_eq!(key(Some(1), Some(2), Some(3), Some(4)), 1);
        assert_eq!(key(None, Some(2), Some(3), Some(4)), 2);
        assert_eq!(key(None, None, Some(3), Some(4)), 3);
        assert_eq!(key(None, None, None, Some(4)), 4);
        assert_eq!(Routing::default().key(), 0);
    }

    #[test]
    fn an_interaction_finds_its_user_in_the_member_or_at_the_top() {
        let inside = r#"{"id":"8","guild_id":"1","channel_id":"5","member":{"nick":null,"user":{"id":"3"}}}"#;
        check(EventKind::InteractionCreate, inside, [1, 5, 3, 8]);
        check(EventKind::InteractionCreate, r#"{"id":"8","channel_id":"5","user":{"id":"3"}}"#, [0, 5, 3, 8]);
    }

    #[test]
    fn members_bans_and_presences_find_the_user_inside() {
        for kind in [
            EventKind::GuildMemberAdd,
            EventKind::GuildMemberUpdate,
            EventKind::GuildMemberRemove,
            EventKind::GuildBanAdd,
            EventKind::PresenceUpdate,
        ] {
            check(kind, r#"{"user":{"username":"x","id":"3"},"guild_id":"1"}"#, [1, 0, 3, 0]);
        }
    }

    #[test]
    fn the_odd_ones_are_found_too() {
        check(EventKind::RateLimited, r#"{"opcode":8,"meta":{"guild_id":"1","nonce":"x"}}"#, [1, 0, 0, 0]);
        check(EventKind::UserUpdate, r#"{"id":"3"}"#, [0, 0, 3, 0]);
        check(EventKind::Ready, r#"{"v":10,"user":{"id":"3"}}"#, [0, 0, 3, 0]);
        check(EventKind::InviteCreate, r#"{"guild_id":"1","channel_id":"2","inviter":{"id":"3"}}"#, [1, 2, 3, 0]);
        check(EventKind::EntitlementCreate, r#"{"id":"9","user_id":"3"}"#, [0, 0, 3, 9]);
        check(EventKind::Unknown, r#"{"guild_id":"1","channel_id":"2","user_id":"3","id":"4"}"#, [1, 2, 3, 4]);
    }

    #[test]
    fn ids_of_the_wrong_type_count_as_absent() {
        check(EventKind::MessageCreate, r#"{"guild_id":null,"channel_id":[1],"author":7,"id":{}}"#, [0; 4]);
        check(EventKind::GuildCreate, r#"[{"id":"1"}]"#, [0; 4]);
        check(EventKind::Unknown, "null", [0; 4]);
    }
}

//! The ids by which an event finds its way: guild, channel, user.
//!
//! Discord docs, Gateway Events: where each event keeps them. Read in one pass over the body's top-level keys, without
//! allocating, and stopping as soon as everything that the kind can have is found. The same places ([`SPOTS`]) are found while
//! a frame is checked, so that on the event path the ids cost no walk of their own.

use trunkline_etf::{Encoding, Found, Names, Value};

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
    let mut found = [None; SPOT_COUNT];
    let own = own_id(kind);
    for (key, value) in d.entries() {
        if let Some(place) = SPOTS.find(key).and_then(|spot| found.get_mut(spot))
            && place.is_none()
        {
            *place = Some(value);
            if complete(&found, kind, own) {
                break;
            }
        }
    }
    Spots::new(|spot| *found.get(spot)?).routing(kind)
}

/// The keys of a body under which some kind of event keeps an id, or what the cache looks at first. Their indices: [`Field`].
pub(crate) static SPOTS: Names<SPOT_COUNT> = Names::new([
    "guild_id",
    "channel_id",
    "user_id",
    "id",
    "user",
    "author",
    "member",
    "inviter",
    "creator_id",
    "meta",
    "message_id",
    "webhook_id",
    "mentions",
    "flags",
    "emoji",
    "status",
]);
pub(crate) const SPOT_COUNT: usize = 16;
const GUILD_ID: usize = Field::GuildId as usize;
const CHANNEL_ID: usize = Field::ChannelId as usize;
const USER_ID: usize = Field::UserId as usize;
const ID: usize = Field::Id as usize;
const USER: usize = Field::User as usize;
const AUTHOR: usize = Field::Author as usize;
const MEMBER: usize = Field::Member as usize;
const INVITER: usize = 7;
const CREATOR_ID: usize = 8;
const META: usize = 9;

/// A field of an event's body that [`Fields`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Field {
    /// `guild_id`
    GuildId = 0,
    /// `channel_id`
    ChannelId = 1,
    /// `user_id`
    UserId = 2,
    /// `id`
    Id = 3,
    /// `user`
    User = 4,
    /// `author`
    Author = 5,
    /// `member`
    Member = 6,
    /// `message_id`
    MessageId = 10,
    /// `webhook_id`
    WebhookId = 11,
    /// `mentions`
    Mentions = 12,
    /// `flags`
    Flags = 13,
    /// `emoji`
    Emoji = 14,
    /// `status`
    Status = 15,
}

/// Where in an event's body the fields lie that most events are about. Found while the frame is checked, so that nobody walks over the body
/// to find them again.
#[derive(Clone, Copy)]
pub struct Fields<'a>(pub(crate) Found<'a, 4, SPOT_COUNT>);

/// Nothing of what is inside: that belongs to users.
impl std::fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fields")
    }
}

impl<'a> Fields<'a> {
    /// None yet: for [`Envelope::decode_fields`](crate::Envelope::decode_fields).
    #[inline]
    pub const fn new(encoding: Encoding) -> Fields<'a> {
        Fields(Found::new(encoding))
    }

    /// Those of a body that did not come with its frame, in one walk over it.
    pub fn of(d: Value<'a>) -> Fields<'a> {
        let mut found = Found::new(d.encoding());
        found.look_into(d, &SPOTS);
        Fields(found)
    }

    /// A field; of a key that occurs twice the first.
    #[inline(always)]
    pub fn get(&self, field: Field) -> Option<Value<'a>> {
        self.0.inner(field as usize)
    }

    /// A field that is an id.
    #[inline(always)]
    pub fn id(&self, field: Field) -> Option<u64> {
        self.get(field)?.as_id()
    }
}

/// What lies under those keys, as `F` says. Which of them count is known only with the kind, which may come after the body.
pub(crate) struct Spots<F>(F);

impl<'a, F> Spots<F>
where
    F: Fn(usize) -> Option<Value<'a>>,
{
    pub(crate) fn new(at: F) -> Spots<F> {
        Spots(at)
    }

    fn id(&self, spot: usize) -> Option<u64> {
        (self.0)(spot)?.as_id()
    }

    /// The id of an object.
    #[inline]
    fn id_inside(&self, spot: usize) -> Option<u64> {
        // Unlike `get`, this is done with what is known of the key when the program is built.
        let [id] = (self.0)(spot)?.get_all(["id"]);
        id?.as_id()
    }

    /// What the places mean in an event of this kind.
    pub(crate) fn routing(&self, kind: EventKind) -> Routing {
        let id = self.id(ID);
        let mut found = Routing { guild_id: self.id(GUILD_ID), channel_id: self.id(CHANNEL_ID), user_id: self.id(USER_ID), id: None };
        match own_id(kind) {
            OwnId::Guild => found.guild_id = id.or(found.guild_id),
            OwnId::Channel => found.channel_id = id.or(found.channel_id),
            OwnId::User => found.user_id = id.or(found.user_id),
            OwnId::Object => found.id = id,
        }
        if kind == EventKind::RateLimited && found.guild_id.is_none() {
            found.guild_id = (self.0)(META).and_then(|meta| meta.get("guild_id")).and_then(Value::as_id);
        }
        if found.user_id.is_none() {
            found.user_id = self.user_inside(kind);
        }
        found
    }

    /// The user of an event that has no `user_id`.
    fn user_inside(&self, kind: EventKind) -> Option<u64> {
        match kind {
            EventKind::MessageCreate | EventKind::MessageUpdate => self.id_inside(AUTHOR),
            EventKind::InteractionCreate => {
                let member = (self.0)(MEMBER).and_then(|member| member.get("user")).and_then(|user| user.get("id"));
                member.and_then(Value::as_id).or_else(|| self.id_inside(USER))
            }
            EventKind::InviteCreate => self.id_inside(INVITER),
            EventKind::GuildScheduledEventCreate | EventKind::GuildScheduledEventUpdate | EventKind::GuildScheduledEventDelete => {
                self.id(CREATOR_ID)
            }
            // An integration's or a rule's `user` is who made it; that is as good as any.
            _ => self.id_inside(USER),
        }
    }
}

/// Whether the rest of a body cannot add anything. It matters for GUILD_CREATE, whose body may be megabytes.
fn complete(found: &[Option<Value<'_>>; SPOT_COUNT], kind: EventKind, own: OwnId) -> bool {
    let has = |spot: usize| found.get(spot).is_some_and(Option::is_some);
    match own {
        OwnId::Guild | OwnId::User => has(ID),
        OwnId::Channel => has(GUILD_ID) && has(ID) && (has(USER_ID) || kind != EventKind::ThreadMemberUpdate),
        OwnId::Object => has(GUILD_ID) && has(CHANNEL_ID) && has(USER_ID) && has(ID),
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
    use super::*;

    #[test]
    fn every_field_is_found_under_its_own_name() {
        let fields = [
            (Field::GuildId, "guild_id"),
            (Field::ChannelId, "channel_id"),
            (Field::UserId, "user_id"),
            (Field::Id, "id"),
            (Field::User, "user"),
            (Field::Author, "author"),
            (Field::Member, "member"),
            (Field::MessageId, "message_id"),
            (Field::WebhookId, "webhook_id"),
            (Field::Mentions, "mentions"),
            (Field::Flags, "flags"),
            (Field::Emoji, "emoji"),
            (Field::Status, "status"),
        ];
        for (number, (field, name)) in (1..).zip(fields) {
            let json = format!("{{\"x\":0,\"{name}\":{number},\"{name}\":99}}");
            let mut etf = Vec::new();
            let value = Value::from_raw(Encoding::Json, json.as_bytes());
            assert!(trunkline_etf::transcode(value, Encoding::Etf, &mut etf).is_ok());
            for d in [value, Value::from_raw(Encoding::Etf, &etf)] {
                let found = Fields::of(d);
                assert_eq!(fields.map(|(other, _)| found.id(other)), fields.map(|(other, _)| (other == field).then_some(number)), "{name}");
            }
        }
    }

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

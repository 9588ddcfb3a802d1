//! Members, users, presences, bans.

use serde_json::json;
use trunkline_cache::Kind;
use trunkline_discord::EventKind as K;

use crate::common::id;
use crate::table::{Ask, Row, check, here, row, with};
use crate::{ban, guild, member, own, world};

pub(crate) fn rows() -> Vec<Row> {
    let joins = here(json!({"user": {"id": id(52), "username": "cat"}, "roles": [], "joined_at": "2024"}));
    let update = here(json!({"user": {"id": id(50), "username": "anne"}, "nick": "A", "roles": [], "pending": false}));
    let merged = with(&member(50), with(&update, json!({})));
    let presence = |status: &str| here(json!({"user": {"id": id(50)}, "status": status, "activities": [{"name": "x"}]}));
    vec![
        row(K::GuildMemberAdd, "adds member and user, and counts", joins.clone())
            .gives(Ask::Member(52), joins.clone())
            .gives(Ask::User(52), joins["user"].clone())
            .gives(Ask::Mutual(52), json!([1]))
            .gives(Ask::MemberCount, json!(4)),
        row(K::GuildMemberAdd, "does not count one who is a member already", here(json!({"user": {"id": id(51), "username": "bobby"}})))
            .gives(Ask::Member(51), here(json!({"user": {"id": id(51), "username": "bobby"}})))
            .gives(Ask::MemberCount, json!(3)),
        row(K::GuildMemberUpdate, "merges the member, replaces the user", update.clone())
            .previous(member(50))
            .gives(Ask::Member(50), merged)
            .gives(Ask::User(50), update["user"].clone()),
        row(K::GuildMemberUpdate, "of one who is not known adds", here(json!({"user": {"id": id(59)}, "roles": []})))
            .gives(Ask::Member(59), here(json!({"user": {"id": id(59)}, "roles": []})))
            .gives(Ask::MemberCount, json!(3)),
        row(K::GuildMemberRemove, "takes member, presence and voice state, and the user with its last guild", here(json!({"user": {"id": id(50)}})))
            .gone(Ask::Member(50))
            .gone(Ask::User(50))
            .gone(Ask::One(Kind::Presence, 50))
            .gone(Ask::One(Kind::VoiceState, 50))
            .gives(Ask::Mutual(50), json!([]))
            .gives(Ask::MemberCount, json!(2))
            .counts(),
        row(K::GuildMemberRemove, "of one who is not known counts too: not all are", here(json!({"user": {"id": id(59)}})))
            .gives(Ask::MemberCount, json!(2))
            .counts(),
        row(
            K::GuildMembersChunk,
            "adds members and presences, and takes away whom Discord does not find",
            here(json!({
                "chunk_index": 0, "chunk_count": 1, "not_found": [id(50), 12, "x"],
                "members": [{"user": {"id": id(53), "username": "eve"}, "roles": []}, {"user": {"id": id(51), "username": "bob"}, "roles": [id(1)]}],
                "presences": [{"user": {"id": id(53)}, "status": "dnd"}, {"user": {"id": id(51)}, "status": "offline"}],
            })),
        )
        .gone(Ask::Member(50))
        .gives(Ask::Member(53), json!({"user": {"id": id(53), "username": "eve"}, "roles": []}))
        .gives(Ask::Member(51), json!({"user": {"id": id(51), "username": "bob"}, "roles": [id(1)]}))
        .gives(Ask::One(Kind::Presence, 53), json!({"user": {"id": id(53)}, "status": "dnd"}))
        .gives(Ask::MemberCount, json!(3)),
        row(K::PresenceUpdate, "replaces it", presence("online"))
            .previous(guild()["presences"][0].clone())
            .gives(Ask::One(Kind::Presence, 50), presence("online")),
        row(K::PresenceUpdate, "offline is none", presence("offline")).previous(guild()["presences"][0].clone()).gone(Ask::One(Kind::Presence, 50)),
        row(
            K::PresenceUpdate,
            "what it says of the user is merged, where it is of a kind that it can be",
            here(json!({"user": {"id": id(50), "username": 3, "avatar": null, "global_name": "Ann"}, "status": "dnd"})),
        )
        .previous(guild()["presences"][0].clone())
        .gives(Ask::User(50), json!({"id": id(50), "username": "ann", "avatar": null, "global_name": "Ann"})),
        row(K::PresenceUpdate, "of one who is no known member makes no user", here(json!({"user": {"id": id(59), "username": "x"}, "status": "dnd"})))
            .gone(Ask::User(59)),
        row(K::TypingStart, "nothing", here(json!({"channel_id": id(10), "user_id": id(50), "member": {"user": {"id": id(50)}, "nick": "typing"}})))
            .gives(Ask::Member(50), member(50)),
        row(K::UserUpdate, "replaces the own user", with(&own(), json!({"username": "robot"})))
            .previous(own())
            .gives(Ask::User(99), with(&own(), json!({"username": "robot"}))),
        row(K::GuildBanAdd, "remembers it, and the user", here(json!({"user": {"id": id(51), "username": "bad"}})))
            .gives(Ask::One(Kind::Ban, 51), here(json!({"user": {"id": id(51), "username": "bad"}})))
            .gives(Ask::User(51), json!({"id": id(51), "username": "bad"}))
            .gives(Ask::Count(Kind::Ban), json!(2))
            // That the member is gone is another event.
            .gives(Ask::MemberCount, json!(3)),
        row(K::GuildBanRemove, "forgets it", ban()).gone(Ask::One(Kind::Ban, 57)),
    ]
}

#[test]
fn members_users_and_presences() {
    check(&world(), &rows());
}

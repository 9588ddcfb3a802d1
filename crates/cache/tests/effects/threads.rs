//! Threads and the bot's own membership of them.

use serde_json::json;
use trunkline_cache::Kind;
use trunkline_discord::EventKind as K;

use crate::common::id;
use crate::table::{Ask, Row, check, here, row, with, without};
use crate::{channel, guild, member, thread, world};

pub(crate) fn rows() -> Vec<Row> {
    let post = here(json!({"id": id(44), "parent_id": id(12), "type": 11, "thread_metadata": {"archived": false}}));
    let forum = |last: u64| with(&channel(2), json!({"last_message_id": id(last)}));
    let update = here(without(&with(&thread(40), json!({"name": "chat"})), &["member"]));
    let archived = with(&update, json!({"thread_metadata": {"archived": true}}));
    let own = here(json!({"id": id(40), "user_id": id(99), "flags": 3}));
    vec![
        row(K::ThreadCreate, "adds it without the mark of its creation; a forum's newest message is its newest post", with(&post, json!({"newly_created": true})))
            .gives(Ask::Channel(44), post.clone())
            .gives(Ask::Channel(12), forum(44)),
        row(K::ThreadCreate, "of one that is only shown changes no forum", post.clone()).gives(Ask::Channel(44), post.clone()).gives(Ask::Channel(12), forum(3)),
        row(K::ThreadCreate, "in a text channel does not change its newest message", with(&post, json!({"newly_created": true, "parent_id": id(10)})))
            .gives(Ask::Channel(10), channel(0)),
        row(K::ThreadCreate, "the bot is added to one that is known", with(&update, json!({"member": {"flags": 2}})))
            .gives(Ask::Channel(40), with(&update, json!({"member": {"flags": 2}}))),
        row(K::ThreadUpdate, "replaces it, but for the own membership", update.clone())
            .previous(with(&thread(40), json!({"last_message_id": id(81), "message_count": 5, "total_message_sent": 10})))
            .gives(Ask::Channel(40), with(&update, json!({"member": {"flags": 1}}))),
        row(K::ThreadUpdate, "archived, it is no active one", archived.clone())
            .previous(with(&thread(40), json!({"last_message_id": id(81), "message_count": 5, "total_message_sent": 10})))
            .gone(Ask::Channel(40)),
        row(K::ThreadUpdate, "taken out of the archive, it is one again", update.clone())
            .after(K::ThreadUpdate, archived)
            .gives(Ask::Channel(40), update.clone()),
        row(K::ThreadDelete, "takes it and its messages", here(json!({"id": id(40), "parent_id": id(10), "type": 11})))
            .previous(with(&thread(40), json!({"last_message_id": id(81), "message_count": 5, "total_message_sent": 10})))
            .gone(Ask::Channel(40))
            .gone(Ask::Message(81)),
        row(
            K::ThreadListSync,
            "clears the channels that it names, then adds, then sets memberships",
            here(json!({
                "channel_ids": [id(10), id(11)], "threads": [{"id": id(43), "parent_id": id(10)}],
                "members": [{"id": id(43), "user_id": id(99), "flags": 3}],
            })),
        )
        .gone(Ask::Channel(40))
        .gives(Ask::Channel(41), thread(41))
        .gives(Ask::Channel(43), here(json!({"id": id(43), "parent_id": id(10), "member": {"id": id(43), "user_id": id(99), "flags": 3}}))),
        row(K::ThreadListSync, "channels that are null are as if there were none", here(json!({"channel_ids": null, "threads": [{"id": id(43)}]})))
            .gives(Ask::Count(Kind::Thread), json!(1))
            .gives(Ask::Channel(43), here(json!({"id": id(43)}))),
        row(K::ThreadListSync, "without channels it is about all", here(json!({"threads": [thread(41)], "members": []})))
            .gives(Ask::Count(Kind::Thread), json!(1))
            .gives(Ask::Channel(41), thread(41)),
        row(K::ThreadMemberUpdate, "sets the own membership", own.clone())
            .previous(json!({"flags": 1}))
            .gives(Ask::Channel(40), with(&thread(40), json!({
                "member": own, "last_message_id": id(81), "message_count": 5, "total_message_sent": 10,
            }))),
        row(K::ThreadMemberUpdate, "of a thread that is not known", here(json!({"id": id(49), "user_id": id(99)}))).gone(Ask::Channel(49)),
        row(
            K::ThreadMembersUpdate,
            "counts, and tells of members and presences",
            here(json!({
                "id": id(41), "member_count": 7, "added_members": [
                    {"id": id(41), "user_id": id(51), "member": with(&member(51), json!({"nick": "T"})), "presence": {"user": {"id": id(51)}, "status": "dnd"}},
                    {"id": id(41), "user_id": id(50), "member": member(50), "presence": null},
                ],
            })),
        )
        .gives(Ask::Channel(41), with(&thread(41), json!({"member_count": 7})))
        .gives(Ask::Member(51), with(&member(51), json!({"nick": "T"})))
        .gives(Ask::One(Kind::Presence, 51), json!({"user": {"id": id(51)}, "status": "dnd"}))
        .gives(Ask::One(Kind::Presence, 50), guild()["presences"][0].clone()),
        row(
            K::ThreadMembersUpdate,
            "the bot itself comes in",
            here(json!({"id": id(41), "member_count": 1, "added_members": [
                {"id": id(41), "user_id": id(99), "flags": 1, "member": {"user": {"id": id(99)}, "joined_at": "2020"}, "presence": null},
            ]})),
        )
        .gives(Ask::Channel(41), with(&thread(41), json!({"member_count": 1, "member": {"id": id(41), "user_id": id(99), "flags": 1}}))),
        row(K::ThreadMembersUpdate, "the bot itself goes", here(json!({"id": id(40), "member_count": 1, "removed_member_ids": [id(51), id(99)]}))).gives(
            Ask::Channel(40),
            without(
                &with(&thread(40), json!({"member_count": 1, "last_message_id": id(81), "message_count": 5, "total_message_sent": 10})),
                &["member"],
            ),
        ),
    ]
}

#[test]
fn threads_and_the_own_membership() {
    check(&world(), &rows());
}

//! Messages, reactions, polls.

use serde_json::{Value as Json, json};
use trunkline_cache::Kind;
use trunkline_discord::EventKind as K;

use crate::common::id;
use crate::table::{Ask, Row, check, here, row, with, without};
use crate::{bare_message, channel, direct_message, member, message, thread, world};

fn reacted(user: u64, emoji: Json, more: Json) -> Json {
    with(&here(json!({"channel_id": id(10), "message_id": id(80), "user_id": id(user), "emoji": emoji, "type": 0})), more)
}

fn blob() -> Json {
    json!({"id": id(30), "name": "renamed"})
}

fn reactions(list: Json) -> Json {
    with(&message(), json!({"reactions": list}))
}

fn first() -> Json {
    message()["reactions"][0].clone()
}

fn thumb(more: Json) -> Json {
    let entry = json!({
        "emoji": {"id": null, "name": "👍"}, "count": 1, "count_details": {"burst": 0, "normal": 1}, "me": false, "me_burst": false, "burst_colors": [],
    });
    with(&entry, more)
}

fn votes(counts: Json) -> Json {
    with(&message(), json!({"poll": with(&message()["poll"], json!({"results": {"is_finalized": false, "answer_counts": counts}}))}))
}

fn voted(user: u64, answer: u64) -> Json {
    here(json!({"channel_id": id(10), "message_id": id(80), "user_id": id(user), "answer_id": answer}))
}

pub(crate) fn rows() -> Vec<Row> {
    let talk = |count: u64, sent: u64, last: u64| {
        with(&thread(40), json!({"message_count": count, "total_message_sent": sent, "last_message_id": id(last)}))
    };
    let deleted = |message: u64, channel: u64| here(json!({"id": id(message), "channel_id": id(channel)}));
    let update = here(json!({"id": id(80), "channel_id": id(10), "content": "ho", "tts": false, "edited_timestamp": "now"}));
    let plain = |emoji: Json| json!({"channel_id": id(10), "message_id": id(80), "guild_id": id(1), "emoji": emoji});
    vec![
        row(K::MessageCreate, "is kept, and the channel's newest", bare_message(83, 10))
            .gives(Ask::Message(83), bare_message(83, 10))
            .gives(Ask::Messages(10), json!([id(83), id(80)]))
            .gives(Ask::Channel(10), with(&channel(0), json!({"last_message_id": id(83)}))),
        row(K::MessageCreate, "told late is in its place, and no channel's newest", bare_message(78, 10))
            .gives(Ask::Messages(10), json!([id(80), id(78)]))
            .gives(Ask::Channel(10), channel(0)),
        row(K::MessageCreate, "in a thread counts", bare_message(84, 40)).gives(Ask::Channel(40), talk(6, 11, 84)),
        row(K::MessageCreate, "that a thread begins with is not counted", bare_message(41, 41))
            .gives(Ask::Channel(41), with(&thread(41), json!({"last_message_id": id(41)}))),
        row(K::MessageCreate, "tells of its author, and of members who are known", with(&bare_message(83, 10), json!({
            "author": {"id": id(51), "username": "bobby"}, "member": {"nick": "M", "roles": [id(20)]},
            "mentions": [{"id": id(50), "username": "ann", "member": {"nick": "N"}}, {"id": id(59), "username": "x", "member": {"nick": "X"}}],
        })))
        .gives(Ask::User(51), json!({"id": id(51), "username": "bobby"}))
        .gives(Ask::Member(51), with(&member(51), json!({"nick": "M", "roles": [id(20)], "user": {"id": id(51), "username": "bobby"}})))
        .gives(Ask::Member(50), with(&member(50), json!({"nick": "N"})))
        .gone(Ask::Member(59)),
        row(K::MessageCreate, "makes its author known, if the whole of a member is told", with(&bare_message(83, 10), json!({
            "author": {"id": id(59), "username": "new"}, "member": {"nick": "N", "joined_at": "2020", "roles": []},
        })))
        .gives(Ask::User(59), json!({"id": id(59), "username": "new"}))
        .gives(Ask::Member(59), json!({"nick": "N", "joined_at": "2020", "roles": [], "user": {"id": id(59), "username": "new"}})),
        row(K::MessageCreate, "leaves who has just joined to the event that counts members", with(&bare_message(83, 10), json!({
            "type": 7, "author": {"id": id(59), "username": "new"}, "member": {"joined_at": "2020", "roles": []},
        })))
        .gone(Ask::Member(59)),
        row(K::MessageCreate, "makes nobody known of whom too little is told", with(&bare_message(83, 10), json!({
            "author": {"id": id(59), "username": "new"}, "member": {"nick": "N", "roles": []},
        })))
        .gone(Ask::Member(59))
        .gone(Ask::User(59)),
        row(K::MessageCreate, "what stands for a user inside a member is none", with(&bare_message(83, 10), json!({
            "author": {"id": id(51), "username": "bobby"}, "member": {"nick": "M", "joined_at": "2020", "user": null},
            "mentions": [{"id": id(50), "member": {"nick": "N", "user": {"username": "x"}}}],
        })))
        .gives(Ask::User(51), json!({"id": id(51), "username": "bobby"}))
        .gives(Ask::Member(51), with(&member(51), json!({"nick": "M", "joined_at": "2020", "user": {"id": id(51), "username": "bobby"}})))
        .gives(Ask::User(50), member(50)["user"].clone())
        .gives(Ask::Member(50), with(&member(50), json!({"nick": "N"}))),
        row(K::MessageCreate, "a webhook is no user", with(&bare_message(83, 10), json!({
            "webhook_id": id(51), "author": {"id": id(51), "username": "hook"},
        })))
        .gives(Ask::User(51), member(51)["user"].clone()),
        row(K::MessageCreate, "in a direct channel makes it known", json!({"id": id(86), "channel_id": id(96), "author": {"id": id(58)}}))
            .gives(Ask::One(Kind::DirectChannel, 96), json!({"id": id(96), "last_message_id": id(86)}))
            .gives(Ask::Message(86), json!({"id": id(86), "channel_id": id(96), "author": {"id": id(58)}})),
        row(K::MessageCreate, "in a direct channel that is known", with(&direct_message(), json!({"id": id(87)})))
            .gives(Ask::One(Kind::DirectChannel, 95), json!({"id": id(95), "type": 1, "last_message_id": id(87)}))
            .gives(Ask::Messages(95), json!([id(87), id(85)])),
        row(K::MessageCreate, "for one user's eyes is no channel's newest", without(&with(&bare_message(83, 10), json!({"flags": 64})), &["guild_id"]))
            .gives(Ask::Messages(10), json!([id(83), id(80)]))
            .gives(Ask::Channel(10), channel(0)),
        row(K::MessageCreate, "for one user's eyes makes no direct channel", json!({"id": id(83), "channel_id": id(97), "flags": 64, "author": {"id": id(58)}}))
            .gone(Ask::One(Kind::DirectChannel, 97)),
        row(K::MessageUpdate, "is merged, but for tts", update.clone())
            .previous(message())
            .gives(Ask::Message(80), with(&message(), json!({"content": "ho", "edited_timestamp": "now"}))),
        row(K::MessageUpdate, "of one that is not known is not kept", with(&update, json!({"id": id(89)}))).gone(Ask::Message(89)),
        row(K::MessageUpdate, "in a direct channel", json!({"id": id(85), "channel_id": id(95), "content": "!"}))
            .previous(direct_message())
            .gives(Ask::Message(85), with(&direct_message(), json!({"content": "!"}))),
        row(K::MessageDelete, "takes it, and leaves the newest id", deleted(80, 10))
            .previous(message())
            .gone(Ask::Message(80))
            .gives(Ask::Messages(10), json!([]))
            .gives(Ask::Channel(10), channel(0)),
        row(K::MessageDelete, "in a thread counts", deleted(81, 40)).previous(bare_message(81, 40)).gives(Ask::Channel(40), talk(4, 10, 81)).counts(),
        row(K::MessageDelete, "of one that is not known counts too", deleted(77, 40)).gives(Ask::Channel(40), talk(4, 10, 81)).counts(),
        row(K::MessageDelete, "in a direct channel", json!({"id": id(85), "channel_id": id(95)})).previous(direct_message()).gone(Ask::Message(85)),
        row(K::MessageDelete, "leaves what is another channel's", json!({"id": id(85), "channel_id": id(40)})).gives(Ask::Message(85), direct_message()),
        row(K::MessageDeleteBulk, "leaves what is another channel's", json!({"channel_id": id(95), "ids": [id(81), id(77)]}))
            .gives(Ask::Message(81), bare_message(81, 40)),
        row(K::MessageReactionRemoveAll, "is understood without its channel", json!({"message_id": id(80), "guild_id": id(1)}))
            .gives(Ask::Message(80), without(&message(), &["reactions"])),
        row(K::MessageDeleteBulk, "takes each, and counts", here(json!({"channel_id": id(40), "ids": [id(81), id(77), id(76)]})))
            .gone(Ask::Message(81))
            .gives(Ask::Channel(40), talk(2, 10, 81))
            .counts(),
        row(K::MessageReactionAdd, "of a kind that is there counts", reacted(50, blob(), json!({})))
            .gives(Ask::Message(80), reactions(json!([with(&first(), json!({"count": 3, "count_details": {"burst": 0, "normal": 3}}))])))
            .counts(),
        row(K::MessageReactionAdd, "of a new kind is the first, and tells of the member", reacted(51, json!({"id": null, "name": "👍"}), json!({
            "member": with(&member(51), json!({"nick": "R"})),
        })))
        .gives(Ask::Message(80), reactions(json!([first(), thumb(json!({}))])))
        .gives(Ask::Member(51), with(&member(51), json!({"nick": "R"})))
        .counts(),
        row(K::MessageReactionAdd, "the bot's own is marked, and counted once", reacted(99, json!({"name": "👍"}), json!({})))
            .after(K::MessageReactionAdd, reacted(51, json!({"id": null, "name": "👍"}), json!({})))
            .gives(Ask::Message(80), reactions(json!([
                first(), thumb(json!({"count": 2, "count_details": {"burst": 0, "normal": 2}, "me": true})),
            ]))),
        row(K::MessageReactionAdd, "a super reaction is counted apart", reacted(99, json!({"id": null, "name": "👍"}), json!({"type": 1, "burst_colors": ["#fff"]})))
            .gives(Ask::Message(80), reactions(json!([
                first(), thumb(json!({"count_details": {"burst": 1, "normal": 0}, "me_burst": true, "burst_colors": ["#fff"]})),
            ]))),
        row(K::MessageReactionAdd, "of a message that is not known", reacted(50, blob(), json!({"message_id": id(89)}))).gives(Ask::Message(80), message()),
        row(K::MessageReactionRemove, "counts down", reacted(50, blob(), json!({})))
            .gives(Ask::Message(80), reactions(json!([with(&first(), json!({"count": 1, "count_details": {"burst": 0, "normal": 1}}))])))
            .counts(),
        row(K::MessageReactionRemove, "the last one takes the entry", reacted(50, blob(), json!({})))
            .after(K::MessageReactionRemove, reacted(51, blob(), json!({})))
            .gives(Ask::Message(80), without(&message(), &["reactions"])),
        row(K::MessageReactionRemove, "the last one takes only its entry", reacted(51, json!({"id": null, "name": "👍"}), json!({})))
            .after(K::MessageReactionAdd, reacted(51, json!({"id": null, "name": "👍"}), json!({})))
            .gives(Ask::Message(80), message()),
        row(K::MessageReactionRemove, "of a kind that is not there", reacted(51, json!({"id": null, "name": null}), json!({}))).gives(Ask::Message(80), message()),
        row(K::MessageReactionRemoveAll, "clears", plain(Json::Null)).gives(Ask::Message(80), without(&message(), &["reactions"])),
        row(K::MessageReactionRemoveEmoji, "clears one kind", plain(blob()))
            .after(K::MessageReactionAdd, reacted(51, json!({"id": null, "name": "👍"}), json!({})))
            .gives(Ask::Message(80), reactions(json!([thumb(json!({}))]))),
        row(K::MessageReactionRemoveEmoji, "of a kind that is not there", plain(json!({"id": id(34), "name": "blob"}))).gives(Ask::Message(80), message()),
        row(K::MessagePollVoteAdd, "counts", voted(50, 1))
            .gives(Ask::Message(80), votes(json!([{"id": 1, "count": 3, "me_voted": false}])))
            .counts(),
        row(K::MessagePollVoteAdd, "the first for an answer, and the bot's own, once", voted(99, 2))
            .gives(Ask::Message(80), votes(json!([{"id": 1, "count": 2, "me_voted": false}, {"id": 2, "count": 1, "me_voted": true}]))),
        row(K::MessagePollVoteAdd, "final results stay", voted(50, 1))
            .after(K::MessageUpdate, here(json!({"id": id(80), "channel_id": id(10), "poll": {"results": {"is_finalized": true, "answer_counts": []}}})))
            .gives(Ask::Message(80), with(&message(), json!({"poll": {"results": {"is_finalized": true, "answer_counts": []}}}))),
        row(K::MessagePollVoteAdd, "where no results were told yet", voted(50, 1))
            .after(K::MessageUpdate, here(json!({"id": id(80), "channel_id": id(10), "poll": {"question": {}}})))
            .gives(Ask::Message(80), with(&message(), json!({"poll": {"question": {}, "results": {
                "is_finalized": false, "answer_counts": [{"id": 1, "count": 1, "me_voted": false}],
            }}})))
            .counts(),
        row(K::MessagePollVoteRemove, "counts down", voted(50, 1))
            .gives(Ask::Message(80), votes(json!([{"id": 1, "count": 1, "me_voted": false}])))
            .counts(),
        row(K::MessagePollVoteRemove, "of an answer without votes", voted(50, 7)).gives(Ask::Message(80), message()),
    ]
}

#[test]
fn messages_reactions_and_votes() {
    check(&world(), &rows());
}

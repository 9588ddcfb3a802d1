//! What every event does, one row an effect, in both encodings, before and after a restart. Discord docs, Gateway Events: Receive Events.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod channels;
mod guilds;
mod members;
mod messages;
mod others;
mod sessions;
mod table;
mod threads;
mod voice;

use common::id;
use serde_json::{Value as Json, json};
use trunkline_discord::EventKind as K;

/// A guild with one of everything.
fn guild() -> Json {
    json!({
        "id": id(1), "name": "Älpha", "unheard_of": {"kept": [1, 2.5, null]}, "joined_at": "2020", "large": false, "member_count": 3,
        "roles": [{"id": id(1), "name": "@everyone"}, {"id": id(20), "name": "mods"}],
        "emojis": [{"id": id(30), "name": "blob"}, {"id": id(31), "name": "blub"}],
        "stickers": [{"id": id(70), "name": "old"}],
        "channels": [
            {"id": id(10), "name": "general", "type": 0, "last_message_id": id(79)},
            {"id": id(11), "name": "voice", "type": 2},
            {"id": id(12), "name": "forum", "type": 15, "last_message_id": id(3)},
        ],
        "threads": [
            {"id": id(40), "parent_id": id(10), "name": "talk", "type": 11, "message_count": 4, "total_message_sent": 9, "member_count": 2,
                "thread_metadata": {"archived": false}, "member": {"flags": 1}},
            {"id": id(41), "parent_id": id(12), "name": "post", "type": 11, "thread_metadata": {"archived": false}},
        ],
        "members": [
            {"user": {"id": id(50), "username": "ann", "avatar": "a"}, "nick": null, "roles": [id(20)], "joined_at": "2021", "flags": 5},
            {"user": {"id": id(51), "username": "bob"}, "nick": "B", "roles": [], "joined_at": "2022"},
        ],
        "presences": [{"user": {"id": id(50)}, "status": "idle"}, {"user": {"id": id(51)}, "status": "offline"}],
        "voice_states": [{"user_id": id(50), "channel_id": id(11), "session_id": "s", "deaf": false}],
        "stage_instances": [{"id": id(60), "channel_id": id(11), "topic": "news"}],
        "guild_scheduled_events": [{"id": id(61), "name": "party", "user_count": 2}, {"id": id(62), "name": "quiet"}],
        "soundboard_sounds": [{"sound_id": id(65), "name": "quack"}],
    })
}

fn guild_object() -> Json {
    json!({"id": id(1), "name": "Älpha", "unheard_of": {"kept": [1, 2.5, null]}, "joined_at": "2020", "large": false, "member_count": 3})
}

/// A channel, after the messages of the world.
/// As it is kept: GUILD_CREATE does not say of its channels which guild they are in.
fn channel(at: usize) -> Json {
    let channel = table::here(guild()["channels"][at].clone());
    if at == 0 { table::with(&channel, json!({"last_message_id": id(80)})) } else { channel }
}

fn member(user: u64) -> Json {
    guild()["members"][(user - 50) as usize].clone()
}

fn thread(thread: u64) -> Json {
    table::here(guild()["threads"][(thread - 40) as usize].clone())
}

fn message() -> Json {
    json!({
        "id": id(80), "channel_id": id(10), "guild_id": id(1), "content": "hi", "tts": true, "odd": {"x": [1]},
        "author": {"id": id(50), "username": "ann", "avatar": "a"},
        "poll": {"question": {"text": "?"}, "results": {"is_finalized": false, "answer_counts": [{"id": 1, "count": 2, "me_voted": false}]}},
        "reactions": [{"emoji": {"id": id(30), "name": "blob"}, "count": 2, "count_details": {"burst": 0, "normal": 2}, "me": false, "me_burst": false}],
    })
}

fn bare_message(message: u64, channel: u64) -> Json {
    json!({"id": id(message), "channel_id": id(channel), "guild_id": id(1), "content": "x", "author": {"id": id(51), "username": "bob"}})
}

fn direct_message() -> Json {
    json!({"id": id(85), "channel_id": id(95), "channel_type": 1, "content": "psst", "author": {"id": id(58), "username": "dan"}})
}

fn ban() -> Json {
    json!({"guild_id": id(1), "user": {"id": id(57), "username": "mal"}})
}

fn rule() -> Json {
    json!({"id": id(63), "guild_id": id(1), "name": "no spam"})
}

fn integration() -> Json {
    json!({"id": id(64), "guild_id": id(1), "name": "stream"})
}

fn invite() -> Json {
    json!({"code": "abc", "guild_id": id(1), "channel_id": id(10), "uses": 0, "inviter": {"id": id(51), "username": "bob"}})
}

fn entitlement() -> Json {
    json!({"id": id(91), "sku_id": id(2), "user_id": id(50), "guild_id": id(1), "ends_at": null})
}

fn subscription() -> Json {
    json!({"id": id(92), "user_id": id(50), "status": 0})
}

fn own() -> Json {
    json!({"id": id(99), "username": "bot"})
}

fn status() -> Json {
    json!({"guild_id": id(1), "id": id(11), "status": "chess"})
}

/// Everything that a cache can be told.
fn world() -> Vec<(K, Json)> {
    vec![
        (K::Ready, json!({"user": own(), "guilds": [{"id": id(1), "unavailable": true}]})),
        (K::GuildCreate, guild()),
        (K::GuildBanAdd, ban()),
        (K::AutoModerationRuleCreate, rule()),
        (K::IntegrationCreate, integration()),
        (K::InviteCreate, invite()),
        (K::VoiceChannelStatusUpdate, status()),
        (K::MessageCreate, message()),
        (K::MessageCreate, bare_message(81, 40)),
        (K::MessageCreate, direct_message()),
        (K::EntitlementCreate, entitlement()),
        (K::SubscriptionCreate, subscription()),
    ]
}

#[test]
fn every_event_that_discord_documents_has_a_row() {
    let tables = [guilds::rows(), members::rows(), channels::rows(), threads::rows(), messages::rows(), voice::rows(), others::rows()];
    let covered: Vec<K> = tables.iter().flatten().map(|row| row.kind).collect();
    let missing: Vec<&str> = K::ALL.iter().filter(|kind| !covered.contains(kind)).map(|kind| kind.name()).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

//! What a client asks over the gateway (ops 3, 4, 8, 31, 43): what is answered, what is not, and what closes the connection.

use std::time::Duration;

use crate::client::{ALL_INTENTS, Client, connect, identify};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::time::sleep;
use trunkline_sim::{Config, Fault, FaultKind, Kind, Sim, SimHandle};

const JSON: &str = "v=10&encoding=json";
const QUIET: Duration = Duration::from_secs(2);

fn faults(sim: &SimHandle) -> Vec<&'static str> {
    sim.report().client_faults.iter().map(|fault| fault.kind).collect()
}

fn notes(sim: &SimHandle) -> Vec<&'static str> {
    sim.report().notes.iter().map(|note| note.kind).collect()
}

/// A client with these intents that has all its guilds.
async fn live(sim: &SimHandle, intents: u64, shard: (u64, u64)) -> Client<DuplexStream> {
    let mut client = connect(sim, JSON).await;
    let mut ask = identify(shard);
    ask["intents"] = json!(intents);
    client.op(2, ask).await;
    let ready = client.event("READY").await;
    for _ in 0..ready["d"]["guilds"].as_array().unwrap().len() {
        client.event("GUILD_CREATE").await;
    }
    client
}

async fn one_guild(members: u32) -> (SimHandle, Client<DuplexStream>, String) {
    let sim = Sim::start(Config { guilds: 1, members, ..Config::default() }).await.unwrap();
    let client = live(&sim, ALL_INTENTS, (0, 1)).await;
    let guild = sim.guild_ids()[0].to_string();
    (sim, client, guild)
}

#[tokio::test(start_paused = true)]
async fn chunks_hold_a_thousand_members_each_and_everybody_once() {
    for (members, chunks) in [(998, 1), (999, 1), (1_000, 2), (1_999, 2), (2_000, 3)] {
        let (sim, mut client, guild) = one_guild(members).await;
        client.op(8, json!({"guild_id": guild, "query": "", "limit": 0})).await;
        let mut ids = std::collections::BTreeSet::new();
        for index in 0..chunks {
            let d = client.event("GUILD_MEMBERS_CHUNK").await["d"].clone();
            assert_eq!((&d["chunk_index"], &d["chunk_count"], &d["guild_id"]), (&json!(index), &json!(chunks), &json!(guild)));
            assert_eq!((&d["nonce"], &d["presences"], &d["not_found"]), (&Value::Null, &Value::Null, &Value::Null));
            let list = d["members"].as_array().unwrap();
            assert!(list.len() == 1_000 || index == chunks - 1 && list.len() <= 1_000);
            ids.extend(list.iter().map(|member| member["user"]["id"].to_string()));
        }
        // The bot is a member too.
        assert_eq!(ids.len(), members as usize + 1);
        client.silent(QUIET).await;
        assert_eq!(faults(&sim), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_whole_list_is_given_once_in_30_s_per_guild_and_a_breach_says_when_it_is_over() {
    let sim = Sim::start(Config { guilds: 2, members: 10, ..Config::default() }).await.unwrap();
    let mut client = live(&sim, ALL_INTENTS, (0, 1)).await;
    let guilds: Vec<String> = sim.guild_ids().iter().map(u64::to_string).collect();
    let whole = |guild: &str, nonce: &str| json!({"guild_id": guild, "query": "", "limit": 0, "nonce": nonce});
    client.op(8, whole(&guilds[0], "a")).await;
    assert_eq!(client.event("GUILD_MEMBERS_CHUNK").await["d"]["nonce"], "a");
    sleep(Duration::from_secs(10)).await;
    client.op(8, whole(&guilds[0], "b")).await;
    let limited = client.event("RATE_LIMITED").await;
    let wait = limited["d"]["retry_after"].as_f64().unwrap();
    assert!((19.9..20.1).contains(&wait), "{wait}");
    assert_eq!(limited["d"]["opcode"], 8);
    assert_eq!(limited["d"]["meta"], json!({"guild_id": guilds[0], "nonce": "b"}));
    // Another guild, a prefix and ids have no such limit.
    client.op(8, whole(&guilds[1], "c")).await;
    assert_eq!(client.event("GUILD_MEMBERS_CHUNK").await["d"]["nonce"], "c");
    for _ in 0..3 {
        client.op(8, json!({"guild_id": guilds[0], "query": "m", "limit": 5, "nonce": "d"})).await;
        assert_eq!(client.event("GUILD_MEMBERS_CHUNK").await["d"]["nonce"], "d");
        client.op(8, json!({"guild_id": guilds[0], "user_ids": "1", "nonce": "e"})).await;
        assert_eq!(client.event("GUILD_MEMBERS_CHUNK").await["d"]["not_found"], json!([1]));
    }
    // A refused request does not make the wait longer; one without a nonce is told without one.
    sleep(Duration::from_secs_f64(wait)).await;
    client.op(8, whole(&guilds[0], "f")).await;
    assert_eq!(client.event("GUILD_MEMBERS_CHUNK").await["d"]["nonce"], "f");
    client.op(8, json!({"guild_id": guilds[0], "query": "", "limit": 0})).await;
    assert_eq!(client.event("RATE_LIMITED").await["d"]["meta"], json!({"guild_id": guilds[0]}));
    client.silent(QUIET).await;
    assert_eq!((faults(&sim), notes(&sim)), (vec![], vec!["members_too_often"; 2]));
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_the_bots_whatever_the_session() {
    let sim = Sim::start(Config { guilds: 1, members: 10, ..Config::default() }).await.unwrap();
    let mut first = live(&sim, ALL_INTENTS, (0, 1)).await;
    sleep(Duration::from_secs(6)).await;
    let mut second = live(&sim, ALL_INTENTS, (0, 1)).await;
    let whole = json!({"guild_id": sim.guild_ids()[0], "query": "", "limit": 0});
    first.op(8, whole.clone()).await;
    first.event("GUILD_MEMBERS_CHUNK").await;
    second.op(8, whole).await;
    second.event("RATE_LIMITED").await;
}

#[tokio::test(start_paused = true)]
async fn the_whole_list_without_its_intent_is_not_answered_and_others_are() {
    let sim = Sim::start(Config { guilds: 1, members: 10, ..Config::default() }).await.unwrap();
    let mut client = live(&sim, ALL_INTENTS & !(1 << 1), (0, 1)).await;
    let guild = sim.guild_ids()[0];
    for limit in [0, 5] {
        client.op(8, json!({"guild_id": guild, "query": "", "limit": limit})).await;
    }
    client.silent(QUIET).await;
    assert_eq!(faults(&sim), ["members_without_intent"; 2]);
    client.op(8, json!({"guild_id": guild, "query": "zzz", "limit": 5})).await;
    assert_eq!(client.event("GUILD_MEMBERS_CHUNK").await["d"]["members"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn presences_come_when_asked_for_and_allowed() {
    for (intents, wanted, given) in [(ALL_INTENTS, true, true), (ALL_INTENTS, false, false), (ALL_INTENTS & !(1 << 8), true, false)] {
        let sim = Sim::start(Config { guilds: 1, members: 10, ..Config::default() }).await.unwrap();
        let mut client = live(&sim, intents, (0, 1)).await;
        client.op(8, json!({"guild_id": sim.guild_ids()[0], "query": "", "limit": 0, "presences": wanted})).await;
        assert_eq!(client.event("GUILD_MEMBERS_CHUNK").await["d"]["presences"].is_array(), given);
        assert_eq!(faults(&sim), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn at_most_a_hundred_are_found_by_prefix_or_by_id() {
    let (sim, mut client, guild) = one_guild(2_000).await;
    // Every name begins with one of sixteen words.
    client.op(8, json!({"guild_id": guild, "query": "m", "limit": 0})).await;
    assert_eq!(client.event("GUILD_MEMBERS_CHUNK").await["d"]["members"].as_array().unwrap().len(), 100);
    client.op(8, json!({"guild_id": guild, "query": "m", "limit": 3_000})).await;
    let found = client.event("GUILD_MEMBERS_CHUNK").await["d"]["members"].as_array().unwrap().clone();
    assert_eq!(found.len(), 100);
    assert!(found.iter().all(|member| member["user"]["username"].as_str().unwrap().starts_with('m')));
    let ids: Vec<Value> = found.iter().map(|member| member["user"]["id"].clone()).collect();
    client.op(8, json!({"guild_id": guild, "user_ids": ids, "nonce": "x"})).await;
    let d = client.event("GUILD_MEMBERS_CHUNK").await["d"].clone();
    assert_eq!((d["members"].as_array().unwrap().len(), &d["chunk_count"], &d["nonce"]), (100, &json!(1), &json!("x")));
    assert_eq!(faults(&sim), [""; 0]);
    // Short ids, so that 101 of them fit into 4096 bytes.
    let many: Vec<u64> = (1..=101).collect();
    client.op(8, json!({"guild_id": guild, "user_ids": many})).await;
    let d = client.event("GUILD_MEMBERS_CHUNK").await["d"].clone();
    assert_eq!(d["not_found"], json!((1..=100).collect::<Vec<u64>>()));
    assert_eq!(faults(&sim), ["too_many_user_ids"]);
}

#[tokio::test(start_paused = true)]
async fn ids_that_are_twice_in_a_request_are_answered_once_and_those_not_found_are_told() {
    let (_sim, mut client, guild) = one_guild(20).await;
    let stranger = "175928847299117063";
    client.op(8, json!({"guild_id": guild, "user_ids": [stranger, stranger, 7, "7"]})).await;
    let d = client.event("GUILD_MEMBERS_CHUNK").await["d"].clone();
    // What is no snowflake comes back as a number.
    assert_eq!((&d["members"], &d["not_found"]), (&json!([]), &json!([stranger, 7])));
}

#[tokio::test(start_paused = true)]
async fn a_nonce_of_32_bytes_comes_back_and_any_other_invalid_one_is_dropped() {
    let (sim, mut client, guild) = one_guild(5).await;
    let fits = "ä".repeat(16);
    for (nonce, back) in
        [(json!(fits), json!(fits)), (json!("n".repeat(33)), Value::Null), (json!("ä".repeat(17)), Value::Null), (json!(7), Value::Null)]
    {
        client.op(8, json!({"guild_id": guild, "user_ids": ["1"], "nonce": nonce})).await;
        assert_eq!(client.event("GUILD_MEMBERS_CHUNK").await["d"]["nonce"], back);
    }
    assert_eq!((faults(&sim), notes(&sim)), (vec![], vec!["invalid_nonce"; 3]));
}

#[tokio::test(start_paused = true)]
async fn guilds_that_this_shard_does_not_have_are_not_answered() {
    let sim = Sim::start(Config { guilds: 4, shards: 2, max_concurrency: 2, ..Config::default() }).await.unwrap();
    let mut client = live(&sim, ALL_INTENTS, (0, 2)).await;
    let other = *sim.guild_ids().iter().find(|id| (*id >> 22) % 2 == 1).unwrap();
    let mine = *sim.guild_ids().iter().find(|id| (*id >> 22) % 2 == 0).unwrap();
    for guild in [other, 1] {
        client.op(8, json!({"guild_id": guild, "query": "", "limit": 0})).await;
        client.op(4, json!({"guild_id": guild, "channel_id": null, "self_mute": false, "self_deaf": false})).await;
        client.op(31, json!({"guild_ids": [guild]})).await;
        client.op(43, json!({"guild_id": guild, "fields": ["status"]})).await;
    }
    client.silent(QUIET).await;
    assert_eq!(notes(&sim), [["guild_of_another_shard"; 4], ["unknown_guild"; 4]].concat());
    sim.fault(&Fault::new(FaultKind::Outage).lasting(Duration::from_secs(10)));
    let mine_text = mine.to_string();
    while client.next().await.payload()["d"]["id"] != *mine_text {}
    client.op(8, json!({"guild_id": mine, "query": "", "limit": 0})).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(notes(&sim).last(), Some(&"unavailable_guild"));
    assert_eq!(faults(&sim), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_wrong_form_are_closed_with_4001() {
    let guild = "1";
    for (op, d) in [
        (8, json!({"guild_id": guild})),
        (8, json!({"guild_id": guild, "query": ""})),
        (8, json!({"guild_id": guild, "query": 5, "limit": 0})),
        (8, json!({"guild_id": guild, "query": "", "limit": -1})),
        (8, json!({"guild_id": guild, "user_ids": ["x"]})),
        (8, json!({"guild_id": ["1", "2"], "query": "", "limit": 0})),
        (8, json!({"query": "", "limit": 0})),
        (8, Value::Null),
        (31, json!({"guild_ids": "1"})),
        (31, json!({"guild_ids": ["x"]})),
        (31, json!({})),
        (43, json!({"guild_id": guild})),
        (43, json!({"fields": ["status"]})),
        (4, json!({"channel_id": null})),
        (4, json!({"guild_id": guild, "channel_id": "x"})),
        (4, json!({"guild_id": guild, "channel_id": null, "self_mute": "yes"})),
        (3, json!({"activities": []})),
        (3, json!({"status": "online", "activities": {}})),
        (3, json!({"status": "online", "activities": [{"type": 0}]})),
        (3, json!({"status": "online", "activities": [{"name": "x", "type": 6}]})),
        (3, json!({"status": "online", "since": "now"})),
        (3, json!({"status": "online", "afk": 1})),
    ] {
        let (sim, mut client, _) = one_guild(2).await;
        client.op(op, d.clone()).await;
        assert_eq!(client.until_closed().await, 4001, "op {op} {d}");
        assert_eq!(faults(&sim), ["bad_payload"], "op {op} {d}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_above_4096_bytes_is_closed_with_4002() {
    let (sim, mut client, guild) = one_guild(2).await;
    let ids: Vec<String> = (0..200).map(|n| (1_000_000_000_000_000_000u64 + n).to_string()).collect();
    client.op(8, json!({"guild_id": guild, "user_ids": ids})).await;
    assert_eq!(client.until_closed().await, 4002);
    assert_eq!(faults(&sim), ["payload_too_large"]);
}

#[tokio::test(start_paused = true)]
async fn requests_count_among_120_payloads_in_60_s() {
    let (sim, mut client, guild) = one_guild(2).await;
    // The identify was the first.
    for _ in 0..119 {
        client.op(8, json!({"guild_id": guild, "user_ids": ["1"]})).await;
        client.event("GUILD_MEMBERS_CHUNK").await;
    }
    client.op(31, json!({"guild_ids": []})).await;
    assert_eq!(client.until_closed().await, 4008);
    assert_eq!(faults(&sim), ["rate_limited"]);
}

#[tokio::test(start_paused = true)]
async fn requests_before_an_identify_are_closed_with_4003() {
    let sim = Sim::start(Config::default()).await.unwrap();
    for op in [3, 4, 8, 31, 43] {
        let mut client = connect(&sim, JSON).await;
        client.op(op, json!({})).await;
        assert_eq!(client.until_closed().await, 4003, "op {op}");
    }
}

#[tokio::test(start_paused = true)]
async fn sounds_and_channel_info_are_those_of_the_guild() {
    let (sim, mut client, guild) = one_guild(2).await;
    sim.emit(3, Some(Kind::GuildSoundboardSoundsUpdate), None);
    client.op(31, json!({"guild_ids": [guild, guild]})).await;
    for _ in 0..2 {
        let sounds = client.event("SOUNDBOARD_SOUNDS").await["d"].clone();
        assert_eq!((&sounds["guild_id"], &sounds["soundboard_sounds"][0]["name"]), (&json!(guild), &json!("knock 3")));
        assert!(sounds["soundboard_sounds"][0]["user"]["id"].is_string());
    }
    for (fields, status, start) in
        [(json!(["status"]), true, false), (json!(["voice_start_time", "colour"]), false, true), (json!([]), false, false)]
    {
        client.op(43, json!({"guild_id": guild, "fields": fields})).await;
        let channel = client.event("CHANNEL_INFO").await["d"]["channels"][0].clone();
        let has = |name: &str| channel.as_object().unwrap().contains_key(name);
        assert_eq!((has("status"), has("voice_start_time")), (status, start));
    }
    sim.emit(1, Some(Kind::VoiceChannelStatusUpdate), None);
    sim.emit(1, Some(Kind::VoiceChannelStartTimeUpdate), None);
    let status = client.event("VOICE_CHANNEL_STATUS_UPDATE").await["d"]["status"].clone();
    let start = client.event("VOICE_CHANNEL_START_TIME_UPDATE").await["d"]["voice_start_time"].clone();
    client.op(43, json!({"guild_id": guild, "fields": ["status", "voice_start_time"]})).await;
    let channel = client.event("CHANNEL_INFO").await["d"]["channels"][0].clone();
    assert_eq!((&channel["status"], &channel["voice_start_time"]), (&status, &start));
    assert!(start.is_u64());
    assert_eq!((faults(&sim), notes(&sim)), (vec![], vec!["unknown_field"]));
}

#[tokio::test(start_paused = true)]
async fn the_bots_voice_state_is_told_to_every_session_and_stays_in_the_guild() {
    let (sim, mut client, guild) = one_guild(5).await;
    sleep(Duration::from_secs(6)).await;
    let mut twin = live(&sim, ALL_INTENTS, (0, 1)).await;
    sleep(Duration::from_secs(6)).await;
    let mut deaf = live(&sim, ALL_INTENTS & !(1 << 7), (0, 1)).await;
    let bot = sim.bot_ids()[0].to_string();
    // Numbers 9 and 10 are voice channels.
    sleep(Duration::from_secs(6)).await;
    let mut fresh = connect(&sim, JSON).await;
    fresh.identify((0, 1)).await;
    let told = fresh.event("GUILD_CREATE").await["d"].clone();
    let voice: Vec<Value> = told["channels"].as_array().unwrap().iter().filter(|c| c["type"] == 2).map(|c| c["id"].clone()).collect();
    let text = told["channels"].as_array().unwrap().iter().find(|c| c["type"] == 0).unwrap()["id"].clone();

    client.op(4, json!({"guild_id": guild, "channel_id": null, "self_mute": false, "self_deaf": false})).await;
    client.op(4, json!({"guild_id": guild, "channel_id": text, "self_mute": false, "self_deaf": false})).await;
    client.silent(QUIET).await;

    client.op(4, json!({"guild_id": guild, "channel_id": voice[0], "self_mute": true, "self_deaf": false})).await;
    let state = client.event("VOICE_STATE_UPDATE").await["d"].clone();
    assert_eq!((&state["user_id"], &state["channel_id"], &state["self_mute"]), (&json!(bot), &voice[0], &json!(true)));
    assert_eq!(twin.event("VOICE_STATE_UPDATE").await["d"]["channel_id"], voice[0]);
    let server = client.event("VOICE_SERVER_UPDATE").await["d"].clone();
    // Without the intent for voice states there is none; a move gives a new token for the same endpoint.
    deaf.silent(QUIET).await;
    client.op(4, json!({"guild_id": guild, "channel_id": voice[1], "self_mute": false, "self_deaf": true})).await;
    let moved = client.event("VOICE_SERVER_UPDATE").await["d"].clone();
    assert_eq!(moved["endpoint"], server["endpoint"]);
    assert_ne!(moved["token"], server["token"]);
    // Only the flags: no new server.
    client.op(4, json!({"guild_id": guild, "channel_id": voice[1], "self_mute": true, "self_deaf": true})).await;
    assert_eq!(client.event("VOICE_STATE_UPDATE").await["d"]["self_mute"], true);
    client.silent(QUIET).await;

    sleep(Duration::from_secs(6)).await;
    let mut later = connect(&sim, JSON).await;
    later.identify((0, 1)).await;
    let told = later.event("GUILD_CREATE").await["d"].clone();
    let own = told["voice_states"].as_array().unwrap().iter().find(|state| state["user_id"] == bot).unwrap().clone();
    assert_eq!((&own["channel_id"], &own["self_deaf"]), (&voice[1], &json!(true)));
    client.op(4, json!({"guild_id": guild, "channel_id": null, "self_mute": false, "self_deaf": false})).await;
    assert_eq!(client.event("VOICE_STATE_UPDATE").await["d"]["channel_id"], Value::Null);
    assert_eq!(faults(&sim), [""; 0]);
}

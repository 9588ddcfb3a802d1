//! Discord's rules for clients, each as a promise: what is refused, with which code, and what is noted.

use std::time::Duration;

use crate::client::{ALL_INTENTS, Client, connect, identify, reconnect, session_id};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::time::sleep;
use tokio_websockets::Message;
use trunkline_sim::{BotConfig, Config, Kind, Sim, SimHandle};

const JSON: &str = "v=10&encoding=json";
const ETF: &str = "v=10&encoding=etf";

async fn sim() -> SimHandle {
    Sim::start(Config { guilds: 4, ..Config::default() }).await.unwrap()
}

fn faults(sim: &SimHandle) -> Vec<&'static str> {
    sim.report().client_faults.iter().map(|fault| fault.kind).collect()
}

/// Sends one identify with a change and answers the close code.
async fn refused(sim: &SimHandle, change: impl FnOnce(&mut Value)) -> u16 {
    let mut client = connect(sim, JSON).await;
    let mut ask = identify((0, 1));
    change(&mut ask);
    client.op(2, ask).await;
    client.until_closed().await
}

async fn live(sim: &SimHandle, query: &str) -> (Client<DuplexStream>, String) {
    let mut client = connect(sim, query).await;
    let ready = client.identify((0, 1)).await;
    (client, session_id(&ready))
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_closed_with_4004() {
    let sim = sim().await;
    assert_eq!(refused(&sim, |ask| ask["token"] = json!("wrong")).await, 4004);
    assert_eq!(faults(&sim), ["bad_token"]);
}

#[tokio::test(start_paused = true)]
async fn an_impossible_shard_is_closed_with_4010() {
    let sim = Sim::start(Config { shards_multiple_of: 4, ..Config::default() }).await.unwrap();
    for shard in [json!([1, 1]), json!([0, 0]), json!("0"), json!([0]), json!([0, 6])] {
        assert_eq!(refused(&sim, |ask| ask["shard"] = shard).await, 4010);
    }
    assert_eq!(faults(&sim), ["invalid_shard"; 5]);
}

#[tokio::test(start_paused = true)]
async fn too_many_guilds_for_one_shard_are_closed_with_4011() {
    let sim = Sim::start(Config { guilds: 20, sharding_required_at: 11, ..Config::default() }).await.unwrap();
    assert_eq!(refused(&sim, |_| {}).await, 4011);
    assert_eq!(refused(&sim, |ask| ask["shard"] = Value::Null).await, 4011);
    let mut client = connect(&sim, JSON).await;
    client.identify((1, 2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_version_is_closed_with_4012() {
    let sim = sim().await;
    for query in ["v=11&encoding=json", "v=5&encoding=json", "v=ten"] {
        let mut client = crate::client::open(sim.connect(), "/", query).await;
        assert_eq!(client.until_closed().await, 4012, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn undocumented_intent_bits_are_closed_with_4013() {
    let sim = sim().await;
    for bit in [17, 18, 19, 22, 23, 26, 40] {
        assert_eq!(refused(&sim, |ask| ask["intents"] = json!(1u64 << bit)).await, 4013, "bit {bit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_privileged_intent_without_its_application_flag_is_closed_with_4014() {
    for (intent, flags) in [(1u64 << 1, [14, 15]), (1 << 8, [12, 13]), (1 << 15, [18, 19])] {
        let bot = |flags| vec![BotConfig { application_flags: flags, ..BotConfig::new("sim") }];
        let off = Sim::start(Config { bots: bot(0), ..Config::default() }).await.unwrap();
        assert_eq!(refused(&off, |ask| ask["intents"] = json!(intent)).await, 4014);
        assert_eq!(faults(&off), ["disallowed_intents"]);
        for flag in flags {
            let on = Sim::start(Config { bots: bot(1 << flag), ..Config::default() }).await.unwrap();
            let mut client = connect(&on, JSON).await;
            let mut ask = identify((0, 1));
            ask["intents"] = json!(intent);
            client.op(2, ask).await;
            client.event("READY").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sixth_presence_update_within_twenty_seconds_is_noted() {
    let sim = sim().await;
    let (mut client, _) = live(&sim, JSON).await;
    let presence = json!({"since": null, "activities": [], "status": "idle", "afk": false});
    for updates in [5, 5, 6] {
        assert_eq!(sim.report().notes, []);
        for _ in 0..updates {
            client.op(3, presence.clone()).await;
        }
        sleep(Duration::from_secs(20)).await;
    }
    assert_eq!(sim.report().notes.iter().map(|note| note.kind).collect::<Vec<_>>(), ["presence_too_often"]);
    assert_eq!(faults(&sim), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_op_code_is_closed_with_4001() {
    let sim = sim().await;
    let (mut client, _) = live(&sim, JSON).await;
    client.op(5, json!({})).await;
    assert_eq!(client.until_closed().await, 4001);
    assert_eq!(faults(&sim), ["unknown_opcode"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_is_closed_with_4002() {
    let sim = sim().await;
    for (query, message, kind) in [
        (JSON, Message::text("{\"op\":".to_string()), "undecodable"),
        (JSON, Message::text("{\"d\":null}".to_string()), "undecodable"),
        (JSON, Message::text(json!({"op": 1, "d": "x".repeat(4096)}).to_string()), "payload_too_large"),
        (ETF, Message::binary(b"\x83t\0\0\0\x02s\x02opa\x01s\x01ds\x03nil".to_vec()), "etf_atom_key"),
        (ETF, Message::binary(b"\x83P\0\0\0\x05abc".to_vec()), "etf_compressed"),
        (ETF, Message::binary(b"\x83t\0\0\0\x02".to_vec()), "undecodable"),
    ] {
        let mut client = connect(&sim, query).await;
        client.send_raw(message).await;
        assert_eq!(client.until_closed().await, 4002);
        assert_eq!(faults(&sim).last(), Some(&kind));
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_of_4096_bytes_is_taken() {
    let sim = sim().await;
    let mut client = connect(&sim, JSON).await;
    let mut text = json!({"op": 1, "d": null, "padding": ""}).to_string();
    let padding = "x".repeat(4096 - text.len());
    text = json!({"op": 1, "d": null, "padding": padding}).to_string();
    assert_eq!(text.len(), 4096);
    client.send_raw(Message::text(text)).await;
    assert_eq!(client.next().await.payload()["op"], 11);
}

#[tokio::test(start_paused = true)]
async fn a_request_before_identify_is_closed_with_4003() {
    let sim = sim().await;
    let mut client = connect(&sim, JSON).await;
    client.op(3, json!({"status": "online", "activities": [], "since": null, "afk": false})).await;
    assert_eq!(client.until_closed().await, 4003);
}

#[tokio::test(start_paused = true)]
async fn a_second_identify_on_one_socket_is_closed_with_4005() {
    let sim = sim().await;
    let (mut client, _) = live(&sim, JSON).await;
    client.op(2, identify((0, 1))).await;
    assert_eq!(client.until_closed().await, 4005);
}

#[tokio::test(start_paused = true)]
async fn more_than_120_sends_in_60_s_are_closed_with_4008_and_heartbeats_count() {
    let sim = sim().await;
    let (mut client, _) = live(&sim, JSON).await;
    for _ in 0..119 {
        client.op(1, Value::Null).await;
        client.until_op(11).await;
    }
    sleep(Duration::from_secs(20)).await;
    client.op(1, Value::Null).await;
    assert_eq!(client.until_closed().await, 4008);
    assert_eq!(faults(&sim), ["rate_limited"]);

    sleep(Duration::from_secs(10)).await;
    let (mut slow, _) = live(&sim, JSON).await;
    for _ in 0..300 {
        sleep(Duration::from_millis(510)).await;
        slow.op(1, Value::Null).await;
        slow.until_op(11).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_beat_is_closed_and_its_session_is_gone() {
    let sim = sim().await;
    let (mut client, id) = live(&sim, JSON).await;
    assert_eq!(client.until_closed().await, 4009);
    assert_eq!(faults(&sim), ["no_heartbeat"]);
    let mut again = reconnect(&sim, JSON).await;
    again.resume(&id, 1).await;
    assert_eq!(again.next().await.payload(), json!({"op": 9, "d": false, "s": null, "t": null}));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_beats_stays_for_hours() {
    let sim = sim().await;
    let (mut client, _) = live(&sim, JSON).await;
    for _ in 0..200 {
        sleep(Duration::from_millis(41_250)).await;
        client.op(1, json!(client.last_s)).await;
        client.until_op(11).await;
    }
    assert_eq!(faults(&sim), [""; 0]);
    assert_eq!(sim.report().heartbeats, 200);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_names_a_sequence_never_sent_is_noted() {
    let sim = sim().await;
    let (mut client, _) = live(&sim, JSON).await;
    client.op(1, json!(1_000)).await;
    client.until_op(11).await;
    assert_eq!(faults(&sim), ["heartbeat_seq_ahead"]);
}

#[tokio::test(start_paused = true)]
async fn identifies_of_one_key_within_5_s_get_op_9_and_other_keys_do_not() {
    let sim = Sim::start(Config { shards: 4, max_concurrency: 2, ..Config::default() }).await.unwrap();
    let mut clients = Vec::new();
    for index in 0..2 {
        let mut client = connect(&sim, JSON).await;
        client.identify((index, 4)).await;
        clients.push(client);
    }
    let mut third = connect(&sim, JSON).await;
    third.op(2, identify((2, 4))).await;
    assert_eq!(third.next().await.payload()["op"], 9);
    assert_eq!(faults(&sim), ["identify_too_fast"]);
    sleep(Duration::from_millis(5_000)).await;
    // Re-identifying on the same socket works in practice.
    third.identify((2, 4)).await;
    assert_eq!((sim.report().identifies, sim.report().identifies_refused), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn spending_the_days_identifies_resets_the_token_and_closes_every_session() {
    let bots = vec![BotConfig { identifies_per_day: 2, ..BotConfig::new("sim") }];
    let sim = Sim::start(Config { bots, ..Config::default() }).await.unwrap();
    let (mut first, _) = live(&sim, JSON).await;
    sleep(Duration::from_secs(6)).await;
    let (_second, _) = live(&sim, JSON).await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(refused(&sim, |_| {}).await, 4004);
    assert_eq!(first.until_closed().await, 4004);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(refused(&sim, |_| {}).await, 4004, "the token is worth nothing now");
    assert_eq!(faults(&sim), ["identify_budget_spent", "bad_token"]);
}

#[tokio::test(start_paused = true)]
async fn a_resume_replays_what_was_missed_in_order_and_ends_with_resumed() {
    for query in [JSON, "v=10&encoding=etf&compress=zstd-stream", "v=10&encoding=json&compress=zlib-stream"] {
        let sim = sim().await;
        let (mut client, id) = live(&sim, query).await;
        for _ in 0..4 {
            client.event("GUILD_CREATE").await;
        }
        sim.emit(10, None, None);
        while client.last_s < 15 {
            client.next().await.payload();
        }
        client.close(4000).await;
        sim.emit(20, None, None);
        let mut again = reconnect(&sim, query).await;
        again.resume(&id, 12).await;
        for s in 13..=35 {
            assert_eq!(again.next().await.payload()["s"], s);
        }
        let resumed = again.next().await.payload();
        assert_eq!((&resumed["t"], &resumed["s"]), (&json!("RESUMED"), &json!(36)));
        sim.emit(1, None, None);
        assert_eq!(again.next().await.payload()["s"], 37);
        let report = sim.report();
        assert_eq!(report.client_faults, []);
        assert_eq!((report.resumes, report.events_replayed, report.identifies, report.events_without_session), (1, 23, 1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_replayed_event_is_the_same_as_the_first_time() {
    let sim = sim().await;
    let (mut client, id) = live(&sim, JSON).await;
    sim.emit(300, None, None);
    let mut first = Vec::new();
    for _ in 0..304 {
        first.push(client.next().await.payload());
    }
    drop(client);
    sim.emit(200, None, None);
    sleep(Duration::from_secs(30)).await;
    let mut again = reconnect(&sim, JSON).await;
    again.resume(&id, 1).await;
    for payload in first {
        assert_eq!(again.next().await.payload(), payload);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_with_1000_or_1001_ends_the_session_and_any_other_keeps_it() {
    for (code, kept) in [(1000, false), (1001, false), (4000, true), (1002, true)] {
        let sim = sim().await;
        let (mut client, id) = live(&sim, JSON).await;
        client.close(code).await;
        let mut again = reconnect(&sim, JSON).await;
        again.resume(&id, 1).await;
        let op = again.next().await.payload()["op"].clone();
        assert_eq!(op == 0, kept, "code {code}");
        assert_eq!(faults(&sim), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_resume_after_the_sessions_time_is_refused_with_op_9_false() {
    let sim = sim().await;
    let (client, id) = live(&sim, JSON).await;
    drop(client);
    sleep(Duration::from_secs(179)).await;
    let mut again = reconnect(&sim, JSON).await;
    again.resume(&id, 1).await;
    again.event("RESUMED").await;
    drop(again);
    sleep(Duration::from_secs(182)).await;
    let mut late = reconnect(&sim, JSON).await;
    late.resume(&id, 1).await;
    assert_eq!(late.next().await.payload()["op"], 9);
    assert_eq!(sim.report().resumes_refused, 1);
}

#[tokio::test(start_paused = true)]
async fn a_resume_with_a_sequence_ahead_is_closed_with_4007() {
    let sim = sim().await;
    let (client, id) = live(&sim, JSON).await;
    drop(client);
    let mut again = reconnect(&sim, JSON).await;
    again.resume(&id, 100).await;
    assert_eq!(again.until_closed().await, 4007);
    assert_eq!(faults(&sim), ["resume_seq_ahead"]);
}

#[tokio::test(start_paused = true)]
async fn with_trimming_a_resume_below_the_last_heartbeat_is_closed_with_4007() {
    let config = Config { trim_replay_at_heartbeat: true, guilds: 1, ..Config::default() };
    let sim = Sim::start(config).await.unwrap();
    let (mut client, id) = live(&sim, JSON).await;
    sim.emit(20, None, None);
    while client.last_s < 22 {
        client.next().await.payload();
    }
    client.op(1, json!(10)).await;
    client.until_op(11).await;
    drop(client);
    let mut at = reconnect(&sim, JSON).await;
    at.resume(&id, 10).await;
    assert_eq!(at.next().await.payload()["s"], 11, "at the heartbeat's sequence the replay is whole");
    drop(at);
    sleep(Duration::from_secs(1)).await;
    let mut below = reconnect(&sim, JSON).await;
    below.resume(&id, 9).await;
    assert_eq!(below.until_closed().await, 4007);
    assert_eq!(faults(&sim), ["resume_below_heartbeat"]);
}

#[tokio::test(start_paused = true)]
async fn a_resume_beyond_the_replay_buffer_is_refused_with_op_9_false() {
    let sim = Sim::start(Config { replay_events_max: 50, ..Config::default() }).await.unwrap();
    let (client, id) = live(&sim, JSON).await;
    drop(client);
    sleep(Duration::from_secs(1)).await;
    sim.emit(100, None, None);
    let mut again = reconnect(&sim, JSON).await;
    again.resume(&id, 5).await;
    assert_eq!(again.next().await.payload()["op"], 9);
}

#[tokio::test(start_paused = true)]
async fn a_resume_at_the_main_address_or_with_another_query_works_and_is_noted() {
    let sim = sim().await;
    let (client, id) = live(&sim, JSON).await;
    drop(client);
    let mut main = connect(&sim, JSON).await;
    main.resume(&id, 1).await;
    main.event("RESUMED").await;
    assert_eq!(faults(&sim), ["resume_not_at_resume_url"]);
    drop(main);
    let mut other = reconnect(&sim, "v=10&encoding=json&compress=zstd-stream").await;
    other.resume(&id, 1).await;
    other.event("RESUMED").await;
    assert_eq!(faults(&sim), ["resume_not_at_resume_url", "resume_with_other_query"]);
}

#[tokio::test(start_paused = true)]
async fn a_resume_takes_the_session_from_a_connection_that_still_holds_it() {
    let sim = sim().await;
    let (mut old, id) = live(&sim, JSON).await;
    let mut new = reconnect(&sim, JSON).await;
    new.resume(&id, 1).await;
    new.event("RESUMED").await;
    sim.emit(5, None, None);
    for _ in 0..5 {
        assert_eq!(new.next().await.payload()["op"], 0);
    }
    while let crate::client::Got::Payload(payload) = old.next().await {
        assert!(payload["s"].as_u64().unwrap() <= 6, "the old connection gets nothing new");
    }
}

#[tokio::test(start_paused = true)]
async fn events_without_any_session_are_counted_as_ranges_of_time() {
    let sim = sim().await;
    sim.emit(7, Some(Kind::MessageCreate), None);
    let (mut client, _) = live(&sim, JSON).await;
    client.close(1000).await;
    sleep(Duration::from_secs(8)).await;
    sim.emit(5, Some(Kind::MessageCreate), None);
    let report = sim.report();
    assert_eq!(report.events_without_session, 12);
    assert_eq!(report.unseen.iter().map(|range| range.events).collect::<Vec<_>>(), [7, 5]);
    assert!(report.unseen[1].from_unix_ms >= report.sessions[0].ended_unix_ms.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_is_recorded_by_session_and_sequence() {
    let sim = sim().await;
    let (mut client, id) = live(&sim, JSON).await;
    sim.emit(100, None, None);
    let mut got = vec![(1, "READY".to_string(), None)];
    for _ in 0..104 {
        let payload = client.next().await.payload();
        let d = &payload["d"];
        let guild = if payload["t"] == "GUILD_CREATE" { &d["id"] } else { &d["guild_id"] };
        got.push((
            payload["s"].as_u64().unwrap(),
            payload["t"].as_str().unwrap().to_string(),
            guild.as_str().map(|id| id.parse().unwrap()),
        ));
    }
    let sent = sim.sent();
    assert_eq!(sent[0].session_id, id);
    let want: Vec<_> = sent[0].sequence().map(|s| (s, sent[0].kind(s).unwrap().name().to_string(), sent[0].guild_id(s))).collect();
    assert_eq!(got, want);
}

#[tokio::test(start_paused = true)]
async fn members_are_asked_for_whole_by_prefix_and_by_id() {
    let sim = Sim::start(Config { guilds: 1, members: 2_500, ..Config::default() }).await.unwrap();
    let guild_id = sim.guild_ids()[0].to_string();
    let (mut client, _) = live(&sim, JSON).await;
    client.op(8, json!({"guild_id": guild_id, "query": "", "limit": 0, "presences": true, "nonce": "n1"})).await;
    let mut users = Vec::new();
    for index in 0..3 {
        let chunk = client.event("GUILD_MEMBERS_CHUNK").await["d"].clone();
        assert_eq!((&chunk["chunk_index"], &chunk["chunk_count"], &chunk["nonce"]), (&json!(index), &json!(3), &json!("n1")));
        assert!(chunk["members"].as_array().unwrap().len() <= 1000);
        assert!(!chunk["presences"].as_array().unwrap().is_empty());
        users.extend(chunk["members"].as_array().unwrap().iter().map(|m| m["user"].clone()));
    }
    assert_eq!(users.len(), 2_501);
    client.op(8, json!({"guild_id": guild_id, "query": "", "limit": 0, "nonce": "n2"})).await;
    let limited = client.event("RATE_LIMITED").await["d"].clone();
    assert_eq!((&limited["opcode"], &limited["meta"]["nonce"]), (&json!(8), &json!("n2")));
    assert!(limited["retry_after"].as_f64().unwrap() > 29.0);
    let name = users[7]["username"].as_str().unwrap();
    client.op(8, json!({"guild_id": guild_id, "query": name, "limit": 1})).await;
    assert_eq!(client.event("GUILD_MEMBERS_CHUNK").await["d"]["members"][0]["user"]["id"], users[7]["id"]);
    let long = "n".repeat(33);
    client.op(8, json!({"guild_id": guild_id, "user_ids": [users[9]["id"], "7", 8], "nonce": long})).await;
    let chunk = client.event("GUILD_MEMBERS_CHUNK").await["d"].clone();
    assert_eq!(chunk["members"][0]["user"]["id"], users[9]["id"]);
    assert_eq!((&chunk["not_found"], &chunk["nonce"]), (&json!([7, 8]), &Value::Null));
    sleep(Duration::from_secs(31)).await;
    client.op(8, json!({"guild_id": guild_id, "query": "", "limit": 0})).await;
    client.event("GUILD_MEMBERS_CHUNK").await;
    assert_eq!(faults(&sim), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn voice_sounds_and_channel_info_are_answered_and_presence_is_taken() {
    let sim = sim().await;
    let (mut client, _) = live(&sim, ETF).await;
    let guild = client.event("GUILD_CREATE").await["d"].clone();
    let voice = guild["channels"].as_array().unwrap().iter().find(|c| c["type"] == 2).unwrap()["id"].clone();
    client.op(3, json!({"status": "dnd", "activities": [{"name": "a game", "type": 0}], "since": null, "afk": false})).await;
    client.op(4, json!({"guild_id": guild["id"], "channel_id": voice, "self_mute": true, "self_deaf": false})).await;
    let state = client.event("VOICE_STATE_UPDATE").await["d"].clone();
    assert_eq!((&state["channel_id"], &state["self_mute"]), (&voice, &json!(true)));
    assert!(client.event("VOICE_SERVER_UPDATE").await["d"]["endpoint"].is_string());
    client.op(4, json!({"guild_id": guild["id"], "channel_id": null, "self_mute": false, "self_deaf": false})).await;
    assert!(client.event("VOICE_STATE_UPDATE").await["d"]["channel_id"].is_null());
    client.op(31, json!({"guild_ids": [guild["id"]]})).await;
    assert_eq!(client.event("SOUNDBOARD_SOUNDS").await["d"]["guild_id"], guild["id"]);
    client.op(43, json!({"guild_id": guild["id"], "fields": ["status"]})).await;
    let info = client.event("CHANNEL_INFO").await["d"]["channels"][0].clone();
    assert!(info["status"].is_string() && info["voice_start_time"].is_null());
    assert_eq!(faults(&sim), [""; 0]);
    client.op(3, json!({"status": "asleep"})).await;
    assert_eq!(client.until_closed().await, 4001);
}

#[tokio::test(start_paused = true)]
async fn an_identify_that_lacks_what_is_required_is_refused() {
    let sim = sim().await;
    for (field, code) in [("token", 4002), ("properties", 4002), ("intents", 4002)] {
        let code_seen = refused(&sim, |ask| {
            ask.as_object_mut().unwrap().remove(field);
        })
        .await;
        assert_eq!(code_seen, code, "{field}");
    }
    assert_eq!(refused(&sim, |ask| ask["large_threshold"] = json!(1000)).await, 4002);
    assert_eq!(refused(&sim, |ask| ask["intents"] = json!(ALL_INTENTS + 1_000_000_000)).await, 4013);
}

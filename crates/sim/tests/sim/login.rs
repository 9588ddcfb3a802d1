//! Logging in, in every encoding and compression, and what is then sent.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::{connect, identify, open, session_id};
use serde_json::{Value, json};
use trunkline_sim::{BotConfig, Config, Kind, Mix, Sim, Tls};

const QUERIES: [&str; 6] = [
    "v=10&encoding=json",
    "v=10&encoding=json&compress=zlib-stream",
    "v=10&encoding=json&compress=zstd-stream",
    "v=10&encoding=etf",
    "v=10&encoding=etf&compress=zlib-stream",
    "v=10&encoding=etf&compress=zstd-stream",
];

#[tokio::test(start_paused = true)]
async fn a_client_logs_in_and_gets_its_guilds_and_traffic_in_every_encoding_and_compression() {
    for query in QUERIES {
        let sim = Sim::start(Config { guilds: 6, shards: 2, rate: 500.0, ..Config::default() }).await.unwrap();
        let mut client = connect(&sim, query).await;
        let ready = client.identify((1, 2)).await;
        let d = &ready["d"];
        assert_eq!(ready["s"], 1);
        assert_eq!(d["shard"], json!([1, 2]));
        assert_eq!(d["guilds"].as_array().unwrap().len(), 3);
        assert!(d["resume_gateway_url"].as_str().unwrap().ends_with("/resume"));
        let id = &d["guilds"][0]["id"];
        assert_eq!(id.is_u64(), client.etf, "ids are integers in ETF and text in JSON: {id}");
        assert_eq!(d["guilds"][0]["unavailable"], true);
        for s in 2..5 {
            let guild = client.event("GUILD_CREATE").await;
            assert_eq!(guild["s"], s);
            assert_eq!(guild["d"]["member_count"], 51);
        }
        for s in 5..1000 {
            let payload = client.next().await.payload();
            assert_eq!((&payload["op"], &payload["s"]), (&json!(0), &json!(s)), "{query}");
            assert!(payload["d"]["trunkline_sim"]["n"].is_u64());
        }
        client.op(1, json!(999)).await;
        client.until_op(11).await;
        let report = sim.stop().await;
        assert_eq!(report.client_faults, []);
        assert_eq!(report.identifies, 1);
        assert!(report.events_without_session > 0, "shard 0 has no session");
    }
}

#[tokio::test(start_paused = true)]
async fn a_zlib_stream_message_may_span_several_websocket_messages() {
    let sim = Sim::start(Config { zlib_split_bytes: Some(100), ..Config::default() }).await.unwrap();
    let mut client = connect(&sim, "v=10&encoding=json&compress=zlib-stream").await;
    let ready = client.identify((0, 1)).await;
    assert_eq!(ready["d"]["guilds"].as_array().unwrap().len(), 10);
    client.event("GUILD_CREATE").await;
    assert!(client.messages > 20, "{}", client.messages);
}

#[tokio::test(start_paused = true)]
async fn payload_compression_beside_transport_compression_is_noted_and_no_fault() {
    let sim = Sim::start(Config::default()).await.unwrap();
    let mut client = connect(&sim, "v=10&encoding=json&compress=zlib-stream").await;
    let mut ask = identify((0, 1));
    ask["compress"] = json!(true);
    client.op(2, ask).await;
    client.event("READY").await;
    let report = sim.stop().await;
    assert_eq!((report.client_faults_total, &report.client_faults[..]), (0, &[][..]));
    assert_eq!(report.notes.iter().map(|note| note.kind).collect::<Vec<_>>(), ["payload_compression_misused"]);
}

#[tokio::test(start_paused = true)]
async fn payload_compression_compresses_some_messages_on_their_own() {
    let sim = Sim::start(Config { members: 40, ..Config::default() }).await.unwrap();
    let mut client = connect(&sim, "v=10&encoding=json").await;
    let mut ask = identify((0, 1));
    ask["compress"] = json!(true);
    client.op(2, ask).await;
    client.event("READY").await;
    assert_eq!(client.event("GUILD_CREATE").await["d"]["members"].as_array().unwrap().len(), 41);
    let report = sim.stop().await;
    assert!(report.bytes_packed * 3 < report.bytes_plain);
    assert_eq!(report.client_faults, []);
}

#[tokio::test(start_paused = true)]
async fn intents_decide_which_events_are_sent_and_whether_messages_have_content() {
    let sim = Sim::start(Config { guilds: 1, ..Config::default() }).await.unwrap();
    let mut client = connect(&sim, "v=10&encoding=json").await;
    let mut ask = identify((0, 1));
    ask["intents"] = json!(1 | 1 << 9);
    client.op(2, ask).await;
    let guild = client.event("GUILD_CREATE").await;
    assert_eq!(guild["d"]["presences"], json!([]), "no presences without their intent");
    let members = guild["d"]["members"].as_array().unwrap().len();
    assert!(members < 10, "without GUILD_PRESENCES only the bot and those in voice are listed, not {members}");
    for kind in [Kind::PresenceUpdate, Kind::GuildMemberUpdate, Kind::TypingStart, Kind::VoiceStateUpdate, Kind::MessageReactionAdd] {
        sim.emit(3, Some(kind), None);
    }
    sim.emit(50, Some(Kind::MessageCreate), None);
    for _ in 0..50 {
        let message = client.next().await.payload();
        assert_eq!(message["t"], "MESSAGE_CREATE");
        assert_eq!(message["d"]["content"], "");
        assert_eq!(
            (&message["d"]["embeds"], &message["d"]["attachments"], &message["d"]["components"]),
            (&json!([]), &json!([]), &json!([]))
        );
    }
    client.silent(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_guild_leaves_offline_members_out_as_the_threshold_says() {
    let sim = Sim::start(Config { guilds: 1, members: 200, ..Config::default() }).await.unwrap();
    let mut counts = Vec::new();
    for threshold in [50, 250] {
        tokio::time::sleep(Duration::from_secs(6)).await;
        let mut client = connect(&sim, "v=10&encoding=etf").await;
        let mut ask = identify((0, 1));
        ask["large_threshold"] = json!(threshold);
        client.op(2, ask).await;
        let guild = client.event("GUILD_CREATE").await;
        counts.push((guild["d"]["large"].as_bool().unwrap(), guild["d"]["members"].as_array().unwrap().len()));
    }
    assert_eq!(counts[1], (false, 201));
    assert!(counts[0].0 && counts[0].1 < 201 && counts[0].1 > 100, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn sessions_that_repeat_a_shard_pair_each_get_every_event() {
    let sim = Sim::start(Config { max_concurrency: 4, guilds: 32, ..Config::default() }).await.unwrap();
    let mut first = connect(&sim, "v=10&encoding=json").await;
    first.identify((0, 1)).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut second = connect(&sim, "v=10&encoding=etf&compress=zstd-stream").await;
    second.identify((0, 1)).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut halves = connect(&sim, "v=10&encoding=json").await;
    halves.identify((1, 2)).await;
    sim.emit(40, Some(Kind::MessageCreate), None);
    let mut ids: [Vec<u64>; 2] = Default::default();
    for _ in 0..40 {
        ids[0].push(first.event("MESSAGE_CREATE").await["d"]["id"].as_str().unwrap().parse().unwrap());
        ids[1].push(second.event("MESSAGE_CREATE").await["d"]["id"].as_u64().unwrap());
    }
    assert_eq!(ids[0], ids[1]);
    let half = halves.event("MESSAGE_CREATE").await["d"]["guild_id"].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!((half >> 22) % 2, 1);
}

#[tokio::test(start_paused = true)]
async fn every_documented_event_kind_is_reached_and_equal_in_both_encodings() {
    let sim = Sim::start(Config { guilds: 2, mix: Mix::Every, ..Config::default() }).await.unwrap();
    let mut json = connect(&sim, "v=10&encoding=json").await;
    json.identify((0, 1)).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut etf = connect(&sim, "v=10&encoding=etf").await;
    etf.identify((0, 1)).await;
    for client in [&mut json, &mut etf] {
        client.event("GUILD_CREATE").await;
        client.event("GUILD_CREATE").await;
    }
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut direct = 0;
    for _ in 0..12 {
        sim.emit(100, None, None);
        for _ in 0..100 {
            let (a, b) = (json.next().await.payload(), etf.next().await.payload());
            assert_eq!(a["t"], b["t"]);
            assert_eq!(a["d"], ids_as_text(&b["d"]), "{}", a["t"]);
            *seen.entry(a["t"].as_str().unwrap().to_string()).or_default() += 1;
            direct += u32::from(a["t"] == "MESSAGE_CREATE" && a["d"]["guild_id"].is_null());
        }
    }
    let caused = [
        "",
        "TRUNKLINE_SIM_GIVEN",
        "TRUNKLINE_SIM_UNKNOWN",
        "READY",
        "RESUMED",
        "RATE_LIMITED",
        "GUILD_CREATE",
        "GUILD_DELETE",
        "GUILD_MEMBERS_CHUNK",
    ];
    let missing: Vec<&str> =
        Kind::ALL.iter().map(|kind| kind.name()).filter(|name| !caused.contains(name) && !seen.contains_key(*name)).collect();
    assert_eq!(missing, [""; 0]);
    assert!(direct > 0, "direct messages too");
}

/// ETF has ids as integers: turns them into the text that JSON has.
fn ids_as_text(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.as_u64().is_some_and(|id| id > 1 << 53) => json!(number.to_string()),
        Value::Array(items) => items.iter().map(ids_as_text).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), ids_as_text(value))).collect(),
        other => other.clone(),
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_consistent_with_the_world() {
    let sim = Sim::start(Config { guilds: 1, members: 20, mix: Mix::Every, ..Config::default() }).await.unwrap();
    let mut client = connect(&sim, "v=10&encoding=json").await;
    client.identify((0, 1)).await;
    let guild = client.event("GUILD_CREATE").await["d"].clone();
    let ids = |list: &str| guild[list].as_array().unwrap().iter().map(|o| o["id"].as_str().unwrap().to_string()).collect::<Vec<_>>();
    let mut channels = ids("channels");
    let mut roles = ids("roles");
    let mut threads = ids("threads");
    let mut members: Vec<String> =
        guild["members"].as_array().unwrap().iter().map(|m| m["user"]["id"].as_str().unwrap().to_string()).collect();
    sim.emit(3000, None, None);
    for _ in 0..2000 {
        let payload = client.next().await.payload();
        let d = &payload["d"];
        let id = d["id"].as_str().unwrap_or("").to_string();
        let check = |known: &[String], id: &str| assert!(known.iter().any(|k| k == id), "{payload}");
        let add = |known: &mut Vec<String>, id: &str| {
            assert!(!known.iter().any(|k| k == id), "{payload}");
            known.push(id.to_string());
        };
        let remove = |known: &mut Vec<String>, id: &str| {
            let at = known.iter().position(|k| k == id).unwrap_or_else(|| panic!("{payload}"));
            known.remove(at);
        };
        let role = d["role"]["id"].as_str().unwrap_or("");
        let user = d["user"]["id"].as_str().unwrap_or("");
        match payload["t"].as_str().unwrap() {
            "CHANNEL_CREATE" => add(&mut channels, &id),
            "CHANNEL_UPDATE" => check(&channels, &id),
            "CHANNEL_DELETE" => remove(&mut channels, &id),
            "GUILD_ROLE_CREATE" => add(&mut roles, role),
            "GUILD_ROLE_UPDATE" => check(&roles, role),
            "GUILD_ROLE_DELETE" => remove(&mut roles, d["role_id"].as_str().unwrap()),
            "THREAD_CREATE" => add(&mut threads, &id),
            "THREAD_UPDATE" => check(&threads, &id),
            "THREAD_DELETE" => remove(&mut threads, &id),
            "GUILD_MEMBER_ADD" => add(&mut members, user),
            "GUILD_MEMBER_UPDATE" | "PRESENCE_UPDATE" => check(&members, user),
            "GUILD_MEMBER_REMOVE" => remove(&mut members, user),
            "MESSAGE_CREATE" if d["guild_id"].is_string() => {
                check(&channels, d["channel_id"].as_str().unwrap());
                if d["webhook_id"].is_null() {
                    check(&members, d["author"]["id"].as_str().unwrap());
                }
            }
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_session_finds_the_world_as_the_last_events_left_it() {
    let sim = Sim::start(Config { guilds: 1, members: 20, ..Config::default() }).await.unwrap();
    let guild_id = sim.guild_ids()[0];
    sim.emit(1, Some(Kind::ChannelCreate), Some(guild_id));
    sim.emit(30, Some(Kind::GuildMemberUpdate), Some(guild_id));
    sim.emit(13, Some(Kind::GuildRoleUpdate), Some(guild_id));
    let mut client = connect(&sim, "v=10&encoding=json").await;
    client.identify((0, 1)).await;
    let guild = client.event("GUILD_CREATE").await["d"].clone();
    assert_eq!(guild["channels"].as_array().unwrap().len(), 13);
    let nicks = guild["members"].as_array().unwrap().iter().filter(|m| m["nick"].is_string()).count();
    assert_eq!(nicks, 20);
    assert_eq!(guild["roles"][1]["name"], "role 1 v2");
    assert_eq!(sim.report().events_without_session, 44);
}

#[tokio::test(start_paused = true)]
async fn the_steady_mix_has_the_size_and_shares_of_a_big_bots_traffic() {
    let sim = Sim::start(Config { guilds: 40, members: 300, ..Config::default() }).await.unwrap();
    let mut client = connect(&sim, "v=10&encoding=json").await;
    client.identify((0, 1)).await;
    for _ in 0..40 {
        client.event("GUILD_CREATE").await;
    }
    let before = sim.report();
    sim.emit(10_000, None, None);
    let mut messages = 0;
    let mut bytes = 0;
    for _ in 0..10_000 {
        let payload = client.next().await.payload();
        if payload["t"] == "MESSAGE_CREATE" {
            messages += 1;
            bytes += payload.to_string().len();
        }
    }
    let after = sim.report();
    let mean = (after.bytes_plain - before.bytes_plain) / 10_000;
    println!("mean of all {mean} bytes, of messages {} bytes, {messages} messages", bytes / messages);
    assert!((3_700..4_600).contains(&messages), "{messages}");
    assert!((800..1_600).contains(&mean), "{mean}");
}

#[tokio::test(start_paused = true)]
async fn several_bots_have_their_own_tokens_guilds_and_identify_windows() {
    let bots = vec![BotConfig::new("one"), BotConfig::new("Bot two")];
    let sim = Sim::start(Config { bots, guilds: 3, ..Config::default() }).await.unwrap();
    let mut ids = Vec::new();
    for token in ["one", "Bot two"] {
        let mut client = connect(&sim, "v=10&encoding=json").await;
        let mut ask = identify((0, 1));
        ask["token"] = json!(token);
        client.op(2, ask).await;
        let ready = client.event("READY").await;
        assert_eq!(session_id(&ready).len(), 32);
        ids.extend(ready["d"]["guilds"].as_array().unwrap().iter().map(|g| g["id"].to_string()));
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6);
    assert_eq!(sim.report().client_faults, []);
}

#[tokio::test]
async fn it_serves_https_and_wss_with_a_certificate() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
    let tls = Tls { cert_pem: made.cert.pem(), key_pem: made.signing_key.serialize_pem() };
    let config = Config { tls: Some(tls), advertise: Some("localhost:1".into()), ..Config::default() };
    let sim = Sim::start(config).await.unwrap();
    assert_eq!(sim.api_url(), "https://localhost:1/api/v10");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let tcp = tokio::net::TcpStream::connect(sim.addr()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
    let mut client = open(stream, "/", "v=10&encoding=etf&compress=zstd-stream").await;
    assert_eq!(client.next().await.payload()["op"], 10);
    let ready = client.identify((0, 1)).await;
    assert_eq!(ready["d"]["resume_gateway_url"], "wss://localhost:1/resume");
}

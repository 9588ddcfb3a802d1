//! Every fault does to a client what its name says, by call, by schedule and by HTTP.

use std::time::Duration;

use crate::client::{Client, Got, connect, open, reconnect, request, session_id};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use trunkline_sim::{Config, Fault, FaultKind, Sim, SimHandle, parse_schedule};

const JSON: &str = "v=10&encoding=json";
const ALL: [&str; 6] = [
    "v=10&encoding=json",
    "v=10&encoding=json&compress=zlib-stream",
    "v=10&encoding=json&compress=zstd-stream",
    "v=10&encoding=etf",
    "v=10&encoding=etf&compress=zlib-stream",
    "v=10&encoding=etf&compress=zstd-stream",
];

/// A live client that has its guild.
async fn live(config: Config, query: &str) -> (SimHandle, Client<DuplexStream>, String) {
    let sim = Sim::start(Config { guilds: 1, ..config }).await.unwrap();
    let mut client = connect(&sim, query).await;
    let ready = client.identify((0, 1)).await;
    client.event("GUILD_CREATE").await;
    (sim, client, session_id(&ready))
}

async fn resumes(sim: &SimHandle, id: &str, seq: u64, query: &str) -> Value {
    let mut again = reconnect(sim, query).await;
    again.resume(id, seq).await;
    loop {
        let payload = again.next().await.payload();
        if payload["op"] == 9 || payload["t"] == "RESUMED" {
            return payload;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn op_7_and_op_9_true_leave_the_session_resumable() {
    for (kind, op) in [(FaultKind::Reconnect, 7), (FaultKind::InvalidResumable, 9)] {
        let (sim, mut client, id) = live(Config::default(), JSON).await;
        assert_eq!(sim.fault(&Fault::new(kind)), 1);
        let told = client.until_op(op).await;
        assert_eq!(told["d"], if op == 9 { json!(true) } else { Value::Null });
        client.close(4000).await;
        assert_eq!(resumes(&sim, &id, 2, JSON).await["t"], "RESUMED");
    }
}

#[tokio::test(start_paused = true)]
async fn op_9_false_ends_the_session() {
    let (sim, mut client, id) = live(Config::default(), JSON).await;
    sim.fault(&Fault::new(FaultKind::Invalid));
    assert_eq!(client.until_op(9).await["d"], false);
    assert_eq!(resumes(&sim, &id, 2, JSON).await["op"], 9);
    sim.emit(3, None, None);
    assert_eq!(sim.report().events_without_session, 3);
}

#[tokio::test(start_paused = true)]
async fn any_close_code_can_be_had_and_the_documented_ones_end_the_session() {
    for code in (4000..=4014).filter(|code| *code != 4006).chain([1000, 1001, 1011, 1012]) {
        let (sim, mut client, id) = live(Config::default(), JSON).await;
        sim.fault(&Fault::new(FaultKind::Close(code)));
        assert_eq!(client.until_closed().await, code);
        let gone = matches!(code, 4004 | 4007 | 4009..=4014);
        assert_eq!(resumes(&sim, &id, 2, JSON).await["op"] == 9, gone, "code {code}");
    }
}

#[tokio::test]
async fn a_dropped_connection_is_reset_and_the_session_stays() {
    let sim = Sim::start(Config { guilds: 1, ..Config::default() }).await.unwrap();
    let mut client = open(TcpStream::connect(sim.addr()).await.unwrap(), "/", JSON).await;
    client.next().await.payload();
    let id = session_id(&client.identify((0, 1)).await);
    client.event("GUILD_CREATE").await;
    sim.fault(&Fault::new(FaultKind::Drop));
    assert!(matches!(client.next().await, Got::Gone));
    assert_eq!(resumes(&sim, &id, 2, JSON).await["t"], "RESUMED");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_connection_sends_nothing_and_then_everything() {
    let (sim, mut client, _) = live(Config::default(), JSON).await;
    sim.fault(&Fault::new(FaultKind::Stall).lasting(Duration::from_secs(20)));
    sleep(Duration::from_millis(10)).await;
    sim.emit(5, None, None);
    client.op(1, Value::Null).await;
    let began = Instant::now();
    client.until_op(11).await;
    assert!(began.elapsed() >= Duration::from_secs(19));
    while client.last_s < 7 {
        client.next().await.payload();
    }
}

#[tokio::test(start_paused = true)]
async fn a_half_open_connection_neither_reads_nor_writes_and_its_session_can_be_resumed_elsewhere() {
    let (sim, mut client, id) = live(Config::default(), JSON).await;
    sim.fault(&Fault::new(FaultKind::HalfOpen).lasting(Duration::from_secs(120)));
    sleep(Duration::from_millis(10)).await;
    client.op(1, Value::Null).await;
    client.silent(Duration::from_secs(100)).await;
    assert_eq!(sim.report().heartbeats, 0);
    assert_eq!(resumes(&sim, &id, 2, JSON).await["t"], "RESUMED");
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_stay_away_and_come_back() {
    let (sim, mut client, _) = live(Config::default(), JSON).await;
    sim.fault(&Fault::new(FaultKind::NoAcks).on_shard(0).lasting(Duration::from_secs(30)));
    client.op(1, Value::Null).await;
    client.silent(Duration::from_secs(29)).await;
    sleep(Duration::from_secs(2)).await;
    client.op(1, Value::Null).await;
    client.until_op(11).await;
    assert_eq!(sim.report().heartbeats, 2);
}

#[tokio::test(start_paused = true)]
async fn events_come_twice_and_sequences_jump() {
    let (sim, mut client, _) = live(Config::default(), JSON).await;
    sim.emit(3, None, None);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(client.next().await.payload());
    }
    sim.fault(&Fault { count: 2, ..Fault::new(FaultKind::Duplicate) });
    assert_eq!(client.next().await.payload(), seen[1]);
    assert_eq!(client.next().await.payload(), seen[2]);
    sim.fault(&Fault { count: 4, ..Fault::new(FaultKind::Skip) });
    sim.emit(1, None, None);
    assert_eq!(client.next().await.payload()["s"], 10);
    assert_eq!(sim.sent()[0].sequence().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 10]);
}

#[tokio::test(start_paused = true)]
async fn damaged_data_and_garbage_cannot_be_decoded_and_a_resume_gets_what_they_hid() {
    for kind in [FaultKind::Corrupt, FaultKind::Garbage, FaultKind::Deep] {
        for query in ALL {
            let (sim, mut client, id) = live(Config::default(), query).await;
            sim.fault(&Fault::new(kind));
            sim.emit(3, None, None);
            loop {
                match client.next().await {
                    Got::Payload(_) => {}
                    Got::Undecodable => break,
                    other => panic!("{kind:?} {query}: {other:?}"),
                }
            }
            drop(client);
            assert_eq!(resumes(&sim, &id, 2, query).await["s"], 6, "{kind:?} {query}");
        }
    }
}

#[tokio::test]
async fn the_bomb_is_small_on_the_wire() {
    for query in ALL {
        let sim = Sim::start(Config { guilds: 1, ..Config::default() }).await.unwrap();
        let mut client = open(TcpStream::connect(sim.addr()).await.unwrap(), "/", query).await;
        client.next().await.payload();
        client.identify((0, 1)).await;
        client.event("GUILD_CREATE").await;
        sim.fault(&Fault::new(FaultKind::Bomb));
        let message = loop {
            let message = futures_util::StreamExt::next(&mut client.socket).await.unwrap().unwrap();
            if message.as_payload().len() > 4096 {
                break message;
            }
        };
        assert!(message.as_payload().len() < 4 << 20, "{query}: {}", message.as_payload().len());
        assert!(sim.report().bytes_plain > 256 << 20);
    }
}

#[tokio::test(start_paused = true)]
async fn hello_and_ready_come_late_when_told() {
    let sim = Sim::start(Config::default()).await.unwrap();
    sim.fault(&Fault::new(FaultKind::LateHello).lasting(Duration::from_secs(8)));
    let began = Instant::now();
    let mut client = connect(&sim, JSON).await;
    assert!(began.elapsed() >= Duration::from_secs(8));
    sim.fault(&Fault::new(FaultKind::SlowReady).lasting(Duration::from_secs(10)));
    let began = Instant::now();
    client.identify((0, 1)).await;
    assert!(began.elapsed() >= Duration::from_secs(10));
}

#[tokio::test]
async fn new_connections_are_refused_for_a_time() {
    let sim = Sim::start(Config::default()).await.unwrap();
    sim.fault(&Fault::new(FaultKind::Refuse).lasting(Duration::from_millis(300)));
    let uri = format!("ws://{}/?v=10", sim.addr()).parse::<http::Uri>().unwrap();
    assert!(tokio_websockets::ClientBuilder::from_uri(uri.clone()).connect().await.is_err());
    sleep(Duration::from_millis(400)).await;
    assert!(tokio_websockets::ClientBuilder::from_uri(uri).connect().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_slow_line_trickles() {
    let (sim, mut client, _) = live(Config { members: 100, ..Config::default() }, JSON).await;
    sim.fault(&Fault::new(FaultKind::Slow).lasting(Duration::from_secs(60)));
    sleep(Duration::from_millis(10)).await;
    sim.emit(10, Some(trunkline_sim::Kind::MessageCreate), None);
    let began = Instant::now();
    for _ in 0..10 {
        client.event("MESSAGE_CREATE").await;
    }
    assert!(began.elapsed() > Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_outage_takes_guilds_away_and_brings_them_back() {
    let (sim, mut client, _) = live(Config::default(), JSON).await;
    sim.fault(&Fault::new(FaultKind::Outage).lasting(Duration::from_secs(10)));
    assert_eq!(client.event("GUILD_DELETE").await["d"]["unavailable"], true);
    sim.emit(20, None, None);
    let back = client.next().await.payload();
    assert_eq!((&back["t"], &back["d"]["unavailable"]), (&json!("GUILD_CREATE"), &json!(false)));
}

#[tokio::test(start_paused = true)]
async fn guilds_that_are_unavailable_at_the_start_come_with_the_end_of_the_next_outage() {
    let sim = Sim::start(Config { guilds: 3, unavailable_at_start: 3, ..Config::default() }).await.unwrap();
    let mut client = connect(&sim, JSON).await;
    client.identify((0, 1)).await;
    for unavailable in [true, false] {
        for _ in 0..3 {
            let guild = client.next().await.payload();
            assert_eq!((&guild["t"], &guild["d"]["unavailable"]), (&json!("GUILD_CREATE"), &json!(unavailable)));
        }
        sim.fault(&Fault::new(FaultKind::Outage).lasting(Duration::from_secs(10)));
    }
    assert_eq!(sim.report().client_faults, []);
}

#[tokio::test(start_paused = true)]
async fn unknown_op_codes_and_events_and_a_heartbeat_request_are_sent() {
    let (sim, mut client, _) = live(Config::default(), JSON).await;
    sim.fault(&Fault::new(FaultKind::BeatRequest));
    client.until_op(1).await;
    sim.fault(&Fault::new(FaultKind::Unknown));
    let mut seen = [client.next().await.payload(), client.next().await.payload()];
    seen.sort_by_key(|payload| payload["op"].as_u64());
    assert_eq!((&seen[0]["t"], &seen[1]["op"]), (&json!("TRUNKLINE_SIM_UNKNOWN"), &json!(77)));
}

#[tokio::test(start_paused = true)]
async fn faults_come_by_schedule_and_only_to_their_shard() {
    let faults = parse_schedule("12s op7 shard=1; 20s close=4000 every=30s").unwrap();
    let sim = Sim::start(Config { faults, shards: 2, max_concurrency: 2, ..Config::default() }).await.unwrap();
    let began = Instant::now();
    let mut zero = connect(&sim, JSON).await;
    let mut one = connect(&sim, JSON).await;
    zero.identify((0, 2)).await;
    one.identify((1, 2)).await;
    one.until_op(7).await;
    assert_eq!(began.elapsed().as_secs(), 12);
    assert_eq!(zero.until_closed().await, 4000);
    assert_eq!(began.elapsed().as_secs(), 20);
    sleep(Duration::from_secs(35)).await;
    let injected = sim.report().faults_injected;
    assert_eq!(
        injected.iter().map(|fault| (fault.kind.as_str(), fault.connections)).collect::<Vec<_>>(),
        [("op7", 1), ("close=4000", 2), ("close=4000", 0)]
    );
}

#[tokio::test(start_paused = true)]
async fn another_program_drives_it_by_http() {
    let (sim, mut client, _) = live(Config::default(), JSON).await;
    let (status, _, state) = request(&sim, "GET /sim/state HTTP/1.1", "").await;
    assert_eq!((status, &state["sessions"][0]["connected"]), (200, &json!(true)));
    let (_, _, done) = request(&sim, "POST /sim/emit HTTP/1.1", r#"{"count": 2, "kind": "TYPING_START"}"#).await;
    assert_eq!(done, json!({"emitted": 2}));
    client.event("TYPING_START").await;
    client.event("TYPING_START").await;
    let own = r#"{"event": {"t": "SOMETHING_NEW", "d": {"a": [1, null, true], "channel_id": "175928847299117063"}}}"#;
    request(&sim, "POST /sim/emit HTTP/1.1", own).await;
    assert_eq!(client.event("SOMETHING_NEW").await["d"], json!({"a": [1, null, true], "channel_id": "175928847299117063"}));
    let (_, _, hit) = request(&sim, "POST /sim/fault HTTP/1.1", r#"{"kind": "close", "code": 4000}"#).await;
    assert_eq!(hit, json!({"connections": 1}));
    assert_eq!(client.until_closed().await, 4000);
    let (_, _, report) = request(&sim, "GET /sim/report HTTP/1.1", "").await;
    assert_eq!((&report["identifies"], &report["client_faults"]), (&json!(1), &json!([])));
    assert_eq!(request(&sim, "POST /sim/pause HTTP/1.1", "").await.2["paused"], true);
    assert_eq!(request(&sim, "POST /sim/resume HTTP/1.1", "").await.2["paused"], false);
    let (status, _, answer) = request(&sim, "GET /sim/stat HTTP/1.1", "").await;
    assert_eq!(status, 404);
    assert!(answer["error"].as_str().unwrap().ends_with("nearest is /sim/state"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_control_request_that_is_not_understood_does_nothing_and_says_what_can_be_written() {
    let (sim, mut client, _) = live(Config::default(), JSON).await;
    for (path, body, wanted) in [
        (
            "fault",
            r#"{"kind": "drop", "shrad": 3}"#,
            r#"unknown key "shrad"; nearest is "shard"; known are kind, code, shard, bot, for_ms, count"#,
        ),
        ("fault", r#"{"kind": "stall", "for": 3}"#, r#"unknown key "for"; nearest is "#),
        ("fault", r#"{"kind": "explode"}"#, r#"unknown kind "explode"; known are drop, "#),
        ("fault", r#"{"kind": "stal"}"#, "nearest is stall"),
        ("fault", r#"{"kind": "close"}"#, "for example close=4000"),
        ("fault", r#"{"kind": "close", "code": 1006}"#, "for example close=4000"),
        ("fault", r#"{"kind": "close", "code": 5000}"#, "code is 5000; a whole number from 0 to 4999 is wanted"),
        ("fault", r#"{"kind": "drop", "code": 4000}"#, r#"code goes with the kind "close" only, not with "drop""#),
        ("fault", r#"{"kind": "drop", "shard": "3"}"#, r#"shard is "3"; a whole number from 0 to 4294967295 is wanted"#),
        ("fault", r#"{"kind": "drop", "shard": -1}"#, "shard is -1; a whole number"),
        ("fault", r#"{"kind": "drop", "bot": 1}"#, "bot is 1; a whole number from 0 to 0 is wanted"),
        ("fault", r#"{"kind": "stall", "for_ms": 1e3}"#, "for_ms is 1000.0; a whole number"),
        ("fault", r#"{"kind": "skip", "count": 10001}"#, "count is 10001; a whole number from 0 to 10000 is wanted"),
        ("fault", r#"{}"#, r#"kind is missing; it names the fault, for example "drop""#),
        ("fault", r#"["drop"]"#, "a JSON object is wanted"),
        ("fault", "{", "the body is no JSON"),
        ("emit", r#"{"kind": "MESSAGE_CRATE"}"#, r#"unknown event "MESSAGE_CRATE"; nearest is MESSAGE_CREATE"#),
        ("emit", r#"{"knid": "X"}"#, r#"unknown key "knid"; nearest is "kind""#),
        ("emit", r#"{"count": 1.5}"#, "count is 1.5"),
        ("emit", r#"{"guild_id": "1"}"#, "there is no such guild; GET /sim/state lists them"),
        ("emit", r#"{"shard": 0}"#, "shard goes with event only"),
        ("emit", r#"{"event": {"t": "A"}, "count": 2}"#, "count does not go with event"),
        ("emit", r#"{"event": {"type": "A"}}"#, r#"event: unknown key "type"; nearest is "t""#),
    ] {
        let (status, _, answer) = request(&sim, &format!("POST /sim/{path} HTTP/1.1"), body).await;
        assert_eq!(status, 400, "{body}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(wanted), "{body}: {error}");
    }
    client.silent(Duration::from_secs(1)).await;
    assert_eq!(sim.report().faults_injected, []);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_counts_from_where_it_is_told_and_ends_when_it_is_dropped() {
    let (sim, mut client, _) = live(Config::default(), JSON).await;
    sleep(Duration::from_secs(30)).await;
    let began = Instant::now();
    let plan = parse_schedule("2s op1 every=3s; 4s op7").unwrap();
    let schedule = sim.schedule(plan, began - Duration::from_secs(1));
    client.until_op(1).await;
    assert_eq!(began.elapsed().as_secs(), 1);
    client.until_op(7).await;
    assert_eq!(began.elapsed().as_secs(), 3);
    client.until_op(1).await;
    assert_eq!(began.elapsed().as_secs(), 4);
    drop(schedule);
    client.op(1, Value::Null).await;
    client.until_op(11).await;
    client.silent(Duration::from_secs(20)).await;
    assert_eq!(sim.report().faults_injected.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn calm_ends_every_lasting_fault_at_once() {
    let (sim, mut client, _) = live(Config::default(), JSON).await;
    let long = Duration::from_secs(3_600);
    let began = Instant::now();
    // Two stalls, one behind the other.
    sim.fault(&Fault::new(FaultKind::Stall).lasting(long));
    sim.fault(&Fault::new(FaultKind::Stall).lasting(long));
    sim.fault(&Fault::new(FaultKind::NoAcks).lasting(long));
    sim.fault(&Fault::new(FaultKind::Outage).lasting(long));
    for kind in [FaultKind::LateHello, FaultKind::SlowReady] {
        sim.fault(&Fault::new(kind).lasting(long));
    }
    sleep(Duration::from_secs(6)).await;
    let late = async {
        let mut late = connect(&sim, JSON).await;
        late.identify((0, 1)).await;
    };
    let calm = async {
        sleep(Duration::from_secs(4)).await;
        assert_eq!(request(&sim, "POST /sim/calm HTTP/1.1", "").await.2, json!({"calm": true}));
    };
    tokio::join!(late, calm);
    assert_eq!(client.event("GUILD_DELETE").await["d"]["unavailable"], true);
    assert_eq!(client.event("GUILD_CREATE").await["d"]["unavailable"], false);
    client.op(1, Value::Null).await;
    client.until_op(11).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    // Faults to come last as long as they are told to.
    sim.fault(&Fault::new(FaultKind::Stall).lasting(Duration::from_secs(20)));
    client.silent(Duration::from_secs(19)).await;
}

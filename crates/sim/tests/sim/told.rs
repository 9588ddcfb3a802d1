//! What the log says as it happens, and that it does not say too much.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::client::{connect, reconnect, session_id};
use serde_json::{Value, json};
use tokio::time::sleep;
use trunkline_sim::{Config, Fault, FaultKind, Sim};

const JSON: &str = "v=10&encoding=json";

/// Collects this thread's log lines while it lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let builder =
            tracing_subscriber::fmt().with_writer(move || log.clone()).with_ansi(false).with_target(false).without_time().compact();
        tracing::subscriber::set_default(builder.finish())
    }

    /// The lines since the last call.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        text.lines().map(|line| line.trim().to_string()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn logins_resumes_disconnects_faults_and_objections_are_told_as_they_happen() {
    let log = Log::default();
    let _guard = log.start();
    let sim = Sim::start(Config { guilds: 3, shards: 2, max_concurrency: 2, ..Config::default() }).await.unwrap();
    let bot = sim.bot_ids()[0];
    assert_eq!(log.lines(), [""; 0]);

    let mut client = connect(&sim, JSON).await;
    let ready = client.identify((1, 2)).await;
    let guilds = ready["d"]["guilds"].as_array().unwrap().len();
    let login = format!(
        "INFO bot {bot} shard 1 of 2: logged in with session 1, {guilds} guilds, intents 53608447, json, plain; 999 identifies are left"
    );
    assert_eq!(log.lines(), [login]);

    sim.fault(&Fault::new(FaultKind::Close(4000)).on_shard(1));
    assert_eq!(client.until_closed().await, 4000);
    drop(client);
    sleep(Duration::from_millis(100)).await;
    let disconnect = format!("INFO bot {bot} shard 1 of 2: disconnected from session 1, closed with 4000; it can be resumed");
    assert_eq!(log.lines(), ["INFO fault close=4000 on shard 1: 1 connections hit".to_string(), disconnect]);

    let mut again = reconnect(&sim, JSON).await;
    again.resume(&session_id(&ready), 1).await;
    again.event("RESUMED").await;
    assert_eq!(log.lines(), [format!("INFO bot {bot} shard 1 of 2: session 1 resumed at 1, {guilds} events to replay")]);

    again.op(1, json!(4711)).await;
    again.until_op(11).await;
    let lines = log.lines();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("WARN the client did wrong: shard 1: heartbeat names 4711, last sent is"), "{lines:?}");
    assert!(lines[0].ends_with("(heartbeat_seq_ahead)"), "{lines:?}");

    again.close(1000).await;
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].ends_with("disconnected from session 1, closed by the client with 1000; it is over"), "{lines:?}");
    assert!(lines[1].ends_with("session 1 is over: closed by the client with 1000 or 1001"), "{lines:?}");

    let mut late = reconnect(&sim, JSON).await;
    late.resume(&session_id(&ready), 1).await;
    assert_eq!(late.until_op(9).await["d"], false);
    assert_eq!(log.lines(), [format!("INFO bot {bot}: resume refused: no such session, or it is over")]);
    late.op(2, json!({"token": "not-the-token", "intents": 1, "properties": {}})).await;
    assert_eq!(late.until_closed().await, 4004);
    let lines = log.lines();
    assert_eq!(lines, ["WARN the client did wrong: identify with a token that no bot has (bad_token)"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_gone_wild_does_not_fill_the_log_and_what_is_held_back_is_counted() {
    let log = Log::default();
    let sim = Sim::start(Config { guilds: 1, ..Config::default() }).await.unwrap();
    let mut client = connect(&sim, JSON).await;
    client.identify((0, 1)).await;
    let _guard = log.start();
    for _ in 0..100 {
        client.op(1, json!(4711)).await;
        client.until_op(11).await;
    }
    assert_eq!(log.lines().len(), 20);
    assert_eq!(sim.report().client_faults_total, 100, "the report has them all");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(log.lines(), ["WARN 80 more objections within a second are not shown"]);
    // A fault is told all the same, and the next second has its own lines.
    sim.fault(&Fault::new(FaultKind::BeatRequest));
    client.op(1, json!(4711)).await;
    client.until_op(11).await;
    assert_eq!(log.lines().len(), 2);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(log.lines(), [""; 0]);
    client.op(1, Value::Null).await;
}

#[tokio::test(start_paused = true)]
async fn no_token_and_no_content_are_in_the_log() {
    let log = Log::default();
    let _guard = log.start();
    let sim = Sim::start(Config { guilds: 1, rate: 100.0, ..Config::default() }).await.unwrap();
    let mut client = connect(&sim, JSON).await;
    client.op(2, json!({"token": "secret-of-nobody", "intents": 1, "properties": {}})).await;
    assert_eq!(client.until_closed().await, 4004);
    let mut client = connect(&sim, JSON).await;
    client.identify((0, 1)).await;
    client.op(8, json!({"guild_id": "1", "query": "secret-query", "limit": 0})).await;
    sleep(Duration::from_secs(3)).await;
    assert!(!log.lines().concat().contains("secret"));
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_does_nothing_says_why() {
    let log = Log::default();
    let _guard = log.start();
    let faults = trunkline_sim::parse_schedule("1s drop shard=7; 2s late-hello shard=2; 3s stall bot=1").unwrap();
    let sim = Sim::start(Config { guilds: 3, shards: 2, max_concurrency: 2, faults, ..Config::default() }).await.unwrap();
    let warned = |log: &Log| log.lines().into_iter().filter(|line| line.starts_with("WARN")).collect::<Vec<_>>();
    sleep(Duration::from_secs(4)).await;
    assert_eq!(
        warned(&log),
        [
            "WARN the fault drop does nothing: there is no shard 7, the last one is 1",
            "WARN the fault late-hello does nothing: there is no shard 2, the last one is 1",
            "WARN the fault stall does nothing: there is no bot number 1, the last one is 0",
        ]
    );
    assert_eq!(sim.fault(&Fault::new(FaultKind::Drop).on_shard(1)), 0);
    assert_eq!(warned(&log), ["WARN the fault drop does nothing: no session of shard 1 is connected"]);
    // A client may have more shards than are recommended; a lasting fault waits for connections to come.
    let mut client = connect(&sim, JSON).await;
    client.identify((2, 4)).await;
    assert_eq!(sim.fault(&Fault::new(FaultKind::BeatRequest).on_shard(2)), 1);
    sim.fault(&Fault::new(FaultKind::LateHello).on_shard(2));
    assert_eq!(warned(&log), [""; 0]);
}

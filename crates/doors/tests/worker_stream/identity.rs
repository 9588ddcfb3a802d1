//! Who may come in, and what a worker that comes back finds.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use trunkline_doors::{DoorOptions, Limits};
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_client_message::Payload as Say;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_closed::CloseReason;
use trunkline_wire::pylon::gateway::v1::workergroup::{WorkerHeartbeatAck, WorkerIdentifyRequest};
use trunkline_wire::trunkline::worker::v1::EventFilter;

use crate::world::{TOKEN, UNIX_SECONDS, World, assert_closed, options, plain, which};

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_identify_within_ten_seconds_is_refused() {
    let world = World::start(1).await;
    let mut worker = world.connect().await;
    worker.silence(Duration::from_millis(9_900)).await;
    assert_closed(worker.end().await, CloseReason::InvalidIdentity);
    assert_eq!(world.stats.late_identities.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_first_message_that_is_no_identify_request_is_refused() {
    let world = World::start(1).await;
    let mut worker = world.connect().await;
    worker.say(Say::HeartbeatAck(WorkerHeartbeatAck::default())).await;
    assert_closed(worker.end().await, CloseReason::InvalidIdentity);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_identity_is_refused_with_words_for_those_that_know_them_and_without_the_token() {
    let world = World::start(1).await;
    let good = plain("w");
    let many = EventFilter { guilds: (0..4_097).collect(), ..EventFilter::default() };
    let cases = [
        (WorkerIdentifyRequest { auth_token: "wrong token".into(), ..good.clone() }, "wrong token"),
        (WorkerIdentifyRequest { auth_token: String::new(), ..good.clone() }, "wrong token"),
        (WorkerIdentifyRequest { consumer_group: "nowhere".into(), ..good.clone() }, "no such group"),
        (WorkerIdentifyRequest { consumer_id: String::new(), ..good.clone() }, "is empty"),
        (WorkerIdentifyRequest { consumer_id: "a\nb".into(), ..good.clone() }, "not usable"),
        (WorkerIdentifyRequest { consumer_id: "x".repeat(129), ..good.clone() }, "not usable"),
        (WorkerIdentifyRequest { last_sequence: u64::MAX, ..good.clone() }, "never issued"),
        (WorkerIdentifyRequest { filter: Some(many), ..good.clone() }, "more than 4096"),
    ];
    let count = cases.len() as u64;
    for (request, words) in cases {
        let mut worker = world.connect().await;
        let plain = request.filter.is_none();
        worker.identify(request.clone()).await;
        let message = assert_closed(worker.end().await, CloseReason::InvalidIdentity);
        assert!(!plain || message.is_empty(), "a plain worker gets none of our fields");
        let mut worker = world.connect().await;
        worker.identify(WorkerIdentifyRequest { extended: true, ..request }).await;
        let message = assert_closed(worker.end().await, CloseReason::InvalidIdentity);
        assert!(message.contains(words), "{message}");
        assert!(!message.contains(TOKEN));
    }
    assert_eq!(world.stats.refused_identities.get(), 2 * count);
    assert_eq!(world.stats.streams_open(), 0);
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Another test's thread may have come by a place that logs while this one began to listen, and noted that nobody wants it.
fn listen_to_all() {
    tracing::callsite::rebuild_interest_cache();
}

#[tokio::test(start_paused = true)]
async fn the_log_line_of_a_refusal_names_group_worker_and_peer_and_never_a_token() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::start(1).await;
    let mut worker = world.connect().await;
    worker.identify(WorkerIdentifyRequest { auth_token: "a mistyped secret".into(), ..plain("w\n1") }).await;
    assert_closed(worker.end().await, CloseReason::InvalidIdentity);
    listen_to_all();
    let mut worker = world.connect().await;
    worker.identify(WorkerIdentifyRequest { auth_token: "a mistyped secret".into(), ..plain("w\n1") }).await;
    assert_closed(worker.end().await, CloseReason::InvalidIdentity);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = log.lines().find(|line| line.contains("refused")).unwrap();
    assert!(line.contains(r#"group="default" worker="w\n1" peer="127.0.0.1:"#), "{line}");
    assert!(line.contains("wrong token"), "{line}");
    assert!(!log.contains("a mistyped secret") && !log.contains(TOKEN), "{log}");
}

#[tokio::test(start_paused = true)]
async fn a_json_log_line_has_the_workers_id_as_it_is() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::start(1).await;
    let mut worker = world.connect().await;
    worker.identify(WorkerIdentifyRequest { auth_token: "a mistyped secret".into(), ..plain("no\"ack") }).await;
    assert_closed(worker.end().await, CloseReason::InvalidIdentity);
    let _first = world.plain("w-0").await;
    listen_to_all();
    let mut worker = world.connect().await;
    worker.identify(WorkerIdentifyRequest { auth_token: "a mistyped secret".into(), ..plain("no\"ack") }).await;
    assert_closed(worker.end().await, CloseReason::InvalidIdentity);
    let _plain = world.plain("w-1").await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = |part: &str| -> serde_json::Value {
        serde_json::from_str(log.lines().rfind(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part} in {log}"))).unwrap()
    };
    let refused = line("worker refused");
    assert_eq!((&refused["worker"], &refused["group"]), (&"no\"ack".into(), &"default".into()), "{refused}");
    let joined = line("worker joined");
    assert_eq!((&joined["worker"], &joined["group"]), (&"w-1".into(), &"default".into()), "{joined}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_above_the_groups_limit_is_refused_and_says_so() {
    let limits = Limits { streams_per_group: 2, ..Limits::default() };
    let world = World::with(1, DoorOptions { limits, ..options() }, axum::Router::new()).await;
    let _one = world.plain("one").await;
    let two = world.plain("two").await;
    let mut three = world.connect().await;
    three.identify(plain("three")).await;
    let status = three.end().await.1.unwrap_err();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert!(status.message().contains("2 streams"), "{status}");
    drop(two);
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.plain("three").await;
}

#[tokio::test(start_paused = true)]
async fn a_group_that_no_core_knows_ends_the_stream_with_an_error() {
    let world = World::start(1).await;
    let mut worker = world.connect().await;
    worker.identify(WorkerIdentifyRequest { consumer_group: "undeclared".into(), ..plain("w") }).await;
    assert_eq!(worker.end().await.1.unwrap_err().code(), tonic::Code::Internal);
}

#[tokio::test(start_paused = true)]
async fn the_newest_stream_wins_and_gets_what_the_older_had_not_acknowledged_marked() {
    let world = World::start(2).await;
    let mut older = world.extended("w").await;
    let sent = [world.offer(0, 1), world.offer(0, 1), world.offer(1, 2)];
    let mut got = older.events(3).await;
    got.sort_unstable();
    assert_eq!(got, sent);
    let mut newer = world.extended("w").await;
    let words = assert_closed(older.end().await, CloseReason::InvalidIdentity);
    assert!(words.contains("newer stream"), "{words}");
    let mut again = Vec::new();
    for _ in 0..3 {
        let envelope = newer.event().await;
        assert!(envelope.header.as_ref().unwrap().redelivered);
        again.push(which(&envelope));
    }
    again.sort_unstable();
    assert_eq!(again, sent);
    assert!(newer.sequences[0] > *older.sequences.last().unwrap());
    assert_eq!(world.stats.groups[0].replaced.get(), 1);
    assert_eq!(world.stats.groups[0].redelivered.get(), 3);
    assert_eq!(world.stats.streams_open(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dozen_streams_of_one_worker_at_once_leave_one_that_gets_everything() {
    let world = World::start(2).await;
    let mut streams = Vec::new();
    for _ in 0..12 {
        let worker = world.connect().await;
        worker.identify(plain("w")).await;
        streams.push(worker);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.stats.streams_open(), 1);
    world.offer(0, 1);
    world.offer(1, 2);
    let mut served = 0;
    for mut worker in streams {
        if let Ok(Ok(Some(_))) = tokio::time::timeout(Duration::from_millis(10), worker.answers.message()).await
            && let Ok(Ok(Some(said))) = tokio::time::timeout(Duration::from_millis(10), worker.answers.message()).await
            && format!("{said:?}").contains("EventEnvelope")
        {
            served += 1;
            worker.event().await;
        }
    }
    assert_eq!(served, 1);
}

#[tokio::test(start_paused = true)]
async fn sequences_start_above_the_clock_and_above_the_last_and_never_repeat() {
    let world = World::start(1).await;
    let clock = UNIX_SECONDS << 20;
    let mut all = Vec::new();
    for last in [0, 0, clock + 500, 7] {
        let mut worker = world.identified(WorkerIdentifyRequest { last_sequence: last, ..plain("w") }).await;
        world.offer(0, 1);
        let _ = worker.events(1).await;
        world.offer(0, 1);
        let _ = worker.events(1).await;
        assert!(worker.sequences[0] > last.max(clock));
        assert!(worker.sequences.is_sorted());
        all.extend(worker.sequences);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
}

#[tokio::test(start_paused = true)]
async fn sequences_rise_by_one_and_events_without_a_form_in_pylons_contract_use_none() {
    use trunkline_discord::EventKind;
    let world = World::start(1).await;
    let mut plain = world.plain("w").await;
    for _ in 0..5 {
        world.offer(0, 1);
        world.offer_as(0, 1, EventKind::Unknown, Some(bytes::Bytes::from_static(b"{}")));
    }
    plain.events(5).await;
    assert!(plain.sequences.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{:?}", plain.sequences);
    assert_eq!(world.stats.groups[0].filtered.get(), 5);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.in_flight(), 5, "what is filtered out is acknowledged in the worker's stead");
}

#[tokio::test(start_paused = true)]
async fn the_last_sequence_acknowledges_what_a_broken_stream_had_sent() {
    let world = World::start(2).await;
    let mut worker = world.extended("w").await;
    for n in 0..10 {
        world.offer(n % 2, 1 + n as u64 % 2);
    }
    let first = worker.events(10).await;
    let last = worker.sequences[5];
    drop(worker);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut back = world.identified(WorkerIdentifyRequest { extended: true, last_sequence: last, ..plain("w") }).await;
    let mut again = back.events(4).await;
    again.sort_unstable();
    let mut rest = first[6..].to_vec();
    rest.sort_unstable();
    assert_eq!(again, rest);
    back.silence(Duration::from_millis(500)).await;
    assert_eq!(world.stats.groups[0].resumed_events.get(), 6);
}

#[tokio::test(start_paused = true)]
async fn the_last_sequence_of_a_worker_with_a_foreign_ticket_acknowledges_nothing() {
    let world = World::start(1).await;
    let mut worker = world.extended("w").await;
    world.offer(0, 1);
    worker.events(1).await;
    let last = worker.sequences[0];
    drop(worker);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let request = WorkerIdentifyRequest { extended: true, last_sequence: last, router_ticket: "another's".into(), ..plain("w") };
    let mut back = world.identified(request).await;
    assert!(back.event().await.header.unwrap().redelivered);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_128_random_bits_and_new_with_every_stream() {
    let world = World::start(1).await;
    let mut tickets = Vec::new();
    for id in ["a", "b", "a"] {
        let mut worker = world.connect().await;
        worker.identify(plain(id)).await;
        tickets.push(worker.joined().await);
    }
    assert!(tickets.iter().all(|ticket| ticket.len() == 32));
    tickets.sort();
    tickets.dedup();
    assert_eq!(tickets.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_workers_filter_narrows_its_stream_and_its_format_is_kept() {
    use trunkline_wire::pylon::discord::v1::event::event_envelope::EventData;
    use trunkline_wire::trunkline::worker::v1::PayloadFormat;
    let world = World::start(1).await;
    let filter = EventFilter { guilds: vec![2], ..EventFilter::default() };
    let request = WorkerIdentifyRequest { filter: Some(filter), payload_format: PayloadFormat::RawJson.into(), ..plain("w") };
    let mut worker = world.identified(request).await;
    world.offer(0, 1);
    let wanted = world.offer(0, 2);
    let envelope = worker.event().await;
    assert_eq!(which(&envelope), wanted);
    let Some(EventData::RawEvent(raw)) = envelope.event_data else { panic!() };
    assert_eq!(raw.name, "MESSAGE_CREATE");
    assert!(raw.bytes.starts_with(b"{"));
}

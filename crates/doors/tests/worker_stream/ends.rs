//! Drains, stops, broken and silent streams, and what is too large.

use std::time::Duration;

use tokio::time::Instant;
use trunkline_discord::EventKind;
use trunkline_wire::pylon::gateway::v1::workergroup::WorkerIdentifyRequest;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_closed::CloseReason;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_server_message::Payload as Hear;
use trunkline_wire::trunkline::worker::v1::PayloadFormat;

use crate::world::{World, assert_closed, plain};

#[tokio::test(start_paused = true)]
async fn a_drain_with_zero_gives_what_was_not_acknowledged_to_the_others_and_completes() {
    let world = World::start(2).await;
    let mut worker = world.plain("w").await;
    let sent = [world.offer(0, 1), world.offer(1, 2), world.offer(0, 1)];
    worker.events(3).await;
    worker.drain(0).await;
    assert_closed(worker.end().await, CloseReason::DrainComplete);
    let mut other = world.extended("other").await;
    let mut got = other.events(3).await;
    got.sort_unstable();
    assert_eq!(got, sent);
    assert_eq!(world.stats.groups[0].drains.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_acknowledges_up_to_its_sequence_and_the_rest_goes_to_the_others_at_once() {
    let world = World::start(1).await;
    let mut worker = world.plain("w").await;
    let sent: Vec<u64> = (0..10).map(|_| world.offer(0, 1)).collect();
    worker.events(10).await;
    let mut other = world.plain("other").await;
    let began = Instant::now();
    worker.drain(worker.sequences[6]).await;
    assert_closed(worker.end().await, CloseReason::DrainComplete);
    assert_eq!(other.events(3).await, sent[7..]);
    assert!(began.elapsed() < Duration::from_secs(1), "no grace for a worker that said good-bye");
}

#[tokio::test(start_paused = true)]
async fn a_drain_with_a_sequence_never_sent_acknowledges_nothing() {
    let world = World::start(1).await;
    let mut worker = world.plain("w").await;
    world.offer(0, 1);
    worker.events(1).await;
    worker.drain(worker.sequences[0] + 1).await;
    assert_closed(worker.end().await, CloseReason::DrainComplete);
    assert_eq!(world.stats.groups[0].bad_acks.get(), 1);
    assert_eq!(world.plain("other").await.events(1).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_asks_waits_for_the_answers_and_ends_early_with_ok_and_without_a_word_to_plain_workers() {
    let world = World::start(2).await;
    let mut worker = world.plain("plain").await;
    let mut extended = world.extended("extended").await;
    for guild in 1..=40 {
        world.offer(guild as usize % 2, guild);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let door = world.door.clone();
    let began = Instant::now();
    let stopping = tokio::spawn(async move { door.stop().await });
    for worker in [&mut worker, &mut extended] {
        let asked = loop {
            if let Hear::HeartbeatRequest(asked) = worker.hear().await {
                break asked;
            }
        };
        assert!(began.elapsed() < Duration::from_millis(500));
        worker.ack(&asked, *worker.sequences.last().unwrap()).await;
    }
    assert!(stopping.await.unwrap(), "everything was acknowledged");
    assert!(began.elapsed() < Duration::from_secs(1));
    let (closed, status) = worker.end().await;
    assert!(closed.is_none(), "Pylon's Java client comes back only after an end without a word");
    status.unwrap();
    assert_closed(extended.end().await, CloseReason::RequestedReconnect);
    assert_eq!(world.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_five_seconds_for_a_worker_that_does_not_answer_and_sends_nothing_new() {
    let mut world = World::start(1).await;
    let mut worker = world.plain("w").await;
    world.offer(0, 1);
    worker.events(1).await;
    let door = world.door.clone();
    let began = Instant::now();
    let stopping = tokio::spawn(async move { door.stop().await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    world.offer(0, 1);
    let late = world.connect().await;
    late.identify(plain("late")).await;
    assert!(!stopping.await.unwrap());
    let took = began.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_millis(5_500)).contains(&took), "{took:?}");
    assert!(worker.end().await.0.is_none());
    assert_eq!(worker.sequences.len(), 1);
    drop(late);
    world.shut_down().await;
    assert_eq!(world.stats.connections_open.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_guilds_of_a_broken_stream_wait_for_the_grace_time_and_then_go_to_the_others() {
    let world = World::start(1).await;
    let mut worker = world.plain("w").await;
    let first: Vec<u64> = (0..5).map(|_| world.offer(0, 1)).collect();
    worker.events(5).await;
    let mut other = world.plain("other").await;
    drop(worker);
    let began = Instant::now();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let later = world.offer(0, 1);
    let got = other.events(6).await;
    let after = began.elapsed();
    assert!((Duration::from_millis(4_900)..Duration::from_millis(5_500)).contains(&after), "{after:?}");
    assert_eq!(got, [&first[..], &[later]].concat());
    assert_eq!(world.stats.groups[0].broken.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_stream_counts_as_broken_and_ends() {
    let world = World::start(1).await;
    let mut worker = world.plain("w").await;
    world.offer(0, 1);
    worker.events(1).await;
    worker.say = None;
    let (closed, status) = worker.end().await;
    assert!(closed.is_none());
    status.unwrap();
    let mut back = world.plain("w").await;
    assert_eq!(back.events(1).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_raw_event_above_the_workers_limit_loses_members_and_the_stream_goes_on() {
    let world = World::start(1).await;
    let request = WorkerIdentifyRequest { payload_format: PayloadFormat::RawJson.into(), ..plain("w") };
    let mut worker = world.identified(request).await;
    let members = vec![r#"{"nick":"somebody with a rather long name","user":{"id":"1"},"roles":[]}"#; 80_000].join(",");
    let body = format!(r#"{{"id":"1","name":"large","members":[{members}],"channels":[]}}"#);
    assert!(body.len() > 5 << 20);
    world.offer_as(0, 1, EventKind::GuildCreate, Some(body.into()));
    let envelope = worker.event().await;
    let trimmed = envelope.header.unwrap().trimmed.unwrap();
    assert_eq!(trimmed.members, 80_000);
    let next = world.offer(0, 1);
    assert_eq!(worker.events(1).await, [next]);
}

#[tokio::test(start_paused = true)]
async fn an_event_above_a_plain_workers_limit_is_counted_as_such_and_the_stream_goes_on() {
    let world = World::start(1).await;
    let mut worker = world.plain("w").await;
    let body = format!(r#"{{"id":"1","channel_id":"2","guild_id":"1","content":"{}"}}"#, "x".repeat(5 << 20));
    world.offer_as(0, 1, EventKind::MessageCreate, Some(body.into()));
    let next = world.offer(0, 1);
    assert_eq!(worker.events(1).await, [next]);
    let stats = &world.stats.groups[0];
    assert_eq!((stats.too_large.get(), stats.filtered.get(), stats.trimmed.get()), (1, 0, 0));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.in_flight(), 1, "what cannot be sent is acknowledged in the worker's stead");
}

/// Real time: a socket that is full is about what the kernel buffers, not about clocks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_never_reads_holds_nobody_else_and_is_timed_out() {
    use trunkline_doors::{DoorOptions, Timings};
    let timings = Timings {
        ask_after: Duration::from_millis(100),
        ask_again: Duration::from_millis(200),
        dead_after: Duration::from_millis(800),
        farewell: Duration::from_millis(200),
        ..Timings::default()
    };
    let world = World::with(1, DoorOptions { timings, ..crate::world::options() }, axum::Router::new()).await;
    let request = WorkerIdentifyRequest { payload_format: PayloadFormat::RawJson.into(), ..plain("stuck") };
    let _stuck = world.identified(request).await;
    let mut good = world.plain("good").await;
    let body = bytes::Bytes::from(format!("\"{}\"", "x".repeat(100_000)));
    let sent: Vec<u64> = (0..200).map(|n| world.offer_as(0, n % 20, EventKind::Unknown, Some(body.clone()))).collect();
    let small: Vec<u64> = (0..200).map(|n| world.offer(0, n % 20)).collect();
    // The good one gets its own guilds' events at once, and the rest when the stuck one is found out.
    let mut got = Vec::new();
    let began = Instant::now();
    while got.len() < small.len() {
        match good.hear().await {
            Hear::EventEnvelope(envelope) => got.push(crate::world::which(&envelope)),
            Hear::HeartbeatRequest(asked) => good.ack(&asked, *good.sequences.last().unwrap_or(&0)).await,
            other => panic!("{other:?}"),
        }
        if got.len() == small.len() / 5 {
            assert!(began.elapsed() < Duration::from_millis(700), "{:?}", began.elapsed());
        }
    }
    assert_eq!(world.stats.groups[0].timeouts.get(), 1);
    assert!(sent.len() as u64 >= world.stats.groups[0].filtered.get());
    got.sort_unstable();
    assert_eq!(got, small);
}

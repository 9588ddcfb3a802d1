//! Requests for acknowledgement, acknowledgements, and credit.

use std::time::Duration;

use tokio::time::Instant;
use trunkline_discord::EventKind;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_client_message::Payload as Say;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_closed::CloseReason;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_server_message::Payload as Hear;
use trunkline_wire::pylon::gateway::v1::workergroup::{WorkerHeartbeatAck, WorkerIdentifyRequest};
use trunkline_wire::trunkline::worker::v1::PayloadFormat;

use crate::world::{CREDIT, World, assert_closed, plain};

#[tokio::test(start_paused = true)]
async fn a_worker_is_asked_a_second_after_the_oldest_event_and_its_answer_lets_go_of_all_up_to_it() {
    let world = World::start(2).await;
    let mut worker = world.extended("w").await;
    let sent_at = Instant::now();
    for n in 0..6 {
        world.offer(n % 2, 1 + n as u64 % 2);
    }
    worker.events(6).await;
    assert_eq!(world.in_flight(), 6);
    let asked = worker.asked().await;
    let after = sent_at.elapsed();
    assert!((Duration::from_millis(990)..Duration::from_millis(1_050)).contains(&after), "{after:?}");
    assert_eq!(asked.last_sent_sequence, *worker.sequences.last().unwrap());
    worker.ack(&asked, worker.sequences[3]).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(world.in_flight(), 2);
    worker.acknowledge_all().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(world.in_flight(), 0);
    let stats = &world.stats.groups[0];
    assert_eq!((stats.asked.get(), stats.answered.get(), stats.acked.get()), (2, 2, 6));
}

#[tokio::test(start_paused = true)]
async fn a_plain_workers_requests_carry_none_of_our_fields() {
    let world = World::start(1).await;
    let mut worker = world.plain("w").await;
    world.offer(0, 1);
    worker.events(1).await;
    assert_eq!(worker.asked().await.last_sent_sequence, 0);
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_of_what_was_never_sent_are_ignored_and_counted() {
    let world = World::start(1).await;
    let mut worker = world.plain("w").await;
    world.offer(0, 1);
    worker.events(1).await;
    let sequence = worker.sequences[0];
    let asked = worker.asked().await;
    for wrong in [sequence + 1, sequence - 1, 1, u64::MAX] {
        worker.ack(&asked, wrong).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.stats.groups[0].bad_acks.get(), 4);
    assert_eq!(world.in_flight(), 1);
    worker.ack(&asked, sequence).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.in_flight(), 0, "and the stream works on");
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_a_made_up_nonce_acknowledges_but_is_no_sign_of_life() {
    let world = World::start(1).await;
    let mut worker = world.plain("w").await;
    world.offer(0, 1);
    worker.events(1).await;
    worker.say(Say::HeartbeatAck(WorkerHeartbeatAck { nonce: "1".into(), sequence: worker.sequences[0] })).await;
    worker.say(Say::IdentifyRequest(WorkerIdentifyRequest::default())).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.in_flight(), 0);
    assert_eq!(world.stats.groups[0].bad_messages.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn half_the_credit_used_is_asked_for_at_once_and_no_more_than_the_credit_is_ever_sent() {
    let world = World::start(1).await;
    let mut worker = world.plain("w").await;
    let began = Instant::now();
    for _ in 0..CREDIT + 500 {
        world.offer(0, 1);
    }
    let (mut events, mut asked) = (0, None);
    while events < CREDIT {
        match worker.hear().await {
            Hear::EventEnvelope(_) => events += 1,
            Hear::HeartbeatRequest(request) => {
                assert!(asked.is_none(), "asked once for one reason");
                assert!((CREDIT / 2..CREDIT / 2 + 130).contains(&events), "after {events} events");
                asked = Some(request);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(began.elapsed() < Duration::from_secs(1));
    worker.silence(Duration::from_millis(900)).await;
    worker.ack(&asked.unwrap(), worker.sequences[CREDIT - 1]).await;
    assert_eq!(worker.events(500).await.len(), 500);
    assert_eq!(world.overruns(), 0);
}

#[tokio::test(start_paused = true)]
async fn sixteen_mebibytes_are_the_credit_too() {
    let world = World::start(1).await;
    let request = WorkerIdentifyRequest { payload_format: PayloadFormat::RawJson.into(), ..plain("w") };
    let mut worker = world.identified(request).await;
    let body = bytes::Bytes::from(format!("\"{}\"", "x".repeat(1 << 20)));
    for _ in 0..40 {
        world.offer_as(0, 1, EventKind::Unknown, Some(body.clone()));
    }
    let mut events = 0;
    let asked = loop {
        match worker.hear().await {
            Hear::EventEnvelope(_) => events += 1,
            Hear::HeartbeatRequest(asked) => break asked,
            other => panic!("{other:?}"),
        }
    };
    assert!((7..=9).contains(&events), "half is used after {events}");
    events += worker.events(15 - events).await.len();
    worker.silence(Duration::from_millis(500)).await;
    worker.ack(&asked, *worker.sequences.last().unwrap()).await;
    assert!(worker.events(10).await.len() + events >= 25);
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_is_asked_every_ten_seconds() {
    let world = World::start(1).await;
    let mut worker = world.plain("w").await;
    let began = Instant::now();
    for n in 1..=3 {
        let asked = worker.asked().await;
        let after = began.elapsed().as_millis();
        assert!((n * 10_000 - 20..n * 10_000 + 100).contains(&after), "{after}");
        worker.ack(&asked, 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_leaves_two_requests_unanswered_is_closed_and_its_events_go_to_the_others() {
    let world = World::start(1).await;
    let mut dead = world.plain("dead").await;
    let sent: Vec<u64> = (0..20).map(|_| world.offer(0, 1)).collect();
    assert_eq!(dead.events_unanswered(20).await, sent);
    let mut alive = world.plain("alive").await;
    let began = Instant::now();
    // Silent from here on, without a word from its kernel either.
    let mut got = Vec::new();
    while got.len() < 20 {
        match alive.hear().await {
            Hear::EventEnvelope(envelope) => got.push(crate::world::which(&envelope)),
            Hear::HeartbeatRequest(asked) => alive.ack(&asked, *alive.sequences.last().unwrap_or(&0)).await,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, sent, "in order");
    let after = began.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(13)).contains(&after), "{after:?}");
    assert_closed(dead.end().await, CloseReason::HeartbeatTimeout);
    assert_eq!(world.stats.groups[0].timeouts.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_guild_changes_hands_only_after_its_old_worker_was_asked_and_has_acknowledged() {
    let world = World::start(1).await;
    let mut old = world.plain("old").await;
    for guild in 1..=20 {
        world.offer(0, guild);
    }
    old.events_unanswered(20).await;
    let joined = Instant::now();
    let mut new = world.plain("new").await;
    for guild in 1..=20 {
        world.offer(0, guild);
    }
    let asked = old.asked().await;
    assert!(joined.elapsed() < Duration::from_millis(500), "asked at once, not after a second");
    new.silence(Duration::from_millis(300)).await;
    old.ack(&asked, *old.sequences.last().unwrap()).await;
    let moved = new.events_until_silence().await;
    let kept = old.events_until_silence().await;
    assert!(moved > 2 && kept > 2, "{moved} moved, {kept} stay");
    assert_eq!(moved + kept, 20);
}

#[tokio::test(start_paused = true)]
async fn a_busy_core_gets_the_credit_that_an_idle_one_leaves() {
    let world = World::start(2).await;
    let mut worker = world.plain("w").await;
    let mut got = 0;
    for _ in 0..60 {
        for _ in 0..1_000 {
            world.offer(0, 1);
        }
        let until = got + 1_000;
        while got < until {
            match worker.hear().await {
                Hear::EventEnvelope(_) => got += 1,
                Hear::HeartbeatRequest(asked) => worker.ack(&asked, *worker.sequences.last().unwrap()).await,
                other => panic!("{other:?}"),
            }
        }
    }
    // Now it falls silent, and takes more than an equal share of one core.
    for _ in 0..2 * CREDIT {
        world.offer(0, 1);
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(world.in_flight() > 3_000, "{}", world.in_flight());
    assert!(world.in_flight() <= CREDIT as u64 + 1_000, "{}", world.in_flight());
    assert_eq!(world.overruns(), 0);
}

//! The worker client against the door.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;
use trunkline_doors::client::{ClientError, Done, Received, WorkerClient, WorkerOptions, sequence};
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_closed::CloseReason;

use crate::world::{TOKEN, World, which};

fn worker(world: &World, id: &str) -> WorkerOptions {
    WorkerOptions { extended: true, ..WorkerOptions::new(&world.address.to_string(), "default", TOKEN, id) }
}

async fn next(client: &mut WorkerClient) -> Received {
    timeout(Duration::from_secs(60), client.next()).await.expect("nothing for a minute").expect("closed already")
}

async fn event(client: &mut WorkerClient) -> u64 {
    match next(client).await {
        Received::Event(envelope) => which(&envelope),
        other => panic!("{other:?}"),
    }
}

async fn joined(client: &mut WorkerClient) {
    assert!(matches!(next(client).await, Received::Joined { .. }));
}

#[tokio::test(start_paused = true)]
async fn the_client_acknowledges_by_itself_what_was_asked_past() {
    let world = World::start(2).await;
    let mut client = WorkerClient::connect(worker(&world, "w")).await.unwrap();
    joined(&mut client).await;
    for n in 0..10 {
        world.offer(n % 2, n as u64 % 2);
    }
    for _ in 0..10 {
        event(&mut client).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.in_flight(), 1, "the tenth is still in the caller's hands");
    timeout(Duration::from_secs(3), client.next()).await.unwrap_err();
    assert_eq!(world.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_takes_a_minute_over_an_event_stays_connected() {
    let world = World::start(1).await;
    let options = WorkerOptions { done: Done::WhenSaid, ..worker(&world, "w") };
    let mut client = WorkerClient::connect(options).await.unwrap();
    joined(&mut client).await;
    world.offer(0, 1);
    let Received::Event(envelope) = next(&mut client).await else { panic!() };
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.stats.streams_open(), 1);
    assert_eq!(world.in_flight(), 1);
    client.done(sequence(&envelope));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.in_flight(), 0);
    assert_eq!(world.stats.groups[0].bad_acks.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_drained_client_is_closed_and_a_refused_one_stays_away() {
    let world = World::start(1).await;
    let mut client = WorkerClient::connect(worker(&world, "w")).await.unwrap();
    joined(&mut client).await;
    client.drain().await;
    assert!(matches!(next(&mut client).await, Received::Closed { reason: Some(CloseReason::DrainComplete), .. }));
    assert!(client.next().await.is_none());

    let options = WorkerOptions { token: "wrong".into(), ..worker(&world, "w") };
    let mut client = WorkerClient::connect(options).await.unwrap();
    let Received::Closed { reason: Some(CloseReason::InvalidIdentity), why } = next(&mut client).await else { panic!() };
    assert!(why.contains("wrong token"), "{why}");
    assert!(client.next().await.is_none());
}

/// Passes connections on until it is told to cut them.
async fn cable(to: SocketAddr) -> (SocketAddr, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let cut = Arc::new(Notify::new());
    let cuts = cut.clone();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let cuts = cuts.clone();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = cuts.notified() => {}
                }
            });
        }
    });
    (address, cut)
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_connection_is_cut_comes_back_and_gets_only_what_it_had_not_done() {
    let world = World::start(2).await;
    let (address, cut) = cable(world.address).await;
    let options = WorkerOptions { address: address.to_string(), ..worker(&world, "w") };
    let mut client = WorkerClient::connect(options).await.unwrap();
    joined(&mut client).await;
    let sent: Vec<u64> = (0..6).map(|_| world.offer(0, 1)).collect();
    for wanted in &sent[..4] {
        assert_eq!(event(&mut client).await, *wanted);
    }
    cut.notify_waiters();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(matches!(next(&mut client).await, Received::Lost { .. }));
    joined(&mut client).await;
    // The fourth was still in the caller's hands when the cable was cut.
    for wanted in &sent[3..] {
        assert_eq!(event(&mut client).await, *wanted);
    }
    let stats = &world.stats.groups[0];
    assert_eq!((stats.resumed_events.get(), stats.redelivered.get()), (3, 3));
    timeout(Duration::from_secs(3), client.next()).await.unwrap_err();
    assert_eq!(world.in_flight(), 0);
    assert_eq!(stats.bad_acks.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_back_finds_its_client_waiting() {
    let mut world = World::start(1).await;
    let mut client = WorkerClient::connect(worker(&world, "w")).await.unwrap();
    joined(&mut client).await;
    world.door.stop().await;
    world.shut_down().await;
    assert!(matches!(next(&mut client).await, Received::Lost { .. }));
    assert!(matches!(next(&mut client).await, Received::Lost { .. }));
}

#[tokio::test(start_paused = true)]
async fn nobody_listening_and_an_address_that_is_none_are_told_plainly() {
    let unreachable = WorkerClient::connect(WorkerOptions::new("127.0.0.1:1", "g", "t", "w")).await.unwrap_err();
    assert!(unreachable.to_string().starts_with("cannot reach 127.0.0.1:1: "), "{unreachable}");
    let nonsense = WorkerClient::connect(WorkerOptions::new("not an address", "g", "t", "w")).await.unwrap_err();
    assert!(matches!(nonsense, ClientError::Address { .. }));
    assert!(!format!("{:?}", WorkerOptions::new("a", "g", "sesame", "w")).contains("sesame"));
}

//! How many events one worker stream carries: one core, one door, one worker, loopback TCP, raw payloads.
//!
//! `cargo run --release -p trunkline-doors --example throughput`
#![allow(clippy::print_stdout, clippy::disallowed_methods)] // A bench: it prints, and measures with the real clock.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use trunkline_delivery::{Filter, GroupId, GroupLimits, GroupSpec, Hub, HubConfig, Slot};
use trunkline_discord::{Event, EventKind, EventName, Routing, ShardId, Time};
use trunkline_doors::client::{Received, WorkerClient, WorkerOptions};
use trunkline_doors::{CoreLink, CoreSide, DoorOptions, Group, GroupToken, Groups, ServeOptions, WorkerDoor, serve};
use trunkline_etf::Encoding;
use trunkline_wire::trunkline::worker::v1::PayloadFormat;

const EVENTS: u64 = 1_000_000;
const BODY_BYTES: usize = 1_200;
/// Events that lie in the log at once: the core stays ahead of the worker without outgrowing the group's limits.
const AHEAD: u64 = 8_192;

fn main() -> Result<(), Box<dyn Error>> {
    let (commands, received) = mpsc::channel(4_096);
    let (go, start) = std::sync::mpsc::channel();
    // A core is a thread with a single-threaded runtime, as in the server.
    let core = std::thread::spawn(move || -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(feed(received, start));
        Ok(())
    });
    let edge = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let took = edge.block_on(drive(commands, go))?;
    edge.shutdown_background();
    let rate = EVENTS as f64 / took.as_secs_f64();
    println!("events     {EVENTS}\nbody       {BODY_BYTES} B\ntook       {:.2} s", took.as_secs_f64());
    println!("rate       {rate:.0} events/s, {:.0} MB/s", rate * BODY_BYTES as f64 / 1e6);
    drop(core);
    Ok(())
}

async fn feed(mut received: mpsc::Receiver<trunkline_doors::ToCore>, start: std::sync::mpsc::Receiver<()>) {
    let began = Instant::now();
    let now = || Time::ZERO + began.elapsed();
    let mut hub = Hub::new(HubConfig { store: false, ..HubConfig::default() });
    let spec = GroupSpec { id: GroupId(0), name: "default".into(), filter: Filter::default(), limits: GroupLimits::default() };
    hub.declare(spec).expect("the first group");
    let shard = ShardId { bot: 7, index: 0, count: 1 };
    hub.add_shard(Slot(0), shard, None, now(), &mut Vec::new()).expect("the first shard");
    let mut side = CoreSide::new(hub);
    let mut up = Vec::new();
    // The worker joins first.
    if let Some(command) = received.recv().await {
        side.handle(command, now(), &mut up);
    }
    start.recv().ok();
    let body = Bytes::from(format!("{{\"content\":\"{}\"}}", "x".repeat(BODY_BYTES - 14)));
    let (mut s, mut acked) = (0, 0);
    loop {
        while s < EVENTS && s - acked < AHEAD {
            s += 1;
            side.offer(Slot(0), Arc::new(event(shard, s, body.clone(), now())), now(), &mut up);
        }
        let Some(command) = received.recv().await else { return };
        if let trunkline_doors::ToCore::Acked { entries, .. } = &command {
            acked += entries.len() as u64;
        }
        side.handle(command, now(), &mut up);
    }
}

fn event(shard: ShardId, s: u64, body: Bytes, now: Time) -> Event {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Event {
        shard,
        session: 1,
        s,
        epoch: 1,
        kind: EventKind::MessageCreate,
        name: EventName::Static("MESSAGE_CREATE"),
        encoding: Encoding::Json,
        body,
        previous: None,
        origin: None,
        routing: Routing { guild_id: Some(s % 1_000), ..Routing::default() },
        received_at_unix_us: u64::try_from(unix.as_micros()).unwrap_or(u64::MAX),
        received_at: now,
    }
}

async fn drive(commands: mpsc::Sender<trunkline_doors::ToCore>, go: std::sync::mpsc::Sender<()>) -> Result<Duration, Box<dyn Error>> {
    let group = Group { id: GroupId(0), name: "default".into(), token: GroupToken::new("token") };
    let door = WorkerDoor::new(Groups::new(vec![group])?, vec![CoreLink { commands }], DoorOptions::default());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let router = trunkline_doors::serve::routes(&door, None, axum::Router::new()).await?;
    tokio::spawn(serve(listener, router, door.stats(), ServeOptions::default(), std::future::pending()));
    let options = WorkerOptions { payload: PayloadFormat::RawJson, ..WorkerOptions::new(&address, "default", "token", "bench") };
    let mut worker = WorkerClient::connect(options).await?;
    let mut began = Instant::now();
    let mut count = 0;
    while let Some(received) = worker.next().await {
        match received {
            Received::Joined { .. } => {
                began = Instant::now();
                go.send(())?;
            }
            Received::Event(_) => {
                count += 1;
                if count == EVENTS {
                    break;
                }
            }
            other => return Err(format!("{other:?}").into()),
        }
    }
    let took = began.elapsed();
    let stats = door.stats();
    let group = &stats.groups[0];
    println!("asked      {}, answered {}", group.asked.get(), group.answered.get());
    Ok(took)
}

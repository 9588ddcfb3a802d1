//! What the cores hear of a stream's end, in order or not, and what they do about one of which they hear nothing.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use trunkline_delivery::{Credit, Filter, GroupId, GroupLimits, GroupSpec, Hub, HubConfig, Slot, StreamId};
use trunkline_discord::{EventKind, Time};
use trunkline_doors::link::FromCore;
use trunkline_doors::serve::routes;
use trunkline_doors::{CoreLink, CoreSide, DoorOptions, Group, GroupToken, Groups, ServeOptions, StreamLink, ToCore, WorkerDoor, serve};
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_closed::CloseReason;

use crate::world::{TOKEN, World, assert_closed, connect, event, options, plain, shard};

/// What a core is told, in a word; none for what is of no interest here.
fn word(command: &ToCore) -> Option<(&'static str, StreamId)> {
    match command {
        ToCore::Join { stream, .. } => Some(("join", *stream)),
        ToCore::Broke(stream) => Some(("broke", *stream)),
        ToCore::Leave(stream) => Some(("leave", *stream)),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_replaced_stream_tells_every_core_that_it_is_gone_before_the_newer_one_joins_them() {
    let group = Group { id: GroupId(0), name: "default".into(), token: GroupToken::new(TOKEN) };
    let (links, mut cores): (Vec<_>, Vec<_>) = (0..3)
        .map(|_| {
            let (commands, received) = mpsc::channel(64);
            (CoreLink { commands }, received)
        })
        .unzip();
    let door = WorkerDoor::new(Groups::new(vec![group]).unwrap(), links, options());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = routes(&door, None, axum::Router::new()).await.unwrap();
    tokio::spawn(serve(listener, router, door.stats(), ServeOptions::default(), std::future::pending()));

    let mut older = connect(address).await;
    older.identify(plain("w")).await;
    older.joined().await;
    let mut newer = connect(address).await;
    newer.identify(plain("w")).await;
    newer.joined().await;
    assert_closed(older.end().await, CloseReason::InvalidIdentity);
    for core in &mut cores {
        let mut heard = VecDeque::new();
        while let Ok(command) = core.try_recv() {
            heard.extend(word(&command));
        }
        let (Some(("join", first)), Some(("join", second))) = (heard.front().copied(), heard.back().copied()) else {
            panic!("{heard:?}");
        };
        assert!(first < second);
        assert_eq!(heard, [("join", first), ("broke", first), ("join", second)]);
    }
}

thread_local! {
    /// Set: the next look at the wall clock panics.
    static BROKEN_CLOCK: Cell<bool> = const { Cell::new(false) };
}

fn clock_that_may_break() -> u64 {
    assert!(!BROKEN_CLOCK.take(), "a test breaks a stream from inside");
    (options().unix_us)()
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_panics_is_broken_for_the_cores_and_counts_as_closed() {
    let world = World::with(2, DoorOptions { unix_us: clock_that_may_break, ..options() }, axum::Router::new()).await;
    let mut worker = world.extended("w").await;
    let mut first = vec![world.offer(0, 1), world.offer(1, 2)];
    let mut got = worker.events(2).await;
    got.sort_unstable();
    assert_eq!(got, first);
    BROKEN_CLOCK.set(true);
    first.push(world.offer(0, 1));
    worker.end().await.1.ok();
    assert!(!BROKEN_CLOCK.get(), "nobody looked at the clock");
    assert_eq!(world.stats.streams_open(), 0);
    // After the grace, from both cores.
    let mut other = world.extended("other").await;
    let mut again = other.events(3).await;
    again.sort_unstable();
    assert_eq!(again, first);
    // The identity is free, and its sequences go on.
    let mut back = world.extended("w").await;
    for guild in 100..140 {
        world.offer(0, guild);
    }
    back.events(5).await;
    assert!(back.sequences.iter().all(|sequence| sequence > worker.sequences.last().unwrap()));
}

/// A core with one group, and one stream that it knows.
fn core_with(stream: u64) -> (CoreSide, mpsc::Receiver<(u16, FromCore)>) {
    let mut hub = Hub::new(HubConfig { store: false, ..HubConfig::default() });
    let spec = GroupSpec { id: GroupId(0), name: "default".into(), filter: Filter::default(), limits: GroupLimits::default() };
    hub.declare(spec).unwrap();
    hub.add_shard(Slot(0), shard(0), None, Time::ZERO, &mut Vec::new()).unwrap();
    let mut core = CoreSide::new(hub);
    let events = join(&mut core, "w", stream, Time::ZERO);
    (core, events)
}

fn join(core: &mut CoreSide, worker: &str, stream: u64, now: Time) -> mpsc::Receiver<(u16, FromCore)> {
    let (sender, events) = mpsc::channel(64);
    let join = ToCore::Join {
        group: GroupId(0),
        worker: worker.into(),
        stream: StreamId(stream),
        filter: None,
        credit: Credit { events: 16, bytes: 1 << 20 },
        to: StreamLink::new(0, sender, Arc::new(AtomicBool::new(false))),
    };
    core.handle(join, now, &mut Vec::new());
    events
}

fn offer(core: &mut CoreSide, s: u64, now: Time) {
    core.offer(Slot(0), Arc::new(event(0, 1, s, EventKind::MessageCreate, None, now)), now, &mut Vec::new());
}

fn count(events: &mut mpsc::Receiver<(u16, FromCore)>) -> usize {
    std::iter::from_fn(|| events.try_recv().ok()).filter(|(_, said)| matches!(said, FromCore::Body { .. })).count()
}

#[test]
fn a_stream_whose_link_is_closed_and_who_says_nothing_counts_as_broken_at_the_next_event() {
    let (mut core, mut events) = core_with(1);
    offer(&mut core, 1, Time::ZERO);
    assert_eq!(count(&mut events), 1);
    drop(events);
    offer(&mut core, 2, Time::from_millis(10));
    assert_eq!(core.overruns(), 0);
    let mut other = join(&mut core, "other", 2, Time::from_millis(20));
    core.tick(Time::from_millis(4_000), &mut Vec::new());
    assert_eq!(count(&mut other), 0, "its guilds wait for it");
    core.tick(Time::from_millis(6_000), &mut Vec::new());
    assert_eq!(count(&mut other), 2);
}

#[test]
fn a_leave_or_a_join_after_a_closed_link_was_found_works_as_before() {
    let (mut core, events) = core_with(1);
    offer(&mut core, 1, Time::ZERO);
    drop(events);
    offer(&mut core, 2, Time::ZERO);
    let mut back = join(&mut core, "w", 2, Time::from_millis(10));
    assert_eq!(count(&mut back), 2, "it is back within its grace");
    drop(back);
    offer(&mut core, 3, Time::from_millis(20));
    let mut other = join(&mut core, "other", 3, Time::from_millis(30));
    assert_eq!(count(&mut other), 0);
    core.handle(ToCore::Leave(StreamId(2)), Time::from_millis(40), &mut Vec::new());
    assert_eq!(count(&mut other), 3, "no grace for a worker that said good-bye");
}

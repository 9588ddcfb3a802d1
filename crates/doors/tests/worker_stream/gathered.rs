//! Events that are gathered on a core before their stream is woken: what comes when, in which order, and when the stream is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use trunkline_delivery::{Body, Credit, Filter, GroupId, GroupLimits, GroupSpec, Hub, HubConfig, Slot, StreamId};
use trunkline_discord::{EventKind, Time};
use trunkline_doors::{CoreSide, FromCore, StreamLink, ToCore, Up};

use crate::world::{event, shard};

const GROUP: GroupId = GroupId(0);
const STREAM: StreamId = StreamId(1);

struct Core {
    side: CoreSide,
    up: Vec<Up>,
    events: mpsc::Receiver<(u16, FromCore)>,
    overrun: Arc<AtomicBool>,
    s: u64,
}

impl Core {
    fn with_room_for(messages: usize) -> Core {
        let mut hub = Hub::new(HubConfig { store: false, ..HubConfig::default() });
        hub.declare(GroupSpec { id: GROUP, name: "default".into(), filter: Filter::default(), limits: GroupLimits::default() }).unwrap();
        hub.add_shard(Slot(0), shard(0), None, Time::ZERO, &mut Vec::new()).unwrap();
        let (sender, events) = mpsc::channel(messages);
        let overrun = Arc::<AtomicBool>::default();
        let mut core = Core { side: CoreSide::new(hub), up: Vec::new(), events, overrun, s: 0 };
        let join = ToCore::Join {
            group: GROUP,
            worker: "a".into(),
            stream: STREAM,
            filter: None,
            credit: Credit { events: 1_000, bytes: 1 << 20 },
            to: StreamLink::new(0, sender, core.overrun.clone()),
        };
        core.side.handle(join, Time::ZERO, &mut core.up);
        core
    }

    fn gather(&mut self) -> bool {
        self.s += 1;
        let event = event(0, 70, self.s, EventKind::MessageCreate, None, Time::ZERO);
        self.side.gather(Slot(0), Arc::new(event), Time::ZERO, &mut self.up)
    }

    /// The `s` of the events that have reached the stream.
    fn come(&mut self) -> Vec<u64> {
        let mut come = Vec::new();
        while let Ok((_, FromCore::Body { body: Body::Event(event), .. })) = self.events.try_recv() {
            come.push(event.s);
        }
        come
    }
}

#[test]
fn gathered_events_reach_their_stream_at_the_flush_in_order() {
    let mut core = Core::with_room_for(100);
    assert!((0..5).all(|_| core.gather()), "something waits");
    assert_eq!(core.come(), [0; 0]);
    core.side.flush(Time::ZERO, &mut core.up);
    assert_eq!(core.come(), [1, 2, 3, 4, 5]);
    core.side.flush(Time::ZERO, &mut core.up);
    assert_eq!(core.come(), [0; 0]);
}

#[test]
fn a_long_turn_does_not_hold_events_back() {
    let mut core = Core::with_room_for(100);
    let waits = (0..40).map(|_| core.gather()).filter(|waits| !waits).count();
    assert_eq!(waits, 2, "every sixteen go by themselves");
    assert_eq!(core.come(), (1..=32).collect::<Vec<_>>());
}

#[test]
fn what_was_gathered_goes_before_whatever_comes_after_it() {
    let mut core = Core::with_room_for(100);
    core.gather();
    core.s += 1;
    let offered = event(0, 70, core.s, EventKind::MessageCreate, None, Time::ZERO);
    core.side.offer(Slot(0), Arc::new(offered), Time::ZERO, &mut core.up);
    assert_eq!(core.come(), [1, 2]);
}

#[test]
fn a_stream_that_left_with_something_gathered_for_it_loses_nothing() {
    let mut core = Core::with_room_for(100);
    assert!(core.gather());
    core.side.handle(ToCore::Leave(STREAM), Time::ZERO, &mut core.up);
    core.side.flush(Time::ZERO, &mut core.up);
    assert_eq!(core.come(), [0; 0]);
    let (sender, events) = mpsc::channel(100);
    core.events = events;
    let (worker, to) = ("b".into(), StreamLink::new(0, sender, Arc::default()));
    let credit = Credit { events: 1_000, bytes: 1 << 20 };
    core.side.handle(ToCore::Join { group: GROUP, worker, stream: StreamId(2), filter: None, credit, to }, Time::ZERO, &mut core.up);
    assert_eq!(core.come(), [1], "the next worker gets it");
    assert_eq!(core.side.overruns(), 0);
}

#[test]
fn a_stream_without_room_is_broken_off_at_the_flush_and_counted() {
    let mut core = Core::with_room_for(2);
    for _ in 0..3 {
        core.gather();
    }
    assert!(!core.overrun.load(Ordering::Acquire));
    core.side.flush(Time::ZERO, &mut core.up);
    assert!(core.overrun.load(Ordering::Acquire));
    assert_eq!((core.side.overruns(), core.side.streams()), (1, 0));
}

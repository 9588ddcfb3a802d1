//! What delivery costs per event: offered, sent, acknowledged, with a checkpoint every 500 events as in production.
//!
//! Run with `cargo bench -p trunkline-delivery`. The figures are of one core and leave out building the event.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use trunkline_delivery::*;
use trunkline_discord::{Dice, Encoding, Event, EventKind, EventName, Routing, ShardId, Time};

const EVENTS: u64 = 400_000;

fn event(s: u64, guild: u64, body: &Bytes) -> Arc<Event> {
    Arc::new(Event {
        shard: ShardId { bot: 1, index: 0, count: 1 },
        session: 1,
        s,
        epoch: 1,
        kind: EventKind::MessageCreate,
        name: EventName::new(EventKind::MessageCreate, "MESSAGE_CREATE"),
        encoding: Encoding::Etf,
        body: body.clone(),
        previous: None,
        origin: None,
        routing: Routing { guild_id: Some(guild), ..Routing::default() },
        received_at_unix_us: s,
        received_at: Time::from_micros(s),
    })
}

fn hub(groups: u32, workers: u64) -> (Hub, Vec<Action>) {
    let (mut hub, mut out) = (Hub::new(HubConfig::default()), Vec::new());
    for id in 0..groups {
        let spec = GroupSpec {
            id: GroupId(id),
            name: format!("g{id}").into(),
            filter: Filter::default(),
            limits: GroupLimits { memory_bytes: 1 << 40, ..GroupLimits::default() },
        };
        hub.declare(spec).unwrap();
    }
    hub.add_shard(Slot(0), ShardId { bot: 1, index: 0, count: 1 }, None, Time::ZERO, &mut out).unwrap();
    for id in 0..groups {
        for nth in 0..workers {
            let stream = StreamId(u64::from(id) * 100 + nth);
            let credit = Credit { events: 4_096, bytes: 16 << 20 };
            hub.join(GroupId(id), format!("worker-{nth}").into(), stream, None, credit, Time::ZERO, &mut out).unwrap();
        }
    }
    (hub, out)
}

/// Acknowledgements come in batches, `batch` entries after they were sent.
fn keeping_up(groups: u32, workers: u64, batch: usize) -> f64 {
    let (mut hub, mut out) = hub(groups, workers);
    let body = Bytes::from(vec![0; 700]);
    let mut dice = Dice::new(1);
    let events: Vec<_> = (1..=EVENTS).map(|s| event(s, (1 + dice.below(2_500)) << 22, &body)).collect();
    let mut inboxes: Vec<Vec<EntryId>> = vec![Vec::new(); groups as usize * 100 + 100];
    let started = Instant::now();
    for event in events {
        let now = event.received_at;
        hub.offer(Slot(0), event, now, &mut out);
        for action in out.drain(..) {
            if let Action::Send { stream, entry, .. } = action {
                inboxes[stream.0 as usize].push(entry);
            }
        }
        if now.as_micros() % 64 == 0 {
            for (stream, inbox) in inboxes.iter_mut().enumerate().filter(|(_, inbox)| inbox.len() >= batch) {
                hub.acked(StreamId(stream as u64), inbox, now, &mut out);
                inbox.clear();
            }
        }
        if now.as_micros() % 500 == 0 {
            let checkpoint = hub.checkpoint(Slot(0)).unwrap();
            let stored: Vec<_> = checkpoint.new_entries.iter().map(|(at, _)| (*at, Location { segment: 0, offset: *at, len: 1 })).collect();
            hub.stored(Slot(0), &stored, now, &mut out);
        }
    }
    started.elapsed().as_nanos() as f64 / EVENTS as f64
}

/// A million entries wait for a group without a worker: what a checkpoint costs, a join, and the way out.
fn laggard() {
    let (mut hub, mut out) = hub(1, 0);
    let body = Bytes::from(vec![0; 100]);
    let mut dice = Dice::new(1);
    for s in 1..=1_000_000 {
        hub.offer(Slot(0), event(s, (1 + dice.below(2_500)) << 22, &body), Time::from_micros(s), &mut out);
    }
    let now = Time::from_micros(1_000_000);
    let checkpoint = hub.checkpoint(Slot(0)).unwrap();
    let stored: Vec<_> = checkpoint.new_entries.iter().map(|(at, _)| (*at, Location { segment: 0, offset: *at, len: 1 })).collect();
    hub.stored(Slot(0), &stored, now, &mut out);
    let started = Instant::now();
    let again = hub.checkpoint(Slot(0)).unwrap();
    println!("checkpoint with 1 M waiting           {:>9} us, record of {} bytes", started.elapsed().as_micros(), again.record.len());
    let started = Instant::now();
    for nth in 0..4 {
        let credit = Credit { events: 4_096, bytes: 16 << 20 };
        hub.join(GroupId(0), format!("worker-{nth}").into(), StreamId(nth), None, credit, now, &mut out).unwrap();
    }
    println!("4 workers join with 1 M waiting       {:>9} us", started.elapsed().as_micros());
    let started = Instant::now();
    let mut count = 0;
    while !out.is_empty() {
        let mut inboxes = vec![Vec::new(); 4];
        for action in out.drain(..) {
            if let Action::Send { stream, entry, .. } = action {
                inboxes[stream.0 as usize].push(entry);
                count += 1;
            }
        }
        for (stream, inbox) in inboxes.iter().enumerate() {
            hub.acked(StreamId(stream as u64), inbox, now, &mut out);
        }
    }
    println!("1 M waiting entries drained           {:>9.0} ns per event", started.elapsed().as_nanos() as f64 / f64::from(count));
}

fn main() {
    println!("offer, send, acknowledge              ns per event");
    for (groups, workers) in [(1, 1), (1, 8), (4, 1), (4, 8)] {
        println!("{groups} group(s), {workers} worker(s) each, acks of 32  {:>9.0}", keeping_up(groups, workers, 32));
    }
    laggard();
}

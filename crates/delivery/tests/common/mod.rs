//! A hub with its surroundings on virtual time: workers that hold what they were sent, a disk, a Discord that can
//! replay. Every action is checked against a plain model as it comes, so that each scenario proves all rules at once.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use trunkline_delivery::*;
use trunkline_discord::{Encoding, Event, EventKind, EventName, Gap, GapCause, Routing, ShardId, Time};

pub const UNIX_US: u64 = 1_750_000_000_000_000;

/// One event's identity: slot, session, sequence.
pub type Name = (u32, u64, u64);

pub fn shard(slot: u32) -> ShardId {
    ShardId { bot: 10 + u64::from(slot), index: slot, count: 4 }
}

pub fn event(slot: u32, session: u64, s: u64, guild: u64, size: usize, now: Time) -> Arc<Event> {
    let kind = if s.is_multiple_of(5) { EventKind::TypingStart } else { EventKind::MessageCreate };
    Arc::new(Event {
        shard: shard(slot),
        session,
        s,
        epoch: 1,
        kind,
        name: EventName::new(kind, kind.name()),
        encoding: Encoding::Json,
        body: Bytes::from(vec![b' '; size]),
        previous: None,
        origin: None,
        routing: Routing { guild_id: Some(guild), ..Routing::default() },
        received_at_unix_us: UNIX_US + now.as_micros(),
        received_at: now,
    })
}

#[derive(Clone, Debug)]
pub struct Got {
    pub entry: EntryId,
    pub name: Option<Name>,
    pub key: u64,
    pub gap: Option<Gap>,
    pub redelivered: bool,
    pub bytes: u64,
}

#[derive(Clone, Debug)]
pub struct Inbox {
    pub group: u32,
    pub worker: String,
    pub credit: Credit,
    pub connected: bool,
    pub draining: bool,
    pub drained: bool,
    pub broken_at: Option<Time>,
    pub asked: Vec<AskWhy>,
    pub held: Vec<Got>,
    pub got: Vec<Got>,
}

/// What the model knows of one group.
#[derive(Clone, Debug, Default)]
pub struct GroupModel {
    pub pending: BTreeMap<EntryId, Name>,
    pub sent: BTreeSet<EntryId>,
    /// Highest event of each key that was delivered in this life, by slot and key.
    pub newest: BTreeMap<(u32, u64), (u64, u64)>,
    pub acked: BTreeSet<Name>,
    pub in_gaps: BTreeSet<Name>,
    pub wanted: BTreeSet<Name>,
    pub fell: u64,
    pub told: Vec<Gap>,
}

#[derive(Clone)]
struct Saved {
    record: Vec<u8>,
    next_position: u64,
    session: u64,
    s: u64,
    pending: Vec<BTreeMap<EntryId, Name>>,
    sent: Vec<BTreeSet<EntryId>>,
}

#[derive(Default)]
pub struct Shard {
    pub session: u64,
    pub s: u64,
    pub history: Vec<Arc<Event>>,
    disk: BTreeMap<u64, (Location, Vec<u8>)>,
    saved: Option<Saved>,
}

pub struct World {
    pub hub: Hub,
    pub now: Time,
    pub specs: Vec<GroupSpec>,
    pub config: HubConfig,
    pub groups: Vec<GroupModel>,
    pub streams: BTreeMap<u64, Inbox>,
    pub shards: Vec<Shard>,
    pub next_stream: u64,
    pub disk_fails: bool,
    pub unreadable: bool,
    /// Bodies that each shard's log is restored with, in bytes.
    pub restore_bytes: u64,
    pub loads: u64,
    pub quiet: bool,
    pub fell: Vec<(GroupId, Gap)>,
    segment: u64,
}

pub fn group(id: u32) -> GroupSpec {
    GroupSpec { id: GroupId(id), name: format!("group-{id}").into(), filter: Filter::default(), limits: GroupLimits::default() }
}

impl World {
    pub fn new(shards: u32, specs: Vec<GroupSpec>) -> World {
        let config = HubConfig { hash_seed: 7, ..HubConfig::default() };
        let mut world = World {
            hub: Hub::new(config.clone()),
            now: Time::from_millis(1_000_000),
            config,
            groups: specs.iter().map(|_| GroupModel::default()).collect(),
            specs,
            streams: BTreeMap::new(),
            shards: (0..shards).map(|_| Shard { session: 1, ..Shard::default() }).collect(),
            next_stream: 1,
            disk_fails: false,
            unreadable: false,
            restore_bytes: 4_000,
            loads: 0,
            quiet: false,
            fell: Vec::new(),
            segment: 0,
        };
        for spec in &world.specs {
            world.hub.declare(spec.clone()).unwrap();
        }
        for slot in 0..shards {
            world.act(|hub, now, out| hub.add_shard(Slot(slot), shard(slot), None, now, out).unwrap());
        }
        world
    }

    pub fn unix_us(&self) -> u64 {
        UNIX_US + self.now.as_micros()
    }

    pub fn act<R>(&mut self, call: impl FnOnce(&mut Hub, Time, &mut Vec<Action>) -> R) -> R {
        let mut out = Vec::new();
        let result = call(&mut self.hub, self.now, &mut out);
        self.take(out);
        result
    }

    /// Sees to what the hub wants, and checks it.
    fn take(&mut self, actions: Vec<Action>) {
        let mut loads = Vec::new();
        for action in actions {
            match action {
                Action::Send { stream, entry, body, redelivered } => self.sent(stream, entry, body, redelivered),
                Action::AskAck { stream, why } => {
                    let inbox = self.streams.get_mut(&stream.0).unwrap();
                    assert!(inbox.connected);
                    inbox.asked.push(why);
                }
                Action::Load { entry, location } => loads.push((entry, location)),
                Action::Fell { group, gap } => self.fell(group, gap),
                Action::Drained { stream } => {
                    let inbox = self.streams.get_mut(&stream.0).unwrap();
                    assert!(inbox.draining && !inbox.drained && inbox.held.is_empty());
                    inbox.drained = true;
                }
                Action::Quiet => {
                    assert!(self.streams.values().all(|inbox| !inbox.connected || inbox.held.is_empty()));
                    self.quiet = true;
                }
            }
        }
        for (entry, location) in loads {
            self.loads += 1;
            let (at, bytes) = &self.shards[entry.slot.0 as usize].disk[&entry.position];
            assert_eq!(*at, location);
            let body = decode_entry(bytes, self.now, self.unix_us()).unwrap();
            let body = (!self.unreadable).then_some(body);
            self.act(|hub, now, out| hub.loaded(entry, body, now, out));
        }
    }

    fn sent(&mut self, stream: StreamId, entry: EntryId, body: Body, redelivered: bool) {
        let inbox = &self.streams[&stream.0];
        let (group, worker) = (inbox.group as usize, inbox.worker.clone());
        assert!(inbox.connected && !inbox.draining, "sent to a worker that is away or drains");
        let model = &mut self.groups[group];
        let known = model.pending.contains_key(&entry) || matches!(body, Body::Gap(_));
        assert!(known, "{entry:?} is not pending for group {group}");
        assert_eq!(redelivered, model.sent.contains(&entry), "mark of {entry:?} for group {group}");
        model.sent.insert(entry);
        let (name, key, gap) = match &body {
            Body::Event(event) => (Some((entry.slot.0, event.session, event.s)), event.routing.key(), None),
            Body::Gap(gap) => (None, u64::MAX, Some((**gap).clone())),
        };
        for other in self.streams.values().filter(|other| other.group as usize == group) {
            for held in &other.held {
                assert_ne!(held.entry, entry, "in flight twice");
                let same_key = held.entry.slot == entry.slot && held.key == key;
                assert!(!same_key || other.worker == worker, "key {key} is at two workers: {} and {worker}", other.worker);
            }
        }
        if let Some((slot, session, s)) = name {
            let newest = model.newest.entry((slot, key)).or_default();
            assert!(redelivered || *newest < (session, s), "order of key {key}: {:?} after {newest:?}", (session, s));
            *newest = (*newest).max((session, s));
        }
        let bytes = body.bytes_held() as u64;
        let inbox = self.streams.get_mut(&stream.0).unwrap();
        let got = Got { entry, name, key, gap, redelivered, bytes };
        inbox.held.push(got.clone());
        inbox.got.push(got);
        let held: u64 = inbox.held.iter().map(|got| got.bytes).sum();
        assert!(inbox.held.len() <= inbox.credit.events as usize, "more events than credit");
        assert!(inbox.held.len() == 1 || held <= inbox.credit.bytes, "more bytes than credit");
    }

    /// A group lost entries: exactly those of the range that nobody had in flight (for age: all of the range).
    fn fell(&mut self, group: GroupId, gap: Gap) {
        let at = self.specs.iter().position(|spec| spec.id == group).unwrap();
        let slot = (0..self.shards.len() as u32).find(|slot| shard(*slot) == gap.shard).unwrap();
        let (first, last) = (gap.first_s.unwrap_or(0), gap.last_s.unwrap_or(u64::MAX));
        let in_flight: BTreeSet<EntryId> = (self.streams.values())
            .filter(|inbox| inbox.group as usize == at)
            .flat_map(|inbox| inbox.held.iter().map(|got| got.entry))
            .collect();
        let lost: Vec<(EntryId, Name)> = self.groups[at]
            .pending
            .iter()
            .map(|(entry, name)| (*entry, *name))
            .filter(|(_, name)| name.0 == slot && name.1 == gap.session && (first..=last).contains(&name.2))
            .filter(|(entry, _)| gap.cause == GapCause::LogAge || !in_flight.contains(entry))
            .collect();
        assert_eq!(gap.events, Some(lost.len() as u64), "{gap}");
        let on_disk = lost.iter().filter(|(entry, _)| self.shards[slot as usize].disk.contains_key(&entry.position)).count();
        assert!(gap.cause != GapCause::LogBytes || on_disk == 0, "{on_disk} lost for want of memory lie on disk: {gap}");
        let model = &mut self.groups[at];
        for (entry, name) in lost {
            model.pending.remove(&entry);
            model.sent.remove(&entry);
            model.in_gaps.insert(name);
            model.fell += 1;
            for inbox in self.streams.values_mut().filter(|inbox| inbox.group as usize == at) {
                inbox.held.retain(|got| got.entry != entry);
            }
        }
        self.fell.push((group, gap));
    }

    pub fn offer(&mut self, slot: u32, guild: u64, size: usize) {
        let now = self.now;
        let shard = &mut self.shards[slot as usize];
        shard.s += 1;
        let event = event(slot, shard.session, shard.s, guild, size, now);
        shard.history.push(event.clone());
        self.dispatch(slot, event);
    }

    fn dispatch(&mut self, slot: u32, event: Arc<Event>) {
        let name = (slot, event.session, event.s);
        let wanting: Vec<usize> = (0..self.specs.len()).filter(|at| self.specs[*at].filter.wants(&event)).collect();
        for at in &wanting {
            self.groups[*at].wanted.insert(name);
        }
        let entry = EntryId { slot: Slot(slot), position: self.next_position(slot) };
        for at in wanting {
            self.groups[at].pending.insert(entry, name);
        }
        self.act(|hub, now, out| hub.offer(Slot(slot), event, now, out));
    }

    fn next_position(&self, slot: u32) -> u64 {
        let stats = self.hub.stats(self.now);
        stats.shards.iter().find(|stats| stats.slot.0 == slot).map_or(0, |stats| stats.next_position)
    }

    /// The hub's own numbers against the model's, which follows events and not the entries of gaps.
    pub fn check(&self) {
        let stats = self.hub.stats(self.now);
        for (at, group) in stats.groups.iter().enumerate() {
            let events = self.groups[at].pending.len() as u64;
            assert!(group.entries >= events, "group {at}: {} entries, {events} events pending", group.entries);
            let held = self.streams.values().filter(|inbox| inbox.group as usize == at).map(|inbox| inbox.held.len());
            assert_eq!(group.in_flight, held.sum::<usize>() as u64, "in flight of group {at}");
            self.check_nobody_idles(at);
        }
    }

    /// A group holds at most so many times its memory limit.
    pub fn check_memory(&self, group: usize, times: u64) {
        let (held, limit) = (self.hub.stats(self.now).groups[group].memory_bytes, self.specs[group].limits.memory_bytes);
        assert!(held <= limit * times, "{held} bytes in memory, limit {limit}");
    }

    /// A connected worker that holds nothing must not own anything that could be sent.
    fn check_nobody_idles(&self, group: usize) {
        let workers: Vec<&Inbox> = self.streams.values().filter(|inbox| inbox.group as usize == group).collect();
        let idle = |inbox: &&&Inbox| inbox.connected && !inbox.draining && inbox.held.is_empty();
        if !workers.iter().any(|inbox| idle(&inbox)) {
            return;
        }
        for (entry, name) in &self.groups[group].pending {
            let event = self.shards[name.0 as usize].history.iter().find(|event| (event.session, event.s) == (name.1, name.2)).unwrap();
            let key = event.routing.key();
            let elsewhere = workers.iter().any(|inbox| inbox.held.iter().any(|got| got.key == key && got.entry.slot == entry.slot));
            let owner = workers.iter().filter(|inbox| !inbox.draining).max_by_key(|inbox| claim(&inbox.worker, key));
            if let Some(owner) = owner.filter(idle)
                && !elsewhere
            {
                panic!("{} holds nothing and {name:?} of its key {key} is not sent", owner.worker);
            }
        }
    }
}

/// The rendezvous hash as it is published: other programs may compute it.
pub fn claim(worker: &str, key: u64) -> u64 {
    let bytes: Vec<u8> = key.to_le_bytes().into_iter().chain(worker.bytes()).collect();
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

mod steps;

//! The hub: everything of delivery that one core owns, behind one set of inputs.
//!
//! Inputs are calls with `now`; what follows from them is appended to a list of actions. The hub reads no clock, waits
//! for nothing and touches no file or socket. It is not shared: another core has another hub, and a worker that is
//! served by several has a part of its credit in each.

use std::sync::Arc;

use trunkline_discord::{Event, Gap, ShardId, Time};

use crate::checkpoint::{LogCheckpoint, RestoredLog, encode_record};
use crate::filter::Filter;
use crate::group::{Core, Group, Share};
use crate::handover::Joiner;
use crate::limits::{enforce_bytes, gap_entry, relieve};
use crate::log::{Entry, HEADER_BYTES, Log, ds};
use crate::stats::{self, HubStats};
use crate::types::{
    Action, Body, Credit, EntryId, GROUPS_MAX, GroupId, GroupLimits, GroupSpec, HubConfig, HubError, Location, SLOTS_MAX, Slot, StreamId,
    WorkerId,
};
use crate::worker::Table;

/// One core's event logs, groups and workers.
pub struct Hub {
    config: HubConfig,
    logs: Vec<Option<Log>>,
    groups: Vec<Group>,
    /// Where a stream's worker is: group and place in it.
    streams: Table<StreamId, (usize, usize)>,
    /// One moment on both clocks, from the newest event or the last restored log.
    moment: (Time, u64),
    /// The last commit failed: bodies do not get to disk.
    store_fails: bool,
    stopping: bool,
    quiet_told: bool,
    unwanted: u64,
    ignored_acks: u64,
}

impl Hub {
    /// A hub without shards, groups and workers.
    pub fn new(config: HubConfig) -> Hub {
        let streams = Table::with_hasher(foldhash::fast::FixedState::with_seed(config.hash_seed));
        Hub {
            config,
            logs: Vec::new(),
            groups: Vec::new(),
            streams,
            moment: (Time::ZERO, 0),
            store_fails: false,
            stopping: false,
            quiet_told: false,
            unwanted: 0,
            ignored_acks: 0,
        }
    }

    /// The groups, and what their decisions reach.
    fn split<'a>(&'a mut self, now: Time, out: &'a mut Vec<Action>) -> (&'a mut Vec<Group>, Core<'a>) {
        let (then, unix_us) = self.moment;
        let unix_us = unix_us.saturating_add(now.as_micros().saturating_sub(then.as_micros()));
        (&mut self.groups, Core { logs: &mut self.logs, out, now, unix_us, stopping: self.stopping })
    }

    /// Declares a group: from now on it wants every event that its filter lets through. Groups are declared before
    /// shards are added, so that a restored log finds them.
    ///
    /// # Errors
    /// [`HubError::TooManyGroups`] beyond [`GROUPS_MAX`], [`HubError::GroupExists`] for an id or name used twice.
    pub fn declare(&mut self, spec: GroupSpec) -> Result<(), HubError> {
        if self.groups.iter().any(|group| group.id == spec.id || group.name == spec.name) {
            return Err(HubError::GroupExists { name: spec.name });
        }
        if self.groups.len() == GROUPS_MAX {
            return Err(HubError::TooManyGroups { name: spec.name });
        }
        let group = Group::new(spec, self.groups.len(), self.logs.len(), self.config.hash_seed);
        self.groups.push(group);
        Ok(())
    }

    /// Adds a shard, with its log of an earlier life if there is one. Each group gets again exactly what it had not
    /// acknowledged; what the store could not give back becomes a gap.
    ///
    /// # Errors
    /// [`HubError::SlotTaken`], [`HubError::SlotTooHigh`].
    pub fn add_shard(
        &mut self,
        slot: Slot,
        shard: ShardId,
        restored: Option<RestoredLog>,
        now: Time,
        out: &mut Vec<Action>,
    ) -> Result<(), HubError> {
        if slot.0 >= SLOTS_MAX {
            return Err(HubError::SlotTooHigh { slot });
        }
        let at = slot.0 as usize;
        if let Some(Some(log)) = self.logs.get(at) {
            return Err(HubError::SlotTaken { slot, shard: log.shard });
        }
        if self.logs.len() <= at {
            self.logs.resize_with(at + 1, || None);
        }
        for group in &mut self.groups {
            group.shares.resize_with(self.logs.len(), Share::default);
        }
        let mut log = Log::new(shard, restored.as_ref().map_or(0, RestoredLog::next_position));
        let moment = restored.as_ref().map(RestoredLog::moment);
        let missing = match restored {
            Some(restored) => restored.fill(&mut log, &mut self.groups, slot.0),
            None => Vec::new(),
        };
        if let Some(moment) = moment
            && self.moment.0 <= moment.0
        {
            self.moment = moment;
        }
        self.groups.iter_mut().for_each(|group| group.evicted_all = false);
        self.logs[at] = Some(log);
        let (groups, mut core) = self.split(now, out);
        for missing in missing {
            missing.tell(slot.0, groups, &mut core);
        }
        for group in groups {
            group.pump(&mut core);
        }
        self.enforce_bytes(now, out);
        Ok(())
    }

    /// An event of the shard, after the cache has seen it. Sent at once where a worker can have it.
    pub fn offer(&mut self, slot: Slot, event: Arc<Event>, now: Time, out: &mut Vec<Action>) {
        self.moment = (event.received_at, event.received_at_unix_us);
        let wanting = self.groups.iter().filter(|group| group.filter.wants(&event));
        let wants = wanting.fold(0, |wants, group| wants | group.bit);
        let Some(Some(log)) = self.logs.get_mut(slot.0 as usize) else {
            return;
        };
        if wants == 0 {
            self.unwanted += 1;
            return;
        }
        log.newest_unix_us = event.received_at_unix_us;
        let key = event.routing.key();
        let (s, session, received_ds) = (event.s, event.session, ds(event.received_at));
        let bytes = u32::try_from(event.bytes_held()).unwrap_or(u32::MAX).saturating_add(HEADER_BYTES);
        let position = log.append(Entry {
            body: Some(Body::Event(event)),
            location: None,
            key,
            s,
            session,
            wants,
            flying: 0,
            bytes,
            received_ds,
            is_gap: false,
            loading: false,
        });
        self.arrived(slot.0, position, key, bytes, wants, now, out);
    }

    /// A stretch of the shard's events that cannot be delivered: told to every group that could have wanted one of
    /// them, once, as an entry that must be acknowledged. It is routed by a key of the shard's own and so comes in no
    /// fixed order relative to a guild's events.
    pub fn gap(&mut self, slot: Slot, gap: Gap, now: Time, out: &mut Vec<Action>) {
        let Some(Some(log)) = self.logs.get_mut(slot.0 as usize) else {
            return;
        };
        let mut wants = 0;
        for group in self.groups.iter_mut().filter(|group| group.filter.concerns(log.shard)) {
            wants |= group.bit;
            group.counts.gap(gap.cause, gap.events);
        }
        if wants == 0 {
            return;
        }
        let entry = gap_entry(Arc::new(gap), log.gap_key, wants, now);
        let (key, bytes) = (entry.key, entry.bytes);
        let position = log.append(entry);
        self.arrived(slot.0, position, key, bytes, wants, now, out);
    }

    #[allow(clippy::too_many_arguments)] // one entry's header, taken apart so that nothing is looked up twice
    fn arrived(&mut self, slot: u32, position: u64, key: u64, bytes: u32, wants: u64, now: Time, out: &mut Vec<Action>) {
        let stores = self.config.store && !self.store_fails;
        let (groups, mut core) = self.split(now, out);
        let mut left = wants;
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            let group = &mut groups[at];
            left &= left - 1;
            group.arrive(slot, position, key, bytes, &mut core);
            if group.unfinished {
                group.pump(&mut core);
            }
            if group.is_over_memory() {
                enforce_bytes(groups, at, stores, &mut core);
            }
        }
    }

    /// A worker's stream begins. If a worker of this name is there, the newer stream replaces the older: the worker
    /// keeps its guilds, and what it had unacknowledged comes again in order, marked as redelivered. Acknowledgements
    /// for the older stream are taken until then and not after.
    ///
    /// # Errors
    /// [`HubError::NoGroup`]; [`HubError::Replaced`] for a stream older than the worker's own (joins may overtake each
    /// other on their way here): then nothing has changed.
    #[allow(clippy::too_many_arguments)] // all of it is one identify request
    pub fn join(
        &mut self,
        group: GroupId,
        worker: WorkerId,
        stream: StreamId,
        extra: Option<Filter>,
        credit: Credit,
        now: Time,
        out: &mut Vec<Action>,
    ) -> Result<(), HubError> {
        let hash_seed = self.config.hash_seed;
        let (groups, mut core) = self.split(now, out);
        let Some(at) = groups.iter().position(|known| known.id == group) else {
            return Err(HubError::NoGroup { group });
        };
        let newest = groups[at].find(&worker).and_then(|place| groups[at].workers[place].as_ref()).map(|worker| worker.stream);
        if let Some(by) = newest.filter(|newest| *newest > stream) {
            return Err(HubError::Replaced { worker, by });
        }
        let joiner = Joiner { id: worker, stream, extra, credit, hash_seed };
        let (place, replaced) = groups[at].join(joiner, &mut core);
        if let Some(replaced) = replaced {
            self.streams.remove(&replaced);
        }
        self.streams.insert(stream, (at, place));
        self.tell_quiet(out);
        Ok(())
    }

    /// A stream broke. Its guilds wait for the worker during the grace; acknowledgements for the stream still count.
    pub fn broke(&mut self, stream: StreamId, now: Time, out: &mut Vec<Action>) {
        let Some((group, at)) = self.streams.get(&stream).copied() else { return };
        let grace_ms = self.config.grace_ms;
        let (groups, mut core) = self.split(now, out);
        if groups[group].broke(at, grace_ms, &mut core) {
            self.streams.remove(&stream);
        }
        self.tell_quiet(out);
    }

    /// A worker is gone for good: what it had unacknowledged goes to the others, marked as redelivered.
    pub fn leave(&mut self, stream: StreamId, now: Time, out: &mut Vec<Action>) {
        let Some((group, at)) = self.streams.remove(&stream) else { return };
        let (groups, mut core) = self.split(now, out);
        groups[group].depart(at, &mut core);
        self.tell_quiet(out);
    }

    /// A worker wants to leave: it gets nothing new, its guilds move as it acknowledges, and [`Action::Drained`] says
    /// when nothing of it is in flight. What it never acknowledges goes to others when it leaves.
    pub fn drain(&mut self, stream: StreamId, now: Time, out: &mut Vec<Action>) {
        let Some((group, at)) = self.streams.get(&stream).copied() else { return };
        let (groups, mut core) = self.split(now, out);
        groups[group].drain(at, &mut core);
    }

    /// A worker acknowledges. What is not in flight at this stream is counted and ignored.
    pub fn acked(&mut self, stream: StreamId, entries: &[EntryId], now: Time, out: &mut Vec<Action>) {
        let Some((group, at)) = self.streams.get(&stream).copied() else {
            self.ignored_acks += entries.len() as u64;
            return;
        };
        let (groups, mut core) = self.split(now, out);
        groups[group].acked(at, entries, &mut core);
        self.tell_quiet(out);
    }

    /// Sets how much a worker may hold unacknowledged here: a new total. Less than it holds already takes nothing back.
    pub fn lend(&mut self, stream: StreamId, credit: Credit, now: Time, out: &mut Vec<Action>) {
        let Some((group, at)) = self.streams.get(&stream).copied() else { return };
        let (groups, mut core) = self.split(now, out);
        let group = &mut groups[group];
        if let Some(worker) = group.workers[at].as_mut() {
            worker.credit = credit;
        }
        group.flush(at, &mut core);
        group.pump(&mut core);
    }

    /// The answer to [`Action::Load`]. `None`: it cannot be read; then it becomes a gap for every group that waits for
    /// it.
    pub fn loaded(&mut self, entry: EntryId, body: Option<Body>, now: Time, out: &mut Vec<Action>) {
        let (slot, position) = (entry.slot.0, entry.position);
        let (groups, mut core) = self.split(now, out);
        let Some(entry) = core.log(slot).and_then(|log| log.get_mut(position)) else {
            return;
        };
        if !entry.loading {
            return;
        }
        entry.loading = false;
        let (wants, waits, key, bytes) = (entry.wants, entry.wants & !entry.flying, entry.key, u64::from(entry.bytes));
        let readable = body.is_some();
        if readable {
            entry.body = body;
            if let Some(log) = core.log(slot) {
                log.evictable.insert(position);
            }
            for group in groups.iter_mut().filter(|group| wants & group.bit != 0) {
                group.disk -= bytes;
                group.memory += bytes;
                group.evicted_all = false;
            }
        }
        for group in groups.iter_mut().filter(|group| waits & group.bit != 0) {
            if !readable {
                group.lose_unreadable(slot, &[position], &mut core);
            }
            if let Some(owner) = group.owner(key) {
                group.flush(owner, &mut core);
            }
            group.pump(&mut core);
        }
    }

    /// Takes a checkpoint of one shard's log. One at a time: its commit is answered with [`Hub::stored`] or
    /// [`Hub::not_stored`] before the next is taken; unanswered, its entries are listed again. `None` without a shard.
    pub fn checkpoint(&mut self, slot: Slot) -> Option<LogCheckpoint> {
        let log = self.logs.get_mut(slot.0 as usize)?.as_mut()?;
        let new_entries = log.list_unstored();
        Some(LogCheckpoint {
            next_position: log.next_position(),
            new_entries,
            record: encode_record(log, slot.0, &self.groups),
            release_below: log.base(),
            release_segments: log.list_empty_segments(),
        })
    }

    /// The last checkpoint of this shard is committed; these entries lie on disk now. Also called when there were none.
    /// Bodies that memory has no room for are let go.
    pub fn stored(&mut self, slot: Slot, locations: &[(u64, Location)], now: Time, out: &mut Vec<Action>) {
        self.store_fails = false;
        let Some(Some(log)) = self.logs.get_mut(slot.0 as usize) else {
            return;
        };
        log.confirm(locations);
        // What was confirmed may be let go.
        self.groups.iter_mut().for_each(|group| group.evicted_all = false);
        relieve(&mut self.groups, log);
        self.enforce_bytes(now, out);
    }

    /// The last checkpoint of this shard could not be committed. Its entries are listed again next time; until a commit
    /// works again, groups are held to their memory limit strictly.
    pub fn not_stored(&mut self, _slot: Slot, now: Time, out: &mut Vec<Action>) {
        self.store_fails = true;
        self.enforce_bytes(now, out);
    }

    fn enforce_bytes(&mut self, now: Time, out: &mut Vec<Action>) {
        let stores = self.config.store && !self.store_fails;
        let (groups, mut core) = self.split(now, out);
        for at in 0..groups.len() {
            enforce_bytes(groups, at, stores, &mut core);
        }
    }

    /// Ends graces, drops what is too old, goes on with unfinished work. Answers when to call again at the latest;
    /// earlier does no harm.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Action>) -> Option<Time> {
        let (groups, mut core) = self.split(now, out);
        let mut next: Option<Time> = None;
        let mut sooner = |at: Option<Time>| next = next.into_iter().chain(at).min();
        let mut gone = Vec::new();
        for group in groups {
            let (streams, grace_ends) = group.end_graces(&mut core);
            gone.extend(streams);
            sooner(grace_ends);
            sooner(group.enforce_age(&mut core));
            group.pump(&mut core);
            if group.unfinished {
                sooner(Some(now));
            }
        }
        for stream in gone {
            self.streams.remove(&stream);
        }
        self.enforce_bytes(now, out);
        self.tell_quiet(out);
        next
    }

    /// The process stops: nothing is sent from now on, and every worker that holds something is asked to acknowledge.
    /// [`Action::Quiet`] comes once no connected worker holds anything, perhaps at once.
    pub fn quiesce(&mut self, now: Time, out: &mut Vec<Action>) {
        self.stopping = true;
        let (groups, mut core) = self.split(now, out);
        for group in groups {
            group.ask_all(&mut core);
        }
        self.tell_quiet(out);
    }

    fn tell_quiet(&mut self, out: &mut Vec<Action>) {
        if self.stopping && !self.quiet_told && self.in_flight() == 0 {
            self.quiet_told = true;
            out.push(Action::Quiet);
        }
    }

    /// Entries in flight at workers that are connected.
    pub fn in_flight(&self) -> u64 {
        self.groups.iter().map(Group::in_flight_connected).sum()
    }

    /// Whether the shard's log has room in memory: no group that has entries of it is over its limit. A session that is
    /// about to resume may wait for it, but not for long: the laggard gives way by itself.
    pub fn room(&self, slot: Slot) -> bool {
        let holds = |group: &Group| group.shares.get(slot.0 as usize).is_some_and(|share| !share.pending.is_empty());
        !self.groups.iter().any(|group| group.is_over_memory() && holds(group))
    }

    /// Changes what a group may hold in this hub; takes effect with the next entry or tick. For callers whose hubs share a
    /// group's limits by how many shards each has. An unknown group is ignored.
    pub fn set_limits(&mut self, group: GroupId, limits: GroupLimits) {
        if let Some(found) = self.groups.iter_mut().find(|found| found.id == group) {
            found.limits = limits;
        }
    }

    /// Numbers for metrics. Costs a few steps per group and shard.
    pub fn stats(&self, now: Time) -> HubStats {
        HubStats {
            groups: self.groups.iter().map(|group| stats::of_group(group, &self.logs, now)).collect(),
            shards: stats::of_shards(&self.logs),
            unwanted: self.unwanted,
            ignored_acks: self.ignored_acks,
        }
    }
}

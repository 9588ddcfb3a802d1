//! A group's share of the logs: what it has not acknowledged, what that costs, and whom it belongs to.
//!
//! Per shard the group keeps two sets of positions (unacknowledged; of these, ever sent) and a cursor: everything
//! unacknowledged below the cursor is in flight, in a worker's queue or parked; everything from it on is not assigned
//! yet. Assigning lazily keeps a join cheap: queues are thrown away, the cursor goes back, and entries are assigned
//! anew as they are sent.
//!
//! Invariant: all entries of one key that are in flight are at one worker.

use std::collections::VecDeque;
use std::sync::Arc;

use trunkline_discord::{Gap, GapCause, Time};

use crate::filter::CompiledFilter;
use crate::log::Log;
use crate::positions::PositionSet;
use crate::types::{Action, EntryId, GroupId, GroupLimits, GroupSpec, Slot};
use crate::worker::{Table, Worker};

/// What a group's decisions reach beside the group itself.
pub(crate) struct Core<'a> {
    pub(crate) logs: &'a mut [Option<Log>],
    pub(crate) out: &'a mut Vec<Action>,
    pub(crate) now: Time,
    /// The same in Unix microseconds, as far as events have told; for the gaps made here.
    pub(crate) unix_us: u64,
    /// The hub stops: nothing is sent any more.
    pub(crate) stopping: bool,
}

impl Core<'_> {
    pub(crate) fn log(&mut self, slot: u32) -> Option<&mut Log> {
        self.logs.get_mut(slot as usize)?.as_mut()
    }
}

/// What a group holds of one shard.
#[derive(Default)]
pub(crate) struct Share {
    pub(crate) pending: PositionSet,
    /// Of these, what a worker has had at least once.
    pub(crate) sent: PositionSet,
    pub(crate) cursor: u64,
    /// Something is unacknowledged and unassigned at or above the cursor; the slot is in `Group::behind`.
    pub(crate) behind: bool,
    /// The last gap made of this group's own losses, while it can still grow.
    pub(crate) untold: Option<Untold>,
}

/// A gap of a group's own losses that no worker has seen.
#[derive(Clone)]
pub(crate) struct Untold {
    /// Where it lies in the log.
    pub(crate) position: u64,
    pub(crate) gap: Arc<Gap>,
    /// First and last position of what was lost.
    pub(crate) span: (u64, u64),
}

/// A key whose entries in flight are at a worker that does not own it any more.
pub(crate) struct Held {
    pub(crate) in_flight: u32,
    /// Positions that wait for the hand-over, rising.
    pub(crate) parked: VecDeque<u64>,
}

/// Counters that only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) acked: u64,
    pub(crate) redelivered: u64,
    pub(crate) filtered: u64,
    pub(crate) ignored_acks: u64,
    pub(crate) gaps: [u64; GapCause::ALL.len()],
    pub(crate) events_in_gaps: u64,
}

impl Counts {
    pub(crate) fn gap(&mut self, cause: GapCause, events: Option<u64>) {
        let place = GapCause::ALL.iter().position(|known| *known == cause).unwrap_or(GapCause::ALL.len() - 1);
        self.gaps[place] += 1;
        self.events_in_gaps += events.unwrap_or(0);
    }
}

pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) name: Arc<str>,
    pub(crate) bit: u64,
    pub(crate) filter: CompiledFilter,
    pub(crate) limits: GroupLimits,
    pub(crate) shares: Vec<Share>,
    pub(crate) workers: Vec<Option<Worker>>,
    /// Workers that may own keys.
    pub(crate) members: Vec<usize>,
    /// Who owns a key, remembered: key and worker. Emptied when the members change.
    pub(crate) owners: Vec<(u64, u32)>,
    pub(crate) held: Table<(u32, u64), Held>,
    /// Slots with unassigned entries, in the order in which they get their turn.
    pub(crate) behind: VecDeque<u32>,
    /// The last search for entries stopped at its budget.
    pub(crate) unfinished: bool,
    pub(crate) memory: u64,
    pub(crate) disk: u64,
    /// The last search of all logs left no body of this group in memory that lies on disk, and none has come since.
    pub(crate) evicted_all: bool,
    pub(crate) counts: Counts,
}

impl Group {
    pub(crate) fn new(spec: GroupSpec, index: usize, slots: usize, hash_seed: u64) -> Group {
        Group {
            id: spec.id,
            name: spec.name,
            bit: 1 << index,
            filter: CompiledFilter::new(&spec.filter),
            limits: spec.limits,
            shares: (0..slots).map(|_| Share::default()).collect(),
            workers: Vec::new(),
            members: Vec::new(),
            owners: Vec::new(),
            held: Table::with_hasher(foldhash::fast::FixedState::with_seed(hash_seed)),
            behind: VecDeque::new(),
            unfinished: false,
            memory: 0,
            disk: 0,
            evicted_all: false,
            counts: Counts::default(),
        }
    }

    /// Takes an entry over that was just appended, and sends it if its worker can have it now.
    pub(crate) fn arrive(&mut self, slot: u32, position: u64, key: u64, bytes: u32, core: &mut Core<'_>) {
        self.memory += u64::from(bytes);
        let share = &mut self.shares[slot as usize];
        share.pending.insert(position);
        if share.behind {
            return;
        }
        share.cursor = position;
        if core.stopping || !self.anyone_hungry() {
            self.fall_behind(slot);
            return;
        }
        self.shares[slot as usize].cursor = position + 1;
        self.assign(slot, position, key, core);
    }

    pub(crate) fn fall_behind(&mut self, slot: u32) {
        let share = &mut self.shares[slot as usize];
        if !share.behind {
            share.behind = true;
            self.behind.push_back(slot);
        }
    }

    /// Makes the search start no later than at this position.
    pub(crate) fn back_to(&mut self, slot: u32, position: u64) {
        let share = &mut self.shares[slot as usize];
        if !share.behind || position < share.cursor {
            share.cursor = position;
        }
        self.fall_behind(slot);
    }

    /// The group is done with an entry: acknowledged, filtered out, or lost and told as a gap.
    pub(crate) fn settle(&mut self, slot: u32, position: u64, core: &mut Core<'_>) {
        let share = &mut self.shares[slot as usize];
        if !share.pending.remove(position) {
            return;
        }
        share.sent.remove(position);
        let bit = self.bit;
        let Some(log) = core.log(slot) else { return };
        let Some(entry) = log.get_mut(position) else { return };
        if entry.body.is_some() {
            self.memory -= u64::from(entry.bytes);
        } else {
            self.disk -= u64::from(entry.bytes);
        }
        entry.wants &= !bit;
        entry.flying &= !bit;
        if entry.wants == 0 {
            log.remove(position);
        }
    }

    /// Entries acknowledged by one of the group's workers. Those that are not in flight there are counted and ignored.
    pub(crate) fn acked(&mut self, at: usize, entries: &[EntryId], core: &mut Core<'_>) {
        for entry in entries {
            let Some(worker) = self.workers.get_mut(at).and_then(Option::as_mut) else {
                return;
            };
            if !worker.landed(*entry) {
                self.counts.ignored_acks += 1;
                continue;
            }
            self.counts.acked += 1;
            let slot = entry.slot.0;
            // The key must be read before the entry goes.
            let key = if self.held.is_empty() { None } else { self.key_of(*entry, core) };
            self.settle(slot, entry.position, core);
            if let Some(key) = key {
                self.ease(slot, key, core);
            }
        }
        self.flush(at, core);
        self.pump(core);
        self.tell_drained(at, core);
    }

    pub(crate) fn key_of(&self, entry: EntryId, core: &mut Core<'_>) -> Option<u64> {
        Some(core.log(entry.slot.0)?.get(entry.position)?.key)
    }

    pub(crate) fn entries(&self) -> u64 {
        self.shares.iter().map(|share| share.pending.len()).sum()
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.workers.iter().flatten().map(|worker| worker.flying.len() as u64).sum()
    }

    /// Entries in flight at workers that can still acknowledge them.
    pub(crate) fn in_flight_connected(&self) -> u64 {
        let connected = self.workers.iter().flatten().filter(|worker| worker.is_connected());
        connected.map(|worker| worker.flying.len() as u64).sum()
    }

    /// An entry of the log by its name, as a driver gave it.
    pub(crate) fn entry_id(slot: u32, position: u64) -> EntryId {
        EntryId { slot: Slot(slot), position }
    }
}

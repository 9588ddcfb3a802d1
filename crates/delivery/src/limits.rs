//! What happens at a group's limits: bodies leave memory, then the oldest entries leave the group and become a gap.
//!
//! A body leaves memory only when it is on disk, and those farthest from being sent go first. What is lost is lost for
//! this group alone. In flight entries are not dropped for bytes (their fate is decided at the worker) but are for age.
//! Gap entries are never dropped: an old one moves to the end of the log, so that it pins nothing, and stays untold
//! until somebody comes.

use std::sync::Arc;
use std::time::Duration;

use trunkline_discord::{Gap, GapCause, Time};

use crate::group::{Core, Group};
use crate::log::{Entry, HEADER_BYTES, Log, ds};
use crate::types::{Action, Body};

/// Entries of one shard that are dropped before the group's oldest entry is looked for again.
const RUN: usize = 32;

/// Entries looked at in one search for bodies to let go.
const SEARCH: usize = 8_192;

/// What a group lost of one session of one shard just now.
struct Loss {
    slot: u32,
    session: u64,
    first_s: u64,
    last_s: u64,
    events: u64,
}

impl Group {
    /// Whether its memory holds more than its limit; then bodies should go to disk.
    pub(crate) fn is_over_memory(&self) -> bool {
        self.memory > self.limits.memory_bytes
    }

    /// Drops the oldest entries where bytes are over a limit. `stores` says whether bodies get to disk: if so, the next
    /// checkpoint may be waited for, up to twice the limit.
    pub(crate) fn enforce_bytes(&mut self, stores: bool, core: &mut Core<'_>) {
        let memory_max = self.limits.memory_bytes.saturating_mul(if stores { 2 } else { 1 });
        if self.memory > memory_max {
            // An eighth at once: a group at its limit gets a gap now and then and not one per event.
            self.drop_oldest(GapCause::LogBytes, memory_max - memory_max / 8, u64::MAX, core);
        }
        let disk_max = self.limits.disk_bytes;
        if self.disk > disk_max {
            self.drop_oldest(GapCause::LogDisk, u64::MAX, disk_max - disk_max / 8, core);
        }
    }

    fn drop_oldest(&mut self, cause: GapCause, memory: u64, disk: u64, core: &mut Core<'_>) {
        let mut from = vec![0; self.shares.len()];
        let mut losses = Vec::new();
        while self.memory > memory || self.disk > disk {
            let Some(slot) = self.oldest_slot(&mut from, core) else { break };
            for _ in 0..RUN {
                if self.memory <= memory && self.disk <= disk {
                    break;
                }
                let Some(position) = self.droppable(slot, from[slot as usize], core) else { break };
                from[slot as usize] = position + 1;
                self.lose(slot, position, &mut losses, core);
            }
        }
        self.tell(cause, losses, core);
    }

    /// The shard with the oldest entry that may be dropped.
    fn oldest_slot(&self, from: &mut [u64], core: &mut Core<'_>) -> Option<u32> {
        let mut oldest: Option<(i32, u32)> = None;
        for slot in 0..self.shares.len() as u32 {
            let Some(position) = self.droppable(slot, from[slot as usize], core) else { continue };
            from[slot as usize] = position;
            let Some(entry) = core.log(slot).and_then(|log| log.get(position)) else { continue };
            if oldest.is_none_or(|(received, _)| entry.received_ds < received) {
                oldest = Some((entry.received_ds, slot));
            }
        }
        oldest.map(|(_, slot)| slot)
    }

    /// The first entry from a position on that is neither a gap nor in flight.
    fn droppable(&self, slot: u32, mut from: u64, core: &mut Core<'_>) -> Option<u64> {
        let log = core.log(slot)?;
        loop {
            let position = self.shares[slot as usize].pending.next_from(from)?;
            match log.get(position) {
                Some(entry) if !entry.is_gap && entry.flying & self.bit == 0 => return Some(position),
                _ => from = position + 1,
            }
        }
    }

    /// Drops what is older than the group keeps; answers when the next entry gets there.
    pub(crate) fn enforce_age(&mut self, core: &mut Core<'_>) -> Option<Time> {
        let age_ds = i32::try_from(self.limits.age_ms / 100).unwrap_or(i32::MAX);
        let cutoff = ds(core.now).saturating_sub(age_ds);
        let mut losses = Vec::new();
        let mut moved = Vec::new();
        for slot in 0..self.shares.len() as u32 {
            let mut from = 0;
            while let Some(position) = self.shares[slot as usize].pending.next_from(from)
                && let Some(entry) = core.log(slot).and_then(|log| log.get(position))
                && entry.received_ds < cutoff
            {
                from = position + 1;
                if let (true, Some(Body::Gap(gap))) = (entry.is_gap, &entry.body) {
                    // In flight it is being told; its fate is decided at the worker.
                    if entry.flying & self.bit == 0 {
                        moved.push((slot, position, gap.clone()));
                        self.settle(slot, position, core);
                    }
                } else {
                    self.lose(slot, position, &mut losses, core);
                }
            }
        }
        for (slot, position, gap) in moved {
            let end = self.append_gap(slot, gap, core);
            if let Some(untold) = &mut self.shares[slot as usize].untold
                && untold.0 == position
                && let Some(end) = end
            {
                untold.0 = end;
            }
        }
        self.tell(GapCause::LogAge, losses, core);
        let firsts = (0..self.shares.len() as u32).filter_map(|slot| {
            let position = self.shares[slot as usize].pending.first()?;
            Some(core.log(slot)?.get(position)?.received_ds)
        });
        let next_ds = i64::from(firsts.min()?) + i64::from(age_ds) + 1;
        // What is too old and in flight stays; it must not make the driver call again at once for ever.
        let soonest = core.now + Duration::from_secs(1);
        Some(Time::from_millis(u64::try_from(next_ds).unwrap_or(0) * 100).max(soonest))
    }

    /// Entries that cannot be read back become a gap.
    pub(crate) fn lose_unreadable(&mut self, slot: u32, positions: &[u64], core: &mut Core<'_>) {
        let mut losses = Vec::new();
        for position in positions {
            self.lose(slot, *position, &mut losses, core);
        }
        self.tell(GapCause::StoreFailed, losses, core);
    }

    fn lose(&mut self, slot: u32, position: u64, losses: &mut Vec<Loss>, core: &mut Core<'_>) {
        let Some(entry) = core.log(slot).and_then(|log| log.get(position)) else {
            // Nothing is known of it; it must not hold the group up.
            self.shares[slot as usize].pending.remove(position);
            return;
        };
        let (session, s) = (entry.session, entry.s);
        match losses.iter_mut().rev().find(|loss| loss.slot == slot && loss.session == session) {
            Some(loss) => {
                loss.first_s = loss.first_s.min(s);
                loss.last_s = loss.last_s.max(s);
                loss.events += 1;
            }
            None => losses.push(Loss { slot, session, first_s: s, last_s: s, events: 1 }),
        }
        self.land(slot, position, core);
        self.settle(slot, position, core);
    }

    /// Ends an entry's flight, wherever it is, without an acknowledgement.
    fn land(&mut self, slot: u32, position: u64, core: &mut Core<'_>) {
        let entry = Group::entry_id(slot, position);
        let key = self.key_of(entry, core);
        let landed = self.workers.iter_mut().flatten().any(|worker| worker.landed(entry));
        if let (true, Some(key)) = (landed, key) {
            self.ease(slot, key, core);
        }
    }

    /// Turns losses into gap entries for this group, widening one that nobody has been told yet.
    fn tell(&mut self, cause: GapCause, losses: Vec<Loss>, core: &mut Core<'_>) {
        for loss in losses {
            let Some(shard) = core.log(loss.slot).map(|log| log.shard) else { continue };
            let mut gap = Gap {
                shard,
                session: loss.session,
                first_s: Some(loss.first_s),
                last_s: Some(loss.last_s),
                cause,
                events: Some(loss.events),
                at_unix_us: core.unix_us,
            };
            core.out.push(Action::Fell { group: self.id, gap: gap.clone() });
            let merged = self.take_untold(loss.slot, &gap, core);
            self.counts.events_in_gaps += loss.events;
            match merged {
                Some(before) => {
                    gap.first_s = gap.first_s.min(before.first_s);
                    gap.last_s = gap.last_s.max(before.last_s);
                    gap.events = gap.events.zip(before.events).map(|(a, b)| a + b);
                }
                None => self.counts.gap(cause, None),
            }
            let gap = Arc::new(gap);
            let position = self.append_gap(loss.slot, gap.clone(), core);
            self.shares[loss.slot as usize].untold = position.map(|position| (position, gap));
        }
    }

    /// The gap that the new one continues, if no worker has seen it; it is taken out of the log.
    fn take_untold(&mut self, slot: u32, next: &Gap, core: &mut Core<'_>) -> Option<Arc<Gap>> {
        let share = &self.shares[slot as usize];
        let (position, gap) = share.untold.clone()?;
        let grows =
            gap.session == next.session && gap.cause == next.cause && share.pending.contains(position) && !share.sent.contains(position);
        if !grows {
            return None;
        }
        self.settle(slot, position, core);
        Some(gap)
    }

    /// Appends a gap that is for this group alone.
    pub(crate) fn append_gap(&mut self, slot: u32, gap: Arc<Gap>, core: &mut Core<'_>) -> Option<u64> {
        let now = core.now;
        let bit = self.bit;
        let log = core.log(slot)?;
        let entry = gap_entry(gap, log.gap_key, bit, now);
        let (key, bytes) = (entry.key, entry.bytes);
        let position = log.append(entry);
        self.arrive(slot, position, key, bytes, core);
        Some(position)
    }
}

/// The log entry of a gap.
pub(crate) fn gap_entry(gap: Arc<Gap>, key: u64, wants: u64, now: Time) -> Entry {
    let session = gap.session;
    let body = Body::Gap(gap);
    Entry {
        key,
        s: 0,
        session,
        wants,
        flying: 0,
        bytes: body.bytes_held() as u32 + HEADER_BYTES,
        received_ds: ds(now),
        is_gap: true,
        loading: false,
        body: Some(body),
        location: None,
    }
}

/// Lets bodies of one log go that are on disk, until no group is over its memory limit or none is left to let go.
pub(crate) fn relieve(groups: &mut [Group], log: &mut Log) {
    let over = groups.iter().filter(|group| group.is_over_memory()).fold(0, |mask, group| mask | group.bit);
    if over == 0 {
        return;
    }
    for at in 0..groups.len() {
        // First what only laggards wait for; then what this group does not have in flight; then anything.
        for pass in 0..3 {
            let mut below = log.next_position();
            let mut left = SEARCH;
            while left > 0
                && groups[at].is_over_memory()
                && let Some(position) = log.evictable.last_below(below)
            {
                left -= 1;
                below = position;
                let bit = groups[at].bit;
                let Some(entry) = log.get_mut(position) else { continue };
                let only_laggards = entry.wants & !entry.flying & !over == 0;
                let waits = entry.flying & bit == 0;
                if entry.wants & bit == 0 || !(pass == 2 || waits && (pass == 1 || only_laggards)) {
                    continue;
                }
                entry.body = None;
                let (wants, bytes) = (entry.wants, u64::from(entry.bytes));
                log.evictable.remove(position);
                for group in groups.iter_mut().filter(|group| wants & group.bit != 0) {
                    group.memory -= bytes;
                    group.disk += bytes;
                }
            }
        }
    }
}

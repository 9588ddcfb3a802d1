//! What happens at a group's limits: bodies leave memory, then the oldest entries leave the group and become a gap.
//!
//! A body leaves memory only when it is on disk, and those farthest from being sent go first. Nothing is lost for want of
//! memory while any shard's log has a body to let go, and an entry without a body in memory is never lost for it: that
//! would free nothing. What is lost is lost for this group alone. In flight entries are not dropped for bytes (their fate is decided at the worker) but are for age.
//! Gap entries are never dropped: an old one moves to the end of the log, so that it pins nothing, and stays untold
//! until somebody comes.

use std::sync::Arc;
use std::time::Duration;

use trunkline_discord::{Gap, GapCause, Time};

use crate::group::{Core, Group, Untold};
use crate::log::{Entry, HEADER_BYTES, Log, ds};
use crate::types::{Action, Body};

/// Entries of one shard that are dropped before the group's oldest entry is looked for again.
const RUN: usize = 32;

/// Entries looked at in one pass over a log after each checkpoint. Where that is not enough, [`enforce_bytes`] searches
/// everything before anything is lost.
const SEARCH: usize = 8_192;

/// Passes of a search for bodies to let go: what only laggards wait for; what the group does not have in flight; anything.
const PASSES: u8 = 3;

/// What a group lost of one session of one shard just now.
struct Loss {
    slot: u32,
    session: u64,
    first_s: u64,
    last_s: u64,
    events: u64,
    /// First and last position.
    span: (u64, u64),
}

impl Group {
    /// Whether its memory holds more than its limit; then bodies should go to disk.
    pub(crate) fn is_over_memory(&self) -> bool {
        self.memory > self.limits.memory_bytes
    }

    fn drop_oldest(&mut self, cause: GapCause, memory: u64, disk: u64, core: &mut Core<'_>) {
        let mut from = vec![0; self.shares.len()];
        let mut losses = Vec::new();
        while self.memory > memory || self.disk > disk {
            let Some(slot) = self.oldest_slot(&mut from, cause, core) else { break };
            for _ in 0..RUN {
                if self.memory <= memory && self.disk <= disk {
                    break;
                }
                let Some(position) = self.droppable(slot, from[slot as usize], cause, core) else { break };
                from[slot as usize] = position + 1;
                self.lose(slot, position, &mut losses, core);
            }
        }
        self.tell(cause, losses, core);
    }

    /// The shard with the oldest entry that may be dropped.
    fn oldest_slot(&self, from: &mut [u64], cause: GapCause, core: &mut Core<'_>) -> Option<u32> {
        let mut oldest: Option<(i32, u32)> = None;
        for slot in 0..self.shares.len() as u32 {
            let Some(position) = self.droppable(slot, from[slot as usize], cause, core) else { continue };
            from[slot as usize] = position;
            let Some(entry) = core.log(slot).and_then(|log| log.get(position)) else { continue };
            if oldest.is_none_or(|(received, _)| entry.received_ds < received) {
                oldest = Some((entry.received_ds, slot));
            }
        }
        oldest.map(|(_, slot)| slot)
    }

    /// The first entry from a position on that is neither a gap nor in flight; for memory, of those that take some.
    fn droppable(&self, slot: u32, mut from: u64, cause: GapCause, core: &mut Core<'_>) -> Option<u64> {
        let log = core.log(slot)?;
        loop {
            let position = self.shares[slot as usize].pending.next_from(from)?;
            match log.get(position) {
                Some(entry) if !entry.is_gap && entry.flying & self.bit == 0 && (cause != GapCause::LogBytes || entry.body.is_some()) => {
                    return Some(position);
                }
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
                && untold.position == position
                && let Some(end) = end
            {
                untold.position = end;
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
                loss.span = join(loss.span, (position, position));
            }
            None => losses.push(Loss { slot, session, first_s: s, last_s: s, events: 1, span: (position, position) }),
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
            let merged = self.take_untold(loss.slot, &gap, loss.span, core);
            self.counts.events_in_gaps += loss.events;
            let mut span = loss.span;
            match merged {
                Some((before, before_span)) => {
                    span = join(span, before_span);
                    gap.first_s = gap.first_s.min(before.first_s);
                    gap.last_s = gap.last_s.max(before.last_s);
                    gap.events = gap.events.zip(before.events).map(|(a, b)| a + b);
                }
                None => self.counts.gap(cause, None),
            }
            let gap = Arc::new(gap);
            let position = self.append_gap(loss.slot, gap.clone(), core);
            self.shares[loss.slot as usize].untold = position.map(|position| Untold { position, gap, span });
        }
    }

    /// The gap that the new one continues, if no worker has seen it; it is taken out of the log.
    fn take_untold(&mut self, slot: u32, next: &Gap, span: (u64, u64), core: &mut Core<'_>) -> Option<(Arc<Gap>, (u64, u64))> {
        let share = &self.shares[slot as usize];
        let Untold { position, gap, span: before } = share.untold.clone()?;
        let grows =
            gap.session == next.session && gap.cause == next.cause && share.pending.contains(position) && !share.sent.contains(position);
        // For want of memory only what is not on disk is lost: what lies between two such stretches is still to come, and
        // one gap over both would deny it.
        if !grows || (gap.cause == GapCause::LogBytes && self.waits_between(slot, before, span, core)) {
            return None;
        }
        self.settle(slot, position, core);
        Some((gap, before))
    }

    /// Whether an event between two stretches of positions is still to be sent.
    fn waits_between(&self, slot: u32, a: (u64, u64), b: (u64, u64), core: &mut Core<'_>) -> bool {
        let (from, end) = (a.1.min(b.1) + 1, a.0.max(b.0));
        self.droppable(slot, from, GapCause::Other, core).is_some_and(|position| position < end)
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

fn join(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
    (a.0.min(b.0), a.1.max(b.1))
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

/// Brings one group below its limits. `stores` says whether bodies get to disk: if so, the next checkpoint may be waited
/// for, up to twice the memory limit. Bodies that lie on disk leave memory first, of every shard; only then are the
/// oldest entries dropped.
pub(crate) fn enforce_bytes(groups: &mut [Group], at: usize, stores: bool, core: &mut Core<'_>) {
    let limits = groups[at].limits;
    let memory_max = limits.memory_bytes.saturating_mul(if stores { 2 } else { 1 });
    // An eighth at once: a group at its limit gets a gap, or a search, now and then and not one per event.
    let memory_low = memory_max - memory_max / 8;
    if groups[at].memory > memory_max {
        evict(groups, at, memory_low.min(limits.memory_bytes), core.logs);
    }
    let group = &mut groups[at];
    if group.memory > memory_max {
        group.drop_oldest(GapCause::LogBytes, memory_low, u64::MAX, core);
    }
    if group.disk > limits.disk_bytes {
        group.drop_oldest(GapCause::LogDisk, u64::MAX, limits.disk_bytes - limits.disk_bytes / 8, core);
    }
}

/// Lets bodies of all logs go that are on disk, until the group's memory is down to `memory` or it has none left to let
/// go. In the latter case the search is not repeated until a body has come that could be let go.
fn evict(groups: &mut [Group], at: usize, memory: u64, logs: &mut [Option<Log>]) {
    if groups[at].evicted_all {
        return;
    }
    let over = over_memory(groups);
    for pass in 0..PASSES {
        for log in logs.iter_mut().flatten() {
            evict_from(groups, at, memory, log, pass, over, usize::MAX);
        }
    }
    groups[at].evicted_all = groups[at].memory > memory;
}

/// Lets bodies of one log go that are on disk, until no group is over its memory limit, none is left to let go, or
/// enough was looked at.
pub(crate) fn relieve(groups: &mut [Group], log: &mut Log) {
    let over = over_memory(groups);
    if over == 0 {
        return;
    }
    for at in 0..groups.len() {
        for pass in 0..PASSES {
            evict_from(groups, at, groups[at].limits.memory_bytes, log, pass, over, SEARCH);
        }
    }
}

fn over_memory(groups: &[Group]) -> u64 {
    groups.iter().filter(|group| group.is_over_memory()).fold(0, |mask, group| mask | group.bit)
}

/// One pass over one log, from its end. `over`: groups over their memory limit.
fn evict_from(groups: &mut [Group], at: usize, memory: u64, log: &mut Log, pass: u8, over: u64, search: usize) {
    let mut below = log.next_position();
    let mut left = search;
    while left > 0
        && groups[at].memory > memory
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

//! From the log to a worker: who owns a key, whether it may have the entry now, and what is fetched from disk for it.
//!
//! Entries go straight from the log to the worker while it has credit. When it has none they wait in its queue, and
//! other workers' entries go past them: a slow worker slows only its own guilds. When nobody has credit nothing is
//! assigned at all.

use crate::group::{Core, Group};
use crate::types::Action;
use crate::worker::{State, Waiting};

/// A worker with credit looks for more while fewer than this many wait for it: so many bodies are read from disk ahead
/// of being sent.
pub(crate) const LOOKAHEAD: usize = 256;

/// Entries of one shard that are assigned before the next shard has its turn.
const TURN: usize = 64;

/// Entries that one call may assign: below a millisecond or two, however large the backlog. What is left is done by
/// the next call.
const BUDGET: usize = 16_384;

/// Owners that are remembered; a power of two. Big guilds make most events, so that few places suffice.
const OWNERS: usize = 1_024;

const NOBODY: u32 = u32::MAX;

impl Group {
    /// The worker that a key belongs to, among those that may own keys.
    pub(crate) fn owner(&mut self, key: u64) -> Option<usize> {
        match self.members.as_slice() {
            [] => None,
            [only] => Some(*only),
            _ => {
                if self.owners.is_empty() {
                    self.owners = vec![(0, NOBODY); OWNERS];
                }
                // Snowflakes share their low bits; the time part differs from bit 22 up.
                let place = (key ^ (key >> 22)) as usize % OWNERS;
                let (known, at) = self.owners[place];
                if known == key && at != NOBODY {
                    return Some(at as usize);
                }
                let at = self.elect(key)?;
                self.owners[place] = (key, at as u32);
                Some(at)
            }
        }
    }

    fn elect(&mut self, key: u64) -> Option<usize> {
        let mut best: Option<(u64, usize)> = None;
        for at in &self.members {
            let Some(worker) = self.workers[*at].as_mut() else { continue };
            let claim = worker.claim(key);
            best = match best {
                Some((highest, winner)) if claim < highest => Some((highest, winner)),
                // Equal claims are as good as impossible; the id decides, so that all cores agree.
                Some((highest, winner)) if claim == highest => {
                    let rival = self.workers[winner].as_ref().map(|worker| worker.id.clone());
                    let id = self.workers[*at].as_ref().map(|worker| worker.id.clone());
                    Some((highest, if id > rival { *at } else { winner }))
                }
                _ => Some((claim, *at)),
            };
        }
        best.map(|(_, at)| at)
    }

    pub(crate) fn anyone_hungry(&self) -> bool {
        let mut workers = self.members.iter().filter_map(|at| self.workers[*at].as_ref());
        workers.any(|worker| worker.is_hungry(LOOKAHEAD))
    }

    /// Gives an entry below the cursor its place: in flight, in a queue, or parked.
    pub(crate) fn assign(&mut self, slot: u32, position: u64, key: u64, core: &mut Core<'_>) {
        if !self.held.is_empty()
            && let Some(held) = self.held.get_mut(&(slot, key))
        {
            held.parked.push_back(position);
            return;
        }
        let Some(at) = self.owner(key) else {
            self.back_to(slot, position);
            return;
        };
        let Some(worker) = self.workers[at].as_mut() else { return };
        if worker.queue.is_empty() && self.try_send(at, slot, position, core) == Sent::Gone {
            return;
        }
        let Some(worker) = self.workers[at].as_mut() else { return };
        worker.queue.push_back(Waiting { slot, position });
        if worker.queue.len() <= LOOKAHEAD && worker.may_take(0) {
            self.load(slot, position, core);
        }
    }

    /// Sends what waits for a worker as far as its credit and the bodies in memory go.
    pub(crate) fn flush(&mut self, at: usize, core: &mut Core<'_>) {
        if core.stopping {
            return;
        }
        while let Some(worker) = self.workers.get(at).and_then(Option::as_ref)
            && let Some(head) = worker.queue.front().copied()
        {
            match self.try_send(at, head.slot, head.position, core) {
                Sent::Gone => {
                    if let Some(worker) = self.workers[at].as_mut() {
                        worker.queue.pop_front();
                    }
                }
                Sent::NoCredit => return,
                Sent::NoBody => {
                    self.load_ahead(at, core);
                    return;
                }
            }
        }
    }

    fn load_ahead(&mut self, at: usize, core: &mut Core<'_>) {
        let Some(worker) = self.workers[at].as_ref() else { return };
        if !worker.may_take(0) {
            return;
        }
        for nth in 0..worker.queue.len().min(LOOKAHEAD) {
            let waiting = worker.queue[nth];
            self.load(waiting.slot, waiting.position, core);
        }
    }

    /// Asks for a body that lies on disk only, once.
    fn load(&self, slot: u32, position: u64, core: &mut Core<'_>) {
        let Some(entry) = core.log(slot).and_then(|log| log.get_mut(position)) else {
            return;
        };
        if let (None, Some(location), false) = (&entry.body, entry.location, entry.loading) {
            entry.loading = true;
            let entry = Group::entry_id(slot, position);
            core.out.push(Action::Load { entry, location });
        }
    }

    fn try_send(&mut self, at: usize, slot: u32, position: u64, core: &mut Core<'_>) -> Sent {
        let Some(worker) = self.workers[at].as_mut() else {
            return Sent::NoCredit;
        };
        let log = core.logs.get_mut(slot as usize).and_then(Option::as_mut);
        let Some(entry) = log.and_then(|log| log.get_mut(position)) else {
            return Sent::Gone;
        };
        if entry.wants & self.bit == 0 {
            return Sent::Gone;
        }
        if worker.state != State::Live {
            return Sent::NoCredit;
        }
        let Some(body) = &entry.body else {
            return Sent::NoBody;
        };
        if let (Some(extra), crate::Body::Event(event)) = (&worker.extra, body)
            && !extra.wants(event)
        {
            self.counts.filtered += 1;
            self.settle(slot, position, core);
            return Sent::Gone;
        }
        if core.stopping || !worker.may_take(entry.bytes) {
            return Sent::NoCredit;
        }
        let id = Group::entry_id(slot, position);
        entry.flying |= self.bit;
        worker.took_off(id, entry.bytes);
        let redelivered = !self.shares[slot as usize].sent.insert(position);
        self.counts.redelivered += u64::from(redelivered);
        core.out.push(Action::Send { stream: worker.stream, entry: id, body: body.clone(), redelivered });
        Sent::Gone
    }

    /// Assigns entries from the cursors on while some worker wants more, shard by shard in turn.
    pub(crate) fn pump(&mut self, core: &mut Core<'_>) {
        self.unfinished = false;
        let mut left = BUDGET;
        while !core.stopping
            && let Some(slot) = self.behind.front().copied()
            && self.anyone_hungry()
        {
            if left == 0 {
                self.unfinished = true;
                return;
            }
            let caught_up = self.pump_turn(slot, &mut left, core);
            self.behind.pop_front();
            if caught_up {
                self.shares[slot as usize].behind = false;
            } else {
                self.behind.push_back(slot);
            }
        }
    }

    /// One shard's turn; true when nothing is left to assign there.
    fn pump_turn(&mut self, slot: u32, left: &mut usize, core: &mut Core<'_>) -> bool {
        for nth in 0..TURN {
            if *left == 0 || (nth % 8 == 7 && !self.anyone_hungry()) {
                return false;
            }
            *left -= 1;
            let share = &mut self.shares[slot as usize];
            let Some(position) = share.pending.next_from(share.cursor) else {
                return true;
            };
            share.cursor = position + 1;
            let Some(entry) = core.log(slot).and_then(|log| log.get(position)) else {
                continue;
            };
            if entry.flying & self.bit == 0 {
                let key = entry.key;
                self.assign(slot, position, key, core);
            }
        }
        false
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// Sent, filtered out, or not wanted any more: nothing is left to do for it.
    Gone,
    /// The worker may not have it now.
    NoCredit,
    /// The body lies on disk.
    NoBody,
}

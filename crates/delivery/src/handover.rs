//! Workers that come, break, drain and go, and what that does to the guilds they had.
//!
//! Order per key over every change: an entry of a key is given to a new owner only when the old one has acknowledged
//! everything of that key it has in flight, or is gone. Until then the key's entries are parked. What a worker that is
//! gone had in flight is assigned anew, from the oldest on, so that it comes before everything younger of its key.

use std::collections::VecDeque;
use std::time::Duration;

use trunkline_discord::Time;

use crate::filter::{CompiledFilter, Filter};
use crate::group::{Core, Group, Held};
use crate::types::{Action, AskWhy, Credit, EntryId, StreamId, WorkerId};
use crate::worker::{State, Waiting, Worker};

/// What a worker joins with.
pub(crate) struct Joiner {
    pub(crate) id: WorkerId,
    pub(crate) stream: StreamId,
    pub(crate) extra: Option<Filter>,
    pub(crate) credit: Credit,
    pub(crate) hash_seed: u64,
}

impl Group {
    /// The place of a worker by its name.
    pub(crate) fn find(&self, id: &str) -> Option<usize> {
        let is = |worker: &Option<Worker>| worker.as_ref().is_some_and(|worker| &*worker.id == id);
        self.workers.iter().position(is)
    }

    /// A worker's stream begins. A worker that was here keeps its guilds; what it had unacknowledged comes again.
    /// Answers with its place and the stream that this one replaces.
    pub(crate) fn join(&mut self, joiner: Joiner, core: &mut Core<'_>) -> (usize, Option<StreamId>) {
        let (at, replaced) = match self.find(&joiner.id) {
            Some(at) => {
                self.take_back(at, core);
                (at, self.workers[at].as_ref().map(|worker| worker.stream))
            }
            None => {
                let worker = Worker::new(joiner.id, joiner.stream, joiner.hash_seed);
                let at = match self.workers.iter().position(Option::is_none) {
                    Some(free) => {
                        self.workers[free] = Some(worker);
                        free
                    }
                    None => {
                        self.workers.push(Some(worker));
                        self.workers.len() - 1
                    }
                };
                (at, None)
            }
        };
        if let Some(worker) = self.workers[at].as_mut() {
            worker.stream = joiner.stream;
            worker.state = State::Live;
            worker.extra = joiner.extra.as_ref().map(CompiledFilter::new);
            worker.credit = joiner.credit;
            worker.sent_since_ask = false;
        }
        self.rebalance(core);
        self.pump(core);
        (at, replaced)
    }

    /// A stream broke: its guilds wait for it. A draining worker has no guilds to wait with, so it is gone at once;
    /// then the answer is true.
    pub(crate) fn broke(&mut self, at: usize, grace_ms: u64, core: &mut Core<'_>) -> bool {
        match self.workers.get_mut(at).and_then(Option::as_mut) {
            Some(worker) if worker.state == State::Live => {
                worker.state = State::Broken { until: core.now + Duration::from_millis(grace_ms) };
                false
            }
            Some(Worker { state: State::Draining { .. }, .. }) => {
                self.depart(at, core);
                true
            }
            _ => false,
        }
    }

    /// A worker is gone for good: what it held goes to the others.
    pub(crate) fn depart(&mut self, at: usize, core: &mut Core<'_>) {
        self.take_back(at, core);
        if let Some(place) = self.workers.get_mut(at)
            && let Some(gone) = place.take()
        {
            // What waited for it was never sent; the search finds it again.
            self.reassign(gone.queue);
        }
        self.rebalance(core);
        self.pump(core);
    }

    /// Nothing new for this worker; its keys move as it acknowledges.
    pub(crate) fn drain(&mut self, at: usize, core: &mut Core<'_>) {
        let Some(worker) = self.workers.get_mut(at).and_then(Option::as_mut) else {
            return;
        };
        if worker.state != State::Live {
            return;
        }
        worker.state = State::Draining { told: false };
        if !worker.flying.is_empty() {
            worker.sent_since_ask = false;
            core.out.push(Action::AskAck { stream: worker.stream, why: AskWhy::Drain });
        }
        self.rebalance(core);
        self.pump(core);
        self.tell_drained(at, core);
    }

    pub(crate) fn tell_drained(&mut self, at: usize, core: &mut Core<'_>) {
        if let Some(worker) = self.workers.get_mut(at).and_then(Option::as_mut)
            && worker.state == (State::Draining { told: false })
            && worker.flying.is_empty()
        {
            worker.state = State::Draining { told: true };
            core.out.push(Action::Drained { stream: worker.stream });
        }
    }

    /// Ends all flights of a worker without acknowledgement: the entries are unassigned again.
    fn take_back(&mut self, at: usize, core: &mut Core<'_>) {
        let Some(worker) = self.workers.get_mut(at).and_then(Option::as_mut) else {
            return;
        };
        let mut returned: Vec<EntryId> = worker.flying.drain().map(|(entry, _)| entry).collect();
        worker.flying_bytes = 0;
        returned.sort_unstable();
        for EntryId { slot, position } in returned {
            if let Some(entry) = core.log(slot.0).and_then(|log| log.get_mut(position)) {
                entry.flying &= !self.bit;
            }
            self.back_to(slot.0, position);
        }
    }

    fn reassign(&mut self, queue: VecDeque<Waiting>) {
        for waiting in queue {
            self.back_to(waiting.slot, waiting.position);
        }
    }

    /// The members changed: queues are emptied to be filled anew, and keys whose entries are in flight at a worker that
    /// does not own them now are held until it has acknowledged.
    fn rebalance(&mut self, core: &mut Core<'_>) {
        for at in 0..self.workers.len() {
            if let Some(worker) = self.workers[at].as_mut() {
                let queue = std::mem::take(&mut worker.queue);
                self.reassign(queue);
            }
        }
        let parked: Vec<(u32, VecDeque<u64>)> = self.held.drain().map(|((slot, _), held)| (slot, held.parked)).collect();
        for (slot, first) in parked.iter().filter_map(|(slot, parked)| Some((*slot, *parked.front()?))) {
            self.back_to(slot, first);
        }
        let is_member = |worker: &Option<Worker>| worker.as_ref().is_some_and(Worker::is_member);
        self.members = (0..self.workers.len()).filter(|at| is_member(&self.workers[*at])).collect();
        self.owners.clear();
        for at in 0..self.workers.len() {
            self.hold_foreign(at, core);
        }
    }

    /// Holds the keys that a worker has in flight and does not own, and asks it to acknowledge.
    fn hold_foreign(&mut self, at: usize, core: &mut Core<'_>) {
        let Some(worker) = self.workers[at].as_ref() else { return };
        if self.members.as_slice() == [at] || worker.flying.is_empty() {
            return;
        }
        let flying: Vec<EntryId> = worker.flying.keys().copied().collect();
        let mut foreign = false;
        for entry in flying {
            let Some(key) = self.key_of(entry, core) else { continue };
            if self.owner(key) == Some(at) {
                continue;
            }
            foreign = true;
            let held = self.held.entry((entry.slot.0, key)).or_insert_with(|| Held { in_flight: 0, parked: VecDeque::new() });
            held.in_flight += 1;
        }
        if let Some(worker) = self.workers[at].as_mut()
            && foreign
            && worker.sent_since_ask
            && worker.is_connected()
            && !core.stopping
        {
            worker.sent_since_ask = false;
            core.out.push(Action::AskAck { stream: worker.stream, why: AskWhy::HandOver });
        }
    }

    /// One entry of a key has landed; with the last one the key goes to its owner.
    pub(crate) fn ease(&mut self, slot: u32, key: u64, core: &mut Core<'_>) {
        let Some(held) = self.held.get_mut(&(slot, key)) else { return };
        held.in_flight -= 1;
        if held.in_flight > 0 {
            return;
        }
        let Some(held) = self.held.remove(&(slot, key)) else { return };
        let Some(first) = held.parked.front().copied() else { return };
        let Some(owner) = self.owner(key) else {
            self.back_to(slot, first);
            return;
        };
        if let Some(worker) = self.workers[owner].as_mut() {
            worker.queue.extend(held.parked.into_iter().map(|position| Waiting { slot, position }));
        }
        self.flush(owner, core);
    }

    /// Ends the graces that are over; answers with the streams that are gone and when the next grace ends.
    pub(crate) fn end_graces(&mut self, core: &mut Core<'_>) -> (Vec<StreamId>, Option<Time>) {
        let (mut gone, mut next) = (Vec::new(), None);
        for at in 0..self.workers.len() {
            let Some(worker) = self.workers[at].as_ref() else { continue };
            let State::Broken { until } = worker.state else { continue };
            if until <= core.now {
                gone.push(worker.stream);
                self.depart(at, core);
            } else {
                next = Some(next.map_or(until, |next: Time| next.min(until)));
            }
        }
        (gone, next)
    }

    /// Asks every connected worker that holds something to acknowledge, because the process stops.
    pub(crate) fn ask_all(&mut self, core: &mut Core<'_>) {
        for worker in self.workers.iter_mut().flatten() {
            if worker.is_connected() && !worker.flying.is_empty() {
                worker.sent_since_ask = false;
                core.out.push(Action::AskAck { stream: worker.stream, why: AskWhy::Stop });
            }
        }
    }
}

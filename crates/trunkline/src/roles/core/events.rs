//! What a shard's driver tells its core.

use std::cell::RefCell;
use std::rc::Rc;

use trunkline_discord::{EventKind, GapCause, Routing};
use trunkline_gateway::batch::Ahead;
use trunkline_gateway::{Dispatched, Ready, ShardEvents};
use trunkline_session::{LostCause, ResumePoint};

use super::{CoreState, slot_of};

/// A shard's driver calls this; it finds its way to the core's state.
pub(super) struct Handler {
    pub(super) state: Rc<RefCell<CoreState>>,
    pub(super) slot: usize,
}

impl ShardEvents for Handler {
    fn expect(&mut self, ahead: Ahead, kind: EventKind, routing: Routing) {
        self.state.borrow().expect(self.slot, ahead, kind, routing);
    }

    fn dispatch(&mut self, dispatched: Dispatched<'_>) {
        self.state.borrow_mut().dispatch(self.slot, &dispatched);
    }

    fn ready(&mut self, ready: Ready<'_>) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let Some(shard) = state.shards.get_mut(self.slot) else { return };
        shard.cache.ready(ready.guilds);
        shard.kinds = shard.cache.kinds();
        shard.ordinal = ready.session;
        if let Some(members) = &shard.members {
            members.up(shard.id, Some(ready.guilds));
        }
        state.now_ready(self.slot);
    }

    fn resumed(&mut self, _session: u64, _replayed: u64) {
        let mut state = self.state.borrow_mut();
        let first = state.shards.get(self.slot).is_some_and(|shard| !shard.ready_once);
        state.now_ready(self.slot);
        if let Some(shard) = state.shards.get(self.slot)
            && let Some(members) = &shard.members
        {
            members.up(shard.id, None);
            if first {
                members.restored(shard.id, &shard.cache);
            }
        }
    }

    fn session_lost(&mut self, _cause: LostCause, session: u64, last_s: u64) {
        let mut state = self.state.borrow_mut();
        if let Some(shard) = state.shards.get_mut(self.slot) {
            shard.resume = None;
            // Not only once a new session begins: it may take long, or never come.
            shard.cache.session_lost();
            if let Some(members) = &shard.members {
                members.down(shard.id);
            }
            state.wake.notify_one();
        }
        state.gap(self.slot, session, Some(last_s + 1), None, GapCause::SessionLost);
    }

    fn gap(&mut self, session: u64, first_s: u64, last_s: u64) {
        self.state.borrow_mut().gap(self.slot, session, Some(first_s), Some(last_s), GapCause::SequenceJump);
    }

    fn settled(&mut self, point: Option<&ResumePoint>) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let Some(shard) = state.shards.get_mut(self.slot) else { return };
        match (&mut shard.resume, point) {
            // The common case: the same session, further on. Its guild list is not copied again.
            (Some(held), Some(point)) if held.session == point.session && held.session_id == point.session_id => {
                held.s = point.s;
                if held.resume_url != point.resume_url {
                    held.resume_url.clone_from(&point.resume_url);
                }
            }
            (held, Some(point)) => {
                shard.ordinal = point.session;
                *held = Some(point.clone());
                // A new session is news that a kill must not undo.
                state.wake.notify_one();
            }
            (held, None) => {
                if held.take().is_some() {
                    state.wake.notify_one();
                }
            }
        }
    }

    fn room(&self) -> bool {
        self.state.borrow().side.hub().room(slot_of(self.slot))
    }
}

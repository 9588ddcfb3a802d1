//! Who is connected, and what streams that broke a moment ago had not acknowledged.
//!
//! Touched when a stream begins and when it ends, never on an event's way; the lock is held for a few map operations.
//! What a broken stream left is kept for the grace time, in which the cores wait for its worker as well. After that
//! only the clock keeps sequences from repeating, which is enough (see [`crate::ledger::first_sequence`]).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use tokio::sync::{mpsc, oneshot};
use trunkline_delivery::{GroupId, StreamId, WorkerId};
use trunkline_discord::Time;

use crate::groups::same;
use crate::ledger::Ledger;

/// What a stream leaves to the next one of the same worker.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) stream: StreamId,
    pub(crate) ledger: Ledger,
}

/// What may be said to a running stream from outside.
#[derive(Debug)]
pub(crate) enum Control {
    /// A newer stream of the same worker takes over: end, and leave the ledger.
    Replaced { by: String, reply: oneshot::Sender<Left> },
}

/// What was before a stream.
#[derive(Debug)]
pub(crate) enum Before {
    /// Nothing, or so long ago that it is forgotten.
    Nothing,
    /// A stream that broke within the grace time.
    Broken(Left),
    /// A stream that still runs.
    Live(mpsc::Sender<Control>),
}

/// The answer to [`Registry::enter`].
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) ticket: String,
    /// A ticket was presented and is not the one last issued: who presents it is not who got the last stream.
    pub(crate) foreign_ticket: bool,
    /// The highest sequence that streams of this identity have used, as far as is remembered.
    pub(crate) issued: u64,
    pub(crate) before: Before,
}

#[derive(Debug)]
struct Identity {
    ticket: String,
    issued: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Live { stream: StreamId, control: mpsc::Sender<Control> },
    Gone { at: Time, left: Option<Left> },
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Registry {
    identities: Mutex<HashMap<(GroupId, WorkerId), Identity>>,
    grace: Duration,
}

/// A clock that is set back by less than this does not make a sequence repeat.
const REMEMBERED: Duration = Duration::from_secs(60);

impl Registry {
    pub(crate) fn new(grace: Duration) -> Registry {
        Registry { identities: Mutex::default(), grace }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(GroupId, WorkerId), Identity>> {
        // Every operation leaves the map whole, so a panic elsewhere has not hurt it.
        self.identities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream has proven its identity and is now the newest.
    pub(crate) fn enter(
        &self,
        key: (GroupId, WorkerId),
        stream: StreamId,
        control: mpsc::Sender<Control>,
        presented: &str,
        ticket: String,
        now: Time,
    ) -> Entry {
        let mut identities = self.lock();
        identities.retain(|_, identity| match &mut identity.state {
            State::Live { .. } => true,
            State::Gone { at, left } => {
                if now.since(*at) > self.grace {
                    *left = None;
                }
                now.since(*at) <= REMEMBERED
            }
        });
        let live = State::Live { stream, control };
        let Some(identity) = identities.get_mut(&key) else {
            identities.insert(key, Identity { ticket: ticket.clone(), issued: 0, state: live });
            return Entry { ticket, foreign_ticket: false, issued: 0, before: Before::Nothing };
        };
        let foreign_ticket = !presented.is_empty() && !same(identity.ticket.as_bytes(), presented.as_bytes());
        identity.ticket.clone_from(&ticket);
        let before = match std::mem::replace(&mut identity.state, live) {
            State::Live { control, .. } => Before::Live(control),
            State::Gone { left: Some(left), .. } => Before::Broken(left),
            State::Gone { left: None, .. } => Before::Nothing,
        };
        Entry { ticket, foreign_ticket, issued: identity.issued, before }
    }

    /// A stream has ended, and has used sequences up to `issued`. False when a newer stream has taken over: then the
    /// cores must not be told that the worker is gone.
    pub(crate) fn exit(&self, key: &(GroupId, WorkerId), stream: StreamId, issued: u64, left: &mut Option<Left>, now: Time) -> bool {
        let mut identities = self.lock();
        let Some(identity) = identities.get_mut(key) else { return true };
        identity.issued = identity.issued.max(issued);
        match &identity.state {
            State::Live { stream: newest, .. } if *newest == stream => {
                identity.state = State::Gone { at: now, left: left.take() };
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> (GroupId, WorkerId) {
        (GroupId(0), "w".into())
    }

    fn enter(registry: &Registry, stream: u64, presented: &str, at_ms: u64) -> Entry {
        let control = mpsc::channel(1).0;
        registry.enter(key(), StreamId(stream), control, presented, format!("ticket-{stream}"), Time::from_millis(at_ms))
    }

    fn exit(registry: &Registry, stream: u64, issued: u64, at_ms: u64) -> bool {
        let mut left = Some(Left { stream: StreamId(stream), ledger: Ledger::new(issued, 1) });
        registry.exit(&key(), StreamId(stream), issued, &mut left, Time::from_millis(at_ms))
    }

    #[test]
    fn what_a_broken_stream_left_is_kept_for_the_grace_time_and_its_sequences_longer() {
        let registry = Registry::new(Duration::from_secs(5));
        assert!(matches!(enter(&registry, 1, "", 0).before, Before::Nothing));
        assert!(exit(&registry, 1, 500, 1_000));
        let back = enter(&registry, 2, "", 6_000);
        assert!(matches!(back.before, Before::Broken(Left { stream: StreamId(1), .. })));
        assert_eq!(back.issued, 500);
        assert!(exit(&registry, 2, 600, 7_000));
        let late = enter(&registry, 3, "", 12_001);
        assert!(matches!(late.before, Before::Nothing));
        assert_eq!(late.issued, 600);
        assert!(exit(&registry, 3, 700, 13_000));
        assert_eq!(enter(&registry, 4, "", 73_001).issued, 0);
    }

    #[test]
    fn the_newest_stream_wins_and_the_end_of_an_older_one_changes_nothing() {
        let registry = Registry::new(Duration::from_secs(5));
        enter(&registry, 1, "", 0);
        assert!(matches!(enter(&registry, 2, "", 1).before, Before::Live(_)));
        assert!(!exit(&registry, 1, 500, 2));
        assert!(matches!(enter(&registry, 3, "", 3).before, Before::Live(_)));
    }

    #[test]
    fn only_the_last_ticket_is_the_workers_own() {
        let registry = Registry::new(Duration::from_secs(5));
        assert!(!enter(&registry, 1, "from another life", 0).foreign_ticket, "nothing is known: nothing can be foreign");
        assert!(!enter(&registry, 2, "ticket-1", 1).foreign_ticket);
        assert!(enter(&registry, 3, "ticket-1", 2).foreign_ticket);
        assert!(!enter(&registry, 4, "", 3).foreign_ticket, "Pylon's Java client sends none");
    }
}

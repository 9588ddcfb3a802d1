//! Commands to Discord: a bounded queue that keeps the connection's limits.
//!
//! Discord docs, Gateway: Rate Limiting. Commands share 120 frames per 60 seconds with heartbeats, for which room is
//! kept; presence updates have 5 per 20 seconds besides, and those that wait for it let the others pass.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use trunkline_discord::{Dice, Object, Op, Time};

use crate::budget::Budget;
use crate::session::{Session, State};
use crate::{Action, Refusal, Report, Timer, payload};

/// Presence updates in [`PRESENCE_WINDOW`]. Kept over connections: the docs do not say that a new one starts afresh.
const PRESENCES_MAX: usize = 5;
const PRESENCE_WINDOW: Duration = Duration::from_secs(20);

/// What waits to be sent. Kept over a resume; dropped with its session.
pub(crate) struct Commands {
    queue: VecDeque<(Op, Vec<u8>)>,
    max: usize,
    presences: Budget,
}

/// The number only: what waits belongs to users.
impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commands({} waiting)", self.queue.len())
    }
}

impl Commands {
    pub(crate) fn new(max: usize) -> Commands {
        Commands { queue: VecDeque::new(), max, presences: Budget::new(PRESENCES_MAX, PRESENCE_WINDOW) }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// An IDENTIFY with a presence has left: it is a presence update too.
    pub(crate) fn presence_sent(&mut self, now: Time) {
        self.presences.spend(now);
    }
}

impl Session {
    /// Checks a command, and sends it or lets it wait.
    pub(crate) fn command(&mut self, op: Op, body: &Object, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        let (encoding, _) = payload::query(&self.config, self.held.as_ref());
        let checked = payload::command(encoding, op, body)
            .and_then(|bytes| if self.commands.queue.len() < self.commands.max { Ok(bytes) } else { Err(Refusal::QueueFull) });
        match checked {
            Ok(bytes) => {
                self.commands.queue.push_back((op, bytes));
                self.flush(now, dice, todo);
            }
            Err(why) => todo.push(Action::Report(Report::CommandRefused { op, why })),
        }
    }

    /// Sends what may leave now, in order, and arms the timer for the rest.
    pub(crate) fn flush(&mut self, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        if self.commands.queue.is_empty() {
            return;
        }
        self.beat_if_due(now, dice, todo);
        let State::Live { link, .. } = &mut self.state else { return };
        let Commands { queue, presences, .. } = &mut self.commands;
        let keep = link.kept_for_beats();
        let mut next: Option<Time> = None;
        let mut at = 0;
        while let Some((op, _)) = queue.get(at) {
            if let Some(free) = link.sends.wait(keep, now) {
                next = Some(next.map_or(free, |next| next.min(free)));
                break;
            }
            if *op == Op::PresenceUpdate {
                if let Some(free) = presences.wait(0, now) {
                    next = Some(next.map_or(free, |next| next.min(free)));
                    at += 1;
                    continue;
                }
                presences.spend(now);
            }
            link.sends.spend(now);
            if let Some((op, bytes)) = queue.remove(at) {
                todo.push(Action::Send { op, bytes });
            }
        }
        match next {
            Some(next) if self.due(Timer::Commands) != Some(next) => self.arm(Timer::Commands, next, todo),
            Some(_) => {}
            None => self.disarm(Timer::Commands, todo),
        }
    }

    /// Drops what waits, and says so.
    pub(crate) fn drop_commands(&mut self, todo: &mut Vec<Action>) {
        let count = self.commands.queue.len();
        if count > 0 {
            self.commands.queue.clear();
            todo.push(Action::Report(Report::CommandsDropped { count }));
        }
        self.disarm(Timer::Commands, todo);
    }
}

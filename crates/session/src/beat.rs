//! Heartbeats, and telling a dead connection from a quiet one.
//!
//! Discord docs, Gateway: Sending Heartbeats. The first beat comes after a random part of the interval, the others an
//! interval apart. A beat carries the position up to which everything is checkpointed, not the last one seen: Discord
//! may drop from its replay what a heartbeat has confirmed, and after a crash everything above the checkpoint is
//! needed again.
//!
//! A beat without an answer does not mean a dead connection while bytes still flow (a GUILD_CREATE of megabytes may be
//! on its way in front of the answer), so silence counts after one interval and a missing answer after two.

use std::time::Duration;

use trunkline_discord::{Dice, Encoding, Op, Time};

use crate::budget::Budget;
use crate::session::{Session, Stage, State};
use crate::{Action, Cause, Report, Timer, payload};

/// Frames that Discord takes from one connection in [`WINDOW`]; heartbeats count like any other.
pub(crate) const FRAMES_MAX: usize = 120;

/// The window of [`FRAMES_MAX`].
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// Most places that are kept for heartbeats, however short the interval: commands must not starve altogether.
const KEPT_MAX: usize = 100;

/// Shortest and longest interval that is taken from HELLO. Discord's is about 41 seconds.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
const INTERVAL_MAX: Duration = Duration::from_secs(3_600);

/// A connection from HELLO on.
#[derive(Debug)]
pub(crate) struct Link {
    /// What its frames are written in.
    pub(crate) encoding: Encoding,
    interval: Duration,
    last_bytes: Time,
    last_beat: Time,
    /// When the first of the unanswered beats left.
    unacked_since: Option<Time>,
    /// Frames sent.
    pub(crate) sends: Budget,
}

impl Link {
    pub(crate) fn new(encoding: Encoding, interval: Duration, now: Time) -> Link {
        Link {
            encoding,
            interval: interval.clamp(INTERVAL_MIN, INTERVAL_MAX),
            last_bytes: now,
            last_beat: now,
            unacked_since: None,
            sends: Budget::new(FRAMES_MAX, WINDOW),
        }
    }

    /// When the first beat is due: after a random part of the interval, so that a thousand shards that connect at
    /// once do not beat at once.
    pub(crate) fn first_beat(&self, now: Time, dice: &mut Dice) -> Time {
        now + self.interval.mul_f64(dice.unit())
    }

    /// Places that commands leave free for the beats of one window.
    pub(crate) fn kept_for_beats(&self) -> usize {
        let beats = WINDOW.as_micros().div_ceil(self.interval.as_micros().max(1)) + 1;
        usize::try_from(beats).unwrap_or(KEPT_MAX).min(KEPT_MAX)
    }

    /// Bytes have arrived.
    #[inline]
    pub(crate) fn heard(&mut self, now: Time) {
        self.last_bytes = now;
    }

    fn is_zombie(&self, now: Time) -> bool {
        let Some(since) = self.unacked_since else { return false };
        let silent = now.since(self.last_bytes.max(since)) >= self.interval;
        silent || now.since(since) >= self.interval * 2
    }
}

impl Session {
    /// Bytes have arrived.
    pub(crate) fn heard(&mut self, now: Time) {
        if let Some(link) = self.link() {
            link.heard(now);
        }
    }

    /// The regular beat.
    pub(crate) fn beat_due(&mut self, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        let Some(link) = self.link() else { return };
        if link.is_zombie(now) {
            self.hang_up(Cause::Zombie, now, dice, todo);
            return;
        }
        let next = now + link.interval;
        if self.beat(now, todo) {
            self.arm(Timer::Beat, next, todo);
        }
    }

    /// Sends a beat that is due before anything else is sent.
    pub(crate) fn beat_if_due(&mut self, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        if self.due(Timer::Beat).is_some_and(|at| at <= now) {
            self.beat_due(now, dice, todo);
        }
    }

    /// Sends a beat, or, when the connection has used up its frames, arms the timer for when it can leave.
    pub(crate) fn beat(&mut self, now: Time, todo: &mut Vec<Action>) -> bool {
        // One place is IDENTIFY's or RESUME's, until it has left.
        let keep = match &self.state {
            State::Joining { stage: Stage::Grant | Stage::Room, .. } => 1,
            _ => 0,
        };
        let position = self.checkpointed;
        let Some(link) = self.link() else { return false };
        if let Some(free) = link.sends.wait(keep, now) {
            todo.push(Action::Report(Report::BeatHeldBack));
            if self.due(Timer::Beat).is_none_or(|at| at <= now || at > free) {
                self.arm(Timer::Beat, free, todo);
            }
            return false;
        }
        link.sends.spend(now);
        link.last_beat = now;
        link.unacked_since.get_or_insert(now);
        todo.push(Action::Send { op: Op::Heartbeat, bytes: payload::heartbeat(link.encoding, position) });
        true
    }

    /// Op 11.
    pub(crate) fn acked(&mut self, now: Time, todo: &mut Vec<Action>) {
        match self.link() {
            Some(link) if link.unacked_since.is_some() => {
                link.unacked_since = None;
                let took = now.since(link.last_beat);
                todo.push(Action::Report(Report::Acked(took)));
            }
            _ => todo.push(Action::Report(Report::Unexpected { op: Op::HeartbeatAck, why: "no heartbeat is unanswered" })),
        }
    }

    /// A checkpoint holds everything up to `s`. Of another session, or beyond what was received, it says nothing.
    pub(crate) fn checkpointed(&mut self, s: u64, session: u64) {
        if let Some(point) = self.held.as_ref().filter(|point| point.session == session) {
            let s = s.min(point.s);
            self.checkpointed = Some(self.checkpointed.map_or(s, |before| before.max(s)));
        }
    }
}

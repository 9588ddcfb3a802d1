//! What Discord sends: which frame means what, and where each may stand.
//!
//! Discord docs, Gateway: Connection Lifecycle; Gateway Events: Payload Structure. The sequence is kept here: every
//! dispatch is either new, repeated (dropped before anybody sees it), or after a jump (a gap that is told).

use std::time::Duration;

use trunkline_discord::{Dice, Envelope, EventKind, Op, Time};

use crate::session::{Session, Stage, State};
use crate::{Action, Cause, LostCause, Report, Timer};

/// A dispatch that comes next in its session, as [`Session::follow`] answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Following {
    /// The session's ordinal.
    pub session: u64,
    /// Its sequence number.
    pub s: u64,
}

impl Session {
    /// What [`Session::step`] does with a frame in the usual case, which is nearly every frame: a documented event of a live session
    /// whose number comes next. It is to be delivered, and nothing else follows from it. For all other frames the answer is `None`, and
    /// nothing has changed: they are for `step`.
    ///
    /// It exists because `step` takes the frame by value and answers with a list, which costs more than this decision.
    #[inline]
    pub fn follow(&mut self, envelope: &Envelope<'_>, now: Time) -> Option<Following> {
        let (State::Live { link, .. }, Op::Dispatch, Some(s), Some(point)) = (&mut self.state, envelope.op, envelope.s, &mut self.held)
        else {
            return None;
        };
        // A name that nobody knows may be none at all.
        let own = matches!(envelope.kind, EventKind::Ready | EventKind::Resumed | EventKind::Unknown);
        if own || point.s.checked_add(1) != Some(s) {
            return None;
        }
        link.heard(now);
        point.s = s;
        self.bad_frames = 0;
        self.duplicates = 0;
        Some(Following { session: point.session, s })
    }

    pub(crate) fn frame(&mut self, envelope: Envelope<'_>, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        if !self.has_socket() {
            return;
        }
        let greeting = matches!(self.state, State::Greeting);
        match envelope.op {
            Op::Dispatch => self.dispatch(envelope, now, dice, todo),
            Op::Hello if greeting => self.hello(envelope.d, now, dice, todo),
            Op::Hello => unexpected(Op::Hello, "HELLO came already", todo),
            Op::HeartbeatAck => self.acked(now, todo),
            Op::Heartbeat if greeting => unexpected(Op::Heartbeat, "HELLO has not come", todo),
            // Its answer does not move the regular beats: the docs do not say that it should.
            Op::Heartbeat => {
                self.beat(now, todo);
            }
            Op::Reconnect => self.hang_up(Cause::ReconnectAsked, now, dice, todo),
            Op::InvalidSession => self.invalid(envelope.d.as_bool() == Some(true), now, dice, todo),
            Op::Other(code) => todo.push(Action::Report(Report::UnknownOp(code))),
            op => unexpected(op, "only clients send this", todo),
        }
    }

    /// Op 9: an identify refused, a resume refused, or a live session revoked. Only a plain `true` keeps the session.
    fn invalid(&mut self, resumable: bool, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        let resumable = resumable && self.held.is_some();
        if !resumable {
            self.lose(LostCause::InvalidSession, todo);
        }
        self.hang_up(Cause::InvalidSession { resumable }, now, dice, todo);
    }

    /// Op 0.
    fn dispatch(&mut self, envelope: Envelope<'_>, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        let Envelope { s, t, d, .. } = envelope;
        let name = t.as_deref().unwrap_or_default();
        match &mut self.state {
            State::Joining { stage: Stage::Identify { early }, .. } => {
                if name == "READY" {
                    let early = *early;
                    self.ready(s, d, early, now, dice, todo);
                } else {
                    *early = true;
                    unexpected(Op::Dispatch, "READY has not come", todo);
                }
            }
            State::Joining { stage: Stage::Grant | Stage::Room, .. } => {
                unexpected(Op::Dispatch, "no session has been asked for", todo);
            }
            State::Joining { stage: Stage::Resume { .. }, .. } | State::Live { .. } => self.in_session(s, name, now, dice, todo),
            _ => self.bad_frame("a dispatch came before HELLO", now, dice, todo),
        }
    }

    /// A dispatch of the held session, replayed or new.
    fn in_session(&mut self, s: Option<u64>, name: &str, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        let resumed = name == "RESUMED";
        if name.is_empty() {
            return self.bad_frame("a dispatch has no name", now, dice, todo);
        }
        let new = match s {
            Some(s) => match self.place(s, name, todo) {
                Ok(new) => new,
                Err(why) => return self.bad_frame(why, now, dice, todo),
            },
            // What ends a replay is believed without a number too: nothing would be gained by asking again.
            None if resumed => false,
            None => return self.bad_frame("a dispatch has no s", now, dice, todo),
        };
        let limits = self.config.limits;
        match &mut self.state {
            State::Joining { stage: Stage::Resume { replayed, .. }, .. } => {
                if resumed {
                    let replayed = *replayed;
                    let session = self.held.as_ref().map_or(0, |point| point.session);
                    todo.push(Action::Resumed { session, replayed });
                    self.go_live(now, dice, todo);
                } else if new {
                    *replayed += 1;
                    // The deadline follows the replay; not to the microsecond, for a replay is thousands of frames.
                    let late = now + limits.resumed;
                    if self.due(Timer::Join).is_none_or(|due| late.since(due) >= Duration::from_secs(1)) {
                        self.arm(Timer::Join, late, todo);
                    }
                }
            }
            _ if resumed => todo.push(Action::Report(Report::ResumedAgain)),
            _ => {}
        }
    }

    /// Finds a sequence number's place: says whether it is new, and what to do about it if not.
    fn place(&mut self, s: u64, name: &str, todo: &mut Vec<Action>) -> Result<bool, &'static str> {
        let Some(point) = &mut self.held else { return Ok(false) };
        if s <= point.s {
            todo.push(Action::Duplicate { s });
            self.duplicates += 1;
            // A stream that has slipped back would otherwise be dropped for ever.
            let slipped = self.duplicates >= self.config.limits.duplicates_max;
            return if slipped { Err("the sequence has gone back") } else { Ok(false) };
        }
        if name == "READY" {
            return Err("READY came in a session that runs already");
        }
        let missing = s - point.s - 1;
        if missing > self.config.limits.jump_max {
            return Err("the sequence jumps too far");
        }
        if missing > 0 {
            todo.push(Action::Gap { session: point.session, first_s: point.s + 1, last_s: s - 1 });
        }
        point.s = s;
        self.bad_frames = 0;
        self.duplicates = 0;
        todo.push(Action::Deliver { s });
        Ok(true)
    }
}

fn unexpected(op: Op, why: &'static str, todo: &mut Vec<Action>) {
    todo.push(Action::Report(Report::Unexpected { op, why }));
}

//! From one connection to the next: opening, losing, pausing, stopping.
//!
//! Discord docs, Gateway: Disconnecting, Resuming. A session is resumed at its resume address, and at the main one
//! when that cannot be reached; it is given up only where the docs say that it is gone, or when resuming it has come
//! to nothing several times in a row and for minutes.

use std::time::Duration;

use trunkline_discord::{CloseCode, CloseVerdict, Dice, GATEWAY_VERSION, GatewayUrl, Time};

use crate::session::{Session, Stage, State};
use crate::{Action, Cause, LostCause, Report, StopReason, Timer, payload};

/// Closes so that the session lives on: any code but 1000 and 1001 does.
const CLOSE_KEEPING: u16 = 4_000;

/// Timers of one connection.
const LINK_TIMERS: [Timer; 5] = [Timer::Hello, Timer::Beat, Timer::Join, Timer::Commands, Timer::Room];

impl Session {
    pub(crate) fn start(&mut self, todo: &mut Vec<Action>) {
        if !matches!(self.state, State::Idle) {
            return;
        }
        if let Some(point) = self.refused.take() {
            todo.push(Action::SessionLost { cause: LostCause::SettingsChanged, session: point.session, last_s: point.s });
        }
        self.open(todo);
    }

    /// Asks for a socket.
    fn open(&mut self, todo: &mut Vec<Action>) {
        let (encoding, compression) = payload::query(&self.config, self.held.as_ref());
        let base = match &self.held {
            Some(point) if !self.use_main_url && !point.resume_url.is_empty() => &point.resume_url,
            _ => &self.config.gateway_url,
        };
        let url = GatewayUrl::build(base, encoding, compression, GATEWAY_VERSION);
        self.state = State::Opening;
        todo.push(Action::Open { url, encoding, compression });
    }

    pub(crate) fn opened(&mut self, now: Time, todo: &mut Vec<Action>) {
        if matches!(self.state, State::Opening) {
            self.state = State::Greeting;
            self.arm(Timer::Hello, now + self.config.limits.hello, todo);
        }
    }

    pub(crate) fn open_failed(&mut self, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        if matches!(self.state, State::Opening) {
            self.try_other_url();
            self.reconnect(Cause::OpenFailed, now, dice, todo);
        }
    }

    /// The address just tried did not work. With a session there are two, and they take turns: which of them is at
    /// fault cannot be told from here.
    fn try_other_url(&mut self) {
        self.use_main_url = self.held.is_some() && !self.use_main_url;
    }

    /// The socket is gone.
    pub(crate) fn closed(&mut self, code: Option<u16>, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        if matches!(self.state, State::Opening) {
            self.open_failed(now, dice, todo);
            return;
        }
        if !self.has_socket() {
            return;
        }
        if let Some(code) = code {
            match CloseCode(code).verdict() {
                CloseVerdict::Resume => {}
                CloseVerdict::NewSession => self.lose(LostCause::Closed(code), todo),
                CloseVerdict::Fatal => {
                    self.lose(LostCause::Closed(code), todo);
                    // Discord has closed already: there is nothing left to close.
                    self.state = State::Waiting;
                    self.stop(CLOSE_KEEPING, StopReason::Fatal(CloseCode(code)), todo);
                    return;
                }
            }
        }
        self.reconnect(Cause::Closed(code), now, dice, todo);
    }

    /// Closes the socket, so that the session lives on, and goes on to the next connection.
    pub(crate) fn hang_up(&mut self, cause: Cause, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        todo.push(Action::Close(CLOSE_KEEPING));
        self.reconnect(cause, now, dice, todo);
    }

    /// Goes on from a connection that is over: counts what it came to, and opens the next one now or after a pause.
    ///
    /// The first reconnect is immediate, for a resume loses nothing and every moment without a connection is events that
    /// come late. After that three rows say how long to wait, each with pauses of its own: connections that brought
    /// nothing, those that brought events but did not last, and IDENTIFYs that were spent for nothing.
    fn reconnect(&mut self, cause: Cause, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        let limits = self.config.limits;
        let identifying = matches!(self.state, State::Joining { stage: Stage::Identify { .. }, .. });
        let flowed_since = match &self.state {
            State::Live { since, .. } | State::Joining { stage: Stage::Resume { since, replayed: 1.. }, .. } => Some(*since),
            _ => None,
        };
        if flowed_since.is_some_and(|since| now.since(since) >= limits.steady) {
            self.attempt = 0;
            self.brief = 0;
            self.identifies_wasted = 0;
            self.unproven = false;
        }
        self.count_resume(cause, now, todo);
        let mut wait = Duration::ZERO;
        if identifying {
            // An IDENTIFY was spent on nothing: the next one is not to follow at once, whatever the reason.
            wait = between(limits.invalid_wait, dice);
        }
        match cause {
            Cause::RestartAsked => {
                self.attempt = 0;
                self.brief = 0;
            }
            Cause::InvalidSession { resumable: false } => {
                wait = between(limits.invalid_wait, dice);
                // Discord has been reached and has answered: connects that failed before are no reason to wait longer.
                // Only IDENTIFYs that come to nothing in a row are.
                self.attempt = 0;
            }
            Cause::Closed(Some(4008)) => wait = limits.slow_down,
            _ => {}
        }
        let mut row = self.attempt;
        let mut pause = backoff(self.attempt, limits.backoff_max, dice);
        if flowed_since.is_some() && self.held.is_some() {
            row = self.brief;
            pause = backoff(self.brief, limits.brief_max, dice);
            self.brief = self.brief.saturating_add(1);
            self.attempt = 0;
        }
        if cause != Cause::RestartAsked && (identifying || self.unproven && self.held.is_none()) {
            row = row.max(self.identifies_wasted);
            pause = pause.max(backoff(self.identifies_wasted, limits.backoff_max, dice));
            self.identifies_wasted = self.identifies_wasted.saturating_add(1);
        }
        self.unproven &= self.held.is_some();
        for timer in LINK_TIMERS {
            self.disarm(timer, todo);
        }
        let after = wait.max(pause);
        todo.push(Action::Report(Report::Reconnecting { cause, resume: self.held.is_some(), after, attempt: row }));
        self.attempt = self.attempt.saturating_add(1);
        if after.is_zero() {
            self.open(todo);
        } else {
            self.state = State::Waiting;
            self.arm(Timer::Reconnect, now + after, todo);
        }
    }

    /// Counts what became of a RESUME, if the connection that is over had sent one; enough that brought nothing give the
    /// session up.
    fn count_resume(&mut self, cause: Cause, now: Time, todo: &mut Vec<Action>) {
        match &self.state {
            State::Joining { stage: Stage::Resume { replayed, .. }, .. } if cause != Cause::RestartAsked && self.held.is_some() => {
                if *replayed == 0 {
                    self.resumes_failed += 1;
                    self.resumes_failing_since.get_or_insert(now);
                } else {
                    self.resumes_failed = 0;
                    self.resumes_failing_since = None;
                }
            }
            _ => {}
        }
        let limits = self.config.limits;
        let failing_for = self.resumes_failing_since.map_or(Duration::ZERO, |since| now.since(since));
        if self.resumes_failed >= limits.resumes_max && failing_for >= limits.resumes_for {
            self.lose(LostCause::ResumesFailed, todo);
        }
    }

    pub(crate) fn fired(&mut self, timer: Timer, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        match self.due(timer) {
            // It was disarmed while it was on its way.
            None => return,
            Some(due) if due > now => {
                // It is the earlier time of a timer that was armed anew.
                todo.push(Action::Arm(timer, due));
                return;
            }
            Some(_) => {}
        }
        match timer {
            Timer::Beat => {
                self.beat_due(now, dice, todo);
                return;
            }
            _ => self.armed[timer as usize] = None,
        }
        match timer {
            Timer::Hello => {
                self.try_other_url();
                self.hang_up(Cause::HelloLate, now, dice, todo);
            }
            Timer::Join => self.hang_up(Cause::JoinLate, now, dice, todo),
            Timer::Reconnect => self.open(todo),
            Timer::Commands => self.flush(now, dice, todo),
            Timer::Room => self.room_waited(now, dice, todo),
            Timer::Beat => {}
        }
    }

    /// The operator asks for a new connection. A pause before one that is under way anyway is kept: it may be
    /// Discord's rule.
    pub(crate) fn restart(&mut self, fresh: bool, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        if matches!(self.state, State::Idle) {
            return;
        }
        if fresh {
            self.lose(LostCause::Asked, todo);
            self.unproven = false;
        }
        if !matches!(self.state, State::Waiting) {
            self.hang_up(Cause::RestartAsked, now, dice, todo);
        }
    }

    /// Stops for good; `code` closes the socket, if there is one.
    pub(crate) fn stop(&mut self, code: u16, reason: StopReason, todo: &mut Vec<Action>) {
        if self.has_socket() || matches!(self.state, State::Opening) {
            todo.push(Action::Close(code));
        }
        for timer in Timer::ALL {
            self.disarm(timer, todo);
        }
        if std::mem::take(&mut self.asked) {
            todo.push(Action::ForgetIdentify);
        }
        self.drop_commands(todo);
        self.state = State::Stopped;
        todo.push(Action::Stopped(reason));
    }

    /// A frame that cannot be. The connection is replaced; a session that stumbles over the same frame again and
    /// again is given up, rather than asking for that frame for ever.
    pub(crate) fn bad_frame(&mut self, why: &'static str, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        if !self.has_socket() {
            return;
        }
        if matches!(self.state, State::Live { .. } | State::Joining { stage: Stage::Resume { .. }, .. }) {
            self.bad_frames += 1;
            if self.bad_frames >= self.config.limits.bad_frames_max {
                self.lose(LostCause::BadFrames, todo);
            }
        }
        self.hang_up(Cause::BadFrame(why), now, dice, todo);
    }

    pub(crate) fn has_socket(&self) -> bool {
        matches!(self.state, State::Greeting | State::Joining { .. } | State::Live { .. })
    }
}

/// A random time between two.
fn between((lo, hi): (Duration, Duration), dice: &mut Dice) -> Duration {
    lo + hi.saturating_sub(lo).mul_f64(dice.unit())
}

/// 0, 1, 2, 4 … seconds up to `max`, each shortened by up to a quarter, so that a thousand shards that were cut off at
/// once do not come back at once.
fn backoff(attempt: u32, max: Duration, dice: &mut Dice) -> Duration {
    if attempt == 0 {
        return Duration::ZERO;
    }
    let whole = Duration::from_secs(1 << (attempt - 1).min(16)).min(max);
    whole.mul_f64(1.0 - dice.unit() / 4.0)
}

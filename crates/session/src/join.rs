//! From HELLO to a live session: the grant and IDENTIFY, or the log's room and RESUME.
//!
//! Discord docs, Gateway: Identifying, Ready Event, Resuming.
//!
//! A grant to identify is asked for when HELLO has come, not before the socket is opened. A grant is paid for: it is
//! written to the day's ledger and takes its place in Discord's window of 5 seconds when it is given. Asked for
//! earlier, it would age while name lookup, TCP, TLS and HELLO take their time, and be wasted when one of them fails.
//! Asked for now, IDENTIFY leaves in the very step in which the grant comes. The price is a socket that waits its
//! turn, with heartbeats going on, which Discord allows.

use std::time::Duration;

use trunkline_discord::{Dice, Op, Time};
use trunkline_etf::Value;

use crate::beat::Link;
use crate::point::{GUILDS_MAX, TEXT_BYTES_MAX};
use crate::session::{Session, Stage, State};
use crate::{Action, Report, ResumePoint, Timer, payload};

impl Session {
    /// Op 10 on a fresh socket: heartbeats begin, and the session is joined.
    pub(crate) fn hello(&mut self, d: Value<'_>, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        let interval = d.get("heartbeat_interval").and_then(Value::as_f64).filter(|ms| ms.is_finite() && *ms > 0.0);
        let Some(interval_ms) = interval else {
            self.bad_frame("HELLO has no heartbeat interval", now, dice, todo);
            return;
        };
        self.disarm(Timer::Hello, todo);
        // Somebody answers here. Whatever becomes of this connection, the resume address gets the next chance.
        self.use_main_url = false;
        let (encoding, _) = payload::query(&self.config, self.held.as_ref());
        // A figure beyond a day is as good as a day; Link has its own limits.
        let link = Link::new(encoding, Duration::from_secs_f64((interval_ms / 1_000.0).min(86_400.0)), now);
        let first = link.first_beat(now, dice);
        let stage = if self.held.is_some() { Stage::Room } else { Stage::Grant };
        self.state = State::Joining { link, stage };
        self.arm(Timer::Beat, first, todo);
        match stage {
            Stage::Room if self.room => self.resume(now, todo),
            Stage::Room => self.arm(Timer::Room, now + self.config.limits.room, todo),
            // The place in the queue may be left from an earlier socket.
            _ if self.asked => {}
            _ => {
                self.asked = true;
                todo.push(Action::AskToIdentify);
            }
        }
    }

    /// The identify queue says now. IDENTIFY leaves in this step, or the grant goes back.
    pub(crate) fn granted(&mut self, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        self.beat_if_due(now, dice, todo);
        self.asked = false;
        let State::Joining { link, stage: stage @ Stage::Grant } = &mut self.state else {
            return give_back(todo);
        };
        let (bytes, left_out) = payload::identify(&self.config);
        *stage = Stage::Identify { early: false };
        link.sends.spend(now);
        if let Some(why) = left_out {
            todo.push(Action::Report(Report::PresenceLeftOut(why)));
        } else if self.config.presence.is_some() {
            self.commands.presence_sent(now);
        }
        todo.push(Action::Send { op: Op::Identify, bytes });
        todo.push(Action::Report(Report::IdentifySent));
        self.arm(Timer::Join, now + self.config.limits.ready, todo);
    }

    /// Whether the log has room.
    pub(crate) fn room(&mut self, room: bool, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        self.room = room;
        if room && matches!(self.state, State::Joining { stage: Stage::Room, .. }) {
            self.disarm(Timer::Room, todo);
            self.beat_if_due(now, dice, todo);
            self.resume(now, todo);
        }
    }

    /// The wait for room is over. The replay is taken all the same: a full log costs the laggard its place, not the
    /// shard its session.
    pub(crate) fn room_waited(&mut self, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        self.beat_if_due(now, dice, todo);
        if matches!(self.state, State::Joining { stage: Stage::Room, .. }) {
            todo.push(Action::Report(Report::NoRoom));
            self.resume(now, todo);
        }
    }

    /// Sends RESUME, if a socket and a session are there for it.
    fn resume(&mut self, now: Time, todo: &mut Vec<Action>) {
        let Some(point) = &self.held else { return };
        let State::Joining { link, stage: stage @ Stage::Room } = &mut self.state else { return };
        *stage = Stage::Resume { since: now, replayed: 0 };
        link.sends.spend(now);
        todo.push(Action::Send { op: Op::Resume, bytes: payload::resume(&self.config, point) });
        todo.push(Action::Report(Report::ResumeSent { s: point.s }));
        self.arm(Timer::Join, now + self.config.limits.resumed, todo);
    }

    /// READY: a new session. `early`: dispatches came before it.
    pub(crate) fn ready(&mut self, s: Option<u64>, d: Value<'_>, early: bool, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        let Some(s) = s else {
            self.bad_frame("READY has no s", now, dice, todo);
            return;
        };
        let [session_id, resume_url, user, application, guilds] =
            d.get_all(["session_id", "resume_gateway_url", "user", "application", "guilds"]);
        let id_of = |object: Option<Value<'_>>| object.and_then(|object| object.get("id")).and_then(Value::as_id);
        let Some(session_id) = text(session_id) else {
            self.bad_frame("READY has no usable session id", now, dice, todo);
            return;
        };
        let resume_url = text(resume_url).unwrap_or_else(|| {
            todo.push(Action::Report(Report::NoResumeUrl));
            String::new()
        });
        let guilds: Vec<u64> =
            guilds.into_iter().flat_map(Value::items).filter_map(|guild| guild.get("id").and_then(Value::as_id)).take(GUILDS_MAX).collect();
        self.ordinal += 1;
        let point = ResumePoint {
            session_id,
            s,
            session: self.ordinal,
            resume_url,
            encoding: self.config.encoding,
            compression: self.config.compression,
            shard: self.config.shard,
            intents: self.config.intents,
            bot_id: id_of(user).or_else(|| self.config.token.bot_id()).unwrap_or(0),
            application_id: id_of(application).unwrap_or(0),
            guilds: guilds.clone(),
        };
        todo.push(Action::Ready { session: point.session, bot_id: point.bot_id, application_id: point.application_id, guilds });
        if early && s > 1 {
            todo.push(Action::Gap { session: point.session, first_s: 1, last_s: s - 1 });
        }
        todo.push(Action::Deliver { s });
        self.held = Some(point);
        self.unproven = true;
        self.checkpointed = None;
        self.go_live(now, dice, todo);
    }

    /// Joining is over.
    pub(crate) fn go_live(&mut self, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        match std::mem::replace(&mut self.state, State::Waiting) {
            State::Joining { link, stage } => {
                let since = if let Stage::Resume { since, .. } = stage { since } else { now };
                self.state = State::Live { link, since };
            }
            other => {
                self.state = other;
                return;
            }
        }
        self.resumes_failed = 0;
        self.resumes_failing_since = None;
        self.bad_frames = 0;
        self.duplicates = 0;
        self.use_main_url = false;
        self.disarm(Timer::Join, todo);
        self.flush(now, dice, todo);
    }
}

fn give_back(todo: &mut Vec<Action>) {
    todo.push(Action::ForgetIdentify);
    todo.push(Action::Report(Report::GrantUnused));
}

/// A text of READY that is there and of a length that can be sent back.
fn text(value: Option<Value<'_>>) -> Option<String> {
    let text = value?.as_str()?;
    (!text.is_empty() && text.len() <= TEXT_BYTES_MAX).then(|| text.into_owned())
}

//! The session itself: what it holds between inputs, and which part of it answers which input.

use trunkline_discord::{Dice, Time};

use crate::beat::Link;
use crate::commands::Commands;
use crate::{Action, Config, Input, LostCause, Notice, Report, ResumePoint, StopReason, Timer};

/// One shard's session, over all of its connections and over a row of Discord sessions.
#[derive(Debug)]
pub struct Session {
    pub(crate) config: Config,
    /// The Discord session, which outlives connections. With one, the next connection resumes; without, it identifies.
    pub(crate) held: Option<ResumePoint>,
    /// The last checkpointed position of the held session; it goes into heartbeats.
    pub(crate) checkpointed: Option<u64>,
    /// The last ordinal that was given to a session.
    pub(crate) ordinal: u64,
    /// A stored session that the configuration rules out: told as lost at the start.
    pub(crate) refused: Option<ResumePoint>,
    pub(crate) state: State,
    /// When each timer that is armed comes due, by `Timer as usize`.
    pub(crate) armed: [Option<Time>; Timer::ALL.len()],
    /// Connections in a row that brought nothing, the next one not counted.
    pub(crate) attempt: u32,
    /// Connections in a row that brought events but did not last. They have a row of their own: Discord is there.
    pub(crate) brief: u32,
    /// IDENTIFYs in a row whose session was over before it had lasted, or never came. They have a row of their own:
    /// each cost one of the day's.
    pub(crate) identifies_wasted: u32,
    /// The session that is held began with one of this row's IDENTIFYs: none of its connections has lasted yet.
    pub(crate) unproven: bool,
    /// The last resume address did not work: the main one is next.
    pub(crate) use_main_url: bool,
    /// RESUMEs in a row that brought nothing.
    pub(crate) resumes_failed: u32,
    /// When the first of them had failed.
    pub(crate) resumes_failing_since: Option<Time>,
    /// Broken frames in a row at one position.
    pub(crate) bad_frames: u32,
    /// Repeated sequence numbers in a row.
    pub(crate) duplicates: u32,
    /// A grant to identify has been asked for and not come.
    pub(crate) asked: bool,
    /// The log has room for a replay.
    pub(crate) room: bool,
    pub(crate) commands: Commands,
}

/// Where a session is. What is true only of one state lives in it.
#[derive(Debug)]
pub(crate) enum State {
    /// Before `Start`.
    Idle,
    /// Until `Timer::Reconnect`.
    Waiting,
    /// Until the driver says `Opened` or `OpenFailed`.
    Opening,
    /// The socket is open, HELLO has not come.
    Greeting,
    /// Heartbeats run, the session does not yet.
    Joining { link: Link, stage: Stage },
    /// READY or RESUMED has come. `since`: when events began to flow, be it as a replay.
    Live { link: Link, since: Time },
    /// For good.
    Stopped,
}

/// How far joining is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The identify queue has been asked.
    Grant,
    /// RESUME waits for room in the log.
    Room,
    /// IDENTIFY has left, READY has not come.
    Identify {
        /// A dispatch came before READY; it belongs to no known session.
        early: bool,
    },
    /// RESUME has left, RESUMED has not come.
    Resume {
        /// When it left.
        since: Time,
        /// New dispatches since.
        replayed: u64,
    },
}

/// Where a session is, for status and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not started.
    Idle,
    /// Pausing before the next connection.
    Waiting,
    /// Opening a socket.
    Opening,
    /// Waiting for HELLO.
    Greeting,
    /// Waiting for its turn to identify.
    AwaitingGrant,
    /// Waiting for room in the log.
    AwaitingRoom,
    /// Waiting for READY.
    Identifying,
    /// Waiting for RESUMED.
    Resuming,
    /// Events flow.
    Live,
    /// Stopped for good.
    Stopped,
}

impl Phase {
    /// Every phase, for metrics.
    pub const ALL: [Phase; 10] = [
        Phase::Idle,
        Phase::Waiting,
        Phase::Opening,
        Phase::Greeting,
        Phase::AwaitingGrant,
        Phase::AwaitingRoom,
        Phase::Identifying,
        Phase::Resuming,
        Phase::Live,
        Phase::Stopped,
    ];

    /// A label for metrics, in snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Waiting => "waiting",
            Phase::Opening => "opening",
            Phase::Greeting => "greeting",
            Phase::AwaitingGrant => "awaiting_grant",
            Phase::AwaitingRoom => "awaiting_room",
            Phase::Identifying => "identifying",
            Phase::Resuming => "resuming",
            Phase::Live => "live",
            Phase::Stopped => "stopped",
        }
    }
}

/// A session as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateView {
    /// Where it is.
    pub phase: Phase,
    /// The ordinal of the held session, if one is held.
    pub session: Option<u64>,
    /// Its last sequence number.
    pub s: Option<u64>,
    /// Its last checkpointed one.
    pub checkpointed: Option<u64>,
    /// Connections in a row that brought nothing.
    pub attempt: u32,
    /// Commands that wait.
    pub commands_waiting: usize,
}

impl Session {
    /// A session before its start. `resume` is what a checkpoint held, `ordinal` the last number that any session of
    /// this shard had. A stored session that the configuration rules out is given up: the notice says why, and `Start`
    /// will tell it as lost.
    pub fn new(config: Config, resume: Option<ResumePoint>, ordinal: u64) -> (Session, Option<Notice>) {
        let notice = resume.as_ref().and_then(|point| difference(&config, point));
        let ordinal = resume.as_ref().map_or(ordinal, |point| ordinal.max(point.session));
        let (held, refused) = match notice {
            Some(notice) if notice.needs_identify() => (None, resume),
            _ => (resume, None),
        };
        let session = Session {
            // What is loaded from a checkpoint is checkpointed.
            checkpointed: held.as_ref().map(|point| point.s),
            commands: Commands::new(config.limits.commands_max),
            config,
            held,
            ordinal,
            refused,
            state: State::Idle,
            armed: [None; Timer::ALL.len()],
            attempt: 0,
            brief: 0,
            identifies_wasted: 0,
            unproven: false,
            use_main_url: false,
            resumes_failed: 0,
            resumes_failing_since: None,
            bad_frames: 0,
            duplicates: 0,
            asked: false,
            room: true,
        };
        (session, notice)
    }

    /// Decides what follows from one input. Reads no clock, waits for nothing, touches no socket. `now` must not go
    /// back from call to call. Actions are appended to `todo`.
    pub fn step(&mut self, input: Input<'_>, now: Time, dice: &mut Dice, todo: &mut Vec<Action>) {
        if matches!(self.state, State::Stopped) {
            if let Input::Command { op, .. } = input {
                todo.push(Action::Report(Report::CommandRefused { op, why: crate::Refusal::Stopped }));
            }
            return;
        }
        match input {
            Input::Start => self.start(todo),
            Input::Opened => self.opened(now, todo),
            Input::OpenFailed => self.open_failed(now, dice, todo),
            Input::Bytes => self.heard(now),
            Input::Frame(envelope) => {
                self.heard(now);
                self.frame(envelope, now, dice, todo);
            }
            Input::BadFrame => self.bad_frame("it cannot be decoded", now, dice, todo),
            Input::Closed(code) => self.closed(code, now, dice, todo),
            Input::Fired(timer) => self.fired(timer, now, dice, todo),
            Input::IdentifyGranted => self.granted(now, dice, todo),
            Input::Checkpointed { s, session } => self.checkpointed(s, session),
            Input::Room(room) => self.room(room, now, dice, todo),
            Input::Command { op, payload } => self.command(op, &payload, now, dice, todo),
            Input::Restart { fresh } => self.restart(fresh, now, dice, todo),
            Input::Stop => self.stop(4000, StopReason::Asked, todo),
            Input::End => {
                self.lose(LostCause::Asked, todo);
                self.stop(1000, StopReason::Ended, todo);
            }
        }
    }

    /// Where the session is.
    pub fn state(&self) -> StateView {
        let phase = match &self.state {
            State::Idle => Phase::Idle,
            State::Waiting => Phase::Waiting,
            State::Opening => Phase::Opening,
            State::Greeting => Phase::Greeting,
            State::Joining { stage: Stage::Grant, .. } => Phase::AwaitingGrant,
            State::Joining { stage: Stage::Room, .. } => Phase::AwaitingRoom,
            State::Joining { stage: Stage::Identify { .. }, .. } => Phase::Identifying,
            State::Joining { stage: Stage::Resume { .. }, .. } => Phase::Resuming,
            State::Live { .. } => Phase::Live,
            State::Stopped => Phase::Stopped,
        };
        StateView {
            phase,
            session: self.held.as_ref().map(|point| point.session),
            s: self.held.as_ref().map(|point| point.s),
            checkpointed: self.checkpointed,
            attempt: self.attempt,
            commands_waiting: self.commands.len(),
        }
    }

    /// What a RESUME would need right now; `None` while there is no session.
    pub fn resume_point(&self) -> Option<&ResumePoint> {
        self.held.as_ref()
    }

    /// Replaces the main gateway address, when `GET /gateway/bot` has given another. For the next connection.
    pub fn set_gateway_url(&mut self, url: String) {
        self.config.gateway_url = url;
    }

    /// When a timer comes due, if it is armed.
    pub fn due(&self, timer: Timer) -> Option<Time> {
        self.armed[timer as usize]
    }

    /// Whether a grant to identify has been asked for and is awaited.
    pub fn awaits_grant(&self) -> bool {
        self.asked
    }

    /// The connection, once HELLO has come.
    pub(crate) fn link(&mut self) -> Option<&mut Link> {
        match &mut self.state {
            State::Joining { link, .. } | State::Live { link, .. } => Some(link),
            _ => None,
        }
    }

    pub(crate) fn arm(&mut self, timer: Timer, at: Time, todo: &mut Vec<Action>) {
        self.armed[timer as usize] = Some(at);
        todo.push(Action::Arm(timer, at));
    }

    pub(crate) fn disarm(&mut self, timer: Timer, todo: &mut Vec<Action>) {
        if self.armed[timer as usize].take().is_some() {
            todo.push(Action::Disarm(timer));
        }
    }

    /// Gives the held session up, and with it what was to be sent in it.
    pub(crate) fn lose(&mut self, cause: LostCause, todo: &mut Vec<Action>) {
        self.checkpointed = None;
        self.resumes_failed = 0;
        self.resumes_failing_since = None;
        self.bad_frames = 0;
        self.duplicates = 0;
        self.use_main_url = false;
        if let Some(point) = self.held.take() {
            todo.push(Action::SessionLost { cause, session: point.session, last_s: point.s });
            self.drop_commands(todo);
        }
    }
}

/// What keeps a stored session from being resumed as it is, the gravest first.
fn difference(config: &Config, point: &ResumePoint) -> Option<Notice> {
    let query = (config.encoding, config.compression);
    match config.token.bot_id() {
        Some(bot) if point.bot_id != 0 && bot != point.bot_id => {
            return Some(Notice::Bot { stored: point.bot_id, configured: bot });
        }
        _ => {}
    }
    if config.shard != point.shard {
        Some(Notice::Shard { stored: point.shard, configured: config.shard })
    } else if config.intents != point.intents {
        Some(Notice::Intents { stored: point.intents, configured: config.intents })
    } else if config.tell_anew {
        Some(Notice::TellAnew)
    } else if query != (point.encoding, point.compression) {
        Some(Notice::Query { stored: (point.encoding, point.compression), configured: query })
    } else {
        None
    }
}

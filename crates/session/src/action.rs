//! Everything that a session can ask of its driver.

use std::fmt;

use trunkline_discord::{Compression, Encoding, Op, Time};

use crate::{LostCause, Report, StopReason};

/// The names of a session's timers. Arming one replaces the earlier time of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// HELLO is late.
    Hello,
    /// A heartbeat is due.
    Beat,
    /// Time to open a socket.
    Reconnect,
    /// READY or RESUMED is late.
    Join,
    /// A waiting command may leave.
    Commands,
    /// RESUME has waited long enough for room in the log.
    Room,
}

impl Timer {
    /// Every timer; a timer's place in here is `timer as usize`.
    pub const ALL: [Timer; 6] = [Timer::Hello, Timer::Beat, Timer::Reconnect, Timer::Join, Timer::Commands, Timer::Room];
}

/// One thing to do. A driver does them in the order given. Its debug form shows the size of a frame, never its bytes.
#[derive(Clone, PartialEq)]
pub enum Action {
    /// Open a socket, with a time limit of the driver's, and answer with `Opened` or `OpenFailed`.
    Open {
        /// The whole address.
        url: String,
        /// What its frames are written in, both ways.
        encoding: Encoding,
        /// How what comes in is compressed; a new decompressor for each socket.
        compression: Compression,
    },
    /// Send one whole frame. Heartbeats go ahead of anything that the driver has still queued.
    Send {
        /// What it is, for logs: the bytes of IDENTIFY and RESUME hold the token and must never be shown.
        op: Op,
        /// The encoded frame; for ETF with the version byte.
        bytes: Vec<u8>,
    },
    /// Give `Fired` at this time or as soon after as can be.
    Arm(Timer, Time),
    /// Forget the timer.
    Disarm(Timer),
    /// Ask the bot's identify queue for a grant; `IdentifyGranted` is the answer. The place in the queue is kept when
    /// the socket breaks meanwhile.
    AskToIdentify,
    /// Leave the identify queue, or give back the grant that was just given.
    ForgetIdentify,
    /// The frame just given is a new dispatch: apply it and offer it to consumers.
    Deliver {
        /// Its sequence number.
        s: u64,
    },
    /// The frame just given is READY: a new session is live. Its `Deliver` follows.
    Ready {
        /// The session's ordinal.
        session: u64,
        /// The bot's user id.
        bot_id: u64,
        /// The application's id; 0 when READY did not name it.
        application_id: u64,
        /// The guilds of this shard.
        guilds: Vec<u64>,
    },
    /// The session is live again after a resume.
    Resumed {
        /// The session's ordinal.
        session: u64,
        /// Dispatches that were replayed and were new, RESUMED itself not counted.
        replayed: u64,
    },
    /// The session is gone; what Discord emits from `last_s` until the next `Ready` reaches nobody: a gap.
    SessionLost {
        /// Why.
        cause: LostCause,
        /// The ordinal of the lost session.
        session: u64,
        /// Its last sequence number.
        last_s: u64,
    },
    /// The sequence jumped: these never came. The `Deliver` of the frame after the jump follows.
    Gap {
        /// The session's ordinal.
        session: u64,
        /// The first missing sequence number.
        first_s: u64,
        /// The last one, inclusive.
        last_s: u64,
    },
    /// The frame just given repeats a sequence number: drop it, before the cache.
    Duplicate {
        /// The sequence number.
        s: u64,
    },
    /// Close the socket with this code and forget it: nothing that still comes from it is to be given to the session,
    /// and nobody waits for the peer's answer. Where the socket is still being opened, that attempt ends.
    Close(u16),
    /// The session has stopped for good; no further action will come.
    Stopped(StopReason),
    /// A fact to log or count.
    Report(Report),
}

/// Written out because of `Send`: IDENTIFY and RESUME hold the token, and an action gets logged sooner or later.
impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Open { url, .. } => write!(f, "Open({url})"),
            Action::Send { op, bytes } => write!(f, "Send({}, {} bytes)", op.name(), bytes.len()),
            Action::Arm(timer, at) => write!(f, "Arm({timer:?}, {at:?})"),
            Action::Disarm(timer) => write!(f, "Disarm({timer:?})"),
            Action::AskToIdentify => f.write_str("AskToIdentify"),
            Action::ForgetIdentify => f.write_str("ForgetIdentify"),
            Action::Deliver { s } => write!(f, "Deliver({s})"),
            Action::Ready { session, bot_id, guilds, .. } => {
                write!(f, "Ready(session {session}, bot {bot_id}, {} guilds)", guilds.len())
            }
            Action::Resumed { session, replayed } => write!(f, "Resumed(session {session}, {replayed} replayed)"),
            Action::SessionLost { cause, session, last_s } => write!(f, "SessionLost({cause:?}, session {session}, after {last_s})"),
            Action::Gap { session, first_s, last_s } => write!(f, "Gap(session {session}, {first_s} to {last_s})"),
            Action::Duplicate { s } => write!(f, "Duplicate({s})"),
            Action::Close(code) => write!(f, "Close({code})"),
            Action::Stopped(reason) => write!(f, "Stopped({reason:?})"),
            Action::Report(report) => write!(f, "Report({report:?})"),
        }
    }
}

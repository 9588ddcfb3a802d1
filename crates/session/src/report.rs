//! Facts about a session's life: for logs, metrics and people.

use std::fmt;
use std::time::Duration;

use trunkline_discord::{CloseCode, Compression, Encoding, Intents, Op};

/// Why a connection ended or could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The socket was closed, by Discord with a code or without one.
    Closed(Option<u16>),
    /// The socket could not be opened.
    OpenFailed,
    /// HELLO did not come in time.
    HelloLate,
    /// READY or RESUMED did not come in time.
    JoinLate,
    /// Heartbeats went unanswered.
    Zombie,
    /// Discord asked for it (op 7).
    ReconnectAsked,
    /// The session was declared invalid (op 9).
    InvalidSession {
        /// Discord said that it may be resumed.
        resumable: bool,
    },
    /// A frame that cannot be, and why.
    BadFrame(&'static str),
    /// The operator asked for it.
    RestartAsked,
}

impl Cause {
    /// A label for metrics, in snake case, without the code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::Closed(_) => "closed",
            Cause::OpenFailed => "open_failed",
            Cause::HelloLate => "hello_late",
            Cause::JoinLate => "join_late",
            Cause::Zombie => "zombie",
            Cause::ReconnectAsked => "reconnect_asked",
            Cause::InvalidSession { .. } => "invalid_session",
            Cause::BadFrame(_) => "bad_frame",
            Cause::RestartAsked => "restart_asked",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Closed(Some(code)) => write!(f, "Discord closed with {}", CloseCode(*code)),
            Cause::Closed(None) => f.write_str("the connection was lost"),
            Cause::OpenFailed => f.write_str("the gateway could not be reached"),
            Cause::HelloLate => f.write_str("HELLO did not come in time"),
            Cause::JoinLate => f.write_str("READY or RESUMED did not come in time"),
            Cause::Zombie => f.write_str("heartbeats went unanswered"),
            Cause::ReconnectAsked => f.write_str("Discord asked to reconnect (op 7)"),
            Cause::InvalidSession { resumable: true } => f.write_str("session invalid but resumable (op 9)"),
            Cause::InvalidSession { resumable: false } => f.write_str("session invalid (op 9)"),
            Cause::BadFrame(why) => write!(f, "bad frame: {why}"),
            Cause::RestartAsked => f.write_str("the operator asked to reconnect"),
        }
    }
}

/// Why a session was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LostCause {
    /// Discord declared it invalid (op 9, not resumable).
    InvalidSession,
    /// Discord closed with a code that ends it.
    Closed(u16),
    /// Several RESUMEs in a row came to nothing.
    ResumesFailed,
    /// The same bad frame came again and again.
    BadFrames,
    /// Configured intents, shard count or bot differ from the stored session's.
    SettingsChanged,
    /// The operator asked for a new session, or for the end of this one.
    Asked,
}

impl LostCause {
    /// A label for metrics, in snake case, without the code.
    pub const fn as_str(self) -> &'static str {
        match self {
            LostCause::InvalidSession => "invalid_session",
            LostCause::Closed(_) => "closed",
            LostCause::ResumesFailed => "resumes_failed",
            LostCause::BadFrames => "bad_frames",
            LostCause::SettingsChanged => "settings_changed",
            LostCause::Asked => "asked",
        }
    }
}

impl fmt::Display for LostCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LostCause::InvalidSession => f.write_str("Discord declared the session invalid (op 9)"),
            LostCause::Closed(code) => write!(f, "Discord closed with {}", CloseCode(*code)),
            LostCause::ResumesFailed => f.write_str("several resumes in a row came to nothing for minutes"),
            LostCause::BadFrames => f.write_str("the same bad frame came again and again"),
            LostCause::SettingsChanged => f.write_str("intents, shard count, bot or the kinds of objects that are kept were changed"),
            LostCause::Asked => f.write_str("a new session was asked for"),
        }
    }
}

/// Why a session has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// It was told to; the session can be resumed later.
    Asked,
    /// It was told to end the session for good.
    Ended,
    /// Discord refuses and would refuse again.
    Fatal(CloseCode),
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopReason::Asked => f.write_str("stopped; the session can be resumed"),
            StopReason::Ended => f.write_str("the session was ended"),
            StopReason::Fatal(code) => write!(f, "Discord closed with {code}: {}", code.advice()),
        }
    }
}

/// Why a command was not sent. The fault is the caller's, but for `QueueFull`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Only ops 3, 4, 8, 31 and 43 are commands.
    NotACommand,
    /// The body is no map, or holds something that the encoding cannot say.
    Malformed,
    /// The whole frame would be longer than Discord takes.
    TooLong {
        /// Its size in bytes.
        bytes: usize,
    },
    /// Too many commands wait already.
    QueueFull,
    /// The session has stopped.
    Stopped,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotACommand => f.write_str("only ops 3, 4, 8, 31 and 43 can be sent through the gateway"),
            Refusal::Malformed => f.write_str("the body must be a map of plain values"),
            Refusal::TooLong { bytes } => {
                write!(f, "the frame would have {bytes} bytes, Discord takes at most {}", crate::payload::BYTES_MAX)
            }
            Refusal::QueueFull => f.write_str("too many commands wait for Discord's limit of 120 per minute; try later"),
            Refusal::Stopped => f.write_str("the shard has stopped"),
        }
    }
}

/// What differs between a stored session and the configuration, told once at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Other intents are configured: the stored session is given up.
    Intents {
        /// The stored session's.
        stored: Intents,
        /// The configured ones.
        configured: Intents,
    },
    /// Another shard index or count is configured: the stored session is given up.
    Shard {
        /// The stored session's.
        stored: (u32, u32),
        /// The configured pair.
        configured: (u32, u32),
    },
    /// The token is another bot's: the stored session is given up.
    Bot {
        /// The stored session's bot.
        stored: u64,
        /// The token's bot.
        configured: u64,
    },
    /// Kinds of objects are kept that were not kept all through the stored session, which is given up: only a new one tells of all of them.
    TellAnew,
    /// Another encoding or compression is configured; the stored session goes on with its own, the next new one has
    /// the configured ones.
    Query {
        /// The stored session's.
        stored: (Encoding, Compression),
        /// The configured ones.
        configured: (Encoding, Compression),
    },
}

impl Notice {
    /// Whether the stored session is given up for it.
    pub const fn needs_identify(self) -> bool {
        !matches!(self, Notice::Query { .. })
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Intents { stored, configured } => write!(
                f,
                "the intents were changed from {} to {}: the stored session is not resumed, a new one is started",
                stored.0, configured.0
            ),
            Notice::Shard { stored, configured } => write!(
                f,
                "the shard was changed from {}/{} to {}/{}: the stored session is not resumed, a new one is started",
                stored.0, stored.1, configured.0, configured.1
            ),
            Notice::Bot { stored, configured } => {
                write!(f, "the stored session is of bot {stored}, the token of bot {configured}: a new session is started")
            }
            Notice::TellAnew => f.write_str(
                "kinds of objects are kept now that were switched off before: the stored session is not resumed, a new one is started, which tells of all of them",
            ),
            Notice::Query { stored, configured } => write!(
                f,
                "encoding and compression were changed to {:?} and {}; the stored session goes on with {:?} and {}, \
                 the next new session takes the change",
                configured.0, configured.1, stored.0, stored.1
            ),
        }
    }
}

/// A fact to log or count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A connection ended or failed, and what comes next.
    Reconnecting {
        /// Why.
        cause: Cause,
        /// Whether the next connection resumes; else it identifies.
        resume: bool,
        /// The pause before the socket is opened.
        after: Duration,
        /// Connections in a row before this one that brought nothing, or that brought events but did not last.
        attempt: u32,
    },
    /// IDENTIFY has left.
    IdentifySent,
    /// RESUME has left, asking for everything after `s`.
    ResumeSent {
        /// The position.
        s: u64,
    },
    /// A heartbeat was answered after this time.
    Acked(Duration),
    /// RESUME has left although the log has no room: whoever lags falls off.
    NoRoom,
    /// A grant to identify came when it was no longer wanted, and was given back.
    GrantUnused,
    /// A frame with an op that is not documented was ignored.
    UnknownOp(u64),
    /// A frame out of place was ignored.
    Unexpected {
        /// Its op.
        op: Op,
        /// What was wrong.
        why: &'static str,
    },
    /// RESUMED came in a session that was live already. Discord does that now and then; it changes nothing.
    ResumedAgain,
    /// A heartbeat was held back, because the connection has used up its frames.
    BeatHeldBack,
    /// The configured presence makes IDENTIFY too long or is malformed; it was left out.
    PresenceLeftOut(Refusal),
    /// READY had no resume address; the main one is used.
    NoResumeUrl,
    /// A command was not taken.
    CommandRefused {
        /// Its op.
        op: Op,
        /// Why.
        why: Refusal,
    },
    /// Waiting commands were dropped with their session.
    CommandsDropped {
        /// How many.
        count: usize,
    },
}

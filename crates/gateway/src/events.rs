//! What a shard's driver tells the code around it, and what that code may tell the driver.

use bytes::Bytes;
use trunkline_discord::{Encoding, Envelope, EventKind, Fields, Object, Op, Routing, ShardId, Time};
use trunkline_session::{LostCause, Report, ResumePoint, StopReason};

use crate::batch::{Ahead, Room};

/// One new dispatch, borrowed from the socket's buffers: take what is to be kept.
#[derive(Debug)]
pub struct Dispatched<'a> {
    /// The frame: name in `t`, body in `d`.
    pub envelope: &'a Envelope<'a>,
    /// What the body is written in.
    pub encoding: Encoding,
    /// The ids in the body by which the event finds its way, found while the frame was checked.
    pub routing: Routing,
    /// Where in the body the fields lie that the cache looks at first, found likewise.
    pub fields: &'a Fields<'a>,
    /// The session's ordinal.
    pub session: u64,
    /// Its sequence number.
    pub s: u64,
    /// When the frame was read, on the process's monotonic clock; of many in a row a look at the clock serves for a few
    /// ([`crate::Watch`]).
    pub received_at: Time,
    /// The same on the wall clock, microseconds since 1970.
    pub received_unix_us: u64,
    pub(crate) room: &'a Room,
}

impl Dispatched<'_> {
    /// The body, as bytes of their own: one copy, to where memory was asked for when the frame was decoded.
    #[must_use]
    pub fn own_body(&self) -> Bytes {
        self.room.fill(self.envelope.d.raw())
    }
}

/// READY: a new session is live.
#[derive(Debug)]
pub struct Ready<'a> {
    /// The session's ordinal.
    pub session: u64,
    /// The bot's user id.
    pub bot_id: u64,
    /// Its application's id; 0 when READY did not name it.
    pub application_id: u64,
    /// The guilds of the shard, all unavailable as yet.
    pub guilds: &'a [u64],
}

/// Takes a shard's events, on the shard's own core, between two frames. It must not wait for anything: while it runs, no
/// shard of the core reads.
pub trait ShardEvents {
    /// A dispatch with these ids was decoded, and will perhaps be delivered after others that came with it. A hint, for whoever can ask for memory
    /// ahead. One that came with others is told of again once all of them are decoded.
    fn expect(&mut self, ahead: Ahead, kind: EventKind, routing: Routing) {
        let _ = (ahead, kind, routing);
    }

    /// A new dispatch, in the order of the session. Repeated ones never come here.
    fn dispatch(&mut self, dispatched: Dispatched<'_>);

    /// A new session is live. The `dispatch` of READY itself follows.
    fn ready(&mut self, ready: Ready<'_>);

    /// The session is live again after a resume, with so many new dispatches replayed.
    fn resumed(&mut self, session: u64, replayed: u64);

    /// The session is gone: what Discord emits until the next `ready` reaches nobody.
    fn session_lost(&mut self, cause: LostCause, session: u64, last_s: u64);

    /// The sequence jumped: these dispatches never came. Both ends inclusive.
    fn gap(&mut self, session: u64, first_s: u64, last_s: u64);

    /// A dispatch was repeated and dropped.
    fn duplicate(&mut self, s: u64) {
        let _ = s;
    }

    /// A fact of the session's life. It has been logged and counted already.
    fn report(&mut self, report: &Report) {
        let _ = report;
    }

    /// Everything that was read has been given out; `point` is where the session stands, and what a RESUME from here
    /// needs. Called after each turn of frames (those that were there, 64 at most) and each change of the session; a checkpoint taken at any moment outside
    /// the other calls is whole when it holds the point of the last call.
    fn settled(&mut self, point: Option<&ResumePoint>);

    /// Whether the log has room for a replay. Asked after each turn of frames; [`ShardControl::Room`] tells a change
    /// that comes in between.
    fn room(&self) -> bool {
        true
    }
}

/// What a driver can be told.
#[derive(Debug)]
pub enum ShardControl {
    /// Everything up to `s` of this session lies in a checkpoint.
    Checkpointed {
        /// The session's ordinal.
        session: u64,
        /// The last sequence number inside.
        s: u64,
    },
    /// Send a command: ops 3, 4, 8, 31, 43.
    Command {
        /// Which one.
        op: Op,
        /// Its body, in any encoding.
        payload: Object,
    },
    /// The log has room for a replay, or has none.
    Room(bool),
    /// Reconnect now.
    Restart {
        /// With a new session.
        fresh: bool,
    },
    /// Close so that the session can be resumed, and return.
    Stop,
    /// End the session for good, and return.
    End,
}

/// How a shard ended.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardEnd {
    /// Which one.
    pub shard: ShardId,
    /// Why.
    pub reason: StopReason,
    /// What a RESUME needs, if the session can still be resumed.
    pub point: Option<ResumePoint>,
}

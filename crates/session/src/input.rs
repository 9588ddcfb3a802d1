//! Everything that can happen to a session.

use trunkline_discord::{Envelope, Object, Op};

use crate::Timer;

/// One thing that happened. A driver gives each to [`Session::step`](crate::Session::step), one at a time.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// Begin. Once; more are ignored.
    Start,
    /// The socket that was asked for is open (the websocket handshake is done).
    Opened,
    /// The socket that was asked for could not be opened: name, TCP, TLS, handshake or a time limit.
    OpenFailed,
    /// Any bytes arrived on the socket, whole frame or not: it is alive.
    Bytes,
    /// One decoded frame (which [`Session::follow`](crate::Session::follow) did not take). If a [`Action::Deliver`](crate::Action::Deliver) follows, it is about this frame.
    Frame(Envelope<'a>),
    /// A frame that cannot be decoded, is over a limit, or a decompressor that lost its way.
    BadFrame,
    /// The socket is gone, with Discord's close code if there was one. Not to be given for a socket that was closed
    /// because an [`Action::Close`](crate::Action::Close) said so.
    Closed(Option<u16>),
    /// A timer that was armed has come due.
    Fired(Timer),
    /// The identify that was asked for may leave now. It does in this step, or is given back.
    IdentifyGranted,
    /// Everything up to `s` of session `session` lies in a checkpoint.
    Checkpointed {
        /// The last sequence number inside the checkpoint.
        s: u64,
        /// The session's ordinal, as [`Action::Ready`](crate::Action::Ready) gave it.
        session: u64,
    },
    /// Whether the event log has room for a replay. True until told otherwise.
    Room(bool),
    /// A command of a user of the bot: ops 3, 4, 8, 31 and 43.
    Command {
        /// Which one.
        op: Op,
        /// Its body `d`, in any encoding.
        payload: Object,
    },
    /// Reconnect now; `fresh`: with a new session.
    Restart {
        /// Give the session up and identify again.
        fresh: bool,
    },
    /// Close so that the session can be resumed later, here or elsewhere, and stop.
    Stop,
    /// End the session for good (close 1000: the bot goes offline at once) and stop.
    End,
}

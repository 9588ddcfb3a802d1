//! What a door and a core say to each other.
//!
//! Commands go from any stream to a core over the core's one bounded channel; a stream waits for room there. What comes
//! back goes over the stream's own channel, which has room for the stream's whole credit twice over, so that a core
//! never waits for a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot};
use trunkline_delivery::{AskWhy, Body, Credit, EntryId, Filter, GroupId, HubError, StreamId, WorkerId};

/// A door's way to one core. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CoreLink {
    /// The core's command channel. Give it room for a few thousand commands.
    pub commands: mpsc::Sender<ToCore>,
}

/// What a stream asks of a core. Answered by [`crate::CoreSide::handle`].
#[derive(Debug)]
pub enum ToCore {
    /// A worker has identified. An older stream of the same worker ends with this.
    Join {
        /// The group it belongs to.
        group: GroupId,
        /// Its name within the group.
        worker: WorkerId,
        /// Its connection.
        stream: StreamId,
        /// What it wants of what the group holds; none: everything.
        filter: Option<Filter>,
        /// This core's share of the stream's credit.
        credit: Credit,
        /// Where its events go.
        to: StreamLink,
    },
    /// The connection is gone; the worker has its grace time to come back.
    Broke(StreamId),
    /// The worker is gone for good: what it held goes to the others.
    Leave(StreamId),
    /// Nothing new for this stream.
    Drain(StreamId),
    /// These entries are done (or were filtered out).
    Acked {
        /// By whom; a broken stream's id is still good within its grace time.
        stream: StreamId,
        /// Which.
        entries: Vec<EntryId>,
    },
    /// The core's share of the stream's credit is now this much in all.
    Lend {
        /// Whose credit.
        stream: StreamId,
        /// The new total.
        credit: Credit,
    },
    /// The process stops: send nothing new, ask every worker, and answer when nothing is in flight.
    Quiesce(oneshot::Sender<()>),
}

/// What a core tells a stream.
#[derive(Debug)]
pub enum FromCore {
    /// An event or gap for the worker.
    Body {
        /// What acknowledges it.
        entry: EntryId,
        /// What it is.
        body: Body,
        /// Some worker of the group may have had it before.
        redelivered: bool,
    },
    /// Somebody waits for this worker's acknowledgement.
    AskAck(AskWhy),
    /// Nothing is in flight on this core any more (after [`ToCore::Drain`]).
    Drained,
    /// The core does not take the worker.
    Refused(HubError),
}

/// A core's way to one stream: the stream's channel, and which core is speaking.
#[derive(Clone, Debug)]
pub struct StreamLink {
    core: u16,
    sender: mpsc::Sender<(u16, FromCore)>,
    overrun: Arc<AtomicBool>,
}

impl StreamLink {
    /// A link for core `core` into a stream's channel.
    /// The stream looks at `overrun`, which its links share, and ends when it is set.
    pub fn new(core: u16, sender: mpsc::Sender<(u16, FromCore)>, overrun: Arc<AtomicBool>) -> StreamLink {
        StreamLink { core, sender, overrun }
    }

    /// The stream cannot be served any more: its task ends it as broken.
    pub fn break_off(&self) {
        self.overrun.store(true, Ordering::Release);
    }

    /// Hands a message over without waiting; gives it back when the stream is gone or, which the credit forbids, full.
    pub fn send(&self, message: FromCore) -> Result<(), FromCore> {
        self.sender.try_send((self.core, message)).map_err(|refused| refused.into_inner().1)
    }

    /// Whether the stream's task has ended.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

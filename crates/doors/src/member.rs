//! A stream's place among the cores and in the registry, which is given up however its task ends.
//!
//! A stream that ends in order says so itself, and calls [`Member::has_told`]. One whose task panics, or is dropped,
//! says nothing; then this does. Without it the cores would wait for its acknowledgements for ever.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use trunkline_delivery::{GroupId, StreamId, WorkerId};

use crate::door::Shared;
use crate::link::ToCore;
use crate::stats::Count;

/// See the module's head.
pub(crate) struct Member {
    shared: Arc<Shared>,
    key: (GroupId, WorkerId),
    stream: StreamId,
    /// The highest sequence used, for the next stream of the worker.
    pub(crate) issued: u64,
    told: bool,
}

impl Member {
    pub(crate) fn new(shared: Arc<Shared>, key: (GroupId, WorkerId), stream: StreamId) -> Member {
        Member { shared, key, stream, issued: 0, told: false }
    }

    /// Every core knows of the stream's end.
    pub(crate) fn has_told(&mut self) {
        self.told = true;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.told {
            return;
        }
        if std::thread::panicking() {
            tracing::error!(
                worker = &*self.key.1,
                "a worker's stream failed inside; its events wait for the worker, then go to the others"
            );
        }
        for core in &self.shared.cores {
            // A core that is gone needs no telling.
            if let Err(TrySendError::Full(command)) = core.commands.try_send(ToCore::Broke(self.stream))
                && let Ok(runtime) = Handle::try_current()
            {
                let commands = core.commands.clone();
                runtime.spawn(async move { commands.send(command).await });
            }
        }
        self.shared.registry.exit(&self.key, self.stream, self.issued, &mut None, self.shared.now());
    }
}

/// One more in a gauge for as long as it lives.
pub(crate) struct Counted<'a> {
    gauge: &'a Count,
    /// The gauge with this one in it.
    pub(crate) now: u64,
}

impl<'a> Counted<'a> {
    pub(crate) fn new(gauge: &'a Count) -> Counted<'a> {
        Counted { gauge, now: gauge.add(1) }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.gauge.sub(1);
    }
}

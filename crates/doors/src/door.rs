//! The service: takes streams in, and stops them all.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tonic::codegen::tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};
use trunkline_discord::Time;
use trunkline_wire::pylon::gateway::v1::service::gateway_worker_group_server::GatewayWorkerGroup;
use trunkline_wire::pylon::gateway::v1::workergroup::{WorkerStreamClientMessage, WorkerStreamServerMessage};

use crate::groups::Groups;
use crate::limits::{CHUNKS_QUEUED, Limits, Timings};
use crate::link::{CoreLink, ToCore};
use crate::registry::Registry;
use crate::serve::Peer;
use crate::service::WorkerService;
use crate::stats::DoorStats;
use crate::stream;

/// Settings of a door; the defaults are the contract's.
#[derive(Clone, Copy, Debug)]
pub struct DoorOptions {
    /// Times.
    pub timings: Timings,
    /// Limits.
    pub limits: Limits,
    /// The wall clock, in microseconds since 1970. Sequences and latencies come from it.
    pub unix_us: fn() -> u64,
}

impl Default for DoorOptions {
    fn default() -> DoorOptions {
        DoorOptions { timings: Timings::default(), limits: Limits::default(), unix_us }
    }
}

fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// What all streams of a door share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) groups: Groups,
    pub(crate) cores: Vec<CoreLink>,
    pub(crate) stats: Arc<DoorStats>,
    pub(crate) registry: Registry,
    pub(crate) options: DoorOptions,
    /// The highest unix second seen: a clock that is set back must not make sequences repeat.
    unix_seconds: AtomicU64,
    next_stream: AtomicU64,
    started: Instant,
    phase: watch::Sender<Phase>,
}

/// Where a door is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Streams come and go.
    Open,
    /// Acknowledgements are awaited; new streams are kept waiting.
    Stopping,
    /// Every stream ends.
    Stopped,
}

impl Shared {
    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.started.elapsed()
    }

    /// The point of the runtime's clock that `at` is.
    pub(crate) fn instant(&self, at: Time) -> Instant {
        self.started + at.since(Time::ZERO)
    }

    pub(crate) fn unix_seconds(&self) -> u64 {
        let now = (self.options.unix_us)() / 1_000_000;
        self.unix_seconds.fetch_max(now, Ordering::Relaxed).max(now)
    }

    pub(crate) fn next_stream(&self) -> u64 {
        self.next_stream.fetch_add(1, Ordering::Relaxed)
    }
}

/// The worker stream's service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WorkerDoor {
    shared: Arc<Shared>,
}

impl WorkerDoor {
    /// A door for these groups, fed by these cores. Every group must be declared to every core's hub.
    pub fn new(groups: Groups, cores: Vec<CoreLink>, options: DoorOptions) -> WorkerDoor {
        let stats = Arc::new(DoorStats::new(&groups));
        let registry = Registry::new(options.timings.grace);
        WorkerDoor {
            shared: Arc::new(Shared {
                groups,
                cores,
                stats,
                registry,
                options,
                unix_seconds: AtomicU64::new(0),
                next_stream: AtomicU64::new(1),
                started: Instant::now(),
                phase: watch::Sender::new(Phase::Open),
            }),
        }
    }

    /// What the door counts.
    pub fn stats(&self) -> Arc<DoorStats> {
        self.shared.stats.clone()
    }

    /// The gRPC service with the door's message limits.
    pub fn service(&self) -> WorkerService {
        WorkerService(self.clone())
    }

    /// Stops: nothing new is sent, every worker is asked to acknowledge, and when all have (at most 5 s later) every
    /// stream ends with OK. Call it when the shards have stopped reading; keep the cores running until it returns.
    /// Returns whether everything was acknowledged.
    pub async fn stop(&self) -> bool {
        self.shared.phase.send_replace(Phase::Stopping);
        let all = tokio::time::timeout(self.shared.options.timings.stop, self.quiesce()).await.unwrap_or(false);
        self.shared.phase.send_replace(Phase::Stopped);
        // Each stream holds a receiver, and ends within its farewell time.
        if tokio::time::timeout(self.shared.options.timings.farewell * 2, self.shared.phase.closed()).await.is_err() {
            tracing::warn!(streams = self.shared.stats.streams_open(), "streams left open at the stop: their sockets take nothing");
        }
        all
    }

    /// Done when the door begins to stop, or is gone.
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut phase = self.shared.phase.subscribe();
        async move {
            phase.wait_for(|phase| *phase != Phase::Open).await.ok();
        }
    }

    async fn quiesce(&self) -> bool {
        let mut waiting = Vec::with_capacity(self.shared.cores.len());
        for core in &self.shared.cores {
            let (done, quiet) = oneshot::channel();
            // A core that is gone holds nothing.
            if core.commands.send(ToCore::Quiesce(done)).await.is_ok() {
                waiting.push(quiet);
            }
        }
        let mut all = true;
        for quiet in waiting {
            all &= quiet.await.is_ok();
        }
        all
    }
}

/// What goes from a stream's task to its socket.
#[derive(Debug)]
pub(crate) enum Chunk {
    Messages(Vec<WorkerStreamServerMessage>),
    Failed(Status),
}

/// The stream's answers: chunks, taken apart where the encoder asks for them.
#[derive(Debug)]
pub struct Answers {
    chunks: mpsc::Receiver<Chunk>,
    current: std::vec::IntoIter<WorkerStreamServerMessage>,
}

impl Stream for Answers {
    type Item = Result<WorkerStreamServerMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(message) = self.current.next() {
                return Poll::Ready(Some(Ok(message)));
            }
            match self.chunks.poll_recv(context) {
                Poll::Ready(Some(Chunk::Messages(messages))) => self.current = messages.into_iter(),
                Poll::Ready(Some(Chunk::Failed(status))) => return Poll::Ready(Some(Err(status))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[tonic::async_trait]
impl GatewayWorkerGroup for WorkerDoor {
    type WorkerStreamStream = Answers;

    async fn worker_stream(&self, request: Request<Streaming<WorkerStreamClientMessage>>) -> Result<Response<Answers>, Status> {
        let peer = match request.extensions().get::<Peer>() {
            Some(peer) => peer.0.to_string(),
            None => "unknown".to_owned(),
        };
        let (sender, chunks) = mpsc::channel(CHUNKS_QUEUED);
        let shared = self.shared.clone();
        let phase = self.shared.phase.subscribe();
        tokio::spawn(stream::run(shared, peer, request.into_inner(), sender, phase));
        Ok(Response::new(Answers { chunks, current: Vec::new().into_iter() }))
    }
}

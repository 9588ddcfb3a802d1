//! A worker's side of the stream: connects, identifies, hands events out, and acknowledges when it is asked.
//!
//! A task reads the stream and answers heartbeat requests with what the caller has marked as done, so a caller that
//! takes its time stays alive. When the stream ends it comes back by itself, with its ticket and the last sequence done,
//! unless it was told not to. Events may come twice (marked `redelivered`); they never go missing silently.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tonic::codegen::tokio_stream::Stream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use trunkline_wire::pylon::discord::v1::event::EventEnvelope;
use trunkline_wire::pylon::gateway::v1::service::gateway_worker_group_client::GatewayWorkerGroupClient;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_client_message::Payload as ToServer;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_closed::CloseReason;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_server_message::Payload as FromServer;
use trunkline_wire::pylon::gateway::v1::workergroup::{
    WorkerDrainRequest, WorkerHeartbeatAck, WorkerIdentifyRequest, WorkerStreamClientMessage, WorkerStreamServerMessage,
};
use trunkline_wire::trunkline::worker::v1::{EventFilter, PayloadFormat};

use crate::limits::{CREDIT_EVENTS, OUTGOING_BYTES_MAX};

/// Who a worker is and what it wants.
#[derive(Clone)]
pub struct WorkerOptions {
    /// Where the server listens: `127.0.0.1:4000`, with or without `http://`.
    pub address: String,
    /// The group's name.
    pub group: String,
    /// The group's token. Masked in debug output.
    pub token: String,
    /// This worker's lasting name within the group.
    pub worker: String,
    /// The form in which events are wanted; unspecified: as a plain Pylon worker unless another of our fields is set.
    pub payload: PayloadFormat,
    /// Ask for Trunkline's additions though nothing else here does.
    pub extended: bool,
    /// Narrows the stream within what the group holds.
    pub filter: Option<EventFilter>,
    /// The largest message taken, in bytes; 0: gRPC's 4 MiB.
    pub max_message_bytes: u64,
    /// The last sequence done in an earlier life; 0: none.
    pub last_sequence: u64,
    /// The ticket of that life; empty: none.
    pub ticket: String,
    /// What counts as done.
    pub done: Done,
    /// Whether to come back when the stream ends without having been refused or drained.
    pub reconnect: bool,
}

/// When an event counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// When the caller asks for the next one.
    WithNext,
    /// When the caller says so ([`WorkerClient::done`]).
    WhenSaid,
}

impl WorkerOptions {
    /// A worker with everything at its default.
    pub fn new(address: &str, group: &str, token: &str, worker: &str) -> WorkerOptions {
        WorkerOptions {
            address: address.to_owned(),
            group: group.to_owned(),
            token: token.to_owned(),
            worker: worker.to_owned(),
            payload: PayloadFormat::Unspecified,
            extended: false,
            filter: None,
            max_message_bytes: 0,
            last_sequence: 0,
            ticket: String::new(),
            done: Done::WithNext,
            reconnect: true,
        }
    }
}

impl fmt::Debug for WorkerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WorkerOptions { address, group, worker, payload, filter, .. } = self;
        write!(f, "WorkerOptions {{ {group}/{worker} at {address}, token ***, {payload:?}, {filter:?} }}")
    }
}

/// What a worker gets.
#[derive(Clone, Debug)]
pub enum Received {
    /// The server has let the worker in (again).
    Joined {
        /// Proves that this is the same worker coming back.
        ticket: String,
    },
    /// An event, or a gap for a worker that asked for our additions.
    Event(Box<EventEnvelope>),
    /// The connection was lost; the client is trying again.
    Lost {
        /// What happened, for a person.
        why: String,
    },
    /// The stream is over for good.
    Closed {
        /// What the server said; none when it ended without a word.
        reason: Option<CloseReason>,
        /// For a person; may be empty.
        why: String,
    },
}

/// Why a worker could not connect.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address does not parse.
    #[error("{address:?} is not an address; write it as host:port")]
    Address {
        /// What was given.
        address: String,
    },
    /// Nobody answers there.
    #[error("cannot reach {address}: {why}; is the server running and listening there?")]
    Unreachable {
        /// Where.
        address: String,
        /// What the system said.
        why: String,
    },
    /// The server did not take the call.
    #[error("{address} refused the worker stream: {why}")]
    Refused {
        /// Where.
        address: String,
        /// What it said.
        why: String,
    },
}

/// Room for events between the reading task and the caller: what the server may send unacknowledged, and some words.
const QUEUED: usize = CREDIT_EVENTS as usize + 64;

/// Receive window of a stream: what a fast link holds in flight in a few milliseconds.
const WINDOW_BYTES: u32 = 8 << 20;

/// Waiting time before the second attempt to come back; doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The highest sequence the caller is done with, shared with the reading task.
#[derive(Clone, Debug, Default)]
pub struct DoneMark(Arc<AtomicU64>);

impl DoneMark {
    /// Everything up to and including this sequence is done.
    pub fn set(&self, sequence: u64) {
        self.0.fetch_max(sequence, Ordering::Release);
    }

    /// The highest sequence done.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// A worker. Dropping it ends its stream without a drain: its guilds wait for it for the grace time.
#[derive(Debug)]
pub struct WorkerClient {
    received: mpsc::Receiver<(u64, Received)>,
    done: DoneMark,
    with_next: bool,
    last: u64,
    /// Which connection the newest event came from: what is left of older ones comes again and is skipped.
    generation: Arc<AtomicU64>,
    drain: mpsc::Sender<u64>,
}

impl WorkerClient {
    /// Connects once, and starts reading. A refused identity shows as [`Received::Closed`].
    pub async fn connect(options: WorkerOptions) -> Result<WorkerClient, ClientError> {
        let endpoint = endpoint(&options.address)?;
        let channel =
            endpoint.connect().await.map_err(|error| ClientError::Unreachable { address: options.address.clone(), why: words(&error) })?;
        WorkerClient::over(channel, options).await
    }

    /// The same over a channel that is there already.
    pub async fn over(channel: Channel, options: WorkerOptions) -> Result<WorkerClient, ClientError> {
        let done = DoneMark::default();
        done.set(options.last_sequence);
        let generation = Arc::new(AtomicU64::new(0));
        let (sender, received) = mpsc::channel(QUEUED);
        let (drain, drains) = mpsc::channel(1);
        let with_next = options.done == Done::WithNext;
        let mut reader =
            Reader { channel, ticket: options.ticket.clone(), options, done: done.clone(), generation: generation.clone(), sender, drains };
        let first = reader
            .open()
            .await
            .map_err(|status| ClientError::Refused { address: reader.options.address.clone(), why: status.message().to_owned() })?;
        tokio::spawn(async move { Box::pin(reader.run(first)).await });
        Ok(WorkerClient { received, done, with_next, last: 0, generation, drain })
    }

    /// The next thing that happens; none after [`Received::Closed`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<Received> {
        if self.with_next && self.last > 0 {
            self.done.set(self.last);
        }
        loop {
            let (generation, received) = self.received.recv().await?;
            if let Received::Event(envelope) = &received {
                if generation < self.generation.load(Ordering::Acquire) {
                    continue;
                }
                self.last = sequence(envelope);
            }
            return Some(received);
        }
    }

    /// Everything up to and including this sequence is done.
    pub fn done(&self, sequence: u64) {
        self.done.set(sequence);
    }

    /// A handle to say what is done from elsewhere.
    pub fn done_mark(&self) -> DoneMark {
        self.done.clone()
    }

    /// The highest sequence done: what to give as `last_sequence` in a next life.
    pub fn last_done(&self) -> u64 {
        self.done.get()
    }

    /// Asks for no more events: what is not done goes to other workers. Read on until [`Received::Closed`].
    pub async fn drain(&self) {
        // A reader that has ended needs no drain.
        self.drain.send(self.done.get()).await.ok();
    }
}

/// An envelope's sequence; 0 when it has no header.
pub fn sequence(envelope: &EventEnvelope) -> u64 {
    envelope.header.as_ref().map_or(0, |header| header.seq)
}

/// An endpoint with the windows and keepalive that a worker stream wants.
pub fn endpoint(address: &str) -> Result<Endpoint, ClientError> {
    let uri = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let endpoint = Endpoint::from_shared(uri).map_err(|_| ClientError::Address { address: address.to_owned() })?;
    Ok(endpoint
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(5))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .keep_alive_while_idle(true))
}

/// An error with its causes: the outermost alone says only "transport error".
fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        words = next.to_string();
        cause = next.source();
    }
    words
}

/// What the client says on one connection.
struct Said(mpsc::Receiver<WorkerStreamClientMessage>);

impl Stream for Said {
    type Item = WorkerStreamClientMessage;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<WorkerStreamClientMessage>> {
        self.0.poll_recv(context)
    }
}

struct Open {
    say: mpsc::Sender<WorkerStreamClientMessage>,
    answers: Streaming<WorkerStreamServerMessage>,
}

/// How one connection ended.
enum Over {
    /// Come back.
    Lost(String),
    /// Stay away.
    Closed(Option<CloseReason>, String),
    /// Nobody listens any more.
    Forgotten,
}

struct Reader {
    channel: Channel,
    options: WorkerOptions,
    ticket: String,
    done: DoneMark,
    generation: Arc<AtomicU64>,
    sender: mpsc::Sender<(u64, Received)>,
    drains: mpsc::Receiver<u64>,
}

impl Reader {
    async fn open(&mut self) -> Result<Open, Status> {
        let options = &self.options;
        let identify = WorkerIdentifyRequest {
            auth_token: options.token.clone(),
            consumer_group: options.group.clone(),
            consumer_id: options.worker.clone(),
            router_ticket: self.ticket.clone(),
            last_sequence: self.done.get(),
            payload_format: options.payload.into(),
            max_message_bytes: options.max_message_bytes,
            filter: options.filter.clone(),
            extended: options.extended,
        };
        let (say, said) = mpsc::channel(16);
        // There is room: the channel is new.
        say.try_send(WorkerStreamClientMessage { payload: Some(ToServer::IdentifyRequest(identify)) }).ok();
        let mut client = GatewayWorkerGroupClient::new(self.channel.clone()).max_decoding_message_size(OUTGOING_BYTES_MAX);
        let answers = client.worker_stream(Said(said)).await?.into_inner();
        Ok(Open { say, answers })
    }

    async fn run(&mut self, first: Open) {
        let mut open = Some(first);
        let mut retry = RETRY_FIRST;
        loop {
            let over = match open.take() {
                Some(open) => {
                    let generation = self.generation.load(Ordering::Acquire);
                    let over = self.read(open, generation).await;
                    // Something was read: the next attempt may come soon again.
                    if self.generation.fetch_add(1, Ordering::AcqRel) == generation {
                        retry = RETRY_FIRST;
                    }
                    over
                }
                None => match timeout(Duration::from_secs(10), self.open()).await {
                    Ok(Ok(opened)) => {
                        open = Some(opened);
                        continue;
                    }
                    Ok(Err(status)) if status.code() == Code::Unimplemented => Over::Closed(None, status.message().to_owned()),
                    Ok(Err(status)) => Over::Lost(words(&status)),
                    Err(_) => Over::Lost("no answer within 10 s".to_owned()),
                },
            };
            let generation = self.generation.load(Ordering::Acquire);
            match over {
                Over::Forgotten => return,
                Over::Lost(why) if self.options.reconnect => {
                    if self.sender.send((generation, Received::Lost { why })).await.is_err() {
                        return;
                    }
                    tokio::select! {
                        () = sleep(retry) => retry = (retry * 2).min(RETRY_MAX),
                        // Nothing to drain: there is no stream.
                        Some(_) = self.drains.recv() => return self.close(generation, None, "drained while away".to_owned()).await,
                        () = self.sender.closed() => return,
                    }
                }
                Over::Lost(why) => return self.close(generation, None, why).await,
                Over::Closed(reason, why) => return self.close(generation, reason, why).await,
            }
        }
    }

    async fn close(&self, generation: u64, reason: Option<CloseReason>, why: String) {
        self.sender.send((generation, Received::Closed { reason, why })).await.ok();
    }

    async fn read(&mut self, mut open: Open, generation: u64) -> Over {
        let mut first = None;
        loop {
            let said = tokio::select! {
                said = open.answers.message() => said,
                Some(sequence) = self.drains.recv() => {
                    let drain = WorkerDrainRequest { sequence: known(sequence, first) };
                    if open.say.send(WorkerStreamClientMessage { payload: Some(ToServer::DrainRequest(drain)) }).await.is_err() {
                        return Over::Lost("the connection is gone".to_owned());
                    }
                    continue;
                }
                () = self.sender.closed() => return Over::Forgotten,
            };
            let received = match said {
                Ok(Some(said)) => match said.payload {
                    Some(FromServer::EventEnvelope(envelope)) => {
                        first.get_or_insert(sequence(&envelope));
                        Received::Event(envelope)
                    }
                    Some(FromServer::HeartbeatRequest(asked)) => {
                        let ack = WorkerHeartbeatAck { nonce: asked.nonce, sequence: known(self.done.get(), first) };
                        if open.say.send(WorkerStreamClientMessage { payload: Some(ToServer::HeartbeatAck(ack)) }).await.is_err() {
                            return Over::Lost("the connection is gone".to_owned());
                        }
                        continue;
                    }
                    Some(FromServer::IdentifyResponse(response)) => {
                        self.ticket.clone_from(&response.router_ticket);
                        Received::Joined { ticket: response.router_ticket }
                    }
                    Some(FromServer::StreamClosed(closed)) => {
                        let reason = closed.reason();
                        return match reason {
                            CloseReason::RequestedReconnect | CloseReason::HeartbeatTimeout => Over::Lost(closed.message),
                            _ => Over::Closed(Some(reason), closed.message),
                        };
                    }
                    None => continue,
                },
                Ok(None) => return Over::Lost("the server ended the stream".to_owned()),
                Err(status) if status.code() == Code::Unimplemented || status.code() == Code::InvalidArgument => {
                    return Over::Closed(None, status.message().to_owned());
                }
                Err(status) => return Over::Lost(words(&status)),
            };
            if self.sender.send((generation, received)).await.is_err() {
                return Over::Forgotten;
            }
        }
    }
}

/// A sequence as an acknowledgement on this stream: what an earlier stream sent is none of it.
fn known(done: u64, first: Option<u64>) -> u64 {
    match first {
        Some(first) if done >= first => done,
        _ => 0,
    }
}

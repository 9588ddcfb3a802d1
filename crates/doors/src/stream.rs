//! One worker stream: a task between the cores and a socket.
//!
//! Numbers events, keeps the ledger, asks for acknowledgements and splits them by core. It waits for the socket, for the
//! worker, for the cores' events and for its next deadline, all at once; whatever the socket does, acknowledgements and
//! good-byes are heard.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};
use tonic::{Code, Status, Streaming};
use trunkline_delivery::{Body, Credit, GroupId, HubError, StreamId, WorkerId};
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_client_message::Payload as FromWorker;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_closed::CloseReason;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_server_message::Payload as ToWorker;
use trunkline_wire::pylon::gateway::v1::workergroup::{
    WorkerHeartbeatRequest, WorkerIdentifyResponse, WorkerStreamClientMessage, WorkerStreamServerMessage,
};
use trunkline_wire::{Encoded, Want};

use crate::admission::{Admitted, admit, closed};
use crate::door::{Chunk, Phase, Shared};
use crate::heart::Heart;
use crate::ledger::{Acked, ByCore, Ledger, first_sequence};
use crate::limits::{CHUNK_BYTES, CHUNK_EVENTS, QUESTIONS_QUEUED};
use crate::link::{FromCore, StreamLink, ToCore};
use crate::member::{Counted, Member};
use crate::registry::{Before, Control, Left};
use crate::shares::Shares;
use crate::stats::GroupStats;

/// How long a newer stream waits for the older one to hand over its ledger, and the other way round.
const TAKE_OVER: Duration = Duration::from_secs(2);

/// Why a stream ends.
#[derive(Debug)]
enum End {
    /// The connection, or the worker's half of it, is gone: the worker may come back.
    Broke(String),
    /// A newer stream of the same worker is here.
    Replaced { by: String, reply: oneshot::Sender<Left> },
    /// Two requests unanswered.
    TimedOut,
    /// The worker asked for it.
    Drained,
    /// The process stops.
    Stopped,
    /// A core does not know the group: a mistake in how the process was put together.
    Refused(HubError),
    /// A core is gone.
    CoreGone,
}

/// Serves one stream from its first message to its end.
pub(crate) async fn run(
    shared: Arc<Shared>,
    peer: String,
    mut incoming: Streaming<WorkerStreamClientMessage>,
    out: mpsc::Sender<Chunk>,
    mut phase: watch::Receiver<Phase>,
) {
    if *phase.borrow() != Phase::Open {
        // Kept waiting rather than refused: a worker that reconnects at a clean end would come back at once.
        phase.wait_for(|phase| *phase == Phase::Stopped).await.ok();
        drop(phase);
        tokio::time::sleep(shared.options.timings.farewell).await;
        return;
    }
    let Some(admitted) = Box::pin(admit(&shared, &peer, &mut incoming, &out)).await else { return };
    let stats = &shared.stats.groups[admitted.group];
    let limit = shared.options.limits.streams_per_group;
    let open = Counted::new(&stats.streams_open);
    if open.now > limit as u64 {
        shared.stats.refused_full.add(1);
        tracing::warn!(group = %stats.name, worker = &*admitted.worker, peer, "worker refused: the group has {limit} streams already");
        let words = format!("group {:?} has {limit} streams already, which is the most; end some or make another group", stats.name);
        out.try_send(Chunk::Failed(Status::resource_exhausted(words))).ok();
    } else {
        Box::pin(serve(&shared, admitted, peer, incoming, out, phase)).await;
    }
}

async fn serve(
    shared: &Arc<Shared>,
    admitted: Admitted,
    peer: String,
    mut incoming: Streaming<WorkerStreamClientMessage>,
    out: mpsc::Sender<Chunk>,
    mut phase: watch::Receiver<Phase>,
) {
    let (control_sender, mut control) = mpsc::channel(1);
    let (mut stream, mut events, ticket) = match Box::pin(enter(shared, admitted, &peer, control_sender)).await {
        Some(entered) => entered,
        None => {
            out.try_send(Chunk::Failed(Status::unavailable("the server's cores are gone; it is going down"))).ok();
            return;
        }
    };
    stream.stats().streams.add(1);
    tracing::info!(group = %stream.stats().name, worker = &*stream.key.1, peer, "worker joined");
    stream.queue.push_back(message(ToWorker::IdentifyResponse(WorkerIdentifyResponse { router_ticket: ticket })));
    let end = stream.work(&mut incoming, &mut events, &mut control, &out, &mut phase).await;
    Box::pin(stream.leave(end, &peer, &mut control, &out)).await;
}

/// What an error of the worker's half says to a person. A client that is closed or killed shows as an error of the protocol below.
fn broke(status: &Status) -> String {
    match status.message().strip_prefix("h2 protocol error: ") {
        Some(_) if matches!(status.code(), Code::Unknown | Code::Cancelled) => "the worker closed the connection".to_owned(),
        Some(why) => format!("the connection failed: {why}"),
        None => status.message().to_owned(),
    }
}

fn message(payload: ToWorker) -> WorkerStreamServerMessage {
    WorkerStreamServerMessage { payload: Some(payload) }
}

/// 128 random bits in hexadecimal.
fn ticket() -> String {
    let mut bytes = [0_u8; 16];
    // Without a source of randomness no ticket is issued: an empty one proves nothing, and nothing needs it.
    match getrandom::fill(&mut bytes) {
        Ok(()) => format!("{:032x}", u128::from_be_bytes(bytes)),
        Err(_) => String::new(),
    }
}

type Events = mpsc::Receiver<(u16, FromCore)>;

/// Takes the place of an older stream, settles what `last_sequence` says, and joins every core.
async fn enter(shared: &Arc<Shared>, admitted: Admitted, peer: &str, control: mpsc::Sender<Control>) -> Option<(Stream, Events, String)> {
    let group = shared.groups.all()[admitted.group].id;
    let stats = &shared.stats.groups[admitted.group];
    let key = (group, admitted.worker);
    let id = StreamId(shared.next_stream());
    let entry = shared.registry.enter(key.clone(), id, control, &admitted.ticket, ticket(), shared.now());
    let mut member = Member::new(shared.clone(), key.clone(), id);
    let left = match entry.before {
        Before::Nothing => None,
        Before::Broken(left) => Some(left),
        Before::Live(older) => {
            let (reply, left) = oneshot::channel();
            match older.send(Control::Replaced { by: peer.to_owned(), reply }).await {
                Ok(()) => timeout(TAKE_OVER, left).await.ok().and_then(Result::ok),
                Err(_) => None,
            }
        }
    };
    let cores = shared.cores.len();
    let mut done = ByCore::new(cores);
    let mut issued = entry.issued;
    if let Some(mut left) = left {
        issued = issued.max(left.ledger.next() - 1);
        // A foreign ticket: what the other one had processed says nothing about this one.
        if !entry.foreign_ticket
            && let Acked::Events(events) = left.ledger.ack(admitted.last_sequence, &mut done)
        {
            stats.resumed_events.add(u64::from(events));
            for (core, entries) in done.take() {
                shared.cores[core].commands.send(ToCore::Acked { stream: left.stream, entries }).await.ok()?;
            }
        }
    }
    let first = first_sequence(admitted.last_sequence, issued, shared.unix_seconds());
    member.issued = first - 1;
    let limits = shared.options.limits;
    let shares = Shares::new(Credit { events: limits.credit_events, bytes: limits.credit_bytes }, cores);
    let (sender, events) = mpsc::channel(limits.credit_events as usize * 2 + QUESTIONS_QUEUED);
    let overrun = Arc::new(AtomicBool::new(false));
    for (core, link) in shared.cores.iter().enumerate() {
        let join = ToCore::Join {
            group,
            worker: key.1.clone(),
            stream: id,
            filter: admitted.filter.clone(),
            credit: shares.of(core)?,
            to: StreamLink::new(u16::try_from(core).ok()?, sender.clone(), overrun.clone()),
        };
        link.commands.send(join).await.ok()?;
    }
    let stream = Stream {
        shared: shared.clone(),
        group: admitted.group,
        key,
        id,
        member,
        want: admitted.want,
        ledger: Ledger::new(first, cores),
        heart: Heart::new(shared.options.timings, shared.now()),
        shares,
        done,
        queue: VecDeque::new(),
        inbox: VecDeque::new(),
        overrun,
        refused: None,
    };
    Some((stream, events, entry.ticket))
}

struct Stream {
    shared: Arc<Shared>,
    group: usize,
    key: (GroupId, WorkerId),
    id: StreamId,
    member: Member,
    want: Want,
    ledger: Ledger,
    heart: Heart,
    shares: Shares,
    /// Entries done and not yet told to the cores.
    done: ByCore,
    /// Messages that carry no event; they go before the next event.
    queue: VecDeque<WorkerStreamServerMessage>,
    /// Taken from the cores and not yet encoded. At most one chunk.
    inbox: VecDeque<(u16, FromCore)>,
    overrun: Arc<AtomicBool>,
    refused: Option<HubError>,
}

impl Stream {
    fn stats(&self) -> &GroupStats {
        &self.shared.stats.groups[self.group]
    }

    fn half_used(&self) -> bool {
        self.shares.half_used(self.ledger.in_flight(), self.ledger.by_core())
    }

    /// Works until there is a reason to end.
    async fn work(
        &mut self,
        incoming: &mut Streaming<WorkerStreamClientMessage>,
        events: &mut Events,
        control: &mut mpsc::Receiver<Control>,
        out: &mpsc::Sender<Chunk>,
        phase: &mut watch::Receiver<Phase>,
    ) -> End {
        let mut taken = Vec::with_capacity(CHUNK_EVENTS);
        let deadline = sleep_until(self.shared.instant(self.shared.now()));
        tokio::pin!(deadline);
        loop {
            let now = self.shared.now();
            if self.heart.is_dead(now) {
                return End::TimedOut;
            }
            self.ask_if_due(now);
            deadline.as_mut().reset(self.shared.instant(self.heart.next(&self.ledger, self.half_used())));
            let something_to_send = !self.queue.is_empty() || !self.inbox.is_empty();
            if something_to_send && out.capacity() == 0 {
                self.heart.full(now);
            }
            tokio::select! {
                biased;
                Some(Control::Replaced { by, reply }) = control.recv() => return End::Replaced { by, reply },
                changed = phase.changed() => {
                    // An error means that the door is gone, which is a stop too.
                    if changed.is_err() || *phase.borrow_and_update() == Phase::Stopped {
                        return End::Stopped;
                    }
                }
                said = incoming.message() => {
                    let end = match said {
                        Ok(Some(said)) => self.hear(said).await,
                        Ok(None) => Some(End::Broke("the worker ended its half of the stream without a drain".into())),
                        Err(status) => Some(End::Broke(broke(&status))),
                    };
                    if let Some(end) = end {
                        return end;
                    }
                }
                permit = out.reserve(), if something_to_send => {
                    let Ok(permit) = permit else { return End::Broke("the connection is gone".into()) };
                    let messages = self.fill();
                    if !messages.is_empty() {
                        permit.send(Chunk::Messages(messages));
                    }
                    self.heart.took(self.shared.now());
                    if let Some(error) = self.refused.take() {
                        return End::Refused(error);
                    }
                    if !self.tell_done().await {
                        return End::CoreGone;
                    }
                }
                count = events.recv_many(&mut taken, CHUNK_EVENTS), if self.inbox.is_empty() => {
                    if count == 0 {
                        return End::CoreGone;
                    }
                    self.inbox.extend(taken.drain(..));
                    if self.overrun.load(Ordering::Acquire) {
                        return End::Broke("a core found no room in the stream, which its credit forbids".into());
                    }
                }
                () = &mut deadline => {}
                () = out.closed() => return End::Broke("the connection is gone".into()),
            }
        }
    }

    fn ask_if_due(&mut self, now: trunkline_discord::Time) {
        let Some(why) = self.heart.due(&self.ledger, self.half_used(), now) else { return };
        let nonce = self.heart.asked(why, &self.ledger, now);
        self.stats().asked.add(1);
        let last_sent_sequence = if self.want.extended { self.ledger.last_sent().unwrap_or(0) } else { 0 };
        let nonce = format!("{:x}-{nonce:x}", self.id.0);
        self.queue.push_back(message(ToWorker::HeartbeatRequest(WorkerHeartbeatRequest { nonce, last_sent_sequence })));
    }

    /// Encodes what waits, up to a chunk.
    fn fill(&mut self) -> Vec<WorkerStreamServerMessage> {
        let now = self.shared.now();
        let now_unix_us = (self.shared.options.unix_us)();
        let mut messages: Vec<WorkerStreamServerMessage> = self.queue.drain(..).collect();
        messages.reserve(self.inbox.len());
        let (mut bytes, mut events, mut redeliveries) = (0_u64, 0_u64, 0_u64);
        let (mut filtered, mut too_large, mut trimmed) = (0_u64, 0_u64, 0_u64);
        while bytes < CHUNK_BYTES as u64 {
            let Some((core, said)) = self.inbox.pop_front() else { break };
            let (entry, body, redelivered) = match said {
                FromCore::Body { entry, body, redelivered } => (entry, body, redelivered),
                FromCore::AskAck(_) => {
                    self.heart.want(&self.ledger);
                    continue;
                }
                FromCore::Drained => continue,
                FromCore::Refused(error) => {
                    self.refused = Some(error);
                    break;
                }
            };
            let sequence = self.ledger.next();
            let encoded = match &body {
                Body::Event(event) => trunkline_wire::envelope(event, &self.want, sequence, redelivered),
                Body::Gap(gap) => trunkline_wire::gap_envelope(gap, &self.want, sequence, redelivered),
            };
            let envelope = match encoded {
                Encoded::Envelope(envelope) => envelope,
                Encoded::Filtered => {
                    filtered += 1;
                    self.done.push(core, entry);
                    continue;
                }
                Encoded::TooLarge => {
                    too_large += 1;
                    self.done.push(core, entry);
                    continue;
                }
            };
            trimmed += u64::from(envelope.header.as_ref().is_some_and(|header| header.trimmed.is_some()));
            let held = body.bytes_held() as u64;
            self.ledger.push(core, entry, held, now);
            bytes += held;
            events += 1;
            if redelivered {
                redeliveries += 1;
            } else if let Body::Event(event) = &body {
                self.shared.stats.latency.observe(now_unix_us.saturating_sub(event.received_at_unix_us));
            }
            messages.push(message(ToWorker::EventEnvelope(envelope)));
        }
        self.member.issued = self.ledger.next() - 1;
        let stats = &self.shared.stats.groups[self.group];
        stats.events.add(events);
        stats.bytes.add(bytes);
        stats.redelivered.add(redeliveries);
        stats.filtered.add(filtered);
        stats.too_large.add(too_large);
        stats.trimmed.add(trimmed);
        // In the same chunk as the events it asks for.
        self.ask_if_due(now);
        messages.extend(self.queue.drain(..));
        messages
    }

    /// Tells the cores what is done. False when one is gone.
    async fn tell_done(&mut self) -> bool {
        if self.done.is_empty() {
            return true;
        }
        for (core, entries) in self.done.take() {
            let acked = ToCore::Acked { stream: self.id, entries };
            if self.shared.cores[core].commands.send(acked).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Everything up to `sequence` is done. Returns how many events that were; none when a core is gone.
    async fn acknowledge(&mut self, sequence: u64) -> Option<u32> {
        self.shares.seen(self.ledger.by_core());
        let events = match self.ledger.ack(sequence, &mut self.done) {
            Acked::Events(events) => events,
            Acked::NeverSent => {
                self.stats().bad_acks.add(1);
                tracing::debug!(group = %self.stats().name, worker = &*self.key.1, sequence, "acknowledgement of a sequence never sent: ignored");
                0
            }
        };
        self.stats().acked.add(u64::from(events));
        if !self.tell_done().await {
            return None;
        }
        if events > 0 {
            // Whoever gets work done is not gone, however far behind its answers are.
            self.heart.moved(self.shared.now());
            for core in self.shares.acked() {
                let lend = ToCore::Lend { stream: self.id, credit: self.shares.of(core)? };
                self.shared.cores[core].commands.send(lend).await.ok()?;
            }
        }
        Some(events)
    }

    /// The worker has said something.
    async fn hear(&mut self, said: WorkerStreamClientMessage) -> Option<End> {
        match said.payload {
            Some(FromWorker::HeartbeatAck(ack)) => {
                let Some(events) = self.acknowledge(ack.sequence).await else { return Some(End::CoreGone) };
                let answered = self.nonce(&ack.nonce).and_then(|nonce| self.heart.answered(nonce, events, self.shared.now()));
                let count = if answered.is_some() { &self.stats().answered } else { &self.stats().bad_messages };
                count.add(1);
                None
            }
            Some(FromWorker::DrainRequest(drain)) => match self.acknowledge(drain.sequence).await {
                Some(_) => Some(End::Drained),
                None => Some(End::CoreGone),
            },
            Some(FromWorker::IdentifyRequest(_)) | None => {
                self.stats().bad_messages.add(1);
                None
            }
        }
    }

    /// The number in a nonce of this stream.
    fn nonce(&self, text: &str) -> Option<u64> {
        let (stream, nonce) = text.split_once('-')?;
        if u64::from_str_radix(stream, 16) != Ok(self.id.0) {
            return None;
        }
        u64::from_str_radix(nonce, 16).ok()
    }

    async fn tell_all(&self, command: impl Fn(StreamId) -> ToCore) {
        for core in &self.shared.cores {
            // A core that is gone needs no telling.
            core.commands.send(command(self.id)).await.ok();
        }
    }

    /// What is told of an end: the log, and the worker if it is one of those that are told.
    fn last_words(&self, end: &End, peer: &str) -> Option<(CloseReason, String)> {
        let stats = &self.shared.stats.groups[self.group];
        let (group, worker, unacknowledged) = (&stats.name, &*self.key.1, self.ledger.len());
        match end {
            End::Broke(why) => {
                stats.broken.add(1);
                tracing::info!(%group, worker, peer, unacknowledged, "worker's stream broke: {why}; its guilds wait for it");
                None
            }
            End::Replaced { by, .. } => {
                stats.replaced.add(1);
                tracing::warn!(
                    %group, worker, peer, by,
                    "worker's stream replaced by a newer one with the same id; if both live, give each its own id"
                );
                // Not a request to reconnect: twins of one id would take turns for ever.
                Some((CloseReason::InvalidIdentity, format!("a newer stream from {by} has this worker's id; give each worker its own")))
            }
            End::TimedOut => {
                stats.timeouts.add(1);
                tracing::warn!(%group, worker, peer, unacknowledged, "worker answered no heartbeat request: its events go to the others");
                Some((CloseReason::HeartbeatTimeout, "two heartbeat requests were not answered; connect again".to_owned()))
            }
            End::Drained => {
                stats.drains.add(1);
                tracing::info!(%group, worker, peer, unacknowledged, "worker drained");
                Some((CloseReason::DrainComplete, "drained; what was not acknowledged goes to the others".to_owned()))
            }
            // A plain Pylon worker comes back only after an end without a word.
            End::Stopped => self.want.extended.then(|| (CloseReason::RequestedReconnect, "the server stops; connect again".to_owned())),
            // It lost a race with its twin: the same as being replaced.
            End::Refused(HubError::Replaced { .. }) => {
                stats.replaced.add(1);
                tracing::warn!(%group, worker, peer, "worker's stream came too late: a newer one with the same id is here");
                Some((CloseReason::InvalidIdentity, "a newer stream has this worker's id; give each worker its own".to_owned()))
            }
            End::Refused(error) => {
                tracing::error!(%group, worker, peer, "a core refused the worker: {error}");
                None
            }
            End::CoreGone => {
                tracing::error!(%group, worker, peer, "worker's stream ends: a core is gone");
                None
            }
        }
    }

    /// Says good-bye to the cores, to whoever takes over, and to the worker.
    async fn leave(self, end: End, peer: &str, control: &mut mpsc::Receiver<Control>, out: &mpsc::Sender<Chunk>) {
        let words = self.last_words(&end, peer);
        let failed = match &end {
            End::Refused(error) => Some(Status::internal(error.to_string())),
            End::CoreGone => Some(Status::unavailable("the server's cores are gone; it is going down")),
            _ => None,
        };
        let extended = self.want.extended;
        let shared = self.shared.clone();
        self.hand_over(end, control).await;
        let farewell = match (words, failed) {
            (Some((reason, words)), _) => Chunk::Messages(vec![closed(reason, words, extended)]),
            (None, Some(status)) => Chunk::Failed(status),
            (None, None) => return,
        };
        // The socket of a worker that is gone takes nothing.
        timeout(shared.options.timings.farewell, out.send(farewell)).await.ok();
    }

    /// Tells the cores, and leaves the ledger to the next stream of this worker where it may still be of use.
    async fn hand_over(mut self, end: End, control: &mut mpsc::Receiver<Control>) {
        let last = self.ledger.next() - 1;
        // Before the registry and before the reply: a stream that takes over from here must come after this at the cores.
        // One that has not waited may have joined some of them before this stream did, and others after it; a core to
        // which this stream is the older one does not know it any more, and ignores the word.
        match end {
            End::TimedOut | End::Drained => self.tell_all(ToCore::Leave).await,
            _ => self.tell_all(ToCore::Broke).await,
        }
        self.member.has_told();
        match end {
            End::Replaced { reply, .. } => {
                self.shared.registry.exit(&self.key, self.id, last, &mut None, self.shared.now());
                // The newer stream may have given up waiting; then nothing can be mapped, which is safe.
                reply.send(Left { stream: self.id, ledger: self.ledger }).ok();
            }
            End::TimedOut | End::Drained => {
                self.shared.registry.exit(&self.key, self.id, last, &mut None, self.shared.now());
            }
            _ => {
                let (shared, key, id) = (self.shared, self.key, self.id);
                let mut left = Some(Left { stream: id, ledger: self.ledger });
                let newest = shared.registry.exit(&key, id, last, &mut left, shared.now());
                if !newest
                    && let Ok(Some(Control::Replaced { reply, .. })) = timeout(TAKE_OVER, control.recv()).await
                    && let Some(left) = left
                {
                    reply.send(left).ok();
                }
            }
        }
    }
}

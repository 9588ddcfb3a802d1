//! A server with hand-driven cores, and a worker that does exactly what a test tells it to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use trunkline_delivery::{Filter, GroupId, GroupLimits, GroupSpec, Hub, HubConfig, Slot};
use trunkline_discord::{Event, EventKind, EventName, Routing, ShardId, Time};
use trunkline_doors::limits::CREDIT_EVENTS;
use trunkline_doors::serve::routes;
use trunkline_doors::{CoreLink, CoreSide, DoorOptions, DoorStats, Group, GroupToken, Groups, ServeOptions, WorkerDoor, serve};
use trunkline_etf::Encoding;
use trunkline_wire::pylon::discord::v1::event::EventEnvelope;
use trunkline_wire::pylon::gateway::v1::service::gateway_worker_group_client::GatewayWorkerGroupClient;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_client_message::Payload as Say;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_closed::CloseReason;
use trunkline_wire::pylon::gateway::v1::workergroup::worker_stream_server_message::Payload as Hear;
use trunkline_wire::pylon::gateway::v1::workergroup::{
    WorkerDrainRequest, WorkerHeartbeatAck, WorkerHeartbeatRequest, WorkerIdentifyRequest, WorkerStreamClientMessage, WorkerStreamClosed,
    WorkerStreamServerMessage,
};

pub(crate) const TOKEN: &str = "open sesame";

/// The wall clock of these tests: stands still, so that only the rules keep sequences apart.
pub(crate) const UNIX_SECONDS: u64 = 1_800_000_000;

fn unix_us() -> u64 {
    UNIX_SECONDS * 1_000_000
}

type Core = Arc<Mutex<CoreSide>>;

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) door: WorkerDoor,
    pub(crate) stats: Arc<DoorStats>,
    cores: Vec<Core>,
    started: Instant,
    s: AtomicU64,
    shutdown: Option<oneshot::Sender<()>>,
    pub(crate) served: tokio::task::JoinHandle<()>,
}

pub(crate) fn options() -> DoorOptions {
    DoorOptions { unix_us, ..DoorOptions::default() }
}

impl World {
    pub(crate) async fn start(cores: usize) -> World {
        World::with(cores, options(), axum::Router::new()).await
    }

    pub(crate) async fn with(cores: usize, options: DoorOptions, extras: axum::Router) -> World {
        let started = Instant::now();
        let group = |id, name: &str| Group { id: GroupId(id), name: name.into(), token: GroupToken::new(TOKEN) };
        // The third is not declared to the cores: a mistake that must not hang.
        let groups = Groups::new(vec![group(0, "default"), group(1, "other"), group(2, "undeclared")]).unwrap();
        let mut links = Vec::new();
        let mut sides = Vec::new();
        for index in 0..cores {
            let mut hub = Hub::new(HubConfig { store: false, ..HubConfig::default() });
            for (id, name) in [(0, "default"), (1, "other")] {
                let spec = GroupSpec { id: GroupId(id), name: name.into(), filter: Filter::default(), limits: GroupLimits::default() };
                hub.declare(spec).unwrap();
            }
            let mut actions = Vec::new();
            hub.add_shard(Slot(0), shard(index), None, Time::ZERO, &mut actions).unwrap();
            let side: Core = Arc::new(Mutex::new(CoreSide::new(hub)));
            let (commands, mut received) = mpsc::channel(1_024);
            links.push(CoreLink { commands });
            sides.push(side.clone());
            tokio::spawn(async move {
                let mut up = Vec::new();
                loop {
                    let next = {
                        let mut side = side.lock().unwrap();
                        side.tick(Time::ZERO + started.elapsed(), &mut up)
                    };
                    let next = next.map_or(started.elapsed() + Duration::from_secs(60), |at| at.since(Time::ZERO));
                    tokio::select! {
                        command = received.recv() => match command {
                            Some(command) => side.lock().unwrap().handle(command, Time::ZERO + started.elapsed(), &mut up),
                            None => return,
                        },
                        () = tokio::time::sleep_until(started + next) => {}
                    }
                }
            });
        }
        let door = WorkerDoor::new(groups, links, options);
        let stats = door.stats();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = routes(&door, None, extras).await.unwrap();
        let (shutdown, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listener, router, stats.clone(), ServeOptions::default(), async move {
            stopped.await.ok();
        }));
        World { address, door, stats, cores: sides, started, s: AtomicU64::new(1), shutdown: Some(shutdown), served }
    }

    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.started.elapsed()
    }

    /// Dispatches an event on a core's shard; returns its `s`, unique over all cores.
    pub(crate) fn offer(&self, core: usize, guild: u64) -> u64 {
        self.offer_as(core, guild, EventKind::MessageCreate, None)
    }

    pub(crate) fn offer_as(&self, core: usize, guild: u64, kind: EventKind, body: Option<Bytes>) -> u64 {
        let s = self.s.fetch_add(1, Ordering::Relaxed);
        let event = event(core, guild, s, kind, body, self.now());
        let mut up = Vec::new();
        self.cores[core].lock().unwrap().offer(Slot(0), Arc::new(event), self.now(), &mut up);
        assert!(up.is_empty());
        s
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.cores.iter().map(|core| core.lock().unwrap().hub().in_flight()).sum()
    }

    pub(crate) fn overruns(&self) -> u64 {
        self.cores.iter().map(|core| core.lock().unwrap().overruns()).sum()
    }

    /// Opens a stream and says nothing on it.
    pub(crate) async fn connect(&self) -> Worker {
        connect(self.address).await
    }

    /// A worker of group `default` as Pylon's published clients are.
    pub(crate) async fn plain(&self, worker: &str) -> Worker {
        self.identified(plain(worker)).await
    }

    /// One that knows Trunkline's additions.
    pub(crate) async fn extended(&self, worker: &str) -> Worker {
        self.identified(WorkerIdentifyRequest { extended: true, ..plain(worker) }).await
    }

    pub(crate) async fn identified(&self, request: WorkerIdentifyRequest) -> Worker {
        let mut worker = self.connect().await;
        worker.identify(request).await;
        worker.joined().await;
        worker
    }

    pub(crate) async fn shut_down(&mut self) {
        self.shutdown.take().unwrap().send(()).unwrap();
        (&mut self.served).await.unwrap();
    }
}

/// Opens a stream to a door and says nothing on it.
pub(crate) async fn connect(address: SocketAddr) -> Worker {
    let channel = trunkline_doors::client::endpoint(&address.to_string()).unwrap().connect().await.unwrap();
    let (say, said) = mpsc::channel(256);
    let mut client = GatewayWorkerGroupClient::new(channel).max_decoding_message_size(64 << 20);
    let answers = client.worker_stream(ReceiverStream::new(said)).await.unwrap().into_inner();
    Worker { say: Some(say), answers, sequences: Vec::new() }
}

pub(crate) fn plain(worker: &str) -> WorkerIdentifyRequest {
    WorkerIdentifyRequest {
        auth_token: TOKEN.into(),
        consumer_group: "default".into(),
        consumer_id: worker.into(),
        ..WorkerIdentifyRequest::default()
    }
}

pub(crate) fn shard(core: usize) -> ShardId {
    ShardId { bot: 7, index: u32::try_from(core).unwrap(), count: 16 }
}

pub(crate) fn event(core: usize, guild: u64, s: u64, kind: EventKind, body: Option<Bytes>, now: Time) -> Event {
    let body = body.unwrap_or_else(|| {
        let text = format!(
            r#"{{"id":"{}","channel_id":"{}","guild_id":"{guild}","content":"event {s}","author":{{"id":"5","username":"a"}}}}"#,
            s + 1_000,
            guild + 1
        );
        Bytes::from(text)
    });
    Event {
        shard: shard(core),
        session: 1,
        s,
        epoch: 1,
        kind,
        name: EventName::new(kind, "SOMETHING_NEW"),
        encoding: Encoding::Json,
        body,
        previous: None,
        origin: None,
        routing: Routing { guild_id: Some(guild), channel_id: None, user_id: None, ..Routing::default() },
        received_at_unix_us: unix_us(),
        received_at: now,
    }
}

/// A worker that only does what it is told.
pub(crate) struct Worker {
    pub(crate) say: Option<mpsc::Sender<WorkerStreamClientMessage>>,
    pub(crate) answers: Streaming<WorkerStreamServerMessage>,
    /// All sequences received.
    pub(crate) sequences: Vec<u64>,
}

/// How a stream ended: what was said last, and the status.
pub(crate) type Ended = (Option<WorkerStreamClosed>, Result<(), Status>);

impl Worker {
    pub(crate) async fn say(&self, payload: Say) {
        self.say.as_ref().unwrap().send(WorkerStreamClientMessage { payload: Some(payload) }).await.unwrap();
    }

    pub(crate) async fn identify(&self, request: WorkerIdentifyRequest) {
        self.say(Say::IdentifyRequest(request)).await;
    }

    pub(crate) async fn ack(&self, asked: &WorkerHeartbeatRequest, sequence: u64) {
        self.say(Say::HeartbeatAck(WorkerHeartbeatAck { nonce: asked.nonce.clone(), sequence })).await;
    }

    pub(crate) async fn drain(&self, sequence: u64) {
        self.say(Say::DrainRequest(WorkerDrainRequest { sequence })).await;
    }

    /// The next message within a long time.
    pub(crate) async fn hear(&mut self) -> Hear {
        let heard = timeout(Duration::from_secs(60), self.answers.message()).await.expect("nothing was said for a minute");
        let heard = heard.unwrap().expect("the stream has ended").payload.unwrap();
        if let Hear::EventEnvelope(envelope) = &heard {
            self.sequences.push(envelope.header.as_ref().unwrap().seq);
        }
        heard
    }

    pub(crate) async fn joined(&mut self) -> String {
        match self.hear().await {
            Hear::IdentifyResponse(response) => response.router_ticket,
            other => panic!("{other:?}"),
        }
    }

    /// The next event, which must be the next message.
    pub(crate) async fn event(&mut self) -> EventEnvelope {
        match self.hear().await {
            Hear::EventEnvelope(envelope) => *envelope,
            other => panic!("{other:?}"),
        }
    }

    /// The next request, which must be the next message.
    pub(crate) async fn asked(&mut self) -> WorkerHeartbeatRequest {
        match self.hear().await {
            Hear::HeartbeatRequest(asked) => asked,
            other => panic!("{other:?}"),
        }
    }

    /// So many events; requests between them are answered with sequence 0. Returns each one's content.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<u64> {
        let mut all = Vec::new();
        while all.len() < count {
            match self.hear().await {
                Hear::EventEnvelope(envelope) => all.push(which(&envelope)),
                Hear::HeartbeatRequest(asked) => self.ack(&asked, 0).await,
                other => panic!("{other:?}"),
            }
        }
        all
    }

    /// So many events; requests between them are left unanswered.
    pub(crate) async fn events_unanswered(&mut self, count: usize) -> Vec<u64> {
        let mut all = Vec::new();
        while all.len() < count {
            if let Hear::EventEnvelope(envelope) = self.hear().await {
                all.push(which(&envelope));
            }
        }
        all
    }

    /// How many events come before half a second of silence; requests are left unanswered.
    pub(crate) async fn events_until_silence(&mut self) -> usize {
        let mut events = 0;
        while let Ok(heard) = timeout(Duration::from_millis(500), self.answers.message()).await {
            if let Some(Hear::EventEnvelope(_)) = heard.unwrap().unwrap().payload {
                events += 1;
            }
        }
        events
    }

    /// Waits for the next request and acknowledges all that has come.
    pub(crate) async fn acknowledge_all(&mut self) {
        let asked = self.asked().await;
        let last = *self.sequences.last().unwrap();
        self.ack(&asked, last).await;
    }

    /// Asserts that nothing is said for so long.
    pub(crate) async fn silence(&mut self, for_so_long: Duration) {
        if let Ok(heard) = timeout(for_so_long, self.answers.message()).await {
            panic!("{heard:?}");
        }
    }

    /// Reads on until the stream ends.
    pub(crate) async fn end(&mut self) -> Ended {
        let mut closed = None;
        loop {
            match timeout(Duration::from_secs(60), self.answers.message()).await.expect("the stream does not end") {
                Ok(Some(WorkerStreamServerMessage { payload: Some(Hear::StreamClosed(said)) })) => closed = Some(said),
                Ok(Some(_)) => assert!(closed.is_none(), "something follows the good-bye"),
                Ok(None) => return (closed, Ok(())),
                Err(status) => return (closed, Err(status)),
            }
        }
    }
}

/// Asserts a clean end with this reason; returns the words.
#[track_caller]
pub(crate) fn assert_closed(ended: Ended, reason: CloseReason) -> String {
    let (closed, status) = ended;
    let closed = closed.expect("no stream_closed");
    assert_eq!(closed.reason(), reason);
    status.unwrap();
    closed.message
}

/// Which event it is: its message id less what `event` added.
pub(crate) fn which(envelope: &EventEnvelope) -> u64 {
    use trunkline_wire::pylon::discord::v1::event::event_envelope::EventData;
    match envelope.event_data.as_ref().unwrap() {
        EventData::MessageCreateEvent(event) => event.message_data.as_ref().unwrap().id - 1_000,
        EventData::RawEvent(_) => envelope.header.as_ref().unwrap().discord_sequence,
        other => panic!("{other:?}"),
    }
}

/// The whole credit of a stream.
pub(crate) const CREDIT: usize = CREDIT_EVENTS as usize;

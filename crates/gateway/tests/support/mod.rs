//! A scripted gateway on links in memory, for tests on virtual time, and a handler that writes down what it is given.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_websockets::{CloseCode, Message, ServerBuilder, WebSocketStream};
use trunkline_discord::{Compression, Encoding, Intents, ShardId, Token};
use trunkline_gateway::{
    Clock, Dial, Dialing, Dispatched, IdentifyConfig, IdentifyQueue, Net, NetLimits, Ready, SessionStartLimit, ShardConfig, ShardControl,
    ShardEnd, ShardEvents, ShardStats, ShardTools, Wire,
};
use trunkline_session::{LostCause, Report, ResumePoint};

/// Where a client wanted to go, and its link.
pub struct Caller {
    pub host: String,
    pub link: DuplexStream,
}

struct Links(mpsc::UnboundedSender<Caller>);

impl Dial for Links {
    fn dial(&self, host: &str, port: u16) -> Dialing {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let sent = self.0.send(Caller { host: format!("{host}:{port}"), link: theirs });
        Box::pin(async move {
            match sent {
                Ok(()) => Ok(Box::new(ours) as Box<dyn Wire>),
                Err(_) => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
            }
        })
    }
}

/// Discord's side, one connection after the other.
pub struct Gateway {
    pub callers: mpsc::UnboundedReceiver<Caller>,
}

impl Gateway {
    pub fn new() -> (Self, Net) {
        let (to_gateway, callers) = mpsc::unbounded_channel();
        let net = Net::new(None, NetLimits::default()).unwrap().with_dial(Arc::new(Links(to_gateway)));
        (Self { callers }, net)
    }

    pub async fn accept(&mut self) -> Peer {
        let caller = self.callers.recv().await.unwrap();
        let (request, socket) = ServerBuilder::new().accept(caller.link).await.unwrap();
        Peer {
            url: format!("{}{}", caller.host, request.uri()),
            agent: request.headers()["user-agent"].to_str().unwrap().to_owned(),
            socket,
        }
    }
}

/// One connection as Discord sees it. Speaks JSON without compression unless a test sends bytes itself.
pub struct Peer {
    pub url: String,
    pub agent: String,
    pub socket: WebSocketStream<DuplexStream>,
}

impl Peer {
    pub async fn send(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// All of them in one write, so that they are there together.
    pub async fn send_all(&mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            self.socket.feed(message).await.unwrap();
        }
        self.socket.flush().await.unwrap();
    }

    pub async fn send_bytes(&mut self, bytes: Vec<u8>) {
        self.socket.send(Message::binary(bytes)).await.unwrap();
    }

    pub async fn hello(&mut self) {
        self.send(json!({"op": 10, "d": {"heartbeat_interval": 45_000}, "s": null, "t": null})).await;
    }

    pub async fn event(&mut self, s: u64, name: &str) {
        self.send(json!({"op": 0, "s": s, "t": name, "d": {"guild_id": "5", "n": s}})).await;
    }

    pub async fn ready(&mut self, session_id: &str) {
        let d = json!({
            "v": 10, "user": {"id": "42", "username": "b"}, "session_id": session_id,
            "resume_gateway_url": "ws://resume.test/", "application": {"id": "43", "flags": 0},
            "guilds": [{"id": "5", "unavailable": true}], "shard": [0, 1],
        });
        self.send(json!({"op": 0, "s": 1, "t": "READY", "d": d})).await;
    }

    /// The next frame, heartbeats answered and left out.
    pub async fn frame(&mut self) -> Value {
        loop {
            let message = self.socket.next().await.unwrap().unwrap();
            assert!(message.is_text(), "a JSON session sends text: {message:?}");
            let frame: Value = serde_json::from_str(message.as_text().unwrap()).unwrap();
            if frame["op"] != 1 {
                return frame;
            }
            self.send(json!({"op": 11, "d": null, "s": null, "t": null})).await;
        }
    }

    /// HELLO, IDENTIFY, READY.
    pub async fn welcome(&mut self, session_id: &str) {
        self.hello().await;
        let identify = self.frame().await;
        assert_eq!(identify["op"], 2, "{identify}");
        self.ready(session_id).await;
    }

    /// Reads until the client closes. Answers its code, `None` for a connection that was dropped.
    pub async fn closed(&mut self) -> Option<u16> {
        while let Some(message) = self.socket.next().await {
            let Ok(message) = message else { return None };
            if let Some((code, _)) = message.as_close() {
                // Lets the answer out.
                while self.socket.next().await.is_some() {}
                return Some(u16::from(code));
            }
        }
        None
    }

    pub async fn close(&mut self, code: u16) {
        let code = CloseCode::try_from(code).unwrap();
        self.socket.send(Message::close(Some(code), "")).await.unwrap();
    }
}

/// What a handler was told, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Event { session: u64, s: u64, name: String, body: Vec<u8> },
    Ready { session: u64, bot_id: u64, guilds: Vec<u64> },
    Resumed { session: u64, replayed: u64 },
    Lost { session: u64, last_s: u64 },
    Gap { first_s: u64, last_s: u64 },
    Duplicate { s: u64 },
}

#[derive(Clone, Default)]
pub struct Recorder {
    pub told: Rc<RefCell<Vec<Told>>>,
    pub point: Rc<RefCell<Option<ResumePoint>>>,
    pub reports: Rc<RefCell<Vec<Report>>>,
}

impl Recorder {
    pub fn events(&self) -> Vec<(u64, u64)> {
        let told = self.told.borrow();
        let events = told.iter().filter_map(|told| match told {
            Told::Event { session, s, .. } => Some((*session, *s)),
            _ => None,
        });
        events.collect()
    }

    /// Waits until so many events have come.
    pub async fn until_events(&self, count: usize) {
        for _ in 0..10_000 {
            if self.events().len() >= count {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        panic!("only {:?} came", self.events());
    }
}

impl ShardEvents for Recorder {
    fn dispatch(&mut self, dispatched: Dispatched<'_>) {
        self.told.borrow_mut().push(Told::Event {
            session: dispatched.session,
            s: dispatched.s,
            name: dispatched.envelope.t.as_deref().unwrap_or_default().to_owned(),
            body: dispatched.envelope.d.raw().to_vec(),
        });
    }

    fn ready(&mut self, ready: Ready<'_>) {
        let (session, bot_id, guilds) = (ready.session, ready.bot_id, ready.guilds.to_vec());
        self.told.borrow_mut().push(Told::Ready { session, bot_id, guilds });
    }

    fn resumed(&mut self, session: u64, replayed: u64) {
        self.told.borrow_mut().push(Told::Resumed { session, replayed });
    }

    fn session_lost(&mut self, _: LostCause, session: u64, last_s: u64) {
        self.told.borrow_mut().push(Told::Lost { session, last_s });
    }

    fn gap(&mut self, _: u64, first_s: u64, last_s: u64) {
        self.told.borrow_mut().push(Told::Gap { first_s, last_s });
    }

    fn duplicate(&mut self, s: u64) {
        self.told.borrow_mut().push(Told::Duplicate { s });
    }

    fn report(&mut self, report: &Report) {
        self.reports.borrow_mut().push(report.clone());
    }

    fn settled(&mut self, point: Option<&ResumePoint>) {
        *self.point.borrow_mut() = point.cloned();
    }
}

pub const LIMIT: SessionStartLimit = SessionStartLimit { total: 1000, remaining: 1000, reset_after_ms: 3_600_000, max_concurrency: 1 };

/// A shard ready to run, and the ends of its strings.
pub struct Rig {
    pub gateway: Gateway,
    pub recorder: Recorder,
    pub control: mpsc::Sender<ShardControl>,
    pub stats: Arc<ShardStats>,
    pub queue: IdentifyQueue,
    pub config: ShardConfig,
    receiver: mpsc::Receiver<ShardControl>,
    tools: ShardTools,
}

impl Rig {
    pub async fn new(encoding: Encoding, compression: Compression) -> Self {
        let (gateway, net) = Gateway::new();
        let clock = Clock::starting_at(1_800_000_000_000_000);
        let queue = IdentifyQueue::start(IdentifyConfig {
            bot: 42,
            count: 1,
            shards: vec![0],
            ledger: None,
            limit: LIMIT,
            api: None,
            release: String::new(),
            clock,
        });
        let queue = queue.await;
        let stats = Arc::new(ShardStats::default());
        let (control, receiver) = mpsc::channel(16);
        let token = Token::new("NDI.x.secret");
        let mut session = trunkline_session::Config::new((0, 1), token, Intents::GUILDS, "ws://main.test/");
        session.encoding = encoding;
        session.compression = compression;
        let shard = ShardId { bot: 42, index: 0, count: 1 };
        Self {
            gateway,
            recorder: Recorder::default(),
            control,
            stats: Arc::clone(&stats),
            config: ShardConfig::new(shard, session, 7),
            receiver,
            tools: ShardTools { net, clock, identify: queue.client(), stats },
            queue,
        }
    }

    pub async fn json() -> Self {
        Self::new(Encoding::Json, Compression::None).await
    }

    /// Runs the shard beside the script, until both are done.
    pub async fn run<T>(
        self,
        resume: Option<ResumePoint>,
        script: impl AsyncFnOnce(Gateway, Recorder, mpsc::Sender<ShardControl>) -> T,
    ) -> (ShardEnd, T) {
        let mut handler = self.recorder.clone();
        let script = Box::pin(script(self.gateway, self.recorder, self.control));
        let shard = Box::pin(trunkline_gateway::run_shard(self.config, resume, self.tools, self.receiver, &mut handler));
        let both = async { tokio::join!(shard, script) };
        tokio::time::timeout(std::time::Duration::from_secs(100_000), both).await.unwrap()
    }
}

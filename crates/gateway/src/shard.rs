//! The driver of one shard: reads its socket, feeds its session, and does what the session says.
//!
//! It decides nothing of the protocol, and never waits for whoever takes the events: the socket is read whatever happens
//! behind it. It runs on its core's single-threaded runtime, beside the other shards of the core, and lets them run after
//! so many frames. Those that are there already are decoded a few at a time ([`crate::batch`]).

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tokio_websockets::Message;
use trunkline_discord::{Compression, Dice, Encoding, Envelope, EnvelopeError, Op, Routing, ShardId, Time};
use trunkline_session::{Action, Following, Input, ResumePoint, Session, StopReason, Timer};

use crate::batch::{self, BATCH_BYTES, BATCH_MESSAGES, Frame, LARGE_BYTES};
use crate::clock::{Clock, Watch};
use crate::events::{Dispatched, Ready, ShardControl, ShardEnd, ShardEvents};
use crate::identify::{Grant, IdentifyClient};
use crate::inflate::{Appended, InflateLimits};
use crate::net::{ConnectError, Net, Socket};
use crate::socket::Connection;
use crate::stats::{ShardStats, add};
use crate::telling::Telling;

/// After so many frames, or after this time, other shards of the core run.
const TURN_FRAMES: usize = 64;
const TURN_TIME: Duration = Duration::from_millis(1);
/// Slept when no timer is armed: a control message or the socket wakes the driver then.
const FAR: Duration = Duration::from_secs(3600);

/// What a driver is made of.
#[derive(Debug, Clone)]
pub struct ShardConfig {
    /// Which shard of which bot.
    pub shard: ShardId,
    /// Its session's settings.
    pub session: trunkline_session::Config,
    /// The last number that any session of this shard had; 0 for none.
    pub ordinal: u64,
    /// Bounds of decompression.
    pub inflate: InflateLimits,
    /// Bounds of decoding.
    pub decode: trunkline_etf::Limits,
    /// The seed of its dice.
    pub seed: u64,
    /// Whether a `ws://` address may be opened, be it the main one or the resume address that a READY or a checkpoint
    /// gave. Otherwise it is refused, since the token would cross the network in clear, and the shard goes on with the
    /// main address. By default only where the main address itself is `ws://`: a simulated Discord. (A main address
    /// that came over https is never: see [`crate::prepare_bot`].)
    pub allow_plain: bool,
}

impl ShardConfig {
    /// A shard with default bounds.
    #[must_use]
    pub fn new(shard: ShardId, session: trunkline_session::Config, seed: u64) -> Self {
        let allow_plain = session.gateway_url.starts_with("ws://");
        let (inflate, decode) = (InflateLimits::default(), trunkline_etf::Limits::GATEWAY);
        Self { shard, session, ordinal: 0, inflate, decode, seed, allow_plain }
    }
}

/// What a driver works with; the same for all shards of a bot, but for the counters.
#[derive(Debug, Clone)]
pub struct ShardTools {
    /// The way to the network.
    pub net: Net,
    /// The process's clock.
    pub clock: Clock,
    /// The bot's identify queue.
    pub identify: IdentifyClient,
    /// This shard's counters.
    pub stats: Arc<ShardStats>,
}

/// Runs one shard until it is told to stop or Discord refuses it for good.
///
/// With a resume point the session is resumed there, else identified. Dropping the future drops the connection without a
/// close, which leaves the session alive at Discord for a few minutes. When the sender of `control` is dropped the shard
/// stops.
pub async fn run_shard<H: ShardEvents>(
    config: ShardConfig,
    resume: Option<ResumePoint>,
    tools: ShardTools,
    control: mpsc::Receiver<ShardControl>,
    handler: &mut H,
) -> ShardEnd {
    let mut driver = Driver::new(config, resume, tools, control, handler);
    driver.step(Input::Start, None);
    driver.settle();
    loop {
        if let Some(reason) = driver.stopped {
            return driver.end(reason).await;
        }
        let happened = driver.wait().await;
        let more = driver.take(happened).await;
        driver.settle();
        if more {
            tokio::task::yield_now().await;
        }
    }
}

/// What a driver waits for.
enum Happened {
    Control(Option<ShardControl>),
    Granted(Grant),
    Opened(Result<Socket, ConnectError>),
    Due,
    Message(Option<Result<Message, tokio_websockets::Error>>),
}

/// A dispatch or another frame that the session is told of, and what there is of it.
#[derive(Clone, Copy)]
struct Told<'a> {
    encoding: Encoding,
    envelope: &'a Envelope<'a>,
    routing: &'a Routing,
    frame: &'a Frame<'a>,
}

/// A message that waits to be handled with others.
enum Gathered {
    /// In the inflater's buffer.
    Inflated(Range<usize>),
    /// As it came.
    Plain(Message),
}

/// How gathering came to an end.
enum Gathering {
    /// Enough lies there.
    Full,
    /// Nothing else has come yet.
    Drained,
    /// Something that ends the connection.
    Ended(Ended),
}

enum Ended {
    /// With a close frame, or without one.
    Closed(Option<u16>),
    Lost(String),
    BadFrame(String),
    /// What cannot be decompressed.
    Corrupt(String),
}

type Waiting<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

struct Driver<'h, H> {
    session: Session,
    handler: &'h mut H,
    tools: ShardTools,
    watch: Watch,
    telling: Telling,
    inflate: InflateLimits,
    decode: trunkline_etf::Limits,
    shard: ShardId,
    dice: Dice,
    control: mpsc::Receiver<ShardControl>,
    control_open: bool,
    /// In a box: it is taken out and put back for every frame.
    connection: Option<Box<Connection>>,
    opening: Waiting<Result<Socket, ConnectError>>,
    opening_as: (Encoding, Compression),
    asking: Waiting<Grant>,
    grant: Option<Grant>,
    timers: [Option<Time>; Timer::ALL.len()],
    sleep: Pin<Box<Sleep>>,
    room: bool,
    /// The session wants the connection closed with this code.
    hang_up: Option<u16>,
    /// The last connection on its way out.
    closing: Option<tokio::task::JoinHandle<()>>,
    stopped: Option<StopReason>,
    todo: Vec<Action>,
    outgoing: Vec<(Op, Vec<u8>)>,
    /// How many of these were there before the input that is handled.
    sent_before: usize,
}

impl<'h, H: ShardEvents> Driver<'h, H> {
    fn new(
        config: ShardConfig,
        resume: Option<ResumePoint>,
        mut tools: ShardTools,
        control: mpsc::Receiver<ShardControl>,
        handler: &'h mut H,
    ) -> Self {
        if !config.allow_plain {
            tools.net = tools.net.tls_only();
        }
        let (encoding, compression) = (config.session.encoding, config.session.compression);
        let (session, notice) = Session::new(config.session, resume, config.ordinal);
        let telling = Telling::new(config.shard, Arc::clone(&tools.stats));
        if let Some(notice) = notice {
            telling.notice(notice);
        }
        Self {
            session,
            handler,
            watch: Watch::new(tools.clock),
            tools,
            telling,
            inflate: config.inflate,
            decode: config.decode,
            shard: config.shard,
            dice: Dice::new(config.seed),
            control,
            control_open: true,
            connection: None,
            opening: None,
            opening_as: (encoding, compression),
            asking: None,
            grant: None,
            timers: [None; Timer::ALL.len()],
            sleep: Box::pin(tokio::time::sleep(FAR)),
            room: true,
            hang_up: None,
            closing: None,
            stopped: None,
            todo: Vec::new(),
            outgoing: Vec::new(),
            sent_before: 0,
        }
    }

    async fn wait(&mut self) -> Happened {
        let earliest = self.timers.iter().flatten().min();
        let deadline = earliest.map_or_else(|| Instant::now() + FAR, |time| self.tools.clock.instant(*time));
        if self.sleep.deadline() != deadline {
            self.sleep.as_mut().reset(deadline);
        }
        let connection = &mut self.connection;
        tokio::select! {
            biased;
            control = self.control.recv(), if self.control_open => Happened::Control(control),
            granted = ready(&mut self.asking), if self.asking.is_some() => Happened::Granted(granted),
            opened = ready(&mut self.opening), if self.opening.is_some() => Happened::Opened(opened),
            () = self.sleep.as_mut() => Happened::Due,
            message = std::future::poll_fn(|cx| match connection {
                Some(connection) => connection.poll(cx),
                None => Poll::Pending,
            }) => Happened::Message(message),
        }
    }

    /// Answers whether there is perhaps more to read at once.
    async fn take(&mut self, happened: Happened) -> bool {
        match happened {
            Happened::Control(control) => self.controlled(control),
            Happened::Granted(grant) => {
                self.asking = None;
                self.grant = Some(grant);
                self.step(Input::IdentifyGranted, None);
                // What was not used by now goes back to the queue.
                self.grant = None;
            }
            Happened::Opened(opened) => self.opened(opened),
            Happened::Due => self.fire(),
            Happened::Message(message) => return self.read(message).await,
        }
        false
    }

    fn controlled(&mut self, control: Option<ShardControl>) {
        let input = match control {
            Some(ShardControl::Checkpointed { session, s }) => Input::Checkpointed { s, session },
            Some(ShardControl::Command { op, payload }) => Input::Command { op, payload },
            Some(ShardControl::Room(room)) => {
                self.room = room;
                Input::Room(room)
            }
            Some(ShardControl::Restart { fresh }) => Input::Restart { fresh },
            Some(ShardControl::Stop) => Input::Stop,
            Some(ShardControl::End) => Input::End,
            None => {
                self.control_open = false;
                Input::Stop
            }
        };
        self.step(input, None);
    }

    fn opened(&mut self, opened: Result<Socket, ConnectError>) {
        self.opening = None;
        // What was meant for the connection before this one is not meant for it.
        self.hang_up = None;
        self.outgoing.clear();
        let (encoding, compression) = self.opening_as;
        let connection = match opened {
            Ok(socket) => Connection::new(socket, encoding, compression, self.inflate).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match connection {
            Ok(connection) => {
                self.telling.opened();
                self.connection = Some(Box::new(connection));
                self.step(Input::Opened, None);
            }
            Err(why) => {
                self.telling.not_opened(&why);
                self.step(Input::OpenFailed, None);
            }
        }
    }

    fn fire(&mut self) {
        // A large message on a slow link is a sign of life long before it is whole.
        if self.connection.as_mut().is_some_and(|connection| connection.heard()) {
            self.step(Input::Bytes, None);
        }
        let now = self.tools.clock.now();
        let due = Timer::ALL.into_iter().filter_map(|timer| Some((self.timers[timer as usize]?, timer)));
        if let Some((_, timer)) = due.filter(|(at, _)| *at <= now).min_by_key(|(at, _)| *at) {
            self.timers[timer as usize] = None;
            self.step(Input::Fired(timer), None);
        }
    }

    /// Takes a message and those that are there already behind it, up to a turn.
    async fn read(&mut self, first: Option<Result<Message, tokio_websockets::Error>>) -> bool {
        let began = self.watch.look().at;
        let mut first = Some(first);
        let mut frames = 0;
        let mut gathered = SmallVec::<[Gathered; BATCH_MESSAGES]>::new();
        while let Some(mut connection) = self.connection.take() {
            connection.inflater.clear();
            gathered.clear();
            let gathering = self.gather(&mut connection, first.take(), &mut gathered).await;
            self.handle(&connection, &gathered);
            frames += gathered.len().max(1);
            let gone = matches!(gathering, Gathering::Ended(Ended::Closed(_) | Ended::Lost(_) | Ended::BadFrame(_)));
            if gone && self.hang_up.take().is_some() {
                // The peer was first. Nothing can be sent any more, and the library's answer to a close frame would have the peer's code.
                self.outgoing.clear();
                return false;
            }
            if !self.keep(connection) {
                return false;
            }
            match gathering {
                Gathering::Full => {}
                Gathering::Drained => return false,
                Gathering::Ended(ended) => {
                    self.ended(ended);
                    return false;
                }
            }
            // Small messages may cost much: every few of them the clocks are looked at, whatever the bytes say.
            if frames >= TURN_FRAMES || self.watch.look().at.since(began) >= TURN_TIME {
                return true;
            }
        }
        false
    }

    /// Decompresses messages that are there already, up to a batch.
    async fn gather(
        &mut self,
        connection: &mut Connection,
        mut next: Option<Option<Result<Message, tokio_websockets::Error>>>,
        gathered: &mut SmallVec<[Gathered; BATCH_MESSAGES]>,
    ) -> Gathering {
        let mut bytes = 0;
        // Messages that are no frames are bounded too.
        for _ in 0..TURN_FRAMES {
            if gathered.len() >= BATCH_MESSAGES || bytes >= BATCH_BYTES {
                break;
            }
            let message = match next.take() {
                Some(message) => message,
                None => match std::future::poll_fn(|cx| Poll::Ready(connection.poll(cx))).await {
                    Poll::Ready(message) => message,
                    Poll::Pending => return Gathering::Drained,
                },
            };
            let ended = match message {
                Some(Ok(message)) if message.is_close() => {
                    let code = message.as_close().map(|(code, _)| u16::from(code));
                    // 1005 stands for a close frame without a code.
                    Ended::Closed(code.filter(|code| *code != 1005))
                }
                Some(Ok(message)) if !gathered.is_empty() && message.as_payload().len() > LARGE_BYTES => {
                    connection.put_back(message);
                    break;
                }
                Some(Ok(message)) if message.is_binary() || message.is_text() => {
                    let (stats, payload) = (&self.tools.stats, message.as_payload());
                    add(&stats.bytes_compressed, payload.len() as u64);
                    match connection.inflater.append(payload) {
                        Ok(Appended::Part) => {
                            bytes += payload.len();
                            self.step(Input::Bytes, None);
                            continue;
                        }
                        Ok(Appended::Whole(place)) => {
                            add(&stats.frames, 1);
                            add(&stats.bytes_plain, place.len() as u64);
                            bytes += place.len();
                            gathered.push(Gathered::Inflated(place));
                            continue;
                        }
                        Ok(Appended::Plain) => {
                            add(&stats.frames, 1);
                            add(&stats.bytes_plain, payload.len() as u64);
                            bytes += payload.len();
                            gathered.push(Gathered::Plain(message));
                            continue;
                        }
                        Err(error) => Ended::Corrupt(error.to_string()),
                    }
                }
                Some(Ok(_)) => {
                    self.step(Input::Bytes, None);
                    continue;
                }
                Some(Err(tokio_websockets::Error::Io(error))) => Ended::Lost(error.to_string()),
                Some(Err(error)) => Ended::BadFrame(error.to_string()),
                None => Ended::Closed(None),
            };
            return Gathering::Ended(ended);
        }
        Gathering::Full
    }

    /// The end of the connection, behind everything that came over it.
    fn ended(&mut self, ended: Ended) {
        // The connection is dropped as it is: the library would answer a close frame with the same code, and
        // 1000 or 1001 from us would end the session. Only what cannot be read is answered: the session says with which code.
        let input = match ended {
            Ended::Closed(code) => {
                self.connection = None;
                Input::Closed(code)
            }
            Ended::Lost(why) => {
                self.connection = None;
                self.telling.lost(&why);
                Input::Closed(None)
            }
            Ended::BadFrame(why) => {
                self.connection = None;
                self.telling.bad_frame(&why);
                Input::BadFrame
            }
            Ended::Corrupt(why) => {
                self.telling.bad_frame(&why);
                Input::BadFrame
            }
        };
        self.step(input, None);
    }

    /// Puts a connection back after its message was handled, unless the session has done with it.
    fn keep(&mut self, mut connection: Box<Connection>) -> bool {
        for (op, bytes) in self.outgoing.drain(..) {
            connection.send(op, bytes);
        }
        match self.hang_up.take() {
            Some(code) => {
                self.closing = Some(tokio::spawn(connection.close(code)));
                false
            }
            None => {
                self.connection = Some(connection);
                true
            }
        }
    }

    /// Decodes what was gathered and delivers it, one message after the other, until the session has done with the connection.
    fn handle(&mut self, connection: &Connection, gathered: &[Gathered]) {
        let encoding = connection.encoding;
        let messages = gathered.iter().map(|gathered| match gathered {
            Gathered::Inflated(place) => connection.inflater.message(place),
            Gathered::Plain(message) => message.as_payload(),
        });
        let handler = &mut *self.handler;
        let frames =
            batch::decode(messages, encoding, &self.decode, &mut self.watch, |ahead, kind, routing| handler.expect(ahead, kind, routing));
        for frame in &frames {
            if self.hang_up.is_some() || self.stopped.is_some() {
                break;
            }
            self.frame(encoding, frame);
        }
    }

    fn frame(&mut self, encoding: Encoding, frame: &Frame<'_>) {
        match &frame.decoded {
            Ok((envelope, routing)) => self.envelope(Told { encoding, envelope, routing, frame }),
            Err(EnvelopeError::Compressed) => self.compressed(encoding, frame),
            Err(error) => self.undecodable(error),
        }
    }

    /// A peer may send any frame as a compressed term; Discord is not known to.
    #[cold]
    fn compressed(&mut self, encoding: Encoding, frame: &Frame<'_>) {
        let inflated = trunkline_etf::inflate(frame.plain, &self.decode).map_err(EnvelopeError::Term);
        let inflated = match inflated.and_then(|inflated| inflated.ok_or(EnvelopeError::Compressed)) {
            Ok(inflated) => inflated,
            Err(error) => return self.undecodable(&error),
        };
        for frame in &batch::decode([&*inflated], encoding, &self.decode, &mut self.watch, |_, _, _| ()) {
            match &frame.decoded {
                Ok((envelope, routing)) => self.envelope(Told { encoding, envelope, routing, frame }),
                Err(error) => self.undecodable(error),
            }
        }
    }

    fn undecodable(&mut self, error: &EnvelopeError) {
        self.telling.bad_frame(&error.to_string());
        self.step(Input::BadFrame, None);
    }

    fn envelope(&mut self, told: Told<'_>) {
        match self.session.follow(told.envelope, told.frame.stamp.at) {
            Some(Following { session, s }) => self.deliver(session, s, told),
            None => self.step(Input::Frame(told.envelope.clone()), Some(told)),
        }
    }

    /// One input, and everything that follows from it. `frame` is the one that the input is about.
    fn step(&mut self, input: Input<'_>, frame: Option<Told<'_>>) {
        let now = frame.map_or_else(|| self.watch.look(), |told| told.frame.stamp).at;
        let mut todo = std::mem::take(&mut self.todo);
        self.sent_before = self.outgoing.len();
        self.session.step(input, now, &mut self.dice, &mut todo);
        for action in todo.drain(..) {
            self.act(action, frame);
        }
        self.todo = todo;
        if frame.is_none()
            && let Some(connection) = self.connection.take()
        {
            self.keep(connection);
        }
    }

    fn act(&mut self, action: Action, frame: Option<Told<'_>>) {
        match action {
            Action::Deliver { s } => {
                let (Some(frame), Some(point)) = (frame, self.session.resume_point()) else {
                    debug_assert!(false, "a dispatch is delivered out of a frame, inside a session");
                    return;
                };
                self.deliver(point.session, s, frame);
            }
            Action::Duplicate { s } => {
                add(&self.tools.stats.duplicates, 1);
                self.handler.duplicate(s);
            }
            Action::Arm(timer, at) => self.timers[timer as usize] = Some(at),
            Action::Disarm(timer) => self.timers[timer as usize] = None,
            Action::Send { op, bytes } => {
                if op == Op::Identify
                    && let Some(grant) = self.grant.take()
                {
                    grant.used();
                }
                self.outgoing.push((op, bytes));
            }
            Action::Open { url, encoding, compression } => {
                self.opening_as = (encoding, compression);
                let net = self.tools.net.clone();
                self.opening = Some(Box::pin(async move { net.connect(&url).await }));
            }
            Action::AskToIdentify => {
                self.asking = Some(Box::pin(self.tools.identify.ask_on(self.shard)));
            }
            Action::ForgetIdentify => {
                self.asking = None;
                self.grant = None;
            }
            Action::Close(code) => {
                self.opening = None;
                // What frames before this one have sent, commands perhaps, goes out before the close.
                self.outgoing.truncate(self.sent_before);
                self.hang_up = Some(code);
            }
            Action::Ready { session, bot_id, application_id, guilds } => {
                self.telling.ready(session, guilds.len());
                self.handler.ready(Ready { session, bot_id, application_id, guilds: &guilds });
            }
            Action::Resumed { session, replayed } => {
                self.telling.resumed(session, replayed);
                self.handler.resumed(session, replayed);
            }
            Action::SessionLost { cause, session, last_s } => {
                self.telling.session_lost(cause, session, last_s);
                self.handler.session_lost(cause, session, last_s);
            }
            Action::Gap { session, first_s, last_s } => {
                self.telling.gap(session, first_s, last_s);
                self.handler.gap(session, first_s, last_s);
            }
            Action::Report(report) => {
                self.telling.report(&report, self.tools.clock.unix_ms());
                self.handler.report(&report);
            }
            Action::Stopped(reason) => {
                self.telling.stopped(reason);
                self.stopped = Some(reason);
            }
        }
    }

    fn deliver(&mut self, session: u64, s: u64, told: Told<'_>) {
        let Told { encoding, envelope, routing, frame } = told;
        add(&self.tools.stats.events, 1);
        self.handler.dispatch(Dispatched {
            envelope,
            encoding,
            routing: *routing,
            fields: &frame.fields,
            session,
            s,
            received_at: frame.stamp.at,
            received_unix_us: frame.stamp.unix_us,
            room: &frame.room,
        });
    }

    /// After everything that was there: tells where the session stands, and hears whether the log has room.
    fn settle(&mut self) {
        self.handler.settled(self.session.resume_point());
        let stats = &self.tools.stats;
        stats.set_phase(self.session.state().phase);
        let memory = self.connection.as_ref().map_or(0, |connection| connection.inflater.memory_bytes());
        stats.inflate_memory_bytes.store(memory as u64, std::sync::atomic::Ordering::Relaxed);
        let room = self.handler.room();
        if room != self.room {
            self.room = room;
            self.step(Input::Room(room), None);
        }
    }

    async fn end(mut self, reason: StopReason) -> ShardEnd {
        self.opening = None;
        self.asking = None;
        // What the close of the last step has spawned may be cut off when the runtime ends right after this.
        if let Some(closing) = self.closing.take()
            && let Err(error) = closing.await
        {
            tracing::debug!(%error, "a connection was not closed in order");
        }
        ShardEnd { shard: self.shard, reason, point: self.session.resume_point().cloned() }
    }
}

async fn ready<T>(waiting: &mut Waiting<T>) -> T {
    match waiting {
        Some(future) => future.as_mut().await,
        None => std::future::pending().await,
    }
}

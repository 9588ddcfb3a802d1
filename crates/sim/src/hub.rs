//! The whole of the simulated Discord's changing state, and the rules that concern more than one connection: identify, resume,
//! budgets, traffic, faults. One lock; it is held for short work only, never over an await.

mod inject;
mod login;
mod traffic;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::chronicle::{Chronicle, Topic};
use crate::config::Config;
use crate::faults::{Fault, FaultKind};
use crate::kinds::Kind;
use crate::line::Line;
use crate::report::{ClientFault, LISTED_MAX, Report, SentSession, SessionLine};
use crate::session::Session;
use crate::world::{GuildState, World, mix};

const DAY: Duration = Duration::from_secs(86_400);
/// Orders to one connection that wait at most; a connection that lets more pile up is reset.
pub(crate) const ORDERS_MAX: usize = 256;

/// What the rest of the simulator tells a connection's writer.
pub(crate) enum Order {
    /// A payload that is no dispatch.
    Op(u8, OpData),
    /// From now on this session's events.
    Attach(u64),
    Close(u16, &'static str),
    /// How long it lasts, how many events it concerns, and what ends it early.
    Fault(FaultKind, Duration, u32, CancellationToken),
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parting {
    /// The client sent a close frame, with or without a code.
    Client(Option<u16>),
    /// The simulator closed it with this code.
    Server(u16),
    /// Without a close frame of either side.
    Lost,
}

impl Parting {
    /// Whether it ends the session (Discord docs, Gateway: Initiating a Disconnect).
    fn ends_session(self) -> bool {
        matches!(self, Parting::Client(Some(1000 | 1001)))
    }
}

impl std::fmt::Display for Parting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Parting::Client(Some(code)) => write!(f, "closed by the client with {code}"),
            Parting::Client(None) => write!(f, "closed by the client without a code"),
            Parting::Server(code) => write!(f, "closed with {code}"),
            Parting::Lost => write!(f, "the line is gone"),
        }
    }
}

/// `d` of a payload that is no dispatch.
pub(crate) enum OpData {
    Null,
    Bool(bool),
    Hello(u64),
}

/// How the hub reaches a connection.
pub(crate) struct Handle {
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) line: Arc<Line>,
    pub(crate) end: CancellationToken,
    pub(crate) session: Option<u64>,
}

/// The answer to an identify or a resume.
pub(crate) enum Verdict {
    Granted(u64),
    /// Op 9 with `false`.
    Refused,
    Close(u16, &'static str),
}

/// What an identify asks for.
pub(crate) struct Identify {
    pub(crate) token: String,
    pub(crate) intents: u64,
    pub(crate) shard: Option<(u64, u64)>,
    pub(crate) large_threshold: u32,
}

pub(crate) struct BotState {
    last_identify: HashMap<u32, Instant>,
    pub(crate) remaining: u32,
    pub(crate) reset_at: Instant,
    pub(crate) revoked: bool,
    /// Live sessions by shard count and index.
    routes: BTreeMap<u32, Vec<Vec<u64>>>,
    pub(crate) gateway_bot_window: Option<(Instant, u32)>,
    /// Last whole-guild member request per guild.
    pub(crate) member_requests: HashMap<u32, Instant>,
}

pub(crate) struct State {
    pub(crate) guilds: Vec<GuildState>,
    pub(crate) own: Vec<GuildState>,
    pub(crate) sessions: Vec<Session>,
    by_id: HashMap<String, u64>,
    pub(crate) bots: Vec<BotState>,
    pub(crate) connections: HashMap<u64, Handle>,
    windows: Vec<(Fault, Instant)>,
    outages: Vec<(u32, Instant)>,
    /// When a connection was refused last (the fault `refuse`).
    refused_at: Option<Instant>,
    /// Ends the lasting faults that are on; a new one for those to come.
    calm: CancellationToken,
    pub(crate) chronicle: Chronicle,
    pub(crate) report: Report,
    sent_by_kind: Vec<u64>,
    sent_by_shard: BTreeMap<(usize, u32, u32), u64>,
    /// Index of the open range of unseen events per (bot, shard).
    unseen_open: HashMap<(usize, u32), usize>,
    number: u64,
    dice: u64,
    next_connection: u64,
}

/// The simulated Discord.
pub(crate) struct Hub {
    pub(crate) config: Config,
    pub(crate) world: World,
    pub(crate) guild_ids: Arc<Vec<u64>>,
    started: Instant,
    started_unix_ms: u64,
    /// `ws://host:port`, known once the listener is bound.
    pub(crate) gateway_url: String,
    pub(crate) stop: CancellationToken,
    pub(crate) paused: AtomicBool,
    pub(crate) first_session: Notify,
    pub(crate) bytes_plain: AtomicU64,
    pub(crate) bytes_packed: AtomicU64,
    state: Mutex<State>,
}

impl Hub {
    pub(crate) fn new(config: Config, gateway_url: String, started_unix_ms: u64) -> Hub {
        let world = World::new(&config);
        let now = Instant::now();
        let bots = config.bots.iter().map(|bot| BotState {
            last_identify: HashMap::new(),
            remaining: bot.identifies_per_day,
            reset_at: now + DAY,
            revoked: false,
            routes: BTreeMap::new(),
            gateway_bot_window: None,
            member_requests: HashMap::new(),
        });
        let mut guilds: Vec<GuildState> = (0..world.guild_count()).map(|guild| GuildState::at_start(config.seed, guild)).collect();
        for bot in 0..config.bots.len() {
            for guild in world.guilds_of(bot).take(config.unavailable_at_start as usize) {
                guilds[guild as usize].unavailable = true;
            }
        }
        let state = State {
            guilds,
            own: vec![GuildState::default(); config.bots.len()],
            sessions: Vec::new(),
            by_id: HashMap::new(),
            bots: bots.collect(),
            connections: HashMap::new(),
            windows: Vec::new(),
            outages: Vec::new(),
            refused_at: None,
            calm: CancellationToken::new(),
            chronicle: Chronicle::default(),
            report: Report { started_unix_ms, ..Report::default() },
            sent_by_kind: vec![0; Kind::ALL.len()],
            sent_by_shard: BTreeMap::new(),
            unseen_open: HashMap::new(),
            number: 0,
            dice: mix(config.seed),
            next_connection: 0,
        };
        Hub {
            guild_ids: Arc::new((0..world.guild_count()).map(|guild| world.guild_id(guild)).collect()),
            world,
            config,
            started: now,
            started_unix_ms,
            gateway_url,
            stop: CancellationToken::new(),
            paused: AtomicBool::new(false),
            first_session: Notify::new(),
            bytes_plain: AtomicU64::new(0),
            bytes_packed: AtomicU64::new(0),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn since_start_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Wall clock time, which runs with the runtime's (possibly virtual) clock.
    pub(crate) fn unix_ms(&self) -> u64 {
        self.started_unix_ms + self.since_start_ms()
    }

    pub(crate) fn resume_url(&self) -> String {
        format!("{}/resume", self.gateway_url)
    }

    /// Notes something that the client did wrong.
    pub(crate) fn blame(&self, state: &mut State, kind: &'static str, bot: Option<usize>, shard: Option<u32>, text: String) {
        state.report.client_faults_total += 1;
        let who = shard.map_or(String::new(), |shard| format!("shard {shard}: "));
        state.chronicle.tell(Topic::Objection, || format!("the client did wrong: {who}{text} ({kind})"));
        if state.report.client_faults.len() < LISTED_MAX {
            state.report.client_faults.push(self.remark(kind, bot, shard, text));
        }
    }

    /// Notes something that the client did and that is no fault.
    pub(crate) fn note(&self, state: &mut State, kind: &'static str, bot: Option<usize>, shard: Option<u32>, text: String) {
        tracing::debug!(kind, ?shard, text, "note on the client");
        if state.report.notes.len() < LISTED_MAX {
            state.report.notes.push(self.remark(kind, bot, shard, text));
        }
    }

    fn remark(&self, kind: &'static str, bot: Option<usize>, shard: Option<u32>, text: String) -> ClientFault {
        let bot = bot.and_then(|bot| self.world.bots.get(bot)).map(|bot| bot.id);
        ClientFault { kind, at_ms: self.since_start_ms(), bot, shard, text }
    }

    /// The bot with this token, with or without `Bot `.
    pub(crate) fn bot_by_token(&self, state: &State, token: &str) -> Option<usize> {
        let token = token.strip_prefix("Bot ").unwrap_or(token);
        let bot = self.world.bots.iter().position(|bot| bot.token == token)?;
        (!state.bots[bot].revoked).then_some(bot)
    }

    pub(crate) fn connect(&self, orders: mpsc::Sender<Order>, line: Arc<Line>, end: CancellationToken) -> u64 {
        let mut state = self.lock();
        state.next_connection += 1;
        state.report.connections += 1;
        let id = state.next_connection;
        state.connections.insert(id, Handle { orders, line, end, session: None });
        id
    }

    /// A session's bot and shard, for a person.
    pub(crate) fn whose(&self, session: &Session) -> String {
        format!("bot {} shard {} of {}", self.world.bots[session.bot].id, session.shard.0, session.shard.1)
    }

    /// The connection is gone.
    pub(crate) fn disconnect(&self, connection: u64, how: Parting) {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(Handle { session: Some(ordinal), line, .. }) = state.connections.remove(&connection) else {
            return;
        };
        // What the client answers to a close frame is not its own wish.
        let how = match line.closed_with.load(Ordering::Relaxed) {
            0 => how,
            code => Parting::Server(code),
        };
        let session = &mut state.sessions[ordinal as usize - 1];
        if session.connection != Some(connection) {
            return;
        }
        session.connection = None;
        session.detached_at = Some(Instant::now());
        let over = session.ended.is_some() || how.ends_session();
        let then = if over { "it is over" } else { "it can be resumed" };
        let line = || format!("{}: disconnected from session {ordinal}, {how}; {then}", self.whose(session));
        state.chronicle.tell(Topic::Disconnect, line);
        if how.ends_session() {
            self.end_session(state, ordinal, "closed by the client with 1000 or 1001");
        }
    }

    pub(crate) fn end_session(&self, state: &mut State, ordinal: u64, because: &'static str) {
        let session = &mut state.sessions[ordinal as usize - 1];
        if session.ended.is_some() {
            return;
        }
        session.end(self.unix_ms(), because);
        let (bot, (index, count)) = (session.bot, session.shard);
        state.by_id.remove(&session.id);
        let line = || format!("{}: session {ordinal} is over: {because}", self.whose(session));
        state.chronicle.tell(Topic::Disconnect, line);
        if let Some(routes) = state.bots[bot].routes.get_mut(&count) {
            routes[index as usize].retain(|other| *other != ordinal);
            if routes.iter().all(Vec::is_empty) {
                state.bots[bot].routes.remove(&count);
            }
        }
    }

    /// Whether new connections are refused now; notes that one was.
    pub(crate) fn refuses(&self) -> bool {
        let refuses = self.window(FaultKind::Refuse, None).is_some();
        if refuses {
            self.lock().refused_at = Some(Instant::now());
        }
        refuses
    }

    /// Ends sessions that nobody resumed in time, and outages and windows whose time is over.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        let state = &mut *state;
        state.chronicle.sweep();
        let late: Vec<u64> = state
            .sessions
            .iter()
            .filter(|session| session.ended.is_none() && session.detached_at.is_some_and(|at| now - at > self.config.session_ttl))
            .map(|session| session.ordinal)
            .collect();
        for ordinal in late {
            self.end_session(state, ordinal, "not resumed in time");
        }
        state.windows.retain(|(_, until)| *until > now);
        let over: Vec<u32> = state.outages.iter().filter(|(_, until)| *until <= now).map(|(guild, _)| *guild).collect();
        state.outages.retain(|(_, until)| *until > now);
        for guild in over {
            state.guilds[guild as usize].unavailable = false;
            self.emit_guild_create(state, guild);
        }
        for bot in &mut state.bots {
            if bot.reset_at <= now {
                bot.reset_at = now + DAY;
                bot.remaining = self.config.bots.first().map_or(1000, |bot| bot.identifies_per_day);
            }
            bot.member_requests.retain(|_, at| now - *at < Duration::from_secs(30));
        }
    }

    pub(crate) fn report(&self) -> Report {
        let state = self.lock();
        let mut report = state.report.clone();
        report.seconds = self.since_start_ms() as f64 / 1000.0;
        report.bytes_plain = self.bytes_plain.load(Ordering::Relaxed);
        report.bytes_packed = self.bytes_packed.load(Ordering::Relaxed);
        for kind in Kind::ALL {
            let sent = state.sent_by_kind[*kind as usize];
            if sent > 0 {
                report.events_by_kind.insert(kind.name().to_string(), sent);
            }
        }
        for ((bot, index, count), sent) in &state.sent_by_shard {
            report.events_by_shard.insert(format!("{}/{index}/{count}", self.world.bots[*bot].id), *sent);
        }
        report.sessions = state.sessions.iter().map(|session| self.session_line(session)).collect();
        report
    }

    fn session_line(&self, session: &Session) -> SessionLine {
        SessionLine {
            session_id: session.id.clone(),
            ordinal: session.ordinal,
            bot: self.world.bots[session.bot].id,
            shard: session.shard,
            encoding: session.query.encoding,
            compress: session.query.transport,
            intents: session.view.intents,
            last_s: session.last_s(),
            started_unix_ms: session.started_unix_ms,
            ended_unix_ms: session.ended.map(|(at, _)| at),
            ended_because: session.ended.map(|(_, because)| because),
            resumes: session.resumes,
            connected: session.connection.is_some() && session.ended.is_none(),
        }
    }

    pub(crate) fn sent(&self) -> Vec<SentSession> {
        let state = self.lock();
        let sessions = state.sessions.iter().map(|session| SentSession {
            session_id: session.id.clone(),
            ordinal: session.ordinal,
            bot: self.world.bots[session.bot].id,
            shard: session.shard,
            last_s: session.last_s(),
            kinds: session.kinds.clone(),
            guilds: session.guilds.clone(),
            guild_ids: Arc::clone(&self.guild_ids),
        });
        sessions.collect()
    }
}

//! The whole of the simulated Discord's changing state, and the rules that concern more than one connection: identify, resume,
//! budgets, traffic, faults. One lock; it is held for short work only, never over an await.

mod inject;
mod traffic;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::event::Special;
use crate::faults::{Fault, FaultKind};
use crate::kinds::{INTENTS_ALL, Kind, PRIVILEGED};
use crate::line::Line;
use crate::report::{ClientFault, LISTED_MAX, Report, SentSession, SessionLine};
use crate::session::{BadSeq, Query, Session};
use crate::shapes::View;
use crate::world::{GuildState, NO_GUILD, World, mix, shard_of};

/// One identify per key in this time (Discord docs, Gateway: Rate Limiting of identifies).
const IDENTIFY_WINDOW: Duration = Duration::from_secs(5);
/// How long before its session was seen to be without a connection a client's attempt may have been refused.
const REFUSED_BEFORE: Duration = Duration::from_secs(1);
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
    Fault(FaultKind, Duration, u32),
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
        let mut guilds = vec![GuildState::default(); world.guild_count() as usize];
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
        tracing::debug!(kind, ?shard, text, "client fault");
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

    /// The connection is gone. `ended`: the client closed with 1000 or 1001, which ends the session.
    pub(crate) fn disconnect(&self, connection: u64, ended: bool) {
        let mut state = self.lock();
        let Some(Handle { session: Some(ordinal), .. }) = state.connections.remove(&connection) else {
            return;
        };
        let session = &mut state.sessions[ordinal as usize - 1];
        if session.connection == Some(connection) {
            session.connection = None;
            session.detached_at = Some(Instant::now());
            if ended {
                self.end_session(&mut state, ordinal, "closed by the client with 1000 or 1001");
            }
        }
    }

    pub(crate) fn end_session(&self, state: &mut State, ordinal: u64, because: &'static str) {
        let session = &mut state.sessions[ordinal as usize - 1];
        if session.ended.is_some() {
            return;
        }
        session.end(self.unix_ms(), because);
        let (bot, (index, count)) = (session.bot, session.shard);
        state.by_id.remove(&state.sessions[ordinal as usize - 1].id.clone());
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

    pub(crate) fn identify(&self, connection: u64, query: Query, ask: &Identify, at_resume_url: bool) -> Verdict {
        let now = Instant::now();
        let mut state = self.lock();
        let state = &mut *state;
        let index = ask.shard.map(|(index, _)| index as u32);
        let Some(bot) = self.bot_by_token(state, &ask.token) else {
            state.report.identifies_refused += 1;
            self.blame(state, "bad_token", None, index, "identify with a token that no bot has".into());
            return Verdict::Close(4004, "Authentication failed.");
        };
        let refuse = |state: &mut State, kind, code, reason, text| {
            state.report.identifies_refused += 1;
            self.blame(state, kind, Some(bot), index, text);
            Verdict::Close(code, reason)
        };
        let shard = match ask.shard {
            None => None,
            Some((index, count)) => {
                if count == 0
                    || index >= count
                    || count > 1 << 20
                    || !count.is_multiple_of(u64::from(self.config.shards_multiple_of.max(1)))
                {
                    return refuse(state, "invalid_shard", 4010, "Invalid shard.", format!("shard [{index}, {count}]"));
                }
                Some((index as u32, count as u32))
            }
        };
        let (index, count) = shard.unwrap_or((0, 1));
        let mine: Vec<u32> = self.world.guilds_of(bot).filter(|guild| shard_of(self.guild_ids[*guild as usize], count) == index).collect();
        if mine.len() >= self.config.sharding_required_at as usize {
            return refuse(
                state,
                "sharding_required",
                4011,
                "Sharding required.",
                format!("{} guilds on shard [{index}, {count}]", mine.len()),
            );
        }
        if ask.intents & !INTENTS_ALL != 0 {
            return refuse(state, "invalid_intents", 4013, "Invalid intent(s).", format!("intents {}", ask.intents));
        }
        let flags = self.world.bots[bot].flags;
        for (intent, verified, limited) in PRIVILEGED {
            if ask.intents & intent != 0 && flags & (verified | limited) == 0 {
                return refuse(
                    state,
                    "disallowed_intents",
                    4014,
                    "Disallowed intent(s).",
                    format!("intents {}, application flags {flags}", ask.intents),
                );
            }
        }
        if at_resume_url {
            self.blame(state, "identify_at_resume_url", Some(bot), Some(index), "identify on the resume address".into());
        }
        let key = index % self.config.max_concurrency.max(1);
        if let Some(last) = state.bots[bot].last_identify.get(&key)
            && now - *last < IDENTIFY_WINDOW
        {
            let text = format!("shard {index} identified {} ms after another of key {key}", (now - *last).as_millis());
            state.report.identifies_refused += 1;
            self.blame(state, "identify_too_fast", Some(bot), Some(index), text);
            return Verdict::Refused;
        }
        if state.bots[bot].remaining == 0 {
            self.blame(
                state,
                "identify_budget_spent",
                Some(bot),
                Some(index),
                "more identifies in 24 hours than allowed: the token is reset".into(),
            );
            state.report.identifies_refused += 1;
            self.revoke(state, bot);
            return Verdict::Close(4004, "Authentication failed.");
        }
        state.bots[bot].remaining -= 1;
        state.bots[bot].last_identify.insert(key, now);
        state.report.identifies += 1;

        let ordinal = state.sessions.len() as u64 + 1;
        let id = format!("{:016x}{:016x}", mix(self.config.seed ^ ordinal), mix(self.started_unix_ms ^ ordinal << 20));
        let view = View { intents: ask.intents, large_threshold: ask.large_threshold };
        state.sessions.push(Session::new(
            ordinal,
            id.clone(),
            bot,
            (index, count),
            view,
            query,
            connection,
            self.unix_ms(),
            self.config.record_events_max,
        ));
        state.by_id.insert(id.clone(), ordinal);
        let routes = state.bots[bot].routes.entry(count).or_insert_with(|| vec![Vec::new(); count as usize]);
        routes[index as usize].push(ordinal);
        if let Some(handle) = state.connections.get_mut(&connection) {
            handle.session = Some(ordinal);
        }
        state.unseen_open.clear();
        let stubs = mine.iter().map(|guild| self.guild_ids[*guild as usize]).collect();
        let ready = Special::Ready { session_id: id, resume_url: self.resume_url(), shard, stubs };
        self.push_special(state, ordinal, Kind::Ready, NO_GUILD, ready);
        if ask.intents & 1 != 0 {
            for guild in mine {
                let snapshot = state.guilds[guild as usize].clone();
                self.push_special(state, ordinal, Kind::GuildCreate, guild, Special::Guild(snapshot));
            }
        }
        self.first_session.notify_one();
        Verdict::Granted(ordinal)
    }

    /// Too many identifies: the token is worth nothing any more and all sessions end.
    fn revoke(&self, state: &mut State, bot: usize) {
        state.bots[bot].revoked = true;
        let live: Vec<u64> =
            state.sessions.iter().filter(|session| session.bot == bot && session.ended.is_none()).map(|s| s.ordinal).collect();
        for ordinal in live {
            if let Some(handle) = state.sessions[ordinal as usize - 1].connection.and_then(|id| state.connections.get(&id)) {
                let _ = handle.orders.try_send(Order::Close(4004, "Authentication failed."));
            }
            self.end_session(state, ordinal, "token reset");
        }
    }

    pub(crate) fn resume(&self, connection: u64, query: Query, token: &str, session_id: &str, seq: u64, at_resume_url: bool) -> Verdict {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(bot) = self.bot_by_token(state, token) else {
            state.report.resumes_refused += 1;
            self.blame(state, "bad_token", None, None, "resume with a token that no bot has".into());
            return Verdict::Close(4004, "Authentication failed.");
        };
        let found = state.by_id.get(session_id).copied().filter(|ordinal| state.sessions[*ordinal as usize - 1].bot == bot);
        let expired = |session: &Session| session.detached_at.is_some_and(|at| at.elapsed() > self.config.session_ttl);
        let Some(ordinal) = found else {
            state.report.resumes_refused += 1;
            return Verdict::Refused;
        };
        let at = ordinal as usize - 1;
        if expired(&state.sessions[at]) {
            state.report.resumes_refused += 1;
            self.end_session(state, ordinal, "not resumed in time");
            return Verdict::Refused;
        }
        let shard = Some(state.sessions[at].shard.0);
        // Where the resume address could not be reached, going back to the main one is what a client should do. Its close of the old
        // connection may be noticed here only after its first attempt at a new one.
        let unreachable = |(refused, detached): (Instant, Instant)| refused + REFUSED_BEFORE >= detached;
        let unreachable = state.refused_at.zip(state.sessions[at].detached_at).is_some_and(unreachable);
        if !at_resume_url && !unreachable {
            self.blame(state, "resume_not_at_resume_url", Some(bot), shard, "resume on the main address".into());
        }
        if state.sessions[at].query != query {
            let text = format!("session began with {:?}, resume has {:?}", state.sessions[at].query, query);
            self.blame(state, "resume_with_other_query", Some(bot), shard, text);
        }
        match state.sessions[at].rewind(seq) {
            Ok(replayed) => state.report.events_replayed += replayed,
            Err(why) => {
                state.report.resumes_refused += 1;
                let last = state.sessions[at].last_s();
                let text = format!("resume at {seq}, last sent {last}, last heartbeat {}", state.sessions[at].acked);
                return match why {
                    BadSeq::Ahead => {
                        self.blame(state, "resume_seq_ahead", Some(bot), shard, text);
                        self.end_session(state, ordinal, "resumed with an invalid seq");
                        Verdict::Close(4007, "Invalid seq.")
                    }
                    BadSeq::Trimmed => {
                        self.blame(state, "resume_below_heartbeat", Some(bot), shard, text);
                        self.end_session(state, ordinal, "resumed below its last heartbeat");
                        Verdict::Close(4007, "Invalid seq.")
                    }
                    BadSeq::Forgotten => {
                        self.end_session(state, ordinal, "resumed below its replay buffer");
                        Verdict::Refused
                    }
                };
            }
        }
        // A connection that still holds the session loses it.
        let old = state.sessions[at].connection.replace(connection);
        if let Some(handle) = old.filter(|old| *old != connection).and_then(|old| state.connections.get(&old)) {
            handle.end.cancel();
        }
        state.sessions[at].detached_at = None;
        state.sessions[at].resumes += 1;
        state.report.resumes += 1;
        if let Some(handle) = state.connections.get_mut(&connection) {
            handle.session = Some(ordinal);
        }
        let event = self.plain_event(state, Kind::Resumed, NO_GUILD);
        self.push(state, ordinal, event);
        Verdict::Granted(ordinal)
    }

    pub(crate) fn heartbeat(&self, connection: u64, seq: Option<u64>) {
        let mut state = self.lock();
        let state = &mut *state;
        state.report.heartbeats += 1;
        let Some(ordinal) = state.connections.get(&connection).and_then(|handle| handle.session) else {
            return;
        };
        let session = &mut state.sessions[ordinal as usize - 1];
        if let Some(seq) = seq {
            if seq > session.last_s() {
                let (bot, shard, text) =
                    (session.bot, session.shard.0, format!("heartbeat names {seq}, last sent is {}", session.last_s()));
                self.blame(state, "heartbeat_seq_ahead", Some(bot), Some(shard), text);
                return;
            }
            session.acked = session.acked.max(seq);
            if self.config.trim_replay_at_heartbeat {
                session.trim();
            }
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

//! Members that Discord does not tell of by itself: one task a bot that asks for them within Discord's limits, and the way to it.
//!
//! The mind is `trunkline_cache::requests`; here it gets its clock, what the cores tell it (guilds, chunks, limits), and its commands sent.
//! Cores tell by a bounded channel and never wait: what does not fit is dropped and counted, and the request is asked again when its answer
//! does not come.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use trunkline_cache::requests::{Action, AskId, Input, Progress, RequestLimits, Requests, Wanted};
use trunkline_cache::{Cache, Kind};
use trunkline_discord::{Encoding, Event, EventKind, GuildOrigin, Object, Op, ShardId, Time};
use trunkline_doors::look::{Asked, Asking as Fetching};
use trunkline_doors::members::{CHUNKS_QUEUED, Management, MemberRequest, ShardStanding, Soon, Told};
use trunkline_doors::{Looker, MemberSource};
use trunkline_etf::{JsonWriter, TermWrite, Value};
use trunkline_gateway::{Clock, ShardControl, ShardStats};
use trunkline_session::Phase;
use trunkline_wire::gateway::ShardStatus;

use super::core::CoreInput;
use super::node::Shared;
use crate::config::Members;

/// What cores may tell a bot's task before it is read.
const NEWS_QUEUED: usize = 8_192;

/// What of it is read in one turn, which must not keep the runtime's other tasks waiting.
const NEWS_AT_ONCE: usize = 256;

/// Callers' requests that may wait for the task.
const ASKS_QUEUED: usize = 1_024;

/// How long a lookup waits for members that it missed.
const FETCH_PATIENCE: Duration = Duration::from_secs(3);

/// How often progress is told while whole guilds are fetched.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// A guild that READY named and that has not come for so long does not hold up "connected" any more.
const GUILD_PATIENCE: Duration = Duration::from_secs(60);

/// What a core tells.
pub enum News {
    /// A session begins, with these guilds, or goes on.
    Up {
        /// The shard's index.
        shard: u32,
        /// The guilds that READY names; none for a session that was resumed.
        guilds: Option<Vec<u64>>,
    },
    /// A session is lost.
    Down {
        /// The shard's index.
        shard: u32,
    },
    /// A guild came whole.
    Guild {
        /// The shard's index.
        shard: u32,
        /// Its id.
        guild: u64,
        /// Members by Discord's count.
        told: u64,
        /// Members in the cache.
        held: u64,
    },
    /// A guild is gone.
    GuildGone {
        /// The shard's index.
        shard: u32,
        /// Its id.
        guild: u64,
    },
    /// A guild has an outage.
    GuildAway {
        /// Its id.
        guild: u64,
    },
    /// Somebody joined.
    Joined {
        /// The guild.
        guild: u64,
        /// The user.
        user: u64,
    },
    /// A USER_UPDATE: the bot itself has changed. Discord tells shard 0 alone; all its shards' caches are to know.
    OwnUser(Arc<Event>),
    /// A GUILD_MEMBERS_CHUNK, already applied.
    Chunk(Arc<Event>),
    /// A RATE_LIMITED.
    RateLimited(Arc<Event>),
}

/// A core's way to a bot's task.
#[derive(Clone)]
pub struct NewsLink {
    eager: bool,
    sender: mpsc::Sender<News>,
    dropped: Arc<AtomicU64>,
    /// Discord has answered a member request: only then does anybody remember who is no member, and want to know who joins.
    answered: Arc<AtomicBool>,
}

impl NewsLink {
    fn tell(&self, news: News) {
        if self.sender.try_send(news).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A shard's session begins (`guilds`: those of its READY) or was resumed.
    pub fn up(&self, shard: ShardId, guilds: Option<&[u64]>) {
        self.tell(News::Up { shard: shard.index, guilds: guilds.map(<[u64]>::to_vec) });
    }

    /// A shard's session is lost.
    pub fn down(&self, shard: ShardId) {
        self.tell(News::Down { shard: shard.index });
    }

    /// A session goes on after a restart, so that its guilds are not told again: those that are not complete are told here.
    pub fn restored(&self, shard: ShardId, cache: &Cache) {
        for guild in cache.guild_ids().filter(|_| self.eager) {
            let told = cache.guild(guild).and_then(|found| found.object.value().get("member_count")?.as_u64()).unwrap_or(0);
            self.tell(News::Guild { shard: shard.index, guild, told, held: members_of(cache, guild) });
        }
    }

    /// An event that was applied. Most are none of ours and cost a comparison.
    pub fn event(&self, cache: &Cache, event: &Arc<Event>) {
        let shard = event.shard.index;
        let d = || event.value();
        match event.kind {
            EventKind::GuildCreate | EventKind::GuildDelete => {
                let Some(guild) = d().get("id").and_then(Value::as_id) else { return };
                let gone = event.kind == EventKind::GuildDelete;
                if d().get("unavailable").and_then(Value::as_bool) == Some(true) {
                    return self.tell(News::GuildAway { guild });
                }
                if gone {
                    return self.tell(News::GuildGone { shard, guild });
                }
                let told = d().get("member_count").and_then(Value::as_u64).unwrap_or(0);
                let mut held = members_of(cache, guild);
                if event.origin == Some(GuildOrigin::Available) {
                    // Who left and who came in an outage nobody has told: as many as there are is not the same as those.
                    held = held.min(d().get("members").map_or(0, |members| members.len() as u64));
                }
                self.tell(News::Guild { shard, guild, told, held });
            }
            // A joining is in the same shard as the answer that it makes untrue, so that it cannot overtake it here.
            EventKind::GuildMemberAdd if self.answered.load(Ordering::Relaxed) => {
                let user = d().get("user").and_then(|user| user.get("id")).and_then(Value::as_id);
                if let Some((guild, user)) = event.routing.guild_id.zip(user) {
                    self.tell(News::Joined { guild, user });
                }
            }
            EventKind::UserUpdate => self.tell(News::OwnUser(event.clone())),
            EventKind::GuildMembersChunk => {
                self.answered.store(true, Ordering::Relaxed);
                self.tell(News::Chunk(event.clone()));
            }
            EventKind::RateLimited => self.tell(News::RateLimited(event.clone())),
            _ => {}
        }
    }
}

fn members_of(cache: &Cache, guild: u64) -> u64 {
    cache.counts(guild).find(|(kind, _)| *kind == Kind::Member).map_or(0, |(_, count)| count as u64)
}

enum Ask {
    Members { request: MemberRequest, chunks: Option<mpsc::Sender<Told>>, done: Option<oneshot::Sender<bool>> },
    Progress(oneshot::Sender<Progress>),
    Shards(oneshot::Sender<Vec<ShardStanding>>),
}

/// The way to a bot's task.
#[derive(Clone)]
struct Handle {
    mode: Members,
    asks: mpsc::Sender<Ask>,
    dropped: Arc<AtomicU64>,
}

/// The tasks of all bots that are up. Cheap to clone.
#[derive(Clone, Default)]
pub struct MemberTasks(Arc<RwLock<HashMap<u64, Handle>>>);

impl std::fmt::Debug for MemberTasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemberTasks")
    }
}

impl MemberTasks {
    fn of(&self, bot: u64) -> Option<Handle> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&bot).cloned()
    }

    /// News of cores that did not fit, over all bots.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let tasks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tasks.values().map(|task| task.dropped.load(Ordering::Relaxed)).sum()
    }

    /// How far each bot is, for metrics and status.
    pub async fn progress(&self) -> BTreeMap<u64, Progress> {
        let bots: Vec<u64> = self.0.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        let mut found = BTreeMap::new();
        for bot in bots {
            let Some(task) = self.of(bot) else { continue };
            let (answer, progress) = oneshot::channel();
            if task.asks.try_send(Ask::Progress(answer)).is_ok()
                && let Ok(progress) = progress.await
            {
                found.insert(bot, progress);
            }
        }
        found
    }
}

/// Starts a bot's task; it ends with the process.
#[must_use]
pub fn start(shared: &Shared, bot: u64, name: &str, mode: Members, shards: &[(ShardId, Arc<ShardStats>)]) -> NewsLink {
    let (sender, news) = mpsc::channel(NEWS_QUEUED);
    let (asks, asked) = mpsc::channel(ASKS_QUEUED);
    let dropped = Arc::<AtomicU64>::default();
    let life = u32::try_from(shared.started_unix_ms / 1_000 % u64::from(u32::MAX)).unwrap_or(0);
    let task = Task {
        bot,
        name: name.to_owned(),
        clock: shared.clock,
        looker: shared.looker.clone(),
        requests: Requests::new(RequestLimits::default(), mode == Members::Eager, life),
        asking: HashMap::new(),
        next: 0,
        shards: shards.iter().map(|(shard, stats)| (shard.index, Standing::new(*shard, stats.clone()))).collect(),
        told_at: None,
        own_user: Arc::default(),
    };
    shared.members.0.write().unwrap_or_else(PoisonError::into_inner).insert(bot, Handle { mode, asks, dropped: dropped.clone() });
    tokio::spawn(task.run(news, asked));
    NewsLink { eager: mode == Members::Eager, sender, dropped, answered: Arc::default() }
}

/// A shard as the task sees it.
struct Standing {
    shard: ShardId,
    stats: Arc<ShardStats>,
    /// Guilds that READY named and that have not come, and since when.
    awaited: HashSet<u64>,
    since: Option<Time>,
    events: u64,
    rate: u32,
}

impl Standing {
    fn new(shard: ShardId, stats: Arc<ShardStats>) -> Standing {
        Standing { shard, stats, awaited: HashSet::new(), since: None, events: 0, rate: 0 }
    }

    fn status(&self, now: Time) -> ShardStatus {
        match self.stats.phase() {
            Phase::Idle | Phase::Stopped => ShardStatus::Disconnected,
            Phase::Live if !self.awaited.is_empty() && self.since.is_some_and(|since| now.since(since) < GUILD_PATIENCE) => {
                ShardStatus::GuildStream
            }
            Phase::Live => ShardStatus::Connected,
            _ => ShardStatus::Connecting,
        }
    }
}

/// A caller.
struct Asking {
    chunks: Option<mpsc::Sender<Told>>,
    done: Option<oneshot::Sender<bool>>,
}

struct Task {
    bot: u64,
    name: String,
    clock: Clock,
    looker: Looker,
    requests: Requests,
    asking: HashMap<AskId, Asking>,
    next: u64,
    shards: BTreeMap<u32, Standing>,
    told_at: Option<Time>,
    /// The bot itself, as a USER_UPDATE told last.
    own_user: Arc<Mutex<Option<Arc<Event>>>>,
}

impl Task {
    async fn run(mut self, mut news: mpsc::Receiver<News>, mut asked: mpsc::Receiver<Ask>) {
        let mut every_second = tokio::time::interval(Duration::from_secs(1));
        every_second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut out = Vec::new();
        loop {
            let now = self.clock.now();
            let wake = self.requests.tick(now, &mut out);
            self.carry_out(&mut out, None);
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(self.clock.instant(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                told = news.recv() => {
                    let Some(told) = told else { return };
                    self.take(told, &mut out);
                    // What has come meanwhile, so that many guilds at once cost one look at all shards.
                    for _ in 1..NEWS_AT_ONCE {
                        let Ok(told) = news.try_recv() else { break };
                        self.take(told, &mut out);
                    }
                }
                ask = asked.recv() => match ask {
                    Some(ask) => self.ask(ask, &mut out),
                    None => return,
                },
                () = sleep => {}
                _ = every_second.tick() => self.each_second(),
            }
        }
    }

    fn take(&mut self, news: News, out: &mut Vec<Action>) {
        let now = self.clock.now();
        match news {
            News::Up { shard, guilds } => {
                self.requests.step(Input::ShardUp { shard, resumed: guilds.is_none() }, now, out);
                if let Some((standing, guilds)) = self.shards.get_mut(&shard).zip(guilds) {
                    standing.awaited = guilds.into_iter().collect();
                    standing.since = Some(now);
                }
            }
            News::Down { shard } => self.requests.step(Input::ShardDown { shard }, now, out),
            News::Guild { shard, guild, told, held } => {
                if let Some(standing) = self.shards.get_mut(&shard) {
                    standing.awaited.remove(&guild);
                }
                self.requests.step(Input::Guild { guild, shard, told, held }, now, out);
            }
            News::GuildGone { shard, guild } => {
                if let Some(standing) = self.shards.get_mut(&shard) {
                    standing.awaited.remove(&guild);
                }
                self.requests.step(Input::GuildGone { guild }, now, out);
            }
            News::GuildAway { guild } => self.requests.step(Input::GuildAway { guild }, now, out),
            News::OwnUser(event) => self.tell_own_user(event),
            News::Joined { guild, user } => self.requests.step(Input::Joined { guild, user }, now, out),
            News::Chunk(event) => {
                let d = event.value();
                let [nonce, guild, index, count, members, not_found] =
                    d.get_all(["nonce", "guild_id", "chunk_index", "chunk_count", "members", "not_found"]);
                let number =
                    |value: Option<Value<'_>>| value.and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
                let nonce = nonce.and_then(Value::as_str);
                // Hardly any chunk answers a request by ids, and one that does is small.
                let by_ids = nonce.as_deref().is_some_and(|nonce| self.requests.wants_users(nonce));
                let listed = members.iter().flat_map(|list| list.items()).filter(|_| by_ids);
                let users: Vec<u64> = listed.filter_map(|member| member.get("user")?.get("id")?.as_id()).collect();
                let absent: Vec<u64> = not_found.iter().flat_map(|list| list.items()).filter_map(Value::as_id).collect();
                let chunk = Input::Chunk {
                    nonce: nonce.as_deref(),
                    guild: guild.and_then(Value::as_id).unwrap_or(0),
                    index: number(index),
                    count: number(count),
                    members: members.map_or(0, |list| list.len() as u64),
                    users: &users,
                    not_found: &absent,
                };
                self.requests.step(chunk, now, out);
                self.carry_out(out, Some(&event));
            }
            News::RateLimited(event) => {
                let [opcode, retry_after, meta] = event.value().get_all(["opcode", "retry_after", "meta"]);
                if opcode.and_then(Value::as_u64) != Some(8) {
                    return;
                }
                let seconds = retry_after.and_then(|value| value.as_f64().or_else(|| Some(value.as_u64()? as f64))).unwrap_or(1.0);
                let guild = meta.and_then(|meta| meta.get("guild_id")).and_then(Value::as_id).unwrap_or(0);
                let nonce = meta.and_then(|meta| meta.get("nonce")).and_then(Value::as_str);
                let retry_after = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(1));
                tracing::info!(bot = %self.bot, guild, "Discord limits member requests: asking again in {seconds} s");
                self.requests.step(Input::RateLimited { nonce: nonce.as_deref(), guild, retry_after }, now, out);
            }
        }
    }

    /// Every shard but the one that was told by Discord gets the bot's own user as it is now: of two changes in a row a shard that is slow to hear of
    /// the first one is told the second.
    fn tell_own_user(&self, event: Arc<Event>) {
        let from = event.shard;
        *self.own_user.lock().unwrap_or_else(PoisonError::into_inner) = Some(event);
        for shard in self.shards.values().map(|standing| standing.shard).filter(|shard| *shard != from) {
            let (looker, latest) = (self.looker.clone(), self.own_user.clone());
            tokio::spawn(async move {
                let told = looker.on_shard(shard, move |cache| {
                    let event = latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    if let Some(event) = event {
                        cache.apply(event.kind, event.value(), &event.body);
                    }
                });
                if let Err(error) = told.await {
                    // Its next READY tells it, and so do the updates of the own member.
                    tracing::debug!(bot = %shard.bot, shard = shard.index, "the bot's own user has changed, and the shard could not be told: {error}");
                }
            });
        }
    }

    fn ask(&mut self, ask: Ask, out: &mut Vec<Action>) {
        let now = self.clock.now();
        match ask {
            Ask::Progress(answer) => drop(answer.send(self.requests.progress(now))),
            Ask::Shards(answer) => {
                let shards = self.shards.values();
                let each =
                    shards.map(|shard| ShardStanding { shard: shard.shard.index, status: shard.status(now), event_rate: shard.rate });
                drop(answer.send(each.collect()));
            }
            Ask::Members { request, chunks, done } => {
                self.next += 1;
                let ask = AskId(self.next);
                self.asking.insert(ask, Asking { chunks, done });
                let shard = self.shards.values().next().map_or(0, |any| trunkline_discord::shard_of(request.guild, any.shard.count));
                let MemberRequest { guild, wanted, presences, .. } = request;
                // A lookup has seconds, and whoever asked can ask again; a stream has been promised what it asked for.
                let patient = self.asking.get(&ask).is_some_and(|asking| asking.chunks.is_some());
                self.requests.step(Input::Ask { ask, guild, shard, wanted, presences, patient }, now, out);
                self.carry_out(out, None);
            }
        }
    }

    /// Carries out what the mind wants done; `chunk` is the one that it was just told of.
    fn carry_out(&mut self, out: &mut Vec<Action>, chunk: Option<&Arc<Event>>) {
        for action in std::mem::take(out) {
            match action {
                Action::Send { shard, guild, wanted, presences, nonce } => {
                    let Some(standing) = self.shards.get(&shard) else { continue };
                    let payload = command(guild, &wanted, presences, &nonce);
                    let (looker, shard, bot) = (self.looker.clone(), standing.shard, self.bot);
                    // In a task of its own: a core that is slow to take it holds up nobody else. The mind bounds how many there are.
                    tokio::spawn(async move {
                        if let Err(error) = looker.command(shard, Op::RequestGuildMembers, payload).await {
                            // It is asked again when no answer comes.
                            tracing::debug!(%bot, guild, "a member request was not sent: {error}");
                        }
                    });
                }
                Action::Chunk { asks } => {
                    let Some(event) = chunk else { continue };
                    for (ask, users) in asks {
                        let Some(asking) = self.asking.get_mut(&ask) else { continue };
                        // The last place is for how it ends.
                        if let Some(chunks) = &asking.chunks
                            && (chunks.capacity() < 2 || chunks.try_send(Told::Chunk { event: event.clone(), users }).is_err())
                        {
                            // Too slow, or gone: its stream ends, and says so.
                            chunks.try_send(Told::TooSlow).ok();
                            self.asking.remove(&ask);
                            self.requests.step(Input::Cancel { ask }, self.clock.now(), &mut Vec::new());
                        }
                    }
                }
                Action::Answered { ask, outcome } => {
                    let Some(asking) = self.asking.remove(&ask) else { continue };
                    if let Some(done) = asking.done {
                        done.send(outcome.is_ok()).ok();
                    }
                    if let Some(chunks) = asking.chunks {
                        // There is a place for it, unless the caller has gone.
                        chunks.try_send(Told::Done(outcome.map_err(|refusal| refusal.to_string()))).ok();
                    }
                }
            }
        }
    }

    fn each_second(&mut self) {
        let now = self.clock.now();
        for shard in self.shards.values_mut() {
            let events = shard.stats.events.load(Ordering::Relaxed);
            shard.rate = u32::try_from(events.saturating_sub(shard.events)).unwrap_or(u32::MAX);
            shard.events = events;
        }
        // Callers that have gone are not asked for.
        let gone: Vec<AskId> = self
            .asking
            .iter()
            .filter(|(_, asking)| {
                asking.chunks.as_ref().is_some_and(mpsc::Sender::is_closed) || asking.done.as_ref().is_some_and(oneshot::Sender::is_closed)
            })
            .map(|(ask, _)| *ask)
            .collect();
        for ask in gone {
            self.asking.remove(&ask);
            self.requests.step(Input::Cancel { ask }, now, &mut Vec::new());
        }
        let progress = self.requests.progress(now);
        let busy = progress.guilds_done < progress.guilds;
        if busy && self.told_at.is_none_or(|at| now.since(at) >= PROGRESS_EVERY) {
            self.told_at = Some(now);
            let left = progress.left.map(|left| format!(", about {} s left", left.as_secs())).unwrap_or_default();
            tracing::info!(
                bot = %self.bot,
                "{}: fetching members: {} of {} guilds, {} of {} members{left}",
                self.name,
                progress.guilds_done,
                progress.guilds,
                progress.members_come,
                progress.members
            );
        } else if !busy && self.told_at.take().is_some() {
            tracing::info!(bot = %self.bot, "{}: the members of all {} guilds are here: {}", self.name, progress.guilds, progress.members_come);
        }
    }
}

/// The `d` of an op 8 (Discord docs, Gateway Events: Request Guild Members).
fn command(guild: u64, wanted: &Wanted, presences: bool, nonce: &str) -> Object {
    let mut w = JsonWriter::new();
    w.begin_map(5);
    w.key("guild_id");
    w.id(guild);
    match wanted {
        Wanted::All => {
            w.key("query");
            w.str("");
            w.key("limit");
            w.uint(0);
        }
        Wanted::Query { text, limit } => {
            w.key("query");
            w.str(text);
            w.key("limit");
            w.uint(u64::from(*limit));
        }
        Wanted::Ids(ids) => {
            w.key("user_ids");
            w.begin_list(ids.len());
            ids.iter().for_each(|id| w.id(*id));
            w.end_list();
        }
    }
    w.key("presences");
    w.bool(presences);
    w.key("nonce");
    w.str(nonce);
    w.end_map();
    Object { encoding: Encoding::Json, bytes: w.into_vec().into() }
}

/// Members and shards for the doors.
pub struct Source {
    shared: Shared,
}

impl Source {
    /// Of this node.
    #[must_use]
    pub fn new(shared: Shared) -> Source {
        Source { shared }
    }
}

impl MemberSource for MemberTasks {
    fn asks(&self, bot: u64) -> bool {
        self.of(bot).is_some_and(|task| task.mode != Members::None)
    }

    fn ask<'a>(&'a self, bot: u64, guild: u64, users: &'a [u64]) -> Fetching<'a> {
        Box::pin(async move {
            let Some(task) = self.of(bot).filter(|task| task.mode != Members::None) else { return Asked::Nobody };
            let (done, fetched) = oneshot::channel();
            let request = MemberRequest { bot, guild, wanted: Wanted::Ids(users.to_vec()), presences: false };
            if task.asks.try_send(Ask::Members { request, chunks: None, done: Some(done) }).is_err() {
                return Asked::NoAnswer;
            }
            match tokio::time::timeout(FETCH_PATIENCE, fetched).await {
                Ok(Ok(true)) => Asked::Discord,
                _ => Asked::NoAnswer,
            }
        })
    }
}

impl Management for Source {
    fn request(&self, request: MemberRequest) -> Soon<'_, Result<mpsc::Receiver<Told>, String>> {
        Box::pin(async move {
            let task = self.shared.members.of(request.bot).ok_or("the bot is still coming up; try again in a few seconds")?;
            let (chunks, told) = mpsc::channel(CHUNKS_QUEUED);
            let ask = Ask::Members { request, chunks: Some(chunks), done: None };
            task.asks.try_send(ask).map_err(|_| "too many member requests wait already; try again later".to_owned())?;
            Ok(told)
        })
    }

    fn progress(&self, bot: u64) -> Soon<'_, Option<Progress>> {
        Box::pin(async move {
            let (answer, progress) = oneshot::channel();
            self.shared.members.of(bot)?.asks.send(Ask::Progress(answer)).await.ok()?;
            progress.await.ok()
        })
    }

    fn shards(&self, bot: u64) -> Soon<'_, Vec<ShardStanding>> {
        Box::pin(async move {
            let Some(task) = self.shared.members.of(bot) else { return Vec::new() };
            let (answer, shards) = oneshot::channel();
            if task.asks.send(Ask::Shards(answer)).await.is_err() {
                return Vec::new();
            }
            shards.await.unwrap_or_default()
        })
    }

    fn restart(&self, shard: ShardId) -> Soon<'_, bool> {
        Box::pin(async move {
            let (answer, handed) = oneshot::channel();
            let control = ShardControl::Restart { fresh: false };
            let sent = self.shared.core_of(shard).is_some_and(|core| core.send(CoreInput::Control { shard, control, answer }).is_ok());
            sent && handed.await.unwrap_or(false)
        })
    }
}

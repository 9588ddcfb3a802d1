//! The bridge from doors to cores: a question about a bot's cache runs on the core that owns the cache.
//!
//! Caches are never shared: whoever wants to know something sends a closure ([`Look`]) to the core, which runs a bounded
//! number of them between two frames ([`LOOKS_AT_ONCE`]) and goes on. [`Directory`] says which core that is, and [`Looker`] finds the way,
//! waits a bounded time ([`LOOK_PATIENCE`]), and says in plain words why there is no answer.
//!
//! What would take a core long is asked in steps (`in_steps`), each a look of its own.
//!
//! What never happens here: no lock is held while a core works (the directory is read before and let go), no question
//! waits for ever, none runs whose asker has given up. Invariant: a look does little work, in proportion to what it
//! answers and never to all that a cache holds; what takes long (conversion, encoding) happens at the door.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use trunkline_cache::{Cache, CacheConfig, Found, Step};
use trunkline_discord::{Intents, Object, Op, ShardId, shard_of};

use crate::access::Scope;

/// Looks that may wait for one core. At 20 000 lookups a second that is 50 ms of a core that does not come round to them.
pub const LOOKS_QUEUED: usize = 1_024;

/// Looks that a core runs before it turns to its sockets again: some tens of microseconds.
pub const LOOKS_AT_ONCE: usize = 64;

/// … and for no longer than this, if they are large ones: what a socket may well wait.
pub const LOOKS_FOR: Duration = Duration::from_millis(1);

/// How long an asker waits for a core, room in its queue and the answer together. A core answers within milliseconds;
/// one that does not within this is in trouble, and the asker is better told.
pub const LOOK_PATIENCE: Duration = Duration::from_secs(2);

/// What a core lends to a look: its shards' caches, and the way to their sessions. Implemented by the core.
pub trait Caches {
    /// The shards of this core whose caches can be looked at.
    fn shards(&self) -> Vec<ShardId>;

    /// A shard's cache; none when the core does not hold the shard (yet, or any more).
    fn cache(&self, shard: ShardId) -> Option<&Cache>;

    /// The same, to change what a cache keeps for lookups alone (search indexes).
    fn cache_mut(&mut self, shard: ShardId) -> Option<&mut Cache>;

    /// Whether the shard has been told anything: until then, that something is not in its cache does not mean that it is not there.
    fn told(&self, _shard: ShardId) -> bool {
        true
    }

    /// Hands a command for Discord to a shard's session, which sends it when its budget (120 per 60 s) allows.
    ///
    /// # Errors
    /// It was not handed over.
    fn command(&mut self, shard: ShardId, op: Op, payload: Object) -> Result<(), CommandRefused>;
}

/// A question as a core runs it. It must not block, and should do no more than it must.
pub type Look = Box<dyn FnOnce(&mut dyn Caches) + Send>;

/// Why a shard did not take a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefused {
    /// The shard is not on this core, or its session has ended for good.
    #[error("the shard does not run")]
    NotRunning,
    /// Too many commands wait for the shard already.
    #[error("too many commands wait for the shard already; Discord takes 120 in 60 s; try again later")]
    Full,
}

/// Why a question has no answer. Each one's text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// No bot of this id runs here.
    #[error("bot {bot} does not run in this process; its bots are {}", Listed(.known))]
    UnknownBot {
        /// The id asked for.
        bot: u64,
        /// Those that run.
        known: Vec<u64>,
    },
    /// A bot is configured that has not come up, and it may be the one asked for.
    #[error("not every bot of this process has come up yet; try again in a few seconds")]
    Starting,
    /// No bot was named, and several run here.
    #[error("several bots run in this process ({}); name one", Listed(.known))]
    WhichBot {
        /// Those that run.
        known: Vec<u64>,
    },
    /// Several bots hold the guild, and none was named.
    #[error("several bots of this process are in guild {guild} ({}); name one", Listed(.bots))]
    WhichBotOfGuild {
        /// The guild.
        guild: u64,
        /// Who holds it.
        bots: Vec<u64>,
    },
    /// No bot of this process holds the guild.
    #[error("no bot of this process is in guild {guild}")]
    NoBotOfGuild {
        /// The guild.
        guild: u64,
    },
    /// The guild's shard is none of this process's.
    #[error("{} to shard {shard}, which is not in this process", belongs(*.guild))]
    NotHere {
        /// The guild; 0: what is in none, which comes over shard 0.
        guild: u64,
        /// Its shard.
        shard: ShardId,
    },
    /// This process does not hold the shard.
    #[error("shard {shard} is not in this process")]
    NoSuchShard {
        /// Which.
        shard: ShardId,
    },
    /// The shard is this process's, and its core does not have it (yet, or any more).
    #[error("shard {shard} is being started or has ended (`trunkline status` says which); try again in a few seconds")]
    ShardAway {
        /// Which.
        shard: ShardId,
    },
    /// The core's queue of looks was full for the whole wait.
    #[error("core {core} is overloaded: {LOOKS_QUEUED} lookups wait for it already; ask less, or run more cores")]
    Busy {
        /// Which.
        core: usize,
    },
    /// The core took the look and did not answer in time.
    #[error("core {core} did not answer within {} s; try again", LOOK_PATIENCE.as_secs())]
    NoAnswer {
        /// Which.
        core: usize,
    },
    /// The cache lacks a member, and Discord did not say in time whether there is one.
    #[error(
        "not every one of these members of guild {guild} is known here, and Discord did not say in time whether they are members; try again in a few seconds"
    )]
    MembersUnknown {
        /// The guild.
        guild: u64,
    },
    /// The cache lacks a member, and Discord says nothing of a guild that has an outage.
    #[error(
        "not every one of these members of guild {guild} is known here, and Discord has an outage of the guild; try again when it is back"
    )]
    Outage {
        /// The guild.
        guild: u64,
    },
    /// The core has ended: the process is stopping.
    #[error("this process is stopping; ask again when it is back")]
    Stopping,
    /// The shard did not take the command.
    #[error("shard {shard}: {why}")]
    Command {
        /// Which.
        shard: ShardId,
        /// Why.
        why: CommandRefused,
    },
}

impl LookError {
    /// Whether the same question may well have an answer a little later.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Starting
            | Self::ShardAway { .. }
            | Self::Busy { .. }
            | Self::NoAnswer { .. }
            | Self::MembersUnknown { .. }
            | Self::Outage { .. }
            | Self::Stopping => true,
            Self::Command { why, .. } => *why == CommandRefused::Full,
            Self::UnknownBot { .. }
            | Self::WhichBot { .. }
            | Self::WhichBotOfGuild { .. }
            | Self::NoBotOfGuild { .. }
            | Self::NotHere { .. }
            | Self::NoSuchShard { .. } => false,
        }
    }
}

fn belongs(guild: u64) -> String {
    if guild == 0 { "direct messages belong".to_owned() } else { format!("guild {guild} belongs") }
}

/// Ids with commas between them, the first few of many.
struct Listed<'a>(&'a [u64]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, id) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{id}", if index == 0 { "" } else { ", " })?;
        }
        if self.0.len() > SHOWN {
            write!(f, " and {} more", self.0.len() - SHOWN)?;
        }
        Ok(())
    }
}

/// One bot as the doors know it.
#[derive(Clone, Debug)]
pub struct BotEntry {
    /// Its user id.
    pub id: u64,
    /// Its name.
    pub name: Arc<str>,
    /// Its shard count, over all processes.
    pub count: u32,
    /// Which kinds of objects its caches keep.
    pub keeps: CacheConfig,
    /// The shards of this process, each with its core once it has one.
    pub shards: BTreeMap<u32, Option<usize>>,
    /// What it identifies with.
    pub intents: Intents,
}

impl BotEntry {
    /// A bot whose shards (`indices`) are not placed yet.
    pub fn new(id: u64, name: &str, count: u32, indices: impl IntoIterator<Item = u32>, keeps: CacheConfig) -> BotEntry {
        let shards = indices.into_iter().map(|index| (index, None)).collect();
        BotEntry { id, name: name.into(), count, keeps, shards, intents: Intents::ALL }
    }

    /// The shard with this index.
    #[must_use]
    pub fn shard(&self, index: u32) -> ShardId {
        ShardId { bot: self.id, index, count: self.count }
    }

    /// The shard of a guild, wherever it runs.
    #[must_use]
    pub fn shard_of(&self, guild: u64) -> ShardId {
        self.shard(shard_of(guild, self.count))
    }
}

/// Bots by id.
pub type Bots = BTreeMap<u64, Arc<BotEntry>>;

/// Who runs here, and where: written when bots and shards come up, read by every door. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Replaced as a whole, so that a reader holds the lock for no longer than a copy of the pointer takes.
    bots: Arc<RwLock<Arc<Bots>>>,
    configured: usize,
}

impl Directory {
    /// Empty, for a process with this many bots in its configuration.
    #[must_use]
    pub fn new(configured: usize) -> Directory {
        Directory { bots: Arc::default(), configured }
    }

    /// A bot has come up: its id is known. What was known of it is replaced.
    pub fn add_bot(&self, bot: BotEntry) {
        self.change(|bots| drop(bots.insert(bot.id, Arc::new(bot))));
    }

    /// A shard was given to a core. Unknown bots, and shards of another count, change nothing.
    pub fn place(&self, shard: ShardId, core: usize) {
        self.change(|bots| {
            if let Some(bot) = bots.get_mut(&shard.bot).filter(|bot| bot.count == shard.count) {
                Arc::make_mut(bot).shards.insert(shard.index, Some(core));
            }
        });
    }

    /// The bots that have come up, by id.
    #[must_use]
    pub fn bots(&self) -> Arc<Bots> {
        self.bots.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many bots the configuration has.
    #[must_use]
    pub fn configured(&self) -> usize {
        self.configured
    }

    /// One bot.
    ///
    /// # Errors
    /// [`LookError::UnknownBot`]; [`LookError::Starting`] while it may still be one of those that come up.
    pub fn bot(&self, bot: u64) -> Result<Arc<BotEntry>, LookError> {
        let bots = self.bots();
        match bots.get(&bot) {
            Some(entry) => Ok(entry.clone()),
            None if bots.len() < self.configured => Err(LookError::Starting),
            None => Err(LookError::UnknownBot { bot, known: bots.keys().copied().collect() }),
        }
    }

    /// The only bot, for questions that name none.
    ///
    /// # Errors
    /// [`LookError::WhichBot`] when several are configured; [`LookError::Starting`] until the one has come up.
    pub fn only_bot(&self) -> Result<Arc<BotEntry>, LookError> {
        let bots = self.bots();
        match bots.values().next() {
            // By the configuration and not by who is up, so that an answer does not depend on the moment.
            Some(entry) if self.configured <= 1 && bots.len() == 1 => Ok(entry.clone()),
            _ if self.configured <= 1 && bots.len() <= 1 => Err(LookError::Starting),
            _ => Err(LookError::WhichBot { known: bots.keys().copied().collect() }),
        }
    }

    fn change(&self, edit: impl FnOnce(&mut Bots)) {
        let mut bots = self.bots.write().unwrap_or_else(PoisonError::into_inner);
        edit(Arc::make_mut(&mut bots));
    }
}

/// Puts together what steps through a guild find: each is asked for so many at most above an id, until there are `limit` or no more. Between
/// two steps the core does what else it has to do; an asker who gives up ends it.
pub(crate) async fn in_steps<T, E, F: Future<Output = Result<Step<T>, E>>>(
    mut after: u64,
    limit: usize,
    ask: impl Fn(u64, usize) -> F,
) -> Result<Vec<T>, E> {
    let mut found = Vec::new();
    while found.len() < limit {
        let step = ask(after, limit - found.len()).await?;
        found.extend(step.found);
        match step.next {
            Some(next) => after = next,
            None => break,
        }
    }
    Ok(found)
}

/// Asks Discord for members that a cache lacks, where a bot is set to do so.
pub trait MemberSource: fmt::Debug + Send + Sync {
    /// Whether anybody would be asked for a bot's members.
    fn asks(&self, bot: u64) -> bool;

    /// Done when the cache knows what Discord says of these members, or when waiting longer is of no use. Bounded in time by itself.
    fn ask<'a>(&'a self, bot: u64, guild: u64, users: &'a [u64]) -> Asking<'a>;
}

/// A question to Discord under way.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Asked> + Send + 'a>>;

/// What came of a question to Discord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The bot is set to ask for nothing: what the cache has is the answer.
    Nobody,
    /// Discord has answered: the cache knows now.
    Discord,
    /// No answer in time, or too much to ask: whether there is such a member is not known.
    NoAnswer,
}

/// What the bridge counts.
#[derive(Debug, Default)]
pub struct LookStats {
    /// Looks that were answered.
    pub answered: AtomicU64,
    /// Looks that found the core's queue full for the whole wait.
    pub busy: AtomicU64,
    /// Looks that were taken and not answered in time.
    pub unanswered: AtomicU64,
}

/// Asks cores. Cheap to clone; works on any runtime.
#[derive(Clone, Debug)]
pub struct Looker {
    directory: Directory,
    cores: Arc<[mpsc::Sender<Look>]>,
    stats: Arc<LookStats>,
    members: Arc<OnceLock<Arc<dyn MemberSource>>>,
}

/// An answer that is on its way.
struct Pending<R> {
    core: usize,
    answer: oneshot::Receiver<R>,
}

impl Looker {
    /// Asks these cores; core `i` of [`Directory::place`] is the `i`th of the list. Give each channel [`LOOKS_QUEUED`].
    #[must_use]
    pub fn new(directory: Directory, cores: Vec<mpsc::Sender<Look>>) -> Looker {
        Looker { directory, cores: cores.into(), stats: Arc::default(), members: Arc::default() }
    }

    /// From now on members that a cache lacks are asked for here. Once, for all clones; a second source is ignored.
    pub fn ask_members_of(&self, source: Arc<dyn MemberSource>) {
        // The first one stays: there is one in a process.
        self.members.set(source).ok();
    }

    /// Who runs here.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> &LookStats {
        &self.stats
    }

    /// How many looks wait for each core.
    pub fn queued(&self) -> impl Iterator<Item = usize> {
        self.cores.iter().map(|core| core.max_capacity() - core.capacity())
    }

    /// Runs `look` on a core.
    ///
    /// # Errors
    /// [`LookError::Busy`], [`LookError::NoAnswer`], [`LookError::Stopping`].
    pub async fn on_core<R: Send + 'static>(
        &self,
        core: usize,
        look: impl FnOnce(&mut dyn Caches) -> R + Send + 'static,
    ) -> Result<R, LookError> {
        let deadline = Instant::now() + LOOK_PATIENCE;
        let pending = self.send(core, deadline, look).await?;
        self.wait(pending, deadline).await
    }

    /// Runs `look` on the cache of a guild's shard. Whether the guild is in it is another question.
    ///
    /// # Errors
    /// As [`Directory::bot`] and [`Looker::on_shard`]; [`LookError::NotHere`] for a guild of another process's shard.
    pub async fn on_guild<R: Send + 'static>(
        &self,
        bot: u64,
        guild: u64,
        look: impl FnOnce(&mut Cache) -> R + Send + 'static,
    ) -> Result<R, LookError> {
        let shard = self.directory.bot(bot)?.shard_of(guild);
        self.on_shard(shard, look).await.map_err(|error| match error {
            LookError::NoSuchShard { shard } => LookError::NotHere { guild, shard },
            other => other,
        })
    }

    /// One member, as [`Looker::members`] finds several.
    ///
    /// # Errors
    /// As [`Looker::on_guild`].
    pub async fn member(&self, bot: u64, guild: u64, user: u64) -> Result<Option<Found>, LookError> {
        let found = self.on_guild(bot, guild, move |cache| cache.member(guild, user)).await?;
        if found.is_some() || self.members.get().is_none() {
            return Ok(found);
        }
        Ok(Box::pin(self.members(bot, guild, &[user])).await?.pop().flatten())
    }

    /// Members of a guild, in the order of `users`; those that the cache lacks are asked of Discord, where the bot is set to do so.
    ///
    /// # Errors
    /// As [`Looker::on_guild`].
    pub async fn members(&self, bot: u64, guild: u64, users: &[u64]) -> Result<Vec<Option<Found>>, LookError> {
        let look = |users: Vec<u64>| move |cache: &mut Cache| users.iter().map(|user| cache.member(guild, *user)).collect::<Vec<_>>();
        let mut found = self.on_guild(bot, guild, look(users.to_vec())).await?;
        let Some(source) = self.members.get().filter(|source| source.asks(bot)) else { return Ok(found) };
        let missing: Vec<usize> = (0..users.len()).filter(|at| found[*at].is_none()).collect();
        let lacks: Vec<u64> = missing.iter().map(|at| users[*at]).collect();
        if lacks.is_empty() {
            return Ok(found);
        }
        match self.on_guild(bot, guild, move |cache| cache.is_in(guild).then(|| cache.has_outage(guild))).await? {
            // A guild that the bot is not in has no members to ask for.
            None => return Ok(found),
            // Discord answers nothing of one that has an outage: nobody needs to wait for that.
            Some(true) => return Err(LookError::Outage { guild }),
            Some(false) => {}
        }
        let asked = source.ask(bot, guild, &lacks).await;
        if asked == Asked::Nobody {
            return Ok(found);
        }
        // They may have come without an answer: an event has told them, or an answer to somebody else.
        let again = look(lacks);
        let (is_in, away, come) =
            self.on_guild(bot, guild, move |cache| (cache.is_in(guild), cache.has_outage(guild), again(cache))).await?;
        for (at, member) in missing.into_iter().zip(come) {
            found[at] = member;
        }
        match asked {
            Asked::NoAnswer if !is_in || found.iter().all(Option::is_some) => Ok(found),
            Asked::NoAnswer if away => Err(LookError::Outage { guild }),
            Asked::NoAnswer => Err(LookError::MembersUnknown { guild }),
            Asked::Nobody | Asked::Discord => Ok(found),
        }
    }

    /// Runs `look` on a shard's cache, which must have been told something.
    ///
    /// # Errors
    /// [`LookError::NoSuchShard`], [`LookError::ShardAway`], and as [`Looker::on_core`].
    pub async fn on_shard<R: Send + 'static>(
        &self,
        shard: ShardId,
        look: impl FnOnce(&mut Cache) -> R + Send + 'static,
    ) -> Result<R, LookError> {
        let core = self.core_of(shard)?;
        let answer = self.on_core(core, move |caches| if caches.told(shard) { caches.cache_mut(shard).map(look) } else { None }).await?;
        answer.ok_or(LookError::ShardAway { shard })
    }

    /// Runs `look` on the cache of every shard of a bot in this process, all cores at once; answers in the order of the shards.
    ///
    /// # Errors
    /// As [`Looker::on_shard`], for the first shard that has no answer: a part of the answers would look like the whole.
    pub async fn on_all<R: Send + 'static>(
        &self,
        bot: u64,
        look: impl Fn(&mut Cache) -> R + Clone + Send + 'static,
    ) -> Result<Vec<R>, LookError> {
        let deadline = Instant::now() + LOOK_PATIENCE;
        let entry = self.directory.bot(bot)?;
        let mut waiting = Vec::with_capacity(entry.shards.len());
        for (index, core) in &entry.shards {
            let shard = entry.shard(*index);
            let core = core.ok_or(LookError::ShardAway { shard })?;
            let look = look.clone();
            waiting.push((shard, self.send(core, deadline, move |caches| caches.cache_mut(shard).map(look)).await?));
        }
        let mut answers = Vec::with_capacity(waiting.len());
        for (shard, pending) in waiting {
            answers.push(self.wait(pending, deadline).await?.ok_or(LookError::ShardAway { shard })?);
        }
        Ok(answers)
    }

    /// Runs `look` once on every core that has shards of a bot, with those shards, all cores at once. For questions that a core
    /// answers for all of its shards together.
    ///
    /// # Errors
    /// As [`Looker::on_all`].
    pub async fn on_cores<R: Send + 'static>(
        &self,
        bot: u64,
        look: impl Fn(&mut dyn Caches, &[ShardId]) -> R + Clone + Send + 'static,
    ) -> Result<Vec<R>, LookError> {
        let deadline = Instant::now() + LOOK_PATIENCE;
        let entry = self.directory.bot(bot)?;
        let mut shards: BTreeMap<usize, Vec<ShardId>> = BTreeMap::new();
        for (index, core) in &entry.shards {
            let shard = entry.shard(*index);
            shards.entry(core.ok_or(LookError::ShardAway { shard })?).or_default().push(shard);
        }
        let mut waiting = Vec::with_capacity(shards.len());
        for (core, shards) in shards {
            let look = look.clone();
            let look = move |caches: &mut dyn Caches| match shards.iter().find(|shard| caches.cache(**shard).is_none()) {
                Some(shard) => Err(LookError::ShardAway { shard: *shard }),
                None => Ok(look(caches, &shards)),
            };
            waiting.push(self.send(core, deadline, look).await?);
        }
        let mut answers = Vec::with_capacity(waiting.len());
        for pending in waiting {
            answers.push(self.wait(pending, deadline).await??);
        }
        Ok(answers)
    }

    /// The bots of this process that are in a guild, of those that `scope` allows to ask about.
    ///
    /// # Errors
    /// As [`Looker::on_shard`]. Bots whose shard of the guild is not in this process are left out.
    pub async fn bots_of(&self, guild: u64, scope: &Scope) -> Result<Vec<u64>, LookError> {
        let mut holders = Vec::new();
        for (id, bot) in self.directory.bots().iter().filter(|(id, _)| scope.allows_bot(**id)) {
            match self.on_shard(bot.shard_of(guild), move |cache| cache.is_in(guild)).await {
                Ok(true) => holders.push(*id),
                Ok(false) | Err(LookError::NoSuchShard { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(holders)
    }

    /// The bot of a guild: the only bot, or the only one of several that is in the guild; of those that `scope` allows to ask about.
    ///
    /// # Errors
    /// [`LookError::WhichBotOfGuild`], [`LookError::NoBotOfGuild`], and as [`Looker::bots_of`].
    pub async fn bot_of(&self, guild: u64, scope: &Scope) -> Result<u64, LookError> {
        match self.directory.only_bot() {
            Ok(bot) => return Ok(bot.id),
            Err(LookError::WhichBot { .. }) => {}
            Err(error) => return Err(error),
        }
        let bots = self.bots_of(guild, scope).await?;
        match bots.as_slice() {
            [bot] => Ok(*bot),
            [] if self.directory.bots().len() < self.directory.configured => Err(LookError::Starting),
            [] => Err(LookError::NoBotOfGuild { guild }),
            _ => Err(LookError::WhichBotOfGuild { guild, bots }),
        }
    }

    /// Hands a command for Discord to a shard's session. Ok: the session has it, and sends it when its budget allows.
    ///
    /// # Errors
    /// [`LookError::Command`], and as [`Looker::on_shard`].
    pub async fn command(&self, shard: ShardId, op: Op, payload: Object) -> Result<(), LookError> {
        let core = self.core_of(shard)?;
        let handed = self.on_core(core, move |caches| caches.command(shard, op, payload)).await?;
        handed.map_err(|why| LookError::Command { shard, why })
    }

    /// Which core has a shard.
    ///
    /// # Errors
    /// [`LookError::NoSuchShard`], [`LookError::ShardAway`], and as [`Directory::bot`].
    pub fn core_of(&self, shard: ShardId) -> Result<usize, LookError> {
        let entry = self.directory.bot(shard.bot)?;
        if entry.count != shard.count {
            return Err(LookError::NoSuchShard { shard });
        }
        entry.shards.get(&shard.index).ok_or(LookError::NoSuchShard { shard })?.ok_or(LookError::ShardAway { shard })
    }

    async fn send<R: Send + 'static>(
        &self,
        core: usize,
        deadline: Instant,
        look: impl FnOnce(&mut dyn Caches) -> R + Send + 'static,
    ) -> Result<Pending<R>, LookError> {
        let queue = self.cores.get(core).ok_or(LookError::Stopping)?;
        let (reply, answer) = oneshot::channel();
        let look: Look = Box::new(move |caches| {
            // Whoever gave up waiting costs the core nothing more.
            if !reply.is_closed() {
                reply.send(look(caches)).ok();
            }
        });
        match queue.try_send(look) {
            Ok(()) => Ok(Pending { core, answer }),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(LookError::Stopping),
            Err(mpsc::error::TrySendError::Full(look)) => match timeout_at(deadline, queue.send(look)).await {
                Ok(Ok(())) => Ok(Pending { core, answer }),
                Ok(Err(_)) => Err(LookError::Stopping),
                Err(_) => {
                    self.stats.busy.fetch_add(1, Ordering::Relaxed);
                    Err(LookError::Busy { core })
                }
            },
        }
    }

    async fn wait<R>(&self, pending: Pending<R>, deadline: Instant) -> Result<R, LookError> {
        match timeout_at(deadline, pending.answer).await {
            Ok(Ok(answer)) => {
                self.stats.answered.fetch_add(1, Ordering::Relaxed);
                Ok(answer)
            }
            // The look was dropped with the core's queue.
            Ok(Err(_)) => Err(LookError::Stopping),
            Err(_) => {
                self.stats.unanswered.fetch_add(1, Ordering::Relaxed);
                Err(LookError::NoAnswer { core: pending.core })
            }
        }
    }
}

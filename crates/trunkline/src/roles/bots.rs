//! Bringing bots up: ask Discord about each once, load what the store has of its shards, hand the shards to their cores, notice their end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use trunkline_cache::CacheConfig;
use trunkline_discord::{CloseCode, Dice, GapCause, Intents, Object, ShardId};
use trunkline_doors::BotEntry;
use trunkline_etf::Encoding;
use trunkline_gateway::{
    BotApi, BotWish, IdentifyConfig, IdentifyQueue, Ledger, Net, NetLimits, PreparedBot, ShardConfig, ShardStats, ShardTools, ShardsWanted,
    prepare_bot_telling,
};
use trunkline_session::StopReason;
use trunkline_store::Store;

use super::core::{Driver, ShardStart};
use super::load::{Loaded, NotLoaded, StartGap, load, of_another_count};
use super::members;
use super::node::Shared;
use super::removed::{self, ByGroup};
use crate::config::{BotConfig, Members, ShardsConfig};

/// How long is waited before what the store has is read again: at first, and at most.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How often the log says that it is still tried.
const RETRY_TOLD: Duration = Duration::from_secs(60);
/// Shards of a bot that are loaded at once: a server of a store answers each over a connection of its own. More would only take more memory,
/// for the rows of each are in it until its core has taken them.
pub const LOADS_AT_ONCE: usize = 2;

/// A bot as it stands, for status and metrics.
#[derive(Clone)]
pub struct BotState {
    /// Its user id, once known.
    pub id: Option<u64>,
    /// Its name, once known; before, its place in the configuration.
    pub name: String,
    /// Shards that run here.
    pub shards: Vec<(ShardId, Arc<ShardStats>)>,
    /// Its identify queue, once there is one.
    pub identify: Option<IdentifyQueue>,
    /// What its start waits for.
    pub waiting: Option<Waiting>,
    /// Why it failed for good.
    pub failed: Option<String>,
}

/// What a bot's start waits for.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// What keeps it, in one plain line.
    pub why: String,
    /// Since when, in milliseconds since 1970.
    pub since_unix_ms: u64,
}

/// Starts every bot in a task of its own. `all_failed` is set when none is left.
#[must_use]
pub fn start(shared: &Shared, all_failed: watch::Sender<Option<String>>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let count = shared.config.bots.len();
    let (failed, mut failures) = mpsc::channel::<String>(count.max(1));
    for (index, bot) in shared.config.bots.iter().enumerate() {
        set(shared, index, BotState { id: None, name: label(index), shards: Vec::new(), identify: None, waiting: None, failed: None });
        let (shared, bot, failed) = (shared.clone(), bot.clone(), failed.clone());
        tasks.spawn(async move {
            let reason = run_bot(&shared, index, &bot).await;
            change(&shared, index, |state| {
                state.failed = Some(reason.clone());
                state.waiting = None;
            });
            tracing::error!("{reason}");
            removed::look_for_bots(&shared).await;
            // The receiver lives as long as the node.
            failed.send(reason).await.ok();
        });
    }
    tasks.spawn(async move {
        let mut reasons = Vec::new();
        while reasons.len() < count {
            match failures.recv().await {
                Some(reason) => reasons.push(reason),
                None => return,
            }
        }
        all_failed.send_replace(Some(reasons.join("; ")));
        // Keeps the sender, so that whoever waits for the reason finds it.
        std::future::pending::<()>().await;
    });
    tasks
}

fn label(index: usize) -> String {
    format!("bots[{index}]")
}

fn set(shared: &Shared, index: usize, state: BotState) {
    if let Ok(mut bots) = shared.bots.lock() {
        bots.insert(index, state);
    }
}

fn change(shared: &Shared, index: usize, edit: impl FnOnce(&mut BotState)) {
    if let Ok(mut bots) = shared.bots.lock()
        && let Some(state) = bots.get_mut(&index)
    {
        edit(state);
    }
}

/// Why a bot cannot start at this moment, for `status`; none: it goes on.
fn tell_waiting(shared: &Shared, index: usize, why: Option<&str>) {
    let now = shared.clock.unix_ms();
    change(shared, index, |state| {
        let since_unix_ms = state.waiting.as_ref().map_or(now, |waiting| waiting.since_unix_ms);
        state.waiting = why.map(|why| Waiting { why: why.to_owned(), since_unix_ms });
    });
}

/// Runs one bot until it has failed for good; answers why, in one plain line.
async fn run_bot(shared: &Shared, index: usize, bot: &BotConfig) -> String {
    let prepared = match prepare(shared, index, bot).await {
        Ok(prepared) => prepared,
        Err(reason) => return format!("{}: {reason}", label(index)),
    };
    let (api, net, prepared) = prepared;
    let name = prepared.name.clone();
    let id = prepared.bot_id;
    let store = shared.keeper.store.clone();
    let mut stored = None;
    if bot.shards == ShardsConfig::Auto {
        let read = || {
            let store = store.clone();
            tokio::task::spawn_blocking(move || stored_count(&store, id))
        };
        // Not known is not none: another count would cost every session.
        stored = match persist(read(), read, |why| tell_waiting(shared, index, why)).await {
            Ok(stored) => stored,
            Err(reason) => {
                return format!("{name}: the shard count of the stored sessions cannot be read; set bots[].shards to go on: {reason}");
            }
        };
    }
    let count = settle_count(&store, bot, &prepared, stored);
    let indices: Vec<u32> = match bot.shards {
        ShardsConfig::Auto => (0..count).collect(),
        _ => prepared.plan.indices.clone(),
    };
    let queue = IdentifyQueue::start(IdentifyConfig {
        bot: id,
        count,
        shards: indices.clone(),
        ledger: Some(Arc::new(StoreLedger { store: store.clone(), bot: id })),
        limit: prepared.limit,
        api: Some(api),
        release: release(shared, id),
        clock: shared.clock,
    })
    .await;
    // All at once: whoever asks whether all of them have been ready must not be shown the first few only.
    let shards: Vec<_> = indices.iter().map(|index| (ShardId { bot: id, index: *index, count }, Arc::new(ShardStats::default()))).collect();
    change(shared, index, |state| {
        state.id = Some(id);
        state.name.clone_from(&name);
        state.shards.clone_from(&shards);
        state.identify = Some(queue.clone());
    });
    removed::look_for_bots(shared).await;

    let keeps = bot.cache.of_shard(shards.len());
    let mut entry = BotEntry::new(id, &name, count, indices.iter().copied(), keeps);
    entry.intents = prepared.intents;
    shared.looker.directory().add_bot(entry);

    let here = shards.len();
    let mut dropped = ByGroup::new();
    if let Err(reason) = take_over_other_counts(shared, index, id, count, here, &mut dropped).await {
        return format!("{name}: {reason}");
    }
    let (ended, mut ends) = mpsc::unbounded_channel();
    if bot.members == Members::Eager && !prepared.intents.contains(Intents::GUILD_MEMBERS) {
        tracing::warn!(bot = %id, "{name}: members = \"eager\" needs the guild_members intent, which the bot does not have: Discord will not answer");
    }
    let members = members::start(shared, id, &name, bot.members, &shards);
    let mut to_load = shards.iter().map(|(shard, _)| *shard).collect::<VecDeque<_>>();
    let mut loading = VecDeque::new();
    for (shard, counters) in shards {
        while loading.len() < LOADS_AT_ONCE
            && let Some(next) = to_load.pop_front()
        {
            loading.push_back(begin_load(shared, next, here));
        }
        let mut config = ShardConfig::new(shard, session_config(shared, bot, &prepared, shard), seed(shared, shard));
        let Some(load) = loading.pop_front() else { break };
        let loaded = match persist(load, || begin_load(shared, shard, here), |why| tell_waiting(shared, index, why)).await {
            Ok(loaded) => loaded,
            Err(reason) => return format!("{name}: shard {} cannot be taken: {reason}", shard.index),
        };
        config.ordinal = loaded.ordinal;
        config.session.tell_anew = keeps.kinds.need_a_new_session(loaded.kinds);
        add(&mut dropped, &loaded.dropped);
        let tools = ShardTools { net: net.clone(), clock: shared.clock, identify: queue.client(), stats: counters };
        let driver = Some(Driver { config, tools, members: members.clone(), ended: ended.clone() });
        if !shared.place_shard(ShardStart { shard, loaded, keeps, driver }) {
            return format!("{name}: the core of shard {} has ended", shard.index);
        }
    }
    drop(ended);
    shared.removed.tell_groups(id, &name, &dropped);

    // A bot lives as long as one of its shards does.
    let mut last = String::new();
    while let Some(end) = ends.recv().await {
        if let StopReason::Fatal(code) = end.reason {
            last = end.reason.to_string();
            if code == CloseCode(4010) || code == CloseCode(4011) {
                // Discord does not take this count any more: the next start asks it anew.
                note_count(&store, id, 0);
            }
        }
    }
    if last.is_empty() {
        // Stopped because we asked for it: not a failure.
        std::future::pending::<()>().await;
    }
    format!("{name}: {last}")
}

async fn prepare(shared: &Shared, index: usize, bot: &BotConfig) -> Result<(BotApi, Net, PreparedBot), String> {
    let config = &shared.config;
    let net = Net::new(config.discord.ca_file.as_deref(), NetLimits::default()).map_err(|error| error.to_string())?;
    let api = BotApi::new(&config.discord.api, &bot.token, &net).map_err(|error| error.to_string())?;
    let shards = match bot.shards {
        ShardsConfig::Auto => ShardsWanted::Auto,
        ShardsConfig::Total(total) => ShardsWanted::Count(total),
        ShardsConfig::Range { total, first, last } => ShardsWanted::Range { total, first, last },
    };
    let wish = BotWish { label: label(index), intents: bot.intents, shards };
    let mut dice = Dice::new(shared.clock.unix_us() ^ index as u64);
    let mut tell = |why: Option<&str>| tell_waiting(shared, index, why);
    let prepared = prepare_bot_telling(&api, &wish, &mut dice, &mut tell).await;
    let prepared = prepared.map_err(|error| format!("{error} (token from {})", bot.token_origin))?;
    Ok((api, net, prepared))
}

/// With `shards = "auto"`, a restart keeps the count that the stored sessions have: another count would cost every session.
fn settle_count(store: &Store, bot: &BotConfig, prepared: &PreparedBot, stored: Option<u32>) -> u32 {
    let count = prepared.plan.count;
    if bot.shards == ShardsConfig::Auto
        && let Some(stored) = stored
        && stored > 0
        && stored != count
    {
        tracing::warn!(
            bot = %prepared.bot_id,
            "{}: Discord now recommends {count} shards; the stored sessions have {stored} and go on with it. Set shards = {count} to identify afresh with the new count",
            prepared.name
        );
        return stored;
    }
    note_count(store, prepared.bot_id, count);
    count
}

/// The shard count that the stored sessions have.
fn stored_count(store: &Store, bot: u64) -> Result<Option<u32>, NotLoaded> {
    let stored = store.get_meta(&format!("shards/{bot}"))?;
    Ok(stored.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok()))
}

fn note_count(store: &Store, bot: u64, count: u32) {
    if let Err(error) = store.put_meta(&format!("shards/{bot}"), count.to_string().as_bytes()) {
        tracing::warn!(%bot, "the shard count could not be noted in the store: {error}");
    }
}

/// Shards that the store has under another count: their sessions are over, but what groups have not acknowledged is still theirs.
async fn take_over_other_counts(
    shared: &Shared,
    index: usize,
    bot: u64,
    count: u32,
    here: usize,
    dropped: &mut ByGroup,
) -> Result<(), String> {
    let list = || {
        let store = shared.keeper.store.clone();
        tokio::task::spawn_blocking(move || of_another_count(&store, bot, count))
    };
    let tell = |why: Option<&str>| tell_waiting(shared, index, why);
    let others = persist(list(), list, tell).await?;
    if others.is_empty() {
        return Ok(());
    }
    tracing::warn!(%bot, "the shard count has changed to {count}: every shard identifies afresh; what was unacknowledged under the old count is still delivered, and the stretch between is told as a gap");
    for shard in others {
        let load = || begin_load(shared, shard, here);
        let mut loaded = persist(load(), load, tell).await?;
        add(dropped, &loaded.dropped);
        if let Some(point) = loaded.resume.take() {
            loaded.gap = Some(StartGap { session: point.session, first_s: Some(point.s + 1), cause: GapCause::SessionLost });
        }
        if !shared.place_shard(ShardStart { shard, loaded, keeps: CacheConfig::default(), driver: None }) {
            return Err(format!("the core of shard {} has ended", shard.index));
        }
    }
    Ok(())
}

/// Loads a shard on a thread that may block. `here`: shards that share the memory for restored events.
fn begin_load(shared: &Shared, shard: ShardId, here: usize) -> JoinHandle<Result<Loaded, NotLoaded>> {
    let store = shared.keeper.store.clone();
    let clock = shared.clock;
    let memory_bytes = shared.config.groups.iter().map(|group| group.limits.memory_bytes).max().unwrap_or(0) / here.max(1) as u64;
    let config = shared.config.clone();
    tokio::task::spawn_blocking(move || {
        let groups: Vec<&str> = config.groups.iter().map(|group| &*group.name).collect();
        load(&store, shard, &groups, clock.now(), clock.unix_us(), memory_bytes)
    })
}

/// Waits for what is read from the store, and reads it again for as long as the store cannot be read: nothing stored is given up for that,
/// and a bot that failed instead would not come back by itself. `tell` hears why it waits, and `None` when it goes on.
///
/// # Errors
/// What trying again does not change, in one line.
async fn persist<T>(
    first: JoinHandle<Result<T, NotLoaded>>,
    mut again: impl FnMut() -> JoinHandle<Result<T, NotLoaded>>,
    tell: impl Fn(Option<&str>),
) -> Result<T, String> {
    let (mut reading, mut pause, mut told) = (first, RETRY_FIRST, None);
    loop {
        match reading.await.map_err(|error| format!("loading it failed: {error}"))? {
            Ok(read) => {
                if told.is_some() {
                    tracing::info!("the store can be read again");
                    tell(None);
                }
                return Ok(read);
            }
            Err(NotLoaded::Ever(why)) => return Err(why),
            Err(NotLoaded::Now(why)) => {
                if told.is_none_or(|at: Instant| at.elapsed() >= RETRY_TOLD) {
                    tracing::warn!("what the store has cannot be read at this moment; it is tried again until it can: {why}");
                    told = Some(Instant::now());
                }
                tell(Some(&format!("what the store has cannot be read: {why}")));
            }
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(RETRY_MAX);
        reading = again();
    }
}

fn add(sum: &mut ByGroup, more: &ByGroup) {
    for (group, events) in more {
        *sum.entry(group.clone()).or_default() += events;
    }
}

/// What a person types to let this bot's shards use the reserve.
fn release(shared: &Shared, bot: u64) -> String {
    let which = if shared.config.bots.len() > 1 { format!(" --bot {bot}") } else { String::new() };
    format!("trunkline shard identify --use-reserve{which}{}", shared.at.admin_flag())
}

fn seed(shared: &Shared, shard: ShardId) -> u64 {
    shard.bot.rotate_left(17) ^ u64::from(shard.index) ^ shared.clock.unix_us()
}

fn session_config(shared: &Shared, bot: &BotConfig, prepared: &PreparedBot, shard: ShardId) -> trunkline_session::Config {
    let mut config =
        trunkline_session::Config::new((shard.index, shard.count), bot.token.clone(), prepared.intents, prepared.gateway_url.clone());
    config.encoding = shared.config.discord.encoding;
    config.compression = shared.config.discord.compress;
    config.presence = bot.presence.as_ref().map(|json| Object { encoding: Encoding::Json, bytes: Bytes::copy_from_slice(json.as_bytes()) });
    config.large_threshold = bot.large_threshold;
    config
}

struct StoreLedger {
    store: Arc<Store>,
    bot: u64,
}

impl Ledger for StoreLedger {
    fn load(&self) -> Result<Option<Vec<u8>>, String> {
        self.store.ledger(self.bot).map(|bytes| bytes.map(|bytes| bytes.to_vec())).map_err(|error| error.to_string())
    }

    fn save(&self, bytes: &[u8]) -> Result<(), String> {
        self.store.write_ledger(self.bot, bytes).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn read<T: Send + 'static>(answer: Result<T, NotLoaded>) -> JoinHandle<Result<T, NotLoaded>> {
        tokio::spawn(async move { answer })
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_at_this_moment_is_read_again_for_as_long_as_it_takes_and_says_so() {
        let away = || Err(NotLoaded::Now("the server is away".to_owned()));
        let told = RefCell::new(Vec::new());
        let tell = |why: Option<&str>| told.borrow_mut().push(why.map(str::to_owned));
        let (began, mut tries) = (Instant::now(), 0);
        let again = || {
            tries += 1;
            read(if tries < 100 { away() } else { Ok(7) })
        };
        assert_eq!(persist(read(away()), again, tell).await, Ok(7));
        assert_eq!(tries, 100);
        let waited = began.elapsed();
        assert!(waited > 90 * RETRY_MAX && waited < 100 * RETRY_MAX, "not in a hurry, and never longer apart than that: {waited:?}");
        let told = told.take();
        assert_eq!((told.len(), told.last()), (101, Some(&None)), "goes on, in the end");
        let says = |why: &Option<String>| why.as_deref().is_some_and(|why| why.contains("the server is away"));
        assert!(told.iter().take(100).all(says), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_read_at_once_waits_for_nothing_and_what_never_can_be_is_not_read_again() {
        let began = Instant::now();
        let (again, tell) = (|| panic!("read again"), |why: Option<&str>| panic!("told {why:?}"));
        assert_eq!(persist(read(Ok(1)), again, tell).await, Ok(1));
        let never: Result<u8, _> = Err(NotLoaded::Ever("a later version has written it".to_owned()));
        assert_eq!(persist(read(never), again, tell).await, Err("a later version has written it".to_owned()));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}

//! Bringing bots up: ask Discord about each once, load what the store has of its shards, hand the shards to their cores, notice their end.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use trunkline_cache::{Cache, CacheConfig};
use trunkline_delivery::RestoredLog;
use trunkline_discord::{Dice, Object, ShardId};
use trunkline_etf::Encoding;
use trunkline_gateway::{
    BotApi, BotWish, IdentifyConfig, IdentifyQueue, Ledger, Net, NetLimits, PreparedBot, ShardConfig, ShardStats, ShardTools, ShardsWanted,
    prepare_bot,
};
use trunkline_session::{ResumePoint, StopReason};
use trunkline_store::{ShardKey, Store};

use super::core::{CoreInput, ShardStart, place};
use super::node::Shared;
use super::record::Record;
use crate::config::{BotConfig, ShardsConfig};

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
    /// Why it failed for good.
    pub failed: Option<String>,
}

/// Starts every bot in a task of its own. `all_failed` is set when none is left.
#[must_use]
pub fn start(shared: &Shared, all_failed: watch::Sender<Option<String>>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let count = shared.config.bots.len();
    let (failed, mut failures) = mpsc::channel::<String>(count.max(1));
    for (index, bot) in shared.config.bots.iter().enumerate() {
        set(shared, index, BotState { id: None, name: label(index), shards: Vec::new(), identify: None, failed: None });
        let (shared, bot, failed) = (shared.clone(), bot.clone(), failed.clone());
        tasks.spawn(async move {
            let reason = run_bot(&shared, index, &bot).await;
            change(&shared, index, |state| state.failed = Some(reason.clone()));
            tracing::error!("{reason}");
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
    let count = settle_count(&store, bot, &prepared);
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

    let (ended, mut ends) = mpsc::unbounded_channel();
    for (shard, counters) in shards {
        let loaded = match load(shared, shard).await {
            Ok(loaded) => loaded,
            Err(reason) => return format!("{name}: shard {} cannot be taken: {reason}", shard.index),
        };
        let mut config = ShardConfig::new(shard, session_config(shared, bot, &prepared, shard), seed(shared, shard));
        config.ordinal = loaded.ordinal;
        let tools = ShardTools { net: net.clone(), clock: shared.clock, identify: queue.client(), stats: counters };
        let start = ShardStart {
            shard,
            epoch: loaded.epoch,
            log: loaded.log,
            log_record: loaded.log_record,
            cache: loaded.cache,
            resume: loaded.resume,
            clear_cache: loaded.clear_cache,
            restored_entries: loaded.entries,
            config,
            tools,
            ended: ended.clone(),
        };
        let core = &shared.cores[shard.index as usize % shared.cores.len()];
        if core.send(CoreInput::Add(Box::new(start))).is_err() {
            return format!("{name}: the core of shard {} has ended", shard.index);
        }
    }
    drop(ended);

    // A bot lives as long as one of its shards does.
    let mut last = String::new();
    while let Some(end) = ends.recv().await {
        if let StopReason::Fatal(_) = end.reason {
            last = end.reason.to_string();
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
    let prepared = prepare_bot(&api, &wish, &mut dice).await.map_err(|error| format!("{error} (token from {})", bot.token_origin))?;
    Ok((api, net, prepared))
}

/// With `shards = "auto"`, a restart keeps the count that the stored sessions have: another count would cost every session.
fn settle_count(store: &Store, bot: &BotConfig, prepared: &PreparedBot) -> u32 {
    let count = prepared.plan.count;
    let meta = format!("shards/{}", prepared.bot_id);
    let stored = store.get_meta(&meta).ok().flatten().and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse::<u32>().ok());
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
    if let Err(error) = store.put_meta(&meta, count.to_string().as_bytes()) {
        tracing::warn!(bot = %prepared.bot_id, "the shard count could not be noted in the store: {error}");
    }
    count
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

struct Loaded {
    epoch: u64,
    log: Option<RestoredLog>,
    log_record: Vec<u8>,
    cache: Cache,
    resume: Option<ResumePoint>,
    ordinal: u64,
    clear_cache: bool,
    entries: u64,
}

/// Loads one shard from the store, off every runtime thread. What cannot be read costs that shard its session, and says so.
async fn load(shared: &Shared, shard: ShardId) -> Result<Loaded, String> {
    let store = shared.keeper.store.clone();
    let clock = shared.clock;
    let memory_bytes =
        shared.config.groups.iter().map(|group| group.limits.memory_bytes).max().unwrap_or(0) / shared.cores.len().max(1) as u64;
    let loaded = tokio::task::spawn_blocking(move || {
        let key = ShardKey { bot: shard.bot, index: shard.index, count: shard.count };
        let epoch = store.next_epoch(key).map_err(|error| error.to_string())?;
        let fresh = |ordinal, clear_cache| Loaded {
            epoch,
            log: None,
            log_record: Vec::new(),
            cache: Cache::new(CacheConfig::default()),
            resume: None,
            ordinal,
            clear_cache,
            entries: 0,
        };
        let stored = match store.load_shard(key) {
            Ok(Some(stored)) => stored,
            Ok(None) => return Ok(fresh(0, true)),
            Err(error) => {
                tracing::error!(
                    bot = %shard.bot,
                    shard = %place(shard),
                    "the checkpoint cannot be read, the shard identifies afresh: {error}"
                );
                return Ok(fresh(0, true));
            }
        };
        let record = match Record::decode(&stored.record) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(
                    bot = %shard.bot,
                    shard = %place(shard),
                    "the checkpoint cannot be read, the shard identifies afresh: {error}"
                );
                return Ok(fresh(0, true));
            }
        };
        let (now, unix_us) = (clock.now(), clock.unix_us());
        let mut log = match RestoredLog::decode(&record.log, now, unix_us, memory_bytes) {
            Ok(log) => log,
            Err(error) => {
                tracing::error!(
                    bot = %shard.bot,
                    shard = %place(shard),
                    "the log's record cannot be read, the shard identifies afresh: {error}"
                );
                return Ok(fresh(record.ordinal, true));
            }
        };
        let mut entries = 0;
        let mut unreadable = stored.missing;
        for (position, at, bytes) in &stored.entries {
            match log.push(*position, super::keeper::location(*at), bytes) {
                Ok(_) => entries += 1,
                Err(_) => unreadable += 1,
            }
        }
        if unreadable > 0 {
            tracing::error!(
                bot = %shard.bot,
                shard = %place(shard),
                missing = unreadable,
                "stored events cannot be read; groups that want them are told a gap"
            );
        }
        let mut cache = Cache::new(CacheConfig::default());
        let mut bad_rows = 0_u64;
        let rows = store.load_cache(key, &mut |key, value| {
            if cache.load(key, Bytes::copy_from_slice(value)).is_err() {
                bad_rows += 1;
            }
        });
        if bad_rows > 0 || rows.is_err() {
            tracing::error!(
                bot = %shard.bot,
                shard = %place(shard),
                rows = bad_rows,
                "part of the stored cache cannot be read and is left out; updates of it carry no previous state"
            );
        }
        Ok::<_, String>(Loaded {
            epoch,
            log: Some(log),
            log_record: record.log,
            cache,
            resume: record.resume,
            ordinal: record.ordinal,
            clear_cache: false,
            entries,
        })
    })
    .await;
    loaded.map_err(|error| format!("loading it failed: {error}"))?
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

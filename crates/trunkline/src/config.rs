//! The configuration: strings at the door, types inside, all problems at once.
//!
//! [`parse`] takes the layers (file, environment, flags) as values, so a test never touches the process environment, and answers
//! either a whole [`Config`] or every problem it found, each with its place. Secrets are [`Token`]s or [`GroupToken`]s from here on.

mod bots;
mod document;
mod groups;
pub mod keys;
mod read;
mod show;
mod values;

pub use document::{Document, Origin, Problem, Raw};
pub use show::show;
pub(crate) use values::parse_duration;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use trunkline_cache::{CacheConfig, Kinds};
use trunkline_delivery::{Filter, GroupLimits};
use trunkline_discord::{Compression, Intents, Token};
use trunkline_etf::Encoding;

/// What the layers are read from; tests give their own.
#[derive(Debug, Default)]
pub struct Sources {
    /// Configuration file: name for messages, and its text.
    pub file: Option<(String, String)>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// Flags: concrete key, value as text, the flag's name for messages.
    pub flags: Vec<(String, String, String)>,
    /// No bot is needed: the process holds no shard.
    pub without_bots: bool,
}

/// Everything `trunkline run` needs, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Discord, or a server like it.
    pub discord: DiscordConfig,
    /// Addresses to listen on.
    pub listen: ListenConfig,
    /// The state API.
    pub state: StateConfig,
    /// The embedded store.
    pub store: StoreConfig,
    /// Threads that own shards; `None`: one a CPU core.
    pub cores: Option<usize>,
    /// Logging.
    pub log: LogConfig,
    /// Bots; at least one.
    pub bots: Vec<BotConfig>,
    /// Worker groups; at least one (`default` when none is configured).
    pub groups: Vec<GroupConfig>,
    /// Things that are allowed but should be known (told at start and by `check`).
    pub warnings: Vec<String>,
}

/// `[discord]`.
#[derive(Debug, Clone)]
pub struct DiscordConfig {
    /// REST base without a trailing slash.
    pub api: String,
    /// Encoding of new sessions.
    pub encoding: Encoding,
    /// Compression of new sessions.
    pub compress: Compression,
    /// Additional root certificate.
    pub ca_file: Option<PathBuf>,
}

/// `[listen]`.
#[derive(Debug, Clone)]
pub struct ListenConfig {
    /// Clients' port.
    pub clients: SocketAddr,
    /// Admin port.
    pub admin: SocketAddr,
    /// Calls without a token allowed off loopback.
    pub anonymous: bool,
}

/// `[state]`.
#[derive(Debug, Clone)]
pub struct StateConfig {
    /// How callers who accept both encodings are answered.
    pub encoding: Encoding,
}

/// `[store]`.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Directory of the embedded store, and of the groups' tokens that are made at the first start.
    pub path: PathBuf,
    /// PostgreSQL instead of the embedded store.
    pub url: Option<StoreUrl>,
    /// When written checkpoints are forced to disk.
    pub sync: Sync,
    /// Bytes of changed objects that may be kept while checkpoints fail, an equal part a shard.
    pub unsaved_bytes: u64,
}

impl StoreConfig {
    /// What is kept while checkpoints fail, where nothing else is configured: minutes of a large bot's changes.
    pub const UNSAVED_BYTES: u64 = 256 << 20;
}

/// The address of a PostgreSQL database, with its password; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(Arc<str>);

impl StoreUrl {
    /// The address itself, to connect with.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Server and database, without the password.
    #[must_use]
    pub fn shown(&self) -> String {
        // Only checked addresses are kept.
        trunkline_store::Address::parse(&self.0).map_or_else(|_| "postgres://***".to_owned(), |address| address.to_string())
    }
}

impl std::fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// When written checkpoints are forced to disk, for power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// With every checkpoint.
    Always,
    /// At most this often.
    Every(Duration),
    /// Left to the operating system.
    Never,
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Filter directives.
    pub level: String,
    /// JSON lines instead of plain ones.
    pub json: bool,
}

/// One `[[bots]]` table.
#[derive(Debug, Clone)]
pub struct BotConfig {
    /// Its token.
    pub token: Token,
    /// Where the token was found, for messages (never the token).
    pub token_origin: String,
    /// Intents as the user wrote them; `None`: all that the flags allow.
    pub intents: Option<Intents>,
    /// Which shards.
    pub shards: ShardsConfig,
    /// Presence as a JSON object, to identify with.
    pub presence: Option<String>,
    /// 50 to 250.
    pub large_threshold: Option<u32>,
    /// Which members that Discord does not tell of by itself are asked for.
    pub members: Members,
    /// What is kept of what Discord tells.
    pub cache: BotCache,
}

/// `[bots.cache]`: bytes are those of all the bot's shards in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BotCache {
    /// Which kinds of objects are kept.
    pub kinds: Kinds,
    /// Messages of each channel.
    pub messages: u32,
    /// How long a message is kept, in milliseconds.
    pub messages_age_ms: u64,
    /// Bytes of all messages.
    pub messages_bytes: u64,
    /// Bytes of all presences that are kept as they came.
    pub presences_raw_bytes: u64,
    /// Bytes of everything; `None`: no limit.
    pub budget_bytes: Option<u64>,
}

impl BotCache {
    /// 256 MiB: a quarter of a million messages of a bot, however many shards it has.
    pub const MESSAGES_BYTES: u64 = 256 << 20;
    /// 64 MiB: some 90 000 presences of a bot, however many shards it has.
    pub const PRESENCES_RAW_BYTES: u64 = 64 << 20;

    /// The part of one of `shards` shards.
    #[must_use]
    pub fn of_shard(&self, shards: usize) -> CacheConfig {
        let part = |bytes: u64| bytes / shards.max(1) as u64;
        CacheConfig {
            kinds: self.kinds,
            message_count: self.messages,
            message_age_ms: self.messages_age_ms,
            message_bytes: part(self.messages_bytes),
            presence_bytes: part(self.presences_raw_bytes),
            budget_bytes: self.budget_bytes.map(part),
        }
    }
}

impl Default for BotCache {
    fn default() -> Self {
        Self {
            kinds: Kinds::ALL,
            messages: CacheConfig::MESSAGE_COUNT,
            messages_age_ms: CacheConfig::MESSAGE_AGE_MS,
            messages_bytes: Self::MESSAGES_BYTES,
            presences_raw_bytes: Self::PRESENCES_RAW_BYTES,
            budget_bytes: None,
        }
    }
}

/// Which members a bot asks Discord for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Members {
    /// None but what callers ask for themselves.
    None,
    /// Those that a lookup misses.
    Lazy,
    /// All of every guild.
    Eager,
}

/// Which shards of a bot this process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardsConfig {
    /// As many as `GET /gateway/bot` says.
    Auto,
    /// All of this many.
    Total(u32),
    /// Some of `total`: `first..=last`.
    Range {
        /// All shards of the bot.
        total: u32,
        /// First held here.
        first: u32,
        /// Last held here, inclusive.
        last: u32,
    },
}

/// A group's token; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct GroupToken(Arc<str>);

impl GroupToken {
    /// Wraps a token.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self(Arc::from(token.trim()))
    }

    /// The secret itself, for comparing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for GroupToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// One `[[groups]]` table.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// Its name.
    pub name: Arc<str>,
    /// Its token; `None`: kept in the store as `NAME.token`, made at the first start.
    pub token: Option<GroupToken>,
    /// What it wants.
    pub filter: Filter,
    /// What it may hold.
    pub limits: GroupLimits,
}

/// Reads all layers.
///
/// # Errors
/// Every problem found, in the order of the file, each with where, what and what to do.
pub fn parse(sources: &Sources) -> Result<Config, Vec<Problem>> {
    match read::read(sources) {
        (Some(config), document) if document.problems.is_empty() => Ok(config),
        (_, document) => Err(document.problems),
    }
}

/// Reads of all layers only where the database is, if it is configured: for what needs no bot.
///
/// # Errors
/// What is wrong with it.
pub fn store_url(sources: &Sources) -> Result<Option<StoreUrl>, Vec<Problem>> {
    read::store_url(sources)
}

/// Reads all layers and keeps the document, with all problems, for [`show`]. There may be a configuration even so, as far as it could be
/// read; it is not to be run then.
#[must_use]
pub fn examine(sources: &Sources) -> (Option<Config>, Document) {
    read::read(sources)
}

/// Whether the log is to be JSON, as far as that can be told of a configuration that may be wrong elsewhere.
#[must_use]
pub fn wants_json(sources: &Sources) -> bool {
    let mut document = Document::default();
    if let Some((name, text)) = &sources.file {
        document.add_file(name, text);
    }
    document.add_environment(sources.environment.iter().cloned());
    for (path, text, flag) in &sources.flags {
        document.set_text(path, text, Origin::Flag(flag.clone()));
    }
    document.entries.get("log.format").is_some_and(|entry| entry.value == Raw::Text("json".to_owned()))
}

#[cfg(test)]
mod tests;

//! The configuration: strings at the door, types inside, all problems at once.
//!
//! [`parse`] takes the layers (file, environment, flags) as values, so a test never touches the process environment, and answers
//! either a whole [`Config`] or every problem it found, each with its place. Secrets are [`Token`]s or [`GroupToken`]s from here on.

mod document;
pub mod keys;
mod read;
mod show;

pub use document::{Document, Origin, Problem, Raw};
pub(crate) use read::parse_duration;
pub use show::show;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
}

/// Everything `trunkline run` needs, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Discord, or a server like it.
    pub discord: DiscordConfig,
    /// Addresses to listen on.
    pub listen: ListenConfig,
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

/// `[store]`.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Directory.
    pub path: PathBuf,
    /// When written checkpoints are forced to disk.
    pub sync: Sync,
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
    read::read(sources).map(|(config, _)| config)
}

/// Reads all layers and keeps the document for [`show`].
///
/// # Errors
/// As [`parse`].
pub fn parse_with_document(sources: &Sources) -> Result<(Config, Document), Vec<Problem>> {
    read::read(sources)
}

#[cfg(test)]
mod tests;

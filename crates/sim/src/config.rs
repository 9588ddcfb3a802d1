//! What a simulated Discord is told at its start. Plain values: the command line belongs to the program that holds this crate.

use std::net::SocketAddr;
use std::time::Duration;

use crate::faults::Planned;

/// What the traffic consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mix {
    /// A big bot's day without presences: 40 % MESSAGE_CREATE, reactions, voice, members and the rest. About 1.2 kB per event.
    #[default]
    Steady,
    /// 70 % PRESENCE_UPDATE, the rest as in `Steady`. About 0.6 kB per event.
    Presence,
    /// Every documented event kind in turn, guild by guild.
    Every,
}

impl std::str::FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Mix, String> {
        match text {
            "steady" => Ok(Mix::Steady),
            "presence" => Ok(Mix::Presence),
            "every" => Ok(Mix::Every),
            other => Err(format!("unknown mix \"{other}\": write steady, presence or every")),
        }
    }
}

/// One bot that may log in.
#[derive(Debug, Clone)]
pub struct BotConfig {
    /// Its token, without `Bot `. If its first part is an id in base64, as in Discord's own tokens, the bot gets that id.
    pub token: String,
    /// The application's public flags; they switch the privileged intents on. Default: all three (in their form for small bots).
    pub application_flags: u64,
    /// Session starts per 24 hours (Discord docs, Gateway: Session Start Limit). Default 1000.
    pub identifies_per_day: u32,
}

impl BotConfig {
    /// A bot with this token and everything else as usual. A leading `Bot ` is taken off.
    pub fn new(token: &str) -> BotConfig {
        BotConfig {
            token: token.strip_prefix("Bot ").unwrap_or(token).to_string(),
            application_flags: 1 << 13 | 1 << 15 | 1 << 19,
            identifies_per_day: 1000,
        }
    }
}

/// Certificate and key for `https` and `wss`.
#[derive(Debug, Clone)]
pub struct Tls {
    /// PEM text of the certificate chain.
    pub cert_pem: String,
    /// PEM text of the private key.
    pub key_pem: String,
}

/// The whole of a simulated Discord. [`Config::default`] is a small one with the token `sim`.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// `host:port` written into gateway addresses instead of the listening address (for certificates with a name).
    pub advertise: Option<String>,
    /// With it, everything is served over TLS.
    pub tls: Option<Tls>,
    /// The bots. Default: one whose token is `sim`.
    pub bots: Vec<BotConfig>,
    /// Shards that `/gateway/bot` recommends; also the count by which traffic without a session is recorded. Default 1.
    pub shards: u32,
    /// Identify concurrency per 5 s. Default 1.
    pub max_concurrency: u32,
    /// Guilds per bot. Default 10.
    pub guilds: u32,
    /// Members per guild, beside the bot. Default 50.
    pub members: u32,
    /// Events per second over all bots and guilds. 0: nothing but what clients and the control ask for. Default 0.
    pub rate: f64,
    /// What the traffic consists of.
    pub mix: Mix,
    /// Same seed, same world and same order of events. Default 1.
    pub seed: u64,
    /// Traffic begins only with the first session. Default true.
    pub wait_for_first_session: bool,
    /// Faults by schedule.
    pub faults: Vec<Planned>,
    /// Drops what a session could replay below the sequence of its last heartbeat; a RESUME from below is closed with 4007.
    pub trim_replay_at_heartbeat: bool,
    /// Milliseconds between beats, told in HELLO. Default 41250.
    pub heartbeat_interval_ms: u64,
    /// How long a session without a connection can be resumed. Default 3 minutes.
    pub session_ttl: Duration,
    /// Events kept per session for replay. Default 50000 (about 4 MB; payloads are rendered when sent).
    pub replay_events_max: usize,
    /// Guilds on one shard from which on an identify is closed with 4011. Default 2501 (2500 are allowed).
    pub sharding_required_at: u32,
    /// For a large bot: the shard count must be a multiple of this, else 4010. Default 1.
    pub shards_multiple_of: u32,
    /// Compression level of zlib-stream, 1 to 9. Default 1.
    pub zlib_level: u32,
    /// Compression level of zstd-stream. Default 1.
    pub zstd_level: i32,
    /// Splits each zlib-stream message into websocket messages of at most this many bytes.
    pub zlib_split_bytes: Option<usize>,
    /// GET /gateway/bot allowed per 5 s and token. Default 2.
    pub gateway_bot_per_5s: u32,
    /// Guilds of each bot that are unavailable at the start and stay so until the control's `outage` ends.
    pub unavailable_at_start: u32,
    /// Events recorded per session for accounting (5 bytes each); what is beyond is counted only. Default 16 million.
    pub record_events_max: usize,
    /// Ends by itself after this time.
    pub run_for: Option<Duration>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            tls: None,
            bots: vec![BotConfig::new("sim")],
            shards: 1,
            max_concurrency: 1,
            guilds: 10,
            members: 50,
            rate: 0.0,
            mix: Mix::Steady,
            seed: 1,
            wait_for_first_session: true,
            faults: Vec::new(),
            trim_replay_at_heartbeat: false,
            heartbeat_interval_ms: 41_250,
            session_ttl: Duration::from_secs(180),
            replay_events_max: 50_000,
            sharding_required_at: 2501,
            shards_multiple_of: 1,
            zlib_level: 1,
            zstd_level: 1,
            zlib_split_bytes: None,
            gateway_bot_per_5s: 2,
            unavailable_at_start: 0,
            record_events_max: 16_000_000,
            run_for: None,
        }
    }
}

//! What a shard's session is told at its start, and its limits.

use std::time::Duration;

use trunkline_discord::{Compression, Encoding, Intents, Object, Token};

/// Settings of one shard. Intents and shard pair hold for new sessions and, when they differ from a stored session's,
/// make the next one new; encoding and compression take effect with the next new session.
#[derive(Clone, Debug)]
pub struct Config {
    /// Shard index and shard count.
    pub shard: (u32, u32),
    /// The bot's token.
    pub token: Token,
    /// The intents to identify with.
    pub intents: Intents,
    /// The encoding of new sessions.
    pub encoding: Encoding,
    /// The compression of new sessions.
    pub compression: Compression,
    /// The presence to identify with: the body of a presence update (op 3), in any encoding.
    pub presence: Option<Object>,
    /// Members above which a guild counts as large; Discord allows 50 to 250 and assumes 50.
    pub large_threshold: Option<u32>,
    /// Objects are wanted whole that a stored session has not told whole: it is given up, for only a new one tells them.
    pub tell_anew: bool,
    /// The main gateway address, as `GET /gateway/bot` gave it; the query is added here.
    pub gateway_url: String,
    /// Times and counts; the default is for Discord.
    pub limits: Limits,
}

impl Config {
    /// Settings for one shard with everything else as it is by default: ETF, zstd, no presence.
    pub fn new(shard: (u32, u32), token: Token, intents: Intents, gateway_url: impl Into<String>) -> Config {
        Config {
            shard,
            token,
            intents,
            encoding: Encoding::Etf,
            compression: Compression::default(),
            presence: None,
            large_threshold: None,
            tell_anew: false,
            gateway_url: gateway_url.into(),
            limits: Limits::DISCORD,
        }
    }
}

/// Times and counts that Discord's docs leave open, or state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long HELLO may take after the socket is open.
    pub hello: Duration,
    /// How long READY may take after IDENTIFY. Long, because Discord holds it back during an outage while the socket
    /// stays fine (Discord docs, Gateway: Ready), and a second IDENTIFY would cost the day's budget.
    pub ready: Duration,
    /// How long a resumed connection may be without a dispatch before RESUMED came.
    pub resumed: Duration,
    /// How long RESUME waits for room in the log.
    pub room: Duration,
    /// The longest pause between two attempts to connect; the pauses are 0, 1, 2, 4 … seconds up to this, jittered.
    pub backoff_max: Duration,
    /// The longest pause after a connection that brought events of a session that can be resumed, but did not last.
    /// Discord is there, and every pause is events that come late; yet a thousand shards that are thrown out as soon as
    /// they are in must not knock all the time.
    pub brief_max: Duration,
    /// How long events must have flowed on a connection for the next reconnect to be immediate again.
    pub steady: Duration,
    /// The pause after an invalid session or a refused identify: random between these two.
    pub invalid_wait: (Duration, Duration),
    /// The pause after close code 4008 (too many frames).
    pub slow_down: Duration,
    /// RESUMEs that must have failed in a row, each without a single event replayed, before the session is given up.
    pub resumes_max: u32,
    /// How long such a row must have lasted besides, from its first failure on. Discord says itself when a session is
    /// gone (op 9, 4007, 4009); a row without that word is trouble of Discord's own, and one that passes within minutes
    /// must not cost the events that the session still holds.
    pub resumes_for: Duration,
    /// Undecodable or impossible frames at one and the same sequence number before the session is given up.
    pub bad_frames_max: u32,
    /// Repeated sequence numbers in a row before the stream counts as broken.
    pub duplicates_max: u32,
    /// The largest jump in the sequence that is a gap; a larger one is a broken frame.
    pub jump_max: u64,
    /// Commands that wait for their turn; the next one is refused.
    pub commands_max: usize,
}

impl Limits {
    /// The figures for Discord.
    pub const DISCORD: Limits = Limits {
        hello: Duration::from_secs(20),
        ready: Duration::from_secs(600),
        resumed: Duration::from_secs(60),
        room: Duration::from_secs(5),
        backoff_max: Duration::from_secs(64),
        brief_max: Duration::from_secs(4),
        steady: Duration::from_secs(2),
        invalid_wait: (Duration::from_secs(1), Duration::from_secs(5)),
        slow_down: Duration::from_secs(5),
        resumes_max: 5,
        resumes_for: Duration::from_secs(300),
        bad_frames_max: 3,
        duplicates_max: 10_000,
        jump_max: 1_000_000,
        commands_max: 256,
    };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::DISCORD
    }
}

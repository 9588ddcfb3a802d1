//! What happened: counted and listed, for the report and for accounting of losses.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::compress::Transport;
use crate::out::Encoding;

/// Entries that lists of the report hold at most; what is beyond is counted only.
pub(crate) const LISTED_MAX: usize = 10_000;

/// Something the client did that Discord's documentation forbids; in [`Report::notes`], that is merely worth a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientFault {
    /// Short name, for example `identify_too_fast`.
    pub kind: &'static str,
    /// Milliseconds since the start.
    pub at_ms: u64,
    /// Bot id, where known.
    pub bot: Option<u64>,
    /// Shard index, where known.
    pub shard: Option<u32>,
    /// What was wrong.
    pub text: String,
}

/// Events that no session was there to receive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unseen {
    /// Bot id.
    pub bot: u64,
    /// Shard index by the recommended shard count.
    pub shard: u32,
    /// Unix time of the first, ms.
    pub from_unix_ms: u64,
    /// Unix time of the last, ms.
    pub to_unix_ms: u64,
    /// How many.
    pub events: u64,
}

/// A fault that was done to the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Injected {
    /// Its name, for example `close=4000`.
    pub kind: String,
    /// Milliseconds since the start.
    pub at_ms: u64,
    /// Shard index it was aimed at; None: all.
    pub shard: Option<u32>,
    /// Connections that it hit.
    pub connections: u64,
}

/// One session in the report.
#[derive(Debug, Clone, Serialize)]
pub struct SessionLine {
    /// Session id as in READY.
    pub session_id: String,
    /// Numbered from 1 in order of their making.
    pub ordinal: u64,
    /// Bot id.
    pub bot: u64,
    /// Shard index and count.
    pub shard: (u32, u32),
    /// Encoding of the connection that made it.
    pub encoding: Encoding,
    /// Compression of the connection that made it.
    pub compress: Transport,
    /// Intents.
    pub intents: u64,
    /// Last `s` given out; the first is 1.
    pub last_s: u64,
    /// Unix time of READY, ms.
    pub started_unix_ms: u64,
    /// Unix time of its end, ms.
    pub ended_unix_ms: Option<u64>,
    /// Why it ended.
    pub ended_because: Option<&'static str>,
    /// Successful resumes.
    pub resumes: u64,
    /// Whether a connection holds it now.
    pub connected: bool,
}

/// Everything there is to say about a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Unix time of the start, ms.
    pub started_unix_ms: u64,
    /// Length of the run so far, seconds.
    pub seconds: f64,
    /// Events that happened in the world.
    pub events_emitted: u64,
    /// Dispatches given an `s` in some session (an event counts once per session that it went to).
    pub events_sent: u64,
    /// Events that happened while no session covered their guild.
    pub events_without_session: u64,
    /// The same as ranges of time per shard.
    pub unseen: Vec<Unseen>,
    /// Dispatches sent by name.
    pub events_by_kind: BTreeMap<String, u64>,
    /// Dispatches sent by `bot/shard/count`.
    pub events_by_shard: BTreeMap<String, u64>,
    /// Websocket connections.
    pub connections: u64,
    /// Accepted identifies.
    pub identifies: u64,
    /// Refused identifies.
    pub identifies_refused: u64,
    /// Accepted resumes.
    pub resumes: u64,
    /// Refused resumes.
    pub resumes_refused: u64,
    /// Dispatches sent again by resumes.
    pub events_replayed: u64,
    /// Heartbeats received.
    pub heartbeats: u64,
    /// REST requests by `METHOD /path STATUS`.
    pub rest: BTreeMap<String, u64>,
    /// Payload bytes sent, before compression.
    pub bytes_plain: u64,
    /// Websocket message bytes sent, after compression.
    pub bytes_packed: u64,
    /// Faults done to the client.
    pub faults_injected: Vec<Injected>,
    /// All sessions.
    pub sessions: Vec<SessionLine>,
    /// How many things the client did wrong.
    pub client_faults_total: u64,
    /// What the client did wrong (the first 10 000).
    pub client_faults: Vec<ClientFault>,
    /// What the client did that is odd or unwise, that Discord lets pass, and that libraries in wide use do (the first
    /// 10 000): no fault of it.
    pub notes: Vec<ClientFault>,
}

/// What one session was sent, for comparison with what arrived.
#[derive(Debug, Clone)]
pub struct SentSession {
    /// Session id as in READY.
    pub session_id: String,
    /// Numbered from 1 in order of their making.
    pub ordinal: u64,
    /// Bot id.
    pub bot: u64,
    /// Shard index and count.
    pub shard: (u32, u32),
    /// Last `s` given out.
    pub last_s: u64,
    /// Kind per `s`, first `s` is 1: codes of [`crate::Kind`]. [`crate::Kind::Skipped`] marks an `s` that was jumped over.
    pub kinds: Vec<u8>,
    /// Guild id per `s`, as an index into [`SentSession::guild_ids`]; `u32::MAX`: none.
    pub guilds: Vec<u32>,
    /// Ids of the world's guilds.
    pub guild_ids: std::sync::Arc<Vec<u64>>,
}

impl SentSession {
    /// Kind of the event with this `s`; None: not recorded or skipped.
    pub fn kind(&self, s: u64) -> Option<crate::Kind> {
        let code = *self.kinds.get(usize::try_from(s.checked_sub(1)?).ok()?)?;
        crate::Kind::ALL.get(usize::from(code)).copied().filter(|kind| *kind != crate::Kind::Skipped)
    }

    /// Guild of the event with this `s`, if it has one.
    pub fn guild_id(&self, s: u64) -> Option<u64> {
        let guild = *self.guilds.get(usize::try_from(s.checked_sub(1)?).ok()?)?;
        self.guild_ids.get(guild as usize).copied()
    }

    /// Every `s` that was sent, in order.
    pub fn sequence(&self) -> impl Iterator<Item = u64> + '_ {
        (1..=self.last_s).filter(|s| {
            let code = self.kinds.get((*s - 1) as usize);
            code != Some(&(crate::Kind::Skipped as u8))
        })
    }
}

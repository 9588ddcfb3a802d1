//! One dispatched event as it travels from a shard to its consumers.
//!
//! Immutable and shared; it owns exactly its bytes. The body is Discord's own, in the encoding it came in.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use trunkline_etf::{Encoding, Value};

use crate::{EventKind, Previous, Routing, ShardId, Time};

/// A raw object in the encoding it came in; cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    /// How `bytes` are written.
    pub encoding: Encoding,
    /// One validated term: for ETF without the version byte.
    pub bytes: Bytes,
}

impl Object {
    /// Copies one term out of the frame it lies in.
    pub fn copy_of(value: Value<'_>) -> Object {
        Object { encoding: value.encoding(), bytes: Bytes::copy_from_slice(value.raw()) }
    }

    /// The object, to look into.
    pub fn value(&self) -> Value<'_> {
        Value::from_raw(self.encoding, &self.bytes)
    }
}

/// Sizes only: what is inside belongs to users.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({:?}, {} bytes)", self.encoding, self.bytes.len())
    }
}

/// An event's name on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EventName {
    /// A documented one.
    Static(&'static str),
    /// Any other, as Discord wrote it.
    Other(Arc<str>),
}

impl EventName {
    /// The name of an event of this kind that came under `name`; nothing is copied for a documented one.
    // Inline, so that the event around it need not lie in memory before it is whole.
    #[inline]
    pub fn new(kind: EventKind, name: &str) -> EventName {
        match kind {
            EventKind::Unknown => EventName::Other(name.into()),
            known => EventName::Static(known.name()),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        match self {
            EventName::Static(name) => name,
            EventName::Other(name) => name,
        }
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a GUILD_CREATE came. Nothing in its payload tells (Discord docs, Gateway Events: Guild Create).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GuildOrigin {
    /// Loaded after READY: the bot was in it already.
    Startup,
    /// Back after an outage.
    Available,
    /// The bot has just been added.
    Joined,
}

impl GuildOrigin {
    /// `startup`, `available` or `joined`.
    pub const fn as_str(self) -> &'static str {
        match self {
            GuildOrigin::Startup => "startup",
            GuildOrigin::Available => "available",
            GuildOrigin::Joined => "joined",
        }
    }
}

/// One dispatched event.
#[derive(Clone)]
pub struct Event {
    /// Where it came from.
    pub shard: ShardId,
    /// Which of the shard's sessions: rises by one with every new session, stays over resumes.
    pub session: u64,
    /// Discord's sequence number within the session.
    pub s: u64,
    /// The shard's ownership epoch under which it was received.
    pub epoch: u64,
    /// Its kind.
    pub kind: EventKind,
    /// Its name, also for a kind that is not documented.
    pub name: EventName,
    /// How `body` is written.
    pub encoding: Encoding,
    /// The raw `d`; for ETF without the version byte.
    pub body: Bytes,
    /// The object as it was before this event, where the cache knew it.
    pub previous: Option<Previous>,
    /// For GUILD_CREATE, why it came.
    pub origin: Option<GuildOrigin>,
    /// The ids by which it is spread and filtered.
    pub routing: Routing,
    /// When it was received, in Unix microseconds: for people and for headers.
    pub received_at_unix_us: u64,
    /// When it was received, on the process's own clock: for latencies and ages.
    pub received_at: Time,
}

impl Event {
    /// The body, to look into.
    pub fn value(&self) -> Value<'_> {
        Value::from_raw(self.encoding, &self.body)
    }

    /// Bytes of memory that this event keeps alive: itself, its body, and the previous object (which the cache may
    /// share, and which is counted here all the same, so that a limit errs on the safe side).
    pub fn bytes_held(&self) -> usize {
        let name = match &self.name {
            EventName::Static(_) => 0,
            EventName::Other(name) => name.len(),
        };
        size_of::<Event>() + self.body.len() + name + self.previous.as_ref().map_or(0, Previous::bytes_held)
    }
}

/// Where it is and how large: what is inside belongs to users.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event { shard, session, s, epoch, name, .. } = self;
        write!(f, "Event({name}, shard {shard}, session {session}, s {s}, epoch {epoch}, {} bytes)", self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_documented_name_is_not_copied_and_an_unknown_one_passes_as_itself() {
        assert_eq!(EventName::new(EventKind::Ready, "READY"), EventName::Static("READY"));
        let kind = EventKind::from_name("SOMETHING_NEW");
        let name = EventName::new(kind, "SOMETHING_NEW");
        assert_eq!(name.as_str(), "SOMETHING_NEW");
        assert_eq!(name.to_string(), "SOMETHING_NEW");
    }

    #[test]
    fn bytes_held_counts_body_name_and_previous_state() {
        let mut event = Event {
            shard: ShardId { bot: 1, index: 0, count: 1 },
            session: 1,
            s: 1,
            epoch: 1,
            kind: EventKind::Unknown,
            name: EventName::new(EventKind::Unknown, "ABC"),
            encoding: Encoding::Json,
            body: Bytes::from_static(b"{\"a\":1}"),
            previous: None,
            origin: None,
            routing: Routing::default(),
            received_at_unix_us: 0,
            received_at: Time::ZERO,
        };
        let bare = event.bytes_held();
        assert_eq!(bare, size_of::<Event>() + 7 + 3);
        event.previous = Some(Object { encoding: Encoding::Json, bytes: Bytes::from_static(b"{}") }.into());
        assert_eq!(event.bytes_held(), bare + 2);
        assert_eq!(event.value().get("a").and_then(Value::as_u64), Some(1));
        assert!(!format!("{:?}", event.previous).contains("{}"));
    }
}

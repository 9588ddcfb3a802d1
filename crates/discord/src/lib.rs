//! Discord's words and rules: ids, op and close codes, intents, event kinds, envelopes.
//!
//! Everything here is what Discord's documentation states, as values and pure functions, so that every other crate
//! means the same thing by the same word. Nothing here keeps state, reads a clock or touches a socket, and nothing
//! turns a payload into a typed object: a payload stays the bytes it arrived as.
//!
//! Invariants: an event name or op code that is not known here passes through as itself; a [`Token`] never shows in
//! debug output; no function panics on any input.

mod close;
mod dice;
mod edit;
mod envelope;
mod event;
mod gap;
mod intents;
mod kind;
pub mod message;
mod nearest;
mod op;
mod previous;
mod routing;
mod shard;
mod snowflake;
mod time;
mod token;
mod url;

pub use close::{CloseCode, CloseVerdict};
pub use dice::Dice;
pub use envelope::{Envelope, EnvelopeError};
pub use event::{Event, EventName, GuildOrigin, Object};
pub use gap::{Gap, GapCause};
pub use intents::{Intents, IntentsError};
pub use kind::EventKind;
pub use nearest::nearest;
pub use op::Op;
pub use previous::Previous;
pub use routing::{Field, Fields, Routing, routing};
pub use shard::{ShardId, ShardIdError, identify_key, shard_of};
pub use snowflake::{DISCORD_EPOCH_MS, Id, created_at_ms};
pub use time::Time;
pub use token::Token;
pub use trunkline_etf::Encoding;
pub use url::{Compression, GATEWAY_VERSION, GatewayUrl};

//! The state API: Discord's state over HTTP, below `/v1/events`, with the routes, bodies and statuses that users of Tatsu's state service
//! have.
//!
//! What a request means is a [`Query`], where its answer comes from is a [`StateSource`]: the live caches ([`Live`]), or a database that
//! holds their copy. How it is written is decided here: JSON unless the caller accepts `application/x-erlang-binary` (or the configuration
//! turns that round); an object as it was stored, a list as a JSON array or one ETF list.
//!
//! # Rules
//! - An unknown object is 404, an unknown guild's list is empty, an id that is none is 400. What has gone wrong is said in plain text.
//! - Lists are fetched in pages of [`PAGE`] and written as they come, so that the largest guild takes the memory of a page. An ETF list has
//!   its length in front: it is gathered first, up to [`ETF_LIST_BYTES_MAX`], a few such lists at a time ([`ETF_LISTS_AT_ONCE`]). Beside Tatsu's parameters every list takes
//!   `?after=ID&limit=N`.
//! - `?bot_id=` names the bot where several hold the same guild.
//! - A group's token (`authorization: Bearer`) gives a call that group's scope, as everywhere on this port. A user is in it where the user
//!   is a member of one of its guilds; what is in no guild at all is for those who may ask about the whole bot. What is written into a
//!   guild changes no other: neither its channels nor, unless the whole bot is in the scope, users that are known already; nor does it
//!   make anybody visible.
//! - Where no bot is named, "not there", lists and sums over all bots are answered once every bot of the configuration is up; 503 until then.

mod answer;
mod change;
mod guild;
mod live;
mod query;
mod routes;

pub use answer::{ETF_LIST_BYTES_MAX, Format};
pub use change::{kept_as, kept_member, not_of_guild, stranger};
pub use guild::{GUILD_LISTS, whole_guild};
pub use live::Live;
pub use query::{Answer, Answering, Page, Query, StateError, StateSource, Written};
pub use routes::{BODY_BYTES_MAX, ETF_LISTS_AT_ONCE, StateOptions, routes};

/// Objects that are fetched at a time.
pub const PAGE: usize = 1_000;

/// Ids that one request may name.
pub const IDS_MAX: usize = 10_000;

/// The OpenAPI document of the routes, served at `/v1/events/openapi.json`.
pub const OPENAPI: &str = include_str!("openapi.json");

//! Sockets towards Discord; drives the session.
//!
//! A shard's driver ([`run_shard`]) opens its websocket, takes the compression off, reads the envelope, and feeds
//! [`trunkline_session::Session`], whose actions it carries out. It decides nothing of the protocol. Beside it are the
//! identify queue of a bot ([`IdentifyQueue`]) and the few REST calls of a start ([`prepare_bot`]).
//!
//! Never here: what an event means, who wants it, where it is kept. Events go to a [`ShardEvents`] handler on the shard's
//! own core, synchronously, as bytes.
//!
//! Invariants: the socket is always read; nothing from the network is taken in without a size and a time limit; the
//! socket is never closed with 1000 or 1001, which would end the session at Discord; a token leaves only towards Discord.

pub mod batch;
pub mod inflate;

mod api;
mod budget;
mod clock;
mod events;
mod identify;
mod net;
mod plan;
mod prepare;
mod shard;
mod socket;
mod stats;
mod telling;

pub use api::{ApiError, Application, BotApi, GatewayBot, User};
pub use budget::{Blocked, IdentifyBudget, IdentifyStatus, Moment, Next, SPACING, SessionStartLimit};
pub use clock::{Clock, Stamp, Watch};
pub use events::{Dispatched, Ready, ShardControl, ShardEnd, ShardEvents};
pub use identify::{Grant, IdentifyClient, IdentifyConfig, IdentifyQueue, LEDGER_PATIENCE, Ledger, QueueGone};
pub use net::{ConnectError, Dial, Dialing, Link, Net, NetError, NetLimits, Socket, USER_AGENT, Wire};
pub use plan::{PlanError, SHARDS_MAX, ShardPlan, ShardsWanted, plan};
pub use prepare::{BotWish, PrepareError, PreparedBot, Trouble, prepare_bot, prepare_bot_telling};
pub use shard::{ShardConfig, ShardTools, run_shard};
pub use stats::{Losses, Pause, Reconnects, ShardStats, Standing};
pub use trunkline_session::Phase;

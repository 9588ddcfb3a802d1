//! A simulated Discord: gateway and REST, with faults on demand.
//!
//! Written from Discord's documentation, not from what any client sends: it refuses what Discord refuses, notes what a client does
//! wrong, and keeps account of every event it sends. Unmodified Discord libraries can log in to it.
//!
//! ```no_run
//! # async fn example() -> Result<(), trunkline_sim::StartError> {
//! let sim = trunkline_sim::Sim::start(trunkline_sim::Config { rate: 100.0, ..Default::default() }).await?;
//! println!("log in with the token \"sim\" at {}", sim.api_url());
//! sim.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! Reading order: [`Config`], [`Sim`]; then `world` (what exists), `event` (what happens), `shapes` (how it looks), `session` and `hub`
//! (who gets what), `connection`, `writer` and `requests` (one websocket), `rest` and `control` (HTTP), `faults`, `chronicle`, `report`.
//! Invariants: nothing here is shared with a client's code; every queue has a limit; a payload is rendered when it is sent.

// The simulator is a driver: it owns clocks and sockets.
#![allow(clippy::disallowed_methods)]

mod chronicle;
mod compress;
mod config;
mod connection;
mod control;
mod event;
mod faults;
mod http;
mod hub;
mod kinds;
mod line;
mod nearest;
mod out;
mod report;
mod requests;
mod rest;
mod server;
mod session;
mod shapes;
mod terms;
mod world;
mod writer;

pub use compress::Transport;
pub use config::{BotConfig, Config, Mix, Tls};
pub use faults::{Fault, FaultKind, Planned, parse_duration, parse_schedule};
pub use kinds::{INTENTS_ALL, Kind};
pub use out::Encoding;
pub use report::{ClientFault, Injected, Report, SentSession, SessionLine, Unseen};
pub use server::{Schedule, Sim, SimHandle, StartError};

//! The ways in for clients: the gRPC worker stream of Pylon's `GatewayWorkerGroup`, with a small client for it, and lookups in the
//! caches ([`mod@lookups`]).
//!
//! A worker stream is one task on the edge runtime. It numbers events, remembers which core's entry each number is,
//! splits acknowledgements by core, lends every core its share of the stream's credit, and asks for acknowledgements.
//! What is sent to whom is decided elsewhere, by each core's [`trunkline_delivery::Hub`]; [`CoreSide`] is what a core's
//! loop holds of a door.
//!
//! In reading order: what a door and a core say to each other ([`link`]), the core's half ([`core_side`]), who may come
//! in ([`groups`]), the pure rules of a stream ([`ledger`], [`heart`], [`shares`]), the stream's task and the service
//! ([`door`]), the listener ([`mod@serve`]), and the worker's side ([`client`]).
//!
//! Invariants: nothing on a core waits for a stream; a slow socket holds only its own stream; every queue is bounded by
//! the stream's credit or by a constant in [`limits`]; a token is never printed.
#![allow(clippy::disallowed_methods)] // A driver: it reads the clock and hands it to the pure parts.

pub mod access;
mod admission;
pub mod client;
pub mod core_side;
pub mod door;
mod gathered;
pub mod groups;
pub mod heart;
pub mod ledger;
pub mod limits;
pub mod link;
pub mod look;
pub mod lookups;
mod member;
pub mod members;
mod registry;
pub mod serve;
pub mod service;
pub mod shares;
pub mod state;
pub mod stats;
mod stream;
mod unary;

pub use access::{Access, Denied, Scope};
pub use core_side::{CoreSide, Up};
pub use door::{DoorOptions, WorkerDoor};
pub use groups::{Group, GroupToken, Groups, GroupsError};
pub use limits::{Limits, Timings};
pub use link::{CoreLink, FromCore, StreamLink, ToCore};
pub use look::{BotEntry, Caches, CommandRefused, Directory, Look, LookError, Looker, MemberSource};
pub use lookups::Lookups;
pub use serve::{ServeError, ServeOptions, serve};
pub use service::WorkerService;
pub use stats::DoorStats;

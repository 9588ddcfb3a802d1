//! The worker stream over real loopback TCP, with cores driven by hand and, where it is about time, a paused clock.
#![allow(clippy::unwrap_used)] // Tests.

mod acks;
mod client;
mod cores;
mod ends;
mod gathered;
mod identity;
mod listener;
mod world;

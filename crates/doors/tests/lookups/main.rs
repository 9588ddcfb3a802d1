//! Lookups over real loopback TCP, from caches that were fed with events as Discord sends them.
#![allow(clippy::unwrap_used)] // Tests.

mod bridge;
mod guild;
mod over_all;
mod own;
mod whom;
mod world;

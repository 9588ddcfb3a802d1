//! The simulated Discord as a client sees it: in memory and on virtual time where possible.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout, missing_docs, unreachable_pub)]

mod asked;
mod client;
mod hurt;
mod login;
mod mirror;
mod rest;
mod rules;
mod told;

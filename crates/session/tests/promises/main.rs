//! Every rule of Discord's gateway life cycle that the session keeps, as a promise on virtual time.
//!
//! The names say what is promised or what goes wrong. No test waits, and each runs the same way every time.
// Seeds are printed, so that a failing run can be repeated.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod chaos;
mod closing;
mod commands;
mod heartbeats;
mod joining;
mod pausing;
mod resuming;
mod rig;
mod sequence;
mod stopping;

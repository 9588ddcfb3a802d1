//! Trunkline, a managed Discord gateway: configuration, command line and roles.
#![allow(clippy::disallowed_methods, reason = "the binary drives; it reads the clock")]

pub mod accounting;
pub mod cli;
pub mod commands;
pub mod config;
pub mod logging;
pub mod roles;

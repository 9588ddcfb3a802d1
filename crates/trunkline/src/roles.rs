//! Where the crates meet: what runs in a process, and how its parts are wired. Roles wire, they do not decide.

pub mod admin;
pub mod bots;
pub mod core;
pub mod keeper;
pub mod load;
pub mod metrics;
pub mod node;
pub mod record;
pub mod status;
pub mod unconsumed;

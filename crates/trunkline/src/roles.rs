//! Where the crates meet: what runs in a process, and how its parts are wired. Roles wire, they do not decide.

pub mod admin;
pub mod bots;
pub mod core;
pub mod falls;
pub mod keeper;
pub mod load;
pub mod members;
pub mod metrics;
pub mod node;
pub mod readiness;
pub mod record;
pub mod removed;
pub mod rows;
pub mod state;
pub mod status;
pub mod stored;
pub mod tail;
pub mod unconsumed;
pub mod unsaved;

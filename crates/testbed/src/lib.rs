//! Scenarios, benches and checks of the whole.
#![recursion_limit = "256"] // A guild's fields in one `json!`.

pub mod python;
pub mod world;

//! Scenarios, benches and checks of the whole.

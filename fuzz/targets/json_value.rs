//! A JSON document from the network: parsed, and every question asked of every value in it, checked or not.
#![no_main]

#[path = "../../crates/etf/tests/common/mod.rs"]
mod common;

use libfuzzer_sys::fuzz_target;
use trunkline_etf::{Encoding, Limits, Value};

fuzz_target!(|data: &[u8]| {
    common::ask(Value::from_raw(Encoding::Json, data), 3);
    let Ok(value) = Value::parse(Encoding::Json, data, &Limits::GATEWAY) else { return };
    common::ask(value, 5);
    // A value that was read and written again means the same.
    let copy = common::rewritten_json(value);
    let again = Value::parse(Encoding::Json, &copy, &Limits::GATEWAY).expect("our writer writes what our reader reads");
    assert_eq!(common::rewritten_json(again), copy);
});

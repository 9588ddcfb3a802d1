//! An ETF document from the network: parsed, and every question asked of every term in it, checked or not.
#![no_main]

#[path = "../../crates/etf/tests/common/mod.rs"]
mod common;

use libfuzzer_sys::fuzz_target;
use trunkline_etf::{Encoding, Limits, Value};

fuzz_target!(|data: &[u8]| {
    common::ask(Value::from_raw(Encoding::Etf, data), 3);
    let Ok(value) = Value::parse(Encoding::Etf, data, &Limits::GATEWAY) else { return };
    common::ask(value, 5);
    // A term that was read and written again means the same.
    let copy = common::rewritten_etf(value);
    let again = Value::parse(Encoding::Etf, &copy, &Limits::GATEWAY).expect("our writer writes what our reader reads");
    assert_eq!(common::rewritten_etf(again), copy);
});

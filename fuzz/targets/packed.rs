//! Packed bytes from a damaged store: every question asked, both encodings written; and bytes that are ETF or JSON, packed and unpacked.
#![no_main]

#[path = "../../crates/etf/tests/common/mod.rs"]
mod common;
#[path = "../../crates/etf/tests/common/packed.rs"]
mod form;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| form::survive(data));

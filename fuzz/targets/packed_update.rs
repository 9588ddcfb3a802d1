//! Updates in ETF compared in place with packed objects, of which both may be anything: what comes of it is what packing and editing says.
#![no_main]

#[path = "../../crates/etf/tests/common/update.rs"]
mod update;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| update::survive(data));

//! What lies in the store's files: frames, batches of operations, rows about segments.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    trunkline_store::survive(data);
});

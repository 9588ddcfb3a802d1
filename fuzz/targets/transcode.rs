//! Documents of either encoding turned into the other and back: nothing may be lost on the second way that survived the first.
#![no_main]

#[path = "../../crates/etf/tests/common/mod.rs"]
mod common;

use libfuzzer_sys::fuzz_target;
use trunkline_etf::{Encoding, Value, transcode};

fuzz_target!(|data: &[u8]| {
    common::torment(data);
    for encoding in [Encoding::Etf, Encoding::Json] {
        let other = if encoding == Encoding::Etf { Encoding::Json } else { Encoding::Etf };
        let rest = if encoding == Encoding::Etf { data.get(1..).unwrap_or_default() } else { data };
        let (mut there, mut back, mut again) = (Vec::new(), Vec::new(), Vec::new());
        let limits = trunkline_etf::Limits::GATEWAY;
        if Value::parse(encoding, data, &limits).is_err() || transcode(Value::from_raw(encoding, rest), other, &mut there).is_err() {
            continue;
        }
        transcode(Value::from_raw(other, &there), encoding, &mut back).expect("what was transcoded can be transcoded back");
        transcode(Value::from_raw(encoding, &back), other, &mut again).expect("and there again");
        // The id rule turns big numbers of JSON into strings, once.
        if encoding == Encoding::Etf {
            assert_eq!(there, again);
        }
    }
});

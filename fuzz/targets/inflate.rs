//! A connection's compressed frames: a byte for the format, then a length and a frame, and so on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_discord::Compression;

// The file itself: the crate around it would bring a TLS library and an HTTP client into the instrumented build.
#[allow(dead_code)]
#[path = "../../crates/gateway/src/inflate.rs"]
mod inflate;
use inflate::{InflateLimits, Inflater};

fuzz_target!(|data: &[u8]| {
    let Some((&which, mut rest)) = data.split_first() else { return };
    let compression = if which % 2 == 0 { Compression::ZlibStream } else { Compression::ZstdStream };
    let limits = InflateLimits { message_bytes_max: 1 << 20, compressed_bytes_max: 1 << 16 };
    let mut inflater = Inflater::new(compression, limits).expect("memory for a context");
    let mut failed = false;
    while let [high, low, more @ ..] = rest {
        let (frame, more) = more.split_at(usize::from(u16::from_be_bytes([*high, *low])).min(more.len()));
        rest = more;
        match inflater.push(frame) {
            Ok(message) => {
                assert!(!failed, "a poisoned context must stay so");
                assert!(message.is_none_or(|message| message.len() <= limits.message_bytes_max));
            }
            Err(_) => failed = true,
        }
    }
});

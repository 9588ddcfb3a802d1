//! A frame from Discord: its envelope, and where the event goes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_discord::{Envelope, EventKind, routing};
use trunkline_etf::{Encoding, Limits};

fuzz_target!(|data: &[u8]| {
    for encoding in [Encoding::Etf, Encoding::Json] {
        let Ok(envelope) = Envelope::decode(encoding, data, &Limits::GATEWAY) else { continue };
        let kind = envelope.t.as_deref().map_or(EventKind::Unknown, EventKind::from_name);
        let _ = routing(kind, envelope.d).key();
    }
});

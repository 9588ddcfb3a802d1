//! A log entry and a log record as the store gives them back. The first byte says which; a record is followed by entries.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_delivery::{Location, RestoredLog, decode_entry, encode_entry};
use trunkline_discord::Time;

fuzz_target!(|data: &[u8]| {
    let (now, unix_us) = (Time::from_millis(50), 1_700_000_000_000_000);
    let Some((&which, rest)) = data.split_first() else { return };
    if which % 2 == 0 {
        if let Ok(body) = decode_entry(rest, now, unix_us) {
            let mut again = Vec::new();
            encode_entry(&body, &mut again);
            let twice = decode_entry(&again, now, unix_us).expect("what was written is read");
            let mut third = Vec::new();
            encode_entry(&twice, &mut third);
            assert_eq!(again, third);
        }
        return;
    }
    let Some((&len, rest)) = rest.split_first() else { return };
    let (record, entry) = rest.split_at(usize::from(len).min(rest.len()));
    if let Ok(mut log) = RestoredLog::decode(record, now, unix_us, 1 << 20) {
        let _ = log.pending().map(|(_, count)| count).fold(0, u64::wrapping_add);
        for position in 0..4 {
            let _ = log.push(position, Location { segment: 1, offset: 0, len: 1 }, entry);
        }
    }
});

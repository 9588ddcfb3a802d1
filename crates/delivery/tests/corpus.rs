//! Replays the corpus of the fuzz target `stored_entry`: what fuzzing once found stays tested without it.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use trunkline_delivery::{Location, RestoredLog, decode_entry, encode_entry};
use trunkline_discord::Time;

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/stored_entry");
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let inputs: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    inputs
}

#[test]
fn the_corpus_of_stored_entries_and_records_is_survived() {
    let (now, unix_us) = (Time::from_millis(50), 1_700_000_000_000_000);
    let mut read = (0, 0);
    for input in corpus() {
        let Some((which, rest)) = input.split_first() else { continue };
        if which % 2 == 0 {
            let Ok(body) = decode_entry(rest, now, unix_us) else { continue };
            let (mut once, mut twice) = (Vec::new(), Vec::new());
            encode_entry(&body, &mut once);
            encode_entry(&decode_entry(&once, now, unix_us).unwrap(), &mut twice);
            assert_eq!(once, twice);
            read.0 += 1;
        } else if let Some((len, rest)) = rest.split_first() {
            let (record, entry) = rest.split_at(usize::from(*len).min(rest.len()));
            let Ok(mut log) = RestoredLog::decode(record, now, unix_us, 1 << 20) else { continue };
            for position in 0..4 {
                // A damaged entry is left out; here it only must not panic.
                drop(log.push(position, Location { segment: 1, offset: 0, len: 1 }, entry));
            }
            read.1 += 1;
        }
    }
    assert!(read.0 > 0 && read.1 > 0, "the corpus has sound entries and records, or it tests nothing: {read:?}");
}

//! Replays the corpus of the fuzz target `inflate`: what fuzzing once found stays tested without it.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use trunkline_discord::Compression;
use trunkline_gateway::inflate::{InflateLimits, Inflater};

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/inflate");
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let inputs: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    inputs
}

#[test]
fn the_corpus_of_compressed_connections_is_survived() {
    let limits = InflateLimits { message_bytes_max: 1 << 20, compressed_bytes_max: 1 << 16 };
    let mut messages = [0, 0];
    for input in corpus() {
        let Some((which, mut rest)) = input.split_first() else { continue };
        let which = usize::from(which % 2);
        let mut inflater = Inflater::new([Compression::ZlibStream, Compression::ZstdStream][which], limits).unwrap();
        let mut failed = false;
        while let [high, low, more @ ..] = rest {
            let (frame, more) = more.split_at(usize::from(u16::from_be_bytes([*high, *low])).min(more.len()));
            rest = more;
            match inflater.push(frame) {
                Ok(message) => {
                    assert!(!failed, "a poisoned context must stay so");
                    assert!(message.is_none_or(|message| message.len() <= limits.message_bytes_max));
                    messages[which] += usize::from(message.is_some());
                }
                Err(_) => failed = true,
            }
        }
    }
    assert!(messages.iter().all(|count| *count > 0), "the corpus has sound messages of both formats, or it tests nothing: {messages:?}");
}

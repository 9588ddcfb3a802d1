//! Replays the corpus of the fuzz target `envelope`: what fuzzing once found stays tested without it.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use trunkline_discord::{Envelope, EventKind, routing};
use trunkline_etf::{Encoding, Limits};

#[test]
fn the_corpus_of_frames_is_survived_and_decoding_and_routing_in_one_walk_says_the_same_as_in_two() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/envelope");
    let (mut files, mut sound) = (0, 0);
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        let data = std::fs::read(&path).unwrap();
        files += 1;
        for encoding in [Encoding::Etf, Encoding::Json] {
            let Ok(envelope) = Envelope::decode(encoding, &data, &Limits::GATEWAY) else { continue };
            sound += 1;
            let kind = envelope.t.as_deref().map_or(EventKind::Unknown, EventKind::from_name);
            let apart = routing(kind, envelope.d);
            if let Ok((_, together)) = Envelope::decode_routed(encoding, &data, &Limits::GATEWAY) {
                assert_eq!(together.key(), apart.key(), "{}", path.display());
            }
        }
    }
    assert!(files > 10 && sound > 10, "{files} files, {sound} sound frames in {}: the corpus is gone", folder.display());
}

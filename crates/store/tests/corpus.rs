//! Replays the corpus of the fuzz target `store_bytes`, and makes its seeds: what fuzzing once found stays tested without it.
#![allow(clippy::unwrap_used)]

use std::path::Path;

#[test]
fn the_corpus_of_stored_bytes_is_survived() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/store_bytes");
    let (mut files, mut sound) = (0, 0);
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        sound += usize::from(trunkline_store::survive(&std::fs::read(entry.unwrap().path()).unwrap()) > 0);
        files += 1;
    }
    assert!(files > 0 && sound > 0, "{files} files, {sound} sound ones in {}: the corpus is gone", folder.display());
}

//! Replays the corpora of the fuzz targets: what fuzzing once found stays tested without it.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/packed.rs"]
mod form;
#[path = "common/update.rs"]
mod update;

use std::path::Path;

#[track_caller]
fn replay(target: &str) {
    replay_with(target, common::torment);
}

#[track_caller]
fn replay_with(target: &str, survive: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        survive(&std::fs::read(&path).unwrap());
        files += 1;
    }
    assert!(files > 0, "{} is empty", folder.display());
}

#[test]
fn the_corpus_of_etf_values_is_survived() {
    replay("etf_value");
}

#[test]
fn the_corpus_of_json_values_is_survived() {
    replay("json_value");
}

#[test]
fn the_corpus_of_transcoded_documents_is_survived() {
    replay("transcode");
}

#[test]
fn the_corpus_of_compressed_terms_is_survived() {
    replay("etf_inflate");
}

#[test]
fn the_corpus_of_packed_values_is_survived() {
    replay_with("packed", form::survive);
}

#[test]
fn the_corpus_of_updates_of_packed_values_is_survived() {
    replay_with("packed_update", update::survive);
}

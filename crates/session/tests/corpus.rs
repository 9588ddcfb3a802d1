//! Replays the corpus of the fuzz target `resume_point`: what fuzzing once found stays tested without it.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use trunkline_session::ResumePoint;

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/resume_point");
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let inputs: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    inputs
}

#[test]
fn the_corpus_of_resume_points_is_survived() {
    let mut sound = 0;
    for input in corpus() {
        let Ok(point) = ResumePoint::decode(&input) else { continue };
        assert_eq!(ResumePoint::decode(&point.encode()), Ok(point));
        sound += 1;
    }
    assert!(sound > 0, "the corpus has sound points, or it tests nothing");
}

//! Replays the corpus of the fuzz target `cache_rows`: what fuzzing once found stays tested without it.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use bytes::Bytes;
use trunkline_cache::{Cache, CacheConfig, Kind, Users};
use trunkline_discord::EventKind;
use trunkline_etf::{Encoding, Limits, Value};

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/cache_rows");
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let inputs: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    inputs
}

/// As long as the byte before says.
fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, more) = rest.split_first()?;
    let (part, more) = more.split_at(usize::from(*len).min(more.len()));
    *rest = more;
    Some(part)
}

#[test]
fn the_corpus_of_cache_rows_is_survived() {
    let mut loaded = 0;
    for input in corpus() {
        let mut cache = Cache::new(CacheConfig::default(), Users::default());
        let mut rest = &input[..];
        while let Some(key) = part(&mut rest)
            && let Some(value) = part(&mut rest)
        {
            loaded += u32::from(cache.load(key, value).is_ok());
            let packed = || Value::parse(Encoding::Packed, value.get(1..).unwrap_or_default(), &Limits::GATEWAY);
            if let Ok(d) = Value::parse(Encoding::Etf, value, &Limits::GATEWAY).or_else(|_| packed()) {
                let body = Bytes::copy_from_slice(d.raw());
                EventKind::ALL.iter().for_each(|kind| drop(cache.apply(*kind, d, &body)));
            }
        }
        assert!(Kind::ALL.iter().map(|kind| cache.size(*kind).bytes).sum::<u64>() <= cache.bytes());
        cache.ready(&[1, 2]);
        let mut again = Cache::new(CacheConfig::default(), Users::default());
        for (key, value) in cache.take_stop_changes() {
            if let Some(value) = value {
                again.load(&key, &value).unwrap();
            }
        }
    }
    assert!(loaded > 0, "the corpus has sound rows, or it tests nothing");
}

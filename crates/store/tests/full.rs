//! A full disk: commits fail and say so, nothing that was committed is lost, and with room again everything goes on.
//!
//! The disk is made full by the process's file size limit, which needs no rights: a child runs with it, with the signal
//! ignored that would otherwise end it.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use trunkline_store::{Commit, Options, ShardCommit, ShardKey, Store, StoreError, SyncPolicy};

const SHARD: ShardKey = ShardKey { bot: 1, index: 0, count: 1 };
const CHILD: &str = "TRUNKLINE_STORE_TEST_DIR";

fn limit(bytes: &str) {
    let pid = std::process::id().to_string();
    let done = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status().unwrap();
    assert!(done.success());
}

fn commit(number: u64) -> Commit {
    let mut part = ShardCommit::new(SHARD, 1, Bytes::from(number.to_le_bytes().to_vec()));
    part.cache = (0..10u8).map(|row| (vec![number as u8, row], Some(Bytes::from(vec![number as u8; 9000])))).collect();
    part.entries = vec![(number, Bytes::from(vec![number as u8; 20_000]))];
    Commit { shards: vec![part] }
}

fn check(store: &Store, last: u64) {
    let loaded = store.load_shard(SHARD).unwrap().unwrap();
    assert_eq!(loaded.record.as_ref(), last.to_le_bytes());
    assert_eq!((loaded.entries.len() as u64, loaded.missing), (last, 0));
    let mut rows = 0;
    let mut each = |key: &[u8], value: &[u8]| {
        assert!(value.len() == 9000 && value[0] == key[0]);
        rows += 1;
    };
    store.load_cache(SHARD, &mut each).unwrap();
    assert_eq!(rows, last * 10);
}

/// Not a test of its own: what runs under the limit.
#[test]
fn child_fills_the_disk_and_goes_on() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let dir = Path::new(&dir);
    let options = Options { sync: SyncPolicy::Never, journal_bytes: 256 << 10, cache_bytes: 1 << 20, ..Options::default() };
    let store = Store::open(dir, options).unwrap();
    store.commit(commit(1)).unwrap();
    let mut last = 1;
    for round in 0..3u64 {
        limit(&(store.usage().state_bytes + 4096 * round).to_string());
        let error = loop {
            match store.commit(commit(last + 1)) {
                Ok(_) => last += 1,
                Err(error) => break error,
            }
            assert!(last < 200, "the limit is never reached");
        };
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        assert!(error.to_string().contains("free some space"), "{error}");
        assert!(matches!(store.commit(commit(last + 1)), Err(StoreError::Full { .. })));
        limit("unlimited");
        check(&store, last);
        store.commit(commit(last + 1)).unwrap();
        last += 1;
        check(&store, last);
    }
    // A load in whose middle the file fails takes it up again where it was.
    let (before, mut loaded) = (last, Vec::new());
    limit(&store.usage().state_bytes.to_string());
    let mut each = |key: &[u8], value: &[u8]| {
        if loaded.len() == 3 {
            while store.commit(commit(last + 1)).is_ok() {
                last += 1;
            }
            limit("unlimited");
        }
        assert!(value.len() == 9000 && value[0] == key[0]);
        loaded.push(key.to_vec());
    };
    store.load_cache(SHARD, &mut each).unwrap();
    assert!(loaded.is_sorted_by(|one, other| one < other));
    let told: Vec<Vec<u8>> = (1..=before as u8).flat_map(|number| (0..10).map(move |row| vec![number, row])).collect();
    assert!(loaded.starts_with(&told) && loaded.len() as u64 <= last * 10);
    check(&store, last);
    drop(store);
    check(&Store::open(dir, options).unwrap(), last);
}

#[test]
fn a_full_disk_is_told_and_commits_go_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let done = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child_fills_the_disk_and_goes_on", "--nocapture"])
        .env(CHILD, dir.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
}

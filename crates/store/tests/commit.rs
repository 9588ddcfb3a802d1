//! What a commit stores is what a load gives back: over reopening, for several shards, with limits and refusals.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::Bytes;
use common::{Place, on_both};
use trunkline_store::{Commit, Location, Options, ShardCommit, ShardKey, Store, StoreError, SyncPolicy};

const SHARD: ShardKey = ShardKey { bot: 42, index: 0, count: 2 };
const OTHER: ShardKey = ShardKey { bot: 42, index: 1, count: 2 };

on_both! {
    a_commit_is_loaded_back_whole_after_the_store_was_closed,
    cache_changes_are_merged_and_a_clear_comes_before_them,
    rows_that_nobody_can_read_are_deleted_and_the_others_stay,
    an_older_epoch_is_refused_together_with_the_whole_commit,
    released_entries_go_by_whole_segments_and_their_places_are_not_used_again,
    a_named_segment_goes_though_an_older_one_stays_and_its_entries_are_not_missing,
    the_segment_that_is_being_filled_stays_though_it_is_named,
    a_failed_commit_lets_no_segment_go,
    a_scan_lets_commits_through_and_does_not_miss_what_they_release,
    ledger_and_meta_rows_come_back,
    shards_are_listed_and_a_forgotten_one_is_gone_but_for_its_epoch,
    a_commit_that_could_not_be_read_back_is_refused,
    large_commit_timing,
}

fn options() -> Options {
    Options { sync: SyncPolicy::Never, segment_bytes: 1 << 10, ..Options::default() }
}

fn open(place: &Place) -> Store {
    place.open(options())
}

fn open_dir(path: &Path) -> Store {
    Store::open(path, options()).unwrap()
}

fn body(position: u64) -> Bytes {
    Bytes::from(format!("body of the entry at position {position}"))
}

fn entries(positions: impl IntoIterator<Item = u64>) -> Vec<(u64, Bytes)> {
    positions.into_iter().map(|position| (position, body(position))).collect()
}

fn part(shard: ShardKey, record: &'static str, positions: impl IntoIterator<Item = u64>) -> ShardCommit {
    ShardCommit { entries: entries(positions), ..ShardCommit::new(shard, 1, Bytes::from_static(record.as_bytes())) }
}

fn commit(store: &Store, part: ShardCommit) -> Vec<(u64, Location)> {
    let mut done = store.commit(Commit { shards: vec![part] }).unwrap();
    done.pop().unwrap().1
}

fn positions(store: &Store, shard: ShardKey) -> Vec<u64> {
    let loaded = store.load_shard(shard).unwrap().unwrap();
    for (position, location, bytes) in &loaded.entries {
        assert_eq!(*bytes, body(*position));
        assert_eq!(store.read_entry(shard, *location).unwrap(), *bytes);
    }
    loaded.entries.iter().map(|entry| entry.0).collect()
}

fn cache(store: &Store, shard: ShardKey) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut out = Vec::new();
    store.load_cache(shard, &mut |key, value| out.push((key.to_vec(), value.to_vec()))).unwrap();
    out
}

fn a_commit_is_loaded_back_whole_after_the_store_was_closed(place: &Place) {
    let store = open(place);
    assert!(store.recovery().created);
    assert_eq!(store.load_shard(SHARD).unwrap(), None);
    let mut first = part(SHARD, "record", 1..=40);
    first.cache = vec![(b"a".to_vec(), Some(Bytes::from_static(b"1"))), (b"b".to_vec(), Some(Bytes::from_static(b"2")))];
    let located = commit(&store, first);
    assert_eq!(located.len(), 40);
    assert!(located.iter().any(|(_, location)| location.segment > 0), "more than one segment is in play");
    store.close().unwrap();

    let store = open(place);
    assert_eq!(store.recovery(), Default::default());
    assert_eq!(positions(&store, SHARD), Vec::from_iter(1..=40));
    let loaded = store.load_shard(SHARD).unwrap().unwrap();
    assert_eq!((loaded.record.as_ref(), loaded.epoch, loaded.missing, loaded.last_position), (b"record".as_slice(), 1, 0, 40));
    assert_eq!(loaded.entries.iter().map(|entry| (entry.0, entry.1)).collect::<Vec<_>>(), located);
    assert_eq!(cache(&store, SHARD), [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())]);
    assert_eq!(cache(&store, OTHER), []);
}

fn cache_changes_are_merged_and_a_clear_comes_before_them(place: &Place) {
    let store = open(place);
    let row = |key: &str, value: Option<&'static str>| (key.as_bytes().to_vec(), value.map(Bytes::from));
    let with = |shard, cache, clear_cache| ShardCommit { cache, clear_cache, ..part(shard, "", []) };
    commit(&store, with(SHARD, vec![row("a", Some("1")), row("b", Some("2"))], false));
    commit(&store, with(OTHER, vec![row("a", Some("other"))], false));
    commit(&store, with(SHARD, vec![row("a", None), row("c", Some("3"))], false));
    assert_eq!(cache(&store, SHARD), [(b"b".to_vec(), b"2".to_vec()), (b"c".to_vec(), b"3".to_vec())]);
    commit(&store, with(SHARD, vec![row("d", Some("4"))], true));
    assert_eq!(cache(&store, SHARD), [(b"d".to_vec(), b"4".to_vec())]);
    assert_eq!(cache(&store, OTHER), [(b"a".to_vec(), b"other".to_vec())]);
}

#[test]
fn commits_and_other_loads_go_on_while_a_shards_cache_is_loaded_which_is_as_it_was() {
    let place = Place::embedded();
    let store = std::sync::Arc::new(open(&place));
    let rows = |value: &'static str| (0..1_000).map(|n: u32| (n.to_be_bytes().to_vec(), Some(Bytes::from(value)))).collect::<Vec<_>>();
    for shard in [SHARD, OTHER] {
        commit(&store, ShardCommit { cache: rows("before"), ..part(shard, "record", [7]) });
    }
    let mut loaded = Vec::new();
    store
        .load_cache(SHARD, &mut |key, value| {
            if loaded.len() == 3 {
                // Beside a load that is in the middle, or nothing would be told here.
                let (done, wait) = std::sync::mpsc::channel();
                let store = store.clone();
                std::thread::spawn(move || {
                    commit(&store, ShardCommit { cache: rows("after"), clear_cache: true, ..part(SHARD, "later", [8]) });
                    done.send((cache(&store, OTHER).len(), store.load_record(SHARD).unwrap().unwrap().record)).unwrap();
                });
                assert_eq!(wait.recv_timeout(std::time::Duration::from_secs(20)).unwrap(), (1_000, Bytes::from("later")));
            }
            loaded.push((key.to_vec(), value.to_vec()));
        })
        .unwrap();
    assert_eq!(loaded.len(), 1_000);
    assert!(loaded.iter().all(|(_, value)| value == b"before") && loaded.is_sorted());
    assert!(cache(&store, SHARD).iter().all(|(_, value)| value == b"after"));
}

fn rows_that_nobody_can_read_are_deleted_and_the_others_stay(place: &Place) {
    let store = open(place);
    let row = |key: &str| (key.as_bytes().to_vec(), Some(Bytes::from_static(b"1")));
    for shard in [SHARD, OTHER] {
        commit(&store, ShardCommit { cache: vec![row("a"), row("b"), row("c")], ..part(shard, "record", [7]) });
    }
    store.delete_cache(SHARD, &[b"c".to_vec(), b"unknown".to_vec(), b"a".to_vec()]).unwrap();
    store.delete_cache(SHARD, &[]).unwrap();
    drop(store);
    let store = open(place);
    assert_eq!(cache(&store, SHARD), [(b"b".to_vec(), b"1".to_vec())]);
    assert_eq!(cache(&store, OTHER).len(), 3);
    assert_eq!(store.load_record(SHARD).unwrap().unwrap().record, "record");
    assert_eq!(positions(&store, SHARD), [7]);
}

fn an_older_epoch_is_refused_together_with_the_whole_commit(place: &Place) {
    let store = open(place);
    assert_eq!(store.next_epoch(SHARD).unwrap(), 1);
    assert_eq!(store.next_epoch(SHARD).unwrap(), 2);
    let old = part(SHARD, "old", [1]);
    let refused = store.commit(Commit { shards: vec![part(OTHER, "fine", [1]), old] }).unwrap_err();
    assert!(matches!(refused, StoreError::Fenced { shard: SHARD, stored: 2, given: 1 }), "{refused}");
    assert_eq!(store.load_shard(OTHER).unwrap(), None);
    commit(&store, ShardCommit { epoch: 5, ..part(SHARD, "new", [1]) });
    drop(store);
    let store = open(place);
    assert_eq!(store.load_shard(SHARD).unwrap().unwrap().epoch, 5);
    assert_eq!(store.next_epoch(SHARD).unwrap(), 6);
}

fn released_entries_go_by_whole_segments_and_their_places_are_not_used_again(place: &Place) {
    let store = open(place);
    let first = commit(&store, part(SHARD, "", 1..=100));
    let before = store.usage();
    commit(&store, ShardCommit { release_below: 51, ..part(SHARD, "", []) });
    assert!(store.usage().segments < before.segments && store.usage().segments > 0);
    assert_eq!(positions(&store, SHARD), Vec::from_iter(51..=100));
    commit(&store, ShardCommit { release_below: 101, ..part(SHARD, "", []) });
    assert_eq!(store.usage().segments, 0);
    if let Place::Embedded(_) = place {
        assert!(store.read_entry(SHARD, first[0].1).is_ok(), "until a sync, a power loss could bring back what names it");
    }
    store.sync().unwrap();
    if let Place::Embedded(dir) = place {
        assert_eq!(std::fs::read_dir(dir.path().join("segments/42-0-2")).unwrap().count(), 0);
    }
    drop(store);

    let store = open(place);
    let second = commit(&store, part(SHARD, "", [101]));
    assert!(first.iter().all(|(_, old)| old.segment < second[0].1.segment));
    assert!(matches!(store.read_entry(SHARD, first[0].1), Err(StoreError::Corrupt { .. })));
    assert_eq!(store.load_shard(SHARD).unwrap().unwrap().last_position, 101);
}

/// Segments of 25 bodies or so, the last one still being filled.
fn several_segments(store: &Store) -> Vec<(u64, Location)> {
    let located: Vec<_> = (0..10).flat_map(|round| commit(store, part(SHARD, "", round * 10 + 1..=round * 10 + 10))).collect();
    assert!(located[99].1.segment >= 3);
    located
}

fn of_segment(located: &[(u64, Location)], segment: u64) -> impl Iterator<Item = u64> {
    located.iter().filter(move |(_, at)| at.segment == segment).map(|(position, _)| *position)
}

fn a_named_segment_goes_though_an_older_one_stays_and_its_entries_are_not_missing(place: &Place) {
    let store = open(place);
    let located = several_segments(&store);
    let before = store.usage();
    commit(&store, ShardCommit { release_segments: vec![1, 2, 77], ..part(SHARD, "", []) });
    assert_eq!(store.usage().segments, before.segments - 2);
    assert!(store.usage().segment_bytes < before.segment_bytes);
    let left: Vec<u64> = (1..=100).filter(|position| ![1, 2].contains(&located[*position as usize - 1].1.segment)).collect();
    for _ in 0..2 {
        assert_eq!(positions(&store, SHARD), left);
        let loaded = store.load_shard(SHARD).unwrap().unwrap();
        assert_eq!((loaded.missing, loaded.floor), (0, 0));
        let mut scanned = Vec::new();
        assert_eq!(store.scan_entries(SHARD, &mut |position, _, _| scanned.push(position)).unwrap(), 0);
        assert_eq!(scanned, left);
        store.sync().unwrap();
    }
    if let Place::Embedded(dir) = place {
        assert!(!segment_files(dir.path()).contains(&1));
    }
    drop(store);
    assert_eq!(positions(&open(place), SHARD), left);
}

fn segment_files(store: &Path) -> Vec<u64> {
    let files = std::fs::read_dir(store.join("segments/42-0-2")).unwrap();
    let number = |name: String| u64::from_str_radix(name.strip_suffix(".seg").unwrap(), 16).unwrap();
    files.map(|file| number(file.unwrap().file_name().into_string().unwrap())).collect()
}

fn the_segment_that_is_being_filled_stays_though_it_is_named(place: &Place) {
    let store = open(place);
    let tail = several_segments(&store)[99].1.segment;
    commit(&store, ShardCommit { release_segments: vec![tail], ..part(SHARD, "", [101]) });
    commit(&store, ShardCommit { release_segments: vec![tail], ..part(SHARD, "", []) });
    assert_eq!(positions(&store, SHARD), Vec::from_iter(1..=101));
    drop(store);
    // A new process appends to a file of its own.
    let store = open(place);
    commit(&store, ShardCommit { release_segments: vec![tail], ..part(SHARD, "", []) });
    assert!(positions(&store, SHARD).len() < 101);
}

#[test]
fn a_kill_before_a_released_segments_file_is_deleted_leaves_a_file_that_is_ignored_and_tidied() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_dir(dir.path());
    let located = several_segments(&store);
    commit(&store, ShardCommit { release_segments: vec![1], ..part(SHARD, "", []) });
    assert!(segment_files(dir.path()).contains(&1), "until a sync, a power loss could bring back what names it");
    let killed = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp").arg("-r").arg(dir.path().join(".")).arg(killed.path()).status().unwrap();
    assert!(copied.success());
    let store = open_dir(killed.path());
    let gone: Vec<u64> = of_segment(&located, 1).collect();
    assert!(!gone.is_empty() && positions(&store, SHARD).iter().all(|position| !gone.contains(position)));
    assert_eq!(store.load_shard(SHARD).unwrap().unwrap().missing, 0);
    assert!(!segment_files(killed.path()).contains(&1));
}

fn a_failed_commit_lets_no_segment_go(place: &Place) {
    let store = open(place);
    several_segments(&store);
    assert_eq!(store.next_epoch(SHARD).unwrap(), 2);
    let old = ShardCommit { release_segments: vec![0, 1], ..part(SHARD, "", []) };
    assert!(store.commit(Commit { shards: vec![old] }).is_err());
    store.sync().unwrap();
    assert_eq!(positions(&store, SHARD), Vec::from_iter(1..=100));
}

fn a_scan_lets_commits_through_and_does_not_miss_what_they_release(place: &Place) {
    let store = open(place);
    let located = several_segments(&store);
    assert_eq!(store.load_record(OTHER).unwrap(), None);
    let record = store.load_record(SHARD).unwrap().unwrap();
    assert_eq!((record.record.as_ref(), record.epoch, record.floor, record.last_position), (b"".as_slice(), 1, 0, 100));
    let mut scanned = Vec::new();
    let missing = store.scan_entries(SHARD, &mut |position, at, bytes| {
        assert_eq!(bytes, body(position));
        if scanned.is_empty() {
            commit(&store, ShardCommit { release_segments: vec![0, 1], ..part(SHARD, "", [101]) });
            store.sync().unwrap();
        }
        scanned.push((position, at));
    });
    assert_eq!(missing.unwrap(), 0);
    let still_there = located.into_iter().filter(|(_, at)| at.segment != 1);
    assert_eq!(scanned, still_there.collect::<Vec<_>>());
}

fn ledger_and_meta_rows_come_back(place: &Place) {
    let store = open(place);
    assert_eq!(store.ledger(42).unwrap(), None);
    store.write_ledger(42, b"spent 3").unwrap();
    store.put_meta("name", b"value").unwrap();
    drop(store);
    let store = open(place);
    assert_eq!(store.ledger(42).unwrap().unwrap(), b"spent 3".as_slice());
    assert_eq!(store.ledger(4).unwrap(), None);
    assert_eq!(store.get_meta("name").unwrap().unwrap(), b"value".as_slice());
    assert_eq!(store.get_meta("nam").unwrap(), None);
}

fn shards_are_listed_and_a_forgotten_one_is_gone_but_for_its_epoch(place: &Place) {
    let store = open(place);
    store.commit(Commit { shards: vec![part(OTHER, "b", [1]), part(SHARD, "a", [1])] }).unwrap();
    assert_eq!(store.list_shards().unwrap(), [SHARD, OTHER]);
    store.forget_shard(SHARD).unwrap();
    assert_eq!(store.list_shards().unwrap(), [OTHER]);
    assert_eq!(store.load_shard(SHARD).unwrap(), None);
    assert_eq!(store.next_epoch(SHARD).unwrap(), 2);
}

fn a_commit_that_could_not_be_read_back_is_refused(place: &Place) {
    let store = open(place);
    let refused = |shards| store.commit(Commit { shards }).unwrap_err().to_string();
    assert!(refused(vec![part(SHARD, "", [2, 1])]).contains("do not rise"));
    assert!(refused(vec![part(SHARD, "", []), part(SHARD, "", [])]).contains("names shard 42/0/2 twice"));
}

#[test]
fn files_are_for_the_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/store");
    let store = open_dir(&path);
    commit(&store, part(SHARD, "", [1]));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let mut todo = vec![path];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            assert_eq!(mode(&path), 0o700, "{}", path.display());
            todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
}

#[test]
fn the_journal_is_folded_away_when_it_has_grown_and_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { sync: SyncPolicy::Always, journal_bytes: 4 << 10, ..Options::default() };
    let store = Store::open(dir.path(), options).unwrap();
    let mut grew = 0;
    for round in 0..60u64 {
        let cache = vec![(vec![round as u8 % 10], Some(Bytes::from(vec![round as u8; 300])))];
        commit(&store, ShardCommit { cache, ..part(SHARD, "r", [round + 1]) });
        grew = grew.max(store.usage().journal_bytes);
    }
    assert!(grew < 8 << 10, "{grew}");
    assert_eq!(cache(&store, SHARD).len(), 10);
    assert_eq!(positions(&store, SHARD), Vec::from_iter(1..=60));
}

fn large_commit_timing(place: &Place) {
    let store = place.open(Options { sync: SyncPolicy::Never, ..Options::default() });
    let payload = Bytes::from(vec![7; 1200]);
    let mut took = Vec::new();
    for round in 0..8u64 {
        let entries = (1..=5000).map(|entry| (round * 5000 + entry, payload.clone())).collect();
        let cache = (0..3000u64)
            .map(|row| ((row * 7919 + round * 104_729 % 20_000).to_be_bytes().to_vec(), Some(Bytes::from(vec![round as u8; 400]))))
            .collect();
        let commit = ShardCommit { entries, cache, ..part(SHARD, "record", []) };
        let start = std::time::Instant::now();
        store.commit(Commit { shards: vec![commit] }).unwrap();
        took.push(start.elapsed());
    }
    println!("commits of 5000 entries x 1200 B and 3000 rows x 400 B took {took:?}");
    assert!(took.iter().min().unwrap().as_millis() < 2000);
}

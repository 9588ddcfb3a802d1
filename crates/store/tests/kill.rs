//! A process that is killed loses nothing that a commit had returned, and leaves nothing half done.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Place, on_both};
use trunkline_store::{Commit, OpenError, Options, ShardCommit, ShardKey, Store, SyncPolicy};

const SHARD: ShardKey = ShardKey { bot: 1, index: 2, count: 3 };
const CHILD: &str = "TRUNKLINE_STORE_TEST_DIR";
const KEYS: u64 = 50;

on_both! { kill_at_any_moment_loses_no_commit_and_tears_none }

/// `place` is a directory or an address.
fn open(place: &str) -> Result<Store, OpenError> {
    let options = Options { sync: SyncPolicy::Never, segment_bytes: 4 << 10, journal_bytes: 64 << 10, ..Options::default() };
    if place.starts_with("postgres://") { Store::connect(place, options) } else { Store::open(Path::new(place), options) }
}

fn body(position: u64) -> Bytes {
    Bytes::from(vec![position as u8; 100 + position as usize % 200])
}

/// What is released by the commit with this number.
fn floor(number: u64) -> u64 {
    (number.saturating_sub(20) / 10) * 30
}

fn commit(number: u64) -> Commit {
    let mut part = ShardCommit::new(SHARD, 1, Bytes::from(number.to_le_bytes().to_vec()));
    part.entries = (number * 3..number * 3 + 3).map(|position| (position, body(position))).collect();
    part.cache = vec![(vec![(number % KEYS) as u8], Some(Bytes::from(number.to_le_bytes().repeat(40))))];
    if number.is_multiple_of(7) {
        part.cache.push((vec![((number + 1) % KEYS) as u8], None));
    }
    part.release_below = floor(number);
    Commit { shards: vec![part] }
}

/// The number of the last commit in the store, after checking that everything in it is as of exactly that commit.
fn check(store: &Store) -> u64 {
    let Some(loaded) = store.load_shard(SHARD).unwrap() else { return 0 };
    let last = u64::from_le_bytes(loaded.record.as_ref().try_into().unwrap());
    let wanted: Vec<_> = (floor(last).max(3)..last * 3 + 3).map(|position| (position, body(position))).collect();
    let got: Vec<_> = loaded.entries.into_iter().map(|(position, _, bytes)| (position, bytes)).collect();
    assert_eq!(got, wanted, "entries as of commit {last}");
    assert_eq!(loaded.missing, 0);
    let mut wanted = std::collections::BTreeMap::new();
    for number in 1..=last {
        for (key, value) in commit(number).shards.remove(0).cache {
            match value {
                Some(value) => drop(wanted.insert(key, value.to_vec())),
                None => drop(wanted.remove(&key)),
            }
        }
    }
    let mut got = std::collections::BTreeMap::new();
    store.load_cache(SHARD, &mut |key, value| drop(got.insert(key.to_vec(), value.to_vec()))).unwrap();
    assert_eq!(got, wanted, "cache rows as of commit {last}");
    last
}

/// Not a test of its own: what the killed process does.
#[test]
fn child_commits_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let store = open(dir.to_str().unwrap()).unwrap();
    for number in check(&store) + 1.. {
        store.commit(commit(number)).unwrap();
        println!("committed {number}");
        std::io::stdout().flush().unwrap();
    }
}

fn kill_at_any_moment_loses_no_commit_and_tears_none(place: &Place) {
    let place = match place {
        Place::Embedded(dir) => dir.path().to_str().unwrap(),
        Place::Postgres(url) => url,
    };
    for round in 0..8u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_commits_until_it_is_killed", "--nocapture", "--test-threads=1"])
            .env(CHILD, place)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        let number = |line: &str| line.rsplit_once("committed ").and_then(|(_, number)| number.parse::<u64>().ok());
        let first = lines.by_ref().find_map(|line| number(&line)).expect("the child commits");
        match open(place) {
            Err(error @ OpenError::InUse { pid: Some(pid), .. }) if pid == child.id() => {
                assert!(error.to_string().contains(&format!("in use by the process with pid {pid}; stop that process first")));
            }
            Err(error @ OpenError::ServerInUse { pid, .. }) if pid == child.id() => {
                let text = error.to_string();
                assert!(
                    text.contains(&format!("in use by the process with pid {pid} on ")) && text.contains("stop that process first"),
                    "{text}"
                );
                assert!(!text.contains(common::postgres::PASSWORD) && !text.contains("p@ss"), "{text}");
            }
            other => panic!("a second process got {:?}", other.err()),
        }
        let enough = first + 37 * round + 20;
        lines.by_ref().find(|line| number(line).is_some_and(|number| number >= enough));
        child.kill().unwrap();
        child.wait().unwrap();
        let last = lines.filter_map(|line| number(&line)).last().unwrap_or(enough);

        let start = Instant::now();
        let store = open(place).unwrap();
        let took = start.elapsed();
        let found = check(&store);
        assert!(found >= last, "commit {last} had returned, the store has {found}");
        println!("killed after commit {last}: {found} commits found, {:?}, opened in {took:?}", store.recovery());
        assert!(took < Duration::from_secs(10));
    }
}

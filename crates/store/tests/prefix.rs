//! Whatever point of its writing a process is killed at, what is loaded is the state after one of its commits.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use common::{Place, on_both};
use trunkline_store::{Commit, Committed, Options, ShardCommit, ShardKey, Store, SyncPolicy};

on_both! { whatever_is_committed_a_load_gives_the_state_after_the_last_commit }

const SHARDS: [ShardKey; 2] = [ShardKey { bot: 1, index: 0, count: 2 }, ShardKey { bot: 1, index: 1, count: 2 }];

/// A small generator of its own, so that a seed replays a run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// What a shard should load as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    record: Vec<u8>,
    entries: BTreeMap<u64, Vec<u8>>,
    cache: BTreeMap<Vec<u8>, Vec<u8>>,
    floor: u64,
}

fn options(dice: &mut Dice) -> Options {
    Options { sync: SyncPolicy::Never, segment_bytes: 200 + dice.below(2000), journal_bytes: 500 + dice.below(8000), ..Options::default() }
}

/// Where every entry lies, by shard and position.
type Places = [BTreeMap<u64, u64>; 2];

fn note(places: &mut Places, committed: Committed) {
    for (shard, located) in committed {
        let at = SHARDS.iter().position(|known| *known == shard).unwrap();
        places[at].extend(located.into_iter().map(|(position, location)| (position, location.segment)));
    }
}

fn random_commit(dice: &mut Dice, models: &mut [Model; 2], next: &mut u64, places: &Places) -> Commit {
    let mut shards = Vec::new();
    for ((shard, model), places) in SHARDS.into_iter().zip(models).zip(places) {
        if dice.below(3) == 0 {
            continue;
        }
        let mut part = ShardCommit::new(shard, 1, Bytes::from(vec![dice.below(256) as u8; dice.below(40) as usize]));
        for _ in 0..dice.below(6) {
            *next += 1 + dice.below(2);
            part.entries.push((*next, Bytes::from(vec![dice.below(256) as u8; dice.below(300) as usize])));
        }
        part.clear_cache = dice.below(8) == 0;
        for _ in 0..dice.below(5) {
            let value = (dice.below(4) > 0).then(|| Bytes::from(vec![dice.below(256) as u8; dice.below(100) as usize]));
            part.cache.push((vec![dice.below(10) as u8], value));
        }
        part.release_below = dice.below(*next / 2 + 1);
        // Any but the last one, which may be appended to.
        let last = places.values().max().copied().unwrap_or(0);
        part.release_segments = (0..last).filter(|_| dice.below(6) == 0).collect();

        model.record = part.record.to_vec();
        model.entries.extend(part.entries.iter().map(|(position, body)| (*position, body.to_vec())));
        if part.clear_cache {
            model.cache.clear();
        }
        for (key, value) in &part.cache {
            match value {
                Some(value) => drop(model.cache.insert(key.clone(), value.to_vec())),
                None => drop(model.cache.remove(key)),
            }
        }
        model.floor = model.floor.max(part.release_below);
        let released = |position: &u64| places.get(position).is_some_and(|segment| part.release_segments.contains(segment));
        model.entries.retain(|position, _| *position >= model.floor && !released(position));
        shards.push(part);
    }
    Commit { shards }
}

fn load(store: &Store) -> ([Model; 2], u64) {
    let mut missing = 0;
    let models = SHARDS.map(|shard| {
        let mut model = Model::default();
        if let Some(loaded) = store.load_shard(shard).unwrap() {
            model.record = loaded.record.to_vec();
            model.floor = loaded.floor;
            model.entries = loaded.entries.iter().map(|(position, _, body)| (*position, body.to_vec())).collect();
            missing += loaded.missing;
        }
        store.load_cache(shard, &mut |key, value| drop(model.cache.insert(key.to_vec(), value.to_vec()))).unwrap();
        model
    });
    (models, missing)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(|file| file.unwrap()) {
        let to = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &to);
        } else {
            fs::copy(file.path(), &to).unwrap();
        }
    }
}

fn cut(path: &Path, dice: &mut Dice) {
    let len = path.metadata().unwrap().len();
    let keep = len - dice.below(len.min(600) + 1);
    fs::File::options().write(true).open(path).unwrap().set_len(keep).unwrap();
}

fn whatever_is_committed_a_load_gives_the_state_after_the_last_commit(place: &Place) {
    for seed in 100..106u64 {
        println!("seed={seed}");
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1);
        let options = options(&mut dice);
        let mut store = place.open(options);
        SHARDS.into_iter().for_each(|shard| store.forget_shard(shard).unwrap());
        let (mut models, mut next, mut places) = (<[Model; 2]>::default(), 0, Places::default());
        for _ in 0..1 + dice.below(25) {
            let commit = random_commit(&mut dice, &mut models, &mut next, &places);
            note(&mut places, store.commit(commit).unwrap());
            if dice.below(10) == 0 {
                drop(store);
                store = place.open(options);
            }
            if dice.below(4) == 0 {
                assert_eq!(load(&store), (models.clone(), 0), "seed {seed}");
            }
        }
        assert_eq!(load(&store), (models.clone(), 0), "seed {seed}");
        drop(store);
        assert_eq!(load(&place.open(options)), (models.clone(), 0), "seed {seed}");
    }
}

#[test]
fn a_kill_at_any_byte_loads_the_state_after_one_of_the_commits() {
    for seed in 0..25u64 {
        println!("seed={seed}");
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1);
        let live = tempfile::tempdir().unwrap();
        let options = options(&mut dice);
        let mut store = Store::open(live.path(), options).unwrap();
        let (mut models, mut next, mut places) = (<[Model; 2]>::default(), 0, Places::default());
        let mut history = vec![models.clone()];
        for _ in 0..1 + dice.below(25) {
            let commit = random_commit(&mut dice, &mut models, &mut next, &places);
            note(&mut places, store.commit(commit).unwrap());
            history.push(models.clone());
            if dice.below(10) == 0 {
                drop(store);
                store = Store::open(live.path(), options).unwrap();
            }
        }
        assert_eq!(load(&store), (models.clone(), 0));

        // Killed in the middle of its last write, which is the journal's: what is before it stands as it is.
        let dead = tempfile::tempdir().unwrap();
        copy(live.path(), dead.path());
        cut(&dead.path().join("journal"), &mut dice);
        if let Ok(after) = Store::open(dead.path(), options) {
            let (loaded, missing) = load(&after);
            assert_eq!(missing, 0, "seed {seed}");
            assert!(history.contains(&loaded), "seed {seed}: the state is that of no commit");
            // It goes on from there.
            let mut part = ShardCommit::new(SHARDS[0], 1, Bytes::from_static(b"after"));
            part.entries.push((next + 1, Bytes::from_static(b"new")));
            after.commit(Commit { shards: vec![part] }).unwrap();
            drop(after);
            let (loaded, _) = load(&Store::open(dead.path(), options).unwrap());
            assert_eq!((loaded[0].record.as_slice(), loaded[0].entries[&(next + 1)].as_slice()), (&b"after"[..], &b"new"[..]));
        } else {
            panic!("seed {seed}: the store did not open");
        }
    }
}

#[test]
fn segments_that_lost_their_end_lack_those_entries_and_say_how_many() {
    for seed in 0..12u64 {
        println!("seed={seed}");
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 7);
        let live = tempfile::tempdir().unwrap();
        let options = options(&mut dice);
        let store = Store::open(live.path(), options).unwrap();
        let (mut models, mut next) = (<[Model; 2]>::default(), 0);
        for _ in 0..5 + dice.below(20) {
            let mut commit = random_commit(&mut dice, &mut models, &mut next, &Places::default());
            commit.shards.iter_mut().for_each(|part| part.release_below = 0);
            models.iter_mut().for_each(|model| model.floor = 0);
            store.commit(commit).unwrap();
        }
        drop(store);
        let before = load(&Store::open(live.path(), options).unwrap());
        let Ok(files) = fs::read_dir(live.path().join("segments/1-0-2")) else { continue };
        for file in files {
            cut(&file.unwrap().path(), &mut dice);
        }
        let (after, missing) = load(&Store::open(live.path(), options).unwrap());
        assert_eq!((&after[0].record, &after[0].cache, &after[1]), (&before.0[0].record, &before.0[0].cache, &before.0[1]));
        assert!(after[0].entries.iter().all(|(position, body)| before.0[0].entries.get(position) == Some(body)));
        assert_eq!(after[0].entries.len() as u64 + missing, before.0[0].entries.len() as u64);
    }
}

const LARGE: ShardKey = SHARDS[0];

/// A commit that is several frames of the journal: every value says which one it is.
fn large_commit(number: u64, clear_cache: bool) -> Commit {
    let text = |row: u64| Bytes::from(format!("{number} ").repeat(5 + row as usize % 60));
    let cache = (0..200_u64).map(|row| (row.to_be_bytes().to_vec(), (row % 9 != number).then(|| text(row)))).collect();
    let entries = vec![(number, text(7))];
    Commit { shards: vec![ShardCommit { cache, clear_cache, entries, ..ShardCommit::new(LARGE, 1, Bytes::from(number.to_string())) }] }
}

/// Which of them the store stands at: all of its rows say so.
fn stands_at(store: &Store) -> u64 {
    let loaded = store.load_shard(LARGE).unwrap().unwrap();
    let number: u64 = std::str::from_utf8(&loaded.record).unwrap().parse().unwrap();
    let mut rows = 0;
    let mut each = |key: &[u8], value: &[u8]| {
        rows += 1;
        assert_ne!(u64::from_be_bytes(key.try_into().unwrap()) % 9, number);
        assert!(value.starts_with(format!("{number} ").as_bytes()), "a row of another commit than {number}");
    };
    store.load_cache(LARGE, &mut each).unwrap();
    assert_eq!(rows, (0..200).filter(|row| row % 9 != number).count());
    assert_eq!(loaded.entries.last().unwrap().0, number);
    number
}

#[test]
fn a_commit_of_many_frames_is_all_there_or_not_at_all_wherever_the_journal_ends() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { sync: SyncPolicy::Never, journal_bytes: 30 << 10, ..Options::default() };
    let (path, killed) = (dir.path().join("store"), dir.path().join("killed"));
    let store = Store::open(&path, options).unwrap();
    store.commit(large_commit(1, false)).unwrap();
    store.close().unwrap();
    let store = Store::open(&path, options).unwrap();
    store.commit(large_commit(2, true)).unwrap();
    assert_eq!(stands_at(&store), 2);
    // As a killed process leaves it.
    copy(&path, &killed);
    drop(store);
    let journal = fs::read(killed.join("journal")).unwrap();
    let frames = journal.windows(4).filter(|four| *four == [0xF7, b'T', b'l', 1]).count();
    assert!(frames > 2, "{frames} frames in {} bytes", journal.len());
    for end in (16..journal.len()).step_by(331).chain([journal.len() - 1, journal.len()]) {
        let place = dir.path().join(format!("cut {end}"));
        copy(&killed, &place);
        fs::write(place.join("journal"), &journal[..end]).unwrap();
        let store = Store::open(&place, options).unwrap();
        let stands = if end == journal.len() { 2 } else { 1 };
        assert_eq!(stands_at(&store), stands, "cut at {end} of {}", journal.len());
        assert_eq!(store.recovery().commits_replayed, stands - 1);
        // What comes next lies where the cut was, and is there after the next start.
        store.commit(large_commit(3, true)).unwrap();
        assert_eq!(stands_at(&store), 3);
        let again = dir.path().join(format!("again {end}"));
        copy(&place, &again);
        assert_eq!(stands_at(&Store::open(&again, options).unwrap()), 3);
        drop(store);
        fs::remove_dir_all(&place).unwrap();
        fs::remove_dir_all(&again).unwrap();
    }
}

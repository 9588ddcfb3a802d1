//! Every way in which a store cannot be opened, and damage to its files: recognised, named, never believed.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use trunkline_store::{Commit, OpenError, Options, ShardCommit, ShardKey, Store, SyncPolicy};

const SHARD: ShardKey = ShardKey { bot: 9, index: 0, count: 1 };
const CHILD: &str = "TRUNKLINE_STORE_TEST_DIR";
const ENTRIES: u64 = 60;
const ROWS: u64 = 400;

fn options() -> Options {
    Options { sync: SyncPolicy::Never, segment_bytes: 1 << 10, ..Options::default() }
}

fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(path, options())
}

fn fill(store: &Store) {
    for number in 0..6 {
        let mut part = ShardCommit::new(SHARD, 1, Bytes::from(format!("record {number}")));
        part.entries = (number * 10 + 1..=number * 10 + 10).map(|position| (position, body(position))).collect();
        part.cache = (0..ROWS).map(|row| (row.to_be_bytes().to_vec(), Some(row_value(row)))).collect();
        store.commit(Commit { shards: vec![part] }).unwrap();
    }
}

fn body(position: u64) -> Bytes {
    Bytes::from(format!("entry {position} ").repeat(8))
}

fn row_value(row: u64) -> Bytes {
    Bytes::from(vec![row as u8; 300])
}

/// A closed store with something in it.
fn closed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    fill(&store);
    store.close().unwrap();
    dir
}

#[test]
fn a_store_that_was_closed_is_known_by_its_seal_and_without_a_true_one_is_verified_page_by_page() {
    let rows = |store: &Store| {
        let mut rows = 0;
        store.load_cache(SHARD, &mut |_, _| rows += 1).unwrap();
        rows
    };
    let dir = closed();
    let (seal, state) = (dir.path().join("state.seal"), dir.path().join("state.redb"));
    let (sealed, before) = (fs::read(&seal).unwrap(), fs::read(&state).unwrap());
    // While it is open it has none: a killed process leaves none.
    let store = open(dir.path()).unwrap();
    assert!(!seal.exists());
    assert_eq!(rows(&store), ROWS);
    fill(&store);
    store.close().unwrap();
    assert!(seal.exists());
    // An earlier seal, an earlier file, no seal, something else in its place.
    for (of_seal, of_state) in [(Some(&sealed[..]), None), (None, Some(&before[..])), (None, None), (Some(&b"something"[..]), None)] {
        match of_seal {
            Some(bytes) => fs::write(&seal, bytes).unwrap(),
            None if of_state.is_none() => fs::remove_file(&seal).unwrap(),
            None => {}
        }
        if let Some(bytes) = of_state {
            fs::write(&state, bytes).unwrap();
        }
        let store = open(dir.path()).unwrap();
        assert_eq!(rows(&store), ROWS);
        store.close().unwrap();
    }
    // A row's byte that has changed since is noticed by way of the seal, whichever of its copies is the one in use.
    let mut damaged = fs::read(&state).unwrap();
    let row = row_value(77);
    let copies: Vec<usize> = (0..damaged.len() - 300).filter(|at| damaged[*at..].starts_with(&row)).collect();
    assert!(!copies.is_empty());
    copies.iter().for_each(|at| damaged[*at] ^= 1);
    fs::write(&state, damaged).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Corrupt { .. })));
}

/// A store as a killed process leaves it: all in the journal.
fn killed() -> tempfile::TempDir {
    let (live, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(live.path()).unwrap();
    fill(&store);
    store.sync().unwrap();
    fill(&store);
    let copied = Command::new("cp").arg("-r").arg(live.path().join(".")).arg(dir.path()).status().unwrap();
    assert!(copied.success());
    dir
}

fn whole(store: &Store) {
    let loaded = store.load_shard(SHARD).unwrap().unwrap();
    assert_eq!((loaded.record.as_ref(), loaded.entries.len() as u64, loaded.missing), (&b"record 5"[..], ENTRIES, 0));
    let mut rows = 0;
    let mut each = |key: &[u8], value: &[u8]| {
        assert_eq!(value, row_value(u64::from_be_bytes(key.try_into().unwrap())));
        rows += 1;
    };
    store.load_cache(SHARD, &mut each).unwrap();
    assert_eq!(rows, ROWS);
}

#[track_caller]
fn refused(dir: &Path, says: &str) -> OpenError {
    let error = open(dir).expect_err("the store opened");
    assert!(error.to_string().contains(says), "{error}");
    error
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let step = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 56) as u8
    };
    (0..len).map(|_| step(&mut state)).collect()
}

#[test]
fn a_damaged_key_value_file_is_named_and_says_what_to_do() {
    let whole_file = fs::read(closed().path().join("state.redb")).unwrap();
    for (what, bytes) in [
        ("empty", vec![]),
        ("cut to half", whole_file[..whole_file.len() / 2].to_vec()),
        ("cut to a few bytes", whole_file[..100].to_vec()),
        ("zeroes", vec![0; whole_file.len()]),
        ("noise", noise(whole_file.len())),
        ("a good header before noise", [&whole_file[..4096], &noise(whole_file.len() - 4096)].concat()),
    ] {
        let dir = closed();
        fs::write(dir.path().join("state.redb"), bytes).unwrap();
        let error = open(dir.path()).err().unwrap_or_else(|| panic!("{what} was opened"));
        assert!(matches!(error, OpenError::Corrupt { .. }), "{what}: {error}");
        let text = error.to_string();
        assert!(text.contains("state.redb") && text.contains("move the directory aside"), "{what}: {text}");
    }
}

#[test]
fn changed_bytes_in_the_key_value_file_are_noticed_or_do_not_matter() {
    let dir = closed();
    let path = dir.path().join("state.redb");
    let good = fs::read(&path).unwrap();
    let (mut noticed, mut harmless) = (0, 0);
    for at in (0..good.len()).step_by(good.len() / 40) {
        let mut bytes = good.clone();
        bytes[at..(at + 64).min(good.len())].iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(&path, bytes).unwrap();
        match open(dir.path()) {
            Ok(store) => {
                whole(&store);
                harmless += 1;
            }
            Err(OpenError::Corrupt { .. }) => noticed += 1,
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(noticed > 0, "{noticed} noticed, {harmless} harmless");
}

/// A store as a killed process leaves it that had written its key-value file several times.
fn killed_later() -> tempfile::TempDir {
    let (live, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::open(live.path(), Options { journal_bytes: 100 << 10, ..options() }).unwrap();
    fill(&store);
    let copied = Command::new("cp").arg("-r").arg(live.path().join(".")).arg(dir.path()).status().unwrap();
    assert!(copied.success());
    dir
}

#[test]
fn after_a_kill_changed_bytes_in_the_key_value_file_are_noticed_or_do_not_matter() {
    let dir = killed_later();
    let files = ["state.redb", "state.sums", "journal"].map(|name| dir.path().join(name));
    let good = files.clone().map(|path| fs::read(path).unwrap());
    let (state, mut noticed, mut harmless) = (&good[0], 0, 0);
    for at in (0..state.len()).step_by(state.len() / 40) {
        for (path, bytes) in files.iter().zip(&good) {
            fs::write(path, bytes).unwrap();
        }
        drop(fs::remove_file(dir.path().join("state.seal")));
        let mut bytes = state.clone();
        bytes[at..(at + 64).min(state.len())].iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(&files[0], bytes).unwrap();
        for again in [false, true] {
            match open(dir.path()) {
                Ok(store) => {
                    whole(&store);
                    harmless += 1;
                }
                // It stays what it is: nothing is noted of a file that is not whole.
                Err(OpenError::Corrupt { .. }) => noticed += 1,
                Err(other) => panic!("byte {at}, again {again}: {other}"),
            }
        }
    }
    assert!(noticed > 0 && noticed % 2 == 0 && harmless > 0, "{noticed} noticed, {harmless} harmless");
}

#[test]
fn a_store_whose_process_was_killed_opens_with_its_sums_and_without() {
    for sums in [true, false] {
        let dir = killed_later();
        if !sums {
            fs::remove_file(dir.path().join("state.sums")).unwrap();
        }
        for _ in 0..2 {
            whole(&open(dir.path()).unwrap());
            assert!(!dir.path().join("state.sums").exists(), "closed");
        }
    }
}

#[test]
fn a_missing_key_value_file_is_not_taken_for_a_new_store() {
    // After a clean stop the journal is empty.
    for dir in [killed(), closed()] {
        fs::remove_file(dir.path().join("state.redb")).unwrap();
        assert!(matches!(refused(dir.path(), "state.redb is missing"), OpenError::Corrupt { .. }));
        // With the note of the form gone too, the journal's rows would look like all there ever were.
        fs::remove_file(dir.path().join("format")).unwrap();
        assert!(matches!(refused(dir.path(), "state.redb is missing"), OpenError::Corrupt { .. }));
    }
}

#[test]
fn a_journal_that_lost_its_header_is_named() {
    for bytes in [vec![0; 500], noise(500), b"trunkline-jrnl\0\x02 and more".to_vec()] {
        let dir = killed();
        fs::write(dir.path().join("journal"), bytes).unwrap();
        assert!(matches!(refused(dir.path(), "the file journal"), OpenError::Corrupt { .. }));
    }
}

#[test]
fn damage_to_what_was_synced_is_told_and_damage_behind_it_is_cut_off() {
    let dir = killed();
    let path = dir.path().join("journal");
    let good = fs::read(&path).unwrap();
    whole(&open(dir.path()).unwrap());

    let dir = killed();
    let path = dir.path().join("journal");
    let mut bytes = good.clone();
    bytes[good.len() / 4] ^= 1;
    fs::write(&path, &bytes).unwrap();
    refused(dir.path(), "which had been synced");

    let mut bytes = good.clone();
    let at = good.len() * 3 / 4;
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let store = open(dir.path()).unwrap();
    assert!(store.recovery().journal_bytes_cut > 0 && store.recovery().commits_replayed >= 6, "{:?}", store.recovery());
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let dir = closed();
    fs::write(dir.path().join("format"), "trunkline store format 7\n").unwrap();
    let error = refused(dir.path(), "has format 7, and this program knows formats up to 1");
    assert!(matches!(error, OpenError::Newer { found: 7, known: 1, .. }));
}

#[test]
fn a_missing_or_damaged_format_is_named() {
    for text in [None, Some(""), Some("trunkline store format x"), Some("\0\0\0\0")] {
        let dir = closed();
        match text {
            None => fs::remove_file(dir.path().join("format")).unwrap(),
            Some(text) => fs::write(dir.path().join("format"), text).unwrap(),
        }
        assert!(matches!(refused(dir.path(), "the file format"), OpenError::Corrupt { .. }));
    }
}

#[test]
fn a_second_opening_is_refused_with_the_first_ones_pid() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path()).unwrap();
    let error = refused(dir.path(), &format!("in use by the process with pid {}", std::process::id()));
    assert!(matches!(error, OpenError::InUse { .. }));
}

#[test]
fn paths_that_cannot_be_a_store_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(refused(&file, "which is not a directory"), OpenError::NotADirectory { .. }));
    assert!(matches!(refused(&file.join("below"), "cannot be made"), OpenError::NotCreatable { .. }));
    assert!(matches!(refused(Path::new("/proc/no/such"), "cannot be made"), OpenError::NotCreatable { .. }));
}

/// Not a test of its own: what runs as a user without rights.
#[test]
fn child_opens_a_directory_that_it_may_not_write() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let dir = Path::new(&dir);
    if dir.join("writable").exists() {
        return;
    }
    let error = open(dir).expect_err("the store opened");
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error:?}");
    assert!(error.to_string().contains("give the user that runs this program write access"), "{error}");
}

#[test]
fn a_directory_that_may_not_be_written_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write anything, so the child gives its rights up first.
    let exe = dir.path().with_extension("exe");
    fs::copy(std::env::current_exe().unwrap(), &exe).unwrap();
    fs::set_permissions(&exe, fs::Permissions::from_mode(0o755)).unwrap();
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut command = if root { Command::new("setpriv") } else { Command::new(&exe) };
    if root {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&exe);
    }
    let done =
        command.args(["--exact", "child_opens_a_directory_that_it_may_not_write", "--nocapture"]).env(CHILD, dir.path()).output().unwrap();
    fs::remove_file(&exe).unwrap();
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_damaged_entry_is_missing_and_the_others_are_there() {
    let dir = closed();
    let segments = dir.path().join("segments/9-0-1");
    let mut files: Vec<_> = fs::read_dir(&segments).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 3);
    let mut bytes = fs::read(&files[1]).unwrap();
    bytes[60] ^= 1;
    fs::write(&files[1], &bytes).unwrap();
    let mut bytes = fs::read(&files[2]).unwrap();
    let length = bytes.len();
    bytes.truncate(length - 1);
    fs::write(&files[2], &bytes).unwrap();

    let store = open(dir.path()).unwrap();
    let loaded = store.load_shard(SHARD).unwrap().unwrap();
    assert_eq!((loaded.missing, loaded.entries.len() as u64), (2, ENTRIES - 2));
    assert!(loaded.entries.iter().all(|(position, _, bytes)| *bytes == body(*position)));
    drop(store);

    fs::remove_file(&files[3]).unwrap();
    let loaded = open(dir.path()).unwrap().load_shard(SHARD).unwrap().unwrap();
    assert_eq!(loaded.missing + loaded.entries.len() as u64, ENTRIES);
    assert!(loaded.missing > 2);
}

//! What the store lacks of a shard's cache while checkpoints fail.
//!
//! Rows of a failed checkpoint are kept for the next one, a key once however often its object changes. That alone has no limit that
//! matters: every object that comes and goes while the store is away leaves a row that says it is gone, and the rows of a cache that has
//! just been filled are a second copy of it. So there is a limit in bytes. Beyond it the rows are let go, and only that is kept that all of
//! them are lacking: the cache itself has what they say. The next checkpoint of the shard then begins with dropping its stored rows, and has
//! every row of its cache.

use bytes::Bytes;
use hashbrown::HashMap;
use trunkline_cache::{Cache, Kind};

/// Cache rows as the store takes them; `None` deletes.
pub type Rows = Vec<(Vec<u8>, Option<Bytes>)>;

/// About what a row takes in memory beside its key and value.
const ROW_BYTES: u64 = 128;

/// What the store lacks. The rows of several checkpoints, the oldest first; where two have the same key, the later one counts. They are
/// merged ([`merged`]) and measured ([`bytes_of`]) on the store's thread: a core only hands them on, however many there are.
#[derive(Debug)]
pub enum Unsaved {
    /// These rows, and about what they take in memory.
    Rows {
        /// By checkpoint.
        rows: Vec<Rows>,
        /// Bytes.
        bytes: u64,
    },
    /// Everything.
    Whole,
}

impl Default for Unsaved {
    fn default() -> Self {
        Unsaved::Rows { rows: Vec::new(), bytes: 0 }
    }
}

/// What was let go, because it took more than it may.
#[derive(Debug)]
pub struct LetGo {
    /// So many rows.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// They themselves: to free a million of them takes its time, which is not the core's.
    pub rows: Vec<Rows>,
}

impl Unsaved {
    /// Whether the next checkpoint has to write the whole cache.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self, Unsaved::Whole)
    }

    /// About what it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Unsaved::Rows { bytes, .. } => *bytes,
            Unsaved::Whole => 0,
        }
    }

    /// The rows of the next checkpoint, what the cache has changed since the last one included. `finishing`: the process stops, and what is
    /// true at that moment only is among them. Of a whole cache the store has to drop what it has.
    pub fn take(&mut self, cache: &mut Cache, finishing: bool) -> Vec<Rows> {
        let changes = if finishing { cache.take_stop_changes() } else { cache.take_changes() };
        let (mut all, changes) = match self {
            Unsaved::Rows { rows, bytes } => {
                *bytes = 0;
                (std::mem::take(rows), changes)
            }
            Unsaved::Whole => {
                let kept =
                    |key: &[u8]| finishing || ![Kind::Presence as u8, Kind::Message as u8].iter().any(|kind| key.first() == Some(kind));
                (Vec::new(), cache.all_rows().into_iter().filter(|(key, _)| kept(key)).map(|(key, value)| (key, Some(value))).collect())
            }
        };
        if !changes.is_empty() {
            all.push(changes);
        }
        all
    }

    /// The checkpoint with these rows, which take so many bytes, has failed. Answers what was let go, where that is more than `bytes_max`.
    pub fn give_back(&mut self, mut failed: Vec<Rows>, failed_bytes: u64, bytes_max: u64) -> Option<LetGo> {
        let Unsaved::Rows { rows, bytes } = self else {
            // The cache has them all. Nobody counts them again.
            return (!failed.is_empty()).then_some(LetGo { count: 0, bytes: 0, rows: failed });
        };
        // What the cache changed since is newer and stays.
        failed.append(rows);
        *rows = failed;
        *bytes += failed_bytes;
        if *bytes <= bytes_max {
            return None;
        }
        let gone = LetGo { count: rows.iter().map(|rows| rows.len() as u64).sum(), bytes: *bytes, rows: std::mem::take(rows) };
        *self = Unsaved::Whole;
        Some(gone)
    }

    /// The checkpoint with the rows that were taken last is written.
    pub fn written(&mut self) {
        if self.is_whole() {
            *self = Unsaved::default();
        }
    }
}

/// One list of them all: of a key the last row.
#[must_use]
pub fn merged(mut all: Vec<Rows>) -> Rows {
    if all.len() < 2 {
        return all.pop().unwrap_or_default();
    }
    let mut rows = HashMap::with_capacity(all.iter().map(Vec::len).max().unwrap_or_default());
    all.into_iter().for_each(|more| rows.extend(more));
    rows.into_iter().collect()
}

/// About what rows take in memory.
#[must_use]
pub fn bytes_of(rows: &Rows) -> u64 {
    rows.iter().map(|(key, value)| (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64 + ROW_BYTES).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use trunkline_cache::{CacheConfig, Users};
    use trunkline_discord::EventKind;
    use trunkline_etf::{Encoding, Limits, Value};
    use trunkline_store::{Commit, Options, ShardCommit, ShardKey, Store};

    use super::*;

    const SHARD: ShardKey = ShardKey { bot: 1, index: 0, count: 1 };

    fn apply(cache: &mut Cache, kind: EventKind, json: &str) {
        let bytes = Bytes::from(json.to_owned());
        let body = Value::parse(Encoding::Json, &bytes, &Limits::GATEWAY).expect("JSON");
        assert!(!cache.apply(kind, body, &bytes).malformed, "{json}");
    }

    fn thread(cache: &mut Cache, kind: EventKind, id: u64) {
        apply(cache, kind, &format!(r#"{{"id":"{id}","guild_id":"7","parent_id":"8","type":11,"name":"a thread"}}"#));
    }

    fn filled() -> Cache {
        let mut cache = Cache::new(CacheConfig::default(), Users::default());
        let members: Vec<String> =
            (100..140).map(|id| format!(r#"{{"user":{{"id":"{id}","username":"user {id}"}},"roles":[],"joined_at":null}}"#)).collect();
        let guild = format!(
            r#"{{"id":"7","name":"here","member_count":40,"channels":[{{"id":"8","type":0,"name":"general"}}],"roles":[{{"id":"7","name":"all"}}],
            "emojis":[],"members":[{}],"presences":[{{"user":{{"id":"100"}},"status":"idle"}}]}}"#,
            members.join(",")
        );
        apply(&mut cache, EventKind::GuildCreate, &guild);
        apply(
            &mut cache,
            EventKind::MessageCreate,
            r#"{"id":"9","channel_id":"8","guild_id":"7","author":{"id":"100","username":"user 100"},"content":"x"}"#,
        );
        cache
    }

    fn commit(store: &Store, cache: Vec<Rows>, clear_cache: bool) {
        let part = ShardCommit { cache: merged(cache), clear_cache, ..ShardCommit::new(SHARD, 1, Bytes::new()) };
        store.commit(Commit { shards: vec![part] }).expect("written");
    }

    /// A checkpoint that fails.
    fn fail(unsaved: &mut Unsaved, cache: &mut Cache, bytes_max: u64) -> Option<LetGo> {
        let rows = merged(unsaved.take(cache, false));
        let bytes = bytes_of(&rows);
        unsaved.give_back(vec![rows], bytes, bytes_max)
    }

    fn stored(store: &Store) -> BTreeMap<Vec<u8>, Bytes> {
        let mut rows = BTreeMap::new();
        store.load_cache(SHARD, &mut |key, value| drop(rows.insert(key.to_vec(), Bytes::copy_from_slice(value)))).expect("read");
        rows
    }

    fn held(cache: &Cache, volatile: bool) -> BTreeMap<Vec<u8>, Bytes> {
        cache.all_rows().into_iter().filter(|(key, _)| volatile || !matches!(key[0], 7 | 15)).collect()
    }

    #[test]
    fn what_waits_for_the_store_stays_within_its_limit_and_the_store_has_all_of_the_cache_in_the_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path(), Options::default()).expect("a store");
        let (mut cache, mut unsaved) = (filled(), Unsaved::default());
        commit(&store, unsaved.take(&mut cache, false), false);
        unsaved.written();
        assert_eq!(stored(&store), held(&cache, false));

        // The store fails for long: threads come and go, one of the stored members leaves, every other one changes.
        apply(&mut cache, EventKind::GuildMemberRemove, r#"{"guild_id":"7","user":{"id":"105"}}"#);
        let (bytes_max, mut most, mut let_go) = (20_000, 0, 0);
        for id in 1_000..3_000 {
            thread(&mut cache, EventKind::ThreadCreate, id);
            if id % 2 == 0 {
                thread(&mut cache, EventKind::ThreadDelete, id - 1);
            }
            let member = 110 + id % 20;
            apply(
                &mut cache,
                EventKind::GuildMemberUpdate,
                &format!(r#"{{"guild_id":"7","user":{{"id":"{member}"}},"roles":[],"nick":"{id}"}}"#),
            );
            let gone = fail(&mut unsaved, &mut cache, bytes_max);
            let_go += u64::from(gone.is_some_and(|gone| gone.count > 0));
            most = most.max(unsaved.bytes());
        }
        assert!(most > bytes_max / 2 && most <= bytes_max, "{most}");
        assert_eq!((let_go, unsaved.is_whole(), unsaved.bytes()), (1, true, 0));

        let rows = unsaved.take(&mut cache, false);
        commit(&store, rows, unsaved.is_whole());
        unsaved.written();
        assert!(!unsaved.is_whole());
        assert_eq!(stored(&store), held(&cache, false));
        // And what changes from here on is a few rows again.
        thread(&mut cache, EventKind::ThreadCreate, 5_000);
        let rows = unsaved.take(&mut cache, false);
        assert!(rows.concat().len() <= 2, "{} rows", rows.concat().len());
        commit(&store, rows, unsaved.is_whole());
        assert_eq!(stored(&store), held(&cache, false));
    }

    #[test]
    fn at_a_stop_a_whole_cache_is_written_with_what_is_true_at_that_moment_only() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path(), Options::default()).expect("a store");
        let (mut cache, mut unsaved) = (filled(), Unsaved::default());
        assert!(fail(&mut unsaved, &mut cache, 100).is_some_and(|gone| gone.count > 80 && gone.bytes > 8_000));
        let rows = unsaved.take(&mut cache, true);
        commit(&store, rows, unsaved.is_whole());
        assert_eq!(stored(&store), held(&cache, true));
        assert!(
            stored(&store).keys().any(|key| key[0] == Kind::Message as u8)
                && stored(&store).keys().any(|key| key[0] == Kind::Presence as u8)
        );
    }

    #[test]
    fn a_newer_row_is_not_overtaken_by_one_that_failed() {
        let (key, row) = (b"key".to_vec(), |text: &'static str| Some(Bytes::from_static(text.as_bytes())));
        let give = |unsaved: &mut Unsaved, rows: Rows| {
            let bytes = bytes_of(&rows);
            unsaved.give_back(vec![rows], bytes, 1_000).is_none()
        };
        let mut unsaved = Unsaved::default();
        assert!(give(&mut unsaved, vec![(key.clone(), row("new"))]));
        assert!(give(&mut unsaved, vec![(key.clone(), row("old")), (b"gone".to_vec(), None)]));
        assert_eq!(unsaved.bytes(), 3 * 128 + 6 + 6 + 4);
        let mut rows = merged(unsaved.take(&mut Cache::new(CacheConfig::default(), Users::default()), false));
        rows.sort();
        assert_eq!(rows, [(b"gone".to_vec(), None), (key, row("new"))]);
        assert_eq!((bytes_of(&rows), unsaved.bytes()), (2 * 128 + 6 + 4, 0));
    }
}

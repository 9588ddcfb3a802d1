//! A commit's cache rows, sorted into tables.
//!
//! Nothing of a row is copied: what is sorted are places in the commit, 24 bytes a row. The JSON of rows is made as they are sent, so that no more
//! of it lies in memory than is under way.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use bytes::Bytes;

use crate::rows::for_jsonb;
use crate::{Commit, Place, RowCodec, ShardKey, Table};

/// A commit, ready to be written. Made on the caller's thread.
pub(super) struct Work {
    pub(super) commit: Commit,
    pub(super) codec: Option<RowCodec>,
    /// Rows of objects.
    pub(super) tables: BTreeMap<Table, Rows<Object>>,
    /// Rows that have no table of their own, in the order of their keys.
    pub(super) others: Rows<At>,
    /// Bytes of values in one statement, about.
    pub(super) chunk_bytes: usize,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// As fast as can be, where all goes well.
    Plain,
    /// Nothing is copied: a plain attempt met a row that it had not seen before.
    Put,
    /// Every row's JSON is tried first as well, and what a table refuses all the same is looked for: an attempt met what `jsonb`, a
    /// column or an index does not take.
    Careful,
}

/// Rows of one table: what is put and what goes.
pub(super) struct Rows<R> {
    pub(super) puts: Vec<R>,
    pub(super) deletes: Vec<R>,
}

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Rows { puts: Vec::new(), deletes: Vec::new() }
    }
}

/// Where in the commit a row is: which shard's, and which of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    part: u32,
    row: u32,
}

/// An object's row. (Its table is known from where it lies.)
#[derive(Clone, Copy, Debug)]
pub(super) struct Object {
    pub(super) guild_id: u64,
    pub(super) id: u64,
    pub(super) at: At,
}

impl Work {
    pub(super) fn new(commit: Commit, codec: Option<RowCodec>, chunk_bytes: usize) -> Work {
        let mut work = Work { commit, codec, tables: BTreeMap::new(), others: Rows::default(), chunk_bytes };
        let mut tables: BTreeMap<Table, Vec<Object>> = BTreeMap::new();
        let mut others = Vec::new();
        // More rows than these numbers count fit in no memory.
        for (part, shard) in (0..).zip(&work.commit.shards) {
            for (row, (key, _)) in (0..).zip(&shard.cache) {
                let at = At { part, row };
                match codec.and_then(|codec| (codec.place)(key)) {
                    Some(place) => tables.entry(place.table).or_default().push(Object { guild_id: place.guild_id, id: place.id, at }),
                    None => others.push(at),
                }
            }
        }
        // A statement must not name a row twice; the last word counts. And neighbours in a table lie together in its index.
        for (table, mut objects) in tables {
            objects.sort_unstable_by_key(|object| (object.guild_id, object.id, object.at.part, Reverse(object.at.row)));
            objects.dedup_by_key(|object| (object.guild_id, object.id, object.at.part));
            let deletes = objects.iter().filter(|object| work.value(object.at).is_none()).copied().collect();
            objects.retain(|object| work.value(object.at).is_some());
            work.tables.insert(table, Rows { puts: objects, deletes });
        }
        others.sort_unstable_by(|a, b| (work.key(*a), a.part, Reverse(a.row)).cmp(&(work.key(*b), b.part, Reverse(b.row))));
        others.dedup_by(|a, b| a.part == b.part && work.key(*a) == work.key(*b));
        let (puts, deletes) = others.into_iter().partition(|at| work.value(*at).is_some());
        work.others = Rows { puts, deletes };
        work
    }

    pub(super) fn shard(&self, at: At) -> ShardKey {
        self.commit.shards[at.part as usize].shard
    }

    pub(super) fn key(&self, at: At) -> &[u8] {
        &self.commit.shards[at.part as usize].cache[at.row as usize].0
    }

    pub(super) fn value(&self, at: At) -> Option<&Bytes> {
        self.commit.shards[at.part as usize].cache[at.row as usize].1.as_ref()
    }

    /// Whether all of the shard's rows go before this one is put.
    pub(super) fn is_cleared(&self, at: At) -> bool {
        self.commit.shards[at.part as usize].clear_cache
    }

    /// A put row's value. (One that is deleted has none.)
    pub(super) fn bytes(&self, at: At) -> Bytes {
        self.value(at).cloned().unwrap_or_default()
    }

    /// A put row's JSON, and whether characters that `jsonb` does not take were replaced in it.
    pub(super) fn json(&self, table: Table, object: &Object) -> Option<(String, bool)> {
        let place = Place { table, guild_id: object.guild_id, id: object.id };
        let json = self.codec.and_then(|codec| (codec.json)(place, self.value(object.at)?))?;
        Some(match for_jsonb(&json) {
            None => (json, false),
            Some(made) => (made, true),
        })
    }

    /// Splits rows that are put so that no statement is huge.
    pub(super) fn chunks<'a, R>(&self, puts: &'a [R], at: impl Fn(&R) -> At) -> Vec<&'a [R]> {
        chunks(puts, self.chunk_bytes, |put| self.value(at(put)).map_or(0, Bytes::len) * 3 + 64)
    }
}

/// Rows in one statement.
const CHUNK_ROWS: usize = 5_000;

/// Splits rows so that no statement is huge: each chunk has about `bytes_max` of them, and always one.
pub(super) fn chunks<T>(mut rows: &[T], bytes_max: usize, bytes: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut out = Vec::new();
    while !rows.is_empty() {
        let mut sum = 0;
        let fit = rows.iter().take(CHUNK_ROWS).take_while(|row| {
            let before = sum;
            sum += bytes(row);
            before < bytes_max
        });
        let (some, rest) = rows.split_at(fit.count().max(1));
        out.push(some);
        rows = rest;
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ShardCommit;

    const CODEC: RowCodec = RowCodec {
        place: |key| Some(Place { table: Table::from_number(*key.first()?)?, guild_id: 0, id: u64::from(*key.get(1)?) }),
        key: |_| None,
        json: |_, value| Some(String::from_utf8_lossy(value).into_owned()),
        with: |_, _, _| None,
        items: |_, _| None,
        value: |_, _| None,
        form: b'{',
    };

    #[test]
    fn a_row_that_a_commit_names_twice_is_written_once_as_it_was_named_last() {
        let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        let part = |index, cache: Vec<(&[u8], Option<Bytes>)>| {
            let cache = cache.into_iter().map(|(key, value)| (key.to_vec(), value)).collect();
            ShardCommit { cache, ..ShardCommit::new(ShardKey { bot: 1, index, count: 2 }, 1, Bytes::new()) }
        };
        let first = part(
            0,
            vec![
                (&[2, 5], value("a")),
                (&[2, 5], None),
                (&[2, 4], None),
                (&[2, 4], value("b")),
                (&[99, 1], value("c")),
                (&[99, 1], value("d")),
                (&[98], None),
            ],
        );
        let second = part(1, vec![(&[2, 5], value("e")), (&[99, 1], None)]);
        let work = Work::new(Commit { shards: vec![first, second] }, Some(CODEC), 100);
        let rows = &work.tables[&Table::Channels];
        let puts: Vec<_> =
            rows.puts.iter().map(|put| (put.id, work.shard(put.at).index, work.json(Table::Channels, put).unwrap().0)).collect();
        assert_eq!(puts, [(4, 0, "b".to_owned()), (5, 1, "e".to_owned())]);
        assert_eq!(rows.deletes.iter().map(|gone| (gone.id, work.shard(gone.at).index)).collect::<Vec<_>>(), [(5, 0)]);
        assert_eq!(work.others.puts.iter().map(|put| work.bytes(*put)).collect::<Vec<_>>(), ["d"]);
        assert_eq!(
            work.others.deletes.iter().map(|gone| (work.key(*gone), work.shard(*gone).index)).collect::<Vec<_>>(),
            [(&[98][..], 0), (&[99, 1][..], 1)]
        );
    }

    #[test]
    fn chunks_have_about_the_bytes_asked_for_and_no_more_rows_than_a_statement_may_have() {
        let sizes = |rows: &[usize], max| chunks(rows, max, |row| *row).iter().map(|some| some.to_vec()).collect::<Vec<_>>();
        assert_eq!(sizes(&[10, 10, 500, 1, 1], 20), [vec![10, 10], vec![500], vec![1, 1]]);
        assert_eq!(sizes(&[10, 10], 0), [[10], [10]]);
        assert_eq!(sizes(&[], 20), Vec::<Vec<usize>>::new());
        assert_eq!(chunks(&vec![0; 12_000], 20, |_| 0).iter().map(|some| some.len()).collect::<Vec<_>>(), [5_000, 5_000, 2_000]);
    }
}

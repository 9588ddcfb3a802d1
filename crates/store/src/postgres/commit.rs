//! Writing: commits, and the few small rows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_postgres::types::{ToSql, Type};

use super::call::{Call, SHARDS, run_all};
use super::link::{Conn, Fault, FaultKind, Parameter};
use super::log::{Appended, Segment, Shard};
use super::work::{Manner, Work, chunks};
use super::{Inner, LOAD_PATIENCE, Postgres, ROW_PATIENCE, lock, tables};
use crate::store::check;
use crate::{Commit, Committed, ShardKey, StoreError, TRIED};

/// Reads what a commit has to know of shards into memory.
pub(super) async fn know(inner: &Inner, conn: &Conn, keys: &[ShardKey]) -> Result<(), Fault> {
    let unknown: Vec<ShardKey> = {
        let shards = lock(&inner.shards);
        keys.iter().filter(|key| !shards.contains_key(key)).copied().collect()
    };
    if unknown.is_empty() {
        return Ok(());
    }
    let mut found: HashMap<ShardKey, Shard> = unknown.iter().map(|key| (*key, Shard::default())).collect();
    let call = Call::new(format!(
        "SELECT bot_id, shard_count, shard, epoch, last_position, floor, next_segment FROM shards \
         JOIN {SHARDS}) AS u(b, c, s) ON bot_id = b AND shard_count = c AND shard = s"
    ))
    .shards(unknown.iter().copied());
    let segments = Call::new(format!(
        "SELECT bot_id, shard_count, shard, segment, count(*), max(position), sum(octet_length(body))::int8 FROM entries \
         JOIN {SHARDS}) AS u(b, c, s) ON bot_id = b AND shard_count = c AND shard = s GROUP BY 1, 2, 3, 4"
    ))
    .shards(unknown.iter().copied());
    let (rows, segment_rows) = (call.query(conn).await?, segments.query(conn).await?);
    let number = |row: &tokio_postgres::Row, column: usize| row.get::<_, i64>(column).cast_unsigned();
    for row in rows {
        if let Some(shard) = found.get_mut(&key_of(&row)) {
            shard.epoch = number(&row, 3);
            shard.last_position = number(&row, 4);
            shard.floor = number(&row, 5);
            shard.next_segment = number(&row, 6);
        }
    }
    for row in segment_rows {
        if let Some(shard) = found.get_mut(&key_of(&row)) {
            let (segment, count) = (number(&row, 3), number(&row, 4));
            shard.index.insert(segment, Segment { bytes: number(&row, 6) + count * 24, count, last: number(&row, 5) });
            shard.next_segment = shard.next_segment.max(segment + 1);
        }
    }
    lock(&inner.shards).extend(found);
    Ok(())
}

pub(super) fn key_of(row: &tokio_postgres::Row) -> ShardKey {
    ShardKey {
        bot: row.get::<_, i64>(0).cast_unsigned(),
        count: row.get::<_, i32>(1).cast_unsigned(),
        index: row.get::<_, i32>(2).cast_unsigned(),
    }
}

/// What a transaction came to.
enum Outcome {
    Done(Committed),
    Fenced { shard: ShardKey, stored: u64, given: u64 },
}

async fn write(inner: &Inner, conn: &Conn, work: &Arc<Work>, manner: Manner) -> Result<Outcome, Fault> {
    let parts = &work.commit.shards;
    let keys: Vec<ShardKey> = parts.iter().map(|part| part.shard).collect();
    know(inner, conn, &keys).await?;
    let known: Vec<Shard> = {
        let shards = lock(&inner.shards);
        keys.iter().map(|key| shards.get(key).cloned().unwrap_or_default()).collect()
    };
    for (part, shard) in parts.iter().zip(&known) {
        if part.epoch < shard.epoch {
            return Ok(Outcome::Fenced { shard: part.shard, stored: shard.epoch, given: part.epoch });
        }
    }
    let appended: Vec<Appended> =
        parts.iter().zip(&known).map(|(part, shard)| shard.append(&part.entries, inner.options.segment_bytes)).collect();
    let gone: Vec<Vec<u64>> = parts
        .iter()
        .zip(&known)
        .zip(&appended)
        .map(|((part, shard), appended)| shard.unneeded(part.release_below.max(shard.floor), &part.release_segments, appended))
        .collect();

    let flat: Vec<_> = parts
        .iter()
        .zip(&appended)
        .flat_map(|(part, appended)| part.entries.iter().zip(&appended.locations).map(|((_, body), at)| (part.shard, at, body)))
        .collect();
    let mut calls = vec![head(parts, &known, &appended)];
    for some in chunks(&flat, work.chunk_bytes, |(_, _, body)| body.len() + 64) {
        let sql = format!(
            "INSERT INTO entries (bot_id, shard_count, shard, segment, place, position, body) \
             SELECT * FROM {SHARDS}, $4::int8[], $5::int8[], $6::int8[], $7::bytea[])"
        );
        let call = Call::new(sql)
            .shards(some.iter().map(|(shard, _, _)| *shard))
            .with(some.iter().map(|(_, (_, at), _)| at.segment.cast_signed()).collect::<Vec<i64>>(), Type::INT8_ARRAY)
            .with(some.iter().map(|(_, (_, at), _)| at.offset.cast_signed()).collect::<Vec<i64>>(), Type::INT8_ARRAY)
            .with(some.iter().map(|(_, (position, _), _)| position.cast_signed()).collect::<Vec<i64>>(), Type::INT8_ARRAY)
            .with(some.iter().map(|(_, _, body)| body.as_ref()).collect::<Vec<&[u8]>>(), Type::BYTEA_ARRAY);
        calls.push(call);
    }
    let released: Vec<(ShardKey, i64)> =
        keys.iter().zip(&gone).flat_map(|(key, gone)| gone.iter().map(|number| (*key, number.cast_signed()))).collect();
    if !released.is_empty() {
        let sql = format!(
            "DELETE FROM entries USING {SHARDS}, $4::int8[]) AS u(b, c, s, n) \
             WHERE bot_id = b AND shard_count = c AND shard = s AND segment = n"
        );
        let numbers: Vec<i64> = released.iter().map(|(_, number)| *number).collect();
        calls.push(Call::new(sql).shards(released.iter().map(|(key, _)| *key)).with(numbers, Type::INT8_ARRAY));
    }
    let cleared: Vec<ShardKey> = parts.iter().filter(|part| part.clear_cache).map(|part| part.shard).collect();
    if !cleared.is_empty() {
        calls.extend(tables::clear(&cleared));
    }
    cache_calls(inner, work, &mut calls);

    conn.batch("BEGIN").await?;
    let touched = run_all(conn, &calls).await?;
    if touched.first().copied() != Some(parts.len() as u64) {
        // Another process has raised an epoch since it was read here.
        return fenced(conn, parts).await;
    }
    drop(calls);
    drop(flat);
    for (table, rows) in &work.tables {
        tables::put(inner, conn, work, manner, *table, &rows.puts).await?;
    }
    conn.batch("COMMIT").await?;

    let mut shards = lock(&inner.shards);
    let mut counts = lock(&inner.counts);
    let mut out = Vec::with_capacity(parts.len());
    for ((part, appended), gone) in parts.iter().zip(appended).zip(&gone) {
        if !part.cache.is_empty() {
            counts.insert(part.shard.bot, part.shard.count);
        }
        let shard = shards.entry(part.shard).or_default();
        out.push((part.shard, shard.take(part.epoch, part.release_below, appended, gone)));
    }
    Ok(Outcome::Done(out))
}

/// The shards' own rows. It touches fewer rows than there are parts where one has a later epoch.
fn head<'a>(parts: &'a [crate::ShardCommit], known: &[Shard], appended: &[Appended]) -> Call<'a> {
    let column = |of: &dyn Fn(usize) -> u64| -> Vec<i64> { (0..parts.len()).map(|at| of(at).cast_signed()).collect() };
    let sql = format!(
        "INSERT INTO shards AS t (bot_id, shard_count, shard, epoch, record, last_position, floor, next_segment, committed_at) \
         SELECT b, c, s, e, r, l, f, n, now() FROM {SHARDS}, $4::int8[], $5::bytea[], $6::int8[], $7::int8[], $8::int8[]) \
         AS u(b, c, s, e, r, l, f, n) ON CONFLICT (bot_id, shard_count, shard) DO UPDATE SET epoch = excluded.epoch, \
         record = excluded.record, last_position = excluded.last_position, floor = excluded.floor, \
         next_segment = excluded.next_segment, committed_at = excluded.committed_at WHERE t.epoch <= excluded.epoch"
    );
    let last = |at: usize| known[at].last_position.max(parts[at].entries.last().map_or(0, |(position, _)| *position));
    Call::new(sql)
        .shards(parts.iter().map(|part| part.shard))
        .with(column(&|at| parts[at].epoch), Type::INT8_ARRAY)
        .with(parts.iter().map(|part| part.record.as_ref()).collect::<Vec<&[u8]>>(), Type::BYTEA_ARRAY)
        .with(column(&last), Type::INT8_ARRAY)
        .with(column(&|at| parts[at].release_below.max(known[at].floor)), Type::INT8_ARRAY)
        .with(column(&|at| appended[at].next_segment), Type::INT8_ARRAY)
}

fn cache_calls<'a>(inner: &Inner, work: &'a Work, calls: &mut Vec<Call<'a>>) {
    let parts = &work.commit.shards;
    tables::delete(work, calls);
    tables::delete_others(work, calls);
    tables::put_others(work, calls);
    // Whose objects are told under which shard count: lookups answer from those.
    let counts = lock(&inner.counts);
    let changed: BTreeMap<i64, i32> = parts
        .iter()
        .filter(|part| !part.cache.is_empty() && counts.get(&part.shard.bot) != Some(&part.shard.count))
        .map(|part| (part.shard.bot.cast_signed(), part.shard.count.cast_signed()))
        .collect();
    if !changed.is_empty() {
        let (bots, counts): (Vec<i64>, Vec<i32>) = changed.into_iter().unzip();
        let sql = "INSERT INTO bots AS t (bot_id, shard_count) SELECT * FROM unnest($1::int8[], $2::int4[]) \
                   ON CONFLICT (bot_id) DO UPDATE SET shard_count = excluded.shard_count";
        calls.push(Call::new(sql).with(bots, Type::INT8_ARRAY).with(counts, Type::INT4_ARRAY));
    }
}

async fn fenced(conn: &Conn, parts: &[crate::ShardCommit]) -> Result<Outcome, Fault> {
    conn.batch("ROLLBACK").await?;
    for part in parts {
        let stored = epoch(conn, part.shard).await?;
        if part.epoch < stored {
            return Ok(Outcome::Fenced { shard: part.shard, stored, given: part.epoch });
        }
    }
    Err(Fault::away("a shard's row changed in the middle of a commit"))
}

async fn epoch(conn: &Conn, key: ShardKey) -> Result<u64, Fault> {
    let call = Call::new(format!(
        "SELECT bot_id, shard_count, shard, epoch FROM shards JOIN {SHARDS}) AS u(b, c, s) ON bot_id = b AND shard_count = c AND shard = s"
    ))
    .shards(std::iter::once(key));
    Ok(call.query(conn).await?.first().map_or(0, |row| row.get::<_, i64>(3).cast_unsigned()))
}

impl Postgres {
    pub(crate) fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        check(&commit)?;
        if commit.shards.is_empty() {
            return Ok(Vec::new());
        }
        let work = Arc::new(Work::new(commit, self.inner.options.rows, self.inner.options.statement_bytes));
        let mut manner = Manner::Plain;
        loop {
            let inner = self.inner.clone();
            let work = work.clone();
            let outcome = self.run(async move {
                let done = inner.write(async |conn: Arc<Conn>| write(&inner, &conn, &work, manner).await).await;
                Ok(done)
            })?;
            match outcome {
                Ok(Outcome::Done(committed)) => return Ok(committed),
                Ok(Outcome::Fenced { shard, stored, given }) => {
                    lock(&self.inner.shards).remove(&shard);
                    return Err(StoreError::Fenced { shard, stored, given });
                }
                Err(fault) => {
                    manner = match fault.kind {
                        FaultKind::Data if manner != Manner::Careful => Manner::Careful,
                        FaultKind::Taken if manner == Manner::Plain => Manner::Put,
                        _ => return Err(fault.store_error(&self.inner.address)),
                    };
                }
            }
        }
    }

    pub(crate) fn next_epoch(&self, key: ShardKey) -> Result<u64, StoreError> {
        let inner = self.inner.clone();
        let epoch = self.run(async move {
            let next = || {
                inner.write(|conn| async move {
                    let sql = format!(
                        "INSERT INTO shards AS t (bot_id, shard_count, shard, epoch) SELECT b, c, s, 1 FROM {SHARDS}) AS u(b, c, s) \
                         ON CONFLICT (bot_id, shard_count, shard) DO UPDATE SET epoch = t.epoch + 1 WHERE t.epoch < 9223372036854775807 \
                         RETURNING bot_id, shard_count, shard, epoch"
                    );
                    durable(&conn, Call::new(sql).shards(std::iter::once(key))).await
                })
            };
            let rows = inner.patiently(LOAD_PATIENCE, next).await?;
            let epoch = rows.first().map(|row| row.get::<_, i64>(3).cast_unsigned());
            lock(&inner.shards).remove(&key);
            Ok(epoch)
        })?;
        epoch.ok_or_else(|| StoreError::Refused { what: format!("an epoch for shard {key} above the highest there is") })
    }

    pub(crate) fn delete_cache(&self, key: ShardKey, rows: &[Vec<u8>]) -> Result<(), StoreError> {
        let inner = self.inner.clone();
        let cache = rows.iter().map(|row| (row.clone(), None)).collect();
        let commit = Commit { shards: vec![crate::ShardCommit { cache, ..crate::ShardCommit::new(key, 0, Bytes::new()) }] };
        let work = Work::new(commit, self.inner.options.rows, self.inner.options.statement_bytes);
        self.run(async move {
            let work = &work;
            let remove = || {
                inner.write(async |conn: Arc<Conn>| {
                    let mut calls = Vec::new();
                    tables::delete(work, &mut calls);
                    tables::delete_others(work, &mut calls);
                    conn.batch("BEGIN").await?;
                    run_all(&conn, &calls).await?;
                    conn.batch("COMMIT").await
                })
            };
            inner.patiently(ROW_PATIENCE, remove).await
        })
    }

    pub(crate) fn forget_shard(&self, key: ShardKey) -> Result<(), StoreError> {
        let inner = self.inner.clone();
        self.run(async move {
            let forget = || {
                inner.write(|conn| async move {
                    let one = || std::iter::once(key);
                    let mut calls = tables::clear(&[key]);
                    calls.push(
                        Call::new(format!(
                            "DELETE FROM entries USING {SHARDS}) AS u(b, c, s) WHERE bot_id = b AND shard_count = c AND shard = s"
                        ))
                        .shards(one()),
                    );
                    calls.push(
                        Call::new(format!(
                            "UPDATE shards SET record = NULL, last_position = 0, floor = 0 FROM {SHARDS}) AS u(b, c, s) \
                             WHERE bot_id = b AND shard_count = c AND shard = s"
                        ))
                        .shards(one()),
                    );
                    conn.batch("BEGIN").await?;
                    run_all(&conn, &calls).await?;
                    conn.batch("COMMIT").await
                })
            };
            inner.patiently(ROW_PATIENCE, forget).await?;
            lock(&inner.shards).remove(&key);
            Ok(())
        })
    }

    pub(crate) fn write_ledger(&self, bot: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT INTO ledgers (bot_id, value) VALUES ($1, $2) ON CONFLICT (bot_id) DO UPDATE SET value = excluded.value";
        self.put(sql, (Box::new(bot.cast_signed()), Type::INT8), bytes, ROW_PATIENCE)
    }

    pub(crate) fn put_meta(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.put_meta_within(name, value, ROW_PATIENCE)
    }

    /// Once, as a checkpoint is: the store's thread has others to serve.
    pub(crate) fn try_write(&self) -> Result<(), StoreError> {
        self.put_meta_within(TRIED, b"", Duration::ZERO)
    }

    fn put_meta_within(&self, name: &str, value: &[u8], patience: Duration) -> Result<(), StoreError> {
        let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.put(sql, (Box::new(name.to_owned()), Type::TEXT), value, patience)
    }

    fn put(
        &self,
        sql: &'static str,
        key: (Box<dyn ToSql + Sync + Send>, Type),
        value: &[u8],
        patience: Duration,
    ) -> Result<(), StoreError> {
        let inner = self.inner.clone();
        let value = value.to_vec();
        self.run(async move {
            let (key, kind) = &key;
            let put = || {
                inner.write(async |conn: Arc<Conn>| {
                    let parameters: [Parameter<'_>; 2] = [(&**key as &(dyn ToSql + Sync), kind.clone()), (&value, Type::BYTEA)];
                    conn.batch("BEGIN; SET LOCAL synchronous_commit = on").await?;
                    conn.execute(sql, &parameters).await?;
                    conn.batch("COMMIT").await
                })
            };
            inner.patiently(patience, put).await
        })
    }
}

/// A statement whose effect is on the disk when it has returned, whatever commits do.
async fn durable(conn: &Conn, call: Call<'_>) -> Result<Vec<tokio_postgres::Row>, Fault> {
    conn.batch("BEGIN; SET LOCAL synchronous_commit = on").await?;
    let rows = call.query(conn).await?;
    conn.batch("COMMIT").await?;
    Ok(rows)
}

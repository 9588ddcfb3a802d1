//! Writing: commits, and the few small rows.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::SinkExt as _;
use futures_util::future::join_all;
use tokio_postgres::types::{ToSql, Type};

use super::copy::CopyWriter;
use super::link::{Conn, Fault, FaultKind, Parameter};
use super::log::{Appended, Segment, Shard};
use super::{Inner, LOAD_PATIENCE, Postgres, ROW_PATIENCE, lock};
use crate::rows::has_no_nul;
use crate::store::check;
use crate::{Commit, Committed, Place, RowCodec, ShardKey, StoreError, Table};

/// Bytes of values in one statement, about.
const CHUNK_BYTES: usize = 4 << 20;
/// Rows in one statement.
const CHUNK_ROWS: usize = 5_000;
/// Statements that are under way together: with the chunks it bounds what is in memory a second time.
const STATEMENTS: usize = 6;

/// New rows of one table from which on they are copied into it instead of being put by statements. Most of what a row costs the server is
/// its indexes either way; of the rest a copy saves about half.
const COPY_ROWS: usize = 500;

/// A commit, ready to be written: cache rows sorted into tables. Made on the caller's thread. The rows' JSON is made as they are sent, so
/// that no more of it lies in memory than is under way.
struct Work {
    commit: Commit,
    codec: Option<RowCodec>,
    tables: BTreeMap<Table, Rows<Place>>,
    others: Rows<Vec<u8>>,
    manner: Manner,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// As fast as can be, where all goes well.
    Plain,
    /// Nothing is copied: a plain attempt met a row that it had not seen before.
    Put,
    /// Every row's JSON is tried first as well, and what a table refuses all the same is looked for: an attempt met what `jsonb`, a
    /// column or an index does not take.
    Careful,
}

/// Rows of one table: what is put and what goes.
struct Rows<K> {
    puts: Vec<Put<K>>,
    deletes: Vec<(ShardKey, K)>,
}

impl<K> Default for Rows<K> {
    fn default() -> Self {
        Rows { puts: Vec::new(), deletes: Vec::new() }
    }
}

struct Put<K> {
    shard: ShardKey,
    key: K,
    value: Bytes,
}

impl Put<Place> {
    fn json(&self, codec: Option<RowCodec>) -> Option<String> {
        codec.and_then(|codec| (codec.json)(self.key, &self.value)).filter(|json| has_no_nul(json))
    }

    /// About what it takes in a statement.
    fn bytes(&self) -> usize {
        self.value.len() * 2 + 64
    }
}

impl Work {
    fn new(commit: Commit, codec: Option<RowCodec>) -> Work {
        let mut work = Work { commit, codec, tables: BTreeMap::new(), others: Rows::default(), manner: Manner::Plain };
        for part in &work.commit.shards {
            // A statement must not name a row twice; the last word counts.
            let last: HashMap<&[u8], &Option<Bytes>> = part.cache.iter().map(|(key, value)| (key.as_slice(), value)).collect();
            for (key, value) in last {
                match (codec.and_then(|codec| (codec.place)(key)), value) {
                    (Some(place), Some(value)) => {
                        let put = Put { shard: part.shard, key: place, value: value.clone() };
                        work.tables.entry(place.table).or_default().puts.push(put);
                    }
                    (Some(place), None) => work.tables.entry(place.table).or_default().deletes.push((part.shard, place)),
                    (None, Some(value)) => {
                        work.others.puts.push(Put { shard: part.shard, key: key.to_vec(), value: value.clone() });
                    }
                    (None, None) => work.others.deletes.push((part.shard, key.to_vec())),
                }
            }
        }
        for rows in work.tables.values_mut() {
            // Neighbours in a table lie together in its index.
            rows.puts.sort_unstable_by_key(|put| put.key);
            rows.deletes.sort_unstable();
        }
        work.others.puts.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        work
    }
}

/// One statement with what it carries.
struct Call<'a> {
    sql: Cow<'static, str>,
    parameters: Vec<(Box<dyn ToSql + Sync + Send + 'a>, Type)>,
}

impl<'a> Call<'a> {
    fn new(sql: impl Into<Cow<'static, str>>) -> Call<'a> {
        Call { sql: sql.into(), parameters: Vec::new() }
    }

    fn with(mut self, value: impl ToSql + Sync + Send + 'a, kind: Type) -> Call<'a> {
        self.parameters.push((Box::new(value), kind));
        self
    }

    /// The three columns that name a shard.
    fn shards(self, shards: impl Iterator<Item = ShardKey>) -> Call<'a> {
        let (bots, (counts, indices)): (Vec<i64>, (Vec<i32>, Vec<i32>)) =
            shards.map(|key| (key.bot.cast_signed(), (key.count.cast_signed(), key.index.cast_signed()))).unzip();
        self.with(bots, Type::INT8_ARRAY).with(counts, Type::INT4_ARRAY).with(indices, Type::INT4_ARRAY)
    }

    async fn run(&self, conn: &Conn) -> Result<u64, Fault> {
        let parameters: Vec<Parameter<'_>> =
            self.parameters.iter().map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone())).collect();
        conn.execute(&self.sql, &parameters).await
    }
}

/// Whether a row that was found by its ids is a shard's. Written so that the server never looks for it by its shard instead, all of whose
/// rows it would go through: while it has no statistics of a new table, it takes that for as good.
const OF_SHARD: &str = "(t.bot_id, t.shard_count, t.shard) IS NOT DISTINCT FROM (b, c, s)";

const SHARDS: &str = "unnest($1::int8[], $2::int4[], $3::int4[]";

/// Runs statements without waiting for each before the next is sent; all of them must succeed. Answers how many rows each touched.
async fn run_all(conn: &Conn, calls: &[Call<'_>]) -> Result<Vec<u64>, Fault> {
    let mut touched = Vec::with_capacity(calls.len());
    for some in calls.chunks(STATEMENTS) {
        let mut first = None;
        for done in join_all(some.iter().map(|call| call.run(conn))).await {
            match done {
                Ok(rows) => touched.push(rows),
                // What failed because something else had is not the reason.
                Err(fault) if first.as_ref().is_none_or(|earlier: &Fault| earlier.kind == FaultKind::Aborted) => first = Some(fault),
                Err(_) => {}
            }
        }
        if let Some(fault) = first {
            return Err(fault);
        }
    }
    Ok(touched)
}

/// Splits rows so that no statement is huge.
fn chunks<T>(mut rows: &[T], bytes: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut out = Vec::new();
    while !rows.is_empty() {
        let mut sum = 0;
        let fit = rows.iter().take(CHUNK_ROWS).take_while(|row| {
            let before = sum;
            sum += bytes(row);
            before < CHUNK_BYTES
        });
        let (some, rest) = rows.split_at(fit.count().max(1));
        out.push(some);
        rows = rest;
    }
    out
}

fn upsert<'a>(table: Table, puts: &[&'a Put<Place>], codec: Option<RowCodec>, careful: bool) -> Call<'a> {
    // Carefully: what jsonb does not take is kept as bytes.
    let (data, raw) = if careful { ("trunkline.as_jsonb(j)", "CASE WHEN d IS NULL THEN r END") } else { ("j::jsonb", "r") };
    let sql = format!(
        "INSERT INTO {} AS t (bot_id, shard_count, shard, guild_id, id, data, raw) SELECT b, c, s, g, i, d, {raw} FROM \
         (SELECT *, {data} AS d FROM {SHARDS}, $4::int8[], $5::int8[], $6::text[], $7::bytea[]) AS u(b, c, s, g, i, j, r)) AS v \
         ON CONFLICT (guild_id, id, bot_id, shard_count, shard) DO UPDATE SET data = excluded.data, raw = excluded.raw, updated_at = now()",
        table.name()
    );
    let json: Vec<Option<String>> = puts.iter().map(|put| put.json(codec)).collect();
    let raw: Vec<Option<&'a [u8]>> =
        puts.iter().zip(&json).map(|(put, json)| (careful || json.is_none()).then_some(put.value.as_ref())).collect();
    Call::new(sql)
        .shards(puts.iter().map(|put| put.shard))
        .with(puts.iter().map(|put| put.key.guild_id.cast_signed()).collect::<Vec<i64>>(), Type::INT8_ARRAY)
        .with(puts.iter().map(|put| put.key.id.cast_signed()).collect::<Vec<i64>>(), Type::INT8_ARRAY)
        .with(json, Type::TEXT_ARRAY)
        .with(raw, Type::BYTEA_ARRAY)
}

/// The guilds of some rows, with their shards, of which the table has any row already.
async fn filled(conn: &Conn, table: Table, puts: &[Put<Place>]) -> Result<HashSet<(ShardKey, u64)>, Fault> {
    let mut asked: Vec<(ShardKey, u64)> = puts.iter().map(|put| (put.shard, put.key.guild_id)).collect();
    asked.sort_unstable();
    asked.dedup();
    let mut filled = HashSet::new();
    for some in asked.chunks(CHUNK_ROWS) {
        // One look each, however the server would like to join them.
        let sql = format!(
            "SELECT n FROM {SHARDS}, $4::int8[]) WITH ORDINALITY AS u(b, c, s, g, n) \
             CROSS JOIN LATERAL (SELECT 1 FROM {} AS t WHERE t.guild_id = g AND {OF_SHARD} LIMIT 1) AS one",
            table.name()
        );
        let guilds: Vec<i64> = some.iter().map(|(_, guild)| guild.cast_signed()).collect();
        let call = Call::new(sql).shards(some.iter().map(|(shard, _)| *shard)).with(guilds, Type::INT8_ARRAY);
        let number = |row: &tokio_postgres::Row| usize::try_from(row.get::<_, i64>(0)).ok();
        filled.extend(query(conn, &call).await?.iter().filter_map(number).filter_map(|number| some.get(number.checked_sub(1)?)));
    }
    Ok(filled)
}

/// Copies rows into a table that has none of them.
async fn copy(conn: &Conn, table: Table, puts: &[&Put<Place>], codec: Option<RowCodec>) -> Result<(), Fault> {
    let sql = format!("COPY {} (bot_id, shard_count, shard, guild_id, id, data, raw) FROM STDIN (FORMAT binary)", table.name());
    let sink = conn.limited(conn.client.copy_in::<_, Bytes>(&sql)).await??;
    let mut sink = std::pin::pin!(sink);
    let mut writer = CopyWriter::new();
    let mut sent = Ok(());
    for put in puts {
        writer.row(7);
        writer.int8(put.shard.bot.cast_signed());
        writer.int4(put.shard.count.cast_signed());
        writer.int4(put.shard.index.cast_signed());
        writer.int8(put.key.guild_id.cast_signed());
        writer.int8(put.key.id.cast_signed());
        match put.json(codec) {
            Some(json) => {
                writer.jsonb(&json);
                writer.null();
            }
            None => {
                writer.null();
                writer.bytes(&put.value);
            }
        }
        if let Some(piece) = writer.full() {
            sent = conn.limited(sink.as_mut().send(piece)).await?;
            if sent.is_err() {
                break;
            }
        }
    }
    if sent.is_ok() {
        sent = conn.limited(sink.as_mut().send(writer.finish())).await?;
    }
    // What the server says is the reason, where it takes no more.
    conn.limited(sink.as_mut().finish()).await??;
    Ok(sent?)
}

/// Writes rows of which a table may refuse some, whatever the reason: an index that somebody has added takes no long text, say. Those are
/// looked for by halves and kept as bytes, of which no column or index holds anything.
async fn put_carefully(inner: &Inner, conn: &Conn, table: Table, puts: &[&Put<Place>], codec: Option<RowCodec>) -> Result<(), Fault> {
    let mut left = chunks(puts, |put| put.bytes());
    while let Some(some) = left.pop() {
        conn.batch("SAVEPOINT chunk").await?;
        match upsert(table, some, codec, true).run(conn).await {
            Ok(_) => {}
            Err(fault) if fault.kind == FaultKind::Data => {
                conn.batch("ROLLBACK TO SAVEPOINT chunk").await?;
                if let [one] = some {
                    upsert(table, some, None, true).run(conn).await?;
                    inner.tell_refused(one.key, fault);
                } else {
                    let (first, second) = some.split_at(some.len() / 2);
                    left.extend([second, first]);
                }
            }
            Err(fault) => return Err(fault),
        }
        conn.batch("RELEASE SAVEPOINT chunk").await?;
    }
    Ok(())
}

/// Writes one table's rows.
async fn put(inner: &Inner, conn: &Conn, work: &Work, table: Table, puts: &[Put<Place>]) -> Result<(), Fault> {
    let mut put_by_statements: Vec<&Put<Place>> = Vec::new();
    if work.manner == Manner::Plain && puts.len() >= COPY_ROWS {
        // Users and what else is in no guild are looked for one by one when they are put: few are new but at a shard's beginning.
        let cleared: Vec<ShardKey> = work.commit.shards.iter().filter(|part| part.clear_cache).map(|part| part.shard).collect();
        let filled = if puts.iter().all(|put| cleared.contains(&put.shard)) { HashSet::new() } else { filled(conn, table, puts).await? };
        let is_new =
            |put: &&Put<Place>| cleared.contains(&put.shard) || put.key.guild_id != 0 && !filled.contains(&(put.shard, put.key.guild_id));
        let (new, known): (Vec<_>, Vec<_>) = puts.iter().partition(is_new);
        put_by_statements.extend(known);
        if new.len() < COPY_ROWS {
            put_by_statements.extend(new);
        } else {
            // A copy may take as long as a statement, however slow the way to the server is: each has as many bytes as one.
            for some in chunks(&new, |put| put.bytes()) {
                copy(conn, table, some, work.codec).await?;
            }
        }
    } else {
        put_by_statements.extend(puts);
    }
    if work.manner == Manner::Careful {
        return put_carefully(inner, conn, table, &put_by_statements, work.codec).await;
    }
    for some in chunks(&put_by_statements, |put| put.bytes()).chunks(STATEMENTS) {
        let calls: Vec<Call<'_>> = some.iter().map(|puts| upsert(table, puts, work.codec, false)).collect();
        run_all(conn, &calls).await?;
    }
    Ok(())
}

fn delete<'a>(table: Table, gone: &'a [(ShardKey, Place)]) -> Call<'a> {
    let sql = format!(
        "DELETE FROM {} AS t USING {SHARDS}, $4::int8[], $5::int8[]) AS u(b, c, s, g, i) \
         WHERE t.guild_id = g AND t.id = i AND {OF_SHARD}",
        table.name()
    );
    Call::new(sql)
        .shards(gone.iter().map(|(shard, _)| *shard))
        .with(gone.iter().map(|(_, place)| place.guild_id.cast_signed()).collect::<Vec<i64>>(), Type::INT8_ARRAY)
        .with(gone.iter().map(|(_, place)| place.id.cast_signed()).collect::<Vec<i64>>(), Type::INT8_ARRAY)
}

/// Deletes all cache rows of shards.
fn clear<'a>(shards: &[ShardKey]) -> Vec<Call<'a>> {
    let names = Table::ALL.into_iter().map(Table::name).chain(["cache_rows"]);
    names
        .map(|name| {
            let sql =
                format!("DELETE FROM {name} AS t USING {SHARDS}) AS u(b, c, s) WHERE t.bot_id = b AND t.shard_count = c AND t.shard = s");
            Call::new(sql).shards(shards.iter().copied())
        })
        .collect()
}

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
    let (rows, segment_rows) = (query(conn, &call).await?, query(conn, &segments).await?);
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

async fn query(conn: &Conn, call: &Call<'_>) -> Result<Vec<tokio_postgres::Row>, Fault> {
    let parameters: Vec<Parameter<'_>> =
        call.parameters.iter().map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone())).collect();
    conn.query(&call.sql, &parameters).await
}

/// What a transaction came to.
enum Outcome {
    Done(Committed),
    Fenced { shard: ShardKey, stored: u64, given: u64 },
}

async fn write(inner: &Inner, conn: &Conn, work: &Work) -> Result<Outcome, Fault> {
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
    for some in chunks(&flat, |(_, _, body)| body.len() + 64) {
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
        calls.extend(clear(&cleared));
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
        put(inner, conn, work, *table, &rows.puts).await?;
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

fn delete_calls<'a>(work: &'a Work, calls: &mut Vec<Call<'a>>) {
    for (table, rows) in &work.tables {
        calls.extend(chunks(&rows.deletes, |_| 64).into_iter().map(|some| delete(*table, some)));
    }
    for some in chunks(&work.others.deletes, |_| 64) {
        let sql = format!(
            "DELETE FROM cache_rows AS t USING {SHARDS}, $4::bytea[]) AS u(b, c, s, k) \
             WHERE t.bot_id = b AND t.shard_count = c AND t.shard = s AND t.key = k"
        );
        let keys: Vec<&[u8]> = some.iter().map(|(_, key)| key.as_slice()).collect();
        calls.push(Call::new(sql).shards(some.iter().map(|(shard, _)| *shard)).with(keys, Type::BYTEA_ARRAY));
    }
}

fn cache_calls<'a>(inner: &Inner, work: &'a Work, calls: &mut Vec<Call<'a>>) {
    let parts = &work.commit.shards;
    delete_calls(work, calls);
    for some in chunks(&work.others.puts, |put| put.value.len() + 64) {
        let sql = format!(
            "INSERT INTO cache_rows (bot_id, shard_count, shard, key, value) SELECT * FROM {SHARDS}, $4::bytea[], $5::bytea[]) \
             ON CONFLICT (bot_id, shard_count, shard, key) DO UPDATE SET value = excluded.value"
        );
        let call = Call::new(sql)
            .shards(some.iter().map(|put| put.shard))
            .with(some.iter().map(|put| put.key.as_slice()).collect::<Vec<&[u8]>>(), Type::BYTEA_ARRAY)
            .with(some.iter().map(|put| put.value.as_ref()).collect::<Vec<&[u8]>>(), Type::BYTEA_ARRAY);
        calls.push(call);
    }
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
    Ok(query(conn, &call).await?.first().map_or(0, |row| row.get::<_, i64>(3).cast_unsigned()))
}

impl Postgres {
    pub(crate) fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        check(&commit)?;
        if commit.shards.is_empty() {
            return Ok(Vec::new());
        }
        let mut work = Arc::new(Work::new(commit, self.inner.options.rows));
        loop {
            let inner = self.inner.clone();
            let this = work.clone();
            let outcome = self.run(async move {
                let done = inner.write(async |conn: Arc<Conn>| write(&inner, &conn, &this).await).await;
                Ok(done)
            })?;
            match outcome {
                Ok(Outcome::Done(committed)) => return Ok(committed),
                Ok(Outcome::Fenced { shard, stored, given }) => {
                    lock(&self.inner.shards).remove(&shard);
                    return Err(StoreError::Fenced { shard, stored, given });
                }
                Err(fault) => {
                    let manner = match fault.kind {
                        FaultKind::Data if work.manner != Manner::Careful => Manner::Careful,
                        FaultKind::Taken if work.manner == Manner::Plain => Manner::Put,
                        _ => return Err(fault.store_error(&self.inner.address)),
                    };
                    match Arc::try_unwrap(work) {
                        Ok(tried) => work = Arc::new(Work { manner, ..tried }),
                        Err(_) => return Err(fault.store_error(&self.inner.address)),
                    }
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
        let work = Work::new(commit, self.inner.options.rows);
        self.run(async move {
            let work = &work;
            let remove = || {
                inner.write(async |conn: Arc<Conn>| {
                    let mut calls = Vec::new();
                    delete_calls(work, &mut calls);
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
                    let mut calls = clear(&[key]);
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
        self.put(sql, (Box::new(bot.cast_signed()), Type::INT8), bytes)
    }

    pub(crate) fn put_meta(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.put(sql, (Box::new(name.to_owned()), Type::TEXT), value)
    }

    fn put(&self, sql: &'static str, key: (Box<dyn ToSql + Sync + Send>, Type), value: &[u8]) -> Result<(), StoreError> {
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
            inner.patiently(ROW_PATIENCE, put).await
        })
    }
}

/// A statement whose effect is on the disk when it has returned, whatever commits do.
async fn durable(conn: &Conn, call: Call<'_>) -> Result<Vec<tokio_postgres::Row>, Fault> {
    conn.batch("BEGIN; SET LOCAL synchronous_commit = on").await?;
    let rows = query(conn, &call).await?;
    conn.batch("COMMIT").await?;
    Ok(rows)
}

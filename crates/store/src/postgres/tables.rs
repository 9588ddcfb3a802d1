//! Objects into their tables, and out of them.
//!
//! A row's JSON is made on a thread beside the one that runs the connections, a chunk at a time while the server takes the one before: so
//! little of it lies in memory, and whoever else waits for the server does not wait for the making.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::FuturesOrdered;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio_postgres::types::Type;

use super::Inner;
use super::call::{Call, OF_SHARD, Raw, SHARDS, STATEMENTS, keep_reason};
use super::copy::CopyWriter;
use super::link::{Conn, Fault, FaultKind};
use super::work::{At, Manner, Object, Work};
use crate::{Place, ShardKey, Table};

/// New rows of one table from which on they are copied into it instead of being put by statements. Most of what a row costs the server is
/// its indexes either way; of the rest a copy saves about half.
const COPY_ROWS: usize = 500;

/// Rows of deletions and questions in one statement.
const KEYS: usize = 5_000;

/// Pieces of a copy that may wait to be sent.
const PIECES: usize = 4;

/// Writes one table's rows.
pub(super) async fn put(inner: &Inner, conn: &Conn, work: &Arc<Work>, manner: Manner, table: Table, puts: &[Object]) -> Result<(), Fault> {
    if manner != Manner::Plain || puts.len() < COPY_ROWS {
        return put_by_statements(inner, conn, work, manner, table, puts).await;
    }
    // Users and what else is in no guild are looked for one by one when they are put: few are new but at a shard's beginning.
    let filled = if puts.iter().all(|put| work.is_cleared(put.at)) { HashSet::new() } else { filled(conn, work, table, puts).await? };
    let is_new = |put: &Object| work.is_cleared(put.at) || put.guild_id != 0 && !filled.contains(&(work.shard(put.at), put.guild_id));
    let (new, known): (Vec<Object>, Vec<Object>) =
        if puts.iter().all(is_new) { Default::default() } else { puts.iter().partition(|put| is_new(put)) };
    let (new, known) = match (new.len(), known.len()) {
        (0, 0) => (puts, &[][..]),
        (..COPY_ROWS, _) => (&[][..], puts),
        _ => (&new[..], &known[..]),
    };
    // A copy may take as long as a statement, however slow the way to the server is: it has as many bytes as all that are under way.
    let copied: Vec<&[Object]> = work.chunks(new, |put| put.at);
    for some in copied.chunks(STATEMENTS) {
        copy(conn, work, table, some.concat()).await?;
    }
    put_by_statements(inner, conn, work, manner, table, known).await
}

async fn put_by_statements(
    inner: &Inner,
    conn: &Conn,
    work: &Arc<Work>,
    manner: Manner,
    table: Table,
    puts: &[Object],
) -> Result<(), Fault> {
    let chunks = work.chunks(puts, |put| put.at);
    if manner == Manner::Careful {
        return put_carefully(inner, conn, work, table, chunks).await;
    }
    let (mut chunks, mut under_way, mut first) = (chunks.into_iter(), FuturesOrdered::new(), None);
    loop {
        while under_way.len() < STATEMENTS
            && let Some(some) = chunks.next()
        {
            let making = made(work, table, some.to_vec(), As::Json);
            under_way.push_back(async move { making.await?.run(conn).await });
        }
        match under_way.next().await {
            None => break,
            Some(Ok(_)) => {}
            Some(Err(fault)) => {
                let reason = fault.kind != FaultKind::Aborted;
                keep_reason(&mut first, fault);
                if reason {
                    break;
                }
            }
        }
    }
    first.map_or(Ok(()), Err)
}

/// Writes rows of which a table may refuse some, whatever the reason: an index that somebody has added takes no long text, say. Those are
/// looked for by halves and kept as bytes, of which no column or index holds anything.
async fn put_carefully(inner: &Inner, conn: &Conn, work: &Arc<Work>, table: Table, mut left: Vec<&[Object]>) -> Result<(), Fault> {
    while let Some(some) = left.pop() {
        conn.batch("SAVEPOINT chunk").await?;
        match made(work, table, some.to_vec(), As::JsonOrBytes).await?.run(conn).await {
            Ok(_) => {}
            Err(fault) if fault.kind == FaultKind::Data => {
                conn.batch("ROLLBACK TO SAVEPOINT chunk").await?;
                if let [one] = some {
                    made(work, table, some.to_vec(), As::Bytes).await?.run(conn).await?;
                    inner.tell_refused(Place { table, guild_id: one.guild_id, id: one.id }, fault);
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

/// What of a row is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum As {
    /// Its JSON, where it has any, and its bytes.
    Json,
    /// The same, and the server may not take the JSON.
    JsonOrBytes,
    /// Its bytes alone.
    Bytes,
}

/// Makes a statement on the thread beside.
async fn made(work: &Arc<Work>, table: Table, puts: Vec<Object>, form: As) -> Result<Call<'static>, Fault> {
    let work = work.clone();
    let making = tokio::task::spawn_blocking(move || upsert(&work, table, &puts, form));
    making.await.map_err(|error| Fault { kind: FaultKind::Statement, why: format!("rows could not be made ready: {error}") })
}

fn upsert(work: &Work, table: Table, puts: &[Object], form: As) -> Call<'static> {
    let data = if form == As::JsonOrBytes { "trunkline.as_jsonb(j)" } else { "j::jsonb" };
    let sql = format!(
        "INSERT INTO {} AS t (bot_id, shard_count, shard, guild_id, id, data, raw, packed, replaced) \
         SELECT b, c, s, g, i, d, CASE WHEN d IS NULL THEN p END, CASE WHEN d IS NOT NULL THEN p END, CASE WHEN d IS NOT NULL AND r THEN r END \
         FROM (SELECT *, {data} AS d FROM {SHARDS}, $4::int8[], $5::int8[], $6::text[], $7::bytea[], $8::bool[]) \
         AS u(b, c, s, g, i, j, p, r)) AS v ON CONFLICT (guild_id, id, bot_id, shard_count, shard) DO UPDATE SET \
         data = excluded.data, raw = excluded.raw, packed = excluded.packed, replaced = excluded.replaced, updated_at = now()",
        table.name()
    );
    let json = puts.iter().map(|put| if form == As::Bytes { None } else { work.json(table, put) });
    let (json, replaced): (Vec<Option<String>>, Vec<bool>) = json.map(Option::unzip).map(|(json, made)| (json, made == Some(true))).unzip();
    let bytes: Vec<Raw> = puts.iter().map(|put| Raw(work.bytes(put.at))).collect();
    Call::new(sql)
        .shards(puts.iter().map(|put| work.shard(put.at)))
        .with(puts.iter().map(|put| put.guild_id.cast_signed()).collect::<Vec<i64>>(), Type::INT8_ARRAY)
        .with(puts.iter().map(|put| put.id.cast_signed()).collect::<Vec<i64>>(), Type::INT8_ARRAY)
        .with(json, Type::TEXT_ARRAY)
        .with(bytes, Type::BYTEA_ARRAY)
        .with(replaced, Type::BOOL_ARRAY)
}

/// The guilds of some rows, with their shards, of which the table has any row already.
async fn filled(conn: &Conn, work: &Work, table: Table, puts: &[Object]) -> Result<HashSet<(ShardKey, u64)>, Fault> {
    // Rows come guild by guild.
    let mut asked: Vec<(ShardKey, u64)> = puts.iter().map(|put| (work.shard(put.at), put.guild_id)).collect();
    asked.sort_unstable();
    asked.dedup();
    let mut filled = HashSet::new();
    for some in asked.chunks(KEYS) {
        // One look each, however the server would like to join them.
        let sql = format!(
            "SELECT n FROM {SHARDS}, $4::int8[]) WITH ORDINALITY AS u(b, c, s, g, n) \
             CROSS JOIN LATERAL (SELECT 1 FROM {} AS t WHERE t.guild_id = g AND {OF_SHARD} LIMIT 1) AS one",
            table.name()
        );
        let guilds: Vec<i64> = some.iter().map(|(_, guild)| guild.cast_signed()).collect();
        let call = Call::new(sql).shards(some.iter().map(|(shard, _)| *shard)).with(guilds, Type::INT8_ARRAY);
        let number = |row: &tokio_postgres::Row| usize::try_from(row.get::<_, i64>(0)).ok();
        filled.extend(call.query(conn).await?.iter().filter_map(number).filter_map(|number| some.get(number.checked_sub(1)?)));
    }
    Ok(filled)
}

/// Copies rows into a table that has none of them.
async fn copy(conn: &Conn, work: &Arc<Work>, table: Table, puts: Vec<Object>) -> Result<(), Fault> {
    let sql =
        format!("COPY {} (bot_id, shard_count, shard, guild_id, id, data, raw, packed, replaced) FROM STDIN (FORMAT binary)", table.name());
    let sink = conn.limited(conn.client.copy_in::<_, Bytes>(&sql)).await??;
    let mut sink = std::pin::pin!(sink);
    let (pieces, mut made) = mpsc::channel(PIECES);
    let making = tokio::task::spawn_blocking({
        let work = work.clone();
        move || write_copy(&work, table, &puts, &pieces)
    });
    let mut sent = Ok(());
    while let Some(piece) = made.recv().await {
        sent = conn.limited(sink.as_mut().send(piece)).await?;
        if sent.is_err() {
            break;
        }
    }
    // Whoever makes pieces ends where nobody takes them.
    drop(made);
    if let Err(error) = making.await {
        // Not finished: what was sent does not count.
        return Err(Fault { kind: FaultKind::Statement, why: format!("rows could not be made ready: {error}") });
    }
    // What the server says is the reason, where it takes no more.
    conn.limited(sink.as_mut().finish()).await??;
    Ok(sent?)
}

/// Makes rows ready to be copied; ends early where nobody takes them any more.
fn write_copy(work: &Work, table: Table, puts: &[Object], pieces: &mpsc::Sender<Bytes>) {
    let mut writer = CopyWriter::new();
    for put in puts {
        let shard = work.shard(put.at);
        writer.row(9);
        writer.int8(shard.bot.cast_signed());
        writer.int4(shard.count.cast_signed());
        writer.int4(shard.index.cast_signed());
        writer.int8(put.guild_id.cast_signed());
        writer.int8(put.id.cast_signed());
        match work.json(table, put) {
            Some((json, replaced)) => {
                writer.jsonb(&json);
                writer.null();
                writer.bytes(&work.bytes(put.at));
                if replaced { writer.bool(true) } else { writer.null() }
            }
            None => {
                writer.null();
                writer.bytes(&work.bytes(put.at));
                writer.null();
                writer.null();
            }
        }
        if let Some(piece) = writer.full()
            && pieces.blocking_send(piece).is_err()
        {
            return;
        }
    }
    // Nobody takes it where the server has refused what came before.
    pieces.blocking_send(writer.finish()).ok();
}

/// Deletes objects.
pub(super) fn delete(work: &Work, calls: &mut Vec<Call<'_>>) {
    for (table, rows) in &work.tables {
        let sql = format!(
            "DELETE FROM {} AS t USING {SHARDS}, $4::int8[], $5::int8[]) AS u(b, c, s, g, i) \
             WHERE t.guild_id = g AND t.id = i AND {OF_SHARD}",
            table.name()
        );
        calls.extend(rows.deletes.chunks(KEYS).map(|gone| {
            Call::new(sql.clone())
                .shards(gone.iter().map(|gone| work.shard(gone.at)))
                .with(gone.iter().map(|gone| gone.guild_id.cast_signed()).collect::<Vec<i64>>(), Type::INT8_ARRAY)
                .with(gone.iter().map(|gone| gone.id.cast_signed()).collect::<Vec<i64>>(), Type::INT8_ARRAY)
        }));
    }
}

/// Deletes rows that have no table of their own.
pub(super) fn delete_others<'a>(work: &'a Work, calls: &mut Vec<Call<'a>>) {
    calls.extend(work.others.deletes.chunks(KEYS).map(|some: &[At]| {
        let sql = format!(
            "DELETE FROM cache_rows AS t USING {SHARDS}, $4::bytea[]) AS u(b, c, s, k) \
             WHERE t.bot_id = b AND t.shard_count = c AND t.shard = s AND t.key = k"
        );
        let keys: Vec<&[u8]> = some.iter().map(|gone| work.key(*gone)).collect();
        Call::new(sql).shards(some.iter().map(|gone| work.shard(*gone))).with(keys, Type::BYTEA_ARRAY)
    }));
}

/// Puts rows that have no table of their own.
pub(super) fn put_others<'a>(work: &'a Work, calls: &mut Vec<Call<'a>>) {
    for some in work.chunks(&work.others.puts, |put| *put) {
        let sql = format!(
            "INSERT INTO cache_rows (bot_id, shard_count, shard, key, value) SELECT * FROM {SHARDS}, $4::bytea[], $5::bytea[]) \
             ON CONFLICT (bot_id, shard_count, shard, key) DO UPDATE SET value = excluded.value"
        );
        let value = |put: &At| work.value(*put).map(|value| value.as_ref()).unwrap_or_default();
        let call = Call::new(sql)
            .shards(some.iter().map(|put| work.shard(*put)))
            .with(some.iter().map(|put| work.key(*put)).collect::<Vec<&[u8]>>(), Type::BYTEA_ARRAY)
            .with(some.iter().map(value).collect::<Vec<&[u8]>>(), Type::BYTEA_ARRAY);
        calls.push(call);
    }
}

/// Deletes all cache rows of shards.
pub(super) fn clear<'a>(shards: &[ShardKey]) -> Vec<Call<'a>> {
    let names = Table::ALL.into_iter().map(Table::name).chain(["cache_rows"]);
    names
        .map(|name| {
            let sql =
                format!("DELETE FROM {name} AS t USING {SHARDS}) AS u(b, c, s) WHERE t.bot_id = b AND t.shard_count = c AND t.shard = s");
            Call::new(sql).shards(shards.iter().copied())
        })
        .collect()
}

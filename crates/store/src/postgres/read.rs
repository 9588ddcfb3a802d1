//! Reading: what a start needs, and single bodies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio_postgres::types::Type;

use super::commit::{key_of, know};
use super::copy::{CopyReader, NotCopied, int8, jsonb};
use super::link::{Conn, Fault, Parameter, Session};
use super::{Inner, LOAD_PATIENCE, Postgres, ROW_PATIENCE, lock};
use crate::{LoadedRecord, LoadedShard, Location, Place, RowCodec, ShardKey, StoreError, Table};

/// Bytes that are handed over at a time, and how many such lots may wait.
const LOT_BYTES: usize = 256 << 10;
const LOTS: usize = 16;

/// The three columns that name a shard, as parameters.
struct Key(i64, i32, i32);

impl Key {
    fn new(key: ShardKey) -> Key {
        Key(key.bot.cast_signed(), key.count.cast_signed(), key.index.cast_signed())
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        vec![(&self.0, Type::INT8), (&self.1, Type::INT4), (&self.2, Type::INT4)]
    }
}

const OF_SHARD: &str = "bot_id = $1 AND shard_count = $2 AND shard = $3";

/// A part of a table of cache rows on its way to the caller, as COPY has it.
struct Lot {
    table: Option<Table>,
    bytes: Vec<u8>,
    /// Nothing more comes of this table.
    last: bool,
}

impl Postgres {
    pub(crate) fn load_record(&self, key: ShardKey) -> Result<Option<LoadedRecord>, StoreError> {
        let inner = self.inner.clone();
        self.run(async move {
            let load = || {
                inner.write(async |conn: Arc<Conn>| {
                    know(&inner, &conn, &[key]).await?;
                    let sql = format!("SELECT record FROM shards WHERE {OF_SHARD}");
                    let rows = conn.query(&sql, &Key::new(key).parameters()).await?;
                    Ok(rows.first().and_then(|row| row.get::<_, Option<Vec<u8>>>(0)))
                })
            };
            let Some(record) = inner.patiently(LOAD_PATIENCE, load).await? else { return Ok(None) };
            let shards = lock(&inner.shards);
            let shard = shards.get(&key).cloned().unwrap_or_default();
            Ok(Some(LoadedRecord { record: record.into(), epoch: shard.epoch, floor: shard.floor, last_position: shard.last_position }))
        })
    }

    pub(crate) fn load_shard(&self, key: ShardKey) -> Result<Option<LoadedShard>, StoreError> {
        let Some(LoadedRecord { record, epoch, floor, last_position }) = self.load_record(key)? else { return Ok(None) };
        let mut entries = BTreeMap::new();
        let missing = self.scan_entries(key, &mut |position, location, body| {
            // A commit that was tried again may have left two copies: the later one is as good.
            entries.insert(position, (location, Bytes::copy_from_slice(body)));
        })?;
        let entries = entries.into_iter().map(|(position, (location, body))| (position, location, body)).collect();
        Ok(Some(LoadedShard { record, epoch, entries, missing, floor, last_position }))
    }

    pub(crate) fn scan_entries(&self, key: ShardKey, f: &mut dyn FnMut(u64, Location, &[u8])) -> Result<u64, StoreError> {
        let inner = self.inner.clone();
        // As it is now, under the writer's lock: no commit is half way.
        let snapshot = self.run(async move {
            let known = || inner.write(async |conn: Arc<Conn>| know(&inner, &conn, &[key]).await);
            inner.patiently(LOAD_PATIENCE, known).await?;
            Ok(lock(&inner.shards).get(&key).cloned().unwrap_or_default())
        })?;
        let mut missing = 0;
        for (number, segment) in snapshot.index.range(..).filter(|(_, segment)| segment.last >= snapshot.floor) {
            let (number, end) = (*number, segment.bytes);
            let inner = self.inner.clone();
            let rows = self.run(async move {
                let read = || {
                    inner.read(|conn| async move {
                        let sql = format!(
                            "SELECT place, position, body FROM entries WHERE {OF_SHARD} AND segment = $4 AND place < $5 ORDER BY place"
                        );
                        let key = Key::new(key);
                        let (number, end) = (number.cast_signed(), end.cast_signed());
                        let mut parameters = key.parameters();
                        parameters.extend([(&number as &(dyn tokio_postgres::types::ToSql + Sync), Type::INT8), (&end, Type::INT8)]);
                        conn.query(&sql, &parameters).await
                    })
                };
                inner.patiently(LOAD_PATIENCE, read).await
            })?;
            let lacks = segment.count.saturating_sub(rows.len() as u64);
            for row in rows {
                let position = row.get::<_, i64>(1).cast_unsigned();
                let body: &[u8] = row.get(2);
                if position >= snapshot.floor {
                    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
                    f(position, Location { segment: number, offset: row.get::<_, i64>(0).cast_unsigned(), len }, body);
                }
            }
            // A commit may have released it meanwhile: then nobody needs what it held.
            if lacks > 0 && lock(&self.inner.shards).get(&key).is_some_and(|shard| shard.index.contains_key(&number)) {
                tracing::warn!(server = %self.inner.address, segment = number, lacks, "a segment of event bodies lacks rows");
                missing += lacks;
            }
        }
        Ok(missing)
    }

    pub(crate) fn load_cache(&self, key: ShardKey, f: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        let codec = self.inner.options.rows;
        let (lots, arriving) = sync_channel::<Lot>(LOTS);
        let (answer, wait) = sync_channel(1);
        let inner = self.inner.clone();
        self.handle.spawn(async move {
            // Whoever asked waits.
            drop(answer.send(stream(&inner, key, codec, lots).await));
        });
        let mut copied = CopyReader::default();
        let mut understood = Ok(());
        for lot in arriving {
            copied.feed(&lot.bytes);
            understood = hand_over(&mut copied, lot.table, codec, f);
            if understood.is_ok() && lot.last && !copied.ended() {
                understood = Err(NotCopied);
            }
            if understood.is_err() {
                // The sender ends with the channel.
                break;
            }
            if lot.last {
                copied = CopyReader::default();
            }
        }
        let done = wait.recv().unwrap_or_else(|_| Err(Fault::away("the thread of the connections has ended")));
        let whole = done.and_then(|()| understood.map_err(|NotCopied| Fault::away("the server has sent no rows that can be read")));
        whole.map_err(|fault| fault.store_error(&self.inner.address))
    }

    pub(crate) fn rows_estimate(&self) -> Result<u64, StoreError> {
        let inner = self.inner.clone();
        self.run(async move {
            let count = || {
                inner.read(|conn| async move {
                    // As many a page as the statistics say, or about what fits where there are none yet.
                    let sql = "SELECT coalesce(sum(CASE WHEN c.reltuples > 0 AND c.relpages > 0 THEN c.reltuples::float8 / c.relpages \
                               * (pg_relation_size(c.oid) / current_setting('block_size')::int8) ELSE pg_relation_size(c.oid) / 400 END), 0)::int8 \
                               FROM pg_class c WHERE c.relnamespace = to_regnamespace('trunkline') AND c.relkind = 'r'";
                    Ok(conn.one(sql, &[]).await?.get::<_, i64>(0).cast_unsigned())
                })
            };
            inner.patiently(LOAD_PATIENCE, count).await
        })
    }

    pub(crate) fn read_entry(&self, key: ShardKey, location: Location) -> Result<Bytes, StoreError> {
        let inner = self.inner.clone();
        let found = self.run(async move {
            let read = || {
                inner.read(|conn| async move {
                    let sql = format!("SELECT body FROM entries WHERE {OF_SHARD} AND segment = $4 AND place = $5");
                    let key = Key::new(key);
                    let (segment, place) = (location.segment.cast_signed(), location.offset.cast_signed());
                    let mut parameters = key.parameters();
                    parameters.extend([(&segment as &(dyn tokio_postgres::types::ToSql + Sync), Type::INT8), (&place, Type::INT8)]);
                    let rows = conn.query(&sql, &parameters).await?;
                    Ok(rows.first().map(|row| Bytes::copy_from_slice(row.get(0))))
                })
            };
            inner.patiently(ROW_PATIENCE, read).await
        })?;
        found.filter(|body| body.len() == location.len as usize).ok_or_else(|| StoreError::Corrupt {
            path: self.server().into(),
            what: format!("there is no entry of shard {key} in segment {} at {} any more", location.segment, location.offset),
        })
    }

    pub(crate) fn list_shards(&self) -> Result<Vec<ShardKey>, StoreError> {
        let inner = self.inner.clone();
        let mut keys = self.run(async move {
            let list = || {
                inner.read(|conn| async move {
                    let rows = conn.query("SELECT bot_id, shard_count, shard FROM shards WHERE record IS NOT NULL", &[]).await?;
                    Ok(rows.iter().map(key_of).collect::<Vec<_>>())
                })
            };
            inner.patiently(LOAD_PATIENCE, list).await
        })?;
        keys.sort_unstable();
        Ok(keys)
    }

    pub(crate) fn ledger(&self, bot: u64) -> Result<Option<Bytes>, StoreError> {
        self.get("SELECT value FROM ledgers WHERE bot_id = $1", bot.cast_signed(), Type::INT8)
    }

    pub(crate) fn get_meta(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.get("SELECT value FROM meta WHERE name = $1", name.to_owned(), Type::TEXT)
    }

    fn get<K>(&self, sql: &'static str, key: K, kind: Type) -> Result<Option<Bytes>, StoreError>
    where
        K: tokio_postgres::types::ToSql + Sync + Send + 'static,
    {
        let inner = self.inner.clone();
        self.run(async move {
            let get = || {
                let (key, kind) = (&key, kind.clone());
                inner.read(move |conn| async move {
                    let rows = conn.query(sql, &[(key as &(dyn tokio_postgres::types::ToSql + Sync), kind)]).await?;
                    Ok(rows.first().map(|row| Bytes::copy_from_slice(row.get(0))))
                })
            };
            inner.patiently(ROW_PATIENCE, get).await
        })
    }
}

/// Sends a shard's cache rows, all tables one after the other, over a connection of its own: the caller may be slow, and nobody else waits
/// behind it.
async fn stream(inner: &Inner, key: ShardKey, codec: Option<RowCodec>, lots: SyncSender<Lot>) -> Result<(), Fault> {
    let began = Instant::now();
    let conn: Arc<Conn> = loop {
        match Conn::open(&inner.address, Session::READER).await {
            Ok(conn) => break Arc::new(conn),
            Err(fault) if !fault.passes() || began.elapsed() > LOAD_PATIENCE => return Err(fault),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    };
    // The caller may take its time: the statement lasts as long as the caller.
    conn.batch("SET statement_timeout = 0").await?;
    // COPY takes no parameters; these are numbers.
    let of_shard = format!("bot_id = {} AND shard_count = {} AND shard = {}", key.bot.cast_signed(), key.count, key.index);
    // Of most rows the JSON need not be written out: their value lies beside it.
    let of_tables = codec.into_iter().flat_map(|codec| Table::ALL.map(|table| (table, codec.form))).map(|(table, form)| {
        let (packed, name) = (format!("substring(packed, 1, 1) = '\\x{form:02x}'"), table.name());
        let columns = format!("guild_id, id, CASE WHEN {packed} THEN NULL ELSE data END, CASE WHEN {packed} THEN packed ELSE raw END");
        (Some(table), format!("SELECT {columns} FROM {name} WHERE {of_shard}"))
    });
    let others = (None, format!("SELECT key, value FROM cache_rows WHERE {of_shard} ORDER BY key"));
    for (table, sql) in of_tables.chain([others]) {
        let copied = conn.limited(conn.client.copy_out(&format!("COPY ({sql}) TO STDOUT (FORMAT binary)"))).await??;
        let mut copied = std::pin::pin!(copied);
        loop {
            let mut bytes = Vec::with_capacity(LOT_BYTES);
            let mut last = false;
            while bytes.len() < LOT_BYTES && !last {
                match conn.limited(copied.next()).await? {
                    Some(piece) => bytes.extend_from_slice(&piece?),
                    None => last = true,
                }
            }
            let mut lot = Lot { table, bytes, last };
            // The caller takes them on a thread that is no task's.
            while let Err(full) = lots.try_send(lot) {
                let TrySendError::Full(back) = full else { return Ok(()) };
                lot = back;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if last {
                break;
            }
        }
    }
    Ok(())
}

/// Hands over the rows that are there whole.
fn hand_over(
    copied: &mut CopyReader,
    table: Option<Table>,
    codec: Option<RowCodec>,
    f: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<(), NotCopied> {
    let (Some(table), Some(codec)) = (table, codec) else {
        while let Some([key, value]) = copied.next::<2>()? {
            f(key.ok_or(NotCopied)?, value.ok_or(NotCopied)?);
        }
        return Ok(());
    };
    while let Some([guild, id, data, value]) = copied.next::<4>()? {
        let place = Place { table, guild_id: int8(guild)?.cast_unsigned(), id: int8(id)?.cast_unsigned() };
        let Some(key) = (codec.key)(place) else { continue };
        match data {
            // What is no such object is handed over as no value: the caller counts it as damaged.
            Some(data) => f(&key, &(codec.value)(place, jsonb(data)?).unwrap_or_default()),
            None => f(&key, value.unwrap_or_default()),
        }
    }
    Ok(())
}

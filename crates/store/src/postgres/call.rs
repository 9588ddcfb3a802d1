//! Statements with what they carry, and many of them one after the other without waiting for each.

use std::borrow::Cow;
use std::error::Error;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, to_sql_checked};

use super::link::{Conn, Fault, FaultKind, Parameter};
use crate::ShardKey;

/// Statements that are under way together: with the chunks it bounds what is in memory a second time.
pub(super) const STATEMENTS: usize = 6;

/// The columns that name shards, as rows of parameters.
pub(super) const SHARDS: &str = "unnest($1::int8[], $2::int4[], $3::int4[]";

/// Whether a row that was found by its ids is a shard's. Written so that the server never looks for it by its shard instead, all of whose
/// rows it would go through: while it has no statistics of a new table, it takes that for as good.
pub(super) const OF_SHARD: &str = "(t.bot_id, t.shard_count, t.shard) IS NOT DISTINCT FROM (b, c, s)";

/// One statement with what it carries.
pub(super) struct Call<'a> {
    sql: Cow<'static, str>,
    parameters: Vec<(Box<dyn ToSql + Sync + Send + 'a>, Type)>,
}

impl<'a> Call<'a> {
    pub(super) fn new(sql: impl Into<Cow<'static, str>>) -> Call<'a> {
        Call { sql: sql.into(), parameters: Vec::new() }
    }

    pub(super) fn with(mut self, value: impl ToSql + Sync + Send + 'a, kind: Type) -> Call<'a> {
        self.parameters.push((Box::new(value), kind));
        self
    }

    /// The three columns that name a shard.
    pub(super) fn shards(self, shards: impl Iterator<Item = ShardKey>) -> Call<'a> {
        let (bots, (counts, indices)): (Vec<i64>, (Vec<i32>, Vec<i32>)) =
            shards.map(|key| (key.bot.cast_signed(), (key.count.cast_signed(), key.index.cast_signed()))).unzip();
        self.with(bots, Type::INT8_ARRAY).with(counts, Type::INT4_ARRAY).with(indices, Type::INT4_ARRAY)
    }

    pub(super) async fn run(&self, conn: &Conn) -> Result<u64, Fault> {
        conn.execute(&self.sql, &self.parameters()).await
    }

    pub(super) async fn query(&self, conn: &Conn) -> Result<Vec<tokio_postgres::Row>, Fault> {
        conn.query(&self.sql, &self.parameters()).await
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        self.parameters.iter().map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone())).collect()
    }
}

/// Bytes as a parameter that owns them.
#[derive(Debug)]
pub(super) struct Raw(pub(super) Bytes);

impl ToSql for Raw {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.0.as_ref().to_sql(kind, out)
    }

    accepts!(BYTEA);
    to_sql_checked!();
}

/// Of several statements that failed, the one that says why: what failed because something else had is not the reason.
pub(super) fn keep_reason(first: &mut Option<Fault>, fault: Fault) {
    if first.as_ref().is_none_or(|earlier| earlier.kind == FaultKind::Aborted) {
        *first = Some(fault);
    }
}

/// Runs statements without waiting for each before the next is sent; all of them must succeed. Answers how many rows each touched.
pub(super) async fn run_all(conn: &Conn, calls: &[Call<'_>]) -> Result<Vec<u64>, Fault> {
    let mut touched = Vec::with_capacity(calls.len());
    for some in calls.chunks(STATEMENTS) {
        let mut first = None;
        for done in join_all(some.iter().map(|call| call.run(conn))).await {
            match done {
                Ok(rows) => touched.push(rows),
                Err(fault) => keep_reason(&mut first, fault),
            }
        }
        if let Some(fault) = first {
            return Err(fault);
        }
    }
    Ok(touched)
}

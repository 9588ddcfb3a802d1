//! The few writes of the state API, from a process that holds no shard.
//!
//! They go to the tables, with what a change of that kind takes along in the cache of the process that holds the shards: it sees them when
//! it next starts.

use tokio_postgres::types::Type;

use super::state::{ANY_BOT, CURRENT, StateError, StateReader, number, signed, signed_all};
use crate::Table;
use crate::rows::for_jsonb;

/// Under whose name something is written.
struct Home {
    bot: i64,
    count: i32,
    shard: i32,
}

const NOT_OBJECTS: &str = "the body must be a JSON object from id to object";

impl StateReader {
    /// Writes objects of a guild; `body` is a JSON object from id to object. Answers how many.
    ///
    /// # Errors
    /// [`StateError::Malformed`] for anything else, of which nothing is written then.
    pub async fn upsert(&self, bot: Option<u64>, guild: u64, table: Table, body: &str) -> Result<u64, StateError> {
        self.refuse(body).await?;
        let home = self.home(bot, guild).await?;
        // A role that comes again is one that members have.
        let back = match table {
            Table::Roles => {
                ", back AS (UPDATE guild_states SET data = jsonb_set(data, '{gone_roles}', \
                 (data -> 'gone_roles') - ARRAY(SELECT jsonb_object_keys($5::text::jsonb))) \
                 WHERE guild_id = $4 AND id = 0 AND bot_id = $1 AND shard_count = $2 AND shard = $3 AND data ? 'gone_roles')"
            }
            _ => "",
        };
        let sql = format!(
            "WITH put AS (INSERT INTO {} AS t (bot_id, shard_count, shard, guild_id, id, data) \
             SELECT $1, $2, $3, $4, key::int8, value FROM jsonb_each($5::text::jsonb) \
             ON CONFLICT (guild_id, id, bot_id, shard_count, shard) DO UPDATE SET data = excluded.data, raw = NULL, packed = NULL, updated_at = now() \
             RETURNING 1){back} SELECT count(*) FROM put",
            table.name()
        );
        self.put(&sql, &home, guild, &[body]).await
    }

    /// Writes members of a guild without their users, and their users beside them: `users` in the place of what is known, `strangers` only
    /// where nothing is. All three are JSON objects from id to object. Answers how many members.
    ///
    /// # Errors
    /// As [`StateReader::upsert`].
    pub async fn put_members(&self, bot: Option<u64>, guild: u64, members: &str, users: &str, strangers: &str) -> Result<u64, StateError> {
        for body in [members, users, strangers] {
            self.refuse(body).await?;
        }
        let home = self.home(bot, guild).await?;
        let sql = "WITH told AS (INSERT INTO users AS t (bot_id, shard_count, shard, guild_id, id, data) \
                     SELECT $1, $2, $3, 0, key::int8, value FROM jsonb_each($6::text::jsonb) \
                     ON CONFLICT (guild_id, id, bot_id, shard_count, shard) \
                     DO UPDATE SET data = excluded.data, raw = NULL, packed = NULL, updated_at = now()), \
                   strange AS (INSERT INTO users AS t (bot_id, shard_count, shard, guild_id, id, data, raw, packed, replaced) \
                     SELECT $1, $2, $3, 0, key::int8, CASE WHEN k.id IS NULL THEN value ELSE k.data END, k.raw, k.packed, k.replaced \
                     FROM jsonb_each($7::text::jsonb) LEFT JOIN LATERAL (SELECT u.id, u.data, u.raw, u.packed, u.replaced FROM users AS u WHERE u.guild_id = 0 \
                     AND u.id = key::int8 AND u.bot_id = $1 AND u.shard_count = $2 ORDER BY u.updated_at DESC LIMIT 1) AS k ON true \
                     ON CONFLICT (guild_id, id, bot_id, shard_count, shard) DO NOTHING), \
                   put AS (INSERT INTO members AS t (bot_id, shard_count, shard, guild_id, id, data) \
                     SELECT $1, $2, $3, $4, key::int8, value FROM jsonb_each($5::text::jsonb) \
                     ON CONFLICT (guild_id, id, bot_id, shard_count, shard) \
                     DO UPDATE SET data = excluded.data, raw = NULL, packed = NULL, updated_at = now() RETURNING 1) \
                   SELECT count(*) FROM put";
        self.put(sql, &home, guild, &[members, users, strangers]).await
    }

    /// Deletes objects of a guild, with what hangs on them: a channel's threads, messages, status and stage; what members have of a role.
    /// Answers how many there were.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn delete(&self, bot: Option<u64>, guild: u64, table: Table, ids: &[u64]) -> Result<u64, StateError> {
        let (bot, guild, ids) = (signed(bot), guild.cast_signed(), signed_all(ids));
        let texts: Vec<String> = ids.iter().map(i64::to_string).collect();
        let of_guild = format!("t.guild_id = $2 AND {ANY_BOT}");
        let with = match table {
            Table::Roles => format!(
                // As the cache has it: where no member is known, no member can have it.
                ", marked AS (UPDATE guild_states AS t SET data = jsonb_set(t.data, '{{gone_roles}}', \
                 (coalesce(t.data -> 'gone_roles', '[]') - $4::text[]) || to_jsonb($4::text[])) WHERE {of_guild} AND t.id = 0 \
                 AND cardinality($4::text[]) > 0 AND jsonb_typeof(t.data) = 'object' AND EXISTS (SELECT 1 FROM members AS m \
                 WHERE m.guild_id = t.guild_id AND m.bot_id = t.bot_id AND m.shard_count = t.shard_count AND m.shard = t.shard))"
            ),
            Table::Channels => format!(
                ", below AS (DELETE FROM threads AS t WHERE {of_guild} AND t.parent_id = ANY($4::text[]) RETURNING t.id), \
                 said AS (DELETE FROM messages AS t WHERE {ANY_BOT} AND t.guild_id IN ($2, 0) AND (t.data ->> 'channel_id' = ANY($4::text[]) \
                 OR t.guild_id = $2 AND t.data ->> 'channel_id' IN (SELECT id::text FROM below))), \
                 status AS (DELETE FROM voice_channels AS t WHERE {of_guild} AND t.id = ANY($3)), \
                 stages AS (DELETE FROM stage_instances AS t WHERE {of_guild} AND t.data ->> 'channel_id' = ANY($4::text[]))"
            ),
            _ => ", said AS (SELECT $4::text[])".to_owned(),
        };
        let sql = format!(
            "WITH gone AS (DELETE FROM {} AS t WHERE {of_guild} AND t.id = ANY($3) RETURNING 1){with} SELECT count(*) FROM gone",
            table.name()
        );
        let parameters =
            [(&bot as _, Type::INT8), (&guild as _, Type::INT8), (&ids as _, Type::INT8_ARRAY), (&texts as _, Type::TEXT_ARRAY)];
        Ok(self.query(&sql, &parameters).await?.first().map_or(0, |row| number(row, 0)))
    }

    /// Deletes all of a guild's objects of a kind, as [`StateReader::delete`] does. Answers how many there were.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn wipe(&self, bot: Option<u64>, guild: u64, table: Table) -> Result<u64, StateError> {
        let sql = format!("SELECT DISTINCT t.id FROM {} AS t WHERE t.guild_id = $2 AND {ANY_BOT}", table.name());
        let (signed_bot, guild_id) = (signed(bot), guild.cast_signed());
        let rows = self.query(&sql, &[(&signed_bot as _, Type::INT8), (&guild_id as _, Type::INT8)]).await?;
        let ids: Vec<u64> = rows.iter().map(|row| number(row, 0)).collect();
        self.delete(bot, guild, table, &ids).await
    }

    /// The first of some channels that is known to be another guild's, or a bot's own.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn channel_elsewhere(&self, bot: Option<u64>, guild: u64, channels: &[u64]) -> Result<Option<u64>, StateError> {
        let (bot, guild, ids) = (signed(bot), guild.cast_signed(), signed_all(channels));
        let texts: Vec<String> = ids.iter().map(i64::to_string).collect();
        let of = |table: Table| format!("SELECT t.id, t.guild_id FROM {} AS t {CURRENT} WHERE t.id = ANY($3) AND {ANY_BOT}", table.name());
        let sql = format!(
            "WITH placed AS ({} UNION ALL {}) SELECT id FROM (SELECT * FROM placed UNION ALL {} \
             UNION ALL SELECT (t.data ->> 'channel_id')::int8, t.guild_id FROM messages AS t {CURRENT} \
             WHERE t.data ->> 'channel_id' = ANY($4::text[]) AND {ANY_BOT} \
             AND NOT EXISTS (SELECT 1 FROM placed AS p WHERE p.id::text = t.data ->> 'channel_id')) AS v \
             WHERE guild_id <> $2 ORDER BY array_position($3, id) LIMIT 1",
            of(Table::Channels),
            of(Table::Threads),
            of(Table::DirectChannels)
        );
        let parameters =
            [(&bot as _, Type::INT8), (&guild as _, Type::INT8), (&ids as _, Type::INT8_ARRAY), (&texts as _, Type::TEXT_ARRAY)];
        Ok(self.query(&sql, &parameters).await?.first().map(|row| number(row, 0)))
    }

    async fn put(&self, sql: &str, home: &Home, guild: u64, bodies: &[&str]) -> Result<u64, StateError> {
        let guild = guild.cast_signed();
        let mut parameters: Vec<super::link::Parameter<'_>> =
            vec![(&home.bot as _, Type::INT8), (&home.count as _, Type::INT4), (&home.shard as _, Type::INT4), (&guild as _, Type::INT8)];
        parameters.extend(bodies.iter().map(|body| (body as _, Type::TEXT)));
        Ok(self.query(sql, &parameters).await?.first().map_or(0, |row| number(row, 0)))
    }

    /// Refuses what is no JSON object from id to object, or no JSON that the store takes.
    async fn refuse(&self, body: &str) -> Result<(), StateError> {
        if for_jsonb(body).is_some() {
            let why = "the body holds the character U+0000 or half a surrogate pair, which the store does not take";
            return Err(StateError::Malformed(why.to_owned()));
        }
        let whole = "SELECT coalesce(bool_and(jsonb_typeof(value) = 'object'), true) FROM jsonb_each($1::text::jsonb)";
        let objects = self.query(whole, &[(&body as _, Type::TEXT)]).await?;
        if objects.first().is_some_and(|row| row.get(0)) { Ok(()) } else { Err(StateError::Malformed(NOT_OBJECTS.to_owned())) }
    }

    /// Where a guild is; where nothing is known of it, where its bot's other guilds are; else a bot of its own making.
    async fn home(&self, bot: Option<u64>, guild: u64) -> Result<Home, StateError> {
        let (bot, guild_id) = (signed(bot), guild.cast_signed());
        let sql = "WITH known AS (\
                     SELECT t.bot_id, t.shard_count, t.shard, 1 AS rank, t.updated_at FROM guilds AS t \
                     JOIN bots AS b ON b.bot_id = t.bot_id AND b.shard_count = t.shard_count \
                     WHERE t.guild_id = $2 AND ($1::int8 IS NULL OR t.bot_id = $1) \
                     UNION ALL SELECT o.bot_id, o.shard_count, (($2::int8 >> 22) % o.shard_count)::int4, 2, now() FROM bots AS o \
                     WHERE $1::int8 IS NULL OR o.bot_id = $1 \
                     UNION ALL SELECT coalesce($1, 0), 1, 0, 3, now()) \
                   SELECT bot_id, shard_count, shard, rank FROM known ORDER BY rank, updated_at DESC, bot_id LIMIT 1";
        let rows = self.query(sql, &[(&bot as _, Type::INT8), (&guild_id as _, Type::INT8)]).await?;
        let Some(row) = rows.first() else { return Ok(Home { bot: bot.unwrap_or(0), count: 1, shard: 0 }) };
        let home = Home { bot: row.get(0), count: row.get(1), shard: row.get(2) };
        if row.get::<_, i32>(3) == 3 {
            let sql = "INSERT INTO bots (bot_id, shard_count) VALUES ($1, 1) ON CONFLICT (bot_id) DO NOTHING";
            self.query(sql, &[(&home.bot as _, Type::INT8)]).await?;
        }
        Ok(home)
    }
}

//! Lookups from PostgreSQL alone, for a process that holds no shard: everything that the state API asks, and the few writes that it has.
//!
//! It takes no lock, never migrates, and reads what is committed: at most a checkpoint behind the process that holds the shards. Where a
//! bot has just changed its shard count, only the objects told under the new one count. Writes go to the tables and are the truth here;
//! the process that holds the shards sees them when it next starts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::address::Address;
use super::link::{Conn, Fault, FaultKind, Parameter, Session};
use super::{OPEN_PATIENCE, lock, schema};
use crate::{OpenError, Options, Place, RowCodec, Table};

/// Connections of one reader.
const CONNECTIONS: usize = 4;
/// A connection that has answered nothing for so long, although somebody waits, is held up.
const HELD_UP_MS: u64 = 100;
/// Pause between attempts to connect.
const PAUSE: Duration = Duration::from_millis(500);

/// Why a lookup has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The server is away or refused; to be tried again.
    #[error("the store cannot be read at the moment: {0}")]
    Unavailable(String),
    /// The caller's text is no JSON, or not the JSON that is wanted.
    #[error("{0}")]
    Malformed(String),
}

/// Which threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// All there are.
    All,
    /// A guild's.
    Guild(u64),
    /// Those below a channel.
    Parent(u64),
}

/// Objects by id, as JSON.
pub type Objects = Vec<(u64, String)>;

/// An object, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The bot that was told.
    pub bot: u64,
    /// The guild; 0 for what is in none.
    pub guild: u64,
    /// The object's id.
    pub id: u64,
    /// The object.
    pub json: String,
}

/// Which bots there are, and which of them know some guilds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Homes {
    /// Every bot, ascending.
    pub bots: Vec<u64>,
    /// The bots of each guild asked for, ascending; guilds that nobody knows are left out.
    pub of: BTreeMap<u64, Vec<u64>>,
}

/// Reads objects from PostgreSQL. Cheap to clone; reconnects by itself. Runs on the caller's tokio runtime.
#[derive(Clone)]
pub struct StateReader(Arc<Inner>);

struct Inner {
    address: Address,
    codec: Option<RowCodec>,
    lanes: Vec<Lane>,
    began: Instant,
    turn: AtomicUsize,
    down: std::sync::Mutex<Option<Instant>>,
}

/// One connection, and how many statements it has yet to answer.
#[derive(Default)]
struct Lane {
    slot: tokio::sync::Mutex<Slot>,
    waiting: AtomicUsize,
    /// Milliseconds since [`Inner::began`] when it last answered something, or began to be waited for.
    moved_ms: AtomicU64,
    /// A connection is open, as far as is known.
    open: AtomicBool,
}

/// A statement that a lane has yet to answer.
struct Waiting {
    inner: Arc<Inner>,
    lane: usize,
    /// It was sent here, and no answer has come.
    sent: Option<Arc<Conn>>,
}

impl Waiting {
    fn new(inner: &Arc<Inner>, lane: usize) -> Waiting {
        if inner.lanes[lane].waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            inner.moved(lane);
        }
        Waiting { inner: inner.clone(), lane, sent: None }
    }

    fn answered(&mut self) {
        self.sent = None;
        self.inner.moved(self.lane);
    }
}

impl Drop for Waiting {
    /// Where the one who asked has gone, the server still works at it, and whoever comes to this connection waits behind it: it counts until the
    /// next answer behind it has come, which is bounded by what a statement may take.
    fn drop(&mut self) {
        let (inner, lane) = (self.inner.clone(), self.lane);
        match (self.sent.take(), tokio::runtime::Handle::try_current()) {
            (Some(conn), Ok(runtime)) => drop(runtime.spawn(async move {
                match conn.query("SELECT 1", &[]).await {
                    // Nothing is before it any more.
                    Ok(_) => inner.moved(lane),
                    // Several in a row may take longer than one may. What is asked next gets a connection of its own.
                    Err(_) => inner.lose(lane, &conn).await,
                }
                inner.lanes[lane].waiting.fetch_sub(1, Ordering::Relaxed);
            })),
            _ => drop(inner.lanes[lane].waiting.fetch_sub(1, Ordering::Relaxed)),
        }
    }
}

#[derive(Default)]
struct Slot {
    conn: Option<Arc<Conn>>,
    failed: Option<(Instant, String)>,
}

/// Rows count that were told under the bot's present shard count.
pub(super) const CURRENT: &str = "JOIN bots AS b ON b.bot_id = t.bot_id AND b.shard_count = t.shard_count";
/// The bot asked for (`$1`), or the one that was told last of the guild `$2`.
const BOT_OF_GUILD: &str = "t.bot_id = coalesce($1, (SELECT g.bot_id FROM guilds AS g WHERE g.guild_id = $2 ORDER BY g.updated_at DESC LIMIT 1), \
                            (SELECT o.bot_id FROM bots AS o ORDER BY o.bot_id LIMIT 1))";
/// The bot asked for, or any.
pub(super) const ANY_BOT: &str = "($1::int8 IS NULL OR t.bot_id = $1)";
/// A bot's shards share their users, and each saves those that its guilds name: the one saved last is the truth.
const USER_OF_MEMBER: &str = "LEFT JOIN LATERAL (SELECT x.data, x.raw, x.packed, x.replaced, x.username FROM users AS x WHERE x.guild_id = 0 AND x.id = t.id \
                              AND x.bot_id = t.bot_id AND x.shard_count = t.shard_count ORDER BY x.updated_at DESC LIMIT 1) AS u ON true";
/// Characters of a user's name that the column `username` holds: the name goes on in the object.
const USERNAME_CHARS: u32 = 200;
const STATE_OF_GUILD: &str = "LEFT JOIN guild_states AS s ON s.guild_id = t.guild_id AND s.id = 0 AND s.bot_id = t.bot_id \
                              AND s.shard_count = t.shard_count AND s.shard = t.shard";
/// Whether a member's row may name roles that were deleted, and those of its roles with which it is handed out then.
const HAS_GONE_ROLES: &str = "s.data ? 'gone_roles' AND jsonb_typeof(t.data -> 'roles') = 'array'";
const ROLES_LEFT: &str = "coalesce((SELECT jsonb_agg(e.r ORDER BY e.n) FROM jsonb_array_elements(t.data -> 'roles') \
                          WITH ORDINALITY AS e(r, n) WHERE NOT s.data -> 'gone_roles' @> e.r), '[]')";
/// What is known of guilds: their objects, and the states of those whose objects are not kept.
const KNOWN_GUILDS: &str =
    "(SELECT bot_id, shard_count, guild_id FROM guilds UNION SELECT bot_id, shard_count, guild_id FROM guild_states)";

impl StateReader {
    /// Connects, and looks whether the tables are there in the version that this program knows.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub async fn connect(url: &str, options: Options) -> Result<StateReader, OpenError> {
        let address = Address::parse(url)?;
        let began = Instant::now();
        let conn = loop {
            match Conn::open(&address, Session::STATE).await {
                Ok(conn) => break conn,
                Err(fault) if fault.passes() && began.elapsed() < OPEN_PATIENCE => tokio::time::sleep(PAUSE).await,
                Err(fault) => return Err(fault.open_error(&address)),
            }
        };
        match schema::version(&conn).await.map_err(|fault| fault.open_error(&address))? {
            Some(found) if found == schema::VERSION => {}
            Some(found) if found > schema::VERSION => schema::refuse_newer(found, &address)?,
            _ => {
                return Err(OpenError::Server {
                    server: address.shown().to_owned(),
                    why: "it has no tables of this version; start the process that holds the shards, or run `trunkline store migrate`"
                        .to_owned(),
                });
            }
        }
        let mut lanes: Vec<Lane> = Vec::new();
        lanes.resize_with(CONNECTIONS, Default::default);
        lanes[0].slot.get_mut().conn = Some(Arc::new(conn));
        *lanes[0].open.get_mut() = true;
        let inner = Inner {
            address,
            codec: options.rows,
            lanes,
            began: Instant::now(),
            turn: AtomicUsize::new(0),
            down: std::sync::Mutex::default(),
        };
        Ok(StateReader(Arc::new(inner)))
    }

    /// Server and database, without the password.
    #[must_use]
    pub fn server(&self) -> &str {
        self.0.address.shown()
    }

    /// Asks the server for nothing.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn alive(&self) -> Result<(), StateError> {
        self.query("SELECT 1", &[]).await.map(drop)
    }

    /// A user.
    ///
    /// # Errors
    /// [`StateError::Unavailable`], as for every lookup.
    pub async fn user(&self, bot: Option<u64>, user: u64) -> Result<Option<String>, StateError> {
        Ok(self.users(bot, &[user]).await?.into_iter().next().map(|held| held.json))
    }

    /// What each bot knows of some users, in no order of ids, the best of each user first: a bot's own one, then what was told last.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn users(&self, bot: Option<u64>, users: &[u64]) -> Result<Vec<Known>, StateError> {
        let (bot, ids) = (signed(bot), signed_all(users));
        let whole = whole("t");
        // Members that a person has put here may hold their user themselves.
        let sql = format!(
            "SELECT bot_id, id, data, raw FROM (\
               SELECT t.bot_id, t.bot_id AS id, t.data::text AS data, {whole} AS raw, 0 AS rank, t.updated_at FROM own_users AS t {CURRENT} \
               WHERE t.bot_id = ANY($2) AND {ANY_BOT} \
               UNION ALL SELECT t.bot_id, t.id, t.data::text, {whole}, 1, t.updated_at FROM users AS t {CURRENT} \
               WHERE t.guild_id = 0 AND t.id = ANY($2) AND {ANY_BOT} \
               UNION ALL SELECT t.bot_id, t.id, (t.data -> 'user')::text, NULL, 2, t.updated_at FROM members AS t {CURRENT} \
               WHERE t.id = ANY($2) AND {ANY_BOT} AND t.data ? 'user') AS v ORDER BY rank, updated_at DESC"
        );
        let rows = self.query(&sql, &[(&bot as _, Type::INT8), (&ids as _, Type::INT8_ARRAY)]).await?;
        let held = |row: &Row| {
            let (bot, id) = (number(row, 0), number(row, 1));
            let json = self.json(Place { table: Table::Users, guild_id: 0, id }, row, 2, None)?;
            Some(Known { bot, guild: 0, id, json })
        };
        Ok(rows.iter().filter_map(held).collect())
    }

    /// The guilds of which some users are known members, as bot, user and guild.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn guilds_of(&self, bot: Option<u64>, users: &[u64]) -> Result<Vec<(u64, u64, u64)>, StateError> {
        let (bot, ids) = (signed(bot), signed_all(users));
        let sql = format!("SELECT t.bot_id, t.id, t.guild_id FROM members AS t {CURRENT} WHERE t.id = ANY($2) AND {ANY_BOT}");
        let rows = self.query(&sql, &[(&bot as _, Type::INT8), (&ids as _, Type::INT8_ARRAY)]).await?;
        Ok(rows.iter().map(|row| (number(row, 0), number(row, 1), number(row, 2))).collect())
    }

    /// User names by id, as the column `data` has them: those of the known ones, in the order asked.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn user_names(&self, bot: Option<u64>, users: &[u64]) -> Result<Vec<(u64, String)>, StateError> {
        let (bot, ids) = (signed(bot), signed_all(users));
        let sql = format!(
            "SELECT DISTINCT ON (i) i, name FROM (\
               SELECT t.id AS i, t.data ->> 'username' AS name, updated_at FROM users AS t {CURRENT} \
               WHERE t.guild_id = 0 AND t.id = ANY($2) AND {ANY_BOT} \
               UNION ALL SELECT t.id, t.data #>> '{{user,username}}', updated_at FROM members AS t {CURRENT} \
               WHERE t.id = ANY($2) AND {ANY_BOT} AND data ? 'user') AS v WHERE name IS NOT NULL ORDER BY i, updated_at DESC"
        );
        let rows = self.query(&sql, &[(&bot as _, Type::INT8), (&ids as _, Type::INT8_ARRAY)]).await?;
        let names: std::collections::HashMap<i64, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        Ok(ids.iter().filter_map(|id| Some((id.cast_unsigned(), names.get(id)?.clone()))).collect())
    }

    /// A channel of a guild, a thread, or a channel outside guilds.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn channel(&self, bot: Option<u64>, channel: u64) -> Result<Option<String>, StateError> {
        for table in [Table::Channels, Table::Threads, Table::DirectChannels] {
            if let Some(found) = self.by_id(bot, table, channel).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// A thread.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn thread(&self, bot: Option<u64>, thread: u64) -> Result<Option<String>, StateError> {
        self.by_id(bot, Table::Threads, thread).await
    }

    /// A message.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn message(&self, bot: Option<u64>, channel: u64, message: u64) -> Result<Option<String>, StateError> {
        Ok(self.held_messages(bot, channel, message).await?.into_iter().next().map(|held| held.json))
    }

    /// A guild, with its member count.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn guild(&self, bot: Option<u64>, guild: u64) -> Result<Option<String>, StateError> {
        let (bot, id) = (signed(bot), guild.cast_signed());
        let sql = format!(
            "SELECT (CASE WHEN s.data ->> 'member_count' IS NOT NULL THEN \
             t.data || jsonb_build_object('member_count', s.data -> 'member_count') ELSE t.data END)::text, {whole}, \
             CASE WHEN s.data ->> 'member_count' IS NOT NULL THEN jsonb_build_object('member_count', s.data -> 'member_count')::text END \
             FROM guilds AS t {CURRENT} {STATE_OF_GUILD} WHERE t.guild_id = $2 AND {ANY_BOT} ORDER BY t.updated_at DESC LIMIT 1",
            whole = whole("t")
        );
        let rows = self.query(&sql, &[(&bot as _, Type::INT8), (&id as _, Type::INT8)]).await?;
        let place = Place { table: Table::Guilds, guild_id: guild, id: 0 };
        Ok(rows.first().and_then(|row| self.json(place, row, 0, row.get(2))))
    }

    /// One object of a guild by its id: a role, a member with its user, a presence.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn object(&self, bot: Option<u64>, guild: u64, table: Table, id: u64) -> Result<Option<String>, StateError> {
        Ok(self.objects_by_ids(bot, guild, table, &[id]).await?.pop().map(|(_, json)| json))
    }

    /// A guild's objects of a kind above `after`, ascending by id, at most `limit`.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn objects(&self, bot: Option<u64>, guild: u64, table: Table, after: u64, limit: u32) -> Result<Objects, StateError> {
        let (bot, guild_id, after, limit) = (signed(bot), guild.cast_signed(), after.cast_signed(), i64::from(limit));
        let filter = format!("t.guild_id = $2 AND {BOT_OF_GUILD} AND t.id > $3 ORDER BY t.id LIMIT $4");
        let parameters = [(&bot as _, Type::INT8), (&guild_id as _, Type::INT8), (&after as _, Type::INT8), (&limit as _, Type::INT8)];
        Ok(plain(self.listed(table, &filter, &parameters).await?))
    }

    /// Those of some objects of a guild that are there, ascending by id.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn objects_by_ids(&self, bot: Option<u64>, guild: u64, table: Table, ids: &[u64]) -> Result<Objects, StateError> {
        let (bot, guild_id, ids) = (signed(bot), guild.cast_signed(), signed_all(ids));
        let filter = format!("t.guild_id = $2 AND {BOT_OF_GUILD} AND t.id = ANY($3) ORDER BY t.id");
        let parameters = [(&bot as _, Type::INT8), (&guild_id as _, Type::INT8), (&ids as _, Type::INT8_ARRAY)];
        Ok(plain(self.listed(table, &filter, &parameters).await?))
    }

    /// A guild's emojis, in Discord's order.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn emojis(&self, bot: Option<u64>, guild: u64) -> Result<Objects, StateError> {
        self.of_list(Table::Emojis, bot, guild).await
    }

    /// One of a guild's emojis.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn emoji(&self, bot: Option<u64>, guild: u64, emoji: u64) -> Result<Option<String>, StateError> {
        Ok(self.emojis(bot, guild).await?.into_iter().find_map(|(id, json)| (id == emoji).then_some(json)))
    }

    /// A guild's stickers, in Discord's order.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn stickers(&self, bot: Option<u64>, guild: u64) -> Result<Objects, StateError> {
        self.of_list(Table::Stickers, bot, guild).await
    }

    /// Threads above `after`, ascending by id, at most `limit`.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn threads(&self, bot: Option<u64>, which: Threads, after: u64, limit: u32) -> Result<Objects, StateError> {
        let parent = match which {
            Threads::Guild(guild) => return self.objects(bot, guild, Table::Threads, after, limit).await,
            Threads::All => None,
            Threads::Parent(parent) => Some(parent),
        };
        let mut found = plain(self.held_threads(bot, parent, after, limit).await?);
        found.dedup_by_key(|(id, _)| *id);
        Ok(found)
    }

    /// Threads above `after`, all or those below a channel, ascending by id, at most `limit`; one that several bots know is there as often.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn held_threads(&self, bot: Option<u64>, parent: Option<u64>, after: u64, limit: u32) -> Result<Vec<Known>, StateError> {
        let (signed_bot, above, rows) = (signed(bot), after.cast_signed(), i64::from(limit));
        let parent = parent.map(|parent| parent.to_string());
        let below = if parent.is_some() { "t.parent_id = $4" } else { "$4::text IS NULL" };
        let filter = format!("{below} AND {ANY_BOT} AND t.id > $2 ORDER BY t.id, t.updated_at DESC LIMIT $3");
        let parameters = [(&signed_bot as _, Type::INT8), (&above as _, Type::INT8), (&rows as _, Type::INT8), (&parent as _, Type::TEXT)];
        self.listed(Table::Threads, &filter, &parameters).await
    }

    /// A guild's members whose user name, global name, display name or nick has `query` in it, whatever the case; above `after`, ascending
    /// by id, at most `limit`. What lower case is beyond ASCII depends on the database's locale: in the place of such a character, and of U+0000,
    /// which lies replaced, anything fits, and the caller compares once more.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn search_members(&self, bot: Option<u64>, guild: u64, query: &str, after: u64, limit: u32) -> Result<Objects, StateError> {
        let like = containing(query);
        let (bot, guild_id, after, limit) = (signed(bot), guild.cast_signed(), after.cast_signed(), i64::from(limit));
        let filter = format!(
            "t.guild_id = $2 AND {BOT_OF_GUILD} AND t.id > $3 AND (u.username LIKE $5 OR length(u.username) = {USERNAME_CHARS} AND lower(u.data ->> 'username') LIKE $5 OR lower(u.data ->> 'global_name') LIKE $5 \
             OR lower(u.data ->> 'display_name') LIKE $5 OR lower(t.data ->> 'nick') LIKE $5 OR lower(t.data #>> '{{user,username}}') LIKE $5 \
             OR lower(t.data #>> '{{user,global_name}}') LIKE $5 OR lower(t.data #>> '{{user,display_name}}') LIKE $5) ORDER BY t.id LIMIT $4"
        );
        let parameters = [
            (&bot as _, Type::INT8),
            (&guild_id as _, Type::INT8),
            (&after as _, Type::INT8),
            (&limit as _, Type::INT8),
            (&like as _, Type::TEXT),
        ];
        Ok(plain(self.listed(Table::Members, &filter, &parameters).await?))
    }

    /// Ids of a guild's members that have a role (all of them have the one that is called like the guild), above `after`, ascending, at most `limit`.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn members_with_role(&self, bot: Option<u64>, guild: u64, role: u64, after: u64, limit: u32) -> Result<Vec<u64>, StateError> {
        let everybody = role == guild;
        let (bot, guild, after, limit) = (signed(bot), guild.cast_signed(), after.cast_signed(), i64::from(limit));
        let role = role.to_string();
        let has = if everybody { "$5::text IS NOT NULL" } else { "t.roles @> jsonb_build_array($5)" };
        let sql = format!(
            "SELECT t.id FROM members AS t {CURRENT} {STATE_OF_GUILD} WHERE t.guild_id = $2 AND {BOT_OF_GUILD} AND t.id > $3 \
             AND {has} AND NOT coalesce(s.data -> 'gone_roles' ? $5, false) ORDER BY t.id LIMIT $4"
        );
        let parameters = [
            (&bot as _, Type::INT8),
            (&guild as _, Type::INT8),
            (&after as _, Type::INT8),
            (&limit as _, Type::INT8),
            (&role as _, Type::TEXT),
        ];
        Ok(self.query(&sql, &parameters).await?.iter().map(|row| row.get::<_, i64>(0).cast_unsigned()).collect())
    }

    /// The bots that there are, ascending.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn bots(&self) -> Result<Vec<u64>, StateError> {
        let rows = self.query("SELECT bot_id FROM bots ORDER BY bot_id", &[]).await?;
        Ok(rows.iter().map(|row| row.get::<_, i64>(0).cast_unsigned()).collect())
    }

    /// The bot that was told last of a guild.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn bot_of(&self, guild: u64) -> Result<Option<u64>, StateError> {
        let guild = guild.cast_signed();
        let sql = format!("SELECT t.bot_id FROM guilds AS t {CURRENT} WHERE t.guild_id = $1 ORDER BY t.updated_at DESC LIMIT 1");
        let rows = self.query(&sql, &[(&guild as _, Type::INT8)]).await?;
        Ok(rows.first().map(|row| row.get::<_, i64>(0).cast_unsigned()))
    }

    /// Ids of a bot's guilds, ascending; with those that it awaits.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn guild_ids(&self, bot: u64) -> Result<Vec<u64>, StateError> {
        let bot = bot.cast_signed();
        let sql = format!("SELECT t.guild_id FROM {KNOWN_GUILDS} AS t {CURRENT} WHERE t.bot_id = $1 ORDER BY t.guild_id");
        let rows = self.query(&sql, &[(&bot as _, Type::INT8)]).await?;
        Ok(rows.iter().map(|row| row.get::<_, i64>(0).cast_unsigned()).collect())
    }

    /// Which bots there are, and which of them have been told of these guilds. A guild that is awaited, of which nothing else is known,
    /// counts as not told.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn homes(&self, guilds: &[u64]) -> Result<Homes, StateError> {
        let guilds = signed_all(guilds);
        let sql = format!(
            "SELECT o.bot_id, NULL::int8 AS guild_id FROM bots AS o \
             UNION SELECT t.bot_id, t.guild_id FROM guilds AS t {CURRENT} WHERE t.guild_id = ANY($1) \
             UNION SELECT t.bot_id, t.guild_id FROM guild_states AS t {CURRENT} \
             WHERE t.guild_id = ANY($1) AND NOT coalesce(t.data -> 'awaited' = 'true', false) ORDER BY 2, 1"
        );
        let mut homes = Homes::default();
        for row in self.query(&sql, &[(&guilds as _, Type::INT8_ARRAY)]).await? {
            match row.get::<_, Option<i64>>(1) {
                Some(guild) => homes.of.entry(guild.cast_unsigned()).or_default().push(number(&row, 0)),
                None => homes.bots.push(number(&row, 0)),
            }
        }
        Ok(homes)
    }

    /// How many guilds there are.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn guild_count(&self, bot: Option<u64>) -> Result<u64, StateError> {
        let bot = signed(bot);
        let sql = format!("SELECT count(DISTINCT t.guild_id) FROM {KNOWN_GUILDS} AS t {CURRENT} WHERE {ANY_BOT}");
        let rows = self.query(&sql, &[(&bot as _, Type::INT8)]).await?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).cast_unsigned()))
    }

    /// Whether a user is a known member of one of some guilds, with one of some roles where any are given.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn user_in_guilds(&self, bot: Option<u64>, user: u64, guilds: &[u64], roles: &[u64]) -> Result<bool, StateError> {
        Ok(!self.guilds_with(bot, user, guilds, roles).await?.is_empty())
    }

    /// Those of some guilds, each with its bot, of which a user is a known member, with one of some roles where any are given.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn guilds_with(&self, bot: Option<u64>, user: u64, guilds: &[u64], roles: &[u64]) -> Result<Vec<(u64, u64)>, StateError> {
        let (bot, user, guilds) = (signed(bot), user.cast_signed(), signed_all(guilds));
        let roles: Vec<String> = roles.iter().map(u64::to_string).collect();
        let sql = format!(
            "SELECT t.bot_id, t.guild_id FROM members AS t {CURRENT} {STATE_OF_GUILD} \
             WHERE t.id = $2 AND t.guild_id = ANY($3) AND {ANY_BOT} AND (cardinality($4) = 0 OR t.guild_id::text = ANY($4) OR EXISTS (SELECT 1 FROM unnest($4) AS w(role) \
             WHERE t.roles ? w.role AND NOT coalesce(s.data -> 'gone_roles' ? w.role, false)))"
        );
        let parameters =
            [(&bot as _, Type::INT8), (&user as _, Type::INT8), (&guilds as _, Type::INT8_ARRAY), (&roles as _, Type::TEXT_ARRAY)];
        Ok(self.query(&sql, &parameters).await?.iter().map(|row| (number(row, 0), number(row, 1))).collect())
    }

    async fn by_id(&self, bot: Option<u64>, table: Table, id: u64) -> Result<Option<String>, StateError> {
        Ok(self.held(bot, table, id).await?.into_iter().next().map(|held| held.json))
    }

    /// What each bot knows of one object by its own id, the one told last first.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn held(&self, bot: Option<u64>, table: Table, id: u64) -> Result<Vec<Known>, StateError> {
        let (bot, number) = (signed(bot), id.cast_signed());
        // Outside guilds the key begins with guild 0.
        let outside = if table == Table::DirectChannels { "t.guild_id = 0 AND" } else { "" };
        let filter = format!("{outside} t.id = $2 AND {ANY_BOT} ORDER BY t.updated_at DESC");
        self.listed(table, &filter, &[(&bot as _, Type::INT8), (&number as _, Type::INT8)]).await
    }

    /// What each bot knows of one message, the one saved last first.
    ///
    /// # Errors
    /// See [`StateReader::user`].
    pub async fn held_messages(&self, bot: Option<u64>, channel: u64, message: u64) -> Result<Vec<Known>, StateError> {
        let (bot, id, channel) = (signed(bot), message.cast_signed(), channel.to_string());
        let filter = format!("t.id = $2 AND {ANY_BOT} AND t.data ->> 'channel_id' = $3 ORDER BY t.updated_at DESC");
        let parameters = [(&bot as _, Type::INT8), (&id as _, Type::INT8), (&channel as _, Type::TEXT)];
        self.listed(Table::Messages, &filter, &parameters).await
    }

    async fn of_list(&self, table: Table, bot: Option<u64>, guild: u64) -> Result<Objects, StateError> {
        let (bot, guild) = (signed(bot), guild.cast_signed());
        let sql = format!(
            "SELECT t.id, e.value ->> 'id', e.value::text, CASE WHEN e.n = 1 THEN {} END FROM {} AS t {CURRENT} CROSS JOIN LATERAL \
             jsonb_array_elements(CASE jsonb_typeof(t.data) WHEN 'array' THEN t.data ELSE jsonb_build_array(t.data) END) WITH ORDINALITY AS e(value, n) \
             WHERE t.guild_id = $2 AND {BOT_OF_GUILD} ORDER BY t.id, e.n",
            whole("t"),
            table.name()
        );
        let rows = self.query(&sql, &[(&bot as _, Type::INT8), (&guild as _, Type::INT8)]).await?;
        let (mut found, mut taken) = (Objects::new(), None);
        for row in &rows {
            let id = number(row, 0);
            let bytes: Option<&[u8]> = row.get(3);
            let items = bytes.and_then(|bytes| (self.0.codec?.items)(Place { table, guild_id: guild.cast_unsigned(), id }, bytes));
            if let Some(items) = items {
                found.extend(items);
                taken = Some(id);
            } else if taken != Some(id)
                && let Some(item) = row.get::<_, Option<&str>>(1).and_then(|id| id.parse().ok())
            {
                found.push((item, row.get(2)));
            }
        }
        Ok(found)
    }

    async fn listed(&self, table: Table, filter: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Known>, StateError> {
        let (data, more, join) = match table {
            Table::Members => (
                format!("CASE WHEN {HAS_GONE_ROLES} THEN jsonb_set(t.data, '{{roles}}', {ROLES_LEFT}) ELSE t.data END"),
                format!(
                    ", CASE WHEN t.replaced AND {HAS_GONE_ROLES} THEN jsonb_build_object('roles', {ROLES_LEFT})::text END, \
                     t.data ? 'user', u.data::text, {}",
                    whole("u")
                ),
                [STATE_OF_GUILD, USER_OF_MEMBER].join(" "),
            ),
            _ => ("t.data".to_owned(), String::new(), String::new()),
        };
        let sql = format!(
            "SELECT t.bot_id, t.guild_id, t.id, ({data})::text, {}{more} FROM {} AS t {CURRENT} {join} WHERE {filter}",
            whole("t"),
            table.name()
        );
        let rows = self.query(&sql, parameters).await?;
        let found = |row: &Row| {
            let (bot, guild, id) = (number(row, 0), number(row, 1), number(row, 2));
            let over = if table == Table::Members { row.get(5) } else { None };
            let mut json = self.json(Place { table, guild_id: guild, id }, row, 3, over)?;
            if table == Table::Members && row.get::<_, Option<bool>>(6) != Some(true) {
                let user = self.json(Place { table: Table::Users, guild_id: 0, id }, row, 7, None);
                json = with_first(json, "user", &user.unwrap_or_else(|| format!("{{\"id\": \"{id}\"}}")));
            }
            Some(Known { bot, guild, id, json })
        };
        Ok(rows.iter().filter_map(found).collect())
    }

    /// The JSON of the bytes in the column after `at`, with the values of `over`; where there are none, or none that this program reads, that
    /// in the column `at`.
    fn json(&self, place: Place, row: &Row, at: usize, over: Option<&str>) -> Option<String> {
        let of_bytes = |bytes: &[u8]| {
            let codec = self.0.codec?;
            over.map_or_else(|| (codec.json)(place, bytes), |over| (codec.with)(place, bytes, over))
        };
        row.get::<_, Option<&[u8]>>(at + 1).and_then(of_bytes).or_else(|| row.get(at))
    }

    pub(super) async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, StateError> {
        let inner = &self.0;
        let (mut again, mut tried) = (true, [false; CONNECTIONS]);
        let mut lane = inner.lane(|_| true).unwrap_or_default();
        loop {
            let mut waiting = Waiting::new(inner, lane);
            let done = match inner.conn(lane).await {
                Ok(conn) => {
                    waiting.sent = Some(conn.clone());
                    let done = conn.query(sql, parameters).await;
                    waiting.answered();
                    done
                }
                Err(fault) => {
                    // The server may take no more connections than it has: others are as good.
                    tried[lane] = true;
                    if let Some(other) = inner.lane(|lane| !tried[lane] && inner.lanes[lane].open.load(Ordering::Relaxed)) {
                        lane = other;
                        continue;
                    }
                    Err(fault)
                }
            };
            match done {
                Ok(rows) => {
                    inner.up();
                    return Ok(rows);
                }
                Err(fault) if fault.kind == FaultKind::Data => {
                    return Err(StateError::Malformed(format!("the store does not take that: {}", inner.address.scrub(fault.why))));
                }
                Err(fault) if fault.kind == FaultKind::Slow => {
                    return Err(StateError::Unavailable(format!(
                        "it took too long, and was given up ({})",
                        inner.address.scrub(fault.why)
                    )));
                }
                Err(fault) => {
                    inner.lanes[lane].open.store(false, Ordering::Relaxed);
                    inner.lanes[lane].slot.lock().await.conn = None;
                    // A connection that broke while nobody used it is no news.
                    if fault.kind != FaultKind::Away || !std::mem::take(&mut again) {
                        return Err(StateError::Unavailable(inner.told(fault)));
                    }
                }
            }
        }
    }
}

impl Inner {
    /// Of those that may be taken the connection for which the fewest wait, of several in turn; one that has answered nothing for a while although
    /// somebody waits (for a lock, or for a long list) only where there is no other.
    fn lane(&self, may: impl Fn(usize) -> bool) -> Option<usize> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let now_ms = self.now_ms();
        let weight = |at: &usize| {
            let lane = &self.lanes[*at];
            let waiting = lane.waiting.load(Ordering::Relaxed);
            (waiting > 0 && now_ms.saturating_sub(lane.moved_ms.load(Ordering::Relaxed)) > HELD_UP_MS, waiting)
        };
        let count = self.lanes.len();
        (0..count).map(|nth| (turn.wrapping_add(nth)) % count).filter(|at| may(*at)).min_by_key(weight)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn moved(&self, lane: usize) {
        self.lanes[lane].moved_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Forgets a connection that does not answer.
    async fn lose(&self, at: usize, conn: &Arc<Conn>) {
        let lane = &self.lanes[at];
        let mut slot = lane.slot.lock().await;
        if slot.conn.as_ref().is_some_and(|held| Arc::ptr_eq(held, conn)) {
            slot.conn = None;
            lane.open.store(false, Ordering::Relaxed);
        }
    }

    async fn conn(&self, at: usize) -> Result<Arc<Conn>, Fault> {
        let lane = &self.lanes[at];
        let mut slot = lane.slot.lock().await;
        if let Some(conn) = &slot.conn
            && !conn.is_closed()
        {
            return Ok(conn.clone());
        }
        lane.open.store(false, Ordering::Relaxed);
        // Others may be open all the while.
        if let Some((at, why)) = &slot.failed
            && at.elapsed() < PAUSE
        {
            return Err(Fault::away(why.clone()));
        }
        match Conn::open(&self.address, Session::STATE).await {
            Ok(conn) => {
                let conn = Arc::new(conn);
                *slot = Slot { conn: Some(conn.clone()), failed: None };
                lane.open.store(true, Ordering::Relaxed);
                Ok(conn)
            }
            Err(fault) => {
                slot.failed = Some((Instant::now(), fault.why.clone()));
                Err(fault)
            }
        }
    }

    /// Says once that the server is away.
    fn told(&self, fault: Fault) -> String {
        let why = self.address.scrub(fault.why);
        let mut down = lock(&self.down);
        if down.is_none() {
            *down = Some(Instant::now());
            tracing::error!(server = %self.address, "the store cannot be read, lookups fail until it can: {why}");
        }
        why
    }

    fn up(&self) {
        if let Some(since) = lock(&self.down).take() {
            tracing::info!(server = %self.address, "the store can be read again, after {} s", since.elapsed().as_secs());
        }
    }
}

/// The bytes of an object that its JSON does not tell whole, if it is one.
fn whole(row: &str) -> String {
    format!("coalesce({row}.raw, CASE WHEN {row}.replaced THEN {row}.packed END)")
}

/// A JSON object with one more field, in front of the others.
fn with_first(object: String, name: &str, value: &str) -> String {
    let Some(rest) = object.trim_start().strip_prefix('{') else { return object };
    let comma = if rest.trim_start().starts_with('}') { "" } else { ", " };
    format!("{{\"{name}\": {value}{comma}{rest}")
}

fn plain(found: Vec<Known>) -> Objects {
    found.into_iter().map(|held| (held.id, held.json)).collect()
}

pub(super) fn number(row: &Row, column: usize) -> u64 {
    row.get::<_, i64>(column).cast_unsigned()
}

pub(super) fn signed(id: Option<u64>) -> Option<i64> {
    id.map(u64::cast_signed)
}

pub(super) fn signed_all(ids: &[u64]) -> Vec<i64> {
    ids.iter().map(|id| id.cast_signed()).collect()
}

/// The pattern of what may have `query` in it.
fn containing(query: &str) -> String {
    let query = query.to_lowercase();
    let mut like = String::with_capacity(query.len() + 2);
    like.push('%');
    let mut characters = query.chars().peekable();
    while let Some(character) = characters.next() {
        // What stands before one may be half of a letter (i, and a dot above it), which a locale may not have made of that letter.
        if !character.is_ascii() || character == '\0' || characters.peek().is_some_and(|next| !next.is_ascii()) {
            like.push('%');
            continue;
        }
        if matches!(character, '%' | '_' | '\\') {
            like.push('\\');
        }
        like.push(character);
    }
    like.push('%');
    like
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_whatever_a_locale_makes_of_letters_beyond_ascii_and_nothing_is_a_wildcard_by_itself() {
        for (query, pattern) in
            [("Ann", "%ann%"), ("İst", "%%%st%"), ("aÖb", "%%%b%"), ("5%_\\", "%5\\%\\_\\\\%"), ("a\0b", "%a%b%"), ("", "%%")]
        {
            assert_eq!(containing(query), pattern, "{query}");
        }
    }

    #[test]
    fn a_member_gets_its_user() {
        let with_user = |member: &str| with_first(member.into(), "user", "{\"id\": \"1\"}");
        assert_eq!(with_user("{\"nick\": null}"), "{\"user\": {\"id\": \"1\"}, \"nick\": null}");
        assert_eq!(with_user("{}"), "{\"user\": {\"id\": \"1\"}}");
        assert_eq!(with_user("[]"), "[]");
    }
}

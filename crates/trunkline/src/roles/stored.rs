//! The state API's answers from PostgreSQL alone, for a process that holds no shard.
//!
//! The same questions as the live caches get, with the same answers, at most a checkpoint behind. Changes go to the tables; the process
//! that holds the shards sees them when it next starts.

use std::collections::HashMap;

use bytes::Bytes;
use trunkline_discord::{Encoding, Object};
use trunkline_doors::Scope;
use trunkline_doors::state::{Answer, Answering, Page, Query, StateError, StateSource, Written};
use trunkline_etf::{JsonWriter, Limits, TermWrite, Value};
use trunkline_store::{Objects, StateReader, Table, Threads};

/// A database as a source of answers. Cheap to clone.
#[derive(Clone)]
pub struct Stored(StateReader);

type Result<T> = std::result::Result<T, StateError>;

impl Stored {
    /// Asks this one.
    #[must_use]
    pub fn new(reader: StateReader) -> Stored {
        Stored(reader)
    }
}

impl StateSource for Stored {
    fn answer<'a>(&'a self, bot: Option<u64>, scope: &'a Scope, query: Query) -> Answering<'a> {
        Box::pin(Asked { reader: &self.0, bot, scope }.find(query))
    }
}

/// One question with who asks it.
struct Asked<'a> {
    reader: &'a StateReader,
    bot: Option<u64>,
    scope: &'a Scope,
}

impl Asked<'_> {
    async fn find(self, query: Query) -> Result<Answer> {
        let (reader, bot) = (self.reader, self.bot);
        match query {
            Query::User(user) => {
                self.whole()?;
                one(reader.user(bot, user).await)
            }
            Query::Channel(channel) => {
                self.whole()?;
                // Threads have a route of their own.
                let found = reader.channel(bot, channel).await.map_err(failed)?;
                let thread = found.is_some() && reader.thread(bot, channel).await.map_err(failed)?.is_some();
                one(Ok(found.filter(|_| !thread)))
            }
            Query::Thread(thread) => {
                self.whole()?;
                one(reader.thread(bot, thread).await)
            }
            Query::Message { channel, message } => {
                self.whole()?;
                one(reader.message(bot, channel, message).await)
            }
            Query::UserNames(users) => {
                self.whole()?;
                let found: HashMap<u64, String> = reader.user_names(bot, &users).await.map_err(failed)?.into_iter().collect();
                Ok(Answer::Names(users.iter().filter_map(|user| Some((*user, found.get(user)?.clone()))).collect()))
            }
            Query::Threads(page) => self.threads(Threads::All, page).await,
            Query::ChannelThreads(channel, page) => self.threads(Threads::Parent(channel), page).await,
            Query::GuildThreads(guild, page) => self.list(guild, Table::Threads, page).await,
            Query::GuildChannels(guild, page) => self.list(guild, Table::Channels, page).await,
            Query::GuildMembers(guild, page) => self.list(guild, Table::Members, page).await,
            Query::GuildRoles(guild, page) => self.list(guild, Table::Roles, page).await,
            Query::Guild(guild) => {
                self.allowed(guild)?;
                one(reader.guild(bot, guild).await)
            }
            Query::Member(guild, user) => self.one(guild, Table::Members, user).await,
            Query::Presence(guild, user) => self.one(guild, Table::Presences, user).await,
            Query::Role(guild, role) => self.one(guild, Table::Roles, role).await,
            Query::Members(guild, ids) => self.holes(guild, Table::Members, &ids).await,
            Query::Roles(guild, ids) => self.holes(guild, Table::Roles, &ids).await,
            Query::Emoji(guild, emoji) => {
                self.allowed(guild)?;
                one(reader.emoji(bot, guild, emoji).await)
            }
            Query::GuildEmojis(guild, page) => {
                self.allowed(guild)?;
                let mut found = reader.emojis(bot, guild).await.map_err(failed)?;
                found.sort_by_key(|(id, _)| *id);
                found.retain(|(id, _)| *id > page.after || page.after == 0);
                found.truncate(page.limit);
                Ok(listed(found, page))
            }
            Query::SearchMembers { guild, text, page } => {
                self.allowed(guild)?;
                Ok(listed(reader.search_members(bot, guild, &text, page.after, rows(page)).await.map_err(failed)?, page))
            }
            Query::MembersWithRole { guild, role, page } => {
                self.allowed(guild)?;
                let ids = reader.members_with_role(bot, guild, role, page.after, rows(page)).await.map_err(failed)?;
                let next = ids.last().copied().filter(|_| ids.len() >= page.limit);
                Ok(Answer::Ids { ids, next })
            }
            Query::GuildsCount => self.guilds_count().await,
            Query::InGuilds { user, guilds } => self.in_guilds(user, &guilds, &[]).await,
            Query::InGuildsWithRoles { user, guilds, roles } => self.in_guilds(user, &guilds, &roles).await,
            Query::Put { guild, kind, objects } => {
                self.allowed(guild)?;
                reader.upsert(bot, guild, table(kind), &body(&objects)?).await.map_err(failed)?;
                Ok(Answer::Done)
            }
            Query::Delete { guild, kind, ids } => {
                self.allowed(guild)?;
                reader.delete(bot, guild, table(kind), &ids).await.map_err(failed)?;
                Ok(Answer::Done)
            }
            Query::Wipe { guild, kind } => {
                self.allowed(guild)?;
                reader.wipe(bot, guild, table(kind)).await.map_err(failed)?;
                Ok(Answer::Done)
            }
        }
    }

    /// Whether the token reaches a guild: of the bot that is named, or of any where the token is limited to guilds alone.
    fn allowed(&self, guild: u64) -> Result<()> {
        let allowed = match self.bot {
            Some(bot) => self.scope.allows_guild(bot, guild),
            None => self.scope.allows_guild_of_any(guild),
        };
        if allowed {
            Ok(())
        } else {
            Err(StateError::Forbidden(format!("guild {guild}; a token that is limited to some bots names one with ?bot_id=")))
        }
    }

    /// What goes over all guilds, and does not say of each answer where it is from, is not for a limited token.
    fn whole(&self) -> Result<()> {
        if *self.scope == Scope::default() { Ok(()) } else { Err(StateError::Forbidden("all guilds".to_owned())) }
    }

    async fn one(&self, guild: u64, table: Table, id: u64) -> Result<Answer> {
        self.allowed(guild)?;
        one(self.reader.object(self.bot, guild, table, id).await)
    }

    async fn list(&self, guild: u64, table: Table, page: Page) -> Result<Answer> {
        self.allowed(guild)?;
        Ok(listed(self.reader.objects(self.bot, guild, table, page.after, rows(page)).await.map_err(failed)?, page))
    }

    async fn threads(&self, which: Threads, page: Page) -> Result<Answer> {
        self.whole()?;
        Ok(listed(self.reader.threads(self.bot, which, page.after, rows(page)).await.map_err(failed)?, page))
    }

    async fn holes(&self, guild: u64, table: Table, ids: &[u64]) -> Result<Answer> {
        self.allowed(guild)?;
        let found = self.reader.objects_by_ids(self.bot, guild, table, ids).await.map_err(failed)?;
        let by_id: HashMap<u64, String> = found.into_iter().collect();
        Ok(Answer::Holes(ids.iter().map(|id| by_id.get(id).cloned().map(object)).collect()))
    }

    async fn guilds_count(&self) -> Result<Answer> {
        self.whole()?;
        Ok(Answer::Count(self.reader.guild_count(self.bot).await.map_err(failed)?))
    }

    async fn in_guilds(&self, user: u64, guilds: &[u64], roles: &[u64]) -> Result<Answer> {
        if *self.scope != Scope::default() {
            for guild in guilds {
                self.allowed(*guild)?;
            }
        }
        Ok(Answer::Yes(self.reader.user_in_guilds(self.bot, user, guilds, roles).await.map_err(failed)?))
    }
}

/// What the store says went wrong, as the API says it.
fn failed(error: trunkline_store::StateError) -> StateError {
    match error {
        trunkline_store::StateError::Malformed(text) => StateError::Request(text),
        error => StateError::Later(error.to_string()),
    }
}

fn table(kind: Written) -> Table {
    match kind {
        Written::Roles => Table::Roles,
        Written::Members => Table::Members,
        Written::Channels => Table::Channels,
    }
}

fn rows(page: Page) -> u32 {
    u32::try_from(page.limit).unwrap_or(u32::MAX)
}

fn object(json: String) -> Object {
    Object { encoding: Encoding::Json, bytes: Bytes::from(json) }
}

fn one(found: std::result::Result<Option<String>, trunkline_store::StateError>) -> Result<Answer> {
    Ok(Answer::One(found.map_err(failed)?.map(object)))
}

fn listed(found: Objects, page: Page) -> Answer {
    let next = found.last().map(|(id, _)| *id).filter(|_| found.len() >= page.limit);
    Answer::List { objects: found.into_iter().map(|(_, json)| object(json)).collect(), next }
}

/// Objects as one JSON object from id to object.
fn body(objects: &[(u64, Object)]) -> Result<String> {
    let mut writer = JsonWriter::new();
    writer.begin_map(objects.len());
    for (id, object) in objects {
        writer.key(&id.to_string());
        let value: Value<'_> = Value::parse(object.encoding, &object.bytes, &Limits::GATEWAY)
            .map_err(|error| StateError::Request(format!("the object of {id} cannot be read: {error}")))?;
        writer.value(value).map_err(|error| StateError::Request(format!("the object of {id} cannot be written: {error}")))?;
    }
    writer.end_map();
    String::from_utf8(writer.into_vec()).map_err(|error| StateError::Failed(error.to_string()))
}

//! The state API's answers from PostgreSQL alone, for a process that holds no shard.
//!
//! The same questions as the live caches get, with the same answers, at most a checkpoint behind. Changes go to the tables; the process
//! that holds the shards sees them when it next starts.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use trunkline_cache::{Kind, lower_case};
use trunkline_discord::{Encoding, Object};
use trunkline_doors::Scope;
use trunkline_doors::state::{
    Answer, Answering, GUILD_LISTS, Page, Query, StateError, StateSource, Written, kept_as, kept_member, not_of_guild, stranger,
    whole_guild,
};
use trunkline_etf::{JsonWriter, Limits, TermWrite, Value};
use trunkline_store::{Homes, Known, Objects, StateReader, Table};

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
        match query {
            Query::User(user) => Ok(Answer::One(self.users(&[user]).await?.remove(&user).map(object))),
            Query::UserNames(users) => {
                let found = self.users(&users).await?;
                let name = |user: &u64| Some((*user, name_of(found.get(user)?)?));
                Ok(Answer::Names(users.iter().filter_map(name).collect()))
            }
            Query::Channel(channel) => {
                let mut found = self.reader.held(self.bot, Table::Channels, channel).await.map_err(failed)?;
                if found.is_empty() {
                    found = self.reader.held(self.bot, Table::DirectChannels, channel).await.map_err(failed)?;
                }
                self.anywhere(found).await
            }
            Query::Thread(thread) => self.anywhere(self.reader.held(self.bot, Table::Threads, thread).await.map_err(failed)?).await,
            Query::Message { channel, message } => {
                self.anywhere(self.reader.held_messages(self.bot, channel, message).await.map_err(failed)?).await
            }
            Query::Threads(page) => self.threads(None, page).await,
            Query::ChannelThreads(channel, page) => self.threads(Some(channel), page).await,
            Query::GuildThreads(guild, page) => self.list(guild, Table::Threads, page).await,
            Query::GuildChannels(guild, page) => self.list(guild, Table::Channels, page).await,
            Query::GuildMembers(guild, page) => self.list(guild, Table::Members, page).await,
            Query::GuildRoles(guild, page) => self.list(guild, Table::Roles, page).await,
            Query::Guild(guild) => match self.home(guild).await? {
                Some(bot) => self.guild(bot, guild).await,
                None => Ok(Answer::One(None)),
            },
            Query::Member(guild, user) => self.one(guild, Table::Members, user).await,
            Query::Presence(guild, user) => self.one(guild, Table::Presences, user).await,
            Query::Role(guild, role) => self.one(guild, Table::Roles, role).await,
            Query::Members(guild, ids) => self.holes(guild, Table::Members, &ids).await,
            Query::Roles(guild, ids) => self.holes(guild, Table::Roles, &ids).await,
            Query::Emoji(guild, emoji) => match self.home(guild).await? {
                Some(bot) => one(self.reader.emoji(Some(bot), guild, emoji).await),
                None => Ok(Answer::One(None)),
            },
            Query::GuildEmojis(guild, page) => {
                let Some(bot) = self.home(guild).await? else { return Ok(listed(Objects::new(), page)) };
                let mut found = self.reader.emojis(Some(bot), guild).await.map_err(failed)?;
                found.sort_by_key(|(id, _)| *id);
                found.retain(|(id, _)| *id > page.after || page.after == 0);
                found.truncate(page.limit);
                Ok(listed(found, page))
            }
            Query::SearchMembers { guild, text, page } => self.search(guild, &text, page).await,
            Query::MembersWithRole { guild, role, page } => {
                let ids = match self.home(guild).await? {
                    Some(bot) => self.reader.members_with_role(Some(bot), guild, role, page.after, rows(page)).await.map_err(failed)?,
                    None => Vec::new(),
                };
                let next = ids.last().copied().filter(|_| ids.len() >= page.limit);
                Ok(Answer::Ids { ids, next })
            }
            Query::GuildsCount => self.guilds_count().await,
            Query::InGuilds { user, guilds } => self.in_guilds(user, &guilds, &[]).await,
            Query::InGuildsWithRoles { user, guilds, roles } => self.in_guilds(user, &guilds, &roles).await,
            Query::Put { guild, kind, objects } => self.put(guild, kind, objects).await,
            Query::Delete { guild, kind, ids } => {
                let bot = self.known(guild).await?;
                self.no_others(bot, guild, kind, &ids).await?;
                self.reader.delete(Some(bot), guild, table(kind), &ids).await.map_err(failed)?;
                Ok(Answer::Done)
            }
            Query::Wipe { guild, kind } => {
                let bot = self.known(guild).await?;
                self.reader.wipe(Some(bot), guild, table(kind)).await.map_err(failed)?;
                Ok(Answer::Done)
            }
        }
    }

    /// The bot whose guild it is, as the live caches choose it: the one that is named, the only one, or the only one that has the guild.
    fn home_of(&self, homes: &Homes, guild: u64) -> Result<Option<u64>> {
        let known = homes.of.get(&guild).map_or(&[][..], Vec::as_slice);
        // Of several, those that the caller may ask about.
        let known: Vec<u64> = known.iter().copied().filter(|bot| self.scope.allows_bot(*bot)).collect();
        let bot = match (self.bot, homes.bots.as_slice(), known.as_slice()) {
            (Some(bot), bots, _) => self.named(bot, bots)?.or(Some(bot)),
            (None, [only], _) | (None, _, [only]) => Some(*only),
            (None, _, []) => None,
            (None, _, several) => {
                let why = format!("several bots are in guild {guild} ({}); name one with ?bot_id=", joined(several));
                return Err(StateError::Request(why));
            }
        };
        match bot {
            Some(bot) if !self.scope.allows_guild(bot, guild) => Err(StateError::Forbidden(format!("guild {guild} of bot {bot}"))),
            bot => Ok(bot),
        }
    }

    /// The bot that the caller names, if it may ask about it; whether there is such a bot is nothing to tell whom it is none of.
    fn named(&self, bot: u64, bots: &[u64]) -> Result<Option<u64>> {
        match bots {
            _ if !self.scope.allows_bot(bot) => Ok(None),
            bots if bots.contains(&bot) => Ok(Some(bot)),
            bots => {
                let bots: Vec<u64> = bots.iter().copied().filter(|bot| self.scope.allows_bot(*bot)).collect();
                Err(StateError::Request(format!("bot {bot} is not in this database; its bots are {}", joined(&bots))))
            }
        }
    }

    async fn home(&self, guild: u64) -> Result<Option<u64>> {
        self.home_of(&self.reader.homes(&[guild]).await.map_err(failed)?, guild)
    }

    /// The bot of a guild that is to be changed.
    async fn known(&self, guild: u64) -> Result<u64> {
        let homes = self.reader.homes(&[guild]).await.map_err(failed)?;
        let bot = self.home_of(&homes, guild)?.filter(|bot| homes.of.get(&guild).is_some_and(|known| known.contains(bot)));
        bot.ok_or_else(|| StateError::Unknown(format!("no bot of this database is in guild {guild}")))
    }

    /// The bots that are asked where no guild is named.
    async fn bots(&self) -> Result<Vec<u64>> {
        let bots = self.reader.bots().await.map_err(failed)?;
        let asked = match self.bot {
            Some(bot) => self.named(bot, &bots)?.into_iter().collect(),
            None => bots,
        };
        Ok(asked.into_iter().filter(|bot| self.scope.allows_bot(*bot)).collect())
    }

    async fn one(&self, guild: u64, table: Table, id: u64) -> Result<Answer> {
        match self.home(guild).await? {
            Some(bot) => one(self.reader.object(Some(bot), guild, table, id).await),
            None => Ok(Answer::One(None)),
        }
    }

    /// A guild with those of its lists that lie in tables of their own but belong to it here.
    async fn guild(&self, bot: u64, guild: u64) -> Result<Answer> {
        let Some(whole) = self.reader.guild(Some(bot), guild).await.map_err(failed)? else { return Ok(Answer::One(None)) };
        let mut lists: [Vec<Object>; GUILD_LISTS.len()] = Default::default();
        for ((_, kind), list) in GUILD_LISTS.into_iter().zip(&mut lists) {
            let found = match kind {
                Kind::Stickers => self.reader.stickers(Some(bot), guild).await,
                kind => match Table::from_number(kind as u8) {
                    Some(table) => self.reader.objects(Some(bot), guild, table, 0, u32::MAX).await,
                    None => Ok(Objects::new()),
                },
            };
            *list = found.map_err(failed)?.into_iter().map(|(_, json)| object(json)).collect();
        }
        Ok(Answer::One(Some(whole_guild(&object(whole), &lists)?)))
    }

    async fn list(&self, guild: u64, table: Table, page: Page) -> Result<Answer> {
        let found = match self.home(guild).await? {
            Some(bot) => self.reader.objects(Some(bot), guild, table, page.after, rows(page)).await.map_err(failed)?,
            None => Objects::new(),
        };
        Ok(listed(found, page))
    }

    /// What may be seen of what several bots hold.
    async fn anywhere(&self, found: Vec<Known>) -> Result<Answer> {
        if self.bot.is_some() {
            // Whether there is such a bot.
            self.bots().await?;
        }
        let allowed = |held: &Known| match held.guild {
            // Direct messages are the bot's own.
            0 => self.scope.whole_bot(held.bot),
            guild => self.scope.allows_guild(held.bot, guild),
        };
        Ok(Answer::One(found.into_iter().find(allowed).map(|held| object(held.json))))
    }

    /// Those of some users that the caller may see: the bots' own, and members of its guilds.
    async fn users(&self, users: &[u64]) -> Result<HashMap<u64, String>> {
        let bots = self.bots().await?;
        let mut found = self.reader.users(self.bot, users).await.map_err(failed)?;
        found.retain(|held| bots.contains(&held.bot));
        if *self.scope != Scope::default() {
            let seen = self.seen(users).await?;
            found.retain(|held| held.id == held.bot || seen.contains(&(held.bot, held.id)));
        }
        let mut best = HashMap::new();
        for held in found {
            best.entry(held.id).or_insert(held.json);
        }
        Ok(best)
    }

    /// Bots and users who are members of guilds that the caller may see.
    async fn seen(&self, users: &[u64]) -> Result<BTreeSet<(u64, u64)>> {
        let memberships = self.reader.guilds_of(self.bot, users).await.map_err(failed)?;
        Ok(memberships
            .into_iter()
            .filter(|(bot, _, guild)| self.scope.allows_guild(*bot, *guild))
            .map(|(bot, user, _)| (bot, user))
            .collect())
    }

    async fn threads(&self, parent: Option<u64>, page: Page) -> Result<Answer> {
        let bots = self.bots().await?;
        // One that several bots have is there as often.
        let many = page.limit.saturating_add(bots.len().max(1));
        let rows = u32::try_from(many).unwrap_or(u32::MAX);
        let mut found: Objects = Vec::new();
        let mut after = page.after;
        loop {
            let mut part = self.reader.held_threads(self.bot, parent, after, rows).await.map_err(failed)?;
            let last = part.last().map(|held| held.id);
            let more = part.len() >= many;
            if more {
                // The last one may be cut off between two bots: it comes again.
                part.retain(|held| Some(held.id) != last);
            }
            after = part.last().map_or(after, |held| held.id);
            let stuck = part.is_empty();
            let allowed = part.into_iter().filter(|held| bots.contains(&held.bot) && self.scope.allows_guild(held.bot, held.guild));
            found.extend(allowed.map(|held| (held.id, held.json)));
            found.dedup_by_key(|(id, _)| *id);
            if !more || stuck || found.len() >= page.limit {
                found.truncate(page.limit);
                return Ok(listed(found, page));
            }
        }
    }

    /// The database finds those that may fit, and perhaps a few more.
    async fn search(&self, guild: u64, text: &str, page: Page) -> Result<Answer> {
        let Some(bot) = self.home(guild).await? else { return Ok(listed(Objects::new(), page)) };
        let text = lower_case(text);
        let mut found = Objects::new();
        let mut after = page.after;
        loop {
            let part = self.reader.search_members(Some(bot), guild, &text, after, rows(page)).await.map_err(failed)?;
            let last = part.last().map(|(id, _)| *id).filter(|_| part.len() >= page.limit);
            found.extend(part.into_iter().filter(|(_, member)| is_called(member, &text)));
            match last {
                Some(last) if found.len() < page.limit => after = last,
                _ => break,
            }
        }
        found.truncate(page.limit);
        Ok(listed(found, page))
    }

    async fn holes(&self, guild: u64, table: Table, ids: &[u64]) -> Result<Answer> {
        let found = match self.home(guild).await? {
            Some(bot) => self.reader.objects_by_ids(Some(bot), guild, table, ids).await.map_err(failed)?,
            None => Objects::new(),
        };
        let by_id: HashMap<u64, String> = found.into_iter().collect();
        Ok(Answer::Holes(ids.iter().map(|id| by_id.get(id).cloned().map(object)).collect()))
    }

    async fn guilds_count(&self) -> Result<Answer> {
        let bots = self.bots().await?;
        if *self.scope == Scope::default() {
            return Ok(Answer::Count(self.reader.guild_count(self.bot).await.map_err(failed)?));
        }
        let mut guilds = BTreeSet::new();
        for bot in bots {
            let known = self.reader.guild_ids(bot).await.map_err(failed)?;
            guilds.extend(known.into_iter().filter(|guild| self.scope.allows_guild(bot, *guild)));
        }
        Ok(Answer::Count(guilds.len() as u64))
    }

    async fn in_guilds(&self, user: u64, guilds: &[u64], roles: &[u64]) -> Result<Answer> {
        let homes = self.reader.homes(guilds).await.map_err(failed)?;
        let member: BTreeSet<_> = self.reader.guilds_with(self.bot, user, guilds, roles).await.map_err(failed)?.into_iter().collect();
        for guild in guilds {
            // What is refused is refused as the live caches do: once it is come to.
            if let Some(bot) = self.home_of(&homes, *guild)?
                && member.contains(&(bot, *guild))
            {
                return Ok(Answer::Yes(true));
            }
        }
        Ok(Answer::Yes(false))
    }

    async fn put(&self, guild: u64, kind: Written, objects: Vec<(u64, Object)>) -> Result<Answer> {
        let bot = self.known(guild).await?;
        if kind == Written::Members {
            return self.put_members(bot, guild, objects).await;
        }
        let ids: Vec<u64> = objects.iter().map(|(id, _)| *id).collect();
        self.no_others(bot, guild, kind, &ids).await?;
        let kept = objects.iter().map(|(id, object)| Ok((*id, kept_as(kind, guild, *id, object)?)));
        let kept = kept.collect::<Result<Vec<_>>>()?;
        self.reader.upsert(Some(bot), guild, table(kind), &body(&kept)?).await.map_err(failed)?;
        Ok(Answer::Done)
    }

    /// Users lie beside members: what is known of one stays, unless the caller may change the whole bot.
    async fn put_members(&self, bot: u64, guild: u64, objects: Vec<(u64, Object)>) -> Result<Answer> {
        let whole = self.scope.whole_bot(bot);
        if !whole {
            let ids: Vec<u64> = objects.iter().map(|(id, _)| *id).collect();
            let known = self.reader.users(Some(bot), &ids).await.map_err(failed)?;
            let seen = self.seen(&ids).await?;
            if let Some(held) = known.iter().find(|held| held.id != bot && !seen.contains(&(bot, held.id))) {
                return Err(stranger(held.id));
            }
        }
        let (mut members, mut told, mut strange) = (Vec::new(), Vec::new(), Vec::new());
        for (id, object) in objects {
            let (member, user, named) = kept_member(id, &object)?;
            members.push((id, member));
            if whole && named { &mut told } else { &mut strange }.push((id, user));
        }
        let [members, told, strange] = [body(&members)?, body(&told)?, body(&strange)?];
        self.reader.put_members(Some(bot), guild, &members, &told, &strange).await.map_err(failed)?;
        Ok(Answer::Done)
    }

    /// Refuses channels that another guild has, or none. Roles and members are named by their guild.
    async fn no_others(&self, bot: u64, guild: u64, kind: Written, ids: &[u64]) -> Result<()> {
        if kind != Written::Channels {
            return Ok(());
        }
        match self.reader.channel_elsewhere(Some(bot), guild, ids).await.map_err(failed)? {
            Some(channel) => Err(not_of_guild(channel, guild)),
            None => Ok(()),
        }
    }
}

/// What the store says went wrong, as the API says it.
fn failed(error: trunkline_store::StateError) -> StateError {
    match error {
        trunkline_store::StateError::Malformed(text) => StateError::Request(text),
        error => StateError::Later(error.to_string()),
    }
}

/// Ids with commas between them, the first few of many.
fn joined(ids: &[u64]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = ids.iter().take(SHOWN).map(u64::to_string).collect();
    match ids.len().saturating_sub(SHOWN) {
        0 if ids.is_empty() => "none".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
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

fn parsed(json: &str) -> Option<Value<'_>> {
    Value::parse(Encoding::Json, json.as_bytes(), &Limits::GATEWAY).ok()
}

fn name_of(user: &str) -> Option<String> {
    Some(parsed(user)?.get("username")?.as_str()?.into_owned())
}

/// Whether one of a member's names holds a text in lower case, as the live caches have it.
fn is_called(member: &str, text: &str) -> bool {
    let Some(member) = parsed(member) else { return false };
    let holds = |name: Option<Value<'_>>| name.and_then(Value::as_str).is_some_and(|name| lower_case(&name).contains(text));
    let user = member.get("user");
    holds(member.get("nick")) || ["username", "global_name", "display_name"].iter().any(|name| holds(user.and_then(|user| user.get(name))))
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

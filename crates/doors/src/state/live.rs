//! Answers from the live caches: each question runs on the core that holds the guild, or on all shards where it names none.

use futures_util::StreamExt as _;
use trunkline_cache::{Cache, Found, Kind, Step};
use trunkline_discord::{Object, ShardId};
use trunkline_etf::Value;

use super::PAGE;
use super::change::{delete_parts, kind_of};
use super::guild::{GUILD_LISTS, whole_guild};
use super::query::{Answer, Answering, Page, Query, StateError, StateSource, Written};
use crate::access::Scope;
use crate::look::{LookError, Looker, in_steps};
use crate::lookups::reads::fill_users;

/// Threads that one look goes through: what a core answers between two frames. Discord lets a guild have 1 000 active ones.
const THREADS_AT_ONCE: usize = 4_096;

/// Looks at threads that are under way at a time: cores work side by side, and no more answers than these wait to be put together.
const THREADS_LOOKS: usize = 8;

/// The caches of this process as a source of answers.
#[derive(Clone, Debug)]
pub struct Live {
    pub(super) looker: Looker,
}

impl Live {
    /// Asks these.
    #[must_use]
    pub fn new(looker: Looker) -> Live {
        Live { looker }
    }
}

impl From<LookError> for StateError {
    fn from(error: LookError) -> StateError {
        let mut text = error.to_string();
        if matches!(error, LookError::WhichBot { .. } | LookError::WhichBotOfGuild { .. }) {
            text.push_str(" with ?bot_id=");
        }
        if error.passes() { StateError::Later(text) } else { StateError::Request(text) }
    }
}

impl StateSource for Live {
    fn answer<'a>(&'a self, bot: Option<u64>, scope: &'a Scope, query: Query) -> Answering<'a> {
        Box::pin(self.find(bot, scope, query))
    }
}

pub(super) type Result<T> = std::result::Result<T, StateError>;

impl Live {
    async fn find(&self, bot: Option<u64>, scope: &Scope, query: Query) -> Result<Answer> {
        let asked = Asked { live: self, bot, scope };
        match query {
            Query::User(user) => Ok(Answer::One(asked.users(vec![user]).await?.pop().flatten().map(|found| found.object))),
            Query::UserNames(users) => asked.names(users).await,
            Query::Channel(channel) => {
                let direct = move |cache: &Cache| cache.one(Kind::DirectChannel, 0, channel);
                asked.anywhere(move |cache| of_kind(cache, Kind::Channel, channel).or_else(|| direct(cache))).await
            }
            Query::Thread(thread) => asked.anywhere(move |cache| of_kind(cache, Kind::Thread, thread)).await,
            Query::Message { channel, message } => {
                let here = move |found: &Found| found.object.value().get("channel_id").and_then(Value::as_id) == Some(channel);
                asked.anywhere(move |cache| cache.message(message).filter(here)).await
            }
            Query::ChannelThreads(channel, page) => asked.channel_threads(channel, page).await,
            Query::Threads(page) => asked.threads(page).await,
            Query::Guild(guild) => asked.guild(guild).await,
            Query::GuildChannels(guild, page) => asked.list(guild, Kind::Channel, page).await,
            Query::GuildThreads(guild, page) => asked.list(guild, Kind::Thread, page).await,
            Query::GuildRoles(guild, page) => asked.list(guild, Kind::Role, page).await,
            Query::GuildMembers(guild, page) => {
                let step = move |cache: &mut Cache, after, limit| cache.page_step(Kind::Member, guild, after, limit);
                Ok(listed(asked.in_steps(guild, page, step).await?, page))
            }
            Query::GuildEmojis(guild, page) => asked.emojis(guild, page).await,
            Query::SearchMembers { guild, text, page } => {
                let step = move |cache: &mut Cache, after, limit| cache.query_members_step(guild, &text, after, limit);
                Ok(listed(asked.in_steps(guild, page, step).await?, page))
            }
            Query::MembersWithRole { guild, role, page } => {
                let step = move |cache: &mut Cache, after, limit| cache.member_ids_with_role_step(guild, role, after, limit);
                let ids = asked.in_steps(guild, page, step).await?.unwrap_or_default();
                let next = ids.last().copied().filter(|_| ids.len() >= page.limit);
                Ok(Answer::Ids { ids, next })
            }
            Query::Member(guild, user) => {
                let mut found = asked.members(guild, vec![user]).await?;
                Ok(Answer::One(found.pop().flatten()))
            }
            Query::Presence(guild, user) => asked.one(guild, move |cache| cache.presence(guild, user)).await,
            Query::Role(guild, role) => asked.one(guild, move |cache| cache.role(guild, role)).await,
            Query::Emoji(guild, emoji) => asked.one(guild, move |cache| emoji_of(cache, guild, emoji)).await,
            Query::Members(guild, ids) => Ok(Answer::Holes(asked.members(guild, ids).await?)),
            Query::Roles(guild, ids) => asked.holes(guild, ids, move |cache, role| cache.role(guild, role)).await,
            Query::GuildsCount => asked.guilds_count().await,
            Query::InGuilds { user, guilds } => asked.in_guilds(user, guilds, Vec::new()).await,
            Query::InGuildsWithRoles { user, guilds, roles } => asked.in_guilds(user, guilds, roles).await,
            Query::Put { guild, kind, objects } => asked.put(guild, kind, objects).await,
            Query::Delete { guild, kind, ids } => asked.delete(guild, kind, ids).await,
            Query::Wipe { guild, kind } => {
                let ids = asked.ids_of(guild, kind).await?;
                // They are the guild's own.
                asked.apply_all(guild, delete_parts(guild, kind, &ids)).await
            }
        }
    }
}

/// One question with who asks it.
pub(super) struct Asked<'a> {
    pub(super) live: &'a Live,
    bot: Option<u64>,
    pub(super) scope: &'a Scope,
}

impl Asked<'_> {
    /// The bot whose guild it is; none where nobody has it.
    pub(super) async fn bot_of(&self, guild: u64) -> Result<Option<u64>> {
        let bot = match self.bot {
            Some(bot) => Some(bot),
            None => match self.live.looker.bot_of(guild, self.scope).await {
                Ok(bot) => Some(bot),
                Err(LookError::NoBotOfGuild { .. }) => None,
                Err(error) => return Err(error.into()),
            },
        };
        match bot {
            Some(bot) if !self.scope.allows_guild(bot, guild) => Err(StateError::Forbidden(format!("guild {guild} of bot {bot}"))),
            Some(bot) if self.bot.is_some() => self.known_to(bot).map(Some),
            bot => Ok(bot),
        }
    }

    /// Asks the cache that holds a guild; none where nobody does.
    pub(super) async fn on<R: Send + 'static>(&self, guild: u64, ask: impl FnOnce(&mut Cache) -> R + Send + 'static) -> Result<Option<R>> {
        let Some(bot) = self.bot_of(guild).await? else { return Ok(None) };
        match self.live.looker.on_guild(bot, guild, ask).await {
            Ok(answer) => Ok(Some(answer)),
            // Its shard is another process's: not known here.
            Err(LookError::NotHere { .. } | LookError::NoSuchShard { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks it step by step, between which its core goes on with what else it has to do.
    async fn in_steps<T: Send + 'static>(
        &self,
        guild: u64,
        page: Page,
        step: impl Fn(&mut Cache, u64, usize) -> Step<T> + Clone + Send + 'static,
    ) -> Result<Option<Vec<T>>> {
        let Some(bot) = self.bot_of(guild).await? else { return Ok(None) };
        let looker = &self.live.looker;
        let one = |after, limit| {
            let step = step.clone();
            looker.on_guild(bot, guild, move |cache| step(cache, after, limit))
        };
        match in_steps(page.after, page.limit, one).await {
            Ok(found) => Ok(Some(found)),
            Err(LookError::NotHere { .. } | LookError::NoSuchShard { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn one(&self, guild: u64, ask: impl FnOnce(&mut Cache) -> Option<Found> + Send + 'static) -> Result<Answer> {
        Ok(Answer::One(self.on(guild, ask).await?.flatten().map(|found| found.object)))
    }

    /// A guild with those of its lists that lie apart but belong to it here. They are taken in one look, so that they fit together.
    async fn guild(&self, guild: u64) -> Result<Answer> {
        let ask = move |cache: &mut Cache| {
            let whole = cache.guild(guild)?.object;
            let lists = GUILD_LISTS.map(|(_, kind)| {
                let found = cache.list(kind, guild, 0, usize::MAX).into_iter().map(|found| found.object);
                // One object may be the list of all.
                found
                    .flat_map(
                        |object| if kind == Kind::Stickers { object.value().items().map(Object::copy_of).collect() } else { vec![object] },
                    )
                    .collect()
            });
            Some((whole, lists))
        };
        let found = self.on(guild, ask).await?.flatten();
        Ok(Answer::One(found.map(|(guild, lists)| whole_guild(&guild, &lists)).transpose()?))
    }

    async fn list(&self, guild: u64, kind: Kind, page: Page) -> Result<Answer> {
        let found = self.on(guild, move |cache| cache.list(kind, guild, page.after, page.limit)).await?;
        Ok(listed(found, page))
    }

    /// Emojis lie as one list.
    async fn emojis(&self, guild: u64, page: Page) -> Result<Answer> {
        let found = self.on(guild, move |cache| cache.emojis(guild)).await?.flatten();
        let mut emojis: Vec<Object> = found.iter().flat_map(|list| list.object.value().items()).map(Object::copy_of).collect();
        emojis.sort_by_key(|emoji| emoji.value().get("id").and_then(Value::as_id));
        Ok(part_of(emojis, page))
    }

    async fn holes(&self, guild: u64, ids: Vec<u64>, one: impl Fn(&mut Cache, u64) -> Option<Found> + Send + 'static) -> Result<Answer> {
        let many = ids.len();
        let ask = move |cache: &mut Cache| ids.into_iter().map(|id| one(cache, id).map(|found| found.object)).collect();
        let found: Option<Vec<_>> = self.on(guild, ask).await?;
        Ok(Answer::Holes(found.unwrap_or_else(|| vec![None; many])))
    }

    /// Members in the order asked for; where the bot is set to do so, Discord is asked for those that are missing.
    async fn members(&self, guild: u64, users: Vec<u64>) -> Result<Vec<Option<Object>>> {
        let Some(bot) = self.bot_of(guild).await? else { return Ok(vec![None; users.len()]) };
        match self.live.looker.members(bot, guild, &users).await {
            Ok(found) => Ok(found.into_iter().map(|found| found.map(|found| found.object)).collect()),
            Err(LookError::NotHere { .. } | LookError::NoSuchShard { .. }) => Ok(vec![None; users.len()]),
            Err(error) => Err(error.into()),
        }
    }

    /// A bot of this process that the caller may ask about. The others are nothing to tell.
    fn known_to(&self, bot: u64) -> Result<u64> {
        match self.live.looker.directory().bot(bot) {
            Ok(entry) => Ok(entry.id),
            Err(LookError::UnknownBot { bot, known }) => {
                let known = known.into_iter().filter(|bot| self.scope.allows_bot(*bot)).collect();
                Err(LookError::UnknownBot { bot, known }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The bots that are asked, and whether these are all: until then "nobody has it" and every sum would be true of the moment only.
    fn bots(&self) -> Result<(Vec<u64>, bool)> {
        let directory = self.live.looker.directory();
        let (bots, all) = match self.bot {
            // Whether there is such a bot is nothing to tell whom it is none of.
            Some(bot) if !self.scope.allows_bot(bot) => (Vec::new(), true),
            Some(bot) => (vec![self.known_to(bot)?], true),
            None => {
                let bots = directory.bots();
                (bots.keys().copied().collect(), bots.len() >= directory.configured())
            }
        };
        Ok((bots.into_iter().filter(|bot| self.scope.allows_bot(*bot)).collect(), all))
    }

    /// The bots that are asked, once all of them are up.
    fn all_bots(&self) -> Result<Vec<u64>> {
        match self.bots()? {
            (bots, true) => Ok(bots),
            (_, false) => Err(starting()),
        }
    }

    /// Asks every shard of some bots.
    async fn all<R: Send + 'static>(
        &self,
        bots: Vec<u64>,
        ask: impl Fn(&mut Cache) -> R + Clone + Send + 'static,
    ) -> Result<Vec<(u64, R)>> {
        let mut answers = Vec::new();
        for bot in bots {
            answers.extend(self.live.looker.on_all(bot, ask.clone()).await?.into_iter().map(|answer| (bot, answer)));
        }
        Ok(answers)
    }

    /// What any shard holds, rather one that is sure of it.
    async fn anywhere(&self, ask: impl Fn(&mut Cache) -> Option<Found> + Clone + Send + 'static) -> Result<Answer> {
        let (bots, all) = self.bots()?;
        let found = self.all(bots, ask).await?.into_iter().filter_map(|(bot, found)| Some((bot, found?)));
        let allowed = found.filter(|(bot, found)| match found.guild_id {
            // Direct messages are the bot's own.
            0 => self.scope.whole_bot(*bot),
            guild => self.scope.allows_guild(*bot, guild),
        });
        match allowed.min_by_key(|(_, found)| found.stale) {
            None if !all => Err(starting()),
            found => Ok(Answer::One(found.map(|(_, found)| found.object))),
        }
    }

    /// Users in the order asked for, as far as the caller may see them, rather from a core that is sure of it.
    async fn users(&self, users: Vec<u64>) -> Result<Vec<Option<Found>>> {
        let mut merged: Vec<Option<Found>> = vec![None; users.len()];
        let (bots, all) = self.bots()?;
        for bot in bots {
            let entry = self.live.looker.directory().bot(bot)?;
            fill_users(&self.live.looker, &entry, self.scope, &users, &mut merged).await?;
        }
        if all || merged.iter().all(Option::is_some) { Ok(merged) } else { Err(starting()) }
    }

    async fn names(&self, users: Vec<u64>) -> Result<Answer> {
        let found = self.users(users.clone()).await?;
        Ok(Answer::Names(users.into_iter().zip(found).filter_map(|(user, found)| Some((user, name_of(&found?)?))).collect()))
    }

    async fn channel_threads(&self, channel: u64, page: Page) -> Result<Answer> {
        let homes = self.all(self.all_bots()?, move |cache| cache.guild_of_channel(channel)).await?;
        let mut homes = homes.into_iter().filter_map(|(bot, guild)| Some((bot, guild?)));
        let Some((bot, guild)) = homes.find(|(bot, guild)| self.scope.allows_guild(*bot, *guild)) else { return Ok(listed(None, page)) };
        let looker = &self.live.looker;
        let one = |after, limit| looker.on_guild(bot, guild, move |cache| below(cache, guild, channel, after, limit));
        Ok(listed(Some(in_steps(page.after, page.limit, one).await?), page))
    }

    /// Threads of all guilds: first how many each has, then a few guilds' a look.
    async fn threads(&self, page: Page) -> Result<Answer> {
        let looker = &self.live.looker;
        let mut threads: Vec<Found> = Vec::new();
        for bot in self.all_bots()? {
            let entry = looker.directory().bot(bot)?;
            let scope = self.scope.clone();
            let count = move |cache: &mut Cache| -> Vec<(u64, usize)> {
                let threads = |guild| cache.counts(guild).find(|(kind, _)| *kind == Kind::Thread).map_or(0, |(_, count)| count);
                // What the caller may not see must take no place in what is cut.
                let guilds = cache.guild_ids().filter(|guild| scope.allows_guild(bot, *guild));
                guilds.map(|guild| (guild, threads(guild))).filter(|(_, count)| *count > 0).collect()
            };
            let mut parts: Vec<(ShardId, Vec<u64>)> = Vec::new();
            for (index, guilds) in entry.shards.keys().zip(looker.on_all(bot, count).await?) {
                parts.extend(threads_at_once(&guilds).into_iter().map(|part| (entry.shard(*index), part)));
            }
            let ask = |(shard, guilds): (ShardId, Vec<u64>)| {
                looker.on_shard(shard, move |cache| {
                    let mut threads: Vec<Found> =
                        guilds.into_iter().flat_map(|guild| cache.list(Kind::Thread, guild, page.after, page.limit)).collect();
                    first_of(&mut threads, page.limit);
                    threads
                })
            };
            let mut answers = futures_util::stream::iter(parts).map(ask).buffer_unordered(THREADS_LOOKS);
            while let Some(found) = answers.next().await {
                threads.extend(found?);
                // No more than twice what is asked for lies here at a time.
                if threads.len() >= page.limit.saturating_mul(2) {
                    first_of(&mut threads, page.limit);
                }
            }
        }
        first_of(&mut threads, page.limit);
        // Where anything was cut there are as many as asked for, which says that there may be more.
        Ok(listed(Some(threads), page))
    }

    /// Ids of all of a guild's objects of a kind.
    async fn ids_of(&self, guild: u64, kind: Written) -> Result<Vec<u64>> {
        let ids = match kind {
            Written::Members => {
                let all = Page { after: 0, limit: usize::MAX };
                // Everybody has the role that is called like the guild.
                self.in_steps(guild, all, move |cache, after, limit| cache.member_ids_with_role_step(guild, guild, after, limit)).await?
            }
            // Discord lets a guild have some hundreds.
            _ => self.on(guild, move |cache| cache.list(kind_of(kind), guild, 0, usize::MAX).iter().map(id_of).collect()).await?,
        };
        Ok(ids.unwrap_or_default())
    }

    /// Guilds that the bots are in, as Pylon's `GetStats` counts them: with those that are awaited or unavailable.
    async fn guilds_count(&self) -> Result<Answer> {
        let mut guilds = std::collections::HashSet::new();
        for (bot, ids) in self.all(self.all_bots()?, |cache| cache.guild_ids().collect::<Vec<_>>()).await? {
            guilds.extend(ids.into_iter().filter(|guild| self.scope.allows_guild(bot, *guild)));
        }
        Ok(Answer::Count(guilds.len() as u64))
    }

    async fn in_guilds(&self, user: u64, guilds: Vec<u64>, roles: Vec<u64>) -> Result<Answer> {
        // Everybody has the role that is called like the guild, and no member says so.
        let fits = |guild: u64, member: &Object| roles.is_empty() || roles.contains(&guild) || has_one_of(member, &roles);
        let mut lacking = Vec::new();
        for guild in guilds {
            match self.on(guild, move |cache| cache.member(guild, user)).await?.flatten() {
                Some(member) if fits(guild, &member.object) => return Ok(Answer::Yes(true)),
                Some(_) => {}
                None => lacking.push(guild),
            }
        }
        if lacking.len() > ASKED_GUILDS_MAX {
            return Ok(Answer::Yes(false));
        }
        // Where no cache has the answer, Discord is asked, if the bot is set to do so: for all guilds at once.
        let asked = futures_util::future::join_all(lacking.iter().map(|guild| self.members(*guild, vec![user]))).await;
        let mut unknown = None;
        for (guild, members) in lacking.into_iter().zip(asked) {
            match members {
                Ok(members) if members.iter().flatten().any(|member| fits(guild, member)) => return Ok(Answer::Yes(true)),
                Ok(_) => {}
                Err(error) => unknown = Some(error),
            }
        }
        unknown.map_or(Ok(Answer::Yes(false)), Err)
    }
}

/// Of so many guilds at most Discord is asked whether somebody is in one of them: each is a request of its own, of which a shard may send 60 in a
/// minute. Of more the caches answer.
const ASKED_GUILDS_MAX: usize = 20;

/// Not every bot is up, and one that is not may know more.
fn starting() -> StateError {
    StateError::Later(format!("{}, or name one that is up with ?bot_id=", LookError::Starting))
}

fn of_kind(cache: &Cache, kind: Kind, id: u64) -> Option<Found> {
    cache.one(kind, cache.guild_of_channel(id)?, id)
}

fn emoji_of(cache: &Cache, guild: u64, emoji: u64) -> Option<Found> {
    let list = cache.emojis(guild)?;
    let object = list.object.value().items().find(|one| one.get("id").and_then(Value::as_id) == Some(emoji)).map(Object::copy_of)?;
    Some(Found { object, ..list })
}

/// Those of a channel's threads that are among the next ones of its guild, in id order.
fn below(cache: &Cache, guild: u64, channel: u64, after: u64, limit: usize) -> Step<Found> {
    let part = cache.list(Kind::Thread, guild, after, PAGE);
    let (looked, last) = (part.len(), part.last().map(id_of).filter(|last| *last > after));
    let is_below = |thread: &Found| thread.object.value().get("parent_id").and_then(Value::as_id) == Some(channel);
    let found = part.into_iter().filter(is_below).take(limit).collect();
    Step { found, next: last.filter(|_| looked >= PAGE), looked }
}

/// Guilds with how many threads each has, parted so that one look goes through [`THREADS_AT_ONCE`] at most, or through one guild's.
fn threads_at_once(guilds: &[(u64, usize)]) -> Vec<Vec<u64>> {
    let mut parts: Vec<Vec<u64>> = Vec::new();
    let mut left = 0;
    for (guild, count) in guilds {
        match parts.last_mut().filter(|_| *count <= left) {
            Some(part) => part.push(*guild),
            None => {
                parts.push(vec![*guild]);
                left = THREADS_AT_ONCE;
            }
        }
        left = left.saturating_sub(*count);
    }
    parts
}

/// An object's own id, or its user's.
fn id_of(found: &Found) -> u64 {
    let value = found.object.value();
    let own = value.get("id").or_else(|| value.get("user")?.get("id"));
    own.and_then(Value::as_id).unwrap_or(0)
}

fn name_of(found: &Found) -> Option<String> {
    found.object.value().get("username")?.as_str().map(std::borrow::Cow::into_owned)
}

fn has_one_of(member: &Object, roles: &[u64]) -> bool {
    let value = member.value();
    value.get("roles").is_some_and(|held| held.items().any(|role| role.as_id().is_some_and(|role| roles.contains(&role))))
}

/// The first of many in id order, each once: several bots may hold it.
fn first_of(found: &mut Vec<Found>, limit: usize) {
    found.sort_by_cached_key(|one| (id_of(one), one.stale));
    found.dedup_by_key(|one| id_of(one));
    found.truncate(limit);
}

fn listed(found: Option<Vec<Found>>, page: Page) -> Answer {
    let found = found.unwrap_or_default();
    let next = found.last().map(id_of).filter(|_| found.len() >= page.limit);
    Answer::List { objects: found.into_iter().map(|found| found.object).collect(), next }
}

/// A page of a list that is there as a whole, sorted by id.
fn part_of(objects: Vec<Object>, page: Page) -> Answer {
    let id = |object: &Object| object.value().get("id").and_then(Value::as_id).unwrap_or(0);
    let mut objects: Vec<Object> = objects.into_iter().filter(|object| id(object) > page.after || page.after == 0).collect();
    objects.truncate(page.limit);
    let next = objects.last().map(id).filter(|_| objects.len() >= page.limit);
    Answer::List { objects, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_at_threads_goes_through_no_more_than_so_many_or_one_guilds() {
        let guilds = [(1, 4_000), (2, 96), (3, 1), (4, 9_000), (5, 1), (6, 4_095), (7, 1), (8, 1_000)];
        assert_eq!(threads_at_once(&guilds), [vec![1, 2], vec![3], vec![4], vec![5, 6], vec![7, 8]]);
        assert_eq!(threads_at_once(&[]), Vec::<Vec<u64>>::new());
    }
}

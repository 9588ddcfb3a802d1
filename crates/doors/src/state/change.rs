//! Changes that callers make: told to the caches as the events that Discord would send.

use trunkline_cache::{Cache, Found, Kind};
use trunkline_discord::{Encoding, EventKind, Object};
use trunkline_etf::{JsonWriter, Kind as TermKind, Limits, TermWrite, Value};

use super::PAGE;
use super::live::{Asked, Result};
use super::query::{Answer, StateError, Written};

impl Asked<'_> {
    /// Told to the cache as the events that Discord would send.
    pub(super) async fn put(&self, guild: u64, kind: Written, objects: Vec<(u64, Object)>) -> Result<Answer> {
        self.keeps(guild, kind).await?;
        if kind == Written::Members {
            return self.put_members(guild, objects).await;
        }
        self.no_others(guild, kind, objects.iter().map(|(id, _)| *id).collect()).await?;
        let events = objects.chunks(PAGE).map(|objects| put_events(guild, kind, objects)).collect::<Result<Vec<_>>>()?;
        self.apply_all(guild, events).await
    }

    /// Refuses objects that the bot's caches do not keep: an answer that they are set would be none that holds. Deletions need no refusal, since
    /// what is not kept is gone.
    async fn keeps(&self, guild: u64, written: Written) -> Result<()> {
        let Some(bot) = self.bot_of(guild).await? else { return Ok(()) };
        let kind = kind_of(written);
        if self.live.looker.directory().bot(bot)?.keeps.keeps(kind) {
            return Ok(());
        }
        Err(StateError::Request(format!(
            "nothing was set: the cache of bot {bot} keeps no objects of kind {}, which is switched off in the bot's configuration",
            kind.as_str()
        )))
    }

    /// Users are shared by all guilds: what is known of one stays, unless the caller may change the whole bot.
    async fn put_members(&self, guild: u64, objects: Vec<(u64, Object)>) -> Result<Answer> {
        // What cannot be written is refused before anything is.
        members_event(guild, &objects, |_, _| None)?;
        let bot = self.bot_of(guild).await?;
        let whole = bot.is_some_and(|bot| self.scope.whole_bot(bot));
        if let Some(bot) = bot.filter(|_| !whole) {
            self.no_strangers(bot, guild, objects.iter().map(|(id, _)| *id).collect()).await?;
        }
        let mut parts: Vec<Vec<(u64, Object)>> = objects.chunks(PAGE).map(<[_]>::to_vec).collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        for members in parts {
            // In one look, so that no newer user is put back.
            let done = self.on(guild, move |cache| -> Result<bool> {
                if !cache.is_in(guild) {
                    return Ok(false);
                }
                let known = |id, given| if whole && given { None } else { cache.user(id) };
                let event = members_event(guild, &members, known)?;
                cache.apply(EventKind::GuildMembersChunk, event.value(), &event.bytes);
                Ok(true)
            });
            in_it(guild, done.await?.transpose()?)?;
        }
        Ok(Answer::Done)
    }

    pub(super) async fn delete(&self, guild: u64, kind: Written, ids: Vec<u64>) -> Result<Answer> {
        let parts = delete_parts(guild, kind, &ids);
        self.no_others(guild, kind, ids).await?;
        self.apply_all(guild, parts).await
    }

    /// Refuses users who are known by guilds alone that the caller may not see: as members of its own it could read them.
    async fn no_strangers(&self, bot: u64, guild: u64, users: Vec<u64>) -> Result<()> {
        for users in users.chunks(PAGE).map(<[_]>::to_vec) {
            let scope = self.scope.clone();
            let unseen = move |cache: &mut Cache| {
                let seen = |user: u64| user == bot || cache.mutual_guilds(user).into_iter().any(|guild| scope.allows_guild(bot, guild));
                users.into_iter().find(|user| cache.user(*user).is_some() && !seen(*user))
            };
            if let Some(user) = self.on(guild, unseen).await?.flatten() {
                return Err(stranger(user));
            }
        }
        Ok(())
    }

    /// Refuses channels that another guild has, or none. Roles and members are named by their guild.
    async fn no_others(&self, guild: u64, kind: Written, ids: Vec<u64>) -> Result<()> {
        if kind != Written::Channels {
            return Ok(());
        }
        for ids in ids.chunks(PAGE).map(<[_]>::to_vec) {
            let other = move |cache: &mut Cache| ids.into_iter().find(|channel| is_elsewhere(cache, guild, *channel));
            if let Some(channel) = self.on(guild, other).await?.flatten() {
                return Err(not_of_guild(channel, guild));
            }
        }
        Ok(())
    }

    /// One part after the other, so that a core is not held up; none at all still tells whether the guild is there.
    pub(super) async fn apply_all(&self, guild: u64, mut parts: Vec<Vec<(EventKind, Object)>>) -> Result<Answer> {
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        for events in parts {
            self.apply(guild, events).await?;
        }
        Ok(Answer::Done)
    }

    async fn apply(&self, guild: u64, events: Vec<(EventKind, Object)>) -> Result<()> {
        let done = self.on(guild, move |cache| {
            let known = cache.is_in(guild);
            for (kind, event) in events.iter().filter(|_| known) {
                cache.apply(*kind, event.value(), &event.bytes);
            }
            known
        });
        in_it(guild, done.await?)
    }
}

/// What is answered to a member that is put whom the caller may not see.
#[must_use]
pub fn stranger(user: u64) -> StateError {
    StateError::Forbidden(format!("user {user}, and so may not put it into a guild; nothing was changed"))
}

/// What is answered where a channel is named that another guild has.
#[must_use]
pub fn not_of_guild(channel: u64, guild: u64) -> StateError {
    StateError::Request(format!("channel {channel} is not one of guild {guild}; nothing was changed"))
}

/// Whether a channel is known to be another guild's, or one of direct messages.
fn is_elsewhere(cache: &Cache, guild: u64, channel: u64) -> bool {
    let home = cache.guild_of_channel(channel).or_else(|| Some(cache.messages(channel, u64::MAX, 1).first()?.guild_id));
    home.or_else(|| cache.one(Kind::DirectChannel, 0, channel).map(|_| 0)).is_some_and(|home| home != guild)
}

/// Whether a change met a guild that is known.
fn in_it(guild: u64, known: Option<bool>) -> Result<()> {
    if known == Some(true) { Ok(()) } else { Err(StateError::Unknown(format!("no bot of this process is in guild {guild}"))) }
}

pub(super) fn kind_of(written: Written) -> Kind {
    match written {
        Written::Roles => Kind::Role,
        Written::Members => Kind::Member,
        Written::Channels => Kind::Channel,
    }
}

fn event(write: impl FnOnce(&mut JsonWriter) -> Result<()>) -> Result<Object> {
    let mut writer = JsonWriter::new();
    write(&mut writer)?;
    Ok(Object { encoding: Encoding::Json, bytes: writer.into_vec().into() })
}

fn copied(writer: &mut JsonWriter, value: Value<'_>) -> Result<()> {
    writer.value(value).map_err(|error| StateError::Request(format!("the object cannot be kept: {error}")))
}

/// An object with its id, and its guild's where it has a place for it.
fn with_ids(writer: &mut JsonWriter, id: u64, guild: Option<u64>, object: &Object) -> Result<()> {
    writer.begin_map(0);
    writer.key("id");
    writer.str(&id.to_string());
    if let Some(guild) = guild {
        writer.key("guild_id");
        writer.str(&guild.to_string());
    }
    for (key, value) in object.value().entries().filter(|(key, _)| !(key.is_key("id") || guild.is_some() && key.is_key("guild_id"))) {
        writer.key(&key.as_str().unwrap_or_default());
        copied(writer, value)?;
    }
    writer.end_map();
    Ok(())
}

/// A role or channel that is put, as it is kept: with its id, and its guild's where it has a place for it.
///
/// # Errors
/// [`StateError::Request`] for one that cannot be kept.
pub fn kept_as(kind: Written, guild: u64, id: u64, object: &Object) -> Result<Object> {
    event(|writer| with_ids(writer, id, (kind == Written::Channels).then_some(guild), object))
}

/// A member that is put, as it is kept: without its user, and the user that it brings, which says whether it has a name.
///
/// # Errors
/// [`StateError::Request`] for one that cannot be kept.
pub fn kept_member(id: u64, object: &Object) -> Result<(Object, Object, bool)> {
    let (given, named) = user_in(object);
    let user = event(|writer| with_ids(writer, id, None, &given))?;
    let member = event(|writer| {
        writer.begin_map(0);
        fields_but(writer, object, "user")?;
        writer.end_map();
        Ok(())
    })?;
    Ok((member, user, named))
}

/// The user that a member brings, nothing where it brings none, and whether it has a name.
fn user_in(member: &Object) -> (Object, bool) {
    let given = member.value().get("user").filter(|user| user.kind() == TermKind::Map);
    let named = given.and_then(|user| user.get("username")).is_some_and(|name| name.as_str().is_some());
    let nothing = Object { encoding: Encoding::Json, bytes: bytes::Bytes::from_static(b"{}") };
    (given.map_or(nothing, Object::copy_of), named)
}

fn fields_but(writer: &mut JsonWriter, object: &Object, left_out: &str) -> Result<()> {
    for (key, value) in object.value().entries().filter(|(key, _)| !key.is_key(left_out)) {
        writer.key(&key.as_str().unwrap_or_default());
        copied(writer, value)?;
    }
    Ok(())
}

fn put_events(guild: u64, kind: Written, objects: &[(u64, Object)]) -> Result<Vec<(EventKind, Object)>> {
    let told = |writer: &mut JsonWriter| {
        writer.begin_map(2);
        writer.key("guild_id");
        writer.str(&guild.to_string());
    };
    let role = |(id, object): &(u64, Object)| {
        event(|writer| {
            told(writer);
            writer.key("role");
            with_ids(writer, *id, None, object)?;
            writer.end_map();
            Ok(())
        })
        .map(|event| (EventKind::GuildRoleCreate, event))
    };
    match kind {
        Written::Roles => objects.iter().map(role).collect(),
        Written::Channels => {
            objects.iter().map(|(id, object)| kept_as(kind, guild, *id, object).map(|event| (EventKind::ChannelCreate, event))).collect()
        }
        Written::Members => members_event(guild, objects, |_, _| None).map(|chunk| vec![(EventKind::GuildMembersChunk, chunk)]),
    }
}

/// `known`: the user to write for an id, by whether the object brings a whole one of its own.
fn members_event(guild: u64, objects: &[(u64, Object)], known: impl Fn(u64, bool) -> Option<Found>) -> Result<Object> {
    event(|writer| {
        writer.begin_map(4);
        writer.key("guild_id");
        writer.str(&guild.to_string());
        writer.key("members");
        writer.begin_list(objects.len());
        objects.iter().try_for_each(|(id, object)| member(writer, *id, object, &known))?;
        writer.end_list();
        writer.key("chunk_index");
        writer.uint(0);
        writer.key("chunk_count");
        writer.uint(1);
        writer.end_map();
        Ok(())
    })
}

/// A member whose user has its id, whatever the object says.
fn member(writer: &mut JsonWriter, id: u64, object: &Object, known: impl Fn(u64, bool) -> Option<Found>) -> Result<()> {
    let (given, named) = user_in(object);
    writer.begin_map(0);
    writer.key("user");
    match known(id, named) {
        Some(known) => copied(writer, known.object.value())?,
        None => with_ids(writer, id, None, &given)?,
    }
    fields_but(writer, object, "user")?;
    writer.end_map();
    Ok(())
}

pub(super) fn delete_parts(guild: u64, kind: Written, ids: &[u64]) -> Vec<Vec<(EventKind, Object)>> {
    ids.chunks(PAGE).map(|ids| ids.iter().map(|id| delete_event(guild, kind, *id)).collect()).collect()
}

fn delete_event(guild: u64, kind: Written, id: u64) -> (EventKind, Object) {
    let (event, key) = match kind {
        Written::Roles => (EventKind::GuildRoleDelete, "role_id"),
        Written::Channels => (EventKind::ChannelDelete, "id"),
        Written::Members => (EventKind::GuildMemberRemove, "user"),
    };
    let mut writer = JsonWriter::new();
    writer.begin_map(2);
    writer.key("guild_id");
    writer.str(&guild.to_string());
    writer.key(key);
    if key == "user" {
        writer.begin_map(1);
        writer.key("id");
        writer.str(&id.to_string());
        writer.end_map();
    } else {
        writer.str(&id.to_string());
    }
    writer.end_map();
    let object = Object { encoding: Encoding::Json, bytes: writer.into_vec().into() };
    debug_assert!(Value::parse(Encoding::Json, &object.bytes, &Limits::GATEWAY).is_ok());
    (event, object)
}

//! Whom a call is about: bot and guild from its metadata, within the scope of its token.

use std::sync::Arc;

use axum::http::HeaderName;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};
use trunkline_cache::{Cache, Found, Kind, Step};

use crate::access::Scope;
use crate::look::in_steps;
use crate::look::{BotEntry, CommandRefused, LookError, Looker};
use crate::lookups::Lookups;

/// The keys under which an id may be given: ours, and Pylon's.
static BOT_KEYS: [HeaderName; 2] = [HeaderName::from_static("x-trunkline-bot-id"), HeaderName::from_static("x-pylon-bot-id")];
static GUILD_KEYS: [HeaderName; 2] = [HeaderName::from_static("x-trunkline-guild-id"), HeaderName::from_static("x-pylon-guild-id")];

/// A call about a bot.
pub(crate) struct BotCall<'a> {
    pub(super) looker: &'a Looker,
    pub(crate) bot: Arc<BotEntry>,
    pub(super) scope: Scope,
}

/// A call about one guild of a bot.
pub(crate) struct GuildCall<'a> {
    pub(super) looker: &'a Looker,
    pub(crate) bot: Arc<BotEntry>,
    pub(crate) guild: u64,
}

impl Lookups {
    /// The scope of a call's token.
    pub(crate) fn scope_of(&self, metadata: &MetadataMap) -> Result<Scope, Status> {
        self.access.scope(metadata.as_ref()).map_err(|denied| Status::unauthenticated(denied.to_string()))
    }

    /// The bot of a call: that of its metadata, or the only one.
    pub(crate) fn bot_call<T>(&self, request: &Request<T>) -> Result<BotCall<'_>, Status> {
        let scope = self.scope_of(request.metadata())?;
        let directory = self.looker.directory();
        let no_access = |bot| Status::permission_denied(format!("the token's group has no access to bot {bot}; see its `bots`"));
        let allowed = || directory.bots().keys().copied().filter(|bot| scope.allows_bot(*bot)).collect::<Vec<_>>();
        let bot = match (id_of(request.metadata(), &BOT_KEYS)?, scope.bots()) {
            // Before anything is looked up: the answer would tell which other bots there are.
            (Some(bot), _) if !scope.allows_bot(bot) => return Err(no_access(bot)),
            (Some(bot), _) => directory.bot(bot),
            // Of those that are meant for it, who runs here: groups may name bots of other processes.
            (None, Some(bots)) => match (directory.only_bot(), &allowed()[..]) {
                (Ok(bot), _) if scope.allows_bot(bot.id) => Ok(bot),
                (_, [bot]) if bots.len() == 1 || directory.bots().len() >= directory.configured() => directory.bot(*bot),
                (_, []) => directory.bot(bots.first().copied().unwrap_or(0)),
                (_, [_]) => Err(LookError::Starting),
                (_, several) => Err(LookError::WhichBot { known: several.to_vec() }),
            },
            (None, None) => directory.only_bot(),
        };
        let bot = bot.map_err(|error| match error {
            LookError::UnknownBot { bot, .. } => refused(LookError::UnknownBot { bot, known: allowed() }),
            error => refused(error),
        })?;
        if !scope.allows_bot(bot.id) {
            return Err(no_access(bot.id));
        }
        Ok(BotCall { looker: &self.looker, bot, scope })
    }

    /// Bot and guild of a call, where the metadata must name a guild.
    pub(crate) fn guild_call<T>(&self, request: &Request<T>) -> Result<GuildCall<'_>, Status> {
        let call = self.bot_call(request)?;
        let Some(guild) = guild_of(request.metadata())? else {
            return Err(Status::invalid_argument(format!("the call names no guild: put its id into the metadata as {}", GUILD_KEYS[1])));
        };
        call.guild(guild)
    }
}

/// The guild of a call's metadata, where it names one.
pub(super) fn guild_of(metadata: &MetadataMap) -> Result<Option<u64>, Status> {
    id_of(metadata, &GUILD_KEYS)
}

impl<'a> BotCall<'a> {
    /// The same call about one guild.
    pub(super) fn guild(self, guild: u64) -> Result<GuildCall<'a>, Status> {
        if !self.scope.allows_guild(self.bot.id, guild) {
            return Err(Status::permission_denied(format!("the token's group has no access to guild {guild}; see its `guilds`")));
        }
        Ok(GuildCall { looker: self.looker, bot: self.bot, guild })
    }

    /// Refuses a call about the bot as a whole to who may see some guilds only.
    pub(crate) fn whole_bot(&self) -> Result<(), Status> {
        if self.scope.whole_bot(self.bot.id) {
            return Ok(());
        }
        Err(Status::permission_denied(
            "this concerns the whole bot, and the token's group is limited to some guilds; use another group's token",
        ))
    }

    /// Refuses a question about objects that the bot's caches do not keep.
    pub(super) fn keeps(&self, kind: Kind) -> Result<(), Status> {
        keeps(&self.bot, kind)
    }
}

impl GuildCall<'_> {
    /// Refuses a question about objects that the bot's caches do not keep.
    pub(super) fn keeps(&self, kind: Kind) -> Result<(), Status> {
        keeps(&self.bot, kind)
    }

    /// Asks the cache of the guild's shard.
    pub(super) async fn look<R: Send + 'static>(&self, look: impl FnOnce(&mut Cache, u64) -> R + Send + 'static) -> Result<R, Status> {
        let guild = self.guild;
        self.looker.on_guild(self.bot.id, guild, move |cache| look(cache, guild)).await.map_err(refused)
    }

    /// Whether the bot is in the guild, and whether that has an outage.
    pub(crate) async fn stands(&self) -> Result<(bool, bool), Status> {
        self.look(|cache, guild| (cache.is_in(guild), cache.has_outage(guild))).await
    }

    /// Asks it step by step (above an id, for so many at most), between which its core goes on with what else it has to do.
    pub(super) async fn look_in_steps<T: Send + 'static>(
        &self,
        after: u64,
        limit: usize,
        step: impl Fn(&mut Cache, u64, u64, usize) -> Step<T> + Clone + Send + 'static,
    ) -> Result<Vec<T>, Status> {
        let one = |after, limit| {
            let step = step.clone();
            self.look(move |cache, guild| step(cache, guild, after, limit))
        };
        in_steps(after, limit, one).await
    }

    /// A member, asked of Discord where the cache lacks it and the bot is set to do so.
    pub(super) async fn member(&self, user: u64) -> Result<Option<Found>, Status> {
        self.looker.member(self.bot.id, self.guild, user).await.map_err(refused)
    }

    /// Members, asked of Discord where the cache lacks them and the bot is set to do so.
    pub(super) async fn members(&self, users: &[u64]) -> Result<Vec<Option<Found>>, Status> {
        self.looker.members(self.bot.id, self.guild, users).await.map_err(refused)
    }
}

fn keeps(bot: &BotEntry, kind: Kind) -> Result<(), Status> {
    // A depth of 0 keeps none either.
    if bot.keeps.keeps(kind) && (kind != Kind::Message || bot.keeps.message_count > 0) {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "the cache of bot {} keeps no objects of kind {}: it is switched off in the bot's configuration",
        bot.id,
        kind.as_str()
    )))
}

/// An id under one of several keys. Given twice, it must be the same.
fn id_of(metadata: &MetadataMap, keys: &'static [HeaderName; 2]) -> Result<Option<u64>, Status> {
    let mut found: Option<u64> = None;
    for key in keys {
        for value in metadata.as_ref().get_all(key) {
            let digits = value.to_str().ok().map(str::trim).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let id = digits.and_then(|text| text.parse::<u64>().ok()).filter(|id| *id > 0);
            let Some(id) = id else {
                return Err(Status::invalid_argument(format!("the metadata's {key} is not an id: it must be a decimal number above 0")));
            };
            if found.is_some_and(|other| other != id) {
                return Err(Status::invalid_argument(format!(
                    "the metadata has two different ids under {} and {}; keep one",
                    keys[0], keys[1]
                )));
            }
            found = Some(id);
        }
    }
    Ok(found)
}

/// Why there is no answer, in gRPC's words.
pub(super) fn refused(error: LookError) -> Status {
    let text = error.to_string();
    match error {
        LookError::WhichBot { .. } | LookError::WhichBotOfGuild { .. } => {
            Status::invalid_argument(format!("{text}: put its id into the metadata as {}", BOT_KEYS[1]))
        }
        LookError::UnknownBot { .. } | LookError::NoBotOfGuild { .. } | LookError::NotHere { .. } | LookError::NoSuchShard { .. } => {
            Status::not_found(text)
        }
        LookError::Command { why: CommandRefused::Full, .. } => Status::resource_exhausted(text),
        LookError::Starting
        | LookError::ShardAway { .. }
        | LookError::Busy { .. }
        | LookError::NoAnswer { .. }
        | LookError::MembersUnknown { .. }
        | LookError::Outage { .. }
        | LookError::Stopping
        | LookError::Command { why: CommandRefused::NotRunning, .. } => Status::unavailable(text),
    }
}

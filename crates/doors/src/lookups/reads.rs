//! What lookups read of a cache that is more than one call of it.

use std::collections::BTreeSet;

use tonic::Status;
use trunkline_cache::{Cache, Found, Kind, MemberQuery};
use trunkline_discord::ShardId;
use trunkline_etf::Value;
use trunkline_wire::model;
use trunkline_wire::pylon::discord::v1::cache::FindGuildMembersRequest;
use trunkline_wire::pylon::discord::v1::model::EmojiData;
use trunkline_wire::pylon::discord::v1::model::presence_data::OnlineStatus;

use crate::access::Scope;
use crate::look::{BotEntry, Caches, LookError, Looker};
use crate::lookups::Lookups;
use crate::lookups::call::{BotCall, refused};

/// Bytes of a name or prefix that is searched for. Discord's names have at most 32 characters.
pub const NAME_BYTES_MAX: usize = 256;

/// Guilds that a search over all guilds reads in one look: a core does not stay with it for longer than some tens of microseconds.
pub const SCAN_GUILDS: usize = 64;

/// Shards that are asked for a user that is nothing but stale in those before.
const SHARDS_ASKED_MAX: usize = 8;

/// Voice states of a guild that one look reads.
const VOICE_STEP: usize = 1_000;

/// What a request asks members for; which part of them is another question.
pub(super) fn member_query(request: &FindGuildMembersRequest) -> Result<MemberQuery, Status> {
    for (field, text) in [("name", &request.name), ("prefix", &request.prefix)] {
        if text.as_ref().is_some_and(|text| text.len() > NAME_BYTES_MAX) {
            return Err(Status::invalid_argument(format!("{field} is longer than {NAME_BYTES_MAX} bytes: no member has such a name")));
        }
    }
    let status = match OnlineStatus::try_from(request.status) {
        Ok(OnlineStatus::Unknown) => None,
        Ok(OnlineStatus::Online) => Some("online"),
        Ok(OnlineStatus::Idle) => Some("idle"),
        Ok(OnlineStatus::Dnd) => Some("dnd"),
        // Discord shows who is invisible as offline.
        Ok(OnlineStatus::Invisible | OnlineStatus::Offline) => Some("offline"),
        Err(_) => return Err(Status::invalid_argument(format!("status {} is none of the known ones", request.status))),
    };
    Ok(MemberQuery {
        name: request.name.clone(),
        prefix: request.prefix.clone(),
        status: status.map(str::to_owned),
        role: request.role_id.map(|role| role.value),
        ..MemberQuery::default()
    })
}

/// The element of a list object with this id.
pub(super) fn in_list(list: Value<'_>, id: u64) -> Option<Value<'_>> {
    list.items().find(|item| item.get("id").and_then(Value::as_id) == Some(id))
}

/// One step through a guild's voice states.
pub(super) struct VoiceStep {
    /// Those in the channel, each with its member.
    pub(super) found: Vec<(Found, Option<Found>)>,
    /// The last user looked at, when there may be more.
    pub(super) next: Option<u64>,
}

/// The voice states of a channel among the next ones of its guild.
pub(super) fn voice_states(cache: &Cache, guild: u64, channel: u64, after: u64) -> VoiceStep {
    let all = cache.list(Kind::VoiceState, guild, after, VOICE_STEP);
    let user_of = |found: &Found| found.object.value().get("user_id").and_then(Value::as_id);
    let next = if all.len() < VOICE_STEP { None } else { all.last().and_then(user_of) };
    let in_channel = |found: &Found| found.object.value().get("channel_id").and_then(Value::as_id) == Some(channel);
    let found = all.into_iter().filter(in_channel).map(|state| {
        let member = user_of(&state).and_then(|user| cache.member(guild, user));
        (state, member)
    });
    VoiceStep { found: found.collect(), next }
}

/// Some users over all of a bot's cores, as far as the caller may see them, into the places of those that are not known, or may be old: from
/// a core that is sure of a user before one that is not, and from the one of the lowest shard before others, since Discord tells of the bot
/// itself there (USER_UPDATE names no guild, and what names none comes over shard 0).
///
/// # Errors
/// As [`Looker::on_cores`].
pub(crate) async fn fill_users(
    looker: &Looker,
    bot: &BotEntry,
    scope: &Scope,
    users: &[u64],
    known: &mut [Option<Found>],
) -> Result<(), LookError> {
    let (entry, scope, users) = (bot.clone(), scope.clone(), users.to_vec());
    let look = move |caches: &mut dyn Caches, shards: &[ShardId]| {
        let lowest = shards.iter().map(|shard| shard.index).min();
        let found: Vec<Option<Found>> = users.iter().map(|user| known_user(caches, shards, &entry, &scope, *user)).collect();
        (lowest, found)
    };
    let mut answers = looker.on_cores(bot.id, look).await?;
    answers.sort_by_key(|(lowest, _)| *lowest);
    for (_, answer) in answers {
        for (place, found) in known.iter_mut().zip(answer) {
            if place.as_ref().is_none_or(|known| known.stale) && found.is_some() {
                *place = found;
            }
        }
    }
    Ok(())
}

/// A user as a core knows it, if the caller may see a guild in which it is a member; the bot's own user always.
fn known_user(caches: &mut dyn Caches, shards: &[ShardId], bot: &BotEntry, scope: &Scope, user: u64) -> Option<Found> {
    // All of a bot's shards on a core share their users.
    let any = caches.cache(*shards.first()?)?;
    if user == bot.id {
        return any.user(user);
    }
    let mut seen: Option<Found> = None;
    let mut asked: Vec<ShardId> = Vec::new();
    for guild in any.mutual_guilds(user).into_iter().filter(|guild| scope.allows_guild(bot.id, *guild)) {
        let shard = bot.shard_of(guild);
        if asked.contains(&shard) {
            continue;
        }
        // The shard of a guild that has told of the user knows whether that is old.
        let found = caches.cache(shard).and_then(|cache| cache.user(user));
        if let Some(found) = found {
            let fresh = !found.stale;
            seen = Some(found);
            if fresh {
                break;
            }
        }
        asked.push(shard);
        if asked.len() == SHARDS_ASKED_MAX {
            break;
        }
    }
    seen
}

impl Lookups {
    /// A user over all of a bot's guilds that the call may see; the bot's own user always.
    pub(super) async fn user(&self, call: &BotCall<'_>, user: u64) -> Result<Option<Found>, Status> {
        Ok(self.users(call, vec![user]).await?.pop().flatten())
    }

    /// The same for several users, in their order.
    pub(super) async fn users(&self, call: &BotCall<'_>, users: Vec<u64>) -> Result<Vec<Option<Found>>, Status> {
        if users.iter().any(|user| *user != call.bot.id) {
            // Users are known by their memberships.
            call.keeps(Kind::Member)?;
        }
        let mut merged: Vec<Option<Found>> = vec![None; users.len()];
        fill_users(call.looker, &call.bot, &call.scope, &users, &mut merged).await.map_err(refused)?;
        Ok(merged)
    }

    /// The guilds where a user is a known member, of those that the call may see: ascending, above `after`, at most `limit`; each with what
    /// is known of the guild.
    pub(super) async fn mutual_guilds(&self, call: &BotCall<'_>, user: u64, after: u64, limit: usize) -> Result<Vec<Found>, Status> {
        call.keeps(Kind::Member)?;
        let bot = call.bot.id;
        let look = move |caches: &mut dyn Caches, shards: &[ShardId]| {
            // The users of a core are those of all its shards.
            shards.first().and_then(|shard| caches.cache(*shard)).map(|cache| cache.mutual_guilds(user)).unwrap_or_default()
        };
        let answers = call.looker.on_cores(bot, look).await.map_err(refused)?;
        let guilds: BTreeSet<u64> =
            answers.into_iter().flatten().filter(|guild| *guild > after && call.scope.allows_guild(bot, *guild)).collect();
        let mut found = Vec::new();
        let guilds: Vec<u64> = guilds.into_iter().take(limit).collect();
        for some in guilds.chunks(SCAN_GUILDS) {
            found.extend(self.guilds(call, some.to_vec()).await?);
        }
        Ok(found)
    }

    /// Guild objects by id, in the order given; those that are not there are left out.
    async fn guilds(&self, call: &BotCall<'_>, guilds: Vec<u64>) -> Result<Vec<Found>, Status> {
        let mut order: Vec<(u64, Option<Found>)> = guilds.iter().map(|guild| (*guild, None)).collect();
        let entry = call.bot.clone();
        let look = move |caches: &mut dyn Caches, shards: &[ShardId]| -> Vec<(u64, Found)> {
            let ours = guilds.iter().filter(|guild| shards.contains(&entry.shard_of(**guild)));
            ours.filter_map(|guild| Some((*guild, caches.cache(entry.shard_of(*guild))?.guild(*guild)?))).collect()
        };
        for (guild, found) in call.looker.on_cores(call.bot.id, look).await.map_err(refused)?.into_iter().flatten() {
            if let Some(place) = order.iter_mut().find(|(id, _)| *id == guild) {
                place.1 = Some(found);
            }
        }
        Ok(order.into_iter().filter_map(|(_, found)| found).collect())
    }

    /// An emoji by its id alone. There is no index by emoji: every guild's list is gone through, a few guilds a look.
    pub(super) async fn emoji(&self, call: &BotCall<'_>, id: u64) -> Result<Option<(EmojiData, bool)>, Status> {
        call.keeps(Kind::Emojis)?;
        for index in call.bot.shards.keys() {
            let shard = call.bot.shard(*index);
            let guilds: Vec<u64> = call.looker.on_shard(shard, |cache| cache.guild_ids().collect()).await.map_err(refused)?;
            for some in guilds.chunks(SCAN_GUILDS) {
                let some: Vec<u64> = some.iter().copied().filter(|guild| call.scope.allows_guild(call.bot.id, *guild)).collect();
                let look = move |cache: &mut Cache| some.into_iter().filter_map(|guild| cache.emojis(guild)).collect::<Vec<_>>();
                for found in call.looker.on_shard(shard, look).await.map_err(refused)? {
                    if let Some(item) = in_list(found.object.value(), id) {
                        return Ok(Some((model::emoji(item, found.guild_id), found.stale)));
                    }
                }
            }
        }
        Ok(None)
    }
}

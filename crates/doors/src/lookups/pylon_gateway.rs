//! Pylon's `Gateway`: questions over all guilds of a bot, and commands to its sessions.

use tokio::sync::SemaphorePermit;
use tokio::time::timeout;
use tonic::{Request, Response, Status};
use trunkline_cache::{Cache, Kind};
use trunkline_discord::Op;
use trunkline_etf::Value;
use trunkline_wire::model;
use trunkline_wire::pylon::discord::v1::gateway::*;
use trunkline_wire::pylon::gateway::v1::service::gateway_server::Gateway;

use crate::look::LOOK_PATIENCE;
use crate::lookups::call::{guild_of, refused};
use crate::lookups::page::{Page, limit_of, one};
use crate::lookups::{Lookups, commands};

/// Searches over all guilds at once: each reads every guild of a bot, and more would hold up the other lookups.
pub const SCANS_AT_ONCE: usize = 4;

/// Discord docs, Channel Resource: Channel Types that have voice.
const VOICE_TYPES: [u64; 2] = [2, 13];

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Gateway for Lookups {
    async fn update_voice_state(&self, request: Request<UpdateVoiceStateRequest>) -> Answer<UpdateVoiceStateResponse> {
        let call = self.bot_call(&request)?;
        let named = guild_of(request.metadata())?;
        let wanted = request.get_ref();
        let guild = match (wanted.guild_id, named) {
            (0, Some(guild)) => guild,
            (0, None) => return Err(Status::invalid_argument("guild_id is missing: whose voice state?")),
            (guild, Some(named)) if guild != named => {
                return Err(Status::invalid_argument("guild_id is not the guild of the call's metadata; keep one of them"));
            }
            (guild, _) => guild,
        };
        let call = call.guild(guild)?;
        let channel = wanted.channel_id;
        let known = call.look(move |cache, _| cache.channel(channel)).await?;
        // A channel that is not in the cache may be there all the same: Discord decides.
        if let Some(known) = known {
            if known.guild_id != guild {
                // Which one it is in may be none of the caller's business.
                return Err(Status::invalid_argument(format!("channel {channel} is not in guild {guild}")));
            }
            let voice = known.object.value().get("type").and_then(Value::as_u64).is_none_or(|kind| VOICE_TYPES.contains(&kind));
            if !voice {
                return Err(Status::invalid_argument(format!("channel {channel} has no voice")));
            }
        }
        let shard = call.bot.shard_of(guild);
        call.looker.command(shard, Op::VoiceStateUpdate, commands::voice_state(guild, wanted)).await.map_err(refused)?;
        Ok(Response::new(UpdateVoiceStateResponse {}))
    }

    async fn update_status(&self, request: Request<UpdateStatusRequest>) -> Answer<UpdateStatusResponse> {
        let call = self.bot_call(&request)?;
        call.whole_bot()?;
        let payload = commands::presence(request.get_ref())?;
        let shards: Vec<u32> = match request.get_ref().shard_id {
            Some(index) if index >= call.bot.count => {
                return Err(Status::invalid_argument(format!(
                    "shard_id {index}: bot {} has shards 0 to {}",
                    call.bot.id,
                    call.bot.count - 1
                )));
            }
            Some(index) => vec![index],
            None => call.bot.shards.keys().copied().collect(),
        };
        for (done, index) in shards.iter().enumerate() {
            let sent = call.looker.command(call.bot.shard(*index), Op::PresenceUpdate, payload.clone()).await;
            sent.map_err(|error| {
                let status = refused(error);
                // A retry sets the same presence again where it is set already, which is harmless.
                let text = format!("{}; {done} of {} shards have the new status, call again", status.message(), shards.len());
                if shards.len() == 1 { status } else { Status::new(status.code(), text) }
            })?;
        }
        Ok(Response::new(UpdateStatusResponse {}))
    }

    async fn find_user(&self, request: Request<FindUserRequest>) -> Answer<FindUserResponse> {
        let (user, stale) = one(self.user(&self.bot_call(&request)?, request.get_ref().user_id).await?, |value, _| model::user(value));
        Ok(Response::new(FindUserResponse { user, stale }))
    }

    async fn find_user_mutual_guilds(&self, request: Request<GetUserMutualGuildsRequest>) -> Answer<GetUserMutualGuildsResponse> {
        let call = self.bot_call(&request)?;
        let wanted = request.get_ref();
        let limit = limit_of(wanted.limit);
        let found = self.mutual_guilds(&call, wanted.user_id, wanted.after, limit + 1).await?;
        let page = Page::of_found(found, limit, |value, _| model::guild(value));
        Ok(Response::new(GetUserMutualGuildsResponse { guilds: page.items, stale: page.stale, more: page.more }))
    }

    async fn find_emoji(&self, request: Request<FindEmojiRequest>) -> Answer<FindEmojiResponse> {
        let call = self.bot_call(&request)?;
        let _place = self.scan_place().await?;
        let (emoji, stale) = match self.emoji(&call, request.get_ref().emoji_id).await? {
            Some((emoji, stale)) => (Some(emoji), stale),
            None => (None, false),
        };
        Ok(Response::new(FindEmojiResponse { emoji, stale }))
    }

    async fn get_stats(&self, request: Request<GetStatsRequest>) -> Answer<GetStatsResponse> {
        let call = self.bot_call(&request)?;
        call.whole_bot()?;
        let shards = call.looker.on_all(call.bot.id, stats_of).await.map_err(refused)?;
        let mut stats = GetStatsResponse { shard_count: u32::try_from(shards.len()).unwrap_or(u32::MAX), ..GetStatsResponse::default() };
        for shard in shards {
            stats.guild_count += shard.guild_count;
            stats.user_count += shard.user_count;
            stats.member_count += shard.member_count;
            stats.connected_channels += shard.connected_channels;
        }
        Ok(Response::new(stats))
    }
}

/// One shard's part of the statistics.
fn stats_of(cache: &mut Cache) -> GetStatsResponse {
    let own = cache.own_user_id();
    let in_voice = |guild: &u64| own.is_some_and(|own| cache.voice_state(*guild, own).is_some());
    GetStatsResponse {
        // Those that READY has named and Discord has not told yet, or cannot, are guilds that the bot is in all the same.
        guild_count: cache.guild_ids().count() as u64,
        user_count: cache.size(Kind::User).count,
        member_count: cache.size(Kind::Member).count,
        // A bot is in at most one voice channel of a guild.
        connected_channels: cache.guild_ids().filter(in_voice).count() as u64,
        shard_count: 1,
    }
}

impl Lookups {
    async fn scan_place(&self) -> Result<SemaphorePermit<'_>, Status> {
        match timeout(LOOK_PATIENCE, self.scans.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            // It is never closed.
            Ok(Err(_)) => Err(Status::unavailable("this process is stopping")),
            Err(_) => Err(Status::resource_exhausted(format!("{SCANS_AT_ONCE} searches over all guilds are under way; try again later"))),
        }
    }
}

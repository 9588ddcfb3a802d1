//! Pylon's `GatewayCache`: 14 lookups in one guild of one bot.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::http;
use hyper::body::Incoming;
use tonic::codegen::BoxFuture;
use tonic::{Request, Response, Status};
use trunkline_cache::{Cache, Found, Kind, MemberQuery};
use trunkline_wire::model;
use trunkline_wire::pylon::discord::v1::cache::*;
use trunkline_wire::pylon::discord::v1::model::VoiceStateData;
use trunkline_wire::pylon::gateway::v1::service::gateway_cache_server::GatewayCache;

use crate::lookups::Lookups;
use crate::lookups::page::{Page, limit_of, of_list, one};
use crate::lookups::reads;
use crate::unary;

type Answer<T> = Result<Response<T>, Status>;

/// Answers a call of this service without what routes it elsewhere: single gets are asked by the ten thousand.
///
/// # Errors
/// The request itself, where it is for somebody else.
pub(crate) fn answer(
    lookups: &Arc<Lookups>,
    request: http::Request<Incoming>,
) -> Result<BoxFuture<http::Response<Body>, Infallible>, Box<http::Request<Incoming>>> {
    const SERVICE: &str = "/pylon.gateway.v1.service.GatewayCache/";
    let Some(method) = request.uri().path().strip_prefix(SERVICE) else { return Err(Box::new(request)) };
    macro_rules! methods {
        ($($name:literal $method:ident,)*) => {
            match method {
                $($name => {
                    let lookups = lookups.clone();
                    Ok(Box::pin(async move { Ok(unary::answer(request, async |request| lookups.$method(request).await).await) }))
                })*
                _ => Err(Box::new(request)),
            }
        };
    }
    methods! {
        "GetGuildMember" get_guild_member,
        "GetGuild" get_guild,
        "ListGuildChannels" list_guild_channels,
        "GetGuildChannel" get_guild_channel,
        "ListGuildMembers" list_guild_members,
        "FindGuildMembers" find_guild_members,
        "GetGuildMemberPresence" get_guild_member_presence,
        "ListGuildRoles" list_guild_roles,
        "GetGuildRole" get_guild_role,
        "ListGuildEmojis" list_guild_emojis,
        "GetGuildEmoji" get_guild_emoji,
        "GetGuildMemberVoiceState" get_guild_member_voice_state,
        "ListGuildChannelVoiceStates" list_guild_channel_voice_states,
        "GetUser" get_user,
    }
}

#[tonic::async_trait]
impl GatewayCache for Lookups {
    async fn get_guild(&self, request: Request<GetGuildRequest>) -> Answer<GetGuildResponse> {
        let call = self.guild_call(&request)?;
        let found = call.look(|cache, guild| cache.guild_or_stub(guild)).await?;
        let (guild, stale) = one(found, |value, _| model::guild(value));
        Ok(Response::new(GetGuildResponse { guild, stale }))
    }

    async fn list_guild_channels(&self, request: Request<ListGuildChannelsRequest>) -> Answer<ListGuildChannelsResponse> {
        let call = self.guild_call(&request)?;
        call.keeps(Kind::Channel)?;
        let (after, limit) = (request.get_ref().after, limit_of(request.get_ref().limit));
        let found = call.look(move |cache, guild| cache.list(Kind::Channel, guild, after, limit + 1)).await?;
        let page = Page::of_found(found, limit, |value, guild| model::channel(value, Some(guild)));
        Ok(Response::new(ListGuildChannelsResponse { channels: page.items, stale: page.stale, more: page.more }))
    }

    /// A thread is a channel here, as in Discord's own answers.
    async fn get_guild_channel(&self, request: Request<GetGuildChannelRequest>) -> Answer<GetGuildChannelResponse> {
        let call = self.guild_call(&request)?;
        call.keeps(Kind::Channel)?;
        let id = request.get_ref().channel_id;
        let found = call.look(move |cache, guild| cache.channel(id).filter(|found| found.guild_id == guild)).await?;
        let (channel, stale) = one(found, |value, guild| model::channel(value, Some(guild)));
        Ok(Response::new(GetGuildChannelResponse { channel, stale }))
    }

    async fn list_guild_members(&self, request: Request<ListGuildMembersRequest>) -> Answer<ListGuildMembersResponse> {
        let call = self.guild_call(&request)?;
        call.keeps(Kind::Member)?;
        let (after, limit) = (request.get_ref().after, limit_of(request.get_ref().limit));
        let step = |cache: &mut Cache, guild, after, limit| cache.page_step(Kind::Member, guild, after, limit);
        let found = call.look_in_steps(after, limit + 1, step).await?;
        let page = Page::of_found(found, limit, model::member);
        Ok(Response::new(ListGuildMembersResponse { members: page.items, stale: page.stale, more: page.more }))
    }

    /// A member that the cache lacks is asked of Discord, where the bot is set to do so.
    async fn get_guild_member(&self, request: Request<GetGuildMemberRequest>) -> Answer<GetGuildMemberResponse> {
        let call = self.guild_call(&request)?;
        call.keeps(Kind::Member)?;
        let found = call.member(request.get_ref().user_id).await?;
        let (member, stale) = one(found, model::member);
        Ok(Response::new(GetGuildMemberResponse { member, stale }))
    }

    async fn find_guild_members(&self, request: Request<FindGuildMembersRequest>) -> Answer<FindGuildMembersResponse> {
        let call = self.guild_call(&request)?;
        call.keeps(Kind::Member)?;
        let limit = limit_of(request.get_ref().limit);
        let query = reads::member_query(request.get_ref())?;
        if query.status.is_some() {
            call.keeps(Kind::Presence)?;
        }
        let step =
            move |cache: &mut Cache, guild, after, limit| cache.find_members_step(guild, &MemberQuery { after, limit, ..query.clone() });
        let found = call.look_in_steps(request.get_ref().after, limit + 1, step).await?;
        let page = Page::of_found(found, limit, model::member);
        Ok(Response::new(FindGuildMembersResponse { members: page.items, stale: page.stale, more: page.more }))
    }

    /// Offline members have no presence.
    async fn get_guild_member_presence(&self, request: Request<GetGuildMemberPresenceRequest>) -> Answer<GetGuildMemberPresenceResponse> {
        let call = self.guild_call(&request)?;
        call.keeps(Kind::Presence)?;
        let id = request.get_ref().user_id;
        let found = call.look(move |cache, guild| cache.presence(guild, id)).await?;
        let (presence, stale) = one(found, model::presence);
        Ok(Response::new(GetGuildMemberPresenceResponse { presence, stale }))
    }

    async fn list_guild_roles(&self, request: Request<ListGuildRolesRequest>) -> Answer<ListGuildRolesResponse> {
        let call = self.guild_call(&request)?;
        call.keeps(Kind::Role)?;
        let (after, limit) = (request.get_ref().after, limit_of(request.get_ref().limit));
        let found = call.look(move |cache, guild| cache.list(Kind::Role, guild, after, limit + 1)).await?;
        let page = Page::of_found(found, limit, model::role);
        Ok(Response::new(ListGuildRolesResponse { roles: page.items, stale: page.stale, more: page.more }))
    }

    async fn get_guild_role(&self, request: Request<GetGuildRoleRequest>) -> Answer<GetGuildRoleResponse> {
        let call = self.guild_call(&request)?;
        call.keeps(Kind::Role)?;
        let id = request.get_ref().role_id;
        let found = call.look(move |cache, guild| cache.role(guild, id)).await?;
        let (role, stale) = one(found, model::role);
        Ok(Response::new(GetGuildRoleResponse { role, stale }))
    }

    async fn list_guild_emojis(&self, request: Request<ListGuildEmojisRequest>) -> Answer<ListGuildEmojisResponse> {
        let call = self.guild_call(&request)?;
        call.keeps(Kind::Emojis)?;
        let (after, limit) = (request.get_ref().after, limit_of(request.get_ref().limit));
        let Some(found) = call.look(|cache, guild| cache.emojis(guild)).await? else {
            return Ok(Response::new(ListGuildEmojisResponse::default()));
        };
        let items = of_list(found.object.value(), after, limit);
        let page = Page::of(items, limit, |_| found.stale, |(_, item)| model::emoji(item, found.guild_id));
        Ok(Response::new(ListGuildEmojisResponse { emojis: page.items, stale: page.stale, more: page.more }))
    }

    async fn get_guild_emoji(&self, request: Request<GetGuildEmojiRequest>) -> Answer<GetGuildEmojiResponse> {
        let call = self.guild_call(&request)?;
        call.keeps(Kind::Emojis)?;
        let id = request.get_ref().emoji_id;
        let Some(found) = call.look(|cache, guild| cache.emojis(guild)).await? else {
            return Ok(Response::new(GetGuildEmojiResponse::default()));
        };
        let emoji = reads::in_list(found.object.value(), id).map(|item| model::emoji(item, found.guild_id));
        let stale = emoji.is_some() && found.stale;
        Ok(Response::new(GetGuildEmojiResponse { emoji, stale }))
    }

    async fn get_guild_member_voice_state(
        &self,
        request: Request<GetGuildMemberVoiceStateRequest>,
    ) -> Answer<GetGuildMemberVoiceStateResponse> {
        let call = self.guild_call(&request)?;
        call.keeps(Kind::VoiceState)?;
        let id = request.get_ref().user_id;
        let found = call.look(move |cache, guild| Some((cache.voice_state(guild, id)?, cache.member(guild, id)))).await?;
        let stale = found.as_ref().is_some_and(|(state, _)| state.stale);
        Ok(Response::new(GetGuildMemberVoiceStateResponse { voice_state_data: found.map(voice_state), stale }))
    }

    async fn list_guild_channel_voice_states(
        &self,
        request: Request<ListGuildChannelVoiceStatesRequest>,
    ) -> Answer<ListGuildChannelVoiceStatesResponse> {
        let call = self.guild_call(&request)?;
        call.keeps(Kind::VoiceState)?;
        let (channel, limit) = (request.get_ref().channel_id, limit_of(request.get_ref().limit));
        let mut after = request.get_ref().after;
        // The cache has no list by channel: the guild's is gone through in steps, none of which keeps the core for long.
        let mut found = Vec::new();
        while found.len() <= limit {
            let step = call.look(move |cache, guild| reads::voice_states(cache, guild, channel, after)).await?;
            found.extend(step.found);
            match step.next {
                Some(next) => after = next,
                None => break,
            }
        }
        let page = Page::of(found, limit, |(state, _)| state.stale, voice_state);
        Ok(Response::new(ListGuildChannelVoiceStatesResponse { voice_states_data: page.items, stale: page.stale, more: page.more }))
    }

    async fn get_user(&self, request: Request<GetUserRequest>) -> Answer<GetUserResponse> {
        let (user, stale) = one(self.user(&self.bot_call(&request)?, request.get_ref().user_id).await?, |value, _| model::user(value));
        Ok(Response::new(GetUserResponse { user, stale }))
    }
}

/// A voice state with its member: Discord puts one into its events and none into the lists of a guild.
fn voice_state((state, member): (Found, Option<Found>)) -> VoiceStateData {
    let mut out = model::voice_state(state.object.value(), state.guild_id);
    if let Some(member) = member
        && out.member.as_ref().is_none_or(|known| known.user.is_none())
    {
        out.member = Some(model::member(member.object.value(), member.guild_id));
    }
    out
}

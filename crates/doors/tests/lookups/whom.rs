//! Whom a call is about, who may call, and what is said to those who get no answer.

use http::StatusCode;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use trunkline_cache::Kind;
use trunkline_doors::Scope;
use trunkline_wire::pylon::discord::v1::cache::*;
use trunkline_wire::pylon::discord::v1::gateway::*;
use trunkline_wire::pylon::discord::v1::model::presence_data::OnlineStatus;
use trunkline_wire::trunkline::cache::v1::{GetCountsRequest, GetRequest};

use crate::world::*;

const GUILD_TEXT: &str = "8388608";

#[tokio::test]
async fn bot_and_guild_may_be_given_under_either_name() {
    assert_eq!(GUILD_TEXT, GUILD.to_string());
    let world = World::filled().await;
    let mut cache = world.cache().await;
    for metadata in [
        &[("x-pylon-guild-id", GUILD_TEXT)][..],
        &[("x-trunkline-guild-id", GUILD_TEXT)],
        &[("x-pylon-guild-id", GUILD_TEXT), ("x-pylon-bot-id", "7000")],
        &[("x-trunkline-guild-id", GUILD_TEXT), ("x-trunkline-bot-id", "7000")],
        // Twice the same is no contradiction.
        &[("x-trunkline-guild-id", GUILD_TEXT), ("x-pylon-guild-id", GUILD_TEXT)],
    ] {
        assert!(cache.get_guild(with(GetGuildRequest {}, metadata)).await.unwrap().into_inner().guild.is_some(), "{metadata:?}");
    }
}

#[tokio::test]
async fn missing_and_malformed_metadata_is_told_what_is_wrong_with_it() {
    let world = World::filled().await;
    let mut cache = world.cache().await;
    for (metadata, want) in [
        (&[][..], "the call names no guild: put its id into the metadata as x-pylon-guild-id"),
        (&[("x-pylon-guild-id", "")], "the metadata's x-pylon-guild-id is not an id: it must be a decimal number above 0"),
        (&[("x-pylon-guild-id", "0")], "the metadata's x-pylon-guild-id is not an id: it must be a decimal number above 0"),
        (&[("x-pylon-guild-id", "+123")], "the metadata's x-pylon-guild-id is not an id: it must be a decimal number above 0"),
        (&[("x-trunkline-guild-id", "12x")], "the metadata's x-trunkline-guild-id is not an id: it must be a decimal number above 0"),
        (
            &[("x-pylon-guild-id", "99999999999999999999")],
            "the metadata's x-pylon-guild-id is not an id: it must be a decimal number above 0",
        ),
        (
            &[("x-pylon-guild-id", "1"), ("x-pylon-bot-id", "me")],
            "the metadata's x-pylon-bot-id is not an id: it must be a decimal number above 0",
        ),
        (
            &[("x-pylon-guild-id", "1"), ("x-trunkline-guild-id", "2")],
            "the metadata has two different ids under x-trunkline-guild-id and x-pylon-guild-id; keep one",
        ),
    ] {
        let (code, text) = refusal(cache.get_guild(with(GetGuildRequest {}, metadata)).await);
        assert_eq!((code, text.as_str()), (Code::InvalidArgument, want));
    }
}

#[tokio::test]
async fn every_lookup_in_a_guild_wants_a_guild() {
    let world = World::filled().await;
    let (mut cache, mut own) = (world.cache().await, world.own().await);
    let want = (Code::InvalidArgument, "the call names no guild: put its id into the metadata as x-pylon-guild-id".to_owned());
    assert_eq!(refusal(cache.list_guild_channels(ListGuildChannelsRequest::default()).await), want);
    assert_eq!(refusal(cache.get_guild_channel(GetGuildChannelRequest::default()).await), want);
    assert_eq!(refusal(cache.list_guild_members(ListGuildMembersRequest::default()).await), want);
    assert_eq!(refusal(cache.get_guild_member(GetGuildMemberRequest::default()).await), want);
    assert_eq!(refusal(cache.find_guild_members(FindGuildMembersRequest::default()).await), want);
    assert_eq!(refusal(cache.get_guild_member_presence(GetGuildMemberPresenceRequest::default()).await), want);
    assert_eq!(refusal(cache.list_guild_roles(ListGuildRolesRequest::default()).await), want);
    assert_eq!(refusal(cache.get_guild_role(GetGuildRoleRequest::default()).await), want);
    assert_eq!(refusal(cache.list_guild_emojis(ListGuildEmojisRequest::default()).await), want);
    assert_eq!(refusal(cache.get_guild_emoji(GetGuildEmojiRequest::default()).await), want);
    assert_eq!(refusal(cache.get_guild_member_voice_state(GetGuildMemberVoiceStateRequest::default()).await), want);
    assert_eq!(refusal(cache.list_guild_channel_voice_states(ListGuildChannelVoiceStatesRequest::default()).await), want);
    assert_eq!(refusal(own.get_guild_thread(GetRequest::default()).await), want);
}

#[tokio::test]
async fn a_bot_that_does_not_run_here_is_named_with_those_that_do() {
    let world = World::filled().await;
    let request = with(GetGuildRequest {}, &[("x-pylon-guild-id", "1"), ("x-pylon-bot-id", "6")]);
    let (code, text) = refusal(world.cache().await.get_guild(request).await);
    assert_eq!((code, text.as_str()), (Code::NotFound, "bot 6 does not run in this process; its bots are 7000"));
    let (code, _) = refusal(world.gateway().await.get_stats(with(GetStatsRequest {}, &[("x-pylon-bot-id", "6")])).await);
    assert_eq!(code, Code::NotFound);
}

#[tokio::test]
async fn with_several_bots_a_call_must_name_one() {
    let world = World::with(vec![Bot::new(BOT), Bot::new(OTHER_BOT)], 2, true).await;
    world.fill(BOT).await;
    let mut cache = world.cache().await;
    let (code, text) = refusal(cache.get_guild(of_guild(GUILD, GetGuildRequest {})).await);
    let want = "several bots run in this process (7000, 8000); name one: put its id into the metadata as x-pylon-bot-id";
    assert_eq!((code, text.as_str()), (Code::InvalidArgument, want));
    for (bot, there) in [("7000", true), ("8000", false)] {
        let request = with(GetGuildRequest {}, &[("x-pylon-guild-id", GUILD_TEXT), ("x-pylon-bot-id", bot)]);
        assert_eq!(cache.get_guild(request).await.unwrap().into_inner().guild.is_some(), there);
    }
    assert_eq!(world.looker.bot_of(GUILD, &Scope::default()).await, Ok(BOT));
    world.fill(OTHER_BOT).await;
    let several = world.looker.bot_of(GUILD, &Scope::default()).await.unwrap_err();
    assert_eq!(several.to_string(), "several bots of this process are in guild 8388608 (7000, 8000); name one");
    assert_eq!(
        world.looker.bot_of(4 << 22, &Scope::default()).await.unwrap_err().to_string(),
        "no bot of this process is in guild 16777216"
    );
}

#[tokio::test]
async fn while_bots_come_up_a_call_is_told_to_come_back() {
    let world = World::with(vec![], 1, true).await;
    let (code, text) = refusal(world.cache().await.get_guild(of_guild(GUILD, GetGuildRequest {})).await);
    assert_eq!((code, text.as_str()), (Code::Unavailable, "not every bot of this process has come up yet; try again in a few seconds"));
    let world = World::with(vec![Bot::new(BOT)], 2, true).await;
    let request = with(GetGuildRequest {}, &[("x-pylon-guild-id", "1"), ("x-pylon-bot-id", "6")]);
    assert_eq!(refusal(world.cache().await.get_guild(request).await).0, Code::Unavailable);
}

#[tokio::test]
async fn a_guild_of_another_processs_shard_is_not_found_here() {
    let world = World::with(vec![Bot { here: vec![0], ..Bot::new(BOT) }], 1, true).await;
    let (code, text) = refusal(world.cache().await.get_guild(of_guild(GUILD_B, GetGuildRequest {})).await);
    let want = "guild 12582912 belongs to shard 7000/1/2, which is not in this process";
    assert_eq!((code, text.as_str()), (Code::NotFound, want));
    let request = UpdateVoiceStateRequest { guild_id: GUILD_B, ..Default::default() };
    assert_eq!(refusal(world.gateway().await.update_voice_state(request).await), (Code::NotFound, want.to_owned()));
    let world_b = World::with(vec![Bot { here: vec![1], ..Bot::new(BOT) }], 1, true).await;
    let (code, text) = refusal(world_b.own().await.get_message(GetRequest { id: 5, raw: 0 }).await);
    let want = "direct messages belong to shard 7000/0/2, which is not in this process";
    assert_eq!((code, text.as_str()), (Code::NotFound, want));
    let request = UpdateStatusRequest { shard_id: Some(1), ..Default::default() };
    let (code, text) = refusal(world.gateway().await.update_status(request).await);
    assert_eq!((code, text.as_str()), (Code::NotFound, "shard 7000/1/2 is not in this process"));
}

#[tokio::test]
async fn a_kind_that_is_switched_off_is_not_mistaken_for_nothing_there() {
    for (kind, name) in [
        (Kind::Channel, "channel"),
        (Kind::Member, "member"),
        (Kind::Presence, "presence"),
        (Kind::Role, "role"),
        (Kind::Emojis, "emojis"),
        (Kind::VoiceState, "voice_state"),
        (Kind::Thread, "thread"),
        (Kind::Message, "message"),
    ] {
        let world = World::with(vec![Bot { keeps: without(kind), ..Bot::new(BOT) }], 1, true).await;
        let (mut cache, mut own, mut gateway) = (world.cache().await, world.own().await, world.gateway().await);
        let want = format!("the cache of bot 7000 keeps no objects of kind {name}: it is switched off in the bot's configuration");
        let mut refusals = Vec::new();
        match kind {
            Kind::Channel => {
                refusals.push(refusal(cache.list_guild_channels(of_guild(GUILD, ListGuildChannelsRequest::default())).await));
                refusals.push(refusal(cache.get_guild_channel(of_guild(GUILD, GetGuildChannelRequest::default())).await));
            }
            Kind::Member => {
                refusals.push(refusal(cache.list_guild_members(of_guild(GUILD, ListGuildMembersRequest::default())).await));
                refusals.push(refusal(cache.get_guild_member(of_guild(GUILD, GetGuildMemberRequest::default())).await));
                refusals.push(refusal(cache.find_guild_members(of_guild(GUILD, FindGuildMembersRequest::default())).await));
                refusals.push(refusal(cache.get_user(GetUserRequest { user_id: 1 }).await));
                refusals.push(refusal(gateway.find_user(FindUserRequest { user_id: 1 }).await));
                refusals.push(refusal(gateway.find_user_mutual_guilds(GetUserMutualGuildsRequest::default()).await));
            }
            Kind::Presence => {
                let request = GetGuildMemberPresenceRequest::default();
                refusals.push(refusal(cache.get_guild_member_presence(of_guild(GUILD, request)).await));
                let request = FindGuildMembersRequest { status: OnlineStatus::Online.into(), ..Default::default() };
                refusals.push(refusal(cache.find_guild_members(of_guild(GUILD, request)).await));
            }
            Kind::Role => {
                refusals.push(refusal(cache.list_guild_roles(of_guild(GUILD, ListGuildRolesRequest::default())).await));
                refusals.push(refusal(cache.get_guild_role(of_guild(GUILD, GetGuildRoleRequest::default())).await));
            }
            Kind::Emojis => {
                refusals.push(refusal(cache.list_guild_emojis(of_guild(GUILD, ListGuildEmojisRequest::default())).await));
                refusals.push(refusal(cache.get_guild_emoji(of_guild(GUILD, GetGuildEmojiRequest::default())).await));
                refusals.push(refusal(gateway.find_emoji(FindEmojiRequest { emoji_id: 1 }).await));
            }
            Kind::VoiceState => {
                let request = GetGuildMemberVoiceStateRequest::default();
                refusals.push(refusal(cache.get_guild_member_voice_state(of_guild(GUILD, request)).await));
                let request = ListGuildChannelVoiceStatesRequest::default();
                refusals.push(refusal(cache.list_guild_channel_voice_states(of_guild(GUILD, request)).await));
            }
            Kind::Thread => refusals.push(refusal(own.get_guild_thread(of_guild(GUILD, GetRequest::default())).await)),
            _ => refusals.push(refusal(own.get_message(of_guild(GUILD, GetRequest::default())).await)),
        }
        for refused in refusals {
            assert_eq!(refused, (Code::FailedPrecondition, want.clone()));
        }
    }
}

#[tokio::test]
async fn over_http_a_kind_that_is_switched_off_is_empty_lists_and_404_as_tatsus_callers_know() {
    let guild = format!("guilds/{GUILD}");
    let channel = channel_id(GUILD, 0);
    for (kind, lists, objects) in [
        (Kind::Channel, vec![format!("{guild}/channels")], vec![format!("channels/{channel}")]),
        (
            Kind::Member,
            vec![format!("{guild}/members"), format!("{guild}/members?query=member"), "users?userIDs=1".to_owned()],
            vec![format!("{guild}/members/{}", user_id(GUILD, 1)), format!("users/{}", user_id(GUILD, 1))],
        ),
        (Kind::Presence, vec![], vec![format!("{guild}/members/{}/presence", user_id(GUILD, 1))]),
        (Kind::Role, vec![format!("{guild}/roles")], vec![format!("{guild}/roles/{GUILD}")]),
        (Kind::Emojis, vec![format!("{guild}/emojis")], vec![format!("{guild}/emojis/{}", GUILD + 500)]),
        (Kind::Thread, vec![format!("{guild}/threads"), "threads".to_owned(), format!("channels/{channel}/threads")], vec![]),
        (Kind::Message, vec![], vec![format!("channels/{channel}/messages/1")]),
    ] {
        let world = World::with(vec![Bot { keeps: without(kind), ..Bot::new(BOT) }], 1, true).await;
        world.fill(BOT).await;
        for path in lists {
            assert_eq!(world.http(&path).await, (StatusCode::OK, "[]".to_owned()), "{path}");
        }
        for path in objects {
            assert_eq!(world.http(&path).await.0, StatusCode::NOT_FOUND, "{path}");
        }
    }
    // A list in the guild object is empty too, and the guild is there.
    let world = World::with(vec![Bot { keeps: without(Kind::Stickers), ..Bot::new(BOT) }], 1, true).await;
    world.fill(BOT).await;
    let told: serde_json::Value = serde_json::from_str(&world.http(&guild).await.1).unwrap();
    assert_eq!((&told["name"], &told["stickers"]), (&"first".into(), &serde_json::json!([])));
}

#[tokio::test]
async fn a_groups_token_limits_a_call_to_the_groups_guilds() {
    let world = World::filled().await;
    let (mut cache, mut gateway) = (world.cache().await, world.gateway().await);
    let bearer = ("authorization", "Bearer poppy");
    let guild = |guild: &str| with(GetGuildRequest {}, &[bearer, ("x-pylon-guild-id", guild)]);
    assert!(cache.get_guild(guild(GUILD_TEXT)).await.unwrap().into_inner().guild.is_some());
    let (code, text) = refusal(cache.get_guild(guild(&GUILD_B.to_string())).await);
    let want = "the token's group has no access to guild 12582912; see its `guilds`";
    assert_eq!((code, text.as_str()), (Code::PermissionDenied, want));
    let request = with(UpdateVoiceStateRequest { guild_id: GUILD_B, ..Default::default() }, &[bearer]);
    assert_eq!(refusal(gateway.update_voice_state(request).await).0, Code::PermissionDenied);

    // Over all guilds it sees those of the group.
    let request = with(GetUserMutualGuildsRequest { user_id: SHARED_USER, ..Default::default() }, &[bearer]);
    let guilds = gateway.find_user_mutual_guilds(request).await.unwrap().into_inner().guilds;
    assert_eq!(guilds.iter().map(|guild| guild.id).collect::<Vec<_>>(), [GUILD]);
    for (user_id, there) in [(user_id(GUILD, 1), true), (user_id(GUILD_B, 1), false), (BOT, true)] {
        let answer = gateway.find_user(with(FindUserRequest { user_id }, &[bearer])).await.unwrap().into_inner();
        assert_eq!(answer.user.is_some(), there, "user {user_id}");
    }
    for (guild, there) in [(GUILD, true), (GUILD_B, false)] {
        let answer = gateway.find_emoji(with(FindEmojiRequest { emoji_id: guild + 500 }, &[bearer])).await.unwrap().into_inner();
        assert_eq!(answer.emoji.is_some(), there, "guild {guild}");
    }
    // What concerns the bot as a whole is not for it.
    let want = (
        Code::PermissionDenied,
        "this concerns the whole bot, and the token's group is limited to some guilds; use another group's token".to_owned(),
    );
    assert_eq!(refusal(gateway.get_stats(with(GetStatsRequest {}, &[bearer])).await), want);
    assert_eq!(refusal(gateway.update_status(with(UpdateStatusRequest::default(), &[bearer])).await), want);
    assert_eq!(refusal(world.own().await.get_counts(with(GetCountsRequest {}, &[bearer])).await), want);
    assert_eq!(refusal(world.own().await.get_message(with(GetRequest::default(), &[bearer])).await), want);
}

#[tokio::test]
async fn a_groups_token_limits_a_call_to_the_groups_bots() {
    let world = World::with(vec![Bot::new(BOT), Bot::new(OTHER_BOT)], 2, true).await;
    let request =
        with(GetGuildRequest {}, &[("authorization", "Bearer poppy"), ("x-pylon-guild-id", GUILD_TEXT), ("x-pylon-bot-id", "8000")]);
    let (code, text) = refusal(world.cache().await.get_guild(request).await);
    assert_eq!((code, text.as_str()), (Code::PermissionDenied, "the token's group has no access to bot 8000; see its `bots`"));
    // Which others there are is not said, and of one bot it is the only one: nothing has to be named.
    let request = with(GetGuildRequest {}, &[("authorization", "Bearer poppy"), ("x-pylon-guild-id", GUILD_TEXT), ("x-pylon-bot-id", "5")]);
    let (code, text) = refusal(world.cache().await.get_guild(request).await);
    assert_eq!((code, text.as_str()), (Code::PermissionDenied, "the token's group has no access to bot 5; see its `bots`"));
    world.fill(BOT).await;
    world.fill(OTHER_BOT).await;
    let request = with(GetGuildRequest {}, &[("authorization", "Bearer poppy"), ("x-pylon-guild-id", GUILD_TEXT)]);
    assert_eq!(world.cache().await.get_guild(request).await.unwrap().into_inner().guild.map(|guild| guild.id), Some(GUILD));
    let (code, _) = refusal(world.cache().await.get_guild(of_guild(GUILD, GetGuildRequest {})).await);
    assert_eq!(code, Code::InvalidArgument, "who may ask about both has to say which");
    // A group may name bots that other processes run: here there is one.
    let alone = World::filled_with_groups_of_more_bots().await;
    let request = with(GetGuildRequest {}, &[("authorization", "Bearer poppy"), ("x-pylon-guild-id", GUILD_TEXT)]);
    assert_eq!(alone.cache().await.get_guild(request).await.unwrap().into_inner().guild.map(|guild| guild.id), Some(GUILD));
}

#[tokio::test]
async fn where_a_token_is_needed_a_call_without_one_is_refused() {
    let world = World::with(vec![Bot::new(BOT)], 1, false).await;
    world.fill(BOT).await;
    let mut cache = world.cache().await;
    let (code, text) = refusal(cache.get_guild(of_guild(GUILD, GetGuildRequest {})).await);
    let want = "no token: send `authorization: Bearer <group token>`, or set listen.anonymous = true to let everybody ask";
    assert_eq!((code, text.as_str()), (Code::Unauthenticated, want));
    assert_eq!(refusal(world.gateway().await.get_stats(GetStatsRequest {}).await).0, Code::Unauthenticated);
    assert_eq!(refusal(world.own().await.get_counts(GetCountsRequest {}).await).0, Code::Unauthenticated);
    for (token, good) in [("Bearer sesame", true), ("bearer poppy", true), ("Bearer wrong", false), ("sesame", false)] {
        let request = with(GetGuildRequest {}, &[("authorization", token), ("x-pylon-guild-id", GUILD_TEXT)]);
        match cache.get_guild(request).await {
            Ok(answer) => assert!(good && answer.into_inner().guild.is_some(), "{token}"),
            Err(status) => assert!(!good && status.code() == Code::Unauthenticated && !status.message().contains("sesame"), "{status}"),
        }
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_even_where_none_is_needed() {
    let world = World::filled().await;
    let request = with(GetGuildRequest {}, &[("authorization", "Bearer wrong"), ("x-pylon-guild-id", GUILD_TEXT)]);
    let (code, text) = refusal(world.cache().await.get_guild(request).await);
    assert_eq!(code, Code::Unauthenticated);
    assert!(text.starts_with("wrong token: no worker group has it"), "{text}");
}

#[tokio::test]
async fn reflection_and_health_know_the_services() {
    let world = World::filled().await;
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", world.address)).unwrap().connect().await.unwrap();
    let mut reflection = ServerReflectionClient::new(channel.clone());
    let request = |asked| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
        Request::new(tokio_stream::once(request))
    };
    let mut answers = reflection.server_reflection_info(request(MessageRequest::ListServices(String::new()))).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) = answers.message().await.unwrap().unwrap().message_response else {
        panic!("no list")
    };
    let mut listed: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    listed.sort();
    // What is served, and nothing of the contract that is not.
    assert_eq!(
        listed,
        [
            "gateway.Gateway",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "pylon.gateway.v1.service.Gateway",
            "pylon.gateway.v1.service.GatewayCache",
            "pylon.gateway.v1.service.GatewayWorkerGroup",
            "trunkline.cache.v1.Cache",
            "trunkline.members.v1.Members",
        ]
    );
    // Messages are known whoever uses them.
    let symbol = MessageRequest::FileContainingSymbol("pylon.discord.v1.event.EventEnvelope".to_owned());
    let mut answers = reflection.server_reflection_info(request(symbol)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    assert!(matches!(answer, Some(MessageResponse::FileDescriptorResponse(_))), "{answer:?}");
    let mut health = HealthClient::new(channel);
    for service in ["pylon.gateway.v1.service.GatewayCache", "pylon.gateway.v1.service.Gateway", "trunkline.cache.v1.Cache"] {
        let answer = health.check(Request::new(HealthCheckRequest { service: service.to_owned() })).await.unwrap().into_inner();
        assert_eq!(answer.status, 1, "{service}");
    }
}

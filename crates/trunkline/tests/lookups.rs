//! Lookups of a whole node: what the simulated Discord told is what every one of Pylon's 20 methods answers with, and commands reach it.
#![allow(clippy::disallowed_methods, reason = "a test drives; it reads the clock")]

mod harness;

use std::time::Duration;

use serde_json::Value;
use tonic::transport::Channel;
use tonic::{Code, Request};
use trunkline::config::{self, Sources};
use trunkline::roles::node::Node;
use trunkline_doors::client::{Received, WorkerClient, WorkerOptions};
use trunkline_sim::{BotConfig, Config, Sim, SimHandle};
use trunkline_wire::pylon::discord::v1::cache::*;
use trunkline_wire::pylon::discord::v1::event::event_envelope::EventData;
use trunkline_wire::pylon::discord::v1::gateway::update_status_request::ActivityData;
use trunkline_wire::pylon::discord::v1::gateway::*;
use trunkline_wire::pylon::discord::v1::model::SnowflakeValue;
use trunkline_wire::pylon::discord::v1::model::presence_data::OnlineStatus;
use trunkline_wire::pylon::gateway::v1::service::gateway_cache_client::GatewayCacheClient;
use trunkline_wire::pylon::gateway::v1::service::gateway_client::GatewayClient;
use trunkline_wire::trunkline::cache::v1::cache_client::CacheClient;
use trunkline_wire::trunkline::cache::v1::{GetCountsRequest, GetManyRequest, ListRequest};
use trunkline_wire::trunkline::event::v1::Encoding;
use trunkline_wire::trunkline::worker::v1::PayloadFormat;

const GUILDS: u32 = 6;
const SHARDS: u32 = 3;
/// The node waits 5 s before its first identify, where it has no record of earlier ones.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    sim: SimHandle,
    node: Node,
    /// What Discord told of each guild.
    guilds: Vec<Value>,
    _dir: tempfile::TempDir,
}

async fn world() -> World {
    let mut world = started().await;
    world.guilds = tokio::time::timeout(PATIENCE, told_guilds(&world.node)).await.expect("every guild is told");
    world
}

/// A world whose shards have yet to identify.
async fn started() -> World {
    let dir = tempfile::tempdir().expect("a folder");
    let token = "dGVzdA.lookups.never-a-real-token";
    let discord = Config {
        bots: vec![BotConfig::new(token)],
        shards: SHARDS,
        max_concurrency: SHARDS,
        guilds: GUILDS,
        members: 30,
        // Nothing changes but what a test makes change.
        rate: 0.0,
        ..Config::default()
    };
    let sim = Sim::start(discord).await.expect("the simulated Discord starts");
    let setting = |key: &str, value: &str| (key.to_owned(), value.to_owned(), "test".to_owned());
    let sources = Sources {
        flags: vec![
            setting("discord.api", sim.api_url()),
            setting("listen.clients", "127.0.0.1:0"),
            setting("listen.admin", "127.0.0.1:0"),
            setting("node.cores", "2"),
            setting("store.path", &dir.path().join("store").display().to_string()),
            setting("bots.0.token", token),
        ],
        ..Sources::default()
    };
    let node = Node::start(config::parse(&sources).expect("a sound configuration")).await.expect("the node starts");
    World { sim, node, guilds: Vec::new(), _dir: dir }
}

/// The guilds as a worker receives them: as Discord sent them.
async fn told_guilds(node: &Node) -> Vec<Value> {
    let token = node.token("default").expect("the group's token").expose().to_owned();
    let mut options = WorkerOptions::new(&node.clients().to_string(), "default", &token, "witness");
    options.payload = PayloadFormat::RawJson;
    let mut worker = WorkerClient::connect(options).await.expect("a worker");
    let mut guilds = Vec::new();
    while guilds.len() < GUILDS as usize {
        if let Some(Received::Event(event)) = worker.next().await
            && let Some(EventData::RawEvent(raw)) = event.event_data
            && raw.name == "GUILD_CREATE"
        {
            guilds.push(serde_json::from_slice(&raw.bytes).expect("JSON"));
        }
    }
    guilds
}

impl World {
    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.node.clients())).expect("an address").connect().await.expect("a connection")
    }
}

fn id(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("not an id: {value}"))
}

fn items<'a>(value: &'a Value, list: &str) -> &'a [Value] {
    value[list].as_array().map_or(&[], Vec::as_slice)
}

fn of<T>(guild: u64, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-pylon-guild-id", guild.to_string().parse().expect("digits"));
    request
}

/// Ids of a list's elements, ascending.
fn ids(list: &[Value]) -> Vec<u64> {
    let mut ids: Vec<u64> = list.iter().map(|one| id(&one["id"])).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_not_to_be_there_before_discord_has_told_what_there_is() {
    let mut world = started().await;
    let began = std::time::Instant::now();
    // Any id: nobody knows yet whose it is.
    let ask = async |world: &World, guild: u64| {
        let mut cache = GatewayCacheClient::new(world.channel().await);
        let mut gateway = GatewayClient::new(world.channel().await);
        let of_guild = cache.get_guild(of(guild, GetGuildRequest {})).await.map(|answer| answer.into_inner().guild.is_some());
        let of_bot = gateway.get_stats(GetStatsRequest {}).await.map(|answer| answer.into_inner().guild_count);
        let (status, _) = harness::get(world.node.clients(), &format!("/v1/events/guilds/{guild}")).await.expect("an answer");
        (of_guild.map_err(|refused| refused.code()), of_bot.map_err(|refused| refused.code()), status)
    };
    // The bot itself takes a moment to come up; then its shards wait for their turn to identify.
    let mut last = ask(&world, 77).await;
    while began.elapsed() < Duration::from_secs(3) {
        assert_eq!((last.0, last.2), (Err(Code::Unavailable), 503), "{:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
        last = ask(&world, 77).await;
    }
    world.guilds = tokio::time::timeout(PATIENCE, told_guilds(&world.node)).await.expect("every guild is told");
    let there = id(&world.guilds[0]["id"]);
    assert_eq!(ask(&world, there).await, (Ok(true), Ok(u64::from(GUILDS)), 200));
    assert_eq!(ask(&world, 77).await.0, Ok(false));
    assert_eq!(ask(&world, 77).await.2, 404);
    assert!(world.node.stop().await.saved.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_answers_with_what_discord_told() {
    let world = world().await;
    let mut cache = GatewayCacheClient::new(world.channel().await);
    let mut gateway = GatewayClient::new(world.channel().await);
    for told in &world.guilds {
        let guild = id(&told["id"]);
        let answer = cache.get_guild(of(guild, GetGuildRequest {})).await.expect("an answer").into_inner();
        let found = answer.guild.expect("the guild");
        assert_eq!((found.id, found.name.as_str(), answer.stale), (guild, told["name"].as_str().expect("a name"), false));
        assert_eq!(Some(u64::from(found.member_count)), told["member_count"].as_u64());

        let answer = cache.list_guild_channels(of(guild, ListGuildChannelsRequest::default())).await.expect("an answer").into_inner();
        assert_eq!(answer.channels.iter().map(|channel| channel.id).collect::<Vec<_>>(), ids(items(told, "channels")));
        for channel in items(told, "channels") {
            let request = GetGuildChannelRequest { channel_id: id(&channel["id"]) };
            let found = cache.get_guild_channel(of(guild, request)).await.expect("an answer").into_inner().channel.expect("the channel");
            assert_eq!(Some(found.name.as_str()), channel["name"].as_str());
        }

        let answer = cache.list_guild_roles(of(guild, ListGuildRolesRequest::default())).await.expect("an answer").into_inner();
        assert_eq!(answer.roles.iter().map(|role| role.id).collect::<Vec<_>>(), ids(items(told, "roles")));
        let role = &items(told, "roles")[1];
        let request = GetGuildRoleRequest { role_id: id(&role["id"]) };
        let found = cache.get_guild_role(of(guild, request)).await.expect("an answer").into_inner().role.expect("the role");
        assert_eq!((Some(found.name.as_str()), found.permissions), (role["name"].as_str(), id(&role["permissions"])));

        let answer = cache.list_guild_emojis(of(guild, ListGuildEmojisRequest::default())).await.expect("an answer").into_inner();
        assert_eq!(answer.emojis.iter().map(|emoji| emoji.id).collect::<Vec<_>>(), ids(items(told, "emojis")));
        let emoji = &items(told, "emojis")[0];
        let request = GetGuildEmojiRequest { emoji_id: id(&emoji["id"]) };
        let found = cache.get_guild_emoji(of(guild, request)).await.expect("an answer").into_inner().emoji.expect("the emoji");
        assert_eq!(Some(found.name.as_str()), emoji["name"].as_str());
        let found = gateway.find_emoji(FindEmojiRequest { emoji_id: found.id }).await.expect("an answer").into_inner().emoji;
        assert_eq!(found.map(|emoji| emoji.guild_id), Some(guild));

        members(&mut cache, &mut gateway, told).await;
        voice(&mut cache, told).await;
    }
    let stats = gateway.get_stats(GetStatsRequest {}).await.expect("an answer").into_inner();
    let members: u64 = world.guilds.iter().map(|told| items(told, "members").len() as u64).sum();
    assert_eq!((stats.guild_count, stats.member_count, stats.shard_count), (u64::from(GUILDS), members, SHARDS));
    assert!(stats.user_count > 0 && stats.user_count <= members, "{stats:?}");

    let World { sim, node, .. } = world;
    assert!(node.stop().await.saved.is_ok());
    let report = sim.stop().await;
    assert!(report.client_faults.is_empty(), "{:?}", report.client_faults);
}

/// Members, users and presences, which all hang on a guild's members.
async fn members(cache: &mut GatewayCacheClient<Channel>, gateway: &mut GatewayClient<Channel>, told: &Value) {
    let guild = id(&told["id"]);
    let mut known: Vec<(u64, &Value)> = items(told, "members").iter().map(|member| (id(&member["user"]["id"]), member)).collect();
    known.sort_by_key(|(user, _)| *user);
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = cache.list_guild_members(of(guild, ListGuildMembersRequest { after, limit: 7 })).await.expect("an answer").into_inner();
        seen.extend(page.members.iter().map(|member| member.id));
        after = *seen.last().expect("members");
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, known.iter().map(|(user, _)| *user).collect::<Vec<_>>());
    for (user_id, told) in &known {
        let request = GetGuildMemberRequest { user_id: *user_id };
        let found = cache.get_guild_member(of(guild, request)).await.expect("an answer").into_inner().member.expect("the member");
        assert_eq!(found.nick.as_deref(), told["nick"].as_str());
        let roles: Vec<u64> = items(told, "roles").iter().map(id).collect();
        assert_eq!((found.user.map(|user| user.username).as_deref(), found.roles), (told["user"]["username"].as_str(), roles));
    }
    let (user_id, member) = known[0];
    let name = member["user"]["username"].as_str().expect("a name");
    let request = FindGuildMembersRequest { prefix: Some(name.to_uppercase()), ..Default::default() };
    let found = cache.find_guild_members(of(guild, request)).await.expect("an answer").into_inner().members;
    assert!(found.iter().any(|member| member.id == user_id), "{name}: {found:?}");
    let (_, with_role) = known.iter().find(|(_, member)| !items(member, "roles").is_empty()).expect("somebody has a role");
    let role = id(&items(with_role, "roles")[0]);
    let request = FindGuildMembersRequest { role_id: Some(SnowflakeValue { value: role }), ..Default::default() };
    let found = cache.find_guild_members(of(guild, request)).await.expect("an answer").into_inner().members;
    let want = known.iter().filter(|(_, member)| items(member, "roles").iter().any(|one| id(one) == role));
    assert_eq!(found.iter().map(|member| member.id).collect::<Vec<_>>(), want.map(|(user, _)| *user).collect::<Vec<_>>());

    let user = cache.get_user(GetUserRequest { user_id }).await.expect("an answer").into_inner().user.expect("the user");
    assert_eq!(user.username, name);
    let user = gateway.find_user(FindUserRequest { user_id }).await.expect("an answer").into_inner().user.expect("the user");
    assert_eq!(user.username, name);
    let request = GetUserMutualGuildsRequest { user_id, ..Default::default() };
    let mutual = gateway.find_user_mutual_guilds(request).await.expect("an answer").into_inner().guilds;
    assert!(mutual.iter().any(|one| one.id == guild));

    for told in items(told, "presences").iter().filter(|told| told["status"] != "offline") {
        let request = GetGuildMemberPresenceRequest { user_id: id(&told["user"]["id"]) };
        let found = cache.get_guild_member_presence(of(guild, request)).await.expect("an answer").into_inner().presence;
        assert_eq!(found.expect("the presence").status().as_str_name().to_lowercase(), told["status"].as_str().expect("a status"));
    }
}

async fn voice(cache: &mut GatewayCacheClient<Channel>, told: &Value) {
    let guild = id(&told["id"]);
    for told in items(told, "voice_states") {
        let (user_id, channel) = (id(&told["user_id"]), id(&told["channel_id"]));
        let request = GetGuildMemberVoiceStateRequest { user_id };
        let found = cache.get_guild_member_voice_state(of(guild, request)).await.expect("an answer").into_inner().voice_state_data;
        assert_eq!(found.expect("the voice state").channel_id, Some(SnowflakeValue { value: channel }));
        let request = ListGuildChannelVoiceStatesRequest { channel_id: channel, ..Default::default() };
        let found = cache.list_guild_channel_voice_states(of(guild, request)).await.expect("an answer").into_inner().voice_states_data;
        assert!(found.iter().any(|state| state.member.as_ref().is_some_and(|member| member.id == user_id)), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_discord_and_its_answer_is_in_the_cache() {
    let world = world().await;
    let mut cache = GatewayCacheClient::new(world.channel().await);
    let mut gateway = GatewayClient::new(world.channel().await);
    let told = &world.guilds[0];
    let (guild, bot) = (id(&told["id"]), world.sim.bot_ids()[0]);
    let voice = items(told, "channels").iter().find(|channel| channel["type"] == 2).expect("a voice channel");
    let (channel_id, none) = (id(&voice["id"]), GetGuildMemberVoiceStateRequest { user_id: bot });
    assert!(cache.get_guild_member_voice_state(of(guild, none)).await.expect("an answer").into_inner().voice_state_data.is_none());
    let request = UpdateVoiceStateRequest { guild_id: guild, channel_id, self_mute: true, self_deaf: false };
    gateway.update_voice_state(request).await.expect("taken");
    let mut joined = None;
    for _ in 0..200 {
        joined = cache.get_guild_member_voice_state(of(guild, none)).await.expect("an answer").into_inner().voice_state_data;
        if joined.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let joined = joined.expect("Discord answers a voice state with an event");
    assert_eq!((joined.channel_id, joined.self_mute), (Some(SnowflakeValue { value: channel_id }), true));
    assert_eq!(gateway.get_stats(GetStatsRequest {}).await.expect("an answer").into_inner().connected_channels, 1);

    let activity = ActivityData { name: "a game".into(), r#type: 1, ..Default::default() };
    let request = UpdateStatusRequest { activities: vec![activity], status: OnlineStatus::Idle.into(), ..Default::default() };
    gateway.update_status(request).await.expect("taken");
    let status =
        gateway.update_status(UpdateStatusRequest { shard_id: Some(SHARDS), ..Default::default() }).await.expect_err("no such shard");
    assert_eq!(status.code(), Code::InvalidArgument);

    let World { sim, node, .. } = world;
    node.stop().await;
    let report = sim.stop().await;
    assert!(report.client_faults.is_empty(), "Discord takes both as they are: {:?}", report.client_faults);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_lookups_have_the_rest_and_the_objects_whole() {
    let world = world().await;
    let mut own = CacheClient::new(world.channel().await);
    let told = &world.guilds[0];
    let guild = id(&told["id"]);
    let list = || of(guild, ListRequest::default());
    let listed =
        |answer: trunkline_wire::trunkline::cache::v1::ListResponse| answer.entries.iter().map(|entry| entry.id).collect::<Vec<_>>();
    let threads = own.list_guild_threads(list()).await.expect("an answer").into_inner();
    assert_eq!(listed(threads), ids(items(told, "threads")));
    let stickers = own.list_guild_stickers(list()).await.expect("an answer").into_inner();
    assert_eq!(listed(stickers), ids(items(told, "stickers")));
    let events = own.list_guild_scheduled_events(list()).await.expect("an answer").into_inner();
    assert_eq!(listed(events), ids(items(told, "guild_scheduled_events")));
    let stages = own.list_guild_stage_instances(list()).await.expect("an answer").into_inner();
    assert_eq!(listed(stages), ids(items(told, "stage_instances")));

    let roles = items(told, "roles");
    let request = GetManyRequest { ids: roles.iter().map(|role| id(&role["id"])).collect(), raw: Encoding::Json.into() };
    let answer = own.get_guild_roles(of(guild, request)).await.expect("an answer").into_inner();
    for (entry, role) in answer.entries.iter().zip(roles) {
        let raw: Value = serde_json::from_slice(&entry.raw.as_ref().expect("asked for").bytes).expect("JSON");
        assert_eq!(&raw, role, "byte for byte the same object, whatever the encoding in between");
    }
    assert_eq!(answer.entries.len(), roles.len());
    let counts = own.get_counts(of(guild, GetCountsRequest {})).await.expect("an answer").into_inner();
    let members = counts.kinds.iter().find(|kind| kind.name == "member").map(|kind| kind.count);
    assert_eq!(members, Some(items(told, "members").len() as u64));
    world.node.stop().await;
}

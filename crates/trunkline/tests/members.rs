//! Members and the state API of a whole node: all of a world's members come within Discord's limits, survive a restart and a kill, and are
//! answered over HTTP; a lookup that misses asks Discord once; Tatsu's management calls work.
#![allow(clippy::disallowed_methods, reason = "it waits for a real process")]

mod harness;

use std::time::{Duration, Instant};

use harness::World;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Channel;
use tonic::{Code, Request};
use trunkline_sim::{Config, Fault, FaultKind, Kind};
use trunkline_wire::gateway::gateway_client::GatewayClient;
use trunkline_wire::gateway::{EmptyRequest, RequestGuildMembersRequest, RestartShardRequest, ShardStatus};
use trunkline_wire::trunkline::event::v1::Encoding;
use trunkline_wire::trunkline::members::v1::members_client::MembersClient;
use trunkline_wire::trunkline::members::v1::{GetProgressRequest, GetProgressResponse, RequestGuildMembersRequest as Members};

const PATIENCE: Duration = Duration::from_secs(60);
const GUILDS: u32 = 6;
const MEMBERS: u32 = 1_200;

async fn world() -> World {
    // Nothing changes but what a test makes change; large guilds are told without their offline members.
    World::new(Config { shards: 2, max_concurrency: 2, guilds: GUILDS, members: MEMBERS, rate: 0.0, ..Config::default() }).await
}

async fn channel(world: &World) -> Channel {
    Channel::from_shared(format!("http://{}", world.clients)).expect("an address").connect().await.expect("a connection")
}

/// By HTTP/1.0, where a body ends with its connection and never comes in chunks.
async fn state(world: &World, path: &str) -> (u16, Value) {
    let mut socket = TcpStream::connect(world.clients).await.expect("a connection");
    let request = format!("GET /v1/events/{path} HTTP/1.0\r\nhost: x\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())))
}

/// How many members each guild has by the state API.
async fn counts(world: &World) -> Vec<usize> {
    let mut found = Vec::new();
    for guild in world.sim.guild_ids() {
        found.push(state(world, &format!("guilds/{guild}/members")).await.1.as_array().map_or(0, Vec::len));
    }
    found
}

async fn progress(world: &World) -> GetProgressResponse {
    let mut calls = MembersClient::new(channel(world).await);
    calls.get_progress(GetProgressRequest {}).await.map(tonic::Response::into_inner).unwrap_or_default()
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !done().await {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_come_and_are_there_after_a_restart_and_a_kill() {
    let mut world = world().await;
    world.env.push(("TRUNKLINE_BOTS_0_MEMBERS", "eager"));
    world.start("");
    world.ready().await;
    until("all members", async || progress(&world).await.guilds_done == u64::from(GUILDS)).await;
    let all = vec![MEMBERS as usize; GUILDS as usize];
    let whole = counts(&world).await;
    assert!(whole.iter().all(|count| count.abs_diff(MEMBERS as usize) <= 1), "{whole:?}, wanted {all:?}");
    assert_eq!(state(&world, "guilds_count").await.1, json!(GUILDS));
    let told = progress(&world).await;
    assert_eq!((told.guilds, told.waiting, told.under_way, told.rate_limited), (u64::from(GUILDS), 0, 0, 0));

    world.terminate().await;
    world.start("");
    world.ready().await;
    assert_eq!(counts(&world).await, whole, "after a restart");
    // What was in the last checkpoint is there after a kill; nothing has changed since.
    tokio::time::sleep(Duration::from_millis(600)).await;
    world.kill();
    world.start("");
    world.ready().await;
    assert_eq!(counts(&world).await, whole, "after a kill");
    let report = world.sim.report();
    assert_eq!(report.client_faults_total, 0, "{:?}", report.client_faults);
    assert_eq!(report.identifies, 2, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookup_that_misses_asks_discord_once_and_a_stranger_is_remembered_as_none() {
    let mut world = world().await;
    world.env.push(("TRUNKLINE_BOTS_0_MEMBERS", "lazy"));
    world.start("");
    world.ready().await;
    let guild = world.sim.guild_ids()[0];
    until("the guild", async || state(&world, &format!("guilds/{guild}")).await.0 == 200).await;
    // Somebody whom the GUILD_CREATE did not tell: Discord's answer to a call of our own names everybody.
    let held = state(&world, &format!("guilds/{guild}/members")).await.1;
    let held: Vec<u64> = held.as_array().expect("a list").iter().filter_map(|member| member["user"]["id"].as_str()?.parse().ok()).collect();
    let mut calls = MembersClient::new(channel(&world).await);
    let mut request = Request::new(Members { nonce: "mine".into(), raw: Encoding::Json.into(), ..Members::default() });
    request.metadata_mut().insert("x-trunkline-guild-id", guild.to_string().parse().expect("metadata"));
    let mut chunks = calls.request_guild_members(request).await.expect("a stream").into_inner();
    let (mut everybody, mut indices) = (Vec::new(), Vec::new());
    while let Some(chunk) = chunks.message().await.expect("a chunk") {
        assert_eq!(chunk.nonce, "mine");
        let raw: Value = serde_json::from_slice(&chunk.raw.expect("the payload").bytes).expect("JSON");
        assert_eq!(raw["members"].as_array().map(Vec::len), Some(chunk.members.len()));
        everybody.extend(chunk.members.iter().map(|member| member.id));
        indices.push((chunk.chunk_index, chunk.chunk_count));
    }
    assert_eq!(indices, [(0, 2), (1, 2)], "two chunks of at most 1000");
    assert!(everybody.len().abs_diff(MEMBERS as usize) <= 1 && everybody.len() > held.len(), "{} and {}", everybody.len(), held.len());

    // In another guild nobody was asked for yet: its missing members are asked for by lookups alone.
    let other = world.sim.guild_ids()[1];
    let before = world.sim.report();
    let known: Value = state(&world, &format!("guilds/{other}/members")).await.1;
    let stranger = 77_u64;
    for _ in 0..5 {
        assert_eq!(state(&world, &format!("guilds/{other}/members/{stranger}")).await.0, 404);
    }
    let after = world.sim.report();
    assert_eq!(known.as_array().map(Vec::len), state(&world, &format!("guilds/{other}/members")).await.1.as_array().map(Vec::len));
    let chunks = |report: &trunkline_sim::Report| report.events_by_kind.get("GUILD_MEMBERS_CHUNK").copied().unwrap_or(0);
    assert_eq!(chunks(&after) - chunks(&before), 1, "five lookups of one stranger are one request");
    assert_eq!(after.client_faults_total, 0, "{:?}", after.client_faults);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_share_a_request_get_what_each_asked_for() {
    let mut world = world().await;
    world.start("");
    world.ready().await;
    let guild = world.sim.guild_ids()[0];
    let shard = u32::from((guild >> 22) % 2 == 1);
    until("the guild", async || state(&world, &format!("guilds/{guild}")).await.0 == 200).await;
    let held = state(&world, &format!("guilds/{guild}/members?limit=2")).await.1;
    let known: Vec<u64> = (0..2).map(|at| held[at]["user"]["id"].as_str().expect("an id").parse().expect("a number")).collect();
    let chunks = |world: &World| world.sim.report().events_by_kind.get("GUILD_MEMBERS_CHUNK").copied().unwrap_or(0);
    let before = chunks(&world);

    // The answer takes its time, so that the second caller finds the first one's request under way.
    world.sim.fault(&Fault::new(FaultKind::Stall).on_shard(shard).lasting(Duration::from_secs(2)));
    let channel = channel(&world).await;
    let ask = async |user_ids: Vec<u64>, raw: Encoding| {
        let mut request = Request::new(Members { user_ids, raw: raw.into(), ..Members::default() });
        request.metadata_mut().insert("x-trunkline-guild-id", guild.to_string().parse().expect("metadata"));
        MembersClient::new(channel.clone()).request_guild_members(request).await.expect("a stream").into_inner()
    };
    let mut all = ask(vec![known[0], known[1], 77, 78], Encoding::Json).await;
    let mut some = ask(vec![known[1], 78], Encoding::Json).await;
    let mut one = ask(vec![77], Encoding::Etf).await;
    for (stream, members, absent) in [(&mut all, &known[..], &[77, 78][..]), (&mut some, &known[1..], &[78]), (&mut one, &[], &[77])] {
        let chunk = stream.message().await.expect("no error").expect("a chunk");
        assert_eq!((chunk.members.iter().map(|member| member.id).collect::<Vec<_>>(), &chunk.not_found[..]), (members.to_vec(), absent));
        assert_eq!((chunk.chunk_index, chunk.chunk_count), (0, 1));
        let raw = chunk.raw.expect("the payload");
        let encoding = if raw.encoding() == Encoding::Etf { trunkline_discord::Encoding::Etf } else { trunkline_discord::Encoding::Json };
        let raw = trunkline_etf::Value::from_raw(encoding, &raw.bytes);
        let ids = |list: &str, id: fn(trunkline_etf::Value<'_>) -> Option<u64>| -> Vec<u64> {
            raw.get(list).expect("a list").items().map(|one| id(one).expect("an id")).collect()
        };
        assert_eq!(ids("members", |member| member.get("user")?.get("id")?.as_id()), members);
        assert_eq!(ids("not_found", |user| user.as_id()), absent);
        assert_eq!(raw.get("guild_id").and_then(|id| id.as_id()), Some(guild), "the rest is as it came");
        assert!(stream.message().await.expect("no error").is_none());
    }
    assert_eq!(chunks(&world) - before, 1, "one request for all of them");
    assert_eq!(world.sim.report().client_faults_total, 0);
}

/// Discord does not answer about a guild that the bot is not in, and tells a bot without the guilds intent of none that it joins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guild_joined_after_ready_is_asked_about_though_only_bots_with_the_guilds_intent_are_told_of_it() {
    for (intents, told) in [("guilds,guild_members", true), ("guild_members", false)] {
        let mut world = world().await;
        let guild = world.sim.guild_ids()[0];
        world.sim.emit(1, Some(Kind::GuildDelete), Some(guild));
        world.env.push(("TRUNKLINE_BOTS_0_INTENTS", intents));
        world.start("");
        world.ready().await;
        let ask = async || {
            let mut request = Request::new(Members::default());
            request.metadata_mut().insert("x-trunkline-guild-id", guild.to_string().parse().expect("metadata"));
            MembersClient::new(channel(&world).await).request_guild_members(request).await
        };
        if told {
            let refused = ask().await.expect_err("the bot is not in it");
            assert_eq!(refused.code(), Code::NotFound, "{refused}");
        }
        world.sim.emit(1, Some(Kind::GuildCreate), Some(guild));
        if told {
            until("the guild", async || state(&world, &format!("guilds/{guild}")).await.0 == 200).await;
        }
        let mut chunks = ask().await.expect("a stream").into_inner();
        let mut came = 0;
        while let Some(chunk) = chunks.message().await.expect("no error") {
            came += chunk.members.len();
        }
        assert!(came.abs_diff(MEMBERS as usize) <= 1, "{intents}: {came} members came");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_discord_will_not_answer_is_told_at_once_and_it_is_not_asked() {
    let mut world = world().await;
    world.env.push(("TRUNKLINE_BOTS_0_INTENTS", "guilds,guild_messages"));
    world.start("");
    world.ready().await;
    let guild = world.sim.guild_ids()[0];
    until("the guild", async || state(&world, &format!("guilds/{guild}")).await.0 == 200).await;
    let ask = async |members: Members| {
        let mut request = Request::new(members);
        request.metadata_mut().insert("x-trunkline-guild-id", guild.to_string().parse().expect("metadata"));
        let mut calls = MembersClient::new(channel(&world).await);
        let answer = calls.request_guild_members(request);
        tokio::time::timeout(Duration::from_secs(5), answer).await.expect("at once").map(tonic::Response::into_inner)
    };
    let all = ask(Members::default()).await.expect_err("the intent lacks");
    assert_eq!(all.code(), Code::FailedPrecondition, "{all}");
    let shard = i32::from((guild >> 22) % 2 == 1);
    let tatsu = RequestGuildMembersRequest { guild_id: i64::try_from(guild).expect("an id"), shard };
    let all = GatewayClient::new(channel(&world).await).request_guild_members(tatsu).await.expect_err("the intent lacks");
    assert_eq!(all.code(), Code::FailedPrecondition, "{all}");
    let long = ask(Members { query: "x".repeat(257), ..Members::default() }).await.expect_err("no name is that long");
    assert_eq!(long.code(), Code::InvalidArgument, "{long}");
    let mut some = ask(Members { user_ids: vec![77], ..Members::default() }).await.expect("without the intent too");
    assert_eq!(some.message().await.expect("no error").expect("a chunk").not_found, [77]);

    // An outage, while somebody waits and before somebody asks.
    let shard = u32::from((guild >> 22) % 2 == 1);
    world.sim.fault(&Fault::new(FaultKind::Stall).on_shard(shard).lasting(Duration::from_secs(1)));
    let mut waiting = ask(Members { user_ids: vec![78], ..Members::default() }).await.expect("a stream");
    world.sim.emit_given(0, "GUILD_DELETE", json!({ "id": guild.to_string(), "unavailable": true }), Some(shard));
    until("the outage", async || state(&world, &format!("guilds/{guild}")).await.1["unavailable"] == true).await;
    match tokio::time::timeout(Duration::from_secs(5), waiting.message()).await.expect("soon") {
        // Its answer may have come first.
        Ok(chunk) => assert_eq!(chunk.expect("a chunk").not_found, [78]),
        Err(status) => assert!(status.code() == Code::Unavailable && status.message().contains("outage"), "{status}"),
    }
    let away = ask(Members { user_ids: vec![79], ..Members::default() }).await.expect_err("an outage");
    assert!(away.code() == Code::Unavailable && away.message().contains("outage"), "{away}");
    assert_eq!(world.sim.report().client_faults_total, 0);
}

/// Discord tells shard 0 alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_bots_own_user_is_known_in_the_guilds_of_every_shard() {
    let mut world = world().await;
    world.start("[node]\ncores = 2\n");
    world.ready().await;
    let bot = world.sim.bot_ids()[0];
    let of_shard = |shard: u64| *world.sim.guild_ids().iter().find(|guild| (**guild >> 22) % 2 == shard).expect("a guild on each shard");
    let guilds = [of_shard(0), of_shard(1)];
    let name = async |guild: u64| state(&world, &format!("guilds/{guild}/members/{bot}")).await.1["user"]["username"].clone();
    for guild in guilds {
        until("the bot in its guild", async || name(guild).await.is_string()).await;
    }
    let own =
        json!({ "id": bot.to_string(), "username": "renamed", "global_name": null, "discriminator": "0", "avatar": null, "bot": true });
    world.sim.emit_given(0, "USER_UPDATE", own, Some(0));
    for guild in guilds {
        until("the new name", async || name(guild).await == "renamed").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookup_is_told_at_once_that_the_shards_session_is_lost_and_a_stream_is_asked_again() {
    let mut world = world().await;
    world.env.push(("TRUNKLINE_BOTS_0_MEMBERS", "lazy"));
    world.start("");
    world.ready().await;
    let guild = world.sim.guild_ids()[0];
    let shard = u32::from((guild >> 22) % 2 == 1);
    let stranger = format!("guilds/{guild}/members/77");
    let mut management = GatewayClient::new(channel(&world).await);
    let mut connected = async || {
        let stats = management.stats(EmptyRequest {}).await.expect("stats").into_inner().stats;
        stats.len() == 2 && stats.iter().all(|stat| stat.status() == ShardStatus::Connected)
    };
    until("all guilds", &mut connected).await;

    // The session is lost, and the next one takes its time.
    world.sim.fault(&Fault::new(FaultKind::SlowReady).lasting(Duration::from_secs(8)));
    world.sim.fault(&Fault::new(FaultKind::Invalid).on_shard(shard));
    until("the loss", async || !connected().await).await;
    let mut calls = MembersClient::new(channel(&world).await);
    let mut request = Request::new(Members { user_ids: vec![77], ..Members::default() });
    request.metadata_mut().insert("x-trunkline-guild-id", guild.to_string().parse().expect("metadata"));
    let mut chunks = calls.request_guild_members(request).await.expect("a stream").into_inner();
    let began = Instant::now();
    assert_eq!(state(&world, &stranger).await.0, 503, "whether there is such a member is not known");
    assert!(began.elapsed() < Duration::from_secs(3), "it waited for an answer that could not come: {:?}", began.elapsed());

    let chunk = chunks.message().await.expect("the stream goes on").expect("an answer");
    assert_eq!((chunk.not_found, chunk.members.len()), (vec![77], 0));
    assert_eq!(chunks.message().await.expect("an end").map(|more| more.chunk_index), None);
    until("an answer of the new session", async || state(&world, &stranger).await.0 == 404).await;
    let report = world.sim.report();
    assert_eq!((report.identifies, report.client_faults_total), (3, 0), "{:?}", report.client_faults);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tatsus_management_calls_tell_the_truth_and_act() {
    let mut world = world().await;
    world.start("");
    world.ready().await;
    let mut calls = GatewayClient::new(channel(&world).await);
    assert_eq!(calls.version(EmptyRequest {}).await.expect("a version").into_inner().version, env!("CARGO_PKG_VERSION"));
    until("connected", async || {
        let stats = calls.stats(EmptyRequest {}).await.expect("stats").into_inner().stats;
        stats.len() == 2 && stats.iter().all(|stat| stat.status() == ShardStatus::Connected)
    })
    .await;
    world.sim.emit(500, None, None);
    until("a rate", async || {
        let stats = calls.stats(EmptyRequest {}).await.expect("stats").into_inner().stats;
        stats.iter().map(|stat| stat.event_rate).sum::<i32>() > 0
    })
    .await;

    let unknown = calls.restart_shard(RestartShardRequest { shard: 9 }).await.expect_err("no such shard");
    assert_eq!(unknown.code(), Code::NotFound, "{unknown}");
    calls.restart_shard(RestartShardRequest { shard: 1 }).await.expect("it restarts");
    until("the resume", async || world.sim.report().resumes == 1).await;
    assert_eq!(world.sim.report().identifies, 2);

    let guild = world.sim.guild_ids()[0];
    let shard = i32::from((guild >> 22) % 2 == 1);
    let ask = |shard: i32| RequestGuildMembersRequest { guild_id: i64::try_from(guild).expect("an id"), shard };
    assert_eq!(calls.request_guild_members(ask(9)).await.expect_err("no such shard").code(), Code::NotFound);
    assert_eq!(calls.request_guild_members(ask(1 - shard)).await.expect_err("another shard's").code(), Code::InvalidArgument);
    calls.request_guild_members(ask(shard)).await.expect("it is asked");
    until("the members", async || {
        let members = state(&world, &format!("guilds/{guild}/members")).await.1;
        // The 500 events were joins and leaves, too.
        members.as_array().is_some_and(|members| members.len().abs_diff(MEMBERS as usize) <= 100)
    })
    .await;
    // A stopped Discord shows as such.
    world.sim.fault(&Fault::new(FaultKind::Refuse).lasting(Duration::from_secs(3)));
    world.sim.fault(&Fault::new(FaultKind::Drop));
    until("not connected", async || {
        let stats = calls.stats(EmptyRequest {}).await.expect("stats").into_inner().stats;
        stats.iter().any(|stat| stat.status() != ShardStatus::Connected)
    })
    .await;
    assert_eq!(world.sim.report().client_faults_total, 0);
}

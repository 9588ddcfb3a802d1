//! Two cores with real caches, a door with lookups over them, and the events that fill the caches.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tower::ServiceExt;
use trunkline_cache::{Cache, CacheConfig, Kind, Users};
use trunkline_delivery::{Filter, GroupId};
use trunkline_discord::{Encoding, EventKind, Object, Op, ShardId, shard_of};
use trunkline_doors::look::LOOKS_QUEUED;
use trunkline_doors::serve::routes;
use trunkline_doors::state::{self, Format, Live, StateOptions};
use trunkline_doors::{
    Access, BotEntry, Caches, CommandRefused, Directory, DoorOptions, Group, GroupToken, Groups, Look, Looker, Lookups, ServeOptions,
    WorkerDoor, serve,
};
use trunkline_etf::{Limits, Value, transcode};
use trunkline_wire::pylon::gateway::v1::service::gateway_cache_client::GatewayCacheClient;
use trunkline_wire::pylon::gateway::v1::service::gateway_client::GatewayClient;
use trunkline_wire::trunkline::cache::v1::cache_client::CacheClient;

pub(crate) const BOT: u64 = 7_000;
pub(crate) const OTHER_BOT: u64 = 8_000;

/// A guild on shard 0 and one on shard 1 of two.
pub(crate) const GUILD: u64 = 2 << 22;
pub(crate) const GUILD_B: u64 = 3 << 22;

pub(crate) const ALL_TOKEN: &str = "sesame";
/// The token of a group that may see [`GUILD`] of [`BOT`] only.
pub(crate) const SOME_TOKEN: &str = "poppy";

/// What a bot of the world is like.
pub(crate) struct Bot {
    pub(crate) id: u64,
    pub(crate) count: u32,
    /// Shards of this process.
    pub(crate) here: Vec<u32>,
    pub(crate) keeps: CacheConfig,
}

impl Bot {
    pub(crate) fn new(id: u64) -> Bot {
        Bot { id, count: 2, here: vec![0, 1], keeps: CacheConfig::default() }
    }
}

/// A command that a shard's session was given.
pub(crate) type Sent = (ShardId, Op, Json);

/// A core as the roles have it: its shards' caches, on one thread.
#[derive(Default)]
struct Core {
    caches: BTreeMap<ShardId, Cache>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

/// Shards with this index take no commands.
pub(crate) const FULL_SHARD: u32 = 9;

impl Caches for Core {
    fn shards(&self) -> Vec<ShardId> {
        self.caches.keys().copied().collect()
    }

    fn cache(&self, shard: ShardId) -> Option<&Cache> {
        self.caches.get(&shard)
    }

    fn cache_mut(&mut self, shard: ShardId) -> Option<&mut Cache> {
        self.caches.get_mut(&shard)
    }

    fn command(&mut self, shard: ShardId, op: Op, payload: Object) -> Result<(), CommandRefused> {
        if !self.caches.contains_key(&shard) {
            return Err(CommandRefused::NotRunning);
        }
        if shard.index == FULL_SHARD {
            return Err(CommandRefused::Full);
        }
        self.sent.lock().unwrap().push((shard, op, json_of(payload.value())));
        Ok(())
    }
}

pub(crate) fn json_of(value: Value<'_>) -> Json {
    let mut out = Vec::new();
    transcode(value, Encoding::Json, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) looker: Looker,
    pub(crate) sent: Arc<Mutex<Vec<Sent>>>,
    shutdown: Option<oneshot::Sender<()>>,
}

impl World {
    /// One bot with two shards on two cores; everybody may ask.
    pub(crate) async fn new() -> World {
        World::with(vec![Bot::new(BOT)], 1, true).await
    }

    pub(crate) async fn with(bots: Vec<Bot>, configured: usize, anonymous: bool) -> World {
        World::of(bots, configured, anonymous, vec![BOT]).await
    }

    /// A world of one bot, as [`World::filled`], whose second group names a bot that is not here.
    pub(crate) async fn filled_with_groups_of_more_bots() -> World {
        let world = World::of(vec![Bot::new(BOT)], 1, true, vec![BOT, OTHER_BOT]).await;
        world.fill(BOT).await;
        world
    }

    async fn of(bots: Vec<Bot>, configured: usize, anonymous: bool, groups_bots: Vec<u64>) -> World {
        let sent: Arc<Mutex<Vec<Sent>>> = Arc::default();
        let directory = Directory::new(configured);
        let mut placed: [Vec<(ShardId, CacheConfig)>; 2] = Default::default();
        for bot in bots {
            directory.add_bot(BotEntry::new(bot.id, "a bot", bot.count, bot.here.iter().copied(), bot.keeps));
            for index in &bot.here {
                let shard = ShardId { bot: bot.id, index: *index, count: bot.count };
                let core = *index as usize % 2;
                placed[core].push((shard, bot.keeps));
                directory.place(shard, core);
            }
        }
        let mut cores = Vec::new();
        for shards in placed {
            let (looks, received) = mpsc::channel(LOOKS_QUEUED);
            cores.push(looks);
            let sent = sent.clone();
            std::thread::spawn(move || run_core(shards, sent, received));
        }
        let looker = Looker::new(directory, cores);

        let group = |id, name: &str, token: &str| Group { id: GroupId(id), name: name.into(), token: GroupToken::new(token) };
        let groups = Groups::new(vec![group(0, "all", ALL_TOKEN), group(1, "some", SOME_TOKEN)]).unwrap();
        let filters = [Filter::default(), Filter { bots: groups_bots, guilds: vec![GUILD], ..Filter::default() }];
        let access = Access::new(&groups, &filters, anonymous);
        let door = WorkerDoor::new(groups, Vec::new(), DoorOptions::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let lookups = Lookups::new(looker.clone(), access);
        let router = routes(&door, Some(&lookups), axum::Router::new()).await.unwrap();
        let (shutdown, stopped) = oneshot::channel::<()>();
        tokio::spawn(serve(listener, router, door.stats(), ServeOptions::default(), async move {
            stopped.await.ok();
        }));
        World { address, looker, sent, shutdown: Some(shutdown) }
    }

    /// A world whose bot is in [`GUILD`] and [`GUILD_B`].
    pub(crate) async fn filled() -> World {
        let world = World::new().await;
        world.fill(BOT).await;
        world
    }

    pub(crate) async fn fill(&self, bot: u64) {
        for index in 0..2 {
            let guilds = [GUILD, GUILD_B].into_iter().filter(|guild| shard_of(*guild, 2) == index);
            let guilds: Vec<Json> = guilds.map(|guild| json!({"id": guild.to_string(), "unavailable": true})).collect();
            let user = json!({"id": bot.to_string(), "username": "the bot", "discriminator": "0", "bot": true});
            let ready = json!({"v": 10, "user": user, "guilds": guilds, "session_id": "x", "application": {"id": "1"}});
            let shard = ShardId { bot, index, count: 2 };
            let known: Vec<u64> = [GUILD, GUILD_B].into_iter().filter(|guild| shard_of(*guild, 2) == index).collect();
            self.looker.on_shard(shard, move |cache| cache.ready(&known)).await.unwrap();
            self.tell_shard(shard, EventKind::Ready, ready).await;
        }
        self.tell(bot, GUILD, EventKind::GuildCreate, guild(GUILD, "first", 40)).await;
        self.tell(bot, GUILD_B, EventKind::GuildCreate, guild(GUILD_B, "second", 3)).await;
    }

    /// An event of a guild, through the cache's one way in.
    pub(crate) async fn tell(&self, bot: u64, guild: u64, kind: EventKind, d: Json) {
        let count = self.looker.directory().bot(bot).unwrap().count;
        self.tell_shard(ShardId { bot, index: shard_of(guild, count), count }, kind, d).await;
    }

    pub(crate) async fn tell_shard(&self, shard: ShardId, kind: EventKind, d: Json) {
        let body = Bytes::from(serde_json::to_vec(&d).unwrap());
        let told = self.looker.on_shard(shard, move |cache| {
            let d = Value::parse(Encoding::Json, &body, &Limits::GATEWAY).unwrap();
            cache.apply(kind, d, &body).malformed
        });
        assert!(!told.await.unwrap(), "{kind:?} was not understood");
    }

    /// What the state API answers to everybody: status and body.
    pub(crate) async fn http(&self, path: &str) -> (StatusCode, String) {
        let access = Access::new(&Groups::new(Vec::new()).unwrap(), &[], true);
        let options = StateOptions { format: Format::Json, version: "1".into(), access };
        let api = state::routes(Arc::new(Live::new(self.looker.clone())), options);
        let request = http::Request::get(format!("/v1/events/{path}")).body(Body::empty()).unwrap();
        let (head, body) = api.oneshot(request).await.unwrap().into_parts();
        (head.status, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn cache(&self) -> GatewayCacheClient<Channel> {
        GatewayCacheClient::new(self.channel().await)
    }

    pub(crate) async fn gateway(&self) -> GatewayClient<Channel> {
        GatewayClient::new(self.channel().await)
    }

    pub(crate) async fn own(&self) -> CacheClient<Channel> {
        CacheClient::new(self.channel().await)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(shutdown) = self.shutdown.take() {
            shutdown.send(()).ok();
        }
    }
}

fn run_core(shards: Vec<(ShardId, CacheConfig)>, sent: Arc<Mutex<Vec<Sent>>>, mut looks: mpsc::Receiver<Look>) {
    let mut users: BTreeMap<u64, Users> = BTreeMap::new();
    let mut core = Core { sent, ..Core::default() };
    for (shard, keeps) in shards {
        let users = users.entry(shard.bot).or_default().clone();
        core.caches.insert(shard, Cache::new(keeps, users));
    }
    while let Some(look) = looks.blocking_recv() {
        look(&mut core);
    }
}

/// A request about a guild of the only bot.
pub(crate) fn of_guild<T>(guild: u64, message: T) -> Request<T> {
    with(message, &[("x-pylon-guild-id", &guild.to_string())])
}

pub(crate) fn with<T>(message: T, metadata: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (key, value) in metadata {
        request.metadata_mut().append(*key, value.parse().unwrap());
    }
    request
}

/// What a refused call said, with its code.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<tonic::Response<T>, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

pub(crate) fn user_id(guild: u64, n: u64) -> u64 {
    guild + 100_000 + n
}

/// In both guilds.
pub(crate) const SHARED_USER: u64 = 555_000;

pub(crate) fn user(id: u64, name: &str) -> Json {
    json!({"id": id.to_string(), "username": name, "discriminator": "0", "global_name": null, "avatar": null, "new_field": {"kept": [1, "2"]}})
}

pub(crate) fn role_id(guild: u64) -> u64 {
    guild + 10
}

pub(crate) fn channel_id(guild: u64, n: u64) -> u64 {
    guild + 1_000 + n
}

/// Channel 0 is text, 1 is voice, then more text.
pub(crate) const VOICE: u64 = 1;

/// A guild with `members` members; the shared user is one more.
pub(crate) fn guild(id: u64, name: &str, members: u64) -> Json {
    let text = |id: u64| id.to_string();
    let role = role_id(id);
    let mut all: Vec<Json> = (0..members)
        .map(|n| {
            let mut user = user(user_id(id, n), &format!("member{n}"));
            if n == 1 {
                user["global_name"] = json!("ÄRGER");
            }
            let roles = if n % 2 == 0 { vec![text(role)] } else { vec![] };
            let nick = if n == 2 { json!("Nicky") } else { Json::Null };
            json!({"user": user, "nick": nick, "roles": roles, "joined_at": "2020-01-02T03:04:05.000000+00:00", "deaf": false, "mute": false, "flags": 0})
        })
        .collect();
    all.push(json!({"user": user(SHARED_USER, "shared"), "roles": [], "joined_at": "2020-01-02T03:04:05.000000+00:00", "deaf": false, "mute": false}));
    let channels: Vec<Json> = (0..12)
        .map(|n| json!({"id": text(channel_id(id, n)), "type": if n == VOICE { 2 } else { 0 }, "name": format!("channel{n}"), "position": n, "permission_overwrites": []}))
        .collect();
    json!({
        "id": text(id), "name": name, "owner_id": text(user_id(id, 0)), "member_count": members + 1, "large": false, "unavailable": false,
        "features": ["COMMUNITY"], "icon": null, "afk_timeout": 300, "joined_at": "2020-01-02T03:04:05.000000+00:00",
        "roles": [
            {"id": text(id), "name": "@everyone", "permissions": "104320065", "position": 0, "color": 0, "hoist": false, "managed": false, "mentionable": false},
            {"id": text(role), "name": "even", "permissions": "8", "position": 1, "color": 255, "hoist": true, "managed": false, "mentionable": true},
        ],
        "emojis": (0..5).map(|n| json!({"id": text(id + 500 + n), "name": format!("emoji{n}"), "roles": [], "animated": n == 1, "available": true, "managed": false, "require_colons": true})).collect::<Vec<_>>(),
        "stickers": (0..3).map(|n| json!({"id": text(id + 600 + n), "name": format!("sticker{n}"), "tags": "x", "type": 2, "format_type": 1, "available": true, "guild_id": text(id)})).collect::<Vec<_>>(),
        "channels": channels,
        "threads": (0..3).map(|n| json!({"id": text(id + 700 + n), "guild_id": text(id), "parent_id": text(channel_id(id, 0)), "owner_id": text(user_id(id, 0)), "type": 11, "name": format!("thread{n}"),
            "thread_metadata": {"archived": false, "auto_archive_duration": 60, "archive_timestamp": "2020-01-02T03:04:05.000000+00:00", "locked": false}})).collect::<Vec<_>>(),
        "members": all,
        "presences": [
            {"user": {"id": text(user_id(id, 0))}, "status": "dnd", "client_status": {"desktop": "dnd"}, "activities": []},
            {"user": {"id": text(user_id(id, 1))}, "status": "online", "client_status": {"web": "online"}, "activities": [{"name": "a game", "type": 0, "created_at": 1_600_000_000_000_u64, "id": "x"}]},
        ],
        "voice_states": (0..3).map(|n| json!({"user_id": text(user_id(id, n)), "channel_id": text(channel_id(id, if n == 2 { 0 } else { VOICE })), "session_id": "s", "deaf": false, "mute": false,
            "self_deaf": n == 1, "self_mute": false, "self_video": false, "suppress": false})).collect::<Vec<_>>(),
        "stage_instances": [{"id": text(id + 800), "guild_id": text(id), "channel_id": text(channel_id(id, VOICE)), "topic": "talk", "privacy_level": 2, "discoverable_disabled": false, "guild_scheduled_event_id": null}],
        "guild_scheduled_events": (0..2).map(|n| json!({"id": text(id + 810 + n), "guild_id": text(id), "channel_id": null, "name": format!("event{n}"), "scheduled_start_time": "2030-01-02T03:04:05.000000+00:00",
            "privacy_level": 2, "status": 1, "entity_type": 3, "entity_id": null, "entity_metadata": {"location": "here"}})).collect::<Vec<_>>(),
        "soundboard_sounds": (0..2).map(|n| json!({"sound_id": text(id + 820 + n), "guild_id": text(id), "name": format!("sound{n}"), "volume": 0.5, "emoji_id": null, "emoji_name": null, "available": true})).collect::<Vec<_>>(),
        "a_field_of_tomorrow": {"deep": [true, null]},
    })
}

/// A cache configuration without one kind.
pub(crate) fn without(kind: Kind) -> CacheConfig {
    CacheConfig::default().without(kind)
}

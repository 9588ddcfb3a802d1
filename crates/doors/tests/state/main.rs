//! The state API, route by route: bodies, statuses, both encodings, wrong input.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod documented;
mod guilds;
mod large;
mod limited;
mod reading;
mod written;
mod wrong;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tower::ServiceExt;
use trunkline_cache::{Cache, CacheConfig, Kind, Users};
use trunkline_delivery::{Filter, GroupId};
use trunkline_discord::{Encoding, EventKind, Object, Op, ShardId};
use trunkline_doors::state::{Format, Live, StateOptions, routes};
use trunkline_doors::{Access, BotEntry, Caches, CommandRefused, Directory, Group, GroupToken, Groups, Look, Looker};
use trunkline_etf::{Limits, Value, transcode};

/// Bot 7 is in guilds 1000 and 2000, bot 8 in guild 2000.
const FIRST: u64 = 7;
const SECOND: u64 = 8;

struct Held(BTreeMap<ShardId, Cache>);

impl Caches for Held {
    fn shards(&self) -> Vec<ShardId> {
        self.0.keys().copied().collect()
    }

    fn cache(&self, shard: ShardId) -> Option<&Cache> {
        self.0.get(&shard)
    }

    fn cache_mut(&mut self, shard: ShardId) -> Option<&mut Cache> {
        self.0.get_mut(&shard)
    }

    fn command(&mut self, _: ShardId, _: Op, _: Object) -> Result<(), CommandRefused> {
        Err(CommandRefused::NotRunning)
    }
}

fn told(cache: &mut Cache, kind: EventKind, d: &Json) {
    let body = Bytes::from(serde_json::to_vec(d).unwrap());
    let change = cache.apply(kind, Value::parse(Encoding::Json, &body, &Limits::GATEWAY).unwrap(), &body);
    assert!(!change.malformed, "{d}");
}

fn member(user: u64, name: &str, nick: Option<&str>, roles: &[u64]) -> Json {
    json!({
        "user": { "id": user.to_string(), "username": name, "global_name": format!("{name} the Great"), "discriminator": "0", "avatar": null },
        "nick": nick, "roles": roles.iter().map(u64::to_string).collect::<Vec<_>>(), "joined_at": "2024-05-06T07:08:09.101000+00:00", "deaf": false, "mute": false,
    })
}

fn guild(id: u64, members: &[Json]) -> Json {
    let at = |offset: u64| (id + offset).to_string();
    json!({
        "id": at(0), "name": format!("guild {id}"), "owner_id": "1", "member_count": members.len(), "joined_at": "2024-05-06T07:08:09.101000+00:00", "large": false,
        "roles": [{ "id": at(0), "name": "@everyone", "permissions": "104324673" }, { "id": at(1), "name": "staff", "permissions": "8" }],
        "emojis": [{ "id": at(21), "name": "wave", "roles": [] }, { "id": at(20), "name": "smile", "roles": [] }],
        "stickers": [{ "id": at(41), "name": "late" }, { "id": at(40), "name": "early", "odd": null }],
        "channels": [{ "id": at(10), "type": 0, "name": "general" }, { "id": at(11), "type": 2, "name": "voice" }],
        "threads": [{ "id": at(30), "type": 11, "name": "thread", "parent_id": at(10), "guild_id": at(0) }],
        "members": members, "presences": [{ "user": { "id": "1" }, "status": "dnd", "activities": [] }],
        "voice_states": [], "stage_instances": [{ "id": at(50), "channel_id": at(12), "topic": "talk", "privacy_level": 2 }],
        "guild_scheduled_events": [{ "id": at(60), "name": "party", "status": 1, "entity_metadata": null }],
        "soundboard_sounds": [{ "sound_id": at(70), "name": "boo", "volume": 0.5 }, { "sound_id": at(71), "name": "yay", "volume": 1 }],
    })
}

/// How many members guild 1000 has: more than two pages.
const MANY: u64 = 2_500;

fn world() -> BTreeMap<ShardId, Cache> {
    let mut caches = BTreeMap::new();
    for bot in [FIRST, SECOND] {
        let mut cache = Cache::new(CacheConfig::default(), Users::default());
        if bot == FIRST {
            let many: Vec<Json> = (0..MANY)
                .map(|number| match number {
                    0 => member(1, "anna", Some("Änne"), &[1001]),
                    1 => member(2, "bert", None, &[]),
                    number => member(10_000 + number, &format!("user{number}"), None, &[]),
                })
                .collect();
            told(&mut cache, EventKind::GuildCreate, &guild(1000, &many));
        }
        told(&mut cache, EventKind::GuildCreate, &guild(2000, &[member(1, "anna", None, &[]), member(3, "carl", None, &[2001])]));
        let message = json!({ "id": "4000", "channel_id": "2010", "guild_id": "2000", "content": "hello", "author": { "id": "3", "username": "carl" }, "timestamp": "2024-05-06T07:08:09.101000+00:00", "type": 0 });
        told(&mut cache, EventKind::MessageCreate, &message);
        caches.insert(ShardId { bot, index: 0, count: 1 }, cache);
    }
    caches
}

/// Runs a core of its own over some caches; answers how it is asked. Caches do not leave their thread, so they are made there.
fn core_of(caches: impl FnOnce() -> BTreeMap<ShardId, Cache> + Send + 'static) -> mpsc::Sender<Look> {
    let (sender, mut looks) = mpsc::channel::<Look>(64);
    std::thread::spawn(move || {
        let mut held = Held(caches());
        while let Some(look) = looks.blocking_recv() {
            look(&mut held);
        }
    });
    sender
}

/// Says that a bot is up, with all of its shards on the one core.
fn up(directory: &Directory, bot: u64, count: u32) {
    directory.add_bot(BotEntry::new(bot, "bot", count, 0..count, CacheConfig::default()));
    (0..count).for_each(|index| directory.place(ShardId { bot, index, count }, 0));
}

/// The API over some caches of both bots, each on one shard; open to everybody or not.
fn api_over(caches: impl FnOnce() -> BTreeMap<ShardId, Cache> + Send + 'static, anonymous: bool, format: Format) -> Router {
    let directory = Directory::new(2);
    [FIRST, SECOND].into_iter().for_each(|bot| up(&directory, bot, 1));
    let groups = Groups::new(vec![Group { id: GroupId(0), name: "some".into(), token: GroupToken::new("poppy") }]).unwrap();
    let filters = [Filter { bots: vec![FIRST], guilds: vec![1000], ..Filter::default() }];
    let access = Access::new(&groups, &filters, anonymous);
    let options = StateOptions { format, version: "1.2.3".into(), access };
    routes(Arc::new(Live::new(Looker::new(directory, vec![core_of(caches)]))), options)
}

/// The API over [`world`].
fn api(anonymous: bool, format: Format) -> Router {
    api_over(world, anonymous, format)
}

struct Got {
    status: StatusCode,
    kind: String,
    body: Bytes,
}

impl Got {
    fn json(&self) -> Json {
        assert_eq!((self.status, self.kind.as_str()), (StatusCode::OK, "application/json"), "{:?}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or("no text")
    }

    /// An ETF body as JSON.
    fn etf(&self) -> Json {
        assert_eq!((self.status, self.kind.as_str()), (StatusCode::OK, "application/x-erlang-binary"));
        assert_eq!(self.body.first(), Some(&131));
        let mut json = Vec::new();
        transcode(Value::parse(Encoding::Etf, &self.body, &Limits::GATEWAY).unwrap(), Encoding::Json, &mut json).unwrap();
        serde_json::from_slice(&json).unwrap()
    }
}

async fn send(api: &Router, request: Request<Body>) -> Got {
    let response = api.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let kind = head.headers.get("content-type").map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
    Got { status: head.status, kind, body: body.collect().await.unwrap().to_bytes() }
}

async fn get(api: &Router, path: &str) -> Got {
    send(api, Request::get(path).body(Body::empty()).unwrap()).await
}

async fn get_etf(api: &Router, path: &str) -> Got {
    send(api, Request::get(path).header("accept", "application/x-erlang-binary").body(Body::empty()).unwrap()).await
}

async fn with_body(api: &Router, method: &str, path: &str, body: &str) -> Got {
    send(api, Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap()).await
}

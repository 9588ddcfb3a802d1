//! Plain HTTP below `/sim`, which is no part of Discord: other programs drive the simulator with it.
//!
//! `POST /sim/fault {"kind": "drop", "shard": 3, "bot": 0, "for_ms": 5000, "count": 3}`, `POST /sim/calm`, `/sim/pause`, `/sim/resume`,
//! `POST /sim/emit {"count": 100, "kind": "MESSAGE_CREATE", "guild_id": "…"}` or `{"event": {"t": "…", "d": {…}}, "bot": 0, "shard": 0}`,
//! `GET /sim/report`, `GET /sim/state`.
//!
//! Strict about what it reads: a key that it does not know, or a value of another type, is an error that says what can be written;
//! a fault aimed wrongly must not hit everything.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::event::{Event, Special};
use crate::faults::{self, Fault, FaultKind};
use crate::hub::Hub;
use crate::kinds::Kind;
use crate::nearest::nearest;
use crate::rest::Answer;
use crate::world::{NO_GUILD, Seen};

/// Events that one request may emit.
const EMIT_MAX: u64 = 1_000_000;
/// Events that one `duplicate` or `skip` concerns.
const COUNT_MAX: u64 = 10_000;
/// How long a fault may last.
const LASTS_MAX_MS: u64 = 24 * 3_600_000;
const FAULT_KEYS: &[&str] = &["kind", "code", "shard", "bot", "for_ms", "count"];
const EMIT_KEYS: &[&str] = &["count", "kind", "guild_id", "event", "bot", "shard"];
const EVENT_KEYS: &[&str] = &["t", "d"];
const CONTROLS: &[&str] = &["/sim/report", "/sim/state", "/sim/fault", "/sim/calm", "/sim/emit", "/sim/pause", "/sim/resume"];

pub(crate) fn answer(hub: &Hub, method: &Method, path: &str, body: &[u8]) -> Answer {
    let ok = |value: Value| Answer::json(StatusCode::OK, &value);
    let read = || -> Result<Value, String> {
        if body.is_empty() {
            return Ok(json!({}));
        }
        serde_json::from_slice(body).map_err(|error| format!("the body is no JSON: {error}"))
    };
    let done = match (method.as_str(), path) {
        ("GET", "/sim/report") => serde_json::to_value(hub.report()).map_err(|error| error.to_string()),
        ("GET", "/sim/state") => Ok(state(hub)),
        ("POST", "/sim/pause") => {
            hub.paused.store(true, Ordering::Relaxed);
            Ok(json!({"paused": true}))
        }
        ("POST", "/sim/resume") => {
            hub.paused.store(false, Ordering::Relaxed);
            Ok(json!({"paused": false}))
        }
        ("POST", "/sim/calm") => {
            hub.calm();
            Ok(json!({"calm": true}))
        }
        ("POST", "/sim/fault") => read().and_then(|body| fault(hub, &body)).map(|fault| match hub.inject_and_say(&fault) {
            (hit, None) => json!({"connections": hit}),
            (hit, Some(why)) => json!({"connections": hit, "nothing": why}),
        }),
        ("POST", "/sim/emit") => read().and_then(|body| emit(hub, &body)),
        _ => {
            let near = nearest(path, CONTROLS.iter().copied()).unwrap_or("/sim/state");
            let error = format!("{method} {path}: no such control; see {}; nearest is {near}", CONTROLS.join(", "));
            return Answer::json(StatusCode::NOT_FOUND, &json!({"error": error}));
        }
    };
    match done {
        Ok(value) => ok(value),
        Err(error) => Answer::json(StatusCode::BAD_REQUEST, &json!({"error": error})),
    }
}

/// The body as an object whose every key is known.
fn object<'a>(body: &'a Value, known: &[&str]) -> Result<&'a Map<String, Value>, String> {
    let object = body.as_object().ok_or("a JSON object is wanted")?;
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(object),
        Some(key) => {
            let near = nearest(key, known.iter().copied()).unwrap_or("kind");
            Err(format!("unknown key \"{key}\"; nearest is \"{near}\"; known are {}", known.join(", ")))
        }
    }
}

/// A whole number of at most `max`; None where it is absent or null.
fn number(object: &Map<String, Value>, key: &str, max: u64) -> Result<Option<u64>, String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|number| *number <= max) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("{key} is {value}; a whole number from 0 to {max} is wanted")),
        },
    }
}

fn bot(hub: &Hub, object: &Map<String, Value>) -> Result<Option<usize>, String> {
    let last = hub.world.bots.len() as u64 - 1;
    Ok(number(object, "bot", last)?.map(|bot| bot as usize))
}

fn fault(hub: &Hub, body: &Value) -> Result<Fault, String> {
    let body = object(body, FAULT_KEYS)?;
    let name = body.get("kind").and_then(Value::as_str).ok_or("kind is missing; it names the fault, for example \"drop\"")?;
    let name = match number(body, "code", 4999)? {
        Some(code) if name == "close" => format!("close={code}"),
        Some(_) => return Err(format!("code goes with the kind \"close\" only, not with \"{name}\"")),
        None => name.to_string(),
    };
    let mut fault = Fault::new(FaultKind::from_name(&name).ok_or_else(|| faults::unknown(&name))?);
    fault.shard = number(body, "shard", u64::from(u32::MAX))?.map(|shard| shard as u32);
    fault.bot = bot(hub, body)?;
    if let Some(ms) = number(body, "for_ms", LASTS_MAX_MS)? {
        fault.lasts = Duration::from_millis(ms);
    }
    if let Some(count) = number(body, "count", COUNT_MAX)? {
        fault.count = count as u32;
    }
    Ok(fault)
}

/// Emits what `body` asks for.
fn emit(hub: &Hub, body: &Value) -> Result<Value, String> {
    let body = object(body, EMIT_KEYS)?;
    if let Some(event) = body.get("event") {
        if let Some(key) = ["count", "kind", "guild_id"].into_iter().find(|key| body.contains_key(*key)) {
            return Err(format!("{key} does not go with event, whose guild is in event.d.guild_id"));
        }
        let event = object(event, EVENT_KEYS).map_err(|error| format!("event: {error}"))?;
        let name = event.get("t").and_then(Value::as_str).ok_or("event.t is missing")?;
        let bot = bot(hub, body)?.unwrap_or(0);
        let shard = number(body, "shard", u64::from(u32::MAX))?.map(|shard| shard as u32);
        let d = event.get("d").cloned().unwrap_or(Value::Null);
        let guild_id = d.get("guild_id").and_then(|id| id.as_u64().or_else(|| id.as_str()?.parse().ok()));
        let guild = guild_id.and_then(|id| hub.world.guild_by_id(id)).unwrap_or(NO_GUILD);
        give(hub, bot, name, d, guild, shard);
        return Ok(json!({"emitted": 1}));
    }
    if let Some(key) = ["bot", "shard"].into_iter().find(|key| body.contains_key(*key)) {
        return Err(format!("{key} goes with event only; an event of the world is aimed by guild_id"));
    }
    let count = number(body, "count", EMIT_MAX)?.unwrap_or(1);
    let kind = match body.get("kind") {
        None | Some(Value::Null) => None,
        Some(name) => {
            let name = name.as_str().ok_or("kind is no text")?;
            Some(Kind::from_name(name).ok_or_else(|| {
                let near = nearest(&name.to_uppercase(), Kind::ALL.iter().map(|kind| kind.name()).filter(|name| !name.is_empty()));
                format!("unknown event \"{name}\"; nearest is {}", near.unwrap_or("MESSAGE_CREATE"))
            })?)
        }
    };
    let guild = match body.get("guild_id") {
        None | Some(Value::Null) => None,
        Some(id) => {
            let id = id.as_u64().or_else(|| id.as_str()?.parse().ok()).ok_or("guild_id is no id")?;
            Some(hub.world.guild_by_id(id).ok_or("there is no such guild; GET /sim/state lists them")?)
        }
    };
    emit_many(hub, count, kind, guild);
    Ok(json!({"emitted": count}))
}

/// Emits `count` events at once, a thousand per hold of the lock.
pub(crate) fn emit_many(hub: &Hub, count: u64, kind: Option<Kind>, guild: Option<u32>) {
    let mut left = count;
    while left > 0 {
        let mut state = hub.lock();
        for _ in 0..left.min(1000) {
            hub.emit_one(&mut state, kind, guild);
        }
        left = left.saturating_sub(1000);
    }
}

/// Emits an event with a name and payload of somebody's own.
pub(crate) fn give(hub: &Hub, bot: usize, name: &str, d: Value, guild: u32, shard: Option<u32>) {
    let mut state = hub.lock();
    let event = Event {
        kind: Kind::from_name(name).unwrap_or(Kind::Given),
        guild,
        n: 0,
        version: 0,
        seen: Seen::default(),
        message: 0,
        at_unix_ms: hub.unix_ms(),
        number: 0,
        special: Some(Arc::new(Special::Given { name: name.into(), d })),
    };
    hub.spread(&mut state, bot, &event, shard);
}

fn state(hub: &Hub) -> Value {
    let report = hub.report();
    let state = hub.lock();
    let bots: Vec<Value> = hub
        .world
        .bots
        .iter()
        .zip(&state.bots)
        .map(|(bot, of)| json!({"id": bot.id.to_string(), "name": bot.name, "identifies_remaining": of.remaining, "token_reset": of.revoked}))
        .collect();
    json!({
        "paused": hub.paused.load(Ordering::Relaxed),
        "bots": bots,
        "guild_ids": hub.guild_ids.iter().take(1000).map(u64::to_string).collect::<Vec<_>>(),
        "connections": state.connections.len(),
        "sessions": report.sessions.iter().filter(|session| session.ended_unix_ms.is_none()).collect::<Vec<_>>(),
    })
}

//! Plain HTTP below `/sim`, which is no part of Discord: other programs drive the simulator with it.
//!
//! `POST /sim/fault {"kind": "drop", "shard": 3, "bot": 0, "for_ms": 5000, "count": 3}`, `POST /sim/pause`, `/sim/resume`,
//! `POST /sim/emit {"count": 100, "kind": "MESSAGE_CREATE", "guild_id": "…"}` or `{"event": {"t": "…", "d": {…}}, "bot": 0, "shard": 0}`,
//! `GET /sim/report`, `GET /sim/state`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::event::{Event, Special};
use crate::faults::{Fault, FaultKind};
use crate::hub::Hub;
use crate::kinds::Kind;
use crate::rest::Answer;
use crate::world::NO_GUILD;

/// Events that one request may emit.
const EMIT_MAX: u64 = 1_000_000;

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
        ("POST", "/sim/fault") => read().and_then(|body| fault(&body)).map(|fault| json!({"connections": hub.inject(&fault)})),
        ("POST", "/sim/emit") => read().and_then(|body| emit(hub, &body)),
        _ => {
            return Answer::json(
                StatusCode::NOT_FOUND,
                &json!({"error": format!("{method} {path}: no such control; see /sim/report, /sim/state, /sim/fault, /sim/emit, /sim/pause, /sim/resume")}),
            );
        }
    };
    match done {
        Ok(value) => ok(value),
        Err(error) => Answer::json(StatusCode::BAD_REQUEST, &json!({"error": error})),
    }
}

fn fault(body: &Value) -> Result<Fault, String> {
    let name = body.get("kind").and_then(Value::as_str).ok_or("kind is missing")?;
    let name = match body.get("code").and_then(Value::as_u64) {
        Some(code) if name == "close" => format!("close={code}"),
        _ => name.to_string(),
    };
    let kind = FaultKind::from_name(&name).ok_or_else(|| format!("unknown fault \"{name}\""))?;
    let mut fault = Fault::new(kind);
    let number = |key: &str| body.get(key).and_then(Value::as_u64);
    fault.shard = number("shard").map(|shard| shard as u32);
    fault.bot = number("bot").map(|bot| bot as usize);
    if let Some(ms) = number("for_ms") {
        fault.lasts = Duration::from_millis(ms);
    }
    if let Some(count) = number("count") {
        fault.count = count.min(10_000) as u32;
    }
    Ok(fault)
}

/// Emits what `body` asks for. Answers with the number of the last event.
fn emit(hub: &Hub, body: &Value) -> Result<Value, String> {
    if let Some(event) = body.get("event") {
        let name = event.get("t").and_then(Value::as_str).ok_or("event.t is missing")?;
        let bot = body.get("bot").and_then(Value::as_u64).unwrap_or(0) as usize;
        if bot >= hub.world.bots.len() {
            return Err(format!("there is no bot {bot}"));
        }
        let shard = body.get("shard").and_then(Value::as_u64).map(|shard| shard as u32);
        let d = event.get("d").cloned().unwrap_or(Value::Null);
        let guild_id = d.get("guild_id").and_then(|id| id.as_u64().or_else(|| id.as_str()?.parse().ok()));
        let guild = guild_id.and_then(|id| hub.world.guild_by_id(id)).unwrap_or(NO_GUILD);
        give(hub, bot, name, d, guild, shard);
        return Ok(json!({"emitted": 1}));
    }
    let count = body.get("count").and_then(Value::as_u64).unwrap_or(1).min(EMIT_MAX);
    let kind = match body.get("kind").and_then(Value::as_str) {
        Some(name) => Some(Kind::from_name(name).ok_or_else(|| format!("unknown event \"{name}\""))?),
        None => None,
    };
    let guild = match body.get("guild_id") {
        Some(id) => {
            let id = id.as_u64().or_else(|| id.as_str()?.parse().ok()).ok_or("guild_id is no id")?;
            Some(hub.world.guild_by_id(id).ok_or("there is no such guild")?)
        }
        None => None,
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

//! The REST that bots need before and beside the gateway, below `/api/v10`, `/api/v9` and `/api` (Discord docs, API Reference).
//!
//! Errors have Discord's form `{message, code}`; requests without a proper user agent are refused as Discord's front refuses them.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::hub::{Hub, State};
use crate::out::{Encoding, Out};
use crate::shapes;
use crate::world::{CHANNELS, Count, GuildState};

/// Window of the limits that the simulator announces.
const WINDOW: Duration = Duration::from_secs(5);

/// An answer: status, body, headers.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Answer {
    pub(crate) fn json(status: StatusCode, body: &Value) -> Answer {
        Answer { status, body: body.to_string(), headers: Vec::new() }
    }

    fn error(status: StatusCode, code: u32, message: &str) -> Answer {
        Answer::json(status, &json!({"message": message, "code": code}))
    }
}

/// `DiscordBot (url, version)`, with anything behind it. A blank between url and version is accepted like the comma, because a
/// widespread library writes it so and Discord takes it.
fn proper_user_agent(agent: &str) -> bool {
    let Some((inside, _)) = agent.strip_prefix("DiscordBot (").and_then(|rest| rest.split_once(')')) else {
        return false;
    };
    inside.split_once([',', ' ']).is_some_and(|(url, version)| !url.trim().is_empty() && !version.trim_start_matches([',', ' ']).is_empty())
}

/// Answers a request below `/api`. `path` is without the query.
pub(crate) fn answer(hub: &Hub, method: &Method, path: &str, headers: &HeaderMap) -> Answer {
    let answer = route(hub, method, path, headers);
    let mut state = hub.lock();
    // Bounded: ids and unknown paths are not told apart.
    let known = matches!(path.rsplit('/').next(), Some("gateway" | "bot" | "@me"));
    let line = format!("{method} {} {}", if known { path } else { "other" }, answer.status.as_u16());
    *state.report.rest.entry(line).or_default() += 1;
    answer
}

fn route(hub: &Hub, method: &Method, path: &str, headers: &HeaderMap) -> Answer {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !proper_user_agent(header("user-agent")) {
        let text = format!("user agent \"{}\"; wanted: DiscordBot (url, version)", header("user-agent"));
        hub.blame(&mut hub.lock(), "bad_user_agent", None, None, text);
        return Answer::error(StatusCode::FORBIDDEN, 40333, "internal network error");
    }
    let rest = path.strip_prefix("/api").unwrap_or(path);
    let rest = match rest.strip_prefix("/v") {
        Some(versioned) => match versioned.split_once('/') {
            Some(("6" | "7" | "8" | "9" | "10", _)) => &rest[versioned.find('/').unwrap_or(0) + 2..],
            _ => return Answer::error(StatusCode::BAD_REQUEST, 50041, "Invalid API version provided"),
        },
        None => rest,
    };
    if *method != Method::GET {
        return if matches!(rest, "/gateway" | "/gateway/bot" | "/oauth2/applications/@me") {
            Answer::error(StatusCode::METHOD_NOT_ALLOWED, 0, "405: Method Not Allowed")
        } else {
            Answer::error(StatusCode::NOT_FOUND, 0, "404: Not Found")
        };
    }
    if rest == "/gateway" {
        return Answer::json(StatusCode::OK, &json!({"url": hub.gateway_url}));
    }
    let mut state = hub.lock();
    let state = &mut *state;
    let bot = header("authorization").strip_prefix("Bot ").and_then(|token| hub.bot_by_token(state, token));
    let Some(bot) = bot else {
        hub.blame(state, "bad_token", None, None, format!("GET {rest} without a valid Authorization header"));
        return Answer::error(StatusCode::UNAUTHORIZED, 0, "401: Unauthorized");
    };
    let found = match rest {
        "/gateway/bot" => return gateway_bot(hub, state, bot),
        "/users/@me" => Some(written(|o| shapes::own_user(o, &hub.world.bots[bot], state.own[bot].count(Count::Own)))),
        "/applications/@me" | "/oauth2/applications/@me" => Some(application(hub, bot).to_string()),
        _ => resource(hub, state, bot, rest),
    };
    match found {
        Some(body) => Answer { status: StatusCode::OK, body, headers: limits(30, 29, WINDOW.as_secs_f64(), hub, rest) },
        None => Answer::error(StatusCode::NOT_FOUND, 0, "404: Not Found"),
    }
}

fn written(fill: impl FnOnce(&mut Out)) -> String {
    let mut out = Out::new(Encoding::Json);
    fill(&mut out);
    String::from_utf8(out.bytes).unwrap_or_default()
}

fn limits(limit: u32, remaining: u32, reset_after_s: f64, hub: &Hub, route: &str) -> Vec<(&'static str, String)> {
    let bucket = route.bytes().fold(0u64, |all, byte| crate::world::mix(all ^ u64::from(byte)));
    vec![
        ("x-ratelimit-limit", limit.to_string()),
        ("x-ratelimit-remaining", remaining.to_string()),
        ("x-ratelimit-reset", format!("{:.3}", hub.unix_ms() as f64 / 1000.0 + reset_after_s)),
        ("x-ratelimit-reset-after", format!("{reset_after_s:.3}")),
        ("x-ratelimit-bucket", format!("{bucket:016x}")),
    ]
}

fn gateway_bot(hub: &Hub, state: &mut State, bot: usize) -> Answer {
    let now = Instant::now();
    let allowed = hub.config.gateway_bot_per_5s.max(1);
    let of = &mut state.bots[bot];
    let (began, used) = match of.gateway_bot_window {
        Some((began, used)) if now - began < WINDOW => (began, used),
        _ => (now, 0),
    };
    let left_s = (WINDOW - (now - began)).as_secs_f64();
    if used >= allowed {
        hub.blame(state, "rest_rate_limited", Some(bot), None, "GET /gateway/bot too often".into());
        let mut headers = limits(allowed, 0, left_s, hub, "/gateway/bot");
        headers.push(("retry-after", format!("{}", left_s.ceil() as u64)));
        headers.push(("x-ratelimit-scope", "user".into()));
        let body = json!({"message": "You are being rate limited.", "retry_after": left_s, "global": false});
        return Answer { status: StatusCode::TOO_MANY_REQUESTS, body: body.to_string(), headers };
    }
    of.gateway_bot_window = Some((began, used + 1));
    let body = json!({
        "url": hub.gateway_url,
        "shards": hub.config.shards,
        "session_start_limit": {
            "total": hub.config.bots[bot].identifies_per_day,
            "remaining": of.remaining,
            "reset_after": of.reset_at.saturating_duration_since(now).as_millis() as u64,
            "max_concurrency": hub.config.max_concurrency,
        },
    });
    Answer { status: StatusCode::OK, body: body.to_string(), headers: limits(allowed, allowed - used - 1, left_s, hub, "/gateway/bot") }
}

fn application(hub: &Hub, bot: usize) -> Value {
    let bot = &hub.world.bots[bot];
    json!({
        "id": bot.id.to_string(),
        "name": bot.name,
        "icon": null,
        "description": "A bot of a simulated Discord",
        "summary": "",
        "type": null,
        "is_monetized": false,
        "bot_public": true,
        "bot_require_code_grant": false,
        "terms_of_service_url": null,
        "privacy_policy_url": null,
        "verify_key": format!("{:064x}", bot.id),
        "flags": bot.flags,
        "owner": {"id": hub.world.user_id(0).to_string(), "username": hub.world.username(0), "discriminator": "0", "avatar": null, "public_flags": 0, "flags": 0},
        "team": null,
        "guild_id": null,
        "approximate_guild_count": hub.world.guilds_per_bot,
        "interactions_endpoint_url": null,
        "redirect_uris": [],
        "tags": [],
    })
}

fn resource(hub: &Hub, state: &State, bot: usize, rest: &str) -> Option<String> {
    let world = &hub.world;
    let mut parts = rest.strip_prefix('/')?.split('/');
    let (what, id, more) = (parts.next()?, parts.next()?.parse().ok()?, parts.next());
    match (what, more) {
        ("guilds", None) => {
            let guild = world.guild_by_id(id).filter(|guild| world.bot_of(*guild) == bot)?;
            let of: &GuildState = Some(&state.guilds[guild as usize]).filter(|of| !of.left)?;
            Some(written(|o| shapes::guild(o, world, guild, of)))
        }
        ("channels", None) => world
            .guilds_of(bot)
            .find_map(|guild| (0..CHANNELS).find(|channel| world.channel_id(guild, *channel) == id).map(|channel| (guild, channel)))
            .map(|(guild, channel)| written(|o| shapes::channel(o, world, guild, channel, &state.guilds[guild as usize]))),
        _ => None,
    }
}

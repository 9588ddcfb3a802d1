//! What a client may ask over the gateway: ops 3, 4, 8, 31, 43 (Discord docs, Gateway Events: Send Events).

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::event::{Chunk, Special, Who};
use crate::hub::{Hub, State};
use crate::kinds::{GUILD_MEMBERS, GUILD_PRESENCES, Kind};
use crate::world::{CHANNELS, Count};

/// Members in one chunk.
const CHUNK: usize = 1000;
/// Members found by prefix or by id at most.
const FOUND_MAX: usize = 100;
/// One request for a guild's whole list in this time.
const WHOLE_LIST_EVERY: Duration = Duration::from_secs(30);

/// Carries out op `op`. The error is what is wrong with its payload.
pub(crate) fn answer(hub: &Hub, ordinal: u64, op: u64, d: &Value) -> Result<(), String> {
    let mut state = hub.lock();
    match op {
        3 => check_presence(d),
        4 => voice(hub, &mut state, ordinal, d),
        8 => members(hub, &mut state, ordinal, d),
        31 => {
            let ids = d.get("guild_ids").and_then(Value::as_array).ok_or("guild_ids is missing")?.clone();
            for id in &ids {
                if let Some(guild) = guild(hub, &state, ordinal, Some(id))? {
                    let special = Special::Given { name: Kind::SoundboardSounds.name().into(), d: sounds(hub, guild) };
                    hub.push_special(&mut state, ordinal, Kind::SoundboardSounds, guild, special);
                }
            }
            Ok(())
        }
        _ => {
            let fields = d.get("fields").and_then(Value::as_array).ok_or("fields is missing")?;
            let has = |name: &str| fields.iter().any(|field| field.as_str() == Some(name));
            let special = Special::ChannelInfo { status: has("status"), start_time: has("voice_start_time") };
            if let Some(guild) = guild(hub, &state, ordinal, d.get("guild_id"))? {
                hub.push_special(&mut state, ordinal, Kind::ChannelInfo, guild, special);
            }
            Ok(())
        }
    }
}

fn sounds(hub: &Hub, guild: u32) -> Value {
    serde_json::json!({
        "guild_id": hub.guild_ids[guild as usize].to_string(),
        "soundboard_sounds": [{
            "name": "knock",
            "sound_id": hub.world.object_id(crate::world::Class::Sound, guild, 0).to_string(),
            "volume": 1.0,
            "emoji_id": null,
            "emoji_name": "🔔",
            "guild_id": hub.guild_ids[guild as usize].to_string(),
            "available": true,
        }],
    })
}

/// A snowflake as an integer or as text.
fn id(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// The bot's guild of this id; None: the bot is not in it.
fn guild(hub: &Hub, state: &State, ordinal: u64, value: Option<&Value>) -> Result<Option<u32>, String> {
    let id = value.and_then(id).ok_or("guild_id is missing or no id")?;
    let bot = state.sessions[ordinal as usize - 1].bot;
    Ok(hub.world.guild_by_id(id).filter(|guild| hub.world.bot_of(*guild) == bot))
}

/// Checks an op 3 payload.
pub(crate) fn check_presence(d: &Value) -> Result<(), String> {
    let status = d.get("status").and_then(Value::as_str).ok_or("status is missing")?;
    if !["online", "dnd", "idle", "invisible", "offline"].contains(&status) {
        return Err(format!("unknown status \"{status}\""));
    }
    let activities = d.get("activities").unwrap_or(&Value::Null);
    if !activities.is_null() && !activities.is_array() {
        return Err("activities is no list".into());
    }
    for activity in activities.as_array().into_iter().flatten() {
        if activity.get("name").and_then(Value::as_str).is_none() {
            return Err("an activity has no name".into());
        }
    }
    Ok(())
}

fn voice(hub: &Hub, state: &mut State, ordinal: u64, d: &Value) -> Result<(), String> {
    let flag = |name: &str| d.get(name).and_then(Value::as_bool).unwrap_or(false);
    let (self_mute, self_deaf) = (flag("self_mute"), flag("self_deaf"));
    let Some(guild) = guild(hub, state, ordinal, d.get("guild_id"))? else {
        return Ok(());
    };
    let channel_id = match d.get("channel_id") {
        None | Some(Value::Null) => None,
        Some(value) => Some(id(value).ok_or("channel_id is no id")?),
    };
    let known = |id: u64| (9..CHANNELS).any(|channel| hub.world.channel_id(guild, channel) == id);
    if channel_id.is_some_and(|id| !known(id)) {
        // A channel that is not there, or no voice channel: no answer, as for a full one.
        return Ok(());
    }
    hub.push_special(state, ordinal, Kind::VoiceStateUpdate, guild, Special::OwnVoice { channel_id, self_mute, self_deaf });
    if channel_id.is_some() {
        let token = format!("{:016x}", crate::world::mix(hub.unix_ms() ^ ordinal));
        hub.push_special(state, ordinal, Kind::VoiceServerUpdate, guild, Special::VoiceServer { token });
    }
    Ok(())
}

fn members(hub: &Hub, state: &mut State, ordinal: u64, d: &Value) -> Result<(), String> {
    let world = &hub.world;
    let (bot, view) = {
        let session = &state.sessions[ordinal as usize - 1];
        (session.bot, session.view)
    };
    // An invalid nonce is dropped silently.
    let nonce = d.get("nonce").and_then(Value::as_str).filter(|nonce| nonce.len() <= 32).map(str::to_string);
    let wanted = d.get("presences").and_then(Value::as_bool).unwrap_or(false);
    let presences = wanted && view.intents & GUILD_PRESENCES != 0;
    let single = match d.get("guild_id") {
        Some(Value::Array(ids)) if ids.len() == 1 => ids.first(),
        Some(Value::Array(_)) => return Err("one guild per request".into()),
        other => other,
    };
    let Some(guild) = guild(hub, state, ordinal, single)? else {
        return Ok(());
    };
    let snapshot = state.guilds[guild as usize].clone();
    let all = (0..world.members).map(Who::Member).chain([Who::Bot]).chain(snapshot.exists(Count::Member).then_some(Who::Visitor));
    let mut not_found = Vec::new();
    let found: Vec<Who> = if let Some(ids) = d.get("user_ids").filter(|ids| !ids.is_null()) {
        let ids: Vec<u64> = match ids {
            Value::Array(ids) => {
                ids.iter().map(|value| id(value).ok_or("user_ids holds something that is no id")).collect::<Result<_, _>>()?
            }
            one => vec![id(one).ok_or("user_ids is no id")?],
        };
        if ids.len() > FOUND_MAX {
            return Err(format!("{} user_ids, {FOUND_MAX} are allowed", ids.len()));
        }
        let mut found = Vec::new();
        for id in ids {
            if id == world.bots[bot].id {
                found.push(Who::Bot);
            } else if let Some(member) = world.member_by_user_id(guild, id) {
                found.push(Who::Member(member));
            } else if snapshot.exists(Count::Member) && id == world.user_id(world.visitor(guild)) {
                found.push(Who::Visitor);
            } else {
                not_found.push(id);
            }
        }
        found
    } else {
        let query = d.get("query").and_then(Value::as_str).ok_or("query or user_ids is missing")?;
        let limit = d.get("limit").and_then(Value::as_u64).ok_or("limit is missing")? as usize;
        if query.is_empty() && limit == 0 {
            if view.intents & GUILD_MEMBERS == 0 {
                return Err("the whole list needs the intent GUILD_MEMBERS".into());
            }
            let now = Instant::now();
            let last = state.bots[bot].member_requests.get(&guild).copied();
            if let Some(last) = last.filter(|last| now - *last < WHOLE_LIST_EVERY) {
                let retry_after_s = (WHOLE_LIST_EVERY - (now - last)).as_secs_f64();
                let special = Special::RateLimited { guild_id: hub.guild_ids[guild as usize], nonce, retry_after_s };
                hub.push_special(state, ordinal, Kind::RateLimited, guild, special);
                return Ok(());
            }
            state.bots[bot].member_requests.insert(guild, now);
            all.collect()
        } else {
            let limit = if limit == 0 { FOUND_MAX } else { limit.min(FOUND_MAX) };
            let name = |who: &Who| match who {
                Who::Bot => world.bots[bot].name.clone(),
                Who::Member(member) => world.username(world.member_user(guild, *member)),
                Who::Visitor => world.username(world.visitor(guild)),
            };
            all.filter(|who| name(who).starts_with(query)).take(limit).collect()
        }
    };
    let count = found.len().div_ceil(CHUNK).max(1);
    for index in 0..count {
        let chunk = Chunk {
            state: snapshot.clone(),
            members: found[index * CHUNK..found.len().min((index + 1) * CHUNK)].to_vec(),
            index: index as u32,
            count: count as u32,
            not_found: if index == 0 { std::mem::take(&mut not_found) } else { Vec::new() },
            presences,
            nonce: nonce.clone(),
        };
        hub.push_special(state, ordinal, Kind::GuildMembersChunk, guild, Special::Chunk(chunk));
    }
    Ok(())
}

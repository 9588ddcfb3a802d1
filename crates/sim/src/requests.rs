//! What a client may ask over the gateway: ops 3, 4, 8, 31, 43 (Discord docs, Gateway Events: Send Events).
//!
//! A payload of the wrong form is an error, which closes the connection with 4001. A request of the right form that Discord does not
//! answer (a guild that this shard does not have, a whole member list without its intent) gets no answer here either; what the
//! documentation says not to do is noted as a client fault, what it leaves open as a note.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::event::{Chunk, Special, Who, channel_info};
use crate::hub::{Hub, State};
use crate::kinds::{GUILD_MEMBERS, GUILD_PRESENCES, Kind};
use crate::world::{CHANNELS, Count, OwnVoice, shard_of};

/// Members in one chunk.
const CHUNK: usize = 1000;
/// Members found by prefix or by id at most.
const FOUND_MAX: usize = 100;
/// Bytes of a nonce.
const NONCE_MAX: usize = 32;
/// One request for a guild's whole list in this time.
const WHOLE_LIST_EVERY: Duration = Duration::from_secs(30);
/// The first channel for voice; all behind it are as well.
const VOICE_FROM: u32 = 9;
/// What op 43 can ask for.
const INFO_FIELDS: [&str; 2] = ["status", "voice_start_time"];

/// Carries out op `op` for a session. The error is what is wrong with its payload.
pub(crate) fn answer(hub: &Hub, ordinal: u64, op: u64, d: &Value) -> Result<(), String> {
    let mut state = hub.lock();
    let mut ask = Ask { hub, state: &mut state, ordinal, op };
    match op {
        3 => check_presence(d),
        4 => ask.voice(d),
        8 => ask.members(d),
        31 => ask.sounds(d),
        _ => ask.channel_info(d),
    }
}

/// A snowflake as an integer or as text.
fn id(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// Checks an op 3 payload.
pub(crate) fn check_presence(d: &Value) -> Result<(), String> {
    let status = d.get("status").and_then(Value::as_str).ok_or("status is missing")?;
    if !["online", "dnd", "idle", "invisible", "offline"].contains(&status) {
        return Err(format!("unknown status \"{status}\""));
    }
    if let Some(since) = d.get("since").filter(|since| !since.is_null() && since.as_f64().is_none()) {
        return Err(format!("since is {since}, neither null nor a time in ms"));
    }
    if let Some(afk) = d.get("afk").filter(|afk| !afk.is_null() && !afk.is_boolean()) {
        return Err(format!("afk is {afk}, neither true nor false"));
    }
    let activities = d.get("activities").unwrap_or(&Value::Null);
    if !activities.is_null() && !activities.is_array() {
        return Err("activities is no list".into());
    }
    for activity in activities.as_array().into_iter().flatten() {
        if activity.get("name").and_then(Value::as_str).is_none() {
            return Err("an activity has no name".into());
        }
        if let Some(kind) = activity.get("type").filter(|kind| kind.as_u64().is_none_or(|kind| kind > 5)) {
            return Err(format!("an activity has the type {kind}; known are 0 to 5"));
        }
    }
    Ok(())
}

/// A request under way.
struct Ask<'a> {
    hub: &'a Hub,
    state: &'a mut State,
    ordinal: u64,
    op: u64,
}

impl Ask<'_> {
    fn who(&self) -> (usize, (u32, u32)) {
        let session = &self.state.sessions[self.ordinal as usize - 1];
        (session.bot, session.shard)
    }

    fn note(&mut self, kind: &'static str, text: String) {
        let (bot, (index, _)) = self.who();
        self.hub.note(self.state, kind, Some(bot), Some(index), format!("op {}: {text}", self.op));
    }

    fn blame(&mut self, kind: &'static str, text: String) {
        let (bot, (index, _)) = self.who();
        self.hub.blame(self.state, kind, Some(bot), Some(index), format!("op {}: {text}", self.op));
    }

    fn send(&mut self, kind: Kind, guild: u32, special: Special) {
        self.hub.push_special(self.state, self.ordinal, kind, guild, special);
    }

    /// The guild of this id, if this session has it; None: there will be no answer. Which shard may ask is not documented; the one
    /// that owns the guild is the one that gets its events.
    fn guild(&mut self, value: Option<&Value>) -> Result<Option<u32>, String> {
        let id = value.and_then(id).ok_or("guild_id is missing or no id")?;
        let (bot, (index, count)) = self.who();
        let here = |guild: &u32| self.hub.world.bot_of(*guild) == bot && !self.state.guilds[*guild as usize].left;
        let Some(guild) = self.hub.world.guild_by_id(id).filter(here) else {
            self.note("unknown_guild", format!("the bot is not in a guild {id}; no answer"));
            return Ok(None);
        };
        if shard_of(id, count) != index {
            self.note("guild_of_another_shard", format!("guild {id} belongs to shard {} of {count}; no answer", shard_of(id, count)));
            return Ok(None);
        }
        if self.state.guilds[guild as usize].unavailable {
            self.note("unavailable_guild", format!("guild {id} is unavailable; no answer"));
            return Ok(None);
        }
        Ok(Some(guild))
    }

    fn sounds(&mut self, d: &Value) -> Result<(), String> {
        let ids = d.get("guild_ids").and_then(Value::as_array).ok_or("guild_ids is missing or no list")?;
        if let Some(wrong) = ids.iter().find(|value| id(value).is_none()) {
            return Err(format!("guild_ids holds {wrong}, which is no id"));
        }
        for id in ids {
            if let Some(guild) = self.guild(Some(id))? {
                let snapshot = self.state.guilds[guild as usize].clone();
                self.send(Kind::SoundboardSounds, guild, Special::Guild(snapshot));
            }
        }
        Ok(())
    }

    fn channel_info(&mut self, d: &Value) -> Result<(), String> {
        let fields = d.get("fields").and_then(Value::as_array).ok_or("fields is missing or no list")?;
        if let Some(wrong) = fields.iter().find(|field| !field.as_str().is_some_and(|field| INFO_FIELDS.contains(&field))) {
            self.note("unknown_field", format!("field {wrong} is not among {}; it is passed over", INFO_FIELDS.join(", ")));
        }
        let has = |name: &str| fields.iter().any(|field| field.as_str() == Some(name));
        if let Some(guild) = self.guild(d.get("guild_id"))? {
            let special = channel_info(&self.state.guilds[guild as usize], has(INFO_FIELDS[0]), has(INFO_FIELDS[1]));
            self.send(Kind::ChannelInfo, guild, special);
        }
        Ok(())
    }

    fn voice(&mut self, d: &Value) -> Result<(), String> {
        let flag = |name: &str| match d.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| format!("{name} is {value}, neither true nor false")),
        };
        let (self_mute, self_deaf) = (flag("self_mute")?, flag("self_deaf")?);
        let channel_id = match d.get("channel_id") {
            None | Some(Value::Null) => None,
            Some(value) => Some(id(value).ok_or("channel_id is no id")?),
        };
        let Some(guild) = self.guild(d.get("guild_id"))? else {
            return Ok(());
        };
        let before = self.state.guilds[guild as usize].own_voice;
        let place = match channel_id {
            None => None,
            Some(id) => {
                let channel = (VOICE_FROM..CHANNELS).find(|channel| self.hub.world.channel_id(guild, *channel) == id);
                let Some(channel) = channel else {
                    // A channel that is not there, or no voice channel: no answer, as for a full one.
                    self.note("no_voice_channel", format!("{id} is no voice channel of the guild; no answer"));
                    return Ok(());
                };
                Some(OwnVoice { channel, self_mute, self_deaf })
            }
        };
        if before.is_none() && place.is_none() {
            return Ok(());
        }
        self.state.guilds[guild as usize].own_voice = place;
        let (bot, _) = self.who();
        let mut event = self.hub.plain_event(self.state, Kind::VoiceStateUpdate, guild);
        event.special = Some(std::sync::Arc::new(Special::OwnVoice(place)));
        self.hub.spread(self.state, bot, &event, None);
        if place.is_some_and(|place| before.is_none_or(|before| before.channel != place.channel)) {
            let token = format!("{:016x}", crate::world::mix(self.hub.unix_ms() ^ self.ordinal));
            self.send(Kind::VoiceServerUpdate, guild, Special::VoiceServer { token });
        }
        Ok(())
    }

    fn members(&mut self, d: &Value) -> Result<(), String> {
        let world = &self.hub.world;
        let (bot, _) = self.who();
        let view = self.state.sessions[self.ordinal as usize - 1].view;
        let single = match d.get("guild_id") {
            Some(Value::Array(ids)) if ids.len() == 1 => ids.first(),
            Some(Value::Array(ids)) => return Err(format!("{} guilds; one per request", ids.len())),
            other => other,
        };
        let (ids, query) = (present(d, "user_ids"), present(d, "query"));
        if ids.is_none() && query.is_none() {
            return Err("query or user_ids is missing".into());
        }
        let wanted = match (ids, query) {
            (Some(ids), _) => Wanted::Ids(user_ids(ids)?),
            (None, query) => {
                let query = query.and_then(Value::as_str).ok_or("query is no text")?;
                let limit = d.get("limit").and_then(Value::as_u64).ok_or("limit is missing or no number; it goes with query")?;
                Wanted::Prefix(query.to_string(), limit as usize)
            }
        };
        if ids.is_some() && query.is_some() {
            self.note("query_and_user_ids", "both query and user_ids; user_ids is taken".into());
        }
        // An invalid nonce is dropped silently, and the chunks carry none.
        let nonce = d.get("nonce").and_then(Value::as_str).filter(|nonce| nonce.len() <= NONCE_MAX).map(str::to_string);
        if present(d, "nonce").is_some() && nonce.is_none() {
            self.note("invalid_nonce", format!("a nonce that is no text of at most {NONCE_MAX} bytes; the chunks carry none"));
        }
        // Without their intent, presences are not sent, whatever is asked.
        let presences = d.get("presences").and_then(Value::as_bool).unwrap_or(false) && view.intents & GUILD_PRESENCES != 0;
        let Some(guild) = self.guild(single)? else {
            return Ok(());
        };
        let snapshot = self.state.guilds[guild as usize].clone();
        let visitor = snapshot.exists(Count::Member).then_some(Who::Visitor);
        let mut not_found = Vec::new();
        let found: Vec<Who> = match wanted {
            Wanted::Ids(mut ids) => {
                if ids.len() > FOUND_MAX {
                    self.blame("too_many_user_ids", format!("{} user_ids, of which the first {FOUND_MAX} are looked at", ids.len()));
                    ids.truncate(FOUND_MAX);
                }
                let mut found = Vec::new();
                for id in ids {
                    if id == world.bots[bot].id {
                        found.push(Who::Bot);
                    } else if let Some(member) = world.member_by_user_id(guild, id) {
                        found.push(Who::Member(member));
                    } else if let Some(visitor) = visitor.filter(|_| id == world.user_id(world.visitor(guild))) {
                        found.push(visitor);
                    } else {
                        not_found.push(id);
                    }
                }
                found
            }
            // The empty prefix is the whole list, with any limit.
            Wanted::Prefix(query, _) if query.is_empty() && view.intents & GUILD_MEMBERS == 0 => {
                self.blame("members_without_intent", "the whole list needs the intent GUILD_MEMBERS; no answer".into());
                return Ok(());
            }
            Wanted::Prefix(query, 0) if query.is_empty() => {
                let now = Instant::now();
                let last = self.state.bots[bot].member_requests.get(&guild).copied();
                if let Some(last) = last.filter(|last| now - *last < WHOLE_LIST_EVERY) {
                    let retry_after_s = (WHOLE_LIST_EVERY - (now - last)).as_secs_f64();
                    let special = Special::RateLimited { guild_id: self.hub.guild_ids[guild as usize], nonce, retry_after_s };
                    self.note("members_too_often", format!("the whole list again within {} s", WHOLE_LIST_EVERY.as_secs()));
                    self.send(Kind::RateLimited, guild, special);
                    return Ok(());
                }
                self.state.bots[bot].member_requests.insert(guild, now);
                (0..world.members).map(Who::Member).chain([Who::Bot]).chain(visitor).collect()
            }
            Wanted::Prefix(query, limit) => {
                let limit = if limit == 0 { FOUND_MAX } else { limit.min(FOUND_MAX) };
                let name = |who: &Who| match who {
                    Who::Bot => world.bots[bot].name.clone(),
                    Who::Member(member) => world.username(world.member_user(guild, *member)),
                    Who::Visitor => world.username(world.visitor(guild)),
                };
                let all = (0..world.members).map(Who::Member).chain([Who::Bot]).chain(visitor);
                all.filter(|who| name(who).starts_with(&query)).take(limit).collect()
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
            self.send(Kind::GuildMembersChunk, guild, Special::Chunk(chunk));
        }
        Ok(())
    }
}

/// Whom op 8 asks for.
enum Wanted {
    Ids(Vec<u64>),
    Prefix(String, usize),
}

fn present<'a>(d: &'a Value, name: &str) -> Option<&'a Value> {
    d.get(name).filter(|value| !value.is_null())
}

/// One id or a list of them, each once.
fn user_ids(value: &Value) -> Result<Vec<u64>, String> {
    let Value::Array(values) = value else {
        return Ok(vec![id(value).ok_or("user_ids is no id")?]);
    };
    let mut ids = Vec::new();
    for value in values {
        let id = id(value).ok_or_else(|| format!("user_ids holds {value}, which is no id"))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

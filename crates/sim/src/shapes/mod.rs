//! What every event looks like: one function per kind, writing the documented fields (and some undocumented ones) of Discord docs,
//! Gateway Events. Each payload also carries `trunkline_sim.n`, the event's number, as a field that no client knows.

mod guilds;
mod messages;
mod others;
mod people;
mod text;

use crate::event::{Chunk, Event, Special, Who};
use crate::kinds::Kind;
use crate::out::Out;
use crate::world::{Bot, Count, Seen, World};

/// What a session asked for, as far as it changes payloads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) intents: u64,
    pub(crate) large_threshold: u32,
}

/// Writes a whole frame of a dispatch: `t`, `s`, `op`, `d`.
pub(crate) fn frame(o: &mut Out, world: &World, bot: &Bot, event: &Event, s: u64, view: &View) {
    o.restart();
    o.root(|o| {
        let name = match event.special.as_deref() {
            Some(Special::Given { name, .. }) => name,
            _ => event.kind.name(),
        };
        o.str("t", name);
        o.int("s", s as i64);
        o.int("op", 0);
        if let Some(Special::Given { d, .. }) = event.special.as_deref() {
            o.key("d");
            o.given("d", d);
        } else {
            o.map("d", |o| {
                data(o, world, bot, event, view);
                o.map("trunkline_sim", |o| o.int("n", event.number as i64));
            });
        }
    });
}

/// The plain guild object, for REST.
pub(crate) fn guild(o: &mut Out, world: &World, guild: u32, state: &crate::world::GuildState) {
    o.restart();
    o.root(|o| guilds::guild_fields(o, world, guild, state));
}

/// A channel object, for REST.
pub(crate) fn channel(o: &mut Out, world: &World, guild: u32, channel: u32, state: &crate::world::GuildState) {
    o.restart();
    o.root(|o| guilds::channel_fields(o, world, guild, channel, state, true));
}

/// The bot's user object, for REST.
pub(crate) fn own_user(o: &mut Out, bot: &Bot, version: u32) {
    o.restart();
    o.root(|o| people::own_user_fields(o, bot, version));
}

fn data(o: &mut Out, world: &World, bot: &Bot, event: &Event, view: &View) {
    let special = event.special.as_deref();
    match event.kind {
        Kind::Ready => ready(o, bot, special),
        Kind::Resumed => o.list("_trace", |o| o.item_str("[\"trunkline-sim\",{\"micros\":1}]")),
        Kind::RateLimited => {
            if let Some(Special::RateLimited { guild_id, nonce, retry_after_s }) = special {
                o.int("opcode", 8);
                o.float("retry_after", *retry_after_s);
                o.map("meta", |o| {
                    o.id("guild_id", *guild_id);
                    if let Some(nonce) = nonce {
                        o.str("nonce", nonce);
                    }
                });
            }
        }
        Kind::GuildCreate => {
            if let Some(Special::Guild(state)) = special {
                guilds::guild_create(o, world, bot, event, state, view);
            }
        }
        Kind::GuildDelete => {
            o.id("id", world.guild_id(event.guild));
            if matches!(special, Some(Special::Outage)) {
                o.bool("unavailable", true);
            }
        }
        Kind::GuildUpdate | Kind::ThreadListSync => {
            if let Some(Special::Guild(state)) = special {
                if event.kind == Kind::GuildUpdate {
                    guilds::guild_fields(o, world, event.guild, state);
                } else {
                    others::thread_list_sync(o, world, bot, event, state);
                }
            }
        }
        Kind::GuildMembersChunk => {
            if let Some(Special::Chunk(chunk)) = special {
                members_chunk(o, world, bot, event, chunk);
            }
        }
        Kind::PresenceUpdate => people::presence_update(o, world, event),
        Kind::GuildMemberUpdate => people::member_update(o, world, event),
        Kind::GuildMemberAdd => {
            o.id("guild_id", world.guild_id(event.guild));
            let visitor = Seen { visitor: event.n, ..event.seen };
            people::whole_member_fields(o, world, bot, event.guild, Who::Visitor, visitor);
        }
        Kind::GuildMemberRemove => {
            o.id("guild_id", world.guild_id(event.guild));
            o.map("user", |o| people::user_fields(o, world, world.visitor(event.guild)));
        }
        Kind::VoiceStateUpdate => match special {
            Some(Special::OwnVoice(place)) => others::own_voice_state(o, world, bot, event, *place),
            _ => people::voice_state_update(o, world, event),
        },
        Kind::MessageCreate
        | Kind::MessageUpdate
        | Kind::MessageDelete
        | Kind::MessageDeleteBulk
        | Kind::MessageReactionAdd
        | Kind::MessageReactionRemove
        | Kind::MessageReactionRemoveAll
        | Kind::MessageReactionRemoveEmoji
        | Kind::MessagePollVoteAdd
        | Kind::MessagePollVoteRemove
        | Kind::TypingStart => messages::data(o, world, event, view),
        _ => others::data(o, world, bot, event, view),
    }
}

fn ready(o: &mut Out, bot: &Bot, special: Option<&Special>) {
    let Some(Special::Ready { session_id, resume_url, shard, stubs, own }) = special else {
        return;
    };
    o.int("v", 10);
    o.map("user_settings", |_| {});
    o.map("user", |o| people::own_user_fields(o, bot, *own));
    o.str("session_type", "normal");
    o.str("session_id", session_id);
    if let Some((index, count)) = shard {
        o.list("shard", |o| {
            o.item_int(i64::from(*index));
            o.item_int(i64::from(*count));
        });
    }
    o.str("resume_gateway_url", resume_url);
    o.empty("relationships");
    o.empty("private_channels");
    o.empty("presences");
    o.list("guilds", |o| {
        for id in stubs {
            o.item_map(|o| {
                o.bool("unavailable", true);
                o.id("id", *id);
            });
        }
    });
    o.empty("guild_join_requests");
    o.list("geo_ordered_rtc_regions", |o| o.item_str("rotterdam"));
    o.map("auth", |_| {});
    o.map("application", |o| {
        o.id("id", bot.id);
        o.int("flags", bot.flags as i64);
    });
    o.list("_trace", |o| o.item_str("[\"trunkline-sim\",{\"micros\":1}]"));
}

fn members_chunk(o: &mut Out, world: &World, bot: &Bot, event: &Event, chunk: &Chunk) {
    let guild = event.guild;
    o.id("guild_id", world.guild_id(guild));
    o.list("members", |o| {
        for who in &chunk.members {
            o.item_map(|o| people::whole_member_fields(o, world, bot, guild, *who, chunk.state.seen()));
        }
    });
    o.int("chunk_index", i64::from(chunk.index));
    o.int("chunk_count", i64::from(chunk.count));
    if !chunk.not_found.is_empty() {
        o.list("not_found", |o| {
            for id in &chunk.not_found {
                // An id that is no snowflake comes back as a number, in JSON too.
                if *id >> 22 == 0 { o.item_int(*id as i64) } else { o.item_id(*id) }
            }
        });
    }
    if chunk.presences {
        o.list("presences", |o| {
            for who in &chunk.members {
                if let Who::Member(member) = who {
                    let version = chunk.state.version(Count::Presences, *member, world.members);
                    o.item_map(|o| people::presence_fields(o, world, guild, *member, version));
                }
            }
        });
    }
    if let Some(nonce) = &chunk.nonce {
        o.str("nonce", nonce);
    }
}

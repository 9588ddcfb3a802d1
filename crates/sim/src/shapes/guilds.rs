//! Guilds and what belongs to them (Discord docs, resources Guild, Channel, Emoji, Sticker, Stage Instance, Guild Scheduled Event,
//! Soundboard; Gateway Events: Guild Create).

use super::View;
use super::people::{distinguished, image, presence_fields, voice_fields, whole_member_fields};
use crate::event::{Event, Who};
use crate::kinds::GUILD_PRESENCES;
use crate::out::Out;
use crate::world::{Bot, CHANNELS, Class, Count, EMOJIS, GuildState, ROLES, STICKERS, THREADS, World, mix};

/// Guilds above this size send few members, whatever the threshold.
const MEMBERS_LISTED_MAX: u32 = 75_000;

/// When the bot joined the guild.
pub(crate) fn joined_at(guild: u32) -> u64 {
    1_650_000_000_000 + u64::from(guild) * 1000
}

pub(crate) fn role_fields(o: &mut Out, world: &World, guild: u32, role: u32, version: u32) {
    o.id("id", world.role_id(guild, role));
    if role == 0 {
        o.str("name", "@everyone");
    } else {
        o.str("name", &format!("role {role} v{version}"));
    }
    o.null("description");
    o.str("permissions", if role == 1 { "8" } else { "2222085186637376" });
    o.int("position", i64::from(role));
    o.int("color", i64::from(version) * 3711 % 0x00FF_FFFF);
    o.map("colors", |o| {
        o.int("primary_color", i64::from(version) * 3711 % 0x00FF_FFFF);
        o.null("secondary_color");
        o.null("tertiary_color");
    });
    o.bool("hoist", role % 2 == 1);
    o.bool("managed", role >= ROLES - 2);
    o.bool("mentionable", role > 3);
    if role == 4 {
        o.str("icon", &image(u64::from(guild) << 8 | 4));
    } else {
        o.null("icon");
    }
    o.str_or_null("unicode_emoji", (role == 3).then_some("📡"));
    o.int("flags", 0);
    if role == ROLES - 1 {
        o.map("tags", |o| o.id("bot_id", world.bots[world.bot_of(guild)].id));
    } else if role == ROLES - 2 {
        o.map("tags", |o| o.null("premium_subscriber"));
    }
}

/// The role that comes and goes, in its `generation`.
pub(crate) fn passing_role_fields(o: &mut Out, world: &World, guild: u32, generation: u32) {
    o.id("id", passing_role_id(world, guild, generation));
    o.str("name", &format!("passing {generation}"));
    o.str("permissions", "0");
    o.int("position", 1);
    o.int("color", 0);
    o.map("colors", |o| {
        o.int("primary_color", 0);
        o.null("secondary_color");
        o.null("tertiary_color");
    });
    o.bool("hoist", false);
    o.bool("managed", false);
    o.bool("mentionable", false);
    o.null("icon");
    o.null("unicode_emoji");
    o.int("flags", 0);
}

pub(crate) fn passing_role_id(world: &World, guild: u32, generation: u32) -> u64 {
    world.object_id(Class::Role, guild, ROLES + generation)
}

/// Channel number `channel` as it is.
pub(crate) fn channel_fields(o: &mut Out, world: &World, guild: u32, channel: u32, state: &GuildState, with_guild: bool) {
    let version = state.version(Count::Channels, channel, CHANNELS);
    let kind = match channel {
        0 => 4,
        7 => 5,
        8 => 15,
        9 | 10 => 2,
        11 => 13,
        _ => 0,
    };
    o.id("id", world.channel_id(guild, channel));
    o.int("type", kind);
    if with_guild {
        o.id("guild_id", world.guild_id(guild));
    }
    o.int("position", i64::from(channel));
    // Those without a topic are renamed instead.
    match version {
        1.. if matches!(channel, 0 | 9..) => o.str("name", &format!("channel-{channel}-v{version}")),
        _ => o.str("name", &format!("channel-{channel}")),
    }
    o.list("permission_overwrites", |o| {
        if channel % 4 == 1 {
            o.item_map(|o| {
                o.id("id", world.role_id(guild, 0));
                o.int("type", 0);
                o.str("allow", "0");
                o.str("deny", "2048");
            });
            o.item_map(|o| {
                o.id("id", world.user_id(world.member_user(guild, 0)));
                o.int("type", 1);
                o.str("allow", "2048");
                o.str("deny", "0");
            });
        }
    });
    o.int("flags", 0);
    if channel == 0 {
        return;
    }
    o.id("parent_id", world.channel_id(guild, 0));
    o.bool("nsfw", false);
    o.int("rate_limit_per_user", if channel == 2 { 5 } else { 0 });
    if kind == 2 || kind == 13 {
        o.int("bitrate", 64_000);
        o.int("user_limit", 0);
        o.null("rtc_region");
        o.int("video_quality_mode", 1);
        o.null("last_message_id");
        o.null("topic");
    } else {
        o.str("topic", &format!("What channel {channel} is about, {version} times rewritten"));
        // A message of long ago: newer ones are told by MESSAGE_CREATE, never by an update.
        o.id("last_message_id", if kind == 15 { world.thread_id(guild, 1) } else { world.object_id(Class::Dynamic, guild, channel) });
        match state.count(Count::Pins) {
            0 => o.null("last_pin_timestamp"),
            _ if channel != 1 => o.null("last_pin_timestamp"),
            pins => o.time("last_pin_timestamp", last_pin(pins - 1)),
        }
        o.int("default_auto_archive_duration", 1440);
        o.int("default_thread_rate_limit_per_user", 0);
    }
    if kind == 15 {
        o.null("default_sort_order");
        o.int("default_forum_layout", 0);
        o.map("default_reaction_emoji", |o| {
            o.null("emoji_id");
            o.str("emoji_name", "👍");
        });
        o.list("available_tags", |o| {
            o.item_map(|o| {
                o.id("id", world.object_id(Class::Dynamic, guild, 900));
                o.str("name", "question");
                o.bool("moderated", false);
                o.null("emoji_id");
                o.null("emoji_name");
            });
        });
    }
    o.null("theme_color");
    o.null("icon_emoji");
}

pub(crate) fn passing_channel_id(world: &World, guild: u32, generation: u32) -> u64 {
    world.object_id(Class::Channel, guild, CHANNELS + generation)
}

pub(crate) fn passing_channel_fields(o: &mut Out, world: &World, guild: u32, generation: u32, with_guild: bool) {
    o.id("id", passing_channel_id(world, guild, generation));
    o.int("type", 0);
    if with_guild {
        o.id("guild_id", world.guild_id(guild));
    }
    o.int("position", 20);
    o.str("name", &format!("passing-{generation}"));
    o.empty("permission_overwrites");
    o.int("flags", 0);
    o.id("parent_id", world.channel_id(guild, 0));
    o.bool("nsfw", false);
    o.int("rate_limit_per_user", 0);
    o.null("topic");
    o.null("last_message_id");
}

/// Time of the pin with number `n`.
pub(crate) fn last_pin(n: u32) -> u64 {
    1_763_000_000_000 + u64::from(n) * 60_000
}

/// Whether a thread is archived after `version` updates: the post in the forum is, now and then.
fn archived(thread: u32, version: u32) -> bool {
    thread == 1 && version % 4 == 3
}

/// The active threads, as in GUILD_CREATE.
pub(crate) fn active_threads(o: &mut Out, world: &World, guild: u32, state: &GuildState) {
    for thread in 0..THREADS {
        let version = state.version(Count::Threads, thread, THREADS);
        if !archived(thread, version) {
            o.item_map(|o| thread_fields(o, world, guild, thread, version, state.count(Count::ThreadMembers)));
        }
    }
    if state.exists(Count::Thread) {
        o.item_map(|o| thread_fields(o, world, guild, THREADS + state.generation(Count::Thread), 0, 0));
    }
}

/// Thread 0 is in a text channel and the bot is in it, thread 1 a post in the forum; later numbers are those that come and go.
/// `comings`: how often somebody joined thread 0 or left it.
pub(crate) fn thread_fields(o: &mut Out, world: &World, guild: u32, thread: u32, version: u32, comings: u32) {
    o.id("id", world.thread_id(guild, thread));
    o.int("type", 11);
    o.id("guild_id", world.guild_id(guild));
    o.id("parent_id", thread_parent(world, guild, thread));
    o.id("owner_id", world.user_id(world.member_user(guild, thread % world.members.max(1))));
    o.str("name", &format!("thread {thread} v{version}"));
    o.null("last_message_id");
    o.map("thread_metadata", |o| {
        o.bool("archived", archived(thread, version));
        o.time("archive_timestamp", 1_763_000_000_000);
        o.int("auto_archive_duration", 1440);
        o.bool("locked", false);
        o.time("create_timestamp", 1_763_000_000_000);
    });
    o.int("message_count", i64::from(version % 50));
    o.int("member_count", if thread == 0 { thread_members(comings) } else { 3 });
    o.int("total_message_sent", i64::from(version % 50));
    o.int("rate_limit_per_user", 0);
    o.int("flags", 0);
    if thread == 0 {
        // The bot's own membership, without ids.
        o.map("member", |o| {
            o.time("join_timestamp", 1_763_000_000_000);
            o.int("flags", 1);
        });
    }
    if thread == 1 {
        o.list("applied_tags", |o| o.item_id(world.object_id(Class::Dynamic, guild, 900)));
    }
}

/// Members of thread 0 after so many comings and goings.
pub(crate) fn thread_members(comings: u32) -> i64 {
    3 + i64::from(comings % 2)
}

pub(crate) fn thread_parent(world: &World, guild: u32, thread: u32) -> u64 {
    world.channel_id(guild, if thread == 1 { 8 } else { 1 })
}

/// The name of an emoji after `changes` of the guild's emojis; one is renamed each time.
pub(crate) fn emoji_name(emoji: u32, changes: u32) -> String {
    format!("sim_{emoji}_{}", if emoji == changes % EMOJIS { changes } else { 0 })
}

/// The guild's emojis after so many changes. Every second change adds one, the next takes it away.
pub(crate) fn emojis(o: &mut Out, world: &World, guild: u32, changes: u32) {
    o.list("emojis", |o| {
        for emoji in (0..EMOJIS).chain((changes % 2 == 1).then_some(EMOJIS + changes / 2)) {
            o.item_map(|o| {
                o.id("id", world.object_id(Class::Emoji, guild, emoji));
                o.str("name", &emoji_name(emoji, changes));
                o.list("roles", |o| {
                    if emoji == 4 {
                        o.item_id(world.role_id(guild, 2));
                    }
                });
                o.bool("require_colons", true);
                o.bool("managed", false);
                o.bool("animated", emoji.is_multiple_of(3));
                o.bool("available", true);
            });
        }
    });
}

pub(crate) fn stickers(o: &mut Out, world: &World, guild: u32, version: u32) {
    o.list("stickers", |o| {
        for sticker in 0..STICKERS {
            o.item_map(|o| {
                o.id("id", world.object_id(Class::Sticker, guild, sticker));
                o.str("name", &format!("sticker {sticker} v{version}"));
                o.str("description", "a sticker of a simulated guild");
                o.str("tags", "wave");
                o.int("type", 2);
                o.int("format_type", 1);
                o.bool("available", true);
                o.id("guild_id", world.guild_id(guild));
                o.str("asset", "");
            });
        }
    });
}

/// The plain guild object: GUILD_UPDATE, and the first part of GUILD_CREATE.
pub(crate) fn guild_fields(o: &mut Out, world: &World, guild: u32, state: &GuildState) {
    o.id("id", world.guild_id(guild));
    let version = state.count(Count::Guild);
    let tier = guild % 4;
    let picture = |o: &mut Out, name: &str, there: bool| {
        if there {
            let salt = name.bytes().fold(u64::from(version / 3), |all, byte| all << 5 ^ u64::from(byte));
            o.str(name, &image(u64::from(guild) << 32 ^ salt));
        } else {
            o.null(name);
        }
    };
    o.str("name", &format!("Guild {guild} v{version}"));
    picture(o, "icon", guild % 6 != 5);
    o.null("icon_hash");
    picture(o, "splash", tier > 0);
    picture(o, "discovery_splash", tier > 2);
    o.id("owner_id", world.user_id(world.member_user(guild, 0)));
    o.id("afk_channel_id", world.channel_id(guild, 10));
    o.int("afk_timeout", 300);
    o.bool("widget_enabled", false);
    o.null("widget_channel_id");
    o.int("verification_level", 1);
    o.int("default_message_notifications", 1);
    o.int("explicit_content_filter", 2);
    o.list("roles", |o| {
        for role in 0..ROLES {
            o.item_map(|o| role_fields(o, world, guild, role, state.version(Count::Roles, role, ROLES)));
        }
        if state.exists(Count::Role) {
            o.item_map(|o| passing_role_fields(o, world, guild, state.count(Count::Role) / 2));
        }
    });
    emojis(o, world, guild, state.count(Count::Emojis));
    stickers(o, world, guild, state.count(Count::Stickers));
    o.list("features", |o| {
        o.item_str("COMMUNITY");
        o.item_str("NEWS");
        for (from, feature) in [(1, "ANIMATED_ICON"), (1, "INVITE_SPLASH"), (2, "BANNER"), (2, "ROLE_ICONS"), (3, "VANITY_URL")] {
            if tier >= from {
                o.item_str(feature);
            }
        }
    });
    o.int("mfa_level", 0);
    o.null("application_id");
    o.id("system_channel_id", world.channel_id(guild, 1));
    o.int("system_channel_flags", 0);
    o.id("rules_channel_id", world.channel_id(guild, 1));
    o.int("max_members", 500_000);
    o.int("max_presences", 25_000);
    o.str_or_null("vanity_url_code", (tier == 3).then(|| format!("sim-{guild}")).as_deref());
    o.str_or_null("description", (guild.is_multiple_of(2)).then_some("A guild that only exists here"));
    picture(o, "banner", tier > 1);
    o.int("premium_tier", i64::from(tier));
    o.int("premium_subscription_count", i64::from(tier * 7));
    o.str("preferred_locale", "en-US");
    o.id("public_updates_channel_id", world.channel_id(guild, 1));
    o.int("max_video_channel_users", 25);
    o.int("max_stage_video_channel_users", 50);
    o.int("nsfw_level", 0);
    o.bool("nsfw", false);
    o.bool("premium_progress_bar_enabled", false);
    o.null("safety_alerts_channel_id");
    o.null("incidents_data");
    o.null("inventory_settings");
    o.null("latest_onboarding_question_id");
    o.int("region_index", i64::from(guild % 9));
}

/// Whether a large guild's GUILD_CREATE holds this member: online, with a role or a nickname, or in voice.
fn noticed(world: &World, guild: u32, member: u32, state: &GuildState) -> bool {
    let status = world.status(member, state.version(Count::Presences, member, world.members));
    status != "offline"
        || member < world.voice_members()
        || distinguished(guild, member, state.version(Count::Members, member, world.members))
}

/// GUILD_CREATE (Discord docs, Gateway Events: Guild Create, with its rules for `members` and `presences`).
pub(crate) fn guild_create(o: &mut Out, world: &World, bot: &Bot, event: &Event, state: &GuildState, view: &View) {
    let guild = event.guild;
    if state.unavailable {
        o.id("id", world.guild_id(guild));
        o.bool("unavailable", true);
        return;
    }
    guild_fields(o, world, guild, state);
    let member_count = world.members + 1 + u32::from(state.exists(Count::Member));
    let large = member_count > view.large_threshold;
    let few = view.intents & GUILD_PRESENCES == 0 || member_count > MEMBERS_LISTED_MAX;
    let seen = state.seen();
    o.time("joined_at", joined_at(guild));
    o.bool("large", large);
    o.bool("unavailable", false);
    o.bool("lazy", true);
    o.int("member_count", i64::from(member_count));
    o.null("version");
    let voice = |member: u32| world.voice(member, state.version(Count::Voice, member, world.voice_members()));
    o.list("voice_states", |o| {
        for member in 0..world.voice_members() {
            if let Some(place) = voice(member) {
                o.item_map(|o| voice_fields(o, world, guild, member, Some(place)));
            }
        }
        if let Some(own) = state.own_voice {
            o.item_map(|o| super::others::own_voice_fields(o, world, bot, guild, Some(own)));
        }
    });
    let listed = |member: u32| {
        if few { member < world.voice_members() && voice(member).is_some() } else { !large || noticed(world, guild, member, state) }
    };
    o.list("members", |o| {
        o.item_map(|o| whole_member_fields(o, world, bot, guild, Who::Bot, seen));
        for member in (0..world.members).filter(|member| listed(*member)) {
            o.item_map(|o| whole_member_fields(o, world, bot, guild, Who::Member(member), seen));
        }
        if state.exists(Count::Member) && !few && !large {
            o.item_map(|o| whole_member_fields(o, world, bot, guild, Who::Visitor, seen));
        }
    });
    o.list("presences", |o| {
        if view.intents & GUILD_PRESENCES == 0 {
            return;
        }
        for member in (0..world.members).filter(|member| listed(*member)) {
            let version = state.version(Count::Presences, member, world.members);
            if !large || world.status(member, version) != "offline" {
                o.item_map(|o| presence_fields(o, world, guild, member, version));
            }
        }
    });
    o.list("channels", |o| {
        for channel in 0..CHANNELS {
            o.item_map(|o| channel_fields(o, world, guild, channel, state, false));
        }
        if state.exists(Count::Channel) {
            o.item_map(|o| passing_channel_fields(o, world, guild, state.count(Count::Channel) / 2, false));
        }
    });
    o.list("threads", |o| active_threads(o, world, guild, state));
    o.list("stage_instances", |o| {
        if state.exists(Count::Stage) {
            let (generation, updates) = (state.generation(Count::Stage), state.updates(Count::Stage));
            o.item_map(|o| stage_fields(o, world, guild, generation, updates));
        }
    });
    o.list("guild_scheduled_events", |o| {
        o.item_map(|o| standing_event_fields(o, world, guild, state.exists(Count::ScheduledUser)));
        if state.exists(Count::ScheduledEvent) {
            let (generation, updates) = (state.generation(Count::ScheduledEvent), state.updates(Count::ScheduledEvent));
            o.item_map(|o| scheduled_event_fields(o, world, guild, generation, updates, false));
        }
    });
    o.list("soundboard_sounds", |o| sounds(o, world, guild, state));
    o.empty("embedded_activities");
}

/// The stage instance that comes and goes.
pub(crate) fn stage_fields(o: &mut Out, world: &World, guild: u32, generation: u32, updates: u32) {
    o.id("id", world.object_id(Class::Dynamic, guild, 4_000_000 + generation));
    o.id("guild_id", world.guild_id(guild));
    o.id("channel_id", world.channel_id(guild, 11));
    o.str("topic", &format!("Talk {generation}, part {}", updates + 1));
    o.int("privacy_level", 2);
    o.bool("discoverable_disabled", true);
    o.null("guild_scheduled_event_id");
}

/// The id of the scheduled event that is always there.
pub(crate) fn standing_event_id(world: &World, guild: u32) -> u64 {
    world.object_id(Class::Dynamic, guild, 999_999)
}

/// The scheduled event that is always there: somewhere outside, every week. `joined`: somebody more is interested.
fn standing_event_fields(o: &mut Out, world: &World, guild: u32, joined: bool) {
    o.id("id", standing_event_id(world, guild));
    o.id("guild_id", world.guild_id(guild));
    o.null("channel_id");
    o.id("creator_id", world.user_id(world.member_user(guild, 0)));
    o.str("name", "Walk along the line");
    o.str("description", "Every Sunday, whatever the weather");
    o.time("scheduled_start_time", 1_799_999_000_000);
    o.time("scheduled_end_time", 1_800_006_200_000);
    o.int("privacy_level", 2);
    o.int("status", 1);
    o.int("entity_type", 3);
    o.null("entity_id");
    o.map("entity_metadata", |o| o.str("location", "the old junction"));
    o.map("creator", |o| super::people::user_fields(o, world, world.member_user(guild, 0)));
    o.int("user_count", if joined { 2 } else { 1 });
    o.str("image", &image(mix(u64::from(guild))));
    o.map("recurrence_rule", |o| {
        o.time("start", 1_799_999_000_000);
        o.null("end");
        o.int("frequency", 2);
        o.int("interval", 1);
        o.list("by_weekday", |o| o.item_int(6));
        o.null("by_n_weekday");
        o.null("by_month");
        o.null("by_month_day");
        o.null("by_year_day");
        o.null("count");
    });
}

/// The scheduled event that comes and goes: planned, active from its first update on, then over.
pub(crate) fn scheduled_event_fields(o: &mut Out, world: &World, guild: u32, generation: u32, updates: u32, over: bool) {
    o.id("id", world.object_id(Class::Dynamic, guild, 1_000_000 + generation));
    o.id("guild_id", world.guild_id(guild));
    o.id("channel_id", world.channel_id(guild, 9));
    o.id("creator_id", world.user_id(world.member_user(guild, 0)));
    o.str("name", &format!("Meeting {generation}, plan {}", updates + 1));
    o.str("description", "A meeting that is planned and cancelled for ever");
    o.time("scheduled_start_time", 1_800_000_000_000 + u64::from(updates) * 60_000);
    o.null("scheduled_end_time");
    o.int("privacy_level", 2);
    let status = match (updates, over) {
        (0, false) => 1,
        (_, false) => 2,
        (0, true) => 4,
        (_, true) => 3,
    };
    o.int("status", status);
    o.int("entity_type", 2);
    o.null("entity_id");
    o.null("entity_metadata");
    o.map("creator", |o| super::people::user_fields(o, world, world.member_user(guild, 0)));
    o.int("user_count", 1);
    o.null("image");
    o.null("recurrence_rule");
}

/// All sounds: one that is always there and is changed with others, and the one that comes and goes.
pub(crate) fn sounds(o: &mut Out, world: &World, guild: u32, state: &GuildState) {
    o.item_map(|o| sound_fields(o, world, guild, 0, state.count(Count::Sounds)));
    if state.exists(Count::Sound) {
        let (generation, updates) = (state.generation(Count::Sound), state.updates(Count::Sound));
        o.item_map(|o| sound_fields(o, world, guild, 1 + generation, updates));
    }
}

pub(crate) fn sound_fields(o: &mut Out, world: &World, guild: u32, sound: u32, updates: u32) {
    o.str("name", &format!("{} {updates}", if sound == 0 { "knock" } else { "passing" }));
    o.id("sound_id", world.object_id(Class::Sound, guild, sound));
    o.float("volume", if updates.is_multiple_of(2) { 1.0 } else { 0.5 });
    o.null("emoji_id");
    o.str("emoji_name", "🔔");
    o.id("guild_id", world.guild_id(guild));
    o.bool("available", true);
    o.map("user", |o| super::people::user_fields(o, world, world.member_user(guild, 0)));
}

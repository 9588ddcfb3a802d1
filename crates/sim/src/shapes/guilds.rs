//! Guilds and what belongs to them (Discord docs, resources Guild, Channel, Emoji, Sticker, Stage Instance, Guild Scheduled Event,
//! Soundboard; Gateway Events: Guild Create).

use super::View;
use super::people::{presence_fields, voice_fields, whole_member_fields};
use crate::event::{Event, Who};
use crate::kinds::GUILD_PRESENCES;
use crate::out::Out;
use crate::world::{Bot, CHANNELS, Class, Count, EMOJIS, GuildState, ROLES, STICKERS, THREADS, World};

/// Guilds above this size send few members, whatever the threshold.
const MEMBERS_LISTED_MAX: u32 = 75_000;

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
    o.bool("managed", false);
    o.bool("mentionable", role > 3);
    o.null("icon");
    o.null("unicode_emoji");
    o.int("flags", 0);
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

pub(crate) fn channel_fields(o: &mut Out, world: &World, guild: u32, channel: u32, version: u32, with_guild: bool) {
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
    o.str("name", &format!("channel-{channel}"));
    o.list("permission_overwrites", |o| {
        if channel % 4 == 1 {
            o.item_map(|o| {
                o.id("id", world.role_id(guild, 0));
                o.int("type", 0);
                o.str("allow", "0");
                o.str("deny", "2048");
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
        o.null("last_message_id");
        o.null("last_pin_timestamp");
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

/// Thread 0 is in a text channel, thread 1 a post in the forum; later numbers are those that come and go.
pub(crate) fn thread_fields(o: &mut Out, world: &World, guild: u32, thread: u32, version: u32, with_guild: bool) {
    o.id("id", world.thread_id(guild, thread));
    o.int("type", 11);
    if with_guild {
        o.id("guild_id", world.guild_id(guild));
    }
    o.id("parent_id", thread_parent(world, guild, thread));
    o.id("owner_id", world.user_id(world.member_user(guild, thread % world.members.max(1))));
    o.str("name", &format!("thread {thread} v{version}"));
    o.null("last_message_id");
    o.map("thread_metadata", |o| {
        o.bool("archived", false);
        o.time("archive_timestamp", 1_763_000_000_000);
        o.int("auto_archive_duration", 1440);
        o.bool("locked", false);
        o.time("create_timestamp", 1_763_000_000_000);
    });
    o.int("message_count", i64::from(version % 50));
    o.int("member_count", 3);
    o.int("total_message_sent", i64::from(version % 50));
    o.int("rate_limit_per_user", 0);
    o.int("flags", 0);
    if thread == 1 {
        o.list("applied_tags", |o| o.item_id(world.object_id(Class::Dynamic, guild, 900)));
    }
}

pub(crate) fn thread_parent(world: &World, guild: u32, thread: u32) -> u64 {
    world.channel_id(guild, if thread == 1 { 8 } else { 1 })
}

fn emoji_fields(o: &mut Out, world: &World, guild: u32, emoji: u32, version: u32) {
    o.id("id", world.object_id(Class::Emoji, guild, emoji));
    o.str("name", &format!("sim_{emoji}_{version}"));
    o.empty("roles");
    o.bool("require_colons", true);
    o.bool("managed", false);
    o.bool("animated", emoji.is_multiple_of(3));
    o.bool("available", true);
}

pub(crate) fn emojis(o: &mut Out, world: &World, guild: u32, version: u32) {
    o.list("emojis", |o| {
        for emoji in 0..EMOJIS {
            o.item_map(|o| emoji_fields(o, world, guild, emoji, if emoji == version % EMOJIS { version } else { 0 }));
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
    o.str("name", &format!("Guild {guild} v{}", state.count(Count::Guild)));
    o.null("icon");
    o.null("icon_hash");
    o.null("splash");
    o.null("discovery_splash");
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
    });
    o.int("mfa_level", 0);
    o.null("application_id");
    o.id("system_channel_id", world.channel_id(guild, 1));
    o.int("system_channel_flags", 0);
    o.id("rules_channel_id", world.channel_id(guild, 1));
    o.int("max_members", 500_000);
    o.null("vanity_url_code");
    o.str_or_null("description", (guild.is_multiple_of(2)).then_some("A guild that only exists here"));
    o.null("banner");
    o.int("premium_tier", i64::from(guild % 4));
    o.int("premium_subscription_count", i64::from(guild % 15));
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
fn noticed(world: &World, member: u32, state: &GuildState) -> bool {
    let status = world.status(member, state.version(Count::Presences, member, world.members));
    status != "offline" || member < world.voice_members()
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
    o.time("joined_at", 1_650_000_000_000 + u64::from(guild) * 1000);
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
    });
    let listed = |member: u32| {
        if few { member < world.voice_members() && voice(member).is_some() } else { !large || noticed(world, member, state) }
    };
    o.list("members", |o| {
        o.item_map(|o| whole_member_fields(o, world, bot, guild, Who::Bot, state));
        for member in (0..world.members).filter(|member| listed(*member)) {
            o.item_map(|o| whole_member_fields(o, world, bot, guild, Who::Member(member), state));
        }
        if state.exists(Count::Member) && !few && !large {
            o.item_map(|o| whole_member_fields(o, world, bot, guild, Who::Visitor, state));
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
            o.item_map(|o| channel_fields(o, world, guild, channel, state.version(Count::Channels, channel, CHANNELS), false));
        }
        if state.exists(Count::Channel) {
            o.item_map(|o| passing_channel_fields(o, world, guild, state.count(Count::Channel) / 2, false));
        }
    });
    o.list("threads", |o| {
        for thread in 0..THREADS {
            o.item_map(|o| thread_fields(o, world, guild, thread, state.version(Count::Threads, thread, THREADS), true));
        }
        if state.exists(Count::Thread) {
            o.item_map(|o| thread_fields(o, world, guild, THREADS + state.count(Count::Thread) / 2, 0, true));
        }
    });
    o.list("stage_instances", |o| {
        if state.exists(Count::Stage) {
            o.item_map(|o| stage_fields(o, world, guild, state.count(Count::Stage) / 2, "a talk"));
        }
    });
    o.list("guild_scheduled_events", |o| {
        if state.exists(Count::ScheduledEvent) {
            o.item_map(|o| scheduled_event_fields(o, world, guild, state.count(Count::ScheduledEvent) / 2, 1));
        }
    });
    o.list("soundboard_sounds", |o| {
        o.item_map(|o| sound_fields(o, world, guild, 0, "knock"));
        if state.exists(Count::Sound) {
            o.item_map(|o| sound_fields(o, world, guild, 1 + state.count(Count::Sound) / 2, "passing"));
        }
    });
    o.empty("embedded_activities");
}

pub(crate) fn stage_fields(o: &mut Out, world: &World, guild: u32, generation: u32, topic: &str) {
    o.id("id", world.object_id(Class::Dynamic, guild, 4_000 + generation));
    o.id("guild_id", world.guild_id(guild));
    o.id("channel_id", world.channel_id(guild, 11));
    o.str("topic", topic);
    o.int("privacy_level", 2);
    o.bool("discoverable_disabled", true);
    o.null("guild_scheduled_event_id");
}

pub(crate) fn scheduled_event_id(world: &World, guild: u32, generation: u32) -> u64 {
    world.object_id(Class::Dynamic, guild, 1_000_000 + generation)
}

pub(crate) fn scheduled_event_fields(o: &mut Out, world: &World, guild: u32, generation: u32, status: i64) {
    o.id("id", scheduled_event_id(world, guild, generation));
    o.id("guild_id", world.guild_id(guild));
    o.id("channel_id", world.channel_id(guild, 9));
    o.id("creator_id", world.user_id(world.member_user(guild, 0)));
    o.str("name", &format!("Meeting {generation}"));
    o.str("description", "A meeting that is planned and cancelled for ever");
    o.time("scheduled_start_time", 1_800_000_000_000);
    o.null("scheduled_end_time");
    o.int("privacy_level", 2);
    o.int("status", status);
    o.int("entity_type", 2);
    o.null("entity_id");
    o.null("entity_metadata");
    o.map("creator", |o| super::people::user_fields(o, world, world.member_user(guild, 0)));
    o.int("user_count", 1);
    o.null("image");
    o.null("recurrence_rule");
}

pub(crate) fn sound_fields(o: &mut Out, world: &World, guild: u32, sound: u32, name: &str) {
    o.str("name", name);
    o.id("sound_id", world.object_id(Class::Sound, guild, sound));
    o.float("volume", 1.0);
    o.null("emoji_id");
    o.str("emoji_name", "🔔");
    o.id("guild_id", world.guild_id(guild));
    o.bool("available", true);
    o.map("user", |o| super::people::user_fields(o, world, world.member_user(guild, 0)));
}

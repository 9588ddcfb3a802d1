//! Users, members, presences, voice states (Discord docs, resources User, Guild, Voice; Gateway Events: Presence).

use crate::event::{Event, Who};
use crate::out::Out;
use crate::world::{Bot, Count, GuildState, ROLES, World, mix};

/// A user's avatar hash.
fn avatar(dice: u64) -> String {
    format!("{:016x}{:016x}", mix(dice), mix(dice ^ 0x5555))
}

/// The fields of a user object, into an open map.
pub(crate) fn user_fields(o: &mut Out, world: &World, user: u32) {
    let name = world.username(user);
    o.id("id", world.user_id(user));
    o.str("username", &name);
    o.str("discriminator", "0");
    o.str_or_null("global_name", (!user.is_multiple_of(3)).then_some(name.as_str()));
    if user.is_multiple_of(5) {
        o.null("avatar");
    } else {
        o.str("avatar", &avatar(u64::from(user)));
    }
    o.int("public_flags", i64::from(user % 7) * 64);
    o.null("avatar_decoration_data");
    o.null("collectibles");
    o.null("display_name_styles");
    if user.is_multiple_of(11) {
        o.map("primary_guild", |o| {
            o.id("identity_guild_id", world.guild_id(user % world.guild_count().max(1)));
            o.bool("identity_enabled", true);
            o.str("tag", "SIM");
            o.str("badge", "7d1734ae5a615e82bc7a4033b98fade8");
        });
    } else {
        o.null("primary_guild");
    }
    o.bool("bot", false);
}

/// The fields of the bot's own user object.
pub(crate) fn own_user_fields(o: &mut Out, bot: &Bot, version: u32) {
    o.bool("verified", true);
    if version == 0 {
        o.str("username", &bot.name);
    } else {
        o.str("username", &format!("{}-{version}", bot.name));
    }
    o.bool("mfa_enabled", true);
    o.id("id", bot.id);
    o.null("global_name");
    o.int("flags", 0);
    o.null("email");
    o.str("discriminator", "0");
    o.null("clan");
    o.bool("bot", true);
    o.null("avatar");
    o.null("banner");
    o.null("accent_color");
    o.str("locale", "en-US");
}

/// The roles of member `member`, updated `version` times.
fn roles(o: &mut Out, world: &World, guild: u32, member: u32, version: u32) {
    o.list("roles", |o| {
        let dice = mix(u64::from(guild) << 32 | u64::from(member));
        for role in 1..ROLES {
            if dice >> role & 3 == 0 || role == 1 + version % (ROLES - 1) && version > 0 {
                o.item_id(world.role_id(guild, role));
            }
        }
    });
}

/// The fields of a member object without its user.
pub(crate) fn member_fields(o: &mut Out, world: &World, guild: u32, who: Who, state: &GuildState) {
    match who {
        Who::Member(member) => {
            let version = state.version(Count::Members, member, world.members);
            numbered_member_fields(o, world, guild, member, version);
        }
        Who::Visitor | Who::Bot => {
            o.null("nick");
            o.empty("roles");
            o.time("joined_at", 1_700_000_000_000 + u64::from(state.count(Count::Member)) * 1000);
            plain_member_fields(o, 2);
        }
    }
}

/// The fields of member number `member` after `version` updates, without its user.
pub(crate) fn numbered_member_fields(o: &mut Out, world: &World, guild: u32, member: u32, version: u32) {
    if version.is_multiple_of(3) {
        o.null("nick");
    } else {
        o.str("nick", &format!("nick {member}.{version}"));
    }
    roles(o, world, guild, member, version);
    o.time("joined_at", 1_500_000_000_000 + mix(u64::from(member)) % 200_000_000_000);
    plain_member_fields(o, 0);
}

fn plain_member_fields(o: &mut Out, flags: i64) {
    o.null("premium_since");
    o.bool("pending", false);
    o.bool("mute", false);
    o.bool("deaf", false);
    o.int("flags", flags);
    o.null("communication_disabled_until");
    o.null("avatar");
    o.null("banner");
    o.null("unusual_dm_activity_until");
}

/// The fields of a member object with its user.
pub(crate) fn whole_member_fields(o: &mut Out, world: &World, bot: &Bot, guild: u32, who: Who, state: &GuildState) {
    o.map("user", |o| match who {
        Who::Bot => own_user_fields(o, bot, 0),
        Who::Member(member) => user_fields(o, world, world.member_user(guild, member)),
        Who::Visitor => user_fields(o, world, world.visitor(guild)),
    });
    member_fields(o, world, guild, who, state);
}

/// The fields of a presence of member `member` after `version` changes.
pub(crate) fn presence_fields(o: &mut Out, world: &World, guild: u32, member: u32, version: u32) {
    let status = world.status(member, version);
    let user = world.member_user(guild, member);
    o.map("user", |o| o.id("id", world.user_id(user)));
    o.str("status", status);
    o.map("client_status", |o| {
        if status != "offline" {
            o.str(if member.is_multiple_of(3) { "mobile" } else { "desktop" }, status);
        }
    });
    o.list("activities", |o| {
        if status == "offline" {
            return;
        }
        if member.is_multiple_of(2) {
            o.item_map(|o| {
                o.str("name", "Custom Status");
                o.int("type", 4);
                o.str("state", &format!("mood number {version}, thinking of {}", mix(u64::from(version)) % 1000));
                o.str("id", "custom");
                o.int("created_at", 1_763_000_000_000 + i64::from(version));
            });
        }
        if member % 3 != 1 {
            o.item_map(|o| {
                o.int("type", 0);
                o.map("timestamps", |o| o.int("start", 1_763_000_000_000 + i64::from(member)));
                o.str("state", "In a group of four");
                o.str("details", &format!("Level {}", mix(u64::from(member)) % 60));
                o.str("name", "A Game of Signals");
                o.str("id", &format!("{:016x}", mix(u64::from(version) ^ 77)));
                o.int("created_at", 1_763_000_100_000 + i64::from(version));
                o.id("application_id", 356_875_570_916_753_438);
                o.map("party", |o| {
                    o.str("id", &format!("party-{:x}", mix(u64::from(member))));
                    o.list("size", |o| {
                        o.item_int(2);
                        o.item_int(4);
                    });
                });
                o.map("assets", |o| {
                    o.str("large_image", "mp:external/7hTa8pVhUvtIX-oMOlkG9pHR1/https/images.example.com/cover.png");
                    o.str("large_text", "The great hall");
                });
            });
        }
    });
    o.int("processed_at_timestamp", 0);
}

/// PRESENCE_UPDATE.
pub(crate) fn presence_update(o: &mut Out, world: &World, event: &Event) {
    let member = event.n % world.members.max(1);
    presence_fields(o, world, event.guild, member, event.n / world.members.max(1) + 1);
    o.id("guild_id", world.guild_id(event.guild));
}

/// GUILD_MEMBER_UPDATE.
pub(crate) fn member_update(o: &mut Out, world: &World, event: &Event) {
    let member = event.n % world.members.max(1);
    o.id("guild_id", world.guild_id(event.guild));
    o.map("user", |o| user_fields(o, world, world.member_user(event.guild, member)));
    numbered_member_fields(o, world, event.guild, member, event.n / world.members.max(1) + 1);
}

/// The fields of a voice state without `guild_id` and `member`.
pub(crate) fn voice_fields(o: &mut Out, world: &World, guild: u32, member: u32, place: Option<(u32, bool)>) {
    let user = world.member_user(guild, member);
    o.id_or_null("channel_id", place.map(|(channel, _)| world.channel_id(guild, channel)));
    o.id("user_id", world.user_id(user));
    o.str("session_id", &format!("{:032x}", u128::from(mix(u64::from(user))) << 64 | u128::from(guild)));
    o.bool("deaf", false);
    o.bool("mute", false);
    o.bool("self_deaf", false);
    o.bool("self_mute", place.is_some_and(|(_, mute)| mute));
    o.bool("self_video", false);
    o.bool("suppress", false);
    o.null("request_to_speak_timestamp");
}

/// VOICE_STATE_UPDATE of a member.
pub(crate) fn voice_state_update(o: &mut Out, world: &World, event: &Event) {
    let members = world.voice_members().max(1);
    let member = event.n % members;
    o.id("guild_id", world.guild_id(event.guild));
    voice_fields(o, world, event.guild, member, world.voice(member, event.n / members + 1));
    o.map("member", |o| {
        o.map("user", |o| user_fields(o, world, world.member_user(event.guild, member)));
        numbered_member_fields(o, world, event.guild, member, 0);
    });
}

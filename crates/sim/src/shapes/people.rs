//! Users, members, presences, voice states (Discord docs, resources User, Guild, Voice; Gateway Events: Presence).

use crate::event::{Event, Who};
use crate::out::Out;
use crate::world::{Bot, ROLES, Seen, World, mix};

/// The hash of an image, as in avatars and icons.
pub(crate) fn image(dice: u64) -> String {
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
        let moving = if user.is_multiple_of(9) { "a_" } else { "" };
        o.str("avatar", &format!("{moving}{}", image(u64::from(user))));
    }
    o.int("public_flags", i64::from(user % 7) * 64);
    if user % 13 == 2 {
        o.map("avatar_decoration_data", |o| {
            o.str("asset", &format!("a_{}", image(u64::from(user) ^ 0xDEC0)));
            o.id("sku_id", 1_144_058_844_004_233_369);
            o.null("expires_at");
        });
    } else {
        o.null("avatar_decoration_data");
    }
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
    o.str("avatar", &image(bot.id ^ u64::from(version)));
    o.null("banner");
    o.null("accent_color");
    o.str("locale", "en-US");
}

/// The roles of member `member`, updated `version` times. The last role is the bot's own, the one before it that of boosters.
fn roles(guild: u32, member: u32, version: u32) -> impl Iterator<Item = u32> {
    let dice = mix(u64::from(guild) << 32 | u64::from(member));
    let given = move |role: &u32| dice >> *role & 3 == 0 || *role == 1 + version % (ROLES - 3) && version > 0;
    (1..ROLES - 2).filter(given).chain(boosts(member).then_some(ROLES - 2))
}

fn has_nick(member: u32, version: u32) -> bool {
    !version.is_multiple_of(3) || version == 0 && member % 3 == 1
}

/// Whether a member has a role or a nickname, after `version` updates.
pub(crate) fn distinguished(guild: u32, member: u32, version: u32) -> bool {
    has_nick(member, version) || roles(guild, member, version).next().is_some()
}

fn boosts(member: u32) -> bool {
    member % 13 == 5
}

/// The fields of a member object without its user.
pub(crate) fn member_fields(o: &mut Out, world: &World, guild: u32, who: Who, seen: Seen) {
    match who {
        Who::Member(member) => numbered_member_fields(o, world, guild, member, seen.member_version(member, world.members)),
        Who::Visitor => {
            o.null("nick");
            o.empty("roles");
            o.time("joined_at", 1_700_000_000_000 + u64::from(seen.visitor) * 1000);
            o.null("premium_since");
            o.null("avatar");
            o.null("banner");
            o.null("communication_disabled_until");
            // It did not come for the first time.
            plain_member_fields(o, if seen.visitor > 0 { 1 } else { 0 });
        }
        Who::Bot => {
            o.null("nick");
            o.list("roles", |o| o.item_id(world.role_id(guild, ROLES - 1)));
            o.time("joined_at", super::guilds::joined_at(guild));
            o.null("premium_since");
            o.null("avatar");
            o.null("banner");
            o.null("communication_disabled_until");
            plain_member_fields(o, 0);
        }
    }
}

/// The fields of member number `member` after `version` updates, without its user.
pub(crate) fn numbered_member_fields(o: &mut Out, world: &World, guild: u32, member: u32, version: u32) {
    let dice = mix(u64::from(guild) << 32 | u64::from(member)) >> 16;
    if has_nick(member, version) {
        o.str("nick", &format!("nick {member}.{version}"));
    } else {
        o.null("nick");
    }
    o.list("roles", |o| roles(guild, member, version).for_each(|role| o.item_id(world.role_id(guild, role))));
    o.time("joined_at", 1_500_000_000_000 + dice % 200_000_000_000);
    if boosts(member) {
        o.time("premium_since", 1_720_000_000_000 + dice % 10_000_000_000);
    } else {
        o.null("premium_since");
    }
    // Some have an avatar for this guild alone, and change it.
    if member % 7 == 3 {
        o.str("avatar", &image(dice ^ u64::from(version)));
        o.str("banner", &image(dice ^ 0xBA));
    } else {
        o.null("avatar");
        o.null("banner");
    }
    if version > 0 && (version + member).is_multiple_of(17) {
        o.time("communication_disabled_until", 1_800_000_000_000);
    } else {
        o.null("communication_disabled_until");
    }
    plain_member_fields(o, 0);
}

fn plain_member_fields(o: &mut Out, flags: i64) {
    o.bool("pending", false);
    o.bool("mute", false);
    o.bool("deaf", false);
    o.int("flags", flags);
    o.null("avatar_decoration_data");
    o.null("unusual_dm_activity_until");
}

/// The fields of a member object with its user.
pub(crate) fn whole_member_fields(o: &mut Out, world: &World, bot: &Bot, guild: u32, who: Who, seen: Seen) {
    o.map("user", |o| match who {
        Who::Bot => own_user_fields(o, bot, seen.own),
        Who::Member(member) => user_fields(o, world, world.member_user(guild, member)),
        Who::Visitor => user_fields(o, world, world.visitor(guild)),
    });
    member_fields(o, world, guild, who, seen);
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
        member_fields(o, world, event.guild, Who::Member(member), event.seen);
    });
}

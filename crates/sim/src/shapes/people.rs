//! Users, members, presences, voice states (Discord docs, resources User, Guild, Voice; Gateway Events: Presence).

use super::text;
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
        let dice = mix(u64::from(user) << 32 | u64::from(version));
        if member.is_multiple_of(2) {
            o.item_map(|o| {
                o.str("name", "Custom Status");
                o.int("type", 4);
                o.str("state", &text::words(mix(dice ^ 4), 1 + dice as usize % 9));
                o.str("id", "custom");
                o.int("created_at", 1_763_000_000_000 + i64::from(version));
            });
        }
        match member % 6 {
            // What they hear, another song each time.
            3 => o.item_map(|o| song(o, world, user, dice, version)),
            1 | 4 => {}
            _ => o.item_map(|o| game(o, text::title(mix(u64::from(user))), dice, version)),
        }
    });
    o.int("processed_at_timestamp", 0);
}

/// A game: many play the same few, each at a place of their own.
fn game(o: &mut Out, title: u64, dice: u64, version: u32) {
    let game = mix(title ^ 0x6A3E);
    o.int("type", 0);
    o.map("timestamps", |o| o.int("start", 1_763_000_000_000 + (dice % 100_000_000) as i64));
    o.str("state", &text::words(mix(dice ^ 1), 1 + (dice >> 8) as usize % 4));
    o.str("details", &text::words(mix(dice ^ 2), 1 + (dice >> 16) as usize % 5));
    o.str("name", &text::words(game, 1 + game as usize % 3));
    o.str("id", &format!("{:016x}", mix(dice ^ 77)));
    o.int("created_at", 1_763_000_100_000 + i64::from(version) * 1_000 + (dice % 1_000) as i64);
    o.id("application_id", 356_875_570_916_753_438 ^ game >> 6);
    if dice.is_multiple_of(4) {
        o.map("party", |o| {
            o.str("id", &text::code(dice, 32));
            o.list("size", |o| {
                o.item_int(1 + (dice >> 8 & 3) as i64);
                o.item_int(4);
            });
        });
    }
    o.map("assets", |o| {
        // A game has a few pictures.
        let picture = mix(game ^ dice >> 32 & 7);
        if game.is_multiple_of(2) {
            o.str("large_image", &format!("{}", 700_000_000_000_000_000 + picture % 600_000_000_000_000_000));
        } else {
            o.str(
                "large_image",
                &format!("mp:external/{}/https/images.example.com/{}.png", text::code(picture, 43), text::code(picture, 12)),
            );
        }
        o.str("large_text", &text::words(picture, 2));
    });
}

fn song(o: &mut Out, world: &World, user: u32, dice: u64, version: u32) {
    let song = text::title(dice) << 10 | text::title(mix(dice));
    let began = 1_763_000_000_000 + (dice % 100_000_000) as i64;
    o.int("type", 2);
    o.map("timestamps", |o| {
        o.int("start", began);
        o.int("end", began + 120_000 + (mix(song) % 200_000) as i64);
    });
    o.str("sync_id", &text::code(song, 22));
    o.str("state", &text::words(mix(song >> 10), 2));
    o.str("session_id", &format!("{:032x}", u128::from(mix(u64::from(user))) << 64 | u128::from(dice)));
    o.map("party", |o| o.str("id", &format!("spotify:{}", world.user_id(user))));
    o.str("name", "Spotify");
    o.str("id", "spotify:1");
    o.int("flags", 48);
    o.str("details", &text::words(song, 1 + song as usize % 5));
    o.int("created_at", 1_763_000_100_000 + i64::from(version) * 1_000 + (dice % 1_000) as i64);
    o.map("assets", |o| {
        o.str("large_image", &format!("spotify:ab67616d0000b273{:016x}{:08x}", mix(song >> 3), mix(song) as u32));
        o.str("large_text", &text::words(mix(song >> 3), 2));
    });
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

//! A made-up world of guilds for benches and load tests: seeded, so the same in every run and on every machine, with all the fields that
//! Discord's documentation gives its objects, and users who are in several guilds at once.
//!
//! A payload is made as JSON; [`etf`] writes it as Discord writes ETF: keys as atoms, ids as integers.

use serde_json::{Map, Value, json};
use trunkline_discord::Dice;
use trunkline_etf::{EtfWriter, Ids, TermWrite};

/// 2026-01-01 as milliseconds since Discord's epoch (the first second of 2015).
const NEW_YEAR_MS: u64 = 347_155_200_000;
/// Shortest ids that [`etf`] writes as integers: every snowflake since 2016 has 17 digits or more.
const ID_DIGITS: usize = 17;
/// Share of memberships whose user is in another guild already; of 600 000 memberships this leaves about 460 000 users.
const SHARED: f64 = 0.36;

/// How big a world is.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// Guilds.
    pub guilds: u32,
    /// Members of each guild.
    pub members: u32,
    /// Channels of each guild.
    pub channels: u32,
    /// Roles of each guild.
    pub roles: u32,
    /// Emojis of each guild.
    pub emojis: u32,
    /// What everything is drawn from.
    pub seed: u64,
}

impl World {
    /// `guilds` guilds of 300 members, 65 channels, 60 roles and 50 emojis each.
    pub fn of_guilds(guilds: u32) -> World {
        World { guilds, members: 300, channels: 65, roles: 60, emojis: 50, seed: 11 }
    }

    /// Members of all guilds.
    pub fn memberships(&self) -> u64 {
        u64::from(self.guilds) * u64::from(self.members)
    }

    /// The id of a guild.
    pub fn guild_id(&self, guild: u32) -> u64 {
        snowflake(10_000_000 + u64::from(guild) * 60_000, 1)
    }

    /// The id of a guild's member.
    pub fn user_id(&self, guild: u32, member: u32) -> u64 {
        user_id(self.user(guild, member))
    }

    /// The body of a guild's GUILD_CREATE.
    pub fn guild_create(&self, guild: u32) -> Value {
        let mut dice = self.dice(1, u64::from(guild));
        let id = self.guild_id(guild);
        let role_ids: Vec<u64> = (0..self.roles).map(|role| if role == 0 { id } else { id + u64::from(role) * 4_194_304 }).collect();
        let mut seen = std::collections::HashSet::new();
        let members: Vec<Value> = (0..self.members)
            .map(|member| {
                let mut user = self.user(guild, member);
                if !seen.insert(user) {
                    user = self.own(guild, member);
                    seen.insert(user);
                }
                self.member(user, &role_ids, &mut dice)
            })
            .collect();
        let channel_base = id + 1_000 * 4_194_304;
        let channels: Vec<Value> = (0..self.channels).map(|channel| self.channel(channel_base, channel, &role_ids, &mut dice)).collect();
        json!({
            "id": text(id), "name": words(&mut dice, 2), "icon": hash(&mut dice, 10), "icon_hash": null, "splash": null, "discovery_splash": null,
            "home_header": null, "banner": null, "owner_id": text(user_id(self.user(guild, 0))), "region": "deprecated", "afk_channel_id": null,
            "afk_timeout": 300, "verification_level": dice.below(5), "default_message_notifications": 1, "explicit_content_filter": 2,
            "features": ["COMMUNITY", "NEWS", "AUTO_MODERATION"], "mfa_level": 1, "application_id": null, "system_channel_id": text(channel_base),
            "system_channel_flags": 0, "rules_channel_id": null, "max_presences": null, "max_members": 500_000, "vanity_url_code": null,
            "description": words(&mut dice, 9), "premium_tier": dice.below(4), "premium_subscription_count": dice.below(30),
            "preferred_locale": "en-US", "public_updates_channel_id": null, "max_video_channel_users": 25, "max_stage_video_channel_users": 50,
            "nsfw": false, "nsfw_level": 0, "premium_progress_bar_enabled": true, "safety_alerts_channel_id": null, "hub_type": null,
            "latest_onboarding_question_id": null, "incidents_data": null, "inventory_settings": null, "embedded_activities": [],
            "joined_at": time(&mut dice), "large": true, "lazy": true, "unavailable": false, "member_count": self.members, "version": 1_700_000_000_000_u64,
            "roles": (0..self.roles).map(|role| self.role(&role_ids, role, &mut dice)).collect::<Vec<_>>(),
            "emojis": (0..self.emojis).map(|emoji| self.emoji(id, emoji, &mut dice)).collect::<Vec<_>>(),
            "stickers": [], "voice_states": [], "presences": [], "threads": [], "stage_instances": [], "guild_scheduled_events": [],
            "soundboard_sounds": [], "members": members, "channels": channels,
        })
    }

    /// A user, by number: the same in every guild.
    fn user_object(&self, number: u64) -> Value {
        let mut dice = self.dice(2, number);
        let mut user = Map::new();
        user.insert("id".into(), text(user_id(number)));
        user.insert("username".into(), Value::String(word(&mut dice, 5, 14)));
        user.insert("global_name".into(), if dice.unit() < 0.7 { Value::String(words(&mut dice, 2)) } else { Value::Null });
        user.insert("display_name".into(), Value::Null);
        user.insert("discriminator".into(), json!("0"));
        user.insert("avatar".into(), hash(&mut dice, 30));
        user.insert(
            "avatar_decoration_data".into(),
            if dice.unit() < 0.05 {
                json!({ "sku_id": text(1_144_058_522_808_614_923), "asset": "a_741750ac6d9091a58059be33590c2821", "expires_at": null })
            } else {
                Value::Null
            },
        );
        user.insert(
            "primary_guild".into(),
            if dice.unit() < 0.05 {
                json!({ "tag": "TRNK", "identity_guild_id": text(self.guild_id(0)), "identity_enabled": true, "badge": "11223344556677889900aabbccddeeff" })
            } else {
                Value::Null
            },
        );
        user.insert("collectibles".into(), Value::Null);
        user.insert("display_name_styles".into(), Value::Null);
        user.insert("public_flags".into(), json!(if dice.unit() < 0.3 { 64 << dice.below(8) } else { 0 }));
        if dice.unit() < 0.02 {
            user.insert("bot".into(), json!(true));
        }
        Value::Object(user)
    }

    fn member(&self, user: u64, roles: &[u64], dice: &mut Dice) -> Value {
        let mut held: Vec<Value> = Vec::new();
        for _ in 0..dice.below(6) {
            let role = text(roles[dice.below(roles.len() as u64) as usize]);
            if !held.contains(&role) {
                held.push(role);
            }
        }
        json!({
            "user": self.user_object(user), "roles": held, "nick": if dice.unit() < 0.2 { Value::String(words(dice, 2)) } else { Value::Null },
            "avatar": null, "banner": null, "joined_at": time(dice),
            "premium_since": if dice.unit() < 0.02 { Value::String(time(dice)) } else { Value::Null },
            "deaf": false, "mute": false, "pending": false, "flags": dice.below(2) * 2, "communication_disabled_until": null,
        })
    }

    fn role(&self, ids: &[u64], role: u32, dice: &mut Dice) -> Value {
        json!({
            "id": text(ids[role as usize]), "name": if role == 0 { "@everyone".to_owned() } else { words(dice, 2) }, "description": null,
            "color": dice.below(1 << 24), "colors": { "primary_color": dice.below(1 << 24), "secondary_color": null, "tertiary_color": null },
            "hoist": dice.unit() < 0.2, "icon": null, "unicode_emoji": null, "position": role,
            "permissions": (dice.next_u64() >> 14).to_string(), "managed": false, "mentionable": dice.unit() < 0.3, "flags": 0, "tags": {},
        })
    }

    fn emoji(&self, guild: u64, emoji: u32, dice: &mut Dice) -> Value {
        json!({
            "id": text(guild + (5_000 + u64::from(emoji)) * 4_194_304), "name": word(dice, 4, 12), "roles": [],
            "require_colons": true, "managed": false, "animated": dice.unit() < 0.2, "available": true,
        })
    }

    fn channel(&self, base: u64, channel: u32, roles: &[u64], dice: &mut Dice) -> Value {
        let id = base + u64::from(channel) * 4_194_304;
        let overwrites: Vec<Value> = (0..dice.below(4))
            .map(|_| {
                let role = roles[dice.below(roles.len() as u64) as usize];
                json!({ "id": text(role), "type": 0, "allow": (dice.next_u64() >> 20).to_string(), "deny": "0" })
            })
            .collect();
        let parent = if channel < 5 { Value::Null } else { text(base + dice.below(5) * 4_194_304) };
        if channel < 5 {
            return json!({ "id": text(id), "type": 4, "name": words(dice, 1), "position": channel, "flags": 0, "parent_id": null, "permission_overwrites": overwrites });
        }
        if channel.is_multiple_of(6) {
            return json!({
                "id": text(id), "type": 2, "name": words(dice, 1), "position": channel, "flags": 0, "parent_id": parent, "permission_overwrites": overwrites,
                "bitrate": 64_000, "user_limit": 0, "rtc_region": null, "rate_limit_per_user": 0, "nsfw": false, "last_message_id": null,
            });
        }
        json!({
            "id": text(id), "type": 0, "name": words(dice, 1), "position": channel, "flags": 0, "parent_id": parent, "permission_overwrites": overwrites,
            "topic": if dice.unit() < 0.4 { Value::String(words(dice, 8)) } else { Value::Null }, "nsfw": false, "rate_limit_per_user": 0,
            "last_message_id": text(snowflake(NEW_YEAR_MS + dice.below(1 << 34), 7)), "last_pin_timestamp": null, "version": 1_700_000_000_000_u64,
            "icon_emoji": { "id": null, "name": "👋" }, "theme_color": null,
        })
    }

    /// The number of the user that a membership would bring with it were it not for sharing.
    fn own(&self, guild: u32, member: u32) -> u64 {
        u64::from(guild) * u64::from(self.members) + u64::from(member)
    }

    fn user(&self, guild: u32, member: u32) -> u64 {
        let own = self.own(guild, member);
        let mut dice = self.dice(3, own);
        if own > 0 && dice.unit() < SHARED { dice.below(own) } else { own }
    }

    fn dice(&self, salt: u64, number: u64) -> Dice {
        Dice::new(self.seed ^ (salt << 56) ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

/// A body as Discord writes it in ETF, without the version byte.
pub fn etf(value: &Value) -> Vec<u8> {
    let mut writer = EtfWriter::term().with_atom_keys().with_ids(Ids::Integers);
    write(&mut writer, None, value);
    writer.into_vec()
}

fn write(writer: &mut EtfWriter, key: Option<&str>, value: &Value) {
    match value {
        Value::Null => writer.null(),
        Value::Bool(value) => writer.bool(*value),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => writer.uint(number),
            (_, Some(number)) => writer.int(number),
            _ => writer.float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => {
            let number = matches!(key, Some("permissions" | "allow" | "deny" | "content" | "name"));
            match text.parse() {
                Ok(id) if !number && text.len() >= ID_DIGITS => writer.id(id),
                _ => writer.str(text),
            }
        }
        Value::Array(items) => {
            writer.begin_list(items.len());
            for item in items {
                write(writer, key, item);
            }
            writer.end_list();
        }
        Value::Object(entries) => {
            writer.begin_map(entries.len());
            for (key, value) in entries {
                writer.key(key);
                write(writer, Some(key), value);
            }
            writer.end_map();
        }
    }
}

fn user_id(number: u64) -> u64 {
    snowflake(60_000_000 + number * 500, 3)
}

fn snowflake(ms: u64, low: u64) -> u64 {
    ((NEW_YEAR_MS / 2 + ms) << 22) | low
}

fn text(id: u64) -> Value {
    Value::String(id.to_string())
}

/// No animated avatar for one in ten; `present` in forty have one at all.
fn hash(dice: &mut Dice, present: u64) -> Value {
    if dice.below(40) >= present {
        return Value::Null;
    }
    let start = if dice.unit() < 0.1 { "a_" } else { "" };
    Value::String(format!("{start}{:016x}{:016x}", dice.next_u64(), dice.next_u64()))
}

fn time(dice: &mut Dice) -> String {
    let (year, month, day) = (2016 + dice.below(10), 1 + dice.below(12), 1 + dice.below(28));
    let (hour, minute, second, micros) = (dice.below(24), dice.below(60), dice.below(60), dice.below(1_000) * 1_000);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00")
}

fn word(dice: &mut Dice, least: u64, most: u64) -> String {
    let letters = b"etaoinshrdlucmfwypvbgk_1207";
    (0..dice.between(least, most)).map(|_| char::from(letters[dice.below(letters.len() as u64) as usize])).collect()
}

fn words(dice: &mut Dice, count: u64) -> String {
    (0..count).map(|_| word(dice, 3, 10)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_world_is_the_same_every_time_and_its_users_are_shared() {
        let world = World::of_guilds(40);
        assert_eq!(world.guild_create(7), world.guild_create(7));
        let mut users = std::collections::HashSet::new();
        for guild in 0..world.guilds {
            let create = world.guild_create(guild);
            let members = create["members"].as_array().unwrap();
            let here: std::collections::HashSet<_> =
                members.iter().map(|member| member["user"]["id"].as_str().unwrap().to_owned()).collect();
            assert_eq!(here.len(), 300, "a user twice in guild {guild}");
            users.extend(here);
        }
        let share = users.len() as f64 / world.memberships() as f64;
        assert!((0.74..0.80).contains(&share), "{share}");
    }

    #[test]
    fn etf_has_ids_as_integers_and_nothing_else_changed() {
        let create = World::of_guilds(1).guild_create(0);
        let etf = etf(&create);
        let mut json = Vec::new();
        let value = trunkline_etf::Value::from_raw(trunkline_etf::Encoding::Etf, &etf);
        trunkline_etf::transcode(value, trunkline_etf::Encoding::Json, &mut json).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&json).unwrap(), create);
    }
}

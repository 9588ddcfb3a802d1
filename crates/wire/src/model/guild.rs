//! Guilds, roles and emojis.

use trunkline_etf::{Kind, Value};

use crate::model::user::snowflake;
use crate::pylon::discord::v1::model::{EmojiData, GuildData, RoleData};
use crate::read::{each, flag, id, id_or_none, ids, list, number, text, text_or_none, texts, time};

/// Discord docs, Guild Resource: Guild Object, with the extra fields of the Guild Create event.
pub fn guild(value: Value<'_>) -> GuildData {
    let mut out = GuildData::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"name" => out.name = text(value),
        b"icon" => out.icon = text_or_none(value),
        b"region" => out.region = text(value),
        b"afk_channel_id" => out.afk_channel_id = snowflake(value),
        b"owner_id" => out.owner_id = id(value),
        b"joined_at" => out.joined_at = time(value),
        b"splash" => out.splash = text_or_none(value),
        b"discovery_splash" => out.discovery_splash = text_or_none(value),
        b"afk_timeout" => out.afk_timeout = number(value),
        b"member_count" => out.member_count = number(value),
        b"verification_level" => out.verification_level = number(value),
        b"default_message_notifications" => out.default_message_notifications = number(value),
        b"explicit_content_filter" => out.explicit_content_filter = number(value),
        b"features" => out.features = texts(value),
        b"mfa_level" => out.mfa_level = number(value),
        b"widget_enabled" => out.widget_enabled = flag(value),
        b"widget_channel_id" => out.widget_channel_id = snowflake(value),
        b"system_channel_id" => out.system_channel_id = snowflake(value),
        b"vanity_url_code" => out.vanity_url_code = text_or_none(value),
        b"description" => out.description = text_or_none(value),
        b"banner" => out.banner = text_or_none(value),
        b"premium_tier" => out.premium_tier = number(value),
        b"premium_subscription_count" => out.premium_subscription_count = number(value),
        b"unavailable" => out.unavailable = flag(value),
        _ => {}
    });
    out
}

/// Discord docs, Topics, Permissions: Role Object.
pub fn role(value: Value<'_>, guild_id: u64) -> RoleData {
    let mut out = RoleData { guild_id, ..RoleData::default() };
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"guild_id" => out.guild_id = id_or_none(value).unwrap_or(guild_id),
        b"name" => out.name = text(value),
        b"managed" => out.managed = flag(value),
        b"mentionable" => out.mentionable = flag(value),
        b"hoist" => out.hoist = flag(value),
        b"color" => out.color = number(value),
        b"position" => out.position = number(value),
        b"permissions" => out.permissions = id(value),
        _ => {}
    });
    out
}

/// Discord docs, Emoji Resource: Emoji Object.
pub fn emoji(value: Value<'_>, guild_id: u64) -> EmojiData {
    let mut out = EmojiData { guild_id, ..EmojiData::default() };
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"guild_id" => out.guild_id = id_or_none(value).unwrap_or(guild_id),
        b"name" => out.name = text(value),
        b"animated" => out.animated = flag(value),
        b"roles" => out.roles = ids(value),
        b"managed" => out.managed = flag(value),
        b"require_colons" => out.require_colons = flag(value),
        b"available" => out.available = flag(value),
        b"user" => out.user_id = value.get("id").map_or(0, id),
        _ => {}
    });
    out
}

/// A guild's emojis: from the list itself, or from an object that holds it under `emojis`.
pub fn emojis(value: Value<'_>, guild_id: u64) -> Vec<EmojiData> {
    let items = if value.kind() == Kind::Map { value.get("emojis") } else { Some(value) };
    items.map(|items| list(items, |item| emoji(item, guild_id))).unwrap_or_default()
}

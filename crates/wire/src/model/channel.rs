//! Channels and threads.

use trunkline_etf::{Kind, Value};

use crate::model::user::snowflake;
use crate::pylon::discord::v1::model::channel_data::channel_permission_overwrite_data::ChannelPermissionOverwriteType;
use crate::pylon::discord::v1::model::channel_data::{ChannelPermissionOverwriteData, ChannelType};
use crate::pylon::discord::v1::model::{ChannelData, SnowflakeValue};
use crate::read::{each, flag, id, list, number, text, text_or_none};

/// Discord docs, Channel Resource: Channel Object. Objects inside of a guild create lack their guild: it is given.
pub fn channel(value: Value<'_>, guild_id: Option<u64>) -> ChannelData {
    let mut out = ChannelData { guild_id: guild_id.map(|value| SnowflakeValue { value }), ..ChannelData::default() };
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"guild_id" => out.guild_id = snowflake(value).or(out.guild_id.take()),
        b"name" => out.name = text(value),
        b"topic" => out.topic = text_or_none(value),
        b"type" => out.r#type = channel_type(value).into(),
        b"nsfw" => out.nsfw = flag(value),
        b"position" => out.position = number(value),
        b"bitrate" => out.bitrate = number(value),
        b"user_limit" => out.user_limit = number(value),
        b"parent_id" => out.parent_id = snowflake(value),
        b"rate_limit_per_user" => out.rate_limit_per_user = number(value),
        b"permission_overwrites" => out.permission_overwrites = list(value, overwrite),
        _ => {}
    });
    out
}

/// Discord docs, Channel Resource: Channel Types. Pylon's stand one above Discord's up to the store channel (6); then
/// Discord leaves a hole, and Pylon does not.
pub(crate) fn channel_type(value: Value<'_>) -> ChannelType {
    match value.as_u64() {
        Some(0) => ChannelType::GuildText,
        Some(1) => ChannelType::Dm,
        Some(2) => ChannelType::GuildVoice,
        Some(3) => ChannelType::GroupDm,
        Some(4) => ChannelType::GuildCategory,
        Some(5) => ChannelType::GuildNews,
        Some(6) => ChannelType::GuildStore,
        Some(11) => ChannelType::PublicThread,
        Some(12) => ChannelType::PrivateThread,
        Some(13) => ChannelType::GuildStageVoice,
        _ => ChannelType::Unknown,
    }
}

fn overwrite(value: Value<'_>) -> ChannelPermissionOverwriteData {
    let mut out = ChannelPermissionOverwriteData::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"type" => out.r#type = overwrite_type(value).into(),
        b"allow" => out.allow = id(value),
        b"deny" => out.deny = id(value),
        _ => {}
    });
    out
}

/// 0 is a role and 1 a member; before version 8 of the API it was text.
fn overwrite_type(value: Value<'_>) -> ChannelPermissionOverwriteType {
    if value.kind() == Kind::Str {
        return match value.as_bytes().as_deref() {
            Some(b"role" | b"0") => ChannelPermissionOverwriteType::Role,
            Some(b"member" | b"1") => ChannelPermissionOverwriteType::Member,
            _ => ChannelPermissionOverwriteType::Unknown,
        };
    }
    match value.as_u64() {
        Some(0) => ChannelPermissionOverwriteType::Role,
        Some(1) => ChannelPermissionOverwriteType::Member,
        _ => ChannelPermissionOverwriteType::Unknown,
    }
}

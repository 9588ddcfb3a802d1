//! Stickers and sounds. Discord docs, Sticker Resource and Soundboard Resource.

use trunkline_etf::Value;

use crate::model::user::{snowflake, user};
use crate::read::{each, flag, id, id_or_none, list, number, object, text, text_or_none};
use crate::trunkline::event::v1::{SoundboardSoundData, StickerData};

/// Discord docs, Sticker Resource: Sticker Object.
pub fn sticker(value: Value<'_>, guild_id: u64) -> StickerData {
    let mut out = StickerData { guild_id, ..StickerData::default() };
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"guild_id" => out.guild_id = id_or_none(value).unwrap_or(guild_id),
        b"pack_id" => out.pack_id = snowflake(value),
        b"name" => out.name = text(value),
        b"description" => out.description = text_or_none(value),
        b"tags" => out.tags = text(value),
        b"type" => out.r#type = number(value),
        b"format_type" => out.format_type = number(value),
        b"available" => out.available = flag(value),
        b"user" => out.user = object(value, user),
        b"sort_value" => out.sort_value = number(value),
        _ => {}
    });
    out
}

/// Discord docs, Soundboard Resource: Soundboard Sound Object.
pub fn sound(value: Value<'_>, guild_id: u64) -> SoundboardSoundData {
    let mut out = SoundboardSoundData { guild_id, ..SoundboardSoundData::default() };
    each(value, |key, value| match key {
        b"sound_id" => out.sound_id = id(value),
        b"guild_id" => out.guild_id = id_or_none(value).unwrap_or(guild_id),
        b"name" => out.name = text(value),
        b"volume" => out.volume = value.as_f64().unwrap_or(0.0),
        b"emoji_id" => out.emoji_id = snowflake(value),
        b"emoji_name" => out.emoji_name = text_or_none(value),
        b"available" => out.available = flag(value),
        b"user" => out.user = object(value, user),
        _ => {}
    });
    out
}

pub(super) fn sounds(value: Value<'_>, guild_id: u64) -> Vec<SoundboardSoundData> {
    value.get("soundboard_sounds").map(|sounds| list(sounds, |one| sound(one, guild_id))).unwrap_or_default()
}

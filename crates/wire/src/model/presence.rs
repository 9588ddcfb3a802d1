//! Presences and activities.

use trunkline_etf::Value;

use crate::model::user::user;
use crate::pylon::discord::v1::model::PresenceData;
use crate::pylon::discord::v1::model::presence_data::presence_activity_data::{
    ActivityType, PresenceActivityAssetsData, PresenceActivityEmojiData, PresenceActivityPartyData, PresenceActivitySecretsData,
    PresenceActivityTimestampsData,
};
use crate::pylon::discord::v1::model::presence_data::{MaybePartialUser, OnlineStatus, PresenceActivityData, PresenceClientStatusData};
use crate::read::{each, flag, id, id_or_none, large, list, millis, number, object, text, text_or_none};

/// Discord docs, Gateway Events: Presence Update. Only the user's id is certain, and nothing about the user is
/// validated by Discord; the whole user is given only where its name was sent.
pub fn presence(value: Value<'_>, guild_id: u64) -> PresenceData {
    let mut out = PresenceData { guild_id, ..PresenceData::default() };
    each(value, |key, value| match key {
        b"guild_id" => out.guild_id = id_or_none(value).unwrap_or(guild_id),
        b"user" => out.maybe_partial_user = Some(maybe_user(value)),
        b"status" => out.status = status(value).into(),
        b"client_status" => out.client_status = object(value, client_status),
        b"activities" => out.activities = list(value, activity),
        _ => {}
    });
    out
}

fn maybe_user(value: Value<'_>) -> MaybePartialUser {
    if value.get("username").and_then(text_or_none).is_some_and(|name| !name.is_empty()) {
        MaybePartialUser::User(user(value))
    } else {
        MaybePartialUser::UserId(value.get("id").map_or(0, id))
    }
}

fn status(value: Value<'_>) -> OnlineStatus {
    match value.as_bytes().as_deref() {
        Some(b"online") => OnlineStatus::Online,
        Some(b"idle") => OnlineStatus::Idle,
        Some(b"dnd") => OnlineStatus::Dnd,
        Some(b"invisible") => OnlineStatus::Invisible,
        Some(b"offline") => OnlineStatus::Offline,
        _ => OnlineStatus::Unknown,
    }
}

fn client_status(value: Value<'_>) -> PresenceClientStatusData {
    let mut out = PresenceClientStatusData::default();
    each(value, |key, value| match key {
        b"desktop" => out.desktop = text(value),
        b"mobile" => out.mobile = text(value),
        b"web" => out.web = text(value),
        _ => {}
    });
    out
}

/// Discord docs, Gateway Events: Activity Object.
fn activity(value: Value<'_>) -> PresenceActivityData {
    let mut out = PresenceActivityData::default();
    each(value, |key, value| match key {
        b"name" => out.name = text(value),
        b"type" => out.r#type = activity_type(value).into(),
        b"url" => out.url = text(value),
        b"created_at" => out.created_at = millis(value),
        b"timestamps" => out.timestamps = object(value, timestamps),
        b"application_id" => out.application_id = id(value),
        b"details" => out.details = text(value),
        b"state" => out.state = text(value),
        b"emoji" => out.emoji = object(value, emoji),
        b"party" => out.party = object(value, party),
        b"assets" => out.assets = object(value, assets),
        b"secrets" => out.secrets = object(value, secrets),
        b"instance" => out.instance = flag(value),
        b"flags" => out.flags = number(value),
        _ => {}
    });
    out
}

/// Discord docs, Gateway Events: Activity Types. Pylon's stand one above.
fn activity_type(value: Value<'_>) -> ActivityType {
    match value.as_u64() {
        Some(0) => ActivityType::Default,
        Some(1) => ActivityType::Streaming,
        Some(2) => ActivityType::Listening,
        Some(3) => ActivityType::Watching,
        Some(4) => ActivityType::CustomStatus,
        Some(5) => ActivityType::Competing,
        _ => ActivityType::Unknown,
    }
}

fn timestamps(value: Value<'_>) -> PresenceActivityTimestampsData {
    let mut out = PresenceActivityTimestampsData::default();
    each(value, |key, value| match key {
        b"start" => out.start = large(value),
        b"end" => out.end = large(value),
        _ => {}
    });
    out
}

fn emoji(value: Value<'_>) -> PresenceActivityEmojiData {
    let mut out = PresenceActivityEmojiData::default();
    each(value, |key, value| match key {
        b"name" => out.name = text(value),
        b"id" => out.id = id(value),
        b"animated" => out.animated = flag(value),
        _ => {}
    });
    out
}

fn party(value: Value<'_>) -> PresenceActivityPartyData {
    let mut out = PresenceActivityPartyData::default();
    each(value, |key, value| match key {
        b"id" => out.id = text(value),
        // Two numbers: current and maximum.
        b"size" => {
            let mut sizes = value.items();
            out.current_size = sizes.next().map_or(0, large);
            out.max_size = sizes.next().map_or(0, large);
        }
        _ => {}
    });
    out
}

fn assets(value: Value<'_>) -> PresenceActivityAssetsData {
    let mut out = PresenceActivityAssetsData::default();
    each(value, |key, value| match key {
        b"large_image" => out.large_image = text(value),
        b"large_text" => out.large_text = text(value),
        b"small_image" => out.small_image = text(value),
        b"small_text" => out.small_text = text(value),
        _ => {}
    });
    out
}

fn secrets(value: Value<'_>) -> PresenceActivitySecretsData {
    let mut out = PresenceActivitySecretsData::default();
    each(value, |key, value| match key {
        b"join" => out.join = text(value),
        b"spectate" => out.spectate = text(value),
        b"match" => out.r#match = text(value),
        _ => {}
    });
    out
}

//! Poll votes, effects in voice channels, command permissions, the bot's own user. Discord docs, Gateway Events.

use trunkline_etf::Value;

use crate::model::message::reaction_emoji;
use crate::model::user::{snowflake, user};
use crate::pylon::discord::v1::event::EventScope;
use crate::read::{each, flag, id, large, list, number, number_or_none, object, seconds, text_or_none};
use crate::trunkline::cache::v1::VoiceChannelData;
use crate::trunkline::event::v1::application_command_permissions_update_event::Permission;
use crate::trunkline::event::v1::{ApplicationCommandPermissionsUpdateEvent, PollVoteData, UserUpdateEvent, VoiceChannelEffectSendEvent};

pub(super) fn poll_vote(value: Value<'_>) -> PollVoteData {
    let mut out = PollVoteData::default();
    each(value, |key, value| match key {
        b"user_id" => out.user_id = id(value),
        b"channel_id" => out.channel_id = id(value),
        b"message_id" => out.message_id = id(value),
        b"guild_id" => out.guild_id = snowflake(value),
        b"answer_id" => out.answer_id = number(value),
        _ => {}
    });
    out
}

/// A voice channel's status and start time. Discord docs, Gateway Events: Voice Channel Status Update, Voice Channel Start Time Update.
pub fn voice_channel(value: Value<'_>, guild_id: u64) -> VoiceChannelData {
    let mut out = VoiceChannelData { guild_id, ..VoiceChannelData::default() };
    each(value, |key, value| match key {
        b"id" => out.channel_id = id(value),
        b"status" => out.status = text_or_none(value),
        b"voice_start_time" => out.voice_start_time = seconds(value),
        _ => {}
    });
    out
}

pub(super) fn effect(value: Value<'_>, scope: Option<EventScope>) -> VoiceChannelEffectSendEvent {
    let mut out = VoiceChannelEffectSendEvent { scope, ..VoiceChannelEffectSendEvent::default() };
    each(value, |key, value| match key {
        b"guild_id" => out.guild_id = id(value),
        b"channel_id" => out.channel_id = id(value),
        b"user_id" => out.user_id = id(value),
        b"emoji" => out.emoji = object(value, reaction_emoji),
        b"animation_type" => out.animation_type = number_or_none(value),
        b"animation_id" => out.animation_id = number_or_none(value),
        b"sound_id" => out.sound_id = snowflake(value),
        b"sound_volume" => out.sound_volume = value.as_f64(),
        _ => {}
    });
    out
}

pub(super) fn command_permissions(value: Value<'_>, scope: Option<EventScope>) -> ApplicationCommandPermissionsUpdateEvent {
    let mut out = ApplicationCommandPermissionsUpdateEvent { scope, ..ApplicationCommandPermissionsUpdateEvent::default() };
    each(value, |key, value| match key {
        b"guild_id" => out.guild_id = id(value),
        b"id" => out.id = id(value),
        b"application_id" => out.application_id = id(value),
        b"permissions" => out.permissions = list(value, permission),
        _ => {}
    });
    out
}

fn permission(value: Value<'_>) -> Permission {
    let mut out = Permission::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"type" => out.r#type = number(value),
        b"permission" => out.permission = flag(value),
        _ => {}
    });
    out
}

pub(super) fn user_update(value: Value<'_>, scope: Option<EventScope>) -> UserUpdateEvent {
    let mut out = UserUpdateEvent { scope, user: Some(user(value)), ..UserUpdateEvent::default() };
    each(value, |key, value| match key {
        b"global_name" => out.global_name = text_or_none(value),
        b"banner" => out.banner = text_or_none(value),
        b"accent_color" => out.accent_color = number_or_none(value),
        b"public_flags" => out.public_flags = large(value),
        _ => {}
    });
    out
}

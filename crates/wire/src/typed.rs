//! Events to Pylon's typed events, one line per kind.

use trunkline_discord::{Event, EventKind};
use trunkline_etf::Value;

use crate::model::channel::channel;
use crate::model::guild::{emojis, guild, role};
use crate::model::interaction::interaction;
use crate::model::message::{message, message_change, message_now, reaction_emoji};
use crate::model::presence::presence;
use crate::model::user::{member, snowflake, user, voice_state};
use crate::pylon::discord::v1::event::event_envelope::EventData;
use crate::pylon::discord::v1::event::*;
use crate::pylon::discord::v1::model::invite_data::InviteTargetUserType;
use crate::pylon::discord::v1::model::{GuildData, RoleData};
use crate::read::{each, flag, id, ids, large, object, seconds, text, time};

/// The typed form of an event, or `None` where Pylon's envelope has none: an event it does not know, or an interaction
/// of a kind it does not know.
///
/// Never fails: what does not have the documented type leaves its field at the default. Numbers, permissions and
/// timestamps are read alike from ETF and from JSON, so the same event gives the same message from either.
///
/// Message Update: where the cache had the message, `payload` is `cached`, the message as it is now (what Discord sent over what
/// was known), and `previously_cached` what it was. Where it had not, `payload` is `raw`, in which every field can be told
/// apart from an absent one.
pub fn typed(event: &Event) -> Option<EventData> {
    let value = event.value();
    let guild_id = event.routing.guild_id.unwrap_or(0);
    let scope = Some(EventScope { bot_id: event.shard.bot, guild_id });
    let previous = event.previous.as_ref().map(|object| object.value());
    Some(match event.kind {
        EventKind::Ready => EventData::ReadyEvent(ReadyEvent { scope }),
        EventKind::Resumed => EventData::ResumeEvent(ResumeEvent { scope }),
        EventKind::GuildCreate => EventData::GuildCreateEvent(GuildCreateEvent { scope, payload: Some(guild(value)) }),
        EventKind::GuildUpdate => {
            EventData::GuildUpdateEvent(GuildUpdateEvent { scope, payload: Some(guild(value)), previously_cached: previous.map(guild) })
        }
        EventKind::GuildDelete => EventData::GuildDeleteEvent(GuildDeleteEvent { scope, payload: Some(guild_delete(value)) }),
        EventKind::PresenceUpdate => EventData::PresenceUpdateEvent(PresenceUpdateEvent {
            scope,
            payload: Some(presence(value, guild_id)),
            previously_cached: previous.map(|value| presence(value, guild_id)),
        }),
        EventKind::GuildMemberAdd => EventData::GuildMemberAddEvent(GuildMemberAddEvent { scope, payload: Some(member(value, guild_id)) }),
        EventKind::GuildMemberUpdate => EventData::GuildMemberUpdateEvent(GuildMemberUpdateEvent {
            scope,
            payload: Some(member(value, guild_id)),
            previously_cached: previous.map(|value| member(value, guild_id)),
        }),
        EventKind::GuildMemberRemove => {
            EventData::GuildMemberRemoveEvent(GuildMemberRemoveEvent { scope, payload: Some(member(value, guild_id)) })
        }
        EventKind::ChannelCreate => EventData::ChannelCreateEvent(ChannelCreateEvent { scope, payload: Some(channel(value, None)) }),
        EventKind::ChannelUpdate => EventData::ChannelUpdateEvent(ChannelUpdateEvent {
            scope,
            payload: Some(channel(value, None)),
            previously_cached: previous.map(|value| channel(value, event.routing.guild_id)),
        }),
        EventKind::ChannelDelete => EventData::ChannelDeleteEvent(ChannelDeleteEvent { scope, payload: Some(channel(value, None)) }),
        EventKind::ChannelPinsUpdate => {
            EventData::ChannelPinsUpdateEvent(ChannelPinsUpdateEvent { scope, payload: Some(pins_update(value)) })
        }
        EventKind::GuildRoleCreate => EventData::GuildRoleCreateEvent(GuildRoleCreateEvent { scope, payload: role_of(value, guild_id) }),
        EventKind::GuildRoleUpdate => EventData::GuildRoleUpdateEvent(GuildRoleUpdateEvent {
            scope,
            payload: role_of(value, guild_id),
            previously_cached: previous.map(|value| role(value, guild_id)),
        }),
        EventKind::GuildRoleDelete => {
            EventData::GuildRoleDeleteEvent(GuildRoleDeleteEvent { scope, payload: Some(role_delete(value, guild_id)) })
        }
        EventKind::MessageCreate => EventData::MessageCreateEvent(MessageCreateEvent { scope, message_data: Some(message(value)) }),
        EventKind::MessageUpdate => EventData::MessageUpdateEvent(MessageUpdateEvent {
            scope,
            payload: Some(match previous {
                Some(known) => message_update_event::Payload::Cached(message_now(known, value)),
                None => message_update_event::Payload::Raw(message_change(value)),
            }),
            previously_cached: previous.map(message),
        }),
        EventKind::MessageDelete => EventData::MessageDeleteEvent(MessageDeleteEvent {
            scope,
            payload: Some(message_delete(value)),
            previously_cached: previous.map(message),
        }),
        EventKind::MessageDeleteBulk => {
            EventData::MessageDeleteBulkEvent(MessageDeleteBulkEvent { scope, payload: Some(message_delete_bulk(value)) })
        }
        EventKind::MessageReactionAdd => {
            EventData::MessageReactionAddEvent(MessageReactionAddEvent { scope, payload: Some(reaction_add(value)) })
        }
        EventKind::MessageReactionRemove => {
            EventData::MessageReactionRemoveEvent(MessageReactionRemoveEvent { scope, payload: Some(reaction_remove(value)) })
        }
        EventKind::MessageReactionRemoveAll => {
            EventData::MessageReactionRemoveAllEvent(MessageReactionRemoveAllEvent { scope, payload: Some(reaction_remove_all(value)) })
        }
        EventKind::MessageReactionRemoveEmoji => EventData::MessageReactionRemoveEmojiEvent(MessageReactionRemoveEmojiEvent {
            scope,
            payload: Some(reaction_remove_emoji(value)),
        }),
        EventKind::TypingStart => EventData::TypingStartEvent(TypingStartEvent { scope, payload: Some(typing(value, guild_id)) }),
        EventKind::VoiceStateUpdate => EventData::VoiceStateUpdateEvent(VoiceStateUpdateEvent {
            scope,
            payload: Some(voice_state(value, guild_id)),
            previously_cached: previous.map(|value| voice_state(value, guild_id)),
        }),
        EventKind::VoiceServerUpdate => {
            EventData::VoiceServerUpdateEvent(VoiceServerUpdateEvent { scope, payload: Some(voice_server(value)) })
        }
        EventKind::InviteCreate => EventData::InviteCreateEvent(InviteCreateEvent { scope, payload: Some(invite_create(value)) }),
        EventKind::InviteDelete => EventData::InviteDeleteEvent(InviteDeleteEvent { scope, payload: Some(invite_delete(value)) }),
        EventKind::GuildBanAdd => EventData::GuildBanAddEvent(GuildBanAddEvent {
            scope,
            payload: Some(guild_ban_add_event::PayloadData { guild_id, user: user_of(value) }),
        }),
        EventKind::GuildBanRemove => EventData::GuildBanRemoveEvent(GuildBanRemoveEvent {
            scope,
            payload: Some(guild_ban_remove_event::PayloadData { guild_id, user: user_of(value) }),
        }),
        EventKind::GuildEmojisUpdate => {
            let list = |value| guild_emojis_update_event::PayloadData { guild_id, emojis: emojis(value, guild_id) };
            let (payload, previously_cached) = (Some(list(value)), previous.map(list));
            EventData::GuildEmojisUpdateEvent(GuildEmojisUpdateEvent { scope, payload, previously_cached })
        }
        EventKind::GuildIntegrationsUpdate => EventData::GuildIntegrationsUpdateEvent(GuildIntegrationsUpdateEvent {
            scope,
            payload: Some(guild_integrations_update_event::PayloadData { guild_id }),
        }),
        EventKind::WebhooksUpdate => {
            EventData::WebhooksUpdateEvent(WebhooksUpdateEvent { scope, payload: Some(webhooks_update_event::PayloadData { guild_id }) })
        }
        EventKind::IntegrationCreate => EventData::IntegrationCreateEvent(IntegrationCreateEvent {
            scope,
            payload: Some(integration_create_event::PayloadData { guild_id }),
        }),
        EventKind::IntegrationUpdate => EventData::IntegrationUpdateEvent(IntegrationUpdateEvent {
            scope,
            payload: Some(integration_update_event::PayloadData { guild_id }),
        }),
        EventKind::IntegrationDelete => EventData::IntegrationDeleteEvent(IntegrationDeleteEvent {
            scope,
            payload: Some(integration_delete_event::PayloadData { guild_id }),
        }),
        EventKind::InteractionCreate => {
            let (kind, payload) = interaction(value)?;
            EventData::InteractionCreateEvent(InteractionCreateEvent { scope, r#type: kind.into(), payload: Some(payload) })
        }
        _ => return None,
    })
}

/// Only the id and, in an outage, `unavailable` are sent. The key's absence means that the bot is no longer in it.
fn guild_delete(value: Value<'_>) -> GuildData {
    let mut out = GuildData::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"unavailable" => out.unavailable = flag(value),
        _ => {}
    });
    out
}

fn role_of(value: Value<'_>, guild_id: u64) -> Option<RoleData> {
    value.get("role").and_then(|value| object(value, |value| role(value, guild_id)))
}

/// Discord sends ids alone.
fn role_delete(value: Value<'_>, guild_id: u64) -> RoleData {
    RoleData { id: value.get("role_id").map_or(0, id), guild_id, ..RoleData::default() }
}

fn user_of(value: Value<'_>) -> Option<crate::pylon::discord::v1::model::UserData> {
    value.get("user").and_then(|value| object(value, user))
}

fn pins_update(value: Value<'_>) -> channel_pins_update_event::PayloadData {
    let mut out = channel_pins_update_event::PayloadData::default();
    each(value, |key, value| match key {
        b"channel_id" => out.channel_id = id(value),
        b"guild_id" => out.guild_id = id(value),
        b"last_pin_timestamp" => out.last_pin_timestamp = time(value),
        _ => {}
    });
    out
}

fn message_delete(value: Value<'_>) -> message_delete_event::PayloadData {
    let mut out = message_delete_event::PayloadData::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"channel_id" => out.channel_id = id(value),
        b"guild_id" => out.guild_id = id(value),
        _ => {}
    });
    out
}

fn message_delete_bulk(value: Value<'_>) -> message_delete_bulk_event::PayloadData {
    let mut out = message_delete_bulk_event::PayloadData::default();
    each(value, |key, value| match key {
        b"ids" => out.ids = ids(value),
        b"channel_id" => out.channel_id = id(value),
        b"guild_id" => out.guild_id = id(value),
        _ => {}
    });
    out
}

fn reaction_add(value: Value<'_>) -> message_reaction_add_event::PayloadData {
    let mut out = message_reaction_add_event::PayloadData::default();
    each(value, |key, value| match key {
        b"user_id" => out.user_id = id(value),
        b"channel_id" => out.channel_id = id(value),
        b"message_id" => out.message_id = id(value),
        b"guild_id" => out.guild_id = id(value),
        b"emoji" => out.emoji = object(value, reaction_emoji),
        _ => {}
    });
    out
}

fn reaction_remove(value: Value<'_>) -> message_reaction_remove_event::PayloadData {
    let mut out = message_reaction_remove_event::PayloadData::default();
    each(value, |key, value| match key {
        b"user_id" => out.user_id = id(value),
        b"channel_id" => out.channel_id = id(value),
        b"message_id" => out.message_id = id(value),
        b"guild_id" => out.guild_id = id(value),
        b"emoji" => out.emoji = object(value, reaction_emoji),
        _ => {}
    });
    out
}

fn reaction_remove_all(value: Value<'_>) -> message_reaction_remove_all_event::PayloadData {
    let mut out = message_reaction_remove_all_event::PayloadData::default();
    each(value, |key, value| match key {
        b"channel_id" => out.channel_id = id(value),
        b"message_id" => out.message_id = id(value),
        b"guild_id" => out.guild_id = id(value),
        _ => {}
    });
    out
}

fn reaction_remove_emoji(value: Value<'_>) -> message_reaction_remove_emoji_event::PayloadData {
    let mut out = message_reaction_remove_emoji_event::PayloadData::default();
    each(value, |key, value| match key {
        b"channel_id" => out.channel_id = id(value),
        b"message_id" => out.message_id = id(value),
        b"guild_id" => out.guild_id = id(value),
        b"emoji" => out.emoji = object(value, reaction_emoji),
        _ => {}
    });
    out
}

fn typing(value: Value<'_>, guild_id: u64) -> typing_start_event::PayloadData {
    let mut out = typing_start_event::PayloadData::default();
    each(value, |key, value| match key {
        b"channel_id" => out.channel_id = id(value),
        b"user_id" => out.user_id = id(value),
        b"timestamp" => out.timestamp = seconds(value),
        b"member" => out.member = object(value, |value| member(value, guild_id)),
        _ => {}
    });
    out
}

fn voice_server(value: Value<'_>) -> voice_server_update_event::PayloadData {
    let mut out = voice_server_update_event::PayloadData::default();
    each(value, |key, value| match key {
        b"guild_id" => out.guild_id = id(value),
        b"token" => out.token = text(value),
        b"endpoint" => out.endpoint = text(value),
        _ => {}
    });
    out
}

fn invite_create(value: Value<'_>) -> invite_create_event::PayloadData {
    let mut out = invite_create_event::PayloadData::default();
    each(value, |key, value| match key {
        b"channel_id" => out.channel_id = id(value),
        b"code" => out.code = text(value),
        b"created_at" => out.created_at = time(value),
        b"guild_id" => out.guild_id = snowflake(value),
        b"inviter" => out.inviter = object(value, user),
        b"max_age" => out.max_age = large(value),
        b"max_uses" => out.max_uses = large(value),
        b"target_user" => out.target_user = object(value, user),
        // Named `target_user_type` before version 8 of the API. 1 is a stream on both sides; embedded applications (2)
        // are unknown to Pylon.
        b"target_type" | b"target_user_type" => {
            let kind = if value.as_u64() == Some(1) { InviteTargetUserType::Stream } else { InviteTargetUserType::Unknown };
            out.target_user_type = kind.into();
        }
        b"temporary" => out.temporary = flag(value),
        b"uses" => out.uses = large(value),
        _ => {}
    });
    out
}

fn invite_delete(value: Value<'_>) -> invite_delete_event::PayloadData {
    let mut out = invite_delete_event::PayloadData::default();
    each(value, |key, value| match key {
        b"guild_id" => out.guild_id = id(value),
        b"channel_id" => out.channel_id = id(value),
        b"code" => out.code = text(value),
        _ => {}
    });
    out
}

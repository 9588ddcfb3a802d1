//! Typed events that Pylon's contract lacks: ours, for workers that set one of our fields.
//!
//! Numbers of Discord's enumerations are passed on as they are, so that a value newer than our protos is not lost.

mod expression;
mod moderation;
mod monetization;
mod other;
mod scheduled_event;
mod thread;

pub use expression::{sound, sticker};
pub use other::voice_channel;
pub use scheduled_event::{scheduled_event, stage_instance};
pub use thread::thread;

use trunkline_discord::{Event, EventKind};

use crate::pylon::discord::v1::event::EventScope;
use crate::pylon::discord::v1::event::event_envelope::EventData;
use crate::read::{id, list};
use crate::trunkline::event::v1::*;

/// The typed form of an event that Pylon does not have, or `None` where it has no typed form of ours either (chunks of
/// members, channel info, rate limits, and what Discord has not documented): that is delivered raw.
pub fn typed_addition(event: &Event) -> Option<EventData> {
    let d = event.value();
    let guild_id = event.routing.guild_id.unwrap_or(0);
    let scope = Some(EventScope { bot_id: event.shard.bot, guild_id });
    let field = |key: &str| d.get(key).map_or(0, id);
    let previous = event.previous.as_ref().map(|object| object.value());
    Some(match event.kind {
        EventKind::ThreadCreate => EventData::ThreadCreateEvent(ThreadCreateEvent {
            scope,
            thread: Some(thread::thread(d, guild_id)),
            newly_created: d.get("newly_created").is_some_and(crate::read::flag),
        }),
        EventKind::ThreadUpdate => EventData::ThreadUpdateEvent(ThreadUpdateEvent {
            scope,
            thread: Some(thread::thread(d, guild_id)),
            previously_cached: previous.map(|value| thread::thread(value, guild_id)),
        }),
        EventKind::ThreadDelete => EventData::ThreadDeleteEvent(ThreadDeleteEvent {
            scope,
            id: field("id"),
            guild_id,
            parent_id: field("parent_id"),
            r#type: d.get("type").map_or(0, crate::read::number),
            previously_cached: previous.map(|value| thread::thread(value, guild_id)),
        }),
        EventKind::ThreadListSync => EventData::ThreadListSyncEvent(thread::list_sync(d, scope, guild_id)),
        EventKind::ThreadMemberUpdate => EventData::ThreadMemberUpdateEvent(ThreadMemberUpdateEvent {
            scope,
            guild_id,
            member: Some(thread::thread_member(d, guild_id, 0)),
            previously_cached: previous.map(|value| thread::thread_member(value, guild_id, field("id"))),
        }),
        EventKind::ThreadMembersUpdate => EventData::ThreadMembersUpdateEvent(thread::members_update(d, scope, guild_id)),
        EventKind::GuildStickersUpdate => EventData::GuildStickersUpdateEvent(GuildStickersUpdateEvent {
            scope,
            guild_id,
            stickers: d.get("stickers").map(|stickers| list(stickers, |one| expression::sticker(one, guild_id))).unwrap_or_default(),
            previously_cached: previous
                .map(|stickers| StickerListData { stickers: list(stickers, |one| expression::sticker(one, guild_id)) }),
        }),
        EventKind::GuildSoundboardSoundCreate => EventData::GuildSoundboardSoundCreateEvent(GuildSoundboardSoundCreateEvent {
            scope,
            sound: Some(expression::sound(d, guild_id)),
        }),
        EventKind::GuildSoundboardSoundUpdate => EventData::GuildSoundboardSoundUpdateEvent(GuildSoundboardSoundUpdateEvent {
            scope,
            sound: Some(expression::sound(d, guild_id)),
            previously_cached: previous.map(|value| expression::sound(value, guild_id)),
        }),
        EventKind::GuildSoundboardSoundDelete => EventData::GuildSoundboardSoundDeleteEvent(GuildSoundboardSoundDeleteEvent {
            scope,
            guild_id,
            sound_id: field("sound_id"),
            previously_cached: previous.map(|value| expression::sound(value, guild_id)),
        }),
        EventKind::GuildSoundboardSoundsUpdate => {
            let sounds = expression::sounds(d, guild_id);
            EventData::GuildSoundboardSoundsUpdateEvent(GuildSoundboardSoundsUpdateEvent { scope, guild_id, sounds })
        }
        EventKind::SoundboardSounds => {
            EventData::SoundboardSoundsEvent(SoundboardSoundsEvent { scope, guild_id, sounds: expression::sounds(d, guild_id) })
        }
        EventKind::GuildScheduledEventCreate => EventData::GuildScheduledEventCreateEvent(GuildScheduledEventCreateEvent {
            scope,
            scheduled_event: Some(scheduled_event::scheduled_event(d)),
        }),
        EventKind::GuildScheduledEventUpdate => EventData::GuildScheduledEventUpdateEvent(GuildScheduledEventUpdateEvent {
            scope,
            scheduled_event: Some(scheduled_event::scheduled_event(d)),
            previously_cached: previous.map(|value| ScheduledEventData { guild_id, ..scheduled_event::scheduled_event(value) }),
        }),
        EventKind::GuildScheduledEventDelete => EventData::GuildScheduledEventDeleteEvent(GuildScheduledEventDeleteEvent {
            scope,
            scheduled_event: Some(scheduled_event::scheduled_event(d)),
            previously_cached: previous.map(|value| ScheduledEventData { guild_id, ..scheduled_event::scheduled_event(value) }),
        }),
        EventKind::GuildScheduledEventUserAdd => EventData::GuildScheduledEventUserAddEvent(GuildScheduledEventUserAddEvent {
            scope,
            guild_id,
            scheduled_event_id: field("guild_scheduled_event_id"),
            user_id: field("user_id"),
        }),
        EventKind::GuildScheduledEventUserRemove => EventData::GuildScheduledEventUserRemoveEvent(GuildScheduledEventUserRemoveEvent {
            scope,
            guild_id,
            scheduled_event_id: field("guild_scheduled_event_id"),
            user_id: field("user_id"),
        }),
        EventKind::StageInstanceCreate => EventData::StageInstanceCreateEvent(StageInstanceCreateEvent {
            scope,
            stage_instance: Some(scheduled_event::stage_instance(d)),
        }),
        EventKind::StageInstanceUpdate => EventData::StageInstanceUpdateEvent(StageInstanceUpdateEvent {
            scope,
            stage_instance: Some(scheduled_event::stage_instance(d)),
            previously_cached: previous.map(|value| StageInstanceData { guild_id, ..scheduled_event::stage_instance(value) }),
        }),
        EventKind::StageInstanceDelete => EventData::StageInstanceDeleteEvent(StageInstanceDeleteEvent {
            scope,
            stage_instance: Some(scheduled_event::stage_instance(d)),
            previously_cached: previous.map(|value| StageInstanceData { guild_id, ..scheduled_event::stage_instance(value) }),
        }),
        EventKind::AutoModerationRuleCreate => {
            EventData::AutoModerationRuleCreateEvent(AutoModerationRuleCreateEvent { scope, rule: Some(moderation::rule(d)) })
        }
        EventKind::AutoModerationRuleUpdate => EventData::AutoModerationRuleUpdateEvent(AutoModerationRuleUpdateEvent {
            scope,
            rule: Some(moderation::rule(d)),
            previously_cached: previous.map(moderation::rule),
        }),
        EventKind::AutoModerationRuleDelete => EventData::AutoModerationRuleDeleteEvent(AutoModerationRuleDeleteEvent {
            scope,
            rule: Some(moderation::rule(d)),
            previously_cached: previous.map(moderation::rule),
        }),
        EventKind::AutoModerationActionExecution => EventData::AutoModerationActionExecutionEvent(moderation::action_execution(d, scope)),
        EventKind::GuildAuditLogEntryCreate => {
            EventData::GuildAuditLogEntryCreateEvent(GuildAuditLogEntryCreateEvent { scope, entry: Some(moderation::audit_log_entry(d)) })
        }
        EventKind::EntitlementCreate => {
            EventData::EntitlementCreateEvent(EntitlementCreateEvent { scope, entitlement: Some(monetization::entitlement(d)) })
        }
        EventKind::EntitlementUpdate => EventData::EntitlementUpdateEvent(EntitlementUpdateEvent {
            scope,
            entitlement: Some(monetization::entitlement(d)),
            previously_cached: previous.map(monetization::entitlement),
        }),
        EventKind::EntitlementDelete => EventData::EntitlementDeleteEvent(EntitlementDeleteEvent {
            scope,
            entitlement: Some(monetization::entitlement(d)),
            previously_cached: previous.map(monetization::entitlement),
        }),
        EventKind::SubscriptionCreate => {
            EventData::SubscriptionCreateEvent(SubscriptionCreateEvent { scope, subscription: Some(monetization::subscription(d)) })
        }
        EventKind::SubscriptionUpdate => EventData::SubscriptionUpdateEvent(SubscriptionUpdateEvent {
            scope,
            subscription: Some(monetization::subscription(d)),
            previously_cached: previous.map(monetization::subscription),
        }),
        EventKind::SubscriptionDelete => EventData::SubscriptionDeleteEvent(SubscriptionDeleteEvent {
            scope,
            subscription: Some(monetization::subscription(d)),
            previously_cached: previous.map(monetization::subscription),
        }),
        EventKind::MessagePollVoteAdd => {
            EventData::MessagePollVoteAddEvent(MessagePollVoteAddEvent { scope, vote: Some(other::poll_vote(d)) })
        }
        EventKind::MessagePollVoteRemove => {
            EventData::MessagePollVoteRemoveEvent(MessagePollVoteRemoveEvent { scope, vote: Some(other::poll_vote(d)) })
        }
        EventKind::VoiceChannelEffectSend => EventData::VoiceChannelEffectSendEvent(other::effect(d, scope)),
        EventKind::VoiceChannelStatusUpdate => EventData::VoiceChannelStatusUpdateEvent(VoiceChannelStatusUpdateEvent {
            scope,
            guild_id,
            channel_id: field("id"),
            status: d.get("status").and_then(crate::read::text_or_none),
            previously_cached_status: previous.and_then(|known| known.get("status")).and_then(crate::read::text_or_none),
        }),
        EventKind::VoiceChannelStartTimeUpdate => EventData::VoiceChannelStartTimeUpdateEvent(VoiceChannelStartTimeUpdateEvent {
            scope,
            guild_id,
            channel_id: field("id"),
            voice_start_time: d.get("voice_start_time").and_then(crate::read::seconds),
            previously_cached_voice_start_time: previous.and_then(|known| known.get("voice_start_time")).and_then(crate::read::seconds),
        }),
        EventKind::ApplicationCommandPermissionsUpdate => {
            EventData::ApplicationCommandPermissionsUpdateEvent(other::command_permissions(d, scope))
        }
        EventKind::UserUpdate => EventData::UserUpdateEvent(UserUpdateEvent {
            previously_cached: previous.map(crate::model::user::user),
            ..other::user_update(d, scope)
        }),
        _ => return None,
    })
}

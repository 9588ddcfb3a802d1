//! Auto moderation and the audit log. Discord docs, Auto Moderation Resource and Audit Logs Resource.

use trunkline_etf::{Encoding, Kind, Value, transcode};

use crate::model::user::snowflake;
use crate::pylon::discord::v1::event::EventScope;
use crate::read::{each, flag, id, ids, list, number, number_or_none, object, scalar_text, text, text_or_none, texts};
use crate::trunkline::event::v1::{
    AuditLogChange, AuditLogEntryData, AutoModerationAction, AutoModerationActionExecutionEvent, AutoModerationRuleData,
    AutoModerationTrigger,
};

pub(super) fn rule(value: Value<'_>) -> AutoModerationRuleData {
    let mut out = AutoModerationRuleData::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"guild_id" => out.guild_id = id(value),
        b"name" => out.name = text(value),
        b"creator_id" => out.creator_id = id(value),
        b"event_type" => out.event_type = number(value),
        b"trigger_type" => out.trigger_type = number(value),
        b"trigger_metadata" => out.trigger_metadata = object(value, trigger),
        b"actions" => out.actions = list(value, action),
        b"enabled" => out.enabled = flag(value),
        b"exempt_roles" => out.exempt_roles = ids(value),
        b"exempt_channels" => out.exempt_channels = ids(value),
        _ => {}
    });
    out
}

fn trigger(value: Value<'_>) -> AutoModerationTrigger {
    let mut out = AutoModerationTrigger::default();
    each(value, |key, value| match key {
        b"keyword_filter" => out.keyword_filter = texts(value),
        b"regex_patterns" => out.regex_patterns = texts(value),
        b"presets" => out.presets = value.items().filter_map(number_or_none).collect(),
        b"allow_list" => out.allow_list = texts(value),
        b"mention_total_limit" => out.mention_total_limit = number(value),
        b"mention_raid_protection_enabled" => out.mention_raid_protection_enabled = flag(value),
        _ => {}
    });
    out
}

fn action(value: Value<'_>) -> AutoModerationAction {
    let mut out = AutoModerationAction::default();
    each(value, |key, value| match key {
        b"type" => out.r#type = number(value),
        b"metadata" => each(value, |key, value| match key {
            b"channel_id" => out.channel_id = snowflake(value),
            b"duration_seconds" => out.duration_seconds = number_or_none(value),
            b"custom_message" => out.custom_message = text_or_none(value),
            _ => {}
        }),
        _ => {}
    });
    out
}

pub(super) fn action_execution(value: Value<'_>, scope: Option<EventScope>) -> AutoModerationActionExecutionEvent {
    let mut out = AutoModerationActionExecutionEvent { scope, ..AutoModerationActionExecutionEvent::default() };
    each(value, |key, value| match key {
        b"guild_id" => out.guild_id = id(value),
        b"action" => out.action = object(value, action),
        b"rule_id" => out.rule_id = id(value),
        b"rule_trigger_type" => out.rule_trigger_type = number(value),
        b"user_id" => out.user_id = id(value),
        b"channel_id" => out.channel_id = snowflake(value),
        b"message_id" => out.message_id = snowflake(value),
        b"alert_system_message_id" => out.alert_system_message_id = snowflake(value),
        b"content" => out.content = text(value),
        b"matched_keyword" => out.matched_keyword = text_or_none(value),
        b"matched_content" => out.matched_content = text_or_none(value),
        _ => {}
    });
    out
}

pub(super) fn audit_log_entry(value: Value<'_>) -> AuditLogEntryData {
    let mut out = AuditLogEntryData::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"guild_id" => out.guild_id = id(value),
        b"action_type" => out.action_type = number(value),
        b"user_id" => out.user_id = snowflake(value),
        // Text in JSON, an integer in Discord's ETF.
        b"target_id" => out.target_id = matches!(value.kind(), Kind::Str | Kind::Int).then(|| scalar_text(value)),
        b"reason" => out.reason = text_or_none(value),
        b"changes" => out.changes = list(value, change),
        b"options" => each(value, |key, value| {
            if matches!(value.kind(), Kind::Str | Kind::Int) {
                out.options.insert(String::from_utf8_lossy(key).into_owned(), scalar_text(value));
            }
        }),
        _ => {}
    });
    out
}

fn change(value: Value<'_>) -> AuditLogChange {
    let mut out = AuditLogChange::default();
    each(value, |key, value| match key {
        b"key" => out.key = text(value),
        b"old_value" => out.old_value_json = json(value),
        b"new_value" => out.new_value_json = json(value),
        _ => {}
    });
    out
}

fn json(value: Value<'_>) -> Option<String> {
    let mut out = Vec::new();
    transcode(value, Encoding::Json, &mut out).ok()?;
    String::from_utf8(out).ok()
}

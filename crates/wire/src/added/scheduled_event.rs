//! Scheduled events and stages. Discord docs, Guild Scheduled Event Resource and Stage Instance Resource.

use trunkline_etf::Value;

use crate::model::user::{snowflake, user};
use crate::read::{each, flag, id, list, number, number_or_none, object, text, text_or_none, time};
use crate::trunkline::event::v1::recurrence_rule::NthWeekday;
use crate::trunkline::event::v1::{RecurrenceRule, ScheduledEventData, StageInstanceData};

/// Discord docs, Guild Scheduled Event Resource: Guild Scheduled Event Object.
pub fn scheduled_event(value: Value<'_>) -> ScheduledEventData {
    let mut out = ScheduledEventData::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"guild_id" => out.guild_id = id(value),
        b"channel_id" => out.channel_id = snowflake(value),
        b"creator_id" => out.creator_id = snowflake(value),
        b"name" => out.name = text(value),
        b"description" => out.description = text_or_none(value),
        b"scheduled_start_time" => out.scheduled_start_time = time(value),
        b"scheduled_end_time" => out.scheduled_end_time = time(value),
        b"privacy_level" => out.privacy_level = number(value),
        b"status" => out.status = number(value),
        b"entity_type" => out.entity_type = number(value),
        b"entity_id" => out.entity_id = snowflake(value),
        b"entity_metadata" => out.location = value.get("location").and_then(text_or_none),
        b"creator" => out.creator = object(value, user),
        b"user_count" => out.user_count = number_or_none(value),
        b"image" => out.image = text_or_none(value),
        b"recurrence_rule" => out.recurrence_rule = object(value, recurrence_rule),
        _ => {}
    });
    out
}

fn recurrence_rule(value: Value<'_>) -> RecurrenceRule {
    let numbers = |value: Value<'_>| value.items().filter_map(number_or_none).collect();
    let mut out = RecurrenceRule::default();
    each(value, |key, value| match key {
        b"start" => out.start = time(value),
        b"end" => out.end = time(value),
        b"frequency" => out.frequency = number(value),
        b"interval" => out.interval = number(value),
        b"by_weekday" => out.by_weekday = numbers(value),
        b"by_n_weekday" => out.by_n_weekday = list(value, nth_weekday),
        b"by_month" => out.by_month = numbers(value),
        b"by_month_day" => out.by_month_day = numbers(value),
        b"by_year_day" => out.by_year_day = numbers(value),
        b"count" => out.count = number_or_none(value),
        _ => {}
    });
    out
}

fn nth_weekday(value: Value<'_>) -> NthWeekday {
    let [n, day] = value.get_all(["n", "day"]).map(|value| value.map_or(0, number));
    NthWeekday { n, day }
}

/// Discord docs, Stage Instance Resource: Stage Instance Object.
pub fn stage_instance(value: Value<'_>) -> StageInstanceData {
    let mut out = StageInstanceData::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"guild_id" => out.guild_id = id(value),
        b"channel_id" => out.channel_id = id(value),
        b"topic" => out.topic = text(value),
        b"privacy_level" => out.privacy_level = number(value),
        b"discoverable_disabled" => out.discoverable_disabled = flag(value),
        b"guild_scheduled_event_id" => out.scheduled_event_id = snowflake(value),
        _ => {}
    });
    out
}

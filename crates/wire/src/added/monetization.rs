//! Entitlements and subscriptions. Discord docs, Entitlement Resource and Subscription Resource.

use trunkline_etf::Value;

use crate::model::user::{snowflake, snowflakes};
use crate::read::{each, flag, id, ids, number, text_or_none, time};
use crate::trunkline::event::v1::{EntitlementData, SubscriptionData};

pub(super) fn entitlement(value: Value<'_>) -> EntitlementData {
    let mut out = EntitlementData::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"sku_id" => out.sku_id = id(value),
        b"application_id" => out.application_id = id(value),
        b"user_id" => out.user_id = snowflake(value),
        b"guild_id" => out.guild_id = snowflake(value),
        b"type" => out.r#type = number(value),
        b"deleted" => out.deleted = flag(value),
        b"starts_at" => out.starts_at = time(value),
        b"ends_at" => out.ends_at = time(value),
        b"consumed" => out.consumed = value.as_bool(),
        _ => {}
    });
    out
}

pub(super) fn subscription(value: Value<'_>) -> SubscriptionData {
    let mut out = SubscriptionData::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"user_id" => out.user_id = id(value),
        b"sku_ids" => out.sku_ids = ids(value),
        b"entitlement_ids" => out.entitlement_ids = ids(value),
        b"renewal_sku_ids" => out.renewal_sku_ids = snowflakes(value),
        b"current_period_start" => out.current_period_start = time(value),
        b"current_period_end" => out.current_period_end = time(value),
        b"status" => out.status = number(value),
        b"canceled_at" => out.canceled_at = time(value),
        b"country" => out.country = text_or_none(value),
        _ => {}
    });
    out
}

//! Scheduled events, rules, integrations, invites, interactions, money.

use serde_json::json;
use trunkline_cache::Kind;
use trunkline_discord::EventKind as K;

use crate::common::id;
use crate::table::{Ask, Row, check, here, row, with};
use crate::{entitlement, guild, guild_object, integration, invite, rule, subscription, world};

pub(crate) fn rows() -> Vec<Row> {
    let party = guild()["guild_scheduled_events"][0].clone();
    let interest = |event: u64| here(json!({"guild_scheduled_event_id": id(event), "user_id": id(50)}));
    vec![
        row(K::GuildScheduledEventCreate, "adds it", here(json!({"id": id(68), "name": "n"})))
            .gives(Ask::One(Kind::ScheduledEvent, 68), here(json!({"id": id(68), "name": "n"}))),
        row(K::GuildScheduledEventUpdate, "replaces it", here(json!({"id": id(61), "status": 3})))
            .previous(party.clone())
            .gives(Ask::One(Kind::ScheduledEvent, 61), here(json!({"id": id(61), "status": 3}))),
        row(K::GuildScheduledEventDelete, "takes it away", here(json!({"id": id(61)})))
            .previous(party.clone())
            .gone(Ask::One(Kind::ScheduledEvent, 61)),
        row(K::GuildScheduledEventUserAdd, "counts", interest(61))
            .gives(Ask::One(Kind::ScheduledEvent, 61), with(&party, json!({"user_count": 3})))
            .counts(),
        row(K::GuildScheduledEventUserAdd, "counts nothing where no count was told", interest(62))
            .gives(Ask::One(Kind::ScheduledEvent, 62), guild()["guild_scheduled_events"][1].clone()),
        row(K::GuildScheduledEventUserRemove, "counts", interest(61))
            .gives(Ask::One(Kind::ScheduledEvent, 61), with(&party, json!({"user_count": 1})))
            .counts(),
        row(K::AutoModerationRuleCreate, "adds it", with(&rule(), json!({"id": id(67)})))
            .gives(Ask::One(Kind::AutoModerationRule, 67), with(&rule(), json!({"id": id(67)}))),
        row(K::AutoModerationRuleUpdate, "replaces it", with(&rule(), json!({"name": "n"})))
            .previous(rule())
            .gives(Ask::One(Kind::AutoModerationRule, 63), with(&rule(), json!({"name": "n"}))),
        row(K::AutoModerationRuleDelete, "takes it away", rule()).previous(rule()).gone(Ask::One(Kind::AutoModerationRule, 63)),
        row(K::AutoModerationActionExecution, "nothing", here(json!({"rule_id": id(63), "user_id": id(50)})))
            .gives(Ask::Guild, guild_object()),
        row(K::IntegrationCreate, "adds it", with(&integration(), json!({"id": id(66)})))
            .gives(Ask::One(Kind::Integration, 66), with(&integration(), json!({"id": id(66)}))),
        row(K::IntegrationUpdate, "replaces it", with(&integration(), json!({"name": "n"})))
            .gives(Ask::One(Kind::Integration, 64), with(&integration(), json!({"name": "n"}))),
        row(K::IntegrationDelete, "takes it away", here(json!({"id": id(64)}))).gone(Ask::One(Kind::Integration, 64)),
        row(K::GuildIntegrationsUpdate, "makes all unsure", here(json!({}))).gives(Ask::Count(Kind::Integration), json!(0)),
        row(K::InviteCreate, "adds it by its code", with(&invite(), json!({"code": "xyz"})))
            .gives(Ask::Invite("xyz"), with(&invite(), json!({"code": "xyz"})))
            .gives(Ask::Invite("abc"), invite()),
        row(K::InviteCreate, "outside a guild is nothing", json!({"code": "xyz", "channel_id": id(95)}))
            .gives(Ask::Count(Kind::Invite), json!(1)),
        row(K::InviteDelete, "takes it away", here(json!({"channel_id": id(10), "code": "abc"}))).gone(Ask::Invite("abc")),
        row(K::InteractionCreate, "nothing", here(json!({"id": id(8), "member": {"user": {"id": id(50)}, "nick": "I"}})))
            .gives(Ask::Guild, guild_object()),
        row(K::EntitlementCreate, "adds it", with(&entitlement(), json!({"id": id(93)})))
            .gives(Ask::One(Kind::Entitlement, 93), with(&entitlement(), json!({"id": id(93)}))),
        row(K::EntitlementUpdate, "replaces it", with(&entitlement(), json!({"ends_at": "then"})))
            .previous(entitlement())
            .gives(Ask::One(Kind::Entitlement, 91), with(&entitlement(), json!({"ends_at": "then"}))),
        row(K::EntitlementDelete, "takes it away", entitlement()).previous(entitlement()).gone(Ask::One(Kind::Entitlement, 91)),
        row(K::SubscriptionCreate, "adds it", with(&subscription(), json!({"id": id(94)})))
            .gives(Ask::One(Kind::Subscription, 94), with(&subscription(), json!({"id": id(94)}))),
        row(K::SubscriptionUpdate, "replaces it", with(&subscription(), json!({"status": 2})))
            .previous(subscription())
            .gives(Ask::One(Kind::Subscription, 92), with(&subscription(), json!({"status": 2}))),
        row(K::SubscriptionDelete, "takes it away", subscription()).previous(subscription()).gone(Ask::One(Kind::Subscription, 92)),
    ]
}

#[test]
fn events_rules_invites_and_money() {
    check(&world(), &rows());
}

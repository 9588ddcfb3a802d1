//! Objects as a cache holds them, to messages: packed, ETF and JSON give the same one.

#![allow(clippy::unwrap_used)]

use serde_json::{Value as Json, json};
use trunkline_etf::{Encoding, Limits, Value, transcode};
use trunkline_wire::model;

/// Calls `read` with the object in every encoding; all must give the same.
fn same<T: PartialEq + std::fmt::Debug>(object: &Json, read: impl Fn(Value<'_>) -> T) -> T {
    let text = serde_json::to_vec(object).unwrap();
    let value = Value::parse(Encoding::Json, &text, &Limits::GATEWAY).unwrap();
    let want = read(value);
    for encoding in [Encoding::Etf, Encoding::Packed] {
        let mut bytes = Vec::new();
        transcode(value, encoding, &mut bytes).unwrap();
        assert_eq!(read(Value::from_raw(encoding, &bytes)), want, "{encoding:?}");
    }
    want
}

fn user() -> Json {
    json!({"id": "80351110224678912", "username": "nelly", "discriminator": "1337", "avatar": "a_8342729096ea3675442027381ff50dfe", "bot": false, "global_name": null})
}

#[test]
fn a_guild_with_its_numbers_texts_and_lists() {
    let guild = json!({"id": "197038439483310086", "name": "Discord Testers", "icon": "f64c482b807da4f539cff778d174971c", "owner_id": "73193882359173120",
        "features": ["ANIMATED_ICON", "VERIFIED"], "member_count": 12345, "afk_channel_id": null, "joined_at": "2021-03-04T05:06:07.123000+00:00",
        "premium_subscription_count": 33, "description": "for é testers", "unknown": {"deep": [1, 2.5, null]}});
    let found = same(&guild, model::guild);
    assert_eq!((found.id, found.member_count, found.premium_subscription_count), (197_038_439_483_310_086, 12_345, 33));
    assert_eq!((found.features.len(), found.description.as_deref()), (2, Some("for é testers")));
    assert_eq!(found.joined_at.map(|at| (at.seconds, at.nanos)), Some((1_614_834_367, 123_000_000)));
}

#[test]
fn members_users_presences_and_voice_states() {
    let member = json!({"user": user(), "nick": "n", "roles": ["1", "197038439483310086"], "joined_at": "2015-04-26T06:26:56.936000+00:00", "pending": false});
    let found = same(&member, |value| model::member(value, 7));
    assert_eq!((found.id, found.guild_id, found.roles), (80_351_110_224_678_912, 7, vec![1, 197_038_439_483_310_086]));
    assert_eq!(found.user.map(|user| user.discriminator), Some(1_337));
    assert_eq!(same(&user(), model::user).avatar.as_deref(), Some("a_8342729096ea3675442027381ff50dfe"));
    let presence = json!({"user": {"id": "9"}, "status": "idle", "client_status": {"web": "idle"}, "activities": [{"name": "x", "type": 4, "created_at": 1_600_000_000_123_u64, "timestamps": {"start": 1}}]});
    let found = same(&presence, |value| model::presence(value, 7));
    assert_eq!((found.guild_id, found.activities.len(), found.status), (7, 1, 2));
    let voice = json!({"user_id": "9", "channel_id": "10", "session_id": "s", "self_mute": true, "member": member});
    assert!(same(&voice, |value| model::voice_state(value, 7)).self_mute);
}

#[test]
fn channels_roles_emojis_and_messages() {
    let channel = json!({"id": "41771983423143937", "type": 2, "name": "voice", "bitrate": 64000, "parent_id": null,
        "permission_overwrites": [{"id": "7", "type": 0, "allow": "1024", "deny": "18446744073709551615"}]});
    let found = same(&channel, |value| model::channel(value, Some(7)));
    assert_eq!((found.bitrate, found.permission_overwrites[0].deny), (64_000, u64::MAX));
    let role = json!({"id": "8", "name": "r", "permissions": "2222085186637376", "color": 3_447_003, "hoist": true});
    assert_eq!(same(&role, |value| model::role(value, 7)).permissions, 2_222_085_186_637_376);
    let emojis = json!([{"id": "9", "name": "e", "roles": ["8"], "user": user(), "animated": true}, {"id": "10", "name": "f"}]);
    assert_eq!(same(&emojis, |value| model::emojis(value, 7)).len(), 2);
    let message = json!({"id": "11", "channel_id": "12", "content": "hello", "author": user(), "timestamp": "2020-01-02T03:04:05.678000+00:00", "type": 0, "embeds": [{"title": "t"}], "mentions": [user()]});
    let found = same(&message, model::message);
    assert_eq!((found.id, found.content.as_str(), found.embeds.len(), found.mentions.len()), (11, "hello", 1, 1));
}

#[test]
fn kinds_that_only_trunkline_has_messages_for() {
    let thread = json!({"id": "1", "guild_id": "7", "parent_id": "2", "name": "t", "type": 11, "thread_metadata": {"archived": true, "auto_archive_duration": 1440, "archive_timestamp": "2020-01-02T03:04:05+00:00", "locked": false}, "member": {"user_id": "9", "join_timestamp": "2020-01-02T03:04:05+00:00", "flags": 1}});
    let found = same(&thread, |value| model::thread(value, 7));
    assert_eq!((found.parent_id, found.member.map(|member| member.thread_id)), (2, Some(1)));
    assert_eq!(same(&json!({"sound_id": "3", "name": "s", "volume": 0.25}), |value| model::sound(value, 7)).volume, 0.25);
    assert_eq!(
        same(&json!({"id": "4", "name": "st", "tags": "a,b", "type": 2, "format_type": 3}), |value| model::sticker(value, 7)).format_type,
        3
    );
    let event = json!({"id": "5", "guild_id": "7", "name": "ev", "entity_metadata": {"location": "l"}, "recurrence_rule": {"start": "2020-01-02T03:04:05+00:00", "frequency": 2, "interval": 1, "by_weekday": [0, 6]}});
    let found = same(&event, model::scheduled_event);
    assert_eq!((found.location.as_deref(), found.recurrence_rule.map(|rule| rule.by_weekday)), (Some("l"), Some(vec![0, 6])));
    assert_eq!(same(&json!({"id": "6", "guild_id": "7", "channel_id": "8", "topic": "t"}), model::stage_instance).topic, "t");
    let ban = same(&json!({"guild_id": "7", "user": user(), "reason": "r"}), model::ban);
    assert_eq!((ban.reason.as_str(), ban.user.map(|user| user.username).as_deref()), ("r", Some("nelly")));
    let found = same(&json!({"id": "8", "status": "singing", "voice_start_time": 1_600_000_000}), |value| model::voice_channel(value, 7));
    assert_eq!(
        (found.channel_id, found.status.as_deref(), found.voice_start_time.map(|at| at.seconds)),
        (8, Some("singing"), Some(1_600_000_000))
    );
}

#[test]
fn what_is_no_object_is_the_default() {
    for odd in [json!(null), json!(7), json!([]), json!("text"), json!({"id": {"id": 1}, "user": 3, "roles": "x"})] {
        assert_eq!(same(&odd, model::guild).name, "");
        assert_eq!(same(&odd, |value| model::member(value, 7)).guild_id, 7);
        assert_eq!(same(&odd, |value| model::emojis(value, 7)), Vec::new());
        assert_eq!(same(&odd, |value| model::voice_channel(value, 7)).guild_id, 7);
    }
}

//! What an object was before its event, where the cache knew it: from JSON, from both forms of ETF, and packed.

#![allow(clippy::unwrap_used)]

mod support;

use support::{CHANNEL, GUILD, MESSAGE, ROLE, USER, USER_JSON, event, event_with_previous, typed, typed_addition};
use trunkline_discord::EventKind;
use trunkline_wire::pylon::discord::v1::event::event_envelope::EventData;
use trunkline_wire::pylon::discord::v1::event::message_update_event::Payload;
use trunkline_wire::pylon::discord::v1::event::{MessageCreateEvent, MessageDeleteEvent, MessageUpdateEvent};
use trunkline_wire::pylon::discord::v1::model::MessageData;

fn message_json(content: &str) -> String {
    format!(
        r#"{{"id":"{MESSAGE}","channel_id":"{CHANNEL}","guild_id":"{GUILD}","content":"{content}","tts":true,"pinned":true,"flags":4,
        "author":{USER_JSON},"member":{{"nick":"N","roles":["{ROLE}"]}},"timestamp":"2021-05-01T12:34:56.789000+00:00",
        "reactions":[{{"count":2,"me":true,"emoji":{{"name":"🔥"}}}}],"embeds":[{{"title":"t"}}]}}"#
    )
}

fn message(json: &str) -> MessageData {
    match typed(&event("MESSAGE_CREATE", json)) {
        EventData::MessageCreateEvent(MessageCreateEvent { message_data: Some(message), .. }) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_update_of_a_message_that_was_known_is_the_message_as_it_is_now() {
    let before = message_json("hi");
    let update = format!(
        r#"{{"id":"{MESSAGE}","channel_id":"{CHANNEL}","guild_id":"{GUILD}","content":"ho","tts":false,"pinned":false,"embeds":[],
        "edited_timestamp":"2021-05-01T12:34:56.789000+00:00"}}"#
    );
    let EventData::MessageUpdateEvent(data) = typed(&event_with_previous("MESSAGE_UPDATE", &update, &before)) else { panic!() };
    assert_eq!(data.previously_cached, Some(message(&before)));
    let Some(Payload::Cached(now)) = data.payload else { panic!("it was known") };
    let wanted = MessageData {
        content: "ho".into(),
        pinned: false,
        embeds: Vec::new(),
        edited_timestamp: message(&before).timestamp,
        ..message(&before)
    };
    // What the update lacks stays, and its `tts` says nothing.
    assert!(wanted.tts && wanted.reactions.len() == 1 && wanted.member.is_some());
    assert_eq!(now, wanted);

    let EventData::MessageUpdateEvent(MessageUpdateEvent { payload: Some(Payload::Raw(raw)), previously_cached: None, .. }) =
        typed(&event("MESSAGE_UPDATE", &update))
    else {
        panic!("it was not known")
    };
    assert_eq!((raw.content.as_deref(), raw.tts, raw.flags), (Some("ho"), Some(false), None));
}

#[test]
fn a_deleted_message_that_was_known_comes_with_its_deletion() {
    let deleted = format!(r#"{{"id":"{MESSAGE}","channel_id":"{CHANNEL}","guild_id":"{GUILD}"}}"#);
    let data = typed(&event_with_previous("MESSAGE_DELETE", &deleted, &message_json("hi")));
    let EventData::MessageDeleteEvent(MessageDeleteEvent { previously_cached: Some(known), .. }) = data else { panic!() };
    assert_eq!(known, message(&message_json("hi")));
}

/// Takes the typed event with another object as its body, and gives the part that is the object.
macro_rules! same {
    ($name:literal, $variant:ident, $field:ident, $update:expr, $before:expr) => {{
        let (update, before): (String, String) = ($update, $before);
        let EventData::$variant(data) = typed_addition(&event_with_previous($name, &update, &before)) else { panic!($name) };
        let EventData::$variant(as_body) = typed_addition(&event($name, &before)) else { panic!($name) };
        assert_eq!(as_body.previously_cached, None, $name);
        assert_eq!(data.previously_cached, as_body.$field, $name);
        assert_ne!(data.previously_cached, data.$field, $name);
    }};
}

#[test]
fn our_own_events_have_it_too() {
    let object = |rest: &str| format!(r#"{{"id":"{MESSAGE}","guild_id":"{GUILD}",{rest}}}"#);
    let named = |name: &str| object(&format!(r#""name":"{name}","user_id":"{USER}","topic":"{name}","sku_id":"{ROLE}""#));
    let sound = |name: &str| format!(r#"{{"sound_id":"{MESSAGE}","guild_id":"{GUILD}","name":"{name}"}}"#);
    let other = |rest: &str| object(&format!(r#""status":2,"type":8,"topic":"old","name":"old","sku_id":"{USER}"{rest}"#));
    same!("THREAD_UPDATE", ThreadUpdateEvent, thread, named("new"), other(""));
    same!("THREAD_MEMBER_UPDATE", ThreadMemberUpdateEvent, member, object(r#""flags":1"#), object(r#""flags":3"#));
    same!("GUILD_SOUNDBOARD_SOUND_UPDATE", GuildSoundboardSoundUpdateEvent, sound, sound("new"), sound("old"));
    same!("GUILD_SCHEDULED_EVENT_UPDATE", GuildScheduledEventUpdateEvent, scheduled_event, named("new"), other(""));
    same!("GUILD_SCHEDULED_EVENT_DELETE", GuildScheduledEventDeleteEvent, scheduled_event, named("new"), other(""));
    same!("STAGE_INSTANCE_UPDATE", StageInstanceUpdateEvent, stage_instance, named("new"), other(""));
    same!("STAGE_INSTANCE_DELETE", StageInstanceDeleteEvent, stage_instance, named("new"), other(""));
    same!("AUTO_MODERATION_RULE_UPDATE", AutoModerationRuleUpdateEvent, rule, named("new"), other(""));
    same!("AUTO_MODERATION_RULE_DELETE", AutoModerationRuleDeleteEvent, rule, named("new"), other(""));
    same!("ENTITLEMENT_UPDATE", EntitlementUpdateEvent, entitlement, named("new"), other(""));
    same!("ENTITLEMENT_DELETE", EntitlementDeleteEvent, entitlement, named("new"), other(""));
    same!("SUBSCRIPTION_UPDATE", SubscriptionUpdateEvent, subscription, named("new"), other(""));
    same!("SUBSCRIPTION_DELETE", SubscriptionDeleteEvent, subscription, named("new"), other(""));
    same!("USER_UPDATE", UserUpdateEvent, user, USER_JSON.replace("nelly", "nell"), USER_JSON.to_owned());
}

#[test]
fn objects_of_a_guild_create_name_no_guild_and_get_it() {
    let stage = typed_addition(&event_with_previous(
        "STAGE_INSTANCE_UPDATE",
        &format!(r#"{{"id":"{MESSAGE}","guild_id":"{GUILD}","topic":"new"}}"#),
        &format!(r#"{{"id":"{MESSAGE}","topic":"old"}}"#),
    ));
    let EventData::StageInstanceUpdateEvent(stage) = stage else { panic!() };
    let known = stage.previously_cached.unwrap();
    assert_eq!((known.guild_id, known.topic.as_str()), (GUILD, "old"));

    let deleted = format!(r#"{{"sound_id":"{MESSAGE}","guild_id":"{GUILD}"}}"#);
    let sound = typed_addition(&event_with_previous(
        "GUILD_SOUNDBOARD_SOUND_DELETE",
        &deleted,
        &format!(r#"{{"sound_id":"{MESSAGE}","name":"old"}}"#),
    ));
    let EventData::GuildSoundboardSoundDeleteEvent(sound) = sound else { panic!() };
    let known = sound.previously_cached.unwrap();
    assert_eq!((known.guild_id, known.name.as_str()), (GUILD, "old"));

    let deleted = format!(r#"{{"id":"{MESSAGE}","guild_id":"{GUILD}","parent_id":"{CHANNEL}","type":11}}"#);
    let thread = typed_addition(&event_with_previous(
        "THREAD_DELETE",
        &deleted,
        &format!(r#"{{"id":"{MESSAGE}","parent_id":"{CHANNEL}","name":"old","member":{{"flags":1}}}}"#),
    ));
    let EventData::ThreadDeleteEvent(thread) = thread else { panic!() };
    let known = thread.previously_cached.unwrap();
    assert_eq!((known.guild_id, known.name.as_str(), known.member.unwrap().thread_id), (GUILD, "old", MESSAGE));
}

#[test]
fn lists_and_what_lies_beside_channels_have_it() {
    let stickers = format!(r#"{{"guild_id":"{GUILD}","stickers":[]}}"#);
    let data = typed_addition(&event_with_previous("GUILD_STICKERS_UPDATE", &stickers, &format!(r#"[{{"id":"{ROLE}","name":"old"}}]"#)));
    let EventData::GuildStickersUpdateEvent(data) = data else { panic!() };
    let known = data.previously_cached.unwrap();
    assert_eq!((known.stickers[0].id, known.stickers[0].guild_id, known.stickers[0].name.as_str()), (ROLE, GUILD, "old"));

    let record = format!(r#"{{"id":"{CHANNEL}","status":"old","voice_start_time":1619872496}}"#);
    let cleared = format!(r#"{{"id":"{CHANNEL}","guild_id":"{GUILD}","status":null,"voice_start_time":null}}"#);
    let data = typed_addition(&event_with_previous("VOICE_CHANNEL_STATUS_UPDATE", &cleared, &record));
    let EventData::VoiceChannelStatusUpdateEvent(data) = data else { panic!() };
    assert_eq!((data.status, data.previously_cached_status.as_deref()), (None, Some("old")));
    let data = typed_addition(&event_with_previous("VOICE_CHANNEL_START_TIME_UPDATE", &cleared, &record));
    let EventData::VoiceChannelStartTimeUpdateEvent(data) = data else { panic!() };
    assert_eq!((data.voice_start_time, data.previously_cached_voice_start_time.unwrap().seconds), (None, 1_619_872_496));
}

/// A previous object that is of no use to a kind of event must not break it.
#[test]
fn no_event_is_broken_by_what_was_before_it() {
    for kind in EventKind::ALL {
        for before in ["{}", "[]", "null", "3", r#"[{"id":{}}]"#, r#"{"id":[],"user":3,"member":"x"}"#] {
            let event = event_with_previous(kind.name(), r#"{"type":1}"#, before);
            let forms = [trunkline_wire::typed(&event), trunkline_wire::typed_addition(&event)];
            assert!(forms.iter().flatten().count() <= 1, "{kind:?}");
        }
    }
}

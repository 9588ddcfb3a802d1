//! Typed events that Pylon lacks, each from JSON and from both forms of ETF.

#![allow(clippy::unwrap_used)]

mod support;

use prost_types::Timestamp;
use support::{BOT, CHANNEL, GUILD, MESSAGE, ROLE, USER, USER_JSON, event, typed_addition};
use trunkline_discord::EventKind;
use trunkline_wire::pylon::discord::v1::event::EventScope;
use trunkline_wire::pylon::discord::v1::event::event_envelope::EventData;
use trunkline_wire::pylon::discord::v1::model::{SnowflakeListValue, SnowflakeValue, UserData};
use trunkline_wire::trunkline::event::v1::*;

const TIME_TEXT: &str = "2021-05-01T12:34:56.789000+00:00";
const TIME: Option<Timestamp> = Some(Timestamp { seconds: 1_619_872_496, nanos: 789_000_000 });
const SCOPE: Option<EventScope> = Some(EventScope { bot_id: BOT, guild_id: GUILD });

macro_rules! data {
    ($variant:ident, $name:literal, $json:expr) => {{
        let EventData::$variant(data) = typed_addition(&event($name, &$json)) else { panic!("another kind of event") };
        data
    }};
}

fn some(value: u64) -> Option<SnowflakeValue> {
    Some(SnowflakeValue { value })
}

fn nelly() -> Option<UserData> {
    Some(UserData {
        id: USER,
        username: "nelly".into(),
        avatar: Some("8342729096ea3675442027381ff50dfe".into()),
        discriminator: 0,
        bot: true,
    })
}

fn thread_json(rest: &str) -> String {
    format!(
        r#"{{"id":"{MESSAGE}","guild_id":"{GUILD}","parent_id":"{CHANNEL}","owner_id":"{USER}","name":"talk","type":11,
        "last_message_id":"{ROLE}","last_pin_timestamp":"{TIME_TEXT}","message_count":7,"member_count":3,"total_message_sent":9,
        "rate_limit_per_user":5,"flags":2,"applied_tags":["{ROLE}"],"later":1,
        "thread_metadata":{{"archived":true,"auto_archive_duration":1440,"archive_timestamp":"{TIME_TEXT}","locked":true,
            "invitable":false,"create_timestamp":"{TIME_TEXT}"}}{rest}}}"#
    )
}

fn thread() -> ThreadData {
    ThreadData {
        id: MESSAGE,
        guild_id: GUILD,
        parent_id: CHANNEL,
        owner_id: USER,
        name: "talk".into(),
        r#type: 11,
        last_message_id: some(ROLE),
        last_pin_timestamp: TIME,
        message_count: 7,
        member_count: 3,
        total_message_sent: 9,
        rate_limit_per_user: 5,
        flags: 2,
        applied_tags: vec![ROLE],
        metadata: Some(ThreadMetadata {
            archived: true,
            auto_archive_duration: 1_440,
            archive_timestamp: TIME,
            locked: true,
            invitable: Some(false),
            create_timestamp: TIME,
        }),
        member: None,
    }
}

#[test]
fn threads_are_made_changed_and_deleted() {
    let json = thread_json(&format!(r#","newly_created":true,"member":{{"user_id":"{USER}","join_timestamp":"{TIME_TEXT}","flags":1}}"#));
    // Inside of a thread its member has no thread id: it is the thread's.
    let member = ThreadMemberData { thread_id: MESSAGE, user_id: USER, join_timestamp: TIME, flags: 1, ..Default::default() };
    let want = ThreadCreateEvent { scope: SCOPE, thread: Some(ThreadData { member: Some(member), ..thread() }), newly_created: true };
    assert_eq!(data!(ThreadCreateEvent, "THREAD_CREATE", json), want);
    assert_eq!(
        data!(ThreadUpdateEvent, "THREAD_UPDATE", thread_json("")),
        ThreadUpdateEvent { scope: SCOPE, thread: Some(thread()), previously_cached: None }
    );
    let json = format!(r#"{{"id":"{MESSAGE}","guild_id":"{GUILD}","parent_id":"{CHANNEL}","type":12}}"#);
    let want = ThreadDeleteEvent { scope: SCOPE, id: MESSAGE, guild_id: GUILD, parent_id: CHANNEL, r#type: 12, previously_cached: None };
    assert_eq!(data!(ThreadDeleteEvent, "THREAD_DELETE", json), want);
}

#[test]
fn a_thread_list_tells_some_channels_from_all() {
    let member = format!(r#"{{"id":"{MESSAGE}","user_id":"{USER}","join_timestamp":"{TIME_TEXT}","flags":1}}"#);
    let json = format!(
        r#"{{"guild_id":"{GUILD}","channel_ids":["{CHANNEL}"],"threads":[{}],"members":[{member}]}}"#,
        thread_json("").replace(&format!(r#""guild_id":"{GUILD}","#), "")
    );
    let want = ThreadListSyncEvent {
        scope: SCOPE,
        guild_id: GUILD,
        channel_ids: Some(SnowflakeListValue { values: vec![CHANNEL] }),
        threads: vec![thread()],
        members: vec![ThreadMemberData { thread_id: MESSAGE, user_id: USER, join_timestamp: TIME, flags: 1, ..Default::default() }],
    };
    assert_eq!(data!(ThreadListSyncEvent, "THREAD_LIST_SYNC", json), want);
    let json = format!(r#"{{"guild_id":"{GUILD}","threads":[],"members":[]}}"#);
    assert_eq!(data!(ThreadListSyncEvent, "THREAD_LIST_SYNC", json).channel_ids, None);
}

#[test]
fn thread_members_change() {
    let json = format!(r#"{{"id":"{MESSAGE}","guild_id":"{GUILD}","user_id":"{USER}","join_timestamp":"{TIME_TEXT}","flags":1}}"#);
    let member = ThreadMemberData { thread_id: MESSAGE, user_id: USER, join_timestamp: TIME, flags: 1, ..Default::default() };
    let want = ThreadMemberUpdateEvent { scope: SCOPE, guild_id: GUILD, member: Some(member), previously_cached: None };
    assert_eq!(data!(ThreadMemberUpdateEvent, "THREAD_MEMBER_UPDATE", json), want);

    // The thread's id stands behind the members that need it.
    let json = format!(
        r#"{{"added_members":[{{"user_id":"{USER}","join_timestamp":"{TIME_TEXT}","flags":0,"member":{{"user":{USER_JSON}}},
            "presence":{{"user":{{"id":"{USER}"}},"status":"online"}}}}],"removed_member_ids":["{ROLE}"],"member_count":50,
        "guild_id":"{GUILD}","id":"{MESSAGE}"}}"#
    );
    let data = data!(ThreadMembersUpdateEvent, "THREAD_MEMBERS_UPDATE", json);
    assert_eq!((data.scope, data.guild_id, data.thread_id, data.member_count), (SCOPE, GUILD, MESSAGE, 50));
    assert_eq!(data.removed_member_ids, [ROLE]);
    let added = &data.added_members[0];
    assert_eq!((added.thread_id, added.user_id, added.join_timestamp), (MESSAGE, USER, TIME));
    let member = added.member.as_ref().unwrap();
    assert_eq!((member.id, member.guild_id, added.presence.as_ref().unwrap().guild_id), (USER, GUILD, GUILD));
}

#[test]
fn stickers_and_sounds() {
    let json = format!(
        r#"{{"guild_id":"{GUILD}","stickers":[{{"id":"{ROLE}","name":"wave","description":null,"tags":"hi","type":2,"format_type":4,
        "available":true,"guild_id":"{GUILD}","user":{USER_JSON},"sort_value":3,"pack_id":"{MESSAGE}"}}]}}"#
    );
    let sticker = StickerData {
        id: ROLE,
        guild_id: GUILD,
        pack_id: some(MESSAGE),
        name: "wave".into(),
        description: None,
        tags: "hi".into(),
        r#type: 2,
        format_type: 4,
        available: true,
        user: nelly(),
        sort_value: 3,
    };
    let want = GuildStickersUpdateEvent { scope: SCOPE, guild_id: GUILD, stickers: vec![sticker], previously_cached: None };
    assert_eq!(data!(GuildStickersUpdateEvent, "GUILD_STICKERS_UPDATE", json), want);

    let json = format!(
        r#"{{"sound_id":"{MESSAGE}","name":"Yay","volume":0.5,"emoji_id":null,"emoji_name":"🔥","guild_id":"{GUILD}","available":true,
        "user":{USER_JSON},"user_id":"{USER}"}}"#
    );
    let sound = SoundboardSoundData {
        sound_id: MESSAGE,
        guild_id: GUILD,
        name: "Yay".into(),
        volume: 0.5,
        emoji_id: None,
        emoji_name: Some("🔥".into()),
        available: true,
        user: nelly(),
    };
    let data = data!(GuildSoundboardSoundCreateEvent, "GUILD_SOUNDBOARD_SOUND_CREATE", json);
    assert_eq!((data.scope, data.sound), (SCOPE, Some(sound.clone())));
    let data = data!(GuildSoundboardSoundUpdateEvent, "GUILD_SOUNDBOARD_SOUND_UPDATE", json);
    assert_eq!((data.scope, data.sound), (SCOPE, Some(sound.clone())));
    let list = format!(r#"{{"guild_id":"{GUILD}","soundboard_sounds":[{json}]}}"#);
    let data = data!(GuildSoundboardSoundsUpdateEvent, "GUILD_SOUNDBOARD_SOUNDS_UPDATE", list);
    assert_eq!((data.scope, data.guild_id, data.sounds), (SCOPE, GUILD, vec![sound.clone()]));
    let data = data!(SoundboardSoundsEvent, "SOUNDBOARD_SOUNDS", list);
    assert_eq!((data.scope, data.guild_id, data.sounds), (SCOPE, GUILD, vec![sound]));
    let json = format!(r#"{{"sound_id":"{MESSAGE}","guild_id":"{GUILD}"}}"#);
    let data = data!(GuildSoundboardSoundDeleteEvent, "GUILD_SOUNDBOARD_SOUND_DELETE", json);
    assert_eq!((data.scope, data.guild_id, data.sound_id), (SCOPE, GUILD, MESSAGE));
}

#[test]
fn scheduled_events() {
    let json = format!(
        r#"{{"id":"{MESSAGE}","guild_id":"{GUILD}","channel_id":null,"creator_id":"{USER}","name":"party","description":"fun",
        "scheduled_start_time":"{TIME_TEXT}","scheduled_end_time":"{TIME_TEXT}","privacy_level":2,"status":1,"entity_type":3,
        "entity_id":null,"entity_metadata":{{"location":"park"}},"creator":{USER_JSON},"user_count":4,"image":"abc",
        "recurrence_rule":{{"start":"{TIME_TEXT}","end":null,"frequency":2,"interval":1,"by_weekday":[0,2],
            "by_n_weekday":[{{"n":4,"day":2}}],"by_month":[7],"by_month_day":[24],"by_year_day":null,"count":null}}}}"#
    );
    let want = ScheduledEventData {
        id: MESSAGE,
        guild_id: GUILD,
        channel_id: None,
        creator_id: some(USER),
        name: "party".into(),
        description: Some("fun".into()),
        scheduled_start_time: TIME,
        scheduled_end_time: TIME,
        privacy_level: 2,
        status: 1,
        entity_type: 3,
        entity_id: None,
        location: Some("park".into()),
        creator: nelly(),
        user_count: Some(4),
        image: Some("abc".into()),
        recurrence_rule: Some(RecurrenceRule {
            start: TIME,
            end: None,
            frequency: 2,
            interval: 1,
            by_weekday: vec![0, 2],
            by_n_weekday: vec![recurrence_rule::NthWeekday { n: 4, day: 2 }],
            by_month: vec![7],
            by_month_day: vec![24],
            by_year_day: vec![],
            count: None,
        }),
    };
    let data = data!(GuildScheduledEventCreateEvent, "GUILD_SCHEDULED_EVENT_CREATE", json);
    assert_eq!((data.scope, data.scheduled_event), (SCOPE, Some(want.clone())));
    let data = data!(GuildScheduledEventUpdateEvent, "GUILD_SCHEDULED_EVENT_UPDATE", json);
    assert_eq!((data.scope, data.scheduled_event), (SCOPE, Some(want.clone())));
    let data = data!(GuildScheduledEventDeleteEvent, "GUILD_SCHEDULED_EVENT_DELETE", json);
    assert_eq!((data.scope, data.scheduled_event), (SCOPE, Some(want)));
    let json = format!(r#"{{"guild_scheduled_event_id":"{MESSAGE}","user_id":"{USER}","guild_id":"{GUILD}"}}"#);
    let data = data!(GuildScheduledEventUserAddEvent, "GUILD_SCHEDULED_EVENT_USER_ADD", json);
    assert_eq!((data.scope, data.guild_id, data.scheduled_event_id, data.user_id), (SCOPE, GUILD, MESSAGE, USER));
    let data = data!(GuildScheduledEventUserRemoveEvent, "GUILD_SCHEDULED_EVENT_USER_REMOVE", json);
    assert_eq!((data.scope, data.guild_id, data.scheduled_event_id, data.user_id), (SCOPE, GUILD, MESSAGE, USER));
}

#[test]
fn stage_instances() {
    let json = format!(
        r#"{{"id":"{MESSAGE}","guild_id":"{GUILD}","channel_id":"{CHANNEL}","topic":"hello","privacy_level":2,
        "discoverable_disabled":true,"guild_scheduled_event_id":"{ROLE}"}}"#
    );
    let want = Some(StageInstanceData {
        id: MESSAGE,
        guild_id: GUILD,
        channel_id: CHANNEL,
        topic: "hello".into(),
        privacy_level: 2,
        discoverable_disabled: true,
        scheduled_event_id: some(ROLE),
    });
    let data = data!(StageInstanceCreateEvent, "STAGE_INSTANCE_CREATE", json);
    assert_eq!((data.scope, data.stage_instance), (SCOPE, want.clone()));
    let data = data!(StageInstanceUpdateEvent, "STAGE_INSTANCE_UPDATE", json);
    assert_eq!((data.scope, data.stage_instance), (SCOPE, want.clone()));
    let data = data!(StageInstanceDeleteEvent, "STAGE_INSTANCE_DELETE", json);
    assert_eq!((data.scope, data.stage_instance), (SCOPE, want));
}

#[test]
fn auto_moderation() {
    let json = format!(
        r#"{{"id":"{MESSAGE}","guild_id":"{GUILD}","name":"words","creator_id":"{USER}","event_type":1,"trigger_type":4,
        "trigger_metadata":{{"keyword_filter":["cat*"],"regex_patterns":["c.t"],"presets":[1,3],"allow_list":["dog"],
            "mention_total_limit":5,"mention_raid_protection_enabled":true}},
        "actions":[{{"type":2,"metadata":{{"channel_id":"{CHANNEL}"}}}},{{"type":3,"metadata":{{"duration_seconds":60}}}},
            {{"type":1,"metadata":{{"custom_message":"no"}}}}],
        "enabled":true,"exempt_roles":["{ROLE}"],"exempt_channels":["{CHANNEL}"]}}"#
    );
    let want = Some(AutoModerationRuleData {
        id: MESSAGE,
        guild_id: GUILD,
        name: "words".into(),
        creator_id: USER,
        event_type: 1,
        trigger_type: 4,
        trigger_metadata: Some(AutoModerationTrigger {
            keyword_filter: vec!["cat*".into()],
            regex_patterns: vec!["c.t".into()],
            presets: vec![1, 3],
            allow_list: vec!["dog".into()],
            mention_total_limit: 5,
            mention_raid_protection_enabled: true,
        }),
        actions: vec![
            AutoModerationAction { r#type: 2, channel_id: some(CHANNEL), ..Default::default() },
            AutoModerationAction { r#type: 3, duration_seconds: Some(60), ..Default::default() },
            AutoModerationAction { r#type: 1, custom_message: Some("no".into()), ..Default::default() },
        ],
        enabled: true,
        exempt_roles: vec![ROLE],
        exempt_channels: vec![CHANNEL],
    });
    let data = data!(AutoModerationRuleCreateEvent, "AUTO_MODERATION_RULE_CREATE", json);
    assert_eq!((data.scope, data.rule), (SCOPE, want.clone()));
    let data = data!(AutoModerationRuleUpdateEvent, "AUTO_MODERATION_RULE_UPDATE", json);
    assert_eq!((data.scope, data.rule), (SCOPE, want.clone()));
    let data = data!(AutoModerationRuleDeleteEvent, "AUTO_MODERATION_RULE_DELETE", json);
    assert_eq!((data.scope, data.rule), (SCOPE, want));

    let json = format!(
        r#"{{"guild_id":"{GUILD}","action":{{"type":1}},"rule_id":"{ROLE}","rule_trigger_type":1,"user_id":"{USER}",
        "channel_id":"{CHANNEL}","message_id":"{MESSAGE}","alert_system_message_id":"{ROLE}","content":"a cat",
        "matched_keyword":"cat*","matched_content":null}}"#
    );
    let want = AutoModerationActionExecutionEvent {
        scope: SCOPE,
        guild_id: GUILD,
        action: Some(AutoModerationAction { r#type: 1, ..Default::default() }),
        rule_id: ROLE,
        rule_trigger_type: 1,
        user_id: USER,
        channel_id: some(CHANNEL),
        message_id: some(MESSAGE),
        alert_system_message_id: some(ROLE),
        content: "a cat".into(),
        matched_keyword: Some("cat*".into()),
        matched_content: None,
    };
    assert_eq!(data!(AutoModerationActionExecutionEvent, "AUTO_MODERATION_ACTION_EXECUTION", json), want);
}

#[test]
fn audit_log_entries_keep_changes_of_any_type_and_ids_as_text() {
    let json = format!(
        r#"{{"id":"{MESSAGE}","guild_id":"{GUILD}","action_type":25,"user_id":"{USER}","target_id":"{ROLE}","reason":"because",
        "changes":[{{"key":"$add","new_value":[{{"name":"mod","id":"{ROLE}"}}]}},{{"key":"nick","old_value":"a","new_value":null}},
            {{"key":"deaf","old_value":false,"new_value":true}}],
        "options":{{"channel_id":"{CHANNEL}","count":"4","type":"0","odd":[1]}}}}"#
    );
    let data = data!(GuildAuditLogEntryCreateEvent, "GUILD_AUDIT_LOG_ENTRY_CREATE", json);
    let change = |key: &str, old: Option<&str>, new: Option<&str>| AuditLogChange {
        key: key.into(),
        old_value_json: old.map(Into::into),
        new_value_json: new.map(Into::into),
    };
    let role = format!(r#"[{{"name":"mod","id":"{ROLE}"}}]"#);
    let want = AuditLogEntryData {
        id: MESSAGE,
        guild_id: GUILD,
        action_type: 25,
        user_id: some(USER),
        target_id: Some(ROLE.to_string()),
        reason: Some("because".into()),
        changes: vec![
            change("$add", None, Some(&role)),
            change("nick", Some("\"a\""), Some("null")),
            change("deaf", Some("false"), Some("true")),
        ],
        options: [("channel_id", CHANNEL.to_string()), ("count", "4".into()), ("type", "0".into())]
            .map(|(key, value)| (key.to_owned(), value))
            .into(),
    };
    assert_eq!((data.scope, data.entry), (SCOPE, Some(want)));
}

#[test]
fn entitlements_and_subscriptions() {
    let scope = Some(EventScope { bot_id: BOT, guild_id: GUILD });
    let json = format!(
        r#"{{"id":"{MESSAGE}","sku_id":"{ROLE}","application_id":"{BOT}","user_id":"{USER}","guild_id":"{GUILD}","type":8,
        "deleted":true,"starts_at":"{TIME_TEXT}","ends_at":null,"consumed":false,"promotion_id":null}}"#
    );
    let want = Some(EntitlementData {
        id: MESSAGE,
        sku_id: ROLE,
        application_id: BOT,
        user_id: some(USER),
        guild_id: some(GUILD),
        r#type: 8,
        deleted: true,
        starts_at: TIME,
        ends_at: None,
        consumed: Some(false),
    });
    let data = data!(EntitlementCreateEvent, "ENTITLEMENT_CREATE", json);
    assert_eq!((data.scope, data.entitlement), (scope, want));
    let data = data!(EntitlementUpdateEvent, "ENTITLEMENT_UPDATE", json);
    assert_eq!((data.scope, data.entitlement), (scope, want));
    let data = data!(EntitlementDeleteEvent, "ENTITLEMENT_DELETE", json);
    assert_eq!((data.scope, data.entitlement), (scope, want));

    let json = format!(
        r#"{{"id":"{MESSAGE}","user_id":"{USER}","sku_ids":["{ROLE}"],"entitlement_ids":["{CHANNEL}"],"renewal_sku_ids":null,
        "current_period_start":"{TIME_TEXT}","current_period_end":"{TIME_TEXT}","status":2,"canceled_at":null,"country":"DE"}}"#
    );
    let want = Some(SubscriptionData {
        id: MESSAGE,
        user_id: USER,
        sku_ids: vec![ROLE],
        entitlement_ids: vec![CHANNEL],
        renewal_sku_ids: None,
        current_period_start: TIME,
        current_period_end: TIME,
        status: 2,
        canceled_at: None,
        country: Some("DE".into()),
    });
    assert_eq!(data!(SubscriptionCreateEvent, "SUBSCRIPTION_CREATE", json).subscription, want);
    assert_eq!(data!(SubscriptionUpdateEvent, "SUBSCRIPTION_UPDATE", json).subscription, want);
    assert_eq!(data!(SubscriptionDeleteEvent, "SUBSCRIPTION_DELETE", json).subscription, want);
}

#[test]
fn poll_votes_voice_channels_and_command_permissions() {
    let json = format!(r#"{{"user_id":"{USER}","channel_id":"{CHANNEL}","message_id":"{MESSAGE}","guild_id":"{GUILD}","answer_id":2}}"#);
    let vote = PollVoteData { user_id: USER, channel_id: CHANNEL, message_id: MESSAGE, guild_id: some(GUILD), answer_id: 2 };
    let data = data!(MessagePollVoteAddEvent, "MESSAGE_POLL_VOTE_ADD", json);
    assert_eq!((data.scope, data.vote), (SCOPE, Some(vote)));
    let data = data!(MessagePollVoteRemoveEvent, "MESSAGE_POLL_VOTE_REMOVE", json);
    assert_eq!((data.scope, data.vote), (SCOPE, Some(vote)));

    // A default sound's id is a small number, not text.
    let json = format!(
        r#"{{"guild_id":"{GUILD}","channel_id":"{CHANNEL}","user_id":"{USER}","emoji":{{"id":null,"name":"🔥"}},"animation_type":1,
        "animation_id":0,"sound_id":3,"sound_volume":1}}"#
    );
    let data = data!(VoiceChannelEffectSendEvent, "VOICE_CHANNEL_EFFECT_SEND", json);
    assert_eq!((data.scope, data.guild_id, data.channel_id, data.user_id), (SCOPE, GUILD, CHANNEL, USER));
    assert_eq!((data.animation_type, data.animation_id, data.sound_id, data.sound_volume), (Some(1), Some(0), some(3), Some(1.0)));
    assert_eq!(data.emoji.unwrap().name, "🔥");

    let json = format!(r#"{{"id":"{CHANNEL}","guild_id":"{GUILD}","status":"gaming","voice_start_time":1619872496}}"#);
    let data = data!(VoiceChannelStatusUpdateEvent, "VOICE_CHANNEL_STATUS_UPDATE", json);
    assert_eq!((data.scope, data.guild_id, data.channel_id, data.status.as_deref()), (SCOPE, GUILD, CHANNEL, Some("gaming")));
    let data = data!(VoiceChannelStartTimeUpdateEvent, "VOICE_CHANNEL_START_TIME_UPDATE", json);
    assert_eq!((data.scope, data.guild_id, data.channel_id), (SCOPE, GUILD, CHANNEL));
    assert_eq!(data.voice_start_time, Some(Timestamp { seconds: 1_619_872_496, nanos: 0 }));

    let json = format!(
        r#"{{"id":"{MESSAGE}","guild_id":"{GUILD}","application_id":"{BOT}","permissions":[{{"id":"{ROLE}","type":1,"permission":true}}]}}"#
    );
    let data = data!(ApplicationCommandPermissionsUpdateEvent, "APPLICATION_COMMAND_PERMISSIONS_UPDATE", json);
    assert_eq!((data.scope, data.guild_id, data.id, data.application_id), (SCOPE, GUILD, MESSAGE, BOT));
    let want = application_command_permissions_update_event::Permission { id: ROLE, r#type: 1, permission: true };
    assert_eq!(data.permissions, [want]);
}

#[test]
fn the_bots_own_user_has_what_pylons_user_lacks() {
    let json = USER_JSON.replace(r#""clan":null"#, r#""banner":"b","accent_color":255"#);
    let want = UserUpdateEvent {
        scope: Some(EventScope { bot_id: BOT, guild_id: 0 }),
        user: nelly(),
        global_name: Some("Nelly ☃".into()),
        banner: Some("b".into()),
        accent_color: Some(255),
        public_flags: 64,
        previously_cached: None,
    };
    assert_eq!(data!(UserUpdateEvent, "USER_UPDATE", json), want);
}

#[test]
fn every_documented_event_has_one_typed_form_or_is_known_to_have_none() {
    // Two answers to requests and one refusal of them.
    let raw_only = [EventKind::RateLimited, EventKind::GuildMembersChunk, EventKind::ChannelInfo];
    for &kind in EventKind::ALL {
        let event = event(kind.name(), r#"{"type":1}"#);
        let forms = usize::from(trunkline_wire::typed(&event).is_some()) + usize::from(trunkline_wire::typed_addition(&event).is_some());
        assert_eq!(forms, usize::from(!raw_only.contains(&kind)), "{kind:?}");
    }
    let pylons = EventKind::ALL.iter().filter(|kind| trunkline_wire::typed(&event(kind.name(), r#"{"type":1}"#)).is_some());
    assert_eq!(pylons.count(), 38);
}

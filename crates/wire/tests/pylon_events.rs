//! Pylon's typed events from payloads as Discord's documentation has them, each from JSON and from both forms of ETF.

#![allow(clippy::unwrap_used)]

mod support;

use prost_types::Timestamp;
use support::{BOT, CHANNEL, GUILD, MESSAGE, ROLE, USER, USER_JSON, event, event_with_previous, typed};
use trunkline_wire::pylon::discord::v1::event::event_envelope::EventData;
use trunkline_wire::pylon::discord::v1::event::{EventScope, ReadyEvent, ResumeEvent, message_update_event};
use trunkline_wire::pylon::discord::v1::model::channel_data::channel_permission_overwrite_data::ChannelPermissionOverwriteType;
use trunkline_wire::pylon::discord::v1::model::channel_data::{ChannelPermissionOverwriteData, ChannelType};
use trunkline_wire::pylon::discord::v1::model::presence_data::presence_activity_data::ActivityType;
use trunkline_wire::pylon::discord::v1::model::presence_data::{MaybePartialUser, OnlineStatus};
use trunkline_wire::pylon::discord::v1::model::*;

/// 2021-05-01T12:34:56.789000+00:00
const TIME: Timestamp = Timestamp { seconds: 1_619_872_496, nanos: 789_000_000 };
const TIME_TEXT: &str = "2021-05-01T12:34:56.789000+00:00";

/// The variant's content, its scope checked.
macro_rules! data {
    ($variant:ident, $name:literal, $json:expr) => {
        data!($variant, event($name, &$json))
    };
    ($variant:ident, $event:expr) => {{
        let event = $event;
        let EventData::$variant(data) = typed(&event) else { panic!("another kind of event") };
        assert_eq!(data.scope, Some(EventScope { bot_id: BOT, guild_id: event.routing.guild_id.unwrap_or(0) }));
        data
    }};
}

fn nelly() -> UserData {
    UserData { id: USER, username: "nelly".into(), avatar: Some("8342729096ea3675442027381ff50dfe".into()), discriminator: 0, bot: true }
}

fn guild_json(name: &str) -> String {
    format!(
        r#"{{"id":"{GUILD}","name":"{name}","icon":"8342729096ea","splash":null,"discovery_splash":"d1","owner_id":"{USER}",
        "region":"deprecated","afk_channel_id":null,"afk_timeout":300,"widget_enabled":true,"widget_channel_id":"{CHANNEL}",
        "verification_level":3,"default_message_notifications":1,"explicit_content_filter":2,"roles":[],"emojis":[],
        "features":["COMMUNITY","NEWS"],"mfa_level":1,"application_id":null,"system_channel_id":"{CHANNEL}",
        "system_channel_flags":0,"vanity_url_code":"discord-api","description":null,"banner":"b1","premium_tier":3,
        "premium_subscription_count":33,"preferred_locale":"en-US","nsfw_level":0,"joined_at":"{TIME_TEXT}","large":true,
        "unavailable":false,"member_count":70000,"members":[{{"user":{USER_JSON}}}],"presences":[],"channels":[],
        "stage_instances":[],"soundboard_sounds":[],"incidents_data":{{"invites_disabled_until":null}}}}"#
    )
}

fn guild(name: &str) -> GuildData {
    GuildData {
        id: GUILD,
        name: name.into(),
        icon: Some("8342729096ea".into()),
        region: "deprecated".into(),
        afk_channel_id: None,
        owner_id: USER,
        joined_at: Some(TIME),
        splash: None,
        discovery_splash: Some("d1".into()),
        afk_timeout: 300,
        member_count: 70_000,
        verification_level: 3,
        default_message_notifications: 1,
        explicit_content_filter: 2,
        features: vec!["COMMUNITY".into(), "NEWS".into()],
        mfa_level: 1,
        widget_enabled: true,
        widget_channel_id: Some(SnowflakeValue { value: CHANNEL }),
        system_channel_id: Some(SnowflakeValue { value: CHANNEL }),
        vanity_url_code: Some("discord-api".into()),
        description: None,
        banner: Some("b1".into()),
        premium_tier: 3,
        premium_subscription_count: 33,
        unavailable: false,
    }
}

#[test]
fn ready_and_resumed_say_whose_session_it_is() {
    let scope = Some(EventScope { bot_id: BOT, guild_id: 0 });
    let ready = format!(r#"{{"v":10,"user":{USER_JSON},"guilds":[{{"id":"{GUILD}","unavailable":true}}],"session_id":"s","shard":[0,1]}}"#);
    let EventData::ReadyEvent(data) = typed(&event("READY", &ready)) else { panic!("another kind") };
    assert_eq!(data, ReadyEvent { scope });
    let EventData::ResumeEvent(data) = typed(&event("RESUMED", r#"{"_trace":["x"]}"#)) else { panic!("another kind") };
    assert_eq!(data, ResumeEvent { scope });
}

#[test]
fn guild_create() {
    let data = data!(GuildCreateEvent, "GUILD_CREATE", guild_json("Discord ☃"));
    assert_eq!(data.payload, Some(guild("Discord ☃")));
}

#[test]
fn guild_update_with_the_guild_as_it_was() {
    let data = data!(GuildUpdateEvent, event_with_previous("GUILD_UPDATE", &guild_json("new"), &guild_json("old")));
    assert_eq!(data.payload, Some(guild("new")));
    assert_eq!(data.previously_cached, Some(guild("old")));
    let data = data!(GuildUpdateEvent, "GUILD_UPDATE", guild_json("new"));
    assert_eq!(data.previously_cached, None);
}

#[test]
fn guild_delete_tells_an_outage_from_leaving() {
    let data = data!(GuildDeleteEvent, "GUILD_DELETE", format!(r#"{{"id":"{GUILD}","unavailable":true}}"#));
    assert_eq!(data.payload, Some(GuildData { id: GUILD, unavailable: true, ..GuildData::default() }));
    let data = data!(GuildDeleteEvent, "GUILD_DELETE", format!(r#"{{"id":"{GUILD}"}}"#));
    assert_eq!(data.payload, Some(GuildData { id: GUILD, ..GuildData::default() }));
}

fn member_json(nick: &str) -> String {
    format!(
        r#"{{"guild_id":"{GUILD}","user":{USER_JSON},"nick":{nick},"avatar":null,"banner":null,"roles":["{ROLE}","{USER}"],
        "joined_at":"{TIME_TEXT}","premium_since":null,"deaf":false,"mute":false,"flags":0,"pending":false,
        "communication_disabled_until":null}}"#
    )
}

fn member(nick: Option<&str>) -> MemberData {
    MemberData {
        id: USER,
        guild_id: GUILD,
        user: Some(nelly()),
        nick: nick.map(Into::into),
        roles: vec![ROLE, USER],
        joined_at: Some(TIME),
        premium_since: None,
        permissions: 0,
        pending: Some(false),
    }
}

#[test]
fn members_come_change_and_go() {
    let data = data!(GuildMemberAddEvent, "GUILD_MEMBER_ADD", member_json("null"));
    assert_eq!(data.payload, Some(member(None)));

    // What is stored of a member has no guild of its own.
    let previous = member_json(r#""old""#).replace(&format!(r#""guild_id":"{GUILD}","#), "");
    let data = data!(GuildMemberUpdateEvent, event_with_previous("GUILD_MEMBER_UPDATE", &member_json(r#""new""#), &previous));
    assert_eq!(data.payload, Some(member(Some("new"))));
    assert_eq!(data.previously_cached, Some(member(Some("old"))));

    let data = data!(GuildMemberRemoveEvent, "GUILD_MEMBER_REMOVE", format!(r#"{{"guild_id":"{GUILD}","user":{USER_JSON}}}"#));
    let gone = MemberData { id: USER, guild_id: GUILD, user: Some(nelly()), ..MemberData::default() };
    assert_eq!(data.payload, Some(gone));
}

fn presence_json(user: &str, status: &str) -> String {
    format!(
        r#"{{"user":{user},"guild_id":"{GUILD}","status":"{status}","processed_at_timestamp":0,
        "client_status":{{"desktop":"dnd","mobile":"idle","web":"online","embedded":"x"}},
        "activities":[{{"name":"Rocket League","type":0,"url":null,"created_at":1507665886123,
          "timestamps":{{"start":1507665886000,"end":1507665999000}},"application_id":"379286085710381999",
          "details":"Ranked","state":"In a Match","emoji":{{"name":"blob","id":"{ROLE}","animated":true}},
          "party":{{"id":"9dd6594e-81b3-49f6-a6b5-a679e6a060d3","size":[2,5]}},
          "assets":{{"large_image":"l","large_text":"lt","small_image":"s","small_text":"st"}},
          "secrets":{{"join":"j","spectate":"sp","match":"m"}},"instance":true,"flags":512,"buttons":["a"]}},
          {{"name":"Custom Status","type":4,"state":"hi","id":"custom"}},{{"name":"Hanging out","type":6}}]}}"#
    )
}

#[test]
fn presence_with_a_whole_user_and_with_only_an_id() {
    let partial = format!(r#"{{"id":"{USER}"}}"#);
    let new = presence_json(&partial, "dnd");
    let data = data!(PresenceUpdateEvent, event_with_previous("PRESENCE_UPDATE", &new, &presence_json(USER_JSON, "offline")));
    let payload = data.payload.unwrap();
    assert_eq!((payload.guild_id, payload.status()), (GUILD, OnlineStatus::Dnd));
    assert_eq!(payload.maybe_partial_user, Some(MaybePartialUser::UserId(USER)));
    let client = payload.client_status.unwrap();
    assert_eq!((client.desktop.as_str(), client.mobile.as_str(), client.web.as_str()), ("dnd", "idle", "online"));

    let game = &payload.activities[0];
    assert_eq!((game.name.as_str(), game.r#type()), ("Rocket League", ActivityType::Default));
    assert_eq!(game.url, "");
    assert_eq!(game.created_at, Some(Timestamp { seconds: 1_507_665_886, nanos: 123_000_000 }));
    let times = game.timestamps.unwrap();
    assert_eq!((times.start, times.end), (1_507_665_886_000, 1_507_665_999_000));
    assert_eq!(game.application_id, 379_286_085_710_381_999);
    assert_eq!((game.details.as_str(), game.state.as_str()), ("Ranked", "In a Match"));
    let emoji = game.emoji.as_ref().unwrap();
    assert_eq!((emoji.name.as_str(), emoji.id, emoji.animated), ("blob", ROLE, true));
    let party = game.party.as_ref().unwrap();
    assert_eq!((party.id.as_str(), party.current_size, party.max_size), ("9dd6594e-81b3-49f6-a6b5-a679e6a060d3", 2, 5));
    let assets = game.assets.as_ref().unwrap();
    assert_eq!([&assets.large_image, &assets.large_text, &assets.small_image, &assets.small_text], ["l", "lt", "s", "st"]);
    let secrets = game.secrets.as_ref().unwrap();
    assert_eq!([&secrets.join, &secrets.spectate, &secrets.r#match], ["j", "sp", "m"]);
    assert_eq!((game.instance, game.flags), (true, 512));
    assert_eq!(payload.activities[1].r#type(), ActivityType::CustomStatus);
    assert_eq!(payload.activities[2].r#type(), ActivityType::Unknown);

    let previous = data.previously_cached.unwrap();
    assert_eq!(previous.status(), OnlineStatus::Offline);
    assert_eq!(previous.maybe_partial_user, Some(MaybePartialUser::User(nelly())));
}

fn channel_json(topic: &str) -> String {
    format!(
        r#"{{"id":"{CHANNEL}","guild_id":"{GUILD}","name":"general","type":0,"position":6,"topic":"{topic}","nsfw":true,
        "last_message_id":"{MESSAGE}","bitrate":64000,"user_limit":4,"rate_limit_per_user":2,"parent_id":"{ROLE}","flags":0,
        "permission_overwrites":[{{"id":"{ROLE}","type":0,"allow":"1099511627776","deny":"8"}},
          {{"id":"{USER}","type":1,"allow":"0","deny":"1024"}},{{"id":"1","type":9}}],"default_auto_archive_duration":60}}"#
    )
}

fn channel(topic: &str) -> ChannelData {
    let overwrite =
        |id, r#type: ChannelPermissionOverwriteType, allow, deny| ChannelPermissionOverwriteData { id, r#type: r#type.into(), allow, deny };
    ChannelData {
        id: CHANNEL,
        guild_id: Some(SnowflakeValue { value: GUILD }),
        name: "general".into(),
        topic: Some(topic.into()),
        r#type: ChannelType::GuildText.into(),
        nsfw: true,
        position: 6,
        bitrate: 64_000,
        user_limit: 4,
        parent_id: Some(SnowflakeValue { value: ROLE }),
        rate_limit_per_user: 2,
        permission_overwrites: vec![
            overwrite(ROLE, ChannelPermissionOverwriteType::Role, 1 << 40, 8),
            overwrite(USER, ChannelPermissionOverwriteType::Member, 0, 1_024),
            overwrite(1, ChannelPermissionOverwriteType::Unknown, 0, 0),
        ],
    }
}

#[test]
fn channels_are_made_changed_and_deleted() {
    let data = data!(ChannelCreateEvent, "CHANNEL_CREATE", channel_json("a"));
    assert_eq!(data.payload, Some(channel("a")));
    // A channel from a guild create's list has no guild of its own.
    let previous = channel_json("old").replace(&format!(r#""guild_id":"{GUILD}","#), "");
    let data = data!(ChannelUpdateEvent, event_with_previous("CHANNEL_UPDATE", &channel_json("new"), &previous));
    assert_eq!(data.payload, Some(channel("new")));
    assert_eq!(data.previously_cached, Some(channel("old")));
    let data = data!(ChannelDeleteEvent, "CHANNEL_DELETE", channel_json("a"));
    assert_eq!(data.payload, Some(channel("a")));
}

#[test]
fn channel_types_stand_one_above_discords_until_the_numbers_jump() {
    let want = [
        (0, ChannelType::GuildText),
        (1, ChannelType::Dm),
        (2, ChannelType::GuildVoice),
        (3, ChannelType::GroupDm),
        (4, ChannelType::GuildCategory),
        (5, ChannelType::GuildNews),
        (6, ChannelType::GuildStore),
        (7, ChannelType::Unknown),
        (10, ChannelType::Unknown),
        (11, ChannelType::PublicThread),
        (12, ChannelType::PrivateThread),
        (13, ChannelType::GuildStageVoice),
        (14, ChannelType::Unknown),
        (15, ChannelType::Unknown),
        (16, ChannelType::Unknown),
    ];
    for (discords, pylons) in want {
        let data = data!(ChannelCreateEvent, "CHANNEL_CREATE", format!(r#"{{"id":"1","type":{discords}}}"#));
        assert_eq!(data.payload.unwrap().r#type(), pylons, "{discords}");
    }
}

#[test]
fn channel_pins_update() {
    let json = format!(r#"{{"guild_id":"{GUILD}","channel_id":"{CHANNEL}","last_pin_timestamp":"{TIME_TEXT}"}}"#);
    let payload = data!(ChannelPinsUpdateEvent, "CHANNEL_PINS_UPDATE", json).payload.unwrap();
    assert_eq!((payload.guild_id, payload.channel_id, payload.last_pin_timestamp), (GUILD, CHANNEL, Some(TIME)));
    let json = format!(r#"{{"channel_id":"{CHANNEL}","last_pin_timestamp":null}}"#);
    let payload = data!(ChannelPinsUpdateEvent, "CHANNEL_PINS_UPDATE", json).payload.unwrap();
    assert_eq!((payload.guild_id, payload.channel_id, payload.last_pin_timestamp), (0, CHANNEL, None));
}

#[test]
fn roles_are_made_changed_and_deleted() {
    let role_json = |name: &str| {
        format!(
            r#"{{"id":"{ROLE}","name":"{name}","color":3447003,"colors":{{"primary_color":3447003}},"hoist":true,"icon":null,
            "unicode_emoji":null,"position":1,"permissions":"66321471","managed":true,"mentionable":true,"flags":0,"tags":{{}}}}"#
        )
    };
    let role = |name: &str| RoleData {
        id: ROLE,
        guild_id: GUILD,
        name: name.into(),
        managed: true,
        mentionable: true,
        hoist: true,
        color: 3_447_003,
        position: 1,
        permissions: 66_321_471,
    };
    let json = format!(r#"{{"guild_id":"{GUILD}","role":{}}}"#, role_json("new"));
    assert_eq!(data!(GuildRoleCreateEvent, "GUILD_ROLE_CREATE", json).payload, Some(role("new")));
    let data = data!(GuildRoleUpdateEvent, event_with_previous("GUILD_ROLE_UPDATE", &json, &role_json("old")));
    assert_eq!((data.payload, data.previously_cached), (Some(role("new")), Some(role("old"))));
    let json = format!(r#"{{"guild_id":"{GUILD}","role_id":"{ROLE}"}}"#);
    let gone = RoleData { id: ROLE, guild_id: GUILD, ..RoleData::default() };
    assert_eq!(data!(GuildRoleDeleteEvent, "GUILD_ROLE_DELETE", json).payload, Some(gone));
}

#[test]
fn message_delete_and_bulk_delete() {
    let json = format!(r#"{{"id":"{MESSAGE}","channel_id":"{CHANNEL}","guild_id":"{GUILD}"}}"#);
    let data = data!(MessageDeleteEvent, "MESSAGE_DELETE", json);
    let payload = data.payload.unwrap();
    assert_eq!((payload.id, payload.channel_id, payload.guild_id, data.previously_cached), (MESSAGE, CHANNEL, GUILD, None));
    let json = format!(r#"{{"ids":["{MESSAGE}","{USER}"],"channel_id":"{CHANNEL}","guild_id":"{GUILD}"}}"#);
    let payload = data!(MessageDeleteBulkEvent, "MESSAGE_DELETE_BULK", json).payload.unwrap();
    assert_eq!((payload.ids, payload.channel_id, payload.guild_id), (vec![MESSAGE, USER], CHANNEL, GUILD));
}

#[test]
fn reactions_come_and_go() {
    let ids = format!(r#""channel_id":"{CHANNEL}","message_id":"{MESSAGE}","guild_id":"{GUILD}""#);
    let by = format!(r#"{ids},"user_id":"{USER}","burst":false,"type":0,"message_author_id":"{USER}""#);
    let custom = format!(r#""emoji":{{"id":"{ROLE}","name":"blob","animated":true}}"#);
    let unicode = r#""emoji":{"id":null,"name":"🔥"}"#;

    let json = format!(r#"{{{by},{custom},"member":{{}},"burst_colors":[]}}"#);
    let payload = data!(MessageReactionAddEvent, "MESSAGE_REACTION_ADD", json).payload.unwrap();
    assert_eq!((payload.user_id, payload.channel_id, payload.message_id, payload.guild_id), (USER, CHANNEL, MESSAGE, GUILD));
    let emoji = payload.emoji.unwrap();
    assert_eq!((emoji.id, emoji.name.as_str(), emoji.animated), (ROLE, "blob", true));

    let payload = data!(MessageReactionRemoveEvent, "MESSAGE_REACTION_REMOVE", format!("{{{by},{unicode}}}")).payload.unwrap();
    assert_eq!((payload.user_id, payload.channel_id, payload.message_id, payload.guild_id), (USER, CHANNEL, MESSAGE, GUILD));
    let emoji = payload.emoji.unwrap();
    assert_eq!((emoji.id, emoji.name.as_str(), emoji.animated), (0, "🔥", false));

    let payload = data!(MessageReactionRemoveAllEvent, "MESSAGE_REACTION_REMOVE_ALL", format!("{{{ids}}}")).payload.unwrap();
    assert_eq!((payload.channel_id, payload.message_id, payload.guild_id), (CHANNEL, MESSAGE, GUILD));

    let json = format!("{{{ids},{unicode}}}");
    let payload = data!(MessageReactionRemoveEmojiEvent, "MESSAGE_REACTION_REMOVE_EMOJI", json).payload.unwrap();
    assert_eq!((payload.channel_id, payload.message_id, payload.guild_id), (CHANNEL, MESSAGE, GUILD));
    assert_eq!(payload.emoji.unwrap().name, "🔥");
}

#[test]
fn typing_start_in_a_guild_and_in_a_direct_message() {
    let member_inside = member_json("null").replace(&format!(r#""guild_id":"{GUILD}","#), "");
    let json =
        format!(r#"{{"channel_id":"{CHANNEL}","guild_id":"{GUILD}","user_id":"{USER}","timestamp":1619872496,"member":{member_inside}}}"#);
    let payload = data!(TypingStartEvent, "TYPING_START", json).payload.unwrap();
    assert_eq!((payload.channel_id, payload.user_id), (CHANNEL, USER));
    assert_eq!(payload.timestamp, Some(Timestamp { seconds: 1_619_872_496, nanos: 0 }));
    assert_eq!(payload.member, Some(member(None)));
    let json = format!(r#"{{"channel_id":"{CHANNEL}","user_id":"{USER}","timestamp":1619872496}}"#);
    assert_eq!(data!(TypingStartEvent, "TYPING_START", json).payload.unwrap().member, None);
}

#[test]
fn voice_state_update_with_the_state_as_it_was() {
    let state = |channel: &str, member: &str| {
        format!(
            r#"{{"guild_id":"{GUILD}","channel_id":{channel},"user_id":"{USER}",{member}"session_id":"90326bd2","deaf":true,
            "mute":true,"self_deaf":true,"self_mute":true,"self_stream":true,"self_video":true,"suppress":true,
            "request_to_speak_timestamp":null}}"#
        )
    };
    let new = state("null", &format!(r#""member":{},"#, member_json("null")));
    let old = state(&format!(r#""{CHANNEL}""#), "").replace(&format!(r#""guild_id":"{GUILD}","#), "");
    let data = data!(VoiceStateUpdateEvent, event_with_previous("VOICE_STATE_UPDATE", &new, &old));
    let want = VoiceStateData {
        member: Some(member(None)),
        guild_id: GUILD,
        channel_id: None,
        session_id: Some("90326bd2".into()),
        self_mute: true,
        self_deaf: true,
        self_video: true,
        self_stream: true,
        mute: true,
        deaf: true,
        suppress: true,
    };
    let only_ids = MemberData { id: USER, guild_id: GUILD, ..MemberData::default() };
    let before = VoiceStateData { member: Some(only_ids), channel_id: Some(SnowflakeValue { value: CHANNEL }), ..want.clone() };
    assert_eq!(data.payload, Some(want));
    assert_eq!(data.previously_cached, Some(before));
}

#[test]
fn voice_server_update() {
    let json = format!(r#"{{"token":"my_token","guild_id":"{GUILD}","endpoint":"sweetwater-12345.discord.media:2048"}}"#);
    let payload = data!(VoiceServerUpdateEvent, "VOICE_SERVER_UPDATE", json).payload.unwrap();
    assert_eq!((payload.guild_id, payload.token.as_str()), (GUILD, "my_token"));
    assert_eq!(payload.endpoint, "sweetwater-12345.discord.media:2048");
    let json = format!(r#"{{"token":"t","guild_id":"{GUILD}","endpoint":null}}"#);
    assert_eq!(data!(VoiceServerUpdateEvent, "VOICE_SERVER_UPDATE", json).payload.unwrap().endpoint, "");
}

#[test]
fn invites_are_made_and_deleted() {
    let json = format!(
        r#"{{"channel_id":"{CHANNEL}","code":"0vCdhLbwjZZTWZLD","created_at":"{TIME_TEXT}","guild_id":"{GUILD}","inviter":{USER_JSON},
        "max_age":604800,"max_uses":10,"target_type":1,"target_user":{USER_JSON},"temporary":true,"uses":0,"type":0,"expires_at":null}}"#
    );
    let payload = data!(InviteCreateEvent, "INVITE_CREATE", json).payload.unwrap();
    assert_eq!((payload.channel_id, payload.code.as_str(), payload.created_at), (CHANNEL, "0vCdhLbwjZZTWZLD", Some(TIME)));
    assert_eq!(payload.guild_id, Some(SnowflakeValue { value: GUILD }));
    assert_eq!((payload.inviter.clone(), payload.target_user.clone()), (Some(nelly()), Some(nelly())));
    assert_eq!((payload.max_age, payload.max_uses, payload.uses, payload.temporary), (604_800, 10, 0, true));
    assert_eq!(payload.target_user_type(), invite_data::InviteTargetUserType::Stream);
    let json = json_with_target_type(2);
    let payload = data!(InviteCreateEvent, "INVITE_CREATE", json).payload.unwrap();
    assert_eq!(payload.target_user_type(), invite_data::InviteTargetUserType::Unknown);

    let json = format!(r#"{{"channel_id":"{CHANNEL}","guild_id":"{GUILD}","code":"abc"}}"#);
    let payload = data!(InviteDeleteEvent, "INVITE_DELETE", json).payload.unwrap();
    assert_eq!((payload.channel_id, payload.guild_id, payload.code.as_str()), (CHANNEL, GUILD, "abc"));
}

fn json_with_target_type(kind: u32) -> String {
    format!(r#"{{"channel_id":"{CHANNEL}","code":"x","target_type":{kind}}}"#)
}

#[test]
fn bans_come_and_go() {
    let json = format!(r#"{{"guild_id":"{GUILD}","user":{USER_JSON}}}"#);
    let payload = data!(GuildBanAddEvent, "GUILD_BAN_ADD", json).payload.unwrap();
    assert_eq!((payload.guild_id, payload.user), (GUILD, Some(nelly())));
    let payload = data!(GuildBanRemoveEvent, "GUILD_BAN_REMOVE", json).payload.unwrap();
    assert_eq!((payload.guild_id, payload.user), (GUILD, Some(nelly())));
}

#[test]
fn emojis_update_with_the_list_as_it_was() {
    let emoji_json = |name: &str| {
        format!(
            r#"{{"id":"{ROLE}","name":"{name}","roles":["{USER}"],"user":{USER_JSON},"require_colons":true,"managed":true,
            "animated":true,"available":true}}"#
        )
    };
    let emoji = |name: &str| EmojiData {
        id: ROLE,
        guild_id: GUILD,
        name: name.into(),
        animated: true,
        roles: vec![USER],
        managed: true,
        require_colons: true,
        available: true,
        user_id: USER,
    };
    let json = format!(r#"{{"guild_id":"{GUILD}","emojis":[{},{}]}}"#, emoji_json("new"), emoji_json("two"));
    // The cache gives the list itself; an object that holds it reads the same.
    for old in [format!("[{}]", emoji_json("old")), format!(r#"{{"emojis":[{}]}}"#, emoji_json("old"))] {
        let data = data!(GuildEmojisUpdateEvent, event_with_previous("GUILD_EMOJIS_UPDATE", &json, &old));
        let payload = data.payload.unwrap();
        assert_eq!((payload.guild_id, payload.emojis), (GUILD, vec![emoji("new"), emoji("two")]));
        let previous = data.previously_cached.unwrap();
        assert_eq!((previous.guild_id, previous.emojis), (GUILD, vec![emoji("old")]));
    }
}

#[test]
fn events_that_only_name_their_guild() {
    let json = format!(r#"{{"guild_id":"{GUILD}","channel_id":"{CHANNEL}","id":"{ROLE}","application_id":"{USER}","type":"discord"}}"#);
    assert_eq!(data!(GuildIntegrationsUpdateEvent, "GUILD_INTEGRATIONS_UPDATE", json).payload.unwrap().guild_id, GUILD);
    assert_eq!(data!(WebhooksUpdateEvent, "WEBHOOKS_UPDATE", json).payload.unwrap().guild_id, GUILD);
    assert_eq!(data!(IntegrationCreateEvent, "INTEGRATION_CREATE", json).payload.unwrap().guild_id, GUILD);
    assert_eq!(data!(IntegrationUpdateEvent, "INTEGRATION_UPDATE", json).payload.unwrap().guild_id, GUILD);
    assert_eq!(data!(IntegrationDeleteEvent, "INTEGRATION_DELETE", json).payload.unwrap().guild_id, GUILD);
}

#[test]
fn a_message_update_sets_only_what_was_sent() {
    let json = format!(
        r#"{{"id":"{MESSAGE}","channel_id":"{CHANNEL}","guild_id":"{GUILD}","content":"edited","edited_timestamp":"{TIME_TEXT}",
        "mention_roles":["{ROLE}"],"tts":false,"mention_everyone":true,"attachments":[],"embeds":[{{"type":"rich","title":"t"}}],
        "mentions":[{USER_JSON}],"pinned":true,"type":0,"flags":4,"author":{USER_JSON},"member":{{"roles":["{ROLE}"]}},
        "webhook_id":"{USER}","message_reference":{{"message_id":"{MESSAGE}"}},"activity":{{"type":1}},"application":{{"id":"{USER}"}},
        "reactions":[{{"count":2,"me":true,"emoji":{{"name":"🔥"}}}}],"mention_channels":[{{"id":"{CHANNEL}"}}]}}"#
    );
    let data = data!(MessageUpdateEvent, "MESSAGE_UPDATE", json);
    assert_eq!(data.previously_cached, None);
    let Some(message_update_event::Payload::Raw(raw)) = data.payload else { panic!("not raw") };
    assert_eq!((raw.id, raw.channel_id, raw.guild_id.unwrap().value), (MESSAGE, CHANNEL, GUILD));
    assert_eq!((raw.content.as_deref(), raw.edited_timestamp), (Some("edited"), Some(TIME)));
    assert_eq!(raw.mention_roles.unwrap().values, [ROLE]);
    assert_eq!((raw.tts, raw.mention_everyone, raw.pinned, raw.flags), (Some(false), Some(true), Some(true), Some(4)));
    assert!(raw.attachments.unwrap().values.is_empty());
    assert_eq!(raw.embeds.unwrap().values[0].title, "t");
    assert_eq!(raw.mentions.unwrap().values[0].username, "nelly");
    assert_eq!(raw.r#type.unwrap().value(), message_data::MessageType::Default);
    assert_eq!(raw.author.unwrap().value, Some(nelly()));
    let member = raw.member.unwrap().value.unwrap();
    assert_eq!((member.id, member.guild_id, member.roles), (USER, GUILD, vec![ROLE]));
    assert_eq!(raw.webhook_id.unwrap().value, USER);
    assert_eq!(raw.message_reference.unwrap().value.unwrap().message_id, MESSAGE);
    assert_eq!(raw.activity.unwrap().value.unwrap().r#type, 1);
    assert_eq!(raw.application.unwrap().value.unwrap().id, USER);
    assert_eq!(raw.reactions.unwrap().values[0].count, 2);
    assert_eq!(raw.mention_channels.unwrap().values[0].id, CHANNEL);

    let data = data!(MessageUpdateEvent, "MESSAGE_UPDATE", format!(r#"{{"id":"{MESSAGE}","channel_id":"{CHANNEL}","embeds":[]}}"#));
    let Some(message_update_event::Payload::Raw(raw)) = data.payload else { panic!("not raw") };
    assert!(raw.embeds.is_some_and(|embeds| embeds.values.is_empty()));
    assert_eq!((raw.content, raw.tts, raw.mention_roles, raw.r#type, raw.author), (None, None, None, None, None));
}

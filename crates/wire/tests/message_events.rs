//! Messages and interactions: the deepest payloads.

#![allow(clippy::unwrap_used)]

mod support;

use prost_types::Timestamp;
use support::{CHANNEL, GUILD, MESSAGE, ROLE, USER, USER_JSON, event, typed};
use trunkline_wire::pylon::discord::v1::event::event_envelope::EventData;
use trunkline_wire::pylon::discord::v1::event::interaction_create_event::interaction_create_base_payload::SourceData;
use trunkline_wire::pylon::discord::v1::event::interaction_create_event::{InteractionCreateBasePayloadType, Payload};
use trunkline_wire::pylon::discord::v1::event::{InteractionCreateEvent, MessageCreateEvent};
use trunkline_wire::pylon::discord::v1::model::channel_data::ChannelType;
use trunkline_wire::pylon::discord::v1::model::interaction_data_application_command::application_command_interaction_data_option::ApplicationCommandOptionType;
use trunkline_wire::pylon::discord::v1::model::message_data::MessageType;
use trunkline_wire::pylon::discord::v1::model::message_data::message_component_data::{MessageComponentButtonStyle, MessageComponentType};
use trunkline_wire::pylon::discord::v1::model::message_data::message_embed_data::MessageEmbedType;
use trunkline_wire::pylon::discord::v1::model::message_data::message_interaction_data::MessageInteractionType;
use trunkline_wire::pylon::discord::v1::model::message_data::message_sticker_data::MessageStickerFormatType;
use trunkline_wire::pylon::discord::v1::model::{MessageData, SnowflakeValue};

#[track_caller]
fn message(json: &str) -> MessageData {
    match typed(&event("MESSAGE_CREATE", json)) {
        EventData::MessageCreateEvent(MessageCreateEvent { message_data: Some(message), .. }) => message,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn interaction(json: &str) -> InteractionCreateEvent {
    match typed(&event("INTERACTION_CREATE", json)) {
        EventData::InteractionCreateEvent(event) => event,
        other => panic!("{other:?}"),
    }
}

fn whole_message() -> String {
    format!(
        r##"{{"id":"{MESSAGE}","channel_id":"{CHANNEL}","guild_id":"{GUILD}","channel_type":0,"nonce":"1","content":"hi \"there\" ☃",
  "timestamp":"2021-05-01T12:34:56.789000+00:00","edited_timestamp":null,"tts":true,"mention_everyone":true,"pinned":true,"type":0,
  "flags":64,"webhook_id":"{ROLE}","author":{USER_JSON},
  "member":{{"nick":"N","roles":["{ROLE}"],"joined_at":"2021-05-01T12:34:56Z","premium_since":"2021-05-01T12:34:56Z","deaf":false}},
  "mentions":[{{"id":"1","username":"a","discriminator":"1337","avatar":null,"member":{{"roles":[]}}}}],
  "mention_roles":["{ROLE}"],"mention_channels":[{{"id":"{CHANNEL}","guild_id":"{GUILD}","type":5,"name":"news"}}],
  "attachments":[{{"id":"5","filename":"a.png","size":4096,"url":"u","proxy_url":"p","width":640,"height":480,"content_type":"image/png"}},
    {{"id":"6","filename":"b.txt","size":1,"url":"u2","proxy_url":"p2","width":null}}],
  "embeds":[{{"title":"T","type":"rich","description":"D","url":"U","timestamp":"2021-05-01T12:34:56+00:00","color":16711680,
      "footer":{{"text":"f","icon_url":"fi","proxy_icon_url":"fp"}},"image":{{"url":"i","width":1,"height":2,"flags":0}},
      "thumbnail":{{"url":"t","proxy_url":"tp","width":3,"height":4}},"video":{{"url":"v","width":5,"height":6}},
      "provider":{{"name":"pn","url":"pu"}},"author":{{"name":"an","url":"au","icon_url":"ai","proxy_icon_url":"ap"}},
      "fields":[{{"name":"k","value":"v","inline":true}}]}},{{"type":"gifv"}},{{"type":"poll_result"}}],
  "reactions":[{{"count":3,"count_details":{{"burst":0,"normal":3}},"me":true,"emoji":{{"id":null,"name":"🔥"}}}}],
  "activity":{{"type":3,"party_id":"spotify:1"}},
  "application":{{"id":"{ROLE}","cover_image":"c","description":"d","icon":"i","name":"n","bot":{{}}}},
  "message_reference":{{"type":1,"message_id":"{MESSAGE}","channel_id":"{CHANNEL}","guild_id":"{GUILD}"}},
  "message_snapshots":[{{"message":{{"content":"quoted","id":"9"}}}}],"referenced_message":{{"id":"8","content":"other"}},
  "sticker_items":[{{"id":"{ROLE}","name":"Wave","format_type":3}},{{"id":"7","name":"G","format_type":4}}],
  "interaction":{{"id":"{ROLE}","type":2,"name":"ping","user":{USER_JSON}}},"interaction_metadata":{{"id":"2","type":3}},
  "thread":{{"id":"{MESSAGE}","guild_id":"{GUILD}","parent_id":"{CHANNEL}","type":11,"name":"talk","member_count":2,
    "thread_metadata":{{"archived":false}}}},
  "components":[{{"type":1,"components":[{{"type":2,"style":5,"label":"L","url":"cu","disabled":true,"emoji":{{"id":"4","name":"e"}}}},
    {{"type":2,"style":1,"custom_id":"cid"}},{{"type":2,"style":6,"sku_id":"1"}}]}},
    {{"type":17,"accent_color":1,"components":[{{"type":10,"content":"text"}}]}},{{"type":4,"style":1}}],
  "poll":{{"question":{{"text":"?"}}}},"position":1}}"##
    )
}

#[test]
fn a_message_keeps_everything_that_pylon_has_a_place_for() {
    let message = message(&whole_message());
    assert_eq!((message.id, message.channel_id, message.guild_id), (MESSAGE, CHANNEL, Some(SnowflakeValue { value: GUILD })));
    assert_eq!(message.content, "hi \"there\" ☃");
    assert_eq!(message.timestamp, Some(Timestamp { seconds: 1_619_872_496, nanos: 789_000_000 }));
    assert_eq!(message.edited_timestamp, None);
    assert!(message.tts && message.mention_everyone && message.pinned);
    assert_eq!((message.r#type(), message.flags), (MessageType::Default, 64));
    assert_eq!(message.webhook_id, Some(SnowflakeValue { value: ROLE }));
    let author = message.author.clone().unwrap();
    assert_eq!((author.id, author.username.as_str(), author.discriminator, author.bot), (USER, "nelly", 0, true));
    let member = message.member.unwrap();
    assert_eq!((member.id, member.guild_id, member.nick.as_deref(), member.roles), (USER, GUILD, Some("N"), vec![ROLE]));
    assert_eq!((member.user, member.pending), (Some(author), None));
    assert!(member.joined_at.is_some() && member.premium_since.is_some());
    let mention = &message.mentions[0];
    assert_eq!((mention.id, mention.username.as_str(), mention.discriminator, mention.avatar.as_str()), (1, "a", 1_337, ""));
    assert_eq!(message.mention_roles.unwrap().values, [ROLE]);
    let channel = &message.mention_channels[0];
    assert_eq!((channel.id, channel.guild_id, channel.r#type(), channel.name.as_str()), (CHANNEL, GUILD, ChannelType::GuildNews, "news"));
    let file = &message.attachments[0];
    assert_eq!((file.id, file.filename.as_str(), file.size, file.width, file.height), (5, "a.png", 4_096, 640, 480));
    assert_eq!((file.url.as_str(), file.proxy_url.as_str(), message.attachments[1].width), ("u", "p", 0));
    let reaction = &message.reactions[0];
    assert_eq!((reaction.count, reaction.me, reaction.emoji.as_ref().unwrap().name.as_str()), (3, true, "🔥"));
    let activity = message.activity.unwrap();
    assert_eq!((activity.r#type, activity.party_id.as_str()), (3, "spotify:1"));
    let application = message.application.unwrap();
    assert_eq!((application.id, application.cover_image.as_str(), application.description.as_str()), (ROLE, "c", "d"));
    assert_eq!((application.icon.as_str(), application.name.as_str()), ("i", "n"));
    let reference = message.message_reference.unwrap();
    assert_eq!((reference.message_id, reference.channel_id, reference.guild_id), (MESSAGE, CHANNEL, GUILD));
    let sticker = &message.stickers[0];
    assert_eq!((sticker.id, sticker.name.as_str(), sticker.format_type()), (ROLE, "Wave", MessageStickerFormatType::Lottie));
    assert_eq!(message.stickers[1].format_type(), MessageStickerFormatType::Unknown);
    let interaction = message.interaction.unwrap();
    assert_eq!(
        (interaction.id, interaction.r#type(), interaction.name.as_str()),
        (ROLE, MessageInteractionType::ApplicationCommand, "ping")
    );
    assert_eq!(interaction.user.unwrap().id, USER);
    let thread = message.thread.unwrap();
    assert_eq!((thread.id, thread.r#type(), thread.name.as_str()), (MESSAGE, ChannelType::PublicThread, "talk"));
    assert_eq!(thread.parent_id, Some(SnowflakeValue { value: CHANNEL }));
}

#[test]
fn embeds_keep_every_part() {
    let message = message(&whole_message());
    assert_eq!(message.embeds.len(), 3);
    let embed = &message.embeds[0];
    assert_eq!((embed.title.as_str(), embed.description.as_str(), embed.url.as_str()), ("T", "D", "U"));
    assert_eq!((embed.r#type(), embed.color), (MessageEmbedType::Rich, 16_711_680));
    assert_eq!(embed.timestamp, Some(Timestamp { seconds: 1_619_872_496, nanos: 0 }));
    let footer = embed.footer.as_ref().unwrap();
    assert_eq!([&footer.text, &footer.icon_url, &footer.proxy_icon_url], ["f", "fi", "fp"]);
    let image = embed.image.as_ref().unwrap();
    assert_eq!((image.url.as_str(), image.width, image.height), ("i", 1, 2));
    let thumbnail = embed.thumbnail.as_ref().unwrap();
    assert_eq!((thumbnail.url.as_str(), thumbnail.proxy_url.as_str(), thumbnail.width, thumbnail.height), ("t", "tp", 3, 4));
    let video = embed.video.as_ref().unwrap();
    assert_eq!((video.url.as_str(), video.width, video.height), ("v", 5, 6));
    let provider = embed.provider.as_ref().unwrap();
    assert_eq!([&provider.name, &provider.url], ["pn", "pu"]);
    let author = embed.author.as_ref().unwrap();
    assert_eq!([&author.name, &author.url, &author.icon_url, &author.proxy_icon_url], ["an", "au", "ai", "ap"]);
    let field = &embed.fields[0];
    assert_eq!((field.name.as_str(), field.value.as_str(), field.inline), ("k", "v", true));
    assert_eq!((message.embeds[1].r#type(), message.embeds[2].r#type()), (MessageEmbedType::Gifv, MessageEmbedType::Unknown));
}

#[test]
fn components_keep_rows_and_buttons_and_the_children_of_others() {
    let components = message(&whole_message()).components;
    assert_eq!(components[0].r#type(), MessageComponentType::ActionRow);
    let [link, primary, premium] = &components[0].components[..] else { panic!("three buttons") };
    assert_eq!((link.r#type(), link.style()), (MessageComponentType::Button, MessageComponentButtonStyle::Link));
    assert_eq!((link.label.as_str(), link.url.as_str(), link.disabled), ("L", "cu", true));
    let emoji = link.emoji.as_ref().unwrap();
    assert_eq!((emoji.id, emoji.name.as_str()), (4, "e"));
    assert_eq!((primary.style(), primary.custom_id.as_str()), (MessageComponentButtonStyle::Primary, "cid"));
    assert_eq!(premium.style(), MessageComponentButtonStyle::UnknownButton);
    assert_eq!((components[1].r#type(), components[1].components.len()), (MessageComponentType::Unknown, 1));
    // A text input's style is not a button's.
    assert_eq!(components[2].style(), MessageComponentButtonStyle::UnknownButton);
}

#[test]
fn components_nested_without_end_are_cut_and_not_followed_for_ever() {
    let json =
        format!(r#"{{"id":"1","components":{}{}}}"#, r#"[{"type":1,"components":"#.repeat(60), format_args!("[]{}", "}]".repeat(60)));
    let mut depth = 0;
    let mut components = message(&json).components;
    while let Some(next) = components.pop() {
        depth += 1;
        components = next.components;
    }
    assert_eq!(depth, 16);
}

#[test]
fn message_types_stand_one_above_discords_and_newer_ones_are_unknown() {
    for discords in 0..=47 {
        let found = message(&format!(r#"{{"id":"1","type":{discords}}}"#)).r#type;
        let want = if discords <= 12 || discords == 14 || discords == 15 { discords + 1 } else { 0 };
        assert_eq!(found, want, "{discords}");
        assert!(MessageType::try_from(found).is_ok());
    }
}

#[test]
fn a_direct_message_has_neither_guild_nor_member() {
    let message = message(&format!(
        r#"{{"id":"{MESSAGE}","channel_id":"{CHANNEL}","author":{USER_JSON},"content":"psst","stickers":[{{"id":"3"}}],
        "interaction_metadata":{{"id":"2","type":3,"user":{USER_JSON},"authorizing_integration_owners":{{}}}}}}"#
    ));
    assert_eq!((message.guild_id, message.member, message.thread), (None, None, None));
    assert_eq!(message.stickers[0].id, 3);
    // Only the newer field is there.
    let interaction = message.interaction.unwrap();
    assert_eq!((interaction.id, interaction.r#type()), (2, MessageInteractionType::MessageComponent));
}

fn command(source: &str, data: &str) -> String {
    format!(
        r#"{{"id":"{ROLE}","application_id":"{USER}","type":2,"token":"A_UNIQUE_TOKEN","version":1,"channel_id":"{CHANNEL}",
        "channel":{{"id":"{CHANNEL}"}},"locale":"en-US","app_permissions":"442368","entitlements":[],"context":0,{source},"data":{data}}}"#
    )
}

fn in_guild() -> String {
    format!(
        r#""guild_id":"{GUILD}","guild":{{"id":"{GUILD}"}},
        "member":{{"user":{USER_JSON},"roles":["{ROLE}"],"permissions":"2147483647","pending":false,"nick":null}}"#
    )
}

#[test]
fn a_command_in_a_guild_has_its_member_options_and_resolved_objects() {
    let data = format!(
        r#"{{"id":"{MESSAGE}","name":"cards","type":1,"guild_id":"{GUILD}",
        "options":[{{"name":"group","type":2,"options":[{{"name":"sub","type":1,"options":[
            {{"name":"text","type":3,"value":"a \"b\""}},{{"name":"count","type":4,"value":-7}},{{"name":"yes","type":5,"value":true}},
            {{"name":"who","type":6,"value":"{USER}"}},{{"name":"ratio","type":10,"value":0.5}},{{"name":"big","type":4,"value":9007199254740991}}]}}]}}],
        "resolved":{{"users":{{"{USER}":{USER_JSON}}},"members":{{"{USER}":{{"roles":["{ROLE}"],"permissions":"8","pending":true}}}},
            "roles":{{"{ROLE}":{{"id":"{ROLE}","name":"r","permissions":"1"}}}},
            "channels":{{"{CHANNEL}":{{"id":"{CHANNEL}","name":"c","type":0,"permissions":"1"}}}},"attachments":{{}}}}}}"#
    );
    let event = interaction(&command(&in_guild(), &data));
    assert_eq!(event.scope.unwrap().guild_id, GUILD);
    assert_eq!(event.r#type(), MessageInteractionType::ApplicationCommand);
    let Some(Payload::Command(command)) = event.payload else { panic!("no command") };
    let base = command.base.unwrap();
    assert_eq!((base.id, base.application_id, base.channel_id, base.version), (ROLE, USER, CHANNEL, 1));
    assert_eq!((base.r#type(), base.token.as_str()), (MessageInteractionType::ApplicationCommand, "A_UNIQUE_TOKEN"));
    assert_eq!(base.source_type(), InteractionCreateBasePayloadType::Guild);
    let Some(SourceData::SourceGuild(source)) = base.source_data else { panic!("no guild") };
    let member = source.member.unwrap();
    assert_eq!((source.guild_id, member.guild_id, member.id, member.permissions), (GUILD, GUILD, USER, 2_147_483_647));

    let data = command.data.unwrap();
    assert_eq!((data.id, data.name.as_str()), (MESSAGE, "cards"));
    let group = &data.options[0];
    assert_eq!(group.r#type(), ApplicationCommandOptionType::SubCommandGroup);
    let options = &group.options[0].options;
    let read: Vec<_> = options.iter().map(|option| (option.name.as_str(), option.r#type(), option.value.clone())).collect();
    let want = [
        ("text", ApplicationCommandOptionType::String, "a \"b\"".to_owned()),
        ("count", ApplicationCommandOptionType::Integer, "-7".to_owned()),
        ("yes", ApplicationCommandOptionType::Boolean, "true".to_owned()),
        ("who", ApplicationCommandOptionType::User, USER.to_string()),
        ("ratio", ApplicationCommandOptionType::Unknown, "0.5".to_owned()),
        ("big", ApplicationCommandOptionType::Integer, "9007199254740991".to_owned()),
    ];
    assert_eq!(read, want);
    let resolved = data.resolved.unwrap();
    assert_eq!((resolved.users[0].id, resolved.roles[0].guild_id, resolved.roles[0].permissions), (USER, GUILD, 1));
    let member = &resolved.members[0];
    assert_eq!((member.id, member.guild_id, member.permissions, member.pending), (USER, GUILD, 8, Some(true)));
    assert_eq!(member.user.as_ref().unwrap().username, "nelly");
    assert_eq!((resolved.channels[0].id, resolved.channels[0].guild_id), (CHANNEL, Some(SnowflakeValue { value: GUILD })));
}

#[test]
fn a_component_in_a_direct_message_has_its_user_and_message() {
    let json = command(&format!(r#""user":{USER_JSON},"message":{}"#, whole_message()), r#"{"custom_id":"click","component_type":2}"#);
    let event = interaction(&json.replace(r#""type":2,"token""#, r#""type":3,"token""#));
    assert_eq!((event.scope.unwrap().guild_id, event.r#type()), (0, MessageInteractionType::MessageComponent));
    let Some(Payload::Component(component)) = event.payload else { panic!("no component") };
    let base = component.base.unwrap();
    assert_eq!(base.source_type(), InteractionCreateBasePayloadType::Dm);
    let Some(SourceData::SourceDm(source)) = base.source_data else { panic!("no user") };
    assert_eq!(source.user.unwrap().id, USER);
    let data = component.data.unwrap();
    assert_eq!((data.custom_id.as_str(), data.component_type()), ("click", MessageComponentType::Button));
    assert_eq!(component.message.unwrap().id, MESSAGE);
}

#[test]
fn a_ping_has_no_source_and_kinds_that_pylon_lacks_have_no_typed_form() {
    let ping = interaction(&format!(r#"{{"id":"{ROLE}","application_id":"{USER}","type":1,"token":"t","version":1}}"#));
    let Some(Payload::Ping(ping)) = ping.payload else { panic!("no ping") };
    let base = ping.base.unwrap();
    assert_eq!((base.source_type(), base.source_data), (InteractionCreateBasePayloadType::Unknown, None));
    for kind in [0, 4, 5, 99] {
        assert_eq!(trunkline_wire::typed(&event("INTERACTION_CREATE", &format!(r#"{{"id":"{ROLE}","type":{kind}}}"#))), None);
    }
}

//! Messages, and what hangs on them.

use trunkline_etf::{Kind, Value};

use crate::model::channel::{channel, channel_type};
use crate::model::user::{discriminator, member_of, snowflake, snowflakes, user};
use crate::pylon::discord::v1::event::message_update_event::PayloadData as MessageChange;
use crate::pylon::discord::v1::event::message_update_event::payload_data::{
    MessageActivityValue, MessageApplicationValue, MessageAttachmentListValue, MessageAuthorValue, MessageEmbedListValue,
    MessageMemberValue, MessageMentionChannelListValue, MessageMentionListValue, MessageReactionListValue, MessageReferenceValue,
    MessageTypeValue,
};
use crate::pylon::discord::v1::model::message_data::message_component_data::{MessageComponentButtonStyle, MessageComponentType};
use crate::pylon::discord::v1::model::message_data::message_interaction_data::MessageInteractionType;
use crate::pylon::discord::v1::model::message_data::message_sticker_data::MessageStickerFormatType;
use crate::pylon::discord::v1::model::message_data::{
    MessageActivityData, MessageApplicationData, MessageAttachmentData, MessageComponentData, MessageInteractionData,
    MessageMentionChannelData, MessageMentionData, MessageReactionData, MessageReactionEmojiData, MessageReferenceData, MessageStickerData,
    MessageType,
};
use crate::pylon::discord::v1::model::{MessageData, UserData};
use crate::read::{each, flag, id, large, list, number, number_or_none, object, text, text_or_none, time};

pub(crate) mod embed;

use embed::embed;

/// How deep components may lie in one another. Discord's own limit is far below; what is deeper is left out.
const COMPONENT_DEPTH_MAX: u32 = 16;

/// Discord docs, Message Resource: Message Object, with the extra fields of the Message Create event. What a forwarded
/// message quotes (`message_snapshots`) and what a reply refers to (`referenced_message`) has no place in it.
pub fn message(value: Value<'_>) -> MessageData {
    read_message(&[value])
}

/// A message after a Message Update: what the update says over what was known. The update's `tts` is always false
/// (Discord docs, Gateway Events: Message Update) and says nothing.
pub(crate) fn message_now(known: Value<'_>, update: Value<'_>) -> MessageData {
    let tts = known.get("tts").is_some_and(flag);
    MessageData { tts, ..read_message(&[known, update]) }
}

/// Later parts win, field by field.
fn read_message<'a>(parts: &[Value<'a>]) -> MessageData {
    let mut out = MessageData::default();
    let mut who: Option<Value<'a>> = None;
    let mut caused_by = None;
    for part in parts {
        each(*part, |key, value| match key {
            b"id" => out.id = id(value),
            b"channel_id" => out.channel_id = id(value),
            b"guild_id" => out.guild_id = snowflake(value),
            b"content" => out.content = text(value),
            b"timestamp" => out.timestamp = time(value),
            b"edited_timestamp" => out.edited_timestamp = time(value),
            b"mention_roles" => out.mention_roles = snowflakes(value),
            b"tts" => out.tts = flag(value),
            b"mention_everyone" => out.mention_everyone = flag(value),
            b"attachments" => out.attachments = list(value, attachment),
            b"embeds" => out.embeds = list(value, embed),
            b"mentions" => out.mentions = list(value, mention),
            b"reactions" => out.reactions = list(value, reaction),
            b"pinned" => out.pinned = flag(value),
            b"type" => out.r#type = message_type(value).into(),
            b"mention_channels" => out.mention_channels = list(value, mention_channel),
            b"flags" => out.flags = number(value),
            b"activity" => out.activity = object(value, activity),
            b"application" => out.application = object(value, application),
            b"message_reference" => out.message_reference = object(value, reference),
            b"author" => out.author = object(value, user),
            b"member" => who = Some(value),
            b"webhook_id" => out.webhook_id = snowflake(value),
            b"sticker_items" => out.stickers = list(value, sticker),
            b"stickers" if out.stickers.is_empty() => out.stickers = list(value, sticker),
            b"interaction" => out.interaction = object(value, interaction),
            b"interaction_metadata" => caused_by = object(value, interaction),
            b"thread" => out.thread = object(value, |value| channel(value, None)),
            b"components" => out.components = components(value, COMPONENT_DEPTH_MAX),
            _ => {}
        });
    }
    // The member stands in the message without its user and guild.
    out.member = who.filter(|who| who.kind() == Kind::Map).map(|who| {
        let guild_id = out.guild_id.as_ref().map_or(0, |guild| guild.value);
        member_of(who, guild_id, out.author.as_ref().unwrap_or(&UserData::default()))
    });
    // `interaction` is on its way out; its successor tells the same but for the command's name.
    out.interaction = out.interaction.or(caused_by);
    out
}

/// What a Message Update carries, so that each field can be told apart from an absent one.
pub(crate) fn message_change(value: Value<'_>) -> MessageChange {
    let mut out = MessageChange::default();
    let mut who = None;
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"channel_id" => out.channel_id = id(value),
        b"guild_id" => out.guild_id = snowflake(value),
        b"content" => out.content = text_or_none(value),
        b"edited_timestamp" => out.edited_timestamp = time(value),
        b"mention_roles" => out.mention_roles = snowflakes(value),
        b"tts" => out.tts = value.as_bool(),
        b"mention_everyone" => out.mention_everyone = value.as_bool(),
        b"attachments" => out.attachments = values(value, attachment).map(|values| MessageAttachmentListValue { values }),
        b"embeds" => out.embeds = values(value, embed).map(|values| MessageEmbedListValue { values }),
        b"mentions" => out.mentions = values(value, mention).map(|values| MessageMentionListValue { values }),
        b"reactions" => out.reactions = values(value, reaction).map(|values| MessageReactionListValue { values }),
        b"pinned" => out.pinned = value.as_bool(),
        b"type" => out.r#type = value.as_u64().map(|_| MessageTypeValue { value: message_type(value).into() }),
        b"mention_channels" => {
            out.mention_channels = values(value, mention_channel).map(|values| MessageMentionChannelListValue { values });
        }
        b"flags" => out.flags = number_or_none(value),
        b"activity" => out.activity = object(value, activity).map(|value| MessageActivityValue { value: Some(value) }),
        b"application" => out.application = object(value, application).map(|value| MessageApplicationValue { value: Some(value) }),
        b"message_reference" => out.message_reference = object(value, reference).map(|value| MessageReferenceValue { value: Some(value) }),
        b"author" => out.author = object(value, user).map(|value| MessageAuthorValue { value: Some(value) }),
        b"member" => who = Some(value),
        b"webhook_id" => out.webhook_id = snowflake(value),
        _ => {}
    });
    out.member = who.filter(|who| who.kind() == Kind::Map).map(|who| {
        let guild_id = out.guild_id.as_ref().map_or(0, |guild| guild.value);
        let nobody = UserData::default();
        let author = out.author.as_ref().and_then(|author| author.value.as_ref()).unwrap_or(&nobody);
        MessageMemberValue { value: Some(member_of(who, guild_id, author)) }
    });
    out
}

/// A list that was sent, or `None`.
fn values<'a, T>(value: Value<'a>, one: impl FnMut(Value<'a>) -> T) -> Option<Vec<T>> {
    (value.kind() == Kind::List).then(|| list(value, one))
}

/// Discord docs, Message Resource: Message Types. Pylon's stand one above up to 12; Discord has no 13, and Pylon ends
/// with 15: replies, commands and all the newer ones are UNKNOWN.
pub(crate) fn message_type(value: Value<'_>) -> MessageType {
    match value.as_u64() {
        Some(number @ (0..=12 | 14 | 15)) => {
            i32::try_from(number + 1).ok().and_then(|number| MessageType::try_from(number).ok()).unwrap_or(MessageType::Unknown)
        }
        _ => MessageType::Unknown,
    }
}

fn attachment(value: Value<'_>) -> MessageAttachmentData {
    let mut out = MessageAttachmentData::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"filename" => out.filename = text(value),
        b"size" => out.size = large(value),
        b"url" => out.url = text(value),
        b"proxy_url" => out.proxy_url = text(value),
        b"width" => out.width = large(value),
        b"height" => out.height = large(value),
        _ => {}
    });
    out
}

fn mention(value: Value<'_>) -> MessageMentionData {
    let mut out = MessageMentionData::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"username" => out.username = text(value),
        b"avatar" => out.avatar = text(value),
        b"discriminator" => out.discriminator = discriminator(value),
        _ => {}
    });
    out
}

fn mention_channel(value: Value<'_>) -> MessageMentionChannelData {
    let mut out = MessageMentionChannelData::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"guild_id" => out.guild_id = id(value),
        b"type" => out.r#type = channel_type(value).into(),
        b"name" => out.name = text(value),
        _ => {}
    });
    out
}

fn reaction(value: Value<'_>) -> MessageReactionData {
    let mut out = MessageReactionData::default();
    each(value, |key, value| match key {
        b"count" => out.count = number(value),
        b"me" => out.me = flag(value),
        b"emoji" => out.emoji = object(value, reaction_emoji),
        _ => {}
    });
    out
}

/// A guild's emoji has an id; a unicode emoji has only its name.
pub(crate) fn reaction_emoji(value: Value<'_>) -> MessageReactionEmojiData {
    let mut out = MessageReactionEmojiData::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"name" => out.name = text(value),
        b"animated" => out.animated = flag(value),
        _ => {}
    });
    out
}

fn activity(value: Value<'_>) -> MessageActivityData {
    let mut out = MessageActivityData::default();
    each(value, |key, value| match key {
        b"type" => out.r#type = number(value),
        b"party_id" => out.party_id = text(value),
        _ => {}
    });
    out
}

fn application(value: Value<'_>) -> MessageApplicationData {
    let mut out = MessageApplicationData::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"cover_image" => out.cover_image = text(value),
        b"description" => out.description = text(value),
        b"icon" => out.icon = text(value),
        b"name" => out.name = text(value),
        _ => {}
    });
    out
}

fn reference(value: Value<'_>) -> MessageReferenceData {
    let mut out = MessageReferenceData::default();
    each(value, |key, value| match key {
        b"message_id" => out.message_id = id(value),
        b"channel_id" => out.channel_id = id(value),
        b"guild_id" => out.guild_id = id(value),
        _ => {}
    });
    out
}

/// Whole stickers were sent in 2021, today only id, name and format are.
fn sticker(value: Value<'_>) -> MessageStickerData {
    let mut out = MessageStickerData::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"pack_id" => out.pack_id = id(value),
        b"name" => out.name = text(value),
        b"description" => out.description = text(value),
        b"tags" => out.tags = text(value),
        b"asset" => out.asset = text(value),
        b"format_type" => out.format_type = sticker_format(value).into(),
        _ => {}
    });
    out
}

/// Discord docs, Sticker Resource: Sticker Format Types. The same numbers on both sides; GIF (4) is unknown to Pylon.
fn sticker_format(value: Value<'_>) -> MessageStickerFormatType {
    match value.as_u64() {
        Some(1) => MessageStickerFormatType::Png,
        Some(2) => MessageStickerFormatType::Apng,
        Some(3) => MessageStickerFormatType::Lottie,
        _ => MessageStickerFormatType::Unknown,
    }
}

fn interaction(value: Value<'_>) -> MessageInteractionData {
    let mut out = MessageInteractionData::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"type" => out.r#type = interaction_type(value).into(),
        b"name" => out.name = text(value),
        b"user" => out.user = object(value, user),
        _ => {}
    });
    out
}

/// Discord docs, Interactions: Interaction Type. The same numbers on both sides; autocompletion (4) and modals (5) are
/// unknown to Pylon.
pub(crate) fn interaction_type(value: Value<'_>) -> MessageInteractionType {
    match value.as_u64() {
        Some(1) => MessageInteractionType::Ping,
        Some(2) => MessageInteractionType::ApplicationCommand,
        Some(3) => MessageInteractionType::MessageComponent,
        _ => MessageInteractionType::Unknown,
    }
}

fn components(value: Value<'_>, depth: u32) -> Vec<MessageComponentData> {
    let Some(depth) = depth.checked_sub(1) else { return Vec::new() };
    list(value, |value| component(value, depth))
}

fn component(value: Value<'_>, depth: u32) -> MessageComponentData {
    let mut out = MessageComponentData::default();
    each(value, |key, value| match key {
        b"type" => out.r#type = component_type(value).into(),
        b"style" => out.style = button_style(value).into(),
        b"label" => out.label = text(value),
        b"emoji" => out.emoji = object(value, reaction_emoji),
        b"custom_id" => out.custom_id = text(value),
        b"url" => out.url = text(value),
        b"disabled" => out.disabled = flag(value),
        b"components" => out.components = components(value, depth),
        _ => {}
    });
    // A text input has a `style` too, with other meanings.
    if out.r#type != i32::from(MessageComponentType::Button) {
        out.style = MessageComponentButtonStyle::UnknownButton.into();
    }
    out
}

/// Discord docs, Components: Component Types. The same numbers on both sides.
pub(crate) fn component_type(value: Value<'_>) -> MessageComponentType {
    match value.as_u64() {
        Some(1) => MessageComponentType::ActionRow,
        Some(2) => MessageComponentType::Button,
        _ => MessageComponentType::Unknown,
    }
}

/// Discord docs, Components: Button Styles. The same numbers on both sides; premium (6) is unknown to Pylon.
fn button_style(value: Value<'_>) -> MessageComponentButtonStyle {
    match value.as_u64() {
        Some(1) => MessageComponentButtonStyle::Primary,
        Some(2) => MessageComponentButtonStyle::Secondary,
        Some(3) => MessageComponentButtonStyle::Success,
        Some(4) => MessageComponentButtonStyle::Danger,
        Some(5) => MessageComponentButtonStyle::Link,
        _ => MessageComponentButtonStyle::UnknownButton,
    }
}

//! Embeds. Discord docs, Message Resource: Embed Object.

use trunkline_etf::Value;

use crate::pylon::discord::v1::model::message_data::MessageEmbedData;
use crate::pylon::discord::v1::model::message_data::message_embed_data::{
    MessageEmbedAuthorData, MessageEmbedFieldData, MessageEmbedFooterData, MessageEmbedImageData, MessageEmbedProviderData,
    MessageEmbedThumbnailData, MessageEmbedType, MessageEmbedVideoData,
};
use crate::read::{each, flag, list, number, object, text, time};

pub(crate) fn embed(value: Value<'_>) -> MessageEmbedData {
    let mut out = MessageEmbedData::default();
    each(value, |key, value| match key {
        b"title" => out.title = text(value),
        b"type" => out.r#type = embed_type(value).into(),
        b"description" => out.description = text(value),
        b"url" => out.url = text(value),
        b"timestamp" => out.timestamp = time(value),
        b"color" => out.color = number(value),
        b"footer" => out.footer = object(value, footer),
        b"image" => out.image = object(value, image),
        b"thumbnail" => out.thumbnail = object(value, thumbnail),
        b"video" => out.video = object(value, video),
        b"provider" => out.provider = object(value, provider),
        b"author" => out.author = object(value, author),
        b"fields" => out.fields = list(value, field),
        _ => {}
    });
    out
}

fn embed_type(value: Value<'_>) -> MessageEmbedType {
    match value.as_bytes().as_deref() {
        Some(b"rich") => MessageEmbedType::Rich,
        Some(b"image") => MessageEmbedType::Image,
        Some(b"video") => MessageEmbedType::Video,
        Some(b"gifv") => MessageEmbedType::Gifv,
        Some(b"article") => MessageEmbedType::Article,
        Some(b"link") => MessageEmbedType::Link,
        _ => MessageEmbedType::Unknown,
    }
}

fn footer(value: Value<'_>) -> MessageEmbedFooterData {
    let mut out = MessageEmbedFooterData::default();
    each(value, |key, value| match key {
        b"text" => out.text = text(value),
        b"icon_url" => out.icon_url = text(value),
        b"proxy_icon_url" => out.proxy_icon_url = text(value),
        _ => {}
    });
    out
}

fn image(value: Value<'_>) -> MessageEmbedImageData {
    let mut out = MessageEmbedImageData::default();
    each(value, |key, value| match key {
        b"url" => out.url = text(value),
        b"width" => out.width = number(value),
        b"height" => out.height = number(value),
        _ => {}
    });
    out
}

fn thumbnail(value: Value<'_>) -> MessageEmbedThumbnailData {
    let mut out = MessageEmbedThumbnailData::default();
    each(value, |key, value| match key {
        b"url" => out.url = text(value),
        b"proxy_url" => out.proxy_url = text(value),
        b"width" => out.width = number(value),
        b"height" => out.height = number(value),
        _ => {}
    });
    out
}

fn video(value: Value<'_>) -> MessageEmbedVideoData {
    let mut out = MessageEmbedVideoData::default();
    each(value, |key, value| match key {
        b"url" => out.url = text(value),
        b"width" => out.width = number(value),
        b"height" => out.height = number(value),
        _ => {}
    });
    out
}

fn provider(value: Value<'_>) -> MessageEmbedProviderData {
    let mut out = MessageEmbedProviderData::default();
    each(value, |key, value| match key {
        b"name" => out.name = text(value),
        b"url" => out.url = text(value),
        _ => {}
    });
    out
}

fn author(value: Value<'_>) -> MessageEmbedAuthorData {
    let mut out = MessageEmbedAuthorData::default();
    each(value, |key, value| match key {
        b"name" => out.name = text(value),
        b"url" => out.url = text(value),
        b"icon_url" => out.icon_url = text(value),
        b"proxy_icon_url" => out.proxy_icon_url = text(value),
        _ => {}
    });
    out
}

fn field(value: Value<'_>) -> MessageEmbedFieldData {
    let mut out = MessageEmbedFieldData::default();
    each(value, |key, value| match key {
        b"name" => out.name = text(value),
        b"value" => out.value = text(value),
        b"inline" => out.inline = flag(value),
        _ => {}
    });
    out
}

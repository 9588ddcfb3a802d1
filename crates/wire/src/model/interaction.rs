//! Interactions. Discord docs, Interactions: Receiving and Responding.

use trunkline_etf::{Kind, Value};

use crate::model::channel::channel;
use crate::model::guild::role;
use crate::model::message::{component_type, interaction_type, message};
use crate::model::user::{member, user};
use crate::pylon::discord::v1::event::interaction_create_event::interaction_create_base_payload::SourceData;
use crate::pylon::discord::v1::event::interaction_create_event::{
    InteractionCreateApplicationCommandEvent, InteractionCreateBasePayload, InteractionCreateBasePayloadDmData,
    InteractionCreateBasePayloadGuildData, InteractionCreateBasePayloadType, InteractionCreateMessageComponentEvent,
    InteractionCreatePingEvent, Payload,
};
use crate::pylon::discord::v1::model::interaction_data_application_command::application_command_interaction_data_option::ApplicationCommandOptionType;
use crate::pylon::discord::v1::model::interaction_data_application_command::{
    ApplicationCommandInteractionDataOption, ApplicationCommandInteractionDataResolved,
};
use crate::pylon::discord::v1::model::message_data::message_interaction_data::MessageInteractionType;
use crate::pylon::discord::v1::model::{InteractionDataApplicationCommand, InteractionDataMessageComponent, MemberData, UserData};
use crate::read::{each, id, list, number, object, scalar_text, text};

/// How deep options may lie in one another: Discord nests a group, a subcommand and its options.
const OPTION_DEPTH_MAX: u32 = 8;

/// The interaction's type and payload, or `None` for the kinds that Pylon does not have (autocompletion, modals): an
/// event that says nothing would be worse than none.
pub(crate) fn interaction(value: Value<'_>) -> Option<(MessageInteractionType, Payload)> {
    let mut data = None;
    let mut on_message = None;
    let base = base(value, |key, value| match key {
        b"data" => data = Some(value),
        b"message" => on_message = Some(value),
        _ => {}
    });
    let guild_id = match &base.source_data {
        Some(SourceData::SourceGuild(source)) => source.guild_id,
        _ => 0,
    };
    let kind = base.r#type();
    let payload = match kind {
        MessageInteractionType::Ping => Payload::Ping(InteractionCreatePingEvent { base: Some(base) }),
        MessageInteractionType::ApplicationCommand => Payload::Command(InteractionCreateApplicationCommandEvent {
            base: Some(base),
            data: data.and_then(|data| object(data, |data| command(data, guild_id))),
        }),
        MessageInteractionType::MessageComponent => Payload::Component(InteractionCreateMessageComponentEvent {
            base: Some(base),
            message: on_message.and_then(|value| object(value, message)),
            data: data.and_then(|data| object(data, component)),
        }),
        MessageInteractionType::Unknown => return None,
    };
    Some((kind, payload))
}

/// What all interactions have; the rest is handed to `other`.
fn base<'a>(value: Value<'a>, mut other: impl FnMut(&[u8], Value<'a>)) -> InteractionCreateBasePayload {
    let mut out = InteractionCreateBasePayload::default();
    let mut guild_id = 0;
    let mut who_member = None;
    let mut who_user = None;
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"application_id" => out.application_id = id(value),
        b"type" => out.r#type = interaction_type(value).into(),
        b"channel_id" => out.channel_id = id(value),
        b"token" => out.token = text(value),
        b"version" => out.version = number(value),
        b"guild_id" => guild_id = id(value),
        b"member" => who_member = Some(value),
        b"user" => who_user = Some(value),
        _ => other(key, value),
    });
    // A member is sent in guilds, a user in direct messages; a ping has neither.
    if let Some(who) = who_member.filter(|who| who.kind() == Kind::Map) {
        out.set_source_type(InteractionCreateBasePayloadType::Guild);
        let source = InteractionCreateBasePayloadGuildData { guild_id, member: Some(member(who, guild_id)) };
        out.source_data = Some(SourceData::SourceGuild(source));
    } else if let Some(who) = who_user.filter(|who| who.kind() == Kind::Map) {
        out.set_source_type(InteractionCreateBasePayloadType::Dm);
        out.source_data = Some(SourceData::SourceDm(InteractionCreateBasePayloadDmData { user: Some(user(who)) }));
    }
    out
}

fn component(value: Value<'_>) -> InteractionDataMessageComponent {
    let mut out = InteractionDataMessageComponent::default();
    each(value, |key, value| match key {
        b"custom_id" => out.custom_id = text(value),
        b"component_type" => out.component_type = component_type(value).into(),
        _ => {}
    });
    out
}

fn command(value: Value<'_>, guild_id: u64) -> InteractionDataApplicationCommand {
    let mut out = InteractionDataApplicationCommand::default();
    each(value, |key, value| match key {
        b"id" => out.id = id(value),
        b"name" => out.name = text(value),
        b"resolved" => out.resolved = object(value, |value| resolved(value, guild_id)),
        b"options" => out.options = options(value, OPTION_DEPTH_MAX),
        _ => {}
    });
    out
}

/// Discord sends maps from id to object; Pylon has lists, in the order in which the objects came.
fn resolved(value: Value<'_>, guild_id: u64) -> ApplicationCommandInteractionDataResolved {
    let mut out = ApplicationCommandInteractionDataResolved::default();
    each(value, |key, value| match key {
        b"users" => out.users = by_id(value, |_, value| user(value)),
        b"members" => {
            out.members = by_id(value, |user_id, value| MemberData { id: user_id, ..member(value, guild_id) });
        }
        b"roles" => out.roles = by_id(value, |_, value| role(value, guild_id)),
        b"channels" => out.channels = by_id(value, |_, value| channel(value, (guild_id != 0).then_some(guild_id))),
        _ => {}
    });
    // Members are sent without their user: it stands among the users.
    for member in &mut out.members {
        if member.user.is_none() {
            member.user = find(&out.users, member.id).cloned();
        }
    }
    out
}

fn find(users: &[UserData], id: u64) -> Option<&UserData> {
    users.iter().find(|user| user.id == id)
}

fn by_id<'a, T>(value: Value<'a>, mut one: impl FnMut(u64, Value<'a>) -> T) -> Vec<T> {
    value.entries().filter(|(_, value)| value.kind() == Kind::Map).map(|(key, value)| one(id(key), value)).collect()
}

fn options(value: Value<'_>, depth: u32) -> Vec<ApplicationCommandInteractionDataOption> {
    let Some(depth) = depth.checked_sub(1) else { return Vec::new() };
    list(value, |value| option(value, depth))
}

fn option(value: Value<'_>, depth: u32) -> ApplicationCommandInteractionDataOption {
    let mut out = ApplicationCommandInteractionDataOption::default();
    each(value, |key, value| match key {
        b"name" => out.name = text(value),
        b"type" => out.r#type = option_type(value).into(),
        b"value" => out.value = scalar_text(value),
        b"options" => out.options = options(value, depth),
        _ => {}
    });
    out
}

/// Discord docs, Application Commands: Option Type. The same numbers on both sides; numbers (10) and attachments (11)
/// are unknown to Pylon, their values are there all the same.
fn option_type(value: Value<'_>) -> ApplicationCommandOptionType {
    value
        .as_i64()
        .and_then(|number| i32::try_from(number).ok())
        .and_then(|number| ApplicationCommandOptionType::try_from(number).ok())
        .unwrap_or(ApplicationCommandOptionType::Unknown)
}

//! What is sent to Discord's gateway: presence (op 3) and voice state (op 4), checked and put into Discord's form.
//!
//! Discord answers a command that it does not like by closing the connection, so what is known to be wrong is refused here.
//! Discord docs, Gateway Events: Update Presence, Update Voice State.

use bytes::Bytes;
use tonic::Status;
use trunkline_discord::{Encoding, Object};
use trunkline_etf::{JsonWriter, TermWrite};
use trunkline_wire::pylon::discord::v1::gateway::update_status_request::ActivityData;
use trunkline_wire::pylon::discord::v1::gateway::{UpdateStatusRequest, UpdateVoiceStateRequest};
use trunkline_wire::pylon::discord::v1::model::presence_data::OnlineStatus;
use trunkline_wire::pylon::discord::v1::model::presence_data::presence_activity_data::ActivityType;

/// Activities of one presence. Discord shows one of a bot's; more than a few are a mistake.
pub const ACTIVITIES_MAX: usize = 8;

/// Characters of an activity's name, state or stream address: Discord refuses longer ones.
pub const ACTIVITY_NAME_CHARS_MAX: usize = 128;

/// The `d` of an op 3.
pub(super) fn presence(request: &UpdateStatusRequest) -> Result<Object, Status> {
    let wrong = |text: String| Err(Status::invalid_argument(text));
    if request.activities.len() > ACTIVITIES_MAX {
        return wrong(format!("{} activities are too many: at most {ACTIVITIES_MAX}", request.activities.len()));
    }
    let status = match OnlineStatus::try_from(request.status) {
        Ok(OnlineStatus::Unknown | OnlineStatus::Online) => "online",
        Ok(OnlineStatus::Idle) => "idle",
        Ok(OnlineStatus::Dnd) => "dnd",
        Ok(OnlineStatus::Invisible) => "invisible",
        // Discord takes it as invisible.
        Ok(OnlineStatus::Offline) => "offline",
        Err(_) => return wrong(format!("status {} is none of the known ones", request.status)),
    };
    let mut out = JsonWriter::new();
    out.begin_map(4);
    out.key("since");
    match &request.since {
        Some(since) => {
            let millis = since.seconds.checked_mul(1_000).and_then(|millis| millis.checked_add(i64::from(since.nanos / 1_000_000)));
            let Some(millis) = millis.filter(|millis| *millis >= 0) else {
                return wrong("since is no time after 1970".to_owned());
            };
            out.int(millis);
        }
        None => out.null(),
    }
    out.key("activities");
    out.begin_list(request.activities.len());
    for (index, one) in request.activities.iter().enumerate() {
        activity(&mut out, one).map_err(|text| Status::invalid_argument(format!("activities[{index}]: {text}")))?;
    }
    out.end_list();
    out.key("status");
    out.str(status);
    out.key("afk");
    out.bool(request.afk);
    out.end_map();
    Ok(object(out))
}

fn activity(out: &mut JsonWriter, one: &ActivityData) -> Result<(), String> {
    // Pylon's numbers are Discord's plus one, its UNKNOWN first.
    let known = ActivityType::try_from(one.r#type).ok().filter(|known| *known != ActivityType::Unknown);
    let Some(known) = known else {
        return Err(format!("type {} is none of the known ones: set one", one.r#type));
    };
    if one.name.is_empty() {
        return Err("it has no name".to_owned());
    }
    for (field, text) in [("name", Some(&one.name)), ("state", one.state.as_ref()), ("url", one.url.as_ref())] {
        if text.is_some_and(|text| text.chars().count() > ACTIVITY_NAME_CHARS_MAX) {
            return Err(format!("its {field} is longer than {ACTIVITY_NAME_CHARS_MAX} characters"));
        }
    }
    out.begin_map(4);
    out.key("name");
    out.str(&one.name);
    out.key("type");
    out.int(i64::from(known as i32) - 1);
    // Discord shows a custom status's state and not its name.
    let custom = known == ActivityType::CustomStatus;
    if let Some(state) = one.state.as_ref().or(custom.then_some(&one.name)) {
        out.key("state");
        out.str(state);
    }
    if let Some(url) = &one.url {
        out.key("url");
        out.str(url);
    }
    out.end_map();
    Ok(())
}

/// The `d` of an op 4 for a guild.
pub(super) fn voice_state(guild: u64, request: &UpdateVoiceStateRequest) -> Object {
    let mut out = JsonWriter::new();
    out.begin_map(4);
    out.key("guild_id");
    out.id(guild);
    out.key("channel_id");
    match request.channel_id {
        0 => out.null(),
        channel => out.id(channel),
    }
    out.key("self_mute");
    out.bool(request.self_mute);
    out.key("self_deaf");
    out.bool(request.self_deaf);
    out.end_map();
    object(out)
}

fn object(out: JsonWriter) -> Object {
    Object { encoding: Encoding::Json, bytes: Bytes::from(out.into_vec()) }
}

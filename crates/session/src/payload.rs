//! The frames that a session sends, written in its encoding.
//!
//! Discord docs, Gateway Events: Send Events. For ETF every key is a binary: Discord closes with 4002 on atom keys, so a
//! body that came from elsewhere is written anew, term by term, instead of copied. No frame is longer than 4096 bytes.

use trunkline_discord::{Compression, Encoding, Object, Op};
use trunkline_etf::{EtfWriter, JsonWriter, Kind, TermWrite, Value};

use crate::{Config, Refusal, ResumePoint};

/// Longest frame that Discord takes from a client, in bytes.
pub(crate) const BYTES_MAX: usize = 4_096;

/// Deepest nesting of a command's body. Discord's own are 3 deep.
const DEPTH_MAX: u32 = 32;

/// One whole frame that Discord takes: `op`, and `d` as `body` writes it.
fn frame(encoding: Encoding, op: Op, body: impl FnOnce(&mut dyn TermWrite) -> Result<(), Refusal>) -> Result<Vec<u8>, Refusal> {
    let bytes = any_length(encoding, op, body)?;
    if bytes.len() > BYTES_MAX {
        return Err(Refusal::TooLong { bytes: bytes.len() });
    }
    Ok(bytes)
}

fn any_length(encoding: Encoding, op: Op, body: impl FnOnce(&mut dyn TermWrite) -> Result<(), Refusal>) -> Result<Vec<u8>, Refusal> {
    fn write(writer: &mut dyn TermWrite, op: Op, body: impl FnOnce(&mut dyn TermWrite) -> Result<(), Refusal>) -> Result<(), Refusal> {
        writer.begin_map(2);
        writer.key("op");
        writer.uint(op.code());
        writer.key("d");
        body(writer)?;
        writer.end_map();
        Ok(())
    }
    let bytes = match encoding {
        Encoding::Etf => {
            let mut writer = EtfWriter::new();
            write(&mut writer, op, body)?;
            writer.into_vec()
        }
        // The packed form is never on a wire.
        Encoding::Json | Encoding::Packed => {
            let mut writer = JsonWriter::new();
            write(&mut writer, op, body)?;
            writer.into_vec()
        }
    };
    Ok(bytes)
}

/// A frame whose body cannot fail. Its length is not checked: nobody could be told.
fn small(encoding: Encoding, op: Op, body: impl FnOnce(&mut dyn TermWrite)) -> Vec<u8> {
    any_length(encoding, op, |writer| {
        body(writer);
        Ok(())
    })
    .unwrap_or_default()
}

/// A heartbeat with a position, or null.
pub(crate) fn heartbeat(encoding: Encoding, s: Option<u64>) -> Vec<u8> {
    small(encoding, Op::Heartbeat, |writer| match s {
        Some(s) => writer.uint(s),
        None => writer.null(),
    })
}

/// RESUME. The session id was cut to a length at which this fits when it came in.
pub(crate) fn resume(config: &Config, point: &ResumePoint) -> Vec<u8> {
    small(point.encoding, Op::Resume, |writer| {
        writer.begin_map(3);
        writer.key("token");
        writer.str(config.token.bare());
        writer.key("session_id");
        writer.str(&point.session_id);
        writer.key("seq");
        writer.uint(point.s);
        writer.end_map();
    })
}

/// IDENTIFY. With the presence left out, and why, if it cannot be sent.
pub(crate) fn identify(config: &Config) -> (Vec<u8>, Option<Refusal>) {
    let bare = || any_length(config.encoding, Op::Identify, |writer| identify_body(config, None, writer)).unwrap_or_default();
    match frame(config.encoding, Op::Identify, |writer| identify_body(config, config.presence.as_ref(), writer)) {
        Ok(bytes) => (bytes, None),
        Err(why) => (bare(), config.presence.is_some().then_some(why)),
    }
}

fn identify_body(config: &Config, presence: Option<&Object>, writer: &mut dyn TermWrite) -> Result<(), Refusal> {
    writer.begin_map(7);
    writer.key("token");
    writer.str(config.token.bare());
    writer.key("intents");
    writer.uint(config.intents.0);
    writer.key("properties");
    writer.begin_map(3);
    for (key, value) in [("os", std::env::consts::OS), ("browser", "trunkline"), ("device", "trunkline")] {
        writer.key(key);
        writer.str(value);
    }
    writer.end_map();
    // Compression of single payloads; the two kinds must not be combined, and the stream kind is better.
    writer.key("compress");
    writer.bool(false);
    if let Some(threshold) = config.large_threshold {
        writer.key("large_threshold");
        writer.uint(u64::from(threshold.clamp(50, 250)));
    }
    writer.key("shard");
    writer.begin_list(2);
    writer.uint(u64::from(config.shard.0));
    writer.uint(u64::from(config.shard.1));
    writer.end_list();
    if let Some(presence) = presence {
        writer.key("presence");
        map(writer, presence.value())?;
    }
    writer.end_map();
    Ok(())
}

/// A command of a user of the bot.
pub(crate) fn command(encoding: Encoding, op: Op, payload: &Object) -> Result<Vec<u8>, Refusal> {
    if !op.is_command() {
        return Err(Refusal::NotACommand);
    }
    // The other encoding may be shorter, but never by so much: refuse before walking megabytes.
    if payload.bytes.len() > 4 * BYTES_MAX {
        return Err(Refusal::TooLong { bytes: payload.bytes.len() });
    }
    frame(encoding, op, |writer| map(writer, payload.value()))
}

fn map(writer: &mut dyn TermWrite, value: Value<'_>) -> Result<(), Refusal> {
    if value.kind() != Kind::Map {
        return Err(Refusal::Malformed);
    }
    copy(writer, value, 0)
}

/// Writes a term anew, so that keys come out as this encoding's writer writes them.
fn copy(writer: &mut dyn TermWrite, value: Value<'_>, depth: u32) -> Result<(), Refusal> {
    if depth > DEPTH_MAX {
        return Err(Refusal::Malformed);
    }
    match value.kind() {
        Kind::Null => writer.null(),
        Kind::Bool => writer.bool(value.as_bool().ok_or(Refusal::Malformed)?),
        Kind::Int => match (value.as_i64(), value.as_u64()) {
            (Some(int), _) => writer.int(int),
            (None, Some(uint)) => writer.uint(uint),
            (None, None) => return Err(Refusal::Malformed),
        },
        Kind::Float => writer.float(value.as_f64().ok_or(Refusal::Malformed)?),
        Kind::Str => writer.str(&value.as_str().ok_or(Refusal::Malformed)?),
        Kind::List => {
            writer.begin_list(value.len());
            for item in value.items() {
                copy(writer, item, depth + 1)?;
            }
            writer.end_list();
        }
        Kind::Map => {
            writer.begin_map(value.len());
            for (key, entry) in value.entries() {
                writer.key(&key.as_str().ok_or(Refusal::Malformed)?);
                copy(writer, entry, depth + 1)?;
            }
            writer.end_map();
        }
        Kind::Opaque => return Err(Refusal::Malformed),
    }
    Ok(())
}

/// What goes into the query of a connection.
pub(crate) fn query(config: &Config, held: Option<&ResumePoint>) -> (Encoding, Compression) {
    held.map_or((config.encoding, config.compression), |point| (point.encoding, point.compression))
}

//! The stored form of an entry. Ours alone: nothing on any wire looks like this, and a newer version may change it.
//!
//! `version, kind, then` fixed fields as varints, texts and objects with their length before them. The payload is copied
//! as it came, unknown fields and all.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use trunkline_discord::{Encoding, Event, EventKind, EventName, Gap, GapCause, GuildOrigin, Object, Routing, ShardId, Time};

use crate::stored::{Cursor, DecodeError, put_block, put_maybe, put_varint};
use crate::types::Body;

/// Version of the stored entry, its first byte.
pub const ENTRY_VERSION: u8 = 1;

const EVENT: u8 = 0;
const GAP: u8 = 1;

/// Appends the stored form of a body. Costs one copy of the payload; meant for the store's thread, not for the path of
/// events.
pub fn encode_entry(body: &Body, out: &mut Vec<u8>) {
    out.push(ENTRY_VERSION);
    match body {
        Body::Event(event) => {
            out.push(EVENT);
            encode_event(event, out);
        }
        Body::Gap(gap) => {
            out.push(GAP);
            encode_gap(gap, out);
        }
    }
}

/// Reads a stored entry back. `now` and `now_unix_us` are one moment on both clocks: from them an event's age carries
/// over to this process's clock.
///
/// # Errors
/// [`DecodeError`] when the bytes are not exactly one entry of a known version.
pub fn decode_entry(bytes: &[u8], now: Time, now_unix_us: u64) -> Result<Body, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    if cursor.u8("version")? != ENTRY_VERSION {
        return Err(cursor.bad("entry of an unknown version"));
    }
    let body = match cursor.u8("kind of entry")? {
        EVENT => Body::Event(Arc::new(decode_event(&mut cursor, now, now_unix_us)?)),
        GAP => Body::Gap(Arc::new(decode_gap(&mut cursor)?)),
        _ => return Err(cursor.bad("unknown kind of entry")),
    };
    cursor.end()?;
    Ok(body)
}

fn put_shard(shard: ShardId, out: &mut Vec<u8>) {
    put_varint(out, shard.bot);
    put_varint(out, u64::from(shard.index));
    put_varint(out, u64::from(shard.count));
}

fn shard(cursor: &mut Cursor<'_>) -> Result<ShardId, DecodeError> {
    Ok(ShardId { bot: cursor.varint("bot id")?, index: cursor.u32("shard index")?, count: cursor.u32("shard count")? })
}

fn encoding_code(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::Etf => 0,
        Encoding::Json => 1,
        Encoding::Packed => 2,
    }
}

fn encoding(cursor: &mut Cursor<'_>) -> Result<Encoding, DecodeError> {
    match cursor.u8("encoding")? {
        0 => Ok(Encoding::Etf),
        1 => Ok(Encoding::Json),
        2 => Ok(Encoding::Packed),
        _ => Err(cursor.bad("unknown encoding")),
    }
}

fn encode_event(event: &Event, out: &mut Vec<u8>) {
    out.reserve(128 + event.body.len());
    put_shard(event.shard, out);
    put_varint(out, event.session);
    put_varint(out, event.s);
    put_varint(out, event.epoch);
    put_varint(out, event.received_at_unix_us);
    put_maybe(out, event.routing.guild_id);
    put_maybe(out, event.routing.channel_id);
    put_maybe(out, event.routing.user_id);
    put_maybe(out, event.routing.id);
    out.push(match event.origin {
        None => 0,
        Some(GuildOrigin::Startup) => 1,
        Some(GuildOrigin::Available) => 2,
        Some(GuildOrigin::Joined) => 3,
    });
    put_block(out, event.name.as_str().as_bytes());
    out.push(encoding_code(event.encoding));
    put_block(out, &event.body);
    match &event.previous {
        None => out.push(0),
        Some(object) => {
            out.push(1);
            out.push(encoding_code(object.encoding));
            put_block(out, &object.bytes);
        }
    }
}

fn decode_event(cursor: &mut Cursor<'_>, now: Time, now_unix_us: u64) -> Result<Event, DecodeError> {
    let shard = shard(cursor)?;
    let session = cursor.varint("session")?;
    let s = cursor.varint("sequence")?;
    let epoch = cursor.varint("epoch")?;
    let received_at_unix_us = cursor.varint("time received")?;
    let routing = Routing {
        guild_id: cursor.maybe("guild id")?,
        channel_id: cursor.maybe("channel id")?,
        user_id: cursor.maybe("user id")?,
        id: cursor.maybe("object id")?,
    };
    let origin = match cursor.u8("origin")? {
        0 => None,
        1 => Some(GuildOrigin::Startup),
        2 => Some(GuildOrigin::Available),
        3 => Some(GuildOrigin::Joined),
        _ => return Err(cursor.bad("unknown origin")),
    };
    let name = cursor.text("event name")?;
    // A kind that was unknown when it was stored may be known to this version, and the other way round.
    let kind = EventKind::from_name(name);
    let name = EventName::new(kind, name);
    let encoding_of_body = encoding(cursor)?;
    let body = Bytes::copy_from_slice(cursor.block("body")?);
    let previous = match cursor.u8("previous object")? {
        0 => None,
        1 => Some(Object { encoding: encoding(cursor)?, bytes: Bytes::copy_from_slice(cursor.block("previous object")?) }.into()),
        _ => return Err(cursor.bad("previous object")),
    };
    Ok(Event {
        shard,
        session,
        s,
        epoch,
        kind,
        name,
        encoding: encoding_of_body,
        body,
        previous,
        origin,
        routing,
        received_at_unix_us,
        received_at: now - Duration::from_micros(now_unix_us.saturating_sub(received_at_unix_us)),
    })
}

fn encode_gap(gap: &Gap, out: &mut Vec<u8>) {
    put_shard(gap.shard, out);
    put_varint(out, gap.session);
    put_maybe(out, gap.first_s);
    put_maybe(out, gap.last_s);
    put_block(out, gap.cause.as_str().as_bytes());
    put_maybe(out, gap.events);
    put_varint(out, gap.at_unix_us);
}

fn decode_gap(cursor: &mut Cursor<'_>) -> Result<Gap, DecodeError> {
    let shard = shard(cursor)?;
    let session = cursor.varint("session")?;
    let first_s = cursor.maybe("first sequence")?;
    let last_s = cursor.maybe("last sequence")?;
    let cause = cursor.text("cause")?;
    // A cause that only a newer version knows is still a gap.
    let cause = GapCause::ALL.into_iter().find(|known| known.as_str() == cause).unwrap_or(GapCause::Other);
    Ok(Gap { shard, session, first_s, last_s, cause, events: cursor.maybe("number of events")?, at_unix_us: cursor.varint("time found")? })
}

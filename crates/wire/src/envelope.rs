//! Events and gaps to envelopes, as each worker asked for them and within its message limit.
//!
//! Never fails and never ends a stream: what is too large is trimmed in at most four steps, each marked and counted in
//! the header, down to an envelope that only tells that there was an event.

use bytes::Bytes;
use prost::Message;
use trunkline_discord::{Event, Gap, GapCause, GuildOrigin};
use trunkline_etf::{self as etf, Encoding, EtfWriter, JsonWriter, TermWrite, Value};

use crate::pylon::discord::v1::event::EventEnvelope;
use crate::pylon::discord::v1::event::event_envelope::{EventData, HeaderData};
use crate::time::from_unix_us;
use crate::trunkline::event::v1 as ours;
use crate::{RawWanted, Want, typed, typed_addition};

/// What became of an event on its way to one worker.
#[derive(Clone, Debug, PartialEq)]
pub enum Encoded {
    /// The worker speaks Pylon's contract only, and that has no such event. To be counted; the event is done for this
    /// worker.
    Filtered,
    /// The worker speaks Pylon's contract only, and the event is over its limit: Pylon's typed events carry neither
    /// members nor presences that it could lose, and an envelope without an event would break its client. Nothing that
    /// Discord sends comes near this. To be counted as lost; the event is done for this worker.
    TooLarge,
    /// To be sent. Boxed as the stream's message wants it.
    Envelope(Box<EventEnvelope>),
}

/// What was cut from a raw payload, in the order in which it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cut {
    Nothing,
    Members,
    MembersAndPresences,
    Payload,
}

impl Cut {
    fn removes(self, key: Value<'_>) -> bool {
        (self >= Cut::Members && key.is_key("members")) || (self >= Cut::MembersAndPresences && key.is_key("presences"))
    }
}

/// Builds the envelope of an event for a worker, with the sequence that its stream gave it.
///
/// A plain Pylon worker gets exactly what Pylon's envelope has. An extended one gets the header's additions, every
/// event that exists, and raw payloads where it asked for them: the bytes as Discord sent them when the session has
/// the wanted encoding, else transcoded. (Should a payload not be expressible in the wanted encoding, it comes in its
/// own; [`ours::RawEvent`]'s `encoding` says so. Discord does not send such payloads.)
///
/// An envelope over [`Want::max_bytes`] loses the `members` of the raw payload and of the typed event, then the raw
/// payload's `presences` (no typed event has any), then the raw payload, then the typed event.
pub fn envelope(event: &Event, want: &Want, seq: u64, redelivered: bool) -> Encoded {
    let data = if want.typed { typed(event) } else { None };
    let data = if want.typed && want.extended { data.or_else(|| typed_addition(event)) } else { data };
    if !want.extended {
        let Some(data) = data else { return Encoded::Filtered };
        let header = HeaderData { seq, received_at: Some(from_unix_us(event.received_at_unix_us)), ..HeaderData::default() };
        let envelope = EventEnvelope { header: Some(header), event_data: Some(data), raw_payload: None };
        return if message_bytes(&envelope) <= want.max_bytes { Encoded::Envelope(Box::new(envelope)) } else { Encoded::TooLarge };
    }
    let mut envelope = Box::new(EventEnvelope { header: Some(header(event, seq, redelivered)), event_data: data, raw_payload: None });
    let encoding = match (want.raw, envelope.event_data.is_some()) {
        (RawWanted::None, true) => None,
        (RawWanted::None | RawWanted::Json, _) => Some(Encoding::Json),
        (RawWanted::Etf, _) => Some(Encoding::Etf),
    };
    if let Some(encoding) = encoding {
        set_raw(&mut envelope, raw(event, encoding, Cut::Nothing));
    }
    if message_bytes(&envelope) > want.max_bytes {
        trim(&mut envelope, event, encoding, want.max_bytes);
    }
    Encoded::Envelope(envelope)
}

/// Builds the envelope that tells a worker of a gap. A plain Pylon worker has no such event: filtered.
pub fn gap_envelope(gap: &Gap, want: &Want, seq: u64, redelivered: bool) -> Encoded {
    if !want.extended {
        return Encoded::Filtered;
    }
    let at = Some(from_unix_us(gap.at_unix_us));
    let header = HeaderData {
        seq,
        received_at: at,
        bot_id: gap.shard.bot,
        shard_id: gap.shard.index,
        shard_count: gap.shard.count,
        session: gap.session,
        redelivered,
        ..HeaderData::default()
    };
    let data = ours::GapEvent {
        bot_id: gap.shard.bot,
        shard_id: gap.shard.index,
        shard_count: gap.shard.count,
        session: gap.session,
        first_sequence: gap.first_s,
        last_sequence: gap.last_s,
        cause: gap_cause(gap.cause).into(),
        events: gap.events,
        at,
    };
    Encoded::Envelope(Box::new(EventEnvelope { header: Some(header), event_data: Some(EventData::GapEvent(data)), raw_payload: None }))
}

/// Bytes of the stream's message that carries this envelope: what gRPC's message limits count.
pub fn message_bytes(envelope: &EventEnvelope) -> usize {
    let bytes = envelope.encoded_len();
    1 + prost::length_delimiter_len(bytes) + bytes
}

fn header(event: &Event, seq: u64, redelivered: bool) -> HeaderData {
    let origin = match event.origin {
        None => ours::GuildOrigin::Unspecified,
        Some(GuildOrigin::Startup) => ours::GuildOrigin::Startup,
        Some(GuildOrigin::Available) => ours::GuildOrigin::Available,
        Some(GuildOrigin::Joined) => ours::GuildOrigin::Joined,
    };
    HeaderData {
        seq,
        received_at: Some(from_unix_us(event.received_at_unix_us)),
        bot_id: event.shard.bot,
        shard_id: event.shard.index,
        shard_count: event.shard.count,
        discord_sequence: event.s,
        session: event.session,
        redelivered,
        // Only resharding makes such events, and it marks them itself.
        maybe_duplicate: false,
        guild_origin: origin.into(),
        trimmed: None,
        event_name: event.name.as_str().to_owned(),
        guild_id: event.routing.guild_id.unwrap_or(0),
    }
}

fn gap_cause(cause: GapCause) -> ours::gap_event::Cause {
    match cause {
        GapCause::LogBytes => ours::gap_event::Cause::LogBytes,
        GapCause::LogDisk => ours::gap_event::Cause::LogDisk,
        GapCause::LogAge => ours::gap_event::Cause::LogAge,
        GapCause::SequenceJump => ours::gap_event::Cause::SequenceJump,
        GapCause::SessionLost => ours::gap_event::Cause::SessionLost,
        GapCause::StoreFailed => ours::gap_event::Cause::StoreFailed,
        GapCause::Other => ours::gap_event::Cause::Other,
    }
}

/// Puts a raw event where it belongs: alone as the event, or beside the typed one.
fn set_raw(envelope: &mut EventEnvelope, raw: ours::RawEvent) {
    match envelope.event_data {
        None | Some(EventData::RawEvent(_)) => envelope.event_data = Some(EventData::RawEvent(raw)),
        Some(_) => envelope.raw_payload = Some(raw),
    }
}

/// Cuts until it fits. Each step is tried once.
fn trim(envelope: &mut EventEnvelope, event: &Event, encoding: Option<Encoding>, max_bytes: usize) {
    let mut trimmed = ours::Trimmed { payload_bytes: event.body.len() as u64, ..ours::Trimmed::default() };
    let typed_members = take_typed_members(envelope);
    if typed_members > 0 && encoding.is_none() {
        trimmed.members = typed_members as u64;
        mark(envelope, trimmed);
        if message_bytes(envelope) <= max_bytes {
            return;
        }
    }
    if let Some(encoding) = encoding {
        let [members, presences] = event.value().get_all(["members", "presences"]).map(|list| list.map_or(0, Value::len));
        for (cut, removed) in [(Cut::Members, members), (Cut::MembersAndPresences, presences), (Cut::Payload, 1)] {
            if removed == 0 {
                continue;
            }
            match cut {
                Cut::Nothing => {}
                Cut::Members => trimmed.members = removed as u64,
                Cut::MembersAndPresences => trimmed.presences = removed as u64,
                Cut::Payload => trimmed.payload = true,
            }
            set_raw(envelope, raw(event, encoding, cut));
            mark(envelope, trimmed);
            if message_bytes(envelope) <= max_bytes {
                return;
            }
        }
    }
    trimmed.payload = true;
    envelope.raw_payload = None;
    envelope.event_data = Some(EventData::RawEvent(raw(event, encoding.unwrap_or(event.encoding), Cut::Payload)));
    mark(envelope, trimmed);
}

/// Empties the typed event's `members`; answers how many there were. Of all typed events only the list of a guild's
/// threads has such a field: Pylon's guild has neither members nor presences.
fn take_typed_members(envelope: &mut EventEnvelope) -> usize {
    match &mut envelope.event_data {
        Some(EventData::ThreadListSyncEvent(sync)) => std::mem::take(&mut sync.members).len(),
        _ => 0,
    }
}

fn mark(envelope: &mut EventEnvelope, trimmed: ours::Trimmed) {
    if let Some(header) = &mut envelope.header {
        header.trimmed = Some(trimmed);
    }
}

fn raw(event: &Event, wanted: Encoding, cut: Cut) -> ours::RawEvent {
    let (encoding, payload) = match cut {
        Cut::Nothing if wanted == event.encoding => (wanted, event.body.clone()),
        Cut::Payload => (wanted, Bytes::new()),
        _ => match written(event.value(), wanted, cut) {
            Ok(bytes) => (wanted, Bytes::from(bytes)),
            Err(_) => (event.encoding, event.body.clone()),
        },
    };
    let encoding = match encoding {
        Encoding::Etf => ours::Encoding::Etf,
        // An event's body is never packed: it is what Discord sent.
        Encoding::Json | Encoding::Packed => ours::Encoding::Json,
    };
    ours::RawEvent { name: event.name.as_str().to_owned(), encoding: encoding.into(), bytes: payload }
}

/// The payload in another encoding, or without some of its keys, or both.
fn written(value: Value<'_>, wanted: Encoding, cut: Cut) -> Result<Vec<u8>, etf::Error> {
    if cut == Cut::Nothing {
        let mut out = Vec::with_capacity(value.raw().len() + value.raw().len() / 4);
        etf::transcode(value, wanted, &mut out)?;
        return Ok(out);
    }
    match wanted {
        Encoding::Etf => {
            let mut writer = EtfWriter::term();
            without(value, cut, &mut writer)?;
            Ok(writer.into_vec())
        }
        Encoding::Json | Encoding::Packed => {
            let mut writer = JsonWriter::new();
            without(value, cut, &mut writer)?;
            Ok(writer.into_vec())
        }
    }
}

fn without(value: Value<'_>, cut: Cut, writer: &mut impl TermWrite) -> Result<(), etf::Error> {
    writer.begin_map(value.len());
    for (key, value) in value.entries() {
        if !cut.removes(key) {
            writer.key_from(key)?;
            writer.value(value)?;
        }
    }
    writer.end_map();
    Ok(())
}

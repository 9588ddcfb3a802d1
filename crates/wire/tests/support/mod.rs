//! Events from JSON, in every encoding in which Discord could have sent them.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use bytes::Bytes;
use trunkline_discord::{Event, EventKind, EventName, GuildOrigin, Object, Previous, ShardId, Time, routing};
use trunkline_etf::{Encoding, EtfWriter, Kind, Limits, TermWrite, Value, transcode};
use trunkline_wire::pylon::discord::v1::event::event_envelope::EventData;

pub const BOT: u64 = 41_771_983_423_143_937;
pub const GUILD: u64 = 197_038_439_483_310_086;
pub const CHANNEL: u64 = 290_926_798_999_357_250;
pub const MESSAGE: u64 = 334_385_199_974_967_042;
pub const USER: u64 = 80_351_110_224_678_912;
pub const ROLE: u64 = 41_771_983_423_143_936;

/// A user as Discord sends one today.
pub const USER_JSON: &str = r#"{"id":"80351110224678912","username":"nelly","discriminator":"0","global_name":"Nelly ☃",
  "avatar":"8342729096ea3675442027381ff50dfe","bot":true,"public_flags":64,"clan":null,"avatar_decoration_data":null}"#;

/// An event that came as JSON.
#[track_caller]
pub fn event(name: &str, json: &str) -> Event {
    let value = Value::parse(Encoding::Json, json.as_bytes(), &Limits::GATEWAY).unwrap();
    let kind = EventKind::from_name(name);
    Event {
        shard: ShardId { bot: BOT, index: 3, count: 16 },
        session: 5,
        s: 1_234,
        epoch: 2,
        kind,
        name: EventName::new(kind, name),
        encoding: Encoding::Json,
        body: Bytes::copy_from_slice(value.raw()),
        previous: None,
        origin: (kind == EventKind::GuildCreate).then_some(GuildOrigin::Joined),
        routing: routing(kind, value),
        received_at_unix_us: 1_700_000_000_123_456,
        received_at: Time::ZERO,
    }
}

/// The same event with the object as it was before.
#[track_caller]
pub fn event_with_previous(name: &str, json: &str, previous: &str) -> Event {
    let previous = Object::copy_of(Value::parse(Encoding::Json, previous.as_bytes(), &Limits::GATEWAY).unwrap());
    Event { previous: Some(previous.into()), ..event(name, json) }
}

fn in_encoding(event: &Event, write: impl Fn(Value<'_>) -> Vec<u8>) -> Event {
    let body = Bytes::from(write(event.value()));
    let previous =
        event.previous.as_ref().map(|object| Object { encoding: Encoding::Etf, bytes: Bytes::from(write(object.value())) }.into());
    let routing = routing(event.kind, Value::from_raw(Encoding::Etf, &body));
    Event { encoding: Encoding::Etf, body, previous, routing, ..event.clone() }
}

/// The event in ETF with binaries everywhere.
pub fn etf(event: &Event) -> Event {
    in_encoding(event, |value| {
        let mut out = Vec::new();
        transcode(value, Encoding::Etf, &mut out).unwrap();
        out
    })
}

/// The event as Discord's ETF has it: keys are atoms, ids are integers.
pub fn discords_etf(event: &Event) -> Event {
    in_encoding(event, |value| {
        let mut writer = EtfWriter::term().with_atom_keys();
        write(value, &mut writer);
        writer.into_vec()
    })
}

/// The event with what was before it as the cache has it.
pub fn packed_previous(event: &Event) -> Event {
    let pack = |object: &Previous| {
        let mut out = Vec::new();
        transcode(object.value(), Encoding::Packed, &mut out).unwrap();
        Object { encoding: Encoding::Packed, bytes: Bytes::from(out) }.into()
    };
    Event { previous: event.previous.as_ref().map(pack), ..event.clone() }
}

fn write(value: Value<'_>, writer: &mut EtfWriter) {
    match value.kind() {
        Kind::Map => {
            writer.begin_map(value.len());
            for (key, value) in value.entries() {
                writer.key(&key.as_str().unwrap());
                write(value, writer);
            }
            writer.end_map();
        }
        Kind::List => {
            writer.begin_list(value.len());
            value.items().for_each(|item| write(item, writer));
            writer.end_list();
        }
        Kind::Str => match value.as_id() {
            Some(id) if id >= 1 << 22 => writer.uint(id),
            _ => writer.value(value).unwrap(),
        },
        _ => writer.value(value).unwrap(),
    }
}

/// The typed event of ours, which must be the same from all encodings.
#[track_caller]
pub fn typed_addition(event: &Event) -> EventData {
    assert_eq!(trunkline_wire::typed(event), None, "Pylon has it");
    let data = trunkline_wire::typed_addition(event).expect("a typed event");
    for other in [etf(event), discords_etf(event), packed_previous(event), packed_previous(&discords_etf(event))] {
        assert_eq!(other.routing, event.routing);
        assert_eq!(trunkline_wire::typed_addition(&other).as_ref(), Some(&data));
    }
    data
}

/// The typed event, which must be the same from all encodings.
#[track_caller]
pub fn typed(event: &Event) -> EventData {
    let data = trunkline_wire::typed(event).expect("a typed event");
    for other in [etf(event), discords_etf(event), packed_previous(event), packed_previous(&discords_etf(event))] {
        assert_eq!(other.routing, event.routing);
        assert_eq!(trunkline_wire::typed(&other).as_ref(), Some(&data));
    }
    data
}

//! What the event path does with each frame takes nothing from the heap. An allocator that counts stands behind this test alone.
#![allow(clippy::unwrap_used)]

use trunkline_discord::{Envelope, EventKind};
use trunkline_etf::{Encoding, EtfWriter, Ids, Limits, TermWrite, Value, transcode};

const MESSAGE: &str = r#"{"type":0,"tts":false,"timestamp":"2026-11-21T20:00:00.000000+00:00","pinned":false,"nonce":"7","mentions":[],
    "mention_roles":["41771983423143937"],"member":{"roles":["41771983423143937"],"nick":null,"joined_at":"2025-01-01T00:00:00+00:00"},
    "id":"1162030405060708090","guild_id":"41771983423143936","embeds":[{"title":"x","fields":[{"name":"a","value":"b"}]}],"content":"so",
    "components":[],"channel_id":"41771983423143938","author":{"username":"n","avatar":null,"id":"80351110224678912"},"attachments":[]}"#;
const PRESENCE: &str = r#"{"user":{"id":"80351110224678912"},"status":"idle","guild_id":"41771983423143936","client_status":{"desktop":"idle"},
    "activities":[{"type":0,"name":"a game","created_at":1763755200000,"timestamps":{"start":1763755200000}}]}"#;
const TYPING: &str =
    r#"{"user_id":"80351110224678912","timestamp":1763755200,"guild_id":"41771983423143936","channel_id":"41771983423143938"}"#;

/// One dispatch as Discord writes it in ETF: keys are atoms, ids are integers.
fn etf(name: &str, body: &str) -> Vec<u8> {
    let mut writer = EtfWriter::new().with_atom_keys().with_ids(Ids::Integers);
    writer.begin_map(4);
    writer.key("t");
    writer.str(name);
    writer.key("s");
    writer.uint(70_000);
    writer.key("op");
    writer.uint(0);
    writer.key("d");
    copy(Value::parse(Encoding::Json, body.as_bytes(), &Limits::GATEWAY).unwrap(), &mut writer);
    writer.end_map();
    writer.into_vec()
}

fn copy(value: Value<'_>, writer: &mut EtfWriter) {
    if value.entries().next().is_some() {
        writer.begin_map(0);
        for (key, value) in value.entries() {
            writer.key(&key.as_str().unwrap());
            match value.as_id() {
                Some(id) if value.as_str().is_some() => writer.id(id),
                _ => copy(value, writer),
            }
        }
        writer.end_map();
    } else if value.items().next().is_some() {
        writer.begin_list(0);
        value.items().for_each(|item| copy(item, writer));
        writer.end_list();
    } else {
        writer.value(value).unwrap();
    }
}

#[test]
fn decoding_and_routing_an_event_allocates_nothing() {
    let large = format!(r#"{{"id":"41771983423143936","members":[{}]}}"#, [r#"{"user":{"id":"1"},"roles":["2"]}"#; 500].join(","));
    for (name, body) in [
        ("MESSAGE_CREATE", MESSAGE),
        ("PRESENCE_UPDATE", PRESENCE),
        ("TYPING_START", TYPING),
        ("GUILD_CREATE", &large),
        ("NOT_YET_DOCUMENTED", TYPING),
    ] {
        let etf = etf(name, body);
        let mut json = Vec::new();
        transcode(Value::parse(Encoding::Etf, &etf, &Limits::GATEWAY).unwrap(), Encoding::Json, &mut json).unwrap();
        for (encoding, frame) in [(Encoding::Etf, &etf), (Encoding::Json, &json)] {
            let mut key = 0;
            let counted = allocation_counter::measure(|| {
                let (envelope, routing) = Envelope::decode_routed(encoding, frame, &Limits::GATEWAY).unwrap();
                assert_eq!(envelope.t.as_deref(), Some(name));
                let kind = EventKind::from_name(name);
                assert_eq!(routing, trunkline_discord::routing(kind, envelope.d));
                key = routing.key();
            });
            assert_eq!((counted.count_total, key), (0, 41_771_983_423_143_936), "{name} {encoding:?}");
        }
    }
    // The counter does count.
    assert_eq!(allocation_counter::measure(|| drop(std::hint::black_box(vec![1u8]))).count_total, 1);
}

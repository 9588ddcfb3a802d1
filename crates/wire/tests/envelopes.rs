//! Envelopes as workers ask for them: plain Pylon, typed, raw, both; limits; gaps; garbage.

#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use prost::Message;
use support::{BOT, CHANNEL, GUILD, MESSAGE, USER, USER_JSON, discords_etf, etf, event};
use trunkline_discord::{Event, EventKind, Gap, GapCause, ShardId};
use trunkline_etf::{Encoding, Limits, Value};
use trunkline_wire::pylon::discord::v1::event::EventEnvelope;
use trunkline_wire::pylon::discord::v1::event::event_envelope::EventData;
use trunkline_wire::pylon::gateway::v1::workergroup::{WorkerStreamServerMessage, worker_stream_server_message::Payload};
use trunkline_wire::trunkline::event::v1::{self as ours, GuildOrigin, RawEvent, Trimmed};
use trunkline_wire::{Encoded, RawWanted, Want, envelope, gap_envelope, message_bytes};

const RAW_JSON: Want = Want { extended: true, typed: false, raw: RawWanted::Json, ..Want::PYLON };
const RAW_ETF: Want = Want { raw: RawWanted::Etf, ..RAW_JSON };
const TYPED: Want = Want { typed: true, raw: RawWanted::None, ..RAW_JSON };
const BOTH: Want = Want { typed: true, ..RAW_JSON };

#[track_caller]
fn sent(event: &Event, want: &Want) -> EventEnvelope {
    match envelope(event, want, 77, false) {
        Encoded::Envelope(envelope) => *envelope,
        Encoded::Filtered => panic!("filtered"),
        Encoded::TooLarge => panic!("too large"),
    }
}

#[track_caller]
fn raw_of(envelope: &EventEnvelope) -> &RawEvent {
    match &envelope.event_data {
        Some(EventData::RawEvent(raw)) => raw,
        other => panic!("{other:?}"),
    }
}

fn message() -> Event {
    event(
        "MESSAGE_CREATE",
        &format!(r#"{{"id":"{MESSAGE}","channel_id":"{CHANNEL}","guild_id":"{GUILD}","content":"ä","author":{USER_JSON}}}"#),
    )
}

fn thread() -> Event {
    event("THREAD_MEMBER_UPDATE", &format!(r#"{{"id":"{CHANNEL}","guild_id":"{GUILD}","user_id":"{USER}","flags":0}}"#))
}

fn new_event() -> Event {
    event("SOMETHING_NEW", &format!(r#"{{"guild_id":"{GUILD}","x":[1,2.5,null]}}"#))
}

/// Members of about 100 bytes and presences of about 50.
fn big_guild(members: usize, presences: usize) -> Event {
    let members =
        vec![format!(r#"{{"user":{},"roles":[]}}"#, r#"{"id":"80351110224678912","username":"nelly_with_a_long_name"}"#); members];
    let presences = vec![r#"{"user":{"id":"80351110224678912"},"status":"online"}"#; presences];
    let json = format!(
        r#"{{"id":"{GUILD}","name":"big","members":[{}],"presences":[{}],"member_count":9,"later":true}}"#,
        members.join(","),
        presences.join(",")
    );
    event("GUILD_CREATE", &json)
}

#[test]
fn a_plain_pylon_worker_gets_pylons_envelope_and_nothing_of_ours() {
    let envelope = sent(&message(), &Want::PYLON);
    let header = envelope.header.clone().unwrap();
    assert_eq!(header.seq, 77);
    let received = header.received_at.unwrap();
    assert_eq!((received.seconds, received.nanos), (1_700_000_000, 123_456_000));
    assert!(matches!(envelope.event_data, Some(EventData::MessageCreateEvent(_))));
    // Tag 1 (header): sequence and time, nothing else; tag 16 (the message); nothing after.
    let bytes = envelope.encode_to_vec();
    assert_eq!(bytes[..2], [0x0a, 2 + 2 + 6 + 5]);
    assert_eq!(bytes[17..19], [0x82, 0x01]);
    assert_eq!(EventEnvelope::decode(&bytes[..]).unwrap(), envelope);
}

#[test]
fn what_pylon_does_not_have_is_filtered_for_a_plain_worker_and_raw_for_an_extended_one() {
    for event in [new_event(), event("INTERACTION_CREATE", r#"{"id":"1","type":4}"#)] {
        assert_eq!(envelope(&event, &Want::PYLON, 1, false), Encoded::Filtered);
        let envelope = sent(&event, &TYPED);
        let raw = raw_of(&envelope);
        assert_eq!((raw.name.as_str(), raw.encoding(), &raw.bytes), (event.name.as_str(), ours::Encoding::Json, &event.body));
        assert_eq!(envelope.raw_payload, None);
    }
    assert!(matches!(sent(&message(), &TYPED).event_data, Some(EventData::MessageCreateEvent(_))));
}

#[test]
fn a_typed_event_of_ours_goes_to_extended_workers_only() {
    assert_eq!(envelope(&thread(), &Want::PYLON, 1, false), Encoded::Filtered);
    assert!(matches!(sent(&thread(), &TYPED).event_data, Some(EventData::ThreadMemberUpdateEvent(_))));
    let both = sent(&thread(), &BOTH);
    assert!(matches!(both.event_data, Some(EventData::ThreadMemberUpdateEvent(_))));
    assert_eq!(both.raw_payload.unwrap().bytes, thread().body);
    assert_eq!(raw_of(&sent(&thread(), &RAW_JSON)).bytes, thread().body);
}

#[test]
fn the_header_tells_an_extended_worker_where_an_event_comes_from() {
    let Encoded::Envelope(envelope) = envelope(&big_guild(1, 1), &RAW_JSON, 9, true) else { panic!("filtered") };
    let header = envelope.header.unwrap();
    assert_eq!((header.seq, header.bot_id, header.shard_id, header.shard_count), (9, BOT, 3, 16));
    assert_eq!((header.discord_sequence, header.session, header.guild_id), (1_234, 5, GUILD));
    assert_eq!((header.redelivered, header.maybe_duplicate, header.trimmed), (true, false, None));
    assert_eq!((header.guild_origin(), header.event_name.as_str()), (GuildOrigin::Joined, "GUILD_CREATE"));
    let header = sent(&message(), &TYPED).header.unwrap();
    assert_eq!((header.redelivered, header.guild_origin()), (false, GuildOrigin::Unspecified));
}

#[test]
fn raw_in_the_sessions_encoding_is_what_discord_sent_byte_for_byte() {
    let json = message();
    assert_eq!(raw_of(&sent(&json, &RAW_JSON)).bytes, json.body);
    for etf in [etf(&json), discords_etf(&json)] {
        let envelope = sent(&etf, &RAW_ETF);
        let raw = raw_of(&envelope);
        assert_eq!((&raw.bytes, raw.encoding()), (&etf.body, ours::Encoding::Etf));
        // One map, and no version byte before it.
        assert_eq!(raw.bytes[0], 116);
    }
}

#[test]
fn raw_in_the_other_encoding_is_transcoded() {
    let json = message();
    let term = etf(&json);
    assert_eq!(raw_of(&sent(&json, &RAW_ETF)).bytes, term.body);
    let back = sent(&term, &RAW_JSON);
    let back = Value::parse(Encoding::Json, &raw_of(&back).bytes, &Limits::GATEWAY).unwrap();
    assert_eq!(back.get("id").and_then(Value::as_id), Some(MESSAGE));
    // Integer ids of Discord's own ETF become text in JSON.
    let integers = sent(&discords_etf(&json), &RAW_JSON);
    assert!(std::str::from_utf8(&raw_of(&integers).bytes).unwrap().contains(&format!(r#""id":"{MESSAGE}""#)));
}

#[test]
fn typed_and_raw_come_side_by_side() {
    let event = message();
    let envelope = sent(&event, &BOTH);
    assert!(matches!(envelope.event_data, Some(EventData::MessageCreateEvent(_))));
    let raw = envelope.raw_payload.unwrap();
    assert_eq!((raw.name.as_str(), raw.encoding(), raw.bytes), ("MESSAGE_CREATE", ours::Encoding::Json, event.body));
    // Without a typed form it stands alone.
    let envelope = sent(&new_event(), &BOTH);
    assert_eq!((raw_of(&envelope).name.as_str(), envelope.raw_payload.clone()), ("SOMETHING_NEW", None));
}

#[test]
fn the_stream_message_is_as_large_as_we_say() {
    for (event, want) in [(message(), Want::PYLON), (message(), BOTH), (big_guild(50, 50), RAW_ETF), (big_guild(5_000, 1), RAW_JSON)] {
        let envelope = sent(&event, &want);
        let bytes = message_bytes(&envelope);
        let message = WorkerStreamServerMessage { payload: Some(Payload::EventEnvelope(Box::new(envelope))) };
        assert_eq!(message.encoded_len(), bytes);
    }
}

#[test]
fn a_payload_over_the_limit_loses_its_members_first() {
    let json = big_guild(100, 100);
    for event in [json.clone(), etf(&json), discords_etf(&json)] {
        for want in [RAW_JSON, RAW_ETF] {
            let whole = message_bytes(&sent(&event, &want));
            let want = Want { max_bytes: whole - 1, ..want };
            let envelope = sent(&event, &want);
            assert!(message_bytes(&envelope) <= want.max_bytes);
            let trimmed = envelope.header.as_ref().unwrap().trimmed.unwrap();
            assert_eq!(trimmed, Trimmed { members: 100, presences: 0, payload: false, payload_bytes: event.body.len() as u64 });
            let raw = raw_of(&envelope);
            let encoding = if want.raw == RawWanted::Json { Encoding::Json } else { Encoding::Etf };
            let rest = Value::from_raw(encoding, &raw.bytes);
            assert!(rest.get("members").is_none());
            assert_eq!(rest.get("presences").unwrap().len(), 100);
            assert_eq!(rest.get("id").and_then(Value::as_id), Some(GUILD));
            assert_eq!(rest.get("later").and_then(Value::as_bool), Some(true));
            // What is left is a whole document.
            let mut document = if encoding == Encoding::Etf { vec![131] } else { Vec::new() };
            document.extend_from_slice(&raw.bytes);
            Value::parse(encoding, &document, &Limits::GATEWAY).unwrap();
        }
    }
}

#[test]
fn then_its_presences_and_then_the_payload_but_never_the_header() {
    let event = big_guild(100, 100);
    let envelope = sent(&event, &Want { max_bytes: 1_000, ..RAW_JSON });
    let trimmed = envelope.header.as_ref().unwrap().trimmed.unwrap();
    assert_eq!((trimmed.members, trimmed.presences, trimmed.payload), (100, 100, false));
    assert_eq!(raw_of(&envelope).bytes, Bytes::from(format!(r#"{{"id":"{GUILD}","name":"big","member_count":9,"later":true}}"#)));
    assert!(message_bytes(&envelope) <= 1_000);

    // A limit that nothing fits still tells of the event.
    for want in [RAW_JSON, RAW_ETF, TYPED, BOTH] {
        let envelope = sent(&event, &Want { max_bytes: 1, ..want });
        let header = envelope.header.as_ref().unwrap();
        let trimmed = header.trimmed.unwrap();
        assert!(trimmed.payload);
        assert_eq!((header.event_name.as_str(), header.guild_id), ("GUILD_CREATE", GUILD));
        let raw = raw_of(&envelope);
        assert!(raw.bytes.is_empty() && raw.name == "GUILD_CREATE");
        assert_eq!(envelope.raw_payload, None);
    }
}

#[test]
fn the_raw_payload_goes_before_the_typed_event() {
    let event = event("MESSAGE_CREATE", &format!(r#"{{"id":"{MESSAGE}","new_field":"{}"}}"#, "x".repeat(5_000)));
    let envelope = sent(&event, &Want { max_bytes: 1_000, ..BOTH });
    assert!(matches!(envelope.event_data, Some(EventData::MessageCreateEvent(_))));
    assert!(envelope.raw_payload.as_ref().unwrap().bytes.is_empty());
    assert!(envelope.header.unwrap().trimmed.unwrap().payload);
}

#[test]
fn a_plain_worker_gets_a_guild_create_of_many_megabytes_whole_as_pylons_guild_has_no_members() {
    let event = big_guild(60_000, 60_000);
    let envelope = sent(&event, &Want::PYLON);
    assert!(
        matches!(&envelope.event_data, Some(EventData::GuildCreateEvent(create)) if create.payload.as_ref().unwrap().member_count == 9)
    );
    assert!(message_bytes(&envelope) < 1_000);
}

#[test]
fn a_typed_event_over_the_limit_loses_its_members_and_is_still_typed() {
    let members = vec![format!(r#"{{"id":"{CHANNEL}","user_id":"{USER}","join_timestamp":"2021-01-01T00:00:00Z","flags":1}}"#); 1_000];
    let json = format!(
        r#"{{"guild_id":"{GUILD}","channel_ids":["{CHANNEL}"],"threads":[{{"id":"{CHANNEL}"}}],"members":[{}]}}"#,
        members.join(",")
    );
    let event = event("THREAD_LIST_SYNC", &json);
    for want in [TYPED, BOTH] {
        let envelope = sent(&event, &Want { max_bytes: 2_000, ..want });
        assert!(message_bytes(&envelope) <= 2_000);
        let trimmed = envelope.header.as_ref().unwrap().trimmed.unwrap();
        assert_eq!((trimmed.members, trimmed.presences, trimmed.payload), (1_000, 0, false));
        let Some(EventData::ThreadListSyncEvent(sync)) = &envelope.event_data else { panic!("{:?}", envelope.event_data) };
        assert_eq!((sync.members.len(), sync.threads.len()), (0, 1));
        if let Some(raw) = &envelope.raw_payload {
            assert!(Value::from_raw(Encoding::Json, &raw.bytes).get("members").is_none());
            assert!(!raw.bytes.is_empty());
        }
    }
}

#[test]
fn what_a_plain_worker_cannot_be_sent_for_its_size_is_told_apart_from_what_it_has_no_form_for() {
    let event = event("MESSAGE_CREATE", &format!(r#"{{"id":"{MESSAGE}","content":"{}"}}"#, "x".repeat(5 << 20)));
    assert_eq!(envelope(&event, &Want::PYLON, 1, false), Encoded::TooLarge);
    assert_eq!(envelope(&new_event(), &Want::PYLON, 1, false), Encoded::Filtered);
}

#[test]
fn a_raw_guild_create_of_many_megabytes_fits_into_four() {
    let event = big_guild(60_000, 60_000);
    assert!(event.body.len() > Want::PYLON.max_bytes);
    for want in [RAW_JSON, RAW_ETF] {
        let envelope = sent(&event, &want);
        assert!(message_bytes(&envelope) <= 4 << 20);
        assert_eq!(envelope.header.unwrap().trimmed.unwrap().members, 60_000);
    }
    let typed = sent(&event, &TYPED);
    assert_eq!(typed.header.unwrap().trimmed, None);
    let envelope = sent(&event, &Want { max_bytes: 1 << 30, ..RAW_JSON });
    assert_eq!(raw_of(&envelope).bytes, event.body);
}

#[test]
fn gaps_are_told_to_extended_workers_only() {
    let gap = Gap {
        shard: ShardId { bot: BOT, index: 3, count: 16 },
        session: 5,
        first_s: Some(100),
        last_s: None,
        cause: GapCause::SessionLost,
        events: None,
        at_unix_us: 1_700_000_000_000_001,
    };
    assert_eq!(gap_envelope(&gap, &Want::PYLON, 1, false), Encoded::Filtered);
    let Encoded::Envelope(envelope) = gap_envelope(&gap, &RAW_ETF, 8, true) else { panic!("filtered") };
    let header = envelope.header.clone().unwrap();
    assert_eq!((header.seq, header.redelivered, header.bot_id, header.shard_id), (8, true, BOT, 3));
    let Some(EventData::GapEvent(told)) = &envelope.event_data else { panic!("no gap") };
    assert_eq!((told.bot_id, told.shard_id, told.shard_count, told.session), (BOT, 3, 16, 5));
    assert_eq!((told.first_sequence, told.last_sequence, told.events), (Some(100), None, None));
    assert_eq!(told.cause(), ours::gap_event::Cause::SessionLost);
    assert_eq!(told.at.unwrap().nanos, 1_000);
    assert_eq!(EventEnvelope::decode(&envelope.encode_to_vec()[..]).unwrap(), *envelope);
    for cause in GapCause::ALL {
        let Encoded::Envelope(envelope) = gap_envelope(&Gap { cause, ..gap.clone() }, &TYPED, 1, false) else { panic!("filtered") };
        let Some(EventData::GapEvent(told)) = envelope.event_data else { panic!("no gap") };
        assert_eq!(told.cause().as_str_name().to_lowercase(), format!("cause_{}", cause.as_str()));
    }
}

/// Every key that any conversion looks at.
const KEYS: &str = "id guild_id channel_id user_id user username avatar discriminator bot nick roles joined_at premium_since permissions \
    pending name icon region afk_channel_id owner_id splash afk_timeout member_count features unavailable topic type nsfw position \
    permission_overwrites allow deny parent_id role role_id emojis emoji require_colons member session_id self_mute content timestamp \
    edited_timestamp mention_roles attachments embeds fields footer image size reactions count me mention_channels mentions activity \
    application message_reference author webhook_id sticker_items stickers format_type interaction interaction_metadata thread components \
    style status client_status activities created_at timestamps start end party assets secrets ids last_pin_timestamp token endpoint code \
    inviter max_age target_user target_type data message options value resolved users members channels presences version custom_id \
    threads thread_metadata added_members removed_member_ids channel_ids sounds entity_metadata recurrence_rule trigger_metadata actions \
    metadata action changes options rule_trigger_type answer_id flags applied_tags available_tags archive_timestamp";

#[test]
fn garbage_of_every_type_in_every_field_gives_defaults_and_never_a_panic() {
    let values = [
        "null",
        "true",
        "-1",
        "1.5",
        "1e300",
        "18446744073709551615",
        "99999999999999999999999",
        "\"\"",
        "\"x\"",
        "\"-5\"",
        "[]",
        "{}",
        "[null]",
        "[1,\"a\",{}]",
        "[[[]]]",
        "[{}]",
        "{\"id\":[]}",
        "{\"1\":{\"2\":3}}",
        "\"2021-99-99T00:00:00Z\"",
        "\"99999-\"",
    ];
    let kinds: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.name()).chain(["NEW_ONE"]).collect();
    for value in values {
        let object = |value: &str| {
            let entries: Vec<_> = KEYS.split_whitespace().map(|key| format!("\"{key}\":{value}")).collect();
            format!("{{{}}}", entries.join(","))
        };
        let inner = object(value);
        for body in [value.to_owned(), inner.clone(), format!("{{\"type\":2,\"data\":{inner}}}")] {
            for name in &kinds {
                let json = same_from_both_encodings(name, &body);
                for want in [TYPED, BOTH, RAW_ETF] {
                    sent(&json, &want);
                    sent(&etf(&json), &Want { max_bytes: 50, ..want });
                }
            }
        }
        // The same one level down, for payloads that are deep.
        for body in [object(&inner), object(&format!("[{inner}]"))] {
            for name in [
                "MESSAGE_CREATE",
                "MESSAGE_UPDATE",
                "INTERACTION_CREATE",
                "PRESENCE_UPDATE",
                "THREAD_LIST_SYNC",
                "GUILD_AUDIT_LOG_ENTRY_CREATE",
            ] {
                same_from_both_encodings(name, &body);
            }
        }
    }
}

#[track_caller]
fn same_from_both_encodings(name: &str, body: &str) -> Event {
    let mut json = event(name, body);
    json.previous = Some(trunkline_discord::Object { encoding: Encoding::Json, bytes: json.body.clone() }.into());
    let term = etf(&json);
    assert_eq!(trunkline_wire::typed(&json), trunkline_wire::typed(&term), "{name}");
    assert_eq!(trunkline_wire::typed_addition(&json), trunkline_wire::typed_addition(&term), "{name}");
    json
}

#[test]
fn bodies_cut_anywhere_never_panic() {
    let json = message();
    for whole in [json.clone(), etf(&json), discords_etf(&json)] {
        for end in 0..whole.body.len() {
            let cut = Event { body: whole.body.slice(..end), ..whole.clone() };
            for want in [Want::PYLON, BOTH, RAW_ETF, Want { max_bytes: 10, ..RAW_JSON }] {
                envelope(&cut, &want, 1, false);
            }
        }
    }
}

//! How fast events are read, as a table: `cargo run --release -p trunkline-etf --example read`.
//!
//! Per payload and encoding: the plain walk over every term that nothing can undercut, the frame's envelope with the guild's id out of
//! its body (in the one walk of `parse_entries`, and by walking again), `serde_json::Value` of the same event, and transcoding.
//! Times are the best of many rounds on one thread; ratios matter more than times.
#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

use serde_json::{Value as Json, json};
use std::hint::black_box;
use std::time::Instant;
use trunkline_etf::{Encoding, EtfWriter, Ids, Limits, TermWrite, Value, transcode};

/// Writes serde_json's tree as Discord sends it: atom keys, ids as integers.
fn write(json: &Json, writer: &mut EtfWriter) {
    match json {
        Json::Null => writer.null(),
        Json::Bool(value) => writer.bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(int) => writer.int(int),
            None => writer.float(number.as_f64().unwrap()),
        },
        Json::String(text) if text.len() >= 17 && text.bytes().all(|b| b.is_ascii_digit()) => writer.id(text.parse().unwrap()),
        Json::String(text) => writer.str(text),
        Json::Array(items) => {
            writer.begin_list(items.len());
            items.iter().for_each(|item| write(item, writer));
            writer.end_list();
        }
        Json::Object(entries) => {
            writer.begin_map(entries.len());
            for (key, value) in entries {
                writer.key(key);
                write(value, writer);
            }
            writer.end_map();
        }
    }
}

/// The n-th snowflake, as text.
fn id(n: u64) -> String {
    (175_928_847_299_117_063 + n * 4_194_304_317).to_string()
}

fn member(n: u64) -> Json {
    json!({
        "avatar": null, "banner": null, "communication_disabled_until": null, "deaf": false, "flags": n % 3, "joined_at": "2023-04-11T09:33:12.529000+00:00",
        "mute": false, "nick": if n.is_multiple_of(4) { Json::from(format!("nick {n}")) } else { Json::Null }, "pending": false, "premium_since": null,
        "roles": [id(9000 + n % 20), id(9100 + n % 7)],
        "user": { "avatar": "b9c1b3a0a4bb71b9cbd1ab7e5d32e7a4", "avatar_decoration_data": null, "bot": n.is_multiple_of(50), "discriminator": "0",
            "display_name": format!("Display {n}"), "global_name": format!("Display {n}"), "id": id(n), "public_flags": 64, "username": format!("user_name_{n}") },
    })
}

fn message(n: u64) -> Json {
    json!({ "t": "MESSAGE_CREATE", "s": 10_482 + n, "op": 0, "d": {
        "type": 0, "tts": false, "timestamp": "2026-11-21T18:31:12.529000+00:00", "referenced_message": null, "pinned": false, "nonce": id(77 + n),
        "mentions": [], "mention_roles": [], "mention_everyone": false, "member": { "roles": [id(9001), id(9004), id(9013)], "premium_since": null, "pending": false,
            "nick": "the \"nick\" 🙂", "mute": false, "joined_at": "2021-02-11T09:33:12.529000+00:00", "flags": 0, "deaf": false, "communication_disabled_until": null,
            "banner": null, "avatar": null },
        "id": id(500 + n), "flags": 0, "embeds": [], "edited_timestamp": null,
        "content": "Has anyone tried the new build yet? It starts in half the time here, and the memory graph is flat after an hour of load.\nI'll post numbers later.",
        "components": [], "channel_type": 0, "channel_id": id(31), "author": { "username": format!("user_{n}"), "public_flags": 4_194_368, "primary_guild": null, "id": id(3),
            "global_name": "Some One", "display_name_styles": null, "discriminator": "0", "collectibles": null, "clan": null, "avatar_decoration_data": null,
            "avatar": "b9c1b3a0a4bb71b9cbd1ab7e5d32e7a4" }, "attachments": [], "guild_id": id(1) } })
}

fn presence(n: u64) -> Json {
    json!({ "t": "PRESENCE_UPDATE", "s": 99_001 + n, "op": 0, "d": { "user": { "id": id(n) }, "status": "online", "processed_at_timestamp": 1_763_749_872_529i64, "guild_id": id(1),
        "client_status": { "desktop": "online", "mobile": "idle" }, "broadcast": null,
        "activities": [{ "type": 0, "timestamps": { "start": 1_763_749_000_000i64 }, "state": "In the lobby", "party": { "size": [1, 4], "id": "f8a3c2" }, "name": "Some Game",
            "id": "ec0b28a579ecb4bd", "details": "Ranked, third round", "created_at": 1_763_749_001_000i64, "assets": { "large_text": "Map", "large_image": id(8) },
            "application_id": id(4) }] } })
}

fn guild(members: u64) -> Json {
    let channels: Vec<Json> = (0..40)
        .map(|n| json!({ "version": 1_700_000_000_000i64 + n as i64, "type": n % 3, "topic": null, "rate_limit_per_user": 0, "position": n, "permission_overwrites":
            [{ "type": 0, "id": id(1), "deny": "1024", "allow": "0" }], "parent_id": id(20), "name": format!("channel-{n}"), "last_message_id": id(600 + n), "id": id(31 + n), "flags": 0 }))
        .collect();
    let roles: Vec<Json> = (0..20)
        .map(|n| json!({ "version": 1, "unicode_emoji": null, "tags": {}, "position": n, "permissions": "2248473465835073", "name": format!("role {n}"), "mentionable": false,
            "managed": false, "id": id(9000 + n), "icon": null, "hoist": true, "flags": 0, "color": 3_447_003 }))
        .collect();
    json!({ "t": "GUILD_CREATE", "s": 2, "op": 0, "d": { "id": id(1), "name": "A guild", "owner_id": id(3), "member_count": members, "large": true, "channels": channels, "roles": roles,
        "members": (0..members).map(member).collect::<Vec<_>>(), "emojis": [], "presences": [], "voice_states": [], "threads": [], "unavailable": false } })
}

/// Best time of one call, in nanoseconds, over documents taken in turn.
fn time(documents: &[Vec<u8>], read: impl Fn(&[u8])) -> f64 {
    let bytes: usize = documents.iter().map(Vec::len).sum();
    let passes = (1_500_000 / bytes).max(1);
    let mut best = f64::MAX;
    for _ in 0..60 {
        let start = Instant::now();
        for _ in 0..passes {
            documents.iter().for_each(|document| read(black_box(document)));
        }
        best = best.min(start.elapsed().as_nanos() as f64 / (passes * documents.len()) as f64);
    }
    best
}

/// op, s, t, d and the guild's id inside d, in the walk that checks the document.
fn envelope(encoding: Encoding, document: &[u8]) {
    let (mut op, mut s, mut t, mut d, mut guild_id) = (None, None, None, None, None);
    let whole = Value::parse_entries(encoding, document, &Limits::GATEWAY, |outer, key, value| {
        if outer.is_some() {
            if key.is_key("guild_id") {
                guild_id = value.as_id();
            }
        } else if key.is_key("op") {
            op = value.as_u64();
        } else if key.is_key("s") {
            s = value.as_u64();
        } else if key.is_key("t") {
            t = value.as_str();
        } else if key.is_key("d") {
            d = Some(value);
        }
    });
    black_box((whole.is_ok(), op, s, t, d, guild_id));
}

/// The same by asking again after the check.
fn envelope_again(encoding: Encoding, document: &[u8]) {
    let whole = Value::parse(encoding, document, &Limits::GATEWAY).unwrap();
    let [op, s, t, d] = whole.get_all(["op", "s", "t", "d"]);
    let guild_id = d.and_then(|d| d.get("guild_id")).and_then(Value::as_id);
    black_box((op.and_then(Value::as_u64), s.and_then(Value::as_u64), t.and_then(Value::as_str), d, guild_id));
}

fn main() {
    let several = |make: fn(u64) -> Json| (0..64).map(|n| make(n * 7)).collect::<Vec<_>>();
    println!(
        "{:<18}{:<6}{:>8}{:>10}{:>10}{:>10}{:>12}{:>12}{:>8}",
        "payload", "", "bytes", "walk", "envelope", "again", "serde_json", "transcode", "ratio"
    );
    for (name, events) in
        [("MESSAGE_CREATE", several(message)), ("PRESENCE_UPDATE", several(presence)), ("GUILD_CREATE 300", vec![guild(300)])]
    {
        let texts: Vec<Vec<u8>> = events.iter().map(|event| event.to_string().into_bytes()).collect();
        let terms: Vec<Vec<u8>> = events
            .iter()
            .map(|event| {
                let mut writer = EtfWriter::new().with_atom_keys().with_ids(Ids::Integers);
                write(event, &mut writer);
                writer.into_vec()
            })
            .collect();
        let tree = time(&texts, |text| drop(black_box(serde_json::from_slice::<Json>(text))));
        for (encoding, label, documents) in [(Encoding::Etf, "ETF", &terms), (Encoding::Json, "JSON", &texts)] {
            let walk = time(documents, |document| assert!(black_box(Value::parse(encoding, document, &Limits::GATEWAY)).is_ok()));
            let found = time(documents, |document| envelope(encoding, document));
            let again = time(documents, |document| envelope_again(encoding, document));
            let out = std::cell::RefCell::new(Vec::new());
            let other = if encoding == Encoding::Etf { Encoding::Json } else { Encoding::Etf };
            let transcoded = time(documents, |document| {
                let mut out = out.borrow_mut();
                out.clear();
                let raw = if encoding == Encoding::Etf { &document[1..] } else { document };
                transcode(Value::from_raw(encoding, raw), other, &mut out).unwrap();
            });
            let bytes = documents.iter().map(Vec::len).sum::<usize>() / documents.len();
            println!(
                "{name:<18}{label:<6}{bytes:>8}{walk:>10.0}{found:>10.0}{again:>10.0}{tree:>12.0}{transcoded:>12.0}{:>7.1}x",
                tree / found
            );
        }
    }
    println!(
        "ns per event; ratio: serde_json::Value of the event's JSON / envelope. again: the same questions after the check, by further walks."
    );
}

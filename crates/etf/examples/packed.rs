//! The packed form as a table: `cargo run --release -p trunkline-etf --example packed`.
//!
//! Per object: its bytes as JSON, as Discord's ETF and packed; the plain walk over the ETF, which nothing can undercut; packing from both
//! encodings; writing it out as both; finding three fields in the packed form and in the ETF; merging an update of three fields. Times in
//! nanoseconds per object are the best of many rounds on one thread; ratios matter more than times.
#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

use serde_json::{Value as Json, json};
use std::cell::RefCell;
use std::hint::black_box;
use std::time::Instant;
use trunkline_etf::packed::edit;
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
        Json::String(text) if (17..21).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) => {
            writer.id(text.parse().unwrap())
        }
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

fn user(n: u64) -> Json {
    json!({ "avatar": if n.is_multiple_of(3) { Json::Null } else { Json::from(format!("{:032x}", u128::from(n) * 0x9e37_79b9_7f4a_7c15_f39c_c060)) },
        "avatar_decoration_data": null, "bot": n.is_multiple_of(50), "clan": null, "collectibles": null, "discriminator": "0", "display_name_styles": null,
        "global_name": format!("Display {n}"), "id": id(n), "primary_guild": null, "public_flags": 64, "username": format!("user_name_{n}") })
}

fn bare_member(n: u64) -> Json {
    json!({
        "avatar": null, "banner": null, "communication_disabled_until": null, "deaf": false, "flags": n % 3, "joined_at": "2023-04-11T09:33:12.529000+00:00",
        "mute": false, "nick": if n.is_multiple_of(4) { Json::from(format!("nick {n}")) } else { Json::Null }, "pending": false, "premium_since": null,
        "roles": [id(9000 + n % 20), id(9100 + n % 7)], "unusual_dm_activity_until": null,
    })
}

fn member(n: u64) -> Json {
    let mut member = bare_member(n);
    member["user"] = user(n);
    member
}

fn presence(n: u64) -> Json {
    json!({ "user": { "id": id(n) }, "status": "online", "processed_at_timestamp": 1_763_749_872_529i64, "guild_id": id(1),
        "client_status": { "desktop": "online", "mobile": "idle" }, "broadcast": null,
        "activities": [{ "type": 0, "timestamps": { "start": 1_763_749_000_000i64 }, "state": "In the lobby", "party": { "size": [1, 4], "id": "f8a3c2" }, "name": "Some Game",
            "id": "ec0b28a579ecb4bd", "details": "Ranked, third round", "created_at": 1_763_749_001_000i64, "assets": { "large_text": "Map", "large_image": id(8) },
            "application_id": id(4) }] })
}

fn message(n: u64) -> Json {
    json!({ "type": 0, "tts": false, "timestamp": "2026-11-21T18:31:12.529000+00:00", "referenced_message": null, "pinned": false, "nonce": id(77 + n),
        "mentions": [], "mention_roles": [], "mention_everyone": false, "member": bare_member(n), "id": id(500 + n), "flags": 0, "embeds": [], "edited_timestamp": null,
        "content": "a line of text that somebody wrote, of the usual length", "components": [], "channel_type": 0, "channel_id": id(31), "author": user(n),
        "attachments": [], "guild_id": id(1) })
}

fn channel(n: u64) -> Json {
    json!({ "version": 1_700_000_000_000i64 + n as i64, "type": n % 3, "topic": null, "rate_limit_per_user": 0, "position": n, "permission_overwrites":
        [{ "type": 0, "id": id(1), "deny": "1024", "allow": "0" }], "parent_id": id(20), "name": format!("channel-{n}"), "last_message_id": id(600 + n), "id": id(31 + n),
        "flags": 0, "icon_emoji": null, "theme_color": null, "nsfw": false })
}

fn role(n: u64) -> Json {
    json!({ "version": 1, "unicode_emoji": null, "tags": {}, "position": n, "permissions": "2248473465835073", "name": format!("role {n}"), "mentionable": false,
        "managed": false, "id": id(9000 + n), "icon": null, "hoist": true, "flags": 0, "color": 3_447_003,
        "colors": { "primary_color": 3_447_003, "secondary_color": null, "tertiary_color": null } })
}

fn voice_state(n: u64) -> Json {
    json!({ "user_id": id(n), "suppress": false, "session_id": format!("{:032x}", u128::from(n) * 0x1234_5678_9abc_def0_1234_5678), "self_video": false, "self_mute": true,
        "self_deaf": false, "request_to_speak_timestamp": null, "mute": false, "guild_id": id(1), "deaf": false, "channel_id": id(33) })
}

fn guild(members: u64) -> Json {
    json!({ "id": id(1), "name": "A guild", "owner_id": id(3), "member_count": members, "large": true, "channels": (0..40).map(channel).collect::<Vec<_>>(),
        "roles": (0..20).map(role).collect::<Vec<_>>(), "members": (0..members).map(member).collect::<Vec<_>>(), "emojis": [], "presences": [], "voice_states": [],
        "threads": [], "unavailable": false })
}

/// Best time of one call, in nanoseconds, over documents taken in turn.
fn time(documents: &[Vec<u8>], read: impl Fn(&[u8])) -> f64 {
    let bytes: usize = documents.iter().map(Vec::len).sum();
    let passes = (600_000 / bytes).max(1);
    let mut best = f64::MAX;
    for _ in 0..80 {
        let start = Instant::now();
        for _ in 0..passes {
            documents.iter().for_each(|document| read(black_box(document)));
        }
        best = best.min(start.elapsed().as_nanos() as f64 / (passes * documents.len()) as f64);
    }
    best
}

/// Time of turning documents of one encoding into another.
fn turning(documents: &[Vec<u8>], from: Encoding, to: Encoding) -> f64 {
    let out = RefCell::new(Vec::new());
    time(documents, |document| {
        let mut out = out.borrow_mut();
        out.clear();
        transcode(Value::from_raw(from, document), to, &mut out).unwrap();
        black_box(&*out);
    })
}

fn main() {
    let several = |make: fn(u64) -> Json| (0..64).map(|n| make(n * 7)).collect::<Vec<_>>();
    let kinds = [
        ("member", several(bare_member)),
        ("user", several(user)),
        ("presence", several(presence)),
        ("message", several(message)),
        ("channel", several(channel)),
        ("role", several(role)),
        ("voice state", several(voice_state)),
        ("guild of 300", vec![guild(300)]),
    ];
    println!(
        "{:<14}{:>8}{:>8}{:>8}{:>10}{:>10}{:>8}{:>10}{:>10}{:>10}{:>8}{:>8}{:>8}",
        "object", "JSON", "ETF", "packed", "walk", "from ETF", "x walk", "from JSON", "to ETF", "to JSON", "get ETF", "get", "merge"
    );
    for (name, objects) in kinds {
        let texts: Vec<Vec<u8>> = objects.iter().map(|object| object.to_string().into_bytes()).collect();
        let terms: Vec<Vec<u8>> = objects
            .iter()
            .map(|object| {
                let mut writer = EtfWriter::term().with_atom_keys().with_ids(Ids::Integers);
                write(object, &mut writer);
                writer.into_vec()
            })
            .collect();
        let documents: Vec<Vec<u8>> = terms.iter().map(|term| [&[131], &term[..]].concat()).collect();
        let packed: Vec<Vec<u8>> = terms
            .iter()
            .map(|term| {
                let mut out = Vec::new();
                transcode(Value::from_raw(Encoding::Etf, term), Encoding::Packed, &mut out).unwrap();
                out
            })
            .collect();
        let bytes = |documents: &[Vec<u8>]| documents.iter().map(Vec::len).sum::<usize>() / documents.len();
        let walk = time(&documents, |document| assert!(black_box(Value::parse(Encoding::Etf, document, &Limits::GATEWAY)).is_ok()));
        let pack = turning(&terms, Encoding::Etf, Encoding::Packed);
        let keys = ["id", "guild_id", "name"];
        let get_etf = time(&terms, |term| assert!(black_box(Value::from_raw(Encoding::Etf, term).get_all(keys)).len() == 3));
        let get = time(&packed, |packed| assert!(black_box(Value::from_raw(Encoding::Packed, packed).get_all(keys)).len() == 3));
        let mut update = Vec::new();
        transcode(Value::from_raw(Encoding::Json, br#"{"id":"1","name":"new","new":2}"#), Encoding::Packed, &mut update).unwrap();
        let out = RefCell::new(Vec::new());
        let merge = time(&packed, |packed| {
            let mut out = out.borrow_mut();
            out.clear();
            edit::merged(Value::from_raw(Encoding::Packed, packed), Value::from_raw(Encoding::Packed, &update), &["guild_id"], &mut out)
                .unwrap();
        });
        println!(
            "{name:<14}{:>8}{:>8}{:>8}{walk:>10.0}{pack:>10.0}{:>8.1}{:>10.0}{:>10.0}{:>10.0}{get_etf:>8.0}{get:>8.0}{merge:>8.0}",
            bytes(&texts),
            bytes(&terms),
            bytes(&packed),
            pack / walk,
            turning(&texts, Encoding::Json, Encoding::Packed),
            turning(&packed, Encoding::Packed, Encoding::Etf),
            turning(&packed, Encoding::Packed, Encoding::Json),
        );
    }
    println!(
        "bytes; ns per object. walk: Value::parse of the ETF. get: 3 keys at once, which some objects lack. merge: with an update of 3 fields."
    );
}

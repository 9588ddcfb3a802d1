//! What must hold of an update that is compared in place with a packed object; shared by the tests and the fuzz target.
//!
//! Whatever `packed::update` says of a base and an update, packing the update and editing must say too. Where it says nothing (`None`),
//! nothing is asked of it but that it wrote nothing.
#![allow(dead_code)]

use trunkline_etf::packed::edit;
use trunkline_etf::packed::update::{Outcome, Without, merge, replace};
use trunkline_etf::{Encoding, Kind, Limits, Value, transcode};

/// Keys that are left out of an update, by a number of the test's.
const DROPS: [&[&str]; 4] = [&[], &["user"], &["id", "an odd key"], &["roles", "nick", "id"]];
const REFUSED: [&str; 2] = ["user", "an odd key"];
/// The two ways to take an update.
const WAYS: [Way; 2] = [merge, replace];

type Way = fn(Value<'_>, Value<'_>, Without<'_>, &mut Vec<u8>) -> Option<Outcome>;

/// What the fuzz target does with its bytes: the first says how the others are meant, the second where base and update part.
pub(crate) fn survive(data: &[u8]) {
    let [how, share, rest @ ..] = data else { return };
    let (base, update) = rest.split_at(rest.len() * usize::from(*share) / 256);
    let drop = DROPS[usize::from(*how) % DROPS.len()];
    let refused = REFUSED[usize::from(*how >> 2) % REFUSED.len()];
    if *how & 0x80 == 0 {
        // An object as the cache has it: packed from what came.
        if whole(base) {
            agree(&packed(base), update, drop, refused);
        }
    } else {
        agree(base, update, drop, refused);
    }
}

/// The promise, for bytes of any origin: `base` packed, `update` ETF without version byte.
pub(crate) fn agree(base: &[u8], update: &[u8], drop: &[&str], refused: &str) {
    let (known, told) = (Value::from_raw(Encoding::Packed, base), Value::from_raw(Encoding::Etf, update));
    let sound = Value::parse(Encoding::Packed, base, &Limits::GATEWAY).is_ok() && whole(update) && !has_twice(known);
    for (number, way) in WAYS.into_iter().enumerate() {
        // What lies under a key that is left out is known to callers, or it is something else.
        let part = drop.iter().find_map(|key| told.get(key)).unwrap_or(told);
        for without in [Without::Keys(drop), Without::Told(drop, part), Without::Told(drop, known), Without::Refused(refused)] {
            let mut out = b"kept".to_vec();
            let outcome = way(known, told, without, &mut out);
            assert_eq!(&out[..4], b"kept");
            if outcome != Some(Outcome::Other) {
                assert_eq!(out.len(), 4, "{outcome:?}, and something was written");
            }
            let Some(outcome) = outcome.filter(|_| sound) else { continue };
            let keys = match without {
                Without::Keys(keys) | Without::Told(keys, _) => keys,
                Without::Refused(key) => {
                    assert!(known.get(key).is_none() && told.get(key).is_none(), "{key} was to be refused");
                    &[]
                }
            };
            let plain = packed(update);
            let plain = Value::from_raw(Encoding::Packed, &plain);
            let mut wanted = Vec::new();
            if number == 0 { edit::merged(known, plain, keys, &mut wanted) } else { edit::without_keys(plain, keys, &mut wanted) }
                .unwrap_or_else(|error| panic!("it was taken, and cannot be packed: {error}"));
            let got = if outcome == Outcome::Same { base } else { &out[4..] };
            assert!(Value::parse(Encoding::Packed, got, &Limits { depth_max: 256, ..Limits::GATEWAY }).is_ok());
            let same = alike(Value::from_raw(Encoding::Packed, got), Value::from_raw(Encoding::Packed, &wanted));
            assert!(same, "{outcome:?}: way {number}, without {without:?}: {got:02x?} and not {wanted:02x?}");
        }
    }
}

/// Whether it is one whole ETF term, without version byte.
fn whole(etf: &[u8]) -> bool {
    Value::parse(Encoding::Etf, &[&[131], etf].concat(), &Limits::GATEWAY).is_ok()
}

fn packed(etf: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    transcode(Value::from_raw(Encoding::Etf, etf), Encoding::Packed, &mut out).unwrap_or_else(|error| panic!("{error}"));
    out
}

/// Whether a key lies in it twice: then the first is the one that is read and changed, and editing sees both.
fn has_twice(map: Value<'_>) -> bool {
    let mut keys: Vec<Vec<u8>> = map.entries().map(|(key, _)| name(key)).collect();
    let many = keys.len();
    keys.sort_unstable();
    keys.dedup();
    keys.len() < many
}

/// A key's text, whatever kind of text it is, or the bytes of a key that is none.
fn name(key: Value<'_>) -> Vec<u8> {
    key.as_str().map_or_else(|| etf(key), |text| text.into_owned().into_bytes())
}

fn etf(value: Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    transcode(value, Encoding::Etf, &mut out).unwrap_or_else(|error| panic!("{error}"));
    out
}

/// Whether two values say the same, in the same order. A key is the same as an atom and as a text.
fn alike(a: Value<'_>, b: Value<'_>) -> bool {
    match (a.kind(), b.kind()) {
        (Kind::Map, Kind::Map) => {
            let same = |((key, value), (other_key, other)): ((Value<'_>, Value<'_>), (Value<'_>, Value<'_>))| {
                name(key) == name(other_key) && alike(value, other)
            };
            a.len() == b.len() && a.entries().zip(b.entries()).all(same)
        }
        (Kind::List, Kind::List) => a.len() == b.len() && a.items().zip(b.items()).all(|(item, other)| alike(item, other)),
        (kind, other) => kind == other && etf(a) == etf(b),
    }
}

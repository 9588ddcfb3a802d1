//! Events written as JSON values, given to a cache in either encoding, and answers read back as JSON values.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use bytes::Bytes;
use serde_json::Value as Json;
use trunkline_cache::{Cache, CacheConfig, Change, Found, Users};
use trunkline_discord::{EventKind, Object};
use trunkline_etf::{Encoding, EtfWriter, Ids, TermWrite, Value, transcode};

pub const BOTH: [Encoding; 2] = [Encoding::Etf, Encoding::Json];

/// Ids that Discord could have given: above 2^53, so that they are strings in JSON whichever way they came.
pub const BASE: u64 = 1 << 60;

/// An id as JSON has it.
pub fn id(number: u64) -> String {
    (BASE + number).to_string()
}

/// The raw term, as Discord writes it: in ETF keys are atoms, and ids integers.
pub fn raw(encoding: Encoding, json: &Json) -> Vec<u8> {
    match encoding {
        Encoding::Json => serde_json::to_vec(json).unwrap(),
        _ => {
            let mut out = EtfWriter::term().with_atom_keys().with_ids(Ids::Integers);
            write(&mut out, json);
            out.into_vec()
        }
    }
}

fn write(out: &mut EtfWriter, json: &Json) {
    match json {
        Json::Null => out.null(),
        Json::Bool(value) => out.bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(number) => out.int(number),
            None => out.float(number.as_f64().unwrap()),
        },
        Json::String(text) => match text.parse::<u64>() {
            Ok(number) if number >= BASE => out.id(number),
            _ => out.str(text),
        },
        Json::Array(items) => {
            out.begin_list(items.len());
            items.iter().for_each(|item| write(out, item));
            out.end_list();
        }
        Json::Object(entries) => {
            out.begin_map(entries.len());
            for (key, value) in entries {
                out.key(key);
                write(out, value);
            }
            out.end_map();
        }
    }
}

pub fn apply(cache: &mut Cache, encoding: Encoding, kind: EventKind, json: &Json) -> Change {
    let body = Bytes::from(raw(encoding, json));
    let d = Value::from_raw(encoding, &body);
    // Hints, which change nothing, whatever they name.
    cache.expect_objects(kind, trunkline_discord::routing(kind, d));
    cache.apply(kind, d, &body)
}

pub fn json(object: &Object) -> Json {
    let mut out = Vec::new();
    transcode(object.value(), Encoding::Json, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

pub fn found(found: Option<Found>) -> Option<Json> {
    found.map(|found| json(&found.object))
}

pub fn previous(change: Change) -> Option<Json> {
    assert!(!change.malformed);
    change.previous.as_ref().map(|object| json(object))
}

/// A cache with the same durable copy, made from all that `cache` has ever changed.
#[derive(Default)]
pub struct Disk(std::collections::BTreeMap<Vec<u8>, Vec<u8>>);

impl Disk {
    pub fn save(&mut self, cache: &mut Cache) {
        self.keep(cache.take_changes());
    }

    /// At a clean stop: messages and presences too.
    pub fn stop(&mut self, cache: &mut Cache) {
        self.keep(cache.take_stop_changes());
    }

    fn keep(&mut self, rows: Vec<(Vec<u8>, Option<Bytes>)>) {
        for (key, value) in rows {
            match value {
                Some(value) => drop(self.0.insert(key, value.to_vec())),
                None => drop(self.0.remove(&key)),
            }
        }
    }

    pub fn load(&self, backwards: bool) -> Cache {
        self.load_with(CacheConfig::default(), backwards)
    }

    pub fn load_with(&self, config: CacheConfig, backwards: bool) -> Cache {
        let mut cache = Cache::new(config, Users::default());
        let mut rows: Vec<_> = self.0.iter().collect();
        if backwards {
            rows.reverse();
        }
        for (key, value) in rows {
            cache.load(key, value).unwrap();
        }
        assert_eq!(cache.changes_pending(), 0, "what was loaded needs no saving");
        cache
    }

    pub fn rows(&self) -> usize {
        self.0.len()
    }

    pub fn bytes(&self) -> u64 {
        self.0.values().map(|value| value.len() as u64).sum()
    }
}

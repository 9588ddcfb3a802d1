//! Rows of the cache's durable copy: key length, key, value length, value, and so on; then every kind of event on top of them.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use trunkline_cache::{Cache, CacheConfig, Kind, Users};
use trunkline_discord::EventKind;
use trunkline_etf::{Encoding, Limits, Value};

fuzz_target!(|data: &[u8]| {
    let mut cache = Cache::new(CacheConfig::default(), Users::default());
    let mut rest = data;
    while let Some((&len, more)) = rest.split_first() {
        let (key, more) = more.split_at(usize::from(len).min(more.len()));
        let Some((&len, more)) = more.split_first() else { break };
        let (value, more) = more.split_at(usize::from(len).min(more.len()));
        let _ = cache.load(key, value);
        // Most values are rows: a version byte and a packed object. Events come as ETF; the effects read both.
        let packed = || Value::parse(Encoding::Packed, value.get(1..).unwrap_or_default(), &Limits::GATEWAY);
        if let Ok(d) = Value::parse(Encoding::Etf, value, &Limits::GATEWAY).or_else(|_| packed()) {
            let body = Bytes::copy_from_slice(d.raw());
            for kind in EventKind::ALL {
                let _ = cache.apply(*kind, d, &body);
            }
        }
        rest = more;
    }
    assert!(Kind::ALL.iter().map(|kind| cache.size(*kind).bytes).sum::<u64>() <= cache.bytes());
    cache.ready(&[1, 2]);
    // What is written is read back.
    let mut again = Cache::new(CacheConfig::default(), Users::default());
    for (key, value) in cache.take_stop_changes() {
        if let Some(value) = value {
            again.load(&key, &value).expect("a row that the cache itself wrote");
        }
    }
});

//! Rows of the cache's durable copy: key length, key, value length, value, and so on; then every kind of event on top of them.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use trunkline_cache::{Cache, CacheConfig, Kind};
use trunkline_discord::EventKind;
use trunkline_etf::{Encoding, Limits, Value};

fuzz_target!(|data: &[u8]| {
    let mut cache = Cache::new(CacheConfig::default());
    let mut rest = data;
    while let Some((&len, more)) = rest.split_first() {
        let (key, more) = more.split_at(usize::from(len).min(more.len()));
        let Some((&len, more)) = more.split_first() else { break };
        let (value, more) = more.split_at(usize::from(len).min(more.len()));
        let _ = cache.load(key, Bytes::copy_from_slice(value));
        if let Ok(d) = Value::parse(Encoding::Etf, value, &Limits::GATEWAY) {
            for kind in EventKind::ALL {
                let _ = cache.apply(*kind, d);
            }
        }
        rest = more;
    }
    assert_eq!(Kind::ALL.iter().map(|kind| cache.size(*kind).bytes).sum::<u64>(), cache.bytes());
    cache.ready(&[1, 2]);
    // What is written is read back.
    let mut again = Cache::new(CacheConfig::default());
    for (key, value) in cache.take_changes() {
        if let Some(value) = value {
            again.load(&key, value).expect("a row that the cache itself wrote");
        }
    }
});

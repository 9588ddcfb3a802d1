//! What a large commit to PostgreSQL takes in memory beside itself. A file of its own: the figure is the process's.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

mod common;

use bytes::Bytes;
use common::postgres::{shared, value};
use trunkline_store::{Commit, Options, Place, RowCodec, ShardCommit, ShardKey, Store, Table};

const SHARD: ShardKey = ShardKey { bot: 42, index: 0, count: 1 };

/// Values are the text of a field; their JSON is longer than they are.
const CODEC: RowCodec = RowCodec {
    json: |place, value| Some(format!(r#"{{"id": "{}", "text": "{}"}}"#, place.id, str::from_utf8(value).ok()?)),
    ..common::CODEC
};

fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_large_commit_takes_little_memory_beside_itself_however_it_is_written() {
    let url = shared().database();
    let store = Store::connect(&url, Options { rows: Some(CODEC), ..Options::default() }).unwrap();
    let rows = |text: u64| -> Vec<(Vec<u8>, Option<Bytes>)> {
        let row = |n: u64| {
            let key = (CODEC.key)(Place { table: Table::Channels, guild_id: 1 + n % 50, id: n }).unwrap();
            (key, Some(Bytes::from(format!("{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ text).repeat(90))))
        };
        (0..80_000).map(row).collect()
    };
    for (clear_cache, text, manner) in [(true, 1, "copied"), (false, 2, "put")] {
        let cache = rows(text);
        let commit = Commit { shards: vec![ShardCommit { cache, clear_cache, ..ShardCommit::new(SHARD, 1, Bytes::new()) }] };
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = status("VmRSS");
        let began = std::time::Instant::now();
        store.commit(commit).unwrap();
        let more = status("VmHWM").saturating_sub(before) >> 20;
        println!("115 MB of rows {manner}: {more} MiB beside them, {:.1} s", began.elapsed().as_secs_f64());
        assert!(more < 48, "{more} MiB");
    }
    assert_eq!(value(&url, "SELECT count(*) FROM trunkline.channels WHERE data IS NOT NULL"), "80000");
}

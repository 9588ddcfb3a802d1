//! How fast a shard's cache comes back from either store: 600 000 rows of about 200 bytes, with the progress that a start shows.
//!
//! `cargo run --release -p trunkline-store --example start -- [ROWS] [postgres://…]`; without an address only the embedded store is
//! measured. The database is emptied of this shard afterwards.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::error::Error;
use std::time::Instant;

use bytes::Bytes;
use trunkline_store::{Commit, Options, Place, RowCodec, ShardCommit, ShardKey, Store, Table};

const SHARD: ShardKey = ShardKey { bot: 1, index: 0, count: 1 };
const ROWS_A_COMMIT: u64 = 20_000;

/// Rows as JSON already: what is measured is the store, not the cache's own form.
const CODEC: RowCodec = RowCodec {
    place: |key| {
        let (guild, id) = key.get(1..)?.split_first_chunk::<8>()?;
        Some(Place { table: Table::Members, guild_id: u64::from_be_bytes(*guild), id: u64::from_be_bytes(id.try_into().ok()?) })
    },
    key: |place| Some(key(place.guild_id, place.id)),
    json: |_, value| String::from_utf8(value.to_vec()).ok(),
    value: |_, json| Some(json.as_bytes().to_vec()),
};

fn key(guild: u64, id: u64) -> Vec<u8> {
    [&[Table::Members as u8][..], &guild.to_be_bytes(), &id.to_be_bytes()].concat()
}

fn member(id: u64) -> Bytes {
    Bytes::from(format!(
        "{{\"roles\":[\"{}\",\"{}\"],\"nick\":null,\"avatar\":null,\"flags\":0,\"pending\":false,\"deaf\":false,\"mute\":false,\"premium_since\":null,\"joined_at\":\"2024-05-{:02}T12:00:00.000000+00:00\"}}",
        7_000_000_000 + id % 40,
        7_000_000_100 + id % 7,
        1 + id % 28
    ))
}

fn fill(store: &Store, rows: u64) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    for first in (0..rows).step_by(usize::try_from(ROWS_A_COMMIT)?) {
        let cache = (first..rows.min(first + ROWS_A_COMMIT)).map(|row| (key(row / 300, 1_000_000 + row), Some(member(row)))).collect();
        store.commit(Commit { shards: vec![ShardCommit { cache, ..ShardCommit::new(SHARD, 1, Bytes::new()) }] })?;
    }
    println!("  written in {:.2} s", began.elapsed().as_secs_f64());
    Ok(())
}

fn load(store: &Store) -> Result<(), Box<dyn Error>> {
    let total = store.rows_estimate()?;
    let began = Instant::now();
    let (mut rows, mut bytes, mut told) = (0_u64, 0, Instant::now());
    store.load_cache(SHARD, &mut |key, value| {
        rows += 1;
        bytes += key.len() + value.len();
        if told.elapsed().as_millis() >= 500 {
            told = Instant::now();
            println!("  {rows} of about {total} rows");
        }
    })?;
    let took = began.elapsed().as_secs_f64();
    println!("  {rows} rows, {} MB, loaded in {took:.2} s", bytes / 1_000_000);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rows = arguments.next().map_or(Ok(600_000), |text| text.parse())?;
    let options = Options { rows: Some(CODEC), ..Options::default() };
    let dir = tempfile::tempdir()?;
    println!("embedded");
    fill(&Store::open(dir.path(), options)?, rows)?;
    let began = Instant::now();
    let store = Store::open(dir.path(), options)?;
    println!("  opened in {:.2} s", began.elapsed().as_secs_f64());
    load(&store)?;
    if let Some(url) = arguments.next() {
        println!("PostgreSQL");
        fill(&Store::connect(&url, options)?, rows)?;
        let began = Instant::now();
        let store = Store::connect(&url, options)?;
        println!("  opened in {:.2} s", began.elapsed().as_secs_f64());
        load(&store)?;
        store.forget_shard(SHARD)?;
    }
    Ok(())
}

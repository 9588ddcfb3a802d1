//! How fast caches go into either store and come back: so many memberships, users by the way (1.3 guilds a user), in eight shards, with
//! the progress that a start shows.
//!
//! `cargo run --release -p trunkline-store --example start -- [MEMBERSHIPS] [postgres://…]`; without an address only the embedded store is
//! measured. The database is emptied of these shards afterwards.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::error::Error;
use std::time::Instant;

use bytes::Bytes;
use trunkline_store::{Commit, Options, Place, RowCodec, ShardCommit, ShardKey, Store, Table};

const SHARDS: u32 = 8;
const MEMBERS_A_GUILD: u64 = 300;
/// Guilds of a shard in one commit: about what a shard that comes up has new at a checkpoint.
const GUILDS_A_COMMIT: usize = 60;

/// Rows as JSON already: what is measured is the store, not the cache's own form.
const CODEC: RowCodec = RowCodec {
    place: |key| {
        let (table, rest) = key.split_first()?;
        let (guild, id) = rest.split_first_chunk::<8>()?;
        let id = u64::from_be_bytes(id.try_into().ok()?);
        Some(Place { table: Table::from_number(*table)?, guild_id: u64::from_be_bytes(*guild), id })
    },
    key: |place| Some(key(place.table, place.guild_id, place.id)),
    json: |_, value| String::from_utf8(value.to_vec()).ok(),
    with: |_, _, _| None,
    items: |_, _| None,
    value: |_, json| Some(json.as_bytes().to_vec()),
    form: b'{',
};

fn key(table: Table, guild: u64, id: u64) -> Vec<u8> {
    [&[table as u8][..], &guild.to_be_bytes(), &id.to_be_bytes()].concat()
}

fn shard(index: u32) -> ShardKey {
    ShardKey { bot: 1, index, count: SHARDS }
}

/// The user of the n-th membership: every fourth or so is one that is in an earlier guild.
fn user_of(membership: u64) -> u64 {
    let user = if membership % 13 < 3 { membership / 2 } else { membership };
    (1 << 58) + user.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (1 << 57)
}

fn member(id: u64) -> Bytes {
    Bytes::from(format!(
        "{{\"roles\":[\"{}\",\"{}\"],\"nick\":null,\"avatar\":null,\"flags\":0,\"pending\":false,\"deaf\":false,\"mute\":false,\"premium_since\":null,\"joined_at\":\"2024-05-{:02}T12:00:00.000000+00:00\"}}",
        7_000_000_000 + id % 40,
        7_000_000_100 + id % 7,
        1 + id % 28
    ))
}

fn user(id: u64) -> Bytes {
    Bytes::from(format!(
        "{{\"id\":\"{id}\",\"username\":\"user{}\",\"global_name\":null,\"discriminator\":\"0\",\"avatar\":\"{id:032x}\",\"public_flags\":0,\"bot\":false,\"avatar_decoration_data\":null}}",
        id % 1_000_003
    ))
}

/// Seconds of CPU that this process has taken: other work on the machine does not move it much.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn fill(store: &Store, memberships: u64) -> Result<(), Box<dyn Error>> {
    let (began, cpu) = (Instant::now(), cpu_s());
    let mut made = std::time::Duration::ZERO;
    let mut rows = 0;
    let guilds: Vec<u64> = (0..memberships.div_ceil(MEMBERS_A_GUILD)).collect();
    for index in 0..SHARDS {
        let ours: Vec<u64> = guilds.iter().copied().filter(|guild| *guild % u64::from(SHARDS) == u64::from(index)).collect();
        let mut told = std::collections::HashSet::new();
        for some in ours.chunks(GUILDS_A_COMMIT) {
            let making = Instant::now();
            let mut cache = Vec::new();
            for membership in some.iter().flat_map(|guild| guild * MEMBERS_A_GUILD..((guild + 1) * MEMBERS_A_GUILD).min(memberships)) {
                let (guild, id) = ((membership / MEMBERS_A_GUILD) << 22, user_of(membership));
                cache.push((key(Table::Members, guild, id), Some(member(id))));
                if told.insert(id) {
                    cache.push((key(Table::Users, 0, id), Some(user(id))));
                }
            }
            rows += cache.len();
            made += making.elapsed();
            store.commit(Commit { shards: vec![ShardCommit { cache, ..ShardCommit::new(shard(index), 1, Bytes::new()) }] })?;
        }
    }
    let took = (began.elapsed() - made).as_secs_f64();
    let (a_second, cpu) = (rows as f64 / took, cpu_s() - cpu);
    println!("  {rows} rows written in {took:.2} s, {a_second:.0} a second; {cpu:.2} s of CPU here");
    Ok(())
}

fn load(store: &Store) -> Result<(), Box<dyn Error>> {
    let total = store.rows_estimate()?;
    let began = Instant::now();
    let cpu = cpu_s();
    let (mut rows, mut bytes, mut told) = (0_u64, 0, Instant::now());
    for index in 0..SHARDS {
        store.load_cache(shard(index), &mut |key, value| {
            rows += 1;
            bytes += key.len() + value.len();
            if rows.is_multiple_of(1_024) && told.elapsed().as_millis() >= 1_000 {
                told = Instant::now();
                println!("  {rows} of about {total} rows");
            }
        })?;
    }
    let took = began.elapsed().as_secs_f64();
    let (mb, a_second, cpu) = (bytes / 1_000_000, rows as f64 / took, cpu_s() - cpu);
    println!("  {rows} rows, {mb} MB, loaded in {took:.2} s, {a_second:.0} a second; {cpu:.2} s of CPU here");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let memberships = arguments.next().map_or(Ok(600_000), |text| text.parse())?;
    let url = arguments.next();
    let options = Options { rows: Some(CODEC), ..Options::default() };
    println!("embedded");
    let dir = tempfile::tempdir()?;
    fill(&Store::open(dir.path(), options)?, memberships)?;
    let began = Instant::now();
    let store = Store::open(dir.path(), options)?;
    println!("  opened in {:.2} s", began.elapsed().as_secs_f64());
    load(&store)?;
    drop(store);
    drop(dir);
    if let Some(url) = url {
        println!("PostgreSQL");
        fill(&Store::connect(&url, options)?, memberships)?;
        let began = Instant::now();
        let store = Store::connect(&url, options)?;
        println!("  opened in {:.2} s", began.elapsed().as_secs_f64());
        load(&store)?;
        for index in 0..SHARDS {
            store.forget_shard(shard(index))?;
        }
    }
    Ok(())
}

//! How soon a node that starts again can answer: from the first byte of the durable copy to the first lookups answered from it.
//!
//! The same world as beside the peers lies in an embedded store, as two shards; a process of its own opens the store and takes the rows
//! back as a node does: read and checked by one thread, taken by the core meanwhile.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use trunkline_cache::{Cache, CacheConfig, Rows, Users};
use trunkline_discord::EventKind;
use trunkline_etf::{Encoding, Value};
use trunkline_store::{Commit, Options, ShardCommit, ShardKey, Store};
use trunkline_testbed::world::World;

use crate::peers::{body, next, resident_bytes};
use crate::table::{Binding, Table};
use crate::{Form, Result};

/// To the first lookup answered, of [`TARGET_GUILDS`] guilds, in seconds.
const SECONDS: f64 = 3.0;
const TARGET_GUILDS: f64 = 2_000.0;
/// What a start may take however little there is.
const LEAST_SECONDS: f64 = 0.25;
const SHARDS: u32 = 2;
const BOT: u64 = 1;
/// Guilds of a commit.
const GUILDS_A_COMMIT: u32 = 50;

/// Adds the rows of starting.
pub(crate) fn measure(form: Form, world: &World, etf_file: &Path, table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    write(world, etf_file, folder.path())?;
    let mut best: Option<Json> = None;
    for _ in 0..form.rounds.min(3) {
        let output = Command::new(std::env::current_exe()?).arg("start").arg(folder.path()).arg(world.guilds.to_string()).output()?;
        if !output.status.success() {
            return Err(format!("the process that starts from the copy failed: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let line: Json = serde_json::from_slice(&output.stdout)?;
        if best.as_ref().is_none_or(|best| line["all_s"].as_f64() < best["all_s"].as_f64()) {
            best = Some(line);
        }
    }
    let best = best.unwrap_or_default();
    let seconds = |key: &str| best[key].as_f64().unwrap_or(f64::INFINITY);
    let what = format!("start from a durable copy of {} guilds, {} memberships ({} rows)", world.guilds, world.memberships(), best["rows"]);
    table.row(&what, &[]);
    table.row("  first lookup answered (one shard of two is back)", &[format!("{:.2} s", seconds("first_s"))]);
    let most = (SECONDS * f64::from(world.guilds) / TARGET_GUILDS).max(LEAST_SECONDS);
    table.target(
        "  lookups of both shards answered",
        &[format!("{:.2} s", seconds("all_s"))],
        &format!("< {most} s"),
        seconds("all_s") < most,
        Binding::FullForm,
    );
    Ok(())
}

fn key(index: u32) -> ShardKey {
    ShardKey { bot: BOT, index, count: SHARDS }
}

fn write(world: &World, etf_file: &Path, folder: &Path) -> Result<()> {
    let store = Store::open(folder, Options::default())?;
    let users = Users::default();
    let mut caches: Vec<Cache> = (0..SHARDS).map(|_| Cache::new(CacheConfig::default(), users.clone())).collect();
    let (mut file, mut frame) = (BufReader::with_capacity(1 << 20, File::open(etf_file)?), Vec::new());
    let mut guild = 0;
    while next(&mut file, &mut frame)? {
        let (_, body) = body(&frame)?;
        caches[(guild % SHARDS) as usize].apply(EventKind::GuildCreate, Value::from_raw(Encoding::Etf, &body), &body);
        guild += 1;
        if guild % GUILDS_A_COMMIT == 0 || guild == world.guilds {
            let shards = caches
                .iter_mut()
                .zip(0..)
                .map(|(cache, index)| ShardCommit { cache: cache.take_changes(), ..ShardCommit::new(key(index), 1, Bytes::new()) });
            store.commit(Commit { shards: shards.collect() })?;
        }
    }
    store.sync()?;
    Ok(())
}

/// In a process of its own: starts from the copy, and prints what that took.
pub(crate) fn start(folder: &str, guilds: &str) -> Result<()> {
    let world = World::of_guilds(guilds.parse()?);
    let before = resident_bytes()?;
    let began = Instant::now();
    let store = Store::open(Path::new(folder), Options::default())?;
    let (read, loaded) = mpsc::sync_channel(1);
    let reader = std::thread::spawn(move || -> std::result::Result<u64, String> {
        let mut count = 0;
        for index in 0..SHARDS {
            let (mut rows, mut bad) = (Rows::default(), 0_u64);
            store
                .load_cache(key(index), &mut |key, value| bad += u64::from(rows.push(key, value).is_err()))
                .map_err(|error| error.to_string())?;
            if bad > 0 {
                return Err(format!("{bad} rows are not a cache's"));
            }
            count += rows.len() as u64;
            // Nobody takes them only when the process fails.
            read.send((index, rows)).ok();
        }
        Ok(count)
    });
    let users = Users::default();
    let (mut caches, mut first_s) = (Vec::new(), None);
    for (index, rows) in loaded {
        let mut cache = Cache::new(CacheConfig::default(), users.clone());
        if cache.load_rows(&rows) > 0 {
            return Err("rows are no objects of their kind".into());
        }
        let member = cache.member(world.guild_id(index), world.user_id(index, 7)).ok_or("a member is missing")?;
        let read: Option<u64> = member.object.value().get("user").and_then(|user| user.get("id")?.as_id());
        if read != Some(world.user_id(index, 7)) {
            return Err("another member".into());
        }
        first_s.get_or_insert(began.elapsed().as_secs_f64());
        caches.push(cache);
    }
    let all_s = began.elapsed().as_secs_f64();
    let count = reader.join().map_err(|_| "the reading thread failed")??;
    println!(
        "{}",
        json!({ "first_s": first_s, "all_s": all_s, "rows": count, "resident_bytes": resident_bytes()?.saturating_sub(before) })
    );
    Ok(())
}

//! How soon a node that starts again can answer: from the start of the process to the first lookups answered from its durable copy.
//!
//! A made-up world lies in a store. A process of its own opens it and takes the shards back as a node does: loaded by the node's own code,
//! some at a time, taken by two cores meanwhile. The process that wrote the store was killed, so the first start is one after a kill; the
//! process that started from it closed it, so the next ones are those after a clean stop.
//!
//! `scripts/bench only start --members N` takes a world of so many memberships, and PostgreSQL as well, in a server of its own.

use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use trunkline::roles::bots::LOADS_AT_ONCE;
use trunkline::roles::load::{key_of, load};
use trunkline::roles::record::Record;
use trunkline::roles::rows::CODEC;
use trunkline_cache::{Cache, CacheConfig, Rows, Users};
use trunkline_delivery::{Hub, HubConfig, Slot};
use trunkline_discord::{EventKind, ShardId, Time};
use trunkline_etf::{Encoding, Value};
use trunkline_store::{Commit, Options, ShardCommit, Store};
use trunkline_testbed::world::{World, etf};

use crate::peers::resident_bytes;
use crate::postgres::Server;
use crate::process::Process;
use crate::table::{Binding, Table};
use crate::{Form, Result};

/// To the last shard's lookup answered, of [`TARGET_GUILDS`] guilds, in seconds.
const SECONDS: f64 = 3.0;
const TARGET_GUILDS: f64 = 2_000.0;
/// What a start may take however little there is.
const LEAST_SECONDS: f64 = 0.25;
const BOT: u64 = 1;
/// Guilds of a shard at most: less than half of what Discord allows.
const GUILDS_A_SHARD: u32 = 1_000;
/// Guilds of a commit.
const GUILDS_A_COMMIT: u32 = 50;
/// Cores of the node.
const CORES: usize = 2;

/// Adds the rows of starting from an embedded store.
pub(crate) fn measure(form: Form, table: &mut Table) -> Result<()> {
    let world = World::of_guilds(if form.short { 100 } else { 2_000 });
    let folder = tempfile::tempdir()?;
    let place = folder.path().display().to_string();
    let shards = shards_of(&world);
    fill_in_a_process(&place, &world)?.0.kill()?;
    let killed = start_in_a_process(&place, &world)?;
    let mut best = start_in_a_process(&place, &world)?;
    for _ in 1..form.rounds.min(3) {
        let next = start_in_a_process(&place, &world)?;
        if next["all_s"].as_f64() < best["all_s"].as_f64() {
            best = next;
        }
    }
    head(table, &world, &best["rows"]);
    table.row(&format!("  first lookup answered (one shard of {shards} is back)"), &[seconds(&best, "first_s")]);
    let most = (SECONDS * f64::from(world.guilds) / TARGET_GUILDS).max(LEAST_SECONDS);
    let all_s = best["all_s"].as_f64().unwrap_or(f64::INFINITY);
    table.target("  lookups of all shards answered", &[seconds(&best, "all_s")], &format!("< {most} s"), all_s < most, Binding::FullForm);
    table.row("  the same after a kill", &[seconds(&killed, "all_s")]);
    Ok(())
}

/// Adds the rows of a world of about so many memberships, with what they cost, and says on standard error how far it is.
pub(crate) fn measure_members(members: &str, table: &mut Table) -> Result<()> {
    let members: u32 = members.parse()?;
    let world = World::of_guilds(members.div_ceil(World::of_guilds(1).members).max(1));
    let folder = tempfile::tempdir()?;
    let place = folder.path().display().to_string();
    eprintln!("writing the world into an embedded store");
    fill_in_a_process(&place, &world)?.0.kill()?;
    let mut found = Vec::new();
    for what in ["embedded, after a kill", "embedded, after a clean stop"] {
        eprintln!("starting: {what}");
        found.push((what, start_in_a_process(&place, &world)?));
    }
    drop(folder);
    eprintln!("writing the world into PostgreSQL");
    let server = Server::start();
    let place = server.database();
    fill_in_a_process(&place, &world)?.0.kill()?;
    eprintln!("starting: PostgreSQL");
    found.push(("PostgreSQL", start_in_a_process(&place, &world)?));
    head(table, &world, &found[0].1["rows"]);
    for (what, line) in found {
        table.row(&format!("  {what}"), &[]);
        table.row("    opened", &[seconds(&line, "open_s")]);
        table.row("    first lookup answered", &[seconds(&line, "first_s")]);
        table.row("    lookups of all shards answered", &[seconds(&line, "all_s")]);
        table.row("    CPU of the process, without the server's", &[seconds(&line, "cpu_s")]);
    }
    Ok(())
}

fn head(table: &mut Table, world: &World, rows: &Json) {
    let (guilds, memberships, shards) = (world.guilds, world.memberships(), shards_of(world));
    table.row(&format!("start: {guilds} guilds, {memberships} memberships ({rows} rows), {shards} shards"), &[]);
}

fn seconds(line: &Json, key: &str) -> String {
    format!("{:.2} s", line[key].as_f64().unwrap_or(f64::INFINITY))
}

fn shards_of(world: &World) -> u32 {
    world.guilds.div_ceil(GUILDS_A_SHARD).max(CORES as u32)
}

fn shard(index: u32, world: &World) -> ShardId {
    ShardId { bot: BOT, index, count: shards_of(world) }
}

/// A process that has written the world, and has the store open.
fn fill_in_a_process(place: &str, world: &World) -> Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["fill", place, &world.guilds.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = Process(command.spawn()?);
    let mut line = String::new();
    BufReader::new(process.0.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
    if line.trim() == "written" { Ok(process) } else { Err("the process that writes the copy has failed".into()) }
}

fn start_in_a_process(place: &str, world: &World) -> Result<Json> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(["start", place, &world.guilds.to_string()]).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the process that starts from the copy has failed".into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn open(place: &str) -> Result<Store> {
    let options = Options { rows: Some(CODEC), ..Options::default() };
    Ok(if place.starts_with("postgres://") { Store::connect(place, options)? } else { Store::open(Path::new(place), options)? })
}

/// In a process of its own: writes the world, and waits to be killed.
pub(crate) fn fill(place: &str, guilds: &str) -> Result<()> {
    let world = World::of_guilds(guilds.parse()?);
    let store = open(place)?;
    let record = record(&world)?;
    let users = Users::default();
    let mut caches: Vec<Cache> = (0..shards_of(&world)).map(|_| Cache::new(CacheConfig::default(), users.clone())).collect();
    let last = world.guilds - 1;
    for guild in 0..world.guilds {
        let body = Bytes::from(etf(&world.guild_create(guild)));
        let at = guild as usize % caches.len();
        caches[at].apply(EventKind::GuildCreate, Value::from_raw(Encoding::Etf, &body), &body);
        if (guild + 1).is_multiple_of(GUILDS_A_COMMIT) || guild == last {
            let part = |(cache, index): (&mut Cache, u32)| ShardCommit {
                cache: cache.take_changes(),
                ..ShardCommit::new(key_of(shard(index, &world)), 1, record.clone())
            };
            store.commit(Commit { shards: caches.iter_mut().zip(0..).map(part).collect() })?;
        }
    }
    println!("written");
    // Ends with whoever started it at the latest.
    std::io::stdin().read_line(&mut String::new())?;
    std::process::abort();
}

/// What a shard is without a session and without groups.
fn record(world: &World) -> Result<Bytes> {
    let mut hub = Hub::new(HubConfig::default());
    hub.add_shard(Slot(0), shard(0, world), None, Time::ZERO, &mut Vec::new()).map_err(|error| error.to_string())?;
    let log = hub.checkpoint(Slot(0)).ok_or("a log has a record")?.record;
    Ok(Record { ordinal: 0, kinds: trunkline_cache::Kinds::ALL, resume: None, log }.encode())
}

/// In a process of its own: starts from the copy, and prints what that took.
pub(crate) fn start(place: &str, guilds: &str) -> Result<()> {
    let began = Instant::now();
    let world = World::of_guilds(guilds.parse()?);
    trunkline::logging::start("info", false)?;
    let before = resident_bytes()?;
    let store = open(place)?;
    let open_s = began.elapsed().as_secs_f64();
    let next = Mutex::new(0..shards_of(&world));
    let (mut senders, cores): (Vec<_>, Vec<_>) = (0..CORES).map(|_| mpsc::channel()).unzip();
    let (rows, lookups) = std::thread::scope(|scope| -> Result<(u64, Vec<f64>)> {
        let cores: Vec<_> = cores.into_iter().map(|rows| scope.spawn(|| take(&world, began, rows))).collect();
        let readers: Vec<_> = (0..LOADS_AT_ONCE)
            .map(|_| {
                let (senders, store, world, next) = (senders.clone(), &store, &world, &next);
                scope.spawn(move || read(store, world, next, &senders))
            })
            .collect();
        let mut rows = 0;
        for reader in readers {
            rows += reader.join().map_err(|_| "a reading thread has failed")??;
        }
        senders.clear();
        let mut lookups = Vec::new();
        for core in cores {
            lookups.extend(core.join().map_err(|_| "a core has failed")??);
        }
        Ok((rows, lookups))
    })?;
    let cpu_s = crate::process::ticks("self")? as f64 / crate::process::TICKS_PER_SECOND;
    let (first_s, all_s) = lookups.iter().fold((f64::INFINITY, 0.0), |(first, all), at| (at.min(first), at.max(all)));
    let resident_bytes = resident_bytes()?.saturating_sub(before);
    println!(
        "{}",
        json!({ "open_s": open_s, "first_s": first_s, "all_s": all_s, "cpu_s": cpu_s, "rows": rows, "resident_bytes": resident_bytes })
    );
    Ok(())
}

type ToCore = mpsc::Sender<(u32, Rows)>;

/// Loads shards until there are none left, and hands each to its core. Answers how many rows that were.
fn read(store: &Store, world: &World, next: &Mutex<Range<u32>>, cores: &[ToCore]) -> std::result::Result<u64, String> {
    let mut count = 0;
    while let Some(index) = next.lock().ok().and_then(|mut next| next.next()) {
        let loaded = load(store, shard(index, world), &[], Time::ZERO, 0, 0).map_err(|error| error.to_string())?;
        count += loaded.cache.len() as u64;
        // Nobody takes them only when the process fails.
        cores[index as usize % CORES].send((index, loaded.cache)).ok();
    }
    Ok(count)
}

/// Makes caches of the rows, and looks something up in each. Answers when each was answered.
fn take(world: &World, began: Instant, rows: mpsc::Receiver<(u32, Rows)>) -> std::result::Result<Vec<f64>, String> {
    let users = Users::default();
    let (mut caches, mut lookups) = (Vec::new(), Vec::new());
    for (index, rows) in rows {
        let mut cache = Cache::new(CacheConfig::default(), users.clone());
        if cache.load_rows(&rows) > 0 {
            return Err("rows are no objects of their kind".into());
        }
        let member = cache.member(world.guild_id(index), world.user_id(index, 7)).ok_or("a member is missing")?;
        let read: Option<u64> = member.object.value().get("user").and_then(|user| user.get("id")?.as_id());
        if read != Some(world.user_id(index, 7)) {
            return Err("another member".into());
        }
        lookups.push(began.elapsed().as_secs_f64());
        caches.push(cache);
    }
    // Giving the memory back is no part of a start.
    std::mem::forget(caches);
    Ok(lookups)
}

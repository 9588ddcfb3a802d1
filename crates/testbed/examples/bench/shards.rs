//! Many shards at once: what the process takes for the events of 720 shards beside decompressing the same streams alone, and what a shard
//! holds that has nothing to do.
//!
//! The simulated Discord is the generator, a process of its own, as is the worker. Long form only.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use trunkline_discord::Compression;
use trunkline_gateway::inflate::{InflateLimits, Inflater};
use trunkline_sim::Mix;

use crate::process::{Play, START, Stage, TICKS_PER_SECOND, http, number, until};
use crate::stream::zstd_stream;
use crate::table::Table;
use crate::{Result, corpus};

const SHARDS: u64 = 720;
/// Events a second, of all shards together.
const RATE: u64 = 25_000;
const GUILDS: u64 = 1_440;
const MEMBERS: u64 = 20;
const MEASURED: Duration = Duration::from_secs(20);
/// Messages of each stream that the floor is measured with: enough for a context to be warm.
const FLOOR_EVENTS: usize = 50_000;

/// Adds the rows of many shards.
pub(crate) fn measure(trunkline: &Path, table: &mut Table) -> Result<()> {
    let idle = idle(trunkline)?;
    let play = Play { shards: SHARDS, guilds: GUILDS, members: MEMBERS, rate: RATE, group: "" };
    let stage = Stage::open(trunkline, &play)?;
    let mut worker = stage.worker()?;
    until(START, "every shard is there", || {
        let sessions = number(&worker.ask()?, "sessions");
        Ok((sessions >= SHARDS).then_some(()))
    })?;
    std::thread::sleep(Duration::from_secs(3));
    let (before, ticks) = (worker.ask()?, stage.node.ticks()?);
    std::thread::sleep(MEASURED);
    let (after, ticks) = (worker.ask()?, stage.node.ticks()? - ticks);
    let events = (number(&after, "received") - number(&before, "received")) as f64;
    let seconds = (number(&after, "at_us") - number(&before, "at_us")) as f64 / 1e6;
    let node_us = ticks as f64 / TICKS_PER_SECOND * 1e6 / events.max(1.0);
    drop((worker, stage));
    let floor_us = floor_us()?;
    table.row(&format!("{SHARDS} shards, {RATE} events/s offered: arrived at a worker"), &[format!("{:.0} /s", events / seconds)]);
    table.row(
        "  CPU of the node, sockets and worker stream included",
        &[format!("{:.1} us", node_us), format!("{:.2} cores", node_us * events / seconds / 1e6)],
    );
    table.row(
        "  CPU of decompressing as many streams alone",
        &[format!("{floor_us:.1} us"), format!("{:.2} cores", floor_us * events / seconds / 1e6)],
    );
    table.row("  resident per idle shard (4 small guilds each)", &[format!("{:.0} kB", idle / 1_000.0)]);
    Ok(())
}

/// Resident bytes of a shard that has nothing to do: what the shards from the tenth part on add.
fn idle(trunkline: &Path) -> Result<f64> {
    let resident = |shards: u64| -> Result<f64> {
        let play = Play { shards, guilds: 4 * shards, members: 10, rate: 0, group: "events = [\"TYPING_START\"]" };
        let stage = Stage::open(trunkline, &play)?;
        until(START, "every shard is there", || {
            let report = http(stage.discord, "GET /sim/report")?;
            let guilds = number(&report["events_by_kind"], "GUILD_CREATE");
            Ok((report["sessions"].as_array().map_or(0, Vec::len) as u64 >= shards && guilds >= 4 * shards).then_some(()))
        })?;
        // Buffers that the start needed have shrunk, and its checkpoint is written.
        std::thread::sleep(Duration::from_secs(5));
        Ok(stage.node.resident_bytes()? as f64)
    };
    let few = SHARDS / 10;
    Ok((resident(SHARDS)? - resident(few)?) / (SHARDS - few) as f64)
}

/// Microseconds an event of decompressing 720 streams that take turns, of this process's CPU.
fn floor_us() -> Result<f64> {
    let frames = corpus::record(Mix::Steady, FLOOR_EVENTS)?;
    let shards = usize::try_from(SHARDS)?;
    let streams = frames.chunks(FLOOR_EVENTS / shards).take(shards).map(zstd_stream).collect::<Result<Vec<_>>>()?;
    let mut inflaters = (0..shards)
        .map(|_| Inflater::new(Compression::ZstdStream, InflateLimits::default()))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let before = thread_ns()?;
    let mut events = 0_u64;
    for turn in 0..FLOOR_EVENTS / shards {
        for (stream, inflater) in streams.iter().zip(&mut inflaters) {
            let Some(packed) = stream.get(turn) else { continue };
            black_box(inflater.push(black_box(packed))?);
            events += 1;
        }
    }
    Ok((thread_ns()? - before) as f64 / 1_000.0 / events as f64)
}

/// Nanoseconds that this thread has run: a machine that is busy with something else does not count.
pub(crate) fn thread_ns() -> Result<u64> {
    // Brings the figure up to date.
    std::thread::yield_now();
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(stat.split_whitespace().next().ok_or("an unknown form of /proc/thread-self/schedstat")?.parse()?)
}

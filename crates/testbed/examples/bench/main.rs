//! The benches of the whole, printed as one table: `scripts/bench`, or `scripts/bench --short` for the form that takes a minute.
//!
//! - `decode`: what an event costs to decode and route, against `serde_json::Value` of the same event, against merely walking over its
//!   terms and against decompressing alone. What that cost is made of: `scripts/instructions`.
//! - `inside`: the whole way of an event inside the process, against decompressing alone.
//! - `peers`: parsing, applying, holding the same world, against the best-known Rust libraries.
//! - `start`: from a durable copy to the first lookup answered; `scripts/bench only start --members N` with so many, after a stop and after a
//!   kill, and from PostgreSQL as well.
//! - `path`: simulated Discord, node and one worker as processes of their own on two cores; latency at half of the rate asked for.
//! - `search`: finding members of a guild of 500 000 by the beginning of a name, and paging through them.
//! - `lookups`: single gets through gRPC while events are applied, against calls that do nothing.
//! - `shards` (long form only): 720 shards, and what an idle one holds.
//!
//! What is a ratio of two things of one run, best of several rounds, binds in every form, unless both sides are so small or so unlike
//! that a busy machine moves them. Rates and times bind in the full form; in the short form a missed one is a warning, because a gate
//! shares its machine with others. Lost events are an error in every form.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, clippy::cast_precision_loss, reason = "a bench")]

mod corpus;
mod decode;
mod instructions;
mod lookups;
mod path;
mod peers;
#[path = "../../../store/tests/common/postgres.rs"]
mod postgres;
mod process;
mod search;
mod shards;
mod start;
mod stream;
mod table;
mod walk;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use table::Table;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Form {
    short: bool,
    /// Events of each mix.
    events: usize,
    /// Rounds over them; the best counts.
    rounds: u32,
    /// Seconds of the whole path that are measured.
    seconds: u64,
}

const FULL: Form = Form { short: false, events: 20_000, rounds: 20, seconds: 15 };
const SHORT: Form = Form { short: true, events: 5_000, rounds: 20, seconds: 4 };

/// Events per second that the whole path must carry on two cores.
const RATE: u64 = 20_000;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["worker", address, group, token] => worker::run(address, group, token).map(|()| true),
        [] => bench(FULL),
        ["--short"] => bench(SHORT),
        ["only", part] => only(part, FULL),
        ["only", part, "--short"] => only(part, SHORT),
        ["only", "start", "--members", members] => start_of(members),
        ["fill", place, guilds] => start::fill(place, guilds).map(|()| true),
        ["start", place, guilds] => start::start(place, guilds).map(|()| true),
        ["hold", side, configuration, file] => peers::hold(side, configuration, file).map(|()| true),
        ["record", folder] => instructions::record(folder.as_ref()),
        ["instructions", way, file] => instructions::read(way, file.as_ref()),
        _ => {
            eprintln!(
                "usage: scripts/bench [--short], scripts/bench only PART [--short], scripts/bench only start --members N; parts: {}",
                PARTS.join(", ")
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the bench did not run: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Parts of the table, in its order.
const PARTS: [&str; 8] = ["decode", "inside", "peers", "start", "search", "path", "lookups", "shards"];

fn bench(form: Form) -> Result<bool> {
    some(form, &PARTS)
}

fn only(part: &str, form: Form) -> Result<bool> {
    if !PARTS.contains(&part) {
        return Err(format!("parts of the bench: {}", PARTS.join(", ")).into());
    }
    some(form, &[part])
}

fn start_of(members: &str) -> Result<bool> {
    let mut table = Table::new();
    start::measure_members(members, &mut table)?;
    Ok(table.print(false))
}

fn some(form: Form, parts: &[&str]) -> Result<bool> {
    let mut table = Table::new();
    let mut worlds = None;
    for part in parts {
        if *part == "peers" && worlds.is_none() {
            worlds = Some(peers::Worlds::write(form)?);
        }
        match (*part, &worlds) {
            ("decode", _) => decode::measure(form, &mut table)?,
            ("inside", _) => table.read(&inside(form)?),
            ("peers", Some(worlds)) => peers::measure(form, worlds, &mut table)?,
            ("start", _) => start::measure(form, &mut table)?,
            ("search", _) => search::measure(form, &mut table)?,
            ("path", _) => path::measure(form, &binary()?, &mut table)?,
            ("lookups", _) => lookups::measure(form, &binary()?, &mut table)?,
            ("shards", _) if !form.short => shards::measure(&binary()?, &mut table)?,
            _ => {}
        }
    }
    Ok(table.print(form.short))
}

/// What the program of that name, built beside this one, writes: it has the node's allocator. The others keep the system's, which is what
/// the peers' figures that they are compared with were taken with.
fn inside(form: Form) -> Result<String> {
    let program = std::env::current_exe()?.with_file_name("inside");
    let done = std::process::Command::new(&program).args([form.events.to_string(), form.rounds.min(10).to_string()]).output();
    let done = done.map_err(|error| format!("{}: {error}; run scripts/bench, which builds it", program.display()))?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into_owned().into());
    }
    Ok(String::from_utf8(done.stdout)?)
}

/// `trunkline`, built beside this program.
fn binary() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let path = here.parent().and_then(std::path::Path::parent).map(|folder| folder.join("trunkline")).filter(|path| path.exists());
    path.ok_or_else(|| "there is no `trunkline` beside this program; run scripts/bench, which builds both".into())
}

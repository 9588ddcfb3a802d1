//! The benches of the whole, printed as one table: `scripts/bench`, or `scripts/bench --short` for the half-minute form.
//!
//! - What an event costs to decode and route, against `serde_json::Value` of the same event and against decompressing alone.
//! - The whole path: simulated Discord, node and one worker as processes of their own on two cores.
//! - Socket to worker latency at half of the rate that is asked for.
//!
//! JSON's ratio always binds, ETF's in the full form: both sides are taken in one run, as the best of several rounds, so that a busy machine hardly moves them.
//! Rates bind in the full form; in the short form a missed rate is a warning, because a gate shares its machine with others. Lost
//! events are an error in every form.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, clippy::cast_precision_loss, reason = "a bench")]

mod corpus;
mod decode;
mod path;
mod table;
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
        ["decode"] => decode_only(),
        _ => {
            eprintln!("usage: scripts/bench [--short]");
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

fn bench(form: Form) -> Result<bool> {
    let mut table = Table::new();
    decode::measure(form, &mut table)?;
    let trunkline = binary()?;
    path::measure(form, &trunkline, &mut table)?;
    Ok(table.print(form.short))
}

fn decode_only() -> Result<bool> {
    let mut table = Table::new();
    decode::measure(FULL, &mut table)?;
    Ok(table.print(false))
}

/// `trunkline`, built beside this program.
fn binary() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let path = here.parent().and_then(std::path::Path::parent).map(|folder| folder.join("trunkline")).filter(|path| path.exists());
    path.ok_or_else(|| "there is no `trunkline` beside this program; run scripts/bench, which builds both".into())
}

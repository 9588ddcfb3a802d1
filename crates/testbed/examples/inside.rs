//! The whole way of an event inside the process, as a program of its own: it has the allocator that the node has, which matters where an
//! event costs a few allocations and little else. Run by `scripts/bench` (part `inside`) and `scripts/instructions`.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, clippy::cast_precision_loss, reason = "a bench")]

#[allow(dead_code, reason = "shared with the bench")]
#[path = "bench/corpus.rs"]
mod corpus;
#[allow(dead_code, reason = "shared with the bench")]
#[path = "bench/stream.rs"]
mod stream;
#[allow(dead_code, reason = "shared with the bench")]
#[path = "bench/table.rs"]
mod table;
#[path = "bench/whole.rs"]
mod whole;

use std::path::Path;
use std::process::ExitCode;

use stream::{START, frames, zstd_stream};
use table::Table;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["instructions", way, file] => instructions(way, file.as_ref()),
        [events, rounds] => rows(events, rounds),
        _ => {
            eprintln!("usage: inside EVENTS ROUNDS, inside instructions WAY FILE; ways: inflate, whole");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the bench did not run: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the rows for the bench's table.
fn rows(events: &str, rounds: &str) -> Result<()> {
    let mut table = Table::new();
    whole::measure(events.parse()?, rounds.parse()?, &mut table)?;
    print!("{}", table.write());
    Ok(())
}

/// Goes over the events of a recorded file once.
fn instructions(way: &str, file: &Path) -> Result<()> {
    let packed = zstd_stream(&frames(file)?)?;
    match way {
        "inflate" => whole::counted_inflate(&packed),
        "whole" => {
            let mut start = file.as_os_str().to_owned();
            start.push(START);
            whole::whole(&frames(start.as_ref())?, &packed)
        }
        _ => Err("ways: inflate, whole".into()),
    }
}

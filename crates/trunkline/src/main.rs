//! The binary: parse, dispatch, exit status.

use std::process::ExitCode;

use clap::Parser as _;
use trunkline::cli::{Cli, Command};
use trunkline::commands;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => commands::run::run(&args),
        Command::Demo(args) => commands::demo::demo(&args),
        Command::Sim(args) => commands::sim::sim(&args),
        Command::Check(args) => commands::check::check(&args),
        Command::Worker(args) => commands::worker::worker(&args),
        Command::Status(args) => commands::status::status(&args),
        Command::Shard(args) => commands::shard::shard(&args.command),
        Command::Store(args) => commands::store::store(&args.command),
    }
}

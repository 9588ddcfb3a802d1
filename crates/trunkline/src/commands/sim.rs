//! `trunkline sim`: the simulated Discord as a program, for tests of bots and libraries.

use std::collections::BTreeMap;
use std::process::ExitCode;

use trunkline_sim::{BotConfig, Config, Mix, Report, Sim, StartError, Tls, parse_schedule};

use super::{OK, USAGE, complain, say};
use crate::cli::SimArgs;
use crate::logging;

/// Serves until the time is over or a signal comes, then writes the report.
#[must_use]
pub fn sim(args: &SimArgs) -> ExitCode {
    if let Err(text) = logging::start(&args.log, false) {
        complain(&text);
        return ExitCode::from(USAGE);
    }
    if let Err(text) = report_place(args) {
        complain(&text);
        return ExitCode::from(USAGE);
    }
    let config = match config(args) {
        Ok(config) => config,
        Err(text) => {
            complain(&text);
            return ExitCode::from(USAGE);
        }
    };
    match super::run::edge_runtime() {
        Ok(runtime) => runtime.block_on(serve(args, config)),
        Err(error) => {
            complain(&format!("the runtime did not start: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn config(args: &SimArgs) -> Result<Config, String> {
    let mix: Mix = args.mix.parse().map_err(|error| format!("--mix: {error}"))?;
    let faults = args.faults.as_deref().map(parse_schedule).transpose().map_err(|error| format!("--faults: {error}"))?.unwrap_or_default();
    let read = |path: &std::path::Path| std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some(Tls { cert_pem: read(cert)?, key_pem: read(key)? }),
        _ => None,
    };
    let bots =
        if args.token.is_empty() { vec![BotConfig::new("sim")] } else { args.token.iter().map(|token| BotConfig::new(token)).collect() };
    Ok(Config {
        listen: args.listen,
        tls,
        bots,
        shards: args.shards,
        max_concurrency: args.max_concurrency,
        guilds: args.guilds,
        members: args.members,
        rate: f64::from(args.rate),
        mix,
        seed: args.seed.unwrap_or_else(seed),
        faults,
        trim_replay_at_heartbeat: args.trim_replay_at_heartbeat,
        run_for: args.duration,
        ..Config::default()
    })
}

/// Whether the report can be written at the end: known now, and not after a run of hours. What the file held is kept until then.
fn report_place(args: &SimArgs) -> Result<(), String> {
    let Some(path) = args.report.as_deref().filter(|path| path.as_os_str() != "-") else { return Ok(()) };
    let there = path.exists();
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(|error| format!("--report: {} cannot be written: {error}", path.display()))?;
    if !there {
        // Found empty it would look like the report of a run that is over.
        std::fs::remove_file(path).ok();
    }
    Ok(())
}

/// A seed for runs that name none; printed, so that the run can be repeated.
#[must_use]
pub fn seed() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |since| since.as_secs())
}

async fn serve(args: &SimArgs, config: Config) -> ExitCode {
    let seed = config.seed;
    let sim = match Sim::start(config).await {
        Ok(sim) => sim,
        // An address that is taken is the machine's affair; the others are arguments that cannot be.
        Err(error @ StartError::Listen { .. }) => {
            complain(&error.to_string());
            return ExitCode::FAILURE;
        }
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::from(USAGE);
        }
    };
    let token = if args.token.is_empty() { " with the token \"sim\"" } else { "" };
    tracing::info!(seed, "a simulated Discord is at {}; log in there{token}; faults: POST http://{}/sim/fault", sim.api_url(), sim.addr());
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            complain(&format!("signals cannot be caught: {error}"));
            return ExitCode::FAILURE;
        }
    };
    tokio::select! {
        () = sim.finished() => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    let report = sim.stop().await;
    // Each was told when it happened.
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for fault in &report.client_faults {
        *kinds.entry(fault.kind).or_default() += 1;
    }
    for (kind, times) in kinds {
        tracing::warn!("the client did wrong {times} times: {kind}");
    }
    tracing::info!(
        events = report.events_sent,
        identifies = report.identifies,
        resumes = report.resumes,
        client_faults = report.client_faults_total,
        "stopped"
    );
    write_report(args, &report)
}

fn write_report(args: &SimArgs, report: &Report) -> ExitCode {
    let Some(path) = &args.report else { return OK };
    let text = match serde_json::to_string_pretty(report) {
        Ok(text) => text,
        Err(error) => {
            complain(&format!("the report could not be written as JSON: {error}"));
            return ExitCode::FAILURE;
        }
    };
    if path.as_os_str() == "-" {
        say(&text);
        return OK;
    }
    match std::fs::write(path, text + "\n") {
        Ok(()) => OK,
        Err(error) => {
            complain(&format!("the report could not be written to {}: {error}", path.display()));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn status(words: &[&str]) -> String {
        let words = ["trunkline", "sim", "--listen", "127.0.0.1:0", "--for", "10ms"].iter().chain(words);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Sim(args) => format!("{:?}", sim(&args)),
            other => panic!("not a sim: {other:?}"),
        }
    }

    #[test]
    fn arguments_that_cannot_be_end_with_status_2_and_sound_ones_with_0() {
        let usage = format!("{:?}", ExitCode::from(2));
        for words in [
            &["--faults", "1s explode"][..],
            &["--mix", "salad"],
            &["--shards", "0"],
            &["--max-concurrency", "0"],
            &["--guilds", "4000000000"],
            &["--log", "debgu"],
            &["--tls-cert", "/nowhere/cert.pem", "--tls-key", "/nowhere/key.pem"],
            &["--tls-cert", "/dev/null", "--tls-key", "/dev/null"],
            &["--report", "/nowhere/report.json"],
            &["--report", "/"],
        ] {
            assert_eq!(status(words), usage, "{words:?}");
        }
        assert_eq!(status(&["--mix", "every"]), format!("{:?}", ExitCode::SUCCESS));
    }

    #[test]
    fn the_report_is_written_and_a_place_that_cannot_be_is_told_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        for _ in 0..2 {
            assert_eq!(status(&["--report", path.to_str().unwrap()]), format!("{:?}", ExitCode::SUCCESS));
            let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(report["client_faults_total"], 0);
        }
        // Nothing is left behind, nor lost, where the run does not begin.
        let usage = format!("{:?}", ExitCode::from(2));
        let other = dir.path().join("other.json");
        assert_eq!(status(&["--report", other.to_str().unwrap(), "--mix", "salad"]), usage);
        assert_eq!(status(&["--report", path.to_str().unwrap(), "--mix", "salad"]), usage);
        assert!(!other.exists() && std::fs::metadata(&path).unwrap().len() > 100);
    }

    #[test]
    fn an_address_that_is_taken_is_no_bad_argument() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap().to_string();
        let words = ["trunkline", "sim", "--for", "10ms", "--listen", &addr];
        let Command::Sim(args) = Cli::try_parse_from(words).unwrap().command else { panic!("not a sim") };
        assert_eq!(format!("{:?}", sim(&args)), format!("{:?}", ExitCode::FAILURE));
    }
}

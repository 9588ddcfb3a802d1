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
        ] {
            assert_eq!(status(words), usage, "{words:?}");
        }
        assert_eq!(status(&["--mix", "every"]), format!("{:?}", ExitCode::SUCCESS));
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

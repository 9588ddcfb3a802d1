//! `trunkline run`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use super::{BOTS_FAILED, OK, USAGE, complain, sources};
use crate::cli::RunArgs;
use crate::config::{self, Config};
use crate::logging;
use crate::roles::node::Node;
use crate::roles::state::StateNode;

/// A signal that comes so soon after the first is the same one: a terminal sends Ctrl-C to a whole process group, and whoever started us
/// passes it on, or sends SIGTERM on its own end.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

const ROLES: [&str; 2] = ["gateway", "dispatch"];

/// The role that reads PostgreSQL and holds no shard.
const STATE: &str = "state";

/// Whether these roles are those of a process that reads PostgreSQL and holds no shard.
///
/// # Errors
/// What is wrong with them: there is no such role, or not alone.
pub(super) fn is_state(roles: &[String]) -> Result<bool, String> {
    let state = roles.iter().any(|role| role == STATE);
    for role in roles.iter().filter(|role| *role != STATE) {
        if !ROLES.contains(&role.as_str()) {
            return Err(format!(
                "--roles {role}: this version has the roles {}, and {STATE} for a process of its own",
                ROLES.join(" and ")
            ));
        }
        if state {
            return Err(
                "--roles: state is for a process of its own; where gateway and dispatch run, the state API is served from the live caches"
                    .into(),
            );
        }
    }
    if !state && !roles.is_empty() && ROLES.iter().any(|role| !roles.iter().any(|other| other == role)) {
        return Err("--roles: gateway and dispatch run together in this version; name both or leave --roles out".into());
    }
    Ok(state)
}

/// Runs until a signal or until every bot has failed for good.
#[must_use]
pub fn run(args: &RunArgs) -> ExitCode {
    let state = match is_state(&args.roles) {
        Ok(state) => state,
        Err(text) => {
            complain(&text);
            return ExitCode::from(USAGE);
        }
    };
    let parsed = sources(&args.config).map_err(|text| vec![text]).and_then(|mut sources| {
        sources.without_bots = state;
        // Before anything is known to be right, so that what is wrong is told in the form that is read.
        logging::speak_json(config::wants_json(&sources));
        config::parse(&sources).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    });
    let config = match parsed {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems {
                complain(&problem);
            }
            return ExitCode::from(USAGE);
        }
    };
    if let Err(text) = logging::start(&config.log.level, config.log.json) {
        complain(&format!("log.level: {text}"));
        return ExitCode::from(USAGE);
    }
    end_on_panic();
    raise_file_limit();
    let runtime = match edge_runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("the runtime did not start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = if state { runtime.block_on(run_state(config)) } else { runtime.block_on(run_node(config)) };
    runtime.shutdown_timeout(READS_END);
    code
}

/// Reads of the store that are still under way at the end are not waited for longer: one whose server is away takes half a minute, and
/// has nothing to lose.
const READS_END: Duration = Duration::from_secs(3);

/// A panic in a thread that holds shards or writes checkpoints ends the process: half of it alive would look healthy and deliver
/// nothing, while a restart resumes from the last checkpoint. A panic in a client's task costs that client only.
fn end_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        match logging::json_line("ERROR", &info.to_string()) {
            Some(line) => drop(writeln!(std::io::stderr(), "{line}")),
            None => tell(info),
        }
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        if name.starts_with("core-") || name.starts_with("store") {
            complain(
                "a part that holds shards has failed (see above; please report it); ending, so that a restart resumes from the last checkpoint",
            );
            std::process::abort();
        }
    }));
}

/// Each shard needs a socket and a segment file: as many files as the system allows, since a reader that meets the usual 1 024 fails
/// in the middle of the night.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

/// The runtime for clients, admin and start-up calls; shards have threads of their own. One thread for every two processors: what a
/// client costs is a third of what its events cost before, and a second thread that is woken to find nothing to do costs more than it
/// takes off the first.
///
/// # Errors
/// When the system gives no threads.
pub fn edge_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2).clamp(1, 4);
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).thread_name("edge").enable_all().build()
}

/// The state API alone, until a signal.
async fn run_state(config: Config) -> ExitCode {
    let (mut interrupt, mut terminate) = match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
        (Err(error), _) | (_, Err(error)) => {
            complain(&format!("signals cannot be caught: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let node = match StateNode::start(config).await {
        Ok(node) => node,
        Err(text) => {
            complain(&text);
            return ExitCode::FAILURE;
        }
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    node.stop().await;
    OK
}

async fn run_node(config: Config) -> ExitCode {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let (mut interrupt, mut terminate) = match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
        (Err(error), _) | (_, Err(error)) => {
            complain(&format!("signals cannot be caught: {error}"));
            return ExitCode::FAILURE;
        }
    };
    // A file size limit (ulimit -f) must be an error of the write, which the store knows as a full disk, not the end of the process.
    if let Err(error) = signal(SignalKind::from_raw(libc::SIGXFSZ)) {
        tracing::warn!("the signal of the file size limit cannot be caught: {error}");
    }
    let store = config.store.path.clone();
    let node = match Node::start(config).await {
        Ok(node) => node,
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    tracing::info!("clients connect to {} (gRPC), metrics and status are on http://{}", node.clients(), node.admin());
    let addr = node.shared().at.addr_flag();
    for (group, path) in node.token_files() {
        tracing::info!(
            "group {group}: its token is in {}; `trunkline worker --group {group} --store {}{addr}` finds it",
            path.display(),
            store.display()
        );
    }
    let failed = tokio::select! {
        reason = node.all_bots_failed() => Some(reason),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    let first = failed.is_none().then(Instant::now);
    if first.is_some() {
        tracing::info!("stopping: sessions stay resumable; a second signal ends at once");
    }
    let second = async {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first.is_none_or(|first| first.elapsed() >= SAME_SIGNAL) {
                return;
            }
            tracing::debug!("a signal within {} ms of the first counts as the same", SAME_SIGNAL.as_millis());
        }
    };
    let stopped = tokio::select! {
        stopped = node.stop() => stopped,
        () = second => {
            complain("ended at once; the last checkpoint stands");
            return ExitCode::FAILURE;
        }
    };
    match &stopped.saved {
        Ok(()) => tracing::info!(
            acknowledged = stopped.acknowledged,
            took_ms = u64::try_from(stopped.took.as_millis()).unwrap_or(u64::MAX),
            "stopped; sessions, cache and unacknowledged events are saved"
        ),
        Err(reason) => complain(&format!("stopped, but the last checkpoint was not written: {reason}")),
    }
    match failed {
        Some(reason) => {
            complain(&format!("every bot has failed for good: {reason}"));
            ExitCode::from(BOTS_FAILED)
        }
        None if stopped.saved.is_err() => ExitCode::FAILURE,
        None => OK,
    }
}

//! Log lines: plain ones for people by default, JSON by option; always on standard error, so that standard output stays data.

use tracing_subscriber::EnvFilter;

/// Starts logging for the process. A second call changes nothing.
///
/// # Errors
/// A text when `filter` is not a filter.
pub fn start(filter: &str, json: bool) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| format!("\"{filter}\" is not a log filter ({error}); write error, warn, info, debug, trace or module=level,…"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json {
        builder.json().flatten_event(true).with_target(true).try_init()
    } else {
        builder.with_target(false).compact().with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
    };
    // A second initialisation happens in tests only and leaves the first in force.
    drop(started);
    Ok(())
}

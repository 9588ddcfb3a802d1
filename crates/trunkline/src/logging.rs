//! Log lines: plain ones for people by default, JSON by option; always on standard error, so that standard output stays data.

use std::sync::atomic::{AtomicBool, Ordering};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

/// Whether this process logs JSON: then what it says beside its log is JSON as well.
static JSON: AtomicBool = AtomicBool::new(false);

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What is wrong with a log filter. A bare word that is no level would be taken for a module's name, and silence everything else.
#[must_use]
pub fn problem(filter: &str) -> Option<String> {
    let what = "write error, warn, info, debug, trace or module=level,…";
    for directive in filter.split(',').map(str::trim) {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            return Some(format!("\"{filter}\" is not a log filter: {level:?} is no level; {what}"));
        }
    }
    EnvFilter::try_new(filter).err().map(|error| format!("\"{filter}\" is not a log filter ({error}); {what}"))
}

/// From here on everything on standard error is JSON, or not; for what has to be said before the log is started.
pub fn speak_json(json: bool) {
    JSON.store(json, Ordering::Relaxed);
}

/// A line that is no log event, in the form of one; none where the log is for people.
#[must_use]
pub fn json_line(level: &str, message: &str) -> Option<String> {
    if !JSON.load(Ordering::Relaxed) {
        return None;
    }
    let mut timestamp = String::new();
    // Writing to a String cannot fail.
    SystemTime.format_time(&mut Writer::new(&mut timestamp)).ok();
    Some(serde_json::json!({ "timestamp": timestamp, "level": level, "message": message, "target": "trunkline" }).to_string())
}

/// Starts logging for the process. A second call changes nothing.
///
/// # Errors
/// A text when `filter` is not a filter.
pub fn start(filter: &str, json: bool) -> Result<(), String> {
    if let Some(problem) = problem(filter) {
        return Err(problem);
    }
    speak_json(json);
    let filter = EnvFilter::new(filter);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_level_is_told_instead_of_silencing_everything() {
        assert!(problem("debgu").is_some_and(|text| text.contains("debgu")));
        assert!(problem("info,trunkline_gateway=dbug").is_some());
        assert!(problem("a=b=c").is_some());
        for good in ["info", "WARN", "trunkline_gateway=debug,info", "off"] {
            assert_eq!(problem(good), None, "{good}");
        }
    }
}

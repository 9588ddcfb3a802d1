//! `trunkline check`: the effective configuration, secrets masked, all problems at once.

use std::process::ExitCode;

use super::{OK, USAGE, complain, say, sources};
use crate::cli::CheckArgs;
use crate::config::{self, Sources};

/// Prints and judges.
#[must_use]
pub fn check(args: &CheckArgs) -> ExitCode {
    if args.keys {
        for key in config::keys::KEYS {
            let default = if key.default.is_empty() { "no default".to_owned() } else { format!("default {}", key.default) };
            say(&format!("{} ({default})\n    {}", key.path.replace(".*", "[]"), key.doc));
        }
        return OK;
    }
    let read = super::run::is_state(&args.roles).and_then(|state| Ok(Sources { without_bots: state, ..sources(&args.config)? }));
    let sources = match read {
        Ok(sources) => sources,
        Err(text) => {
            complain(&text);
            return ExitCode::from(USAGE);
        }
    };
    let (config, document) = config::examine(&sources);
    // Of a file that is no TOML nothing is known to be in force.
    if !document.unreadable {
        say(config::show(&document, config.as_ref()).trim_end());
    }
    for warning in config.iter().flat_map(|config| &config.warnings) {
        complain(&format!("warning: {warning}"));
    }
    let problems = &document.problems;
    if problems.is_empty() {
        say("configuration is good");
        return OK;
    }
    for problem in problems {
        complain(&problem.to_string());
    }
    complain(&format!("{} problem{}", problems.len(), if problems.len() == 1 { "" } else { "s" }));
    ExitCode::from(USAGE)
}

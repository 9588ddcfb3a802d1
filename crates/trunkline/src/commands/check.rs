//! `trunkline check`: the effective configuration, secrets masked, all problems at once.

use std::process::ExitCode;

use super::{OK, USAGE, complain, say, sources};
use crate::cli::CheckArgs;
use crate::config;

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
    let sources = match sources(&args.config) {
        Ok(sources) => sources,
        Err(text) => {
            complain(&text);
            return ExitCode::from(USAGE);
        }
    };
    match config::parse_with_document(&sources) {
        Ok((config, document)) => {
            say(config::show(&document, &config).trim_end());
            for warning in &config.warnings {
                complain(&format!("warning: {warning}"));
            }
            say("configuration is good");
            OK
        }
        Err(problems) => {
            for problem in &problems {
                complain(&problem.to_string());
            }
            complain(&format!("{} problem{}", problems.len(), if problems.len() == 1 { "" } else { "s" }));
            ExitCode::from(USAGE)
        }
    }
}

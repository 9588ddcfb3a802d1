//! `trunkline store`: looking after the durable copy.

use std::process::ExitCode;

use super::{OK, USAGE, complain, say, sources};
use crate::cli::{ConfigArgs, StoreCommand};
use crate::config;

/// Runs a verb.
#[must_use]
pub fn store(command: &StoreCommand) -> ExitCode {
    match command {
        StoreCommand::Migrate(args) => migrate(args),
    }
}

fn migrate(args: &ConfigArgs) -> ExitCode {
    let url = match sources(args)
        .map_err(|text| vec![text])
        .and_then(|sources| config::store_url(&sources).map_err(|problems| problems.iter().map(ToString::to_string).collect()))
    {
        Ok(Some(url)) => url,
        Ok(None) => {
            complain(
                "store.url is not set: the embedded store needs no migration; for PostgreSQL set store.url, store.url_file or TRUNKLINE_STORE_URL",
            );
            return ExitCode::from(USAGE);
        }
        Err(problems) => {
            problems.iter().for_each(|problem: &String| complain(problem));
            return ExitCode::from(USAGE);
        }
    };
    match trunkline_store::migrate(url.expose()) {
        Ok(done) if done.from == done.to => {
            say(&format!("the tables at {} have version {}, the newest that this program knows", done.server, done.to));
            OK
        }
        Ok(done) => {
            say(&format!("the tables at {} are at version {} now (before: {})", done.server, done.to, done.from));
            OK
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

//! One file a command; each turns arguments into work and work into an exit status.

pub mod check;
pub mod demo;
pub mod http;
pub mod reach;
pub mod run;
pub mod shard;
pub mod sim;
pub mod status;
pub mod store;
pub mod worker;

use std::path::Path;
use std::process::ExitCode;

use crate::cli::ConfigArgs;
use crate::config::Sources;

/// Success.
pub const OK: ExitCode = ExitCode::SUCCESS;

/// Exit status for bad arguments or configuration, the one clap uses as well.
pub const USAGE: u8 = 2;

/// Exit status when every bot failed for good.
pub const BOTS_FAILED: u8 = 3;

/// Writes one line on standard error: a plain one, or a JSON one where the log is JSON.
#[allow(clippy::print_stderr, reason = "the command line's own voice")]
pub fn complain(text: &str) {
    use std::io::Write as _;
    let line = crate::logging::json_line("ERROR", text).unwrap_or_else(|| format!("trunkline: {text}"));
    // Nobody may be there to read it (`2>&1 | head`).
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Writes one line on standard output.
#[allow(clippy::print_stdout, reason = "the command line's own voice")]
pub fn say(text: &str) {
    use std::io::Write as _;
    // A closed pipe (`trunkline status | head`) is the reader's choice.
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// Collects the layers of the configuration from arguments, file and process environment.
///
/// # Errors
/// A text when the named file cannot be read.
pub fn sources(args: &ConfigArgs) -> Result<Sources, String> {
    let file = file(args.config.as_deref())?;
    let flags = [
        ("discord.api", &args.api, "--api"),
        ("listen.clients", &args.clients, "--clients"),
        ("listen.admin", &args.admin, "--admin"),
        ("store.path", &args.store, "--store"),
        ("discord.encoding", &args.encoding, "--encoding"),
        ("discord.compress", &args.compress, "--compress"),
        ("log.level", &args.log, "--log"),
        ("log.format", &args.log_format, "--log-format"),
    ];
    Ok(Sources {
        file,
        environment: environment(),
        flags: flags.into_iter().filter_map(|(path, value, flag)| Some((path.to_owned(), value.clone()?, flag.to_owned()))).collect(),
        without_bots: false,
    })
}

/// The configuration file, by name for messages and as text: the one named, else `./trunkline.toml` where there is one.
fn file(config: Option<&Path>) -> Result<Option<(String, String)>, String> {
    match config {
        Some(path) => read(path).map(Some).map_err(|error| format!("cannot read the configuration file {}: {error}", path.display())),
        None => match read(Path::new("trunkline.toml")) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("trunkline.toml is here but cannot be read: {error}")),
        },
    }
}

fn environment() -> Vec<(String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

fn read(path: &Path) -> std::io::Result<(String, String)> {
    Ok((path.display().to_string(), std::fs::read_to_string(path)?))
}

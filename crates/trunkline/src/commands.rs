//! One file a command; each turns arguments into work and work into an exit status.

pub mod check;
pub mod demo;
pub mod http;
pub mod run;
pub mod shard;
pub mod sim;
pub mod status;
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

/// Writes one plain line on standard error.
#[allow(clippy::print_stderr, reason = "the command line's own voice")]
pub fn complain(text: &str) {
    eprintln!("trunkline: {text}");
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
    let file = match &args.config {
        Some(path) => Some(read(path).map_err(|error| format!("cannot read the configuration file {}: {error}", path.display()))?),
        None => match read(Path::new("trunkline.toml")) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(format!("trunkline.toml is here but cannot be read: {error}")),
        },
    };
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
        environment: std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect(),
        flags: flags.into_iter().filter_map(|(path, value, flag)| Some((path.to_owned(), value.clone()?, flag.to_owned()))).collect(),
    })
}

fn read(path: &Path) -> std::io::Result<(String, String)> {
    Ok((path.display().to_string(), std::fs::read_to_string(path)?))
}

//! Programs in Python that tests run: clients and libraries that owe nothing to our own files.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// The Python that `scripts/tools` has installed with what these programs need (grpcio-tools, discord.py).
///
/// # Panics
/// There is none: it says how to get one.
#[must_use]
pub fn interpreter() -> PathBuf {
    let path = std::env::var_os("TESTBED_PYTHON").map(PathBuf::from).unwrap_or_else(|| {
        let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
        let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from);
        std::env::var_os("TESTBED_TOOLS").map_or_else(|| cache.join("trunkline-tools"), PathBuf::from).join("python/bin/python")
    });
    assert!(path.exists(), "no Python at {}: `scripts/test` installs it with what it needs (or set TESTBED_PYTHON)", path.display());
    path
}

/// A program of this crate's `python` folder: what it says is read by the test, it reads nothing, and it ends when the test does.
#[must_use]
pub fn program(name: &str) -> Command {
    let mut command = Command::new(interpreter());
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

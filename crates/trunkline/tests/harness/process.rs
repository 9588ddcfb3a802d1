//! The real binary as one process, read by what it says: its log lines, its exit status, its ports.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{binary, nonce, signal};

/// How long a test waits for something that should come, on a machine that others use as well.
pub const PATIENCE: Duration = Duration::from_secs(25);

pub struct Process {
    child: Child,
    log: PathBuf,
    out: PathBuf,
}

impl Process {
    /// Starts `trunkline` with these arguments in `dir`; its output goes to files there.
    pub fn start(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Process {
        let mut command = binary();
        command.args(args).envs(env.iter().copied());
        Process::spawn(dir, command)
    }

    /// The same with a command of the test's own.
    pub fn spawn(dir: &Path, mut command: Command) -> Process {
        let (log, out) = (dir.join(format!("log-{:x}", nonce())), dir.join(format!("out-{:x}", nonce())));
        let child = command
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&out).expect("an output file"))
            .stderr(std::fs::File::create(&log).expect("a log file"))
            .spawn()
            .expect("the binary starts");
        Process { child, log, out }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything on standard error so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Everything on standard output so far.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.out).unwrap_or_default()).into_owned()
    }

    /// Waits for a whole line on standard error that holds `text`; answers it.
    pub async fn says(&mut self, text: &str) -> String {
        self.says_within(text, PATIENCE).await
    }

    pub async fn says_within(&mut self, text: &str, patience: Duration) -> String {
        let began = Instant::now();
        loop {
            let ended = self.child.try_wait().expect("waiting works");
            let log = self.log();
            let whole = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
            if let Some(line) = whole.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            assert!(ended.is_none(), "ended with {ended:?} without saying {text:?}:\n{log}");
            assert!(began.elapsed() < patience, "did not say {text:?} within {patience:?}:\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How many lines on standard error hold `text`.
    pub fn said(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// Where clients connect and where metrics are, as the log says.
    pub async fn ports(&mut self) -> (SocketAddr, SocketAddr) {
        let line = self.says("clients connect to ").await;
        let after = |mark: &str| line.split(mark).nth(1).and_then(|rest| rest.split([' ', '"']).next()).and_then(|word| word.parse().ok());
        (after("clients connect to ").expect("an address"), after("status are on http://").expect("an address"))
    }

    /// Waits for the end by itself; answers the exit status (128 + n for signal n).
    pub async fn ended(&mut self) -> i32 {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("waiting works") {
                use std::os::unix::process::ExitStatusExt as _;
                return status.code().or_else(|| status.signal().map(|signal| 128 + signal)).expect("an exit status");
            }
            assert!(began.elapsed() < PATIENCE, "still running after {PATIENCE:?}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Still alive?
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("waiting works").is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended already is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

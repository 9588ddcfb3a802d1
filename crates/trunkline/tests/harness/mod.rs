//! A whole world for a test: a simulated Discord, the real binary as a process of its own, and workers that account for every event.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "each test file uses its part; tests drive, and tell what they saw"
)]

pub mod process;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use trunkline::accounting::{Ledger, Verdict, compare};
use trunkline::commands::demo::note;
use trunkline_doors::client::{Done, Received, WorkerClient, WorkerOptions};
use trunkline_sim::{BotConfig, Config, Report, Sim, SimHandle};
use trunkline_wire::trunkline::worker::v1::PayloadFormat;

/// What the test's worker groups are called; tokens differ from run to run.
pub const GROUP: &str = "g";
pub const IDLE_GROUP: &str = "idle";

pub struct World {
    pub sim: SimHandle,
    pub dir: tempfile::TempDir,
    pub clients: SocketAddr,
    pub admin: SocketAddr,
    pub token: String,
    /// Tokens of further bots.
    pub more_tokens: Vec<String>,
    pub group_token: String,
    pub child: Option<Child>,
    pub seed: u64,
    /// Settings by environment, for what has its place in a table of the file that is written already.
    pub env: Vec<(&'static str, &'static str)>,
    /// A PostgreSQL database instead of the embedded store.
    pub store_url: Option<String>,
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

pub fn nonce() -> u64 {
    u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos() & u128::from(u64::MAX))
        .unwrap_or(1)
}

pub fn token() -> String {
    format!("dGVzdA.{:x}.never-a-real-token", nonce())
}

pub fn seed() -> u64 {
    std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| nonce() % 1_000_000)
}

pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    // Nothing of the machine's own settings may reach a test.
    for (name, _) in std::env::vars() {
        if name.starts_with("TRUNKLINE_") || name == "DISCORD_TOKEN" {
            command.env_remove(name);
        }
    }
    command
}

impl World {
    /// A simulated Discord with this configuration (token, seed and address are set here) and a node that is not started yet.
    pub async fn new(config: Config) -> World {
        World::with_bots(config, 1).await
    }

    /// The same with so many bots.
    pub async fn with_bots(mut config: Config, bots: usize) -> World {
        let seed = seed();
        eprintln!("seed={seed} (SEED={seed} repeats this run)");
        let mut tokens: Vec<_> = (0..bots).map(|bot| format!("{}{bot}", token())).collect();
        config.bots = tokens.iter().map(|token| BotConfig::new(token)).collect();
        let token = tokens.remove(0);
        config.seed = seed;
        let sim = Sim::start(config).await.expect("the simulated Discord starts");
        let dir = tempfile::tempdir().expect("a folder");
        World {
            sim,
            dir,
            clients: SocketAddr::from(([127, 0, 0, 1], free_port())),
            admin: SocketAddr::from(([127, 0, 0, 1], free_port())),
            token,
            more_tokens: tokens,
            group_token: format!("group-{:x}", nonce()),
            child: None,
            seed,
            env: Vec::new(),
            store_url: None,
        }
    }

    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// What the node has logged so far, over all its starts.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub fn write_config(&self, extra: &str) -> PathBuf {
        let path = self.dir.path().join("trunkline.toml");
        let store = match &self.store_url {
            Some(url) => format!("url = \"{url}\""),
            None => format!("path = \"{}\"", self.store().display()),
        };
        let mut text = format!(
            "[discord]\napi = \"{}\"\n[listen]\nclients = \"{}\"\nadmin = \"{}\"\n[store]\n{store}\n{extra}\n[[bots]]\ntoken = \"{}\"\n[[groups]]\nname = \"{GROUP}\"\ntoken = \"{}\"\n[[groups]]\nname = \"{IDLE_GROUP}\"\ntoken = \"{}\"\nevents = [\"MESSAGE_CREATE\"]\n",
            self.sim.api_url(),
            self.clients,
            self.admin,
            self.token,
            self.group_token,
            self.group_token,
        );
        for token in &self.more_tokens {
            text.push_str(&format!("[[bots]]\ntoken = \"{token}\"\n"));
        }
        std::fs::write(&path, text).expect("the configuration is written");
        path
    }

    /// Starts the node as a process; its log goes to a file.
    pub fn start(&mut self, extra: &str) {
        let config = self.write_config(extra);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("a log file");
        let child = binary()
            .args(["run", "--config"])
            .arg(config)
            .args(["--log", "info"])
            .envs(self.env.iter().copied())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        self.child = Some(child);
    }

    /// Waits until every shard has been ready.
    pub async fn ready(&mut self) {
        self.ready_within(Duration::from_secs(60)).await;
    }

    pub async fn ready_within(&mut self, patience: Duration) {
        let began = Instant::now();
        loop {
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                panic!("the node ended by itself with {status}:\n{}", self.log_text());
            }
            if get(self.admin, "/readyz").await.is_some_and(|(code, _)| code == 200) {
                return;
            }
            assert!(began.elapsed() < patience, "not ready after {patience:?}:\n{}", self.log_text());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// SIGTERM, and waits for the end; answers how long it took.
    pub async fn terminate(&mut self) -> Duration {
        let began = Instant::now();
        let child = self.child.as_mut().expect("running");
        signal(child.id(), "TERM");
        loop {
            if let Some(status) = child.try_wait().expect("waiting works") {
                assert!(
                    status.success(),
                    "the stop failed with {status}:\n{}",
                    std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
                );
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "the stop takes for ever");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.child = None;
        began.elapsed()
    }

    /// Waits until the node has ended by itself; answers its exit status.
    pub async fn ended_within(&mut self, patience: Duration) -> i32 {
        let began = Instant::now();
        let child = self.child.as_mut().expect("running");
        let status = loop {
            if let Some(status) = child.try_wait().expect("waiting works") {
                break status;
            }
            assert!(began.elapsed() < patience, "the node has not ended after {patience:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        self.child = None;
        status.code().unwrap_or(-1)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a process of ours can be killed");
            child.wait().expect("waiting works");
        }
    }

    /// One number from `/metrics`, labels as written there; summed over samples that contain `labels`.
    pub async fn metric(&self, name: &str, labels: &str) -> f64 {
        let (_, text) = get(self.admin, "/metrics").await.expect("metrics answer");
        text.lines()
            .filter(|line| line.starts_with(name) && line.contains(labels) && line[name.len()..].starts_with(['{', ' ']))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Pauses the traffic, waits until `ledger` has everything or `patience` is over, and compares.
    pub async fn settle(&self, board: &Board, patience: Duration, wanted: fn(&str) -> bool) -> (Verdict, Report) {
        self.sim.pause();
        let began = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let (sent, report) = (self.sim.sent(), self.sim.report());
            let verdict = compare(&sent, &report, &board.lock().expect("no worker panicked"), wanted);
            if verdict.lost == 0 || began.elapsed() > patience {
                return (verdict, report);
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log_text();
            let tail: Vec<_> = log.lines().rev().take(60).collect();
            eprintln!("seed={} — the node's log ends:", self.seed);
            for line in tail.into_iter().rev() {
                eprintln!("  {line}");
            }
        }
    }
}

pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().expect("kill runs");
    assert!(status.success(), "no signal to {pid}");
}

/// A tiny HTTP GET.
pub async fn get(addr: SocketAddr, path: &str) -> Option<(u16, String)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut socket = tokio::net::TcpStream::connect(addr).await.ok()?;
    socket.write_all(format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut answer)).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let code = text.split(' ').nth(1)?.parse().ok()?;
    Some((code, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}

/// What a group's workers received; one lock for all of them keeps the order of delivery.
pub type Board = Arc<Mutex<Ledger>>;

/// How a worker is to behave; everything but who it is has a default.
pub struct Wish<'a> {
    pub group: &'a str,
    pub id: &'a str,
    /// Where it connects; none: the node itself.
    pub at: Option<SocketAddr>,
    /// Where it notes what it receives. The first is noted in first.
    pub boards: Vec<Board>,
    /// What it takes for one event, in microseconds; may change while it runs.
    pub pace_us: Arc<AtomicU64>,
}

impl<'a> Wish<'a> {
    pub fn new(group: &'a str, id: &'a str, board: &Board) -> Wish<'a> {
        Wish { group, id, at: None, boards: vec![board.clone()], pace_us: Arc::default() }
    }
}

/// A worker of a group in a task of its own; drop or abort it and its stream breaks.
pub struct Worker {
    pub task: tokio::task::JoinHandle<()>,
    pub drain: tokio::sync::mpsc::Sender<()>,
}

impl Worker {
    pub fn spawn(world: &World, group: &str, id: &str, board: &Board) -> Worker {
        Worker::wished(world, Wish::new(group, id, board))
    }

    pub fn wished(world: &World, wish: Wish<'_>) -> Worker {
        let address = wish.at.unwrap_or(world.clients).to_string();
        let mut options = WorkerOptions::new(&address, wish.group, &world.group_token, wish.id);
        options.payload = PayloadFormat::RawEtf;
        options.extended = true;
        options.done = Done::WithNext;
        let (boards, pace_us) = (wish.boards, wish.pace_us);
        let (drain, mut drains) = tokio::sync::mpsc::channel(1);
        let task = tokio::spawn(async move {
            loop {
                // The server may not listen yet, or may be between two lives.
                let Ok(mut client) = WorkerClient::connect(options.clone()).await else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                loop {
                    let received = tokio::select! {
                        received = client.next() => received,
                        Some(()) = drains.recv() => { client.drain().await; continue }
                    };
                    match received {
                        Some(Received::Event(envelope)) => {
                            let now_us =
                                u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_micros())
                                    .expect("fits");
                            for board in &boards {
                                note(&mut board.lock().expect("no worker panicked"), &envelope, now_us);
                            }
                            let pace = pace_us.load(Ordering::Relaxed);
                            if pace > 0 {
                                tokio::time::sleep(Duration::from_micros(pace)).await;
                            }
                        }
                        Some(Received::Joined { .. } | Received::Lost { .. }) => {}
                        Some(Received::Closed { .. }) => return,
                        None => break,
                    }
                }
                options.last_sequence = client.last_done();
            }
        });
        Worker { task, drain }
    }

    /// Dies without a word: the connection is dropped, nothing is acknowledged.
    pub fn die(self) {
        self.task.abort();
    }

    pub async fn drained(self) {
        self.drain.send(()).await.expect("the worker lives");
        tokio::time::timeout(Duration::from_secs(20), self.task).await.expect("the drain ends").expect("the worker did not panic");
    }
}

/// Runs the binary to its end; answers exit status, standard output and standard error.
pub fn run(args: &[&str], env: &[(&str, &str)], dir: &Path) -> (i32, String, String) {
    let output = binary().args(args).envs(env.iter().copied()).current_dir(dir).stdin(Stdio::null()).output().expect("the binary runs");
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// A line between a worker and the node that can be cut without either end being told: nothing moves any more, nothing is closed.
pub struct Line {
    pub at: SocketAddr,
    cut: tokio::sync::watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Line {
    pub async fn to(node: SocketAddr) -> Line {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let (cut, is_cut) = tokio::sync::watch::channel(false);
        let task = tokio::spawn(async move {
            let mut lines = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let mut is_cut = is_cut.clone();
                lines.spawn(async move {
                    let Ok(mut far) = tokio::net::TcpStream::connect(node).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        cut = async { is_cut.wait_for(|cut| *cut).await.is_ok() } => if cut { std::future::pending().await },
                    }
                });
            }
        });
        Line { at, cut, task }
    }

    pub fn cut(&self) {
        self.cut.send_replace(true);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

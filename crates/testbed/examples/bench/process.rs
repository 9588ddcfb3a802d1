//! Processes of a bench: started with nothing of the machine's settings, watched through `/proc`, ended with the bench.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;

/// Ends with the bench, however that ends.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Process {
    /// Clock ticks of CPU time so far.
    pub(crate) fn ticks(&self) -> Result<u64> {
        ticks(&self.0.id().to_string())
    }

    /// Resident bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/PID/status")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1_024)
    }
}

/// The kernel's clock ticks a second, as it tells user space on every Linux.
pub(crate) const TICKS_PER_SECOND: f64 = 100.0;

/// Clock ticks of CPU time of a process so far; `self` is this one.
pub(crate) fn ticks(process: &str) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    // utime and stime are fields 14 and 15; the name in brackets is the second.
    let field = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok()).ok_or("an unknown form of /proc/PID/stat");
    Ok(field(11)? + field(12)?)
}

/// A worker that takes all events of the group `bench` as raw ETF.
pub(crate) struct Worker {
    pub(crate) process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    /// What it has seen so far.
    pub(crate) fn ask(&mut self) -> Result<Value> {
        self.input.write_all(b"?\n")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.is_empty() {
            return Err("the worker ended".into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

pub(crate) fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or(0)
}

pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

pub(crate) fn http(address: SocketAddr, request: &str) -> Result<Value> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(format!("{request} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    Ok(serde_json::from_str(body).unwrap_or(Value::Null))
}

pub(crate) fn until<T>(patience: Duration, what: &str, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(Some(done)) => return Ok(done),
            Ok(None) if began.elapsed() > patience => return Err(format!("{what}: not within {} s", patience.as_secs()).into()),
            Err(error) if began.elapsed() > patience => return Err(format!("{what}: {error}").into()),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// The machine's other settings must not reach the processes.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars() {
        if name.starts_with("TRUNKLINE_") || name == "DISCORD_TOKEN" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// How long a process may take to come up. The first identify waits 5 s, as nothing is known of earlier ones.
pub(crate) const START: Duration = Duration::from_secs(60);

const TOKEN: &str = "YmVuY2g.bench.never-a-real-token";
pub(crate) const GROUP_TOKEN: &str = "bench-group-token";

/// What is played on a [`Stage`].
pub(crate) struct Play<'a> {
    pub(crate) shards: u64,
    pub(crate) guilds: u64,
    pub(crate) members: u64,
    /// Events a second.
    pub(crate) rate: u64,
    /// More lines of the group `bench`.
    pub(crate) group: &'a str,
}

/// A simulated Discord and a node, each a process.
pub(crate) struct Stage {
    // Ends first: it would complain of a Discord that is gone.
    pub(crate) node: Process,
    pub(crate) sim: Process,
    pub(crate) discord: SocketAddr,
    pub(crate) clients: SocketAddr,
    _scratch: tempfile::TempDir,
}

impl Stage {
    /// Starts both; the node has not identified yet.
    pub(crate) fn open(trunkline: &Path, play: &Play<'_>) -> Result<Stage> {
        let scratch = tempfile::tempdir()?;
        let (discord, clients, admin) = (free_address()?, free_address()?, free_address()?);
        let mut sim = command(trunkline);
        sim.args(["sim", "--listen", &discord.to_string(), "--token", TOKEN, "--shards", &play.shards.to_string()]);
        sim.args(["--max-concurrency", &play.shards.to_string(), "--guilds", &play.guilds.to_string()]);
        sim.args(["--members", &play.members.to_string(), "--rate", &play.rate.to_string(), "--seed", "7", "--log", "warn"]);
        let sim = Process(sim.spawn()?);
        until(START, "the simulated Discord answers", || http(discord, "GET /sim/state").map(Some))?;
        let config = scratch.path().join("trunkline.toml");
        let text = format!(
            "[discord]\napi = \"http://{discord}/api/v10\"\n[listen]\nclients = \"{clients}\"\nadmin = \"{admin}\"\n[store]\npath = \"{}\"\n[log]\nlevel = \"warn\"\n[[bots]]\ntoken = \"{TOKEN}\"\n[[groups]]\nname = \"bench\"\ntoken = \"{GROUP_TOKEN}\"\n{}\n",
            scratch.path().join("store").display(),
            play.group
        );
        std::fs::write(&config, text)?;
        let mut node = command(trunkline);
        node.arg("run").arg("--config").arg(&config);
        let node = Process(node.spawn()?);
        until(START, "the node listens", || Ok(Some(TcpStream::connect(clients)?)))?;
        Ok(Stage { sim, node, discord, clients, _scratch: scratch })
    }

    /// A worker of the group `bench`.
    pub(crate) fn worker(&self) -> Result<Worker> {
        let mut process = command(&std::env::current_exe()?);
        process.args(["worker", &self.clients.to_string(), "bench", GROUP_TOKEN]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process(process.spawn()?);
        let (Some(input), Some(output)) = (process.0.stdin.take(), process.0.stdout.take()) else { return Err("no pipes".into()) };
        Ok(Worker { process, input, output: BufReader::new(output) })
    }
}

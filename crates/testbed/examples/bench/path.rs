//! The whole path: `trunkline sim`, `trunkline run` and one worker, each a process, on two cores.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::table::{Binding, Table};
use crate::{Form, RATE, Result};

/// What is offered when the most is asked for: more than is carried, so that the path is never idle.
const OFFERED: u64 = 2 * RATE;
const SHARDS: u64 = 4;
/// The first identify waits 5 s, as nothing is known of earlier ones.
const START: Duration = Duration::from_secs(40);
/// How long what is under way may take to arrive after the traffic's end.
const SETTLE: Duration = Duration::from_secs(60);
/// What startup leaves to be done when the first event has come.
const WARM: Duration = Duration::from_millis(1_500);

const GROUP_TOKEN: &str = "bench-group-token";

/// What one run showed.
struct Run {
    per_second: f64,
    /// Microseconds of CPU per event: simulator, node, worker.
    cpu_us: [f64; 3],
    sent: u64,
    received: u64,
    repeated: u64,
    gaps: u64,
    latency_us: [u64; 2],
    complaints: u64,
    body_bytes: f64,
}

/// Adds the rows of the whole path.
pub(crate) fn measure(form: Form, trunkline: &Path, table: &mut Table) -> Result<()> {
    let most = run(trunkline, OFFERED, form.seconds)?;
    let half = run(trunkline, RATE / 2, form.seconds)?;
    let one = |text: String| [text];
    let carried = most.per_second >= RATE as f64;
    table.target(
        "whole path, two cores, raw ETF, as much as it takes",
        &one(format!("{:.0} /s", most.per_second)),
        &format!(">= {RATE} /s"),
        carried,
        Binding::FullForm,
    );
    table.row("    body of an event", &one(format!("{:.0} B", most.body_bytes)));
    for (run, of) in [(&most, "at that rate"), (&half, "at half of the target rate")] {
        for (process, cpu_us) in ["simulator", "node", "worker"].iter().zip(run.cpu_us) {
            table.row(&format!("    CPU per event {of}, {process}"), &one(format!("{cpu_us:.1} us")));
        }
        let lost = run.sent.saturating_sub(run.received);
        let good = lost == 0 && run.gaps == 0 && run.complaints == 0;
        let figures = one(format!("{lost}"));
        let what = format!("    lost of {} {of} ({} repeated, {} gaps, {} objections)", run.sent, run.repeated, run.gaps, run.complaints);
        table.target(&what, &figures, "0", good, Binding::Always);
    }
    let kept_up = half.per_second >= RATE as f64 / 2.0 * 0.95;
    table.target(
        "half of the target rate, as it arrived",
        &one(format!("{:.0} /s", half.per_second)),
        &format!(">= {} /s", RATE / 2 * 95 / 100),
        kept_up,
        Binding::FullForm,
    );
    table.row("    socket to worker, median", &one(format!("{} us", half.latency_us[0])));
    table.row("    socket to worker, 99th percentile", &one(format!("{} us", half.latency_us[1])));
    Ok(())
}

/// Ends with the bench, however that ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Process {
    /// Clock ticks of CPU time so far.
    fn ticks(&self) -> Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let fields: Vec<&str> = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        // utime and stime are fields 14 and 15; the name in brackets is the second.
        let field = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok()).ok_or("an unknown form of /proc/PID/stat");
        Ok(field(11)? + field(12)?)
    }
}

/// The kernel's clock ticks a second, as it tells user space on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

struct Worker {
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn ask(&mut self) -> Result<Value> {
        self.input.write_all(b"?\n")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.is_empty() {
            return Err("the worker ended".into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or(0)
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn http(address: SocketAddr, request: &str) -> Result<Value> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(format!("{request} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    Ok(serde_json::from_str(body).unwrap_or(Value::Null))
}

fn until<T>(patience: Duration, what: &str, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
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
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars() {
        if name.starts_with("TRUNKLINE_") || name == "DISCORD_TOKEN" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn run(trunkline: &Path, rate: u64, seconds: u64) -> Result<Run> {
    let scratch = tempfile::tempdir()?;
    let (discord, clients, admin) = (free_address()?, free_address()?, free_address()?);
    let token = "YmVuY2g.bench.never-a-real-token";
    let mut sim = command(trunkline);
    sim.args(["sim", "--listen", &discord.to_string(), "--token", token, "--shards", &SHARDS.to_string()]);
    sim.args(["--max-concurrency", &SHARDS.to_string(), "--guilds", "400", "--members", "50"]);
    sim.args(["--rate", &rate.to_string(), "--seed", "7", "--log", "warn"]);
    let sim = Process(sim.spawn()?);
    until(START, "the simulated Discord answers", || http(discord, "GET /sim/state").map(Some))?;

    let config = scratch.path().join("trunkline.toml");
    let text = format!(
        "[discord]\napi = \"http://{discord}/api/v10\"\n[listen]\nclients = \"{clients}\"\nadmin = \"{admin}\"\n[store]\npath = \"{}\"\n[log]\nlevel = \"warn\"\n[[bots]]\ntoken = \"{token}\"\n[[groups]]\nname = \"bench\"\ntoken = \"{GROUP_TOKEN}\"\n",
        scratch.path().join("store").display()
    );
    std::fs::write(&config, text)?;
    let mut node = command(trunkline);
    node.arg("run").arg("--config").arg(&config);
    let node = Process(node.spawn()?);
    until(START, "the node listens", || Ok(Some(TcpStream::connect(clients)?)))?;

    let mut process = command(&std::env::current_exe()?);
    process.args(["worker", &clients.to_string(), "bench", GROUP_TOKEN]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = Process(process.spawn()?);
    let (Some(input), Some(output)) = (process.0.stdin.take(), process.0.stdout.take()) else { return Err("no pipes".into()) };
    let mut worker = Worker { process, input, output: BufReader::new(output) };

    // Every guild has come, and some traffic after them.
    until(START, "events arrive", || Ok((number(&worker.ask()?, "received") > 1_000).then_some(())))?;
    std::thread::sleep(WARM);
    let ticks = |worker: &Worker| -> Result<[u64; 3]> { Ok([sim.ticks()?, node.ticks()?, worker.process.ticks()?]) };
    let (before, ticks_before) = (worker.ask()?, ticks(&worker)?);
    std::thread::sleep(Duration::from_secs(seconds));
    let (after, ticks_after) = (worker.ask()?, ticks(&worker)?);

    http(discord, "POST /sim/pause")?;
    let mut last = (0, Instant::now());
    let (report, end) = until(SETTLE, "all that was sent arrives", || {
        let (report, end) = (http(discord, "GET /sim/report")?, worker.ask()?);
        let (sent, received) = (sent(&report), number(&end, "received"));
        if received != last.0 {
            last = (received, Instant::now());
        }
        // What does not come for so long does not come at all.
        let over = (received >= sent && last.1.elapsed() > Duration::from_millis(300)) || last.1.elapsed() > Duration::from_secs(8);
        Ok(over.then_some((report, end)))
    })?;

    let events = (number(&after, "received") - number(&before, "received")) as f64;
    let took_us = (number(&after, "at_us") - number(&before, "at_us")) as f64;
    let cpu_us = [0, 1, 2].map(|i| (ticks_after[i] - ticks_before[i]) as f64 / TICKS_PER_SECOND * 1e6 / events.max(1.0));
    Ok(Run {
        per_second: events / took_us * 1e6,
        cpu_us,
        sent: sent(&report),
        received: number(&end, "received"),
        repeated: number(&end, "repeated"),
        gaps: number(&end, "gaps"),
        latency_us: [number(&after, "latency_us_p50"), number(&after, "latency_us_p99")],
        complaints: number(&report, "client_faults_total"),
        body_bytes: (number(&after, "body_bytes") - number(&before, "body_bytes")) as f64 / events.max(1.0),
    })
}

/// Every dispatch of every session, READY included.
fn sent(report: &Value) -> u64 {
    report["sessions"].as_array().map(|sessions| sessions.iter().map(|session| number(session, "last_s")).sum()).unwrap_or(0)
}

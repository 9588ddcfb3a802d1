//! The whole path: `trunkline sim`, `trunkline run` and one worker, each a process, on two cores.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{Play, START, Stage, TICKS_PER_SECOND, Worker, http, number, until};
use crate::table::{Binding, Table};
use crate::{Form, RATE, Result};

/// What is offered when the most is asked for: more than is carried, so that the path is never idle.
const OFFERED: u64 = 2 * RATE;
const SHARDS: u64 = 4;
/// How long what is under way may take to arrive after the traffic's end.
const SETTLE: Duration = Duration::from_secs(60);
/// What startup leaves to be done when the first event has come.
const WARM: Duration = Duration::from_millis(1_500);

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

fn run(trunkline: &Path, rate: u64, seconds: u64) -> Result<Run> {
    let stage = Stage::open(trunkline, &Play { shards: SHARDS, guilds: 400, members: 50, rate, group: "" })?;
    let (sim, node, discord) = (&stage.sim, &stage.node, stage.discord);
    let mut worker = stage.worker()?;

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

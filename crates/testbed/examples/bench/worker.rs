//! The worker process of the whole path: takes raw ETF, counts, and answers a line on standard input with what it has seen.

use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

use serde_json::json;
use trunkline_doors::client::{Received, WorkerClient, WorkerOptions};
use trunkline_wire::pylon::discord::v1::event::EventEnvelope;
use trunkline_wire::pylon::discord::v1::event::event_envelope::EventData;
use trunkline_wire::trunkline::worker::v1::PayloadFormat;

use crate::Result;

/// What has come of one session of a shard.
#[derive(Default)]
struct Sequence {
    /// All up to here has come.
    through: u64,
    /// What has come above a hole.
    beyond: BTreeSet<u64>,
}

impl Sequence {
    /// Whether it is new.
    fn note(&mut self, s: u64) -> bool {
        if s <= self.through {
            return false;
        }
        if s > self.through + 1 {
            return self.beyond.insert(s);
        }
        self.through = s;
        while self.beyond.remove(&(self.through + 1)) {
            self.through += 1;
        }
        true
    }
}

#[derive(Default)]
struct Board {
    received: u64,
    repeated: u64,
    gaps: u64,
    body_bytes: u64,
    sequences: HashMap<(u32, u64), Sequence>,
    /// Since the last question, in microseconds.
    latencies: Vec<u32>,
}

impl Board {
    fn event(&mut self, envelope: &EventEnvelope) {
        if let Some(EventData::GapEvent(_)) = &envelope.event_data {
            self.gaps += 1;
            return;
        }
        if let Some(EventData::RawEvent(raw)) = &envelope.event_data {
            self.body_bytes += raw.bytes.len() as u64;
        }
        let Some(header) = &envelope.header else { return };
        let new = self.sequences.entry((header.shard_id, header.session)).or_default().note(header.discord_sequence);
        self.received += u64::from(new);
        self.repeated += u64::from(!new);
        if let Some(at) = &header.received_at {
            let received_us = u64::try_from(at.seconds).unwrap_or(0) * 1_000_000 + u64::try_from(at.nanos / 1_000).unwrap_or(0);
            self.latencies.push(u32::try_from(now_us().saturating_sub(received_us)).unwrap_or(u32::MAX));
        }
    }

    fn answer(&mut self) -> String {
        self.latencies.sort_unstable();
        let at = |share: f64| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index below the length")]
            let index = (self.latencies.len() as f64 * share) as usize;
            self.latencies.get(index.min(self.latencies.len().saturating_sub(1))).copied().unwrap_or(0)
        };
        let answer = json!({
            "received": self.received, "repeated": self.repeated, "gaps": self.gaps, "sessions": self.sequences.len(), "body_bytes": self.body_bytes, "at_us": now_us(),
            "latency_us_p50": at(0.50), "latency_us_p99": at(0.99),
        });
        self.latencies.clear();
        answer.to_string()
    }
}

fn now_us() -> u64 {
    u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros()).unwrap_or(0)
}

/// Runs until standard input ends.
pub(crate) fn run(address: &str, group: &str, token: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut options = WorkerOptions::new(address, group, token, "bench");
        options.payload = PayloadFormat::RawEtf;
        options.extended = true;
        let mut client = WorkerClient::connect(options).await?;
        let (asked, mut questions) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            // Ends with the input, or with a worker that has ended.
            while let Some(Ok(_)) = std::io::stdin().lines().next()
                && asked.send(()).is_ok()
            {}
        });
        let mut board = Board::default();
        loop {
            tokio::select! {
                biased;
                question = questions.recv() => match question {
                    Some(()) => println!("{}", board.answer()),
                    None => return Ok(()),
                },
                received = client.next() => match received {
                    Some(Received::Event(envelope)) => board.event(&envelope),
                    Some(Received::Joined { .. }) => {}
                    Some(Received::Lost { why } | Received::Closed { why, .. }) => return Err(why.into()),
                    None => return Err("the stream ended".into()),
                },
            }
        }
    })
}

//! `trunkline worker`: a consumer that prints, for people and for pipes.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::value::RawValue;
use trunkline_discord::EventKind;
use trunkline_doors::client::{ClientError, Done, Received, WorkerClient, WorkerOptions};
use trunkline_wire::pylon::discord::v1::event::EventEnvelope;
use trunkline_wire::pylon::discord::v1::event::event_envelope::{EventData, HeaderData};
use trunkline_wire::trunkline::event::v1::GapEvent;
use trunkline_wire::trunkline::worker::v1::{EventFilter, PayloadFormat};

use super::reach::Reach;
use super::{OK, USAGE, complain, http};
use crate::cli::WorkerArgs;
use crate::logging;

/// How often a server that cannot be reached is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Prints events until a signal, `--count`, or a refusal.
#[must_use]
pub fn worker(args: &WorkerArgs) -> ExitCode {
    if let Err(text) = logging::start(&args.log, false) {
        complain(&text);
        return ExitCode::from(USAGE);
    }
    if let Some(name) = args.filter.iter().find(|name| EventKind::from_name(&name.trim().to_ascii_uppercase()) == EventKind::Unknown) {
        // What the filter leaves out is acknowledged unseen: a typing error would throw the group's events away.
        complain(&format!("--filter {name}: there is no such event; write it as Discord does, for example MESSAGE_CREATE"));
        return ExitCode::from(USAGE);
    }
    let target = match target(args) {
        Ok(target) => target,
        Err(text) => {
            complain(&text);
            return ExitCode::from(USAGE);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("the runtime did not start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(consume(args, &target))
}

/// Where to go, and as what.
struct Target {
    address: String,
    group: String,
    token: String,
}

fn target(args: &WorkerArgs) -> Result<Target, String> {
    let reach = Reach::read(args.config.as_deref())?;
    let group = reach.group(args.group.as_deref())?;
    Ok(Target { address: reach.clients(args.addr.as_deref()), token: token(args, &reach, &group)?, group })
}

/// The token: by flag or environment, from the file named, as the configuration says, or from the store of a process on this machine.
fn token(args: &WorkerArgs, reach: &Reach, group: &str) -> Result<String, String> {
    if let Some(token) = &args.token {
        return Ok(token.trim().to_owned());
    }
    if let Some(path) = &args.token_file {
        let read = std::fs::read_to_string(path);
        return read.map(|text| text.trim().to_owned()).map_err(|error| format!("cannot read {}: {error}", path.display()));
    }
    // A store named by hand is another process's than the file's.
    if args.store.is_none()
        && let Some(token) = reach.token(group)?
    {
        return Ok(token);
    }
    let path = reach.store(args.store.as_deref()).join(format!("{group}.token"));
    std::fs::read_to_string(&path).map(|text| text.trim().to_owned()).map_err(|_| {
        format!(
            "no token for group {group}: there is no {}; start `trunkline run` here first, or give --store, --token-file or --token",
            path.display()
        )
    })
}

/// What is to be said when the stream cannot be had because something else is at that address; trying again would not help.
async fn wrong_port(address: &str, why: &str) -> Option<String> {
    let strange = why.contains("HTTP status code 404") || why.contains("protocol error");
    if strange && http::is_admin(address).await {
        return Some(format!(
            "{address} is trunkline's admin port; a worker connects to the clients' port (listen.clients, 127.0.0.1:4000 by default): give \
             that with --addr"
        ));
    }
    strange.then(|| {
        format!("what answers at {address} does not speak the worker stream ({why}); is it trunkline's clients' port (listen.clients)?")
    })
}

fn options(args: &WorkerArgs, target: &Target) -> WorkerOptions {
    let id = args.id.clone().unwrap_or_else(|| format!("printer-{}", std::process::id()));
    let mut options = WorkerOptions::new(&target.address, &target.group, &target.token, &id);
    options.payload = PayloadFormat::RawJson;
    options.extended = true;
    options.done = Done::WithNext;
    options.reconnect = !args.once;
    options.max_message_bytes = 64 << 20;
    if !args.filter.is_empty() {
        let events = args.filter.iter().map(|name| name.trim().to_ascii_uppercase()).collect();
        options.filter = Some(EventFilter { events, ..EventFilter::default() });
    }
    options
}

async fn consume(args: &WorkerArgs, target: &Target) -> ExitCode {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            complain(&format!("signals cannot be caught: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let mut client = loop {
        match WorkerClient::connect(options(args, target)).await {
            Ok(client) => break client,
            Err(error) => {
                if let ClientError::Refused { why, .. } = &error
                    && let Some(text) = wrong_port(&target.address, why).await
                {
                    complain(&text);
                    return ExitCode::FAILURE;
                }
                if args.once {
                    complain(&error.to_string());
                    return ExitCode::FAILURE;
                }
                complain(&format!("{error}; trying again"));
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    _ = tokio::signal::ctrl_c() => return OK,
                    _ = terminate.recv() => return OK,
                }
            }
        }
    };
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let mut seen = 0_u64;
    loop {
        let received = tokio::select! {
            biased;
            received = client.next() => received,
            _ = tokio::signal::ctrl_c() => { client.drain().await; break },
            _ = terminate.recv() => { client.drain().await; break },
            // Nothing waits: what was printed should be seen.
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                if out.flush().is_err() { break }
                continue;
            }
        };
        match received {
            Some(Received::Joined { .. }) => tracing::info!("joined group {} at {}", target.group, target.address),
            Some(Received::Event(envelope)) => {
                let printed = if args.json { print_json(&mut out, &envelope) } else { print_line(&mut out, &envelope) };
                if printed.is_err() {
                    // The reader of our output has gone.
                    break;
                }
                seen += 1;
                if args.count.is_some_and(|count| seen >= count) {
                    if let Some(header) = &envelope.header {
                        client.done(header.seq);
                    }
                    client.drain().await;
                    break;
                }
            }
            Some(Received::Lost { why }) => tracing::warn!("the stream was lost ({why}); connecting again"),
            Some(Received::Closed { reason, why }) => {
                drop(out.flush());
                if reason.is_none()
                    && let Some(text) = wrong_port(&target.address, &why).await
                {
                    complain(&text);
                    return ExitCode::FAILURE;
                }
                let reason = reason.map(|reason| reason.as_str_name()).unwrap_or_default();
                complain(&format!("the server closed the stream: {reason} {why}"));
                return ExitCode::FAILURE;
            }
            None => break,
        }
    }
    drop(out.flush());
    // Lets the drain or the last acknowledgement leave.
    let farewell = async { while client.next().await.is_some() {} };
    drop(tokio::time::timeout(Duration::from_secs(2), farewell).await);
    OK
}

/// `12:03:44.120 MESSAGE_CREATE bot 80351110224678912 shard 3 s 812 guild 41771983423143937 1.2 kB {"id":…`
fn print_line(out: &mut impl std::io::Write, envelope: &EventEnvelope) -> std::io::Result<()> {
    let header = envelope.header.clone().unwrap_or_default();
    write!(out, "{} ", clock(&header))?;
    match &envelope.event_data {
        Some(EventData::GapEvent(gap)) => return writeln!(out, "GAP bot {} shard {}: {}", gap.bot_id, gap.shard_id, gap_words(gap)),
        Some(EventData::RawEvent(raw)) => {
            write!(out, "{:<28} bot {} shard {:<3} s {:<8}", raw.name, header.bot_id, header.shard_id, header.discord_sequence)?;
            if header.guild_id != 0 {
                write!(out, " guild {}", header.guild_id)?;
            }
            let text = String::from_utf8_lossy(&raw.bytes);
            let short: String = text.chars().take(100).collect();
            write!(out, " {} B {short}{}", raw.bytes.len(), if short.len() < text.len() { "…" } else { "" })?;
        }
        _ => write!(out, "{} (no payload)", header.event_name)?,
    }
    writeln!(out, "{}", if header.redelivered { " [redelivered]" } else { "" })
}

fn gap_words(gap: &GapEvent) -> String {
    let range = match (gap.first_sequence, gap.last_sequence) {
        (Some(first), Some(last)) => format!("events {first} to {last} of session {}", gap.session),
        (Some(first), None) => format!("everything from {first} of session {} to the next session", gap.session),
        _ => format!("an unknown stretch of session {}", gap.session),
    };
    format!("{range} cannot be delivered ({})", gap.cause().as_str_name().trim_start_matches("CAUSE_").to_ascii_lowercase())
}

fn clock(header: &HeaderData) -> String {
    let at = header.received_at.unwrap_or_default();
    let of_day = at.seconds.rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}.{:03}", of_day / 3_600, of_day % 3_600 / 60, of_day % 60, at.nanos / 1_000_000)
}

#[derive(serde::Serialize)]
struct Line<'a> {
    event: &'a str,
    bot_id: String,
    shard_id: u32,
    shard_count: u32,
    session: u64,
    s: u64,
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    guild_id: Option<String>,
    redelivered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<GapLine>,
}

#[derive(serde::Serialize)]
struct GapLine {
    first_s: Option<u64>,
    last_s: Option<u64>,
    events: Option<u64>,
    cause: String,
}

fn print_json(out: &mut impl std::io::Write, envelope: &EventEnvelope) -> std::io::Result<()> {
    let header = envelope.header.clone().unwrap_or_default();
    let mut line = Line {
        event: &header.event_name,
        bot_id: header.bot_id.to_string(),
        shard_id: header.shard_id,
        shard_count: header.shard_count,
        session: header.session,
        s: header.discord_sequence,
        seq: header.seq,
        guild_id: (header.guild_id != 0).then(|| header.guild_id.to_string()),
        redelivered: header.redelivered,
        data: None,
        gap: None,
    };
    match &envelope.event_data {
        Some(EventData::GapEvent(gap)) => {
            line.event = "GAP";
            line.bot_id = gap.bot_id.to_string();
            line.shard_id = gap.shard_id;
            line.shard_count = gap.shard_count;
            line.session = gap.session;
            let cause = gap.cause().as_str_name().trim_start_matches("CAUSE_").to_ascii_lowercase();
            line.gap = Some(GapLine { first_s: gap.first_sequence, last_s: gap.last_sequence, events: gap.events, cause });
        }
        Some(EventData::RawEvent(raw)) => {
            line.event = &raw.name;
            line.data = std::str::from_utf8(&raw.bytes).ok().and_then(|text| serde_json::from_str(text).ok());
        }
        _ => {}
    }
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

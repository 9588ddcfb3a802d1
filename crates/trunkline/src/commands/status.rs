//! `trunkline status`: how a running process stands, readable at a glance.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::{OK, complain, http, say};
use crate::cli::AdminArgs;
use crate::roles::status::{BotStatus, Status};

/// Prints the status.
#[must_use]
pub fn status(args: &AdminArgs) -> ExitCode {
    match super::reach::Reach::read(args.config.as_deref()).and_then(|reach| fetch(&reach.admin(args.admin.as_deref()))) {
        Ok((text, status)) => {
            say(if args.json { text.trim_end().to_owned() } else { show(&status) }.trim_end());
            OK
        }
        Err(text) => {
            complain(&text);
            ExitCode::FAILURE
        }
    }
}

/// Asks a running process for its status; as text and typed.
///
/// # Errors
/// One plain line that says what to do.
pub fn fetch(admin: &str) -> Result<(String, Status), String> {
    let (code, body) = http::ask(admin, hyper::Method::GET, "/status")?;
    let text = String::from_utf8_lossy(&body).into_owned();
    match serde_json::from_str(&text) {
        Ok(status) if code == 200 => Ok((text, status)),
        _ => Err(format!("what answers at {admin} is not trunkline's admin port (HTTP {code}); see listen.admin")),
    }
}

/// The status as a person reads it.
#[must_use]
pub fn show(status: &Status) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    writeln!(out, "trunkline {} · pid {} · up {}", status.version, status.pid, age(status.uptime_ms)).ok();
    for bot in &status.bots {
        writeln!(out).ok();
        show_bot(&mut out, bot, &status.admin_flag, status.bots.len() > 1);
    }
    writeln!(
        out,
        "\n{:<20} {:>7} {:>9} {:>10} {:>10} {:>8} {:>9} {:>11} {:>6}",
        "GROUP", "WORKERS", "HELD", "MEMORY", "DISK", "OLDEST", "IN FLIGHT", "ACKED", "GAPS"
    )
    .ok();
    for group in &status.groups {
        writeln!(
            out,
            "{:<20} {:>7} {:>9} {:>10} {:>10} {:>8} {:>9} {:>11} {:>6}",
            group.name,
            group.workers,
            group.entries,
            bytes(group.memory_bytes),
            bytes(group.disk_bytes),
            age(group.oldest_age_ms),
            group.in_flight,
            group.acked,
            group.gaps.values().sum::<u64>()
        )
        .ok();
        if group.workers == 0 && group.entries > 0 {
            writeln!(
                out,
                "  nobody consumes {}: its events wait; connect a worker (`trunkline worker --group {}{}`)",
                group.name, group.name, status.addr_flag
            )
            .ok();
        }
    }
    let failing = if status.store.failing { " · FAILING: checkpoints cannot be written, see the log" } else { "" };
    writeln!(
        out,
        "\nstore {} · {} · last checkpoint {} ago{failing}",
        status.store.path,
        bytes(status.store.bytes),
        age(status.store.checkpoint_age_ms)
    )
    .ok();
    out
}

/// `admin`: what a command needs to find this process. `several`: it has to say which bot it means.
fn show_bot(out: &mut String, bot: &BotStatus, admin: &str, several: bool) {
    let id = bot.id.as_deref().unwrap_or("?");
    writeln!(out, "BOT {} ({id})", bot.name).ok();
    if let Some(failed) = &bot.failed {
        writeln!(out, "  failed for good: {failed}").ok();
    }
    if let Some(waiting) = &bot.waiting {
        writeln!(
            out,
            "  cannot start for {} (since {}): {}; it is tried again until it works",
            age(waiting.for_ms),
            time_of_day(waiting.since_unix_ms),
            waiting.why
        )
        .ok();
    }
    if let Some(view) = &bot.identify {
        write!(
            out,
            "  identifies: {} of {} left today, {} kept in reserve, {} at a time",
            view.remaining, view.total, view.reserve, view.max_concurrency
        )
        .ok();
        let waiting = view.waiting.len();
        let waits = match view.blocked.as_deref() {
            Some("reserve") => {
                let which = if several { format!(" --bot {id}") } else { String::new() };
                format!("; {waiting} shards WAIT for the reserve: `trunkline shard identify --use-reserve{which}{admin}`")
            }
            Some(_) => format!("; {waiting} shards WAIT: the day's identifies are spent"),
            None if waiting > 0 => format!("; {waiting} shards wait their turn"),
            None => String::new(),
        };
        out.push_str(&waits);
        writeln!(out).ok();
    }
    writeln!(
        out,
        "  {:>6} {:<12} {:>8} {:>10} {:>11} {:>7} {:>9} {:>9} {:>9}",
        "SHARD", "STATE", "SESSION", "S", "EVENTS", "GUILDS", "CACHE", "BEAT", "RESUMES"
    )
    .ok();
    for shard in &bot.shards {
        writeln!(
            out,
            "  {:>6} {:<12} {:>8} {:>10} {:>11} {:>7} {:>9} {:>9} {:>9}",
            format!("{}/{}", shard.index, shard.count),
            shard.state,
            shard.session,
            shard.s,
            shard.events,
            shard.guilds,
            bytes(shard.cache_bytes),
            if shard.beat_rtt_us == 0 { "-".to_owned() } else { format!("{} ms", shard.beat_rtt_us.div_ceil(1_000)) },
            shard.resumes
        )
        .ok();
        if let Some(why) = &shard.why {
            writeln!(out, "         {why}").ok();
        }
    }
}

/// `21:50:02 UTC`: moments within a day or so are meant.
#[must_use]
pub fn time_of_day(unix_ms: u64) -> String {
    let s = unix_ms / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02} UTC", s / 3_600, s % 3_600 / 60, s % 60)
}

/// `1.2 MiB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let mut value = n as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// `250ms`, `3.2s`, `5m 10s`, `2h 5m`, `3d 4h`.
#[must_use]
pub fn age(ms: u64) -> String {
    let s = ms / 1_000;
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{s}.{}s", ms % 1_000 / 100),
        60_000..3_600_000 => format!("{}m {}s", s / 60, s % 60),
        3_600_000..86_400_000 => format!("{}h {}m", s / 3_600, s % 3_600 / 60),
        _ => format!("{}d {}h", s / 86_400, s % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_short() {
        assert_eq!(bytes(12), "12 B");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
        assert_eq!(age(40), "40ms");
        assert_eq!(age(3_250), "3.2s");
        assert_eq!(age(310_000), "5m 10s");
        assert_eq!(age(7_500_000), "2h 5m");
    }
}

//! Faults on demand: their names, their targets, and the schedule's grammar.
//!
//! A schedule is a list of `TIME KIND[=VALUE] [all | shard=N | bot=N …] [for=DURATION] [count=N] [every=DURATION]`, separated by `;` or
//! line ends, for example `10s drop shard=3; 20s op9false all; 30s close=4000; 5s stall for=2s every=10s`.

use std::time::Duration;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The TCP connection is reset without a close frame.
    Drop,
    /// Nothing is sent for a time, acknowledgements included.
    Stall,
    /// Neither read nor written for a time, TCP stays up; then reset.
    HalfOpen,
    /// Op 7.
    Reconnect,
    /// Op 9 with `true`.
    InvalidResumable,
    /// Op 9 with `false`; the session is gone.
    Invalid,
    /// A close frame with this code.
    Close(u16),
    /// New connections get their HELLO late, for a time.
    LateHello,
    /// Heartbeats are not acknowledged for a time.
    NoAcks,
    /// The last `count` events again, with their old `s`.
    Duplicate,
    /// `s` jumps by `count`.
    Skip,
    /// The next frame's bytes are damaged.
    Corrupt,
    /// Bytes trickle for a time (about 2 kB per second each way).
    Slow,
    /// A message that is no payload.
    Garbage,
    /// A small message that inflates to 256 MiB.
    Bomb,
    /// A payload nested 100 000 deep.
    Deep,
    /// New connections are refused for a time.
    Refuse,
    /// READY comes late, for a time.
    SlowReady,
    /// Guilds become unavailable (GUILD_DELETE) and after a time come back (GUILD_CREATE).
    Outage,
    /// The server asks for a heartbeat (op 1).
    BeatRequest,
    /// An op code and then an event that no documentation knows.
    Unknown,
}

impl FaultKind {
    /// The name in schedules, control requests and the report.
    pub fn name(self) -> String {
        match self {
            FaultKind::Close(code) => format!("close={code}"),
            other => NAMES.iter().find(|(_, kind)| *kind == other).map_or("", |(name, _)| name).to_string(),
        }
    }

    /// The fault with this name; `close=4000` names its code.
    pub fn from_name(name: &str) -> Option<FaultKind> {
        if let Some(code) = name.strip_prefix("close=") {
            let code = code.parse().ok().filter(|code| (1000..5000).contains(code) && ![1005, 1006, 1015].contains(code));
            return code.map(FaultKind::Close);
        }
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }
}

const NAMES: &[(&str, FaultKind)] = &[
    ("drop", FaultKind::Drop),
    ("stall", FaultKind::Stall),
    ("half-open", FaultKind::HalfOpen),
    ("op7", FaultKind::Reconnect),
    ("op9true", FaultKind::InvalidResumable),
    ("op9false", FaultKind::Invalid),
    ("late-hello", FaultKind::LateHello),
    ("no-acks", FaultKind::NoAcks),
    ("duplicate", FaultKind::Duplicate),
    ("skip", FaultKind::Skip),
    ("corrupt", FaultKind::Corrupt),
    ("slow", FaultKind::Slow),
    ("garbage", FaultKind::Garbage),
    ("bomb", FaultKind::Bomb),
    ("deep", FaultKind::Deep),
    ("refuse", FaultKind::Refuse),
    ("slow-ready", FaultKind::SlowReady),
    ("outage", FaultKind::Outage),
    ("op1", FaultKind::BeatRequest),
    ("unknown", FaultKind::Unknown),
];

/// Why `name` is no fault, with what can be written instead.
pub(crate) fn unknown(name: &str) -> String {
    if name == "close" || name.starts_with("close=") {
        return format!("unknown kind \"{name}\": a close wants a code from 1000 to 4999 that may be sent, for example close=4000");
    }
    let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    let near = crate::nearest::nearest(name, known.iter().copied().chain(["close=CODE"])).unwrap_or("drop");
    format!("unknown kind \"{name}\"; known are {}, close=CODE; nearest is {near}", known.join(", "))
}

/// One fault with its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Only sessions with this shard index; None: all.
    pub shard: Option<u32>,
    /// Only the bot with this number (0 is the first token); None: all.
    pub bot: Option<usize>,
    /// How long a lasting fault lasts. Default 5 s.
    pub lasts: Duration,
    /// Events of `duplicate` and `skip`. Default 3.
    pub count: u32,
}

impl Fault {
    /// The fault for all shards of all bots.
    pub fn new(kind: FaultKind) -> Fault {
        Fault { kind, shard: None, bot: None, lasts: Duration::from_secs(5), count: 3 }
    }

    /// The same for one shard index.
    pub fn on_shard(mut self, shard: u32) -> Fault {
        self.shard = Some(shard);
        self
    }

    /// The same, lasting this long.
    pub fn lasting(mut self, lasts: Duration) -> Fault {
        self.lasts = lasts;
        self
    }
}

/// A fault at a time after the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// When.
    pub at: Duration,
    /// And again after each of these.
    pub every: Option<Duration>,
    /// What.
    pub fault: Fault,
}

/// Reads a schedule. The error names the entry and what is wrong with it.
pub fn parse_schedule(text: &str) -> Result<Vec<Planned>, String> {
    let mut plan = Vec::new();
    for entry in text.split([';', '\n']) {
        let entry = entry.split('#').next().unwrap_or("").trim();
        if entry.is_empty() {
            continue;
        }
        let wrong = |what: String| format!("fault \"{entry}\": {what}");
        let mut words = entry.split_whitespace();
        let at = words.next().unwrap_or("");
        let at = parse_duration(at).ok_or_else(|| wrong(format!("\"{at}\" is no time; write for example 10s or 1500ms")))?;
        let name = words.next().ok_or_else(|| wrong("a kind is missing after the time".into()))?;
        let kind = FaultKind::from_name(name).ok_or_else(|| wrong(unknown(name)))?;
        let mut planned = Planned { at, every: None, fault: Fault::new(kind) };
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let bad = || wrong(format!("\"{word}\" is not understood; write all, shard=N, bot=N, for=TIME, count=N or every=TIME"));
            match key {
                "all" => {}
                "shard" => planned.fault.shard = Some(value.parse().map_err(|_| bad())?),
                "bot" => planned.fault.bot = Some(value.parse().map_err(|_| bad())?),
                "count" => planned.fault.count = value.parse().map_err(|_| bad())?,
                "for" => planned.fault.lasts = parse_duration(value).ok_or_else(bad)?,
                "every" => planned.every = Some(parse_duration(value).filter(|every| !every.is_zero()).ok_or_else(bad)?),
                _ => return Err(bad()),
            }
        }
        plan.push(planned);
    }
    Ok(plan)
}

/// `250ms`, `10s`, `3m`, `1h`, or plain seconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit_ms) = if let Some(number) = text.strip_suffix("ms") {
        (number, 1.0)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, 1000.0)
    } else if let Some(number) = text.strip_suffix('m') {
        (number, 60_000.0)
    } else if let Some(number) = text.strip_suffix('h') {
        (number, 3_600_000.0)
    } else {
        (text, 1000.0)
    };
    let value: f64 = number.parse().ok().filter(|value: &f64| value.is_finite() && (0.0..=1e9).contains(value))?;
    Some(Duration::from_micros((value * unit_ms * 1000.0) as u64))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_read_entry_by_entry() {
        let plan =
            parse_schedule("10s drop shard=3; 20s op9false all\n1500ms close=4000 bot=1 every=2m # often\n3s stall for=250ms").unwrap();
        assert_eq!(plan.len(), 4);
        assert_eq!(plan[0].fault, Fault::new(FaultKind::Drop).on_shard(3));
        assert_eq!(plan[1].fault.kind, FaultKind::Invalid);
        assert_eq!((plan[2].at, plan[2].every), (Duration::from_millis(1500), Some(Duration::from_secs(120))));
        assert_eq!(plan[2].fault.kind, FaultKind::Close(4000));
        assert_eq!(plan[3].fault.lasts, Duration::from_millis(250));
    }

    #[test]
    fn a_wrong_entry_is_named_with_what_can_be_written() {
        assert_eq!(parse_schedule("soon drop").unwrap_err(), "fault \"soon drop\": \"soon\" is no time; write for example 10s or 1500ms");
        assert!(parse_schedule("1s explode").unwrap_err().contains("unknown kind \"explode\"; known are drop, stall"));
        assert!(parse_schedule("1s drop shard=x").unwrap_err().contains("\"shard=x\" is not understood"));
        assert!(parse_schedule("1s close=1006").unwrap_err().contains("unknown kind"));
    }
}

//! Beside the peers: parsing, applying and holding the same world and the same events as the best-known Rust libraries do.
//!
//! Resident memory is measured in a process of its own for each side, which reads the world from a file, so that nothing of the generator
//! lies between the objects. Both sides have the system's allocator.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use trunkline_cache::{Cache, CacheConfig, Change, Kind, Users};
use trunkline_discord::{Encoding, Envelope, EventKind, Fields, Routing};
use trunkline_etf::{ETF_VERSION, Limits, Value, transcode};
use trunkline_sim::Mix;
use trunkline_testbed::world::{World, etf};
use twilight_cache_inmemory::{DefaultInMemoryCache, InMemoryCache, ResourceType};
use twilight_gateway::{EventTypeFlags, parse};
use twilight_model::gateway::event::{Event as TwilightEvent, GatewayEvent};

use crate::stream::{Best, PIECE};
use crate::table::{Binding, Table};
use crate::{Form, Result, corpus};

/// Resident bytes per membership at most this part of the peer's.
const MEMORY_TIMES: f64 = 3.0;
/// Applying one event, at least so much faster than the peer's `update` alone.
const APPLY_TIMES: f64 = 2.0;
/// A GUILD_CREATE of 300 members from bytes to applied, against parse and update.
const GUILD_TIMES: f64 = 4.0;
/// Decoding and routing an event, against the peer's parse.
const DECODE_TIMES: f64 = 10.0;

/// What a child process keeps.
const CONFIGURATIONS: [&str; 2] = ["every", "members"];

/// How often the world is held by each side. Of each guild the best time counts, as of every piece in the other parts: each goes into a cache
/// once, so that whatever else the machine does in that moment would count for it.
const HOLD_ROUNDS: usize = 3;

/// What the child processes of one side measured.
#[derive(Default)]
struct Held {
    bytes_per_membership: f64,
    guilds: Best,
    guild_us: f64,
}

/// The world in files, as each side reads it.
pub(crate) struct Worlds {
    pub(crate) world: World,
    pub(crate) etf: PathBuf,
    json: PathBuf,
    _folder: tempfile::TempDir,
}

impl Worlds {
    pub(crate) fn write(form: Form) -> Result<Worlds> {
        let world = World::of_guilds(if form.short { 100 } else { 2_000 });
        let folder = tempfile::tempdir()?;
        let (etf, json) = (folder.path().join("world.etf"), folder.path().join("world.json"));
        write_world(&world, &etf, &json)?;
        Ok(Worlds { world, etf, json, _folder: folder })
    }
}

/// Adds the rows of the peers.
pub(crate) fn measure(form: Form, worlds: &Worlds, table: &mut Table) -> Result<()> {
    events(form, table)?;
    let world = &worlds.world;
    let mut held = Vec::new();
    for configuration in CONFIGURATIONS {
        let mut pair: [Held; 2] = Default::default();
        for _ in 0..HOLD_ROUNDS {
            pair[0].note("ours", configuration, &worlds.etf, world)?;
            pair[1].note("twilight", configuration, &worlds.json, world)?;
        }
        held.push(pair);
    }
    let headline = format!("world: {} guilds, {} memberships; every kind, then members and users only", world.guilds, world.memberships());
    table.row(&headline, &[]);
    let column = |side: usize, figure: &dyn Fn(&Held) -> String| held.iter().map(|pair| figure(&pair[side])).collect::<Vec<_>>();
    let bytes = |held: &Held| format!("{:.0} B", held.bytes_per_membership);
    table.row("  resident bytes per membership", &column(0, &bytes));
    table.row("  twilight-cache-inmemory: the same", &column(1, &bytes));
    let ratios = |of: &dyn Fn(&Held) -> f64| held.iter().map(|[ours, theirs]| of(theirs) / of(ours)).collect::<Vec<_>>();
    verdict(table, "  times less", &ratios(&|held| held.bytes_per_membership), MEMORY_TIMES, Binding::FullForm);
    let us = |held: &Held| format!("{:.0} us", held.guild_us);
    table.row("  GUILD_CREATE, bytes to applied", &column(0, &us));
    table.row("  twilight: parse and update", &column(1, &us));
    verdict(table, "  times faster", &ratios(&|held| held.guild_us), GUILD_TIMES, Binding::FullForm);
    Ok(())
}

fn verdict(table: &mut Table, what: &str, ratios: &[f64], least: f64, binding: Binding) {
    let met = ratios.iter().all(|ratio| *ratio >= least);
    table.target(what, &ratios.iter().map(|ratio| format!("{ratio:.2}x")).collect::<Vec<_>>(), &format!(">= {least}x"), met, binding);
}

/// One event after the other: parse against decode, update against apply.
fn events(form: Form, table: &mut Table) -> Result<()> {
    let mut columns: [Vec<f64>; 6] = Default::default();
    let mut skipped = Vec::new();
    for mix in [Mix::Steady, Mix::Presence] {
        let (start, frames) = corpus::record_with_start(mix, form.events)?;
        let texts = frames.iter().map(|frame| text_of(frame)).collect::<Result<Vec<_>>>()?;
        let parsed: Vec<Option<TwilightEvent>> = texts.iter().map(|text| dispatch(text.clone())).collect();
        skipped.push(parsed.iter().filter(|event| event.is_none()).count());
        let bodies = frames.iter().map(|frame| Decoded::of(frame)).collect::<Result<Vec<_>>>()?;
        // In pieces that were copied, decoded or parsed right before, as in a program that takes them from a socket: neither side reads its
        // input from memory that is long cold. Of each piece the best round counts.
        let mut bests: [Best; 4] = Default::default();
        let mut long_before = [f64::INFINITY; 2];
        for _ in 0..form.rounds.min(5) {
            for (nth, piece) in frames.chunks(PIECE).enumerate() {
                let copies = piece.to_vec();
                bests[0].note(nth, || {
                    for frame in &copies {
                        black_box(Envelope::decode_routed(Encoding::Etf, black_box(frame), &Limits::GATEWAY).expect("a sound event"));
                    }
                });
            }
            for (nth, piece) in texts.chunks(PIECE).enumerate() {
                // A String of its own for each is what the parser takes.
                let copies = piece.to_vec();
                bests[1].note(nth, || {
                    for text in copies {
                        drop(black_box(parse(text, EventTypeFlags::all())));
                    }
                });
            }
            let mut ours = fed(&start, CacheConfig::default())?;
            for (nth, piece) in frames.chunks(PIECE).enumerate() {
                let bodies = piece.iter().map(|frame| Decoded::of(frame)).collect::<Result<Vec<_>>>()?;
                bests[2].note(nth, || {
                    for event in &bodies {
                        black_box(event.apply(&mut ours));
                    }
                });
            }
            drop(ours);
            let theirs = fed_twilight(&start)?;
            for (nth, piece) in texts.chunks(PIECE).enumerate() {
                let parsed: Vec<Option<TwilightEvent>> = piece.iter().map(|text| dispatch(text.clone())).collect();
                bests[3].note(nth, || {
                    for event in parsed.iter().flatten() {
                        theirs.update(event);
                    }
                });
            }
            drop(theirs);
            let (mut ours, theirs) = (fed(&start, CacheConfig::default())?, fed_twilight(&start)?);
            note(&mut long_before[0], frames.len(), || {
                for event in &bodies {
                    black_box(event.apply(&mut ours));
                }
            });
            note(&mut long_before[1], frames.len(), || {
                for event in parsed.iter().flatten() {
                    theirs.update(event);
                }
            });
        }
        let figures = bests.iter().map(|best| best.per_event(frames.len())).chain(long_before);
        for (column, figure) in columns.iter_mut().zip(figures) {
            column.push(figure);
        }
    }
    let ns = |column: &[f64]| column.iter().map(|ns| format!("{ns:.0} ns")).collect::<Vec<_>>();
    let times = |of: usize, by: usize| columns[of].iter().zip(&columns[by]).map(|(of, by)| of / by).collect::<Vec<_>>();
    table.row("ETF: decode and route", &ns(&columns[0]));
    table.row("twilight-gateway: parse of the same events in JSON", &ns(&columns[1]));
    table.row("  events that it cannot parse", &skipped.iter().map(usize::to_string).collect::<Vec<_>>());
    // In the presence mix what is done once an event weighs more than its terms, and there is no target.
    table.row("  times faster, presence", &[String::new(), format!("{:.2}x", times(1, 0)[1])]);
    verdict(table, "  times faster, steady", &times(1, 0)[..1], DECODE_TIMES, Binding::FullForm);
    table.row("cache: apply, previous state included", &ns(&columns[2]));
    table.row("twilight-cache-inmemory: update alone", &ns(&columns[3]));
    verdict(table, "  times faster (steady binds)", &times(3, 2)[..1], APPLY_TIMES, Binding::FullForm);
    table.row("  the same in one go, of events that were decoded long before", &ns(&columns[4]));
    table.row("  update, the same", &ns(&columns[5]));
    let figures = times(5, 4).iter().map(|times| format!("{times:.2}x")).collect::<Vec<_>>();
    table.row("  times faster", &figures);
    Ok(())
}

fn note(best: &mut f64, events: usize, work: impl FnOnce()) {
    let began = Instant::now();
    work();
    *best = best.min(began.elapsed().as_nanos() as f64 / events as f64);
}

pub(crate) fn text_of(frame: &[u8]) -> Result<String> {
    let mut json = Vec::new();
    transcode(Value::parse(Encoding::Etf, frame, &Limits::GATEWAY)?, Encoding::Json, &mut json)?;
    Ok(String::from_utf8(json)?)
}

/// An event as decoding leaves it for the cache; the peer is given what its parser made, too.
pub(crate) struct Decoded<'a> {
    pub(crate) kind: EventKind,
    d: Value<'a>,
    fields: Fields<'a>,
    ids: Routing,
    body: Bytes,
}

impl<'a> Decoded<'a> {
    pub(crate) fn of(frame: &'a [u8]) -> Result<Decoded<'a>> {
        let mut fields = Fields::new(Encoding::Etf);
        let (envelope, ids) = Envelope::decode_fields(frame, &Limits::GATEWAY, &mut fields)?;
        let kind = EventKind::from_name(envelope.t.as_deref().unwrap_or_default());
        Ok(Decoded { kind, d: envelope.d, fields, ids, body: Bytes::copy_from_slice(envelope.d.raw()) })
    }

    pub(crate) fn apply(&self, cache: &mut Cache) -> Change {
        cache.expect(self.kind, self.ids);
        cache.apply_found(self.kind, self.d, &self.fields, self.ids, &self.body)
    }
}

pub(crate) fn body(frame: &[u8]) -> Result<(EventKind, Bytes)> {
    let envelope = Envelope::decode(Encoding::Etf, frame, &Limits::GATEWAY)?;
    let kind = EventKind::from_name(envelope.t.as_deref().unwrap_or_default());
    Ok((kind, Bytes::copy_from_slice(envelope.d.raw())))
}

pub(crate) fn fed(start: &[Vec<u8>], config: CacheConfig) -> Result<Cache> {
    let mut cache = Cache::new(config, Users::default());
    for frame in start {
        let (kind, body) = body(frame)?;
        black_box(cache.apply(kind, Value::from_raw(Encoding::Etf, &body), &body));
    }
    Ok(cache)
}

pub(crate) fn dispatch(text: String) -> Option<TwilightEvent> {
    match parse(text, EventTypeFlags::all()) {
        Ok(Some(GatewayEvent::Dispatch(_, event))) => Some(TwilightEvent::from(event)),
        _ => None,
    }
}

pub(crate) fn fed_twilight(start: &[Vec<u8>]) -> Result<DefaultInMemoryCache> {
    let cache = DefaultInMemoryCache::new();
    for frame in start {
        if let Some(event) = dispatch(text_of(frame)?) {
            cache.update(&event);
        }
    }
    Ok(cache)
}

/// The world's GUILD_CREATEs, each with its length in front: as ETF and as JSON messages.
fn write_world(world: &World, etf_file: &Path, json_file: &Path) -> Result<()> {
    let (mut etf_out, mut json_out) = (BufWriter::new(File::create(etf_file)?), BufWriter::new(File::create(json_file)?));
    for guild in 0..world.guilds {
        let body = world.guild_create(guild);
        let message = json!({ "t": "GUILD_CREATE", "s": guild + 2, "op": 0, "d": body });
        let packed = [&[ETF_VERSION][..], &etf(&message)].concat();
        etf_out.write_all(&u64::try_from(packed.len())?.to_le_bytes())?;
        etf_out.write_all(&packed)?;
        let text = serde_json::to_vec(&message)?;
        json_out.write_all(&u64::try_from(text.len())?.to_le_bytes())?;
        json_out.write_all(&text)?;
    }
    etf_out.flush()?;
    json_out.flush()?;
    Ok(())
}

impl Held {
    /// Has the world held once more, in a process of its own.
    fn note(&mut self, side: &str, configuration: &str, file: &Path, world: &World) -> Result<()> {
        let output = Command::new(std::env::current_exe()?).args(["hold", side, configuration]).arg(file).output()?;
        if !output.status.success() {
            return Err(format!("the process that holds the world failed: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let line: Json = serde_json::from_slice(&output.stdout)?;
        let unreadable = "the process that holds the world printed no figures";
        let each = line["guilds_ns"].as_array().filter(|each| each.len() == world.guilds as usize).ok_or(unreadable)?;
        for (guild, ns) in each.iter().enumerate() {
            self.guilds.took(guild, ns.as_f64().ok_or(unreadable)?);
        }
        self.guild_us = self.guilds.per_event(each.len()) / 1_000.0;
        self.bytes_per_membership = line["resident_bytes"].as_f64().ok_or(unreadable)? / world.memberships() as f64;
        Ok(())
    }
}

/// In a process of its own: holds the world of a file, and prints what that took.
pub(crate) fn hold(side: &str, configuration: &str, file: &str) -> Result<()> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(file)?);
    let mut frame = Vec::with_capacity(1 << 20);
    let members_only = configuration == "members";
    let before = resident_bytes()?;
    let mut took = Vec::with_capacity(4_096);
    let kept: Box<dyn std::any::Any>;
    match side {
        "ours" => {
            let off = Kind::ALL.into_iter().filter(|kind| members_only && !matches!(kind, Kind::Member | Kind::User | Kind::State));
            let mut cache = Cache::new(off.fold(CacheConfig::default(), |config, kind| config.without(kind)), Users::default());
            while next(&mut file, &mut frame)? {
                let began = Instant::now();
                let (envelope, _) = Envelope::decode_routed(Encoding::Etf, &frame, &Limits::GATEWAY)?;
                let body = Bytes::copy_from_slice(envelope.d.raw());
                black_box(cache.apply(EventKind::GuildCreate, envelope.d, &body));
                took.push(began.elapsed());
            }
            kept = Box::new(cache);
        }
        _ => {
            let mut builder = InMemoryCache::builder();
            if members_only {
                builder = builder.resource_types(ResourceType::MEMBER | ResourceType::USER);
            }
            let cache: DefaultInMemoryCache = builder.build();
            while next(&mut file, &mut frame)? {
                let began = Instant::now();
                let event = dispatch(String::from_utf8(frame.clone())?).ok_or("twilight cannot parse a guild of the world")?;
                cache.update(&event);
                drop(event);
                took.push(began.elapsed());
            }
            kept = Box::new(cache);
        }
    }
    let after = resident_bytes()?;
    let took = took.iter().map(|took| u64::try_from(took.as_nanos())).collect::<std::result::Result<Vec<_>, _>>()?;
    println!("{}", json!({ "resident_bytes": after.saturating_sub(before), "guilds_ns": took }));
    drop(black_box(kept));
    Ok(())
}

pub(crate) fn next(file: &mut impl Read, frame: &mut Vec<u8>) -> Result<bool> {
    let mut length = [0; 8];
    match file.read_exact(&mut length) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
        read => read?,
    }
    frame.clear();
    file.take(u64::from_le_bytes(length)).read_to_end(frame)?;
    Ok(true)
}

pub(crate) fn resident_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1_024)
}

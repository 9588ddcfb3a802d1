//! What an event costs in instructions, here and with the peers: for `scripts/instructions`, which runs this under callgrind.
//!
//! Whatever else the machine does leaves instructions alone; it does not leave times alone.

use std::hint::black_box;
use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use trunkline_cache::{Cache, CacheConfig, Users};
use trunkline_discord::{Encoding, Envelope, EventKind};
use trunkline_etf::{Limits, Value};
use trunkline_sim::Mix;
use twilight_cache_inmemory::DefaultInMemoryCache;
use twilight_gateway::{EventTypeFlags, parse};
use twilight_model::gateway::event::Event as TwilightEvent;

use crate::peers::Decoded;
use crate::stream::{START, frames};
use crate::{Result, corpus, peers, walk};

const EVENTS: usize = 2_000;

/// Writes the events of both mixes into files of this folder, each behind its length.
pub(crate) fn record(folder: &Path) -> Result<bool> {
    for (mix, name) in [(Mix::Steady, "steady"), (Mix::Presence, "presence")] {
        let (start, events) = corpus::record_with_start(mix, EVENTS)?;
        write(&folder.join(name), &events)?;
        write(&folder.join(format!("{name}{START}")), &start)?;
    }
    Ok(true)
}

fn write(path: &Path, frames: &[Vec<u8>]) -> Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for frame in frames {
        file.write_all(&u32::try_from(frame.len())?.to_le_bytes())?;
        file.write_all(frame)?;
    }
    Ok(file.flush()?)
}

/// Goes over the events of such a file once, in this way.
pub(crate) fn read(way: &str, file: &Path) -> Result<bool> {
    let events = frames(file)?;
    let start = || {
        let mut path = file.as_os_str().to_owned();
        path.push(START);
        frames(path.as_ref())
    };
    match way {
        "walk" => counted_walk(&events),
        "check" => counted_check(&events),
        "decode" => counted_decode(&events),
        "apply" => {
            let events = events.iter().map(|frame| Decoded::of(frame)).collect::<Result<Vec<_>>>()?;
            counted_apply(&mut peers::fed(&start()?, CacheConfig::default())?, &events);
        }
        "kinds" => {
            for (kind, count) in kinds(&events)? {
                println!("{kind} {count}");
            }
        }
        // One kind's part of "apply": the others are applied too, and not counted.
        way if way.starts_with("apply:") => {
            let mut cache = peers::fed(&start()?, CacheConfig::default())?;
            for event in events.iter().map(|frame| Decoded::of(frame)) {
                let event = event?;
                if way.ends_with(&format!(":{}", event.kind.name())) {
                    counted_apply(&mut cache, std::slice::from_ref(&event));
                } else {
                    black_box(event.apply(&mut cache));
                }
            }
        }
        "guilds" => counted_guilds(&start()?),
        "parse" => counted_parse(events.iter().map(|frame| peers::text_of(frame)).collect::<Result<Vec<_>>>()?),
        "update" => {
            let parsed = events.iter().map(|frame| Ok(peers::dispatch(peers::text_of(frame)?))).collect::<Result<Vec<_>>>()?;
            counted_update(&peers::fed_twilight(&start()?)?, &parsed);
        }
        "peerguilds" => counted_peerguilds(start()?.iter().map(|frame| peers::text_of(frame)).collect::<Result<Vec<_>>>()?),
        _ => return Err("ways: walk, check, decode, apply, apply:EVENT_NAME, guilds, kinds; parse, update, peerguilds".into()),
    }
    Ok(true)
}

/// How many events of each kind there are, the most frequent first.
fn kinds(events: &[Vec<u8>]) -> Result<Vec<(&'static str, usize)>> {
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for frame in events {
        *counts.entry(peers::body(frame)?.0.name()).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Ok(counts)
}

// The script tells callgrind to count inside of the functions of these names.

#[inline(never)]
fn counted_walk(frames: &[Vec<u8>]) {
    for frame in frames {
        black_box(walk::over(black_box(frame)).expect("a sound event"));
    }
}

#[inline(never)]
fn counted_check(frames: &[Vec<u8>]) {
    for frame in frames {
        black_box(Value::parse(Encoding::Etf, black_box(frame), &Limits::GATEWAY).expect("a sound event"));
    }
}

#[inline(never)]
fn counted_decode(frames: &[Vec<u8>]) {
    for frame in frames {
        black_box(Envelope::decode_routed(Encoding::Etf, black_box(frame), &Limits::GATEWAY).expect("a sound event"));
    }
}

#[inline(never)]
fn counted_apply(cache: &mut Cache, events: &[Decoded<'_>]) {
    for event in events {
        black_box(event.apply(cache));
    }
}

#[inline(never)]
fn counted_guilds(start: &[Vec<u8>]) {
    let mut cache = Cache::new(CacheConfig::default(), Users::default());
    for frame in start {
        let (envelope, _) = Envelope::decode_routed(Encoding::Etf, frame, &Limits::GATEWAY).expect("a sound event");
        let body = Bytes::copy_from_slice(envelope.d.raw());
        black_box(cache.apply(EventKind::from_name(envelope.t.as_deref().unwrap_or_default()), envelope.d, &body));
    }
    // Giving it all free is no part of the guilds' cost.
    std::mem::forget(cache);
}

#[inline(never)]
fn counted_parse(texts: Vec<String>) {
    for text in texts {
        drop(black_box(parse(text, EventTypeFlags::all())));
    }
}

#[inline(never)]
fn counted_update(cache: &DefaultInMemoryCache, events: &[Option<TwilightEvent>]) {
    for event in events.iter().flatten() {
        cache.update(event);
    }
}

#[inline(never)]
fn counted_peerguilds(start: Vec<String>) {
    let cache = DefaultInMemoryCache::new();
    for text in start {
        if let Some(event) = peers::dispatch(text) {
            cache.update(&event);
        }
    }
    std::mem::forget(cache);
}

//! Messages written anew, in the encoding of the event that changes them.

use bytes::Bytes;
use smallvec::SmallVec;
use trunkline_etf::{Encoding, EtfWriter, Ids, JsonWriter, Kind, TermWrite, Value};

use crate::Object;
use crate::message::Step;

/// One reaction that comes or goes. Discord docs, Gateway Events: Message Reaction Add.
#[derive(Clone, Copy)]
pub(crate) struct Reaction<'a> {
    pub(crate) emoji: Value<'a>,
    /// A super reaction; counted apart as well.
    pub(crate) burst: bool,
    /// The bot's own.
    pub(crate) own: bool,
    pub(crate) colors: Option<Value<'a>>,
}

/// A message with an update's values, but for `tts`, which an update always has as false (Discord docs, Gateway Events: Message Update).
/// `None`: nothing changes, or one of the two makes no sense.
pub(crate) fn updated(message: Value<'_>, update: Value<'_>) -> Option<Object> {
    match spliced(message, update, "tts") {
        Some(done) => done,
        None => merged_if(message, update, |key, _| key != "tts"),
    }
}

/// Entries that [`spliced`] takes: there is a bit for each.
const ENTRIES_MAX: usize = 128;
/// How often it looks for an entry that is not where it was expected.
const SEARCHES_MAX: usize = 16;

/// A message as ETF with the entries of an update in the place of its own, and new ones behind: what stays is copied as it lies. `None`: it
/// is left to [`merged_if`], since one is no ETF, has too many entries, or has them in a wild order.
fn spliced(message: Value<'_>, update: Value<'_>, leave_out: &str) -> Option<Option<Object>> {
    let map = |value: Value<'_>| value.encoding() == Encoding::Etf && value.kind() == Kind::Map && value.len() <= ENTRIES_MAX;
    if !map(message) || !map(update) {
        return None;
    }
    let same = |one: Value<'_>, other: Value<'_>| {
        one.raw() == other.raw() || one.as_bytes().is_some_and(|one| other.as_bytes().is_some_and(|other| one == other))
    };
    let known: SmallVec<[(Value<'_>, Value<'_>); 64]> = message.entries().collect();
    let mut changes = SmallVec::<[(usize, Value<'_>); 16]>::new();
    let mut added = SmallVec::<[(Value<'_>, Value<'_>); 8]>::new();
    let (mut next, mut seen, mut searches) = (0, 0u128, 0);
    for (key, value) in update.entries() {
        let at = match known.get(next) {
            Some((here, _)) if same(*here, key) => Some(next),
            _ => {
                searches += 1;
                known.iter().position(|(here, _)| same(*here, key))
            }
        };
        // Keys that are no text are none of Discord's.
        if searches > SEARCHES_MAX || !key.as_bytes().is_some_and(|name| name.is_ascii()) {
            return None;
        }
        if key.is_key(leave_out) {
            next = at.map_or(next, |at| at + 1);
            continue;
        }
        match at {
            Some(at) => {
                next = at + 1;
                if seen >> at & 1 == 0 && known.get(at)?.1.raw() != value.raw() {
                    changes.push((at, value));
                }
                seen |= 1 << at;
            }
            None if added.iter().any(|(other, _)| same(*other, key)) => {}
            None => added.push((key, value)),
        }
    }
    if changes.is_empty() && added.is_empty() {
        return Some(None);
    }
    changes.sort_unstable_by_key(|(at, _)| *at);
    let raw = message.raw();
    let offset = |part: Value<'_>| (part.raw().as_ptr() as usize).checked_sub(raw.as_ptr() as usize);
    let more: usize = changes.iter().map(|(_, value)| value.raw().len()).sum();
    let more: usize = more + added.iter().map(|(key, value)| key.raw().len() + value.raw().len()).sum::<usize>();
    let less: usize = changes.iter().filter_map(|(at, _)| Some(known.get(*at)?.1.raw().len())).sum();
    let mut out = Vec::with_capacity(raw.len() + more - less);
    out.extend_from_slice(&etf_head(known.len() + added.len()));
    let mut from = ETF_HEAD;
    for (at, value) in &changes {
        let old = known.get(*at)?.1;
        out.extend_from_slice(raw.get(from..offset(old)?)?);
        out.extend_from_slice(value.raw());
        from = offset(old)? + old.raw().len();
    }
    out.extend_from_slice(raw.get(from..)?);
    for (key, value) in &added {
        out.extend_from_slice(key.raw());
        out.extend_from_slice(value.raw());
    }
    Some(Some(Object { encoding: Encoding::Etf, bytes: Bytes::from(out) }))
}

/// Bytes of an ETF map in front of its entries.
const ETF_HEAD: usize = 5;

fn etf_head(entries: usize) -> [u8; ETF_HEAD] {
    let [a, b, c, d] = (entries as u32).to_be_bytes();
    [b't', a, b, c, d]
}

/// A message with another value under a key, or one more: what stays is copied as it lies, where it is ETF. `old` is what lies under the key.
fn with_value(
    message: Value<'_>,
    key: &str,
    old: Option<Value<'_>>,
    write: impl FnOnce(&mut dyn TermWrite, Option<Value<'_>>) -> Option<()>,
) -> Option<Object> {
    if message.encoding() != Encoding::Etf || message.kind() != Kind::Map {
        return written(message.encoding(), |out| write_with(out, Some(message), key, write));
    }
    let raw = message.raw();
    let mut new = EtfWriter::term().with_atom_keys().with_ids(Ids::Integers);
    let mut bytes;
    if let Some(old) = old {
        write(&mut new, Some(old))?;
        let (new, at) = (new.as_slice(), (old.raw().as_ptr() as usize).checked_sub(raw.as_ptr() as usize)?);
        bytes = Vec::with_capacity(raw.len() - old.raw().len() + new.len());
        bytes.extend_from_slice(raw.get(..at)?);
        bytes.extend_from_slice(new);
        bytes.extend_from_slice(raw.get(at + old.raw().len()..)?);
    } else {
        new.begin_map(1);
        new.key(key);
        write(&mut new, None)?;
        new.end_map();
        let entry = new.as_slice().get(ETF_HEAD..)?;
        bytes = Vec::with_capacity(raw.len() + entry.len());
        bytes.extend_from_slice(&etf_head(message.len() + 1));
        bytes.extend_from_slice(raw.get(ETF_HEAD..)?);
        bytes.extend_from_slice(entry);
    }
    Some(Object { encoding: Encoding::Etf, bytes: Bytes::from(bytes) })
}

/// `base` with those of `over`'s values that `wants` wants, in the encoding of `over`. `None`: one of the two makes no sense.
pub fn merged_if(base: Value<'_>, over: Value<'_>, wants: impl Fn(&str, Value<'_>) -> bool) -> Option<Object> {
    let over_entries = over.entries().filter_map(|(key, value)| Some((key.as_str()?, key, value, false)));
    let mut by_key: Vec<_> = over_entries.filter(|(name, _, value, _)| wants(name, *value)).collect();
    by_key.sort_by(|one, other| one.0.cmp(&other.0));
    written(over.encoding(), |out| {
        out.begin_map(base.len());
        for (key, value) in base.entries() {
            out.key_from(key).ok()?;
            let name = key.as_str();
            let newer = name.and_then(|name| by_key.binary_search_by(|entry| entry.0.cmp(&name)).ok()).and_then(|at| by_key.get_mut(at));
            let value = match newer {
                Some(entry) => {
                    entry.3 = true;
                    entry.2
                }
                None => value,
            };
            out.value(value).ok()?;
        }
        for (_, key, value, used) in &by_key {
            if !used {
                out.key_from(*key).ok()?;
                out.value(*value).ok()?;
            }
        }
        out.end_map();
        Some(())
    })
}

/// A message with one reaction more or less. `None`: nothing changes.
pub(crate) fn with_reaction(message: Value<'_>, reaction: Reaction<'_>, step: Step) -> Option<Object> {
    let flag = if reaction.burst { "me_burst" } else { "me" };
    let old = message.get("reactions");
    let known: SmallVec<[Value<'_>; 8]> = old.into_iter().flat_map(Value::items).collect();
    let same = |entry: &Value<'_>| entry.get("emoji").is_some_and(|emoji| same_emoji(emoji, reaction.emoji));
    let found = known.iter().find(|entry| same(entry));
    if let Some(entry) = found {
        // The bot has each reaction once at most: this one was told before.
        let has = entry.get(flag).and_then(Value::as_bool);
        if reaction.own && has == Some(step == Step::Up) {
            return None;
        }
    } else if step == Step::Down {
        return None;
    }
    let gone = |entry: &Value<'_>| same(entry) && step.of(count(*entry, "count")) == 0;
    if known.iter().all(gone) && found.is_some() {
        return without(message, &["reactions"]);
    }
    with_value(message, "reactions", old, |out, _| {
        out.begin_list(known.len() + 1);
        for entry in known.iter().filter(|entry| !gone(entry)) {
            match same(entry) {
                true => write_reaction(out, *entry, reaction, flag, step)?,
                false => out.value(*entry).ok()?,
            }
        }
        if found.is_none() {
            write_first_reaction(out, reaction)?;
        }
        out.end_list();
        Some(())
    })
}

fn write_reaction(out: &mut dyn TermWrite, entry: Value<'_>, reaction: Reaction<'_>, flag: &str, step: Step) -> Option<()> {
    out.begin_map(entry.len());
    for (key, value) in entry.entries() {
        out.key_from(key).ok()?;
        if key.is_key("count") {
            out.int(step.of(value.as_i64().unwrap_or(0)));
        } else if key.is_key("count_details") {
            let part = if reaction.burst { "burst" } else { "normal" };
            let now = step.of(count(value, part));
            write_with(out, Some(value), part, |out, _| {
                out.int(now);
                Some(())
            })?;
        } else if reaction.own && key.is_key(flag) {
            out.bool(step == Step::Up);
        } else {
            out.value(value).ok()?;
        }
    }
    out.end_map();
    Some(())
}

fn write_first_reaction(out: &mut dyn TermWrite, reaction: Reaction<'_>) -> Option<()> {
    out.begin_map(6);
    out.key("emoji");
    out.value(reaction.emoji).ok()?;
    out.key("count");
    out.int(1);
    out.key("count_details");
    out.begin_map(2);
    out.key("burst");
    out.int(i64::from(reaction.burst));
    out.key("normal");
    out.int(i64::from(!reaction.burst));
    out.end_map();
    out.key("me");
    out.bool(reaction.own && !reaction.burst);
    out.key("me_burst");
    out.bool(reaction.own && reaction.burst);
    out.key("burst_colors");
    match reaction.colors {
        Some(colors) => out.value(colors).ok()?,
        None => {
            out.begin_list(0);
            out.end_list();
        }
    }
    out.end_map();
    Some(())
}

/// A message without reactions, or without those of one emoji. `None`: nothing changes.
pub fn without_reactions(message: Value<'_>, emoji: Option<Value<'_>>) -> Option<Object> {
    let known = message.get("reactions")?;
    let stays = |entry: &Value<'_>| match emoji {
        None => false,
        Some(emoji) => !entry.get("emoji").is_some_and(|other| same_emoji(other, emoji)),
    };
    match known.items().filter(stays).count() {
        0 => without(message, &["reactions"]),
        stay if stay == known.len() => None,
        _ => written(message.encoding(), |out| {
            write_with(out, Some(message), "reactions", |out, _| {
                out.begin_list(0);
                for entry in known.items().filter(stays) {
                    out.value(entry).ok()?;
                }
                out.end_list();
                Some(())
            })
        }),
    }
}

/// A message with one vote of its poll more or less. `None`: nothing changes; results that are final stay.
pub fn with_vote(message: Value<'_>, answer: i64, own: bool, step: Step) -> Option<Object> {
    let poll = message.get("poll").filter(|poll| !poll.is_null())?;
    let results = poll.get("results").filter(|results| !results.is_null());
    if results.and_then(|results| results.get("is_finalized")).and_then(Value::as_bool) == Some(true) {
        return None;
    }
    let counts: Vec<Value<'_>> = results.and_then(|results| results.get("answer_counts")).into_iter().flat_map(Value::items).collect();
    let same = |entry: &Value<'_>| entry.get("id").and_then(Value::as_i64) == Some(answer);
    match counts.iter().find(|entry| same(entry)) {
        Some(entry) if own && entry.get("me_voted").and_then(Value::as_bool) == Some(step == Step::Up) => return None,
        None if step == Step::Down => return None,
        _ => {}
    }
    let write_counts = |out: &mut dyn TermWrite| {
        out.begin_list(counts.len() + 1);
        for entry in &counts {
            if !same(entry) {
                out.value(*entry).ok()?;
                continue;
            }
            out.begin_map(entry.len());
            for (key, value) in entry.entries() {
                out.key_from(key).ok()?;
                if key.is_key("count") {
                    out.int(step.of(value.as_i64().unwrap_or(0)));
                } else if own && key.is_key("me_voted") {
                    out.bool(step == Step::Up);
                } else {
                    out.value(value).ok()?;
                }
            }
            out.end_map();
        }
        if !counts.iter().any(same) {
            out.begin_map(3);
            out.key("id");
            out.int(answer);
            out.key("count");
            out.int(1);
            out.key("me_voted");
            out.bool(own);
            out.end_map();
        }
        out.end_list();
        Some(())
    };
    written(message.encoding(), |out| {
        write_with(out, Some(message), "poll", |out, _| {
            write_with(out, Some(poll), "results", |out, _| match results {
                Some(_) => write_with(out, results, "answer_counts", |out, _| write_counts(out)),
                None => {
                    out.begin_map(2);
                    out.key("is_finalized");
                    out.bool(false);
                    out.key("answer_counts");
                    write_counts(out)?;
                    out.end_map();
                    Some(())
                }
            })
        })
    })
}

/// Emojis are the same by id, and without one by name. Discord docs, Emoji: the name of a custom one may be null.
fn same_emoji(one: Value<'_>, other: Value<'_>) -> bool {
    let id = |emoji: Value<'_>| emoji.get("id").and_then(Value::as_id);
    match (id(one), id(other)) {
        (None, None) => {
            let name =
                |emoji: Value<'_>| emoji.get("name").filter(|name| !name.is_null()).and_then(Value::as_str).map(|name| name.into_owned());
            name(one) == name(other)
        }
        (one, other) => one == other,
    }
}

fn count(entry: Value<'_>, key: &str) -> i64 {
    entry.get(key).and_then(Value::as_i64).unwrap_or(0)
}

/// A map without some of its keys. `None`: it makes no sense.
pub fn without(base: Value<'_>, keys: &[&str]) -> Option<Object> {
    if base.encoding() == Encoding::Etf && base.kind() == Kind::Map {
        return cut(base, keys);
    }
    written(base.encoding(), |out| {
        out.begin_map(base.len());
        for (name, value) in base.entries().filter(|(name, _)| !keys.iter().any(|key| name.is_key(key))) {
            out.key_from(name).ok()?;
            out.value(value).ok()?;
        }
        out.end_map();
        Some(())
    })
}

/// The same for ETF: what stays is copied as it lies.
fn cut(base: Value<'_>, keys: &[&str]) -> Option<Object> {
    let raw = base.raw();
    let mut bytes = Vec::with_capacity(raw.len());
    bytes.extend_from_slice(&etf_head(0));
    let (mut from, mut at, mut left) = (ETF_HEAD, ETF_HEAD, 0);
    for (name, value) in base.entries() {
        let end = at + name.raw().len() + value.raw().len();
        if keys.iter().any(|key| name.is_key(key)) {
            bytes.extend_from_slice(raw.get(from..at)?);
            from = end;
        } else {
            left += 1;
        }
        at = end;
    }
    bytes.extend_from_slice(raw.get(from..at)?);
    bytes.get_mut(..ETF_HEAD)?.copy_from_slice(&etf_head(left));
    Some(Object { encoding: Encoding::Etf, bytes: Bytes::from(bytes.into_boxed_slice()) })
}

/// Writes a map with another value under a key, at its place, or at the end.
fn write_with(
    out: &mut dyn TermWrite,
    base: Option<Value<'_>>,
    key: &str,
    write: impl FnOnce(&mut dyn TermWrite, Option<Value<'_>>) -> Option<()>,
) -> Option<()> {
    let mut write = Some(write);
    out.begin_map(base.map_or(0, Value::len) + 1);
    for (name, value) in base.into_iter().flat_map(Value::entries) {
        if !name.is_key(key) {
            out.key_from(name).ok()?;
            out.value(value).ok()?;
        } else if let Some(write) = write.take() {
            out.key(key);
            write(out, Some(value))?;
        }
    }
    if let Some(write) = write.take() {
        out.key(key);
        write(out, None)?;
    }
    out.end_map();
    Some(())
}

/// An object that owns exactly its bytes. What lies packed is written as ETF: a message's own form is one that came over the wire.
fn written(encoding: Encoding, write: impl FnOnce(&mut dyn TermWrite) -> Option<()>) -> Option<Object> {
    let (encoding, bytes) = match encoding {
        Encoding::Json => {
            let mut out = JsonWriter::new();
            write(&mut out)?;
            (Encoding::Json, out.into_vec())
        }
        _ => {
            let mut out = EtfWriter::term().with_atom_keys().with_ids(Ids::Integers);
            write(&mut out)?;
            (Encoding::Etf, out.into_vec())
        }
    };
    Some(Object { encoding, bytes: Bytes::from(bytes.into_boxed_slice()) })
}

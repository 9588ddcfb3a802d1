//! Finding members of one very large guild by the beginning of a name, and paging through all of them.
//!
//! The guild is told as Discord tells it: GUILD_CREATE without members, then chunks of a thousand. Its names are made of given names and
//! words that many people choose, so that some beginnings are those of tens of thousands and others of one; a tenth of them is not ASCII.
//! The whole question is timed, with the members that are the answer; the core's queue and gRPC are what `lookups` is about. It is the time
//! that the thread ran, some microseconds of which are the reading of it: with a 99th percentile, a busy machine is all that would be seen.

use bytes::Bytes;
use serde_json::{Value as Json, json};
use trunkline_cache::{Cache, CacheConfig, Found, Kind, MemberQuery, Users};
use trunkline_discord::{Dice, EventKind};
use trunkline_etf::{Encoding, Value};
use trunkline_testbed::world::etf;

use crate::shards::thread_ns;
use crate::table::{Binding, Table};
use crate::{Form, Result};

const GUILD: u64 = 7 << 40;
const MEMBERS: u64 = 500_000;
const MEMBERS_SHORT: u64 = 100_000;
const CHUNK: u64 = 1_000;
/// What a search may take, once the index exists.
const MICROS: f64 = 1_000.0;
/// Members of an answer: what a command's completion shows, and the most that an answer has.
const LIMITS: [usize; 2] = [25, 1_000];
const ROUNDS: usize = 5;
/// Members who change between two searches: at a thousand searches a second, as many events as a core applies.
const CHANGES: u64 = 20;

/// What many begin their names with, the most frequent first.
const GIVEN: [&str; 60] = [
    "Alex",
    "Sam",
    "Max",
    "Maria",
    "Daniel",
    "Anna",
    "David",
    "Lucas",
    "Leo",
    "Michael",
    "Sarah",
    "Emma",
    "Mia",
    "Noah",
    "Ben",
    "Jack",
    "Chris",
    "Laura",
    "Julia",
    "Nick",
    "Tom",
    "Oliver",
    "Kevin",
    "Mark",
    "Luna",
    "Zoe",
    "Ryan",
    "Ivan",
    "Adam",
    "Eva",
    "Şule",
    "Özgür",
    "Élodie",
    "Łukasz",
    "Дмитрий",
    "Мария",
    "Иван",
    "美咲",
    "健太",
    "민준",
    "Ángel",
    "İbrahim",
    "Åsa",
    "Ólafur",
    "Jürgen",
    "Joana",
    "Pedro",
    "Mateus",
    "Chloe",
    "Liam",
    "Ethan",
    "Isla",
    "Ruby",
    "Freya",
    "Harry",
    "Quentin",
    "Uma",
    "Viktor",
    "Xenia",
    "Yara",
];
const WORDS: [&str; 40] = [
    "dark", "xX", "the", "shadow", "wolf", "night", "real", "its", "not", "pixel", "king", "queen", "lazy", "mr", "toxic", "ghost", "fire",
    "ice", "dragon", "cyber", "neo", "ultra", "mega", "blue", "red", "cat", "dog", "fox", "bear", "panda", "moon", "star", "sky", "storm",
    "zero", "nova", "void", "echo", "lost", "just",
];

/// What is searched for: who has it, and the beginning.
const SEARCHES: [(&str, &str); 12] = [
    ("one letter, a tenth of all", "a"),
    ("one letter, few", "q"),
    ("a common name", "alex"),
    ("the same in capitals", "ALEX"),
    ("of a global name, with a space", "maria s"),
    ("not ASCII, in the other case", "özg"),
    ("Cyrillic, in capitals", "ДМИТ"),
    ("of nicks alone", "[vip"),
    ("a common word", "shadow"),
    ("a few members", "wolf_1234"),
    ("one member", "quentinecho4242"),
    ("nobody", "zzzz"),
];

/// Adds the rows of searching.
pub(crate) fn measure(form: Form, table: &mut Table) -> Result<()> {
    let many = if form.short { MEMBERS_SHORT } else { MEMBERS };
    let mut dice = Dice::new(23);
    let mut cache = told(many, &mut dice)?;
    let times = if form.short { 50 } else { 200 };

    few(&mut cache, many, table)?;
    let before = cache.memory().search;
    let mut steps = Vec::new();
    loop {
        let began = thread_ns()?;
        let done = cache.prepare_search(GUILD);
        steps.push((thread_ns()? - began) as f64 / 1e6);
        if done {
            break;
        }
    }
    let bytes = cache.memory().search - before;
    steps_row(table, &format!("search in a guild of {many} members: its index"), &steps);
    table.row("  the index", &[format!("{:.1} MB", bytes as f64 / 1e6), format!("{} B each", bytes / many)]);
    if bytes == 0 || find(&mut cache, "alex", LIMITS[0])?.is_empty() {
        return Err("there is no index, or it shows nobody".into());
    }
    let us = |value: f64| format!("{value:.0} us");
    let row = |table: &mut Table, what: &str, (p50, p99): (f64, f64)| {
        table.target(what, &[us(p50), us(p99)], &format!("p99 <= {MICROS} us"), p99 <= MICROS, Binding::FullForm);
    };
    for limit in LIMITS {
        table.row(&format!("  searches, at most {limit} found: median, 99th percentile"), &[]);
        for (what, prefix) in SEARCHES {
            let mut found = 0;
            let took = best(|| {
                let mut took = Vec::with_capacity(times);
                for _ in 0..times {
                    let began = thread_ns()?;
                    found = find(&mut cache, prefix, limit)?.len();
                    took.push((thread_ns()? - began) as f64 / 1e3);
                }
                Ok(took)
            })?;
            row(table, &format!("  {prefix:?} ({what}): {found}"), took);
        }
    }
    let (mut round, mut ticks) = (0, Vec::new());
    let took = best(|| {
        let mut took = Vec::with_capacity(times);
        for _ in 0..times {
            for _ in 0..CHANGES {
                let user = dice.below(many);
                let mut changed = member(user, &mut dice);
                changed["guild_id"] = json!(GUILD.to_string());
                apply(&mut cache, EventKind::GuildMemberUpdate, &changed);
            }
            round += 1;
            // As the core does four times a second, here at a thousand searches a second.
            if round % 250 == 0 {
                let began = thread_ns()?;
                cache.tick(round);
                ticks.push((thread_ns()? - began) as f64 / 1e6);
            }
            let prefix = SEARCHES[usize::try_from(round)? % SEARCHES.len()].1;
            let began = thread_ns()?;
            find(&mut cache, prefix, LIMITS[0])?;
            took.push((thread_ns()? - began) as f64 / 1e3);
        }
        Ok(took)
    })?;
    row(table, &format!("  all of these in turn, {CHANGES} members change in between"), took);
    // Until everything has been merged once, without anybody who searches.
    for _ in 0..many / 4 / CHUNK {
        for _ in 0..CHUNK {
            let mut changed = member(dice.below(many), &mut dice);
            changed["guild_id"] = json!(GUILD.to_string());
            apply(&mut cache, EventKind::GuildMemberUpdate, &changed);
        }
        for _ in 0..4 {
            let began = thread_ns()?;
            cache.tick(round);
            ticks.push((thread_ns()? - began) as f64 / 1e6);
        }
    }
    steps_row(table, "  sorting in who has changed", &ticks);
    pages(&mut cache, many, table)
}

/// The median and the 99th percentile, of the round in which the latter is least: what else the machine does, with the processor's own
/// caches as well, only ever adds.
fn best(mut round: impl FnMut() -> Result<Vec<f64>>) -> Result<(f64, f64)> {
    let mut best = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        let mut took = round()?;
        took.sort_unstable_by(f64::total_cmp);
        let p99 = took[(took.len() - 1) * 99 / 100];
        if p99 < best.1 {
            best = (took[took.len() / 2], p99);
        }
    }
    Ok(best)
}

/// Members with a role or a status that few have, of whom most of the guild is looked at: by the step, each of which keeps a core from what
/// else it has to do.
fn few(cache: &mut Cache, many: u64, table: &mut Table) -> Result<()> {
    // Nobody is idle but one in ten thousand, and more are online than are read at once.
    for number in (0..many).filter(|number| number.is_multiple_of(10)) {
        let status = if number.is_multiple_of(10_000) { "idle" } else { "online" };
        let user = json!({"id": (GUILD + (number << 22) + 5).to_string()});
        apply(cache, EventKind::PresenceUpdate, &json!({"guild_id": GUILD.to_string(), "user": user, "status": status, "activities": []}));
    }
    cache.take_changes();
    let nobodys = Some(GUILD + (77 << 22));
    let idle = || Some("idle".to_owned());
    for (what, role, status, wanted) in [
        ("the first page", None, None, LIMITS[1] as u64),
        ("a role that nobody has, the order being there", nobodys, None, 0),
        ("a status that few have", None, idle(), many / 10_000),
    ] {
        let (mut after, mut found, mut steps) = (0, 0, Vec::new());
        loop {
            let query = MemberQuery { role, status: status.clone(), after, limit: LIMITS[1], ..MemberQuery::default() };
            let began = thread_ns()?;
            let step = match role.is_none() && status.is_none() {
                true => cache.page_step(Kind::Member, GUILD, after, LIMITS[1]),
                false => cache.find_members_step(GUILD, &query),
            };
            steps.push((thread_ns()? - began) as f64 / 1e6);
            found += step.found.len() as u64;
            match step.next {
                Some(next) if found < wanted.max(1) => after = next,
                _ => break,
            }
        }
        if found != wanted {
            return Err(format!("{what}: {found} members were found of {wanted}").into());
        }
        steps_row(table, &format!("of {many} members {what}: {found}"), &steps);
    }
    Ok(())
}

fn steps_row(table: &mut Table, what: &str, steps_ms: &[f64]) {
    let (all, longest) = (steps_ms.iter().sum::<f64>(), steps_ms.iter().copied().fold(0.0, f64::max));
    table.row(&format!("{what}, in {} steps; all, the longest", steps_ms.len()), &[format!("{all:.0} ms"), format!("{longest:.1} ms")]);
}

/// All pages of the guild, as `ListGuildMembers` asks for them.
fn pages(cache: &mut Cache, many: u64, table: &mut Table) -> Result<()> {
    let page_of = *LIMITS.last().unwrap_or(&1);
    let (mut after, mut took, mut seen) = (0, Vec::new(), 0);
    // The index of the searches would do for pages as well: here is what they need alone.
    cache.tick(0);
    cache.tick(2 * trunkline_cache::SEARCH_IDLE_MS);
    cache.tick(4 * trunkline_cache::SEARCH_IDLE_MS);
    if cache.memory().search > 0 {
        return Err("an index that nobody uses was not dropped".into());
    }
    loop {
        let began = thread_ns()?;
        let page = cache.page(Kind::Member, GUILD, after, page_of);
        took.push((thread_ns()? - began) as f64 / 1e3);
        seen += page.len() as u64;
        match page.last() {
            Some(last) => after = id(last).ok_or("a member without an id")?,
            None => break,
        }
    }
    if seen != many {
        return Err(format!("paging showed {seen} members of {many}").into());
    }
    let bytes = cache.memory().search;
    let us = |value: f64| format!("{value:.0} us");
    let (first, second) = (took[0], took[1]);
    let mut rest = took.split_off(2);
    rest.sort_unstable_by(f64::total_cmp);
    let (p50, p99) = (rest[rest.len() / 2], rest[(rest.len() - 1) * 99 / 100]);
    table.row(&format!("pages of {page_of} members: the first two, the second with all ids in order"), &[us(first), us(second)]);
    table.row("  the ids in order", &[format!("{:.1} MB", bytes as f64 / 1e6), format!("{} B each", bytes / many)]);
    table.row("  each of the others; p50, p99", &[us(p50), us(p99)]);
    Ok(())
}

fn find(cache: &mut Cache, prefix: &str, limit: usize) -> Result<Vec<Found>> {
    let query = MemberQuery { prefix: Some(prefix.to_owned()), limit, ..MemberQuery::default() };
    let found = cache.find_members(GUILD, &query);
    let lower = prefix.to_lowercase();
    // One of each answer is looked at: a bench of wrong answers is none.
    if let Some(last) = found.last() {
        let value = last.object.value();
        let user = value.get("user").ok_or("a member without a user")?;
        let names = [value.get("nick"), user.get("username"), user.get("global_name")];
        let begins = |name: Value<'_>| name.as_str().is_some_and(|name| name.to_lowercase().starts_with(&lower));
        if !names.into_iter().flatten().any(begins) {
            return Err(format!("a member was found that has no name beginning with {prefix}").into());
        }
    }
    Ok(found)
}

fn id(member: &Found) -> Option<u64> {
    member.object.value().get("user")?.get("id")?.as_id()
}

fn apply(cache: &mut Cache, kind: EventKind, d: &Json) {
    let body = Bytes::from(etf(d));
    cache.apply(kind, Value::from_raw(Encoding::Etf, &body), &body);
}

fn told(many: u64, dice: &mut Dice) -> Result<Cache> {
    let mut cache = Cache::new(CacheConfig::default(), Users::default());
    let guild = GUILD.to_string();
    let create = json!({"id": guild, "name": "large", "roles": [], "channels": [], "members": [], "member_count": many});
    apply(&mut cache, EventKind::GuildCreate, &create);
    for chunk in 0..many / CHUNK {
        let members: Vec<Json> = (chunk * CHUNK..(chunk + 1) * CHUNK).map(|number| member(number, dice)).collect();
        let d = json!({"guild_id": guild, "members": members, "chunk_index": chunk, "chunk_count": many / CHUNK});
        apply(&mut cache, EventKind::GuildMembersChunk, &d);
        // As checkpoints do.
        cache.take_changes();
    }
    if cache.counts(GUILD).find(|(kind, _)| *kind == Kind::Member).map(|(_, count)| count as u64) != Some(many) {
        return Err("the guild does not have the members that it was told of".into());
    }
    Ok(cache)
}

fn member(number: u64, dice: &mut Dice) -> Json {
    // Frequent ones are several times as likely as those behind them.
    let given = |dice: &mut Dice| GIVEN[(dice.unit().powi(3) * GIVEN.len() as f64) as usize % GIVEN.len()];
    let word = |dice: &mut Dice| WORDS[(dice.unit().powi(2) * WORDS.len() as f64) as usize % WORDS.len()];
    // User names are ASCII, in lower case, and nobody else's.
    let base = match dice.below(3) {
        0 => word(dice).to_owned(),
        1 => format!("{}_{}", word(dice), word(dice)),
        _ => format!("{}{}", given(dice), word(dice)),
    };
    let base: String = base.to_lowercase().chars().filter(char::is_ascii).collect();
    let username = format!("{base}_{}", number * 7_919 % 1_000_003);
    let global = match dice.below(10) {
        0..4 => Json::String(given(dice).to_owned()),
        4..7 => Json::String(format!("{} {}", given(dice), given(dice))),
        _ => Json::Null,
    };
    let nick = match dice.below(20) {
        0 => Json::String(format!("[VIP] {}", given(dice))),
        1..4 => Json::String(format!("{} {}", given(dice), word(dice))),
        _ => Json::Null,
    };
    let id = GUILD + (number << 22) + 5;
    let avatar = (dice.below(4) > 0).then(|| format!("{:016x}{:016x}", dice.next_u64(), dice.next_u64()));
    json!({
        "user": {"id": id.to_string(), "username": username, "global_name": global, "discriminator": "0", "avatar": avatar,
            "public_flags": 64, "avatar_decoration_data": null, "primary_guild": null, "collectibles": null, "display_name_styles": null},
        "nick": nick, "roles": (0..dice.below(4)).map(|role| (GUILD + ((role + 1) << 22)).to_string()).collect::<Vec<_>>(),
        "joined_at": format!("20{:02}-0{}-1{}T10:20:30.123000+00:00", 16 + dice.below(10), 1 + dice.below(9), dice.below(10)),
        "premium_since": null, "avatar": null, "banner": null, "deaf": false, "mute": false, "pending": false, "flags": dice.below(2) * 2,
        "communication_disabled_until": null,
    })
}

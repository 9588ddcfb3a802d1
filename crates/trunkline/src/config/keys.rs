//! Every configuration key there is: one table that names, types, defaults and explains it.
//!
//! The parser, the environment overlay, the "nearest known key" hint, `trunkline check` and the table in
//! `docs/configuration.md` all read this list, so a key cannot exist in one of them only.

/// One key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Dotted path; `*` stands for the index in a list of tables (`bots.*.token`).
    pub path: &'static str,
    /// Default as it would be written in the file; empty when there is none.
    pub default: &'static str,
    /// One line for a person.
    pub doc: &'static str,
    /// True when the value must never be printed.
    pub secret: bool,
}

const fn key(path: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key { path, default, doc, secret: false }
}

const fn secret(path: &'static str, doc: &'static str) -> Key {
    Key { path, default: "", doc, secret: true }
}

/// All keys, in the order in which they are printed.
pub const KEYS: &[Key] = &[
    key(
        "discord.api",
        "\"https://discord.com/api/v10\"",
        "Base address of Discord's REST API; the gateway's address comes from GET {api}/gateway/bot. http:// allows ws:// gateways.",
    ),
    key("discord.encoding", "\"etf\"", "Encoding of new gateway sessions: \"etf\" or \"json\"."),
    key("discord.compress", "\"zstd-stream\"", "Transport compression of new sessions: \"zstd-stream\", \"zlib-stream\" or \"none\"."),
    key("discord.ca_file", "", "PEM file with an additional root certificate for https:// and wss://."),
    key("listen.clients", "\"127.0.0.1:4000\"", "Address of the clients' port (gRPC)."),
    key("listen.admin", "\"127.0.0.1:4001\"", "Address of the admin port (metrics, health, status)."),
    key(
        "state.encoding",
        "\"json\"",
        "How the state API answers callers who accept both: \"json\", or \"etf\" as Tatsu's did with its embedded store.",
    ),
    key("listen.anonymous", "false", "Allow calls without a group token when listen.clients is not loopback."),
    key("store.path", "\"trunkline-data\"", "Directory of the embedded store."),
    secret("store.url", "PostgreSQL database instead of the embedded store: postgres://USER:PASSWORD@HOST:PORT/DATABASE."),
    key("store.url_file", "", "File that holds store.url."),
    key(
        "store.sync",
        "\"1s\"",
        "How often written checkpoints are forced to disk for power loss: a duration, \"always\" or \"never\". A killed process loses nothing either way.",
    ),
    key(
        "store.unsaved_bytes",
        "\"256MiB\"",
        "Bytes of changed objects that are kept while the store takes no checkpoint, an equal part a shard; beyond it they are let go, and the shard's cache is written whole once the store takes it.",
    ),
    key("node.cores", "\"auto\"", "Threads that own shards: \"auto\" (one a CPU core) or a number."),
    key("log.level", "\"info\"", "Log filter: error, warn, info, debug, trace, or module=level pairs."),
    key("log.format", "\"human\"", "\"human\" or \"json\"."),
    secret("bots.*.token", "The bot's token, with or without \"Bot \"."),
    key("bots.*.token_env", "", "Name of the environment variable that holds the token."),
    key("bots.*.token_file", "", "File that holds the token."),
    key(
        "bots.*.intents",
        "",
        "List of intent names, \"all\", \"tatsu-default\", \"tatsu-fast\", \"tatsu-all\" or a number; left out: all that the application's flags allow.",
    ),
    key("bots.*.shards", "\"auto\"", "\"auto\", a number, or { total = 64, first = 0, last = 15 } (inclusive)."),
    key("bots.*.presence", "", "Presence to identify with: { status = \"online\", activities = [...] }."),
    key(
        "bots.*.members",
        "\"none\"",
        "Members that Discord does not tell of by itself: \"none\" are asked for, or those that a lookup misses (\"lazy\"), or all of every guild (\"eager\", needs the guild_members intent).",
    ),
    key("bots.*.large_threshold", "50", "Guild size (50 to 250) above which Discord leaves offline members out of GUILD_CREATE."),
    key(
        "bots.*.cache.off",
        "[]",
        "Kinds of objects that are not kept: \"presences\", \"members\", \"messages\", \"voice_states\", \"threads\", \"emojis\", \"stickers\", \"bans\", … (guilds always are).",
    ),
    key("bots.*.cache.messages", "50", "Messages kept of each channel; 0: none."),
    key("bots.*.cache.messages_age_ms", "\"1h\"", "Age at which a message is no longer kept."),
    key(
        "bots.*.cache.messages_bytes",
        "\"256MiB\"",
        "Bytes of all of the bot's messages in this process, an equal part a shard; the oldest give way.",
    ),
    key(
        "bots.*.cache.presences_raw_bytes",
        "\"64MiB\"",
        "Bytes of the bot's presences in this process that are kept as they came, an equal part a shard; beyond it those told longest ago are packed, which takes less room and more work; 0: all are packed at once.",
    ),
    key(
        "bots.*.cache.budget_bytes",
        "",
        "Bytes of the bot's whole cache in this process, an equal part a shard: beyond it presences give way first, then messages, then members who are offline; left out: no limit.",
    ),
    key("groups.*.name", "", "Name of the worker group."),
    secret("groups.*.token", "The group's token; left out: made at the first start and kept in the store as NAME.token."),
    key("groups.*.token_env", "", "Name of the environment variable that holds the group's token."),
    key("groups.*.token_file", "", "File that holds the group's token."),
    key("groups.*.events", "[]", "Event names the group wants (Discord's: \"MESSAGE_CREATE\"); empty: all."),
    key("groups.*.exclude_events", "[]", "Event names the group does not want."),
    key("groups.*.bots", "[]", "Bot ids the group wants; empty: all."),
    key("groups.*.guilds", "[]", "Guild ids the group wants; empty: all, and events without a guild."),
    key("groups.*.limits.memory_bytes", "\"64MiB\"", "Bytes of unacknowledged events a group may hold in memory, in the whole process."),
    key("groups.*.limits.disk_bytes", "\"4GiB\"", "Bytes of unacknowledged events a group may hold on disk, in the whole process."),
    key("groups.*.limits.age_ms", "\"1h\"", "Age at which an unacknowledged event falls off."),
];

/// The key whose pattern fits a concrete path (`bots.0.token` fits `bots.*.token`).
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| fits(key.path, path))
}

/// True when `path` could be the beginning of a known key (`groups.0.limits`).
#[must_use]
pub fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| {
        let mut pattern = key.path.split('.');
        path.split('.').all(|part| pattern.next().is_some_and(|p| part_fits(p, part))) && pattern.next().is_some()
    })
}

fn fits(pattern: &str, path: &str) -> bool {
    let mut path = path.split('.');
    pattern.split('.').all(|p| path.next().is_some_and(|part| part_fits(p, part))) && path.next().is_none()
}

fn part_fits(pattern: &str, part: &str) -> bool {
    if pattern == "*" { !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) } else { pattern == part }
}

/// The known key nearest to a mistyped one, for the error message.
#[must_use]
pub fn nearest(path: &str) -> Option<String> {
    nearest_of(path, KEYS.iter().map(|key| key.path)).map(|near| near.replace(".*", ""))
}

/// The known table, or key that may be one, nearest to a mistyped table, as it would be written.
#[must_use]
pub fn nearest_table(path: &str) -> Option<String> {
    let tables = KEYS.iter().flat_map(|key| key.path.match_indices('.').map(|(at, _)| &key.path[..at])).filter(|path| !path.ends_with('*'));
    nearest_of(path, tables.chain(KEYS.iter().map(|key| key.path))).map(|near| {
        let shown = near.replace(".*", "");
        if near.contains('.') {
            shown
        } else if is_section(&format!("{near}.0")) {
            format!("[[{shown}]]")
        } else {
            format!("[{shown}]")
        }
    })
}

fn nearest_of<'a>(path: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let starred: String =
        path.split('.').map(|part| if part.bytes().all(|b| b.is_ascii_digit()) { "*" } else { part }).collect::<Vec<_>>().join(".");
    known
        .map(|candidate| (distance(&starred, candidate), candidate))
        .filter(|(d, candidate)| *d <= candidate.len().max(starred.len()) / 2)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance; the inputs are short, so one row of a table is enough.
#[must_use]
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let cost = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The variable nearest to a mistyped one, with its numbers, for the error message.
#[must_use]
pub fn nearest_environment(name: &str) -> Option<String> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let given = name.to_ascii_uppercase();
    let numbers: Vec<&str> = given.split('_').filter(|part| is_number(part)).collect();
    let plain: Vec<&str> = given.split('_').map(|part| if is_number(part) { "*" } else { part }).collect();
    let plain = plain.join("_");
    let of_keys = KEYS.iter().map(|key| format!("TRUNKLINE_{}", key.path.to_ascii_uppercase().replace('.', "_")));
    // Read by commands, not by the server.
    let known = of_keys.chain(["TRUNKLINE_CONFIG".to_owned(), "TRUNKLINE_TOKEN".to_owned()]);
    // What all of them begin with says nothing of which is meant.
    let (_, near) = known
        .map(|candidate| (distance(&plain, &candidate), candidate))
        .filter(|(d, candidate)| *d <= candidate.len().max(plain.len()).saturating_sub("TRUNKLINE_".len()) / 3)
        .min()?;
    let mut numbers = numbers.into_iter();
    Some(near.split('_').map(|part| if part == "*" { numbers.next().unwrap_or("0") } else { part }).collect::<Vec<_>>().join("_"))
}

/// The concrete path that an environment variable sets: `TRUNKLINE_DISCORD_API` → `discord.api`,
/// `TRUNKLINE_BOTS_0_TOKEN` → `bots.0.token`.
#[must_use]
pub fn from_environment(name: &str) -> Option<String> {
    let rest = name.strip_prefix("TRUNKLINE_")?.to_ascii_lowercase();
    KEYS.iter().find_map(|key| match_environment(key.path, &rest))
}

fn match_environment(pattern: &str, rest: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = rest;
    for (i, part) in pattern.split('.').enumerate() {
        if i > 0 {
            rest = rest.strip_prefix('_')?;
            out.push('.');
        }
        if part == "*" {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 || digits > 4 {
                return None;
            }
            out.push_str(&rest[..digits]);
            rest = &rest[digits..];
        } else {
            rest = rest.strip_prefix(part)?;
            out.push_str(part);
        }
    }
    rest.is_empty().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_name_finds_its_key_also_inside_lists() {
        assert_eq!(from_environment("TRUNKLINE_DISCORD_API").as_deref(), Some("discord.api"));
        assert_eq!(from_environment("TRUNKLINE_DISCORD_CA_FILE").as_deref(), Some("discord.ca_file"));
        assert_eq!(from_environment("TRUNKLINE_BOTS_0_TOKEN").as_deref(), Some("bots.0.token"));
        assert_eq!(from_environment("TRUNKLINE_GROUPS_12_LIMITS_AGE_MS").as_deref(), Some("groups.12.limits.age_ms"));
        assert_eq!(from_environment("TRUNKLINE_NO_SUCH"), None);
    }

    #[test]
    fn a_mistyped_key_is_told_its_nearest_neighbour() {
        assert_eq!(nearest("discord.encodng").as_deref(), Some("discord.encoding"));
        assert_eq!(nearest("bots.0.tokn").as_deref(), Some("bots.token"));
        assert_eq!(nearest("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"), None);
    }

    #[test]
    fn a_mistyped_variable_is_told_its_nearest_neighbour_with_its_own_number() {
        for (given, near) in [
            ("TRUNKLINE_DISCORD_ENCODNG", Some("TRUNKLINE_DISCORD_ENCODING")),
            ("TRUNKLINE_BOTS_3_TOKN", Some("TRUNKLINE_BOTS_3_TOKEN")),
            ("TRUNKLINE_BOT_0_INTENTS", Some("TRUNKLINE_BOTS_0_INTENTS")),
            ("TRUNKLINE_GROUPS_12_LIMITS_AGE", Some("TRUNKLINE_GROUPS_12_LIMITS_AGE_MS")),
            ("TRUNKLINE_BOTS_TOKEN", Some("TRUNKLINE_BOTS_0_TOKEN")),
            ("TRUNKLINE_TOKENS", Some("TRUNKLINE_TOKEN")),
            ("TRUNKLINE_SOMETHING_ELSE_ALTOGETHER", None),
        ] {
            assert_eq!(nearest_environment(given).as_deref(), near, "{given}");
        }
    }

    #[test]
    fn sections_are_prefixes_of_keys() {
        assert!(is_section("groups.0.limits"));
        assert!(is_section("bots"));
        assert!(!is_section("bots.0.token"));
        assert!(!is_section("nothing"));
    }
}

//! From the flat document to typed values, noting every problem on the way.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use trunkline_cache::{Kind, Kinds};
use trunkline_delivery::{Filter, GroupLimits};
use trunkline_discord::{Compression, EventKind, Intents, Token};
use trunkline_etf::Encoding;

use super::document::{Document, Entry, Origin, Problem, Raw};
use super::{
    BotCache, BotConfig, Config, DiscordConfig, GroupConfig, GroupToken, ListenConfig, LogConfig, Members, ShardsConfig, Sources,
    StateConfig, StoreConfig, StoreUrl, Sync, keys,
};

/// Groups fit a 64 bit mask on every event.
pub(super) const GROUPS_MAX: usize = 64;

pub(super) fn read(sources: &Sources) -> (Option<Config>, Document) {
    let mut document = Document::default();
    if let Some((name, text)) = &sources.file {
        document.add_file(name, text);
    }
    document.add_environment(sources.environment.iter().cloned());
    for (path, text, flag) in &sources.flags {
        document.set_text(path, text, Origin::Flag(flag.clone()));
    }
    let mut reader = Reader { document, environment: &sources.environment, without_bots: sources.without_bots, warnings: Vec::new() };
    let config = reader.config();
    let Reader { mut document, .. } = reader;
    // In the order of the file, where a person goes through it; what is not of the file comes after.
    document.problems.sort_by_key(|problem| match problem.origin {
        Origin::File { line, column, .. } => (line, column),
        _ => (usize::MAX, 0),
    });
    (config, document)
}

pub(super) fn store_url(sources: &Sources) -> Result<Option<StoreUrl>, Vec<Problem>> {
    let mut document = Document::default();
    if let Some((name, text)) = &sources.file {
        document.add_file(name, text);
    }
    document.add_environment(sources.environment.iter().cloned());
    for (path, text, flag) in &sources.flags {
        document.set_text(path, text, Origin::Flag(flag.clone()));
    }
    let mut reader = Reader { document, environment: &sources.environment, without_bots: sources.without_bots, warnings: Vec::new() };
    let url = reader.store_url();
    if reader.document.problems.is_empty() { Ok(url) } else { Err(reader.document.problems) }
}

struct Reader<'a> {
    document: Document,
    environment: &'a [(String, String)],
    without_bots: bool,
    warnings: Vec<String>,
}

impl Reader<'_> {
    fn config(&mut self) -> Option<Config> {
        let discord = DiscordConfig {
            api: self.api(),
            encoding: self.word("discord.encoding", &[("etf", Encoding::Etf), ("json", Encoding::Json)]),
            compress: self.word(
                "discord.compress",
                &[("zstd-stream", Compression::ZstdStream), ("zlib-stream", Compression::ZlibStream), ("none", Compression::None)],
            ),
            ca_file: self.text("discord.ca_file").map(PathBuf::from),
        };
        let listen = ListenConfig {
            clients: self.address("listen.clients"),
            admin: self.address("listen.admin"),
            anonymous: self.boolean("listen.anonymous"),
        };
        // Port 0 is whichever is free.
        let (clients, admin) = (listen.clients, listen.admin);
        let anywhere = clients.ip().is_unspecified() || admin.ip().is_unspecified();
        if clients.port() != 0 && clients.port() == admin.port() && (anywhere || clients.ip() == admin.ip()) {
            let origin = self.entry("listen.admin").map_or(Origin::Default, |entry| entry.origin);
            let text = format!("{admin} is taken by listen.clients = {clients}; each of the two needs a port of its own");
            self.problem(&origin, "listen.admin", text);
        }
        let state = StateConfig { encoding: self.word("state.encoding", &[("json", Encoding::Json), ("etf", Encoding::Etf)]) };
        if !listen.clients.ip().is_loopback() && listen.anonymous {
            self.warnings.push(format!(
                "listen.anonymous = true on {}: anyone who reaches that address may call without a group token",
                listen.clients
            ));
        }
        let store = StoreConfig {
            path: PathBuf::from(self.text("store.path").unwrap_or_default()),
            url: self.store_url(),
            sync: self.sync(),
            unsaved_bytes: self.bytes("store.unsaved_bytes").unwrap_or(StoreConfig::UNSAVED_BYTES),
        };
        let cores = self.cores();
        let level = self.text("log.level").unwrap_or_default();
        if let Some(problem) = crate::logging::problem(&level) {
            let origin = self.entry("log.level").map_or(Origin::Default, |entry| entry.origin);
            self.problem(&origin, "log.level", problem);
        }
        let log = LogConfig { level, json: self.word("log.format", &[("human", false), ("json", true)]) };
        let bots = self.bots();
        let groups = self.groups();
        self.intents_suffice(&bots, &groups);
        (!bots.is_empty() || self.without_bots).then(|| Config {
            discord,
            listen,
            state,
            store,
            cores,
            log,
            bots,
            groups,
            warnings: std::mem::take(&mut self.warnings),
        })
    }

    /// Warns of what is asked for and cannot come with the intents that are configured. Where they are left out, the start tells.
    fn intents_suffice(&mut self, bots: &[BotConfig], groups: &[GroupConfig]) {
        for (i, bot) in bots.iter().enumerate() {
            if bot.members == Members::Eager && bot.intents.is_some_and(|intents| !intents.contains(Intents::GUILD_MEMBERS)) {
                self.warnings.push(format!(
                    "bots.{i}.members: \"eager\" needs the guild_members intent, which bots.{i}.intents lacks; Discord lists no guild's \
                     members without it"
                ));
            }
        }
        let Some(asked) = bots.iter().map(|bot| bot.intents).reduce(|all, one| Some(all?.with(one?))).flatten() else { return };
        for group in groups {
            for name in &group.filter.events {
                let needed = EventKind::from_name(name).intent();
                if !needed.is_empty() && needed.intersection(asked).is_empty() {
                    let needed = needed.names().collect::<Vec<_>>().join(" or ");
                    self.warnings.push(format!("group \"{}\" wants {name}, which never comes: no bot's intents have {needed}", group.name));
                }
            }
        }
    }

    fn problem(&mut self, origin: &Origin, key: &str, text: String) {
        self.document.problems.push(Problem { origin: origin.clone(), key: key.to_owned(), text });
    }

    fn entry(&self, path: &str) -> Option<Entry> {
        self.document.entries.get(path).cloned().or_else(|| {
            let default = keys::find(path).map(|key| key.default).filter(|default| !default.is_empty())?;
            let mut one = Document::default();
            one.set_text(path, default, Origin::Default);
            one.entries.remove(path)
        })
    }

    fn text(&mut self, path: &str) -> Option<String> {
        let entry = self.entry(path)?;
        match entry.value {
            Raw::Text(text) => Some(text),
            // A token or a path made of digits alone is still text when it comes from the environment.
            Raw::Integer(n) if entry.origin != Origin::Default && !matches!(entry.origin, Origin::File { .. }) => Some(n.to_string()),
            other => {
                self.problem(&entry.origin, path, format!("wants text in quotes, found {}", other.kind()));
                None
            }
        }
    }

    fn boolean(&mut self, path: &str) -> bool {
        match self.entry(path) {
            Some(Entry { value: Raw::Boolean(value), .. }) => value,
            Some(entry) => {
                self.problem(&entry.origin, path, format!("wants true or false, found {}", entry.value.kind()));
                false
            }
            None => false,
        }
    }

    fn word<T: Copy>(&mut self, path: &str, words: &[(&str, T)]) -> T {
        let first = words[0].1;
        let Some(text) = self.text(path) else { return first };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return *value;
        }
        let known: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let origin = self.entry(path).map_or(Origin::Default, |entry| entry.origin);
        self.problem(&origin, path, format!("\"{text}\" is not one of {}", known.join(", ")));
        first
    }

    fn address(&mut self, path: &str) -> SocketAddr {
        let fallback = SocketAddr::from(([127, 0, 0, 1], 0));
        let Some(text) = self.text(path) else { return fallback };
        let text = text.replace("localhost:", "127.0.0.1:");
        SocketAddr::from_str(&text).unwrap_or_else(|_| {
            let origin = self.entry(path).map_or(Origin::Default, |entry| entry.origin);
            self.problem(&origin, path, format!("\"{text}\" is not an address; write IP:PORT, for example 127.0.0.1:4000 or [::]:4000"));
            fallback
        })
    }

    fn api(&mut self) -> String {
        let text = self.text("discord.api").unwrap_or_default();
        let api = text.trim_end_matches('/').to_owned();
        if !(api.starts_with("https://") || api.starts_with("http://")) || api.split("://").nth(1).is_none_or(str::is_empty) {
            let origin = self.entry("discord.api").map_or(Origin::Default, |entry| entry.origin);
            self.problem(
                &origin,
                "discord.api",
                format!("\"{text}\" is not a web address; write https://HOST/api/v10 or http://HOST:PORT/api/v10"),
            );
        }
        api
    }

    /// The address of a database; refused beside a directory. Problems never tell it: there is a password in it.
    fn store_url(&mut self) -> Option<StoreUrl> {
        let given = |key: &&str| self.document.entries.contains_key(*key);
        let ways: Vec<&str> = ["store.path", "store.url", "store.url_file"].into_iter().filter(given).collect();
        let path = *ways.last()?;
        let origin = self.entry(path).map_or(Origin::Default, |entry| entry.origin);
        if path == "store.path" {
            let is_address = |text: &String| text.starts_with("postgres") && text.contains("://");
            if matches!(self.document.entries.get(path), Some(Entry { value: Raw::Text(text), .. }) if is_address(text)) {
                self.problem(&origin, path, "is a directory; the address of a PostgreSQL database goes into store.url".to_owned());
            }
            return None;
        }
        if ways.len() > 1 {
            let text =
                format!("{} are given at once; keep one of them: the store is a directory, or a PostgreSQL database", ways.join(" and "));
            self.problem(&origin, path, text);
            return None;
        }
        let text = self.text(path)?;
        let url = match path {
            "store.url_file" => match std::fs::read_to_string(&text) {
                Ok(url) => url.trim().to_owned(),
                Err(error) => {
                    self.problem(&origin, path, format!("cannot read {text}: {error}"));
                    return None;
                }
            },
            _ => text,
        };
        match trunkline_store::Address::parse(&url) {
            Ok(_) => Some(StoreUrl(Arc::from(url))),
            Err(error) => {
                let text = error.to_string();
                self.problem(&origin, path, text.strip_prefix("store.url ").unwrap_or(&text).to_owned());
                None
            }
        }
    }

    fn sync(&mut self) -> Sync {
        let Some(entry) = self.entry("store.sync") else { return Sync::Every(Duration::from_secs(1)) };
        match &entry.value {
            Raw::Text(text) if text == "always" => return Sync::Always,
            Raw::Text(text) if text == "never" => return Sync::Never,
            Raw::Text(text) => {
                if let Some(duration) = parse_duration(text).filter(|d| !d.is_zero()) {
                    return Sync::Every(duration);
                }
            }
            _ => {}
        }
        self.problem(
            &entry.origin,
            "store.sync",
            format!("{} is not a duration; write \"1s\", \"250ms\", \"always\" or \"never\"", entry.value),
        );
        Sync::Every(Duration::from_secs(1))
    }

    fn cores(&mut self) -> Option<usize> {
        let entry = self.entry("node.cores")?;
        match &entry.value {
            Raw::Text(text) if text == "auto" => None,
            Raw::Integer(n) if (1..=256).contains(n) => usize::try_from(*n).ok(),
            other => {
                self.problem(&entry.origin, "node.cores", format!("wants \"auto\" or a number from 1 to 256, found {other}"));
                None
            }
        }
    }

    /// How many tables of a list were written (`bots` → highest index + 1).
    fn table_count(&self, list: &str) -> usize {
        self.document.table_count(list)
    }

    /// One secret by its three ways: `token`, `token_env`, `token_file`. More than one is a problem.
    fn secret(&mut self, table: &str) -> Option<(String, String)> {
        let ways: Vec<_> = ["token", "token_env", "token_file"]
            .into_iter()
            .filter(|way| self.document.entries.contains_key(&format!("{table}.{way}")))
            .collect();
        let way = *ways.first()?;
        let path = format!("{table}.{way}");
        let origin = self.entry(&path).map_or(Origin::Default, |entry| entry.origin);
        if ways.len() > 1 {
            self.problem(&origin, table, format!("has {} at once; keep one of them", ways.join(" and ")));
            return None;
        }
        let text = self.text(&path)?;
        let found = match way {
            "token_env" => match self.environment.iter().find(|(name, _)| *name == text) {
                Some((_, value)) => (value.clone(), format!("environment {text}")),
                None => {
                    self.problem(&origin, &path, format!("the environment variable {text} is not set; set it, or use token or token_file"));
                    return None;
                }
            },
            "token_file" => match std::fs::read_to_string(&text) {
                Ok(value) => (value, format!("file {text}")),
                Err(error) => {
                    self.problem(&origin, &path, format!("cannot read {text}: {error}"));
                    return None;
                }
            },
            _ => (text, origin.to_string()),
        };
        let value = found.0.trim().to_owned();
        if value.is_empty() || value.bytes().any(|b| b.is_ascii_control()) || !value.is_ascii() {
            self.problem(&origin, &path, "the token is empty or holds characters that no token has; copy it again".to_owned());
            return None;
        }
        Some((value, found.1))
    }

    fn environment_token(&self) -> Option<String> {
        let found = self.environment.iter().find(|(name, _)| name == "DISCORD_TOKEN");
        found.map(|(_, value)| value.trim().to_owned()).filter(|token| !token.is_empty())
    }

    fn bots(&mut self) -> Vec<BotConfig> {
        let count = self.table_count("bots");
        if count == 0 {
            let token = self.environment_token();
            return match token {
                Some(token) if !token.is_empty() => {
                    let token = Token::new(&token);
                    if let Some(why) = token.problem() {
                        self.problem(&Origin::Environment("DISCORD_TOKEN".to_owned()), "", why.to_owned());
                    }
                    vec![BotConfig {
                        token,
                        token_origin: "environment DISCORD_TOKEN".to_owned(),
                        intents: None,
                        shards: ShardsConfig::Auto,
                        presence: None,
                        large_threshold: None,
                        members: Members::None,
                        cache: BotCache::default(),
                    }]
                }
                _ if self.without_bots || self.document.unreadable => Vec::new(),
                _ => {
                    self.problem(&Origin::Default, "", "no bot: set DISCORD_TOKEN in the environment, or add a [[bots]] table with a token to the configuration file; `trunkline demo` needs none".to_owned());
                    Vec::new()
                }
            };
        }
        let mut bots: Vec<BotConfig> = Vec::new();
        for i in 0..count {
            let table = format!("bots.{i}");
            let before = self.document.problems.len();
            let mut secret = self.secret(&table);
            if secret.is_none() && count == 1 && self.document.problems.len() == before {
                // The first step of whoever outgrows "no file": settings for the one bot, its token still in the environment.
                secret = self.environment_token().map(|token| (token, "environment DISCORD_TOKEN".to_owned()));
            }
            let intents = self.intents(&format!("{table}.intents"));
            let shards = self.shards(&format!("{table}.shards"));
            let presence = self.presence(&format!("{table}.presence"));
            let large_threshold = self.large_threshold(&format!("{table}.large_threshold"));
            let modes = [("none", Members::None), ("lazy", Members::Lazy), ("eager", Members::Eager)];
            let members = self.word(&format!("{table}.members"), &modes);
            let cache = self.cache(&format!("{table}.cache"));
            if members != Members::None && !cache.kinds.has(Kind::Member) {
                self.problem(
                    &Origin::Default,
                    &table,
                    "asks for members that its cache is told not to keep; change members or cache.off".to_owned(),
                );
            }
            let Some((token, token_origin)) = secret else {
                if self.document.problems.len() == before && !self.document.unreadable {
                    self.problem(
                        &Origin::Default,
                        &table,
                        "has no token; add token, token_env or token_file (with one bot, DISCORD_TOKEN in the environment is enough)"
                            .to_owned(),
                    );
                }
                continue;
            };
            let token = Token::new(&token);
            if let Some(why) = token.problem() {
                self.problem(&Origin::Default, &table, format!("{why} (token from {token_origin})"));
            }
            if bots.iter().any(|other| other.token == token) {
                self.problem(&Origin::Default, &table, "has the same token as a bot above it; a bot belongs in one table".to_owned());
            }
            bots.push(BotConfig { token, token_origin, intents, shards, presence, large_threshold, members, cache });
        }
        bots
    }

    fn intents(&mut self, path: &str) -> Option<Intents> {
        let entry = self.document.entries.get(path).cloned()?;
        let names: Vec<String> = match &entry.value {
            Raw::Integer(n) => vec![n.to_string()],
            Raw::Text(text) => text.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect(),
            Raw::List(items) => items.iter().map(|item| if let Raw::Text(text) = item { text.clone() } else { item.to_string() }).collect(),
            other => {
                self.problem(&entry.origin, path, format!("wants a list of names, one name or a number, found {}", other.kind()));
                return None;
            }
        };
        match Intents::parse_all(&names) {
            Ok(intents) => Some(intents),
            Err(error) => {
                self.problem(&entry.origin, path, error.to_string());
                None
            }
        }
    }

    fn shards(&mut self, path: &str) -> ShardsConfig {
        let Some(entry) = self.entry(path) else { return ShardsConfig::Auto };
        let whole = |raw: Option<&Raw>| match raw {
            Some(Raw::Integer(n)) => u32::try_from(*n).ok(),
            _ => None,
        };
        match &entry.value {
            Raw::Text(text) if text == "auto" => return ShardsConfig::Auto,
            Raw::Integer(n) if (1..=100_000).contains(n) => return ShardsConfig::Total(u32::try_from(*n).unwrap_or(1)),
            Raw::Table(table) if table.keys().all(|key| ["total", "first", "last"].contains(&key.as_str())) => {
                if let (Some(total), Some(first), Some(last)) =
                    (whole(table.get("total")), whole(table.get("first")), whole(table.get("last")))
                    && (1..=100_000).contains(&total)
                    && first <= last
                    && last < total
                {
                    return ShardsConfig::Range { total, first, last };
                }
            }
            _ => {}
        }
        self.problem(
            &entry.origin,
            path,
            format!(
                "{} is not a set of shards; write \"auto\", a number, or {{ total = 64, first = 0, last = 15 }} with first <= last < total",
                entry.value
            ),
        );
        ShardsConfig::Auto
    }

    fn presence(&mut self, path: &str) -> Option<String> {
        let entry = self.document.entries.get(path).cloned()?;
        let Raw::Table(table) = &entry.value else {
            self.problem(
                &entry.origin,
                path,
                "wants a table: { status = \"online\", activities = [{ name = \"chess\", type = 0 }] }".to_owned(),
            );
            return None;
        };
        let known = ["status", "activities", "afk", "since"];
        if let Some(odd) = table.keys().find(|key| !known.contains(&key.as_str())) {
            self.problem(&entry.origin, path, format!("{odd} is not part of a presence; it has {}", known.join(", ")));
        }
        if let Some(status) = table.get("status")
            && !matches!(status, Raw::Text(text) if ["online", "dnd", "idle", "invisible", "offline"].contains(&text.as_str()))
        {
            self.problem(&entry.origin, path, format!("status {status} is not one of online, dnd, idle, invisible, offline"));
        }
        let mut object = serde_json::Map::new();
        for (key, default) in
            [("since", serde_json::Value::Null), ("activities", serde_json::json!([])), ("status", "online".into()), ("afk", false.into())]
        {
            object.insert(key.to_owned(), table.get(key).map_or(default, to_json));
        }
        Some(serde_json::Value::Object(object).to_string())
    }

    fn large_threshold(&mut self, path: &str) -> Option<u32> {
        let entry = self.document.entries.get(path).cloned()?;
        match entry.value {
            Raw::Integer(n) if (50..=250).contains(&n) => u32::try_from(n).ok(),
            other => {
                self.problem(&entry.origin, path, format!("wants a number from 50 to 250, found {other}"));
                None
            }
        }
    }

    fn cache(&mut self, table: &str) -> BotCache {
        let default = BotCache::default();
        let mut kinds = default.kinds;
        let path = format!("{table}.off");
        if let Some(entry) = self.document.entries.get(&path).cloned() {
            let Raw::List(items) = &entry.value else {
                self.problem(&entry.origin, &path, format!("wants a list of kinds of objects, found {}", entry.value.kind()));
                return default;
            };
            for item in items {
                let name = if let Raw::Text(text) = item { text.clone() } else { item.to_string() };
                match Kind::from_name(&name).filter(|kind| kinds.without(*kind) != kinds) {
                    Some(kind) => kinds = kinds.without(kind),
                    None => {
                        let known: Vec<_> =
                            Kind::ALL.into_iter().filter(|kind| Kinds::ALL.without(*kind) != Kinds::ALL).map(Kind::as_str).collect();
                        let known = known.join(", ");
                        self.problem(
                            &entry.origin,
                            &path,
                            format!("{item} is not a kind of objects that can be off, or it is there twice; they are {known}"),
                        );
                    }
                }
            }
        }
        let path = format!("{table}.messages");
        let messages = match self.document.entries.get(&path).cloned() {
            None => default.messages,
            Some(Entry { value: Raw::Integer(n), .. }) if (0..=10_000).contains(&n) => u32::try_from(n).unwrap_or(default.messages),
            Some(entry) => {
                self.problem(&entry.origin, &path, format!("wants a number from 0 to 10000, found {}", entry.value));
                default.messages
            }
        };
        BotCache {
            kinds,
            messages,
            messages_age_ms: self.milliseconds(&format!("{table}.messages_age_ms")).unwrap_or(default.messages_age_ms),
            messages_bytes: self.bytes(&format!("{table}.messages_bytes")).unwrap_or(default.messages_bytes),
            presences_raw_bytes: self.bytes(&format!("{table}.presences_raw_bytes")).unwrap_or(default.presences_raw_bytes),
            budget_bytes: self.bytes(&format!("{table}.budget_bytes")),
        }
    }

    fn groups(&mut self) -> Vec<GroupConfig> {
        let count = self.table_count("groups");
        if count == 0 {
            return vec![GroupConfig {
                name: Arc::from("default"),
                token: None,
                filter: Filter::default(),
                limits: GroupLimits::default(),
            }];
        }
        if count > GROUPS_MAX {
            self.problem(&Origin::Default, "groups", format!("there are {count} groups; at most {GROUPS_MAX} fit one process"));
        }
        let mut names = BTreeSet::new();
        let mut groups = Vec::new();
        for i in 0..count {
            let table = format!("groups.{i}");
            let path = format!("{table}.name");
            let name = self.text(&path);
            let origin = self.entry(&path).map_or(Origin::Default, |entry| entry.origin);
            let token = self.secret(&table).map(|(token, _)| GroupToken::new(&token));
            let filter = self.filter(&table);
            let limits = self.limits(&table);
            let Some(name) = name else {
                if self.document.unreadable {
                    continue;
                }
                self.problem(&Origin::Default, &table, "has no name; add name = \"…\"".to_owned());
                continue;
            };
            if name.is_empty()
                || name.len() > 64
                || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
                || name.starts_with('.')
            {
                self.problem(
                    &origin,
                    &path,
                    format!("\"{name}\" cannot be a group's name; use up to 64 letters, digits, '-', '_' and '.'"),
                );
            }
            if !names.insert(name.clone()) {
                self.problem(&origin, &path, format!("there are two groups named \"{name}\""));
            }
            groups.push(GroupConfig { name: Arc::from(name), token, filter, limits });
        }
        groups
    }

    fn filter(&mut self, table: &str) -> Filter {
        Filter {
            events: self.event_names(&format!("{table}.events")),
            exclude_events: self.event_names(&format!("{table}.exclude_events")),
            bots: self.ids(&format!("{table}.bots")),
            guilds: self.ids(&format!("{table}.guilds")),
        }
    }

    /// Event names are checked for their form only: one that this version does not know may still be Discord's newest.
    fn event_names(&mut self, path: &str) -> Vec<Arc<str>> {
        let Some(entry) = self.entry(path) else { return Vec::new() };
        let Raw::List(items) = &entry.value else {
            self.problem(&entry.origin, path, format!("wants a list of event names, found {}", entry.value.kind()));
            return Vec::new();
        };
        let mut names = Vec::new();
        for item in items {
            match item {
                Raw::Text(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
                    let name = text.to_ascii_uppercase();
                    if EventKind::from_name(&name) == EventKind::Unknown {
                        self.warnings
                            .push(format!("{path}: {name} is not an event this version knows; it is kept, in case Discord sends it"));
                    }
                    names.push(Arc::from(name));
                }
                other => self.problem(
                    &entry.origin,
                    path,
                    format!("{other} is not an event name; write it as Discord does, for example \"MESSAGE_CREATE\""),
                ),
            }
        }
        names
    }

    fn ids(&mut self, path: &str) -> Vec<u64> {
        let Some(entry) = self.entry(path) else { return Vec::new() };
        let Raw::List(items) = &entry.value else {
            self.problem(&entry.origin, path, format!("wants a list of ids, found {}", entry.value.kind()));
            return Vec::new();
        };
        let mut ids = Vec::new();
        for item in items {
            let id = match item {
                Raw::Integer(n) => u64::try_from(*n).ok(),
                Raw::Text(text) => text.parse().ok(),
                _ => None,
            };
            match id {
                Some(id) if id > 0 => ids.push(id),
                _ => self.problem(&entry.origin, path, format!("{item} is not an id")),
            }
        }
        ids
    }

    fn limits(&mut self, table: &str) -> GroupLimits {
        let default = GroupLimits::default();
        GroupLimits {
            memory_bytes: self.bytes(&format!("{table}.limits.memory_bytes")).unwrap_or(default.memory_bytes),
            disk_bytes: self.bytes(&format!("{table}.limits.disk_bytes")).unwrap_or(default.disk_bytes),
            age_ms: self.milliseconds(&format!("{table}.limits.age_ms")).unwrap_or(default.age_ms),
        }
    }

    fn bytes(&mut self, path: &str) -> Option<u64> {
        let entry = self.document.entries.get(path).cloned()?;
        let parsed = match &entry.value {
            Raw::Integer(n) => u64::try_from(*n).ok(),
            Raw::Text(text) => parse_bytes(text),
            _ => None,
        };
        if parsed.is_none() {
            self.problem(&entry.origin, path, format!("{} is not a size; write a number of bytes or \"64MiB\", \"4GiB\"", entry.value));
        }
        parsed
    }

    fn milliseconds(&mut self, path: &str) -> Option<u64> {
        let entry = self.document.entries.get(path).cloned()?;
        let parsed = match &entry.value {
            Raw::Integer(n) => u64::try_from(*n).ok(),
            Raw::Text(text) => parse_duration(text).and_then(|d| u64::try_from(d.as_millis()).ok()),
            _ => None,
        }
        .filter(|ms| *ms > 0);
        if parsed.is_none() {
            self.problem(
                &entry.origin,
                path,
                format!("{} is not a duration; write a number of milliseconds or \"30s\", \"1h\"", entry.value),
            );
        }
        parsed
    }
}

fn to_json(raw: &Raw) -> serde_json::Value {
    match raw {
        Raw::Text(text) => text.clone().into(),
        Raw::Integer(n) => i64::try_from(*n).map_or_else(|_| serde_json::Value::Null, Into::into),
        Raw::Float(n) => (*n).into(),
        Raw::Boolean(b) => (*b).into(),
        Raw::List(items) => items.iter().map(to_json).collect(),
        Raw::Table(table) => serde_json::Value::Object(table.iter().map(|(key, value)| (key.clone(), to_json(value))).collect()),
    }
}

/// `250ms`, `1s`, `20s`, `5m`, `1h`, `2d`; a bare number is seconds.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let number: f64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * unit).ok()
}

fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(unit)
}

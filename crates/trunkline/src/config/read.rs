//! From the flat document to typed values, noting every problem on the way.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use trunkline_discord::{Compression, EventKind, Intents};
use trunkline_etf::Encoding;

use super::document::{Document, Entry, Origin, Problem, Raw};
use super::values::parse_duration;
use super::{
    BotConfig, Config, DiscordConfig, GroupConfig, ListenConfig, LogConfig, Members, Sources, StateConfig, StoreConfig, StoreUrl, Sync,
};

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

/// What reading goes through, and what it meets.
pub(super) struct Reader<'a> {
    pub(super) document: Document,
    pub(super) environment: &'a [(String, String)],
    pub(super) without_bots: bool,
    pub(super) warnings: Vec<String>,
}

impl Reader<'_> {
    /// A file of certificates that can be read. Without bots nobody speaks to Discord, and nobody needs it.
    fn ca_file(&mut self) -> Option<PathBuf> {
        let file = PathBuf::from(self.text("discord.ca_file")?);
        let why = match std::fs::metadata(&file) {
            _ if self.without_bots => None,
            Ok(found) if found.is_dir() => Some("it is a directory".to_owned()),
            Ok(found) if found.is_file() => std::fs::File::open(&file).err().map(|error| error.to_string()),
            // A pipe gives what it has once: whoever reads it opens it.
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = why {
            let origin = self.entry("discord.ca_file").map_or(Origin::Default, |entry| entry.origin);
            let text = format!("cannot read {}: {why}; give the path of a PEM file with the root certificate", file.display());
            self.problem(&origin, "discord.ca_file", text);
        }
        Some(file)
    }

    fn config(&mut self) -> Option<Config> {
        let discord = DiscordConfig {
            api: self.api(),
            encoding: self.word("discord.encoding", &[("etf", Encoding::Etf), ("json", Encoding::Json)]),
            compress: self.word(
                "discord.compress",
                &[("zstd-stream", Compression::ZstdStream), ("zlib-stream", Compression::ZlibStream), ("none", Compression::None)],
            ),
            ca_file: self.ca_file(),
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
        let database = ["store.url", "store.url_file"].iter().any(|way| self.document.entries.contains_key(*way));
        if self.without_bots && !database {
            let text = "is missing: --roles state reads PostgreSQL; set it (or store.url_file) to the database of the process that holds the shards";
            self.problem(&Origin::Default, "store.url", text.to_owned());
        }
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
}

//! The bots: tokens, intents, shards, presence, and what their caches keep.

use trunkline_cache::{Kind, Kinds};
use trunkline_discord::{Intents, Token};

use super::document::{Entry, Origin, Raw};
use super::read::Reader;
use super::{BotCache, BotConfig, Members, ShardsConfig};

impl Reader<'_> {
    fn environment_token(&self) -> Option<String> {
        let found = self.environment.iter().find(|(name, _)| name == "DISCORD_TOKEN");
        found.map(|(_, value)| value.trim().to_owned()).filter(|token| !token.is_empty())
    }

    pub(super) fn bots(&mut self) -> Vec<BotConfig> {
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

//! Single values: text, numbers, addresses, sizes, durations, secrets, each noted as a problem where it is none.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::document::{Document, Entry, Origin, Problem, Raw};
use super::keys;
use super::read::Reader;

impl Reader<'_> {
    pub(super) fn problem(&mut self, origin: &Origin, key: &str, text: String) {
        self.document.problems.push(Problem { origin: origin.clone(), key: key.to_owned(), text });
    }

    pub(super) fn entry(&self, path: &str) -> Option<Entry> {
        self.document.entries.get(path).cloned().or_else(|| {
            let default = keys::find(path).map(|key| key.default).filter(|default| !default.is_empty())?;
            let mut one = Document::default();
            one.set_text(path, default, Origin::Default);
            one.entries.remove(path)
        })
    }

    pub(super) fn text(&mut self, path: &str) -> Option<String> {
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

    pub(super) fn boolean(&mut self, path: &str) -> bool {
        match self.entry(path) {
            Some(Entry { value: Raw::Boolean(value), .. }) => value,
            Some(entry) => {
                self.problem(&entry.origin, path, format!("wants true or false, found {}", entry.value.kind()));
                false
            }
            None => false,
        }
    }

    pub(super) fn word<T: Copy>(&mut self, path: &str, words: &[(&str, T)]) -> T {
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

    pub(super) fn address(&mut self, path: &str) -> SocketAddr {
        let fallback = SocketAddr::from(([127, 0, 0, 1], 0));
        let Some(text) = self.text(path) else { return fallback };
        let text = text.replace("localhost:", "127.0.0.1:");
        SocketAddr::from_str(&text).unwrap_or_else(|_| {
            let origin = self.entry(path).map_or(Origin::Default, |entry| entry.origin);
            self.problem(&origin, path, format!("\"{text}\" is not an address; write IP:PORT, for example 127.0.0.1:4000 or [::]:4000"));
            fallback
        })
    }

    /// How many tables of a list were written (`bots` → highest index + 1).
    pub(super) fn table_count(&self, list: &str) -> usize {
        self.document.table_count(list)
    }

    /// One secret by its three ways: `token`, `token_env`, `token_file`. More than one is a problem.
    pub(super) fn secret(&mut self, table: &str) -> Option<(String, String)> {
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

    pub(super) fn ids(&mut self, path: &str) -> Vec<u64> {
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

    pub(super) fn bytes(&mut self, path: &str) -> Option<u64> {
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

    pub(super) fn milliseconds(&mut self, path: &str) -> Option<u64> {
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

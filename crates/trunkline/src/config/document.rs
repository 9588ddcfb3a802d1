//! File, environment and flags laid over one another: a flat map from dotted path to value and origin.
//!
//! Nothing here knows what a key means; it knows which keys exist (`keys`), where each value came from, and how to say so.

use std::collections::BTreeMap;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys;

/// Where a value came from; told in errors and by `trunkline check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The configuration file, at a line and column (from 1).
    File {
        /// The file.
        name: String,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A command line flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value as it was written.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// Text.
    Text(String),
    /// Whole number.
    Integer(i128),
    /// Number with a fraction.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// List.
    List(Vec<Raw>),
    /// Inline table.
    Table(BTreeMap<String, Raw>),
}

impl Raw {
    /// What a person would call this type.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(n) => write!(f, "{n}"),
            Self::Float(n) => write!(f, "{n}"),
            Self::Boolean(b) => write!(f, "{b}"),
            Self::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Table(entries) => {
                f.write_str("{ ")?;
                for (i, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key} = {value}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str(" }")
            }
        }
    }
}

/// One set value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The value.
    pub value: Raw,
    /// Where it was set.
    pub origin: Origin,
}

/// Something wrong with the configuration: where, which key, and what to do.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Where it was written.
    pub origin: Origin,
    /// The key, or empty for the file as a whole.
    pub key: String,
    /// What is wrong and what to do about it.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.key.is_empty()) {
            (Origin::Default, true) => write!(f, "{}", self.text),
            (Origin::Default, false) => write!(f, "{}: {}", self.key, self.text),
            (origin, true) => write!(f, "{origin}: {}", self.text),
            (origin, false) => write!(f, "{origin}: {}: {}", self.key, self.text),
        }
    }
}

/// All set values by dotted path; later layers replace earlier ones.
#[derive(Debug, Default)]
pub struct Document {
    /// Values by concrete path (`bots.0.token`).
    pub entries: BTreeMap<String, Entry>,
    /// What was wrong so far.
    pub problems: Vec<Problem>,
    /// A file is no TOML: what it says is not known, so nothing can be said to be missing.
    pub unreadable: bool,
}

impl Document {
    /// Reads a TOML text. Malformed TOML is one problem with line and column; unknown keys are one problem each.
    pub fn add_file(&mut self, name: &str, text: &str) {
        match DeTable::parse(text) {
            Ok(table) => self.walk_table(name, text, "", table.get_ref()),
            Err(error) => {
                let (line, column) = error.span().map_or((1, 1), |span| position(text, span.start));
                let origin = Origin::File { name: name.to_owned(), line, column };
                let what = error.message().trim().replace('\n', "; ");
                self.unreadable = true;
                self.problem(origin, "", format!("this is not valid TOML: {what}"));
            }
        }
    }

    /// Takes every `TRUNKLINE_…` variable that names a key. Others with the prefix are problems: a typing error must not be quiet.
    pub fn add_environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        let mut variables: Vec<_> = variables.filter(|(name, _)| name.starts_with("TRUNKLINE_")).collect();
        variables.sort();
        for (name, value) in variables {
            // Read by `trunkline worker`, not by the server.
            if name == "TRUNKLINE_TOKEN" || name == "TRUNKLINE_CONFIG" {
                continue;
            }
            let origin = Origin::Environment(name.clone());
            match keys::from_environment(&name) {
                Some(path) => self.set_text(&path, &value, origin),
                None => {
                    let hint = keys::nearest_environment(&name)
                        .map_or_else(|| "unset it or see `trunkline check --keys`".to_owned(), |near| format!("did you mean {near}?"));
                    self.problem(origin, "", format!("{name} names no configuration key; {hint}"));
                }
            }
        }
    }

    /// Sets one value that came as text (environment, flag). Text that reads as a TOML value other than a bare word is taken as that value.
    pub fn set_text(&mut self, path: &str, text: &str, origin: Origin) {
        let value = match DeValue::parse(text) {
            Ok(value) if !value.get_ref().is_str() || text.trim_start().starts_with(['"', '\'']) => to_raw(value.get_ref()),
            _ => Raw::Text(text.to_owned()),
        };
        self.entries.insert(path.to_owned(), Entry { value, origin });
    }

    /// How many tables of a list were written (`bots` → highest index + 1).
    pub(super) fn table_count(&self, list: &str) -> usize {
        let prefix = format!("{list}.");
        self.entries
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix)?.split('.').next()?.parse::<usize>().ok())
            .max()
            .map_or(0, |highest| highest + 1)
    }

    fn problem(&mut self, origin: Origin, key: &str, text: String) {
        self.problems.push(Problem { origin, key: key.to_owned(), text });
    }

    fn walk_table(&mut self, name: &str, text: &str, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
            self.walk_value(name, text, &path, key.span().start, value);
        }
    }

    fn walk_value(&mut self, name: &str, text: &str, path: &str, at: usize, value: &Spanned<DeValue<'_>>) {
        let (line, column) = position(text, at);
        let origin = Origin::File { name: name.to_owned(), line, column };
        if keys::find(path).is_some() {
            self.entries.insert(path.to_owned(), Entry { value: to_raw(value.get_ref()), origin });
            return;
        }
        match value.get_ref() {
            DeValue::Table(table) if keys::is_section(path) => self.walk_table(name, text, path, table),
            DeValue::Array(items) if keys::is_section(&format!("{path}.0")) => {
                for (i, item) in items.iter().enumerate() {
                    match item.get_ref() {
                        DeValue::Table(table) => self.walk_table(name, text, &format!("{path}.{i}"), table),
                        other => self.problem(origin.clone(), path, format!("wants tables ([[{path}]]), found {}", other.type_str())),
                    }
                }
            }
            _ if keys::is_section(path) => {
                let want = if keys::is_section(&format!("{path}.0")) {
                    format!("a list of tables, written [[{path}]]")
                } else {
                    format!("a table, written [{path}]")
                };
                self.problem(origin, path, format!("must be {want}"));
            }
            other => {
                let tables = match other {
                    DeValue::Table(_) => true,
                    DeValue::Array(items) => items.iter().any(|item| item.get_ref().is_table()),
                    _ => false,
                };
                let (what, near) = if tables { ("table", keys::nearest_table(path)) } else { ("key", keys::nearest(path)) };
                let list = path.split_once('.').map(|(list, _)| list).filter(|list| keys::is_section(&format!("{list}.0")));
                let hint = match (near, list) {
                    // The keys of one of a list's tables, without saying that it is one.
                    (Some(near), Some(list)) if near == path => format!("{list} is a list of tables, each written [[{list}]]"),
                    (Some(near), _) => format!("did you mean {near}?"),
                    (None, _) => "see `trunkline check --keys` for all of them".to_owned(),
                };
                self.problem(origin, path, format!("there is no such {what}; {hint}"));
            }
        }
    }
}

fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
}

fn to_raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(n) => {
            let text = n.as_str().replace('_', "");
            let digits = text.trim_start_matches("0x").trim_start_matches("0o").trim_start_matches("0b");
            i128::from_str_radix(digits, n.radix()).map_or(Raw::Text(text.clone()), Raw::Integer)
        }
        DeValue::Float(n) => n.as_str().replace('_', "").parse().map_or_else(|_| Raw::Text(n.as_str().to_owned()), Raw::Float),
        DeValue::Boolean(b) => Raw::Boolean(*b),
        DeValue::Datetime(at) => Raw::Text(at.to_string()),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| to_raw(item.get_ref())).collect()),
        DeValue::Table(table) => {
            Raw::Table(table.iter().map(|(key, value)| (key.get_ref().to_string(), to_raw(value.get_ref()))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Document {
        let mut document = Document::default();
        document.add_file("t.toml", text);
        document
    }

    #[test]
    fn malformed_toml_is_told_with_line_and_column() {
        let document = read("[discord]\napi = \"x\"\nencoding = = 1\n");
        assert_eq!(document.problems.len(), 1);
        let text = document.problems[0].to_string();
        assert!(text.starts_with("t.toml:3:12: this is not valid TOML"), "{text}");
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_known_one() {
        let document = read("[discord]\nencodin = \"etf\"\n[[bots]]\ntokn = \"a\"\n");
        let texts: Vec<_> = document.problems.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(
            texts.iter().any(|t| t == "t.toml:2:1: discord.encodin: there is no such key; did you mean discord.encoding?"),
            "{texts:?}"
        );
        assert!(texts.iter().any(|t| t == "t.toml:4:1: bots.0.tokn: there is no such key; did you mean bots.token?"), "{texts:?}");
    }

    #[test]
    fn an_unknown_table_is_named_with_the_nearest_known_one() {
        for (text, told) in [
            ("[lissten]\nclients = \"x\"\n", "t.toml:1:2: lissten: there is no such table; did you mean [listen]?"),
            ("[bots]\ntoken = \"a\"\n", "t.toml:2:1: bots.token: there is no such key; bots is a list of tables, each written [[bots]]"),
            ("[[bot]]\ntoken = \"a\"\n", "t.toml:1:3: bot: there is no such table; did you mean [[bots]]?"),
            ("[[bots]]\n[bots.cach]\noff = []\n", "t.toml:2:7: bots.0.cach: there is no such table; did you mean bots.cache?"),
            ("[[groups]]\nlimit = { age_ms = 1 }\n", "t.toml:2:1: groups.0.limit: there is no such table; did you mean groups.limits?"),
            (
                "[[bots]]\npresense = { status = \"idle\" }\n",
                "t.toml:2:1: bots.0.presense: there is no such table; did you mean bots.presence?",
            ),
            ("[quite_other]\na = 1\n", "t.toml:1:2: quite_other: there is no such table; see `trunkline check --keys` for all of them"),
        ] {
            let texts: Vec<_> = read(text).problems.iter().map(ToString::to_string).collect();
            assert_eq!(texts, [told], "{text}");
        }
    }

    #[test]
    fn a_variable_that_names_no_key_is_a_problem_and_a_known_one_wins_over_the_file() {
        let mut document = read("[discord]\nencoding = \"etf\"\n");
        document.add_environment(
            [("TRUNKLINE_DISCORD_ENCODING", "json"), ("TRUNKLINE_DISCRD_API", "x"), ("HOME", "/")]
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .into_iter(),
        );
        assert_eq!(document.entries["discord.encoding"].value, Raw::Text("json".to_owned()));
        assert_eq!(document.problems.len(), 1);
    }

    #[test]
    fn text_from_the_environment_may_be_a_number_a_list_or_a_bare_word() {
        let mut document = Document::default();
        for (path, text) in
            [("a", "64"), ("b", "[1, 2]"), ("c", "zstd-stream"), ("d", "\"quoted\""), ("e", "127.0.0.1:4000"), ("f", "true")]
        {
            document.set_text(path, text, Origin::Default);
        }
        assert_eq!(document.entries["a"].value, Raw::Integer(64));
        assert_eq!(document.entries["b"].value, Raw::List(vec![Raw::Integer(1), Raw::Integer(2)]));
        assert_eq!(document.entries["c"].value, Raw::Text("zstd-stream".into()));
        assert_eq!(document.entries["d"].value, Raw::Text("quoted".into()));
        assert_eq!(document.entries["e"].value, Raw::Text("127.0.0.1:4000".into()));
        assert_eq!(document.entries["f"].value, Raw::Boolean(true));
    }
}

//! The effective configuration as `trunkline check` prints it: every key, its value, where it came from, secrets masked.

use std::fmt::Write as _;

use super::document::Document;
use super::keys;

/// One line a key, in the order of the key table; keys in lists only where they were set.
#[must_use]
pub fn show(document: &Document) -> String {
    let mut out = String::new();
    for key in keys::KEYS {
        if key.path.contains('*') {
            for (path, entry) in document.entries.iter().filter(|(path, _)| keys::find(path).is_some_and(|k| k.path == key.path)) {
                let value = if key.secret { "\"***\"".to_owned() } else { entry.value.to_string() };
                line(&mut out, path, &value, &entry.origin.to_string());
            }
            continue;
        }
        match document.entries.get(key.path) {
            Some(entry) => line(&mut out, key.path, &entry.value.to_string(), &entry.origin.to_string()),
            None if key.default.is_empty() => {}
            None => line(&mut out, key.path, key.default, "default"),
        }
    }
    out
}

fn line(out: &mut String, path: &str, value: &str, origin: &str) {
    let setting = format!("{path} = {value}");
    // Writing to a String cannot fail.
    writeln!(out, "{setting:<58} # {origin}").ok();
}

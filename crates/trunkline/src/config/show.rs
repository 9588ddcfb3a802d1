//! The effective configuration as `trunkline check` prints it: every key, its value, where it came from, secrets masked.

use std::fmt::Write as _;

use super::document::Document;
use super::{Config, keys};

/// One line a key, in the order of the key table, bots and groups one after the other; a key without value and default is left out.
/// What is wrong is shown as it was written.
#[must_use]
pub fn show(document: &Document, config: Option<&Config>) -> String {
    let mut out = String::new();
    let mut shown = Vec::new();
    for key in keys::KEYS {
        let Some((list, _)) = key.path.split_once(".*.") else {
            one(&mut out, document, config, key, key.path);
            continue;
        };
        if shown.contains(&list) {
            continue;
        }
        shown.push(list);
        let read = config.map_or(0, |config| if list == "bots" { config.bots.len() } else { config.groups.len() });
        // Tables that are wrong are in the document only; what needs no table is in the configuration only.
        let count = document.table_count(list).max(read);
        for index in 0..count {
            for key in keys::KEYS.iter().filter(|key| key.path.split_once(".*.").is_some_and(|(of, _)| of == list)) {
                one(&mut out, document, config, key, &key.path.replacen('*', &index.to_string(), 1));
            }
        }
    }
    out
}

fn one(out: &mut String, document: &Document, config: Option<&Config>, key: &keys::Key, path: &str) {
    match document.entries.get(path) {
        Some(entry) if path == "store.url" => {
            let url = config.and_then(|config| config.store.url.as_ref()).map_or_else(|| "***".to_owned(), super::StoreUrl::shown);
            line(out, path, &format!("\"{url}\""), &entry.origin.to_string());
        }
        Some(_) if key.secret => line(out, path, "\"***\"", &document.entries[path].origin.to_string()),
        Some(entry) => line(out, path, &entry.value.to_string(), &entry.origin.to_string()),
        None if !key.default.is_empty() => line(out, path, key.default, "default"),
        None => {
            if let Some((value, origin)) = config.and_then(|config| found_elsewhere(document, config, path)) {
                line(out, path, &value, &origin);
            }
        }
    }
}

/// What is in force though the key is not set: a bot's token in `DISCORD_TOKEN`, the one group of a configuration without any, and a
/// group's token in the store.
fn found_elsewhere(document: &Document, config: &Config, path: &str) -> Option<(String, String)> {
    let mut parts = path.split('.');
    let (list, index, key) = (parts.next()?, parts.next()?.parse::<usize>().ok()?, parts.next()?);
    let way_given = || ["token_env", "token_file"].iter().any(|way| document.entries.contains_key(&format!("{list}.{index}.{way}")));
    // Where a table could not be read, the places in the lists are not those of the tables.
    let read = if list == "bots" { config.bots.len() } else { config.groups.len() };
    if document.table_count(list).max(1) != read {
        return None;
    }
    match (list, key) {
        ("bots", "token") if !way_given() => Some(("\"***\"".to_owned(), config.bots.get(index)?.token_origin.clone())),
        ("groups", "name") => Some((format!("\"{}\"", config.groups.get(index)?.name), "default".to_owned())),
        ("groups", "token") if !way_given() => {
            let file = config.store.path.join(format!("{}.token", config.groups.get(index)?.name));
            Some(("\"***\"".to_owned(), format!("kept in {}, made at the first start", file.display())))
        }
        _ => None,
    }
}

fn line(out: &mut String, path: &str, value: &str, origin: &str) {
    let setting = format!("{path} = {value}");
    // Writing to a String cannot fail.
    writeln!(out, "{setting:<58} # {origin}").ok();
}

//! The groups of workers.

use std::collections::BTreeSet;
use std::sync::Arc;

use trunkline_delivery::{Filter, GroupLimits};
use trunkline_discord::EventKind;

use super::document::{Origin, Raw};
use super::read::Reader;
use super::{GroupConfig, GroupToken};

/// Groups fit a 64 bit mask on every event.
const GROUPS_MAX: usize = 64;

impl Reader<'_> {
    pub(super) fn groups(&mut self) -> Vec<GroupConfig> {
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

    fn limits(&mut self, table: &str) -> GroupLimits {
        let default = GroupLimits::default();
        GroupLimits {
            memory_bytes: self.bytes(&format!("{table}.limits.memory_bytes")).unwrap_or(default.memory_bytes),
            disk_bytes: self.bytes(&format!("{table}.limits.disk_bytes")).unwrap_or(default.disk_bytes),
            age_ms: self.milliseconds(&format!("{table}.limits.age_ms")).unwrap_or(default.age_ms),
        }
    }
}

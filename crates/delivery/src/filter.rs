//! Which events a group, or one worker of it, wants.
//!
//! A filter is written as names and ids and compiled once into sets; it is evaluated once per event and group.

use std::sync::Arc;

use hashbrown::HashSet;
use trunkline_discord::{Event, EventKind, ShardId};

/// Which events are wanted. The default wants everything; every list that is not empty narrows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Names as Discord writes them (`MESSAGE_CREATE`); empty: all. A name nobody knows matches an event of that name.
    pub events: Vec<Arc<str>>,
    /// Names that are not wanted; stronger than `events`.
    pub exclude_events: Vec<Arc<str>>,
    /// Bot ids; empty: all.
    pub bots: Vec<u64>,
    /// Guild ids; empty: all, and events without a guild. With guilds named, only events of these guilds are wanted.
    pub guilds: Vec<u64>,
}

impl Filter {
    /// Whether this event is wanted. Callers with many events compile the filter instead; the hub does.
    pub fn wants(&self, event: &Event) -> bool {
        CompiledFilter::new(self).wants(event)
    }

    /// Whether a gap in this shard's events could hide an event that is wanted.
    pub fn concerns(&self, shard: ShardId) -> bool {
        CompiledFilter::new(self).concerns(shard)
    }
}

/// A filter as the hub evaluates it.
#[derive(Clone, Debug)]
pub(crate) struct CompiledFilter {
    everything: bool,
    /// One bit per documented kind.
    kinds: [u64; 4],
    /// What holds for names that are not documented unless listed below.
    unknown_default: bool,
    unknown_listed: Vec<Arc<str>>,
    unknown_excluded: Vec<Arc<str>>,
    bots: Vec<u64>,
    guilds: HashSet<u64, foldhash::fast::FixedState>,
}

impl CompiledFilter {
    pub(crate) fn new(filter: &Filter) -> CompiledFilter {
        let mut kinds = [0; 4];
        for kind in EventKind::ALL {
            let listed = filter.events.is_empty() || filter.events.iter().any(|name| &**name == kind.name());
            let excluded = filter.exclude_events.iter().any(|name| &**name == kind.name());
            if listed && !excluded {
                kinds[*kind as usize / 64] |= 1 << (*kind as usize % 64);
            }
        }
        let mut guilds = HashSet::with_hasher(foldhash::fast::FixedState::default());
        guilds.extend(filter.guilds.iter().copied());
        CompiledFilter {
            everything: *filter == Filter::default(),
            kinds,
            unknown_default: filter.events.is_empty(),
            unknown_listed: filter.events.clone(),
            unknown_excluded: filter.exclude_events.clone(),
            bots: filter.bots.clone(),
            guilds,
        }
    }

    pub(crate) fn wants(&self, event: &Event) -> bool {
        self.everything
            || (self.wants_kind(event)
                && (self.bots.is_empty() || self.bots.contains(&event.shard.bot))
                && (self.guilds.is_empty() || event.routing.guild_id.is_some_and(|id| self.guilds.contains(&id))))
    }

    fn wants_kind(&self, event: &Event) -> bool {
        if event.kind != EventKind::Unknown {
            return self.kinds[event.kind as usize / 64] & (1 << (event.kind as usize % 64)) != 0;
        }
        let is = |name: &Arc<str>| &**name == event.name.as_str();
        (self.unknown_default || self.unknown_listed.iter().any(is)) && !self.unknown_excluded.iter().any(is)
    }

    pub(crate) fn concerns(&self, shard: ShardId) -> bool {
        (self.bots.is_empty() || self.bots.contains(&shard.bot))
            && (self.guilds.is_empty() || self.guilds.iter().any(|guild| shard.owns(*guild)))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use trunkline_discord::{Encoding, EventName, Routing, Time};

    use super::*;

    fn event(name: &str, guild_id: Option<u64>) -> Event {
        let kind = EventKind::from_name(name);
        Event {
            shard: ShardId { bot: 7, index: 0, count: 2 },
            session: 1,
            s: 1,
            epoch: 1,
            kind,
            name: EventName::new(kind, name),
            encoding: Encoding::Json,
            body: Bytes::new(),
            previous: None,
            origin: None,
            routing: Routing { guild_id, ..Routing::default() },
            received_at_unix_us: 0,
            received_at: Time::ZERO,
        }
    }

    #[test]
    fn an_empty_filter_wants_everything() {
        let all = Filter::default();
        assert!(all.wants(&event("MESSAGE_CREATE", None)) && all.wants(&event("BRAND_NEW", Some(1))));
        assert!(all.concerns(ShardId { bot: 1, index: 0, count: 1 }));
    }

    #[test]
    fn an_exclusion_is_stronger_than_a_name_and_unknown_names_can_be_named() {
        let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
        let some =
            Filter { events: names(&["GUILD_CREATE", "BRAND_NEW", "READY"]), exclude_events: names(&["READY"]), ..Filter::default() };
        assert!(some.wants(&event("GUILD_CREATE", None)) && some.wants(&event("BRAND_NEW", None)));
        assert!(!some.wants(&event("READY", None)) && !some.wants(&event("NEWER", None)) && !some.wants(&event("GUILD_UPDATE", None)));
        let not = Filter { exclude_events: names(&["BRAND_NEW"]), ..Filter::default() };
        assert!(!not.wants(&event("BRAND_NEW", None)) && not.wants(&event("NEWER", None)));
    }

    #[test]
    fn named_guilds_leave_out_events_without_a_guild_and_gaps_of_other_shards() {
        let some = Filter { guilds: vec![1 << 22], bots: vec![7], ..Filter::default() };
        assert!(some.wants(&event("MESSAGE_CREATE", Some(1 << 22))) && !some.wants(&event("MESSAGE_CREATE", None)));
        assert!(some.concerns(ShardId { bot: 7, index: 1, count: 2 }) && !some.concerns(ShardId { bot: 7, index: 0, count: 2 }));
        assert!(!some.concerns(ShardId { bot: 8, index: 1, count: 2 }));
    }
}

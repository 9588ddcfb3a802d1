//! Events: who gets them, and which come next.

use std::sync::Arc;

use super::{Hub, State};
use crate::config::Mix;
use crate::event::{self, EVERY, Event, Special};
use crate::kinds::Kind;
use crate::report::{LISTED_MAX, Unseen};
use crate::world::{Count, GuildState, NO_GUILD, mix, shard_of};

impl Hub {
    pub(crate) fn plain_event(&self, state: &mut State, kind: Kind, guild: u32) -> Event {
        state.number += 1;
        let seen = state.guilds.get(guild as usize).map(GuildState::seen).unwrap_or_default();
        Event { kind, guild, n: 0, version: 0, seen, message: 0, at_unix_ms: self.unix_ms(), number: state.number, special: None }
    }

    pub(super) fn push(&self, state: &mut State, ordinal: u64, event: Event) {
        let session = &mut state.sessions[ordinal as usize - 1];
        if event.kind != Kind::Skipped {
            state.sent_by_kind[event.kind as usize] += 1;
            *state.sent_by_shard.entry((session.bot, session.shard.0, session.shard.1)).or_default() += 1;
            state.report.events_sent += 1;
        }
        session.push(event, self.config.replay_events_max);
    }

    /// An event for one session only.
    pub(crate) fn push_special(&self, state: &mut State, ordinal: u64, kind: Kind, guild: u32, special: Special) {
        let mut event = self.plain_event(state, kind, guild);
        event.special = Some(Arc::new(special));
        self.push(state, ordinal, event);
    }

    /// Gives the event to every session of the bot that covers its guild and wants its kind. `shard`: only to sessions with this
    /// index.
    pub(crate) fn spread(&self, state: &mut State, bot: usize, event: &Event, only: Option<u32>) {
        state.report.events_emitted += 1;
        let wanted = event.kind.intents(event.guild == NO_GUILD);
        let guild_id = self.guild_ids.get(event.guild as usize).copied();
        let shard = |count: u32| guild_id.map_or(0, |id| shard_of(id, count));
        let mut targets: [u64; 8] = [0; 8];
        let mut more = Vec::new();
        let mut found = 0;
        for (count, routes) in &state.bots[bot].routes {
            let indexes = only.map_or_else(|| shard(*count), |only| only.min(*count - 1));
            for ordinal in &routes[indexes as usize] {
                if found < targets.len() {
                    targets[found] = *ordinal;
                } else {
                    more.push(*ordinal);
                }
                found += 1;
            }
        }
        for ordinal in targets.iter().take(found).chain(&more) {
            let intents = state.sessions[*ordinal as usize - 1].view.intents;
            if wanted == 0 || intents & wanted != 0 {
                self.push(state, *ordinal, event.clone());
            }
        }
        if found == 0 {
            let shard = only.unwrap_or_else(|| shard(self.config.shards));
            state.report.events_without_session += 1;
            let open = state.unseen_open.get(&(bot, shard)).copied();
            if let Some(range) = open.and_then(|index| state.report.unseen.get_mut(index)) {
                range.to_unix_ms = event.at_unix_ms;
                range.events += 1;
            } else if state.report.unseen.len() < LISTED_MAX {
                state.unseen_open.insert((bot, shard), state.report.unseen.len());
                state.report.unseen.push(Unseen {
                    bot: self.world.bots[bot].id,
                    shard,
                    from_unix_ms: event.at_unix_ms,
                    to_unix_ms: event.at_unix_ms,
                    events: 1,
                });
            }
        }
    }

    fn roll(state: &mut State) -> u64 {
        state.dice = state.dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(state.dice)
    }

    /// Makes one event of the traffic.
    pub(crate) fn emit_one(&self, state: &mut State, kind: Option<Kind>, guild: Option<u32>) {
        let dice = Self::roll(state);
        let guilds = self.world.guild_count();
        let bots = self.world.bots.len().max(1) as u64;
        let mut guild = guild.unwrap_or_else(|| if guilds == 0 { NO_GUILD } else { (dice % u64::from(guilds)) as u32 });
        let bot = if guild == NO_GUILD { (dice % bots) as usize } else { self.world.bot_of(guild) };
        if state.guilds.get(guild as usize).is_some_and(|guild| guild.unavailable) {
            return;
        }
        // Where the bot is no member, nothing can happen but that it joins.
        let left = state.guilds.get(guild as usize).is_some_and(|guild| guild.left);
        if left && !matches!(kind, Some(Kind::GuildCreate | Kind::GuildDelete)) {
            return;
        }
        let pick = dice >> 32;
        let kind = kind.unwrap_or_else(|| match self.config.mix {
            Mix::Steady => event::steady(pick),
            Mix::Presence if pick % 10 < 7 => Kind::PresenceUpdate,
            Mix::Presence => event::steady(pick / 10),
            Mix::Every => {
                let step = match state.guilds.get_mut(guild as usize) {
                    Some(state) => state.advance(Count::Every),
                    None => state.own[bot].advance(Count::Every),
                };
                // Every second round has its messages as direct messages.
                let round = step as usize / EVERY.len();
                let kind = EVERY[step as usize % EVERY.len()];
                if round % 2 == 1 && kind.intents(true) != 0 {
                    guild = NO_GUILD;
                }
                kind
            }
        });
        if event::outside_guilds(kind) {
            guild = NO_GUILD;
        }
        if guild == NO_GUILD && !event::outside_guilds(kind) && kind.intents(true) == 0 {
            return;
        }
        state.number += 1;
        let (number, at) = (state.number, self.unix_ms());
        let of = match state.guilds.get_mut(guild as usize) {
            Some(of) => of,
            None => &mut state.own[bot],
        };
        let made = event::next(of, kind, guild, at, number, dice);
        if made.kind == Kind::UserUpdate {
            let own = state.own[bot].count(Count::Own);
            for guild in self.world.guilds_of(bot) {
                state.guilds[guild as usize].own_version = own;
            }
        }
        self.spread(state, bot, &made, None);
    }

    /// GUILD_CREATE to all who should know.
    pub(super) fn emit_guild_create(&self, state: &mut State, guild: u32) {
        let mut made = self.plain_event(state, Kind::GuildCreate, guild);
        made.special = Some(Arc::new(Special::Guild(state.guilds[guild as usize].clone())));
        self.spread(state, self.world.bot_of(guild), &made, None);
    }
}

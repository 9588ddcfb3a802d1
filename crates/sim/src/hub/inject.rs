//! Faults: finding their targets and doing them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use tokio_util::sync::CancellationToken;

use super::{Hub, Order, State};
use crate::chronicle::Topic;
use crate::event::Special;
use crate::faults::{Fault, FaultKind};
use crate::kinds::Kind;
use crate::report::{Injected, LISTED_MAX};
use crate::world::{NO_GUILD, shard_of};

impl Hub {
    /// Whether a lasting fault is on for this bot and shard.
    pub(crate) fn window(&self, kind: FaultKind, who: Option<(usize, u32)>) -> Option<Duration> {
        let state = self.lock();
        let now = Instant::now();
        state.windows.iter().find_map(|(fault, until)| {
            let meant = who.is_none_or(|(bot, shard)| fault.bot.is_none_or(|b| b == bot) && fault.shard.is_none_or(|s| s == shard));
            (fault.kind == kind && *until > now && meant).then(|| *until - now)
        })
    }

    /// What ends the lasting faults of this moment early.
    pub(crate) fn calm_token(&self) -> CancellationToken {
        self.lock().calm.clone()
    }

    /// Ends every lasting fault now.
    pub(crate) fn calm(&self) {
        let mut state = self.lock();
        state.windows.clear();
        let now = Instant::now();
        for (_, until) in &mut state.outages {
            *until = now;
        }
        std::mem::take(&mut state.calm).cancel();
        state.chronicle.tell(Topic::Fault, || "all lasting faults are over".to_string());
    }

    /// Does the fault. Answers how many connections it hits; a fault that does nothing is told in the log.
    pub(crate) fn inject(&self, fault: &Fault) -> u64 {
        let (hit, nothing) = self.inject_and_say(fault);
        if let Some(why) = nothing {
            tracing::warn!("the fault {} does nothing: {why}", fault.kind.name());
        }
        hit
    }

    /// Does the fault. Answers how many connections it hits and, if it does nothing, why.
    pub(crate) fn inject_and_say(&self, fault: &Fault) -> (u64, Option<String>) {
        let mut state = self.lock();
        let state = &mut *state;
        let now = Instant::now();
        let mut hit = 0;
        match fault.kind {
            FaultKind::LateHello | FaultKind::NoAcks | FaultKind::Refuse | FaultKind::SlowReady => {
                state.windows.push((fault.clone(), now + fault.lasts));
            }
            FaultKind::Outage => {
                for guild in 0..self.world.guild_count() {
                    let shard = shard_of(self.guild_ids[guild as usize], self.config.shards);
                    let bot = self.world.bot_of(guild);
                    let meant = fault.shard.is_none_or(|s| s == shard) && fault.bot.is_none_or(|b| b == bot);
                    let meant = meant && !state.guilds[guild as usize].left;
                    let unavailable = state.guilds[guild as usize].unavailable;
                    if meant && unavailable && !state.outages.iter().any(|(other, _)| *other == guild) {
                        // Unavailable since the start: no client has to be told of that, but of its end.
                        state.outages.push((guild, now + fault.lasts));
                    }
                    if meant && !unavailable {
                        state.guilds[guild as usize].unavailable = true;
                        state.outages.push((guild, now + fault.lasts));
                        let mut made = self.plain_event(state, Kind::GuildDelete, guild);
                        made.special = Some(Arc::new(Special::Outage));
                        self.spread(state, bot, &made, None);
                    }
                }
            }
            _ => {
                let meant: Vec<(u64, Option<u64>)> = state
                    .connections
                    .iter()
                    .filter(|(_, handle)| match handle.session {
                        Some(ordinal) => {
                            let session = &state.sessions[ordinal as usize - 1];
                            fault.shard.is_none_or(|s| s == session.shard.0) && fault.bot.is_none_or(|b| b == session.bot)
                        }
                        None => fault.shard.is_none() && fault.bot.is_none(),
                    })
                    .map(|(id, handle)| (*id, handle.session))
                    .collect();
                for (id, session) in meant {
                    hit += 1;
                    self.hurt(state, fault, id, session);
                }
            }
        }
        state.chronicle.tell(Topic::Fault, || {
            let shard = fault.shard.map_or_else(|| "all shards".to_string(), |shard| format!("shard {shard}"));
            let bot = fault.bot.map_or_else(String::new, |bot| format!(" of bot number {bot}"));
            format!("fault {} on {shard}{bot}: {hit} connections hit", fault.kind.name())
        });
        if state.report.faults_injected.len() < LISTED_MAX {
            let at_ms = self.since_start_ms();
            state.report.faults_injected.push(Injected { kind: fault.kind.name(), at_ms, shard: fault.shard, connections: hit });
        }
        (hit, (hit == 0).then(|| self.nothing(state, fault)).flatten())
    }

    /// Why a fault that hits no connection does nothing at all. Some are for connections, or guilds, and may do something even so.
    fn nothing(&self, state: &State, fault: &Fault) -> Option<String> {
        if let Some(bot) = fault.bot.filter(|bot| *bot >= self.config.bots.len()) {
            return Some(format!("there is no bot number {bot}, the last one is {}", self.config.bots.len() - 1));
        }
        // A client may identify with another number of shards than the recommended one.
        let held = |shard| state.sessions.iter().any(|session| session.shard.0 == shard);
        if let Some(shard) = fault.shard.filter(|shard| *shard >= self.config.shards && !held(*shard)) {
            return Some(format!("there is no shard {shard}, the last one is {}", self.config.shards - 1));
        }
        let lasting =
            matches!(fault.kind, FaultKind::LateHello | FaultKind::NoAcks | FaultKind::Refuse | FaultKind::SlowReady | FaultKind::Outage);
        (!lasting).then(|| match fault.shard {
            Some(shard) => format!("no session of shard {shard} is connected"),
            None => "nobody is connected".to_owned(),
        })
    }

    fn hurt(&self, state: &mut State, fault: &Fault, connection: u64, session: Option<u64>) {
        if let Some(ordinal) = session {
            match fault.kind {
                FaultKind::Invalid => self.end_session(state, ordinal, "revoked (op 9 false)"),
                FaultKind::Close(4004 | 4007 | 4009..=4014) => self.end_session(state, ordinal, "closed by the server"),
                FaultKind::Skip => {
                    for _ in 0..fault.count {
                        let event = self.plain_event(state, Kind::Skipped, NO_GUILD);
                        self.push(state, ordinal, event);
                    }
                    return;
                }
                FaultKind::Unknown => {
                    let guild = self.world.guilds_of(state.sessions[ordinal as usize - 1].bot).next();
                    let event = self.plain_event(state, Kind::Unknown, guild.unwrap_or(NO_GUILD));
                    self.push(state, ordinal, event);
                }
                _ => {}
            }
        }
        let Some(handle) = state.connections.get(&connection) else {
            return;
        };
        match fault.kind {
            FaultKind::Drop => {
                handle.line.reset.store(true, Ordering::Relaxed);
                handle.end.cancel();
            }
            kind => {
                if handle.orders.try_send(Order::Fault(kind, fault.lasts, fault.count, state.calm.clone())).is_err() {
                    handle.line.reset.store(true, Ordering::Relaxed);
                    handle.end.cancel();
                }
            }
        }
    }
}

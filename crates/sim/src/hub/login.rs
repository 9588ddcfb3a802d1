//! Who may log in: identify and resume with their budgets and rules, and heartbeats.
//!
//! Source: Discord docs, Gateway (Identifying, Session Start Limit, Sharding, Resuming) and Gateway Close Event Codes.

use std::time::Duration;

use tokio::time::Instant;

use super::{Hub, Identify, Order, State, Verdict};
use crate::chronicle::Topic;
use crate::event::Special;
use crate::kinds::{INTENTS_ALL, Kind, PRIVILEGED};
use crate::session::{BadSeq, Query, Session};
use crate::shapes::View;
use crate::world::{Count, NO_GUILD, mix, shard_of};

/// One identify per key in this time (Discord docs, Gateway: Rate Limiting of identifies).
const IDENTIFY_WINDOW: Duration = Duration::from_secs(5);
/// How long before its session was seen to be without a connection a client's attempt may have been refused.
const REFUSED_BEFORE: Duration = Duration::from_secs(1);

impl Hub {
    pub(crate) fn identify(&self, connection: u64, query: Query, ask: &Identify, at_resume_url: bool) -> Verdict {
        let now = Instant::now();
        let mut state = self.lock();
        let state = &mut *state;
        let index = ask.shard.map(|(index, _)| index as u32);
        let Some(bot) = self.bot_by_token(state, &ask.token) else {
            state.report.identifies_refused += 1;
            self.blame(state, "bad_token", None, index, "identify with a token that no bot has".into());
            return Verdict::Close(4004, "Authentication failed.");
        };
        let refuse = |state: &mut State, kind, code, reason, text| {
            state.report.identifies_refused += 1;
            self.blame(state, kind, Some(bot), index, text);
            Verdict::Close(code, reason)
        };
        let shard = match ask.shard {
            None => None,
            Some((index, count)) => {
                if count == 0
                    || index >= count
                    || count > 1 << 20
                    || !count.is_multiple_of(u64::from(self.config.shards_multiple_of.max(1)))
                {
                    return refuse(state, "invalid_shard", 4010, "Invalid shard.", format!("shard [{index}, {count}]"));
                }
                Some((index as u32, count as u32))
            }
        };
        let (index, count) = shard.unwrap_or((0, 1));
        let here = |guild: &u32| shard_of(self.guild_ids[*guild as usize], count) == index && !state.guilds[*guild as usize].left;
        let mine: Vec<u32> = self.world.guilds_of(bot).filter(here).collect();
        if mine.len() >= self.config.sharding_required_at as usize {
            return refuse(
                state,
                "sharding_required",
                4011,
                "Sharding required.",
                format!("{} guilds on shard [{index}, {count}]", mine.len()),
            );
        }
        if ask.intents & !INTENTS_ALL != 0 {
            return refuse(state, "invalid_intents", 4013, "Invalid intent(s).", format!("intents {}", ask.intents));
        }
        let flags = self.world.bots[bot].flags;
        for (intent, verified, limited) in PRIVILEGED {
            if ask.intents & intent != 0 && flags & (verified | limited) == 0 {
                return refuse(
                    state,
                    "disallowed_intents",
                    4014,
                    "Disallowed intent(s).",
                    format!("intents {}, application flags {flags}", ask.intents),
                );
            }
        }
        if at_resume_url {
            self.blame(state, "identify_at_resume_url", Some(bot), Some(index), "identify on the resume address".into());
        }
        let key = index % self.config.max_concurrency.max(1);
        if let Some(last) = state.bots[bot].last_identify.get(&key)
            && now - *last < IDENTIFY_WINDOW
        {
            let text = format!("shard {index} identified {} ms after another of key {key}", (now - *last).as_millis());
            state.report.identifies_refused += 1;
            self.blame(state, "identify_too_fast", Some(bot), Some(index), text);
            return Verdict::Refused;
        }
        if state.bots[bot].remaining == 0 {
            self.blame(
                state,
                "identify_budget_spent",
                Some(bot),
                Some(index),
                "more identifies in 24 hours than allowed: the token is reset".into(),
            );
            state.report.identifies_refused += 1;
            self.revoke(state, bot);
            return Verdict::Close(4004, "Authentication failed.");
        }
        state.bots[bot].remaining -= 1;
        state.bots[bot].last_identify.insert(key, now);
        state.report.identifies += 1;

        let ordinal = state.sessions.len() as u64 + 1;
        let id = format!("{:016x}{:016x}", mix(self.config.seed ^ ordinal), mix(self.started_unix_ms ^ ordinal << 20));
        let view = View { intents: ask.intents, large_threshold: ask.large_threshold };
        state.sessions.push(Session::new(
            ordinal,
            id.clone(),
            bot,
            (index, count),
            view,
            query,
            connection,
            self.unix_ms(),
            self.config.record_events_max,
        ));
        state.by_id.insert(id.clone(), ordinal);
        let routes = state.bots[bot].routes.entry(count).or_insert_with(|| vec![Vec::new(); count as usize]);
        routes[index as usize].push(ordinal);
        if let Some(handle) = state.connections.get_mut(&connection) {
            handle.session = Some(ordinal);
        }
        state.unseen_open.clear();
        let session = &state.sessions[ordinal as usize - 1];
        let line = || {
            let (encoding, transport) = (query.encoding.name(), query.transport.name());
            let left = state.bots[bot].remaining;
            format!(
                "{}: logged in with session {ordinal}, {} guilds, intents {}, {encoding}, {transport}; {left} identifies are left",
                self.whose(session),
                mine.len(),
                ask.intents
            )
        };
        state.chronicle.tell(Topic::Login, line);
        let stubs = mine.iter().map(|guild| self.guild_ids[*guild as usize]).collect();
        let own = state.own[bot].count(Count::Own);
        let ready = Special::Ready { session_id: id, resume_url: self.resume_url(), shard, stubs, own };
        self.push_special(state, ordinal, Kind::Ready, NO_GUILD, ready);
        if ask.intents & 1 != 0 {
            for guild in mine {
                let snapshot = state.guilds[guild as usize].clone();
                self.push_special(state, ordinal, Kind::GuildCreate, guild, Special::Guild(snapshot));
            }
        }
        self.first_session.notify_one();
        Verdict::Granted(ordinal)
    }

    /// Too many identifies: the token is worth nothing any more and all sessions end.
    fn revoke(&self, state: &mut State, bot: usize) {
        state.bots[bot].revoked = true;
        let live: Vec<u64> =
            state.sessions.iter().filter(|session| session.bot == bot && session.ended.is_none()).map(|s| s.ordinal).collect();
        for ordinal in live {
            if let Some(handle) = state.sessions[ordinal as usize - 1].connection.and_then(|id| state.connections.get(&id)) {
                let _ = handle.orders.try_send(Order::Close(4004, "Authentication failed."));
            }
            self.end_session(state, ordinal, "token reset");
        }
    }

    pub(crate) fn resume(&self, connection: u64, query: Query, token: &str, session_id: &str, seq: u64, at_resume_url: bool) -> Verdict {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(bot) = self.bot_by_token(state, token) else {
            state.report.resumes_refused += 1;
            self.blame(state, "bad_token", None, None, "resume with a token that no bot has".into());
            return Verdict::Close(4004, "Authentication failed.");
        };
        let found = state.by_id.get(session_id).copied().filter(|ordinal| state.sessions[*ordinal as usize - 1].bot == bot);
        let expired = |session: &Session| session.detached_at.is_some_and(|at| at.elapsed() > self.config.session_ttl);
        let Some(ordinal) = found else {
            state.report.resumes_refused += 1;
            let line = || format!("bot {}: resume refused: no such session, or it is over", self.world.bots[bot].id);
            state.chronicle.tell(Topic::Resume, line);
            return Verdict::Refused;
        };
        let at = ordinal as usize - 1;
        if expired(&state.sessions[at]) {
            state.report.resumes_refused += 1;
            self.end_session(state, ordinal, "not resumed in time");
            return Verdict::Refused;
        }
        let shard = Some(state.sessions[at].shard.0);
        // Where the resume address could not be reached, going back to the main one is what a client should do. Its close of the old
        // connection may be noticed here only after its first attempt at a new one.
        let unreachable = |(refused, detached): (Instant, Instant)| refused + REFUSED_BEFORE >= detached;
        let unreachable = state.refused_at.zip(state.sessions[at].detached_at).is_some_and(unreachable);
        if !at_resume_url && !unreachable {
            self.blame(state, "resume_not_at_resume_url", Some(bot), shard, "resume on the main address".into());
        }
        if state.sessions[at].query != query {
            let text = format!("session began with {:?}, resume has {:?}", state.sessions[at].query, query);
            self.blame(state, "resume_with_other_query", Some(bot), shard, text);
        }
        match state.sessions[at].rewind(seq) {
            Ok(replayed) => {
                state.report.events_replayed += replayed;
                let line =
                    || format!("{}: session {ordinal} resumed at {seq}, {replayed} events to replay", self.whose(&state.sessions[at]));
                state.chronicle.tell(Topic::Resume, line);
            }
            Err(why) => {
                state.report.resumes_refused += 1;
                let last = state.sessions[at].last_s();
                let text = format!("resume at {seq}, last sent {last}, last heartbeat {}", state.sessions[at].acked);
                let line = || format!("{}: resume of session {ordinal} refused: {text}", self.whose(&state.sessions[at]));
                state.chronicle.tell(Topic::Resume, line);
                return match why {
                    BadSeq::Ahead => {
                        self.blame(state, "resume_seq_ahead", Some(bot), shard, text);
                        self.end_session(state, ordinal, "resumed with an invalid seq");
                        Verdict::Close(4007, "Invalid seq.")
                    }
                    BadSeq::Trimmed => {
                        self.blame(state, "resume_below_heartbeat", Some(bot), shard, text);
                        self.end_session(state, ordinal, "resumed below its last heartbeat");
                        Verdict::Close(4007, "Invalid seq.")
                    }
                    BadSeq::Forgotten => {
                        self.end_session(state, ordinal, "resumed below its replay buffer");
                        Verdict::Refused
                    }
                };
            }
        }
        // A connection that still holds the session loses it.
        let old = state.sessions[at].connection.replace(connection);
        if let Some(handle) = old.filter(|old| *old != connection).and_then(|old| state.connections.get(&old)) {
            handle.end.cancel();
        }
        state.sessions[at].detached_at = None;
        state.sessions[at].resumes += 1;
        state.report.resumes += 1;
        if let Some(handle) = state.connections.get_mut(&connection) {
            handle.session = Some(ordinal);
        }
        let event = self.plain_event(state, Kind::Resumed, NO_GUILD);
        self.push(state, ordinal, event);
        Verdict::Granted(ordinal)
    }

    pub(crate) fn heartbeat(&self, connection: u64, seq: Option<u64>) {
        let mut state = self.lock();
        let state = &mut *state;
        state.report.heartbeats += 1;
        let Some(ordinal) = state.connections.get(&connection).and_then(|handle| handle.session) else {
            return;
        };
        let session = &mut state.sessions[ordinal as usize - 1];
        if let Some(seq) = seq {
            if seq > session.last_s() {
                let (bot, shard, text) =
                    (session.bot, session.shard.0, format!("heartbeat names {seq}, last sent is {}", session.last_s()));
                self.blame(state, "heartbeat_seq_ahead", Some(bot), Some(shard), text);
                return;
            }
            session.acked = session.acked.max(seq);
            if self.config.trim_replay_at_heartbeat {
                session.trim();
            }
        }
    }
}

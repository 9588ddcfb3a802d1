//! What a shard's driver says: log lines with bot and shard, in plain words, and the counters beside them.
//!
//! Never a payload, never a token. A trouble that goes on is said when it begins and when it changes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use trunkline_discord::ShardId;
use trunkline_session::{LostCause, Notice, Report, StopReason};

use crate::stats::{Pause, ShardStats, Standing, add};

pub(crate) struct Telling {
    shard: ShardId,
    /// `index/count`, as people say it.
    name: String,
    stats: Arc<ShardStats>,
    /// Troubles with opening a connection that were said since the last one opened: the same server refuses now at one step, now at another.
    troubles: Vec<String>,
    /// Repeated and missing dispatches as they stood when the last RESUME was sent.
    before_resume: (u64, u64),
}

/// So many different troubles are said before one opens.
const TROUBLES_SAID: usize = 8;

macro_rules! say {
    ($self:expr, $level:ident, $($message:tt)*) => {
        tracing::$level!(bot = %$self.shard.bot, shard = %$self.name, $($message)*)
    };
}

impl Telling {
    pub(crate) fn new(shard: ShardId, stats: Arc<ShardStats>) -> Self {
        Self { shard, name: format!("{}/{}", shard.index, shard.count), stats, troubles: Vec::new(), before_resume: (0, 0) }
    }

    pub(crate) fn notice(&self, notice: Notice) {
        say!(self, warn, "{notice}");
    }

    pub(crate) fn opened(&mut self) {
        self.stats.edit(|standing| standing.trouble = None);
        if !self.troubles.is_empty() {
            self.troubles.clear();
            say!(self, info, "the gateway can be reached again");
        }
    }

    pub(crate) fn not_opened(&mut self, why: &str) {
        self.stats.edit(|standing| standing.trouble = Some(why.to_owned()));
        if self.troubles.len() < TROUBLES_SAID && !self.troubles.iter().any(|said| said == why) {
            say!(self, warn, "{why}; trying again until it can be reached");
            self.troubles.push(why.to_owned());
        }
    }

    pub(crate) fn lost(&self, why: &str) {
        say!(self, debug, "the connection broke: {why}");
    }

    pub(crate) fn bad_frame(&self, why: &str) {
        add(&self.stats.bad_frames, 1);
        say!(self, warn, "a message from Discord cannot be read: {why}");
    }

    pub(crate) fn ready(&self, session: u64, guilds: usize) {
        add(&self.stats.readies, 1);
        self.stats.edit(|standing| *standing = Standing::default());
        say!(self, info, session, guilds, "ready with a new session");
    }

    pub(crate) fn resumed(&self, session: u64, replayed: u64) {
        add(&self.stats.resumed, 1);
        add(&self.stats.replayed, replayed);
        self.stats.edit(|standing| *standing = Standing::default());
        let (repeated, missing) = self.repeated_and_missing();
        let repeated = repeated - self.before_resume.0;
        let missing = missing - self.before_resume.1;
        say!(self, info, session, replayed, repeated, missing, "session resumed");
    }

    fn repeated_and_missing(&self) -> (u64, u64) {
        (self.stats.duplicates.load(Relaxed), self.stats.gap_events.load(Relaxed))
    }

    pub(crate) fn session_lost(&self, cause: LostCause, session: u64, last_s: u64) {
        self.stats.lost(cause);
        say!(self, warn, session, last_s, "session lost: {cause}; what Discord emits until the next one is a gap");
    }

    pub(crate) fn gap(&self, session: u64, first_s: u64, last_s: u64) {
        add(&self.stats.gaps, 1);
        add(&self.stats.gap_events, last_s.saturating_sub(first_s).saturating_add(1));
        say!(self, warn, session, first_s, last_s, "the sequence jumped: these events never came");
    }

    pub(crate) fn stopped(&self, reason: StopReason) {
        self.stats.edit(|standing| *standing = Standing { stopped: Some(reason), ..Standing::default() });
        match reason {
            StopReason::Fatal(_) => say!(self, error, "{reason}"),
            StopReason::Asked | StopReason::Ended => say!(self, info, "{reason}"),
        }
    }

    /// `unix_ms`: the wall clock, for the people who look at the status.
    pub(crate) fn report(&mut self, report: &Report, unix_ms: u64) {
        let stats = self.stats.clone();
        match report {
            Report::Reconnecting { cause, resume, after, attempt } => {
                stats.reconnecting(*cause);
                let until_unix_ms = unix_ms.saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
                // The session counts from 0; a person's first attempt is the first.
                let pause = Pause { cause: *cause, attempt: attempt.saturating_add(1), resume: *resume, until_unix_ms };
                stats.edit(|standing| standing.pause = Some(pause));
                let how = if *resume { "resuming" } else { "identifying anew" };
                let after_ms = after.as_millis();
                // The first attempt is news; those after it only when the cause is not the one already said.
                if *attempt == 0 || self.troubles.is_empty() {
                    say!(self, info, after_ms, attempt, "{cause}; {how}");
                } else {
                    say!(self, debug, after_ms, attempt, "{cause}; {how}");
                }
            }
            Report::IdentifySent => {
                add(&stats.identifies, 1);
                say!(self, info, "identify sent");
            }
            Report::ResumeSent { s } => {
                add(&stats.resumes_sent, 1);
                self.before_resume = self.repeated_and_missing();
                say!(self, debug, s, "resume sent");
            }
            Report::Acked(rtt) => stats.acked(*rtt),
            Report::NoRoom => {
                say!(self, warn, "the event log has no room for the replay; whoever lags behind loses its place");
            }
            Report::GrantUnused => say!(self, debug, "a grant to identify was given back"),
            Report::UnknownOp(op) => say!(self, debug, op, "a frame with an unknown op was ignored"),
            Report::Unexpected { op, why } => say!(self, warn, "a frame out of place was ignored ({}): {why}", op.name()),
            Report::ResumedAgain => say!(self, debug, "RESUMED came in a live session; ignored"),
            Report::BeatHeldBack => {
                say!(self, warn, "a heartbeat was held back: the connection has sent its 120 frames of this minute");
            }
            Report::PresenceLeftOut(why) => {
                say!(self, error, "the configured presence was left out: {why}; correct the bot's presence");
            }
            Report::NoResumeUrl => say!(self, debug, "READY had no resume address; the main one is used"),
            Report::CommandRefused { op, why } => {
                add(&stats.commands_refused, 1);
                say!(self, warn, "a command was refused ({}): {why}", op.name());
            }
            Report::CommandsDropped { count } => {
                add(&stats.commands_refused, *count as u64);
                say!(self, warn, count, "waiting commands were dropped with their session");
            }
        }
    }
}

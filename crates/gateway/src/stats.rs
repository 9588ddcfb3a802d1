//! A shard's counters, and why it is not live: written by its driver alone, read by anybody.
//!
//! Plain atomics without order between them: each is right, and together they are as of about now. The one lock is taken
//! when a connection ends or begins, never for a frame.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use trunkline_session::{Cause, LostCause, Phase, StopReason};

/// The pause before the next connection, or the attempt that it led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// Why the last connection ended.
    pub cause: Cause,
    /// Which attempt in a row this is, from 1.
    pub attempt: u32,
    /// Whether the next connection resumes; else it identifies.
    pub resume: bool,
    /// When the socket is, or was, to be opened: milliseconds since 1970.
    pub until_unix_ms: u64,
}

/// Why a shard is not live, for the people who look at the status. Empty while it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// What the last connection came to.
    pub pause: Option<Pause>,
    /// Why the last socket could not be opened.
    pub trouble: Option<String>,
    /// Why it has stopped for good.
    pub stopped: Option<StopReason>,
}

macro_rules! counters {
    ($(#[$attribute:meta])* $name:ident { $($(#[$doc:meta])* $field:ident),* $(,)? }) => {
        $(#[$attribute])*
        #[derive(Debug, Default)]
        pub struct $name { $($(#[$doc])* pub $field: AtomicU64),* }

        impl $name {
            /// Every counter with its name, in a fixed order.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field.load(Relaxed))),*].into_iter()
            }
        }
    };
}

counters! {
    /// Why connections ended, by [`Cause`].
    Reconnects {
        /// Closed by Discord, or lost.
        closed,
        /// Could not be opened.
        open_failed,
        /// HELLO was late.
        hello_late,
        /// READY or RESUMED was late.
        join_late,
        /// Heartbeats went unanswered.
        zombie,
        /// Discord asked (op 7).
        reconnect_asked,
        /// The session was declared invalid (op 9).
        invalid_session,
        /// A frame that cannot be.
        bad_frame,
        /// The operator asked.
        restart_asked,
    }
}

counters! {
    /// Why sessions were given up, by [`LostCause`].
    Losses {
        /// Declared invalid (op 9).
        invalid_session,
        /// Closed with a code that ends it.
        closed,
        /// Several resumes came to nothing.
        resumes_failed,
        /// The same bad frame again and again.
        bad_frames,
        /// Intents, shard count or bot were changed.
        settings_changed,
        /// Asked for.
        asked,
    }
}

/// What one shard has done and is doing.
#[derive(Debug, Default)]
pub struct ShardStats {
    phase: AtomicU8,
    standing: Mutex<Standing>,
    /// Bytes read from sockets, above TLS and before decompression.
    pub bytes_compressed: AtomicU64,
    /// Bytes after decompression.
    pub bytes_plain: AtomicU64,
    /// Bytes that decompression holds now.
    pub inflate_memory_bytes: AtomicU64,
    /// Whole gateway messages.
    pub frames: AtomicU64,
    /// New dispatches.
    pub events: AtomicU64,
    /// Repeated dispatches, dropped.
    pub duplicates: AtomicU64,
    /// Jumps in the sequence.
    pub gaps: AtomicU64,
    /// Dispatches inside those jumps.
    pub gap_events: AtomicU64,
    /// Messages that could not be read.
    pub bad_frames: AtomicU64,
    /// IDENTIFYs sent.
    pub identifies: AtomicU64,
    /// New sessions that became ready.
    pub readies: AtomicU64,
    /// RESUMEs sent.
    pub resumes_sent: AtomicU64,
    /// Resumes that succeeded.
    pub resumed: AtomicU64,
    /// Dispatches that came again through a resume and were new.
    pub replayed: AtomicU64,
    /// Commands that were not sent.
    pub commands_refused: AtomicU64,
    /// The last heartbeat's way there and back, in microseconds; 0 before the first.
    pub beat_rtt_us: AtomicU64,
    /// All ways there and back together, in microseconds.
    pub beat_rtt_sum_us: AtomicU64,
    /// How many were answered.
    pub beats_acked: AtomicU64,
    /// Reconnects by cause.
    pub reconnects: Reconnects,
    /// Sessions lost by cause.
    pub losses: Losses,
}

/// Adds to a counter. Only the shard's driver writes, whoever reads: so this need not be one indivisible step, of which an event would take
/// four.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

impl ShardStats {
    pub(crate) fn reconnecting(&self, cause: Cause) {
        let by = &self.reconnects;
        let counter = match cause {
            Cause::Closed(_) => &by.closed,
            Cause::OpenFailed => &by.open_failed,
            Cause::HelloLate => &by.hello_late,
            Cause::JoinLate => &by.join_late,
            Cause::Zombie => &by.zombie,
            Cause::ReconnectAsked => &by.reconnect_asked,
            Cause::InvalidSession { .. } => &by.invalid_session,
            Cause::BadFrame(_) => &by.bad_frame,
            Cause::RestartAsked => &by.restart_asked,
        };
        add(counter, 1);
    }

    pub(crate) fn lost(&self, cause: LostCause) {
        let by = &self.losses;
        let counter = match cause {
            LostCause::InvalidSession => &by.invalid_session,
            LostCause::Closed(_) => &by.closed,
            LostCause::ResumesFailed => &by.resumes_failed,
            LostCause::BadFrames => &by.bad_frames,
            LostCause::SettingsChanged => &by.settings_changed,
            LostCause::Asked => &by.asked,
        };
        add(counter, 1);
    }

    pub(crate) fn acked(&self, rtt: Duration) {
        let rtt_us = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        self.beat_rtt_us.store(rtt_us, Relaxed);
        add(&self.beat_rtt_sum_us, rtt_us);
        add(&self.beats_acked, 1);
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Standing)) {
        // Nothing panics with the lock held; if it did, what stands there is still the best there is to tell.
        edit(&mut self.standing.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// Why it is not live.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Whether it has been live since the start of the process.
    #[must_use]
    pub fn ready_once(&self) -> bool {
        self.readies.load(Relaxed) + self.resumed.load(Relaxed) > 0
    }

    /// Where the session is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let number = usize::from(self.phase.load(Relaxed));
        Phase::ALL.get(number).copied().unwrap_or(Phase::Idle)
    }
}

//! A shard's counters: written by its driver alone, read by anybody.
//!
//! Plain atomics without order between them: each is right, and together they are as of about now.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use trunkline_session::{Cause, LostCause, Phase};

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

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
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

    /// Where the session is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let number = usize::from(self.phase.load(Relaxed));
        Phase::ALL.get(number).copied().unwrap_or(Phase::Idle)
    }
}

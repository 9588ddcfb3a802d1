//! The log lines that tell what happens, as it happens: logins, resumes, disconnects, faults, objections.
//!
//! Invariant: at most [`LINES_MAX`] lines per second and topic, so that a client gone wild does not fill a disk; what is held back is
//! counted, and the count is told. The report lists everything all the same.

use std::time::Duration;

use tokio::time::Instant;

/// Lines of one topic in one [`WINDOW`].
const LINES_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(1);

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Topic {
    Login,
    Resume,
    /// Disconnects and ends of sessions.
    Disconnect,
    Fault,
    /// What the client did wrong: a warning.
    Objection,
}

const TOPICS: [Topic; 5] = [Topic::Login, Topic::Resume, Topic::Disconnect, Topic::Fault, Topic::Objection];

impl Topic {
    fn plural(self) -> &'static str {
        match self {
            Topic::Login => "logins",
            Topic::Resume => "resumes",
            Topic::Disconnect => "disconnects",
            Topic::Fault => "faults",
            Topic::Objection => "objections",
        }
    }
}

#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    lines: u32,
    held: u64,
}

/// Counts the lines of each topic.
#[derive(Debug, Default)]
pub(crate) struct Chronicle {
    windows: [Window; TOPICS.len()],
}

impl Chronicle {
    /// Writes the line, or counts it as held back.
    pub(crate) fn tell(&mut self, topic: Topic, line: impl FnOnce() -> String) {
        let now = Instant::now();
        let window = &mut self.windows[topic as usize];
        if window.since.is_none_or(|since| now - since >= WINDOW) {
            close(topic, window);
            *window = Window { since: Some(now), lines: 0, held: 0 };
        }
        if window.lines >= LINES_MAX {
            window.held += 1;
            return;
        }
        window.lines += 1;
        if topic == Topic::Objection {
            tracing::warn!("{}", line());
        } else if tracing::enabled!(tracing::Level::INFO) {
            tracing::info!("{}", line());
        }
    }

    /// Tells how many lines were held back in windows that are over. Call now and then.
    pub(crate) fn sweep(&mut self) {
        let now = Instant::now();
        for (topic, window) in TOPICS.into_iter().zip(&mut self.windows) {
            if window.since.is_some_and(|since| now - since >= WINDOW) {
                close(topic, window);
                window.since = None;
            }
        }
    }
}

fn close(topic: Topic, window: &mut Window) {
    if window.held > 0 {
        let text = format!("{} more {} within a second are not shown", window.held, topic.plural());
        if topic == Topic::Objection {
            tracing::warn!("{text}");
        } else {
            tracing::info!("{text}");
        }
        window.held = 0;
    }
}

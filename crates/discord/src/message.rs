//! What edits, reactions and votes make of a message, in the encoding of the event that brings them.
//!
//! Most changes of messages are asked for by nobody. So they can be kept beside the message as they came ([`Changes`]), and the message that
//! they make ([`Changes::applied`]) is written when somebody wants it. The rules are those of Discord docs, Gateway Events: Messages.

use std::sync::{Arc, OnceLock, Weak};

use trunkline_etf::Value;

use crate::Object;
use crate::edit::{self, Reaction};
use crate::previous::Changed;

pub use crate::edit::{merged_if, with_vote, without, without_reactions};

/// What a reaction or vote does to a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One more.
    Up,
    /// One less, and never fewer than none.
    Down,
}

impl Step {
    pub(crate) fn of(self, count: i64) -> i64 {
        match self {
            Step::Up => count.saturating_add(1),
            Step::Down => count.saturating_sub(1).max(0),
        }
    }
}

/// A change of a message, as it came.
#[derive(Clone, Debug)]
pub enum MessageChange {
    /// A MESSAGE_UPDATE's data: its values count, but for `tts`, which an update always has as false.
    Update(Object),
    /// The data of a reaction that comes or goes; whether it is the bot's own.
    Reaction(Object, bool, Step),
}

impl MessageChange {
    fn bytes(&self) -> u64 {
        let (MessageChange::Update(object) | MessageChange::Reaction(object, ..)) = self;
        object.bytes.len() as u64
    }

    /// The message with this change; `None` where it changes nothing.
    fn change(&self, known: Value<'_>) -> Option<Object> {
        match self {
            MessageChange::Update(update) => edit::updated(known, update.value()),
            MessageChange::Reaction(told, own, step) => {
                let [emoji, kind, burst, colors] = told.value().get_all(["emoji", "type", "burst", "burst_colors"]);
                let burst = kind.and_then(Value::as_u64) == Some(1) || burst.and_then(Value::as_bool) == Some(true);
                edit::with_reaction(known, Reaction { emoji: emoji?, burst, own: *own, colors }, *step)
            }
        }
    }
}

/// What a message has gone through since it was told. Whoever keeps the message and whoever was told what it was before an event share them: one
/// change more leaves those before it as they are.
#[derive(Debug)]
pub struct Changes {
    last: MessageChange,
    before: Option<Arc<Changes>>,
    count: usize,
    bytes: u64,
    /// Who was told the message with these changes: what was written for them is where more changes go on from, as long as they keep it.
    told: OnceLock<Weak<Changed>>,
}

impl Changes {
    /// One change more.
    pub fn and(before: Option<Arc<Changes>>, last: MessageChange) -> Arc<Changes> {
        let (count, bytes) = before.as_ref().map_or((0, 0), |before| (before.count, before.bytes));
        Arc::new(Changes { count: count + 1, bytes: bytes + last.bytes(), last, before, told: OnceLock::new() })
    }

    /// The message with these changes is told to somebody, the first time or again.
    pub(crate) fn tell(&self, told: &Arc<Changed>) {
        self.told.get_or_init(|| Arc::downgrade(told));
    }

    /// What somebody still keeps of it was written of this message, if anything was.
    fn written(&self, message: &Object) -> Option<Object> {
        self.told.get()?.upgrade()?.written_of(message)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of their data.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The message that they make of one. What was written of it for one who was told before is gone on from: of a message that is edited again
    /// and again each state before an edit takes one step, not all since the first.
    pub fn applied(&self, message: &Object) -> Object {
        let mut each: Vec<&MessageChange> = Vec::with_capacity(self.count);
        let (mut next, mut from) = (Some(self), None);
        while let Some(changes) = next {
            from = changes.written(message);
            if from.is_some() {
                break;
            }
            each.push(&changes.last);
            next = changes.before.as_deref();
        }
        let from = from.unwrap_or_else(|| message.clone());
        each.iter().rev().fold(from, |message, change| change.change(message.value()).unwrap_or(message))
    }
}

/// One after the other, however many there are.
impl Drop for Changes {
    fn drop(&mut self) {
        let mut next = self.before.take();
        while let Some(mut changes) = next.and_then(Arc::into_inner) {
            next = changes.before.take();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use trunkline_etf::Encoding;

    use super::*;

    fn json(text: String) -> Object {
        Object { encoding: Encoding::Json, bytes: Bytes::from(text) }
    }

    fn content(message: &Object) -> String {
        message.value().get("content").unwrap().as_str().unwrap().into_owned()
    }

    #[test]
    fn one_change_more_leaves_what_was_before_as_it_was() {
        let message = json(r#"{"id":"1","content":"a","tts":true}"#.to_owned());
        let first = Changes::and(None, MessageChange::Update(json(r#"{"content":"b","tts":false}"#.to_owned())));
        let told = json(r#"{"emoji":{"id":null,"name":"y"},"user_id":"5"}"#.to_owned());
        let second = Changes::and(Some(first.clone()), MessageChange::Reaction(told, true, Step::Up));
        assert_eq!((first.count(), second.count(), first.bytes(), second.bytes()), (1, 2, 27, 73));
        let (one, two) = (first.applied(&message), second.applied(&message));
        assert_eq!((content(&one), content(&two), content(&message)), ("b".to_owned(), "b".to_owned(), "a".to_owned()));
        assert_eq!(one.value().get("tts").and_then(Value::as_bool), Some(true), "an update does not tell it");
        assert!(one.value().get("reactions").is_none());
        let reaction = two.value().get("reactions").unwrap().items().next().unwrap();
        assert_eq!(reaction.get("me").and_then(Value::as_bool), Some(true));
    }

    #[test]
    fn a_hundred_thousand_changes_are_let_go_one_after_the_other() {
        let mut changes = None;
        for _ in 0..100_000 {
            changes = Some(Changes::and(changes, MessageChange::Update(json("{}".to_owned()))));
        }
        assert_eq!(changes.unwrap().count(), 100_000);
    }
}

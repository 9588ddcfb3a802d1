//! What an object was before an event.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::Object;
use crate::message::Changes;

/// An object as it was before an event. It is read like the [`Object`] that it is.
///
/// That of a message with changes that nobody has asked for yet, and one that is made of several parts, is written when somebody first looks at it,
/// and once: most are never looked at.
#[derive(Clone)]
pub struct Previous(Form);

#[derive(Clone)]
enum Form {
    Whole(Object),
    Changed(Arc<Changed>),
    Later(Arc<Later>),
}

/// An object that is written of its parts.
struct Later {
    parts: Box<[u8]>,
    write: fn(&[u8]) -> Object,
    whole: OnceLock<Object>,
}

/// A message with changes, for whom it was told.
pub(crate) struct Changed {
    message: Object,
    changes: Arc<Changes>,
    whole: OnceLock<Object>,
}

impl Changed {
    /// What was written, if it was made of this very message.
    pub(crate) fn written_of(&self, message: &Object) -> Option<Object> {
        let same = |one: &Object, other: &Object| {
            one.encoding == other.encoding && one.bytes.as_ptr() == other.bytes.as_ptr() && one.bytes.len() == other.bytes.len()
        };
        self.whole.get().filter(|_| same(&self.message, message)).cloned()
    }
}

impl Previous {
    /// A message with what has changed it.
    pub fn changed(message: Object, changes: Arc<Changes>) -> Previous {
        let changed = Arc::new(Changed { message, changes, whole: OnceLock::new() });
        changed.changes.tell(&changed);
        Previous(Form::Changed(changed))
    }

    /// An object that `write` makes of these parts; it is not longer than they are, but for a few bytes.
    pub fn later(parts: Vec<u8>, write: fn(&[u8]) -> Object) -> Previous {
        Previous(Form::Later(Arc::new(Later { parts: parts.into_boxed_slice(), write, whole: OnceLock::new() })))
    }

    /// Bytes of memory that it keeps alive, with what it takes when it is written: the same all the time, so that what was added to a sum can be
    /// taken from it.
    pub fn bytes_held(&self) -> usize {
        match &self.0 {
            Form::Whole(object) => object.bytes.len(),
            Form::Changed(changed) => size_of::<Changed>() + 2 * (changed.message.bytes.len() + changed.changes.bytes() as usize),
            Form::Later(later) => size_of::<Later>() + 2 * later.parts.len(),
        }
    }

    /// The object, to keep.
    pub fn into_object(self) -> Object {
        match self.0 {
            Form::Whole(object) => object,
            Form::Changed(_) | Form::Later(_) => Object::clone(&self),
        }
    }
}

impl From<Object> for Previous {
    fn from(object: Object) -> Previous {
        Previous(Form::Whole(object))
    }
}

impl Deref for Previous {
    type Target = Object;

    fn deref(&self) -> &Object {
        match &self.0 {
            Form::Whole(object) => object,
            Form::Changed(changed) => changed.whole.get_or_init(|| changed.changes.applied(&changed.message)),
            Form::Later(later) => later.whole.get_or_init(|| (later.write)(&later.parts)),
        }
    }
}

impl PartialEq for Previous {
    fn eq(&self, other: &Previous) -> bool {
        **self == **other
    }
}

impl Eq for Previous {}

impl fmt::Debug for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Previous({:?}, {} changes)", self.message, self.changes.count())
    }
}

/// Nothing of what is inside: that belongs to users.
impl fmt::Debug for Previous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Whole(object) => object.fmt(f),
            Form::Changed(changed) => changed.fmt(f),
            Form::Later(later) => write!(f, "Previous(of {} bytes)", later.parts.len()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use trunkline_etf::{Encoding, EtfWriter, TermWrite, Value};

    use super::*;
    use crate::message::MessageChange;

    fn json(text: &'static str) -> Object {
        Object { encoding: Encoding::Json, bytes: Bytes::from_static(text.as_bytes()) }
    }

    #[test]
    fn a_changed_message_is_written_once_and_counts_all_that_it_keeps() {
        let changes = Changes::and(None, MessageChange::Update(json(r#"{"content":"b"}"#)));
        let previous = Previous::changed(json(r#"{"content":"a"}"#), changes);
        let held = previous.bytes_held();
        assert_eq!(held, size_of::<Changed>() + 60);
        let copy = previous.clone();
        assert_eq!(previous.value().get("content").and_then(|text| text.as_str().map(String::from)), Some("b".to_owned()));
        assert_eq!((copy.bytes_held(), previous.bytes.as_ptr()), (held, copy.bytes.as_ptr()));
        assert_eq!(previous, Previous::from(json(r#"{"content":"b"}"#)));
        assert!(!format!("{previous:?} {:?}", Previous::from(json("{}"))).contains('{'));
        assert_eq!(previous.into_object().value().get("content").and_then(Value::as_str).as_deref(), Some("b"));
    }

    #[test]
    fn what_is_written_of_its_parts_is_written_when_it_is_looked_at_and_once() {
        use std::sync::atomic::{AtomicU32, Ordering};
        static WRITTEN: AtomicU32 = AtomicU32::new(0);
        let previous = Previous::later(b"12".to_vec(), |parts| {
            WRITTEN.fetch_add(1, Ordering::Relaxed);
            Object { encoding: Encoding::Json, bytes: Bytes::copy_from_slice(parts) }
        });
        let (held, copy) = (previous.bytes_held(), previous.clone());
        assert_eq!((held, WRITTEN.load(Ordering::Relaxed)), (size_of::<Later>() + 4, 0));
        assert!(format!("{previous:?}").contains("2 bytes"));
        assert_eq!((&previous, copy.value().as_u64()), (&Previous::from(json("12")), Some(12)));
        assert_eq!((previous.bytes_held(), copy.into_object(), previous.into_object()), (held, json("12"), json("12")));
        assert_eq!(WRITTEN.load(Ordering::Relaxed), 1);
    }

    /// A message or update as ETF: one that changes nothing hands on the very bytes that it was given.
    fn etf(content: &str) -> Object {
        let mut out = EtfWriter::term().with_atom_keys();
        out.begin_map(1);
        out.key("content");
        out.str(content);
        out.end_map();
        Object { encoding: Encoding::Etf, bytes: Bytes::from(out.into_vec()) }
    }

    #[test]
    fn of_a_message_that_is_edited_again_and_again_each_state_takes_the_step_from_the_one_before() {
        let message = etf("first");
        let (mut changes, mut told) = (None, Vec::<Previous>::new());
        for step in 0..16 {
            // Every second edit says nothing new.
            let next = Changes::and(changes.take(), MessageChange::Update(etf(&format!("edit {}", step / 2))));
            let previous = Previous::changed(message.clone(), next.clone());
            assert_eq!(*previous, etf(&format!("edit {}", step / 2)));
            if step % 2 == 1 {
                assert_eq!(previous.bytes.as_ptr(), told[step - 1].bytes.as_ptr(), "it is made of the one before and not of the first");
            }
            told.push(previous);
            changes = Some(next);
        }
        let last = changes.unwrap();
        assert_eq!(last.applied(&message).bytes.as_ptr(), told[14].bytes.as_ptr());
        // Nothing is kept for states that nobody keeps, and what was written of another message is not this one's.
        assert_eq!(last.applied(&Object::copy_of(message.value())), etf("edit 7"));
        assert_ne!(last.applied(&Object::copy_of(message.value())).bytes.as_ptr(), told[14].bytes.as_ptr());
        drop(told);
        assert_eq!(last.applied(&message), etf("edit 7"));
        let again = Previous::changed(message.clone(), last.clone());
        assert_eq!((&*again, again.clone().into_object()), (&etf("edit 7"), etf("edit 7")));
    }
}

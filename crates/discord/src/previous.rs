//! What an object was before an event.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::Object;
use crate::message::Changes;

/// An object as it was before an event. It is read like the [`Object`] that it is.
///
/// That of a message with changes that nobody has asked for yet is written when somebody first looks at it, and once: most are never looked at.
#[derive(Clone)]
pub struct Previous(Form);

#[derive(Clone)]
enum Form {
    Whole(Object),
    Changed(Arc<Changed>),
}

struct Changed {
    message: Object,
    changes: Arc<Changes>,
    whole: OnceLock<Object>,
}

impl Previous {
    /// A message with what has changed it.
    pub fn changed(message: Object, changes: Arc<Changes>) -> Previous {
        Previous(Form::Changed(Arc::new(Changed { message, changes, whole: OnceLock::new() })))
    }

    /// Bytes of memory that it keeps alive, with what it takes when it is written: the same all the time, so that what was added to a sum can be
    /// taken from it.
    pub fn bytes_held(&self) -> usize {
        match &self.0 {
            Form::Whole(object) => object.bytes.len(),
            Form::Changed(changed) => size_of::<Changed>() + 2 * (changed.message.bytes.len() + changed.changes.bytes() as usize),
        }
    }

    /// The object, to keep.
    pub fn into_object(self) -> Object {
        match self.0 {
            Form::Whole(object) => object,
            Form::Changed(_) => Object::clone(&self),
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
        }
    }
}

impl PartialEq for Previous {
    fn eq(&self, other: &Previous) -> bool {
        **self == **other
    }
}

impl Eq for Previous {}

/// Nothing of what is inside: that belongs to users.
impl fmt::Debug for Previous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Whole(object) => object.fmt(f),
            Form::Changed(changed) => write!(f, "Previous({:?}, {} changes)", changed.message, changed.changes.count()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use trunkline_etf::{Encoding, Value};

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
}

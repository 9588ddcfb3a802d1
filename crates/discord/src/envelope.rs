//! The frame around everything that Discord sends: `op`, `s`, `t` and the body `d`, which stays bytes.
//!
//! Discord docs, Gateway Events: Payload Structure. Unknown keys are ignored; an unknown op passes through.

use std::borrow::Cow;
use std::fmt;

use trunkline_etf::{Encoding, Kind, Limits, Names, Value};

use crate::routing::{Fields, SPOTS, Spots};
use crate::{EventKind, Op, Routing};

/// One received frame, borrowed from its bytes.
#[derive(Clone)]
pub struct Envelope<'a> {
    /// What it is.
    pub op: Op,
    /// The sequence number; on dispatches only.
    pub s: Option<u64>,
    /// The event's name; on dispatches only.
    pub t: Option<Cow<'a, str>>,
    /// The kind of event that this name says.
    pub kind: EventKind,
    /// The body; null when there is none.
    pub d: Value<'a>,
}

/// The size of the body only: what is inside belongs to users.
impl fmt::Debug for Envelope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (op, name, length) = (self.op, self.t.as_deref().unwrap_or("none"), self.d.raw().len());
        write!(f, "Envelope({op:?}, s {:?}, t {name}, d {length} bytes)", self.s)
    }
}

/// Why bytes are no [`Envelope`]. Whoever sent them is at fault; the connection they came over should be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvelopeError {
    /// Not a valid document, or over a limit.
    Term(trunkline_etf::Error),
    /// A compressed term: inflate it (`trunkline_etf::inflate`) and decode what comes out.
    Compressed,
    /// A valid document that is no map.
    NotAMap,
    /// `op` is missing or no whole number.
    Op,
    /// `s` is there and neither null nor a whole number.
    Sequence,
    /// `t` is there and neither null nor text.
    Name,
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EnvelopeError::Term(error) => write!(f, "gateway frame: {error}"),
            EnvelopeError::Compressed => f.write_str("gateway frame: a compressed term that was not inflated"),
            EnvelopeError::NotAMap => f.write_str("gateway frame: a map was expected"),
            EnvelopeError::Op => f.write_str("gateway frame: `op` is missing or not a whole number"),
            EnvelopeError::Sequence => f.write_str("gateway frame: `s` is neither null nor a whole number"),
            EnvelopeError::Name => f.write_str("gateway frame: `t` is neither null nor text"),
        }
    }
}

impl std::error::Error for EnvelopeError {}

/// The external term format's version byte, and the tag of a compressed term behind it.
const ETF_COMPRESSED: [u8; 2] = [131, 80];

/// Null, for frames without a body.
fn null(encoding: Encoding) -> Value<'static> {
    match encoding {
        Encoding::Etf => Value::from_raw(encoding, &[115, 3, b'n', b'i', b'l']),
        // No frame is packed; were there one, any null would do.
        Encoding::Json | Encoding::Packed => Value::from_raw(Encoding::Json, b"null"),
    }
}

impl<'a> Envelope<'a> {
    /// Reads one whole document. Validates all of it in one walk, copies nothing (but a name with JSON escapes).
    ///
    /// # Errors
    /// Whatever is no envelope, with the reason.
    pub fn decode(encoding: Encoding, bytes: &'a [u8], limits: &Limits) -> Result<Envelope<'a>, EnvelopeError> {
        Envelope::decode_routed(encoding, bytes, limits).map(|(envelope, _)| envelope)
    }

    /// [`Envelope::decode`] together with [`routing`](crate::routing()), in the same one walk. For frames that are no
    /// dispatches the ids mean nothing.
    ///
    /// # Errors
    /// As [`Envelope::decode`].
    pub fn decode_routed(encoding: Encoding, bytes: &'a [u8], limits: &Limits) -> Result<(Envelope<'a>, Routing), EnvelopeError> {
        Envelope::decode_fields(bytes, limits, &mut Fields::new(encoding))
    }

    /// [`Envelope::decode_routed`] that leaves where in the body things lie in `fields`, which are to be new and say the encoding. What they
    /// hold counts only if the result is `Ok`.
    ///
    /// # Errors
    /// As [`Envelope::decode`].
    #[inline]
    pub fn decode_fields(bytes: &'a [u8], limits: &Limits, fields: &mut Fields<'a>) -> Result<(Envelope<'a>, Routing), EnvelopeError> {
        let found = &mut fields.0;
        if found.encoding() == Encoding::Etf && bytes.starts_with(&ETF_COMPRESSED) {
            return Err(EnvelopeError::Compressed);
        }
        let whole = Value::parse_finding(bytes, limits, &PARTS, D, &SPOTS, found).map_err(EnvelopeError::Term)?;
        let envelope = Parts([OP, S, T, D].map(|part| found.outer(part))).envelope(whole)?;
        let routing = Spots::new(|spot| found.inner(spot)).routing(envelope.kind);
        Ok((envelope, routing))
    }

    /// Reads a document that is already parsed. Of a repeated key the first one counts.
    ///
    /// # Errors
    /// As [`Envelope::decode`], but for the document itself.
    pub fn from_value(whole: Value<'a>) -> Result<Envelope<'a>, EnvelopeError> {
        let mut parts = Parts::default();
        for (key, value) in whole.entries() {
            if let Some(place) = PARTS.find(key).and_then(|part| parts.0.get_mut(part)) {
                place.get_or_insert(value);
            }
        }
        parts.envelope(whole)
    }

    /// A frame without sequence or name, as Discord sends everything but dispatches. For tests and simulators.
    pub fn plain(op: Op, d: Value<'a>) -> Envelope<'a> {
        Envelope { op, s: None, t: None, kind: EventKind::Unknown, d }
    }
}

/// The entries of a frame that count. Their indices:
static PARTS: Names<4> = Names::new(["op", "s", "t", "d"]);
const OP: usize = 0;
const S: usize = 1;
const T: usize = 2;
const D: usize = 3;

/// Those entries' values, as far as they were found.
#[derive(Default)]
struct Parts<'a>([Option<Value<'a>>; 4]);

impl<'a> Parts<'a> {
    #[inline(always)]
    fn envelope(self, whole: Value<'a>) -> Result<Envelope<'a>, EnvelopeError> {
        let Parts([op, s, t, d]) = self;
        // A map is the only term in which anything can have been found.
        let Some(op) = op else {
            return Err(if whole.kind() == Kind::Map { EnvelopeError::Op } else { EnvelopeError::NotAMap });
        };
        let op = op.as_u64().map(Op::from_code).ok_or(EnvelopeError::Op)?;
        // A number is asked for before null, because it is the usual case.
        let s = match s {
            None => None,
            Some(s) => match s.as_u64() {
                None if !s.is_null() => return Err(EnvelopeError::Sequence),
                number => number,
            },
        };
        let (t, kind) = match t {
            None => (None, EventKind::Unknown),
            Some(t) => name(t)?,
        };
        Ok(Envelope { op, s, t, kind, d: d.unwrap_or_else(|| null(whole.encoding())) })
    }
}

/// An event's name: a text, and nothing that merely could be read as one. A known name is taken from the table, which spares asking
/// whether it is UTF-8; none of them could be anything but a text.
#[inline]
fn name(t: Value<'_>) -> Result<(Option<Cow<'_, str>>, EventKind), EnvelopeError> {
    if let Some(kind) = t.as_bytes().and_then(|name| EventKind::find(&name)) {
        return Ok((Some(Cow::Borrowed(kind.name())), kind));
    }
    match t.kind() {
        Kind::Null => Ok((None, EventKind::Unknown)),
        Kind::Str => t.as_str().map(|name| (Some(name), EventKind::Unknown)).ok_or(EnvelopeError::Name),
        _ => Err(EnvelopeError::Name),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<Envelope<'_>, EnvelopeError> {
        Envelope::decode(Encoding::Json, text.as_bytes(), &Limits::GATEWAY)
    }

    #[test]
    fn a_dispatch_is_read_and_its_body_stays_the_bytes_it_was() {
        let envelope = json(r#"{"t":"MESSAGE_CREATE","s":42,"op":0,"d":{"id":"1", "x" : 2.50}}"#).unwrap();
        assert_eq!(envelope.op, Op::Dispatch);
        assert_eq!(envelope.s, Some(42));
        assert_eq!(envelope.t.as_deref(), Some("MESSAGE_CREATE"));
        assert_eq!(envelope.d.raw(), br#"{"id":"1", "x" : 2.50}"#);
    }

    #[test]
    fn the_ids_found_on_the_way_are_those_of_a_look_of_its_own() {
        for text in [
            r#"{"t":"MESSAGE_CREATE","s":1,"op":0,"d":{"id":"1","author":{"id":"2"},"channel_id":"3","guild_id":"4"}}"#,
            r#"{"d":{"id":41,"channels":[{"id":"7","guild_id":"8"}],"guild_id":"9"},"t":"GUILD_CREATE","s":1,"op":0}"#,
            r#"{"x":{"guild_id":"1"},"d":{"user":{"id":"2","guild_id":"3"}},"t":"PRESENCE_UPDATE","s":1,"op":0}"#,
            r#"{"d":{"guild_id":"1"},"d":{"guild_id":"2","user_id":"3"},"t":"TYPING_START","s":1,"op":0}"#,
            r#"{"op":0,"s":1,"t":"NEW","d":{"guild_id":"1","id":"2"}}"#,
            r#"{"op":11}"#,
        ] {
            let (envelope, found) = Envelope::decode_routed(Encoding::Json, text.as_bytes(), &Limits::GATEWAY).unwrap();
            let kind = envelope.t.as_deref().map_or(EventKind::Unknown, EventKind::from_name);
            assert_eq!((envelope.kind, found), (kind, crate::routing(kind, envelope.d)), "{text}");
        }
    }

    #[test]
    fn nulls_missing_keys_and_unknown_keys_are_fine() {
        let envelope = json(r#"{"op":11,"s":null,"t":null,"_trace":[1]}"#).unwrap();
        assert_eq!((envelope.op, envelope.s, envelope.t.is_none()), (Op::HeartbeatAck, None, true));
        assert!(envelope.d.is_null());
    }

    #[test]
    fn an_unknown_op_passes_through() {
        assert_eq!(json(r#"{"op":99,"d":1}"#).unwrap().op, Op::Other(99));
    }

    #[test]
    fn the_same_frame_in_etf_with_atom_keys_is_read_alike() {
        // #{d => nil, op => 0, s => 300, t => 'RESUMED'} as Erlang writes it.
        let mut bytes = vec![131, 116, 0, 0, 0, 4];
        bytes.extend([119, 1, b'd', 119, 3, b'n', b'i', b'l']);
        bytes.extend([119, 2, b'o', b'p', 97, 0]);
        bytes.extend([119, 1, b's', 98, 0, 0, 1, 44]);
        bytes.extend([119, 1, b't', 119, 7]);
        bytes.extend(b"RESUMED");
        let envelope = Envelope::decode(Encoding::Etf, &bytes, &Limits::GATEWAY).unwrap();
        assert_eq!((envelope.op, envelope.s, envelope.t.as_deref()), (Op::Dispatch, Some(300), Some("RESUMED")));
        assert!(envelope.d.is_null());
    }

    #[test]
    fn the_body_does_not_show_in_debug_output() {
        let envelope = json(r#"{"op":0,"s":1,"t":"MESSAGE_CREATE","d":{"content":"private"}}"#).unwrap();
        assert_eq!(format!("{envelope:?}"), "Envelope(Dispatch, s Some(1), t MESSAGE_CREATE, d 21 bytes)");
    }

    #[test]
    fn no_damage_to_a_frame_makes_decoding_panic() {
        let json = br#"{"t":"MESSAGE_CREATE","s":42,"op":0,"d":{"id":"1","author":{"id":"2"},"meta":{"guild_id":"3"}}}"#;
        let value = Value::parse(Encoding::Json, json, &Limits::GATEWAY).unwrap();
        let mut etf = vec![131];
        trunkline_etf::transcode(value, Encoding::Etf, &mut etf).unwrap();
        let mut dice = crate::Dice::new(3);
        for _ in 0..20_000 {
            for (encoding, whole) in [(Encoding::Json, &json[..]), (Encoding::Etf, &etf[..])] {
                let mut bytes = whole.to_vec();
                for _ in 0..dice.between(1, 3) {
                    let at = dice.below(bytes.len() as u64) as usize;
                    bytes[at] = dice.next_u64() as u8;
                }
                bytes.truncate(dice.between(1, bytes.len() as u64 * 2) as usize);
                if let Ok((envelope, found)) = Envelope::decode_routed(encoding, &bytes, &Limits::GATEWAY) {
                    let kind = envelope.t.as_deref().map_or(EventKind::Unknown, EventKind::from_name);
                    assert_eq!(found, crate::routing(kind, envelope.d), "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_envelope_is_refused_with_the_reason() {
        let error = |text: &str| json(text).unwrap_err();
        assert_eq!(error("[]"), EnvelopeError::NotAMap);
        for bad in ["{}", r#"{"op":"1"}"#, r#"{"op":-1}"#, r#"{"op":null}"#, r#"{"op":1.5}"#] {
            assert_eq!(error(bad), EnvelopeError::Op, "{bad}");
        }
        for bad in [r#"{"op":0,"s":"1"}"#, r#"{"op":0,"s":-1}"#, r#"{"op":0,"s":[]}"#] {
            assert_eq!(error(bad), EnvelopeError::Sequence, "{bad}");
        }
        assert_eq!(error(r#"{"op":0,"t":7}"#), EnvelopeError::Name);
        assert!(matches!(error("{"), EnvelopeError::Term(_)));
        assert!(matches!(error(""), EnvelopeError::Term(_)));
        let compressed = Envelope::decode(Encoding::Etf, &[131, 80, 0, 0, 0, 1], &Limits::GATEWAY);
        assert_eq!(compressed.unwrap_err(), EnvelopeError::Compressed);
    }
}

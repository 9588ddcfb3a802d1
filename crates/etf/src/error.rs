//! What can be wrong with received bytes, and the limits that they must keep.
//!
//! Errors hold no bytes of the payload beyond the one that was found in a wrong place, so they may be logged.

use std::fmt;

/// Limits on one document. All of them are checked before work or memory is spent on what exceeds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Deepest nesting of lists, tuples, maps and objects; at most [`DEPTH_MAX`](crate::DEPTH_MAX). A scalar has depth 0.
    pub depth_max: u32,
    /// Longest document, in bytes as received.
    pub bytes_max: usize,
    /// Longest document after a compressed ETF term was inflated, in bytes, version byte included.
    pub inflated_bytes_max: usize,
}

impl Limits {
    /// What is accepted from Discord: a GUILD_CREATE of a large guild is some 20 MB and 8 levels deep.
    pub const GATEWAY: Limits = Limits { depth_max: 200, bytes_max: 64 << 20, inflated_bytes_max: 64 << 20 };
}

/// Why bytes are not a term, and where. Prints as `error at byte 6: binary wants 9 bytes, 2 left`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// Offset from the start of the document (or of the sub-term that was given), in bytes.
    pub offset: usize,
    /// What was wrong there.
    pub kind: ErrorKind,
}

/// What was wrong at [`Error::offset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An ETF document must begin with 131.
    Version {
        /// The byte that was there instead; `None` if there was none.
        found: Option<u8>,
    },
    /// Fewer bytes are left than the term needs or claims.
    Short {
        /// The kind of term.
        what: &'static str,
        /// Bytes that it needs from this offset on.
        wants: u64,
        /// Bytes that there are.
        left: usize,
    },
    /// A list, tuple or map claims more elements than bytes are left, and each takes at least one.
    Crowded {
        /// The kind of term.
        what: &'static str,
        /// Terms that must follow.
        terms: u64,
        /// Bytes that there are.
        left: usize,
    },
    /// No term begins with this byte.
    Tag {
        /// The byte.
        found: u8,
    },
    /// The tag belongs to the protocol between Erlang nodes and means nothing outside of it.
    NodeOnly {
        /// The byte.
        found: u8,
    },
    /// A compressed term (tag 80): call [`inflate`](crate::inflate) first. Only allowed right behind the version byte.
    Compressed,
    /// A float that is not a finite number, or a float in text form that is none.
    Float,
    /// The number of used bits in the last byte of a bit string must be 1 to 8.
    Bits {
        /// What it was.
        found: u8,
    },
    /// The sign byte of a large integer must be 0 or 1.
    Sign {
        /// What it was.
        found: u8,
    },
    /// A function's own size field is too small to hold its fixed part.
    FunSize {
        /// What it was.
        found: u32,
    },
    /// A node name (of a process id, port, reference, function) must be an atom.
    NotAnAtom {
        /// The tag that was there.
        found: u8,
    },
    /// An integer longer than [`INTEGER_BYTES_MAX`](crate::INTEGER_BYTES_MAX).
    IntegerTooLong {
        /// Its length in bytes (ETF) or digits (JSON).
        found: u64,
    },
    /// The document is complete, but more bytes follow.
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// Nested deeper than allowed.
    TooDeep {
        /// The limit.
        depth_max: u32,
    },
    /// More bytes than allowed.
    TooLong {
        /// How many there are (or are claimed).
        bytes: u64,
        /// The limit.
        bytes_max: usize,
    },
    /// JSON: something else was wanted here.
    Wanted {
        /// What was wanted.
        what: &'static str,
        /// The byte that was there instead; `None` at the end of the text.
        found: Option<u8>,
    },
    /// JSON: a control character stands unescaped in a string.
    Control {
        /// The character.
        found: u8,
    },
    /// JSON: a string is not UTF-8.
    Utf8,
    /// JSON: half of a surrogate pair without its other half.
    Surrogate,
    /// Compressed term: the zlib data is broken.
    Zlib,
    /// Compressed term: it inflates to another length than it claims.
    InflatedLength {
        /// Bytes claimed.
        claimed: u32,
        /// Bytes found before inflating stopped.
        found: u64,
    },
    /// The term has no JSON form.
    NoJsonForm {
        /// The kind of term.
        what: &'static str,
    },
    /// Packed bytes that were damaged, or are none.
    Packed {
        /// What is wrong with them.
        what: &'static str,
    },
    /// A container that is larger than the format can count (2^32 - 1 elements, or bytes of one string).
    Uncountable,
}

impl Error {
    pub(crate) fn new(offset: usize, kind: ErrorKind) -> Error {
        Error { offset, kind }
    }
}

/// A byte as people read it: a printable ASCII character in quotes, else its number.
struct Shown(Option<u8>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("the end"),
            Some(byte @ 0x20..=0x7e) => write!(f, "'{}'", char::from(byte)),
            Some(byte) => write!(f, "byte {byte}"),
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ErrorKind::Version { found: Some(found) } => write!(f, "ETF begins with version byte 131, found {found}"),
            ErrorKind::Version { found: None } => f.write_str("ETF begins with version byte 131, found nothing"),
            ErrorKind::Short { what, wants, left } => {
                let s = if wants == 1 { "" } else { "s" };
                write!(f, "{what} wants {wants} byte{s}, {left} left")
            }
            ErrorKind::Crowded { what, terms, left } => {
                write!(f, "{what} wants {terms} more terms of at least 1 byte, {left} left")
            }
            ErrorKind::Tag { found } => write!(f, "wants a term, no term has tag {found}"),
            ErrorKind::NodeOnly { found } => {
                write!(f, "tag {found} is only for Erlang nodes among themselves; the peer must not send it")
            }
            ErrorKind::Compressed => f.write_str("wants a plain term, found a compressed one (tag 80); inflate the whole document first"),
            ErrorKind::Float => f.write_str("float is not a finite number"),
            ErrorKind::Bits { found } => write!(f, "bit string wants 1 to 8 bits in its last byte, found {found}"),
            ErrorKind::Sign { found } => write!(f, "large integer wants sign 0 or 1, found {found}"),
            ErrorKind::FunSize { found } => write!(f, "function claims to be {found} bytes long, its fixed part alone is longer"),
            ErrorKind::NotAnAtom { found } => write!(f, "wants an atom, found tag {found}"),
            ErrorKind::IntegerTooLong { found } => {
                write!(f, "integer of {found} bytes or digits is longer than {} bytes", crate::INTEGER_BYTES_MAX)
            }
            ErrorKind::Trailing { bytes } => write!(f, "wants the end, {bytes} more bytes follow"),
            ErrorKind::TooDeep { depth_max } => write!(f, "nested deeper than {depth_max}"),
            ErrorKind::TooLong { bytes, bytes_max } => write!(f, "{bytes} bytes are more than the limit of {bytes_max}"),
            ErrorKind::Wanted { what, found } => write!(f, "wants {what}, found {}", Shown(found)),
            ErrorKind::Control { found } => write!(f, "control character {found} must be escaped in a string"),
            ErrorKind::Utf8 => f.write_str("string is not UTF-8"),
            ErrorKind::Surrogate => f.write_str("half of a surrogate pair stands alone"),
            ErrorKind::Zlib => f.write_str("compressed term holds broken zlib data"),
            ErrorKind::InflatedLength { claimed, found } => {
                write!(f, "compressed term claims {claimed} bytes, inflates to {found}")
            }
            ErrorKind::NoJsonForm { what } => write!(f, "{what} has no JSON form"),
            ErrorKind::Packed { what } => write!(f, "packed bytes are damaged: {what}"),
            ErrorKind::Uncountable => f.write_str("more than 4294967295 elements or bytes in one term"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error at byte {}: {}", self.offset, self.kind)
    }
}

impl std::error::Error for Error {}

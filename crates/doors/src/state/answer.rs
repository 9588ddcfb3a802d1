//! How answers are written: JSON or ETF, whole or as they come.

use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use trunkline_discord::{Encoding, Object};
use trunkline_etf::{ETF_VERSION, EtfWriter, JsonWriter, TermWrite, transcode};

use super::query::StateError;

/// The largest list that is gathered for ETF; a larger one has to be asked for in parts, or as JSON.
pub const ETF_LIST_BYTES_MAX: usize = 256 << 20;

const ETF_TYPE: &str = "application/x-erlang-binary";
const JSON_TYPE: &str = "application/json";
const LIST_EXT: u8 = 108;
const NIL_EXT: u8 = 106;

/// How a caller wants its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// `application/json`.
    #[default]
    Json,
    /// `application/x-erlang-binary`: one term with the version byte.
    Etf,
}

impl Format {
    /// By the `accept` header: the type of the higher quality, of equal ones the one that is named first; one of quality 0 is not wanted.
    /// `default` where it names neither, unless that is not wanted.
    pub(super) fn of(headers: &HeaderMap, default: Format) -> Format {
        let (mut best, mut refused): (Option<(Format, f32)>, Option<Format>) = (None, None);
        let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        for range in accepted {
            let mut parts = range.split(';').map(|part| part.trim().to_ascii_lowercase());
            let format = match parts.next().as_deref() {
                Some(ETF_TYPE) => Format::Etf,
                Some(JSON_TYPE) => Format::Json,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.trim().parse().ok()).unwrap_or(1.0_f32);
            if quality <= 0.0 {
                refused = Some(format);
            } else if best.is_none_or(|(_, other)| quality > other) {
                best = Some((format, quality));
            }
        }
        match best {
            Some((format, _)) => format,
            None if refused == Some(default) => default.other(),
            None => default,
        }
    }

    fn other(self) -> Format {
        match self {
            Format::Json => Format::Etf,
            Format::Etf => Format::Json,
        }
    }

    fn encoding(self) -> Encoding {
        match self {
            Format::Json => Encoding::Json,
            Format::Etf => Encoding::Etf,
        }
    }

    /// 200 with this body.
    pub(super) fn response(self, body: impl Into<Body>) -> Response {
        let kind = match self {
            Format::Json => JSON_TYPE,
            Format::Etf => ETF_TYPE,
        };
        ([(CONTENT_TYPE, HeaderValue::from_static(kind))], body.into()).into_response()
    }

    /// One object as a whole body.
    pub(super) fn object(self, object: &Object) -> Result<Vec<u8>, StateError> {
        let mut out = Vec::with_capacity(object.bytes.len() + 1);
        if self == Format::Etf {
            out.push(ETF_VERSION);
        }
        self.append(object, &mut out)?;
        Ok(out)
    }

    /// One object as part of a body.
    pub(super) fn append(self, object: &Object, out: &mut Vec<u8>) -> Result<(), StateError> {
        let written = transcode(object.value(), self.encoding(), out);
        written.map(drop).map_err(|error| StateError::Failed(format!("a stored object cannot be written: {error}")))
    }

    /// A small body that is made here.
    pub(super) fn made(self, make: impl FnOnce(&mut dyn TermWrite)) -> Vec<u8> {
        match self {
            Format::Json => {
                let mut writer = JsonWriter::new();
                make(&mut writer);
                writer.into_vec()
            }
            Format::Etf => {
                let mut writer = EtfWriter::new();
                make(&mut writer);
                writer.into_vec()
            }
        }
    }

    /// A small object that is made here.
    pub(super) fn made_object(self, make: impl FnOnce(&mut dyn TermWrite)) -> Object {
        let encoding = self.encoding();
        let bytes = match self {
            Format::Json => self.made(make),
            Format::Etf => self.made(make).split_off(1),
        };
        Object { encoding, bytes: Bytes::from(bytes) }
    }
}

/// A list that is being written.
pub(super) struct ListBody {
    format: Format,
    out: Vec<u8>,
    count: u32,
}

impl ListBody {
    pub(super) fn new(format: Format) -> ListBody {
        let out = match format {
            Format::Json => vec![b'['],
            Format::Etf => vec![ETF_VERSION, LIST_EXT, 0, 0, 0, 0],
        };
        ListBody { format, out, count: 0 }
    }

    pub(super) fn push(&mut self, object: &Object) -> Result<(), StateError> {
        if self.format == Format::Json && self.count > 0 {
            self.out.push(b',');
        }
        self.count += 1;
        self.format.append(object, &mut self.out)?;
        if self.format == Format::Etf && self.out.len() > ETF_LIST_BYTES_MAX {
            return Err(StateError::Request(format!(
                "the list is over {} MiB, which is the most in ETF; ask for JSON, or for parts with ?limit=&after=",
                ETF_LIST_BYTES_MAX >> 20
            )));
        }
        Ok(())
    }

    /// What was written since the last call; for JSON only.
    pub(super) fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.out))
    }

    pub(super) fn finish(mut self) -> Bytes {
        match self.format {
            Format::Json => self.out.push(b']'),
            Format::Etf if self.count == 0 => self.out = vec![ETF_VERSION, NIL_EXT],
            Format::Etf => {
                self.out[2..6].copy_from_slice(&self.count.to_be_bytes());
                self.out.push(NIL_EXT);
            }
        }
        Bytes::from(self.out)
    }
}

impl IntoResponse for StateError {
    fn into_response(self) -> Response {
        let status = match &self {
            StateError::Request(_) => StatusCode::BAD_REQUEST,
            StateError::Unknown(_) => StatusCode::NOT_FOUND,
            StateError::Forbidden(_) => StatusCode::FORBIDDEN,
            StateError::Later(_) => StatusCode::SERVICE_UNAVAILABLE,
            StateError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut response = (status, self.to_string()).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

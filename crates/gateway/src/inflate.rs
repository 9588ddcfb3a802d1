//! Takes the transport compression off what Discord sends.
//!
//! One [`Inflater`] lives as long as one connection, because Discord keeps one compression context for the whole
//! connection (Discord docs, Gateway: Transport Compression). It turns websocket frames into gateway messages and never
//! looks into them. Messages that have come together may lie behind one another in its buffer.
//!
//! Invariants: what one message may grow to is bounded before memory is taken for it, so a compressed bomb costs at
//! most the limit; after the first error the context is poisoned and every later call fails, since nothing behind a
//! decoding error can be trusted; the buffer that messages are written to is reused and shrinks again after a giant.

use std::ops::Range;

use flate2::{Decompress, FlushDecompress, Status};
use trunkline_discord::Compression;
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// What every message of a zlib stream ends in: the mark of a zlib sync flush.
const ZLIB_END: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// A zlib context: 32 KiB of window and its tables, as measured with zlib-rs. The library does not tell it.
const ZLIB_CONTEXT_BYTES: usize = 52 * 1024;
/// 8 MiB of window. Discord's windows are far smaller; more than this is refused before it is allocated.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// What the output buffer starts with and shrinks back to.
const BUFFER_BYTES: usize = 32 * 1024;
/// A buffer above this shrinks at the next message; one below it, after `CALM_MESSAGES` small ones.
const BUFFER_GIANT_BYTES: usize = 4 * 1024 * 1024;
/// So often in a row what lay there has to fit `BUFFER_BYTES` when it is cleared, before a middling buffer shrinks: guilds come in crowds after
/// READY, and growing anew for each would cost more than the memory is worth.
const CALM_MESSAGES: u32 = 64;

/// Bounds of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InflateLimits {
    /// Decompressed bytes of one message.
    pub message_bytes_max: usize,
    /// Compressed bytes of one message, over all websocket frames it spans.
    pub compressed_bytes_max: usize,
}

impl Default for InflateLimits {
    /// 64 MiB each: Discord names no limit, and messages of several MiB are seen.
    fn default() -> Self {
        Self { message_bytes_max: 64 * 1024 * 1024, compressed_bytes_max: 64 * 1024 * 1024 }
    }
}

/// Why a message could not be decompressed. The connection has to be replaced; the session can be resumed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// More comes out of one message than the limit allows: a compressed bomb, or a broken stream.
    #[error(
        "one message from Discord decompresses to more than {limit} bytes ({compressed} compressed bytes were read): \
         refused as a compressed bomb; the connection is replaced and the session resumed"
    )]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
        /// How many compressed bytes of the message had been read.
        compressed: usize,
    },
    /// A message goes on for longer than the limit without coming to its end.
    #[error(
        "a compressed message from Discord goes on beyond {limit} bytes without its end mark 00 00 ff ff: refused; the \
         connection is replaced and the session resumed"
    )]
    NoEnd {
        /// The limit in bytes.
        limit: usize,
    },
    /// The bytes are no such stream.
    #[error(
        "{format} data from Discord is corrupt at byte {offset} of the connection: {detail}; the connection is replaced \
         and the session resumed"
    )]
    Corrupt {
        /// `zlib-stream` or `zstd-stream`.
        format: &'static str,
        /// Compressed bytes of the connection before the place.
        offset: u64,
        /// In the decompressor's words.
        detail: String,
    },
    /// An earlier message of this connection was corrupt.
    #[error("the decompression context was lost with an earlier message of this connection; a new connection is needed")]
    Poisoned,
    /// No memory for a context.
    #[error("no memory for a decompression context; lower the number of shards per node or use compress = \"zlib-stream\"")]
    NoMemory,
}

/// What became of a websocket message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// More of its gateway message has to come.
    Part,
    /// A gateway message is whole and lies here: [`Inflater::message`].
    Whole(Range<usize>),
    /// The connection is not compressed: the websocket message is the gateway message.
    Plain,
}

enum Context {
    None,
    Zlib(Box<Decompress>),
    Zstd(Box<DCtx<'static>>),
}

/// Decompresses one connection.
pub struct Inflater {
    context: Context,
    limits: InflateLimits,
    /// All of it is initialised; messages fill `..filled`.
    buffer: Vec<u8>,
    filled: usize,
    /// Where the last message begins.
    from: usize,
    /// The last bytes of the zlib message so far: its end mark may be cut in two by a frame's border.
    tail: [u8; 4],
    /// Compressed bytes of the message so far.
    message_in: usize,
    /// The last message in `buffer` is whole: what comes next starts a new one.
    complete: bool,
    calm: u32,
    poisoned: bool,
    bytes_in: u64,
    bytes_out: u64,
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater")
            .field("compression", &self.compression())
            .field("bytes_in", &self.bytes_in)
            .field("bytes_out", &self.bytes_out)
            .field("poisoned", &self.poisoned)
            .finish_non_exhaustive()
    }
}

impl Inflater {
    /// A fresh context, for a connection that was opened with this `compress` parameter.
    ///
    /// # Errors
    /// [`InflateError::NoMemory`].
    pub fn new(compression: Compression, limits: InflateLimits) -> Result<Self, InflateError> {
        let context = match compression {
            Compression::None => Context::None,
            Compression::ZlibStream => Context::Zlib(Box::new(Decompress::new(true))),
            Compression::ZstdStream => {
                let mut context = DCtx::try_create().ok_or(InflateError::NoMemory)?;
                context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX)).map_err(|_| InflateError::NoMemory)?;
                Context::Zstd(Box::new(context))
            }
        };
        let buffer = match context {
            Context::None => Vec::new(),
            _ => vec![0; BUFFER_BYTES.min(limits.message_bytes_max.saturating_add(1))],
        };
        Ok(Self {
            context,
            limits,
            buffer,
            filled: 0,
            from: 0,
            tail: [1; 4],
            message_in: 0,
            complete: true,
            calm: 0,
            poisoned: false,
            bytes_in: 0,
            bytes_out: 0,
        })
    }

    /// Takes one websocket message in. Answers the gateway message when it is whole, `None` when more frames of it have
    /// to come (zlib only). Messages that were appended before are forgotten.
    ///
    /// # Errors
    /// Any [`InflateError`]; the context is poisoned then.
    pub fn push<'a>(&'a mut self, frame: &'a [u8]) -> Result<Option<&'a [u8]>, InflateError> {
        self.clear();
        Ok(match self.append(frame)? {
            Appended::Part => None,
            Appended::Whole(place) => Some(self.message(&place)),
            Appended::Plain => Some(frame),
        })
    }

    /// [`Inflater::push`] that leaves the messages where they are that came since [`Inflater::clear`]: [`Inflater::message`] gives them.
    ///
    /// # Errors
    /// Any [`InflateError`]; the context is poisoned then. The messages before are still there.
    pub fn append(&mut self, frame: &[u8]) -> Result<Appended, InflateError> {
        if self.poisoned {
            return Err(InflateError::Poisoned);
        }
        self.bytes_in += frame.len() as u64;
        if self.complete {
            self.begin();
        }
        let result = match self.context {
            Context::None => {
                if frame.len() <= self.limits.message_bytes_max {
                    self.bytes_out += frame.len() as u64;
                    self.complete = true;
                    return Ok(Appended::Plain);
                }
                Err(self.too_large())
            }
            Context::Zlib(_) => self.push_zlib(frame),
            Context::Zstd(_) => self.push_zstd(frame).map(|()| true),
        };
        match result {
            Ok(false) => Ok(Appended::Part),
            Ok(true) => {
                self.complete = true;
                self.bytes_out += self.message_out() as u64;
                Ok(Appended::Whole(self.from..self.filled))
            }
            Err(error) => {
                self.poisoned = true;
                // What it grew to goes; messages before it may still be wanted.
                self.buffer.truncate(self.from);
                self.buffer.shrink_to_fit();
                self.filled = self.from;
                Err(error)
            }
        }
    }

    /// A message that was appended since [`Inflater::clear`]; nothing for any other place.
    #[must_use]
    pub fn message(&self, place: &Range<usize>) -> &[u8] {
        self.buffer.get(place.clone()).unwrap_or_default()
    }

    /// Bytes of all messages that lie here.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.filled
    }

    /// Forgets the messages that lie here; a part of one stays.
    pub fn clear(&mut self) {
        let part = if self.complete { 0 } else { self.message_out() };
        if part != 0 && self.from != 0 {
            self.buffer.copy_within(self.from..self.filled, 0);
        }
        if self.complete {
            self.shrink();
        }
        (self.from, self.filled) = (0, part);
    }

    /// The compression that this connection was opened with.
    #[must_use]
    pub fn compression(&self) -> Compression {
        match self.context {
            Context::None => Compression::None,
            Context::Zlib(_) => Compression::ZlibStream,
            Context::Zstd(_) => Compression::ZstdStream,
        }
    }

    /// Compressed bytes taken in since the connection began.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// Plain bytes given out since the connection began.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    /// Memory that the context and its buffer hold, in bytes. A zstd context's size depends on the window that the
    /// server chose.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let context = match &self.context {
            Context::None => 0,
            Context::Zlib(_) => ZLIB_CONTEXT_BYTES,
            Context::Zstd(context) => context.sizeof(),
        };
        context + self.buffer.capacity()
    }

    /// Bytes of the last message so far.
    fn message_out(&self) -> usize {
        self.filled - self.from
    }

    /// A message begins behind those that lie here.
    fn begin(&mut self) {
        self.from = self.filled;
        self.message_in = 0;
        self.tail = [1; 4];
        self.complete = false;
    }

    /// Gives memory back that only few messages need.
    fn shrink(&mut self) {
        if self.filled > BUFFER_BYTES {
            self.calm = 0;
        } else {
            self.calm = self.calm.saturating_add(1);
        }
        let giant = self.buffer.len() > BUFFER_GIANT_BYTES;
        if giant || (self.calm >= CALM_MESSAGES && self.buffer.len() > BUFFER_BYTES) {
            self.buffer.truncate(BUFFER_BYTES);
            self.buffer.shrink_to(BUFFER_BYTES);
            self.calm = 0;
        }
    }

    /// Makes room for at least one more byte, up to one byte above the limit: that byte is how too much shows.
    fn grow(&mut self) -> Result<(), InflateError> {
        if self.message_out() > self.limits.message_bytes_max {
            return Err(self.too_large());
        }
        if self.filled == self.buffer.len() {
            let most = self.from.saturating_add(self.limits.message_bytes_max).saturating_add(1);
            let wanted = self.buffer.len().saturating_mul(2).clamp(1024, most.max(1024));
            self.buffer.resize(wanted.min(most), 0);
        }
        Ok(())
    }

    fn too_large(&self) -> InflateError {
        InflateError::TooLarge { limit: self.limits.message_bytes_max, compressed: self.message_in }
    }

    fn push_zlib(&mut self, frame: &[u8]) -> Result<bool, InflateError> {
        let offset = self.bytes_in - frame.len() as u64;
        if self.message_in.saturating_add(frame.len()) > self.limits.compressed_bytes_max {
            return Err(InflateError::NoEnd { limit: self.limits.compressed_bytes_max });
        }
        self.message_in += frame.len();
        let mut read = 0;
        loop {
            self.grow()?;
            let Context::Zlib(context) = &mut self.context else {
                return Err(InflateError::Poisoned);
            };
            let (in_before, out_before) = (context.total_in(), context.total_out());
            let status = context.decompress(&frame[read..], &mut self.buffer[self.filled..], FlushDecompress::Sync);
            let consumed = (context.total_in() - in_before) as usize;
            let produced = (context.total_out() - out_before) as usize;
            read += consumed;
            self.filled += produced;
            let corrupt = |detail: String| InflateError::Corrupt { format: "zlib-stream", offset: offset + read as u64, detail };
            match status {
                Err(error) => return Err(corrupt(error.to_string())),
                Ok(Status::StreamEnd) => {
                    return Err(corrupt("the stream was ended, which a gateway stream never is".to_owned()));
                }
                Ok(Status::Ok | Status::BufError) => {}
            }
            let room = self.filled < self.buffer.len();
            if room && read == frame.len() {
                break;
            }
            if room && consumed == 0 && produced == 0 {
                return Err(corrupt("the decompressor does not go on".to_owned()));
            }
        }
        if self.message_out() > self.limits.message_bytes_max {
            return Err(self.too_large());
        }
        self.remember_tail(frame);
        Ok(self.tail == ZLIB_END)
    }

    fn remember_tail(&mut self, frame: &[u8]) {
        if let Some(last) = frame.last_chunk::<4>() {
            self.tail = *last;
        } else {
            let keep = frame.len();
            self.tail.rotate_left(keep);
            self.tail[4 - keep..].copy_from_slice(frame);
        }
    }

    fn push_zstd(&mut self, frame: &[u8]) -> Result<(), InflateError> {
        self.message_in = frame.len();
        let offset = self.bytes_in - frame.len() as u64;
        let mut input = InBuffer::around(frame);
        loop {
            self.grow()?;
            let Context::Zstd(context) = &mut self.context else {
                return Err(InflateError::Poisoned);
            };
            let before = input.pos();
            let mut output = OutBuffer::around(&mut self.buffer[self.filled..]);
            let result = context.decompress_stream(&mut output, &mut input);
            let produced = output.pos();
            self.filled += produced;
            let corrupt = |detail: &str| InflateError::Corrupt {
                format: "zstd-stream",
                offset: offset + input.pos() as u64,
                detail: detail.to_owned(),
            };
            if let Err(code) = result {
                return Err(corrupt(zstd_safe::get_error_name(code)));
            }
            // A full output buffer may hide more behind it, even when all input is consumed.
            let room = self.filled < self.buffer.len();
            if room && input.pos() == frame.len() {
                break;
            }
            if room && input.pos() == before && produced == 0 {
                return Err(corrupt("the decompressor does not go on"));
            }
        }
        if self.message_out() > self.limits.message_bytes_max {
            return Err(self.too_large());
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "inflate_tests.rs"]
mod tests;

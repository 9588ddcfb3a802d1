//! Compression of what the simulator sends: one context per connection, each message flushed (Discord docs, Gateway: Transport
//! Compression), or single messages (Payload Compression).

use flate2::{Compress, Compression, FlushCompress};
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

/// How a connection compresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Not at all.
    Plain,
    /// `compress=zlib-stream`.
    ZlibStream,
    /// `compress=zstd-stream`.
    ZstdStream,
}

impl Transport {
    /// Its name in a gateway address, or `plain`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Transport::Plain => "plain",
            Transport::ZlibStream => "zlib-stream",
            Transport::ZstdStream => "zstd-stream",
        }
    }
}

pub(crate) enum Squeeze {
    Plain,
    Zlib(Box<Compress>),
    /// With room for what one step puts out.
    Zstd(Box<CCtx<'static>>, Vec<u8>),
}

/// Bytes that one step of zstd may put out.
const STEP_BYTES: usize = 128 << 10;

impl Squeeze {
    /// A fresh context; None: the compressor could not be made.
    pub(crate) fn new(transport: Transport, zlib_level: u32, zstd_level: i32) -> Option<Squeeze> {
        Some(match transport {
            Transport::Plain => Squeeze::Plain,
            Transport::ZlibStream => Squeeze::Zlib(Box::new(Compress::new(Compression::new(zlib_level.min(9)), true))),
            Transport::ZstdStream => {
                let mut context = CCtx::try_create()?;
                context.set_parameter(CParameter::CompressionLevel(zstd_level)).ok()?;
                context.set_parameter(CParameter::WindowLog(18)).ok()?;
                Squeeze::Zstd(Box::new(context), vec![0; STEP_BYTES])
            }
        })
    }

    /// The bytes of one message; None: the compressor failed.
    pub(crate) fn pack(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        match self {
            Squeeze::Plain => Some(plain.to_vec()),
            Squeeze::Zlib(context) => {
                let mut packed = Vec::with_capacity(plain.len() / 2 + 64);
                let begin = context.total_in();
                loop {
                    let done = (context.total_in() - begin) as usize;
                    context.compress_vec(&plain[done..], &mut packed, FlushCompress::Sync).ok()?;
                    let done = (context.total_in() - begin) as usize;
                    // With room left in the buffer everything has been flushed.
                    if done == plain.len() && packed.len() < packed.capacity() {
                        return Some(packed);
                    }
                    packed.reserve(packed.capacity());
                }
            }
            Squeeze::Zstd(context, room) => {
                let mut packed = Vec::new();
                let mut input = InBuffer::around(plain);
                loop {
                    let mut output = OutBuffer::around(&mut room[..]);
                    let flush = zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_flush;
                    let left = context.compress_stream2(&mut output, &mut input, flush).ok()?;
                    packed.extend_from_slice(output.as_slice());
                    if left == 0 {
                        return Some(packed);
                    }
                }
            }
        }
    }
}

/// One message on its own, as zlib data (payload compression).
pub(crate) fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(plain.len() / 2 + 64);
    let mut context = Compress::new(Compression::new(1), true);
    loop {
        let done = context.total_in() as usize;
        match context.compress_vec(&plain[done..], &mut packed, FlushCompress::Finish) {
            Ok(flate2::Status::StreamEnd) | Err(_) => return packed,
            Ok(_) => packed.reserve(packed.capacity().max(64)),
        }
    }
}

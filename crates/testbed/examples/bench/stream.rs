//! What the parts of the bench share: recorded events as a zstd-stream or in a file, and the best time of each piece of them.

use std::io::Read;
use std::path::Path;
use std::time::Instant;

use crate::Result;

/// How Discord packs is not known: the libraries' usual level.
pub(crate) const LEVEL: u32 = 6;
const ZSTD_WINDOW_LOG: u32 = 18;
/// Events measured at a time: some 300 kB in both encodings.
pub(crate) const PIECE: usize = 128;

/// Behind a file's name: READY and the guilds, which come before its events.
pub(crate) const START: &str = ".start";

/// The best time of every piece, in nanoseconds.
#[derive(Default)]
pub(crate) struct Best(Vec<f64>);

impl Best {
    pub(crate) fn note(&mut self, piece: usize, work: impl FnOnce()) {
        let began = Instant::now();
        work();
        self.took(piece, began.elapsed().as_nanos() as f64);
    }

    pub(crate) fn took(&mut self, piece: usize, ns: f64) {
        if self.0.len() <= piece {
            self.0.resize(piece + 1, f64::INFINITY);
        }
        self.0[piece] = self.0[piece].min(ns);
    }

    pub(crate) fn per_event(&self, events: usize) -> f64 {
        self.0.iter().sum::<f64>() / events as f64
    }
}

pub(crate) fn zstd_stream(frames: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let words = |code| zstd_safe::get_error_name(code).to_owned();
    let mut context = zstd_safe::CCtx::create();
    context.set_parameter(zstd_safe::CParameter::CompressionLevel(i32::try_from(LEVEL)?)).map_err(words)?;
    context.set_parameter(zstd_safe::CParameter::WindowLog(ZSTD_WINDOW_LOG)).map_err(words)?;
    let mut packed = Vec::with_capacity(frames.len());
    for plain in frames {
        let mut out = vec![0; plain.len() + 256];
        let mut output = zstd_safe::OutBuffer::around(&mut out[..]);
        let mut input = zstd_safe::InBuffer::around(plain);
        while input.pos() < plain.len() {
            context.compress_stream(&mut output, &mut input).map_err(words)?;
        }
        while context.flush_stream(&mut output).map_err(words)? > 0 {}
        let len = output.pos();
        out.truncate(len);
        packed.push(out);
    }
    Ok(packed)
}

/// The events of a file that `bench record` wrote.
pub(crate) fn frames(path: &Path) -> Result<Vec<Vec<u8>>> {
    let mut file = std::io::BufReader::new(std::fs::File::open(path)?);
    let mut frames = Vec::new();
    let mut len = [0; 4];
    while file.read_exact(&mut len).is_ok() {
        let mut frame = vec![0; u32::from_le_bytes(len) as usize];
        file.read_exact(&mut frame)?;
        frames.push(frame);
    }
    Ok(frames)
}

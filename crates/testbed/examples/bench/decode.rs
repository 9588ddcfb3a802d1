//! What an event costs before anybody takes it, on one thread.
//!
//! Measured over small pieces of the corpus, which stay in the processor's cache as a frame does that was decompressed a moment ago.
//! Each piece is measured several times, one way of reading after the other, and the best time of each counts: whatever else runs on
//! the machine only ever adds.

use std::hint::black_box;

use bytes::Bytes;
use trunkline_discord::{Compression, Encoding, Envelope};
use trunkline_etf::{Limits, Value, transcode};
use trunkline_gateway::inflate::{InflateLimits, Inflater};
use trunkline_sim::Mix;

use crate::stream::{Best, LEVEL, PIECE, zstd_stream};
use crate::table::{Binding, Table};
use crate::{Form, Result, corpus, walk};

/// ETF must be so much faster than `serde_json::Value` of the same event, and JSON so much.
const ETF_TIMES: f64 = 8.0;
const JSON_TIMES: f64 = 3.0;
/// ETF may take so many times as long as merely walking over the terms, in the steady mix.
const WALK_TIMES: f64 = 1.5;

/// Nanoseconds per event, by what was done.
#[derive(Default)]
struct Costs {
    bytes: [f64; 2],
    walked: f64,
    routed: [f64; 2],
    owned: [f64; 2],
    value: f64,
    floor: [f64; 2],
    whole: [f64; 2],
}

const ETF: usize = 0;
const JSON: usize = 1;
const ENCODINGS: [(Encoding, Compression); 2] = [(Encoding::Etf, Compression::ZstdStream), (Encoding::Json, Compression::ZlibStream)];

/// Adds the rows of decoding.
pub(crate) fn measure(form: Form, table: &mut Table) -> Result<()> {
    let costs = [Mix::Steady, Mix::Presence].into_iter().map(|mix| of_mix(mix, form)).collect::<Result<Vec<_>>>()?;
    let mut ns = |what: &str, figure: &dyn Fn(&Costs) -> f64| {
        table.row(what, &costs.iter().map(|costs| format!("{:.0} ns", figure(costs))).collect::<Vec<_>>());
    };
    ns("ETF: merely walking over the terms, by hand", &|c| c.walked);
    ns("ETF: decode and route", &|c| c.routed[ETF]);
    ns("ETF: decode and route, body copied", &|c| c.owned[ETF]);
    ns("JSON: decode and route", &|c| c.routed[JSON]);
    ns("JSON: decode and route, body copied", &|c| c.owned[JSON]);
    ns("serde_json::Value of the same event", &|c| c.value);
    ns("ETF: zstd-stream decompression alone", &|c| c.floor[ETF]);
    ns("JSON: zlib-stream decompression alone", &|c| c.floor[JSON]);
    table.row(
        "mean size of an event, ETF and JSON",
        &costs.iter().map(|c| format!("{:.0}, {:.0} B", c.bytes[ETF], c.bytes[JSON])).collect::<Vec<_>>(),
    );
    let mut times = |what: &str, ratio: &dyn Fn(&Costs) -> f64, bound: &dyn Fn(f64) -> bool, target: &str, binding: Binding| {
        let ratios: Vec<f64> = costs.iter().map(ratio).collect();
        let met = ratios.iter().all(|ratio| bound(*ratio));
        table.target(what, &ratios.iter().map(|r| format!("{r:.2}x")).collect::<Vec<_>>(), target, met, binding);
    };
    times(
        "ETF: decode and route, faster than serde_json::Value",
        &|c| c.value / c.routed[ETF],
        &|r| r >= ETF_TIMES,
        &format!(">= {ETF_TIMES}x"),
        Binding::Always,
    );
    times(
        "JSON: decode and route, faster than serde_json::Value",
        &|c| c.value / c.routed[JSON],
        &|r| r >= JSON_TIMES,
        &format!(">= {JSON_TIMES}x"),
        Binding::Always,
    );
    // In the presence mix events are small: what is done once an event weighs more than its terms, and there is no target.
    let walks: Vec<f64> = costs.iter().map(|c| c.routed[ETF] / c.walked).collect();
    table.target(
        "ETF: decode and route, times merely walking",
        &walks.iter().map(|ratio| format!("{ratio:.2}x")).collect::<Vec<_>>(),
        &format!("<= {WALK_TIMES}x (steady)"),
        walks.first().is_some_and(|steady| *steady <= WALK_TIMES),
        // Both sides are a few hundred nanoseconds: in the short form the machine may decide.
        Binding::FullForm,
    );
    // The budget is twice the floor. Not a verdict here: simulated texts pack far better than people's, which lowers the floor.
    for (what, encoding) in [("ETF: inflate, decode, route, copy, times inflate alone", ETF), ("JSON: the same", JSON)] {
        let ratios: Vec<_> = costs.iter().map(|c| format!("{:.2}x", c.whole[encoding] / c.floor[encoding])).collect();
        table.row(what, &ratios);
    }
    Ok(())
}

fn of_mix(mix: Mix, form: Form) -> Result<Costs> {
    let etf = corpus::record(mix, form.events)?;
    let json = etf.iter().map(|frame| to_json(frame)).collect::<Result<Vec<_>>>()?;
    let plain = [etf, json];
    let packed = [zstd_stream(&plain[ETF])?, zlib_stream(&plain[JSON])?];
    let mut costs = Costs::default();
    for (encoding, frames) in plain.iter().enumerate() {
        costs.bytes[encoding] = frames.iter().map(Vec::len).sum::<usize>() as f64 / form.events as f64;
    }

    let (mut bests, mut value, mut walked): ([[Best; 2]; 2], Best, Best) = Default::default();
    for (piece, (etf, json)) in plain[ETF].chunks(PIECE).zip(plain[JSON].chunks(PIECE)).enumerate() {
        for _ in 0..form.rounds {
            walked.note(piece, || etf.iter().for_each(|frame| _ = black_box(walk::over(black_box(frame)).expect("a sound event"))));
            bests[0][ETF].note(piece, || routed(Encoding::Etf, etf));
            bests[0][JSON].note(piece, || routed(Encoding::Json, json));
            value.note(piece, || values(json));
            bests[1][ETF].note(piece, || etf.iter().for_each(|frame| take(Encoding::Etf, frame)));
            bests[1][JSON].note(piece, || json.iter().for_each(|frame| take(Encoding::Json, frame)));
        }
    }
    costs.routed = [ETF, JSON].map(|encoding| bests[0][encoding].per_event(form.events));
    costs.owned = [ETF, JSON].map(|encoding| bests[1][encoding].per_event(form.events));
    costs.walked = walked.per_event(form.events);
    costs.value = value.per_event(form.events);

    for encoding in [ETF, JSON] {
        let (mut floor, mut whole) = (Best::default(), Best::default());
        for _ in 0..form.rounds {
            inflated(encoding, &packed[encoding], &mut floor, |_, _| {});
            inflated(encoding, &packed[encoding], &mut whole, take);
        }
        costs.floor[encoding] = floor.per_event(form.events);
        costs.whole[encoding] = whole.per_event(form.events);
    }
    Ok(costs)
}

fn routed(encoding: Encoding, frames: &[Vec<u8>]) {
    for frame in frames {
        black_box(Envelope::decode_routed(encoding, black_box(frame), &Limits::GATEWAY).expect("a sound event"));
    }
}

fn take(encoding: Encoding, frame: &[u8]) {
    let (envelope, routing) = Envelope::decode_routed(encoding, black_box(frame), &Limits::GATEWAY).expect("a sound event");
    black_box((routing, Bytes::copy_from_slice(envelope.d.raw())));
}

fn values(frames: &[Vec<u8>]) {
    for frame in frames {
        black_box(serde_json::from_slice::<serde_json::Value>(black_box(frame)).expect("a sound event"));
    }
}

fn inflated(index: usize, frames: &[Vec<u8>], best: &mut Best, then: impl Fn(Encoding, &[u8])) {
    let (encoding, compression) = ENCODINGS[index];
    let mut inflater = Inflater::new(compression, InflateLimits::default()).expect("memory for a context");
    for (piece, frames) in frames.chunks(PIECE).enumerate() {
        best.note(piece, || {
            for frame in frames {
                let plain = inflater.push(black_box(frame)).expect("a sound stream").expect("a whole message");
                then(encoding, black_box(plain));
            }
        });
    }
}

fn to_json(frame: &[u8]) -> Result<Vec<u8>> {
    let mut json = Vec::new();
    transcode(Value::parse(Encoding::Etf, frame, &Limits::GATEWAY)?, Encoding::Json, &mut json)?;
    Ok(json)
}

fn zlib_stream(frames: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let mut context = flate2::Compress::new(flate2::Compression::new(LEVEL), true);
    let mut packed = Vec::with_capacity(frames.len());
    for plain in frames {
        let mut out = Vec::with_capacity(plain.len() + 256);
        context.compress_vec(plain, &mut out, flate2::FlushCompress::Sync)?;
        packed.push(out);
    }
    Ok(packed)
}

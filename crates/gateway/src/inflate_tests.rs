//! What a server may send, whole, in pieces, broken and hostile.
#![allow(clippy::unwrap_used)]

use flate2::{Compress, FlushCompress};
use trunkline_discord::Dice;
use zstd_safe::{CCtx, CParameter};

use super::*;

/// The server's side of a zlib stream.
pub(crate) struct ZlibServer(Compress);

impl ZlibServer {
    pub(crate) fn new() -> Self {
        Self(Compress::new(flate2::Compression::default(), true))
    }

    pub(crate) fn message(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut out = vec![0; plain.len() + 1024];
        let (in_before, out_before) = (self.0.total_in(), self.0.total_out());
        self.0.compress(plain, &mut out, FlushCompress::Sync).unwrap();
        assert_eq!(self.0.total_in() - in_before, plain.len() as u64);
        out.truncate((self.0.total_out() - out_before) as usize);
        out
    }
}

/// The server's side of a zstd stream.
pub(crate) struct ZstdServer(CCtx<'static>);

impl ZstdServer {
    pub(crate) fn new(window_log: u32) -> Self {
        let mut context = CCtx::create();
        context.set_parameter(CParameter::CompressionLevel(3)).unwrap();
        context.set_parameter(CParameter::WindowLog(window_log)).unwrap();
        Self(context)
    }

    pub(crate) fn message(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut out = vec![0; plain.len() + 1024];
        let mut output = OutBuffer::around(&mut out[..]);
        let mut input = InBuffer::around(plain);
        while input.pos() < plain.len() {
            self.0.compress_stream(&mut output, &mut input).unwrap();
        }
        while self.0.flush_stream(&mut output).unwrap() > 0 {}
        let len = output.pos();
        out.truncate(len);
        out
    }
}

fn inflater(compression: Compression) -> Inflater {
    Inflater::new(compression, InflateLimits::default()).unwrap()
}

fn bounded(compression: Compression, bytes_max: usize) -> Inflater {
    let limits = InflateLimits { message_bytes_max: bytes_max, compressed_bytes_max: bytes_max };
    Inflater::new(compression, limits).unwrap()
}

/// Text that compresses about as well as events do.
fn text(len: usize, seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    let mut out = Vec::with_capacity(len + 32);
    while out.len() < len {
        out.extend_from_slice(format!("{{\"id\":\"{}\",\"type\":0}}", dice.below(1000)).as_bytes());
    }
    out.truncate(len);
    out
}

#[test]
fn messages_come_out_as_they_went_in_over_one_context() {
    let mut zlib = (ZlibServer::new(), inflater(Compression::ZlibStream));
    let mut zstd = (ZstdServer::new(17), inflater(Compression::ZstdStream));
    let mut plain = inflater(Compression::None);
    let mut total = 0;
    for (round, len) in [1, 200, 70_000, 0, 5, 300_000, 64 * 1024, 32 * 1024, 3].into_iter().enumerate() {
        let message = text(len, round as u64);
        total += len as u64;
        if len > 0 {
            assert_eq!(zlib.1.push(&zlib.0.message(&message)).unwrap(), Some(&message[..]));
        }
        assert_eq!(zstd.1.push(&zstd.0.message(&message)).unwrap(), Some(&message[..]));
        assert_eq!(plain.push(&message).unwrap(), Some(&message[..]));
    }
    assert_eq!((zlib.1.bytes_out(), zstd.1.bytes_out(), plain.bytes_out()), (total, total, total));
    assert!(zlib.1.bytes_in() < total / 2 && zstd.1.bytes_in() < total / 2);
}

#[test]
fn a_zlib_message_may_span_frames_cut_anywhere_even_inside_its_end_mark() {
    let message = text(5_000, 1);
    let first = ZlibServer::new().message(&message);
    for cut in (1..8).chain(first.len() - 8..first.len()) {
        let mut server = ZlibServer::new();
        let mut client = inflater(Compression::ZlibStream);
        let bytes = server.message(&message);
        assert_eq!(client.push(&bytes[..cut]).unwrap(), None, "cut at {cut}");
        assert_eq!(client.push(&bytes[cut..]).unwrap(), Some(&message[..]), "cut at {cut}");
        assert_eq!(client.push(&server.message(b"next")).unwrap(), Some(&b"next"[..]));
    }
}

#[test]
fn a_zlib_message_may_come_byte_by_byte() {
    let message = text(700, 2);
    let bytes = ZlibServer::new().message(&message);
    let mut client = inflater(Compression::ZlibStream);
    let (last, before) = bytes.split_last().unwrap();
    for byte in before {
        assert_eq!(client.push(&[*byte]).unwrap(), None);
    }
    assert_eq!(client.push(&[]).unwrap(), None);
    assert_eq!(client.push(&[*last]).unwrap(), Some(&message[..]));
}

#[test]
fn a_compressed_bomb_is_refused_at_the_limit_and_says_so() {
    let bomb = vec![0; 50 * 1024 * 1024];
    let frames =
        [(Compression::ZlibStream, ZlibServer::new().message(&bomb)), (Compression::ZstdStream, ZstdServer::new(17).message(&bomb))];
    for (compression, frame) in frames {
        assert!(frame.len() < 128 * 1024);
        let mut client = bounded(compression, 1024 * 1024);
        let error = client.push(&frame).unwrap_err();
        assert!(matches!(error, InflateError::TooLarge { limit: 1_048_576, .. }), "{error}");
        assert!(error.to_string().contains("compressed bomb"));
        assert!(client.memory_bytes() < 4 * 1024 * 1024, "{}", client.memory_bytes());
        assert_eq!(client.push(b""), Err(InflateError::Poisoned));
    }
    let mut client = bounded(Compression::None, 10);
    assert!(matches!(client.push(&[0; 11]), Err(InflateError::TooLarge { .. })));
}

#[test]
fn a_message_of_exactly_the_limit_passes() {
    for len in [1023, 1024, 1025, 4096] {
        let message = text(len, 3);
        let mut client = bounded(Compression::ZstdStream, len);
        assert_eq!(client.push(&ZstdServer::new(17).message(&message)).unwrap(), Some(&message[..]));
        let mut client = bounded(Compression::ZlibStream, len);
        assert_eq!(client.push(&ZlibServer::new().message(&message)).unwrap(), Some(&message[..]));
        let mut client = bounded(Compression::ZstdStream, len - 1);
        assert!(client.push(&ZstdServer::new(17).message(&message)).is_err());
    }
}

#[test]
fn a_zlib_message_without_an_end_is_refused() {
    let mut client = bounded(Compression::ZlibStream, 1000);
    let mut server = ZlibServer::new();
    let mut bytes = server.message(b"x");
    bytes.truncate(bytes.len() - 5);
    assert_eq!(client.push(&bytes).unwrap(), None);
    // Stored blocks of nothing: input without output, and without the end mark as the last bytes.
    let nothing = [0x00, 0x00, 0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00];
    let mut result = Ok(None);
    for _ in 0..200 {
        result = client.push(&nothing).map(|_| None::<()>);
        if result.is_err() {
            break;
        }
    }
    assert!(result.is_err());
}

#[test]
fn a_window_beyond_8_mib_is_refused_before_it_is_allocated() {
    let mut server = ZstdServer::new(24);
    let mut client = inflater(Compression::ZstdStream);
    let error = client.push(&server.message(&text(1000, 4))).unwrap_err();
    assert!(matches!(error, InflateError::Corrupt { format: "zstd-stream", .. }), "{error}");
    assert!(client.memory_bytes() < 1024 * 1024);
    let mut server = ZstdServer::new(21);
    let mut client = inflater(Compression::ZstdStream);
    assert!(client.push(&server.message(&text(1000, 4))).unwrap().is_some());
}

#[test]
fn garbage_truncation_and_flipped_bits_are_errors_or_short_but_never_a_hang() {
    let mut dice = Dice::new(5);
    let message = text(3_000, 6);
    for compression in [Compression::ZlibStream, Compression::ZstdStream] {
        for round in 0..2_000 {
            let mut frame = match compression {
                Compression::ZlibStream => ZlibServer::new().message(&message),
                _ => ZstdServer::new(17).message(&message),
            };
            match round % 3 {
                0 => frame.truncate(dice.below(frame.len() as u64) as usize),
                1 => {
                    let at = dice.below(frame.len() as u64) as usize;
                    frame[at] ^= 1 << dice.below(8);
                }
                _ => frame.iter_mut().for_each(|byte| *byte = dice.below(256) as u8),
            }
            let mut client = bounded(compression, 64 * 1024);
            if client.push(&frame).is_err() {
                assert_eq!(client.push(&frame), Err(InflateError::Poisoned));
            }
        }
    }
}

#[test]
fn corrupt_data_names_the_format_and_the_place() {
    let mut server = ZstdServer::new(17);
    let mut client = inflater(Compression::ZstdStream);
    let good = server.message(b"good");
    client.push(&good).unwrap();
    let error = client.push(&[0xff; 64]).unwrap_err().to_string();
    assert!(error.contains("zstd-stream") && error.contains("corrupt at byte"), "{error}");
    let mut client = inflater(Compression::ZlibStream);
    let error = client.push(b"this is not zlib").unwrap_err().to_string();
    assert!(error.contains("zlib-stream") && error.contains("resumed"), "{error}");
}

#[test]
fn an_ended_zlib_stream_is_an_error_not_an_endless_loop() {
    let mut compress = Compress::new(flate2::Compression::default(), true);
    let mut out = vec![0; 100];
    compress.compress(b"bye", &mut out, FlushCompress::Finish).unwrap();
    out.truncate(compress.total_out() as usize);
    let error = inflater(Compression::ZlibStream).push(&out).unwrap_err();
    assert!(matches!(error, InflateError::Corrupt { .. }), "{error}");
}

#[test]
fn the_buffer_shrinks_after_a_giant_and_after_a_while_of_calm() {
    let mut server = ZstdServer::new(17);
    let mut client = inflater(Compression::ZstdStream);
    let rest = client.memory_bytes();
    client.push(&server.message(&vec![7; 20 * 1024 * 1024])).unwrap();
    assert!(client.memory_bytes() > 20 * 1024 * 1024);
    client.push(&server.message(b"small")).unwrap();
    assert!(client.memory_bytes() < rest + 1024 * 1024, "{}", client.memory_bytes());
    client.push(&server.message(&vec![7; 1024 * 1024])).unwrap();
    let middling = client.buffer.capacity();
    assert!(middling >= 1024 * 1024);
    for _ in 0..=CALM_MESSAGES {
        client.push(&server.message(b"small")).unwrap();
    }
    assert_eq!(client.buffer.capacity(), BUFFER_BYTES);
    assert_eq!(client.push(&server.message(b"still whole")).unwrap(), Some(&b"still whole"[..]));
}

#[test]
fn messages_that_lie_behind_one_another_are_those_that_came_and_a_part_stays_over_a_clearing() {
    let seed = 7;
    let mut dice = Dice::new(seed);
    let mut zlib = (ZlibServer::new(), inflater(Compression::ZlibStream));
    let mut zstd = (ZstdServer::new(17), inflater(Compression::ZstdStream));
    for round in 0..300 {
        let mut lie = [Vec::new(), Vec::new()];
        for _ in 0..dice.between(1, 12) {
            let len = if dice.below(20) == 0 { 100_000 } else { dice.between(1, 4_000) };
            let message = text(len as usize, dice.next_u64());
            let Appended::Whole(place) = zstd.1.append(&zstd.0.message(&message)).unwrap() else { panic!("seed {seed}, round {round}") };
            lie[0].push((place, message.clone()));
            let frame = zlib.0.message(&message);
            let (first, second) = frame.split_at(dice.below(frame.len() as u64) as usize);
            assert_eq!(zlib.1.append(first).unwrap(), Appended::Part, "seed {seed}, round {round}");
            if dice.below(3) == 0 {
                // Those before are handled while the rest of this one is on its way.
                lie[1].drain(..).for_each(|(place, message)| assert_eq!(zlib.1.message(&place), message, "seed {seed}, round {round}"));
                zlib.1.clear();
            }
            let Appended::Whole(place) = zlib.1.append(second).unwrap() else { panic!("seed {seed}, round {round}") };
            lie[1].push((place, message));
        }
        for (lie, client) in lie.into_iter().zip([&mut zstd.1, &mut zlib.1]) {
            let bytes: usize = lie.iter().map(|(_, message)| message.len()).sum();
            assert_eq!(client.held_bytes(), bytes, "seed {seed}, round {round}");
            lie.into_iter().for_each(|(place, message)| assert_eq!(client.message(&place), message, "seed {seed}, round {round}"));
            client.clear();
            assert_eq!(client.held_bytes(), 0);
        }
    }
}

#[test]
fn what_came_before_a_bomb_is_still_there_and_the_bomb_is_not() {
    for compression in [Compression::ZlibStream, Compression::ZstdStream] {
        let mut client = bounded(compression, 1024 * 1024);
        let (good, bomb) = (text(900 * 1024, 8), vec![0; 50 * 1024 * 1024]);
        let frames = match compression {
            Compression::ZlibStream => {
                let mut server = ZlibServer::new();
                [server.message(&good), server.message(&bomb)]
            }
            _ => {
                let mut server = ZstdServer::new(17);
                [server.message(&good), server.message(&bomb)]
            }
        };
        let Appended::Whole(place) = client.append(&frames[0]).unwrap() else { panic!("a whole message") };
        assert!(matches!(client.append(&frames[1]), Err(InflateError::TooLarge { limit: 1_048_576, .. })));
        assert_eq!(client.message(&place), good);
        assert!(client.memory_bytes() < 4 * 1024 * 1024, "{}", client.memory_bytes());
        assert_eq!(client.append(&frames[0]), Err(InflateError::Poisoned));
    }
}

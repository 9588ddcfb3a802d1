//! What a hostile or broken peer sends: nesting, claims, cuts. Nothing may panic, hang, recurse or take memory on a mere claim.
#![allow(clippy::unwrap_used)]

mod common;

use common::torment;
use trunkline_etf::{Encoding, ErrorKind, Limits, Value};

const DEEP: usize = 100_000;

#[test]
fn a_hundred_thousand_brackets_are_too_deep_and_do_not_touch_the_stack() {
    let lists = [b"\x83".to_vec(), b"\x6c\0\0\0\x01".repeat(DEEP), b"\x6a".repeat(DEEP + 1)].concat();
    let tails = [b"\x83".to_vec(), b"\x6c\0\0\0\x01\x61\x01".repeat(DEEP), b"\x6a".to_vec()].concat();
    let maps = [b"\x83".to_vec(), b"\x74\0\0\0\x01\x61\x01".repeat(DEEP), b"\x6a".to_vec()].concat();
    let tuples = [b"\x83".to_vec(), b"\x68\x01".repeat(DEEP), b"\x6a".to_vec()].concat();
    let keys = [b"\x83".to_vec(), b"\x74\0\0\0\x01".repeat(DEEP), b"\x6a".repeat(DEEP + 1)].concat();
    for document in [lists, tails, maps, tuples, keys] {
        let error = Value::parse(Encoding::Etf, &document, &Limits::GATEWAY).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooDeep { depth_max: 200 }, "{error}");
        torment(&document);
        torment(&document[1..]);
    }
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let document = [open.repeat(DEEP), "1".to_owned(), close.repeat(DEEP)].concat();
        let error = Value::parse(Encoding::Json, document.as_bytes(), &Limits::GATEWAY).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooDeep { depth_max: 200 }, "{error}");
        torment(document.as_bytes());
        torment(&document.as_bytes()[..DEEP]);
    }
}

#[test]
fn depth_is_counted_to_the_level() {
    for (depth_max, deepest) in
        [(0u32, 0usize), (1, 1), (15, 15), (16, 16), (17, 17), (18, 18), (64, 64), (65, 65), (255, 255), (256, 256), (1000, 256)]
    {
        let limits = Limits { depth_max, ..Limits::GATEWAY };
        for depth in [15, 16, 17, 18, deepest, deepest + 1] {
            let json = ["[".repeat(depth), if depth == 0 { "1".to_owned() } else { "]".repeat(depth) }].concat();
            assert_eq!(Value::parse(Encoding::Json, json.as_bytes(), &limits).is_ok(), depth <= deepest, "JSON {depth_max} {depth}");
            let objects = ["{\"a\":".repeat(depth), "1".to_owned(), "}".repeat(depth)].concat();
            assert_eq!(Value::parse(Encoding::Json, objects.as_bytes(), &limits).is_ok(), depth <= deepest);
            assert_eq!(Value::parse_entries(Encoding::Json, objects.as_bytes(), &limits, |_, _, _| ()).is_ok(), depth <= deepest);
            for empty in [false, true] {
                let last: &[u8] = if empty && depth > 0 { b"\x68\x00" } else { b"\x61\x01" };
                let nested = if empty { depth.saturating_sub(1) } else { depth };
                let etf = [b"\x83".to_vec(), b"\x68\x01".repeat(nested), last.to_vec()].concat();
                assert_eq!(Value::parse(Encoding::Etf, &etf, &limits).is_ok(), depth <= deepest, "ETF {depth_max} {depth} {empty}");
                let maps = [b"\x83".to_vec(), b"\x74\0\0\0\x01\x61\x07".repeat(nested), last.to_vec()].concat();
                assert_eq!(Value::parse_entries(Encoding::Etf, &maps, &limits, |_, _, _| ()).is_ok(), depth <= deepest);
            }
        }
    }
}

#[test]
fn a_claimed_length_of_four_billion_costs_nothing() {
    for tag in 0..=255u8 {
        for claim in [[0xff; 4], [0x7f, 0xff, 0xff, 0xff], [0x80, 0, 0, 0], [0, 0, 0xff, 0xff]] {
            for tail in [&b""[..], b"\x61", &[0xff; 40], &[0x6a; 40], b"\x6c\xff\xff\xff\xff\x6c\xff\xff\xff\xff"] {
                let document = [&[131, tag][..], &claim, tail].concat();
                torment(&document);
                torment(&document[1..]);
            }
        }
    }
}

#[test]
fn a_document_cut_at_any_byte_is_an_error_and_never_a_shorter_document() {
    let etf = [
        b"\x83\x74\0\0\0\x05s\x02opa\x00s\x01sb\0\0\x01\x00m\0\0\0\x01tm\0\0\0\x05HELLOs\x01dl\0\0\0\x02h\x02F".to_vec(),
        1.5f64.to_be_bytes().to_vec(),
        b"n\x08\0\x01\x02\x03\x04\x05\x06\x07\x08jk\0\x03abcs\x01eo\0\0\0\x02\x01ab".to_vec(),
    ]
    .concat();
    let json = br#"{"op":0,"d":{"a":[1,-2.5e-3,"x\u00e9\n\ud83d\ude00",null,true,false,{}],"b":""},"s":1}"#.to_vec();
    for (encoding, document) in [(Encoding::Etf, etf), (Encoding::Json, json)] {
        Value::parse(encoding, &document, &Limits::GATEWAY).unwrap_or_else(|error| panic!("{error}"));
        for length in 0..document.len() {
            assert!(Value::parse(encoding, &document[..length], &Limits::GATEWAY).is_err(), "cut to {length}");
            torment(&document[..length]);
            // With each byte replaced by a few others it may be valid or not, but nothing panics.
            for byte in [0, 1, b'"', b'\\', b'{', b'l', b't', 0x7f, 0xff] {
                let mut changed = document.clone();
                changed[length] = byte;
                torment(&changed);
            }
        }
    }
}

#[test]
fn a_document_longer_than_allowed_is_refused_before_it_is_read() {
    let limits = Limits { bytes_max: 10, ..Limits::GATEWAY };
    let error = Value::parse(Encoding::Json, b"[1,2,3,4,5]", &limits).unwrap_err();
    assert_eq!(error.to_string(), "error at byte 0: 11 bytes are more than the limit of 10");
}

#[test]
fn integers_beyond_the_longest_allowed_are_refused_in_both_encodings() {
    let long = [&b"\x83\x6f\0\0\x04\x01\0"[..], &[1; 1025]].concat();
    assert!(matches!(Value::parse(Encoding::Etf, &long, &Limits::GATEWAY).unwrap_err().kind, ErrorKind::IntegerTooLong { found: 1025 }));
    let longest = [&b"\x83\x6f\0\0\x04\0\0"[..], &[0xff; 1024]].concat();
    torment(&longest);
    Value::parse(Encoding::Etf, &longest, &Limits::GATEWAY).unwrap_or_else(|error| panic!("{error}"));
    let digits = "9".repeat(2500);
    assert!(matches!(
        Value::parse(Encoding::Json, digits.as_bytes(), &Limits::GATEWAY).unwrap_err().kind,
        ErrorKind::IntegerTooLong { found: 2500 }
    ));
    torment("9".repeat(2400).as_bytes());
}

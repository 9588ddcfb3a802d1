//! Compressed ETF documents: the bytes as they come, and the bytes packed into a sound document with a claimed length that may be wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Write;
use trunkline_etf::{Encoding, Limits, Value, inflate};

fuzz_target!(|data: &[u8]| {
    let limits = Limits { inflated_bytes_max: 1 << 20, ..Limits::GATEWAY };
    let read = |document: &[u8]| {
        if let Ok(Some(plain)) = inflate(document, &limits) {
            assert!(plain.len() <= limits.inflated_bytes_max);
            let _ = Value::parse(Encoding::Etf, &plain, &limits);
        }
    };
    read(data);
    read(&[&[131, 80][..], data].concat());
    let Some((&wrong, term)) = data.split_first() else { return };
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(term).expect("memory does not fail");
    let packed = zlib.finish().expect("memory does not fail");
    let claimed = (term.len() as u32).wrapping_add(u32::from(wrong)).to_be_bytes();
    let document = [&[131, 80][..], &claimed, &packed].concat();
    match inflate(&document, &limits) {
        Ok(Some(plain)) => assert!(wrong == 0 && plain[1..] == *term),
        Ok(None) => panic!("it is compressed"),
        Err(_) => assert!(wrong != 0),
    }
});

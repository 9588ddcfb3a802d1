//! The session part of a checkpoint.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_session::ResumePoint;

fuzz_target!(|data: &[u8]| {
    if let Ok(point) = ResumePoint::decode(data) {
        assert_eq!(ResumePoint::decode(&point.encode()).as_ref(), Ok(&point));
    }
});

//! The floor under every reader of ETF: merely walking over a frame's terms, as one would write it by hand.
//!
//! It trusts its input: no check of depth, signs, floats or claimed counts, nothing found, and only the tags that occur in events. What
//! a gateway must do besides is what decoding costs above it.

/// A frame's end, if it ends where its bytes do.
pub(crate) fn over(frame: &[u8]) -> Option<usize> {
    let mut at = 1usize;
    // Terms still to come.
    let mut left = 1usize;
    while left > 0 {
        left -= 1;
        let head: &[u8] = frame.get(at..)?;
        // Atoms are two terms in three.
        if let [100, a, b, ..] = *head {
            at += 3 + usize::from(u16::from_be_bytes([a, b]));
            continue;
        }
        at += match *head {
            [115 | 119, n, ..] => 2 + usize::from(n),
            [97, ..] => 2,
            [98, ..] => 5,
            [70, ..] => 9,
            [106, ..] => 1,
            [109, a, b, c, d, ..] => 5 + u32::from_be_bytes([a, b, c, d]) as usize,
            [110, n, ..] => 3 + usize::from(n),
            [116, a, b, c, d, ..] => {
                left += 2 * u32::from_be_bytes([a, b, c, d]) as usize;
                5
            }
            [108, a, b, c, d, ..] => {
                left += 1 + u32::from_be_bytes([a, b, c, d]) as usize;
                5
            }
            _ => return None,
        };
    }
    (at == frame.len()).then_some(at)
}

//! What people write into a status and what they play: many words, of which a few make most of the text, as in any language.
//!
//! Texts decide how far a stream of events can be compressed, and with that what decompressing it costs: the same status and the same
//! game for everybody pack far better than what people do.

use std::sync::LazyLock;

use crate::world::mix;

/// Bits of a word's number. Eight thousand words are what people use when they chat.
const BITS: u32 = 13;

/// Words that are not plain letters, and where among the frequent ones they are.
const ODD: [(usize, &str); 6] = [(9, "“quoted”"), (17, "😀"), (23, "naïve"), (40, "https://example.com/"), (66, "🎉"), (90, "¯\\_(ツ)_/¯")];

static WORDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    const FIRST: [&str; 24] =
        ["b", "br", "c", "ch", "d", "f", "fl", "g", "h", "j", "k", "l", "m", "n", "p", "pr", "r", "s", "st", "t", "th", "tr", "v", "w"];
    const MIDDLE: [&str; 10] = ["a", "e", "i", "o", "u", "ea", "ou", "ai", "y", "oo"];
    const LAST: [&str; 12] = ["", "", "n", "r", "s", "t", "l", "nd", "ng", "ck", "m", "st"];
    let word = |number: u64| {
        // Frequent words are short.
        let syllables = 1 + (64 - number.leading_zeros()) / 5;
        let mut word = String::new();
        for syllable in 0..syllables {
            let dice = mix(number << 8 | u64::from(syllable)) as usize;
            word.push_str(FIRST[dice % 24]);
            word.push_str(MIDDLE[(dice >> 8) % 10]);
            word.push_str(LAST[(dice >> 16) % 12]);
        }
        word
    };
    let mut words: Vec<String> = (0..1 << BITS).map(word).collect();
    for (place, odd) in ODD {
        words[place] = odd.to_owned();
    }
    words
});

/// One word. The n-th most frequent comes about once for every n times that the first does (Zipf).
pub(crate) fn word(dice: u64) -> &'static str {
    let bits = (dice % u64::from(BITS)) as u32;
    let number = 1 << bits | (dice >> 8) & ((1 << bits) - 1);
    WORDS.get(number as usize).map_or("", String::as_str)
}

/// So many words.
pub(crate) fn words(dice: u64, many: usize) -> String {
    let mut text = String::with_capacity(many * 8);
    for nth in 0..many {
        if nth > 0 {
            text.push(' ');
        }
        text.push_str(word(mix(dice ^ nth as u64)));
    }
    text
}

/// The number of one of many titles that people play, hear or watch: a few are everybody's.
pub(crate) fn title(dice: u64) -> u64 {
    let bits = dice % 10;
    1 << bits | (dice >> 8) & ((1 << bits) - 1)
}

/// Letters and digits as in the ids of other services.
pub(crate) fn code(dice: u64, len: usize) -> String {
    const LETTERS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    (0..len as u64).map(|nth| char::from(LETTERS[(mix(dice ^ nth << 32) % 62) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn texts_have_many_words_of_which_a_few_make_most() {
        let mut seen: HashMap<&str, u32> = HashMap::new();
        for dice in 0..50_000 {
            *seen.entry(word(mix(dice))).or_default() += 1;
        }
        let mut counts: Vec<u32> = seen.values().copied().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let most: u32 = counts.iter().take(100).sum();
        assert!(counts.len() > 4_000, "{}", counts.len());
        assert!((15_000..35_000).contains(&most), "{most}");
        assert!(ODD.iter().all(|(_, odd)| seen.contains_key(odd)));
        assert_eq!(words(7, 3), words(7, 3));
        let titles: std::collections::HashSet<u64> = (0..5_000).map(|dice| title(mix(dice))).collect();
        assert!(titles.len() > 500, "{}", titles.len());
        assert_eq!(code(7, 22).len(), 22);
    }
}

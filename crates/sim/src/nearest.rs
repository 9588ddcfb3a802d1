//! The known word nearest to a mistyped one, for error messages. Never decides anything: a mistyped word stays an error.

/// The word of `known` with the fewest changed letters; the first of several. None only where nothing is known.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known.into_iter().min_by_key(|other| distance(&word.to_lowercase(), &other.to_lowercase()))
}

/// Letters to insert, delete or replace until `a` is `b`.
fn distance(a: &str, b: &str) -> usize {
    // A client's own text: what is beyond the length of any known word makes no difference.
    let a: Vec<char> = a.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (line, letter) in b.chars().enumerate() {
        let mut before = row[0];
        row[0] = line + 1;
        for column in 1..row.len() {
            let replaced = before + usize::from(a[column - 1] != letter);
            before = row[column];
            row[column] = replaced.min(row[column] + 1).min(row[column - 1] + 1);
        }
    }
    row[a.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_with_the_fewest_changes_is_found() {
        let known = ["kind", "shard", "bot", "for_ms", "count"];
        for (word, want) in [("shrad", "shard"), ("Shard", "shard"), ("form_s", "for_ms"), ("cuont", "count"), ("bots", "bot"), ("", "bot")]
        {
            assert_eq!(nearest(word, known), Some(want), "{word}");
        }
        assert_eq!(nearest("x", []), None);
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("abc", "abc")), (3, 3, 0));
    }
}

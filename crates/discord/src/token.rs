//! A bot's token: a secret that can be used and never shown.
//!
//! Debug and display are masked, so that a token in a struct that gets logged stays a secret. The only ways out are
//! [`Token::header`] and [`Token::bare`], which are for frames and requests towards Discord and nothing else.

use std::fmt;
use std::sync::Arc;

/// A bot token without its `Bot ` prefix. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(Arc<str>);

impl Token {
    /// Takes a token with or without `Bot `; surrounding white space (the newline of a token file) is dropped.
    /// Accepts anything: see [`Token::problem`] for what cannot be a token.
    pub fn new(text: &str) -> Token {
        let text = text.trim();
        let bare = match text.get(..4) {
            Some(prefix) if prefix.eq_ignore_ascii_case("bot ") => text[4..].trim_start(),
            _ => text,
        };
        Token(bare.into())
    }

    /// What is wrong with this token's form, said without showing it, or `None`. A token of good form may still be
    /// refused by Discord (401, or close code 4004).
    pub fn problem(&self) -> Option<&'static str> {
        if self.0.is_empty() {
            Some("the token is empty")
        } else if self.0.chars().any(|c| c.is_whitespace() || c.is_control()) {
            Some("the token has white space or control characters inside: was more than one line pasted?")
        } else if !self.0.is_ascii() {
            Some("the token has characters outside ASCII: was it copied from a formatted text?")
        } else if self.0.starts_with("Bearer") {
            Some("this is a Bearer token: a bot needs its bot token (Developer Portal, Bot, Reset Token)")
        } else {
            None
        }
    }

    /// The value of the `Authorization` header: `Bot …`. Secret.
    pub fn header(&self) -> String {
        format!("Bot {}", self.0)
    }

    /// The token itself, as IDENTIFY and RESUME carry it. Secret.
    pub fn bare(&self) -> &str {
        &self.0
    }

    /// The bot's user id, which is the token's first part in base64; `None` when the token does not have that form.
    pub fn bot_id(&self) -> Option<u64> {
        let (first, _) = self.0.split_once('.')?;
        let decoded = decode_base64(first)?;
        if decoded.is_empty() || !decoded.iter().all(u8::is_ascii_digit) {
            return None;
        }
        std::str::from_utf8(&decoded).ok()?.parse().ok()
    }
}

/// Base64, standard or URL alphabet, padded or not.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in text.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(out)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_never_shows_in_debug_or_display() {
        let token = Token::new("Bot MTIz.very.secret");
        assert_eq!(format!("{token:?} {token} {:?}", Some(&token)), "Token(***) *** Some(Token(***))");
    }

    #[test]
    fn the_prefix_may_be_there_or_not() {
        for text in ["abc.d.e", "Bot abc.d.e", "  bot abc.d.e\n", "Bot   abc.d.e"] {
            let token = Token::new(text);
            assert_eq!(token.bare(), "abc.d.e");
            assert_eq!(token.header(), "Bot abc.d.e");
        }
        assert_eq!(Token::new("Böt x").bare(), "Böt x");
    }

    #[test]
    fn the_bot_id_is_read_from_the_first_part() {
        // "80351110224678912" and "1234567890123456789"
        assert_eq!(Token::new("ODAzNTExMTAyMjQ2Nzg5MTI.x.y").bot_id(), Some(80_351_110_224_678_912));
        assert_eq!(Token::new("MTIzNDU2Nzg5MDEyMzQ1Njc4OQ==.x.y").bot_id(), Some(1_234_567_890_123_456_789));
        for bad in ["", "nodots", "!!!.x.y", "YWJj.x.y", ".x.y", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5.x"] {
            assert_eq!(Token::new(bad).bot_id(), None, "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_a_token_is_told_without_showing_it() {
        for bad in ["", "a b", "a\nb", "äöü", "Bearer-x"] {
            assert!(Token::new(bad).problem().is_some(), "{bad}");
        }
        assert_eq!(Token::new("ODAz.x.y").problem(), None);
    }
}

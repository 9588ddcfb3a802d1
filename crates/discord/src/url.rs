//! The address of a gateway connection.
//!
//! Discord docs, Gateway: Connecting. The base comes from `GET /gateway/bot` or from READY's `resume_gateway_url`; the
//! query is ours, and a resumed connection must have the same one as the session's first.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use trunkline_etf::Encoding;

/// The gateway version spoken here.
pub const GATEWAY_VERSION: u8 = 10;

/// How Discord compresses what it sends over one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// One zlib context for the connection, flushed after each message.
    ZlibStream,
    /// One zstd context for the connection, one frame of the websocket per message.
    #[default]
    ZstdStream,
}

impl Compression {
    /// Its name in configuration: `none`, `zlib-stream`, `zstd-stream`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::ZlibStream => "zlib-stream",
            Compression::ZstdStream => "zstd-stream",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Compression, String> {
        match text {
            "none" => Ok(Compression::None),
            "zlib-stream" => Ok(Compression::ZlibStream),
            "zstd-stream" => Ok(Compression::ZstdStream),
            other => Err(format!("unknown compression {other:?}: use \"zstd-stream\", \"zlib-stream\" or \"none\"")),
        }
    }
}

/// Builder of gateway addresses.
#[derive(Clone, Copy, Debug)]
pub struct GatewayUrl;

impl GatewayUrl {
    /// `base` with `v`, `encoding` and, unless it is none, `compress` set. A query that the base already has is kept,
    /// but for these three keys, which are replaced; a base without a path gets `/`; a fragment is dropped.
    pub fn build(base: &str, encoding: Encoding, compression: Compression, version: u8) -> String {
        let base = base.trim();
        let base = base.split_once('#').map_or(base, |(before, _)| before);
        let (place, query) = base.split_once('?').unwrap_or((base, ""));
        let mut url = String::with_capacity(base.len() + 48);
        url.push_str(place);
        let after_scheme = place.find("://").map_or(0, |at| at + 3);
        if !place[after_scheme..].contains('/') {
            url.push('/');
        }
        url.push('?');
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let key = pair.split_once('=').map_or(pair, |(key, _)| key);
            if !matches!(key, "v" | "encoding" | "compress") {
                url.push_str(pair);
                url.push('&');
            }
        }
        let encoding = match encoding {
            Encoding::Etf => "etf",
            // The packed form is never on a wire.
            Encoding::Json | Encoding::Packed => "json",
        };
        // Writing to a String cannot fail.
        let _ = write!(url, "v={version}&encoding={encoding}");
        if compression != Compression::None {
            let _ = write!(url, "&compress={compression}");
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(base: &str, encoding: Encoding, compression: Compression, want: &str) {
        assert_eq!(GatewayUrl::build(base, encoding, compression, GATEWAY_VERSION), want);
    }

    #[test]
    fn a_plain_base_gets_path_and_query() {
        let base = "wss://gateway.discord.gg";
        check(base, Encoding::Etf, Compression::ZstdStream, "wss://gateway.discord.gg/?v=10&encoding=etf&compress=zstd-stream");
        check(base, Encoding::Json, Compression::ZlibStream, "wss://gateway.discord.gg/?v=10&encoding=json&compress=zlib-stream");
        check(base, Encoding::Json, Compression::None, "wss://gateway.discord.gg/?v=10&encoding=json");
    }

    #[test]
    fn what_the_base_already_has_is_kept_and_our_keys_are_replaced() {
        check("ws://127.0.0.1:8080/gw/", Encoding::Etf, Compression::None, "ws://127.0.0.1:8080/gw/?v=10&encoding=etf");
        check(
            "wss://host/?v=9&encoding=json&compress=zlib-stream&region=eu",
            Encoding::Etf,
            Compression::None,
            "wss://host/?region=eu&v=10&encoding=etf",
        );
        check("wss://host/a/b?x#y", Encoding::Etf, Compression::None, "wss://host/a/b?x&v=10&encoding=etf");
        check("wss://host?", Encoding::Etf, Compression::None, "wss://host/?v=10&encoding=etf");
        check("wss://host?x=1&&y=2", Encoding::Etf, Compression::None, "wss://host/?x=1&y=2&v=10&encoding=etf");
        check("", Encoding::Etf, Compression::None, "/?v=10&encoding=etf");
    }

    #[test]
    fn a_built_address_builds_to_itself() {
        let once = GatewayUrl::build("wss://host/p?z=1", Encoding::Json, Compression::ZstdStream, 10);
        assert_eq!(GatewayUrl::build(&once, Encoding::Json, Compression::ZstdStream, 10), once);
    }

    #[test]
    fn compression_names_read_back() {
        for compression in [Compression::None, Compression::ZlibStream, Compression::ZstdStream] {
            assert_eq!(compression.as_str().parse(), Ok(compression));
        }
        assert!("gzip".parse::<Compression>().is_err());
    }
}

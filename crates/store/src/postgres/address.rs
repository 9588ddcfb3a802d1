//! Where the database is: a URL with a password in it, which nothing here ever prints.
//!
//! `postgres://user:password@host:port/database?sslmode=…`; a Unix socket is `postgres://user@/database?host=/run/postgresql`.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};

use super::tls::Tls;
use crate::OpenError;

/// How long one attempt to connect may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// A database's address, checked. Debug and Display show it without the password.
#[derive(Clone)]
pub struct Address {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) tls: Tls,
    shown: String,
    password: Option<String>,
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`OpenError::Address`], which says what is wrong, and never tells the password.
    pub fn parse(url: &str) -> Result<Address, OpenError> {
        let wrong = |what: &str| OpenError::Address { what: what.to_owned() };
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(wrong("is no PostgreSQL address; write postgres://USER:PASSWORD@HOST:PORT/DATABASE"));
        }
        let (plain, ssl) = take_ssl(url);
        let mut config = tokio_postgres::Config::from_str(&plain).map_err(|error| {
            // The parser's words name the option or the character, never a value; but who knows what a later one says.
            let text = describe_parse(&error);
            wrong(&format!("cannot be read ({text}); write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with % codes for special characters in the password"))
        })?;
        if config.get_hosts().is_empty() {
            return Err(wrong("names no host; write postgres://USER:PASSWORD@HOST:PORT/DATABASE"));
        }
        if config.get_user().is_none() {
            return Err(wrong("names no user; write postgres://USER:PASSWORD@HOST:PORT/DATABASE"));
        }
        let here = config.get_hosts().iter().all(|host| match host {
            Host::Tcp(host) => matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1"),
            Host::Unix(_) => true,
        });
        let (mode, checked) = match ssl.mode.as_deref() {
            None if here => (SslMode::Disable, false),
            None | Some("prefer" | "allow") => (SslMode::Prefer, false),
            Some("disable") => (SslMode::Disable, false),
            Some("require") => (SslMode::Require, false),
            Some("verify-ca" | "verify-full") => (SslMode::Require, true),
            Some(_) => return Err(wrong("has an sslmode that is none of disable, prefer, require and verify-full")),
        };
        config.ssl_mode(mode);
        let tls = if checked { Tls::checked(ssl.roots.as_deref().map(Path::new)) } else { Tls::unchecked() };
        let tls = tls.map_err(|text| wrong(&format!("cannot be used: {text}")))?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_MAX);
        }
        config.keepalives_idle(Duration::from_secs(10));
        config.keepalives_interval(Duration::from_secs(5));
        config.keepalives_retries(3);
        config.tcp_user_timeout(Duration::from_secs(20));
        let password = config.get_password().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).filter(|text| !text.is_empty());
        let shown = shown(&config);
        Ok(Address { config, tls, shown, password })
    }

    /// Server and database, without the password.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// A text from elsewhere, without the password.
    pub(crate) fn scrub(&self, text: String) -> String {
        match &self.password {
            Some(password) if text.contains(password.as_str()) => text.replace(password.as_str(), "***"),
            _ => text,
        }
    }
}

/// What the URL says of TLS, which the library reads in part only.
#[derive(Default)]
struct Ssl {
    mode: Option<String>,
    roots: Option<String>,
}

/// Takes `sslmode` and `sslrootcert` out of a URL.
fn take_ssl(url: &str) -> (String, Ssl) {
    let Some((before, query)) = url.split_once('?') else { return (url.to_owned(), Ssl::default()) };
    let mut ssl = Ssl::default();
    let rest: Vec<&str> = query
        .split('&')
        .filter(|pair| match pair.split_once('=') {
            Some(("sslmode", mode)) => {
                ssl.mode = Some(mode.to_owned());
                false
            }
            Some(("sslrootcert", path)) => {
                ssl.roots = Some(path.replace("%2F", "/").replace("%2f", "/"));
                false
            }
            _ => true,
        })
        .collect();
    let url = if rest.is_empty() { before.to_owned() } else { format!("{before}?{}", rest.join("&")) };
    (url, ssl)
}

fn describe_parse(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn shown(config: &tokio_postgres::Config) -> String {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) if host.contains(':') => format!("[{host}]:{port}"),
        Some(Host::Tcp(host)) => format!("{host}:{port}"),
        Some(Host::Unix(path)) => format!("{}:{port}", path.display()),
        None => "localhost".to_owned(),
    };
    let user = config.get_user().unwrap_or_default();
    format!("postgres://{user}@{host}/{}", config.get_dbname().unwrap_or(user))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let address = Address::parse("postgres://me:s3cret%21@db.example:6432/trunk").unwrap();
        assert_eq!(address.shown(), "postgres://me@db.example:6432/trunk");
        assert_eq!(format!("{address} {address:?}"), "postgres://me@db.example:6432/trunk postgres://me@db.example:6432/trunk");
        assert_eq!(address.scrub("password s3cret! is wrong".to_owned()), "password *** is wrong");
        let socket = Address::parse("postgres://me@/trunk?host=/run/postgresql&port=5433").unwrap();
        assert_eq!(socket.shown(), "postgres://me@/run/postgresql:5433/trunk");
    }

    #[test]
    fn tls_is_preferred_beyond_this_machine_and_spoken_as_the_address_says() {
        for (url, mode) in [
            ("postgres://me@localhost/d", SslMode::Disable),
            ("postgres://me@/d?host=/run/postgresql", SslMode::Disable),
            ("postgres://me@db.example/d", SslMode::Prefer),
            ("postgres://me@db.example/d?sslmode=disable", SslMode::Disable),
            ("postgres://me@localhost/d?connect_timeout=3&sslmode=require", SslMode::Require),
            ("postgres://me@db.example/d?sslmode=verify-full", SslMode::Require),
        ] {
            assert_eq!(Address::parse(url).unwrap().config.get_ssl_mode(), mode, "{url}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_used_is_refused_with_what_to_write_and_without_the_password() {
        for (url, part) in [
            ("mysql://me:s3cret@h/d", "is no PostgreSQL address"),
            ("postgres://me:s3cret@h/d?sslmode=maybe", "none of disable, prefer, require and verify-full"),
            ("postgres://me:s3cret@h/d?sslmode=verify-full&sslrootcert=/no/such/file", "sslrootcert /no/such/file cannot be read"),
            ("postgres://me:s3cret@h:port/d", "cannot be read"),
            ("postgres://me:s3cret@h/d?s3cret_option=1", "cannot be read"),
            ("postgres:///d", "names no host"),
        ] {
            let text = Address::parse(url).unwrap_err().to_string();
            assert!(text.contains(part), "{url}: {text}");
            assert!(!text.contains("me:s3cret"), "{text}");
        }
    }
}

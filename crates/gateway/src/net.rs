//! Opens websockets towards Discord: name look-up, TCP, TLS and the upgrade, each with a time limit and an error that says
//! which of them failed, where, and what to do.
//!
//! It knows nothing of the gateway's protocol. TLS uses the aws-lc-rs provider, passed explicitly so that another provider
//! in the same build changes nothing, and trusts Mozilla's roots plus, if given, the certificates of one PEM file.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_websockets::{ClientBuilder, Limits, WebSocketStream};

/// The user agent that Discord demands of every bot library (Discord docs, Reference: User Agent).
pub const USER_AGENT: &str = concat!("DiscordBot (https://github.com/trunkline/trunkline, ", env!("CARGO_PKG_VERSION"), ")");

/// What rustls may buffer for sending: a shard sends at most 4096 bytes at a time.
const TLS_BUFFER_BYTES: usize = 16 * 1024;
/// After so long without an answer of one address the next is tried beside it (RFC 8305 recommends 250 ms).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// More addresses than this of one name are not tried.
const ADDRESSES_MAX: usize = 8;

/// Time and size limits of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetLimits {
    /// Name look-up, TCP, TLS and the upgrade together.
    pub connect_timeout: Duration,
    /// One websocket message as it comes over the wire, compressed or not.
    pub message_bytes_max: usize,
}

impl Default for NetLimits {
    /// 15 s; 64 MiB.
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(15), message_bytes_max: 64 * 1024 * 1024 }
    }
}

/// Anything that bytes go both ways over.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A future that a [`Dial`] answers with.
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<Box<dyn Wire>>> + Send>>;

/// Opens byte streams in place of TCP: links in memory for tests on virtual time and for simulations.
pub trait Dial: Send + Sync {
    /// Opens a stream to `host:port`.
    fn dial(&self, host: &str, port: u16) -> Dialing;
}

/// How the process reaches the network. Cheap to clone; one for all shards.
#[derive(Clone)]
pub struct Net {
    tls: Arc<rustls::ClientConfig>,
    limits: NetLimits,
    dial: Option<Arc<dyn Dial>>,
    tls_only: bool,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// TLS could not be set up. It is the configuration's fault.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The file of `[discord] ca_file` cannot be read.
    #[error("[discord] ca_file {} cannot be read: {why}; give the path of a PEM file with the root certificate", path.display())]
    CaFile {
        /// As configured.
        path: PathBuf,
        /// In the system's words.
        why: String,
    },
    /// The file holds no certificate.
    #[error("[discord] ca_file {} holds no certificate: expected PEM with -----BEGIN CERTIFICATE-----", path.display())]
    NoCertificate {
        /// As configured.
        path: PathBuf,
    },
    /// A certificate of the file is not usable as a root.
    #[error("[discord] ca_file {} holds a certificate that is no usable root: {why}", path.display())]
    BadCertificate {
        /// As configured.
        path: PathBuf,
        /// In the TLS library's words.
        why: String,
    },
    /// The TLS library refused its own defaults.
    #[error("TLS could not be set up: {0}")]
    Tls(String),
}

/// Why a websocket could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Not an address of a gateway.
    #[error("\"{url}\" is no gateway address: {why}; it must look like wss://host/ or ws://host:port/")]
    BadUrl {
        /// Without its query.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A plain address where only TLS is allowed.
    #[error(
        "the gateway address ws://{at} is refused: it is not encrypted, and the bot's token would cross the network in clear; \
         Discord's addresses begin with wss://, so check [discord] api and whatever stands between this machine and it"
    )]
    Plain {
        /// `host:port`.
        at: String,
    },
    /// The name has no address.
    #[error("the name {host} could not be looked up: {why}; check the network and its DNS")]
    Dns {
        /// The name.
        host: String,
        /// In the system's words.
        why: String,
    },
    /// No TCP connection.
    #[error("no connection to {at}: {why}; check that it is running and that no firewall is in between")]
    Tcp {
        /// `host:port`.
        at: String,
        /// In the system's words, with every address tried.
        why: String,
    },
    /// It took too long.
    #[error("{at} did not answer within {seconds} s while {doing}; check the network, or Discord's status page")]
    Timeout {
        /// `host:port`.
        at: String,
        /// What was waited for.
        doing: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// The TLS handshake failed.
    #[error("TLS with {at} failed: {why}; {advice}")]
    Tls {
        /// `host:port`.
        at: String,
        /// In the TLS library's words.
        why: String,
        /// What to do.
        advice: &'static str,
    },
    /// The server answered, and not with a websocket.
    #[error("{at} refused the websocket with HTTP status {status}; {advice}")]
    Status {
        /// `host:port`.
        at: String,
        /// The HTTP status.
        status: u16,
        /// What to do.
        advice: &'static str,
    },
    /// The upgrade failed in another way.
    #[error("{at} does not speak websocket: {why}; check that the address is a gateway's")]
    Upgrade {
        /// `host:port`.
        at: String,
        /// In the library's words.
        why: String,
    },
}

/// A byte stream to the server, plain or TLS. Counts what it has read.
pub struct Link {
    stream: Stream,
    bytes_read: u64,
}

enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Wire(Box<dyn Wire>),
    TlsWire(Box<TlsStream<Box<dyn Wire>>>),
}

impl Link {
    /// Bytes that arrived so far, above TLS. Rises with every piece of a message, before the message is whole: on a slow
    /// link this is the only sign of life while a large one is under way.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("bytes_read", &self.bytes_read).finish_non_exhaustive()
    }
}

macro_rules! each_stream {
    ($self:expr, $stream:ident => $call:expr) => {
        match &mut $self.get_mut().stream {
            Stream::Tcp($stream) => $call,
            Stream::Tls($stream) => $call,
            Stream::Wire($stream) => $call,
            Stream::TlsWire($stream) => $call,
        }
    };
}

impl AsyncRead for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = each_stream!(self.as_mut(), stream => Pin::new(stream).poll_read(cx, buf));
        self.bytes_read += (buf.filled().len() - before) as u64;
        polled
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each_stream!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_stream!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_stream!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

/// An open websocket towards Discord.
pub type Socket = WebSocketStream<Link>;

impl Net {
    /// Sets TLS up: Mozilla's roots, and the certificates of `ca_file` beside them.
    ///
    /// # Errors
    /// [`NetError`] when the file cannot be used.
    pub fn new(ca_file: Option<&Path>, limits: NetLimits) -> Result<Self, NetError> {
        Ok(Self { tls: Arc::new(tls_config(ca_file)?), limits, dial: None, tls_only: false })
    }

    /// The same with streams from `dial` in place of TCP. Names are not looked up then.
    #[must_use]
    pub fn with_dial(mut self, dial: Arc<dyn Dial>) -> Self {
        self.dial = Some(dial);
        self
    }

    /// The same without `ws://`: such an address is refused before anything is opened.
    #[must_use]
    pub fn tls_only(mut self) -> Self {
        self.tls_only = true;
        self
    }

    /// The TLS settings, for the HTTP client of [`crate::BotApi`].
    #[must_use]
    pub fn tls(&self) -> &Arc<rustls::ClientConfig> {
        &self.tls
    }

    /// Opens the websocket at `url` (`ws://` or `wss://`, with its query).
    ///
    /// # Errors
    /// [`ConnectError`]; every one may pass with time except a bad URL and a plain one where only TLS is allowed.
    pub async fn connect(&self, url: &str) -> Result<Socket, ConnectError> {
        let target = Target::parse(url)?;
        if self.tls_only && !target.tls {
            return Err(ConnectError::Plain { at: target.at() });
        }
        let mut doing = "looking up its name";
        let seconds = self.limits.connect_timeout.as_secs();
        match timeout(self.limits.connect_timeout, self.open(&target, &mut doing)).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout { at: target.at(), doing, seconds }),
        }
    }

    async fn open(&self, target: &Target, doing: &mut &'static str) -> Result<Socket, ConnectError> {
        let stream = match &self.dial {
            Some(dial) => {
                *doing = "opening the connection";
                let wire = dial.dial(&target.host, target.port).await;
                let wire = wire.map_err(|error| ConnectError::Tcp { at: target.at(), why: error.to_string() })?;
                if target.tls {
                    *doing = "waiting for TLS";
                    Stream::TlsWire(Box::new(self.secure(wire, target).await?))
                } else {
                    Stream::Wire(wire)
                }
            }
            None => {
                let addresses = look_up(&target.host, target.port).await?;
                *doing = "opening the connection";
                let tcp = connect_any(addresses, target).await?;
                if target.tls {
                    *doing = "waiting for TLS";
                    Stream::Tls(Box::new(self.secure(tcp, target).await?))
                } else {
                    Stream::Tcp(tcp)
                }
            }
        };
        *doing = "waiting for the websocket";
        let link = Link { stream, bytes_read: 0 };
        let limits = Limits::default().max_payload_len(Some(self.limits.message_bytes_max));
        let agent = http::HeaderValue::from_static(USER_AGENT);
        let builder = ClientBuilder::from_uri(target.uri.clone())
            .limits(limits)
            .add_header(http::header::USER_AGENT, agent)
            .map_err(|error| upgrade_error(target, &error))?;
        match builder.connect_on(link).await {
            Ok((socket, _)) => Ok(socket),
            Err(error) => Err(upgrade_error(target, &error)),
        }
    }

    async fn secure<S: Wire>(&self, stream: S, target: &Target) -> Result<TlsStream<S>, ConnectError> {
        let name = ServerName::try_from(target.host.clone())
            .map_err(|error| ConnectError::BadUrl { url: target.shown(), why: error.to_string() })?;
        TlsConnector::from(Arc::clone(&self.tls))
            .connect_with(name, stream, |connection| {
                connection.set_buffer_limit(Some(TLS_BUFFER_BYTES));
            })
            .await
            .map_err(|error| ConnectError::Tls { at: target.at(), advice: tls_advice(&error), why: error.to_string() })
    }
}

fn tls_config(ca_file: Option<&Path>) -> Result<rustls::ClientConfig, NetError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(path) = ca_file {
        for certificate in read_certificates(path)? {
            roots.add(certificate).map_err(|error| NetError::BadCertificate { path: path.to_owned(), why: error.to_string() })?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| NetError::Tls(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, NetError> {
    let unreadable = |why: String| NetError::CaFile { path: path.to_owned(), why };
    let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificates.push(certificate.map_err(|error| unreadable(error.to_string()))?);
    }
    if certificates.is_empty() {
        return Err(NetError::NoCertificate { path: path.to_owned() });
    }
    Ok(certificates)
}

struct Target {
    uri: http::Uri,
    host: String,
    port: u16,
    tls: bool,
}

impl Target {
    fn parse(url: &str) -> Result<Self, ConnectError> {
        let shown = url.split('?').next().unwrap_or_default();
        let bad = |why: &str| ConnectError::BadUrl { url: shown.to_owned(), why: why.to_owned() };
        let uri: http::Uri = url.parse().map_err(|error: http::uri::InvalidUri| bad(&error.to_string()))?;
        let tls = match uri.scheme_str() {
            Some("wss") => true,
            Some("ws") => false,
            _ => return Err(bad("it does not begin with wss:// or ws://")),
        };
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(bad("it has no host"));
        }
        let host = host.to_owned();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { uri, host, port, tls })
    }

    fn at(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Never with the query: nothing secret is in it today, and logs need none of it.
    fn shown(&self) -> String {
        format!("{}://{}:{}", if self.tls { "wss" } else { "ws" }, self.host, self.port)
    }
}

async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    let failed = |why: String| ConnectError::Dns { host: host.to_owned(), why };
    let found = tokio::net::lookup_host((host, port)).await;
    let found = found.map_err(|error| failed(error.to_string()))?;
    let (six, four): (Vec<_>, Vec<_>) = found.partition(SocketAddr::is_ipv6);
    // Both families in turn (RFC 8305, section 4), so that a broken one costs a quarter of a second.
    let mut addresses = Vec::with_capacity(six.len() + four.len());
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    loop {
        let (a, b) = (six.next(), four.next());
        if a.is_none() && b.is_none() {
            break;
        }
        addresses.extend(a);
        addresses.extend(b);
    }
    addresses.truncate(ADDRESSES_MAX);
    if addresses.is_empty() {
        return Err(failed("it has no address".to_owned()));
    }
    Ok(addresses)
}

/// Tries the addresses one after the other, each beside those before it; the first that answers wins.
async fn connect_any(addresses: Vec<SocketAddr>, target: &Target) -> Result<TcpStream, ConnectError> {
    let mut trying = FuturesUnordered::new();
    let mut waiting = addresses.into_iter();
    let mut failures: Vec<String> = Vec::new();
    let attempt = |address: SocketAddr| async move { (address, TcpStream::connect(address).await) };
    trying.extend(waiting.next().map(attempt));
    loop {
        let next = tokio::time::sleep(NEXT_ADDRESS);
        tokio::select! {
            biased;
            Some((address, result)) = trying.next() => match result {
                Ok(stream) => {
                    // A beat or a command must not wait for the answer to the one before it.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY could not be set");
                    }
                    return Ok(stream);
                }
                Err(error) => {
                    failures.push(format!("{address}: {error}"));
                    trying.extend(waiting.next().map(attempt));
                    if trying.is_empty() {
                        return Err(ConnectError::Tcp { at: target.at(), why: failures.join("; ") });
                    }
                }
            },
            () = next, if waiting.len() > 0 => trying.extend(waiting.next().map(attempt)),
        }
    }
}

fn tls_advice(error: &io::Error) -> &'static str {
    let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    fault.map_or("check that the address is right and that nothing in between cuts TLS connections", fault_advice)
}

/// What to do about a TLS handshake that failed for this reason.
pub(crate) fn fault_advice(fault: &rustls::Error) -> &'static str {
    match fault {
        rustls::Error::InvalidCertificate(fault) => match fault {
            rustls::CertificateError::UnknownIssuer => {
                "its certificate is not signed by a known authority: for a server of your own name the root with [discord] ca_file"
            }
            rustls::CertificateError::NotValidForName | rustls::CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name: use the name that the certificate carries"
            }
            rustls::CertificateError::Expired
            | rustls::CertificateError::ExpiredContext { .. }
            | rustls::CertificateError::NotValidYet
            | rustls::CertificateError::NotValidYetContext { .. } => {
                "its certificate is outside its time: check this machine's clock, then the server's certificate"
            }
            _ => "its certificate cannot be trusted: check the server's certificate",
        },
        rustls::Error::InvalidMessage(_) => "what answers there does not speak TLS: is it a plain ws:// or http:// port?",
        _ => "check that the address is right and that nothing in between cuts TLS connections",
    }
}

fn upgrade_error(target: &Target, error: &tokio_websockets::Error) -> ConnectError {
    use tokio_websockets::upgrade::Error as Upgrade;
    if let tokio_websockets::Error::Upgrade(Upgrade::DidNotSwitchProtocols(status)) = error {
        return ConnectError::Status {
            at: target.at(),
            status: *status,
            advice: match status {
                400 => "the address or its query is not what a gateway expects",
                401 | 403 => "something in between refuses this machine: a proxy, or Discord's protection against abuse",
                404 => "there is no gateway at this path: check [discord] api",
                429 => "too many connections from this machine: it is tried again more slowly",
                500..=599 => "the server is in trouble: it is tried again; see Discord's status page",
                _ => "check that the address is a gateway's",
            },
        };
    }
    match error {
        // A server that restarts takes a connection and drops it: that says nothing of what it speaks.
        tokio_websockets::Error::Io(error) => ConnectError::Tcp { at: target.at(), why: error.to_string() },
        error => ConnectError::Upgrade { at: target.at(), why: error.to_string() },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart_and_default_ports_known() {
        let target = Target::parse("wss://gateway.discord.gg/?v=10&encoding=etf").unwrap();
        assert_eq!((target.at().as_str(), target.tls), ("gateway.discord.gg:443", true));
        let target = Target::parse("ws://[::1]:81/?v=10").unwrap();
        assert_eq!((target.host.as_str(), target.port, target.tls), ("::1", 81, false));
    }

    #[test]
    fn an_address_that_is_none_is_named_without_its_query() {
        for url in ["https://a/?secret=1", "gateway", "ws://", ""] {
            let error = Target::parse(url).err().unwrap().to_string();
            assert!(error.contains("no gateway address") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_ca_file_that_is_missing_or_empty_is_named() {
        let missing = Net::new(Some(Path::new("/nonexistent/ca.pem")), NetLimits::default());
        assert!(missing.err().unwrap().to_string().contains("/nonexistent/ca.pem"));
        let empty = Net::new(Some(Path::new("/dev/null")), NetLimits::default());
        assert!(empty.err().unwrap().to_string().contains("holds no certificate"));
    }
}

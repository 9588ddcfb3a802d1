//! Real sockets: wss with an own root, and every way of not getting a websocket.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_websockets::{Message, ServerBuilder};
use trunkline_discord::Token;
use trunkline_gateway::{BotApi, ConnectError, Net, NetLimits};

/// A server's certificate for `name`, signed by a root of our own, and that root in a PEM file.
struct Authority {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    ca_file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_certificate = ca.self_signed(&ca_key).unwrap();
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = leaf.signed_by(&key, &issuer).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, ca_certificate.pem()).unwrap();
        Self {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            ca_file,
            _folder: folder,
        }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Answers websockets by sending back what comes.
    async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let acceptor = self.acceptor();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust the certificate breaks off here.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let Ok((_, mut socket)) = ServerBuilder::new().accept(stream).await else { return };
                    while let Some(Ok(message)) = socket.next().await {
                        if message.is_close() || socket.send(message).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        at
    }
}

fn net(ca_file: Option<&PathBuf>) -> Net {
    Net::new(ca_file.map(PathBuf::as_path), NetLimits::default()).unwrap()
}

/// A server that sends these bytes to whoever connects.
async fn saying(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(bytes).await.unwrap();
            let mut sink = [0; 4096];
            while matches!(stream.read(&mut sink).await, Ok(1..)) {}
        }
    });
    at
}

#[tokio::test]
async fn wss_works_with_the_root_from_ca_file() {
    let authority = Authority::new("localhost");
    let at = authority.serve().await;
    let net = net(Some(&authority.ca_file));
    let mut socket = net.connect(&format!("wss://localhost:{}/?v=10", at.port())).await.unwrap();
    let large = vec![7; 3 << 20];
    socket.send(Message::binary(large.clone())).await.unwrap();
    let back = socket.next().await.unwrap().unwrap();
    assert_eq!(&back.as_payload()[..], &large[..]);
    assert!(socket.get_ref().bytes_read() > 3 << 20);
}

#[tokio::test]
async fn an_unknown_authority_is_refused_and_ca_file_named() {
    let authority = Authority::new("localhost");
    let at = authority.serve().await;
    let error = net(None).connect(&format!("wss://localhost:{}/", at.port())).await.unwrap_err();
    let line = error.to_string();
    assert!(matches!(error, ConnectError::Tls { .. }), "{line}");
    assert!(line.contains("ca_file") && line.contains(&at.port().to_string()), "{line}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_and_told() {
    let authority = Authority::new("gateway.example");
    let at = authority.serve().await;
    let net = net(Some(&authority.ca_file));
    let error = net.connect(&format!("wss://localhost:{}/", at.port())).await.unwrap_err();
    assert!(error.to_string().contains("another name"), "{error}");
}

#[tokio::test]
async fn rest_uses_the_same_root() {
    let authority = Authority::new("localhost");
    let at = authority.serve().await;
    let base = format!("https://localhost:{}/api/v10", at.port());
    let call = |ca_file| {
        let api = BotApi::new(&base, &Token::new("a.b.c"), &net(ca_file)).unwrap();
        async move { api.me().await.unwrap_err().to_string() }
    };
    // It speaks no HTTP but websocket, which is far enough: TLS has been passed.
    let trusted = call(Some(&authority.ca_file)).await;
    assert!(!trusted.contains("certificate"), "{trusted}");
    let untrusted = call(None).await;
    assert!(untrusted.contains("certificate"), "{untrusted}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_named_with_each_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let error = net(None).connect(&format!("ws://{at}/")).await.unwrap_err();
    let line = error.to_string();
    assert!(matches!(error, ConnectError::Tcp { .. }), "{line}");
    assert!(line.contains(&at.to_string()) && line.contains("refused"), "{line}");
}

#[tokio::test]
async fn a_name_without_address_is_named() {
    let error = net(None).connect("wss://no-such-host.invalid/").await.unwrap_err();
    let line = error.to_string();
    assert!(matches!(error, ConnectError::Dns { .. }), "{line}");
    assert!(line.contains("no-such-host.invalid") && line.contains("DNS"), "{line}");
}

#[tokio::test]
async fn an_http_status_in_place_of_the_upgrade_is_told() {
    for (answer, status) in [
        (&b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"[..], 404),
        (&b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"[..], 503),
        (&b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"[..], 429),
    ] {
        let at = saying(answer).await;
        let error = net(None).connect(&format!("ws://{at}/")).await.unwrap_err();
        assert!(matches!(error, ConnectError::Status { status: found, .. } if found == status), "{error}");
    }
}

#[tokio::test]
async fn what_speaks_neither_tls_nor_websocket_is_told() {
    let at = saying(b"220 mail.example ESMTP\r\n").await;
    let error = net(None).connect(&format!("ws://{at}/")).await.unwrap_err();
    assert!(matches!(error, ConnectError::Upgrade { .. }), "{error}");
    let error = net(None).connect(&format!("wss://localhost:{}/", at.port())).await.unwrap_err();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let at = saying(b"").await;
    let limits = NetLimits { connect_timeout: Duration::from_millis(50), ..NetLimits::default() };
    let net = Net::new(None, limits).unwrap();
    for (scheme, doing) in [("ws", "websocket"), ("wss", "TLS")] {
        let error = net.connect(&format!("{scheme}://127.0.0.1:{}/", at.port())).await.unwrap_err();
        assert!(matches!(error, ConnectError::Timeout { .. }) && error.to_string().contains(doing), "{error}");
    }
}

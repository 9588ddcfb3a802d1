//! One listening address for everything: REST below `/api`, the control below `/sim`, and the gateway's websockets elsewhere.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_websockets::{Limits, ServerBuilder};

use crate::compress::Transport;
use crate::hub::Hub;
use crate::line::Io;
use crate::out::Encoding;
use crate::rest::Answer;
use crate::session::Query;
use crate::{connection, control, rest};

/// A control request's body.
const BODY_MAX: usize = 1 << 20;
/// What the websocket reads at most; anything above 4096 bytes is answered with 4002.
const FRAME_MAX: usize = 1 << 20;
/// Time a client has to send a request's head.
const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// Serves one connection to its end.
pub(crate) async fn serve(hub: Arc<Hub>, io: Io) {
    let service = service_fn(|request| {
        let hub = Arc::clone(&hub);
        async move { Ok::<_, Infallible>(handle(&hub, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    tokio::select! {
        () = hub.stop.cancelled() => {}
        ended = served => if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        },
    }
}

async fn handle(hub: &Arc<Hub>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_string();
    if path.starts_with("/sim/") {
        let (parts, body) = request.into_parts();
        let body = match Limited::new(body, BODY_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n"),
        };
        return response(control::answer(hub, &parts.method, &path, &body));
    }
    if path == "/api" || path.starts_with("/api/") {
        return response(rest::answer(hub, request.method(), &path, request.headers()));
    }
    upgrade(hub, request)
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(answer.status).header(header::CONTENT_TYPE, "application/json");
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(Full::from(answer.body)).unwrap_or_default()
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

fn upgrade(hub: &Arc<Hub>, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    let headers = request.headers();
    let wants = headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| wants).cloned() else {
        return plain(StatusCode::NOT_FOUND, "here is the gateway of a simulated Discord: a websocket is wanted; REST is below /api/v10\n");
    };
    let mut text = key.as_bytes().to_vec();
    text.extend_from_slice(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = base64(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text).as_ref());
    let query = parse_query(request.uri().query().unwrap_or(""));
    let at_resume_url = request.uri().path().starts_with("/resume");
    let upgrading = hyper::upgrade::on(&mut request);
    let hub = Arc::clone(hub);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrading.await else {
            return;
        };
        // A websocket client sends nothing before it has the answer, so nothing was read ahead.
        if let Ok(parts) = upgraded.downcast::<TokioIo<Io>>() {
            let limits = Limits::default().max_payload_len(Some(FRAME_MAX));
            let socket = ServerBuilder::new().limits(limits).serve(parts.io.into_inner());
            connection::serve(hub, socket, query, at_resume_url).await;
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "Upgrade")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .body(Full::default())
        .unwrap_or_default()
}

/// Reads the query of a gateway address. The error says what is wrong with it; it leads to close 4012.
fn parse_query(text: &str) -> Result<Query, String> {
    let mut query = Query { version: 6, encoding: Encoding::Json, transport: Transport::Plain };
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (name, value) {
            ("v", version) => query.version = version.parse().map_err(|_| format!("v={version}"))?,
            ("encoding", "json") => query.encoding = Encoding::Json,
            ("encoding", "etf") => query.encoding = Encoding::Etf,
            ("encoding", other) => return Err(format!("encoding={other}")),
            ("compress", "zlib-stream") => query.transport = Transport::ZlibStream,
            ("compress", "zstd-stream") => query.transport = Transport::ZstdStream,
            ("compress", other) if !other.is_empty() => return Err(format!("compress={other}")),
            _ => {}
        }
    }
    if !(6..=10).contains(&query.version) {
        return Err(format!("v={}", query.version));
    }
    Ok(query)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            if digit <= chunk.len() {
                text.push(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63] as char);
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads() {
        assert_eq!(base64(b"a"), "YQ==");
        assert_eq!(base64(b"ab"), "YWI=");
        assert_eq!(base64(b"abc"), "YWJj");
    }

    #[test]
    fn a_wrong_version_or_encoding_is_refused() {
        assert!(parse_query("v=10&encoding=etf&compress=zstd-stream").is_ok());
        for bad in ["v=11", "v=x", "v=5", "v=10&encoding=xml", "v=10&compress=lz4"] {
            assert!(parse_query(bad).is_err(), "{bad}");
        }
    }
}

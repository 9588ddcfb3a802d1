//! One port for everything.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{World, options};

async fn call(world: &World, path: &str, body: &[u8]) -> (http::response::Parts, Bytes, Option<http::HeaderMap>) {
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    let request = http::Request::post(format!("http://{}{path}", world.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::copy_from_slice(body)))
        .unwrap();
    let (parts, body) = client.request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned();
    (parts, body.to_bytes(), trailers)
}

fn status(parts: &http::response::Parts, trailers: Option<&http::HeaderMap>) -> String {
    let headers = trailers.unwrap_or(&parts.headers);
    headers["grpc-status"].to_str().unwrap().to_owned()
}

const STREAM: &str = "/pylon.gateway.v1.service.GatewayWorkerGroup/WorkerStream";

#[tokio::test(start_paused = true)]
async fn garbage_as_first_message_ends_the_stream_with_invalid_argument() {
    let world = World::start(1).await;
    // A frame of four bytes that are no protobuf, and one that claims more than the limit.
    for frame in [&b"\0\0\0\0\x04\xff\xff\xff\xff"[..], b"\0\x7f\xff\xff\xff\x04"] {
        let (parts, _, trailers) = call(&world, STREAM, frame).await;
        assert_eq!(status(&parts, trailers.as_ref()), "3");
    }
    assert_eq!(world.stats.refused_identities.get(), 2);
    world.plain("w").await;
}

#[tokio::test(start_paused = true)]
async fn health_and_reflection_answer_on_the_same_port_and_unknown_methods_are_unimplemented() {
    let world = World::start(1).await;
    // HealthCheckRequest{} -> HealthCheckResponse{status: SERVING}
    let (parts, body, trailers) = call(&world, "/grpc.health.v1.Health/Check", b"\0\0\0\0\0").await;
    assert_eq!(status(&parts, trailers.as_ref()), "0");
    assert_eq!(&body[..], b"\0\0\0\0\x02\x08\x01");
    // ServerReflectionRequest{list_services: ""}
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let (_, body, _) = call(&world, &path, b"\0\0\0\0\x02\x3a\x00").await;
        let text = String::from_utf8_lossy(&body).into_owned();
        assert!(text.contains("pylon.gateway.v1.service.GatewayWorkerGroup"), "{text}");
        // Without lookups those are not listed, nor is what is nobody's to call here.
        for other in ["GatewayCache", "GatewayRest", "GatewayDispatch", "gateway.Gateway", "trunkline.cache"] {
            assert!(!text.contains(other), "{other} is listed and not served: {text}");
        }
        assert!(text.contains(&format!("grpc.reflection.{version}.ServerReflection")), "{text}");
    }
    let (parts, _, trailers) = call(&world, "/no.such.Service/Method", b"\0\0\0\0\0").await;
    assert_eq!(status(&parts, trailers.as_ref()), "12");
}

#[tokio::test(start_paused = true)]
async fn a_door_that_stops_is_not_serving_any_more() {
    let world = World::start(1).await;
    assert!(world.door.stop().await);
    let (_, body, _) = call(&world, "/grpc.health.v1.Health/Check", b"\0\0\0\0\0").await;
    assert_eq!(&body[..], b"\0\0\0\0\x02\x08\x02");
}

#[tokio::test(start_paused = true)]
async fn other_routes_are_served_beside_grpc_over_http_1_with_their_peer() {
    use axum::routing::get;
    use trunkline_doors::serve::Peer;
    async fn who(axum::Extension(peer): axum::Extension<Peer>) -> String {
        peer.0.ip().to_string()
    }
    let world = World::with(1, options(), axum::Router::new().route("/who", get(who))).await;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let answer = client.get(format!("http://{}/who", world.address).parse().unwrap()).await.unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_11);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "127.0.0.1");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed() {
    let world = World::start(1).await;
    let mut socket = TcpStream::connect(world.address).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(11), socket.read(&mut [0; 8])).await.expect("still open");
    assert_eq!(closed.unwrap_or(0), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_closed() {
    let world = World::start(1).await;
    let mut socket = TcpStream::connect(world.address).await.unwrap();
    // The preface and an empty SETTINGS frame; silence after that.
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let began = tokio::time::Instant::now();
    let mut bytes = Vec::new();
    tokio::time::timeout(Duration::from_secs(60), socket.read_to_end(&mut bytes)).await.expect("still open").ok();
    assert!(began.elapsed() >= Duration::from_secs(35), "{:?}", began.elapsed());
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(world.stats.connections_open.get(), 0);
}

//! The listener: one port for gRPC and whatever else is mounted on it.
//!
//! HTTP/2 with prior knowledge and HTTP/1 on the same port. Dead peers are found by HTTP/2 pings; a peer that connects
//! and says nothing is dropped. Every connection is a task; a slow one holds nobody else.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tonic::codegen::BoxFuture;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tower::Service as _;
use trunkline_wire::pylon::gateway::v1::service::gateway_cache_server::GatewayCacheServer;
use trunkline_wire::pylon::gateway::v1::service::gateway_server::GatewayServer;
use trunkline_wire::pylon::gateway::v1::service::gateway_worker_group_server::GatewayWorkerGroupServer;
use trunkline_wire::trunkline::cache::v1::cache_server::CacheServer;

use crate::door::WorkerDoor;
use crate::gathered::Gathered;
use crate::limits::SEND_BUFFER_BYTES;
use crate::lookups::{Lookups, pylon_cache};
use crate::stats::DoorStats;
use crate::unary;

/// The other end of a connection, in every request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What a port serves.
#[derive(Clone, Debug)]
pub struct App {
    router: Router,
    /// Answered before the router is asked, which costs as much as finding what is asked for.
    lookups: Option<Arc<Lookups>>,
}

impl From<Router> for App {
    fn from(router: Router) -> App {
        App { router, lookups: None }
    }
}

/// A connection's requests on their way to whom they are for.
struct Entry {
    app: App,
    peer: SocketAddr,
}

impl hyper::service::Service<Request<Incoming>> for Entry {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let Some(lookups) = self.app.lookups.as_ref().filter(|_| unary::is_plain(&request)) else { return self.route(request) };
        pylon_cache::answer(lookups, request).unwrap_or_else(|request| self.route(*request))
    }
}

impl Entry {
    fn route(&self, mut request: Request<Incoming>) -> BoxFuture<Response<Body>, Infallible> {
        request.extensions_mut().insert(Peer(self.peer));
        // A router is always ready.
        Box::pin(self.app.router.clone().call(request.map(Body::new)))
    }
}

/// Settings of the listener.
#[derive(Clone, Copy, Debug)]
pub struct ServeOptions {
    /// How long a connection may be silent before it is pinged.
    pub keepalive_interval: Duration,
    /// How long it may take to answer the ping.
    pub keepalive_timeout: Duration,
    /// How long a new connection may take to say its first byte.
    pub first_byte: Duration,
    /// Connections at once; more are closed at once.
    pub connections: usize,
    /// Streams at once on one connection. Proxies carry many workers over one.
    pub streams_per_connection: u32,
    /// How long connections may take to end after the shutdown.
    pub shutdown: Duration,
}

impl Default for ServeOptions {
    fn default() -> ServeOptions {
        ServeOptions {
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(20),
            first_byte: Duration::from_secs(10),
            connections: 4_096,
            streams_per_connection: 1_024,
            shutdown: Duration::from_secs(2),
        }
    }
}

/// Why the port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The descriptors for reflection do not fit together: a mistake in the build.
    #[error("gRPC reflection cannot be built from the compiled protos: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// The gRPC services (worker stream, lookups, health, reflection v1 and v1alpha) with other routes beside them.
///
/// `extras` must not have a fallback of its own: the answer to unknown gRPC methods is one.
pub async fn routes(door: &WorkerDoor, lookups: Option<&Lookups>, extras: Router) -> Result<App, ServeError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<GatewayWorkerGroupServer<WorkerDoor>>().await;
    let stopping = door.stopping();
    tokio::spawn({
        let health = health.clone();
        async move {
            stopping.await;
            health.set_service_status("", ServingStatus::NotServing).await;
            health.set_not_serving::<GatewayWorkerGroupServer<WorkerDoor>>().await;
        }
    });
    // The compiled protos have services that are the client's to serve, or nobody's yet: what is listed can be called.
    let mut listed = vec!["pylon.gateway.v1.service.GatewayWorkerGroup", "grpc.health.v1.Health"];
    let mut routes = Routes::new(door.service());
    if let Some(lookups) = lookups {
        health.set_serving::<GatewayCacheServer<Lookups>>().await;
        health.set_serving::<GatewayServer<Lookups>>().await;
        health.set_serving::<CacheServer<Lookups>>().await;
        // With the routes of `MemberCalls`, which come among the extras.
        let of_members = ["gateway.Gateway", "trunkline.members.v1.Members"];
        for name in of_members {
            health.set_service_status(name, ServingStatus::Serving).await;
        }
        listed.extend(["pylon.gateway.v1.service.GatewayCache", "pylon.gateway.v1.service.Gateway", "trunkline.cache.v1.Cache"]);
        listed.extend(of_members);
        routes = routes.add_service(lookups.pylon_cache()).add_service(lookups.pylon_gateway()).add_service(lookups.own());
    }
    let reflection = |own: &str| {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(trunkline_wire::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        listed.iter().copied().chain([own]).fold(builder, |builder, name| builder.with_service_name(name))
    };
    let (v1, v1alpha) = (
        reflection("grpc.reflection.v1.ServerReflection").build_v1()?,
        reflection("grpc.reflection.v1alpha.ServerReflection").build_v1alpha()?,
    );
    let routes = routes.add_service(health_service).add_service(v1).add_service(v1alpha);
    let router = routes.prepare().into_axum_router().merge(extras).fallback(unknown);
    Ok(App { router, lookups: lookups.map(|lookups| Arc::new(lookups.clone())) })
}

/// What is not served: an unknown gRPC method is told in gRPC's way, anything else in HTTP's, so that a mistyped address is no success.
pub async fn unknown(request: axum::extract::Request) -> axum::response::Response {
    let path = request.uri().path();
    let kind = request.headers().get(axum::http::header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return tonic::Status::unimplemented(format!("{path} is not served here; server reflection lists what is")).into_http();
    }
    (axum::http::StatusCode::NOT_FOUND, format!("there is nothing at {path}\n")).into_response()
}

/// Serves an app, or a router alone, on a listener until `shutdown` is done and its connections have ended.
///
/// Stop the door first ([`WorkerDoor::stop`]): its streams end there, and what is left here are idle connections.
pub async fn serve(
    listener: TcpListener,
    app: impl Into<App>,
    stats: Arc<DoorStats>,
    options: ServeOptions,
    shutdown: impl Future<Output = ()>,
) {
    let app = app.into();
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(options.connections));
    tokio::pin!(shutdown);
    loop {
        let (socket, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    refused_by_the_system(&error).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            stats.refused_connections.add(1);
            tracing::warn!(%peer, "connection closed: there are {} already, which is the most", options.connections);
            continue;
        };
        let watcher = graceful.watcher();
        let app = app.clone();
        let stats = stats.clone();
        tokio::spawn(async move {
            stats.connections_open.add(1);
            connection(socket, Entry { app, peer }, options, watcher).await;
            stats.connections_open.sub(1);
            drop(place);
        });
    }
    drop(listener);
    if timeout(options.shutdown, graceful.shutdown()).await.is_err() {
        tracing::info!(connections = stats.connections_open.get(), "connections left open at the stop are closed");
    }
}

/// Out of file descriptors, or the peer was gone before it was greeted: neither is a reason to stop listening.
async fn refused_by_the_system(error: &io::Error) {
    match error.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {}
        _ => {
            tracing::error!("cannot accept a connection: {error}; raise the limit of open files if this goes on");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn connection(socket: TcpStream, entry: Entry, options: ServeOptions, watcher: hyper_util::server::graceful::Watcher) {
    let peer = entry.peer;
    // Events are written whole; waiting for more to fill a packet only costs latency.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%peer, "nodelay: {error}");
    }
    // Looked at, not taken. (Waiting for readiness alone would not do: that may be reported without a byte.)
    if timeout(options.first_byte, socket.peek(&mut [0])).await.is_err() {
        tracing::debug!(%peer, "connection closed: it said nothing");
        return;
    }
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .max_concurrent_streams(options.streams_per_connection)
        // What a worker sends is small; what bounds a stream's share of memory is what we send.
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .max_send_buf_size(SEND_BUFFER_BYTES);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(options.first_byte);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(socket), entry);
    if let Err(error) = Gathered::new(watcher.watch(connection.into_owned())).await {
        tracing::debug!(%peer, "connection ended: {error}");
    }
}

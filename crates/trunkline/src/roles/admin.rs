//! The admin port: metrics, health, readiness, status as JSON, and the few commands a person gives.
//!
//! Reading is open to whoever reaches the port. Commands (`POST`) are taken from loopback peers only: the port has no password.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use trunkline_discord::ShardId;
use trunkline_gateway::ShardControl;

use super::core::CoreInput;
use super::node::Shared;
use super::readiness::{self, Readiness};
use super::{metrics, status};

/// The header that a command must carry.
pub const CONTROL_HEADER: &str = "x-trunkline-control";

/// Serves until told to stop.
pub async fn serve(listener: TcpListener, shared: Shared, mut stopping: watch::Receiver<bool>) {
    let app = Router::new()
        .route("/", get(index))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render_metrics))
        .route("/status", get(render_status))
        .route("/control/shard/restart", post(restart))
        .route("/control/identify/use-reserve", post(use_reserve))
        .with_state(shared);
    let until = async move {
        // The sender lives in the node; if it is gone, so is the reason to serve.
        stopping.wait_for(|stop| *stop).await.map(|_| ()).unwrap_or_default();
    };
    let served = axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).with_graceful_shutdown(until).await;
    if let Err(error) = served {
        tracing::error!("the admin port failed: {error}");
    }
}

async fn index() -> &'static str {
    "trunkline admin\n\n/metrics   Prometheus\n/healthz   200 while the process lives\n/readyz    200 once every shard has been ready, 503 when one has stopped for good\n/status    JSON, as `trunkline status --json`\n"
}

async fn readyz(State(shared): State<Shared>) -> Response {
    let Readiness { ready, text } = readiness::judge(&shared.bots());
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text).into_response()
}

async fn render_metrics(State(shared): State<Shared>) -> impl IntoResponse {
    let reports = shared.reports().await;
    let fetched = shared.members.progress().await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics::render(&shared, &reports, &fetched))
}

async fn render_status(State(shared): State<Shared>) -> impl IntoResponse {
    let reports = shared.reports().await;
    ([(header::CONTENT_TYPE, "application/json")], serde_json::to_string(&status::collect(&shared, &reports)).unwrap_or_default())
}

#[derive(Deserialize)]
struct Target {
    bot: Option<u64>,
    shard: Option<u32>,
    #[serde(default)]
    fresh: bool,
}

/// Why a command is not carried out.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, axum::Json(serde_json::json!({ "error": self.1 }))).into_response()
    }
}

fn refuse(code: StatusCode, text: impl Into<String>) -> Refused {
    Refused(code, text.into())
}

/// Commands come from this machine, and from a program: a page in a browser can send a POST to a loopback address, but not with this
/// header, and it always names its origin.
fn only_local(peer: SocketAddr, headers: &HeaderMap) -> Result<(), Refused> {
    if !peer.ip().to_canonical().is_loopback() {
        return Err(refuse(StatusCode::FORBIDDEN, "commands are taken from this machine only (a loopback address)"));
    }
    if headers.contains_key(header::ORIGIN) || !headers.contains_key(CONTROL_HEADER) {
        return Err(refuse(
            StatusCode::FORBIDDEN,
            format!("commands need the header {CONTROL_HEADER}, and none that a browser sends; use the `trunkline` command"),
        ));
    }
    Ok(())
}

/// The bot meant: by id, or the only one there is.
fn find_bot(shared: &Shared, id: Option<u64>) -> Result<super::bots::BotState, Refused> {
    let bots = shared.bots();
    match id {
        Some(id) => bots
            .into_iter()
            .find(|bot| bot.id == Some(id))
            .ok_or_else(|| refuse(StatusCode::NOT_FOUND, format!("no bot {id} here; `trunkline status` lists them"))),
        None if bots.len() == 1 => bots.into_iter().next().ok_or_else(|| refuse(StatusCode::NOT_FOUND, "no bot here")),
        None => Err(refuse(StatusCode::BAD_REQUEST, "several bots run here; say which with --bot ID")),
    }
}

/// The bot that a command is about, if the command is taken at all.
fn bot_for(shared: &Shared, peer: SocketAddr, headers: &HeaderMap, target: &Target) -> Result<super::bots::BotState, Refused> {
    only_local(peer, headers)?;
    find_bot(shared, target.bot)
}

/// What was done, or why nothing was.
type Answer = Result<axum::Json<serde_json::Value>, Refused>;

async fn restart(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    State(shared): State<Shared>,
    Query(target): Query<Target>,
) -> Answer {
    let bot = bot_for(&shared, peer, &headers, &target)?;
    let index = target.shard.ok_or_else(|| refuse(StatusCode::BAD_REQUEST, "say which shard with --shard N"))?;
    let found = bot.shards.iter().find(|(shard, _)| shard.index == index);
    let (shard, _) = found.ok_or_else(|| refuse(StatusCode::NOT_FOUND, format!("{} has no shard {index} here", bot.name)))?;
    if !control(&shared, *shard, ShardControl::Restart { fresh: target.fresh }).await {
        return Err(refuse(
            StatusCode::CONFLICT,
            format!("shard {index} of {} does not run (it has stopped, or has too many commands waiting)", bot.name),
        ));
    }
    let how = if target.fresh { "identifies afresh" } else { "reconnects and resumes" };
    Ok(axum::Json(serde_json::json!({ "done": format!("shard {index} of {} {how}", bot.name) })))
}

async fn control(shared: &Shared, shard: ShardId, control: ShardControl) -> bool {
    let Some(core) = shared.core_of(shard) else { return false };
    let (answer, handed) = oneshot::channel();
    core.send(CoreInput::Control { shard, control, answer }).is_ok() && handed.await.unwrap_or(false)
}

async fn use_reserve(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    State(shared): State<Shared>,
    Query(target): Query<Target>,
) -> Answer {
    let bot = bot_for(&shared, peer, &headers, &target)?;
    let queue = bot.identify.as_ref().ok_or_else(|| refuse(StatusCode::CONFLICT, format!("{} has not come up yet", bot.name)))?;
    let shards = queue.use_reserve(target.shard).await.map_err(|_| refuse(StatusCode::CONFLICT, "the process is stopping"))?;
    let done = match shards {
        0 => format!("no shard of {} waits for the reserve", bot.name),
        shards => format!("{shards} waiting shards of {} may use the reserve", bot.name),
    };
    Ok(axum::Json(serde_json::json!({ "done": done, "shards": shards })))
}

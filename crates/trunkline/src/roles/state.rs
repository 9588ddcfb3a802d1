//! The state API from PostgreSQL alone: `trunkline run --roles state`, a process that holds no shard, speaks to no Discord and may run as
//! often as one likes.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use trunkline_delivery::GroupId;
use trunkline_discord::Encoding;
use trunkline_doors::serve::{ServeOptions, serve, unknown};
use trunkline_doors::state::{Format, StateOptions};
use trunkline_doors::stats::DoorStats;
use trunkline_doors::{Access, Group, GroupToken as DoorToken, Groups};
use trunkline_store::{Options, StateReader};

use super::stored::Stored;
use crate::config::Config;

/// A process with this role alone.
pub struct StateNode {
    /// Where clients connect.
    pub clients: std::net::SocketAddr,
    /// Health and readiness.
    pub admin: std::net::SocketAddr,
    stop: watch::Sender<bool>,
    serving: Vec<tokio::task::JoinHandle<()>>,
}

impl StateNode {
    /// Connects to the database and listens.
    ///
    /// # Errors
    /// In one line, with what to do.
    pub async fn start(config: Config) -> Result<StateNode, String> {
        let url = config.store.url.as_ref().ok_or(
            "--roles state reads PostgreSQL: set store.url (or store.url_file) to the database of the process that holds the shards",
        )?;
        let options = Options { rows: Some(super::rows::CODEC), ..Options::default() };
        let reader = StateReader::connect(url.expose(), options).await.map_err(|error| error.to_string())?;
        let clients_listener = bind(config.listen.clients, "listen.clients").await?;
        let admin_listener = bind(config.listen.admin, "listen.admin").await?;
        let address = |listener: &TcpListener| listener.local_addr().map_err(|error| error.to_string());
        let (clients, admin) = (address(&clients_listener)?, address(&admin_listener)?);

        // Tokens that were made by another process lie in its store: without one in the configuration a group opens nothing here.
        let known = config.groups.iter().filter_map(|group| Some((group, group.token.as_ref()?)));
        let (mut groups, mut filters) = (Vec::new(), Vec::new());
        for (index, (group, token)) in known.enumerate() {
            let id = GroupId(u32::try_from(index).unwrap_or(u32::MAX));
            groups.push(Group { id, name: group.name.clone(), token: DoorToken::new(token.expose()) });
            filters.push(group.filter.clone());
        }
        let groups = Groups::new(groups).map_err(|error| error.to_string())?;
        let anonymous = config.listen.anonymous || config.listen.clients.ip().is_loopback();
        let options = StateOptions {
            format: if config.state.encoding == Encoding::Etf { Format::Etf } else { Format::Json },
            version: env!("CARGO_PKG_VERSION").to_owned(),
            access: Access::new(&groups, &filters, anonymous),
        };
        let app = trunkline_doors::state::routes(Arc::new(Stored::new(reader.clone())), options).fallback(unknown);
        tracing::info!("the state API reads {}; clients connect to {clients}, health is on http://{admin}", reader.server());

        let (stop, stopping) = watch::channel(false);
        let stats = Arc::new(DoorStats::new(&groups));
        let mut serving = Vec::new();
        for (listener, router) in [(clients_listener, app), (admin_listener, health(reader))] {
            let (stats, mut stopping) = (stats.clone(), stopping.clone());
            let until = async move { stopping.wait_for(|stop| *stop).await.map(|_| ()).unwrap_or_default() };
            serving.push(tokio::spawn(serve(listener, router, stats, ServeOptions::default(), until)));
        }
        Ok(StateNode { clients, admin, stop, serving })
    }

    /// Lets running answers end, for a bounded time.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for serving in self.serving {
            serving.await.ok();
        }
    }
}

async fn bind(address: std::net::SocketAddr, key: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("{address} cannot be listened on: {error}; stop the other program, or choose another address with {key}"))
}

fn health(reader: StateReader) -> Router {
    let ready = move || {
        let reader = reader.clone();
        async move {
            match reader.alive().await {
                Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
                Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
            }
        }
    };
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready))
}

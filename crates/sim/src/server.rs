//! Starting and stopping: the listener, the traffic, the schedule of faults.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_rustls::TlsAcceptor;

use crate::config::{Config, Tls};
use crate::control;
use crate::faults::{Fault, Planned};
use crate::http;
use crate::hub::Hub;
use crate::kinds::Kind;
use crate::line::{Io, Stream};
use crate::report::{Report, SentSession};
use crate::world::NO_GUILD;

/// Traffic is made in portions this far apart.
const TRAFFIC_EVERY: Duration = Duration::from_millis(2);
/// Events in one portion at most, so that the lock is never held for long.
const PORTION_MAX: u64 = 1000;
const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// Connections that are open at the same time at most.
const CONNECTIONS_MAX: usize = 20_000;

/// Why a simulated Discord could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}; choose another address, or port 0 for a free one")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Certificate or key cannot be used.
    #[error("cannot use the TLS certificate or key: {0}; both must be PEM and belong together")]
    Tls(String),
    /// A configuration that makes no sense.
    #[error("{0}")]
    Config(String),
}

/// Starts simulated Discords.
#[derive(Debug)]
pub struct Sim;

/// A running simulated Discord. Dropping the handle stops it.
pub struct SimHandle {
    hub: Arc<Hub>,
    addr: SocketAddr,
    api_url: String,
    tasks: Vec<JoinHandle<()>>,
}

/// A schedule of faults that is being carried out. Dropping it ends the schedule, not the lasting faults that it began.
#[derive(Debug)]
pub struct Schedule {
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Schedule {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Sim {
    /// Binds the address and serves on the current tokio runtime until [`SimHandle::stop`], the configured time, or the handle's drop.
    pub async fn start(config: Config) -> Result<SimHandle, StartError> {
        if config.bots.is_empty() {
            return Err(StartError::Config("at least one token is needed".into()));
        }
        if config.shards == 0 || config.max_concurrency == 0 {
            return Err(StartError::Config("shards and max_concurrency must be at least 1".into()));
        }
        if u64::from(config.guilds) * config.bots.len() as u64 > 1 << 22 {
            return Err(StartError::Config("at most 4 million guilds are possible".into()));
        }
        if !config.rate.is_finite() || config.rate < 0.0 {
            return Err(StartError::Config("the rate must be a number of events per second, 0 or more".into()));
        }
        let acceptor = config.tls.as_ref().map(acceptor).transpose()?;
        let addr = config.listen;
        let listener = TcpListener::bind(addr).await.map_err(|source| StartError::Listen { addr, source })?;
        let addr = listener.local_addr().map_err(|source| StartError::Listen { addr, source })?;
        let host = config.advertise.clone().unwrap_or_else(|| match addr {
            addr if addr.ip().is_unspecified() => format!("127.0.0.1:{}", addr.port()),
            addr => addr.to_string(),
        });
        let secure = if acceptor.is_some() { "s" } else { "" };
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let planned = config.faults.clone();
        let run_for = config.run_for;
        let hub = Arc::new(Hub::new(config, format!("ws{secure}://{host}"), unix_ms));
        let mut tasks = vec![
            tokio::spawn(accept(Arc::clone(&hub), listener, acceptor)),
            tokio::spawn(traffic(Arc::clone(&hub))),
            tokio::spawn(sweep(Arc::clone(&hub))),
        ];
        let began = Instant::now();
        for fault in planned {
            tasks.push(tokio::spawn(carry_out(Arc::clone(&hub), fault, began)));
        }
        if let Some(time) = run_for {
            let hub = Arc::clone(&hub);
            tasks.push(tokio::spawn(async move {
                tokio::time::sleep(time).await;
                hub.stop.cancel();
            }));
        }
        Ok(SimHandle { hub, addr, api_url: format!("http{secure}://{host}/api/v10"), tasks })
    }
}

impl SimHandle {
    /// Where REST is: the base address with the API version.
    pub fn api_url(&self) -> &str {
        &self.api_url
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The bots' user ids, in the order of the configuration.
    pub fn bot_ids(&self) -> Vec<u64> {
        self.hub.world.bots.iter().map(|bot| bot.id).collect()
    }

    /// The guilds' ids; bot `b` has the `b`-th portion of equal size.
    pub fn guild_ids(&self) -> Vec<u64> {
        self.hub.guild_ids.to_vec()
    }

    /// Does a fault now. Answers how many connections it hit.
    pub fn fault(&self, fault: &Fault) -> u64 {
        self.hub.inject(fault)
    }

    /// Does faults by a schedule that counts from `since` (what lies before now is done at once), until the answer is dropped.
    pub fn schedule(&self, plan: Vec<Planned>, since: Instant) -> Schedule {
        let hub = &self.hub;
        Schedule { tasks: plan.into_iter().map(|planned| tokio::spawn(carry_out(Arc::clone(hub), planned, since))).collect() }
    }

    /// Ends every lasting fault now: what was held back flows, guilds come back.
    pub fn calm(&self) {
        self.hub.calm();
    }

    /// Emits `count` events of the mix, or of one kind, in any guild or in one. Kinds that the world does not allow at the moment
    /// are replaced by the one that must come first (a creation before an update). GUILD_DELETE: the bot leaves the guild, in which
    /// nothing happens then until GUILD_CREATE, with which it joins again.
    pub fn emit(&self, count: u64, kind: Option<Kind>, guild_id: Option<u64>) {
        let guild = guild_id.and_then(|id| self.hub.world.guild_by_id(id));
        control::emit_many(&self.hub, count, kind, guild);
    }

    /// Emits an event with this name and payload to the bot's sessions that cover `d.guild_id`, or to shard index `shard`.
    pub fn emit_given(&self, bot: usize, name: &str, d: serde_json::Value, shard: Option<u32>) {
        let id = d.get("guild_id").and_then(|id| id.as_u64().or_else(|| id.as_str()?.parse().ok()));
        let guild = id.and_then(|id| self.hub.world.guild_by_id(id)).unwrap_or(NO_GUILD);
        if bot < self.hub.world.bots.len() {
            control::give(&self.hub, bot, name, d, guild, shard);
        }
    }

    /// Stops the traffic until [`SimHandle::resume`].
    pub fn pause(&self) {
        self.hub.paused.store(true, Ordering::Relaxed);
    }

    /// Lets the traffic go on.
    pub fn resume(&self) {
        self.hub.paused.store(false, Ordering::Relaxed);
    }

    /// What happened so far.
    pub fn report(&self) -> Report {
        self.hub.report()
    }

    /// What every session was sent, for comparison with what arrived. Copies the record: not for every second.
    pub fn sent(&self) -> Vec<SentSession> {
        self.hub.sent()
    }

    /// A connection in memory, with the client's end as the answer: HTTP and websockets as over TCP, without TLS. For tests on
    /// virtual time.
    pub fn connect(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(256 * 1024);
        let io = Io::new(Stream::Memory(server));
        tokio::spawn(http::serve(Arc::clone(&self.hub), io));
        client
    }

    /// Waits until it has stopped (by its configured time, or by `stop` from elsewhere).
    pub async fn finished(&self) {
        self.hub.stop.cancelled().await;
    }

    /// Ends all connections and tasks. The report stays readable.
    pub async fn stop(mut self) -> Report {
        self.hub.stop.cancel();
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await;
        }
        self.hub.report()
    }
}

impl Drop for SimHandle {
    fn drop(&mut self) {
        self.hub.stop.cancel();
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, StartError> {
    let wrong = |error: &dyn std::fmt::Display| StartError::Tls(error.to_string());
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(tls.cert_pem.as_bytes()).collect::<Result<_, _>>().map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::from_pem_slice(tls.key_pem.as_bytes()).map_err(|error| wrong(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| wrong(&error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(hub: Arc<Hub>, listener: TcpListener, acceptor: Option<TlsAcceptor>) {
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file handles, for example: others may end meanwhile.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if hub.refuses() {
            let _ = stream.set_zero_linger();
            continue;
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let hub = Arc::clone(&hub);
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            serve_tcp(hub, stream, acceptor).await;
            drop(place);
        });
    }
}

async fn serve_tcp(hub: Arc<Hub>, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
    let _ = stream.set_nodelay(true);
    let stream = match acceptor {
        None => Stream::Tcp(stream),
        Some(acceptor) => match tokio::time::timeout(Duration::from_secs(10), acceptor.accept(stream)).await {
            Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
            _ => return,
        },
    };
    http::serve(hub, Io::new(stream)).await;
}

/// Makes the world's traffic, `rate` events per second.
async fn traffic(hub: Arc<Hub>) {
    if hub.config.rate <= 0.0 {
        return;
    }
    if hub.config.wait_for_first_session {
        hub.first_session.notified().await;
    }
    let mut tick = tokio::time::interval(TRAFFIC_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    let mut owed = 0.0;
    loop {
        tick.tick().await;
        let now = Instant::now();
        let passed = (now - last).as_secs_f64();
        last = now;
        if hub.paused.load(Ordering::Relaxed) {
            owed = 0.0;
            continue;
        }
        // After a stall of the whole process the missed second is made up for, not the missed minute.
        owed += passed.min(1.0) * hub.config.rate;
        while owed >= 1.0 {
            let portion = (owed as u64).min(PORTION_MAX);
            control::emit_many(&hub, portion, None, None);
            owed -= portion as f64;
            tokio::task::yield_now().await;
        }
    }
}

async fn sweep(hub: Arc<Hub>) {
    let mut tick = tokio::time::interval(SWEEP_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        hub.sweep();
    }
}

async fn carry_out(hub: Arc<Hub>, planned: Planned, since: Instant) {
    let mut at = since + planned.at;
    loop {
        tokio::select! {
            () = hub.stop.cancelled() => return,
            () = tokio::time::sleep_until(at) => {}
        }
        hub.inject(&planned.fault);
        match planned.every {
            Some(every) => at += every,
            None => return,
        }
    }
}

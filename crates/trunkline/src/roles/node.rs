//! The node: everything one process runs, put together; start in one order, stop in another.
//!
//! Start: store, groups' tokens, ports, cores, doors, admin, bots. Stop: sockets (no more reading), acknowledgements (at most 5 s),
//! last checkpoint, store. `docs/operating/stopping.md` says what that promises.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use trunkline_delivery::{GroupId, GroupSpec};
use trunkline_discord::{Encoding, ShardId};
use trunkline_doors::look::LOOKS_QUEUED;
use trunkline_doors::members::MemberCalls;
use trunkline_doors::state::{Format, Live, StateOptions};
use trunkline_doors::{
    Access, CoreLink, Directory, DoorOptions, Group, GroupToken as DoorToken, Groups, Looker, Lookups, ServeOptions, WorkerDoor, serve,
};
use trunkline_gateway::Clock;
use trunkline_store::{Options, Store, SyncPolicy};

use super::admin;
use super::bots::{self, BotState};
use super::core::{COMMANDS_QUEUED, CoreChannels, CoreInput, CoreReport, CoreSetup, ShardStart, run_core};
use super::falls::{self, Falls};
use super::keeper::{Keeper, KeeperThreads};
use super::members::{self, MemberTasks};
use super::removed::Removed;
use super::unconsumed;
use crate::commands::reach::At;
use crate::config::{Config, GroupToken, Sync};

/// How long a stop waits for sockets to close, beside the doors' own 5 s for acknowledgements.
const SOCKETS_CLOSE: Duration = Duration::from_secs(3);

/// How long a stop waits for the last checkpoint.
const LAST_CHECKPOINT: Duration = Duration::from_secs(20);

/// How long a core may take to tell how it stands.
const REPORT_PATIENCE: Duration = Duration::from_secs(2);

/// Why a node did not start: one plain line that says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// How a stop went.
#[derive(Debug, Clone)]
pub struct Stopped {
    /// Every worker had acknowledged what it held.
    pub acknowledged: bool,
    /// The last checkpoint was written; else why not.
    pub saved: Result<(), String>,
    /// How long it took.
    pub took: Duration,
}

/// What roles of a node share; cheap to clone.
#[derive(Clone)]
pub struct Shared {
    /// The configuration.
    pub config: Arc<Config>,
    /// The process's clock.
    pub clock: Clock,
    /// The cores' inputs, by core.
    pub cores: Arc<[mpsc::UnboundedSender<CoreInput>]>,
    /// The store's threads.
    pub keeper: Keeper,
    /// The worker door.
    pub door: WorkerDoor,
    /// The way to the caches, with the directory of bots and shards.
    pub looker: Looker,
    /// Who may ask what.
    pub access: Access,
    /// Bots as they stand.
    pub bots: Arc<std::sync::Mutex<BTreeMap<usize, BotState>>>,
    /// Shards that have been ready once.
    pub ready: Arc<AtomicU64>,
    /// Shards placed so far, over all bots.
    pub placed: Arc<AtomicU64>,
    /// Who asks Discord for members.
    pub members: MemberTasks,
    /// What groups lost because they fell behind.
    pub falls: Arc<Falls>,
    /// What groups and bots that were taken out of the configuration had left.
    pub removed: Arc<Removed>,
    /// Where commands reach this process.
    pub at: At,
    /// Which core has which shard.
    pub cores_of: Arc<std::sync::Mutex<BTreeMap<ShardId, usize>>>,
    /// Unix time of the start in milliseconds.
    pub started_unix_ms: u64,
}

impl Shared {
    /// The bots as they stand, in the order of the configuration.
    #[must_use]
    pub fn bots(&self) -> Vec<BotState> {
        self.bots.lock().map(|bots| bots.values().cloned().collect()).unwrap_or_default()
    }

    /// Hands a shard to the next core, in turn over all bots, so that many small bots spread too. False when the core has ended.
    #[must_use]
    pub fn place_shard(&self, start: ShardStart) -> bool {
        let turn = self.placed.fetch_add(1, Ordering::Relaxed);
        let core = usize::try_from(turn).unwrap_or(0) % self.cores.len();
        if let Ok(mut cores_of) = self.cores_of.lock() {
            cores_of.insert(start.shard, core);
        }
        if start.driver.is_some() {
            self.looker.directory().place(start.shard, core);
        }
        self.cores[core].send(CoreInput::Add(Box::new(start))).is_ok()
    }

    /// The way to a shard's core.
    #[must_use]
    pub fn core_of(&self, shard: ShardId) -> Option<&mpsc::UnboundedSender<CoreInput>> {
        let core = *self.cores_of.lock().ok()?.get(&shard)?;
        self.cores.get(core)
    }

    /// Asks every core how it stands; one that does not answer in time is left out.
    pub async fn reports(&self) -> Vec<CoreReport> {
        let mut waiting = Vec::new();
        for core in self.cores.iter() {
            let (answer, report) = oneshot::channel();
            if core.send(CoreInput::Report(answer)).is_ok() {
                waiting.push(report);
            }
        }
        let mut reports = Vec::new();
        for report in waiting {
            if let Ok(Ok(report)) = tokio::time::timeout(REPORT_PATIENCE, report).await {
                reports.push(report);
            }
        }
        reports
    }
}

/// A running node.
pub struct Node {
    shared: Shared,
    clients: SocketAddr,
    admin: SocketAddr,
    token_files: Vec<(Arc<str>, PathBuf)>,
    tokens: Vec<(Arc<str>, GroupToken)>,
    cores: Vec<std::thread::JoinHandle<()>>,
    keeper_threads: KeeperThreads,
    store: Arc<Store>,
    serving: Vec<JoinHandle<()>>,
    bots: JoinSet<()>,
    stop: watch::Sender<bool>,
    all_failed: watch::Receiver<Option<String>>,
}

impl Node {
    /// Starts everything and returns as soon as clients can connect; bots come up in the background.
    ///
    /// # Errors
    /// [`StartError`] with what to do: store in use or damaged, port taken, and the like.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let clock = Clock::new();
        let store = open_store(&config).await?;
        let (groups, tokens, token_files) = groups(&config)?;
        let clients = listen(config.listen.clients, "listen.clients", "--clients").await?;
        let admin_listener = listen(config.listen.admin, "listen.admin", "--admin").await?;
        let (clients_at, admin_at) = (local(&clients)?, local(&admin_listener)?);

        let (keeper, keeper_threads) =
            Keeper::start(store.clone()).map_err(|error| StartError(format!("cannot start the store's threads: {error}")))?;
        let ready = Arc::new(AtomicU64::new(0));
        let core_count = config.cores.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let specs = specs(&config);
        let placed = Arc::new(AtomicU64::new(0));
        let falls = Arc::new(Falls::new(config.groups.len()));
        let mut links = Vec::new();
        let mut look_links = Vec::new();
        let mut inputs = Vec::new();
        let mut cores = Vec::new();
        for core in 0..core_count {
            let (command_tx, commands) = mpsc::channel(COMMANDS_QUEUED);
            let (look_tx, looks) = mpsc::channel(LOOKS_QUEUED);
            look_links.push(look_tx);
            let (input_tx, input_rx) = mpsc::unbounded_channel();
            links.push(CoreLink { commands: command_tx });
            inputs.push(input_tx.clone());
            let setup = CoreSetup {
                core,
                groups: specs.clone(),
                keeper: keeper.clone(),
                clock,
                hash_seed: seed(&clock, core),
                ready: ready.clone(),
                placed: placed.clone(),
                falls: falls.clone(),
                unsaved_bytes: config.store.unsaved_bytes,
            };
            let channels = CoreChannels { commands, looks, inputs: input_rx, answers: input_tx };
            cores.push(spawn_core(core, setup, channels)?);
        }

        let anonymous = config.listen.anonymous || config.listen.clients.ip().is_loopback();
        let access = Access::new(&groups, config.groups.iter().map(|group| &group.filter), anonymous);
        let door = WorkerDoor::new(groups, links, DoorOptions::default());
        let looker = Looker::new(Directory::new(config.bots.len()), look_links);
        let (failed_tx, all_failed) = watch::channel(None);
        let shared = Shared {
            started_unix_ms: clock.unix_ms(),
            config: Arc::new(config),
            clock,
            cores: inputs.into(),
            keeper,
            door: door.clone(),
            looker: looker.clone(),
            access: access.clone(),
            bots: Arc::default(),
            ready,
            placed,
            falls,
            members: MemberTasks::default(),
            removed: Arc::default(),
            at: At { clients: clients_at, admin: admin_at },
            cores_of: Arc::default(),
        };
        let (stop, stopping) = watch::channel(false);
        let mut serving = Vec::new();
        let state_options = StateOptions {
            format: if shared.config.state.encoding == Encoding::Etf { Format::Etf } else { Format::Json },
            version: env!("CARGO_PKG_VERSION").to_owned(),
            access: access.clone(),
        };
        let extras = trunkline_doors::state::routes(Arc::new(Live::new(looker.clone())), state_options);
        looker.ask_members_of(Arc::new(shared.members.clone()));
        let lookups = Lookups::new(looker, access);
        let management = MemberCalls::new(lookups.clone(), Arc::new(members::Source::new(shared.clone())), env!("CARGO_PKG_VERSION"));
        let app = trunkline_doors::serve::routes(&door, Some(&lookups), extras.merge(management.routes()))
            .await
            .map_err(|error| StartError(format!("the clients' port cannot be set up: {error}")))?;
        serving.push(tokio::spawn({
            let mut stopping = stopping.clone();
            let stats = door.stats();
            async move {
                // The sender lives in the node; if it is gone, so is the reason to serve.
                let until = async move { stopping.wait_for(|stop| *stop).await.map(|_| ()).unwrap_or_default() };
                serve(clients, app, stats, ServeOptions::default(), until).await;
            }
        }));
        serving.push(tokio::spawn(admin::serve(admin_listener, shared.clone(), stopping.clone())));
        serving.push(tokio::spawn(falls::watch(shared.clone(), stopping.clone())));
        serving.push(tokio::spawn(unconsumed::watch(shared.clone(), stopping)));
        let bots = bots::start(&shared, failed_tx);
        Ok(Self {
            shared,
            clients: clients_at,
            admin: admin_at,
            token_files,
            tokens,
            cores,
            keeper_threads,
            store,
            serving,
            bots,
            stop,
            all_failed,
        })
    }

    /// What roles share.
    #[must_use]
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Where clients connect.
    #[must_use]
    pub fn clients(&self) -> SocketAddr {
        self.clients
    }

    /// Where metrics, health and status are.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Groups whose token was made or found in the store, with the file.
    #[must_use]
    pub fn token_files(&self) -> &[(Arc<str>, PathBuf)] {
        &self.token_files
    }

    /// A group's token, for workers in the same process.
    #[must_use]
    pub fn token(&self, group: &str) -> Option<&GroupToken> {
        self.tokens.iter().find(|(name, _)| &**name == group).map(|(_, token)| token)
    }

    /// Returns when every bot has failed for good, with the reason.
    pub async fn all_bots_failed(&self) -> String {
        let mut failed = self.all_failed.clone();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The sender lives in the bots' task, which ends only with the node.
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops so that nothing is lost: sockets closed for resuming, acknowledgements awaited, last checkpoint written.
    pub async fn stop(mut self) -> Stopped {
        let began = tokio::time::Instant::now();
        // No shard may come up any more: it would identify for nothing.
        self.bots.shutdown().await;
        let mut closing = Vec::new();
        for core in self.shared.cores.iter() {
            let (done, closed) = oneshot::channel();
            if core.send(CoreInput::CloseSockets(done)).is_ok() {
                closing.push(closed);
            }
        }
        for closed in closing {
            // A socket that does not close in time dies with the process; its session stays resumable all the same.
            drop(tokio::time::timeout(SOCKETS_CLOSE, closed).await);
        }
        let acknowledged = self.shared.door.stop().await;
        self.stop.send_replace(true);
        let mut saving = Vec::new();
        for core in self.shared.cores.iter() {
            let (done, saved) = oneshot::channel();
            if core.send(CoreInput::Finish(done)).is_ok() {
                saving.push(saved);
            }
        }
        let mut saved = Ok(());
        for done in saving {
            match tokio::time::timeout(LAST_CHECKPOINT, done).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(text))) => saved = Err(text),
                Ok(Err(_)) => saved = Err("a core ended before its last checkpoint".to_owned()),
                Err(_) => saved = Err(format!("the store did not take the last checkpoint within {} s", LAST_CHECKPOINT.as_secs())),
            }
        }
        let Self { shared, cores, keeper_threads, store, serving, .. } = self;
        // Every task that holds the store is ended, so that it can be closed.
        for mut task in serving {
            if tokio::time::timeout(Duration::from_secs(1), &mut task).await.is_err() {
                task.abort();
                drop(task.await);
            }
        }
        let keeper = shared.keeper.clone();
        drop(shared);
        let joined = tokio::task::spawn_blocking(move || {
            for core in cores {
                // A core that panicked has been told on standard error.
                drop(core.join());
            }
            keeper.stop();
            keeper_threads.join();
            store
        })
        .await;
        if let Ok(store) = joined
            && let Ok(store) = Arc::try_unwrap(store)
            && let Err(error) = store.close()
        {
            saved = Err(error.to_string());
        }
        Stopped { acknowledged, saved, took: began.elapsed() }
    }
}

fn seed(clock: &Clock, core: usize) -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one((clock.unix_us(), core))
}

fn spawn_core(core: usize, setup: CoreSetup, channels: CoreChannels) -> Result<std::thread::JoinHandle<()>, StartError> {
    std::thread::Builder::new()
        .name(format!("core-{core}"))
        .spawn(move || {
            let runtime =
                match tokio::runtime::Builder::new_current_thread().enable_all().build_local(tokio::runtime::LocalOptions::default()) {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        tracing::error!(core, "the core's runtime did not start: {error}");
                        return;
                    }
                };
            runtime.block_on(run_core(setup, channels));
        })
        .map_err(|error| StartError(format!("cannot start core {core}'s thread: {error}")))
}

async fn open_store(config: &Config) -> Result<Arc<Store>, StartError> {
    let (path, url) = (config.store.path.clone(), config.store.url.clone());
    let sync = match config.store.sync {
        Sync::Always => SyncPolicy::Always,
        Sync::Every(every) => SyncPolicy::Every(every),
        Sync::Never => SyncPolicy::Never,
    };
    let opened = tokio::task::spawn_blocking(move || {
        let options = Options { sync, rows: Some(super::rows::CODEC), ..Options::default() };
        match url {
            Some(url) => Store::connect(url.expose(), options),
            None => Store::open(&path, options),
        }
    })
    .await;
    let store =
        opened.map_err(|error| StartError(format!("opening the store failed: {error}")))?.map_err(|error| StartError(error.to_string()))?;
    let recovery = store.recovery();
    if recovery.journal_bytes_cut > 0 || recovery.commits_replayed > 0 {
        tracing::info!(
            commits = recovery.commits_replayed,
            bytes_cut = recovery.journal_bytes_cut,
            "the last process did not close the store; its checkpoints were taken from the journal"
        );
    }
    Ok(Arc::new(store))
}

type GroupSetup = (Groups, Vec<(Arc<str>, GroupToken)>, Vec<(Arc<str>, PathBuf)>);

fn groups(config: &Config) -> Result<GroupSetup, StartError> {
    let mut groups = Vec::new();
    let mut tokens = Vec::new();
    let mut files = Vec::new();
    for (index, group) in config.groups.iter().enumerate() {
        let token = match &group.token {
            Some(token) => token.clone(),
            None => {
                let path = config.store.path.join(format!("{}.token", group.name));
                let token = token_file(&path).map_err(|error| {
                    StartError(format!("the token of group {} cannot be kept in {}: {error}", group.name, path.display()))
                })?;
                files.push((group.name.clone(), path));
                token
            }
        };
        groups.push(Group { id: group_id(index), name: group.name.clone(), token: DoorToken::new(token.expose()) });
        tokens.push((group.name.clone(), token));
    }
    let groups = Groups::new(groups).map_err(|error| StartError(error.to_string()))?;
    Ok((groups, tokens, files))
}

fn group_id(index: usize) -> GroupId {
    // At most 64 groups pass the configuration.
    GroupId(u32::try_from(index).unwrap_or(u32::MAX))
}

/// Reads a group's token from the store, or makes one (256 random bits) that only this user can read.
fn token_file(path: &Path) -> std::io::Result<GroupToken> {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(GroupToken::new(&text)),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if let Some(dir) = path.parent() {
        // With a database there is no directory yet.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mut random = [0_u8; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    writeln!(file, "{token}")?;
    Ok(GroupToken::new(&token))
}

/// The groups as each hub gets them, with the limits of the whole process; a core takes its part by its shards.
fn specs(config: &Config) -> Vec<GroupSpec> {
    config
        .groups
        .iter()
        .enumerate()
        .map(|(index, group)| GroupSpec {
            id: group_id(index),
            name: group.name.clone(),
            filter: group.filter.clone(),
            limits: group.limits,
        })
        .collect()
}

async fn listen(address: SocketAddr, key: &str, flag: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| {
        StartError(match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!("{address} is taken by another program; stop it, or choose another address with {key} or {flag}")
            }
            std::io::ErrorKind::AddrNotAvailable => format!("{address} is not an address of this machine; correct {key} or {flag}"),
            std::io::ErrorKind::PermissionDenied => {
                format!("this user may not listen on {address}; choose a port above 1023 with {key} or {flag}")
            }
            _ => format!("cannot listen on {address} ({key}): {error}"),
        })
    })
}

fn local(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| StartError(format!("a listening socket has no address: {error}")))
}

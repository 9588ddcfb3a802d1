//! The store in a PostgreSQL database.
//!
//! The face is the embedded store's: every call blocks. Behind it a thread of its own runs the connections: one that writes, alone, under
//! an advisory lock that keeps a second process out, and others that read. A commit is one transaction: its statements are sent without
//! waiting for each other (many rows a statement, by arrays), all answers are looked at, then it is committed. A commit with an epoch
//! below the stored one changes nothing: the transaction itself looks.
//!
//! # When the server is away
//! A commit fails at once or after a limit, and the caller tries again; attempts to connect are spaced out. What a commit has returned is
//! on the server's disk (with [`SyncPolicy::Never`]: within a second). Reads at start are tried again for [`LOAD_PATIENCE`], so that a
//! server that restarts while this process starts costs seconds, not the session.

mod address;
mod call;
mod commit;
mod copy;
mod link;
mod log;
mod read;
mod schema;
mod state;
mod tables;
mod tls;
mod work;
mod written;

pub use address::Address;
pub use schema::Migrated;
pub use state::{Homes, Known, Objects, StateError, StateReader, Threads};

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::{OpenError, Options, Place, Recovery, ShardKey, StoreError, SyncPolicy, Usage};
use link::{Conn, Fault, Session};
use log::Shard;

/// How long a server that is not there is waited for when the store is opened.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);
/// How long reads at start are tried again.
pub(crate) const LOAD_PATIENCE: Duration = Duration::from_secs(30);
/// The same for small rows that somebody waits for while the process runs.
pub(crate) const ROW_PATIENCE: Duration = Duration::from_secs(5);
/// How long a lock that a dead process of this machine still holds is waited for: its server process ends soon.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause between two attempts to connect.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Threads that make rows ready to be sent (and ask for the server's address): one, since events have the machine first.
const MAKERS: usize = 1;
/// How often it is told that a table refuses rows.
const REFUSED_TOLD_EVERY: Duration = Duration::from_secs(60);
/// How old the size of the database may be.
const USAGE_AGE: Duration = Duration::from_secs(60);

/// An open store in PostgreSQL.
pub(crate) struct Postgres {
    inner: Arc<Inner>,
    recovery: Recovery,
    handle: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

pub(crate) struct Inner {
    address: Address,
    options: Options,
    instance: String,
    /// Whoever has it is the only one that writes.
    writer: tokio::sync::Mutex<Option<Arc<Conn>>>,
    reader: tokio::sync::Mutex<Option<Arc<Conn>>>,
    shards: Mutex<HashMap<ShardKey, Shard>>,
    /// The shard count that `bots` has.
    counts: Mutex<HashMap<u64, u32>>,
    pause: Mutex<Pause>,
    /// When it was last told that a table refuses a row.
    refused_at: Mutex<Option<Instant>>,
    size: AtomicU64,
    size_at: Mutex<Option<Instant>>,
    sizing: AtomicBool,
}

/// Attempts to connect are spaced out while they fail.
#[derive(Default)]
struct Pause {
    failures: u32,
    until: Option<Instant>,
    why: String,
}

enum Held {
    Ours,
    By { pid: u32, host: String },
}

impl Postgres {
    pub(crate) fn connect(url: &str, options: Options) -> Result<Postgres, OpenError> {
        let address = Address::parse(url)?;
        let (handle, stop, thread) = start_runtime(&address)?;
        let started = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let inner = Arc::new(Inner {
            address,
            options,
            instance: format!("{}-{}", std::process::id(), started.as_nanos()),
            writer: tokio::sync::Mutex::default(),
            reader: tokio::sync::Mutex::default(),
            shards: Mutex::default(),
            counts: Mutex::default(),
            pause: Mutex::default(),
            refused_at: Mutex::default(),
            size: AtomicU64::new(0),
            size_at: Mutex::default(),
            sizing: AtomicBool::new(false),
        });
        let mut store = Postgres { inner, recovery: Recovery::default(), handle, stop: Some(stop), thread: Some(thread) };
        let inner = store.inner.clone();
        let opened = store.run(async move { Ok(inner.open().await) });
        store.recovery = match opened {
            Ok(opened) => opened?,
            Err(error) => return Err(OpenError::Server { server: store.inner.address.shown().to_owned(), why: error.to_string() }),
        };
        Ok(store)
    }

    pub(crate) fn server(&self) -> &str {
        self.inner.address.shown()
    }

    pub(crate) fn recovery(&self) -> Recovery {
        self.recovery
    }

    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    pub(crate) fn usage(&self) -> Usage {
        let shards = lock(&self.inner.shards);
        let old = lock(&self.inner.size_at).is_none_or(|at| at.elapsed() > USAGE_AGE);
        if old && !self.inner.sizing.swap(true, Ordering::Relaxed) {
            let inner = self.inner.clone();
            self.handle.spawn(async move {
                // A server that is away has no size; the last one known stands.
                if let Ok(size) = inner.measure().await {
                    inner.size.store(size, Ordering::Relaxed);
                }
                *lock(&inner.size_at) = Some(Instant::now());
                inner.sizing.store(false, Ordering::Relaxed);
            });
        }
        Usage {
            state_bytes: self.inner.size.load(Ordering::Relaxed),
            journal_bytes: 0,
            segment_bytes: shards.values().flat_map(|shard| shard.index.values()).map(|segment| segment.bytes).sum(),
            segments: shards.values().map(|shard| shard.index.len() as u64).sum(),
        }
    }

    pub(crate) fn close(mut self) -> Result<(), StoreError> {
        self.leave();
        Ok(())
    }

    /// Runs a job on the connections' thread, and waits for it. May be called from anywhere.
    fn run<T: Send + 'static>(&self, job: impl Future<Output = Result<T, StoreError>> + Send + 'static) -> Result<T, StoreError> {
        let (answer, wait) = std::sync::mpsc::sync_channel(1);
        self.handle.spawn(async move {
            // Whoever asked waits.
            drop(answer.send(job.await));
        });
        wait.recv().unwrap_or_else(|_| {
            Err(StoreError::Server { server: self.server().to_owned(), why: "the thread of its connections has ended".to_owned() })
        })
    }

    /// Gives the lock back and ends the thread.
    fn leave(&mut self) {
        let Some(stop) = self.stop.take() else { return };
        let inner = self.inner.clone();
        // Where it fails the connection's end gives the lock back too.
        drop(self.run(async move {
            drop(tokio::time::timeout(Duration::from_secs(2), inner.unlock()).await);
            Ok(())
        }));
        stop.send(()).ok();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.leave();
    }
}

type Running = (tokio::runtime::Handle, oneshot::Sender<()>, JoinHandle<()>);

fn start_runtime(address: &Address) -> Result<Running, OpenError> {
    let failed = |error: std::io::Error| OpenError::Server {
        server: address.shown().to_owned(),
        why: format!("the thread of its connections cannot be started: {error}"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(MAKERS).build().map_err(failed)?;
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let run = move || {
        // The sender is dropped with the store at the latest.
        drop(runtime.block_on(stopped));
    };
    let thread = std::thread::Builder::new().name("store-postgres".into()).spawn(run).map_err(failed)?;
    Ok((handle, stop, thread))
}

impl Inner {
    async fn open(&self) -> Result<Recovery, OpenError> {
        let began = Instant::now();
        let mut told = false;
        let conn = loop {
            match Conn::open(&self.address, self.session()).await {
                Ok(conn) => break conn,
                Err(fault) if fault.passes() && began.elapsed() < OPEN_PATIENCE => {
                    if !std::mem::replace(&mut told, true) {
                        let why = self.address.scrub(fault.why);
                        tracing::warn!(server = %self.address, "the store cannot be reached, trying for {} s: {why}", OPEN_PATIENCE.as_secs());
                    }
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                Err(fault) => return Err(fault.open_error(&self.address)),
            }
        };
        // A newer set of tables may have another lock.
        let found = schema::version(&conn).await.map_err(|fault| fault.open_error(&self.address))?;
        schema::refuse_newer(found.unwrap_or(0), &self.address)?;
        if found.is_some() {
            self.lock_or_refuse(&conn).await?;
        }
        let migrated = schema::migrate(&conn, &self.address).await?;
        if found.is_none() {
            self.lock_or_refuse(&conn).await?;
        }
        *self.writer.lock().await = Some(Arc::new(conn));
        Ok(Recovery { created: migrated.from == 0, ..Recovery::default() })
    }

    fn session(&self) -> Session {
        Session { asynchronous: self.options.sync == SyncPolicy::Never, ..Session::WRITER }
    }

    async fn lock_or_refuse(&self, conn: &Conn) -> Result<(), OpenError> {
        let began = Instant::now();
        loop {
            match self.take_lock(conn).await.map_err(|fault| fault.open_error(&self.address))? {
                Held::Ours => return Ok(()),
                // A killed process of this machine: its server process notices within a second or so.
                Held::By { pid, host } if host == host_name() && !alive(pid) && began.elapsed() < LOCK_PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Held::By { pid, host } => {
                    return Err(OpenError::ServerInUse { server: self.address.shown().to_owned(), pid, host });
                }
            }
        }
    }

    /// Tries to become the one process that writes.
    async fn take_lock(&self, conn: &Conn) -> Result<Held, Fault> {
        if !conn.one("SELECT pg_try_advisory_lock(hashtext('trunkline'), hashtext('owner'))", &[]).await?.get::<_, bool>(0) {
            let rows = conn.query("SELECT pid, host, instance, backend FROM trunkline.owner", &[]).await?;
            let Some(row) = rows.first() else { return Ok(Held::By { pid: 0, host: "another machine".to_owned() }) };
            if row.get::<_, String>(2) == self.instance {
                // Our own connection from before, whose end the server has not noticed.
                conn.execute("SELECT pg_terminate_backend($1)", &[(&row.get::<_, i32>(3), tokio_postgres::types::Type::INT4)]).await?;
                return Err(Fault::away("the server still holds the connection from before"));
            }
            return Ok(Held::By { pid: u32::try_from(row.get::<_, i64>(0)).unwrap_or(0), host: row.get(1) });
        }
        use tokio_postgres::types::Type;
        conn.execute(
            "INSERT INTO trunkline.owner (pid, host, instance, backend) VALUES ($1, $2, $3, $4) ON CONFLICT (only_one) DO UPDATE SET \
             pid = excluded.pid, host = excluded.host, instance = excluded.instance, backend = excluded.backend, started_at = now()",
            &[
                (&i64::from(std::process::id()), Type::INT8),
                (&host_name(), Type::TEXT),
                (&self.instance, Type::TEXT),
                (&conn.backend, Type::INT4),
            ],
        )
        .await?;
        Ok(Held::Ours)
    }

    async fn unlock(&self) {
        let writer = self.writer.lock().await.take();
        if let Some(conn) = writer {
            // The connection ends right after.
            drop(conn.batch("SELECT pg_advisory_unlock_all()").await);
        }
        self.reader.lock().await.take();
    }

    /// The connection that writes; made anew where it has broken.
    async fn writer(&self, slot: &mut Option<Arc<Conn>>) -> Result<Arc<Conn>, Fault> {
        if let Some(conn) = slot
            && !conn.is_closed()
        {
            return Ok(conn.clone());
        }
        *slot = None;
        // What is known of the shards may be less than what a commit whose answer was lost has stored.
        lock(&self.shards).clear();
        lock(&self.counts).clear();
        let conn = self.spaced(async {
            let conn = Conn::open(&self.address, self.session()).await?;
            match self.take_lock(&conn).await? {
                Held::Ours => Ok(conn),
                Held::By { pid, host } => {
                    Err(Fault::away(format!("the process with pid {pid} on {host} has taken the database over meanwhile")))
                }
            }
        });
        let conn = Arc::new(conn.await?);
        *slot = Some(conn.clone());
        Ok(conn)
    }

    async fn reader(&self) -> Result<Arc<Conn>, Fault> {
        let mut slot = self.reader.lock().await;
        if let Some(conn) = &*slot
            && !conn.is_closed()
        {
            return Ok(conn.clone());
        }
        let conn = Arc::new(self.spaced(Conn::open(&self.address, Session::READER)).await?);
        *slot = Some(conn.clone());
        Ok(conn)
    }

    /// Connects, unless the last attempt failed a moment ago.
    async fn spaced(&self, connect: impl Future<Output = Result<Conn, Fault>>) -> Result<Conn, Fault> {
        {
            let pause = lock(&self.pause);
            if pause.until.is_some_and(|until| Instant::now() < until) {
                return Err(Fault::away(pause.why.clone()));
            }
        }
        let connected = connect.await;
        let mut pause = lock(&self.pause);
        match &connected {
            Ok(_) => *pause = Pause::default(),
            Err(fault) => {
                pause.failures += 1;
                let wait = Duration::from_millis(100 << pause.failures.min(6)).min(PAUSE_MAX);
                pause.until = Some(Instant::now() + wait);
                pause.why.clone_from(&fault.why);
            }
        }
        connected
    }

    /// Runs a job on the writer, alone. It is left in no transaction, or dropped.
    async fn write<T, F: Future<Output = Result<T, Fault>>>(&self, job: impl FnOnce(Arc<Conn>) -> F) -> Result<T, Fault> {
        let mut slot = self.writer.lock().await;
        let conn = self.writer(&mut slot).await?;
        let done = job(conn.clone()).await;
        if let Err(fault) = &done {
            // What the server has now is read again when it is next needed.
            lock(&self.shards).clear();
            lock(&self.counts).clear();
            let rolled_back = !fault.passes() && conn.batch("ROLLBACK").await.is_ok();
            if !rolled_back {
                *slot = None;
            }
        }
        done
    }

    /// Runs a job on a reader.
    async fn read<T, F: Future<Output = Result<T, Fault>>>(&self, job: impl FnOnce(Arc<Conn>) -> F) -> Result<T, Fault> {
        let conn = self.reader().await?;
        let done = job(conn.clone()).await;
        if done.as_ref().is_err_and(|fault| fault.passes()) {
            let mut slot = self.reader.lock().await;
            if slot.as_ref().is_some_and(|held| Arc::ptr_eq(held, &conn)) {
                *slot = None;
            }
        }
        done
    }

    /// Tries again while the server is away, for a while.
    async fn patiently<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        patience: Duration,
        mut job: impl FnMut() -> F,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        loop {
            match job().await {
                Err(fault) if fault.passes() && began.elapsed() < patience => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                done => return done.map_err(|fault| fault.store_error(&self.address)),
            }
        }
    }

    /// Says that a table refuses a row, once a minute: the row may change several times a second.
    fn tell_refused(&self, place: Place, fault: Fault) {
        let mut refused_at = lock(&self.refused_at);
        if refused_at.is_none_or(|at| at.elapsed() > REFUSED_TOLD_EVERY) {
            *refused_at = Some(Instant::now());
            let (server, table, why) = (&self.address, place.table.name(), self.address.scrub(fault.why));
            tracing::warn!(%server, table, guild = place.guild_id, id = place.id, "the table refuses a row, which is kept as bytes instead: {why}");
        }
    }

    async fn measure(&self) -> Result<u64, Fault> {
        self.read(async |conn: Arc<Conn>| {
            let sum = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c \
                       WHERE c.relnamespace = to_regnamespace('trunkline') AND c.relkind = 'r'";
            Ok(u64::try_from(conn.one(sum, &[]).await?.get::<_, i64>(0)).unwrap_or(0))
        })
        .await
    }
}

/// Brings the tables of a database to the version that this program knows; blocks.
///
/// # Errors
/// [`OpenError`], which says what to do.
pub fn migrate(url: &str) -> Result<Migrated, OpenError> {
    let address = Address::parse(url)?;
    let (handle, stop, thread) = start_runtime(&address)?;
    let (answer, wait) = std::sync::mpsc::sync_channel(1);
    let server = address.shown().to_owned();
    handle.spawn(async move {
        let migrated = match Conn::open(&address, Session::WRITER).await {
            Ok(conn) => schema::migrate(&conn, &address).await,
            Err(fault) => Err(fault.open_error(&address)),
        };
        // Whoever asked waits.
        drop(answer.send(migrated));
    });
    let migrated = wait.recv();
    stop.send(()).ok();
    drop(thread.join());
    migrated.unwrap_or_else(|_| Err(OpenError::Server { server, why: "the thread of its connections has ended".to_owned() }))
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "this machine".to_owned(), |name| name.trim().to_owned())
}

/// Whether a process of this machine lives (our own does not count: it knows what it holds).
fn alive(pid: u32) -> bool {
    pid != std::process::id() && std::path::Path::new("/proc").join(pid.to_string()).exists()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whatever a panic left half done is read from the server again.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

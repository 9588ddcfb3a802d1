//! One connection, and what can go wrong on it.
//!
//! Every wait on the server has a limit. A connection on which one was passed is dropped: what it was doing is not known.

use std::fmt;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::address::Address;
use crate::{OpenError, StoreError};

/// How much longer an answer is waited for here than the statement may take at the server, which gives up first where it can.
const GRACE: Duration = Duration::from_secs(5);

/// What a connection is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    /// What it calls itself, for whoever looks at the server.
    pub(crate) name: &'static str,
    /// Commits need not wait for the server's disk.
    pub(crate) asynchronous: bool,
    /// How long one statement may take.
    pub(crate) statement_max: Duration,
}

impl Session {
    /// Dropping all of a large shard's rows, or moving tables, takes its time; a server that has gone away is noticed otherwise.
    pub(crate) const WRITER: Session = Session { name: "trunkline", asynchronous: false, statement_max: Duration::from_secs(120) };
    pub(crate) const READER: Session = Session { name: "trunkline reader", asynchronous: false, statement_max: Duration::from_secs(60) };
    /// Somebody waits for a lookup.
    pub(crate) const STATE: Session = Session { name: "trunkline state", asynchronous: false, statement_max: Duration::from_secs(30) };
}

/// A parameter with its type, so that a statement needs no round trip to be prepared.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// What went wrong on a connection. Never holds what a statement carried: PostgreSQL's details and contexts do.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The server is away, going down or overloaded, or the connection broke: to be tried again.
    Away,
    /// A statement took longer than it may, or waited too long for a lock: the connection is as good as before. To be tried again, by whoever has time.
    Slow,
    /// The server refuses this user, password or database: trying again helps nobody.
    Denied,
    /// The server's disk is full.
    Full,
    /// A value that a column does not take.
    Data,
    /// A row is there already.
    Taken,
    /// A statement failed because an earlier one of its transaction did.
    Aborted,
    /// Anything else that a statement came to.
    Statement,
}

impl Fault {
    pub(crate) fn away(why: impl Into<String>) -> Fault {
        Fault { kind: FaultKind::Away, why: why.into() }
    }

    /// Whether trying again may help.
    pub(crate) fn passes(&self) -> bool {
        matches!(self.kind, FaultKind::Away | FaultKind::Slow)
    }

    pub(crate) fn of(error: &tokio_postgres::Error) -> Fault {
        let Some(db) = error.as_db_error() else {
            let mut why = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(cause) = source {
                why = format!("{why}: {cause}");
                source = cause.source();
            }
            let begins = |words: &[&str]| words.iter().any(|word| why.starts_with(word));
            let refused = begins(&["authentication error", "invalid configuration"]);
            let kind = if refused || why.contains("certificate") || why.contains("server does not support TLS") {
                FaultKind::Denied
            } else if begins(&["error serializing", "error deserializing", "invalid column", "expected", "query returned"]) {
                FaultKind::Statement
            } else {
                FaultKind::Away
            };
            return Fault { kind, why };
        };
        let code = db.code();
        let kind = match code.code().get(..2).unwrap_or_default() {
            "28" | "3D" => FaultKind::Denied,
            "42" if *code == SqlState::INSUFFICIENT_PRIVILEGE => FaultKind::Denied,
            "22" | "54" => FaultKind::Data,
            "23" if *code == SqlState::UNIQUE_VIOLATION => FaultKind::Taken,
            "25" if *code == SqlState::IN_FAILED_SQL_TRANSACTION => FaultKind::Aborted,
            "55" | "57" if [SqlState::LOCK_NOT_AVAILABLE, SqlState::QUERY_CANCELED].contains(code) => FaultKind::Slow,
            "08" | "40" | "55" | "57" => FaultKind::Away,
            "53" if *code == SqlState::DISK_FULL => FaultKind::Full,
            "53" => FaultKind::Away,
            _ => FaultKind::Statement,
        };
        Fault { kind, why: format!("{}: {} ({})", db.severity(), db.message(), code.code()) }
    }

    pub(crate) fn store_error(self, address: &Address) -> StoreError {
        match self.kind {
            FaultKind::Full => StoreError::Full {
                path: address.shown().into(),
                source: std::io::Error::new(std::io::ErrorKind::StorageFull, address.scrub(self.why)),
            },
            _ => StoreError::Server { server: address.shown().to_owned(), why: address.scrub(self.why) },
        }
    }

    pub(crate) fn open_error(self, address: &Address) -> OpenError {
        let why = address.scrub(self.why);
        let why = match self.kind {
            FaultKind::Denied if why.contains("TLS") => {
                format!("{why}; correct sslmode or sslrootcert in store.url, or the server's certificate")
            }
            FaultKind::Denied => format!("{why}; correct user, password or database in store.url, or what the user may do"),
            FaultKind::Away => format!("{why}; start the server, or correct host and port in store.url"),
            _ => why,
        };
        OpenError::Server { server: address.shown().to_owned(), why }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Fault {
        Fault::of(&error)
    }
}

/// An open connection; ends when dropped.
pub(crate) struct Conn {
    pub(crate) client: Client,
    pub(crate) backend: i32,
    answer_max: Duration,
    task: AbortHandle,
}

impl Conn {
    /// Connects and sets the session up.
    pub(crate) async fn open(address: &Address, session: Session) -> Result<Conn, Fault> {
        let mut config = address.config.clone();
        if config.get_application_name().is_none() {
            config.application_name(session.name);
        }
        let connect = tokio::time::timeout(Duration::from_secs(10), config.connect(address.tls.clone()));
        let (client, connection) = connect.await.map_err(|_| Fault::away("no answer within 10 s"))??;
        let task = tokio::spawn(async move {
            // Whoever waits for an answer gets the error too.
            drop(connection.await);
        })
        .abort_handle();
        let mut conn = Conn { client, backend: 0, answer_max: session.statement_max + GRACE, task };
        let sync = if session.asynchronous { "SET synchronous_commit = off;" } else { "" };
        // The keepalives make the server notice a machine that has gone away, which would hold the lock for hours; the check
        // interval makes it notice a killed process during a long statement (from version 14 on).
        conn.batch(&format!(
            "SET search_path = trunkline, pg_catalog; SET statement_timeout = {}; SET lock_timeout = 15000; \
             SET idle_in_transaction_session_timeout = 60000; SET client_min_messages = warning; {sync}\
             SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; SET jit = off; \
             DO $$ BEGIN SET client_connection_check_interval = 1000; EXCEPTION WHEN OTHERS THEN NULL; END $$;",
            session.statement_max.as_millis()
        ))
        .await?;
        conn.backend = conn.one("SELECT pg_backend_pid()", &[]).await?.get(0);
        Ok(conn)
    }

    /// Statements without parameters or answers.
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), Fault> {
        Ok(self.limited(self.client.batch_execute(sql)).await??)
    }

    /// The same, where the server may take as long as `answer_max`.
    pub(crate) async fn batch_within(&self, answer_max: Duration, sql: &str) -> Result<(), Fault> {
        Ok(within(answer_max, self.client.batch_execute(sql)).await??)
    }

    pub(crate) async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Fault> {
        Ok(self.limited(self.client.query_typed(sql, parameters)).await??)
    }

    pub(crate) async fn one(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Row, Fault> {
        let rows = self.query(sql, parameters).await?;
        rows.into_iter().next().ok_or_else(|| Fault { kind: FaultKind::Statement, why: "a statement gave no row".to_owned() })
    }

    pub(crate) async fn execute(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, Fault> {
        Ok(self.limited(self.client.execute_typed(sql, parameters)).await??)
    }

    /// Waits for the server, but not for ever.
    pub(crate) async fn limited<T>(&self, answer: impl Future<Output = T>) -> Result<T, Fault> {
        within(self.answer_max, answer).await
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

async fn within<T>(answer_max: Duration, answer: impl Future<Output = T>) -> Result<T, Fault> {
    let answered = tokio::time::timeout(answer_max, answer).await;
    answered.map_err(|_| Fault::away(format!("no answer within {} s", answer_max.as_secs())))
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

//! What can go wrong with a store, each said with what happened, where, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use crate::ShardKey;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("the store at {} is in use by {}; stop that process first, or give this one a store.path of its own", .path.display(), in_use_by(.pid))]
    InUse {
        /// Its pid, where it could be read.
        pid: Option<u32>,
        /// The store's directory.
        path: PathBuf,
    },
    /// A file of the store is damaged.
    #[error("the store at {} is damaged: {what}; to start anew, move the directory aside (for example: mv {} {}.damaged) and start again: every shard then identifies afresh, and events that no worker has acknowledged are lost", .path.display(), .path.display(), .path.display())]
    Corrupt {
        /// The store's directory.
        path: PathBuf,
        /// Which file, and what is wrong with it.
        what: String,
    },
    /// It was written by a later version of the program.
    #[error("the store at {} has format {found}, and this program knows formats up to {known}; run the newer version that wrote it, or give this one a store.path of its own", .path.display())]
    Newer {
        /// The format found.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
        /// The store's directory.
        path: PathBuf,
    },
    /// The directory, or a file in it, cannot be written.
    #[error("the store at {} cannot be written ({source}); give the user that runs this program write access to it, or set store.path to a directory that it may write", .path.display())]
    NotWritable {
        /// The directory or file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The path names something else.
    #[error("store.path is {}, which is not a directory; set it to a directory (it is made if it does not exist)", .path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory does not exist and cannot be made.
    #[error("the store directory {} does not exist and cannot be made ({source}); make it yourself, or set store.path to a place where this user may make one", .path.display())]
    NotCreatable {
        /// The path.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// No room to make or repair the files.
    #[error("the disk of the store at {} is full ({source}); free some space and start again", .path.display())]
    Full {
        /// The store's directory.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The address of a PostgreSQL server cannot be used.
    #[error("store.url {what}")]
    Address {
        /// What is wrong with it, and how to write it. Never the password.
        what: String,
    },
    /// A PostgreSQL server was not reached, or refused the connection.
    #[error("the store at {server} cannot be opened: {why}")]
    Server {
        /// The server and database, without the password.
        server: String,
        /// What happened, and what to do.
        why: String,
    },
    /// Another process uses the database.
    #[error(
        "the store at {server} is in use by the process with pid {pid} on {host}; stop that process first, or give this one a database of its own"
    )]
    ServerInUse {
        /// The server and database, without the password.
        server: String,
        /// Its pid.
        pid: u32,
        /// Its machine.
        host: String,
    },
    /// The tables were made by a later version of the program.
    #[error(
        "the tables at {server} have version {found}, and this program knows versions up to {known}; run the newer version that made them, or give this one a database of its own"
    )]
    ServerNewer {
        /// The server and database, without the password.
        server: String,
        /// The version found.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// Anything else that the system said.
    #[error("the store at {} cannot be opened: {doing}: {source}", .path.display())]
    Io {
        /// The store's directory.
        path: PathBuf,
        /// What was tried.
        doing: String,
        /// The system's words.
        source: io::Error,
    },
}

fn in_use_by(pid: &Option<u32>) -> String {
    match pid {
        Some(pid) => format!("the process with pid {pid}"),
        None => "another process".to_owned(),
    }
}

/// Why a call to an open store failed. Nothing of the failed call has been stored, unless said otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No room on the disk (or in the quota, or under the file size limit). The store stays usable: the same call
    /// succeeds once there is room.
    #[error("the disk of the store is full, writing {} ({source}); events go on flowing, but a restart now would go back to the last checkpoint that was saved: free some space", .path.display())]
    Full {
        /// The file that could not grow.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Someone with a later epoch owns the shard. The whole commit was refused.
    #[error("shard {shard} has a new owner with epoch {stored}; this one has epoch {given} and must stop")]
    Fenced {
        /// The shard.
        shard: ShardKey,
        /// The epoch that the store knows.
        stored: u64,
        /// The epoch of the refused commit.
        given: u64,
    },
    /// Stored bytes fail their checksum or their bounds.
    #[error("{} is damaged: {what}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The caller asked for something that cannot be stored.
    #[error("refused: {what}")]
    Refused {
        /// What it was, and its limit.
        what: String,
    },
    /// The PostgreSQL server was not reached, did not answer in time, or refused. The same call may be tried again.
    #[error("the store at {server} did not take it: {why}")]
    Server {
        /// The server and database, without the password.
        server: String,
        /// What happened.
        why: String,
    },
    /// Anything else that the system said.
    #[error("{doing} {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The system's words.
        source: io::Error,
    },
}

impl StoreError {
    /// Turns the system's error into `Full` where that is what it means, else into `Io`.
    pub(crate) fn from_io(path: &Path, doing: &'static str, source: io::Error) -> StoreError {
        let path = path.to_owned();
        if is_full(&source) { StoreError::Full { path, source } } else { StoreError::Io { path, doing, source } }
    }

    /// The same, for an error of the key-value file.
    pub(crate) fn from_redb(path: &Path, error: redb::Error) -> StoreError {
        match error {
            redb::Error::Io(source) => StoreError::from_io(path, "using", source),
            redb::Error::Corrupted(what) => StoreError::Corrupt { path: path.to_owned(), what },
            other => StoreError::Io { path: path.to_owned(), doing: "using", source: io::Error::other(other.to_string()) },
        }
    }
}

/// Out of room: on the disk, in the quota, or under the process's file size limit.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge | io::ErrorKind::WriteZero
    )
}

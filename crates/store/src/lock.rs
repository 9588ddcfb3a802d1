//! One process per store: an advisory lock of the kernel, which ends with the process however it ends, and the pid
//! in the file for the message that a second process gives.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use crate::error::{OpenError, is_full};

/// How often a lock that this process itself seems to hold is tried again, 10 ms apart.
const OWN_TRIES: u32 = 20;

/// Held while the store is open.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

pub(crate) fn take(dir: &Path) -> Result<Lock, OpenError> {
    let path = dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|source| opening(dir, &path, source))?;
    let mut locked = file.try_lock();
    for _ in 0..OWN_TRIES {
        if !matches!(locked, Err(TryLockError::WouldBlock)) || owner(&mut file) != Some(std::process::id()) {
            break;
        }
        // A child that this process is starting has its open files until it runs its own program: a lock just given back, too.
        std::thread::sleep(Duration::from_millis(10));
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::InUse { pid: owner(&mut file), path: dir.to_owned() });
        }
        Err(TryLockError::Error(source)) => {
            return Err(OpenError::Io { path: dir.to_owned(), doing: "locking the file lock".to_owned(), source });
        }
    }
    let written = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).and_then(|_| writeln!(file, "{}", std::process::id()));
    match written {
        // The pid is only for a message: a full disk must not keep the store from opening.
        Err(error) if !is_full(&error) => Err(opening(dir, &path, error)),
        _ => Ok(Lock { _file: file }),
    }
}

/// The pid in the file. Unreadable is no reason to fail otherwise than with "in use".
fn owner(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The error of opening, making or writing a file of the store.
pub(crate) fn opening(dir: &Path, path: &Path, source: std::io::Error) -> OpenError {
    use std::io::ErrorKind;
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => OpenError::NotWritable { path: path.to_owned(), source },
        _ if is_full(&source) => OpenError::Full { path: dir.to_owned(), source },
        _ => OpenError::Io { path: dir.to_owned(), doing: format!("opening {}", path.display()), source },
    }
}

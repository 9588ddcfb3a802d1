//! The rows: a key-value file, and the journal before it.
//!
//! One table, keys with a kind byte in front. Every change goes to the journal first and decides there; the
//! key-value file follows in transactions that are not durable until [`Kv::fold`]. Should the file fail (a full disk
//! while it grows), it is dropped and, when next needed, opened again and brought up from the journal: redb refuses
//! all use after an error of its own writes.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use std::sync::Arc;

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTableMetadata, Table, TableDefinition};

use crate::batch::{Batch, NotABatch, Operation, Operations, Settled};
use crate::error::{OpenError, StoreError, is_full};
use crate::journal::{self, Found, Journal};
use crate::lock;
use crate::seal;
use crate::sums::{Noted, Sums};

const ROWS: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("rows");
/// Row that holds the number of the last journal frame that the file has taken over.
const APPLIED: &[u8] = b"\0applied";
/// Operations of the journal that are put in order at a time: some 50 MB.
const SETTLED_AT_ONCE: usize = 1 << 20;

/// The rows of an open store.
pub(crate) struct Kv {
    path: PathBuf,
    cache_bytes: usize,
    /// `None` after a failure, until it can be opened again.
    database: Option<Database>,
    /// How often it was opened.
    opened: u64,
    pub(crate) journal: Journal,
}

impl Kv {
    /// Opens both files.
    pub(crate) fn open(dir: &Path, cache_bytes: usize) -> Result<(Kv, u64, u64), OpenError> {
        let path = dir.join("state.redb");
        let has_state = path.exists();
        // The journal is made after it, so where that lies, empty as after a clean stop or not, it was there too.
        if !has_state && dir.join("journal").exists() {
            return Err(OpenError::Corrupt { path: dir.to_owned(), what: "the file state.redb is missing".to_owned() });
        }
        if !has_state {
            create(dir, &path, cache_bytes)?;
        }
        let database = open_database(dir, &path, cache_bytes, Trust::of(seal::known(&path)))?;
        let failed = |error| open_error(dir, StoreError::from_redb(&path, error));
        let (journal, Found { bytes, bytes_cut }) = Journal::open(dir, applied(&database).map_err(failed)?)?;
        let replayed = replay(&database, &bytes).map_err(failed)?;
        Ok((Kv { path, cache_bytes, database: Some(database), opened: 1, journal }, replayed, bytes_cut))
    }

    /// Commits a batch: once this has returned, it survives the process.
    pub(crate) fn apply(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        self.journal.append(batch)?;
        let number = self.journal.number;
        if let Some(database) = &self.database
            && let Err(error) = write(database, number, Durability::None, |table| fill_from(table, batch))
        {
            // The journal has it, so it is committed. The file catches up when it can be opened again.
            tracing::warn!(path = %self.path.display(), %error, "the key-value file could not be written; the journal goes on alone");
            self.database = None;
        }
        Ok(())
    }

    /// Makes everything durable in the key-value file and empties the journal.
    pub(crate) fn fold(&mut self) -> Result<(), StoreError> {
        if self.journal.is_empty() {
            return Ok(());
        }
        let number = self.journal.number;
        let database = self.database()?;
        if let Err(error) = write(database, number, Durability::Immediate, |_| Ok(())) {
            self.database = None;
            return Err(StoreError::from_redb(&self.path, error));
        }
        self.journal.reset()
    }

    /// Closes the file, into which everything has been folded, and seals it.
    pub(crate) fn close(&mut self) {
        if self.database.take().is_some()
            && self.journal.is_empty()
            && let Err(error) = seal::write(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the key-value file could not be sealed; the next start takes longer");
        }
    }

    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let path = self.path.clone();
        let get = |database: &Database| -> Result<Option<Bytes>, redb::Error> {
            let table = database.begin_read()?.open_table(ROWS)?;
            Ok(table.get(key)?.map(|value| Bytes::copy_from_slice(value.value())))
        };
        let got = get(self.database()?);
        self.checked(&path, got)
    }

    /// How many rows there are.
    pub(crate) fn rows(&mut self) -> Result<u64, StoreError> {
        let path = self.path.clone();
        let count = |database: &Database| -> Result<u64, redb::Error> { Ok(database.begin_read()?.open_table(ROWS)?.len()?) };
        let counted = count(self.database()?);
        self.checked(&path, counted)
    }

    /// Every row whose key starts with `prefix`, in the order of the keys; `f` gets the rest of the key.
    pub(crate) fn scan(&mut self, prefix: &[u8], f: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        let snapshot = self.snapshot()?;
        let scanned = snapshot.scan(prefix, &mut Vec::new(), f);
        self.ended(&snapshot, scanned).map(drop)
    }

    /// The rows as they are now, to be read while others go on.
    pub(crate) fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        let path = self.path.clone();
        let take = |database: &Database| -> Result<_, redb::Error> { Ok(database.begin_read()?.open_table(ROWS)?) };
        let taken = take(self.database()?);
        Ok(Snapshot { rows: self.checked(&path, taken)?, of: self.opened })
    }

    /// How a scan of a snapshot ended: false where the file was closed under it, since somebody else has met a failure; then the rest is to be
    /// read of another snapshot.
    pub(crate) fn ended(&mut self, snapshot: &Snapshot, scanned: Result<(), redb::Error>) -> Result<bool, StoreError> {
        let Err(error) = scanned else { return Ok(true) };
        // What was opened again since knows nothing of that failure.
        if self.opened == snapshot.of {
            self.database = None;
        }
        match error {
            // From the first failed write on, and once the file is closed for it.
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => Ok(false),
            error => Err(StoreError::from_redb(&self.path, error)),
        }
    }

    fn checked<T>(&mut self, path: &Path, result: Result<T, redb::Error>) -> Result<T, StoreError> {
        result.map_err(|error| {
            self.database = None;
            StoreError::from_redb(path, error)
        })
    }

    /// The open file; opens it again after a failure.
    fn database(&mut self) -> Result<&Database, StoreError> {
        if self.database.is_none() {
            let dir = self.path.parent().unwrap_or(Path::new("."));
            let database = open_database(dir, &self.path, self.cache_bytes, Trust::None).map_err(|error| match error {
                OpenError::Full { source, .. } => StoreError::Full { path: self.path.clone(), source },
                OpenError::Corrupt { what, .. } => StoreError::Corrupt { path: self.path.clone(), what },
                other => StoreError::Io { path: self.path.clone(), doing: "opening", source: std::io::Error::other(other) },
            })?;
            let bytes = self.journal.contents()?;
            replay(&database, &bytes).map_err(|error| StoreError::from_redb(&self.path, error))?;
            self.database = Some(database);
            self.opened += 1;
        }
        self.database.as_ref().ok_or_else(|| StoreError::Corrupt { path: self.path.clone(), what: "it is not open".to_owned() })
    }

    pub(crate) fn state_bytes(&self) -> u64 {
        self.path.metadata().map_or(0, |file| file.len())
    }
}

/// The rows as they were at a moment. It needs no lock; what is written meanwhile lies beside it.
pub(crate) struct Snapshot {
    rows: ReadOnlyTable<&'static [u8], &'static [u8]>,
    /// How often the file had been opened.
    of: u64,
}

impl Snapshot {
    /// Every row whose key starts with `prefix` and goes on above `after`, where that is not empty, in the order of the keys; `f` gets the rest of
    /// the key, and `after` is the last one that it got.
    pub(crate) fn scan(&self, prefix: &[u8], after: &mut Vec<u8>, f: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), redb::Error> {
        let from = [prefix, after].concat();
        for row in self.rows.range::<&[u8]>(from.as_slice()..)? {
            let (key, value) = row?;
            let Some(rest) = key.value().strip_prefix(prefix) else { break };
            if !after.is_empty() && rest == after {
                continue;
            }
            f(rest, value.value());
            after.clear();
            after.extend_from_slice(rest);
        }
        Ok(())
    }
}

/// Makes an empty key-value file under a name of its own first, so that one with the right name is never half made.
fn create(dir: &Path, path: &Path, cache_bytes: usize) -> Result<(), OpenError> {
    let new = dir.join("state.redb.new");
    let failed = |source| lock::opening(dir, &new, source);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(failed)?;
    drop(open_database(dir, &new, cache_bytes, Trust::New)?);
    std::fs::rename(&new, path).map_err(failed)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

/// What is known of a file before it is opened.
enum Trust {
    /// It is about to be made.
    New,
    /// It is what was written; these are its pages' sums.
    Known(Vec<u64>),
    /// Nothing.
    None,
}

impl Trust {
    fn of(sums: Option<Vec<u64>>) -> Trust {
        sums.map_or(Trust::None, Trust::Known)
    }
}

fn open_database(dir: &Path, path: &Path, cache_bytes: usize, trust: Trust) -> Result<Database, OpenError> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|source| lock::opening(dir, path, source))?;
    let corrupt = |what: String| OpenError::Corrupt { path: dir.to_owned(), what: format!("the file {}: {what}", path.display()) };
    // redb would make a new database of an empty file, and the loss would go unnoticed.
    let len = file.metadata().map_err(|source| lock::opening(dir, path, source))?.len();
    if len == 0 && path.ends_with("state.redb") {
        return Err(corrupt("it is empty".to_owned()));
    }
    let sums = Arc::new(Sums::default());
    if let Trust::Known(known) = &trust {
        // Before anything is written.
        sums.begin(path, len, known);
    }
    let verify = matches!(trust, Trust::None);
    // Every checksum is verified at every open of a file that is not known to be as it was left: a plain open would trust one that was
    // changed behind its back. Some damage makes redb panic all the same; that must not end the process.
    let opened = panic::catch_unwind(AssertUnwindSafe(|| -> Result<Database, redb::Error> {
        let backend = Noted::new(FileBackend::new(file)?, sums.clone());
        let database =
            redb::Builder::new().set_cache_size(cache_bytes).set_check_integrity_on_open(verify && len > 0).create_with_backend(backend)?;
        if len == 0 {
            let new = database.begin_write()?;
            new.open_table(ROWS)?;
            new.commit()?;
        }
        database.begin_read()?.open_table(ROWS)?;
        Ok(database)
    }));
    match opened {
        Ok(Ok(database)) => {
            if verify {
                // It has been found whole.
                sums.begin_anew(path);
            }
            Ok(database)
        }
        Ok(Err(redb::Error::Io(source))) if is_full(&source) => Err(OpenError::Full { path: dir.to_owned(), source }),
        Ok(Err(redb::Error::Io(source)))
            if !matches!(source.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) =>
        {
            Err(lock::opening(dir, path, source))
        }
        Ok(Err(error)) => Err(corrupt(error.to_string())),
        Err(_) => Err(corrupt("it cannot be read".to_owned())),
    }
}

/// Number of the last commit that the file has taken over.
fn applied(database: &Database) -> Result<u64, redb::Error> {
    let table = database.begin_read()?.open_table(ROWS)?;
    let row = table.get(APPLIED)?;
    Ok(row.and_then(|row| row.value().try_into().ok()).map_or(0, u64::from_le_bytes))
}

/// Applies what the journal has above the file's position, all in one go, and says how many commits that were.
fn replay(database: &Database, journal: &[u8]) -> Result<u64, redb::Error> {
    let applied = applied(database)?;
    let commits: Vec<(u64, Vec<&[u8]>)> = journal::commits(journal).filter(|(number, _)| *number > applied).collect();
    if let Some((number, _)) = commits.last() {
        // All of them together: what a later one writes again is written once, and every page is come by once.
        let parts = commits.iter().flat_map(|(_, parts)| parts);
        let mut operations = parts.flat_map(|part| Operations::new(part)).peekable();
        write(database, *number, Durability::None, |table| {
            while operations.peek().is_some() {
                fill(table, operations.by_ref().take(SETTLED_AT_ONCE))?;
            }
            Ok(())
        })?;
    }
    Ok(commits.len() as u64)
}

fn open_error(dir: &Path, error: StoreError) -> OpenError {
    match error {
        StoreError::Corrupt { path, what } => {
            OpenError::Corrupt { path: dir.to_owned(), what: format!("the file {}: {what}", path.display()) }
        }
        StoreError::Full { source, .. } => OpenError::Full { path: dir.to_owned(), source },
        other => OpenError::Io { path: dir.to_owned(), doing: "applying the journal".to_owned(), source: std::io::Error::other(other) },
    }
}

type Rows<'a> = Table<'a, &'static [u8], &'static [u8]>;

/// One transaction: what `fill` does, and the number up to which the file stands then.
fn write(
    database: &Database,
    number: u64,
    durability: Durability,
    fill: impl FnOnce(&mut Rows<'_>) -> Result<(), redb::Error>,
) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(durability)?;
    // Which pages are free is part of what is durable, or it would be found out by walking the whole tree after a kill.
    transaction.set_quick_repair(matches!(durability, Durability::Immediate));
    {
        let mut table = transaction.open_table(ROWS)?;
        fill(&mut table)?;
        table.insert(APPLIED, number.to_le_bytes().as_slice())?;
    }
    transaction.commit()?;
    Ok(())
}

/// A batch that is in the journal: the frames before the last are read back from it, one at a time.
fn fill_from(table: &mut Rows<'_>, batch: &Batch) -> Result<(), redb::Error> {
    if let Some(spill) = &batch.spill {
        for at in &spill.frames {
            let part = spill.read(*at).ok_or_else(|| redb::Error::Corrupted("a commit in the journal cannot be read back".to_owned()))?;
            fill(table, Operations::new(&part))?;
        }
    }
    fill(table, batch.operations())
}

/// Rows come from the cache and over time in no order of their keys: written like that, nearly each would change a page of its own, and
/// many a page several times.
fn fill<'a>(table: &mut Rows<'_>, operations: impl Iterator<Item = Result<Operation<'a>, NotABatch>>) -> Result<(), redb::Error> {
    // Its frame passed its checksum, so this program wrote it so.
    let settled =
        Settled::of(operations).map_err(|NotABatch| redb::Error::Corrupted("a commit in the journal does not parse".to_owned()))?;
    for prefix in settled.clears {
        match after(prefix) {
            Some(end) => table.retain_in::<&[u8], _>(prefix..end.as_slice(), |_, _| false)?,
            None => table.retain_in::<&[u8], _>(prefix.., |_, _| false)?,
        }
    }
    for (key, value) in settled.rows {
        match value {
            Some(value) => drop(table.insert(key, value)?),
            None => drop(table.remove(key)?),
        }
    }
    Ok(())
}

/// The first key behind all that start with `prefix`; none if it is all 0xFF.
fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_load_goes_on_when_a_failed_write_has_closed_the_file_under_it_and_leaves_the_one_that_was_opened_since() {
        let dir = tempfile::tempdir().unwrap();
        let (mut kv, ..) = Kv::open(dir.path(), 1 << 20).unwrap();
        let mut batch = Batch::new();
        batch.put(b"ca", b"1");
        batch.put(b"cb", b"2");
        kv.apply(&mut batch).unwrap();
        let rows = |snapshot: &Snapshot| {
            let mut keys = Vec::new();
            snapshot.scan(b"c", &mut Vec::new(), &mut |key, _| keys.push(key.to_vec())).map(|()| keys)
        };
        let all = vec![b"a".to_vec(), b"b".to_vec()];
        // What redb answers from the first failed write on, and what once the file is closed.
        for failure in [redb::Error::PreviousIo, redb::Error::DatabaseClosed] {
            let old = kv.snapshot().unwrap();
            assert_eq!(rows(&old).unwrap(), all);
            assert!(!kv.ended(&old, Err(failure)).unwrap(), "the rest is to be read of another snapshot");
            let new = kv.snapshot().unwrap();
            assert_eq!(rows(&new).unwrap(), all);
            // Who comes late with the same failure, or with one of its own, closes nothing that is sound.
            let opened = kv.opened;
            assert!(!kv.ended(&old, Err(redb::Error::PreviousIo)).unwrap());
            assert!(kv.ended(&old, Err(redb::Error::Io(std::io::Error::other("gone")))).is_err());
            assert_eq!(rows(&new).unwrap(), all);
            assert_eq!((kv.snapshot().unwrap().of, kv.opened), (opened, opened));
        }
    }
}

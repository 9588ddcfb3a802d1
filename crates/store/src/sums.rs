//! Checksums of the key-value file's pages, noted as they are written.
//!
//! Each is noted right after its page, and the kernel keeps both when the process is killed. Only what was noted since the machine was started
//! counts, for a machine that goes down keeps whichever of the pages and sums it likes. A disk that loses what it was not made to keep while the
//! machine runs on (detached by force and attached again, rolled back beneath it) could do the same, and is not noticed by this.
//!
//! What they are compared with, and when, is said in [`crate::seal`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Bound;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use xxhash_rust::xxh3::xxh3_64;

const SUMS_MAGIC: &[u8; 16] = b"trunkline-sums\0\x01";
/// Magic, and the name of this run of the machine.
const SUMS_HEAD_BYTES: usize = SUMS_MAGIC.len() + BOOT_BYTES;
const BOOT_BYTES: usize = 36;
/// Who names it.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// What a sum is of.
const PAGE_BYTES: usize = 4_096;
/// What a thread takes at a time, and what it reads at a time: whole pages.
pub(crate) const STRETCH_BYTES: u64 = 32 << 20;
const READ_BYTES: usize = 256 << 10;
const _: () = assert!(READ_BYTES.is_multiple_of(PAGE_BYTES) && STRETCH_BYTES.is_multiple_of(READ_BYTES as u64));
/// More threads than this are not faster than memory.
const THREADS_MAX: usize = 4;

/// Where they lie.
pub(crate) fn sums_of(file: &Path) -> PathBuf {
    file.with_extension("sums")
}

/// How long the sums of a file of so many bytes are.
pub(crate) fn noted_bytes(len: u64) -> u64 {
    (SUMS_MAGIC.len() + BOOT_BYTES) as u64 + len / PAGE_BYTES as u64 * size_of::<u64>() as u64
}

/// Sums as they lie in their file. None where the machine does not say when it was started, or the file does not end with a page.
pub(crate) fn noted_form(len: u64, sums: &[u64]) -> Option<Vec<u8>> {
    let boot = fs::read(BOOT).ok().filter(|boot| boot.trim_ascii().len() == BOOT_BYTES)?;
    if !len.is_multiple_of(PAGE_BYTES as u64) {
        return None;
    }
    let mut out = [&SUMS_MAGIC[..], boot.trim_ascii()].concat();
    out.extend(sums.iter().flat_map(|sum| sum.to_le_bytes()));
    Some(out)
}

/// The sum of every page of a file as it is now.
pub(crate) fn of_pages(file: &File) -> io::Result<Vec<u64>> {
    let len = file.metadata()?.len();
    let stretches = len.div_ceil(STRETCH_BYTES);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX) as u64;
    let sums = std::thread::scope(|scope| {
        let every = |first: u64| {
            move || (first..stretches).step_by(threads as usize).map(|at| of_stretch(file, at, len)).collect::<io::Result<Vec<_>>>()
        };
        let others: Vec<_> = (1..threads.min(stretches)).map(|first| scope.spawn(every(first))).collect();
        let mut sums = vec![every(0)()];
        sums.extend(others.into_iter().map(|other| other.join().unwrap_or_else(|_| Err(io::Error::other("a thread has ended")))));
        sums.into_iter().collect::<io::Result<Vec<_>>>()
    })?;
    let mut all: Vec<(u64, Vec<u64>)> = sums.into_iter().flatten().collect();
    all.sort_unstable_by_key(|(stretch, _)| *stretch);
    Ok(all.into_iter().flat_map(|(_, sums)| sums).collect())
}

fn of_stretch(file: &File, stretch: u64, len: u64) -> io::Result<(u64, Vec<u64>)> {
    let (mut at, end) = (stretch * STRETCH_BYTES, ((stretch + 1) * STRETCH_BYTES).min(len));
    let mut buffer = vec![0; READ_BYTES];
    let mut sums = Vec::new();
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(READ_BYTES).min(READ_BYTES);
        file.read_exact_at(&mut buffer[..want], at)?;
        sums.extend(buffer[..want].chunks(PAGE_BYTES).map(of_page));
        at += want as u64;
    }
    Ok((stretch, sums))
}

/// A page of zeroes has 0: what a file grows by needs no noting.
fn of_page(page: &[u8]) -> u64 {
    static ZEROES: LazyLock<u64> = LazyLock::new(|| xxh3_64(&[0; PAGE_BYTES]));
    xxh3_64(page) ^ *ZEROES
}

/// The key-value file, whose pages' sums are noted as they are written, once [`Noted::begin`] has been called.
#[derive(Debug)]
pub(crate) struct Noted {
    file: FileBackend,
    sums: Arc<Sums>,
}

/// Where sums are noted.
#[derive(Debug, Default)]
pub(crate) struct Sums(Mutex<Option<File>>);

impl Noted {
    pub(crate) fn new(file: FileBackend, sums: Arc<Sums>) -> Noted {
        Noted { file, sums }
    }

    fn note(&self, offset: u64, data: &[u8]) {
        self.sums.write(|noted| {
            let page = PAGE_BYTES as u64;
            let (first, end) = (offset / page, (offset + data.len() as u64).div_ceil(page));
            let part = data.len().is_multiple_of(PAGE_BYTES) && offset.is_multiple_of(page);
            let mut pages = Vec::new();
            if !part {
                // A part of a page: its sum is of all of it.
                pages.resize(usize::try_from((end - first) * page).map_err(io::Error::other)?, 0);
                self.file.read(first * page, &mut pages)?;
            }
            let sums = if part { data } else { &pages }.chunks(PAGE_BYTES).flat_map(|page| of_page(page).to_le_bytes());
            noted.write_all_at(&sums.collect::<Vec<u8>>(), SUMS_HEAD_BYTES as u64 + first * 8)
        });
    }
}

impl Sums {
    /// Begins to note, for a file that is known to be whole and has these sums now.
    pub(crate) fn begin(&self, path: &Path, len: u64, sums: &[u64]) {
        let begin = || -> io::Result<Option<File>> {
            let Some(form) = noted_form(len, sums) else { return Ok(None) };
            let new = path.with_extension("sums.new");
            let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            out.write_all(&form)?;
            fs::rename(new, sums_of(path))?;
            Ok(Some(out))
        };
        match begin() {
            Ok(file) => *self.0.lock().unwrap_or_else(PoisonError::into_inner) = file,
            Err(error) => tracing::warn!(path = %path.display(), %error, "{NOT_NOTED}"),
        }
    }

    /// The same, reading the file first.
    pub(crate) fn begin_anew(&self, path: &Path) {
        let read = || -> io::Result<(u64, Vec<u64>)> {
            let file = File::open(path)?;
            Ok((file.metadata()?.len(), of_pages(&file)?))
        };
        match read() {
            Ok((len, sums)) => self.begin(path, len, &sums),
            Err(error) => tracing::warn!(path = %path.display(), %error, "{NOT_NOTED}"),
        }
    }

    /// Notes something. Where that fails nothing more is noted: the pages then differ from their sums.
    fn write(&self, note: impl FnOnce(&File) -> io::Result<()>) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*slot
            && let Err(error) = note(file)
        {
            tracing::warn!(%error, "{NOT_NOTED}");
            // Without its beginning it is none.
            drop(file.set_len(0));
            *slot = None;
        }
    }
}

const NOT_NOTED: &str = "checksums of the key-value file cannot be noted; should the process be killed, the next start takes longer";

impl StorageBackend for Noted {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.sums.write(|noted| match len.is_multiple_of(PAGE_BYTES as u64) {
            true => noted.set_len(SUMS_HEAD_BYTES as u64 + len / PAGE_BYTES as u64 * 8),
            false => Err(io::Error::other("the key-value file does not end with a page")),
        });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)?;
        self.note(offset, data);
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::seal::known;

    fn change(path: &Path, at: u64, byte: u8) {
        fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(&[byte], at).unwrap();
    }

    /// A file that is written through what notes its sums, as it is when its process is killed.
    fn noted(dir: &Path) -> (PathBuf, Noted) {
        let path = dir.join("state.redb");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        file.set_len(3 * PAGE_BYTES as u64).unwrap();
        file.write_all_at(b"before", 5_000).unwrap();
        let sums = Arc::new(Sums::default());
        let noted = Noted::new(FileBackend::new(file).unwrap(), sums.clone());
        noted.write(0, b"not noted yet").unwrap();
        sums.begin_anew(&path);
        (path, noted)
    }

    #[test]
    fn a_file_is_known_by_its_sums_after_any_writes_and_any_change_beside_them_is_noticed() {
        let page = PAGE_BYTES as u64;
        let dir = tempfile::tempdir().unwrap();
        let writes: [&[(u64, usize)]; 6] = [
            &[],
            &[(0, 320)],
            &[(page, PAGE_BYTES)],
            &[(page - 1, 2), (2 * page, 8 * PAGE_BYTES)],
            &[(11, 9_000)],
            &[(9 * page, PAGE_BYTES)],
        ];
        for (len, writes) in [3, 10, 2_000, 10].into_iter().flat_map(|len| writes.map(|writes| (len, writes))) {
            let (path, noted) = noted(dir.path());
            noted.set_len(len.max(11) * page).unwrap();
            for (at, (offset, len)) in (1..).zip(writes) {
                noted.write(*offset, &vec![at; *len]).unwrap();
            }
            noted.set_len(len * page).unwrap();
            drop(noted);
            let notes = fs::read(sums_of(&path)).unwrap();
            assert_eq!(known(&path).unwrap(), of_pages(&File::open(&path).unwrap()).unwrap(), "{len} pages, {writes:?}");
            assert!(known(&path).is_none(), "sums are good for one open");
            for at in [0, 5_001, 2 * page + 3, len * page - 1] {
                fs::write(sums_of(&path), &notes).unwrap();
                let before = fs::read(&path).unwrap()[at as usize];
                change(&path, at, before ^ 0x10);
                assert!(known(&path).is_none(), "byte {at}");
                change(&path, at, before);
            }
            for other in [len * page + page, len * page - page, len * page + 1] {
                fs::write(sums_of(&path), &notes).unwrap();
                fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(other).unwrap();
                assert!(known(&path).is_none(), "{other} bytes");
            }
        }
    }

    #[test]
    fn sums_of_another_run_of_the_machine_or_cut_or_damaged_ones_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let (path, noted) = noted(dir.path());
        drop(noted);
        let good = fs::read(sums_of(&path)).unwrap();
        let changed = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            bytes
        };
        for at in 0..good.len() {
            for bad in [changed(at), good[..at].to_vec()] {
                fs::write(sums_of(&path), bad).unwrap();
                assert!(known(&path).is_none(), "byte {at}");
            }
        }
        fs::write(sums_of(&path), good).unwrap();
        assert!(known(&path).is_some());
    }

    #[test]
    fn where_sums_cannot_be_noted_there_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let (path, noted) = noted(dir.path());
        // No file of whole pages: its writes go on.
        noted.set_len(3 * PAGE_BYTES as u64 + 1).unwrap();
        noted.write(0, &[7; PAGE_BYTES]).unwrap();
        drop(noted);
        assert_eq!(fs::read(&path).unwrap()[1], 7);
        assert_eq!(fs::read(sums_of(&path)).unwrap(), b"");
        assert!(known(&path).is_none());
    }
}

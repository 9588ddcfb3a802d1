//! The key-value file's seal: what it was when the store was closed.
//!
//! The file carries a checksum in each of its pages, and verifying them means walking its whole tree twice, page by page, wherever they lie:
//! seconds for millions of rows. A file that was closed is known better: its length and a checksum over all of it lie beside it, and reading
//! it once, in order and on several threads, says whether it is still that file. If it is not, or if there is no seal (the last process
//! was killed), the pages' own checksums decide, as they would without it. A seal is never needed, and one that is out of date does no harm.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

const MAGIC: &[u8; 16] = b"trunkline-seal\0\x01";
const SEAL_BYTES: usize = MAGIC.len() + 8 + 16;

/// What a thread takes at a time, and what it reads at a time.
const STRETCH_BYTES: u64 = 32 << 20;
const READ_BYTES: usize = 256 << 10;
/// More threads than this are not faster than memory.
const THREADS_MAX: usize = 4;

fn path_of(file: &Path) -> PathBuf {
    file.with_extension("seal")
}

/// Seals a closed file.
pub(crate) fn write(file: &Path) -> io::Result<()> {
    let seal = of(&File::open(file)?)?;
    let (path, new) = (path_of(file), file.with_extension("seal.new"));
    let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    out.write_all(&seal)?;
    // Without a sync of its own: one that is lost with the power is one that is not there.
    fs::rename(new, path)
}

/// Whether a file is what it was when it was sealed. The seal is gone afterwards: the file is about to change.
pub(crate) fn broken(file: &Path) -> bool {
    let path = path_of(file);
    let Ok(sealed) = fs::read(&path) else { return true };
    // One that stays says at the next open that the file has changed.
    drop(fs::remove_file(&path));
    if sealed.len() != SEAL_BYTES || !sealed.starts_with(MAGIC) {
        return true;
    }
    File::open(file).and_then(|file| of(&file)).map_or(true, |found| sealed != found)
}

/// The seal of a file as it is now.
fn of(file: &File) -> io::Result<Vec<u8>> {
    let len = file.metadata()?.len();
    let stretches = len.div_ceil(STRETCH_BYTES);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX) as u64;
    let sums = std::thread::scope(|scope| {
        let every = |first: u64| {
            move || (first..stretches).step_by(threads as usize).map(|at| sum_of(file, at, len)).collect::<io::Result<Vec<_>>>()
        };
        let others: Vec<_> = (1..threads.min(stretches)).map(|first| scope.spawn(every(first))).collect();
        let mut sums = vec![every(0)()];
        sums.extend(others.into_iter().map(|other| other.join().unwrap_or_else(|_| Err(io::Error::other("a thread has ended")))));
        sums.into_iter().collect::<io::Result<Vec<_>>>()
    })?;
    let mut all: Vec<(u64, u128)> = sums.into_iter().flatten().collect();
    all.sort_unstable();
    let all: Vec<u8> = all.iter().flat_map(|(_, sum)| sum.to_le_bytes()).collect();
    Ok([&MAGIC[..], &len.to_le_bytes(), &xxh3_128(&all).to_le_bytes()].concat())
}

fn sum_of(file: &File, stretch: u64, len: u64) -> io::Result<(u64, u128)> {
    let (mut at, end) = (stretch * STRETCH_BYTES, ((stretch + 1) * STRETCH_BYTES).min(len));
    let mut buffer = vec![0; READ_BYTES];
    let mut sum = Xxh3::new();
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(READ_BYTES).min(READ_BYTES);
        file.read_exact_at(&mut buffer[..want], at)?;
        sum.update(&buffer[..want]);
        at += want as u64;
    }
    Ok((stretch, sum.digest128()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A sealed file of several stretches.
    fn sealed(dir: &Path) -> PathBuf {
        let path = dir.join("state.redb");
        let file = File::create(&path).unwrap();
        file.set_len(2 * STRETCH_BYTES + 4_321).unwrap();
        for at in [0, 77, STRETCH_BYTES - 1, STRETCH_BYTES, 2 * STRETCH_BYTES + 4_000] {
            file.write_all_at(b"x", at).unwrap();
        }
        write(&path).unwrap();
        path
    }

    fn change(path: &Path, at: u64, byte: u8) {
        fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(&[byte], at).unwrap();
    }

    #[test]
    fn a_file_that_is_as_it_was_is_known_once_and_any_change_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = sealed(dir.path());
        assert!(!broken(&path));
        assert!(broken(&path), "a seal is good for one open");
        for at in [0, 1, STRETCH_BYTES - 1, STRETCH_BYTES, STRETCH_BYTES + 5, 2 * STRETCH_BYTES + 4_320] {
            write(&path).unwrap();
            change(&path, at, 0x80);
            assert!(broken(&path), "byte {at}");
        }
        write(&path).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(2 * STRETCH_BYTES + 4_322).unwrap();
        assert!(broken(&path), "longer");
        write(&path).unwrap();
        file.set_len(STRETCH_BYTES).unwrap();
        assert!(broken(&path), "shorter");
        write(&path).unwrap();
        assert!(!broken(&path));
    }

    #[test]
    fn stretches_that_have_changed_places_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = sealed(dir.path());
        // A byte of the first stretch lies at the same place of the second instead.
        change(&path, 77, 0);
        change(&path, STRETCH_BYTES + 77, b'x');
        assert!(broken(&path));
    }

    #[test]
    fn a_seal_that_is_damaged_or_of_another_form_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = sealed(dir.path());
        let good = fs::read(path_of(&path)).unwrap();
        for cut in 0..good.len() {
            fs::write(path_of(&path), &good[..cut]).unwrap();
            assert!(broken(&path), "cut at {cut}");
        }
        for at in [0, 15, 16, 24, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(path_of(&path), bad).unwrap();
            assert!(broken(&path), "byte {at}");
        }
        fs::write(path_of(&path), [&good[..], b"x"].concat()).unwrap();
        assert!(broken(&path));
        fs::write(path_of(&path), good).unwrap();
        assert!(!broken(&path));
    }
}

//! How the key-value file is known to be what this program has written, without walking it.
//!
//! The file carries a checksum in each of its pages, and verifying them means walking its whole tree twice, page by page, wherever they lie:
//! seconds for millions of rows. Two files beside it say sooner what it must be, when it is read once, in order and on several threads:
//!
//! - the **seal**, after a clean close: its length and a checksum over all of it;
//! - the **sums** ([`crate::sums`]), while it is open: a checksum of each page as it was last written.
//!
//! If neither says that the file is as it was left, the pages' own checksums decide, as they would without them. Neither is ever needed,
//! and one that is out of date does no harm.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use crate::sums::{noted_bytes, noted_form, of_pages, sums_of};

const MAGIC: &[u8; 16] = b"trunkline-seal\0\x02";

fn seal_of(file: &Path) -> PathBuf {
    file.with_extension("seal")
}

/// Seals a closed file.
pub(crate) fn write(file: &Path) -> io::Result<()> {
    let opened = File::open(file)?;
    let seal = sealed(opened.metadata()?.len(), &of_pages(&opened)?);
    let new = file.with_extension("seal.new");
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    out.write_all(&seal)?;
    // Without a sync of its own: one that is lost with the power is one that is not there.
    fs::rename(new, seal_of(file))?;
    // Where they stay they are the same file's.
    fs::remove_file(sums_of(file)).or(Ok(()))
}

/// A file's sums if it is what it was when it was sealed, or last written in this run of the machine. Seal and earlier sums are gone
/// afterwards: the file is about to change.
pub(crate) fn known(file: &Path) -> Option<Vec<u64>> {
    let (seal, noted) = (fs::read(seal_of(file)), fs::read(sums_of(file)));
    // What stays says at the next open that the file has changed.
    drop(fs::remove_file(seal_of(file)));
    drop(fs::remove_file(sums_of(file)));
    if seal.is_err() && noted.is_err() {
        return None;
    }
    let opened = File::open(file).ok()?;
    let len = opened.metadata().ok()?.len();
    // What cannot be this file's is not worth reading all of it for.
    let may_be = |known: &io::Result<Vec<u8>>, form: Option<Vec<u8>>| {
        known.as_ref().is_ok_and(|known| form.is_some_and(|form| known.starts_with(&form)))
    };
    let may_be_noted = may_be(&noted, noted_form(len, &[])) && noted.as_ref().is_ok_and(|noted| noted.len() as u64 == noted_bytes(len));
    if !may_be(&seal, Some([&MAGIC[..], &len.to_le_bytes()].concat())) && !may_be_noted {
        return None;
    }
    let sums = of_pages(&opened).ok()?;
    let closed = seal.is_ok_and(|seal| seal == sealed(len, &sums));
    let killed = || noted.ok().zip(noted_form(len, &sums)).is_some_and(|(noted, form)| noted == form);
    (closed || killed()).then_some(sums)
}

fn sealed(len: u64, sums: &[u64]) -> Vec<u8> {
    let all: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
    [&MAGIC[..], &len.to_le_bytes(), &xxh3_128(&all).to_le_bytes()].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::sums::STRETCH_BYTES;

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
        assert!(known(&path).is_some());
        assert!(known(&path).is_none(), "a seal is good for one open");
        for at in [0, 1, STRETCH_BYTES - 1, STRETCH_BYTES, STRETCH_BYTES + 5, 2 * STRETCH_BYTES + 4_320] {
            write(&path).unwrap();
            change(&path, at, 0x80);
            assert!(known(&path).is_none(), "byte {at}");
        }
        write(&path).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(2 * STRETCH_BYTES + 4_322).unwrap();
        assert!(known(&path).is_none(), "longer");
        write(&path).unwrap();
        file.set_len(STRETCH_BYTES).unwrap();
        assert!(known(&path).is_none(), "shorter");
        write(&path).unwrap();
        assert!(known(&path).is_some());
    }

    #[test]
    fn stretches_that_have_changed_places_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = sealed(dir.path());
        // A byte of the first stretch lies at the same place of the second instead.
        change(&path, 77, 0);
        change(&path, STRETCH_BYTES + 77, b'x');
        assert!(known(&path).is_none());
    }

    #[test]
    fn a_seal_that_is_damaged_or_of_another_form_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = sealed(dir.path());
        let good = fs::read(seal_of(&path)).unwrap();
        for cut in 0..good.len() {
            fs::write(seal_of(&path), &good[..cut]).unwrap();
            assert!(known(&path).is_none(), "cut at {cut}");
        }
        for at in [0, 15, 16, 24, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(seal_of(&path), bad).unwrap();
            assert!(known(&path).is_none(), "byte {at}");
        }
        fs::write(seal_of(&path), [&good[..], b"x"].concat()).unwrap();
        assert!(known(&path).is_none());
        fs::write(seal_of(&path), good).unwrap();
        assert!(known(&path).is_some());
    }
}

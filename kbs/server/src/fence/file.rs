//! A head in a file: beside the store, or better on another disk.
//!
//! # Layout
//! Two lines of 256 bytes, `hanzo-kbs-head v2 <seq> <SHA-384, 96 hex digits> <check> ` with spaces up to the line's end;
//! `check` is the first 16 hex digits of the SHA-256 of what stands before it. The newer of the valid lines counts. A newer
//! head goes over the older line in place and is synced: one write to the disk, and a crash in the middle of it leaves the
//! other line. Anything else replaces the whole file atomically.
//!
//! Read as well: the one line `hanzo-kbs-head v1 <seq> <SHA-384>` of earlier versions.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_store::StoreError;

use super::Fence;
use crate::KbsError;
use crate::head::Head;

const LINE_BYTES: usize = 256;
const LINE_START: &str = "hanzo-kbs-head v2 ";
const V1_START: &str = "hanzo-kbs-head v1 ";

pub(super) struct FileFence {
    path: PathBuf,
}

impl FileFence {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Both lines say the same.
    fn replace(&self, head: Head) -> std::io::Result<()> {
        let temporary = self.path.with_extension("tmp");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&[line(head), line(head)].concat())?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        let dir = self.path.parent().filter(|d| !d.as_os_str().is_empty());
        File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Fence for FileFence {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn read(&self) -> Result<Option<Head>, KbsError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StoreError::io("read head file", &self.path, e).into()),
        };
        let head = newest(&bytes).or_else(|| parse_v1(&bytes));
        head.map(Some).ok_or_else(|| KbsError::File {
            what: "head file",
            path: self.path.clone(),
            detail: "not a head file of this version".into(),
        })
    }

    /// A file beside it, made, synced and removed.
    fn probe(&self) -> Result<(), KbsError> {
        let probe = self.path.with_extension("probe");
        let write = || -> std::io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&probe)?;
            file.write_all(b"probe\n")?;
            file.sync_all()?;
            fs::remove_file(&probe)
        };
        Ok(write().map_err(|e| StoreError::io("write", &probe, e))?)
    }

    fn write(&self, head: Head) -> Result<(), KbsError> {
        let write = || -> std::io::Result<()> {
            let file = match OpenOptions::new().read(true).write(true).open(&self.path) {
                Ok(file) => file,
                Err(e) if e.kind() == ErrorKind::NotFound => return self.replace(head),
                Err(e) => return Err(e),
            };
            let mut bytes = [0; 2 * LINE_BYTES];
            let whole = file.metadata()?.len() == bytes.len() as u64 && file.read_exact_at(&mut bytes, 0).is_ok();
            match whole.then(|| older(&bytes, head)).flatten() {
                Some(at) => {
                    file.write_all_at(&line(head), at)?;
                    file.sync_data()
                }
                None => self.replace(head),
            }
        };
        Ok(write().map_err(|e| StoreError::io("write head file", &self.path, e))?)
    }
}

fn line(head: Head) -> Vec<u8> {
    let text = format!("{LINE_START}{} {} ", head.seq, head.hash);
    let check = check(&text);
    let mut line = format!("{text}{check} ").into_bytes();
    line.resize(LINE_BYTES - 1, b' ');
    line.push(b'\n');
    line
}

fn check(text: &str) -> String {
    let mut digits = Digest256::of(text.as_bytes()).to_string();
    digits.truncate(16);
    digits
}

/// Reads what [`line`] writes; nothing else.
fn parse(bytes: &[u8]) -> Option<Head> {
    let text = std::str::from_utf8(bytes).ok()?.strip_prefix(LINE_START)?;
    let mut words = text.split(' ');
    // The head's own text tells how its parts are spelled.
    let head = Head::parse(&format!("{V1_START}{} {}", words.next()?, words.next()?))?;
    (line(head) == bytes).then_some(head)
}

fn parse_v1(bytes: &[u8]) -> Option<Head> {
    Head::parse(std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?)
}

fn lines(bytes: &[u8]) -> Option<[Option<Head>; 2]> {
    let (first, second) = bytes.split_at_checked(LINE_BYTES)?;
    (second.len() == LINE_BYTES).then(|| [parse(first), parse(second)])
}

fn newest(bytes: &[u8]) -> Option<Head> {
    let [first, second] = lines(bytes)?;
    first.into_iter().chain(second).max_by_key(|head| head.seq)
}

/// Where `head` may be written in place: over the older line, if the other one is valid and older than `head`.
fn older(bytes: &[u8], head: Head) -> Option<u64> {
    let [first, second] = lines(bytes)?;
    let is_older = |line: Option<Head>| line.is_some_and(|line| line.seq < head.seq);
    let (first_seq, second_seq) = (first.map(|h| h.seq), second.map(|h| h.seq));
    match first_seq < second_seq {
        true => is_older(second).then_some(0),
        false => is_older(first).then_some(LINE_BYTES as u64),
    }
}

#[cfg(test)]
mod tests {
    use hanzo_attestation::Digest384;

    use super::*;

    fn head(seq: u64) -> Head {
        Head {
            seq,
            hash: Digest384([seq as u8; 48]),
        }
    }

    struct World {
        fence: FileFence,
        _dir: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let fence = FileFence::new(&dir.path().join("kbs.head"));
            Self { fence, _dir: dir }
        }

        fn bytes(&self) -> Vec<u8> {
            fs::read(&self.fence.path).unwrap()
        }

        fn set(&self, bytes: &[u8]) {
            fs::write(&self.fence.path, bytes).unwrap();
        }

        fn read(&self) -> Result<Option<u64>, &'static str> {
            let head_at = |found: Head| (found == head(found.seq)).then_some(found.seq);
            let read = self.fence.read().map_err(|e| e.code())?;
            Ok(read.map(|found| head_at(found).unwrap()))
        }
    }

    #[test]
    fn it_holds_what_was_written_last_whatever_it_held() {
        let world = World::new();
        assert_eq!(world.read(), Ok(None));
        for seq in [1, 2, 3, 9, 10, u64::MAX, 4, 4, 5] {
            world.fence.write(head(seq)).unwrap();
            assert_eq!(world.read(), Ok(Some(seq)));
            assert_eq!(world.bytes().len(), 512);
        }
        world.set(format!("{}\n", head(7)).as_bytes());
        assert_eq!(world.read(), Ok(Some(7)), "the earlier version");
        world.fence.write(head(8)).unwrap();
        assert_eq!(world.read(), Ok(Some(8)));
    }

    #[test]
    fn a_write_that_was_cut_off_anywhere_leaves_the_head_before_it_and_nothing_else() {
        let world = World::new();
        world.fence.write(head(98)).unwrap();
        world.fence.write(head(99)).unwrap();
        let before = world.bytes();
        world.fence.write(head(100)).unwrap();
        let after = world.bytes();
        for cut in 0..=512 {
            let torn = [&after[..cut], &before[cut..]].concat();
            world.set(&torn);
            let expected = if torn == after { 100 } else { 99 };
            assert_eq!(world.read(), Ok(Some(expected)), "cut at {cut}");
            // And the next write puts it right.
            world.fence.write(head(101)).unwrap();
            assert_eq!(world.read(), Ok(Some(101)), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_head_file_is_refused() {
        let world = World::new();
        world.fence.write(head(5)).unwrap();
        let good = world.bytes();
        let mut changed = good.clone();
        changed[20] ^= 1;
        changed[276] ^= 1;
        for bad in [
            &b""[..],
            b"hanzo-kbs-head v1 007 00\n",
            &good[..511],
            &[&good[..], b"\n"].concat(),
            &changed,
        ] {
            world.set(bad);
            assert_eq!(world.read(), Err("kbs.file"), "{} bytes", bad.len());
        }
    }
}

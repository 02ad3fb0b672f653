//! What a host can do to a pack, and the refusal each gets.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_pack::{CHUNK_BYTES, HEADER_BYTES, PackError, SealedPack, open, seal, weights_root};
use hanzo_pqc::Dek;
use zeroize::Zeroizing;

const SEALED: usize = CHUNK_BYTES + 16;

struct Bench {
    dir: tempfile::TempDir,
    pack: PathBuf,
    sealed: SealedPack,
}

fn dek(byte: u8) -> Dek {
    Dek::from_bytes(Zeroizing::new([byte; 32]))
}

fn model(dir: &Path, fill: u8) -> PathBuf {
    let model = dir.join(format!("model-{fill}"));
    fs::create_dir(&model).unwrap();
    let weights: Vec<u8> = (0..3 * CHUNK_BYTES + 77).map(|i| (i / 7) as u8 ^ fill).collect();
    fs::write(model.join("model.gguf"), weights).unwrap();
    fs::write(model.join("tokenizer.json"), b"{}").unwrap();
    fs::write(model.join("empty.txt"), b"").unwrap();
    model
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pack = dir.path().join("a.pack");
        let model = model(dir.path(), 0);
        let sealed = seal(&model, &dek(1), &pack, &|_| ()).unwrap();
        assert_eq!(weights_root(&model, &|_| ()).unwrap(), sealed.weights_root);
        assert_eq!(sealed.pack_bytes, fs::metadata(&pack).unwrap().len());
        fs::create_dir(dir.path().join("out")).unwrap();
        Self { dir, pack, sealed }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.pack).unwrap()
    }

    /// Where the first data chunk starts.
    fn data_start(&self) -> usize {
        let table = self
            .sealed
            .files
            .iter()
            .map(|f| 9 + f.name.as_str().len())
            .sum::<usize>()
            + 4
            + 5 * 32;
        HEADER_BYTES + table + 16
    }

    fn refused(&self, bytes: &[u8]) -> PackError {
        self.refused_for(bytes, 1, self.sealed.weights_root)
    }

    fn refused_for(&self, bytes: &[u8], key: u8, root: Digest256) -> PackError {
        let path = self.dir.path().join("tampered.pack");
        fs::write(&path, bytes).unwrap();
        let error = open(&path, &dek(key), &root, &self.out(), &|_| ()).unwrap_err();
        let left: Vec<_> = fs::read_dir(self.out()).unwrap().collect();
        assert!(left.is_empty(), "{error}: left {left:?}");
        error
    }
}

#[test]
fn a_genuine_pack_opens_whole_and_only_once() {
    let bench = Bench::new();
    let opened = open(&bench.pack, &dek(1), &bench.sealed.weights_root, &bench.out(), &|_| ()).unwrap();
    assert_eq!(opened.files, bench.sealed.files);
    for file in &opened.files {
        let source = fs::read(bench.dir.path().join("model-0").join(file.name.as_str())).unwrap();
        assert_eq!(fs::read(opened.dir.join(file.name.as_str())).unwrap(), source);
        assert_eq!(
            opened.file_sha256(file.name.as_str()).unwrap(),
            Some(Digest256::of(&source))
        );
    }
    assert_eq!(opened.file_sha256("../a.pack").unwrap(), None);
    let again = open(&bench.pack, &dek(1), &bench.sealed.weights_root, &bench.out(), &|_| ());
    assert_eq!(again.unwrap_err().code(), "pack.output.exists");
}

#[test]
fn a_flipped_bit_is_refused_wherever_it_is() {
    let bench = Bench::new();
    let good = bench.bytes();
    let start = bench.data_start();
    for (at, code) in [
        (0, "pack.header"),
        (11, "pack.header"),
        (20, "pack.table.not_authentic"),
        (63, "pack.table.not_authentic"),
        (HEADER_BYTES, "pack.table.not_authentic"),
        (start - 1, "pack.table.not_authentic"),
        (start, "pack.chunk.not_authentic"),
        (start + SEALED - 1, "pack.chunk.not_authentic"),
        (good.len() - 1, "pack.chunk.not_authentic"),
    ] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert_eq!(bench.refused(&bad).code(), code, "byte {at}");
    }
    let mut bad = good;
    bad[start + SEALED + 5] ^= 0x80;
    match bench.refused(&bad) {
        PackError::Chunk { chunk, file, offset } => {
            assert_eq!((chunk, file.as_str(), offset), (2, "model.gguf", CHUNK_BYTES as u64));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn dropped_reordered_repeated_and_foreign_chunks_are_named() {
    let bench = Bench::new();
    let good = bench.bytes();
    let at = |n: usize| bench.data_start() + n * SEALED;
    let dropped = [&good[..at(1)], &good[at(2)..]].concat();
    assert!(
        matches!(bench.refused(&dropped), PackError::Truncated { expected, got, .. }
        if expected - got == SEALED as u64)
    );
    let swapped = [&good[..at(0)], &good[at(1)..at(2)], &good[at(0)..at(1)], &good[at(2)..]].concat();
    assert!(matches!(
        bench.refused(&swapped),
        PackError::Reordered { chunk: 1, found: 2, .. } | PackError::Reordered { chunk: 2, found: 1, .. }
    ));
    let repeated = [&good[..at(1)], &good[at(0)..at(1)], &good[at(2)..]].concat();
    assert!(matches!(
        bench.refused(&repeated),
        PackError::Reordered { chunk: 2, found: 1, .. }
    ));

    let other = bench.dir.path().join("b.pack");
    seal(&bench.dir.path().join("model-0"), &dek(1), &other, &|_| ()).unwrap();
    let other = fs::read(&other).unwrap();
    let foreign = [&good[..at(1)], &other[at(1)..at(2)], &good[at(2)..]].concat();
    assert!(matches!(bench.refused(&foreign), PackError::Chunk { chunk: 2, .. }));
}

#[test]
fn truncated_and_longer_packs_are_refused() {
    let bench = Bench::new();
    let good = bench.bytes();
    for cut in [0, 1, HEADER_BYTES - 1] {
        assert_eq!(bench.refused(&good[..cut]).code(), "pack.header", "{cut}");
    }
    for cut in [HEADER_BYTES, bench.data_start() - 1, bench.data_start(), good.len() - 1] {
        assert_eq!(bench.refused(&good[..cut]).code(), "pack.truncated", "{cut}");
    }
    assert_eq!(bench.refused(&[&good[..], &[0]].concat()).code(), "pack.trailing");
}

#[test]
fn another_key_another_and_an_older_pack_under_the_same_key_are_refused() {
    let bench = Bench::new();
    let good = bench.bytes();
    assert_eq!(
        bench.refused_for(&good, 2, bench.sealed.weights_root).code(),
        "pack.table.not_authentic"
    );
    let newer = bench.dir.path().join("newer.pack");
    let model = model(bench.dir.path(), 1);
    let newer = seal(&model, &dek(1), &newer, &|_| ()).unwrap().weights_root;
    assert!(matches!(
        bench.refused_for(&good, 1, newer),
        PackError::Root { expected, got } if expected == newer && got == bench.sealed.weights_root
    ));
}

#[test]
fn sealing_again_never_repeats_a_key_and_nonce_and_keeps_the_root() {
    let bench = Bench::new();
    let mut seen = vec![(bench.bytes()[16..48].to_vec(), bench.bytes()[HEADER_BYTES..].to_vec())];
    for n in 0..4 {
        let path = bench.dir.path().join(format!("again-{n}.pack"));
        let sealed = seal(&bench.dir.path().join("model-0"), &dek(1), &path, &|_| ()).unwrap();
        assert_eq!(sealed.weights_root, bench.sealed.weights_root);
        let bytes = fs::read(&path).unwrap();
        let (salt, body) = (bytes[16..48].to_vec(), bytes[HEADER_BYTES..].to_vec());
        assert!(seen.iter().all(|(s, b)| *s != salt && *b != body));
        seen.push((salt, body));
    }
}

#[test]
fn sources_that_the_format_does_not_carry_are_refused_and_leave_no_pack() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path(), 0);
    let pack = dir.path().join("a.pack");
    let refused = || {
        let error = seal(&model, &dek(1), &pack, &|_| ()).unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "{error}");
        error.code()
    };
    fs::create_dir(model.join("sub")).unwrap();
    assert_eq!(refused(), "pack.source.kind");
    fs::remove_dir(model.join("sub")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", model.join("link")).unwrap();
    assert_eq!(refused(), "pack.source.kind");
    fs::remove_file(model.join("link")).unwrap();
    fs::write(model.join(".hidden"), b"x").unwrap();
    assert_eq!(refused(), "pack.source.name");
    for entry in fs::read_dir(&model).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(refused(), "pack.source.size");
}

#[test]
fn a_full_disk_is_named_and_nothing_is_left() {
    // A file system of 1 MiB, which only root can mount; elsewhere the test says that it did not run.
    let bench = Bench::new();
    let small = bench.dir.path().join("small");
    fs::create_dir(&small).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&small)
        .output()
        .is_ok_and(|o| o.status.success());
    if !mounted {
        let _ = writeln!(
            std::io::stderr(),
            "DISK-FULL TEST NOT RUN: mounting a small tmpfs needs privileges"
        );
        return;
    }
    let sealed = seal(
        &bench.dir.path().join("model-0"),
        &dek(1),
        &small.join("a.pack"),
        &|_| (),
    );
    let opened = open(&bench.pack, &dek(1), &bench.sealed.weights_root, &small, &|_| ());
    let left = fs::read_dir(&small).unwrap().count();
    let unmounted = std::process::Command::new("umount").arg(&small).status();
    assert_eq!(sealed.unwrap_err().code(), "pack.disk_full");
    assert_eq!(opened.unwrap_err().code(), "pack.disk_full");
    assert_eq!(left, 0);
    assert!(unmounted.is_ok_and(|s| s.success()));
}

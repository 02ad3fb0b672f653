//! Opening a pack against `age` and against memory copies of the same bytes, and the limits that the format sets, all sides in
//! one run, in turns, medians: `cargo bench -p hanzo-pack --bench open` (128 MiB; `-- --mib N`), `-- --smoke` (32 MiB).
//!
//! Everything lies in memory (`/dev/shm`, or `-- --dir DIR`), as it does in a guest: what is compared is the work, not a disk. The
//! first round of each side is not counted, and rounds are short: a virtual machine gets its memory from its host when it is first
//! touched, and a host may take back what was free for a second or two. Then all sides measure the host.

use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use hanzo_attestation::merkle;
use hanzo_device::sha256::{LANES, of_four};
use hanzo_pack::CHUNK_BYTES;
use hanzo_pqc::{Dek, aead::Aes256Gcm};
use zeroize::Zeroizing;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let smoke = arguments.iter().any(|a| a == "--smoke");
    let after = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1)
    };
    let dir = after("--dir");
    let dir = dir.map_or_else(default_dir, PathBuf::from);
    let (mib, rounds) = if smoke { (32, 3) } else { (128, 15) };
    let mib = after("--mib").and_then(|text| text.parse().ok()).unwrap_or(mib);
    let bench = Bench::new(&dir, mib);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    println!(
        "{mib} MiB in {}, {threads} threads, medians of {rounds} rounds in turns, GiB/s",
        dir.display()
    );
    let sides: Vec<(&str, Box<dyn Fn() + '_>)> = vec![
        ("open the pack", Box::new(|| bench.open())),
        ("age -d", Box::new(|| bench.age())),
        ("memory copy into new memory", Box::new(|| bench.copy_new(threads))),
        (
            "memory copy into touched memory",
            Box::new(|| bench.copy_touched(threads)),
        ),
        ("file copy by chunks", Box::new(|| bench.copy_file(threads))),
        ("SHA-256 of the leaves, one by one", Box::new(|| bench.hash(threads))),
        (
            "SHA-256 of the leaves, by four",
            Box::new(|| bench.hash_by_four(threads)),
        ),
        ("the same on one thread", Box::new(|| bench.hash_by_four(1))),
        ("AES-256-GCM alone", Box::new(|| bench.decrypt(threads))),
        ("the same on one thread", Box::new(|| bench.decrypt(1))),
    ];
    let mut times = vec![Vec::new(); sides.len()];
    for round in 0..=rounds {
        for ((_, side), taken) in sides.iter().zip(&mut times) {
            let start = Instant::now();
            side();
            if round > 0 {
                taken.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let rates: Vec<f64> = times
        .iter_mut()
        .map(|taken| {
            taken.sort_by(f64::total_cmp);
            mib as f64 / 1024.0 / taken[taken.len() / 2]
        })
        .collect();
    for ((name, _), rate) in sides.iter().zip(&rates) {
        println!("{name:34} {rate:6.2}");
    }
    let [open, age, new, touched, file, one, four, _, aes, _] = rates[..] else {
        unreachable!("ten sides")
    };
    let hash = one.max(four);
    println!(
        "ratio open / age                     {}",
        ratio(open, age, bench.has_age(), 4.0)
    );
    println!("ratio open / copy, new memory        {}", ratio(open, new, true, 0.5));
    println!("ratio open / copy, touched memory    {:.2}", open / touched);
    println!("ratio open / file copy               {:.2}", open / file);
    let both = 1.0 / (1.0 / hash + 1.0 / aes);
    println!(
        "limit: hash and decrypt without any copy {both:.2} GiB/s; of it, reached {:.2}",
        open / both
    );
    for (what, rate) in [("SHA-256", hash), ("AES-256-GCM", aes), ("both in turn", both)] {
        println!(
            "limit: {what:13} alone / age          {}",
            ratio(rate, age, bench.has_age(), 4.0)
        );
    }
}

fn ratio(ours: f64, theirs: f64, is_there: bool, goal: f64) -> String {
    match is_there {
        true => format!("{:.2} (goal {goal})", ours / theirs),
        false => "not measured: no `age` on this machine".into(),
    }
}

fn default_dir() -> PathBuf {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { shm.into() } else { std::env::temp_dir() }
}

struct Bench {
    dir: tempfile::TempDir,
    plain: Vec<u8>,
    touched: std::cell::RefCell<Vec<u8>>,
    dek: Dek,
    root: hanzo_attestation::Digest256,
    identity: Option<PathBuf>,
}

impl Bench {
    fn new(parent: &Path, mib: usize) -> Self {
        let dir = tempfile::tempdir_in(parent).expect("a temporary directory");
        let model = dir.path().join("model");
        fs::create_dir(&model).expect("a directory");
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut plain = Vec::with_capacity(mib << 20);
        while plain.len() < mib << 20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            plain.extend_from_slice(&state.to_le_bytes());
        }
        fs::write(model.join("model.gguf"), &plain).expect("room");
        let dek = Dek::from_bytes(Zeroizing::new([7; 32]));
        let pack = dir.path().join("model.pack");
        let root = hanzo_pack::seal(&model, &dek, &pack, &|_| ())
            .expect("a pack")
            .weights_root;
        let identity = age_file(dir.path(), &model.join("model.gguf"));
        Self {
            touched: std::cell::RefCell::new(vec![0; plain.len()]),
            dir,
            plain,
            dek,
            root,
            identity,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn has_age(&self) -> bool {
        self.identity.is_some()
    }

    fn open(&self) {
        let (pack, out) = (self.at("model.pack"), self.at("out"));
        fs::create_dir(&out).expect("a directory");
        hanzo_pack::open(&pack, &self.dek, &self.root, &out, &|_| ()).expect("an opened pack");
        fs::remove_dir_all(out).expect("removed");
    }

    fn age(&self) {
        let Some(identity) = &self.identity else { return };
        let out = self.at("age.out");
        let status = Command::new("age")
            .args(["-d", "-i"])
            .args([identity, &PathBuf::from("-o"), &out, &self.at("model.age")])
            .status()
            .expect("age runs");
        assert!(status.success());
        fs::remove_file(out).expect("removed");
    }

    /// Each thread takes every `threads`-th chunk.
    fn shared(&self, threads: usize, work: impl Fn(usize, &[u8]) + Sync) {
        let (work, chunks) = (&work, &self.plain);
        std::thread::scope(|scope| {
            for first in 0..threads {
                scope.spawn(move || {
                    let mine = chunks.chunks(CHUNK_BYTES).enumerate().skip(first).step_by(threads);
                    mine.for_each(|(number, chunk)| work(number, chunk));
                });
            }
        });
    }

    fn copy_into(&self, to: &mut [u8], threads: usize) {
        let part = self.plain.len().div_ceil(threads);
        std::thread::scope(|scope| {
            for (from, to) in self.plain.chunks(part).zip(to.chunks_mut(part)) {
                scope.spawn(move || to.copy_from_slice(from));
            }
        });
        black_box(&to);
    }

    fn copy_new(&self, threads: usize) {
        // Zeroed pages are mapped when they are written, as those of a new file are.
        let mut to = vec![0; self.plain.len()];
        self.copy_into(&mut to, threads);
    }

    fn copy_touched(&self, threads: usize) {
        self.copy_into(&mut self.touched.borrow_mut(), threads);
    }

    fn copy_file(&self, threads: usize) {
        let out = self.at("copy.out");
        let from = File::open(self.at("model/model.gguf")).expect("the file");
        let to = File::create_new(&out).expect("a file");
        self.shared(threads, |number, chunk| {
            let mut buffer = vec![0; chunk.len()];
            let offset = (number * CHUNK_BYTES) as u64;
            from.read_exact_at(&mut buffer, offset).expect("read");
            to.write_all_at(&buffer, offset).expect("written");
        });
        fs::remove_file(out).expect("removed");
    }

    fn hash(&self, threads: usize) {
        self.shared(threads, |_, chunk| {
            black_box(merkle::leaf_hash(&[b"C", &(chunk.len() as u32).to_be_bytes(), chunk]));
        });
    }

    /// The same, four chunks at a time, as packs are opened.
    fn hash_by_four(&self, threads: usize) {
        let groups = &self.plain;
        std::thread::scope(|scope| {
            for first in 0..threads {
                scope.spawn(move || {
                    let mine = groups.chunks(LANES * CHUNK_BYTES).skip(first).step_by(threads);
                    for group in mine {
                        let parts: Vec<&[u8]> = group.chunks(CHUNK_BYTES).collect();
                        let prefix = [&[0, b'C'][..], &(CHUNK_BYTES as u32).to_be_bytes()].concat();
                        black_box(parts.try_into().ok().and_then(|four| of_four(&prefix, four)));
                    }
                });
            }
        });
    }

    /// One sealed chunk for each thread, opened again and again: what the cipher does when memory costs nothing.
    fn decrypt(&self, threads: usize) {
        let cipher = Aes256Gcm::new(&[9; 32]).expect("a key");
        let mut sealed = vec![1; CHUNK_BYTES];
        cipher.seal_in_place(&[0; 12], b"", &mut sealed).expect("sealed");
        let (cipher, sealed, chunks) = (&cipher, &sealed, self.plain.len() / CHUNK_BYTES);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(move || {
                    let mut buffer = Vec::with_capacity(sealed.len());
                    for _ in 0..chunks.div_ceil(threads) {
                        buffer.clear();
                        buffer.extend_from_slice(sealed);
                        cipher.open_in_place(&[0; 12], b"", &mut buffer).expect("opened");
                    }
                });
            }
        });
    }
}

/// The same bytes sealed by `age` to a key of its own; `None` if there is no `age`.
fn age_file(dir: &Path, plain: &Path) -> Option<PathBuf> {
    let identity = dir.join("age.key");
    let made = Command::new("age-keygen")
        .arg("-o")
        .arg(&identity)
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return None;
    }
    let text = fs::read_to_string(&identity).expect("the key");
    let recipient = text.lines().find_map(|line| line.strip_prefix("# public key: "))?;
    let sealed = Command::new("age")
        .args(["-r", recipient, "-o"])
        .args([&dir.join("model.age"), plain])
        .status()
        .expect("age runs");
    assert!(sealed.success());
    Some(identity)
}

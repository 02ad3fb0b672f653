//! Opening a pack against raw AES-256-GCM over the same bytes, both sides in one run:
//! `cargo bench -p hanzo-pack` (256 MiB), `-- --smoke` (16 MiB).

use std::fs;
use std::io::Write;
use std::time::Instant;

use hanzo_attestation::Digest256;
use hanzo_pqc::{Dek, aead::Aes256Gcm};
use zeroize::Zeroizing;

fn main() {
    let mib = if std::env::args().any(|a| a == "--smoke") {
        16
    } else {
        256
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (model, out) = (dir.path().join("model"), dir.path().join("out"));
    fs::create_dir(&model).expect("a directory");
    fs::create_dir(&out).expect("a directory");
    let mut file = fs::File::create(model.join("model.gguf")).expect("a file");
    for i in 0..mib {
        file.write_all(&vec![i as u8; 1 << 20]).expect("disk space");
    }
    let dek = Dek::from_bytes(Zeroizing::new([7; 32]));
    let pack = dir.path().join("model.pack");

    let seal_s = time(|| drop(hanzo_pack::seal(&model, &dek, &pack, &|_| ()).expect("a pack")));
    let root = hanzo_pack::weights_root(&model, &|_| ()).expect("a root");
    let open_s = time(|| drop(hanzo_pack::open(&pack, &dek, &root, &out, &|_| ()).expect("an opened pack")));

    let cipher = Aes256Gcm::new(&[9; 32]).expect("a key");
    let mut chunk = vec![1_u8; 1 << 20];
    cipher.seal_in_place(&[0; 12], b"", &mut chunk).expect("sealed");
    let copies: Vec<_> = (0..mib).map(|_| chunk.clone()).collect();
    let raw_s = time(|| {
        for mut copy in copies {
            cipher.open_in_place(&[0; 12], b"", &mut copy).expect("opened");
        }
    });
    let plain = vec![1_u8; 1 << 20];
    let sha_s = time(|| {
        (0..mib).for_each(|_| {
            std::hint::black_box(Digest256::of(&plain));
        })
    });

    let rate = |s: f64| f64::from(mib) / 1024.0 / s;
    println!(
        "{mib} MiB   seal {:.2} GiB/s   open {:.2} GiB/s (all threads, decrypt + SHA-256 + write)",
        rate(seal_s),
        rate(open_s)
    );
    println!(
        "one thread: raw AES-256-GCM {:.2} GiB/s, SHA-256 {:.2} GiB/s",
        rate(raw_s),
        rate(sha_s)
    );
    println!("ratio open / raw AES-256-GCM of one thread: {:.2}", raw_s / open_s);
}

fn time(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

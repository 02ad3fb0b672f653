//! What a receipt costs an answer, and how many a guest appends under load.
//!
//! `cargo bench -p hanzo-receipts --bench append`; with `-- --smoke` a few of each, to see that it works.
//!
//! One run prints all sides: the two signatures alone; an fsync after as many bytes, which is the disk's limit; a bare commit of a
//! row of a receipt's length to the same kind of store on the same disk, which is the least that durability costs; a receipt whole
//! (begin, commit to bytes, number, sign, append to the log, commit); and that under 1, 4 and 16 callers at once, in turns with the
//! same callers one after the other, each with a transaction of its own. The goal is 0.5 ms for an answer beyond what the disk takes.

#[path = "../tests/support/fixture.rs"]
mod fixture;

use std::fs::File;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fixture::*;
use hanzo_pqc::Domain;
use hanzo_receipts::*;

fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default().as_secs_f64() * 1e3
}

fn line(name: &str, mut took: Vec<Duration>, wall: Duration) -> f64 {
    took.sort();
    let p50 = quantile(&took, 0.5);
    println!(
        "{name:<34} {:>8.3} ms p50  {:>8.3} ms p99  {:>8.0} /s",
        p50,
        quantile(&took, 0.99),
        took.len() as f64 / wall.as_secs_f64()
    );
    p50
}

fn timed(n: usize, mut one: impl FnMut(u64)) -> (Vec<Duration>, Duration) {
    let start = Instant::now();
    let took = (0..n as u64)
        .map(|n| {
            let begun = Instant::now();
            one(n);
            begun.elapsed()
        })
        .collect();
    (took, start.elapsed())
}

fn unique(n: u64) -> FreshBytes {
    let mut fresh = fresh(1);
    fresh.id[..8].copy_from_slice(&n.to_be_bytes());
    fresh
}

fn main() {
    let smoke = std::env::args().any(|a| a == "--smoke");
    let each = if smoke { 20 } else { 2_000 };
    // Beside the build, not in a file system that lives in memory.
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    println!("receipts on {}, {each} of each", place.path().display());

    let signer = keys(1);
    let message = [7; 1_500];
    let (took, wall) = timed(each, |_| drop(signer.sign(Domain::Receipt, &message).expect("signing")));
    let signing = line("the two signatures", took, wall);

    let document = vec![7_u8; 8_500];
    let mut file = File::create(place.path().join("bytes")).expect("a file");
    let (took, wall) = timed(each, |_| {
        file.write_all(&document)
            .and_then(|()| file.sync_data())
            .expect("an fsync");
    });
    line("an fsync of as many bytes", took, wall);

    let db = store(place.path());
    let sql = "CREATE TABLE bare (n INTEGER PRIMARY KEY, document BLOB NOT NULL) STRICT";
    db.write(|tx| -> Result<_, ReceiptLogError> { Ok(tx.execute_batch(sql)?) })
        .expect("a table");
    let (took, wall) = timed(each, |n| {
        db.write(|tx| -> Result<_, ReceiptLogError> {
            let mut insert = tx.prepare_cached("INSERT INTO bare VALUES (?1, ?2)")?;
            Ok(insert.execute((n as i64, &document))?)
        })
        .expect("a commit");
    });
    let bare = line("a commit of as many bytes", took, wall);

    let public = public(&db);
    let log = under(&public, 1);
    let ids = AtomicU64::new(0);
    let next = || unique(ids.fetch_add(1, Ordering::Relaxed));
    let (took, wall) = timed(each, |_| drop(receipt(&log, next(), None).expect("a receipt")));
    let whole = line("a receipt, one caller", took, wall);
    let alone = Mutex::new(());
    for callers in [1, 4, 16] {
        for (how, one_by_one) in [("each its own commit", true), ("together", false)] {
            let (before, start) = (log.groups(), Instant::now());
            let took: Vec<Duration> = std::thread::scope(|scope| {
                let running: Vec<_> = (0..callers)
                    .map(|_| {
                        let one = |_| {
                            let turn = one_by_one.then(|| alone.lock());
                            drop(receipt(&log, next(), None).expect("a receipt"));
                            drop(turn);
                        };
                        scope.spawn(move || timed((each / callers).max(4), one).0)
                    })
                    .collect();
                running.into_iter().flat_map(|r| r.join().expect("a caller")).collect()
            });
            let (wall, count) = (start.elapsed(), took.len() as f64);
            line(&format!("{callers} callers, {how}"), took, wall);
            println!("{:>36.1} receipts in a commit", count / (log.groups() - before) as f64);
        }
    }
    let mine = owner(0xaa);
    let id = unique(u64::MAX).id;
    receipt(&log, unique(u64::MAX), Some(owner(0xaa))).expect("a receipt");
    let (took, wall) = timed(each, |_| {
        let fetched = log.fetch(&ReceiptId(id), &mine).expect("the store");
        assert!(fetched.is_some_and(|r| r.log.is_some()));
    });
    line("fetching one with its proof", took, wall);
    println!(
        "receipt cost per answer: {whole:.3} ms, of which {signing:.3} ms signing and {bare:.3} ms the disk: {:.3} ms beyond the disk (goal 0.5)",
        whole - bare
    );
}

//! A ledger whose process is killed at random moments: every block that it said it had is there whole, and the chain goes on.
//!
//! `HANZO_CRASH_ROUNDS=200 cargo test -p hanzo-mining --test crash` runs two hundred.

#[path = "../../ledger/tests/support/fixture.rs"]
mod fixture;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fixture::*;
use hanzo_ledger::*;
use hanzo_mining::MiningLedger;
use hanzo_pqc::Dek;

const PLACE: &str = "HANZO_CRASH_LEDGER";

fn users() -> (Vec<User>, Genesis) {
    let (users, registrars): (Vec<_>, Vec<_>) = ((0..4).map(user).collect(), (100..103).map(user).collect());
    let genesis = genesis(&users, &registrars, params());
    (users, genesis)
}

fn open(place: &Path, genesis: &Genesis) -> MiningLedger {
    let key = Dek::from_slice(&[9; 32]).unwrap();
    MiningLedger::open(&place.join("ledger.db"), &key, genesis.clone()).unwrap()
}

/// The next block: two transfers.
fn next(ledger: &MiningLedger, users: &[User]) -> Block {
    ledger.read(|state| {
        let txs = (1..3).map(|who: usize| {
            let nonce = state.account(&users[who].address).nonce;
            users[who]
                .tx(state.network(), nonce, transfer(&users[0], 3))
                .verify(state)
                .unwrap()
        });
        let time = state.head().time_ms + 500;
        state
            .propose(users[3].address, time, txs.collect::<Vec<_>>())
            .unwrap()
            .block
            .to_block()
    })
}

/// Not a test: the process that is killed. It says what is on the disk, after it is.
#[test]
fn the_ledger_that_is_killed() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let (users, genesis) = users();
    let ledger = open(&PathBuf::from(place), &genesis);
    loop {
        let done = ledger.submit(next(&ledger, &users)).unwrap();
        let mut out = std::io::stdout().lock();
        if writeln!(out, "HAS {} {} END", done.height, done.root)
            .and_then(|()| out.flush())
            .is_err()
        {
            return;
        }
    }
}

#[test]
fn a_killed_ledger_keeps_every_block_it_reported_whole_and_goes_on() {
    let rounds: u32 = std::env::var("HANZO_CRASH_ROUNDS").map_or(5, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let (users, genesis) = users();
    drop(open(dir.path(), &genesis));
    let mut random = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    let mut reported = 0;
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["the_ledger_that_is_killed", "--exact", "--nocapture"])
            .env(PLACE, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (first, is_first) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut said: Vec<(u64, String)> = Vec::new();
            for line in lines.map_while(Result::ok) {
                let told = line.split_once("HAS ").and_then(|(_, told)| told.strip_suffix(" END"));
                if let Some((height, root)) = told.and_then(|t| t.split_once(' ')) {
                    said.push((height.parse().unwrap(), root.to_owned()));
                    let _ = first.send(());
                }
            }
            said
        });
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let _ = is_first.recv_timeout(Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(random % 90));
        // SIGKILL: no handler runs, nothing is flushed.
        child.kill().unwrap();
        child.wait().unwrap();
        let said = reader.join().unwrap();
        // Opening counts all the money and holds the entries against the newest block's root.
        let ledger = open(dir.path(), &genesis);
        let newest = ledger.read(|s| s.head().height);
        for (height, root) in &said {
            let block = ledger
                .block(*height)
                .unwrap()
                .unwrap_or_else(|| panic!("round {round}: block {height} is lost"));
            assert_eq!(
                block.header.state_root.to_string(),
                *root,
                "round {round}: block {height}"
            );
        }
        assert!(
            said.last()
                .is_none_or(|(height, _)| newest == *height || newest == height + 1)
        );
        reported += said.len();
        ledger.submit(next(&ledger, &users)).unwrap();
    }
    let ledger = open(dir.path(), &genesis);
    let height = ledger.replay().unwrap();
    eprintln!("{rounds} kills: {reported} blocks reported, {height} in the chain");
    assert!(reported > 0);
}

//! An answer of `hanzo up` ends as a reward on a chain, and `hanzo-verify` proves it with the genesis alone.
//!
//! Two tests, one for each kind of chain: real validator processes (`hanzo-validator-simulated`, from the cargo workspace
//! enclave/chain/validator, beside `hanzo`), and one in the test's own process with real votes, blocks, store and RPC. Where the program
//! is not built, the first says so loudly and checks nothing.

#[path = "../../image/chain/tests/support/chain.rs"]
mod chain;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

const HANZO: &str = env!("CARGO_BIN_EXE_hanzo");

/// `hanzo-verify` as built beside `hanzo`.
fn hanzo_verify() -> PathBuf {
    let path = Path::new(HANZO).with_file_name("hanzo-verify");
    if !path.exists() {
        let built = Command::new(env!("CARGO"))
            .args(["build", "-p", "hanzo-verify", "--bin", "hanzo-verify"])
            .status();
        assert!(
            built.is_ok_and(|s| s.success()) && path.exists(),
            "{} is not built",
            path.display()
        );
    }
    path
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}", text(&output.stdout), text(&output.stderr))
}

fn loudly(text: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** {text} ***\n");
}

/// A folder that only this user can enter, whatever the umask.
fn private_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let mut builder = tempfile::Builder::new();
    builder
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir()
        .unwrap()
}

/// The state of a client that asked an appliance one question, and the receipt's id; asked once for both tests. `None`: no model.
fn answered() -> Option<(PathBuf, String)> {
    static ONCE: Mutex<Option<Option<(PathBuf, String)>>> = Mutex::new(None);
    let mut once = ONCE.lock().unwrap_or_else(PoisonError::into_inner);
    once.get_or_insert_with(|| {
        let state = private_dir().keep();
        let output = Command::new(HANZO)
            .args([
                "up",
                "--json",
                "--ask",
                "What is the capital of France?",
                "--max-tokens",
                "16",
                "--state",
            ])
            .arg(&state)
            .output()
            .unwrap();
        if said(&output).contains("cannot fetch the default model") {
            loudly("MODEL MISSING: the reward of an answer is NOT SHOWN");
            return None;
        }
        assert!(output.status.success(), "{}", said(&output));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let id = answer["receipt_id"].as_str().unwrap().to_owned();
        Some((state, id))
    })
    .clone()
}

/// `hanzo --json chain …`, by its words; `Err` has code and exit code. A block that is final only now may have no certificate yet.
fn hanzo_chain(words: &[&str]) -> Result<Value, (String, i32)> {
    for _ in 0..50 {
        match once(words) {
            Err((code, _)) if code == "chain.proof.not_yet" => {
                std::thread::sleep(std::time::Duration::from_millis(100))
            }
            other => return other,
        }
    }
    once(words)
}

fn once(words: &[&str]) -> Result<Value, (String, i32)> {
    let output = Command::new(HANZO)
        .args(["--json", "chain"])
        .args(words)
        .output()
        .unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&output)));
    match output.status.code() {
        Some(0) => Ok(json),
        code => Err((
            json["error"]["code"].as_str().unwrap_or_default().into(),
            code.unwrap_or(-1),
        )),
    }
}

fn balance(net: &Path, address: &str) -> u128 {
    let shown = hanzo_chain(&["account", address, "--dir", text(net)]).unwrap();
    shown["balance"].as_str().unwrap().parse().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// On a chain that runs: the claim, its twins, the proof.
fn rewarded(net: &Path, made: &Value, state: &Path, id: &str) {
    let account = |n: usize| made["accounts"][n]["address"].as_str().unwrap();
    let (miner, customer) = (account(0), account(1));
    let before = (balance(net, miner), balance(net, customer));
    let file = |name: &str| net.join(name).display().to_string();
    let (own, theirs, passphrase) = (file("miner.wallet"), file("customer.wallet"), file("passphrase"));
    let proof = file("reward.proof");
    let claim = |wallet: &str, fee: &str, wait: &str| {
        hanzo_chain(&[
            "claim",
            id,
            "--dir",
            text(net),
            "--state",
            text(state),
            "--wallet",
            wallet,
            "--customer-wallet",
            &theirs,
            "--passphrase-file",
            &passphrase,
            "--fee",
            fee,
            "--wait",
            wait,
            "--out",
            &proof,
        ])
    };
    let paid = claim(&own, "10000", "60").unwrap();
    assert_eq!(
        (&paid["checked"], &paid["registered"], &paid["simulated"]),
        (&true.into(), &true.into(), &true.into())
    );
    let units = |name: &str| paid[name].as_str().unwrap().parse::<u128>().unwrap();
    let (fee, burned, reward) = (units("fee"), units("burned"), units("reward"));
    assert!((fee, burned) == (10_000, 2_000) && reward > 0, "{paid}");
    let after = (balance(net, miner), balance(net, customer));
    assert_eq!(after, (before.0 + fee - burned + reward, before.1 - fee));

    // Once: not again, not for more, and not by somebody else. Refused at once, or never in a block.
    let refused = [("ledger.claimed".to_owned(), 40), ("chain.not_final".to_owned(), 30)];
    let again = claim(&own, "20000", "3").unwrap_err();
    assert!(refused.contains(&again), "{again:?}");
    assert_eq!(claim(&theirs, "10000", "3").unwrap_err(), ("chain.mismatch".into(), 40));
    assert_eq!((balance(net, miner), balance(net, customer)), after);

    // Offline, with the genesis alone.
    let (receipt, genesis) = (file("reward.receipt.json"), file("genesis.bin"));
    let verify = |receipt: &str, proof: &str| {
        let mut command = Command::new(hanzo_verify());
        let command = command.args(["receipt-reward", receipt, proof, "--genesis", &genesis, "--json"]);
        command.output().unwrap()
    };
    let proven = verify(&receipt, &proof);
    assert!(proven.status.success(), "{}", said(&proven));
    let json: Value = serde_json::from_slice(&proven.stdout).unwrap();
    assert_eq!(json["reward"]["reward"], paid["reward"]);
    assert_eq!(json["reward"]["miner"], miner);
    assert_eq!(json["network"]["simulated"], true);
    // A byte of the proof changed; another proof.
    let mut bytes = fs::read(&proof).unwrap();
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    let changed = file("changed.proof");
    fs::write(&changed, &bytes).unwrap();
    assert_eq!(
        verify(&receipt, &changed).status.code(),
        Some(20),
        "{}",
        said(&verify(&receipt, &changed))
    );
    let other = file("block.proof");
    hanzo_chain(&["prove", "block", "--dir", text(net), "--out", &other]).unwrap();
    assert!(!verify(&receipt, &other).status.success());
    // The customer's balance too.
    let balances = file("account.proof");
    hanzo_chain(&["prove", "account", customer, "--dir", text(net), "--out", &balances]).unwrap();
    let mut command = Command::new(hanzo_verify());
    let shown = command
        .args(["account", customer, &balances, "--genesis", &genesis, "--json"])
        .output()
        .unwrap();
    assert!(shown.status.success(), "{}", said(&shown));
    let json: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(json["account"]["balance"], after.1.to_string());
}

#[test]
fn an_answer_of_the_appliance_is_rewarded_on_a_chain_and_the_reward_is_proven_offline() {
    let Some((state, id)) = answered() else { return };
    let dir = private_dir();
    let net = dir.path().join("net");
    let made = hanzo_chain(&["init", text(&net)]).unwrap();
    (0..4).for_each(|n| chain::candidate(&net.join(n.to_string()), n));
    hanzo_chain(&["genesis", text(&net)]).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    chain::serve_chain(&runtime, &net, &stop);
    rewarded(&net, &made, &state, &id);
    stop.store(true, Ordering::Relaxed);
    runtime.shutdown_background();
}

/// `hanzo chain run`, stopped with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

#[test]
fn an_answer_of_the_appliance_is_rewarded_by_real_validator_processes() {
    let program = Path::new(HANZO).with_file_name("hanzo-validator-simulated");
    if !program.is_file() {
        loudly(&format!(
            "VALIDATORS NOT BUILT: {} is missing; `cargo build --manifest-path enclave/chain/validator/Cargo.toml` makes it",
            program.display()
        ));
        return;
    }
    let Some((state, id)) = answered() else { return };
    let dir = private_dir();
    let net = dir.path().join("net");
    // Ports of this test's own.
    let made = hanzo_chain(&["init", text(&net), "--base-port", "28300"]).unwrap();
    let mut child = Command::new(HANZO)
        .args(["--json", "chain", "run", text(&net)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let running = Running(child);
    let ready = lines.next().and_then(Result::ok).unwrap_or_default();
    let ready: Value = serde_json::from_str(&ready).unwrap_or_else(|e| panic!("the chain did not begin: {e}: {ready}"));
    assert_eq!(ready["ready"]["nodes"].as_array().map(Vec::len), Some(4), "{ready}");
    rewarded(&net, &made, &state, &id);
    drop(running);
}

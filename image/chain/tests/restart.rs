//! `hanzo chain run` with real validator processes, stopped and started again on the same folder. They are the program
//! `hanzo-validator-simulated` of the cargo workspace enclave/chain/validator; where it is not built, the test says so loudly.

#![allow(clippy::result_large_err, reason = "tests stop at the first surprise")]

#[path = "support/chain.rs"]
mod chain;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Parser;
use hanzo_chain_cli::{ChainCommand, ChainError, Output, perform};
use serde_json::Value;

/// Words of the command line that this program, started again, is to run.
const WORDS: &str = "HANZO_TEST_CHAIN_RUN";

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    chain: ChainCommand,
}

fn hanzo(words: &[&str]) -> Result<Output, ChainError> {
    let cli = Cli::try_parse_from(std::iter::once("hanzo").chain(words.iter().copied())).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let outcome = runtime.block_on(perform(cli.chain, true, || Ok(chain::simulator())));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Not a test of its own: what [`Running`] starts.
#[test]
fn as_a_program_of_its_own() {
    let Ok(words) = std::env::var(WORDS) else { return };
    let words: Vec<_> = words.split('\n').collect();
    if let Err(error) = hanzo(&words) {
        println!(
            "\n{}",
            serde_json::json!({"error": error.code(), "message": error.to_string()})
        );
    }
}

/// `hanzo chain run` as a process, told to stop when dropped.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(net: &Path, program: &Path) -> Self {
        let words = [
            "run",
            net.to_str().unwrap(),
            "--validator-program",
            program.to_str().unwrap(),
        ];
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "as_a_program_of_its_own", "--nocapture"])
            .env(WORDS, words.join("\n"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The first JSON that it prints.
    fn said(&mut self) -> Value {
        let line = self
            .lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.starts_with('{'));
        serde_json::from_str(&line.expect("it ended without a word")).unwrap()
    }

    fn stop(&mut self) {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        let _ = rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::TERM);
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.stop();
        }
    }
}

/// What is asked of a network in a folder.
struct Net(PathBuf);

impl Net {
    fn ask(&self, words: &[&str]) -> Value {
        let dir = self.0.to_str().unwrap();
        hanzo(&[words, &["--dir", dir]].concat()).unwrap().json
    }

    fn height(&self) -> u64 {
        self.ask(&["status"])["nodes"][0]["status"]["height"].as_u64().unwrap()
    }

    fn pay(&self, to: &str) {
        let (wallet, pass) = (self.0.join("customer.wallet"), self.0.join("passphrase"));
        let (wallet, pass) = (wallet.to_str().unwrap(), pass.to_str().unwrap());
        let paid = self.ask(&[
            "tx",
            "--wallet",
            wallet,
            "--passphrase-file",
            pass,
            "transfer",
            to,
            "5000",
        ]);
        assert_eq!((&paid["final"], &paid["checked"]), (&true.into(), &true.into()));
    }

    /// Where the money is: every amount, by its name.
    fn supply(&self) -> Vec<(String, String)> {
        let supply = self.ask(&["supply"]);
        let amounts = supply.as_object().unwrap().iter();
        let amounts = amounts.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        amounts
            .filter(|(_, value)| value.bytes().all(|b| b.is_ascii_digit()))
            .collect()
    }

    fn kept(&self, n: usize) -> PathBuf {
        self.0.join(n.to_string()).join("stopped.key")
    }
}

#[test]
fn a_network_that_was_stopped_goes_on_in_the_same_folder_and_without_its_keys_it_says_that_it_cannot() {
    let own = std::env::current_exe().unwrap();
    let program = own
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("hanzo-validator-simulated");
    if !program.is_file() {
        let _ = writeln!(
            std::io::stderr(),
            "VALIDATORS NOT BUILT: {} is missing; `cargo build --manifest-path enclave/chain/validator/Cargo.toml` makes it",
            program.display()
        );
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let net = Net(dir.path().join("net"));
    let path = net.0.to_str().unwrap();
    let made = hanzo(&["init", path, "--base-port", "28640"]).unwrap().json;
    let miner = made["accounts"][0]["address"].as_str().unwrap().to_owned();

    let mut running = Running::start(&net.0, &program);
    let ready = running.said();
    assert_eq!(ready["ready"]["nodes"].as_array().map(Vec::len), Some(4), "{ready}");
    net.pay(&miner);
    let (height, supply) = (net.height(), net.supply());
    assert!(supply.len() > 3, "{supply:?}");
    running.stop();
    for n in 0..4 {
        let mode = std::fs::metadata(net.kept(n)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }

    // One of the four was not stopped but killed: it comes back with another key, and the others go on with theirs.
    std::fs::remove_file(net.kept(3)).unwrap();
    let mut running = Running::start(&net.0, &program);
    let ready = running.said();
    let nodes = ready["ready"]["nodes"].as_array().unwrap_or_else(|| panic!("{ready}"));
    let incarnation = |n: usize| nodes[n]["status"]["node"]["incarnation"].as_u64();
    assert_eq!(
        [0, 1, 2, 3].map(incarnation),
        [Some(1), Some(1), Some(1), Some(2)],
        "{ready}"
    );
    assert!((0..4).all(|n| !net.kept(n).exists()), "a key is gone on with once");
    assert!(net.height() > height);
    assert_eq!(net.supply(), supply);
    let shown = net.ask(&["account", &miner]);
    assert_eq!(shown["balance"], "1000005000");
    net.pay(&miner);
    assert_eq!(net.ask(&["account", &miner])["balance"], "1000010000");
    running.stop();

    // More keys gone than may be faulty: it says so at once, and starts nobody.
    std::fs::remove_file(net.kept(0)).unwrap();
    std::fs::remove_file(net.kept(1)).unwrap();
    let refused = hanzo(&["run", path, "--validator-program", program.to_str().unwrap()]).unwrap_err();
    assert_eq!((refused.code(), refused.exit()), ("chain.keys_gone", 1));
    assert!(refused.to_string().contains("2 of 4"), "{refused}");
    assert!(net.kept(2).exists());
}

//! `hanzo-verify finality|account|receipt-reward` as a user runs them: the binary, over files.

#[path = "../../../enclave/chain/types/tests/support/light.rs"]
mod light;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hanzo_chain_types::{LightProof, Subject};
use hanzo_ledger::{Canonical, List};
use light::{Told, told};
use serde_json::Value;

struct Files {
    dir: tempfile::TempDir,
    told: Told,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            dir: tempfile::tempdir().unwrap(),
            told: told(),
        };
        files.put("genesis.bin", &files.told.genesis().to_bytes());
        files.put("receipt.json", &files.told.receipt);
        files.proof("block.proof", &files.told.light(Subject::Block));
        files.proof("account.proof", &files.told.account(1));
        files.proof("reward.proof", &files.told.reward);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn proof(&self, name: &str, proof: &LightProof) {
        self.put(name, &proof.to_bytes());
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_hanzo-verify")));
        command.current_dir(self.dir.path()).args(args);
        if !args.contains(&"--genesis") {
            command.args(["--genesis", "genesis.bin"]);
        }
        command.output().unwrap()
    }

    fn json(&self, args: &[&str]) -> (i32, Value) {
        let out = self.run(&[args, &["--json"]].concat());
        (out.status.code().unwrap(), serde_json::from_slice(&out.stdout).unwrap())
    }

    /// Exit code and the error's.
    fn refused(&self, args: &[&str]) -> (i32, String) {
        let (exit, json) = self.json(args);
        assert_eq!(json["accepted"], false);
        (exit, json["error"]["code"].as_str().unwrap().to_owned())
    }

    fn address(&self) -> String {
        self.told.w.users[1].address.to_string()
    }
}

#[test]
fn a_block_an_account_and_a_reward_are_shown_to_whoever_has_the_genesis() {
    let f = Files::new();
    let digest = f.told.genesis().digest().to_string();
    let out = f.run(&[
        "finality",
        "block.proof",
        "--genesis-digest",
        &digest,
        "--save-set",
        "set.bin",
    ]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let height = f.told.w.state.head().height;
    assert!(
        text.starts_with(&format!("FINAL: block {height} of AI chain 36963\n")),
        "{text}"
    );
    assert!(
        text.contains("3 validators, in epoch 2") && !text.contains("SIMULATED"),
        "{text}"
    );
    let address = f.address();
    let (exit, json) = f.json(&["account", &address, "account.proof"]);
    assert_eq!((exit, &json["accepted"]), (0, &Value::Bool(true)));
    assert_eq!(json["account"]["balance"], f.told.w.balance(1).to_string());
    assert_eq!(json["block"]["state_root"], f.told.w.state.root().to_string());
    let (exit, json) = f.json(&["receipt-reward", "receipt.json", "reward.proof"]);
    assert_eq!(exit, 0);
    assert_eq!(
        (&json["reward"]["reward"], &json["block"]["height"]),
        (&"160".into(), &2.into())
    );
    // From the set that was saved, without handovers; the same files as JSON.
    let mut short = f.told.account(1);
    short.handovers = List::default();
    let hexed = |name: &str, bytes: &[u8]| format!("{{\"{name}\": \"{}\"}}", hex::encode(bytes)).into_bytes();
    f.put("short.json", &hexed("light_proof", &short.to_bytes()));
    f.put("genesis.json", &hexed("genesis", &f.told.genesis().to_bytes()));
    let (exit, json) = f.json(&[
        "account",
        &address,
        "short.json",
        "--genesis",
        "genesis.json",
        "--set",
        "set.bin",
    ]);
    assert_eq!(exit, 0, "{json}");
    assert_eq!(json["account"]["nonce"], f.told.w.nonce(1));
}

#[test]
fn each_refusal_has_its_exit_code_and_name() {
    let f = Files::new();
    let address = f.address();
    let account = |proof: &str| f.refused(&["account", &address, proof]);
    let code = |exit: i32, code: &str| (exit, code.to_owned());
    // Less than asked for.
    let more = (f.told.w.balance(1) + 1).to_string();
    let refused = f.refused(&["account", &address, "account.proof", "--balance", &more]);
    assert_eq!(refused, code(40, "account.balance"));
    // Another chain's genesis, by its digest and by its signatures.
    let wrong = "00".repeat(32);
    let refused = f.refused(&["finality", "block.proof", "--genesis-digest", &wrong]);
    assert_eq!(refused, code(30, "genesis.digest"));
    let mut other = f.told.genesis();
    other.time_ms += 1;
    f.put("other.bin", &other.to_bytes());
    let refused = f.refused(&["finality", "block.proof", "--genesis", "other.bin"]);
    assert_eq!(refused, code(30, "chain.finality.network"));
    // Epochs that nobody leads to.
    let mut short = f.told.account(1);
    short.handovers = List::default();
    f.proof("short.proof", &short);
    assert_eq!(account("short.proof"), code(30, "chain.light.epoch"));
    // One byte of the last signature, of the state proof, of a handover's set; half a file.
    let good = f.told.account(1).to_bytes();
    let change = |name: &str, at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        f.put(name, &bytes);
    };
    let entry = match &f.told.account(1).subject {
        Subject::Entry(proof) => proof.to_bytes().len(),
        _ => unreachable!(),
    };
    change("signature.proof", good.len() - entry - 1 - 2 - 5);
    assert_eq!(account("signature.proof"), code(20, "chain.finality.signature"));
    change("entry.proof", good.len() - 1);
    assert_eq!(account("entry.proof"), code(20, "chain.light.not_proven"));
    f.put("half.proof", &good[..good.len() / 2]);
    assert_eq!(account("half.proof"), code(10, "ledger.decode.truncated"));
    f.put("long.proof", &[&good[..], &[0]].concat());
    assert_eq!(account("long.proof"), code(10, "ledger.decode.trailing"));
    f.put("upper.json", b"{\"light_proof\": \"AB\"}");
    assert_eq!(account("upper.json"), code(10, "chain.file"));
    // A proof of something else, an address that is none, a receipt that was not paid.
    assert_eq!(account("block.proof"), code(10, "chain.light.subject"));
    assert_eq!(f.refused(&["account", "0xABC", "account.proof"]), code(1, "cli.usage"));
    f.put(
        "twin.json",
        &f.told.w.boot.receipt(0, |r| r.completion_tokens = 41).bytes,
    );
    let refused = f.refused(&["receipt-reward", "twin.json", "reward.proof"]);
    assert_eq!(refused, code(30, "chain.light.receipt"));
    let out = f.run(&["account", &address, "short.proof"]);
    let text = String::from_utf8(out.stderr).unwrap();
    assert!(
        text.contains("committees are known up to 1") && text.contains("--set"),
        "{text}"
    );
}

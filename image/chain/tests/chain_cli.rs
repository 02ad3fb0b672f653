//! The whole command line against a chain in this process: real wallets, real votes, real proofs.

#![allow(clippy::result_large_err, reason = "tests stop at the first surprise")]

#[path = "support/chain.rs"]
mod chain;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chain::{candidate, candidate_with, evidence, serve_chain};
use clap::Parser;
use hanzo_chain_cli::{ChainCommand, ChainError, Output, perform};
use hanzo_chain_types::*;
use hanzo_ledger::*;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    chain: ChainCommand,
}

/// A folder, and the chain that runs out of it.
struct Net {
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    stop: Arc<AtomicBool>,
}

impl Drop for Net {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Net {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Self {
            dir: tempfile::tempdir().unwrap(),
            runtime,
            stop: Arc::default(),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join("net").join(name)
    }

    fn path(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    /// `{name}` is a path in the folder of the network.
    fn hanzo(&self, line: &str) -> Result<Output, ChainError> {
        let words = line.split(' ').map(|word| match word.strip_prefix('@') {
            Some(name) => self.path(name).trim_end_matches('/').to_owned(),
            None => word.to_owned(),
        });
        let cli = Cli::try_parse_from(std::iter::once("hanzo".to_owned()).chain(words)).unwrap();
        self.runtime
            .block_on(perform(cli.chain, false, || Ok(chain::simulator())))
    }

    fn refused(&self, line: &str) -> (String, u8) {
        let error = self.hanzo(line).unwrap_err();
        (error.code().to_owned(), error.exit())
    }

    fn candidates(&self) {
        (0..4).for_each(|n| candidate(&self.at(&n.to_string()), n));
    }

    /// Begins the chain, serves it and makes blocks until the test ends.
    fn begin(&self) {
        self.candidates();
        self.hanzo("genesis @").unwrap();
        serve_chain(&self.runtime, &self.at(""), &self.stop);
    }
}

#[test]
fn a_network_is_made_begun_asked_paid_on_and_proven_from_the_command_line() {
    let net = Net::new();
    let made = net.hanzo("init @").unwrap();
    assert_eq!(made.json["validators"].as_array().unwrap().len(), 4);
    let account = |n: usize| made.json["accounts"][n]["address"].as_str().unwrap().to_owned();
    let (miner, customer) = (account(0), account(1));
    // Nothing is made twice, and nothing is asked that is not there.
    assert_eq!(net.refused("init @"), ("chain.io".into(), 1));
    assert_eq!(net.refused("genesis @"), ("chain.io".into(), 1));
    assert_eq!(net.refused("status --dir @"), ("chain.node.unreachable".into(), 1));
    let genesis_bytes = {
        net.begin();
        std::fs::read(net.at("genesis.bin")).unwrap()
    };
    let genesis = Genesis::parse(&genesis_bytes).unwrap();
    assert_eq!(genesis.threshold, 2);
    assert!((0..4).all(|n| std::fs::read(net.at(&format!("{n}/genesis.bin"))).unwrap() == genesis_bytes));
    assert_eq!(net.refused("genesis @"), ("chain.io".into(), 1));

    let pay = format!("tx --dir @ --wallet @customer.wallet --passphrase-file @passphrase transfer {miner} 5000");
    let paid = net.hanzo(&pay).unwrap();
    assert_eq!(
        (&paid.json["final"], &paid.json["checked"]),
        (&true.into(), &true.into())
    );
    let shown = net.hanzo(&format!("account --dir @ {miner}")).unwrap();
    assert_eq!(shown.json["balance"], "1000005000");
    let status = net.hanzo("status --dir @").unwrap();
    assert!(status.text.contains("SIMULATED") && status.json["nodes"][0]["status"]["height"].as_u64() > Some(0));
    assert_eq!(net.hanzo("validators --dir @").unwrap().json["quorum"], 3);
    assert_eq!(
        net.hanzo("supply --dir @").unwrap().json["max_supply"],
        genesis.max_supply.to_string()
    );
    assert_eq!(
        net.hanzo("blocks --dir @ --count 3").unwrap().json["blocks"]
            .as_array()
            .unwrap()
            .len(),
        3
    );

    // Signed now, handed in later; not twice.
    let later = "tx --dir @ --wallet @customer.wallet --passphrase-file @passphrase --write-to @signed.tx voucher";
    let voucher = net.hanzo(&format!("{later} {miner} 70000")).unwrap();
    assert_eq!(voucher.json["opened"].as_str().map(str::len), Some(64));
    net.hanzo("tx --dir @ submit @signed.tx").unwrap();
    assert_eq!(net.refused("tx --dir @ submit @signed.tx"), ("ledger.nonce".into(), 40));
    let sent = std::fs::read(net.at("signed.tx")).unwrap();
    std::fs::write(net.at("cut.tx"), &sent[..sent.len() - 1]).unwrap();
    assert_eq!(net.refused("tx --dir @ submit @cut.tx"), ("chain.file".into(), 10));

    // Proofs that a client with the genesis believes.
    let light = |name: &str| -> (LightClient, LightProof) {
        let proof = LightProof::parse(&std::fs::read(net.at(name)).unwrap()).unwrap();
        (LightClient::of_genesis(&genesis).unwrap(), proof)
    };
    net.hanzo(&format!("prove --dir @ account {customer} --out @account.proof"))
        .unwrap();
    let (mut client, proof) = light("account.proof");
    let owner = Address::from_text(&customer).unwrap();
    let (_, held) = client.account(&proof, &owner).unwrap();
    assert_eq!(held.balance, 1_000_000_000 - 5_000 - 70_000 - 20);
    net.hanzo("prove --dir @ block --height 1 --out @block.proof").unwrap();
    let (mut client, proof) = light("block.proof");
    assert_eq!(client.block(&proof).unwrap().header().height, 1);
    let id = paid.json["id"].as_str().unwrap();
    let proven = net
        .hanzo(&format!("prove --dir @ transaction {id} --out @tx.proof"))
        .unwrap();
    assert_eq!(proven.json["checked"], true);
    let (mut client, proof) = light("tx.proof");
    assert_eq!(
        client.block(&proof).unwrap().header().height,
        paid.json["height"].as_u64().unwrap()
    );
}

#[test]
fn what_the_rules_a_wallet_or_another_genesis_refuse_is_refused_by_name_and_changes_nothing() {
    let net = Net::new();
    net.hanzo("init @ --epoch-blocks 10").unwrap();
    assert_eq!(net.refused("init @more --validators 16"), ("chain.usage".into(), 2));
    assert_eq!(net.refused("init @more --network 36963"), ("chain.usage".into(), 2));
    assert_eq!(
        net.refused("run @ --validator-program @none"),
        ("chain.no_program".into(), 1)
    );
    net.begin();
    let wallet = "--wallet @customer.wallet --passphrase-file @passphrase";
    let someone = format!("0x{}", "ab".repeat(32));
    let tx =
        |terms: &str, action: &str| net.refused(&format!("tx --dir @ {wallet} {terms} {action}").replace("  ", " "));
    assert_eq!(
        tx("", &format!("transfer {someone} 9000000000")),
        ("ledger.balance".into(), 40)
    );
    assert_eq!(tx("", &format!("transfer {someone} 0")), ("ledger.zero".into(), 40));
    assert_eq!(
        tx("--fee 9", &format!("transfer {someone} 1")),
        ("ledger.fee".into(), 40)
    );
    assert_eq!(
        tx("--wait 1 --nonce 7", &format!("transfer {someone} 1")),
        ("chain.not_final".into(), 30)
    );
    assert_eq!(tx("", "transfer 0xAB 1"), ("chain.usage".into(), 2));
    assert_eq!(tx("", "withdraw"), ("ledger.unknown".into(), 40));
    assert_eq!(tx("", "leave").1, 40);
    let no_wallet = net.refused(&format!("tx --dir @ transfer {someone} 1"));
    assert_eq!(no_wallet, ("chain.usage".into(), 2));
    // Another passphrase, a file that is no wallet, a wallet that is not there.
    let with = |wallet: &str, pass: &str| {
        net.refused(&format!(
            "tx --dir @ --wallet {wallet} --passphrase-file {pass} transfer {someone} 1"
        ))
    };
    assert_eq!(with("@customer.wallet", "@0/passphrase"), ("wallet.open".into(), 20));
    assert_eq!(with("@passphrase", "@passphrase"), ("wallet.file".into(), 10));
    assert_eq!(with("@chain.toml", "@passphrase"), ("chain.file.too_long".into(), 10));
    assert_eq!(with("@nobody.wallet", "@passphrase"), ("chain.io".into(), 1));
    // Another chain's genesis: nothing is signed for this node's.
    let other = Net::new();
    other.hanzo("init @").unwrap();
    other.candidates();
    other.hanzo("genesis @").unwrap();
    let theirs = other.path("genesis.bin");
    let foreign = net.refused(&format!("tx --dir @ --genesis {theirs} {wallet} transfer {someone} 1"));
    assert_eq!(foreign, ("chain.mismatch".into(), 40));
    let foreign = net.refused(&format!("prove --dir @ --genesis {theirs} block --out @block.proof"));
    assert_eq!(foreign, ("chain.mismatch".into(), 40));
    assert!(!net.at("block.proof").exists());
    let unknown = "00".repeat(32);
    assert_eq!(
        net.refused(&format!("prove --dir @ transaction {unknown}")),
        ("rpc.none".into(), 40)
    );
    // A candidate of another network begins nothing.
    let third = Net::new();
    third.hanzo("init @ --network 77").unwrap();
    third.candidates();
    assert_eq!(third.refused("genesis @"), ("chain.candidate.value".into(), 10));
    assert!(!third.at("genesis.bin").exists());
}

#[test]
fn files_with_keys_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let net = Net::new();
    net.hanzo("init @").unwrap();
    for name in [
        "passphrase",
        "miner.wallet",
        "simulator.bin",
        "0/wallet.bin",
        "0/registrar.bin",
        "0/passphrase",
    ] {
        let mode = std::fs::metadata(net.at(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    let mode = std::fs::metadata(net.at("0")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    // What the validators' program reads, with every peer and no other.
    let text = std::fs::read_to_string(net.at("1/validator.toml")).unwrap();
    let file: toml::Table = toml::from_str(&text).unwrap();
    assert_eq!(file["peer"].as_array().unwrap().len(), 3);
    assert_eq!(file["listen"].as_str(), Some("127.0.0.1:27101"));
    assert_eq!(file["rpc"].as_str(), Some("127.0.0.1:27201"));
}

#[test]
fn a_network_that_takes_tpms_says_whose_and_waits_for_their_images() {
    let net = Net::new();
    let key = "5a".repeat(32);
    net.hanzo(&format!("init @ --tpm-key {key}")).unwrap();
    let read = |name: &str| std::fs::read_to_string(net.at(name)).unwrap();
    let table = |name: &str| -> toml::Table { toml::from_str(&read(name)).unwrap() };
    for name in ["chain.toml", "0/validator.toml", "3/validator.toml"] {
        let keys = table(name)["tpm_keys"].as_array().unwrap().clone();
        assert_eq!(keys, [toml::Value::String(key.clone())], "{name}");
    }
    assert_eq!(table("0/validator.toml")["policy"].as_str(), Some("../policy.toml"));
    let policy = hanzo_policy::AppraisalPolicy::from_toml(read("policy.toml").as_bytes()).unwrap();
    assert_eq!(policy.minimum_tier, hanzo_policy::PrivacyTier::AtRest);
    assert!(table("policy.toml")["tpm"]["references"].as_array().unwrap().is_empty());
    // The simulated validators' own evidence still counts.
    net.candidates();
    net.hanzo("genesis @").unwrap();

    // Without the option no TPM counts.
    let plain = Net::new();
    plain.hanzo("init @").unwrap();
    let text = std::fs::read_to_string(plain.at("policy.toml")).unwrap();
    assert!(!text.contains("[tpm]"), "{text}");
    let short = ["hanzo", "init", "net", "--tpm-key", &key[1..]];
    let error = Cli::try_parse_from(short).err().unwrap().to_string();
    assert!(error.contains("expected 64 lower-case hex digits, got 63"), "{error}");
}

#[test]
fn a_genesis_is_made_of_candidates_whose_evidence_was_appraised_and_the_refusal_says_whose_and_why() {
    let net = Net::new();
    net.hanzo("init @").unwrap();
    net.candidates();
    let refused = |what: &str| -> (String, String) {
        let error = net.hanzo("genesis @").unwrap_err();
        assert!(!net.at("genesis.bin").exists(), "{what}");
        assert_eq!(error.exit(), 20, "{what}: {error}");
        (error.code().to_owned(), error.to_string())
    };
    let image = b"hanzo-validator-simulated";
    // Genuine evidence over other keys than the candidate's: another validator, another key, another incarnation, another purpose.
    let over = |what: &str, other: &dyn Fn(&ValidatorKeys) -> [u8; 64]| {
        candidate_with(&net.at("2"), 2, |keys| evidence(&net.at(""), image, &other(keys)));
        let (code, text) = refused(what);
        assert_eq!(code, "binding.foreign.report_data", "{what}: {text}");
        assert!(
            text.contains("2/candidate.json") && text.contains("the evidence of 0x"),
            "{text}"
        );
    };
    over("validator", &|keys| {
        let validator = Address([9; 32]);
        ValidatorKeys {
            validator,
            ..keys.clone()
        }
        .report_data()
        .unwrap()
    });
    over("key", &|keys| {
        let consensus = Fixed::new(&[9; 1952]).unwrap();
        ValidatorKeys {
            consensus,
            ..keys.clone()
        }
        .report_data()
        .unwrap()
    });
    over("incarnation", &|keys| {
        let incarnation = 2;
        ValidatorKeys {
            incarnation,
            ..keys.clone()
        }
        .report_data()
        .unwrap()
    });
    over("nonce", &|keys| {
        let nonce = hanzo_attestation::Nonce([9; 32]);
        let statement = hanzo_attestation::statement::Statement::for_validator(keys.digest(), nonce);
        statement.report_data().unwrap()
    });
    // A guest that runs something else; bytes that are no evidence.
    candidate_with(&net.at("2"), 2, |keys| {
        evidence(&net.at(""), b"another image", &keys.report_data().unwrap())
    });
    let (code, text) = refused("image");
    assert!(text.contains("2/candidate.json"), "{text}");
    assert_eq!(code, "snp.measurement", "{text}");
    candidate_with(&net.at("2"), 2, |_| b"{}".to_vec());
    assert_eq!(refused("no evidence").0, "chain.evidence.json");
    candidate(&net.at("2"), 2);

    // What counts is said in chain.toml, and nothing counts without it: no policy, no simulator's root, a main network with one.
    let kept = std::fs::read_to_string(net.at("chain.toml")).unwrap();
    let without = |name: &str| -> String {
        kept.lines()
            .filter(|l| !l.starts_with(name))
            .map(|l| format!("{l}\n"))
            .collect()
    };
    std::fs::write(net.at("chain.toml"), without("policy")).unwrap();
    assert_eq!(net.refused("genesis @"), ("chain.file".into(), 10));
    std::fs::write(net.at("chain.toml"), without("simulator_root")).unwrap();
    let (code, text) = refused("no root");
    assert!(text.contains("0/candidate.json"), "{text}");
    assert_eq!(code, "snp.chain.root", "{text}");
    std::fs::write(net.at("chain.toml"), kept.replace("network = 36964", "network = 36963")).unwrap();
    assert_eq!(net.refused("genesis @"), ("chain.file".into(), 10));
    assert!(!net.at("genesis.bin").exists());

    std::fs::write(net.at("chain.toml"), kept).unwrap();
    let made = net.hanzo("genesis @").unwrap();
    assert!(
        made.text
            .contains("evidence of 4 candidates appraised: tier 2 at least")
            && made.text.contains("SIMULATED")
    );
    assert_eq!((&made.json["tier"], &made.json["simulated"]), (&2.into(), &true.into()));
    let genesis = Genesis::parse(&std::fs::read(net.at("genesis.bin")).unwrap()).unwrap();
    assert!(genesis.params.simulated_votes && genesis.params.simulated_earns);
}

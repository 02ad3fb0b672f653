//! Rewards for work without receipts, and consensus keys on their way onto the chain, from the command line; each with its refused
//! twins.

#![allow(clippy::result_large_err, reason = "tests stop at the first surprise")]

#[path = "support/chain.rs"]
mod chain;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chain::node::TestNode;
use chain::node::light::fixture::{Booted, LEAVES, User, boot, claimed, user, weights_root};
use chain::{candidate, evidence, serve_blocks};
use clap::Parser;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_chain_cli::{ChainCommand, ChainError, Output, perform};
use hanzo_chain_rpc::Node as _;
use hanzo_chain_types::{CHANNEL_KEY_BYTES, KeyRequest, ValidatorKeys};
use hanzo_ledger::claim::{BootSignature, Heartbeat};
use hanzo_ledger::*;
use hanzo_pqc::Domain;
use hanzo_signer::wallet::{Cipher, Cost};
use hanzo_signer::{MiningWallet, SecurityLevel, ephemeral};
use serde_json::{Value as Json, json};

const LEAST: Cost = Cost {
    memory_kib: 19_456,
    passes: 2,
    lanes: 1,
};
const IMAGE: &[u8] = b"hanzo-validator-simulated";

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    chain: ChainCommand,
}

/// A network whose miner, customer and registrars have keys that the test has too, and which makes blocks only for transactions.
struct Net {
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    stop: Arc<AtomicBool>,
    node: Option<Arc<TestNode>>,
    network: Network,
}

impl Drop for Net {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn registrars() -> Vec<User> {
    (0..4).map(|n| user(20 + n)).collect()
}

impl Net {
    fn begin() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let mut net = Self {
            dir: tempfile::tempdir().unwrap(),
            runtime,
            stop: Arc::default(),
            node: None,
            network: Network {
                kind: NetworkKind::AiChain,
                id: TESTNET,
                genesis: Digest256([0; 32]),
            },
        };
        let made = net.hanzo("init @ --epoch-blocks 20").unwrap();
        let mut plan = std::fs::read_to_string(net.at("chain.toml")).unwrap();
        for (at, name, n) in [(0, "miner", 11), (1, "customer", 12)] {
            net.wallet(&format!("{name}.wallet"), n);
            let was = made.json["accounts"][at]["address"].as_str().unwrap();
            plan = plan.replace(was, &user(n).address.to_string());
        }
        std::fs::write(net.at("chain.toml"), plan).unwrap();
        for n in 0..4 {
            net.wallet(&format!("{n}/registrar.bin"), 20 + n);
            candidate(&net.at(&n.to_string()), n);
        }
        net.hanzo("genesis @").unwrap();
        net.node = Some(serve_blocks(&net.runtime, &net.at(""), &net.stop, true));
        net.network = Genesis::parse(&std::fs::read(net.at("genesis.bin")).unwrap())
            .unwrap()
            .network();
        net
    }

    /// The wallet file of the n-th user, under the passphrase that lies beside it.
    fn wallet(&self, name: &str, n: u16) {
        let mut seed = [7; 32];
        seed[..2].copy_from_slice(&n.to_be_bytes());
        let wallet = MiningWallet::from_seed(SecurityLevel::MlDsa65, seed.into()).unwrap();
        let path = self.at(name);
        let passphrase = std::fs::read_to_string(path.with_file_name("passphrase")).unwrap();
        let bytes = wallet
            .export_with(passphrase.trim(), Cipher::XChaCha20Poly1305, LEAST)
            .unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join("net").join(name)
    }

    fn hanzo(&self, line: &str) -> Result<Output, ChainError> {
        let words = line.split(' ').map(|word| match word.strip_prefix('@') {
            Some(name) => self.at(name).display().to_string().trim_end_matches('/').to_owned(),
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

    fn node(&self) -> &TestNode {
        self.node.as_ref().unwrap()
    }

    fn claim(&self, who: &str, what: &str) -> String {
        format!("claim --dir @ --wallet @{who}.wallet --passphrase-file @passphrase --out @reward.proof {what}")
    }

    fn note(&self, who: &str, what: &str) {
        let line = format!("note --dir @ --wallet @{who}.wallet --passphrase-file @passphrase {what}");
        self.hanzo(&line).unwrap();
    }

    fn write(&self, name: &str, document: &Json) {
        std::fs::write(self.at(name), document.to_string()).unwrap();
    }

    fn json(&self, name: &str) -> Json {
        serde_json::from_slice(&std::fs::read(self.at(name)).unwrap()).unwrap()
    }

    /// Writes `name` with one member changed, under another name.
    fn changed(&self, name: &str, member: &str, value: Json) -> String {
        let mut document = self.json(name);
        document[member] = value;
        self.write("changed.json", &document);
        "@changed.json".into()
    }

    /// A transaction of a user, in a block.
    fn does(&self, who: &User, action: Action) {
        let nonce = self.node().ledger().read(|state| state.account(&who.address).nonce);
        self.node().submit(who.tx(&self.network, nonce, action)).unwrap();
        while self.node().ledger().read(|state| state.account(&who.address).nonce) == nonce {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn head(&self) -> Head {
        self.node().ledger().read(|state| *state.head())
    }

    fn next_epoch(&self) {
        let now = self.head().beacon.epoch;
        while self.head().beacon.epoch == now {
            self.node().produce();
        }
    }

    /// A boot of the miner, registered, whose keyset lives now.
    fn boot(&self) -> Booted {
        let now = self.head().time_ms / 1000;
        let booted = boot(1, |keyset| {
            keyset.issued_at = now - 10;
            keyset.not_after = now + 86_000;
        });
        let register = booted.register(&self.network, &user(11), 1, &registrars());
        self.does(&user(11), register);
        booted
    }
}

fn signatures(signature: &BootSignature) -> (Json, Json) {
    (
        hex::encode(&*signature.ml_dsa).into(),
        hex::encode(signature.ed25519).into(),
    )
}

#[test]
fn bytes_that_a_recipient_signed_for_are_paid_once_and_to_who_gave_them() {
    let net = Net::begin();
    let (miner, root) = (user(11).address.to_string(), "77".repeat(32));
    let delivery =
        format!("--out @delivery.json delivery {miner} --seq 0 --chunk-root {root} --bytes 4194304 --fee 1000");
    net.note("customer", &delivery);
    // Another's, another network's, one that is none, one whose fee was changed afterwards; no wallet.
    let twin = |who: &str, file: &str| net.refused(&net.claim(who, &format!("data-sharing {file}")));
    assert_eq!(twin("customer", "@delivery.json"), ("ledger.not_yours".into(), 40));
    let changed = net.changed("delivery.json", "genesis", "00".repeat(32).into());
    assert_eq!(twin("miner", &changed), ("chain.file".into(), 10));
    let changed = net.changed("delivery.json", "fee", "1001".into());
    assert_eq!(twin("miner", &changed), ("ledger.signature".into(), 40));
    let changed = net.changed("delivery.json", "signature", "00".into());
    assert_eq!(twin("miner", &changed), ("chain.file".into(), 10));
    assert_eq!(twin("miner", "@chain.toml"), ("chain.file".into(), 10));
    assert_eq!(twin("miner", "@nothing.json"), ("chain.io".into(), 1));
    assert_eq!(
        net.refused("claim --dir @ data-sharing @delivery.json"),
        ("chain.usage".into(), 2)
    );
    assert!(!net.at("reward.proof").exists());

    let paid = net.hanzo(&net.claim("miner", "data-sharing @delivery.json")).unwrap();
    let number = |name: &str| -> u128 { paid.json[name].as_str().unwrap().parse().unwrap() };
    // 1,000 of which a fifth goes back, and the reward of what went back.
    assert!(number("after") > number("before") + 800, "{}", paid.json);
    assert_eq!(
        (&paid.json["kind"], &paid.json["checked"]),
        (&"data-sharing".into(), &true.into())
    );
    assert!(net.at("reward.proof").exists());
    assert_eq!(twin("miner", "@delivery.json"), ("ledger.claimed".into(), 40));
}

#[test]
fn gpu_seconds_are_paid_for_a_boots_heartbeat_and_a_lessees_note() {
    let net = Net::begin();
    let booted = net.boot();
    let open = format!(
        "tx --dir @ --wallet @customer.wallet --passphrase-file @passphrase lease {} --gpus 2 --price 10 --seconds 1000",
        booted.digest
    );
    let opened = net.hanzo(&open).unwrap();
    let lease = opened.json["opened"].as_str().unwrap().to_owned();
    net.next_epoch();
    net.next_epoch();
    let before = net.head().before;
    let heartbeat = Heartbeat {
        lease: Digest256::from_hex(&lease).unwrap(),
        epoch: before.epoch,
        beacon: before.digest,
        gpu_evidence: Digest384([5; 48]),
    };
    let (ml_dsa, ed25519) = signatures(&booted.says(Domain::Heartbeat, &net.network, &heartbeat));
    net.write(
        "heartbeat.json",
        &json!({
            "genesis": net.network.genesis.to_string(), "lease": lease, "epoch": before.epoch,
            "gpu_evidence": Digest384([5; 48]).to_string(), "ml_dsa": ml_dsa, "ed25519": ed25519,
        }),
    );
    net.note("customer", &format!("--out @note.json lease {lease} --seconds 8"));
    let twin = |note: &str, beat: &str| net.refused(&net.claim("miner", &format!("compute {note} --heartbeat {beat}")));
    let changed = net.changed("note.json", "seconds", 9.into());
    assert_eq!(twin(&changed, "@heartbeat.json"), ("ledger.signature".into(), 40));
    let changed = net.changed("heartbeat.json", "gpu_evidence", Digest384([6; 48]).to_string().into());
    assert_eq!(twin("@note.json", &changed), ("ledger.signature".into(), 40));
    let changed = net.changed("heartbeat.json", "epoch", (before.epoch + 1).into());
    assert_eq!(twin("@note.json", &changed), ("ledger.signature".into(), 40));
    let changed = net.changed("heartbeat.json", "lease", "00".repeat(32).into());
    assert_eq!(twin("@note.json", &changed), ("chain.file".into(), 10));
    assert_eq!(twin("@heartbeat.json", "@heartbeat.json"), ("chain.file".into(), 10));

    let paid = net
        .hanzo(&net.claim("miner", "compute @note.json --heartbeat @heartbeat.json"))
        .unwrap();
    let number = |name: &str| -> u128 { paid.json[name].as_str().unwrap().parse().unwrap() };
    // 16 GPU-seconds at 10: 160, of which 32 go back; at most 90 % of them are the reward.
    assert_eq!(number("after"), number("before") + 128 + 28, "{}", paid.json);
    assert_eq!(twin("@note.json", "@heartbeat.json"), ("ledger.epoch".into(), 40));
}

#[test]
fn a_model_is_paid_for_its_registration_once_and_for_each_epoch_in_memory() {
    let net = Net::begin();
    let booted = net.boot();
    let (miner, customer) = (user(11), user(12));
    let root = weights_root();
    let register = format!(
        "tx --dir @ --wallet @customer.wallet --passphrase-file @passphrase register-model {root} --licence {} --bytes {} --leaves {LEAVES}",
        "11".repeat(32),
        5 << 20
    );
    net.hanzo(&register).unwrap();
    let registration = format!("model-registration {root}");
    let twin = |who: &str, what: &str| net.refused(&net.claim(who, what));
    // Nobody used it yet; somebody else's; one that nobody registered; no digest.
    assert_eq!(twin("customer", &registration), ("ledger.reward.nothing".into(), 40));
    assert_eq!(twin("miner", &registration), ("ledger.not_yours".into(), 40));
    let unknown = format!("model-registration {}", "00".repeat(32));
    assert_eq!(twin("customer", &unknown), ("ledger.unknown".into(), 40));
    assert_eq!(twin("customer", "model-registration 77"), ("chain.usage".into(), 2));
    let time = net.head().time_ms / 1000;
    let answer = booted.receipt(0, |receipt| receipt.time = time);
    net.does(
        &miner,
        claimed(answer.cosigned(&net.network, &miner, &customer, 10_000)),
    );
    let paid = net.hanzo(&net.claim("customer", &registration)).unwrap();
    assert_eq!(paid.json["kind"], "model-registration");
    assert_eq!(twin("customer", &registration), ("ledger.exists".into(), 40));

    net.next_epoch();
    net.next_epoch();
    let before = net.head().before;
    let shown = booted.resident(&net.network, before.digest, before.epoch);
    let (ml_dsa, ed25519) = signatures(&shown.signature);
    net.write(
        "residency.json",
        &json!({
            "genesis": net.network.genesis.to_string(), "keyset": shown.keyset.to_string(), "root": root.to_string(),
            "epoch": shown.epoch, "leaf": shown.leaf.to_string(),
            "path": shown.path.iter().map(ToString::to_string).collect::<Vec<_>>(), "answer": shown.answer.to_string(),
            "ml_dsa": ml_dsa, "ed25519": ed25519,
        }),
    );
    let changed = net.changed("residency.json", "leaf", "22".repeat(32).into());
    assert_eq!(
        twin("miner", &format!("hosting {changed}")),
        ("ledger.residency".into(), 40)
    );
    let changed = net.changed("residency.json", "answer", "22".repeat(32).into());
    assert_eq!(
        twin("miner", &format!("hosting {changed}")),
        ("ledger.signature".into(), 40)
    );
    let changed = net.changed("residency.json", "path", json!(vec!["22".repeat(32); 33]));
    assert_eq!(twin("miner", &format!("hosting {changed}")), ("chain.file".into(), 10));
    assert_eq!(
        twin("customer", "hosting @residency.json"),
        ("ledger.not_yours".into(), 40)
    );
    let paid = net.hanzo(&net.claim("miner", "hosting @residency.json")).unwrap();
    let number = |name: &str| -> u128 { paid.json[name].as_str().unwrap().parse().unwrap() };
    assert!(number("after") > number("before"), "{}", paid.json);
    assert_eq!(twin("miner", "hosting @residency.json"), ("ledger.epoch".into(), 40));
}

/// What a validator's boot writes: a key of its own, evidence over it, possession.
fn key_file(net: &Net, name: &str, owner: &Address, incarnation: u64, image: &[u8]) {
    let on = hanzo_signer::Network::ai_chain(net.network.id, net.network.genesis.0);
    let (_, drawn) = ephemeral::boot(on, owner.0, incarnation, SecurityLevel::MlDsa65).unwrap();
    let keys = ValidatorKeys {
        network: net.network,
        validator: *owner,
        incarnation,
        consensus: Fixed::new(drawn.key.as_bytes()).unwrap(),
        channel: Fixed::new(&[7; CHANNEL_KEY_BYTES]).unwrap(),
    };
    let request = KeyRequest {
        evidence: evidence(&net.at(""), image, &keys.report_data().unwrap()),
        keys,
        possession: Fixed::new(&drawn.possession).unwrap(),
    };
    let json = request.to_json().unwrap();
    assert_eq!(KeyRequest::parse(&json).unwrap(), request);
    std::fs::write(net.at(name), json).unwrap();
}

#[test]
fn a_consensus_key_is_endorsed_after_its_evidence_and_registered_or_rotated_by_its_owner() {
    let net = Net::begin();
    let endorse = |n: u16, key: &str, out: &str| {
        let wallet = format!("--wallet @{n}/registrar.bin --passphrase-file @{n}/passphrase");
        net.hanzo(&format!("endorse-key {key} --dir @ {wallet} --out {out}"))
    };
    let code = |outcome: Result<Output, ChainError>| {
        let error = outcome.unwrap_err();
        (error.code().to_owned(), error.exit())
    };
    let customer = user(12).address;
    key_file(&net, "key.json", &customer, 1, IMAGE);
    // Endorsed only with evidence over this very key, of a guest that the policy takes, by a registrar.
    key_file(&net, "bad.json", &customer, 1, b"another image");
    assert_eq!(
        code(endorse(0, "@bad.json", "@no.json")),
        ("snp.measurement".into(), 20)
    );
    let mut mixed = net.json("key.json");
    mixed["evidence"] = net.json("bad.json")["evidence"].clone();
    net.write("mixed.json", &mixed);
    assert_eq!(
        code(endorse(0, "@mixed.json", "@no.json")),
        ("binding.foreign.report_data".into(), 20)
    );
    assert_eq!(code(endorse(0, "@chain.toml", "@no.json")), ("chain.file".into(), 10));
    let stranger = "endorse-key @key.json --dir @ --wallet @miner.wallet --passphrase-file @passphrase --out @no.json";
    assert_eq!(net.refused(stranger), ("chain.mismatch".into(), 40));
    assert!(!net.at("no.json").exists());
    let words = |name: &str| {
        let (one, two) = (format!("@{name}.1"), format!("@{name}.2"));
        assert_eq!(
            endorse(0, &format!("@{name}.json"), &one).unwrap().json["simulated"],
            true
        );
        endorse(1, &format!("@{name}.json"), &two).unwrap();
        format!("--endorsement {one} --endorsement {two}")
    };
    let both = words("key");
    let tx = |who: &str, what: &str| format!("tx --dir @ --wallet @{who} {what}");
    let own = "customer.wallet --passphrase-file @passphrase";
    // Too few registrars; one of them twice; another's wallet; words about another key; too little at stake.
    let register =
        |who: &str, bond: u64, words: &str| net.refused(&tx(who, &format!("register @key.json --bond {bond} {words}")));
    assert_eq!(
        register(own, 5_000, "--endorsement @key.1"),
        ("chain.endorsements".into(), 40)
    );
    assert_eq!(
        register(own, 5_000, "--endorsement @key.1 --endorsement @key.1"),
        ("chain.endorsements".into(), 40)
    );
    assert_eq!(
        register("miner.wallet --passphrase-file @passphrase", 5_000, &both),
        ("chain.mismatch".into(), 40)
    );
    key_file(&net, "other.json", &customer, 1, IMAGE);
    let others = words("other");
    assert_eq!(register(own, 5_000, &others), ("chain.file".into(), 10));
    assert_eq!(register(own, 0, &both), ("ledger.balance".into(), 40));
    let done = net
        .hanzo(&tx(own, &format!("register @key.json --bond 5000 {both}")))
        .unwrap();
    assert_eq!(done.json["final"], true);
    let standing = |who: &Address| {
        net.node()
            .ledger()
            .read(|state| state.validator(who).unwrap().incarnation)
    };
    assert_eq!(standing(&customer), 1);

    // A validator of the genesis gets its second key; not its third, nor the second again.
    let folder = net.at("2/passphrase");
    let passphrase = std::fs::read_to_string(folder).unwrap();
    let wallet = std::fs::read(net.at("2/wallet.bin")).unwrap();
    let wallet = MiningWallet::import_from_bytes(&wallet, passphrase.trim()).unwrap();
    let owner = Address::from_text(&wallet.address()).unwrap();
    let own = "2/wallet.bin --passphrase-file @2/passphrase";
    key_file(&net, "third.json", &owner, 3, IMAGE);
    let third = words("third");
    assert_eq!(
        net.refused(&tx(own, &format!("rotate @third.json {third}"))),
        ("ledger.incarnation.next".into(), 40)
    );
    key_file(&net, "second.json", &owner, 2, IMAGE);
    let second = words("second");
    assert_eq!(
        net.refused(&tx(
            "customer.wallet --passphrase-file @passphrase",
            &format!("rotate @second.json {second}")
        )),
        ("chain.mismatch".into(), 40)
    );
    let mut unheld = net.json("second.json");
    unheld["possession"] = net.json("third.json")["possession"].clone();
    net.write("unheld.json", &unheld);
    assert_eq!(
        net.refused(&tx(own, &format!("rotate @unheld.json {second}"))),
        ("ledger.signature".into(), 40)
    );
    net.hanzo(&tx(own, &format!("rotate @second.json {second}"))).unwrap();
    assert_eq!(standing(&owner), 2);
    let again = net.refused(&tx(own, &format!("rotate @second.json {second}")));
    assert_eq!(again.1, 40, "{again:?}");
}

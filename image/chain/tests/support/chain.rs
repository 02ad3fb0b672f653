//! A chain in the test's own process, for the folders that `hanzo chain init` makes: four keys of votes that the test knows, blocks
//! as fast as they are wanted.
#![allow(dead_code, reason = "each test binary uses some of it")]
#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

#[path = "../../../../enclave/chain/rpc/tests/support/node.rs"]
pub mod node;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384, UnixTime, jcs};
use hanzo_chain_cli::Simulator;
use hanzo_chain_rpc::{Node, ServerConfig, serve};
use hanzo_chain_types::{CHANNEL_KEY_BYTES, Candidate, ValidatorKeys, before_genesis};
use hanzo_ledger::{Address, Fixed, Genesis, PublicKey, TESTNET};
use hanzo_policy::{AppraisalPolicy, EpycTcb, PrivacyTier, SnpPolicy, SnpReference, TcbFloors};
use hanzo_signer::MiningWallet;
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor, simulated_measurement};
use node::TestNode;
use node::light::fixture::{User, first};

fn key_of(wallet: &Path) -> PublicKey {
    let passphrase = std::fs::read_to_string(wallet.with_file_name("passphrase")).unwrap();
    let bytes = std::fs::read(wallet).unwrap();
    let wallet = MiningWallet::import_from_bytes(&bytes, passphrase.trim()).unwrap();
    Fixed::new(wallet.public().as_bytes()).unwrap()
}

const IMAGE: &[u8] = b"hanzo-validator-simulated";

/// A simulated processor of keys that everybody knows, and a policy that takes its validators.
pub fn simulator() -> Simulator {
    let processor = SimulatedProcessor::for_tests();
    let config_digest = Digest256::of(b"");
    let floors = TcbFloors {
        genoa: Some(EpycTcb {
            bootloader: 10,
            tee: 0,
            snp: 23,
            microcode: 84,
        }),
        ..TcbFloors::default()
    };
    let reference = SnpReference {
        name: Name::new("hanzo-validator-simulated").unwrap(),
        measurement: simulated_measurement(&Digest384::of(IMAGE), &config_digest),
        config_digest,
    };
    let policy = AppraisalPolicy::closed(PrivacyTier::CpuTee).with_snp(SnpPolicy::any_chip(floors, vec![reference]));
    Simulator {
        material: processor.to_material(),
        root: processor.ark_der().to_vec(),
        policy: policy.to_toml().unwrap(),
    }
}

/// Evidence over `report_data` of a guest that runs `image` on the network's processor.
pub fn evidence(net: &Path, image: &[u8], report_data: &[u8; 64]) -> Vec<u8> {
    let material = std::fs::read(net.join("simulator.bin")).unwrap();
    let processor = SimulatedProcessor::from_material(&material).unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let crl = processor.crl_der(UnixTime(now.as_secs()));
    let spec = LaunchSpec::new(Digest384::of(image), Digest256::of(b""));
    let guest = processor.launch(spec).with_crl(crl);
    jcs::to_vec("evidence", &CpuEvidence::Snp(guest.evidence(report_data))).unwrap()
}

/// What a validator writes when it waits for a genesis.
pub fn candidate(folder: &Path, n: u16) {
    candidate_with(folder, n, |keys| {
        evidence(folder.parent().unwrap(), IMAGE, &keys.report_data().unwrap())
    });
}

/// As [`candidate`], with other evidence.
pub fn candidate_with(folder: &Path, n: u16, evidence: impl FnOnce(&ValidatorKeys) -> Vec<u8>) {
    let owner = key_of(&folder.join("wallet.bin"));
    let keys = ValidatorKeys {
        network: before_genesis(TESTNET),
        validator: Address::of(&owner),
        incarnation: 1,
        consensus: first(n).1.public,
        channel: Fixed::new(&[7; CHANNEL_KEY_BYTES]).unwrap(),
    };
    let evidence = evidence(&keys);
    let candidate = Candidate {
        keys,
        registrar: key_of(&folder.join("registrar.bin")),
        owner,
        address: "127.0.0.1:1".into(),
        evidence,
    };
    std::fs::write(folder.join("candidate.json"), candidate.to_json().unwrap()).unwrap();
}

/// Serves the chain of the folder's genesis and makes blocks until `stop`; the first validator's folder says where it answers.
pub fn serve_chain(runtime: &tokio::runtime::Runtime, dir: &Path, stop: &Arc<AtomicBool>) -> Arc<TestNode> {
    serve_blocks(runtime, dir, stop, false)
}

/// As [`serve_chain`]; `quiet`: a block only where a transaction waits for one.
pub fn serve_blocks(
    runtime: &tokio::runtime::Runtime,
    dir: &Path,
    stop: &Arc<AtomicBool>,
    quiet: bool,
) -> Arc<TestNode> {
    let genesis = Genesis::parse(&std::fs::read(dir.join("genesis.bin")).unwrap()).unwrap();
    let keys: Vec<User> = (0..4).map(|n| first(n).1).collect();
    let node = Arc::new(TestNode::open(genesis, keys));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let at = listener.local_addr().unwrap();
    let served: Arc<dyn Node> = Arc::<TestNode>::clone(&node);
    runtime.spawn(serve(listener, served, ServerConfig::default(), std::future::pending()));
    std::fs::write(
        dir.join("0/ready.json"),
        format!(r#"{{"rpc":"{at}","link":"127.0.0.1:1"}}"#),
    )
    .unwrap();
    let (made, stop) = (Arc::clone(&node), Arc::clone(stop));
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            if !quiet || !made.waiting.lock().unwrap().is_empty() {
                made.produce();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    node
}

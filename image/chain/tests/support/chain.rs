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

use hanzo_chain_rpc::{Node, ServerConfig, serve};
use hanzo_chain_types::{CHANNEL_KEY_BYTES, Candidate, ValidatorKeys, before_genesis};
use hanzo_ledger::{Address, Fixed, Genesis, PublicKey, TESTNET};
use hanzo_signer::MiningWallet;
use node::TestNode;
use node::light::fixture::{User, first};

fn key_of(wallet: &Path) -> PublicKey {
    let passphrase = std::fs::read_to_string(wallet.with_file_name("passphrase")).unwrap();
    let bytes = std::fs::read(wallet).unwrap();
    let wallet = MiningWallet::import_from_bytes(&bytes, passphrase.trim()).unwrap();
    Fixed::new(wallet.public().as_bytes()).unwrap()
}

/// What a validator writes when it waits for a genesis.
pub fn candidate(folder: &Path, n: u16) {
    let owner = key_of(&folder.join("wallet.bin"));
    let keys = ValidatorKeys {
        network: before_genesis(TESTNET),
        validator: Address::of(&owner),
        incarnation: 1,
        consensus: first(n).1.public,
        channel: Fixed::new(&[7; CHANNEL_KEY_BYTES]).unwrap(),
    };
    let candidate = Candidate {
        keys,
        registrar: key_of(&folder.join("registrar.bin")),
        owner,
        address: "127.0.0.1:1".into(),
        evidence: b"{}".to_vec(),
    };
    std::fs::write(folder.join("candidate.json"), candidate.to_json().unwrap()).unwrap();
}

/// Serves the chain of the folder's genesis and makes blocks until `stop`; the first validator's folder says where it answers.
pub fn serve_chain(runtime: &tokio::runtime::Runtime, dir: &Path, stop: &Arc<AtomicBool>) -> Arc<TestNode> {
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
            made.produce();
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    node
}

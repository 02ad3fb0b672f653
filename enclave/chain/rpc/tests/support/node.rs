//! A node without consensus: the light client's chain in a store, and blocks made when the test says so, with real certificates.
#![allow(dead_code, reason = "each test binary uses some of it")]
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "tests stop at the first surprise"
)]

#[path = "../../../types/tests/support/light.rs"]
pub mod light;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use hanzo_attestation::Digest256;
use hanzo_chain_rpc::calls::Call;
use hanzo_chain_rpc::client::{self, CallError};
use hanzo_chain_rpc::*;
use hanzo_chain_types::{Assembly, LightClient};
use hanzo_ledger::*;
use hanzo_mining::MiningLedger;
use hanzo_pqc::Dek;
use light::fixture::User;
use light::{Told, certify, set, told};
use tokio::sync::watch;

pub struct TestNode {
    ledger: MiningLedger,
    pub waiting: Mutex<Vec<SignedTx>>,
    newest: watch::Sender<u64>,
    keys: Vec<User>,
    pub standing: Mutex<NodeStanding>,
    _place: tempfile::TempDir,
}

/// Most transactions that wait.
pub const WAITING_MAX: usize = 3;

impl Node for TestNode {
    fn ledger(&self) -> &MiningLedger {
        &self.ledger
    }

    fn submit(&self, tx: SignedTx) -> Result<(), SubmitError> {
        let mut waiting = self.waiting.lock().unwrap();
        if waiting.contains(&tx) {
            return Err(SubmitError::Known);
        }
        if waiting.len() == WAITING_MAX {
            return Err(SubmitError::Full { max: WAITING_MAX });
        }
        self.ledger.read(|state| -> Result<(), Reject> {
            let (expected, got) = (state.account(&Address::of(&tx.tx.sender)).nonce, tx.tx.nonce);
            if got < expected {
                return Err(Reject::Nonce { expected, got });
            }
            tx.clone().verify(state).map(drop)
        })?;
        waiting.push(tx);
        Ok(())
    }

    fn is_pending(&self, id: &Digest256) -> bool {
        self.waiting.lock().unwrap().iter().any(|tx| tx.tx.digest() == *id)
    }

    fn standing(&self) -> NodeStanding {
        self.standing.lock().unwrap().clone()
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

impl TestNode {
    /// A chain that has not begun, and the keys of its validators.
    pub fn open(genesis: Genesis, keys: Vec<User>) -> Self {
        let place = tempfile::tempdir().unwrap();
        let key = Dek::from_slice(&[9; 32]).unwrap();
        Self {
            ledger: MiningLedger::open(&place.path().join("ledger.db"), &key, genesis).unwrap(),
            waiting: Mutex::default(),
            newest: watch::Sender::new(0),
            keys,
            standing: Mutex::default(),
            _place: place,
        }
    }

    /// A block of what waits, final at once.
    pub fn produce(&self) -> Block {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        let block = self.ledger.read(|state| {
            let verified: Vec<_> = waiting.into_iter().filter_map(|tx| tx.verify(state).ok()).collect();
            let proposer = state.genesis().validators[0].owner;
            let proposal = state.propose(proposer, state.head().time_ms + 500, verified).unwrap();
            proposal.block.to_block()
        });
        self.take(block.clone(), true);
        block
    }

    fn take(&self, block: Block, certified: bool) {
        let header = block.header;
        self.ledger.submit(block).unwrap();
        if certified {
            let set = self
                .ledger
                .read(|state| set(state, state.genesis().params.epoch_of(header.height)));
            self.ledger.certify(&certify(&set, header, 3, &self.keys)).unwrap();
        }
        self.newest.send_replace(header.height);
    }
}

/// The told chain: block 2 has a paid answer, epoch 2 another key. Every third block has no certificate of its own.
pub fn node() -> (Arc<TestNode>, Told) {
    let mut told = told();
    let node = TestNode::open(told.genesis(), std::mem::take(&mut told.keys));
    let newest = told.w.blocks.len() as u64;
    for block in &told.w.blocks {
        let height = block.header.height;
        node.take(block.clone(), height % 3 != 0 || height == newest);
    }
    (Arc::new(node), told)
}

pub struct Server {
    pub at: SocketAddr,
    pub node: Arc<TestNode>,
    pub told: Told,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.runtime.take().unwrap().shutdown_background();
    }
}

pub fn server(config: ServerConfig) -> Server {
    serving(node(), config)
}

/// A node that took the state after the last block of epoch 1 from another, and the blocks after it.
pub fn late() -> (Arc<TestNode>, Told) {
    let (whole, told) = node();
    let keys = (0..4).map(|n| light::fixture::first(n).1);
    let late = TestNode::open(told.genesis(), keys.chain([light::fixture::user(400)]).collect());
    let mut client = LightClient::of_genesis(&told.genesis()).unwrap();
    client.follow(&whole.ledger.handover(1).unwrap().unwrap()).unwrap();
    let mut assembly = Assembly::begin(whole.ledger.offer(0).unwrap().unwrap(), &client).unwrap();
    while let Some(part) = assembly.next() {
        assembly
            .take(part, &whole.ledger.part(&assembly.plan(), part).unwrap().unwrap())
            .unwrap();
    }
    let base = assembly.header().height;
    late.ledger.install(assembly.finish(told.genesis()).unwrap()).unwrap();
    for block in &told.w.blocks[base as usize..] {
        late.take(block.clone(), true);
    }
    (Arc::new(late), told)
}

pub fn serving((node, told): (Arc<TestNode>, Told), config: ServerConfig) -> Server {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let at = listener.local_addr().unwrap();
    let served: Arc<dyn Node> = Arc::<TestNode>::clone(&node);
    runtime.spawn(serve(listener, served, config, async {
        let _ = stopped.await;
    }));
    Server {
        at,
        node,
        told,
        stop: Some(stop),
        runtime: Some(runtime),
    }
}

/// Status and body.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Server {
    /// One request with these lines of header, `Host` apart.
    pub fn http(&self, line: &str, host: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.at).unwrap();
        let mut head = format!(
            "{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // A server that refuses by the head alone may not take the body.
        let _ = stream.write_all(body);
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let cut = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(all[..cut].to_vec()).unwrap();
        let mut body = all[cut + 4..].to_vec();
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            body = unchunked(&body);
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.http(&format!("GET {path}"), &self.at.to_string(), &[], b"")
    }

    pub fn post(&self, body: &[u8]) -> Answer {
        let kind = "content-type: application/json";
        self.http("POST /v1/chain/rpc", &self.at.to_string(), &[kind], body)
    }

    pub fn ask<C: Call>(&self, call: C) -> Result<C::Answer, CallError> {
        let answer = self.post(&client::request(7, &call));
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        client::answer::<C>(7, &answer.body)
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        out.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
        if size == 0 {
            return out;
        }
    }
}

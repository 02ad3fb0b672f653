//! Four processes and a fifth validator of the test's own, over loopback: one killed and started again, one cut off and back, one
//! Byzantine. The fifth is honest until the end: a committee of five bears one fault at a time. One honest machine's clock is far behind
//! all the time, which is no fault.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "support/byzantine.rs"]
mod byzantine;
#[path = "support/forwarder.rs"]
mod forwarder;
#[path = "support/process.rs"]
#[allow(dead_code, reason = "nobody gets a signal here")]
mod process;

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use byzantine::{Byzantine, Made};
use forwarder::Forwarder;
use hanzo_chain_links::PeerAddress;
use hanzo_chain_node::boot::{Account, ledger_key};
use hanzo_chain_rpc::calls::{GetAccount, GetBlock, Submit};
use hanzo_chain_types::{Beginning, Candidate, assemble, before_genesis};
use hanzo_ledger::{Action, Address, Allocation, Canonical, Fixed, Genesis, Params, PublicKey, Transfer, Tx};
use hanzo_pqc::dsa::{MlDsa65, SigningKey};
use hanzo_signer::wallet::{Cipher, Cost};
use hanzo_signer::{MiningWallet, SecurityLevel};
use hanzo_simulated_tee::SimulatedProcessor;
use process::{Process, until, write};
use zeroize::Zeroizing;

/// No published network's number: blocks may come faster than every 500 ms.
const NETWORK: u64 = 31_337;
const PASSPHRASE: &str = "six random words are good";
/// Which one loses its ledger, and takes a state if it is more blocks behind than this; the others apply blocks.
const DISKLESS: usize = 2;
const SNAPSHOT_BEHIND: u64 = 24;
/// Whose clock is behind, and by how much: many times what voters let a header be ahead.
const SLOW: usize = 3;
const BEHIND: &str = "-7s";
/// Which place is the test's own validator.
const BYZANTINE: usize = 4;

fn wallet(seed: u8) -> MiningWallet {
    MiningWallet::from_seed(SecurityLevel::MlDsa65, Zeroizing::new([seed; 32])).unwrap()
}

fn public(wallet: &MiningWallet) -> PublicKey {
    ledger_key(wallet.public()).unwrap()
}

fn account(n: usize) -> Address {
    Address::of(&public(&wallet(n as u8 + 1)))
}

fn folder(dir: &Path, n: usize, peers: &[(Address, String)]) -> Process {
    let own = dir.join(n.to_string());
    fs::create_dir(&own).unwrap();
    let cheap = Cost {
        memory_kib: 19_456,
        passes: 2,
        lanes: 1,
    };
    for (name, seed) in [("wallet.bin", n as u8 + 1), ("registrar.bin", n as u8 + 51)] {
        let file = wallet(seed)
            .export_with(PASSPHRASE, Cipher::XChaCha20Poly1305, cheap)
            .unwrap();
        write(&own.join(name), &file);
    }
    write(&own.join("passphrase"), PASSPHRASE.as_bytes());
    let mut toml = format!(
        "network = {NETWORK}\nlisten = \"127.0.0.1:0\"\nrpc = \"127.0.0.1:0\"\nevidence = \"simulated\"\n\
         simulator = \"../simulator.bin\"\nregistrar = \"registrar.bin\"\n"
    );
    if n == DISKLESS {
        toml.push_str(&format!("snapshot_behind = {SNAPSHOT_BEHIND}\n"));
    }
    for (account, address) in peers {
        toml.push_str(&format!("[[peer]]\naccount = \"{account}\"\naddress = \"{address}\"\n"));
    }
    write(&own.join("validator.toml"), toml.as_bytes());
    Process::new(own)
}

fn beginning(user: &Address) -> Beginning {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Beginning {
        id: NETWORK,
        time_ms: now.as_millis() as u64,
        max_supply: 1_000_000_000,
        treasury: 0,
        allocations: vec![Allocation {
            address: *user,
            amount: 1_000_000,
        }],
        stake: 1_000,
        params: Params {
            epoch_blocks: 12,
            block_interval_ms: 200,
            fee_min: 10,
            burn_bp: 2_000,
            factor_bp: [0; 5],
            rate: [0; 5],
            epoch_cap: [0; 5],
            miner_cap: 0,
            model_deposit: 5_000,
            hosting_burn_min: 0,
            unbond_epochs: 3,
            claim_age_s: 86_400,
            tier_min: 2,
            simulated_earns: true,
            committee_max: 5,
            committee_min: 4,
            stake_min: 1_000,
            slash_bp: 5_000,
            reporter_bp: 1_000,
            validator_tier_min: 2,
            simulated_votes: true,
        },
    }
}

struct Net {
    processes: Vec<Process>,
    /// From one to another.
    ways: Vec<Vec<Forwarder>>,
    byzantine: Byzantine,
    genesis: Genesis,
}

impl Net {
    fn start(dir: &Path, user: &Address) -> Self {
        write(
            &dir.join("simulator.bin"),
            &SimulatedProcessor::for_tests().to_material(),
        );
        let ways: Vec<Vec<_>> = (0..5).map(|_| (0..5).map(|_| Forwarder::new()).collect()).collect();
        let peers = |of: usize| -> Vec<_> {
            let others = (0..5).filter(|to| *to != of);
            others.map(|to| (account(to), ways[of][to].address.clone())).collect()
        };
        let mut processes: Vec<_> = (0..4).map(|n| folder(dir, n, &peers(n))).collect();
        processes[SLOW].set_clock(BEHIND);
        processes.iter_mut().for_each(Process::start);
        let candidates = processes.iter().map(|process| {
            let path = process.dir.join("candidate.json");
            let json = until("a candidate", || fs::read(&path).ok());
            Candidate::parse(&json).unwrap()
        });
        let mut candidates: Vec<_> = candidates.collect();
        let (seed, owner) = ([99; 32], public(&wallet(BYZANTINE as u8 + 1)));
        let key: SigningKey<MlDsa65> = SigningKey::from_seed(&seed).unwrap();
        let consensus: PublicKey = Fixed::new(key.verifying_key().as_bytes()).unwrap();
        let mut own = candidates[0].clone();
        own.keys.network = before_genesis(NETWORK);
        (own.keys.validator, own.keys.consensus, own.owner) = (account(BYZANTINE), consensus.clone(), owner.clone());
        own.registrar = public(&wallet(55));
        candidates.push(own);
        let genesis = assemble(&candidates, beginning(user)).unwrap();
        let byzantine = dir.join("byzantine");
        fs::create_dir(&byzantine).unwrap();
        let byzantine = Byzantine::start(
            &byzantine,
            Made {
                genesis: genesis.clone(),
                wallet: wallet(BYZANTINE as u8 + 1),
                owner,
                seed,
                consensus,
                peers: peers(BYZANTINE)
                    .into_iter()
                    .map(|(account, address)| PeerAddress { account, address })
                    .collect(),
            },
        );
        let net = Self {
            processes,
            ways,
            byzantine,
            genesis,
        };
        for process in &net.processes {
            write(&process.dir.join("genesis.new"), &net.genesis.to_bytes());
            fs::rename(process.dir.join("genesis.new"), process.dir.join("genesis.bin")).unwrap();
        }
        net.connect();
        net
    }

    /// Leads every way to where its end listens now.
    fn connect(&self) {
        for from in 0..5 {
            for to in 0..5 {
                let at = match to == BYZANTINE {
                    true => self.byzantine.link.clone(),
                    false => self.processes[to].ready("link"),
                };
                self.ways[from][to].set_target(&at);
            }
        }
    }

    fn all_ways_of(&self, n: usize) -> impl Iterator<Item = &Forwarder> {
        let both = (0..5).flat_map(move |other| [&self.ways[n][other], &self.ways[other][n]]);
        both
    }

    fn height(&self, n: usize) -> u64 {
        self.processes[n].status().height
    }

    /// Until each of `who` has so many blocks more than the highest of them has now.
    fn go_on(&self, what: &str, who: &[usize], blocks: u64) {
        let from = who.iter().map(|n| self.height(*n)).max().unwrap();
        for n in who {
            until(what, || (self.height(*n) >= from + blocks).then_some(()));
        }
    }
}

#[test]
fn finality_goes_on_through_a_kill_a_partition_and_a_liar_and_balances_are_equal_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let (user, friend) = (wallet(200), Address([7; 32]));
    let user_at = Address::of(&public(&user));
    let mut net = Net::start(dir.path(), &user_at);
    let all = [0, 1, 2, 3];
    for n in all {
        until("the first blocks", || (net.height(n) >= 2).then_some(()));
    }

    // A transaction given to one, seen by all.
    let user = Account::open(user, net.genesis.network()).unwrap();
    let pay = |nonce| {
        let tx = Tx {
            network: net.genesis.network(),
            sender: user.public().clone(),
            nonce,
            fee: 10,
            expires: u64::MAX,
            action: Action::Transfer(Transfer {
                to: friend,
                amount: 1_000,
            }),
        };
        let bytes = user.transaction(tx).unwrap().to_bytes();
        Submit {
            transaction: Some(bytes.iter().map(|b| format!("{b:02x}")).collect()),
        }
    };
    let balance = |net: &Net, n: usize, of: &Address| {
        let call = GetAccount {
            address: Some(of.to_string()),
        };
        until("an account", || net.processes[n].call(&call)).balance
    };
    net.processes[2].call(&pay(0)).unwrap();
    for n in all {
        until("the payment", || (balance(&net, n, &friend) == "1000").then_some(()));
    }

    // One is killed; the others go on without it: none without the vote of whose clock is behind, and some of its making.
    let killed_at = net.height(1);
    net.processes[0].kill();
    net.go_on("blocks while one is dead", &[1, 2, 3], 4);
    let made_by = |net: &Net, height: u64| {
        let (height, id) = (Some(height), None);
        until("a block", || {
            net.processes[1].call(&GetBlock { height, id: id.clone() })
        })
        .proposer
    };
    until("a block of whose clock is behind", || {
        let mut heights = killed_at + 1..=net.height(1);
        heights
            .any(|height| made_by(&net, height) == account(SLOW).to_string())
            .then_some(())
    });
    net.processes[0].start();
    net.connect();
    let voting = |net: &Net, n: usize, incarnation: u64| {
        let status = net.processes[n].status();
        (status.node.votes && status.node.incarnation == incarnation && status.height >= 1).then_some(())
    };
    until("the killed one votes again, with a new key", || voting(&net, 0, 2));
    net.go_on("blocks with it", &all, 2);

    // One is cut off; the others go on, it does not; then it comes back.
    net.all_ways_of(1).for_each(Forwarder::cut);
    let before = net.height(1);
    net.processes[3].call(&pay(1)).unwrap();
    net.go_on("blocks while one is cut off", &[0, 2, 3], 4);
    assert!(
        net.height(1) <= before + 2,
        "blocks became final where there is no quorum"
    );
    net.all_ways_of(1).for_each(Forwarder::heal);
    let others = net.height(2);
    until("it catches up", || (net.height(1) >= others).then_some(()));
    until("it votes again, with the key that it had", || voting(&net, 1, 1));
    net.go_on("blocks with it", &all, 2);
    for n in all {
        let status = net.processes[n].status();
        assert_eq!(
            (status.node.faults, status.base),
            (0, None),
            "nobody lied so far, everybody applied every block"
        );
    }

    // One loses its ledger. Its peers hand it the state of their last epoch; it votes again, and says what it does not have.
    until("far enough to need a state", || {
        (net.height(DISKLESS) > SNAPSHOT_BEHIND + 24).then_some(())
    });
    net.processes[DISKLESS].kill();
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock"] {
        let _ = fs::remove_file(net.processes[DISKLESS].dir.join(name));
    }
    net.processes[DISKLESS].start();
    net.connect();
    until("it is where the others are, by a state", || {
        let status = net.processes[DISKLESS].status();
        (status.base? > SNAPSHOT_BEHIND && status.height + 24 > net.height(3)).then_some(())
    });
    let (height, id) = (Some(1), None);
    let refusal = net.processes[DISKLESS].refusal(&GetBlock { height, id });
    assert!(refusal.contains("mining.pruned"), "{refusal}");
    assert_eq!(net.processes[3].call(&GetBlock { height, id: None }).unwrap().height, 1);
    until("it votes again, with a new key", || voting(&net, DISKLESS, 2));
    net.go_on("blocks with it", &all, 2);

    // The fifth says two things from now on.
    net.byzantine.turn();
    until("a lie", || {
        (net.byzantine.lies.load(Ordering::SeqCst) > 0).then_some(())
    });
    // Both votes are evidence; whoever holds a certificate of the first before either vote has no evidence, and keeps away who sent
    // the second.
    let liar = account(BYZANTINE).to_string();
    let seen_through = |n: &usize| {
        let node = net.processes[*n].status().node;
        node.faults > 0 || node.peers.iter().any(|peer| peer.account == liar && peer.blocked)
    };
    until("all see through it", || all.iter().all(seen_through).then_some(()));
    net.go_on("blocks in spite of it", &all, 6);

    // Nobody has to hand its votes in: half of its stake is gone everywhere, and nothing of anybody else's.
    let account_of = |n: usize, of: usize| {
        let call = GetAccount {
            address: Some(account(of).to_string()),
        };
        until("an account", || net.processes[n].call(&call))
    };
    for n in all {
        let slashed = || {
            let view = account_of(n, BYZANTINE);
            (view.bonded == "500" && view.validator.as_deref() == Some("jailed")).then_some(())
        };
        until("the liar is slashed", slashed);
        for honest in all {
            let view = account_of(n, honest);
            assert_eq!(
                (view.bonded.as_str(), view.validator.as_deref()),
                ("1000", Some("active"))
            );
        }
    }
    // Whoever reported it was paid for that, once, and the report is kept no longer.
    let paid = || {
        let balances: Vec<_> = all.iter().map(|n| account_of(*n, *n).balance).collect();
        let waiting = all.iter().map(|n| net.processes[*n].status().node.reports).sum::<u64>();
        let got = balances.iter().filter(|balance| *balance == "50").count();
        (got == 1 && balances.iter().filter(|b| *b == "0").count() == 3 && waiting == 0).then_some(())
    };
    until("one reporter is paid, nobody has anything left to report", paid);

    // The same block, state and balances everywhere.
    let height = all.iter().map(|n| net.height(*n)).min();
    let block = GetBlock { height, id: None };
    let shown = all.map(|n| net.processes[n].call(&block).unwrap());
    for view in &shown {
        assert_eq!((&view.id, &view.state_root), (&shown[0].id, &shown[0].state_root));
    }
    for n in all {
        let both = || (balance(&net, n, &friend) == "2000" && balance(&net, n, &user_at) == "997980").then_some(());
        until("both payments", both);
        let status = net.processes[n].status();
        assert!(status.node.account == Some(account(n).to_string()) && status.simulated);
    }
    for n in all {
        assert_eq!(net.processes[n].stop(), Some(0), "{}", net.processes[n].log());
        let log = net.processes[n].log();
        assert!(!log.contains(PASSPHRASE) && !log.contains("panicked"), "{log}");
    }
}

//! The freshness sources: the key broker's lease and a quorum of peers.

use std::sync::{Arc, Mutex};

use hanzo_attestation::name::KeyId;
use hanzo_attestation::{Digest256, Nonce};
use hanzo_kbs_protocol::heads::{HeadAction, HeadRequest, HeadState, HeldLease, LeaseKey, LeaseReply, StoreHead};
use hanzo_pqc::KemSuite;
use hanzo_pqc::SignatureSuite;
use hanzo_pqc::hpke::PrivateKey;
use hanzo_pqc::sign::SigningKeys;
use hanzo_signer::freshness::{
    HeadExchange, KbsCounter, Peer, PeerAnswer, PeerQuestion, PeerQuorum, PeerRegister, PeerStep,
};
use hanzo_signer::{FreshnessError, FreshnessSource, Head, PublicKey, Role, Signer, SignerKey};

use crate::doubles::{Disk, NETWORK, Released, key, notarize};

fn head(count: u64, n: u8) -> Head {
    Head { count, hash: [n; 32] }
}

/// The broker's fence of one store, with its messages and its rules.
struct Broker {
    keys: SigningKeys,
    store: KeyId,
    head: StoreHead,
    token: u64,
    is_down: bool,
    loses_replies: bool,
}

impl Broker {
    fn new() -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            keys: SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[1; 64]).unwrap(),
            store: KeyId::new("signer/journal/validator-1").unwrap(),
            head: StoreHead::empty(),
            token: 0,
            is_down: false,
            loses_replies: false,
        }))
    }

    fn state(&self, nonce: Nonce) -> HeadState {
        HeadState {
            head: self.head,
            lease_s: 60,
            nonce,
            store: self.store.clone(),
            token: self.token,
        }
    }

    fn lease_key(&self, token: u64) -> LeaseKey {
        LeaseKey::derive(
            b"a secret of the broker",
            &self.store,
            token,
            &hanzo_attestation::Digest384([0; 48]),
        )
        .unwrap()
    }

    fn answer(&mut self, body: &[u8]) -> Result<Vec<u8>, String> {
        let request = HeadRequest::parse(body).map_err(|e| e.to_string())?;
        let token = match &request.ask.action {
            HeadAction::Advance { token, .. } | HeadAction::Renew { token, .. } => *token,
            _ => return Err("kbs.head.malformed".into()),
        };
        let key = self.lease_key(token);
        key.check_request(&request).map_err(|e| e.to_string())?;
        if token != self.token {
            return Err("kbs.head.fenced".into());
        }
        if let HeadAction::Advance { new, old, .. } = request.ask.action {
            if old != self.head && new != self.head {
                return Err("kbs.head.moved".into());
            }
            self.head = new;
        }
        let reply = key.reply(self.state(request.ask.nonce)).unwrap();
        Ok(hanzo_attestation::jcs::to_vec("reply", &reply).unwrap())
    }
}

struct Line(Arc<Mutex<Broker>>);

impl HeadExchange for Line {
    fn exchange(&mut self, body: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut broker = self.0.lock().unwrap();
        if broker.is_down {
            return Err("connection refused".into());
        }
        let reply = broker.answer(&body)?;
        match broker.loses_replies {
            true => Err("connection reset".into()),
            false => Ok(reply),
        }
    }
}

fn lease(broker: &Arc<Mutex<Broker>>) -> KbsCounter<Line> {
    let own = PrivateKey::generate(KemSuite::Xwing).unwrap();
    let nonce = Nonce([5; 32]);
    let mut open = broker.lock().unwrap();
    open.token += 1;
    let key = open.lease_key(open.token);
    let reply = LeaseReply::seal(open.state(nonce), &key, own.public_key(), &open.keys).unwrap();
    let reply = hanzo_attestation::jcs::to_vec("lease", &reply).unwrap();
    let held = HeldLease::open(&reply, &open.store, &nonce, &own, open.keys.verifying_keys()).unwrap();
    drop(open);
    KbsCounter::new(held, Line(Arc::clone(broker)), 60)
}

fn code<T>(result: Result<T, FreshnessError>) -> &'static str {
    result.err().unwrap().code()
}

#[test]
fn the_brokers_head_moves_by_compare_and_swap_alone() {
    let broker = Broker::new();
    let mut counter = lease(&broker);
    assert_eq!(counter.newest().unwrap(), Head::EMPTY);
    assert!(Head::empty_is_the_digest_of_nothing());
    counter.advance(Head::EMPTY, head(1, 1)).unwrap();
    assert_eq!(counter.newest().unwrap(), head(1, 1));
    assert_eq!(code(counter.advance(Head::EMPTY, head(1, 2))), "signer.freshness.moved");
    // A later lease fences the earlier one, and starts where that ended.
    let mut later = lease(&broker);
    assert_eq!(
        code(counter.advance(head(1, 1), head(2, 2))),
        "signer.freshness.unreachable"
    );
    assert_eq!(later.newest().unwrap(), head(1, 1));
    later.advance(head(1, 1), head(2, 3)).unwrap();
    broker.lock().unwrap().is_down = true;
    assert_eq!(code(later.newest()), "signer.freshness.unreachable");
    assert_eq!(
        code(later.advance(head(2, 3), head(3, 4))),
        "signer.freshness.unreachable"
    );
    assert_eq!(
        broker.lock().unwrap().head,
        StoreHead {
            root: Digest256([3; 32]),
            size: 2,
        }
    );
}

fn signer_at(broker: &Arc<Mutex<Broker>>, disk: &Disk) -> Signer<Disk, KbsCounter<Line>> {
    Signer::open(Role::Consensus, NETWORK, key(1), disk.clone(), lease(broker)).unwrap()
}

#[test]
fn a_signer_under_the_brokers_lease_signs_once_through_clones_rollbacks_and_lost_replies() {
    let (broker, disk, mut released) = (Broker::new(), Disk::new(), Released::default());
    let mut signer = Signer::create(Role::Consensus, NETWORK, key(1), disk.clone(), lease(&broker)).unwrap();
    released.take(&mut signer, &notarize(1, 1)).unwrap();
    let old = disk.copy();
    broker.lock().unwrap().loses_replies = true;
    let lost = released.take(&mut signer, &notarize(2, 1)).unwrap_err();
    assert_eq!(lost.code(), "signer.freshness.unreachable");
    broker.lock().unwrap().loses_replies = false;
    let mut signer = signer_at(&broker, &disk);
    assert!(released.take(&mut signer, &notarize(2, 2)).is_err());
    released.take(&mut signer, &notarize(2, 1)).unwrap();
    // The clone takes the lease; the first one finds itself fenced.
    let cloned = Disk::of(disk.copy());
    let mut clone = signer_at(&broker, &cloned);
    let fenced = released.take(&mut signer, &notarize(3, 1)).unwrap_err();
    assert_eq!(fenced.code(), "signer.freshness.unreachable");
    released.take(&mut clone, &notarize(3, 2)).unwrap();
    let stale = Signer::open(Role::Consensus, NETWORK, key(1), Disk::of(old), lease(&broker));
    assert_eq!(stale.err().unwrap().code(), "signer.journal.older");
    let diverged = Signer::open(Role::Consensus, NETWORK, key(1), disk, lease(&broker));
    assert!(["signer.journal.diverged", "signer.journal.older"].contains(&diverged.err().unwrap().code()));
}

/// A peer: a register and a key.
struct Node {
    register: PeerRegister,
    key: SignerKey,
    is_down: bool,
}

#[derive(Clone)]
struct Wire {
    node: Arc<Mutex<Node>>,
    /// Answers as if it had done what it was asked, or with another question's nonce.
    lies: bool,
    replays: Arc<Mutex<Option<PeerAnswer>>>,
}

impl Peer for Wire {
    fn ask(&mut self, question: &PeerQuestion) -> Result<PeerAnswer, String> {
        let mut node = self.node.lock().unwrap();
        if node.is_down {
            return Err("down".into());
        }
        if let Some(old) = self.replays.lock().unwrap().clone() {
            return Ok(old);
        }
        if self.lies {
            let told = PeerRegister {
                incarnation: question.incarnation,
                head: match question.step {
                    PeerStep::Advance(to) => to,
                    PeerStep::Fence => Head::EMPTY,
                },
                written: 0,
            };
            return told.answer(question, true, &node.key).map_err(|e| e.to_string());
        }
        let is_done = node.register.apply(question);
        let register = node.register;
        register.answer(question, is_done, &node.key).map_err(|e| e.to_string())
    }
}

fn nodes(n: u8) -> Vec<Wire> {
    let node = |n| Node {
        register: PeerRegister::enrolled(),
        key: key(100 + n),
        is_down: false,
    };
    (0..n)
        .map(|n| Wire {
            node: Arc::new(Mutex::new(node(n))),
            lies: false,
            replays: Arc::default(),
        })
        .collect()
}

fn peers(nodes: &[Wire]) -> Vec<(PublicKey, Box<dyn Peer>)> {
    nodes
        .iter()
        .map(|wire| {
            let public = wire.node.lock().unwrap().key.public().clone();
            (public, Box::new(wire.clone()) as Box<dyn Peer>)
        })
        .collect()
}

fn quorum(nodes: &[Wire], incarnation: u64) -> PeerQuorum {
    PeerQuorum::new(key(1).public(), incarnation, peers(nodes)).unwrap()
}

fn down(nodes: &[Wire], which: &[usize]) {
    for (n, wire) in nodes.iter().enumerate() {
        wire.node.lock().unwrap().is_down = which.contains(&n);
    }
}

#[test]
fn a_quorum_of_peers_holds_the_head_and_serves_one_incarnation() {
    let nodes = nodes(4);
    let mut first = quorum(&nodes, 1);
    assert_eq!(first.newest().unwrap(), Head::EMPTY);
    first.advance(Head::EMPTY, head(1, 1)).unwrap();
    assert_eq!(code(first.advance(Head::EMPTY, head(1, 2))), "signer.freshness.moved");
    // One may be away, two may not.
    down(&nodes, &[0]);
    first.advance(head(1, 1), head(2, 2)).unwrap();
    down(&nodes, &[0, 1]);
    assert_eq!(code(quorum(&nodes, 2).newest()), "signer.freshness.unreachable");
    down(&nodes, &[]);
    // The same incarnation again is nobody's, a later one finds the newest head, and the earlier is fenced.
    assert_eq!(code(quorum(&nodes, 1).newest()), "signer.freshness.fenced");
    let mut later = quorum(&nodes, 3);
    assert_eq!(later.newest().unwrap(), head(2, 2));
    assert_eq!(code(first.advance(head(2, 2), head(3, 3))), "signer.freshness.fenced");
    later.advance(head(2, 2), head(3, 4)).unwrap();
}

#[test]
fn a_minority_that_lies_forgets_or_replays_hides_no_head() {
    let mut nodes = nodes(4);
    let mut first = quorum(&nodes, 1);
    first.newest().unwrap();
    first.advance(Head::EMPTY, head(1, 1)).unwrap();
    nodes[0].lies = true;
    let mut second = quorum(&nodes, 2);
    assert_eq!(second.newest().unwrap(), head(1, 1));
    // A replayed answer has another nonce, so it is none: with a second one away there is no quorum.
    let question = PeerQuestion {
        key: key(1).public().digest(),
        nonce: [0; 32],
        incarnation: 3,
        step: PeerStep::Fence,
    };
    nodes[0].lies = false;
    let answer = nodes[0].clone().ask(&question).unwrap();
    *nodes[0].replays.lock().unwrap() = Some(answer);
    down(&nodes, &[1]);
    assert_eq!(code(quorum(&nodes, 4).newest()), "signer.freshness.unreachable");
    down(&nodes, &[]);
    assert_eq!(quorum(&nodes, 5).newest().unwrap(), head(1, 1));
}

#[test]
fn a_head_that_reached_a_minority_does_not_beat_the_one_that_a_later_incarnation_wrote() {
    let nodes = nodes(4);
    let mut first = quorum(&nodes, 1);
    first.newest().unwrap();
    first.advance(Head::EMPTY, head(4, 4)).unwrap();
    down(&nodes, &[1, 2, 3]);
    assert_eq!(
        code(first.advance(head(4, 4), head(5, 1))),
        "signer.freshness.unreachable"
    );
    down(&nodes, &[0]);
    let mut second = quorum(&nodes, 2);
    assert_eq!(second.newest().unwrap(), head(4, 4));
    second.advance(head(4, 4), head(5, 2)).unwrap();
    down(&nodes, &[3]);
    assert_eq!(quorum(&nodes, 3).newest().unwrap(), head(5, 2));
}

#[test]
fn a_signer_under_peers_signs_once_through_clones_and_rollbacks() {
    let nodes = nodes(4);
    let (disk, mut released) = (Disk::new(), Released::default());
    let open = |disk: &Disk, incarnation| {
        Signer::open(
            Role::Consensus,
            NETWORK,
            key(1),
            disk.clone(),
            quorum(&nodes, incarnation),
        )
    };
    let mut signer = Signer::create(Role::Consensus, NETWORK, key(1), disk.clone(), quorum(&nodes, 1)).unwrap();
    released.take(&mut signer, &notarize(1, 1)).unwrap();
    let (old, cloned) = (disk.copy(), Disk::of(disk.copy()));
    released.take(&mut signer, &notarize(2, 1)).unwrap();
    assert_eq!(open(&Disk::of(old), 2).err().unwrap().code(), "signer.journal.older");
    assert_eq!(open(&cloned, 2).err().unwrap().code(), "signer.freshness.fenced");
    let fenced = released.take(&mut signer, &notarize(3, 1)).unwrap_err();
    assert_eq!(fenced.code(), "signer.freshness.fenced");
    let mut signer = open(&disk, 3).unwrap();
    assert_eq!(
        released.take(&mut signer, &notarize(3, 2)).unwrap_err().code(),
        "signer.conflict"
    );
    released.take(&mut signer, &notarize(2, 1)).unwrap();
    released.take(&mut signer, &notarize(3, 1)).unwrap();
}

#[test]
fn peers_are_at_least_four_each_once_and_incarnations_begin_at_one() {
    let nodes = nodes(4);
    let setup = |nodes: &[Wire], incarnation| PeerQuorum::new(key(1).public(), incarnation, peers(nodes));
    assert!(setup(&nodes, 1).is_ok());
    assert_eq!(code(setup(&nodes[..3], 1)), "signer.freshness.setup");
    assert_eq!(code(setup(&nodes, 0)), "signer.freshness.setup");
    let twice: Vec<_> = nodes.iter().chain(&nodes[..1]).cloned().collect();
    assert_eq!(code(setup(&twice, 1)), "signer.freshness.setup");
}

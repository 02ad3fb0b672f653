//! A chain of three epochs with a paid answer and a new key, and what a node would hand a light client. Every signature is a real one.
#![allow(dead_code, reason = "each test binary uses some of it")]
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "tests stop at the first surprise"
)]

#[path = "../../../../ledger/tests/support/fixture.rs"]
pub mod fixture;

use fixture::*;
use hanzo_chain_types::Proposal;
use hanzo_chain_types::*;
use hanzo_ledger::*;
use hanzo_pqc::Domain;

/// The committee of an epoch as the state names it.
pub fn set(state: &State, epoch: u64) -> ValidatorSet {
    committee_of(state, epoch).unwrap().unwrap()
}

/// A certificate of the first `quorum` members, who have these keys.
pub fn certify(set: &ValidatorSet, header: Header, votes: usize, keys: &[User]) -> FinalityCertificate {
    let at = (set.epoch(), header.height, header.height - 1);
    let vote = AIChainVote::Finalize(Proposal {
        epoch: at.0,
        view: at.1,
        parent: at.2,
        block: header.id(),
    });
    let signed = set.validators().iter().take(votes).enumerate().map(|(place, v)| {
        let key = keys.iter().find(|k| k.public == v.key).unwrap();
        (place, key.sign(Domain::ChainFinalize, &vote.message(&header.network)))
    });
    FinalityCertificate::new(header, at, signed.collect::<Vec<_>>()).unwrap()
}

/// A chain, and proofs about it.
pub struct Told {
    pub w: World,
    pub keys: Vec<User>,
    /// From epoch 1 to 2, where one validator has another key.
    pub handover: Handover,
    /// Of the newest block, in epoch 2.
    pub certificate: FinalityCertificate,
    /// A paid answer in an early block of epoch 0, and the way from there to a certified one.
    pub receipt: Vec<u8>,
    pub reward: LightProof,
}

impl Told {
    pub fn genesis(&self) -> Genesis {
        self.w.state.genesis().clone()
    }

    pub fn light(&self, subject: Subject) -> LightProof {
        LightProof {
            handovers: List::new(vec![self.handover.clone()]).unwrap(),
            certificate: self.certificate.clone(),
            headers: List::default(),
            subject,
        }
    }

    pub fn account(&self, who: usize) -> LightProof {
        let key = Key::Account(self.w.users[who].address);
        self.light(Subject::Entry(self.w.state.prove(&key)))
    }
}

pub fn told() -> Told {
    let mut w = world(params());
    let network = w.network();
    let mut keys: Vec<User> = (0..4).map(|n| first(n).1).collect();
    keys.push(user(400));
    // Block 2: five transactions, one of them the claim.
    let answer = w.boot.receipt(0, |_| {});
    let claim = claimed(answer.cosigned(&network, &w.users[0], &w.users[1], 1_000));
    let mut all: Vec<_> = (0..4)
        .map(|n| w.users[2].tx(&network, n, transfer(&w.users[3], 5)))
        .collect();
    all.insert(3, w.users[0].tx(&network, 1, claim));
    let verified: Vec<_> = all.iter().map(|tx| tx.clone().verify(&w.state).unwrap()).collect();
    assert!(w.block(verified).is_empty());
    let inclusion = Inclusion::of(&w.blocks[w.blocks.len() - 1], 3).unwrap();
    let at = w.blocks.len() - 1;
    // A new key of one validator; then two empty blocks, the second of them certified.
    let owner = first(2).0;
    let rotate = rotation(
        &network,
        &owner,
        new_key(&network, &owner.address, &user(400), 2, &w.registrars),
    );
    w.does(3, rotate).unwrap();
    w.block(vec![]);
    w.block(vec![]);
    let headers: Vec<_> = w.blocks.iter().map(|b| b.header).collect();
    let (last, between) = (headers[headers.len() - 1], &headers[at..headers.len() - 1]);
    let reward = LightProof {
        handovers: List::default(),
        certificate: certify(&set(&w.state, 0), last, 3, &keys),
        headers: List::new(between.to_vec()).unwrap(),
        subject: Subject::Transaction(Box::new(inclusion)),
    };
    w.next_epoch();
    let header = w.blocks[w.blocks.len() - 1].header;
    let handover = Handover::of(certify(&set(&w.state, 1), header, 3, &keys), &w.state)
        .unwrap()
        .unwrap();
    w.next_epoch();
    let header = w.blocks[w.blocks.len() - 1].header;
    let certificate = certify(&set(&w.state, 2), header, 3, &keys);
    Told {
        w,
        keys,
        handover,
        certificate,
        receipt: answer.bytes,
        reward,
    }
}

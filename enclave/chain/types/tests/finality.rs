//! Votes, sets and certificates, each accepted one with its nearest refused twin.

use hanzo_attestation::Digest256;
use hanzo_chain_types::*;
use hanzo_ledger::{Address, Canonical, Fixed, Header, MlDsaSignature, Network, NetworkKind, PublicKey};
use hanzo_pqc::PqcError;
use hanzo_signer::{
    FreshnessError, FreshnessSource, Head, Network as SignerNetwork, Role, SecurityLevel, SignRequest, Signer,
    SignerKey, Volatile, Vote,
};

type Voter = Signer<Volatile, Held>;

/// The head of a journal that lives as long as its test.
struct Held(Head);

impl FreshnessSource for Held {
    fn newest(&mut self) -> Result<Head, FreshnessError> {
        Ok(self.0)
    }

    fn advance(&mut self, _from: Head, to: Head) -> Result<(), FreshnessError> {
        self.0 = to;
        Ok(())
    }
}

fn network(id: u64) -> Network {
    Network {
        kind: NetworkKind::AiChain,
        id,
        genesis: Digest256([7; 32]),
    }
}

fn signer_network(network: &Network) -> SignerNetwork {
    SignerNetwork::ai_chain(network.id, network.genesis.0)
}

/// `n` validators and their signers, in the order of the set.
fn committee(n: u8, epoch: u64) -> (ValidatorSet, Vec<Voter>) {
    let mut voters: Vec<Voter> = (0..n)
        .map(|i| {
            let key = SignerKey::from_seed(SecurityLevel::MlDsa65, &[i; 32]).unwrap();
            let network = signer_network(&network(36964));
            Signer::create(Role::Consensus, network, key, Volatile, Held(Head::EMPTY)).unwrap()
        })
        .collect();
    voters.sort_by(|a, b| a.public().as_bytes().cmp(b.public().as_bytes()));
    let validators = voters.iter().map(|v| {
        let key: PublicKey = Fixed::new(v.public().as_bytes()).unwrap();
        let id = Address::of(&key);
        Validator { id, key }
    });
    (ValidatorSet::new(epoch, validators.collect()).unwrap(), voters)
}

fn header() -> Header {
    Header {
        network: network(36964),
        height: 9,
        parent: Digest256([1; 32]),
        time_ms: 1_800_000_000_000,
        proposer: Address([2; 32]),
        tx_root: Digest256([3; 32]),
        state_root: Digest256([4; 32]),
    }
}

fn request(vote: &AIChainVote) -> SignRequest {
    let network = signer_network(&network(36964));
    let of = |p: &Proposal| Vote {
        epoch: p.epoch,
        view: p.view,
        parent: p.parent,
        payload: p.block.0,
    };
    match vote {
        AIChainVote::Notarize(p) => SignRequest::notarize(network, of(p)),
        AIChainVote::Nullify { epoch, view } => SignRequest::nullify(network, *epoch, *view),
        AIChainVote::Finalize(p) => SignRequest::finalize(network, of(p)),
    }
}

fn signed(voter: &mut Voter, vote: &AIChainVote) -> MlDsaSignature {
    Fixed::new(&voter.sign(&request(vote)).unwrap()).unwrap()
}

fn certificate(voters: &mut [Voter], places: &[usize]) -> FinalityCertificate {
    let (epoch, view, parent) = (3, 12, 11);
    let vote = AIChainVote::Finalize(Proposal {
        epoch,
        view,
        parent,
        block: header().id(),
    });
    let votes: Vec<_> = places.iter().map(|at| (*at, signed(&mut voters[*at], &vote))).collect();
    FinalityCertificate::new(header(), (epoch, view, parent), votes).unwrap()
}

#[test]
fn votes_are_byte_for_byte_what_the_signer_signs() {
    let proposal = Proposal {
        epoch: 3,
        view: 12,
        parent: 11,
        block: Digest256([9; 32]),
    };
    let (set, mut voters) = committee(4, 3);
    let votes = [
        AIChainVote::Notarize(proposal),
        AIChainVote::Nullify { epoch: 3, view: 13 },
        AIChainVote::Finalize(proposal),
    ];
    for vote in votes {
        assert_eq!(vote.message(&network(36964)), request(&vote).encode());
        assert_eq!(vote.domain().as_str(), request(&vote).kind().domain());
        let signature = signed(&mut voters[1], &vote);
        let key = &set.validators()[1].key;
        vote.verify(&network(36964), key, &signature).unwrap();
        let refused = Err(PqcError::MlDsa { set: "ML-DSA-65" });
        assert_eq!(vote.verify(&network(36963), key, &signature), refused);
        assert_eq!(
            vote.verify(&network(36964), &set.validators()[2].key, &signature),
            refused
        );
        for other in votes.iter().filter(|other| **other != vote) {
            assert_eq!(other.verify(&network(36964), key, &signature), refused);
        }
        let short = vote.verify(&network(36964), key, &signature[1..]);
        assert!(matches!(short, Err(PqcError::Length { .. })));
    }
}

#[test]
fn a_quorum_makes_a_block_final_and_one_vote_less_does_not() {
    let (set, mut voters) = committee(4, 3);
    assert_eq!(set.quorum(), 3);
    for places in [&[0, 1, 2][..], &[0, 2, 3], &[0, 1, 2, 3]] {
        let bytes = certificate(&mut voters, places).to_bytes();
        let read = FinalityCertificate::parse(&bytes).unwrap();
        assert_eq!(read.to_bytes(), bytes);
        let shown = verify_finality(&network(36964), &set, &read).unwrap();
        assert_eq!(shown.header(), &header());
    }
    let few = certificate(&mut voters, &[1, 3]);
    let refused = verify_finality(&network(36964), &set, &few).unwrap_err();
    assert_eq!(refused, FinalityError::Quorum { quorum: 3, got: 2 });
}

#[test]
fn a_certificate_is_of_one_network_epoch_set_and_block() {
    let (set, mut voters) = committee(4, 3);
    let good = certificate(&mut voters, &[0, 1, 2]);
    let code = |network: &Network, set: &ValidatorSet, certificate: &FinalityCertificate| {
        verify_finality(network, set, certificate).unwrap_err().code()
    };
    let here = network(36964);
    assert_eq!(code(&network(36963), &set, &good), "chain.finality.network");
    assert_eq!(code(&here, &committee(4, 4).0, &good), "chain.finality.epoch");
    let mut other = good.clone();
    other.view = other.parent;
    assert_eq!(code(&here, &set, &other), "chain.finality.view");
    for change in [
        (|c| c.view += 1) as fn(&mut FinalityCertificate),
        |c| c.parent -= 1,
        |c| c.header.height += 1,
        |c| c.header.state_root = Digest256([5; 32]),
    ] {
        let mut other = good.clone();
        change(&mut other);
        let refused = verify_finality(&here, &set, &other).unwrap_err();
        assert!(matches!(refused, FinalityError::Signature { at: 0, .. }), "{refused}");
    }
    // A vote of the first round is none of the second.
    let first = AIChainVote::Notarize(Proposal {
        epoch: 3,
        view: 12,
        parent: 11,
        block: header().id(),
    });
    let votes: Vec<_> = (0..3).map(|at| (at, signed(&mut voters[at], &first))).collect();
    let notarized = FinalityCertificate::new(header(), (3, 12, 11), votes).unwrap();
    assert_eq!(code(&here, &set, &notarized), "chain.finality.signature");
    // Another committee of that epoch.
    let (seven, mut others) = committee(7, 3);
    assert_eq!(code(&here, &seven, &good), "chain.finality.quorum");
    let of_seven = certificate(&mut others, &[0, 1, 2, 3, 4]);
    assert_eq!(code(&here, &set, &of_seven), "chain.finality.signers");
}

#[test]
fn a_signer_counts_once_and_in_order() {
    let (_, mut voters) = committee(4, 3);
    let votes: Vec<_> = certificate(&mut voters, &[0, 1, 2])
        .signatures()
        .map(|(at, s)| (at, s.clone()))
        .collect();
    let make = |places: [usize; 3]| {
        let votes = votes.iter().zip(places).map(|((_, s), at)| (at, s.clone()));
        FinalityCertificate::new(header(), (3, 12, 11), votes)
    };
    assert!(make([0, 1, 2]).is_ok());
    for (places, at) in [([0, 1, 1], 1), ([0, 2, 1], 1), ([0, 1, 42], 42), ([0, 1, 64], 64)] {
        assert_eq!(make(places).unwrap_err(), FinalityError::Signers { at, n: 42 });
    }
}

#[test]
fn cut_long_and_foreign_bytes_are_refused() {
    let (set, mut voters) = committee(4, 3);
    let bytes = certificate(&mut voters, &[0, 1, 2]).to_bytes();
    assert_eq!(bytes.len(), 218 + 3 * 3309);
    for len in (0..218).chain([218 + 3308, bytes.len() - 1]) {
        let code = FinalityCertificate::parse(&bytes[..len]).unwrap_err().code();
        assert_eq!(code, "ledger.decode.truncated", "{len}");
    }
    let refused = |bytes: &[u8]| FinalityCertificate::parse(bytes).unwrap_err().code();
    assert_eq!(refused(&[&bytes[..], &[0]].concat()), "ledger.decode.trailing");
    assert_eq!(refused(&[&[2], &bytes[1..]].concat()), "ledger.decode.tag");
    let mut crowd = bytes.clone();
    crowd[210..218].fill(0xff);
    assert_eq!(refused(&crowd), "ledger.decode.too_long");
    assert_eq!(refused(&vec![1; CERTIFICATE_BYTES_MAX + 1]), "ledger.decode.too_long");

    let bytes = set.to_bytes();
    assert_eq!(ValidatorSet::parse(&bytes).unwrap(), set);
    let refused = |bytes: &[u8]| ValidatorSet::parse(bytes).unwrap_err().code();
    assert_eq!(refused(&bytes[..bytes.len() - 1]), "ledger.decode.truncated");
    assert_eq!(refused(&[&[2], &bytes[1..]].concat()), "chain.set.version");
    let (head, two) = (11, 11 + 2 * 1984);
    let swapped = [
        &bytes[..head],
        &bytes[head + 1984..two],
        &bytes[head..head + 1984],
        &bytes[two..],
    ];
    assert_eq!(refused(&swapped.concat()), "chain.set.order");
    let mut three = bytes[..head + 3 * 1984].to_vec();
    three[10] = 3;
    assert_eq!(refused(&three), "chain.committee.size");
}

#[test]
fn a_set_has_each_key_and_each_validator_once_and_its_digest_names_it() {
    let (set, _) = committee(4, 3);
    assert_ne!(set.digest(), committee(4, 4).0.digest());
    assert_ne!(set.digest(), committee(5, 3).0.digest());
    let mut shuffled = set.validators().to_vec();
    shuffled.rotate_left(1);
    assert_eq!(ValidatorSet::new(3, shuffled).unwrap().digest(), set.digest());
    let mut doubled = set.validators().to_vec();
    doubled[1].key = doubled[0].key.clone();
    assert_eq!(ValidatorSet::new(3, doubled).unwrap_err(), SetError::Order { at: 1 });
    let mut doubled = set.validators().to_vec();
    doubled[3].id = doubled[0].id;
    let id = doubled[0].id;
    assert_eq!(ValidatorSet::new(3, doubled).unwrap_err(), SetError::Twice { id });
    for (at, validator) in set.validators().iter().enumerate() {
        assert_eq!(set.position(&validator.key), Some(at));
    }
    let stranger = Fixed::new(&[0xff; 1952]).unwrap();
    assert_eq!(set.position(&stranger), None);
}

#[test]
fn ancestors_of_a_final_block_are_final_and_others_are_not() {
    let (set, mut voters) = committee(4, 3);
    let mut chain = vec![header()];
    // header() is the last: its ancestors are made to lead to another block of the same shape.
    let shown = verify_finality(&network(36964), &set, &certificate(&mut voters, &[0, 1, 2])).unwrap();
    assert_eq!(shown.ancestor(&[]).unwrap(), shown);
    assert_eq!(shown.ancestor(&chain).unwrap_err(), FinalityError::Ancestor { at: 0 });

    let parent = header();
    let child = Header {
        height: 10,
        parent: parent.id(),
        ..parent
    };
    chain.push(child);
    let tip = Header {
        height: 11,
        parent: child.id(),
        ..parent
    };
    let vote = AIChainVote::Finalize(Proposal {
        epoch: 3,
        view: 20,
        parent: 19,
        block: tip.id(),
    });
    let votes: Vec<_> = (0..3).map(|at| (at, signed(&mut voters[at], &vote))).collect();
    let of_tip = FinalityCertificate::new(tip, (3, 20, 19), votes).unwrap();
    let shown = verify_finality(&network(36964), &set, &of_tip).unwrap();
    assert_eq!(shown.ancestor(&chain).unwrap().header(), &parent);
    let gap = shown.ancestor(&chain[..1]).unwrap_err();
    assert_eq!(gap, FinalityError::Ancestor { at: 0 });
    chain[0].height = 8;
    assert_eq!(shown.ancestor(&chain).unwrap_err(), FinalityError::Ancestor { at: 0 });
}

//! The scheme as the engine uses it, and validators that do not start.

#[path = "support/committee.rs"]
mod committee;

use std::sync::Arc;

use committee::Committee;
use commonware_codec::{DecodeExt, Encode};
use commonware_consensus::simplex::types::{Finalization, Finalize, Notarize, Nullify, Proposal};
use commonware_consensus::types::{Epoch, Round, View};
use commonware_cryptography::certificate::Verifier;
use commonware_cryptography::sha256::Digest;
use commonware_p2p::simulated::{Config, Network};
use commonware_parallel::Sequential;
use commonware_runtime::deterministic::Runner;
use commonware_runtime::{Quota, Runner as _, Supervisor};
use commonware_utils::iter::NonEmpty;
use commonware_utils::{NZU32, NZUsize};
use hanzo_chain::*;

fn schemes(committee: &Committee) -> Vec<Scheme> {
    let validators = committee.set.validators().iter().enumerate();
    let scheme = |place: usize, key| {
        let signer = committee.honest(place);
        Scheme::signer(committee.network(), committee.set.clone(), key, signer).unwrap()
    };
    validators.map(|(place, v)| scheme(place, &v.key)).collect()
}

fn proposal(epoch: u64, view: u64, block: u8) -> Proposal<BlockId> {
    let round = Round::new(Epoch::new(epoch), View::new(view));
    Proposal::new(round, View::new(view - 1), Digest([block; 32]))
}

#[test]
fn the_scheme_takes_a_quorum_of_its_own_votes_and_nothing_less() {
    Runner::seeded(1).start(|mut context| async move {
        let committee = Committee::new(4);
        let schemes = schemes(&committee);
        let votes: Vec<_> = schemes
            .iter()
            .map(|s| Finalize::sign(s, proposal(0, 1, 7)).unwrap())
            .collect();
        for vote in &votes {
            assert!(vote.verify(&mut context, &schemes[0], &Sequential));
        }
        let of = |votes: &[Finalize<Scheme, BlockId>]| {
            let votes = NonEmpty::try_new(votes.iter()).unwrap();
            Finalization::from_finalizes(&schemes[0], votes, &Sequential)
        };
        let good = of(&votes[..3]).unwrap();
        assert!(good.verify(&mut context, &schemes[3], &Sequential));
        assert!(of(&votes[..2]).is_err());
        assert!(of(&[votes[0].clone(), votes[0].clone(), votes[1].clone()]).is_err());
        // The same signatures under another block, view or parent, and another set's.
        for other in [proposal(0, 1, 8), proposal(0, 2, 7), proposal(1, 1, 7)] {
            let mut forged = good.clone();
            forged.proposal = other;
            assert!(!forged.verify(&mut context, &schemes[3], &Sequential));
        }
        let seven = Committee::new(7);
        let other = Scheme::verifier(seven.network(), seven.set.clone()).unwrap();
        assert!(!good.verify(&mut context, &other, &Sequential));
        let mut swapped = votes[0].clone();
        swapped.attestation.signer = votes[1].attestation.signer;
        assert!(!swapped.verify(&mut context, &schemes[0], &Sequential));
    });
}

#[test]
fn certificates_are_read_in_one_spelling_and_bounded() {
    use commonware_codec::Decode;
    let committee = Committee::new(4);
    let schemes = schemes(&committee);
    let votes: Vec<_> = schemes
        .iter()
        .map(|s| Finalize::sign(s, proposal(0, 1, 7)).unwrap())
        .collect();
    let votes = NonEmpty::try_new(votes.iter()).unwrap();
    let certificate = Finalization::from_finalizes(&schemes[0], votes, &Sequential)
        .unwrap()
        .certificate;
    let bytes = certificate.encode();
    assert!(bytes.len() <= Scheme::max_certificate_size(4), "{}", bytes.len());
    assert_eq!(Certificate::decode_cfg(bytes.clone(), &4).unwrap(), certificate);
    assert!(Certificate::decode_cfg(bytes.clone(), &3).is_err());
    assert!(Certificate::decode_cfg(bytes.slice(..bytes.len() - 1), &4).is_err());
    assert!(Certificate::decode_cfg(bytes::Bytes::from([&bytes[..], &[0]].concat()), &4).is_err());
    let key = ValidatorKey::new(&committee.set.validators()[0].key).unwrap();
    assert_eq!(ValidatorKey::decode(key.encode()).unwrap(), key);
    assert!(ValidatorKey::decode(bytes::Bytes::copy_from_slice(&key[1..])).is_err());
    assert_eq!(ValidatorKey::new(&key[1..]), None);
}

#[test]
fn a_vote_that_conflicts_or_is_of_another_epoch_is_not_cast() {
    let committee = Committee::new(4);
    let scheme = &schemes(&committee)[0];
    let first = Notarize::sign(scheme, proposal(0, 1, 7)).unwrap();
    assert_eq!(Notarize::sign(scheme, proposal(0, 1, 7)), Some(first));
    assert_eq!(Notarize::sign(scheme, proposal(0, 1, 8)), None);
    assert!(Finalize::sign(scheme, proposal(0, 1, 7)).is_some());
    let round = |view| Round::new(Epoch::zero(), View::new(view));
    assert_eq!(Nullify::sign::<BlockId>(scheme, round(1)), None);
    assert!(Nullify::sign::<BlockId>(scheme, round(2)).is_some());
    assert_eq!(Finalize::sign(scheme, proposal(0, 2, 7)), None);
    assert_eq!(Notarize::sign(scheme, proposal(1, 3, 7)), None);
    let watcher = Scheme::verifier(committee.network(), committee.set.clone()).unwrap();
    assert_eq!(Notarize::sign(&watcher, proposal(0, 1, 7)), None);
}

#[test]
fn a_validator_with_another_network_mode_or_key_does_not_start() {
    let refused = |change: fn(&mut ConsensusConfig), place_of_seven: Option<usize>| {
        Runner::seeded(1).start(|context| async move {
            let (committee, seven) = (Committee::new(4), Committee::new(7));
            let keys: Vec<_> = committee.set.validators().iter().map(|v| v.key.clone()).collect();
            let peer = ValidatorKey::new(&keys[0]).unwrap();
            let config = Config {
                max_size: 1 << 20,
                max_peers_per_set: NZUsize!(4),
                disconnect_on_block: false,
                tracked_peer_sets: NZUsize!(1),
            };
            let (network, oracle) = Network::new_with_peers(context.child("network"), config, vec![peer.clone()]).await;
            network.start();
            let control = oracle.control(peer);
            let quota = Quota::per_second(NZU32!(1_024));
            let links = Links {
                votes: control.register(0, quota).await.unwrap(),
                certificates: control.register(1, quota).await.unwrap(),
                resolver: control.register(2, quota).await.unwrap(),
                blocks: control.register(3, quota).await.unwrap(),
            };
            let mut config = ConsensusConfig::ai_chain_testnet();
            change(&mut config);
            let strangers = seven.set.validators().iter().map(|v| v.key.clone());
            let strangers: Vec<_> = strangers.filter(|key| committee.set.position(key).is_none()).collect();
            let validator = Validator {
                config,
                key: place_of_seven.map_or(keys[0].clone(), |at| strangers[at].clone()),
                signer: committee.honest(0) as Arc<dyn VoteSigner>,
                ledger: committee.ledger(),
                pool: Arc::default(),
                progress: Progress::default(),
                blocker: control,
                partition: "validator".into(),
            };
            let started = ConsensusEngine::start(context.child("validator"), validator, links);
            started.err().map(|e| e.code())
        })
    };
    assert_eq!(refused(|_| (), None), None);
    assert_eq!(refused(|c| c.network_id = 36963, None), Some("chain.config"));
    assert_eq!(refused(|c| c.block_interval_ms = 1000, None), Some("chain.config"));
    let rpc = |c: &mut ConsensusConfig| {
        c.mode = ConsensusMode::Rpc {
            endpoint: "https://node.example".into(),
        };
    };
    assert_eq!(refused(rpc, None), Some("chain.mode"));
    assert_eq!(refused(|_| (), Some(0)), Some("chain.stranger"));
}

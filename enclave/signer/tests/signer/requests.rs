//! The bytes of requests.

use std::collections::BTreeSet;

use hanzo_signer::{Claim, Kind, Observed, SignRequest, Subject};

use crate::doubles::{NETWORK, vote};

pub fn one_of_each() -> Vec<SignRequest> {
    let subjects = [
        Subject::Notarize(vote(3, 1)),
        Subject::Nullify { epoch: 1, view: 2 },
        Subject::Finalize(vote(3, 1)),
        Subject::Possession {
            validator: [1; 32],
            incarnation: 2,
            key: [3; 32],
        },
        Subject::MiningReceipt {
            seq: 1,
            miner: [2; 32],
            body: [3; 32],
        },
        Subject::Transaction {
            nonce: 1,
            body: [2; 32],
        },
        Subject::RotateKey {
            validator: [1; 32],
            incarnation: 2,
            key: [3; 32],
            evidence: [4; 32],
        },
        Subject::TeleportClaim(Claim {
            chain_id: 1,
            contract: [2; 20],
            teleport_id: [3; 32],
            token: [4; 20],
            recipient: [5; 20],
            amount: u128::MAX,
            height: 6,
            block: [7; 32],
            validator_set: [8; 32],
            claim_epoch: 9,
        }),
        Subject::EvmObserved(Observed {
            chain_id: 1,
            contract: [2; 20],
            burn_nonce: 3,
            block: [4; 32],
            log_index: 5,
            teleport_id: [6; 32],
        }),
    ];
    subjects
        .into_iter()
        .map(|subject| SignRequest {
            network: NETWORK,
            subject,
        })
        .collect()
}

#[test]
fn requests_are_read_as_they_were_written_and_no_other_bytes_are() {
    let requests = one_of_each();
    let kinds: BTreeSet<_> = requests.iter().map(SignRequest::kind).collect();
    assert_eq!(kinds.len(), Kind::ALL.len());
    for request in requests {
        let bytes = request.encode();
        assert!(bytes.len() <= SignRequest::BYTES_MAX);
        assert_eq!(SignRequest::parse(&bytes).unwrap(), request);
        for len in 0..bytes.len() {
            assert_eq!(
                SignRequest::parse(&bytes[..len]).unwrap_err().code(),
                "signer.malformed"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(SignRequest::parse(&longer).unwrap_err().code(), "signer.malformed");
        // Version, kind and kind of network have no other meaning; every other bit makes another request.
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                if let Ok(other) = SignRequest::parse(&changed) {
                    assert_eq!(other.encode(), changed);
                    assert_ne!(other.digest(), request.digest());
                }
            }
        }
    }
    assert_eq!(SignRequest::parse(&[2; 100]).unwrap_err().code(), "signer.malformed");
}

#[test]
fn kinds_have_tags_and_domains_of_their_own() {
    let tags: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.tag()).collect();
    let domains: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.domain()).collect();
    assert_eq!((tags.len(), domains.len()), (Kind::ALL.len(), Kind::ALL.len()));
}

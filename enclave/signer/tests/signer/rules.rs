//! Each rule of the guard, and its nearest refused twin.

use hanzo_signer::{
    Claim, Decision, Floor, Network, NetworkKind, Observed, Role, SecurityLevel, SignRequest, Signer, SigningGuard,
    Subject, Vote, ephemeral, verify,
};

use crate::doubles::{Counter, Disk, NETWORK, create, key, notarize, vote};

fn finalize(view: u64, payload: u8) -> SignRequest {
    SignRequest::finalize(NETWORK, vote(view, payload))
}

fn nullify(view: u64) -> SignRequest {
    SignRequest::nullify(NETWORK, 0, view)
}

fn of(subject: Subject) -> SignRequest {
    SignRequest {
        network: NETWORK,
        subject,
    }
}

/// Records `first`, then says what becomes of `second`.
fn after(first: &SignRequest, second: &SignRequest) -> Result<Decision, &'static str> {
    let mut guard = SigningGuard::new();
    guard.record(first).unwrap();
    guard.decide(second).map_err(|refusal| refusal.code())
}

#[test]
fn one_content_is_notarized_and_one_finalized_in_a_view() {
    assert_eq!(after(&notarize(5, 1), &notarize(5, 2)), Err("signer.conflict"));
    assert_eq!(after(&notarize(5, 1), &notarize(6, 2)), Ok(Decision::Sign));
    assert_eq!(after(&finalize(5, 1), &finalize(5, 2)), Err("signer.conflict"));
    assert_eq!(after(&finalize(5, 1), &finalize(6, 2)), Ok(Decision::Sign));
    assert_eq!(after(&notarize(5, 1), &finalize(5, 1)), Ok(Decision::Sign));
    let other_epoch = SignRequest::notarize(NETWORK, Vote { epoch: 1, ..vote(5, 2) });
    assert_eq!(after(&notarize(5, 1), &other_epoch), Ok(Decision::Sign));
    let other_parent = SignRequest::notarize(
        NETWORK,
        Vote {
            parent: 3,
            ..vote(5, 1)
        },
    );
    assert_eq!(after(&notarize(5, 1), &other_parent), Err("signer.conflict"));
}

#[test]
fn a_view_is_nullified_or_finalized_and_never_both() {
    assert_eq!(after(&nullify(5), &finalize(5, 1)), Err("signer.nullified"));
    assert_eq!(after(&finalize(5, 1), &nullify(5)), Err("signer.finalized"));
    assert_eq!(after(&nullify(5), &finalize(6, 1)), Ok(Decision::Sign));
    assert_eq!(after(&notarize(5, 1), &nullify(5)), Ok(Decision::Sign));
    assert_eq!(after(&nullify(5), &notarize(5, 1)), Ok(Decision::Sign));
}

#[test]
fn one_content_has_each_sequence_number_and_nonce() {
    let receipt = |seq, body| {
        of(Subject::MiningReceipt {
            seq,
            miner: [1; 32],
            body: [body; 32],
        })
    };
    assert_eq!(after(&receipt(7, 1), &receipt(7, 2)), Err("signer.conflict"));
    assert_eq!(after(&receipt(7, 1), &receipt(8, 2)), Ok(Decision::Sign));
    let transaction = |nonce, body| {
        of(Subject::Transaction {
            nonce,
            body: [body; 32],
        })
    };
    assert_eq!(after(&transaction(7, 1), &transaction(7, 2)), Err("signer.conflict"));
    assert_eq!(after(&transaction(7, 1), &transaction(6, 2)), Ok(Decision::Sign));
}

#[test]
fn incarnations_grow_and_have_one_key_each() {
    let rotate = |incarnation, key| {
        of(Subject::RotateKey {
            validator: [1; 32],
            incarnation,
            key: [key; 32],
            evidence: [0; 32],
        })
    };
    assert_eq!(after(&rotate(3, 1), &rotate(3, 2)), Err("signer.conflict"));
    assert_eq!(after(&rotate(3, 1), &rotate(2, 1)), Err("signer.incarnation"));
    assert_eq!(after(&rotate(3, 1), &rotate(4, 2)), Ok(Decision::Sign));
    let possess = |incarnation| {
        of(Subject::Possession {
            validator: [1; 32],
            incarnation,
            key: [2; 32],
        })
    };
    assert_eq!(after(&possess(3), &possess(2)), Err("signer.incarnation"));
    assert_eq!(after(&possess(3), &possess(4)), Ok(Decision::Sign));
}

fn claim() -> Claim {
    Claim {
        chain_id: 36963,
        contract: [1; 20],
        teleport_id: [2; 32],
        token: [3; 20],
        recipient: [4; 20],
        amount: 5,
        height: 6,
        block: [7; 32],
        validator_set: [8; 32],
        claim_epoch: 9,
    }
}

#[test]
fn a_teleport_keeps_its_terms_whoever_signs_it_later() {
    let claimed = |claim| of(Subject::TeleportClaim(claim));
    let later = Claim {
        validator_set: [9; 32],
        claim_epoch: 10,
        ..claim()
    };
    assert_eq!(after(&claimed(claim()), &claimed(later)), Ok(Decision::Sign));
    let richer = Claim { amount: 6, ..later };
    assert_eq!(after(&claimed(claim()), &claimed(richer)), Err("signer.terms"));
    let redirected = Claim {
        recipient: [5; 20],
        ..later
    };
    assert_eq!(after(&claimed(claim()), &claimed(redirected)), Err("signer.terms"));
    let elsewhere = Claim { chain_id: 1, ..later };
    assert_eq!(after(&claimed(claim()), &claimed(elsewhere)), Err("signer.terms"));
    let same_epoch = Claim {
        validator_set: [9; 32],
        ..claim()
    };
    assert_eq!(after(&claimed(claim()), &claimed(same_epoch)), Err("signer.conflict"));
}

#[test]
fn a_burn_is_observed_once() {
    let seen = Observed {
        chain_id: 1,
        contract: [1; 20],
        burn_nonce: 2,
        block: [3; 32],
        log_index: 4,
        teleport_id: [5; 32],
    };
    let observed = |seen| of(Subject::EvmObserved(seen));
    let reorganised = Observed { block: [4; 32], ..seen };
    assert_eq!(after(&observed(seen), &observed(reorganised)), Err("signer.conflict"));
    let other_contract = Observed {
        contract: [2; 20],
        ..reorganised
    };
    assert_eq!(after(&observed(seen), &observed(other_contract)), Ok(Decision::Sign));
}

#[test]
fn at_and_below_a_floor_nothing_is_signed_and_floors_never_sink() {
    let mut guard = SigningGuard::new();
    guard.record(&notarize(5, 1)).unwrap();
    guard.raise(Floor::Votes { epoch: 0, view: 5 });
    guard.raise(Floor::Votes { epoch: 0, view: 3 });
    let decide = |request: &SignRequest| guard.decide(request).map_err(|refusal| refusal.code());
    assert_eq!(guard.places(), 0);
    for refused in [
        notarize(5, 1),
        notarize(5, 2),
        notarize(4, 1),
        finalize(5, 1),
        nullify(0),
    ] {
        assert_eq!(decide(&refused), Err("signer.below_floor"));
    }
    for signed in [notarize(6, 1), finalize(6, 1), nullify(6)] {
        assert_eq!(decide(&signed), Ok(Decision::Sign));
    }
    guard.raise(Floor::Receipts(4));
    guard.raise(Floor::Transactions(4));
    let decide = |subject| guard.decide(&of(subject)).map_err(|refusal| refusal.code());
    let receipt = |seq| Subject::MiningReceipt {
        seq,
        miner: [0; 32],
        body: [0; 32],
    };
    assert_eq!(decide(receipt(4)), Err("signer.below_floor"));
    assert_eq!(decide(receipt(5)), Ok(Decision::Sign));
    let transaction = |nonce| Subject::Transaction { nonce, body: [0; 32] };
    assert_eq!(decide(transaction(4)), Err("signer.below_floor"));
    assert_eq!(decide(transaction(5)), Ok(Decision::Sign));
}

#[test]
fn the_same_request_gets_the_stored_signature_and_a_refusal_changes_nothing() {
    let (disk, counter) = (Disk::new(), Counter::new());
    let mut signer = create(1, &disk, &counter).unwrap();
    let first = signer.sign(&notarize(5, 1)).unwrap();
    let (stored, head) = (disk.copy(), signer.head());
    assert_eq!(signer.sign(&notarize(5, 1)).unwrap(), first);
    assert_eq!(signer.sign(&notarize(5, 2)).unwrap_err().code(), "signer.conflict");
    assert_eq!((disk.copy(), signer.head()), (stored, head));
    // It signs on: a refusal is no fault.
    signer.sign(&notarize(6, 2)).unwrap();
}

#[test]
fn a_key_signs_its_role_and_its_network_alone() {
    let (disk, counter) = (Disk::new(), Counter::new());
    let mut signer = create(1, &disk, &counter).unwrap();
    let transaction = Subject::Transaction {
        nonce: 1,
        body: [1; 32],
    };
    assert_eq!(signer.sign(&of(transaction)).unwrap_err().code(), "signer.role");
    for network in [
        Network { id: 36963, ..NETWORK },
        Network {
            genesis: [8; 32],
            ..NETWORK
        },
        Network {
            kind: NetworkKind::Evm,
            ..NETWORK
        },
    ] {
        let request = SignRequest::notarize(network, vote(1, 1));
        assert_eq!(signer.sign(&request).unwrap_err().code(), "signer.network");
    }
    let possession = Subject::Possession {
        validator: [1; 32],
        incarnation: 1,
        key: [2; 32],
    };
    assert_eq!(signer.sign(&of(possession)).unwrap_err().code(), "signer.other_key");
    signer.sign(&notarize(1, 1)).unwrap();
    assert_eq!((signer.role(), *signer.network()), (Role::Consensus, NETWORK));
}

#[test]
fn every_role_signs_its_kinds_and_a_signature_counts_for_one_request_alone() {
    let requests = crate::requests::one_of_each();
    for request in &requests {
        let role = request.kind().role();
        let mut key = key(1);
        let mut request = *request;
        if let Subject::Possession { key: named, .. } = &mut request.subject {
            *named = key.public().digest();
        }
        let mut signer = Signer::create(role, NETWORK, key, Disk::new(), Counter::new()).unwrap();
        let signature = signer.sign(&request).unwrap();
        verify(signer.public(), &request, &signature).unwrap();
        for other in requests.iter().filter(|other| other.kind() != request.kind()) {
            assert_eq!(
                verify(signer.public(), other, &signature).unwrap_err().code(),
                "signer.signature"
            );
        }
        let network = Network { id: 36963, ..NETWORK };
        let elsewhere = SignRequest { network, ..request };
        assert!(verify(signer.public(), &elsewhere, &signature).is_err());
        key = crate::doubles::key(2);
        assert!(verify(key.public(), &request, &signature).is_err());
    }
}

#[test]
fn each_boot_has_a_key_of_its_own_and_incarnations_are_accepted_in_order() {
    let boot = |incarnation| ephemeral::boot(NETWORK, [1; 32], incarnation, SecurityLevel::MlDsa65).unwrap();
    let mut live = ephemeral::Registrations::default();
    let (mut first, registration) = boot(1);
    live.accept(&NETWORK, &registration).unwrap();
    fn code(live: &mut ephemeral::Registrations, registration: &ephemeral::KeyRegistration) -> &'static str {
        live.accept(&NETWORK, registration).unwrap_err().code()
    }
    // A clone of the image draws another key, and finds its number taken.
    let (clone, cloned) = boot(1);
    assert_ne!(first.public(), clone.public());
    assert_eq!(code(&mut live, &cloned), "signer.registration");
    assert_eq!(code(&mut live, &registration), "signer.registration");
    assert_eq!(code(&mut live, &boot(3).1), "signer.registration");
    let (_, mut next) = boot(2);
    let honest = next.clone();
    next.key = clone.public().clone();
    assert_eq!(code(&mut live, &next), "signer.signature");
    let other = Network { id: 1, ..NETWORK };
    assert_eq!(live.accept(&other, &honest).unwrap_err().code(), "signer.network");
    assert_ne!(honest.report_data(), next.report_data());
    live.accept(&NETWORK, &honest).unwrap();
    assert_eq!(live.live(&[1; 32]).unwrap(), (2, &honest.key));
    let signature = first.sign(&notarize(1, 1)).unwrap();
    assert_eq!(first.sign(&notarize(1, 1)).unwrap(), signature);
    assert_eq!(first.sign(&notarize(1, 2)).unwrap_err().code(), "signer.conflict");
}

//! A wallet's key behind the signer, and the ledger that takes what it signed.

#[path = "../../ledger/tests/support/fixture.rs"]
mod fixture;

use fixture::*;
use hanzo_ledger::*;
use hanzo_pqc::Domain;
use hanzo_signer::{
    FreshnessError, FreshnessSource, Head as JournalHead, MiningWallet, Network as SignerNetwork, Role, SecurityLevel,
    SignRequest, Signer, SignerError, SignerKey, Statement, Subject, Volatile, Vote as SignVote, ephemeral, wallet,
};

/// Holds a head, as a broker does.
struct Counter(JournalHead);

impl FreshnessSource for Counter {
    fn newest(&mut self) -> Result<JournalHead, FreshnessError> {
        Ok(self.0)
    }

    fn advance(&mut self, from: JournalHead, to: JournalHead) -> Result<(), FreshnessError> {
        assert!(self.0 == from);
        self.0 = to;
        Ok(())
    }
}

#[test]
fn what_a_wallets_signer_signs_is_a_transaction_of_its_account_and_its_twin_is_not_signed() {
    let mut w = world(params());
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&1_u16.to_be_bytes());
    let key = SignerKey::from_seed(SecurityLevel::MlDsa65, &seed).unwrap();
    assert_eq!(wallet::address(key.public()), w.users[1].address.to_string());
    let (network, here) = (
        w.network(),
        SignerNetwork::ai_chain(w.network().id, w.network().genesis.0),
    );
    let mut signer = Signer::create(Role::Wallet, here, key, Volatile, Counter(JournalHead::EMPTY)).unwrap();
    let request = |tx: &Tx| SignRequest {
        network: here,
        subject: Subject::Transaction {
            nonce: tx.nonce,
            body: tx.digest().0,
        },
    };
    let tx = w.users[1].unsigned(&network, 0, transfer(&w.users[2], 5));
    assert_eq!(request(&tx).encode(), tx.message());
    let signature = Fixed::new(&signer.sign(&request(&tx)).unwrap()).unwrap();
    let twin = w.users[1].unsigned(&network, 0, transfer(&w.users[2], 6));
    assert!(matches!(signer.sign(&request(&twin)), Err(SignerError::Refused { .. })));
    let other = SignedTx {
        tx: twin,
        signature: signature.clone(),
    };
    assert_eq!(w.takes(other), Err(Reject::Signature { what: "sender" }));
    w.takes(SignedTx { tx, signature }).unwrap();
    assert_eq!(w.balance(2), EACH + 5);
}

#[test]
fn what_a_validators_signers_sign_is_what_the_ledger_takes_and_two_clones_of_a_key_are_slashed() {
    let mut w = world(params());
    let network = w.network();
    let here = SignerNetwork::ai_chain(network.id, network.genesis.0);
    let owner = first(0).0;
    // A boot of the validator: drawn, registered, voting.
    let (mut boot, registration) = ephemeral::boot(here, owner.address.0, 2, SecurityLevel::MlDsa65).unwrap();
    let mut key = new_key(&network, &owner.address, &user(400), 2, &w.registrars);
    key.key = Fixed::new(registration.key.as_bytes()).unwrap();
    assert_eq!(key_digest(&key.key).0, registration.key.digest());
    let mut registrars: Vec<_> = w.registrars.iter().collect();
    registrars.sort_by(|a, b| a.public.cmp(&b.public));
    key.possession = Fixed::new(&registration.possession).unwrap();
    let says = |n: u16| Endorsement {
        registrar: n,
        signature: registrars[usize::from(n)].says(
            Domain::ValidatorEndorsement,
            &network,
            &key.endorsed(&owner.address),
        ),
    };
    key.endorsements = List::new(vec![says(0), says(1)]).unwrap();
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&200_u16.to_be_bytes());
    let wallet = SignerKey::from_seed(SecurityLevel::MlDsa65, &seed).unwrap();
    let mut wallet = Signer::create(Role::Wallet, here, wallet, Volatile, Counter(JournalHead::EMPTY)).unwrap();
    let request = SignRequest {
        network: here,
        subject: Subject::RotateKey {
            validator: owner.address.0,
            incarnation: 2,
            key: registration.key.digest(),
            evidence: key.evidence.0,
        },
    };
    assert_eq!(request.encode(), key.rotation_message(&network, &owner.address));
    let signature = Fixed::new(&wallet.sign(&request).unwrap()).unwrap();
    let rotate = Action::RotateConsensusKey(RotateConsensusKey {
        owner: owner.public.clone(),
        key,
        signature,
    });
    w.does(3, rotate).unwrap();
    let vote = |block: u8| SignVote {
        epoch: 2,
        view: 5,
        parent: 4,
        payload: [block; 32],
    };
    let ours = |block: u8| {
        Vote::Notarize(Ballot {
            epoch: 2,
            view: 5,
            parent: 4,
            block: hanzo_attestation::Digest256([block; 32]),
        })
    };
    assert_eq!(SignRequest::notarize(here, vote(1)).encode(), ours(1).message(&network));
    let finalize = Vote::Finalize(Ballot {
        epoch: 2,
        view: 5,
        parent: 4,
        block: hanzo_attestation::Digest256([1; 32]),
    });
    assert_eq!(
        SignRequest::finalize(here, vote(1)).encode(),
        finalize.message(&network)
    );
    let skipped = Vote::Nullify(Skipped { epoch: 2, view: 5 });
    assert_eq!(SignRequest::nullify(here, 2, 5).encode(), skipped.message(&network));
    // One signer never gives evidence against itself.
    boot.sign(&SignRequest::notarize(here, vote(1))).unwrap();
    let twice = boot.sign(&SignRequest::notarize(here, vote(2)));
    assert!(matches!(twice, Err(SignerError::Refused { .. })));
    // A key in two places does: the first validator's key of the genesis, cloned against every rule.
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&301_u16.to_be_bytes());
    let cloned = [1, 2].map(|block| {
        let key = SignerKey::from_seed(SecurityLevel::MlDsa65, &seed).unwrap();
        let mut signer = Signer::create(Role::Consensus, here, key, Volatile, Counter(JournalHead::EMPTY)).unwrap();
        SignedVote {
            vote: ours(block),
            signature: Fixed::new(&signer.sign(&SignRequest::notarize(here, vote(block))).unwrap()).unwrap(),
        }
    });
    let [one, other] = cloned;
    let report = ReportConflict {
        key: first(1).1.public,
        first: one,
        second: other,
    };
    w.does(1, Action::ReportConflict(report)).unwrap();
    let jailed = w.state.validator(&first(1).0.address).unwrap();
    assert_eq!(jailed.standing, Standing::Jailed);
}

#[test]
fn what_a_wallet_states_is_what_the_ledger_verifies_and_on_another_network_it_is_not() {
    let mut w = world(params());
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&1_u16.to_be_bytes());
    let customer = MiningWallet::from_seed(SecurityLevel::MlDsa65, zeroize::Zeroizing::new(seed)).unwrap();
    assert_eq!(customer.address(), w.users[1].address.to_string());
    let network = w.network();
    let here = SignerNetwork::ai_chain(network.id, network.genesis.0);
    let elsewhere = SignerNetwork::ai_chain(network.id + 1, network.genesis.0);
    let miner = w.users[0].address;
    // Each statement has the bytes of the ledger's.
    let terms = claim::PaymentTerms {
        miner,
        receipt: hanzo_attestation::Digest384([3; 48]),
        fee: 1 << 70,
    };
    let payment = |receipt: [u8; 48]| Statement::Payment {
        miner: miner.0,
        receipt,
        fee: 1 << 70,
    };
    assert_eq!(payment([3; 48]).encode(&here), message(&network, &terms));
    let note = claim::VoucherNote {
        voucher: hanzo_attestation::Digest256([4; 32]),
        cumulative: 9,
    };
    let voucher = Statement::VoucherNote {
        voucher: [4; 32],
        cumulative: 9,
    };
    assert_eq!(voucher.encode(&here), message(&network, &note));
    let note = claim::LeaseNote {
        lease: hanzo_attestation::Digest256([5; 32]),
        seconds: 8,
    };
    let lease = Statement::LeaseNote {
        lease: [5; 32],
        seconds: 8,
    };
    assert_eq!(lease.encode(&here), message(&network, &note));
    let delivery = claim::Delivery {
        provider: miner,
        seq: 1,
        chunk_root: hanzo_attestation::Digest256([6; 32]),
        bytes: 2,
        fee: 3,
    };
    let delivered = Statement::Delivery {
        provider: miner.0,
        seq: 1,
        chunk_root: [6; 32],
        bytes: 2,
        fee: 3,
    };
    assert_eq!(delivered.encode(&here), message(&network, &delivery));
    let boot = claim::EndorsedBoot {
        miner,
        incarnation: 4,
        keyset: hanzo_attestation::Digest384([7; 48]),
    };
    let endorsed = Statement::Endorsement {
        miner: miner.0,
        incarnation: 4,
        keyset: [7; 48],
    };
    assert_eq!(endorsed.encode(&here), message(&network, &boot));
    let key = EndorsedKey {
        validator: miner,
        incarnation: 5,
        key: hanzo_attestation::Digest256([8; 32]),
        evidence: hanzo_attestation::Digest256([9; 32]),
        tier: 2,
        simulated: true,
    };
    let endorsed = Statement::ValidatorEndorsement {
        validator: miner.0,
        incarnation: 5,
        key: [8; 32],
        evidence: [9; 32],
        tier: 2,
        simulated: true,
    };
    assert_eq!(endorsed.encode(&here), message(&network, &key));
    // A payment that a wallet signed pays; one for another network, or another receipt, does not.
    let answer = w.boot.receipt(0, |_| {});
    let paid = |at: &SignerNetwork, receipt: [u8; 48]| {
        let statement = Statement::Payment {
            miner: miner.0,
            receipt,
            fee: 1_000,
        };
        let mut claim = answer.cosigned(&network, &w.users[0], &w.users[1], 1_000);
        let signature = Fixed::new(&customer.sign_statement(at, &statement).unwrap()).unwrap();
        claim.payment = claim::Payment::CoSigned(claim::CoSigned { signature });
        claimed(claim)
    };
    let (good, other) = (answer.digest.0, [1; 48]);
    let (pays, foreign, twin) = (paid(&here, good), paid(&elsewhere, good), paid(&here, other));
    let refused = Err(Reject::Signature { what: "payment" });
    assert_eq!(w.does(0, foreign), refused);
    assert_eq!(w.does(0, twin), refused);
    assert_eq!(w.does(0, pays), Ok(()));
}

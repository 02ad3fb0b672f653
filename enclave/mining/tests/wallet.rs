//! A wallet's key behind the signer, and the ledger that takes what it signed.

#[path = "../../ledger/tests/support/fixture.rs"]
mod fixture;

use fixture::*;
use hanzo_ledger::*;
use hanzo_signer::{
    FreshnessError, FreshnessSource, Head as JournalHead, Network as SignerNetwork, Role, SecurityLevel, SignRequest,
    Signer, SignerError, SignerKey, Subject, Volatile, wallet,
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

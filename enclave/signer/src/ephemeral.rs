//! Consensus keys that a rollback cannot misuse: drawn at boot, written nowhere, registered under a number that only grows.
//!
//! A host that clones the image gets two keys, of which one can be registered. A host that puts an old disk back finds no key on
//! it. The finalized chain itself is the counter: [`Registrations`] is the rule by which it accepts keys.

use std::collections::BTreeMap;

use aws_lc_rs::digest;

use crate::error::SignerError;
use crate::freshness::Ephemeral;
use crate::key::{PublicKey, SecurityLevel, SignerKey};
use crate::request::{Network, Role, SignRequest, Subject};
use crate::signer::{Signer, verify};
use crate::storage::Volatile;

const DOMAIN: &str = "hanzo/validator-key/v1";

/// A signer whose key ends with the process.
pub type EphemeralSigner = Signer<Volatile, Ephemeral>;

/// A new consensus key's claim to be a validator's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRegistration {
    /// Which chain.
    pub network: Network,
    /// The validator's account.
    pub validator: [u8; 32],
    /// One more than the last that was accepted.
    pub incarnation: u64,
    /// The key.
    pub key: PublicKey,
    /// [`Subject::Possession`], signed with that key.
    pub possession: Vec<u8>,
}

/// Draws a consensus key for this boot and shows that it is held.
///
/// # Errors
/// [`SignerError::Crypto`] if the random generator fails.
pub fn boot(
    network: Network,
    validator: [u8; 32],
    incarnation: u64,
    level: SecurityLevel,
) -> Result<(EphemeralSigner, KeyRegistration), SignerError> {
    let key = SignerKey::generate(level)?;
    let mut signer = Signer::create(Role::Consensus, network, key, Volatile, Ephemeral::new())?;
    let subject = Subject::Possession {
        validator,
        incarnation,
        key: signer.public().digest(),
    };
    let possession = signer.sign(&SignRequest { network, subject })?.to_vec();
    let registration = KeyRegistration {
        network,
        validator,
        incarnation,
        key: signer.public().clone(),
        possession,
    };
    Ok((signer, registration))
}

impl KeyRegistration {
    /// What the attestation evidence of this boot must carry: SHA-512 over the domain's digest, network, validator, incarnation and
    /// the key's digest. 64 bytes.
    pub fn report_data(&self) -> [u8; 64] {
        let mut context = digest::Context::new(&digest::SHA512);
        context.update(&crate::codec::sha256(&[DOMAIN.as_bytes()]));
        context.update(&self.network.encode());
        context.update(&self.validator);
        context.update(&self.incarnation.to_be_bytes());
        context.update(&self.key.digest());
        let mut out = [0; 64];
        out.copy_from_slice(context.finish().as_ref());
        out
    }

    /// Whether the key's holder signed this claim.
    ///
    /// # Does not establish
    /// That the key is in an enclave (the evidence over [`KeyRegistration::report_data`] does), nor that its owner wants it.
    ///
    /// # Errors
    /// [`SignerError::Signature`].
    pub fn verify(&self) -> Result<(), SignerError> {
        let subject = Subject::Possession {
            validator: self.validator,
            incarnation: self.incarnation,
            key: self.key.digest(),
        };
        let network = self.network;
        verify(&self.key, &SignRequest { network, subject }, &self.possession)
    }
}

/// The one live key of every validator, as a chain keeps them.
#[derive(Debug, Clone, Default)]
pub struct Registrations {
    live: BTreeMap<[u8; 32], (u64, PublicKey)>,
}

impl Registrations {
    /// Accepts a key, and ends the one before it.
    ///
    /// # Errors
    /// [`SignerError::Incarnation`] unless its incarnation is the next one; [`SignerError::Signature`];
    /// [`SignerError::Network`] for another chain.
    pub fn accept(&mut self, network: &Network, registration: &KeyRegistration) -> Result<(), SignerError> {
        if registration.network != *network {
            return Err(SignerError::Network {
                kind: "validator registration",
                expected_id: network.id,
                expected: hex::encode(network.genesis),
                got_id: registration.network.id,
                got: hex::encode(registration.network.genesis),
            });
        }
        let last = self.live.get(&registration.validator).map_or(0, |(last, _)| *last);
        let (expected, got) = (last.saturating_add(1), registration.incarnation);
        if got != expected {
            return Err(SignerError::Incarnation { expected, got });
        }
        registration.verify()?;
        let live = (got, registration.key.clone());
        self.live.insert(registration.validator, live);
        Ok(())
    }

    /// The live key of a validator and its incarnation.
    pub fn live(&self, validator: &[u8; 32]) -> Option<(u64, &PublicKey)> {
        self.live.get(validator).map(|(incarnation, key)| (*incarnation, key))
    }
}

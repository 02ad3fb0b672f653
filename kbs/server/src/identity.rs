//! The broker's own keys: they live in its store, sealed, and their public halves are what others pin.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use hanzo_attestation::config::PinnedSigner;
use hanzo_attestation::jcs;
use hanzo_attestation::keyset::KemKey;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_log::{LogKey, LogVerifier, Origin};
use hanzo_pqc::hpke::{KemSuite, PrivateKey, PublicKey};
use hanzo_pqc::sign::{NoteSigningKeys, NoteVerifyingKeys, SigningKeys, VerifyingKeys};
use hanzo_pqc::{PqcError, SignatureSuite, kdf, random};
use hanzo_store::Store;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::KbsError;

/// What guests and key owners pin of a broker: canonical JSON, made by `hanzo-kbs init`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KbsIdentity {
    /// Data keys are sealed to this key when they are put.
    pub import_key: KemKey,
    /// Signs the heads of the audit log, and nothing else.
    pub log: LogKey,
    /// Signs every grant; goes into the guest's configuration.
    pub signer: PinnedSigner,
    /// True if this broker's store was made in simulated mode.
    pub simulated: bool,
    /// Format version: 1.
    pub version: u32,
}

impl KbsIdentity {
    /// Reads the document.
    ///
    /// # Errors
    /// [`KbsError::Jcs`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KbsError> {
        Ok(jcs::from_slice("broker identity", bytes, 64 * 1024)?)
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`KbsError::Jcs`], never for values of this type.
    pub fn canonical(&self) -> Result<Vec<u8>, KbsError> {
        Ok(jcs::to_vec("broker identity", self)?)
    }

    /// The keys that a guest verifies grants with.
    ///
    /// # Errors
    /// [`PqcError`] if they are no keys.
    pub fn verifying_keys(&self) -> Result<VerifyingKeys, PqcError> {
        verifying_keys(&self.signer)
    }

    /// The key that data keys are sealed to.
    ///
    /// # Errors
    /// [`PqcError`] if it is no key.
    pub fn import_public_key(&self) -> Result<PublicKey, PqcError> {
        let suite = KemSuite::from_name(&self.import_key.suite).ok_or(PqcError::Encoding {
            what: "import_key.suite",
            rule: "x-wing or mlkem1024-p384",
        })?;
        PublicKey::from_hex(suite, &self.import_key.public_key)
    }
}

/// The keys of a pinned signer.
pub(crate) fn verifying_keys(pinned: &PinnedSigner) -> Result<VerifyingKeys, PqcError> {
    let suite = SignatureSuite::from_name(&pinned.suite).ok_or(PqcError::Encoding {
        what: "suite",
        rule: "ml-dsa-65 or ml-dsa-87",
    })?;
    VerifyingKeys::from_hex(suite, &pinned.ml_dsa, &pinned.ed25519)
}

/// How public keys are written into configurations.
pub(crate) fn pinned(keys: &VerifyingKeys) -> PinnedSigner {
    PinnedSigner {
        suite: keys.suite().name().to_owned(),
        ml_dsa: keys.ml_dsa_hex(),
        ed25519: keys.ed25519_hex(),
    }
}

/// Names a pinned signer: SHA-384 of its canonical JSON.
pub(crate) fn signer_digest(signer: &PinnedSigner) -> Result<Digest384, jcs::JcsError> {
    Ok(Digest384::of(&jcs::to_vec("signer", signer)?))
}

const LOG_SEED: &[u8] = b"hanzo/kbs-log-key/v1";
const LEASE_SECRET: &[u8] = b"hanzo/kbs-lease/v1";
const FENCE_SECRET: &[u8] = b"hanzo/kbs-fence/v1";

/// The private halves.
pub(crate) struct Identity {
    pub(crate) signer: SigningKeys,
    pub(crate) import: PrivateKey,
    /// Signs the heads of the audit log, and nothing else.
    pub(crate) log: NoteSigningKeys,
    /// The audit log's name and public keys.
    pub(crate) log_verifier: LogVerifier,
    /// From which secrets of the broker's own are derived that need not be pinned.
    seed: Zeroizing<[u8; 64]>,
    /// PKCS #8 of the P-256 key that signs attestation tokens (JWS) and nothing else.
    pub(crate) token_pkcs8: Zeroizing<Vec<u8>>,
}

impl Identity {
    /// Reads the keys, or makes them in a store that has none.
    pub(crate) fn load_or_create(db: &Store) -> Result<Self, KbsError> {
        let signer_seed = secret(db, "signer", random_bytes::<64>)?;
        let import_seed = secret(db, "import", random_bytes::<32>)?;
        let token_pkcs8 = secret(db, "token", || {
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map(|document| Zeroizing::new(document.as_ref().to_vec()))
                .map_err(|_| PqcError::Backend { what: "P-256 key" })
        })?;
        let stored = |what| move |_| KbsError::Stored { what };
        let signer_seed: Zeroizing<[u8; 64]> =
            Zeroizing::new(signer_seed.as_slice().try_into().map_err(stored("identity signer"))?);
        let import_seed: Zeroizing<[u8; 32]> =
            Zeroizing::new(import_seed.as_slice().try_into().map_err(stored("identity import"))?);
        let mut log_seed = Zeroizing::new([0; 64]);
        kdf::hkdf_sha256(b"", signer_seed.as_ref(), LOG_SEED, log_seed.as_mut())?;
        let log = NoteSigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &log_seed)?;
        Ok(Self {
            log_verifier: LogVerifier::new(origin(log.verifying_keys())?, log.verifying_keys().clone()),
            log,
            // ML-DSA-87 is accepted at every tier, so one pinned pair serves all.
            signer: SigningKeys::from_seed(SignatureSuite::MlDsa87Ed25519, &signer_seed)?,
            import: PrivateKey::from_seed(KemSuite::MlKem1024P384, &import_seed)?,
            token_pkcs8,
            seed: signer_seed,
        })
    }

    /// What reads and writes this broker's place in a TPM.
    pub(crate) fn fence_secret(&self) -> Result<Zeroizing<[u8; 32]>, KbsError> {
        let mut secret = Zeroizing::new([0; 32]);
        kdf::hkdf_sha256(b"", self.seed.as_ref(), FENCE_SECRET, secret.as_mut())?;
        Ok(secret)
    }

    /// From what the keys of leases are derived.
    pub(crate) fn lease_secret(&self) -> Result<Zeroizing<[u8; 32]>, KbsError> {
        let mut secret = Zeroizing::new([0; 32]);
        kdf::hkdf_sha256(b"", self.seed.as_ref(), LEASE_SECRET, secret.as_mut())?;
        Ok(secret)
    }

    pub(crate) fn public(&self, simulated: bool) -> KbsIdentity {
        let import = self.import.public_key();
        KbsIdentity {
            import_key: KemKey {
                public_key: import.to_hex(),
                suite: import.suite().name().to_owned(),
            },
            log: self.log_verifier.key(),
            signer: pinned(self.signer.verifying_keys()),
            simulated,
            version: 1,
        }
    }
}

/// A log is named after its keys: no two brokers share a name.
fn origin(keys: &NoteVerifyingKeys) -> Result<Origin, KbsError> {
    let digest = Digest256::of(&[keys.ed25519().as_slice(), keys.ml_dsa()].concat()).to_string();
    let name = digest.get(..32).unwrap_or_default();
    Ok(Origin::new(&format!("hanzo-kbs/{name}"))?)
}

fn secret(
    db: &Store,
    name: &'static str,
    make: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, PqcError>,
) -> Result<Zeroizing<Vec<u8>>, KbsError> {
    db.write(|tx| {
        let row = tx.query_opt("SELECT sealed_secret FROM identity WHERE name = ?1", &[name.into()])?;
        if let Some(row) = row {
            return Ok(db
                .columns()
                .open("identity", "sealed_secret", name.as_bytes(), 1, row.blob(0)?)?);
        }
        let made = make()?;
        let sealed = db
            .columns()
            .seal("identity", "sealed_secret", name.as_bytes(), 1, &made)?;
        tx.execute(
            "INSERT INTO identity (name, sealed_secret) VALUES (?1, ?2)",
            &[name.into(), sealed.into()],
        )?;
        Ok(made)
    })
}

fn random_bytes<const N: usize>() -> Result<Zeroizing<Vec<u8>>, PqcError> {
    let mut bytes = Zeroizing::new(vec![0; N]);
    random::fill(&mut bytes)?;
    Ok(bytes)
}

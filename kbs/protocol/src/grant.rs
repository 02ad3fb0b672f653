//! The grant, and the data key wrapped under it (DESIGN section 4, "Grant"; worked example in `SPEC.md`).

use hanzo_attestation::jcs::{self, JcsError};
use hanzo_attestation::keyset::SignaturePair;
use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::{Digest384, Nonce};
use hanzo_pqc::Domain;
use hanzo_pqc::hpke::{self, KemSuite};
use hanzo_pqc::sign::{Signature, VerifyingKeys};
use serde::{Deserialize, Deserializer, Serialize};

use crate::GrantError;
use crate::among::{Among, SeveralSigned};

/// `purpose` of every grant.
pub const GRANT_PURPOSE: &str = "hanzo.grant.v1";
/// Longest wrapped key in bytes.
pub const WRAPPED_DEK_BYTES_MAX: usize = 32 * 1024;

/// What a broker decided: this key, in this version, for this guest, now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The broker's clock, Unix seconds.
    pub kbs_time: u64,
    /// Where the key is in the broker.
    pub key_id: KeyId,
    /// Its version, from 1.
    pub key_version: u64,
    /// The RCAR challenge, 32 bytes.
    pub nonce: Nonce,
    /// Last second in which the wrap may be opened.
    pub not_after: u64,
    /// SHA-384 of the key's release policy.
    pub policy_digest: Digest384,
    /// [`GRANT_PURPOSE`].
    pub purpose: String,
    /// SHA-384 of the guest's wrapping key.
    pub recipient: Digest384,
    /// True if the evidence was simulated.
    pub simulated: bool,
    /// Weights root or store id.
    pub subject: Name,
    /// The tier that the evidence was appraised at, 0 to 4.
    pub tier: u8,
}

impl Grant {
    /// The canonical bytes.
    ///
    /// # Errors
    /// [`JcsError`], never for values of this type.
    pub fn canonical(&self) -> Result<Vec<u8>, JcsError> {
        jcs::to_vec("grant", self)
    }

    /// The wrap's `aad`: SHA-384 of the canonical bytes.
    ///
    /// # Errors
    /// As [`Grant::canonical`].
    pub fn digest(&self) -> Result<Digest384, JcsError> {
        Ok(Digest384::of(&self.canonical()?))
    }
}

/// The wrap's HPKE `info`: length-prefixed domain, suite, tenant, key id, version, tier, policy digest and purpose.
///
/// # Layout
/// Each part is its length (u32, big endian) and its bytes. The tenant is the key id's repository; version is a u64 and
/// tier a u8, big endian; the policy digest is 48 raw bytes.
pub fn wrap_info(suite: KemSuite, grant: &Grant) -> Vec<u8> {
    let key_id = grant.key_id.to_string();
    let tenant = key_id.split('/').next().unwrap_or_default();
    let version = grant.key_version.to_be_bytes();
    hpke::info(
        Domain::DekWrap,
        suite,
        &[
            tenant.as_bytes(),
            key_id.as_bytes(),
            &version,
            &[grant.tier],
            grant.policy_digest.as_bytes(),
            grant.purpose.as_bytes(),
        ],
    )
}

/// A wrapped data key with the signed grant it belongs to: the body of the reply to a resource request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrappedDek {
    /// Where it stands among those that one signature covers; absent if the signature is for it alone.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub among: Option<Among>,
    /// HPKE ciphertext of the 32 key bytes with its 16-byte tag, lower-case hex.
    pub ciphertext: String,
    /// HPKE encapsulated key, lower-case hex.
    pub enc: String,
    /// The decision.
    pub grant: Grant,
    /// By both of the broker's signing keys, over [`WrappedDek::signed_bytes`], or over the root that `among` leads to.
    pub signature: SignaturePair,
    /// `x-wing` or `mlkem1024-p384`.
    pub suite: String,
}

impl WrappedDek {
    /// Reads a wrapped key. Nothing about it is verified.
    ///
    /// # Errors
    /// [`JcsError`]: over 32 KiB, not canonical, unknown or repeated members.
    pub fn parse(bytes: &[u8]) -> Result<Self, JcsError> {
        jcs::from_slice("wrapped key", bytes, WRAPPED_DEK_BYTES_MAX)
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`JcsError`], never for values of this type.
    pub fn canonical(&self) -> Result<Vec<u8>, JcsError> {
        jcs::to_vec("wrapped key", self)
    }

    /// What is signed: the canonical form without the members `among` and `signature`. Not the grant alone: a host that reads a genuine
    /// grant on its way could seal a key of its own under it, since HPKE base mode authenticates nobody.
    ///
    /// # Errors
    /// [`JcsError`], never for values of this type.
    pub fn signed_bytes(&self) -> Result<Vec<u8>, JcsError> {
        #[derive(Serialize)]
        struct Signed<'a> {
            ciphertext: &'a str,
            enc: &'a str,
            grant: &'a Grant,
            suite: &'a str,
        }
        let Self {
            among: _,
            ciphertext,
            enc,
            grant,
            signature: _,
            suite,
        } = self;
        jcs::to_vec(
            "wrapped key",
            &Signed {
                ciphertext,
                enc,
                grant,
                suite,
            },
        )
    }

    /// Verifies both signatures over grant and wrap.
    ///
    /// # Errors
    /// [`GrantError::NotPinned`], naming the half that failed; [`GrantError::Among`] if no signature over several may cover it.
    pub(crate) fn verify_signature(&self, signer: &VerifyingKeys) -> Result<(), GrantError> {
        let signed = self.signed_bytes()?;
        let (domain, message) = match &self.among {
            None => (Domain::Grant, signed),
            Some(among) if self.grant.tier > SeveralSigned::TIER_MAX => {
                return Err(among.refused("a tier up to 2; above it every grant has a signature of its own"));
            }
            Some(among) => (Domain::Grants, among.leads_to(&signed)?.canonical()?),
        };
        let signature = Signature::from_hex(&self.signature.ml_dsa, &self.signature.ed25519);
        signature
            .and_then(|signature| signer.verify(domain, &message, &signature))
            .map_err(GrantError::NotPinned)
    }
}

/// A member that is there has a value: `null` is none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Among>, D::Error> {
    Among::deserialize(deserializer).map(Some)
}

//! The wrap that carries a decision out.

use hanzo_attestation::jcs::JcsError;
use hanzo_attestation::keyset::SignaturePair;
use hanzo_kbs_protocol::{Grant, WrappedDek, wrap_info};
use hanzo_pqc::sign::SigningKeys;
use hanzo_pqc::{Dek, Domain, PqcError, SignatureSuite, hpke, suites_for_tier, to_hex};

use crate::authorize::To;
use crate::{ReleaseGrant, Wrap};

/// Why a decided release could not be carried out. Nothing was released.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A primitive failed.
    #[error(transparent)]
    Crypto(#[from] PqcError),
    /// The grant has no canonical form.
    #[error(transparent)]
    Jcs(#[from] JcsError),
    /// The broker's signing keys are too weak for the tier.
    #[error("tier {tier} requires grants signed by {required}: start a broker with signing keys of that suite")]
    WeakSigner {
        /// The tier of the grant.
        tier: u8,
        /// The suite it requires.
        required: &'static str,
    },
    /// The decision is for another way of wrapping.
    #[error("the decision is for wrap {decided}, not for {asked}")]
    Wrap {
        /// What was decided.
        decided: &'static str,
        /// What the caller wants to make.
        asked: &'static str,
    },
}

impl ReleaseError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Crypto(e) => e.code(),
            Self::Jcs(_) => "kbs.internal",
            Self::WeakSigner { .. } => "kbs.sign.suite",
            Self::Wrap { .. } => "kbs.internal",
        }
    }
}

/// Wraps `dek` to the guest that `decision` names and signs grant and wrap. The decision is used up.
///
/// # Errors
/// [`ReleaseError`].
pub fn release(decision: ReleaseGrant, dek: &Dek, signer: &SigningKeys) -> Result<WrappedDek, ReleaseError> {
    let decided = decision.wrap();
    let (grant, To::Hpke(to)) = decision.into_parts() else {
        return Err(ReleaseError::Wrap {
            decided: decided.as_str(),
            asked: Wrap::Hpke.as_str(),
        });
    };
    let required = suites_for_tier(grant.tier).1;
    if signer.suite() != required && signer.suite() != SignatureSuite::MlDsa87Ed25519 {
        return Err(ReleaseError::WeakSigner {
            tier: grant.tier,
            required: required.name(),
        });
    }
    let info = wrap_info(to.suite(), &grant);
    let sealed = hpke::seal(&to, &info, grant.digest()?.as_bytes(), dek.expose())?;
    let mut wrapped = WrappedDek {
        ciphertext: to_hex(&sealed.ciphertext),
        enc: to_hex(&sealed.enc),
        signature: SignaturePair {
            ed25519: String::new(),
            ml_dsa: String::new(),
        },
        suite: to.suite().name().to_owned(),
        grant,
    };
    let signature = signer.sign(Domain::Grant, &wrapped.signed_bytes()?)?;
    wrapped.signature = SignaturePair {
        ed25519: signature.ed25519_hex(),
        ml_dsa: signature.ml_dsa_hex(),
    };
    Ok(wrapped)
}

/// Uses a decision up whose secret travels as JWE: what was decided, for whoever makes the JWE.
///
/// # Errors
/// [`ReleaseError::Wrap`] if the decision is for HPKE.
pub fn release_jwe(decision: ReleaseGrant) -> Result<Grant, ReleaseError> {
    match decision.into_parts() {
        (grant, To::Jwe(_)) => Ok(grant),
        (_, To::Hpke(_)) => Err(ReleaseError::Wrap {
            decided: Wrap::Hpke.as_str(),
            asked: "akp or classical",
        }),
    }
}

//! The wrap that carries a decision out.

use hanzo_attestation::jcs::JcsError;
use hanzo_attestation::keyset::SignaturePair;
use hanzo_kbs_protocol::{Grant, SeveralSigned, WrappedDek, wrap_info};
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

/// A key wrapped under a decision, which no guest opens before it is signed.
pub struct Unsigned(WrappedDek);

impl std::fmt::Debug for Unsigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Unsigned").field(&self.0.grant).finish()
    }
}

/// Wraps `dek` to the guest that `decision` names and signs grant and wrap. The decision is used up.
///
/// # Errors
/// [`ReleaseError`].
pub fn release(decision: ReleaseGrant, dek: &Dek, signer: &SigningKeys) -> Result<WrappedDek, ReleaseError> {
    let Unsigned(mut wrapped) = wrap(decision, dek, signer)?;
    sign_one(&mut wrapped, signer)?;
    Ok(wrapped)
}

/// As [`release`] without the signature, which `signer` has to be strong enough for: [`sign_each`] makes it. The decision is
/// used up.
///
/// # Errors
/// [`ReleaseError`].
pub fn wrap(decision: ReleaseGrant, dek: &Dek, signer: &SigningKeys) -> Result<Unsigned, ReleaseError> {
    let decided = decision.wrap();
    let (grant, To::Hpke(to)) = decision.into_parts() else {
        return Err(ReleaseError::Wrap {
            decided: decided.as_str(),
            asked: Wrap::Hpke.as_str(),
        });
    };
    check_signer(&grant, signer)?;
    let info = wrap_info(to.suite(), &grant);
    let sealed = hpke::seal(&to, &info, grant.digest()?.as_bytes(), dek.expose())?;
    Ok(Unsigned(WrappedDek {
        among: None,
        ciphertext: to_hex(&sealed.ciphertext),
        enc: to_hex(&sealed.enc),
        signature: SignaturePair {
            ed25519: String::new(),
            ml_dsa: String::new(),
        },
        suite: to.suite().name().to_owned(),
        grant,
    }))
}

/// Signs wraps, in their order: those of tiers up to 2 together, under one signature for up to [`SeveralSigned::SIZE_MAX`], every
/// other and whichever is the only one alone.
///
/// # Errors
/// [`ReleaseError`]; then none is signed.
pub fn sign_each(each: Vec<Unsigned>, signer: &SigningKeys) -> Result<Vec<WrappedDek>, ReleaseError> {
    let mut wraps: Vec<_> = each.into_iter().map(|Unsigned(wrapped)| wrapped).collect();
    for wrapped in &wraps {
        check_signer(&wrapped.grant, signer)?;
    }
    let may_share = |wrapped: &WrappedDek| wrapped.grant.tier <= SeveralSigned::TIER_MAX;
    let (mut together, alone): (Vec<_>, Vec<_>) = wraps.iter_mut().partition(|wrapped| may_share(wrapped));
    for wrapped in alone {
        sign_one(wrapped, signer)?;
    }
    for part in together.chunks_mut(SeveralSigned::SIZE_MAX) {
        let signed: Vec<_> = part
            .iter()
            .map(|wrapped| wrapped.signed_bytes())
            .collect::<Result<_, _>>()?;
        let Some((several, places)) = SeveralSigned::over(&signed) else {
            part.iter_mut().try_for_each(|wrapped| sign_one(wrapped, signer))?;
            continue;
        };
        let signature = pair(signer, Domain::Grants, &several.canonical()?)?;
        for (wrapped, place) in part.iter_mut().zip(places) {
            wrapped.among = Some(place);
            wrapped.signature = signature.clone();
        }
    }
    Ok(wraps)
}

fn sign_one(wrapped: &mut WrappedDek, signer: &SigningKeys) -> Result<(), ReleaseError> {
    wrapped.signature = pair(signer, Domain::Grant, &wrapped.signed_bytes()?)?;
    Ok(())
}

fn pair(signer: &SigningKeys, domain: Domain, message: &[u8]) -> Result<SignaturePair, PqcError> {
    let signature = signer.sign(domain, message)?;
    Ok(SignaturePair {
        ed25519: signature.ed25519_hex(),
        ml_dsa: signature.ml_dsa_hex(),
    })
}

fn check_signer(grant: &Grant, signer: &SigningKeys) -> Result<(), ReleaseError> {
    let required = suites_for_tier(grant.tier).1;
    if signer.suite() != required && signer.suite() != SignatureSuite::MlDsa87Ed25519 {
        return Err(ReleaseError::WeakSigner {
            tier: grant.tier,
            required: required.name(),
        });
    }
    Ok(())
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

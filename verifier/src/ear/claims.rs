//! Our own EAR: an [`AttestationResult`] in AR4SI's words.
//!
//! # Values
//! | submodule | claim | value | when |
//! |---|---|---|---|
//! | `cpu0` | hardware | 2 | tier 2 or more: a vendor's root, TCB floors and revocation held |
//! | | | 0 | tier 1: a TPM says nothing about the processor |
//! | | | 97 | tier 0, or simulated: no hardware that anybody recognises |
//! | | executables | 3 | tier 1 or more: the measurement is a reference value |
//! | | | 33 | tier 0, or simulated |
//! | | configuration | 2 | the evidence covers a configuration that the policy names |
//! | | | 36 | tier 0, or simulated |
//! | | | 0 | a session or TPM that shows none |
//! | | runtime-opaque | 2 | tier 2 or more |
//! | | | 32 | tier 1: whoever runs the machine can look in |
//! | | | 96 | tier 0, or simulated |
//! | `gpuN`, `switchN` | hardware | 2 | genuine |
//! | | | 97 | simulated |
//! | | executables | 3 | every reference measurement matched |
//! | | | 33 | there were none to compare with |
//! | | | 96 | some differ |
//! | | instance-identity | 2 | OCSP: good |
//! | | | 96 | OCSP: on hold |
//! | | | 0 | no answer |
//!
//! All other claims are 0: none was made. `ear.status` is the worst of a vector, so whatever is simulated is contraindicated
//! and never affirmed, and the claim `simulated` stands beside it.

use std::collections::BTreeMap;

use hanzo_attestation::jcs::{self, JcsError};
use hanzo_attestation::nvidia::{NvidiaClaims, OcspOutcome, RimOutcome};
use hanzo_attestation::{Authentic, Claims, DeviceClaims, UnixTime};
use hanzo_policy::PrivacyTier;
use serde::Serialize;

use super::jws::{self, EarAlgorithm};
use super::{EAR_PROFILE, EarError, TrustTier, TrustVector};
use crate::result::AttestationResult;

/// Who makes the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarIssuer {
    /// `iss`.
    pub issuer: String,
    /// Developer of the verifier.
    pub developer: String,
    /// Its build.
    pub build: String,
}

/// The claims set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EarClaims {
    #[serde(rename = "ear.verifier-id")]
    verifier: VerifierId,
    eat_profile: &'static str,
    exp: u64,
    iat: u64,
    iss: String,
    submods: BTreeMap<String, Submod>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct VerifierId {
    build: String,
    developer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Submod {
    #[serde(rename = "ear.appraisal-policy-id", skip_serializing_if = "Option::is_none")]
    policy_id: Option<String>,
    #[serde(rename = "ear.status")]
    status: TrustTier,
    #[serde(rename = "ear.trustworthiness-vector")]
    vector: TrustVector,
    #[serde(rename = "ear.veraison.annotated-evidence")]
    evidence: Annotated,
}

/// What is said of the evidence itself: for people and policies, never a reason to trust more than the vector says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Annotated {
    Guest {
        kind: &'static str,
        measurement: String,
        simulated: bool,
        tier: u8,
    },
    Device {
        arch: &'static str,
        simulated: bool,
        ueid: String,
    },
}

/// What submodules are made of: authentic claims and what they were found to be worth. For showing and for asking policies;
/// it is no verdict, and no function takes one for it.
#[derive(Debug)]
pub struct EarSubject<'a> {
    /// The guest's claims.
    pub claims: &'a Claims,
    /// Its devices.
    pub devices: &'a [Authentic<DeviceClaims>],
    /// True if a root is not a vendor's.
    pub simulated: bool,
    /// The tier reached.
    pub tier: PrivacyTier,
    /// True if the evidence covers a configuration.
    pub shows_configuration: bool,
}

impl EarSubject<'_> {
    fn submods(&self, policy_id: Option<&str>) -> BTreeMap<String, Submod> {
        let mut submods = BTreeMap::new();
        let guest = Annotated::Guest {
            kind: self.claims.kind(),
            measurement: self.claims.measurement().to_string(),
            simulated: self.simulated,
            tier: self.tier.number(),
        };
        let vector = guest_vector(self.simulated, self.tier, self.shows_configuration);
        submods.insert("cpu0".to_owned(), submod(vector, policy_id, guest));
        let (mut gpus, mut switches) = (0, 0);
        for device in self.devices {
            let DeviceClaims::Nvidia(claims) = device.claims();
            let (prefix, index) = if claims.arch.is_gpu() {
                ("gpu", &mut gpus)
            } else {
                ("switch", &mut switches)
            };
            submods.insert(format!("{prefix}{index}"), device_submod(device, claims, policy_id));
            *index += 1;
        }
        submods
    }

    /// The submodules as JSON: the member `submods` of [`EarClaims`].
    ///
    /// # Errors
    /// [`JcsError`]: never for values of this type.
    pub fn to_json(&self, policy_id: Option<&str>) -> Result<Vec<u8>, JcsError> {
        jcs::to_vec("EAR", &self.submods(policy_id))
    }
}

impl EarClaims {
    /// The claims that `result` is worth at `now`, for at most `ttl_s` seconds and never longer than the result itself.
    /// `policy_id` names the policy that the result was reached under.
    pub fn of(
        result: &AttestationResult,
        issuer: &EarIssuer,
        policy_id: Option<&str>,
        ttl_s: u64,
        now: UnixTime,
    ) -> Self {
        let subject = EarSubject {
            claims: result.bound().claims(),
            devices: result.bound().devices(),
            simulated: result.simulated(),
            tier: result.tier(),
            shows_configuration: result.keyset().is_some(),
        };
        Self {
            eat_profile: EAR_PROFILE,
            exp: now.0.saturating_add(ttl_s).min(result.valid_until().0),
            iat: now.0,
            iss: issuer.issuer.clone(),
            verifier: VerifierId {
                build: issuer.build.clone(),
                developer: issuer.developer.clone(),
            },
            submods: subject.submods(policy_id),
        }
    }

    /// The worst status.
    pub fn status(&self) -> TrustTier {
        self.submods.values().map(|s| s.status).max().unwrap_or(TrustTier::None)
    }

    /// The payload: JCS (RFC 8785), the same bytes for every algorithm.
    ///
    /// # Errors
    /// [`JcsError`]: never for values of this type.
    pub fn canonical(&self) -> Result<Vec<u8>, JcsError> {
        jcs::to_vec("EAR", self)
    }

    /// A compact JWS over the payload. `sign` answers with the signature over the bytes it is given: for ES256 and ES384
    /// r and s, for ML-DSA-65 that of pure ML-DSA with an empty context.
    ///
    /// # Errors
    /// Whatever `sign` says; [`EarError::SignatureLength`].
    pub fn to_jws<E: From<EarError>>(
        &self,
        algorithm: EarAlgorithm,
        kid: Option<&str>,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<String, E> {
        let payload = self.canonical().map_err(|e| EarError::Shape {
            part: "claims",
            detail: e.to_string(),
        })?;
        jws::write(&payload, algorithm, kid, sign)
    }
}

fn submod(vector: TrustVector, policy_id: Option<&str>, evidence: Annotated) -> Submod {
    Submod {
        status: vector.status(),
        vector,
        policy_id: policy_id.map(ToOwned::to_owned),
        evidence,
    }
}

fn guest_vector(simulated: bool, tier: PrivacyTier, shows_configuration: bool) -> TrustVector {
    let nothing = TrustVector {
        configuration: 36,
        executables: 33,
        hardware: 97,
        runtime_opaque: 96,
        ..TrustVector::default()
    };
    if simulated {
        return nothing;
    }
    match tier {
        PrivacyTier::Open => nothing,
        PrivacyTier::AtRest => TrustVector {
            executables: 3,
            runtime_opaque: 32,
            ..TrustVector::default()
        },
        PrivacyTier::CpuTee | PrivacyTier::GpuCc | PrivacyTier::GpuTeeIo => TrustVector {
            configuration: if shows_configuration { 2 } else { 0 },
            executables: 3,
            hardware: 2,
            runtime_opaque: 2,
            ..TrustVector::default()
        },
    }
}

fn device_submod(device: &Authentic<DeviceClaims>, claims: &NvidiaClaims, policy_id: Option<&str>) -> Submod {
    use hanzo_attestation::nvidia::NvidiaArch;
    let vector = TrustVector {
        hardware: if device.is_simulated() { 97 } else { 2 },
        executables: match claims.rim {
            RimOutcome::Matched { .. } => 3,
            RimOutcome::Missing { .. } => 33,
            RimOutcome::Mismatch { .. } => 96,
        },
        instance_identity: match claims.ocsp {
            OcspOutcome::Good { .. } => 2,
            OcspOutcome::OnHold => 96,
            OcspOutcome::NoAnswer => 0,
        },
        ..TrustVector::default()
    };
    let evidence = Annotated::Device {
        arch: match claims.arch {
            NvidiaArch::Hopper => "hopper",
            NvidiaArch::Blackwell => "blackwell",
            NvidiaArch::Ls10 => "ls10",
        },
        simulated: device.is_simulated(),
        ueid: claims.ueid.clone(),
    };
    submod(vector, policy_id, evidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_become_statuses_and_nothing_simulated_is_affirmed() {
        use PrivacyTier::{AtRest, CpuTee, GpuCc, GpuTeeIo, Open};
        for (tier, status) in [
            (Open, TrustTier::Contraindicated),
            (AtRest, TrustTier::Warning),
            (CpuTee, TrustTier::Affirming),
            (GpuCc, TrustTier::Affirming),
            (GpuTeeIo, TrustTier::Affirming),
        ] {
            for shows_configuration in [false, true] {
                assert_eq!(
                    guest_vector(false, tier, shows_configuration).status(),
                    status,
                    "{tier}"
                );
                let simulated = guest_vector(true, tier, shows_configuration);
                assert_eq!(simulated.status(), TrustTier::Contraindicated, "{tier}");
                assert!(
                    !simulated
                        .values()
                        .iter()
                        .any(|v| TrustTier::of(*v) == TrustTier::Affirming)
                );
            }
        }
    }
}

//! The statement: what evidence signs (DESIGN section 4, "Statement").
//!
//! # Layout
//! JCS of `{"device_evidence_digest","keyset_digest","nonce","purpose"}`, all four always present. REPORT_DATA (64 bytes,
//! SNP and TDX) = SHA-512(statement). Each device's nonce = SHA-256(device statement), whose device digest is the
//! empty string.

use serde::{Deserialize, Serialize};

use crate::digest::{Digest256, Digest384, Nonce, sha512};
use crate::jcs::{self, JcsError};

/// Purpose of the CPU's (or, without CPU evidence, the vTPM's) statement.
pub const PURPOSE_REPORT_DATA: &str = "hanzo.report_data.v1";
/// Purpose of the statement that GPUs and switches answer.
pub const PURPOSE_DEVICE: &str = "hanzo.device.v1";
/// Purpose of the statement that a validator's evidence signs.
pub const PURPOSE_VALIDATOR: &str = "hanzo.validator.v1";

/// What a guest asks its processor to sign, in the form that each kind of evidence takes it.
///
/// Only a [`Statement`] and an [`crate::binding::RcarRuntime`] make one, so no caller of an attester can have bytes of its own
/// choice signed ("evidence factory").
///
/// ```compile_fail
/// use hanzo_attestation::statement::EvidenceRequest;
/// let forged = EvidenceRequest { report_data: [0; 64], qualifying_data: Vec::new() };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceRequest {
    pub(crate) report_data: [u8; 64],
    pub(crate) qualifying_data: Vec<u8>,
}

impl EvidenceRequest {
    /// REPORT_DATA of SNP and TDX.
    pub fn report_data(&self) -> &[u8; 64] {
        &self.report_data
    }

    /// Qualifying data of a TPM quote: 32 bytes for a statement, 48 for RCAR.
    pub fn qualifying_data(&self) -> &[u8] {
        &self.qualifying_data
    }
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    device_evidence_digest: String,
    keyset_digest: Digest384,
    nonce: Nonce,
    purpose: String,
}

impl Statement {
    /// The statement that devices answer.
    pub fn for_devices(keyset_digest: Digest384, nonce: Nonce) -> Self {
        Self {
            device_evidence_digest: String::new(),
            keyset_digest,
            nonce,
            purpose: PURPOSE_DEVICE.into(),
        }
    }

    /// The statement that REPORT_DATA commits to. `device_evidence_digest` is SHA-384 of JCS of the device list.
    pub fn for_cpu(keyset_digest: Digest384, nonce: Nonce, device_evidence_digest: Digest384) -> Self {
        Self {
            device_evidence_digest: device_evidence_digest.to_string(),
            keyset_digest,
            nonce,
            purpose: PURPOSE_REPORT_DATA.into(),
        }
    }

    /// The statement of a validator's boot. `keyset_digest` is over its keys, `nonce` over network, validator and incarnation
    /// (`enclave/chain/SPEC.md`); there are no devices.
    pub fn for_validator(keyset_digest: Digest384, nonce: Nonce) -> Self {
        Self {
            device_evidence_digest: Self::no_devices().to_string(),
            keyset_digest,
            nonce,
            purpose: PURPOSE_VALIDATOR.into(),
        }
    }

    /// SHA-384 of JCS of an empty device list.
    pub fn no_devices() -> Digest384 {
        Digest384::of(b"[]")
    }

    /// The canonical bytes.
    ///
    /// # Errors
    /// [`JcsError`], never for values of this type.
    pub fn canonical(&self) -> Result<Vec<u8>, JcsError> {
        jcs::to_vec("statement", self)
    }

    /// REPORT_DATA: SHA-512 of the canonical bytes.
    ///
    /// # Errors
    /// As [`Statement::canonical`].
    pub fn report_data(&self) -> Result<[u8; 64], JcsError> {
        Ok(sha512(&self.canonical()?))
    }

    /// What the CPU, or without one the vTPM, is asked to sign.
    ///
    /// # Errors
    /// As [`Statement::canonical`].
    pub fn request(&self) -> Result<EvidenceRequest, JcsError> {
        Ok(EvidenceRequest {
            report_data: self.report_data()?,
            qualifying_data: self.digest256()?.0.to_vec(),
        })
    }

    /// A device's nonce or a TPM quote's qualifying data: SHA-256 of the canonical bytes.
    ///
    /// # Errors
    /// As [`Statement::canonical`].
    pub fn digest256(&self) -> Result<Digest256, JcsError> {
        Ok(Digest256::of(&self.canonical()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_is_the_one_in_the_specification() {
        let s = Statement::for_cpu(Digest384([1; 48]), Nonce([2; 32]), Statement::no_devices());
        let text = String::from_utf8(s.canonical().unwrap()).unwrap();
        assert_eq!(
            text,
            format!(
                r#"{{"device_evidence_digest":"{}","keyset_digest":"{}","nonce":"{}","purpose":"hanzo.report_data.v1"}}"#,
                Digest384::of(b"[]"),
                "01".repeat(48),
                "02".repeat(32)
            )
        );
        let validator = Statement::for_validator(Digest384([1; 48]), Nonce([2; 32]));
        let of_validator = String::from_utf8(validator.canonical().unwrap()).unwrap();
        assert_eq!(of_validator, text.replace("hanzo.report_data.v1", "hanzo.validator.v1"));
        assert_ne!(validator.report_data().unwrap(), s.report_data().unwrap());
        assert_ne!(
            s.report_data().unwrap()[..32],
            Statement::for_devices(Digest384([1; 48]), Nonce([2; 32]))
                .report_data()
                .unwrap()[..32]
        );
    }
}

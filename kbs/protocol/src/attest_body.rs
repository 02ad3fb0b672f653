//! The `attest` body, as the broker reads it.

use hanzo_attestation::binding::RcarRuntime;
use hanzo_attestation::{Claims, Digest384, jcs};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::evidence::SessionEvidence;
use crate::wire::read;
use crate::{ATTEST_BYTES_MAX, CertificateOf, InitData, SessionBindingError, TeeKey, WireError};

/// An `attest` body whose shape was checked and nothing else.
#[derive(Debug)]
pub struct AttestBody {
    /// The session's nonce string, verbatim.
    pub nonce: String,
    /// The `tee-pubkey` object, verbatim: it is what the evidence commits to.
    pub tee_pubkey: Value,
    /// The same key, checked.
    pub wrap_key: TeeKey,
    /// The primary evidence.
    pub evidence: SessionEvidence,
    /// The additional evidence, verbatim: the evidence commits to this very text.
    pub additional_evidence: String,
    /// What the machine says it was started with.
    pub init_data: Option<InitData>,
    /// SHA-384 of the canonical form of `tee-evidence`: what an audit names the evidence by.
    pub evidence_digest: Digest384,
}

impl AttestBody {
    /// Reads an `attest` body that has every certificate with it.
    ///
    /// # Errors
    /// As [`AttestBody::parse_with`].
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        Self::parse_with(bytes, &|_| None)
    }

    /// Reads an `attest` body. `certificate_of` finds AMD's certificates that the evidence came without.
    ///
    /// # Errors
    /// [`WireError`]. What cannot be honoured is refused rather than ignored.
    pub fn parse_with(bytes: &[u8], certificate_of: CertificateOf<'_>) -> Result<Self, WireError> {
        let mut raw: RawAttest = read("attest", bytes, ATTEST_BYTES_MAX)?;
        // Their digests are over canonical forms. An order of members means nothing; sorted once, they are not sorted again.
        raw.tee_evidence.primary_evidence.sort_all_objects();
        raw.runtime_data.tee_pubkey.sort_all_objects();
        let init_data = match raw.init_data {
            None | Some(Value::Null) => None,
            Some(value) => Some(InitData::parse(value)?),
        };
        let evidence_digest = evidence_digest(&raw.tee_evidence)?;
        let evidence = SessionEvidence::parse(raw.tee_evidence.primary_evidence, certificate_of)?;
        if init_data.is_some() && matches!(evidence, SessionEvidence::Sample(_)) {
            return Err(WireError::InitData {
                what: "sample evidence",
                expected: "no init-data beside it: it has no field for a digest",
            });
        }
        Ok(Self {
            wrap_key: TeeKey::parse(&raw.runtime_data.tee_pubkey)?,
            nonce: raw.runtime_data.nonce,
            tee_pubkey: raw.runtime_data.tee_pubkey,
            evidence,
            additional_evidence: raw.tee_evidence.additional_evidence,
            init_data,
            evidence_digest,
        })
    }

    /// What the evidence commits to.
    pub fn runtime(&self) -> RcarRuntime<'_> {
        RcarRuntime {
            additional_evidence: &self.additional_evidence,
            nonce: &self.nonce,
            tee_pubkey: &self.tee_pubkey,
        }
    }

    /// Checks what stands beside authentic claims of this evidence: that the machine was started with this init-data, and that
    /// Azure's paravisor repeats what its vTPM signed.
    ///
    /// # Errors
    /// [`SessionBindingError`].
    pub fn check_claims(&self, claims: &Claims) -> Result<(), SessionBindingError> {
        if let Some(init_data) = &self.init_data {
            init_data.check(claims)?;
        }
        let (user_data, signed) = match (&self.evidence, claims) {
            (
                SessionEvidence::Signed {
                    user_data_repeats: true,
                    ..
                },
                Claims::AzSnp(c),
            ) => (&c.hcl.user_data, &c.tpm.qualifying_data),
            (
                SessionEvidence::Signed {
                    user_data_repeats: true,
                    ..
                },
                Claims::AzTdx(c),
            ) => (&c.hcl.user_data, &c.tpm.qualifying_data),
            _ => return Ok(()),
        };
        let repeats = user_data
            .as_deref()
            .and_then(|field| field.strip_prefix(signed.as_slice()))
            .is_some_and(|rest| rest.iter().all(|b| *b == 0));
        match repeats {
            true => Ok(()),
            false => Err(SessionBindingError::UserData),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawAttest {
    init_data: Option<Value>,
    runtime_data: RawRuntime,
    tee_evidence: RawEvidence,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRuntime {
    nonce: String,
    tee_pubkey: Value,
}

fn evidence_digest(evidence: &RawEvidence) -> Result<Digest384, WireError> {
    let canonical = jcs::to_vec("tee-evidence", evidence).map_err(|_| WireError::Unsupported {
        member: "tee-evidence",
        expected: "JSON with a canonical form",
    })?;
    Ok(Digest384::of(&canonical))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEvidence {
    additional_evidence: String,
    primary_evidence: Value,
}

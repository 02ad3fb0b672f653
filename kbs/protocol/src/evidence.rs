//! `primary_evidence`, in CoCo's forms and in our own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanzo_attestation::RawEvidence;
use hanzo_attestation::binding::RcarRuntime;
use hanzo_attestation::bundle::{CpuEvidence, SnpEvidence};
use hanzo_attestation::foreign::{ForeignEvidence, ForeignFormat, Supplied, detect};
use kbs_types::Tee;
use serde::Deserialize;
use serde_json::Value;

use crate::certificates::complete;
use crate::wire::shape;
use crate::{CertificateOf, SessionBindingError, WireError};

/// What a session was attested with.
#[derive(Debug, Clone)]
pub enum SessionEvidence {
    /// Evidence that hardware, or a simulator of it, signed.
    Signed {
        /// The evidence.
        raw: Box<RawEvidence>,
        /// True if the paravisor's user-data must repeat what the vTPM signed (Azure, version 2).
        user_data_repeats: bool,
    },
    /// Of CoCo's sample TEE. It proves nothing.
    Sample(SampleEvidence),
}

impl SessionEvidence {
    /// Reads `primary_evidence`. Each form has members that no other has; what could be two of them is none.
    ///
    /// # Errors
    /// [`WireError`].
    pub(crate) fn parse(value: Value, certificate_of: CertificateOf<'_>) -> Result<Self, WireError> {
        let has = |name: &str| value.get(name).is_some();
        if has("kind") {
            let cpu: CpuEvidence = from_value(value)?;
            return Ok(RawEvidence::from(cpu).into());
        }
        if has("report") && has("vek") {
            let snp: SnpEvidence = from_value(value)?;
            return Ok(RawEvidence::Snp(snp).into());
        }
        if has("svn") && has("report_data") {
            return Ok(Self::Sample(SampleEvidence::parse(value)?));
        }
        let bytes = value.to_string().into_bytes();
        let format = detect(&bytes)
            .filter(|f| is_primary(*f))
            .ok_or(WireError::Unsupported {
                member: "primary_evidence",
                expected: "evidence of snp, tdx, az-snp-vtpm, az-tdx-vtpm or tpm",
            })?;
        // An empty certificate stands for the one that may be missing, and is no evidence: it is completed or refused below.
        let supplied = Supplied {
            vek: Some(Vec::new()),
            ..Supplied::default()
        };
        let read = ForeignEvidence::read(format, &bytes, &supplied).map_err(WireError::Evidence)?;
        let mut raw = read.primary().cloned().ok_or(WireError::Unsupported {
            member: "primary_evidence",
            expected: "evidence of a processor or TPM",
        })?;
        complete(&mut raw, certificate_of)?;
        Ok(Self::Signed {
            raw: Box::new(raw),
            user_data_repeats: read.rule().user_data_repeats,
        })
    }

    /// The evidence to verify; `None` for the sample TEE's, which there is nothing in to verify.
    pub fn signed(&self) -> Option<&RawEvidence> {
        match self {
            Self::Signed { raw, .. } => Some(raw),
            Self::Sample(_) => None,
        }
    }

    /// The TEE that the evidence is of.
    pub fn tee(&self) -> Tee {
        match self {
            Self::Sample(_) => Tee::Sample,
            Self::Signed { raw, .. } => match **raw {
                RawEvidence::Snp(_) => Tee::Snp,
                RawEvidence::Tdx(_) => Tee::Tdx,
                RawEvidence::Tpm(_) => Tee::Tpm,
                RawEvidence::AzSnp(_) => Tee::AzSnpVtpm,
                RawEvidence::AzTdx(_) => Tee::AzTdxVtpm,
            },
        }
    }
}

impl From<RawEvidence> for SessionEvidence {
    fn from(raw: RawEvidence) -> Self {
        Self::Signed {
            raw: Box::new(raw),
            user_data_repeats: false,
        }
    }
}

fn is_primary(format: ForeignFormat) -> bool {
    matches!(
        format,
        ForeignFormat::CocoSnp
            | ForeignFormat::CocoTdx
            | ForeignFormat::CocoAzSnpVtpm
            | ForeignFormat::CocoAzTdxVtpm
            | ForeignFormat::CocoTpm
    )
}

fn from_value<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, WireError> {
    serde_json::from_value(value).map_err(|e| shape("primary_evidence", &e))
}

/// Evidence of CoCo's sample TEE: the digest that a processor would have signed, and nobody's signature.
#[derive(Debug, Clone)]
pub struct SampleEvidence {
    report_data: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    #[serde(rename = "svn")]
    _svn: String,
    report_data: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleDevices {
    sampledevice: Option<Value>,
}

impl SampleEvidence {
    fn parse(value: Value) -> Result<Self, WireError> {
        let sample: Sample = from_value(value)?;
        let report_data = STANDARD
            .decode(&sample.report_data)
            .map_err(|_| WireError::Unsupported {
                member: "primary_evidence.report_data",
                expected: "standard base64 with padding",
            })?;
        Ok(Self { report_data })
    }

    /// Checks that the evidence, and that of a sample device in the additional evidence, was made for this session.
    ///
    /// # Does not establish
    /// Anything else: whoever knows the session can write such evidence.
    ///
    /// # Errors
    /// [`SessionBindingError::Sample`].
    pub fn check(&self, runtime: &RcarRuntime<'_>) -> Result<(), SessionBindingError> {
        let is = |got: &[u8], digest: &[u8]| {
            got.strip_prefix(digest)
                .is_some_and(|rest| rest.iter().all(|b| *b == 0))
        };
        let whole = runtime.digest().map_err(|_| SessionBindingError::Sample)?;
        if !is(&self.report_data, whole.as_bytes()) {
            return Err(SessionBindingError::Sample);
        }
        if runtime.additional_evidence.is_empty() {
            return Ok(());
        }
        let devices = hanzo_attestation::foreign::json_without_duplicates(runtime.additional_evidence.as_bytes())
            .ok()
            .and_then(|value| serde_json::from_value::<SampleDevices>(value).ok())
            .ok_or(SessionBindingError::Sample)?;
        let Some(device) = devices.sampledevice else {
            return Ok(());
        };
        let device = Self::parse(device).map_err(|_| SessionBindingError::Sample)?;
        let nonce = runtime.device_nonce().map_err(|_| SessionBindingError::Sample)?;
        // A device answers the whole digest, or the 32 bytes of it that NVIDIA's have room for.
        match device.report_data.get(..nonce.len()) {
            Some(start) if start == nonce => Ok(()),
            _ => Err(SessionBindingError::Sample),
        }
    }
}

//! Evidence on its way from bytes to authentic claims.

mod anchors;
mod claims;
mod devices;
mod error;
mod known;

use crate::bundle::{AzSnpEvidence, AzTdxEvidence, CpuEvidence, DeviceEvidence, SnpEvidence, TdxEvidence, TpmEvidence};
use crate::nvidia::{Endorsements, ParsedNvidia};
use crate::snp::ParsedSnp;
use crate::tdx::ParsedTdx;
use crate::tpm::{ParsedAzSnp, ParsedAzTdx, ParsedTpm};

pub use anchors::{Anchors, Collateral};
pub use claims::{Authentic, Claims, Commitment, DeviceClaims, Revocation};
pub use devices::{AuthenticDevices, authenticate_devices};
pub use error::{AttestationError, Class};
pub use known::KnownSignatures;

/// Seconds since 1970-01-01T00:00:00Z. Always an argument, never read from a clock here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(pub u64);

/// Evidence as it came: bytes and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawEvidence {
    /// An SEV-SNP report and its certificates.
    Snp(SnpEvidence),
    /// A TDX quote and its collateral.
    Tdx(TdxEvidence),
    /// A TPM quote.
    Tpm(TpmEvidence),
    /// An SNP guest under Azure's paravisor.
    AzSnp(AzSnpEvidence),
    /// A TDX guest under Azure's paravisor.
    AzTdx(AzTdxEvidence),
}

impl From<CpuEvidence> for RawEvidence {
    fn from(cpu: CpuEvidence) -> Self {
        match cpu {
            CpuEvidence::Snp(e) => Self::Snp(e),
            CpuEvidence::Tdx(e) => Self::Tdx(e),
            CpuEvidence::Tpm(e) => Self::Tpm(e),
            CpuEvidence::AzSnpVtpm(e) => Self::AzSnp(e),
            CpuEvidence::AzTdxVtpm(e) => Self::AzTdx(e),
        }
    }
}

/// Evidence whose layout was checked and whose signature was not.
#[derive(Debug)]
pub enum ParsedEvidence {
    /// SEV-SNP.
    Snp(Box<ParsedSnp>),
    /// TDX.
    Tdx(Box<ParsedTdx>),
    /// TPM 2.0.
    Tpm(Box<ParsedTpm>),
    /// Azure, SNP.
    AzSnp(Box<ParsedAzSnp>),
    /// Azure, TDX.
    AzTdx(Box<ParsedAzTdx>),
}

impl RawEvidence {
    /// Checks lengths, versions, reserved fields and certificate encodings.
    ///
    /// # Does not establish
    /// Anything about who made the evidence.
    ///
    /// # Errors
    /// [`AttestationError`] with class [`Class::Malformed`].
    pub fn parse(self) -> Result<ParsedEvidence, AttestationError> {
        self.parse_with(&KnownSignatures::default())
    }

    /// As [`RawEvidence::parse`], for whoever judges much evidence of few processors: certificates that were read before
    /// and found authentic are not read again.
    ///
    /// # Errors
    /// As [`RawEvidence::parse`].
    pub fn parse_with(self, known: &KnownSignatures) -> Result<ParsedEvidence, AttestationError> {
        Ok(match self {
            Self::Snp(raw) => ParsedEvidence::Snp(Box::new(ParsedSnp::parse_with(raw, known)?)),
            Self::Tdx(raw) => ParsedEvidence::Tdx(Box::new(ParsedTdx::parse(raw)?)),
            Self::Tpm(raw) => ParsedEvidence::Tpm(Box::new(ParsedTpm::parse(raw)?)),
            Self::AzSnp(raw) => ParsedEvidence::AzSnp(Box::new(ParsedAzSnp::parse(raw)?)),
            Self::AzTdx(raw) => ParsedEvidence::AzTdx(Box::new(ParsedAzTdx::parse(raw)?)),
        })
    }
}

impl ParsedEvidence {
    /// Checks signatures, chains, TCB and identity extensions, validity at `now` and revocation.
    ///
    /// # Establishes
    /// A genuine processor (or a simulator, see [`Authentic::is_simulated`]) signed exactly these claims. Of a TPM quote
    /// alone: the key that the claims name signed them; what stands behind that key is in the claims.
    ///
    /// # Does not establish
    /// When it did so, for whom, or whether the claims are acceptable.
    ///
    /// # Errors
    /// [`AttestationError`].
    pub fn authenticate(
        self,
        anchors: &Anchors,
        collateral: &Collateral,
        now: UnixTime,
    ) -> Result<Authentic<Claims>, AttestationError> {
        let (claims, simulated, revocation) = match self {
            Self::Snp(parsed) => {
                let v = parsed.authenticate(anchors, collateral, now)?;
                (Claims::Snp(v.claims), v.simulated, v.revocation)
            }
            Self::Tdx(parsed) => {
                let v = parsed.authenticate(anchors, collateral, now)?;
                (Claims::Tdx(Box::new(v.claims)), v.simulated, v.revocation)
            }
            Self::Tpm(parsed) => {
                let v = parsed.authenticate(anchors, now)?;
                (Claims::Tpm(Box::new(v.claims)), v.simulated, v.revocation)
            }
            Self::AzSnp(parsed) => {
                let v = parsed.authenticate(anchors, collateral, now)?;
                (Claims::AzSnp(Box::new(v.claims)), v.simulated, v.revocation)
            }
            Self::AzTdx(parsed) => {
                let v = parsed.authenticate(anchors, collateral, now)?;
                (Claims::AzTdx(Box::new(v.claims)), v.simulated, v.revocation)
            }
        };
        Ok(Authentic::new(claims, simulated, revocation))
    }
}

/// Device evidence whose layout was checked and whose signature was not.
#[derive(Debug)]
pub enum ParsedDevice {
    /// An NVIDIA GPU or switch.
    Nvidia(Box<ParsedNvidia>),
}

impl ParsedDevice {
    /// Checks the layout of report and certificates.
    ///
    /// # Errors
    /// [`AttestationError`] with class [`Class::Malformed`]; also for a kind that is not `nvidia`.
    pub fn parse(raw: &DeviceEvidence) -> Result<Self, AttestationError> {
        match raw.kind.as_str() {
            "nvidia" => Ok(Self::Nvidia(Box::new(ParsedNvidia::parse(raw)?))),
            _ => Err(AttestationError::DeviceKind),
        }
    }

    /// Checks the report's signature, the chain, the firmware id, OCSP answers and RIMs.
    ///
    /// # Establishes
    /// A genuine device signed exactly these claims; what its measurements were compared with is in the claims.
    ///
    /// # Does not establish
    /// That the device belongs to this guest: binding does.
    ///
    /// # Errors
    /// [`AttestationError`].
    pub fn authenticate(
        self,
        anchors: &Anchors,
        collateral: &Collateral,
        now: UnixTime,
    ) -> Result<Authentic<DeviceClaims>, AttestationError> {
        self.authenticate_with(&Endorsements::new(collateral, anchors, now))
    }

    /// The same with endorsements that a whole list shares.
    pub(crate) fn authenticate_with(
        self,
        endorsements: &Endorsements<'_>,
    ) -> Result<Authentic<DeviceClaims>, AttestationError> {
        match self {
            Self::Nvidia(parsed) => {
                let v = parsed.authenticate(endorsements)?;
                let revocation = match v.claims.ocsp {
                    crate::nvidia::OcspOutcome::Good { next_update } => Revocation::Checked { next_update },
                    _ => Revocation::NoList,
                };
                Ok(Authentic::new(
                    DeviceClaims::Nvidia(Box::new(v.claims)),
                    v.simulated,
                    revocation,
                ))
            }
        }
    }
}

//! Evidence on its way from bytes to authentic claims.

use crate::bundle::{CpuEvidence, SnpEvidence};
use crate::snp::{self, SnpClaims, SnpError};

/// Seconds since 1970-01-01T00:00:00Z. Always an argument, never read from a clock here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(pub u64);

/// Evidence as it came: bytes and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawEvidence {
    /// An SEV-SNP report and its certificates.
    Snp(SnpEvidence),
}

impl From<CpuEvidence> for RawEvidence {
    fn from(cpu: CpuEvidence) -> Self {
        match cpu {
            CpuEvidence::Snp(snp) => Self::Snp(snp),
        }
    }
}

/// Evidence whose layout was checked and whose signature was not.
#[derive(Debug)]
pub enum ParsedEvidence {
    /// SEV-SNP.
    Snp(Box<snp::ParsedSnp>),
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
        match self {
            Self::Snp(raw) => Ok(ParsedEvidence::Snp(Box::new(snp::ParsedSnp::parse(raw)?))),
        }
    }
}

/// Which roots count. Vendor roots are compiled in; any other root makes every result simulated.
#[derive(Debug, Clone, Default)]
pub struct Anchors {
    simulator_arks: Vec<Vec<u8>>,
}

impl Anchors {
    /// The vendors' roots alone.
    pub fn vendor() -> Self {
        Self::default()
    }

    /// Besides them, an ARK certificate (DER) of a simulator. Whatever chains to it is `simulated`, for ever.
    pub fn with_simulator_ark(mut self, ark_der: Vec<u8>) -> Self {
        self.simulator_arks.push(ark_der);
        self
    }

    /// The additional roots.
    pub fn simulator_arks(&self) -> &[Vec<u8>] {
        &self.simulator_arks
    }
}

/// Collateral that did not travel with the evidence.
#[derive(Debug, Clone, Default)]
pub struct Collateral {
    /// ARK-signed CRLs (DER), for any product; used when the evidence staples none.
    pub crls: Vec<Vec<u8>>,
}

/// What was found out about revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// An authentic list, fresh at the given time, does not name the certificates.
    Checked {
        /// When the next list is due.
        next_update: UnixTime,
    },
    /// There was no list. Policy decides what that means.
    NoList,
}

/// Claims that a processor signed and whose certificates chain to one of the [`Anchors`].
///
/// Only [`ParsedEvidence::authenticate`] makes one:
/// ```compile_fail
/// use hanzo_attestation::{Authentic, Revocation};
/// let forged = Authentic { claims: (), simulated: false, revocation: Revocation::NoList };
/// ```
#[derive(Debug)]
pub struct Authentic<T> {
    claims: T,
    simulated: bool,
    revocation: Revocation,
}

impl<T> Authentic<T> {
    /// The claims.
    pub fn claims(&self) -> &T {
        &self.claims
    }

    /// True if the chain ends in a root that is not a vendor's.
    pub fn is_simulated(&self) -> bool {
        self.simulated
    }

    /// What is known about revocation.
    pub fn revocation(&self) -> Revocation {
        self.revocation
    }
}

/// What evidence claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claims {
    /// An SEV-SNP guest.
    Snp(SnpClaims),
}

impl Claims {
    /// The 64 bytes that the guest had signed.
    pub fn report_data(&self) -> &[u8; 64] {
        match self {
            Self::Snp(c) => &c.report.report_data,
        }
    }
}

impl ParsedEvidence {
    /// Checks signatures, chains, TCB and chip-id extensions, validity at `now` and revocation.
    ///
    /// # Establishes
    /// A genuine processor (or a simulator, see [`Authentic::is_simulated`]) signed exactly these claims.
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
        match self {
            Self::Snp(parsed) => {
                let verified = parsed.authenticate(anchors, collateral, now)?;
                Ok(Authentic {
                    claims: Claims::Snp(verified.claims),
                    simulated: verified.simulated,
                    revocation: verified.revocation,
                })
            }
        }
    }
}

/// Whose fault: decides exit codes and HTTP statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The bytes are not of the format (exit code 10).
    Malformed,
    /// Signature, chain, root, revocation (exit code 20).
    NotAuthentic,
    /// Nonce, keyset or channel do not belong together, or too old (exit code 30).
    Unbound,
    /// Authentic and fresh, and not good enough (exit code 40).
    Refused,
}

/// Why evidence was not accepted as authentic.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AttestationError {
    /// SEV-SNP.
    #[error(transparent)]
    Snp(#[from] SnpError),
}

impl AttestationError {
    /// Stable dotted code, e.g. `snp.signature.invalid`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Snp(e) => e.code(),
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        match self {
            Self::Snp(e) => e.class(),
        }
    }
}

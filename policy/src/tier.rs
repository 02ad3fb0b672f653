//! The five privacy tiers (DESIGN section 3).

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much of the machine its operator cannot look into. Ordered: a higher tier asks for more proof.
///
/// On the wire it is the number, 0 to 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum PrivacyTier {
    /// 0: nothing is proven but a quantum-safe transport.
    Open,
    /// 1: a TPM quote or a hardware token says which image sealed the data.
    AtRest,
    /// 2: a SEV-SNP or TDX guest, with memory that the host cannot read.
    CpuTee,
    /// 3: tier 2, and every GPU attested in confidential mode.
    GpuCc,
    /// 4: tier 3, and every GPU bound to the CPU by TDISP.
    GpuTeeIo,
}

/// A number that names no tier.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("tier: expected 0 to 4, got {got}")]
pub struct NoSuchTier {
    got: u8,
}

impl PrivacyTier {
    /// All tiers, lowest first.
    pub const ALL: [Self; 5] = [Self::Open, Self::AtRest, Self::CpuTee, Self::GpuCc, Self::GpuTeeIo];

    /// 0 to 4.
    pub fn number(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::AtRest => 1,
            Self::CpuTee => 2,
            Self::GpuCc => 3,
            Self::GpuTeeIo => 4,
        }
    }

    /// The name in DESIGN section 3, e.g. `CpuTee`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::AtRest => "AtRest",
            Self::CpuTee => "CpuTee",
            Self::GpuCc => "GpuCc",
            Self::GpuTeeIo => "GpuTeeIo",
        }
    }
}

impl fmt::Display for PrivacyTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number(), self.name())
    }
}

impl From<PrivacyTier> for u8 {
    fn from(tier: PrivacyTier) -> Self {
        tier.number()
    }
}

impl TryFrom<u8> for PrivacyTier {
    type Error = NoSuchTier;

    fn try_from(got: u8) -> Result<Self, NoSuchTier> {
        Self::ALL
            .into_iter()
            .find(|t| t.number() == got)
            .ok_or(NoSuchTier { got })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_tiers_are_one_to_one_and_ordered() {
        for (i, tier) in PrivacyTier::ALL.into_iter().enumerate() {
            assert_eq!(tier.number() as usize, i);
            assert_eq!(PrivacyTier::try_from(tier.number()), Ok(tier));
        }
        assert!(PrivacyTier::ALL.is_sorted());
        assert_eq!(PrivacyTier::try_from(5), Err(NoSuchTier { got: 5 }));
        assert_eq!(PrivacyTier::CpuTee.to_string(), "2 (CpuTee)");
    }
}

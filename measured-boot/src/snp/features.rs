//! SEV_FEATURES: which protections the guest's processors run with.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::SnpError;

/// Bits 0 to 10, 12, 14 and 15 have a meaning; all others must be zero (AMD64 APM volume 2, table B-4).
const KNOWN: u64 = 0xd7ff;

/// SEV_FEATURES of a VMSA, checked: SNPActive is set and no undefined bit is.
///
/// | bit | name | who sets it |
/// |---|---|---|
/// | 0 | SNPActive | every SNP guest |
/// | 1 | vTOM | Hyper-V |
/// | 2 | ReflectVC | a paravisor |
/// | 3, 4 | RestrictedInjection, AlternateInjection | |
/// | 5 | DebugSwap | KVM from 6.6 with `debug_swap=1`; off by default from 6.8 |
/// | 6, 7, 8 | PreventHostIBS, BTBIsolation, VmplSSS | |
/// | 9 | SecureTSC | QEMU with `secure-tsc=on`; see [`super::TscFields`] |
/// | 10, 12 | VmgexitParameter, IbsVirtualization | |
/// | 14, 15 | VmsaRegProt, SmtProtection | |
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestFeatures(u64);

impl GuestFeatures {
    /// SNP alone: KVM's default from Linux 6.8.
    pub const SNP: Self = Self(0x1);
    /// SNP with DebugSwap: KVM's default before Linux 6.8.
    pub const SNP_DEBUG_SWAP: Self = Self(0x21);
    /// SNP with Secure TSC.
    pub const SNP_SECURE_TSC: Self = Self(0x201);

    /// Checks the bits.
    ///
    /// # Errors
    /// [`SnpError::Features`].
    pub fn new(bits: u64) -> Result<Self, SnpError> {
        if bits & 1 == 0 || bits & !KNOWN != 0 {
            return Err(SnpError::Features { got: bits });
        }
        Ok(Self(bits))
    }

    /// The register's value.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// With bit 9.
    #[must_use]
    pub fn with_secure_tsc(self) -> Self {
        Self(self.0 | 1 << 9)
    }

    /// Bit 9.
    pub fn secure_tsc(self) -> bool {
        self.0 >> 9 & 1 == 1
    }
}

impl std::fmt::Debug for GuestFeatures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl Serialize for GuestFeatures {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for GuestFeatures {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(d)?).map_err(de::Error::custom)
    }
}

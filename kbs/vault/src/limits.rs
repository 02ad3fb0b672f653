//! How much one key may do, by tier.

use hanzo_policy::PrivacyTier;

use crate::VaultError;
use crate::hierarchy::TenantKek;

/// Most secrets sealed under one KEK: far below the 2^32 messages that SP 800-38D section 8.3 allows for random 96-bit
/// nonces under one key, and every tier class has a key of its own besides.
pub const KEK_SEALS_MAX: u64 = 1 << 30;

/// What is allowed for keys of one minimum tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    tier: PrivacyTier,
    /// Most releases of one version of a key, whatever its policy says: 1000, 100 and 10 at tiers 2, 3 and 4. Tiers 0 and 1
    /// have no bound but the policy's own.
    pub releases_max: u64,
}

impl Limits {
    /// The limits of a minimum tier.
    pub const fn of(tier: PrivacyTier) -> Self {
        let releases_max = match tier {
            PrivacyTier::Open | PrivacyTier::AtRest => (1 << 53) - 1,
            PrivacyTier::CpuTee => 1000,
            PrivacyTier::GpuCc => 100,
            PrivacyTier::GpuTeeIo => 10,
        };
        Self { tier, releases_max }
    }

    /// Checks a policy's `max_uses`.
    ///
    /// # Errors
    /// [`VaultError::Uses`].
    pub fn check_max_uses(&self, max_uses: u64) -> Result<(), VaultError> {
        match max_uses <= self.releases_max {
            true => Ok(()),
            false => Err(VaultError::Uses {
                tier: self.tier.number(),
                limit: self.releases_max,
                got: max_uses,
            }),
        }
    }
}

/// Checks that `kek` may seal once more after `sealed` times.
///
/// # Errors
/// [`VaultError::KekUsedUp`].
pub fn check_kek_seals(kek: &TenantKek, sealed: u64) -> Result<(), VaultError> {
    match sealed < KEK_SEALS_MAX {
        true => Ok(()),
        false => Err(VaultError::KekUsedUp {
            tenant: kek.tenant().clone(),
            version: kek.version(),
            limit: KEK_SEALS_MAX,
        }),
    }
}

//! The vaults: who seals a tenant's secrets, by the tier that a guest must prove to get them.
//!
//! [`PqcVault`] holds keys of tiers 0 to 2, [`GpuCcVault`] those of tier 3, [`GpuTeeIoVault`] those of tier 4. A key's
//! vault follows from the minimum tier of its release policy ([`vault_for`]). Each vault seals under a key of its own,
//! derived from the tenant's KEK: a row whose policy was edited to a lower class does not open.

pub(crate) mod envelope;
mod error;

pub use error::VaultError;

use hanzo_attestation::name::{KeyId, Name};
use hanzo_policy::PrivacyTier;
use hanzo_pqc::hpke::KemSuite;
use hanzo_pqc::{SignatureSuite, aead, random, suites_for_tier};
use zeroize::Zeroizing;

use crate::hierarchy::{TenantKek, frame};
use crate::limits::Limits;

pub(crate) use envelope::SHREDDED;

/// Longest secret in bytes: 64 KiB.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

const SECRET_DOMAIN: &str = "hanzo/vault-secret/v1";

/// What a stored secret is for. Closed; it is authenticated with the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyPurpose {
    /// A 32-byte data key: released wrapped to guests, and the parent of per-object keys.
    DataKey,
    /// Any bytes, 1 to 65,536: a resource for guests that speak RCAR.
    Resource,
}

impl KeyPurpose {
    /// The name that is stored and authenticated.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DataKey => "data-key",
            Self::Resource => "resource",
        }
    }

    /// Reads a stored name.
    ///
    /// # Errors
    /// [`VaultError::Purpose`] for any other text.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        match text {
            "data-key" => Ok(Self::DataKey),
            "resource" => Ok(Self::Resource),
            _ => Err(VaultError::Purpose),
        }
    }

    fn check(self, got: usize) -> Result<(), VaultError> {
        let range = match self {
            Self::DataKey => 32..=32,
            Self::Resource => 1..=SECRET_BYTES_MAX,
        };
        if range.contains(&got) {
            return Ok(());
        }
        Err(VaultError::SecretLength {
            purpose: self.name(),
            least: *range.start(),
            most: *range.end(),
            got,
        })
    }
}

/// The class of tiers that one vault serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TierClass {
    /// Tiers 0 to 2.
    Pqc,
    /// Tier 3.
    GpuCc,
    /// Tier 4.
    GpuTeeIo,
}

impl TierClass {
    /// The class of a minimum tier.
    pub const fn of(tier: PrivacyTier) -> Self {
        match tier {
            PrivacyTier::Open | PrivacyTier::AtRest | PrivacyTier::CpuTee => Self::Pqc,
            PrivacyTier::GpuCc => Self::GpuCc,
            PrivacyTier::GpuTeeIo => Self::GpuTeeIo,
        }
    }

    /// The name that is authenticated.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pqc => "pqc",
            Self::GpuCc => "gpu-cc",
            Self::GpuTeeIo => "gpu-tee-io",
        }
    }
}

/// Where a sealed secret belongs; all of it is authenticated, together with tenant, KEK version and tier class.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The key. Its repository is the tenant.
    pub key_id: &'a KeyId,
    /// Its version, from 1.
    pub key_version: u64,
    /// What it is for.
    pub purpose: KeyPurpose,
}

/// Seals and opens the secrets of one class of tiers.
pub trait Vault: Sync {
    /// Its name, for logs and status.
    fn name(&self) -> &'static str;

    /// The class of tiers.
    fn class(&self) -> TierClass;

    /// The lowest tier whose keys it holds.
    fn minimum_tier(&self) -> PrivacyTier;

    /// The wrap and signature suites under which its keys leave the broker.
    fn suites(&self) -> (KemSuite, SignatureSuite) {
        suites_for_tier(self.minimum_tier().number())
    }

    /// What is allowed for keys of this minimum tier.
    ///
    /// # Errors
    /// [`VaultError::Tier`] for a tier of another vault.
    fn limits(&self, tier: PrivacyTier) -> Result<Limits, VaultError> {
        match TierClass::of(tier) == self.class() {
            true => Ok(Limits::of(tier)),
            false => Err(VaultError::Tier {
                vault: self.name(),
                got: tier.number(),
            }),
        }
    }

    /// Seals a secret to its place, under the tenant's KEK.
    ///
    /// # Layout
    /// `0x01 || nonce (12) || AES-256-GCM ciphertext || tag (16)` under HKDF-SHA-256(KEK, frame of `hanzo/vault-class/v1` and
    /// the class). AAD = frame of `hanzo/vault-secret/v1`, tenant, key id, key version, KEK version (both u64, big endian),
    /// purpose, class.
    ///
    /// # Errors
    /// [`VaultError::SecretLength`], [`VaultError::Tenant`] if the key is not this KEK's tenant's.
    fn seal(&self, kek: &TenantKek, place: Place<'_>, secret: &[u8]) -> Result<Vec<u8>, VaultError> {
        place.purpose.check(secret.len())?;
        let aad = aad(kek, place, self.class())?;
        let mut nonce = [0; aead::NONCE_LEN];
        random::fill(&mut nonce)?;
        let key = kek.class_key(self.class())?;
        envelope::seal(&key, &nonce, &aad, secret)
    }

    /// Opens what this vault sealed for the same place under the same KEK.
    ///
    /// # Errors
    /// [`VaultError::Shredded`], [`VaultError::Format`], [`VaultError::Tenant`]; [`VaultError::Open`] for another place, KEK
    /// version or class.
    fn open(&self, kek: &TenantKek, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let parts = envelope::Parts::split("sealed secret", sealed)?;
        let aad = aad(kek, place, self.class())?;
        let key = kek.class_key(self.class())?;
        let secret = parts.open(&key, &aad).map_err(|_| VaultError::Open {
            key_id: place.key_id.clone(),
            version: place.key_version,
            kek_version: kek.version(),
            vault: self.name(),
        })?;
        place.purpose.check(secret.len())?;
        Ok(secret)
    }
}

/// Keys of tiers 0 to 2.
#[derive(Debug, Clone, Copy)]
pub struct PqcVault;

/// Keys of tier 3.
#[derive(Debug, Clone, Copy)]
pub struct GpuCcVault;

/// Keys of tier 4.
#[derive(Debug, Clone, Copy)]
pub struct GpuTeeIoVault;

impl Vault for PqcVault {
    fn name(&self) -> &'static str {
        "PqcVault"
    }

    fn class(&self) -> TierClass {
        TierClass::Pqc
    }

    fn minimum_tier(&self) -> PrivacyTier {
        PrivacyTier::Open
    }
}

impl Vault for GpuCcVault {
    fn name(&self) -> &'static str {
        "GpuCcVault"
    }

    fn class(&self) -> TierClass {
        TierClass::GpuCc
    }

    fn minimum_tier(&self) -> PrivacyTier {
        PrivacyTier::GpuCc
    }
}

impl Vault for GpuTeeIoVault {
    fn name(&self) -> &'static str {
        "GpuTeeIoVault"
    }

    fn class(&self) -> TierClass {
        TierClass::GpuTeeIo
    }

    fn minimum_tier(&self) -> PrivacyTier {
        PrivacyTier::GpuTeeIo
    }
}

/// The vault of keys with this minimum tier.
pub fn vault_for(minimum_tier: PrivacyTier) -> &'static dyn Vault {
    match TierClass::of(minimum_tier) {
        TierClass::Pqc => &PqcVault,
        TierClass::GpuCc => &GpuCcVault,
        TierClass::GpuTeeIo => &GpuTeeIoVault,
    }
}

/// What takes the place of a sealed secret that was destroyed.
pub fn shredded_secret(sealed_len: usize) -> Vec<u8> {
    vec![SHREDDED; sealed_len]
}

/// The tenant of a key: the first part of its id.
pub fn tenant_of(key_id: &KeyId) -> Name {
    key_id.repository().clone()
}

fn aad(kek: &TenantKek, place: Place<'_>, class: TierClass) -> Result<Vec<u8>, VaultError> {
    if place.key_id.repository() != kek.tenant() {
        return Err(VaultError::Tenant {
            key_id: place.key_id.clone(),
            tenant: kek.tenant().clone(),
        });
    }
    Ok(frame(
        SECRET_DOMAIN,
        &[
            kek.tenant().as_str().as_bytes(),
            place.key_id.to_string().as_bytes(),
            &place.key_version.to_be_bytes(),
            &kek.version().to_be_bytes(),
            place.purpose.name().as_bytes(),
            class.name().as_bytes(),
        ],
    ))
}

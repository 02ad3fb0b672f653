//! A tenant's key encryption key.

use hanzo_attestation::name::Name;
use hanzo_pqc::{Dek, aead, kdf, random};
use zeroize::Zeroizing;

use super::{Root, RootPurpose, frame};
use crate::vault::{SHREDDED, TierClass, VaultError, envelope};

/// Length of a wrapped KEK: format (1), nonce (12), key (32), tag (16).
pub const WRAPPED_KEK_BYTES: usize = 1 + aead::NONCE_LEN + Dek::LEN + aead::TAG_LEN;

const AAD_DOMAIN: &str = "hanzo/kek-wrap/v1";
const CLASS_DOMAIN: &str = "hanzo/vault-class/v1";

/// One version of a tenant's KEK. What is sealed under it opens for this tenant and version alone; destroying the wrapped
/// KEK destroys all of it at once.
///
/// ```compile_fail,E0277
/// fn wants_debug<T: std::fmt::Debug>() {}
/// wants_debug::<hanzo_vault::TenantKek>();
/// ```
pub struct TenantKek {
    tenant: Name,
    version: u64,
    key: Dek,
}

impl TenantKek {
    /// Draws a new KEK; `version` starts at 1.
    ///
    /// # Errors
    /// [`VaultError::Crypto`] if the random generator fails.
    pub fn generate(tenant: Name, version: u64) -> Result<Self, VaultError> {
        let key = Dek::generate()?;
        Ok(Self { tenant, version, key })
    }

    /// Wraps this KEK under the root.
    ///
    /// # Layout
    /// `0x01 || nonce (12) || AES-256-GCM ciphertext (32) || tag (16)`; AAD = frame of `hanzo/kek-wrap/v1`, tenant, version
    /// (u64, big endian).
    ///
    /// # Errors
    /// [`VaultError::Crypto`].
    pub fn wrap(&self, root: &Root) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; aead::NONCE_LEN];
        random::fill(&mut nonce)?;
        let key = root.derive(RootPurpose::KekWrap)?;
        envelope::seal(
            key.expose(),
            &nonce,
            &aad(&self.tenant, self.version),
            self.key.expose(),
        )
    }

    /// Opens what [`TenantKek::wrap`] made for this tenant and version under this root.
    ///
    /// # Errors
    /// [`VaultError::Shredded`] for a destroyed KEK, [`VaultError::Format`], [`VaultError::KekOpen`] for another root,
    /// tenant or version.
    pub fn unwrap(root: &Root, tenant: Name, version: u64, wrapped: &[u8]) -> Result<Self, VaultError> {
        let refused = || VaultError::KekOpen {
            tenant: tenant.clone(),
            version,
        };
        let parts = envelope::Parts::split("wrapped KEK", wrapped)?;
        if wrapped.len() != WRAPPED_KEK_BYTES {
            return Err(refused());
        }
        let key = root.derive(RootPurpose::KekWrap)?;
        let bytes = parts
            .open(key.expose(), &aad(&tenant, version))
            .map_err(|_| refused())?;
        let key = Dek::from_slice(&bytes)?;
        Ok(Self { tenant, version, key })
    }

    /// What takes the place of a wrapped KEK that was destroyed.
    pub fn shredded() -> Vec<u8> {
        vec![SHREDDED; WRAPPED_KEK_BYTES]
    }

    /// Whose it is.
    pub fn tenant(&self) -> &Name {
        &self.tenant
    }

    /// Its version, from 1.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The key of one tier class: what a vault of another class sealed does not open.
    pub(crate) fn class_key(&self, class: TierClass) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let mut key = Zeroizing::new([0; 32]);
        let info = frame(CLASS_DOMAIN, &[class.name().as_bytes()]);
        kdf::hkdf_sha256(b"", self.key.expose(), &info, key.as_mut())?;
        Ok(key)
    }
}

fn aad(tenant: &Name, version: u64) -> Vec<u8> {
    frame(AAD_DOMAIN, &[tenant.as_str().as_bytes(), &version.to_be_bytes()])
}

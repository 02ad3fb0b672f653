//! Why a vault refused.

use hanzo_attestation::name::{KeyId, Name};
use hanzo_pqc::PqcError;

/// Why a KEK or a secret was not sealed, opened or accepted. No text contains secret bytes.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VaultError {
    /// Written by a newer version, or not by us.
    #[error("{what}: format: expected 1, got {got}: use the program version that wrote it")]
    Format {
        /// Which envelope.
        what: &'static str,
        /// Its first byte.
        got: u8,
    },
    /// Cut off or padded.
    #[error("{what}: {got} bytes are no envelope: the row was damaged, restore a backup")]
    Length {
        /// Which envelope.
        what: &'static str,
        /// Its length.
        got: usize,
    },
    /// Destroyed on purpose.
    #[error("{what}: it was destroyed on purpose; what it protected is gone for ever")]
    Shredded {
        /// Which envelope.
        what: &'static str,
    },
    /// The KEK does not open.
    #[error(
        "KEK of tenant {tenant} version {version}: it was wrapped under another root, or for another tenant or version"
    )]
    KekOpen {
        /// Whose it should be.
        tenant: Name,
        /// Its version.
        version: u64,
    },
    /// The secret does not open.
    #[error(
        "key {key_id} version {version}: the sealed secret belongs to another key, version, purpose or vault than {vault}, or to another KEK than version {kek_version}"
    )]
    Open {
        /// The key.
        key_id: KeyId,
        /// Its version.
        version: u64,
        /// The KEK that was tried.
        kek_version: u64,
        /// The vault that was tried.
        vault: &'static str,
    },
    /// A KEK of another tenant.
    #[error("key {key_id}: it is not of tenant {tenant}, whose KEK was given")]
    Tenant {
        /// The key.
        key_id: KeyId,
        /// The KEK's tenant.
        tenant: Name,
    },
    /// A tier that this vault does not hold.
    #[error("{vault}: it holds no keys of tier {got}")]
    Tier {
        /// The vault.
        vault: &'static str,
        /// The tier asked for.
        got: u8,
    },
    /// Too short or too long for its purpose.
    #[error("{purpose}: expected {least} to {most} bytes, got {got}")]
    SecretLength {
        /// The purpose.
        purpose: &'static str,
        /// Fewest bytes.
        least: usize,
        /// Most bytes.
        most: usize,
        /// Length that came.
        got: usize,
    },
    /// A stored purpose that does not exist.
    #[error("key purpose: expected data-key or resource: use the program version that wrote it")]
    Purpose,
    /// A label of a per-object key.
    #[error("object label: expected 1 to 1024 bytes, got {got}")]
    Label {
        /// Its length.
        got: usize,
    },
    /// More releases than the tier allows.
    #[error(
        "max_uses: keys of tier {tier} are released at most {limit} times a version, got {got}: lower max_uses and put a new version when they are used up"
    )]
    Uses {
        /// The key's minimum tier.
        tier: u8,
        /// Most releases of one version.
        limit: u64,
        /// What was asked for.
        got: u64,
    },
    /// The KEK has sealed as much as one key may.
    #[error(
        "KEK of tenant {tenant} version {version}: it has sealed {limit} secrets: run `hanzo-kbs rotate-kek --tenant {tenant}`"
    )]
    KekUsedUp {
        /// Whose it is.
        tenant: Name,
        /// Its version.
        version: u64,
        /// Most seals of one KEK.
        limit: u64,
    },
    /// A primitive failed.
    #[error(transparent)]
    Crypto(#[from] PqcError),
}

impl VaultError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Format { .. } => "vault.format",
            Self::Length { .. } => "vault.length",
            Self::Shredded { .. } => "vault.shredded",
            Self::KekOpen { .. } => "vault.kek",
            Self::Open { .. } => "vault.open",
            Self::Tenant { .. } => "vault.tenant",
            Self::Tier { .. } => "vault.tier",
            Self::SecretLength { .. } => "vault.secret.length",
            Self::Purpose => "vault.purpose",
            Self::Label { .. } => "vault.label",
            Self::Uses { .. } => "vault.limit.uses",
            Self::KekUsedUp { .. } => "vault.limit.kek",
            Self::Crypto(e) => e.code(),
        }
    }
}

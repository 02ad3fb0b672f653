//! What key owners ask of a broker: put a key, change its policy, revoke it.
//!
//! # Layout
//! `POST` [`ADMIN_PATH`], canonical JSON `{"request": {...}, "signature": {"ed25519","ml_dsa"}}`. Both signatures cover the
//! canonical request under the domain `hanzo/admin/v1`. The request names the broker (digest of its import key) and the
//! admin key, carries a nonce and its time, and counts once. A data key travels sealed (HPKE) to the broker's import key.

mod answer;
mod apply;
mod change;
mod client;
mod document;
mod proposals;
mod read;
mod refusal;
mod roles;
mod told;
mod vaults;

pub use answer::{
    AdminReply, AuditLines, KeyDetail, KeyEntry, KeyList, PendingList, PendingRequest, RotationStatus, TenantDetail,
};
pub(crate) use apply::apply;
pub(crate) use change::Change;
pub(crate) use client::log_head;
pub use client::{
    AdminError, accept_store_head, approve, audit_lines, get_policy, list_keys, pending, put_key, revoke, rotate_kek,
    rotation, set_document, set_policy, shred, status,
};
pub(crate) use proposals::store as propose;
pub use proposals::{PROPOSAL_LIFETIME_S, PROPOSALS_MAX};
pub(crate) use read::raise_image;
pub(crate) use refusal::AdminRefusal;
pub use roles::{AdminKey, Role};
pub(crate) use roles::{Admins, check as check_admins};
pub(crate) use told::{Told, about_image};

use hanzo_attestation::jcs::JcsError;
use hanzo_attestation::keyset::{KemKey, SignaturePair};
use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::{Digest256, Digest384, Nonce, jcs};
use hanzo_pqc::Domain;
use hanzo_pqc::hpke::{self, KemSuite};
use hanzo_vault::KeyPolicy;
use serde::{Deserialize, Serialize};

use crate::tenant::Document;

/// Where admin requests go.
pub const ADMIN_PATH: &str = "/hanzo/v1/admin";
/// Where a rotation is asked after: this, then its id.
pub const ROTATIONS_PATH: &str = "/hanzo/v1/admin/rotations/";
/// Longest admin request in bytes.
pub const ADMIN_BYTES_MAX: usize = 1 << 20;
/// How far a request's `issued_at` may lie from the broker's clock, in seconds.
pub const ADMIN_WINDOW_S: u64 = 300;

pub(crate) const ADMIN_PURPOSE: &str = "hanzo.kbs.admin.v1";

/// A request with its signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignedRequest {
    pub(crate) request: AdminRequest,
    pub(crate) signature: SignaturePair,
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdminRequest {
    pub(crate) action: Action,
    /// SHA-384 of the canonical pinned signer.
    pub(crate) admin: Digest384,
    /// Unix seconds.
    pub(crate) issued_at: u64,
    /// SHA-384 of the canonical import key: a request to one broker is none to another.
    pub(crate) kbs: Digest384,
    pub(crate) nonce: Nonce,
    pub(crate) purpose: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "do", rename_all = "kebab-case")]
pub(crate) enum Action {
    /// A new key (version 1) or its next version.
    PutKey {
        ciphertext: String,
        enc: String,
        key_id: KeyId,
        key_version: u64,
        policy: KeyPolicy,
    },
    /// Another policy for the newest version.
    SetPolicy {
        key_id: KeyId,
        key_version: u64,
        policy: KeyPolicy,
    },
    /// No more releases of the newest version.
    Revoke { key_id: KeyId, key_version: u64 },
    /// The next version of a tenant's document: `<tenant>/coco/resource-policy` (Rego) or `<tenant>/coco/reference-values`.
    SetDocument {
        key_id: KeyId,
        key_version: u64,
        text: String,
    },
    /// Makes a new version of a tenant's KEK and moves its secrets to it, while keys are released.
    RotateKek { tenant: Name },
    /// Destroys every KEK and secret of a tenant.
    ShredTenant { tenant: Name },
    /// Destroys one version of a key.
    ShredKey { key_id: KeyId, key_version: u64 },
    /// Sets the head of a guest's store to what the guest has.
    AcceptStoreHead { key_id: KeyId, root: Digest256, size: u64 },
    /// Carries out what another admin proposed. The proposal's id covers every byte of it.
    Approve { proposal: Digest384 },
    /// The keys that this admin may read.
    ListKeys {},
    /// One key's policy and counts.
    GetPolicy { key_id: KeyId },
    /// The proposals that wait and that this admin may read.
    Pending {},
    /// Lines of the audit chain after this number.
    AuditRead { after: u64 },
    /// How the broker and its parts stand.
    Status {},
}

impl Action {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::PutKey { .. } => "put-key",
            Self::SetPolicy { .. } => "set-policy",
            Self::Revoke { .. } => "revoke",
            Self::SetDocument { key_id, .. } => Document::named(key_id).map_or("set-document", |d| d.action()),
            Self::RotateKek { .. } => "rotate-kek",
            Self::ShredTenant { .. } => "shred-tenant",
            Self::ShredKey { .. } => "shred-key",
            Self::AcceptStoreHead { .. } => "accept-store-head",
            Self::Approve { .. } => "approve",
            Self::ListKeys {} => "list-keys",
            Self::GetPolicy { .. } => "get-policy",
            Self::Pending {} => "pending",
            Self::AuditRead { .. } => "audit-read",
            Self::Status {} => "status",
        }
    }

    pub(crate) fn policy(&self) -> Option<&KeyPolicy> {
        match self {
            Self::PutKey { policy, .. } | Self::SetPolicy { policy, .. } => Some(policy),
            _ => None,
        }
    }

    /// SHA-384 of the policy or document that the action carries.
    pub(crate) fn digest(&self) -> Result<Option<Digest384>, JcsError> {
        match self {
            Self::SetDocument { text, .. } => Ok(Some(Digest384::of(text.as_bytes()))),
            _ => self.policy().map(KeyPolicy::digest).transpose(),
        }
    }

    /// The tenant whose keys this changes, and the key with its version if it is about one; 0 where there is no version.
    pub(crate) fn subject(&self) -> Option<(&Name, Option<&KeyId>, u64)> {
        match self {
            Self::RotateKek { tenant } | Self::ShredTenant { tenant } => Some((tenant, None, 0)),
            Self::AcceptStoreHead { key_id, .. } => Some((key_id.repository(), Some(key_id), 0)),
            Self::ShredKey { key_id, key_version } => Some((key_id.repository(), Some(key_id), *key_version)),
            _ => self
                .changes()
                .map(|(key_id, version)| (key_id.repository(), Some(key_id), version)),
        }
    }

    /// The key or document and the version that a change of its own is about.
    pub(crate) fn changes(&self) -> Option<(&KeyId, u64)> {
        match self {
            Self::PutKey {
                key_id, key_version, ..
            }
            | Self::SetPolicy {
                key_id, key_version, ..
            }
            | Self::SetDocument {
                key_id, key_version, ..
            }
            | Self::Revoke { key_id, key_version } => Some((key_id, *key_version)),
            _ => None,
        }
    }
}

/// HPKE `info` of a data key on its way to the broker.
pub(crate) fn import_info(
    suite: KemSuite,
    key_id: &KeyId,
    version: u64,
    policy: &KeyPolicy,
) -> Result<Vec<u8>, JcsError> {
    Ok(hpke::info(
        Domain::KeyImport,
        suite,
        &[
            key_id.to_string().as_bytes(),
            &version.to_be_bytes(),
            policy.digest()?.as_bytes(),
        ],
    ))
}

/// HPKE `aad`: binds the sealed key to the one request that carries it.
pub(crate) fn import_aad(admin: &Digest384, kbs: &Digest384, nonce: &Nonce) -> Vec<u8> {
    [admin.0.as_slice(), &kbs.0, &nonce.0].concat()
}

pub(crate) fn kbs_digest(import_key: &KemKey) -> Result<Digest384, JcsError> {
    Ok(Digest384::of(&jcs::to_vec("import key", import_key)?))
}

//! What admins are told.

use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::{Digest384, Nonce};
use hanzo_vault::KeyPolicy;
use serde::{Deserialize, Serialize};

use crate::{BrokerStatus, RotationReport, ShredReport};

/// The answer to a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminReply {
    /// What was destroyed, if that was asked for.
    #[serde(deserialize_with = "Option::deserialize")]
    pub destroyed: Option<ShredReport>,
    /// The key; `null` if the change is about a tenant.
    #[serde(deserialize_with = "Option::deserialize")]
    pub key_id: Option<KeyId>,
    /// The version that the change is about; 0 if there is none.
    pub key_version: u64,
    /// `null`: the change was carried out. An id: it waits for a second admin and nothing has changed yet.
    #[serde(deserialize_with = "Option::deserialize")]
    pub proposal: Option<Digest384>,
    /// Under this id the rotation goes on, and can be asked after.
    #[serde(deserialize_with = "Option::deserialize")]
    pub rotation: Option<Nonce>,
    /// Whose it is.
    pub tenant: Name,
}

impl AdminReply {
    /// Nothing but what it was about.
    pub(crate) fn about((tenant, key_id, key_version): (&Name, Option<&KeyId>, u64)) -> Self {
        Self {
            destroyed: None,
            key_id: key_id.cloned(),
            key_version,
            proposal: None,
            rotation: None,
            tenant: tenant.clone(),
        }
    }
}

impl RotationStatus {
    /// Whether nothing more comes of it.
    pub fn has_ended(&self) -> bool {
        self.report.is_some() || self.code.is_some()
    }
}

/// How a rotation stands: the answer to `GET` of its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationStatus {
    /// What ended it early. What was moved until then stays moved; ask for it again.
    #[serde(deserialize_with = "Option::deserialize")]
    pub code: Option<String>,
    /// Secrets moved so far.
    pub moved: u64,
    /// What it did; `null` while it goes on.
    #[serde(deserialize_with = "Option::deserialize")]
    pub report: Option<RotationReport>,
    /// Whose KEK.
    pub tenant: Name,
    /// Secrets that stood under older KEKs when it began.
    pub total: u64,
}

/// The answer to `list-keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyList {
    /// False: the configuration says in words that one admin may widen alone.
    pub four_eyes: bool,
    /// Ascending by id; the newest version of each.
    pub keys: Vec<KeyEntry>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// Its name.
    pub key_id: KeyId,
    /// Its newest version.
    pub key_version: u64,
    /// The lowest tier that gets it.
    pub minimum_tier: u8,
    /// The newest image version that got it; 0 is none.
    pub newest_image: u64,
    /// Its last second.
    pub not_after: u64,
    /// SHA-384 of its policy.
    pub policy_digest: Digest384,
    /// True if it is released no more.
    pub revoked: bool,
    /// Grants of the newest version.
    pub uses: u64,
    /// The bound on them.
    pub max_uses: u64,
}

/// The answer to `get-policy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyDetail {
    /// As in the list.
    pub key: KeyEntry,
    /// The policy of its newest version.
    pub policy: KeyPolicy,
    /// What its tenant put over all its keys; `null` without a resource policy.
    #[serde(deserialize_with = "Option::deserialize")]
    pub tenant: Option<TenantDetail>,
}

/// A tenant's resource policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantDetail {
    /// Its reference values: `data.reference` of the module.
    pub reference: serde_json::Value,
    /// Text of its Rego module.
    pub rego: String,
}

/// The answer to `pending`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingList {
    /// Oldest end first.
    pub proposals: Vec<PendingRequest>,
}

/// A proposal that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingRequest {
    /// Name of the admin key that proposed it; `null` if the configuration has it no more.
    #[serde(deserialize_with = "Option::deserialize")]
    pub admin: Option<Name>,
    /// The action's name.
    pub action: String,
    /// What it changes, one line each: member, from, to, direction.
    pub changes: Vec<String>,
    /// Last second in which it can be approved.
    pub expires_at: u64,
    /// SHA-384 of `request`.
    pub id: Digest384,
    /// The key; `null` if the change is about a tenant.
    #[serde(deserialize_with = "Option::deserialize")]
    pub key_id: Option<KeyId>,
    /// The version that the change is about; 0 if there is none.
    pub key_version: u64,
    /// The request as it was signed: canonical JSON. Whoever approves computes the id from it.
    pub request: String,
    /// Whose it is.
    pub tenant: Name,
}

/// The answer to `audit-read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditLines {
    /// The lines, in their order: at most 1,000 at a time.
    pub lines: Vec<String>,
    /// True if there are more.
    pub more: bool,
}

/// Any of them, on its way out.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    Done(AdminReply),
    Keys(KeyList),
    Policy(Box<KeyDetail>),
    Pending(PendingList),
    Audit(AuditLines),
    Status(Box<BrokerStatus>),
}

impl Answer {
    /// The rotation that this answer promises, and whose KEK.
    pub(crate) fn rotation(&self) -> Option<(Nonce, &Name)> {
        match self {
            Self::Done(reply) => reply.rotation.map(|id| (id, &reply.tenant)),
            _ => None,
        }
    }
}

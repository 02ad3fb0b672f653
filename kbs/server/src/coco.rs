//! What is CoCo's alone: its admins, its sample TEE, and what a resource put by its client is released under.

pub(crate) mod bearer;
pub(crate) mod documents;
pub(crate) mod resources;

use std::path::PathBuf;

use hanzo_attestation::name::Name;
use hanzo_vault::{KeyPolicy, POLICY_BYTES_MAX};
use serde::{Deserialize, Serialize};

use crate::KbsError;
use crate::admin::AdminKey;

/// The configuration's table `coco`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CocoConfig {
    /// Lets the sample TEE in, which proves nothing: for tests of clients, in a simulated store alone. What comes of it is
    /// simulated and of tier 0.
    pub sample_tee: bool,
    /// Release policy (JSON) of resources that CoCo's client makes, whose requests carry none; its `tenant` is replaced by the
    /// resource's repository. Without it such resources get new versions but are not made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_policy: Option<PathBuf>,
    /// Who may use CoCo's admin routes. None: nobody.
    pub admins: Vec<CocoAdmin>,
}

/// A pinned key of an admin who signs bearer tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CocoAdmin {
    /// The `kid` of this admin's tokens.
    pub name: Name,
    /// What its holder may do; a token that says another role is refused.
    pub role: CocoRole,
    /// The repository of a tenant admin; none for an operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
    /// What its tokens are signed with.
    pub algorithm: CocoAlgorithm,
    /// The public key, lower-case hex: 32 bytes (Ed25519) or 1952 (ML-DSA-65).
    pub public_key: String,
}

/// Roles of admins who prove themselves with bearer tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CocoRole {
    /// Reads the audit log and what `/health` says in full; changes nothing.
    Auditor,
    /// Every repository.
    Operator,
    /// One repository.
    TenantAdmin,
}

/// Signatures of admin tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CocoAlgorithm {
    /// Ed25519 (RFC 8037).
    EdDSA,
    /// ML-DSA-65 (RFC 9964).
    #[serde(rename = "ML-DSA-65")]
    MlDsa65,
}

impl CocoAlgorithm {
    fn name(self) -> &'static str {
        match self {
            Self::EdDSA => "EdDSA",
            Self::MlDsa65 => "ML-DSA-65",
        }
    }
}

impl CocoConfig {
    /// Checks what can be checked without a store; what is wrong, if something is.
    pub(crate) fn check(&self, signers: &[AdminKey]) -> Result<(), String> {
        for (n, admin) in self.admins.iter().enumerate() {
            let fail = |what: &str| format!("coco.admins[{n}]: {what}");
            let own = &admin.public_key;
            let is_signer =
                |key: &AdminKey| key.ed25519.eq_ignore_ascii_case(own) || key.ml_dsa.eq_ignore_ascii_case(own);
            if signers.iter().any(is_signer) || self.admins.iter().filter(|a| a.public_key == *own).count() != 1 {
                return Err(fail(
                    "public_key: expected a key that no other admin has, here or in admin_keys: whoever proposes must not approve",
                ));
            }
            if (admin.role == CocoRole::TenantAdmin) != admin.tenant.is_some() {
                return Err(fail("tenant: expected for role tenant-admin, and for no other"));
            }
            if self.admins.iter().filter(|a| a.name == admin.name).count() != 1 {
                return Err(fail("name: expected each name once"));
            }
            bearer::check_key(admin).map_err(|what| fail(what))?;
        }
        Ok(())
    }

    /// Reads the policy of new resources.
    pub(crate) fn load_policy(&self) -> Result<Option<KeyPolicy>, KbsError> {
        let Some(path) = &self.resource_policy else {
            return Ok(None);
        };
        let fail = |detail: String| KbsError::File {
            what: "coco.resource_policy",
            path: path.clone(),
            detail,
        };
        let size = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?.len();
        if size > POLICY_BYTES_MAX as u64 {
            return Err(fail(format!("{size} bytes, at most {POLICY_BYTES_MAX} are accepted")));
        }
        let bytes = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
        KeyPolicy::parse(&bytes).map(Some).map_err(|e| fail(e.to_string()))
    }
}

//! Who may ask for what. What is not in the table is denied.

use std::collections::BTreeSet;

use hanzo_attestation::Digest384;
use hanzo_attestation::config::PinnedSigner;
use hanzo_attestation::jcs::JcsError;
use hanzo_attestation::name::Name;
use hanzo_policy::AllowList;
use hanzo_pqc::PqcError;
use hanzo_pqc::sign::VerifyingKeys;
use serde::{Deserialize, Serialize};

use crate::identity::{signer_digest, verifying_keys};

/// An admin key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminKey {
    /// For people: whose key it is.
    pub name: Name,
    /// What it may do; ascending, each once.
    pub roles: Vec<Role>,
    /// Whose keys a `tenant-admin` may put, change and read: names of tenants (repositories), or the word `any`. Empty for
    /// keys without that role.
    pub tenants: AllowList<Name>,
    /// `ml-dsa-65` or `ml-dsa-87`.
    pub suite: String,
    /// ML-DSA public key, hex.
    pub ml_dsa: String,
    /// Ed25519 public key, hex.
    pub ed25519: String,
}

/// What an admin key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads the audit chain, key lists and policies.
    Auditor,
    /// Revokes, rotates and destroys keys of every tenant, approves what tenant admins propose, reads key lists and policies.
    /// It puts no keys and proposes no policies.
    Operator,
    /// Puts, changes, revokes, rotates, destroys and reads keys of its tenants, and approves what others propose for them.
    TenantAdmin,
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    PutKey,
    SetPolicy,
    Revoke,
    /// Rotates KEKs, destroys, sets the heads of guests' stores.
    Vault,
    Approve,
    ReadKeys,
    ReadAudit,
}

impl Role {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::TenantAdmin => "tenant-admin",
        }
    }

    /// The table. A tenant admin's rights end at its tenants; the others' do not.
    fn has(self, right: Right) -> bool {
        match (self, right) {
            (Self::Auditor, Right::ReadKeys | Right::ReadAudit) => true,
            (Self::Operator, Right::Revoke | Right::Vault | Right::Approve | Right::ReadKeys) => true,
            (
                Self::TenantAdmin,
                Right::PutKey | Right::SetPolicy | Right::Revoke | Right::Vault | Right::Approve | Right::ReadKeys,
            ) => true,
            _ => false,
        }
    }
}

impl AdminKey {
    /// An admin key that may do everything for every tenant: what a broker starts with.
    pub fn first(signer: PinnedSigner) -> Result<Self, hanzo_attestation::name::NameError> {
        Ok(Self {
            name: Name::new("first-admin")?,
            roles: vec![Role::Auditor, Role::Operator, Role::TenantAdmin],
            tenants: AllowList::Any,
            suite: signer.suite,
            ml_dsa: signer.ml_dsa,
            ed25519: signer.ed25519,
        })
    }

    /// The key as requests name it.
    pub fn signer(&self) -> PinnedSigner {
        PinnedSigner {
            suite: self.suite.clone(),
            ml_dsa: self.ml_dsa.clone(),
            ed25519: self.ed25519.clone(),
        }
    }
}

/// What is wrong with the admin keys of a configuration, if something is.
pub(crate) fn check(keys: &[AdminKey], four_eyes: bool) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for (n, key) in keys.iter().enumerate() {
        let fail = |what: String| Err(format!("admin_keys[{n}]: {what}"));
        if let Err(e) = verifying_keys(&key.signer()) {
            return fail(e.to_string());
        }
        if key.roles.is_empty() || !key.roles.is_sorted_by(|a, b| a < b) {
            return fail("roles: expected one or more of auditor, operator, tenant-admin, ascending, each once".into());
        }
        let none = matches!(&key.tenants, AllowList::Listed(names) if names.is_empty());
        match (key.roles.contains(&Role::TenantAdmin), none) {
            (true, true) => return fail("tenants: expected names or \"any\" for a tenant-admin, got none".into()),
            (false, false) => return fail("tenants: expected [] for a key that is no tenant-admin".into()),
            _ => {}
        }
        // A key in two places, or half of one, would be two pairs of eyes in one head.
        for part in [key.name.as_str(), &key.ml_dsa, &key.ed25519] {
            if !seen.insert(part.to_owned()) {
                return fail("name, ml_dsa and ed25519: each must differ from those of the other admin keys".into());
            }
        }
    }
    if keys.len() == 1 && four_eyes {
        return Err(
            "four_eyes: there is one admin key, so nobody could approve anything: pin a second one, or write \
             four_eyes = false"
                .into(),
        );
    }
    Ok(())
}

/// The admins of a running broker.
#[derive(Debug)]
pub(crate) struct Admins {
    pub(crate) four_eyes: bool,
    list: Vec<Admin>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Admin {
    pub(crate) digest: Digest384,
    pub(crate) keys: VerifyingKeys,
    pub(crate) name: Name,
    roles: Vec<Role>,
    tenants: AllowList<Name>,
}

impl Admins {
    pub(crate) fn of(keys: &[AdminKey], four_eyes: bool) -> Result<Self, AdminsError> {
        let admin = |key: &AdminKey| -> Result<Admin, AdminsError> {
            let signer = key.signer();
            Ok(Admin {
                digest: signer_digest(&signer)?,
                keys: verifying_keys(&signer)?,
                name: key.name.clone(),
                roles: key.roles.clone(),
                tenants: key.tenants.clone(),
            })
        };
        Ok(Self {
            four_eyes,
            list: keys.iter().map(admin).collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn get(&self, digest: &Digest384) -> Option<&Admin> {
        self.list.iter().find(|a| a.digest == *digest)
    }
}

/// Keys that passed the configuration's check give none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminsError {
    #[error(transparent)]
    Jcs(#[from] JcsError),
    #[error(transparent)]
    Crypto(#[from] PqcError),
}

impl From<AdminsError> for crate::KbsError {
    fn from(e: AdminsError) -> Self {
        match e {
            AdminsError::Jcs(e) => e.into(),
            AdminsError::Crypto(e) => e.into(),
        }
    }
}

impl Admin {
    /// True if one of this key's roles has `right` for keys of `tenant`.
    pub(crate) fn may(&self, right: Right, tenant: &Name) -> bool {
        self.roles
            .iter()
            .any(|role| role.has(right) && (*role != Role::TenantAdmin || self.tenants.admits(tenant)))
    }

    /// True if one of this key's roles has `right` for somebody.
    pub(crate) fn may_somewhere(&self, right: Right) -> bool {
        self.roles.iter().any(|role| role.has(right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admin(roles: &[Role], tenants: AllowList<Name>) -> Admin {
        Admin {
            digest: Digest384([0; 48]),
            keys: hanzo_pqc::sign::SigningKeys::generate(hanzo_pqc::SignatureSuite::MlDsa65Ed25519)
                .unwrap()
                .verifying_keys()
                .clone(),
            name: Name::new("a").unwrap(),
            roles: roles.to_vec(),
            tenants,
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_denied() {
        use Right::{Approve, PutKey, ReadAudit, ReadKeys, Revoke, SetPolicy, Vault};
        let (ours, theirs) = (Name::new("hanzo").unwrap(), Name::new("other").unwrap());
        let all = [PutKey, SetPolicy, Revoke, Vault, Approve, ReadKeys, ReadAudit];
        for (role, here, elsewhere) in [
            (Role::Auditor, vec![ReadKeys, ReadAudit], vec![ReadKeys, ReadAudit]),
            (
                Role::Operator,
                vec![Revoke, Vault, Approve, ReadKeys],
                vec![Revoke, Vault, Approve, ReadKeys],
            ),
            (
                Role::TenantAdmin,
                vec![PutKey, SetPolicy, Revoke, Vault, Approve, ReadKeys],
                vec![],
            ),
        ] {
            let admin = admin(&[role], AllowList::Listed(vec![ours.clone()]));
            for right in all {
                assert_eq!(admin.may(right, &ours), here.contains(&right), "{role:?} {right:?}");
                assert_eq!(
                    admin.may(right, &theirs),
                    elsewhere.contains(&right),
                    "{role:?} {right:?}"
                );
            }
        }
        let nobody = admin(&[], AllowList::Any);
        assert!(all.iter().all(|right| !nobody.may(*right, &ours)));
    }
}

//! Resources put and deleted by CoCo's client, whose requests carry bytes and no policy.

use hanzo_attestation::name::KeyId;
use hanzo_kbs_protocol::jwe::SECRET_BYTES_MAX;
use hanzo_store::{StoreError, Tx};
use hanzo_vault::{KeyPolicy, KeyPolicyError, KeyPurpose, tenant_of};

use super::bearer::{Admin, BearerRefusal};
use crate::KbsError;
use crate::audit::{self, Line};
use crate::broker::{Broker, KeyRow, newest, now};

/// Why a resource was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResourceRefusal {
    #[error(transparent)]
    Bearer(#[from] BearerRefusal),
    #[error("resource: {got} bytes, 1 to 65536 are stored")]
    Length { got: usize },
    #[error(
        "there is no resource {key_id}, and `coco.resource_policy` of the configuration names no policy to make it under: set one, or put the key with `hanzo-kbs put-key`"
    )]
    NoPolicy { key_id: KeyId },
    #[error("there is no resource {key_id}")]
    Unknown { key_id: KeyId },
    #[error("coco.resource_policy: {0}")]
    Policy(#[from] KeyPolicyError),
    #[error("coco.resource_policy: allow_simulated: this broker's store is a production one")]
    SimulatedKey,
    #[error(transparent)]
    Broker(#[from] KbsError),
}

impl From<StoreError> for ResourceRefusal {
    fn from(e: StoreError) -> Self {
        Self::Broker(e.into())
    }
}

impl ResourceRefusal {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Bearer(e) => e.code(),
            Self::Length { .. } => "kbs.resource.length",
            Self::NoPolicy { .. } => "kbs.resource.no_policy",
            Self::Unknown { .. } => "kbs.key.unknown",
            Self::Policy(e) => e.code(),
            Self::SimulatedKey => "store.simulated_key",
            Self::Broker(_) => "kbs.internal",
        }
    }
}

/// Stores `secret` as the next version of `key_id`: under the policy of the version before, or, for the first one, under the
/// configured policy. It is on the disk when this returns.
///
/// # Errors
/// [`ResourceRefusal`].
pub(crate) fn put(broker: &Broker, admin: &Admin<'_>, key_id: &KeyId, secret: &[u8]) -> Result<u64, ResourceRefusal> {
    admin.may_change(&tenant_of(key_id))?;
    if !(1..=SECRET_BYTES_MAX).contains(&secret.len()) {
        return Err(ResourceRefusal::Length { got: secret.len() });
    }
    let (version, head, line) = broker.db.write(|tx| {
        let before = newest(tx, key_id)?;
        let policy = policy_for(broker, key_id, before.as_ref())?;
        let version = before.map_or(1, |key| key.version + 1);
        let time = now().0;
        let purpose = KeyPurpose::Resource;
        broker.put_secret(tx, (key_id, version), purpose, &policy, secret, time)?;
        let mut line = line_of("put-key", admin, key_id, version, time);
        line.policy = Some(policy.digest().map_err(KbsError::from)?);
        let (head, text) = audit::append(tx, line)?;
        Ok::<_, ResourceRefusal>((version, head, text))
    })?;
    broker.record(head, &line)?;
    Ok(version)
}

/// Withdraws the newest version of `key_id`.
///
/// # Errors
/// [`ResourceRefusal`].
pub(crate) fn delete(broker: &Broker, admin: &Admin<'_>, key_id: &KeyId) -> Result<(), ResourceRefusal> {
    admin.may_change(&tenant_of(key_id))?;
    let (head, line) = broker.db.write(|tx| {
        let key = newest(tx, key_id)?.filter(|key| !key.revoked);
        let key = key.ok_or_else(|| ResourceRefusal::Unknown { key_id: key_id.clone() })?;
        revoke(tx, key_id, key.version)?;
        let line = line_of("revoke", admin, key_id, key.version, now().0);
        Ok::<_, ResourceRefusal>(audit::append(tx, line)?)
    })?;
    Ok(broker.record(head, &line)?)
}

fn policy_for(broker: &Broker, key_id: &KeyId, before: Option<&KeyRow>) -> Result<KeyPolicy, ResourceRefusal> {
    if let Some(before) = before {
        return Ok(before.policy.clone());
    }
    let mut policy = broker
        .resource_policy
        .clone()
        .ok_or_else(|| ResourceRefusal::NoPolicy { key_id: key_id.clone() })?;
    policy.tenant = tenant_of(key_id);
    policy.check()?;
    policy.check_for(key_id)?;
    if policy.allow_simulated && !broker.simulated() {
        return Err(ResourceRefusal::SimulatedKey);
    }
    Ok(policy)
}

fn revoke(tx: &Tx<'_>, key_id: &KeyId, version: u64) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE keys SET revoked = 1 WHERE key_id = ?1 AND key_version = ?2",
        &[key_id.to_string().into(), (version as i64).into()],
    )?;
    Ok(())
}

fn line_of(action: &str, admin: &Admin<'_>, key_id: &KeyId, version: u64, time: u64) -> Line {
    let mut line = Line::of(action, admin.party, time);
    line.key_id = key_id.to_string();
    line.key_version = version;
    line
}

//! Destruction: what was sealed is unreadable for ever, also to whoever has the root.

use hanzo_attestation::name::{KeyId, Name};
use hanzo_store::{StoreMode, Tx};
use hanzo_vault::{TenantKek, shredded_secret, tenant_of};
use serde::{Deserialize, Serialize};

use super::{OPERATOR, kek_line, newest_version};
use crate::audit::{self, Line};
use crate::broker::{Broker, now};
use crate::{KbsConfig, KbsError};

/// What to destroy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shredded {
    /// Every KEK of a tenant, and with them every secret it has.
    Tenant(Name),
    /// One version of one key.
    Key(KeyId, u64),
}

/// What was destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShredReport {
    /// KEKs.
    pub keks: u64,
    /// Sealed secrets.
    pub secrets: u64,
}

/// Destroys. The rows are overwritten and the decision is audited in one transaction; they are released no more.
///
/// # Errors
/// [`KbsError::NoTenant`], [`KbsError::NoKey`] if there is nothing to destroy.
pub fn shred(config: &KbsConfig, mode: StoreMode, what: &Shredded) -> Result<ShredReport, KbsError> {
    Broker::open(config, mode)?.shred(what)
}

impl Broker {
    pub(crate) fn shred(&self, what: &Shredded) -> Result<ShredReport, KbsError> {
        let (report, (head, line)) = self.db.write(|tx| {
            let (report, line) = destroy(tx, what)?;
            Ok::<_, KbsError>((report, audit::append(tx, line)?))
        })?;
        self.record(head, &line)?;
        Ok(report)
    }
}

/// Destroys; the line that tells of it is not written yet.
pub(crate) fn destroy(tx: &Tx<'_>, what: &Shredded) -> Result<(ShredReport, Line), KbsError> {
    match what {
        Shredded::Tenant(tenant) => shred_tenant(tx, tenant),
        Shredded::Key(key_id, version) => shred_key(tx, key_id, *version),
    }
}

/// A tenant's newest KEK and how many secrets it has; `None` if it has no KEK.
pub(crate) fn extent(tx: &Tx<'_>, tenant: &Name) -> Result<Option<(u64, u64)>, KbsError> {
    let count = |table: &str, also: &str| {
        let sql = format!("SELECT count(*) FROM {table} WHERE tenant = ?1{also}");
        tx.query_one(&sql, &[tenant.as_str().into()])?.unsigned(0)
    };
    if count("keks", " AND state = 'live'")? == 0 {
        return Ok(None);
    }
    Ok(Some((newest_version(tx, tenant)?, count("keys", "")?)))
}

fn shred_tenant(tx: &Tx<'_>, tenant: &Name) -> Result<(ShredReport, Line), KbsError> {
    let keks = tx.execute(
        "UPDATE keks SET state = 'shredded', wrapped = ?2 WHERE tenant = ?1 AND state = 'live'",
        &[tenant.as_str().into(), TenantKek::shredded().as_slice().into()],
    )?;
    if keks == 0 {
        return Err(KbsError::NoTenant { tenant: tenant.clone() });
    }
    // The KEKs suffice; the rows go too, so that nobody has to believe it.
    let rows = tx.query(
        "SELECT key_id, key_version, sealed_dek FROM keys WHERE tenant = ?1",
        &[tenant.as_str().into()],
    )?;
    for row in &rows {
        overwrite(tx, row.text(0)?, row.integer(1)?, row.blob(2)?.len())?;
    }
    let line = kek_line("shred-tenant", tenant, newest_version(tx, tenant)?, now().0);
    let report = ShredReport {
        keks,
        secrets: rows.len() as u64,
    };
    Ok((report, line))
}

fn shred_key(tx: &Tx<'_>, key_id: &KeyId, version: u64) -> Result<(ShredReport, Line), KbsError> {
    let id = key_id.to_string();
    let row = tx.query_opt(
        "SELECT sealed_dek FROM keys WHERE key_id = ?1 AND key_version = ?2 AND tenant = ?3",
        &[(&id).into(), (version as i64).into(), tenant_of(key_id).as_str().into()],
    )?;
    let Some(row) = row else {
        return Err(KbsError::NoKey {
            key_id: key_id.clone(),
            version,
        });
    };
    overwrite(tx, &id, version as i64, row.blob(0)?.len())?;
    let mut line = Line::of("shred-key", OPERATOR, now().0);
    line.key_id = id;
    line.key_version = version;
    let report = ShredReport { keks: 0, secrets: 1 };
    Ok((report, line))
}

fn overwrite(tx: &Tx<'_>, key_id: &str, version: i64, len: usize) -> Result<(), KbsError> {
    tx.execute(
        "UPDATE keys SET revoked = 1, sealed_dek = ?3 WHERE key_id = ?1 AND key_version = ?2",
        &[key_id.into(), version.into(), shredded_secret(len).as_slice().into()],
    )?;
    Ok(())
}

//! Rotation: a new KEK version, then every secret of the tenant moved to it, in batches. Data is not touched.
//!
//! Each batch is one transaction with its audit line. Whatever ends the process in between, older KEKs stay readable, and
//! the next run takes the rotation up where it stands; only when nothing stands under the older KEKs are they destroyed.

use hanzo_attestation::name::{KeyId, Name};
use hanzo_store::{StoreError, StoreMode, Tx};
use hanzo_vault::{KeyPolicy, KeyPurpose, Place, TenantKek, shredded_secret, vault_for};
use serde::{Deserialize, Serialize};

use super::{SealedSecret, kek_line, newest_version};
use crate::broker::{Broker, now};
use crate::head::Head;
use crate::{KbsConfig, KbsError, audit};

/// Secrets moved in one transaction.
const BATCH: i64 = 256;

/// Where a rotation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationProgress {
    /// Whose KEK.
    pub tenant: String,
    /// Secrets moved by this run.
    pub moved: u64,
    /// Secrets that stood under older KEKs when this run began.
    pub total: u64,
}

/// What a run did for one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationReport {
    /// Whose KEK.
    pub tenant: String,
    /// Its newest version now.
    pub kek_version: u64,
    /// Secrets moved by this run.
    pub moved: u64,
    /// Whether this run finished one that had been interrupted.
    pub resumed: bool,
    /// Older KEKs destroyed.
    pub destroyed: u64,
}

/// Rotates the KEK of one tenant, or of all of them (`None`), in a store that this process may write.
///
/// # Errors
/// [`KbsError`]; what was moved until then stays moved, and the next run goes on.
pub fn rotate_keks(
    config: &KbsConfig,
    mode: StoreMode,
    tenant: Option<&Name>,
    mut progress: impl FnMut(RotationProgress),
) -> Result<Vec<RotationReport>, KbsError> {
    let broker = Broker::open(config, mode)?;
    let tenants = match tenant {
        Some(tenant) => vec![tenant.clone()],
        None => broker.db.read(tenants)?,
    };
    tenants
        .iter()
        .map(|tenant| {
            broker.rotate(tenant, &mut |at| {
                progress(at);
                Ok(())
            })
        })
        .collect()
}

fn tenants(tx: &Tx<'_>) -> Result<Vec<Name>, KbsError> {
    let rows = tx.query(
        "SELECT DISTINCT tenant FROM keks WHERE state = 'live' ORDER BY tenant",
        &[],
    )?;
    rows.iter().map(|row| name(row.text(0)?)).collect()
}

fn name(text: &str) -> Result<Name, KbsError> {
    Name::new(text).map_err(|_| KbsError::Stored {
        what: "a tenant's name",
    })
}

impl Broker {
    /// Rotates one tenant's KEK. `progress` is called before each batch, and its error ends the run there.
    pub(crate) fn rotate(
        &self,
        tenant: &Name,
        progress: &mut dyn FnMut(RotationProgress) -> Result<(), KbsError>,
    ) -> Result<RotationReport, KbsError> {
        let (version, resumed) = self.begin_rotation(tenant)?;
        let total = self.db.read(|tx| older(tx, tenant, version))?;
        let mut moved = 0;
        loop {
            progress(RotationProgress {
                tenant: tenant.to_string(),
                moved,
                total: total.max(moved),
            })?;
            match self.move_batch(tenant, version)? {
                0 => break,
                batch => moved += batch,
            }
        }
        Ok(RotationReport {
            tenant: tenant.to_string(),
            kek_version: version,
            moved,
            resumed,
            destroyed: self.end_rotation(tenant, version)?,
        })
    }

    /// The version to move to, and whether an interrupted run had made it already.
    pub(crate) fn begin_rotation(&self, tenant: &Name) -> Result<(u64, bool), KbsError> {
        let (version, resumed, appended) = self.db.write(|tx| {
            let newest = newest_version(tx, tenant)?;
            let row = tx.query_one(
                "SELECT count(*), coalesce(max(kek_version), 0) FROM keks WHERE tenant = ?1 AND state = 'live'",
                &[tenant.as_str().into()],
            )?;
            match (row.unsigned(0)?, row.unsigned(1)?) {
                (0, _) => Err(KbsError::NoTenant { tenant: tenant.clone() }),
                (1, _) => {
                    self.vaults.make_kek(tx, tenant, newest + 1, now().0)?;
                    Ok((newest + 1, false, audit::head(tx)?))
                }
                (_, live) => Ok((live, true, None)),
            }
        })?;
        if let Some(head) = appended {
            self.advance_head(head)?;
        }
        Ok((version, resumed))
    }

    /// Moves at most [`BATCH`] secrets; how many there were.
    pub(crate) fn move_batch(&self, tenant: &Name, version: u64) -> Result<u64, KbsError> {
        let (moved, appended) = self.db.write(|tx| {
            let rows = tx.query(
                "SELECT key_id, key_version, policy, purpose, kek_version, sealed_dek FROM keys
                 WHERE tenant = ?1 AND kek_version < ?2 ORDER BY key_id, key_version LIMIT ?3",
                &[tenant.as_str().into(), (version as i64).into(), BATCH.into()],
            )?;
            if rows.is_empty() {
                return Ok::<_, KbsError>((0, None));
            }
            let new = self.vaults.sealing_kek(tx, tenant, now().0, rows.len() as u64)?;
            let mut old: Option<TenantKek> = None;
            for row in &rows {
                let id = KeyId::new(row.text(0)?).map_err(|_| KbsError::Stored { what: "a key id" })?;
                let key_version = row.unsigned(1)?;
                let sealed = SealedSecret {
                    kek_version: row.unsigned(4)?,
                    purpose: KeyPurpose::parse(row.text(3)?)?,
                    bytes: row.blob(5)?.to_vec(),
                };
                let place = Place {
                    key_id: &id,
                    key_version,
                    purpose: sealed.purpose,
                };
                let bytes = match sealed.bytes == shredded_secret(sealed.bytes.len()) {
                    true => sealed.bytes,
                    false => {
                        let policy = KeyPolicy::parse(row.text(2)?.as_bytes())
                            .map_err(|_| KbsError::Stored { what: "a key policy" })?;
                        let kek = match old.take() {
                            Some(kek) if kek.version() == sealed.kek_version => kek,
                            _ => self.vaults.kek(tx, tenant, sealed.kek_version)?,
                        };
                        let vault = vault_for(policy.appraisal.minimum_tier);
                        let secret = vault.open(&kek, place, &sealed.bytes)?;
                        old = Some(kek);
                        vault.seal(&new, place, &secret)?
                    }
                };
                let moved = SealedSecret {
                    kek_version: new.version(),
                    purpose: sealed.purpose,
                    bytes,
                };
                super::store(tx, (&id, key_version), &moved)?;
            }
            let line = kek_line("rewrap", tenant, version, now().0);
            Ok((rows.len() as u64, Some(audit::append(tx, line)?)))
        })?;
        self.recorded(appended)?;
        Ok(moved)
    }

    /// Destroys the older KEKs; refused while anything stands under them.
    pub(crate) fn end_rotation(&self, tenant: &Name, version: u64) -> Result<u64, KbsError> {
        let (destroyed, appended) = self.db.write(|tx| {
            if older(tx, tenant, version)? > 0 {
                return Err(KbsError::Stored {
                    what: "a secret under an older KEK (another process put it there; run the rotation again)",
                });
            }
            let destroyed = tx.execute(
                "UPDATE keks SET state = 'retired', wrapped = ?3 WHERE tenant = ?1 AND kek_version < ?2 AND state = 'live'",
                &[
                    tenant.as_str().into(),
                    (version as i64).into(),
                    TenantKek::shredded().as_slice().into(),
                ],
            )?;
            let line = kek_line("retire-kek", tenant, version, now().0);
            Ok((destroyed, Some(audit::append(tx, line)?)))
        })?;
        self.recorded(appended)?;
        Ok(destroyed)
    }

    fn recorded(&self, appended: Option<(Head, String)>) -> Result<(), KbsError> {
        match appended {
            Some((head, line)) => self.record(head, &line),
            None => Ok(()),
        }
    }
}

fn older(tx: &Tx<'_>, tenant: &Name, version: u64) -> Result<u64, StoreError> {
    let row = tx.query_one(
        "SELECT count(*) FROM keys WHERE tenant = ?1 AND kek_version < ?2",
        &[tenant.as_str().into(), (version as i64).into()],
    )?;
    row.unsigned(0)
}

//! Tenants' KEKs in the store, and secrets sealed under them.
//!
//! A KEK is made with the first secret of its tenant. What is sealed names the KEK version it stands under; the newest one
//! seals, older ones open until nothing stands under them any more ([`rotate`]). No key is kept in memory but the root.
//! A KEK is used as its row has it in the transaction that counts, so replicas see a rotation or a destruction at once; a
//! broker that decides keeps wrapped ones until the store's next change that it makes or sees (`decision/known.rs`).

mod rotate;
mod rotations;
mod shred;
mod told;

#[cfg(test)]
mod tests;

pub use rotate::{RotationProgress, RotationReport, rotate_keks};
pub(crate) use rotations::Rotations;
pub use shred::{ShredReport, Shredded, shred};
pub(crate) use shred::{destroy, extent};
pub(crate) use told::ToldKeks;

use hanzo_attestation::Digest384;
use hanzo_attestation::name::{KeyId, Name};
use hanzo_pqc::{Dek, PqcError};
use hanzo_store::{Row, StoreError, Tx};
use hanzo_vault::{
    KeyPolicy, KeyPurpose, Place, Root, RootPurpose, TenantKek, TierClass, VaultError, check_kek_seals, tenant_of,
    vault_for,
};
use zeroize::Zeroizing;

use crate::KbsError;
use crate::audit::{self, Line};

/// Who decided, when it was whoever holds the machine and not an admin key.
pub(crate) const OPERATOR: Digest384 = Digest384([0; 48]);

/// The root, and what is done with it.
pub(crate) struct Vaults {
    root: Root,
}

/// A sealed secret as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SealedSecret {
    /// The KEK that it stands under.
    pub(crate) kek_version: u64,
    /// What it is for.
    pub(crate) purpose: KeyPurpose,
    /// The envelope.
    pub(crate) bytes: Vec<u8>,
}

/// A row of `keks`.
struct KekRow {
    version: u64,
    seals: u64,
    wrapped: Vec<u8>,
}

impl KekRow {
    fn of(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            version: row.unsigned(0)?,
            seals: row.unsigned(1)?,
            wrapped: row.blob(2)?.to_vec(),
        })
    }
}

impl Vaults {
    pub(crate) fn new(root: Root) -> Self {
        Self { root }
    }

    /// The root's key for one purpose.
    pub(crate) fn derive(&self, purpose: RootPurpose) -> Result<Dek, PqcError> {
        self.root.derive(purpose)
    }

    /// The key under which the tenant's secrets are sealed now, made if there is none; it is counted as used `seals` times.
    pub(crate) fn sealing_kek(&self, tx: &Tx<'_>, tenant: &Name, time: u64, seals: u64) -> Result<TenantKek, KbsError> {
        let row = tx.query_opt(
            "SELECT kek_version, seals, wrapped FROM keks WHERE tenant = ?1 AND state = 'live' ORDER BY kek_version DESC LIMIT 1",
            &[tenant.as_str().into()],
        )?;
        let Some(row) = row.as_ref().map(KekRow::of).transpose()? else {
            let newest = newest_version(tx, tenant)?;
            let kek = self.make_kek(tx, tenant, newest + 1, time)?;
            count_seals(tx, tenant, kek.version(), seals)?;
            return Ok(kek);
        };
        let kek = TenantKek::unwrap(&self.root, tenant.clone(), row.version, &row.wrapped)?;
        check_kek_seals(&kek, row.seals.saturating_add(seals - 1))?;
        count_seals(tx, tenant, row.version, seals)?;
        Ok(kek)
    }

    /// A new version of a tenant's KEK, with its line.
    fn make_kek(&self, tx: &Tx<'_>, tenant: &Name, version: u64, time: u64) -> Result<TenantKek, KbsError> {
        let kek = TenantKek::generate(tenant.clone(), version)?;
        tx.execute(
            "INSERT INTO keks (tenant, kek_version, state, seals, wrapped) VALUES (?1, ?2, 'live', 0, ?3)",
            &[
                tenant.as_str().into(),
                (version as i64).into(),
                kek.wrap(&self.root)?.as_slice().into(),
            ],
        )?;
        audit::append(tx, kek_line("new-kek", tenant, version, time))?;
        Ok(kek)
    }

    /// One version of a tenant's KEK.
    fn kek(&self, tx: &Tx<'_>, tenant: &Name, version: u64) -> Result<TenantKek, KbsError> {
        let row = tx.query_opt(
            "SELECT kek_version, seals, wrapped FROM keks WHERE tenant = ?1 AND kek_version = ?2",
            &[tenant.as_str().into(), (version as i64).into()],
        )?;
        let row = row.as_ref().map(KekRow::of).transpose()?;
        let row = row.ok_or(KbsError::Stored { what: "a tenant's KEK" })?;
        Ok(TenantKek::unwrap(&self.root, tenant.clone(), version, &row.wrapped)?)
    }

    /// Seals a secret under the tenant's newest KEK, in the vault of its policy's minimum tier.
    pub(crate) fn seal(
        &self,
        tx: &Tx<'_>,
        (key_id, key_version): (&KeyId, u64),
        purpose: KeyPurpose,
        policy: &KeyPolicy,
        secret: &[u8],
        time: u64,
    ) -> Result<SealedSecret, KbsError> {
        let kek = self.sealing_kek(tx, &tenant_of(key_id), time, 1)?;
        let place = Place {
            key_id,
            key_version,
            purpose,
        };
        Ok(SealedSecret {
            kek_version: kek.version(),
            purpose,
            bytes: vault_for(policy.appraisal.minimum_tier).seal(&kek, place, secret)?,
        })
    }

    /// Opens a secret under the KEK that its row names.
    pub(crate) fn open(
        &self,
        tx: &Tx<'_>,
        (key_id, key_version): (&KeyId, u64),
        policy: &KeyPolicy,
        sealed: &SealedSecret,
    ) -> Result<Zeroizing<Vec<u8>>, KbsError> {
        let kek = self.kek(tx, &tenant_of(key_id), sealed.kek_version)?;
        open_with(&kek, (key_id, key_version), policy, sealed)
    }

    /// As [`Vaults::open`] under a wrapped KEK that was read together with the key's row.
    pub(crate) fn open_under(
        &self,
        wrapped_kek: &[u8],
        (key_id, key_version): (&KeyId, u64),
        policy: &KeyPolicy,
        sealed: &SealedSecret,
    ) -> Result<Zeroizing<Vec<u8>>, KbsError> {
        let kek = TenantKek::unwrap(&self.root, tenant_of(key_id), sealed.kek_version, wrapped_kek)?;
        open_with(&kek, (key_id, key_version), policy, sealed)
    }

    /// Moves one secret to the newest KEK if it stands under an older one (`then` = its policy until now), or to the vault
    /// of another policy.
    pub(crate) fn reseal(
        &self,
        tx: &Tx<'_>,
        (key_id, key_version): (&KeyId, u64),
        (before, after): (&KeyPolicy, &KeyPolicy),
        sealed: &SealedSecret,
        time: u64,
    ) -> Result<(), KbsError> {
        let class = |policy: &KeyPolicy| TierClass::of(policy.appraisal.minimum_tier);
        let newest = newest_version(tx, &tenant_of(key_id))?;
        if class(before) == class(after) && sealed.kek_version == newest {
            return Ok(());
        }
        let place = (key_id, key_version);
        let secret = self.open(tx, place, before, sealed)?;
        let moved = self.seal(tx, place, sealed.purpose, after, &secret, time)?;
        store(tx, place, &moved)
    }
}

fn open_with(
    kek: &TenantKek,
    (key_id, key_version): (&KeyId, u64),
    policy: &KeyPolicy,
    sealed: &SealedSecret,
) -> Result<Zeroizing<Vec<u8>>, KbsError> {
    let place = Place {
        key_id,
        key_version,
        purpose: sealed.purpose,
    };
    Ok(vault_for(policy.appraisal.minimum_tier).open(kek, place, &sealed.bytes)?)
}

/// Checks a policy against what its tier allows.
pub(crate) fn check_limits(policy: &KeyPolicy) -> Result<(), VaultError> {
    let tier = policy.appraisal.minimum_tier;
    vault_for(tier).limits(tier)?.check_max_uses(policy.max_uses)
}

/// Writes a sealed secret into its row.
fn store(tx: &Tx<'_>, (key_id, key_version): (&KeyId, u64), sealed: &SealedSecret) -> Result<(), KbsError> {
    tx.execute(
        "UPDATE keys SET sealed_dek = ?3, kek_version = ?4 WHERE key_id = ?1 AND key_version = ?2",
        &[
            key_id.to_string().into(),
            (key_version as i64).into(),
            sealed.bytes.as_slice().into(),
            (sealed.kek_version as i64).into(),
        ],
    )?;
    Ok(())
}

fn newest_version(tx: &Tx<'_>, tenant: &Name) -> Result<u64, StoreError> {
    let row = tx.query_one(
        "SELECT coalesce(max(kek_version), 0) FROM keks WHERE tenant = ?1",
        &[tenant.as_str().into()],
    )?;
    row.unsigned(0)
}

fn count_seals(tx: &Tx<'_>, tenant: &Name, version: u64, seals: u64) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE keks SET seals = seals + ?3 WHERE tenant = ?1 AND kek_version = ?2",
        &[tenant.as_str().into(), (version as i64).into(), (seals as i64).into()],
    )
    .map(drop)
}

/// A line about a tenant's KEK: `key_id` is the tenant's name alone, `key_version` the KEK's version.
fn kek_line(action: &str, tenant: &Name, version: u64, time: u64) -> Line {
    let mut line = Line::of(action, OPERATOR, time);
    line.key_id = tenant.to_string();
    line.key_version = version;
    line
}

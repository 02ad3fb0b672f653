//! What admins may look at.

use hanzo_attestation::name::KeyId;
use hanzo_store::Tx;

use super::answer::{AuditLines, KeyDetail, KeyEntry, KeyList, PendingList, PendingRequest, TenantDetail};
use super::roles::{Admin, Right};
use super::{Action, AdminRefusal, Admins, proposals, vaults};
use crate::KbsError;
use crate::broker::{Broker, KeyRow, newest};
use crate::tenant;

const LINES_MAX: i64 = 1000;
/// Most bytes of lines in one answer.
const LINES_BYTES_MAX: usize = 1 << 20;

pub(crate) fn keys(tx: &Tx<'_>, admins: &Admins, admin: &Admin) -> Result<KeyList, AdminRefusal> {
    let mut keys = Vec::new();
    for row in tx.query("SELECT DISTINCT key_id FROM keys ORDER BY key_id", &[])? {
        let key_id = KeyId::new(row.text(0)?).map_err(|_| KbsError::Stored { what: "a key id" })?;
        if admin.may(Right::ReadKeys, key_id.repository())
            && let Some(key) = newest(tx, &key_id)?
        {
            keys.push(entry(tx, key_id, &key)?);
        }
    }
    Ok(KeyList {
        four_eyes: admins.four_eyes,
        keys,
    })
}

pub(crate) fn policy(tx: &Tx<'_>, key_id: &KeyId) -> Result<KeyDetail, AdminRefusal> {
    let key = newest(tx, key_id)?.ok_or_else(|| AdminRefusal::UnknownKey { key_id: key_id.clone() })?;
    Ok(KeyDetail {
        key: entry(tx, key_id.clone(), &key)?,
        policy: key.policy,
        tenant: tenant::policy(tx, key_id.repository())?.map(|over| TenantDetail {
            reference: over.reference,
            rego: over.rego,
        }),
    })
}

fn entry(tx: &Tx<'_>, key_id: KeyId, key: &KeyRow) -> Result<KeyEntry, AdminRefusal> {
    let id = key_id.to_string();
    let uses = tx
        .query_one(
            "SELECT count(*) FROM grants WHERE key_id = ?1 AND key_version = ?2",
            &[(&id).into(), (key.version as i64).into()],
        )?
        .unsigned(0)?;
    Ok(KeyEntry {
        newest_image: newest_image(tx, &key_id)?.unwrap_or(0),
        key_id,
        key_version: key.version,
        minimum_tier: key.policy.appraisal.minimum_tier.number(),
        not_after: key.policy.not_after,
        policy_digest: key.policy.digest()?,
        revoked: key.revoked,
        uses,
        max_uses: key.policy.max_uses,
    })
}

/// The newest image version that any version of the key was granted to.
pub(crate) fn newest_image(tx: &Tx<'_>, key_id: &KeyId) -> Result<Option<u64>, hanzo_store::StoreError> {
    tx.query_opt(
        "SELECT newest FROM image_floors WHERE key_id = ?1",
        &[key_id.to_string().into()],
    )?
    .map(|row| row.unsigned(0))
    .transpose()
}

/// Remembers the image version of a grant.
pub(crate) fn raise_image(tx: &Tx<'_>, key_id: &KeyId, version: u64) -> Result<(), hanzo_store::StoreError> {
    let values = [key_id.to_string().into(), (version as i64).into()];
    let sql = "INSERT INTO image_floors (key_id, newest) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    tx.execute(sql, &values)?;
    let sql = "UPDATE image_floors SET newest = ?2 WHERE key_id = ?1 AND newest < ?2";
    tx.execute(sql, &values).map(drop)
}

pub(crate) fn pending(
    broker: &Broker,
    tx: &Tx<'_>,
    (admins, admin): (&Admins, &Admin),
    now: u64,
) -> Result<PendingList, AdminRefusal> {
    let mut list = Vec::new();
    for proposal in proposals::open(tx, now)? {
        let request = &proposal.request;
        let Some((tenant, key_id, key_version)) = request.action.subject() else {
            continue;
        };
        if !admin.may(Right::ReadKeys, tenant) {
            continue;
        }
        let before = key_id.map(|key_id| newest(tx, key_id)).transpose()?.flatten();
        let changes = match (request.action.policy(), &before) {
            (Some(policy), Some(key)) => policy
                .changes_from(&key.policy)
                .iter()
                .map(|d| format!("{}: {} -> {} ({})", d.path, d.from, d.to, d.direction.as_str()))
                .collect(),
            // A document's change has no direction: whoever approves reads the request.
            _ if matches!(request.action, Action::SetDocument { .. }) => Vec::new(),
            (Some(_), None) => Vec::new(),
            (None, _) => match vaults::look(broker, tx, &request.action) {
                Ok(extent) => vec![extent.text],
                Err(refusal) => vec![format!("cannot be done now: {refusal}")],
            },
        };
        let (_, text) = proposals::id_of(request)?;
        list.push(PendingRequest {
            admin: admins.get(&request.admin).map(|a| a.name.clone()),
            action: request.action.name().to_owned(),
            changes,
            expires_at: proposal.expires_at,
            id: proposal.id,
            key_id: key_id.cloned(),
            key_version,
            request: text,
            tenant: tenant.clone(),
        });
    }
    Ok(PendingList { proposals: list })
}

pub(crate) fn audit(tx: &Tx<'_>, after: u64) -> Result<AuditLines, AdminRefusal> {
    let sql = "SELECT line FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows = tx.query(sql, &[after.into(), (LINES_MAX + 1).into()])?;
    let (mut lines, mut bytes) = (Vec::new(), 0);
    for row in rows.iter().take(LINES_MAX as usize) {
        let line = row.text(0)?;
        bytes += line.len();
        if bytes > LINES_BYTES_MAX && !lines.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    Ok(AuditLines {
        more: rows.len() > lines.len(),
        lines,
    })
}

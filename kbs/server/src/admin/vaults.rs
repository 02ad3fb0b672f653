//! What changes tenants' keys as a whole, or what a guest's store is held to: rotation, destruction, a store's head.

use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::{Digest256, Digest384, Nonce};
use hanzo_kbs_protocol::heads::StoreHead;
use hanzo_store::Tx;

use super::answer::AdminReply;
use super::{Action, AdminRefusal};
use crate::audit::Line;
use crate::broker::Broker;
use crate::heads;
use crate::vault::{Shredded, destroy, extent};

/// What stands now of what the action is about: whoever approves it approves this.
pub(super) struct Extent {
    /// SHA-384 of it, for the proposal.
    pub(super) base: Digest384,
    /// For people.
    pub(super) text: String,
}

/// Looks at what the action is about.
///
/// # Errors
/// [`AdminRefusal`]: there is no such tenant, key or head, or its KEK is being rotated.
pub(super) fn look(broker: &Broker, tx: &Tx<'_>, action: &Action) -> Result<Extent, AdminRefusal> {
    let text = match action {
        Action::RotateKek { tenant } => {
            if broker.rotations.is_running(tenant) {
                return Err(AdminRefusal::Rotating { tenant: tenant.clone() });
            }
            let (version, secrets) = tenant_extent(tx, tenant)?;
            // New secrets do not change what a rotation is.
            let text = format!("KEK of {tenant}: version {version} -> {}", version + 1);
            let base = Digest384::of(text.as_bytes());
            return Ok(Extent {
                base,
                text: format!("{text}, {secrets} secrets are moved"),
            });
        }
        Action::ShredTenant { tenant } => {
            if broker.rotations.is_running(tenant) {
                return Err(AdminRefusal::Rotating { tenant: tenant.clone() });
            }
            let (version, secrets) = tenant_extent(tx, tenant)?;
            format!("DESTROYS {secrets} secrets of {tenant} and its KEKs up to version {version}")
        }
        Action::ShredKey { key_id, key_version } => {
            if !heads::has_version(tx, key_id, *key_version)? {
                return Err(AdminRefusal::UnknownKey { key_id: key_id.clone() });
            }
            format!("DESTROYS {key_id} version {key_version}")
        }
        Action::AcceptStoreHead { key_id, root, size } => {
            let stands = heads::told_of(tx, key_id)?;
            let stands = stands.ok_or_else(|| AdminRefusal::UnknownKey { key_id: key_id.clone() })?;
            format!("head of {key_id}: {stands} -> {size} {root}")
        }
        _ => return Err(AdminRefusal::Elsewhere),
    };
    Ok(Extent {
        base: Digest384::of(text.as_bytes()),
        text,
    })
}

fn tenant_extent(tx: &Tx<'_>, tenant: &Name) -> Result<(u64, u64), AdminRefusal> {
    let found = extent(tx, tenant)?;
    found.ok_or_else(|| AdminRefusal::NoTenant { tenant: tenant.clone() })
}

/// Carries it out, and gives the line that tells of it. `id` is the one request that leads to it now.
pub(super) fn carry_out(
    tx: &Tx<'_>,
    action: &Action,
    (by, id, now): (Digest384, Nonce, u64),
) -> Result<(AdminReply, Line), AdminRefusal> {
    let subject = action.subject().ok_or(AdminRefusal::Elsewhere)?;
    let mut reply = AdminReply::about(subject);
    let mut line = match action {
        Action::RotateKek { tenant } => {
            reply.rotation = Some(id);
            let mut line = Line::of(action.name(), by, now);
            line.key_id = tenant.to_string();
            line
        }
        Action::ShredTenant { tenant } => destroyed(tx, Shredded::Tenant(tenant.clone()), &mut reply)?,
        Action::ShredKey { key_id, key_version } => {
            destroyed(tx, Shredded::Key(key_id.clone(), *key_version), &mut reply)?
        }
        Action::AcceptStoreHead { key_id, root, size } => set_head(tx, key_id, (*size, *root), (by, now))?,
        _ => return Err(AdminRefusal::Elsewhere),
    };
    (line.party, line.time) = (by, now);
    Ok((reply, line))
}

fn destroyed(tx: &Tx<'_>, what: Shredded, reply: &mut AdminReply) -> Result<Line, AdminRefusal> {
    let (report, line) = destroy(tx, &what)?;
    reply.destroyed = Some(report);
    Ok(line)
}

fn set_head(
    tx: &Tx<'_>,
    store: &KeyId,
    (size, root): (u64, Digest256),
    (by, now): (Digest384, u64),
) -> Result<Line, AdminRefusal> {
    let about = heads::accept(tx, store, StoreHead { root, size }, (by, now))?;
    let about = about.ok_or_else(|| AdminRefusal::UnknownKey { key_id: store.clone() })?;
    let mut line = Line::of(heads::ACCEPTED, by, now);
    line.key_id = store.to_string();
    line.about = Some(about);
    Ok(line)
}

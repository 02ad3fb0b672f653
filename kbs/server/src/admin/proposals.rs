//! Requests that wait for a second admin.
//!
//! A proposal is the first admin's request as it was signed; its id is SHA-384 of that text, so whoever signs the id has
//! signed every byte of it. It counts against the very policy it was compared with, and until its end.

use hanzo_attestation::{Digest384, jcs};
use hanzo_store::Tx;

use super::{ADMIN_BYTES_MAX, AdminRefusal, AdminRequest};
use crate::KbsError;

/// How long a proposal waits, in seconds.
pub const PROPOSAL_LIFETIME_S: u64 = 24 * 3600;
/// Most proposals that wait at a time.
pub const PROPOSALS_MAX: u64 = 256;

/// A stored proposal.
pub(crate) struct Proposal {
    pub(crate) id: Digest384,
    pub(crate) request: AdminRequest,
    /// SHA-384 of the policy that the change was compared with.
    pub(crate) base: Digest384,
    pub(crate) expires_at: u64,
}

pub(crate) fn id_of(request: &AdminRequest) -> Result<(Digest384, String), AdminRefusal> {
    let text = jcs::to_vec("admin request", request)?;
    Ok((Digest384::of(&text), String::from_utf8_lossy(&text).into_owned()))
}

/// Stores a request that waits. Its nonce was taken, so it is new.
pub(crate) fn store(
    tx: &Tx<'_>,
    request: &AdminRequest,
    base: &Digest384,
    now: u64,
) -> Result<Digest384, AdminRefusal> {
    let open = tx
        .query_one(
            "SELECT count(*) FROM proposals WHERE approved = 0 AND expires_at >= ?1",
            &[(now as i64).into()],
        )?
        .unsigned(0)?;
    if open >= PROPOSALS_MAX {
        return Err(AdminRefusal::TooManyProposals { open });
    }
    let (id, text) = id_of(request)?;
    tx.execute(
        "INSERT INTO proposals (id, request, base, expires_at, approved) VALUES (?1, ?2, ?3, ?4, 0)",
        &[
            id.as_bytes().into(),
            text.into(),
            base.as_bytes().into(),
            (now.saturating_add(PROPOSAL_LIFETIME_S) as i64).into(),
        ],
    )?;
    Ok(id)
}

/// Takes a proposal that waits, for good.
pub(crate) fn take(tx: &Tx<'_>, id: &Digest384, now: u64) -> Result<Proposal, AdminRefusal> {
    let sql = "SELECT request, base, expires_at, approved FROM proposals WHERE id = ?1";
    let row = tx
        .query_opt(sql, &[id.as_bytes().into()])?
        .ok_or(AdminRefusal::NoProposal)?;
    if row.integer(3)? != 0 {
        return Err(AdminRefusal::ProposalDone);
    }
    let proposal = read(*id, row.text(0)?, Digest384(row.array(1)?), row.unsigned(2)?)?;
    if now > proposal.expires_at {
        return Err(AdminRefusal::ProposalExpired {
            expires_at: proposal.expires_at,
            now,
        });
    }
    tx.execute(
        "UPDATE proposals SET approved = 1 WHERE id = ?1",
        &[id.as_bytes().into()],
    )?;
    Ok(proposal)
}

/// Those that wait, oldest end first.
pub(crate) fn open(tx: &Tx<'_>, now: u64) -> Result<Vec<Proposal>, AdminRefusal> {
    let sql = "SELECT id, request, base, expires_at FROM proposals WHERE approved = 0 AND expires_at >= ?1 ORDER BY expires_at, id";
    let rows = tx.query(sql, &[(now as i64).into()])?;
    rows.iter()
        .map(|row| {
            read(
                Digest384(row.array(0)?),
                row.text(1)?,
                Digest384(row.array(2)?),
                row.unsigned(3)?,
            )
        })
        .collect()
}

/// The text must still be the one that the id names.
fn read(id: Digest384, text: &str, base: Digest384, expires_at: u64) -> Result<Proposal, AdminRefusal> {
    let broken = || KbsError::Stored { what: "a proposal" };
    if Digest384::of(text.as_bytes()) != id {
        return Err(broken().into());
    }
    let request = jcs::from_slice("admin request", text.as_bytes(), ADMIN_BYTES_MAX).map_err(|_| broken())?;
    Ok(Proposal {
        id,
        request,
        base,
        expires_at,
    })
}

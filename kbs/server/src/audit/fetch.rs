//! An export out of a running broker, by an auditor at a distance.

use std::net::SocketAddr;
use std::path::Path;

use hanzo_attestation::Digest384;
use hanzo_log::SignedCheckpoint;
use hanzo_log::audit::{AuditError, AuditVerifier, link};
use hanzo_pqc::sign::SigningKeys;

use super::Exported;
use super::export::Export;
use crate::KbsIdentity;
use crate::admin::{AdminError, audit_lines, log_head};

/// Writes the audit log of a running broker, up to its newest signed head, into `dir`, which must be empty or missing. What
/// comes is verified while it comes: a folder that was finished is one that `hanzo-verify log` accepts. `progress` is told how
/// many entries are written, and of how many.
///
/// # Errors
/// [`AdminError`]; [`AdminError::Audit`] names the first entry that is not what was signed.
pub async fn fetch_audit(
    address: SocketAddr,
    broker: &KbsIdentity,
    auditor: &SigningKeys,
    dir: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<Exported, AdminError> {
    let log = broker.log.verifier().map_err(AuditError::Head)?;
    let note = log_head(address).await?;
    let head = SignedCheckpoint::parse(note.as_bytes())
        .and_then(|signed| signed.verify(&log))
        .map_err(AuditError::Head)?;
    let size = head.size();
    let mut export = Export::begin(dir)?;
    let mut verifier = AuditVerifier::new(&log, None);
    let mut chain = Digest384([0; 48]);
    while verifier.entries() < size {
        let part = audit_lines(address, broker, auditor, verifier.entries()).await?;
        if part.lines.is_empty() {
            let entries = verifier.entries();
            return Err(AuditError::Truncated { entries, size }.into());
        }
        for line in part.lines {
            if verifier.entries() == size {
                break;
            }
            let completed = verifier.entry(line.as_bytes(), None)?;
            chain = link(&chain, line.as_bytes());
            export.entry(&line, &chain, &completed)?;
        }
        progress(verifier.entries(), size);
    }
    verifier.head(note.as_bytes())?;
    verifier.finish()?;
    export.finish(&note)?;
    Ok(Exported {
        entries: size,
        checkpoint: note,
    })
}

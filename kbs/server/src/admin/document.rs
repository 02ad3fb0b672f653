//! Changes of a tenant's documents: what is valid, what needs a second admin, and carrying it out.

use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::{Digest384, UnixTime};
use hanzo_store::Tx;

use super::AdminRefusal;
use crate::releases;
use crate::tenant::{self, Document};

/// A change that is valid now.
pub(crate) struct DocumentChange {
    tenant: Name,
    document: Document,
    version: u64,
    /// The version before; empty if there is none.
    before: String,
    text: String,
    /// Whether a module decides, or looks at these values, now.
    in_force: bool,
}

impl DocumentChange {
    /// Checks name, version and text.
    pub(crate) fn of(tx: &Tx<'_>, key_id: &KeyId, got: u64, text: &str, now: UnixTime) -> Result<Self, AdminRefusal> {
        let document = Document::named(key_id)?;
        let tenant = key_id.repository().clone();
        let before = tenant::newest(tx, &tenant, &document)?;
        let expected = before.as_ref().map_or(1, |stored| stored.version.saturating_add(1));
        if got != expected {
            return Err(AdminRefusal::Version {
                key_id: key_id.clone(),
                expected,
                got,
            });
        }
        document.check(text)?;
        if let Document::Release(line) = &document {
            releases::check(tx, &tenant, line, before.as_ref().map(|b| b.text.as_str()), text, now)?;
        }
        Ok(Self {
            in_force: tenant::newest(tx, &tenant, &Document::ResourcePolicy)?.is_some(),
            tenant,
            document,
            version: got,
            before: before.map(|stored| stored.text).unwrap_or_default(),
            text: text.to_owned(),
        })
    }

    /// What the change was compared with, if it may let through what was refused before. A first module only refuses, and
    /// values that no module looks at do nothing; which way any other change goes, nobody can tell.
    ///
    /// Of a release the quorum of release keys is more than a second admin: those keys the policies pin.
    pub(crate) fn widens(&self) -> Option<Digest384> {
        let by_admins = !matches!(self.document, Document::Release(_));
        (by_admins && self.in_force && self.text != self.before).then(|| self.base())
    }

    /// SHA-384 of the version before, of nothing if there is none.
    pub(crate) fn base(&self) -> Digest384 {
        Digest384::of(self.before.as_bytes())
    }

    /// Carries it out.
    pub(crate) fn carry_out(self, tx: &Tx<'_>) -> Result<(), AdminRefusal> {
        tenant::put(tx, &self.tenant, &self.document, self.version, &self.text)?;
        Ok(())
    }
}

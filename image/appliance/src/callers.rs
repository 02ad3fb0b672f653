//! Callers of a run: an API key for each, kept between runs, and the signed table that names them.

use std::path::{Path, PathBuf};

use hanzo_attestation::config::PinnedSigner;
use hanzo_attestation::name::Name;
use hanzo_client::connect::read_api_key;
use hanzo_pqc::sign::{SignatureSuite, SigningKeys};
use hanzo_verifier::callers::{ApiKey, Caller, Credential, Isolation, Models, Purpose, Role, Table};
use zeroize::Zeroizing;

use crate::error::ApplianceError;
use crate::paths::{Layout, private_dir};
use crate::plan;
use crate::platform::{now, write_private};

/// How long the table counts, in seconds: longer than a guest's boot lives.
const TABLE_S: u64 = 2 * 86_400;
/// Requests of a caller at a time.
const CONCURRENT: u32 = 16;
/// More than this machine computes: nobody is held up here.
const REQUESTS_PER_MIN: u64 = 1_000_000;
const TOKENS_PER_MIN: u64 = 1_000_000_000;

/// Who may ask, where callers are told apart. It holds no key.
#[derive(Debug, Clone)]
pub(crate) struct Callers {
    /// Each with the file of its API key, ascending.
    pub(crate) files: Vec<(Name, PathBuf)>,
    /// What the configuration pins: drawn for this run, and used once.
    pub(crate) signer: PinnedSigner,
    /// The signed table.
    pub(crate) table: Vec<u8>,
}

impl Callers {
    /// The file of `name`'s key.
    pub(crate) fn file(&self, name: &Name) -> Option<&Path> {
        let found = self.files.iter().find(|(known, _)| known == name);
        found.map(|(_, file)| file.as_path())
    }
}

/// Draws what keys are missing, and signs the table of `names`; `None` where there are none.
///
/// # Errors
/// [`ApplianceError`]; a key file that others can read, or that holds no key, is refused and never replaced.
pub(crate) fn make(names: &[Name], layout: &Layout) -> Result<Option<Callers>, ApplianceError> {
    if names.is_empty() {
        return Ok(None);
    }
    private_dir(&layout.callers())?;
    let (mut files, mut callers, now) = (Vec::new(), Vec::new(), now().0);
    for name in names {
        let file = layout.callers().join(format!("{name}.key"));
        let key = key(&file)?;
        callers.push(Caller {
            budget_tokens: None,
            concurrent_requests: CONCURRENT,
            credential: Credential::ApiKey(key.hash()),
            expires_at: now + TABLE_S,
            id: name.clone(),
            isolation: Isolation::Shared,
            models: Models::Any,
            requests_per_min: REQUESTS_PER_MIN,
            role: Role::User,
            tier_min: 0,
            tokens_per_min: TOKENS_PER_MIN,
        });
        files.push((name.clone(), file));
    }
    let table = Table {
        callers,
        issuers: Vec::new(),
        issued_at: now,
        not_after: now + TABLE_S,
        operator: plan::operator()?,
        purpose: Purpose::V1,
        version: 1,
    };
    let keys =
        SigningKeys::generate(SignatureSuite::MlDsa65Ed25519).map_err(|e| ApplianceError::Part(e.to_string()))?;
    let signed = table
        .sign(|domain, bytes| keys.sign(domain, bytes))
        .and_then(|signed| signed.to_bytes())
        .map_err(|e| ApplianceError::Part(e.to_string()))?;
    let public = keys.verifying_keys();
    Ok(Some(Callers {
        files,
        signer: PinnedSigner {
            suite: public.suite().name().to_owned(),
            ml_dsa: public.ml_dsa_hex(),
            ed25519: public.ed25519_hex(),
        },
        table: signed,
    }))
}

/// The key in `file`, drawn if there is no such file.
fn key(file: &Path) -> Result<ApiKey, ApplianceError> {
    if file.symlink_metadata().is_ok() {
        return read(file);
    }
    let key = ApiKey::draw(hanzo_pqc::random::fill).map_err(|e| ApplianceError::Part(e.to_string()))?;
    let text = Zeroizing::new([key.text().as_bytes(), b"\n"].concat());
    write_private(file, &text)?;
    Ok(key)
}

/// Reads a key that an earlier run or [`make`] left.
pub(crate) fn read(file: &Path) -> Result<ApiKey, ApplianceError> {
    read_api_key(file).map_err(|e| ApplianceError::Coded {
        text: format!("{e}; remove the file and a new key is drawn"),
        code: e.code(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use hanzo_attestation::UnixTime;
    use hanzo_verifier::callers::SignedTable;

    use super::*;

    #[test]
    fn keys_are_drawn_once_kept_and_named_by_a_table_that_counts() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout {
            state: dir.path().to_path_buf(),
        };
        assert!(make(&[], &layout).unwrap().is_none());
        let names = ["acme", "beta"].map(|name| Name::new(name).unwrap());
        let first = make(&names, &layout).unwrap().unwrap();
        let text = |name: &Name| fs::read(first.file(name).unwrap()).unwrap();
        let before = names.clone().map(|name| text(&name));
        assert_ne!(before[0], before[1]);
        let second = make(&names[..1], &layout).unwrap().unwrap();
        assert_eq!(second.files.len(), 1);
        assert_eq!(names.clone().map(|name| text(&name)), before);
        let verified = |table: &[u8], signer: &PinnedSigner| {
            let signed = SignedTable::parse(table).unwrap();
            signed.verify(signer, &plan::operator().unwrap(), UnixTime(now().0))
        };
        let table = verified(&first.table, &first.signer).unwrap();
        let hash = ApiKey::parse(before[0].trim_ascii_end()).unwrap().hash();
        assert_eq!(table.table().callers[0].credential, Credential::ApiKey(hash));
        assert!(verified(&first.table, &second.signer).is_err(), "another run's signer");

        // What others could read, or is no key, is refused and stays.
        let file = first.file(&names[0]).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(make(&names, &layout).is_err());
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(file, "hz_nonsense").unwrap();
        let refused = make(&names, &layout).unwrap_err();
        assert!(refused.to_string().contains("remove the file"), "{refused}");
        assert_eq!(fs::read(file).unwrap(), b"hz_nonsense");
    }
}

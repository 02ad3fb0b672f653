//! Key files of those who sign tables and of administrators, and tables.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hanzo_attestation::config::PinnedSigner;
use hanzo_attestation::jcs;
use hanzo_attestation::name::Name;
use hanzo_pqc::SignatureSuite;
use hanzo_pqc::sign::{SEED_LEN, SigningKeys};
use hanzo_verifier::callers::SignedTable;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::CliError;
use crate::{trust, write};

const KEY_BYTES_MAX: usize = 4096;

/// A secret key on the disk: canonical JSON of mode 0600.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    operator: Name,
    /// 64 bytes in lower-case hex: ML-DSA xi, then the Ed25519 seed.
    seed: String,
    #[serde(rename = "type")]
    kind: Kind,
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Signs tables of callers.
    #[serde(rename = "hanzo.callers-key.v1")]
    Callers,
    /// Signs orders.
    #[serde(rename = "hanzo.admin-key.v1")]
    Admin,
}

impl Kind {
    const fn what(self) -> &'static str {
        match self {
            Self::Callers => "a key of `hanzo-verify keys signer`",
            Self::Admin => "a key of `hanzo-verify order signer`",
        }
    }
}

/// Who signs tables, or orders.
pub(crate) struct Signer {
    pub(crate) keys: SigningKeys,
    pub(crate) operator: Name,
}

impl Signer {
    /// Draws one, and keeps it in a new file.
    pub(crate) fn draw(kind: Kind, operator: Name, path: &Path) -> Result<Self, CliError> {
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        hanzo_pqc::random::fill(seed.as_mut_slice()).map_err(CliError::Crypto)?;
        let file = KeyFile {
            operator: operator.clone(),
            seed: hex::encode(seed.as_slice()),
            kind,
        };
        write::secret(path, &Zeroizing::new(jcs::to_vec("key file", &file)?))?;
        Self::of(&seed, operator)
    }

    /// Reads one.
    pub(crate) fn load(kind: Kind, path: &Path) -> Result<Self, CliError> {
        let metadata = std::fs::metadata(path).map_err(|source| CliError::Io {
            action: "read",
            path: path.to_path_buf(),
            source,
        })?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(CliError::Exposed {
                path: path.to_path_buf(),
                mode,
            });
        }
        let bytes = Zeroizing::new(trust::read(path)?);
        // The parser's reason would quote the file.
        let wrong = || CliError::KeyFile {
            path: path.to_path_buf(),
            expected: kind.what(),
        };
        let file: KeyFile = jcs::from_slice(kind.what(), &bytes, KEY_BYTES_MAX).map_err(|_| wrong())?;
        if file.kind != kind {
            return Err(wrong());
        }
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        hex::decode_to_slice(&file.seed, seed.as_mut_slice()).map_err(|_| wrong())?;
        Self::of(&seed, file.operator.clone())
    }

    fn of(seed: &[u8; SEED_LEN], operator: Name) -> Result<Self, CliError> {
        let keys = SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, seed).map_err(CliError::Crypto)?;
        Ok(Self { keys, operator })
    }

    /// What configurations pin.
    pub(crate) fn pinned(&self) -> PinnedSigner {
        let public = self.keys.verifying_keys();
        PinnedSigner {
            suite: public.suite().name().to_owned(),
            ml_dsa: public.ml_dsa_hex(),
            ed25519: public.ed25519_hex(),
        }
    }
}

pub(crate) fn table(path: &Path) -> Result<SignedTable, CliError> {
    Ok(SignedTable::parse(&trust::read(path)?)?)
}

//! The `[root]` table of a broker's configuration.

use std::path::{Path, PathBuf};

use hanzo_attestation::name::Name;
use serde::{Deserialize, Serialize};

use crate::credential::Credential;
use crate::key_file::KeyFile;
use crate::passphrase_file::PassphraseFile;
use crate::pkcs11::Pkcs11Root;
use crate::shamir::Shamir;
use crate::tpm::TpmRoot;
use crate::{Cost, RootProvider, SecretSource, Surroundings};

/// Where the root is. `kind` is always written out; unknown members are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RootConfig {
    /// 32 raw bytes, mode 0600. Best on a medium that the store's disk does not hold.
    KeyFile {
        /// The file.
        path: PathBuf,
    },
    /// In a file, under a passphrase.
    PassphraseFile {
        /// The file.
        path: PathBuf,
        /// Where the passphrase comes from.
        passphrase: SecretSource,
        /// What one guess costs; used when the file is made.
        #[serde(default)]
        cost: Cost,
    },
    /// A systemd credential of 32 raw bytes.
    Credential {
        /// Its name.
        name: Name,
    },
    /// Under an AES-256 key that never leaves a PKCS #11 token.
    Pkcs11 {
        /// The token's module, an absolute path.
        module: PathBuf,
        /// Label of the token.
        token: String,
        /// Label of its AES key; made when the root is made, if there is none.
        key: String,
        /// Where the user PIN comes from.
        pin: SecretSource,
        /// The wrapped root.
        path: PathBuf,
    },
    /// Sealed by a TPM 2.0 to the state that its PCRs (bank SHA-256) describe.
    Tpm {
        /// The sealed root.
        path: PathBuf,
        /// How to reach the TPM, as tpm2-tools spell it: `device:/dev/tpmrm0`.
        tcti: String,
        /// The registers, 1 to 24 of them, ascending.
        pcrs: Vec<u8>,
    },
    /// Split among operators: any `threshold` of `shares` give it back.
    Shamir {
        /// The set file, which holds no secret.
        path: PathBuf,
        /// How many shares are needed.
        threshold: u8,
        /// All shares. A file that is not there when the broker starts is an operator who did not come.
        shares: Vec<Share>,
        /// What one guess at a share's passphrase costs; used when the shares are made.
        #[serde(default)]
        cost: Cost,
    },
}

/// One operator's share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The share file.
    pub path: PathBuf,
    /// Where its passphrase comes from; without one the file is bare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<SecretSource>,
}

impl RootConfig {
    /// Makes relative paths start at `base`.
    pub fn rebase(&mut self, base: &Path) {
        let rebase = |path: &mut PathBuf| *path = base.join(&*path);
        let source = |source: &mut SecretSource| {
            if let SecretSource::File(path) = source {
                rebase(path);
            }
        };
        match self {
            Self::KeyFile { path } | Self::Tpm { path, .. } => rebase(path),
            Self::PassphraseFile { path, passphrase, .. } => {
                rebase(path);
                source(passphrase);
            }
            Self::Credential { .. } => {}
            Self::Pkcs11 { path, pin, .. } => {
                rebase(path);
                source(pin);
            }
            Self::Shamir { path, shares, .. } => {
                rebase(path);
                for share in shares {
                    rebase(&mut share.path);
                    share.passphrase.iter_mut().for_each(source);
                }
            }
        }
    }

    /// The provider that this table names.
    pub fn provider(&self, surroundings: &Surroundings) -> Box<dyn RootProvider> {
        let surroundings = surroundings.clone();
        match self.clone() {
            Self::KeyFile { path } => Box::new(KeyFile { path }),
            Self::PassphraseFile { path, passphrase, cost } => Box::new(PassphraseFile {
                path,
                passphrase,
                cost,
                surroundings,
            }),
            Self::Credential { name } => Box::new(Credential { name, surroundings }),
            Self::Pkcs11 {
                module,
                token,
                key,
                pin,
                path,
            } => Box::new(Pkcs11Root {
                module,
                token,
                key,
                pin,
                path,
                surroundings,
            }),
            Self::Tpm { path, tcti, pcrs } => Box::new(TpmRoot { path, tcti, pcrs }),
            Self::Shamir {
                path,
                threshold,
                shares,
                cost,
            } => Box::new(Shamir {
                path,
                threshold,
                shares,
                cost,
                surroundings,
            }),
        }
    }

    /// Whether handing the root out asks somebody at the terminal.
    pub fn prompts(&self) -> bool {
        let asks = |source: &SecretSource| matches!(source, SecretSource::Prompt(_));
        match self {
            Self::PassphraseFile { passphrase, .. } => asks(passphrase),
            Self::Pkcs11 { pin, .. } => asks(pin),
            Self::Shamir { shares, .. } => shares.iter().any(|share| share.passphrase.as_ref().is_some_and(asks)),
            Self::KeyFile { .. } | Self::Credential { .. } | Self::Tpm { .. } => false,
        }
    }

    /// The kind, as it is spelt.
    pub fn kind(&self) -> &'static str {
        self.provider(&Surroundings::default()).kind()
    }
}

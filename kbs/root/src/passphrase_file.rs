//! The root in a file, under a passphrase.

use std::path::PathBuf;

use hanzo_vault::Root;
use serde::{Deserialize, Serialize};

use crate::document::{Document, committed};
use crate::passphrase::{Cost, Locked};
use crate::{RootError, RootProvider, SecretSource, Surroundings};

/// The root in a file, under a passphrase.
pub(crate) struct PassphraseFile {
    pub(crate) path: PathBuf,
    pub(crate) passphrase: SecretSource,
    pub(crate) cost: Cost,
    pub(crate) surroundings: Surroundings,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Blob {
    commitment: String,
    format: String,
    locked: Locked,
}

impl Document for Blob {
    const WHAT: &'static str = "root file";
    const FORMAT: &'static str = "hanzo.root-passphrase.v1";

    fn format(&self) -> &str {
        &self.format
    }
}

fn context(commitment: &str) -> Vec<u8> {
    [Blob::FORMAT, " ", commitment].concat().into_bytes()
}

impl RootProvider for PassphraseFile {
    fn kind(&self) -> &'static str {
        "passphrase-file"
    }

    fn load(&self) -> Result<Root, RootError> {
        let blob = Blob::read(&self.path)?;
        let passphrase = self.passphrase.read("root passphrase", &self.surroundings)?;
        let opened = blob
            .locked
            .unlock(&self.path, &passphrase, &context(&blob.commitment))?;
        committed(&self.path, &opened, &blob.commitment)
    }

    fn reachable(&self) -> Result<(), RootError> {
        Blob::read(&self.path).map(drop)
    }

    fn keep(&self, root: &Root) -> Result<(), RootError> {
        if self.path.exists() {
            return Err(RootError::Exists {
                path: self.path.clone(),
            });
        }
        let passphrase = self.passphrase.read_new("root passphrase", &self.surroundings)?;
        let commitment = hex::encode(root.commitment()?);
        let locked = Locked::lock(self.cost, &passphrase, &context(&commitment), root.expose())?;
        let opened = locked.unlock(&self.path, &passphrase, &context(&commitment))?;
        committed(&self.path, &opened, &commitment)?;
        let blob = Blob {
            commitment,
            format: Blob::FORMAT.into(),
            locked,
        };
        blob.write_new(&self.path)
    }
}

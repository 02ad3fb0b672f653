//! The root sealed by a TPM 2.0 to the state of the machine.
//!
//! # Layout
//! `{"commitment","format":"hanzo.root-tpm.v1","pcrs":[..],"private","public"}`: TPM2B_PRIVATE and TPM2B_PUBLIC (hex) of a
//! sealed object (fixedTPM, fixedParent, no dictionary-attack counter, policy alone) under the default ECC P-256 primary of
//! the owner hierarchy. Its policy is TPM2_PolicyPCR over the bank SHA-256.
//!
//! # Does not establish
//! Secrecy on the bus between processor and a discrete TPM: the root crosses it in the clear when it is unsealed.

mod tools;

use std::path::PathBuf;

use hanzo_vault::Root;
use serde::{Deserialize, Serialize};

use self::tools::Tools;
use crate::document::{Document, committed, some_bytes};
use crate::{RootError, RootProvider};

/// A sealed object of 32 bytes takes about 200.
const OBJECT_BYTES_MAX: usize = 1024;

pub(crate) struct TpmRoot {
    pub(crate) path: PathBuf,
    pub(crate) tcti: String,
    pub(crate) pcrs: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Blob {
    commitment: String,
    format: String,
    pcrs: Vec<u8>,
    private: String,
    public: String,
}

impl Document for Blob {
    const WHAT: &'static str = "root sealed by a TPM";
    const FORMAT: &'static str = "hanzo.root-tpm.v1";

    fn format(&self) -> &str {
        &self.format
    }
}

impl TpmRoot {
    /// The registers as tpm2-tools spell them.
    fn selection(&self) -> Result<String, RootError> {
        let ascending = self.pcrs.is_sorted_by(|a, b| a < b);
        if self.pcrs.is_empty() || !ascending || self.pcrs.iter().any(|pcr| *pcr > 23) {
            return Err(RootError::Range {
                what: "tpm".into(),
                field: "pcrs",
                expected: "1 to 24 registers out of 0 to 23, ascending",
                got: self.pcrs.len() as u64,
            });
        }
        let list: Vec<_> = self.pcrs.iter().map(u8::to_string).collect();
        Ok(format!("sha256:{}", list.join(",")))
    }
}

impl RootProvider for TpmRoot {
    fn kind(&self) -> &'static str {
        "tpm"
    }

    fn load(&self) -> Result<Root, RootError> {
        let selection = self.selection()?;
        let blob = Blob::read(&self.path)?;
        if blob.pcrs != self.pcrs {
            return Err(RootError::Range {
                what: self.path.display().to_string(),
                field: "pcrs",
                expected: "the registers of the configuration",
                got: blob.pcrs.len() as u64,
            });
        }
        let public = some_bytes(&self.path, "public", &blob.public, OBJECT_BYTES_MAX)?;
        let private = some_bytes(&self.path, "private", &blob.private, OBJECT_BYTES_MAX)?;
        let opened = Tools::new(&self.tcti)?.unseal(&selection, &public, &private)?;
        committed(&self.path, &opened, &blob.commitment)
    }

    fn reachable(&self) -> Result<(), RootError> {
        Blob::read(&self.path)?;
        Tools::new(&self.tcti)?.answers()
    }

    fn keep(&self, root: &Root) -> Result<(), RootError> {
        let selection = self.selection()?;
        if self.path.exists() {
            return Err(RootError::Exists {
                path: self.path.clone(),
            });
        }
        let tools = Tools::new(&self.tcti)?;
        let (public, private) = tools.seal(&selection, root.expose())?;
        let commitment = hex::encode(root.commitment()?);
        let opened = tools.unseal(&selection, &public, &private)?;
        committed(&self.path, &opened, &commitment)?;
        let blob = Blob {
            commitment,
            format: Blob::FORMAT.into(),
            pcrs: self.pcrs.clone(),
            private: hex::encode(private),
            public: hex::encode(public),
        };
        blob.write_new(&self.path)
    }
}

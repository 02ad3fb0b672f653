//! One operator's share.
//!
//! # Layout
//! `{"checksum","format":"hanzo.root-share.v1","index","locked","set","share","threshold","total"}`. Either `share` (64 hex
//! digits) or `locked` (under the operator's passphrase; AAD context = the checksum's preimage without the share) is
//! present, the other is null. `checksum` = SHA-256 of JCS of the document with an empty checksum: it finds damage, not
//! forgery; the set's commitment finds that.

use std::path::Path;

use hanzo_attestation::{Digest256, jcs};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::Set;
use crate::config::Share;
use crate::document::{Document, bytes};
use crate::passphrase::{Cost, Locked};
use crate::{RootError, Surroundings};

/// The share's value: one byte per byte of the root.
pub(super) type YBytes = Zeroizing<[u8; 32]>;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShareFile {
    checksum: String,
    format: String,
    pub(super) index: u8,
    locked: Option<Locked>,
    pub(super) set: String,
    share: Option<String>,
    pub(super) threshold: u8,
    pub(super) total: u8,
}

impl Document for ShareFile {
    const WHAT: &'static str = "share of the root";
    const FORMAT: &'static str = "hanzo.root-share.v1";

    fn format(&self) -> &str {
        &self.format
    }
}

impl Drop for ShareFile {
    fn drop(&mut self) {
        self.share.zeroize();
    }
}

impl ShareFile {
    pub(super) fn make(
        set: &Set,
        index: u8,
        y: &YBytes,
        place: &Share,
        cost: Cost,
        surroundings: &Surroundings,
    ) -> Result<Self, RootError> {
        let mut file = Self {
            checksum: String::new(),
            format: Self::FORMAT.into(),
            index,
            locked: None,
            set: set.set.clone(),
            share: None,
            threshold: set.threshold,
            total: set.total,
        };
        match &place.passphrase {
            Some(source) => {
                let passphrase = source.read_new(&asked(place), surroundings)?;
                file.locked = Some(Locked::lock(cost, &passphrase, &file.context(), y.as_slice())?);
            }
            None => file.share = Some(hex::encode(y.as_slice())),
        }
        file.checksum = file.digest()?;
        Ok(file)
    }

    pub(super) fn verify(&self, path: &Path) -> Result<(), RootError> {
        match self.digest()? == self.checksum {
            true => Ok(()),
            false => Err(RootError::ShareChecksum { path: path.to_owned() }),
        }
    }

    pub(super) fn open(&self, place: &Share, surroundings: &Surroundings) -> Result<YBytes, RootError> {
        let path = &place.path;
        let shape = |expected: &'static str, got: &str| RootError::Shape {
            what: Self::WHAT,
            path: path.clone(),
            expected,
            got: got.into(),
        };
        match (&self.share, &self.locked, &place.passphrase) {
            (Some(text), None, None) => Ok(Zeroizing::new(bytes(path, "share", text)?)),
            (None, Some(locked), Some(source)) => {
                let passphrase = source.read(&asked(place), surroundings)?;
                let opened = locked.unlock(path, &passphrase, &self.context())?;
                let mut y = Zeroizing::new([0; 32]);
                match opened.len() == y.len() {
                    true => y.copy_from_slice(&opened),
                    false => return Err(shape("32 bytes", "another length")),
                }
                Ok(y)
            }
            (Some(_), None, Some(_)) => Err(shape("a share under a passphrase, as configured", "a bare share")),
            (None, Some(_), None) => Err(shape(
                "a bare share (no passphrase is configured for it)",
                "a share under a passphrase",
            )),
            _ => Err(shape("either share or locked", "both or none")),
        }
    }

    fn context(&self) -> Vec<u8> {
        let (format, set) = (Self::FORMAT, &self.set);
        format!("{format} {set} {} {} {}", self.index, self.threshold, self.total).into_bytes()
    }

    fn digest(&self) -> Result<String, RootError> {
        #[derive(Serialize)]
        struct Checked<'a> {
            checksum: &'static str,
            format: &'a str,
            index: u8,
            locked: &'a Option<Locked>,
            set: &'a str,
            share: &'a Option<String>,
            threshold: u8,
            total: u8,
        }
        let text = Zeroizing::new(jcs::to_vec(
            Self::WHAT,
            &Checked {
                checksum: "",
                format: &self.format,
                index: self.index,
                locked: &self.locked,
                set: &self.set,
                share: &self.share,
                threshold: self.threshold,
                total: self.total,
            },
        )?);
        Ok(hex::encode(Digest256::of(&text).0))
    }
}

fn asked(place: &Share) -> String {
    format!("passphrase of share {}", place.path.display())
}

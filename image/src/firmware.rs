//! Firmware that a confidential guest starts with: built rarely, from source, and then known by its digest alone.
//!
//! Debian's packages have no firmware whose SNP launch digest covers kernel, initrd and command line. `image/firmware/build`
//! makes it from Debian's edk2 source; `image/firmware/pins.toml` says which bytes come out. A file with other bytes is not
//! launched and not measured here, wherever it is from.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use clap::ValueEnum;
use hanzo_attestation::Digest256;
use hanzo_measured_boot::firmware::{FIRMWARE_BYTES_MAX, Firmware};
use hanzo_measured_boot::snp::SnpLaunch;
use serde::{Deserialize, Serialize};

use crate::error::ImageError;

/// The committed pins (`image/firmware/pins.toml`).
pub const COMMITTED: &str = include_str!("../firmware/pins.toml");

/// Which processor protects the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tee {
    /// AMD SEV-SNP: edk2's AmdSevX64.
    Snp,
    /// Intel TDX: edk2's IntelTdxX64.
    Tdx,
}

impl fmt::Display for Tee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Snp => "snp",
            Self::Tdx => "tdx",
        })
    }
}

/// A file of Debian's source package.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// Its path in Debian's archive.
    pub pool: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Digest256,
}

/// What the build of one platform gives.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// edk2's description of it.
    pub description: String,
    /// Further arguments of edk2's `build`.
    pub definitions: Vec<String>,
    /// The firmware's path in the source tree.
    pub result: String,
    /// SHA-256 of the firmware.
    pub sha256: Digest256,
}

/// The pins.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// Format version: 1.
    pub version: u32,
    /// Where the source tree is mounted for the build: the length of this path shows in the result.
    pub directory: String,
    /// What the pinned bytes were built with.
    pub toolchain: String,
    /// The source.
    pub source: Vec<SourceFile>,
    /// The results.
    pub platform: BTreeMap<Tee, Platform>,
}

impl Pins {
    /// Reads and checks pins.
    ///
    /// # Errors
    /// [`ImageError::Inputs`].
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        let wrong = |what: &str, expected, got: String| ImageError::Inputs {
            what: format!("firmware pins: {what}"),
            expected,
            got,
        };
        let pins: Self =
            toml::from_str(text).map_err(|e| wrong("the file", "TOML as SPEC.md says", e.message().to_owned()))?;
        if pins.version != 1 {
            return Err(wrong("version", "1", pins.version.to_string()));
        }
        for tee in [Tee::Snp, Tee::Tdx] {
            if !pins.platform.contains_key(&tee) {
                return Err(wrong("platform", "the tables snp and tdx", format!("none for {tee}")));
            }
        }
        Ok(pins)
    }

    /// A firmware file with the pinned bytes, and tables that fit its purpose.
    ///
    /// # Establishes
    /// The file is the pinned one; on SNP, its launch digest covers the hashes of kernel, initrd and command line; on TDX,
    /// its sections can be measured.
    ///
    /// # Errors
    /// [`ImageError::FirmwarePin`], [`ImageError::TooLarge`], [`ImageError::Io`]; [`ImageError::Measured`] for firmware
    /// that was pinned by mistake: without the metadata, or with a section outside of the file.
    pub fn read(&self, tee: Tee, path: &Path) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(ImageError::io(path))?;
        file.take(FIRMWARE_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(ImageError::io(path))?;
        if bytes.len() > FIRMWARE_BYTES_MAX {
            return Err(ImageError::TooLarge {
                path: path.to_owned(),
                got: bytes.len() as u64,
                bytes_max: FIRMWARE_BYTES_MAX as u64,
            });
        }
        let got = Digest256::of(&bytes);
        let expected = self.platform.get(&tee).map(|platform| platform.sha256);
        if expected != Some(got) {
            return Err(ImageError::FirmwarePin {
                path: path.to_owned(),
                tee,
                expected: expected.map(|digest| digest.to_string()).unwrap_or_default(),
                got,
            });
        }
        check(tee, path, &bytes)?;
        Ok(bytes)
    }
}

/// Tables that a launch needs, whoever built the file.
fn check(tee: Tee, path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let failed = |code, text: String, help| ImageError::Measured {
        path: path.to_owned(),
        code,
        text,
        help,
    };
    let firmware = Firmware::parse(bytes).map_err(|e| failed(e.code(), e.to_string(), e.help()))?;
    match tee {
        Tee::Snp => {
            let checks = SnpLaunch::new(&firmware).and_then(|launch| launch.checks_kernels());
            checks.map_err(|e| failed(e.code(), e.to_string(), e.help()))
        }
        Tee::Tdx => {
            let sections = firmware.tdvf_sections();
            sections
                .map(drop)
                .map_err(|e| failed(e.code(), e.to_string(), e.help()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_pins_are_whole() {
        let pins = Pins::parse(COMMITTED).unwrap();
        assert_eq!(pins.source.len(), 2);
        assert!(pins.directory.starts_with("/mnt/"));
        let other = COMMITTED.replacen("version = 1", "version = 2", 1);
        let error = Pins::parse(&other).unwrap_err();
        assert_eq!(error.code(), "image.inputs");
        assert!(error.to_string().contains("version: expected 1, got 2"), "{error}");
        let unknown = COMMITTED.replacen("toolchain", "tools", 1);
        assert_eq!(Pins::parse(&unknown).unwrap_err().code(), "image.inputs");
        let (without, _) = COMMITTED.split_once("[platform.tdx]").unwrap();
        let error = Pins::parse(without).unwrap_err();
        assert!(error.to_string().contains("none for tdx"), "{error}");
    }
}

//! From images, predictions and a bill of materials to a manifest that nobody has signed yet.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_measured_boot::event::{Input, Platform};
use hanzo_measured_boot::prediction::{Prediction, Shape};
use hanzo_policy::release::{
    MANIFEST_TYPE, ReferenceMatrix, ReleaseKeys, ReleaseManifest, ReleasedFile, ReleasedImage,
};
use serde::Deserialize;

use super::{ReleaseToolError, read};
use crate::ImageError;
use crate::manifest::{self, Manifest};
use crate::predict;

const TEXT_BYTES_MAX: u64 = 512 * 1024;
const COMMAND_LINE: &str = "cmdline";
/// PCRs that can stand in a reference value and that a boot of ours extends.
const PCRS: std::ops::RangeInclusive<u32> = 0..=15;

/// What a release is made of.
#[derive(Debug)]
pub struct Draft {
    /// The line.
    pub name: Name,
    /// Its version.
    pub version: u64,
    /// The lowest version that it may follow on.
    pub minimum_previous_version: u64,
    /// First and last second.
    pub life: (u64, u64),
    /// Images by name.
    pub images: Vec<(Name, PathBuf)>,
    /// Predictions (PCRs) by the name of their reference value; each of one of the images.
    pub predictions: Vec<(Name, PathBuf)>,
    /// Reference values from elsewhere: launch digests, registers.
    pub references: ReferenceMatrix,
    /// The bill of materials.
    pub sbom: PathBuf,
    /// All that an image may be able to do.
    pub capabilities: Vec<Name>,
    /// Who signs from then on, if others.
    pub next_keys: Option<ReleaseKeys>,
}

impl Draft {
    /// Reads all files and puts the manifest together. Each file of an image must be the one that its own manifest names.
    ///
    /// # Errors
    /// [`ImageError`]; [`hanzo_policy::release::ReleaseError::Value`] for a manifest that nobody would accept.
    pub fn manifest(self) -> Result<ReleaseManifest, ImageError> {
        let mut images = Vec::new();
        let mut command_lines = BTreeMap::new();
        for (name, dir) in &self.images {
            images.push(image(name, dir)?);
            let path = dir.join(COMMAND_LINE);
            let bytes = read(&path, TEXT_BYTES_MAX)?;
            command_lines.insert(Digest256::of(&bytes), String::from_utf8_lossy(&bytes).into_owned());
        }
        let (mut references, mut shapes) = (self.references, BTreeMap::new());
        for (name, path) in &self.predictions {
            let prediction = predict::read(path)?;
            let line = prediction.input(Input::CommandLine).map(|input| input.sha256);
            let line = line.and_then(|digest| command_lines.get(&digest));
            let line = line.ok_or_else(|| ReleaseToolError::File {
                path: path.clone(),
                expected: "a prediction for one of the images (--image)",
                got: "another command line".into(),
            })?;
            add(&mut references, name, &prediction, line, path)?;
            shapes.insert(name.clone(), words(prediction.shape())?);
        }
        let mut capabilities = self.capabilities;
        capabilities.sort();
        capabilities.dedup();
        let manifest = ReleaseManifest {
            capabilities,
            images,
            issued_at: self.life.0,
            minimum_previous_version: self.minimum_previous_version,
            name: self.name,
            next_keys: self.next_keys,
            not_after: self.life.1,
            references,
            sbom_sha384: Digest384::of(&read(&self.sbom, 64 << 20)?),
            shapes,
            kind: MANIFEST_TYPE.to_owned(),
            version: self.version,
        };
        manifest.check().map_err(ReleaseToolError::from)?;
        Ok(manifest)
    }
}

/// The image's outputs, each compared with the file that is there.
fn image(name: &Name, dir: &Path) -> Result<ReleasedImage, ImageError> {
    let claimed = Manifest::read(dir)?;
    let mut files = BTreeMap::new();
    for (file, measured) in &claimed.outputs {
        let path = dir.join(file);
        // The archive before compression is measured, and not kept.
        if path.exists() {
            let bytes = read(&path, 1 << 32)?;
            if manifest::Measured::of(&bytes) != *measured {
                return Err(ImageError::Different {
                    file: path.display().to_string(),
                    how: format!("not the file that {} names", manifest::FILE),
                });
            }
        }
        files.insert(
            word(file)?,
            ReleasedFile {
                bytes: measured.bytes,
                sha256: measured.sha256,
                sha384: measured.sha384,
            },
        );
    }
    Ok(ReleasedImage {
        files,
        manifest_sha384: Digest384::of(&read(&dir.join(manifest::FILE), TEXT_BYTES_MAX)?),
        name: name.clone(),
    })
}

fn add(
    references: &mut ReferenceMatrix,
    name: &Name,
    prediction: &Prediction,
    command_line: &str,
    path: &Path,
) -> Result<(), ImageError> {
    if prediction.platform() != Platform::Tpm {
        return Err(ReleaseToolError::File {
            path: path.to_owned(),
            expected: "a prediction of PCRs; registers of TDX go into --references with their MRTD",
            got: "one for TDX".into(),
        }
        .into());
    }
    let predicted = prediction.registers().iter().map(|r| r.register);
    let pcrs = predicted
        .filter(|r| PCRS.contains(r))
        .filter_map(|r| u8::try_from(r).ok());
    let reference = prediction
        .tpm_reference(name.clone(), command_line, pcrs)
        .map_err(|e| ImageError::Prediction { what: e.to_string() })?;
    references.tpm.push(reference);
    Ok(())
}

/// The machine, in words.
fn words(shape: &Shape) -> Result<BTreeMap<Name, Name>, ImageError> {
    let mut out = BTreeMap::new();
    for (what, value) in [
        ("cpu_model", shape.cpu_model.to_string()),
        ("machine", shape.machine.to_string()),
        ("memory_bytes", shape.memory_bytes.to_string()),
        ("qemu", shape.qemu.to_string()),
        ("vcpus", shape.vcpus.to_string()),
    ] {
        out.insert(word(what)?, word(&value)?);
    }
    Ok(out)
}

fn word(text: &str) -> Result<Name, ImageError> {
    let wrong = |e: hanzo_attestation::name::NameError| ReleaseToolError::Usage {
        option: "name",
        expected: "1 to 64 characters out of a-z 0-9 . _ -",
        got: format!("{text:?} ({e})"),
    };
    Ok(Name::new(text).map_err(wrong)?)
}

/// Reads reference values: TOML with tables `[[snp]]`, `[[tdx]]` and `[[tpm]]` as a policy has them.
///
/// # Errors
/// [`ReleaseToolError::File`].
pub fn references(path: &Path) -> Result<ReferenceMatrix, ImageError> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct File {
        snp: Vec<hanzo_policy::SnpReference>,
        tdx: Vec<hanzo_policy::TdxReference>,
        tpm: Vec<hanzo_policy::TpmReference>,
    }
    let bytes = read(path, TEXT_BYTES_MAX)?;
    let file: File = toml::from_slice(&bytes).map_err(|e| ReleaseToolError::File {
        path: path.to_owned(),
        expected: "tables [[snp]], [[tdx]], [[tpm]] of reference values",
        got: e.message().to_owned(),
    })?;
    Ok(ReferenceMatrix {
        snp: file.snp,
        tdx: file.tdx,
        tpm: file.tpm,
    })
}

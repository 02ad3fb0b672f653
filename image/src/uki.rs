//! An image as one unified kernel image: what firmware starts from a disk, and what Secure Boot can sign.
//!
//! Kernel, archive and command line become sections of a PE file behind systemd's stub (pinned, from Debian's
//! `systemd-boot-efi`). The bytes are those that `ukify` makes of the same parts.
//!
//! # Spec
//! UAPI.5 Unified Kernel Image; PE Format (Microsoft); systemd 257, `src/ukify/ukify.py`, `pe_add_sections`, `merge_sbat`.

mod write;

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hanzo_attestation::config::Config;
use hanzo_measured_boot::Digests;
use hanzo_measured_boot::pe::{Padding, Pe};
use hanzo_measured_boot::uki::{Handover, Uki};

use self::write::Editor;
use crate::assemble::{INITRD, KERNEL, Progress};
use crate::deb;
use crate::error::ImageError;
use crate::fetch::{Source, package};
use crate::inputs::{Inputs, Package};
use crate::manifest::{self, Manifest};
use crate::run::intact;

/// The stub in its package.
const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";
/// Revocation lists of boot loaders know unified images by this line.
const SBAT_HEADER: &str = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md";
const SBAT_UKI: &str = "uki,1,UKI,uki,1,https://uapi-group.org/specifications/specs/unified_kernel_image/";
/// Most bytes of a kernel's release that are looked at.
const RELEASE_BYTES_MAX: usize = 128;

/// What a unified image holds beside the stub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The kernel.
    pub kernel: Vec<u8>,
    /// The compressed archive.
    pub initrd: Vec<u8>,
    /// The command line.
    pub command_line: String,
    /// The text of os-release.
    pub os_release: String,
    /// The kernel's release.
    pub uname: String,
}

/// What firmware, stub and kernel measure of a unified image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Authenticode hash of the whole image: PCR 4, and what a signature covers.
    pub image: Digests,
    /// Authenticode hash of the kernel in it, which the stub starts through the firmware: PCR 4 again.
    pub kernel: Digests,
    /// PCR 11: its sections.
    pub pcr11: Digests,
    /// PCR 9: command line and initrd, as the stub hands them to the kernel.
    pub pcr9: Digests,
}

impl Contents {
    /// Of an image made by [`crate::build()`], every file as its manifest says.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn of(image: &Path) -> Result<Self, ImageError> {
        let manifest = Manifest::read(image)?;
        intact(image, &manifest)?;
        let read = |name: &str| {
            let path = image.join(name);
            fs::read(&path).map_err(ImageError::io(&path))
        };
        let kernel = read(KERNEL)?;
        let version = Config::parse(manifest.recipe.config.as_bytes())?.image;
        let profile = manifest.recipe.profile;
        Ok(Self {
            uname: release(&image.join(KERNEL), &kernel)?,
            kernel,
            initrd: read(INITRD)?,
            command_line: manifest.recipe()?.command_line()?,
            os_release: format!(
                "ID=hanzo\nNAME=\"Hanzo enclave\"\nPRETTY_NAME=\"Hanzo enclave {version} ({profile})\"\nVERSION_ID={version}\n"
            ),
        })
    }

    /// The unified image. A function of its arguments: nothing else is read.
    ///
    /// # Errors
    /// [`ImageError::Malformed`] for a stub or kernel that is no PE file, or has no room for the sections.
    pub fn write(&self, stub: &[u8]) -> Result<Vec<u8>, ImageError> {
        let sbat = [sbat("stub", stub)?, sbat("kernel", &self.kernel)?].concat();
        let lines: Vec<_> = [SBAT_HEADER]
            .into_iter()
            .chain(sbat.iter().map(String::as_str))
            .chain([SBAT_UKI])
            .collect();
        let mut editor = Editor::new(stub)?;
        editor.append(".osrel", self.os_release.as_bytes())?;
        editor.append(".cmdline", self.command_line.as_bytes())?;
        editor.append(".uname", self.uname.as_bytes())?;
        editor.append_kernel(&self.kernel)?;
        editor.append(".initrd", &self.initrd)?;
        editor.replace(".sbat", format!("{}\n\0", lines.join("\n")).as_bytes())?;
        editor.finish()
    }
}

/// A unified image that was written.
#[derive(Debug)]
pub struct Made {
    /// Where.
    pub path: PathBuf,
    /// Size and digests of the file.
    pub file: manifest::Measured,
    /// What a boot of it measures.
    pub measured: Measured,
}

impl Made {
    /// For programs.
    pub fn to_json(&self) -> serde_json::Value {
        let pair = |d: &Digests| serde_json::json!({"sha256": d.sha256, "sha384": d.sha384});
        serde_json::json!({
            "file": self.file,
            "image": pair(&self.measured.image),
            "kernel": pair(&self.measured.kernel),
            "path": self.path,
            "pcr11": pair(&self.measured.pcr11),
            "pcr9": pair(&self.measured.pcr9),
        })
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measured {
            image,
            kernel,
            pcr11,
            pcr9,
        } = &self.measured;
        writeln!(
            f,
            "{}: {} bytes  sha256 {}",
            self.path.display(),
            self.file.bytes,
            self.file.sha256
        )?;
        writeln!(f, "  Authenticode  sha256 {}  (PCR 4)", image.sha256)?;
        writeln!(f, "  its kernel    sha256 {}  (PCR 4)", kernel.sha256)?;
        writeln!(f, "  PCR 9         sha256 {}", pcr9.sha256)?;
        writeln!(f, "  PCR 11        sha256 {}", pcr11.sha256)
    }
}

/// Makes the unified image of an image and writes it, whole or not at all.
///
/// # Errors
/// [`ImageError::Exists`], and what [`Contents::of`], [`stub`], [`Contents::write`] and [`measured`] say.
pub fn make(
    image: &Path,
    output: &Path,
    inputs: &Inputs,
    source: &Source,
    progress: Progress<'_>,
) -> Result<Made, ImageError> {
    if output.symlink_metadata().is_ok() {
        return Err(ImageError::Exists {
            path: output.to_owned(),
        });
    }
    progress("reading the image");
    let contents = Contents::of(image)?;
    progress(&format!("package {} {}", inputs.stub.package, inputs.stub.release));
    let file = contents.write(&stub(source, &inputs.stub)?)?;
    let measured = measured(&file)?;
    progress("writing");
    let parent = match output.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let failed = ImageError::io(output);
    let mut making = tempfile::NamedTempFile::new_in(parent).map_err(ImageError::io(parent))?;
    making.write_all(&file).map_err(&failed)?;
    making.as_file().sync_all().map_err(&failed)?;
    // Whatever the umask.
    let mode = fs::Permissions::from_mode(0o644);
    making.as_file().set_permissions(mode).map_err(&failed)?;
    making.persist_noclobber(output).map_err(|e| failed(e.error))?;
    Ok(Made {
        path: output.to_owned(),
        file: manifest::Measured::of(&file),
        measured,
    })
}

/// The stub, out of its pinned package.
///
/// # Errors
/// [`ImageError`]: another file under the pinned name, or no stub in it.
pub fn stub(source: &Source, pinned: &Package) -> Result<Vec<u8>, ImageError> {
    let bytes = package(source, pinned)?;
    let mut files = deb::files(pinned.file_name(), &bytes, |path| path == STUB)?;
    files.remove(STUB).ok_or_else(|| ImageError::NotInPackage {
        package: pinned.file_name().to_owned(),
        wanted: STUB.to_owned(),
    })
}

/// What a boot of a unified image measures of it. Firmware registers of the machine are not among it: a boot from a disk
/// has boot options of its own.
///
/// # Errors
/// [`ImageError::Prediction`] with the reason of the measured-boot crate.
pub fn measured(file: &[u8]) -> Result<Measured, ImageError> {
    let refused = |text: String| ImageError::Prediction { what: text };
    let uki = Uki::parse(file).map_err(|e| refused(e.to_string()))?;
    let kernel = Pe::parse(uki.section(".linux").unwrap_or_default()).map_err(|e| refused(e.to_string()))?;
    let Handover { load_options, initrd } = uki.handover().map_err(|e| refused(e.to_string()))?;
    let sections = uki.measured();
    let names_and_data = sections.iter().flat_map(|s| [s.name_digests, s.data_digests]);
    Ok(Measured {
        image: uki.pe().authenticode(Padding::AsMeasured),
        kernel: kernel.authenticode(Padding::AsMeasured),
        pcr11: extended(names_and_data),
        pcr9: extended([load_options].into_iter().chain(initrd)),
    })
}

/// A register that begins with zeros and takes these.
fn extended(digests: impl Iterator<Item = Digests>) -> Digests {
    let zero = Digests {
        sha256: hanzo_attestation::Digest256([0; 32]),
        sha384: hanzo_attestation::Digest384([0; 48]),
    };
    digests.fold(zero, |register, digest| Digests {
        sha256: hanzo_measured_boot::sha256(&[&register.sha256.0, &digest.sha256.0]),
        sha384: hanzo_measured_boot::sha384(&[&register.sha384.0, &digest.sha384.0]),
    })
}

/// The lines of a PE file's `.sbat` behind the first, which names the format.
fn sbat(what: &str, file: &[u8]) -> Result<Vec<String>, ImageError> {
    let malformed = |expected, got: String| ImageError::Malformed {
        file: what.to_owned(),
        offset: 0,
        expected,
        got,
    };
    let pe = Pe::parse(file).map_err(|e| malformed("a PE image", e.to_string()))?;
    let mut lines = Vec::new();
    for section in pe.sections().iter().filter(|section| section.name == b".sbat") {
        let end = section.raw.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        let text = section.raw.get(..end).and_then(|raw| std::str::from_utf8(raw).ok());
        let text = text.filter(|text| text.starts_with("sbat,"));
        let text = text.ok_or_else(|| malformed("a section .sbat that begins with sbat,", "another".into()))?;
        lines.extend(text.lines().skip(1).map(str::to_owned));
    }
    Ok(lines)
}

/// A bzImage's release: the first word of the text whose place, less 0x200, stands at 0x20E.
fn release(path: &Path, kernel: &[u8]) -> Result<String, ImageError> {
    let place = kernel.get(0x20e..0x210).and_then(|bytes| bytes.first_chunk());
    let start = place.map(|bytes| usize::from(u16::from_le_bytes(*bytes)) + 0x200);
    let text = start.and_then(|at| kernel.get(at..)).unwrap_or_default();
    let word = text.iter().take(RELEASE_BYTES_MAX).take_while(|b| b.is_ascii_graphic());
    let release: String = word.map(|b| char::from(*b)).collect();
    if release.is_empty() || release.len() == RELEASE_BYTES_MAX {
        return Err(ImageError::Malformed {
            file: path.display().to_string(),
            offset: 0x20e,
            expected: "the place of a bzImage's release",
            got: "none".into(),
        });
    }
    Ok(release)
}

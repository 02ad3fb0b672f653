//! The guest's own kernel: Debian's source with nothing built in that the guest does not need (`image/kernel`).
//!
//! It is built rarely, by `image/kernel/build`, and kept beside the packages under its pinned name. It has no modules, and
//! the one AML it interprets is its own. An image gets it wherever its file is at hand; anybody can make one with Debian's.

use clap::ValueEnum;
use hanzo_attestation::Digest256;
use serde::{Deserialize, Serialize};

use crate::error::ImageError;
use crate::fetch::{Source, kept_files};
use crate::inputs::Package;

/// The committed pins (`image/kernel/pins.toml`).
pub const COMMITTED: &str = include_str!("../kernel/pins.toml");
/// Largest kernel accepted, in bytes.
pub const KERNEL_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A kernel that was built from source, by its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnKernel {
    /// The file's name in a directory of packages.
    pub file: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the file. Nothing else makes it the right one.
    pub sha256: Digest256,
    /// What it was built with: other versions may give other bytes.
    pub tools: String,
}

/// What is pinned: the source, and the kernel that it gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// Format version: 1.
    pub version: u32,
    /// Debian's source package.
    pub source: Package,
    /// What `image/kernel/build` makes of it.
    pub kernel: OwnKernel,
}

impl Pins {
    /// Reads and checks pins.
    ///
    /// # Errors
    /// [`ImageError::Inputs`].
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        let wrong = |what: &str, expected, got: String| ImageError::Inputs {
            what: format!("kernel pins: {what}"),
            expected,
            got,
        };
        let pins: Self =
            toml::from_str(text).map_err(|e| wrong("the file", "TOML as SPEC.md says", e.message().to_owned()))?;
        if pins.version != 1 {
            return Err(wrong("version", "1", pins.version.to_string()));
        }
        pins.source.check("kernel pins: source")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let file = &pins.kernel.file;
        if !file.bytes().all(plain) || file.starts_with(['-', '.']) || !file.ends_with(".bzImage") {
            return Err(wrong("kernel.file", "NAME.bzImage", format!("{file:?}")));
        }
        if pins.kernel.bytes == 0 || pins.kernel.bytes > KERNEL_BYTES_MAX {
            return Err(wrong("kernel.bytes", "1 to 67108864", pins.kernel.bytes.to_string()));
        }
        Ok(pins)
    }
}

/// Which kernel an image gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// Our own, whose file lies beside the packages. It runs no ACPI code of the host's.
    Own,
    /// Debian's, with modules out of its package.
    Debian,
}

/// The pinned kernel of our own if that is what was chosen or, without a choice, what lies in `source`; `None` is Debian's.
/// A file under the pinned name with other bytes is no reason to take another kernel: it is refused when it is read.
///
/// # Errors
/// [`ImageError::Inputs`] of the committed pins.
pub fn choose(choice: Option<Choice>, source: &Source) -> Result<Option<OwnKernel>, ImageError> {
    let pinned = Pins::parse(COMMITTED)?.kernel;
    let own = match choice {
        Some(choice) => choice == Choice::Own,
        None => kept_files(source).join(&pinned.file).exists(),
    };
    Ok(own.then_some(pinned))
}

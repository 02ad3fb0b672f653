//! The pinned inputs: which Debian packages, by version and SHA-256.

use hanzo_attestation::Digest256;
use serde::{Deserialize, Serialize};

use crate::error::ImageError;
use crate::kernel::OwnKernel;

/// The committed list (`image/inputs.toml`).
pub const COMMITTED: &str = include_str!("../inputs.toml");
/// Largest package accepted, in bytes.
pub const PACKAGE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// One pinned package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub package: String,
    /// Its Debian version, epoch included.
    pub release: String,
    /// The suite that had it when it was pinned.
    pub suite: String,
    /// Its path in Debian's archive.
    pub pool: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of the file. Nothing else makes it the right one.
    pub sha256: Digest256,
}

impl Package {
    /// The last part of [`Package::pool`].
    pub fn file_name(&self) -> &str {
        self.pool.rsplit('/').next().unwrap_or(&self.pool)
    }

    pub(crate) fn check(&self, what: &str) -> Result<(), ImageError> {
        let wrong = |key: &str, expected, got: &str| ImageError::Inputs {
            what: format!("{what}.{key}"),
            expected,
            got: format!("{got:?}"),
        };
        // None of these can be taken for an option, another path, or a second argument.
        let word = |text: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-.:~_".contains(&b);
            !text.is_empty() && text.len() <= 128 && text.bytes().all(plain) && !text.starts_with(['-', '.'])
        };
        if !word(&self.package) {
            return Err(wrong("package", "the name of a Debian package", &self.package));
        }
        if !word(&self.release) {
            return Err(wrong("release", "a Debian version", &self.release));
        }
        if !word(&self.suite) {
            return Err(wrong("suite", "the name of a suite", &self.suite));
        }
        let parts = self.pool.split('/').all(word);
        if !parts || !self.pool.starts_with("pool/") || !self.pool.ends_with(".deb") {
            return Err(wrong("pool", "pool/…/NAME.deb", &self.pool));
        }
        if self.bytes == 0 || self.bytes > PACKAGE_BYTES_MAX {
            return Err(wrong("bytes", "1 to 536870912", &self.bytes.to_string()));
        }
        Ok(())
    }
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// Format version: 1.
    pub version: u32,
    /// Kernel and modules.
    pub kernel: Package,
    /// Taken instead, if it is asked for; its pins are a list of their own.
    #[serde(skip)]
    pub own_kernel: Option<OwnKernel>,
    /// The virtual machine's firmware.
    pub firmware: Package,
    /// The debug profile's shell.
    pub shell: Package,
    /// The stub of unified kernel images.
    pub stub: Package,
}

impl Inputs {
    /// Reads and checks a list.
    ///
    /// # Errors
    /// [`ImageError::Inputs`].
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        let inputs: Self = toml::from_str(text).map_err(|e| ImageError::Inputs {
            what: "the file".into(),
            expected: "TOML as SPEC.md says",
            got: e.message().to_owned(),
        })?;
        if inputs.version != 1 {
            return Err(ImageError::Inputs {
                what: "version".into(),
                expected: "1",
                got: inputs.version.to_string(),
            });
        }
        inputs.kernel.check("kernel")?;
        inputs.firmware.check("firmware")?;
        inputs.shell.check("shell")?;
        inputs.stub.check("stub")?;
        Ok(inputs)
    }
}

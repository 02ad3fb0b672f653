//! The broker's configuration file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hanzo_attestation::config::PinnedSigner;
use hanzo_root::RootConfig;
use serde::{Deserialize, Serialize};

use crate::KbsError;

const CONFIG_BYTES_MAX: u64 = 256 * 1024;

/// Configuration of a broker: TOML, unknown keys refused. Relative paths start at the file's own directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KbsConfig {
    /// Format version: 1.
    pub version: u32,
    /// Where to listen. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// The store.
    pub store: PathBuf,
    /// Where the newest audit head is kept, so that an older store is noticed. Best on another disk than the store.
    pub head_file: PathBuf,
    /// Further places that remember the newest decision. The store must agree with every one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fences: Vec<FenceConfig>,
    /// How long a guest has from its challenge to its last key, in seconds: 1 to 600.
    pub session_ttl_s: u64,
    /// Most sessions at a time: 1 to 65,536.
    pub sessions_max: usize,
    /// ARK-signed revocation lists (DER). Read again for every decision.
    #[serde(default)]
    pub crl_files: Vec<PathBuf>,
    /// ARK certificates (DER) of simulators. What chains to them is simulated, for ever.
    #[serde(default)]
    pub simulator_roots: Vec<PathBuf>,
    /// Where the root key comes from. The store's key and everything else is derived from it or stands under it.
    pub root: RootConfig,
    /// Who may put and change keys.
    #[serde(default)]
    pub admin_keys: Vec<PinnedSigner>,
}

/// A place outside the store that remembers its newest decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "kebab-case")]
pub enum FenceConfig {
    /// A file, on another disk or machine than the store.
    File {
        /// Where.
        path: PathBuf,
    },
    /// The non-volatile memory of a TPM 2.0, through tpm2-tools.
    TpmNv {
        /// How the programs reach it, for example `device:/dev/tpmrm0`.
        tcti: String,
        /// Which index: 0x01000000 to 0x01ffffff. Nobody else may use it.
        index: u32,
    },
}

impl KbsConfig {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`KbsError::Config`].
    pub fn load(path: &Path) -> Result<Self, KbsError> {
        let fail = |detail: String| KbsError::Config {
            path: path.to_owned(),
            detail,
        };
        let size = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?.len();
        if size > CONFIG_BYTES_MAX {
            return Err(fail(format!("{size} bytes, at most {CONFIG_BYTES_MAX} are accepted")));
        }
        let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
        let mut config: Self = toml::from_str(&text).map_err(|e| fail(e.to_string().trim_end().to_owned()))?;
        config.check().map_err(fail)?;
        let base = path.parent().unwrap_or(Path::new("."));
        for file in [&mut config.store, &mut config.head_file]
            .into_iter()
            .chain(&mut config.crl_files)
            .chain(&mut config.simulator_roots)
        {
            *file = base.join(&*file);
        }
        config.root.rebase(base);
        for fence in &mut config.fences {
            if let FenceConfig::File { path } = fence {
                *path = base.join(&*path);
            }
        }
        Ok(config)
    }

    /// Checks the ranges; what is wrong, if something is.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.version != 1 {
            return Err(format!("version: expected 1, got {}", self.version));
        }
        if !(1..=600).contains(&self.session_ttl_s) {
            return Err(format!("session_ttl_s: expected 1 to 600, got {}", self.session_ttl_s));
        }
        if !(1..=65_536).contains(&self.sessions_max) {
            return Err(format!("sessions_max: expected 1 to 65536, got {}", self.sessions_max));
        }
        for (n, fence) in self.fences.iter().enumerate() {
            if let FenceConfig::TpmNv { index, .. } = fence
                && !(0x0100_0000..=0x01ff_ffff).contains(index)
            {
                return Err(format!(
                    "fences[{n}].index: expected 0x01000000 to 0x01ffffff, got {index:#010x}"
                ));
            }
        }
        for (n, key) in self.admin_keys.iter().enumerate() {
            crate::identity::verifying_keys(key).map_err(|e| format!("admin_keys[{n}]: {e}"))?;
        }
        Ok(())
    }
}

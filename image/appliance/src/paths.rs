//! Where the appliance keeps its files.

use std::env;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::error::ApplianceError;

/// `$XDG_CACHE_HOME/hanzo` or `~/.cache/hanzo`.
pub(crate) fn default_cache() -> Result<PathBuf, ApplianceError> {
    home("XDG_CACHE_HOME", ".cache")
}

/// `$XDG_STATE_HOME/hanzo` or `~/.local/state/hanzo`.
pub(crate) fn default_state() -> Result<PathBuf, ApplianceError> {
    home("XDG_STATE_HOME", ".local/state")
}

fn home(variable: &'static str, below_home: &str) -> Result<PathBuf, ApplianceError> {
    let absolute = |v: &str| env::var_os(v).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute(variable)
        .or_else(|| absolute("HOME").map(|h| h.join(below_home)))
        .map(|p| p.join("hanzo"))
        .ok_or(ApplianceError::NoHome { variable })
}

/// Makes a folder, and those above it, that only this user can enter.
pub(crate) fn private_dir(path: &Path) -> Result<(), ApplianceError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| ApplianceError::Folder {
            path: path.to_path_buf(),
            source,
        })
}

/// The files of one appliance.
pub(crate) struct Layout {
    /// The state folder.
    pub(crate) state: PathBuf,
}

impl Layout {
    /// The simulated processor's key material; made once per installation.
    pub(crate) fn simulator(&self) -> PathBuf {
        self.state.join("up/simulator.material")
    }

    /// The simulator's root certificate, for verifiers.
    pub(crate) fn simulator_root(&self) -> PathBuf {
        self.state.join("up/simulator-ark.der")
    }

    /// The client's policy.
    pub(crate) fn policy(&self) -> PathBuf {
        self.state.join("up/policy.toml")
    }

    /// API keys of callers, kept between runs.
    pub(crate) fn callers(&self) -> PathBuf {
        self.state.join("up/callers")
    }

    /// Held while an appliance runs.
    pub(crate) fn lock(&self) -> PathBuf {
        self.state.join("up/lock")
    }

    /// Everything of one run; made anew at each start.
    pub(crate) fn run(&self) -> PathBuf {
        self.state.join("up/run")
    }

    /// The broker's folder.
    pub(crate) fn kbs(&self) -> PathBuf {
        self.run().join("kbs")
    }

    /// The measured configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.run().join("config.toml")
    }

    /// Sealed models.
    pub(crate) fn packs(&self) -> PathBuf {
        self.run().join("packs")
    }

    /// The guest's encrypted store.
    pub(crate) fn store(&self) -> PathBuf {
        self.run().join("guest-store.db")
    }

    /// What each part wrote.
    pub(crate) fn logs(&self) -> PathBuf {
        self.run().join("logs")
    }

    /// Receipts and bundles: the client's, kept between runs.
    pub(crate) fn client(&self) -> PathBuf {
        self.state.clone()
    }
}

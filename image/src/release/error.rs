//! Why a release could not be made.

use std::path::PathBuf;

use hanzo_attestation::evidence::Class;
use hanzo_log::LogError;
use hanzo_policy::PolicyError;
use hanzo_policy::release::ReleaseError;
use hanzo_pqc::PqcError;

/// Why a release could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseToolError {
    /// A manifest, bundle or signature that does not count.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The log's head or a tile.
    #[error("release log: {0}")]
    Log(#[from] LogError),
    /// A primitive.
    #[error(transparent)]
    Crypto(#[from] PqcError),
    /// The policy to verify by.
    #[error("{path}: {source}", path = path.display())]
    Policy {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: PolicyError,
    },
    /// A file of another form than expected.
    #[error("{path}: expected {expected}, got {got}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// A secret that others can read.
    #[error("{path}: mode {mode:04o}: others can read this key: chmod 600, and ask who did", path = path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Somebody else writes the log.
    #[error("{path}: the log is being written: wait; if nobody writes, remove this file", path = path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// The log's directory is not what its head says.
    #[error("{path}: {what}: restore the log from a copy; never sign over it", path = path.display())]
    Broken {
        /// The directory.
        path: PathBuf,
        /// What does not fit.
        what: &'static str,
    },
    /// An option that does not fit.
    #[error("{option}: expected {expected}, got {got}")]
    Usage {
        /// Which.
        option: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
}

impl ReleaseToolError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Release(e) => e.code(),
            Self::Log(e) => e.code(),
            Self::Crypto(e) => e.code(),
            Self::Policy { source, .. } => source.code(),
            Self::File { .. } => "release.file",
            Self::Exposed { .. } => "release.key.exposed",
            Self::Busy { .. } => "release.log.busy",
            Self::Broken { .. } => "release.log.broken",
            Self::Usage { .. } => "release.usage",
        }
    }

    /// 10 malformed, 20 not authentic, 30 stale, 40 refused, 1 the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Release(e) => match e.class() {
                Class::Malformed => 10,
                Class::NotAuthentic => 20,
                Class::Unbound => 30,
                Class::Refused => 40,
            },
            Self::Policy { .. } | Self::File { .. } => 10,
            Self::Log(_) | Self::Broken { .. } => 20,
            _ => 1,
        }
    }
}

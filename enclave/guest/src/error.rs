//! Why a guest did not boot or stopped: one clear reason with a stable code.

use std::path::PathBuf;

use hanzo_attestation::config::ConfigError;
use hanzo_attestation::jcs::JcsError;
use hanzo_channel::ChannelError;
use hanzo_device::DeviceError;
use hanzo_inference::ServingError;
use hanzo_receipts::ReceiptLogError;
use hanzo_store::StoreError;

use crate::aci::AciError;
use crate::devices::AdmissionError;
use crate::egress::EgressError;
use crate::engine::EngineError;
use crate::engine::sandbox::SandboxError;
use crate::evidence::EvidenceError;
use crate::fence::{FenceError, LeaseError};
use crate::grants::GrantsError;
use crate::keys::KeyError;
use crate::models::ModelError;
use crate::runtime_dir::RuntimeDirError;
use crate::transport::TransportError;

/// Errors of [`crate::run`]. No variant carries a secret, a prompt or evidence bytes.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The machine.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The GPUs did not pass.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// The configuration file could not be read.
    #[error("config: {path}: {source}")]
    ConfigFile {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The measured configuration of a node of the chain.
    #[error(transparent)]
    Node(#[from] hanzo_init::InitError),
    /// What a node's launcher needs of the kernel before it becomes the node.
    #[error("{what}: {source}")]
    Kernel {
        /// Which.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Boot keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Names outside that the configuration lists.
    #[error(transparent)]
    Egress(#[from] EgressError),
    /// Grants.
    #[error(transparent)]
    Grants(#[from] GrantsError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The receipt log.
    #[error(transparent)]
    Receipts(#[from] ReceiptLogError),
    /// The fence of the store at the key broker.
    #[error(transparent)]
    Fence(#[from] FenceError),
    /// A model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The place for plaintext.
    #[error(transparent)]
    RuntimeDir(#[from] RuntimeDirError),
    /// The API.
    #[error(transparent)]
    Serving(#[from] ServingError),
    /// An engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The guest itself could not be kept from dying first when memory runs out.
    #[error("guest: {0}")]
    Sandbox(#[from] SandboxError),
    /// Evidence over the keyset.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The ACI view, which the configuration asks for.
    #[error(transparent)]
    Aci(#[from] AciError),
    /// A document could not be written.
    #[error(transparent)]
    Jcs(#[from] JcsError),
    /// TLS.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The address to serve on.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A weights root could not be written as a grant's subject.
    #[error("boot: a weights root is no subject name")]
    NoSubject,
    /// No grant set the clock.
    #[error("boot: no grant set the guest's clock")]
    NoClock,
    /// A task of the guest died.
    #[error("internal: the task for {what} ended")]
    TaskEnded {
        /// Which.
        what: &'static str,
    },
    /// The keyset's life is over.
    #[error(
        "keyset: not_after {not_after} has passed: listeners are closed and keys gone; start the guest again for a new keyset"
    )]
    KeysetExpired {
        /// Its last second.
        not_after: u64,
    },
}

impl GuestError {
    /// Stable dotted code of the cause.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Device(e) => e.code(),
            Self::Admission(e) => e.code(),
            Self::ConfigFile { .. } => "config.file",
            Self::Config(e) => e.code(),
            Self::Node(e) => e.code(),
            Self::Kernel { .. } => "node.kernel",
            Self::Keys(e) => e.code(),
            Self::Egress(e) => e.code(),
            Self::Grants(e) => e.code(),
            Self::Store(e) => e.code(),
            Self::Receipts(e) => e.code(),
            Self::Fence(e) => e.code(),
            Self::Model(e) => e.code(),
            Self::RuntimeDir(e) => e.code(),
            Self::Serving(e) => e.code(),
            Self::Engine(e) => e.code(),
            Self::Sandbox(e) => e.code(),
            Self::Evidence(e) => e.code(),
            Self::Aci(e) => e.code(),
            Self::Jcs(_) => "internal.jcs",
            Self::Channel(e) => e.code(),
            Self::Transport(e) => e.code(),
            Self::NoSubject => "boot.subject",
            Self::NoClock => "boot.no_clock",
            Self::TaskEnded { .. } => "internal.task",
            Self::KeysetExpired { .. } => "keyset.expired",
        }
    }

    /// Exit code of `hanzo-guest`: 75 (EX_TEMPFAIL) when a restart is the cure, otherwise 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::KeysetExpired { .. } | Self::Fence(FenceError::Lost { .. } | FenceError::Held { .. }) => 75,
            _ => 1,
        }
    }
}

impl From<LeaseError> for GuestError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Grants(error) => error.into(),
            LeaseError::Fence(error) => error.into(),
        }
    }
}

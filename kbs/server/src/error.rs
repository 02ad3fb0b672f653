//! Why the broker did not start, or had to stop.

use std::net::SocketAddr;
use std::path::PathBuf;

use hanzo_store::StoreError;

/// Why the broker did not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum KbsError {
    /// The configuration file.
    #[error("configuration {path}: {detail}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A file that the configuration names.
    #[error("{what} {path}: {detail}")]
    File {
        /// What it is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// There is no store yet.
    #[error("store {path}: there is none: make one with `hanzo-kbs init --dir DIR`")]
    NoStore {
        /// Where it should be.
        path: PathBuf,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit chain does not hold, or counts do not match it.
    #[error("store: audit: {what}: single pages or rows were put back; restore the newest backup")]
    Audit {
        /// What does not match.
        what: String,
    },
    /// The store is older than the head that was kept outside it.
    #[error(
        "store: its newest decision is {got}, {path} says there was {expected}: an older store was put back, and use counts with it; restore the newest one, or accept the loss with `hanzo-kbs accept-head`"
    )]
    RolledBack {
        /// The head file.
        path: PathBuf,
        /// Newest decision according to it.
        expected: u64,
        /// Newest decision in the store.
        got: u64,
    },
    /// The TPM that remembers the newest decision.
    #[error("fence: TPM index {index}: {program}: {detail}")]
    Tpm {
        /// Which program of tpm2-tools.
        program: &'static str,
        /// Which index.
        index: String,
        /// What it says.
        detail: String,
    },
    /// A head in a TPM is behind the counter beside it.
    #[error(
        "fence: TPM index {index}: it holds decision {got}, and the counter beside it says that there were {expected}: whoever has its secret wrote an older head; find out who, then accept the store as it is with `hanzo-kbs accept-head`"
    )]
    FenceSetBack {
        /// Which index.
        index: String,
        /// The least that it may hold.
        expected: u64,
        /// What it holds.
        got: u64,
    },
    /// The log over the audit chain.
    #[error("audit log: {0}")]
    Log(#[from] hanzo_log::LogError),
    /// The address is taken.
    #[error("listen {address}: {detail}: stop the other program, or set another `listen` in the configuration")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        detail: String,
    },
    /// The root.
    #[error(transparent)]
    Root(#[from] hanzo_root::RootError),
    /// A KEK or a sealed secret.
    #[error(transparent)]
    Vault(#[from] hanzo_vault::VaultError),
    /// A tenant without a KEK.
    #[error("tenant {tenant}: it has no key encryption key: it never had a secret, or was destroyed")]
    NoTenant {
        /// The tenant.
        tenant: hanzo_attestation::name::Name,
    },
    /// A rotation that the broker's own end interrupted.
    #[error("rotation: the broker is stopping: ask for it again when it runs, it goes on where it stood")]
    Stopped,
    /// No such version of a key.
    #[error("there is no key {key_id} version {version}")]
    NoKey {
        /// The key.
        key_id: hanzo_attestation::name::KeyId,
        /// Its version.
        version: u64,
    },
    /// The process cannot be kept from being dumped.
    #[error("{what}: {detail}: the process could be dumped with the keys it holds, and does not start")]
    Harden {
        /// What was to be set.
        what: &'static str,
        /// What the system says.
        detail: String,
    },
    /// A cryptographic operation failed.
    #[error(transparent)]
    Crypto(#[from] hanzo_pqc::PqcError),
    /// A JWE could not be made.
    #[error(transparent)]
    Jwe(#[from] hanzo_kbs_protocol::jwe::JweError),
    /// A document has no canonical form.
    #[error(transparent)]
    Jcs(#[from] hanzo_attestation::jcs::JcsError),
    /// A stored key or policy is not what was stored.
    #[error("store: {what} is not readable: restore it from a backup")]
    Stored {
        /// What it is.
        what: &'static str,
    },
    /// A backup that is none, or cannot be made.
    #[error("backup {path}: {detail}")]
    Backup {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        detail: String,
    },
    /// Another process makes a broker here.
    #[error("init: {path} is held: another init is at work there; wait until it has ended, then look what is there")]
    Initialising {
        /// The file that it holds.
        path: PathBuf,
    },
    /// Directory to initialise is not empty of our files.
    #[error("init: {path} exists already: nothing was changed; choose another directory")]
    Exists {
        /// The file found.
        path: PathBuf,
    },
}

impl KbsError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config { .. } => "kbs.config",
            Self::File { .. } => "kbs.file",
            Self::NoStore { .. } => "kbs.store.none",
            Self::Store(e) => e.code(),
            Self::Audit { .. } => "store.audit",
            Self::RolledBack { .. } => "store.rolled_back",
            Self::Tpm { .. } => "kbs.fence.tpm",
            Self::FenceSetBack { .. } => "kbs.fence.set_back",
            Self::Log(e) => e.code(),
            Self::Listen { .. } => "kbs.listen",
            Self::Root(e) => e.code(),
            Self::Vault(e) => e.code(),
            Self::NoTenant { .. } => "kbs.tenant.none",
            Self::Stopped => "kbs.rotation.stopped",
            Self::NoKey { .. } => "kbs.key.none",
            Self::Harden { .. } => "kbs.harden",
            Self::Crypto(e) => e.code(),
            Self::Jwe(e) => e.code(),
            Self::Jcs(_) => "kbs.internal",
            Self::Stored { .. } => "store.corrupt",
            Self::Backup { .. } => "kbs.backup",
            Self::Initialising { .. } => "kbs.init.running",
            Self::Exists { .. } => "kbs.init.exists",
        }
    }
}

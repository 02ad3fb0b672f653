//! What can stop a command.

use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_delta::DeltaError;
use hanzo_image::ImageError;
use hanzo_kbs::KbsError;
use hanzo_kbs::admin::AdminError;
use hanzo_model::{AdapterError, ManifestError, ModelFileError, SignError};
use hanzo_pack::PackError;
use hanzo_store::StoreError;

/// Why a command did not do what was asked. Whatever it had begun to write is gone.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The model's files.
    #[error(transparent)]
    Files(#[from] ModelFileError),
    /// The pack.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A delta.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// An adapter.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Signing.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A key file of a holder.
    #[error(transparent)]
    Keys(#[from] ImageError),
    /// A data key's file.
    #[error(transparent)]
    KeyFile(#[from] StoreError),
    /// A broker's files.
    #[error(transparent)]
    Kbs(#[from] KbsError),
    /// What the broker said.
    #[error("the broker did not take the data key, and the pack was removed again: {0}")]
    Broker(AdminError),
    /// The system refused.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// A file that is there.
    #[error("{}: exists already; remove it or choose another name", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// A file that is not what the option asks for.
    #[error("{}: expected {expected}, got {got}", path.display())]
    Document {
        /// Which.
        path: PathBuf,
        /// What the option asks for.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// Another model.
    #[error("{}: weights root: expected {expected}, got {got}: another model, or changed files", path.display())]
    Root {
        /// What was checked.
        path: PathBuf,
        /// What was asked for.
        expected: Digest256,
        /// What it is.
        got: Digest256,
    },
    /// The key policy is for something else.
    #[error(
        "{}: subject: expected weights-root (filled in here) or {expected}, got {got}: a data key is released for one weights root alone",
        path.display()
    )]
    Subject {
        /// The policy.
        path: PathBuf,
        /// The sealed model's.
        expected: Digest256,
        /// The policy's.
        got: String,
    },
    /// An option is missing.
    #[error("{0}")]
    Usage(&'static str),
}

impl ToolError {
    /// Stable dotted code.
    pub fn code(&self) -> &str {
        match self {
            Self::Files(e) => e.code(),
            Self::Pack(e) => e.code(),
            Self::Delta(e) => e.code(),
            Self::Adapter(e) => e.code(),
            Self::Manifest(e) | Self::Sign(SignError::Manifest(e)) => e.code(),
            Self::Sign(SignError::Keys(_)) => "model.manifest.signing",
            Self::Keys(e) => e.code(),
            Self::KeyFile(e) => e.code(),
            Self::Kbs(e) => e.code(),
            Self::Broker(e) => e.code(),
            Self::Io { .. } => "model.io",
            Self::Exists { .. } => "model.exists",
            Self::Document { .. } => "model.document",
            Self::Root { .. } => "pack.root",
            Self::Subject { .. } => "model.subject",
            Self::Usage(_) => "model.usage",
        }
    }

    /// 1 usage or I/O, 10 malformed, 20 not authentic, 30 stale, 40 refused.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Files(ModelFileError::Io { .. }) => 1,
            Self::Files(_) => 10,
            Self::Pack(e) => match e.code() {
                "pack.header" | "pack.truncated" | "pack.trailing" | "pack.table.malformed" => 10,
                "pack.table.not_authentic" | "pack.root" => 20,
                code if code.starts_with("pack.chunk.") => 20,
                _ => 1,
            },
            Self::Manifest(e) | Self::Sign(SignError::Manifest(e)) => e.exit_code(),
            Self::Delta(DeltaError::Io { .. }) => 1,
            Self::Delta(_) => 10,
            Self::Adapter(AdapterError::Files(ModelFileError::Io { .. })) => 1,
            Self::Adapter(AdapterError::Base { .. }) => 40,
            Self::Adapter(_) => 10,
            Self::Root { .. } => 20,
            Self::Subject { .. } => 40,
            _ => 1,
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

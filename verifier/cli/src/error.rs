//! Why a command failed, with its exit code.

use std::io;
use std::path::PathBuf;

use hanzo_attestation::evidence::Class;
use hanzo_attestation::jcs::JcsError;
use hanzo_client::connect::ConnectError;
use hanzo_client::{ClientError, StateError};
use hanzo_collateral::{CollateralError, Missing};
use hanzo_policy::PolicyError;
use hanzo_verifier::VerifyError;
use hanzo_verifier::receipt::ReceiptError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// An option that cannot be used.
    #[error("{option}: expected {expected}, got {got:?}")]
    Usage {
        /// Which.
        option: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// Evidence that has the marks of no format.
    #[error("{path}: expected evidence in a known format, got {bytes} bytes with the marks of none", path = path.display())]
    Unrecognised {
        /// Which file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// The file system said no.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Larger than anything this command reads.
    #[error("{path}: more than {limit} bytes", path = path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The bound.
        limit: u64,
    },
    /// There is no directory for state.
    #[error("state: neither --state nor XDG_STATE_HOME nor HOME says where bundles and receipts are")]
    NoState,
    /// The policy file.
    #[error("{path}: {source}", path = path.display())]
    Policy {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: PolicyError,
    },
    /// A document that is none of ours.
    #[error(transparent)]
    Document(#[from] JcsError),
    /// Evidence was refused.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The guest or the channel to it was refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The local endpoint.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The receipt was refused.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// Nothing could be stapled.
    #[error(transparent)]
    Collateral(#[from] CollateralError),
    /// Something could not be had. There is at least one.
    #[error("{}", .0.iter().map(|m| format!("{}: {}", m.part, m.error)).collect::<Vec<_>>().join("; "))]
    Incomplete(Vec<Missing>),
}

impl CliError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Usage { .. } => "cli.usage",
            Self::Unrecognised { .. } => "evidence.unrecognised",
            Self::Io { .. } => "cli.io",
            Self::TooLarge { .. } => "cli.too_large",
            Self::NoState => "cli.no_state",
            Self::Policy { source, .. } => source.code(),
            Self::Document(_) => "document.malformed",
            Self::Verify(e) => e.code(),
            Self::Client(e) => e.code(),
            Self::Connect(e) => e.code(),
            Self::State(e) => e.code(),
            Self::Receipt(e) => e.code(),
            Self::Collateral(e) => e.code(),
            Self::Incomplete(missing) => missing.first().map_or("staple.incomplete", |m| m.error.code()),
        }
    }

    /// Exit code of DESIGN section 8.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Document(_) | Self::Unrecognised { .. } => 10,
            Self::Verify(e) => e.exit_code(),
            Self::Client(e) => e.exit_code(),
            Self::Receipt(e) => match e.code() {
                "receipt.too_large" | "receipt.malformed" | "receipt.keys" => 10,
                code if code.starts_with("receipt.signature") => 20,
                _ => 30,
            },
            Self::Collateral(e) => collateral_exit_code(e),
            Self::Incomplete(missing) => missing
                .iter()
                .map(|m| collateral_exit_code(&m.error))
                .max()
                .unwrap_or(1),
            _ => 1,
        }
    }

    /// The refusal of evidence behind this, if it is one.
    pub fn evidence(&self) -> Option<&VerifyError> {
        match self {
            Self::Verify(e) | Self::Client(ClientError::Attestation(e)) => Some(e),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Policy { source, .. } => Some(source.help()),
            Self::Collateral(e) => Some(e.help()),
            Self::Incomplete(missing) => missing.first().map(|m| m.error.help()),
            Self::Unrecognised { .. } => Some("check that the file is whole; --format says which format it is to be"),
            other => other.evidence().map(VerifyError::help),
        }
    }
}

fn collateral_exit_code(e: &CollateralError) -> u8 {
    match e.class() {
        Some(Class::Malformed) => 10,
        Some(Class::NotAuthentic) => 20,
        Some(Class::Unbound) => 30,
        Some(Class::Refused) => 40,
        None => 1,
    }
}

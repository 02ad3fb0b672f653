//! Why there is no root.

use std::path::{Path, PathBuf};

use hanzo_attestation::jcs::JcsError;
use hanzo_pqc::PqcError;

/// Why a root was not handed out or not kept. No text contains secret bytes.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// A file does not exist.
    #[error("{what} {path}: there is none: restore it, or make one with `hanzo-kbs init` for a new broker")]
    Missing {
        /// What it is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file is there already.
    #[error("{path} exists already: nothing was changed; choose another name, or move it away")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others than the owner can read or write it.
    #[error("{what} {path}: mode is {mode:04o}, expected 0600 or 0400: others could read it; `chmod 600 {path}`")]
    Mode {
        /// What it is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not the kind of file that is expected.
    #[error("{what} {path}: expected {expected}, got {got}")]
    Shape {
        /// What it is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is accepted.
        expected: &'static str,
        /// What it is.
        got: String,
    },
    /// Not canonical JSON of this shape.
    #[error("{path}: {source}: it was edited or damaged; restore it")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it deviates.
        source: JcsError,
    },
    /// Another format or version.
    #[error(
        "{path}: format: expected {expected}, got another: is this the right file, and the program version that wrote it?"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The format read here.
        expected: &'static str,
    },
    /// A member out of its range.
    #[error("{what}: {field}: expected {expected}, got {got}")]
    Range {
        /// Where.
        what: String,
        /// The member.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: u64,
    },
    /// A passphrase or PIN cannot be had.
    #[error("{what}: {detail}")]
    Source {
        /// What it is for.
        what: String,
        /// Why not.
        detail: String,
    },
    /// Too short to protect anything.
    #[error("passphrase: expected at least {least} bytes, got {got}: choose a longer one")]
    PassphraseLength {
        /// Fewest bytes.
        least: usize,
        /// Length that came.
        got: usize,
    },
    /// Wrong passphrase, or the file was altered.
    #[error("{path}: it does not open: the passphrase is wrong, or the file was altered")]
    Passphrase {
        /// The file.
        path: PathBuf,
    },
    /// Another root than the one that was kept.
    #[error("{what}: the root does not match its commitment: a file was altered or belongs to another broker")]
    Commitment {
        /// Where the commitment stands.
        what: String,
    },
    /// Not enough shares.
    #[error("shares: {have} of them are here, {need} are needed: bring more operators' files")]
    TooFewShares {
        /// Shares that were read.
        have: usize,
        /// The threshold.
        need: usize,
    },
    /// The same share twice.
    #[error("share {path}: index {index} is here twice: each operator brings one")]
    DuplicateShare {
        /// The file.
        path: PathBuf,
        /// Its index.
        index: u8,
    },
    /// A share of another root or another splitting.
    #[error("share {path}: it belongs to another set: its set id, threshold or total differs from the set file's")]
    ShareSet {
        /// The file.
        path: PathBuf,
    },
    /// A share was altered.
    #[error("share {path}: its checksum does not hold: it was altered or damaged; use the operator's own copy")]
    ShareChecksum {
        /// The file.
        path: PathBuf,
    },
    /// The module, the token or a call of it.
    #[error("PKCS #11: {what}: {detail}")]
    Token {
        /// What was tried.
        what: &'static str,
        /// What the module says.
        detail: String,
    },
    /// The PIN.
    #[error("PKCS #11: the token refuses the PIN: check it before the token locks itself ({detail})")]
    Pin {
        /// What the module says.
        detail: String,
    },
    /// The token's key is not one that never leaves it.
    #[error("PKCS #11: key {label}: {detail}")]
    TokenKey {
        /// Its label.
        label: String,
        /// What is wrong.
        detail: String,
    },
    /// The token does not open the blob.
    #[error("{path}: the token does not open it: another key has this label, or the file was altered")]
    TokenOpen {
        /// The blob.
        path: PathBuf,
    },
    /// A program of tpm2-tools is missing or fails.
    #[error("TPM: {program}: {detail}")]
    Tpm {
        /// The program.
        program: &'static str,
        /// What it says.
        detail: String,
    },
    /// The TPM's registers are not those that the root was sealed to.
    #[error(
        "TPM: PCRs {pcrs} are not those that the root was sealed to: firmware, boot loader, kernel or configuration changed; boot the state that sealed it, or restore the root from shares"
    )]
    TpmPolicy {
        /// The registers.
        pcrs: String,
    },
    /// A kind that is filled by others.
    #[error("root of kind {kind}: it is made elsewhere: {help}")]
    ReadOnly {
        /// The kind.
        kind: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// The operating system refused.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A document has no canonical form.
    #[error(transparent)]
    Jcs(#[from] JcsError),
    /// A primitive failed, or the bytes are no root.
    #[error(transparent)]
    Crypto(#[from] PqcError),
}

impl RootError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "root.missing",
            Self::Exists { .. } => "root.exists",
            Self::Mode { .. } => "root.mode",
            Self::Shape { .. } => "root.shape",
            Self::Malformed { .. } => "root.malformed",
            Self::Format { .. } => "root.format",
            Self::Range { .. } => "root.range",
            Self::Source { .. } => "root.source",
            Self::PassphraseLength { .. } => "root.passphrase.length",
            Self::Passphrase { .. } => "root.passphrase",
            Self::Commitment { .. } => "root.commitment",
            Self::TooFewShares { .. } => "root.shares.too_few",
            Self::DuplicateShare { .. } => "root.shares.duplicate",
            Self::ShareSet { .. } => "root.shares.set",
            Self::ShareChecksum { .. } => "root.shares.checksum",
            Self::Token { .. } => "root.pkcs11",
            Self::Pin { .. } => "root.pkcs11.pin",
            Self::TokenKey { .. } => "root.pkcs11.key",
            Self::TokenOpen { .. } => "root.pkcs11.open",
            Self::Tpm { .. } => "root.tpm",
            Self::TpmPolicy { .. } => "root.tpm.policy",
            Self::ReadOnly { .. } => "root.read_only",
            Self::Io { .. } => "root.io",
            Self::Jcs(_) => "root.internal",
            Self::Crypto(e) => e.code(),
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            what,
            path: path.to_owned(),
            source,
        }
    }
}

impl From<crate::TpmToolError> for RootError {
    fn from(e: crate::TpmToolError) -> Self {
        Self::Tpm {
            program: e.program,
            detail: e.detail,
        }
    }
}

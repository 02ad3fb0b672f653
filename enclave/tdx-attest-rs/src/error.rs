//! Why the kernel did not give what was asked for.

use std::io;
use std::path::{Path, PathBuf};

/// Errors of this crate. None of them carries evidence bytes.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// The kernel has no such interface.
    #[error("{path} does not exist: {needs}")]
    Absent {
        /// Where it was looked for.
        path: PathBuf,
        /// What would make it exist.
        needs: &'static str,
    },
    /// The interface exists and this user may not use it.
    #[error(
        "{path}: permission denied: run as the user who owns it (evidence devices belong to the guest agent alone)"
    )]
    Denied {
        /// Which file.
        path: PathBuf,
    },
    /// The kernel refused a file operation.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Nobody made a report.
    #[error(
        "outblob: {source}: the security processor or, for TDX, the host's quoting service (QGS) gave no report; the host must run one"
    )]
    NoReport {
        /// What the kernel said.
        source: io::Error,
    },
    /// Another processor answers here.
    #[error("provider: expected {expected}, got {got:?}")]
    Provider {
        /// Which one was asked.
        expected: &'static str,
        /// What it is called.
        got: String,
    },
    /// Somebody else wrote to our entry at every try.
    #[error(
        "generation: {tries} tries, each disturbed by another writer: another process uses entries that are not its own"
    )]
    Conflict {
        /// How often it was tried.
        tries: u32,
    },
    /// A file is not of its format.
    #[error("{field}: expected {expected}, got {got}")]
    Malformed {
        /// Which attribute or field.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// The report does not carry the bytes that were asked for.
    #[error("REPORTDATA: the report carries other bytes than the ones asked for")]
    ReportData,
    /// Firmware's registers are not ours to extend.
    #[error("rtmr{index}: a guest extends rtmr2 and rtmr3 alone")]
    RtmrIndex {
        /// Which was asked for.
        index: u8,
    },
    /// The register does not hold what extending gives.
    #[error(
        "rtmr{index}: after extending it holds another value than SHA-384(before || digest): another process extended it"
    )]
    RtmrReadback {
        /// Which.
        index: u8,
    },
}

impl AttestError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Absent { .. } => "tsm.absent",
            Self::Denied { .. } => "tsm.denied",
            Self::Io { .. } => "tsm.io",
            Self::NoReport { .. } => "tsm.no_report",
            Self::Provider { .. } => "tsm.provider",
            Self::Conflict { .. } => "tsm.conflict",
            Self::Malformed { .. } => "tsm.malformed",
            Self::ReportData => "tsm.report_data",
            Self::RtmrIndex { .. } => "rtmr.index",
            Self::RtmrReadback { .. } => "rtmr.readback",
        }
    }

    /// The kernel's refusal of an operation on `path`; `needs` says what would make a missing file exist.
    pub(crate) fn file(path: &Path, needs: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Self::Absent { path, needs },
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            _ => Self::Io { path, source },
        }
    }
}

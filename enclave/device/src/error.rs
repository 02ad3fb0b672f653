//! Why the machine did not give what was asked for.

use std::path::PathBuf;

/// Errors of this crate. None of them carries evidence bytes.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// There is no configfs-tsm here.
    #[error(
        "evidence: {path} does not exist: this machine offers no SEV-SNP evidence. Run hanzo-guest inside an SEV-SNP guest whose kernel has CONFIG_TSM_REPORTS and CONFIG_SEV_GUEST and has configfs mounted on /sys/kernel/config"
    )]
    Absent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The kernel refused a file operation.
    #[error("evidence: {path}: {source}")]
    Io {
        /// Which attribute.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Another TEE answers here.
    #[error("evidence: provider: expected sev_guest, got {got:?}: this version makes SEV-SNP evidence only")]
    Provider {
        /// What it is called.
        got: String,
    },
    /// Somebody else wrote to the entry in between.
    #[error("evidence: generation: expected {expected} after one write, got {got}: another process uses this entry")]
    Conflict {
        /// One more than before the write.
        expected: u64,
        /// What was read.
        got: u64,
    },
    /// An attribute is not of its format.
    #[error("evidence: {field}: expected {expected}, got {got}")]
    Malformed {
        /// Which attribute or field.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// The report does not carry the bytes that were asked for.
    #[error("evidence: REPORT_DATA: the report carries other bytes than the ones asked for")]
    ReportData,
    /// The host gave no certificate for the key that signed.
    #[error(
        "evidence: certificate table: no {wanted} certificate in it; the host must give one (QEMU: certs-path of the sev-snp-guest object)"
    )]
    NoCertificate {
        /// `VCEK` or `VLEK`.
        wanted: &'static str,
    },
    /// The measured command line does not name the configuration.
    #[error("command line: expected exactly one {expected}, got {got}")]
    CommandLine {
        /// The argument.
        expected: &'static str,
        /// How many or what.
        got: String,
    },
    /// RDSEED does not exist or does not deliver.
    #[error("entropy: RDSEED {why}: no key is made without it")]
    Entropy {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A protection of the process could not be switched on.
    #[error("process: {what}: {source}")]
    Process {
        /// Which one.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// An attester of a test or of the simulator failed.
    #[error("evidence: {0}")]
    Simulated(String),
}

impl DeviceError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Absent { .. } => "device.absent",
            Self::Io { .. } => "device.io",
            Self::Provider { .. } => "device.provider",
            Self::Conflict { .. } => "device.conflict",
            Self::Malformed { .. } => "device.malformed",
            Self::ReportData => "device.report_data",
            Self::NoCertificate { .. } => "device.no_certificate",
            Self::CommandLine { .. } => "device.command_line",
            Self::Entropy { .. } => "device.entropy",
            Self::Process { .. } => "device.process",
            Self::Simulated(_) => "device.simulated",
        }
    }
}

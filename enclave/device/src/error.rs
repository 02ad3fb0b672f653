//! Why the machine did not give what was asked for.

use std::path::PathBuf;

use tdx_attest_rs::AttestError;

use crate::nvml::GpuError;
use crate::tpm::TpmError;

/// Errors of this crate. None of them carries evidence bytes.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Nothing here makes evidence.
    #[error(
        "evidence: neither configfs-tsm nor a TPM below {dev}: this machine offers no evidence. Run hanzo-guest inside a SEV-SNP or TDX guest whose kernel has CONFIG_TSM_REPORTS and CONFIG_SEV_GUEST or CONFIG_TDX_GUEST_DRIVER and has configfs mounted on /sys/kernel/config, or give it a vTPM for tier 1"
    )]
    Absent {
        /// Where devices were looked for.
        dev: PathBuf,
    },
    /// A TEE whose kernel is too old to ask it for evidence.
    #[error(
        "evidence: {device} exists and configfs-tsm does not: what this kernel can give ({gives}) proves nothing to others; use Linux 6.7 or newer with CONFIG_TSM_REPORTS"
    )]
    NoQuote {
        /// The device.
        device: PathBuf,
        /// What it gives.
        gives: &'static str,
    },
    /// The kernel's interface for confidential guests.
    #[error("evidence: {0}")]
    Tsm(#[from] AttestError),
    /// The TPM.
    #[error("vTPM: {0}")]
    Tpm(#[from] TpmError),
    /// The GPUs.
    #[error("GPU: {0}")]
    Gpu(#[from] GpuError),
    /// The kernel refused a file operation.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// An attribute or file is not of its format.
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
        "evidence: no {wanted} certificate, neither in the host's certificate table nor among the endorsements; the host must give one (QEMU: certs-path of the sev-snp-guest object; otherwise vek.der in the directory of --endorsements)"
    )]
    NoCertificate {
        /// `VCEK` or `VLEK`.
        wanted: &'static str,
    },
    /// A TDX guest under Azure's paravisor.
    #[error(
        "evidence: this is a TDX guest under a paravisor: its quotes come from Azure's metadata service over the network, which this guest does not reach; use an SEV-SNP guest there"
    )]
    ParavisorQuote,
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
            Self::NoQuote { .. } => "device.no_quote",
            Self::Tsm(e) => e.code(),
            Self::Tpm(e) => e.code(),
            Self::Gpu(e) => e.code(),
            Self::Io { .. } => "device.io",
            Self::Malformed { .. } => "device.malformed",
            Self::ReportData => "device.report_data",
            Self::NoCertificate { .. } => "device.no_certificate",
            Self::ParavisorQuote => "device.paravisor_quote",
            Self::CommandLine { .. } => "device.command_line",
            Self::Entropy { .. } => "device.entropy",
            Self::Process { .. } => "device.process",
            Self::Simulated(_) => "device.simulated",
        }
    }
}

//! Why a paravisor's evidence was refused.

use crate::evidence::Class;

/// Why a paravisor's report was refused, or does not belong to the rest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HclError {
    /// Not an HCL report of the expected form.
    #[error("HCL report: {field}: {detail}")]
    Report {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The report is another CPU's.
    #[error("HCL report: report type: expected {expected}, got {got}")]
    Kind {
        /// By the kind of evidence.
        expected: &'static str,
        /// By the report.
        got: &'static str,
    },
    /// The JSON cannot be read.
    #[error("HCL variable data: {field}: {detail}")]
    VarData {
        /// Which member.
        field: &'static str,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The CPU signed another hash.
    #[error(
        "HCL variable data: expected REPORT_DATA to be its SHA-256 and 32 zeros, got another value: the data was changed, or is another machine's"
    )]
    Binding,
    /// TDREPORT and quote are of different trust domains or moments.
    #[error(
        "HCL report: TDREPORT.{field}: expected the value of the quote's body, got another: report and quote are of different trust domains"
    )]
    TdReport {
        /// Which field.
        field: &'static str,
    },
    /// The quote has a log of its own.
    #[error("evidence: td.event_log: expected null: under a paravisor the vTPM's log tells of the guest")]
    EventLog,
}

impl HclError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Report { .. } => "hcl.report.malformed",
            Self::Kind { .. } => "hcl.report.kind",
            Self::VarData { .. } => "hcl.var_data.malformed",
            Self::Binding => "hcl.var_data.binding",
            Self::TdReport { .. } => "hcl.td_report.mismatch",
            Self::EventLog => "hcl.event_log",
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        match self {
            Self::Binding | Self::TdReport { .. } => Class::NotAuthentic,
            _ => Class::Malformed,
        }
    }
}

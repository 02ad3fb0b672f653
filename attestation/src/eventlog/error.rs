//! Why a log was refused.

use super::algorithm::Algorithm;
use super::log::{EVENTS_MAX, LOG_BYTES_MAX};
use crate::evidence::Class;

/// Why a log was refused. Events are numbered as they stand in the log; 0 is the header.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EventLogError {
    /// Longer than any firmware writes.
    #[error("event log: expected at most {LOG_BYTES_MAX} bytes, got {got}")]
    Length {
        /// What came.
        got: usize,
    },
    /// More events than any firmware writes.
    #[error("event log: expected at most {EVENTS_MAX} events, got more")]
    TooMany,
    /// The log ends inside an event.
    #[error(
        "event log: event {event}: {field}: the log ends before it: truncated, or trailing bytes that are no padding"
    )]
    Truncated {
        /// Which event.
        event: usize,
        /// Where in it.
        field: &'static str,
    },
    /// The old layout, with SHA-1 digests and no others.
    #[error(
        "event log: a log of TPM 1.2's layout, {events} events with SHA-1 digests alone: it proves nothing: set the \
         firmware to TPM 2.0 with a SHA-256 bank"
    )]
    Sha1Only {
        /// How many events.
        events: usize,
    },
    /// The table that tells where the log lies, or another one.
    #[error("event log: an ACPI table ({table}), not the log: read the log area that the table names")]
    AcpiTable {
        /// Its signature.
        table: &'static str,
    },
    /// Not the Spec ID event of a crypto-agile log.
    #[error("event log: header: {detail}")]
    Header {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A bank that this crate does not know.
    #[error(
        "event log: header: algorithm {id:#06x} with digests of {bytes} bytes: expected SHA-1, SHA-256, SHA-384, SHA-512 or SM3"
    )]
    Algorithm {
        /// TPM_ALG_ID.
        id: u16,
        /// Declared digest size.
        bytes: u16,
    },
    /// The digests of an event are not those that the header announces.
    #[error("event log: event {event}: digests: {detail}")]
    Digests {
        /// Which event.
        event: usize,
        /// What is wrong with them.
        detail: &'static str,
    },
    /// A register that does not exist.
    #[error("event log: event {event}: register: expected at most {most}, got {got}")]
    Register {
        /// Which event.
        event: usize,
        /// What came.
        got: u32,
        /// PCR 23 or CC measurement register 4.
        most: u32,
    },
    /// StartupLocality where it means nothing, twice, or with another value.
    #[error(
        "event log: event {event}: StartupLocality: expected once, before any other event of PCR 0, with 0, 3 or 4"
    )]
    StartupLocality {
        /// Which event.
        event: usize,
    },
    /// The bank to be replayed is not in the log.
    #[error("event log: header: expected a {algorithm} bank, got none")]
    Bank {
        /// Which one.
        algorithm: Algorithm,
    },
    /// A second separator would let events from after the firmware's time pass for the firmware's.
    #[error("event log: event {event}: a second EV_SEPARATOR of register {register}: expected one")]
    SeparatorTwice {
        /// Which event.
        event: usize,
        /// Its register.
        register: u32,
    },
    /// Neither of the values that end the firmware's measurements.
    #[error(
        "event log: event {event}: EV_SEPARATOR: expected 4 bytes of 00 or FF, got another value: the firmware reports an error, or none of it wrote this"
    )]
    Separator {
        /// Which event.
        event: usize,
    },
    /// The digest is not the hash of data that the specification says it is the hash of.
    #[error(
        "event log: event {event} (type {kind:#x}): the digest is not the hash of the event data: the data was changed"
    )]
    DataDigest {
        /// Which event.
        event: usize,
        /// EV_* number.
        kind: u32,
    },
    /// The log does not lead to the register.
    #[error(
        "event log: register {register}: the events replay to another value than the hardware signed: another boot's log, or events left out, added or changed"
    )]
    Mismatch {
        /// PCR index, or CC measurement register index.
        register: u32,
    },
    /// Not a CCEL table.
    #[error("ACPI CCEL table: {detail}")]
    Table {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// Not a list of events in dstack's form.
    #[error("dstack event log: {detail}")]
    Dstack {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// No log in the text.
    #[error("event log text: {detail}")]
    Text {
        /// What is wrong with it.
        detail: &'static str,
    },
}

impl EventLogError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } | Self::TooMany => "eventlog.length",
            Self::Truncated { .. } => "eventlog.truncated",
            Self::Sha1Only { .. } => "eventlog.sha1_only",
            Self::AcpiTable { .. } => "eventlog.acpi_table",
            Self::Header { .. } => "eventlog.header",
            Self::Algorithm { .. } => "eventlog.algorithm",
            Self::Digests { .. } => "eventlog.digests",
            Self::Register { .. } => "eventlog.register",
            Self::StartupLocality { .. } => "eventlog.startup_locality",
            Self::Bank { .. } => "eventlog.bank",
            Self::SeparatorTwice { .. } => "eventlog.separator.twice",
            Self::Separator { .. } => "eventlog.separator.value",
            Self::DataDigest { .. } => "eventlog.data_digest",
            Self::Mismatch { .. } => "eventlog.replay.mismatch",
            Self::Table { .. } => "eventlog.ccel_table",
            Self::Dstack { .. } => "eventlog.dstack",
            Self::Text { .. } => "eventlog.text",
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        match self {
            Self::SeparatorTwice { .. } | Self::Separator { .. } | Self::DataDigest { .. } | Self::Mismatch { .. } => {
                Class::NotAuthentic
            }
            _ => Class::Malformed,
        }
    }
}

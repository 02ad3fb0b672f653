//! TCG event logs: parsing and replay (TCG PC Client Platform Firmware Profile 1.06; ACPI CCEL for TDX).

use crate::evidence::Class;

/// A log whose replay equals the registers that hardware signed. Only a comparison with authenticated registers makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedLog {
    /// The events in order.
    pub(crate) events: Vec<Event>,
}

impl ReplayedLog {
    /// The events in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// PCR index, or for CCEL the CC measurement register index (1 is RTMR0).
    pub register: u32,
    /// EV_* number.
    pub kind: u32,
    /// Digest in the bank that was replayed (32 or 48 bytes).
    pub digest: Vec<u8>,
    /// Event data.
    pub data: Vec<u8>,
}

/// Why a log was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EventLogError {
    /// Not built yet.
    #[error("event log: this version replays none")]
    NotVerified,
}

impl EventLogError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        "eventlog.not_verified"
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        Class::NotAuthentic
    }
}

//! TCG event logs: parsing and replay (TCG PC Client Platform Firmware Profile 1.06 revision 52, section 10; ACPI 6.5
//! section 5.2.34 "CCEL" for TDX; dstack's JSON form).
//!
//! Nobody signs a log. It says what was measured, and the registers that hardware signed say whether that is true: each
//! digest is hashed into its register as the firmware did it. Even then a digest is all that is proven. What the log
//! tells beside it, the event data, is proven only where the digest is the hash of that data, see
//! [`Event::data_vouched`].
//!
//! Replay refuses what makes a log ambiguous: a second separator of one register, a digest that contradicts data which it
//! must be the hash of, bytes after the last event that are no padding.

mod algorithm;
mod ccel;
mod cursor;
mod data;
mod dstack;
mod error;
mod log;
mod mistaken;
mod replay;
mod text;

use std::collections::{BTreeMap, BTreeSet};

pub use algorithm::Algorithm;
pub use ccel::CcelTable;
pub use data::kind;
pub use dstack::{DSTACK_RUNTIME_EVENT, replay_dstack};
pub use error::EventLogError;
pub use log::{EventLog, LOG_BYTES_MAX, LoggedEvent};
pub use text::{binary_of, log_block};

/// A log whose replay equals the registers that hardware signed. Only a comparison with the caller's registers makes one;
/// whether those are authentic is the caller's part.
///
/// Events that extend nothing, and events of registers that were not compared, are not in it: nothing vouches for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedLog {
    /// The events in order.
    pub(crate) events: Vec<Event>,
    /// The registers that the log explains in full.
    pub(crate) registers: BTreeSet<u32>,
}

impl ReplayedLog {
    /// The events in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The registers whose whole history the log tells. A rule over events must also demand the register: a log may
    /// leave out everything that happened to one (RTMR3, PCR 8 and above), and then tells nothing of it.
    pub fn registers(&self) -> &BTreeSet<u32> {
        &self.registers
    }

    /// Events of one register, in order; `None` if the log does not explain that register.
    pub fn of_register(&self, register: u32) -> Option<impl Iterator<Item = &Event>> {
        self.registers
            .contains(&register)
            .then(|| self.events.iter().filter(move |e| e.register == register))
    }
}

/// One event that extended a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// PCR index, or for CCEL the CC measurement register index (1 is RTMR0).
    pub register: u32,
    /// EV_* number; see [`kind`]. Registers vouch for digests, never for this: it is the word of whoever holds the log.
    /// [`Event::data_vouched`] does not depend on it.
    pub kind: u32,
    /// Digest in the bank that was replayed (32 or 48 bytes).
    pub digest: Vec<u8>,
    /// Event data.
    pub data: Vec<u8>,
    /// True if `digest` is the hash of `data`, whole: then the register vouches for the data too. False: the data is
    /// whatever the holder of the log wrote there.
    pub data_vouched: bool,
}

impl Event {
    /// Name and payload of a dstack runtime event whose data is vouched for.
    pub fn dstack(&self) -> Option<(&str, &[u8])> {
        dstack::name_and_payload(self)
    }
}

/// Replays a CCEL log (the CC event log area, padding allowed) against RTMR0 to RTMR3.
///
/// # Layout
/// CC measurement register index 0 is MRTD, which no event extends; 1 to 4 are RTMR0 to RTMR3. The bank is SHA-384.
///
/// # Establishes
/// The log's events, in this order, make RTMR0 to RTMR2 what they are. RTMR3 belongs to applications: if the log has
/// events for it, they make it what it is; if it has none and RTMR3 is not zero, [`ReplayedLog::registers`] leaves it out.
///
/// # Does not establish
/// That the registers are authentic, or that the events are good.
///
/// # Errors
/// [`EventLogError`].
pub fn replay_ccel(log: &[u8], rtmr: &[[u8; 48]; 4]) -> Result<ReplayedLog, EventLogError> {
    let registers = (1_u32..)
        .zip(rtmr)
        .map(|(index, value)| (index, value.to_vec()))
        .collect();
    replay::replay(&EventLog::parse_ccel(log)?, Algorithm::Sha384, &registers, 1..=3)
}

/// Replays a TCG crypto-agile log against the SHA-256 values of the PCRs that a quote selects.
///
/// # Establishes
/// The log's events, in this order, make the given ones of PCR 0 to 7 what they are. PCR 8 and above belong to loaders
/// and operating systems, which may extend them without writing here: those with events in the log must match, those
/// without are left out of [`ReplayedLog::registers`] unless they have their value of reset.
///
/// # Does not establish
/// That the values are authentic, or that the events are good.
///
/// # Errors
/// [`EventLogError`].
pub fn replay_tcg(log: &[u8], pcrs: &BTreeMap<u8, [u8; 32]>) -> Result<ReplayedLog, EventLogError> {
    replay_pcrs(log, Algorithm::Sha256, pcrs)
}

/// The same for the SHA-384 values: digests of the events are those of that bank.
///
/// # Errors
/// [`EventLogError`]; [`EventLogError::Bank`] if the log has no such bank.
pub fn replay_tcg_sha384(log: &[u8], pcrs: &BTreeMap<u8, [u8; 48]>) -> Result<ReplayedLog, EventLogError> {
    replay_pcrs(log, Algorithm::Sha384, pcrs)
}

fn replay_pcrs<const N: usize>(
    log: &[u8],
    bank: Algorithm,
    pcrs: &BTreeMap<u8, [u8; N]>,
) -> Result<ReplayedLog, EventLogError> {
    let registers = pcrs
        .iter()
        .map(|(index, value)| (u32::from(*index), value.to_vec()))
        .collect();
    replay::replay(&EventLog::parse_tcg(log)?, bank, &registers, 0..=7)
}

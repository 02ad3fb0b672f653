//! The registers that a log leads to, in every bank that proves something, and whether the log is one to believe.
//!
//! The parser and the replay are `hanzo_attestation::eventlog`'s: one reader of logs, whoever asks.

use std::collections::BTreeMap;

use hanzo_attestation::eventlog::{Algorithm, EventLog, EventLogError};

use crate::event::Platform;

/// Banks that are replayed. SHA-1 and SM3 are carried and prove nothing here.
pub const BANKS: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];

/// What a log says.
#[derive(Debug, PartialEq, Eq)]
pub struct Replay {
    /// The log.
    pub log: EventLog,
    /// Which registers it speaks of.
    pub platform: Platform,
    /// Final values by bank and register.
    pub banks: BTreeMap<Algorithm, BTreeMap<u32, Vec<u8>>>,
    /// The first reason not to believe it although its layout is right: a second separator of one register, a digest
    /// that contradicts its data. Its registers are what they are all the same.
    pub doubt: Option<EventLogError>,
}

impl Replay {
    /// Reads a log and replays each of its banks.
    ///
    /// # Does not establish
    /// That any machine has these registers: compare them with signed ones.
    ///
    /// # Errors
    /// [`EventLogError`] for bytes that are no log: truncated, misaligned, trailing bytes, SHA-1 alone, an ACPI table;
    /// [`EventLogError::Bank`] if no bank proves anything.
    pub fn of(log: &[u8], platform: Platform) -> Result<Self, EventLogError> {
        let log = match platform {
            Platform::Tpm => EventLog::parse_tcg(log)?,
            Platform::Tdx => EventLog::parse_ccel(log)?,
        };
        let mut banks = BTreeMap::new();
        let mut doubt = None;
        for bank in BANKS {
            if log.algorithms().contains(&bank) {
                banks.insert(bank, log.registers(bank)?);
                doubt = doubt.or(log.check(bank).err());
            }
        }
        if banks.is_empty() {
            return Err(EventLogError::Bank {
                algorithm: Algorithm::Sha256,
            });
        }
        Ok(Self {
            log,
            platform,
            banks,
            doubt,
        })
    }

    /// As [`Replay::of`], and a log with a doubt is refused.
    ///
    /// # Errors
    /// [`EventLogError`].
    pub fn strict(log: &[u8], platform: Platform) -> Result<Self, EventLogError> {
        let mut replay = Self::of(log, platform)?;
        match replay.doubt.take() {
            None => Ok(replay),
            Some(doubt) => Err(doubt),
        }
    }
}

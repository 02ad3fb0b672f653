//! The one replay: every digest into its register, and the result compared.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::algorithm::Algorithm;
use super::data::{self, kind};
use super::error::EventLogError;
use super::log::{EventLog, LoggedEvent};
use super::{Event, ReplayedLog};

/// An event that extends a register.
struct Judged<'a> {
    event: &'a LoggedEvent,
    /// Its digest in the bank that is replayed.
    digest: &'a [u8],
    /// See [`Event::data_vouched`].
    data_vouched: bool,
}

impl EventLog {
    /// What the registers that the log names would be if it were true. MRTD, which no event extends, is not among them.
    ///
    /// # Errors
    /// [`EventLogError::Bank`] if the log has no such bank, and for SHA-1 and SM3.
    pub fn registers(&self, algorithm: Algorithm) -> Result<BTreeMap<u32, Vec<u8>>, EventLogError> {
        let mut registers = BTreeMap::new();
        for (event, digest) in self.extending(algorithm)? {
            let value = registers
                .entry(event.register)
                .or_insert_with(|| self.initial(algorithm, event.register));
            *value = extend(algorithm, value, digest)?;
        }
        Ok(registers)
    }

    /// Refuses what makes a log ambiguous whatever its registers are: a second separator of one register, a digest that
    /// contradicts data which it must be the hash of.
    ///
    /// # Errors
    /// [`EventLogError::Bank`], [`EventLogError::SeparatorTwice`], [`EventLogError::Separator`],
    /// [`EventLogError::DataDigest`].
    pub fn check(&self, algorithm: Algorithm) -> Result<(), EventLogError> {
        self.judged(algorithm).map(|_| ())
    }

    /// The events that extend a register, with their digest and whether it vouches for the data.
    fn judged(&self, algorithm: Algorithm) -> Result<Vec<Judged<'_>>, EventLogError> {
        let mut separated = BTreeSet::new();
        let mut out = Vec::new();
        for (event, digest) in self.extending(algorithm)? {
            if event.kind == kind::EV_SEPARATOR && !separated.insert(event.register) {
                return Err(EventLogError::SeparatorTwice {
                    event: event.number,
                    register: event.register,
                });
            }
            out.push(Judged {
                event,
                digest,
                data_vouched: data::vouched(event, algorithm, digest)?,
            });
        }
        Ok(out)
    }

    /// The events that extend a register, with their digest.
    fn extending(&self, algorithm: Algorithm) -> Result<Vec<(&LoggedEvent, &[u8])>, EventLogError> {
        let extending = self.events().iter().filter(|e| e.kind != kind::EV_NO_ACTION);
        let extending = extending.filter(|e| !(self.is_ccel() && e.register == 0));
        extending
            .map(|event| {
                let digest = event.digests.get(&algorithm);
                Ok((event, digest.ok_or(EventLogError::Bank { algorithm })?.as_slice()))
            })
            .collect()
    }

    /// Value at reset: PCR 17 to 22 are all ones until a dynamic launch, PCR 0 tells the locality of startup.
    fn initial(&self, algorithm: Algorithm, register: u32) -> Vec<u8> {
        let fill = if !self.is_ccel() && (17..=22).contains(&register) {
            0xff
        } else {
            0
        };
        let mut value = vec![fill; algorithm.digest_bytes()];
        if let (0, Some(last)) = (register, value.last_mut()) {
            *last = self.startup_locality();
        }
        value
    }
}

pub(super) fn extend(algorithm: Algorithm, value: &[u8], digest: &[u8]) -> Result<Vec<u8>, EventLogError> {
    algorithm
        .hash(&[value, digest])
        .ok_or(EventLogError::Bank { algorithm })
}

/// Compares the replay with `signed`. Registers in `strict` must match; others must if the log has events for them.
pub(super) fn replay(
    log: &EventLog,
    algorithm: Algorithm,
    signed: &BTreeMap<u32, Vec<u8>>,
    strict: RangeInclusive<u32>,
) -> Result<ReplayedLog, EventLogError> {
    if !log.algorithms().contains(&algorithm) {
        return Err(EventLogError::Bank { algorithm });
    }
    let replayed = log.registers(algorithm)?;
    let mut events = Vec::new();
    for judged in log.judged(algorithm)? {
        let Judged {
            event,
            digest,
            data_vouched,
        } = judged;
        if signed.contains_key(&event.register) {
            events.push(Event {
                register: event.register,
                kind: event.kind,
                digest: digest.to_vec(),
                data: event.data.clone(),
                data_vouched,
            });
        }
    }
    let mut registers = BTreeSet::new();
    for (register, signed) in signed {
        let told = replayed.get(register);
        let expected = told.cloned().unwrap_or_else(|| log.initial(algorithm, *register));
        if expected == *signed {
            registers.insert(*register);
        } else if told.is_some() || strict.contains(register) {
            return Err(EventLogError::Mismatch { register: *register });
        }
    }
    Ok(ReplayedLog { events, registers })
}

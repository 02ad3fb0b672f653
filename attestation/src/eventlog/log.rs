//! The binary form: a Spec ID event in the old layout, then TCG_PCR_EVENT2 records (PFP 1.06, section 10.2).
//!
//! # Layout
//! Little endian. Header: pcrIndex u32, eventType u32 (EV_NO_ACTION), digest 20 zeros, eventSize u32, then
//! TCG_EfiSpecIDEvent: signature `Spec ID Event03` and a zero, platformClass u32, specVersionMinor u8 (0), specVersionMajor
//! u8 (2), specErrata u8, uintnSize u8 (1 or 2), numberOfAlgorithms u32, {algorithmId u16, digestSize u16}, vendorInfoSize
//! u8, vendorInfo. Each event: pcrIndex u32, eventType u32, count u32, {hashAlg u16, digest}, eventSize u32, event.

use std::collections::{BTreeMap, BTreeSet};

use super::algorithm::Algorithm;
use super::cursor::Cursor;
use super::data::kind::EV_NO_ACTION;
use super::error::EventLogError;
use super::mistaken;

/// Longest log in bytes. Log areas of TDX guests have 64 or 256 KiB.
pub const LOG_BYTES_MAX: usize = 1 << 20;
/// Most events of one log. Public ones have below 150.
pub(super) const EVENTS_MAX: usize = 8192;

const SIGNATURE: &[u8; 16] = b"Spec ID Event03\0";
const STARTUP_LOCALITY: &[u8; 16] = b"StartupLocality\0";

/// Who writes the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// For a TPM: registers 0 to 23, ends with the last event.
    Tcg,
    /// For TDX: registers 0 to 4, an area that is filled up.
    Ccel,
}

/// A log whose layout was checked. Nothing is known of its truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog {
    form: Form,
    algorithms: BTreeSet<Algorithm>,
    events: Vec<LoggedEvent>,
    startup_locality: u8,
}

/// One event as it stands in the log, header excepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// Its place in the log; the header is 0.
    pub number: usize,
    /// pcrIndex, or the CC measurement register index.
    pub register: u32,
    /// EV_* number.
    pub kind: u32,
    /// One digest for each bank of the header.
    pub digests: BTreeMap<Algorithm, Vec<u8>>,
    /// Event data.
    pub data: Vec<u8>,
}

impl EventLog {
    /// Reads a TPM's log. Nothing may follow the last event.
    ///
    /// # Does not establish
    /// That any of it happened.
    ///
    /// # Errors
    /// [`EventLogError`] with class malformed.
    pub fn parse_tcg(log: &[u8]) -> Result<Self, EventLogError> {
        Self::parse(log, Form::Tcg)
    }

    /// Reads a CC event log area. After the last event every byte may be 00, or every byte FF.
    ///
    /// # Does not establish
    /// That any of it happened.
    ///
    /// # Errors
    /// [`EventLogError`] with class malformed.
    pub fn parse_ccel(log: &[u8]) -> Result<Self, EventLogError> {
        Self::parse(log, Form::Ccel)
    }

    fn parse(log: &[u8], form: Form) -> Result<Self, EventLogError> {
        if log.len() > LOG_BYTES_MAX {
            return Err(EventLogError::Length { got: log.len() });
        }
        mistaken::check(log)?;
        let mut at = Cursor::new(log);
        let algorithms = header(&mut at, form)?;
        let mut events = Vec::new();
        while !ends(at.rest(), form) {
            at.event = at.event.saturating_add(1);
            if at.event > EVENTS_MAX {
                return Err(EventLogError::TooMany);
            }
            events.push(event(&mut at, form, &algorithms)?);
        }
        let startup_locality = match form {
            Form::Tcg => startup_locality(&events)?,
            Form::Ccel => 0,
        };
        Ok(Self {
            form,
            algorithms,
            events,
            startup_locality,
        })
    }

    pub(super) fn is_ccel(&self) -> bool {
        self.form == Form::Ccel
    }

    /// The banks.
    pub fn algorithms(&self) -> &BTreeSet<Algorithm> {
        &self.algorithms
    }

    /// The events in order, those that extend nothing included.
    pub fn events(&self) -> &[LoggedEvent] {
        &self.events
    }

    /// What PCR 0 starts with: its last byte, the rest is zero.
    pub fn startup_locality(&self) -> u8 {
        self.startup_locality
    }
}

fn ends(rest: &[u8], form: Form) -> bool {
    match form {
        Form::Tcg => rest.is_empty(),
        Form::Ccel => rest.iter().all(|b| *b == 0) || rest.iter().all(|b| *b == 0xff),
    }
}

fn header(at: &mut Cursor<'_>, form: Form) -> Result<BTreeSet<Algorithm>, EventLogError> {
    let wrong = |detail| EventLogError::Header { detail };
    let (register, kind) = (at.u32("pcrIndex")?, at.u32("eventType")?);
    let digest = at.take::<20>("digest")?;
    let mut at = Cursor::new(at.sized("eventSize")?);
    if kind != EV_NO_ACTION || at.rest().first_chunk() != Some(SIGNATURE) {
        return Err(wrong("expected a Spec ID Event03 first"));
    }
    if digest != [0; 20] || register > u32::from(form == Form::Ccel) {
        return Err(wrong("expected digest zero in register 0 (CCEL: 0 or 1)"));
    }
    at.take::<16>("signature")?;
    at.u32("platformClass")?;
    let (minor, major) = (at.u8("specVersionMinor")?, at.u8("specVersionMajor")?);
    let (_errata, uintn) = (at.u8("specErrata")?, at.u8("uintnSize")?);
    if (major, minor) != (2, 0) || !matches!(uintn, 1 | 2) {
        return Err(wrong("expected version 2.0 with uintnSize 1 or 2"));
    }
    let mut algorithms = BTreeSet::new();
    for _ in 0..at.u32("numberOfAlgorithms")? {
        let (id, bytes) = (at.u16("algorithmId")?, at.u16("digestSize")?);
        let known = Algorithm::from_id(id).filter(|a| a.digest_bytes() == usize::from(bytes));
        let algorithm = known.ok_or(EventLogError::Algorithm { id, bytes })?;
        if !algorithms.insert(algorithm) {
            return Err(wrong("an algorithm stands in the list twice"));
        }
    }
    let vendor_info = at.u8("vendorInfoSize")?;
    at.bytes("vendorInfo", usize::from(vendor_info))?;
    if algorithms.is_empty() || !at.rest().is_empty() {
        return Err(wrong("expected at least one algorithm and nothing after vendorInfo"));
    }
    Ok(algorithms)
}

fn event(at: &mut Cursor<'_>, form: Form, algorithms: &BTreeSet<Algorithm>) -> Result<LoggedEvent, EventLogError> {
    let number = at.event;
    let wrong = |detail| EventLogError::Digests { event: number, detail };
    let (register, kind) = (at.u32("pcrIndex")?, at.u32("eventType")?);
    let most = match form {
        Form::Tcg => 23,
        Form::Ccel => 4,
    };
    // TCG lets informative events name no register at all.
    if register > most && !(kind == EV_NO_ACTION && register == u32::MAX && form == Form::Tcg) {
        return Err(EventLogError::Register {
            event: number,
            got: register,
            most,
        });
    }
    let count = at.u32("digests.count")?;
    if usize::try_from(count).ok() != Some(algorithms.len()) {
        return Err(wrong("expected one for each bank of the header"));
    }
    let mut digests = BTreeMap::new();
    for _ in 0..count {
        let known = Algorithm::from_id(at.u16("hashAlg")?).filter(|a| algorithms.contains(a));
        let algorithm = known.ok_or(wrong("an algorithm that the header does not announce"))?;
        let digest = at.bytes("digest", algorithm.digest_bytes())?.to_vec();
        if digests.insert(algorithm, digest).is_some() {
            return Err(wrong("two of one bank"));
        }
    }
    let data = at.sized("eventSize")?.to_vec();
    Ok(LoggedEvent {
        number,
        register,
        kind,
        digests,
        data,
    })
}

/// EV_NO_ACTION in PCR 0: signature `StartupLocality` and a zero, then one byte (PFP 1.06, section 10.4.5.3).
fn startup_locality(events: &[LoggedEvent]) -> Result<u8, EventLogError> {
    let mut found = None;
    let mut extended = false;
    for event in events.iter().filter(|e| e.register == 0) {
        match event.data.strip_prefix(STARTUP_LOCALITY) {
            Some(rest) if event.kind == EV_NO_ACTION => {
                let (&[locality @ (0 | 3 | 4)], None, false) = (rest, found, extended) else {
                    return Err(EventLogError::StartupLocality { event: event.number });
                };
                found = Some(locality);
            }
            _ => extended |= event.kind != EV_NO_ACTION,
        }
    }
    Ok(found.unwrap_or(0))
}

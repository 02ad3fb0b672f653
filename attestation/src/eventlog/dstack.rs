//! dstack's event log: a JSON list of digests, with names and payloads for what its guest measured at run time.
//!
//! # Layout
//! `[{"imr":0..3,"event_type":u32,"digest":hex,"event":name,"event_payload":hex}]`. The digest of a run time event (type
//! 0x08000001) is SHA-384(type, 4 bytes little endian || `:` || name || `:` || payload); it may be left empty in the log and
//! is always computed here. Firmware's events keep their digest and lose their data.

use serde::Deserialize;

use super::algorithm::Algorithm;
use super::data::kind::EV_SEPARATOR;
use super::error::EventLogError;
use super::log::{EVENTS_MAX, LOG_BYTES_MAX};
use super::{Event, ReplayedLog, replay::extend};

/// Type of an event that dstack's guest measured itself, into RTMR3.
pub const DSTACK_RUNTIME_EVENT: u32 = 0x0800_0001;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    imr: u32,
    event_type: u32,
    digest: String,
    event: String,
    event_payload: String,
}

/// Replays a dstack log against RTMR0 to RTMR3. All four must match. Registers are numbered as in CCEL: 1 is RTMR0.
///
/// # Establishes
/// These digests, in this order, make the registers what they are; names and payloads of run time events are vouched for.
///
/// # Does not establish
/// What the firmware's events measured: their payloads are not in the log, and their names are the log's own words.
///
/// # Errors
/// [`EventLogError`].
pub fn replay_dstack(json: &[u8], rtmr: &[[u8; 48]; 4]) -> Result<ReplayedLog, EventLogError> {
    if json.len() > LOG_BYTES_MAX {
        return Err(EventLogError::Length { got: json.len() });
    }
    let entries: Vec<Entry> = serde_json::from_slice(json).map_err(|_| EventLogError::Dstack {
        detail: "expected a JSON list of {imr, event_type, digest, event, event_payload}",
    })?;
    if entries.len() > EVENTS_MAX {
        return Err(EventLogError::TooMany);
    }
    let mut registers: Vec<(u32, Vec<u8>, bool)> = (1..=4).map(|index| (index, vec![0; 48], false)).collect();
    let mut events = Vec::new();
    for (number, entry) in entries.into_iter().enumerate() {
        let most = 3;
        let register = registers.iter_mut().find(|r| r.0 == entry.imr.saturating_add(1));
        let (index, value, separated) = register.ok_or(EventLogError::Register {
            event: number,
            got: entry.imr,
            most,
        })?;
        let event = read(*index, number, &entry)?;
        if event.kind == EV_SEPARATOR && std::mem::replace(separated, true) {
            return Err(EventLogError::SeparatorTwice {
                event: number,
                register: *index,
            });
        }
        *value = extend(Algorithm::Sha384, value, &event.digest)?;
        events.push(event);
    }
    for ((register, replayed, _), signed) in registers.iter().zip(rtmr) {
        if replayed != signed {
            return Err(EventLogError::Mismatch { register: *register });
        }
    }
    Ok(ReplayedLog {
        events,
        registers: (1..=4).collect(),
    })
}

fn read(register: u32, number: usize, entry: &Entry) -> Result<Event, EventLogError> {
    let wrong = |detail| EventLogError::Dstack { detail };
    let bytes = |text: &str| hex::decode(text).map_err(|_| wrong("digest and event_payload: expected hex"));
    let (digest, payload) = (bytes(&entry.digest)?, bytes(&entry.event_payload)?);
    let hash = |data: &[u8]| Algorithm::Sha384.hash(&[data]).unwrap_or_default();
    let data = if entry.event_type == DSTACK_RUNTIME_EVENT {
        // A colon in the name would let one digest stand for several names.
        if entry.event.contains(':') {
            return Err(wrong("event: expected a name without a colon"));
        }
        [
            &DSTACK_RUNTIME_EVENT.to_le_bytes(),
            b":".as_slice(),
            entry.event.as_bytes(),
            b":",
            &payload,
        ]
        .concat()
    } else {
        payload
    };
    let computed = hash(&data);
    let digest = match entry.event_type {
        DSTACK_RUNTIME_EVENT if digest.is_empty() || digest == computed => computed.clone(),
        DSTACK_RUNTIME_EVENT => {
            return Err(EventLogError::DataDigest {
                event: number,
                kind: entry.event_type,
            });
        }
        EV_SEPARATOR if ![hash(&[0; 4]), hash(&[0xff; 4])].contains(&digest) => {
            return Err(EventLogError::Separator { event: number });
        }
        _ if digest.len() == 48 => digest,
        _ => return Err(wrong("digest: expected 48 bytes in hex")),
    };
    Ok(Event {
        register,
        kind: entry.event_type,
        data_vouched: computed == digest,
        digest,
        data,
    })
}

/// Splits what [`read`] joined.
pub(super) fn name_and_payload(event: &Event) -> Option<(&str, &[u8])> {
    if event.kind != DSTACK_RUNTIME_EVENT || !event.data_vouched {
        return None;
    }
    let prefix = DSTACK_RUNTIME_EVENT.to_le_bytes();
    let rest = event.data.strip_prefix(&prefix)?.strip_prefix(b":")?;
    let colon = rest.iter().position(|b| *b == b':')?;
    let (name, payload) = rest.split_at_checked(colon)?;
    Some((std::str::from_utf8(name).ok()?, payload.get(1..)?))
}

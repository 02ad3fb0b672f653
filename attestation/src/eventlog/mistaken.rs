//! What is taken for an event log and is none, so that the refusal can say what it is.

use super::cursor::Cursor;
use super::error::EventLogError;
use super::log::EVENTS_MAX;

/// ACPI tables that point to a log.
const TABLES: [&str; 3] = ["CCEL", "TPM2", "TCPA"];

/// Refuses an ACPI table and a log of TPM 1.2's layout by name. Anything else is left to the parser.
pub(super) fn check(bytes: &[u8]) -> Result<(), EventLogError> {
    let mut at = Cursor::new(bytes);
    let (signature, length) = (at.take::<4>("signature")?, at.u32("length")?);
    let table = TABLES.into_iter().find(|t| t.as_bytes() == signature);
    if let (Some(table), Ok(length)) = (table, usize::try_from(length))
        && length == bytes.len()
    {
        return Err(EventLogError::AcpiTable { table });
    }
    match sha1_events(bytes) {
        Some(events) => Err(EventLogError::Sha1Only { events }),
        None => Ok(()),
    }
}

/// How many events, if the bytes are nothing but TCG_PCR_EVENT records: pcrIndex u32, eventType u32, SHA-1 digest, size
/// u32, event. A log of the newer layout begins with one such record and does not go on like that.
fn sha1_events(bytes: &[u8]) -> Option<usize> {
    let mut at = Cursor::new(bytes);
    let mut events = 0_usize;
    let mut measured = false;
    while !at.rest().is_empty() {
        let register = at.u32("pcrIndex").ok()?;
        at.u32("eventType").ok()?;
        let digest = at.take::<20>("digest").ok()?;
        at.sized("eventSize").ok()?;
        events = events.saturating_add(1);
        measured |= digest != [0; 20];
        if register > 23 || events > EVENTS_MAX {
            return None;
        }
    }
    // A log of the newer layout without events is one such record too; it has no digest.
    measured.then_some(events)
}

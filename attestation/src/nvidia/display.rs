//! What a report says of itself, for display.

use std::collections::BTreeMap;

use super::{NvidiaError, ParsedNvidia, hex_of};
use crate::bundle::DeviceEvidence;

/// Fields of a report that nobody authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unauthenticated {
    /// Nonce of the SPDM request.
    pub nonce: [u8; 32],
    /// Serial number of the leaf certificate, lower-case hex.
    pub leaf_serial: String,
    /// Measurements by index.
    pub measurements: BTreeMap<u8, Vec<u8>>,
    /// Opaque fields by id.
    pub opaque: BTreeMap<u16, Vec<u8>>,
}

/// Reads a report without authenticating it.
///
/// # Does not establish
/// Anything about who made it.
///
/// # Errors
/// [`NvidiaError`] with class malformed.
pub fn read_unauthenticated(raw: &DeviceEvidence) -> Result<Unauthenticated, NvidiaError> {
    let parsed = ParsedNvidia::parse(raw)?;
    Ok(Unauthenticated {
        nonce: parsed.report.nonce,
        leaf_serial: hex_of(parsed.chain.leaf.serial()),
        measurements: parsed.report.measurements,
        opaque: parsed.report.opaque,
    })
}

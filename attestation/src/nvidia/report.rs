//! The report: an SPDM 1.1 GET_MEASUREMENTS request and the MEASUREMENTS response to it (DSP0274 1.1.3, sections 10.11.1
//! and 10.11.2), one after the other.
//!
//! # Layout
//! Integers are little endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | SPDMVersion 0x11 |
//! | 1 | 1 | RequestResponseCode 0xe0 |
//! | 2 | 1 | Param1 0x01: a signature is asked for |
//! | 3 | 1 | Param2 0xff: all measurements |
//! | 4 | 32 | nonce: the verifier's |
//! | 36 | 1 | SlotIDParam 0 |
//! | 37 | 1 | SPDMVersion 0x11 |
//! | 38 | 1 | RequestResponseCode 0x60 |
//! | 39 | 2 | Param1 and Param2, 0 |
//! | 41 | 1 | number of measurement blocks |
//! | 42 | 3 | length of the measurement record |
//! | 45 | n | blocks: index, specification 1 (DMTF), size (2), then type, size (2), value |
//! | | 32 | nonce: the device's own, not the verifier's |
//! | | 2 | length of the opaque data |
//! | | m | opaque data: type (2), length (2), value |
//! | | 96 | ECDSA P-384 over SHA-384 of all of the above; r and s, big endian |

use std::collections::BTreeMap;

use super::cursor::Cursor;
use super::error::NvidiaError;

/// Longest report in bytes: twice what NVIDIA's driver reserves for one.
pub const REPORT_BYTES_MAX: usize = 16 * 1024;
/// Most measurement blocks, and the highest index.
pub const MEASUREMENTS_MAX: u8 = 64;
/// Bytes of a measurement: SHA-384.
const MEASUREMENT_BYTES: usize = 48;
const SIGNATURE_BYTES: usize = 96;

/// A report, parsed.
pub(super) struct Report {
    pub(super) nonce: [u8; 32],
    pub(super) measurements: BTreeMap<u8, Vec<u8>>,
    pub(super) opaque: BTreeMap<u16, Vec<u8>>,
    pub(super) signature: [u8; SIGNATURE_BYTES],
}

impl Report {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, NvidiaError> {
        if bytes.len() > REPORT_BYTES_MAX {
            return Err(NvidiaError::TooLong {
                what: "report",
                most: REPORT_BYTES_MAX,
                got: bytes.len(),
            });
        }
        let mut c = Cursor::new(bytes);
        c.expect("GET_MEASUREMENTS.SPDMVersion", 0x11)?;
        c.expect("GET_MEASUREMENTS.RequestResponseCode", 0xe0)?;
        c.expect("GET_MEASUREMENTS.Param1", 0x01)?;
        c.expect("GET_MEASUREMENTS.Param2", 0xff)?;
        let nonce = c.take("GET_MEASUREMENTS.Nonce")?;
        c.expect("GET_MEASUREMENTS.SlotIDParam", 0)?;
        c.expect("MEASUREMENTS.SPDMVersion", 0x11)?;
        c.expect("MEASUREMENTS.RequestResponseCode", 0x60)?;
        c.expect("MEASUREMENTS.Param1", 0)?;
        c.expect("MEASUREMENTS.Param2", 0)?;
        let blocks = c.u8("MEASUREMENTS.NumberOfBlocks")?;
        let length = c.u24("MEASUREMENTS.MeasurementRecordLength")?;
        let measurements = read_blocks(c.bytes("MEASUREMENTS.MeasurementRecord", length)?, blocks)?;
        c.take::<32>("MEASUREMENTS.Nonce")?;
        let length = c.u16("MEASUREMENTS.OpaqueLength")?;
        let opaque = read_opaque(c.bytes("MEASUREMENTS.OpaqueData", length.into())?)?;
        let signature = c.take("MEASUREMENTS.Signature")?;
        c.finish("MEASUREMENTS.Signature")?;
        Ok(Self {
            nonce,
            measurements,
            opaque,
            signature,
        })
    }
}

/// How many bytes of a parsed report the signature covers.
pub(super) fn signed(report: &[u8]) -> Option<&[u8]> {
    report.get(..report.len().checked_sub(SIGNATURE_BYTES)?)
}

fn read_blocks(record: &[u8], blocks: u8) -> Result<BTreeMap<u8, Vec<u8>>, NvidiaError> {
    let mut c = Cursor::new(record);
    let mut out = BTreeMap::new();
    for _ in 0..blocks {
        let index = c.u8("MeasurementBlock.Index")?;
        let wrong = |detail| Err(NvidiaError::Measurement { index, detail });
        if !(1..=MEASUREMENTS_MAX).contains(&index) {
            return wrong("expected an index from 1 to 64");
        }
        if c.u8("MeasurementBlock.MeasurementSpecification")? != 1 {
            return wrong("MeasurementSpecification: expected 1 (DMTF)");
        }
        let size = usize::from(c.u16("MeasurementBlock.MeasurementSize")?);
        let mut value = Cursor::new(c.bytes("MeasurementBlock.Measurement", size)?);
        if value.u8("DMTFSpecMeasurementValueType")? & 0x80 != 0 {
            return wrong("DMTFSpecMeasurementValueType: expected a digest, got a raw bit stream");
        }
        let size = usize::from(value.u16("DMTFSpecMeasurementValueSize")?);
        if size != MEASUREMENT_BYTES || value.remaining() != size {
            return wrong("DMTFSpecMeasurementValueSize: expected 48, and as many bytes to the end of the block");
        }
        let digest = value.bytes("DMTFSpecMeasurementValue", size)?.to_vec();
        if out.insert(index, digest).is_some() {
            return Err(NvidiaError::DuplicateMeasurement { index });
        }
    }
    c.finish("the last measurement block")?;
    Ok(out)
}

fn read_opaque(data: &[u8]) -> Result<BTreeMap<u16, Vec<u8>>, NvidiaError> {
    let mut c = Cursor::new(data);
    let mut out = BTreeMap::new();
    while !c.is_empty() {
        let id = c.u16("OpaqueData.DataType")?;
        let length = usize::from(c.u16("OpaqueData.DataSize")?);
        if let Some(missing) = length.checked_sub(c.remaining()).filter(|missing| *missing != 0) {
            return Err(NvidiaError::OpaqueOverrun { id, missing });
        }
        let value = c.bytes("OpaqueData.Data", length)?;
        if out.insert(id, value.to_vec()).is_some() {
            return Err(NvidiaError::DuplicateOpaque { id });
        }
    }
    Ok(out)
}

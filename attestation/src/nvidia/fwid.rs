//! The firmware id of a leaf certificate, in the two forms that NVIDIA uses (TCG DICE).
//!
//! Hopper and LS10 carry a CompositeDeviceID, Blackwell a DiceTcbInfo with a second, zero id behind the first: a verifier
//! that takes the last 48 bytes of the extension compares with zeros there.

use der::oid::ObjectIdentifier;
use der::{Decode, Header, Reader, SliceReader, Tag};

use super::certificate::Certificate;

/// CompositeDeviceID: SEQUENCE { version 1, deviceID SubjectPublicKeyInfo, fwid FWID }.
pub(super) const COMPOSITE_DEVICE_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.1");
/// DiceTcbInfo (TCG DICE Attestation Architecture 1.1, section 6.1.1): fwids is the field with tag 6.
pub(super) const TCB_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.1.1");
/// FWID: SEQUENCE { hashAlg, digest }: the head of every SHA-384 one.
const FWID_SHA384: &[u8] = b"\x30\x3d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x04\x30";

/// What a leaf certificate says about its firmware.
pub(super) enum LeafFwid {
    /// It has neither extension.
    None,
    /// An extension that is not of its form, or two that differ.
    Malformed,
    /// SHA-384 of the firmware.
    Sha384([u8; 48]),
}

pub(super) fn of(leaf: &Certificate) -> LeafFwid {
    let composite = leaf.extension(COMPOSITE_DEVICE_ID).map(|v| composite(v.as_bytes()));
    let tcb_info = leaf.extension(TCB_INFO).map(|v| tcb_info(v.as_bytes()));
    match (composite, tcb_info) {
        (None, None) => LeafFwid::None,
        (Some(Some(one)), None) | (None, Some(Some(one))) => LeafFwid::Sha384(one),
        (Some(Some(one)), Some(Some(other))) if one == other => LeafFwid::Sha384(one),
        _ => LeafFwid::Malformed,
    }
}

fn composite(value: &[u8]) -> Option<[u8; 48]> {
    let mut reader = SliceReader::new(value).ok()?;
    let fwid = reader
        .sequence(|r| -> der::Result<_> {
            let version = u8::decode(r)?;
            let _device_id = r.tlv_bytes()?;
            Ok((version, r.tlv_bytes()?))
        })
        .ok()?;
    reader.finish().ok()?;
    let (1, fwid) = fwid else { return None };
    sha384(fwid)
}

fn tcb_info(value: &[u8]) -> Option<[u8; 48]> {
    let mut reader = SliceReader::new(value).ok()?;
    let fields = reader
        .sequence(|r| -> der::Result<_> {
            let mut fields = Vec::new();
            while !r.is_finished() {
                fields.push(r.tlv_bytes()?);
            }
            Ok(fields)
        })
        .ok()?;
    reader.finish().ok()?;
    let mut fwids = fields.into_iter().filter(|field| field.first() == Some(&0xa6));
    let (one, None) = (fwids.next()?, fwids.next()) else {
        return None;
    };
    let mut reader = SliceReader::new(one).ok()?;
    let header = Header::decode(&mut reader).ok()?;
    debug_assert!(matches!(header.tag(), Tag::ContextSpecific { .. }));
    sha384(reader.tlv_bytes().ok()?)
}

fn sha384(fwid: &[u8]) -> Option<[u8; 48]> {
    fwid.strip_prefix(FWID_SHA384)?.try_into().ok()
}

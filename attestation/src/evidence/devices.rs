//! The device list: authentic as a whole or not at all.

use std::collections::BTreeSet;

use super::{Anchors, AttestationError, Authentic, Collateral, DeviceClaims, ParsedDevice, UnixTime};
use crate::bundle::{DEVICE_COLLATERAL_MAX, DEVICES_MAX, DeviceCollateral, DeviceEvidence, device_list_digest};
use crate::digest::Digest384;
use crate::nvidia::Endorsements;
use crate::statement::Statement;

/// Every device of one list, each authentic and no two the same, with the digest of exactly that list.
///
/// Only [`authenticate_devices`] makes one that is not empty.
#[derive(Debug, Clone)]
pub struct AuthenticDevices {
    digest: Digest384,
    devices: Vec<Authentic<DeviceClaims>>,
}

impl AuthenticDevices {
    /// No devices: the digest is that of `[]`.
    pub fn none() -> Self {
        Self {
            digest: Statement::no_devices(),
            devices: Vec::new(),
        }
    }

    /// SHA-384 of JCS of the list.
    pub fn digest(&self) -> Digest384 {
        self.digest
    }

    /// The claims, in the order of the list.
    pub fn devices(&self) -> &[Authentic<DeviceClaims>] {
        &self.devices
    }
}

/// Authenticates a device list with the collateral that came along and the caller's own.
///
/// # Establishes
/// Each entry was signed by a genuine device (or a simulator), and no device stands in the list twice.
///
/// # Does not establish
/// That the devices belong to this guest or answered this nonce: binding does.
///
/// # Errors
/// [`AttestationError`] of the first device that is not authentic; [`AttestationError::TooManyDevices`];
/// [`AttestationError::DuplicateDevice`].
pub fn authenticate_devices(
    devices: &[DeviceEvidence],
    stapled: &DeviceCollateral,
    anchors: &Anchors,
    collateral: &Collateral,
    now: UnixTime,
) -> Result<AuthenticDevices, AttestationError> {
    for (what, got, most) in [
        ("devices", devices.len(), DEVICES_MAX),
        ("collateral.rims", stapled.rims.len(), DEVICE_COLLATERAL_MAX),
        ("collateral.ocsp", stapled.ocsp.len(), DEVICE_COLLATERAL_MAX),
    ] {
        if got > most {
            return Err(AttestationError::TooManyDevices { what, got, most });
        }
    }
    if devices.is_empty() {
        return Ok(AuthenticDevices::none());
    }
    let digest = device_list_digest(devices).map_err(|_| AttestationError::DeviceKind)?;
    let merged = |stapled: &[crate::bundle::Base64], own: &[Vec<u8>]| -> Vec<Vec<u8>> {
        stapled.iter().map(|b| b.0.clone()).chain(own.iter().cloned()).collect()
    };
    let collateral = Collateral {
        rims: merged(&stapled.rims, &collateral.rims),
        ocsp: merged(&stapled.ocsp, &collateral.ocsp),
        ..Collateral::default()
    };
    let endorsements = Endorsements::new(&collateral, anchors, now);
    let devices = devices
        .iter()
        .map(|raw| ParsedDevice::parse(raw)?.authenticate_with(&endorsements))
        .collect::<Result<Vec<_>, _>>()?;
    let mut seen = BTreeSet::new();
    for device in &devices {
        let identity = device.claims().identity();
        if !seen.insert(identity) {
            return Err(AttestationError::DuplicateDevice {
                identity: identity.to_owned(),
            });
        }
    }
    Ok(AuthenticDevices { digest, devices })
}

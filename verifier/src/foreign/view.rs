//! A foreign reading as a document.

use serde::Serialize;

use super::ForeignReading;
use crate::view::{DeviceView, VerdictView};

/// Everything worth showing about a foreign document. For showing alone: no function takes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ForeignView {
    /// The format's name, e.g. `coco-snp`.
    pub format: &'static str,
    /// The verdict on the evidence; of a CPU's or TPM's claims nothing for devices alone.
    pub verdict: VerdictView,
    /// The devices.
    pub devices: Vec<DeviceView>,
    /// Names of the parts that were kept and not judged.
    pub documents: Vec<&'static str>,
}

impl ForeignView {
    pub(super) fn of(reading: &ForeignReading) -> Self {
        Self {
            format: reading.format.name(),
            verdict: reading.verdict(),
            devices: DeviceView::all(reading.devices()),
            documents: reading.documents().iter().map(|d| d.name).collect(),
        }
    }
}

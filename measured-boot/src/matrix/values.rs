//! The values.

use std::collections::BTreeSet;

use hanzo_attestation::digest::{Digest256, Digest384};
use hanzo_attestation::jcs;
use hanzo_attestation::name::Name;
use serde::{Deserialize, Serialize};

use super::files::{BootFiles, Inputs, config_digest};
use super::shape::{Machine, VmShape};
use super::{MATRIX_BYTES_MAX, MatrixError, SHAPES_MAX};
use crate::firmware::Firmware;
use crate::snp::SnpLaunch;
use crate::tdx::{PageOrder, mrtd};

const WHAT: &str = "reference matrix";
const VERSION: u32 = 1;

/// Reference values, what they are for, and what they were computed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceMatrix {
    /// Format version: 1.
    version: u32,
    /// The files.
    inputs: Inputs,
    /// One for each shape, in the order given.
    values: Vec<ReferenceValue>,
}

/// What one machine reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceValue {
    /// The machine.
    pub shape: VmShape,
    /// What it measures.
    pub measured: Measured,
}

/// Digests of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Measured {
    /// SEV-SNP.
    Snp {
        /// MEASUREMENT of a report; also the launch digest of an ID block.
        measurement: Digest384,
    },
    /// TDX.
    Tdx {
        /// MRTD.
        mrtd: Digest384,
        /// RTMR0 to RTMR3, once they are predicted: [`ReferenceMatrix::set_rtmrs`].
        #[serde(skip_serializing_if = "Option::is_none")]
        rtmrs: Option<[Digest384; 4]>,
    },
}

/// An entry of `references` in a policy's `[snp]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnpReferenceValue {
    /// Of the first shape that has this measurement.
    pub name: Name,
    /// Launch digest.
    pub measurement: Digest384,
    /// SHA-256 of the configuration on the measured command line.
    pub config_digest: Digest256,
}

/// An entry of `references` in a policy's `[tdx]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TdxReferenceValue {
    /// Of the first shape that has these registers.
    pub name: Name,
    /// MRTD.
    pub mrtd: Digest384,
    /// RTMR0.
    pub rtmr0: Digest384,
    /// RTMR1.
    pub rtmr1: Digest384,
    /// RTMR2.
    pub rtmr2: Digest384,
    /// RTMR3.
    pub rtmr3: Digest384,
    /// SHA-256 of the configuration on the measured command line.
    pub config_digest: Digest256,
}

impl ReferenceMatrix {
    /// Computes every value. The firmware is digested once for all SNP shapes and once for each TDX page order.
    ///
    /// # Errors
    /// [`MatrixError`]; the first shape without a digest is named and there is no partial matrix.
    pub fn predict(files: &BootFiles<'_>, shapes: &[VmShape]) -> Result<Self, MatrixError> {
        files.check()?;
        check_names(shapes.iter())?;
        let firmware = Firmware::parse(files.firmware)?;
        let inputs = files.inputs();
        let kernel = files.kernel_hashes(&inputs)?;
        let any_snp = shapes.iter().any(|s| matches!(s.machine, Machine::Snp(_)));
        let snp = any_snp.then(|| SnpLaunch::new(&firmware)).transpose()?;
        let mut mrtds: Vec<(PageOrder, Digest384)> = Vec::new();
        let mut values = Vec::with_capacity(shapes.len());
        for shape in shapes {
            let measured = match (&shape.machine, &snp) {
                (Machine::Snp(machine), Some(snp)) => {
                    let launch = machine.launch(&shape.name)?;
                    let digest = snp.digest(kernel.as_ref(), &launch);
                    Measured::Snp {
                        measurement: digest.map_err(|source| MatrixError::Shape {
                            name: shape.name.clone(),
                            source,
                        })?,
                    }
                }
                (Machine::Tdx(machine), _) => {
                    let order = machine.page_order;
                    let known = mrtds.iter().find(|(o, _)| *o == order).map(|(_, d)| *d);
                    let digest = known.map_or_else(|| mrtd(&firmware, order), Ok)?;
                    mrtds.push((order, digest));
                    Measured::Tdx {
                        mrtd: digest,
                        rtmrs: None,
                    }
                }
                // `snp` is there if any machine is one.
                (Machine::Snp(_), None) => return Err(MatrixError::Count { got: 0 }),
            };
            values.push(ReferenceValue {
                shape: shape.clone(),
                measured,
            });
        }
        Ok(Self {
            version: VERSION,
            inputs,
            values,
        })
    }

    /// What the values were computed from.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// The values, in the order of the shapes.
    pub fn values(&self) -> &[ReferenceValue] {
        &self.values
    }

    /// Adds the predicted RTMRs of a TDX shape.
    ///
    /// # Errors
    /// [`MatrixError::Unknown`].
    pub fn set_rtmrs(&mut self, name: &Name, predicted: [Digest384; 4]) -> Result<(), MatrixError> {
        let value = self.values.iter_mut().find(|v| v.shape.name == *name);
        match value.map(|v| &mut v.measured) {
            Some(Measured::Tdx { rtmrs, .. }) => {
                *rtmrs = Some(predicted);
                Ok(())
            }
            _ => Err(MatrixError::Unknown { name: name.clone() }),
        }
    }

    /// Entries for a policy's `[snp]`: each measurement once, under the first name that has it.
    ///
    /// # Errors
    /// [`MatrixError::Config`] unless the command line measures exactly one configuration.
    pub fn snp_references(&self) -> Result<Vec<SnpReferenceValue>, MatrixError> {
        let config_digest = config_digest(&self.inputs.cmdline)?;
        let mut seen = BTreeSet::new();
        let of = |value: &ReferenceValue| match value.measured {
            Measured::Snp { measurement } if seen.insert(measurement) => Some(SnpReferenceValue {
                name: value.shape.name.clone(),
                measurement,
                config_digest,
            }),
            _ => None,
        };
        Ok(self.values.iter().filter_map(of).collect())
    }

    /// Entries for a policy's `[tdx]`: each combination of registers once. A shape without predicted RTMRs gives none: MRTD
    /// alone says nothing of the kernel.
    ///
    /// # Errors
    /// [`MatrixError::Config`].
    pub fn tdx_references(&self) -> Result<Vec<TdxReferenceValue>, MatrixError> {
        let config_digest = config_digest(&self.inputs.cmdline)?;
        let mut seen = BTreeSet::new();
        let of = |value: &ReferenceValue| match value.measured {
            Measured::Tdx {
                mrtd,
                rtmrs: Some(rtmrs),
            } if seen.insert((mrtd, rtmrs)) => {
                let [rtmr0, rtmr1, rtmr2, rtmr3] = rtmrs;
                Some(TdxReferenceValue {
                    name: value.shape.name.clone(),
                    mrtd,
                    rtmr0,
                    rtmr1,
                    rtmr2,
                    rtmr3,
                    config_digest,
                })
            }
            _ => None,
        };
        Ok(self.values.iter().filter_map(of).collect())
    }

    /// The canonical JSON form (RFC 8785).
    ///
    /// # Errors
    /// [`MatrixError::Json`], never for values of this type.
    pub fn canonical(&self) -> Result<Vec<u8>, MatrixError> {
        Ok(jcs::to_vec(WHAT, self)?)
    }

    /// Reads the canonical form. That the values follow from the inputs is not checked: predict again to know.
    ///
    /// # Errors
    /// [`MatrixError::Json`], [`MatrixError::Version`], [`MatrixError::Count`], [`MatrixError::Twice`], [`MatrixError::Kind`].
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, MatrixError> {
        let matrix: Self = jcs::from_slice_bounded(WHAT, bytes, MATRIX_BYTES_MAX)?;
        if matrix.version != VERSION {
            return Err(MatrixError::Version { got: matrix.version });
        }
        check_names(matrix.values.iter().map(|v| &v.shape))?;
        for value in &matrix.values {
            match (&value.shape.machine, &value.measured) {
                (Machine::Snp(_), Measured::Snp { .. }) | (Machine::Tdx(_), Measured::Tdx { .. }) => {}
                _ => {
                    return Err(MatrixError::Kind {
                        name: value.shape.name.clone(),
                    });
                }
            }
        }
        Ok(matrix)
    }
}

fn check_names<'a>(shapes: impl ExactSizeIterator<Item = &'a VmShape>) -> Result<(), MatrixError> {
    if !(1..=SHAPES_MAX).contains(&shapes.len()) {
        return Err(MatrixError::Count { got: shapes.len() });
    }
    let mut seen = BTreeSet::new();
    for shape in shapes {
        if !seen.insert(&shape.name) {
            return Err(MatrixError::Twice {
                name: shape.name.clone(),
            });
        }
    }
    Ok(())
}

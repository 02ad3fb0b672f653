//! Reference values for many shapes of one image: a matrix, because a launch digest is never one number.
//!
//! [`ReferenceMatrix::predict`] takes the boot files and a list of [`VmShape`]s. Each value stands beside the parameters that
//! it is for, and all of them beside the digests of the files, so that a value that does not come up can be told from one
//! that was computed for something else. The canonical JSON form is what a release manifest carries;
//! [`ReferenceMatrix::snp_references`] and [`ReferenceMatrix::tdx_references`] give the entries of an appraisal policy
//! (`references` of `[snp]` and `[tdx]`, policy/SPEC.md).

mod axes;
mod error;
mod files;
mod shape;
mod values;

pub use axes::SnpAxes;
pub use error::MatrixError;
pub use files::{BootFiles, FileDigest, Inputs};
pub use shape::{Machine, SecureTsc, SnpMachine, TdxMachine, VmShape};
pub use values::{Measured, ReferenceMatrix, ReferenceValue, SnpReferenceValue, TdxReferenceValue};

/// Most shapes of one matrix: what one table of an appraisal policy takes.
pub const SHAPES_MAX: usize = 512;
/// Longest canonical form in bytes.
pub const MATRIX_BYTES_MAX: usize = 4 << 20;

//! Why there is no matrix.

use hanzo_attestation::jcs::JcsError;
use hanzo_attestation::name::Name;

use super::SHAPES_MAX;
use crate::firmware::FirmwareError;
use crate::snp::SnpError;

/// Why there are no reference values for these inputs.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MatrixError {
    /// The firmware has no digest in any shape.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// The files have no digest in any shape.
    #[error(transparent)]
    Snp(#[from] SnpError),
    /// One shape has no digest.
    #[error("shape {name}: {source}")]
    Shape {
        /// Which.
        name: Name,
        /// Why.
        source: SnpError,
    },
    /// An initrd or a command line without a kernel: nothing would measure it.
    #[error("matrix: {what} without a kernel")]
    WithoutKernel {
        /// Which.
        what: &'static str,
    },
    /// No shape, or too many.
    #[error("matrix: {got} shapes: expected 1 to {SHAPES_MAX}")]
    Count {
        /// What came.
        got: usize,
    },
    /// Two shapes of one name.
    #[error("matrix: shape {name} comes twice")]
    Twice {
        /// The name.
        name: Name,
    },
    /// No shape has this name.
    #[error("matrix: there is no TDX shape {name}")]
    Unknown {
        /// The name.
        name: Name,
    },
    /// A name that came out too long or with other characters.
    #[error("matrix: no name of at most 64 characters for the shape {got:?}")]
    Name {
        /// What it would be.
        got: String,
    },
    /// Secure TSC is off, and the guest features say that it is on.
    #[error("shape {name}: secure_tsc is off, but guest feature bit 9 is set")]
    SecureTsc {
        /// Which.
        name: Name,
    },
    /// The command line measures no configuration, or more than one.
    #[error("matrix: command line: {found} arguments hanzo.config=<64 lower-case hex digits>: expected one")]
    Config {
        /// How many.
        found: usize,
    },
    /// A value of one kind of machine beside a machine of another.
    #[error("matrix: shape {name}: its values are not of its kind of machine")]
    Kind {
        /// Which.
        name: Name,
    },
    /// Another version of the format.
    #[error("matrix: version: expected 1, got {got}")]
    Version {
        /// What it says.
        got: u32,
    },
    /// The canonical form was refused.
    #[error(transparent)]
    Json(#[from] JcsError),
}

impl MatrixError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Firmware(e) => e.code(),
            Self::Snp(e) | Self::Shape { source: e, .. } => e.code(),
            Self::WithoutKernel { .. } => "matrix.without_kernel",
            Self::Count { .. } => "matrix.count",
            Self::Twice { .. } => "matrix.twice",
            Self::Unknown { .. } => "matrix.unknown",
            Self::Name { .. } => "matrix.name",
            Self::SecureTsc { .. } => "matrix.secure_tsc",
            Self::Config { .. } => "matrix.config",
            Self::Kind { .. } => "matrix.kind",
            Self::Version { .. } => "matrix.version",
            Self::Json(_) => "matrix.malformed",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Firmware(e) => e.help(),
            Self::Snp(e) | Self::Shape { source: e, .. } => e.help(),
            Self::WithoutKernel { .. } => "give the kernel too, or neither",
            Self::Count { .. } => "split the matrix: a policy takes 512 references of one kind",
            Self::Twice { .. } | Self::Name { .. } => "give each shape a name of its own of a-z 0-9 . _ -",
            Self::Unknown { .. } => "name a TDX shape of this matrix",
            Self::SecureTsc { .. } => "set secure_tsc to on, or clear the bit",
            Self::Config { .. } => "put hanzo.config=<SHA-256 of the configuration> on the measured command line, once",
            Self::Kind { .. } | Self::Version { .. } | Self::Json(_) => "predict again with this version",
        }
    }
}

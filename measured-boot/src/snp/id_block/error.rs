//! Why an ID block was refused.

/// Why an ID block or its authentication was refused.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum IdBlockError {
    /// Another length.
    #[error("{what}: expected {expected} bytes, got {got}")]
    Length {
        /// Which structure.
        what: &'static str,
        /// Its length.
        expected: usize,
        /// What came.
        got: usize,
    },
    /// Another version of the format.
    #[error("ID block: expected version 1, got {got}")]
    Version {
        /// What it says.
        got: u32,
    },
    /// An algorithm or curve other than ECDSA P-384 with SHA-384.
    #[error("authentication block: offset {at:#x}: {what}: expected {expected}, got {got}")]
    Algorithm {
        /// Which number.
        what: &'static str,
        /// Its offset.
        at: usize,
        /// The one that is defined.
        expected: u32,
        /// What it says.
        got: u32,
    },
    /// A reserved byte is set.
    #[error("authentication block: offset {at:#x}: reserved byte is not zero")]
    Reserved {
        /// Its offset.
        at: usize,
    },
    /// A point that is not on the curve, or a number that does not fit it.
    #[error("{what}: no number or point of P-384")]
    Key {
        /// Which.
        what: &'static str,
    },
    /// A signature does not verify.
    #[error("{what}: the signature does not verify")]
    Signature {
        /// Whose.
        what: &'static str,
    },
}

impl IdBlockError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "snp.id_block.length",
            Self::Version { .. } => "snp.id_block.version",
            Self::Algorithm { .. } => "snp.id_block.algorithm",
            Self::Reserved { .. } => "snp.id_block.reserved",
            Self::Key { .. } => "snp.id_block.key",
            Self::Signature { .. } => "snp.id_block.signature",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Signature { .. } => {
                "sign the 96 bytes of the ID block with the ID key, and the 1028 bytes of the ID key with the author key"
            }
            Self::Key { .. } => {
                "give an uncompressed P-384 point (97 bytes, 04 first) and signatures of 96 bytes, r then s"
            }
            _ => "the block was made for another firmware interface or is damaged: make it again",
        }
    }
}

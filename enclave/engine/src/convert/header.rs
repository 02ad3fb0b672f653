//! The bounded walk over a GGUF header ([`hanzo_engine_process::gguf`]), with what this engine runs.

use std::path::Path;

use hanzo_engine_process::gguf::{self, Accepted};
pub(crate) use hanzo_engine_process::gguf::{Header, TensorEntry};

use super::ConvertError;

/// Encodings of tensors that either engine reads.
const TYPES: &[(u32, u64, u64)] = &[
    (0, 1, 4),      // F32
    (1, 1, 2),      // F16
    (2, 32, 18),    // Q4_0
    (3, 32, 20),    // Q4_1
    (6, 32, 22),    // Q5_0
    (7, 32, 24),    // Q5_1
    (8, 32, 34),    // Q8_0
    (9, 32, 36),    // Q8_1
    (10, 256, 84),  // Q2_K
    (11, 256, 110), // Q3_K
    (12, 256, 144), // Q4_K
    (13, 256, 176), // Q5_K
    (14, 256, 210), // Q6_K
    (15, 256, 292), // Q8_K
    (30, 1, 2),     // BF16
];

/// What mistral.rs runs of GGUF.
const ACCEPTED: Accepted = Accepted {
    architectures: &[
        "llama",
        "mistral3",
        "phi2",
        "phi3",
        "qwen2",
        "qwen3",
        "qwen3moe",
        "starcoder2",
    ],
    types: TYPES,
};

/// What is prepared: that, and encoders, which llama.cpp alone runs.
const PREPARED: Accepted = Accepted {
    architectures: &[
        "llama",
        "mistral3",
        "phi2",
        "phi3",
        "qwen2",
        "qwen3",
        "qwen3moe",
        "starcoder2",
        "bert",
        "nomic-bert",
        "gemma-embedding",
    ],
    types: TYPES,
};

/// Types without a vectorised kernel in the engine: several times slower than Q8_0, so they are re-encoded.
pub(crate) fn is_slow(ggml_type: u32) -> bool {
    matches!(ggml_type, 3 | 6 | 7 | 9)
}

/// Walks the header of `path`.
///
/// # Errors
/// See [`gguf::read`].
pub(crate) fn read(path: &Path) -> Result<Header, ConvertError> {
    Ok(gguf::read(path, &ACCEPTED)?)
}

/// As [`read`], of a file that is to be prepared.
///
/// # Errors
/// See [`gguf::read`].
pub(crate) fn read_to_prepare(path: &Path) -> Result<Header, ConvertError> {
    Ok(gguf::read(path, &PREPARED)?)
}

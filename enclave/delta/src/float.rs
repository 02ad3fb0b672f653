//! Elements as F32 and back.

use half::{bf16, f16};

/// Encodings that take a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Float {
    F32,
    F16,
    Bf16,
}

impl Float {
    /// By the name that ggml and safetensors share.
    pub(crate) fn named(encoding: &str) -> Option<Self> {
        match encoding {
            "F32" => Some(Self::F32),
            "F16" => Some(Self::F16),
            "BF16" => Some(Self::Bf16),
            _ => None,
        }
    }

    /// Bytes of an element.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// All elements of little-endian bytes.
    pub(crate) fn read(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Self::F16 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| f16::from_le_bytes(*b).to_f32())
                .collect(),
            Self::Bf16 => bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| bf16::from_le_bytes(*b).to_f32())
                .collect(),
        }
    }

    /// The same the other way, to nearest, ties to even.
    pub(crate) fn write(self, elements: &[f32], bytes: &mut Vec<u8>) {
        bytes.clear();
        match self {
            Self::F32 => bytes.extend(elements.iter().flat_map(|x| x.to_le_bytes())),
            Self::F16 => bytes.extend(elements.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes())),
            Self::Bf16 => bytes.extend(elements.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes())),
        }
    }
}

//! Adapters: what a tenant puts on a base model, sealed apart from it.
//!
//! # Layout
//! A flat directory of two files: `adapter.json` (JCS, [`Adapter`]) and, by its kind, `adapter.gguf` (LoRA as llama.cpp writes it) or
//! `delta.safetensors` (`enclave/delta/SPEC.md`). The root over both therefore says which base the adapter goes on.

use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_attestation::jcs::{self, JcsError};
use serde::{Deserialize, Serialize};

use crate::error::ModelFileError;
use crate::{gguf, tensor};

/// What says which base an adapter goes on.
pub const ADAPTER_FILE: &str = "adapter.json";
/// The weights of a LoRA adapter.
pub const LORA_FILE: &str = "adapter.gguf";
/// The signs and scales of a delta.
pub const DELTA_FILE: &str = "delta.safetensors";
/// What `type` says.
pub const ADAPTER_TYPE: &str = "hanzo.adapter.v1";
/// Largest file of an adapter, in bytes: a fourth of what the smallest machine for such a base has.
pub const ADAPTER_BYTES_MAX: u64 = 4 << 30;
/// Longest `adapter.json` in bytes.
const DOCUMENT_BYTES_MAX: usize = 4096;
/// A scale of one.
pub const SCALE_ONE_MICROS: u64 = 1_000_000;
const SCALE_MICROS_MAX: u64 = 64 * SCALE_ONE_MICROS;
const WHAT: &str = "adapter";

/// How an adapter changes its base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterKind {
    /// Products of two small matrices, added while the base computes; llama.cpp alone.
    Lora,
    /// Signs and a scale a matrix, put onto a copy of the base before it is loaded.
    BitDelta,
}

impl AdapterKind {
    /// As `adapter.json` writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lora => "lora",
            Self::BitDelta => "bitdelta",
        }
    }

    /// What its weights are called.
    pub fn file(self) -> &'static str {
        match self {
            Self::Lora => LORA_FILE,
            Self::BitDelta => DELTA_FILE,
        }
    }
}

/// `adapter.json`: canonical JSON with every member written out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    /// Root over all files of the base.
    pub base_root: Digest256,
    /// How it changes its base.
    pub kind: AdapterKind,
    /// What the product of a LoRA adapter is multiplied by besides, in millionths: 1 to 64,000,000. 1,000,000 for deltas.
    pub scale_micros: u64,
    /// [`ADAPTER_TYPE`].
    #[serde(rename = "type")]
    type_name: String,
}

/// An adapter whose directory was read. Structure and lengths were checked; that it fits its base shows when it is put on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterFacts {
    /// What its document says.
    pub adapter: Adapter,
    /// Of the base, as a LoRA file says it; a delta says none.
    pub architecture: Option<String>,
    /// Matrices that it changes.
    pub matrices: u64,
    /// Bytes of its weights' file.
    pub bytes: u64,
}

/// Why a directory is no adapter, or not one for this base.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// One of its files.
    #[error(transparent)]
    Files(#[from] ModelFileError),
    /// `adapter.json` is not the format's JSON.
    #[error("{}: {source}", path.display())]
    Json {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: JcsError,
    },
    /// A value out of its range.
    #[error("{}: {field}: expected {expected}, got {got}", path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// The member.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// Another set of files.
    #[error("{}: expected {expected} and nothing else, got {got}: make it with hanzo model adapter, or delta make", path.display())]
    Contents {
        /// The directory.
        path: PathBuf,
        /// The files of this kind.
        expected: String,
        /// What lies there.
        got: String,
    },
    /// Too large.
    #[error("{}: {got} bytes, an adapter has at most {max}: serve it as a model of its own", path.display())]
    Size {
        /// Which file.
        path: PathBuf,
        /// Its length.
        got: u64,
        /// The bound.
        max: u64,
    },
    /// Made for another base.
    #[error(
        "{}: base_root: the adapter was made for the model {expected}, it is to go on {got}: name the base that it was made for",
        path.display()
    )]
    Base {
        /// The adapter.
        path: PathBuf,
        /// Root of the base that it names.
        expected: Digest256,
        /// Root of the base that was given.
        got: Digest256,
    },
}

impl AdapterError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Files(e) => e.code(),
            Self::Json { .. } => "adapter.malformed",
            Self::Value { .. } => "adapter.value",
            Self::Contents { .. } => "adapter.contents",
            Self::Size { .. } => "adapter.size",
            Self::Base { .. } => "adapter.base",
        }
    }
}

impl Adapter {
    /// One for the base under `base_root`; a delta's scale is 1,000,000.
    pub fn new(kind: AdapterKind, base_root: Digest256, scale_micros: u64) -> Self {
        Self {
            base_root,
            kind,
            scale_micros,
            type_name: ADAPTER_TYPE.to_owned(),
        }
    }

    /// The document, for `dir`.
    ///
    /// # Errors
    /// [`AdapterError::Value`], [`AdapterError::Json`].
    pub fn document(&self, dir: &Path) -> Result<Vec<u8>, AdapterError> {
        let path = dir.join(ADAPTER_FILE);
        self.check(&path)?;
        jcs::to_vec(WHAT, self).map_err(|source| AdapterError::Json { path, source })
    }

    fn check(&self, path: &Path) -> Result<(), AdapterError> {
        let wrong = |field, expected, got: String| AdapterError::Value {
            path: path.to_owned(),
            field,
            expected,
            got,
        };
        if self.type_name != ADAPTER_TYPE {
            return Err(wrong("type", ADAPTER_TYPE, "another".into()));
        }
        let scale = self.scale_micros;
        match self.kind {
            AdapterKind::Lora if !(1..=SCALE_MICROS_MAX).contains(&scale) => {
                Err(wrong("scale_micros", "1 to 64000000", scale.to_string()))
            }
            AdapterKind::BitDelta if scale != SCALE_ONE_MICROS => {
                Err(wrong("scale_micros", "1000000 for a delta", scale.to_string()))
            }
            AdapterKind::Lora | AdapterKind::BitDelta => Ok(()),
        }
    }
}

impl AdapterFacts {
    /// Reads the adapter in `dir` as hostile input.
    ///
    /// # Errors
    /// [`AdapterError`].
    pub fn read(dir: &Path) -> Result<Self, AdapterError> {
        let path = dir.join(ADAPTER_FILE);
        if !path.is_file() {
            only(dir, AdapterKind::Lora)?;
        }
        let document = bounded(&path)?;
        let adapter: Adapter =
            jcs::from_slice_bounded(WHAT, &document, DOCUMENT_BYTES_MAX).map_err(|source| AdapterError::Json {
                path: path.clone(),
                source,
            })?;
        adapter.check(&path)?;
        only(dir, adapter.kind)?;
        let weights = dir.join(adapter.kind.file());
        let bytes = std::fs::metadata(&weights)
            .map_err(ModelFileError::io("reading the size of", &weights))?
            .len();
        if bytes > ADAPTER_BYTES_MAX {
            return Err(AdapterError::Size {
                path: weights,
                got: bytes,
                max: ADAPTER_BYTES_MAX,
            });
        }
        let (architecture, tensors) = match adapter.kind {
            AdapterKind::Lora => gguf::lora(&weights).map(|(name, count)| (Some(name), count))?,
            AdapterKind::BitDelta => (None, tensor::tensors(&weights)?.len() as u64),
        };
        Ok(Self {
            adapter,
            architecture,
            // Two tensors a matrix, in either kind.
            matrices: tensors / 2,
            bytes,
        })
    }

    /// Holds it against the base that it is to go on.
    ///
    /// # Errors
    /// [`AdapterError::Base`].
    pub fn check_base(&self, dir: &Path, base_root: &Digest256) -> Result<(), AdapterError> {
        match self.adapter.base_root == *base_root {
            true => Ok(()),
            false => Err(AdapterError::Base {
                path: dir.to_owned(),
                expected: self.adapter.base_root,
                got: *base_root,
            }),
        }
    }

    /// What it adds to the memory of an engine on its base, in bytes: the opened file, and the engine's copy of it.
    pub fn memory_bytes(&self) -> u64 {
        self.bytes.saturating_mul(2)
    }
}

fn bounded(path: &Path) -> Result<Vec<u8>, AdapterError> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(ModelFileError::io("opening", path))?;
    let mut bytes = Vec::new();
    file.take(DOCUMENT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(ModelFileError::io("reading", path))?;
    Ok(bytes)
}

/// A file beside them would be under the root and used by nobody.
fn only(dir: &Path, kind: AdapterKind) -> Result<(), AdapterError> {
    let mut expected = [ADAPTER_FILE, kind.file()].map(str::to_owned).to_vec();
    expected.sort();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(ModelFileError::io("listing", dir))? {
        let entry = entry.map_err(ModelFileError::io("listing", dir))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
        if names.len() > 8 {
            break;
        }
    }
    names.sort();
    match names == expected {
        true => Ok(()),
        false => Err(AdapterError::Contents {
            path: dir.to_owned(),
            expected: expected.join(" and "),
            got: crate::error::plain(&names.join(", ")),
        }),
    }
}

//! Where tensors lie in their files.

use std::path::{Path, PathBuf};

use crate::error::ModelFileError;
use crate::inspect::GGUF_FILE;
use crate::{gguf, safetensors};

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorPlace {
    /// Its name, as the file has it: not made printable.
    pub name: String,
    /// Its encoding, as ggml or safetensors name it.
    pub encoding: &'static str,
    /// How many dimensions.
    pub rank: usize,
    /// Its elements.
    pub elements: u64,
    /// In which file.
    pub file: PathBuf,
    /// Its first byte there.
    pub offset: u64,
    /// Its bytes, all of them inside the file.
    pub bytes: u64,
}

/// All tensors of a GGUF file, a safetensors file, or a model directory.
///
/// # Errors
/// [`ModelFileError`].
pub fn tensors(path: &Path) -> Result<Vec<TensorPlace>, ModelFileError> {
    let weights = path.join(GGUF_FILE);
    if weights.is_file() {
        return gguf::tensors(&weights);
    }
    if path.is_dir() {
        let mut all = Vec::new();
        for file in safetensors::weight_files(path)? {
            all.extend(safetensors::tensors(&path.join(file))?);
        }
        return Ok(all);
    }
    match path.extension().is_some_and(|e| e == "safetensors") {
        true => safetensors::tensors(path),
        false => gguf::tensors(path),
    }
}

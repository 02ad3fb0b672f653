//! The files of a model: which there must be, and what of GGUF this engine runs.

use std::path::{Path, PathBuf};

use hanzo_engine_process::gguf::Accepted;
use serde_json::Value as Json;

use crate::error::LlamaError;

const WEIGHTS: &str = "model.gguf";
const TEMPLATE: &str = "chat_template.jinja";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// Largest template or configuration read, in bytes.
const TEXT_BYTES_MAX: u64 = 4 << 20;

/// Architectures that make vectors and nothing else.
pub(crate) const ENCODERS: [&str; 3] = ["bert", "nomic-bert", "gemma-embedding"];

/// Decoders of text whose key-value memory can be divided among sequences. Tested here: llama (SmolLM2); the others are
/// llama.cpp's word. Recurrent and multi-modal models are not among them; encoders make vectors alone.
pub(crate) const ACCEPTED: Accepted = Accepted {
    architectures: &[
        "llama",
        "mistral3",
        "qwen2",
        "qwen2moe",
        "qwen3",
        "qwen3moe",
        "gemma",
        "gemma2",
        "gemma3",
        "phi2",
        "phi3",
        "starcoder2",
        "stablelm",
        "olmo",
        "olmo2",
        "olmoe",
        "smollm3",
        "granite",
        "granitemoe",
        "gpt-oss",
        "glm4",
        "deepseek",
        "deepseek2",
        "command-r",
        "cohere2",
        "internlm2",
        "exaone",
        "minicpm",
        "gptneox",
        "gpt2",
        "falcon",
        "bert",
        "nomic-bert",
        "gemma-embedding",
    ],
    types: &[
        (0, 1, 4),      // F32
        (1, 1, 2),      // F16
        (2, 32, 18),    // Q4_0
        (3, 32, 20),    // Q4_1
        (6, 32, 22),    // Q5_0
        (7, 32, 24),    // Q5_1
        (8, 32, 34),    // Q8_0
        (10, 256, 84),  // Q2_K
        (11, 256, 110), // Q3_K
        (12, 256, 144), // Q4_K
        (13, 256, 176), // Q5_K
        (14, 256, 210), // Q6_K
        (16, 256, 66),  // IQ2_XXS
        (17, 256, 74),  // IQ2_XS
        (18, 256, 98),  // IQ3_XXS
        (19, 256, 50),  // IQ1_S
        (20, 32, 18),   // IQ4_NL
        (21, 256, 110), // IQ3_S
        (22, 256, 82),  // IQ2_S
        (23, 256, 136), // IQ4_XS
        (29, 256, 56),  // IQ1_M
        (30, 1, 2),     // BF16
        (39, 32, 17),   // MXFP4
    ],
};

/// The weights of `dir`, and the file that holds its template if it is not to come from the weights.
///
/// # Errors
/// [`LlamaError::ModelDir`] says what is missing.
pub(crate) fn check(dir: &Path) -> Result<(PathBuf, Option<PathBuf>), LlamaError> {
    let wrong = |what: &str| LlamaError::ModelDir {
        path: dir.into(),
        what: what.into(),
    };
    if !dir.is_dir() {
        return Err(wrong("not a directory"));
    }
    let weights = dir.join(WEIGHTS);
    if !weights.is_file() {
        return Err(wrong("no model.gguf: this engine runs GGUF alone"));
    }
    // The order in which the guest hashes them for the keyset.
    let template = [TEMPLATE, TOKENIZER_CONFIG]
        .map(|name| dir.join(name))
        .into_iter()
        .find(|path| path.is_file());
    Ok((weights, template))
}

/// The template's text.
///
/// # Errors
/// [`LlamaError::ModelDir`] when it cannot be read or there is none.
pub(crate) fn template_text(file: &Path) -> Result<String, LlamaError> {
    let wrong = |what: String| LlamaError::ModelDir {
        path: file.into(),
        what,
    };
    let bytes = std::fs::metadata(file).map_err(|error| wrong(error.to_string()))?.len();
    if bytes > TEXT_BYTES_MAX {
        return Err(wrong(format!("{bytes} bytes, at most {TEXT_BYTES_MAX} are read")));
    }
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    if file.extension().is_some_and(|extension| extension == "jinja") {
        return Ok(text);
    }
    let json: Json = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    match json.get("chat_template") {
        Some(Json::String(template)) => Ok(template.clone()),
        _ => Err(wrong("no text under `chat_template`".into())),
    }
}

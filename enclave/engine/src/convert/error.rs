//! What can be wrong with a model somebody hands us, and what to do about it.

use std::path::PathBuf;

use hanzo_engine_process::GgufError;

/// Why a model was not prepared. Nothing is left behind: the output directory appears complete or not at all.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The operating system refused (missing file, permission, disk full).
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Neither a GGUF file nor a safetensors directory.
    #[error(
        "{} is not a model: got {got}; expected a GGUF file (begins with the bytes `GGUF`) or a directory with config.json and *.safetensors",
        path.display()
    )]
    NotAModel {
        /// The path given.
        path: PathBuf,
        /// What was found there.
        got: String,
    },
    /// A GGUF version this build does not read.
    #[error("{}: GGUF version {got} at offset 4; expected 2 or 3; convert the file again with a current llama.cpp", path.display())]
    GgufVersion {
        /// The file.
        path: PathBuf,
        /// The version it states.
        got: u32,
    },
    /// The file ends before what its own header announces.
    #[error("{}: truncated: {what} ends at byte {expected}, the file has {got}; fetch it again and compare its SHA-256", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Which part is missing.
        what: String,
        /// Where that part would end.
        expected: u64,
        /// The file's length.
        got: u64,
    },
    /// A header field that no sound file has.
    #[error("{}: malformed {what}: got {got}, expected {expected}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The field.
        what: String,
        /// What it holds.
        got: String,
        /// What it should hold.
        expected: String,
    },
    /// An architecture the engine cannot run.
    #[error("{}: architecture `{got}` is not supported; expected one of {expected}", path.display())]
    Architecture {
        /// The file.
        path: PathBuf,
        /// `general.architecture` or `architectures[0]`.
        got: String,
        /// What this build runs.
        expected: String,
    },
    /// A tensor encoding the engine cannot read.
    #[error(
        "{}: tensor `{tensor}` has ggml type {got}, which this engine cannot read; use a file quantised as Q8_0, Q4_0 or a K-quant",
        path.display()
    )]
    TensorType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its ggml type number.
        got: u32,
    },
    /// The vocabulary in the GGUF cannot be turned into a tokenizer by this build.
    #[error(
        "{}: {key} is `{got}`; this build can write a tokenizer for {expected}; put the model's own tokenizer.json beside the GGUF file and run again",
        path.display()
    )]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// The metadata key.
        key: &'static str,
        /// Its value.
        got: String,
        /// Values known here.
        expected: String,
    },
    /// A tokenizer that does not fit the model.
    #[error("{}: {what}: got {got}, expected {expected}; use the tokenizer.json this model was published with", path.display())]
    TokenizerMismatch {
        /// The tokenizer file, or the GGUF it was made from.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// The tokenizer's side.
        got: String,
        /// The model's side.
        expected: String,
    },
    /// A chat model needs a template.
    #[error("{}: no chat template; put the model's chat_template.jinja beside it and run again", path.display())]
    NoChatTemplate {
        /// The file or directory.
        path: PathBuf,
    },
    /// A file that the directory must have.
    #[error("{}: no {file}; a safetensors model is config.json, tokenizer.json, tokenizer_config.json and *.safetensors", path.display())]
    MissingFile {
        /// The directory.
        path: PathBuf,
        /// The file.
        file: String,
    },
    /// The output is there already.
    #[error("{} exists; remove it or choose another output directory", path.display())]
    OutputExists {
        /// The output directory.
        path: PathBuf,
    },
    /// The tensor library refused.
    #[error("{}: {what}: {source}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// What was being done.
        what: String,
        /// Its answer.
        source: Box<candle_core::Error>,
    },
}

impl ConvertError {
    /// A stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "convert.io",
            Self::NotAModel { .. } => "convert.not_a_model",
            Self::GgufVersion { .. } => "convert.gguf.version",
            Self::Truncated { .. } => "convert.truncated",
            Self::Malformed { .. } => "convert.malformed",
            Self::Architecture { .. } => "convert.architecture",
            Self::TensorType { .. } => "convert.tensor_type",
            Self::Tokenizer { .. } => "convert.tokenizer.unknown",
            Self::TokenizerMismatch { .. } => "convert.tokenizer.mismatch",
            Self::NoChatTemplate { .. } => "convert.no_chat_template",
            Self::MissingFile { .. } => "convert.missing_file",
            Self::OutputExists { .. } => "convert.output_exists",
            Self::Tensor { .. } => "convert.tensor",
        }
    }
}

impl From<GgufError> for ConvertError {
    fn from(error: GgufError) -> Self {
        match error {
            GgufError::Io { what, path, source } => Self::Io { what, path, source },
            GgufError::NotGguf { path, got } => Self::NotAModel { path, got },
            GgufError::Version { path, got } => Self::GgufVersion { path, got },
            GgufError::Truncated {
                path,
                what,
                expected,
                got,
            } => Self::Truncated {
                path,
                what,
                expected,
                got,
            },
            GgufError::Malformed {
                path,
                what,
                got,
                expected,
            } => Self::Malformed {
                path,
                what,
                got,
                expected,
            },
            GgufError::Architecture { path, got, expected } => Self::Architecture { path, got, expected },
            GgufError::TensorType { path, tensor, got } => Self::TensorType { path, tensor, got },
        }
    }
}

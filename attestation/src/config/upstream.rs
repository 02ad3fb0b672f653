//! A server of the operator's own behind `engine = "upstream"`.

use serde::{Deserialize, Serialize};

use super::{ConfigError, EngineKind, ModelConfig};

/// Most words of a command, and most bytes of one.
const WORDS_MAX: usize = 64;
const WORD_BYTES_MAX: usize = 1024;
const FILES_MAX: usize = 16;

/// The server that computes a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamServer {
    /// Whose API it has beside OpenAI's.
    pub speaks: UpstreamApi,
    /// Its program, by an absolute path in the image, and its arguments: 1 to 64 words of 1 to 1,024 bytes. `{model_dir}`, `{socket}` and
    /// `{context_tokens}` are replaced.
    pub command: Vec<String>,
    /// What it reads and runs besides, each by an absolute path in the image: its libraries, an interpreter's. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

/// How a server counts and renders prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpstreamApi {
    /// llama.cpp's `llama-server`.
    LlamaServer,
    /// vLLM.
    Vllm,
}

impl UpstreamApi {
    /// As a configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LlamaServer => "llama-server",
            Self::Vllm => "vllm",
        }
    }
}

pub(super) fn check(model: &ModelConfig) -> Result<(), ConfigError> {
    let wrong = |field, expected, got: &str| {
        Err(ConfigError::Value {
            field,
            expected,
            got: got.to_owned(),
        })
    };
    let is_named = model.engine == Some(EngineKind::Upstream);
    let server = match (is_named, &model.upstream) {
        (false, None) => return Ok(()),
        (true, Some(server)) => server,
        (true, None) => {
            return wrong(
                "models.upstream",
                "speaks and command, as `engine` is upstream",
                "nothing",
            );
        }
        (false, Some(_)) => return wrong("models.upstream", "nothing unless `engine` is upstream", "a server"),
    };
    let fits = |word: &String| (1..=WORD_BYTES_MAX).contains(&word.len()) && !word.contains('\0');
    let is_program = |word: &String| word.starts_with('/');
    let words = &server.command;
    if words.len() > WORDS_MAX || !words.iter().all(fits) || !words.first().is_some_and(is_program) {
        return wrong(
            "models.upstream.command",
            "an absolute path and its arguments, 1 to 64 words of 1 to 1024 bytes",
            &format!("{} words", words.len()),
        );
    }
    let files = &server.files;
    if files.len() > FILES_MAX || !files.iter().all(|path| fits(path) && is_program(path)) {
        return wrong(
            "models.upstream.files",
            "0 to 16 absolute paths of at most 1024 bytes",
            &format!("{} paths", files.len()),
        );
    }
    Ok(())
}

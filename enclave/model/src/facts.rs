//! What inspection found.

use hanzo_attestation::Digest256;
use hanzo_attestation::config::EngineKind;
use serde::{Deserialize, Serialize};

/// How the weights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One GGUF file.
    Gguf,
    /// Hugging Face's directory with `config.json`.
    Safetensors,
}

impl Format {
    /// As manifests write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gguf => "gguf",
            Self::Safetensors => "safetensors",
        }
    }
}

/// Tensors of one encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EncodingShare {
    /// The encoding, as ggml or safetensors name it.
    pub encoding: &'static str,
    /// How many tensors.
    pub tensors: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What the files of a model say of themselves. Structure and lengths were checked; numbers are the files' own claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelFacts {
    /// How the weights are written.
    pub format: Format,
    /// `general.architecture`, or the first of `architectures`; cut and made printable.
    pub architecture: String,
    /// `general.name`; cut and made printable.
    pub title: Option<String>,
    /// `general.license`; cut and made printable. The publisher's word, nothing more.
    pub licence: Option<String>,
    /// Tokens of prompt and answer that it was trained for.
    pub context_tokens: Option<u64>,
    /// Layers.
    pub layers: Option<u64>,
    /// Tokens of the vocabulary.
    pub vocabulary: Option<u64>,
    /// Elements of all tensors.
    pub parameters: u64,
    /// How many tensors.
    pub tensors: u64,
    /// Bytes of all tensors.
    pub weights_bytes: u64,
    /// Encodings, the largest share first.
    pub encodings: Vec<EncodingShare>,
    /// Bytes of keys and values of one token in half precision; absent where the files do not say.
    pub bytes_per_token: Option<u64>,
    /// SHA-256 over the tokenizer's part of a GGUF header: what llama.cpp makes ids with (`enclave/model/SPEC.md`).
    pub gguf_tokenizer_sha256: Option<Digest256>,
    /// SHA-256 of `tokenizer.json`: what mistral.rs makes ids with.
    pub tokenizer_json_sha256: Option<Digest256>,
    /// SHA-256 of the file of the chat template, as keysets state it.
    pub chat_template_sha256: Option<Digest256>,
}

/// What an engine needs at least beside weights and context, in bytes: its own program and buffers.
pub const WORKING_BYTES: u64 = 32 << 20;

impl ModelFacts {
    /// The digest that keysets and receipts state as `tokenizer_sha256` when `engine` computes: of what this engine reads.
    pub fn tokenizer_sha256(&self, engine: EngineKind) -> Option<Digest256> {
        match engine {
            EngineKind::LlamaCpp => self.gguf_tokenizer_sha256,
            EngineKind::MistralRs => self.tokenizer_json_sha256,
            EngineKind::Upstream => self.gguf_tokenizer_sha256.or(self.tokenizer_json_sha256),
        }
    }

    /// The engine that runs this format where nobody named one.
    pub fn default_engine(&self) -> EngineKind {
        match self.format {
            Format::Gguf => EngineKind::LlamaCpp,
            Format::Safetensors => EngineKind::MistralRs,
        }
    }

    /// The least memory of its own that `engine` needs for one answer of `context_tokens`, in bytes. It is a lower bound: what does
    /// not fit here does not fit. llama.cpp maps the opened file; mistral.rs keeps a copy of the weights.
    pub fn least_memory_bytes(&self, engine: EngineKind, context_tokens: u64) -> u64 {
        let context = self.bytes_per_token.unwrap_or(0).saturating_mul(context_tokens);
        let copy = match engine {
            // How a server loads is its own affair.
            EngineKind::LlamaCpp | EngineKind::Upstream => 0,
            EngineKind::MistralRs => self.weights_bytes,
        };
        WORKING_BYTES.saturating_add(context).saturating_add(copy)
    }

    /// The same for a machine that opens the model into memory first.
    pub fn least_machine_bytes(&self, engine: EngineKind, context_tokens: u64) -> u64 {
        self.weights_bytes
            .saturating_add(self.least_memory_bytes(engine, context_tokens))
    }

    /// The encodings in one text, e.g. `Q4_0, F32`.
    pub fn encodings_text(&self) -> String {
        let names: Vec<_> = self.encodings.iter().map(|share| share.encoding).collect();
        names.join(", ")
    }
}

/// Bytes of keys and values of one token: 2 bytes an element. `None` if a factor is absent or the product is no size of a machine.
pub(crate) fn bytes_per_token(layers: Option<u64>, heads: Option<u64>, key_and_value: Option<u64>) -> Option<u64> {
    const SANE_MAX: u64 = 1 << 30;
    let bytes = layers?
        .checked_mul(heads?)?
        .checked_mul(key_and_value?)?
        .checked_mul(2)?;
    (1..=SANE_MAX).contains(&bytes).then_some(bytes)
}

/// Adds a tensor to its encoding's share.
pub(crate) fn count(shares: &mut Vec<EncodingShare>, encoding: &'static str, bytes: u64) {
    match shares.iter_mut().find(|share| share.encoding == encoding) {
        Some(share) => {
            share.tensors += 1;
            share.bytes = share.bytes.saturating_add(bytes);
        }
        None => shares.push(EncodingShare {
            encoding,
            tensors: 1,
            bytes,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_of_a_token_are_counted_and_nonsense_is_not() {
        // SmolLM2-135M: 30 layers, 3 key-value heads of 64.
        assert_eq!(bytes_per_token(Some(30), Some(3), Some(128)), Some(23_040));
        assert_eq!(bytes_per_token(None, Some(3), Some(128)), None);
        assert_eq!(bytes_per_token(Some(0), Some(3), Some(128)), None);
        assert_eq!(bytes_per_token(Some(u64::MAX), Some(2), Some(2)), None);
    }
}

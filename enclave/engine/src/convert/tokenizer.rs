//! `tokenizer.json` from the vocabulary inside a GGUF.
//!
//! A GGUF holds tokens and merges, but of the pre-tokenizer only its name (`tokenizer.ggml.pre`). The wrong split gives
//! other token ids for digits and contractions, silently. So names are a closed table, and an unknown one is refused.

use std::collections::HashMap;
use std::path::Path;

use candle_core::quantized::gguf_file::Value;
use serde_json::{Map, Value as Json, json};
use tokenizers::Tokenizer;

use super::ConvertError;

/// ggml token types (`LLAMA_TOKEN_TYPE_*`).
const TOKEN_UNKNOWN: i64 = 2;
const TOKEN_CONTROL: i64 = 3;
const TOKEN_USER_DEFINED: i64 = 4;

const SPLIT_LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const SPLIT_QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const KNOWN: &str = "smollm, starcoder, refact, llama-bpe, qwen2, gpt-2, phi-2";

/// What goes into the model directory besides weights and template.
pub(crate) struct Words {
    pub tokenizer_json: Vec<u8>,
    pub tokenizer_config_json: Vec<u8>,
    pub supplied: bool,
}

struct Vocabulary<'a> {
    path: &'a Path,
    tokens: Vec<&'a str>,
    metadata: &'a HashMap<String, Value>,
}

/// Builds the tokenizer of the GGUF at `path`, or takes `tokenizer.json` beside it when the GGUF's own cannot be built.
pub(crate) fn from_gguf(path: &Path, metadata: &HashMap<String, Value>, template: &str) -> Result<Words, ConvertError> {
    let tokens = strings(path, metadata, "tokenizer.ggml.tokens")?;
    let vocabulary = Vocabulary { path, tokens, metadata };
    let eos = vocabulary
        .special("tokenizer.ggml.eos_token_id")?
        .ok_or_else(|| ConvertError::Malformed {
            path: path.into(),
            what: "tokenizer.ggml.eos_token_id".into(),
            got: "nothing".into(),
            expected: "the id of the token that ends an answer".into(),
        })?;
    let bos = vocabulary.special("tokenizer.ggml.bos_token_id")?;
    let unknown = vocabulary.special("tokenizer.ggml.unknown_token_id")?;
    let mut config = Map::new();
    config.insert("eos_token".into(), json!(eos.1));
    if let Some((_, text)) = bos {
        config.insert("bos_token".into(), json!(text));
    }
    if let Some((_, text)) = unknown {
        config.insert("unk_token".into(), json!(text));
    }
    let (tokenizer_json, supplied) = match vocabulary.build(bos, template) {
        Ok(built) => (built, false),
        Err(error @ ConvertError::Tokenizer { .. }) => (supplied(path)?.ok_or(error)?, true),
        Err(error) => return Err(error),
    };
    vocabulary.check(&tokenizer_json, eos)?;
    Ok(Words {
        tokenizer_json,
        tokenizer_config_json: bytes(&Json::Object(config)),
        supplied,
    })
}

fn supplied(path: &Path) -> Result<Option<Vec<u8>>, ConvertError> {
    let beside = path.with_file_name("tokenizer.json");
    match std::fs::read(&beside) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConvertError::Io {
            what: "reading",
            path: beside,
            source,
        }),
    }
}

impl<'a> Vocabulary<'a> {
    fn build(&self, bos: Option<(u64, &str)>, template: &str) -> Result<Vec<u8>, ConvertError> {
        let model = self.text("tokenizer.ggml.model");
        if model != "gpt2" {
            return Err(self.unknown("tokenizer.ggml.model", model, "gpt2 (byte-level BPE)"));
        }
        let pre = self.text("tokenizer.ggml.pre");
        let byte_level = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
        let split = |pattern: &str| {
            let split =
                json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
            json!({"type": "Sequence", "pretokenizers": [split, byte_level(false)]})
        };
        let (pre_tokenizer, normalizer, ignore_merges) = match pre {
            "smollm" | "starcoder" | "refact" => {
                let digits = json!({"type": "Digits", "individual_digits": true});
                (
                    json!({"type": "Sequence", "pretokenizers": [digits, byte_level(true)]}),
                    Json::Null,
                    false,
                )
            }
            "llama-bpe" => (split(SPLIT_LLAMA3), Json::Null, true),
            "qwen2" => (split(SPLIT_QWEN2), json!({"type": "NFC"}), false),
            "gpt-2" | "phi-2" => (byte_level(true), Json::Null, false),
            other => return Err(self.unknown("tokenizer.ggml.pre", other, KNOWN)),
        };
        let mut merges = Vec::new();
        for merge in strings(self.path, self.metadata, "tokenizer.ggml.merges")? {
            let Some((left, right)) = merge.split_once(' ') else {
                return Err(self.malformed("tokenizer.ggml.merges", format!("`{merge}`"), "two tokens and a space"));
            };
            merges.push(json!([left, right]));
        }
        let mut vocab = Map::new();
        for (id, token) in self.tokens.iter().enumerate() {
            if vocab.insert((*token).to_owned(), json!(id)).is_some() {
                return Err(self.malformed("tokenizer.ggml.tokens", format!("`{token}` twice"), "each token once"));
            }
        }
        // A template that writes the BOS token itself must not get a second one from the tokenizer.
        let prepend = bos.filter(|_| self.flag("tokenizer.ggml.add_bos_token") && !template.contains("bos_token"));
        let post_processor = match prepend {
            Some((id, text)) => json!({
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": text, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {text: {"id": text, "ids": [id], "tokens": [text]}},
            }),
            None => json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true}),
        };
        Ok(bytes(&json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": self.added_tokens()?,
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "post_processor": post_processor,
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": ignore_merges,
                "vocab": vocab, "merges": merges,
            },
        })))
    }

    fn added_tokens(&self) -> Result<Vec<Json>, ConvertError> {
        let Some(Value::Array(types)) = self.metadata.get("tokenizer.ggml.token_type") else {
            return Err(self.malformed("tokenizer.ggml.token_type", "nothing".into(), "one type a token"));
        };
        if types.len() != self.tokens.len() {
            return Err(self.malformed("tokenizer.ggml.token_type", types.len().to_string(), "one type a token"));
        }
        let mut added = Vec::new();
        for (id, (token, value)) in self.tokens.iter().zip(types).enumerate() {
            let special = match integer(value) {
                Some(TOKEN_CONTROL | TOKEN_UNKNOWN) => true,
                Some(TOKEN_USER_DEFINED) => false,
                _ => continue,
            };
            added.push(json!({
                "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": special,
            }));
        }
        Ok(added)
    }

    /// Refuses a tokenizer that is not this model's: other size, other end token, or one that loses text.
    fn check(&self, tokenizer_json: &[u8], eos: (u64, &str)) -> Result<(), ConvertError> {
        let mismatch = |what, got: String, expected: String| ConvertError::TokenizerMismatch {
            path: self.path.into(),
            what,
            got,
            expected,
        };
        let tokenizer = Tokenizer::from_bytes(tokenizer_json).map_err(|error| {
            mismatch(
                "tokenizer.json cannot be loaded",
                error.to_string(),
                "a Hugging Face tokenizer".into(),
            )
        })?;
        let size = tokenizer.get_vocab_size(true);
        if size > self.tokens.len() {
            return Err(mismatch(
                "vocabulary size",
                size.to_string(),
                format!("at most {}", self.tokens.len()),
            ));
        }
        let got = u32::try_from(eos.0)
            .ok()
            .and_then(|id| tokenizer.id_to_token(id))
            .unwrap_or_default();
        if got != eos.1 {
            return Err(mismatch("end token", format!("`{got}`"), format!("`{}`", eos.1)));
        }
        let probe = "Hello 12345 world's  test\n\n  x = 1;";
        let back = tokenizer
            .encode(probe, false)
            .and_then(|encoding| tokenizer.decode(encoding.get_ids(), false))
            .map_err(|error| mismatch("round trip", error.to_string(), "the same text".into()))?;
        if back != probe {
            return Err(mismatch("round trip", format!("{back:?}"), format!("{probe:?}")));
        }
        Ok(())
    }

    fn special(&self, key: &'static str) -> Result<Option<(u64, &'a str)>, ConvertError> {
        let Some(value) = self.metadata.get(key) else {
            return Ok(None);
        };
        let id = integer(value).and_then(|id| u64::try_from(id).ok());
        let token = id.and_then(|id| self.tokens.get(usize::try_from(id).ok()?).map(|token| (id, *token)));
        match token {
            Some(found) => Ok(Some(found)),
            None => Err(self.malformed(key, format!("{value:?}"), "the id of a token")),
        }
    }

    fn text(&self, key: &str) -> &str {
        match self.metadata.get(key) {
            Some(Value::String(text)) => text,
            _ => "",
        }
    }

    fn flag(&self, key: &str) -> bool {
        matches!(self.metadata.get(key), Some(Value::Bool(true)))
    }

    fn unknown(&self, key: &'static str, got: &str, expected: &str) -> ConvertError {
        ConvertError::Tokenizer {
            path: self.path.into(),
            key,
            got: got.to_owned(),
            expected: expected.to_owned(),
        }
    }

    fn malformed(&self, what: &str, got: String, expected: &str) -> ConvertError {
        ConvertError::Malformed {
            path: self.path.into(),
            what: what.to_owned(),
            got,
            expected: expected.to_owned(),
        }
    }
}

fn strings<'a>(path: &Path, metadata: &'a HashMap<String, Value>, key: &str) -> Result<Vec<&'a str>, ConvertError> {
    let found = match metadata.get(key) {
        Some(Value::Array(values)) => values
            .iter()
            .map(|value| match value {
                Value::String(text) => Some(text.as_str()),
                _ => None,
            })
            .collect(),
        _ => None,
    };
    found.ok_or_else(|| ConvertError::Malformed {
        path: path.into(),
        what: key.to_owned(),
        got: "nothing, or not strings".into(),
        expected: "an array of strings".into(),
    })
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::I32(id) => Some(i64::from(*id)),
        other => other.to_u64().ok().and_then(|id| i64::try_from(id).ok()),
    }
}

/// Compact JSON; members in the order written above, tokens in the order of their ids.
fn bytes(value: &Json) -> Vec<u8> {
    value.to_string().into_bytes()
}

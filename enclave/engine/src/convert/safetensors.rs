//! A Hugging Face safetensors directory in, a checked copy of the files the engine reads out. Nothing else is copied: no
//! scripts, no pickles.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use tokenizers::Tokenizer;

use super::staging::Staging;
use super::{ConvertError, Prepared, Progress, TokenizerSource};

/// `architectures[0]` values of text models the engine runs from safetensors.
const ARCHITECTURES: &[&str] = &[
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "MixtralForCausalLM",
    "GemmaForCausalLM",
    "Gemma2ForCausalLM",
    "PhiForCausalLM",
    "Phi3ForCausalLM",
    "PhiMoEForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen3MoeForCausalLM",
    "Starcoder2ForCausalLM",
    "DeepseekV2ForCausalLM",
    "DeepseekV3ForCausalLM",
    "Glm4ForCausalLM",
    "SmolLM3ForCausalLM",
];
const HEADER_MAX: u64 = 100_000_000;
const JSON_MAX: u64 = 256 << 20;
const INDEX: &str = "model.safetensors.index.json";

/// Prepares a safetensors directory: validates and copies it.
///
/// # Errors
/// [`ConvertError`]. `out_dir` must not exist.
pub fn prepare_safetensors(
    source: &Path,
    out_dir: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Prepared, ConvertError> {
    let mut weights = weight_files(source)?;
    weights.sort();
    if weights.is_empty() || !source.join("config.json").is_file() {
        let got = if weights.is_empty() {
            "a directory without *.safetensors"
        } else {
            "a directory without config.json"
        };
        return Err(ConvertError::NotAModel {
            path: source.into(),
            got: got.into(),
        });
    }
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        if !source.join(file).is_file() {
            return Err(ConvertError::MissingFile {
                path: source.into(),
                file: file.into(),
            });
        }
    }
    check_config(&source.join("config.json"))?;
    check_tokenizer(source)?;
    let mut tensors = 0;
    for name in &weights {
        tensors += check_weights(&source.join(name))?;
    }
    check_index(source, &weights)?;

    let mut files = vec![
        "config.json".to_owned(),
        "tokenizer.json".to_owned(),
        "tokenizer_config.json".to_owned(),
    ];
    for optional in ["generation_config.json", "chat_template.jinja", INDEX] {
        if source.join(optional).is_file() {
            files.push(optional.to_owned());
        }
    }
    files.extend(weights);
    let total = files
        .iter()
        .filter_map(|name| std::fs::metadata(source.join(name)).ok())
        .map(|meta| meta.len())
        .sum();
    let staging = Staging::new(out_dir)?;
    let mut done = 0;
    for name in &files {
        staging.copy(&source.join(name), name, &mut done, total, progress)?;
    }
    staging.publish()?;
    Ok(Prepared {
        requantised: 0,
        tensors,
        tokenizer: TokenizerSource::Supplied,
    })
}

fn weight_files(dir: &Path) -> Result<Vec<String>, ConvertError> {
    let io = |source| ConvertError::Io {
        what: "listing",
        path: dir.into(),
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        if let Ok(name) = entry.map_err(io)?.file_name().into_string()
            && name.ends_with(".safetensors")
        {
            found.push(name);
        }
    }
    Ok(found)
}

fn read_json(path: &Path) -> Result<Json, ConvertError> {
    let io = |source| ConvertError::Io {
        what: "reading",
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    if len > JSON_MAX {
        return Err(malformed(
            path,
            "size",
            format!("{len} bytes"),
            format!("at most {JSON_MAX}"),
        ));
    }
    let mut text = Vec::with_capacity(len as usize);
    file.take(JSON_MAX).read_to_end(&mut text).map_err(io)?;
    serde_json::from_slice(&text).map_err(|error| malformed(path, "JSON", error.to_string(), "a JSON document".into()))
}

fn check_config(path: &Path) -> Result<(), ConvertError> {
    let config = read_json(path)?;
    let got = config
        .pointer("/architectures/0")
        .and_then(Json::as_str)
        .unwrap_or_default();
    if !ARCHITECTURES.contains(&got) {
        return Err(ConvertError::Architecture {
            path: path.into(),
            got: got.to_owned(),
            expected: ARCHITECTURES.join(", "),
        });
    }
    Ok(())
}

fn check_tokenizer(source: &Path) -> Result<(), ConvertError> {
    let path = source.join("tokenizer.json");
    Tokenizer::from_file(&path).map_err(|error| ConvertError::TokenizerMismatch {
        path,
        what: "tokenizer.json cannot be loaded",
        got: error.to_string(),
        expected: "a Hugging Face tokenizer".into(),
    })?;
    let config_path = source.join("tokenizer_config.json");
    let config = read_json(&config_path)?;
    if config.get("eos_token").is_none_or(Json::is_null) {
        return Err(malformed(
            &config_path,
            "eos_token",
            "nothing".into(),
            "the token that ends an answer".into(),
        ));
    }
    let has_template = config.get("chat_template").is_some_and(|template| !template.is_null());
    if !has_template && !source.join("chat_template.jinja").is_file() {
        return Err(ConvertError::NoChatTemplate { path: source.into() });
    }
    Ok(())
}

/// Checks one file's header against its length; returns its number of tensors.
///
/// # Layout
/// u64 little-endian header length, JSON header `{name: {dtype, shape, data_offsets: [begin, end]}}`, data.
fn check_weights(path: &Path) -> Result<usize, ConvertError> {
    let io = |source| ConvertError::Io {
        what: "reading",
        path: path.into(),
        source,
    };
    let mut file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    let truncated = |what: String, expected| ConvertError::Truncated {
        path: path.into(),
        what,
        expected,
        got: len,
    };
    if len < 8 {
        return Err(truncated("the header length".into(), 8));
    }
    let mut prefix = [0u8; 8];
    file.read_exact(&mut prefix).map_err(io)?;
    let header_len = u64::from_le_bytes(prefix);
    if header_len > HEADER_MAX {
        return Err(malformed(
            path,
            "safetensors header length",
            header_len.to_string(),
            format!("at most {HEADER_MAX}"),
        ));
    }
    let data = 8 + header_len;
    if data > len {
        return Err(truncated("the header".into(), data));
    }
    let mut text = vec![0u8; header_len as usize];
    file.read_exact(&mut text).map_err(io)?;
    let header: Json = serde_json::from_slice(&text)
        .map_err(|error| malformed(path, "safetensors header", error.to_string(), "a JSON object".into()))?;
    let entries = header.as_object().ok_or_else(|| {
        malformed(
            path,
            "safetensors header",
            "another JSON value".into(),
            "a JSON object".into(),
        )
    })?;
    let mut count = 0;
    for (name, entry) in entries.iter().filter(|(name, _)| *name != "__metadata__") {
        let offset = |index: usize| {
            entry
                .get("data_offsets")
                .and_then(|offsets| offsets.get(index))
                .and_then(Json::as_u64)
        };
        let (Some(begin), Some(end)) = (offset(0), offset(1)) else {
            return Err(malformed(
                path,
                &format!("data_offsets of `{name}`"),
                "nothing".into(),
                "[begin, end]".into(),
            ));
        };
        if begin > end {
            return Err(malformed(
                path,
                &format!("data_offsets of `{name}`"),
                format!("[{begin}, {end}]"),
                "begin <= end".into(),
            ));
        }
        if end > len - data {
            return Err(truncated(format!("tensor `{name}`"), data.saturating_add(end)));
        }
        count += 1;
    }
    Ok(count)
}

fn check_index(source: &Path, weights: &[String]) -> Result<(), ConvertError> {
    let path: PathBuf = source.join(INDEX);
    if !path.is_file() {
        return Ok(());
    }
    let index = read_json(&path)?;
    let map = index.get("weight_map").and_then(Json::as_object).ok_or_else(|| {
        malformed(
            &path,
            "weight_map",
            "nothing".into(),
            "an object of tensor to file".into(),
        )
    })?;
    for file in map.values().filter_map(Json::as_str) {
        if !weights.iter().any(|name| name == file) {
            return Err(ConvertError::MissingFile {
                path: source.into(),
                file: file.to_owned(),
            });
        }
    }
    Ok(())
}

fn malformed(path: &Path, what: &str, got: String, expected: String) -> ConvertError {
    ConvertError::Malformed {
        path: path.into(),
        what: what.to_owned(),
        got,
        expected,
    }
}

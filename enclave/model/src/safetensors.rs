//! Facts from a safetensors directory.
//!
//! # Layout
//! `config.json`; each `*.safetensors`: u64 little-endian length of the header, JSON header
//! `{name: {dtype, shape, data_offsets: [begin, end]}}`, data without holes.
//!
//! # Spec
//! huggingface/safetensors, README, "Format".

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::encoding;
use crate::error::{ModelFileError, plain};
use crate::facts::{Format, ModelFacts, bytes_per_token, count};
use crate::tensor::TensorPlace;

pub(crate) const CONFIG: &str = "config.json";
const CONFIG_BYTES_MAX: u64 = 4 << 20;
/// The library's own bound.
const HEADER_BYTES_MAX: u64 = 100_000_000;
const FILES_MAX: usize = 1024;
const RANK_MAX: usize = 8;
const METADATA: &str = "__metadata__";

#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

pub(crate) fn facts(dir: &Path) -> Result<ModelFacts, ModelFileError> {
    let config = config(&dir.join(CONFIG))?;
    // Models of several media keep the text's numbers in a table of their own.
    let own = |key: &str| {
        let text = config.get("text_config").and_then(|inner| inner.get(key));
        text.or_else(|| config.get(key)).and_then(Json::as_u64)
    };
    let architecture = config.pointer("/architectures/0").and_then(Json::as_str);
    let heads = own("num_attention_heads");
    let width = own("hidden_size").zip(heads.filter(|n| *n > 0));
    let per_head = own("head_dim").or_else(|| width.map(|(hidden, heads)| hidden / heads));
    let layers = own("num_hidden_layers");
    let mut facts = ModelFacts {
        format: Format::Safetensors,
        architecture: plain(architecture.unwrap_or_default()),
        title: None,
        licence: None,
        context_tokens: own("max_position_embeddings"),
        layers,
        vocabulary: own("vocab_size"),
        parameters: 0,
        tensors: 0,
        weights_bytes: 0,
        encodings: Vec::new(),
        bytes_per_token: bytes_per_token(
            layers,
            own("num_key_value_heads").or(heads),
            per_head.and_then(|n| n.checked_mul(2)),
        ),
        gguf_tokenizer_sha256: None,
        tokenizer_json_sha256: None,
        chat_template_sha256: None,
    };
    let mut names = BTreeSet::new();
    for file in weight_files(dir)? {
        add(&dir.join(file), &mut facts, &mut names)?;
    }
    facts.encodings.sort_by_key(|share| std::cmp::Reverse(share.bytes));
    Ok(facts)
}

fn config(path: &Path) -> Result<Json, ModelFileError> {
    let file = File::open(path).map_err(ModelFileError::io("opening", path))?;
    let mut text = Vec::new();
    file.take(CONFIG_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(ModelFileError::io("reading", path))?;
    if text.len() as u64 > CONFIG_BYTES_MAX {
        let expected = format!("at most {CONFIG_BYTES_MAX} bytes");
        return Err(ModelFileError::malformed(path, "size", expected, "more"));
    }
    serde_json::from_slice(&text).map_err(|error| ModelFileError::malformed(path, "JSON", "a JSON document", error))
}

pub(crate) fn weight_files(dir: &Path) -> Result<Vec<String>, ModelFileError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(ModelFileError::io("listing", dir))? {
        let entry = entry.map_err(ModelFileError::io("listing", dir))?;
        if let Ok(name) = entry.file_name().into_string()
            && name.ends_with(".safetensors")
        {
            found.push(name);
        }
        if found.len() > FILES_MAX {
            return Err(ModelFileError::malformed(
                dir,
                "*.safetensors",
                "at most 1024 files",
                "more",
            ));
        }
    }
    if found.is_empty() {
        return Err(ModelFileError::NotAModel {
            path: dir.to_owned(),
            got: "a directory with config.json and without *.safetensors".into(),
        });
    }
    found.sort();
    Ok(found)
}

/// Adds what one file says; `names` holds the tensors of all files.
fn add(path: &Path, facts: &mut ModelFacts, names: &mut BTreeSet<String>) -> Result<(), ModelFileError> {
    for place in tensors(path)? {
        facts.parameters = facts.parameters.saturating_add(place.elements);
        facts.weights_bytes = facts.weights_bytes.saturating_add(place.bytes);
        facts.tensors += 1;
        count(&mut facts.encodings, place.encoding, place.bytes);
        if !names.insert(place.name.clone()) {
            return Err(ModelFileError::malformed(
                path,
                "tensors",
                "each tensor once",
                place.name,
            ));
        }
    }
    Ok(())
}

/// Reads one file's header.
///
/// # Establishes
/// Its tensors fill the file without holes and overlaps, each with the bytes that dtype and shape say.
pub(crate) fn tensors(path: &Path) -> Result<Vec<TensorPlace>, ModelFileError> {
    let io = |source| ModelFileError::io("reading", path)(source);
    let mut file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    if len < 8 {
        return Err(ModelFileError::truncated(path, "header length", 8, len));
    }
    let mut prefix = [0; 8];
    file.read_exact(&mut prefix).map_err(io)?;
    let header_len = u64::from_le_bytes(prefix);
    if header_len > HEADER_BYTES_MAX {
        let expected = format!("at most {HEADER_BYTES_MAX}");
        return Err(ModelFileError::malformed(path, "header length", expected, header_len));
    }
    let data = 8 + header_len;
    if data > len {
        return Err(ModelFileError::truncated(path, "header", data, len));
    }
    let mut text = vec![0; header_len as usize];
    file.read_exact(&mut text).map_err(io)?;
    let mut header: BTreeMap<String, Json> = serde_json::from_slice(&text)
        .map_err(|error| ModelFileError::malformed(path, "header", "a JSON object of tensors", error))?;
    header.remove(METADATA);
    let mut places = Vec::with_capacity(header.len());
    for (name, entry) in header {
        let tensor: Tensor = serde_json::from_value(entry).map_err(|error| {
            let what = format!("tensor `{name}`");
            ModelFileError::malformed(path, what, "dtype, shape, data_offsets", error)
        })?;
        places.push(place(path, name, &tensor)?);
    }
    places.sort_by_key(|place| (place.offset, place.bytes));
    let mut at = 0;
    for place in &mut places {
        if place.offset != at {
            let got = place.offset;
            return Err(ModelFileError::malformed(
                path,
                "data_offsets",
                "data without holes or overlaps",
                got,
            ));
        }
        at += place.bytes;
        place.offset += data;
    }
    match at.checked_add(data) {
        Some(end) if end == len => Ok(places),
        Some(end) if end < len => Err(ModelFileError::malformed(path, "length", end.to_string(), len)),
        end => Err(ModelFileError::truncated(path, "data", end.unwrap_or(u64::MAX), len)),
    }
}

/// A tensor whose range has the bytes that it must have; its offset is from the start of the data.
fn place(path: &Path, name: String, tensor: &Tensor) -> Result<TensorPlace, ModelFileError> {
    let wrong = |what: &str, expected: String, got: String| {
        Err(ModelFileError::malformed(
            path,
            format!("{what} of `{name}`"),
            expected,
            got,
        ))
    };
    let Some((dtype, element_bytes)) = encoding::safetensors(&tensor.dtype) else {
        return wrong("dtype", "a dtype of safetensors".into(), tensor.dtype.clone());
    };
    if tensor.shape.len() > RANK_MAX {
        return wrong("rank", "at most 8".into(), tensor.shape.len().to_string());
    }
    let elements = tensor
        .shape
        .iter()
        .try_fold(1_u64, |product, dim| product.checked_mul(*dim));
    let Some((elements, bytes)) = elements.and_then(|n| Some((n, n.checked_mul(element_bytes)?))) else {
        return wrong("shape", "fewer than 2^64 bytes".into(), format!("{:?}", tensor.shape));
    };
    let [begin, end] = tensor.data_offsets;
    if end.checked_sub(begin) != Some(bytes) || end > 1 << 53 {
        let expected = format!("{bytes} bytes, as dtype and shape say");
        return wrong("data_offsets", expected, format!("[{begin}, {end}]"));
    }
    Ok(TensorPlace {
        name,
        encoding: dtype,
        rank: tensor.shape.len(),
        elements,
        file: path.to_owned(),
        offset: begin,
        bytes,
    })
}

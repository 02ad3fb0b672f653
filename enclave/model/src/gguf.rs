//! Facts from a GGUF header.
//!
//! # Layout
//! Little endian: magic `GGUF`, u32 version, u64 tensor count, u64 key count; keys as (string, u32 type, value); tensors
//! as (string, u32 rank, u64 dims, u32 ggml type, u64 offset); padding to `general.alignment`; data.
//!
//! # Spec
//! ggml `docs/gguf.md`, versions 2 and 3.

mod lora;
mod walk;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use hanzo_attestation::Digest256;

use self::walk::{Entry, Value, Walk};
use crate::encoding;
use crate::error::{ModelFileError, plain};
use crate::facts::{Format, ModelFacts, bytes_per_token, count};
use crate::tensor::TensorPlace;

/// What a GGUF file begins with.
pub(crate) const MAGIC: [u8; 4] = *b"GGUF";

const KEYS_MAX: u64 = 65_536;
const TENSORS_MAX: u64 = 65_536;
const NAME_BYTES_MAX: u64 = 65_536;
const RANK_MAX: u32 = 4;
const ELEMENTS_MAX: u64 = 1 << 40;
/// Longest part of a header that is the tokenizer's, in bytes: it is read to be hashed.
const TOKENIZER_BYTES_MAX: u64 = 512 << 20;

/// What begins every hash of a tokenizer.
const TOKENIZER_DOMAIN: &str = "hanzo/gguf-tokenizer/v1";
/// Keys that llama.cpp makes ids with, beside those that begin with `tokenizer.`: it knows some vocabularies by name.
const TOKENIZER_KEYS: [&str; 2] = ["general.architecture", "general.name"];

pub(crate) use self::lora::lora;

/// Where the tensors of `path` lie.
pub(crate) fn tensors(path: &Path) -> Result<Vec<TensorPlace>, ModelFileError> {
    Ok(read(path)?.1.places)
}

/// The keys and the tensors of a header, all ranges checked.
fn read(path: &Path) -> Result<(BTreeMap<String, Entry>, Tensors), ModelFileError> {
    let mut walk = Walk::open(path)?;
    let magic = walk.bytes::<4>("magic")?;
    if magic != MAGIC {
        return Err(ModelFileError::NotAModel {
            path: path.to_owned(),
            got: format!(
                "a file that begins with {}",
                magic.map(|byte| format!("{byte:02x}")).concat()
            ),
        });
    }
    let version = walk.u32("version")?;
    if !(2..=3).contains(&version) {
        return Err(ModelFileError::Version {
            path: path.to_owned(),
            got: version,
        });
    }
    let tensor_count = walk.bounded("tensor_count", TENSORS_MAX)?;
    let key_count = walk.bounded("metadata_kv_count", KEYS_MAX)?;
    let mut keys = BTreeMap::new();
    for _ in 0..key_count {
        let (key, entry) = walk.entry()?;
        if keys.contains_key(&key) {
            return Err(ModelFileError::malformed(path, "metadata", "each key once", key));
        }
        keys.insert(key, entry);
    }
    let mut tensors = Tensors::read(&mut walk, tensor_count)?;
    let alignment = number(&keys, "general.alignment").unwrap_or(32);
    tensors.place(&walk, alignment)?;
    Ok((keys, tensors))
}

/// Reads the header of `path`.
///
/// # Establishes
/// Counts, lengths and tensor ranges lie inside the file; no key and no tensor stands twice.
pub(crate) fn facts(path: &Path) -> Result<ModelFacts, ModelFileError> {
    let (keys, tensors) = read(path)?;
    let tokenizer = has_tokenizer(&keys)
        .then(|| tokenizer_sha256(path, &keys))
        .transpose()?;
    let architecture = text(&keys, "general.architecture").unwrap_or_default();
    let own = |key: &str| number(&keys, &format!("{architecture}.{key}"));
    let heads = own("attention.head_count_kv").or_else(|| own("attention.head_count"));
    let width = own("embedding_length").zip(own("attention.head_count").filter(|n| *n > 0));
    let per_head = width.map(|(embedding, heads)| embedding / heads);
    let key_and_value = own("attention.key_length")
        .or(per_head)
        .zip(own("attention.value_length").or(per_head))
        .and_then(|(key, value)| key.checked_add(value));
    let layers = own("block_count");
    let context_tokens = own("context_length");
    let vocabulary = match keys.get("tokenizer.ggml.tokens").map(|entry| &entry.value) {
        Some(Value::Array(count)) => Some(*count),
        _ => None,
    };
    let mut encodings = tensors.encodings;
    encodings.sort_by_key(|share| std::cmp::Reverse(share.bytes));
    Ok(ModelFacts {
        format: Format::Gguf,
        architecture: plain(&architecture),
        title: text(&keys, "general.name").map(|t| plain(&t)),
        licence: text(&keys, "general.license").map(|t| plain(&t)),
        context_tokens,
        layers,
        vocabulary,
        parameters: tensors.parameters,
        tensors: tensors.places.len() as u64,
        weights_bytes: tensors.bytes,
        encodings,
        bytes_per_token: bytes_per_token(layers, heads, key_and_value),
        gguf_tokenizer_sha256: tokenizer,
        tokenizer_json_sha256: None,
        chat_template_sha256: None,
    })
}

fn number(keys: &BTreeMap<String, Entry>, key: &str) -> Option<u64> {
    match keys.get(key).map(|entry| &entry.value) {
        Some(Value::Number(number)) => Some(*number),
        _ => None,
    }
}

fn text(keys: &BTreeMap<String, Entry>, key: &str) -> Option<String> {
    match keys.get(key).map(|entry| &entry.value) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    }
}

fn has_tokenizer(keys: &BTreeMap<String, Entry>) -> bool {
    keys.contains_key("tokenizer.ggml.model")
}

/// SHA-256 over the domain and the keys that ids are made with, each as it stands in the file, in byte order of keys.
fn tokenizer_sha256(path: &Path, keys: &BTreeMap<String, Entry>) -> Result<Digest256, ModelFileError> {
    let io = |source| ModelFileError::io("reading", path)(source);
    let counted = |key: &str| key.starts_with("tokenizer.") || TOKENIZER_KEYS.contains(&key);
    let entries: Vec<_> = keys.iter().filter(|(key, _)| counted(key)).map(|(_, e)| e).collect();
    let bytes: u64 = entries.iter().map(|entry| entry.end - entry.start).sum();
    if bytes > TOKENIZER_BYTES_MAX {
        let expected = format!("at most {TOKENIZER_BYTES_MAX} bytes");
        return Err(ModelFileError::malformed(path, "tokenizer.*", expected, bytes));
    }
    let mut file = File::open(path).map_err(io)?;
    let mut context = Context::new(&SHA256);
    context.update(TOKENIZER_DOMAIN.as_bytes());
    let mut buffer = vec![0; 1 << 16];
    for entry in entries {
        file.seek(SeekFrom::Start(entry.start)).map_err(io)?;
        let mut left = entry.end - entry.start;
        while left > 0 {
            let want = left.min(buffer.len() as u64) as usize;
            let part = buffer.get_mut(..want).unwrap_or_default();
            file.read_exact(part).map_err(io)?;
            context.update(part);
            left -= want as u64;
        }
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    Ok(Digest256(out))
}

/// What the tensors' part of the header says.
#[derive(Default)]
struct Tensors {
    parameters: u64,
    bytes: u64,
    encodings: Vec<crate::facts::EncodingShare>,
    /// Offsets are from the start of the data until [`Tensors::place`].
    places: Vec<TensorPlace>,
}

impl Tensors {
    fn read(walk: &mut Walk, tensor_count: u64) -> Result<Self, ModelFileError> {
        let mut all = Self::default();
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..tensor_count {
            let name = walk.string("tensor name", NAME_BYTES_MAX)?;
            let rank = walk.u32("tensor rank")?;
            if rank > RANK_MAX {
                return Err(walk.malformed(format!("rank of `{name}`"), "at most 4", rank));
            }
            let mut elements = 1_u64;
            for _ in 0..rank {
                elements = elements.saturating_mul(walk.u64("tensor dimension")?);
            }
            if elements > ELEMENTS_MAX {
                return Err(walk.malformed(format!("size of `{name}`"), "at most 2^40 elements", elements));
            }
            let kind = walk.u32("tensor type")?;
            let offset = walk.u64("tensor offset")?;
            let Some((_, encoding, block, block_bytes)) = encoding::ggml(kind).copied() else {
                return Err(walk.malformed(format!("type of `{name}`"), "a tensor type of ggml", kind));
            };
            if !elements.is_multiple_of(block) {
                let expected = format!("a multiple of {block} elements");
                return Err(walk.malformed(format!("size of `{name}`"), expected, elements));
            }
            let bytes = elements / block * block_bytes;
            all.parameters = all.parameters.saturating_add(elements);
            all.bytes = all.bytes.saturating_add(bytes);
            count(&mut all.encodings, encoding, bytes);
            if !names.insert(name.clone()) {
                return Err(walk.malformed("tensors", "each tensor once", name));
            }
            all.places.push(TensorPlace {
                name,
                encoding,
                rank: rank as usize,
                elements,
                file: walk.path().to_owned(),
                offset,
                bytes,
            });
        }
        Ok(all)
    }

    /// Moves offsets to the start of the file, and checks that every tensor ends inside it.
    fn place(&mut self, walk: &Walk, alignment: u64) -> Result<(), ModelFileError> {
        if alignment == 0 || !alignment.is_multiple_of(8) || alignment > 1 << 20 {
            return Err(walk.malformed("general.alignment", "a multiple of 8, at most 1 MiB", alignment));
        }
        let data = walk.at().next_multiple_of(alignment);
        for place in &mut self.places {
            place.offset = data.saturating_add(place.offset);
            let end = place.offset.saturating_add(place.bytes);
            if end > walk.len() {
                return Err(walk.truncated(format!("tensor `{}`", place.name), end));
            }
        }
        Ok(())
    }
}

//! LoRA adapters as llama.cpp's converter writes them.

use std::collections::BTreeMap;
use std::path::Path;

use super::walk::{Entry, Value};
use super::{read, text};
use crate::error::{ModelFileError, plain};

/// Keys that only some adapters have and that this project's engine does not act on: it would compute something else.
const INVOKED: &str = "adapter.alora.";
const ALPHA: &str = "adapter.lora.alpha";

/// The architecture that a LoRA file is for, and how many tensors it has.
///
/// # Establishes
/// It is an adapter of kind LoRA with a finite alpha; each tensor is one of a pair, in F32, F16 or BF16, inside the file. Not that the
/// base has these matrices.
pub(crate) fn lora(path: &Path) -> Result<(String, u64), ModelFileError> {
    let (keys, tensors) = read(path)?;
    for (key, expected) in [("general.type", "adapter"), ("adapter.type", "lora")] {
        let got = text(&keys, key).unwrap_or_else(|| "none".into());
        if got != expected {
            return Err(ModelFileError::malformed(path, key, expected, got));
        }
    }
    check_alpha(path, &keys)?;
    let architecture = text(&keys, "general.architecture").filter(|name| !name.is_empty());
    let architecture = architecture
        .ok_or_else(|| ModelFileError::malformed(path, "general.architecture", "the base's architecture", "none"))?;
    if let Some(key) = keys.keys().find(|key| key.starts_with(INVOKED)) {
        return Err(ModelFileError::malformed(
            path,
            "metadata",
            "an adapter that is always on",
            key,
        ));
    }
    let mut pairs: BTreeMap<&str, u8> = BTreeMap::new();
    for place in &tensors.places {
        let halves = [(".lora_a", 1), (".lora_b", 2)];
        let half = halves
            .into_iter()
            .find_map(|(suffix, bit)| place.name.strip_suffix(suffix).map(|name| (name, bit)));
        let Some((name, bit)) = half else {
            let expected = "NAME.lora_a or NAME.lora_b";
            return Err(ModelFileError::malformed(path, "tensors", expected, &place.name));
        };
        if !matches!(place.encoding, "F32" | "F16" | "BF16") || !(1..=3).contains(&place.rank) {
            let what = format!("tensor `{}`", place.name);
            let got = format!("{} of rank {}", place.encoding, place.rank);
            return Err(ModelFileError::malformed(
                path,
                what,
                "F32, F16 or BF16 of rank 1 to 3",
                got,
            ));
        }
        *pairs.entry(name).or_default() |= bit;
    }
    if let Some((name, _)) = pairs.iter().find(|(_, halves)| **halves != 3) {
        let expected = "both halves of each pair";
        return Err(ModelFileError::malformed(
            path,
            "tensors",
            expected,
            format!("one of {name}"),
        ));
    }
    if pairs.is_empty() {
        return Err(ModelFileError::malformed(path, "tensors", "at least one pair", "none"));
    }
    Ok((plain(&architecture), tensors.places.len() as u64))
}

fn check_alpha(path: &Path, keys: &BTreeMap<String, Entry>) -> Result<(), ModelFileError> {
    match keys.get(ALPHA).map(|entry| &entry.value) {
        Some(Value::Real(alpha)) if alpha.is_finite() && *alpha > 0.0 => Ok(()),
        Some(Value::Real(alpha)) => Err(ModelFileError::malformed(path, ALPHA, "a finite number over 0", alpha)),
        Some(_) => Err(ModelFileError::malformed(path, ALPHA, "F32", "another type")),
        None => Err(ModelFileError::malformed(path, ALPHA, "F32", "none")),
    }
}

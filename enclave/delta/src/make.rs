//! Two models to a delta.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use hanzo_model::{TensorPlace, tensors};
use serde_json::{Map, Value, json};

use crate::error::DeltaError;
use crate::float::Float;
use crate::{BLOCK_ELEMENTS, SCALE};

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Matrices with signs and a scale.
    pub matrices: u64,
    /// Their elements.
    pub elements: u64,
}

/// One changed matrix.
struct Signs {
    name: String,
    elements: u64,
    bits: Vec<u8>,
    scale: f32,
}

/// Writes the delta from `base` to `fine` into `out`, which must not exist.
///
/// # Errors
/// [`DeltaError`]; nothing is left in `out` then.
pub fn make(base: &Path, fine: &Path, out: &Path) -> Result<Made, DeltaError> {
    let (base, fine) = (by_name(base)?, by_name(fine)?);
    for name in base.keys().chain(fine.keys()) {
        let differ = |what| DeltaError::Differ {
            name: name.clone(),
            what,
        };
        let (Some(one), Some(other)) = (base.get(name), fine.get(name)) else {
            return Err(differ("one of them does not have it"));
        };
        if (one.encoding, one.rank, one.elements) != (other.encoding, other.rank, other.elements) {
            return Err(differ("other encoding or size"));
        }
        if name.ends_with(SCALE) && one.rank == 2 {
            return Err(differ("its name ends like that of a scale"));
        }
    }
    let mut all = Vec::new();
    for (name, one) in &base {
        let Some(float) = Float::named(one.encoding).filter(|_| one.rank == 2) else {
            continue;
        };
        let Some(other) = fine.get(name) else { continue };
        let signs = difference(name, float, one, other)?;
        if signs.scale > 0.0 {
            all.push(signs);
        }
    }
    // A file that was there is not ours to remove.
    let file = File::create_new(out).map_err(DeltaError::io("creating", out))?;
    write(file, out, &all).inspect_err(|_| {
        // Half a file is of no use; the failure is what is reported.
        let _ = std::fs::remove_file(out);
    })?;
    Ok(Made {
        matrices: all.len() as u64,
        elements: all.iter().map(|signs| signs.elements).sum(),
    })
}

fn by_name(model: &Path) -> Result<BTreeMap<String, TensorPlace>, DeltaError> {
    let places = tensors(model)?;
    Ok(places.into_iter().map(|place| (place.name.clone(), place)).collect())
}

fn difference(name: &str, float: Float, one: &TensorPlace, other: &TensorPlace) -> Result<Signs, DeltaError> {
    let open = |place: &TensorPlace| File::open(&place.file).map_err(DeltaError::io("opening", &place.file));
    let (base, fine) = (open(one)?, open(other)?);
    let mut bits = Vec::with_capacity(one.elements.div_ceil(8) as usize);
    let mut sum = 0_f64;
    let mut at = 0;
    let mut bytes = Vec::new();
    while at < one.elements {
        let count = (one.elements - at).min(BLOCK_ELEMENTS as u64) as usize;
        bytes.resize(count * float.bytes(), 0);
        let mut read = |file: &File, place: &TensorPlace| {
            file.read_exact_at(&mut bytes, place.offset + at * float.bytes() as u64)
                .map_err(DeltaError::io("reading", &place.file))
                .map(|()| float.read(&bytes))
        };
        let (before, after) = (read(&base, one)?, read(&fine, other)?);
        let changed: Vec<f32> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
        for eight in changed.chunks(8) {
            let plus = eight.iter().enumerate().filter(|(_, d)| **d > 0.0);
            bits.push(plus.fold(0, |byte, (bit, _)| byte | 1 << bit));
            sum += eight.iter().map(|d| f64::from(d.abs())).sum::<f64>();
        }
        at += count as u64;
    }
    let scale = match one.elements {
        0 => 0.0,
        elements => (sum / elements as f64) as f32,
    };
    match scale.is_finite() {
        true => Ok(Signs {
            name: name.to_owned(),
            elements: one.elements,
            bits,
            scale,
        }),
        false => Err(DeltaError::Scale {
            name: name.to_owned(),
            got: scale.to_string(),
        }),
    }
}

fn write(file: File, out: &Path, all: &[Signs]) -> Result<(), DeltaError> {
    let failed = |source| DeltaError::io("writing", out)(source);
    let mut header = Map::new();
    let mut at = 0;
    for signs in all {
        let mut add = |name: String, dtype: &str, len: usize, bytes: usize| {
            let entry = json!({"dtype": dtype, "shape": [len], "data_offsets": [at, at + bytes]});
            header.insert(name, entry);
            at += bytes;
        };
        add(format!("{}{SCALE}", signs.name), "F32", 1, 4);
        add(signs.name.clone(), "U8", signs.bits.len(), signs.bits.len());
    }
    let mut text = Value::Object(header).to_string();
    while text.len() % 8 != 0 {
        text.push(' ');
    }
    let mut writer = BufWriter::new(file);
    writer.write_all(&(text.len() as u64).to_le_bytes()).map_err(failed)?;
    writer.write_all(text.as_bytes()).map_err(failed)?;
    for signs in all {
        writer.write_all(&signs.scale.to_le_bytes()).map_err(failed)?;
        writer.write_all(&signs.bits).map_err(failed)?;
    }
    let file = writer.into_inner().map_err(|e| failed(e.into_error()))?;
    file.sync_all().map_err(failed)
}

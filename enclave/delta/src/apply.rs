//! Base and delta to the tenant's model, in place.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use hanzo_model::{TensorPlace, tensors};

use crate::error::DeltaError;
use crate::float::Float;
use crate::{BLOCK_ELEMENTS, SCALE};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Matrices that were changed.
    pub matrices: u64,
    /// Their elements.
    pub elements: u64,
}

/// One matrix and what is done to it.
struct Change {
    place: TensorPlace,
    float: Float,
    signs: TensorPlace,
    scale: f32,
}

/// Applies `delta` to the model in `dir`, a copy of its base (a GGUF file or a directory), which is changed in place.
///
/// # Establishes
/// Every matrix that the delta names was there, in an encoding and of a size that it fits, before the first byte was changed. Whether this is
/// the base that it was made for, the result's weights root shows.
///
/// # Errors
/// [`DeltaError`]. After [`DeltaError::Io`] the copy may be half changed: throw it away.
pub fn apply(dir: &Path, delta: &Path) -> Result<Applied, DeltaError> {
    let changes = changes(dir, delta)?;
    let source = File::open(delta).map_err(DeltaError::io("opening", delta))?;
    let mut applied = Applied {
        matrices: 0,
        elements: 0,
    };
    for change in &changes {
        let path = &change.place.file;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(DeltaError::io("opening", path))?;
        change.apply(&file, &source, delta)?;
        applied.matrices += 1;
        applied.elements += change.place.elements;
    }
    Ok(applied)
}

fn changes(dir: &Path, delta: &Path) -> Result<Vec<Change>, DeltaError> {
    let base: BTreeMap<_, _> = tensors(dir)?
        .into_iter()
        .map(|place| (place.name.clone(), place))
        .collect();
    let mut parts: BTreeMap<_, _> = tensors(delta)?
        .into_iter()
        .map(|place| (place.name.clone(), place))
        .collect();
    let source = File::open(delta).map_err(DeltaError::io("opening", delta))?;
    let mut changes = Vec::new();
    let names: Vec<String> = parts.keys().filter(|name| !name.ends_with(SCALE)).cloned().collect();
    for name in names {
        let unknown = |expected| DeltaError::Unknown {
            name: name.clone(),
            expected,
        };
        let signs = parts.remove(&name).ok_or_else(|| unknown("its signs"))?;
        let scale = parts
            .remove(&format!("{name}{SCALE}"))
            .ok_or_else(|| unknown("its scale"))?;
        let place = base.get(&name).ok_or_else(|| unknown("a matrix of this name"))?.clone();
        let Some(float) = Float::named(place.encoding) else {
            return Err(DeltaError::Encoding {
                name,
                expected: "a matrix in F32, F16 or BF16",
                got: place.encoding,
            });
        };
        if signs.encoding != "U8" {
            return Err(DeltaError::Encoding {
                name,
                expected: "signs in U8",
                got: signs.encoding,
            });
        }
        if signs.bytes != place.elements.div_ceil(8) {
            return Err(DeltaError::Shape {
                name,
                expected: place.elements.div_ceil(8),
                got: signs.bytes,
            });
        }
        check_padding(&source, delta, &signs, place.elements)?;
        let scale = read_scale(&source, delta, &name, &scale)?;
        changes.push(Change {
            place,
            float,
            signs,
            scale,
        });
    }
    match parts.into_keys().next() {
        None => Ok(changes),
        Some(name) => Err(DeltaError::Unknown {
            name,
            expected: "the signs that this scale is of",
        }),
    }
}

fn check_padding(source: &File, delta: &Path, signs: &TensorPlace, elements: u64) -> Result<(), DeltaError> {
    let used = elements % 8;
    if used == 0 {
        return Ok(());
    }
    let mut last = [0];
    source
        .read_exact_at(&mut last, signs.offset + signs.bytes - 1)
        .map_err(DeltaError::io("reading", delta))?;
    let [last] = last;
    match last >> used {
        0 => Ok(()),
        _ => Err(DeltaError::Padding {
            name: signs.name.clone(),
        }),
    }
}

fn read_scale(source: &File, delta: &Path, name: &str, place: &TensorPlace) -> Result<f32, DeltaError> {
    let wrong = |got: String| DeltaError::Scale {
        name: name.to_owned(),
        got,
    };
    if (place.encoding, place.elements) != ("F32", 1) {
        return Err(wrong(format!("{} elements in {}", place.elements, place.encoding)));
    }
    let mut bytes = [0; 4];
    source
        .read_exact_at(&mut bytes, place.offset)
        .map_err(DeltaError::io("reading", delta))?;
    let scale = f32::from_le_bytes(bytes);
    match scale.is_finite() && scale >= 0.0 {
        true => Ok(scale),
        false => Err(wrong(scale.to_string())),
    }
}

impl Change {
    fn apply(&self, file: &File, source: &File, delta: &Path) -> Result<(), DeltaError> {
        let path = &self.place.file;
        let (mut bytes, mut signs) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < self.place.elements {
            let count = (self.place.elements - at).min(BLOCK_ELEMENTS as u64) as usize;
            let offset = self.place.offset + at * self.float.bytes() as u64;
            bytes.resize(count * self.float.bytes(), 0);
            file.read_exact_at(&mut bytes, offset)
                .map_err(DeltaError::io("reading", path))?;
            signs.resize(count.div_ceil(8), 0);
            // Blocks are whole bytes of signs.
            source
                .read_exact_at(&mut signs, self.signs.offset + at / 8)
                .map_err(DeltaError::io("reading", delta))?;
            let mut elements = self.float.read(&bytes);
            for (eight, byte) in elements.chunks_mut(8).zip(&signs) {
                for (bit, element) in eight.iter_mut().enumerate() {
                    *element += if byte >> bit & 1 == 1 { self.scale } else { -self.scale };
                }
            }
            self.float.write(&elements, &mut bytes);
            file.write_all_at(&bytes, offset)
                .map_err(DeltaError::io("writing", path))?;
            at += count as u64;
        }
        Ok(())
    }
}

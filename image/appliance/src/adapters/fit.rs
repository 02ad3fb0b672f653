//! Whether a base has the matrices that an adapter changes: by names, encodings and sizes. The engine, or whoever puts a delta on, decides.

use std::collections::BTreeMap;
use std::path::Path;

use hanzo_model::{AdapterKind, ModelFileError, TensorPlace, tensors};

use super::{AdapterArg, AdapterRefused};
use crate::error::ApplianceError;

/// What ends the name of a delta's scale.
const SCALE: &str = ".scale";
/// Encodings that take a delta.
const FLOATS: [&str; 3] = ["F32", "F16", "BF16"];

/// Holds the tensors of `weights` against those of the model `base` in `dir`.
///
/// # Errors
/// [`AdapterRefused::Fit`].
pub(super) fn check(
    adapter: &AdapterArg,
    kind: AdapterKind,
    base: &str,
    dir: &Path,
    weights: &Path,
) -> Result<(), ApplianceError> {
    let read = |path: &Path| -> Result<BTreeMap<String, TensorPlace>, ApplianceError> {
        let all = tensors(path).map_err(coded)?;
        Ok(all.into_iter().map(|place| (place.name.clone(), place)).collect())
    };
    let (has, changes) = (read(dir)?, read(weights)?);
    for (name, place) in &changes {
        let matrix = match kind {
            AdapterKind::Lora => name.strip_suffix(".lora_a"),
            AdapterKind::BitDelta => (!name.ends_with(SCALE)).then_some(name.as_str()),
        };
        let Some(matrix) = matrix else { continue };
        let wrong = |expected: String, got: String| AdapterRefused::Fit {
            name: adapter.name.to_string(),
            base: base.to_owned(),
            matrix: matrix.to_owned(),
            expected,
            got,
        };
        let Some(of) = has.get(matrix) else {
            return Err(wrong("a matrix of this name in the base".into(), "none".into()).into());
        };
        match kind {
            AdapterKind::Lora => {
                let other = changes.get(&format!("{matrix}.lora_b"));
                let product = other.map(|b| u128::from(place.elements) * u128::from(b.elements));
                if !product.is_some_and(|product| is_low_rank(product, of.elements, place.rank)) {
                    let expected = format!("two halves whose product has {} elements", of.elements);
                    let got = format!("halves of {} and {}", place.elements, other.map_or(0, |b| b.elements));
                    return Err(wrong(expected, got).into());
                }
            }
            AdapterKind::BitDelta => {
                if !FLOATS.contains(&of.encoding) {
                    let got = format!("{} (a delta goes on unquantised matrices)", of.encoding);
                    return Err(wrong("a matrix in F32, F16 or BF16 in the base".into(), got).into());
                }
                if place.bytes != of.elements.div_ceil(8) {
                    let expected = format!("{} bytes of signs", of.elements.div_ceil(8));
                    return Err(wrong(expected, place.bytes.to_string()).into());
                }
            }
        }
    }
    Ok(())
}

/// Halves of r × n and m × r for a matrix of m × n have r² × m × n elements multiplied; of stacked ones only the multiple is known.
fn is_low_rank(product: u128, matrix: u64, rank: usize) -> bool {
    let matrix = u128::from(matrix);
    matrix > 0
        && product.is_multiple_of(matrix)
        && (rank > 2 || {
            let square = product / matrix;
            let root = square.isqrt();
            root * root == square
        })
}

fn coded(error: ModelFileError) -> ApplianceError {
    ApplianceError::Coded {
        text: error.to_string(),
        code: error.code(),
    }
}

#[cfg(test)]
mod tests {
    use super::is_low_rank;

    #[test]
    fn halves_fit_a_matrix_of_their_size_and_no_other() {
        // 4 × 64 and 128 × 4 for 128 × 64.
        assert!(is_low_rank(4 * 64 * 128 * 4, 128 * 64, 2));
        assert!(!is_low_rank(4 * 64 * 128 * 4, 96 * 64, 2));
        assert!(!is_low_rank(4 * 64 * 128 * 2, 128 * 64, 2));
        assert!(!is_low_rank(1, 0, 2));
        // Eight experts: 4 × 64 × 8 and 128 × 4 × 8 for 128 × 64 × 8.
        assert!(is_low_rank(4 * 64 * 8 * 128 * 4 * 8, 128 * 64 * 8, 3));
    }
}

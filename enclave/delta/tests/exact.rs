//! A delta gives the bytes that its definition says, element by element, and nothing that does not fit is begun.

use std::fs;
use std::path::Path;

use half::{bf16, f16};
use hanzo_delta::{DeltaError, apply, make};

/// `(name, dtype, shape, data)`.
type Tensor<'a> = (&'a str, &'a str, &'a [u64], Vec<u8>);

fn safetensors(path: &Path, tensors: &[Tensor<'_>]) {
    let mut header = Vec::new();
    let mut data: Vec<u8> = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let end = data.len() + bytes.len();
        header.push(format!(
            "\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{},{end}]}}",
            data.len()
        ));
        data.extend(bytes);
    }
    let header = format!("{{{}}}", header.join(","));
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.extend(data);
    fs::write(path, out).unwrap();
}

/// Numbers of a generated model: many sizes, both signs, a zero, and what lies between two halves.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..count)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let unit = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
            if i == 0 { 0.0 } else { unit * [0.001, 1.0, 300.0][i % 3] }
        })
        .collect()
}

fn bytes(numbers: &[f32], dtype: &str) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|x| match dtype {
            "F16" => f16::from_f32(*x).to_le_bytes().to_vec(),
            "BF16" => bf16::from_f32(*x).to_le_bytes().to_vec(),
            _ => x.to_le_bytes().to_vec(),
        })
        .collect()
}

/// As the encoding holds it.
fn held(x: f32, dtype: &str) -> f32 {
    match dtype {
        "F16" => f16::from_f32(x).to_f32(),
        "BF16" => bf16::from_f32(x).to_f32(),
        _ => x,
    }
}

struct Bench(tempfile::TempDir);

impl Bench {
    /// Three matrices, a vector and an integer matrix, and the same after training.
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        for (model, step) in [("base", 0), ("fine", 1)] {
            fs::create_dir(bench.at(model)).unwrap();
            fs::write(bench.at(model).join("config.json"), "{}").unwrap();
            let tuned = |count: usize, seed: u32| -> Vec<f32> {
                let base = numbers(count, seed);
                let change = numbers(count, seed + 77);
                base.iter().zip(change).map(|(b, c)| b + c * step as f32).collect()
            };
            safetensors(
                &bench.at(model).join("model.safetensors"),
                &[
                    ("a", "F32", &[7, 9], bytes(&tuned(63, 1), "F32")),
                    ("b", "F16", &[600, 900], bytes(&tuned(540_000, 2), "F16")),
                    ("c", "BF16", &[16, 4], bytes(&tuned(64, 3), "BF16")),
                    ("norm", "F32", &[9], bytes(&tuned(9, 4), "F32")),
                    ("ids", "U8", &[2, 2], vec![step as u8; 4]),
                    ("same", "F32", &[2, 2], bytes(&numbers(4, 5), "F32")),
                ],
            );
        }
        bench
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn weights(&self, model: &str) -> Vec<u8> {
        fs::read(self.at(model).join("model.safetensors")).unwrap()
    }
}

#[test]
fn a_delta_gives_the_bytes_that_its_definition_says() {
    let bench = Bench::new();
    let delta = bench.at("delta.safetensors");
    let made = make(&bench.at("base"), &bench.at("fine"), &delta).unwrap();
    assert_eq!((made.matrices, made.elements), (3, 63 + 540_000 + 64));
    let size = fs::metadata(&delta).unwrap().len();
    assert!(size < 8 + 600 + (63 + 540_000 + 64) / 8 + 20, "{size}");
    let before = bench.weights("base");
    let applied = apply(&bench.at("base"), &delta).unwrap();
    assert_eq!((applied.matrices, applied.elements), (made.matrices, made.elements));

    // From the definition, without the crate.
    let mut expected = Vec::new();
    for (count, seed, dtype) in [(63, 1, "F32"), (540_000, 2, "F16"), (64, 3, "BF16")] {
        let base: Vec<f32> = numbers(count, seed).iter().map(|x| held(*x, dtype)).collect();
        let change = numbers(count, seed + 77);
        let fine = numbers(count, seed)
            .into_iter()
            .zip(change)
            .map(|(b, c)| held(b + c, dtype));
        let d: Vec<f32> = fine.zip(&base).map(|(f, b)| f - b).collect();
        let scale = (d.iter().map(|x| f64::from(x.abs())).sum::<f64>() / count as f64) as f32;
        let tuned: Vec<f32> = base
            .iter()
            .zip(&d)
            .map(|(b, d)| if *d > 0.0 { b + scale } else { b - scale })
            .collect();
        expected.extend(bytes(&tuned, dtype));
    }
    let after = bench.weights("base");
    let data = before.len() - (63 * 4 + 540_000 * 2 + 64 * 2 + 9 * 4 + 4 + 16);
    assert_eq!(after[..data], before[..data], "header");
    let changed = data..data + expected.len();
    // The sum of many numbers may end in another last bit with another order of additions; here the order is the same.
    assert!(after[changed.clone()] == expected[..], "matrices");
    assert_eq!(after[changed.end..], before[changed.end..], "what takes no delta");

    // And again from the same base: the same bytes.
    let again = Bench::new();
    let other = again.at("again.safetensors");
    make(&again.at("base"), &again.at("fine"), &other).unwrap();
    assert_eq!(fs::read(&other).unwrap(), fs::read(&delta).unwrap());
    assert_eq!(
        make(&again.at("base"), &again.at("fine"), &other).unwrap_err().code(),
        "delta.io"
    );
    assert_eq!(
        fs::read(&other).unwrap(),
        fs::read(&delta).unwrap(),
        "what was there stays"
    );
}

#[test]
fn a_delta_that_does_not_fit_is_refused_before_a_byte_changes() {
    let bench = Bench::new();
    let before = bench.weights("base");
    let delta = bench.at("delta.safetensors");
    let refused = |tensors: &[Tensor<'_>]| -> DeltaError {
        safetensors(&delta, tensors);
        let error = apply(&bench.at("base"), &delta).unwrap_err();
        assert_eq!(bench.weights("base"), before, "{error}");
        error
    };
    let scale = |x: f32| x.to_le_bytes().to_vec();
    let good_c = ("c", "U8", &[8][..], vec![0xff; 8]);
    let good_scale = ("c.scale", "F32", &[1][..], scale(0.5));
    for (tensors, code) in [
        (vec![good_c.clone()], "delta.unknown_tensor"),
        (vec![good_scale.clone()], "delta.unknown_tensor"),
        (
            vec![
                ("x", "U8", &[8][..], vec![0; 8]),
                ("x.scale", "F32", &[1][..], scale(1.0)),
            ],
            "delta.unknown_tensor",
        ),
        (
            vec![
                ("ids", "U8", &[1][..], vec![0]),
                ("ids.scale", "F32", &[1][..], scale(1.0)),
            ],
            "delta.encoding",
        ),
        (
            vec![("c", "I8", &[8][..], vec![0; 8]), good_scale.clone()],
            "delta.encoding",
        ),
        (
            vec![("c", "U8", &[7][..], vec![0; 7]), good_scale.clone()],
            "delta.shape",
        ),
        (
            vec![("c", "U8", &[9][..], vec![0; 9]), good_scale.clone()],
            "delta.shape",
        ),
        (
            vec![good_c.clone(), ("c.scale", "F32", &[1][..], scale(-0.5))],
            "delta.scale",
        ),
        (
            vec![good_c.clone(), ("c.scale", "F32", &[1][..], scale(f32::NAN))],
            "delta.scale",
        ),
        (
            vec![good_c.clone(), ("c.scale", "F32", &[1][..], scale(f32::INFINITY))],
            "delta.scale",
        ),
        (
            vec![good_c.clone(), ("c.scale", "F32", &[2][..], vec![0; 8])],
            "delta.scale",
        ),
        (
            vec![good_c.clone(), ("c.scale", "F16", &[1][..], vec![0; 2])],
            "delta.scale",
        ),
        (
            vec![
                ("a", "U8", &[8][..], vec![0xff; 8]),
                ("a.scale", "F32", &[1][..], scale(0.5)),
            ],
            "delta.padding",
        ),
    ] {
        assert_eq!(refused(&tensors).code(), code);
        // A good one before it is not applied either.
        if code != "delta.unknown_tensor" && !tensors.iter().any(|t| t.0.starts_with('c')) {
            let mut both = vec![good_c.clone(), good_scale.clone()];
            both.extend(tensors);
            assert_eq!(refused(&both).code(), code);
        }
    }
    safetensors(&delta, &[good_c, good_scale]);
    fs::write(&delta, &fs::read(&delta).unwrap()[..40]).unwrap();
    assert_eq!(apply(&bench.at("base"), &delta).unwrap_err().code(), "model.truncated");
    assert_eq!(bench.weights("base"), before);
}

#[test]
fn models_of_another_shape_have_no_delta() {
    let bench = Bench::new();
    let out = bench.at("delta.safetensors");
    for tensors in [
        vec![("a", "F32", &[7, 9][..], bytes(&numbers(63, 1), "F32"))],
        vec![("a", "F32", &[9, 8][..], bytes(&numbers(72, 1), "F32"))],
    ] {
        safetensors(&bench.at("fine/model.safetensors"), &tensors);
        let error = make(&bench.at("base"), &bench.at("fine"), &out).unwrap_err();
        assert_eq!(error.code(), "delta.models_differ", "{error}");
        assert!(!out.exists());
    }
}

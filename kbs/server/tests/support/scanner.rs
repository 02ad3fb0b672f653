//! Looks for keys where none should be, in every form in which one could stand in a file.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::NO_PAD;

/// Shorter secrets would be found by chance.
const BYTES_MIN: usize = 24;

/// Secrets that were told to it, and what finds them.
pub struct Scanner {
    secrets: Vec<(String, Vec<u8>)>,
    /// By their first two bytes: which secret, and in which form.
    forms: Vec<Vec<(usize, Vec<u8>)>>,
}

fn start(bytes: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
}

impl Scanner {
    pub fn new() -> Self {
        Self {
            secrets: Vec::new(),
            forms: vec![Vec::new(); 1 << 16],
        }
    }

    pub fn add(&mut self, name: &str, secret: &[u8]) {
        assert!(secret.len() >= BYTES_MIN, "{name}");
        let n = self.secrets.len();
        for (_, form) in forms(secret) {
            self.forms[start(&form)].push((n, form));
        }
        self.secrets.push((name.to_owned(), secret.to_vec()));
    }

    pub fn len(&self) -> usize {
        self.secrets.len()
    }

    /// The names of the secrets that stand in these bytes.
    pub fn find(&self, bytes: &[u8]) -> Vec<&str> {
        let mut found = Vec::new();
        for (at, two) in bytes.windows(2).enumerate() {
            for (n, form) in &self.forms[start(two)] {
                if bytes[at..].starts_with(form) {
                    found.push(self.secrets[*n].0.as_str());
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// Looks into every file below `dir` but those named in `except`. Which files those were.
    pub fn must_find_nothing(&self, dir: &Path, except: &[&str]) -> Vec<String> {
        let mut all = Vec::new();
        files(dir, &mut all);
        let mut seen = Vec::new();
        for path in all {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if except.contains(&name.as_str()) {
                continue;
            }
            let found = self.find(&fs::read(&path).unwrap());
            assert!(found.is_empty(), "{} holds {found:?}", path.display());
            seen.push(name);
        }
        seen
    }

    /// Each secret is found in each form, wherever it stands in a file full of other bytes.
    pub fn must_find_what_is_planted(&self) {
        let noise: Vec<u8> = (0..100_000u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        assert!(self.find(&noise).is_empty());
        for (name, secret) in &self.secrets {
            for (form, planted) in forms(secret) {
                let mut bytes = noise.clone();
                let at = 31_337 + form.len();
                bytes[at..at + planted.len()].copy_from_slice(&planted);
                assert!(self.find(&bytes).contains(&name.as_str()), "{name} as {form}");
            }
        }
        // And in base64 of a longer text, wherever it starts.
        for skipped in 0..4 {
            let (name, secret) = &self.secrets[0];
            let text = [&noise[..skipped], secret, &noise[..5]].concat();
            for alphabet in [&STANDARD, &URL_SAFE] {
                let text = engine(alphabet).encode(&text);
                assert!(self.find(text.as_bytes()).contains(&name.as_str()), "{skipped}");
            }
        }
    }
}

fn engine(alphabet: &Alphabet) -> GeneralPurpose {
    GeneralPurpose::new(alphabet, NO_PAD)
}

/// Raw, hex, and the inner part of base64 text wherever the secret starts within a group of three bytes.
fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![
        ("raw", secret.to_vec()),
        ("hex", hex::encode(secret).into()),
        ("HEX", hex::encode_upper(secret).into()),
    ];
    for (name, alphabet) in [("base64", &STANDARD), ("base64url", &URL_SAFE)] {
        for skipped in 0..3 {
            let text = engine(alphabet).encode([&vec![0; skipped], secret].concat());
            forms.push((name, text.as_bytes()[4..text.len() - 4].to_vec()));
        }
    }
    forms
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

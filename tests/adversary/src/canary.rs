//! Words in prompts and answers that must not be found on the host, in no form that a careless program would give them.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// In every prompt.
pub const PROMPT: &str = "canary-7f3a9c51e2";
/// In every answer: the prompt's, backwards.
pub const ANSWER: &str = "2e15c9a3f7-yranac";

/// What is looked for.
pub struct Needles(Vec<(String, Vec<u8>)>);

impl Default for Needles {
    fn default() -> Self {
        let mut all = Vec::new();
        for (what, word) in [("prompt", PROMPT), ("answer", ANSWER)] {
            let mut add = |form: &str, bytes: Vec<u8>| all.push((format!("{what} in {form}"), bytes));
            add("the clear", word.into());
            add("hex", hex::encode(word).into());
            add("upper-case hex", hex::encode_upper(word).into());
            add("UTF-16LE", word.encode_utf16().flat_map(u16::to_le_bytes).collect());
            add("UTF-16BE", word.encode_utf16().flat_map(u16::to_be_bytes).collect());
            // Base64 of a text that holds the word depends on where in it the word begins.
            for before in 0..3 {
                let text = [&b"\0\0"[..before], word.as_bytes()].concat();
                for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                    let coded = engine.encode(&text);
                    let (from, to) = ((before * 8).div_ceil(6), text.len() * 8 / 6);
                    add("base64", coded.as_bytes()[from..to].to_vec());
                }
            }
        }
        Self(all)
    }
}

impl Needles {
    /// The forms that `hay` holds.
    pub fn find(&self, hay: &[u8]) -> Vec<&str> {
        // One pass over the bytes: most begin no needle.
        let mut begins = [false; 256];
        for (_, needle) in &self.0 {
            needle.first().into_iter().for_each(|b| begins[usize::from(*b)] = true);
        }
        let mut found = std::collections::BTreeSet::new();
        for (at, byte) in hay.iter().enumerate() {
            if begins[usize::from(*byte)] {
                let here = self.0.iter().filter(|(_, needle)| hay[at..].starts_with(needle));
                found.extend(here.map(|(what, _)| what.as_str()));
            }
        }
        found.into_iter().collect()
    }

    /// Looks into every file below `dir` but those for which `skip` says so.
    pub fn find_below(&self, dir: &Path, skip: &dyn Fn(&Path) -> bool) -> Vec<String> {
        let (mut found, mut open) = (Vec::new(), vec![dir.to_owned()]);
        while let Some(path) = open.pop() {
            if skip(&path) {
                continue;
            }
            if path.is_dir() {
                open.extend(
                    std::fs::read_dir(&path)
                        .into_iter()
                        .flatten()
                        .flatten()
                        .map(|e| e.path()),
                );
            } else if path.is_file() {
                let bytes = std::fs::read(&path).unwrap_or_default();
                let forms = self.find(&bytes).into_iter();
                found.extend(forms.map(|form| format!("{form}: {}", path.display())));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_found_in_every_form_and_nothing_else_is() {
        let needles = Needles::default();
        for before in ["", "a", "ab", "abc", "{\"content\":\"echo "] {
            let text = format!("{before}{PROMPT} and more");
            let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            for hay in [
                text.clone().into_bytes(),
                hex::encode(&text).into_bytes(),
                STANDARD_NO_PAD.encode(&text).into_bytes(),
                URL_SAFE_NO_PAD.encode(&text).into_bytes(),
                wide,
            ] {
                assert!(
                    !needles.find(&hay).is_empty(),
                    "{before:?} {}",
                    String::from_utf8_lossy(&hay)
                );
            }
        }
        assert!(needles.find(ANSWER.as_bytes()).contains(&"answer in the clear"));
        assert!(needles.find(&vec![b'a'; 4096]).is_empty() && needles.find(b"canary-7f3a9c51e").is_empty());
    }
}

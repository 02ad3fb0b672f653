//! `--adapter [BASE/]NAME=FILE[:SCALE][@CALLER,…]`.

use std::path::PathBuf;
use std::str::FromStr;

use hanzo_attestation::name::Name;

/// Largest factor of a LoRA adapter.
const SCALE_MAX: f64 = 64.0;
/// Most callers of one adapter.
const CALLERS_MAX: usize = 64;
const FORM: &str = "expected [BASE/]NAME=FILE[:SCALE][@CALLER,…], e.g. support=./support-lora.gguf@acme";

/// An adapter, as somebody asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdapterArg {
    /// The model that it goes on, where several are served.
    pub(crate) base: Option<Name>,
    /// What clients ask for.
    pub(crate) name: Name,
    /// A LoRA file, a delta, or a directory that holds one with its base's root.
    pub(crate) file: PathBuf,
    /// What its product is multiplied by besides, in millionths.
    pub(crate) scale_micros: Option<u64>,
    /// Whose it is, ascending.
    pub(crate) callers: Vec<Name>,
}

impl FromStr for AdapterArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (names, rest) = text.split_once('=').ok_or(FORM)?;
        let (base, name) = match names.split_once('/') {
            Some((base, name)) => (Some(named("BASE", base)?), name),
            None => (None, names),
        };
        // A path may have these characters; behind its last separator they divide.
        let (rest, callers) = match rest.rsplit_once('@') {
            Some((rest, callers)) if !callers.contains('/') => (rest, callers_of(callers)?),
            _ => (rest, Vec::new()),
        };
        let (file, scale_micros) = match rest.rsplit_once(':') {
            Some((file, scale)) if scale.parse::<f64>().is_ok() => (file, Some(micros(scale)?)),
            _ => (rest, None),
        };
        if file.is_empty() {
            return Err(format!("{FORM}; the FILE is missing"));
        }
        Ok(Self {
            base,
            name: named("NAME", name)?,
            file: file.into(),
            scale_micros,
            callers,
        })
    }
}

fn named(what: &str, text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|e| format!("{what}: {e}; {FORM}"))
}

/// A list of callers: not empty, in any order, no one twice.
pub(crate) fn callers_of(text: &str) -> Result<Vec<Name>, String> {
    let names = text.split(',').map(|name| named("CALLER", name));
    let mut callers = names.collect::<Result<Vec<_>, _>>()?;
    let said = callers.len();
    callers.sort();
    callers.dedup();
    match callers.len() == said && said <= CALLERS_MAX {
        true => Ok(callers),
        false => Err(format!(
            "CALLER: expected at most {CALLERS_MAX} names, each once, got {said}"
        )),
    }
}

/// A factor of the usual 1, exactly as far as millionths go.
fn micros(text: &str) -> Result<u64, String> {
    let scale: f64 = text.parse().unwrap_or(f64::NAN);
    let micros = (scale * 1e6).round();
    match (1.0..=SCALE_MAX * 1e6).contains(&micros) {
        true => Ok(micros as u64),
        false => Err(format!("SCALE: expected 0.000001 to {SCALE_MAX}, got {text}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn parsed(text: &str) -> AdapterArg {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn list(names: &[&str]) -> Vec<Name> {
        names.iter().map(|name| Name::new(name).unwrap()).collect()
    }

    #[test]
    fn every_part_of_the_form_is_read_and_paths_keep_their_characters() {
        let bare = parsed("support=./support.gguf");
        assert_eq!(
            (bare.name.as_str(), &*bare.file),
            ("support", "./support.gguf".as_ref())
        );
        assert_eq!((bare.base, bare.scale_micros, bare.callers), (None, None, vec![]));
        let whole = parsed("smollm2/support=/a=b/c.gguf:0.25@beta,acme");
        assert_eq!(whole.base, Some(Name::new("smollm2").unwrap()));
        assert_eq!(whole.file, PathBuf::from("/a=b/c.gguf"));
        assert_eq!(whole.scale_micros, Some(250_000));
        assert_eq!(whole.callers, list(&["acme", "beta"]));
        for path in ["/home/me@work/x.gguf", "c:drive", "/mnt/a:b/x"] {
            assert_eq!(parsed(&format!("n={path}")).file, PathBuf::from(path), "{path}");
        }
    }

    #[test]
    fn what_is_not_of_the_form_says_which_part() {
        for (text, part) in [
            ("support.gguf", "expected [BASE/]NAME=FILE"),
            ("Support=x", "NAME: name: expected"),
            ("=x", "NAME: name: expected"),
            ("/support=x", "BASE: name: expected"),
            ("n=", "the FILE is missing"),
            ("n=@acme", "the FILE is missing"),
            ("n=x@", "CALLER: name: expected"),
            ("n=x@acme,", "CALLER: name: expected"),
            ("n=x@acme,acme", "each once, got 2"),
            ("n=x:0", "SCALE: expected 0.000001 to 64, got 0"),
            ("n=x:-1", "SCALE"),
            ("n=x:64.1", "SCALE"),
            ("n=x:inf", "SCALE"),
            ("n=x:nan", "SCALE"),
        ] {
            let refused = text.parse::<AdapterArg>().unwrap_err();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }
}

//! Which models a run serves: the default one, one of the user's, or every one of a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_pqc::Dek;

use crate::error::ApplianceError;
use crate::model::{self, Model};
use crate::paths::Layout;
use crate::progress::Progress;

/// Tokens of prompt and answer together, where a model was trained on as many.
pub(crate) const CONTEXT_TOKENS: u32 = 2048;

/// Most models of a run, adapters among them: as many as a configuration may name.
pub(crate) const MODELS_MAX: usize = 64;

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// SmolLM2-135M-Instruct.
    Default,
    /// A GGUF file or a model directory.
    One(PathBuf),
    /// Every GGUF file and model directory of a folder.
    All(PathBuf),
}

impl Wanted {
    /// From two options of which at most one is given.
    pub(crate) fn of(one: Option<PathBuf>, all: Option<PathBuf>) -> Self {
        match (one, all) {
            (_, Some(folder)) => Self::All(folder),
            (Some(path), None) => Self::One(path),
            (None, None) => Self::Default,
        }
    }
}

/// Gets and prepares them; at least one. The first is what examples name.
///
/// # Errors
/// [`ApplianceError`], naming the model that is none.
pub(crate) fn get(wanted: &Wanted, cache: &Path) -> Result<Vec<Model>, ApplianceError> {
    match wanted {
        Wanted::Default => model::default_model(cache).map(|model| vec![model]),
        Wanted::One(path) => model::own_model(cache, path).map(|model| vec![model]),
        Wanted::All(folder) => all(folder, cache),
    }
}

fn all(folder: &Path, cache: &Path) -> Result<Vec<Model>, ApplianceError> {
    let mut models: BTreeMap<String, (PathBuf, Model)> = BTreeMap::new();
    for path in found(folder)? {
        let model = model::own_model(cache, &path)?;
        if let Some((other, _)) = models.get(&model.name) {
            return Err(ApplianceError::Part(format!(
                "{} and {} would both be served as {}: rename one of them",
                other.display(),
                path.display(),
                model.name
            )));
        }
        models.insert(model.name.clone(), (path, model));
    }
    match models.len() {
        0 => Err(ApplianceError::Part(format!(
            "{}: expected GGUF files (*.gguf) or model directories, found none",
            folder.display()
        ))),
        got if got > MODELS_MAX => Err(ApplianceError::Part(format!(
            "{}: {got} models, at most {MODELS_MAX} are served at once",
            folder.display()
        ))),
        _ => Ok(models.into_values().map(|(_, model)| model).collect()),
    }
}

/// GGUF files and model directories of a folder, by name. Hidden entries and other files are left alone.
fn found(folder: &Path) -> Result<Vec<PathBuf>, ApplianceError> {
    let failed = |source| ApplianceError::io("cannot read", folder)(source);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_hidden = path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
        let is_gguf = path.is_file() && path.extension().is_some_and(|e| e == "gguf");
        let is_model = path.join("model.gguf").is_file() || path.join("config.json").is_file();
        if !is_hidden && (is_gguf || is_model) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A model sealed under a key that is nowhere else yet.
pub(crate) struct Sealed {
    /// Name for clients.
    pub(crate) name: String,
    /// Its data key.
    pub(crate) dek: Dek,
    /// Root over its files.
    pub(crate) root: Digest256,
    /// Tokens of prompt and answer together.
    pub(crate) context_tokens: u32,
}

/// Seals each under a fresh key of its own.
///
/// # Errors
/// [`ApplianceError`].
pub(crate) fn seal(models: &[Model], layout: &Layout) -> Result<Vec<Sealed>, ApplianceError> {
    let seal = |model: &Model| {
        let context_tokens = context_tokens(&model.dir)?;
        seal_dir(&model.name, &model.dir, context_tokens, "sealing the model", layout)
    };
    models.iter().map(seal).collect()
}

/// Seals the directory of one under a fresh key.
///
/// # Errors
/// [`ApplianceError`].
pub(crate) fn seal_dir(
    name: &str,
    dir: &Path,
    context_tokens: u32,
    what: &'static str,
    layout: &Layout,
) -> Result<Sealed, ApplianceError> {
    let dek = Dek::generate().map_err(|e| ApplianceError::Part(e.to_string()))?;
    let pack = layout.packs().join(format!("{name}.pack"));
    let bar = Progress::bytes(what);
    let at = |at: hanzo_pack::Progress| bar.at(at.done_bytes, at.total_bytes);
    let done = hanzo_pack::seal(dir, &dek, &pack, &at).map_err(|e| ApplianceError::Coded {
        text: e.to_string(),
        code: e.code(),
    })?;
    Ok(Sealed {
        name: name.to_owned(),
        dek,
        root: done.weights_root,
        context_tokens,
    })
}

/// Tokens of prompt and answer together of the model in `dir`: as many as it was trained on, or [`CONTEXT_TOKENS`].
///
/// # Errors
/// [`ApplianceError`] where its files cannot be read.
pub(crate) fn context_tokens(dir: &Path) -> Result<u32, ApplianceError> {
    let facts = hanzo_model::inspect(dir).map_err(|e| ApplianceError::Coded {
        text: e.to_string(),
        code: e.code(),
    })?;
    let trained = facts.context_tokens.and_then(|tokens| u32::try_from(tokens).ok());
    Ok(trained.map_or(CONTEXT_TOKENS, |trained| trained.min(CONTEXT_TOKENS)))
}

/// Bytes of a flat directory's files.
pub(crate) fn files_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .filter_map(|e| fs::metadata(e.path()).ok())
        .filter(fs::Metadata::is_file)
        .map(|m| m.len())
        .sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_folders_models_are_found_and_other_entries_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["prepared", "hf", "empty", ".part"] {
            fs::create_dir(at(folder)).unwrap();
        }
        for file in [
            "b.gguf",
            "a.gguf",
            "README.md",
            ".c.gguf",
            "prepared/model.gguf",
            "hf/config.json",
            ".part/model.gguf",
        ] {
            fs::write(at(file), "x").unwrap();
        }
        let names: Vec<_> = found(dir.path())
            .unwrap()
            .iter()
            .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["a.gguf", "b.gguf", "hf", "prepared"]);
        let none = all(&at("empty"), dir.path()).err().unwrap();
        assert!(none.to_string().contains("found none"), "{none}");
    }
}

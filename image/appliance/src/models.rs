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

/// Most models of a folder: as many as a configuration may name.
const MODELS_MAX: usize = 64;

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
}

/// Seals each under a fresh key of its own.
///
/// # Errors
/// [`ApplianceError`].
pub(crate) fn seal(models: &[Model], layout: &Layout) -> Result<Vec<Sealed>, ApplianceError> {
    let mut sealed = Vec::new();
    for model in models {
        let dek = Dek::generate().map_err(|e| ApplianceError::Part(e.to_string()))?;
        let pack = layout.packs().join(format!("{}.pack", model.name));
        let bar = Progress::bytes("sealing the model");
        let done = hanzo_pack::seal(&model.dir, &dek, &pack, &|at: hanzo_pack::Progress| {
            bar.at(at.done_bytes, at.total_bytes)
        })
        .map_err(|e| ApplianceError::Coded {
            text: e.to_string(),
            code: e.code(),
        })?;
        sealed.push(Sealed {
            name: model.name.clone(),
            dek,
            root: done.weights_root,
        });
    }
    Ok(sealed)
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

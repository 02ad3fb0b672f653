//! Adapters of a run: what `--adapter` says, what of it is refused before anything starts, and each one sealed under a key of its own.
//!
//! What an adapter is, and what a guest does with it: `enclave/model/SPEC.md`. Here the user's file is read as hostile input, held against
//! its base, and put into the directory that guests open; the guest checks all of it again.

mod argument;
mod error;
mod fit;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_attestation::config::EngineKind;
use hanzo_attestation::name::Name;
use hanzo_image::run::PACKS_MAX;
use hanzo_model::{
    ADAPTER_BYTES_MAX, ADAPTER_FILE, Adapter, AdapterError, AdapterFacts, AdapterKind, DELTA_FILE, GGUF_FILE,
    SCALE_ONE_MICROS,
};

pub(crate) use self::argument::AdapterArg;
pub(crate) use self::error::AdapterRefused;
use crate::computes::Computes;
use crate::error::ApplianceError;
use crate::model::Model;
use crate::models::{self, MODELS_MAX, Sealed};
use crate::paths::{Layout, private_dir};
use crate::up::ReachAdapter;

/// What a GGUF file begins with.
const GGUF: [u8; 4] = *b"GGUF";
/// What PEFT calls an adapter's files.
const PEFT: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

/// An adapter that was sealed.
pub(crate) struct SealedAdapter {
    /// Its name, key and root.
    pub(crate) sealed: Sealed,
    /// What it goes on.
    pub(crate) base: String,
    /// Whose it is; everybody's where that is empty.
    pub(crate) callers: Vec<Name>,
    /// What its opened files take in the guest, in bytes: of a delta, those of a copy of its base besides.
    pub(crate) bytes: u64,
}

impl SealedAdapter {
    /// What clients are told, and what goes to the broker.
    pub(crate) fn split(self) -> (ReachAdapter, Sealed) {
        let told = ReachAdapter {
            name: self.sealed.name.clone(),
            base: self.base,
            callers: self.callers,
        };
        (told, self.sealed)
    }
}

/// Refuses what names, counts and the choice of engine already tell.
///
/// # Errors
/// [`AdapterRefused`].
pub(crate) fn check(adapters: &[AdapterArg], models: &[Model], computes: &Computes) -> Result<(), AdapterRefused> {
    let count = adapters.len() + models.len();
    // Each has a disk there.
    let max = if computes.in_image { PACKS_MAX } else { MODELS_MAX };
    if !adapters.is_empty() && count > max {
        return Err(AdapterRefused::Limit { got: count, max });
    }
    for (at, adapter) in adapters.iter().enumerate() {
        let name = adapter.name.as_str();
        let before = adapters.iter().take(at).map(|other| other.name.as_str());
        if models.iter().map(|m| &*m.name).chain(before).any(|taken| taken == name) {
            return Err(AdapterRefused::NameTaken { name: name.into() });
        }
        if computes.engine == Some(EngineKind::Upstream) {
            return Err(AdapterRefused::Engine {
                name: name.into(),
                needed: "an engine of this program",
                got: "a server of your own: leave --server out",
            });
        }
        if let Some(base) = &adapter.base
            && !models.iter().any(|model| model.name == base.as_str())
        {
            return Err(AdapterRefused::NoSuchBase {
                name: name.into(),
                base: base.to_string(),
                models: names(models),
            });
        }
        if let Err(source) = fs::metadata(&adapter.file) {
            return Err(AdapterRefused::Unreadable {
                name: name.into(),
                path: adapter.file.clone(),
                source,
            });
        }
    }
    Ok(())
}

/// Reads and seals each; `roots` are those of `models`.
///
/// # Errors
/// [`ApplianceError`], naming the adapter that is none or does not fit.
pub(crate) fn seal(
    adapters: &[AdapterArg],
    models: &[Model],
    roots: &[Digest256],
    computes: &Computes,
    layout: &Layout,
) -> Result<Vec<SealedAdapter>, ApplianceError> {
    let mut all = Vec::new();
    for adapter in adapters {
        let staged = layout.run().join("adapters").join(adapter.name.as_str());
        private_dir(&staged)?;
        let done = seal_one(adapter, models, roots, computes, layout, &staged);
        // What lies there is a copy; the failure, if any, is the one to report.
        let removed = fs::remove_dir_all(&staged).map_err(ApplianceError::io("cannot remove", &staged));
        all.push(done?);
        removed?;
    }
    Ok(all)
}

fn seal_one(
    adapter: &AdapterArg,
    models: &[Model],
    roots: &[Digest256],
    computes: &Computes,
    layout: &Layout,
    staged: &Path,
) -> Result<SealedAdapter, ApplianceError> {
    let found = Found::at(adapter)?;
    let (base, root) = base_of(adapter, &found, models, roots)?;
    found.stage(adapter, root, staged)?;
    let facts = AdapterFacts::read(staged).map_err(|error| {
        // What is said of the copy is meant of the user's file.
        let said = error.to_string();
        let said = said.replace(&shown(&staged.join(found.document.kind.file())), &shown(&found.weights));
        AdapterRefused::NotOne {
            name: adapter.name.to_string(),
            code: error.code(),
            reason: said.replace(&shown(staged), &shown(&adapter.file)),
        }
    })?;
    let kind = facts.adapter.kind;
    if kind == AdapterKind::Lora {
        check_engine(adapter, base, computes)?;
    }
    let weights = staged.join(kind.file());
    fit::check(adapter, kind, &base.name, &base.dir, &weights)?;
    let copy = match kind {
        AdapterKind::Lora => 0,
        AdapterKind::BitDelta => models::files_bytes(&base.dir),
    };
    let sealed = models::seal_dir(
        adapter.name.as_str(),
        staged,
        models::context_tokens(&base.dir)?,
        "sealing the adapter",
        layout,
    )?;
    Ok(SealedAdapter {
        sealed,
        base: base.name.clone(),
        callers: adapter.callers.clone(),
        bytes: facts.bytes.saturating_add(copy),
    })
}

/// LoRA is computed by llama.cpp alone, which reads GGUF alone.
fn check_engine(adapter: &AdapterArg, base: &Model, computes: &Computes) -> Result<(), AdapterRefused> {
    let got = match computes.engine {
        _ if computes.in_image => {
            "an image, which carries mistral.rs alone: leave --vm out, or make a delta of the merged model (hanzo model delta make)"
        }
        Some(EngineKind::MistralRs) => "--engine mistral.rs: leave --engine out",
        _ if !base.dir.join(GGUF_FILE).is_file() => "a base in safetensors: convert it to GGUF first",
        _ => return Ok(()),
    };
    Err(AdapterRefused::Engine {
        name: adapter.name.to_string(),
        needed: "llama.cpp, because it is a LoRA adapter",
        got,
    })
}

/// The model that it goes on: the one named, the one that it was made for, the only one.
fn base_of<'a>(
    adapter: &AdapterArg,
    found: &Found,
    models: &'a [Model],
    roots: &'a [Digest256],
) -> Result<(&'a Model, &'a Digest256), AdapterRefused> {
    let mut all = models.iter().zip(roots);
    let only = models.len() == 1;
    let found_one = match (&adapter.base, &found.made_for) {
        (Some(base), _) => all.find(|(model, _)| model.name == base.as_str()),
        (None, Some(made_for)) if !only => all.find(|(_, root)| *root == made_for),
        (None, _) if only => all.next(),
        (None, _) => None,
    };
    match (found_one, found.made_for) {
        (Some((model, root)), Some(made_for)) if *root != made_for => Err(AdapterRefused::OtherBase {
            name: adapter.name.to_string(),
            path: adapter.file.clone(),
            expected: made_for,
            got: format!("{} has {root}", model.name),
        }),
        (Some(found), _) => Ok(found),
        (None, Some(made_for)) => Err(AdapterRefused::OtherBase {
            name: adapter.name.to_string(),
            path: adapter.file.clone(),
            expected: made_for,
            got: format!("none of {} has it", names(models)),
        }),
        (None, None) => Err(AdapterRefused::WhichBase {
            name: adapter.name.to_string(),
            models: names(models),
        }),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn names(models: &[Model]) -> String {
    let names: Vec<_> = models.iter().map(|m| m.name.as_str()).collect();
    names.join(", ")
}

/// What lies where an adapter is said to be.
struct Found {
    weights: PathBuf,
    document: Adapter,
    /// The base that its own document names.
    made_for: Option<Digest256>,
}

impl Found {
    /// Says what `adapter` names, by what lies there.
    fn at(adapter: &AdapterArg) -> Result<Self, AdapterRefused> {
        let path = &adapter.file;
        let foreign = |got| AdapterRefused::Foreign {
            name: adapter.name.to_string(),
            path: path.clone(),
            got,
        };
        if path.is_dir() {
            if path.join(ADAPTER_FILE).is_file() {
                let facts = AdapterFacts::read(path).map_err(|error| refused(adapter, &error))?;
                if adapter.scale_micros.is_some() {
                    return Err(AdapterRefused::Scale {
                        name: adapter.name.to_string(),
                        why: "the directory's adapter.json has its own",
                    });
                }
                return Ok(Self {
                    weights: path.join(facts.adapter.kind.file()),
                    made_for: Some(facts.adapter.base_root),
                    document: facts.adapter,
                });
            }
            if path.join(DELTA_FILE).is_file() {
                return Self::raw(adapter, AdapterKind::BitDelta, path.join(DELTA_FILE));
            }
            return Err(foreign(match PEFT.iter().any(|file| path.join(file).is_file()) {
                true => "a PEFT directory",
                false => "a directory without adapter",
            }));
        }
        let mut first = [0; 4];
        let begins = fs::File::open(path).and_then(|mut file| file.read_exact(&mut first));
        match begins {
            Ok(()) if first == GGUF => Self::raw(adapter, AdapterKind::Lora, path.clone()),
            Ok(()) if path.extension().is_some_and(|e| e == "safetensors") => {
                match PEFT.iter().any(|file| path.ends_with(file)) {
                    true => Err(foreign("a file of a PEFT directory")),
                    false => Self::raw(adapter, AdapterKind::BitDelta, path.clone()),
                }
            }
            Ok(()) => Err(foreign("another file")),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(foreign("a file of under 4 bytes")),
            Err(source) => Err(AdapterRefused::Unreadable {
                name: adapter.name.to_string(),
                path: path.clone(),
                source,
            }),
        }
    }

    /// Weights that say nothing of their base.
    fn raw(adapter: &AdapterArg, kind: AdapterKind, weights: PathBuf) -> Result<Self, AdapterRefused> {
        if kind == AdapterKind::BitDelta && adapter.scale_micros.is_some() {
            return Err(AdapterRefused::Scale {
                name: adapter.name.to_string(),
                why: "a delta has a scale for each matrix in its file",
            });
        }
        let scale = adapter.scale_micros.unwrap_or(SCALE_ONE_MICROS);
        Ok(Self {
            weights,
            // The base's root takes this one's place once it is known.
            document: Adapter::new(kind, Digest256([0; 32]), scale),
            made_for: None,
        })
    }

    /// Copies it to `dir`, as guests open it, for the base under `root`.
    fn stage(&self, adapter: &AdapterArg, root: &Digest256, dir: &Path) -> Result<(), ApplianceError> {
        let length = fs::metadata(&self.weights)
            .map_err(ApplianceError::io("cannot read", &self.weights))?
            .len();
        if length > ADAPTER_BYTES_MAX {
            let error = AdapterError::Size {
                path: self.weights.clone(),
                got: length,
                max: ADAPTER_BYTES_MAX,
            };
            return Err(refused(adapter, &error).into());
        }
        let kind = self.document.kind;
        let target = dir.join(kind.file());
        fs::copy(&self.weights, &target).map_err(ApplianceError::io("cannot copy the adapter to", &target))?;
        let made_for = self.made_for.as_ref().unwrap_or(root);
        let document = Adapter::new(kind, *made_for, self.document.scale_micros);
        let bytes = document.document(dir).map_err(|error| refused(adapter, &error))?;
        let path = dir.join(ADAPTER_FILE);
        fs::write(&path, bytes).map_err(ApplianceError::io("cannot write", &path))
    }
}

fn refused(adapter: &AdapterArg, error: &AdapterError) -> AdapterRefused {
    AdapterRefused::NotOne {
        name: adapter.name.to_string(),
        code: error.code(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_an_image_does_not_compute_or_hold_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(GGUF_FILE), GGUF).unwrap();
        let model = |name: String| Model {
            name,
            dir: dir.path().to_owned(),
        };
        let written = format!("tuned={}", dir.path().join(GGUF_FILE).display());
        let adapter: AdapterArg = written.parse().unwrap();
        let here = Computes::default();
        let image = Computes::default().in_image(true);

        // LoRA on a GGUF base: llama.cpp computes it here, and no image has it.
        assert!(check_engine(&adapter, &model("base".into()), &here).is_ok());
        let refused = check_engine(&adapter, &model("base".into()), &image).unwrap_err();
        assert_eq!(refused.code(), "up.adapter.engine");
        assert!(refused.to_string().contains("leave --vm out"), "{refused}");

        // Each is a disk there.
        let models = |count: usize| (0..count).map(|at| model(format!("m{at}"))).collect::<Vec<_>>();
        let most = PACKS_MAX - 1;
        assert!(check(std::slice::from_ref(&adapter), &models(most), &image).is_ok());
        assert!(check(std::slice::from_ref(&adapter), &models(most + 1), &here).is_ok());
        let refused = check(&[adapter], &models(most + 1), &image).unwrap_err();
        assert_eq!(refused.code(), "up.adapter.limit");
        assert!(refused.to_string().contains("at most 16"), "{refused}");
    }
}

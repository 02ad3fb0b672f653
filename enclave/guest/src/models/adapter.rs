//! From the sealed pack of an adapter to what an engine computes with: LoRA beside its base's files, a delta on a copy of them.
//!
//! The adapter's own root says which base it goes on (`adapter.json`); that root is held against the configuration's base before anything
//! is put on anything, and stands in keyset and receipts beside the adapter's.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hanzo_attestation::config::EngineKind;
use hanzo_delta::DeltaError;
use hanzo_model::{ADAPTER_BYTES_MAX, AdapterError, AdapterFacts, AdapterKind, DELTA_FILE, VerifiedModel};

use super::{ModelError, OpenError, OpenedModel, PackedModel, inspected, pack_bytes, served};
use crate::engine::{EngineAdapter, EngineError, choose};

/// What a pack has beside its files, in bytes, generously.
const SEALING_BYTES: u64 = 64 << 20;

/// Opens an adapter on `base`. `merged` is a fresh directory, for a delta's copy of the base.
///
/// # Errors
/// [`ModelError`], [`EngineError`]; the base's files are as they were in any case.
pub(crate) async fn open_adapter(
    sealed: PackedModel<'_>,
    base: &OpenedModel,
    merged: PathBuf,
) -> Result<OpenedModel, OpenError> {
    let (options, model, index) = (sealed.options, sealed.model, sealed.index);
    let root = base.served.weights_root;
    check_size(&sealed)?;
    let wrong = |source| ModelError::Adapter {
        model: model.name.to_string(),
        source,
    };
    let (manifest, dir) = sealed.open(Some(&root)).await?;
    let facts = AdapterFacts::read(&dir).map_err(wrong)?;
    facts.check_base(&dir, &root).map_err(wrong)?;
    if let Some(manifest) = &manifest {
        manifest.check_facts(&base.facts).map_err(ModelError::from)?;
    }
    let named = model.engine.or(manifest.as_ref().map(engine_of));
    let least = base.facts.least_memory_bytes(base.engine, model.context_tokens.into());
    tracing::info!(model = %model.name, base = %base.served.name, kind = facts.adapter.kind.as_str(), "adapter opened");
    match facts.adapter.kind {
        AdapterKind::Lora => {
            let engines = [Some(base.engine), named];
            if let Some(other) = engines.into_iter().flatten().find(|kind| *kind != EngineKind::LlamaCpp) {
                return Err(OpenError::Engine(EngineError::Adapter {
                    model: model.name.to_string(),
                    engine: other.as_str(),
                }));
            }
            Ok(OpenedModel {
                served: served(model, Some(root), &base.facts, base.engine)?,
                least_memory_bytes: least.saturating_add(facts.bytes),
                dir: base.dir.clone(),
                facts: base.facts.clone(),
                adapter: Some(EngineAdapter {
                    dir,
                    scale_micros: facts.adapter.scale_micros,
                }),
                files_of: base.files_of,
                context_tokens: model.context_tokens,
                engine: base.engine,
                command: base.command.clone(),
                server: None,
            })
        }
        AdapterKind::BitDelta => {
            let copy = bytes_of(&base.dir).map_err(|source| wrong_delta(model.name.as_str(), source))?;
            super::check_free(model.name.as_str(), copy, options.plaintext)?;
            put_on(model.name.to_string(), base.dir.clone(), dir, merged.clone()).await?;
            let merged_facts = inspected(model, merged.clone()).await?;
            let chosen = choose(options, model, named.or(Some(base.engine)), &merged)?;
            Ok(OpenedModel {
                served: served(model, Some(root), &merged_facts, chosen.kind)?,
                least_memory_bytes: merged_facts.least_memory_bytes(chosen.kind, model.context_tokens.into()),
                dir: merged,
                facts: merged_facts,
                adapter: None,
                files_of: index,
                context_tokens: model.context_tokens,
                engine: chosen.kind,
                command: chosen.command,
                server: chosen.server,
            })
        }
    }
}

fn engine_of(manifest: &VerifiedModel) -> EngineKind {
    manifest.manifest().engine
}

/// Before a byte is opened: files of a pack are never longer than it, but for what seals them.
fn check_size(sealed: &PackedModel<'_>) -> Result<(), ModelError> {
    let (path, most) = (sealed.pack(), ADAPTER_BYTES_MAX + SEALING_BYTES);
    match pack_bytes(&path) {
        Ok(got) if got > most => Err(ModelError::Adapter {
            model: sealed.name(),
            source: AdapterError::Size {
                path,
                got,
                max: ADAPTER_BYTES_MAX,
            },
        }),
        // Opening it says what is wrong.
        _ => Ok(()),
    }
}

/// Copies the base and puts the delta on the copy; the opened delta is removed then.
async fn put_on(model: String, base: PathBuf, delta: PathBuf, merged: PathBuf) -> Result<(), ModelError> {
    let name = model.clone();
    let working = tokio::task::spawn_blocking(move || {
        copy(&base, &merged)?;
        hanzo_delta::apply(&merged, &delta.join(DELTA_FILE))?;
        fs::remove_dir_all(&delta).map_err(io("removing", &delta))
    });
    let done = working.await.map_err(|_| ModelError::Ended { model: name.clone() })?;
    done.map_err(|source| wrong_delta(&name, source))
}

fn wrong_delta(model: &str, source: DeltaError) -> ModelError {
    ModelError::Delta {
        model: model.to_owned(),
        source,
    }
}

/// Packs hold flat directories.
fn copy(from: &Path, to: &Path) -> Result<(), DeltaError> {
    for entry in fs::read_dir(from).map_err(io("listing", from))? {
        let path = entry.map_err(io("listing", from))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        fs::copy(&path, &target)
            .and_then(|_| fs::set_permissions(&target, Permissions::from_mode(0o600)))
            .map_err(io("copying to", &target))?;
    }
    Ok(())
}

fn bytes_of(dir: &Path) -> Result<u64, DeltaError> {
    let entries = fs::read_dir(dir).map_err(io("listing", dir))?;
    entries.into_iter().try_fold(0_u64, |sum, entry| {
        let length = entry
            .and_then(|entry| entry.metadata())
            .map_err(io("listing", dir))?
            .len();
        Ok(sum.saturating_add(length))
    })
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> DeltaError {
    let path = path.to_owned();
    move |source| DeltaError::Io { what, path, source }
}

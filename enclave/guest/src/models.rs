//! From a sealed pack to files that an engine may read: manifest, room, pack, facts, in this order.
//!
//! What is known before the pack is opened is checked before: signatures, time, the configuration's own words, memory. What the
//! files say is read as hostile input and held against the manifest before an engine starts.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hanzo_attestation::config::{EngineKind, ModelConfig, ModelSigners};
use hanzo_attestation::keyset::{CountedBy, ServedModel};
use hanzo_attestation::{Digest256, UnixTime};
use hanzo_delta::DeltaError;
use hanzo_model::{
    AdapterError, ManifestError, ModelFacts, ModelFileError, SIGNED_BYTES_MAX, SignedModel, Subject, TOKENIZER_FILE,
    VerifiedModel,
};
use hanzo_pack::PackError;
use hanzo_policy::release::{ReleaseKey, ReleaseKeys};
use hanzo_pqc::Dek;
use rustix::fs::OFlags;

use crate::engine::{EngineAdapter, EngineError, EngineJob, EngineServer, available_memory, choose};
use crate::options::{GuestOptions, PlaintextStorage};

mod adapter;

pub(crate) use self::adapter::open_adapter;

/// What an attestation of a model without a tokenizer of its engine would lack.
const NO_TOKENIZER: &str = "a tokenizer: tokenizer.json for mistral.rs, tokenizer.ggml.* in the GGUF for llama.cpp";

/// Why a model is not served.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The pack is not the one that configuration and grant name.
    #[error("model {model}: {source}")]
    Pack {
        /// Which model.
        model: String,
        /// What is wrong.
        source: PackError,
    },
    /// Its files are not those of a model.
    #[error("model {model}: {source}")]
    Files {
        /// Which model.
        model: String,
        /// What is wrong.
        source: ModelFileError,
    },
    /// Its manifest does not count, or is another model's.
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    /// The configuration asks for manifests, and there is none.
    #[error(
        "model {model}: {path}: {source}: the configuration has [model_signers], so each model needs its signed manifest there"
    )]
    NoManifest {
        /// Which model.
        model: String,
        /// Where it was looked for.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A file that every model needs is not in the pack.
    #[error(
        "model {model}: expected {expected} in the pack, found none: seal the pack again from a complete directory"
    )]
    MissingFile {
        /// Which model.
        model: String,
        /// The file, or the files of which one is needed.
        expected: &'static str,
    },
    /// The pack of an adapter is none, or goes on another model.
    #[error("model {model}: {source}")]
    Adapter {
        /// Which model.
        model: String,
        /// What is wrong.
        source: AdapterError,
    },
    /// A delta does not fit its base.
    #[error("model {model}: {source}")]
    Delta {
        /// Which model.
        model: String,
        /// What is wrong.
        source: DeltaError,
    },
    /// The opened files would not fit.
    #[error(
        "model {model}: its files take {needed} bytes, {free} bytes of memory are free for its files: give the machine more memory, or serve fewer or smaller models"
    )]
    Room {
        /// Which model.
        model: String,
        /// Bytes of the pack, or of the copy of its base where it is a delta.
        needed: u64,
        /// Bytes that may be used.
        free: u64,
    },
    /// The task that opens packs died.
    #[error("model {model}: the task that opens packs ended")]
    Ended {
        /// Which model.
        model: String,
    },
}

impl ModelError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Pack { source, .. } => source.code(),
            Self::Files { source, .. } => source.code(),
            Self::Manifest(source) => source.code(),
            Self::NoManifest { .. } => "model.manifest.missing",
            Self::Adapter { source, .. } => source.code(),
            Self::Delta { source, .. } => source.code(),
            Self::MissingFile { .. } => "pack.missing_file",
            Self::Room { .. } => "model.room",
            Self::Ended { .. } => "pack.ended",
        }
    }
}

/// A model whose whole root matched.
#[derive(Debug)]
pub struct OpenedModel {
    /// As it stands in the keyset.
    pub served: ServedModel,
    /// Its files.
    pub dir: PathBuf,
    /// What they say; of an adapter those of the model that it goes on.
    pub facts: ModelFacts,
    /// An adapter that its engine puts on them.
    pub adapter: Option<EngineAdapter>,
    /// Which model's directory `dir` is, by its place in the configuration.
    pub files_of: u16,
    /// Tokens of prompt and answer together.
    pub context_tokens: u32,
    /// What computes it.
    pub engine: EngineKind,
    /// Program and first arguments of its engine.
    pub command: Vec<String>,
    /// The server behind its engine.
    pub server: Option<EngineServer>,
    /// The least memory that this engine needs for it beside the opened files, in bytes.
    pub least_memory_bytes: u64,
}

impl OpenedModel {
    /// What an engine on it is started with; its places and number are its starter's.
    pub(crate) fn job(&self) -> EngineJob {
        EngineJob {
            model: self.served.name.to_string(),
            command: self.command.clone(),
            server: self.server.clone(),
            model_dir: self.dir.clone(),
            adapter: self.adapter.clone(),
            socket: PathBuf::new(),
            root: PathBuf::new(),
            index: self.files_of,
            group: self.files_of,
            context_tokens: self.context_tokens,
            least_memory_bytes: self.least_memory_bytes,
        }
    }
}

/// Whose manifests count, when, and at which tier the guest serves.
pub(crate) struct Terms {
    keys: Option<ReleaseKeys>,
    now: UnixTime,
    tier: u8,
}

impl Terms {
    /// Those of a configuration.
    ///
    /// # Errors
    /// [`ManifestError::Signatures`] for keys that are none.
    pub(crate) fn new(signers: Option<&ModelSigners>, now: UnixTime, tier: u8) -> Result<Self, ManifestError> {
        let keys = signers.map(|signers| ReleaseKeys {
            keys: signers
                .keys
                .iter()
                .map(|key| ReleaseKey {
                    ed25519: key.ed25519.clone(),
                    ml_dsa: key.ml_dsa.clone(),
                    name: key.name.clone(),
                })
                .collect(),
            threshold: signers.threshold,
        });
        keys.as_ref().map_or(Ok(()), ReleaseKeys::check)?;
        Ok(Self { keys, now, tier })
    }

    /// The manifest of `model` out of `<packs>/<name>.model.json`; `None` where the configuration has no signers.
    fn manifest(
        &self,
        model: &ModelConfig,
        base_root: Option<&Digest256>,
        packs: &Path,
    ) -> Result<Option<VerifiedModel>, ModelError> {
        let Some(keys) = &self.keys else { return Ok(None) };
        let path = packs.join(format!("{}.model.json", model.name));
        let bytes = read_manifest(&path).map_err(|source| ModelError::NoManifest {
            model: model.name.to_string(),
            path,
            source,
        })?;
        let verified = SignedModel::parse(&bytes)?.verify(keys)?;
        verified.check_time(self.now)?;
        verified.check_subject(&Subject {
            name: &model.name,
            weights_root: &model.weights_root,
            base_root,
            context_tokens: model.context_tokens.into(),
            tier: self.tier,
            engine: model.engine,
        })?;
        Ok(Some(verified))
    }
}

/// A file, or a disk that the manifest begins; what is longer than any manifest is not read.
fn read_manifest(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32) // a FIFO would keep the boot waiting for ever
        .open(path)?;
    let mut bytes = Vec::new();
    file.take(SIGNED_BYTES_MAX as u64 + 4096).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A model of the configuration, and what is needed to open it.
pub(crate) struct PackedModel<'a> {
    pub(crate) options: &'a GuestOptions,
    pub(crate) model: &'a ModelConfig,
    /// Its place in the configuration.
    pub(crate) index: u16,
    pub(crate) terms: &'a Terms,
    pub(crate) dek: Arc<Dek>,
    /// A fresh directory of its own.
    pub(crate) out: PathBuf,
}

impl PackedModel<'_> {
    fn name(&self) -> String {
        self.model.name.to_string()
    }

    fn pack(&self) -> PathBuf {
        self.options.packs.join(format!("{}.pack", self.model.name))
    }

    /// Checks what is known before a byte is opened, and opens the pack.
    async fn open(self, base_root: Option<&Digest256>) -> Result<(Option<VerifiedModel>, PathBuf), ModelError> {
        let (name, pack) = (self.name(), self.pack());
        let manifest = self.terms.manifest(self.model, base_root, &self.options.packs)?;
        if let Some(room) = room(self.options.plaintext) {
            if let Some(manifest) = &manifest {
                manifest.check_memory(self.model.context_tokens.into(), room)?;
            }
            check_room(&name, &pack, room)?;
        }
        let Self { model, dek, out, .. } = self;
        let root = model.weights_root;
        let opening = tokio::task::spawn_blocking(move || hanzo_pack::open(&pack, &dek, &root, &out, &|_| ()));
        let opened = opening.await.map_err(|_| ModelError::Ended { model: name.clone() })?;
        let opened = opened.map_err(|source| ModelError::Pack { model: name, source })?;
        if let Some(manifest) = &manifest {
            tracing::info!(
                model = %model.name,
                version = manifest.manifest().version,
                licence = manifest.manifest().licence,
                "manifest verified"
            );
        }
        Ok((manifest, opened.dir))
    }
}

/// Opens `<packs>/<name>.pack`, and says what runs it.
///
/// # Errors
/// [`ModelError`], [`EngineError`]; nothing of the model is left then.
pub(crate) async fn open_model(sealed: PackedModel<'_>) -> Result<OpenedModel, OpenError> {
    let (options, model, index) = (sealed.options, sealed.model, sealed.index);
    let (manifest, dir) = sealed.open(None).await?;
    let facts = inspected(model, dir.clone()).await?;
    if let Some(manifest) = &manifest {
        manifest.check_facts(&facts).map_err(ModelError::from)?;
    }
    let named = model.engine.or(manifest.as_ref().map(|m| m.manifest().engine));
    let chosen = choose(options, model, named, &dir)?;
    let engine = chosen.kind;
    Ok(OpenedModel {
        served: served(model, None, &facts, engine)?,
        least_memory_bytes: facts.least_memory_bytes(engine, model.context_tokens.into()),
        dir,
        facts,
        adapter: None,
        files_of: index,
        context_tokens: model.context_tokens,
        engine,
        command: chosen.command,
        server: chosen.server,
    })
}

async fn inspected(model: &ModelConfig, dir: PathBuf) -> Result<ModelFacts, ModelError> {
    let name = model.name.to_string();
    let reading = tokio::task::spawn_blocking(move || hanzo_model::inspect(&dir));
    let facts = reading.await.map_err(|_| ModelError::Ended { model: name.clone() })?;
    facts.map_err(|source| ModelError::Files { model: name, source })
}

/// Why a model was not opened, or nothing runs it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

fn served(
    model: &ModelConfig,
    base_root: Option<Digest256>,
    facts: &ModelFacts,
    engine: EngineKind,
) -> Result<ServedModel, ModelError> {
    let missing = |expected| ModelError::MissingFile {
        model: model.name.to_string(),
        expected,
    };
    Ok(ServedModel {
        base_root,
        chat_template_sha256: facts
            .chat_template_sha256
            .ok_or_else(|| missing("chat_template.jinja or tokenizer_config.json"))?,
        counted_by: (engine == EngineKind::Upstream).then_some(CountedBy::Upstream),
        name: model.name.clone(),
        tokenizer_sha256: facts.tokenizer_sha256(engine).ok_or_else(|| {
            missing(match engine {
                EngineKind::MistralRs => TOKENIZER_FILE,
                EngineKind::LlamaCpp | EngineKind::Upstream => NO_TOKENIZER,
            })
        })?,
        weights_root: model.weights_root,
    })
}

/// What opened files may take: memory, where they lie in it. A disk says itself when it is full.
fn room(storage: PlaintextStorage) -> Option<u64> {
    match storage {
        PlaintextStorage::MemoryOnly => available_memory(),
        PlaintextStorage::AnyFileSystem => None,
    }
}

/// A pack is never shorter than its files.
fn check_room(model: &str, pack: &Path, free: u64) -> Result<(), ModelError> {
    let needed = match pack_bytes(pack) {
        Ok(bytes) => bytes,
        // Opening it says what is wrong.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(ModelError::Pack {
                model: model.to_owned(),
                source: PackError::Io {
                    what: "reading the size of",
                    path: pack.to_owned(),
                    source,
                },
            });
        }
    };
    match needed <= free {
        true => Ok(()),
        false => Err(ModelError::Room {
            model: model.to_owned(),
            needed,
            free,
        }),
    }
}

/// As [`check_room`], for `needed` bytes that come of no pack.
fn check_free(model: &str, needed: u64, storage: PlaintextStorage) -> Result<(), ModelError> {
    match room(storage).filter(|free| needed > *free) {
        None => Ok(()),
        Some(free) => Err(ModelError::Room {
            model: model.to_owned(),
            needed,
            free,
        }),
    }
}

fn pack_bytes(pack: &Path) -> std::io::Result<u64> {
    if fs::metadata(pack)?.is_file() {
        return Ok(fs::metadata(pack)?.len());
    }
    // The kernel gives a device's size at its end and nowhere else.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(pack)?;
    file.seek(SeekFrom::End(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_that_does_not_fit_into_memory_is_refused_before_it_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let pack = dir.path().join("m.pack");
        fs::write(&pack, [0; 1000]).unwrap();
        assert!(check_room("m", &pack, 1000).is_ok());
        let error = check_room("m", &pack, 999).unwrap_err();
        assert_eq!(error.code(), "model.room");
        assert!(error.to_string().contains("1000 bytes, 999 bytes"), "{error}");
        assert!(check_room("m", &dir.path().join("none.pack"), 0).is_ok());
    }
}

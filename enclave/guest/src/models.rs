//! From a sealed pack to files that an engine may read.

use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_attestation::config::{EngineKind, ModelConfig};
use hanzo_attestation::keyset::ServedModel;
use hanzo_pack::{OpenedPack, PackError};
use hanzo_pqc::Dek;

const TOKENIZER: &str = "tokenizer.json";
/// Where a chat template may stand, in this order.
const CHAT_TEMPLATES: [&str; 2] = ["chat_template.jinja", "tokenizer_config.json"];

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
            Self::MissingFile { .. } => "pack.missing_file",
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
    /// Tokens of prompt and answer together.
    pub context_tokens: u32,
    /// The engine its configuration names.
    pub engine: Option<EngineKind>,
}

/// Opens `<packs>/<name>.pack` into `out`, which must be a fresh directory of its own.
///
/// # Errors
/// [`ModelError`]; nothing of the model is left then.
pub async fn open_model(model: &ModelConfig, dek: Dek, packs: &Path, out: PathBuf) -> Result<OpenedModel, ModelError> {
    let name = model.name.to_string();
    let pack = packs.join(format!("{name}.pack"));
    let root = model.weights_root;
    let opening = tokio::task::spawn_blocking(move || {
        let opened = hanzo_pack::open(&pack, &dek, &root, &out, &|_| ())?;
        let tokenizer = opened.file_sha256(TOKENIZER)?;
        let template = first_digest(&opened)?;
        Ok((opened, tokenizer, template))
    });
    let (opened, tokenizer, template) = opening
        .await
        .map_err(|_| ModelError::Ended { model: name.clone() })?
        .map_err(|source| ModelError::Pack {
            model: name.clone(),
            source,
        })?;
    let missing = |expected| ModelError::MissingFile {
        model: name.clone(),
        expected,
    };
    Ok(OpenedModel {
        served: ServedModel {
            chat_template_sha256: template.ok_or_else(|| missing("chat_template.jinja or tokenizer_config.json"))?,
            name: model.name.clone(),
            tokenizer_sha256: tokenizer.ok_or_else(|| missing(TOKENIZER))?,
            weights_root: opened.weights_root,
        },
        dir: opened.dir,
        context_tokens: model.context_tokens,
        engine: model.engine,
    })
}

fn first_digest(opened: &OpenedPack) -> Result<Option<Digest256>, PackError> {
    for name in CHAT_TEMPLATES {
        if let Some(digest) = opened.file_sha256(name)? {
            return Ok(Some(digest));
        }
    }
    Ok(None)
}

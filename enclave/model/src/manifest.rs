//! The manifest of a model: what its publisher says, in canonical JSON.

use hanzo_attestation::config::EngineKind;
use hanzo_attestation::jcs::{self, JcsError};
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, UnixTime};
use hanzo_policy::release::ReleaseError;
use serde::{Deserialize, Serialize};

use crate::adapter::{AdapterFacts, AdapterKind};
use crate::facts::{Format, ModelFacts, WORKING_BYTES};

/// What `type` says.
pub const MANIFEST_TYPE: &str = "hanzo.model.v1";
/// Longest manifest in bytes.
pub const MANIFEST_BYTES_MAX: usize = 16 * 1024;
/// Longest life of a manifest in seconds: 400 days.
pub const LIFETIME_S_MAX: u64 = 400 * 86_400;

const NUMBER_MAX: u64 = (1 << 53) - 1;
const CONTEXT_MAX: u64 = 1 << 20;
const WORD_BYTES_MAX: usize = 128;
pub(crate) const WHAT: &str = "model manifest";

/// What a model is and what it needs. Canonical JSON (RFC 8785) of at most 16 KiB with every member written out but `base_root`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelManifest {
    /// As the weights say it: 1 to 128 printable ASCII characters.
    pub architecture: String,
    /// Of an adapter: root over all files of the model that it goes on; left out for a model of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_root: Option<Digest256>,
    /// SHA-256 of the file of the chat template.
    pub chat_template_sha256: Digest256,
    /// Most tokens of prompt and answer together: 64 to 1,048,576.
    pub context_tokens: u64,
    /// What computes it.
    pub engine: EngineKind,
    /// How the weights are written.
    pub format: Format,
    /// When it was drafted, Unix seconds.
    pub issued_at: u64,
    /// Under which terms: an SPDX expression, or words; 1 to 128 printable ASCII characters.
    pub licence: String,
    /// Memory that a machine must have for it at least, without any context, in bytes: the opened files and the engine's own.
    pub memory_bytes: u64,
    /// What each token of the context adds to that, in bytes.
    pub memory_bytes_per_token: u64,
    /// The lowest privacy tier that a guest may serve it at: 0 to 4.
    pub minimum_tier: u8,
    /// The name that clients ask for.
    pub name: Name,
    /// Last second in which it counts, Unix seconds; at most 400 days after `issued_at`.
    pub not_after: u64,
    /// Of what `engine` makes ids with (`enclave/model/SPEC.md`).
    pub tokenizer_sha256: Digest256,
    /// [`MANIFEST_TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// Of the model, from 1.
    pub version: u64,
    /// Root over all its files.
    pub weights_root: Digest256,
}

/// What a publisher decides; the rest is read from the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The name that clients ask for.
    pub name: Name,
    /// From 1.
    pub version: u64,
    /// Under which terms.
    pub licence: String,
    /// The lowest privacy tier.
    pub minimum_tier: u8,
    /// What computes it; by its format if absent.
    pub engine: Option<EngineKind>,
    /// Most tokens of prompt and answer; what the model was trained for if absent.
    pub context_tokens: Option<u64>,
    /// First and last second.
    pub life: (UnixTime, UnixTime),
    /// Root over all its files.
    pub weights_root: Digest256,
}

/// Why a manifest does not count, or does not fit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    /// Not the format's JSON.
    #[error("{0}")]
    Json(JcsError),
    /// A value out of its range.
    #[error("model manifest: {field}: expected {expected}, got {got}")]
    Value {
        /// The member.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// The files do not say it, and nobody else did.
    #[error("model manifest: {field}: the model's files do not say it; {remedy}")]
    Unknown {
        /// The member.
        field: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// Keys, signatures, quorum.
    #[error("model manifest: {0}")]
    Signatures(#[from] ReleaseError),
    /// Not yet, or no longer.
    #[error(
        "model manifest {name}: counts from {issued_at} to {not_after}, now is {now}: ask its publisher for a current one"
    )]
    Time {
        /// Of which model.
        name: Name,
        /// Its first second.
        issued_at: u64,
        /// Its last second.
        not_after: u64,
        /// The reader's clock.
        now: u64,
    },
    /// The model is another than the manifest's.
    #[error(
        "model {name}: {field}: its manifest says {expected}, got {got}: serve the model that the manifest describes, or get its manifest"
    )]
    Differs {
        /// Of which model.
        name: Name,
        /// The member.
        field: &'static str,
        /// The manifest's.
        expected: String,
        /// The model's, or the guest's.
        got: String,
    },
    /// The machine is too small.
    #[error(
        "model {name}: needs {needed} bytes of memory for {context_tokens} tokens, {available} are available: give the machine more, or lower context_tokens"
    )]
    Memory {
        /// Of which model.
        name: Name,
        /// What its manifest asks for.
        needed: u64,
        /// At this context.
        context_tokens: u64,
        /// What there is.
        available: u64,
    },
}

impl ManifestError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(JcsError::TooLarge { .. }) => "model.manifest.too_large",
            Self::Json(JcsError::NotCanonical { .. }) => "model.manifest.not_canonical",
            Self::Json(_) => "model.manifest.malformed",
            Self::Value { .. } => "model.manifest.value",
            Self::Unknown { .. } => "model.manifest.unknown",
            Self::Signatures(error) => match error.code() {
                "release.quorum" => "model.manifest.quorum",
                "release.signature.repeated" => "model.manifest.signature.repeated",
                "release.signature.invalid" => "model.manifest.signature.invalid",
                _ => "model.manifest.keys",
            },
            Self::Time { .. } => "model.manifest.time",
            Self::Differs { .. } => "model.manifest.differs",
            Self::Memory { .. } => "model.memory",
        }
    }

    /// What programs that judge exit with: 10 malformed, 20 not authentic, 30 stale, 40 refused.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Json(_) | Self::Value { .. } | Self::Unknown { .. } => 10,
            Self::Signatures(_) => 20,
            Self::Time { .. } => 30,
            Self::Differs { .. } | Self::Memory { .. } => 40,
        }
    }
}

impl ModelManifest {
    /// Drafts one: what the files say, and what the publisher decided.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`] for what neither says, [`ManifestError::Value`].
    pub fn draft(facts: &ModelFacts, publication: Publication) -> Result<Self, ManifestError> {
        let engine = publication.engine.unwrap_or_else(|| facts.default_engine());
        let context = publication.context_tokens.or(facts.context_tokens);
        let unknown = |field, remedy| ManifestError::Unknown { field, remedy };
        let manifest = Self {
            architecture: facts.architecture.clone(),
            base_root: None,
            chat_template_sha256: facts
                .chat_template_sha256
                .ok_or_else(|| unknown("chat_template_sha256", "put chat_template.jinja beside the weights"))?,
            context_tokens: context.ok_or_else(|| unknown("context_tokens", "say it with --context-tokens"))?,
            engine,
            format: facts.format,
            issued_at: publication.life.0.0,
            licence: publication.licence,
            memory_bytes: facts.weights_bytes.saturating_add(facts.least_memory_bytes(engine, 0)),
            memory_bytes_per_token: facts.bytes_per_token.unwrap_or(0),
            minimum_tier: publication.minimum_tier,
            name: publication.name,
            not_after: publication.life.1.0,
            tokenizer_sha256: facts
                .tokenizer_sha256(engine)
                .ok_or_else(|| unknown("tokenizer_sha256", "the files hold no tokenizer that this engine reads"))?,
            kind: MANIFEST_TYPE.to_owned(),
            version: publication.version,
            weights_root: publication.weights_root,
        };
        manifest.check()?;
        Ok(manifest)
    }

    /// Drafts the manifest of an adapter: what it computes with is its base's, `base`.
    ///
    /// # Errors
    /// As [`ModelManifest::draft`]; [`ManifestError::Value`] for an engine that takes no such adapter, and for a LoRA adapter of another
    /// architecture.
    pub fn draft_adapter(
        base: &ModelFacts,
        adapter: &AdapterFacts,
        publication: Publication,
    ) -> Result<Self, ManifestError> {
        let mut manifest = Self::draft(base, publication)?;
        manifest.base_root = Some(adapter.adapter.base_root);
        let own = base.least_memory_bytes(manifest.engine, 0);
        manifest.memory_bytes = match adapter.adapter.kind {
            AdapterKind::Lora if manifest.engine != EngineKind::LlamaCpp => {
                return Err(ManifestError::Value {
                    field: "engine",
                    expected: "llama.cpp for a LoRA adapter",
                    got: manifest.engine.as_str().into(),
                });
            }
            AdapterKind::Lora => own.saturating_add(adapter.memory_bytes()),
            // On a copy of the base.
            AdapterKind::BitDelta => own.saturating_add(adapter.bytes).saturating_add(base.weights_bytes),
        };
        match &adapter.architecture {
            Some(other) if *other != manifest.architecture => Err(ManifestError::Value {
                field: "architecture",
                expected: "that of the adapter's base",
                got: other.clone(),
            }),
            _ => manifest.check().map(|()| manifest),
        }
    }

    /// Reads the canonical form and checks every value.
    ///
    /// # Errors
    /// [`ManifestError::Json`], [`ManifestError::Value`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = jcs::from_slice_bounded(WHAT, bytes, MANIFEST_BYTES_MAX).map_err(ManifestError::Json)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The canonical form: what keys sign, under the domain `hanzo/model-manifest/v1`.
    ///
    /// # Errors
    /// [`ManifestError::Json`].
    pub fn canonical(&self) -> Result<Vec<u8>, ManifestError> {
        jcs::to_vec(WHAT, self).map_err(ManifestError::Json)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`ManifestError::Value`].
    pub fn check(&self) -> Result<(), ManifestError> {
        let is_word = |text: &str| {
            (1..=WORD_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        };
        let life = self.not_after.checked_sub(self.issued_at);
        for (ok, field, expected, got) in [
            (self.kind == MANIFEST_TYPE, "type", MANIFEST_TYPE, "another".to_owned()),
            (
                is_word(&self.architecture),
                "architecture",
                "1 to 128 printable ASCII characters",
                format!("{} bytes", self.architecture.len()),
            ),
            (
                is_word(&self.licence),
                "licence",
                "1 to 128 printable ASCII characters",
                format!("{} bytes", self.licence.len()),
            ),
            (
                (64..=CONTEXT_MAX).contains(&self.context_tokens),
                "context_tokens",
                "64 to 1048576",
                self.context_tokens.to_string(),
            ),
            (
                (WORKING_BYTES..=NUMBER_MAX).contains(&self.memory_bytes),
                "memory_bytes",
                "32 MiB to 2^53 - 1",
                self.memory_bytes.to_string(),
            ),
            (
                self.memory_bytes_per_token <= 1 << 30,
                "memory_bytes_per_token",
                "at most 2^30",
                self.memory_bytes_per_token.to_string(),
            ),
            (
                self.minimum_tier <= 4,
                "minimum_tier",
                "0 to 4",
                self.minimum_tier.to_string(),
            ),
            (
                self.not_after <= NUMBER_MAX && life.is_some_and(|s| (1..=LIFETIME_S_MAX).contains(&s)),
                "not_after",
                "1 s to 400 days after issued_at",
                self.not_after.to_string(),
            ),
            (
                (1..=NUMBER_MAX).contains(&self.version),
                "version",
                "1 to 2^53 - 1",
                self.version.to_string(),
            ),
        ] {
            if !ok {
                return Err(ManifestError::Value { field, expected, got });
            }
        }
        Ok(())
    }

    /// Memory that a machine must have for a context of `context_tokens`, in bytes.
    pub fn memory_for(&self, context_tokens: u64) -> u64 {
        self.memory_bytes
            .saturating_add(self.memory_bytes_per_token.saturating_mul(context_tokens))
    }
}

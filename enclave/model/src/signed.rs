//! A manifest under a quorum of keys, and what may be done with one.

use hanzo_attestation::config::EngineKind;
use hanzo_attestation::jcs;
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, UnixTime};
use hanzo_policy::release::{ReleaseKeys, ReleaseSignature};
use hanzo_pqc::sign::SigningKeys;
use hanzo_pqc::{Domain, PqcError};
use serde::{Deserialize, Serialize};

use crate::facts::ModelFacts;
use crate::manifest::{ManifestError, ModelManifest};

/// What `type` says.
pub const SIGNED_TYPE: &str = "hanzo.signed-model.v1";
/// Longest signed manifest in bytes: 16 signatures of 7 KiB each.
pub const SIGNED_BYTES_MAX: usize = 192 * 1024;

const WHAT: &str = "signed model manifest";
const SIGNATURES_MAX: usize = 16;
/// How far a publisher's clock may run ahead of the reader's, in seconds.
const CLOCK_SKEW_S: u64 = 60;

/// A manifest with its signatures, of which nothing is believed yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedModel {
    /// The manifest.
    pub manifest: ModelManifest,
    /// Over its canonical form.
    pub signatures: Vec<ReleaseSignature>,
    /// [`SIGNED_TYPE`].
    #[serde(rename = "type")]
    kind: String,
}

/// A manifest that a quorum signed.
///
/// Only [`SignedModel::verify`] makes one:
/// ```compile_fail,E0451
/// use hanzo_model::{ModelManifest, VerifiedModel};
/// fn forge(manifest: ModelManifest) -> VerifiedModel {
///     VerifiedModel { manifest, signers: Vec::new() }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedModel {
    manifest: ModelManifest,
    signers: Vec<Name>,
}

/// What a guest is about to serve, as its measured configuration says it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The name that clients ask for.
    pub name: &'a Name,
    /// Root over all files.
    pub weights_root: &'a Digest256,
    /// Of an adapter: root of the model that it goes on.
    pub base_root: Option<&'a Digest256>,
    /// Tokens of prompt and answer.
    pub context_tokens: u64,
    /// The tier that the guest keeps.
    pub tier: u8,
    /// What computes it, where the configuration names one.
    pub engine: Option<EngineKind>,
}

/// Signs a manifest with one holder's keys; `key` is the id of their public part.
///
/// # Errors
/// [`SignError`].
pub fn sign(manifest: &ModelManifest, keys: &SigningKeys, key: Digest256) -> Result<ReleaseSignature, SignError> {
    let signature = keys.sign(Domain::ModelManifest, &manifest.canonical()?)?;
    Ok(ReleaseSignature {
        ed25519: signature.ed25519_hex(),
        key,
        ml_dsa: signature.ml_dsa_hex(),
    })
}

/// Why a manifest was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// It is none.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The keys.
    #[error("model manifest: signing: {0}")]
    Keys(#[from] PqcError),
}

impl SignedModel {
    /// Puts signatures under a manifest. Who they are of shows [`SignedModel::verify`].
    pub fn new(manifest: ModelManifest, signatures: Vec<ReleaseSignature>) -> Self {
        Self {
            manifest,
            signatures,
            kind: SIGNED_TYPE.to_owned(),
        }
    }

    /// Reads the canonical form. Zeros may follow, as they do on a disk; nothing else.
    ///
    /// # Errors
    /// [`ManifestError::Json`], [`ManifestError::Value`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let bytes = bytes.get(..end).unwrap_or_default();
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let signed: Self = jcs::from_slice_bounded(WHAT, bytes, SIGNED_BYTES_MAX).map_err(ManifestError::Json)?;
        if signed.kind != SIGNED_TYPE {
            return Err(ManifestError::Value {
                field: "type",
                expected: SIGNED_TYPE,
                got: "another".into(),
            });
        }
        if signed.signatures.len() > SIGNATURES_MAX {
            return Err(ManifestError::Value {
                field: "signatures",
                expected: "at most 16",
                got: signed.signatures.len().to_string(),
            });
        }
        signed.manifest.check()?;
        Ok(signed)
    }

    /// The canonical form.
    ///
    /// # Errors
    /// [`ManifestError::Json`].
    pub fn canonical(&self) -> Result<Vec<u8>, ManifestError> {
        jcs::to_vec(WHAT, self).map_err(ManifestError::Json)
    }

    /// Checks the quorum.
    ///
    /// # Establishes
    /// As many of `keys` as its threshold asks for signed exactly this manifest. Nothing of time and of any model's files.
    ///
    /// # Errors
    /// [`ManifestError::Signatures`].
    pub fn verify(&self, keys: &ReleaseKeys) -> Result<VerifiedModel, ManifestError> {
        self.manifest.check()?;
        let message = self.manifest.canonical()?;
        let signers = keys.quorum(Domain::ModelManifest, self.manifest.version, &message, &self.signatures)?;
        Ok(VerifiedModel {
            manifest: self.manifest.clone(),
            signers,
        })
    }
}

impl VerifiedModel {
    /// The manifest.
    pub fn manifest(&self) -> &ModelManifest {
        &self.manifest
    }

    /// Who signed, by the names of the key set.
    pub fn signers(&self) -> &[Name] {
        &self.signers
    }

    /// Checks that it counts at `now`.
    ///
    /// # Errors
    /// [`ManifestError::Time`].
    pub fn check_time(&self, now: UnixTime) -> Result<(), ManifestError> {
        let of = &self.manifest;
        match of.issued_at <= now.0.saturating_add(CLOCK_SKEW_S) && now.0 <= of.not_after {
            true => Ok(()),
            false => Err(ManifestError::Time {
                name: of.name.clone(),
                issued_at: of.issued_at,
                not_after: of.not_after,
                now: now.0,
            }),
        }
    }

    /// Checks what is known before a byte of the model is opened.
    ///
    /// # Errors
    /// [`ManifestError::Differs`] naming the first member that does.
    pub fn check_subject(&self, subject: &Subject<'_>) -> Result<(), ManifestError> {
        let of = &self.manifest;
        self.same("name", &of.name, subject.name)?;
        self.same("weights_root", &of.weights_root, subject.weights_root)?;
        let root = |root: Option<&Digest256>| root.map_or_else(|| "none".to_owned(), ToString::to_string);
        self.same("base_root", &root(of.base_root.as_ref()), &root(subject.base_root))?;
        if let Some(engine) = subject.engine {
            self.same("engine", &of.engine.as_str(), &engine.as_str())?;
        }
        self.holds(
            subject.context_tokens <= of.context_tokens,
            "context_tokens",
            format!("at most {}", of.context_tokens),
            subject.context_tokens.to_string(),
        )?;
        self.holds(
            subject.tier >= of.minimum_tier,
            "minimum_tier",
            format!("tier {} or higher", of.minimum_tier),
            format!("required_tier {}", subject.tier),
        )
    }

    /// Checks that there is memory enough.
    ///
    /// # Errors
    /// [`ManifestError::Memory`].
    pub fn check_memory(&self, context_tokens: u64, available: u64) -> Result<(), ManifestError> {
        let needed = self.manifest.memory_for(context_tokens);
        match needed <= available {
            true => Ok(()),
            false => Err(ManifestError::Memory {
                name: self.manifest.name.clone(),
                needed,
                context_tokens,
                available,
            }),
        }
    }

    /// Checks the opened files.
    ///
    /// # Errors
    /// [`ManifestError::Differs`] naming the first member that does.
    pub fn check_facts(&self, facts: &ModelFacts) -> Result<(), ManifestError> {
        let of = &self.manifest;
        self.same("format", &of.format.as_str(), &facts.format.as_str())?;
        self.same("architecture", &of.architecture, &facts.architecture)?;
        let tokenizer = facts.tokenizer_sha256(of.engine);
        for (field, expected, got) in [
            ("tokenizer_sha256", of.tokenizer_sha256, tokenizer),
            (
                "chat_template_sha256",
                of.chat_template_sha256,
                facts.chat_template_sha256,
            ),
        ] {
            let got_text = got.map_or_else(|| "no such file".to_owned(), |digest| digest.to_string());
            self.holds(got == Some(expected), field, expected.to_string(), got_text)?;
        }
        Ok(())
    }

    fn same<T: PartialEq + ToString>(&self, field: &'static str, expected: &T, got: &T) -> Result<(), ManifestError> {
        self.holds(expected == got, field, expected.to_string(), got.to_string())
    }

    fn holds(&self, ok: bool, field: &'static str, expected: String, got: String) -> Result<(), ManifestError> {
        match ok {
            true => Ok(()),
            false => Err(ManifestError::Differs {
                name: self.manifest.name.clone(),
                field,
                expected,
                got,
            }),
        }
    }
}

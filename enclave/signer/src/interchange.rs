//! EIP-3076 slashing-protection interchange files, version 5, and how our votes stand in them.
//!
//! A file is JSON of at most 64 MiB. Numbers are decimal strings without sign or leading zero; binary values are `0x` and hex of
//! either case. Members that the EIP does not name are ignored; those that it names must be there, once, and of their form.
//!
//! # Our votes in such a file
//! `pubkey` is SHA-384 of the key ([`crate::PublicKey::interchange_id`]), `genesis_validators_root` the digest of the genesis,
//! `slot` = epoch · 2^40 + view, `signing_root` the request's digest. A notarization is a signed block. A finalization is an
//! attestation with source = target = slot and its root; a nullification one without root. So the EIP's rule of one attestation
//! per target is our rule of one finalization or nullification per view.
//!
//! # Spec
//! EIP-3076, ethereum/EIPs at 082834fe.

mod votes;

use serde::{Deserialize, Serialize};

pub(crate) use votes::VoteHistory;

/// Longest file in bytes.
pub const INTERCHANGE_BYTES_MAX: usize = 64 << 20;
/// The version of the format.
pub const VERSION: &str = "5";

/// Why bytes are no interchange file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterchangeError {
    /// Too long.
    #[error("interchange file: {got} bytes, the limit is {limit}")]
    TooLong {
        /// Bytes that came.
        got: usize,
        /// Most bytes.
        limit: usize,
    },
    /// Not the JSON that the EIP describes.
    #[error("interchange file: {detail}; expected the JSON of EIP-3076")]
    Json {
        /// What the reader says, with line and column.
        detail: String,
    },
    /// Another version.
    #[error(
        "interchange file: metadata.interchange_format_version: expected \"5\", got {got:?}: export it again with a current program"
    )]
    Version {
        /// What came.
        got: String,
    },
    /// A member that has another form.
    #[error("interchange file: {place}: expected {expected}, got {got:?}")]
    Member {
        /// Where.
        place: String,
        /// What is accepted.
        expected: &'static str,
        /// What came, cut to 80 characters.
        got: String,
    },
    /// An attestation whose source is after its target.
    #[error(
        "interchange file: {place}: source_epoch {source_epoch} is after target_epoch {target_epoch}: no such attestation can be signed"
    )]
    SourceAfterTarget {
        /// Where.
        place: String,
        /// The source.
        source_epoch: u64,
        /// The target.
        target_epoch: u64,
    },
}

impl InterchangeError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "signer.interchange.length",
            Self::Json { .. } => "signer.interchange.json",
            Self::Version { .. } => "signer.interchange.version",
            Self::Member { .. } => "signer.interchange.member",
            Self::SourceAfterTarget { .. } => "signer.interchange.source_after_target",
        }
    }
}

/// A validator's name in a file: 48 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValidatorKey(pub [u8; 48]);

/// What was signed: 1 to 32 bytes, compared as they stand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SigningRoot(Vec<u8>);

impl SigningRoot {
    /// Of 1 to 32 bytes.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (1..=32).contains(&bytes.len()).then(|| Self(bytes.to_vec()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A signed block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBlock {
    /// Its slot.
    pub slot: u64,
    /// What was signed, if the file says so.
    pub root: Option<SigningRoot>,
}

/// A signed attestation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedAttestation {
    /// Its source epoch, at most the target.
    pub source: u64,
    /// Its target epoch.
    pub target: u64,
    /// What was signed, if the file says so.
    pub root: Option<SigningRoot>,
}

/// What one entry of a file says of one validator. A file may have several entries for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which validator.
    pub key: ValidatorKey,
    /// Its blocks, in the file's order.
    pub blocks: Vec<SignedBlock>,
    /// Its attestations, in the file's order.
    pub attestations: Vec<SignedAttestation>,
}

/// A file, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interchange {
    /// Which chain.
    pub genesis: [u8; 32],
    /// The entries, in the file's order.
    pub entries: Vec<Entry>,
}

#[derive(Deserialize, Serialize)]
struct FileJson {
    metadata: MetadataJson,
    data: Vec<EntryJson>,
}

#[derive(Deserialize, Serialize)]
struct MetadataJson {
    interchange_format_version: String,
    genesis_validators_root: String,
}

#[derive(Deserialize, Serialize)]
struct EntryJson {
    pubkey: String,
    signed_blocks: Vec<BlockJson>,
    signed_attestations: Vec<AttestationJson>,
}

#[derive(Deserialize, Serialize)]
struct BlockJson {
    slot: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signing_root: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct AttestationJson {
    source_epoch: String,
    target_epoch: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signing_root: Option<String>,
}

fn member(place: String, expected: &'static str, got: &str) -> InterchangeError {
    let got = got.chars().take(80).collect();
    InterchangeError::Member { place, expected, got }
}

fn number(text: &str, place: impl Fn() -> String) -> Result<u64, InterchangeError> {
    let is_canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits && is_canonical)
        .ok_or_else(|| member(place(), "a decimal string of 64 bits", text))
}

fn binary(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.strip_prefix("0x")?).ok()
}

fn root(text: Option<&str>, place: impl Fn() -> String) -> Result<Option<SigningRoot>, InterchangeError> {
    let Some(text) = text else { return Ok(None) };
    binary(text)
        .and_then(|bytes| SigningRoot::new(&bytes))
        .map(Some)
        .ok_or_else(|| member(place(), "0x and 1 to 32 bytes in hex, null, or no such member", text))
}

fn shown(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

impl Interchange {
    /// Reads a file.
    ///
    /// # Establishes
    /// The form alone. Whether what it says is consistent, and of our chain, [`crate::history::SigningHistory::import`] tells.
    ///
    /// # Errors
    /// [`InterchangeError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, InterchangeError> {
        let (got, limit) = (bytes.len(), INTERCHANGE_BYTES_MAX);
        if got > limit {
            return Err(InterchangeError::TooLong { got, limit });
        }
        let FileJson { metadata, data } =
            serde_json::from_slice(bytes).map_err(|e| InterchangeError::Json { detail: e.to_string() })?;
        if metadata.interchange_format_version != VERSION {
            let got = metadata.interchange_format_version.chars().take(80).collect();
            return Err(InterchangeError::Version { got });
        }
        let text = &metadata.genesis_validators_root;
        let genesis = binary(text).and_then(|b| b.try_into().ok()).ok_or_else(|| {
            let place = "metadata.genesis_validators_root".into();
            member(place, "0x and 32 bytes in hex", text)
        })?;
        let entries = data
            .iter()
            .enumerate()
            .map(|(n, entry)| entry.read(n))
            .collect::<Result<_, _>>()?;
        Ok(Self { genesis, entries })
    }

    /// The file, with a newline at its end.
    pub fn to_json(&self) -> String {
        let data = self.entries.iter().map(EntryJson::of).collect();
        let file = FileJson {
            metadata: MetadataJson {
                interchange_format_version: VERSION.into(),
                genesis_validators_root: shown(&self.genesis),
            },
            data,
        };
        // Strings and arrays alone: there is nothing in it that JSON cannot say.
        let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
        text.push('\n');
        text
    }
}

impl EntryJson {
    fn read(&self, n: usize) -> Result<Entry, InterchangeError> {
        let key = binary(&self.pubkey)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| member(format!("data[{n}].pubkey"), "0x and 48 bytes in hex", &self.pubkey))?;
        let mut blocks = Vec::with_capacity(self.signed_blocks.len());
        for (i, block) in self.signed_blocks.iter().enumerate() {
            let at = |name| move || format!("data[{n}].signed_blocks[{i}].{name}");
            blocks.push(SignedBlock {
                slot: number(&block.slot, at("slot"))?,
                root: root(block.signing_root.as_deref(), at("signing_root"))?,
            });
        }
        let mut attestations = Vec::with_capacity(self.signed_attestations.len());
        for (i, attestation) in self.signed_attestations.iter().enumerate() {
            let at = |name| move || format!("data[{n}].signed_attestations[{i}]{name}");
            let source = number(&attestation.source_epoch, at(".source_epoch"))?;
            let target = number(&attestation.target_epoch, at(".target_epoch"))?;
            let root = root(attestation.signing_root.as_deref(), at(".signing_root"))?;
            if source > target {
                return Err(InterchangeError::SourceAfterTarget {
                    place: at("")(),
                    source_epoch: source,
                    target_epoch: target,
                });
            }
            attestations.push(SignedAttestation { source, target, root });
        }
        let key = ValidatorKey(key);
        Ok(Entry {
            key,
            blocks,
            attestations,
        })
    }

    fn of(entry: &Entry) -> Self {
        let root = |root: &Option<SigningRoot>| root.as_ref().map(|r| shown(r.as_bytes()));
        Self {
            pubkey: shown(&entry.key.0),
            signed_blocks: entry
                .blocks
                .iter()
                .map(|block| BlockJson {
                    slot: block.slot.to_string(),
                    signing_root: root(&block.root),
                })
                .collect(),
            signed_attestations: entry
                .attestations
                .iter()
                .map(|attestation| AttestationJson {
                    source_epoch: attestation.source.to_string(),
                    target_epoch: attestation.target.to_string(),
                    signing_root: root(&attestation.root),
                })
                .collect(),
        }
    }
}

//! How a chain begins: each validator says who it is, somebody puts the genesis together and publishes it.

use hanzo_attestation::Digest256;
use hanzo_attestation::jcs::{self, JcsError};
use hanzo_ledger::{
    Address, Allocation, Canonical, DecodeError, FirstValidator, Genesis, GenesisError, List, Network, NetworkKind,
    Params, PublicKey,
};
use serde::{Deserialize, Serialize};

use crate::keys::{VALIDATOR_KEYS_BYTES, ValidatorKeys};
use crate::quorum::faults;

/// Longest `candidate.json` in bytes.
pub const CANDIDATE_BYTES_MAX: usize = 256 * 1024;
/// Longest evidence of a validator in bytes.
pub const EVIDENCE_BYTES_MAX: usize = 96 * 1024;

/// A validator that waits for a genesis. Written as canonical JSON (RFC 8785): `candidate.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The keys of the boot that waits: incarnation 1, a genesis of zeros. They are in its memory alone: a candidate that was
    /// restarted is another one.
    pub keys: ValidatorKeys,
    /// Key of its account.
    pub owner: PublicKey,
    /// Key with which it endorses other validators' keys after verifying their evidence.
    pub registrar: PublicKey,
    /// Where its link is reached: host and port.
    pub address: String,
    /// Over [`ValidatorKeys::report_data`]: JCS of the `cpu` member of a bundle. Whoever publishes the genesis appraises it.
    pub evidence: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    address: String,
    evidence: String,
    keys: String,
    owner: String,
    registrar: String,
    version: u32,
}

/// Not a candidate, or no genesis can be made of these.
#[derive(Debug, thiserror::Error)]
pub enum CandidateError {
    /// The JSON.
    #[error(transparent)]
    Json(#[from] JcsError),
    /// A field's bytes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A field's value.
    #[error(
        "candidate: {field}: expected {expected}, got {got}: start the validator again without genesis.bin and take its new candidate.json"
    )]
    Value {
        /// Which.
        field: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// What they make is no genesis.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
}

impl CandidateError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(_) => "chain.candidate.json",
            Self::Decode(e) => e.code(),
            Self::Value { .. } => "chain.candidate.value",
            Self::Genesis(e) => e.code(),
        }
    }
}

fn bytes_of(field: &'static str, hex: &str, max: usize) -> Result<Vec<u8>, CandidateError> {
    let lower = hex.len() <= max.saturating_mul(2) && !hex.bytes().any(|b| b.is_ascii_uppercase());
    let bytes = lower.then(|| hex::decode(hex).ok()).flatten();
    bytes.ok_or_else(|| CandidateError::Value {
        field,
        expected: format!("at most {max} bytes in lower-case hex"),
        got: format!("{} characters", hex.len()),
    })
}

impl Candidate {
    /// Reads `candidate.json` and checks what can be checked without appraising the evidence.
    ///
    /// # Errors
    /// [`CandidateError`].
    pub fn parse(json: &[u8]) -> Result<Self, CandidateError> {
        let written: Written = jcs::from_slice("candidate", json, CANDIDATE_BYTES_MAX)?;
        let key = |field, hex: &str| -> Result<PublicKey, CandidateError> {
            let bytes = bytes_of(field, hex, 1952)?;
            Ok(Canonical::from_bytes(field, &bytes, 1952)?)
        };
        let keys = bytes_of("keys", &written.keys, VALIDATOR_KEYS_BYTES)?;
        let candidate = Self {
            keys: Canonical::from_bytes("keys", &keys, VALIDATOR_KEYS_BYTES)?,
            owner: key("owner", &written.owner)?,
            registrar: key("registrar", &written.registrar)?,
            address: written.address,
            evidence: bytes_of("evidence", &written.evidence, EVIDENCE_BYTES_MAX)?,
        };
        let (keys, owner) = (&candidate.keys, Address::of(&candidate.owner));
        let no_genesis = Digest256([0; 32]);
        let rules = [
            (
                "version",
                written.version == 1,
                "1".to_owned(),
                written.version.to_string(),
            ),
            (
                "keys.incarnation",
                keys.incarnation == 1,
                "1".into(),
                keys.incarnation.to_string(),
            ),
            (
                "keys.network.genesis",
                keys.network.genesis == no_genesis,
                no_genesis.to_string(),
                keys.network.genesis.to_string(),
            ),
            (
                "keys.validator",
                keys.validator == owner,
                owner.to_string(),
                keys.validator.to_string(),
            ),
            (
                "address",
                (3..=256).contains(&candidate.address.len()),
                "host and port".into(),
                format!("{} bytes", candidate.address.len()),
            ),
        ];
        match rules.into_iter().find(|(_, good, _, _)| !good) {
            None => Ok(candidate),
            Some((field, _, expected, got)) => Err(CandidateError::Value { field, expected, got }),
        }
    }

    /// As it is written.
    ///
    /// # Errors
    /// [`CandidateError::Json`]: never for values of this type.
    pub fn to_json(&self) -> Result<Vec<u8>, CandidateError> {
        let written = Written {
            address: self.address.clone(),
            evidence: hex::encode(&self.evidence),
            keys: hex::encode(self.keys.to_bytes()),
            owner: hex::encode(&*self.owner),
            registrar: hex::encode(&*self.registrar),
            version: 1,
        };
        Ok(jcs::to_vec("candidate", &written)?)
    }
}

/// What a genesis says beside its validators.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// Number of the network.
    pub id: u64,
    /// Milliseconds of Unix time.
    pub time_ms: u64,
    /// All there will ever be, base units.
    pub max_supply: u128,
    /// What the treasury starts with.
    pub treasury: u128,
    /// Accounts; in any order, each once.
    pub allocations: Vec<Allocation>,
    /// What every first validator has at stake.
    pub stake: u128,
    /// Rules.
    pub params: Params,
}

/// Puts a genesis together. Every candidate is a validator and a registrar; of the registrars one more than may be faulty have to
/// endorse a key.
///
/// # Does not establish
/// That the candidates' evidence is good: whoever publishes the genesis vouches for it.
///
/// # Errors
/// [`CandidateError`].
pub fn assemble(candidates: &[Candidate], beginning: Beginning) -> Result<Genesis, CandidateError> {
    let other = candidates.iter().find(|c| c.keys.network.id != beginning.id);
    if let Some(other) = other {
        return Err(CandidateError::Value {
            field: "keys.network.id",
            expected: beginning.id.to_string(),
            got: format!("{} of {}", other.keys.network.id, other.keys.validator),
        });
    }
    let mut validators: Vec<_> = candidates
        .iter()
        .map(|c| FirstValidator {
            owner: c.keys.validator,
            stake: beginning.stake,
            key: c.keys.consensus.clone(),
        })
        .collect();
    validators.sort_by_key(|v| v.owner);
    let mut registrars: Vec<_> = candidates.iter().map(|c| c.registrar.clone()).collect();
    registrars.sort();
    let mut allocations = beginning.allocations;
    allocations.sort_by_key(|a| a.address);
    let threshold = faults(candidates.len()).saturating_add(1);
    let genesis = Genesis {
        kind: NetworkKind::AiChain,
        id: beginning.id,
        time_ms: beginning.time_ms,
        max_supply: beginning.max_supply,
        treasury: beginning.treasury,
        allocations: bounded("allocations", allocations)?,
        validators: bounded("validators", validators)?,
        registrars: bounded("registrars", registrars)?,
        threshold: u16::try_from(threshold).unwrap_or(u16::MAX),
        params: beginning.params,
    };
    genesis.check()?;
    Ok(genesis)
}

fn bounded<T, const MAX: usize>(field: &'static str, items: Vec<T>) -> Result<List<T, MAX>, CandidateError> {
    let got = items.len().to_string();
    List::new(items).ok_or_else(|| CandidateError::Value {
        field,
        expected: format!("at most {MAX}"),
        got,
    })
}

/// The network that stands in a candidate's keys.
pub fn before_genesis(id: u64) -> Network {
    Network {
        kind: NetworkKind::AiChain,
        id,
        genesis: Digest256([0; 32]),
    }
}

//! The beginning of a chain: a validator without a genesis says who it is and waits for one that names its key.

use std::time::Duration;

use hanzo_attestation::jcs;
use hanzo_chain_types::{CHANNEL_KEY_BYTES, Candidate, ValidatorKeys, before_genesis};
use hanzo_ledger::{Address, Canonical, Fixed, Genesis, PublicKey};

use crate::boot::WaitingKey;
use crate::config::Config;
use crate::error::NodeError;
use crate::files::{self, CANDIDATE_FILE, GENESIS_FILE, LEDGER_FILE};
use crate::kept;
use crate::machine::Machine;

/// Longest genesis file in bytes.
const GENESIS_BYTES_MAX: u64 = 1 << 20;
/// How often the folder is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The genesis of a folder, if it has one.
///
/// # Errors
/// [`NodeError::Part`] for a file that is none; [`NodeError::Value`] for another network's.
pub fn genesis(config: &Config) -> Result<Option<Genesis>, NodeError> {
    let path = config.genesis.clone();
    let Some(bytes) = files::read_if_there(&path, GENESIS_BYTES_MAX)? else {
        return Ok(None);
    };
    let genesis =
        Genesis::parse(&bytes).map_err(|e| NodeError::part("genesis", e.code(), format!("{}: {e}", path.display())))?;
    if genesis.id != config.network {
        return Err(NodeError::Value {
            path,
            field: "id",
            expected: format!("{}, as validator.toml says", config.network),
            got: genesis.id.to_string(),
        });
    }
    Ok(Some(genesis))
}

/// Writes `candidate.json` and waits for `genesis.bin`. The key is in this process alone: it waits as long as it takes.
///
/// # Errors
/// [`NodeError`]: a folder with a ledger and no genesis; a genesis without this key.
pub async fn wait(
    config: &Config,
    owner: &PublicKey,
    registrar: Option<&PublicKey>,
    machine: &Machine,
    address: String,
) -> Result<(Genesis, WaitingKey), NodeError> {
    let ledger = config.file(LEDGER_FILE);
    if ledger.exists() {
        return Err(NodeError::Value {
            path: config.file(GENESIS_FILE),
            field: "file",
            expected: format!("the genesis of the chain in {}: put it back", ledger.display()),
            got: "none".into(),
        });
    }
    let key = WaitingKey::draw(kept::keeps(config))?;
    let channel = Fixed::new(&[0; CHANNEL_KEY_BYTES]);
    let keys = ValidatorKeys {
        network: before_genesis(config.network),
        validator: Address::of(owner),
        incarnation: 1,
        consensus: key.public()?,
        channel: channel.ok_or_else(|| NodeError::part("candidate", "node.candidate", "no channel key"))?,
    };
    let failed = |e: &dyn std::fmt::Display| NodeError::part("candidate", "node.candidate", e);
    let request = keys.statement().request().map_err(|e| failed(&e))?;
    let evidence = machine.attester.evidence(&request).map_err(|e| failed(&e))?;
    let evidence = jcs::to_vec("evidence", &evidence).map_err(|e| failed(&e))?;
    let candidate = Candidate {
        keys,
        owner: owner.clone(),
        registrar: registrar.unwrap_or(owner).clone(),
        address,
        evidence,
    };
    let json = candidate
        .to_json()
        .map_err(|e| NodeError::part("candidate", e.code(), e))?;
    let path = config.file(CANDIDATE_FILE);
    files::write(&path, &json)?;
    tracing::info!(account = %candidate.keys.validator, "{} written; waiting for {GENESIS_FILE}", path.display());
    loop {
        if let Some(genesis) = genesis(config)? {
            let mine = genesis.validators.iter().find(|v| v.owner == candidate.keys.validator);
            if mine.is_none_or(|v| v.key.to_bytes() != candidate.keys.consensus.to_bytes()) {
                return Err(NodeError::Value {
                    path: config.file(GENESIS_FILE),
                    field: "validators",
                    expected: format!("the key of {CANDIDATE_FILE} for {}", candidate.keys.validator),
                    got: "none or another: the key of that candidate is gone; make a genesis of new candidates".into(),
                });
            }
            return Ok((genesis, key));
        }
        tokio::time::sleep(LOOK).await;
    }
}

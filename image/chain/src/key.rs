//! A validator's consensus key on its way onto the chain: registrars verify its evidence and endorse it, its owner hands it in.

use std::path::{Path, PathBuf};

use hanzo_attestation::Digest256;
use hanzo_chain_types::{KEY_REQUEST_BYTES_MAX, KeyRequest};
use hanzo_ledger::{
    Action, Address, EndorsedKey, Endorsement, Fixed, Genesis, List, NewKey, RegisterValidator, RotateConsensusKey,
};
use hanzo_signer::Statement;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::appraise::Evidence;
use crate::args::EndorseKeyArgs;
use crate::output::Output;
use crate::wallet::{Account, Sender};
use crate::{ChainError, files, genesis};

/// A registrar's word in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// Digest of the genesis.
    genesis: String,
    validator: String,
    incarnation: u64,
    key: String,
    evidence: String,
    tier: u8,
    simulated: bool,
    registrar: u16,
    signature: String,
}

/// Reads `key.json`, which must be of this network.
fn request(path: &Path, genesis: &Genesis) -> Result<KeyRequest, ChainError> {
    let read = KeyRequest::parse(&files::read(path, KEY_REQUEST_BYTES_MAX)?).map_err(|e| ChainError::File {
        path: path.into(),
        expected: "a validator\u{2019}s key.json",
        got: e.to_string(),
    })?;
    match read.keys.network == genesis.network() {
        true => Ok(read),
        false => Err(ChainError::File {
            path: path.into(),
            expected: "a key for this network",
            got: format!(
                "one for {} with genesis {}",
                read.keys.network.id, read.keys.network.genesis
            ),
        }),
    }
}

fn word(registrar: &Account, genesis: &Genesis, endorsed: &EndorsedKey) -> Result<Endorsement, ChainError> {
    let place = genesis.registrars.iter().position(|key| key == registrar.public());
    let place = place.and_then(|place| u16::try_from(place).ok());
    let place = place.ok_or_else(|| ChainError::Mismatch {
        what: "wallet",
        expected: "one of the registrars that the genesis names".into(),
        got: registrar.address().to_string(),
    })?;
    let statement = Statement::ValidatorEndorsement {
        validator: endorsed.validator.0,
        incarnation: endorsed.incarnation,
        key: endorsed.key.0,
        evidence: endorsed.evidence.0,
        tier: endorsed.tier,
        simulated: endorsed.simulated,
    };
    Ok(Endorsement {
        registrar: place,
        signature: registrar.states(&genesis.network(), &statement)?,
    })
}

fn evidence(args: &EndorseKeyArgs) -> Result<Evidence, ChainError> {
    match &args.policy {
        Some(policy) => Evidence::by(policy, &args.tpm_keys, args.simulator_root.as_deref()),
        None => Evidence::of(&args.node.dir, &genesis::plan(&args.node.dir)?),
    }
}

pub(crate) async fn endorse(args: &EndorseKeyArgs) -> Result<Output, ChainError> {
    let evidence = evidence(args)?;
    let genesis = args.node.asked()?.genesis().await?;
    let request = request(&args.key, &genesis)?;
    let found = evidence.admits(&args.key, &request.evidence, &request.keys, &genesis.params)?;
    let validator = request.keys.validator;
    let endorsed = request.new_key(found.tier, found.simulated).endorsed(&validator);
    let endorsement = word(&args.wallet.open()?, &genesis, &endorsed)?;
    let written = Written {
        genesis: genesis.digest().to_string(),
        validator: validator.to_string(),
        incarnation: endorsed.incarnation,
        key: endorsed.key.to_string(),
        evidence: endorsed.evidence.to_string(),
        tier: endorsed.tier,
        simulated: endorsed.simulated,
        registrar: endorsement.registrar,
        signature: hex::encode(&*endorsement.signature),
    };
    let document = serde_json::to_value(&written).unwrap_or_default();
    files::write(&args.out, format!("{document}\n").as_bytes(), false)?;
    let text = format!(
        "{}  registrar {} endorses key {} of {validator}, whose evidence it verified: tier {}{}\n",
        args.out.display(),
        endorsement.registrar,
        endorsed.incarnation,
        found.tier,
        if found.simulated { ", SIMULATED" } else { "" },
    );
    let json = json!({
        "file": args.out, "registrar": endorsement.registrar, "validator": validator.to_string(),
        "incarnation": endorsed.incarnation, "tier": found.tier, "simulated": found.simulated,
    });
    Ok(Output::new(text, json))
}

/// The key with the words of its registrars: all of them say the same, and as many as the genesis wants.
fn endorsed(path: &Path, words: &[PathBuf], genesis: &Genesis) -> Result<(Address, NewKey), ChainError> {
    let request = request(path, genesis)?;
    let validator = request.keys.validator;
    let mut given: Vec<Endorsement> = Vec::new();
    let mut said: Option<(u8, bool)> = None;
    for path in words {
        let wrong = |expected: &'static str, got: String| ChainError::File {
            path: path.clone(),
            expected,
            got,
        };
        let text = files::text(path)?;
        let read: Written = serde_json::from_str(&text)
            .map_err(|e| wrong("an endorsement, as `hanzo chain endorse-key` writes it", e.to_string()))?;
        let same = read.genesis == genesis.digest().to_string()
            && read.validator == validator.to_string()
            && read.incarnation == request.keys.incarnation
            && read.key == request.keys.key_digest().to_string()
            && read.evidence == Digest256::of(&request.evidence).to_string();
        if !same {
            let got = format!("key {} of {} on {}", read.incarnation, read.validator, read.genesis);
            return Err(wrong("an endorsement of this key, evidence and network", got));
        }
        let all = *said.get_or_insert((read.tier, read.simulated));
        if all != (read.tier, read.simulated) {
            let got = format!("tier {}, simulated {}", read.tier, read.simulated);
            return Err(wrong(
                "the tier and kind of evidence that the other registrars found",
                got,
            ));
        }
        let signature = hex::decode(&read.signature).ok().and_then(|bytes| Fixed::new(&bytes));
        let signature = signature.ok_or_else(|| wrong("a signature of 3309 bytes in hex", "another".into()))?;
        if given.iter().all(|have| have.registrar != read.registrar) {
            given.push(Endorsement {
                registrar: read.registrar,
                signature,
            });
        }
    }
    let (need, got) = (usize::from(genesis.threshold), given.len());
    if got < need {
        return Err(ChainError::Words {
            validator: validator.to_string(),
            need,
            got,
        });
    }
    given.sort_by_key(|endorsement| endorsement.registrar);
    let (tier, simulated) = said.unwrap_or_default();
    let mut key = request.new_key(tier, simulated);
    key.endorsements = List::new(given).ok_or_else(|| ChainError::Usage {
        option: "--endorsement",
        expected: "at most 64".into(),
        got: words.len().to_string(),
    })?;
    Ok((validator, key))
}

fn owner(validator: Address, sender: &Sender) -> Result<(), ChainError> {
    match validator == sender.address() {
        true => Ok(()),
        false => Err(ChainError::Mismatch {
            what: "wallet",
            expected: format!("that of the validator {validator}"),
            got: sender.address().to_string(),
        }),
    }
}

/// `tx register`.
pub(crate) fn register(
    path: &Path,
    bond: u128,
    words: &[PathBuf],
    genesis: &Genesis,
    sender: &Sender,
) -> Result<Action, ChainError> {
    let (validator, key) = endorsed(path, words, genesis)?;
    owner(validator, sender)?;
    Ok(Action::RegisterValidator(RegisterValidator { bond, key }))
}

/// `tx rotate`.
pub(crate) fn rotate(
    path: &Path,
    words: &[PathBuf],
    genesis: &Genesis,
    sender: &mut Sender,
) -> Result<Action, ChainError> {
    let (validator, key) = endorsed(path, words, genesis)?;
    owner(validator, sender)?;
    let signature = sender.rotates(&genesis.network(), &validator, &key)?;
    Ok(Action::RotateConsensusKey(RotateConsensusKey {
        owner: sender.public().clone(),
        key,
        signature,
    }))
}

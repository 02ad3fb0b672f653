//! Boots that earn: their evidence verified again, endorsed by registrars, registered by their miner.

use std::path::Path;

use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_client::StateDir;
use hanzo_client::receipts::BundleRecord;
use hanzo_ledger::{Action, Address, Bounded, Endorsement, Fixed, Genesis, Key, List, RegisterBoot, Value};
use hanzo_policy::AppraisalPolicy;
use hanzo_signer::Statement;
use hanzo_verifier::verify_bundle;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::{EndorseArgs, KeptArgs};
use crate::node::Asked;
use crate::output::Output;
use crate::prove::address;
use crate::tx::{Terms, signed, submit};
use crate::wallet::{Account, Sender};
use crate::{ChainError, files};

/// Longest policy in bytes.
const POLICY_BYTES_MAX: usize = 256 * 1024;

impl KeptArgs {
    pub(crate) fn open(&self) -> Result<StateDir, ChainError> {
        let path = self.state.clone().or_else(StateDir::default_path);
        let path = path.ok_or_else(|| ChainError::Usage {
            option: "--state",
            expected: "the folder where receipts and bundles are kept".into(),
            got: "none, and neither XDG_STATE_HOME nor HOME is set".into(),
        })?;
        Ok(StateDir::open(&path)?)
    }

    /// The keyset of a boot whose bundle was kept, verified again as of the day on which it was kept.
    pub(crate) fn boot(&self, state: &StateDir, keyset: &Digest384) -> Result<Keyset, ChainError> {
        let name = keyset.to_string();
        let (bundle, record) = state.load_bundle(&name)?;
        let malformed = |e: &dyn std::fmt::Display| ChainError::File {
            path: state.root().join("bundles").join(format!("{name}.meta.json")),
            expected: "the record of a kept bundle",
            got: e.to_string(),
        };
        let record = BundleRecord::parse(&record).map_err(|e| malformed(&e))?;
        let mut context = record.context();
        if let Some(path) = &self.policy {
            let text = files::read(path, POLICY_BYTES_MAX)?;
            context.policy = AppraisalPolicy::from_toml(&text).map_err(|e| ChainError::File {
                path: path.clone(),
                expected: "an appraisal policy (`hanzo-verify policy`)",
                got: e.to_string(),
            })?;
        }
        let result = verify_bundle(&bundle, &record.challenge, &context, record.time())?;
        let found = result.keyset_digest().map(|digest| digest.to_string());
        match result.keyset() {
            Some(verified) if found.as_deref() == Some(&*name) => Ok(verified.clone()),
            _ => Err(ChainError::Mismatch {
                what: "keyset of the kept bundle",
                expected: name,
                got: found.unwrap_or_else(|| "none".into()),
            }),
        }
    }
}

/// An endorsement in a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// Digest of the genesis.
    genesis: String,
    miner: String,
    incarnation: u64,
    keyset: String,
    registrar: u16,
    signature: String,
}

/// What registrars endorse.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endorsed {
    pub(crate) miner: Address,
    pub(crate) incarnation: u64,
    pub(crate) keyset: Digest384,
}

fn by(genesis: &Genesis, registrar: &Account, endorsed: &Endorsed) -> Result<Endorsement, ChainError> {
    let place = genesis.registrars.iter().position(|key| key == registrar.public());
    let place = place.and_then(|place| u16::try_from(place).ok());
    let place = place.ok_or_else(|| ChainError::Mismatch {
        what: "wallet",
        expected: "one of the registrars that the genesis names".into(),
        got: registrar.address().to_string(),
    })?;
    let statement = Statement::Endorsement {
        miner: endorsed.miner.0,
        incarnation: endorsed.incarnation,
        keyset: endorsed.keyset.0,
    };
    Ok(Endorsement {
        registrar: place,
        signature: registrar.states(&genesis.network(), &statement)?,
    })
}

pub(crate) async fn endorse(args: &EndorseArgs) -> Result<Output, ChainError> {
    let keyset = Digest384::from_hex(&args.keyset).ok_or_else(|| ChainError::Usage {
        option: "KEYSET",
        expected: "96 lower-case hex digits".into(),
        got: args.keyset.chars().take(100).collect(),
    })?;
    let endorsed = Endorsed {
        miner: address("--miner", &args.miner)?,
        incarnation: args.incarnation,
        keyset,
    };
    let state = args.kept.open()?;
    let verified = args.kept.boot(&state, &keyset)?;
    let genesis = args.node.asked()?.genesis().await?;
    earns(&genesis, &verified)?;
    let endorsement = by(&genesis, &args.wallet.open()?, &endorsed)?;
    let written = Written {
        genesis: genesis.digest().to_string(),
        miner: endorsed.miner.to_string(),
        incarnation: endorsed.incarnation,
        keyset: args.keyset.clone(),
        registrar: endorsement.registrar,
        signature: hex::encode(&*endorsement.signature),
    };
    let document = serde_json::to_value(&written).unwrap_or_default();
    files::write(&args.out, format!("{document}\n").as_bytes(), false)?;
    let text = format!(
        "{}  registrar {} endorses boot {} of {}, whose evidence it verified\n",
        args.out.display(),
        endorsement.registrar,
        endorsed.incarnation,
        endorsed.miner
    );
    let json = json!({"file": args.out, "registrar": endorsement.registrar, "tier": verified.tier, "simulated": verified.simulated});
    Ok(Output::new(text, json))
}

/// Refuses what the ledger would refuse, before anybody signs for it.
pub(crate) fn earns(genesis: &Genesis, keyset: &Keyset) -> Result<(), ChainError> {
    let params = &genesis.params;
    if keyset.simulated && !params.simulated_earns {
        return Err(ChainError::Mismatch {
            what: "evidence of the boot",
            expected: "real: simulated boots earn nothing on this network".into(),
            got: "a simulator's".into(),
        });
    }
    if keyset.tier < params.tier_min {
        return Err(ChainError::Mismatch {
            what: "tier of the boot",
            expected: format!("{} or more", params.tier_min),
            got: keyset.tier.to_string(),
        });
    }
    Ok(())
}

fn from_file(path: &Path, genesis: &Genesis, endorsed: &Endorsed) -> Result<Endorsement, ChainError> {
    let text = files::text(path)?;
    let wrong = |expected: &'static str, got: String| ChainError::File {
        path: path.into(),
        expected,
        got,
    };
    let read: Written = serde_json::from_str(&text)
        .map_err(|e| wrong("an endorsement, as `hanzo chain endorse` writes it", e.to_string()))?;
    let (same, other) = (
        read.genesis == genesis.digest().to_string()
            && read.miner == endorsed.miner.to_string()
            && read.incarnation == endorsed.incarnation
            && read.keyset == endorsed.keyset.to_string(),
        format!("boot {} of {} on {}", read.incarnation, read.miner, read.genesis),
    );
    if !same {
        return Err(wrong(
            "an endorsement of this boot, miner, incarnation and network",
            other,
        ));
    }
    let signature = hex::decode(&read.signature).ok().and_then(|bytes| Fixed::new(&bytes));
    Ok(Endorsement {
        registrar: read.registrar,
        signature: signature.ok_or_else(|| wrong("a signature of 3309 bytes in hex", "another".into()))?,
    })
}

/// What became of a boot.
pub(crate) enum Registered {
    /// It was there.
    Before,
    /// It is there now: this transaction, in this block.
    Now(Digest256, u64),
}

/// Sees to it that the ledger knows the boot of `keyset` as `miner`'s.
#[allow(
    clippy::too_many_arguments,
    reason = "who earns, with what, endorsed by whom, on which chain, and how long one waits: nothing of it belongs together elsewhere"
)]
pub(crate) async fn register(
    asked: &Asked,
    genesis: &Genesis,
    miner: &mut Sender,
    keyset_digest: &Digest384,
    keyset: &Keyset,
    endorsements: &[std::path::PathBuf],
    dir: &Path,
    wait: u64,
) -> Result<Registered, ChainError> {
    if let (Some(Value::Boot(boot)), _) = asked.entry(&Key::Boot(*keyset_digest)).await? {
        return match boot.miner == miner.address() {
            true => Ok(Registered::Before),
            false => Err(ChainError::Mismatch {
                what: "miner of the boot",
                expected: miner.address().to_string(),
                got: boot.miner.to_string(),
            }),
        };
    }
    earns(genesis, keyset)?;
    let last = match asked.entry(&Key::Miner(miner.address())).await? {
        (Some(Value::Miner(known)), _) => known.incarnation,
        _ => 0,
    };
    let endorsed = Endorsed {
        miner: miner.address(),
        incarnation: last.saturating_add(1),
        keyset: *keyset_digest,
    };
    let mut given: Vec<Endorsement> = Vec::new();
    for path in endorsements {
        given.push(from_file(path, genesis, &endorsed)?);
    }
    let need = usize::from(genesis.threshold);
    // A development network's registrars lie in its folder; the evidence was verified above, by this very program.
    for folder in files::validators(dir) {
        let path = folder.join("registrar.bin");
        if given.len() >= need || !path.is_file() {
            break;
        }
        let registrar = Account::open(&path, Some(&folder.join("passphrase")))?;
        let more = by(genesis, &registrar, &endorsed)?;
        if given.iter().all(|have| have.registrar != more.registrar) {
            given.push(more);
        }
    }
    given.sort_by_key(|endorsement| endorsement.registrar);
    if given.len() < need {
        return Err(ChainError::Endorsements {
            keyset: keyset_digest.to_string(),
            need,
            got: given.len(),
        });
    }
    let wrong = |what: String| ChainError::Mismatch {
        what: "keyset",
        expected: "one that a transaction can hold".into(),
        got: what,
    };
    let bytes = keyset.canonical().map_err(|e| wrong(e.to_string()))?;
    let action = Action::RegisterBoot(RegisterBoot {
        incarnation: endorsed.incarnation,
        keyset: Bounded::new(bytes).ok_or_else(|| wrong("a longer one".into()))?,
        endorsements: List::new(given).ok_or_else(|| wrong("too many endorsements".into()))?,
    });
    let tx = signed(asked, genesis, miner, action, Terms::default()).await?;
    let id = submit(asked, &tx).await?;
    let (height, _, _) = asked.final_at(&id, wait).await?;
    Ok(Registered::Now(id, height))
}

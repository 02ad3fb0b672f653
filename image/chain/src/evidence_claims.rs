//! `hanzo chain claim data-sharing|compute|hosting|model-registration`: rewards for work that has no receipt, each from the files that
//! show it.

use std::path::Path;

use hanzo_attestation::Digest384;
use hanzo_ledger::claim::{BootSignature, Claim, ComputeClaim, DataClaim, Delivery, HostingClaim, RegistrationClaim};
use hanzo_ledger::{Action, Bounded, Fixed, Genesis, Key, List, Value};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::{ClaimArgs, ClaimKind};
use crate::node::Asked;
use crate::note::{DeliveryFile, LeaseNoteFile};
use crate::output::Output;
use crate::prove::{address, digest};
use crate::tx::{Terms, signed, submit};
use crate::{ChainError, files};

/// A boot's word that its GPUs are there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeartbeatFile {
    /// Digest of the genesis.
    genesis: String,
    lease: String,
    epoch: u64,
    /// SHA-384 of the GPUs' evidence.
    gpu_evidence: String,
    ml_dsa: String,
    ed25519: String,
}

/// A boot's word that a model lies in its memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResidencyFile {
    /// Digest of the genesis.
    genesis: String,
    keyset: String,
    root: String,
    epoch: u64,
    leaf: String,
    /// From the leaf to the root, lowest first.
    path: Vec<String>,
    answer: String,
    ml_dsa: String,
    ed25519: String,
}

fn wrong(path: &Path, expected: &'static str, got: impl Into<String>) -> ChainError {
    ChainError::File {
        path: path.into(),
        expected,
        got: got.into(),
    }
}

/// A file of this network.
fn read<T: DeserializeOwned>(
    path: &Path,
    expected: &'static str,
    genesis: &Genesis,
    of: impl Fn(&T) -> &str,
) -> Result<T, ChainError> {
    let text = files::text(path)?;
    let read: T = serde_json::from_str(&text).map_err(|e| wrong(path, expected, e.to_string()))?;
    match of(&read) == genesis.digest().to_string() {
        true => Ok(read),
        false => {
            let got = format!("one of {}", of(&read));
            Err(wrong(path, "evidence of this network\u{2019}s genesis", got))
        }
    }
}

fn fixed<const N: usize>(path: &Path, expected: &'static str, text: &str) -> Result<Fixed<N>, ChainError> {
    let bytes = hex::decode(text).ok().and_then(|bytes| Fixed::new(&bytes));
    bytes.ok_or_else(|| wrong(path, expected, format!("{} characters", text.len())))
}

fn by_boot(path: &Path, ml_dsa: &str, ed25519: &str) -> Result<BootSignature, ChainError> {
    let long = hex::decode(ml_dsa).ok().and_then(Bounded::new);
    let short = hex::decode(ed25519).ok().and_then(|bytes| bytes.try_into().ok());
    match (long, short) {
        (Some(ml_dsa), Some(ed25519)) => Ok(BootSignature { ml_dsa, ed25519 }),
        _ => Err(wrong(path, "both signatures of the boot in hex", "others")),
    }
}

fn keyset(path: &Path, text: &str) -> Result<Digest384, ChainError> {
    Digest384::from_hex(text).ok_or_else(|| wrong(path, "a digest of 96 lower-case hex digits", text))
}

fn delivered(path: &Path, genesis: &Genesis) -> Result<Claim, ChainError> {
    let what = "a delivery\u{2019}s note, as `hanzo chain note delivery` writes it";
    let file: DeliveryFile = read(path, what, genesis, |file: &DeliveryFile| &file.genesis)?;
    let delivery = Delivery {
        provider: address("provider", &file.provider)?,
        seq: file.seq,
        chunk_root: digest("chunk_root", &file.chunk_root)?,
        bytes: file.bytes,
        fee: file
            .fee
            .parse()
            .map_err(|_| wrong(path, "fee as a decimal string", file.fee.clone()))?,
    };
    Ok(Claim::Data(DataClaim {
        recipient: fixed(path, "a key of 1952 bytes in hex", &file.recipient)?,
        delivery,
        signature: fixed(path, "a signature of 3309 bytes in hex", &file.signature)?,
    }))
}

fn computed(note: &Path, heartbeat: &Path, genesis: &Genesis) -> Result<Claim, ChainError> {
    let what = "a lease\u{2019}s note, as `hanzo chain note lease` writes it";
    let said: LeaseNoteFile = read(note, what, genesis, |file: &LeaseNoteFile| &file.genesis)?;
    let what = "a boot\u{2019}s heartbeat (lease, epoch, gpu_evidence, both signatures)";
    let beat: HeartbeatFile = read(heartbeat, what, genesis, |file: &HeartbeatFile| &file.genesis)?;
    if beat.lease != said.lease {
        return Err(wrong(heartbeat, "a heartbeat of the lease in the note", beat.lease));
    }
    Ok(Claim::Compute(ComputeClaim {
        lease: digest("lease", &said.lease)?,
        epoch: beat.epoch,
        gpu_evidence: keyset(heartbeat, &beat.gpu_evidence)?,
        heartbeat: by_boot(heartbeat, &beat.ml_dsa, &beat.ed25519)?,
        lessee: fixed(note, "a key of 1952 bytes in hex", &said.lessee)?,
        seconds: said.seconds,
        signature: fixed(note, "a signature of 3309 bytes in hex", &said.signature)?,
    }))
}

fn hosted(path: &Path, genesis: &Genesis) -> Result<Claim, ChainError> {
    let what = "a boot\u{2019}s proof of residency (keyset, root, epoch, leaf, path, answer, both signatures)";
    let file: ResidencyFile = read(path, what, genesis, |file: &ResidencyFile| &file.genesis)?;
    let mut steps = Vec::new();
    for step in &file.path {
        steps.push(digest("path", step)?);
    }
    let count = steps.len().to_string();
    Ok(Claim::Hosting(HostingClaim {
        keyset: keyset(path, &file.keyset)?,
        root: digest("root", &file.root)?,
        epoch: file.epoch,
        leaf: digest("leaf", &file.leaf)?,
        path: List::new(steps).ok_or_else(|| wrong(path, "a path of at most 32 digests", count))?,
        answer: digest("answer", &file.answer)?,
        signature: by_boot(path, &file.ml_dsa, &file.ed25519)?,
    }))
}

async fn balance(asked: &Asked, who: hanzo_ledger::Address) -> Result<u128, ChainError> {
    Ok(match asked.entry(&Key::Account(who)).await? {
        (Some(Value::Account(account)), _) => account.balance,
        _ => 0,
    })
}

pub(crate) async fn claim(args: &ClaimArgs, kind: &ClaimKind) -> Result<Output, ChainError> {
    let asked = args.node.asked()?;
    let genesis = asked.genesis().await?;
    // The evidence first: nobody should be asked for a passphrase for what earns nothing.
    let claim = match kind {
        ClaimKind::DataSharing { note } => delivered(note, &genesis)?,
        ClaimKind::Compute { note, heartbeat } => computed(note, heartbeat, &genesis)?,
        ClaimKind::Hosting { residency } => hosted(residency, &genesis)?,
        ClaimKind::ModelRegistration { root } => Claim::Registration(RegistrationClaim {
            root: digest("ROOT", root)?,
        }),
    };
    let name = kind.name();
    let mut miner = args.wallet()?.into_sender(&genesis.network())?;
    let who = miner.address();
    let before = balance(&asked, who).await?;
    let tx = signed(&asked, &genesis, &mut miner, Action::Claim(claim), Terms::default()).await?;
    let id = submit(&asked, &tx).await?;
    let (height, _, proof) = asked.final_at(&id, args.wait).await?;
    let after = balance(&asked, who).await?;
    files::write(&args.out, &proof, false)?;
    let how = match asked.verifies() {
        true => "final, as its proof shows against the genesis",
        false => "final by the node's own genesis: none at hand to check it",
    };
    let text = format!(
        "REWARDED: {name} in block {height}: {how}\n  transaction  {id}\n  miner        {who} had {before} base units, has {after}\n  proof        {}\n",
        args.out.display()
    );
    Ok(Output::new(
        text,
        json!({
            "kind": name, "transaction": id.to_string(), "height": height, "checked": asked.verifies(), "miner": who.to_string(),
            "before": before.to_string(), "after": after.to_string(), "proof_file": args.out,
        }),
    ))
}

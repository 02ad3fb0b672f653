//! Light proofs, put together of what the ledger keeps.

use hanzo_chain_types::{
    FinalityCertificate, HANDOVERS_MAX, HEADERS_MAX, Inclusion, LIGHT_PROOF_BYTES_MAX, LightProof, Subject,
};
use hanzo_ledger::{Address, Canonical, Header, Key, List, Proof};
use hanzo_mining::MiningLedger;

use crate::calls::{GetProof, ProofView};
use crate::views::{digest, hexed};
use crate::{Failure, Node};

/// The newest epoch whose committee a genesis names.
const OF_GENESIS: u64 = 1;

/// What is shown, and in which block.
struct Shown {
    height: u64,
    subject: Subject,
}

pub(crate) fn proof(node: &dyn Node, call: &GetProof) -> Result<ProofView, Failure> {
    let ledger = node.ledger();
    let foreign = |name: &str| Failure::params(format!("{name}: not a parameter of a proof of this kind"));
    let shown = match call.kind.as_deref() {
        Some("block") => {
            if call.address.is_some() || call.id.is_some() {
                return Err(foreign("address and id"));
            }
            let height = call.height.unwrap_or_else(|| ledger.read(|s| s.head().height));
            let subject = Subject::Block;
            Shown { height, subject }
        }
        Some("account") => {
            if call.height.is_some() || call.id.is_some() {
                return Err(foreign("height and id"));
            }
            let address = address(call.address.as_deref())?;
            let (height, entry): (u64, Proof) = ledger.read(|s| (s.head().height, s.prove(&Key::Account(address))));
            let subject = Subject::Entry(entry);
            Shown { height, subject }
        }
        Some("transaction") => {
            if call.height.is_some() || call.address.is_some() {
                return Err(foreign("height and address"));
            }
            let id = digest("id", call.id.as_deref())?;
            let placed = ledger.transaction(&id)?;
            let placed = placed.ok_or_else(|| Failure::none("transaction"))?;
            let inclusion = Inclusion::of(&placed.block, placed.index);
            let inclusion = inclusion.ok_or_else(|| Failure::none("transaction"))?;
            Shown {
                height: placed.height,
                subject: Subject::Transaction(Box::new(inclusion)),
            }
        }
        other => {
            let got = other.map_or("nothing".to_owned(), |o| format!("{} characters", o.chars().count()));
            let text = format!("kind: expected block, account or transaction, got {got}");
            return Err(Failure::params(text));
        }
    };
    if ledger.block(shown.height)?.is_none() {
        let absent = ledger.absent(shown.height);
        return Err(absent.map_or_else(|| Failure::none("block"), Failure::from));
    }
    let certificate = ledger.certificate_from(shown.height)?.ok_or_else(not_yet)?;
    complete(ledger, shown, certificate, call.from_epoch.unwrap_or(OF_GENESIS))
}

fn not_yet() -> Failure {
    let text = "proof: no certificate of this block or a later one is here yet: ask again after the next block";
    Failure::new(-32002, "chain.proof.not_yet", text)
}

pub(crate) fn address(text: Option<&str>) -> Result<Address, Failure> {
    let read = text.and_then(Address::from_text);
    read.ok_or_else(|| {
        let got = text.map_or("nothing".to_owned(), |t| format!("{} characters", t.chars().count()));
        Failure::params(format!("address: expected 0x and 64 lower-case hex digits, got {got}"))
    })
}

fn complete(
    ledger: &MiningLedger,
    shown: Shown,
    certificate: FinalityCertificate,
    from_epoch: u64,
) -> Result<ProofView, Failure> {
    let (certified, epoch) = (certificate.header.height, certificate.epoch);
    let far = certified.saturating_sub(shown.height);
    if far > HEADERS_MAX as u64 {
        let text = format!("proof: expected a certificate within {HEADERS_MAX} blocks, the next one is {far} away");
        return Err(Failure::new(-32001, "chain.proof.far", text));
    }
    let mut headers: Vec<Header> = Vec::new();
    for height in shown.height..certified {
        let block = ledger.block(height)?.ok_or_else(|| Failure::none("block"))?;
        headers.push(block.header);
    }
    let steps = epoch.saturating_sub(from_epoch);
    if steps > HANDOVERS_MAX as u64 {
        let text = format!(
            "proof: from_epoch: expected at most {HANDOVERS_MAX} epochs before {epoch}, got {from_epoch}: ask for a block in between first and save its set (hanzo-verify finality --save-set)"
        );
        return Err(Failure::new(-32602, "chain.proof.epochs", text));
    }
    let mut handovers = Vec::new();
    for at in from_epoch..epoch {
        let handover = ledger.handover(at)?.ok_or_else(|| {
            let text = format!("proof: no handover from epoch {at} is here: ask a node that was there");
            Failure::new(-32001, "chain.proof.handover", text)
        })?;
        handovers.push(handover);
    }
    let too_long = || Failure::new(-32602, "chain.proof.long", "proof: it is longer than a client reads");
    let proof = LightProof {
        handovers: List::new(handovers).ok_or_else(too_long)?,
        certificate,
        headers: List::new(headers).ok_or_else(too_long)?,
        subject: shown.subject,
    };
    if proof.to_bytes().len() > LIGHT_PROOF_BYTES_MAX {
        return Err(too_long());
    }
    Ok(ProofView {
        light_proof: hexed(&proof),
        height: shown.height,
        certified,
        epoch,
    })
}

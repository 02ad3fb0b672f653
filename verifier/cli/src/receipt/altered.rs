//! What was changed in a receipt whose signatures do not verify: looked up where the genuine one may lie.

use hanzo_attestation::keyset::Keyset;
use hanzo_client::StateDir;
use hanzo_client::receipts::ReceiptRecord;
use hanzo_log::tile::{self, Kind};
use hanzo_verifier::receipt::{Leaf, Receipt, ReceiptError, SignedReceipt, verify_signed};

use crate::args::ReceiptArgs;
use crate::error::CliError;
use crate::log::source::LogSource;

/// The refusal, with what is known of the change.
pub(super) fn named(args: &ReceiptArgs, signed: &SignedReceipt, keyset: &Keyset, source: ReceiptError) -> CliError {
    let found = match &source {
        ReceiptError::MlDsa => {
            "the Ed25519 signature covers every member as it stands: the ML-DSA signature is another".into()
        }
        ReceiptError::Ed25519 => {
            "the ML-DSA signature covers every member as it stands: the Ed25519 signature is another".into()
        }
        ReceiptError::BothSignatures => changed(args, &signed.receipt, keyset),
        _ => return source.into(),
    };
    CliError::Altered { source, found }
}

fn changed(args: &ReceiptArgs, receipt: &Receipt, keyset: &Keyset) -> String {
    if let Some((genuine, place)) = genuine(args, receipt, keyset) {
        let differences: Vec<String> = receipt.differences(&genuine).iter().map(ToString::to_string).collect();
        return match differences.as_slice() {
            [] => format!("every member is that of the genuine receipt {place}: both signatures are others"),
            some => format!("the genuine receipt {place} says otherwise: {}", some.join("; ")),
        };
    }
    let against: Vec<String> = receipt.contradictions(keyset).iter().map(ToString::to_string).collect();
    match against.as_slice() {
        [] => "name the guest's log (--log), and what was changed is found there".into(),
        some => some.join("; "),
    }
}

/// The receipt of that id, or of that number, which both keys signed; and where it lies.
fn genuine(args: &ReceiptArgs, altered: &Receipt, keyset: &Keyset) -> Option<(Receipt, String)> {
    kept(args, altered, keyset).or_else(|| logged(args, altered, keyset))
}

fn kept(args: &ReceiptArgs, altered: &Receipt, keyset: &Keyset) -> Option<(Receipt, String)> {
    // Where nothing was kept, nothing is made.
    let state = crate::connect::state_path(args.state.as_deref())
        .ok()
        .filter(|path| path.is_dir());
    let state = StateDir::open(&state?).ok()?;
    let bytes = state.load_receipt(&altered.id.to_string()).ok()?;
    let signed = ReceiptRecord::parse(&bytes).ok()?.disclosed.without_salts();
    let verified = verify_signed(&signed, keyset).ok()?;
    Some((verified.receipt().clone(), "that was kept here".into()))
}

fn logged(args: &ReceiptArgs, altered: &Receipt, keyset: &Keyset) -> Option<(Receipt, String)> {
    let source = LogSource::open(args.log.as_deref()?, args.heads.token_file.as_deref()).ok()?;
    let log = super::log_of(keyset).ok()?;
    let head = args.heads.head(Some(&source), &log).ok()??.head;
    let mut by_number = None;
    for bundle in tile::of_level(Kind::Entries, head.size()) {
        for (leaf, bytes) in (bundle.start()..).zip(source.entries(&bundle).ok()?) {
            let Ok(Leaf::Receipt(signed)) = Leaf::parse(&bytes) else {
                continue;
            };
            let of = &signed.receipt;
            let is_number = (of.keyset_digest, of.seq) == (altered.keyset_digest, altered.seq);
            if of.id != altered.id && !is_number {
                continue;
            }
            let Ok(verified) = verify_signed(&signed, keyset) else {
                continue;
            };
            let found = (
                verified.receipt().clone(),
                format!("(leaf {leaf} of {})", source.name()),
            );
            if found.0.id == altered.id {
                return Some(found);
            }
            by_number = Some(found);
        }
    }
    by_number
}

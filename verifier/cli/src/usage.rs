//! `hanzo-verify usage`: what a customer's own receipts add up to.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;

use hanzo_attestation::keyset::Keyset;
use hanzo_client::StateDir;
use hanzo_client::receipts::ReceiptRecord;
use hanzo_verifier::receipt::{Receipt, verify_signed};
use serde::Serialize;
use serde_json::json;

use crate::args::{Period, UsageArgs};
use crate::connect::state_path;
use crate::error::CliError;
use crate::output::{Output, shown};
use crate::{receipt, time};

/// A receipt that does not verify: as for `receipt`.
const WRONG_RECEIPT: u8 = 30;

#[derive(Debug, Default, Serialize)]
struct Sum {
    answers: u64,
    completion_tokens: u64,
    prompt_tokens: u64,
    receipts: u64,
    simulated: u64,
}

impl Sum {
    fn add(&mut self, receipt: &Receipt) {
        self.receipts += 1;
        self.answers += receipt.work.map_or(1, |work| work.answers);
        self.prompt_tokens = self.prompt_tokens.saturating_add(receipt.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(receipt.completion_tokens);
        self.simulated += u64::from(receipt.simulated);
    }
}

struct Wrong {
    id: String,
    code: &'static str,
    text: String,
}

pub(crate) fn run(args: &UsageArgs) -> Result<Output, CliError> {
    let state = StateDir::open(&state_path(args.state.as_deref())?)?;
    let mut keysets: BTreeMap<String, Keyset> = BTreeMap::new();
    let mut sums: BTreeMap<(String, String), Sum> = BTreeMap::new();
    let mut wrong = Vec::new();
    // Every number of a keyset is one receipt's.
    let mut numbers: BTreeMap<(String, u64), String> = BTreeMap::new();
    for id in state.receipt_ids()? {
        let only = |receipt: Receipt| {
            let number = (receipt.keyset_digest.to_string(), receipt.seq);
            match numbers.entry(number) {
                Entry::Vacant(free) => {
                    free.insert(id.clone());
                    Ok(receipt)
                }
                Entry::Occupied(taken) => Err(CliError::Forked {
                    seq: receipt.seq,
                    keyset: taken.key().0.clone(),
                    first: taken.get().clone(),
                }),
            }
        };
        match verified(&state, &id, &mut keysets).and_then(only) {
            Ok(receipt) => {
                let model = receipt.model.to_string();
                sums.entry((period(args.by, receipt.time), model))
                    .or_default()
                    .add(&receipt);
            }
            Err(e) => wrong.push(Wrong {
                id,
                code: e.code(),
                text: e.to_string(),
            }),
        }
    }
    let exit_code = if wrong.is_empty() { 0 } else { WRONG_RECEIPT };
    let rows: Vec<_> = sums
        .iter()
        .map(|((period, model), sum)| json!({"period": period, "model": model, "sum": sum}))
        .collect();
    Ok(Output {
        text: shown(&text(&sums, &wrong)),
        json: json!({
            "accepted": wrong.is_empty(),
            "exit_code": exit_code,
            "error": null,
            "usage": rows,
            "not_counted": wrong.iter().map(|w| json!({"id": w.id, "code": w.code, "message": w.text})).collect::<Vec<_>>(),
        }),
        exit_code,
    })
}

/// A kept receipt, verified under the kept bundle of its keyset, which is verified once.
fn verified(state: &StateDir, id: &str, keysets: &mut BTreeMap<String, Keyset>) -> Result<Receipt, CliError> {
    let signed = ReceiptRecord::parse(&state.load_receipt(id)?)?
        .disclosed
        .without_salts();
    if signed.receipt.id.to_string() != id {
        return Err(hanzo_verifier::receipt::ReceiptError::Value {
            field: "id",
            expected: "the id that it is kept under",
            got: signed.receipt.id.to_string(),
        }
        .into());
    }
    let digest = signed.receipt.keyset_digest.to_string();
    let keyset = match keysets.get(&digest) {
        Some(keyset) => keyset.clone(),
        None => {
            let (keyset, _) = receipt::kept_keyset(state, &digest, None)?;
            keysets.insert(digest, keyset.clone());
            keyset
        }
    };
    Ok(verify_signed(&signed, &keyset)?.receipt().clone())
}

fn period(by: Period, at: u64) -> String {
    let shown = time::show(at);
    let digits = match by {
        Period::Day => 10,
        Period::Month => 7,
    };
    shown.get(..digits).unwrap_or(&shown).to_owned()
}

fn text(sums: &BTreeMap<(String, String), Sum>, wrong: &[Wrong]) -> String {
    let mut total = Sum::default();
    for sum in sums.values() {
        total.receipts += sum.receipts;
        total.prompt_tokens = total.prompt_tokens.saturating_add(sum.prompt_tokens);
        total.completion_tokens = total.completion_tokens.saturating_add(sum.completion_tokens);
        total.simulated += sum.simulated;
    }
    let mut out = format!(
        "VERIFIED: {} receipts: {} prompt and {} completion tokens, as guests signed them\n",
        total.receipts, total.prompt_tokens, total.completion_tokens
    );
    if total.simulated > 0 {
        let _ = writeln!(out, "SIMULATED: {} of them come from simulated guests", total.simulated);
    }
    let _ = writeln!(
        out,
        "  {:<12} {:<24} {:>9} {:>14} {:>14}",
        "period", "model", "receipts", "prompt", "completion"
    );
    for ((period, model), sum) in sums {
        let _ = writeln!(
            out,
            "  {period:<12} {model:<24} {:>9} {:>14} {:>14}",
            sum.receipts, sum.prompt_tokens, sum.completion_tokens
        );
    }
    for one in wrong {
        let _ = writeln!(out, "  NOT COUNTED  {}: {}: {}", one.id, one.code, one.text);
    }
    let _ = writeln!(
        out,
        "  {:<12} receipts that were never kept here, or never given: a missing receipt proves nothing",
        "not counted"
    );
    out
}

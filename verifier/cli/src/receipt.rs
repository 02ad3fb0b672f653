//! `hanzo-verify receipt`: offline, against the bundle that was kept when the answer came.

use std::fmt::Write as _;
use std::path::Path;

use hanzo_attestation::keyset::Keyset;
use hanzo_client::StateDir;
use hanzo_client::receipts::{BundleRecord, ReceiptRecord};
use hanzo_verifier::receipt::{
    DisclosedReceipt, Receipt, ReceiptError, ReceiptId, Salts, SignedReceipt, verify_signed,
};
use hanzo_verifier::{VerdictView, read_bundle, verify_bundle};
use serde_json::json;

use crate::args::ReceiptArgs;
use crate::connect::state_path;
use crate::error::CliError;
use crate::output::{Output, shown};
use crate::{time, trust};

pub(crate) fn run(args: &ReceiptArgs) -> Result<Output, CliError> {
    let (signed, salts) = load(args)?;
    let guest = guest(args, &signed)?;
    let verified = verify_signed(&signed, &guest.keyset)?;
    let mut checked = Vec::new();
    for (which, path) in [("request", &args.request), ("response", &args.response)] {
        let Some(path) = path else { continue };
        let Some(salts) = &salts else {
            return Err(CliError::Usage {
                option: "--request, --response",
                expected: "a receipt with its salts, as its owner has it",
                got: "a receipt without salts".into(),
            });
        };
        let bytes = trust::read(path)?;
        match which {
            "request" => verified.check_request(&salts.request, &bytes)?,
            _ => verified.check_response(&salts.response, &bytes)?,
        }
        checked.push(which);
    }
    let receipt = verified.receipt();
    Ok(Output {
        text: shown(&text(receipt, &guest, &checked)),
        json: json!({
            "accepted": true,
            "exit_code": 0,
            "error": null,
            "receipt": receipt,
            "receipt_digest": verified.digest(),
            "commitments_checked": checked,
            "bundle": guest.source,
            "verdict": guest.view,
        }),
        exit_code: 0,
    })
}

/// The keyset that the receipt is judged by, and what is known of the guest that has it.
struct Guest {
    keyset: Keyset,
    view: VerdictView,
    source: &'static str,
}

fn load(args: &ReceiptArgs) -> Result<(SignedReceipt, Option<Salts>), CliError> {
    let path = Path::new(&args.receipt);
    if ReceiptId::from_hex(&args.receipt).is_some() && !path.exists() {
        let bytes = open_state(args)?.load_receipt(&args.receipt)?;
        let disclosed = ReceiptRecord::parse(&bytes)?.disclosed;
        return Ok((disclosed.without_salts(), Some(disclosed.salts)));
    }
    let bytes = trust::read(path)?;
    // `curl > file` and editors leave a line end that is no part of the document.
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    if let Ok(record) = ReceiptRecord::parse(bytes) {
        return Ok((record.disclosed.without_salts(), Some(record.disclosed.salts)));
    }
    match DisclosedReceipt::from_bytes(bytes) {
        Ok(disclosed) => Ok((disclosed.without_salts(), Some(disclosed.salts))),
        Err(_) => Ok((SignedReceipt::from_bytes(bytes).map_err(ReceiptError::from)?, None)),
    }
}

fn open_state(args: &ReceiptArgs) -> Result<StateDir, CliError> {
    Ok(StateDir::open(&state_path(args.state.as_deref())?)?)
}

fn guest(args: &ReceiptArgs, signed: &SignedReceipt) -> Result<Guest, CliError> {
    if let (Some(bundle), Some(policy)) = (&args.bundle, &args.policy) {
        let context = trust::context(policy, &args.simulator_roots, &args.crls)?;
        let reading = read_bundle(&trust::read(bundle)?, &context, trust::now())?;
        return Ok(Guest {
            keyset: reading
                .keyset()
                .cloned()
                .ok_or(ReceiptError::Keys("the bundle has no keyset"))?,
            view: reading.view(),
            source: "given, judged as of today",
        });
    }
    let (bundle, record) = open_state(args)?.load_bundle(&signed.receipt.keyset_digest.to_string())?;
    let record = BundleRecord::parse(&record)?;
    let mut context = record.context();
    if let Some(policy) = &args.policy {
        context.policy = trust::policy(policy)?;
    }
    let result = verify_bundle(&bundle, &record.challenge, &context, record.time())?;
    Ok(Guest {
        keyset: result
            .keyset()
            .cloned()
            .ok_or(ReceiptError::Keys("the bundle has no keyset"))?,
        view: result.view(),
        source: "kept, judged as of the day it answered this client's challenge",
    })
}

fn text(receipt: &Receipt, guest: &Guest, checked: &[&str]) -> String {
    let view = &guest.view;
    let mut out = format!("VERIFIED: receipt {}, both signatures\n", receipt.id);
    if view.simulated || receipt.simulated {
        out.push_str("SIMULATED: no vendor's root stands behind this guest; it protected nothing from the host\n");
    }
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "  {name:<12} {value}");
    };
    row(
        "ended",
        format!(
            "{:?}, {} (guest clock: {})",
            receipt.outcome,
            time::show(receipt.time),
            receipt.time_source
        ),
    );
    row("model", receipt.model.to_string());
    row("weights", receipt.weights_root.to_string());
    row(
        "tokens",
        format!(
            "{} prompt, {} completion",
            receipt.prompt_tokens, receipt.completion_tokens
        ),
    );
    let s = &receipt.sampling;
    row(
        "sampling",
        format!(
            "temperature {}, top_p {}, seed {}, at most {} tokens",
            millionths(s.temperature_micros),
            millionths(s.top_p_micros),
            s.seed.map_or("none".into(), |s| s.to_string()),
            s.max_tokens
        ),
    );
    row(
        "tier",
        format!("{} by its grants; {} by this bundle", receipt.tier, view.tier),
    );
    row("measurement", view.measurement.clone());
    row("keyset", receipt.keyset_digest.to_string());
    row("place in log", format!("seq {}, after {}", receipt.seq, receipt.prev));
    row("transport", receipt.transport.clone());
    row("bundle", guest.source.into());
    if view.undated {
        row(
            "",
            "undated: nothing but the guest's own word says when this keyset was alive".into(),
        );
    }
    let opened = match checked {
        [] => "not opened (give --request and --response)".into(),
        some => format!("{} opened and equal", some.join(" and ")),
    };
    row("commitments", opened);
    row(
        "not claimed",
        format!(
            "that the answer is right; witnesses {}: another log may be shown to others",
            view.witnesses
        ),
    );
    out
}

fn millionths(value: u64) -> String {
    let text = format!("{}.{:06}", value / 1_000_000, value % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

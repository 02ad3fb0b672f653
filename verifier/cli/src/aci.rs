//! Receipts of gateways that speak ACI, checked against the keyset of a report whose evidence was verified.

use std::fmt::Write as _;

use hanzo_attestation::foreign::{ForeignEvidence, ForeignFormat};
use hanzo_verifier::aci::{AciKeyset, VerifiedAciReceipt, verify_aci_receipt};
use serde_json::{Value, json};

use crate::args::AciArgs;
use crate::error::CliError;
use crate::trust;

/// A receipt that verified, and which bodies were compared with it.
pub(crate) struct Checked {
    receipt: VerifiedAciReceipt,
    compared: Vec<&'static str>,
}

/// Refuses the options where there is no ACI report.
pub(crate) fn none(args: &AciArgs) -> Result<(), CliError> {
    match &args.receipt {
        None => Ok(()),
        Some(path) => Err(CliError::Usage {
            option: "--aci-receipt",
            expected: "an ACI report before it; our own receipts: `hanzo-verify receipt`",
            got: path.display().to_string(),
        }),
    }
}

/// Checks the receipt that was named, if one was. The evidence must have been verified.
pub(crate) fn check(evidence: &ForeignEvidence, args: &AciArgs) -> Result<Option<Checked>, CliError> {
    let Some(path) = &args.receipt else { return Ok(None) };
    let keyset = evidence.documents().iter().find(|d| d.name == "workload_keyset");
    let (ForeignFormat::Aci, Some(keyset)) = (evidence.format(), keyset) else {
        none(args)?;
        return Ok(None);
    };
    let keyset = AciKeyset::from_json(&keyset.bytes)?;
    let receipt = verify_aci_receipt(&trust::read(path)?, &keyset)?;
    let mut compared = Vec::new();
    if let Some(path) = &args.request {
        receipt.check_request(&trust::read(path)?)?;
        compared.push("request");
    }
    if let Some(path) = &args.response {
        receipt.check_response(&trust::read(path)?)?;
        compared.push("response");
    }
    Ok(Some(Checked { receipt, compared }))
}

impl Checked {
    pub(crate) fn text(&self) -> String {
        let receipt = self.receipt.receipt();
        let mut out = String::new();
        let mut row = |name: &str, value: String| {
            let _ = writeln!(out, "  {name:<12} {value}");
        };
        row(
            "aci receipt",
            format!("{} signed by {}", receipt.receipt_id, receipt.key_id),
        );
        if receipt.simulated == Some(true) {
            row("", "SIMULATED: the guest that signed it has no real processor".into());
        }
        row(
            "",
            format!(
                "{} {}, model {}, served at {}",
                receipt.method,
                receipt.endpoint,
                receipt.model.as_deref().unwrap_or("not named"),
                receipt.served_at
            ),
        );
        let forwarded = match self.receipt.forwarded_unchanged() {
            None => "nothing was sent on",
            Some(true) => "sent on as it came",
            Some(false) => "rewritten before it was sent on",
        };
        row("request", forwarded.into());
        let opened = match self.compared.as_slice() {
            [] => "not compared (give --request and --response)".into(),
            some => format!("{} compared and equal", some.join(" and ")),
        };
        row("bodies", opened);
        row(
            "not claimed",
            "that the answer is right; that there is no other receipt for it: they have no number".into(),
        );
        out
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "receipt": self.receipt.receipt(),
            "forwarded_unchanged": self.receipt.forwarded_unchanged(),
            "compared": self.compared,
        })
    }
}

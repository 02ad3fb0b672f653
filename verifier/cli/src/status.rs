//! `hanzo-verify status`: what a running `connect` knows of its guest.

use std::fmt::Write as _;

use hanzo_client::connect::{read_status, read_token};
use serde_json::Value;

use crate::args::StatusArgs;
use crate::error::CliError;
use crate::output::{Output, shown};
use crate::{runtime, time};

/// What the program exits with when a receipt was wrong: as for any receipt that does not bind to what was asked and answered.
const WRONG_RECEIPT: u8 = 30;

pub(crate) fn run(args: &StatusArgs) -> Result<Output, CliError> {
    let token = args.token_file.as_deref().map(read_token).transpose()?;
    let token = token.as_ref().map(|token| token.as_str());
    let document = runtime()?.block_on(read_status(args.at, token))?;
    Ok(Output {
        text: shown(&text(&document)),
        exit_code: exit_code(&document),
        json: document,
    })
}

fn exit_code(document: &Value) -> u8 {
    let failed = document.pointer("/error/exit_code").and_then(Value::as_u64);
    match (failed, number(document, "/receipts/mismatched")) {
        (Some(code), _) => u8::try_from(code).unwrap_or(1).max(1),
        (None, 0) if document.pointer("/verdict/accepted") == Some(&Value::Bool(true)) => 0,
        (None, 0) => 1,
        (None, _) => WRONG_RECEIPT,
    }
}

fn word<'a>(document: &'a Value, at: &str) -> &'a str {
    document.pointer(at).and_then(Value::as_str).unwrap_or("not stated")
}

fn number(document: &Value, at: &str) -> u64 {
    document.pointer(at).and_then(Value::as_u64).unwrap_or(0)
}

fn text(document: &Value) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<12} {value}");
    };
    row("guest", word(document, "/endpoint"));
    let way = match word(document, "/channel") {
        "proven" => "attested TLS, every connection proven",
        "sealed" => "sealed messages to a key of the attested keyset",
        _ => "none: nothing is sent",
    };
    row("way", way);
    row("padding", word(document, "/padding"));
    if let Some(age) = document.pointer("/evidence_age_s").and_then(Value::as_u64) {
        let until = number(document, "/verdict/valid_until");
        row("evidence", &format!("{age} s old, good until {}", time::show(until)));
        row("processor", word(document, "/verdict/product"));
        row("measurement", word(document, "/verdict/measurement"));
        row("reference", word(document, "/verdict/reference"));
        row("image", word(document, "/verdict/keyset/image"));
        row(
            "config",
            &format!("sha256 {}", word(document, "/verdict/keyset/config_digest")),
        );
        row("keyset", word(document, "/verdict/keyset/digest"));
    }
    let list = |at| document.pointer(at).and_then(Value::as_array).into_iter().flatten();
    for model in list("/verdict/keyset/models") {
        row(
            "weights",
            &format!("{} ({})", word(model, "/weights_root"), word(model, "/name")),
        );
        if model.get("base_root").is_some() {
            row("adapter on", word(model, "/base_root"));
        }
    }
    for device in list("/verdict/devices") {
        let said = format!(
            "{} {}, VBIOS {}, reference values {}, OCSP {}",
            word(device, "/arch"),
            word(device, "/device_id"),
            word(device, "/vbios"),
            word(device, "/rim"),
            word(device, "/ocsp")
        );
        row(word(device, "/role"), &said);
    }
    let counted = format!(
        "{} verified, {} wrong, {} missing",
        number(document, "/receipts/verified"),
        number(document, "/receipts/mismatched"),
        number(document, "/receipts/missing")
    );
    row("receipts", &counted);
    if let Some(problem) = document.pointer("/receipts/last_problem").and_then(Value::as_str) {
        row("last trouble", problem);
    }
    let head = match document.get("error").filter(|e| !e.is_null()) {
        Some(_) => format!(
            "NOT VERIFIED: {}: {}\n",
            word(document, "/error/code"),
            word(document, "/error/message")
        ),
        None => {
            let simulated = document.pointer("/verdict/simulated") == Some(&Value::Bool(true));
            format!(
                "ACCEPTED: tier {}, the policy asks for {}\n{}",
                number(document, "/verdict/tier"),
                number(document, "/verdict/minimum_tier"),
                if simulated { crate::render::SIMULATED } else { "" }
            )
        }
    };
    head + &out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_exit_code_is_the_verdict_s_and_a_wrong_receipt_is_none_to_pass_over() {
        let good = json!({"error": null, "verdict": {"accepted": true, "tier": 2}, "receipts": {"mismatched": 0}});
        assert_eq!(exit_code(&good), 0);
        let mut wrong = good.clone();
        wrong["receipts"]["mismatched"] = 1.into();
        assert_eq!(exit_code(&wrong), 30);
        let mut refused = good.clone();
        refused["error"] = json!({"code": "snp.debug", "exit_code": 40, "message": "debug"});
        assert_eq!(exit_code(&refused), 40);
        assert!(text(&refused).starts_with("NOT VERIFIED: snp.debug: debug\n"));
        for none in [
            json!({}),
            json!({"verdict": {"accepted": false}}),
            json!({"error": {"exit_code": 0}}),
        ] {
            assert_eq!(exit_code(&none), 1, "{none}");
        }
    }
}

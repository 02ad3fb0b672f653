//! `hanzo-verify verify`.

use hanzo_attestation::foreign::ForeignEvidence;
use hanzo_attestation::{Nonce, UnixTime};
use hanzo_client::{AttestedClient, Endpoint};
use hanzo_verifier::foreign::verify_foreign;
use hanzo_verifier::{VerdictView, VerifierContext, VerifyError, verify_bundle};
use serde_json::json;

use crate::args::VerifyArgs;
use crate::error::CliError;
use crate::evidence::Evidence;
use crate::output::{Output, shown};
use crate::{aci, render, runtime, time, trust};

pub(crate) fn run(args: &VerifyArgs) -> Result<Output, CliError> {
    if args.source.starts_with("https://") {
        return guest(args);
    }
    if args.source.contains("://") {
        return Err(CliError::Usage {
            option: "FILE|URL",
            expected: "https://host:port, or a file",
            got: args.source.clone(),
        });
    }
    file(args)
}

fn guest(args: &VerifyArgs) -> Result<Output, CliError> {
    aci::none(&args.aci)?;
    for (option, value) in [("--challenge", &args.challenge), ("--at", &args.at)] {
        if let Some(got) = value {
            return Err(CliError::Usage {
                option,
                expected: "a bundle file: a running guest is sent a fresh challenge, now",
                got: got.clone(),
            });
        }
    }
    let config = trust::client_config(&args.source, &args.trust)?;
    let pinned = runtime()?.block_on(async { AttestedClient::new(config)?.verdict().await })?;
    let mut output = accepted(&pinned.result().view(), "proven");
    if let Some(path) = &args.save {
        std::fs::write(path, pinned.bundle()).map_err(|source| CliError::Io {
            action: "write",
            path: path.clone(),
            source,
        })?;
        output.text += &format!("  saved        {} (challenge {})\n", path.display(), pinned.challenge());
    }
    if let Some(object) = output.json.as_object_mut() {
        object.insert("challenge".into(), json!(pinned.challenge()));
    }
    Ok(output)
}

fn file(args: &VerifyArgs) -> Result<Output, CliError> {
    if let Some(path) = &args.save {
        return Err(CliError::Usage {
            option: "--save",
            expected: "a running guest (https://host:port)",
            got: path.display().to_string(),
        });
    }
    let now = args.at.as_deref().map_or_else(|| Ok(trust::now()), time::parse)?;
    let context = args.trust.context()?;
    let bundle = trust::read(args.source.as_ref()).map_err(|e| match e {
        // `guest.example:8443`, as `connect --to` takes it.
        CliError::Io { source, .. }
            if source.kind() == std::io::ErrorKind::NotFound && args.source.parse::<Endpoint>().is_ok() =>
        {
            CliError::Usage {
                option: "FILE|URL",
                expected: "https:// before the address of a running guest, or a file that exists",
                got: args.source.clone(),
            }
        }
        e => e,
    })?;
    let bundle = match args.evidence.read(args.source.as_ref(), bundle)? {
        Evidence::Bundle(bytes) => bytes,
        Evidence::Foreign(evidence) => return foreign(&evidence, args, &context, now),
    };
    aci::none(&args.aci)?;
    let Some(text) = &args.challenge else {
        // All that is wrong with the bundle comes first; then that it answers nobody.
        hanzo_verifier::read_bundle(&bundle, &context, now)?;
        return Err(VerifyError::Unchallenged.into());
    };
    let challenge = parse_challenge(text)?;
    let result = verify_bundle(&bundle, &challenge, &context, now)?;
    Ok(accepted(&result.view(), "none: a file proves no connection"))
}

/// Evidence in another project's format.
fn foreign(
    evidence: &ForeignEvidence,
    args: &VerifyArgs,
    context: &VerifierContext,
    now: UnixTime,
) -> Result<Output, CliError> {
    if let Some(got) = &args.challenge {
        return Err(CliError::Usage {
            option: "--challenge",
            expected: "a bundle; for other formats --nonce or --report-data",
            got: got.clone(),
        });
    }
    let reading = verify_foreign(evidence, &args.evidence.expected()?, context, now)?;
    let view = reading.view();
    let mut text = render::foreign(&view);
    let mut json = json!({ "accepted": true, "exit_code": 0, "error": null, "channel": null, "verdict": view });
    if let Some(checked) = aci::check(evidence, &args.aci)? {
        text += &checked.text();
        if let Some(object) = json.as_object_mut() {
            object.insert("aci_receipt".into(), checked.json());
        }
    }
    Ok(Output {
        text: shown(&text),
        json,
        exit_code: 0,
    })
}

pub(crate) fn parse_challenge(text: &str) -> Result<Nonce, CliError> {
    Nonce::from_hex(text).ok_or_else(|| CliError::Usage {
        option: "--challenge",
        expected: "64 lower-case hex digits",
        got: text.to_owned(),
    })
}

fn accepted(view: &VerdictView, channel: &str) -> Output {
    Output {
        text: shown(&render::verdict(view, &format!("{} {channel}", view.transport))),
        json: json!({
            "accepted": true,
            "exit_code": 0,
            "error": null,
            "channel": channel,
            "verdict": view,
        }),
        exit_code: 0,
    }
}

//! `hanzo-verify explain`: what a verification looks at, step by step.

use hanzo_attestation::{Digest256, Nonce};
use hanzo_verifier::explanation::{Explanation, explain_bundle, explain_foreign};
use serde_json::json;

use crate::args::ExplainArgs;
use crate::error::CliError;
use crate::evidence::Evidence;
use crate::output::{Output, shown};
use crate::verify::parse_challenge;
use crate::{html, time, tree, trust, write};

pub(crate) fn run(args: &ExplainArgs) -> Result<Output, CliError> {
    let now = args.at.as_deref().map_or_else(|| Ok(trust::now()), time::parse)?;
    let context = args.trust.context()?;
    let bytes = trust::read(&args.file)?;
    let sha256 = Digest256::of(&bytes).to_string();
    let challenge: Option<Nonce> = args.challenge.as_deref().map(parse_challenge).transpose()?;
    let explanation: Explanation = match args.evidence.read(&args.file, bytes)? {
        Evidence::Bundle(bytes) => explain_bundle(&bytes, challenge.as_ref(), &context, now),
        Evidence::Foreign(evidence) => explain_foreign(&evidence, &args.evidence.expected()?, &context, now),
    };
    let name = args
        .file
        .file_name()
        .map_or_else(|| args.file.display().to_string(), |n| n.to_string_lossy().into_owned());
    let mut text = tree::tree(&explanation);
    if let Some(path) = &args.html {
        write::atomic(path, html::page(&explanation, &name, &sha256, now.0).as_bytes())?;
        text.push_str(&format!("page written to {}\n", path.display()));
    }
    Ok(Output {
        text: shown(&text),
        json: json!({ "file": name, "sha256": sha256, "explanation": explanation }),
        exit_code: explanation.exit_code,
    })
}

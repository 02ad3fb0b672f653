//! `hanzo-verify ratls`: what a certificate's evidence says.

use hanzo_attestation::ratls::RatlsCertificate;
use hanzo_verifier::{VerifyError, read_certificate};
use serde_json::json;

use crate::args::RatlsArgs;
use crate::error::CliError;
use crate::output::{Output, shown};
use crate::{render, time, trust};

pub(crate) fn run(args: &RatlsArgs) -> Result<Output, CliError> {
    let now = args.at.as_deref().map_or_else(|| Ok(trust::now()), time::parse)?;
    let context = args.trust.context()?;
    let der = trust::certificate("FILE", &args.file)?;
    let reading = read_certificate(&der, &context, now)?;
    let key = RatlsCertificate::parse(&der).map_err(VerifyError::from)?.spki_sha256();
    let view = reading.view();
    let mut text = format!(
        "READ: the evidence reaches tier {} apart from freshness, the policy asks for {}\n  {:<12} sha256 {key}, the keyset's\n",
        reading.tier_if_fresh(),
        view.minimum_tier,
        "TLS key",
    );
    // The verdict's own first line speaks of connections: a certificate is none.
    let table = render::verdict(&view, "none: a certificate proves no connection");
    text.extend(table.lines().skip(1).flat_map(|line| [line, "\n"]));
    Ok(Output {
        text: shown(&text),
        json: json!({
            "accepted": false,
            "channel": null,
            "error": null,
            "exit_code": 0,
            "read": true,
            "spki_sha256": key,
            "tier_if_fresh": reading.tier_if_fresh(),
            "verdict": view,
        }),
        exit_code: 0,
    })
}

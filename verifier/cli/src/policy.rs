//! `hanzo-verify policy init|check|diff`.

use hanzo_policy::{AppraisalPolicy, Direction, PolicyError, PrivacyTier, Template, diff, template};
use serde_json::json;

use crate::args::{PolicyArgs, PolicyCommand};
use crate::error::CliError;
use crate::output::{Output, shown};
use crate::{trust, write};

/// The second policy grants something that the first does not.
const WIDER: u8 = 40;

pub(crate) fn run(args: &PolicyArgs) -> Result<Output, CliError> {
    match &args.command {
        PolicyCommand::Init { kind, out } => init(kind, out.as_deref()),
        PolicyCommand::Check { file } => check(&trust::policy(file)?),
        PolicyCommand::Diff { old, new } => Ok(compare(&trust::policy(old)?, &trust::policy(new)?)),
    }
}

fn init(kind: &str, out: Option<&std::path::Path>) -> Result<Output, CliError> {
    let text = match (kind, Template::from_name(kind)) {
        (_, Some(kind)) => template(kind),
        ("open", _) => open().map_err(|source| CliError::Policy {
            path: "the template".into(),
            source,
        })?,
        _ => {
            return Err(CliError::Usage {
                option: "--for",
                expected: "snp, tdx, tpm, az-snp-vtpm, az-tdx-vtpm, snp-gpu, tdx-gpu, all or open",
                got: kind.to_owned(),
            });
        }
    };
    let Some(path) = out else {
        return Ok(Output::text(text));
    };
    write::new(path, text.as_bytes())?;
    Ok(Output {
        text: shown(&format!(
            "{} written: everything in it is closed; add reference values, then `hanzo-verify policy check`\n",
            path.display()
        )),
        json: json!({ "written": path.display().to_string() }),
        exit_code: 0,
    })
}

/// Tier 0: evidence must be authentic and belong together, and nothing more is asked of it.
fn open() -> Result<String, PolicyError> {
    let policy = AppraisalPolicy::closed(PrivacyTier::Open).to_toml()?;
    Ok(format!(
        "# Tier 0: evidence must be authentic and belong together. What it says of the guest is shown and not judged.\n{policy}"
    ))
}

fn names(policy: &AppraisalPolicy) -> Vec<String> {
    let snp = policy.snp.iter().flat_map(|t| t.references.iter().map(|r| &r.name));
    let tdx = policy.tdx.iter().flat_map(|t| t.references.iter().map(|r| &r.name));
    let tpm = policy.tpm.iter().flat_map(|t| t.references.iter().map(|r| &r.name));
    snp.chain(tdx).chain(tpm).map(ToString::to_string).collect()
}

fn check(policy: &AppraisalPolicy) -> Result<Output, CliError> {
    let digest = policy.digest().map_or_else(|e| e.to_string(), |d| d.to_string());
    let admitted: Vec<_> = [
        ("snp", policy.snp.is_some()),
        ("tdx", policy.tdx.is_some()),
        ("tpm", policy.tpm.is_some()),
        ("gpu", policy.gpu.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, there)| there.then_some(name))
    .collect();
    let references = names(policy);
    let mut text = format!(
        "well-formed: version {}, minimum tier {}, results count {} s\n  digest      {digest}\n  evidence    {}\n  references  {}\n",
        policy.version,
        policy.minimum_tier,
        policy.max_age_s,
        if admitted.is_empty() {
            "none is admitted".to_owned()
        } else {
            admitted.join(", ")
        },
        match &policy.release {
            Some(asked) => format!(
                "from the newest release of {}, from version {}, that {} of {} keys signed",
                asked.name,
                asked.minimum_version,
                asked.threshold,
                asked.keys.len()
            ),
            None if references.is_empty() => "none: nothing reaches tier 1 or more".to_owned(),
            None => references.join(", "),
        },
    );
    if references.is_empty() && policy.release.is_none() && policy.minimum_tier > PrivacyTier::Open {
        text.push_str(
            "  note        this policy refuses everything: it asks for a tier and names no reference value\n",
        );
    }
    Ok(Output {
        text: shown(&text),
        json: json!({
            "version": policy.version,
            "minimum_tier": policy.minimum_tier,
            "digest": digest,
            "admitted": admitted,
            "references": references,
            "release": policy.release.as_ref().map(|asked| &asked.name),
        }),
        exit_code: 0,
    })
}

fn compare(old: &AppraisalPolicy, new: &AppraisalPolicy) -> Output {
    let differences = diff(old, new);
    let mut text = String::new();
    for d in &differences {
        let mark = match d.direction {
            Direction::Narrower => "narrower",
            Direction::Wider => "WIDER   ",
            Direction::Changed => "CHANGED ",
        };
        text.push_str(&format!(
            "{mark} {}\n           from {}\n           to   {}\n",
            d.path, d.from, d.to
        ));
    }
    let wider = differences.iter().any(|d| d.direction != Direction::Narrower);
    text.push_str(match (differences.is_empty(), wider) {
        (true, _) => "the policies ask the same\n",
        (false, false) => "the second policy grants nothing that the first does not\n",
        (false, true) => "the second policy may grant what the first does not\n",
    });
    Output {
        text: shown(&text),
        json: json!({ "differences": differences, "wider": wider }),
        exit_code: if wider { WIDER } else { 0 },
    }
}

//! `hanzo-verify keys`: API keys of a guest's callers, and the signed table that names them.

mod args;
pub(crate) mod files;
mod issuer;

use hanzo_attestation::UnixTime;
use hanzo_attestation::jcs;
use hanzo_attestation::name::Name;
use hanzo_client::RequestSigner;
use hanzo_pqc::PqcError;
use hanzo_verifier::callers::{
    ApiKey, Caller, Claim, Credential, Isolation, Models, Purpose, RequestKeys, Role, SignedTable, Table,
};
use serde_json::json;
use zeroize::Zeroizing;

pub use args::{FilesArgs, IsolationArg, IssuerArgs, KeysArgs, KeysCommand, NewArgs, RoleArg, TableArg};

use crate::error::CliError;
use crate::output::Output;
use crate::{time, trust, write};
use files::{Kind, Signer};

const DAY_S: u64 = 86_400;
/// Longest file of public keys in bytes.
const KEYS_BYTES_MAX: usize = 16 * 1024;

pub(crate) fn run(args: &KeysArgs) -> Result<Output, CliError> {
    match &args.command {
        KeysCommand::Signer { operator, out } => signer(operator, out),
        KeysCommand::New(args) => new(args),
        KeysCommand::RequestKey { id, out } => request_key(id, out),
        KeysCommand::Issuer(args) => issuer::run(args),
        KeysCommand::List { table, signer } => list(table, signer.as_deref()),
        KeysCommand::Revoke { files, id } => revoke(files, id),
        KeysCommand::Renew { files } => {
            let table = change(files, false, |_| Ok(()))?;
            Ok(Output::text(format!("{}\n", signed_line(&table))))
        }
    }
}

pub(crate) fn name(option: &'static str, text: &str) -> Result<Name, CliError> {
    Name::new(text).map_err(|_| CliError::Usage {
        option,
        expected: "1 to 64 characters out of a-z 0-9 . _ -",
        got: text.to_owned(),
    })
}

fn signer(operator: &str, out: &std::path::Path) -> Result<Output, CliError> {
    let signer = Signer::draw(Kind::Callers, name("--operator", operator)?, out)?;
    let public = signer.keys.verifying_keys();
    let (suite, ml_dsa, ed25519) = (public.suite().name(), public.ml_dsa_hex(), public.ed25519_hex());
    let text = format!(
        "# beside auth = \"required\" and operator = \"{operator}\"\n[access]\ntable_version_min = 1\n\n[access.table_signer]\n\
         suite = \"{suite}\"\nml_dsa = \"{ml_dsa}\"\ned25519 = \"{ed25519}\"\n"
    );
    Ok(Output {
        text,
        json: json!({"operator": operator, "table_signer": {"suite": suite, "ml_dsa": ml_dsa, "ed25519": ed25519}}),
        exit_code: 0,
    })
}

fn new(args: &NewArgs) -> Result<Output, CliError> {
    let id = name("--id", &args.id)?;
    let models = match args.models.as_str() {
        "any" => Models::Any,
        names => {
            let names = names.split(',').map(|one| name("--models", one.trim()));
            let mut names = names.collect::<Result<Vec<_>, _>>()?;
            names.sort();
            names.dedup();
            Models::Named(names)
        }
    };
    let (key, credential) = match (&args.claim, &args.issuer, &args.request_keys) {
        (_, _, Some(path)) => {
            let what = "public keys of `hanzo-verify keys request-key`";
            let keys = jcs::from_slice::<RequestKeys>(what, trust::read(path)?.trim_ascii_end(), KEYS_BYTES_MAX)?;
            (None, Credential::RequestKeys(keys))
        }
        (Some(claim), Some(issuer), None) => (None, Credential::Claim(claim_of(claim, issuer)?)),
        _ => {
            let key = ApiKey::draw(hanzo_pqc::random::fill).map_err(CliError::Crypto)?;
            let hash = key.hash();
            (Some(key), Credential::ApiKey(hash))
        }
    };
    let caller = Caller {
        budget_tokens: args.budget,
        concurrent_requests: args.concurrent,
        credential,
        expires_at: trust::now().0 + args.valid_days * DAY_S,
        id: id.clone(),
        isolation: match args.isolation {
            IsolationArg::Shared => Isolation::Shared,
            IsolationArg::Own => Isolation::Own,
        },
        models,
        requests_per_min: args.requests_per_min,
        role: match args.role {
            RoleArg::User => Role::User,
            RoleArg::Admin => Role::Admin,
        },
        tier_min: args.tier_min,
        tokens_per_min: args.tokens_per_min,
    };
    let text = key.as_ref().map(ApiKey::text);
    // The key first: a table that names a key which nobody has helps nobody, and a key without a table opens nothing.
    if let (Some(out), Some(text)) = (&args.out, &text) {
        write::secret(out, &Zeroizing::new([text.as_bytes(), b"\n"].concat()))?;
    }
    let changed = change(&args.files, true, |table| {
        let callers = &mut table.callers;
        match callers.binary_search_by(|c| c.id.cmp(&id)) {
            Ok(_) => Err(CliError::Usage {
                option: "--id",
                expected: "a name that is not on the table; revoke the old key first",
                got: args.id.clone(),
            }),
            Err(at) => {
                callers.insert(at, caller.clone());
                Ok(())
            }
        }
    });
    let table = changed.inspect_err(|_| {
        if let Some(out) = &args.out {
            let _ = std::fs::remove_file(out);
        }
    })?;
    let (shown, key) = match (&args.out, &text) {
        (_, None) if args.request_keys.is_some() => ("known by its signed requests; there is no key".to_owned(), None),
        (_, None) => ("known by its tokens; there is no key".to_owned(), None),
        (Some(out), Some(_)) => (format!("key written to {}", out.display()), None),
        (None, Some(text)) => (
            format!("{}\nkeep it: it is not shown again", text.as_str()),
            Some(text.as_str()),
        ),
    };
    Ok(Output {
        text: format!("{shown}\n{}\n", signed_line(&table)),
        json: json!({"id": id, "key": key, "version": table.version, "not_after": table.not_after}),
        exit_code: 0,
    })
}

fn request_key(id: &str, out: &std::path::Path) -> Result<Output, CliError> {
    let id = name("--id", id)?;
    let failed = |_| CliError::Crypto(PqcError::Backend { what: "drawing keys" });
    let file = RequestSigner::draw(id, hanzo_pqc::random::fill).map_err(failed)?;
    let keys = RequestSigner::from_file(&file).map_err(failed)?.keys();
    write::secret(out, &file)?;
    let text = jcs::to_vec("public keys", &keys)?;
    Ok(Output {
        text: format!("{}\n", String::from_utf8_lossy(&text)),
        json: json!(keys),
        exit_code: 0,
    })
}

fn claim_of(text: &str, issuer: &str) -> Result<Claim, CliError> {
    let (name, value) = text.split_once('=').ok_or_else(|| CliError::Usage {
        option: "--claim",
        expected: "NAME=VALUE, e.g. sub=248289761001",
        got: text.to_owned(),
    })?;
    Ok(Claim {
        issuer: issuer.to_owned(),
        name: name.to_owned(),
        value: value.to_owned(),
    })
}

fn revoke(files: &FilesArgs, id: &str) -> Result<Output, CliError> {
    let table = change(files, false, |table| {
        let callers = &mut table.callers;
        let before = callers.len();
        callers.retain(|c| c.id.as_str() != id);
        match callers.len() < before {
            true => Ok(()),
            false => Err(CliError::Usage {
                option: "--id",
                expected: "a caller of the table (`keys list`)",
                got: id.to_owned(),
            }),
        }
    })?;
    Ok(Output {
        text: format!(
            "{id} revoked\n{}\nIt counts once a guest has it.\n",
            signed_line(&table)
        ),
        json: json!({"id": id, "version": table.version, "not_after": table.not_after}),
        exit_code: 0,
    })
}

fn list(table: &TableArg, signer: Option<&std::path::Path>) -> Result<Output, CliError> {
    let signed = files::table(&table.table)?;
    let verified = match signer {
        Some(path) => {
            let signer = Signer::load(Kind::Callers, path)?;
            let at = signed.table.issued_at;
            signed
                .clone()
                .verify(&signer.pinned(), &signer.operator, UnixTime(at))?;
            true
        }
        None => {
            signed.table.check()?;
            false
        }
    };
    let SignedTable { table, .. } = signed;
    let mut text = format!("{}\n", signed_line(&table));
    if !verified {
        text.push_str("signatures not checked: give --signer\n");
    }
    for issuer in &table.issuers {
        let keys: Vec<_> = issuer
            .keys
            .iter()
            .map(|k| format!("{} ({})", k.kid, k.jwk.algorithm()))
            .collect();
        text.push_str(&format!(
            "tokens of {} for {}, at most {} s: keys {}\n",
            issuer.issuer,
            issuer.audience,
            issuer.ttl_s_max,
            keys.join(", ")
        ));
    }
    for caller in &table.callers {
        let known_by = match &caller.credential {
            Credential::ApiKey(_) => "an API key".to_owned(),
            Credential::Claim(claim) => format!("{}={} of {}", claim.name, claim.value, claim.issuer),
            Credential::RequestKeys(keys) => match (&keys.ed25519, &keys.ml_dsa_65) {
                (Some(_), Some(_)) => "requests signed with Ed25519 and ML-DSA-65".to_owned(),
                (_, Some(_)) => "requests signed with ML-DSA-65".to_owned(),
                _ => "requests signed with Ed25519".to_owned(),
            },
        };
        let models = match &caller.models {
            Models::Any => "any model".to_owned(),
            Models::Named(names) => names.iter().map(Name::as_str).collect::<Vec<_>>().join(","),
        };
        let budget = caller
            .budget_tokens
            .map_or("no budget".into(), |n| format!("{n} tokens in all"));
        text.push_str(&format!(
            "{:<24} {models}; {}/min, {} tokens/min, {} at a time, {budget}; tier {} or more; by {known_by}; until {}\n",
            caller.id.as_str(),
            caller.requests_per_min,
            caller.tokens_per_min,
            caller.concurrent_requests,
            caller.tier_min,
            time::show(caller.expires_at),
        ));
    }
    Ok(Output {
        text,
        json: json!({"signatures_checked": verified, "table": table}),
        exit_code: 0,
    })
}

/// Changes the table, and signs its next version.
fn change(
    files: &FilesArgs,
    may_make: bool,
    change: impl FnOnce(&mut Table) -> Result<(), CliError>,
) -> Result<Table, CliError> {
    let signer = Signer::load(Kind::Callers, &files.signer)?;
    let path = &files.table.table;
    let now = trust::now();
    let mut table = if may_make && !path.exists() {
        Table {
            callers: Vec::new(),
            issued_at: 0,
            issuers: Vec::new(),
            not_after: 0,
            operator: signer.operator.clone(),
            purpose: Purpose::V1,
            version: 0,
        }
    } else {
        let signed = files::table(path)?;
        // As of its own time: an ended table may be renewed, a forged one may not.
        let at = UnixTime(signed.table.issued_at);
        let verified = signed.verify(&signer.pinned(), &signer.operator, at)?;
        verified.table().clone()
    };
    change(&mut table)?;
    table.issued_at = now.0;
    table.not_after = now.0 + files.table_days * DAY_S;
    table.version += 1;
    let signed = table.sign(|domain, bytes| signer.keys.sign(domain, bytes))?;
    let bytes = [signed.to_bytes()?.as_slice(), b"\n"].concat();
    write::atomic(path, &bytes)?;
    Ok(signed.table)
}

fn signed_line(table: &Table) -> String {
    format!(
        "table version {}: {} callers, counts until {}",
        table.version,
        table.callers.len(),
        time::show(table.not_after)
    )
}

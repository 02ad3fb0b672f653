//! `keys issuer`: identity providers of a table.

use hanzo_verifier::callers::Issuer;
use serde_json::json;

use super::{IssuerArgs, change, signed_line};
use crate::error::CliError;
use crate::output::Output;
use crate::trust;

pub(super) fn run(args: &IssuerArgs) -> Result<Output, CliError> {
    let pinned = match (&args.audience, &args.jwks) {
        (Some(audience), Some(jwks)) => Some(Issuer {
            audience: audience.clone(),
            issuer: args.issuer.clone(),
            keys: Issuer::keys_of(&trust::read(jwks)?)?,
            ttl_s_max: args.ttl_s_max,
        }),
        _ => None,
    };
    let table = change(&args.files, pinned.is_some(), |table| {
        let issuers = &mut table.issuers;
        match (issuers.binary_search_by(|one| one.issuer.cmp(&args.issuer)), &pinned) {
            (Ok(at), Some(new)) => {
                issuers.splice(at..=at, [new.clone()]);
            }
            (Ok(at), None) => drop(issuers.remove(at)),
            (Err(at), Some(new)) => issuers.insert(at, new.clone()),
            (Err(_), None) => {
                return Err(CliError::Usage {
                    option: "--issuer",
                    expected: "an issuer of the table (`keys list`)",
                    got: args.issuer.clone(),
                });
            }
        }
        Ok(())
    })?;
    let said = match &pinned {
        Some(issuer) => {
            let keys: Vec<_> = issuer
                .keys
                .iter()
                .map(|key| format!("{} ({})", key.kid, key.jwk.algorithm()))
                .collect();
            format!("{} pinned with {}", issuer.issuer, keys.join(", "))
        }
        None => format!("{} removed", args.issuer),
    };
    Ok(Output {
        text: format!("{said}\n{}\n", signed_line(&table)),
        json: json!({"issuer": pinned, "version": table.version, "not_after": table.not_after}),
        exit_code: 0,
    })
}

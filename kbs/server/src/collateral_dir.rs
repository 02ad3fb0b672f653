//! A cache directory of `hanzo-collateral`, read and never written.
//!
//! # Layout
//! `index.json`: `{"version":1,"items":{"<name>":"<SHA-256>"}}`; `objects/<SHA-256>`: the item. Names start with what they
//! are: `crl/`, `tdx/`, `rim/`, `ocsp/`, and certificates for evidence that came without them: `vcek/`, `ask/`, `asvk/`.
//!
//! Nothing read here is believed: each item is verified where it is used.

use std::collections::BTreeMap;
use std::path::Path;

use hanzo_attestation::bundle::TdxCollateral;
use hanzo_attestation::{Collateral, Digest256};
use serde::Deserialize;

use crate::KbsError;
use crate::live::read_file;

pub(crate) const INDEX: &str = "index.json";
/// Most items that are read.
const ITEMS_MAX: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    version: u32,
    items: BTreeMap<String, String>,
}

/// Certificates of AMD's by their names in the index, DER.
pub(crate) type Certificates = BTreeMap<String, Vec<u8>>;

/// Reads every item that a decision may need.
pub(crate) fn read(dir: &Path) -> Result<(Collateral, Certificates), KbsError> {
    let path = dir.join(INDEX);
    let fail = |path: &Path, detail: &str| KbsError::File {
        what: "collateral",
        path: path.to_owned(),
        detail: detail.into(),
    };
    let index: Index = serde_json::from_slice(&read_file("collateral", &path)?)
        .map_err(|_| fail(&path, "not an index of a collateral cache"))?;
    if index.version != 1 || index.items.len() > ITEMS_MAX {
        return Err(fail(&path, "expected version 1 and at most 4096 items"));
    }
    let (mut collateral, mut certificates) = (Collateral::default(), Certificates::new());
    for (name, digest) in &index.items {
        let kind = name.split('/').next().unwrap_or_default();
        if !matches!(kind, "crl" | "tdx" | "rim" | "ocsp" | "vcek" | "ask" | "asvk") {
            continue;
        }
        if Digest256::from_hex(digest).is_none() {
            return Err(fail(&path, "a digest that is none"));
        }
        let object = dir.join("objects").join(digest);
        let bytes = read_file("collateral", &object)?;
        if Digest256::of(&bytes).to_string() != *digest {
            return Err(fail(&object, "damaged: its digest is not its name; fetch it again"));
        }
        match kind {
            "crl" => collateral.crls.push(bytes),
            "rim" => collateral.rims.push(bytes),
            "ocsp" => collateral.ocsp.push(bytes),
            "vcek" | "ask" | "asvk" => drop(certificates.insert(name.clone(), bytes)),
            _ => {
                let tdx: TdxCollateral =
                    serde_json::from_slice(&bytes).map_err(|_| fail(&object, "not TDX collateral"))?;
                collateral.tdx.push(tdx);
            }
        }
    }
    Ok((collateral, certificates))
}

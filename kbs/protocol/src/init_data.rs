//! Init-data: what a CoCo guest was started with, whose digest its evidence carries.
//!
//! # Layout
//! TOML: `version = "0.1.0"`, `algorithm` (`sha256`, `sha384` or `sha512`), table `data` of texts. The digest is over the whole
//! text. Where it stands:
//!
//! | evidence | field | how |
//! |---|---|---|
//! | snp | HOST_DATA, 32 bytes | cut or padded with zeros |
//! | tdx | MRCONFIGID, 48 bytes | cut or padded with zeros |
//! | az-snp-vtpm, az-tdx-vtpm, tpm | PCR 8 | SHA-256(32 zero bytes, digest) |

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use hanzo_attestation::Claims;
use hanzo_attestation::tpm::TpmClaims;
use serde::Deserialize;
use serde_json::Value;

use crate::wire::shape;
use crate::{SessionBindingError, WireError};

/// Longest init-data in bytes.
pub const INIT_DATA_BYTES_MAX: usize = 128 * 1024;

/// Init-data that was read and not yet compared with anything.
#[derive(Debug, Clone)]
pub struct InitData {
    digest: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: String,
    body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: String,
    algorithm: String,
    #[serde(rename = "data")]
    _data: BTreeMap<String, String>,
}

impl InitData {
    /// Reads the `init-data` member.
    ///
    /// # Errors
    /// [`WireError::InitData`]: another format, version, algorithm or member than this page knows.
    pub(crate) fn parse(value: Value) -> Result<Self, WireError> {
        let wrong = |what, expected| WireError::InitData { what, expected };
        let wire: Wire = serde_json::from_value(value).map_err(|e| shape("init-data", &e))?;
        if wire.format != "toml" {
            return Err(wrong("format", "toml"));
        }
        if wire.body.len() > INIT_DATA_BYTES_MAX {
            return Err(WireError::TooLarge {
                what: "init-data",
                limit: INIT_DATA_BYTES_MAX,
                got: wire.body.len(),
            });
        }
        let document: Document = toml::from_str(&wire.body)
            .map_err(|_| wrong("body", "TOML with version, algorithm and a table data of texts"))?;
        if document.version != "0.1.0" {
            return Err(wrong("version", "0.1.0"));
        }
        let algorithm = match document.algorithm.as_str() {
            "sha256" | "sha-256" => &SHA256,
            "sha384" | "sha-384" => &SHA384,
            "sha512" | "sha-512" => &SHA512,
            _ => return Err(wrong("algorithm", "sha256, sha384 or sha512")),
        };
        Ok(Self {
            digest: digest(algorithm, wire.body.as_bytes()).as_ref().to_vec(),
        })
    }

    /// Checks that the machine was started with this.
    ///
    /// # Errors
    /// [`SessionBindingError::InitData`].
    pub(crate) fn check(&self, claims: &Claims) -> Result<(), SessionBindingError> {
        let (field, holds) = match claims {
            Claims::Snp(c) => ("HOST_DATA", self.fills(&c.report.host_data)),
            Claims::Tdx(c) => ("MRCONFIGID", self.fills(&c.mr_config_id)),
            Claims::Tpm(c) => ("PCR 8", self.extends(c)),
            Claims::AzSnp(c) => ("PCR 8", self.extends(&c.tpm)),
            Claims::AzTdx(c) => ("PCR 8", self.extends(&c.tpm)),
        };
        match holds {
            true => Ok(()),
            false => Err(SessionBindingError::InitData { field }),
        }
    }

    fn fills(&self, field: &[u8]) -> bool {
        let mut expected = self.digest.clone();
        expected.resize(field.len(), 0);
        expected == field
    }

    fn extends(&self, tpm: &TpmClaims) -> bool {
        let preimage = [&[0; 32], self.digest.as_slice()].concat();
        let expected = digest(&SHA256, &preimage);
        tpm.pcrs.get(&8).is_some_and(|pcr| pcr == expected.as_ref())
    }
}

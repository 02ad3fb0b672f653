//! A file on the command line, told apart and put together with what the caller adds.

use std::path::Path;

use hanzo_attestation::bundle::{Base64, DeviceCollateral};
use hanzo_attestation::foreign::{ForeignEvidence, ForeignExpectation, ForeignFormat, Supplied, detect};
use hanzo_verifier::VerifyError;

use crate::args::EvidenceArgs;
use crate::error::CliError;
use crate::trust;

/// What a file is.
pub(crate) enum Evidence {
    /// This project's own.
    Bundle(Vec<u8>),
    /// Any other.
    Foreign(Box<ForeignEvidence>),
}

impl EvidenceArgs {
    /// Takes the bytes of `path` apart.
    ///
    /// # Errors
    /// [`CliError::Usage`] for a format that is unknown; [`CliError::Unrecognised`] for one that cannot be told;
    /// [`VerifyError`] for a file that is not of it.
    pub(crate) fn read(&self, path: &Path, bytes: Vec<u8>) -> Result<Evidence, CliError> {
        self.read_with(path, bytes, &self.supplied()?)
    }

    /// The same for display: certificates that only a verification needs may be missing.
    pub(crate) fn read_leniently(&self, path: &Path, bytes: Vec<u8>) -> Result<Evidence, CliError> {
        let mut supplied = self.supplied()?;
        supplied.vek.get_or_insert_default();
        supplied.device_certificates.get_or_insert_default();
        self.read_with(path, bytes, &supplied)
    }

    fn read_with(&self, path: &Path, bytes: Vec<u8>, supplied: &Supplied) -> Result<Evidence, CliError> {
        let format = match &self.format {
            Some(name) => ForeignFormat::from_name(name).ok_or_else(|| CliError::Usage {
                option: "--format",
                expected: "one of the formats that `hanzo-verify verify --help` lists",
                got: name.clone(),
            })?,
            // A file that has the marks of nothing is reported as the bundle that it is not.
            None => match detect(&bytes) {
                Some(format) => format,
                None if looks_like_json(&bytes) => ForeignFormat::Bundle,
                None => {
                    return Err(CliError::Unrecognised {
                        path: path.to_path_buf(),
                        bytes: bytes.len(),
                    });
                }
            },
        };
        if format == ForeignFormat::Bundle {
            return Ok(Evidence::Bundle(bytes));
        }
        let foreign = ForeignEvidence::read(format, &bytes, supplied).map_err(VerifyError::from)?;
        Ok(Evidence::Foreign(Box::new(foreign)))
    }

    fn supplied(&self) -> Result<Supplied, CliError> {
        let one = |option, path: &Option<std::path::PathBuf>| {
            path.as_deref().map(|p| trust::certificate(option, p)).transpose()
        };
        let file = |path: &Option<std::path::PathBuf>| path.as_deref().map(trust::read).transpose();
        let nonce = self.nonce_bytes()?;
        Ok(Supplied {
            vek: one("--vek", &self.vek)?,
            ask: one("--ask", &self.ask)?,
            crl: None,
            tdx: None,
            event_log: file(&self.event_log)?,
            ak_certificates: match &self.ak_chain {
                Some(path) => trust::certificates("--ak-chain", path)?,
                None => Vec::new(),
            },
            device_certificates: file(&self.chain)?,
            devices: DeviceCollateral {
                ocsp: Vec::<Base64>::new(),
                rims: Vec::new(),
            },
            nonce: nonce.and_then(|n| n.try_into().ok()),
        })
    }

    /// What the caller drew.
    pub(crate) fn expected(&self) -> Result<ForeignExpectation, CliError> {
        Ok(ForeignExpectation {
            report_data: bytes("--report-data", &self.report_data)?,
            nonce: self.nonce_bytes()?,
        })
    }

    fn nonce_bytes(&self) -> Result<Option<Vec<u8>>, CliError> {
        bytes("--nonce", &self.nonce)
    }
}

fn bytes(option: &'static str, text: &Option<String>) -> Result<Option<Vec<u8>>, CliError> {
    text.as_ref()
        .map(|text| {
            hex::decode(text)
                .ok()
                .filter(|b| (1..=64).contains(&b.len()))
                .ok_or_else(|| CliError::Usage {
                    option,
                    expected: "1 to 64 bytes in hex digits",
                    got: text.clone(),
                })
        })
        .transpose()
}

fn looks_like_json(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii_start().first(), None | Some(b'{'))
}

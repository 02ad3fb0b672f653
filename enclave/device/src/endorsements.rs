//! Certificates and reference values that the host lays beside the guest, to travel with its evidence.
//!
//! # Layout
//! A directory with any of: `vek.der` (VCEK or VLEK), `ask.der`, `crl.der` (SEV-SNP); `tdx-collateral.json` (canonical JSON
//! of the bundle's `cpu.collateral`); `ak/*.der` (intermediate certificates of a vTPM's AK, in the order of their names);
//! `rims/*` and `ocsp/*` (NVIDIA). The host wrote all of it and nothing of it is believed: each piece proves itself to the
//! verifier, or fails to.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use hanzo_attestation::bundle::{Base64, DEVICE_COLLATERAL_MAX, DeviceCollateral, TdxCollateral};
use hanzo_attestation::jcs;

use crate::certificate_table::CERTIFICATE_BYTES_MAX;
use crate::error::DeviceError;
use crate::files::{read_bounded, read_if_there};

const CRL_BYTES_MAX: usize = 64 * 1024;
const TDX_COLLATERAL_BYTES_MAX: usize = 256 * 1024;
const DEVICE_FILE_BYTES_MAX: usize = 256 * 1024;
const AK_CERTIFICATES_MAX: usize = 8;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Endorsements {
    /// VCEK or VLEK.
    pub vek: Option<Vec<u8>>,
    /// ASK or ASVK.
    pub ask: Option<Vec<u8>>,
    /// Revocation list of the ARK.
    pub crl: Option<Vec<u8>>,
    /// Intel's collateral for this platform.
    pub tdx: Option<TdxCollateral>,
    /// Between a vTPM's AK and its root.
    pub ak: Vec<Vec<u8>>,
    /// RIMs and OCSP answers.
    pub devices: DeviceCollateral,
}

impl Endorsements {
    /// Reads the directory; files that are not there are `None` or empty.
    ///
    /// # Errors
    /// [`DeviceError::Io`]; [`DeviceError::Malformed`] for too many or too long files and for JSON that is not canonical.
    pub fn load(dir: &Path) -> Result<Self, DeviceError> {
        let certificate = |name| read_if_there(&dir.join(name), "endorsement", CERTIFICATE_BYTES_MAX);
        let tdx = read_if_there(
            &dir.join("tdx-collateral.json"),
            "endorsement",
            TDX_COLLATERAL_BYTES_MAX,
        )?;
        let tdx = tdx.map(|bytes| {
            jcs::from_slice("tdx-collateral.json", &bytes, TDX_COLLATERAL_BYTES_MAX).map_err(|e| {
                DeviceError::Malformed {
                    field: "tdx-collateral.json",
                    expected: "canonical JSON of TDX collateral",
                    got: e.to_string(),
                }
            })
        });
        let wrapped = |list: Vec<Vec<u8>>| list.into_iter().map(Base64).collect();
        Ok(Self {
            vek: certificate("vek.der")?,
            ask: certificate("ask.der")?,
            crl: read_if_there(&dir.join("crl.der"), "endorsement", CRL_BYTES_MAX)?,
            tdx: tdx.transpose()?,
            ak: all_of(&dir.join("ak"), AK_CERTIFICATES_MAX, CERTIFICATE_BYTES_MAX)?,
            devices: DeviceCollateral {
                rims: wrapped(all_of(&dir.join("rims"), DEVICE_COLLATERAL_MAX, DEVICE_FILE_BYTES_MAX)?),
                ocsp: wrapped(all_of(&dir.join("ocsp"), DEVICE_COLLATERAL_MAX, DEVICE_FILE_BYTES_MAX)?),
            },
        })
    }
}

/// Every file of a directory in the order of names; none if there is no directory.
fn all_of(dir: &Path, most: usize, bytes_max: usize) -> Result<Vec<Vec<u8>>, DeviceError> {
    let failed = |source| DeviceError::Io {
        path: dir.to_owned(),
        source,
    };
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(failed)?.path());
        if paths.len() > most {
            return Err(DeviceError::Malformed {
                field: "endorsements",
                expected: "no more files than a bundle carries",
                got: format!("more than {most} in {}", dir.display()),
            });
        }
    }
    paths.sort();
    paths
        .iter()
        .map(|path| read_bounded(path, "endorsement", bytes_max))
        .collect()
}

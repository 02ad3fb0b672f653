//! Software TPMs: made once, so that whoever releases keys can pin the attestation key before the machine's first boot.
//!
//! The key follows from the TPM's own seed, by the template that the guest uses. Whoever runs swtpm holds that seed, so a
//! quote of it proves no hardware and nothing against this machine's operator: tier 1, for those who pinned the key.

use std::fs;
use std::path::Path;

use hanzo_attestation::Digest256;
use hanzo_device::Endorsements;
use hanzo_device::tpm::Vtpm;
use tdx_attest_rs::Roots;

use crate::error::ImageError;
use crate::run::tools::{copy_tpm, listening_tpm, new_tpm};

/// Makes a TPM in `dir`, which must not exist, and tells its attestation key: SHA-256 of the SubjectPublicKeyInfo.
///
/// # Errors
/// [`ImageError::Tool`] without swtpm, [`ImageError::Io`].
pub fn make(dir: &Path) -> Result<Digest256, ImageError> {
    fs::create_dir(dir).map_err(ImageError::io(dir))?;
    new_tpm(dir)?;
    ak(dir)
}

/// As [`make`], or the key of the TPM that is there already.
///
/// # Errors
/// As [`make`].
pub fn make_or_open(dir: &Path) -> Result<Digest256, ImageError> {
    match dir.exists() {
        true => ak(dir),
        false => make(dir),
    }
}

/// The attestation key of the TPM in `dir`, asked of a copy.
///
/// # Does not establish
/// That a guest quotes with it: the guest's evidence does.
///
/// # Errors
/// As [`make`].
pub fn ak(dir: &Path) -> Result<Digest256, ImageError> {
    let state = tempfile::tempdir().map_err(ImageError::io(&std::env::temp_dir()))?;
    copy_tpm(dir, state.path())?;
    // Where the guest's own code looks for its TPM.
    let socket = state.path().join("tpmrm0");
    let server = format!("type=unixio,path={}", socket.display());
    let interface = ["--server", &server, "--flags", "not-need-init,startup-clear"];
    let _tpm = listening_tpm(state.path(), &interface, &socket, &state.path().join("tpm.err"))?;
    let roots = Roots {
        dev: state.path().to_owned(),
        ..Roots::host()
    };
    let asked = Vtpm::detect(roots, Endorsements::default()).and_then(|tpm| tpm.ak_public());
    let key = asked.map_err(|error| ImageError::Tool {
        program: "swtpm",
        why: error.to_string(),
        remedy: "make another TPM with `hanzo-image tpm`",
    })?;
    Ok(Digest256::of(key.spki_der()))
}

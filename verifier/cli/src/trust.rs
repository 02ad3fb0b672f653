//! Files on the command line: policy, roots, lists, documents. All bounded.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use hanzo_attestation::{Anchors, Collateral, UnixTime};
use hanzo_policy::AppraisalPolicy;
use hanzo_verifier::VerifierContext;

use crate::args::TrustArgs;
use crate::error::CliError;

/// Longest file that is read: a request may be 64 MiB.
const FILE_BYTES_MAX: u64 = 64 << 20;

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let fail = |source| CliError::Io {
        action: "read",
        path: path.to_path_buf(),
        source,
    };
    let file = std::fs::File::open(path).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(CliError::TooLarge {
            path: path.to_path_buf(),
            limit: FILE_BYTES_MAX,
        });
    }
    Ok(bytes)
}

pub(crate) fn policy(path: &Path) -> Result<AppraisalPolicy, CliError> {
    AppraisalPolicy::from_toml(&read(path)?).map_err(|source| CliError::Policy {
        path: path.to_path_buf(),
        source,
    })
}

impl TrustArgs {
    /// Reads all files.
    ///
    /// # Errors
    /// [`CliError::Io`], [`CliError::Policy`].
    pub fn context(&self) -> Result<VerifierContext, CliError> {
        context(&self.policy, &self.simulator_roots, &self.crls)
    }
}

pub(crate) fn context(policy_path: &Path, roots: &[PathBuf], crls: &[PathBuf]) -> Result<VerifierContext, CliError> {
    let mut anchors = Anchors::vendor();
    for path in roots {
        anchors = anchors.with_simulator_ark(read(path)?);
    }
    let crls = crls.iter().map(|p| read(p)).collect::<Result<_, _>>()?;
    Ok(VerifierContext {
        anchors,
        collateral: Collateral { crls },
        policy: policy(policy_path)?,
    })
}

pub(crate) fn now() -> UnixTime {
    (hanzo_client::system_clock())()
}

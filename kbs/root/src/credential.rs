//! The root as a systemd credential.

use hanzo_attestation::name::Name;
use hanzo_vault::Root;

use crate::file;
use crate::key_file::of_bytes;
use crate::{RootError, RootProvider, Surroundings};

/// 32 raw bytes in `$CREDENTIALS_DIRECTORY`, decrypted there by systemd (TPM, host key or both) for this service alone.
pub(crate) struct Credential {
    pub(crate) name: Name,
    pub(crate) surroundings: Surroundings,
}

const WHAT: &str = "root credential";

impl RootProvider for Credential {
    fn kind(&self) -> &'static str {
        "credential"
    }

    fn load(&self) -> Result<Root, RootError> {
        let path = self.surroundings.credential(WHAT, &self.name)?;
        let bytes = file::read_given(WHAT, &path, 64)?;
        of_bytes(WHAT, &path, &bytes)
    }

    fn reachable(&self) -> Result<(), RootError> {
        file::is_given(WHAT, &self.surroundings.credential(WHAT, &self.name)?)
    }

    fn keep(&self, _root: &Root) -> Result<(), RootError> {
        Err(RootError::ReadOnly {
            kind: self.kind(),
            help: "`head -c 32 /dev/urandom | systemd-creds encrypt --name=NAME - /etc/credstore.encrypted/NAME`, then LoadCredentialEncrypted=NAME in the unit",
        })
    }

    /// systemd made it: creating a broker is reading it.
    fn create(&self) -> Result<Root, RootError> {
        self.load()
    }
}

//! Sealing and unsealing with the programs of tpm2-tools.

use zeroize::Zeroizing;

use crate::{RootError, TpmTools};

pub(super) struct Tools(TpmTools);

impl Tools {
    pub(super) fn new(tcti: &str) -> Result<Self, RootError> {
        Ok(Self(TpmTools::new(tcti)?))
    }

    /// Public and private area of a new object that seals `secret`.
    pub(super) fn seal(&self, selection: &str, secret: &[u8]) -> Result<(Vec<u8>, Vec<u8>), RootError> {
        self.primary()?;
        self.0.run(
            "tpm2_createpolicy",
            &["--policy-pcr", "-l", selection, "-L", "policy"],
            &[],
        )?;
        self.0.run(
            "tpm2_create",
            &[
                "-C",
                "primary",
                "-g",
                "sha256",
                "-a",
                "fixedtpm|fixedparent|adminwithpolicy|noda",
                "-L",
                "policy",
                "-i",
                "-",
                "-u",
                "public",
                "-r",
                "private",
            ],
            secret,
        )?;
        self.flush()?;
        Ok((self.0.read("public")?, self.0.read("private")?))
    }

    /// What such an object seals, if the registers are as they were.
    pub(super) fn unseal(
        &self,
        selection: &str,
        public: &[u8],
        private: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, RootError> {
        self.0.write("public", public)?;
        self.0.write("private", private)?;
        self.primary()?;
        self.0.run(
            "tpm2_load",
            &["-C", "primary", "-u", "public", "-r", "private", "-c", "object"],
            &[],
        )?;
        self.flush()?;
        let policy = format!("pcr:{selection}");
        let opened = self.0.run("tpm2_unseal", &["-c", "object", "-p", &policy], &[]);
        let opened = opened.map_err(|e| {
            // TPM_RC_POLICY_FAIL, TPM_RC_VALUE and TPM_RC_PCR_CHANGED of the policy session.
            let other_state = ["0x99d", "0x99D", "policy check failed", "PCR have changed"];
            match other_state.iter().any(|text| e.detail.contains(text)) {
                true => RootError::TpmPolicy { pcrs: selection.into() },
                false => e.into(),
            }
        });
        self.flush()?;
        opened
    }

    fn primary(&self) -> Result<(), RootError> {
        self.0.run(
            "tpm2_createprimary",
            &["-C", "o", "-g", "sha256", "-G", "ecc256", "-c", "primary"],
            &[],
        )?;
        self.flush()
    }

    /// Without a resource manager, transient objects stay in the TPM's few places until they are told to go.
    fn flush(&self) -> Result<(), RootError> {
        Ok(self.0.run("tpm2_flushcontext", &["-t"], &[]).map(drop)?)
    }

    /// Whether the TPM answers at all.
    pub(super) fn answers(&self) -> Result<(), RootError> {
        Ok(self.0.run("tpm2_getcap", &["properties-fixed"], b"").map(drop)?)
    }
}

//! From a prediction to the reference values of an appraisal policy.
//!
//! A reference value binds registers to a configuration. Which configuration that is stands on the measured command line
//! (`hanzo.config=` and its SHA-256); it is read from there and nowhere else, so that no reference value names a
//! configuration that its registers do not cover.

use hanzo_attestation::digest::{Digest256, Digest384};
use hanzo_attestation::name::Name;
use hanzo_policy::{AllowList, PcrValues, Presence, TdxReference, TpmPolicy, TpmReference};

use super::{Prediction, PredictionError};
use crate::event::{Input, Platform};

/// What precedes the digest of the configuration on the command line.
const CONFIG: &str = "hanzo.config=";
/// The PCR that covers the command line.
const COMMAND_LINE_PCR: u8 = 9;

impl Prediction {
    /// A reference value for TPM quotes: the values of `pcrs` in both banks, and of PCR 9, which covers the command line.
    ///
    /// # Errors
    /// [`PredictionError::Platform`], [`PredictionError::NotPredicted`], [`PredictionError::CommandLine`],
    /// [`PredictionError::Config`].
    pub fn tpm_reference(
        &self,
        name: Name,
        command_line: &str,
        pcrs: impl IntoIterator<Item = u8>,
    ) -> Result<TpmReference, PredictionError> {
        self.expect(Platform::Tpm)?;
        let config_digest = self.config_digest(command_line)?;
        let (mut sha256, mut sha384) = (PcrValues::none(), PcrValues::none());
        for index in pcrs.into_iter().chain([COMMAND_LINE_PCR]) {
            let register = u32::from(index);
            let predicted = self.register(register);
            let both = predicted.and_then(|r| Some((r.sha256?, r.sha384)));
            let (short, long) = both.ok_or(PredictionError::NotPredicted { register })?;
            sha256.0.insert(index, short);
            sha384.0.insert(index, long);
        }
        Ok(TpmReference {
            name,
            config_digest,
            pcrs: sha256,
            pcrs_sha384: sha384,
        })
    }

    /// What a relying party asks of a TPM in front of this boot: an attestation key out of `keys`, the event log, and every
    /// predicted register in both banks as it was predicted. `image` names the reference value.
    ///
    /// # Does not establish
    /// That the keys are a TPM chip's: whoever pins a key says so. A software TPM proves no hardware.
    ///
    /// # Errors
    /// As [`Prediction::tpm_reference`].
    pub fn tpm_policy(
        &self,
        image: Name,
        command_line: &str,
        keys: AllowList<Digest256>,
    ) -> Result<TpmPolicy, PredictionError> {
        let every = self.registers().iter().filter_map(|r| u8::try_from(r.register).ok());
        let reference = self.tpm_reference(image, command_line, every)?;
        Ok(TpmPolicy {
            hardware: keys,
            event_log: Presence::Required,
            references: vec![reference],
        })
    }

    /// A reference value for TDX: `mrtd` comes from the firmware, RTMR3 is zero as nothing has run yet.
    ///
    /// # Errors
    /// As [`Prediction::tpm_reference`].
    pub fn tdx_reference(
        &self,
        name: Name,
        command_line: &str,
        mrtd: Digest384,
    ) -> Result<TdxReference, PredictionError> {
        self.expect(Platform::Tdx)?;
        let config_digest = self.config_digest(command_line)?;
        let value = |register: u32| {
            let value = self.register(register).map(|r| r.sha384);
            value.ok_or(PredictionError::NotPredicted { register })
        };
        Ok(TdxReference {
            name,
            mrtd,
            rtmr0: value(1)?,
            rtmr1: value(2)?,
            rtmr2: value(3)?,
            rtmr3: Digest384([0; 48]),
            config_digest,
        })
    }

    fn expect(&self, expected: Platform) -> Result<(), PredictionError> {
        match self.platform() {
            got if got == expected => Ok(()),
            got => Err(PredictionError::Platform { expected, got }),
        }
    }

    /// The one configuration that the command line names.
    fn config_digest(&self, command_line: &str) -> Result<Digest256, PredictionError> {
        let predicted = self.input(Input::CommandLine).map(|i| i.sha256);
        if predicted != Some(Digest256::of(command_line.as_bytes())) {
            return Err(PredictionError::CommandLine);
        }
        let mut words = command_line.split(' ').filter_map(|word| word.strip_prefix(CONFIG));
        match (words.next().map(Digest256::from_hex), words.count()) {
            (Some(Some(digest)), 0) => Ok(digest),
            (Some(Some(_)), more) => Err(PredictionError::Config { got: 1 + more }),
            _ => Err(PredictionError::Config { got: 0 }),
        }
    }
}

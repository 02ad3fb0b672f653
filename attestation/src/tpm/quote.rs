//! A quote with the register values it covers.

use std::collections::BTreeMap;

use super::attest::Attest;
use super::error::TpmError;
use super::key::Key;
use super::signature::Signature;
use super::{AkOrigin, TpmClaims};
use crate::bundle::TpmQuote;
use crate::eventlog::replay_tcg;
use crate::evidence::AttestationError;

/// Parsed, not authenticated.
#[derive(Debug)]
pub(super) struct ParsedQuote {
    /// What the signature covers.
    message: Vec<u8>,
    attest: Attest,
    signature: Signature,
    pcrs: BTreeMap<u8, [u8; 32]>,
}

impl ParsedQuote {
    /// Reads the quote; the register values must be those of exactly the selected registers, ascending.
    pub(super) fn parse(raw: TpmQuote) -> Result<Self, TpmError> {
        let attest = Attest::read_unauthenticated(&raw.message.0)?;
        if !raw.pcrs.iter().map(|p| p.index).eq(attest.selected.iter().copied()) {
            return Err(TpmError::Pcrs {
                selected: attest.selected.into_iter().collect(),
                got: raw.pcrs.iter().map(|p| p.index).take(24).collect(),
            });
        }
        Ok(Self {
            signature: Signature::parse(&raw.signature.0)?,
            pcrs: raw.pcrs.into_iter().map(|p| (p.index, p.value.0)).collect(),
            message: raw.message.0,
            attest,
        })
    }

    /// Checks the signature, the register values and the event log.
    pub(super) fn authenticate(
        self,
        key: &Key,
        ak_origin: AkOrigin,
        event_log: Option<&[u8]>,
    ) -> Result<TpmClaims, AttestationError> {
        key.verify(&self.message, &self.signature)?;
        if !self.attest.covers(self.signature.hash(), self.pcrs.values()) {
            return Err(TpmError::PcrDigest.into());
        }
        let event_log = event_log.map(|log| replay_tcg(log, &self.pcrs)).transpose()?;
        Ok(TpmClaims {
            qualifying_data: self.attest.qualifying_data,
            pcrs: self.pcrs,
            firmware_version: self.attest.firmware_version,
            resets: self.attest.resets,
            clock_safe: self.attest.clock_safe,
            ak: key.digest()?,
            ak_origin,
            event_log,
        })
    }
}

//! A quote with the register values it covers.

use std::collections::{BTreeMap, BTreeSet};

use super::attest::Attest;
use super::error::TpmError;
use super::key::Key;
use super::signature::Signature;
use super::{AkOrigin, TpmClaims};
use crate::bundle::{Pcr, TpmQuote};
use crate::eventlog::{replay_tcg, replay_tcg_sha384};
use crate::evidence::AttestationError;

/// Parsed, not authenticated.
#[derive(Debug)]
pub(super) struct ParsedQuote {
    /// What the signature covers.
    message: Vec<u8>,
    attest: Attest,
    signature: Signature,
    pcrs: BTreeMap<u8, [u8; 32]>,
    pcrs_sha384: BTreeMap<u8, [u8; 48]>,
}

impl ParsedQuote {
    /// Reads the quote; the register values must be those of exactly the selected registers of each bank, ascending.
    pub(super) fn parse(raw: TpmQuote) -> Result<Self, TpmError> {
        let attest = Attest::read_unauthenticated(&raw.message.0)?;
        exactly("pcrs", &raw.pcrs, &attest.selected)?;
        exactly("pcrs_sha384", &raw.pcrs_sha384, &attest.selected_sha384)?;
        Ok(Self {
            signature: Signature::parse(&raw.signature.0)?,
            pcrs: raw.pcrs.into_iter().map(|p| (p.index, p.value.0)).collect(),
            pcrs_sha384: raw.pcrs_sha384.into_iter().map(|p| (p.index, p.value.0)).collect(),
            message: raw.message.0,
            attest,
        })
    }

    /// Checks the signature, the register values and the event log, which must explain every bank that is quoted.
    pub(super) fn authenticate(
        self,
        key: &Key,
        ak_origin: AkOrigin,
        event_log: Option<&[u8]>,
    ) -> Result<TpmClaims, AttestationError> {
        key.verify(&self.message, &self.signature)?;
        let sha256 = self.pcrs.values().map(<[u8; 32]>::as_slice);
        let sha384 = self.pcrs_sha384.values().map(<[u8; 48]>::as_slice);
        if !self.attest.covers(self.signature.hash(), sha256.chain(sha384)) {
            return Err(TpmError::PcrDigest.into());
        }
        if let (Some(log), false) = (event_log, self.pcrs_sha384.is_empty()) {
            replay_tcg_sha384(log, &self.pcrs_sha384)?;
        }
        let event_log = event_log.map(|log| replay_tcg(log, &self.pcrs)).transpose()?;
        Ok(TpmClaims {
            qualifying_data: self.attest.qualifying_data,
            pcrs: self.pcrs,
            pcrs_sha384: self.pcrs_sha384,
            firmware_version: self.attest.firmware_version,
            resets: self.attest.resets,
            clock_safe: self.attest.clock_safe,
            ak: key.digest()?,
            ak_origin,
            event_log,
        })
    }
}

fn exactly<D>(list: &'static str, given: &[Pcr<D>], selected: &BTreeSet<u8>) -> Result<(), TpmError> {
    if given.iter().map(|p| p.index).eq(selected.iter().copied()) {
        return Ok(());
    }
    Err(TpmError::Pcrs {
        list,
        selected: selected.iter().copied().collect(),
        got: given.iter().map(|p| p.index).take(24).collect(),
    })
}

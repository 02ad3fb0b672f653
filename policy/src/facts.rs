//! What the rules look at: everything that was authenticated and bound, and nothing else.

use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::nvidia::NvidiaClaims;
use hanzo_attestation::snp::SnpClaims;
use hanzo_attestation::tdx::TdxClaims;
use hanzo_attestation::tpm::TpmClaims;
use hanzo_attestation::{Binding, Bound, Claims, DeviceClaims, Digest256, Digest384, Revocation};

use crate::tier::PrivacyTier;

/// One appraisal's input. Only `appraise` builds it from `Bound<Claims>`; tests of single rules build it by hand, and
/// what they get is a `RuleFailure` or none, never an `Appraisal`.
#[derive(Debug, Clone)]
pub(crate) struct Facts<'a> {
    pub(crate) kind: Kind,
    pub(crate) snp: Option<&'a SnpClaims>,
    pub(crate) tdx: Option<&'a TdxClaims>,
    pub(crate) tpm: Option<&'a TpmClaims>,
    /// A log came along and was replayed to the registers of the trust domain, of the TPM.
    pub(crate) td_log: bool,
    pub(crate) tpm_log: bool,
    pub(crate) gpus: Vec<&'a NvidiaClaims>,
    pub(crate) switches: Vec<&'a NvidiaClaims>,
    /// Of the primary evidence.
    pub(crate) revocation: Revocation,
    pub(crate) link: Link,
    /// The evidence signed a digest that covers exactly this device list.
    pub(crate) list_is_signed: bool,
}

/// Whose word the evidence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The guest's own, by SNP or TDX.
    Guest,
    /// A TPM's alone.
    Tpm,
    /// A paravisor's, by SNP or TDX, and its vTPM's for the guest.
    Paravisor,
}

/// How the claims are tied to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    /// To a keyset whose digest the evidence signed.
    Keyset {
        /// Of the keyset that the evidence signed.
        config_digest: Digest256,
        /// False is freshness `none`.
        challenged: bool,
    },
    /// To an RCAR session.
    Rcar,
    /// To what another project's format says; such evidence shows no keyset.
    Foreign {
        /// False is freshness `none`.
        challenged: bool,
    },
    /// Evidence and keyset do not belong together.
    Mismatch {
        /// What the evidence signed.
        bound: Option<Digest384>,
        /// What the caller showed.
        shown: Option<Digest384>,
    },
}

impl<'a> Facts<'a> {
    pub(crate) fn of(bound: &'a Bound<Claims>, keyset: Option<&Keyset>) -> Self {
        let mut facts = Self::of_claims(
            bound.claims(),
            bound.authentic().revocation(),
            Link::of(bound.binding(), keyset),
        );
        for device in bound.devices() {
            let DeviceClaims::Nvidia(claims) = device.claims();
            facts.add(claims);
        }
        facts.list_is_signed = match bound.binding() {
            Binding::Keyset { .. } => true,
            Binding::Rcar { covers_devices, .. } => *covers_devices,
            // What such a format says of a list is its own rule's business; none covers one by this project's digest.
            Binding::Foreign { .. } => false,
        };
        facts
    }

    /// Primary evidence without devices.
    pub(crate) fn of_claims(claims: &'a Claims, revocation: Revocation, link: Link) -> Self {
        Self {
            kind: match claims {
                Claims::Snp(_) | Claims::Tdx(_) => Kind::Guest,
                Claims::Tpm(_) => Kind::Tpm,
                Claims::AzSnp(_) | Claims::AzTdx(_) => Kind::Paravisor,
            },
            snp: claims.snp(),
            tdx: claims.tdx(),
            tpm: claims.tpm(),
            td_log: claims.tdx().is_some_and(|c| c.event_log.is_some()),
            tpm_log: claims.tpm().is_some_and(|c| c.event_log.is_some()),
            gpus: Vec::new(),
            switches: Vec::new(),
            revocation,
            link,
            list_is_signed: true,
        }
    }

    pub(crate) fn add(&mut self, device: &'a NvidiaClaims) {
        if device.arch.is_gpu() {
            self.gpus.push(device);
        } else {
            self.switches.push(device);
        }
    }

    /// GPUs, then switches.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &'a NvidiaClaims> {
        self.gpus.iter().chain(&self.switches).copied()
    }

    /// The row that this primary evidence is judged for: 1 by a TPM alone, else 2.
    pub(crate) fn own_row(&self) -> PrivacyTier {
        match self.kind {
            Kind::Tpm => PrivacyTier::AtRest,
            Kind::Guest | Kind::Paravisor => PrivacyTier::CpuTee,
        }
    }
}

impl Link {
    fn of(binding: &Binding, keyset: Option<&Keyset>) -> Self {
        let shown = keyset.and_then(|k| k.digest().ok());
        match (binding, keyset) {
            (
                Binding::Keyset {
                    keyset_digest,
                    challenged,
                },
                Some(keyset),
            ) if shown == Some(*keyset_digest) => Self::Keyset {
                config_digest: keyset.config_digest,
                challenged: *challenged,
            },
            (Binding::Rcar { .. }, None) => Self::Rcar,
            (Binding::Keyset { keyset_digest, .. }, _) => Self::Mismatch {
                bound: Some(*keyset_digest),
                shown,
            },
            (Binding::Foreign { challenged, .. }, None) => Self::Foreign {
                challenged: *challenged,
            },
            (Binding::Rcar { .. } | Binding::Foreign { .. }, Some(_)) => Self::Mismatch { bound: None, shown },
        }
    }
}

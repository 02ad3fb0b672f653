//! What the rules look at: everything that was authenticated and bound, and nothing else.

use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::snp::{Product, SigningKey, TcbVersion};
use hanzo_attestation::{Authentic, Binding, Bound, Claims, Digest256, Digest384, Revocation};

use crate::hardware::ChipId;

/// One appraisal's input. Only `appraise` builds it from `Bound<Claims>`; tests of single rules build it by hand, and
/// what they get is a `RuleFailure` or none, never an `Appraisal`.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) product: Product,
    pub(crate) signing_key: SigningKey,
    /// POLICY.
    pub(crate) guest_policy: u64,
    pub(crate) vmpl: u32,
    pub(crate) measurement: Digest384,
    /// `None` when masked, and when a VLEK signed, which endorses no chip.
    pub(crate) chip: Option<ChipId>,
    pub(crate) reported_tcb: TcbVersion,
    pub(crate) committed_tcb: TcbVersion,
    pub(crate) launch_tcb: TcbVersion,
    pub(crate) revocation: Revocation,
    pub(crate) link: Link,
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

impl Facts {
    pub(crate) fn of(bound: &Bound<Claims>, keyset: Option<&Keyset>) -> Option<Self> {
        Self::of_authentic(bound.authentic(), Link::of(bound.binding(), keyset))
    }

    pub(crate) fn of_authentic(authentic: &Authentic<Claims>, link: Link) -> Option<Self> {
        let Claims::Snp(claims) = authentic.claims() else {
            return None;
        };
        let report = &claims.report;
        Some(Self {
            product: claims.product,
            signing_key: claims.signing_key,
            guest_policy: report.policy,
            vmpl: report.vmpl,
            measurement: Digest384(report.measurement),
            chip: match claims.signing_key {
                SigningKey::Vcek => ChipId::new(report.chip_id),
                SigningKey::Vlek => None,
            },
            reported_tcb: report.reported_tcb,
            committed_tcb: report.committed_tcb,
            launch_tcb: report.launch_tcb,
            revocation: authentic.revocation(),
            link,
        })
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

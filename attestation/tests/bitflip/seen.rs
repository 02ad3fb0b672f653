//! What a verdict claims, in a form that can be compared.

use std::collections::BTreeSet;

use hanzo_attestation::eventlog::{EventLogError, ReplayedLog};
use hanzo_attestation::nvidia::{NvidiaError, OcspOutcome, RimOutcome, ocsp::OcspError, rim::RimError};
use hanzo_attestation::tdx::TdxError;
use hanzo_attestation::{AttestationError, Authentic, Claims, DeviceClaims, Revocation};

use crate::harness::Code;

/// Claims. What is optional stands apart: its holder could have left out what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    fixed: String,
    optional: BTreeSet<String>,
}

/// How changed claims stand to the good ones.
pub enum Weaker {
    Same,
    /// Some optional ones are missing and none came.
    Fewer,
    Other(String),
}

impl Seen {
    pub fn of(fixed: impl std::fmt::Debug) -> Self {
        Self {
            fixed: format!("{fixed:?}"),
            optional: BTreeSet::new(),
        }
    }

    pub fn compared_with(&self, good: &Self) -> Weaker {
        if self == good {
            Weaker::Same
        } else if self.fixed == good.fixed && self.optional.is_subset(&good.optional) {
            Weaker::Fewer
        } else if self.fixed == good.fixed {
            Weaker::Other(
                self.optional
                    .difference(&good.optional)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", "),
            )
        } else {
            let differs = self
                .fixed
                .bytes()
                .zip(good.fixed.bytes())
                .take_while(|(a, b)| a == b)
                .count();
            let around = |text: &str| -> String { text.chars().skip(differs.saturating_sub(40)).take(80).collect() };
            Weaker::Other(format!("{:?} for {:?}", around(&self.fixed), around(&good.fixed)))
        }
    }

    /// The log's events with what registers vouch for: register, digest and, if vouched for, data. Nothing vouches for
    /// the type of an event or for other data, and the documentation of [`hanzo_attestation::eventlog::Event`] says so.
    pub fn with_log(mut self, log: &ReplayedLog) -> Self {
        for event in log.events() {
            let event_shown = format!("event {} {}", event.register, hex::encode(&event.digest));
            if event.data_vouched {
                self.optional
                    .insert(format!("{event_shown} {}", hex::encode(&event.data)));
            }
            self.optional.insert(event_shown);
        }
        self.optional
            .extend(log.registers().iter().map(|register| format!("register {register}")));
        self
    }
}

/// Primary evidence.
pub fn of_evidence(authentic: &Authentic<Claims>) -> Seen {
    let mut claims = authentic.claims().clone();
    let log = match &mut claims {
        Claims::Snp(_) => None,
        Claims::Tdx(c) => c.event_log.take(),
        Claims::Tpm(c) => c.event_log.take(),
        Claims::AzSnp(c) => c.tpm.event_log.take(),
        Claims::AzTdx(c) => c.tpm.event_log.take(),
    };
    let seen = Seen::of((claims, authentic.is_simulated(), authentic.revocation()));
    log.map_or(seen.clone(), |log| seen.with_log(&log))
}

/// A device. RIMs and OCSP answers that are not there claim nothing.
pub fn of_device(authentic: &Authentic<DeviceClaims>) -> Seen {
    let DeviceClaims::Nvidia(claims) = authentic.claims();
    let mut claims = claims.clone();
    let rim = std::mem::replace(&mut claims.rim, RimOutcome::Missing { ids: Vec::new() });
    let ocsp = std::mem::replace(&mut claims.ocsp, OcspOutcome::NoAnswer);
    let mut seen = Seen::of((claims, authentic.is_simulated()));
    if !matches!(rim, RimOutcome::Missing { .. }) {
        seen.optional.insert(format!("{rim:?}"));
    }
    if ocsp != OcspOutcome::NoAnswer {
        seen.optional.insert(format!("{ocsp:?}"));
    }
    if authentic.revocation() != Revocation::NoList {
        seen.optional.insert(format!("{:?}", authentic.revocation()));
    }
    seen
}

/// OCSP answers alone.
pub fn of_ocsp(outcome: &OcspOutcome) -> Seen {
    let mut seen = Seen::of(());
    if *outcome != OcspOutcome::NoAnswer {
        seen.optional.insert(format!("{outcome:?}"));
    }
    seen
}

macro_rules! codes {
    ($($error:ty),*) => {
        $(impl Code for $error {
            fn stable(&self) -> &'static str {
                self.code()
            }
        })*
    };
}

codes!(
    AttestationError,
    EventLogError,
    NvidiaError,
    OcspError,
    RimError,
    TdxError
);

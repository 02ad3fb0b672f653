//! Without an event log: which single change leads to the value.

use std::collections::{BTreeMap, BTreeSet};

use hanzo_attestation::digest::{Digest256, Digest384};
use hanzo_attestation::eventlog::Algorithm;
use hanzo_attestation::name::Name;

use super::{ExplainError, Known, bounded, words};
use crate::event::{ExpectedEvent, Input, Step};
use crate::prediction::Prediction;

/// A register that is not what was predicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterFinding {
    /// PCR index, or CC measurement register index.
    pub register: u32,
    /// What is known of the reason.
    pub verdict: Verdict,
    /// For people.
    pub text: String,
}

/// What is known of the reason. All but the last two are proven: exactly this change leads to exactly this value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The register is as at reset: nothing was measured.
    NothingMeasured,
    /// A known alternative was measured instead of what was predicted.
    Instead {
        /// Of what.
        step: Step,
        /// Which alternative.
        known: Name,
    },
    /// One expected event did not happen.
    Without {
        /// Which.
        step: Step,
    },
    /// One expected event happened twice.
    Twice {
        /// Which.
        step: Step,
    },
    /// The boot was not finished when the value was read, or went another way: what comes from this event on is missing.
    StoppedBefore {
        /// Which.
        step: Step,
    },
    /// The firmware wrote a separator that reports an error.
    ErrorSeparator,
    /// The TPM was started from this locality, so PCR 0 began with it.
    Locality {
        /// 3 or 4.
        locality: u8,
    },
    /// No tried change leads here. One input alone decides this register, so it differs, unless an event was added.
    Only {
        /// Which.
        input: Input,
    },
    /// No tried change leads here and several inputs decide this register: without a log nobody can tell which.
    Undecided {
        /// The inputs that could have made it. Empty: none does, so events were added.
        inputs: Vec<Input>,
    },
}

/// Explains every register of `values` that differs from its prediction, in ascending order. Registers that are not
/// predicted are not looked at.
///
/// # Errors
/// [`ExplainError`].
pub fn explain_registers(
    prediction: &Prediction,
    values: &BTreeMap<u32, Vec<u8>>,
    bank: Algorithm,
    known: &[Known],
) -> Result<Vec<RegisterFinding>, ExplainError> {
    bounded(known)?;
    let mut findings = Vec::new();
    for (register, got) in values {
        let Some(predicted) = prediction.register(*register) else {
            continue;
        };
        let predicted = predicted.value(bank).ok_or(ExplainError::Bank { bank })?;
        if got.len() != predicted.len() {
            return Err(ExplainError::Length {
                register: *register,
                bank,
                expected: predicted.len(),
                got: got.len(),
            });
        }
        if got.as_slice() == predicted {
            continue;
        }
        let events: Vec<_> = prediction.events().iter().filter(|e| e.register == *register).collect();
        let chain = Chain {
            bank,
            got,
            events: &events,
        };
        let verdict = chain.verdict(known);
        findings.push(RegisterFinding {
            register: *register,
            text: words::register(prediction, *register, bank, predicted, got, &verdict),
            verdict,
        });
    }
    Ok(findings)
}

/// Digests of the events of one register in one bank.
fn extend(bank: Algorithm, value: &[u8], digest: &[u8]) -> Vec<u8> {
    match bank {
        Algorithm::Sha256 => crate::sha256(&[value, digest]).0.to_vec(),
        _ => crate::sha384(&[value, digest]).0.to_vec(),
    }
}

struct Chain<'a> {
    bank: Algorithm,
    got: &'a [u8],
    events: &'a [&'a ExpectedEvent],
}

impl<'a> Chain<'a> {
    fn leads_here<'d>(&self, start: &[u8], digests: impl IntoIterator<Item = &'d [u8]>) -> bool {
        let mut value = start.to_vec();
        for digest in digests {
            value = extend(self.bank, &value, digest);
        }
        value == self.got
    }

    fn digests(&self) -> impl Iterator<Item = &'a [u8]> + Clone {
        let bank = self.bank;
        self.events.iter().filter_map(move |e| e.digest(bank))
    }

    /// The events with what `change` makes of the one at `place`.
    fn with<'d>(&self, place: usize, instead: &'d [&'d [u8]]) -> Vec<&'d [u8]>
    where
        'a: 'd,
    {
        let mut out: Vec<&'d [u8]> = self.digests().collect();
        out.splice(place..place.saturating_add(1).min(out.len()), instead.iter().copied());
        out
    }

    fn verdict(&self, known: &[Known]) -> Verdict {
        let zero = vec![0; self.got.len()];
        if self.got == zero.as_slice() {
            return Verdict::NothingMeasured;
        }
        self.replaced(&zero, known)
            .or_else(|| self.repeated(&zero))
            .or_else(|| self.stopped(&zero))
            .or_else(|| self.locality())
            .unwrap_or_else(|| self.who_could())
    }

    fn replaced(&self, zero: &[u8], known: &[Known]) -> Option<Verdict> {
        // Besides zeros the specification knows ones, and 1 as a number.
        let errors = [[0xff; 4], [1, 0, 0, 0]].map(|value| match self.bank {
            Algorithm::Sha256 => Digest256::of(&value).0.to_vec(),
            _ => Digest384::of(&value).0.to_vec(),
        });
        for (place, event) in self.events.iter().enumerate() {
            for alternative in known.iter().filter(|k| k.step == event.step) {
                let Some(digest) = alternative.digest(self.bank) else {
                    continue;
                };
                if self.leads_here(zero, self.with(place, &[digest])) {
                    return Some(Verdict::Instead {
                        step: event.step,
                        known: alternative.name.clone(),
                    });
                }
            }
            if event.step == Step::Separator {
                for error in &errors {
                    if self.leads_here(zero, self.with(place, &[error.as_slice()])) {
                        return Some(Verdict::ErrorSeparator);
                    }
                }
            }
        }
        None
    }

    fn repeated(&self, zero: &[u8]) -> Option<Verdict> {
        for (place, event) in self.events.iter().enumerate() {
            if self.leads_here(zero, self.with(place, &[])) {
                return Some(Verdict::Without { step: event.step });
            }
            let digest = event.digest(self.bank)?;
            if self.leads_here(zero, self.with(place, &[digest, digest])) {
                return Some(Verdict::Twice { step: event.step });
            }
        }
        None
    }

    fn stopped(&self, zero: &[u8]) -> Option<Verdict> {
        let mut value = zero.to_vec();
        for event in self.events {
            if value == self.got {
                return Some(Verdict::StoppedBefore { step: event.step });
            }
            value = extend(self.bank, &value, event.digest(self.bank)?);
        }
        None
    }

    fn locality(&self) -> Option<Verdict> {
        let first = self.events.first()?;
        if first.register != 0 {
            return None;
        }
        [3, 4].into_iter().find_map(|locality| {
            let mut start = vec![0; self.got.len()];
            *start.last_mut()? = locality;
            self.leads_here(&start, self.digests())
                .then_some(Verdict::Locality { locality })
        })
    }

    fn who_could(&self) -> Verdict {
        let inputs: BTreeSet<_> = self.events.iter().map(|e| e.step.input()).collect();
        let inputs: Vec<_> = inputs.into_iter().filter(|i| *i != Input::Constant).collect();
        match inputs[..] {
            [input] => Verdict::Only { input },
            _ => Verdict::Undecided { inputs },
        }
    }
}

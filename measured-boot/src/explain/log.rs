//! With an event log: which events differ.

use hanzo_attestation::eventlog::{Algorithm, LoggedEvent, kind};
use hanzo_attestation::name::Name;

use super::{ExplainError, Known, bounded, words};
use crate::event::{ExpectedEvent, Input, Step};
use crate::prediction::Prediction;
use crate::replay::Replay;

/// One event that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFinding {
    /// PCR index, or CC measurement register index.
    pub register: u32,
    /// What differs.
    pub difference: Difference,
    /// Which input made it; `None` for an event that was not expected at all.
    pub input: Option<Input>,
    /// The alternative that it is, if it is one of those given.
    pub known: Option<Name>,
    /// For people: event, digests, input, what to look at.
    pub text: String,
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Another digest.
    Changed {
        /// Place of the expected event in the prediction, from 0.
        expected: usize,
        /// Number of the event in the log, from 1.
        logged: usize,
        /// What was expected.
        step: Step,
    },
    /// An expected event is not in the log.
    Missing {
        /// Its place in the prediction, from 0.
        expected: usize,
        /// What was expected.
        step: Step,
    },
    /// An event of the log is not expected.
    Added {
        /// Its number in the log, from 1.
        logged: usize,
        /// Its type, which is the word of whoever holds the log.
        kind: u32,
    },
}

/// Every difference between prediction and log, the first of the boot first; none if the predicted registers are those
/// that the log leads to.
///
/// # Does not establish
/// That the log is true: replay it against signed registers first. A log that somebody made up explains nothing.
///
/// # Errors
/// [`ExplainError`].
pub fn explain_log(
    prediction: &Prediction,
    replay: &Replay,
    bank: Algorithm,
    known: &[Known],
) -> Result<Vec<LogFinding>, ExplainError> {
    bounded(known)?;
    if prediction.platform() != replay.platform {
        return Err(ExplainError::Platform {
            predicted: prediction.platform(),
            logged: replay.platform,
        });
    }
    let has_bank = |r: &crate::event::RegisterValue| r.value(bank).is_some();
    if !replay.banks.contains_key(&bank) || !prediction.registers().iter().any(has_bank) {
        return Err(ExplainError::Bank { bank });
    }
    let mut findings = Vec::new();
    for register in prediction.registers().iter().map(|r| r.register) {
        let expected: Vec<_> = (0..)
            .zip(prediction.events())
            .filter(|(_, e)| e.register == register)
            .collect();
        let logged: Vec<_> = replay
            .log
            .events()
            .iter()
            .filter(|e| e.register == register && e.kind != kind::EV_NO_ACTION)
            .collect();
        let mut sides = Sides {
            prediction,
            bank,
            known,
            findings: &mut findings,
        };
        sides.compare(&expected, &logged);
    }
    // Of several registers, the one whose expected event comes first in the boot.
    findings.sort_by_key(|(place, _)| *place);
    Ok(findings.into_iter().map(|(_, finding)| finding).collect())
}

struct Sides<'a> {
    prediction: &'a Prediction,
    bank: Algorithm,
    known: &'a [Known],
    /// With the place in the boot.
    findings: &'a mut Vec<(usize, LogFinding)>,
}

impl Sides<'_> {
    /// Walks both lists. Where they differ and one of them goes on with what the other one has here, an event is missing
    /// or was added; otherwise it is the same event with another digest.
    fn compare(&mut self, mut expected: &[(usize, &ExpectedEvent)], mut logged: &[&LoggedEvent]) {
        let bank = self.bank;
        let same = |e: &(usize, &ExpectedEvent), l: &LoggedEvent| {
            e.1.digest(bank)
                .is_some_and(|d| l.digests.get(&bank).is_some_and(|g| g == d))
        };
        let mut place = 0;
        loop {
            match (expected, logged) {
                ([], []) => return,
                ([e, more_e @ ..], [l, more_l @ ..]) if same(e, l) => {
                    place = e.0;
                    (expected, logged) = (more_e, more_l);
                }
                ([e, more_e @ ..], [l, more_l @ ..]) => {
                    place = e.0;
                    let next_expected = more_e.first().is_some_and(|next| same(next, l));
                    let next_logged = more_l.first().is_some_and(|next| same(e, next));
                    match (next_expected, next_logged) {
                        (true, false) => {
                            self.missing(e);
                            expected = more_e;
                        }
                        (false, true) => {
                            self.added(place, l);
                            logged = more_l;
                        }
                        _ => {
                            self.changed(e, l);
                            (expected, logged) = (more_e, more_l);
                        }
                    }
                }
                ([e, more @ ..], []) => {
                    self.missing(e);
                    expected = more;
                }
                ([], [l, more @ ..]) => {
                    self.added(place.saturating_add(1), l);
                    logged = more;
                }
            }
        }
    }

    fn changed(&mut self, (place, expected): &(usize, &ExpectedEvent), logged: &LoggedEvent) {
        let got = logged.digests.get(&self.bank).map_or(&[][..], Vec::as_slice);
        let known = self.known_as(expected.step, got);
        let text = words::changed(self.prediction, expected, logged.number, self.bank, got, known);
        let finding = LogFinding {
            register: expected.register,
            difference: Difference::Changed {
                expected: *place,
                logged: logged.number,
                step: expected.step,
            },
            input: Some(expected.step.input()),
            known: known.cloned(),
            text,
        };
        self.findings.push((*place, finding));
    }

    fn missing(&mut self, (place, expected): &(usize, &ExpectedEvent)) {
        let finding = LogFinding {
            register: expected.register,
            difference: Difference::Missing {
                expected: *place,
                step: expected.step,
            },
            input: Some(expected.step.input()),
            known: None,
            text: words::missing(self.prediction, expected),
        };
        self.findings.push((*place, finding));
    }

    fn added(&mut self, place: usize, logged: &LoggedEvent) {
        let got = logged.digests.get(&self.bank).map_or(&[][..], Vec::as_slice);
        let known = self.known.iter().find(|k| k.digest(self.bank) == Some(got));
        let finding = LogFinding {
            register: logged.register,
            difference: Difference::Added {
                logged: logged.number,
                kind: logged.kind,
            },
            input: known.map(|k| k.step.input()),
            known: known.map(|k| k.name.clone()),
            text: words::added(self.prediction, logged, self.bank, got, known.map(|k| &k.name)),
        };
        self.findings.push((place, finding));
    }

    fn known_as(&self, step: Step, got: &[u8]) -> Option<&Name> {
        let same = |k: &&Known| k.step == step && k.digest(self.bank) == Some(got);
        self.known.iter().find(same).map(|k| &k.name)
    }
}

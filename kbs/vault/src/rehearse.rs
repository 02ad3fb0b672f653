//! What would be released: all rules, all failures, and nothing else. A rehearsal makes no grant and cannot become one.

use hanzo_attestation::UnixTime;
use hanzo_attestation::evidence::Class;
use hanzo_attestation::name::KeyId;
use hanzo_verifier::foreign::ForeignReading;
use hanzo_verifier::{AttestationResult, Reading, VerifyError};
use serde::Serialize;

use crate::claims::{Proof, Readers};
use crate::rules::{self, Question};
use crate::{Budget, KeyPolicy, Refusal, TenantPolicy, Uses, Wrap};

/// One rule that says no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable dotted code.
    pub code: String,
    /// What, where, expected, got.
    pub why: String,
}

/// How a release would end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rehearsal {
    /// True if nothing says no.
    pub would_release: bool,
    /// As of `hanzo-verify`: 0 would release, 10 malformed, 20 not authentic, 30 unbound, 40 refused.
    pub exit_code: u8,
    /// The key that was asked about.
    pub key_id: String,
    /// The tier reached; `None` if the evidence is not authentic or not bound.
    pub tier: Option<u8>,
    /// Whether the evidence is simulated, as far as it was read.
    pub simulated: Option<bool>,
    /// The reference value that matched.
    pub reference: Option<String>,
    /// The version of that image.
    pub image_version: Option<u64>,
    /// The way of wrapping that was asked about.
    pub wrap: Wrap,
    /// Every rule that says no.
    pub findings: Vec<Finding>,
}

/// Where the evidence of a rehearsal came from.
#[derive(Debug)]
pub enum Evidence<'a> {
    /// A session's.
    Session(&'a Result<AttestationResult, VerifyError>),
    /// A bundle's, read.
    Bundle(&'a Result<Reading, VerifyError>),
    /// None that could be read; whoever asks says why with [`Rehearsal::deny`].
    None,
    /// A foreign document's, read.
    Foreign(&'a Result<ForeignReading, VerifyError>),
}

/// What is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Rehearsed<'a> {
    /// The key.
    pub key_id: &'a KeyId,
    /// Its version.
    pub version: u64,
    /// Its policy.
    pub policy: &'a KeyPolicy,
    /// The Rego module that its tenant put over all its keys, if it put one.
    pub tenant: Option<&'a TenantPolicy>,
    /// Its grants so far.
    pub uses: Uses,
}

/// Asks every rule of the key's policy and its tenant's about evidence that was verified under its appraisal policy.
///
/// # Establishes
/// What `authorize` would answer to the same evidence in a session of its own at `now`, with these counts.
pub fn rehearse(key: &Rehearsed<'_>, wrap: Wrap, evidence: &Evidence<'_>, now: UnixTime) -> Rehearsal {
    let Rehearsed {
        key_id,
        version,
        policy,
        tenant,
        uses,
    } = *key;
    let readers = Readers(policy, tenant);
    let release = match evidence {
        Evidence::Session(Ok(result)) => result.release(),
        Evidence::Bundle(Ok(reading)) => reading.release(),
        _ => None,
    };
    let (proof, error) = match evidence {
        Evidence::Session(Ok(result)) => (Some(Proof::of_result(result, readers)), None),
        Evidence::Bundle(Ok(reading)) => (Some(Proof::of_reading(reading, readers)), None),
        Evidence::Foreign(Ok(reading)) => (Proof::of_foreign(reading, readers), None),
        Evidence::None => (None, None),
        Evidence::Session(Err(e)) | Evidence::Bundle(Err(e)) | Evidence::Foreign(Err(e)) => (None, Some(e)),
    };
    let mut findings: Vec<Finding> = match error {
        Some(e) if e.failures().is_empty() => vec![finding(e.code(), e)],
        Some(e) => e
            .failures()
            .iter()
            .map(|f| Finding {
                code: f.code.to_owned(),
                why: f.text.clone(),
            })
            .collect(),
        None => Vec::new(),
    };
    let refused = match error {
        Some(VerifyError::Refused(refused)) => Some(refused.view()),
        _ => None,
    };
    if proof.is_none() && matches!(evidence, Evidence::Foreign(Ok(_))) {
        findings.push(Finding {
            code: "kbs.no_processor".into(),
            why: "evidence: expected a processor's or TPM's, got devices alone".into(),
        });
    }
    // Rules that do not look at the evidence are asked in any case; the others only about evidence that counts.
    let shown = proof.as_ref().map(|p| (p.tier, p.simulated, p.reference.clone()));
    let proof = proof.unwrap_or_else(|| Proof::nothing(policy.allow_simulated));
    let image = rules::image_of(policy, proof.reference.as_deref(), release);
    let budget = Budget::new((key_id, version), policy, image, proof.reference.as_deref());
    let question = Question {
        key_id,
        policy,
        budget: &budget,
        wrap,
        suite: None,
        uses,
        proof: &proof,
        tenant,
        now,
    };
    let asked = match shown {
        Some(_) => rules::ALL.as_slice(),
        None => rules::WITHOUT_EVIDENCE.as_slice(),
    };
    findings.extend(
        asked
            .iter()
            .filter_map(|rule| rule(&question).err())
            .map(|r| refusal(&r)),
    );
    let (tier, simulated, reference) = match (&shown, refused) {
        (Some((tier, simulated, reference)), _) => (Some(*tier), Some(*simulated), reference.clone()),
        (None, Some(view)) => (Some(view.tier.number()), Some(view.simulated), view.reference.clone()),
        (None, None) => (None, None, None),
    };
    Rehearsal {
        would_release: findings.is_empty(),
        exit_code: match (error, findings.is_empty()) {
            (Some(e), _) => exit_code(e.class()),
            (None, false) => exit_code(Class::Refused),
            (None, true) => 0,
        },
        key_id: key_id.to_string(),
        tier,
        simulated,
        image_version: shown.and(image).map(|i| i.number),
        reference,
        wrap,
        findings,
    }
}

impl Rehearsal {
    /// Adds a reason of the caller's, which comes before all others.
    pub fn deny(&mut self, class: Class, code: &str, why: &str) {
        self.would_release = false;
        self.exit_code = exit_code(class);
        self.findings.insert(0, finding(code, &why));
    }
}

fn exit_code(class: Class) -> u8 {
    match class {
        Class::Malformed => 10,
        Class::NotAuthentic => 20,
        Class::Unbound => 30,
        Class::Refused => 40,
    }
}

fn finding(code: &str, why: &dyn std::fmt::Display) -> Finding {
    Finding {
        code: code.to_owned(),
        why: why.to_string(),
    }
}

fn refusal(refusal: &Refusal) -> Finding {
    finding(refusal.code(), refusal)
}

//! Evidence in other projects' formats: authenticated and judged by the same rules, and only ever read.
//!
//! A foreign document shows none of this project's keysets, so nothing here ends in an [`crate::AttestationResult`]: no
//! broker releases a key and no client opens a channel on it.

mod view;

use hanzo_attestation::binding::{self, BindingError};
use hanzo_attestation::evidence::authenticate_devices;
use hanzo_attestation::foreign::{Document, ForeignEvidence, ForeignExpectation, ForeignFormat, Rule};
use hanzo_attestation::{AuthenticDevices, Binding, Claims, UnixTime};
use hanzo_policy::{Appraisal, PrivacyTier, RuleFailure, appraise, lone_devices};

use crate::error::{Refusal, VerifyError};
use crate::in_force::InForce;
use crate::result::Proven;
use crate::verify::VerifierContext;
use crate::view::VerdictView;

pub use view::ForeignView;

/// A foreign document was read: genuine evidence, belonging together as its format says.
///
/// It is not an [`crate::AttestationResult`] and cannot become one:
/// ```compile_fail,E0277
/// use hanzo_verifier::AttestationResult;
/// use hanzo_verifier::foreign::ForeignReading;
/// fn trust(reading: ForeignReading) -> AttestationResult {
///     reading.into()
/// }
/// ```
#[derive(Debug)]
pub struct ForeignReading {
    format: ForeignFormat,
    subject: Subject,
    challenged: bool,
    required: PrivacyTier,
    read_at: UnixTime,
    documents: Vec<Document>,
}

#[derive(Debug)]
enum Subject {
    /// A CPU or TPM, perhaps with devices.
    Guest(Box<(Proven, Appraisal)>),
    /// Devices without any processor: tier 0, whatever they show.
    Devices(AuthenticDevices, Vec<RuleFailure>),
}

impl ForeignReading {
    /// The format.
    pub fn format(&self) -> ForeignFormat {
        self.format
    }

    /// The tier that the evidence reaches apart from freshness; 0 for devices alone.
    pub fn tier_if_fresh(&self) -> PrivacyTier {
        match &self.subject {
            Subject::Guest(guest) => guest.1.tier_if_fresh(),
            Subject::Devices(..) => PrivacyTier::Open,
        }
    }

    /// True if the caller's own nonce or REPORT_DATA is under the signature.
    pub fn challenged(&self) -> bool {
        self.challenged
    }

    /// True if a root is not a vendor's.
    pub fn simulated(&self) -> bool {
        match &self.subject {
            Subject::Guest(guest) => guest.1.is_simulated(),
            Subject::Devices(list, _) => list.devices().iter().any(hanzo_attestation::Authentic::is_simulated),
        }
    }

    /// The claims of the CPU or TPM; `None` for devices alone.
    pub fn claims(&self) -> Option<&Claims> {
        match &self.subject {
            Subject::Guest(guest) => Some(guest.0.bound.claims()),
            Subject::Devices(..) => None,
        }
    }

    /// The appraisal; `None` for devices alone.
    pub fn appraisal(&self) -> Option<&Appraisal> {
        match &self.subject {
            Subject::Guest(guest) => Some(&guest.1),
            Subject::Devices(..) => None,
        }
    }

    /// The devices.
    pub fn devices(&self) -> &[hanzo_attestation::Authentic<hanzo_attestation::DeviceClaims>] {
        match &self.subject {
            Subject::Guest(guest) => guest.0.bound.devices(),
            Subject::Devices(list, _) => list.devices(),
        }
    }

    /// Parts of the document that were kept and that nothing here judged.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// Everything worth showing.
    pub fn view(&self) -> ForeignView {
        ForeignView::of(self)
    }

    fn verdict(&self) -> VerdictView {
        match &self.subject {
            Subject::Guest(guest) => VerdictView::of_foreign(&guest.0, &guest.1, self.read_at),
            Subject::Devices(list, failures) => VerdictView::of_devices(
                failures.clone(),
                self.required,
                list.devices(),
                self.challenged,
                self.read_at,
            ),
        }
    }
}

/// Authenticates a foreign document, checks it against its format's own rule and the caller's expectation, and appraises it.
///
/// # Establishes
/// Genuine processors and devices (or simulators) signed the evidence; what they signed is what the format's rule gives for
/// this document, whole; with an expectation, that the caller's own nonce or REPORT_DATA is under it. The claims reach the
/// policy's minimum tier apart from freshness.
///
/// # Does not establish
/// Anything about this project's keysets. Freshness without an expectation.
///
/// # Errors
/// [`VerifyError`], the first that applies of malformed, not authentic, unbound; of policy: all failed rules.
pub fn verify_foreign(
    evidence: &ForeignEvidence,
    expected: &ForeignExpectation,
    context: &VerifierContext,
    now: UnixTime,
) -> Result<ForeignReading, VerifyError> {
    let in_force = InForce::at(&context.policy, &context.collateral, now)?;
    let authentic = match evidence.primary() {
        Some(raw) => Some(
            raw.clone()
                .parse()?
                .authenticate(&context.anchors, &context.collateral, now)?,
        ),
        None => None,
    };
    let devices = authenticate_devices(
        evidence.devices(),
        evidence.stapled(),
        &context.anchors,
        &context.collateral,
        now,
    )?;
    let rule = evidence.rule();
    let (subject, challenged) = match authentic {
        Some(authentic) => {
            let bound = binding::bind_foreign(authentic, devices, rule, expected)?;
            let challenged = matches!(bound.binding(), Binding::Foreign { challenged: true, .. });
            let appraisal = appraise(&bound, None, &in_force.policy);
            let proven = Proven::of_session(bound);
            (Subject::Guest(Box::new((proven, appraisal))), challenged)
        }
        None => {
            check_devices_alone(&devices, rule, expected)?;
            let failures = lone_devices(devices.devices(), &in_force.policy);
            (Subject::Devices(devices, failures), expected.nonce.is_some())
        }
    };
    if let Some(not_after) = evidence.not_after()
        && now.0 > not_after
    {
        return Err(BindingError::Expired { not_after, now: now.0 }.into());
    }
    let reading = ForeignReading {
        format: rule.format,
        subject,
        challenged,
        required: context.policy.minimum_tier,
        read_at: now,
        documents: evidence.documents().to_vec(),
    };
    if reading.tier_if_fresh() >= reading.required {
        return Ok(reading);
    }
    let verdict = reading.verdict();
    Err(VerifyError::Refused(Box::new(Refusal {
        required: reading.required,
        reached: reading.tier_if_fresh(),
        failures: verdict
            .failures
            .iter()
            .filter(|f| f.code != "freshness.none" && f.tier <= reading.required)
            // Tier 1 has evidence of its own: its rule is named only to those who ask for tier 1.
            .filter(|f| f.tier != PrivacyTier::AtRest || reading.required == PrivacyTier::AtRest)
            .cloned()
            .collect(),
        view: verdict,
    })))
}

/// Devices sign no REPORT_DATA: an expectation of one cannot be met.
fn check_devices_alone(
    devices: &AuthenticDevices,
    rule: &Rule,
    expected: &ForeignExpectation,
) -> Result<(), BindingError> {
    if let Some(report_data) = &expected.report_data {
        return Err(BindingError::ForeignReportData {
            format: rule.format,
            expected: report_data.len(),
        });
    }
    binding::check_foreign_nonces(devices, rule, expected)
}

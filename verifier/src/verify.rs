//! The only functions that turn evidence into a verdict.

use std::sync::Arc;

use hanzo_attestation::binding::{self, RcarRuntime};
use hanzo_attestation::bundle::{Bundle, DeviceCollateral};
use hanzo_attestation::evidence::authenticate_devices;
use hanzo_attestation::foreign::devices_of_additional_evidence;
use hanzo_attestation::{Anchors, Binding, Bound, Claims, Collateral, Nonce, RawEvidence, UnixTime};
use hanzo_policy::{AppraisalPolicy, appraise};

use crate::error::{Refusal, VerifyError};
use crate::in_force::InForce;
use crate::reading::Reading;
use crate::result::{AttestationResult, Proven};

/// What a relying party decides with.
#[derive(Debug, Clone)]
pub struct VerifierContext {
    /// Roots that count.
    pub anchors: Anchors,
    /// Revocation lists that did not travel with the evidence.
    pub collateral: Collateral,
    /// What is asked of evidence. If it names a line of releases, the release is in `collateral`.
    pub policy: AppraisalPolicy,
}

/// Verifies the bundle that came as the answer to `challenge`.
///
/// # Establishes
/// See [`AttestationResult`]. The bundle's keyset is alive at `now`, and the evidence was made after `challenge` was drawn,
/// provided that the caller drew it at random and for this call alone.
///
/// # Does not establish
/// That whoever delivered the bundle holds the keyset's keys: that is the channel proof's part.
///
/// # Errors
/// [`VerifyError`], the first that applies of malformed, not authentic, unbound; of policy: all failed rules.
pub fn verify_bundle(
    bytes: &[u8],
    challenge: &Nonce,
    context: &VerifierContext,
    now: UnixTime,
) -> Result<AttestationResult, VerifyError> {
    let in_force = InForce::at(&context.policy, &context.collateral, now)?;
    let bundle = Bundle::parse(bytes)?;
    let bound = bind(&bundle, Some(challenge), context, now, now)?;
    if !matches!(bound.binding(), Binding::Keyset { challenged: true, .. }) {
        return Err(VerifyError::Unchallenged);
    }
    in_force.check_capabilities(&bundle.capabilities)?;
    decide(Arc::new(Proven::of_bundle(bound, bundle)), &in_force, now)
}

/// Verifies the evidence of a key broker's session.
///
/// # Establishes
/// See [`AttestationResult`], for the session's nonce and public key in place of challenge and keyset. Devices stand in the
/// session's additional evidence, which the processor signed too; evidence of kinds that this version does not verify is
/// refused there, never skipped.
///
/// # Does not establish
/// A configuration beyond the measurement: such a session shows no keyset.
///
/// # Errors
/// [`VerifyError`].
pub fn verify_rcar(
    evidence: RawEvidence,
    runtime: &RcarRuntime<'_>,
    context: &VerifierContext,
    now: UnixTime,
) -> Result<AttestationResult, VerifyError> {
    let with = (&context.anchors, &context.collateral, &context.policy);
    verify_rcar_with(evidence, runtime, with, now)
}

/// As [`verify_rcar`], with a context that is borrowed: a broker decides many keys under one set of roots and collateral.
///
/// # Errors
/// As [`verify_rcar`].
pub fn verify_rcar_with(
    evidence: RawEvidence,
    runtime: &RcarRuntime<'_>,
    (anchors, collateral, policy): (&Anchors, &Collateral, &AppraisalPolicy),
    now: UnixTime,
) -> Result<AttestationResult, VerifyError> {
    let in_force = InForce::at(policy, collateral, now)?;
    let authentic = evidence
        .parse_with(&collateral.known)?
        .authenticate(anchors, collateral, now)?;
    // What the guest sent beside its own evidence stands in the string that REPORT_DATA covers, so the devices are read out
    // of that string and nothing else.
    let devices = authenticate_devices(
        &devices_of_additional_evidence(runtime.additional_evidence)?,
        &DeviceCollateral::default(),
        anchors,
        collateral,
        now,
    )?;
    let bound = binding::bind_rcar(authentic, devices, runtime)?;
    decide(Arc::new(Proven::of_session(bound)), &in_force, now)
}

/// Reads a bundle without having challenged the guest: a saved one, or somebody else's.
///
/// # Establishes
/// A genuine processor signed this keyset and configuration at some time, and they reach the policy's minimum tier apart
/// from freshness. Certificates and revocation are judged at `now`.
///
/// # Does not establish
/// When that was, or that the guest still runs. [`Reading::undated`] says that the keyset is past its end, so nothing
/// but the guest's own word dates it. `now` is today's clock: a past one would count only with a witnessed log entry from
/// that time, which this version cannot check.
///
/// # Errors
/// [`VerifyError`], as [`verify_bundle`] without freshness.
pub fn read_bundle(bytes: &[u8], context: &VerifierContext, now: UnixTime) -> Result<Reading, VerifyError> {
    let in_force = InForce::at(&context.policy, &context.collateral, now)?;
    let bundle = Bundle::parse(bytes)?;
    // A keyset past its end may be read; one that lives too long, or starts in the future, may not.
    let not_after = bundle.keyset.not_after;
    let bound = bind(&bundle, None, context, now, UnixTime(now.0.min(not_after)))?;
    in_force.check_capabilities(&bundle.capabilities)?;
    let proven = Proven::of_bundle(bound, bundle);
    let appraisal = appraise(&proven.bound, proven.keyset.as_deref(), &in_force.policy);
    let reading = Reading {
        undated: now.0 > not_after,
        read_at: now,
        proven,
        appraisal,
        release: in_force.release,
    };
    if reading.appraisal.tier_if_fresh() < context.policy.minimum_tier {
        return Err(VerifyError::Refused(Box::new(Refusal {
            required: context.policy.minimum_tier,
            reached: reading.appraisal.tier_if_fresh(),
            failures: reading
                .appraisal
                .failures_for(context.policy.minimum_tier)
                .filter(|f| f.code != "freshness.none")
                .cloned()
                .collect(),
            view: reading.view(),
        })));
    }
    Ok(reading)
}

pub(crate) fn bind(
    bundle: &Bundle,
    challenge: Option<&Nonce>,
    context: &VerifierContext,
    now: UnixTime,
    life_at: UnixTime,
) -> Result<Bound<Claims>, VerifyError> {
    let authentic =
        RawEvidence::from(bundle.cpu.clone())
            .parse()?
            .authenticate(&context.anchors, &context.collateral, now)?;
    let devices = authenticate_devices(
        &bundle.devices,
        &bundle.collateral,
        &context.anchors,
        &context.collateral,
        now,
    )?;
    Ok(binding::bind_keyset(
        authentic,
        devices,
        bundle,
        challenge,
        Some(life_at),
    )?)
}

/// Appraises what is proven and makes the result, or the refusal with all failed rules.
pub(crate) fn decide(
    proven: Arc<Proven>,
    in_force: &InForce<'_>,
    now: UnixTime,
) -> Result<AttestationResult, VerifyError> {
    let policy = &in_force.policy;
    let appraisal = appraise(&proven.bound, proven.keyset.as_deref(), policy);
    let mut end_of_age = now.0.saturating_add(policy.max_age_s);
    if let Some(release) = &in_force.release {
        end_of_age = end_of_age.min(release.valid_until().0);
    }
    let valid_until = proven
        .keyset
        .as_ref()
        .map_or(end_of_age, |k| k.not_after.min(end_of_age));
    let accepted = appraisal.is_accepted();
    let result = AttestationResult {
        proven,
        appraisal,
        release: in_force.release.clone(),
        verified_at: now,
        valid_until: UnixTime(valid_until),
    };
    if accepted {
        return Ok(result);
    }
    let appraisal = &result.appraisal;
    Err(VerifyError::Refused(Box::new(Refusal {
        required: appraisal.required(),
        reached: appraisal.tier(),
        failures: appraisal.failures_for(appraisal.required()).cloned().collect(),
        view: result.view(),
    })))
}

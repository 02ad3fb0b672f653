//! What was proven, as the rules of a release need it.

use hanzo_attestation::{Authentic, Claims, DeviceClaims};
use hanzo_policy::{Appraisal, PrivacyTier};
use hanzo_verifier::ear::{EarSubject, TRUSTEE_PROFILE};
use hanzo_verifier::foreign::ForeignReading;
use hanzo_verifier::{AttestationResult, Reading};
use serde_json::{Map, Value, json};

use crate::{KeyPolicy, TenantPolicy};

/// Whose modules may look at the claims.
#[derive(Clone, Copy)]
pub(crate) struct Readers<'a>(pub(crate) &'a KeyPolicy, pub(crate) Option<&'a TenantPolicy>);

impl Readers<'_> {
    fn any(self) -> bool {
        self.0.rego.is_some() || self.1.is_some()
    }
}

/// The part of a verdict that release rules look at. It proves nothing by itself: `authorize` makes it from evidence that it
/// has just verified, and a rehearsal from evidence that answers nobody.
#[derive(Debug)]
pub struct Proof {
    pub(crate) tier: u8,
    pub(crate) simulated: bool,
    pub(crate) reference: Option<String>,
    /// For Rego: the claims of Trustee's attestation token; `null` if there is no module to read them.
    pub(crate) claims: Value,
}

impl Proof {
    pub(crate) fn of_result(result: &AttestationResult, readers: Readers<'_>) -> Self {
        let bound = result.bound();
        let subject = subject(bound.claims(), bound.devices(), result.appraisal(), result.tier());
        Self::of(result.appraisal(), result.tier(), &subject, readers)
    }

    pub(crate) fn of_reading(reading: &Reading, readers: Readers<'_>) -> Self {
        let (bound, tier) = (reading.bound(), reading.tier_if_fresh());
        let subject = subject(bound.claims(), bound.devices(), reading.appraisal(), tier);
        Self::of(reading.appraisal(), tier, &subject, readers)
    }

    /// `None` for devices without a processor.
    pub(crate) fn of_foreign(reading: &ForeignReading, readers: Readers<'_>) -> Option<Self> {
        let tier = reading.tier_if_fresh();
        let subject = subject(reading.claims()?, reading.devices(), reading.appraisal()?, tier);
        Some(Self::of(reading.appraisal()?, tier, &subject, readers))
    }

    /// Of CoCo's sample TEE, as its token tells of it: hardware that nobody recognises, executables that nobody compared
    /// (AR4SI: contraindicated). A policy that refuses samples finds one.
    pub(crate) fn of_sample() -> Self {
        Self {
            claims: json!({"eat_profile": TRUSTEE_PROFILE, "submods": {"cpu0": {
                "ear.status": "contraindicated",
                "ear.trustworthiness-vector": {
                    "configuration": 36, "executables": 33, "hardware": 97, "runtime-opaque": 96,
                },
                "ear.veraison.annotated-evidence": {"sample": {"simulated": true}},
            }}}),
            ..Self::nothing(true)
        }
    }

    /// For rules that do not look at evidence.
    pub(crate) fn nothing(simulated: bool) -> Self {
        Self {
            tier: 0,
            simulated,
            reference: None,
            claims: Value::Null,
        }
    }

    fn of(appraisal: &Appraisal, tier: PrivacyTier, subject: &EarSubject<'_>, readers: Readers<'_>) -> Self {
        Self {
            tier: tier.number(),
            simulated: appraisal.is_simulated(),
            reference: appraisal.reference().map(ToString::to_string),
            claims: match readers.any() {
                true => trustee_claims(subject),
                false => Value::Null,
            },
        }
    }
}

fn subject<'a>(
    claims: &'a Claims,
    devices: &'a [Authentic<DeviceClaims>],
    appraisal: &Appraisal,
    tier: PrivacyTier,
) -> EarSubject<'a> {
    EarSubject {
        claims,
        devices,
        simulated: appraisal.is_simulated(),
        tier,
        // As in a session: what counts there is the measurement alone.
        shows_configuration: false,
    }
}

/// The claims as a policy written for Trustee finds them: `submods.cpu0` with status, vector and annotated evidence under the
/// name of the TEE. A simulated guest shows the member `sample` as well, which is what such policies refuse.
fn trustee_claims(subject: &EarSubject<'_>) -> Value {
    let json = subject.to_json(None).unwrap_or_default();
    let mut submods: Map<String, Value> = serde_json::from_slice(&json).unwrap_or_default();
    let annotated = submods
        .get_mut("cpu0")
        .and_then(|cpu| cpu.get_mut("ear.veraison.annotated-evidence"))
        .and_then(Value::as_object_mut);
    if let Some(annotated) = annotated {
        annotated.insert(subject.claims.kind().to_owned(), evidence(subject.claims));
        if subject.simulated {
            annotated.insert("sample".to_owned(), json!({"simulated": true}));
        }
    }
    json!({"eat_profile": TRUSTEE_PROFILE, "submods": submods})
}

/// Fields under Trustee's own names.
fn evidence(claims: &Claims) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    put("measurement", json!(claims.measurement().to_string()));
    if let Some(snp) = claims.snp() {
        let report = &snp.report;
        let bit = |n: u32| (report.policy >> n) & 1 == 1;
        put("init_data", json!(hex::encode(report.host_data)));
        put("report_data", json!(hex::encode(report.report_data)));
        put("policy_abi_minor", json!(report.policy & 0xff));
        put("policy_abi_major", json!(report.policy >> 8 & 0xff));
        put("policy_smt_allowed", json!(bit(16)));
        put("policy_migrate_ma", json!(bit(18)));
        put("policy_debug_allowed", json!(bit(19)));
        put("policy_single_socket", json!(bit(20)));
        put("platform_smt_enabled", json!(report.platform_info & 1 == 1));
        put("platform_tsme_enabled", json!(report.platform_info >> 1 & 1 == 1));
        put("reported_tcb_bootloader", json!(report.reported_tcb.bootloader));
        put("reported_tcb_tee", json!(report.reported_tcb.tee));
        put("reported_tcb_snp", json!(report.reported_tcb.snp));
        put("reported_tcb_microcode", json!(report.reported_tcb.microcode));
    }
    if let Some(tdx) = claims.tdx() {
        let [r0, r1, r2, r3] = tdx.rtmr.map(hex::encode);
        put("init_data", json!(hex::encode(tdx.mr_config_id)));
        put("report_data", json!(hex::encode(tdx.report_data)));
        put(
            "quote",
            json!({"body": {
                "mr_config_id": hex::encode(tdx.mr_config_id),
                "mr_owner": hex::encode(tdx.mr_owner),
                "mr_owner_config": hex::encode(tdx.mr_owner_config),
                "mr_seam": hex::encode(tdx.mr_seam),
                "mr_td": hex::encode(tdx.mr_td),
                "report_data": hex::encode(tdx.report_data),
                "rtmr_0": r0,
                "rtmr_1": r1,
                "rtmr_2": r2,
                "rtmr_3": r3,
                "tcb_svn": hex::encode(tdx.tee_tcb_svn),
                "td_attributes": hex::encode(tdx.td_attributes.to_le_bytes()),
                "xfam": hex::encode(tdx.xfam.to_le_bytes()),
            }}),
        );
    }
    Value::Object(fields)
}

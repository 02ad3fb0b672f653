//! GPUs: alone, and in an RCAR session, whose additional evidence the processor signs.

use hanzo_attestation::binding::RcarRuntime;
use hanzo_attestation::bundle::SnpEvidence;
use hanzo_attestation::foreign::{ForeignEvidence, ForeignFormat, Supplied};
use hanzo_attestation::{Anchors, Digest256, Digest384, RawEvidence};
use hanzo_policy::PrivacyTier;
use hanzo_simulated_tee::{DeviceSpec, LaunchSpec, SimulatedDevice, SimulatedNvidia, SimulatedProcessor};
use hanzo_verifier::foreign::verify_foreign;
use hanzo_verifier::verify_rcar;
use serde_json::{Value, json};

use crate::*;

#[test]
fn a_lone_hopper_is_genuine_and_tier_0_whatever_it_shows() {
    let Some(report) = vector("nvidia/hopper_550_90.report.bin") else {
        return;
    };
    let supplied = Supplied {
        device_certificates: vector("nvidia/hopper_550_90.chain.pem"),
        ..Supplied::default()
    };
    let drawn = hex::decode("931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb").unwrap();
    let format = ForeignFormat::NvidiaReport;
    let reading = verify(format, &report, &supplied, &nonce(&drawn), JULY_2026).unwrap();
    assert!(reading.challenged() && !reading.simulated());
    assert_eq!(reading.tier_if_fresh(), PrivacyTier::Open);
    assert!(reading.claims().is_none() && reading.appraisal().is_none());
    let view = reading.view();
    assert_eq!(
        (view.devices[0].arch, view.devices[0].rim, view.devices[0].ocsp),
        ("hopper", "missing", "no-answer")
    );
    let codes: Vec<_> = view.verdict.failures.iter().map(|f| f.code).collect();
    assert!(codes.starts_with(&["tier.devices_alone"; 2]), "{codes:?}");
    assert!(
        codes.contains(&"gpu.not_admitted"),
        "the rules of GPUs are reported: {codes:?}"
    );

    let evidence = ForeignEvidence::read(format, &report, &supplied).unwrap();
    let refused = verify_foreign(&evidence, &nonce(&drawn), &context(PrivacyTier::GpuCc), JULY_2026).unwrap_err();
    assert_eq!((refused.code(), refused.exit_code()), ("tier.devices_alone", 40));
    let outcome = verify(format, &report, &supplied, &report_data(&[0; 64]), JULY_2026);
    assert_eq!(
        code(outcome),
        "binding.foreign.report_data",
        "a device signs no REPORT_DATA"
    );
    let mut changed = report;
    changed[1000] ^= 1;
    assert_ne!(code(verify(format, &changed, &supplied, &nothing(), JULY_2026)), "read");
}

struct Machine {
    processor: SimulatedProcessor,
    vendor: SimulatedNvidia,
}

impl Machine {
    fn new() -> Self {
        Self {
            processor: SimulatedProcessor::for_tests(),
            vendor: SimulatedNvidia::for_tests(),
        }
    }

    fn context(&self) -> VerifierContext {
        let mut context = context(PrivacyTier::Open);
        context.anchors = Anchors::vendor()
            .with_simulator_ark(self.processor.ark_der().to_vec())
            .with_simulator_nvidia_root(self.vendor.device_root_der().to_vec());
        context
    }

    fn gpu(&self, number: u16) -> SimulatedDevice {
        self.vendor.device(DeviceSpec::hopper(number))
    }

    fn evidence(&self, report_data: &[u8; 64]) -> SnpEvidence {
        let guest = LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32]));
        self.processor.launch(guest).evidence(report_data)
    }
}

/// `additional_evidence` of the GPUs, answering `nonce`.
fn additional(gpus: &[&SimulatedDevice], nonce: &[u8; 32]) -> String {
    let list: Vec<Value> = gpus
        .iter()
        .map(|gpu| {
            let evidence = gpu.evidence(nonce);
            json!({"arch": "HOPPER", "evidence": evidence.report, "certificate": evidence.certificates})
        })
        .collect();
    json!({"nvidia": {"device_evidence_list": list}}).to_string()
}

fn key() -> Value {
    json!({"alg": "hanzo-hpke-x-wing", "kty": "AKP", "pub": "b3Vycw"})
}

#[test]
fn a_session_s_gpus_are_verified_out_of_the_string_that_the_processor_signed() {
    let (machine, key) = (Machine::new(), key());
    let plain = RcarRuntime {
        additional_evidence: "",
        nonce: "bm9uY2U=",
        tee_pubkey: &key,
    };
    let device_nonce = plain.device_nonce().unwrap();
    let (first, second) = (machine.gpu(1), machine.gpu(2));
    let judge = |additional: &str, signed_over: &str| {
        let runtime = |additional_evidence| RcarRuntime {
            additional_evidence,
            ..plain
        };
        let evidence = machine.evidence(&runtime(signed_over).report_data().unwrap());
        verify_rcar(
            RawEvidence::Snp(evidence),
            &runtime(additional),
            &machine.context(),
            SEPTEMBER_2025,
        )
    };
    let both = additional(&[&first, &second], &device_nonce);
    let result = judge(&both, &both).unwrap();
    assert_eq!(result.bound().devices().len(), 2);
    assert!(result.simulated());

    let verdict =
        |additional: &str, signed_over: &str| judge(additional, signed_over).map_or_else(|e| e.code(), |_| "ok");
    let one = additional(&[&first], &device_nonce);
    assert_eq!(
        verdict(&one, &both),
        "binding.rcar_report_data",
        "a GPU left out on the way"
    );
    assert_eq!(verdict("", &both), "binding.rcar_report_data", "all of them left out");
    let stale = additional(&[&first], &[9; 32]);
    assert_eq!(
        verdict(&stale, &stale),
        "binding.rcar_device_nonce",
        "a GPU that answered another session"
    );
    let twice = additional(&[&first, &first], &device_nonce);
    assert_eq!(verdict(&twice, &twice), "device.duplicate", "one GPU for two");
    let unknown = "{\"sampledevice\":{}}";
    assert_eq!(
        verdict(unknown, unknown),
        "foreign.shape",
        "a kind that nobody verifies is not skipped"
    );
    let mut bad: Value = serde_json::from_str(&one).unwrap();
    bad["nvidia"]["device_evidence_list"][0]["arch"] = json!("BLACKWELL");
    assert_ne!(
        verdict(&bad.to_string(), &bad.to_string()),
        "ok",
        "a Hopper that calls itself Blackwell"
    );
}

#[test]
fn a_composite_body_of_the_stock_protocol_is_read_the_same_way() {
    let (machine, key) = (Machine::new(), key());
    let plain = RcarRuntime {
        additional_evidence: "",
        nonce: "bm9uY2U=",
        tee_pubkey: &key,
    };
    let both = additional(&[&machine.gpu(1), &machine.gpu(2)], &plain.device_nonce().unwrap());
    let runtime = RcarRuntime {
        additional_evidence: &both,
        ..plain
    };
    let evidence = machine.evidence(&runtime.report_data().unwrap());
    let body = |additional: &str| {
        json!({
            "runtime-data": {"nonce": "bm9uY2U=", "tee-pubkey": key},
            "tee-evidence": {
                "primary_evidence": {
                    "attestation_report": evidence.report,
                    "cert_chain": [
                        {"cert_type": "VCEK", "data": evidence.vek.0},
                        {"cert_type": "ASK", "data": machine.processor.ask_der()},
                    ],
                },
                "additional_evidence": additional,
            },
        })
        .to_string()
    };
    let judge = |body: &str, expected: &ForeignExpectation| {
        let evidence = ForeignEvidence::read(ForeignFormat::Rcar, body.as_bytes(), &Supplied::default())?;
        verify_foreign(&evidence, expected, &machine.context(), SEPTEMBER_2025)
    };
    let reading = judge(&body(&both), &nonce(b"nonce")).unwrap();
    assert!(reading.challenged() && reading.simulated());
    assert_eq!((reading.devices().len(), reading.view().devices.len()), (2, 2));
    assert_eq!(code(judge(&body(&both), &nonce(b"other"))), "binding.foreign.nonce");
    assert_eq!(
        code(judge(&body(""), &nonce(b"nonce"))),
        "binding.foreign.rule",
        "devices left out"
    );
}

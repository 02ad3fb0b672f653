//! Serialised evidence of NVIDIA's SDK: every published file.

use hanzo_attestation::evidence::authenticate_devices;
use hanzo_attestation::foreign::{ForeignEvidence, ForeignFormat, Supplied};
use hanzo_attestation::{Anchors, Collateral, UnixTime};
use serde_json::{Value, json};

use crate::*;

const FORMAT: ForeignFormat = ForeignFormat::NvidiaSdk;
/// 2026-07-01T00:00:00Z.
const AT: UnixTime = UnixTime(1_782_864_000);

fn judge(bytes: &[u8], expected: &ForeignExpectation) -> &'static str {
    let evidence = match read(FORMAT, bytes) {
        Ok(evidence) => evidence,
        Err(e) => return e.code(),
    };
    of_evidence(&evidence, expected)
}

fn of_evidence(evidence: &ForeignEvidence, expected: &ForeignExpectation) -> &'static str {
    assert!(evidence.primary().is_none());
    let devices = authenticate_devices(
        evidence.devices(),
        evidence.stapled(),
        &Anchors::vendor(),
        &Collateral::default(),
        AT,
    );
    match devices {
        Ok(devices) => binding::check_foreign_nonces(&devices, evidence.rule(), expected)
            .map_or_else(|e| e.code(), |()| "authentic"),
        Err(e) => e.code(),
    }
}

#[test]
fn every_published_file_gets_its_verdict() {
    let Some(folder) = vectors() else { return };
    let expected = [
        ("hopper_590_nvat.json", 1, "authentic"),
        ("hopper_certhold_nvat.json", 1, "authentic"),
        ("hopper_multi4_nvat.json", 4, "authentic"),
        ("ppcie_4switch.json", 4, "authentic"),
        ("ppcie_8gpu.json", 8, "authentic"),
        ("switch_multi4_nvat.json", 4, "device.duplicate"),
    ];
    let files = std::fs::read_dir(folder.join("nvidia/json")).unwrap().count();
    assert_eq!(files, expected.len());
    for (name, devices, verdict) in expected {
        let bytes = vector(&format!("nvidia/json/{name}")).unwrap();
        assert_eq!(read(FORMAT, &bytes).unwrap().devices().len(), devices, "{name}");
        assert_eq!(judge(&bytes, &ForeignExpectation::default()), verdict, "{name}");
    }
}

#[test]
fn the_nonce_beside_the_evidence_counts_for_nothing() {
    let Some(bytes) = vector("nvidia/json/hopper_590_nvat.json") else {
        return;
    };
    let drawn = hex::decode("e97b23a1718095a0e9e35edca810768c70a6a5a389b705e753b197912bc11576").unwrap();
    assert_eq!(judge(&bytes, &nonce(&drawn)), "authentic");
    assert_eq!(judge(&bytes, &nonce(&[0; 32])), "binding.foreign.nonce");
    let mut value: Value = serde_json::from_slice(&bytes).unwrap();
    value[0]["nonce"] = json!("00".repeat(32));
    let relabelled = value.to_string().into_bytes();
    assert_eq!(judge(&relabelled, &nonce(&[0; 32])), "binding.foreign.device_nonce");
}

#[test]
fn entries_of_another_shape_are_refused() {
    let Some(bytes) = vector("nvidia/json/ppcie_4switch.json") else {
        return;
    };
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(&bytes).unwrap();
        edit(&mut value);
        code(FORMAT, value.to_string().as_bytes())
    };
    assert_eq!(edited(&|_| {}), "read");
    assert_eq!(
        edited(&|v| v[1]["nonce"] = json!("00".repeat(32))),
        "foreign.recomputed",
        "two nonces"
    );
    assert_eq!(edited(&|v| v[0]["arch"] = json!("VOLTA")), "foreign.unsupported");
    assert_eq!(
        edited(&|v| v[0]["certificate"] = json!(b64(b"no PEM"))),
        "foreign.field"
    );
    assert_eq!(edited(&|v| v[0]["more"] = json!(1)), "foreign.shape");
    assert_eq!(edited(&|v| *v = json!([])), "foreign.field");
    assert_eq!(
        edited(&|v| {
            let one = v[0].clone();
            *v = Value::Array(vec![one; 33]);
        }),
        "foreign.field",
        "more than 32"
    );
}

#[test]
fn a_lone_report_needs_its_chain_and_states_the_nonce_that_it_signed() {
    let Some(report) = vector("nvidia/hopper_550_90.report.bin") else {
        return;
    };
    let format = ForeignFormat::NvidiaReport;
    assert_eq!(code(format, &report), "foreign.missing");
    let with = |chain: &str| Supplied {
        device_certificates: vector(chain),
        ..Supplied::default()
    };
    let drawn = hex::decode("931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb").unwrap();
    for (report, chain, arch) in [
        ("hopper_550_90.report.bin", "hopper_550_90.chain.pem", "hopper"),
        ("blackwell_575_32.report.bin", "blackwell_575_32.chain.pem", "blackwell"),
        ("switch_ls10.report.bin", "switch_ls10.chain.pem", "ls10"),
    ] {
        let report = vector(&format!("nvidia/{report}")).unwrap();
        let evidence = ForeignEvidence::read(format, &report, &with(&format!("nvidia/{chain}"))).unwrap();
        assert_eq!(evidence.devices()[0].arch, arch);
        assert_eq!(of_evidence(&evidence, &nonce(&drawn)), "authentic", "{arch}");
        assert_eq!(
            of_evidence(&evidence, &nonce(&[0; 32])),
            "binding.foreign.nonce",
            "{arch}"
        );
    }
    let bad = vector("nvidia/hopper_badsig.report.bin").unwrap();
    let evidence = ForeignEvidence::read(format, &bad, &with("nvidia/hopper_badsig.chain.pem")).unwrap();
    assert_ne!(of_evidence(&evidence, &ForeignExpectation::default()), "authentic");
}

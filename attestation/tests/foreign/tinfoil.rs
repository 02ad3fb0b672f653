//! Tinfoil's attestation document, version 3, around a simulated guest's report.

use hanzo_attestation::foreign::ForeignFormat;
use serde_json::{Value, json};

use crate::*;

const FORMAT: ForeignFormat = ForeignFormat::TinfoilV3;
const NONCE: [u8; 32] = [0x5a; 32];

fn uri(rest: &str) -> String {
    format!("https://tinfoil.sh/{rest}")
}

fn report_data_of(label: &str, nonce: &[u8; 32], keys: &[u8], devices: &[u8]) -> [u8; 64] {
    let digest = Digest256::of(
        &[
            label.as_bytes(),
            nonce,
            &Digest256::of(keys).0,
            &Digest256::of(devices).0,
        ]
        .concat(),
    );
    let mut out = [0; 64];
    out[..32].copy_from_slice(&digest.0);
    out
}

fn keys() -> Value {
    json!({"format": uri("crypto-material/v1"), "items": [
        {"id": "tls", "format": uri("key/spki-fp-sha256/v1"), "data": "aa".repeat(32)},
        {"id": "hpke", "format": uri("key/x25519-hpke/v1"), "data": "bb".repeat(32)},
    ]})
}

fn document(keys: &Value, devices: &Value, label: &str) -> Value {
    let (keys, devices) = (keys.to_string(), devices.to_string());
    let report_data = report_data_of(label, &NONCE, keys.as_bytes(), devices.as_bytes());
    let (report, vek) = simulated(&report_data);
    json!({
        "format": uri("predicate/attestation/v3"),
        "challenge": {
            "nonce": hex::encode(NONCE), "report_data": hex::encode(report_data),
            "report_data_algorithm": uri("report-data/v1"),
        },
        "cpu_evidence": {
            "format": uri("format/sev-snp-report/v1"), "report_base64": b64(&report),
            "endorsed": {
                "crypto_material_hash": Digest256::of(keys.as_bytes()).to_string(),
                "device_evidence_hash": Digest256::of(devices.as_bytes()).to_string(),
            },
        },
        "crypto_material": b64(keys.as_bytes()),
        "device_evidence": b64(devices.as_bytes()),
        "collateral": [{
            "id": "vcek", "role": "endorsement", "format": uri("collateral/amd-vcek/v1"), "subjects": ["cpu"],
            "data": {"vcek_der_base64": b64(&vek), "cert_chain_pem": pem(SimulatedProcessor::for_tests().ask_der())},
        }, {
            "id": "code", "role": "reference-values", "format": uri("collateral/sigstore-code/v1"), "data": {"repo": "x"},
        }],
    })
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", b64(der))
}

fn no_devices() -> Value {
    json!({"format": uri("device-evidence/v1"), "items": []})
}

fn healthy() -> Value {
    document(&keys(), &no_devices(), "https://tinfoil.sh/report-data/v1")
}

fn judge(document: &Value, expected: &ForeignExpectation) -> &'static str {
    match read(FORMAT, document.to_string().as_bytes()) {
        Ok(evidence) => bind_code(&evidence, expected),
        Err(e) => e.code(),
    }
}

#[test]
fn a_document_is_bound_to_the_caller_s_nonce_and_to_its_own_sections() {
    let good = healthy();
    assert_eq!(judge(&good, &nonce(&NONCE)), "bound");
    assert_eq!(judge(&good, &nonce(&[0; 32])), "binding.foreign.nonce");
    let evidence = read(FORMAT, good.to_string().as_bytes()).unwrap();
    let names: Vec<_> = evidence.documents().iter().map(|d| d.name).collect();
    assert_eq!(names, ["crypto_material", "collateral"], "what is not judged is kept");
}

/// The label is in the digest. A guest that leaves it out states a value that its own parts do not give; one that states
/// the right value has not signed it.
#[test]
fn report_data_without_the_label_is_refused_stated_or_not() {
    let mut unlabelled = document(&keys(), &no_devices(), "");
    assert_eq!(judge(&unlabelled, &nonce(&NONCE)), "foreign.recomputed");
    unlabelled["challenge"]["report_data"] = healthy()["challenge"]["report_data"].clone();
    assert_eq!(judge(&unlabelled, &nonce(&NONCE)), "binding.foreign.rule");
}

#[test]
fn each_hash_that_the_document_states_must_be_that_of_its_section() {
    let swapped = json!({"format": uri("crypto-material/v1"), "items": [
        {"id": "tls", "format": uri("key/spki-fp-sha256/v1"), "data": "cc".repeat(32)},
    ]});
    let mut document = healthy();
    document["crypto_material"] = json!(b64(swapped.to_string().as_bytes()));
    assert_eq!(judge(&document, &nonce(&NONCE)), "foreign.recomputed", "a swapped key");
    let hash = Digest256::of(swapped.to_string().as_bytes()).to_string();
    document["cpu_evidence"]["endorsed"]["crypto_material_hash"] = json!(hash);
    assert_eq!(judge(&document, &nonce(&NONCE)), "foreign.recomputed", "with its hash");
    let devices = no_devices().to_string();
    let all = report_data_of(
        "https://tinfoil.sh/report-data/v1",
        &NONCE,
        swapped.to_string().as_bytes(),
        devices.as_bytes(),
    );
    document["challenge"]["report_data"] = json!(hex::encode(all));
    assert_eq!(
        judge(&document, &nonce(&NONCE)),
        "binding.foreign.rule",
        "with everything but the signature"
    );
}

#[test]
fn a_recorded_document_with_the_caller_s_nonce_written_in_is_refused() {
    let mut document = healthy();
    document["challenge"]["nonce"] = json!("11".repeat(32));
    assert_eq!(judge(&document, &nonce(&[0x11; 32])), "foreign.recomputed");
}

#[test]
fn documents_are_read_strictly() {
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut document = healthy();
        edit(&mut document);
        judge(&document, &nonce(&NONCE))
    };
    type Edit = fn(&mut Value);
    let cases: [(&str, Edit, &str); 9] = [
        ("unknown member", |d| d["domain"] = json!("x"), "foreign.shape"),
        (
            "no collateral",
            |d| drop(d.as_object_mut().unwrap().remove("collateral")),
            "foreign.shape",
        ),
        (
            "another algorithm",
            |d| d["challenge"]["report_data_algorithm"] = json!("v2"),
            "foreign.field",
        ),
        (
            "upper-case hexadecimal",
            |d| d["challenge"]["nonce"] = json!("5A".repeat(32)),
            "foreign.field",
        ),
        (
            "a short nonce",
            |d| d["challenge"]["nonce"] = json!("5a".repeat(31)),
            "foreign.field",
        ),
        (
            "line breaks in base64",
            |d| {
                let text = d["crypto_material"].as_str().unwrap().to_owned();
                d["crypto_material"] = json!(format!("{}\n{}", &text[..4], &text[4..]));
            },
            "foreign.field",
        ),
        (
            "another CPU format",
            |d| d["cpu_evidence"]["format"] = json!("x"),
            "foreign.unsupported",
        ),
        (
            "an id twice",
            |d| d["collateral"][1]["id"] = json!("vcek"),
            "foreign.field",
        ),
        (
            "no VCEK",
            |d| drop(d["collateral"].as_array_mut().unwrap().remove(0)),
            "foreign.missing",
        ),
    ];
    for (why, edit, expected) in cases {
        assert_eq!(edited(&edit), expected, "{why}");
    }
    let twice = healthy()
        .to_string()
        .replacen("\"format\":", "\"format\":\"x\",\"format\":", 1);
    assert_eq!(code(FORMAT, twice.as_bytes()), "foreign.shape", "a member named twice");
    for (keys, why) in [
        (json!({"format": "x", "items": []}), "another section format"),
        (
            json!({"format": uri("crypto-material/v1"), "items": [
                {"id": "tls", "format": uri("key/spki-fp-sha256/v1"), "data": "aa"}]}),
            "a key that is too short",
        ),
        (
            json!({"format": uri("crypto-material/v1"), "items": [
                {"id": "a", "format": "x", "data": "aa"}, {"id": "a", "format": "x", "data": "bb"}]}),
            "two keys of one id",
        ),
        (
            json!({"format": uri("crypto-material/v1"), "items": [{"id": "a", "format": "x", "data": "abc"}]}),
            "an odd number of digits",
        ),
    ] {
        let document = document(&keys, &no_devices(), "https://tinfoil.sh/report-data/v1");
        assert_eq!(judge(&document, &nonce(&NONCE)), "foreign.field", "{why}");
    }
}

#[test]
fn gpus_answer_the_document_s_nonce_and_no_other_device_is_read() {
    let label = "https://tinfoil.sh/report-data/v1";
    let other = json!({"format": uri("device-evidence/v1"), "items": [
        {"id": "clock", "kind": "guest-clock", "vendor": "tinfoil", "format": uri("format/guest-clock/v1"), "evidence": {}},
    ]});
    assert_eq!(
        judge(&document(&keys(), &other, label), &nonce(&NONCE)),
        "foreign.field"
    );
    let Some(sdk) = vector("nvidia/json/hopper_590_nvat.json") else {
        return;
    };
    let sdk: Value = serde_json::from_slice(&sdk).unwrap();
    let gpu = json!({"format": uri("device-evidence/v1"), "items": [
        {"id": "gpu0", "kind": "gpu", "vendor": "nvidia", "format": uri("format/nvidia-gpu-evidence/v1"),
         "evidence": sdk[0]},
    ]});
    assert_eq!(
        judge(&document(&keys(), &gpu, label), &nonce(&NONCE)),
        "foreign.recomputed",
        "a GPU that answered somebody else"
    );
}

#[test]
fn version_2_is_recognised_and_refused() {
    let v2 = json!({"format": uri("predicate/sev-snp-guest/v2"), "body": "H4sI"}).to_string();
    assert_eq!(
        hanzo_attestation::foreign::detect(v2.as_bytes()),
        Some(ForeignFormat::TinfoilV2)
    );
    assert_eq!(code(ForeignFormat::TinfoilV2, v2.as_bytes()), "foreign.unsupported");
}

#[test]
fn intel_s_captured_answers_become_collateral_without_a_byte_changed() {
    let answer = |url: &str, header: &str, body: &[u8]| json!({"url": url, "headers": {header: ["-----BEGIN%20CERTIFICATE-----%0A"]}, "body_base64": b64(body)});
    let signature = "00".repeat(64);
    let tcb = format!("{{\"tcbInfo\":{{\"id\":\"TDX\", \"x\":1}},\"signature\":\"{signature}\"}}");
    let qe = format!("{{\"enclaveIdentity\":{{\"id\":\"TD_QE\"}},\"signature\":\"{signature}\"}}");
    let base = "https://api.trustedservices.intel.com";
    let answers = vec![
        answer(
            &format!("{base}/tdx/certification/v4/tcb?fmspc=0"),
            "Tcb-Info-Issuer-Chain",
            tcb.as_bytes(),
        ),
        answer(
            &format!("{base}/tdx/certification/v4/qe/identity"),
            "SGX-Enclave-Identity-Issuer-Chain",
            qe.as_bytes(),
        ),
        answer(
            &format!("{base}/sgx/certification/v4/pckcrl?ca=platform"),
            "SGX-PCK-CRL-Issuer-Chain",
            b"pck",
        ),
        answer(
            "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der",
            "x",
            b"root",
        ),
    ];
    let with = |answers: Vec<Value>| {
        let mut document = healthy();
        document["cpu_evidence"]["format"] = json!(uri("format/tdx-quote/v1"));
        document["collateral"] = json!([{
            "id": "pcs", "role": "endorsement", "format": uri("collateral/intel-pcs/v1"),
            "data": {"responses": answers},
        }]);
        read(FORMAT, document.to_string().as_bytes())
    };
    let evidence = with(answers.clone()).unwrap();
    let Some(RawEvidence::Tdx(tdx)) = evidence.primary() else {
        panic!()
    };
    let collateral = tdx.collateral.as_ref().unwrap();
    assert_eq!(
        collateral.tcb_info, "{\"id\":\"TDX\", \"x\":1}",
        "the signed text as it stands"
    );
    assert_eq!(collateral.qe_identity, "{\"id\":\"TD_QE\"}");
    assert_eq!(
        (&collateral.pck_crl.0[..], &collateral.root_ca_crl.0[..]),
        (&b"pck"[..], &b"root"[..])
    );
    assert_eq!(collateral.tcb_info_issuer_chain, "-----BEGIN CERTIFICATE-----\n");
    assert_eq!(with(answers[1..].to_vec()).unwrap_err().code(), "foreign.missing");
    let mut broken = answers;
    broken[0]["body_base64"] = json!(b64(b"{\"tcbInfo\":{}}"));
    assert_eq!(with(broken).unwrap_err().code(), "foreign.field", "unsigned");
}

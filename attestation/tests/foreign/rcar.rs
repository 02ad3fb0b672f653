//! RCAR's `attest`: what must have been signed is recomputed from nonce, key and additional evidence.

use hanzo_attestation::binding::RcarRuntime;
use hanzo_attestation::foreign::{ForeignFormat, devices_of_additional_evidence};
use serde_json::{Value, json};

use crate::coco::report_json;
use crate::*;

const FORMAT: ForeignFormat = ForeignFormat::Rcar;

fn key() -> Value {
    json!({"kty": "EC", "crv": "P-256", "alg": "ECDH-ES+A256KW", "x": "eA", "y": "eQ"})
}

fn body(signed: &[u8; 64], nonce: &str, key: &Value, additional: &str) -> Value {
    let (report, vek) = simulated(signed);
    json!({
        "init-data": null,
        "runtime-data": {"nonce": nonce, "tee-pubkey": key},
        "tee-evidence": {
            "primary_evidence": {
                "attestation_report": report_json(&report),
                "cert_chain": [{"cert_type": "VCEK", "data": vek}],
            },
            "additional_evidence": additional,
        },
    })
}

fn judge(body: &Value, expected: &ForeignExpectation) -> &'static str {
    match read(FORMAT, body.to_string().as_bytes()) {
        Ok(evidence) => bind_code(&evidence, expected),
        Err(e) => e.code(),
    }
}

#[test]
fn nonce_key_and_additional_evidence_are_all_under_the_signature() {
    let (drawn, key) = (b64(&[5; 32]), key());
    let runtime = RcarRuntime {
        additional_evidence: "",
        nonce: &drawn,
        tee_pubkey: &key,
    };
    let signed = runtime.report_data().unwrap();
    let good = body(&signed, &drawn, &key, "");
    assert_eq!(judge(&good, &nonce(&[5; 32])), "bound");
    assert_eq!(judge(&good, &report_data(&signed)), "bound");
    assert_eq!(judge(&good, &nonce(&[6; 32])), "binding.foreign.nonce");

    let mut other_key = key.clone();
    other_key["x"] = json!("eQ");
    for (changed, why) in [
        (body(&signed, &b64(&[6; 32]), &key, ""), "another nonce"),
        (body(&signed, &drawn, &other_key, ""), "another key"),
        (body(&signed, &drawn, &key, "{}"), "other additional evidence"),
    ] {
        let expected = ForeignExpectation::default();
        assert_eq!(judge(&changed, &expected), "binding.foreign.rule", "{why}");
    }
    let mut tail = signed;
    tail[63] = 1;
    assert_eq!(
        judge(&body(&tail, &drawn, &key, ""), &ForeignExpectation::default()),
        "binding.foreign.rule",
        "the padding is compared too"
    );
}

#[test]
fn bodies_of_another_shape_are_refused() {
    let key = key();
    let good = body(&[0; 64], &b64(&[5; 32]), &key, "");
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut body = good.clone();
        edit(&mut body);
        code(FORMAT, body.to_string().as_bytes())
    };
    assert_eq!(edited(&|_| {}), "read");
    assert_eq!(edited(&|b| b["more"] = json!(1)), "foreign.shape");
    assert_eq!(edited(&|b| b["runtime-data"]["nonce"] = json!("@")), "foreign.field");
    let primary = |b: &mut Value, primary: Value| b["tee-evidence"]["primary_evidence"] = primary;
    assert_eq!(
        edited(&|b| primary(b, json!({"svn": "1", "report_data": ""}))),
        "foreign.unsupported"
    );
    assert_eq!(
        edited(&|b| primary(b, json!({"device_evidence_list": []}))),
        "foreign.unsupported",
        "a device is no primary evidence"
    );
    let additional = |b: &mut Value, text: &str| b["tee-evidence"]["additional_evidence"] = json!(text);
    assert_eq!(edited(&|b| additional(b, "{}")), "read");
    assert_eq!(
        edited(&|b| additional(b, "{\"sampledevice\":{}}")),
        "foreign.shape",
        "never skipped"
    );
    assert_eq!(
        edited(&|b| additional(b, "{\"nvidia\":{\"device_evidence_list\":[]}}")),
        "foreign.field"
    );
    assert_eq!(edited(&|b| additional(b, "x")), "foreign.shape");
}

/// The body that the stock client sends with its sample attester: recognised, its digest reached, and refused as evidence.
#[test]
fn the_stock_client_s_digest_is_reached_and_sample_evidence_is_none() {
    let Some(bytes) = vector("kbs/rcar_0.4.0_attest_sample.json") else {
        return;
    };
    assert_eq!(code(FORMAT, &bytes), "foreign.unsupported");
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    let runtime = RcarRuntime {
        additional_evidence: "",
        nonce: body["runtime-data"]["nonce"].as_str().unwrap(),
        tee_pubkey: &body["runtime-data"]["tee-pubkey"],
    };
    let stated = body["tee-evidence"]["primary_evidence"]["report_data"]
        .as_str()
        .unwrap();
    assert_eq!(b64(&runtime.digest().unwrap().0), stated);
}

#[test]
fn devices_of_additional_evidence_are_read_out_of_the_signed_string() {
    assert!(devices_of_additional_evidence("").unwrap().is_empty());
    assert!(devices_of_additional_evidence("{}").unwrap().is_empty());
    let Some(sdk) = vector("nvidia/json/hopper_590_nvat.json") else {
        return;
    };
    let sdk: Value = serde_json::from_slice(&sdk).unwrap();
    let entry = |evidence: &str| {
        json!({"nvidia": {"device_evidence_list": [{
            "arch": "HOPPER", "uuid": "GPU-1", "evidence": evidence, "certificate": sdk[0]["certificate"],
        }]}})
    };
    let base64 = sdk[0]["evidence"].as_str().unwrap();
    let hex = hex::encode(STANDARD.decode(base64).unwrap());
    let from_base64 = devices_of_additional_evidence(&entry(base64).to_string()).unwrap();
    let from_hex = devices_of_additional_evidence(&entry(&hex).to_string()).unwrap();
    assert_eq!(from_base64, from_hex, "older attesters write hexadecimal");
    assert_eq!(from_base64.len(), 1);
}

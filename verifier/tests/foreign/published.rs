//! Evidence of real machines.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hanzo_attestation::bundle::{Base64, TdxCollateral};
use hanzo_attestation::foreign::{ForeignEvidence, ForeignFormat, Supplied};
use hanzo_policy::PrivacyTier;
use hanzo_verifier::foreign::verify_foreign;
use serde_json::{Value, json};

use crate::*;

#[test]
fn trustee_s_genoa_evidence_is_genuine_and_a_policy_without_references_refuses_it() {
    let Some(bytes) = vector("snp/trustee_evidence_v3_genoa.json") else {
        return;
    };
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    let signed: Vec<u8> = serde_json::from_value(document["attestation_report"]["report_data"].clone()).unwrap();
    let none = Supplied::default();
    let verify =
        |expected: &ForeignExpectation| verify(ForeignFormat::CocoSnp, &bytes, &none, expected, SEPTEMBER_2025);
    let reading = verify(&nothing()).unwrap();
    assert!(!reading.challenged() && !reading.simulated());
    assert_eq!(
        reading.tier_if_fresh(),
        PrivacyTier::Open,
        "an empty policy grants nothing"
    );
    assert_eq!(reading.view().verdict.freshness, "none");
    let challenged = verify(&report_data(&signed)).unwrap();
    assert!(challenged.challenged());
    assert_eq!(challenged.view().verdict.freshness, "challenge");
    let mut other = signed;
    other[63] ^= 1;
    assert_eq!(code(verify(&report_data(&other))), "binding.foreign.report_data");

    let evidence = ForeignEvidence::read(ForeignFormat::CocoSnp, &bytes, &none).unwrap();
    let refused = verify_foreign(&evidence, &nothing(), &context(PrivacyTier::CpuTee), SEPTEMBER_2025).unwrap_err();
    assert_eq!(refused.exit_code(), 40);
    assert!(!refused.failures().is_empty());
    assert!(
        refused.failures().iter().all(|f| f.code != "freshness.none"),
        "a reading is judged apart from freshness"
    );
}

/// The evidence of Azure's guests: what the vTPM signed is compared whole, and from version 2 on the paravisor repeats it.
#[test]
fn azure_s_evidence_is_genuine_and_bound_to_what_the_vtpm_signed() {
    let Some(bytes) = vector("az-vtpm/az-snp-vtpm_evidence-v2.json") else {
        return;
    };
    let signed =
        hex::decode("982f5c6e45df0ed3f10b6f60b02f0c8390e281300f3805e2279c16168cd6ae9aa398f647caa2338748cd0fd9f5f819ef")
            .unwrap();
    let format = ForeignFormat::CocoAzSnpVtpm;
    let none = Supplied::default();
    let reading = verify(format, &bytes, &none, &report_data(&signed), JULY_2026).unwrap();
    assert!(reading.challenged() && !reading.simulated());
    let padded = [&signed[..], &[0; 16]].concat();
    assert_eq!(
        code(verify(format, &bytes, &none, &report_data(&padded), JULY_2026)),
        "binding.foreign.report_data",
        "the padded form is another one"
    );
    for name in ["az-snp-vtpm_evidence-v0.json", "az-snp-vtpm_evidence-genoa.json"] {
        let bytes = vector(&format!("az-vtpm/{name}")).unwrap();
        assert_eq!(
            code(verify(format, &bytes, &none, &nothing(), JULY_2026)),
            "read",
            "{name}"
        );
        let mut document: Value = serde_json::from_slice(&bytes).unwrap();
        let byte = &mut document["quote"]["message"][30];
        *byte = json!(byte.as_u64().unwrap() ^ 1);
        let changed = document.to_string();
        let outcome = verify(format, changed.as_bytes(), &none, &nothing(), JULY_2026);
        assert_ne!(code(outcome), "read", "{name} with one bit of the quote changed");
    }
}

/// Version 1 evidence relabelled as version 2 fails where its paravisor did not repeat what was signed.
#[test]
fn a_paravisor_that_does_not_repeat_what_was_signed_is_refused_from_version_2_on() {
    let Some(bytes) = vector("az-vtpm/az-snp-vtpm_evidence-v0.json") else {
        return;
    };
    let v0: Value = serde_json::from_slice(&bytes).unwrap();
    let list = |v: &Value| -> Vec<u8> { serde_json::from_value(v.clone()).unwrap() };
    let url = |bytes: &[u8]| URL_SAFE.encode(bytes);
    let der: Vec<u8> = {
        let pem = v0["vcek"].as_str().unwrap();
        let body: String = pem.lines().filter(|l| !l.starts_with("-----")).collect();
        STANDARD.decode(body).unwrap()
    };
    let pcrs: Vec<String> = v0["quote"]["pcrs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| hex::encode(list(p)))
        .collect();
    let relabelled = |version: u32| {
        json!({
            "version": version,
            "tpm_quote": {
                "message": hex::encode(list(&v0["quote"]["message"])), "pcrs": pcrs,
                "signature": hex::encode(list(&v0["quote"]["signature"])),
            },
            "hcl_report": url(&list(&v0["report"])), "vcek": url(&der),
        })
        .to_string()
    };
    let judge = |version| {
        let none = Supplied::default();
        let bytes = relabelled(version);
        code(verify(
            ForeignFormat::CocoAzSnpVtpm,
            bytes.as_bytes(),
            &none,
            &nothing(),
            JULY_2026,
        ))
    };
    assert_eq!(judge(1), "read");
    assert_eq!(judge(2), "binding.foreign.user_data");
}

#[test]
fn a_plain_tpm_s_quote_is_read_and_its_key_is_anybody_s() {
    let Some(bytes) = vector("az-vtpm/tpm_evidence.json") else {
        return;
    };
    let reading = verify(
        ForeignFormat::CocoTpm,
        &bytes,
        &Supplied::default(),
        &nothing(),
        JULY_2026,
    )
    .unwrap();
    assert_eq!(reading.tier_if_fresh(), PrivacyTier::Open);
}

fn collateral() -> TdxCollateral {
    let document: Value = serde_json::from_slice(&vector("tdx/collateral/tdx_quote_collateral.json").unwrap()).unwrap();
    let text = |key: &str| document[key].as_str().unwrap().to_owned();
    let bytes = |key: &str| Base64(hex::decode(document[key].as_str().unwrap()).unwrap());
    TdxCollateral {
        pck_crl: bytes("pck_crl"),
        pck_crl_issuer_chain: text("pck_crl_issuer_chain"),
        qe_identity: text("qe_identity"),
        qe_identity_issuer_chain: text("qe_identity_issuer_chain"),
        qe_identity_signature: bytes("qe_identity_signature"),
        root_ca_crl: bytes("root_ca_crl"),
        tcb_info: text("tcb_info"),
        tcb_info_issuer_chain: text("tcb_info_issuer_chain"),
        tcb_info_signature: bytes("tcb_info_signature"),
    }
}

#[test]
fn a_tdx_quote_is_genuine_with_intel_s_collateral_and_refused_without() {
    let Some(quote) = vector("tdx/v4_dcapqvl.dat") else {
        return;
    };
    let with = Supplied {
        tdx: Some(collateral()),
        ..Supplied::default()
    };
    let text = STANDARD.encode(&quote);
    let wrapped = json!({"cc_eventlog": null, "quote": text}).to_string();
    let signed = &quote[568..632];
    for (format, bytes) in [
        (ForeignFormat::TdxQuote, &quote[..]),
        (ForeignFormat::CocoTdx, wrapped.as_bytes()),
    ] {
        let reading = verify(format, bytes, &with, &report_data(signed), JULY_2025).unwrap();
        assert!(reading.challenged() && reading.claims().unwrap().tdx().is_some());
        let outcome = verify(format, bytes, &Supplied::default(), &report_data(signed), JULY_2025);
        assert_eq!(code(outcome), "tdx.collateral.missing", "{format}");
        let outcome = verify(format, bytes, &with, &report_data(&[0; 64]), JULY_2025);
        assert_eq!(code(outcome), "binding.foreign.report_data", "{format}");
    }
}

/// dstack states REPORT_DATA beside the quote. Stating another one changes nothing but the verdict.
#[test]
fn what_dstack_states_must_be_what_the_quote_signs() {
    let Some(quote) = vector("tdx/v4_dcapqvl.dat") else {
        return;
    };
    let with = Supplied {
        tdx: Some(collateral()),
        ..Supplied::default()
    };
    let answer = |stated: &[u8]| {
        json!({
            "quote": hex::encode(&quote), "event_log": "[]", "report_data": hex::encode(stated), "vm_config": "{}",
        })
        .to_string()
    };
    let judge = |stated: &[u8]| {
        let bytes = answer(stated);
        code(verify(
            ForeignFormat::DstackQuote,
            bytes.as_bytes(),
            &with,
            &nothing(),
            JULY_2025,
        ))
    };
    assert_eq!(judge(&quote[568..632]), "read");
    assert_eq!(judge(&[0; 64]), "binding.foreign.rule");
    for (name, format) in [
        ("tdx/v4_dstack_tdx-lite-getquote.json", ForeignFormat::DstackQuote),
        (
            "measured-boot/tdx/dstack-tdx-lite-attestation.json",
            ForeignFormat::DstackAttestation,
        ),
    ] {
        let bytes = vector(name).unwrap();
        let outcome = verify(format, &bytes, &Supplied::default(), &nothing(), JULY_2026);
        assert_eq!(
            code(outcome),
            "tdx.collateral.missing",
            "{name}: genuine up to Intel's collateral"
        );
    }
}

/// The statement is honest and the quote genuine, and they have nothing to do with each other.
#[test]
fn a_genuine_quote_of_somebody_else_under_an_honest_aci_statement_is_refused() {
    let Some(quote) = vector("tdx/v4_dcapqvl.dat") else {
        return;
    };
    let keyset = json!({"not_after": JULY_2025.0, "receipt_signing_keys": []});
    let digest = hanzo_attestation::Digest256::of(keyset.to_string().as_bytes());
    let statement = format!(r#"{{"keyset_digest":"sha256:{digest}","nonce":null,"purpose":"aci.report_data.v1"}}"#);
    let report = json!({
        "api_version": "aci/1", "workload_keyset_digest": format!("sha256:{digest}"),
        "attestation": {
            "tee_type": "tdx", "workload_keyset": keyset,
            "report_data": hanzo_attestation::Digest256::of(statement.as_bytes()).to_string(),
            "evidence": {"quote": hex::encode(&quote)},
        },
    })
    .to_string();
    let with = Supplied {
        tdx: Some(collateral()),
        ..Supplied::default()
    };
    let outcome = verify(ForeignFormat::Aci, report.as_bytes(), &with, &nothing(), JULY_2025);
    assert_eq!(
        code(outcome),
        "binding.foreign.rule",
        "a genuine quote of somebody else under an honest statement"
    );
}

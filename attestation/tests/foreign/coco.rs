//! Confidential Containers' evidence: every published document and its nearest refused twin.

use hanzo_attestation::foreign::{ForeignEvidence, ForeignFormat, Supplied};
use hanzo_attestation::snp::REPORT_BYTES;
use hanzo_attestation::{Anchors, Collateral};
use serde_json::{Value, json};

use crate::*;

/// A report as crate `sev` writes it, from the raw bytes: the way back is what is tested.
pub fn report_json(raw: &[u8]) -> Value {
    let u32_at = |at: usize| u32::from_le_bytes(raw[at..at + 4].try_into().unwrap());
    let u64_at = |at: usize| u64::from_le_bytes(raw[at..at + 8].try_into().unwrap());
    let bytes = |at: usize, n: usize| raw[at..at + n].to_vec();
    let turin = raw[0x188] == 0x1a;
    let tcb = |at: usize| match turin {
        true => json!({"fmc": raw[at], "bootloader": raw[at + 1], "tee": raw[at + 2], "snp": raw[at + 3],
                       "microcode": raw[at + 7]}),
        false => json!({"fmc": null, "bootloader": raw[at], "tee": raw[at + 1], "snp": raw[at + 6],
                        "microcode": raw[at + 7]}),
    };
    let version = |at: usize| json!({"build": raw[at], "minor": raw[at + 1], "major": raw[at + 2]});
    let since = |least: u32, value: Value| if u32_at(0) >= least { value } else { Value::Null };
    json!({
        "version": u32_at(0), "guest_svn": u32_at(4), "policy": u64_at(8), "family_id": bytes(0x10, 16),
        "image_id": bytes(0x20, 16), "vmpl": u32_at(0x30), "sig_algo": u32_at(0x34), "current_tcb": tcb(0x38),
        "plat_info": u64_at(0x40), "key_info": u32_at(0x48), "report_data": bytes(0x50, 64),
        "measurement": bytes(0x90, 48), "host_data": bytes(0xc0, 32), "id_key_digest": bytes(0xe0, 48),
        "author_key_digest": bytes(0x110, 48), "report_id": bytes(0x140, 32), "report_id_ma": bytes(0x160, 32),
        "reported_tcb": tcb(0x180), "cpuid_fam_id": since(3, json!(raw[0x188])),
        "cpuid_mod_id": since(3, json!(raw[0x189])), "cpuid_step": since(3, json!(raw[0x18a])),
        "chip_id": bytes(0x1a0, 64), "committed_tcb": tcb(0x1e0), "current": version(0x1e8),
        "committed": version(0x1ec), "launch_tcb": tcb(0x1f0), "launch_mit_vector": since(5, json!(u64_at(0x1f8))),
        "current_mit_vector": since(5, json!(u64_at(0x200))),
        "signature": {"r": bytes(0x2a0, 72), "s": bytes(0x2e8, 72)},
    })
}

fn evidence_json(report: Value, vek: &[u8]) -> Vec<u8> {
    let chain = json!([{"cert_type": "VCEK", "data": vek}, {"cert_type": "ARK", "data": [1, 2, 3]}]);
    json!({"attestation_report": report, "cert_chain": chain})
        .to_string()
        .into_bytes()
}

#[test]
fn trustee_s_genoa_evidence_is_rebuilt_to_the_signed_bytes() {
    let Some(bytes) = vector("snp/trustee_evidence_v3_genoa.json") else {
        return;
    };
    let judge = |bytes: &[u8]| -> &'static str {
        match read(ForeignFormat::CocoSnp, bytes) {
            Ok(evidence) => evidence
                .primary()
                .unwrap()
                .clone()
                .parse()
                .and_then(|p| p.authenticate(&Anchors::vendor(), &Collateral::default(), NOW))
                .map_or_else(|e| e.code(), |_| "authentic"),
            Err(e) => e.code(),
        }
    };
    assert_eq!(judge(&bytes), "authentic");
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(&bytes).unwrap();
        edit(&mut value);
        value.to_string().into_bytes()
    };
    let cases: [(&str, &dyn Fn(&mut Value), &str); 8] = [
        ("no change", &|_| {}, "authentic"),
        (
            "one bit of the measurement",
            &|v| {
                let byte = &mut v["attestation_report"]["measurement"][0];
                *byte = json!(byte.as_u64().unwrap() ^ 1);
            },
            "snp.signature.invalid",
        ),
        (
            "one byte less",
            &|v| {
                v["attestation_report"]["measurement"].as_array_mut().unwrap().pop();
            },
            "foreign.field",
        ),
        (
            "an unknown field",
            &|v| v["attestation_report"]["new"] = json!(0),
            "foreign.shape",
        ),
        ("no certificates", &|v| v["cert_chain"] = Value::Null, "foreign.missing"),
        (
            "the VCEK twice",
            &|v| {
                let vcek = v["cert_chain"][0].clone();
                v["cert_chain"].as_array_mut().unwrap().push(vcek);
            },
            "foreign.field",
        ),
        (
            "the VCEK as VLEK beside it",
            &|v| {
                let mut vlek = v["cert_chain"][0].clone();
                vlek["cert_type"] = json!("VLEK");
                v["cert_chain"].as_array_mut().unwrap().push(vlek);
            },
            "foreign.field",
        ),
        (
            "a number that is no byte",
            &|v| v["attestation_report"]["report_data"][0] = json!(256),
            "foreign.shape",
        ),
    ];
    for (why, edit, expected) in cases {
        assert_eq!(judge(&edited(edit)), expected, "{why}");
    }
    let doubled = String::from_utf8(bytes.clone())
        .unwrap()
        .replacen("\"version\"", "\"version\":2,\"version\"", 1);
    assert_eq!(judge(doubled.as_bytes()), "foreign.shape", "a member named twice");

    let raw = snp_report(&read(ForeignFormat::CocoSnp, &bytes).unwrap()).to_vec();
    let as_text = edited(&|v| v["attestation_report"] = json!(b64(&raw)));
    assert_eq!(judge(&as_text), "authentic", "the raw form");
    let shorter = edited(&|v| v["attestation_report"] = json!(b64(&raw[1..])));
    assert_eq!(judge(&shorter), "foreign.field");
}

#[test]
fn reports_of_every_version_and_product_survive_the_way_through_json() {
    let mut versions = Vec::new();
    let mut same = |raw: &[u8], vek: &[u8]| {
        let document = evidence_json(report_json(raw), vek);
        let evidence = read(ForeignFormat::CocoSnp, &document).unwrap();
        assert_eq!(snp_report(&evidence), raw);
        versions.push(raw[0]);
    };
    let (report, vek) = simulated(&[7; 64]);
    same(&report, &vek);
    if let Some(folder) = vectors() {
        for file in std::fs::read_dir(folder.join("snp")).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|e| e == "bin") {
                let raw = std::fs::read(&path).unwrap();
                assert_eq!(raw.len(), REPORT_BYTES);
                same(&raw, b"vek");
            }
        }
        versions.sort_unstable();
        versions.dedup();
        assert_eq!(versions, [2, 3, 4, 5], "every version is among the published reports");
    }
}

#[test]
fn tdx_evidence_is_a_quote_and_perhaps_a_log() {
    let format = ForeignFormat::CocoTdx;
    let document = |quote: &str, log: Value| json!({"cc_eventlog": log, "quote": quote}).to_string().into_bytes();
    let evidence = read(format, &document(&b64(&[4; 5000]), json!(b64(b"log")))).unwrap();
    assert_eq!(quote(&evidence), [4; 5000]);
    let Some(RawEvidence::Tdx(tdx)) = evidence.primary() else {
        panic!()
    };
    assert_eq!(tdx.event_log.as_ref().unwrap().0, b"log");
    assert_eq!(code(format, &document(&b64(&[4; 5000]), Value::Null)), "read");
    for (bad, why) in [
        (document("@@", Value::Null), "no base64"),
        (document(&b64(&[4; 47]), Value::Null), "too short"),
        (document(&b64(&[4; 16_385]), Value::Null), "too long"),
        (document(&b64(&[4; 5000]), json!("@")), "no base64 in the log"),
    ] {
        assert_eq!(code(format, &bad), "foreign.field", "{why}");
    }
}

#[test]
fn azure_s_evidence_of_every_version_gives_the_same_parts() {
    let read_vector = |format, name: &str| Some(read(format, &vector(&format!("az-vtpm/{name}"))?).unwrap());
    let snp = ForeignFormat::CocoAzSnpVtpm;
    let tdx = ForeignFormat::CocoAzTdxVtpm;
    let Some(v0) = read_vector(snp, "az-snp-vtpm_evidence-v0.json") else {
        return;
    };
    assert!(!v0.rule().user_data_repeats);
    let v2 = read_vector(snp, "az-snp-vtpm_evidence-v2.json").unwrap();
    assert!(
        v2.rule().user_data_repeats,
        "from version 2 on the paravisor repeats what was signed"
    );
    read_vector(snp, "az-snp-vtpm_evidence-genoa.json").unwrap();
    let Some(RawEvidence::AzSnp(v2)) = v2.primary() else {
        panic!()
    };
    assert_eq!(
        (v2.quote.pcrs.len(), v2.quote.signature.0.len(), v2.hcl_report.0.len()),
        (24, 256, 2600)
    );
    let parts = [
        read_vector(tdx, "az-tdx-vtpm_evidence-v0.json").unwrap(),
        read_vector(tdx, "az-tdx-vtpm_evidence-v1.json").unwrap(),
    ]
    .map(|e| match e.primary() {
        Some(RawEvidence::AzTdx(e)) => (e.td.quote.clone(), e.hcl_report.clone(), e.quote.message.clone()),
        other => panic!("{other:?}"),
    });
    assert_eq!(parts[0], parts[1]);
    assert_eq!(parts[0].0.0, vector("az-vtpm/az-tdx-vtpm_td-quote.bin").unwrap());
    let tpm = read_vector(ForeignFormat::CocoTpm, "tpm_evidence.json").unwrap();
    assert!(matches!(tpm.primary(), Some(RawEvidence::Tpm(t)) if t.quote.pcrs.len() == 24));
}

#[test]
fn azure_s_documents_are_refused_when_a_part_is_off() {
    let Some(bytes) = vector("az-vtpm/az-snp-vtpm_evidence-v2.json") else {
        return;
    };
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(&bytes).unwrap();
        edit(&mut value);
        code(ForeignFormat::CocoAzSnpVtpm, value.to_string().as_bytes())
    };
    assert_eq!(edited(&|_| {}), "read");
    assert_eq!(
        edited(&|v| v["version"] = json!(1)),
        "read",
        "version 1 is the same without user-data"
    );
    assert_eq!(edited(&|v| v["version"] = json!(3)), "foreign.unsupported");
    assert_eq!(edited(&|v| v["extra"] = json!(3)), "foreign.shape");
    let shorter = |v: &mut Value| drop(v["tpm_quote"]["pcrs"].as_array_mut().unwrap().pop());
    assert_eq!(edited(&shorter), "foreign.field");
    assert_eq!(edited(&|v| v["tpm_quote"]["pcrs"][0] = json!("00")), "foreign.field");
    assert_eq!(edited(&|v| v["vcek"] = json!("A")), "foreign.field");
}

/// The list always has all 24 registers; one that the quote does not select is anybody's word.
#[test]
fn registers_that_the_quote_leaves_out_are_dropped() {
    let Some(bytes) = vector("az-vtpm/az-snp-vtpm_evidence-v2.json") else {
        return;
    };
    let mut value: Value = serde_json::from_slice(&bytes).unwrap();
    let message = value["tpm_quote"]["message"].as_str().unwrap();
    let selected = message.replace("000b03ffffff", "000b0381ff00");
    assert_ne!(selected, message);
    value["tpm_quote"]["message"] = json!(selected);
    let evidence = read(ForeignFormat::CocoAzSnpVtpm, value.to_string().as_bytes()).unwrap();
    let Some(RawEvidence::AzSnp(evidence)) = evidence.primary() else {
        panic!()
    };
    let indexes: Vec<_> = evidence.quote.pcrs.iter().map(|p| p.index).collect();
    assert_eq!(indexes, [0, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
}

#[test]
fn certificates_that_are_supplied_fill_in_for_those_that_did_not_come() {
    let (report, vek) = simulated(&[7; 64]);
    let document = json!({"attestation_report": report_json(&report), "cert_chain": null}).to_string();
    let supplied = Supplied {
        vek: Some(vek),
        ..Supplied::default()
    };
    let evidence = ForeignEvidence::read(ForeignFormat::CocoSnp, document.as_bytes(), &supplied).unwrap();
    assert!(challenged(&bind(&evidence, &report_data(&[7; 64])).unwrap()));
}

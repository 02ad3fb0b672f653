//! dstack's quote answer, VersionedAttestation and RA-TLS certificates.

use hanzo_attestation::digest::sha512;
use hanzo_attestation::foreign::ForeignFormat;
use rcgen::{CertificateParams, CustomExtension, KeyPair, PublicKeyData as _};
use serde_json::{Value, json};

use crate::*;

#[test]
fn the_quote_answer_gives_the_published_quote() {
    let format = ForeignFormat::DstackQuote;
    let Some(bytes) = vector("tdx/v4_dstack_tdx-lite-getquote.json") else {
        return;
    };
    let evidence = read(format, &bytes).unwrap();
    let published = vector("tdx/v4_dstack_tdx-lite-getquote.dat").unwrap();
    assert_eq!(quote(&evidence), published);
    let signed = &published[48 + 520..48 + 584];
    assert_eq!(
        evidence.rule().report_data.unwrap(),
        signed,
        "stated beside it, and compared with what was signed"
    );
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(&bytes).unwrap();
        edit(&mut value);
        code(format, value.to_string().as_bytes())
    };
    assert_eq!(edited(&|_| {}), "read");
    assert_eq!(edited(&|v| v["quote"] = json!("0x04")), "foreign.field");
    assert_eq!(edited(&|v| v["report_data"] = json!("00")), "foreign.field");
    assert_eq!(edited(&|v| v["more"] = json!("00")), "foreign.shape");
}

#[test]
fn version_0_is_read_whole_or_not_at_all() {
    let format = ForeignFormat::DstackAttestation;
    let Some(bytes) = vector("measured-boot/tdx/dstack-tdx-lite-attestation.json") else {
        return;
    };
    let wrapped: Value = serde_json::from_slice(&bytes).unwrap();
    let scale = hex::decode(wrapped["attestation"].as_str().unwrap()).unwrap();
    let published = vector("tdx/v4_dstack_tdx-lite-getquote.dat").unwrap();
    for form in [&bytes, &scale] {
        let evidence = read(format, form).unwrap();
        assert_eq!(quote(&evidence), published);
        assert_eq!(evidence.rule().report_data.unwrap(), published[568..632]);
    }
    let mut longer = scale.clone();
    longer.push(0);
    assert_eq!(code(format, &longer), "foreign.field", "a trailing byte");
    for cut in [1, 2, 4, 5000, scale.len() - 1] {
        assert_eq!(code(format, &scale[..cut]), "foreign.field", "cut at {cut}");
    }
    let mut nitro = scale;
    nitro[1] = 2;
    assert_eq!(code(format, &nitro), "foreign.unsupported");
}

/// MessagePack as serde writes it.
fn pack(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => vec![0xc0],
        Value::Bool(b) => vec![0xc2 + u8::from(*b)],
        Value::Number(n) => match n.as_u64().unwrap() {
            n @ 0..=127 => vec![n as u8],
            n @ 128..=255 => vec![0xcc, n as u8],
            n => [&[0xce][..], &(n as u32).to_be_bytes()].concat(),
        },
        Value::String(s) => [&[0xda][..], &(s.len() as u16).to_be_bytes(), s.as_bytes()].concat(),
        Value::Array(list) => {
            let head = [&[0xdc][..], &(list.len() as u16).to_be_bytes()].concat();
            head.into_iter().chain(list.iter().flat_map(pack)).collect()
        }
        Value::Object(map) => {
            let mut out = vec![0x80 + map.len() as u8];
            for (key, value) in map {
                out.extend(pack(&json!(key)));
                out.extend(pack(value));
            }
            out
        }
    }
}

fn version_1(signed: &[u8; 64], stated: &[u8; 64]) -> Value {
    let (report, vek) = simulated(signed);
    let ask = SimulatedProcessor::for_tests().ask_der().to_vec();
    json!({
        "version": 1,
        "platform": {"kind": "sev-snp", "data": {"report": report, "cert_chain": [vek, ask], "mr_config": "{}"}},
        "stack": {"kind": "dstack", "data": {"report_data": stated.to_vec(), "runtime_events": [], "config": "{}"}},
    })
}

#[test]
fn version_1_is_read_and_what_it_states_must_be_what_was_signed() {
    let format = ForeignFormat::DstackAttestation;
    let signed = [7; 64];
    let evidence = read(format, &pack(&version_1(&signed, &signed))).unwrap();
    assert!(challenged(&bind(&evidence, &report_data(&signed)).unwrap()));
    let unchallenged = bind(&evidence, &ForeignExpectation::default()).unwrap();
    assert!(
        !challenged(&unchallenged),
        "what the document states itself is no challenge"
    );
    let lying = read(format, &pack(&version_1(&signed, &[8; 64]))).unwrap();
    assert_eq!(
        bind_code(&lying, &ForeignExpectation::default()),
        "binding.foreign.rule"
    );
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut value = version_1(&signed, &signed);
        edit(&mut value);
        code(format, &pack(&value))
    };
    assert_eq!(edited(&|v| v["version"] = json!(2)), "foreign.field");
    assert_eq!(edited(&|v| v["more"] = json!(2)), "foreign.field");
    assert_eq!(
        edited(&|v| v["platform"]["kind"] = json!("nitro-enclave")),
        "foreign.unsupported"
    );
    assert_eq!(
        edited(&|v| v["platform"]["data"]["cert_chain"] = json!([])),
        "foreign.missing"
    );
    assert_eq!(
        edited(&|v| v["stack"]["data"]["report_data"] = json!([1])),
        "foreign.field"
    );
    let good = pack(&version_1(&signed, &signed));
    for cut in [1, 10, good.len() - 1] {
        assert_eq!(code(format, &good[..cut]), "foreign.field", "cut at {cut}");
    }
    let huge = [&[0x83, 0xdf][..], &[0xff; 4]].concat();
    assert_eq!(
        code(format, &huge),
        "foreign.field",
        "a length that is not there is not allocated"
    );
}

fn octets(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len();
    assert!((256..65_536).contains(&length));
    [&[0x04, 0x82, (length >> 8) as u8, length as u8], bytes].concat()
}

fn certificate(key: &KeyPair, extensions: &[(u64, Vec<u8>)]) -> rcgen::Certificate {
    let mut params = CertificateParams::new(vec!["node.example".into()]).unwrap();
    for (number, content) in extensions {
        let oid = [1, 3, 6, 1, 4, 1, 62397, 1, *number];
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(&oid, content.clone()));
    }
    params.self_signed(key).unwrap()
}

fn spki_report_data(key: &KeyPair) -> [u8; 64] {
    sha512(&[b"ratls-cert:", key.subject_public_key_info().as_slice()].concat())
}

#[test]
fn a_certificate_s_evidence_signs_the_certificate_s_key() {
    let format = ForeignFormat::DstackRaTls;
    let (ours, theirs) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let signed = spki_report_data(&ours);
    let extension = |stated: &[u8; 64]| vec![(8, octets(&pack(&version_1(&signed, stated))))];
    let good = certificate(&ours, &extension(&signed));
    for bytes in [good.der().to_vec(), good.pem().into_bytes()] {
        let evidence = read(format, &bytes).unwrap();
        bind(&evidence, &ForeignExpectation::default()).unwrap();
        assert!(challenged(&bind(&evidence, &report_data(&signed)).unwrap()));
    }

    let relayed = certificate(&theirs, &extension(&signed));
    assert_eq!(
        code(format, relayed.der()),
        "foreign.recomputed",
        "another key under the same evidence"
    );
    let relabelled = certificate(&theirs, &extension(&spki_report_data(&theirs)));
    let evidence = read(format, relabelled.der()).unwrap();
    assert_eq!(
        bind_code(&evidence, &ForeignExpectation::default()),
        "binding.foreign.rule",
        "with the statement adapted the signature still says another key"
    );
    let plain = certificate(&ours, &[]);
    assert_eq!(code(format, plain.der()), "foreign.missing", "no evidence");
    assert_eq!(code(format, &good.der()[1..]), "foreign.field", "no certificate");
    let unwrapped = certificate(&ours, &[(8, pack(&version_1(&signed, &signed)))]);
    assert_eq!(code(format, unwrapped.der()), "foreign.field", "not in an OCTET STRING");
    let twice = certificate(&ours, &[extension(&signed), extension(&signed)].concat());
    assert_eq!(code(format, twice.der()), "foreign.field", "an extension twice");
}

#[test]
fn the_older_extension_carries_the_bare_quote() {
    let key = KeyPair::generate().unwrap();
    let bytes = certificate(&key, &[(1, octets(&[4; 5000])), (2, octets(&[b' '; 300]))]);
    let evidence = read(ForeignFormat::DstackRaTls, bytes.der()).unwrap();
    assert_eq!(quote(&evidence), [4; 5000]);
    assert_eq!(evidence.rule().report_data, Some(spki_report_data(&key)));
    let names: Vec<_> = evidence.documents().iter().map(|d| d.name).collect();
    assert_eq!(names, ["spki", "event_log"]);
}

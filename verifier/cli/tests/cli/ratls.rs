//! `hanzo-verify ratls`: certificates that carry evidence, from outside.

use hanzo_channel::TlsIdentity;

use super::*;

/// A certificate over the key of `seed` with the files' bundle in it, after `edit`.
fn certificate(files: &Files, seed: u8, edit: impl FnOnce(&mut Bundle)) -> Vec<u8> {
    let mut bundle = Bundle::parse(&files.bundle).unwrap();
    edit(&mut bundle);
    let mut tls = TlsIdentity::from_seed(&[seed; 32]).unwrap();
    tls.carry_evidence(&bundle.canonical().unwrap()).unwrap();
    tls.evidence_certificate().unwrap().to_vec()
}

/// The bundle of a guest whose TLS key is that of `seed`.
fn keyed(files: &Files, seed: u8) -> Bundle {
    let processor = SimulatedProcessor::for_tests();
    let mut bundle = Bundle::parse(&files.bundle).unwrap();
    bundle.keyset.tls_spki_sha256 = TlsIdentity::from_seed(&[seed; 32]).unwrap().spki_sha256();
    let statement = Statement::for_cpu(bundle.keyset.digest().unwrap(), bundle.nonce, Statement::no_devices());
    let guest = processor.launch(LaunchSpec::new(IMAGE, bundle.keyset.config_digest));
    let guest = guest.with_crl(processor.crl_der(UnixTime(files.now)));
    bundle.cpu = CpuEvidence::Snp(guest.evidence(&statement.report_data().unwrap()));
    bundle.freshness = None;
    bundle
}

const LINE: &str = "--policy policy.toml --simulator-root ark.der";

#[test]
fn a_certificate_s_evidence_is_judged_apart_from_freshness_and_bound_to_its_key() {
    let mut files = Files::new();
    files.bundle = keyed(&files, 3).canonical().unwrap();
    let good = certificate(&files, 3, |_| ());
    files.put("leaf.der", &good);
    let text = base64::engine::general_purpose::STANDARD.encode(&good);
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    files.put("leaf.pem", pem.as_bytes());
    for file in ["leaf.der", "leaf.pem"] {
        let ran = files.run(&format!("ratls {file} {LINE}"));
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.out.starts_with("READ: the evidence reaches tier 2"), "{}", ran.out);
        assert!(ran.out.contains("SIMULATED") && ran.out.contains("none: nothing that the caller drew"));
    }
    let json: Value = serde_json::from_str(&files.run(&format!("--json ratls leaf.der {LINE}")).out).unwrap();
    assert_eq!(
        (&json["accepted"], &json["read"]),
        (&Value::Bool(false), &Value::Bool(true))
    );
    assert_eq!(json["verdict"]["freshness"], "none");

    let refused = |what: &str, der: Vec<u8>, code: &str, exit: i32| {
        files.put("twin.der", &der);
        let ran = files.run(&format!("ratls twin.der {LINE}"));
        assert_eq!(ran.code, exit, "{what}: {}", ran.err);
        assert!(ran.err.contains(code), "{what}: {}", ran.err);
    };
    // The genuine evidence of this guest in the certificate of somebody else.
    refused(
        "the key swapped",
        certificate(&files, 4, |_| ()),
        "ratls.spki_mismatch",
        30,
    );
    let mut altered = good.clone();
    let at = altered.windows(8).position(|w| w == b"\"keyset\"").unwrap() + 20;
    altered[at] ^= 1;
    refused("the extension altered", altered, "ratls.signature", 20);
    let swapped_inside = certificate(&files, 3, |b| b.keyset.not_after += 1);
    refused(
        "another keyset under this evidence",
        swapped_inside,
        "binding.report_data",
        30,
    );
    refused("no certificate", b"{}".to_vec(), "ratls.certificate", 10);
    // A policy that asks for more refuses here as everywhere.
    let mut strict = files.policy.clone();
    strict.minimum_tier = PrivacyTier::GpuCc;
    files.put("strict.toml", strict.to_toml().unwrap().as_bytes());
    let ran = files.run("ratls leaf.der --policy strict.toml --simulator-root ark.der");
    assert_eq!(ran.code, 40, "{}", ran.err);
    let ran = files.run("ratls leaf.der --policy policy.toml");
    assert!(ran.code == 20 && ran.err.contains("snp.chain.root"), "{}", ran.err);
}

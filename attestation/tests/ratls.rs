//! RA-TLS certificates: one that is read, and each of its nearest twins that is not.

use hanzo_attestation::Digest256;
use hanzo_attestation::ratls::{BUNDLE_BYTES_MAX, EVIDENCE_OID, RatlsCertificate, wrap};
use rcgen::{
    CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PublicKeyData,
};

const BUNDLE: &[u8] = br#"{"capabilities":[]}"#;

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn extension(value: &[u8]) -> CustomExtension {
    CustomExtension::from_oid_content(&EVIDENCE_OID, value.to_vec())
}

fn certificate(key: &KeyPair, extensions: Vec<CustomExtension>) -> Vec<u8> {
    let mut params = CertificateParams::new(vec!["hanzo-guest".to_owned()]).unwrap();
    params.custom_extensions = extensions;
    params.self_signed(key).unwrap().der().to_vec()
}

fn code(der: &[u8]) -> &'static str {
    RatlsCertificate::parse(der).unwrap_err().code()
}

#[test]
fn a_certificate_with_evidence_gives_its_key_and_bundle() {
    let key = key();
    let der = certificate(&key, vec![extension(&wrap(BUNDLE).unwrap())]);
    let read = RatlsCertificate::parse(&der).unwrap();
    assert_eq!(read.bundle(), BUNDLE);
    assert_eq!(read.spki_sha256(), Digest256::of(&key.subject_public_key_info()));
    let largest = wrap(&vec![b'x'; BUNDLE_BYTES_MAX]).unwrap();
    RatlsCertificate::parse(&certificate(&key, vec![extension(&largest)])).unwrap();
}

#[test]
fn extensions_that_are_missing_critical_doubled_or_of_another_form_are_refused() {
    let key = key();
    let value = wrap(BUNDLE).unwrap();
    assert_eq!(code(&certificate(&key, vec![])), "ratls.no_evidence");
    let mut critical = extension(&value);
    critical.set_criticality(true);
    assert_eq!(code(&certificate(&key, vec![critical.clone()])), "ratls.critical");
    let twice = vec![extension(&value), extension(&value)];
    assert_eq!(code(&certificate(&key, twice)), "ratls.duplicate_extension");
    let other = wrap(b"{}").unwrap();
    let two_documents = vec![extension(&value), extension(&other)];
    assert_eq!(code(&certificate(&key, two_documents)), "ratls.duplicate_extension");
    let mut unknown = CustomExtension::from_oid_content(&[1, 3, 9901, 2, 1], value.clone());
    RatlsCertificate::parse(&certificate(&key, vec![unknown.clone(), extension(&value)])).unwrap();
    unknown.set_criticality(true);
    assert_eq!(
        code(&certificate(&key, vec![unknown, extension(&value)])),
        "ratls.critical"
    );
    let many = (1..=16).map(|i| CustomExtension::from_oid_content(&[1, 3, 9901, i], vec![5, 0]));
    let many = many.chain([extension(&value)]).collect();
    assert_eq!(code(&certificate(&key, many)), "ratls.certificate");
    let elsewhere = CustomExtension::from_oid_content(&[2, 23, 133, 5, 4, 2], value.clone());
    assert_eq!(code(&certificate(&key, vec![elsewhere])), "ratls.no_evidence");
    for other in [BUNDLE, &[], &[&value[..], &[0]].concat(), &value[..value.len() - 1]] {
        assert_eq!(code(&certificate(&key, vec![extension(other)])), "ratls.wrapper");
    }
}

#[test]
fn a_changed_certificate_and_a_swapped_key_are_refused() {
    let key = key();
    let der = certificate(&key, vec![extension(&wrap(BUNDLE).unwrap())]);
    let at = |needle: &[u8]| der.windows(needle.len()).position(|w| w == needle).unwrap();
    let mut altered = der.clone();
    altered[at(BUNDLE) + 3] ^= 1;
    assert_eq!(code(&altered), "ratls.signature", "the evidence was altered");
    // The evidence stays, the key is another one's, the signature is the old one.
    let other = self::key();
    let mut swapped = der.clone();
    let point = at(key.der_bytes());
    swapped[point..point + 65].copy_from_slice(other.der_bytes());
    assert_eq!(code(&swapped), "ratls.signature", "the key was swapped");
    let last = der.len() - 1;
    let mut forged = der.clone();
    forged[last] ^= 1;
    assert_eq!(code(&forged), "ratls.signature");
    assert_eq!(code(&[&der[..], &[0]].concat()), "ratls.certificate", "bytes after it");
    for cut in [0, 1, 40, der.len() / 2, last] {
        assert_eq!(code(&der[..cut]), "ratls.certificate", "{cut}");
    }
    let long = [&der[..], &vec![0; 60 << 10]].concat();
    assert_eq!(code(&long), "ratls.too_large");
}

#[test]
fn certificates_of_other_algorithms_are_refused() {
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let der = certificate(&p384, vec![extension(&wrap(BUNDLE).unwrap())]);
    assert_eq!(code(&der), "ratls.certificate");
}

#[test]
fn no_single_byte_changed_leaves_the_certificate_readable() {
    let key = key();
    let der = certificate(&key, vec![extension(&wrap(BUNDLE).unwrap())]);
    let before = RatlsCertificate::parse(&der).unwrap();
    for at in 0..der.len() {
        let mut changed = der.clone();
        changed[at] ^= 0x01;
        if let Ok(read) = RatlsCertificate::parse(&changed) {
            panic!("byte {at}: {:?}", read == before);
        }
    }
}

/// A certificate around the worked example's bundle, written by another implementation (Python's `cryptography`, CBOR by
/// hand) over a key that was thrown away: another than the one that the keyset names.
#[test]
fn the_stored_certificate_carries_the_stored_bundle_and_not_its_key() {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors"));
    let bundle = std::fs::read(folder.join("bundle.json")).unwrap();
    let leaf = folder.join("ratls_leaf.der");
    let read = RatlsCertificate::parse(&std::fs::read(leaf).unwrap()).unwrap();
    assert_eq!(read.bundle(), bundle);
    let mut keyset = hanzo_attestation::bundle::Bundle::parse(&bundle).unwrap().keyset;
    assert_eq!(read.check_key(&keyset).unwrap_err().code(), "ratls.spki_mismatch");
    keyset.tls_spki_sha256 = read.spki_sha256();
    read.check_key(&keyset).unwrap();
}

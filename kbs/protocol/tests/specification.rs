//! The worked example of `SPEC.md`: its bytes are in `testdata/grant.example.json` and must be what this crate reads.
//!
//! `HANZO_WRITE_EXAMPLE=1 cargo test -p hanzo-kbs-protocol --test specification` writes it again (signatures and the
//! encapsulation are randomised, so the bytes change).

use std::convert::Infallible;
use std::path::Path;

use hanzo_attestation::bundle::{Base64, CpuEvidence, SnpEvidence};
use hanzo_attestation::keyset::SignaturePair;
use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::{Digest384, Nonce, UnixTime};
use hanzo_kbs_protocol::{
    Expected, GRANT_PURPOSE, Grant, GuestSession, WrappedDek, challenge_body, recipient, wrap_info,
};
use hanzo_pqc::hpke::{self, KemSuite, PrivateKey};
use hanzo_pqc::sign::SigningKeys;
use hanzo_pqc::{Domain, SignatureSuite};

const NONCE: Nonce = Nonce([0x11; 32]);
const DEK: [u8; 32] = [0x44; 32];
const KBS_TIME: u64 = 1_795_000_000;

fn signer() -> SigningKeys {
    SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[0x22; 64]).unwrap()
}

fn guest() -> PrivateKey {
    PrivateKey::from_seed(KemSuite::Xwing, &[0x33; 32]).unwrap()
}

fn grant() -> Grant {
    Grant {
        key_id: KeyId::new("hanzo/dek/smollm2").unwrap(),
        key_version: 1,
        kbs_time: KBS_TIME,
        nonce: NONCE,
        not_after: KBS_TIME + 60,
        policy_digest: Digest384::of(b"the key's policy"),
        purpose: GRANT_PURPOSE.into(),
        recipient: recipient(guest().public_key()),
        simulated: false,
        subject: Name::new(&"ab".repeat(32)).unwrap(),
        tier: 2,
    }
}

fn example_path() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/grant.example.json"))
}

#[test]
fn the_example_is_read_byte_for_byte() {
    if std::env::var_os("HANZO_WRITE_EXAMPLE").is_some() {
        write_example();
    }
    let bytes = std::fs::read(example_path()).unwrap();
    let wrapped = WrappedDek::parse(&bytes).unwrap();
    assert_eq!(wrapped.grant, grant());

    let mut session = GuestSession::new(guest().public_key());
    let challenge = challenge_body(&NONCE).to_string();
    let no_evidence = SnpEvidence {
        ask: None,
        crl: None,
        report: Base64(Vec::new()),
        vek: Base64(Vec::new()),
    };
    session
        .attest_body(challenge.as_bytes(), |_| {
            Ok::<_, Infallible>(CpuEvidence::Snp(no_evidence))
        })
        .unwrap();
    let opened = session.open_wrapped(
        &bytes,
        &guest(),
        signer().verifying_keys(),
        Expected {
            key_id: &grant().key_id,
            subject: &grant().subject,
            min_tier: 2,
        },
        UnixTime(KBS_TIME),
        UnixTime(KBS_TIME),
        60,
    );
    assert_eq!(opened.unwrap().dek.expose(), &DEK);
}

#[test]
fn the_specification_shows_these_bytes() {
    let text = include_str!("../SPEC.md");
    let canonical = String::from_utf8(grant().canonical().unwrap()).unwrap();
    let info = hex::encode(wrap_info(KemSuite::Xwing, &grant()));
    for (what, shown) in [
        ("canonical grant", canonical.as_str()),
        ("aad", &grant().digest().unwrap().to_string()),
        ("info", &info),
        ("recipient", &grant().recipient.to_string()),
        ("policy digest", &grant().policy_digest.to_string()),
    ] {
        assert!(text.contains(shown), "SPEC.md does not show the {what}:\n{shown}");
    }
}

fn write_example() {
    let (grant, signer, key) = (grant(), signer(), guest());
    let public = key.public_key();
    let aad = grant.digest().unwrap();
    let sealed = hpke::seal(public, &wrap_info(public.suite(), &grant), aad.as_bytes(), &DEK).unwrap();
    let mut wrapped = WrappedDek {
        among: None,
        ciphertext: hex::encode(&sealed.ciphertext),
        enc: hex::encode(&sealed.enc),
        grant,
        signature: SignaturePair {
            ed25519: String::new(),
            ml_dsa: String::new(),
        },
        suite: public.suite().name().into(),
    };
    let signature = signer.sign(Domain::Grant, &wrapped.signed_bytes().unwrap()).unwrap();
    wrapped.signature = SignaturePair {
        ed25519: signature.ed25519_hex(),
        ml_dsa: signature.ml_dsa_hex(),
    };
    std::fs::write(example_path(), wrapped.canonical().unwrap()).unwrap();
}

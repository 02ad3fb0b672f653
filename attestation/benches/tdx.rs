//! Full verification of one TDX quote: ours, and crate `dcap-qvl`'s with its default backend and over aws-lc, in one run.
//!
//! `cargo bench -p hanzo-attestation --bench tdx`; with `-- --smoke` a few rounds, to see that all sides work.
//!
//! All start from the same bytes (quote, collateral, root) and end with claims. Ours is measured twice: with collateral
//! verified for the one quote, and as a second quote of the platform type, with collateral verified before. The floor is
//! the bare signature verifications that each of the two needs. Quote and collateral are the public real ones if they are
//! beside the repository, else the simulator's.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use dcap_qvl::config::{Config, CryptoProvider};
use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::{QuoteCollateralV3, QuotePolicy};
use hanzo_attestation::bundle::{Base64, TdxCollateral, TdxEvidence};
use hanzo_attestation::tdx::PreparedTdx;
use hanzo_attestation::tdx::provider::AwsLcConfig;
use hanzo_attestation::tdx::roots::INTEL_SGX_ROOT_CA;
use hanzo_attestation::{Anchors, Collateral, RawEvidence, UnixTime};
use hanzo_simulated_tee::{CollateralSpec, QuoteFormat, SimulatedTdx, TdSpec};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{Signature, VerifyingKey};
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use sha2::Digest;

/// Signatures of a quote: PCK by its CA, QE report, quote.
const OF_A_QUOTE: usize = 3;
/// Besides these, of collateral: PCK CA, TCB signing, two lists, TCB info, QE identity.
const OF_ALL: usize = 9;

/// The default backend of `dcap-qvl` without its feature, which the whole workspace's test build would have: the same
/// crates at the same versions, called the same way.
struct RustCryptoConfig;

impl Config for RustCryptoConfig {
    type X509 = dcap_qvl::x509::X509CertBackend;
    type SigEncoder = dcap_qvl::signature::DerSigEncoder;
    type Crypto = Self;
}

impl CryptoProvider for RustCryptoConfig {
    fn sig_algo() -> &'static dyn SignatureVerificationAlgorithm {
        &RustCryptoP256
    }

    fn sha256(data: &[u8]) -> [u8; 32] {
        sha2::Sha256::digest(data).into()
    }

    fn sha384(data: &[u8]) -> [u8; 48] {
        sha2::Sha384::digest(data).into()
    }
}

#[derive(Debug)]
struct RustCryptoP256;

impl SignatureVerificationAlgorithm for RustCryptoP256 {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_der(signature).map_err(|_| InvalidSignature)?;
        let digest = sha2::Sha256::digest(message);
        key.verify_prehash(&digest, &signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P256
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA256
    }
}

struct Case {
    evidence: TdxEvidence,
    root: Vec<u8>,
    anchors: Anchors,
    now: UnixTime,
}

fn simulated() -> Case {
    let now = UnixTime(1_756_684_800);
    let platform = SimulatedTdx::for_tests();
    Case {
        evidence: platform.evidence(&TdSpec::new(QuoteFormat::V4), &[7; 64], &CollateralSpec::new(now)),
        root: platform.root_der().to_vec(),
        anchors: Anchors::vendor().with_simulator_tdx_root(platform.root_der().to_vec()),
        now,
    }
}

/// Public quote of dcap-qvl's own samples, July 2025.
fn real() -> Option<Case> {
    let folder = ["/../../shared/vectors/tdx", "/../../../shared/vectors/tdx"]
        .iter()
        .map(|to| Path::new(&format!("{}{to}", env!("CARGO_MANIFEST_DIR"))).to_owned())
        .find(|f| f.is_dir())?;
    let mut quote = std::fs::read(folder.join("v4_dcapqvl.dat")).ok()?;
    quote.truncate(hanzo_attestation::tdx::quote_length(&quote).ok()?);
    let text = std::fs::read_to_string(folder.join("collateral/tdx_quote_collateral.json")).ok()?;
    let document: serde_json::Value = serde_json::from_str(&text).ok()?;
    let text = |key: &str| document[key].as_str().map(str::to_owned);
    let bytes = |key: &str| hex::decode(document[key].as_str()?).ok().map(Base64);
    let collateral = TdxCollateral {
        pck_crl: bytes("pck_crl")?,
        pck_crl_issuer_chain: text("pck_crl_issuer_chain")?,
        qe_identity: text("qe_identity")?,
        qe_identity_issuer_chain: text("qe_identity_issuer_chain")?,
        qe_identity_signature: bytes("qe_identity_signature")?,
        root_ca_crl: bytes("root_ca_crl")?,
        tcb_info: text("tcb_info")?,
        tcb_info_issuer_chain: text("tcb_info_issuer_chain")?,
        tcb_info_signature: bytes("tcb_info_signature")?,
    };
    Some(Case {
        evidence: TdxEvidence {
            collateral: Some(collateral),
            event_log: None,
            quote: Base64(quote),
        },
        root: INTEL_SGX_ROOT_CA.to_vec(),
        anchors: Anchors::vendor(),
        now: UnixTime(1_751_328_000),
    })
}

fn ours(case: &Case, evidence: &TdxEvidence, collateral: &Collateral) -> bool {
    RawEvidence::Tdx(evidence.clone())
        .parse()
        .and_then(|p| p.authenticate(&case.anchors, collateral, case.now))
        .is_ok()
}

fn theirs<C: Config>(case: &Case, quote: &[u8], collateral: &QuoteCollateralV3) -> bool {
    QuoteVerifier::<C>::new_with_config(case.root.clone())
        .verify_with_policy(quote, collateral, case.now.0, &QuotePolicy::claims_only(case.now.0))
        .is_ok()
}

/// That many P-256 verifications over messages of a report's length.
fn floor() -> impl Fn(usize) -> bool {
    let scalar = [0x17; 32];
    let private = PrivateKey::from_private_key(&ECDH_P256, &scalar).expect("a scalar of P-256");
    let public = private.compute_public_key().expect("its point");
    let pair =
        EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &scalar, public.as_ref());
    let pair = pair.expect("a key pair");
    let message = [7; 632];
    let signature = pair.sign(&SystemRandom::new(), &message).expect("a signature");
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref().to_vec());
    move |n| (0..n).all(|_| key.verify(black_box(&message), signature.as_ref()).is_ok())
}

fn sample(f: impl FnOnce() -> bool) -> Duration {
    let start = Instant::now();
    assert!(f());
    start.elapsed()
}

fn run(name: &str, case: &Case, rounds: usize) {
    let c = case.evidence.collateral.as_ref().expect("stapled");
    let converted = QuoteCollateralV3 {
        pck_crl_issuer_chain: c.pck_crl_issuer_chain.clone(),
        root_ca_crl: c.root_ca_crl.0.clone(),
        pck_crl: c.pck_crl.0.clone(),
        tcb_info_issuer_chain: c.tcb_info_issuer_chain.clone(),
        tcb_info: c.tcb_info.clone(),
        tcb_info_signature: c.tcb_info_signature.0.clone(),
        qe_identity_issuer_chain: c.qe_identity_issuer_chain.clone(),
        qe_identity: c.qe_identity.clone(),
        qe_identity_signature: c.qe_identity_signature.0.clone(),
        pck_certificate_chain: None,
    };
    let quote = &case.evidence.quote.0;
    let second = TdxEvidence {
        collateral: None,
        ..case.evidence.clone()
    };
    let prepared = Collateral {
        prepared_tdx: vec![Arc::new(PreparedTdx::prepare(c, &case.anchors).expect("authentic"))],
        ..Collateral::default()
    };
    let none = Collateral::default();
    let floor = floor();

    let mut forged = case.evidence.clone();
    forged.quote.0[200] ^= 1;
    assert!(!ours(case, &forged, &none) && !ours(case, &forged, &prepared));
    assert!(!theirs::<RustCryptoConfig>(case, &forged.quote.0, &converted));
    assert!(!theirs::<AwsLcConfig>(case, &forged.quote.0, &converted));

    let mut samples = vec![Vec::new(); 6];
    for _ in 0..rounds {
        samples[0].push(sample(|| {
            theirs::<RustCryptoConfig>(case, black_box(quote), &converted)
        }));
        samples[1].push(sample(|| theirs::<AwsLcConfig>(case, black_box(quote), &converted)));
        samples[2].push(sample(|| ours(case, black_box(&case.evidence), &none)));
        samples[3].push(sample(|| ours(case, black_box(&second), &prepared)));
        samples[4].push(sample(|| floor(OF_ALL)));
        samples[5].push(sample(|| floor(OF_A_QUOTE)));
    }
    for sorted in &mut samples {
        sorted.sort();
    }
    let us = |i: usize, at: usize| samples[i][at].as_secs_f64() * 1e6;
    println!("TDX quote verification, {name}, {rounds} rounds each, interleaved, microseconds");
    for (i, what) in [
        "dcap-qvl 0.7.1, RustCrypto (its default)",
        "dcap-qvl 0.7.1, aws-lc",
        "hanzo-attestation",
        "hanzo-attestation, second quote",
        "floor: 9 signatures, aws-lc",
        "floor: 3 signatures, aws-lc",
    ]
    .iter()
    .enumerate()
    {
        println!("  {what:<42} min {:>8.1}  median {:>8.1}", us(i, 0), us(i, rounds / 2));
    }
    for (over, under, what) in [
        (0, 2, "dcap-qvl RustCrypto / ours"),
        (1, 2, "dcap-qvl aws-lc / ours"),
        (1, 3, "dcap-qvl aws-lc / ours, second quote"),
        (2, 3, "ours / ours, second quote"),
        (2, 4, "ours / floor"),
        (3, 5, "ours, second quote / floor"),
    ] {
        let ratio = |at| us(over, at) / us(under, at);
        println!(
            "  {what:<42} min {:>7.2}x  median {:>7.2}x",
            ratio(0),
            ratio(rounds / 2)
        );
    }
}

fn main() {
    let rounds = if std::env::args().any(|a| a == "--smoke") {
        5
    } else {
        300
    };
    run("simulated", &simulated(), rounds);
    match real() {
        Some(case) => run("real (v4, July 2025)", &case, rounds),
        None => println!("no vectors beside the repository: the real quote was not measured"),
    }
}

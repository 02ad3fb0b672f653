//! Ours (AWS-LC) beside RustCrypto, one run, calls interleaved, so that the ratios carry over where the figures do not.
//!
//! `cargo bench -p hanzo-pqc` measures (add `--profile dev` to reuse the development build, whose dependencies are
//! optimised too); with `-- --smoke`, and under `cargo test`, every call is made a few times only.
//! Single calls are timed and the median is printed, except for signing: ML-DSA samples by rejection, so its cost is
//! the mean over many messages. The last columns are the times that the project's first documents promised.

use std::hint::black_box;
use std::time::Instant;

use ::hpke as rust_crypto;
use hanzo_pqc::dsa::{MlDsa65, SigningKey};
use hanzo_pqc::hpke::{self, KemSuite, PrivateKey};
use hanzo_pqc::kem::{DecapsulationKey, MlKem768};
use hanzo_pqc::sign::SigningKeys;
use hanzo_pqc::{Domain, SignatureSuite, random};
use ml_kem::kem::Decapsulate;
use rust_crypto::aead::AesGcm256;
use rust_crypto::kdf::{HkdfSha256, HkdfSha384, Kdf};
use rust_crypto::kem::{MlKem1024P384, XWing};
use rust_crypto::{Deserializable, Kem, OpModeR, OpModeS, Serializable};

type OracleKem = ml_kem::DecapsulationKey<ml_kem::MlKem768>;
type OracleDsa = ml_dsa::SigningKey<ml_dsa::MlDsa65>;

#[derive(Clone, Copy)]
enum Figure {
    Median,
    Mean,
}

fn micros<T>(call: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    let value = call();
    let elapsed = start.elapsed().as_secs_f64() * 1e6;
    black_box(value);
    elapsed
}

fn figure(kind: Figure, mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    match kind {
        Figure::Median => times[times.len() / 2],
        Figure::Mean => times.iter().sum::<f64>() / times.len() as f64,
    }
}

struct Bench {
    rounds: usize,
}

impl Bench {
    fn row<A, B>(
        &self,
        name: &str,
        kind: Figure,
        promised: Option<f64>,
        mut ours: impl FnMut(usize) -> A,
        mut theirs: impl FnMut(usize) -> B,
    ) {
        black_box((ours(0), theirs(0)));
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            a.push(micros(|| ours(round)));
            b.push(micros(|| theirs(round)));
        }
        let (a, b) = (figure(kind, a), figure(kind, b));
        let promised = promised.map_or(String::new(), |p| format!("{p:>9.0} {:>8.2}x", p / a));
        let kind = match kind {
            Figure::Median => "median",
            Figure::Mean => "mean",
        };
        println!("{name:<38} {kind:<7} {a:>9.1} {b:>11.1} {:>7.2}x {promised}", b / a);
    }
}

fn seed<const N: usize>() -> [u8; N] {
    let mut seed = [0; N];
    random::fill(&mut seed).unwrap();
    seed
}

fn ml_kem_768(bench: &Bench) {
    let seeds: Vec<[u8; 64]> = (0..bench.rounds).map(|_| seed()).collect();
    let ours = DecapsulationKey::<MlKem768>::from_seed(&seeds[0]).unwrap();
    let theirs = OracleKem::from_seed(seeds[0].into());
    bench.row(
        "ML-KEM-768 key generation",
        Figure::Median,
        Some(50.0),
        |_| DecapsulationKey::<MlKem768>::generate().unwrap(),
        |i| OracleKem::from_seed(seeds[i].into()),
    );
    bench.row(
        "ML-KEM-768 encapsulate",
        Figure::Median,
        Some(60.0),
        |_| ours.encapsulation_key().encapsulate().unwrap(),
        |i| {
            theirs
                .encapsulation_key()
                .encapsulate_deterministic(&seeds[i].first_chunk::<32>().copied().unwrap().into())
        },
    );
    let (c, _) = ours.encapsulation_key().encapsulate().unwrap();
    let array = c.as_slice().try_into().unwrap();
    bench.row(
        "ML-KEM-768 decapsulate",
        Figure::Median,
        Some(70.0),
        |_| ours.decapsulate(&c).unwrap(),
        |_| theirs.decapsulate(&array),
    );
}

fn ml_dsa_65(bench: &Bench) {
    let ours = SigningKey::<MlDsa65>::from_seed(&[0; 32]).unwrap();
    let theirs = OracleDsa::from_seed(&ml_dsa::Seed::default());
    let message = |i: usize| format!("message number {i}");
    bench.row(
        "ML-DSA-65 sign (ours hedged)",
        Figure::Mean,
        Some(250.0),
        |i| ours.sign(message(i).as_bytes()).unwrap(),
        |i| {
            theirs
                .expanded_key()
                .sign_deterministic(message(i).as_bytes(), b"")
                .unwrap()
        },
    );
    let (public, signature) = (ours.verifying_key(), ours.sign(b"message").unwrap());
    let parsed = ml_dsa::Signature::<ml_dsa::MlDsa65>::try_from(signature.as_slice()).unwrap();
    let their_public = theirs.expanded_key().verifying_key();
    bench.row(
        "ML-DSA-65 verify (theirs pre-parsed)",
        Figure::Median,
        Some(120.0),
        |_| public.verify(b"message", &signature).unwrap(),
        |_| assert!(their_public.verify_with_context(b"message", b"", &parsed)),
    );
    bench.row(
        "ML-DSA-65 verify from key bytes",
        Figure::Median,
        None,
        |_| public.verify(b"message", &signature).unwrap(),
        |_| {
            let key = ml_dsa::VerifyingKey::<ml_dsa::MlDsa65>::decode(&public.as_bytes().try_into().unwrap());
            assert!(key.verify_with_context(b"message", b"", &parsed));
        },
    );
}

fn hpke_suite<K: Kem, F: Kdf>(bench: &Bench, suite: KemSuite) {
    let name = suite.name();
    let seeds: Vec<[u8; 32]> = (0..bench.rounds).map(|_| seed()).collect();
    let ours = PrivateKey::from_seed(suite, &seeds[0]).unwrap();
    let theirs = K::PrivateKey::from_bytes(&seeds[0]).unwrap();
    let their_public = K::sk_to_pk(&theirs);
    let (info, aad, dek) = ([1u8; 200], [2u8; 48], [3u8; 32]);
    bench.row(
        &format!("HPKE {name} new key"),
        Figure::Median,
        None,
        |_| PrivateKey::generate(suite).unwrap(),
        |_| K::gen_keypair(),
    );
    bench.row(
        &format!("HPKE {name} key from seed"),
        Figure::Median,
        None,
        |i| PrivateKey::from_seed(suite, &seeds[i]).unwrap(),
        |i| K::sk_to_pk(&K::PrivateKey::from_bytes(&seeds[i]).unwrap()),
    );
    bench.row(
        &format!("HPKE {name} seal 32 B"),
        Figure::Median,
        None,
        |_| hpke::seal(ours.public_key(), &info, &aad, &dek).unwrap(),
        |_| rust_crypto::single_shot_seal::<AesGcm256, F, K>(&OpModeS::Base, &their_public, &info, &dek, &aad).unwrap(),
    );
    let sealed = hpke::seal(ours.public_key(), &info, &aad, &dek).unwrap();
    let enc = K::EncappedKey::from_bytes(&sealed.enc).unwrap();
    assert_eq!(enc.to_bytes().as_slice(), sealed.enc);
    bench.row(
        &format!("HPKE {name} open 32 B"),
        Figure::Median,
        None,
        |_| hpke::open(&ours, &sealed.enc, &info, &aad, &sealed.ciphertext).unwrap(),
        |_| {
            let mode = OpModeR::Base;
            rust_crypto::single_shot_open::<AesGcm256, F, K>(&mode, &theirs, &enc, &info, &sealed.ciphertext, &aad)
                .unwrap()
        },
    );
}

/// What both halves cost next to the ML-DSA half alone.
fn double_signatures(bench: &Bench) {
    let both = SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[0; 64]).unwrap();
    let half = SigningKey::<MlDsa65>::from_seed(&[0; 32]).unwrap();
    let message = |i: usize| format!("message number {i}");
    println!("\nboth signatures (first column) against ours ML-DSA-65 alone (second)");
    bench.row(
        "sign",
        Figure::Mean,
        None,
        |i| both.sign(Domain::Receipt, message(i).as_bytes()).unwrap(),
        |i| half.sign(message(i).as_bytes()).unwrap(),
    );
    let signature = both.sign(Domain::Receipt, b"m").unwrap();
    let (public, alone) = (half.verifying_key(), half.sign(b"m").unwrap());
    bench.row(
        "verify",
        Figure::Median,
        None,
        |_| both.verifying_keys().verify(Domain::Receipt, b"m", &signature).unwrap(),
        |_| public.verify(b"m", &alone).unwrap(),
    );
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let smoke = args.iter().any(|a| a == "--smoke") || !args.iter().any(|a| a == "--bench");
    let bench = Bench {
        rounds: if smoke { 3 } else { 400 },
    };
    println!(
        "microseconds per call, {} calls each side{}",
        bench.rounds,
        if smoke { " (smoke: no figures)" } else { "" }
    );
    println!(
        "{:<38} {:<7} {:>9} {:>11} {:>8} {:>9} {:>9}",
        "", "", "ours", "RustCrypto", "ratio", "promised", "ratio"
    );
    ml_kem_768(&bench);
    ml_dsa_65(&bench);
    hpke_suite::<XWing, HkdfSha256>(&bench, KemSuite::Xwing);
    hpke_suite::<MlKem1024P384, HkdfSha384>(&bench, KemSuite::MlKem1024P384);
    double_signatures(&bench);
}

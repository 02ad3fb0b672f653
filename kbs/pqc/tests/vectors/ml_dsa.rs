//! ML-DSA-65. Ours is pure ML-DSA with the empty context; what differs from that must verify with the oracle and be
//! refused by ours.

use aws_lc_rs::digest;
use hanzo_pqc::PqcError;
use hanzo_pqc::dsa::{MlDsa65, SigningKey, VerifyingKey};
use hpke::rand_core::{TryCryptoRng, TryRng};
use ml_dsa::{ExpandedSigningKey, MlDsa65 as Set};
use serde_json::Value;
use sha2::{Digest as _, Sha512_224};
use shake::{ExtendableOutput, Shake128, Shake256, Update, XofReader};

use crate::load::{grouped, hex_of, json};

type OracleKey = ml_dsa::SigningKey<Set>;
type OraclePublic = ml_dsa::VerifyingKey<Set>;
type OracleSignature = ml_dsa::Signature<Set>;

fn oracle_public(pk: &[u8]) -> Option<OraclePublic> {
    Some(OraclePublic::decode(&pk.try_into().ok()?))
}

fn oracle_verify(pk: &[u8], message: &[u8], ctx: &[u8], signature: &[u8]) -> bool {
    let Some(key) = oracle_public(pk) else { return false };
    OracleSignature::try_from(signature).is_ok_and(|s| key.verify_with_context(message, ctx, &s))
}

fn ours_verify(pk: &[u8], message: &[u8], signature: &[u8]) -> bool {
    VerifyingKey::<MlDsa65>::from_bytes(pk)
        .and_then(|key| key.verify(message, signature))
        .is_ok()
}

#[test]
fn wycheproof_verify() {
    let Some(tests) = grouped("wycheproof/mldsa_65_verify_test.json") else {
        return;
    };
    let (mut ours, mut with_context) = (0, 0);
    for (group, test) in &tests {
        let (pk, message, ctx) = (hex_of(group, "publicKey"), hex_of(test, "msg"), hex_of(test, "ctx"));
        let (signature, valid) = (hex_of(test, "sig"), test["result"] == "valid");
        assert_eq!(oracle_verify(&pk, &message, &ctx, &signature), valid, "{test}");
        if ctx.is_empty() {
            assert_eq!(ours_verify(&pk, &message, &signature), valid, "{test}");
            ours += 1;
        } else {
            assert!(!ours_verify(&pk, &message, &signature), "{test}");
            with_context += 1;
        }
    }
    println!("ML-DSA-65 verify: {ours} ours and oracle, {with_context} with a context: oracle, refused by ours");
    assert_eq!((ours, with_context), (203, 7));
}

/// Replays given bytes.
struct Replay(Vec<u8>);

impl TryRng for Replay {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        let rest = self.0.split_off(out.len());
        out.copy_from_slice(&self.0);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Replay {}

/// FIPS 204 Sign with everything given: message and context, or mu; `rnd` empty means deterministic.
fn oracle_sign(key: &ExpandedSigningKey<Set>, input: &Input, rnd: &[u8]) -> Vec<u8> {
    let rnd = if rnd.is_empty() { vec![0; 32] } else { rnd.to_vec() };
    let rnd_array = rnd.as_slice().try_into().unwrap();
    let signature = match input {
        Input::Internal(message) => key.sign_internal(&[message], &rnd_array),
        Input::Mu(mu) => key
            .sign_mu_randomized(&mu.as_slice().try_into().unwrap(), &mut Replay(rnd))
            .unwrap(),
    };
    signature.encode().to_vec()
}

fn oracle_accepts(pk: &[u8], input: &Input, signature: &[u8]) -> bool {
    let key = oracle_public(pk).unwrap();
    let Ok(signature) = OracleSignature::try_from(signature) else {
        return false;
    };
    match input {
        Input::Internal(message) => key.verify_internal(message, &signature),
        Input::Mu(mu) => key.verify_mu(&mu.as_slice().try_into().unwrap(), &signature),
    }
}

/// What Sign_internal gets: M' whole, or mu.
enum Input {
    Internal(Vec<u8>),
    Mu(Vec<u8>),
}

/// M' of pure ML-DSA: 0, context, message.
fn pure(ctx: &[u8], message: &[u8]) -> Input {
    Input::Internal([&[0, u8::try_from(ctx.len()).unwrap()], ctx, message].concat())
}

/// M' of HashML-DSA: 1, context, the hash's object identifier, the hash.
fn pre_hashed(ctx: &[u8], message: &[u8], hash: &str) -> Option<Input> {
    fn xof<X: Default + Update + ExtendableOutput>(message: &[u8], len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        X::default().chain(message).finalize_xof().read(&mut out);
        out
    }
    let lc = |algorithm| digest::digest(algorithm, message).as_ref().to_vec();
    let (number, hashed) = match hash {
        "SHA2-256" => (1, lc(&digest::SHA256)),
        "SHA2-384" => (2, lc(&digest::SHA384)),
        "SHA2-512/224" => (5, Sha512_224::digest(message).to_vec()),
        "SHA2-512/256" => (6, lc(&digest::SHA512_256)),
        "SHA3-256" => (8, lc(&digest::SHA3_256)),
        "SHA3-384" => (9, lc(&digest::SHA3_384)),
        "SHA3-512" => (10, lc(&digest::SHA3_512)),
        "SHAKE-128" => (11, xof::<Shake128>(message, 32)),
        "SHAKE-256" => (12, xof::<Shake256>(message, 64)),
        _ => return None,
    };
    let oid = [0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, number];
    Some(Input::Internal(
        [&[1, u8::try_from(ctx.len()).unwrap()], ctx, &oid, &hashed].concat(),
    ))
}

#[test]
fn wycheproof_sign_from_seed() {
    let Some(tests) = grouped("wycheproof/mldsa_65_sign_seed_test.json") else {
        return;
    };
    let (mut signed, mut ours, mut refused) = (0, 0, 0);
    for (group, test) in &tests {
        let (seed, signature, rnd) = (hex_of(group, "privateSeed"), hex_of(test, "sig"), hex_of(test, "rnd"));
        let (message, ctx) = (hex_of(test, "msg"), hex_of(test, "ctx"));
        if test["result"] != "valid" {
            // A seed of another length cannot be named, a context over 255 bytes cannot be encoded.
            assert!(seed.len() != 32 || ctx.len() > 255, "{test}");
            refused += 1;
            continue;
        }
        let key = OracleKey::from_seed(&seed.as_slice().try_into().unwrap());
        let internal = test.get("msg").is_none();
        let input = if internal {
            Input::Mu(hex_of(test, "mu"))
        } else {
            pure(&ctx, &message)
        };
        assert_eq!(oracle_sign(key.expanded_key(), &input, &rnd), signature, "{test}");
        signed += 1;

        let key = SigningKey::<MlDsa65>::from_seed(&seed.as_slice().try_into().unwrap()).unwrap();
        let public = key.verifying_key();
        assert_eq!(public.as_bytes(), hex_of(group, "publicKey"), "{test}");
        if !internal {
            assert_eq!(public.verify(&message, &signature).is_ok(), ctx.is_empty(), "{test}");
            let mine = key.sign(&message).unwrap();
            assert!(oracle_verify(public.as_bytes(), &message, b"", &mine), "{test}");
            ours += 1;
        }
    }
    println!("ML-DSA-65 sign: {signed} exact with the oracle, {ours} of them with ours too, {refused} refused");
    assert_eq!((signed, ours, refused), (101, 84, 4));
}

#[test]
fn acvp_key_generation() {
    let Some(tests) = grouped("acvp/ML-DSA-keyGen-FIPS204.ML-DSA-65.json") else {
        return;
    };
    for (_, test) in &tests {
        let seed = hex_of(test, "seed");
        let ours = SigningKey::<MlDsa65>::from_seed(&seed.as_slice().try_into().unwrap()).unwrap();
        assert_eq!(ours.verifying_key().as_bytes(), hex_of(test, "pk"));
        let oracle = OracleKey::from_seed(&seed.as_slice().try_into().unwrap());
        #[allow(deprecated, reason = "the vectors carry expanded keys")]
        let expanded = oracle.expanded_key().to_expanded();
        assert_eq!(expanded.to_vec(), hex_of(test, "sk"));
    }
    println!("ACVP ML-DSA-65 key generation: {} keys", tests.len());
    assert_eq!(tests.len(), 25);
}

/// What one ACVP test signs; `None` for a hash that is not known here.
fn acvp_input(group: &Value, test: &Value) -> Option<Input> {
    let (message, ctx) = (hex_of(test, "message"), hex_of(test, "context"));
    match (
        group["signatureInterface"].as_str().unwrap(),
        group["preHash"].as_str().unwrap(),
    ) {
        ("external", "pure") => Some(pure(&ctx, &message)),
        ("external", "preHash") => pre_hashed(&ctx, &message, test["hashAlg"].as_str().unwrap()),
        _ if group["externalMu"] == true => Some(Input::Mu(hex_of(test, "mu"))),
        _ => Some(Input::Internal(message)),
    }
}

/// Whether a test is of the one form that ours signs: pure, with the empty context.
fn is_our_form(group: &Value, test: &Value) -> bool {
    group["signatureInterface"] == "external" && group["preHash"] == "pure" && hex_of(test, "context").is_empty()
}

#[test]
fn acvp_signature_generation() {
    let Some(tests) = grouped("acvp/ML-DSA-sigGen-FIPS204.ML-DSA-65.trim.json") else {
        return;
    };
    let (mut exact, mut ours, mut refused) = (0, 0, 0);
    for (group, test) in &tests {
        let (pk, signature) = (hex_of(test, "pk"), hex_of(test, "signature"));
        let input = acvp_input(group, test).unwrap();
        #[allow(deprecated, reason = "the vectors carry expanded keys")]
        let key = ExpandedSigningKey::<Set>::from_expanded(&hex_of(test, "sk").as_slice().try_into().unwrap());
        assert_eq!(
            oracle_sign(&key, &input, &hex_of(test, "rnd")),
            signature,
            "{}",
            test["tcId"]
        );
        exact += 1;
        let accepted = ours_verify(&pk, &hex_of(test, "message"), &signature);
        assert_eq!(accepted, is_our_form(group, test), "{}", test["tcId"]);
        if accepted { ours += 1 } else { refused += 1 }
    }
    println!("ACVP ML-DSA-65 signing: {exact} exact, {ours} in our form, {refused} in others");
    assert_eq!((exact, ours, refused), (32, 1, 31));
}

#[test]
fn acvp_signature_verification() {
    let Some(tests) = grouped("acvp/ML-DSA-sigVer-FIPS204.ML-DSA-65.trim.json") else {
        return;
    };
    let (mut accepted, mut refused) = (0, 0);
    for (group, test) in &tests {
        let (pk, signature) = (hex_of(test, "pk"), hex_of(test, "signature"));
        let input = acvp_input(group, test).unwrap();
        let verdict = oracle_accepts(&pk, &input, &signature);
        assert_eq!(verdict, test["testPassed"] == true, "{test}");
        // None of these is of our form, so ours refuses every one, the valid internal one too.
        assert!(!is_our_form(group, test));
        assert!(!ours_verify(&pk, &hex_of(test, "message"), &signature), "{test}");
        if verdict { accepted += 1 } else { refused += 1 }
    }
    println!("ACVP ML-DSA-65 verification: {accepted} accepted, {refused} refused");
    assert_eq!((accepted, refused), (1, 19));
}

/// CCTV's benchmark messages: a representative spread of rejections, so each is signed by both sides.
#[test]
fn cctv_benchmark_messages() {
    let zero = OracleKey::from_seed(&ml_dsa::Seed::default());
    let ours = SigningKey::<MlDsa65>::from_seed(&[0; 32]).unwrap();
    let public = ours.verifying_key();
    let mut run = 0;
    for name in [
        "cctv/ML-DSA_benchmark_ML-DSA-65.json",
        "cctv/ML-DSA_benchmark_ML-DSA-65.alt.json",
    ] {
        let Some(messages) = json(name) else { return };
        for message in messages.as_array().unwrap() {
            let message = message.as_str().unwrap().as_bytes();
            let theirs = zero
                .expanded_key()
                .sign_deterministic(message, b"")
                .unwrap()
                .encode()
                .to_vec();
            assert_eq!(public.verify(message, &theirs), Ok(()));
            let mine = ours.sign(message).unwrap();
            assert!(oracle_verify(public.as_bytes(), message, b"", &mine));
            assert_ne!(mine, theirs, "ours is hedged");
            assert_eq!(
                public.verify(b"another", &mine),
                Err(PqcError::MlDsa { set: "ML-DSA-65" })
            );
            run += 1;
        }
    }
    println!("CCTV ML-DSA-65 benchmark messages: {run} signed by both");
    assert_eq!(run, 294);
}

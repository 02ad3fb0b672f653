//! Our HPKE against crate `hpke`, both directions: two implementations that share no code for P-384, X25519, the key
//! schedule and the AEAD.

use ::hpke as oracle;
use hanzo_pqc::hpke::{self, KemSuite, PrivateKey, PublicKey};
use oracle::aead::AesGcm256;
use oracle::kdf::{HkdfSha256, HkdfSha384};
use oracle::kem::{MlKem1024P384, XWing};
use oracle::{Deserializable, Kem, OpModeR, OpModeS, Serializable};

const INFO: &[u8] = b"info";
const AAD: &[u8] = b"aad";
const PLAINTEXT: &[u8] = b"thirty-two bytes of a data key..";

fn both_directions<K: Kem, F: oracle::kdf::Kdf>(suite: KemSuite) {
    for n in 0..4u8 {
        let seed = [n.wrapping_mul(37).wrapping_add(1); 32];
        let ours = PrivateKey::from_seed(suite, &seed).unwrap();
        let theirs = K::PrivateKey::from_bytes(&seed).unwrap();
        let their_public = K::sk_to_pk(&theirs);
        assert_eq!(ours.public_key().as_bytes(), their_public.to_bytes().as_slice());

        let sealed = hpke::seal(ours.public_key(), INFO, AAD, PLAINTEXT).unwrap();
        let enc = K::EncappedKey::from_bytes(&sealed.enc).unwrap();
        let opened =
            oracle::single_shot_open::<AesGcm256, F, K>(&OpModeR::Base, &theirs, &enc, INFO, &sealed.ciphertext, AAD);
        assert_eq!(opened.unwrap(), PLAINTEXT);

        let (enc, ciphertext) =
            oracle::single_shot_seal::<AesGcm256, F, K>(&OpModeS::Base, &their_public, INFO, PLAINTEXT, AAD).unwrap();
        let opened = hpke::open(&ours, &enc.to_bytes(), INFO, AAD, &ciphertext).unwrap();
        assert_eq!(opened.as_slice(), PLAINTEXT);

        let (enc, exported) = hpke::export_sender(ours.public_key(), INFO, b"proof", 100).unwrap();
        let enc_theirs = K::EncappedKey::from_bytes(&enc).unwrap();
        let context = oracle::setup_receiver::<AesGcm256, F, K>(&OpModeR::Base, &theirs, &enc_theirs, INFO).unwrap();
        let mut theirs_exported = [0u8; 100];
        context.export(b"proof", &mut theirs_exported).unwrap();
        assert_eq!(exported.as_slice(), theirs_exported);
        let again = hpke::export_recipient(&ours, &enc, INFO, b"proof", 100).unwrap();
        assert_eq!(exported, again);

        let read = PublicKey::from_hex(suite, &ours.public_key().to_hex()).unwrap();
        assert_eq!(&read, ours.public_key());
    }
}

#[test]
fn xwing_is_the_oracles_xwing() {
    both_directions::<XWing, HkdfSha256>(KemSuite::Xwing);
}

#[test]
fn mlkem1024_p384_is_the_oracles() {
    both_directions::<MlKem1024P384, HkdfSha384>(KemSuite::MlKem1024P384);
}

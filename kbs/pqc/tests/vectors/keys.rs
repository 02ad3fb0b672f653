//! Published key files (PKCS#8 and SPKI): our seeds give their public keys. Our own formats carry raw keys, so there
//! is no DER reader here; the key is the tail of these files.

use aws_lc_rs::signature::{ML_DSA_65_SIGNING, PqdsaKeyPair};
use base64::Engine;
use hanzo_pqc::dsa::{MlDsa44, MlDsa65, MlDsa87, SigningKey};
use hanzo_pqc::kem::{DecapsulationKey, MlKem768, MlKem1024};

use crate::load::bytes;

fn pem(name: &str) -> Option<Vec<u8>> {
    let text = String::from_utf8(bytes(name)?).unwrap();
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    Some(base64::engine::general_purpose::STANDARD.decode(body).unwrap())
}

fn tail<const N: usize>(der: &[u8]) -> &[u8; N] {
    der.last_chunk().unwrap()
}

#[test]
fn seeds_give_their_public_keys() {
    let Some(private) = pem("pkcs8/ML-KEM-768-seed.priv") else {
        return;
    };
    let key = DecapsulationKey::<MlKem768>::from_seed(tail(&private)).unwrap();
    assert!(
        pem("pkcs8/ML-KEM-768.pub")
            .unwrap()
            .ends_with(key.encapsulation_key().as_bytes())
    );

    let key = DecapsulationKey::<MlKem1024>::from_seed(tail(&pem("pkcs8/ML-KEM-1024-seed.priv").unwrap())).unwrap();
    assert!(
        pem("pkcs8/ML-KEM-1024.pub")
            .unwrap()
            .ends_with(key.encapsulation_key().as_bytes())
    );

    let key = SigningKey::<MlDsa65>::from_seed(tail(&pem("pkcs8/ML-DSA-65-seed.priv").unwrap())).unwrap();
    assert!(
        pem("pkcs8/ML-DSA-65.pub")
            .unwrap()
            .ends_with(key.verifying_key().as_bytes())
    );

    let key = SigningKey::<MlDsa87>::from_seed(tail(&pem("pkcs8/ML-DSA-87-seed.priv").unwrap())).unwrap();
    assert!(
        pem("pkcs8/ML-DSA-87.pub")
            .unwrap()
            .ends_with(key.verifying_key().as_bytes())
    );

    let key = SigningKey::<MlDsa44>::from_seed(tail(&bytes("pyca/mldsa44_priv.der").unwrap())).unwrap();
    assert!(
        bytes("pyca/mldsa44_pub.der")
            .unwrap()
            .ends_with(key.verifying_key().as_bytes())
    );
}

#[test]
fn pyca_ml_kem_768_seed_works_with_the_oracle() {
    let Some(der) = bytes("pyca/mlkem768.der") else { return };
    let ours = DecapsulationKey::<MlKem768>::from_seed(tail(&der)).unwrap();
    let oracle = ml_kem::DecapsulationKey::<ml_kem::MlKem768>::from_seed((*tail::<64>(&der)).into());
    let (c, k) = ours.encapsulation_key().encapsulate().unwrap();
    let opened = ml_kem::kem::Decapsulate::decapsulate(&oracle, &c.as_slice().try_into().unwrap());
    assert_eq!(opened.as_slice(), k.expose());
}

/// A key file without its seed cannot become one of our keys: the constructors take 32-byte seeds alone. It is a sound
/// key all the same, which the backend shows.
#[test]
fn pyca_ml_dsa_65_without_seed_is_no_key_of_ours() {
    let Some(der) = bytes("pyca/mldsa65_noseed_priv.der") else {
        return;
    };
    let expanded: &[u8; 4032] = tail(&der);
    assert!(PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, expanded).is_err());
    assert!(PqdsaKeyPair::from_raw_private_key(&ML_DSA_65_SIGNING, expanded).is_ok());
}

//! X25519, the classical half of X-Wing: AWS-LC's results, and our list of small-order points against all of them.

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use hanzo_pqc::PqcError;
use hanzo_pqc::hpke::{self, KemSuite, PublicKey};

use crate::load::{grouped, hex_of};

#[test]
fn wycheproof_x25519() {
    let Some(tests) = grouped("wycheproof/x25519_test.json") else {
        return;
    };
    let mut xwing = hpke::PrivateKey::generate(KemSuite::Xwing)
        .unwrap()
        .public_key()
        .as_bytes()
        .to_vec();
    let (mut exact, mut refused) = (0, 0);
    for (_, test) in &tests {
        let (public, shared) = (hex_of(test, "public"), hex_of(test, "shared"));
        let key = PrivateKey::from_private_key(&X25519, &hex_of(test, "private")).unwrap();
        let peer = UnparsedPublicKey::new(&X25519, &public);
        let ours = agree(&key, peer, (), |secret| Ok(secret.to_vec()));
        xwing.splice(1184.., public.iter().copied());
        let read = PublicKey::from_bytes(KemSuite::Xwing, &xwing).map(|_| ());
        if shared == [0; 32] {
            assert_eq!(ours, Err(()), "{test}");
            assert_eq!(
                read,
                Err(PqcError::LowOrder {
                    what: "HPKE public key"
                }),
                "{test}"
            );
            refused += 1;
        } else {
            assert_eq!(ours.unwrap(), shared, "{test}");
            assert_eq!(read, Ok(()), "{test}");
            exact += 1;
        }
    }
    println!("X25519: {exact} exact, {refused} of small order refused");
    assert_eq!((exact, refused), (487, 31));
}

//! Double signatures: both halves, one domain, one key.

use hanzo_pqc::sign::{Signature, SigningKeys, VerifyingKeys};
use hanzo_pqc::{Domain, PqcError, SignatureHalf, SignatureSuite};

fn refused(half: SignatureHalf, domain: Domain) -> Result<(), PqcError> {
    Err(PqcError::Signature {
        half,
        domain: domain.as_str(),
    })
}

#[test]
fn both_halves_must_verify() {
    for suite in SignatureSuite::ALL {
        let keys = SigningKeys::from_seed(suite, &[7; 64]).unwrap();
        let other = SigningKeys::from_seed(suite, &[8; 64]).unwrap();
        let public = keys.verifying_keys();
        let good = keys.sign(Domain::Grant, b"message").unwrap();
        let foreign = other.sign(Domain::Grant, b"message").unwrap();
        let mixed = |ml_dsa: &Signature, ed: &Signature| Signature::from_hex(&ml_dsa.ml_dsa_hex(), &ed.ed25519_hex());

        assert_eq!(public.verify(Domain::Grant, b"message", &good), Ok(()));
        let verify = |signature: Signature| public.verify(Domain::Grant, b"message", &signature);
        assert_eq!(verify(mixed(&good, &good).unwrap()), Ok(()));
        assert_eq!(
            verify(mixed(&foreign, &good).unwrap()),
            refused(SignatureHalf::MlDsa, Domain::Grant)
        );
        assert_eq!(
            verify(mixed(&good, &foreign).unwrap()),
            refused(SignatureHalf::Ed25519, Domain::Grant)
        );
        assert_eq!(verify(foreign), refused(SignatureHalf::Both, Domain::Grant));
        assert_eq!(
            public.verify(Domain::Grant, b"messagf", &good),
            refused(SignatureHalf::Both, Domain::Grant)
        );
        assert_eq!(
            public.verify(Domain::Receipt, b"message", &good),
            refused(SignatureHalf::Both, Domain::Receipt)
        );

        let read = VerifyingKeys::from_hex(suite, &public.ml_dsa_hex(), &public.ed25519_hex()).unwrap();
        assert_eq!(&read, public);
    }
}

//! AMD's roots, compiled in. Nothing else makes evidence that is not simulated.
//!
//! Per product: the ARK (pinned; self-signed), the ASK that endorses VCEKs and the ASVK that endorses VLEKs. ASK and
//! ASVK are here so that evidence without one can be verified; an ASK that travels with evidence must be signed by the
//! ARK like any other.

mod genoa;
mod milan;
mod turin;

use super::product::Product;
use super::report::SigningKey;

/// The self-signed AMD root key certificate of `product`, DER.
pub fn ark(product: Product) -> &'static [u8] {
    match product {
        Product::Milan => &milan::ARK,
        Product::Genoa => &genoa::ARK,
        Product::Turin => &turin::ARK,
    }
}

/// The intermediate of `product` that issues certificates for `key`: ASK or ASVK, DER.
pub fn intermediate(product: Product, key: SigningKey) -> &'static [u8] {
    match (product, key) {
        (Product::Milan, SigningKey::Vcek) => &milan::ASK,
        (Product::Milan, SigningKey::Vlek) => &milan::ASVK,
        (Product::Genoa, SigningKey::Vcek) => &genoa::ASK,
        (Product::Genoa, SigningKey::Vlek) => &genoa::ASVK,
        (Product::Turin, SigningKey::Vcek) => &turin::ASK,
        (Product::Turin, SigningKey::Vlek) => &turin::ASVK,
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::{Certificate, Role};
    use super::*;
    use crate::Digest256;
    use crate::KnownSignatures;

    #[test]
    fn pinned_certificates_have_the_digests_that_are_written_beside_them() {
        for (der, sha256) in [
            (&milan::ARK[..], milan::ARK_SHA256),
            (&milan::ASK, milan::ASK_SHA256),
            (&milan::ASVK, milan::ASVK_SHA256),
            (&genoa::ARK, genoa::ARK_SHA256),
            (&genoa::ASK, genoa::ASK_SHA256),
            (&genoa::ASVK, genoa::ASVK_SHA256),
            (&turin::ARK, turin::ARK_SHA256),
            (&turin::ASK, turin::ASK_SHA256),
            (&turin::ASVK, turin::ASVK_SHA256),
        ] {
            assert_eq!(Digest256::of(der).to_string(), sha256);
        }
    }

    #[test]
    fn each_ark_is_self_signed_and_signs_its_intermediates_and_no_others() {
        for product in Product::ALL {
            let root = Certificate::parse(Role::Ark, ark(product)).unwrap();
            root.verify_signed_by(&root, &KnownSignatures::default()).unwrap();
            assert_eq!(root.common_name(), product.ark_common_name());
            for key in [SigningKey::Vcek, SigningKey::Vlek] {
                let ask = Certificate::parse(Role::Ask, intermediate(product, key)).unwrap();
                assert_eq!(ask.common_name(), product.ask_common_name(key));
                ask.verify_signed_by(&root, &KnownSignatures::default()).unwrap();
                for other in Product::ALL.into_iter().filter(|p| *p != product) {
                    let other = Certificate::parse(Role::Ark, ark(other)).unwrap();
                    assert_eq!(
                        ask.verify_signed_by(&other, &KnownSignatures::default())
                            .unwrap_err()
                            .code(),
                        "snp.chain.ask"
                    );
                }
            }
        }
    }

    #[test]
    fn the_keys_of_the_arks_are_the_ones_written_beside_them() {
        for (product, sha256) in [
            (Product::Milan, milan::ARK_SPKI_SHA256),
            (Product::Genoa, genoa::ARK_SPKI_SHA256),
            (Product::Turin, turin::ARK_SPKI_SHA256),
        ] {
            let root = Certificate::parse(Role::Ark, ark(product)).unwrap();
            assert_eq!(Digest256::of(&root.spki_der().unwrap()).to_string(), sha256);
        }
    }
}

//! Certificates and lists in Intel's shape (SGX PCK Certificate and CRL Profile Specification), under names that are not
//! Intel's, by keys of P-256.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

use crate::certificate::{extension, name};
use crate::encode::{OCTET_STRING, SEQUENCE, bit_string, integer, nest, oid, time, tlv};
use crate::keys::derive;
use crate::tdx::PckSpec;

const BOOLEAN: u8 = 0x01;
const ENUMERATED: u8 = 0x0a;
/// Intel's arc of SGX extensions.
const SGX: [u32; 7] = [1, 2, 840, 113_741, 1, 13, 1];

/// A key from the seed.
pub(crate) struct TdxKey(EcdsaKeyPair);

impl TdxKey {
    pub(crate) fn derive(seed: &[u8; 32], what: &[&[u8]]) -> Self {
        // A candidate is no scalar of P-256 about once in 2^32.
        let pair = (0..=u8::MAX).find_map(|attempt| {
            let attempt = [attempt];
            let parts = [&[&b"tdx"[..]], what, &[&attempt[..]]].concat();
            let scalar = derive(seed, &parts);
            let public = PrivateKey::from_private_key(&ECDH_P256, &scalar[..32])
                .ok()?
                .compute_public_key()
                .ok()?;
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            EcdsaKeyPair::from_private_key_and_public_key(algorithm, &scalar[..32], public.as_ref()).ok()
        });
        Self(pair.expect("one of 256 candidates is a scalar"))
    }

    /// x and y.
    pub(crate) fn point(&self) -> [u8; 64] {
        let mut out = [0; 64];
        out.copy_from_slice(&self.0.public_key().as_ref()[1..]);
        out
    }

    /// r and s.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self
            .0
            .sign(&SystemRandom::new(), message)
            .expect("a P-256 key that was accepted signs");
        let mut fixed = [0; 64];
        fixed.copy_from_slice(signature.as_ref());
        fixed
    }

    fn sign_x509(&self, tbs: Vec<u8>) -> Vec<u8> {
        let (r, s) = (&self.sign(&tbs), 32);
        let signature = nest(SEQUENCE, &[&integer(&r[..s]), &integer(&r[s..])]);
        nest(SEQUENCE, &[&tbs, &algorithm(), &bit_string(&signature)])
    }

    fn spki(&self) -> Vec<u8> {
        let curve = oid(&[1, 2, 840, 10_045, 3, 1, 7]);
        let algorithm = nest(SEQUENCE, &[&oid(&[1, 2, 840, 10_045, 2, 1]), &curve]);
        nest(SEQUENCE, &[&algorithm, &bit_string(self.0.public_key().as_ref())])
    }
}

/// ecdsa-with-SHA256.
fn algorithm() -> Vec<u8> {
    nest(SEQUENCE, &[&oid(&[1, 2, 840, 10_045, 4, 3, 2])])
}

/// Who signs: a name and its key.
pub(crate) struct TdxIssuer<'a> {
    pub(crate) name: &'a str,
    pub(crate) key: &'a TdxKey,
}

/// Who is certified.
pub(crate) struct TdxSubject<'a> {
    pub(crate) name: &'a str,
    pub(crate) key: &'a TdxKey,
    pub(crate) serial: &'a [u8],
    pub(crate) validity: (u64, u64),
    pub(crate) extensions: Vec<Vec<u8>>,
}

pub(crate) fn issue(issuer: &TdxIssuer<'_>, subject: &TdxSubject<'_>) -> Vec<u8> {
    let (not_before, not_after) = subject.validity;
    issuer.key.sign_x509(nest(
        SEQUENCE,
        &[
            &tlv(0xa0, &integer(&[2])),
            &integer(subject.serial),
            &algorithm(),
            &name(issuer.name),
            &nest(SEQUENCE, &[&time(not_before), &time(not_after)]),
            &name(subject.name),
            &subject.key.spki(),
            &tlv(0xa3, &tlv(SEQUENCE, &subject.extensions.concat())),
        ],
    ))
}

/// A list that names `serials`; `more` stands behind the list's number among its extensions.
pub(crate) fn revoke(
    issuer: &TdxIssuer<'_>,
    (this_update, next_update): (u64, u64),
    serials: &[Vec<u8>],
    more: &[u8],
) -> Vec<u8> {
    let entries: Vec<u8> = serials
        .iter()
        .flat_map(|serial| nest(SEQUENCE, &[&integer(serial), &time(this_update)]))
        .collect();
    let revoked = if entries.is_empty() {
        Vec::new()
    } else {
        tlv(SEQUENCE, &entries)
    };
    let number = extension(&[2, 5, 29, 20], false, &integer(&[1]));
    issuer.key.sign_x509(nest(
        SEQUENCE,
        &[
            &integer(&[1]),
            &algorithm(),
            &name(issuer.name),
            &time(this_update),
            &time(next_update),
            &revoked,
            &tlv(0xa0, &nest(SEQUENCE, &[&number, more])),
        ],
    ))
}

/// basicConstraints with cA and as many levels below; keyUsage keyCertSign and cRLSign.
pub(crate) fn authority_extensions(levels_below: u8) -> Vec<Vec<u8>> {
    let constraints = [tlv(BOOLEAN, &[0xff]), integer(&[levels_below])].concat();
    vec![
        extension(&[2, 5, 29, 19], true, &tlv(SEQUENCE, &constraints)),
        extension(&[2, 5, 29, 15], true, &[0x03, 0x02, 0x01, 0x06]),
    ]
}

/// basicConstraints without cA; keyUsage digitalSignature and nonRepudiation.
pub(crate) fn signer_extensions() -> Vec<Vec<u8>> {
    vec![
        extension(&[2, 5, 29, 19], true, &tlv(SEQUENCE, &[])),
        extension(&[2, 5, 29, 15], true, &[0x03, 0x02, 0x06, 0xc0]),
    ]
}

/// The SGX extension of a PCK certificate.
pub(crate) fn sgx_extension(pck: &PckSpec) -> Vec<u8> {
    let entry = |arcs: &[u32], value: &[u8]| nest(SEQUENCE, &[&oid(&[&SGX, arcs].concat()), value]);
    let octets = |bytes: &[u8]| tlv(OCTET_STRING, bytes);
    let components = (1..)
        .zip(pck.cpu_svn)
        .flat_map(|(i, svn)| entry(&[2, i], &integer(&[svn])));
    let tcb: Vec<u8> = components
        .chain(entry(&[2, 17], &integer(&pck.pce_svn.to_be_bytes())))
        .chain(entry(&[2, 18], &octets(&pck.cpu_svn)))
        .collect();
    let flag = |arc, on: bool| entry(&[7, arc], &tlv(BOOLEAN, &[if on { 0xff } else { 0 }]));
    let configuration = [
        flag(1, pck.dynamic_platform),
        flag(2, pck.cached_keys),
        flag(3, pck.smt_enabled),
    ];
    let value = nest(
        SEQUENCE,
        &[
            &entry(&[1], &octets(&pck.ppid)),
            &entry(&[2], &tlv(SEQUENCE, &tcb)),
            &entry(&[3], &octets(&pck.pce_id)),
            &entry(&[4], &octets(&pck.fmspc)),
            &entry(&[5], &tlv(ENUMERATED, &[1])),
            &entry(&[6], &octets(&[0x16; 16])),
            &entry(&[7], &tlv(SEQUENCE, &configuration.concat())),
        ],
    );
    extension(&SGX, false, &value)
}

/// Certificates in PEM, 64 letters a line.
pub(crate) fn pem(chain: &[&[u8]]) -> String {
    chain.iter().map(|der| one_pem(der)).collect()
}

fn one_pem(der: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut letters = String::new();
    for group in der.chunks(3) {
        let word = group.iter().fold(0_u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - group.len()));
        for i in 0..4 {
            letters.push(if i <= group.len() {
                char::from(LETTERS[(word >> (18 - 6 * i)) as usize & 63])
            } else {
                '='
            });
        }
    }
    let lines: Vec<&str> = (0..letters.len())
        .step_by(64)
        .map(|at| &letters[at..letters.len().min(at + 64)])
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_is_that_of_rfc_7468() {
        assert!(one_pem(b"abcd").contains("\nYWJjZA==\n"));
        assert!(one_pem(b"abc").contains("\nYWJj\n"));
        assert!(one_pem(&[0; 48]).contains(&format!("\n{}\n-----END", "A".repeat(64))));
    }
}

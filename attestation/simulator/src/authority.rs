//! Certificate authorities on P-384, as NVIDIA's hierarchies have them: names are not NVIDIA's.

use crate::certificate::{Subject, extension, name, p384_spki};
use crate::encode::{SEQUENCE, bit_string, integer, nest, oid, time, tlv};
use crate::keys::ReportKey;

/// A name with a key, and the key of its OCSP responder.
pub(crate) struct Authority {
    pub(crate) common_name: String,
    pub(crate) key: ReportKey,
    pub(crate) responder: ReportKey,
}

impl Authority {
    /// The same keys for the same seed and label.
    pub(crate) fn derive(seed: &[u8; 32], label: &str, common_name: &str) -> Self {
        let key = |what: &str| ReportKey::derive(seed, &[b"authority", label.as_bytes(), what.as_bytes()]);
        Self {
            common_name: common_name.to_owned(),
            key: key("certificates"),
            responder: key("ocsp"),
        }
    }

    /// SubjectPublicKeyInfo.
    pub(crate) fn spki(&self) -> Vec<u8> {
        p384_spki(self.key.public_key())
    }

    /// Issues a certificate signed with ECDSA and SHA-384.
    pub(crate) fn issue(&self, subject: &Subject<'_>) -> Vec<u8> {
        let (not_before, not_after) = subject.validity;
        let tbs = nest(
            SEQUENCE,
            &[
                &tlv(0xa0, &integer(&[2])),
                &integer(subject.serial),
                &ecdsa_sha384(),
                &name(&self.common_name),
                &nest(SEQUENCE, &[&time(not_before), &time(not_after)]),
                &name(subject.common_name),
                &subject.spki,
                &tlv(0xa3, &tlv(SEQUENCE, &subject.extensions.concat())),
            ],
        );
        nest(
            SEQUENCE,
            &[&tbs, &ecdsa_sha384(), &bit_string(&sign_der(&self.key, &tbs))],
        )
    }
}

/// AlgorithmIdentifier of ecdsa-with-SHA384.
pub(crate) fn ecdsa_sha384() -> Vec<u8> {
    nest(SEQUENCE, &[&oid(&[1, 2, 840, 10_045, 4, 3, 3])])
}

/// Ecdsa-Sig-Value.
pub(crate) fn sign_der(key: &ReportKey, message: &[u8]) -> Vec<u8> {
    let fixed = key.sign(message);
    nest(SEQUENCE, &[&integer(&fixed[..48]), &integer(&fixed[48..])])
}

/// basicConstraints with cA and, if given, pathLen; keyUsage keyCertSign and cRLSign.
pub(crate) fn ca_extensions(path_len: Option<u8>) -> Vec<Vec<u8>> {
    let path_len = path_len.map_or(Vec::new(), |n| integer(&[n]));
    vec![
        extension(
            &[2, 5, 29, 19],
            true,
            &nest(SEQUENCE, &[&tlv(0x01, &[0xff]), &path_len]),
        ),
        extension(&[2, 5, 29, 15], true, &[0x03, 0x02, 0x01, 0x06]),
    ]
}

/// basicConstraints without cA; keyUsage digitalSignature.
pub(crate) fn signer_extensions() -> Vec<Vec<u8>> {
    vec![
        extension(&[2, 5, 29, 19], true, &tlv(SEQUENCE, &[])),
        extension(&[2, 5, 29, 15], true, &[0x03, 0x02, 0x07, 0x80]),
    ]
}

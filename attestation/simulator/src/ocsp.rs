//! OCSP answers (RFC 6960) about certificates of a simulated authority, right and wrong ones.

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, digest};

use crate::authority::{Authority, ecdsa_sha384, sign_der, signer_extensions};
use crate::certificate::{NOT_AFTER, NOT_BEFORE, Subject, extension, name, p384_spki};
use crate::encode::{NULL, OCTET_STRING, SEQUENCE, bit_string, integer, nest, oid, time, tlv};
use crate::keys::ReportKey;

const ENUMERATED: u8 = 0x0a;

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcspStatus {
    /// Not revoked.
    Good,
    /// Revoked; reason 6 is certificateHold.
    Revoked {
        /// Seconds since 1970.
        at: u64,
        /// CRLReason.
        reason: Option<u8>,
    },
    /// The responder does not know the certificate.
    Unknown,
}

/// How an answer names the issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcspHash {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384, as NVIDIA's verifier asks.
    Sha384,
}

/// Who signs an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcspSigner {
    /// A key with a certificate of the issuer for OCSP signing, as NVIDIA does it.
    Delegate,
    /// The issuer's own key.
    Issuer,
    /// A delegate whose certificate is not for OCSP signing.
    DelegateWithoutUsage,
    /// A delegate whose certificate ended a day before 1980.
    ExpiredDelegate,
    /// A delegate whose certificate names the issuer and was signed by another key.
    Stranger,
}

/// One answer about one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspSpec {
    /// What it says.
    pub status: OcspStatus,
    /// First second of its life.
    pub this_update: u64,
    /// Last second of its life.
    pub next_update: Option<u64>,
    /// How it names the issuer.
    pub hash: OcspHash,
    /// Who signs.
    pub signer: OcspSigner,
    /// It names its signer by key instead of by name.
    pub by_key: bool,
    /// It carries this nonce.
    pub nonce: Option<Vec<u8>>,
}

impl OcspSpec {
    /// As NVIDIA's responder answers: good, for a day from an hour before `now`, by a delegate.
    pub fn good(now: u64) -> Self {
        let this_update = now.saturating_sub(3600);
        Self {
            status: OcspStatus::Good,
            this_update,
            next_update: Some(this_update + 86_400),
            hash: OcspHash::Sha384,
            signer: OcspSigner::Delegate,
            by_key: false,
            nonce: None,
        }
    }

    /// The same with another status.
    pub fn with_status(mut self, status: OcspStatus) -> Self {
        self.status = status;
        self
    }

    /// The same by another signer.
    pub fn with_signer(mut self, signer: OcspSigner) -> Self {
        self.signer = signer;
        self
    }
}

/// A responder's refusal: OCSPResponseStatus alone, e.g. 6, unauthorized.
pub(crate) fn refusal(status: u8) -> Vec<u8> {
    nest(SEQUENCE, &[&tlv(ENUMERATED, &[status])])
}

/// Answers about the certificate with `serial` that `issuer` issued.
pub(crate) fn answer(issuer: &Authority, serial: &[u8], spec: &OcspSpec) -> Vec<u8> {
    let (signer_name, key): (&str, &ReportKey) = match spec.signer {
        OcspSigner::Issuer => (&issuer.common_name, &issuer.key),
        _ => ("OCSP Responder (simulated)", &issuer.responder),
    };
    let responder_id = if spec.by_key {
        tlv(
            0xa2,
            &tlv(OCTET_STRING, &hash(&SHA1_FOR_LEGACY_USE_ONLY, key.public_key())),
        )
    } else {
        tlv(0xa1, &name(signer_name))
    };
    let extensions = spec.nonce.as_ref().map_or(Vec::new(), |nonce| {
        let nonce = extension(&[1, 3, 6, 1, 5, 5, 7, 48, 1, 2], true, &tlv(OCTET_STRING, nonce));
        tlv(0xa1, &tlv(SEQUENCE, &nonce))
    });
    let data = nest(
        SEQUENCE,
        &[
            &responder_id,
            &generalized_time(spec.this_update),
            &tlv(SEQUENCE, &single(issuer, serial, spec)),
            &extensions,
        ],
    );
    let certificates = delegation(issuer, signer_name, spec).map_or(Vec::new(), |der| tlv(0xa0, &tlv(SEQUENCE, &der)));
    let basic = nest(
        SEQUENCE,
        &[
            &data,
            &ecdsa_sha384(),
            &bit_string(&sign_der(key, &data)),
            &certificates,
        ],
    );
    let bytes = nest(
        SEQUENCE,
        &[&oid(&[1, 3, 6, 1, 5, 5, 7, 48, 1, 1]), &tlv(OCTET_STRING, &basic)],
    );
    nest(SEQUENCE, &[&tlv(ENUMERATED, &[0]), &tlv(0xa0, &bytes)])
}

/// SingleResponse.
fn single(issuer: &Authority, serial: &[u8], spec: &OcspSpec) -> Vec<u8> {
    let (algorithm, arcs): (&'static Algorithm, &[u32]) = match spec.hash {
        OcspHash::Sha1 => (&SHA1_FOR_LEGACY_USE_ONLY, &[1, 3, 14, 3, 2, 26]),
        OcspHash::Sha256 => (&SHA256, &[2, 16, 840, 1, 101, 3, 4, 2, 1]),
        OcspHash::Sha384 => (&SHA384, &[2, 16, 840, 1, 101, 3, 4, 2, 2]),
    };
    let id = nest(
        SEQUENCE,
        &[
            &nest(SEQUENCE, &[&oid(arcs), &tlv(NULL, &[])]),
            &tlv(OCTET_STRING, &hash(algorithm, &name(&issuer.common_name))),
            &tlv(OCTET_STRING, &hash(algorithm, issuer.key.public_key())),
            &integer(serial),
        ],
    );
    let status = match spec.status {
        OcspStatus::Good => tlv(0x80, &[]),
        OcspStatus::Unknown => tlv(0x82, &[]),
        OcspStatus::Revoked { at, reason } => {
            let reason = reason.map_or(Vec::new(), |r| tlv(0xa0, &tlv(ENUMERATED, &[r])));
            tlv(0xa1, &[generalized_time(at), reason].concat())
        }
    };
    let next = spec.next_update.map_or(Vec::new(), |t| tlv(0xa0, &generalized_time(t)));
    nest(SEQUENCE, &[&id, &status, &generalized_time(spec.this_update), &next])
}

/// The delegate's certificate.
fn delegation(issuer: &Authority, signer_name: &str, spec: &OcspSpec) -> Option<Vec<u8>> {
    let mut extensions = signer_extensions();
    if spec.signer != OcspSigner::DelegateWithoutUsage {
        let usage = tlv(SEQUENCE, &oid(&[1, 3, 6, 1, 5, 5, 7, 3, 9]));
        extensions.push(extension(&[2, 5, 29, 37], false, &usage));
    }
    let subject = Subject {
        common_name: signer_name,
        serial: &[1, 0x0c],
        validity: match spec.signer {
            OcspSigner::ExpiredDelegate => (0, 315_446_400),
            _ => (NOT_BEFORE, NOT_AFTER),
        },
        spki: p384_spki(issuer.responder.public_key()),
        extensions,
    };
    match spec.signer {
        OcspSigner::Issuer => None,
        OcspSigner::Stranger => {
            let stranger = Authority::derive(&[0x57; 32], "stranger", &issuer.common_name);
            Some(stranger.issue(&subject))
        }
        _ => Some(issuer.issue(&subject)),
    }
}

/// GeneralizedTime, whatever the year.
fn generalized_time(unix: u64) -> Vec<u8> {
    // UTCTime has two digits of the year less; this century and the last are told by RFC 5280's rule.
    let utc = time(unix);
    match utc.split_first() {
        Some((0x17, rest)) => {
            let digits = &rest[1..];
            let century: &[u8] = if digits[0] < b'5' { b"20" } else { b"19" };
            tlv(0x18, &[century, digits].concat())
        }
        _ => utc,
    }
}

fn hash(algorithm: &'static Algorithm, data: &[u8]) -> Vec<u8> {
    digest(algorithm, data).as_ref().to_vec()
}

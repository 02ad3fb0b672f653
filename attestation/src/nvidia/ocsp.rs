//! OCSP answers about NVIDIA's certificates (RFC 6960), read offline.
//!
//! # Which certificates
//! Every one between leaf and root. The leaf of a device is certified by the device itself, and NVIDIA's responder
//! does not serve it; the root is pinned. Should an answer about the leaf come along, it counts.
//!
//! # Who answers
//! The issuer of the certificate in question, or a key to which that very issuer gave a certificate for OCSP signing. The
//! responder's own certificate is not asked about (NVIDIA marks it so, id-pkix-ocsp-nocheck, and it is short-lived).
//!
//! # Several answers about one certificate
//! The latest counts, except that revoked is final. One that is not authentic, or not of now, is an error only if no
//! other came along. Answers about other certificates, and refusals to answer, are passed over.
//!
//! # Freshness
//! thisUpdate and nextUpdate against the caller's clock. A nonce is neither required nor compared: the answer was
//! fetched by somebody else, some time ago.

mod error;
mod response;

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::digest::Digest384;
use crate::evidence::UnixTime;
use crate::nvidia::rim::Certificate;
use crate::nvidia::{NvidiaError, OcspOutcome};

pub use error::OcspError;
use response::{Answer, CertStatus};

/// Most answers about one certificate that are verified.
const CANDIDATES_MAX: usize = 8;
/// CRLReason certificateHold (RFC 5280, section 5.3.1).
const CERTIFICATE_HOLD: u8 = 6;

/// What answers say of a device's chain, DER, leaf to root. The caller has verified the chain.
///
/// # Establishes
/// With [`OcspOutcome::Good`]: the issuers of all certificates between leaf and root said, for a time that includes
/// `now`, that they are not revoked.
///
/// # Errors
/// [`NvidiaError::Ocsp`]: a certificate is revoked or unknown to its issuer, or every answer about it is malformed,
/// forged or not of `now`; or one is on hold while answers about others are missing.
pub fn check(chain: &[&[u8]], answers: &[Vec<u8>], now: UnixTime) -> Result<OcspOutcome, NvidiaError> {
    Answers::new(answers, now).about_device(chain)
}

/// The answers that came with a device list. Each is read once, and what they say of a certificate is found out once,
/// however many devices have it in their chains.
pub(super) struct Answers<'a> {
    read: Vec<Answer<'a>>,
    unread: Option<OcspError>,
    none_came: bool,
    known: RefCell<BTreeMap<Asked, Result<Option<Latest>, OcspError>>>,
    now: UnixTime,
}

/// Position in a chain (errors name it), certificate and issuer.
type Asked = (usize, Digest384, Digest384);

impl<'a> Answers<'a> {
    pub(super) fn new(answers: &'a [Vec<u8>], now: UnixTime) -> Self {
        let (mut read, mut unread) = (Vec::with_capacity(answers.len()), None);
        for answer in answers {
            match Answer::parse(answer) {
                Ok(answer) => read.extend(answer),
                Err(e) => unread = unread.or(Some(e)),
            }
        }
        Self {
            read,
            unread,
            none_came: answers.is_empty(),
            known: RefCell::default(),
            now,
        }
    }

    /// As [`check`].
    pub(super) fn about_device(&self, chain: &[&[u8]]) -> Result<OcspOutcome, NvidiaError> {
        Ok(self.judge(chain, 1)?)
    }

    /// The same for a chain whose leaf is served too: the signer's of a RIM.
    pub(super) fn about_signer(&self, chain: &[&[u8]]) -> Result<OcspOutcome, OcspError> {
        self.judge(chain, 0)
    }

    /// `served`: position of the first certificate that must be answered for.
    fn judge(&self, chain: &[&[u8]], served: usize) -> Result<OcspOutcome, OcspError> {
        if self.none_came {
            return Ok(OcspOutcome::NoAnswer);
        }
        let certificates = chain
            .iter()
            .enumerate()
            .map(|(position, der)| Certificate::parse(der).map_err(|detail| OcspError::Chain { position, detail }))
            .collect::<Result<Vec<_>, _>>()?;
        let digests: Vec<Digest384> = chain.iter().map(|der| Digest384::of(der)).collect();
        let (mut missing, mut on_hold, mut earliest) = (None, false, None::<UnixTime>);
        let pairs = certificates.iter().zip(certificates.iter().skip(1));
        let asked = digests.iter().zip(digests.iter().skip(1));
        for (position, ((certificate, issuer), (of, by))) in pairs.zip(asked).enumerate() {
            let known = self.known.borrow().get(&(position, *of, *by)).cloned();
            let found = known.unwrap_or_else(|| {
                let found = status(position, certificate, issuer, &self.read, self.now);
                self.known.borrow_mut().insert((position, *of, *by), found.clone());
                found
            });
            match found? {
                None if position >= served => missing = missing.or(Some(position)),
                None => {}
                Some(latest) => {
                    on_hold |= latest.on_hold;
                    earliest = Some(earliest.map_or(latest.next_update, |e| e.min(latest.next_update)));
                }
            }
        }
        match (missing, &self.unread, on_hold, earliest) {
            // What could not be read may have been about the certificate that has no answer.
            (Some(_), Some(e), ..) => Err(e.clone()),
            (Some(position), None, true, _) => Err(OcspError::Incomplete { position }),
            (Some(_), None, false, _) | (None, _, _, None) => Ok(OcspOutcome::NoAnswer),
            (None, _, true, Some(_)) => Ok(OcspOutcome::OnHold),
            (None, _, false, Some(next_update)) => Ok(OcspOutcome::Good { next_update }),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Latest {
    this_update: UnixTime,
    next_update: UnixTime,
    on_hold: bool,
}

/// What the answers say of one certificate; `None`: nothing.
fn status(
    position: usize,
    certificate: &Certificate<'_>,
    issuer: &Certificate<'_>,
    answers: &[Answer<'_>],
    now: UnixTime,
) -> Result<Option<Latest>, OcspError> {
    let (mut latest, mut first_error, mut tried) = (None::<Latest>, None, 0_usize);
    for answer in answers {
        let Some(single) = answer.about(certificate, issuer) else {
            continue;
        };
        tried = tried.saturating_add(1);
        if tried > CANDIDATES_MAX {
            return Err(OcspError::TooMany { most: CANDIDATES_MAX });
        }
        let fresh = answer
            .verify_signed_for(issuer, now)
            .and_then(|()| single.check_fresh(now));
        if let Err(e) = fresh {
            first_error = first_error.or(Some(e));
            continue;
        }
        let on_hold = match single.status {
            CertStatus::Good => false,
            CertStatus::Revoked {
                reason: Some(CERTIFICATE_HOLD),
                ..
            } => true,
            CertStatus::Revoked { at, reason } => {
                return Err(OcspError::Revoked {
                    position,
                    at: at.0,
                    reason,
                });
            }
            CertStatus::Unknown => {
                first_error = first_error.or(Some(OcspError::Unknown { position }));
                continue;
            }
        };
        if latest.as_ref().is_none_or(|l| l.this_update < single.this_update) {
            latest = Some(Latest {
                this_update: single.this_update,
                next_update: single.next_update,
                on_hold,
            });
        }
    }
    match (latest, first_error) {
        (None, Some(e)) => Err(e),
        (latest, _) => Ok(latest),
    }
}

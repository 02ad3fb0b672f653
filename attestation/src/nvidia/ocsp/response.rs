//! OCSPResponse and BasicOCSPResponse (RFC 6960, section 4.2.1), DER.

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, digest};
use der::asn1::{AnyRef, BitStringRef, GeneralizedTime, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use x509_cert::ext::Extensions;

use super::OcspError;
use crate::evidence::UnixTime;
use crate::nvidia::rim::{Certificate, verify_ecdsa};

/// Longest answer in bytes; one about one certificate takes about 1500.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Most certificates of one answer that are asked about, and most that are embedded.
const SINGLES_MAX: usize = 16;
const CERTIFICATES_MAX: usize = 4;

const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");
const ID_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const ID_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const ID_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");

const fn context(number: u32, constructed: bool) -> Tag {
    Tag::ContextSpecific {
        constructed,
        number: TagNumber(number),
    }
}

const MALFORMED: OcspError = OcspError::Malformed {
    detail: "no OCSPResponse with a BasicOCSPResponse in DER",
};

/// The elements of one constructed value, in order.
struct Items<'a>(SliceReader<'a>);

impl<'a> Items<'a> {
    fn new(content: &'a [u8]) -> Result<Self, OcspError> {
        SliceReader::new(content).map(Self).map_err(|_| MALFORMED)
    }

    fn is_empty(&self) -> bool {
        self.0.is_finished()
    }

    fn any(&mut self) -> Result<AnyRef<'a>, OcspError> {
        AnyRef::decode(&mut self.0).map_err(|_| MALFORMED)
    }

    /// Tag, length and content of the next element.
    fn whole(&mut self) -> Result<&'a [u8], OcspError> {
        self.0.tlv_bytes().map_err(|_| MALFORMED)
    }

    fn content(&mut self, tag: Tag) -> Result<&'a [u8], OcspError> {
        let any = self.any()?;
        (any.tag() == tag).then_some(any.value()).ok_or(MALFORMED)
    }

    fn inside(&mut self, tag: Tag) -> Result<Self, OcspError> {
        Self::new(self.content(tag)?)
    }

    /// The next element if it has that tag.
    fn optional(&mut self, tag: Tag) -> Result<Option<Self>, OcspError> {
        if self.is_empty() || Tag::peek(&self.0).map_err(|_| MALFORMED)? != tag {
            return Ok(None);
        }
        self.inside(tag).map(Some)
    }

    fn time(&mut self) -> Result<UnixTime, OcspError> {
        let time = GeneralizedTime::decode(&mut self.0).map_err(|_| MALFORMED)?;
        Ok(UnixTime(time.to_unix_duration().as_secs()))
    }

    fn oid(&mut self) -> Result<ObjectIdentifier, OcspError> {
        ObjectIdentifier::decode(&mut self.0).map_err(|_| MALFORMED)
    }

    /// ENUMERATED of one byte.
    fn enumerated(&mut self) -> Result<u8, OcspError> {
        match self.content(Tag::Enumerated)? {
            [value] => Ok(*value),
            _ => Err(MALFORMED),
        }
    }

    /// EXPLICIT Extensions: none critical but the nonce.
    fn extensions(mut self) -> Result<(), OcspError> {
        let all = Extensions::from_der(self.whole()?).map_err(|_| MALFORMED)?;
        if all.iter().any(|e| e.critical && e.extn_id != NONCE) {
            return Err(OcspError::Malformed {
                detail: "an unknown extension is critical",
            });
        }
        self.finish()
    }

    fn finish(self) -> Result<(), OcspError> {
        if self.is_empty() { Ok(()) } else { Err(MALFORMED) }
    }
}

/// CertStatus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CertStatus {
    Good,
    Revoked { at: UnixTime, reason: Option<u8> },
    Unknown,
}

/// SingleResponse.
pub(super) struct Single<'a> {
    hash: &'static Algorithm,
    issuer_name_hash: &'a [u8],
    issuer_key_hash: &'a [u8],
    serial: &'a [u8],
    pub(super) status: CertStatus,
    pub(super) this_update: UnixTime,
    pub(super) next_update: UnixTime,
}

enum ResponderId<'a> {
    /// DER of the name.
    ByName(&'a [u8]),
    /// SHA-1 of the key.
    ByKey(&'a [u8]),
}

/// A BasicOCSPResponse, not verified.
pub(super) struct Answer<'a> {
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    certificates: Vec<&'a [u8]>,
    responder: ResponderId<'a>,
    singles: Vec<Single<'a>>,
}

impl<'a> Answer<'a> {
    /// Reads an answer; `None` for a responder's refusal to answer (tryLater, unauthorized and the like).
    pub(super) fn parse(der: &'a [u8]) -> Result<Option<Self>, OcspError> {
        if der.len() > ANSWER_BYTES_MAX {
            return Err(OcspError::Malformed {
                detail: "longer than 16384 bytes",
            });
        }
        let mut document = Items::new(der)?;
        let mut outer = document.inside(Tag::Sequence)?;
        document.finish()?;
        match outer.enumerated()? {
            0 => {}
            1..=3 | 5 | 6 => {
                outer.finish()?;
                return Ok(None);
            }
            _ => return Err(MALFORMED),
        }
        let mut tagged = outer.inside(context(0, true))?;
        outer.finish()?;
        let mut bytes = tagged.inside(Tag::Sequence)?;
        tagged.finish()?;
        if bytes.oid()? != BASIC {
            return Err(MALFORMED);
        }
        let basic = bytes.content(Tag::OctetString)?;
        bytes.finish()?;
        Self::basic(basic).map(Some)
    }

    fn basic(der: &'a [u8]) -> Result<Self, OcspError> {
        let mut document = Items::new(der)?;
        let mut basic = document.inside(Tag::Sequence)?;
        document.finish()?;
        let (signed, algorithm) = (basic.whole()?, basic.whole()?);
        let signature = BitStringRef::decode(&mut basic.0).map_err(|_| MALFORMED)?;
        let signature = signature.as_bytes().ok_or(MALFORMED)?;
        let mut certificates = Vec::new();
        if let Some(mut tagged) = basic.optional(context(0, true))? {
            let mut list = tagged.inside(Tag::Sequence)?;
            tagged.finish()?;
            while !list.is_empty() {
                if certificates.len() >= CERTIFICATES_MAX {
                    return Err(OcspError::Malformed {
                        detail: "more than 4 certificates",
                    });
                }
                certificates.push(list.whole()?);
            }
        }
        basic.finish()?;
        let (responder, singles) = response_data(signed)?;
        Ok(Self {
            signed,
            algorithm,
            signature,
            certificates,
            responder,
            singles,
        })
    }

    /// What it says about a certificate, if anything.
    pub(super) fn about(&self, certificate: &Certificate<'_>, issuer: &Certificate<'_>) -> Option<&Single<'a>> {
        let (name, (_, key)) = (issuer.subject_der()?, issuer.key()?);
        self.singles.iter().find(|single| {
            single.serial == certificate.serial()
                && single.issuer_name_hash == digest(single.hash, &name).as_ref()
                && single.issuer_key_hash == digest(single.hash, key).as_ref()
        })
    }

    /// `issuer` signed, or somebody to whom it delegated that.
    pub(super) fn verify_signed_for(&self, issuer: &Certificate<'_>, now: UnixTime) -> Result<(), OcspError> {
        if self.names(issuer) {
            return self.verify_signed_by(issuer);
        }
        let mut refused = "no certificate for the responder that the answer names came with it";
        for der in &self.certificates {
            let responder = match Certificate::parse(der) {
                Ok(responder) if self.names(&responder) => responder,
                _ => continue,
            };
            let (not_before, not_after) = responder.validity();
            if responder.verify_signed_by(issuer, 0).is_err() {
                refused = "its certificate was not issued by the issuer of the certificate in question";
            } else if !responder.is_ocsp_signer() {
                refused = "its certificate is not for OCSP signing";
            } else if now < not_before || now > not_after {
                refused = "its certificate is not valid now";
            } else {
                return self.verify_signed_by(&responder);
            }
        }
        Err(OcspError::Responder { detail: refused })
    }

    fn names(&self, responder: &Certificate<'_>) -> bool {
        match self.responder {
            ResponderId::ByName(name) => responder.subject_der().is_some_and(|subject| subject == name),
            ResponderId::ByKey(hash) => responder
                .key()
                .is_some_and(|(_, key)| digest(&SHA1_FOR_LEGACY_USE_ONLY, key).as_ref() == hash),
        }
    }

    fn verify_signed_by(&self, responder: &Certificate<'_>) -> Result<(), OcspError> {
        let key = responder.key().ok_or(OcspError::Signature)?;
        if verify_ecdsa(key, self.algorithm, self.signed, self.signature) {
            Ok(())
        } else {
            Err(OcspError::Signature)
        }
    }
}

/// ResponseData.
fn response_data(der: &[u8]) -> Result<(ResponderId<'_>, Vec<Single<'_>>), OcspError> {
    let mut document = Items::new(der)?;
    let mut data = document.inside(Tag::Sequence)?;
    document.finish()?;
    // Version 1 is the default, and DER leaves defaults out.
    if data.optional(context(0, true))?.is_some() {
        return Err(OcspError::Malformed {
            detail: "ResponseData.version: expected 1, left out",
        });
    }
    let responder = if let Some(mut name) = data.optional(context(1, true))? {
        let der = name.whole()?;
        name.finish()?;
        ResponderId::ByName(der)
    } else {
        let mut key = data.inside(context(2, true))?;
        let hash = key.content(Tag::OctetString)?;
        key.finish()?;
        ResponderId::ByKey(hash)
    };
    data.time()?;
    let mut list = data.inside(Tag::Sequence)?;
    let mut singles = Vec::new();
    while !list.is_empty() {
        if singles.len() >= SINGLES_MAX {
            return Err(OcspError::Malformed {
                detail: "answers about more than 16 certificates",
            });
        }
        singles.push(Single::read(list.inside(Tag::Sequence)?)?);
    }
    if let Some(extensions) = data.optional(context(1, true))? {
        extensions.extensions()?;
    }
    data.finish()?;
    Ok((responder, singles))
}

impl<'a> Single<'a> {
    fn read(mut single: Items<'a>) -> Result<Self, OcspError> {
        let mut id = single.inside(Tag::Sequence)?;
        let mut algorithm = id.inside(Tag::Sequence)?;
        let hash = match algorithm.oid()? {
            ID_SHA1 => &SHA1_FOR_LEGACY_USE_ONLY,
            ID_SHA256 => &SHA256,
            ID_SHA384 => &SHA384,
            _ => {
                return Err(OcspError::Malformed {
                    detail: "CertID.hashAlgorithm: expected SHA-1, SHA-256 or SHA-384",
                });
            }
        };
        if !algorithm.is_empty() && !algorithm.content(Tag::Null)?.is_empty() {
            return Err(MALFORMED);
        }
        algorithm.finish()?;
        let (issuer_name_hash, issuer_key_hash) = (id.content(Tag::OctetString)?, id.content(Tag::OctetString)?);
        let serial = id.content(Tag::Integer)?;
        id.finish()?;
        let status = cert_status(single.any()?)?;
        let this_update = single.time()?;
        let Some(mut next) = single.optional(context(0, true))? else {
            return Err(OcspError::Malformed {
                detail: "SingleResponse.nextUpdate: missing, so that nobody can tell how long it holds",
            });
        };
        let next_update = next.time()?;
        next.finish()?;
        if let Some(extensions) = single.optional(context(1, true))? {
            extensions.extensions()?;
        }
        single.finish()?;
        Ok(Self {
            hash,
            issuer_name_hash,
            issuer_key_hash,
            serial,
            status,
            this_update,
            next_update,
        })
    }

    pub(super) fn check_fresh(&self, now: UnixTime) -> Result<(), OcspError> {
        if now < self.this_update {
            return Err(OcspError::NotYetValid {
                this_update: self.this_update.0,
                now: now.0,
            });
        }
        if now > self.next_update {
            return Err(OcspError::Stale {
                next_update: self.next_update.0,
                now: now.0,
            });
        }
        Ok(())
    }
}

fn cert_status(any: AnyRef<'_>) -> Result<CertStatus, OcspError> {
    if any.tag() == context(1, true) {
        let mut revoked = Items::new(any.value())?;
        let at = revoked.time()?;
        let reason = match revoked.optional(context(0, true))? {
            Some(mut tagged) => {
                let reason = tagged.enumerated()?;
                tagged.finish()?;
                Some(reason)
            }
            None => None,
        };
        revoked.finish()?;
        return Ok(CertStatus::Revoked { at, reason });
    }
    match (any.tag(), any.value()) {
        (tag, []) if tag == context(0, false) => Ok(CertStatus::Good),
        (tag, []) if tag == context(2, false) => Ok(CertStatus::Unknown),
        _ => Err(MALFORMED),
    }
}

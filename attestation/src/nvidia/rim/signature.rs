//! The XML signature of a tag (W3C XML Signature 1.1), in the one form that NVIDIA gives it.
//!
//! Enveloped, one reference to the whole document, C14N 1.1, SHA-384, ECDSA P-384 with r and s side by side, certificates
//! from the signer to the root. Identifiers are compared, never interpreted.

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::certificate::{Certificate, Curve};
use super::root::NVIDIA_RIM_ROOT;
use super::schema::{DSIG, Tag};
use crate::digest::Digest384;
use crate::evidence::{Anchors, UnixTime};
use crate::nvidia::rim::RimError;
use crate::nvidia::xml::{Element, canonical};

const C14N11: &str = "http://www.w3.org/2006/12/xml-c14n11";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const ECDSA_SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384";
const SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#sha384";
/// Signer, two authorities, root.
const CERTIFICATES: usize = 4;

/// Who signed.
pub(super) struct Signer {
    pub(super) certificates: Vec<Vec<u8>>,
    pub(super) expires: UnixTime,
    pub(super) simulated: bool,
}

/// Chain to a root, validity, signature over SignedInfo, digest of the document: in this order.
pub(super) fn verify(root: &Element<'_>, tag: &Tag<'_>, anchors: &Anchors, now: UnixTime) -> Result<Signer, RimError> {
    let [info, value, key_info] = children(tag.signature, ["SignedInfo", "SignatureValue", "KeyInfo"])?;
    let digest = digest_value(info)?;
    let signature = base64::<96>(value, "SignatureValue", "expected 96 bytes, r and s of P-384")?;
    let certificates = certificates(key_info)?;
    let parsed = certificates
        .iter()
        .enumerate()
        .map(|(position, der)| Certificate::parse(der).map_err(|detail| RimError::Certificate { position, detail }))
        .collect::<Result<Vec<_>, _>>()?;
    let simulated = check_chain(&parsed, anchors)?;
    let expires = check_validity(&parsed, now)?;
    let key = match parsed.first().and_then(Certificate::key) {
        Some((Curve::P384, point)) => point,
        _ => {
            return Err(RimError::Certificate {
                position: 0,
                detail: "the signer's key is none on P-384",
            });
        }
    };
    // In scope at SignedInfo: what the root and Signature declare.
    let inherited = [root.declarations.as_slice(), &tag.signature.declarations].concat();
    UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, key)
        .verify(&canonical(info, &inherited, |_| false), &signature)
        .map_err(|_| RimError::Signature)?;
    // The enveloped-signature transform. `schema::read` found exactly one Signature, so it takes out that one.
    let document = canonical(root, &[], |e| e.is(DSIG, "Signature"));
    if Digest384::of(&document).0 != digest {
        return Err(RimError::Digest);
    }
    drop(parsed);
    Ok(Signer {
        certificates,
        expires,
        simulated,
    })
}

/// Exactly these children of the signature's namespace, in this order.
fn children<'a, 'b, const N: usize>(
    element: &'b Element<'a>,
    names: [&'static str; N],
) -> Result<[&'b Element<'a>; N], RimError> {
    let wrong = RimError::Structure {
        detail: "Signature: an element is missing, too many or out of order",
    };
    let Some(found) = element.elements() else {
        return Err(wrong);
    };
    match <[&Element<'a>; N]>::try_from(found) {
        Ok(found) if found.iter().zip(names).all(|(e, name)| e.is(DSIG, name)) => Ok(found),
        _ => Err(wrong),
    }
}

/// The element has the one attribute Algorithm, this identifier, and nothing in it.
fn algorithm(element: &Element<'_>, field: &'static str, expected: &'static str) -> Result<(), RimError> {
    let alone = element.attributes.len() == 1 && element.children.is_empty();
    if alone && element.attribute("Algorithm") == Some(expected) {
        Ok(())
    } else {
        Err(RimError::Algorithm { field, expected })
    }
}

fn digest_value(info: &Element<'_>) -> Result<[u8; 48], RimError> {
    let [c14n, method, reference] = children(info, ["CanonicalizationMethod", "SignatureMethod", "Reference"])?;
    algorithm(c14n, "CanonicalizationMethod", C14N11)?;
    algorithm(method, "SignatureMethod", ECDSA_SHA384)?;
    if reference.attributes.len() != 1 || reference.attribute("URI") != Some("") {
        return Err(RimError::Algorithm {
            field: "Reference/@URI",
            expected: "an empty one, the whole document",
        });
    }
    let [transforms, digest_method, digest] = children(reference, ["Transforms", "DigestMethod", "DigestValue"])?;
    let [enveloped, transform] = children(transforms, ["Transform", "Transform"])?;
    algorithm(enveloped, "Transform 1", ENVELOPED)?;
    algorithm(transform, "Transform 2", C14N11)?;
    algorithm(digest_method, "DigestMethod", SHA384)?;
    base64(digest, "DigestValue", "expected 48 bytes, a SHA-384 digest")
}

fn base64<const N: usize>(
    element: &Element<'_>,
    field: &'static str,
    detail: &'static str,
) -> Result<[u8; N], RimError> {
    let bytes = element.text().and_then(|text| decode(text, N));
    bytes
        .and_then(|b| <[u8; N]>::try_from(b).ok())
        .ok_or(RimError::Content { field, detail })
}

/// Standard base64 with padding and line feeds, of at most `most` bytes.
fn decode(text: &str, most: usize) -> Option<Vec<u8>> {
    let letters: String = text.chars().filter(|c| !matches!(c, ' ' | '\n')).collect();
    (letters.len() <= most.saturating_mul(2)).then(|| STANDARD.decode(letters).ok())?
}

fn certificates(key_info: &Element<'_>) -> Result<Vec<Vec<u8>>, RimError> {
    let [data] = children(key_info, ["X509Data"])?;
    let found = children(data, ["X509Certificate"; CERTIFICATES])?;
    found
        .iter()
        .enumerate()
        .map(|(position, element)| {
            let der = element.text().and_then(|text| decode(text, 4096));
            der.ok_or(RimError::Certificate {
                position,
                detail: "no base64 of at most 4096 bytes",
            })
        })
        .collect()
}

/// From the root down; true if the root is a simulator's.
fn check_chain(chain: &[Certificate<'_>], anchors: &Anchors) -> Result<bool, RimError> {
    let (Some(leaf), Some(root)) = (chain.first(), chain.last()) else {
        return Err(RimError::Root);
    };
    let simulated = if root.der == NVIDIA_RIM_ROOT {
        false
    } else if anchors.simulator_rim_roots().iter().any(|anchor| anchor == root.der) {
        true
    } else {
        return Err(RimError::Root);
    };
    for (position, (certificate, issuer)) in chain.iter().zip(chain.iter().skip(1)).enumerate().rev() {
        // Authorities between this issuer and the signer: the certificate's own position.
        let below = u8::try_from(position).unwrap_or(u8::MAX);
        certificate
            .verify_signed_by(issuer, below)
            .map_err(|detail| RimError::Chain { position, detail })?;
    }
    if !leaf.is_signer() {
        return Err(RimError::Chain {
            position: 0,
            detail: "its key is not for signing documents, or is one of a certificate authority",
        });
    }
    Ok(simulated)
}

/// Every certificate is valid at `now`; the earliest end.
fn check_validity(chain: &[Certificate<'_>], now: UnixTime) -> Result<UnixTime, RimError> {
    let mut expires = UnixTime(u64::MAX);
    for (position, certificate) in chain.iter().enumerate() {
        let (not_before, not_after) = certificate.validity();
        if now < not_before {
            return Err(RimError::NotYetValid {
                position,
                not_before: not_before.0,
                now: now.0,
            });
        }
        if now > not_after {
            return Err(RimError::Expired {
                position,
                not_after: not_after.0,
                now: now.0,
            });
        }
        expires = expires.min(not_after);
    }
    Ok(expires)
}

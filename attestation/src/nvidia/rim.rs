//! Reference integrity manifests: what NVIDIA says that a driver, a VBIOS or a switch firmware measures.
//!
//! A RIM is a SWID tag (ISO/IEC 19770-2, TCG RIM information model) with an enveloped XML signature by a chain of four
//! certificates that ends in NVIDIA's CoRIM signing root. Since a tag does not say what it describes other than by
//! product and version, that is how it is matched with a report: the driver's version, or the VBIOS's version without
//! regard to case, and the product.
//!
//! # Comparison
//! Index `i` of a tag (0 to 63) is measurement `i + 1` of a report. A driver and a VBIOS tag for a GPU, one VBIOS tag for a
//! switch. No index may be active in both. Every active value must be among its alternatives in the report; a
//! measurement that the report lacks matches nothing, so there can be no more reference values than measurements. Index
//! 35 of a GPU is left out where the report says that NVDEC0 is off.
//!
//! # Several tags for one version
//! NVIDIA has signed several for the same version over the years. One that matches is enough; one that is broken or
//! expired is an error only if no sound one of its version came along.
//!
//! # Does not establish
//! That a tag's certificates are not revoked, unless OCSP answers for them come along.

mod certificate;
mod error;
mod root;
mod schema;
mod signature;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest384;
use crate::evidence::{Anchors, UnixTime};
use crate::nvidia::ocsp::Answers;
use crate::nvidia::{NvidiaArch, NvidiaError, OcspOutcome, RimOutcome, xml};

pub(super) use certificate::{Certificate, verify_ecdsa};
pub use error::RimError;
pub use root::{NVIDIA_RIM_ROOT, NVIDIA_RIM_ROOT_SHA256};
use schema::Tag;

/// Measurements have indexes 1 to 64.
const INDEXES: u8 = 64;
/// Index in a tag that depends on NVDEC0.
const NVDEC0_INDEX: u8 = 35;
/// Opaque field 11 of a report: NVDEC0 is off.
const NVDEC0_DISABLED: u8 = 0x55;
/// Most tags of one version that are verified for one device.
const CANDIDATES_MAX: usize = 8;

/// What of an authentic report decides which RIMs apply and whether they match.
#[derive(Debug, Clone, Copy)]
pub struct ReportFacts<'a> {
    /// From the certificates.
    pub arch: NvidiaArch,
    /// Chip as RIMs name it: `GH100`, `LS10`; for Blackwell opaque field 35, `GB100` if the report lacks it.
    pub product: &'a str,
    /// Opaque field 3; `None` for a switch.
    pub driver_version: Option<&'a str>,
    /// Opaque field 6 in the usual notation.
    pub vbios_version: &'a str,
    /// Id of the driver RIM at the RIM service, for people to fetch it by; `None` for a switch.
    pub driver_rim_id: Option<&'a str>,
    /// Id of the VBIOS RIM.
    pub vbios_rim_id: &'a str,
    /// By index, 1 to 64.
    pub measurements: &'a BTreeMap<u8, Vec<u8>>,
    /// Opaque field 11: 0xAA on, 0x55 off.
    pub nvdec0: Option<u8>,
}

/// A tag whose signature, chain and validity were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRim {
    /// Chip, e.g. `GH100`.
    pub product: String,
    /// Version of the driver or VBIOS (colloquialVersion).
    pub version: String,
    /// Earliest end of a certificate of its chain.
    pub expires: UnixTime,
    /// The chain ends in a root that is not NVIDIA's.
    pub simulated: bool,
    /// Active reference values: alternatives by index, 0 to 63.
    pub reference: BTreeMap<u8, Vec<[u8; 48]>>,
    /// The signer's certificates, DER, leaf first, root included: what OCSP is asked about.
    pub certificates: Vec<Vec<u8>>,
}

/// Checks one tag: also for those who fetch collateral.
///
/// # Establishes
/// NVIDIA's RIM root (or a simulator's) stands, through certificates that are valid at `now`, behind exactly these values.
///
/// # Does not establish
/// That the certificates are not revoked, or that any device has these measurements.
///
/// # Errors
/// [`RimError`].
pub fn check_rim(document: &[u8], anchors: &Anchors, now: UnixTime) -> Result<CheckedRim, RimError> {
    let root = xml::parse(document)?;
    let tag = schema::read(&root)?;
    let signer = signature::verify(&root, &tag, anchors, now)?;
    let active = tag.resources.into_iter().filter(|r| r.active);
    Ok(CheckedRim {
        product: tag.product.to_owned(),
        version: tag.version.to_owned(),
        expires: signer.expires,
        simulated: signer.simulated,
        reference: active.map(|r| (r.index, r.alternatives)).collect(),
        certificates: signer.certificates,
    })
}

/// Compares a report with the RIMs among `rims` that are for it. `ocsp`: answers about the RIMs' certificates; none are
/// required, but what they say counts.
///
/// Returns the outcome and whether a RIM that was used is a simulator's.
///
/// # Establishes
/// With [`RimOutcome::Matched`]: the report's measurements are ones that NVIDIA (or a simulator) signed for this driver
/// and VBIOS.
///
/// # Does not establish
/// That the facts come from an authentic report.
///
/// # Errors
/// [`NvidiaError`]: the only RIM for the driver or the VBIOS is not authentic, not valid at `now` or revoked, or driver
/// and VBIOS RIM claim the same index.
pub fn compare(
    facts: &ReportFacts<'_>,
    rims: &[Vec<u8>],
    ocsp: &[Vec<u8>],
    anchors: &Anchors,
    now: UnixTime,
) -> Result<(RimOutcome, bool), NvidiaError> {
    Rims::new(rims, anchors, now).compare(facts, &Answers::new(ocsp, now))
}

/// The tags that came with a device list. Each is read once and verified at most once, however many devices it is for.
pub(super) struct Rims<'a> {
    tags: Vec<Candidate>,
    documents: &'a [Vec<u8>],
    anchors: &'a Anchors,
    now: UnixTime,
}

/// One tag: what it says that it is for, and what verification found once somebody asked.
struct Candidate {
    digest: Digest384,
    /// Product and version. Not authenticated: one that lies is left out, as if it had not come.
    says: Result<(String, String), RimError>,
    checked: OnceCell<Result<CheckedRim, NvidiaError>>,
}

impl<'a> Rims<'a> {
    pub(super) fn new(documents: &'a [Vec<u8>], anchors: &'a Anchors, now: UnixTime) -> Self {
        let tags = documents.iter().map(|document| Candidate {
            digest: Digest384::of(document),
            says: described(document),
            checked: OnceCell::new(),
        });
        Self {
            tags: tags.collect(),
            documents,
            anchors,
            now,
        }
    }

    pub(super) fn compare(
        &self,
        facts: &ReportFacts<'_>,
        answers: &Answers<'_>,
    ) -> Result<(RimOutcome, bool), NvidiaError> {
        let driver = facts.driver_version.zip(facts.driver_rim_id);
        let slots: Vec<(&str, &str)> = driver
            .into_iter()
            .chain([(facts.vbios_version, facts.vbios_rim_id)])
            .collect();
        let ids: Vec<String> = slots.iter().map(|(_, id)| (*id).to_owned()).collect();
        let (mut chosen, mut missing) = (Vec::new(), Vec::new());
        for (version, id) in slots {
            match self.choose(facts, version, answers)? {
                Some(rim) => chosen.push(rim),
                None => missing.push(id.to_owned()),
            }
        }
        let simulated = chosen.iter().any(|(rim, _)| rim.simulated);
        if !missing.is_empty() {
            return Ok((RimOutcome::Missing { ids: missing }, simulated));
        }
        let mut seen = BTreeSet::new();
        for index in chosen.iter().flat_map(|(rim, _)| rim.reference.keys()) {
            if !seen.insert(index) {
                return Err(RimError::Conflict { index: *index }.into());
            }
        }
        let indexes: BTreeSet<u8> = chosen.iter().flat_map(|(_, wrong)| wrong.iter().copied()).collect();
        let outcome = if indexes.is_empty() {
            let expires = chosen.iter().map(|(rim, _)| rim.expires).min();
            RimOutcome::Matched {
                ids,
                expires: expires.unwrap_or(self.now),
            }
        } else {
            RimOutcome::Mismatch {
                indexes: indexes.into_iter().collect(),
                ids,
            }
        };
        Ok((outcome, simulated))
    }

    /// The RIM for one version, with the measurements (1 to 64) that do not match it: the first that matches, NVIDIA's
    /// before a simulator's, else the first. `None`: there is none for this version.
    fn choose(
        &self,
        facts: &ReportFacts<'_>,
        version: &str,
        answers: &Answers<'_>,
    ) -> Result<Option<(&CheckedRim, Vec<u8>)>, NvidiaError> {
        let mut sound: Vec<(&CheckedRim, Vec<u8>)> = Vec::new();
        let mut first_error = None;
        let mut tried = BTreeSet::new();
        for (tag, document) in self.tags.iter().zip(self.documents) {
            let checked = match &tag.says {
                Ok((product, v)) if product != facts.product || !v.eq_ignore_ascii_case(version) => continue,
                Ok(_) if !tried.insert(tag.digest) => continue,
                Ok(_) if tried.len() > CANDIDATES_MAX => {
                    return Err(RimError::TooMany { most: CANDIDATES_MAX }.into());
                }
                Ok(_) => tag
                    .checked
                    .get_or_init(|| check_unrevoked(document, answers, self.anchors, self.now))
                    .as_ref()
                    .map_err(Clone::clone),
                Err(e) => Err(e.clone().into()),
            };
            match checked {
                Ok(rim) => {
                    let wrong = mismatches(&rim.reference, facts);
                    sound.push((rim, wrong));
                }
                Err(e) => first_error = first_error.or(Some(e)),
            }
        }
        sound.sort_by_key(|(rim, wrong)| (!wrong.is_empty(), rim.simulated));
        match (sound.into_iter().next(), first_error) {
            (Some(rim), _) => Ok(Some(rim)),
            (None, Some(e)) => Err(e),
            (None, None) => Ok(None),
        }
    }
}

/// The product and version that a document says it is for.
fn described(document: &[u8]) -> Result<(String, String), RimError> {
    let root = xml::parse(document)?;
    let Tag { product, version, .. } = schema::read(&root)?;
    Ok((product.to_owned(), version.to_owned()))
}

fn check_unrevoked(
    document: &[u8],
    answers: &Answers<'_>,
    anchors: &Anchors,
    now: UnixTime,
) -> Result<CheckedRim, NvidiaError> {
    let rim = check_rim(document, anchors, now)?;
    let chain: Vec<&[u8]> = rim.certificates.iter().map(Vec::as_slice).collect();
    match answers.about_signer(&chain)? {
        OcspOutcome::OnHold => Err(RimError::OnHold.into()),
        OcspOutcome::Good { .. } | OcspOutcome::NoAnswer => Ok(rim),
    }
}

/// Measurements, 1 to 64, that are none of the alternatives.
fn mismatches(reference: &BTreeMap<u8, Vec<[u8; 48]>>, facts: &ReportFacts<'_>) -> Vec<u8> {
    let nvdec0_is_off = facts.arch.is_gpu() && facts.nvdec0 == Some(NVDEC0_DISABLED);
    reference
        .iter()
        .filter(|(index, _)| !(**index == NVDEC0_INDEX && nvdec0_is_off))
        .map(|(index, alternatives)| (index.saturating_add(1), alternatives))
        .filter(|(number, alternatives)| {
            let measured = facts.measurements.get(number).map(Vec::as_slice);
            !alternatives.iter().any(|a| Some(&a[..]) == measured)
        })
        .map(|(number, _)| number)
        .collect()
}

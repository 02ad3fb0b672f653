//! GPUs and switches: RIMs for what the authentic report says it runs, and OCSP answers for the certificates of devices and
//! RIM signers. Equal devices share RIMs, and most certificates share answers.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use hanzo_attestation::bundle::{Base64, DeviceCollateral, DeviceEvidence};
use hanzo_attestation::evidence::{DeviceClaims, authenticate_devices};
use hanzo_attestation::nvidia::{RimOutcome, rim};
use hanzo_attestation::{Collateral, UnixTime};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::Report;
use crate::error::{CollateralError, Unfit};
use crate::fetcher::{Fetcher, Item, Origin};
use crate::key::Key;
use crate::{check, nvidia};

pub(super) async fn staple(
    list: &[DeviceEvidence],
    collateral: &mut DeviceCollateral,
    fetcher: &Fetcher,
    now: UnixTime,
    report: &mut Report,
) -> Result<(), CollateralError> {
    // What is there and has ended by now helps nobody, and would refuse the whole.
    let has_ended = |r: &Base64| {
        let checked = rim::check_rim(&r.0, fetcher.anchors(), now);
        checked.is_err_and(|e| e.code() == "nvidia.rim.expired")
    };
    collateral.rims.retain(|r| !has_ended(r));
    let own = Collateral::default();
    let without_answers = DeviceCollateral {
        rims: collateral.rims.clone(),
        ocsp: Vec::new(),
    };
    let authentic = authenticate_devices(list, &without_answers, fetcher.anchors(), &own, now)?;
    let mut ids = BTreeSet::new();
    for device in authentic.devices() {
        let DeviceClaims::Nvidia(claims) = device.claims();
        if let RimOutcome::Missing { ids: missing } = &claims.rim {
            ids.extend(missing.iter().cloned());
        }
    }
    for rim in &collateral.rims {
        note_kept(report, "collateral.rims", "NVIDIA RIM".into(), rim);
    }
    let rims = join_all(ids.iter().map(|id| fetcher.rim(id, now))).await;
    for (id, outcome) in ids.iter().zip(rims) {
        let what = Key::Rim { id: id.clone() }.describe();
        if let Some(item) = report.note("collateral.rims", what, outcome) {
            collateral.rims.push(Base64(item.bytes));
        }
    }

    // Each certificate once, under its issuer, by the name that an OCSP request has for it.
    let mut asked = BTreeMap::new();
    for evidence in list {
        let chain = CertificateDer::pem_slice_iter(&evidence.certificates.0);
        let chain: Vec<_> = chain.filter_map(Result::ok).map(|c| c.to_vec()).collect();
        // The leaf is certified by the device itself; NVIDIA's responder does not know it.
        pairs(chain.get(1..).unwrap_or_default(), &mut asked);
    }
    for rim in &collateral.rims {
        if let Ok(checked) = rim::check_rim(&rim.0, fetcher.anchors(), now) {
            pairs(&checked.certificates, &mut asked);
        }
    }
    let says = |answer: &Base64, pair: &Pair| check::ocsp(&answer.0, &pair.0, &pair.1, now);
    let is_stale =
        |outcome: Result<_, Unfit>| matches!(outcome, Err(Unfit::NotAuthentic(e)) if e.code() == "nvidia.ocsp.stale");
    collateral
        .ocsp
        .retain(|answer| !asked.values().any(|pair| is_stale(says(answer, pair))));
    for answer in &collateral.ocsp {
        asked.retain(|_, pair| says(answer, pair).is_err());
        note_kept(report, "collateral.ocsp", "NVIDIA OCSP answer".into(), answer);
    }
    let answers = join_all(
        asked
            .values()
            .map(|(certificate, issuer)| fetcher.ocsp(certificate, issuer, now)),
    )
    .await;
    for ((certificate, _), outcome) in asked.values().zip(answers) {
        let what = format!("NVIDIA OCSP answer about {}", common_name(certificate));
        if let Some(item) = report.note("collateral.ocsp", what, outcome) {
            collateral.ocsp.push(Base64(item.bytes));
        }
    }
    authenticate_devices(list, collateral, fetcher.anchors(), &own, now)?;
    Ok(())
}

fn note_kept(report: &mut Report, part: &'static str, what: String, bytes: &Base64) {
    let item = Item {
        bytes: bytes.0.clone(),
        origin: Origin::Kept,
        next_update: None,
    };
    report.note(part, what, Ok(item));
}

/// A certificate and its issuer's.
type Pair = (Vec<u8>, Vec<u8>);

/// Each certificate of a chain, leaf first, with the next one as its issuer; the root has none.
fn pairs(chain: &[Vec<u8>], asked: &mut BTreeMap<Vec<u8>, Pair>) {
    for (certificate, issuer) in chain.iter().zip(chain.iter().skip(1)) {
        if let Some(id) = nvidia::cert_id(certificate, issuer) {
            asked.insert(id, (certificate.clone(), issuer.clone()));
        }
    }
}

fn common_name(certificate: &[u8]) -> String {
    use der::Decode as _;
    let parsed = x509_cert::Certificate::from_der(certificate).ok();
    let name = parsed.as_ref().and_then(|c| {
        let mut names = c.tbs_certificate().subject().iter();
        let name = names.find(|a| a.oid == der::oid::db::rfc4519::COMMON_NAME)?;
        std::str::from_utf8(name.value.value()).ok()
    });
    name.unwrap_or("a certificate without a name").to_owned()
}

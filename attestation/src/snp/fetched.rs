//! Single pieces of AMD's collateral, for those who fetch and keep them apart from any report.
//!
//! What passes here is checked again with the report it is used for.

use super::certificate::{Certificate, Role};
use super::chain::{find_root, simulator_root};
use super::crl::{CheckedCrl, Crl};
use super::error::SnpError;
use super::product::Product;
use super::report::SigningKey;
use super::roots;
use super::tcb::TcbVersion;
use super::vek::VekCertificate;
use crate::evidence::{Anchors, KnownSignatures, UnixTime};

/// Checks an ASK (VCEK) or ASVK (VLEK) certificate, DER.
///
/// # Establishes
/// The root of `product`, AMD's or one of the simulators', signed it for `key`, and it is valid at `now`. True if the root
/// is a simulator's.
///
/// # Errors
/// [`SnpError`] with a code under `snp.chain.` or `snp.cert.`.
pub fn check_intermediate(
    der: &[u8],
    product: Product,
    key: SigningKey,
    anchors: &Anchors,
    now: UnixTime,
) -> Result<bool, SnpError> {
    let ask = Certificate::parse(Role::Ask, der)?;
    if ask.common_name() != product.ask_common_name(key) {
        return Err(SnpError::Ask {
            detail: "its common name is not the one of this product and key kind",
        });
    }
    let root = find_root(product, &ask, anchors, &KnownSignatures::default(), now)?;
    root.certificate.check_validity(now)?;
    ask.check_validity(now)?;
    Ok(root.simulated)
}

/// Checks a VCEK certificate, DER, against the chip and TCB that it was asked for.
///
/// # Establishes
/// `ask`, which passes [`check_intermediate`], signed this certificate for exactly this chip and TCB, and all of them are
/// valid at `now`.
///
/// # Errors
/// [`SnpError`].
pub fn check_vcek(
    der: &[u8],
    ask: &[u8],
    product: Product,
    chip: (&[u8; 64], TcbVersion),
    anchors: &Anchors,
    now: UnixTime,
) -> Result<(), SnpError> {
    let vek = VekCertificate::parse(der)?;
    vek.check_kind(SigningKey::Vcek)?;
    if vek.product != product {
        return Err(SnpError::ProductMismatch {
            certificate: vek.product,
            report: product,
        });
    }
    check_intermediate(ask, product, SigningKey::Vcek, anchors, now)?;
    vek.certificate
        .verify_signed_by(&Certificate::parse(Role::Ask, ask)?, &KnownSignatures::default())?;
    vek.certificate.check_validity(now)?;
    let (chip_id, tcb) = chip;
    vek.check_is_for(chip_id, tcb)
}

/// Checks the revocation list of one product, DER, as [`super::check_crl`] does, with simulators' roots besides AMD's.
///
/// # Errors
/// [`SnpError`] with a code under `snp.crl.`; [`SnpError::CrlIssuer`] for another product's list.
pub fn check_product_crl(
    der: &[u8],
    product: Product,
    anchors: &Anchors,
    now: UnixTime,
) -> Result<CheckedCrl, SnpError> {
    let crl = Crl::parse(der)?;
    let vendor = Certificate::parse(Role::Ark, roots::ark(product))?;
    if crl.is_issued_by_name_of(&vendor) {
        return crl.checked_against(&vendor, product, now);
    }
    for der in anchors.simulator_arks() {
        let root = simulator_root(der, &KnownSignatures::default(), now)?.certificate;
        if crl.is_issued_by_name_of(&root) {
            return crl.checked_against(&root, product, now);
        }
    }
    Err(SnpError::CrlIssuer)
}

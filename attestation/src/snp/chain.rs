//! ARK -> ASK or ASVK -> VCEK or VLEK, and what revocation lists say about them.

use std::ops::Deref;
use std::sync::Arc;

use super::certificate::{Certificate, Role};
use super::crl::Crl;
use super::error::SnpError;
use super::pinned;
use super::product::Product;
use super::report::SigningKey;
use super::vek::VekCertificate;
use crate::evidence::{Anchors, Collateral, KnownSignatures, Revocation, UnixTime};

/// Kinds of documents that are kept.
const SIMULATOR_ARK: &str = "SNP simulator ARK";
const CRL: &str = "SNP CRL";

/// A root that counts.
pub(super) struct Root {
    pub(super) certificate: RootCertificate,
    pub(super) simulated: bool,
}

/// Whose certificate it is.
pub(super) enum RootCertificate {
    Vendor(&'static Certificate),
    Simulator(Arc<Certificate>),
}

impl Deref for RootCertificate {
    type Target = Certificate;

    fn deref(&self) -> &Certificate {
        match self {
            Self::Vendor(certificate) => certificate,
            Self::Simulator(certificate) => certificate,
        }
    }
}

/// A chain that holds.
pub(super) struct VerifiedChain {
    pub(super) simulated: bool,
    pub(super) revocation: Revocation,
}

/// Checks the whole chain above `vek`.
///
/// The vendor's root comes first, and what counts is whose key verifies: a simulator's root can neither take the place
/// of a vendor's, whatever name it bears, nor make vendor evidence simulated.
pub(super) fn verify(
    vek: &VekCertificate,
    key: SigningKey,
    stapled_ask: Option<&Certificate>,
    stapled_crl: Option<&Crl>,
    anchors: &Anchors,
    collateral: &Collateral,
    now: UnixTime,
) -> Result<VerifiedChain, SnpError> {
    let ask = match stapled_ask {
        Some(ask) => ask,
        None => pinned::intermediate(vek.product, key)?,
    };
    vek.certificate.verify_signed_by(ask, &collateral.known)?;
    if ask.common_name() != vek.product.ask_common_name(key) {
        return Err(SnpError::Ask {
            detail: "its common name is not the one of this product and key kind",
        });
    }
    let root = match stapled_ask {
        Some(ask) => find_root(vek.product, ask, anchors, &collateral.known, now)?,
        // The intermediate is compiled in like the root, and a test shows that the root signed it.
        None => Root {
            certificate: RootCertificate::Vendor(pinned::ark(vek.product)?),
            simulated: false,
        },
    };
    for certificate in [&*root.certificate, ask, &vek.certificate] {
        certificate.check_validity(now)?;
    }
    let chain = [
        (Role::Ark, &*root.certificate),
        (Role::Ask, ask),
        (Role::Vek, &vek.certificate),
    ];
    let revocation = check_revocation(chain, stapled_crl, collateral, now)?;
    Ok(VerifiedChain {
        simulated: root.simulated,
        revocation,
    })
}

/// The root whose key signed `ask`.
pub(super) fn find_root(
    product: Product,
    ask: &Certificate,
    anchors: &Anchors,
    known: &KnownSignatures,
    now: UnixTime,
) -> Result<Root, SnpError> {
    let vendor = Root {
        certificate: RootCertificate::Vendor(pinned::ark(product)?),
        simulated: false,
    };
    let mut refused = None;
    let simulators = anchors.simulator_arks().iter();
    for root in std::iter::once(Ok(vendor)).chain(simulators.map(|der| simulator_root(der, known, now))) {
        let root = root?;
        if !ask.names_as_issuer(&root.certificate) {
            continue;
        }
        match ask.verify_signed_by(&root.certificate, known) {
            Ok(()) => return Ok(root),
            Err(e) => refused = Some(e),
        }
    }
    Err(refused.unwrap_or_else(|| SnpError::Root {
        product,
        ask_issuer: ask.issuer_common_name(),
    }))
}

pub(super) fn simulator_root(der: &[u8], known: &KnownSignatures, now: UnixTime) -> Result<Root, SnpError> {
    let wrong = |detail| SnpError::Anchor { detail };
    let certificate = match known.read(SIMULATOR_ARK, der) {
        Some(certificate) => certificate,
        None => {
            let certificate = Arc::new(read_simulator_root(der, known)?);
            known.keep(SIMULATOR_ARK, der, &certificate);
            certificate
        }
    };
    certificate
        .check_validity(now)
        .map_err(|_| wrong("outside its validity"))?;
    Ok(Root {
        certificate: RootCertificate::Simulator(certificate),
        simulated: true,
    })
}

/// Everything about it that no clock changes.
fn read_simulator_root(der: &[u8], known: &KnownSignatures) -> Result<Certificate, SnpError> {
    let wrong = |detail| SnpError::Anchor { detail };
    let certificate = Certificate::parse(Role::Ark, der).map_err(|_| wrong("not a root certificate of AMD's form"))?;
    certificate
        .verify_signed_by(&certificate, known)
        .map_err(|_| wrong("not self-signed"))?;
    let key = certificate.spki_der();
    for product in Product::ALL {
        if key == pinned::ark(product)?.spki_der() {
            return Err(wrong("it has the key of one of AMD's roots"));
        }
    }
    Ok(certificate)
}

/// Every list by this root counts, stapled or not: a host cannot hide a newer list behind an older one of its own.
fn check_revocation(
    chain: [(Role, &Certificate); 3],
    stapled: Option<&Crl>,
    collateral: &Collateral,
    now: UnixTime,
) -> Result<Revocation, SnpError> {
    let [(_, ark), ..] = chain;
    if let Some(crl) = stapled {
        crl.verify_signed_by(ark, &collateral.known)?;
    }
    let mut supplied = Vec::new();
    for der in &collateral.crls {
        // The caller's own lists: there are few.
        let crl: Arc<Crl> = match collateral.known.read(CRL, der) {
            Some(crl) => crl,
            None => {
                let crl = Arc::new(Crl::parse(der)?);
                collateral.known.keep(CRL, der, &crl);
                crl
            }
        };
        if crl.is_issued_by_name_of(ark) {
            crl.verify_signed_by(ark, &collateral.known)?;
            supplied.push(crl);
        }
    }
    let mut latest = None;
    let mut stale = None;
    for crl in stapled.into_iter().chain(supplied.iter().map(|crl| &**crl)) {
        crl.check_names_none(chain)?;
        match crl.check_fresh(now) {
            Ok(next_update) => latest = latest.max(Some(next_update)),
            Err(e) => stale = Some(e),
        }
    }
    match (latest, stale) {
        (Some(next_update), _) => Ok(Revocation::Checked { next_update }),
        (None, Some(e)) => Err(e),
        (None, None) => Ok(Revocation::NoList),
    }
}

//! SEV-SNP: VCEK certificate, ASK certificate, revocation list.

use hanzo_attestation::bundle::{AzSnpEvidence, Base64, CpuEvidence, SnpEvidence};
use hanzo_attestation::snp::{Product, SigningKey, SnpReport, check_product_crl, check_vcek, roots};
use hanzo_attestation::{AttestationError, Collateral, RawEvidence, UnixTime};

use super::{Report, kept};
use crate::error::CollateralError;
use crate::fetcher::{Fetcher, Item, Origin};
use crate::key::Key;
use crate::needs;

/// The places that are filled, and the report they are about.
pub(super) struct Slots<'a> {
    report: Vec<u8>,
    ask: &'a mut Option<Base64>,
    crl: &'a mut Option<Base64>,
    vek: &'a mut Base64,
}

/// A report alone.
pub(super) fn bare(report: &[u8]) -> CpuEvidence {
    CpuEvidence::Snp(SnpEvidence {
        ask: None,
        crl: None,
        report: Base64(report.to_vec()),
        vek: Base64(Vec::new()),
    })
}

impl<'a> Slots<'a> {
    pub(super) fn of(evidence: &'a mut SnpEvidence) -> Self {
        Self {
            report: evidence.report.0.clone(),
            ask: &mut evidence.ask,
            crl: &mut evidence.crl,
            vek: &mut evidence.vek,
        }
    }

    pub(super) fn of_azure(evidence: &'a mut AzSnpEvidence) -> Result<Self, CollateralError> {
        Ok(Self {
            report: needs::hcl_snp_report(&evidence.hcl_report.0)?.to_vec(),
            ask: &mut evidence.ask,
            crl: &mut evidence.crl,
            vek: &mut evidence.vek,
        })
    }
}

/// The chain below the root, and the product that the certificate names.
struct Certificates {
    vek: Item,
    ask: Item,
    product: Product,
}

pub(super) async fn staple(
    slots: Slots<'_>,
    fetcher: &Fetcher,
    now: UnixTime,
    report: &mut Report,
) -> Result<(), CollateralError> {
    let (products, fields) = needs::snp_report(&slots.report)?;
    if fields.mask_chip_key {
        return Err(AttestationError::from(hanzo_attestation::snp::SnpError::Masked).into());
    }
    let certificates = certificates(&slots, &products, &fields, fetcher, now);
    let (certificates, early) = match products.as_slice() {
        // The list is asked for at the same time.
        [product] => {
            let (certificates, list) = tokio::join!(certificates, list(slots.crl.as_ref(), *product, fetcher, now));
            (certificates, Some((*product, list)))
        }
        _ => (certificates.await, None),
    };
    let certificates = match certificates {
        Ok(certificates) => Some(certificates),
        Err(error @ CollateralError::Evidence(_)) => return Err(error),
        Err(error) => {
            report.note("cpu.vek", String::new(), Err(error));
            None
        }
    };
    let list = match (early, &certificates) {
        (Some(early), _) => Some(early),
        (None, Some(c)) => Some((c.product, list(slots.crl.as_ref(), c.product, fetcher, now).await)),
        (None, None) => None,
    };
    if let Some(Certificates { vek, ask, product }) = certificates {
        let (kind, ask_kind) = match fields.signing_key {
            SigningKey::Vcek => ("VCEK", "ASK"),
            SigningKey::Vlek => ("VLEK", "ASVK"),
        };
        let name = product.name();
        report.note("cpu.vek", format!("{kind} certificate ({name})"), Ok(vek.clone()));
        report.note("cpu.ask", format!("{ask_kind} certificate of {name}"), Ok(ask.clone()));
        *slots.vek = Base64(vek.bytes);
        *slots.ask = Some(Base64(ask.bytes));
    }
    if let Some((product, outcome)) = list
        && let Some(item) = report.note("cpu.crl", Key::Crl { product }.describe(), outcome)
    {
        *slots.crl = Some(Base64(item.bytes));
    }
    Ok(())
}

/// VEK and ASK, from the document if they hold, else fetched.
async fn certificates(
    slots: &Slots<'_>,
    products: &[Product],
    fields: &SnpReport,
    fetcher: &Fetcher,
    now: UnixTime,
) -> Result<Certificates, CollateralError> {
    if slots.vek.0.is_empty() {
        return fetched(products, fields, fetcher, now).await;
    }
    match check(slots, slots.ask.as_ref(), fetcher, now) {
        Ok(product) => {
            let ask = match &*slots.ask {
                Some(ask) => kept(ask, None),
                None => Item {
                    bytes: roots::intermediate(product, fields.signing_key).to_vec(),
                    origin: Origin::BuiltIn,
                    next_update: None,
                },
            };
            let vek = kept(slots.vek, None);
            Ok(Certificates { vek, ask, product })
        }
        // Firmware was updated since the certificate was fetched, or it is old: another key, so the signature fails first.
        Err(_) if is_of_another_tcb(slots, products, fields, fetcher, now) => {
            fetched(products, fields, fetcher, now).await
        }
        // Another intermediate than the compiled-in one.
        Err(e) if e.code() == "snp.chain.vek" && slots.ask.is_none() => {
            let mut last = e;
            for product in products {
                let ask = fetcher.intermediate(*product, fields.signing_key, now).await?;
                match check(slots, Some(&Base64(ask.bytes.clone())), fetcher, now) {
                    Ok(product) => {
                        let vek = kept(slots.vek, None);
                        return Ok(Certificates { vek, ask, product });
                    }
                    Err(e) => last = e,
                }
            }
            Err(last.into())
        }
        Err(e) => Err(e.into()),
    }
}

/// True if the document's VCEK certificate is genuine, and not the one for this report.
fn is_of_another_tcb(
    slots: &Slots<'_>,
    products: &[Product],
    fields: &SnpReport,
    fetcher: &Fetcher,
    now: UnixTime,
) -> bool {
    products.iter().any(|product| {
        let built_in = roots::intermediate(*product, SigningKey::Vcek);
        let ask = slots.ask.as_ref().map_or(built_in, |ask| &ask.0);
        let chip = (&fields.chip_id, fields.reported_tcb);
        let outcome = check_vcek(&slots.vek.0, ask, *product, chip, fetcher.anchors(), now);
        outcome.is_err_and(|e| ["snp.tcb.mismatch", "snp.chip_id.mismatch", "snp.cert.expired"].contains(&e.code()))
    })
}

/// The product, if the document's certificate and report hold together with `ask` or, without one, the compiled-in
/// intermediate.
fn check(
    slots: &Slots<'_>,
    ask: Option<&Base64>,
    fetcher: &Fetcher,
    now: UnixTime,
) -> Result<Product, AttestationError> {
    let evidence = SnpEvidence {
        ask: ask.cloned(),
        crl: None,
        report: Base64(slots.report.clone()),
        vek: slots.vek.clone(),
    };
    let authentic = RawEvidence::Snp(evidence)
        .parse()?
        .authenticate(fetcher.anchors(), &Collateral::default(), now)?;
    match authentic.claims().snp() {
        Some(claims) => Ok(claims.product),
        None => Err(AttestationError::DeviceKind),
    }
}

/// From AMD's service. A report without CPUID may be of two products: the service has a certificate for one of them.
async fn fetched(
    products: &[Product],
    fields: &SnpReport,
    fetcher: &Fetcher,
    now: UnixTime,
) -> Result<Certificates, CollateralError> {
    if fields.signing_key == SigningKey::Vlek {
        return Err(CollateralError::NotFetchable {
            what: "VLEK certificate",
            detail: "AMD gives it to the cloud provider alone; the guest gets it from the host with the report",
        });
    }
    let mut last = None;
    for product in products {
        match fetcher.vcek(*product, &fields.chip_id, fields.reported_tcb, now).await {
            Ok((vek, ask)) => {
                let product = *product;
                return Ok(Certificates { vek, ask, product });
            }
            Err(e @ CollateralError::NotFound { .. }) => last = Some(e),
            Err(e) => return Err(e),
        }
    }
    Err(last.unwrap_or(CollateralError::NotFetchable {
        what: "VCEK certificate",
        detail: "the report does not say which product it is of",
    }))
}

/// The document's list if it is of the product and alive, else the cached or fetched one.
async fn list(
    current: Option<&Base64>,
    product: Product,
    fetcher: &Fetcher,
    now: UnixTime,
) -> Result<Item, CollateralError> {
    if let Some(crl) = current
        && let Ok(checked) = check_product_crl(&crl.0, product, fetcher.anchors(), now)
    {
        return Ok(kept(crl, Some(checked.next_update)));
    }
    fetcher.crl(product, now).await
}

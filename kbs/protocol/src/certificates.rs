//! Certificates of AMD's that evidence may come without, because its receiver has them.
//!
//! Stock CoCo guests often send a report alone. The receiver looks its certificates up by what the report says of itself, which
//! nobody signed for yet: a wrong certificate is found out by the report's signature, as any other.

use std::fmt;

use hanzo_attestation::RawEvidence;
use hanzo_attestation::bundle::Base64;
use hanzo_attestation::snp::{Product, REPORT_BYTES, SigningKey, read_unauthenticated};

use crate::WireError;

/// Where an HCL report has the processor's report.
const HCL_HEADER_BYTES: usize = 32;

/// Looks a certificate (DER) up by its name, as a cache of `hanzo-verify fetch` names it: `vcek/Genoa/<chip id>/<TCB>`,
/// `ask/Genoa` or `asvk/Genoa`, bytes in lower-case hex.
pub type CertificateOf<'a> = &'a dyn Fn(&str) -> Option<Vec<u8>>;

/// What a report says of its chip.
struct Named {
    product: Product,
    key: SigningKey,
    chip_id: [u8; 64],
    tcb: [u8; 8],
}

impl Named {
    fn of(report: &[u8]) -> Option<Self> {
        let (product, report) = read_unauthenticated(report, None).ok()?;
        Some(Self {
            product,
            key: report.signing_key,
            chip_id: report.chip_id,
            tcb: report.reported_tcb.to_bytes(product),
        })
    }

    fn intermediate(&self) -> String {
        let kind = match self.key {
            SigningKey::Vcek => "ask",
            SigningKey::Vlek => "asvk",
        };
        format!("{kind}/{}", self.product.name())
    }
}

/// The VCEK's name.
impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chip_id = self.chip_id.get(..self.product.hwid_bytes()).unwrap_or_default();
        let (chip_id, tcb) = (hex::encode(chip_id), hex::encode(self.tcb));
        write!(f, "vcek/{}/{chip_id}/{tcb}", self.product.name())
    }
}

/// Adds what the evidence came without. What did come stays.
///
/// # Errors
/// [`WireError::NoVcek`], which says what to put where.
pub(crate) fn complete(raw: &mut RawEvidence, find: CertificateOf<'_>) -> Result<(), WireError> {
    let (report, ask, vek) = match raw {
        RawEvidence::Snp(snp) => (snp.report.0.as_slice(), &mut snp.ask, &mut snp.vek),
        RawEvidence::AzSnp(az) => {
            let report = az.hcl_report.0.get(HCL_HEADER_BYTES..).unwrap_or_default();
            let report = report.get(..REPORT_BYTES).unwrap_or_default();
            (report, &mut az.ask, &mut az.vek)
        }
        _ => return Ok(()),
    };
    if ask.is_some() && !vek.0.is_empty() {
        return Ok(());
    }
    let named = Named::of(report);
    if vek.0.is_empty() {
        let missing = |why: String| WireError::NoVcek { why };
        let named = named
            .as_ref()
            .ok_or_else(|| missing("the report does not say of which chip it is".into()))?;
        if named.key == SigningKey::Vlek {
            let why = "the report is signed by a VLEK, which the guest's provider gives to the guest alone";
            return Err(missing(why.into()));
        }
        if named.chip_id.iter().all(|b| *b == 0) {
            return Err(missing("the report hides its chip id (MASK_CHIP_ID)".into()));
        }
        let name = named.to_string();
        *vek = Base64(find(&name).ok_or_else(|| missing(format!("there is no item {name} in the cache")))?);
    }
    if ask.is_none()
        && let Some(named) = named
    {
        *ask = find(&named.intermediate()).map(Base64);
    }
    Ok(())
}

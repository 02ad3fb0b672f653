//! Adding to evidence what a verifier would otherwise have to fetch.
//!
//! Only endorsements are added or replaced: certificates, lists, Intel's collateral, RIMs and OCSP answers. What the
//! guest's statement commits to (reports, quotes, the device list, keyset, nonce) is passed through byte for byte.

use hanzo_attestation::bundle::{BUNDLE_BYTES_MAX, Base64, Bundle, CpuEvidence, DeviceCollateral, DeviceEvidence};
use hanzo_attestation::snp::REPORT_BYTES;
use hanzo_attestation::{Collateral, Digest256, RawEvidence, UnixTime, jcs};

use crate::error::CollateralError;
use crate::fetcher::{Fetcher, Item, Origin};

mod devices;
mod snp;
mod tdx;

/// One thing that evidence now carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct What {
    /// Where it stands in the document: `cpu.vek`, `collateral.rims`.
    pub part: &'static str,
    /// For people: `NVIDIA RIM NV_GPU_DRIVER_GH100_550.144.03`.
    pub what: String,
    /// Where it came from.
    pub origin: Origin,
    /// Length in bytes.
    pub bytes: usize,
    /// SHA-256 of its bytes (of Intel's collateral: of its canonical JSON).
    pub sha256: Digest256,
    /// Last second of its life by the vendor's signature; `None` if it never ends while it counts.
    pub next_update: Option<UnixTime>,
}

impl What {
    fn new(part: &'static str, what: String, item: &Item) -> Self {
        Self {
            part,
            what,
            origin: item.origin,
            bytes: item.bytes.len(),
            sha256: Digest256::of(&item.bytes),
            next_update: item.next_update,
        }
    }
}

/// Something that evidence needs and that could not be had.
#[derive(Debug)]
pub struct Missing {
    /// Where it would stand.
    pub part: &'static str,
    /// Why it is not there.
    pub error: CollateralError,
}

/// Evidence with its collateral.
#[derive(Debug)]
pub struct Stapled {
    /// The document, canonical JSON: a bundle if one was given, else the `cpu` member of one.
    pub bytes: Vec<u8>,
    /// What it carries.
    pub carries: Vec<What>,
    /// What it lacks. Empty: it verifies without a network until the first of the items ends.
    pub missing: Vec<Missing>,
}

/// Collects what happened to each part.
#[derive(Default)]
struct Report {
    carries: Vec<What>,
    missing: Vec<Missing>,
}

impl Report {
    /// The item, or a note that it is missing.
    fn note(&mut self, part: &'static str, what: String, outcome: Result<Item, CollateralError>) -> Option<Item> {
        match outcome {
            Ok(item) => {
                self.carries.push(What::new(part, what, &item));
                Some(item)
            }
            Err(error) => {
                self.missing.push(Missing { part, error });
                None
            }
        }
    }
}

/// What was given.
enum Document {
    Bundle(Box<Bundle>),
    Cpu(Box<CpuEvidence>),
}

/// Adds what is missing to a bundle, to the `cpu` member of one, to an SNP report (1184 bytes) or to a TDX quote.
///
/// Items that the document already has are kept if they hold at `now`, else replaced.
///
/// # Establishes
/// The primary evidence is authentic at `now` with exactly the collateral that it now carries (a TPM quote alone needs none
/// and is not looked at); the same for each device.
///
/// # Does not establish
/// That the evidence is bound to any challenge, or good enough: verification does.
///
/// # Errors
/// [`CollateralError::Input`], [`CollateralError::Document`], [`CollateralError::Evidence`]. What could not be fetched is in
/// [`Stapled::missing`].
pub async fn staple(input: &[u8], fetcher: &Fetcher, now: UnixTime) -> Result<Stapled, CollateralError> {
    let mut document = read(input)?;
    let mut report = Report::default();
    match &mut document {
        Document::Cpu(cpu) => staple_cpu(cpu, fetcher, now, &mut report).await?,
        Document::Bundle(bundle) => {
            staple_cpu(&mut bundle.cpu, fetcher, now, &mut report).await?;
            staple_devices(&bundle.devices, &mut bundle.collateral, fetcher, now, &mut report).await?;
        }
    }
    let bytes = match &document {
        Document::Cpu(cpu) => jcs::to_vec("evidence", cpu.as_ref())?,
        Document::Bundle(bundle) => bundle.canonical()?,
    };
    if bytes.len() > BUNDLE_BYTES_MAX {
        return Err(CollateralError::Document(jcs::JcsError::TooLarge {
            what: "stapled document",
            limit: BUNDLE_BYTES_MAX,
            got: bytes.len(),
        }));
    }
    let Report { carries, missing } = report;
    Ok(Stapled {
        bytes,
        carries,
        missing,
    })
}

fn read(input: &[u8]) -> Result<Document, CollateralError> {
    let is_quote = |version: u8| input.starts_with(&[version, 0]) && input.get(4..8) == Some(&[0x81, 0, 0, 0]);
    match input.first() {
        Some(b'{') => {}
        _ if is_quote(4) || is_quote(5) => return Ok(Document::Cpu(Box::new(tdx::bare(input)))),
        _ if input.len() == REPORT_BYTES => return Ok(Document::Cpu(Box::new(snp::bare(input)))),
        None => return Err(CollateralError::Input { got: "nothing" }),
        Some(_) => {
            return Err(CollateralError::Input {
                got: "bytes of another format",
            });
        }
    }
    // Members come in alphabetical order, and a bundle's first one is no member of evidence alone.
    let is_cpu = !input.starts_with(b"{\"capabilities\":") && input.windows(7).any(|w| w == b"\"kind\":");
    if is_cpu {
        let cpu = jcs::from_slice("evidence", input, BUNDLE_BYTES_MAX)?;
        Ok(Document::Cpu(Box::new(cpu)))
    } else {
        Ok(Document::Bundle(Box::new(Bundle::parse(input)?)))
    }
}

async fn staple_cpu(
    cpu: &mut CpuEvidence,
    fetcher: &Fetcher,
    now: UnixTime,
    report: &mut Report,
) -> Result<(), CollateralError> {
    let missing_before = report.missing.len();
    match cpu {
        CpuEvidence::Snp(evidence) => snp::staple(snp::Slots::of(evidence), fetcher, now, report).await?,
        CpuEvidence::AzSnpVtpm(evidence) => snp::staple(snp::Slots::of_azure(evidence)?, fetcher, now, report).await?,
        CpuEvidence::Tdx(evidence) => tdx::staple(evidence, fetcher, now, report).await?,
        CpuEvidence::AzTdxVtpm(evidence) => tdx::staple(&mut evidence.td, fetcher, now, report).await?,
        CpuEvidence::Tpm(_) => return Ok(()),
    }
    if report.missing.len() == missing_before {
        RawEvidence::from(cpu.clone())
            .parse()?
            .authenticate(fetcher.anchors(), &Collateral::default(), now)?;
    }
    Ok(())
}

async fn staple_devices(
    list: &[DeviceEvidence],
    collateral: &mut DeviceCollateral,
    fetcher: &Fetcher,
    now: UnixTime,
    report: &mut Report,
) -> Result<(), CollateralError> {
    if list.is_empty() {
        return Ok(());
    }
    devices::staple(list, collateral, fetcher, now, report).await
}

/// An item that the document had.
fn kept(bytes: &Base64, next_update: Option<UnixTime>) -> Item {
    Item {
        bytes: bytes.0.clone(),
        origin: Origin::Kept,
        next_update,
    }
}

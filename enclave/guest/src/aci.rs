//! The attestation report of the ACI view (verifier/RECEIPT.md, "ACI receipts"): a second piece of evidence, over that view's keyset.
//!
//! Its statement has no room for many challenges, so each takes a hardware call of its own: one at a time, apart from our own evidence, and few may
//! wait. The report without challenge is made once, when the keyset is sealed, and so is known to work before anything is served. A simulated
//! processor's is called `hanzo-simulated`: nobody who looks for `tdx` or `sev_snp` finds one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::{Digest256, Nonce, aci, jcs};
use hanzo_device::entropy::mixed_seed;
use hanzo_device::{Attester, DeviceError};
use hanzo_inference::{AciReportError, AciServing};
use hanzo_receipts::{ACI_VERSION, AciShelf, AciView, AciViewError};
use serde_json::json;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};

use crate::evidence::Sealed;

/// Most challenges that wait; further ones are turned away.
const WAITING_MAX: usize = 32;
/// Least time from the start of one hardware call to the start of the next: our own evidence comes first.
const SPACING: Duration = Duration::from_millis(50);
/// As for our own evidence.
const EVIDENCE_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a guest has no ACI view, though its configuration asks for one.
#[derive(Debug, thiserror::Error)]
pub enum AciError {
    /// Its machine's evidence has no place in such a report.
    #[error(
        "aci: this machine's evidence is of kind {kind}, and ACI reports hold tdx and snp alone: leave aci = \"on\" out of the configuration"
    )]
    Kind {
        /// As bundles name it.
        kind: &'static str,
    },
    /// The processor gave none.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Keys or keyset.
    #[error(transparent)]
    View(#[from] AciViewError),
    /// A document could not be written.
    #[error("aci: {0}")]
    Jcs(#[from] jcs::JcsError),
    /// A part of a document is no JSON.
    #[error("aci: {0}")]
    Value(serde_json::Error),
    /// The task that asks the processor died.
    #[error("aci: the task that makes evidence ended")]
    Ended,
}

impl AciError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Kind { .. } => "aci.kind",
            Self::Device(e) => e.code(),
            Self::View(e) => e.code(),
            Self::Jcs(_) | Self::Value(_) => "aci.malformed",
            Self::Ended => "evidence.ended",
        }
    }
}

/// Makes reports over one keyset.
struct Desk {
    attester: Arc<dyn Attester>,
    view: Arc<AciView>,
    /// The report that answers nobody.
    standing: Bytes,
    places: Semaphore,
    next_call: Mutex<Instant>,
}

/// The ACI view that goes with a sealed keyset, with keys of its own.
pub(crate) async fn serving(
    sealed: &Sealed,
    attester: &Arc<dyn Attester>,
    shelf: &Arc<AciShelf>,
) -> Result<AciServing, AciError> {
    let seeds = [mixed_seed::<32>()?, mixed_seed::<32>()?];
    let [receipts, texts] = &seeds;
    let view = AciView::open([receipts, texts], &sealed.keyset, sealed.keyset_digest, shelf.clone())?;
    let view = Arc::new(view);
    let standing = collected(attester.clone(), view.clone(), None).await?;
    let desk = Arc::new(Desk {
        attester: attester.clone(),
        view: view.clone(),
        standing,
        places: Semaphore::new(WAITING_MAX),
        next_call: Mutex::new(Instant::now()),
    });
    Ok(AciServing {
        view,
        report: Arc::new(move |nonce| {
            let desk = desk.clone();
            Box::pin(async move { desk.report(nonce).await })
        }),
    })
}

impl Desk {
    async fn report(&self, nonce: Option<Nonce>) -> Result<Bytes, AciReportError> {
        let Some(nonce) = nonce else {
            return Ok(self.standing.clone());
        };
        let _place = self.places.try_acquire().map_err(|_| AciReportError::Busy)?;
        let made = timeout(EVIDENCE_TIMEOUT, async {
            let mut next_call = self.next_call.lock().await;
            sleep_until(*next_call).await;
            *next_call = Instant::now() + SPACING;
            collected(self.attester.clone(), self.view.clone(), Some(nonce)).await
        });
        match made.await {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(error)) => {
                tracing::error!(code = error.code(), "no ACI report: {error}");
                Err(AciReportError::Evidence { code: error.code() })
            }
            Err(_) => Err(AciReportError::Evidence {
                code: "evidence.timeout",
            }),
        }
    }
}

async fn collected(attester: Arc<dyn Attester>, view: Arc<AciView>, nonce: Option<Nonce>) -> Result<Bytes, AciError> {
    let digest = view.keyset_digest();
    let asking = spawn_blocking(move || attester.evidence(&aci::request(&digest, nonce.as_ref())));
    let cpu = asking.await.map_err(|_| AciError::Ended)??;
    report(&view, nonce.as_ref(), &cpu)
}

/// The report's document.
fn report(view: &AciView, nonce: Option<&Nonce>, cpu: &CpuEvidence) -> Result<Bytes, AciError> {
    let (tee_type, own) = match cpu {
        CpuEvidence::Snp(snp) => ("sev_snp", Some(("report", hex::encode(&snp.report.0)))),
        CpuEvidence::Tdx(tdx) => ("tdx", Some(("quote", hex::encode(&tdx.quote.0)))),
        other => return Err(AciError::Kind { kind: other.kind() }),
    };
    // What other readers look for is not there at all where it is simulated.
    let (tee_type, own) = match view.simulated() {
        true => (aci::SIMULATED_TEE_TYPE, None),
        false => (tee_type, own),
    };
    let cpu = serde_json::to_value(cpu).map_err(AciError::Value)?;
    let keyset: serde_json::Value = serde_json::from_slice(view.keyset()).map_err(AciError::Value)?;
    let mut evidence = serde_json::Map::from_iter([("hanzo_cpu".to_owned(), cpu)]);
    evidence.extend(own.map(|(name, hex)| (name.to_owned(), hex.into())));
    let digest = view.keyset_digest();
    let report_data = aci::report_data(&digest, nonce);
    let report_data = report_data.first_chunk::<32>().map(|half| Digest256(*half));
    let report = json!({
        "api_version": ACI_VERSION,
        "attestation": {
            "evidence": evidence,
            "report_data": report_data,
            // Nothing measured says where its source is: the release manifest does (image/SPEC.md).
            "source_provenance": {"image_digest": null, "image_provenance": null, "repo_commit": null, "repo_url": null},
            "tee_type": tee_type,
            "workload_keyset": keyset,
        },
        "service_capabilities": {"serving": "direct", "supported_e2ee_versions": []},
        "simulated": view.simulated(),
        "workload_keyset_digest": format!("sha256:{digest}"),
    });
    Ok(Bytes::from(jcs::to_vec("aci report", &report)?))
}

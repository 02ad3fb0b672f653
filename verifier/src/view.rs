//! The verdict as a document: what `hanzo-verify --json` prints and people read.

mod evidence;
mod release;

use hanzo_attestation::{Authentic, Binding, DeviceClaims, Revocation, UnixTime};
use hanzo_policy::release::VerifiedRelease;
use hanzo_policy::{Appraisal, PrivacyTier, RuleFailure, Rung};
use serde::Serialize;

use crate::reading::Reading;
use crate::result::{AttestationResult, Proven};

pub use evidence::{DeviceView, TdxView, TpmView};
pub use release::ReleaseView;

const UNMEASURED: &str = "unmeasured";
const HOST_AML_REFUSED: &str = "host-aml-refused";

/// Everything worth showing about a verdict. For showing alone: no function takes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VerdictView {
    /// True if the policy's minimum is reached (for a reading: apart from freshness).
    pub accepted: bool,
    /// The tier reached; for a reading, the one it would reach if fresh.
    pub tier: PrivacyTier,
    /// Its name.
    pub tier_name: &'static str,
    /// The policy's minimum.
    pub minimum_tier: PrivacyTier,
    /// True if no vendor's root stands behind it.
    pub simulated: bool,
    /// Kind of the primary evidence: `snp`, `tdx`, `tpm`, `az-snp-vtpm`, `az-tdx-vtpm`; `none` for devices alone.
    pub kind: &'static str,
    /// `milan`, `genoa` or `turin`; the kind where no processor of AMD's stands behind it.
    pub product: &'static str,
    /// What was started, as one digest (see `Claims::measurement`), lower-case hex.
    pub measurement: String,
    /// The policy's name for image and configuration.
    pub reference: Option<String>,
    /// The policy's name for the paravisor; `null` without one.
    pub paravisor: Option<String>,
    /// The chip; `null` if masked or signed by a provider's VLEK.
    pub chip_id: Option<String>,
    /// The provider whose VLEK signed; `null` for a VCEK.
    pub provider: Option<String>,
    /// The TDX quote, if there is one: registers, platform identity and TCB.
    pub tdx: Option<TdxView>,
    /// The TPM quote, if there is one: registers and what stands behind its key.
    pub tpm: Option<TpmView>,
    /// GPUs and switches, in the order of the evidence.
    pub devices: Vec<DeviceView>,
    /// `checked` or `no-list`.
    pub revocation: &'static str,
    /// Until when the revocation list counts, Unix seconds.
    pub revocation_next_update: Option<u64>,
    /// `challenge` (the caller's own), `session` (a broker's nonce) or `none`.
    pub freshness: &'static str,
    /// True if the keyset is past its end and nothing dates the bundle.
    pub undated: bool,
    /// The verifier's clock, Unix seconds.
    pub verified_at: u64,
    /// Last second at which the result counts; `null` for a reading.
    pub valid_until: Option<u64>,
    /// The keyset, if there is one.
    pub keyset: Option<KeysetView>,
    /// What binds the GPUs to the processor's evidence: `none` (there is no GPU), `nonce`, `hash` or `tdisp`.
    pub cpu_gpu_binding: &'static str,
    /// The release that the reference values came from; `null` if the policy names its own.
    pub release: Option<ReleaseView>,
    /// Witnesses of the log: with 0 nothing is claimed about split views.
    pub witnesses: u32,
    /// What is known about the host's ACPI tables: `host-aml-refused` if the verdict rests on a release whose every image has a
    /// kernel that is known to run none of their code, else `unmeasured`. Tables that are data are believed either way.
    pub acpi: &'static str,
    /// The channel that clients use.
    pub transport: &'static str,
    /// Signatures of the vendor's evidence are classical (ECDSA P-384, RSA-4096).
    pub evidence_signatures: &'static str,
    /// The five rows.
    pub ladder: Vec<Rung>,
    /// Every rule that failed.
    pub failures: Vec<RuleFailure>,
}

/// What is worth showing of a keyset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeysetView {
    /// SHA-384(JCS(keyset)).
    pub digest: String,
    /// Release version of the image.
    pub image: String,
    /// SHA-256 of the configuration.
    pub config_digest: String,
    /// Model name and weights root.
    pub models: Vec<ModelView>,
    /// Where the guest's clock comes from.
    pub time: String,
    /// First second.
    pub issued_at: u64,
    /// Last second.
    pub not_after: u64,
    /// SHA-256 of the TLS key.
    pub tls_spki_sha256: String,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ModelView {
    /// Name that clients ask for.
    pub name: String,
    /// Root over its files.
    pub weights_root: String,
    /// Of an adapter: root over the files of the model that it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_root: Option<String>,
}

impl VerdictView {
    pub(crate) fn of_result(result: &AttestationResult) -> Self {
        let mut view = Self::of(&result.proven, &result.appraisal);
        view.accepted = result.appraisal.is_accepted();
        view.verified_at = result.verified_at.0;
        view.valid_until = Some(result.valid_until.0);
        view.name_release(result.release.as_ref());
        view
    }

    pub(crate) fn of_reading(reading: &Reading) -> Self {
        let mut view = Self::of(&reading.proven, &reading.appraisal);
        let tier = reading.appraisal.tier_if_fresh();
        view.accepted = tier >= reading.appraisal.required();
        view.tier = tier;
        view.tier_name = tier.name();
        view.undated = reading.undated;
        view.verified_at = reading.read_at.0;
        view.name_release(reading.release.as_ref());
        view
    }

    fn name_release(&mut self, release: Option<&VerifiedRelease>) {
        self.release = release.map(ReleaseView::of);
        if release.is_some_and(|release| release.manifest().runs_no_host_aml()) {
            self.acpi = HOST_AML_REFUSED;
        }
    }

    /// Of a foreign document: the tier is the one apart from freshness, unless the caller's challenge is in it.
    pub(crate) fn of_foreign(proven: &Proven, appraisal: &Appraisal, read_at: UnixTime) -> Self {
        let mut view = Self::of(proven, appraisal);
        let tier = appraisal.tier_if_fresh();
        view.accepted = tier >= appraisal.required();
        view.tier = tier;
        view.tier_name = tier.name();
        view.verified_at = read_at.0;
        view
    }

    /// Of devices alone: tier 0, and of a guest nothing.
    pub(crate) fn of_devices(
        failures: Vec<RuleFailure>,
        required: PrivacyTier,
        devices: &[Authentic<DeviceClaims>],
        challenged: bool,
        read_at: UnixTime,
    ) -> Self {
        Self {
            accepted: required == PrivacyTier::Open,
            tier: PrivacyTier::Open,
            tier_name: PrivacyTier::Open.name(),
            minimum_tier: required,
            simulated: devices.iter().any(Authentic::is_simulated),
            kind: "none",
            product: "none",
            measurement: String::new(),
            reference: None,
            paravisor: None,
            chip_id: None,
            provider: None,
            tdx: None,
            tpm: None,
            devices: DeviceView::all(devices),
            revocation: "no-list",
            revocation_next_update: None,
            freshness: if challenged { "challenge" } else { "none" },
            undated: false,
            verified_at: read_at.0,
            valid_until: None,
            keyset: None,
            cpu_gpu_binding: "none",
            release: None,
            witnesses: 0,
            acpi: UNMEASURED,
            transport: "none",
            evidence_signatures: "classical",
            ladder: Vec::new(),
            failures,
        }
    }

    fn of(proven: &Proven, appraisal: &Appraisal) -> Self {
        let (freshness, keyset_digest) = match proven.bound.binding() {
            Binding::Keyset {
                challenged: true,
                keyset_digest,
            } => ("challenge", Some(keyset_digest)),
            Binding::Keyset { keyset_digest, .. } => ("none", Some(keyset_digest)),
            Binding::Rcar { .. } => ("session", None),
            Binding::Foreign { challenged: true, .. } => ("challenge", None),
            Binding::Foreign { .. } => ("none", None),
        };
        let (revocation, revocation_next_update) = match proven.bound.authentic().revocation() {
            Revocation::Checked { next_update } => ("checked", Some(next_update.0)),
            Revocation::NoList => ("no-list", None),
        };
        Self {
            accepted: false,
            tier: appraisal.tier(),
            tier_name: appraisal.tier().name(),
            minimum_tier: appraisal.required(),
            simulated: appraisal.is_simulated(),
            kind: proven.bound.claims().kind(),
            product: product_name(proven),
            measurement: proven.measurement().to_string(),
            reference: appraisal.reference().map(ToString::to_string),
            paravisor: appraisal.paravisor().map(ToString::to_string),
            chip_id: proven.chip_id().map(|id| id.to_string()),
            provider: proven.provider().map(ToOwned::to_owned),
            tdx: proven.bound.claims().tdx().map(TdxView::of),
            tpm: proven.bound.claims().tpm().map(TpmView::of),
            devices: DeviceView::all(proven.bound.devices()),
            revocation,
            revocation_next_update,
            freshness,
            undated: false,
            verified_at: 0,
            valid_until: None,
            keyset: proven
                .keyset
                .as_deref()
                .zip(keyset_digest)
                .map(|(k, digest)| KeysetView {
                    digest: digest.to_string(),
                    image: k.image.to_string(),
                    config_digest: k.config_digest.to_string(),
                    models: k
                        .models
                        .iter()
                        .map(|m| ModelView {
                            name: m.name.to_string(),
                            weights_root: m.weights_root.to_string(),
                            base_root: m.base_root.map(|root| root.to_string()),
                        })
                        .collect(),
                    time: k.time.clone(),
                    issued_at: k.issued_at,
                    not_after: k.not_after,
                    tls_spki_sha256: k.tls_spki_sha256.to_string(),
                }),
            cpu_gpu_binding: appraisal.cpu_gpu_binding().as_str(),
            release: None,
            witnesses: 0,
            acpi: UNMEASURED,
            transport: "tls1.3+x25519mlkem768",
            evidence_signatures: "classical",
            ladder: appraisal.ladder().to_vec(),
            failures: appraisal.failures().to_vec(),
        }
    }
}

fn product_name(proven: &Proven) -> &'static str {
    use hanzo_attestation::snp::Product;
    match proven.product() {
        Some(Product::Milan) => "milan",
        Some(Product::Genoa) => "genoa",
        Some(Product::Turin) => "turin",
        None => proven.bound.claims().kind(),
    }
}

//! The bundle: everything a verifier needs, in one document that can be checked offline (DESIGN section 4, "Bundle").
//!
//! # Layout
//! JCS, media type `application/vnd.hanzo.attestation.v1+json`, at most 2 MiB. Binary evidence is standard base64 with
//! padding (RFC 4648 section 4); digests and nonces are lower-case hex.

mod shared;

pub use shared::SharedBundle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::digest::{Digest384, Nonce};
use crate::freshness::FreshnessPath;
use crate::jcs::{self, JcsError};
use crate::keyset::Keyset;
use crate::name::Name;

/// Longest bundle in bytes: eight GPUs and four switches with their collateral and an event log take about half.
pub const BUNDLE_BYTES_MAX: usize = 2 << 20;

/// A byte string that travels as standard base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl std::fmt::Debug for Base64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Base64({} bytes)", self.0.len())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        STANDARD
            .decode(text.as_bytes())
            .map(Self)
            .map_err(|_| de::Error::custom("expected standard base64 with padding"))
    }
}

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// Preimage of `keyset.capability_digest`: sorted, no repeats.
    pub capabilities: Vec<Name>,
    /// Endorsements and reference values of the devices. Nothing signs this list: each item proves itself.
    pub collateral: DeviceCollateral,
    /// The configuration text: preimage of `keyset.config_digest`.
    pub config: String,
    /// What the CPU's security processor signed, or, without one, the vTPM.
    pub cpu: CpuEvidence,
    /// GPUs and switches, in the order whose digest REPORT_DATA commits to.
    pub devices: Vec<DeviceEvidence>,
    /// The caller's place in the window that `nonce` answers; `null` means freshness `none`.
    pub freshness: Option<FreshnessPath>,
    /// The keys that the evidence proves.
    pub keyset: Keyset,
    /// The statement's nonce.
    pub nonce: Nonce,
    /// The admission policy text: preimage of `keyset.policy_digest`.
    pub policy: String,
    /// Format version: 1.
    pub version: u32,
}

/// Primary evidence with its endorsements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "kebab-case")]
pub enum CpuEvidence {
    /// An AMD SEV-SNP guest under Azure's paravisor, with its vTPM: `az-snp-vtpm`.
    AzSnpVtpm(AzSnpEvidence),
    /// An Intel TDX guest under Azure's paravisor, with its vTPM: `az-tdx-vtpm`.
    AzTdxVtpm(AzTdxEvidence),
    /// AMD SEV-SNP: `snp`.
    Snp(SnpEvidence),
    /// Intel TDX: `tdx`.
    Tdx(TdxEvidence),
    /// A TPM 2.0 alone: `tpm`.
    Tpm(TpmEvidence),
}

impl CpuEvidence {
    /// The tag of the wire form: `snp`, `tdx`, `tpm`, `az-snp-vtpm` or `az-tdx-vtpm`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AzSnpVtpm(_) => "az-snp-vtpm",
            Self::AzTdxVtpm(_) => "az-tdx-vtpm",
            Self::Snp(_) => "snp",
            Self::Tdx(_) => "tdx",
            Self::Tpm(_) => "tpm",
        }
    }
}

/// An SEV-SNP report with the certificates that endorse it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpEvidence {
    /// ASK (VCEK) or ASVK (VLEK) certificate, DER; `null`: the verifier uses the one it has for the product.
    pub ask: Option<Base64>,
    /// ARK-signed CRL (DER); `null` if none was stapled.
    pub crl: Option<Base64>,
    /// ATTESTATION_REPORT, exactly 1184 bytes.
    pub report: Base64,
    /// VCEK or VLEK certificate, DER.
    pub vek: Base64,
}

/// An Intel TDX quote with what endorses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdxEvidence {
    /// Intel's collateral for this platform; `null`: the verifier must have it.
    pub collateral: Option<TdxCollateral>,
    /// CCEL event log (TCG crypto-agile form); `null` if none came.
    pub event_log: Option<Base64>,
    /// The quote, version 4 or 5, zero padding after it allowed.
    pub quote: Base64,
}

/// What Intel's provisioning certification service says of one platform type (PCS API version 4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdxCollateral {
    /// CRL of the PCK CA, DER.
    pub pck_crl: Base64,
    /// Issuer chain of that CRL, PEM, leaf first.
    pub pck_crl_issuer_chain: String,
    /// TD_QE identity: the exact JSON that is signed.
    pub qe_identity: String,
    /// Issuer chain of the QE identity, PEM, leaf first.
    pub qe_identity_issuer_chain: String,
    /// ECDSA P-256 signature over `qe_identity`, r and s, 64 bytes.
    pub qe_identity_signature: Base64,
    /// CRL of the root CA, DER.
    pub root_ca_crl: Base64,
    /// TCB info version 3: the exact JSON that is signed.
    pub tcb_info: String,
    /// Issuer chain of the TCB info, PEM, leaf first.
    pub tcb_info_issuer_chain: String,
    /// ECDSA P-256 signature over `tcb_info`, r and s, 64 bytes.
    pub tcb_info_signature: Base64,
}

/// A TPM 2.0 quote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmQuote {
    /// TPMS_ATTEST, as the TPM marshalled it.
    pub message: Base64,
    /// The quoted registers of the SHA-256 bank, in ascending order, exactly those that the quote selects.
    pub pcrs: Vec<Pcr>,
    /// The same of the SHA-384 bank; not written if the quote selects none of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pcrs_sha384: Vec<Pcr<Digest384>>,
    /// TPMT_SIGNATURE, or the bare RSASSA signature (256 or 384 bytes) that Azure's agents store.
    pub signature: Base64,
}

/// One register of a bank, SHA-256 unless another is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pcr<D = crate::digest::Digest256> {
    /// 0 to 23.
    pub index: u8,
    /// Its value.
    pub value: D,
}

/// A TPM quote with what stands behind its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmEvidence {
    /// Certificates of the AK, DER, leaf first, without the root; empty if the key itself is pinned.
    pub ak_certificates: Vec<Base64>,
    /// The AK: SubjectPublicKeyInfo, DER.
    pub ak_public: Base64,
    /// TCG event log; `null` if none came.
    pub event_log: Option<Base64>,
    /// The quote.
    pub quote: TpmQuote,
}

/// An SNP guest under Azure's paravisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AzSnpEvidence {
    /// ASK certificate, DER; `null`: the verifier uses the one it has for the product.
    pub ask: Option<Base64>,
    /// ARK-signed CRL (DER); `null` if none was stapled.
    pub crl: Option<Base64>,
    /// TCG event log of the vTPM; `null` if none came.
    pub event_log: Option<Base64>,
    /// HCL report: header, SNP report, var data.
    pub hcl_report: Base64,
    /// Quote of the vTPM.
    pub quote: TpmQuote,
    /// VCEK certificate, DER.
    pub vek: Base64,
}

/// A TDX guest under Azure's paravisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AzTdxEvidence {
    /// TCG event log of the vTPM; `null` if none came.
    pub event_log: Option<Base64>,
    /// HCL report: header, TD report, var data.
    pub hcl_report: Base64,
    /// Quote of the vTPM.
    pub quote: TpmQuote,
    /// The TD quote with its collateral; its event log is `null`.
    pub td: TdxEvidence,
}

/// Evidence of one GPU or switch. The list of these is what `device_evidence_digest` covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceEvidence {
    /// `hopper`, `blackwell` or `ls10`: what the guest says it is; the certificates decide.
    pub arch: String,
    /// Certificate chain, PEM, leaf first.
    pub certificates: Base64,
    /// `nvidia`.
    pub kind: String,
    /// SPDM GET_MEASUREMENTS request and response.
    pub report: Base64,
}

/// What endorses the devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceCollateral {
    /// OCSP answers, DER.
    pub ocsp: Vec<Base64>,
    /// NVIDIA RIM files (SWID tags, XML).
    pub rims: Vec<Base64>,
}

/// Most devices of one bundle: 16 GPUs and 16 switches.
pub const DEVICES_MAX: usize = 32;
/// Most RIMs and most OCSP answers of one bundle.
pub const DEVICE_COLLATERAL_MAX: usize = 128;

/// SHA-384 of JCS of the device list: what REPORT_DATA commits to.
///
/// # Errors
/// [`JcsError`]: never for values of this type.
pub fn device_list_digest(devices: &[DeviceEvidence]) -> Result<Digest384, JcsError> {
    Ok(Digest384::of(&jcs::to_vec("device list", &devices)?))
}

impl Bundle {
    /// Reads a bundle.
    ///
    /// # Errors
    /// [`JcsError`]: over 2 MiB or [`jcs::VALUES_MAX`] values, not canonical, unknown or repeated members.
    pub fn parse(bytes: &[u8]) -> Result<Self, JcsError> {
        jcs::from_slice_bounded("bundle", bytes, BUNDLE_BYTES_MAX)
    }

    /// Writes a bundle.
    ///
    /// # Errors
    /// [`JcsError`]: never for values of this type.
    pub fn canonical(&self) -> Result<Vec<u8>, JcsError> {
        jcs::to_vec("bundle", self)
    }
}

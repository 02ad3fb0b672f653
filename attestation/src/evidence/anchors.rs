//! What counts: roots and collateral, both arguments.

use std::sync::Arc;

use crate::bundle::TdxCollateral;
use crate::digest::Digest256;
use crate::evidence::KnownSignatures;
use crate::tdx::PreparedTdx;

/// Which roots count. Vendor roots are compiled in; any other root of a CPU or device makes every result simulated.
///
/// A TPM has no vendor root here: tier 1 rests on a root or key that the caller pins, and says so.
#[derive(Debug, Clone, Default)]
pub struct Anchors {
    simulator_arks: Vec<Vec<u8>>,
    simulator_tdx_roots: Vec<Vec<u8>>,
    simulator_nvidia_roots: Vec<Vec<u8>>,
    simulator_rim_roots: Vec<Vec<u8>>,
    tpm_roots: Vec<Vec<u8>>,
    tpm_aks: Vec<Digest256>,
}

impl Anchors {
    /// The vendors' roots alone.
    pub fn vendor() -> Self {
        Self::default()
    }

    /// Besides them, an ARK certificate (DER) of a simulator. Whatever chains to it is `simulated`, for ever.
    pub fn with_simulator_ark(mut self, ark_der: Vec<u8>) -> Self {
        self.simulator_arks.push(ark_der);
        self
    }

    /// Besides them, a simulator's counterpart (DER) of Intel's SGX Root CA.
    pub fn with_simulator_tdx_root(mut self, der: Vec<u8>) -> Self {
        self.simulator_tdx_roots.push(der);
        self
    }

    /// Besides them, a simulator's counterpart (DER) of NVIDIA's device identity root.
    pub fn with_simulator_nvidia_root(mut self, der: Vec<u8>) -> Self {
        self.simulator_nvidia_roots.push(der);
        self
    }

    /// Besides them, a simulator's counterpart (DER) of NVIDIA's RIM root.
    pub fn with_simulator_rim_root(mut self, der: Vec<u8>) -> Self {
        self.simulator_rim_roots.push(der);
        self
    }

    /// A root (DER) for certificates of TPM attestation keys.
    pub fn with_tpm_root(mut self, der: Vec<u8>) -> Self {
        self.tpm_roots.push(der);
        self
    }

    /// An attestation key itself: SHA-256 of its SubjectPublicKeyInfo.
    pub fn with_tpm_ak(mut self, spki_sha256: Digest256) -> Self {
        self.tpm_aks.push(spki_sha256);
        self
    }

    /// The additional ARKs.
    pub fn simulator_arks(&self) -> &[Vec<u8>] {
        &self.simulator_arks
    }

    /// The additional TDX roots.
    pub fn simulator_tdx_roots(&self) -> &[Vec<u8>] {
        &self.simulator_tdx_roots
    }

    /// The additional device roots.
    pub fn simulator_nvidia_roots(&self) -> &[Vec<u8>] {
        &self.simulator_nvidia_roots
    }

    /// The additional RIM roots.
    pub fn simulator_rim_roots(&self) -> &[Vec<u8>] {
        &self.simulator_rim_roots
    }

    /// The pinned TPM roots.
    pub fn tpm_roots(&self) -> &[Vec<u8>] {
        &self.tpm_roots
    }

    /// The pinned attestation keys.
    pub fn tpm_aks(&self) -> &[Digest256] {
        &self.tpm_aks
    }
}

/// Collateral that did not travel with the evidence.
#[derive(Debug, Clone, Default)]
pub struct Collateral {
    /// ARK-signed CRLs (DER), for any product; used when the evidence staples none.
    pub crls: Vec<Vec<u8>>,
    /// Intel's collateral, for any platform; used when the evidence staples none.
    pub tdx: Vec<TdxCollateral>,
    /// The same, verified before: a second quote of a platform type then costs its own signatures alone. Verdicts are
    /// the same with and without.
    pub prepared_tdx: Vec<Arc<PreparedTdx>>,
    /// NVIDIA RIM files, XML.
    pub rims: Vec<Vec<u8>>,
    /// OCSP answers, DER.
    pub ocsp: Vec<Vec<u8>>,
    /// Signatures that verified before; by default none. Verdicts are the same with and without.
    pub known: KnownSignatures,
    /// A release bundle (`release.json` of `hanzo-policy`), for policies that name a line of releases. Carried, not read here.
    pub release: Option<Vec<u8>>,
}

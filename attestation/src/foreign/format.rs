//! The closed list of formats that can be read.

/// Formats of evidence that are not this project's own, and the project's own bundle, which is not read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForeignFormat {
    /// This project's bundle: for `detect` alone; its reader is `verify_bundle` or `read_bundle`.
    Bundle,
    /// The `cpu` member of a bundle, alone.
    Member,
    /// ATTESTATION_REPORT, 1184 bytes.
    SnpReport,
    /// ATTESTATION_REPORT followed by the host's certificate table (AMD 56421, section 4.1.8.1).
    SnpExtendedReport,
    /// A TDX quote, version 4 or 5.
    TdxQuote,
    /// SPDM GET_MEASUREMENTS request and response of an NVIDIA device.
    NvidiaReport,
    /// A list of device evidence as NVIDIA's attestation SDK serialises it.
    NvidiaSdk,
    /// Confidential Containers: `snp`.
    CocoSnp,
    /// Confidential Containers: `tdx`.
    CocoTdx,
    /// Confidential Containers: `az-snp-vtpm`.
    CocoAzSnpVtpm,
    /// Confidential Containers: `az-tdx-vtpm`.
    CocoAzTdxVtpm,
    /// Confidential Containers: `tpm`.
    CocoTpm,
    /// Confidential Containers: `nvidia`.
    CocoNvidia,
    /// Body of RCAR's `attest`: primary and additional evidence with what they are bound to.
    Rcar,
    /// Tinfoil attestation document, version 3.
    TinfoilV3,
    /// Tinfoil attestation document, version 2: recognised and refused.
    TinfoilV2,
    /// ACI `aci/1` report.
    Aci,
    /// What dstack's agent answers to a quote request.
    DstackQuote,
    /// A dstack VersionedAttestation.
    DstackAttestation,
    /// A certificate with dstack's extensions.
    DstackRaTls,
}

impl ForeignFormat {
    /// Every format.
    pub const ALL: [Self; 20] = [
        Self::Bundle,
        Self::Member,
        Self::SnpReport,
        Self::SnpExtendedReport,
        Self::TdxQuote,
        Self::NvidiaReport,
        Self::NvidiaSdk,
        Self::CocoSnp,
        Self::CocoTdx,
        Self::CocoAzSnpVtpm,
        Self::CocoAzTdxVtpm,
        Self::CocoTpm,
        Self::CocoNvidia,
        Self::Rcar,
        Self::TinfoilV3,
        Self::TinfoilV2,
        Self::Aci,
        Self::DstackQuote,
        Self::DstackAttestation,
        Self::DstackRaTls,
    ];

    /// The word for it, e.g. `coco-snp`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Member => "evidence",
            Self::SnpReport => "snp-report",
            Self::SnpExtendedReport => "snp-extended-report",
            Self::TdxQuote => "tdx-quote",
            Self::NvidiaReport => "nvidia-report",
            Self::NvidiaSdk => "nvidia-sdk",
            Self::CocoSnp => "coco-snp",
            Self::CocoTdx => "coco-tdx",
            Self::CocoAzSnpVtpm => "coco-az-snp-vtpm",
            Self::CocoAzTdxVtpm => "coco-az-tdx-vtpm",
            Self::CocoTpm => "coco-tpm",
            Self::CocoNvidia => "coco-nvidia",
            Self::Rcar => "rcar",
            Self::TinfoilV3 => "tinfoil-v3",
            Self::TinfoilV2 => "tinfoil-v2",
            Self::Aci => "aci",
            Self::DstackQuote => "dstack-quote",
            Self::DstackAttestation => "dstack-attestation",
            Self::DstackRaTls => "dstack-ra-tls",
        }
    }

    /// The format of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.name() == name)
    }
}

impl std::fmt::Display for ForeignFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

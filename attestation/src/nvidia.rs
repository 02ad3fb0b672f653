//! NVIDIA GPUs and switches: SPDM 1.1 measurement reports (DMTF DSP0274), certificate chains, RIMs and OCSP answers.
//!
//! A report is signed by a key that the device's boot ROM made for the firmware it started; five certificates lead from
//! it to NVIDIA's device identity root, which is compiled in. Any other root makes the result simulated.
//!
//! # What a report says of secure boot, debugging and confidential mode
//! Nothing in so many words. There is no field for secure boot, debug state, confidential mode (CC) or its DevTools
//! variant. NVIDIA's verifiers write `secboot: true` and `dbgstat: disabled` when every active reference value matches,
//! that is, from the measurements alone; here that is [`RimOutcome::Matched`] and has no second name. The chip measures
//! the mode it runs in, and NVIDIA publishes reference values for production mode; which measurement depends on the mode
//! is not published, and others report that a device in DevTools mode has passed such a comparison. So:
//!
//! - [`RimOutcome::Matched`]: firmware, VBIOS and driver are NVIDIA's, as released. Necessary for confidential mode.
//! - [`NvidiaClaims::protected_pcie`] is signed and says whether the device runs in protected PCIe mode.
//! - That CC mode is on and DevTools is off is seen by the guest's agent, which asks the driver (NVML) before it takes
//!   the device into use; it counts because the CPU's evidence measures that agent. No claim here stands for it.

mod certificate;
mod chain;
mod cursor;
mod display;
mod error;
mod fwid;
pub mod ocsp;
mod opaque;
mod reference;
mod report;
pub mod rim;
pub mod roots;
mod topology;
mod xml;

use std::collections::BTreeMap;

use crate::bundle::{Base64, DeviceEvidence};
use crate::evidence::{Anchors, Collateral, UnixTime};
use chain::Chain;
use fwid::LeafFwid;
use opaque::Typed;
use report::Report;

pub use certificate::CERTIFICATE_BYTES_MAX;
pub use chain::{CERTIFICATES_BYTES_MAX, Level};
pub use display::{Unauthenticated, read_unauthenticated};
pub use error::NvidiaError;
pub use reference::RimIds;
pub use report::{MEASUREMENTS_MAX, REPORT_BYTES_MAX};
pub use topology::{Topology, TopologyProblem};
pub use xml::XmlError;

/// Device families whose reports are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NvidiaArch {
    /// H100, H200 and their kin (GH100).
    Hopper,
    /// B200 and its kin (GB100).
    Blackwell,
    /// The third-generation NVSwitch (LS10).
    Ls10,
}

impl NvidiaArch {
    /// True for a GPU, false for a switch.
    pub fn is_gpu(self) -> bool {
        !matches!(self, Self::Ls10)
    }
}

impl NvidiaArch {
    /// As device evidence declares it: `hopper`, `blackwell` or `ls10`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hopper => "hopper",
            Self::Blackwell => "blackwell",
            Self::Ls10 => "ls10",
        }
    }

    fn declared(word: &str) -> Result<Self, NvidiaError> {
        let known = [Self::Hopper, Self::Blackwell, Self::Ls10];
        known
            .into_iter()
            .find(|arch| arch.word() == word)
            .ok_or_else(|| NvidiaError::ArchUnknown {
                what: "the evidence's arch",
                got: word.chars().filter(char::is_ascii_graphic).take(32).collect(),
            })
    }
}

/// Authenticated claims of one GPU or switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvidiaClaims {
    /// From the certificates; the declared one must equal it.
    pub arch: NvidiaArch,
    /// Nonce of the SPDM request (bytes 4..36 of the report).
    pub nonce: [u8; 32],
    /// Identity of the device as NVIDIA's tools state it (UEID): serial number of its leaf certificate, lower-case hex.
    /// Another firmware has another leaf certificate: an update changes it.
    pub ueid: String,
    /// Identity of the device through all firmware: serial number of its BROM certificate, lower-case hex.
    pub device_id: String,
    /// Opaque id 35 or, without it, the chip that the leaf certificate names: `GH100`, `GB100`, `LS_10`.
    pub chip: String,
    /// Opaque id 3; `None` for a switch.
    pub driver_version: Option<String>,
    /// Opaque id 6 in the usual notation, e.g. `96.00.9F.00.01`.
    pub vbios_version: String,
    /// What board the VBIOS is for: opaque ids 17, 18 and 15 of a GPU (project, its SKU, the chip's SKU), e.g.
    /// `1010_0200_882`. Reports of LS10 do not state it, and there is one.
    pub board: String,
    /// Opaque id 11: the engine whose measurement is compared only if this is not `Some(false)`.
    pub nvdec0_enabled: Option<bool>,
    /// What the report says about the firmware id (opaque id 20) of the leaf certificate.
    pub fwid: Fwid,
    /// Opaque id 21: protected PCIe on or off; `None` if not stated.
    pub protected_pcie: Option<bool>,
    /// Opaque id 36: raw feature flag. Its values are read differently by NVIDIA's own tools, so it is kept raw.
    pub feature_flag: Option<u32>,
    /// Opaque id 22 of a GPU: the switches behind its links, in ascending order, each once, in the byte order in which
    /// switches state their own id (a GPU reverses it).
    pub switch_pdis: Vec<[u8; 8]>,
    /// First half of opaque id 26 of a switch: the GPUs behind its ports, in ascending order, each once.
    pub gpu_pdis: Vec<[u8; 8]>,
    /// The id by which others name this device: the serial number of its BROM certificate after the first byte. A switch
    /// also states it (opaque id 22), and another one there is not authentic.
    pub own_pdi: Option<[u8; 8]>,
    /// Every opaque field, raw, by id.
    pub opaque: BTreeMap<u16, Vec<u8>>,
    /// Measurements by index (1 to 64): 48 bytes each.
    pub measurements: BTreeMap<u8, Vec<u8>>,
    /// Comparison with reference measurements.
    pub rim: RimOutcome,
    /// What OCSP answers say of the chain.
    pub ocsp: OcspOutcome,
}

/// Firmware id of the leaf certificate against the one in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fwid {
    /// The report states the certificate's. (Another one is not authentic.)
    Matched,
    /// The report states none (switches, drivers before 550).
    Absent,
}

/// Comparison of the measurements with the vendor's signed reference values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RimOutcome {
    /// There was no RIM for the driver or for the VBIOS.
    Missing {
        /// Ids of the RIMs that are missing, as the RIM service names them.
        ids: Vec<String>,
    },
    /// Every active reference value is matched.
    Matched {
        /// Ids of the RIMs.
        ids: Vec<String>,
        /// Earliest end of their certificates.
        expires: UnixTime,
    },
    /// Some are not.
    Mismatch {
        /// Measurement indexes, 1 to 64.
        indexes: Vec<u8>,
        /// Ids of the RIMs.
        ids: Vec<String>,
    },
}

/// What OCSP answers say of the certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OcspOutcome {
    /// No answer came along for at least one certificate of the chain.
    NoAnswer,
    /// All good.
    Good {
        /// Earliest nextUpdate.
        next_update: UnixTime,
    },
    /// Revoked for the reason certificateHold; policy decides.
    OnHold,
}

/// Parsed, not authenticated.
pub struct ParsedNvidia {
    declared: NvidiaArch,
    arch: NvidiaArch,
    bytes: Vec<u8>,
    report: Report,
    typed: Typed,
    chain: Chain,
}

impl std::fmt::Debug for ParsedNvidia {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ParsedNvidia({:?}, {:?})", self.arch, self.chain.leaf)
    }
}

/// Verified claims on their way into `Authentic`.
pub(crate) struct VerifiedNvidia {
    pub(crate) claims: NvidiaClaims,
    pub(crate) simulated: bool,
}

/// What a device list is verified with: shared by its devices, so that nothing is verified twice.
pub(crate) struct Endorsements<'a> {
    rims: rim::Rims<'a>,
    answers: ocsp::Answers<'a>,
    anchors: &'a Anchors,
    now: UnixTime,
}

impl<'a> Endorsements<'a> {
    pub(crate) fn new(collateral: &'a Collateral, anchors: &'a Anchors, now: UnixTime) -> Self {
        Self {
            rims: rim::Rims::new(&collateral.rims, anchors, now),
            answers: ocsp::Answers::new(&collateral.ocsp, now),
            anchors,
            now,
        }
    }
}

impl ParsedNvidia {
    pub(crate) fn parse(raw: &DeviceEvidence) -> Result<Self, NvidiaError> {
        let DeviceEvidence {
            arch: declared,
            certificates: Base64(pem),
            kind: _,
            report: Base64(bytes),
        } = raw;
        let declared = NvidiaArch::declared(declared)?;
        let report = Report::parse(bytes)?;
        let chain = Chain::parse(pem)?;
        let arch = chain::arch_of("the leaf certificate", chain.chip())?;
        Ok(Self {
            declared,
            arch,
            bytes: bytes.clone(),
            typed: Typed::read(&report.opaque, arch)?,
            report,
            chain,
        })
    }

    /// Chain from the root down, then the report's signature, and only then what the report says against what the
    /// certificates say.
    pub(crate) fn authenticate(self, endorsements: &Endorsements<'_>) -> Result<VerifiedNvidia, NvidiaError> {
        let Endorsements {
            rims,
            answers,
            anchors,
            now,
        } = endorsements;
        let (anchors, now) = (*anchors, *now);
        let simulated = self.chain.verify(anchors, now)?;
        let signed = report::signed(&self.bytes).ok_or(NvidiaError::Signature)?;
        if !self.chain.leaf.verifies_fixed(signed, &self.report.signature) {
            return Err(NvidiaError::Signature);
        }
        self.check_arch()?;
        let fwid = self.check_fwid()?;
        let own_pdi = self.check_pdi()?;
        let Self {
            arch,
            report,
            typed,
            chain,
            ..
        } = self;
        let mut claims = NvidiaClaims {
            arch,
            nonce: report.nonce,
            ueid: hex_of(chain.leaf.serial()),
            device_id: hex_of(chain.brom.serial()),
            chip: typed.chip_info.unwrap_or_else(|| chain.chip().to_owned()),
            driver_version: typed.driver_version,
            vbios_version: typed.vbios_version,
            board: typed.board,
            nvdec0_enabled: typed.nvdec0_enabled,
            fwid,
            protected_pcie: typed.protected_pcie,
            feature_flag: typed.feature_flag,
            switch_pdis: typed.switch_pdis,
            gpu_pdis: typed.gpu_pdis,
            own_pdi,
            opaque: report.opaque,
            measurements: report.measurements,
            rim: RimOutcome::Missing { ids: Vec::new() },
            ocsp: OcspOutcome::NoAnswer,
        };
        let (rim, simulated_rim) = claims.compare(rims, answers)?;
        claims.rim = rim;
        claims.ocsp = answers.about_device(&chain.ders())?;
        let simulated = simulated || simulated_rim;
        Ok(VerifiedNvidia { claims, simulated })
    }

    fn check_arch(&self) -> Result<(), NvidiaError> {
        let certificate = self.arch;
        let mismatch = |what, got| Err(NvidiaError::ArchMismatch { what, got, certificate });
        if self.declared != certificate {
            return mismatch("the evidence's arch", self.declared);
        }
        if let Some(chip) = &self.typed.chip_info {
            let what = "opaque field 35 (CHIP_INFO)";
            let got = chain::arch_of(what, chip)?;
            if got != certificate {
                return mismatch(what, got);
            }
        }
        Ok(())
    }

    fn check_fwid(&self) -> Result<Fwid, NvidiaError> {
        let Some(report) = self.typed.fwid else {
            return Ok(Fwid::Absent);
        };
        match fwid::of(&self.chain.leaf) {
            LeafFwid::Sha384(certificate) if certificate == report => Ok(Fwid::Matched),
            LeafFwid::Sha384(certificate) => Err(NvidiaError::Fwid {
                certificate: Some(certificate),
                report,
            }),
            LeafFwid::None => Err(NvidiaError::Fwid {
                certificate: None,
                report,
            }),
            LeafFwid::Malformed => Err(NvidiaError::Certificate {
                level: Level::Leaf,
                detail: "its firmware id (2.23.133.5.4.1 or 2.23.133.5.4.1.1) is not one SHA-384",
            }),
        }
    }

    fn check_pdi(&self) -> Result<Option<[u8; 8]>, NvidiaError> {
        match (self.typed.own_pdi, self.chain.pdi()) {
            (Some(report), Some(certificate)) if report != certificate => Err(NvidiaError::Pdi { certificate, report }),
            (report, certificate) => Ok(certificate.or(report)),
        }
    }
}

/// Lower-case hex.
fn hex_of(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

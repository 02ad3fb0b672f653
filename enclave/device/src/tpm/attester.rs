//! Attesters whose primary evidence is a vTPM's quote.

use std::path::PathBuf;
use std::sync::Mutex;

use hanzo_attestation::Digest256;
use hanzo_attestation::bundle::{AzSnpEvidence, Base64, CpuEvidence, TpmEvidence};
use hanzo_attestation::eventlog::{Algorithm, EventLog};
use hanzo_attestation::statement::EvidenceRequest;
use tdx_attest_rs::Roots;

use super::TpmError;
use super::client::{LoadedKey, PcrSelection, Quoted, Tpm};
use super::hcl::{HCL_INDEX, HclKind, trim};
use super::public::AkPublic;
use crate::attester::{Attester, TimeSource};
use crate::cmdline;
use crate::endorsements::Endorsements;
use crate::error::DeviceError;
use crate::files::read_if_there;

/// Azure's AK and its certificate.
const AZURE_AK: u32 = 0x8100_0003;
const AZURE_AK_CERTIFICATE: u32 = 0x01c1_01d0;
/// Google's RSA AK: certificate and template.
const GOOGLE_AK_CERTIFICATE: u32 = 0x01c1_0000;
const GOOGLE_AK_TEMPLATE: u32 = 0x01c1_0001;
/// Longest firmware log taken along, in bytes.
const EVENT_LOG_BYTES_MAX: usize = 256 * 1024;

/// Where the attestation key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AkSource {
    /// A persistent key, with the NV index of its certificate if it has one.
    Persistent {
        /// Its handle.
        handle: u32,
        /// NV index.
        certificate: Option<u32>,
    },
    /// A primary key of the endorsement hierarchy, by a template in NV.
    Template {
        /// NV index of the template.
        template: u32,
        /// NV index of its certificate.
        certificate: u32,
    },
    /// A primary key of the owner hierarchy. Nothing certifies it: verifiers pin it or believe nothing.
    Owner,
}

/// How a machine's TPM is reached and what it is asked for.
struct Device {
    roots: Roots,
    selection: PcrSelection,
    one_at_a_time: Mutex<()>,
}

impl Device {
    fn new(roots: Roots, selection: PcrSelection) -> Self {
        Self {
            roots,
            selection,
            one_at_a_time: Mutex::new(()),
        }
    }

    fn path(&self) -> PathBuf {
        self.roots.dev.join("tpmrm0")
    }

    /// Runs `f` on a connection of its own: what it loads is gone when the connection is.
    fn with<T>(&self, f: impl FnOnce(&mut Tpm) -> Result<T, DeviceError>) -> Result<T, DeviceError> {
        let _turn = self
            .one_at_a_time
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        f(&mut Tpm::open(&self.path())?)
    }

    /// Firmware's log; `None` where the kernel shows none.
    fn event_log(&self) -> Result<Option<Base64>, DeviceError> {
        let path = self.roots.sys.join("kernel/security/tpm0/binary_bios_measurements");
        Ok(read_if_there(&path, "event log", EVENT_LOG_BYTES_MAX)?.map(Base64))
    }

    fn measured_config_digest(&self) -> Result<Digest256, DeviceError> {
        cmdline::config_digest_of(&self.roots.proc.join("cmdline"))
    }
}

/// The attester of a machine that has a vTPM and nothing better: tier 1 at most.
pub struct Vtpm {
    device: Device,
    ak: AkSource,
    endorsements: Endorsements,
}

impl Vtpm {
    /// Quotes `selection` with the key from `ak`: of the SHA-256 bank, and of the SHA-384 bank where the TPM keeps it and the
    /// firmware's log, if there is one, tells it. Certificates above the AK's come from the `endorsements`.
    pub fn new(roots: Roots, ak: AkSource, selection: PcrSelection, endorsements: Endorsements) -> Self {
        Self {
            device: Device::new(roots, selection),
            ak,
            endorsements,
        }
    }

    /// As [`Vtpm::new`], with the key that this machine's provider put there, or an owner key without one.
    ///
    /// # Errors
    /// [`DeviceError::Tpm`].
    pub fn detect(roots: Roots, endorsements: Endorsements) -> Result<Self, DeviceError> {
        let mut found = Self::new(roots, AkSource::Owner, PcrSelection::boot(), endorsements);
        found.ak = found.device.with(|tpm| {
            if tpm.nv(AZURE_AK_CERTIFICATE)?.is_some() {
                return Ok(AkSource::Persistent {
                    handle: AZURE_AK,
                    certificate: Some(AZURE_AK_CERTIFICATE),
                });
            }
            if tpm.nv(GOOGLE_AK_TEMPLATE)?.is_some() && tpm.nv(GOOGLE_AK_CERTIFICATE)?.is_some() {
                return Ok(AkSource::Template {
                    template: GOOGLE_AK_TEMPLATE,
                    certificate: GOOGLE_AK_CERTIFICATE,
                });
            }
            Ok(AkSource::Owner)
        })?;
        Ok(found)
    }

    /// The key it quotes with.
    pub fn ak_source(&self) -> AkSource {
        self.ak
    }

    /// The public half of that key: what a verifier pins before this machine's first quote.
    ///
    /// # Does not establish
    /// That a TPM chip holds it: a software TPM gives one as readily.
    ///
    /// # Errors
    /// [`DeviceError::Tpm`].
    pub fn ak_public(&self) -> Result<AkPublic, DeviceError> {
        self.device.with(|tpm| {
            let (key, _) = self.load(tpm)?;
            tpm.unload(&key)?;
            Ok(key.public)
        })
    }

    /// The key and its certificate.
    fn load(&self, tpm: &mut Tpm) -> Result<(LoadedKey, Option<Vec<u8>>), TpmError> {
        let needed = |found: Option<Vec<u8>>, handle| {
            found.ok_or(TpmError::NoHandle {
                command: "TPM2_NV_ReadPublic",
                handle,
            })
        };
        match self.ak {
            AkSource::Persistent { handle, certificate } => {
                let certificate = match certificate {
                    Some(index) => Some(needed(tpm.nv(index)?, index)?),
                    None => None,
                };
                Ok((tpm.persistent_key(handle)?, certificate))
            }
            AkSource::Template { template, certificate } => {
                let certificate = needed(tpm.nv(certificate)?, certificate)?;
                let template = needed(tpm.nv(template)?, template)?;
                Ok((tpm.endorsement_key(&template)?, Some(certificate)))
            }
            AkSource::Owner => Ok((tpm.owner_key()?, None)),
        }
    }
}

impl Attester for Vtpm {
    fn kind(&self) -> &'static str {
        "tpm"
    }

    fn evidence(&self, request: &EvidenceRequest) -> Result<CpuEvidence, DeviceError> {
        let event_log = self.device.event_log()?;
        let registers = self.device.selection;
        let (quote, public, certificate) = self.device.with(|tpm| {
            let sha384 = tells_sha384(event_log.as_ref()) && tpm.keeps_sha384(registers)?;
            let (key, certificate) = self.load(tpm)?;
            let quote = tpm.quote(&key, request.qualifying_data(), Quoted { registers, sha384 })?;
            Ok((quote, key.public, certificate))
        })?;
        // Without a leaf the chain above it says nothing.
        let ak_certificates = match certificate {
            Some(leaf) => std::iter::once(der_alone(leaf))
                .chain(self.endorsements.ak.iter().cloned())
                .map(Base64)
                .collect(),
            None => Vec::new(),
        };
        Ok(CpuEvidence::Tpm(TpmEvidence {
            ak_certificates,
            ak_public: Base64(public.spki_der().to_vec()),
            event_log,
            quote,
        }))
    }

    fn measured_config_digest(&self) -> Result<Digest256, DeviceError> {
        self.device.measured_config_digest()
    }

    fn time_source(&self) -> TimeSource {
        TimeSource::Host
    }
}

/// The attester of a guest under Azure's paravisor: the vTPM quotes, the paravisor's report names the vTPM's key.
pub struct AzureVtpm {
    device: Device,
    endorsements: Endorsements,
}

impl AzureVtpm {
    /// `endorsements` must hold the VCEK: Azure hands it out over the network alone, which this guest does not reach.
    pub fn new(roots: Roots, endorsements: Endorsements) -> Self {
        Self {
            device: Device::new(roots, PcrSelection::boot()),
            endorsements,
        }
    }

    /// What the machine below the paravisor is; `None` without a paravisor.
    ///
    /// # Errors
    /// [`DeviceError::Tpm`].
    pub fn detect(&self) -> Result<Option<HclKind>, DeviceError> {
        self.device.with(|tpm| match tpm.nv(HCL_INDEX)? {
            Some(index) => Ok(Some(trim(&index)?.1)),
            None => Ok(None),
        })
    }
}

impl Attester for AzureVtpm {
    fn kind(&self) -> &'static str {
        "az-snp-vtpm"
    }

    fn evidence(&self, request: &EvidenceRequest) -> Result<CpuEvidence, DeviceError> {
        let (index, quote) = self.device.with(|tpm| {
            let index = tpm.nv(HCL_INDEX)?.ok_or(TpmError::NoHandle {
                command: "TPM2_NV_ReadPublic",
                handle: HCL_INDEX,
            })?;
            let key = tpm.persistent_key(AZURE_AK)?;
            // As Azure's own agents do it: no recorded machine shows a log of the other bank.
            let quoted = Quoted {
                registers: self.device.selection,
                sha384: false,
            };
            let quote = tpm.quote(&key, request.qualifying_data(), quoted)?;
            Ok((index, quote))
        })?;
        let (report, kind) = trim(&index)?;
        if kind == HclKind::Tdx {
            return Err(DeviceError::ParavisorQuote);
        }
        let own = &self.endorsements;
        let vek = own.vek.clone().ok_or(DeviceError::NoCertificate { wanted: "VCEK" })?;
        Ok(CpuEvidence::AzSnpVtpm(AzSnpEvidence {
            ask: own.ask.clone().map(Base64),
            crl: own.crl.clone().map(Base64),
            event_log: self.device.event_log()?,
            hcl_report: Base64(report.to_vec()),
            quote,
            vek: Base64(vek),
        }))
    }

    fn measured_config_digest(&self) -> Result<Digest256, DeviceError> {
        self.device.measured_config_digest()
    }

    fn time_source(&self) -> TimeSource {
        TimeSource::Host
    }
}

/// Verifiers ask of a log that it explains each bank that is quoted. Without one there is nothing to contradict, and what
/// is no log is the verifier's to refuse.
fn tells_sha384(log: Option<&Base64>) -> bool {
    log.is_none_or(|log| match EventLog::parse_tcg(&log.0) {
        Ok(log) => log.algorithms().contains(&Algorithm::Sha384),
        Err(_) => false,
    })
}

/// A certificate without the zeros that pad its NV index.
fn der_alone(mut bytes: Vec<u8>) -> Vec<u8> {
    if let [0x30, 0x82, high, low, ..] = bytes.as_slice() {
        let whole = 4 + usize::from(u16::from_be_bytes([*high, *low]));
        let padding_is_zero = bytes.iter().skip(whole).all(|b| *b == 0 || *b == 0xff);
        if whole <= bytes.len() && padding_is_zero {
            bytes.truncate(whole);
        }
    }
    bytes
}

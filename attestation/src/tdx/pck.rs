//! The PCK certificate chain of a quote, and what the PCK certificate says of its platform (SGX PCK Certificate and CRL
//! Profile Specification, revision 1.5, section 1.3.5).

use std::sync::Arc;

use dcap_qvl::intel::parse_pck_extension_with;

use super::certificate::{Certificate, Role};
use super::error::TdxError;
use super::pem;
use super::provider::AwsLcConfig;

/// What the PCK certificate says of the platform besides FMSPC and PPID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PckPlatform {
    /// CPUSVN: the sixteen SGX TCB components.
    pub cpu_svn: [u8; 16],
    /// PCESVN.
    pub pce_svn: u16,
    /// PCE-ID.
    pub pce_id: [u8; 2],
    /// SGX Type: 0 standard, 1 scalable, 2 scalable with integrity.
    pub sgx_type: u8,
    /// Platform Instance ID (platform CA alone).
    pub platform_instance_id: Option<[u8; 16]>,
    /// Packages can be added (platform CA alone).
    pub dynamic_platform: Option<bool>,
    /// Intel's registration service keeps the platform's keys (platform CA alone).
    pub cached_keys: Option<bool>,
    /// Simultaneous multithreading is on (platform CA alone).
    pub smt_enabled: Option<bool>,
}

/// Root, PCK CA and PCK certificate, as the quote carries them.
#[derive(Debug)]
pub(super) struct PckChain {
    pub(super) pck: Certificate,
    pub(super) ca: Arc<Certificate>,
    pub(super) root_der: Vec<u8>,
    pub(super) fmspc: [u8; 6],
    pub(super) ppid: [u8; 16],
    pub(super) platform: PckPlatform,
}

impl PckChain {
    pub(super) fn parse(pem: &[u8]) -> Result<Self, TdxError> {
        let [pck, ca, root_der] = pem::chain("PCK certificate chain of the quote", pem)?;
        let pck = Certificate::parse(Role::Pck, &pck)?;
        let ca = Arc::new(Certificate::parse(Role::PckCa, &ca)?);
        let wrong = |detail| TdxError::Certificate {
            role: Role::Pck,
            detail,
        };
        let extension = parse_pck_extension_with::<AwsLcConfig>(pck.der())
            .map_err(|_| wrong("the SGX extension (1.2.840.113741.1.13.1) is missing or malformed"))?;
        let platform_instance_id = extension
            .platform_instance_id
            .map(|id| {
                id.try_into()
                    .map_err(|_| wrong("Platform Instance ID has not 16 bytes"))
            })
            .transpose()?;
        Ok(Self {
            pck,
            ca,
            root_der,
            fmspc: extension.fmspc,
            ppid: extension.ppid.try_into().map_err(|_| wrong("PPID has not 16 bytes"))?,
            platform: PckPlatform {
                cpu_svn: extension.cpu_svn,
                pce_svn: extension.pce_svn,
                pce_id: extension
                    .pce_id
                    .try_into()
                    .map_err(|_| wrong("PCE-ID has not 2 bytes"))?,
                sgx_type: u8::try_from(extension.sgx_type).map_err(|_| wrong("SGX Type is over 255"))?,
                platform_instance_id,
                dynamic_platform: extension.dynamic_platform,
                cached_keys: extension.cached_keys,
                smt_enabled: extension.smt_enabled,
            },
        })
    }
}

//! Layout of quotes (Intel TDX DCAP Quoting Library API, revision 0.9, appendix A: versions 4 and 5; TDX Module ABI
//! 348551, TDREPORT). Little endian throughout.

use super::cursor::Cursor;
use super::error::TdxError;
use super::{Td15, Td15Extended};

/// Longest quote in bytes, padding included: the kernel's buffer holds less than half of it.
pub const QUOTE_BYTES_MAX: usize = 64 << 10;
/// Bytes of the header.
const HEADER_BYTES: usize = 48;
/// Bytes of body type and body size in version 5.
const BODY_HEADER_BYTES: usize = 6;
/// Bytes of an SGX enclave report: what the quoting enclave says of itself.
pub(super) const ENCLAVE_REPORT_BYTES: usize = 384;
/// Longest QE authentication data in bytes; Intel's quoting enclave writes 32.
const QE_AUTH_BYTES_MAX: usize = 1024;
/// "Intel SGX ECDSA QE", who made the quote.
const INTEL_QE_VENDOR: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];
const TEE_TYPE_TDX: u32 = 0x81;
const ECDSA_P256: u16 = 2;
const QE_REPORT_CERTIFICATION: u16 = 6;
const PCK_CHAIN: u16 = 5;

/// What the body says: the TD's own fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TdReport {
    /// 4 or 5.
    pub quote_version: u16,
    /// TEE_TCB_SVN.
    pub tee_tcb_svn: [u8; 16],
    /// MRSEAM.
    pub mr_seam: [u8; 48],
    /// MRSIGNERSEAM.
    pub mr_signer_seam: [u8; 48],
    /// SEAMATTRIBUTES.
    pub seam_attributes: u64,
    /// TDATTRIBUTES.
    pub td_attributes: u64,
    /// XFAM.
    pub xfam: u64,
    /// MRTD.
    pub mr_td: [u8; 48],
    /// MRCONFIGID.
    pub mr_config_id: [u8; 48],
    /// MROWNER.
    pub mr_owner: [u8; 48],
    /// MROWNERCONFIG.
    pub mr_owner_config: [u8; 48],
    /// RTMR0 to RTMR3.
    pub rtmr: [[u8; 48]; 4],
    /// REPORTDATA.
    pub report_data: [u8; 64],
    /// TD 1.5.
    pub td15: Option<Td15>,
    /// TD 1.5 extended.
    pub td15_extended: Option<Td15Extended>,
}

/// A quote taken apart. Nothing in it is authenticated.
#[derive(Debug)]
pub(super) struct Quote {
    /// Header and body: what the attestation key signed.
    pub(super) signed: Vec<u8>,
    pub(super) report: TdReport,
    /// By the attestation key over `signed`: r and s.
    pub(super) signature: [u8; 64],
    /// The attestation key: x and y.
    pub(super) attestation_key: [u8; 64],
    pub(super) qe_report: [u8; ENCLAVE_REPORT_BYTES],
    /// By the PCK over `qe_report`: r and s.
    pub(super) qe_report_signature: [u8; 64],
    pub(super) qe_auth_data: Vec<u8>,
    /// PCK certificate chain, PEM.
    pub(super) pck_chain: Vec<u8>,
}

impl Quote {
    /// Takes a quote apart. Every length is checked against what is there; after the quote there may be zeros, and they
    /// end in no field.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, TdxError> {
        if bytes.len() > QUOTE_BYTES_MAX {
            return Err(TdxError::TooLong { got: bytes.len() });
        }
        let mut cursor = Cursor::new(bytes);
        let version = check_header(&mut cursor)?;
        let (report, body_bytes) = match version {
            4 => (td10(&mut cursor, version)?, BodyType::Td10.bytes()),
            _ => {
                let kind = BodyType::parse(cursor.u16("body type")?)?;
                let size = cursor.length("body size")?;
                if size != kind.bytes() {
                    return Err(TdxError::BodySize {
                        kind: kind.number(),
                        expected: kind.bytes(),
                        got: size,
                    });
                }
                let report = match kind {
                    BodyType::Td10 => td10(&mut cursor, version)?,
                    BodyType::Td15 => td15(&mut cursor, version)?,
                    BodyType::Td15Extended => td15_extended(&mut cursor, version)?,
                };
                (report, kind.bytes().saturating_add(BODY_HEADER_BYTES))
            }
        };
        let signed = bytes
            .get(..HEADER_BYTES.saturating_add(body_bytes))
            .unwrap_or_default()
            .to_vec();
        let signature_bytes = cursor.length("signature data length")?;
        let signature_data = cursor.bytes("signature data", signature_bytes)?;
        let padding = cursor.rest();
        if let Some(at) = padding.iter().position(|b| *b != 0) {
            return Err(TdxError::Trailing {
                at: bytes.len().saturating_sub(padding.len()).saturating_add(at),
            });
        }

        let mut cursor = Cursor::new(signature_data);
        let signature = cursor.take("quote signature")?;
        let attestation_key = cursor.take("attestation key")?;
        let certification = certification(&mut cursor, QE_REPORT_CERTIFICATION, "QE certification data")?;
        cursor.finish("signature data")?;

        let mut cursor = Cursor::new(certification);
        let qe_report = cursor.take("QE report")?;
        let qe_report_signature = cursor.take("QE report signature")?;
        let auth_bytes = usize::from(cursor.u16("QE authentication data length")?);
        if auth_bytes > QE_AUTH_BYTES_MAX {
            return Err(TdxError::Length {
                field: "QE authentication data",
                expected: QE_AUTH_BYTES_MAX,
                got: auth_bytes,
            });
        }
        let qe_auth_data = cursor.bytes("QE authentication data", auth_bytes)?.to_vec();
        let pck_chain = self::certification(&mut cursor, PCK_CHAIN, "PCK certificate chain")?.to_vec();
        cursor.finish("QE certification data")?;
        Ok(Self {
            signed,
            report,
            signature,
            attestation_key,
            qe_report,
            qe_report_signature,
            qe_auth_data,
            pck_chain,
        })
    }
}

/// Header: version u16, attestation key type u16, TEE type u32, QE SVN u16, PCE SVN u16, QE vendor 16, user data 20.
/// The kind of TEE is looked at first, so that an SGX quote of any version is told as one.
fn check_header(cursor: &mut Cursor<'_>) -> Result<u16, TdxError> {
    let version = cursor.u16("header: version")?;
    let key_type = cursor.u16("header: attestation key type")?;
    let tee_type = cursor.u32("header: TEE type")?;
    if tee_type != TEE_TYPE_TDX {
        return Err(TdxError::TeeType { got: tee_type });
    }
    if ![4, 5].contains(&version) {
        return Err(TdxError::Version { got: version });
    }
    if key_type != ECDSA_P256 {
        return Err(TdxError::KeyType { got: key_type });
    }
    cursor.take::<4>("header: QE SVN and PCE SVN")?;
    let vendor = cursor.take::<16>("header: QE vendor")?;
    if vendor != INTEL_QE_VENDOR {
        return Err(TdxError::QeVendor { got: vendor });
    }
    cursor.take::<20>("header: user data")?;
    Ok(version)
}

/// Type u16, size u32, content.
fn certification<'a>(cursor: &mut Cursor<'a>, expected: u16, field: &'static str) -> Result<&'a [u8], TdxError> {
    let got = cursor.u16("certification data type")?;
    if got != expected {
        return Err(TdxError::CertificationType { field, expected, got });
    }
    let bytes = cursor.length("certification data size")?;
    cursor.bytes(field, bytes)
}

/// Body types of version 5. Type 1 is an SGX enclave report.
#[derive(Clone, Copy)]
enum BodyType {
    Td10,
    Td15,
    Td15Extended,
}

impl BodyType {
    fn parse(number: u16) -> Result<Self, TdxError> {
        match number {
            2 => Ok(Self::Td10),
            3 => Ok(Self::Td15),
            4 => Ok(Self::Td15Extended),
            got => Err(TdxError::BodyType { got }),
        }
    }

    fn number(self) -> u16 {
        match self {
            Self::Td10 => 2,
            Self::Td15 => 3,
            Self::Td15Extended => 4,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Td10 => 584,
            Self::Td15 => 648,
            Self::Td15Extended => 885,
        }
    }
}

fn td10(c: &mut Cursor<'_>, quote_version: u16) -> Result<TdReport, TdxError> {
    Ok(TdReport {
        quote_version,
        tee_tcb_svn: c.take("TEE_TCB_SVN")?,
        mr_seam: c.take("MRSEAM")?,
        mr_signer_seam: c.take("MRSIGNERSEAM")?,
        seam_attributes: c.u64("SEAMATTRIBUTES")?,
        td_attributes: c.u64("TDATTRIBUTES")?,
        xfam: c.u64("XFAM")?,
        mr_td: c.take("MRTD")?,
        mr_config_id: c.take("MRCONFIGID")?,
        mr_owner: c.take("MROWNER")?,
        mr_owner_config: c.take("MROWNERCONFIG")?,
        rtmr: [c.take("RTMR0")?, c.take("RTMR1")?, c.take("RTMR2")?, c.take("RTMR3")?],
        report_data: c.take("REPORTDATA")?,
        td15: None,
        td15_extended: None,
    })
}

fn td15(c: &mut Cursor<'_>, quote_version: u16) -> Result<TdReport, TdxError> {
    let mut report = td10(c, quote_version)?;
    report.td15 = Some(Td15 {
        tee_tcb_svn2: c.take("TEE_TCB_SVN2")?,
        mr_service_td: c.take("MRSERVICETD")?,
    });
    Ok(report)
}

fn td15_extended(c: &mut Cursor<'_>, quote_version: u16) -> Result<TdReport, TdxError> {
    let mut report = td15(c, quote_version)?;
    let raw = c.take::<237>("TD 1.5 extension")?;
    let mut c = Cursor::new(&raw);
    report.td15_extended = Some(Td15Extended {
        vm_id: c.take::<1>("VMID").map(|[b]| b)?,
        td_id: c.take("TD_ID")?,
        dev_info: c.take("DEVICE_INFO_HASH")?,
        init_service_td_hash: c.take("INIT_SERVTD_HASH")?,
        init_service_td_attributes: c.u64("INIT_SERVTD_ATTRIBUTES")?,
        init_cpu_svn: c.take("INIT_CPUSVN")?,
        init_tee_tcb_svn: c.take("INIT_TEE_TCB_SVN")?,
        init_tee_fmspc: c.take("INIT_TEE_FMSPC")?,
        cur_service_td_hash: c.take("CUR_SERVTD_HASH")?,
        cur_service_td_attributes: c.u64("CUR_SERVTD_ATTRIBUTES")?,
        raw: raw.to_vec(),
    });
    c.finish("TD 1.5 extension")?;
    Ok(report)
}

/// Bytes of the quote at the start of `bytes` without what follows it: for readers of files that hold more.
///
/// # Does not establish
/// That it is a quote that parses.
///
/// # Errors
/// [`TdxError`]: the header, body type or a length is none of a TDX quote.
pub fn quote_length(bytes: &[u8]) -> Result<usize, TdxError> {
    let mut cursor = Cursor::new(bytes);
    let body = match check_header(&mut cursor)? {
        4 => BodyType::Td10.bytes(),
        _ => {
            let kind = BodyType::parse(cursor.u16("body type")?)?;
            cursor.u32("body size")?;
            kind.bytes()
        }
    };
    cursor.bytes("body", body)?;
    let signature_bytes = cursor.length("signature data length")?;
    cursor.bytes("signature data", signature_bytes)?;
    Ok(bytes.len().saturating_sub(cursor.rest().len()))
}

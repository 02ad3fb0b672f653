//! What a VCEK or VLEK certificate says about the chip and its TCB (57230, tables 8 and 9).

use der::Decode;
use der::asn1::{Ia5StringRef, OctetStringRef};
use der::oid::ObjectIdentifier;

use super::certificate::{Certificate, Role};
use super::error::SnpError;
use super::product::Product;
use super::report::{SigningKey, SnpReport};
use super::tcb::TcbVersion;

const PRODUCT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.2");
const BOOTLOADER_SPL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.1");
const TEE_SPL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.2");
const SNP_SPL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.3");
const MICROCODE_SPL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.8");
const FMC_SPL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.9");
const HW_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.4");
const CSP_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.5");

/// Longest provider id in bytes that is kept.
const CSP_ID_BYTES_MAX: usize = 256;

/// A VEK certificate with its extensions read.
#[derive(Debug)]
pub(super) struct VekCertificate {
    pub(super) certificate: Certificate,
    pub(super) product: Product,
    tcb: TcbVersion,
    hwid: Option<Vec<u8>>,
    csp_id: Option<String>,
}

impl VekCertificate {
    pub(super) fn parse(der: &[u8]) -> Result<Self, SnpError> {
        let certificate = Certificate::parse(Role::Vek, der)?;
        if certificate.p384_point().is_none() {
            return Err(wrong("no P-384 key"));
        }
        let product = product_name(&certificate)?;
        let spl = |oid, what| read_spl(&certificate, oid, what);
        let missing = |what| wrong(what);
        let tcb = TcbVersion {
            fmc: spl(FMC_SPL, "fmcSPL is no INTEGER of 0 to 255")?,
            bootloader: spl(BOOTLOADER_SPL, "blSPL is no INTEGER of 0 to 255")?.ok_or(missing("blSPL is missing"))?,
            tee: spl(TEE_SPL, "teeSPL is no INTEGER of 0 to 255")?.ok_or(missing("teeSPL is missing"))?,
            snp: spl(SNP_SPL, "snpSPL is no INTEGER of 0 to 255")?.ok_or(missing("snpSPL is missing"))?,
            microcode: spl(MICROCODE_SPL, "ucodeSPL is no INTEGER of 0 to 255")?
                .ok_or(missing("ucodeSPL is missing"))?,
        };
        let hwid = certificate
            .extension(HW_ID)
            .map(|v| read_hwid(product, v.as_bytes()))
            .transpose()?;
        let csp_id = certificate
            .extension(CSP_ID)
            .map(|v| read_csp_id(v.as_bytes()))
            .transpose()?;
        Ok(Self {
            certificate,
            product,
            tcb,
            hwid,
            csp_id,
        })
    }

    /// The CN says which kind this is; it must be the kind that the report says signed it, with that kind's extensions.
    pub(super) fn check_kind(&self, key: SigningKey) -> Result<(), SnpError> {
        let got = match self.certificate.common_name() {
            "SEV-VCEK" => "SEV-VCEK",
            "SEV-VLEK" => "SEV-VLEK",
            _ => "another name",
        };
        let expected = match key {
            SigningKey::Vcek => "SEV-VCEK",
            SigningKey::Vlek => "SEV-VLEK",
        };
        if got != expected {
            return Err(SnpError::KeyKind { expected, got });
        }
        match (key, &self.hwid, &self.csp_id) {
            (SigningKey::Vcek, None, _) => Err(wrong("hwID is missing from a VCEK certificate")),
            (SigningKey::Vlek, Some(_), _) => Err(wrong("hwID in a VLEK certificate")),
            (SigningKey::Vlek, _, None) => Err(wrong("cspID is missing from a VLEK certificate")),
            _ => Ok(()),
        }
    }

    /// The certificate is for this TCB and, unless it is a VLEK's, this chip.
    pub(super) fn check_endorses(&self, report: &SnpReport) -> Result<(), SnpError> {
        self.check_is_for(&report.chip_id, report.reported_tcb)
    }

    /// As [`Self::check_endorses`], for a chip and TCB that no report names yet.
    pub(super) fn check_is_for(&self, chip_id: &[u8; 64], tcb: TcbVersion) -> Result<(), SnpError> {
        if self.tcb != tcb {
            return Err(SnpError::Tcb {
                certificate: self.tcb,
                report: tcb,
            });
        }
        let Some(hwid) = &self.hwid else { return Ok(()) };
        let (named, rest) = chip_id.split_at_checked(hwid.len()).unwrap_or_default();
        if named != hwid.as_slice() || rest.iter().any(|b| *b != 0) {
            return Err(SnpError::ChipId {
                masked: chip_id.iter().all(|b| *b == 0),
            });
        }
        Ok(())
    }

    /// The provider whose VLEK this is.
    pub(super) fn csp_id(&self) -> Option<&str> {
        self.csp_id.as_deref()
    }
}

fn wrong(detail: &'static str) -> SnpError {
    SnpError::Certificate {
        role: Role::Vek,
        detail,
    }
}

fn product_name(certificate: &Certificate) -> Result<Product, SnpError> {
    let value = certificate
        .extension(PRODUCT_NAME)
        .ok_or(wrong("productName is missing"))?;
    let name = Ia5StringRef::from_der(value.as_bytes()).map_err(|_| wrong("productName is no IA5String"))?;
    Product::from_certificate(name.as_str())
}

fn read_spl(certificate: &Certificate, oid: ObjectIdentifier, detail: &'static str) -> Result<Option<u8>, SnpError> {
    let value = certificate.extension(oid);
    value
        .map(|v| u8::from_der(v.as_bytes()).map_err(|_| wrong(detail)))
        .transpose()
}

/// Either the bytes themselves or, in newer certificates, an OCTET STRING of them. The lengths tell which.
fn read_hwid(product: Product, value: &[u8]) -> Result<Vec<u8>, SnpError> {
    let n = product.hwid_bytes();
    if value.len() == n {
        return Ok(value.to_vec());
    }
    match <&OctetStringRef>::from_der(value).map(OctetStringRef::as_bytes) {
        Ok(inner) if inner.len() == n => Ok(inner.to_vec()),
        _ => Err(wrong(
            "hwID has neither 64 bytes (Turin: 8) nor is it an OCTET STRING of them",
        )),
    }
}

fn read_csp_id(value: &[u8]) -> Result<String, SnpError> {
    let text = Ia5StringRef::from_der(value)
        .map_err(|_| wrong("cspID is no IA5String"))?
        .as_str();
    if text.len() > CSP_ID_BYTES_MAX || text.bytes().any(|b| !(b' '..=b'~').contains(&b)) {
        return Err(wrong("cspID is longer than 256 bytes or not printable"));
    }
    Ok(text.to_owned())
}

//! The quoting enclave: its report binds the attestation key, and Intel's QE identity says whether the enclave is
//! Intel's (SGX ECDSA Quote Library Reference, "Enclave Report Body"; PCS API version 4, "Enclave Identity").

use dcap_qvl::{QeIdentity, QeTcbLevel, TcbStatus as Status};

use super::cursor::Cursor;
use super::error::TdxError;
use super::quote::{ENCLAVE_REPORT_BYTES, Quote};
use crate::digest::Digest256;

/// ATTRIBUTES.DEBUG.
const DEBUG: u8 = 0x02;

/// What the quoting enclave's report says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QeReport {
    /// MISCSELECT.
    pub misc_select: [u8; 4],
    /// ATTRIBUTES.
    pub attributes: [u8; 16],
    /// MRENCLAVE.
    pub mr_enclave: [u8; 32],
    /// MRSIGNER.
    pub mr_signer: [u8; 32],
    /// ISVPRODID.
    pub isv_prod_id: u16,
    /// ISVSVN.
    pub isv_svn: u16,
    /// REPORTDATA.
    pub report_data: [u8; 64],
}

impl QeReport {
    pub(super) fn parse(bytes: &[u8; ENCLAVE_REPORT_BYTES]) -> Result<Self, TdxError> {
        let mut c = Cursor::new(bytes);
        c.take::<16>("QE report: CPUSVN")?;
        let misc_select = c.take("QE report: MISCSELECT")?;
        c.take::<28>("QE report: reserved")?;
        let attributes = c.take("QE report: ATTRIBUTES")?;
        let mr_enclave = c.take("QE report: MRENCLAVE")?;
        c.take::<32>("QE report: reserved")?;
        let mr_signer = c.take("QE report: MRSIGNER")?;
        c.take::<96>("QE report: reserved")?;
        let isv_prod_id = c.u16("QE report: ISVPRODID")?;
        let isv_svn = c.u16("QE report: ISVSVN")?;
        c.take::<60>("QE report: reserved")?;
        let report_data = c.take("QE report: REPORTDATA")?;
        c.finish("QE report")?;
        Ok(Self {
            misc_select,
            attributes,
            mr_enclave,
            mr_signer,
            isv_prod_id,
            isv_svn,
            report_data,
        })
    }

    /// REPORTDATA is SHA-256 of attestation key and authentication data, then zeros: the enclave made this key.
    pub(super) fn check_binds(&self, quote: &Quote) -> Result<(), TdxError> {
        let mut bound = quote.attestation_key.to_vec();
        bound.extend(&quote.qe_auth_data);
        let digest = Digest256::of(&bound);
        let (head, rest) = self.report_data.split_at_checked(32).unwrap_or_default();
        if head != digest.0 || rest.iter().any(|b| *b != 0) {
            return Err(TdxError::QeBinding);
        }
        Ok(())
    }

    /// The enclave is the one that `identity` describes.
    pub(super) fn check_identity(&self, identity: &QeIdentity) -> Result<(), TdxError> {
        let wrong = |field| TdxError::QeIdentityMismatch { field };
        if self.mr_signer != identity.mrsigner {
            return Err(wrong("MRSIGNER"));
        }
        if self.attributes.first().is_some_and(|b| b & DEBUG != 0) {
            return Err(wrong("ATTRIBUTES.DEBUG"));
        }
        if self.isv_prod_id != identity.isvprodid {
            return Err(wrong("ISVPRODID"));
        }
        if !masked_equal(&self.misc_select, &identity.miscselect, &identity.miscselect_mask) {
            return Err(wrong("MISCSELECT"));
        }
        if !masked_equal(&self.attributes, &identity.attributes, &identity.attributes_mask) {
            return Err(wrong("ATTRIBUTES"));
        }
        Ok(())
    }

    /// The first level whose ISVSVN this enclave has.
    pub(super) fn level<'a>(&self, identity: &'a QeIdentity) -> Result<&'a QeTcbLevel, TdxError> {
        let mut levels = identity.tcb_levels.iter();
        let level = levels
            .find(|level| self.isv_svn >= level.tcb.isvsvn)
            .ok_or(TdxError::QeNoLevel { isv_svn: self.isv_svn })?;
        match level.tcb_status {
            Status::UpToDate
            | Status::OutOfDate
            | Status::ConfigurationNeeded
            | Status::Revoked
            | Status::OutOfDateConfigurationNeeded => Ok(level),
            _ => Err(TdxError::CollateralMalformed {
                document: "QE identity",
                detail: "a status that a quoting enclave cannot have",
            }),
        }
    }
}

fn masked_equal<const N: usize>(got: &[u8; N], expected: &[u8; N], mask: &[u8; N]) -> bool {
    let pairs = got.iter().zip(expected).zip(mask);
    pairs.into_iter().all(|((g, e), m)| g & m == e & m)
}

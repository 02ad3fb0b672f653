//! Certificate revocation lists of Intel's root and PCK CAs (RFC 5280 section 5; PCK Certificate and CRL Profile
//! Specification, revision 1.5).

use std::fmt;

use der::Decode;
use x509_cert::crl::CertificateList;

use super::certificate::{Certificate, Signed, unix};
use super::error::TdxError;
use crate::evidence::UnixTime;

/// Longest list in bytes; Intel's are below 4000.
pub const CRL_BYTES_MAX: usize = 256 * 1024;

const AUTHORITY_KEY_IDENTIFIER: der::oid::ObjectIdentifier = der::oid::ObjectIdentifier::new_unwrap("2.5.29.35");
const CRL_NUMBER: der::oid::ObjectIdentifier = der::oid::ObjectIdentifier::new_unwrap("2.5.29.20");

/// Whose list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrlOf {
    /// The root's: names PCK CAs and signers of TCB information.
    Root,
    /// A PCK CA's: names PCK certificates.
    PckCa,
}

impl fmt::Display for CrlOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root CA CRL",
            Self::PckCa => "PCK CRL",
        })
    }
}

/// An authentic list: its issuer signed it.
#[derive(Debug)]
pub(super) struct Crl {
    of: CrlOf,
    this_update: u64,
    pub(super) next_update: u64,
    /// Sorted.
    serials: Vec<Vec<u8>>,
}

impl Crl {
    /// Reads a list that `issuer` signed.
    pub(super) fn verify(of: CrlOf, der: &[u8], issuer: &Certificate) -> Result<Self, TdxError> {
        let wrong = |detail| TdxError::CrlMalformed { of, detail };
        if der.len() > CRL_BYTES_MAX {
            return Err(wrong("longer than 262144 bytes"));
        }
        let signed = Signed::split(der).ok_or(wrong("no X.509 list signed with ECDSA and SHA-256"))?;
        let inner: CertificateList =
            CertificateList::from_der(der).map_err(|_| wrong("no X.509 version 2 list in DER"))?;
        let list = &inner.tbs_cert_list;
        if list.version != x509_cert::Version::V2 {
            return Err(wrong("no X.509 version 2 list"));
        }
        if list.signature != inner.signature_algorithm {
            return Err(wrong("inner and outer signature algorithm differ"));
        }
        if list.issuer != *issuer.subject() {
            return Err(TdxError::CrlIssuer { of });
        }
        if !signed.is_signed_by(issuer) {
            return Err(TdxError::CrlSignature { of });
        }
        let next_update = list
            .next_update
            .as_ref()
            .map(unix)
            .ok_or(wrong("nextUpdate is missing"))?;
        // Extensions that narrow a list (delta, distribution point, indirect) are critical by definition.
        let mut of_list = list.crl_extensions.iter().flatten();
        if of_list.any(|e| e.critical || ![AUTHORITY_KEY_IDENTIFIER, CRL_NUMBER].contains(&e.extn_id)) {
            return Err(wrong("an extension other than authorityKeyIdentifier and cRLNumber"));
        }
        let entries = list.revoked_certificates.iter().flatten();
        let mut of_entries = entries
            .clone()
            .filter_map(|c| c.crl_entry_extensions.as_ref())
            .flatten();
        if of_entries.any(|e| e.critical) {
            return Err(wrong("an entry with a critical extension"));
        }
        let mut serials: Vec<Vec<u8>> = entries.map(|e| e.serial_number.as_bytes().to_vec()).collect();
        serials.sort();
        Ok(Self {
            of,
            this_update: unix(&list.this_update),
            next_update,
            serials,
        })
    }

    pub(super) fn check_fresh(&self, now: UnixTime) -> Result<(), TdxError> {
        let (of, this_update, next_update, now) = (self.of, self.this_update, self.next_update, now.0);
        if now < this_update || now > next_update {
            return Err(TdxError::CrlStale {
                of,
                this_update,
                next_update,
                now,
            });
        }
        Ok(())
    }

    pub(super) fn check_does_not_name(&self, certificate: &Certificate) -> Result<(), TdxError> {
        let serial = certificate.serial();
        if self.serials.binary_search_by(|s| s.as_slice().cmp(serial)).is_ok() {
            return Err(TdxError::Revoked {
                role: certificate.role(),
                serial: hex::encode_upper(serial),
            });
        }
        Ok(())
    }
}

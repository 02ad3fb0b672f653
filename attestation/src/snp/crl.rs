//! Certificate revocation lists, signed by the ARK (RFC 5280 section 5).
//!
//! The lists name certificates that the ARK issued: ASKs, ASVKs and itself. AMD gives every VCEK and VLEK the serial
//! number 0, so a list cannot single one out; a VEK with a number of its own is looked up all the same. A number 0 on a
//! list is therefore never taken for a VEK.

use der::Decode;
use x509_cert::crl::CertificateList;

use super::certificate::{Certificate, Role, Signed, unix};
use super::error::SnpError;
use super::product::Product;
use super::roots;
use crate::evidence::{KnownSignatures, UnixTime};

/// Longest list in bytes; AMD's are below 1000.
pub const CRL_BYTES_MAX: usize = 256 * 1024;

const AUTHORITY_KEY_IDENTIFIER: der::oid::ObjectIdentifier = der::oid::ObjectIdentifier::new_unwrap("2.5.29.35");
const CRL_NUMBER: der::oid::ObjectIdentifier = der::oid::ObjectIdentifier::new_unwrap("2.5.29.20");

/// A parsed list.
pub(super) struct Crl {
    signed: Signed,
    inner: CertificateList,
    this_update: u64,
    next_update: u64,
}

impl Crl {
    pub(super) fn parse(der: &[u8]) -> Result<Self, SnpError> {
        let wrong = |detail| SnpError::CrlMalformed { detail };
        if der.len() > CRL_BYTES_MAX {
            return Err(wrong("longer than 262144 bytes"));
        }
        let signed = Signed::split(der).ok_or(wrong("no X.509 list signed with RSA-PSS, SHA-384, salt 48"))?;
        let inner = CertificateList::from_der(der).map_err(|_| wrong("no X.509 version 2 list in DER"))?;
        let list = &inner.tbs_cert_list;
        if list.version != x509_cert::Version::V2 {
            return Err(wrong("no X.509 version 2 list"));
        }
        if list.signature != inner.signature_algorithm {
            return Err(wrong("inner and outer signature algorithm differ"));
        }
        let next_update = list
            .next_update
            .as_ref()
            .map(unix)
            .ok_or(wrong("nextUpdate is missing"))?;
        // Extensions that narrow a list (delta, distribution point, indirect) are critical by definition.
        let of_list = list.crl_extensions.iter().flatten();
        if of_list
            .clone()
            .any(|e| e.critical || ![AUTHORITY_KEY_IDENTIFIER, CRL_NUMBER].contains(&e.extn_id))
        {
            return Err(wrong("an extension other than authorityKeyIdentifier and cRLNumber"));
        }
        let of_entries = list
            .revoked_certificates
            .iter()
            .flatten()
            .filter_map(|c| c.crl_entry_extensions.as_ref());
        if of_entries.flatten().any(|e| e.critical) {
            return Err(wrong("an entry with a critical extension"));
        }
        Ok(Self {
            this_update: unix(&list.this_update),
            next_update,
            signed,
            inner,
        })
    }

    pub(super) fn is_issued_by_name_of(&self, ark: &Certificate) -> bool {
        self.inner.tbs_cert_list.issuer == *ark.subject()
    }

    pub(super) fn verify_signed_by(&self, ark: &Certificate, known: &KnownSignatures) -> Result<(), SnpError> {
        if !self.is_issued_by_name_of(ark) {
            return Err(SnpError::CrlIssuer);
        }
        if !self.signed.is_signed_by(ark, known) {
            return Err(SnpError::CrlSignature);
        }
        Ok(())
    }

    pub(super) fn check_fresh(&self, now: UnixTime) -> Result<UnixTime, SnpError> {
        let (this_update, next_update, now) = (self.this_update, self.next_update, now.0);
        if now < this_update || now > next_update {
            return Err(SnpError::CrlStale {
                this_update,
                next_update,
                now,
            });
        }
        Ok(UnixTime(next_update))
    }

    /// What this list says, if `ark` signed it and both are valid at `now`.
    pub(super) fn checked_against(
        &self,
        ark: &Certificate,
        product: Product,
        now: UnixTime,
    ) -> Result<CheckedCrl, SnpError> {
        ark.check_validity(now)?;
        self.verify_signed_by(ark, &KnownSignatures::default())?;
        let next_update = self.check_fresh(now)?;
        let entries = self.inner.tbs_cert_list.revoked_certificates.iter().flatten();
        Ok(CheckedCrl {
            product,
            this_update: UnixTime(self.this_update),
            next_update,
            revoked_serials: entries.map(|e| e.serial_number.as_bytes().to_vec()).collect(),
        })
    }

    fn names(&self, serial: &[u8]) -> bool {
        let mut entries = self.inner.tbs_cert_list.revoked_certificates.iter().flatten();
        entries.any(|entry| entry.serial_number.as_bytes() == serial)
    }

    /// Refuses a chain of which this list names a certificate.
    pub(super) fn check_names_none(&self, chain: [(Role, &Certificate); 3]) -> Result<(), SnpError> {
        for (role, certificate) in chain {
            let serial = certificate.serial();
            let tells_nothing = role == Role::Vek && serial.iter().all(|b| *b == 0);
            if !tells_nothing && self.names(serial) {
                return Err(SnpError::Revoked {
                    role,
                    serial: hex::encode_upper(serial),
                });
            }
        }
        Ok(())
    }
}

/// What an authentic list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedCrl {
    /// Whose root signed it.
    pub product: Product,
    /// First second of its life.
    pub this_update: UnixTime,
    /// Last second of its life.
    pub next_update: UnixTime,
    /// Serial numbers it names, big endian.
    pub revoked_serials: Vec<Vec<u8>>,
}

/// Checks a list against AMD's pinned roots: for those who fetch collateral.
///
/// # Establishes
/// AMD's root for one product signed exactly this list, and it is the current one at `now` as far as its own dates say.
///
/// # Errors
/// [`SnpError`] with a code under `snp.crl.`.
pub fn check_crl(der: &[u8], now: UnixTime) -> Result<CheckedCrl, SnpError> {
    let crl = Crl::parse(der)?;
    for product in Product::ALL {
        let ark = Certificate::parse(Role::Ark, roots::ark(product))?;
        if !crl.is_issued_by_name_of(&ark) {
            continue;
        }
        return crl.checked_against(&ark, product, now);
    }
    Err(SnpError::CrlIssuer)
}

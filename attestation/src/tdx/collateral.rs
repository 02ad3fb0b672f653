//! Intel's collateral, verified once: authentic whenever it is used, current or not at the time of each use.
//!
//! Nothing here depends on the clock except [`PreparedTdx::check`], so that a quote judged with collateral prepared
//! earlier gets the verdict that it gets with collateral verified for it alone.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use dcap_qvl::{QeIdentity, TcbInfo};

use super::certificate::{Certificate, Role};
use super::crl::{Crl, CrlOf};
use super::error::TdxError;
use super::pem;
use super::roots::{self, Root};
use super::tcb::{sort_levels, unhex};
use super::time::rfc3339;
use crate::bundle::TdxCollateral;
use crate::evidence::{Anchors, UnixTime};

/// Longest TCB info or QE identity in bytes; Intel's are below 40 000.
pub const DOCUMENT_BYTES_MAX: usize = 512 << 10;

/// Collateral of one platform type whose signatures hold. Only verifying makes one.
///
/// ```compile_fail
/// let forged = hanzo_attestation::tdx::PreparedTdx {};
/// ```
#[derive(Debug)]
pub struct PreparedTdx {
    source: TdxCollateral,
    pub(super) root: Arc<Root>,
    pck_ca: Arc<Certificate>,
    /// Of the TCB info, and of the QE identity if another signed it.
    signers: Vec<Certificate>,
    root_crl: Crl,
    pck_crl: Crl,
    pub(super) tcb_info: TcbInfo,
    pub(super) qe_identity: QeIdentity,
    fmspc: [u8; 6],
    pce_id: [u8; 2],
    tcb_info_window: Window,
    qe_identity_window: Window,
}

/// issueDate and nextUpdate.
#[derive(Debug, Clone, Copy)]
struct Window {
    issued: u64,
    next_update: u64,
}

impl PreparedTdx {
    /// Verifies every signature of `collateral` under Intel's root or one of the simulators'.
    ///
    /// # Establishes
    /// Intel (or a simulator) signed each part: both lists, TCB info, QE identity; the root's list names none of the
    /// certificates involved.
    ///
    /// # Does not establish
    /// That it is current: each use checks that at its own time.
    ///
    /// # Errors
    /// [`TdxError`], codes under `tdx.collateral.`, `tdx.chain.`, `tdx.crl.`, `tdx.tcb_info.`, `tdx.qe_identity.`.
    pub fn prepare(collateral: &TdxCollateral, anchors: &Anchors) -> Result<Self, TdxError> {
        Self::prepare_below(collateral, anchors, None)
    }

    /// As [`PreparedTdx::prepare`]; a root that was just found, and a PCK CA that was just found signed by it, are not
    /// read and checked again.
    pub(super) fn prepare_below(
        collateral: &TdxCollateral,
        anchors: &Anchors,
        known: Option<(&Arc<Root>, &Arc<Certificate>)>,
    ) -> Result<Self, TdxError> {
        let [pck_ca, root_der] = pem::chain("pck_crl_issuer_chain", collateral.pck_crl_issuer_chain.as_bytes())?;
        let known = known.filter(|(root, _)| root.certificate.der() == root_der);
        let root = match known {
            Some((root, _)) => Arc::clone(root),
            None => roots::find(&root_der, anchors)?,
        };
        let pck_ca = match known {
            Some((_, ca)) if ca.der() == pck_ca => Arc::clone(ca),
            _ => {
                let pck_ca = Certificate::parse(Role::PckCa, &pck_ca)?;
                pck_ca.verify_signed_by(&root.certificate)?;
                Arc::new(pck_ca)
            }
        };
        let root_crl = Crl::verify(CrlOf::Root, &collateral.root_ca_crl.0, &root.certificate)?;
        root_crl.check_does_not_name(&root.certificate)?;
        root_crl.check_does_not_name(&pck_ca)?;
        let pck_crl = Crl::verify(CrlOf::PckCa, &collateral.pck_crl.0, &pck_ca)?;

        let mut signers: Vec<Certificate> = Vec::new();
        let mut signer_of = |what, chain: &str| -> Result<[u8; 65], TdxError> {
            let [signer, its_root] = pem::chain(what, chain.as_bytes())?;
            if its_root != root_der {
                return Err(TdxError::CollateralMalformed {
                    document: what,
                    detail: "its root is not the one of the other chains",
                });
            }
            if let Some(same) = signers.iter().find(|s| s.der() == signer) {
                return Ok(*same.point());
            }
            let signer = Certificate::parse(Role::TcbSigning, &signer)?;
            signer.verify_signed_by(&root.certificate)?;
            root_crl.check_does_not_name(&signer)?;
            let point = *signer.point();
            signers.push(signer);
            Ok(point)
        };
        let key = signer_of("tcb_info_issuer_chain", &collateral.tcb_info_issuer_chain)?;
        let mut tcb_info: TcbInfo = document(
            "TCB info",
            &collateral.tcb_info,
            &collateral.tcb_info_signature.0,
            &key,
            TdxError::TcbInfoSignature,
        )?;
        let key = signer_of("qe_identity_issuer_chain", &collateral.qe_identity_issuer_chain)?;
        let qe_identity: QeIdentity = document(
            "QE identity",
            &collateral.qe_identity,
            &collateral.qe_identity_signature.0,
            &key,
            TdxError::QeIdentitySignature,
        )?;

        if (tcb_info.id.as_str(), tcb_info.version, tcb_info.tcb_type) != ("TDX", 3, 0) {
            return Err(TdxError::TcbInfoKind {
                id: printable(&tcb_info.id),
                version: tcb_info.version,
            });
        }
        if qe_identity.id != "TD_QE" || ![2, 3].contains(&qe_identity.version) {
            return Err(TdxError::QeIdentityKind {
                id: printable(&qe_identity.id),
                version: qe_identity.version,
            });
        }
        sort_levels(&mut tcb_info);
        Ok(Self {
            source: collateral.clone(),
            fmspc: unhex(&tcb_info.fmspc)?,
            pce_id: unhex(&tcb_info.pce_id)?,
            tcb_info_window: Window::parse("TCB info", &tcb_info.issue_date, &tcb_info.next_update)?,
            qe_identity_window: Window::parse("QE identity", &qe_identity.issue_date, &qe_identity.next_update)?,
            root,
            pck_ca,
            signers,
            root_crl,
            pck_crl,
            tcb_info,
            qe_identity,
        })
    }

    /// What it was made from.
    pub fn source(&self) -> &TdxCollateral {
        &self.source
    }

    /// FMSPC of the platform type.
    pub fn fmspc(&self) -> [u8; 6] {
        self.fmspc
    }

    /// CN of the PCK CA whose list this is.
    pub fn pck_ca(&self) -> String {
        self.pck_ca.common_name()
    }

    /// True unless it chains to Intel's root.
    pub fn is_simulated(&self) -> bool {
        self.root.simulated
    }

    /// tcbEvaluationDataNumber: the lower of TCB info's and QE identity's.
    pub fn tcb_evaluation_data_number(&self) -> u32 {
        let of_qe = self.qe_identity.tcb_evaluation_data_number;
        self.tcb_info.tcb_evaluation_data_number.min(of_qe)
    }

    /// Earliest end of any part: signed nextUpdate of documents and lists, notAfter of certificates.
    pub fn expires(&self) -> UnixTime {
        let certificates = self.signers.iter().chain([&self.root.certificate, &*self.pck_ca]);
        let ends = certificates
            .map(|c| c.validity().1)
            .chain([self.tcb_info_window.next_update, self.qe_identity_window.next_update]);
        UnixTime(ends.fold(self.lists_expire().0, u64::min))
    }

    /// Every part is in its validity at `now`, and the root counts among `anchors`.
    ///
    /// # Errors
    /// [`TdxError`]: `tdx.chain.root`, `tdx.cert.expired`, `tdx.cert.not_yet_valid`, `tdx.crl.stale`,
    /// `tdx.tcb_info.stale`, `tdx.qe_identity.stale`.
    pub fn check(&self, anchors: &Anchors, now: UnixTime) -> Result<(), TdxError> {
        self.root.check(anchors, now)?;
        for certificate in self.signers.iter().chain([&*self.pck_ca]) {
            certificate.check_validity(now)?;
        }
        self.root_crl.check_fresh(now)?;
        self.pck_crl.check_fresh(now)?;
        let (issued, next_update) = (self.tcb_info_window.issued, self.tcb_info_window.next_update);
        if !self.tcb_info_window.contains(now) {
            return Err(TdxError::TcbInfoStale {
                issued,
                next_update,
                now: now.0,
            });
        }
        let (issued, next_update) = (self.qe_identity_window.issued, self.qe_identity_window.next_update);
        if !self.qe_identity_window.contains(now) {
            return Err(TdxError::QeIdentityStale {
                issued,
                next_update,
                now: now.0,
            });
        }
        Ok(())
    }

    /// When the first of the two lists is due.
    pub(super) fn lists_expire(&self) -> UnixTime {
        UnixTime(self.root_crl.next_update.min(self.pck_crl.next_update))
    }

    /// The PCK CA, if the quote's is this one byte by byte: then its signature has been checked.
    pub(super) fn knows(&self, pck_ca: &Certificate) -> bool {
        self.pck_ca.der() == pck_ca.der()
    }

    pub(super) fn root_der(&self) -> &[u8] {
        self.root.certificate.der()
    }

    pub(super) fn issued(&self) -> u64 {
        self.tcb_info_window.issued
    }

    /// Neither list names a certificate of the chain, and the lists are by this chain's authorities.
    pub(super) fn check_revocation(
        &self,
        root_der: &[u8],
        ca: &Certificate,
        pck: &Certificate,
    ) -> Result<(), TdxError> {
        if self.root.certificate.der() != root_der {
            return Err(TdxError::CrlIssuer { of: CrlOf::Root });
        }
        if !self.is_for_ca(ca) {
            return Err(TdxError::CrlIssuer { of: CrlOf::PckCa });
        }
        self.root_crl.check_does_not_name(ca)?;
        self.pck_crl.check_does_not_name(pck)
    }

    /// The TCB info is for this platform type.
    pub(super) fn check_platform(&self, fmspc: [u8; 6], pce_id: [u8; 2]) -> Result<(), TdxError> {
        if self.fmspc != fmspc {
            return Err(TdxError::Fmspc {
                expected: hex::encode(fmspc),
                got: hex::encode(self.fmspc),
            });
        }
        if self.pce_id != pce_id {
            return Err(TdxError::PceId {
                expected: hex::encode(pce_id),
                got: hex::encode(self.pce_id),
            });
        }
        Ok(())
    }

    /// Its list is by the authority that `ca` is a certificate of: same name, same key.
    pub(super) fn is_for_ca(&self, ca: &Certificate) -> bool {
        self.knows(ca) || (self.pck_ca.subject() == ca.subject() && self.pck_ca.point() == ca.point())
    }
}

impl Window {
    fn parse(document: &'static str, issued: &str, next_update: &str) -> Result<Self, TdxError> {
        let time = |text| {
            rfc3339(text).ok_or(TdxError::CollateralMalformed {
                document,
                detail: "issueDate or nextUpdate is no UTC time",
            })
        };
        Ok(Self {
            issued: time(issued)?,
            next_update: time(next_update)?,
        })
    }

    fn contains(self, now: UnixTime) -> bool {
        (self.issued..=self.next_update).contains(&now.0)
    }
}

/// Signature first, then JSON.
fn document<T: serde::de::DeserializeOwned>(
    document: &'static str,
    text: &str,
    signature: &[u8],
    point: &[u8; 65],
    refused: TdxError,
) -> Result<T, TdxError> {
    let wrong = |detail| TdxError::CollateralMalformed { document, detail };
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(wrong("longer than 524288 bytes"));
    }
    if signature.len() != 64 {
        return Err(wrong("its signature has not 64 bytes"));
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(text.as_bytes(), signature)
        .map_err(|_| refused)?;
    serde_json::from_str(text).map_err(|_| wrong("not the JSON that Intel documents"))
}

fn printable(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(16).collect()
}

/// FMSPC that a TCB info names, before anything about it is known: to find the collateral of a platform.
pub(super) fn claimed_fmspc(collateral: &TdxCollateral) -> Option<[u8; 6]> {
    #[derive(serde::Deserialize)]
    struct Head {
        fmspc: String,
    }
    (collateral.tcb_info.len() <= DOCUMENT_BYTES_MAX).then_some(())?;
    let head: Head = serde_json::from_str(&collateral.tcb_info).ok()?;
    unhex(&head.fmspc).ok()
}

//! Intel TDX quotes, versions 4 and 5 (Intel TDX DCAP Quoting Library API; TDX Module ABI, "TD Quote Body").
//!
//! A quote is the TD's report, signed by a key that Intel's quoting enclave made; the enclave's own report, signed by the
//! platform's PCK, binds that key; the PCK's certificate chains over a PCK CA to Intel's SGX root, which is compiled in.
//! Any other root makes the result simulated. Intel's collateral then says whether a certificate was revoked, whether
//! the enclave is the right one, and how current the platform is.
//!
//! # Whose work is whose
//! Crate `dcap-qvl` gives the SGX extension of PCK certificates, the documents' types, the comparison of TCB levels, the
//! choice of a TDX module's identity and the convergence of statuses. Layout, certificates, lists, signatures (aws-lc),
//! dates and the order of all this are here: the crate's own verifier judges TD attributes (SEPT_VE_DISABLE, migration)
//! in the same call, verifies the collateral anew for each quote, and tells reasons as text. Here authenticity is apart
//! from policy, collateral is verified once ([`PreparedTdx`]) and each reason has a code. The tests run the crate's
//! verifier beside this one over every vector and mutant.

mod certificate;
mod collateral;
mod crl;
mod cursor;
mod error;
mod pck;
mod pem;
pub mod provider;
mod qe;
mod quote;
pub mod roots;
mod tcb;
mod time;

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use crate::bundle::{TdxCollateral, TdxEvidence};
use crate::eventlog;
use crate::evidence::{Anchors, Collateral, Revocation, UnixTime};
use pck::PckChain;
use qe::QeReport;
use quote::Quote;
use roots::Root;

pub use certificate::{CERTIFICATE_BYTES_MAX, Role};
pub use collateral::{DOCUMENT_BYTES_MAX, PreparedTdx};
pub use crl::{CRL_BYTES_MAX, CrlOf};
pub use error::TdxError;
pub use pck::PckPlatform;
pub use pem::CHAIN_BYTES_MAX;
pub use quote::{QUOTE_BYTES_MAX, TdReport, quote_length};

/// Authenticated claims of a trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TdxClaims {
    /// 4 or 5.
    pub quote_version: u16,
    /// TEE_TCB_SVN, offset 0 of the body.
    pub tee_tcb_svn: [u8; 16],
    /// MRSEAM: SHA-384 of the TDX module.
    pub mr_seam: [u8; 48],
    /// MRSIGNERSEAM: zero for Intel's module.
    pub mr_signer_seam: [u8; 48],
    /// SEAMATTRIBUTES.
    pub seam_attributes: u64,
    /// TDATTRIBUTES; bit 0 is DEBUG.
    pub td_attributes: u64,
    /// XFAM.
    pub xfam: u64,
    /// MRTD: measurement of the initial contents.
    pub mr_td: [u8; 48],
    /// MRCONFIGID: set by the host at creation.
    pub mr_config_id: [u8; 48],
    /// MROWNER.
    pub mr_owner: [u8; 48],
    /// MROWNERCONFIG.
    pub mr_owner_config: [u8; 48],
    /// RTMR0 to RTMR3.
    pub rtmr: [[u8; 48]; 4],
    /// REPORTDATA: the 64 bytes the guest had signed.
    pub report_data: [u8; 64],
    /// Body types 3 and 4 (TD 1.5) have these as well.
    pub td15: Option<Td15>,
    /// Body type 4 (TD 1.5 extended, TDX Connect) has these as well.
    pub td15_extended: Option<Td15Extended>,
    /// FMSPC of the PCK certificate.
    pub fmspc: [u8; 6],
    /// PPID of the PCK certificate: the platform's identity.
    pub ppid: [u8; 16],
    /// What else the PCK certificate says of the platform.
    pub platform: PckPlatform,
    /// What the collateral says of this TCB: the worst of platform, QE and TDX module.
    pub tcb_status: TcbStatus,
    /// Advisories that apply at this TCB level, e.g. `INTEL-SA-00837`; sorted, each once.
    pub advisories: Vec<String>,
    /// Oldest tcbDate of the levels that platform, QE and TDX module meet: where a grace period starts.
    pub tcb_date: UnixTime,
    /// tcbEvaluationDataNumber: the lower of TCB info's and QE identity's.
    pub tcb_evaluation_data_number: u32,
    /// Earliest end of all collateral: signed nextUpdate and certificate dates.
    pub collateral_expires: UnixTime,
    /// Replay of the CCEL log that came along, already compared with RTMR0 to RTMR3.
    pub event_log: Option<crate::eventlog::ReplayedLog>,
}

/// What TD 1.5 adds to the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Td15 {
    /// TEE_TCB_SVN2.
    pub tee_tcb_svn2: [u8; 16],
    /// MRSERVICETD: hash of the bound service TDs; zero without one.
    pub mr_service_td: [u8; 48],
}

/// What TD 1.5 extended (body type 4, 885 bytes) adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Td15Extended {
    /// VMID: 0 for a TD that is not partitioned, or its L1.
    pub vm_id: u8,
    /// TD_ID: this TD's own number, anew at each launch.
    pub td_id: [u8; 32],
    /// Hash of the device information (TDX Connect); zero without bound devices.
    pub dev_info: [u8; 48],
    /// Hash of the service TDs bound at creation.
    pub init_service_td_hash: [u8; 48],
    /// Their attributes.
    pub init_service_td_attributes: u64,
    /// CPUSVN at creation.
    pub init_cpu_svn: [u8; 16],
    /// TEE_TCB_SVN at creation.
    pub init_tee_tcb_svn: [u8; 16],
    /// Model of the platform at creation.
    pub init_tee_fmspc: [u8; 12],
    /// Hash of the service TDs bound now.
    pub cur_service_td_hash: [u8; 48],
    /// Their attributes.
    pub cur_service_td_attributes: u64,
    /// The bytes of the extension after MRSERVICETD, as they stand in the quote.
    pub raw: Vec<u8>,
}

/// Statuses of Intel's TCB info, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TcbStatus {
    /// Nothing to do.
    UpToDate,
    /// Software must mitigate an advisory.
    SwHardeningNeeded,
    /// The platform's configuration must change.
    ConfigurationNeeded,
    /// Both.
    ConfigurationAndSwHardeningNeeded,
    /// Firmware is current now and was behind when the TD was launched (TD 1.5).
    TdRelaunchAdvised,
    /// That, and the configuration must change.
    TdRelaunchAdvisedConfigurationNeeded,
    /// Firmware is behind.
    OutOfDate,
    /// Firmware is behind and the configuration must change.
    OutOfDateConfigurationNeeded,
    /// Never acceptable: quotes of such platforms are not authenticated.
    Revoked,
}

/// Parsed, not authenticated.
pub struct ParsedTdx {
    quote: Quote,
    qe: QeReport,
    chain: PckChain,
    collateral: Option<TdxCollateral>,
    event_log: Option<Vec<u8>>,
}

impl std::fmt::Debug for ParsedTdx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ParsedTdx(version {})", self.quote.report.quote_version)
    }
}

/// A quote whose signatures and PCK chain hold, and of which no more is known.
///
/// # Establishes
/// A platform whose PCK certificate chains to the root signed the report through a quoting enclave of its own.
///
/// # Does not establish
/// That the certificates were not revoked, that the enclave is Intel's, how current the platform is. It is for display
/// and for tests; nothing takes it for [`crate::Authentic`].
///
/// ```compile_fail
/// let forged = hanzo_attestation::tdx::SignedQuote {};
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedQuote {
    report: TdReport,
    fmspc: [u8; 6],
    ppid: [u8; 16],
    platform: PckPlatform,
    simulated: bool,
}

impl SignedQuote {
    /// What the TD says.
    pub fn report(&self) -> &TdReport {
        &self.report
    }

    /// FMSPC of the PCK certificate.
    pub fn fmspc(&self) -> [u8; 6] {
        self.fmspc
    }

    /// PPID of the PCK certificate.
    pub fn ppid(&self) -> [u8; 16] {
        self.ppid
    }

    /// What else the PCK certificate says.
    pub fn platform(&self) -> &PckPlatform {
        &self.platform
    }

    /// True unless the chain ends at Intel's root.
    pub fn is_simulated(&self) -> bool {
        self.simulated
    }
}

/// Verified claims on their way into `Authentic`.
pub(crate) struct VerifiedTdx {
    pub(crate) claims: TdxClaims,
    pub(crate) simulated: bool,
    pub(crate) revocation: Revocation,
}

impl ParsedTdx {
    /// Checks layout, lengths and the encodings of the PCK chain.
    ///
    /// # Errors
    /// [`TdxError`] with class `Malformed`.
    pub fn parse(raw: TdxEvidence) -> Result<Self, TdxError> {
        let TdxEvidence {
            collateral,
            event_log,
            quote,
        } = raw;
        let quote = Quote::parse(&quote.0)?;
        let qe = QeReport::parse(&quote.qe_report)?;
        let chain = PckChain::parse(&quote.pck_chain)?;
        Ok(Self {
            quote,
            qe,
            chain,
            collateral,
            event_log: event_log.map(|log| log.0),
        })
    }

    /// What the quote claims, unauthenticated: for display.
    pub fn read_unauthenticated(&self) -> &TdReport {
        &self.quote.report
    }

    /// FMSPC of the PCK certificate, unauthenticated: to find collateral.
    pub fn claimed_fmspc(&self) -> [u8; 6] {
        self.chain.fmspc
    }

    /// CN of the PCK certificate's issuer, unauthenticated: to find collateral.
    pub fn claimed_pck_ca(&self) -> String {
        self.chain.ca.common_name()
    }

    /// Checks the PCK chain, the QE report's signature, the binding of the attestation key and the quote's signature,
    /// in this order, without collateral. See [`SignedQuote`] for what that leaves open.
    ///
    /// # Errors
    /// [`TdxError`], codes under `tdx.chain.`, `tdx.cert.`, `tdx.qe_report.` and `tdx.signature.`.
    pub fn check_signatures(&self, anchors: &Anchors, now: UnixTime) -> Result<SignedQuote, TdxError> {
        self.check_signatures_below(anchors, now, &[]).map(|(signed, _)| signed)
    }

    /// `prepared` may know the root and the PCK CA already.
    fn check_signatures_below(
        &self,
        anchors: &Anchors,
        now: UnixTime,
        prepared: &[Arc<PreparedTdx>],
    ) -> Result<(SignedQuote, Arc<Root>), TdxError> {
        let PckChain { pck, ca, root_der, .. } = &self.chain;
        let mut same_root = prepared.iter().filter(|p| p.root_der() == root_der);
        let root = match same_root.clone().next() {
            Some(p) if p.root.counts(anchors) => Arc::clone(&p.root),
            _ => roots::find(root_der, anchors)?,
        };
        if !same_root.any(|p| p.knows(ca)) {
            ca.verify_signed_by(&root.certificate)?;
        }
        pck.verify_signed_by(ca)?;
        for certificate in [&root.certificate, &**ca, pck] {
            certificate.check_validity(now)?;
        }
        let verify = |point: &[u8], message: &[u8], signature: &[u8]| {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
        };
        let quote = &self.quote;
        verify(pck.point(), &quote.qe_report, &quote.qe_report_signature).map_err(|_| TdxError::QeSignature)?;
        self.qe.check_binds(quote)?;
        let point = [&[4], &quote.attestation_key[..]].concat();
        verify(&point, &quote.signed, &quote.signature).map_err(|_| TdxError::Signature)?;
        let signed = SignedQuote {
            report: quote.report.clone(),
            fmspc: self.chain.fmspc,
            ppid: self.chain.ppid,
            platform: self.chain.platform.clone(),
            simulated: root.simulated,
        };
        Ok((signed, root))
    }

    /// Signatures, then revocation, then what the collateral says of enclave, module and platform, then the event log.
    pub(crate) fn authenticate(
        self,
        anchors: &Anchors,
        collateral: &Collateral,
        now: UnixTime,
    ) -> Result<VerifiedTdx, TdxError> {
        let (signed, root) = self.check_signatures_below(anchors, now, &collateral.prepared_tdx)?;
        let candidates = self.candidates(&root, anchors, collateral)?;
        let PckChain { pck, ca, root_der, .. } = &self.chain;
        let mut best: Option<&Arc<PreparedTdx>> = None;
        let mut refused = None;
        for prepared in &candidates {
            prepared.check_revocation(root_der, ca, pck)?;
            prepared.check_platform(signed.fmspc, signed.platform.pce_id)?;
            match prepared.check(anchors, now) {
                Ok(()) if best.is_none_or(|b| b.issued() < prepared.issued()) => best = Some(prepared),
                Ok(()) => {}
                Err(e) => refused = refused.or(Some(e)),
            }
        }
        let Some(prepared) = best else {
            return Err(refused.unwrap_or_else(|| self.missing()));
        };
        self.qe.check_identity(&prepared.qe_identity)?;
        let (info, identity) = (&prepared.tcb_info, &prepared.qe_identity);
        let verdict = tcb::evaluate(info, identity, &signed.report, &signed.platform, &self.qe)?;
        let event_log = match &self.event_log {
            None => None,
            Some(log) => Some(eventlog::replay_ccel(log, &signed.report.rtmr)?),
        };
        let collateral_expires = UnixTime(prepared.expires().0.min(pck.validity().1).min(ca.validity().1));
        let tcb_evaluation_data_number = prepared.tcb_evaluation_data_number();
        let next_update = prepared.lists_expire();
        let SignedQuote {
            report: r,
            fmspc,
            ppid,
            platform,
            simulated,
        } = signed;
        let claims = TdxClaims {
            quote_version: r.quote_version,
            tee_tcb_svn: r.tee_tcb_svn,
            mr_seam: r.mr_seam,
            mr_signer_seam: r.mr_signer_seam,
            seam_attributes: r.seam_attributes,
            td_attributes: r.td_attributes,
            xfam: r.xfam,
            mr_td: r.mr_td,
            mr_config_id: r.mr_config_id,
            mr_owner: r.mr_owner,
            mr_owner_config: r.mr_owner_config,
            rtmr: r.rtmr,
            report_data: r.report_data,
            td15: r.td15,
            td15_extended: r.td15_extended,
            fmspc,
            ppid,
            platform,
            tcb_status: verdict.status,
            advisories: verdict.advisories.into_iter().collect(),
            tcb_date: UnixTime(verdict.date),
            tcb_evaluation_data_number,
            collateral_expires,
            event_log,
        };
        Ok(VerifiedTdx {
            claims,
            simulated,
            revocation: Revocation::Checked { next_update },
        })
    }

    /// All collateral for this platform, verified: what is stapled, and what the caller has, which a host cannot hide
    /// behind older collateral of its own.
    fn candidates(
        &self,
        root: &Arc<Root>,
        anchors: &Anchors,
        collateral: &Collateral,
    ) -> Result<Vec<Arc<PreparedTdx>>, TdxError> {
        let prepare = |raw| PreparedTdx::prepare_below(raw, anchors, Some((root, &self.chain.ca))).map(Arc::new);
        let fits = |p: &Arc<PreparedTdx>| {
            p.fmspc() == self.chain.fmspc && p.is_for_ca(&self.chain.ca) && p.root_der() == self.chain.root_der
        };
        let mut found: Vec<Arc<PreparedTdx>> = collateral.prepared_tdx.iter().filter(|p| fits(p)).cloned().collect();
        if let Some(stapled) = &self.collateral
            && !found.iter().any(|p| p.source() == stapled)
        {
            found.push(prepare(stapled)?);
        }
        for supplied in &collateral.tdx {
            let ours = collateral::claimed_fmspc(supplied) == Some(self.chain.fmspc);
            if !ours || found.iter().any(|p| p.source() == supplied) {
                continue;
            }
            let prepared = prepare(supplied)?;
            if fits(&prepared) {
                found.push(prepared);
            }
        }
        if found.is_empty() {
            return Err(self.missing());
        }
        Ok(found)
    }

    fn missing(&self) -> TdxError {
        TdxError::CollateralMissing {
            fmspc: hex::encode(self.chain.fmspc),
            pck_ca: self.chain.ca.common_name(),
        }
    }
}

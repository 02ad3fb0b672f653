//! Crate `dcap-qvl`, run whole: its verdict, and its claims against ours.

use dcap_qvl::policy::QuoteClaims;
use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::{QuoteCollateralV3, QuotePolicy};
use hanzo_attestation::UnixTime;
use hanzo_attestation::bundle::TdxEvidence;
use hanzo_attestation::tdx::provider::AwsLcConfig;
use hanzo_attestation::tdx::roots::INTEL_SGX_ROOT_CA;
use hanzo_attestation::tdx::{TcbStatus, TdxClaims};

use crate::vectors::{JULY_2023, JULY_2025, Vectors};

/// What `dcap-qvl` does where ours gives its verdict.
#[derive(Debug, Clone, Copy)]
pub enum Theirs {
    /// The same, and where both accept, the same claims.
    Same,
    /// It accepts what we refuse: ours is the stricter reading, the case says why.
    Accepts,
    /// It refuses what we accept, with this text: it judges what is policy's business here.
    Refuses(&'static str),
}

/// Its verdict with debug and service TDs allowed and no policy of its own: what it refuses then it cannot be told to
/// accept.
pub fn judge(evidence: &TdxEvidence, root: &[u8], now: UnixTime) -> Result<QuoteClaims, String> {
    let c = evidence.collateral.as_ref().ok_or("no collateral")?;
    let collateral = QuoteCollateralV3 {
        pck_crl_issuer_chain: c.pck_crl_issuer_chain.clone(),
        root_ca_crl: c.root_ca_crl.0.clone(),
        pck_crl: c.pck_crl.0.clone(),
        tcb_info_issuer_chain: c.tcb_info_issuer_chain.clone(),
        tcb_info: c.tcb_info.clone(),
        tcb_info_signature: c.tcb_info_signature.0.clone(),
        qe_identity_issuer_chain: c.qe_identity_issuer_chain.clone(),
        qe_identity: c.qe_identity.clone(),
        qe_identity_signature: c.qe_identity_signature.0.clone(),
        pck_certificate_chain: None,
    };
    QuoteVerifier::<AwsLcConfig>::new_with_config(root.to_vec())
        .allow_debug(true)
        .allow_service_td(true)
        .verify_with_policy(&evidence.quote.0, collateral, now.0, &QuotePolicy::claims_only(now.0))
        .map_err(|e| format!("{e:#}"))
}

/// Every value that both have.
pub fn assert_same(name: &str, ours: &TdxClaims, theirs: &QuoteClaims) {
    let report = theirs.report.as_td10().unwrap();
    assert_eq!(ours.quote_version, theirs.header.version, "{name}");
    assert_eq!(ours.tee_tcb_svn, report.tee_tcb_svn, "{name}");
    assert_eq!(ours.mr_seam, report.mr_seam, "{name}");
    assert_eq!(ours.mr_signer_seam, report.mr_signer_seam, "{name}");
    assert_eq!(ours.seam_attributes.to_le_bytes(), report.seam_attributes, "{name}");
    assert_eq!(ours.td_attributes.to_le_bytes(), report.td_attributes, "{name}");
    assert_eq!(ours.xfam.to_le_bytes(), report.xfam, "{name}");
    assert_eq!(ours.mr_td, report.mr_td, "{name}");
    assert_eq!(ours.mr_config_id, report.mr_config_id, "{name}");
    assert_eq!(ours.mr_owner, report.mr_owner, "{name}");
    assert_eq!(ours.mr_owner_config, report.mr_owner_config, "{name}");
    assert_eq!(
        ours.rtmr,
        [report.rt_mr0, report.rt_mr1, report.rt_mr2, report.rt_mr3],
        "{name}"
    );
    assert_eq!(ours.report_data, report.report_data, "{name}");
    assert_eq!(ours.td15.is_some(), theirs.report.as_td15().is_some(), "{name}");
    if let (Some(ours), Some(theirs)) = (&ours.td15, theirs.report.as_td15()) {
        assert_eq!(ours.tee_tcb_svn2, theirs.tee_tcb_svn2, "{name}");
        assert_eq!(ours.mr_service_td, theirs.mr_service_td, "{name}");
    }
    assert_eq!(
        ours.td15_extended.is_some(),
        theirs.report.as_td15_ex().is_some(),
        "{name}"
    );
    if let (Some(ours), Some(theirs)) = (&ours.td15_extended, theirs.report.as_td15_ex()) {
        assert_eq!(
            (ours.vm_id, ours.td_id, ours.dev_info),
            (theirs.vmid, theirs.td_id, theirs.dev_info)
        );
        assert_eq!(ours.init_service_td_hash, theirs.init_service_td_hash, "{name}");
        assert_eq!(
            ours.init_service_td_attributes.to_le_bytes(),
            theirs.init_service_td_attributes,
            "{name}"
        );
        assert_eq!(ours.init_cpu_svn, theirs.init_cpu_svn, "{name}");
        assert_eq!(ours.init_tee_tcb_svn, theirs.init_tee_tcb_svn, "{name}");
        assert_eq!(ours.init_tee_fmspc, theirs.init_tee_fmspc, "{name}");
        assert_eq!(ours.cur_service_td_hash, theirs.cur_service_td_hash, "{name}");
        assert_eq!(
            ours.cur_service_td_attributes.to_le_bytes(),
            theirs.cur_service_td_attributes,
            "{name}"
        );
        assert_eq!(ours.raw.len(), 237);
    }
    let (pck, of_pck) = (&theirs.platform.pck, &ours.platform);
    assert_eq!(ours.fmspc, pck.fmspc, "{name}");
    assert_eq!(ours.ppid[..], pck.ppid, "{name}");
    assert_eq!((of_pck.cpu_svn, of_pck.pce_svn), (pck.cpu_svn, pck.pce_svn), "{name}");
    assert_eq!(of_pck.pce_id[..], pck.pce_id, "{name}");
    assert_eq!(of_pck.platform_instance_id, pck.platform_instance_id, "{name}");
    assert_eq!(ours.tcb_status, status(theirs.tcb.status), "{name}");
    // Ours are of the current level of TD 1.5 as well.
    for id in &theirs.tcb.advisory_ids {
        assert!(ours.advisories.contains(id), "{name}: {id}");
    }
    if ours.td15.is_none() {
        assert_eq!(ours.advisories.len(), theirs.tcb.advisory_ids.len(), "{name}");
    }
    assert_eq!(ours.tcb_evaluation_data_number, theirs.tcb.eval_data_number, "{name}");
    assert_eq!(ours.collateral_expires.0, theirs.earliest_expiration_date, "{name}");
}

fn status(theirs: dcap_qvl::TcbStatus) -> TcbStatus {
    use dcap_qvl::TcbStatus as T;
    match theirs {
        T::UpToDate => TcbStatus::UpToDate,
        T::SWHardeningNeeded => TcbStatus::SwHardeningNeeded,
        T::ConfigurationNeeded => TcbStatus::ConfigurationNeeded,
        T::ConfigurationAndSWHardeningNeeded => TcbStatus::ConfigurationAndSwHardeningNeeded,
        T::TDRelaunchAdvised => TcbStatus::TdRelaunchAdvised,
        T::TDRelaunchAdvisedConfigurationNeeded => TcbStatus::TdRelaunchAdvisedConfigurationNeeded,
        T::OutOfDate => TcbStatus::OutOfDate,
        T::OutOfDateConfigurationNeeded => TcbStatus::OutOfDateConfigurationNeeded,
        T::Revoked => TcbStatus::Revoked,
    }
}

#[test]
fn the_oracle_agrees_on_every_real_quote_with_collateral() {
    let Some(vectors) = Vectors::load() else { return };
    let sets = [
        (vectors.collateral_2025(), JULY_2025),
        (vectors.collateral_2023(), JULY_2023),
    ];
    let mut accepted = 0;
    let quotes = vectors.rows.keys().filter(|name| name.ends_with(".dat"));
    for (name, (collateral, now)) in quotes.flat_map(|n| sets.iter().map(move |s| (n, s))) {
        let mut quote = vectors.read(name);
        // What follows the quote is refused here and ignored there.
        if let Ok(length) = hanzo_attestation::tdx::quote_length(&quote) {
            quote.truncate(length);
        }
        let evidence = crate::evidence(quote, Some(collateral.clone()));
        let ours = crate::ours(&evidence, &hanzo_attestation::Anchors::vendor(), *now);
        match (ours, judge(&evidence, &INTEL_SGX_ROOT_CA, *now)) {
            (Ok(ours), Ok(theirs)) => {
                assert_same(name, &ours, &theirs);
                accepted += 1;
            }
            (Err(_), Err(_)) => {}
            (ours, theirs) => panic!("{name}: ours {ours:?}, theirs {:?}", theirs.map(|_| ())),
        }
    }
    assert_eq!(accepted, 2);
}

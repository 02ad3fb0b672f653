//! Real quotes. One has collateral of its time; of the others the signatures are checked and the TCB is taken from that one.

use hanzo_attestation::bundle::{Base64, TdxCollateral, TdxEvidence};
use hanzo_attestation::tdx::ParsedTdx;
use hanzo_attestation::{Anchors, Collateral, RawEvidence};

use super::{super::*, vectors};

/// 2025-07-01T00:00:00Z, inside the window of the collateral.
const JULY_2025: UnixTime = UnixTime(1_751_328_000);
/// 2026-10-20T00:00:00Z, inside the validity of every certificate used here.
const OCTOBER_2026: UnixTime = UnixTime(1_792_454_400);

fn collateral() -> Option<TdxCollateral> {
    let document = vectors("tdx/collateral/tdx_quote_collateral.json")?;
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    let text = |key: &str| document[key].as_str().unwrap().to_owned();
    let bytes = |key: &str| Base64(hex::decode(document[key].as_str().unwrap()).unwrap());
    Some(TdxCollateral {
        pck_crl: bytes("pck_crl"),
        pck_crl_issuer_chain: text("pck_crl_issuer_chain"),
        qe_identity: text("qe_identity"),
        qe_identity_issuer_chain: text("qe_identity_issuer_chain"),
        qe_identity_signature: bytes("qe_identity_signature"),
        root_ca_crl: bytes("root_ca_crl"),
        tcb_info: text("tcb_info"),
        tcb_info_issuer_chain: text("tcb_info_issuer_chain"),
        tcb_info_signature: bytes("tcb_info_signature"),
    })
}

fn raw(quote: Vec<u8>, collateral: Option<TdxCollateral>) -> TdxEvidence {
    TdxEvidence {
        collateral,
        event_log: None,
        quote: Base64(quote),
    }
}

fn real() -> Option<Evidence> {
    let quote = vectors("tdx/v4_dcapqvl.dat")?;
    let authentic = RawEvidence::Tdx(raw(quote, collateral()))
        .parse()
        .unwrap()
        .authenticate(&Anchors::vendor(), &Collateral::default(), JULY_2025)
        .unwrap();
    assert!(!authentic.is_simulated());
    let mut evidence = Evidence::of(authentic.claims().clone());
    evidence.revocation = authentic.revocation();
    evidence.link = Link::Rcar;
    Some(evidence)
}

fn asking_for(claims: &TdxClaims) -> AppraisalPolicy {
    let [rtmr0, rtmr1, rtmr2, rtmr3] = claims.rtmr.map(Digest384);
    let mut table = TdxPolicy::any_platform(vec![TdxReference {
        mrtd: Digest384(claims.mr_td),
        rtmr0,
        rtmr1,
        rtmr2,
        rtmr3,
        ..tdx_reference()
    }]);
    table.hardware = AllowList::Listed(vec![Ppid::new(claims.ppid).unwrap()]);
    AppraisalPolicy::closed(PrivacyTier::CpuTee).with_tdx(table)
}

#[test]
fn a_real_quote_reaches_tier_2_under_the_policy_that_asks_for_it_and_its_twins_do_not() {
    let Some(mut evidence) = real() else { return };
    let policy = asking_for(evidence.tdx());
    // Intel's lists came with the collateral: that is the revocation which the policy requires.
    assert_eq!(policy.revocation, RevocationPolicy::Required);
    let appraisal = evidence.appraise(&policy);
    assert_eq!(appraisal.tier(), PrivacyTier::CpuTee, "{:?}", appraisal.failures());
    type Twin = fn(&mut TdxPolicy);
    let twins: [(&str, Twin); 5] = [
        ("tdx.hardware", |t| {
            t.hardware = AllowList::Listed(vec![Ppid::new([1; 16]).unwrap()])
        }),
        ("tdx.tcb.evaluation_data_number", |t| {
            t.minimum_tcb_evaluation_data_number = 1000
        }),
        ("tdx.tcb.below_floor", |t| t.tee_tcb_svn_floor.0[0] = 0xff),
        ("tdx.mr_seam", |t| t.mr_seam = AllowList::none()),
        ("tdx.measurement", |t| t.references[0].rtmr3 = Digest384([1; 48])),
    ];
    for (code, twin) in twins {
        let mut policy = policy.clone();
        twin(policy.tdx.as_mut().unwrap());
        assert_eq!(evidence.codes(&policy, PrivacyTier::CpuTee), [code]);
    }
}

#[test]
fn real_quotes_are_refused_for_debug_and_for_sept_ve_disable_and_for_nothing_else() {
    let Some(evidence) = real() else { return };
    for (name, expected) in [
        ("v4_dcapqvl_tdx-quote.dat", &[][..]),
        ("v4_trustee6.dat", &[]),
        ("v4_gcp_cos113_google.dat", &[]),
        ("v4_flashbots_gcp-tdx-1782809233226668671.dat", &[]),
        ("v5_td15_google.dat", &[]),
        ("v5_td15ex_dcapqvl.dat", &[]),
        ("v4_debug_trustee4.dat", &["tdx.debug"]),
        ("v4_spr_e4_google.dat", &["tdx.attributes.bits"]),
    ] {
        let mut evidence = evidence.clone();
        let Some(mut quote) = vectors(&format!("tdx/{name}")) else {
            return;
        };
        quote.truncate(hanzo_attestation::tdx::quote_length(&quote).unwrap());
        let parsed = ParsedTdx::parse(raw(quote, None)).unwrap();
        let signed = parsed.check_signatures(&Anchors::vendor(), OCTOBER_2026).unwrap();
        let (report, claims) = (signed.report(), evidence.tdx());
        claims.td_attributes = report.td_attributes;
        claims.xfam = report.xfam;
        claims.seam_attributes = report.seam_attributes;
        claims.mr_signer_seam = report.mr_signer_seam;
        claims.mr_td = report.mr_td;
        claims.rtmr = report.rtmr;
        claims.td15 = report.td15.clone();
        claims.td15_extended = report.td15_extended.clone();
        let policy = asking_for(evidence.tdx());
        assert_eq!(evidence.codes(&policy, PrivacyTier::CpuTee), expected, "{name}");
    }
}

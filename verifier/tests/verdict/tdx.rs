//! Trust domains: whole verdicts from a simulated platform's quotes, each beside its nearest refused twins.

use std::sync::LazyLock;

use hanzo_attestation::bundle::{Base64, CpuEvidence, TdxEvidence};
use hanzo_attestation::statement::Statement;
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384};
use hanzo_policy::{AllowList, AppraisalPolicy, Ppid, PrivacyTier, TdxPolicy, TdxReference};
use hanzo_simulated_tee::{CollateralSpec, LogBuilder, PckSpec, QuoteFormat, RevokedCertificate, SimulatedTdx, TdSpec};
use hanzo_verifier::VerifierContext;

use crate::fixture::*;

static PLATFORM: LazyLock<SimulatedTdx> = LazyLock::new(SimulatedTdx::for_tests);

pub fn td() -> TdSpec {
    TdSpec::new(QuoteFormat::V5Td15)
}

pub fn quoted(td: &TdSpec, report_data: &[u8; 64]) -> TdxEvidence {
    PLATFORM.evidence(td, report_data, &CollateralSpec::new(NOW))
}

/// What this TD answers to a statement.
pub fn by(td: &TdSpec) -> impl FnOnce(&Statement) -> CpuEvidence {
    let td = td.clone();
    move |statement| CpuEvidence::Tdx(quoted(&td, &statement.report_data().unwrap()))
}

/// Accepts exactly this TD with the simulator's root.
pub fn context_of(td: &TdSpec) -> VerifierContext {
    let [rtmr0, rtmr1, rtmr2, rtmr3] = td.rtmr.map(Digest384);
    let reference = TdxReference {
        name: name("healthy"),
        mrtd: Digest384(td.mr_td),
        rtmr0,
        rtmr1,
        rtmr2,
        rtmr3,
        config_digest: Digest256::of(CONFIG.as_bytes()),
    };
    let policy = AppraisalPolicy::closed(PrivacyTier::CpuTee).with_tdx(TdxPolicy::any_platform(vec![reference]));
    VerifierContext {
        anchors: Anchors::vendor().with_simulator_tdx_root(PLATFORM.root_der().to_vec()),
        collateral: Collateral::default(),
        policy,
    }
}

fn table(context: &mut VerifierContext) -> &mut TdxPolicy {
    context.policy.tdx.as_mut().unwrap()
}

#[test]
fn a_trust_domain_of_each_quote_format_reaches_tier_2() {
    for format in QuoteFormat::ALL {
        let td = TdSpec::new(format);
        let result = verify(&answer_by(by(&td)), &context_of(&td)).unwrap();
        assert_eq!(result.tier(), PrivacyTier::CpuTee, "{format:?}");
        assert_eq!(result.reference_name(), Some("healthy"));
        assert!(result.simulated());
        let view = result.view();
        assert_eq!(
            (view.kind, view.product, view.revocation, view.cpu_gpu_binding),
            ("tdx", "tdx", "checked", "none")
        );
        assert_eq!((view.chip_id, view.tpm, view.devices.len()), (None, None, 0));
        let shown = view.tdx.unwrap();
        assert_eq!(shown.mrtd, hex::encode(td.mr_td));
        assert_eq!(shown.rtmr, td.rtmr.map(hex::encode));
        assert_eq!(shown.ppid, hex::encode(PckSpec::default().ppid));
        assert_eq!(
            (shown.tcb_status, shown.event_log, shown.dev_info),
            ("UpToDate", false, None)
        );
    }
    let mut vendor = context_of(&td());
    vendor.anchors = Anchors::vendor();
    assert_eq!(refusal(verify(&answer_by(by(&td())), &vendor)), ("tdx.chain.root", 20));
}

#[test]
fn each_rule_refuses_its_trust_domain_and_names_itself_alone() {
    type Sick = fn(&mut TdSpec);
    type Ask = fn(&mut TdxPolicy);
    let cases: &[(&str, Sick, Ask)] = &[
        ("tdx.debug", |td| td.td_attributes |= 1, |_| {}),
        ("tdx.migratable", |td| td.td_attributes |= 1 << 29, |_| {}),
        ("tdx.attributes.bits", |td| td.td_attributes = 0, |_| {}),
        ("tdx.xfam.not_allowed", |td| td.xfam |= 1 << 10, |_| {}),
        ("tdx.service_td", |td| td.mr_service_td = [1; 48], |_| {}),
        ("tdx.mr_config_id", |_| {}, |t| t.mr_config_id = AllowList::none()),
        ("tdx.mr_owner", |_| {}, |t| t.mr_owner = AllowList::none()),
        ("tdx.mr_seam", |_| {}, |t| t.mr_seam = AllowList::none()),
        (
            "tdx.event_log",
            |_| {},
            |t| t.event_log = hanzo_policy::Presence::Required,
        ),
        (
            "tdx.hardware",
            |_| {},
            |t| t.hardware = AllowList::Listed(vec![Ppid::new([0x77; 16]).unwrap()]),
        ),
        (
            "tdx.tcb.evaluation_data_number",
            |_| {},
            |t| t.minimum_tcb_evaluation_data_number = 19,
        ),
        ("tdx.tcb.below_floor", |_| {}, |t| t.tee_tcb_svn_floor.0[2] = 5),
        ("tdx.tcb.status", |_| {}, |t| t.tcb_statuses.clear()),
        (
            "config.not_reference",
            |_| {},
            |t| t.references[0].config_digest.0[0] ^= 1,
        ),
    ];
    for (code, sick, ask) in cases {
        let (mut td, mut context) = (td(), context_of(&td()));
        sick(&mut td);
        ask(table(&mut context));
        assert_eq!(failed(verify(&answer_by(by(&td)), &context)), (vec![*code], 40));
    }
    for register in 0..5 {
        let mut other = td();
        match register {
            4 => other.mr_td[0] ^= 1,
            i => other.rtmr[i][0] ^= 1,
        }
        assert_eq!(
            failed(verify(&answer_by(by(&other)), &context_of(&td()))),
            (vec!["tdx.measurement", "config.not_reference"], 40)
        );
    }
    let mut none = context_of(&td());
    none.policy.tdx = None;
    assert_eq!(refusal(verify(&answer_by(by(&td())), &none)), ("tdx.not_admitted", 40));
}

#[test]
fn the_allow_list_of_platforms_admits_the_one_that_it_names() {
    let mut context = context_of(&td());
    let ours = Ppid::new(PckSpec::default().ppid).unwrap();
    table(&mut context).hardware = AllowList::Listed(vec![ours]);
    verify(&answer_by(by(&td())), &context).unwrap();
}

#[test]
fn status_and_advisories_of_intel_s_documents_are_held_to_the_policy() {
    let mut spec = CollateralSpec::new(NOW);
    spec.levels[0].status = "SWHardeningNeeded".into();
    spec.levels[0].advisories = vec!["INTEL-SA-00837".into()];
    let bundle =
        answer_by(|statement| CpuEvidence::Tdx(PLATFORM.evidence(&td(), &statement.report_data().unwrap(), &spec)));
    let mut context = context_of(&td());
    assert_eq!(
        failed(verify(&bundle, &context)),
        (vec!["tdx.tcb.status", "tdx.tcb.advisory"], 40)
    );
    table(&mut context)
        .tcb_statuses
        .push(hanzo_policy::AcceptedStatus::SwHardeningNeeded);
    assert_eq!(failed(verify(&bundle, &context)), (vec!["tdx.tcb.advisory"], 40));
    table(&mut context).advisories.push("INTEL-SA-00837".into());
    let shown = verify(&bundle, &context).unwrap().view().tdx.unwrap();
    assert_eq!(
        (shown.tcb_status, shown.advisories),
        ("SWHardeningNeeded", vec!["INTEL-SA-00837".to_owned()])
    );
}

#[test]
fn a_changed_quote_a_revoked_platform_and_missing_or_stale_collateral_are_not_authentic() {
    let with = |spec: &CollateralSpec| {
        let bundle =
            answer_by(|statement| CpuEvidence::Tdx(PLATFORM.evidence(&td(), &statement.report_data().unwrap(), spec)));
        refusal(verify(&bundle, &context_of(&td())))
    };
    let mut revoked = CollateralSpec::new(NOW);
    revoked.revoked = vec![RevokedCertificate::Pck];
    assert_eq!(with(&revoked), ("tdx.crl.revoked", 20));
    let mut stale = CollateralSpec::new(NOW);
    stale.tcb_info_window.1 = NOW.0 - 1;
    assert_eq!(with(&stale), ("tdx.tcb_info.stale", 20));

    let mut bundle = answer_by(by(&td()));
    let CpuEvidence::Tdx(evidence) = &mut bundle.cpu else {
        panic!("TDX evidence")
    };
    let whole = evidence.clone();
    evidence.collateral = None;
    assert_eq!(
        refusal(verify(&bundle, &context_of(&td()))),
        ("tdx.collateral.missing", 20)
    );
    let mut context = context_of(&td());
    context.collateral.tdx = whole.collateral.clone().into_iter().collect();
    verify(&bundle, &context).unwrap();
    for at in [54, 54 + 136, 54 + 328, 54 + 519] {
        let mut changed = whole.clone();
        changed.quote.0[at] ^= 1;
        bundle.cpu = CpuEvidence::Tdx(changed);
        assert_eq!(
            refusal(verify(&bundle, &context)),
            ("tdx.signature.invalid", 20),
            "byte {at}"
        );
    }
}

#[test]
fn an_event_log_counts_only_if_it_replays_to_the_registers() {
    let log = LogBuilder::ccel().boot("root=/dev/vda config=abc");
    let mut td = td();
    td.rtmr = log.rtmr();
    let with = |bytes: &[u8]| {
        answer_by(|statement| {
            let mut evidence = quoted(&td, &statement.report_data().unwrap());
            evidence.event_log = Some(Base64(bytes.to_vec()));
            CpuEvidence::Tdx(evidence)
        })
    };
    let mut context = context_of(&td);
    table(&mut context).event_log = hanzo_policy::Presence::Required;
    let result = verify(&with(log.bytes()), &context).unwrap();
    assert!(result.view().tdx.unwrap().event_log);
    let other = LogBuilder::ccel().boot("root=/dev/vdb config=abc");
    let e = verify(&with(other.bytes()), &context).unwrap_err();
    assert_eq!((e.code(), e.exit_code()), ("eventlog.replay.mismatch", 20));
}

#[test]
fn another_statement_a_tail_and_a_prefix_are_unbound() {
    let context = context_of(&td());
    let over = |edit: &dyn Fn(&mut [u8; 64])| {
        let bundle = answer_by(|statement| {
            let mut report_data = statement.report_data().unwrap();
            edit(&mut report_data);
            CpuEvidence::Tdx(quoted(&td(), &report_data))
        });
        verify(&bundle, &context)
            .map_err(|e| (e.code(), e.exit_code()))
            .map(drop)
    };
    assert_eq!(over(&|_| {}), Ok(()));
    let unbound = Err(("binding.report_data", 30));
    assert_eq!(over(&|r| r[63] ^= 1), unbound);
    assert_eq!(over(&|r| r[48..].fill(0)), unbound, "a prefix of 48 bytes");
    assert_eq!(over(&|r| r[32..].fill(0)), unbound, "a prefix of 32 bytes");
    assert_eq!(over(&|r| r.fill(0)), unbound);
}

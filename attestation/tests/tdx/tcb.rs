//! TCB levels: each status, each component, the module's identity, and a TD that outlived its module.

use hanzo_attestation::bundle::TdxEvidence;
use hanzo_attestation::tdx::TcbStatus;
use hanzo_simulated_tee::{CollateralSpec, IsvLevelSpec, ModuleSpec, PckSpec, SimulatedTdx, TcbLevelSpec, TdSpec};

use crate::oracle::Theirs;
use crate::{NOW, PLATFORM, anchors, check, healthy, ours, td, with};

const SGX_STATUSES: [(&str, TcbStatus); 6] = [
    ("UpToDate", TcbStatus::UpToDate),
    ("SWHardeningNeeded", TcbStatus::SwHardeningNeeded),
    ("ConfigurationNeeded", TcbStatus::ConfigurationNeeded),
    (
        "ConfigurationAndSWHardeningNeeded",
        TcbStatus::ConfigurationAndSwHardeningNeeded,
    ),
    ("OutOfDate", TcbStatus::OutOfDate),
    ("OutOfDateConfigurationNeeded", TcbStatus::OutOfDateConfigurationNeeded),
];

fn spec(change: impl Fn(&mut CollateralSpec)) -> TdxEvidence {
    let mut spec = healthy();
    change(&mut spec);
    with(&spec)
}

fn status(evidence: &TdxEvidence) -> TcbStatus {
    ours(evidence, &anchors(), NOW).unwrap().tcb_status
}

/// Platform, QE and module at these statuses, each with an advisory of its own.
fn statuses(platform: &str, qe: &str, module: &str) -> TdxEvidence {
    spec(|s| {
        s.levels[0].status = platform.into();
        s.levels[0].advisories = vec!["INTEL-SA-00001".into()];
        s.qe_levels[0].status = qe.into();
        s.qe_levels[0].advisories = vec!["INTEL-SA-00002".into(), "INTEL-SA-00001".into()];
        s.modules[0].levels[0].status = module.into();
        s.modules[0].levels[0].advisories = vec!["INTEL-SA-00003".into()];
    })
}

#[test]
fn each_status_is_told_with_its_advisories() {
    for (name, expected) in SGX_STATUSES {
        let evidence = statuses(name, "UpToDate", "UpToDate");
        check(name, &evidence, "accepted", Theirs::Same);
        let claims = ours(&evidence, &anchors(), NOW).unwrap();
        assert_eq!(claims.tcb_status, expected);
        assert_eq!(
            claims.advisories,
            ["INTEL-SA-00001", "INTEL-SA-00002", "INTEL-SA-00003"]
        );
    }
    for (name, evidence) in [
        ("platform", statuses("Revoked", "UpToDate", "UpToDate")),
        ("QE", statuses("UpToDate", "Revoked", "UpToDate")),
        ("module", statuses("UpToDate", "UpToDate", "Revoked")),
    ] {
        check(name, &evidence, "tdx.tcb.revoked", Theirs::Same);
    }
}

#[test]
fn the_worst_of_platform_enclave_and_module_counts() {
    use TcbStatus::*;
    for (platform, qe, module, expected) in [
        ("UpToDate", "OutOfDate", "UpToDate", OutOfDate),
        ("UpToDate", "UpToDate", "OutOfDate", OutOfDate),
        ("SWHardeningNeeded", "UpToDate", "OutOfDate", OutOfDate),
        (
            "ConfigurationNeeded",
            "OutOfDate",
            "UpToDate",
            OutOfDateConfigurationNeeded,
        ),
        (
            "ConfigurationAndSWHardeningNeeded",
            "UpToDate",
            "OutOfDate",
            OutOfDateConfigurationNeeded,
        ),
        ("OutOfDate", "OutOfDate", "OutOfDate", OutOfDate),
        // Intel's rule: of the enclave's status only OutOfDate and Revoked count.
        ("UpToDate", "ConfigurationNeeded", "UpToDate", UpToDate),
    ] {
        let evidence = statuses(platform, qe, module);
        let name = format!("{platform}, {qe}, {module}");
        check(&name, &evidence, "accepted", Theirs::Same);
        assert_eq!(status(&evidence), expected, "{name}");
    }
    // A structure has only the statuses that Intel gives it.
    for (name, evidence) in [
        ("QE", statuses("UpToDate", "SWHardeningNeeded", "UpToDate")),
        ("module", statuses("UpToDate", "UpToDate", "ConfigurationNeeded")),
        ("platform", statuses("TDRelaunchAdvised", "UpToDate", "UpToDate")),
    ] {
        check(name, &evidence, "tdx.collateral.malformed", Theirs::Same);
    }
}

#[test]
fn one_component_below_the_level_is_below_the_level() {
    let two_levels = |s: &mut CollateralSpec| {
        let mut lower = s.levels[0].clone();
        lower.sgx = [0; 16];
        lower.tdx = [0; 16];
        lower.pce_svn = 5;
        lower.status = "OutOfDate".into();
        // Levels count from the highest, whatever order the document has.
        s.levels.insert(0, lower);
    };
    let good = spec(two_levels);
    check("all components", &good, "accepted", Theirs::Same);
    assert_eq!(status(&good), TcbStatus::UpToDate);
    for component in 0..16 {
        let mut cpu_svn = [2; 16];
        cpu_svn[component] = 1;
        let platform = SimulatedTdx::for_tests().with_pck(&PckSpec {
            cpu_svn,
            ..PckSpec::default()
        });
        let mut collateral = healthy();
        two_levels(&mut collateral);
        let evidence = platform.evidence(&td(), &[7; 64], &collateral);
        let claims = ours(&evidence, &crate::anchors_of(&platform), NOW).unwrap();
        assert_eq!(claims.tcb_status, TcbStatus::OutOfDate, "SGX component {component}");
        let theirs = crate::oracle::judge(&evidence, platform.root_der(), NOW).unwrap();
        crate::oracle::assert_same("SGX component", &claims, &theirs);
    }
    let pce = spec(|s| {
        two_levels(s);
        s.levels[1].pce_svn = 12;
    });
    check("PCESVN", &pce, "accepted", Theirs::Same);
    assert_eq!(status(&pce), TcbStatus::OutOfDate);
    for component in 0..16 {
        let evidence = spec(|s| {
            two_levels(s);
            s.levels[1].tdx[component] = 9;
        });
        check("TDX component", &evidence, "accepted", Theirs::Same);
        // The module's own two are its identity's business.
        let expected = if component < 2 {
            TcbStatus::UpToDate
        } else {
            TcbStatus::OutOfDate
        };
        assert_eq!(status(&evidence), expected, "TDX component {component}");
    }
    let below_all = spec(|s| s.levels[0].sgx[15] = 3);
    check("below every level", &below_all, "tdx.tcb.no_level", Theirs::Same);
    check(
        "no levels",
        &spec(|s| s.levels.clear()),
        "tdx.tcb.no_level",
        Theirs::Same,
    );
}

#[test]
fn modules_before_1_5_are_judged_by_the_levels_and_the_base_identity() {
    let mut old = TdSpec {
        tee_tcb_svn: [0; 16],
        tee_tcb_svn2: [0; 16],
        ..td()
    };
    for svn in [&mut old.tee_tcb_svn, &mut old.tee_tcb_svn2] {
        svn[..3].copy_from_slice(&[5, 0, 4]);
    }
    let no_identities = CollateralSpec {
        modules: Vec::new(),
        ..healthy()
    };
    let make = |td: &TdSpec| PLATFORM.evidence(td, &[7; 64], &no_identities);
    check("module of 1.0", &make(&old), "accepted", Theirs::Same);
    for svn in [&mut old.tee_tcb_svn, &mut old.tee_tcb_svn2] {
        svn[0] = 4;
    }
    check(
        "its first component counts",
        &make(&old),
        "tdx.tcb.no_level",
        Theirs::Same,
    );
    let signer = TdSpec {
        mr_signer_seam: [1; 48],
        ..old
    };
    check(
        "its signer counts",
        &make(&TdSpec {
            tee_tcb_svn: [9, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9],
            ..signer
        }),
        "tdx.module.signer",
        Theirs::Same,
    );
}

#[test]
fn the_module_is_the_one_of_its_identity() {
    let with_td = |change: &dyn Fn(&mut TdSpec)| {
        let mut td = td();
        change(&mut td);
        PLATFORM.evidence(&td, &[7; 64], &healthy())
    };
    let module = |change: &dyn Fn(&mut ModuleSpec)| spec(|s| change(&mut s.modules[0]));
    for (name, evidence, code) in [
        (
            "MRSIGNERSEAM",
            with_td(&|t| t.mr_signer_seam[47] = 1),
            "tdx.module.signer",
        ),
        (
            "SEAMATTRIBUTES",
            with_td(&|t| t.seam_attributes = 1),
            "tdx.module.attributes",
        ),
        (
            "SEAMATTRIBUTES, last bit",
            with_td(&|t| t.seam_attributes = 1 << 63),
            "tdx.module.attributes",
        ),
        (
            "unknown version",
            with_td(&|t| t.tee_tcb_svn[1] = 2),
            "tdx.module.unknown",
        ),
        (
            "unknown version now",
            with_td(&|t| t.tee_tcb_svn2[1] = 2),
            "tdx.module.unknown",
        ),
        (
            "ISVSVN below every level",
            with_td(&|t| t.tee_tcb_svn[0] = 3),
            "tdx.module.no_level",
        ),
        (
            "identity: another signer",
            module(&|m| m.mr_signer = [1; 48]),
            "tdx.module.signer",
        ),
        (
            "identity: other attributes",
            module(&|m| m.attributes = 1),
            "tdx.module.attributes",
        ),
        (
            "identity: another version",
            module(&|m| m.version = 3),
            "tdx.module.unknown",
        ),
        (
            "identity: no levels",
            module(&|m| m.levels.clear()),
            "tdx.module.no_level",
        ),
    ] {
        check(name, &evidence, code, Theirs::Same);
    }
    // A bit that the mask leaves out must be zero all the same.
    let mut unmasked = healthy();
    unmasked.modules[0].attributes_mask = !1;
    let outside = TdSpec {
        seam_attributes: 1,
        ..td()
    };
    let evidence = PLATFORM.evidence(&outside, &[7; 64], &unmasked);
    check(
        "SEAMATTRIBUTES outside the mask",
        &evidence,
        "tdx.module.attributes",
        Theirs::Same,
    );
}

/// Levels 7 (up to date) and 5 (`older`) of the module.
fn two_modules(older: &str) -> CollateralSpec {
    let mut spec = healthy();
    let mut levels = spec.modules[0].levels.clone();
    levels[0].isv_svn = 7;
    levels.push(IsvLevelSpec {
        isv_svn: 5,
        status: older.into(),
        advisories: vec!["INTEL-SA-01036".into()],
        date: levels[0].date - 100 * 86_400,
    });
    spec.modules[0].levels = levels;
    spec
}

#[test]
fn a_td_that_outlived_an_update_of_the_module_is_told_to_relaunch() {
    let svn = |isv_svn| {
        let mut svn = td().tee_tcb_svn;
        svn[0] = isv_svn;
        svn
    };
    let evidence = |launch, now, collateral: &CollateralSpec| {
        let td = TdSpec {
            tee_tcb_svn: svn(launch),
            tee_tcb_svn2: svn(now),
            ..td()
        };
        PLATFORM.evidence(&td, &[7; 64], collateral)
    };
    let outdated = two_modules("OutOfDate");
    for (launch, now, expected) in [
        (7, 7, TcbStatus::UpToDate),
        (5, 7, TcbStatus::TdRelaunchAdvised),
        (5, 5, TcbStatus::OutOfDate),
        (7, 5, TcbStatus::UpToDate),
    ] {
        let evidence = evidence(launch, now, &outdated);
        check("relaunch", &evidence, "accepted", Theirs::Same);
        let claims = ours(&evidence, &anchors(), NOW).unwrap();
        assert_eq!(claims.tcb_status, expected, "{launch}, {now}");
        // Whichever of the two is behind, its advisories are told, and the older date is.
        let behind = launch == 5 || now == 5;
        assert_eq!(claims.advisories.contains(&"INTEL-SA-01036".to_owned()), behind);
        let levels = &outdated.modules[0].levels;
        assert_eq!(claims.tcb_date.0, levels[usize::from(behind)].date);
    }
    let configuration = CollateralSpec {
        levels: vec![TcbLevelSpec {
            status: "ConfigurationNeeded".into(),
            ..outdated.levels[0].clone()
        }],
        ..outdated.clone()
    };
    let relaunch = evidence(5, 7, &configuration);
    check("relaunch and configure", &relaunch, "accepted", Theirs::Same);
    assert_eq!(status(&relaunch), TcbStatus::TdRelaunchAdvisedConfigurationNeeded);
    let revoked = two_modules("Revoked");
    for (launch, now) in [(5, 7), (7, 5), (5, 5)] {
        check(
            "a revoked module, then or now",
            &evidence(launch, now, &revoked),
            "tdx.tcb.revoked",
            Theirs::Same,
        );
    }
}

#[test]
fn the_lower_evaluation_number_and_the_earliest_end_are_told() {
    for (info, qe) in [(18, 17), (17, 18)] {
        let evidence = spec(|s| {
            s.tcb_evaluation_data_number = info;
            s.qe_evaluation_data_number = qe;
        });
        check("evaluation numbers", &evidence, "accepted", Theirs::Same);
        assert_eq!(ours(&evidence, &anchors(), NOW).unwrap().tcb_evaluation_data_number, 17);
    }
    let end = NOW.0 + 5000;
    for change in [
        (|s: &mut CollateralSpec, end| s.tcb_info_window.1 = end) as fn(&mut CollateralSpec, u64),
        |s, end| s.qe_identity_window.1 = end,
        |s, end| s.root_crl_window.1 = end,
        |s, end| s.pck_crl_window.1 = end,
    ] {
        let evidence = spec(|s| change(s, end));
        check("earliest end", &evidence, "accepted", Theirs::Same);
        assert_eq!(ours(&evidence, &anchors(), NOW).unwrap().collateral_expires.0, end);
    }
}

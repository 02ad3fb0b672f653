//! TDX.

use super::*;
use crate::policy::Admission;
use crate::policy::bits::TdAttribute;
use crate::policy::number::{Hex64, Svn};
use crate::policy::tdx::AcceptedStatus;

fn table(policy: &mut AppraisalPolicy) -> &mut TdxPolicy {
    policy.tdx.as_mut().unwrap()
}

fn td15(evidence: &mut Evidence) -> &mut Td15 {
    let claims = evidence.tdx();
    let tee_tcb_svn2 = claims.tee_tcb_svn;
    claims.td15.get_or_insert(Td15 {
        tee_tcb_svn2,
        mr_service_td: [0; 48],
    })
}

#[test]
fn every_rule_refuses_the_nearest_twin_of_the_base_case_and_no_other_rule_does() {
    each_refuses(
        td_guest,
        PrivacyTier::CpuTee,
        PrivacyTier::Open,
        &[
            ("tdx.hardware", |e, _| e.tdx().ppid = [3; 16]),
            ("tdx.hardware", |e, _| e.tdx().ppid = [0; 16]),
            ("tdx.hardware", |_, p| table(p).hardware = AllowList::none()),
            ("tdx.tcb.status", |e, _| {
                e.tdx().tcb_status = TcbStatus::SwHardeningNeeded
            }),
            ("tdx.tcb.status", |e, _| e.tdx().tcb_status = TcbStatus::OutOfDate),
            ("tdx.tcb.status", |_, p| table(p).tcb_statuses.clear()),
            ("tdx.tcb.status", |e, p| {
                e.tdx().tcb_status = TcbStatus::Revoked;
                table(p).tcb_statuses = every_status();
            }),
            ("tdx.tcb.advisory", |e, p| {
                e.tdx().tcb_status = TcbStatus::SwHardeningNeeded;
                e.tdx().advisories = vec!["INTEL-SA-00837".into(), "INTEL-SA-00960".into()];
                table(p).tcb_statuses = every_status();
                table(p).advisories = vec!["INTEL-SA-00837".into()];
            }),
            ("tdx.tcb.advisory", |e, p| {
                e.tdx().tcb_status = TcbStatus::ConfigurationNeeded;
                e.tdx().advisories = vec!["INTEL-SA-00837".into()];
                table(p).tcb_statuses = every_status();
            }),
            ("tdx.tcb.evaluation_data_number", |_, p| {
                table(p).minimum_tcb_evaluation_data_number = 19;
            }),
            ("tdx.tcb.below_floor", |_, p| table(p).tee_tcb_svn_floor.0[0] = 6),
            ("tdx.tcb.below_floor", |e, p| {
                td15(e).tee_tcb_svn2[2] = 1;
                table(p).tee_tcb_svn_floor.0[2] = 2;
            }),
            ("tdx.mr_signer_seam", |e, _| e.tdx().mr_signer_seam[0] = 1),
            ("tdx.seam_attributes", |e, _| e.tdx().seam_attributes = 1),
            ("tdx.mr_seam", |_, p| {
                table(p).mr_seam = AllowList::Listed(vec![Digest384([4; 48])]);
            }),
            ("tdx.debug", |e, _| e.tdx().td_attributes |= 1),
            ("tdx.debug", |e, _| e.tdx().td_attributes |= 1 << 5),
            ("tdx.migratable", |e, _| e.tdx().td_attributes |= 1 << 29),
            ("tdx.attributes.bits", |e, _| e.tdx().td_attributes &= !(1 << 28)),
            ("tdx.attributes.bits", |e, p| {
                e.tdx().td_attributes |= 1 << 63;
                table(p).attributes.forbidden = vec![TdAttribute::Perfmon];
            }),
            ("tdx.attributes.unknown_bits", |e, _| e.tdx().td_attributes |= 1 << 9),
            ("tdx.xfam.required", |e, _| e.tdx().xfam &= !2),
            ("tdx.xfam.not_allowed", |e, _| e.tdx().xfam |= 1 << 3),
            ("tdx.xfam.not_allowed", |_, p| table(p).xfam_allowed = Hex64(0xe7)),
            ("tdx.service_td", |e, _| td15(e).mr_service_td = [1; 48]),
            ("tdx.service_td", |e, p| {
                td15(e).mr_service_td = [1; 48];
                table(p).service_tds = vec![Digest384([2; 48])];
            }),
            ("tdx.mr_config_id", |e, p| {
                e.tdx().mr_config_id = [1; 48];
                table(p).mr_config_id = AllowList::Listed(vec![Digest384([0; 48])]);
            }),
            ("tdx.mr_owner", |_, p| table(p).mr_owner = AllowList::none()),
            ("tdx.mr_owner_config", |_, p| {
                table(p).mr_owner_config = AllowList::none();
            }),
            ("tdx.event_log", |_, p| table(p).event_log = Presence::Required),
        ],
    );
}

#[test]
fn a_service_td_of_the_extended_body_is_refused_too() {
    each_refuses(tee_io_guest, PrivacyTier::GpuTeeIo, PrivacyTier::Open, &[]);
    let changes: [fn(&mut Td15Extended); 2] = [
        |t| t.init_service_td_hash = [1; 48],
        |t| t.cur_service_td_hash = [1; 48],
    ];
    for change in changes {
        let (mut evidence, mut policy) = tee_io_guest();
        change(evidence.tdx().td15_extended.as_mut().unwrap());
        assert_eq!(evidence.codes(&policy, PrivacyTier::CpuTee), ["tdx.service_td"]);
        table(&mut policy).service_tds = vec![Digest384([1; 48])];
        assert_eq!(evidence.appraise(&policy).tier(), PrivacyTier::GpuTeeIo);
    }
}

fn every_status() -> Vec<AcceptedStatus> {
    vec![
        AcceptedStatus::UpToDate,
        AcceptedStatus::SwHardeningNeeded,
        AcceptedStatus::ConfigurationNeeded,
        AcceptedStatus::ConfigurationAndSwHardeningNeeded,
        AcceptedStatus::TdRelaunchAdvised,
        AcceptedStatus::TdRelaunchAdvisedConfigurationNeeded,
        AcceptedStatus::OutOfDate,
        AcceptedStatus::OutOfDateConfigurationNeeded,
    ]
}

#[test]
fn the_accepted_twins() {
    each_accepts(
        td_guest,
        PrivacyTier::CpuTee,
        &[
            ("a status with all its advisories listed", |e, p| {
                e.tdx().tcb_status = TcbStatus::SwHardeningNeeded;
                e.tdx().advisories = vec!["INTEL-SA-00837".into()];
                table(p).tcb_statuses = vec![AcceptedStatus::SwHardeningNeeded];
                table(p).advisories = vec!["INTEL-SA-00837".into(), "INTEL-SA-00960".into()];
            }),
            ("the very floors", |e, p| {
                td15(e);
                table(p).minimum_tcb_evaluation_data_number = 18;
                table(p).tee_tcb_svn_floor = Svn(e.tdx().tee_tcb_svn);
                table(p).xfam_allowed = Hex64(e.tdx().xfam);
            }),
            ("listed fields", |e, p| {
                e.tdx().mr_config_id = [5; 48];
                table(p).mr_seam = AllowList::Listed(vec![Digest384([3; 48])]);
                table(p).mr_config_id = AllowList::Listed(vec![Digest384([5; 48])]);
                table(p).mr_owner = AllowList::Listed(vec![Digest384([0; 48])]);
                table(p).mr_owner_config = AllowList::Listed(vec![Digest384([0; 48])]);
            }),
            ("a listed service TD", |e, p| {
                td15(e).mr_service_td = [1; 48];
                table(p).service_tds = vec![Digest384([1; 48])];
            }),
            ("attributes as asked", |e, p| {
                e.tdx().td_attributes = 1 << 63 | 1 << 30 | 1 << 9;
                table(p).attributes.required = vec![TdAttribute::Pks];
                table(p).attributes.unknown = Admission::Accept;
            }),
            ("a replayed log", |e, p| {
                e.td_log = true;
                table(p).event_log = Presence::Required;
            }),
        ],
    );
}

#[test]
fn each_register_counts() {
    for register in 0..5 {
        let (mut evidence, policy) = td_guest();
        match register {
            0 => evidence.tdx().mr_td[47] ^= 1,
            n => evidence.tdx().rtmr[n - 1][47] ^= 1,
        }
        assert_eq!(
            evidence.codes(&policy, PrivacyTier::CpuTee),
            ["tdx.measurement", "config.not_reference"]
        );
        let appraisal = evidence.appraise(&policy);
        let text = &appraisal
            .failures()
            .iter()
            .find(|f| f.code == "tdx.measurement")
            .unwrap()
            .text;
        assert_eq!(text.contains("base has this MRTD"), register != 0, "{text}");
    }
}

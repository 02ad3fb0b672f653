//! Which direction each key has. The members are taken apart by name, so that a new key cannot be forgotten here.

use super::Direction::{Changed, Narrower, Wider};
use super::Walk;
use crate::policy::bits::BitRules;
use crate::policy::gpu::GpuPolicy;
use crate::policy::number::Hex64;
use crate::policy::release::ReleasePolicy;
use crate::policy::snp::{MilanPolicy, SnpPolicy};
use crate::policy::tdx::TdxPolicy;
use crate::policy::tpm::TpmPolicy;
use crate::policy::{Admission, AppraisalPolicy, EpycTcb, Presence, RevocationPolicy, TcbFloors, TurinTcb};

pub(super) fn policy(walk: &mut Walk, from: &AppraisalPolicy, to: &AppraisalPolicy) {
    let AppraisalPolicy {
        version,
        minimum_tier,
        max_age_s,
        revocation,
        snp,
        tdx,
        tpm,
        gpu,
        release,
    } = from;
    if *version != to.version {
        walk.push("version", version.to_string(), to.version.to_string(), Changed);
    }
    walk.ordered("minimum_tier", minimum_tier, &to.minimum_tier, Narrower);
    walk.ordered("max_age_s", max_age_s, &to.max_age_s, Wider);
    walk.switch("revocation", revocation, &to.revocation, &RevocationPolicy::Required);
    walk.table("snp", snp.as_ref(), to.snp.as_ref(), self::snp);
    walk.table("tdx", tdx.as_ref(), to.tdx.as_ref(), self::tdx);
    walk.table("tpm", tpm.as_ref(), to.tpm.as_ref(), self::tpm);
    walk.table("gpu", gpu.as_ref(), to.gpu.as_ref(), self::gpu);
    match (release, &to.release) {
        (Some(from), Some(to)) => self::release(walk, from, to),
        (None, None) => {}
        // Who names the images changed: neither more nor less, but something else.
        (Some(_), None) => walk.push("release", "present", "absent", Changed),
        (None, Some(_)) => walk.push("release", "absent", "present", Changed),
    }
}

fn snp(walk: &mut Walk, from: &SnpPolicy, to: &SnpPolicy) {
    let SnpPolicy {
        hardware,
        vlek_providers,
        milan,
        vmpl,
        provisional_firmware,
        mitigations,
        id_keys,
        author_keys,
        host_data,
        guest_svn_minimum,
        minimum_abi,
        minimum_firmware,
        tcb_floor,
        guest_policy,
        platform_info,
        references,
        paravisors,
    } = from;
    walk.allow_list("snp.hardware", hardware, &to.hardware);
    walk.allow_list("snp.vlek_providers", vlek_providers, &to.vlek_providers);
    walk.switch("snp.milan", milan, &to.milan, &MilanPolicy::Refuse);
    walk.entries("snp.vmpl", vmpl, &to.vmpl, Wider);
    walk.switch(
        "snp.provisional_firmware",
        provisional_firmware,
        &to.provisional_firmware,
        &Admission::Refuse,
    );
    walk.entries("snp.mitigations", mitigations, &to.mitigations, Narrower);
    walk.allow_list("snp.id_keys", id_keys, &to.id_keys);
    walk.allow_list("snp.author_keys", author_keys, &to.author_keys);
    walk.allow_list("snp.host_data", host_data, &to.host_data);
    walk.ordered(
        "snp.guest_svn_minimum",
        guest_svn_minimum,
        &to.guest_svn_minimum,
        Narrower,
    );
    walk.ordered("snp.minimum_abi", minimum_abi, &to.minimum_abi, Narrower);
    walk.ordered("snp.minimum_firmware", minimum_firmware, &to.minimum_firmware, Narrower);
    floors(walk, tcb_floor, &to.tcb_floor);
    bits(walk, "snp.guest_policy", guest_policy, &to.guest_policy);
    bits(walk, "snp.platform_info", platform_info, &to.platform_info);
    walk.named("snp.references", references, &to.references, |r| r.name.to_string());
    walk.named("snp.paravisors", paravisors, &to.paravisors, |p| p.name.to_string());
}

fn floors(walk: &mut Walk, from: &TcbFloors, to: &TcbFloors) {
    let TcbFloors { milan, genoa, turin } = from;
    for (product, from, to) in [("milan", milan, &to.milan), ("genoa", genoa, &to.genoa)] {
        let path = format!("snp.tcb_floor.{product}");
        walk.table(&path, from.as_ref(), to.as_ref(), |walk, from, to| {
            let parts = |t: &EpycTcb| {
                [
                    ("bootloader", t.bootloader),
                    ("tee", t.tee),
                    ("snp", t.snp),
                    ("microcode", t.microcode),
                ]
            };
            each_component(walk, &path, &parts(from), &parts(to));
        });
    }
    let path = "snp.tcb_floor.turin";
    walk.table(path, turin.as_ref(), to.turin.as_ref(), |walk, from, to| {
        let parts = |t: &TurinTcb| {
            [
                ("fmc", t.fmc),
                ("bootloader", t.bootloader),
                ("tee", t.tee),
                ("snp", t.snp),
                ("microcode", t.microcode),
            ]
        };
        each_component(walk, path, &parts(from), &parts(to));
    });
}

fn each_component(walk: &mut Walk, path: &str, from: &[(&str, u8)], to: &[(&str, u8)]) {
    for ((name, from), (_, to)) in from.iter().zip(to) {
        walk.ordered(&format!("{path}.{name}"), from, to, Narrower);
    }
}

fn bits<B: Ord + serde::Serialize>(walk: &mut Walk, path: &str, from: &BitRules<B>, to: &BitRules<B>) {
    let BitRules {
        required,
        forbidden,
        unknown,
    } = from;
    walk.entries(&format!("{path}.required"), required, &to.required, Narrower);
    walk.entries(&format!("{path}.forbidden"), forbidden, &to.forbidden, Narrower);
    walk.switch(&format!("{path}.unknown"), unknown, &to.unknown, &Admission::Refuse);
}

fn tdx(walk: &mut Walk, from: &TdxPolicy, to: &TdxPolicy) {
    let TdxPolicy {
        hardware,
        tcb_statuses,
        advisories,
        minimum_tcb_evaluation_data_number,
        tee_tcb_svn_floor,
        xfam_allowed,
        mr_seam,
        mr_config_id,
        mr_owner,
        mr_owner_config,
        service_tds,
        event_log,
        attributes,
        references,
        paravisors,
    } = from;
    walk.allow_list("tdx.hardware", hardware, &to.hardware);
    walk.entries("tdx.tcb_statuses", tcb_statuses, &to.tcb_statuses, Wider);
    walk.entries("tdx.advisories", advisories, &to.advisories, Wider);
    walk.ordered(
        "tdx.minimum_tcb_evaluation_data_number",
        minimum_tcb_evaluation_data_number,
        &to.minimum_tcb_evaluation_data_number,
        Narrower,
    );
    let (floor, floor_to) = (tee_tcb_svn_floor, &to.tee_tcb_svn_floor);
    if floor != floor_to {
        let mut pairs = floor.0.iter().zip(&floor_to.0);
        let direction = match (pairs.clone().all(|(a, b)| a <= b), pairs.all(|(a, b)| a >= b)) {
            (true, _) => Narrower,
            (_, true) => Wider,
            _ => Changed,
        };
        walk.push(
            "tdx.tee_tcb_svn_floor",
            floor.to_string(),
            floor_to.to_string(),
            direction,
        );
    }
    let (Hex64(allowed), Hex64(allowed_to)) = (*xfam_allowed, to.xfam_allowed);
    if allowed != allowed_to {
        let direction = match (allowed_to & !allowed, allowed & !allowed_to) {
            (0, _) => Narrower,
            (_, 0) => Wider,
            _ => Changed,
        };
        walk.push(
            "tdx.xfam_allowed",
            xfam_allowed.to_string(),
            to.xfam_allowed.to_string(),
            direction,
        );
    }
    walk.allow_list("tdx.mr_seam", mr_seam, &to.mr_seam);
    walk.allow_list("tdx.mr_config_id", mr_config_id, &to.mr_config_id);
    walk.allow_list("tdx.mr_owner", mr_owner, &to.mr_owner);
    walk.allow_list("tdx.mr_owner_config", mr_owner_config, &to.mr_owner_config);
    walk.entries("tdx.service_tds", service_tds, &to.service_tds, Wider);
    walk.switch("tdx.event_log", event_log, &to.event_log, &Presence::Required);
    bits(walk, "tdx.attributes", attributes, &to.attributes);
    walk.named("tdx.references", references, &to.references, |r| r.name.to_string());
    walk.named("tdx.paravisors", paravisors, &to.paravisors, |p| p.name.to_string());
}

fn tpm(walk: &mut Walk, from: &TpmPolicy, to: &TpmPolicy) {
    let TpmPolicy {
        hardware,
        event_log,
        references,
    } = from;
    walk.allow_list("tpm.hardware", hardware, &to.hardware);
    walk.switch("tpm.event_log", event_log, &to.event_log, &Presence::Required);
    walk.named("tpm.references", references, &to.references, |r| r.name.to_string());
}

fn gpu(walk: &mut Walk, from: &GpuPolicy, to: &GpuPolicy) {
    let GpuPolicy {
        hardware,
        architectures,
        gpus,
        switches,
        minimum_driver,
        ocsp,
        on_hold,
        fwid,
        feature_flags,
        tee_io,
    } = from;
    walk.allow_list("gpu.hardware", hardware, &to.hardware);
    walk.entries("gpu.architectures", architectures, &to.architectures, Wider);
    walk.count("gpu.gpus", *gpus, to.gpus);
    walk.count("gpu.switches", *switches, to.switches);
    walk.ordered("gpu.minimum_driver", minimum_driver, &to.minimum_driver, Narrower);
    walk.switch("gpu.ocsp", ocsp, &to.ocsp, &Presence::Required);
    walk.switch("gpu.on_hold", on_hold, &to.on_hold, &Admission::Refuse);
    walk.switch("gpu.fwid", fwid, &to.fwid, &Presence::Required);
    walk.allow_list("gpu.feature_flags", feature_flags, &to.feature_flags);
    walk.named("gpu.tee_io", tee_io, &to.tee_io, |t| t.dev_info.to_string());
}

fn release(walk: &mut Walk, from: &ReleasePolicy, to: &ReleasePolicy) {
    let ReleasePolicy {
        keys,
        log,
        max_age_s,
        minimum_version,
        name,
        threshold,
    } = from;
    if name != &to.name {
        walk.push("release.name", name.to_string(), to.name.to_string(), Changed);
    }
    if log != &to.log {
        walk.push(
            "release.log",
            log.origin.to_string(),
            format!("{}, another key", to.log.origin),
            Changed,
        );
    }
    // One key more is one more who can sign, and one less is a quorum that is harder to reach.
    walk.named("release.keys", keys, &to.keys, |k| k.name.to_string());
    walk.ordered("release.threshold", threshold, &to.threshold, Narrower);
    walk.ordered("release.max_age_s", max_age_s, &to.max_age_s, Wider);
    walk.ordered(
        "release.minimum_version",
        minimum_version,
        &to.minimum_version,
        Narrower,
    );
}

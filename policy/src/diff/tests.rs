//! Directions are true: what is only narrower never raises a tier (see also `rules/tests/monotone.rs`).

use super::*;
use crate::policy::gpu::GpuPolicy;
use crate::policy::snp::SnpPolicy;
use crate::policy::tdx::TdxPolicy;
use crate::policy::tpm::TpmPolicy;
use crate::tier::PrivacyTier;

const EXAMPLE: &str = include_str!("../../example-policy.toml");

fn example() -> AppraisalPolicy {
    AppraisalPolicy::from_toml(EXAMPLE.as_bytes()).unwrap()
}

fn changed(from: &str, to: &str) -> Vec<(String, String, String, &'static str)> {
    let text = EXAMPLE.replacen(from, to, 1);
    assert_ne!(text, EXAMPLE, "{from}");
    let other = AppraisalPolicy::from_toml(text.as_bytes()).unwrap();
    diff(&example(), &other)
        .into_iter()
        .map(|d| (d.path, d.from, d.to, d.direction.as_str()))
        .collect()
}

#[test]
fn equal_policies_do_not_differ() {
    assert_eq!(diff(&example(), &example()), []);
}

#[test]
fn each_key_has_its_direction_and_the_reverse_is_the_opposite() {
    let chip = "ab".repeat(64);
    let chips = format!("hardware = [\"{chip}\"]");
    for (from, to, path, values, direction) in [
        (
            "minimum_tier = 2",
            "minimum_tier = 3",
            "minimum_tier",
            ("2", "3"),
            "narrower",
        ),
        (
            "max_age_s = 3600",
            "max_age_s = 600",
            "max_age_s",
            ("3600", "600"),
            "narrower",
        ),
        (
            "revocation = \"required\"",
            "revocation = \"accept-missing\"",
            "revocation",
            ("required", "accept-missing"),
            "wider",
        ),
        (
            "hardware = \"any\"",
            &chips,
            "snp.hardware",
            ("any", "1 listed"),
            "narrower",
        ),
        (
            "milan = \"refuse\"",
            "milan = \"accept\"",
            "snp.milan",
            ("refuse", "accept"),
            "wider",
        ),
        ("vmpl = [0]", "vmpl = [0, 1]", "snp.vmpl", ("absent", "1"), "wider"),
        (
            "mitigations = []",
            "mitigations = [3]",
            "snp.mitigations",
            ("absent", "3"),
            "narrower",
        ),
        (
            "minor = 55, build = 0",
            "minor = 55, build = 1",
            "snp.minimum_firmware",
            (
                "{ build = 0, major = 1, minor = 55 }",
                "{ build = 1, major = 1, minor = 55 }",
            ),
            "narrower",
        ),
        (
            "microcode = 72",
            "microcode = 71",
            "snp.tcb_floor.genoa.microcode",
            ("72", "71"),
            "wider",
        ),
        (
            "[\"cxl-allowed\"]",
            "[]",
            "snp.guest_policy.forbidden",
            ("cxl-allowed", "absent"),
            "wider",
        ),
        (
            "[\"UpToDate\", \"SWHardeningNeeded\"]",
            "[\"UpToDate\"]",
            "tdx.tcb_statuses",
            ("SWHardeningNeeded", "absent"),
            "narrower",
        ),
        (
            "\"000000000006dbe7\"",
            "\"00000000000000e7\"",
            "tdx.xfam_allowed",
            ("000000000006dbe7", "00000000000000e7"),
            "narrower",
        ),
        (
            "\"000000000006dbe7\"",
            "\"0000000000001003\"",
            "tdx.xfam_allowed",
            ("000000000006dbe7", "0000000000001003"),
            "narrower",
        ),
        (
            "\"000000000006dbe7\"",
            "\"0000000000100003\"",
            "tdx.xfam_allowed",
            ("000000000006dbe7", "0000000000100003"),
            "changed",
        ),
        (
            "\"05010200",
            "\"05010300",
            "tdx.tee_tcb_svn_floor",
            ("05010200000000000000000000000000", "05010300000000000000000000000000"),
            "narrower",
        ),
        (
            "\"05010200",
            "\"04010300",
            "tdx.tee_tcb_svn_floor",
            ("05010200000000000000000000000000", "04010300000000000000000000000000"),
            "changed",
        ),
        ("gpus = 8", "gpus = \"any\"", "gpu.gpus", ("8", "any"), "wider"),
        ("gpus = 8", "gpus = 4", "gpu.gpus", ("8", "4"), "changed"),
        (
            "\"570.86.15\"",
            "\"570.133.20\"",
            "gpu.minimum_driver",
            ("570.86.15", "570.133.20"),
            "narrower",
        ),
    ] {
        let expected = vec![(path.to_owned(), values.0.to_owned(), values.1.to_owned(), direction)];
        assert_eq!(changed(from, to), expected);
        let other = AppraisalPolicy::from_toml(EXAMPLE.replacen(from, to, 1).as_bytes()).unwrap();
        let back = diff(&other, &example());
        let (forth, back) = (expected[0].3, back[0].direction);
        assert_eq!(back.opposite().as_str(), forth, "{path}");
    }
}

#[test]
fn references_are_told_apart_by_name() {
    let renamed = changed("name = \"appliance-0.1.0\"", "name = \"appliance-0.2.0\"");
    let (paths, directions): (Vec<_>, Vec<_>) = renamed.iter().map(|d| (d.0.as_str(), d.3)).unzip();
    assert_eq!(
        paths,
        ["snp.references.appliance-0.1.0", "snp.references.appliance-0.2.0"]
    );
    assert_eq!(directions, ["narrower", "wider"]);
    let other_value = changed("measurement = \"3d87", "measurement = \"4d87");
    assert_eq!((other_value.len(), other_value[0].3), (1, "changed"));
    let other_pcr = changed("11 = \"cb", "12 = \"cb");
    assert_eq!(
        (other_pcr[0].0.as_str(), other_pcr[0].3),
        ("tpm.references.appliance-0.1.0", "changed")
    );
}

#[test]
fn a_table_that_is_gone_is_narrower_and_a_new_one_wider() {
    let closed = AppraisalPolicy::closed(PrivacyTier::CpuTee);
    let open = closed
        .clone()
        .with_snp(SnpPolicy::closed())
        .with_tdx(TdxPolicy::closed())
        .with_tpm(TpmPolicy::closed())
        .with_gpu(GpuPolicy::closed());
    let wider = diff(&closed, &open);
    assert_eq!(
        wider.iter().map(|d| d.path.as_str()).collect::<Vec<_>>(),
        ["snp", "tdx", "tpm", "gpu"]
    );
    assert!(wider.iter().all(|d| d.direction == Direction::Wider));
    assert!(diff(&open, &closed).iter().all(|d| d.direction == Direction::Narrower));
}

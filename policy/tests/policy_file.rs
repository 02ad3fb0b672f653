//! The policy file: the example of SPEC.md is read, and each nearest twin is refused by name.

use hanzo_policy::{AllowList, AppraisalPolicy, Count, POLICY_BYTES_MAX, PolicyError, PrivacyTier};

const EXAMPLE: &str = include_str!("../example-policy.toml");

fn error(text: &str) -> PolicyError {
    AppraisalPolicy::from_toml(text.as_bytes()).unwrap_err()
}

#[test]
fn the_example_is_read_and_both_forms_say_the_same() {
    let policy = AppraisalPolicy::from_toml(EXAMPLE.as_bytes()).unwrap();
    assert_eq!(policy.minimum_tier, PrivacyTier::CpuTee);
    let (snp, gpu) = (policy.snp.as_ref().unwrap(), policy.gpu.as_ref().unwrap());
    assert_eq!(snp.hardware, AllowList::Any);
    assert_eq!(snp.tcb_floor.milan, None);
    assert_eq!(gpu.gpus, Count::Exactly(8));
    let again = AppraisalPolicy::from_toml(policy.to_toml().unwrap().as_bytes()).unwrap();
    assert_eq!(again, policy);
    let jcs = policy.canonical().unwrap();
    assert_eq!(AppraisalPolicy::from_jcs(&jcs).unwrap(), policy);
    assert_eq!(again.digest().unwrap(), policy.digest().unwrap());
}

#[test]
fn the_specification_shows_this_very_example_and_its_digest() {
    let spec = include_str!("../SPEC.md");
    let policy = AppraisalPolicy::from_toml(EXAMPLE.as_bytes()).unwrap();
    let canonical = String::from_utf8(policy.canonical().unwrap()).unwrap();
    let digest = policy.digest().unwrap().to_string();
    assert!(spec.contains(EXAMPLE.trim_end()), "SPEC.md: copy example-policy.toml");
    assert!(spec.contains(&canonical), "SPEC.md: the canonical form is\n{canonical}");
    assert!(spec.contains(&digest), "SPEC.md: the digest is {digest}");
}

#[test]
fn no_key_has_a_default() {
    // Whatever line is left out, the file is refused; only whole tables may be absent.
    let mut left_out = 0;
    for line in EXAMPLE.lines().filter(|l| l.contains(" = ") && !l.starts_with('#')) {
        let without = EXAMPLE.replacen(&format!("{line}\n"), "", 1);
        let Err(e) = AppraisalPolicy::from_toml(without.as_bytes()) else {
            assert!(line.starts_with("4 = ") || line.starts_with("11 = "), "{line}");
            continue;
        };
        let key = line.split(" = ").next().unwrap();
        assert_eq!(e.code(), "policy.malformed", "{key}");
        assert!(e.to_string().contains(&format!("missing field `{key}`")), "{key}: {e}");
        left_out += 1;
    }
    assert!(left_out > 60, "{left_out}");
}

#[test]
fn tables_may_be_absent_and_lists_may_not() {
    let head = EXAMPLE.split("# AMD SEV-SNP").next().unwrap();
    let policy = AppraisalPolicy::from_toml(head.as_bytes()).unwrap();
    assert_eq!(policy, AppraisalPolicy::closed(PrivacyTier::CpuTee));
    let snp_alone = EXAMPLE.split("# Intel TDX").next().unwrap();
    assert!(AppraisalPolicy::from_toml(snp_alone.as_bytes()).unwrap().tdx.is_none());
    let no_references = snp_alone.split("# Images").next().unwrap();
    assert!(error(no_references).to_string().contains("missing field `references`"));
    let no_floor = snp_alone.split("# Lowest").next().unwrap();
    assert!(error(no_floor).to_string().contains("missing field `tcb_floor`"));
}

#[test]
fn version_1_is_refused_as_such() {
    let e = error("version = 1\nminimum_tier = 2\nhardware = \"any\"\n");
    assert_eq!(e, PolicyError::Version { got: 1 });
    assert_eq!(e.code(), "policy.version");
    assert!(e.help().contains("[snp]"));
}

#[test]
fn nearest_twins_are_refused_by_name() {
    let value = "policy.value";
    let malformed = "policy.malformed";
    for (from, to, code, word) in [
        (
            "version = 2",
            "version = 3",
            "policy.version",
            "version: expected 2, or 3 with a table [release], got 3",
        ),
        ("max_age_s = 3600", "max_age_s = 0", value, "max_age_s"),
        ("max_age_s = 3600", "max_age_s = 86401", value, "max_age_s"),
        ("minimum_tier = 2", "minimum_tier = 5", malformed, "expected 0 to 4"),
        ("revocation = \"required\"", "revocation = \"off\"", malformed, "off"),
        ("[snp]\n", "[snp]\nskip_tcb = true\n", malformed, "skip_tcb"),
        ("vmpl = [0]", "vmpl = [4]", value, "vmpl"),
        ("vmpl = [0]", "vmpl = [1, 0]", value, "vmpl"),
        ("vmpl = [0]", "vmpl = [0, 0]", value, "vmpl"),
        ("vmpl = [0]", "vmpl = [0]\nvmpl = [0]", malformed, "duplicate"),
        ("mitigations = []", "mitigations = [64]", value, "snp.mitigations"),
        ("mitigations = []", "mitigations = [3, 1]", value, "snp.mitigations"),
        ("milan = \"refuse\"", "milan = \"maybe\"", malformed, "maybe"),
        (
            "hardware = \"any\"",
            "hardware = \"all\"",
            malformed,
            "\"any\" or a list",
        ),
        (
            "hardware = \"any\"",
            "hardware = [\"00\"]",
            malformed,
            "128 lower-case hex",
        ),
        ("hardware = \"any\"", "hardware = true", malformed, "any"),
        (
            "vlek_providers = []",
            "vlek_providers = [\"\"]",
            value,
            "snp.vlek_providers",
        ),
        (
            "vlek_providers = []",
            "vlek_providers = [\"a\", \"a\"]",
            value,
            "each once",
        ),
        (
            "provisional_firmware = \"refuse\"",
            "provisional_firmware = false",
            malformed,
            "string",
        ),
        ("[\"cxl-allowed\"]", "[\"debug\"]", malformed, "debug"),
        ("[\"cxl-allowed\"]", "[\"smt\", \"smt\"]", value, "snp.guest_policy"),
        (
            "required = [\"alias-check\"], forbidden = []",
            "required = [\"ecc\"], forbidden = [\"ecc\"]",
            value,
            "snp.platform_info",
        ),
        ("[snp.tcb_floor.genoa]", "[snp.tcb_floor.rome]", malformed, "rome"),
        ("bootloader = 9", "bootloader = 256", malformed, "256"),
        ("bootloader = 9", "fmc = 1\nbootloader = 9", malformed, "fmc"),
        ("measurement = \"3d", "measurement = \"3D", malformed, "lower-case hex"),
        (
            "name = \"appliance-0.1.0\"",
            "name = \"Appliance\"",
            malformed,
            "upper case",
        ),
        ("\"SWHardeningNeeded\"]", "\"Revoked\"]", malformed, "Revoked"),
        ("\"SWHardeningNeeded\"]", "\"UpToDate\"]", value, "tdx.tcb_statuses"),
        ("INTEL-SA-00837", "CVE-2026-1", value, "tdx.advisories"),
        ("\"05010200", "\"0501020", malformed, "32 lower-case hex"),
        ("\"000000000006dbe7\"", "\"0x6dbe7\"", malformed, "16 lower-case hex"),
        ("[\"sept-ve-disable\"]", "[\"migratable\"]", malformed, "migratable"),
        ("4 = \"c4", "24 = \"c4", value, "tpm.references.pcrs"),
        ("4 = \"c4", "16 = \"c4", value, "tpm.references.pcrs"),
        ("4 = \"c4", "23 = \"c4", value, "tpm.references.pcrs"),
        ("4 = \"c4", "04 = \"c4", malformed, "decimal"),
        ("4 = \"c4", "11 = \"c4", malformed, "duplicate"),
        ("\"ls10\"]", "\"ampere\"]", malformed, "ampere"),
        ("gpus = 8", "gpus = 33", value, "gpu.gpus"),
        ("gpus = 8", "gpus = \"all\"", malformed, "any"),
        ("gpus = 8", "gpus = -1", malformed, "-1"),
        ("switches = 4", "switches = 300", malformed, "300"),
        ("\"570.86.15\"", "\"570.86.x\"", malformed, "version"),
        (
            "tee_io = []",
            "tee_io = [{ dev_info = \"00\", ueids = [] }]",
            malformed,
            "hex",
        ),
    ] {
        let changed = EXAMPLE.replacen(from, to, 1);
        assert_ne!(changed, EXAMPLE, "{from}");
        let e = error(&changed);
        assert_eq!(e.code(), code, "{to}: {e}");
        assert!(e.to_string().contains(word), "{to}: {e}");
    }
}

#[test]
fn a_dev_info_names_its_gpus_each_once_and_is_never_zero() {
    let with = |dev_info: &str, ueids: &str| {
        let entry = format!(
            "tee_io = [{{ dev_info = \"{}\", ueids = {ueids} }}]",
            dev_info.repeat(48)
        );
        AppraisalPolicy::from_toml(EXAMPLE.replacen("tee_io = []", &entry, 1).as_bytes())
    };
    assert!(with("d1", "[\"a1\"]").is_ok());
    for (dev_info, ueids) in [("00", "[\"a1\"]"), ("d1", "[]"), ("d1", "[\"a1\", \"a1\"]")] {
        let e = with(dev_info, ueids).unwrap_err();
        assert!(e.to_string().contains("gpu.tee_io"), "{e}");
    }
}

#[test]
fn repeated_references_and_chips_are_refused() {
    for (table, end) in [
        ("[[snp.references]]", "# Intel TDX"),
        ("[[tdx.references]]", "# TPM 2.0"),
        ("[[tpm.references]]", "# NVIDIA"),
    ] {
        let entry = EXAMPLE.split(table).nth(1).unwrap().split(end).next().unwrap();
        let twice = EXAMPLE.replacen(table, &format!("{table}{entry}{table}"), 1);
        assert!(error(&twice).to_string().contains("each name once"), "{table}");
        let renamed = entry.replacen("appliance-0.1.0", "another", 1);
        let twice = EXAMPLE.replacen(table, &format!("{table}{renamed}{table}"), 1);
        assert!(error(&twice).to_string().contains("each combination"), "{table}");
    }
    let chip = "ab".repeat(64);
    let chips = EXAMPLE.replacen("\"any\"", &format!("[\"{chip}\", \"{chip}\"]"), 1);
    assert!(error(&chips).to_string().contains("snp.hardware"));
    let one = EXAMPLE.replacen("\"any\"", &format!("[\"{chip}\"]"), 1);
    assert!(matches!(
        AppraisalPolicy::from_toml(one.as_bytes()).unwrap().snp.unwrap().hardware,
        AllowList::Listed(ids) if ids.len() == 1
    ));
}

#[test]
fn size_encoding_and_place_are_named() {
    let large = vec![b'#'; POLICY_BYTES_MAX + 1];
    assert_eq!(
        AppraisalPolicy::from_toml(&large),
        Err(PolicyError::TooLarge {
            got: POLICY_BYTES_MAX + 1
        })
    );
    let e = AppraisalPolicy::from_toml(b"version = 2\n\xff").unwrap_err();
    assert_eq!(e.to_string(), "policy: line 2: not UTF-8");
    let e = error(&EXAMPLE.replacen("max_age_s = 3600", "max_age_s = \"an hour\"", 1));
    assert!(e.to_string().starts_with("policy: line 4: "), "{e}");
    assert!(!e.help().is_empty());
}

#[test]
fn embedded_json_is_checked_like_the_file() {
    let policy = AppraisalPolicy::from_toml(EXAMPLE.as_bytes()).unwrap();
    let jcs = String::from_utf8(policy.canonical().unwrap()).unwrap();
    let changed = jcs.replace("\"max_age_s\":3600", "\"max_age_s\":0");
    let e = AppraisalPolicy::from_jcs(changed.as_bytes()).unwrap_err();
    assert!(e.to_string().contains("max_age_s: expected 1 to 86400, got 0"), "{e}");
}

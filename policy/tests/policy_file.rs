//! The policy file: the example of SPEC.md is read, and each nearest twin is refused by name.

use hanzo_policy::{AppraisalPolicy, HardwareList, POLICY_BYTES_MAX, PolicyError, PrivacyTier};

const EXAMPLE: &str = include_str!("../example-policy.toml");

fn error(text: &str) -> PolicyError {
    AppraisalPolicy::from_toml(text.as_bytes()).unwrap_err()
}

#[test]
fn the_example_is_read_and_both_forms_say_the_same() {
    let policy = AppraisalPolicy::from_toml(EXAMPLE.as_bytes()).unwrap();
    assert_eq!(policy.minimum_tier, PrivacyTier::CpuTee);
    assert_eq!(policy.hardware, HardwareList::Any);
    assert_eq!(policy.tcb_floor.milan, None);
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
    for key in [
        "version",
        "minimum_tier",
        "max_age_s",
        "revocation",
        "hardware",
        "milan",
        "vmpl",
        "name",
        "measurement",
        "config_digest",
        "bootloader",
        "tee",
        "snp",
        "microcode",
        "fmc",
    ] {
        let line = EXAMPLE.lines().find(|l| l.starts_with(&format!("{key} = "))).unwrap();
        let without = EXAMPLE.replacen(&format!("{line}\n"), "", 1);
        let e = error(&without);
        assert_eq!(e.code(), "policy.malformed", "{key}");
        assert!(e.to_string().contains(&format!("missing field `{key}`")), "{key}: {e}");
    }
    let head = EXAMPLE.split("# Lowest").next().unwrap();
    assert!(error(head).to_string().contains("missing field `tcb_floor`"));
    let no_references = EXAMPLE.split("# Images").next().unwrap();
    assert!(error(no_references).to_string().contains("missing field `references`"));
}

#[test]
fn nearest_twins_are_refused_by_name() {
    for (from, to, code, word) in [
        (
            "version = 1",
            "version = 2",
            "policy.value",
            "version: expected 1, got 2",
        ),
        ("max_age_s = 3600", "max_age_s = 0", "policy.value", "max_age_s"),
        ("max_age_s = 3600", "max_age_s = 86401", "policy.value", "max_age_s"),
        ("vmpl = [0]", "vmpl = [4]", "policy.value", "vmpl"),
        ("vmpl = [0]", "vmpl = [1, 0]", "policy.value", "vmpl"),
        ("vmpl = [0]", "vmpl = [0, 0]", "policy.value", "vmpl"),
        (
            "minimum_tier = 2",
            "minimum_tier = 5",
            "policy.malformed",
            "expected 0 to 4",
        ),
        ("milan = \"refuse\"", "milan = \"maybe\"", "policy.malformed", "maybe"),
        (
            "revocation = \"required\"",
            "revocation = \"off\"",
            "policy.malformed",
            "off",
        ),
        (
            "hardware = \"any\"",
            "hardware = \"all\"",
            "policy.malformed",
            "hardware",
        ),
        (
            "hardware = \"any\"",
            "hardware = [\"00\"]",
            "policy.malformed",
            "128 lower-case hex",
        ),
        ("hardware = \"any\"", "hardware = true", "policy.malformed", "any"),
        (
            "milan = \"refuse\"",
            "milan = \"refuse\"\nskip_tcb = true",
            "policy.malformed",
            "skip_tcb",
        ),
        ("vmpl = [0]", "vmpl = [0]\nvmpl = [0]", "policy.malformed", "duplicate"),
        ("[tcb_floor.genoa]", "[tcb_floor.rome]", "policy.malformed", "rome"),
        ("bootloader = 9", "bootloader = 256", "policy.malformed", "256"),
        ("bootloader = 9", "fmc = 1\nbootloader = 9", "policy.malformed", "fmc"),
        (
            "measurement = \"3d",
            "measurement = \"3D",
            "policy.malformed",
            "lower-case hex",
        ),
        (
            "name = \"appliance-0.1.0\"",
            "name = \"Appliance\"",
            "policy.malformed",
            "upper case",
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
fn repeated_references_and_chips_are_refused() {
    let table = EXAMPLE.split("[[references]]").nth(1).unwrap();
    let twice = format!("{EXAMPLE}\n[[references]]{table}");
    assert!(error(&twice).to_string().contains("each name once"));
    let renamed = twice.replacen("appliance-0.1.0", "another", 1);
    assert!(error(&renamed).to_string().contains("each pair"));
    let chip = "ab".repeat(64);
    let chips = EXAMPLE.replacen("\"any\"", &format!("[\"{chip}\", \"{chip}\"]"), 1);
    assert!(error(&chips).to_string().contains("hardware"));
    let one = EXAMPLE.replacen("\"any\"", &format!("[\"{chip}\"]"), 1);
    assert!(matches!(
        AppraisalPolicy::from_toml(one.as_bytes()).unwrap().hardware,
        HardwareList::Listed(ids) if ids.len() == 1
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
    let e = AppraisalPolicy::from_toml(b"version = 1\n\xff").unwrap_err();
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

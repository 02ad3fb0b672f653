//! Release policies: every member's good values, each beside the nearest that is refused, and what may follow what.

#[path = "support/world.rs"]
mod world;

use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::{Digest256, Digest384};
use hanzo_policy::{AllowList, Direction, PrivacyTier, RevocationPolicy, SnpReference};
use hanzo_vault::{KeyPolicy, Wrap};
use world::policy;

fn checked(change: impl FnOnce(&mut KeyPolicy)) -> Result<(), (&'static str, String)> {
    let mut policy = policy();
    change(&mut policy);
    policy.check().map_err(|e| (e.code(), e.to_string()))
}

#[track_caller]
fn refused(code: &str, says: &str, change: impl FnOnce(&mut KeyPolicy)) {
    let (got, text) = checked(change).unwrap_err();
    assert_eq!(got, code, "{text}");
    assert!(text.contains(says), "{text}");
}

#[test]
fn each_value_has_a_range_and_says_so() {
    const WIDE: u64 = (1 << 53) - 1;
    let value = "key_policy.value";
    checked(|p| p.grant_lifetime_s = 300).unwrap();
    refused(value, "grant_lifetime_s: expected 1 to 300, got 301", |p| {
        p.grant_lifetime_s = 301
    });
    refused(value, "grant_lifetime_s: expected 1 to 300, got 0", |p| {
        p.grant_lifetime_s = 0
    });
    checked(|p| p.max_uses = WIDE).unwrap();
    refused(value, "max_uses: expected", |p| p.max_uses = WIDE + 1);
    refused(value, "max_uses: expected", |p| p.max_uses = 0);
    checked(|p| p.not_before = p.not_after).unwrap();
    refused(value, "not_before: expected 0 to not_after", |p| {
        p.not_before = p.not_after + 1
    });
    refused(value, "not_after: expected", |p| (p.not_after, p.not_before) = (0, 0));
    checked(|p| p.minimum_image_version = WIDE).unwrap();
    refused(value, "minimum_image_version: expected", |p| {
        p.minimum_image_version = WIDE + 1
    });
    checked(|p| p.wrap = vec![Wrap::Akp, Wrap::Classical, Wrap::Hpke]).unwrap();
    refused(value, "wrap: expected one or more", |p| p.wrap.clear());
    refused(value, "got [\"hpke\", \"akp\"]", |p| {
        p.wrap = vec![Wrap::Hpke, Wrap::Akp]
    });
    refused(value, "got [\"hpke\", \"hpke\"]", |p| {
        p.wrap = vec![Wrap::Hpke, Wrap::Hpke]
    });
    checked(|p| p.rego = Some("package policy\nallow := true".into())).unwrap();
    refused("rego.package", "expected `policy`", |p| {
        p.rego = Some("package x\nallow := true".into())
    });
    refused("policy.value", "max_age_s", |p| p.appraisal.max_age_s = 0);
}

#[test]
fn image_versions_name_references_and_one_measurement_has_one_version() {
    let name = |text| Name::new(text).unwrap();
    checked(|p| {
        p.image_versions.insert(name("test-image"), 1);
    })
    .unwrap();
    let value = "key_policy.value";
    refused(value, "names of appraisal's references, got test-imag", |p| {
        p.image_versions.insert(name("test-imag"), 1);
    });
    refused(value, "versions 1 to 2^53 - 1, got 0 for test-image", |p| {
        p.image_versions.insert(name("test-image"), 0);
    });
    // The same measurement with another configuration, which no session shows.
    let twin = |p: &mut KeyPolicy, version: Option<u64>| {
        let table = p.appraisal.snp.as_mut().unwrap();
        let first = table.references[0].clone();
        table.references.push(SnpReference {
            name: name("twin"),
            config_digest: Digest256([1; 32]),
            ..first
        });
        p.image_versions.insert(name("test-image"), 1);
        if let Some(version) = version {
            p.image_versions.insert(name("twin"), version);
        }
    };
    checked(|p| twin(p, Some(1))).unwrap();
    refused(value, "one version for one measurement", |p| twin(p, Some(2)));
    refused(value, "one version for one measurement", |p| twin(p, None));
}

#[test]
fn nothing_is_implied_and_an_old_document_is_told_what_to_add() {
    let text = String::from_utf8(policy().canonical().unwrap()).unwrap();
    assert_eq!(KeyPolicy::parse(text.as_bytes()).unwrap(), policy());
    let without = |member: &str| {
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value.as_object_mut().unwrap().remove(member).unwrap();
        KeyPolicy::parse(value.to_string().as_bytes()).unwrap_err()
    };
    for member in [
        "image_versions",
        "minimum_image_version",
        "not_before",
        "rego",
        "tenant",
        "wrap",
    ] {
        let e = without(member);
        assert_eq!(e.code(), "key_policy.missing", "{member}");
        assert!(e.to_string().contains(&format!("add \"{member}\": ")), "{e}");
    }
    for member in [
        "allow_simulated",
        "appraisal",
        "grant_lifetime_s",
        "max_uses",
        "not_after",
    ] {
        assert_eq!(without(member).code(), "key_policy.malformed", "{member}");
    }
    // The hardware allow-list as well: `any` is written out or the list is empty, and then nobody gets the key.
    assert!(text.contains("\"hardware\":\"any\""));
    let bare = text.replace("\"hardware\":\"any\",", "");
    assert_eq!(
        KeyPolicy::parse(bare.as_bytes()).unwrap_err().code(),
        "key_policy.malformed"
    );
    for (from, to) in [
        ("\"wrap\":[\"hpke\"]", "\"wrap\":[\"rsa\"]"),
        ("\"tenant\":\"hanzo\"", "\"tenant\":\"Hanzo\""),
        ("\"max_uses\":10", "\"max_uses\":\"10\""),
        ("\"rego\":null", "\"rego\":7"),
        ("{\"allow_simulated\"", "{\"a\":1,\"allow_simulated\""),
        ("{\"allow_simulated\"", "{ \"allow_simulated\""),
    ] {
        assert!(text.contains(from), "{from}");
        let e = KeyPolicy::parse(text.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert_eq!(e.code(), "key_policy.malformed", "{to}: {e}");
    }
}

#[test]
fn a_policy_is_for_keys_of_its_tenant() {
    let of = |text| policy().check_for(&KeyId::new(text).unwrap()).map_err(|e| e.code());
    assert_eq!(of("hanzo/dek/m"), Ok(()));
    assert_eq!(of("hanzo2/dek/m"), Err("key_policy.tenant"));
    assert_eq!(of("dek/hanzo/m"), Err("key_policy.tenant"));
}

#[test]
fn some_values_never_change_and_one_only_goes_up() {
    let follows = |change: fn(&mut KeyPolicy)| {
        let (mut from, mut to) = (policy(), policy());
        from.minimum_image_version = 3;
        to.minimum_image_version = 3;
        change(&mut to);
        to.may_follow(&from).map_err(|e| e.code())
    };
    assert_eq!(follows(|_| {}), Ok(()));
    assert_eq!(follows(|p| p.minimum_image_version = 4), Ok(()));
    assert_eq!(
        follows(|p| p.minimum_image_version = 2),
        Err("key_policy.minimum_image_version")
    );
    assert_eq!(
        follows(|p| p.allow_simulated = false),
        Err("key_policy.allow_simulated")
    );
    assert_eq!(follows(|p| p.tenant = Name::new("x").unwrap()), Err("key_policy.fixed"));
}

/// How one change counts: both ways.
#[track_caller]
fn direction(path: &str, there: Direction, back: Direction, change: impl Fn(&mut KeyPolicy)) {
    let (from, mut to) = (policy(), policy());
    change(&mut to);
    for (from, to, expected) in [(&from, &to, there), (&to, &from, back)] {
        let found = to.changes_from(from);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].path.starts_with(path), "{found:?}");
        assert_eq!(found[0].direction, expected, "{found:?}");
        assert_eq!(to.only_narrows(from), expected == Direction::Narrower);
    }
}

#[test]
fn what_widens_is_told_from_what_narrows() {
    use Direction::{Changed, Narrower, Wider};
    assert!(policy().changes_from(&policy()).is_empty() && policy().only_narrows(&policy()));
    direction("max_uses", Wider, Narrower, |p| p.max_uses += 1);
    direction("not_after", Wider, Narrower, |p| p.not_after += 1);
    direction("not_before", Narrower, Wider, |p| p.not_before = 5);
    direction("grant_lifetime_s", Wider, Narrower, |p| p.grant_lifetime_s += 1);
    direction("minimum_image_version", Narrower, Wider, |p| {
        p.minimum_image_version = 2
    });
    direction("wrap", Wider, Narrower, |p| p.wrap = vec![Wrap::Classical, Wrap::Hpke]);
    direction("rego", Narrower, Wider, |p| {
        p.rego = Some("package policy\nallow := true".into())
    });
    direction("subject", Changed, Changed, |p| p.subject = Name::new("other").unwrap());
    direction("appraisal.minimum_tier", Narrower, Wider, |p| {
        p.appraisal.minimum_tier = PrivacyTier::GpuCc;
    });
    direction("appraisal.revocation", Narrower, Wider, |p| {
        p.appraisal.revocation = RevocationPolicy::Required;
    });
    direction("appraisal.snp.hardware", Narrower, Wider, |p| {
        p.appraisal.snp.as_mut().unwrap().hardware = AllowList::none();
    });
    direction("appraisal.snp.references", Wider, Narrower, |p| {
        p.appraisal.snp.as_mut().unwrap().references.push(SnpReference {
            name: Name::new("next").unwrap(),
            measurement: Digest384([1; 48]),
            config_digest: Digest256([1; 32]),
        });
    });
    // A version that an image did not have lets it pass floors; taken away alone, it raises no floor any more.
    direction("image_versions", Wider, Changed, |p| {
        p.image_versions.insert(Name::new("test-image").unwrap(), 2);
    });
    let (mut one, mut other) = (policy(), policy());
    one.rego = Some("package policy\nallow := true".into());
    other.rego = Some("package policy\nallow := false".into());
    assert_eq!(
        other.changes_from(&one)[0].direction,
        Changed,
        "which text narrows is not decided here"
    );
}

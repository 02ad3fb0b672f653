//! The rules of a release, each with the ask that passes and its nearest twin that does not.

#[path = "support/world.rs"]
mod world;

use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest384, UnixTime};
use hanzo_pqc::sign::SigningKeys;
use hanzo_pqc::{Dek, SignatureSuite};
use hanzo_vault::{Recipient, Uses, Wrap, release, release_jwe};
use world::{NOW, UNUSED, asked, asked_with_a_verdict_of, code, hpke, policy, versioned};

#[test]
fn keys_have_a_first_and_a_last_second() {
    let mut p = policy();
    (p.not_before, p.not_after) = (NOW.0, NOW.0);
    assert_eq!(code(&p, UNUSED), Ok(None));
    (p.not_before, p.not_after) = (NOW.0 + 1, NOW.0 + 1);
    assert_eq!(code(&p, UNUSED), Err("kbs.key.not_yet"));
    (p.not_before, p.not_after) = (0, NOW.0 - 1);
    assert_eq!(code(&p, UNUSED), Err("kbs.key.expired"));
}

/// The caller answers for the roots of a verdict that it hands over; of another second it is not taken at all.
#[test]
fn a_verdict_counts_in_its_own_second_alone() {
    assert!(asked_with_a_verdict_of(NOW).is_ok());
    for other in [NOW.0 - 1, NOW.0 + 1] {
        let refused = asked_with_a_verdict_of(UnixTime(other)).unwrap_err();
        assert_eq!(refused.code(), "snp.chain.root");
    }
}

#[test]
fn an_older_image_gets_no_key() {
    let uses = |newest_image| Uses { newest_image, ..UNUSED };
    // The policy's floor.
    let mut p = versioned(5);
    p.minimum_image_version = 5;
    assert_eq!(code(&p, UNUSED), Ok(Some(5)));
    p.minimum_image_version = 6;
    assert_eq!(code(&p, UNUSED), Err("kbs.image.too_old"));
    // What got the key before.
    p.minimum_image_version = 0;
    assert_eq!(code(&p, uses(Some(5))), Ok(Some(5)));
    assert_eq!(code(&p, uses(Some(6))), Err("kbs.image.rolled_back"));
    // No version at all: fine as long as nobody asks for one.
    let mut bare = policy();
    assert_eq!(code(&bare, UNUSED), Ok(None));
    assert_eq!(code(&bare, uses(Some(1))), Err("kbs.image.unversioned"));
    bare.minimum_image_version = 1;
    assert_eq!(code(&bare, UNUSED), Err("kbs.image.unversioned"));
}

#[test]
fn a_secret_travels_only_as_its_policy_names() {
    let jwe = Digest384([5; 48]);
    let ways: [(Wrap, fn(Digest384) -> Recipient<'static>); 2] =
        [(Wrap::Akp, Recipient::Akp), (Wrap::Classical, Recipient::Classical)];
    for (wrap, recipient) in ways {
        let to = |p: &hanzo_vault::KeyPolicy| asked(p, UNUSED, |_| recipient(jwe)).map_err(|e| e.code());
        assert_eq!(to(&policy()).unwrap_err(), "kbs.wrap.not_allowed");
        let mut other = policy();
        other.wrap = [Wrap::Akp, Wrap::Classical, Wrap::Hpke]
            .into_iter()
            .filter(|w| *w != wrap)
            .collect();
        assert_eq!(
            to(&other).unwrap_err(),
            "kbs.wrap.not_allowed",
            "never implied by another"
        );
        let mut named = policy();
        named.wrap = vec![wrap];
        let decision = to(&named).unwrap();
        assert_eq!((decision.wrap(), decision.grant().recipient), (wrap, jwe));
        assert_eq!(
            code(&named, UNUSED),
            Err("kbs.wrap.not_allowed"),
            "HPKE is not implied either"
        );
        // A decision for one way is good for no other.
        let signer = SigningKeys::generate(SignatureSuite::MlDsa65Ed25519).unwrap();
        let dek = Dek::from_slice(&[1; 32]).unwrap();
        assert_eq!(release(decision, &dek, &signer).unwrap_err().code(), "kbs.internal");
        assert_eq!(release_jwe(to(&named).unwrap()).unwrap().tier, 2);
    }
    let decision = asked(&policy(), UNUSED, hpke).unwrap();
    assert_eq!(release_jwe(decision).unwrap_err().code(), "kbs.internal");
}

#[test]
fn uses_recipients_and_simulation_as_before() {
    let uses = |count, includes_recipient| Uses {
        count,
        includes_recipient,
        newest_image: None,
    };
    assert_eq!(code(&policy(), uses(9, false)), Ok(None));
    assert_eq!(code(&policy(), uses(10, false)), Err("kbs.key.used_up"));
    assert_eq!(code(&policy(), uses(0, true)), Err("kbs.grant.repeated"));
    let mut real = policy();
    real.allow_simulated = false;
    assert_eq!(code(&real, UNUSED), Err("kbs.simulated"));
    let mut other = policy();
    other.tenant = Name::new("hanzo2").unwrap();
    assert_eq!(code(&other, UNUSED), Err("kbs.key.tenant"));
}

/// The broker takes no policy with more; a stored one gets no more either.
#[test]
fn the_tiers_bound_on_releases_holds_whatever_the_policy_says() {
    let uses = |count| Uses { count, ..UNUSED };
    let mut wide = policy();
    wide.max_uses = 5000;
    assert!(code(&wide, uses(999)).is_ok());
    assert_eq!(code(&wide, uses(1000)), Err("kbs.key.used_up"));
}

#[test]
fn rego_narrows_and_never_widens() {
    let with = |text: &str, change: fn(&mut hanzo_vault::KeyPolicy)| {
        let mut p = policy();
        p.rego = Some(format!("package policy\nimport rego.v1\n{text}"));
        change(&mut p);
        code(&p, UNUSED)
    };
    let same = |_: &mut hanzo_vault::KeyPolicy| {};
    assert_eq!(with("allow := true", same), Ok(None));
    assert_eq!(with("allow := false", same), Err("rego.denied"));
    assert_eq!(with("allow if input.nothing", same), Err("rego.undefined"));
    assert_eq!(with("allow := 1", same), Err("rego.not_boolean"));
    // What our own rules refuse, no module brings back.
    assert_eq!(
        with("allow := true", |p| p
            .appraisal
            .snp
            .as_mut()
            .unwrap()
            .references
            .clear()),
        Err("snp.measurement")
    );
    assert_eq!(with("allow := true", |p| p.max_uses = 0), Err("kbs.key.used_up"));
    // It sees the claims as Trustee gives them, and the resource.
    let cpu = "input.submods.cpu0[\"ear.veraison.annotated-evidence\"]";
    for (holds, differs) in [
        (format!("{cpu}.tier == 2"), format!("{cpu}.tier == 3")),
        (
            format!("not {cpu}.snp.policy_debug_allowed"),
            format!("{cpu}.snp.policy_debug_allowed"),
        ),
        (
            format!("count({cpu}.snp.measurement) == 96"),
            format!("{cpu}.snp.measurement == \"\""),
        ),
        (format!("{cpu}.sample"), format!("not {cpu}.sample")),
        ("data.plugin == \"resource\"".into(), "data.plugin == \"pkcs11\"".into()),
        (
            "data[\"resource-path\"] == [\"hanzo\", \"dek\", \"m\"]".into(),
            "data[\"resource-path\"] == [\"hanzo\", \"dek\", \"n\"]".into(),
        ),
        ("data.query == {}".into(), "data.query.a".into()),
        (
            "input.submods.cpu0[\"ear.status\"] == \"contraindicated\"".into(),
            "input.submods.cpu0[\"ear.status\"] == \"affirming\"".into(),
        ),
    ] {
        assert_eq!(with(&format!("allow if {{ {holds} }}"), same), Ok(None), "{holds}");
        assert_eq!(
            with(&format!("allow if {{ {differs} }}"), same),
            Err("rego.undefined"),
            "{differs}"
        );
    }
}

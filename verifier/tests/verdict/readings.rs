//! Bundles that answer nobody: read, never trusted.

use hanzo_attestation::UnixTime;
use hanzo_policy::PrivacyTier;
use hanzo_verifier::read_bundle;

use crate::fixture::*;

#[test]
fn a_saved_bundle_can_be_read_and_says_that_it_is_not_fresh() {
    let bytes = healthy_bundle().canonical().unwrap();
    let reading = read_bundle(&bytes, &context(), NOW).unwrap();
    assert_eq!(reading.tier_if_fresh(), PrivacyTier::CpuTee);
    assert_eq!(reading.appraisal().tier(), PrivacyTier::Open);
    assert!(!reading.undated() && reading.simulated());
    assert_eq!(reading.keyset(), Some(&keyset()));
    let view = reading.view();
    assert_eq!((view.freshness, view.valid_until), ("none", None));
    assert!(view.failures.iter().any(|f| f.code == "freshness.none"));
}

#[test]
fn past_the_keyset_s_end_a_reading_is_undated_and_today_s_revocations_count() {
    let bytes = healthy_bundle().canonical().unwrap();
    let end = keyset().not_after;
    assert!(!read_bundle(&bytes, &context(), UnixTime(end)).unwrap().undated());
    let later = read_bundle(&bytes, &context(), UnixTime(end + 1)).unwrap();
    assert!(later.undated() && later.view().undated);
    let months = UnixTime(NOW.0 + 90 * 86_400);
    let e = read_bundle(&bytes, &context(), months).unwrap_err();
    assert_eq!((e.code(), e.exit_code()), ("snp.crl.stale", 20));
    let mut context = context();
    context.collateral.crls.push(processor().crl_der(months));
    assert!(read_bundle(&bytes, &context, months).unwrap().undated());
}

#[test]
fn a_reading_is_held_to_every_rule_but_freshness() {
    let mut spec = healthy();
    spec.debug = true;
    let bytes = answer(&launch(spec)).canonical().unwrap();
    let e = read_bundle(&bytes, &context(), NOW).unwrap_err();
    let codes: Vec<_> = e.failures().iter().map(|f| f.code).collect();
    assert_eq!((codes, e.exit_code()), (vec!["snp.debug"], 40));

    let mut long = keyset();
    long.not_after = long.issued_at + 86_401;
    let bytes = answer_edited(&launch(healthy()), long, |_| {}).canonical().unwrap();
    assert_eq!(
        read_bundle(&bytes, &context(), NOW).unwrap_err().code(),
        "keyset.lifetime"
    );
}

#[test]
fn at_a_past_clock_the_bundle_of_a_key_that_was_revoked_since_is_undated_or_refused() {
    let mut spec = healthy();
    spec.vek_serial = 7;
    let bytes = answer(&launch(spec)).canonical().unwrap();
    let months = UnixTime(NOW.0 + 90 * 86_400);
    let mut context = context();
    // Nothing revoked it: the reading of today is undated, because the guest's own word is all that says when it was.
    context.collateral.crls = vec![processor().crl_der(months)];
    let reading = read_bundle(&bytes, &context, months).unwrap();
    assert!(reading.undated() && reading.view().undated);
    assert_eq!(reading.view().valid_until, None);
    // Today's list names it: the stapled list of that day, which does not, is of no use.
    context.collateral.crls = vec![processor().crl_naming(months, &[&[7]])];
    let e = read_bundle(&bytes, &context, months).unwrap_err();
    assert_eq!((e.code(), e.exit_code()), ("snp.crl.revoked", 20));
    // Nor does turning the verifier's clock back help whoever has today's list.
    let e = read_bundle(&bytes, &context, NOW).unwrap_err();
    assert_eq!(e.exit_code(), 20, "{e}");
}

//! No accepted bundle survives a flipped bit, and no bytes make the verifier panic.

use proptest::prelude::*;
use std::sync::LazyLock;

use hanzo_verifier::verify_bundle;

use crate::fixture::*;

static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| healthy_bundle().canonical().unwrap());

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn a_flipped_bit_anywhere_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = GOOD.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(verify_bundle(&bytes, &CHALLENGE, &context(), NOW).is_err(), "byte {}", at);
    }

    #[test]
    fn truncations_are_malformed(at in any::<prop::sample::Index>()) {
        let end = at.index(GOOD.len());
        let e = verify_bundle(&GOOD[..end], &CHALLENGE, &context(), NOW).unwrap_err();
        prop_assert_eq!(e.exit_code(), 10);
    }

    #[test]
    fn a_flipped_bit_inside_the_evidence_is_refused(which in 0u8..4, at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bundle = healthy_bundle();
        let evidence = evidence_of(&mut bundle);
        let bytes = match which {
            0 => &mut evidence.report.0,
            1 => &mut evidence.vek.0,
            2 => &mut evidence.ask.as_mut().unwrap().0,
            _ => &mut evidence.crl.as_mut().unwrap().0,
        };
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let e = verify(&bundle, &context());
        prop_assert!(e.is_err(), "part {} byte {}", which, at);
        let exit_code = e.unwrap_err().exit_code();
        prop_assert!(matches!(exit_code, 10 | 20), "part {} byte {}: {}", which, at, exit_code);
    }
}

//! No input makes the parser panic, and nothing but the processor's own bytes is authentic.

use std::sync::LazyLock;

use hanzo_attestation::bundle::{Base64, SnpEvidence};
use hanzo_attestation::snp::{REPORT_BYTES, check_crl, read_unauthenticated};
use hanzo_attestation::{Anchors, Collateral, RawEvidence};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::{NOW, healthy, simulator, verdict};

static GOOD: LazyLock<(SnpEvidence, Anchors)> = LazyLock::new(|| {
    let (processor, anchors) = simulator();
    (
        processor
            .launch(healthy())
            .with_crl(processor.crl_der(NOW))
            .evidence(&[0; 64]),
        anchors,
    )
});

fn authenticate(evidence: SnpEvidence) {
    if let Ok(parsed) = RawEvidence::Snp(evidence).parse() {
        assert!(parsed.authenticate(&GOOD.1, &Collateral::default(), NOW).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn noise_is_refused_without_a_panic(
        report in vec(any::<u8>(), 0..1300),
        vek in vec(any::<u8>(), 0..200),
        ask in option::of(vec(any::<u8>(), 0..200)),
        crl in option::of(vec(any::<u8>(), 0..200)),
    ) {
        let _ = read_unauthenticated(&report, None);
        let _ = check_crl(&vek, NOW);
        authenticate(SnpEvidence {
            ask: ask.map(Base64),
            crl: crl.map(Base64),
            report: Base64(report),
            vek: Base64(vek),
        });
    }

    #[test]
    fn good_evidence_with_any_bytes_overwritten_is_refused_without_a_panic(
        which in 0..4_usize,
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut evidence = GOOD.0.clone();
        let part = match which {
            0 => &mut evidence.report,
            1 => &mut evidence.vek,
            2 => evidence.ask.as_mut().unwrap(),
            _ => evidence.crl.as_mut().unwrap(),
        };
        let at = at.index(part.0.len());
        prop_assume!(part.0[at] != value || cut.is_some());
        part.0[at] = value;
        if let Some(cut) = cut {
            part.0.truncate(cut.index(part.0.len()));
        }
        authenticate(evidence);
    }

    #[test]
    fn a_report_is_read_if_and_only_if_it_has_its_length(length in 0..2400_usize) {
        let mut report = GOOD.0.report.0.clone();
        report.resize(length, 0);
        prop_assert_eq!(read_unauthenticated(&report, None).is_ok(), length == REPORT_BYTES);
    }
}

#[test]
fn the_unchanged_evidence_of_these_tests_is_accepted() {
    assert_eq!(verdict(GOOD.0.clone(), &GOOD.1), "accepted");
}

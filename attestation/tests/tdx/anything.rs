//! No input makes the parser panic, and nothing but the platform's own bytes is authentic.

use std::sync::LazyLock;

use hanzo_attestation::bundle::{Base64, TdxCollateral, TdxEvidence};
use hanzo_attestation::tdx::{ParsedTdx, quote_length};
use hanzo_attestation::{Collateral, RawEvidence};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{NOW, anchors, healthy, with};

static GOOD: LazyLock<TdxEvidence> = LazyLock::new(|| with(&healthy()));

fn refused(evidence: TdxEvidence) {
    let _ = quote_length(&evidence.quote.0);
    if let Ok(parsed) = RawEvidence::Tdx(evidence).parse() {
        assert!(parsed.authenticate(&anchors(), &Collateral::default(), NOW).is_err());
    }
}

/// Somewhere in `bytes`, `noise` instead.
fn overwrite(bytes: &mut [u8], at: usize, noise: &[u8]) -> bool {
    let at = at % bytes.len();
    let before = bytes.to_vec();
    for (to, from) in bytes[at..].iter_mut().zip(noise) {
        *to = *from;
    }
    bytes != before
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn noise_is_refused_without_a_panic(quote in vec(any::<u8>(), 0..2000), text in ".{0,200}") {
        let noise = TdxCollateral {
            pck_crl: Base64(quote.clone()),
            pck_crl_issuer_chain: text.clone(),
            qe_identity: text.clone(),
            qe_identity_issuer_chain: text.clone(),
            qe_identity_signature: Base64(quote.clone()),
            root_ca_crl: Base64(quote.clone()),
            tcb_info: text.clone(),
            tcb_info_issuer_chain: text,
            tcb_info_signature: Base64(quote.clone()),
        };
        refused(TdxEvidence { collateral: Some(noise.clone()), event_log: None, quote: Base64(quote) });
        let mut evidence = GOOD.clone();
        evidence.collateral = Some(noise);
        refused(evidence);
    }

    #[test]
    fn a_quote_with_noise_in_it_is_refused(at in any::<usize>(), noise in vec(any::<u8>(), 1..40)) {
        let mut evidence = GOOD.clone();
        if overwrite(&mut evidence.quote.0, at, &noise) {
            refused(evidence);
        }
    }

    #[test]
    fn collateral_with_noise_in_it_is_refused(part in 0..4, at in any::<usize>(), noise in vec(any::<u8>(), 1..40)) {
        let mut evidence = GOOD.clone();
        let c = evidence.collateral.as_mut().unwrap();
        let bytes = match part {
            0 => &mut c.pck_crl.0,
            1 => &mut c.root_ca_crl.0,
            2 => &mut c.tcb_info_signature.0,
            _ => &mut c.qe_identity_signature.0,
        };
        if overwrite(bytes, at, &noise) {
            refused(evidence);
        }
    }

    #[test]
    fn what_parses_shows_what_stands_in_it(report_data in any::<[u8; 32]>()) {
        let mut evidence = GOOD.clone();
        let at = 48 + 6 + 520;
        evidence.quote.0[at..at + 32].copy_from_slice(&report_data);
        let parsed = ParsedTdx::parse(evidence).unwrap();
        prop_assert_eq!(&parsed.read_unauthenticated().report_data[..32], &report_data[..]);
    }
}

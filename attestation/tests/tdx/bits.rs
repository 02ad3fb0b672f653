//! One bit of every third byte of a quote and of every 29th of its collateral: a changed quote or collateral is refused, wherever the change is.

use hanzo_attestation::bundle::TdxEvidence;
use hanzo_attestation::{Collateral, RawEvidence};
use hanzo_simulated_tee::{QuoteFormat, TdSpec};

use crate::{NOW, PLATFORM, anchors, healthy, judge};

fn refused(evidence: TdxEvidence, what: &str, at: usize) {
    let verdict = judge(evidence, &anchors(), &Collateral::default(), NOW);
    assert!(verdict.is_err(), "{what}: byte {at}: accepted");
}

#[test]
fn one_bit_of_every_third_byte_of_a_quote() {
    let good = PLATFORM.evidence(&TdSpec::new(QuoteFormat::V5Td15Extended), &[7; 64], &healthy());
    for at in (0..good.quote.0.len()).step_by(3) {
        let mut wrong = good.clone();
        wrong.quote.0[at] ^= 1 << (at / 3 % 8);
        if RawEvidence::Tdx(wrong.clone()).parse().is_ok() {
            refused(wrong, "quote", at);
        }
    }
}

#[test]
fn one_bit_of_every_29th_byte_of_each_part_of_the_collateral() {
    let good = PLATFORM.evidence(&TdSpec::new(QuoteFormat::V4), &[7; 64], &healthy());
    for part in 0..9 {
        for at in (part..8192).step_by(29) {
            let mut wrong = good.clone();
            let c = wrong.collateral.as_mut().unwrap();
            let flip = |bytes: &mut Vec<u8>| {
                bytes.get_mut(at).is_some_and(|b| {
                    *b ^= 1 << (at / 29 % 8);
                    true
                })
            };
            let flip_text = |text: &mut String| {
                let mut bytes = std::mem::take(text).into_bytes();
                let flipped = flip(&mut bytes);
                // What is no text is no JSON string and never gets here.
                String::from_utf8(bytes).is_ok_and(|t| {
                    *text = t;
                    flipped
                })
            };
            let (what, flipped) = match part {
                0 => ("pck_crl", flip(&mut c.pck_crl.0)),
                1 => ("root_ca_crl", flip(&mut c.root_ca_crl.0)),
                2 => ("tcb_info_signature", flip(&mut c.tcb_info_signature.0)),
                3 => ("qe_identity_signature", flip(&mut c.qe_identity_signature.0)),
                4 => ("tcb_info", flip_text(&mut c.tcb_info)),
                5 => ("qe_identity", flip_text(&mut c.qe_identity)),
                6 => ("pck_crl_issuer_chain", flip_text(&mut c.pck_crl_issuer_chain)),
                7 => ("tcb_info_issuer_chain", flip_text(&mut c.tcb_info_issuer_chain)),
                _ => ("qe_identity_issuer_chain", flip_text(&mut c.qe_identity_issuer_chain)),
            };
            if flipped {
                refused(wrong, what, at);
            }
        }
    }
}

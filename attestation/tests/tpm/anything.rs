//! No input makes a parser panic, and nothing but the TPM's own bytes is authentic.

use hanzo_attestation::bundle::{AzSnpEvidence, AzTdxEvidence, Base64, Pcr, TdxEvidence, TpmEvidence, TpmQuote};
use hanzo_attestation::tpm::{Attest, HclReport, spki_of_jwk, spki_of_public};
use hanzo_attestation::{Anchors, Digest256, Digest384, RawEvidence};
use hanzo_simulated_tee::{LogBuilder, SimulatedTpm};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::{VTPM, judge, snp_guest};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn noise_is_refused_without_a_panic(
        a in vec(any::<u8>(), 0..400),
        b in vec(any::<u8>(), 0..400),
        pcrs in vec((any::<u8>(), any::<[u8; 32]>()), 0..30),
        text in ".{0,40}",
    ) {
        let _ = Attest::read_unauthenticated(&a);
        let _ = Attest::read_unauthenticated(&[b"\xffTCG\x80\x18".as_slice(), &a].concat());
        let _ = spki_of_public(&a);
        let _ = spki_of_jwk(&text, "AQAB");
        let _ = HclReport::parse(&a);
        let hcl = [b"HCLA\x02\0\0\0".as_slice(), &[0; 24 + 1184], &a].concat();
        let _ = HclReport::parse(&hcl);
        let quote = TpmQuote {
            message: Base64(a.clone()),
            pcrs: pcrs.iter().map(|(index, value)| Pcr { index: *index, value: Digest256(*value) }).collect(),
            pcrs_sha384: pcrs.iter().map(|(index, _)| Pcr { index: *index, value: Digest384([*index; 48]) }).collect(),
            signature: Base64(b.clone()),
        };
        let td = TdxEvidence { collateral: None, event_log: None, quote: Base64(b.clone()) };
        for raw in [
            RawEvidence::Tpm(TpmEvidence {
                ak_certificates: vec![Base64(a.clone())],
                ak_public: Base64(b.clone()),
                event_log: Some(Base64(a.clone())),
                quote: quote.clone(),
            }),
            RawEvidence::AzSnp(AzSnpEvidence {
                ask: None,
                crl: None,
                event_log: None,
                hcl_report: Base64(hcl.clone()),
                quote: quote.clone(),
                vek: Base64(b.clone()),
            }),
            RawEvidence::AzTdx(AzTdxEvidence { event_log: None, hcl_report: Base64(hcl.clone()), quote, td }),
        ] {
            prop_assert!(judge(raw, &Anchors::vendor()).is_err());
        }
    }

    #[test]
    fn good_evidence_with_any_byte_changed_is_refused_without_a_panic(which in 0..6_usize, at in any::<Index>(), bit in 0..8) {
        let simulated = SimulatedTpm::for_tests().booted(&LogBuilder::tcg_both().boot("quiet"));
        let anchors = Anchors::vendor().with_tpm_root(simulated.root_der().to_vec());
        let mut evidence = simulated.evidence(&[5; 32]);
        let before = judge(evidence.clone(), &anchors).unwrap();
        let part = match which {
            0 => &mut evidence.quote.message.0,
            1 => &mut evidence.quote.signature.0,
            2 => &mut evidence.ak_public.0,
            3 => &mut evidence.ak_certificates[0].0,
            4 => &mut evidence.ak_certificates[1].0,
            _ => &mut evidence.event_log.as_mut().unwrap().0,
        };
        let at = at.index(part.len());
        part[at] ^= 1_u8 << bit;
        match judge(evidence, &anchors) {
            Err(_) => {}
            // Data of an event that no digest vouches for.
            Ok(after) => {
                prop_assert_eq!(which, 5);
                prop_assert_eq!(&crate::tpm(&after).pcrs, &crate::tpm(&before).pcrs);
                prop_assert_eq!(&crate::tpm(&after).pcrs_sha384, &crate::tpm(&before).pcrs_sha384);
            }
        }
    }

    #[test]
    fn a_paravisors_report_with_any_byte_changed_is_refused_without_a_panic(at in any::<Index>(), bit in 0..8) {
        let (guest, anchors) = snp_guest();
        let mut evidence = VTPM.az_snp(&guest, &[5; 32]);
        let at = at.index(evidence.hcl_report.0.len());
        evidence.hcl_report.0[at] ^= 1_u8 << bit;
        prop_assert!(judge(evidence, &anchors).is_err());
    }
}

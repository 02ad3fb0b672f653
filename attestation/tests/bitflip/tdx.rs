//! TDX: quote and collateral.

use std::sync::Arc;

use hanzo_attestation::bundle::{Base64, TdxCollateral, TdxEvidence};
use hanzo_attestation::tdx::{ParsedTdx, PreparedTdx};
use hanzo_attestation::{Anchors, Collateral, RawEvidence, UnixTime};
use hanzo_simulated_tee::{CollateralSpec, LogBuilder, QuoteFormat, SimulatedTdx, TdSpec};

use crate::NOW;
use crate::boot_log;
use crate::harness::{Harness, Origin, Region, Verdict, bytes_of, text_of};
use crate::seen::{Seen, of_evidence};
use crate::vectors::{JULY_2023, JULY_2025, Vectors};

const REGIONS: &[Region] = &[];

/// Header and body of the longest form.
const HEAD: usize = 48 + 6 + 885;

fn evidence(quote: Vec<u8>, collateral: Option<TdxCollateral>) -> TdxEvidence {
    TdxEvidence {
        collateral,
        event_log: None,
        quote: Base64(quote),
    }
}

fn judge(evidence: TdxEvidence, anchors: &Anchors, collateral: &Collateral, now: UnixTime) -> Verdict {
    let parsed = RawEvidence::Tdx(evidence).parse();
    let judged = parsed.and_then(|p| p.authenticate(anchors, collateral, now));
    judged.map(|authentic| of_evidence(&authentic)).into()
}

/// A quote whose collateral is not public: everything but that.
fn flip_signatures(harness: &mut Harness, name: &str, quote: Vec<u8>, now: UnixTime) {
    let good = evidence(quote, None);
    let judge = |evidence: TdxEvidence| -> Verdict {
        let signed = ParsedTdx::parse(evidence).and_then(|p| p.check_signatures(&Anchors::vendor(), now));
        signed.map(Seen::of).into()
    };
    harness.flip(
        name,
        &bytes_of("quote", &good, |e| &mut e.quote.0, judge).with_head(HEAD),
    );
}

/// The quote beside collateral that was verified before: verdicts are the same with and without, as tests/tdx shows.
fn flip_quote(harness: &mut Harness, name: &str, good: &TdxEvidence, anchors: &Anchors, now: UnixTime) {
    let stapled = good.collateral.as_ref().unwrap();
    let collateral = Collateral {
        prepared_tdx: vec![Arc::new(PreparedTdx::prepare(stapled, anchors).unwrap())],
        ..Collateral::default()
    };
    let bare = TdxEvidence {
        collateral: None,
        ..good.clone()
    };
    let judge = |evidence| judge(evidence, anchors, &collateral, now);
    harness.flip(
        name,
        &bytes_of("quote", &bare, |e| &mut e.quote.0, judge).with_head(HEAD),
    );
}

fn flip_collateral(harness: &mut Harness, name: &str, good: &TdxEvidence, anchors: &Anchors, now: UnixTime) {
    type Bytes = (&'static str, fn(&mut TdxCollateral) -> &mut Vec<u8>);
    type Text = (&'static str, fn(&mut TdxCollateral) -> &mut String);
    let bytes: [Bytes; 4] = [
        ("PCK CRL", |c| &mut c.pck_crl.0),
        ("root CA CRL", |c| &mut c.root_ca_crl.0),
        ("TCB info signature", |c| &mut c.tcb_info_signature.0),
        ("QE identity signature", |c| &mut c.qe_identity_signature.0),
    ];
    let texts: [Text; 5] = [
        ("TCB info", |c| &mut c.tcb_info),
        ("QE identity", |c| &mut c.qe_identity),
        ("PCK CRL issuer chain", |c| &mut c.pck_crl_issuer_chain),
        ("TCB info issuer chain", |c| &mut c.tcb_info_issuer_chain),
        ("QE identity issuer chain", |c| &mut c.qe_identity_issuer_chain),
    ];
    let judge = |evidence| judge(evidence, anchors, &Collateral::default(), now);
    for (part, get) in bytes {
        harness.flip(
            name,
            &bytes_of(part, good, |e| get(e.collateral.as_mut().unwrap()), judge),
        );
    }
    for (part, get) in texts {
        harness.flip(
            name,
            &text_of(part, good, |e| get(e.collateral.as_mut().unwrap()), judge),
        );
    }
}

#[test]
fn every_flipped_bit_of_a_real_quote_is_refused() {
    let Some(vectors) = Vectors::load() else { return };
    let mut harness = Harness::new("TDX signatures", Origin::Real, REGIONS);
    let mut seen = 0;
    for (name, row) in &vectors.rows {
        if !name.ends_with(".dat") || !row.expect.starts_with("authentic") {
            continue;
        }
        let mut quote = vectors.read(name);
        // 39 bytes of text stand behind this one, which is refused for them.
        if name == "v4_spr_e4_google.dat" {
            quote.truncate(quote.len() - 39);
        }
        flip_signatures(&mut harness, name, quote, row.clock.unwrap());
        seen += 1;
    }
    assert_eq!(seen, 14, "vectors were added or removed");
    harness.finish();
}

#[test]
fn every_flipped_bit_of_real_collateral_is_refused() {
    let Some(vectors) = Vectors::load() else { return };
    let mut harness = Harness::new("TDX with collateral", Origin::Real, REGIONS);
    for (name, collateral, now) in [
        ("v4_dcapqvl.dat", vectors.collateral_2025(), JULY_2025),
        ("v4_debug_trustee4.dat", vectors.collateral_2023(), JULY_2023),
    ] {
        let good = evidence(vectors.read(name), Some(collateral));
        flip_quote(&mut harness, name, &good, &Anchors::vendor(), now);
        flip_collateral(&mut harness, name, &good, &Anchors::vendor(), now);
    }
    harness.finish();
}

#[test]
fn every_flipped_bit_of_simulated_tdx_evidence_is_refused() {
    let platform = SimulatedTdx::for_tests();
    let anchors = Anchors::vendor().with_simulator_tdx_root(platform.root_der().to_vec());
    let collateral = CollateralSpec::new(NOW);
    let mut harness = Harness::new("TDX with collateral", Origin::Simulator, REGIONS);
    for format in QuoteFormat::ALL {
        let name = format!("{format:?}");
        let good = platform.evidence(&TdSpec::new(format), &[7; 64], &collateral);
        flip_quote(&mut harness, &name, &good, &anchors, NOW);
        if format == QuoteFormat::V4 {
            flip_collateral(&mut harness, &name, &good, &anchors, NOW);
        }
    }
    harness.finish();
}

#[test]
fn a_flipped_bit_of_a_quotes_event_log_changes_nothing_that_is_vouched_for() {
    let platform = SimulatedTdx::for_tests();
    let anchors = Anchors::vendor().with_simulator_tdx_root(platform.root_der().to_vec());
    let log = LogBuilder::ccel().boot("quiet");
    let td = TdSpec {
        rtmr: log.rtmr(),
        ..TdSpec::new(QuoteFormat::V5Td15)
    };
    let mut good = platform.evidence(&td, &[7; 64], &CollateralSpec::new(NOW));
    let stapled = good.collateral.take().unwrap();
    let collateral = Collateral {
        prepared_tdx: vec![Arc::new(PreparedTdx::prepare(&stapled, &anchors).unwrap())],
        ..Collateral::default()
    };
    // As the firmware leaves it: the log area is larger than the log.
    good.event_log = Some(Base64([log.bytes(), &[0xff; 64]].concat()));
    let mut harness = Harness::new("TDX event log", Origin::Simulator, boot_log::CCEL);
    let judge = |evidence| judge(evidence, &anchors, &collateral, NOW);
    let part = bytes_of("CCEL log", &good, |e| &mut e.event_log.as_mut().unwrap().0, judge);
    harness.flip("V5Td15", &part);
    harness.finish();
}

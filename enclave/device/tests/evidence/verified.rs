//! What the attesters give, judged by the verifier's own code: simulated hardware behind the kernel's files.

use std::sync::Arc;

use hanzo_attestation::bundle::CpuEvidence;
use hanzo_attestation::jcs;
use hanzo_attestation::{Anchors, Collateral, RawEvidence, UnixTime};
use hanzo_device::{Endorsements, Surroundings, detect};
use hanzo_simulated_tee::{CollateralSpec, LogBuilder, QuoteFormat, SimulatedTdx, TdSpec};

use super::fake_kernel::{FakeKernel, put_ccel, tree};
use super::request;

const NOW: UnixTime = UnixTime(1_780_000_000);

/// Evidence of a TD of this format whose firmware measured `measured` and left `log`.
fn td_evidence(format: QuoteFormat, measured: &LogBuilder, log: &LogBuilder, stapled: bool) -> (CpuEvidence, Anchors) {
    let vendor = SimulatedTdx::for_tests();
    let anchors = Anchors::vendor().with_simulator_tdx_root(vendor.root_der().to_vec());
    let (dir, roots) = tree();
    put_ccel(&roots, log.bytes());
    // As the host lays it beside the guest: a file.
    if stapled {
        let collateral = vendor.collateral(&CollateralSpec::new(NOW));
        let bytes = jcs::to_vec("collateral", &collateral).unwrap();
        std::fs::write(dir.path().join("tdx-collateral.json"), bytes).unwrap();
    }
    let mut td = TdSpec::new(format);
    td.rtmr = measured.rtmr();
    let attester = detect(Surroundings {
        kernel: Box::new(FakeKernel::new(
            "tdx_guest",
            // Hosts pad: the kernel hands on the buffer, not the quote.
            Arc::new(move |asked| Ok(([vendor.quote(&td, asked), vec![0; 70]].concat(), Vec::new()))),
        )),
        roots,
        nvml: "/nonexistent".into(),
        endorsements: Endorsements::load(dir.path()).unwrap(),
    })
    .unwrap();
    (attester.evidence(&request()).unwrap(), anchors)
}

#[test]
fn a_td_quote_that_came_through_the_kernels_files_is_authentic_with_its_log_and_collateral() {
    let log = LogBuilder::ccel().boot("quiet");
    for format in [QuoteFormat::V4, QuoteFormat::V5Td15] {
        let judge = |(evidence, anchors): (CpuEvidence, Anchors)| {
            let parsed = RawEvidence::from(evidence).parse()?;
            parsed.authenticate(&anchors, &Collateral::default(), NOW)
        };
        let authentic = judge(td_evidence(format, &log, &log, true)).unwrap();
        assert!(authentic.is_simulated());
        let claims = authentic.claims().tdx().unwrap();
        assert_eq!(claims.report_data, *request().report_data());
        assert!(!claims.event_log.as_ref().unwrap().events().is_empty());

        // Another log than the registers hold, and no collateral at all.
        let other = LogBuilder::ccel().boot("verbose");
        let error = judge(td_evidence(format, &log, &other, true)).unwrap_err();
        assert_eq!(error.code(), "eventlog.replay.mismatch", "{error}");
        let error = judge(td_evidence(format, &log, &log, false)).unwrap_err();
        assert_eq!(error.code(), "tdx.collateral.missing", "{error}");
    }
}

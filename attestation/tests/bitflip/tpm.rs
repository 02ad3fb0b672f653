//! TPM quotes and Azure's paravisor evidence.

use hanzo_attestation::bundle::{AzSnpEvidence, AzTdxEvidence, Pcr, TpmEvidence, TpmQuote};
use hanzo_attestation::foreign::{ForeignEvidence, ForeignFormat, Supplied};
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384, RawEvidence, UnixTime};
use hanzo_simulated_tee::{
    AkKind, CollateralSpec, LaunchSpec, LogBuilder, QuoteFormat, SimulatedProcessor, SimulatedTdx, SimulatedTpm,
    TdSpec, TpmSpec,
};

use crate::harness::{Harness, Origin, Part, Region, Verdict, bytes_of};
use crate::manifest::Vectors;
use crate::seen::{Seen, of_evidence};
use crate::{CLOCK, NOW, boot_log};

const REGIONS: &[Region] = &[
    Region {
        part: "HCL report with a TDREPORT",
        reason: "CPUSVN, MAC and reserved bytes of the TDREPORT: only the machine that made it can check them, the quote \
                 stands for it, and nothing is claimed from here",
        weaker: false,
        only: None,
        // TYPE and SUBTYPE are read; VERSION, reserved, CPUSVN; reserved, MAC; reserved. The report starts at 32.
        find: |_| [34..64, 224..288, 527..544].map(|bytes| (bytes, 0xff)).to_vec(),
    },
    Region {
        part: "certificate of a pinned AK",
        reason: "the key itself is pinned: what its certificates say is not asked",
        weaker: false,
        only: Some(Origin::Simulator),
        find: |der| vec![(0..der.len(), 0xff)],
    },
];

fn judge(evidence: RawEvidence, anchors: &Anchors, now: UnixTime) -> Verdict {
    let judged = evidence
        .parse()
        .and_then(|p| p.authenticate(anchors, &Collateral::default(), now));
    judged.map(|authentic| of_evidence(&authentic)).into()
}

/// Message, signature and register values, judged by `judge` inside whatever `good` is.
fn flip_quote<E: Clone>(
    harness: &mut Harness,
    name: &str,
    good: &E,
    quote: fn(&mut E) -> &mut TpmQuote,
    judge: impl Fn(E) -> Verdict + Copy,
) {
    let message = bytes_of("TPMS_ATTEST", good, move |e| &mut quote(e).message.0, judge);
    harness.flip(name, &message.with_head(200));
    harness.flip(
        name,
        &bytes_of("TPMT_SIGNATURE", good, move |e| &mut quote(e).signature.0, judge),
    );
    let pcrs = quote(&mut good.clone()).pcrs.clone();
    // Number and value, 33 bytes each.
    let bytes: Vec<u8> = pcrs
        .iter()
        .flat_map(|p| [&[p.index], &p.value.0[..]].concat())
        .collect();
    let changed = move |bytes: &[u8]| {
        let mut evidence = good.clone();
        let pcrs = bytes.chunks(33).map(|chunk| Pcr {
            index: chunk[0],
            value: Digest256(chunk[1..].try_into().unwrap()),
        });
        quote(&mut evidence).pcrs = pcrs.collect();
        judge(evidence)
    };
    let part = Part {
        name: "registers",
        bytes,
        head: 0,
        judge: Box::new(changed),
    };
    harness.flip(name, &part);
}

fn flip_tpm(harness: &mut Harness, name: &str, good: &TpmEvidence, anchors: &Anchors, now: UnixTime) {
    let judge = |evidence: TpmEvidence| judge(RawEvidence::Tpm(evidence), anchors, now);
    flip_quote(harness, name, good, |e| &mut e.quote, judge);
    harness.flip(name, &bytes_of("AK", good, |e| &mut e.ak_public.0, judge));
    let is_pinned = !anchors.tpm_aks().is_empty();
    for place in 0..good.ak_certificates.len() {
        let part = ["AK certificate", "certificate of a pinned AK"][usize::from(is_pinned)];
        let part = bytes_of(part, good, move |e| &mut e.ak_certificates[place].0, judge);
        harness.flip(&format!("{name}[{place}]"), &part);
    }
}

fn flip_az_tdx(
    harness: &mut Harness,
    name: &str,
    good: &AzTdxEvidence,
    judge: impl Fn(AzTdxEvidence) -> Verdict + Copy,
) {
    flip_quote(harness, name, good, |e| &mut e.quote, judge);
    let part = bytes_of("HCL report with a TDREPORT", good, |e| &mut e.hcl_report.0, judge);
    harness.flip(name, &part.with_head(32));
    harness.flip(
        name,
        &bytes_of("TD quote", good, |e| &mut e.td.quote.0, judge).with_head(48 + 584),
    );
}

fn flip_az_snp(harness: &mut Harness, name: &str, good: &AzSnpEvidence, anchors: &Anchors) {
    let judge = |evidence: AzSnpEvidence| judge(RawEvidence::AzSnp(evidence), anchors, CLOCK);
    flip_quote(harness, name, good, |e| &mut e.quote, judge);
    harness.flip(
        name,
        &bytes_of("HCL report", good, |e| &mut e.hcl_report.0, judge).with_head(32),
    );
    harness.flip(name, &bytes_of("VEK", good, |e| &mut e.vek.0, judge));
}

#[test]
fn every_flipped_bit_of_a_real_tpm_quote_is_refused() {
    let Some(vectors) = Vectors::load("az-vtpm/") else {
        return;
    };
    let foreign = |format, name: &str| {
        let document = vectors.read(&format!("az-vtpm/{name}"));
        let read = ForeignEvidence::read(format, &document, &Supplied::default()).unwrap();
        read.primary().unwrap().clone()
    };
    let mut harness = Harness::new("TPM", Origin::Real, REGIONS);
    let RawEvidence::Tpm(good) = foreign(ForeignFormat::CocoTpm, "tpm_evidence.json") else {
        panic!()
    };
    let anchors = Anchors::vendor().with_tpm_ak(Digest256::of(&good.ak_public.0));
    flip_tpm(&mut harness, "tpm_evidence.json", &good, &anchors, CLOCK);
    for version in ["genoa", "v0", "v2"] {
        let name = format!("az-snp-vtpm_evidence-{version}.json");
        let RawEvidence::AzSnp(good) = foreign(ForeignFormat::CocoAzSnpVtpm, &name) else {
            panic!()
        };
        flip_az_snp(&mut harness, &name, &good, &Anchors::vendor());
    }
    // One machine's evidence in two versions of the format, and no collateral of it is public: what is refused unchanged
    // is that it is missing, which is found out last.
    let RawEvidence::AzTdx(good) = foreign(ForeignFormat::CocoAzTdxVtpm, "az-tdx-vtpm_evidence-v1.json") else {
        panic!()
    };
    let judge = |evidence: AzTdxEvidence| match judge(RawEvidence::AzTdx(evidence), &Anchors::vendor(), CLOCK) {
        Verdict::Refused("tdx.collateral.missing") => Verdict::Accepted(Seen::of(())),
        other => other,
    };
    flip_az_tdx(&mut harness, "az-tdx-vtpm_evidence-v1.json", &good, judge);
    harness.finish();
}

#[test]
fn every_flipped_bit_of_a_simulated_tpm_quote_is_refused() {
    let mut harness = Harness::new("TPM", Origin::Simulator, REGIONS);
    let tpm = SimulatedTpm::for_tests().booted(&LogBuilder::tcg().boot("quiet"));
    let good = tpm.evidence(&[7; 48]);
    let chained = Anchors::vendor().with_tpm_root(tpm.root_der().to_vec());
    flip_tpm(&mut harness, "P-256, chained", &good, &chained, NOW);
    let pinned = Anchors::vendor().with_tpm_ak(Digest256::of(&tpm.ak_public()));
    flip_tpm(&mut harness, "P-256, pinned", &good, &pinned, NOW);

    let mut spec = TpmSpec::new("vtpm");
    spec.ak = AkKind::Rsa2048;
    let vtpm = SimulatedTpm::from_seed(b"bit flips of the paravisor's tpm", &spec).unwrap();
    let processor = SimulatedProcessor::for_tests();
    let platform = SimulatedTdx::for_tests();
    let anchors = Anchors::vendor()
        .with_simulator_ark(processor.ark_der().to_vec())
        .with_simulator_tdx_root(platform.root_der().to_vec());
    let guest = processor.launch(LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32])));
    flip_az_snp(&mut harness, "paravisor, SNP", &vtpm.az_snp(&guest, &[7; 48]), &anchors);
    let quote = |report_data: &[u8; 64]| {
        platform.evidence(&TdSpec::new(QuoteFormat::V4), report_data, &CollateralSpec::new(CLOCK))
    };
    let good = vtpm.az_tdx(quote, &[7; 48]);
    let judge = |evidence: AzTdxEvidence| judge(RawEvidence::AzTdx(evidence), &anchors, CLOCK);
    flip_az_tdx(&mut harness, "paravisor, TDX", &good, judge);
    harness.finish();
}

#[test]
fn a_flipped_bit_of_a_tpms_event_log_changes_nothing_that_is_vouched_for() {
    let mut harness = Harness::new("TPM event log", Origin::Simulator, boot_log::TCG);
    let log = LogBuilder::tcg()
        .startup_locality(3)
        .boot("quiet")
        .event(14, 0xd, b"MokList");
    let tpm = SimulatedTpm::for_tests().booted(&log);
    let anchors = Anchors::vendor().with_tpm_root(tpm.root_der().to_vec());
    let judge = |evidence: TpmEvidence| judge(RawEvidence::Tpm(evidence), &anchors, NOW);
    let good = tpm.evidence(&[7; 48]);
    let part = bytes_of("TCG log", &good, |e| &mut e.event_log.as_mut().unwrap().0, judge);
    harness.flip("a boot", &part);
    harness.finish();
}

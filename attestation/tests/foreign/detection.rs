//! One format or none.

use hanzo_attestation::foreign::{ForeignFormat, detect};

use crate::*;

#[test]
fn every_published_document_is_told_from_the_others() {
    let bundle = include_bytes!("../vectors/bundle.json");
    assert_eq!(detect(bundle), Some(ForeignFormat::Bundle));
    assert_eq!(
        code(ForeignFormat::Bundle, bundle),
        "foreign.unsupported",
        "it has a reader of its own"
    );
    let mut checked = 0;
    for (name, format) in [
        ("snp/milan_v2_virtee.bin", ForeignFormat::SnpReport),
        ("snp/turin_v5_oak_oc.bin", ForeignFormat::SnpReport),
        ("snp/trustee_evidence_v3_genoa.json", ForeignFormat::CocoSnp),
        ("tdx/v4_dstack_tdx-lite-getquote.dat", ForeignFormat::TdxQuote),
        ("tdx/v4_dstack_tdx-lite-getquote.json", ForeignFormat::DstackQuote),
        (
            "measured-boot/tdx/dstack-tdx-lite-attestation.json",
            ForeignFormat::DstackAttestation,
        ),
        ("az-vtpm/az-snp-vtpm_evidence-v0.json", ForeignFormat::CocoAzSnpVtpm),
        ("az-vtpm/az-snp-vtpm_evidence-v2.json", ForeignFormat::CocoAzSnpVtpm),
        ("az-vtpm/az-snp-vtpm_evidence-genoa.json", ForeignFormat::CocoAzSnpVtpm),
        ("az-vtpm/az-tdx-vtpm_evidence-v0.json", ForeignFormat::CocoAzTdxVtpm),
        ("az-vtpm/az-tdx-vtpm_evidence-v1.json", ForeignFormat::CocoAzTdxVtpm),
        ("az-vtpm/tpm_evidence.json", ForeignFormat::CocoTpm),
        ("nvidia/hopper_550_90.report.bin", ForeignFormat::NvidiaReport),
        ("nvidia/json/ppcie_8gpu.json", ForeignFormat::NvidiaSdk),
        ("kbs/rcar_0.4.0_attest_sample.json", ForeignFormat::Rcar),
    ] {
        let Some(bytes) = vector(name) else { return };
        assert_eq!(detect(&bytes), Some(format), "{name}");
        checked += 1;
    }
    assert_eq!(checked, 15);
}

#[test]
fn what_could_be_two_formats_is_none() {
    for (text, why) in [
        (
            r#"{"attestation_report":{},"ak_public":"","tpm_quote":{}}"#,
            "a report and a TPM",
        ),
        (
            r#"{"quote":"","event_log":"","report_data":"","cc_eventlog":null}"#,
            "two kinds of quote",
        ),
        (
            r#"{"attestation_report":{},"attestation_report":{}}"#,
            "a member named twice",
        ),
        ("{}", "nothing"),
        ("[]", "an empty list"),
        ("", "no bytes"),
        ("-----BEGIN CERTIFICATE-----", "no certificate"),
    ] {
        assert_eq!(detect(text.as_bytes()), None, "{why}");
    }
}

#[test]
fn names_are_distinct_and_lead_back() {
    for format in ForeignFormat::ALL {
        assert_eq!(ForeignFormat::from_name(format.name()), Some(format));
    }
    assert_eq!(ForeignFormat::from_name("snp"), None);
}

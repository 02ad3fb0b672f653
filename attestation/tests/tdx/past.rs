//! Past holes of quote verifiers, one test each: what went wrong there is refused here.

use hanzo_attestation::bundle::Base64;
use hanzo_attestation::tdx::{ParsedTdx, TcbStatus, TdxError};
use hanzo_simulated_tee::{CollateralSpec, DocumentSigner, QeSpec, QuoteFormat, TdSpec};

use crate::oracle::Theirs;
use crate::{NOW, PLATFORM, anchors, check, evidence, healthy, ours, quote, td, with};

/// GHSA-796p-j2gh-9m2q: dcap-qvl before 0.3.9 never looked at the QE identity, so any enclave could be the quoting
/// enclave of a platform.
#[test]
fn cve_2026_22696_the_qe_identity_is_verified_and_applied() {
    let foreign_enclave = QeSpec {
        mr_signer: [0x66; 32],
        ..QeSpec::default()
    };
    let quote = PLATFORM.quote_by(&td(), &[7; 64], &foreign_enclave);
    let by_another = evidence(quote.clone(), Some(PLATFORM.collateral(&healthy())));
    check("another enclave", &by_another, "tdx.qe_identity.mismatch", Theirs::Same);
    // The attacker's own identity for that enclave, signed by a key of its own.
    let forged = PLATFORM.with_other_keys().collateral(&CollateralSpec {
        qe_mr_signer: [0x66; 32],
        ..healthy()
    });
    let mut with_identity = evidence(quote, Some(PLATFORM.collateral(&healthy())));
    let collateral = with_identity.collateral.as_mut().unwrap();
    collateral.qe_identity = forged.qe_identity.clone();
    collateral.qe_identity_signature = forged.qe_identity_signature.clone();
    check(
        "its own identity",
        &with_identity,
        "tdx.qe_identity.signature",
        Theirs::Same,
    );
    with_identity.collateral.as_mut().unwrap().qe_identity_issuer_chain = forged.qe_identity_issuer_chain.clone();
    let refused = ours(&with_identity, &anchors(), NOW).unwrap_err();
    assert_eq!(refused.code(), "tdx.collateral.malformed");
}

/// A lenient parser took what was there when the length said more.
#[test]
fn signature_data_of_four_gigabytes_is_refused_by_its_length() {
    for format in QuoteFormat::ALL {
        let mut quote = PLATFORM.quote(&TdSpec::new(format), &[7; 64]);
        let at = format.signed_bytes();
        quote[at..at + 4].copy_from_slice(&[0xff; 4]);
        let refused = ParsedTdx::parse(evidence(quote, None)).unwrap_err();
        assert!(
            matches!(
                refused,
                TdxError::Length {
                    field: "signature data",
                    ..
                }
            ),
            "{refused}"
        );
    }
}

/// dcap-qvl issue 124: MRSIGNERSEAM and SEAMATTRIBUTES were compared with nothing.
#[test]
fn a_tdx_module_that_is_not_intels_is_refused() {
    let foreign = TdSpec {
        mr_signer_seam: [0x66; 48],
        ..td()
    };
    check(
        "foreign module",
        &crate::of(&foreign),
        "tdx.module.signer",
        Theirs::Same,
    );
    let debug = TdSpec {
        seam_attributes: 1,
        ..td()
    };
    check(
        "module in debug mode",
        &crate::of(&debug),
        "tdx.module.attributes",
        Theirs::Same,
    );
}

/// dcap-qvl issue 125: `is_valid()` was true for every status but Revoked. Here the status is a claim of its own type,
/// and a policy names those it takes.
#[test]
fn an_out_of_date_platform_is_never_told_as_up_to_date() {
    for (status, expected) in [
        ("OutOfDate", TcbStatus::OutOfDate),
        ("OutOfDateConfigurationNeeded", TcbStatus::OutOfDateConfigurationNeeded),
        ("ConfigurationNeeded", TcbStatus::ConfigurationNeeded),
    ] {
        let mut spec = healthy();
        spec.levels[0].status = status.into();
        assert_eq!(ours(&with(&spec), &anchors(), NOW).unwrap().tcb_status, expected);
        assert!(expected > TcbStatus::UpToDate);
    }
}

/// Documents were taken from any signer whose chain ended at the root: a platform's own PCK chain does.
#[test]
fn collateral_signed_below_the_pck_ca_is_refused() {
    for signer in [DocumentSigner::BelowPckCa, DocumentSigner::PckCa] {
        let spec = CollateralSpec { signer, ..healthy() };
        assert!(ours(&with(&spec), &anchors(), NOW).is_err());
    }
}

/// dcap-qvl 206 and 207 (JavaScript): lists were read without their signature.
#[test]
fn an_unsigned_revocation_list_revokes_nothing_and_clears_nothing() {
    let mut evidence = with(&healthy());
    let list = &mut evidence.collateral.as_mut().unwrap().root_ca_crl;
    let last = list.0.len() - 1;
    list.0[last] ^= 1;
    check("unsigned", &evidence, "tdx.crl.signature", Theirs::Same);
}

/// attestation-rs PR 83: the WebAssembly build left out validity, TCB and lists. Here there is one path, and it needs all
/// of its inputs.
#[test]
fn no_part_of_the_collateral_can_be_left_out() {
    let good = with(&healthy());
    for part in 0..9 {
        let mut wrong = good.clone();
        let c = wrong.collateral.as_mut().unwrap();
        match part {
            0 => c.pck_crl = Base64(Vec::new()),
            1 => c.pck_crl_issuer_chain.clear(),
            2 => c.qe_identity.clear(),
            3 => c.qe_identity_issuer_chain.clear(),
            4 => c.qe_identity_signature = Base64(Vec::new()),
            5 => c.root_ca_crl = Base64(Vec::new()),
            6 => c.tcb_info.clear(),
            7 => c.tcb_info_issuer_chain.clear(),
            _ => c.tcb_info_signature = Base64(Vec::new()),
        }
        assert!(ours(&wrong, &anchors(), NOW).is_err(), "part {part}");
    }
    assert!(ours(&good, &anchors(), NOW).is_ok());
}

/// An SGX quote under the same keys and collateral is no TDX quote.
#[test]
fn an_sgx_quote_is_refused_as_such() {
    let mut quote = quote();
    quote[..2].copy_from_slice(&[3, 0]);
    quote[4..8].copy_from_slice(&[0; 4]);
    let refused = ParsedTdx::parse(evidence(quote, None)).unwrap_err();
    assert_eq!(refused, TdxError::TeeType { got: 0 });
    assert!(refused.to_string().contains("SGX"));
}

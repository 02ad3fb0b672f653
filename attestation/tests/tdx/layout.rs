//! Layout: each field of header and lengths has its code; what is signed is signed.

use hanzo_attestation::evidence::Class;
use hanzo_attestation::tdx::{ParsedTdx, QUOTE_BYTES_MAX, quote_length};
use hanzo_simulated_tee::{QeSpec, QuoteFormat, TdSpec};

use crate::oracle::Theirs;
use crate::{PLATFORM, check, claims, evidence, healthy, judge, of, td};

fn parse_code(quote: &[u8]) -> &'static str {
    match ParsedTdx::parse(evidence(quote.to_vec(), None)) {
        Ok(_) => "parsed",
        Err(e) => {
            assert_eq!(e.class(), Class::Malformed, "{e}");
            e.code()
        }
    }
}

/// A quote of `format` with `bytes` written at `at`, signed again.
fn signed_with(format: QuoteFormat, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut signed = PLATFORM.quote(&TdSpec::new(format), &[7; 64]);
    signed.truncate(format.signed_bytes());
    signed[at..at + bytes.len()].copy_from_slice(bytes);
    PLATFORM.sign_quote(&signed, &QeSpec::default())
}

#[test]
fn all_four_forms_are_authentic_simulated_and_say_what_was_launched() {
    for format in QuoteFormat::ALL {
        let td = TdSpec {
            dev_info: [0xde; 48],
            vm_id: 2,
            mr_owner: [0x0e; 48],
            ..TdSpec::new(format)
        };
        let evidence = PLATFORM.evidence(&td, &[9; 64], &healthy());
        check("healthy", &evidence, "accepted", Theirs::Same);
        let authentic = judge(evidence, &crate::anchors(), &Default::default(), crate::NOW).unwrap();
        assert!(authentic.is_simulated());
        let c = claims(&authentic);
        assert_eq!(c.report_data, [9; 64]);
        assert_eq!((c.mr_td, c.mr_owner, c.rtmr), (td.mr_td, td.mr_owner, td.rtmr));
        let extended = c.td15_extended.as_ref();
        assert_eq!(extended.is_some(), format == QuoteFormat::V5Td15Extended);
        assert!(extended.is_none_or(|e| e.dev_info == [0xde; 48] && e.vm_id == 2));
    }
}

#[test]
fn each_field_of_the_header_has_its_code() {
    for format in QuoteFormat::ALL {
        for (name, at, bytes, code) in [
            ("version 3", 0, &[3, 0][..], "tdx.quote.version"),
            ("version 6", 0, &[6, 0], "tdx.quote.version"),
            ("version 0x0104", 0, &[4, 1], "tdx.quote.version"),
            ("ECDSA P-384", 2, &[3, 0], "tdx.quote.key_type"),
            ("SGX", 4, &[0, 0, 0, 0], "tdx.quote.tee_type"),
            ("0x80", 4, &[0x80, 0, 0, 0], "tdx.quote.tee_type"),
            ("0x1000081", 4, &[0x81, 0, 0, 1], "tdx.quote.tee_type"),
            ("another QE vendor", 12, &[0x94], "tdx.quote.qe_vendor"),
        ] {
            let evidence = evidence(signed_with(format, at, bytes), Some(PLATFORM.collateral(&healthy())));
            check(name, &evidence, code, Theirs::Same);
        }
    }
}

#[test]
fn body_type_and_size_must_belong_together() {
    for (name, format, bytes, code) in [
        (
            "SGX body",
            QuoteFormat::V5Td10,
            [1, 0, 0x48, 2, 0, 0],
            "tdx.quote.body_type",
        ),
        (
            "unknown body",
            QuoteFormat::V5Td15,
            [5, 0, 0x88, 2, 0, 0],
            "tdx.quote.body_type",
        ),
        (
            "TD 1.0 with the size of TD 1.5",
            QuoteFormat::V5Td15,
            [2, 0, 0x88, 2, 0, 0],
            "tdx.quote.body_size",
        ),
        (
            "TD 1.5 with the size of TD 1.0",
            QuoteFormat::V5Td10,
            [3, 0, 0x48, 2, 0, 0],
            "tdx.quote.body_size",
        ),
        (
            "one byte more",
            QuoteFormat::V5Td15Extended,
            [4, 0, 0x76, 3, 0, 0],
            "tdx.quote.body_size",
        ),
        (
            "no size",
            QuoteFormat::V5Td15Extended,
            [4, 0, 0, 0, 0, 0],
            "tdx.quote.body_size",
        ),
        (
            "all the size there is",
            QuoteFormat::V5Td15,
            [3, 0, 0xff, 0xff, 0xff, 0xff],
            "tdx.quote.body_size",
        ),
    ] {
        let evidence = evidence(signed_with(format, 48, &bytes), Some(PLATFORM.collateral(&healthy())));
        check(name, &evidence, code, Theirs::Same);
    }
}

#[test]
fn a_quote_cut_anywhere_is_refused() {
    for format in QuoteFormat::ALL {
        let quote = PLATFORM.quote(&TdSpec::new(format), &[7; 64]);
        for length in 0..quote.len() {
            assert_eq!(parse_code(&quote[..length]), "tdx.quote.length", "{length}");
            assert!(quote_length(&quote[..length]).is_err(), "{length}");
        }
        assert_eq!(parse_code(&quote), "parsed");
        assert_eq!(quote_length(&quote), Ok(quote.len()));
    }
}

#[test]
fn every_length_is_held_against_what_is_there() {
    let format = QuoteFormat::V5Td15;
    let quote = PLATFORM.quote(&TdSpec::new(format), &[7; 64]);
    let data = format.signed_bytes();
    let (outer, auth) = (data + 4 + 128, data + 4 + 128 + 6 + 448);
    let inner = auth + 2 + 32;
    for (name, at, bytes) in [
        ("signature data length", data, 4),
        ("QE certification data size", outer + 2, 4),
        ("QE authentication data length", auth, 2),
        ("PCK chain size", inner + 2, 4),
    ] {
        for change in [
            |n: u32| n.wrapping_add(1),
            |n: u32| n.wrapping_sub(1),
            |_| 0,
            |_| 0x7fff_ffff,
            |_| u32::MAX,
        ] {
            let mut wrong = quote.clone();
            let mut field = [0; 4];
            field[..bytes].copy_from_slice(&quote[at..at + bytes]);
            let field = change(u32::from_le_bytes(field)).to_le_bytes();
            wrong[at..at + bytes].copy_from_slice(&field[..bytes]);
            let code = parse_code(&wrong);
            let shifted = name == "QE authentication data length" && code == "tdx.quote.certification_type";
            // With a signature data length that is too short, what is left stands behind the quote.
            let behind = name == "signature data length" && code == "tdx.quote.trailing";
            assert!(
                code == "tdx.quote.length" || shifted || behind,
                "{name}: {field:?}: {code}"
            );
        }
    }
    for (name, at) in [("QE certification data type", outer), ("PCK chain type", inner)] {
        for kind in (0..=8_u8).filter(|k| *k != quote[at]) {
            let mut wrong = quote.clone();
            wrong[at] = kind;
            assert_eq!(parse_code(&wrong), "tdx.quote.certification_type", "{name} {kind}");
        }
    }
    assert_eq!(parse_code(&vec![0; QUOTE_BYTES_MAX + 1]), "tdx.quote.length");
}

#[test]
fn zeros_may_follow_a_quote_and_nothing_else() {
    let good = of(&td());
    let same = judge(good.clone(), &crate::anchors(), &Default::default(), crate::NOW).unwrap();
    for padding in [1, 70, 3065] {
        let mut padded = good.clone();
        padded.quote.0.extend(vec![0; padding]);
        check("padded", &padded, "accepted", Theirs::Same);
        let padded_claims = judge(padded.clone(), &crate::anchors(), &Default::default(), crate::NOW).unwrap();
        assert_eq!(claims(&padded_claims), claims(&same));
        let at = padded.quote.0.len() - 1;
        padded.quote.0[at] = 1;
        check("text behind the quote", &padded, "tdx.quote.trailing", Theirs::Accepts);
    }
}

#[test]
fn each_signature_covers_what_it_must() {
    for format in QuoteFormat::ALL {
        let good = PLATFORM.evidence(&TdSpec::new(format), &[7; 64], &healthy());
        let data = format.signed_bytes() + 4;
        let body = format.signed_bytes()
            - match format {
                QuoteFormat::V4 | QuoteFormat::V5Td10 => 584,
                QuoteFormat::V5Td15 => 648,
                QuoteFormat::V5Td15Extended => 885,
            };
        for (name, at, code) in [
            ("header: QE SVN", 8, "tdx.signature.invalid"),
            ("header: user data", 47, "tdx.signature.invalid"),
            ("TEE_TCB_SVN", body, "tdx.signature.invalid"),
            ("TDATTRIBUTES", body + 120, "tdx.signature.invalid"),
            ("MRTD", body + 136, "tdx.signature.invalid"),
            ("RTMR3", body + 519, "tdx.signature.invalid"),
            ("REPORTDATA", body + 583, "tdx.signature.invalid"),
            (
                "last byte of the body",
                format.signed_bytes() - 1,
                "tdx.signature.invalid",
            ),
            ("quote signature r", data, "tdx.signature.invalid"),
            ("quote signature s", data + 63, "tdx.signature.invalid"),
            ("attestation key", data + 64, "tdx.qe_report.binding"),
            ("QE report", data + 128 + 6, "tdx.qe_report.signature"),
            ("QE report: REPORTDATA", data + 128 + 6 + 383, "tdx.qe_report.signature"),
            ("QE report signature", data + 128 + 6 + 384, "tdx.qe_report.signature"),
            ("QE authentication data", data + 128 + 6 + 450, "tdx.qe_report.binding"),
        ] {
            let mut wrong = good.clone();
            wrong.quote.0[at] ^= 1;
            check(name, &wrong, code, Theirs::Same);
        }
    }
}

#[test]
fn the_enclave_must_have_made_the_attestation_key() {
    let make = |qe: QeSpec| {
        evidence(
            PLATFORM.quote_by(&td(), &[7; 64], &qe),
            Some(PLATFORM.collateral(&healthy())),
        )
    };
    let wrong_digest = make(QeSpec {
        binding_error: 1,
        ..QeSpec::default()
    });
    check(
        "another key's digest",
        &wrong_digest,
        "tdx.qe_report.binding",
        Theirs::Same,
    );
    // The rest of REPORTDATA is zero; dcap-qvl does not look at it.
    let mut rest = [0; 32];
    rest[31] = 1;
    let tail = make(QeSpec {
        report_data_rest: rest,
        ..QeSpec::default()
    });
    check("REPORTDATA goes on", &tail, "tdx.qe_report.binding", Theirs::Accepts);
    // Intel's interface gives this field a length; dcap-qvl knows 32 alone.
    for length in [0, 64] {
        let auth_data = make(QeSpec {
            auth_data: vec![1; length],
            ..QeSpec::default()
        });
        check(
            "other lengths",
            &auth_data,
            "accepted",
            Theirs::Refuses("auth data length"),
        );
    }
    let long = make(QeSpec {
        auth_data: vec![1; 1025],
        ..QeSpec::default()
    });
    check("too long", &long, "tdx.quote.length", Theirs::Same);
}

#[test]
fn what_policy_judges_does_not_stop_authentication() {
    let with = |td_attributes| of(&TdSpec { td_attributes, ..td() });
    check("DEBUG", &with(1 << 28 | 1), "accepted", Theirs::Same);
    check("PERFMON", &with(1 << 28 | 1 << 63), "accepted", Theirs::Same);
    check(
        "no SEPT_VE_DISABLE",
        &with(0),
        "accepted",
        Theirs::Refuses("SEPT_VE_DISABLE"),
    );
    check(
        "MIGRATABLE",
        &with(1 << 28 | 1 << 29),
        "accepted",
        Theirs::Refuses("migration"),
    );
    check(
        "reserved bits",
        &with(1 << 28 | 1 << 40),
        "accepted",
        Theirs::Refuses("Reserved bits"),
    );
    let service_td = TdSpec {
        mr_service_td: [1; 48],
        ..td()
    };
    check("a bound service TD", &of(&service_td), "accepted", Theirs::Same);
}

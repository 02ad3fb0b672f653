//! Every public TDX vector gets the verdict its manifest states, at its clock, with its key values.

use std::collections::BTreeMap;
use std::sync::Arc;

use hanzo_attestation::bundle::Base64;
use hanzo_attestation::evidence::Class;
use hanzo_attestation::tdx::{ParsedTdx, PreparedTdx, SignedQuote, TcbStatus, TdxClaims, TdxError, quote_length};
use hanzo_attestation::{Anchors, Authentic, Claims, Collateral, Digest256, Revocation, UnixTime};

use crate::vectors::{JULY_2023, JULY_2025, Row, Vectors};
use crate::{evidence, judge};

/// The text that its publisher appended to one file.
const APPENDED: &str = "v4_spr_e4_google.dat";

fn signatures(quote: Vec<u8>, now: UnixTime) -> Result<SignedQuote, TdxError> {
    ParsedTdx::parse(evidence(quote, None))?.check_signatures(&Anchors::vendor(), now)
}

fn claims(authentic: &Authentic<Claims>) -> &TdxClaims {
    authentic.claims().tdx().unwrap()
}

/// The quote of a file; of one file, without the 39 bytes of text behind it.
fn quote(vectors: &Vectors, name: &str) -> Vec<u8> {
    let mut bytes = vectors.read(name);
    if name == APPENDED {
        let length = quote_length(&bytes).unwrap();
        assert!(bytes[length..].starts_with(b"\nextra bytes"));
        bytes.truncate(length);
    }
    bytes
}

fn check_values(name: &str, row: &Row, bytes: &[u8], signed: &SignedQuote) {
    let r = signed.report();
    for (key, expected) in &row.values {
        let got = match key.as_str() {
            "version" => r.quote_version.to_string(),
            "body_type" => match (r.quote_version, &r.td15, &r.td15_extended) {
                (4, None, None) => "td10".to_owned(),
                (5, None, None) => "2".to_owned(),
                (5, Some(_), None) => "3".to_owned(),
                (5, Some(_), Some(_)) => "4".to_owned(),
                other => panic!("{name}: {other:?}"),
            },
            "tee_tcb_svn" => hex::encode(r.tee_tcb_svn),
            "td_attr" => hex::encode(r.td_attributes.to_le_bytes()),
            "debug" => (r.td_attributes & 1 == 1).to_string(),
            "xfam" => hex::encode(r.xfam.to_le_bytes()),
            "mrseam" => hex::encode(r.mr_seam),
            "mrtd" => hex::encode(r.mr_td),
            "rtmr0" => hex::encode(r.rtmr[0]),
            "rtmr1" => hex::encode(r.rtmr[1]),
            "rtmr2" => hex::encode(r.rtmr[2]),
            "rtmr3" => hex::encode(r.rtmr[3]),
            "report_data" => hex::encode(r.report_data),
            "fmspc" => hex::encode(signed.fmspc()),
            "trailing" => (bytes.len() - quote_length(bytes).unwrap()).to_string(),
            "pck_not_before" | "pck_not_after" | "collateral" => continue,
            other => panic!("{name}: unknown key value {other}"),
        };
        assert_eq!(got, *expected, "{name}: {key}");
    }
}

#[test]
fn every_vector_gets_the_verdict_of_the_manifest() {
    let Some(vectors) = Vectors::load() else { return };
    let mut seen = BTreeMap::<&str, usize>::new();
    for (name, row) in &vectors.rows {
        let bytes = vectors.read(name);
        assert_eq!(Digest256::of(&bytes).to_string(), row.sha256, "{name}");
        // Event logs and their tables are replayed in the tests of event logs.
        let kind = if name.starts_with("ccel_") || name.ends_with(".json") && !name.contains('/') {
            "event log"
        } else if name.starts_with("collateral/") || row.expect.starts_with("input of") {
            "collateral"
        } else if row.expect.starts_with("authentic") {
            let now = row.clock.unwrap();
            let signed = signatures(quote(&vectors, name), now).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(!signed.is_simulated());
            check_values(name, row, &bytes, &signed);
            // The same quote without collateral is authentic to nobody.
            let refused = judge(
                evidence(quote(&vectors, name), None),
                &Anchors::vendor(),
                &Collateral::default(),
                now,
            );
            assert_eq!(refused.unwrap_err().code(), "tdx.collateral.missing", "{name}");
            "signatures"
        } else {
            let reason = row
                .expect
                .trim_start_matches("refuse (")
                .split([')', ':'])
                .next()
                .unwrap();
            let code = match reason {
                "quote signature" => "tdx.signature.invalid",
                "QE report signature" => "tdx.qe_report.signature",
                "tee_type 0x80 is neither TDX nor SGX" | "tee_type SGX" => "tdx.quote.tee_type",
                "parse" => "tdx.quote.length",
                // Its chain is in DER and stands root first: no form that Intel documents.
                "root not pinned" => "tdx.chain.pem",
                other => panic!("{name}: {other}"),
            };
            assert_eq!(
                signatures(bytes, row.clock.unwrap()).unwrap_err().code(),
                code,
                "{name}"
            );
            "refused"
        };
        *seen.entry(kind).or_default() += 1;
    }
    assert_eq!(
        seen,
        BTreeMap::from([
            ("collateral", 16),
            ("event log", 7),
            ("refused", 10),
            ("signatures", 14)
        ])
    );
}

/// Verdict with collateral stapled, and the claims if there are any.
fn with_collateral(vectors: &Vectors, name: &str) -> Result<TdxClaims, &'static str> {
    let (collateral, now) = match name {
        "v4_spr_e4_google.dat" | "v4_debug_trustee4.dat" => (vectors.collateral_2023(), JULY_2023),
        _ => (vectors.collateral_2025(), JULY_2025),
    };
    let quote = quote(vectors, name);
    let judged = |evidence, collateral: &Collateral| -> Result<TdxClaims, &'static str> {
        let authentic = judge(evidence, &Anchors::vendor(), collateral, now).map_err(|e| e.code())?;
        assert!(!authentic.is_simulated());
        assert!(matches!(authentic.revocation(), Revocation::Checked { .. }));
        Ok(claims(&authentic).clone())
    };
    let stapled = evidence(quote.clone(), Some(collateral.clone()));
    let verdict = judged(stapled.clone(), &Collateral::default());
    // Supplied by the caller instead, verified before or not, it gives the same.
    let supplied = Collateral {
        tdx: vec![collateral.clone()],
        ..Collateral::default()
    };
    let prepared = Collateral {
        prepared_tdx: vec![Arc::new(PreparedTdx::prepare(&collateral, &Anchors::vendor()).unwrap())],
        ..Collateral::default()
    };
    let bare = evidence(quote, None);
    for (evidence, collateral) in [(&bare, &supplied), (&bare, &prepared), (&stapled, &prepared)] {
        assert_eq!(judged(evidence.clone(), collateral), verdict, "{name}");
    }
    verdict
}

#[test]
fn quotes_with_collateral_are_authentic_at_its_time_with_its_verdict() {
    let Some(vectors) = Vectors::load() else { return };
    let day = 86_400;
    for (name, status, expires, tcb_date) in [
        // QE identity: nextUpdate 2025-07-19T10:00:35Z. tcbDate 2024-03-13.
        ("v4_dcapqvl.dat", TcbStatus::UpToDate, 1_752_919_235, 19_795 * day),
        // QE identity: nextUpdate 2023-07-08T07:24:59Z. tcbDate 2023-02-15.
        (
            "v4_debug_trustee4.dat",
            TcbStatus::UpToDate,
            1_688_801_099,
            19_403 * day,
        ),
    ] {
        let c = with_collateral(&vectors, name).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            (c.tcb_status, c.collateral_expires.0, c.tcb_date.0),
            (status, expires, tcb_date),
            "{name}"
        );
        assert_eq!(c.advisories, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_debug_td_is_authentic_and_says_so() {
    let Some(vectors) = Vectors::load() else { return };
    let debug = with_collateral(&vectors, "v4_debug_trustee4.dat").unwrap();
    assert_eq!(debug.td_attributes & 1, 1);
}

#[test]
fn platforms_below_every_level_of_the_tcb_info_are_refused() {
    let Some(vectors) = Vectors::load() else { return };
    for name in [
        // CPUSVN 3, 3, ... below 5, 5, ...: nothing else is wrong with it. SEPT_VE_DISABLE is policy's business.
        "v4_spr_e4_google.dat",
        "v4_dcapqvl_quote-from-tappd.dat",
        "v4_dcapqvl_tdx-quote.dat",
        "v4_dstack_ratls.dat",
    ] {
        assert_eq!(
            with_collateral(&vectors, name).unwrap_err(),
            "tdx.tcb.no_level",
            "{name}"
        );
    }
}

#[test]
fn text_behind_a_quote_is_refused() {
    let Some(vectors) = Vectors::load() else { return };
    let refused = signatures(vectors.read(APPENDED), JULY_2023).unwrap_err();
    assert_eq!(refused.code(), "tdx.quote.trailing");
}

#[test]
fn intels_test_pki_is_refused_for_its_root_and_with_its_root_for_its_documents() {
    let Some(vectors) = Vectors::load() else { return };
    let quote = vectors.quote_test_pki();
    let now = UnixTime(1_782_864_000);
    let refused = signatures(quote.clone(), now).unwrap_err();
    assert_eq!(refused.code(), "tdx.chain.root");
    assert_eq!(refused.class(), Class::NotAuthentic);
    // As a simulator's root it lets the signatures hold; its TCB info has 16-bit versions, which version 3 has not.
    let collateral = vectors.collateral_test_pki();
    let root = decode_pem(&collateral.pck_crl_issuer_chain);
    let anchors = Anchors::vendor().with_simulator_tdx_root(root);
    let parsed = ParsedTdx::parse(evidence(quote.clone(), None)).unwrap();
    assert!(parsed.check_signatures(&anchors, now).unwrap().is_simulated());
    let refused = judge(evidence(quote, Some(collateral)), &anchors, &Collateral::default(), now);
    assert_eq!(refused.unwrap_err().code(), "tdx.collateral.malformed");
}

/// The last certificate of a chain.
fn decode_pem(chain: &str) -> Vec<u8> {
    let last = chain.split("-----BEGIN CERTIFICATE-----").last().unwrap();
    let letters: String = last.split("-----END").next().unwrap().split_whitespace().collect();
    serde_json::from_value::<Base64>(serde_json::Value::String(letters))
        .unwrap()
        .0
}

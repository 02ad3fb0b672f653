//! Guests under a paravisor, each with one thing wrong.

use hanzo_attestation::bundle::{AzSnpEvidence, AzTdxEvidence, Base64};
use hanzo_attestation::evidence::Class;
use hanzo_attestation::foreign::{ForeignExpectation, ForeignFormat, Rule};
use hanzo_attestation::tpm::{AkOrigin, HclKind, HclReport};
use hanzo_attestation::{Anchors, AttestationError, Authentic, AuthenticDevices, Claims, binding};
use hanzo_simulated_tee::{
    CollateralSpec, LogBuilder, QuoteFormat, SimulatedTdx, SimulatedTpm, TdSpec, hcl_report, td_report, var_data,
};

use crate::{OTHER_VTPM, VTPM, judge, snp_guest, tpm, verdict};

const DATA: &[u8] = &[7; 48];

fn evidence() -> (AzSnpEvidence, Anchors) {
    let (guest, anchors) = snp_guest();
    (VTPM.az_snp(&guest, DATA), anchors)
}

/// The SNP evidence of a guest whose paravisor put `report_data` into the report, around `var_data`.
fn with_report_data(report_data: [u8; 64], var_data: &[u8]) -> (AzSnpEvidence, Anchors) {
    let (guest, anchors) = snp_guest();
    let mut evidence = VTPM.az_snp(&guest, DATA);
    let snp = guest.evidence(&report_data);
    evidence.hcl_report = Base64(hcl_report(2, &snp.report.0, var_data));
    (evidence, anchors)
}

fn bound(var_data: &[u8]) -> [u8; 64] {
    let mut out = [0; 64];
    out[..32].copy_from_slice(&hanzo_attestation::Digest256::of(var_data).0);
    out
}

#[test]
fn the_cpu_vouches_for_the_key_and_the_key_for_the_registers() {
    let (evidence, anchors) = evidence();
    let authentic = judge(evidence, &anchors).unwrap();
    assert!(authentic.is_simulated(), "the flag follows the CPU's root");
    let Claims::AzSnp(claims) = authentic.claims() else {
        panic!()
    };
    assert_eq!(tpm(&authentic).ak_origin, AkOrigin::CpuEvidence);
    assert_eq!(tpm(&authentic).qualifying_data, DATA);
    assert_eq!(claims.snp.report.vmpl, 0);
    assert_eq!(claims.hcl.user_data.as_ref().unwrap()[..48], *DATA);
    assert_eq!(claims.hcl.configuration.secure_boot, Some(true));
    assert_eq!(claims.hcl.configuration.console_enabled, Some(false));
}

#[test]
fn the_privilege_level_of_the_report_stays_in_the_claims() {
    let (guest, anchors) = snp_guest();
    let data = var_data(&VTPM, DATA);
    let snp = guest.evidence_edited(&bound(&data), |report| report[0x30] = 2);
    let mut evidence = VTPM.az_snp(&guest, DATA);
    evidence.hcl_report = Base64(hcl_report(2, &snp.report.0, &data));
    let authentic = judge(evidence, &anchors).unwrap();
    assert_eq!(authentic.claims().snp().unwrap().report.vmpl, 2);
}

#[test]
fn without_the_simulators_root_it_is_nobodys() {
    let (evidence, _) = evidence();
    assert_eq!(verdict(evidence, &Anchors::vendor()), "snp.chain.root");
}

#[test]
fn changed_variable_data_are_refused() {
    let data = var_data(&VTPM, DATA);
    let (evidence, anchors) = with_report_data(bound(&data), &data);
    assert_eq!(verdict(evidence, &anchors), "accepted");
    let text = String::from_utf8(data.clone()).unwrap();
    for changed in [
        text.replace("07", "08"),
        text.replace("\"secure-boot\":true", "\"secure-boot\":1e0"),
    ] {
        let (evidence, anchors) = with_report_data(bound(&data), changed.as_bytes());
        let code = verdict(evidence, &anchors);
        assert!(
            ["hcl.var_data.binding", "hcl.var_data.malformed"].contains(&code),
            "{code}"
        );
    }
}

/// REPORT_DATA is compared whole: the hash and 32 zeros.
#[test]
fn a_hash_with_anything_behind_it_or_another_hash_does_not_bind() {
    let data = var_data(&VTPM, DATA);
    for at in [0, 31, 32, 63] {
        let mut report_data = bound(&data);
        report_data[at] ^= 1;
        let (evidence, anchors) = with_report_data(report_data, &data);
        assert_eq!(verdict(evidence, &anchors), "hcl.var_data.binding", "byte {at}");
    }
}

/// The AK is the one whose hash the CPU signed. Another machine's vTPM is authentic and not this guest's.
#[test]
fn a_quote_of_another_machines_vtpm_is_refused() {
    let (guest, anchors) = snp_guest();
    let mut evidence = VTPM.az_snp(&guest, DATA);
    evidence.quote = OTHER_VTPM.quote(&[0, 1, 2], DATA);
    assert_eq!(verdict(evidence.clone(), &anchors), "tpm.signature.invalid");
    // The other machine's variable data with its quote, and this machine's report.
    let ours = guest.evidence(&bound(&var_data(&VTPM, DATA)));
    evidence.hcl_report = Base64(hcl_report(2, &ours.report.0, &var_data(&OTHER_VTPM, DATA)));
    assert_eq!(verdict(evidence, &anchors), "hcl.var_data.binding");
    // A P-256 quote under an RSA name.
    let mut evidence = VTPM.az_snp(&guest, DATA);
    evidence.quote = SimulatedTpm::for_tests().quote(&[0], DATA);
    assert_eq!(verdict(evidence, &anchors), "tpm.signature.algorithm");
}

#[test]
fn variable_data_are_read_strictly_where_they_are_read() {
    let text = String::from_utf8(var_data(&VTPM, DATA)).unwrap();
    let with = |from: &str, to: &str| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let (evidence, anchors) = with_report_data(bound(changed.as_bytes()), changed.as_bytes());
        verdict(evidence, &anchors)
    };
    let key = &text[text.find("{\"kid\"").unwrap()..text.find("],\"vm-").unwrap()];
    let bad = "hcl.var_data.malformed";
    assert_eq!(with(key, &format!("{key},{key}")), bad, "two attestation keys");
    assert_eq!(with(key, ""), bad, "none");
    assert_eq!(with("HCLAkPub", "HCLEkPub"), bad);
    assert_eq!(with("\"kty\":\"RSA\"", "\"kty\":\"EC\""), bad);
    assert_eq!(with("\"e\":\"AQAB\"", "\"e\":\"Aw\""), bad);
    assert_eq!(with("\"user-data\":\"07", "\"user-data\":\"0x"), bad);
    assert_eq!(with("\"user-data\":\"", "\"user-data\":\"00"), bad, "65 bytes");
    assert_eq!(
        with("\"user-data\":", "\"user-data\":\"\",\"user-data\":"),
        bad,
        "twice"
    );
    assert_eq!(with("{\"keys\"", "{{\"keys\""), bad);
    // The paravisor's later releases say more; the hash covers it.
    assert_eq!(with("{\"keys\"", "{\"new\":1,\"keys\""), "accepted");
    assert_eq!(
        with("\"secure-boot\":true", "\"secure-boot\":true,\"new\":[]"),
        "accepted"
    );
}

#[test]
fn the_report_is_read_strictly() {
    let (guest, anchors) = snp_guest();
    let good = VTPM.az_snp(&guest, DATA);
    let with = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut evidence = good.clone();
        edit(&mut evidence.hcl_report.0);
        verdict(evidence, &anchors)
    };
    let bad = "hcl.report.malformed";
    let runtime = 32 + 1184;
    assert_eq!(with(&|_| {}), "accepted");
    // Signature, version, report size, request type, status, reserved.
    for at in [0, 4, 8, 12, 16, 20, 31] {
        assert_eq!(with(&|r| r[at] ^= 0x80), bad, "byte {at}");
    }
    // Data size, version, hash type, variable data size.
    for at in [0, 4, 12, 16] {
        assert_eq!(with(&|r| r[runtime + at] ^= 0x80), bad, "runtime byte {at}");
    }
    assert_eq!(with(&|r| r[runtime + 8] = 3), bad);
    assert_eq!(with(&|r| r[runtime + 8] = 4), "hcl.report.kind");
    assert_eq!(with(&|r| *r.last_mut().unwrap() = 1), bad, "padding");
    assert_eq!(with(&|r| r.push(0)), "accepted");
    assert_eq!(with(&|r| r.resize(16 * 1024 + 1, 0)), bad);
    assert_eq!(
        with(&|r| r[runtime + 16..runtime + 20].fill(0xff)),
        bad,
        "a length that lies"
    );
    // The SNP report inside, and padding cut away, which is nobody's.
    assert_eq!(with(&|r| r[32 + 0x90] ^= 1), "snp.signature.invalid");
    let end = runtime + 20 + var_data(&VTPM, DATA).len();
    assert_eq!(with(&|r| r.truncate(end)), "accepted");
    for length in [0, 31, 32, runtime, runtime + 19, end - 1] {
        assert_eq!(with(&|r| r.truncate(length)), bad, "{length}");
    }
}

#[test]
fn the_vtpms_log_comes_along() {
    let (guest, anchors) = snp_guest();
    let log = LogBuilder::tcg().boot("quiet");
    let vtpm = crate::rsa_tpm("booted").booted(&log);
    let evidence = vtpm.az_snp(&guest, DATA);
    let authentic = judge(evidence.clone(), &anchors).unwrap();
    assert!(tpm(&authentic).event_log.as_ref().unwrap().registers().contains(&9));
    let mut other = evidence;
    other.event_log = Some(Base64(LogBuilder::tcg().boot("").bytes().to_vec()));
    assert_eq!(verdict(other, &anchors), "eventlog.replay.mismatch");
}

/// Trustee slices `user_data[0..len]` and panics when it is shorter. Here the whole field counts, whatever its length.
#[test]
fn user_data_shorter_than_what_they_must_repeat_are_refused_without_a_panic() {
    let rule = Rule {
        user_data_repeats: true,
        ..Rule::unstated(ForeignFormat::CocoAzSnpVtpm)
    };
    let hex = hex::encode(DATA);
    for (user_data, code) in [
        (Some(format!("{hex}{}", "00".repeat(16))), "accepted"),
        (Some(hex.to_uppercase()), "accepted"),
        (Some(hex[..94].to_owned()), "binding.foreign.user_data"),
        (Some("07".to_owned()), "binding.foreign.user_data"),
        (Some(String::new()), "binding.foreign.user_data"),
        (None, "binding.foreign.user_data"),
        (Some(format!("{hex}{}01", "00".repeat(15))), "binding.foreign.user_data"),
    ] {
        let text = String::from_utf8(var_data(&VTPM, DATA)).unwrap();
        let (before, _) = text.split_once(",\"user-data\"").unwrap();
        let member = user_data.map_or(String::new(), |hex| format!(r#","user-data":"{hex}""#));
        let data = format!("{before}{member}}}");
        let (evidence, anchors) = with_report_data(bound(data.as_bytes()), data.as_bytes());
        let authentic = judge(evidence, &anchors).unwrap();
        let verdict = binding::bind_foreign(
            authentic,
            AuthenticDevices::none(),
            &rule,
            &ForeignExpectation::default(),
        );
        assert_eq!(verdict.map_or_else(|e| e.code(), |_| "accepted"), code, "{member}");
    }
}

/// The paravisor of a simulated TD, and what becomes of it when `edit` changes it.
fn az_tdx(edit: impl FnOnce(&mut AzTdxEvidence)) -> Result<Authentic<Claims>, AttestationError> {
    let platform = SimulatedTdx::for_tests();
    let quote = |report_data: &[u8; 64]| {
        platform.evidence(
            &TdSpec::new(QuoteFormat::V4),
            report_data,
            &CollateralSpec::new(crate::NOW),
        )
    };
    let mut evidence = VTPM.az_tdx(quote, DATA);
    edit(&mut evidence);
    judge(
        evidence,
        &Anchors::vendor().with_simulator_tdx_root(platform.root_der().to_vec()),
    )
}

#[test]
fn a_trust_domain_under_a_paravisor_is_vouched_for_by_its_quote() {
    let authentic = az_tdx(|_| {}).unwrap();
    assert!(authentic.is_simulated());
    let Claims::AzTdx(claims) = authentic.claims() else {
        panic!()
    };
    assert_eq!(claims.tpm.ak_origin, AkOrigin::CpuEvidence);
    assert_eq!(claims.tpm.qualifying_data, DATA);
    assert_eq!(claims.tdx.report_data, bound(&claims.hcl.var_data));

    let code = |edit: &dyn Fn(&mut AzTdxEvidence)| az_tdx(edit).map_or_else(|e| e.code(), |_| "accepted");
    assert_eq!(
        code(&|e| e.quote = OTHER_VTPM.quote(&[0], DATA)),
        "tpm.signature.invalid"
    );
    assert_eq!(code(&|e| e.quote.pcrs[0].value.0[0] ^= 1), "tpm.quote.pcr_digest");
    assert_eq!(code(&|e| e.td.event_log = Some(Base64(Vec::new()))), "hcl.event_log");
    assert_eq!(code(&|e| e.td.collateral = None), "tdx.collateral.missing");
    let mut other = VTPM.az_tdx(
        |report_data| {
            let mut td = TdSpec::new(QuoteFormat::V4);
            td.mr_td = [1; 48];
            SimulatedTdx::for_tests().evidence(&td, report_data, &CollateralSpec::new(crate::NOW))
        },
        DATA,
    );
    // Another domain's report beside this one's quote, and its quote beside this one's report.
    assert_eq!(
        code(&|e| e.hcl_report = other.hcl_report.clone()),
        "hcl.td_report.mismatch"
    );
    assert_eq!(code(&|e| e.td.quote = other.td.quote.clone()), "hcl.td_report.mismatch");
    other.hcl_report.0.truncate(100);
    assert_eq!(
        code(&|e| e.hcl_report = other.hcl_report.clone()),
        "hcl.report.malformed"
    );
}

/// Each field that report and quote share is compared: one changed under a right hash is another domain.
#[test]
fn every_field_of_the_td_report_is_the_quotes() {
    use aws_lc_rs::digest::{SHA384, digest};
    let report = 32;
    for (field, offset) in [
        ("REPORTDATA", 128),
        ("TEE_TCB_SVN", 256 + 8),
        ("MRSEAM", 256 + 24),
        ("MRSIGNERSEAM", 256 + 72),
        ("SEAMATTRIBUTES", 256 + 120),
        ("ATTRIBUTES", 512),
        ("XFAM", 512 + 8),
        ("MRTD", 512 + 16),
        ("MRCONFIGID", 512 + 64),
        ("MROWNER", 512 + 112),
        ("MROWNERCONFIG", 512 + 160),
        ("RTMR0", 512 + 208),
        ("RTMR1", 512 + 256),
        ("RTMR2", 512 + 304),
        ("RTMR3", 512 + 352 + 47),
    ] {
        let refused = az_tdx(|evidence| {
            let bytes = &mut evidence.hcl_report.0[report..report + 1024];
            bytes[offset] ^= 1;
            for (at, from) in [(32, 256..256 + 239), (80, 512..1024)] {
                let hash = digest(&SHA384, &bytes[from]);
                bytes[at..at + 48].copy_from_slice(hash.as_ref());
            }
        });
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), "hcl.td_report.mismatch", "{field}");
        assert!(refused.to_string().contains(field), "{refused}");
    }
}

#[test]
fn a_td_report_is_read_strictly() {
    let report = td_report(&[3; 584]);
    let hcl = hcl_report(4, &report, &var_data(&VTPM, DATA));
    let read = HclReport::parse(&hcl).unwrap();
    assert_eq!(read.kind, HclKind::Tdx);
    assert_eq!(read.hardware_report[..1024], report[..]);
    assert_eq!(read.hardware_report[1024..], [0; 160]);
    assert_eq!(HclReport::parse(&hcl[..40]).unwrap_err().class(), Class::Malformed);
}

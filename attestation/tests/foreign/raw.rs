//! Bare reports, extended reports, quotes, configfs-tsm.

use hanzo_attestation::foreign::raw::{CertificateTable, configfs_tsm};
use hanzo_attestation::foreign::{ForeignEvidence, ForeignFormat, Supplied};

use crate::*;

const VCEK: [u8; 16] = 0x63da758d_e664_4564_adc5_f4b93be8accd_u128.to_be_bytes();
const VLEK: [u8; 16] = 0xa8074bc2_a25a_483e_aae6_39c045a0b8a1_u128.to_be_bytes();

pub fn table(entries: &[([u8; 16], &[u8])]) -> Vec<u8> {
    let mut head = Vec::new();
    let mut data = Vec::new();
    let start = (entries.len() + 1) * 24;
    for (id, bytes) in entries {
        head.extend_from_slice(id);
        head.extend_from_slice(&((start + data.len()) as u32).to_le_bytes());
        head.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        data.extend_from_slice(bytes);
    }
    head.extend_from_slice(&[0; 24]);
    head.extend_from_slice(&data);
    head
}

#[test]
fn a_bare_report_needs_a_certificate_and_binds_only_what_the_caller_expects() {
    let (report, vek) = simulated(&[7; 64]);
    assert_eq!(code(ForeignFormat::SnpReport, &report), "foreign.missing");
    assert_eq!(code(ForeignFormat::SnpReport, &report[1..]), "foreign.field");
    let supplied = Supplied {
        vek: Some(vek),
        ..Supplied::default()
    };
    let evidence = ForeignEvidence::read(ForeignFormat::SnpReport, &report, &supplied).unwrap();
    assert!(!evidence.rule().states_a_commitment());
    assert!(!challenged(&bind(&evidence, &ForeignExpectation::default()).unwrap()));
    assert!(challenged(&bind(&evidence, &report_data(&[7; 64])).unwrap()));
    for short_or_other in [&[7; 63][..], &[7; 65], &[8; 64], &[]] {
        assert_eq!(
            bind_code(&evidence, &report_data(short_or_other)),
            "binding.foreign.report_data",
            "the whole field is compared"
        );
    }
    assert_eq!(
        bind_code(&evidence, &nonce(&[7; 32])),
        "binding.foreign.nonce_unstated",
        "nothing says where a nonce would stand"
    );
}

#[test]
fn the_host_s_certificate_table_is_read_strictly() {
    let (report, vek) = simulated(&[7; 64]);
    let extended = |table: &[u8]| [&report, table].concat();
    let good = table(&[([9; 16], b"skipped"), (VCEK, &vek)]);
    let format = ForeignFormat::SnpExtendedReport;
    let evidence = read(format, &extended(&good)).unwrap();
    assert!(challenged(&bind(&evidence, &report_data(&[7; 64])).unwrap()));
    assert_eq!(code(format, &report), "foreign.field", "no table");
    assert_eq!(
        code(format, &extended(&table(&[]))),
        "foreign.missing",
        "no certificate"
    );
    assert_eq!(
        code(format, &extended(&table(&[(VCEK, &vek), (VCEK, &vek)]))),
        "foreign.field",
        "twice"
    );
    for (at, byte, why) in [
        (19, 0xff, "offset outside"),
        (23, 0xff, "length outside"),
        (40, 1, "end entry"),
    ] {
        let mut bad = table(&[(VCEK, &vek)]);
        bad[at] = byte;
        assert_eq!(code(format, &extended(&bad)), "foreign.field", "{why}");
    }
    assert!(CertificateTable::parse(format, &vec![0; 65_537]).is_err());
    assert_eq!(
        CertificateTable::parse(format, &table(&[(VLEK, b"x")])).unwrap().vlek,
        Some(b"x".to_vec())
    );
}

#[test]
fn configfs_tsm_output_is_a_report_with_a_table_or_a_quote() {
    let (report, vek) = simulated(&[7; 64]);
    let supplied = Supplied::default();
    let table = table(&[(VCEK, &vek)]);
    let evidence = configfs_tsm("sev_guest\n", &report, Some(&table), &supplied).unwrap();
    assert_eq!(snp_report(&evidence), report);
    assert_eq!(
        configfs_tsm("sev_guest", &report, None, &supplied).unwrap_err().code(),
        "foreign.missing"
    );
    let evidence = configfs_tsm("tdx_guest\n", &[4; 5000], None, &supplied).unwrap();
    assert_eq!(quote(&evidence), [4; 5000]);
    assert_eq!(
        configfs_tsm("arm_cca_guest", &report, None, &supplied)
            .unwrap_err()
            .code(),
        "foreign.unsupported"
    );
}

#[test]
fn a_document_over_the_bound_is_not_looked_at() {
    let long = vec![b'['; (2 << 20) + 1];
    for format in ForeignFormat::ALL {
        assert_eq!(code(format, &long), "foreign.too_large", "{format}");
    }
}

//! Registers, TDREPORTs and the event log.

use std::fs;
use std::io;

use hanzo_attestation::Digest384;
use tdx_attest_rs::{Machine, TdReportRequest};

use super::fake_kernel::{FakeKernel, put_ccel, tree};
use super::{ASKED, echo};

#[test]
fn a_register_is_extended_and_read_back() {
    let (_dir, roots) = tree();
    let machine = Machine::with_kernel(roots.clone(), Box::new(echo("tdx_guest")));
    let digest = Digest384::of(b"configuration");
    let mut expected = [0; 48];
    for _ in 0..2 {
        let mut input = expected.to_vec();
        input.extend_from_slice(&digest.0);
        expected = Digest384::of(&input).0;
        assert_eq!(machine.extend_rtmr(3, &digest).unwrap(), expected);
    }
    assert_eq!(machine.rtmr(3).unwrap(), expected);
    assert_eq!(machine.rtmr(2).unwrap(), [0; 48]);
    for index in [0, 1, 4, 255] {
        assert_eq!(machine.extend_rtmr(index, &digest).unwrap_err().code(), "rtmr.index");
    }

    let raced = Machine::with_kernel(
        roots.clone(),
        Box::new(FakeKernel {
            foreign_extend: true,
            ..echo("tdx_guest")
        }),
    );
    assert_eq!(raced.extend_rtmr(2, &digest).unwrap_err().code(), "rtmr.readback");
    // A register that takes the write as its value is no register.
    let files = Machine::at(roots.clone());
    assert_eq!(files.extend_rtmr(3, &digest).unwrap_err().code(), "rtmr.readback");

    let register = roots
        .sys
        .join("devices/virtual/misc/tdx_guest/measurements/rtmr3:sha384");
    for wrong in [47, 49] {
        fs::write(&register, vec![0; wrong]).unwrap();
        assert_eq!(machine.rtmr(3).unwrap_err().code(), "tsm.malformed");
    }
    fs::remove_file(&register).unwrap();
    let error = machine.extend_rtmr(3, &digest).unwrap_err();
    assert_eq!(error.code(), "tsm.absent");
    assert!(error.to_string().contains("6.16"), "{error}");
}

/// What the TDX module answers.
fn module(request: &mut TdReportRequest) {
    let (asked, report) = request.split_at_mut(64);
    report[0] = 0x81;
    report[128..192].copy_from_slice(asked);
    report[528..576].fill(1);
    for (index, at) in [720, 768, 816, 864].into_iter().enumerate() {
        report[at..at + 48].fill(2 + index as u8);
    }
}

#[test]
fn a_td_report_answers_the_question_and_shows_the_registers() {
    let (_dir, roots) = tree();
    fs::write(roots.dev.join("tdx_guest"), b"").unwrap();
    let machine = Machine::at(roots.clone());
    let ask = |change: fn(&mut TdReportRequest)| {
        machine.td_report(&ASKED, |_, request| {
            module(request);
            change(request);
            Ok(())
        })
    };
    let report = ask(|_| ()).unwrap();
    assert_eq!(report.mr_td(), [1; 48]);
    assert_eq!(report.rtmrs(), [[2; 48], [3; 48], [4; 48], [5; 48]]);
    assert_eq!(report.as_bytes()[128..192], ASKED);
    assert_eq!(format!("{report:?}"), "TdReport(1024 bytes, no quote)");

    assert_eq!(ask(|r| r[64 + 128] ^= 1).unwrap_err().code(), "tsm.report_data");
    assert_eq!(ask(|r| r[64 + 191] ^= 1).unwrap_err().code(), "tsm.report_data");
    assert_eq!(ask(|r| r[64] = 0).unwrap_err().code(), "tsm.malformed");
    let busy = machine.td_report(&ASKED, |_, _| Err(io::ErrorKind::ResourceBusy.into()));
    assert_eq!(busy.unwrap_err().code(), "tsm.io");
    fs::remove_file(roots.dev.join("tdx_guest")).unwrap();
    let absent = machine.td_report(&ASKED, |_, _| Ok(()));
    assert_eq!(absent.unwrap_err().code(), "tsm.absent");
}

#[test]
fn the_event_log_is_the_area_that_the_table_describes() {
    let (_dir, roots) = tree();
    let machine = Machine::at(roots.clone());
    assert_eq!(machine.ccel().unwrap(), None);
    put_ccel(&roots, b"log and padding");
    assert_eq!(machine.ccel().unwrap().as_deref(), Some(&b"log and padding"[..]));

    let table = roots.sys.join("firmware/acpi/tables/CCEL");
    let good = fs::read(&table).unwrap();
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        fs::write(&table, bytes).unwrap();
        machine.ccel().unwrap_err().code()
    };
    for change in [
        &(|t: &mut Vec<u8>| t[0] = b'X') as &dyn Fn(&mut Vec<u8>),
        &|t| t[4] = 57,
        &|t| t[40] = 16,
        &|t| t[40] = 0,
        &|t| t[47] = 0xff,
        &|t| t.truncate(55),
        &|t| t.push(0),
    ] {
        assert_eq!(refused(change), "tsm.malformed");
    }
    fs::write(&table, &good).unwrap();
    fs::remove_file(roots.sys.join("firmware/acpi/tables/data/CCEL")).unwrap();
    assert_eq!(
        machine.ccel().unwrap_err().code(),
        "tsm.absent",
        "a table without its log"
    );
}

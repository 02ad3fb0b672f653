//! Made logs, each with one thing wrong.

use std::collections::BTreeMap;

use hanzo_attestation::eventlog::{
    Algorithm, CcelTable, EventLog, LOG_BYTES_MAX, binary_of, kind, log_block, replay_ccel, replay_dstack, replay_tcg,
};
use hanzo_simulated_tee::LogBuilder;

fn quoted(log: &LogBuilder) -> BTreeMap<u8, [u8; 32]> {
    (0..24).zip(log.pcrs()).collect()
}

fn tcg(log: &LogBuilder) -> &'static str {
    replay_tcg(log.bytes(), &quoted(log)).map_or_else(|e| e.code(), |_| "replayed")
}

fn ccel(log: &LogBuilder) -> &'static str {
    replay_ccel(log.bytes(), &log.rtmr()).map_or_else(|e| e.code(), |_| "replayed")
}

fn parse_tcg(bytes: &[u8]) -> &'static str {
    EventLog::parse_tcg(bytes).map_or_else(|e| e.code(), |_| "parsed")
}

fn parse_ccel(bytes: &[u8]) -> &'static str {
    EventLog::parse_ccel(bytes).map_or_else(|e| e.code(), |_| "parsed")
}

#[test]
fn a_boot_replays_and_another_boot_does_not() {
    let log = LogBuilder::tcg().boot("quiet");
    assert_eq!(tcg(&log), "replayed");
    let other = LogBuilder::tcg().boot("debug");
    let verdict = replay_tcg(other.bytes(), &quoted(&log)).unwrap_err();
    assert_eq!(verdict.code(), "eventlog.replay.mismatch");
    assert!(verdict.to_string().contains("register 9"));

    let log = LogBuilder::ccel().boot("quiet");
    assert_eq!(ccel(&log), "replayed");
    let other = LogBuilder::ccel().boot("debug");
    assert_eq!(
        replay_ccel(other.bytes(), &log.rtmr()).unwrap_err().code(),
        "eventlog.replay.mismatch"
    );
}

#[test]
fn what_is_mistaken_for_a_log_is_refused_by_name() {
    // TPM 1.2's layout: records with one SHA-1 digest each.
    let record = |register: u32, digest: u8, data: &[u8]| {
        let length = u32::try_from(data.len()).unwrap().to_le_bytes();
        [
            &register.to_le_bytes()[..],
            &8_u32.to_le_bytes(),
            &[digest; 20],
            &length,
            data,
        ]
        .concat()
    };
    let old = [record(0, 1, b"version"), record(7, 2, &[0; 4])].concat();
    assert_eq!(parse_tcg(&old), "eventlog.sha1_only");
    assert_eq!(parse_ccel(&old), "eventlog.sha1_only");
    // Cut, in a register that is none, or without a digest it is not even that.
    assert_eq!(parse_tcg(&old[..old.len() - 1]), "eventlog.header");
    assert_eq!(parse_tcg(&record(24, 1, b"version")), "eventlog.header");
    assert_eq!(parse_tcg(&record(0, 0, b"version")), "eventlog.header");
    for signature in [b"CCEL", b"TPM2", b"TCPA"] {
        let table = [&signature[..], &56_u32.to_le_bytes(), &[0; 48]].concat();
        assert_eq!(parse_ccel(&table), "eventlog.acpi_table");
        assert_ne!(parse_ccel(&table[..55]), "eventlog.acpi_table");
    }
    assert_eq!(parse_tcg(LogBuilder::tcg().bytes()), "parsed");
    assert_eq!(parse_ccel(LogBuilder::ccel().bytes()), "parsed");
}

#[test]
fn an_empty_log_explains_nothing() {
    let booted = LogBuilder::tcg().boot("quiet");
    let empty = LogBuilder::tcg();
    assert_eq!(
        replay_tcg(empty.bytes(), &quoted(&booted)).unwrap_err().code(),
        "eventlog.replay.mismatch"
    );
    let booted = LogBuilder::ccel().boot("quiet");
    assert_eq!(
        replay_ccel(LogBuilder::ccel().bytes(), &booted.rtmr())
            .unwrap_err()
            .code(),
        "eventlog.replay.mismatch"
    );
    assert_eq!(parse_tcg(b""), "eventlog.truncated");
    assert_eq!(
        replay_dstack(b"", &booted.rtmr()).unwrap_err().code(),
        "eventlog.dstack"
    );
}

/// The duplicated separator: what comes after the second could pass for the firmware's own words.
#[test]
fn a_second_separator_of_one_register_is_refused() {
    assert_eq!(tcg(&LogBuilder::tcg().boot("").separator(8)), "replayed");
    assert_eq!(
        tcg(&LogBuilder::tcg().boot("").separator(4)),
        "eventlog.separator.twice"
    );
    assert_eq!(ccel(&LogBuilder::ccel().boot("").separator(3)), "replayed");
    assert_eq!(
        ccel(&LogBuilder::ccel().boot("").separator(1)),
        "eventlog.separator.twice"
    );
    // Also in a register that the quote leaves out, whose events do not count.
    let log = LogBuilder::tcg().boot("").separator(4);
    let mut some = quoted(&log);
    some.remove(&4);
    assert_eq!(
        replay_tcg(log.bytes(), &some).unwrap_err().code(),
        "eventlog.separator.twice"
    );
}

#[test]
fn a_separator_says_zero_or_all_ones() {
    for (value, verdict) in [
        (vec![0; 4], "replayed"),
        (vec![0xff; 4], "replayed"),
        (vec![1, 0, 0, 0], "eventlog.separator.value"),
        (vec![0; 5], "eventlog.separator.value"),
        (vec![], "eventlog.separator.value"),
    ] {
        assert_eq!(
            tcg(&LogBuilder::tcg().boot("").event(8, kind::EV_SEPARATOR, &value)),
            verdict
        );
    }
    let forged = LogBuilder::tcg()
        .boot("")
        .event_over(8, kind::EV_SEPARATOR, &[0; 4], b"else");
    assert_eq!(tcg(&forged), "eventlog.data_digest");
}

/// The digest stays, so the registers stay, and the words beside it change: refused where TCG says that the digest is of
/// the words, marked as not vouched where it is not.
#[test]
fn changed_event_data_under_a_true_digest_never_counts() {
    for refused in [
        kind::EV_ACTION,
        kind::EV_S_CRTM_VERSION,
        kind::EV_EFI_ACTION,
        kind::EV_EFI_GPT_EVENT,
        kind::EV_EFI_VARIABLE_DRIVER_CONFIG,
        kind::EV_EFI_VARIABLE_BOOT,
        kind::EV_EFI_VARIABLE_BOOT2,
        kind::EV_EFI_VARIABLE_AUTHORITY,
    ] {
        assert_eq!(tcg(&LogBuilder::tcg().boot("").event(5, refused, b"true")), "replayed");
        let log = LogBuilder::tcg().boot("").event_over(5, refused, b"false", b"true");
        assert_eq!(tcg(&log), "eventlog.data_digest", "{refused:#x}");
    }
    for unvouched in [
        kind::EV_IPL,
        kind::EV_EVENT_TAG,
        kind::EV_EFI_BOOT_SERVICES_APPLICATION,
        0x7777,
    ] {
        let log = LogBuilder::tcg().boot("").event_over(5, unvouched, b"false", b"true");
        let replayed = replay_tcg(log.bytes(), &quoted(&log)).unwrap();
        let last = replayed.events().last().unwrap();
        assert!(!last.data_vouched && last.data == b"false", "{unvouched:#x}");
    }
}

/// EDK2 hashes the value of a boot variable and not its name: the name in the log is anybody's.
#[test]
fn a_boot_variable_is_vouched_for_only_with_its_name() {
    let log = LogBuilder::tcg().boot("");
    let replayed = replay_tcg(log.bytes(), &quoted(&log)).unwrap();
    let boot = replayed
        .events()
        .iter()
        .find(|e| e.kind == kind::EV_EFI_VARIABLE_BOOT)
        .unwrap();
    assert!(!boot.data_vouched);
    let config = replayed
        .events()
        .iter()
        .find(|e| e.kind == kind::EV_EFI_VARIABLE_DRIVER_CONFIG);
    assert!(config.unwrap().data_vouched);
}

#[test]
fn events_that_nothing_vouches_for_are_left_out() {
    let log = LogBuilder::tcg().boot("").event(0, kind::EV_NO_ACTION, b"a claim");
    let mut some = quoted(&log);
    some.remove(&9);
    let replayed = replay_tcg(log.bytes(), &some).unwrap();
    assert!(
        replayed
            .events()
            .iter()
            .all(|e| e.register != 9 && e.kind != kind::EV_NO_ACTION)
    );
    assert!(!replayed.registers().contains(&9));
    assert!(replayed.registers().contains(&17), "all ones until a dynamic launch");

    // MRTD is extended by no event, whatever the log says.
    let log = LogBuilder::ccel().boot("").event(0, kind::EV_EFI_ACTION, b"a claim");
    let replayed = replay_ccel(log.bytes(), &log.rtmr()).unwrap();
    assert!(replayed.events().iter().all(|e| e.register != 0));
}

/// RTMR3 and PCR 8 and above may be extended by software that keeps its own log: then this log says nothing of them.
#[test]
fn a_register_that_the_log_does_not_explain_is_not_among_the_explained() {
    let log = LogBuilder::ccel().boot("");
    assert!(replay_ccel(log.bytes(), &log.rtmr()).unwrap().registers().contains(&4));
    let mut rtmr = log.rtmr();
    rtmr[3][0] ^= 1;
    assert!(!replay_ccel(log.bytes(), &rtmr).unwrap().registers().contains(&4));
    let told = log.clone().event(4, kind::EV_EVENT_TAG, b"x");
    assert_eq!(
        replay_ccel(told.bytes(), &rtmr).unwrap_err().code(),
        "eventlog.replay.mismatch"
    );
    for firmware in 0..3 {
        let mut rtmr = log.rtmr();
        rtmr[firmware][0] ^= 1;
        assert_eq!(
            replay_ccel(log.bytes(), &rtmr).unwrap_err().code(),
            "eventlog.replay.mismatch"
        );
    }
}

#[test]
fn the_locality_of_startup_is_what_pcr_0_starts_with() {
    assert_eq!(tcg(&LogBuilder::tcg().startup_locality(3).boot("")), "replayed");
    let hidden = LogBuilder::tcg().boot("");
    let shown = LogBuilder::tcg().startup_locality(3).boot("");
    assert_eq!(
        replay_tcg(hidden.bytes(), &quoted(&shown)).unwrap_err().code(),
        "eventlog.replay.mismatch"
    );
    for wrong in [
        LogBuilder::tcg().startup_locality(1),
        LogBuilder::tcg().startup_locality(3).startup_locality(3),
        LogBuilder::tcg().boot("").startup_locality(3),
        LogBuilder::tcg().event(0, kind::EV_NO_ACTION, b"StartupLocality\0"),
    ] {
        assert_eq!(parse_tcg(wrong.bytes()), "eventlog.startup_locality");
    }
}

#[test]
fn padding_is_tolerated_behind_a_ccel_log_and_never_measured() {
    let log = LogBuilder::ccel().boot("");
    let padded = |fill: &[u8]| [log.bytes(), fill].concat();
    for good in [&[0xff; 64][..], &[0; 64], &[0xff], &[0]] {
        let with = replay_ccel(&padded(good), &log.rtmr()).unwrap();
        assert_eq!(with, replay_ccel(log.bytes(), &log.rtmr()).unwrap());
    }
    for bad in [&[0, 0xff][..], &[0xff, 0xff, 0xff, 0], &[1]] {
        assert_eq!(parse_ccel(&padded(bad)), "eventlog.truncated");
    }
    assert_eq!(
        parse_ccel(&padded(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])),
        "eventlog.register"
    );
    assert_eq!(parse_ccel(&padded(&[&[0; 63][..], &[1]].concat())), "eventlog.digests");
    // A TPM's log ends with its last event.
    let log = LogBuilder::tcg().boot("");
    for fill in [0, 0xff] {
        assert_ne!(parse_tcg(&[log.bytes(), &[fill; 64]].concat()), "parsed");
    }
}

#[test]
fn a_log_cut_anywhere_is_refused_or_shorter() {
    let log = LogBuilder::tcg().boot("quiet");
    for length in 0..log.bytes().len() {
        let cut = &log.bytes()[..length];
        // At the end of an event what is left is a log, and not of this boot; without its only event of PCR 9 it says
        // nothing of PCR 9.
        match replay_tcg(cut, &quoted(&log)) {
            Ok(shorter) => assert!(!shorter.registers().contains(&9)),
            Err(e) => assert!(
                ["eventlog.truncated", "eventlog.replay.mismatch"].contains(&e.code()),
                "{length}: {e}"
            ),
        }
    }
}

#[test]
fn the_header_is_read_strictly() {
    let log = LogBuilder::tcg().boot("");
    let with = |at: usize, value: u8| {
        let mut bytes = log.bytes().to_vec();
        bytes[at] = value;
        parse_tcg(&bytes)
    };
    assert_eq!(with(0, 0), "parsed");
    for (at, value, code) in [
        (0, 1, "eventlog.header"),
        (4, 8, "eventlog.header"),
        (8, 1, "eventlog.header"),
        (46, b'2', "eventlog.header"),
        (52, 1, "eventlog.header"),
        (53, 1, "eventlog.header"),
        (55, 3, "eventlog.header"),
        (56, 0, "eventlog.truncated"),
        (56, 2, "eventlog.truncated"),
        (60, 0x27, "eventlog.algorithm"),
        (62, 31, "eventlog.algorithm"),
        (64, 1, "eventlog.truncated"),
    ] {
        assert_eq!(with(at, value), code, "byte {at}");
    }
    assert_eq!(
        replay_ccel(log.bytes(), &[[0; 48]; 4]).unwrap_err().code(),
        "eventlog.register",
        "a TPM's log is not a TDX guest's"
    );
    assert_eq!(
        replay_ccel(LogBuilder::tcg().bytes(), &[[0; 48]; 4])
            .unwrap_err()
            .code(),
        "eventlog.bank"
    );
    let log = EventLog::parse_tcg(log.bytes()).unwrap();
    for absent in [Algorithm::Sha1, Algorithm::Sha384] {
        assert_eq!(log.registers(absent).unwrap_err().code(), "eventlog.bank");
    }
}

#[test]
fn each_event_has_one_digest_of_each_bank_and_a_register_that_exists() {
    let start = LogBuilder::tcg().bytes().len();
    let log = LogBuilder::tcg().event(23, 5, b"x");
    let with = |at: usize, value: u8| {
        let mut bytes = log.bytes().to_vec();
        bytes[start + at] = value;
        parse_tcg(&bytes)
    };
    assert_eq!(with(0, 23), "parsed");
    assert_eq!(with(0, 24), "eventlog.register");
    assert_eq!(with(8, 0), "eventlog.digests");
    assert_eq!(with(8, 2), "eventlog.digests");
    assert_eq!(with(12, 0x0c), "eventlog.digests");
    assert_eq!(with(46, 2), "eventlog.truncated");
    assert_eq!(with(49, 0xff), "eventlog.truncated");
}

#[test]
fn logs_are_bounded() {
    assert_eq!(parse_tcg(&vec![0; LOG_BYTES_MAX + 1]), "eventlog.length");
    let many = (0..8193).fold(LogBuilder::ccel(), |log, _| log.event(4, 5, b""));
    assert_eq!(parse_ccel(many.bytes()), "eventlog.length");
    assert_eq!(
        replay_dstack(&vec![b' '; LOG_BYTES_MAX + 1], &[[0; 48]; 4])
            .unwrap_err()
            .code(),
        "eventlog.length"
    );
}

#[test]
fn a_dstack_name_cannot_borrow_bytes_from_its_payload() {
    let event = |name: &str, payload: &str| {
        format!(r#"[{{"imr":3,"event_type":134217729,"digest":"","event":"{name}","event_payload":"{payload}"}}]"#)
    };
    let bytes = [&134_217_729_u32.to_le_bytes()[..], b":a:b:c"].concat();
    let log = LogBuilder::ccel().event(4, 5, &bytes);
    let true_one = event("a", &hex::encode("b:c"));
    let replayed = replay_dstack(true_one.as_bytes(), &log.rtmr()).unwrap();
    assert_eq!(replayed.events()[0].dstack(), Some(("a", b"b:c".as_slice())));
    let shifted = event("a:b", &hex::encode("c"));
    assert_eq!(
        replay_dstack(shifted.as_bytes(), &log.rtmr()).unwrap_err().code(),
        "eventlog.dstack"
    );
}

#[test]
fn a_ccel_table_is_read_strictly() {
    let mut table =
        *b"CCEL\x38\0\0\0\x01\0HANZO SIMULATE\0\0\0\0HANZ\0\0\0\0\x02\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\x10\0\0\0\0";
    let sum = table.iter().fold(0_u8, |a, b| a.wrapping_add(*b));
    table[9] = 0_u8.wrapping_sub(sum);
    let read = CcelTable::parse(&table).unwrap();
    assert_eq!((read.cc_type, read.log_area_bytes_min), (2, 0x1_0000));
    for i in 0..table.len() {
        let mut broken = table;
        broken[i] ^= 1;
        assert_eq!(
            CcelTable::parse(&broken).unwrap_err().code(),
            "eventlog.ccel_table",
            "{i}"
        );
    }
    assert!(CcelTable::parse(&table[1..]).is_err());
    assert!(CcelTable::parse(&[&table[..], &[0]].concat()).is_err());
}

#[test]
fn a_log_goes_through_text_unchanged() {
    let log = LogBuilder::tcg().boot("");
    assert_eq!(binary_of(&log_block(log.bytes())).unwrap(), log.bytes());
}

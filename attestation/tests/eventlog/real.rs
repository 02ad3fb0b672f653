//! Every public log gets the verdict its manifest states.

use std::collections::BTreeMap;

use hanzo_attestation::Digest384;
use hanzo_attestation::eventlog::{
    Algorithm, CcelTable, DSTACK_RUNTIME_EVENT, EventLog, binary_of, kind, replay_ccel, replay_dstack, replay_tcg,
};
use serde_json::Value;

use crate::manifest::Vectors;

type Registers = BTreeMap<u32, Vec<u8>>;

/// RTMR0 to RTMR3 of a version 4 quote, at their fixed offsets.
fn rtmr_of(quote: &[u8]) -> [[u8; 48]; 4] {
    [0, 1, 2, 3].map(|i| quote[48 + 328 + 48 * i..][..48].try_into().unwrap())
}

fn rtmrs(registers: &Registers) -> [[u8; 48]; 4] {
    [1, 2, 3, 4].map(|i| registers.get(&i).map_or([0; 48], |v| v.as_slice().try_into().unwrap()))
}

fn pcrs(registers: &Registers) -> BTreeMap<u8, [u8; 32]> {
    let pcr = |(i, v): (&u32, &Vec<u8>)| (u8::try_from(*i).unwrap(), v.as_slice().try_into().unwrap());
    registers.iter().map(pcr).collect()
}

#[test]
fn every_log_of_the_tdx_vectors_gets_the_verdict_of_the_manifest() {
    let Some(vectors) = Vectors::load("tdx/") else { return };
    let quote = |name: &str| rtmr_of(&vectors.read(&format!("tdx/{name}")));
    let mut seen = 0;
    for path in vectors.rows.keys() {
        let row = &vectors.rows[path];
        match path.as_str() {
            "tdx/ccel_cos113.bin" => {
                let rtmr = quote(&row.values["pair"]);
                let log = replay_ccel(&vectors.read(path), &rtmr).unwrap();
                for (i, key) in ["rtmr0", "rtmr1", "rtmr2"].into_iter().enumerate() {
                    assert_eq!(Digest384(rtmr[i]).to_string(), row.values[key], "{key}");
                }
                assert_eq!(log.events().len(), 43);
                assert_eq!(log.registers().iter().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
                check_vouched(log.events());
                // The other quote of the same firmware is another boot.
                assert_eq!(
                    replay_ccel(&vectors.read(path), &quote("openpcc_gce.dat"))
                        .unwrap_err()
                        .code(),
                    "eventlog.replay.mismatch"
                );
            }
            "tdx/ccel_cos113_dupe_separator.bin" => {
                assert!(row.expect.starts_with("refuse (duplicated separator event)"));
                let log = vectors.read(path);
                let registers = EventLog::parse_ccel(&log)
                    .unwrap()
                    .registers(Algorithm::Sha384)
                    .unwrap();
                // Even with the very registers that it leads to, it is refused.
                assert_eq!(
                    replay_ccel(&log, &rtmrs(&registers)).unwrap_err().code(),
                    "eventlog.separator.twice"
                );
                let plain = vectors.rows[path].values.values().next().unwrap();
                assert!(plain.starts_with(&hex::encode(&registers[&1])), "{plain}");
            }
            "tdx/ccel_data_gcp.bin" => {
                let log = EventLog::parse_ccel(&vectors.read(path)).unwrap();
                assert_eq!(log.events().len(), 21);
                let registers = log.registers(Algorithm::Sha384).unwrap();
                let replayed = replay_ccel(&vectors.read(path), &rtmrs(&registers)).unwrap();
                check_vouched(replayed.events());
            }
            "tdx/ccel_data_ovmf.bin" => check_ovmf(
                &vectors.read(path),
                &serde_json::from_slice(&vectors.read("tdx/ccel_data_ovmf_out.json")).unwrap(),
            ),
            "tdx/ccel_data_ovmf_out.json" => {}
            "tdx/ccel_cos113.table" => {
                let table = CcelTable::parse(&vectors.read(path)).unwrap();
                assert_eq!((table.cc_type, table.cc_subtype), (2, 0));
                assert_eq!(
                    table.log_area_bytes_min,
                    vectors.read("tdx/ccel_cos113.bin").len() as u64
                );
                assert_eq!(
                    EventLog::parse_ccel(&vectors.read(path)).unwrap_err().code(),
                    "eventlog.acpi_table"
                );
            }
            "tdx/v4_dstack_tdx-lite-getquote.json" => check_dstack(
                &serde_json::from_slice(&vectors.read(path)).unwrap(),
                &quote("v4_dstack_tdx-lite-getquote.dat"),
            ),
            _ => continue,
        }
        seen += 1;
    }
    assert_eq!(seen, 7, "logs were added or removed: say what must hold for them");
}

/// Where TCG says that the digest is the hash of the data, it is; where it is of something else, the data is not vouched.
fn check_vouched(events: &[hanzo_attestation::eventlog::Event]) {
    for event in events {
        let expected = match event.kind {
            kind::EV_SEPARATOR
            | kind::EV_EFI_ACTION
            | kind::EV_EFI_GPT_EVENT
            | kind::EV_EFI_VARIABLE_DRIVER_CONFIG
            | kind::EV_EFI_VARIABLE_AUTHORITY => true,
            kind::EV_IPL | kind::EV_EVENT_TAG | kind::EV_EFI_BOOT_SERVICES_APPLICATION => false,
            _ => continue,
        };
        assert_eq!(event.data_vouched, expected, "{event:?}");
    }
}

/// The expected parse lists every event after the header.
fn check_ovmf(log: &[u8], expected: &Value) {
    let parsed = EventLog::parse_ccel(log).unwrap();
    let expected = expected["uefi_event_logs"].as_array().unwrap();
    assert_eq!((parsed.events().len(), expected.len()), (20, 20));
    for (event, expected) in parsed.events().iter().zip(expected) {
        assert_eq!(u64::from(event.register), expected["index"].as_u64().unwrap());
        let name = match event.kind {
            kind::EV_SEPARATOR => "EV_SEPARATOR",
            kind::EV_EVENT_TAG => "EV_EVENT_TAG",
            0xa => "EV_PLATFORM_CONFIG_FLAGS",
            kind::EV_EFI_VARIABLE_DRIVER_CONFIG => "EV_EFI_VARIABLE_DRIVER_CONFIG",
            kind::EV_EFI_VARIABLE_BOOT => "EV_EFI_VARIABLE_BOOT",
            kind::EV_EFI_BOOT_SERVICES_APPLICATION => "EV_EFI_BOOT_SERVICES_APPLICATION",
            kind::EV_EFI_ACTION => "EV_EFI_ACTION",
            0x8000_000a => "EV_EFI_PLATFORM_FIRMWARE_BLOB2",
            0x8000_000b => "EV_EFI_HANDOFF_TABLES2",
            other => panic!("{other:#x}"),
        };
        assert_eq!(name, expected["type_name"]);
        let digest = &event.digests[&Algorithm::Sha384];
        assert_eq!(hex::encode(digest), expected["digests"][0]["digest"].as_str().unwrap());
        let matches = Digest384::of(&event.data).0 == digest[..];
        assert_eq!(matches, expected["digest_matches_event"].as_bool().unwrap());
        assert_eq!(
            serde_json::to_value(hanzo_attestation::bundle::Base64(event.data.clone())).unwrap(),
            expected["event"]
        );
    }
    // This firmware, of 2022, writes two separators into RTMR0: it parses, and it is not replayed.
    let registers = parsed.registers(Algorithm::Sha384).unwrap();
    assert_eq!(
        replay_ccel(log, &rtmrs(&registers)).unwrap_err().code(),
        "eventlog.separator.twice"
    );
}

/// The digests as given lead to RTMR0 to RTMR2; with those of the run time events computed, to RTMR3 as well.
fn check_dstack(evidence: &Value, rtmr: &[[u8; 48]; 4]) {
    let log = evidence["event_log"].as_str().unwrap();
    let replayed = replay_dstack(log.as_bytes(), rtmr).unwrap();
    assert_eq!(replayed.events().len(), 29);
    let runtime: Vec<_> = replayed.events().iter().filter_map(|e| e.dstack()).collect();
    assert_eq!(runtime.len(), 9);
    assert_eq!(hex::encode(runtime[1].1), "86b0e55f2fa8e4fb69d890f14f54d5612707646e");
    assert_eq!(runtime[1].0, "app-id");
    for event in replayed.events() {
        let runtime = event.kind == DSTACK_RUNTIME_EVENT;
        assert_eq!(
            event.data_vouched, runtime,
            "the firmware's events carry no data that matches"
        );
    }
    for (from, to, code) in [
        (r#""event":"app-id""#, r#""event":"app-ie""#, "eventlog.replay.mismatch"),
        (r#""event":"app-id""#, r#""event":"app:id""#, "eventlog.dstack"),
        ("86b0e55f2fa8e4fb", "86b0e55f2fa8e4fc", "eventlog.replay.mismatch"),
        (
            r#""event":"system-ready""#,
            r#""event":"system-ready","more":1"#,
            "eventlog.dstack",
        ),
        (r#""imr":3"#, r#""imr":4"#, "eventlog.register"),
        (r#""event_type":134217729"#, r#""event_type":10"#, "eventlog.dstack"),
        (
            r#""digest":"","event":"app-id""#,
            &format!(r#""digest":"{}","event":"app-id""#, "00".repeat(48)),
            "eventlog.data_digest",
        ),
    ] {
        let changed = log.replacen(from, to, 1);
        assert_ne!(changed, log, "{from}");
        assert_eq!(
            replay_dstack(changed.as_bytes(), rtmr).unwrap_err().code(),
            code,
            "{to}"
        );
    }
    assert_eq!(
        replay_dstack(b"[]", rtmr).unwrap_err().code(),
        "eventlog.replay.mismatch"
    );
}

#[test]
fn a_log_in_text_is_the_log() {
    let Some(vectors) = Vectors::load("az-vtpm/") else {
        return;
    };
    let text = String::from_utf8(vectors.read("az-vtpm/openpcc_tcg_eventlog.txt")).unwrap();
    let log = EventLog::parse_tcg(&binary_of(&text).unwrap()).unwrap();
    assert_eq!(log.events().len(), 100);
    let pcrs = pcrs(&log.registers(Algorithm::Sha256).unwrap());
    let replayed = replay_tcg(&binary_of(&text).unwrap(), &pcrs).unwrap();
    check_vouched(replayed.events());
    for broken in [
        text.replace("END LOG", "END LOH"),
        text.clone() + "-----BEGIN LOG-----",
        text.replace("AAAA", "AA!A"),
    ] {
        assert_eq!(binary_of(&broken).unwrap_err().code(), "eventlog.text");
    }
}

#[test]
fn logs_of_real_machines_replay_to_the_registers_computed_elsewhere() {
    let Some(vectors) = Vectors::load("measured-boot/") else {
        return;
    };
    let expected: Value = serde_json::from_slice(&vectors.read("measured-boot/eventlog/replayed.json")).unwrap();
    let mut verdicts = BTreeMap::new();
    for path in vectors
        .rows
        .keys()
        .filter(|p| p.starts_with("measured-boot/eventlog/") && p.ends_with(".bin"))
    {
        let name = path.rsplit('/').next().unwrap();
        let bytes = vectors.read(path);
        let ccel = name.starts_with("ccel-");
        let parsed = if ccel {
            EventLog::parse_ccel(&bytes)
        } else {
            EventLog::parse_tcg(&bytes)
        };
        let log = match parsed {
            Ok(log) => log,
            Err(e) => {
                assert!(vectors.rows[path].expect.contains("refuse"), "{name}: {e}");
                verdicts.insert(name, e.code());
                continue;
            }
        };
        for (bank, algorithm) in [("sha256", Algorithm::Sha256), ("sha384", Algorithm::Sha384)] {
            if log.algorithms().contains(&algorithm) {
                let registers = log.registers(algorithm).unwrap();
                let hex: BTreeMap<_, _> = registers.iter().map(|(i, v)| (i.to_string(), hex::encode(v))).collect();
                assert_eq!(
                    serde_json::to_value(hex).unwrap(),
                    expected[name][bank],
                    "{name} {bank}"
                );
            }
        }
        let replayed = if ccel {
            replay_ccel(&bytes, &rtmrs(&log.registers(Algorithm::Sha384).unwrap()))
        } else {
            replay_tcg(&bytes, &pcrs(&log.registers(Algorithm::Sha256).unwrap()))
        };
        verdicts.insert(name, replayed.map_or_else(|e| e.code(), |_| "replayed"));
    }
    let twice = "eventlog.separator.twice";
    assert_eq!(
        verdicts,
        BTreeMap::from([
            ("arch-linux-workstation.bin", "replayed"),
            ("ccel-CCEL.bin", "eventlog.acpi_table"),
            ("ccel-CCEL_unpadded.data.bin", twice),
            ("ccel-cos-113-intel-tdx-dupe-separator.bin", twice),
            ("ccel-event_log.bin", twice),
            ("cos-101-amd-sev.bin", "replayed"),
            // Its firmware, of 2021, hashes other bytes than the authority variable that it logs.
            ("cos-85-amd-sev.bin", "eventlog.data_digest"),
            ("debian-10.bin", "eventlog.sha1_only"),
            ("dstack-tpm_eventlog.bin", "replayed"),
            ("ubuntu-1804-amd-sev.bin", "replayed"),
            ("ubuntu-2104-no-secure-boot.bin", "replayed"),
        ])
    );
}

#[test]
fn the_log_of_a_boot_explains_the_registers_that_its_tpm_quoted() {
    let Some(vectors) = Vectors::load("measured-boot/local/") else {
        return;
    };
    let text = String::from_utf8(vectors.read("measured-boot/local/pcrs-sha256.txt")).unwrap();
    let pcrs: BTreeMap<u8, [u8; 32]> = text
        .lines()
        .filter_map(|line| line.strip_prefix("pcr")?.split_once(' '))
        .map(|(i, v)| (i.parse().unwrap(), hex::decode(v.trim()).unwrap().try_into().unwrap()))
        .collect();
    let log = vectors.read("measured-boot/local/qemu10-ovmf2025.02-swtpm-direct612.eventlog.bin");
    let replayed = replay_tcg(&log, &pcrs).unwrap();
    // The kernel extended PCR 10 without writing here.
    assert!(!replayed.registers().contains(&10));
    assert!(replayed.of_register(10).is_none());
    assert_eq!(replayed.of_register(9).unwrap().count(), 2);
    for missing in 0..8 {
        let mut other = pcrs.clone();
        other.get_mut(&missing).unwrap()[31] ^= 1;
        assert_eq!(replay_tcg(&log, &other).unwrap_err().code(), "eventlog.replay.mismatch");
    }
}

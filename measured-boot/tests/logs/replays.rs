//! Replay: every bank of every public log, and what is refused by which name.

use std::collections::BTreeMap;

use hanzo_attestation::eventlog::Algorithm;
use hanzo_measured_boot::event::Platform;
use hanzo_measured_boot::replay::Replay;

use crate::machine::{Machine, log_of};
use crate::vectors::vector;

const LOGS: [(&str, &str); 11] = [
    ("arch-linux-workstation.bin", "accepted"),
    ("ccel-CCEL.bin", "eventlog.acpi_table"),
    // OVMF of 2022 writes two separators into RTMR0.
    ("ccel-CCEL_unpadded.data.bin", "eventlog.separator.twice"),
    ("ccel-cos-113-intel-tdx-dupe-separator.bin", "eventlog.separator.twice"),
    ("ccel-event_log.bin", "eventlog.separator.twice"),
    ("cos-101-amd-sev.bin", "accepted"),
    // Its firmware, of 2021, hashes other bytes than the authority variable that it logs.
    ("cos-85-amd-sev.bin", "eventlog.data_digest"),
    ("debian-10.bin", "eventlog.sha1_only"),
    ("dstack-tpm_eventlog.bin", "accepted"),
    ("ubuntu-1804-amd-sev.bin", "accepted"),
    ("ubuntu-2104-no-secure-boot.bin", "accepted"),
];

fn platform(name: &str) -> Platform {
    match name.starts_with("ccel-") {
        true => Platform::Tdx,
        false => Platform::Tpm,
    }
}

#[test]
fn every_public_log_replays_in_every_bank_or_is_refused_by_name() {
    let Some(expected) = vector("measured-boot/eventlog/replayed.json") else {
        return;
    };
    let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
    for (name, verdict) in LOGS {
        let bytes = vector(&format!("measured-boot/eventlog/{name}")).unwrap();
        let strict = Replay::strict(&bytes, platform(name));
        assert_eq!(strict.map_or_else(|e| e.code(), |_| "accepted"), verdict, "{name}");
        // Registers are told of whatever is a log at all, and equal those computed elsewhere.
        let Ok(replay) = Replay::of(&bytes, platform(name)) else {
            continue;
        };
        for (bank, text) in [(Algorithm::Sha256, "sha256"), (Algorithm::Sha384, "sha384")] {
            let Some(registers) = replay.banks.get(&bank) else {
                assert!(expected[name][text].is_null(), "{name} {text}");
                continue;
            };
            let registers: BTreeMap<_, _> = registers.iter().map(|(i, v)| (i.to_string(), hex::encode(v))).collect();
            assert_eq!(
                serde_json::to_value(registers).unwrap(),
                expected[name][text],
                "{name} {text}"
            );
        }
        // A TPM's log ends with its last event; one byte more, or the other kind of zeros, is none of it.
        if platform(name) == Platform::Tpm {
            for tail in [&[0][..], &[0xff; 64], &[0; 64]] {
                let error = Replay::of(&[&bytes[..], tail].concat(), Platform::Tpm).unwrap_err();
                assert!(["eventlog.truncated", "eventlog.register", "eventlog.digests"].contains(&error.code()));
            }
        }
    }
}

#[test]
fn a_made_log_replays_to_its_prediction_in_both_banks_and_its_neighbours_are_refused() {
    let prediction = Machine::new().prediction();
    let bytes = log_of(prediction.events());
    let replay = Replay::strict(&bytes, Platform::Tpm).unwrap();
    for bank in [Algorithm::Sha256, Algorithm::Sha384] {
        let registers = &replay.banks[&bank];
        for value in prediction.registers() {
            let got = registers
                .get(&value.register)
                .map_or(&[0; 48][..value.value(bank).unwrap().len()], |v| v);
            assert_eq!(Some(got), value.value(bank), "{}", value.register);
        }
    }
    let code = |bytes: &[u8]| Replay::strict(bytes, Platform::Tpm).map_or_else(|e| e.code(), |_| "accepted");
    assert_eq!(code(&bytes), "accepted");
    assert_eq!(code(&bytes[..bytes.len() - 1]), "eventlog.truncated");
    assert_eq!(code(&[&bytes[..], &[0; 4]].concat()), "eventlog.truncated");
    // One byte lost: everything behind it stands where it does not belong.
    let misaligned = [&bytes[..100], &bytes[101..]].concat();
    assert!(code(&misaligned).starts_with("eventlog."));
    let mut twice = prediction.events().to_vec();
    let separator = twice.iter().find(|e| e.kind == 4 && e.register == 7).unwrap().clone();
    twice.push(separator);
    assert_eq!(code(&log_of(&twice)), "eventlog.separator.twice");
    assert!(Replay::of(&log_of(&twice), Platform::Tpm).unwrap().doubt.is_some());
    assert_eq!(
        Replay::of(&bytes, Platform::Tdx).unwrap_err().code(),
        "eventlog.register"
    );
}

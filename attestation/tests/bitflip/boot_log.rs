//! Event logs. Nobody signs them: registers vouch for digests, and digests for some of the data.

use std::collections::BTreeMap;
use std::ops::Range;

use hanzo_attestation::eventlog::{Algorithm, EventLog, binary_of, kind, replay_ccel, replay_dstack, replay_tcg};
use hanzo_attestation::{Digest256, Digest384};
use hanzo_simulated_tee::LogBuilder;
use serde_json::Value;

use crate::harness::{Bits, Harness, Origin, Part, Region, Verdict};
use crate::manifest::Vectors;
use crate::seen::Seen;

const UNREAD: &str = "the header's platformClass, specErrata and vendorInfo: nothing here depends on them";
const KIND: &str = "the type of an event: registers vouch for digests, never for types, and the documentation says so. \
                    Another type may demand less of the data, or make the event one that extends nothing";
const OTHER_BANK: &str = "digests of banks that are not replayed";
const UNVOUCHED: &str = "data that the digest is not the hash of: claims mark it as whatever the holder wrote there";
const OPTIONAL: &str = "data that the digest is the hash of although its type does not demand it: then it is data that \
                        nothing vouches for, and claims mark it so";
const LAST_LENGTH: &str = "length of the last event's data if no digest covers them: padding becomes part of what nothing \
                           vouches for";
const NO_ACTION: &str = "register and digest of events that extend nothing: they are in no claim";

/// Regions of a TPM's log.
pub const TCG: &[Region] = &[
    region("TCG log", UNREAD, false, unread),
    region("TCG log", KIND, true, kinds),
    Region {
        only: Some(Origin::Real),
        ..region("TCG log", OTHER_BANK, false, |log| other_banks(log, SHA256))
    },
    region("TCG log", UNVOUCHED, false, |log| unvouched(log, SHA256)),
    region("TCG log", OPTIONAL, true, |log| optional(log, SHA256)),
    region("TCG log", NO_ACTION, false, no_action),
];

/// Regions of a TDX guest's log.
pub const CCEL: &[Region] = &[
    region("CCEL log", UNREAD, false, unread),
    region("CCEL log", KIND, true, kinds),
    region("CCEL log", UNVOUCHED, false, |log| unvouched(log, SHA384)),
    Region {
        only: Some(Origin::Simulator),
        ..region("CCEL log", LAST_LENGTH, false, |log| last_length(log, SHA384))
    },
    region(
        "CCEL log",
        "the header's register: firmware writes 0 or 1, and the header extends neither",
        false,
        |_| vec![(0..1, 1)],
    ),
];

const DSTACK: &[Region] = &[
    region("dstack log", "hex digits may have either case", false, hex_letters),
    region("dstack log", KIND, true, |log| members(log, "event_type")),
    region(
        "dstack log",
        "names of the firmware's events: they are in no claim",
        false,
        |log| members(log, "event"),
    ),
    region("dstack log", UNVOUCHED, false, |log| members(log, "event_payload")),
];

const fn region(part: &'static str, reason: &'static str, weaker: bool, find: fn(&[u8]) -> Vec<Bits>) -> Region {
    Region {
        part,
        reason,
        weaker,
        only: None,
        find,
    }
}

const SHA256: u16 = 0x0b;
const SHA384: u16 = 0x0c;

/// Where the fields of one event lie.
struct Place {
    register: Range<usize>,
    kind: Range<usize>,
    kind_number: u32,
    digests: BTreeMap<u16, Range<usize>>,
    data: Range<usize>,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, bytes: usize) -> Range<usize> {
        self.at += bytes;
        self.at - bytes..self.at
    }

    fn number<const N: usize>(&mut self) -> usize {
        let field = &self.bytes[self.take(N)];
        field.iter().rev().fold(0, |n, b| n << 8 | usize::from(*b))
    }
}

/// A log that is known to be good, taken apart. The first is the header, whose only digest is SHA-1.
fn places(log: &[u8]) -> Vec<Place> {
    let mut at = Reader { bytes: log, at: 0 };
    let (register, kind_at, sha1) = (at.take(4), at.take(4), at.take(20));
    let bytes = at.number::<4>();
    let mut found = vec![Place {
        register,
        kind: kind_at,
        kind_number: kind::EV_NO_ACTION,
        digests: BTreeMap::from([(4, sha1)]),
        data: at.take(bytes),
    }];
    while log[at.at..].iter().any(|b| *b != 0) && log[at.at..].iter().any(|b| *b != 0xff) {
        let (register, kind_at) = (at.take(4), at.take(4));
        let kind_number = u32::from_le_bytes(log[kind_at.clone()].try_into().unwrap());
        let count = at.number::<4>();
        let digests = (0..count).map(|_| {
            let algorithm = at.number::<2>();
            let bytes = match algorithm {
                0x04 => 20,
                0x0b | 0x12 => 32,
                0x0c => 48,
                0x0d => 64,
                other => panic!("{other:#x}"),
            };
            (algorithm as u16, at.take(bytes))
        });
        let digests = digests.collect();
        let bytes = at.number::<4>();
        found.push(Place {
            register,
            kind: kind_at,
            kind_number,
            digests,
            data: at.take(bytes),
        });
    }
    found
}

fn whole(bytes: impl IntoIterator<Item = Range<usize>>) -> Vec<Bits> {
    bytes.into_iter().map(|range| (range, 0xff)).collect()
}

fn unread(log: &[u8]) -> Vec<Bits> {
    let data = places(log)[0].data.clone();
    // Signature 16, platformClass 4, versions 2, specErrata, uintnSize, count and list of algorithms, vendorInfo.
    let count = log[data.start + 24];
    let vendor_info = data.start + 28 + 4 * usize::from(count) + 1;
    whole([
        data.start + 16..data.start + 20,
        data.start + 22..data.start + 23,
        vendor_info..data.end,
    ])
}

fn kinds(log: &[u8]) -> Vec<Bits> {
    whole(places(log).into_iter().skip(1).map(|place| place.kind))
}

fn other_banks(log: &[u8], bank: u16) -> Vec<Bits> {
    let places = places(log).into_iter().skip(1);
    whole(places.flat_map(move |place| {
        place
            .digests
            .into_iter()
            .filter(move |(a, _)| *a != bank)
            .map(|(_, d)| d)
    }))
}

fn no_action(log: &[u8]) -> Vec<Bits> {
    let places = places(log).into_iter().skip(1);
    let places = places.filter(|place| place.kind_number == kind::EV_NO_ACTION);
    whole(places.flat_map(|place| place.digests.into_values().chain([place.register]).collect::<Vec<_>>()))
}

fn is_vouched(log: &[u8], place: &Place, bank: u16) -> bool {
    let data = &log[place.data.clone()];
    let hash = if bank == SHA256 {
        Digest256::of(data).0.to_vec()
    } else {
        Digest384::of(data).0.to_vec()
    };
    log[place.digests[&bank].clone()] == hash
}

fn unvouched(log: &[u8], bank: u16) -> Vec<Bits> {
    let places = places(log).into_iter().skip(1);
    whole(
        places
            .filter(|place| !is_vouched(log, place, bank))
            .map(|place| place.data),
    )
}

fn last_length(log: &[u8], bank: u16) -> Vec<Bits> {
    let last = places(log).pop().unwrap();
    let length = last.data.start - 4..last.data.start;
    whole((!is_vouched(log, &last, bank)).then_some(length))
}

fn optional(log: &[u8], bank: u16) -> Vec<Bits> {
    let demands = [
        kind::EV_SEPARATOR,
        kind::EV_ACTION,
        kind::EV_S_CRTM_VERSION,
        kind::EV_EFI_VARIABLE_DRIVER_CONFIG,
        kind::EV_EFI_VARIABLE_BOOT,
        kind::EV_EFI_VARIABLE_BOOT2,
        kind::EV_EFI_GPT_EVENT,
        kind::EV_EFI_ACTION,
        kind::EV_EFI_VARIABLE_AUTHORITY,
    ];
    let places = places(log).into_iter().skip(1);
    let places = places.filter(|place| !demands.contains(&place.kind_number) && is_vouched(log, place, bank));
    whole(places.map(|place| place.data))
}

/// Digits and letters of a JSON log that stand inside a string of hex.
fn hex_letters(log: &[u8]) -> Vec<Bits> {
    let letters = (0..log.len()).filter(|at| matches!(log[*at], b'a'..=b'f' | b'A'..=b'F'));
    letters.map(|at| (at..at + 1, 0x20)).collect()
}

/// Values of a member of the entries that are no run time events.
fn members(log: &[u8], name: &str) -> Vec<Bits> {
    let text = std::str::from_utf8(log).unwrap();
    let mut found = Vec::new();
    for (start, _) in text.match_indices('{') {
        let entry = &text[start..start + text[start..].find('}').unwrap()];
        if entry.contains("\"event_type\":134217729") {
            continue;
        }
        let key = format!("\"{name}\":");
        let value = start + entry.find(&key).unwrap() + key.len();
        let end = value + text[value..].find([',', '}']).unwrap();
        found.push(value..end);
    }
    whole(found)
}

fn flip(harness: &mut Harness, name: &str, part: &'static str, log: &[u8], judge: impl Fn(&[u8]) -> Verdict) {
    let part = Part {
        name: part,
        bytes: log.to_vec(),
        head: 28,
        judge: Box::new(judge),
    };
    harness.flip(name, &part);
}

fn flip_tcg(harness: &mut Harness, name: &str, log: &[u8]) {
    let registers = EventLog::parse_tcg(log).unwrap().registers(Algorithm::Sha256).unwrap();
    // All 24, as a quote usually selects them; those that the log does not name have their value of reset.
    let pcrs = (0..24).map(|index: u8| {
        let reset = if (17..=22).contains(&index) { 0xff } else { 0 };
        let value = registers.get(&u32::from(index));
        (index, value.map_or([reset; 32], |v| v.as_slice().try_into().unwrap()))
    });
    let pcrs = pcrs.collect();
    flip(harness, name, "TCG log", log, |log| {
        replay_tcg(log, &pcrs).map(|log| Seen::of(()).with_log(&log)).into()
    });
}

fn flip_ccel(harness: &mut Harness, name: &str, log: &[u8], rtmr: &[[u8; 48]; 4]) {
    flip(harness, name, "CCEL log", log, |log| {
        replay_ccel(log, rtmr).map(|log| Seen::of(()).with_log(&log)).into()
    });
}

/// RTMR0 to RTMR3 of a version 4 quote.
fn rtmr_of(quote: &[u8]) -> [[u8; 48]; 4] {
    [0, 1, 2, 3].map(|i| quote[48 + 328 + 48 * i..][..48].try_into().unwrap())
}

#[test]
fn a_flipped_bit_of_a_real_tpm_log_changes_nothing_that_is_vouched_for() {
    let Some(vectors) = Vectors::load("") else { return };
    let mut harness = Harness::new("TCG log", Origin::Real, TCG);
    for name in [
        "arch-linux-workstation",
        "cos-101-amd-sev",
        "dstack-tpm_eventlog",
        "ubuntu-1804-amd-sev",
        "ubuntu-2104-no-secure-boot",
    ] {
        let log = vectors.read(&format!("measured-boot/eventlog/{name}.bin"));
        flip_tcg(&mut harness, name, &log);
    }
    let name = "measured-boot/local/qemu10-ovmf2025.02-swtpm-direct612.eventlog.bin";
    flip_tcg(&mut harness, name, &vectors.read(name));
    let text = String::from_utf8(vectors.read("az-vtpm/openpcc_tcg_eventlog.txt")).unwrap();
    flip_tcg(&mut harness, "openpcc_tcg_eventlog.txt", &binary_of(&text).unwrap());
    harness.finish();
}

#[test]
fn a_flipped_bit_of_a_real_tdx_log_changes_nothing_that_is_vouched_for() {
    let Some(vectors) = Vectors::load("tdx/") else { return };
    let mut harness = Harness::new("CCEL log", Origin::Real, CCEL);
    let rtmr = rtmr_of(&vectors.read("tdx/v4_gcp_cos113_google.dat"));
    flip_ccel(
        &mut harness,
        "ccel_cos113.bin",
        &vectors.read("tdx/ccel_cos113.bin"),
        &rtmr,
    );
    let log = vectors.read("tdx/ccel_data_gcp.bin");
    let registers = EventLog::parse_ccel(&log)
        .unwrap()
        .registers(Algorithm::Sha384)
        .unwrap();
    let rtmr = [1, 2, 3, 4].map(|i| registers.get(&i).map_or([0; 48], |v| v.as_slice().try_into().unwrap()));
    flip_ccel(&mut harness, "ccel_data_gcp.bin", &log, &rtmr);
    harness.finish();

    let mut harness = Harness::new("dstack log", Origin::Real, DSTACK);
    let name = "v4_dstack_tdx-lite-getquote";
    let evidence: Value = serde_json::from_slice(&vectors.read(&format!("tdx/{name}.json"))).unwrap();
    let rtmr = rtmr_of(&vectors.read(&format!("tdx/{name}.dat")));
    let log = evidence["event_log"].as_str().unwrap();
    flip(&mut harness, name, "dstack log", log.as_bytes(), |log| {
        replay_dstack(log, &rtmr).map(|log| Seen::of(()).with_log(&log)).into()
    });
    harness.finish();
}

#[test]
fn a_flipped_bit_of_a_simulated_log_changes_nothing_that_is_vouched_for() {
    let mut harness = Harness::new("TCG log", Origin::Simulator, TCG);
    let log = LogBuilder::tcg()
        .startup_locality(3)
        .boot("quiet")
        .event(14, 0xd, b"MokList");
    flip_tcg(&mut harness, "a boot", log.bytes());
    harness.finish();
    let mut harness = Harness::new("CCEL log", Origin::Simulator, CCEL);
    let log = LogBuilder::ccel().boot("quiet");
    flip_ccel(&mut harness, "a boot", &[log.bytes(), &[0; 100]].concat(), &log.rtmr());
    harness.finish();
}

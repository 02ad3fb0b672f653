//! Every public RIM file gets its verdict, at its clock. The files are not part of this repository; without them these
//! tests say so and check nothing.
//!
//! Seven of the eleven files are what NVIDIA signed; four are not, among them two whose names call them altered. An
//! independent implementation (xmlsec1 1.2.37) agrees with every verdict below.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use hanzo_attestation::nvidia::ocsp::check;
use hanzo_attestation::nvidia::rim::{ReportFacts, check_rim, compare};
use hanzo_attestation::nvidia::{NvidiaArch, OcspOutcome, RimOutcome};
use hanzo_attestation::{Anchors, Digest256, UnixTime};
use hanzo_simulated_tee::{OcspSpec, OcspStatus, SimulatedRimIssuer};

const fn day(days: u64) -> UnixTime {
    UnixTime(days * 86_400)
}

const D2024_06_22: UnixTime = day(19_896);
const D2024_06_26: UnixTime = day(19_900);
const D2024_08_24: UnixTime = day(19_959);
const D2024_12_12: UnixTime = day(20_069);
const D2025_01_01: UnixTime = day(20_089);
const D2025_12_30: UnixTime = day(20_452);
const D2026_05_12: UnixTime = day(20_585);
const D2026_07_01: UnixTime = day(20_635);
const D2027_02_10: UnixTime = day(20_859);

/// File, clock of the manifest, product, version, verdict: `active N` reference values or the code of the refusal.
const FILES: [(&str, UnixTime, &str, &str, &str); 11] = [
    (
        "1010_0200_882_96005E0001_PROD.swidtag",
        D2024_06_22,
        "GH100",
        "96.00.5E.00.01",
        "12",
    ),
    // Signed by NVIDIA like any other: "test" in the name is about the values.
    (
        "1010_0200_882_96005E0001_test_no_gpu.swidtag",
        D2024_06_22,
        "GH100",
        "96.00.5E.00.01",
        "12",
    ),
    ("Driver_RIM_test_no_gpu.swidtag", D2024_06_26, "GH100", "545.00", "21"),
    (
        "NV_GPU_DRIVER_GH100_535.86.09_measurement_mismatch.xml",
        D2026_05_12,
        "GH100",
        "535.86.09",
        "nvidia.rim.digest",
    ),
    (
        "NV_GPU_DRIVER_GH100_550.144.03.xml",
        D2025_12_30,
        "GH100",
        "550.144.03",
        "21",
    ),
    (
        "NV_GPU_DRIVER_GH100_570.124.03_expired.xml",
        D2026_07_01,
        "GH100",
        "570.124.03",
        "nvidia.rim.expired",
    ),
    // Not altered: its signature verifies, and it is a reference for measurements that some report does not have.
    (
        "NV_GPU_VBIOS_1010_0200_882_96005E0001_measurement_mismatch.xml",
        D2024_12_12,
        "GH100",
        "96.00.5E.00.01",
        "12",
    ),
    (
        "NV_SWITCH_BIOS_5612_0002_890_9610550001_measurement_mismatch.xml",
        D2024_12_12,
        "GH100",
        "96.10.55.00.01",
        "nvidia.rim.digest",
    ),
    (
        "g520_0202_885_9600740014_PROD.swidtag",
        D2024_08_24,
        "GH100",
        "96.00.74.00.14",
        "12",
    ),
    (
        "incorrect_signature_driver_rim.xml",
        D2025_12_30,
        "GH100",
        "550.144.03",
        "nvidia.rim.signature",
    ),
    (
        "switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml",
        D2027_02_10,
        "LS10",
        "96.10.55.00.01",
        "31",
    ),
];

struct Vectors(PathBuf);

impl Vectors {
    fn load() -> Option<Self> {
        // A worktree lies one level deeper than a clone.
        let found = ["/../../shared/vectors/nvidia", "/../../../shared/vectors/nvidia"]
            .map(|relative| Path::new(&format!("{}{relative}", env!("CARGO_MANIFEST_DIR"))).to_owned())
            .into_iter()
            .find(|folder| folder.join("rim").is_dir());
        if found.is_none() {
            let _ = writeln!(
                std::io::stderr(),
                "VECTORS MISSING (shared/vectors beside the repository): real RIM files were NOT checked"
            );
        }
        found.map(Self)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap()
    }

    fn rim(&self, name: &str) -> Vec<u8> {
        self.read(&format!("rim/{name}"))
    }
}

fn verdict(document: &[u8], now: UnixTime) -> String {
    check_rim(document, &Anchors::vendor(), now).map_or_else(|e| e.code().into(), |rim| rim.reference.len().to_string())
}

#[test]
fn every_public_rim_gets_its_verdict() {
    let Some(vectors) = Vectors::load() else { return };
    let manifest = std::fs::read_to_string(vectors.0.join("../MANIFEST.tsv")).unwrap();
    let rows: BTreeMap<_, _> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("nvidia/rim/")?.split_once('\t'))
        .collect();
    // The twelfth is a certificate: see below.
    assert_eq!(rows.len(), FILES.len() + 1);
    for (name, now, product, version, expected) in FILES {
        let (row, document) = (rows[name], vectors.rim(name));
        assert!(row.ends_with(&Digest256::of(&document).to_string()), "{name}");
        assert_eq!(verdict(&document, now), expected, "{name}");
        // What the manifest says: refused files are those that it calls so, but for one whose signature is NVIDIA's.
        let refused = expected.starts_with("nvidia.");
        let signed = name == "NV_GPU_VBIOS_1010_0200_882_96005E0001_measurement_mismatch.xml";
        assert_eq!(row.contains("refuse ("), refused || signed, "{name}");
        if let Ok(rim) = check_rim(&document, &Anchors::vendor(), now) {
            assert_eq!((rim.product.as_str(), rim.version.as_str()), (product, version));
            assert!(!rim.simulated);
            assert!(rim.expires > now && rim.expires < day(21_200), "{name}");
            assert_eq!(rim.certificates.len(), 4);
        }
        let changed = [document.as_slice(), b"<x/>"].concat();
        assert_eq!(verdict(&changed, now), "nvidia.xml.syntax");
    }
}

#[test]
fn a_rim_holds_from_the_first_to_the_last_second_of_its_certificates() {
    let Some(vectors) = Vectors::load() else { return };
    let document = vectors.rim("NV_GPU_DRIVER_GH100_550.144.03.xml");
    let (first, last) = (UnixTime(1_735_577_810), UnixTime(1_798_649_810));
    for (now, expected) in [
        (UnixTime(first.0 - 1), "nvidia.rim.not_yet_valid"),
        (first, "21"),
        (last, "21"),
        (UnixTime(last.0 + 1), "nvidia.rim.expired"),
    ] {
        assert_eq!(verdict(&document, now), expected, "{now:?}");
    }
    // On its one day of life the expired file shows that it was not signed as it is.
    let expired = vectors.rim("NV_GPU_DRIVER_GH100_570.124.03_expired.xml");
    assert_eq!(verdict(&expired, D2025_01_01), "nvidia.rim.digest");
}

#[test]
fn a_wrong_root_is_refused() {
    let Some(vectors) = Vectors::load() else { return };
    let pem = String::from_utf8(vectors.rim("incorrect_rim_root.crt")).unwrap();
    let body: String = pem
        .lines()
        .filter(|l| !l.starts_with("---"))
        .map(|l| format!("{l}\n"))
        .collect();
    let document = String::from_utf8(vectors.rim("NV_GPU_DRIVER_GH100_550.144.03.xml")).unwrap();
    let start = document.rfind("<ds:X509Certificate>").unwrap() + "<ds:X509Certificate>".len();
    let end = document.rfind("</ds:X509Certificate>").unwrap();
    let swapped = format!("{}{body}{}", &document[..start], &document[end..]);
    assert_eq!(verdict(swapped.as_bytes(), D2025_12_30), "nvidia.rim.root");
}

/// The measurements of a report, by index.
fn measurements(report: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let response = &report[37..];
    let mut blocks = &response[8..];
    let mut out = BTreeMap::new();
    for _ in 0..response[4] {
        let size = usize::from(u16::from_le_bytes([blocks[2], blocks[3]]));
        out.insert(blocks[0], blocks[7..4 + size].to_vec());
        blocks = &blocks[4 + size..];
    }
    out
}

fn switch<'a>(measurements: &'a BTreeMap<u8, Vec<u8>>, version: &'a str) -> ReportFacts<'a> {
    ReportFacts {
        arch: NvidiaArch::Ls10,
        product: "LS10",
        driver_version: None,
        vbios_version: version,
        driver_rim_id: None,
        vbios_rim_id: "NV_SWITCH_BIOS_5612_0002_890_9610550001",
        measurements,
        nvdec0: None,
    }
}

fn outcome(facts: &ReportFacts<'_>, rims: &[Vec<u8>], now: UnixTime) -> Result<RimOutcome, &'static str> {
    compare(facts, rims, &[], &Anchors::vendor(), now)
        .map(|(outcome, simulated)| {
            assert!(!simulated);
            outcome
        })
        .map_err(|e| e.code())
}

#[test]
fn the_real_switch_matches_its_real_rim_and_one_bit_less_does_not() {
    let Some(vectors) = Vectors::load() else { return };
    let mut measured = measurements(&vectors.read("switch_ls10.report.bin"));
    assert_eq!(measured.len(), 31);
    let everything: Vec<Vec<u8>> = FILES.iter().map(|(name, ..)| vectors.rim(name)).collect();
    let ids = vec!["NV_SWITCH_BIOS_5612_0002_890_9610550001".to_owned()];
    let matched = outcome(&switch(&measured, "96.10.55.00.01"), &everything, D2027_02_10).unwrap();
    let expires = UnixTime(1_825_199_999);
    assert_eq!(
        matched,
        RimOutcome::Matched {
            ids: ids.clone(),
            expires
        }
    );

    // Another version: its RIM is none for this report.
    let missing = outcome(&switch(&measured, "96.10.73.00.01"), &everything, D2027_02_10).unwrap();
    assert_eq!(missing, RimOutcome::Missing { ids: ids.clone() });
    // Expired: an error, not a missing one.
    let facts = switch(&measured, "96.10.55.00.01");
    assert_eq!(
        outcome(&facts, &everything, UnixTime(expires.0 + 1)),
        Err("nvidia.rim.expired")
    );

    let last = measured.len() as u8;
    measured.remove(&last);
    measured.get_mut(&1).unwrap()[0] ^= 1;
    let mismatch = outcome(&switch(&measured, "96.10.55.00.01"), &everything, D2027_02_10).unwrap();
    assert_eq!(
        mismatch,
        RimOutcome::Mismatch {
            indexes: vec![1, last],
            ids
        }
    );
}

/// No public Hopper report comes with both of its RIMs. With the versions of the RIMs put in its place, a real report
/// shows where it differs: few indexes, since most firmware is the same.
#[test]
fn a_real_gpu_against_the_real_rims_of_other_versions_mismatches_where_it_must() {
    let Some(vectors) = Vectors::load() else { return };
    let measured = measurements(&vectors.read("hopper_550_90.report.bin"));
    assert_eq!(measured.len(), 64);
    let rims = [
        "NV_GPU_DRIVER_GH100_550.144.03.xml",
        "NV_GPU_VBIOS_1010_0200_882_96005E0001_measurement_mismatch.xml",
    ]
    .map(|name| vectors.rim(name));
    let facts = ReportFacts {
        arch: NvidiaArch::Hopper,
        product: "GH100",
        driver_version: Some("550.144.03"),
        vbios_version: "96.00.5e.00.01",
        driver_rim_id: Some("NV_GPU_DRIVER_GH100_550.144.03"),
        vbios_rim_id: "NV_GPU_VBIOS_1010_0200_882_96005E0001",
        measurements: &measured,
        nvdec0: Some(0x55),
    };
    let now = D2025_01_01;
    let Ok(RimOutcome::Mismatch { indexes, .. }) = outcome(&facts, &rims, now) else {
        panic!("versions differ, so must measurements");
    };
    assert_eq!(indexes, [2, 3, 8, 12, 23, 32, 40, 41]);
    // As the report itself states them, neither is there.
    let (driver_version, vbios_version) = (Some("550.90.07"), "96.00.9F.00.01");
    let facts = ReportFacts {
        driver_version,
        vbios_version,
        ..facts
    };
    let Ok(RimOutcome::Missing { ids }) = outcome(&facts, &rims, now) else {
        panic!("no RIM is for these versions");
    };
    assert_eq!(ids.len(), 2);
}

/// No real answer is public in the set. Every real chain is read, and what a stranger says of it is not heard.
#[test]
fn the_certificates_of_every_real_device_are_ones_that_can_be_asked_about() {
    let Some(vectors) = Vectors::load() else { return };
    let mut read = 0;
    for entry in std::fs::read_dir(&vectors.0).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_str().unwrap().ends_with(".chain.pem") {
            continue;
        }
        let chain = pem(&std::fs::read_to_string(&path).unwrap());
        assert_eq!(chain.len(), 5, "{}", path.display());
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        let revoked = OcspStatus::Revoked { at: 0, reason: None };
        let stranger = SimulatedRimIssuer::for_tests().ocsp(1, &OcspSpec::good(D2026_07_01.0).with_status(revoked));
        let unauthorized = b"\x30\x03\x0a\x01\x06".to_vec();
        let found = check(&chain, &[unauthorized, stranger], D2026_07_01);
        assert_eq!(found, Ok(OcspOutcome::NoAnswer), "{}", path.display());
        read += 1;
    }
    assert_eq!(read, 6);
}

fn pem(text: &str) -> Vec<Vec<u8>> {
    let bodies = text.split("-----BEGIN CERTIFICATE-----").skip(1);
    bodies
        .map(|body| decode_base64(body.split("-----END").next().unwrap()))
        .collect()
}

fn decode_base64(text: &str) -> Vec<u8> {
    let (mut out, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes().filter(u8::is_ascii_graphic) {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    out
}

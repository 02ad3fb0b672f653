//! Every public NVIDIA vector but RIMs gets the verdict its manifest states.

use std::collections::BTreeMap;

use hanzo_attestation::bundle::Base64;
use hanzo_attestation::nvidia::roots::{DEVICE_ROOT, DEVICE_ROOT_SHA256};
use hanzo_attestation::nvidia::{Fwid, NvidiaArch, NvidiaClaims};
use hanzo_attestation::{Anchors, Digest256, Revocation};
use serde_json::Value;

use crate::vectors::{CLOCK, Vectors};
use crate::{claims, judge, judge_list, verdict};

const VENDOR: fn() -> Anchors = Anchors::vendor;

#[test]
fn every_vector_gets_the_verdict_of_the_manifest() {
    let Some(vectors) = Vectors::load() else { return };
    let mut counted = BTreeMap::new();
    for (name, row) in &vectors.rows {
        let kind = match name.split('/').collect::<Vec<_>>()[..] {
            ["rim", _] | ["roots", "verifier_RIM_root.pem"] => continue,
            ["roots", _] => {
                assert_eq!(pem(&vectors.read(name))[0], DEVICE_ROOT);
                assert_eq!(row.values["cert_sha256"], DEVICE_ROOT_SHA256);
                "root"
            }
            ["expected", _] => "expected",
            ["json", _] => {
                check_list(&vectors, name);
                "list"
            }
            _ if name.ends_with(".pem") && row.expect == "certificate chain" => "chain",
            _ if name.ends_with(".pem") => {
                assert_eq!(row.expect, "refuse(chain)");
                let mut evidence = vectors.evidence("hopper_550_90.report.bin");
                evidence.certificates = Base64(vectors.read(name));
                assert_eq!(verdict(&evidence, &VENDOR(), CLOCK), "nvidia.chain.length", "{name}");
                "bad chain"
            }
            _ => {
                assert_eq!(row.clock, "2026-07-01T00:00:00Z");
                check_report(&vectors, name);
                "report"
            }
        };
        *counted.entry(kind).or_insert(0) += 1;
    }
    let expected = [
        ("root", 1),
        ("expected", 8),
        ("list", 6),
        ("chain", 6),
        ("bad chain", 4),
        ("report", 10),
    ];
    assert_eq!(counted, BTreeMap::from(expected));
    // With 12 RIM files and their root: all 48.
    assert_eq!(vectors.rows.len(), 48);
}

fn check_report(vectors: &Vectors, name: &str) {
    let row = &vectors.rows[name];
    let evidence = vectors.evidence(name);
    let wanted = match row.expect.as_str() {
        "refuse(signature)" => "nvidia.signature.invalid",
        "refuse (parse)" => "nvidia.report.truncated",
        expect => {
            assert!(expect.starts_with("authentic"), "{name}: {expect}");
            "accepted"
        }
    };
    assert_eq!(verdict(&evidence, &VENDOR(), CLOCK), wanted, "{name}");
    let Ok(device) = judge(&evidence, &VENDOR(), CLOCK) else {
        return;
    };
    assert!(!device.is_simulated());
    assert_eq!(device.revocation(), Revocation::NoList);
    let claims = claims(&device);
    let value = |key: &str| row.values[key].as_str();
    assert_eq!(hex::encode(claims.nonce), value("nonce"));
    assert_eq!(claims.driver_version.as_deref().unwrap_or_default(), value("driver"));
    assert_eq!(hex::encode(&claims.opaque[&6]), value("vbios_raw"));
    assert_eq!(claims.measurements.len().to_string(), value("blocks"));
    assert_eq!((claims.fwid == Fwid::Matched).to_string(), value("fwid_in_report"));
    assert!(
        claims
            .measurements
            .keys()
            .copied()
            .eq(1..=claims.measurements.len() as u8)
    );
    assert!(DEVICE_ROOT_SHA256.starts_with(value("root_sha256")));
}

/// A serialised list: each device is authentic; repeats are refused as a list.
fn check_list(vectors: &Vectors, name: &str) {
    let row = &vectors.rows[name];
    let list = vectors.list(name);
    assert_eq!(list.len().to_string(), row.values["entries"]);
    for (evidence, nonce) in &list {
        let device = judge(evidence, &VENDOR(), CLOCK).unwrap();
        assert_eq!(
            (hex::encode(claims(&device).nonce), nonce.as_str()),
            (nonce.clone(), row.values["nonce"].as_str())
        );
    }
    let list: Vec<_> = list.into_iter().map(|(evidence, _)| evidence).collect();
    let verdict = judge_list(&list, &VENDOR(), CLOCK).map_or_else(|e| e.code(), |_| "accepted");
    let repeated = row.expect.contains("DUPLICATE");
    assert_eq!(
        verdict,
        if repeated { "device.duplicate" } else { "accepted" },
        "{name}"
    );
    if !repeated {
        let twice = [&list[..], &list[..1]].concat();
        assert_eq!(
            judge_list(&twice, &VENDOR(), CLOCK).unwrap_err().code(),
            "device.duplicate"
        );
    }
}

#[test]
fn one_gpu_with_two_firmwares_is_one_device() {
    let Some(vectors) = Vectors::load() else { return };
    let list = ["hopper_570_124_expiredrim.report.bin", "hopper_580_159.report.bin"].map(|name| vectors.evidence(name));
    let devices = list
        .each_ref()
        .map(|evidence| judge(evidence, &VENDOR(), CLOCK).unwrap());
    let [old, new] = devices.each_ref().map(claims);
    assert_ne!(old.ueid, new.ueid);
    assert_eq!(old.device_id, new.device_id);
    assert_eq!(
        judge_list(&list, &VENDOR(), CLOCK).unwrap_err().code(),
        "device.duplicate"
    );
}

#[test]
fn claims_of_known_reports_are_the_ones_that_nvidia_states() {
    let Some(vectors) = Vectors::load() else { return };
    for (report, expected, submodule) in [
        (
            "hopper_550_90.report.bin",
            "expected/hopperClaimsv3_decoded.json",
            "GPU-0",
        ),
        ("switch_ls10.report.bin", "expected/switch_decoded.json", "SWITCH-0"),
    ] {
        let device = judge(&vectors.evidence(report), &VENDOR(), CLOCK).unwrap();
        let (ours, theirs) = (claims(&device), &vectors.json(expected)[submodule]);
        let gpu = ours.arch.is_gpu();
        let text = |member: &str| theirs[member].as_str().unwrap();
        assert_eq!(hex::encode(ours.nonce), text("eat_nonce"));
        assert_eq!(decimal(&ours.ueid), text("ueid"));
        assert!(text("hwmodel").starts_with(&format!("{} ", ours.chip)));
        let version = if gpu {
            "x-nvidia-gpu-vbios-version"
        } else {
            "x-nvidia-switch-bios-version"
        };
        assert_eq!(ours.vbios_version, text(version));
        if gpu {
            assert_eq!(
                ours.driver_version.as_deref().unwrap(),
                text("x-nvidia-gpu-driver-version")
            );
        }
    }
    // The same claims in NVIDIA's signed form, and another device's claims that name its versions alike.
    let signed = vectors.json("expected/hopperClaimsv3_detached_eat.json").to_string();
    assert!(signed.contains("GPU-0"));
    let other = &vectors.json("expected/dstack_gpu_attestation_h100.json")["claims"][0];
    assert_eq!(other["x-nvidia-gpu-vbios-version"], "96.00.D9.00.01");
}

/// Big-endian hex as a decimal number, as NVIDIA writes serial numbers.
fn decimal(hex: &str) -> String {
    let mut digits = vec![0_u32];
    for nibble in hex.chars().map(|c| c.to_digit(16).unwrap()) {
        let mut carry = nibble;
        for digit in &mut digits {
            let value = *digit * 16 + carry;
            (*digit, carry) = (value % 10, value / 10);
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    digits.iter().rev().map(u32::to_string).collect()
}

#[test]
fn parsed_reports_are_nvidias_own_parse_field_by_field() {
    let Some(vectors) = Vectors::load() else { return };
    for (report, expected) in [
        ("hopper_580_159.report.bin", "expected/spdm_parsed_output.json"),
        ("switch_ls10.report.bin", "expected/switch_spdm_parsed_output.json"),
    ] {
        let evidence = vectors.evidence(report);
        let device = judge(&evidence, &VENDOR(), CLOCK).unwrap();
        let (ours, theirs) = (claims(&device), vectors.json(expected));
        let blocks = theirs["MeasurementRecord"]["MeasurementBlocks"].as_object().unwrap();
        assert_eq!(blocks.len(), ours.measurements.len());
        for (index, value) in &ours.measurements {
            assert_eq!(blocks[&index.to_string()]["DMTFSpecMeasurementValue"], hex0x(value));
        }
        let length: usize = ours.opaque.values().map(|v| v.len() + 4).sum();
        assert_eq!(theirs["OpaqueLength"], length);
        assert_eq!(
            theirs["Signature"],
            hex0x(&evidence.report.0[evidence.report.0.len() - 96..])
        );
        let fields = theirs["OpaqueData"]["OpaqueDataField"].as_object().unwrap();
        let mut compared = 0;
        for (name, value) in fields {
            let Some(raw) = opaque_id(name).map(|id| &ours.opaque[&id]) else {
                continue;
            };
            match value {
                Value::String(text) => assert_eq!(*text, hex0x(raw), "{name}"),
                Value::Array(list) if list[0].is_u64() => {
                    let counts = raw.as_chunks::<4>().0.iter().map(|c| u32::from_le_bytes(*c));
                    assert!(counts.eq(list.iter().map(|v| v.as_u64().unwrap() as u32)), "{name}");
                }
                Value::Array(list) => {
                    let joined: String = list.iter().map(|v| &v.as_str().unwrap()[2..]).collect();
                    assert!(hex::encode(raw).contains(&joined), "{name}");
                }
                other => panic!("{name}: {other}"),
            }
            compared += 1;
        }
        assert_eq!(compared, if ours.arch.is_gpu() { 14 } else { 7 });
    }
    let request = vectors.json("expected/spdm_req_parsed_output.json");
    let device = judge(&vectors.evidence("hopper_580_159.report.bin"), &VENDOR(), CLOCK).unwrap();
    assert_eq!(request["Nonce"], hex0x(&claims(&device).nonce));
}

fn hex0x(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn opaque_id(name: &str) -> Option<u16> {
    Some(match name.trim_start_matches("OPAQUE_FIELD_ID_") {
        "DRIVER_VERSION" => 3,
        "GPU_INFO" => 4,
        "VBIOS_VERSION" => 6,
        "NVDEC0_STATUS" => 11,
        "MSRSCNT" => 12,
        "CPRINFO" => 13,
        "BOARD_ID" => 14,
        "CHIP_SKU" => 15,
        "CHIP_SKU_MOD" => 16,
        "PROJECT" => 17,
        "PROJECT_SKU" => 18,
        "PROJECT_SKU_MOD" => 19,
        "FWID" => 20,
        "PROTECTED_PCIE_STATUS" => 21,
        "DEVICE_PDI" | "SWITCH_PDI" => 22,
        "SWITCH_POSITION_ID" => 24,
        "SWITCH_LOCK_STATUS" => 25,
        "SWITCH_GPU_PDIS" | "SWITCH_PORT" => 26,
        _ => return None,
    })
}

#[test]
fn the_report_is_read_as_another_verifier_reads_it() {
    let Some(vectors) = Vectors::load() else { return };
    let device = judge(&vectors.evidence("hopper_550_90.report.bin"), &VENDOR(), CLOCK).unwrap();
    let ours = claims(&device);
    let theirs = vectors.json("expected/hopper_report_claims_trustee.txt");
    let config = &theirs["config"];
    assert_eq!(theirs["arch"], "Hopper");
    for (member, value) in [
        ("driver_version", ours.driver_version.as_deref().unwrap()),
        ("project", "1010"),
        ("project_sku", "0200"),
        ("chip_sku", "882"),
    ] {
        assert_eq!(config[member], value, "{member}");
    }
    assert_eq!(ours.board, "1010_0200_882");
    for (member, id) in [("board_id", 14), ("cpr_info", 13), ("fwid", 20), ("gpu_info", 4)] {
        assert_eq!(config[member], hex::encode(&ours.opaque[&id]), "{member}");
    }
}

#[test]
fn rim_ids_and_modes_of_the_real_devices() {
    let Some(vectors) = Vectors::load() else { return };
    let of = |name: &str| {
        let device = judge(&vectors.evidence(name), &VENDOR(), CLOCK).unwrap();
        let claims: NvidiaClaims = claims(&device).clone();
        claims
    };
    let first = |name: &str| claims(&judge(&vectors.list(name)[0].0, &VENDOR(), CLOCK).unwrap()).clone();
    let rows = [
        (of("hopper_550_90.report.bin"), Some(false), None, "GH100"),
        (of("hopper_570_124_expiredrim.report.bin"), Some(false), None, "GH100"),
        (of("hopper_580_159.report.bin"), Some(false), Some(0), "GH100"),
        (of("blackwell_575_32.report.bin"), None, None, "GB100"),
        (of("switch_ls10.report.bin"), None, None, "LS_10"),
        (first("json/ppcie_8gpu.json"), Some(true), Some(2), "GH100"),
        (first("json/ppcie_4switch.json"), None, None, "LS_10"),
        (first("json/hopper_certhold_nvat.json"), Some(false), None, "GH100"),
    ];
    for (claims, protected_pcie, flag, chip) in &rows {
        assert_eq!(
            (claims.protected_pcie, claims.feature_flag, claims.chip.as_str()),
            (*protected_pcie, *flag, *chip)
        );
        assert_eq!(claims.nvdec0_enabled, claims.arch.is_gpu().then_some(false));
    }
    let ids: Vec<_> = rows
        .iter()
        .map(|(claims, ..)| claims.rim_ids().to_vec().join(" "))
        .collect();
    assert_eq!(
        ids,
        [
            "NV_GPU_DRIVER_GH100_550.90.07 NV_GPU_VBIOS_1010_0200_882_96009F0001",
            "NV_GPU_DRIVER_GH100_570.124.03 NV_GPU_VBIOS_1010_0205_862_96005E0004",
            "NV_GPU_DRIVER_GH100_580.159.03 NV_GPU_VBIOS_1010_0205_862_9600740020",
            "NV_GPU_CC_DRIVER_GB100_575.32 NV_GPU_VBIOS_G525_0220_886_970088000F",
            "NV_SWITCH_BIOS_5612_0002_890_9610550001",
            "NV_GPU_DRIVER_GH100_590.12 NV_GPU_VBIOS_G520_0200_885_9600A50001",
            "NV_SWITCH_BIOS_5612_0002_890_9610730001",
            "NV_GPU_DRIVER_GH100_570.86.10 NV_GPU_VBIOS_1010_0200_882_9600AF0001",
        ]
    );
    assert_eq!(rows[3].0.arch, NvidiaArch::Blackwell);
}

fn pem(text: &[u8]) -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let text = std::str::from_utf8(text).unwrap();
    let bodies = text.split("-----BEGIN CERTIFICATE-----").skip(1);
    bodies
        .map(|body| {
            let body: String = body.split("-----END").next().unwrap().split_whitespace().collect();
            base64::engine::general_purpose::STANDARD.decode(body).unwrap()
        })
        .collect()
}

#[test]
fn the_pinned_root_is_the_one_of_the_vectors() {
    assert_eq!(Digest256::of(&DEVICE_ROOT).to_string(), DEVICE_ROOT_SHA256);
}

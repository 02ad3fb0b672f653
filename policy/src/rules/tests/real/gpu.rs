//! Real GPUs and switches beside a processor whose claims are made up: nobody published both of one guest.

use hanzo_attestation::bundle::{Base64, DeviceCollateral, DeviceEvidence};
use hanzo_attestation::evidence::authenticate_devices;
use hanzo_attestation::{Anchors, Collateral, DeviceClaims};

use super::{super::*, vectors};

/// 2026-07-01T00:00:00Z.
const NOW: UnixTime = UnixTime(1_782_864_000);

/// Devices of a file in the form of NVIDIA's SDK.
fn devices(name: &str) -> Option<Vec<DeviceEvidence>> {
    let document = vectors(&format!("nvidia/json/{name}"))?;
    let document: Vec<serde_json::Value> = serde_json::from_slice(&document).unwrap();
    let bytes =
        |entry: &serde_json::Value, key: &str| -> Base64 { serde_json::from_value(entry[key].clone()).unwrap() };
    let entries = document.iter().map(|entry| DeviceEvidence {
        arch: entry["arch"].as_str().unwrap().to_lowercase(),
        certificates: bytes(entry, "certificate"),
        kind: "nvidia".into(),
        report: bytes(entry, "evidence"),
    });
    Some(entries.collect())
}

fn authentic(list: &[DeviceEvidence]) -> Vec<NvidiaClaims> {
    let list = authenticate_devices(
        list,
        &DeviceCollateral::default(),
        &Anchors::vendor(),
        &Collateral::default(),
        NOW,
    )
    .unwrap();
    let claims = list.devices().iter().map(|device| {
        assert!(!device.is_simulated());
        let DeviceClaims::Nvidia(claims) = device.claims();
        (**claims).clone()
    });
    claims.collect()
}

fn above(evidence: &Evidence, policy: &AppraisalPolicy) -> Vec<&'static str> {
    let appraisal = evidence.appraise(policy);
    let of_tier = appraisal.failures().iter().filter(|f| f.tier == PrivacyTier::GpuCc);
    of_tier.map(|f| f.code).collect()
}

fn with_collateral(devices: &mut [NvidiaClaims]) {
    for device in devices {
        (device.rim, device.ocsp) = (gpu("").rim, gpu("").ocsp);
    }
}

#[test]
fn a_real_fabric_of_8_gpus_and_4_switches_names_itself_and_a_part_of_it_does_not() {
    let (Some(mut list), Some(switches)) = (devices("ppcie_8gpu.json"), devices("ppcie_4switch.json")) else {
        return;
    };
    list.extend(switches);
    let (mut evidence, mut policy) = gpu_guest();
    policy.gpu = Some(GpuPolicy::any_device(8, 4));
    evidence.devices = authentic(&list);
    assert_eq!(above(&evidence, &policy), ["gpu.rim.missing", "gpu.ocsp.missing"]);
    assert_eq!(evidence.appraise(&policy).tier(), PrivacyTier::CpuTee);
    // What NVIDIA's services would say is made up; the rest is what the devices signed.
    with_collateral(&mut evidence.devices);
    assert_eq!(above(&evidence, &policy), [""; 0]);
    assert_eq!(evidence.appraise(&policy).tier(), PrivacyTier::GpuCc);
    for missing in [0, 7, 8, 11] {
        let mut part = evidence.clone();
        part.devices.remove(missing);
        let count = if missing < 8 { "gpu.count" } else { "gpu.switch_count" };
        assert_eq!(above(&part, &policy), [count, "gpu.topology"]);
    }
}

#[test]
fn real_gpus_without_protected_pcie_are_capped_and_one_of_them_alone_is_not() {
    let file = |end: &str| vectors(&format!("nvidia/hopper_580_159.{end}")).map(Base64);
    let (Some(report), Some(certificates)) = (file("report.bin"), file("chain.pem")) else {
        return;
    };
    let list = [DeviceEvidence {
        arch: "hopper".into(),
        certificates,
        kind: "nvidia".into(),
        report,
    }];
    let (mut evidence, mut policy) = gpu_guest();
    evidence.devices = authentic(&list);
    with_collateral(&mut evidence.devices);
    assert_eq!(evidence.appraise(&policy).tier(), PrivacyTier::GpuCc);
    let mut second = evidence.devices[0].clone();
    second.device_id = "other".into();
    second.own_pdi = Some([9; 8]);
    evidence.devices.push(second);
    policy.gpu = Some(GpuPolicy::any_device(2, 0));
    assert_eq!(above(&evidence, &policy), ["gpu.multi.not_protected", "gpu.topology"]);
}

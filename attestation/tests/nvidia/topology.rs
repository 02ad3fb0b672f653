//! Eight real GPUs and four real switches name each other; nobody else fits in between.

use hanzo_attestation::nvidia::{NvidiaClaims, Topology};
use hanzo_attestation::{Anchors, Authentic, DeviceClaims};

use crate::vectors::{CLOCK, Vectors};
use crate::{claims, judge_list};

fn machine(vectors: &Vectors) -> Vec<Authentic<DeviceClaims>> {
    let list: Vec<_> = ["json/ppcie_8gpu.json", "json/ppcie_4switch.json"]
        .iter()
        .flat_map(|name| vectors.list(name))
        .map(|(evidence, _)| evidence)
        .collect();
    judge_list(&list, &Anchors::vendor(), CLOCK).unwrap().devices().to_vec()
}

fn codes(devices: &[&NvidiaClaims]) -> Vec<&'static str> {
    let mut codes: Vec<_> = Topology::of(devices).problems.iter().map(|p| p.code).collect();
    codes.dedup();
    codes
}

#[test]
fn eight_real_gpus_and_four_real_switches_name_exactly_each_other() {
    let Some(vectors) = Vectors::load() else { return };
    let machine = machine(&vectors);
    let devices: Vec<&NvidiaClaims> = machine.iter().map(claims).collect();
    let topology = Topology::of(&devices);
    assert_eq!((topology.gpus, topology.switches), (8, 4));
    assert_eq!(topology.problems, []);
    for device in &devices {
        let (switches, gpus) = if device.arch.is_gpu() { (4, 0) } else { (0, 8) };
        assert_eq!((device.switch_pdis.len(), device.gpu_pdis.len()), (switches, gpus));
        assert_eq!(hex::encode(device.own_pdi.unwrap()), device.device_id[2..]);
    }

    // A GPU less, a switch less, the GPUs alone, the switches alone.
    assert_eq!(codes(&devices[1..]), ["nvidia.topology.foreign_gpu"]);
    assert_eq!(codes(&devices[..11]), ["nvidia.topology.foreign_switch"]);
    assert_eq!(codes(&devices[..8]), ["nvidia.topology.foreign_switch"]);
    assert_eq!(codes(&devices[8..]), ["nvidia.topology.foreign_gpu"]);
}

#[test]
fn a_gpu_or_switch_of_another_machine_is_noticed() {
    let Some(vectors) = Vectors::load() else { return };
    let machine = machine(&vectors);
    let devices: Vec<&NvidiaClaims> = machine.iter().map(claims).collect();
    let foreign = [
        vectors.evidence("hopper_550_90.report.bin"),
        vectors.evidence("switch_ls10.report.bin"),
    ];
    let foreign = judge_list(&foreign, &Anchors::vendor(), CLOCK).unwrap();
    let (gpu, switch) = (claims(&foreign.devices()[0]), claims(&foreign.devices()[1]));
    // In place of one of the eight: counts are right, and both sides complain.
    let swapped: Vec<_> = devices[1..].iter().copied().chain([gpu]).collect();
    assert_eq!(Topology::of(&swapped).gpus, 8);
    assert_eq!(
        codes(&swapped),
        [
            "nvidia.topology.unconnected_switch",
            "nvidia.topology.foreign_gpu",
            "nvidia.topology.unconnected_gpu",
            "nvidia.topology.foreign_gpu",
            "nvidia.topology.unconnected_gpu",
            "nvidia.topology.foreign_gpu",
            "nvidia.topology.unconnected_gpu",
            "nvidia.topology.foreign_gpu",
            "nvidia.topology.unconnected_gpu",
        ]
    );
    let swapped: Vec<_> = devices[..11].iter().copied().chain([switch]).collect();
    assert_eq!(Topology::of(&swapped).switches, 4);
    assert!(codes(&swapped).contains(&"nvidia.topology.foreign_switch"));
    assert!(codes(&swapped).contains(&"nvidia.topology.unconnected_gpu"));
    // The union of what seven GPUs name hides what the eighth names: each is compared by itself.
    let mut one = devices[3].clone();
    one.switch_pdis[0] = [9; 8];
    let edited: Vec<_> = devices
        .iter()
        .enumerate()
        .map(|(i, d)| if i == 3 { &one } else { *d })
        .collect();
    assert_eq!(
        codes(&edited),
        ["nvidia.topology.foreign_switch", "nvidia.topology.unconnected_switch"]
    );
}

#[test]
fn gpus_without_switches_need_none_and_ids_are_told_apart() {
    let Some(vectors) = Vectors::load() else { return };
    let single = [vectors.evidence("hopper_580_159.report.bin")];
    let single = judge_list(&single, &Anchors::vendor(), CLOCK).unwrap();
    let gpu = claims(&single.devices()[0]);
    assert_eq!(Topology::of(&[gpu]).problems, []);
    assert_eq!(codes(&[gpu, gpu]), ["nvidia.topology.same_id"]);
    let mut nameless = gpu.clone();
    nameless.own_pdi = None;
    assert_eq!(codes(&[&nameless]), ["nvidia.topology.no_id"]);
    assert_eq!(Topology::of(&[]).problems, []);
}

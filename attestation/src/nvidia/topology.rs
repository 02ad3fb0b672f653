//! GPUs and switches of one machine: does each name exactly the others? Facts, no verdict.
//!
//! Under protected PCIe the switches see plaintext, so a list of GPUs counts only together with every switch between
//! them. Counting devices, or comparing unions of ids, is not enough: one GPU that names a foreign switch hides behind
//! seven that do not.

use std::collections::BTreeSet;

use super::{NvidiaClaims, hex_of};

type Pdi = [u8; 8];

/// What a list of devices says about how they are connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// How many GPUs are in the list.
    pub gpus: usize,
    /// How many switches are in the list.
    pub switches: usize,
    /// What does not fit, in the order of the list; empty: each GPU names exactly the switches of the list, and each
    /// switch exactly its GPUs.
    pub problems: Vec<TopologyProblem>,
}

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopologyProblem {
    /// Stable dotted code, e.g. `nvidia.topology.foreign_switch`.
    pub code: &'static str,
    /// Which device, and what of it.
    pub text: String,
}

impl Topology {
    /// Compares who is in the list with whom the devices name.
    ///
    /// The claims must be authentic and of distinct devices. GPUs that name no switch (all public reports from outside
    /// protected PCIe mode are such) need none in the list.
    pub fn of(devices: &[&NvidiaClaims]) -> Self {
        let (gpus, switches): (Vec<_>, Vec<_>) = devices.iter().copied().partition(|d| d.arch.is_gpu());
        let mut problems = Vec::new();
        let present_gpus = own_ids(&gpus, &mut problems);
        let present_switches = own_ids(&switches, &mut problems);
        for gpu in &gpus {
            compare(gpu, &gpu.switch_pdis, &present_switches, &SWITCHES, &mut problems);
        }
        for switch in &switches {
            compare(switch, &switch.gpu_pdis, &present_gpus, &GPUS, &mut problems);
        }
        Self {
            gpus: gpus.len(),
            switches: switches.len(),
            problems,
        }
    }
}

struct Named {
    what: &'static str,
    foreign: &'static str,
    missing: &'static str,
}

const SWITCHES: Named = Named {
    what: "switch",
    foreign: "nvidia.topology.foreign_switch",
    missing: "nvidia.topology.unconnected_switch",
};
const GPUS: Named = Named {
    what: "GPU",
    foreign: "nvidia.topology.foreign_gpu",
    missing: "nvidia.topology.unconnected_gpu",
};

/// The devices' own ids. A device without one, or two with the same, can be named by nobody.
fn own_ids(devices: &[&NvidiaClaims], problems: &mut Vec<TopologyProblem>) -> BTreeSet<Pdi> {
    let mut ids = BTreeSet::new();
    for device in devices {
        match device.own_pdi {
            None => problems.push(TopologyProblem {
                code: "nvidia.topology.no_id",
                text: format!("device {}: its certificates state no PDI", device.device_id),
            }),
            Some(pdi) if !ids.insert(pdi) => problems.push(TopologyProblem {
                code: "nvidia.topology.same_id",
                text: format!(
                    "device {}: PDI {} is another device's as well",
                    device.device_id,
                    hex_of(&pdi)
                ),
            }),
            Some(_) => {}
        }
    }
    ids
}

fn compare(
    device: &NvidiaClaims,
    named: &[Pdi],
    present: &BTreeSet<Pdi>,
    words: &Named,
    problems: &mut Vec<TopologyProblem>,
) {
    let named: BTreeSet<Pdi> = named.iter().copied().collect();
    let what = words.what;
    problems.extend(named.difference(present).map(|pdi| TopologyProblem {
        code: words.foreign,
        text: format!(
            "device {}: it is connected to {what} {}, which is not in the list",
            device.device_id,
            hex_of(pdi)
        ),
    }));
    problems.extend(present.difference(&named).map(|pdi| TopologyProblem {
        code: words.missing,
        text: format!(
            "device {}: {what} {} is in the list, and it does not say that it is connected to it",
            device.device_id,
            hex_of(pdi)
        ),
    }));
}

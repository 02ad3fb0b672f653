//! What CUDA shows against what NVML shows.

use hanzo_device::cuda::{CudaGpu, CudaSurvey, PciAddress};
use hanzo_device::nvml::{NvmlGpu, NvmlSurvey};
use hanzo_device::probe::{ProbeError, agree};

fn uuid(index: u32) -> String {
    format!("GPU-00000000-0000-0000-0000-00000000000{index}")
}

fn machine() -> (NvmlSurvey, CudaSurvey) {
    let pci = |bus| PciAddress {
        domain: 0,
        bus,
        device: 0,
    };
    let nvml = |index| NvmlGpu {
        uuid: uuid(index),
        name: "TEST H100".into(),
        pci: pci(0x3b + index),
        compute_capability: [9, 0],
        memory_bytes: 80 << 30,
    };
    let cuda = |index| CudaGpu {
        uuid: uuid(index),
        name: "TEST H100".into(),
        pci: pci(0x3b + index),
        compute_capability: [9, 0],
        memory_bytes: 79 << 30,
        memory_free_bytes: 78 << 30,
        copied_bytes: 1 << 20,
    };
    let nvml = NvmlSurvey {
        driver_version: "580.95.05".into(),
        cuda_api: 13_000,
        gpus: vec![nvml(0), nvml(1)],
    };
    // CUDA's order is its own: the fastest first.
    let cuda = CudaSurvey {
        driver_api: 13_000,
        gpus: vec![cuda(1), cuda(0)],
    };
    (nvml, cuda)
}

/// One thing of what CUDA shows, changed.
type Change = fn(&mut CudaSurvey);

#[test]
fn cuda_and_nvml_show_the_same_gpus_or_name_what_differs() {
    let (nvml, cuda) = machine();
    agree(&nvml, &cuda).unwrap();
    let cases: [(&str, Change); 11] = [
        ("missing", |c| {
            c.gpus.pop();
        }),
        ("missing", |c| c.gpus[0].uuid = uuid(7)),
        ("twice", |c| c.gpus[0] = c.gpus[1].clone()),
        ("CUDA API version", |c| c.driver_api = 12_080),
        ("name", |c| c.gpus[1].name.push('X')),
        ("PCI address", |c| c.gpus[1].pci.bus = 1),
        ("compute capability", |c| c.gpus[0].compute_capability = [8, 0]),
        ("memory", |c| c.gpus[0].memory_bytes = (80 << 30) + 1),
        ("memory", |c| c.gpus[0].memory_bytes = 0),
        ("memory", |c| c.gpus[0].memory_free_bytes = (79 << 30) + 1),
        ("missing", |c| c.gpus.clear()),
    ];
    for (expected, change) in cases {
        let mut changed = cuda.clone();
        change(&mut changed);
        let error = agree(&nvml, &changed).unwrap_err();
        let got = match &error {
            ProbeError::Missing { .. } => "missing",
            ProbeError::Twice { .. } => "twice",
            ProbeError::Differs { field, .. } => field,
            ProbeError::Cuda(_) => "cuda",
            ProbeError::None => "none",
        };
        assert_eq!(got, expected, "{error}");
    }
    let (mut without, mut neither) = (nvml.clone(), cuda.clone());
    without.gpus.clear();
    neither.gpus.clear();
    assert_eq!(agree(&without, &neither).unwrap_err().code(), "gpu.probe.none");
    // A GPU that only CUDA has.
    let mut fewer = nvml.clone();
    fewer.gpus.pop();
    let error = agree(&fewer, &cuda).unwrap_err();
    assert_eq!(error.code(), "gpu.probe.missing");
    assert!(error.to_string().contains("CUDA shows it and NVML does not"), "{error}");
}

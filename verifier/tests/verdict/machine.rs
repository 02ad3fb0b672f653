//! Simulated machines with GPUs: an SNP guest, its devices, and what NVIDIA's simulator says of them.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use hanzo_attestation::bundle::{Base64, Bundle, CpuEvidence, DeviceCollateral, DeviceEvidence};
use hanzo_attestation::keyset::Keyset;
use hanzo_attestation::statement::Statement;
use hanzo_policy::{GpuPolicy, PrivacyTier};
use hanzo_simulated_tee::{
    DeviceSpec, OcspSpec, OcspStatus, RimSpec, SimulatedDevice, SimulatedNvidia, SimulatedRimIssuer,
};
use hanzo_verifier::VerifierContext;

use crate::fixture::*;

static VENDOR: LazyLock<SimulatedNvidia> = LazyLock::new(SimulatedNvidia::for_tests);
static ISSUER: LazyLock<SimulatedRimIssuer> = LazyLock::new(SimulatedRimIssuer::for_tests);

pub fn vendor() -> &'static SimulatedNvidia {
    &VENDOR
}

#[allow(dead_code, reason = "the benches sign RIMs of their own")]
pub fn issuer() -> &'static SimulatedRimIssuer {
    &ISSUER
}

/// Measurements of the driver's RIM; the VBIOS's has those below.
const DRIVER: std::ops::RangeInclusive<u8> = 21..=30;
const VBIOS: std::ops::RangeInclusive<u8> = 1..=20;

/// A machine in protected PCIe mode: two GPUs and two switches that name each other.
pub fn protected() -> Vec<SimulatedDevice> {
    VENDOR.machine(1, 2, 2)
}

/// GPUs of this make without switches.
pub fn gpus(specs: impl IntoIterator<Item = DeviceSpec>) -> Vec<SimulatedDevice> {
    specs.into_iter().map(|spec| VENDOR.device(spec)).collect()
}

/// The RIMs for these devices: each driver and each firmware once.
pub fn rims(devices: &[SimulatedDevice]) -> Vec<Base64> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for spec in devices.iter().map(SimulatedDevice::spec) {
        let product = if spec.arch.is_gpu() {
            &spec.certified_chip
        } else {
            "LS10"
        };
        let driver = spec.driver_version.iter().map(|version| (version.clone(), DRIVER));
        for (version, numbers) in driver.chain([(spec.vbios_text(), VBIOS)]) {
            if seen.insert((product.to_owned(), version.clone())) {
                let healthy = DeviceSpec::clone(spec);
                let rim = RimSpec::of_measurements(product, &version, &healthy.measurements, numbers);
                out.push(Base64(ISSUER.sign(&rim)));
            }
        }
    }
    out
}

/// OCSP answers for these devices: good, but for the BROM certificate of `other.0`, of which the answer says `other.1`.
pub fn ocsp_but(devices: &[SimulatedDevice], other: Option<(usize, OcspStatus)>) -> Vec<Base64> {
    let mut families = BTreeSet::new();
    let mut out = Vec::new();
    for (i, device) in devices.iter().enumerate() {
        let good = OcspSpec::good(NOW.0);
        let own = match other {
            Some((at, status)) if at == i => good.clone().with_status(status),
            _ => good.clone(),
        };
        out.push(VENDOR.ocsp(device, 1, &own));
        // What stands above the device stands above all of its family.
        if families.insert(device.spec().certified_chip.clone()) {
            out.extend([2, 3].map(|position| VENDOR.ocsp(device, position, &good)));
        }
    }
    out.into_iter().map(Base64).collect()
}

/// Everything that NVIDIA's simulator says of these devices.
pub fn collateral(devices: &[SimulatedDevice]) -> DeviceCollateral {
    DeviceCollateral {
        ocsp: ocsp_but(devices, None),
        rims: rims(devices),
    }
}

/// What the devices of a guest with this keyset must answer.
pub fn device_nonce(keyset: &Keyset) -> [u8; 32] {
    let statement = Statement::for_devices(keyset.digest().unwrap(), nonce());
    statement.digest256().unwrap().0
}

pub fn answers(devices: &[SimulatedDevice], nonce: &[u8; 32]) -> Vec<DeviceEvidence> {
    devices.iter().map(|device| device.evidence(nonce)).collect()
}

pub fn snp(statement: &Statement) -> CpuEvidence {
    snp_over(&statement.report_data().unwrap())
}

pub fn snp_over(report_data: &[u8; 64]) -> CpuEvidence {
    CpuEvidence::Snp(launch(healthy()).evidence(report_data))
}

/// An honest guest with these devices, whose evidence `cpu` makes: the devices first, then the statement over their list.
pub fn compose(devices: &[SimulatedDevice], cpu: impl FnOnce(&Statement) -> CpuEvidence) -> Bundle {
    let list = answers(devices, &device_nonce(&keyset()));
    compose_list(list, collateral(devices), cpu)
}

/// A guest that shows this list, signed as it is.
pub fn compose_list(
    list: Vec<DeviceEvidence>,
    collateral: DeviceCollateral,
    cpu: impl FnOnce(&Statement) -> CpuEvidence,
) -> Bundle {
    let cpu = cpu(&cpu_statement(&keyset(), &list));
    Bundle {
        collateral,
        devices: list,
        ..envelope(keyset(), cpu)
    }
}

/// Accepts the healthy SNP guest with exactly so many GPUs and switches, at tier 3.
pub fn context_with(gpus: u8, switches: u8) -> VerifierContext {
    with_devices(context(), PrivacyTier::GpuCc, GpuPolicy::any_device(gpus, switches))
}

pub fn with_devices(mut context: VerifierContext, minimum: PrivacyTier, table: GpuPolicy) -> VerifierContext {
    context.policy.gpu = Some(table);
    context.policy.minimum_tier = minimum;
    context.anchors = context
        .anchors
        .with_simulator_nvidia_root(VENDOR.device_root_der().to_vec())
        .with_simulator_rim_root(ISSUER.root_der().to_vec());
    context
}

//! A simulated vendor of GPUs and switches: roots, factories and devices, with reports in NVIDIA's format.

mod device;
mod report;

use hanzo_attestation::nvidia::NvidiaArch;
use zeroize::Zeroizing;

use crate::authority::{Authority, ca_extensions};
use crate::certificate::{NOT_AFTER, NOT_BEFORE, Subject};
use crate::ocsp::{OcspSpec, answer};

pub use device::{DeviceSpec, SimulatedDevice};

/// CN of the simulated device root.
const ROOT_COMMON_NAME: &str = "Simulated Device Identity CA";

const PROVISIONER_SERIAL: &[u8] = &[2];
const IDENTITY_SERIAL: &[u8] = &[3];

/// TEST ONLY: see [`SimulatedNvidia::for_tests`].
const TEST_SEED: &[u8; 32] = b"hanzo simulated GPUs: TEST ONLY!";

/// A simulated vendor of GPUs and switches. Its keys protect nothing from whoever runs it.
pub struct SimulatedNvidia {
    seed: Zeroizing<[u8; 32]>,
    root_der: Vec<u8>,
}

impl SimulatedNvidia {
    /// Derives the vendor from `seed`. Keys and serial numbers are the same for the same seed; signatures are not, so
    /// certificates differ in their bytes, and a root of an earlier run still stands for this one's devices.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let root = Authority::derive(seed, "nvidia root", ROOT_COMMON_NAME);
        let root_der = root.issue(&Subject {
            common_name: ROOT_COMMON_NAME,
            serial: &[1],
            validity: (NOT_BEFORE, NOT_AFTER),
            spki: root.spki(),
            extensions: ca_extensions(None),
        });
        Self {
            seed: Zeroizing::new(*seed),
            root_der,
        }
    }

    /// The vendor of a fixed, public seed. TEST ONLY.
    pub fn for_tests() -> Self {
        Self::from_seed(TEST_SEED)
    }

    /// The root certificate (DER): what `Anchors::with_simulator_nvidia_root` takes.
    pub fn device_root_der(&self) -> &[u8] {
        &self.root_der
    }

    /// Makes a GPU or switch.
    pub fn device(&self, spec: DeviceSpec) -> SimulatedDevice {
        SimulatedDevice::new(self, spec)
    }

    /// One machine in protected PCIe mode: Hopper GPUs, then LS10 switches, each naming all of the others' kind.
    /// `first` numbers its first GPU and its first switch, so that another machine can have other devices.
    pub fn machine(&self, first: u16, gpus: u16, switches: u16) -> Vec<SimulatedDevice> {
        let gpus: Vec<_> = (first..first + gpus).map(DeviceSpec::hopper).collect();
        let switches: Vec<_> = (first..first + switches).map(DeviceSpec::ls10).collect();
        let gpu_pdis: Vec<_> = gpus.iter().map(DeviceSpec::pdi).collect();
        let switch_pdis: Vec<_> = switches.iter().map(DeviceSpec::pdi).collect();
        let gpus = gpus.into_iter().map(|spec| DeviceSpec {
            protected_pcie: Some(true),
            feature_flag: Some(2),
            switch_pdis: switch_pdis.clone(),
            ..spec
        });
        let switches = switches.into_iter().map(|spec| DeviceSpec {
            gpu_pdis: gpu_pdis.clone(),
            ..spec
        });
        gpus.chain(switches).map(|spec| self.device(spec)).collect()
    }

    /// An OCSP answer about one of the device's certificates: 0, its leaf, to 3, the identity's.
    ///
    /// # Panics
    /// For another position.
    pub fn ocsp(&self, device: &SimulatedDevice, position: usize, spec: &OcspSpec) -> Vec<u8> {
        let of = device.spec();
        match position {
            0 => answer(&self.brom(of), &of.leaf_serial(), spec),
            1 => answer(&self.provisioner(of), &of.brom_serial(), spec),
            2 => answer(&self.identity(of), PROVISIONER_SERIAL, spec),
            3 => answer(&self.root(), IDENTITY_SERIAL, spec),
            _ => panic!("a chain has four certificates under its root"),
        }
    }

    fn root(&self) -> Authority {
        Authority::derive(&self.seed, "nvidia root", ROOT_COMMON_NAME)
    }

    /// The product's authority. Switches of the Hopper generation hang under Hopper's, as NVIDIA's do.
    fn identity(&self, spec: &DeviceSpec) -> Authority {
        let product = match spec.arch {
            NvidiaArch::Hopper | NvidiaArch::Ls10 => "GH100",
            NvidiaArch::Blackwell => "GB100",
        };
        let label = format!("nvidia identity {product}");
        Authority::derive(&self.seed, &label, &format!("SIMULATED {product} Identity"))
    }

    fn provisioner(&self, spec: &DeviceSpec) -> Authority {
        let chip = spec.certified_chip.as_str();
        let label = format!("nvidia provisioner {chip}");
        Authority::derive(&self.seed, &label, &format!("SIMULATED {chip} Provisioner ICA 1"))
    }

    fn brom(&self, spec: &DeviceSpec) -> Authority {
        let label = format!("nvidia BROM {}", hex(&spec.brom_serial()));
        Authority::derive(&self.seed, &label, &format!("{} S01 GSP BROM", spec.certified_chip))
    }
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

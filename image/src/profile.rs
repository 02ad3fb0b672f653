//! The description of the GPU profile: `image/profiles/gpu.toml`. It is read and checked whole; an image is not made of it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::ImageError;
use crate::inputs::Package;

/// The committed description.
pub const GPU: &str = include_str!("../profiles/gpu.toml");
/// Longest description accepted, in bytes.
const BYTES_MAX: usize = 64 * 1024;
const DEVICES_MAX: usize = 16;
const MODULES_MAX: usize = 8;

/// What a package of the driver is for. Each is there exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Source of the open kernel modules.
    KernelModules,
    /// Firmware of the GPU's system processor.
    GspFirmware,
    /// The library that evidence is asked of.
    Nvml,
    /// The library that the engine computes with.
    Cuda,
    /// Keeps the GPU initialised while nobody uses it.
    Persistence,
}

/// All purposes.
const PURPOSES: usize = 5;

/// Confidential computing on the GPU. Its developers' mode would leave memory open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum On {
    /// On: there is no other value.
    On,
}

/// What must not be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Off {
    /// Off: there is no other value.
    Off,
}

/// When a GPU may take work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ready {
    /// Once the guest has verified its evidence: there is no other value.
    AfterAttestation,
}

/// Who sets up a fabric of switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FabricManager {
    /// Nobody: there is no fabric.
    None,
}

/// A generation of GPUs whose evidence the verifier reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// H100, H200.
    Hopper,
    /// B200, B300.
    Blackwell,
}

/// The driver.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Driver {
    /// NVIDIA's version; every package's Debian version starts with it.
    pub release: String,
    /// Kernel modules, in the order of loading.
    pub modules: Vec<String>,
    /// Its packages.
    pub packages: BTreeMap<Purpose, Package>,
}

/// Settings of the GPU.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfidentialCompute {
    /// Confidential mode.
    pub mode: On,
    /// Its developers' variant.
    pub devtools: Off,
    /// When the ready state is set.
    pub ready: Ready,
    /// Persistence mode.
    pub persistence: On,
}

/// How many GPUs, and what is between them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Most GPUs of one guest.
    pub gpus_max: u32,
    /// Protected PCIe, for several of them.
    pub protected_pcie: Off,
    /// The fabric manager.
    pub fabric_manager: FabricManager,
}

/// A kind of GPU.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its generation.
    pub architecture: Architecture,
    /// PCI vendor, four lower-case hexadecimal digits: `10de`.
    pub vendor: String,
    /// PCI device, likewise.
    pub device: String,
}

/// What a policy for such images says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyNote {
    /// Its floor for the driver.
    pub minimum_driver: String,
}

/// The whole description.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuProfile {
    /// Format version: 1.
    pub version: u32,
    /// The profile's name: `gpu`.
    pub name: String,
    /// Why there is no such image.
    pub not_built: Vec<String>,
    /// Driver and firmware.
    pub driver: Driver,
    /// Settings.
    pub confidential_compute: ConfidentialCompute,
    /// How many.
    pub topology: Topology,
    /// Which.
    pub devices: Vec<Device>,
    /// For whoever writes the policy.
    pub policy: PolicyNote,
}

impl GpuProfile {
    /// Reads and checks a description.
    ///
    /// # Errors
    /// [`ImageError::Profile`]; [`ImageError::Inputs`] for a package that is not pinned as inputs are.
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        if text.len() > BYTES_MAX {
            return Err(wrong("the file", "at most 65536 bytes", &text.len().to_string()));
        }
        let profile: Self = toml::from_str(text).map_err(|e| wrong("the file", "TOML as SPEC.md says", e.message()))?;
        profile.check()?;
        Ok(profile)
    }

    fn check(&self) -> Result<(), ImageError> {
        if self.version != 1 {
            return Err(wrong("version", "1", &self.version.to_string()));
        }
        if self.name != "gpu" {
            return Err(wrong("name", "gpu", &self.name));
        }
        if self.not_built.is_empty() || self.not_built.iter().any(String::is_empty) {
            return Err(wrong("not_built", "the reasons why there is no such image", "none"));
        }
        self.driver.check()?;
        if self.topology.gpus_max != 1 {
            let got = self.topology.gpus_max.to_string();
            return Err(wrong(
                "topology.gpus_max",
                "1: without evidence of switches several GPUs stay at tier 2",
                &got,
            ));
        }
        if self.devices.is_empty() || self.devices.len() > DEVICES_MAX {
            return Err(wrong(
                "devices",
                "1 to 16 kinds of GPU",
                &self.devices.len().to_string(),
            ));
        }
        for (n, device) in self.devices.iter().enumerate() {
            let id =
                |text: &str| text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            if device.vendor != "10de" {
                return Err(wrong(&format!("devices[{n}].vendor"), "10de", &device.vendor));
            }
            if !id(&device.device) {
                return Err(wrong(
                    &format!("devices[{n}].device"),
                    "four lower-case hexadecimal digits",
                    &device.device,
                ));
            }
            if self.devices.iter().take(n).any(|other| other.device == device.device) {
                return Err(wrong(
                    &format!("devices[{n}].device"),
                    "each device once",
                    &device.device,
                ));
            }
        }
        if version(&self.policy.minimum_driver).is_none()
            || version(&self.policy.minimum_driver) > version(&self.driver.release)
        {
            return Err(wrong(
                "policy.minimum_driver",
                "a version that this driver reaches",
                &self.policy.minimum_driver,
            ));
        }
        Ok(())
    }

    /// Why no image is made of it.
    pub fn refusal(&self) -> ImageError {
        ImageError::ProfileNotBuilt {
            profile: "gpu",
            why: self.not_built.join("; "),
        }
    }
}

impl Driver {
    fn check(&self) -> Result<(), ImageError> {
        if version(&self.release).is_none() {
            return Err(wrong("driver.release", "numbers between dots", &self.release));
        }
        let name = |m: &String| !m.is_empty() && m.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        if self.modules.is_empty() || self.modules.len() > MODULES_MAX || !self.modules.iter().all(name) {
            return Err(wrong(
                "driver.modules",
                "1 to 8 names of modules",
                &format!("{:?}", self.modules),
            ));
        }
        if self.packages.len() != PURPOSES {
            let got = format!("{:?}", self.packages.keys().collect::<Vec<_>>());
            return Err(wrong(
                "driver.packages",
                "one package for each of the five purposes",
                &got,
            ));
        }
        for (purpose, package) in &self.packages {
            let what = format!("driver.packages.{purpose:?}");
            package.check(&what)?;
            // Modules, firmware and libraries of two versions do not work together.
            if package.release.split('-').next() != Some(self.release.as_str()) {
                return Err(wrong(
                    &format!("{what}.release"),
                    "the driver's release",
                    &package.release,
                ));
            }
        }
        Ok(())
    }
}

/// The numbers of a driver's version.
fn version(text: &str) -> Option<Vec<u32>> {
    let parts = text.split('.').map(|part| {
        let plain = !part.is_empty() && part.len() <= 6 && part.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| part.parse().ok()).flatten()
    });
    parts.collect()
}

fn wrong(what: &str, expected: &'static str, got: &str) -> ImageError {
    ImageError::Profile {
        what: what.to_owned(),
        expected,
        got: got.chars().take(200).collect(),
    }
}

//! The machine that a value is for.

use hanzo_attestation::name::Name;
use serde::{Deserialize, Serialize};

use super::MatrixError;
use crate::snp::{CpuModel, GuestFeatures, HostKernel, SnpShape, TscFields, Vmm};
use crate::tdx::PageOrder;

/// A machine and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmShape {
    /// For people, and for policies: a name of its own.
    pub name: Name,
    /// The machine.
    pub machine: Machine,
}

/// A machine of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Machine {
    /// SEV-SNP.
    Snp(SnpMachine),
    /// TDX.
    Tdx(TdxMachine),
}

/// An SNP guest. Members that do not enter the digest say so: they tell which machine a value was computed for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpMachine {
    /// Whose registers and order of pages.
    pub vmm: Vmm,
    /// The VMM's version, as its project writes it. Not part of the digest.
    pub vmm_version: Name,
    /// Which host kernel fills the register pages.
    pub host_kernel: HostKernel,
    /// Virtual processors.
    pub vcpus: u32,
    /// The `-cpu` model.
    pub cpu: CpuModel,
    /// Memory in MiB. Not part of the digest.
    pub ram_mib: u64,
    /// SEV_FEATURES, without Secure TSC's bit.
    pub guest_features: GuestFeatures,
    /// Secure TSC.
    pub secure_tsc: SecureTsc,
}

/// Whether the guest's clock is out of the host's reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecureTsc {
    /// Bit 9 of the guest features is zero.
    Off,
    /// Bit 9 is set; scale and offset are zero in the measured page, as KVM leaves them.
    On,
}

/// A TDX guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdxMachine {
    /// The VMM's name and version. Not part of MRTD.
    pub vmm_version: Name,
    /// In which order it adds and measures pages.
    pub page_order: PageOrder,
    /// Virtual processors. Not part of MRTD; RTMR0 depends on it.
    pub vcpus: u32,
    /// Memory in MiB. Not part of MRTD; RTMR0 depends on it.
    pub ram_mib: u64,
}

impl SnpMachine {
    pub(super) fn launch(&self, name: &Name) -> Result<SnpShape, MatrixError> {
        let features = match self.secure_tsc {
            SecureTsc::On => self.guest_features.with_secure_tsc(),
            SecureTsc::Off if self.guest_features.secure_tsc() => {
                return Err(MatrixError::SecureTsc { name: name.clone() });
            }
            SecureTsc::Off => self.guest_features,
        };
        Ok(SnpShape {
            vmm: self.vmm,
            vcpus: self.vcpus,
            cpu: self.cpu.signature(),
            features,
            host: self.host_kernel,
            tsc: TscFields::default(),
        })
    }
}

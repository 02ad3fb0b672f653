//! Every combination of a few parameters.

use hanzo_attestation::name::Name;

use super::shape::{Machine, SecureTsc, SnpMachine, VmShape};
use super::{MatrixError, SHAPES_MAX};
use crate::snp::{CpuModel, GuestFeatures, HostKernel, Vmm};

/// What an image is to be run on; every combination becomes a shape.
#[derive(Debug, Clone)]
pub struct SnpAxes {
    /// Begins each name: the image and its version.
    pub image: Name,
    /// VMMs and their versions.
    pub vmms: Vec<(Vmm, Name)>,
    /// Host kernels.
    pub host_kernels: Vec<HostKernel>,
    /// Numbers of virtual processors.
    pub vcpus: Vec<u32>,
    /// Processor models.
    pub cpus: Vec<CpuModel>,
    /// Memory in MiB.
    pub ram_mib: u64,
    /// SEV_FEATURES.
    pub guest_features: Vec<GuestFeatures>,
    /// Secure TSC.
    pub secure_tsc: Vec<SecureTsc>,
}

impl SnpAxes {
    /// The shapes, named `<image>.<vmm>.<host kernel>.<cpu>.<n>v.f<features>[.tsc]`.
    ///
    /// # Errors
    /// [`MatrixError::Count`] for none or more than [`SHAPES_MAX`]; [`MatrixError::Name`] if a name has over 64 characters.
    pub fn shapes(&self) -> Result<Vec<VmShape>, MatrixError> {
        let axes = [
            self.vmms.len(),
            self.host_kernels.len(),
            self.vcpus.len(),
            self.cpus.len(),
            self.guest_features.len(),
            self.secure_tsc.len(),
        ];
        let count = axes.into_iter().fold(1_usize, usize::saturating_mul);
        if !(1..=SHAPES_MAX).contains(&count) {
            return Err(MatrixError::Count { got: count });
        }
        let mut shapes = Vec::with_capacity(count);
        for (vmm, vmm_version) in &self.vmms {
            for host_kernel in &self.host_kernels {
                for vcpus in &self.vcpus {
                    for cpu in &self.cpus {
                        for guest_features in &self.guest_features {
                            for secure_tsc in &self.secure_tsc {
                                let machine = SnpMachine {
                                    vmm: *vmm,
                                    vmm_version: vmm_version.clone(),
                                    host_kernel: *host_kernel,
                                    vcpus: *vcpus,
                                    cpu: *cpu,
                                    ram_mib: self.ram_mib,
                                    guest_features: *guest_features,
                                    secure_tsc: *secure_tsc,
                                };
                                shapes.push(self.named(machine)?);
                            }
                        }
                    }
                }
            }
        }
        Ok(shapes)
    }

    fn named(&self, machine: SnpMachine) -> Result<VmShape, MatrixError> {
        let vmm = match machine.vmm {
            Vmm::Qemu => "qemu",
            Vmm::Ec2 => "ec2",
            Vmm::Gce => "gce",
        };
        let host = match machine.host_kernel {
            HostKernel::BeforeLinux6_10 => "pre-6.10",
            HostKernel::FromLinux6_10 => "6.10",
        };
        let tsc = match machine.secure_tsc {
            SecureTsc::Off => "",
            SecureTsc::On => ".tsc",
        };
        let text = format!(
            "{}.{vmm}.{host}.{}.{}v.f{:x}{tsc}",
            self.image,
            machine.cpu.name().to_ascii_lowercase(),
            machine.vcpus,
            machine.guest_features.bits()
        );
        let name = Name::new(&text).map_err(|_| MatrixError::Name { got: text })?;
        Ok(VmShape {
            name,
            machine: Machine::Snp(machine),
        })
    }
}

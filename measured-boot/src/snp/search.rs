//! Which machine a measurement is of, when it is not the one that was expected.

use std::collections::BTreeSet;

use hanzo_attestation::digest::Digest384;

use super::{
    BSP_EIP, CpuModel, CpuSignature, GuestFeatures, HostKernel, KernelHashes, PageKind, SnpError, SnpLaunch, SnpShape,
    TscFields, VCPUS_MAX, VMSA_GPA, Vmm,
};

/// Features that hosts set: SNP alone, with DebugSwap, with Secure TSC, with both.
const FEATURES: [u64; 4] = [0x1, 0x21, 0x201, 0x221];

/// The machine that a measurement is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnpMatch {
    /// Its parameters. Under EC2 and GCE the processor's model and the host kernel are not measured; the first of each stands
    /// for all.
    pub shape: SnpShape,
    /// Whether the kernel's hashes are measured. `false`: the firmware would start any kernel.
    pub has_kernel_hashes: bool,
}

impl SnpLaunch {
    /// Looks for the parameters under which this firmware and these boot files measure `measurement`: every VMM, host kernel,
    /// processor model and usual feature set, 1 to `vcpus_max` processors (at most [`VCPUS_MAX`]), with the kernel's hashes and
    /// without. `None` means that firmware, kernel, initrd or command line is another, or the machine is none of these.
    ///
    /// A match explains a mismatch; it is no reason to accept the machine.
    pub fn find(&self, kernel: Option<&KernelHashes>, measurement: &Digest384, vcpus_max: u32) -> Option<SnpMatch> {
        let with = kernel.map(Some).into_iter().chain([None]);
        with.flat_map(|kernel| Vmm::ALL.map(|vmm| (kernel, vmm)))
            .find_map(|(kernel, vmm)| {
                let shape = self.find_shape(kernel, vmm, measurement, vcpus_max).ok().flatten()?;
                Some(SnpMatch {
                    shape,
                    has_kernel_hashes: kernel.is_some(),
                })
            })
    }

    fn find_shape(
        &self,
        kernel: Option<&KernelHashes>,
        vmm: Vmm,
        measurement: &Digest384,
        vcpus_max: u32,
    ) -> Result<Option<SnpShape>, SnpError> {
        let before = self.before_registers(kernel, vmm)?;
        // Models that share a signature share their digests.
        let signatures: BTreeSet<CpuSignature> = CpuModel::ALL.iter().map(|m| m.signature()).collect();
        let measures_host = vmm == Vmm::Qemu;
        for cpu in signatures.into_iter().take(if measures_host { usize::MAX } else { 1 }) {
            for host in [HostKernel::FromLinux6_10, HostKernel::BeforeLinux6_10] {
                for bits in FEATURES {
                    let mut shape = SnpShape {
                        vmm,
                        vcpus: 1,
                        cpu,
                        features: GuestFeatures::new(bits)?,
                        host,
                        tsc: TscFields::default(),
                    };
                    let others = self.reset_eip().map(|eip| shape.registers(eip));
                    let mut context = before.clone();
                    context.page(PageKind::Vmsa, VMSA_GPA, &shape.registers(BSP_EIP));
                    while context.digest() != *measurement {
                        let Ok(contents) = &others else { break };
                        if shape.vcpus >= vcpus_max.min(VCPUS_MAX) {
                            break;
                        }
                        context.page(PageKind::Vmsa, VMSA_GPA, contents);
                        shape.vcpus += 1;
                    }
                    if context.digest() == *measurement {
                        return Ok(Some(shape));
                    }
                }
                if !measures_host {
                    break;
                }
            }
        }
        Ok(None)
    }
}

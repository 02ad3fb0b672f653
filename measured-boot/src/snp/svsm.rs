//! SEV-SNP with COCONUT-SVSM under QEMU, as two files: firmware at the end of 4 GiB, then a hole for its variables, and the
//! SVSM right below. The SVSM's own sections and registers are launched; the firmware's are not.

use hanzo_attestation::digest::Digest384;

use super::launch::{check, firmware_prefix, measure};
use super::{CpuSignature, LaunchContext, PageKind, SnpError, VCPUS_MAX, VMSA_GPA, Vmm, Vmsa};
use crate::firmware::{Firmware, PAGE_BYTES};

/// What a digest depends on beside the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SvsmShape {
    /// Virtual processors, 1 to [`VCPUS_MAX`]. Each has a register page of its own, all alike.
    pub vcpus: u32,
    /// What CPUID says.
    pub cpu: CpuSignature,
    /// Size of the variable store, which lies between SVSM and firmware: a multiple of 4096.
    pub vars_bytes: u64,
}

/// The launch digest of `firmware` under `svsm`.
///
/// # Errors
/// [`SnpError::Svsm`] if `svsm` has no SVSM entry or does not fit; [`SnpError::Vcpus`]; as [`super::SnpLaunch::new`] for
/// the SVSM's sections.
pub fn svsm_digest(firmware: &Firmware<'_>, svsm: &Firmware<'_>, shape: &SvsmShape) -> Result<Digest384, SnpError> {
    if !(1..=VCPUS_MAX).contains(&shape.vcpus) {
        return Err(SnpError::Vcpus { got: shape.vcpus });
    }
    if !shape.vars_bytes.is_multiple_of(PAGE_BYTES as u64) {
        return Err(SnpError::Svsm {
            what: "the variable store's size is no multiple of 4096",
        });
    }
    let image = firmware
        .gpa()
        .checked_sub(shape.vars_bytes)
        .and_then(|end| end.checked_sub(svsm.bytes().len() as u64))
        .ok_or(SnpError::Svsm {
            what: "does not fit between address 0 and the variable store",
        })?;
    let entry = svsm.svsm_entry()?.ok_or(SnpError::Svsm {
        what: "the image has no SVSM info entry: is it an SVSM?",
    })?;
    let sections = svsm.sev_sections()?;
    check(&sections, image)?;
    let mut context = LaunchContext::resume(firmware_prefix(firmware));
    context.image(image, svsm.bytes());
    for section in &sections {
        measure(&mut context, section, None, Vmm::Qemu);
    }
    let page = Vmsa::svsm(image.saturating_add(u64::from(entry)), shape.cpu);
    let contents = Digest384::of(page.bytes());
    for _ in 0..shape.vcpus {
        context.page(PageKind::Vmsa, VMSA_GPA, &contents);
    }
    Ok(context.digest())
}

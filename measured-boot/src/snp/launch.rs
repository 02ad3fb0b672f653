//! SEV-SNP: firmware, its memory sections, one register page for each processor.

use hanzo_attestation::digest::Digest384;

use super::{
    BSP_EIP, CpuSignature, GuestFeatures, HostKernel, KERNEL_TABLE_BYTES, KernelHashes, LaunchContext, PageKind,
    SnpError, TscFields, VCPUS_MAX, VMSA_GPA, Vmm, Vmsa,
};
use crate::firmware::{Area, Firmware, FirmwareError, PAGE_BYTES, SevSection, SevSectionKind};

/// What a digest depends on beside the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnpShape {
    /// Whose registers and whose order of pages.
    pub vmm: Vmm,
    /// Virtual processors, 1 to [`VCPUS_MAX`].
    pub vcpus: u32,
    /// What CPUID says; EC2 and GCE do not measure it.
    pub cpu: CpuSignature,
    /// SEV_FEATURES.
    pub features: GuestFeatures,
    /// Which host kernel fills QEMU's register pages.
    pub host: HostKernel,
    /// Zero unless the features have Secure TSC and the VMM fills them.
    pub tsc: TscFields,
}

/// A firmware image ready to be launched in many shapes.
#[derive(Debug, Clone)]
pub struct SnpLaunch {
    prefix: Digest384,
    sections: Vec<SevSection>,
    hash_table: Option<Area>,
    /// Without it only guests with one processor have a digest.
    reset_eip: Result<u32, FirmwareError>,
}

impl SnpLaunch {
    /// Digests the firmware's pages and reads its sections.
    ///
    /// # Errors
    /// [`SnpError::Firmware`]: no or malformed SNP sections. [`SnpError::SectionBytes`], [`SnpError::SectionTwice`],
    /// [`SnpError::OverImage`]: sections that cannot be launched.
    pub fn new(firmware: &Firmware<'_>) -> Result<Self, SnpError> {
        Self::resume(firmware, firmware_prefix(firmware))
    }

    /// As [`SnpLaunch::new`], with the digest of the firmware's pages from elsewhere: the file may then be just the end of
    /// the image, as long as it holds tables and sections.
    ///
    /// # Errors
    /// As [`SnpLaunch::new`].
    pub fn resume(firmware: &Firmware<'_>, prefix: Digest384) -> Result<Self, SnpError> {
        let sections = firmware.sev_sections()?;
        check(&sections, firmware.gpa())?;
        Ok(Self {
            prefix,
            sections,
            hash_table: firmware.hash_table()?,
            reset_eip: firmware.reset_eip(),
        })
    }

    /// The digest after the firmware's pages.
    pub fn prefix(&self) -> Digest384 {
        self.prefix
    }

    /// Whether the firmware checks the kernel that it is handed, against hashes in measured memory.
    ///
    /// # Errors
    /// [`SnpError::KernelUnchecked`] if it does not, [`SnpError::TablePlace`].
    pub fn checks_kernels(&self) -> Result<(), SnpError> {
        let none = KernelHashes::of(&[], &[], "")?;
        self.hash_page(&none).map(drop)
    }

    /// The launch digest.
    ///
    /// # Errors
    /// [`SnpError::KernelUnchecked`] if there is a kernel and the firmware measures no hash table; [`SnpError::TablePlace`],
    /// [`SnpError::Vcpus`], [`SnpError::TscWithoutFeature`]; [`SnpError::Firmware`] if there is more than one processor and
    /// the firmware does not say where they start.
    pub fn digest(&self, kernel: Option<&KernelHashes>, shape: &SnpShape) -> Result<Digest384, SnpError> {
        shape.check()?;
        let mut context = self.before_registers(kernel, shape.vmm)?;
        context.page(PageKind::Vmsa, VMSA_GPA, &shape.registers(BSP_EIP));
        if shape.vcpus > 1 {
            let contents = shape.registers(self.reset_eip.clone()?);
            for _ in 1..shape.vcpus {
                context.page(PageKind::Vmsa, VMSA_GPA, &contents);
            }
        }
        Ok(context.digest())
    }

    /// Where other processors than the first start.
    pub(super) fn reset_eip(&self) -> Result<u32, FirmwareError> {
        self.reset_eip.clone()
    }

    /// The digest of everything but register pages.
    pub(super) fn before_registers(&self, kernel: Option<&KernelHashes>, vmm: Vmm) -> Result<LaunchContext, SnpError> {
        let hash_page = kernel.map(|hashes| self.hash_page(hashes)).transpose()?;
        let mut context = LaunchContext::resume(self.prefix);
        for section in &self.sections {
            measure(&mut context, section, hash_page.as_deref(), vmm);
        }
        if vmm == Vmm::Ec2 {
            for section in self.sections.iter().filter(|s| s.kind == SevSectionKind::Cpuid) {
                context.pages(PageKind::Cpuid, section.gpa, section.bytes);
            }
        }
        Ok(context)
    }

    /// The page with the hash table.
    fn hash_page(&self, hashes: &KernelHashes) -> Result<Vec<u8>, SnpError> {
        let lacks = |what| SnpError::KernelUnchecked { what };
        let section = self
            .sections
            .iter()
            .find(|s| s.kind == SevSectionKind::KernelHashes && s.bytes != 0)
            .ok_or(lacks("SNP_KERNEL_HASHES section"))?;
        let table = self.hash_table.ok_or(lacks("SEV hash table entry"))?;
        let start = u64::from(table.gpa);
        let misplaced = SnpError::TablePlace {
            table: start,
            need: KERNEL_TABLE_BYTES,
            section: section.gpa,
            bytes: section.bytes,
        };
        let room = start
            .checked_sub(section.gpa)
            .and_then(|at| section.bytes.checked_sub(at));
        let fits = room.is_some_and(|room| room >= KERNEL_TABLE_BYTES as u64)
            && usize::try_from(table.bytes).is_ok_and(|bytes| bytes >= KERNEL_TABLE_BYTES);
        if !fits || section.bytes != PAGE_BYTES as u64 {
            return Err(misplaced);
        }
        let at = usize::try_from(start % PAGE_BYTES as u64).unwrap_or_default();
        let mut page = vec![0; PAGE_BYTES];
        for (to, from) in page.iter_mut().skip(at).zip(hashes.table()) {
            *to = from;
        }
        Ok(page)
    }
}

impl SnpShape {
    /// Of a register page, as it is measured.
    pub(super) fn registers(&self, eip: u32) -> Digest384 {
        let page = Vmsa::real_mode(self.vmm, eip, self.cpu, Some(self.features), self.host, self.tsc);
        Digest384::of(page.bytes())
    }

    fn check(&self) -> Result<(), SnpError> {
        if !(1..=VCPUS_MAX).contains(&self.vcpus) {
            return Err(SnpError::Vcpus { got: self.vcpus });
        }
        if self.tsc != TscFields::default() && !self.features.secure_tsc() {
            return Err(SnpError::TscWithoutFeature);
        }
        Ok(())
    }
}

/// The digest of the firmware's pages alone: the same for every shape.
pub(super) fn firmware_prefix(firmware: &Firmware<'_>) -> Digest384 {
    let mut context = LaunchContext::default();
    context.image(firmware.gpa(), firmware.bytes());
    context.digest()
}

/// Sections that no VMM launches.
pub(super) fn check(sections: &[SevSection], image: u64) -> Result<(), SnpError> {
    let mut seen = Vec::new();
    for section in sections.iter().filter(|s| s.bytes != 0) {
        let (what, one_page) = match section.kind {
            SevSectionKind::Secrets => ("secrets", true),
            SevSectionKind::Cpuid => ("CPUID", true),
            SevSectionKind::KernelHashes => ("kernel hash", true),
            SevSectionKind::Memory | SevSectionKind::SvsmCaa => ("memory", false),
        };
        if one_page && section.bytes != PAGE_BYTES as u64 {
            return Err(SnpError::SectionBytes {
                what,
                at: section.at,
                got: section.bytes,
            });
        }
        if one_page && seen.contains(&section.kind) {
            return Err(SnpError::SectionTwice { what, at: section.at });
        }
        if section.gpa.saturating_add(section.bytes) > image {
            return Err(SnpError::OverImage {
                at: section.at,
                start: section.gpa,
                image,
            });
        }
        seen.push(section.kind);
    }
    Ok(())
}

/// One section, in its place.
pub(super) fn measure(context: &mut LaunchContext, section: &SevSection, hash_page: Option<&[u8]>, vmm: Vmm) {
    let kind = match section.kind {
        SevSectionKind::Memory if vmm == Vmm::Gce => PageKind::Unmeasured,
        SevSectionKind::Memory | SevSectionKind::SvsmCaa => PageKind::Zero,
        SevSectionKind::Secrets => PageKind::Secrets,
        // EC2 launches them after all others.
        SevSectionKind::Cpuid if vmm == Vmm::Ec2 => return,
        SevSectionKind::Cpuid => PageKind::Cpuid,
        SevSectionKind::KernelHashes => match hash_page {
            Some(page) if section.bytes != 0 => return context.image(section.gpa, page),
            _ => PageKind::Zero,
        },
    };
    context.pages(kind, section.gpa, section.bytes);
}

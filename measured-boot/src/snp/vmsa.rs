//! The registers a virtual processor starts with: one page, measured.
//!
//! # Layout
//! Offsets within the page, little-endian (AMD64 APM volume 2, table B-4): segments `{u16 selector, u16 attributes, u32 limit,
//! u64 base}` ES 0x00, CS 0x10, SS 0x20, DS 0x30, FS 0x40, GS 0x50, GDTR 0x60, LDTR 0x70, IDTR 0x80, TR 0x90; EFER 0xd0, CR4
//! 0x148, CR0 0x158, DR7 0x160, DR6 0x168, RFLAGS 0x170, RIP 0x178, G_PAT 0x268, GUEST_TSC_SCALE 0x2f0, GUEST_TSC_OFFSET
//! 0x2f8, RDX 0x310, SEV_FEATURES 0x3b0, XCR0 0x3e8, MXCSR u32 0x408, x87 FCW u16 0x410. Everything else is zero.

use serde::{Deserialize, Serialize};

use super::{CpuSignature, GuestFeatures};
use crate::firmware::PAGE_BYTES;

/// Where the first processor starts: the reset vector.
pub const BSP_EIP: u32 = 0xffff_fff0;
/// The PAT after reset (APM volume 2, 7.8.2).
const PAT_RESET: u64 = 0x0007_0406_0007_0406;

/// Whose initial register values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vmm {
    /// QEMU with KVM.
    Qemu,
    /// Amazon EC2: other segment attributes, RDX 0x600, no x87 state; CPUID pages are measured last.
    Ec2,
    /// Google Compute Engine: G_PAT 0x70106, RDX 0x600, no x87 state; memory sections are unmeasured.
    Gce,
}

impl Vmm {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Qemu, Self::Ec2, Self::Gce];
}

/// Which host kernel prepares QEMU's register pages. Nothing else of a launch depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKernel {
    /// Before Linux 6.10, and AMD's own host branches before 6.9: the guest is made by KVM_SEV_INIT or KVM_SNP_INIT and its
    /// register page has MXCSR and FCW 0.
    BeforeLinux6_10,
    /// From Linux 6.10: the guest is made by KVM_SEV_INIT2 and its register page has MXCSR 0x1f80 and FCW 0x37f.
    FromLinux6_10,
}

/// The guest's clock under Secure TSC.
///
/// KVM passes both as zero and gives the wanted frequency to SNP_LAUNCH_START instead; a VMM that fills them states them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TscFields {
    /// GUEST_TSC_SCALE: 8.32 fixed point.
    pub scale: u64,
    /// GUEST_TSC_OFFSET.
    pub offset: u64,
}

/// A register page.
#[derive(Clone, PartialEq, Eq)]
pub struct Vmsa([u8; PAGE_BYTES]);

struct Segment {
    selector: u16,
    attributes: u16,
    limit: u32,
    base: u64,
}

impl Segment {
    /// 16-bit real mode.
    const fn real(attributes: u16) -> Self {
        Self {
            selector: 0,
            attributes,
            limit: 0xffff,
            base: 0,
        }
    }

    /// 32-bit, all memory.
    const fn flat(selector: u16, attributes: u16) -> Self {
        Self {
            selector,
            attributes,
            limit: 0xffff_ffff,
            base: 0,
        }
    }
}

impl Vmsa {
    /// A processor that starts in real mode at `eip`, as the firmware's processors do.
    ///
    /// `features` is `None` for SEV-ES, which has none.
    pub fn real_mode(
        vmm: Vmm,
        eip: u32,
        cpu: CpuSignature,
        features: Option<GuestFeatures>,
        host: HostKernel,
        tsc: TscFields,
    ) -> Self {
        let (code, stack, task) = match vmm {
            Vmm::Qemu | Vmm::Gce => (0x9b, 0x93, 0x8b),
            Vmm::Ec2 if eip == BSP_EIP => (0x9a, 0x92, 0x83),
            Vmm::Ec2 => (0x9b, 0x92, 0x83),
        };
        let code = Segment {
            selector: 0xf000,
            base: u64::from(eip & 0xffff_0000),
            ..Segment::real(code)
        };
        let mut page = Self([0; PAGE_BYTES]);
        for at in [0x00, 0x30, 0x40, 0x50] {
            page.segment(at, &Segment::real(0x93));
        }
        page.segment(0x10, &code);
        page.segment(0x20, &Segment::real(stack));
        page.system(task);
        page.long(0x158, 0x10);
        page.long(0x178, u64::from(eip & 0xffff));
        page.long(0x268, if vmm == Vmm::Gce { 0x0007_0106 } else { PAT_RESET });
        page.long(0x2f0, tsc.scale);
        page.long(0x2f8, tsc.offset);
        page.long(0x310, if vmm == Vmm::Qemu { u64::from(cpu.0) } else { 0x600 });
        page.long(0x3b0, features.map_or(0, GuestFeatures::bits));
        if (vmm, host) == (Vmm::Qemu, HostKernel::FromLinux6_10) {
            page.put(0x408, &0x1f80_u32.to_le_bytes());
            page.put(0x410, &0x37f_u16.to_le_bytes());
        }
        page
    }

    /// A processor that starts in protected mode at `entry`, as an SVSM's do under QEMU. FCW is zero there: the published
    /// digests have it so.
    pub fn svsm(entry: u64, cpu: CpuSignature) -> Self {
        let mut page = Self([0; PAGE_BYTES]);
        for at in [0x00, 0x20, 0x30, 0x40] {
            page.segment(at, &Segment::flat(16, 0xc93));
        }
        page.segment(0x10, &Segment::flat(8, 0xc9b));
        page.segment(0x50, &Segment::real(0x93));
        page.system(0x8b);
        page.long(0x158, 0x11);
        page.long(0x178, entry);
        page.long(0x268, PAT_RESET);
        page.long(0x310, u64::from(cpu.0));
        page.long(0x3b0, GuestFeatures::SNP.bits());
        page.put(0x408, &0x1f80_u32.to_le_bytes());
        page
    }

    /// The page.
    pub fn bytes(&self) -> &[u8; PAGE_BYTES] {
        &self.0
    }

    /// What every VMM sets alike.
    fn system(&mut self, task_attributes: u16) {
        self.segment(0x60, &Segment::real(0));
        self.segment(0x70, &Segment::real(0x82));
        self.segment(0x80, &Segment::real(0));
        self.segment(0x90, &Segment::real(task_attributes));
        // EFER.SVME, CR4.MCE, XCR0.x87: KVM sets them; DR6, DR7 and RFLAGS are reset values.
        self.long(0xd0, 0x1000);
        self.long(0x148, 0x40);
        self.long(0x160, 0x400);
        self.long(0x168, 0xffff_0ff0);
        self.long(0x170, 2);
        self.long(0x3e8, 1);
    }

    fn segment(&mut self, at: usize, segment: &Segment) {
        self.put(at, &segment.selector.to_le_bytes());
        self.put(at + 2, &segment.attributes.to_le_bytes());
        self.put(at + 4, &segment.limit.to_le_bytes());
        self.put(at + 8, &segment.base.to_le_bytes());
    }

    fn long(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        for (to, from) in self.0.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    }
}

impl std::fmt::Debug for Vmsa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vmsa(4096 bytes)")
    }
}

//! Where OVMF puts 64-bit BARs, which decides two numbers in the DSDT (the window of PCI0's _CRS).
//!
//! # Spec
//! EDK2 OvmfPkg/Library/PlatformInitLib/MemDetect.c, as of edk2-stable202502: PlatformAddressWidthFromCpuid and
//! PlatformDynamicMmioWindow.

/// Start of the second part of RAM.
const FOUR_GIB: u64 = 1 << 32;
/// Size and alignment of the window without a valid address width.
const CLASSIC_BYTES: u64 = 32 << 30;
/// QEMU's q35: a machine of less RAM has all of it below 4 GiB, a bigger one has 2 GiB there.
const Q35_ALL_LOW_BELOW: u64 = 0xb000_0000;
const Q35_LOW: u64 = 0x8000_0000;
/// Width that 4-level paging can map, as OVMF caps it.
const WIDTH_4_LEVEL: u8 = 46;
const WIDTH_5_LEVEL: u8 = 48;
/// Most BARs of one machine.
const BARS_MAX: usize = 1024;

/// CPUID's vendor, as far as the firmware looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// `AuthenticAMD`.
    Amd,
    /// `GenuineIntel`.
    Intel,
    /// Any other.
    Other,
}

/// What CPUID tells the firmware about addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    /// Leaf 0.
    pub vendor: Vendor,
    /// Leaf 0x8000_0008, EAX bits 7:0: 40 for QEMU's models, the host's with `host-phys-bits`.
    pub physical_bits: u8,
    /// The same leaf, bits 23:16: 0 if QEMU does not set it.
    pub guest_physical_bits: u8,
    /// 5-level paging.
    pub la57: bool,
}

/// A part of the address space that `etc/e820` reserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserved {
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub bytes: u64,
}

impl Reserved {
    /// HyperTransport's range, which QEMU reserves for AMD models with at least 40 address bits.
    pub const AMD_HYPERTRANSPORT: Self = Self {
        start: 0xfd_0000_0000,
        bytes: 12 << 30,
    };
}

/// Where 64-bit BARs go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// First address of the window.
    pub base: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A 64-bit BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// Length in bytes, a power of two of at least 16.
    pub bytes: u64,
}

/// RAM below 4 GiB of a q35 machine.
pub fn low_memory_bytes(memory_bytes: u64) -> u64 {
    match memory_bytes {
        Q35_ALL_LOW_BELOW.. => Q35_LOW,
        less => less,
    }
}

/// The 64-bit window of OVMF 2025.02 on a q35 machine, unless `opt/ovmf/X-PciMmio64Mb` says 0 and there is none.
///
/// # Errors
/// [`WindowError`].
pub fn window64(cpu: &Cpu, memory_bytes: u64, reserved: &[Reserved]) -> Result<Placement, WindowError> {
    let (width, valid) = width(cpu)?;
    let high = memory_bytes.saturating_sub(low_memory_bytes(memory_bytes));
    let end_of_ram = FOUR_GIB.saturating_add(high);
    let classic = Placement {
        base: end_of_ram
            .checked_next_multiple_of(CLASSIC_BYTES)
            .ok_or(WindowError::Memory { got: memory_bytes })?,
        bytes: CLASSIC_BYTES,
    };
    let eighth = 1_u64 << (width - 3);
    if !valid || classic.bytes >= eighth {
        return Ok(classic);
    }
    let mut base = (1_u64 << width) - eighth;
    for entry in reserved {
        let end = entry.start.saturating_add(entry.bytes);
        if entry.start < base.saturating_add(eighth) && base < end {
            base = entry.start.saturating_sub(eighth) & !(eighth - 1);
        }
    }
    if base < end_of_ram {
        return Err(WindowError::Memory { got: memory_bytes });
    }
    Ok(Placement { base, bytes: eighth })
}

/// The width that the firmware counts with, and whether it believes CPUID.
fn width(cpu: &Cpu) -> Result<(u8, bool), WindowError> {
    let mut width = cpu.physical_bits;
    if !(32..=52).contains(&width) {
        return Err(WindowError::Width { got: width });
    }
    let valid = cpu.guest_physical_bits > 0
        || width >= 41
        || match cpu.vendor {
            Vendor::Amd => width == 40,
            Vendor::Intel => matches!(width, 36 | 39),
            Vendor::Other => false,
        };
    if cpu.guest_physical_bits > 0 {
        width = width.min(cpu.guest_physical_bits.max(32));
    }
    // A host may give 52 bits that its page tables cannot map.
    let most = match (cpu.la57, cpu.guest_physical_bits) {
        (true, 0) => WIDTH_5_LEVEL,
        (true, _) => 52,
        (false, _) => WIDTH_4_LEVEL,
    };
    Ok((width.min(most), valid))
}

/// Addresses for `bars`, in the same order: the largest first, equals in the order given, each aligned to its size.
///
/// # Errors
/// [`WindowError`].
pub fn place(window: Placement, bars: &[Bar]) -> Result<Vec<u64>, WindowError> {
    if bars.len() > BARS_MAX {
        return Err(WindowError::Full { bytes: window.bytes });
    }
    let mut order: Vec<_> = bars.iter().enumerate().collect();
    order.sort_by_key(|(_, bar)| std::cmp::Reverse(bar.bytes));
    let end = window.base.saturating_add(window.bytes);
    let mut next = window.base;
    let mut placed = Vec::with_capacity(bars.len());
    for (index, bar) in order {
        if !bar.bytes.is_power_of_two() || bar.bytes < 16 {
            return Err(WindowError::Bar { got: bar.bytes });
        }
        let at = next.checked_next_multiple_of(bar.bytes);
        let full = WindowError::Full { bytes: window.bytes };
        let Some((at, after)) = at.and_then(|at| Some((at, at.checked_add(bar.bytes)?))) else {
            return Err(full);
        };
        if after > end {
            return Err(full);
        }
        placed.push((index, at));
        next = after;
    }
    placed.sort_unstable();
    Ok(placed.into_iter().map(|(_, at)| at).collect())
}

/// Why no place can be told.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WindowError {
    /// No x86-64 processor has such an address width.
    #[error("virtual machine: physical address bits: expected 32 to 52, got {got}")]
    Width {
        /// What came.
        got: u8,
    },
    /// RAM that reaches into the window, or to the end of the address space.
    #[error("virtual machine: RAM of {got} bytes leaves no room for the 64-bit window at this address width")]
    Memory {
        /// RAM in bytes.
        got: u64,
    },
    /// No BAR has such a size.
    #[error("PCI: size of a 64-bit BAR: expected a power of two of at least 16, got {got}")]
    Bar {
        /// What came.
        got: u64,
    },
    /// The BARs do not fit.
    #[error("PCI: the 64-bit BARs do not fit into the window of {bytes} bytes: give the machine more address bits")]
    Full {
        /// Length of the window.
        bytes: u64,
    },
}

impl WindowError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Width { .. } => "acpi.window.width",
            Self::Memory { .. } => "acpi.window.memory",
            Self::Bar { .. } => "acpi.window.bar",
            Self::Full { .. } => "acpi.window.full",
        }
    }
}

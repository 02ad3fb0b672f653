//! TDX's hand-off block: the memory map that the host writes for the firmware, and the firmware measures.

/// Most accepted ranges of one firmware.
const RANGES_MAX: usize = 64;
/// RAM from which QEMU's q35 splits it at 4 GiB, and what then stays below.
const SPLIT_FROM: u64 = 0xb000_0000;
const LOW: u64 = 0x8000_0000;
const FOUR_GIB: u64 = 1 << 32;
/// Largest machine, 2^52 bytes.
const MEMORY_MAX: u64 = 1 << 52;

/// Memory that is added and accepted before the firmware runs: sections of type TD_HOB and TEMP_MEM of its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AcceptedMemory {
    /// First byte.
    pub start: u64,
    /// Length in bytes; 0 is no memory.
    pub bytes: u64,
}

/// The bytes of the hand-off block that QEMU writes for a machine of `memory_bytes`.
///
/// # Layout
/// Little endian. PHIT, 56 bytes: type u16 1, length u16 56, reserved u32, version u32 9, boot mode u32, four addresses u64
/// (0), end of the list u64. Then for each range, in order: type u16 3, length u16 48, reserved u32, owner (16 zeros),
/// resource type u32 (0 accepted memory, 7 unaccepted), attributes u32 7, start u64, length u64. `hob_start` is the section
/// of type TD_HOB; the end of the list counts 8 bytes of the end marker, which is not measured.
///
/// # Errors
/// [`HobError`].
///
/// # Spec
/// UEFI PI 1.8 volume 3, HOB; QEMU hw/i386/tdvf-hob.c.
pub fn td_hob(hob_start: u64, accepted: &[AcceptedMemory], memory_bytes: u64) -> Result<Vec<u8>, HobError> {
    if accepted.len() > RANGES_MAX {
        return Err(HobError::Ranges { got: accepted.len() });
    }
    let low = if memory_bytes >= SPLIT_FROM { LOW } else { memory_bytes };
    if memory_bytes > MEMORY_MAX {
        return Err(HobError::Memory { got: memory_bytes });
    }
    let mut ranges: Vec<_> = accepted.iter().filter(|r| r.bytes != 0).collect();
    ranges.sort_unstable();
    let mut out = Vec::with_capacity(48 * (2 * ranges.len() + 2));
    let mut at = 0;
    for range in ranges {
        let end = range.start.checked_add(range.bytes).filter(|end| *end <= low);
        let (Some(end), true) = (end, range.start >= at) else {
            return Err(HobError::Range {
                start: range.start,
                bytes: range.bytes,
            });
        };
        resource(&mut out, Resource::Unaccepted, at, range.start);
        resource(&mut out, Resource::Accepted, range.start, end);
        at = end;
    }
    resource(&mut out, Resource::Unaccepted, at, low);
    resource(
        &mut out,
        Resource::Unaccepted,
        FOUR_GIB,
        FOUR_GIB + (memory_bytes - low),
    );
    let length = u64::try_from(out.len()).unwrap_or(u64::MAX).saturating_add(56);
    let end = hob_start.checked_add(length).and_then(|end| end.checked_add(8));
    let end = end.ok_or(HobError::Range {
        start: hob_start,
        bytes: length,
    })?;
    let phit = [1, 0, 56, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
    Ok([&phit[..], &[0; 32], &end.to_le_bytes(), &out].concat())
}

#[derive(Clone, Copy)]
enum Resource {
    Accepted = 0,
    Unaccepted = 7,
}

/// A descriptor of the bytes from `start` to `end`; none of no bytes.
fn resource(out: &mut Vec<u8>, kind: Resource, start: u64, end: u64) {
    if end <= start {
        return;
    }
    out.extend([3, 0, 48, 0, 0, 0, 0, 0]);
    out.extend([0; 16]);
    out.extend((kind as u32).to_le_bytes());
    out.extend(7_u32.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend((end - start).to_le_bytes());
}

/// Why there is no hand-off block.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HobError {
    /// More ranges than firmware has.
    #[error("TDX firmware metadata: expected at most {RANGES_MAX} sections of memory, got {got}")]
    Ranges {
        /// What came.
        got: usize,
    },
    /// A range over another, or outside of low memory.
    #[error(
        "TDX firmware metadata: memory of {bytes} bytes at {start:#x}: over another section, or not below the end of the \
         machine's low memory"
    )]
    Range {
        /// First byte.
        start: u64,
        /// Length in bytes.
        bytes: u64,
    },
    /// No machine has so much.
    #[error("virtual machine: RAM: expected at most 2^52 bytes, got {got}")]
    Memory {
        /// What came.
        got: u64,
    },
}

impl HobError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ranges { .. } => "rtmr.hob.ranges",
            Self::Range { .. } => "rtmr.hob.range",
            Self::Memory { .. } => "rtmr.hob.memory",
        }
    }
}

//! ACPI: the blobs that a dump gives, and where OVMF puts BARs (the recorded machines A to E).

use hanzo_measured_boot::Digests;
use hanzo_measured_boot::acpi::{AcpiBlobs, Bar, Cpu, Placement, Reserved, Vendor, place, window64};

const QEMU64: Cpu = Cpu {
    vendor: Vendor::Amd,
    physical_bits: 40,
    guest_physical_bits: 0,
    la57: false,
};
/// `-cpu Haswell` at QEMU's default width.
const HASWELL: Cpu = Cpu {
    vendor: Vendor::Intel,
    ..QEMU64
};
const MIB: u64 = 1 << 20;
const VIRTIO: Bar = Bar { bytes: 0x4000 };

#[test]
fn the_window_of_the_recorded_machines() {
    let amd = |memory| window64(&QEMU64, memory, &[Reserved::AMD_HYPERTRANSPORT]).unwrap();
    // A: 512 MiB and one virtio device. B switches the window off and C has no 64-bit BAR: nothing to place.
    assert_eq!(place(amd(512 * MIB), &[VIRTIO]).unwrap(), [0xc0_0000_0000]);
    assert!(place(amd(512 * MIB), &[]).unwrap().is_empty());
    // D: 2 GiB and two devices.
    assert_eq!(
        place(amd(2048 * MIB), &[VIRTIO, VIRTIO]).unwrap(),
        [0xc0_0000_0000, 0xc0_0000_4000]
    );
    // E: an Intel model whose width the firmware does not believe.
    let intel = window64(&HASWELL, 4096 * MIB, &[]).unwrap();
    assert_eq!(place(intel, &[VIRTIO]).unwrap(), [0x8_0000_0000]);
    assert_eq!(intel.bytes, 32 << 30);
}

#[test]
fn the_window_follows_width_and_reservations() {
    let base = |cpu: Cpu, reserved: &[Reserved]| window64(&cpu, 512 * MIB, reserved).unwrap().base;
    assert_eq!(base(QEMU64, &[]), 0xe0_0000_0000);
    let wide = |bits| Cpu {
        physical_bits: bits,
        ..HASWELL
    };
    // 36 bits are believed, but an eighth of that is less than the classic window.
    assert_eq!(base(wide(36), &[]), 0x8_0000_0000);
    assert_eq!(base(wide(39), &[]), 0x70_0000_0000);
    assert_eq!(base(wide(38), &[]), 0x8_0000_0000);
    // 46 bits are the most that 4-level paging maps.
    assert_eq!(base(wide(46), &[]), 0x3800_0000_0000);
    assert_eq!(base(wide(52), &[]), 0x3800_0000_0000);
    assert_eq!(base(Cpu { la57: true, ..wide(52) }, &[]), 0xe000_0000_0000);
    // A width for guests is believed.
    assert_eq!(
        base(
            Cpu {
                guest_physical_bits: 40,
                ..wide(52)
            },
            &[]
        ),
        0xe0_0000_0000
    );
    // RAM moves the classic window.
    assert_eq!(window64(&HASWELL, 64 << 30, &[]).unwrap().base, 0x18_0000_0000);
}

#[test]
fn bars_are_placed_by_size_and_do_not_overflow() {
    let window = Placement {
        base: 0x8_0000_0000,
        bytes: 1 << 20,
    };
    let bars = [0x4000, 0x8_0000, 0x4000, 0x1_0000].map(|bytes| Bar { bytes });
    assert_eq!(
        place(window, &bars).unwrap(),
        [0x8_0009_0000, 0x8_0000_0000, 0x8_0009_4000, 0x8_0008_0000]
    );
    let code = |bars: &[u64]| {
        let bars: Vec<_> = bars.iter().map(|bytes| Bar { bytes: *bytes }).collect();
        place(window, &bars).map_or_else(|e| e.code(), |_| "accepted")
    };
    assert_eq!(code(&[1 << 20]), "accepted");
    assert_eq!(code(&[1 << 20, 16]), "acpi.window.full");
    assert_eq!(code(&[u64::MAX / 2 + 1]), "acpi.window.full");
    assert_eq!(code(&[0]), "acpi.window.bar");
    assert_eq!(code(&[0x3000]), "acpi.window.bar");
    let code = |bits, memory| {
        let cpu = Cpu {
            physical_bits: bits,
            ..QEMU64
        };
        window64(&cpu, memory, &[]).map_or_else(|e| e.code(), |_| "accepted")
    };
    assert_eq!(code(31, MIB), "acpi.window.width");
    assert_eq!(code(53, MIB), "acpi.window.width");
    assert_eq!(code(40, 1 << 40), "acpi.window.memory");
    assert_eq!(code(40, u64::MAX), "acpi.window.memory");
}

#[test]
fn blobs_that_were_mixed_up_are_refused() {
    let tables = [b"FACS", &[0; 60][..]].concat();
    let rsdp = [b"RSD PTR ", &[0; 28][..]].concat();
    let good = AcpiBlobs {
        loader: &[1; 256],
        rsdp: &rsdp,
        tpm_log: Some(&[0; 65_536]),
        tables: &tables,
    };
    let digests = good.digests().unwrap();
    assert_eq!(digests.tables, Digests::of(&tables));
    // 64 KiB of zeros, as in the recorded boot.
    assert_eq!(
        digests.tpm_log.unwrap().sha256.to_string(),
        "de2f256064a0af797747c2b97505dc0b9f3df0de4f489eac731c23ae9ca9cc31"
    );
    let code = |blobs: AcpiBlobs<'_>| blobs.digests().map_or_else(|e| e.code(), |_| "accepted");
    assert_eq!(code(AcpiBlobs { tpm_log: None, ..good }), "accepted");
    assert_eq!(
        code(AcpiBlobs {
            loader: &tables[..60],
            ..good
        }),
        "acpi.shape"
    );
    assert_eq!(code(AcpiBlobs { rsdp: &tables, ..good }), "acpi.shape");
    assert_eq!(code(AcpiBlobs { tables: &rsdp, ..good }), "acpi.shape");
    assert_eq!(
        code(AcpiBlobs {
            tpm_log: Some(&[1; 16]),
            ..good
        }),
        "acpi.shape"
    );
    assert_eq!(code(AcpiBlobs { tables: &[], ..good }), "acpi.length");
    let long = vec![0; (4 << 20) + 1];
    assert_eq!(code(AcpiBlobs { loader: &long, ..good }), "acpi.length");
}

//! Kernels and initrds: another architecture's are named, and which bytes reach the firmware is a parameter.

use hanzo_measured_boot::kernel::{Handover, Initrd, Kernel, Patch, handed_over};

use crate::images::{cpio, elf, kernel, pe, put, section};

fn code_of(bytes: &[u8]) -> &'static str {
    Kernel::parse(bytes).map_or_else(|e| e.code(), |_| "accepted")
}

#[test]
fn a_kernel_for_this_machine_is_told_from_others() {
    let good = kernel(b"text");
    assert_eq!(Kernel::parse(&good).unwrap().protocol(), 0x20f);
    let changed = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        put(&mut bytes, at, value);
        code_of(&bytes)
    };
    assert_eq!(changed(0x1fe, &[0, 0]), "kernel.magic");
    assert_eq!(changed(0x202, b"HdrX"), "kernel.magic");
    assert_eq!(changed(0x206, &0x20b_u16.to_le_bytes()), "kernel.protocol");
    assert_eq!(changed(0x206, &0x20c_u16.to_le_bytes()), "accepted");
    assert_eq!(changed(0x236, &[0x3e]), "kernel.architecture");
    assert_eq!(changed(0x38, b"ARM\x64"), "kernel.architecture");
    assert_eq!(changed(0x38, b"RSC\x05"), "kernel.architecture");
    for machine in [0xaa64_u16, 0x5064, 0x6264, 0x014c] {
        assert_eq!(
            changed(0x304, &machine.to_le_bytes()),
            "kernel.architecture",
            "{machine:#x}"
        );
    }
    // More setup sectors than bytes; no EFI stub; cut.
    assert_eq!(changed(0x1f1, &[64]), "kernel.truncated");
    assert_eq!(changed(0, b"\xea\x05"), "pe.magic");
    assert_eq!(code_of(&good[..0x200]), "kernel.truncated");
    assert_eq!(code_of(&good[..good.len() - 1]), "pe.section");
    assert_eq!(code_of(&elf(62)), "kernel.architecture");
    assert_eq!(code_of(&elf(183)), "kernel.architecture");
    assert_eq!(code_of(b"\x1f\x8b\x08 a compressed Image"), "kernel.architecture");
    assert_eq!(code_of(&pe(&[section(".text", &[0; 0x400])], b"")), "kernel.magic");
}

#[test]
fn an_initrd_is_told_by_its_first_bytes_and_its_init_by_its_header() {
    let code = |bytes: &[u8]| Initrd::parse(bytes).map_or_else(|e| e.code(), |_| "accepted");
    for (first, kind) in [
        (&b"\x1f\x8b\x08"[..], Initrd::Gzip),
        (b"\xfd7zXZ\0", Initrd::Xz),
        (b"\x28\xb5\x2f\xfd", Initrd::Zstd),
        (b"BZh9", Initrd::Bzip2),
        (b"\x02\x21\x4c\x18", Initrd::Lz4),
    ] {
        assert_eq!(Initrd::parse(first).unwrap(), kind);
    }
    assert_eq!(Initrd::parse(&cpio("init", &elf(62))).unwrap(), Initrd::Cpio);
    assert_eq!(code(&cpio("init", &elf(183))), "initrd.architecture");
    assert_eq!(code(&cpio("./init", &elf(3))), "initrd.architecture");
    // A script, or a library of another machine, is no wrong program.
    assert_eq!(code(&cpio("init", b"#!/bin/sh\n")), "accepted");
    assert_eq!(code(&cpio("lib/firmware/x", &elf(183))), "accepted");
    assert_eq!(code(b""), "initrd.empty");
    assert_eq!(code(b"\x7fELF"), "initrd.magic");
    assert_eq!(code(b"070701"), "initrd.truncated");
    let archive = cpio("init", &elf(62));
    assert_eq!(code(&archive[..archive.len() - 200]), "initrd.truncated");
    let mut broken = cpio("a", b"data");
    put(&mut broken, 54, b"+0000004");
    assert_eq!(code(&broken), "initrd.entry");
    let mut endless = cpio("a", b"data");
    put(&mut endless, 54, b"ffffffff");
    assert_eq!(code(&endless), "initrd.truncated");
}

#[test]
fn old_qemu_patches_the_header_and_new_qemu_does_not() {
    let bytes = kernel(b"text");
    let kernel = Kernel::parse(&bytes).unwrap();
    let patch = Patch {
        memory_bytes: 512 << 20,
        initrd_bytes: Some(0x12_3456),
    };
    assert_eq!(Handover::of_qemu(10, 0, patch), Ok(Handover::Raw));
    assert_eq!(Handover::of_qemu(9, 2, patch), Ok(Handover::Patched(patch)));
    for minor in [1, 2] {
        let error = Handover::of_qemu(7, minor, patch).unwrap_err();
        assert_eq!(error.code(), "kernel.patch.qemu_version");
    }
    assert_eq!(handed_over(&kernel, "quiet", Handover::Raw).unwrap(), bytes);

    let patched = handed_over(&kernel, "quiet", Handover::Patched(patch)).unwrap();
    let mut expected = bytes.clone();
    expected[0x210] = 0xb0;
    expected[0x211] = 0x81;
    // 512 MiB - 160 KiB - 1, less the initrd, down to a page.
    let initrd_at = ((512_u32 << 20) - 0x2_8000 - 1 - 0x12_3456) & !4095;
    put(&mut expected, 0x218, &initrd_at.to_le_bytes());
    put(&mut expected, 0x21c, &0x12_3456_u32.to_le_bytes());
    put(&mut expected, 0x224, &0xfe00_u16.to_le_bytes());
    put(&mut expected, 0x228, &0x2_0000_u32.to_le_bytes());
    assert_eq!(patched, expected);

    // From 2.75 GiB on, RAM is split and 2 GiB are low; one byte less and all of it is.
    let initrd_at = |memory_bytes| {
        let patch = Patch { memory_bytes, ..patch };
        let out = handed_over(&kernel, "quiet", Handover::Patched(patch)).unwrap();
        u32::from_le_bytes(out[0x218..0x21c].try_into().unwrap())
    };
    assert_eq!(initrd_at(0xb000_0000), (0x8000_0000 - 0x2_8000 - 1 - 0x12_3456) & !4095);
    assert_eq!(initrd_at(0xafff_ffff), (0xafff_ffff - 0x2_8000 - 1 - 0x12_3456) & !4095);

    // A kernel that cannot take it above 4 GiB says how high.
    let mut low = bytes.clone();
    low[0x236] = 1;
    let low = Kernel::parse(&low).unwrap();
    let out = handed_over(
        &low,
        "quiet",
        Handover::Patched(Patch {
            memory_bytes: 0xa000_0000,
            ..patch
        }),
    )
    .unwrap();
    assert_eq!(out[0x218..0x21c], ((0x7fff_ffff_u32 - 0x12_3456) & !4095).to_le_bytes());

    let code = |command_line: &str, patch| {
        let out = handed_over(&kernel, command_line, Handover::Patched(patch));
        out.map_or_else(|e| e.code(), |_| "accepted")
    };
    assert_eq!(code("quiet vga=ask", patch), "kernel.patch.vga");
    assert_eq!(
        code(
            "quiet",
            Patch {
                memory_bytes: 1,
                ..patch
            }
        ),
        "kernel.patch.memory"
    );
    assert_eq!(
        code(
            "quiet",
            Patch {
                initrd_bytes: Some(1 << 32),
                ..patch
            }
        ),
        "kernel.patch.initrd"
    );
    assert_eq!(
        code(
            "quiet",
            Patch {
                initrd_bytes: None,
                ..patch
            }
        ),
        "accepted"
    );
    let mut ancient = bytes.clone();
    ancient[0x211] = 0;
    let ancient = Kernel::parse(&ancient).unwrap();
    let error = handed_over(&ancient, "quiet", Handover::Patched(patch)).unwrap_err();
    assert_eq!(error.code(), "kernel.patch.low_kernel");
}

/// Bytes 0x210 to 0x240 of the setup data (fw_cfg key 0x18) of QEMU 10.0.2, q35, `-S -qtest`, for the kernel made of these 64
/// bytes, an initrd of 0x123456 zeros and `-append quiet`: RAM in MiB, whether there is an initrd, what QEMU wrote.
const QEMU_WROTE: [(u64, bool, &str); 5] = [
    (
        512,
        true,
        "b0810000000000000040eb1f563412000000000000fe000000000200ffffff7f0000000000003f000000000000000000",
    ),
    (
        2815,
        true,
        "b0810000000000000040dbaf563412000000000000fe000000000200ffffff7f0000000000003f000000000000000000",
    ),
    (
        2816,
        true,
        "b0810000000000000040eb7f563412000000000000fe000000000200ffffff7f0000000000003f000000000000000000",
    ),
    (
        8192,
        true,
        "b0810000000000000040eb7f563412000000000000fe000000000200ffffff7f0000000000003f000000000000000000",
    ),
    (
        512,
        false,
        "b08100000000000000000000000000000000000000fe000000000200ffffff7f0000000000003f000000000000000000",
    ),
];

#[test]
fn the_patched_header_is_the_one_that_a_real_qemu_wrote() {
    let bytes = kernel(&[4; 64]);
    let kernel = Kernel::parse(&bytes).unwrap();
    for (memory_mib, with_initrd, wrote) in QEMU_WROTE {
        let patch = Patch {
            memory_bytes: memory_mib << 20,
            initrd_bytes: with_initrd.then_some(0x12_3456),
        };
        let patched = handed_over(&kernel, "quiet", Handover::Patched(patch)).unwrap();
        assert_eq!(hex::encode(&patched[0x210..0x240]), wrote, "{memory_mib} MiB");
        // And nothing else.
        assert_eq!(
            (&patched[..0x210], &patched[0x240..]),
            (&bytes[..0x210], &bytes[0x240..])
        );
    }
}

//! Firmware tables: what is read, and for each the smallest change that is refused.

#[path = "support/image.rs"]
mod image;

use hanzo_measured_boot::firmware::{
    Area, FIRMWARE_BYTES_MAX, Firmware, FirmwareError, SevSectionKind, TdvfSectionKind,
};
use image::{HASH_TABLE_GUID, Image, RESET_GUID, SEV_GUID};

const BYTES: usize = 65_536;

fn sev(image: &Image) -> Result<usize, &'static str> {
    let bytes = image.build();
    let firmware = Firmware::parse(&bytes).map_err(|e| e.code())?;
    firmware.sev_sections().map(|s| s.len()).map_err(|e| e.code())
}

fn tdvf(image: &Image) -> Result<usize, &'static str> {
    let bytes = image.build();
    let firmware = Firmware::parse(&bytes).map_err(|e| e.code())?;
    firmware.tdvf_sections().map(|s| s.len()).map_err(|e| e.code())
}

/// Where the footer table's own entry begins.
const FOOTER: usize = BYTES - 32 - 18;

fn parsed(bytes: &[u8]) -> Result<(), &'static str> {
    Firmware::parse(bytes).map(|_| ()).map_err(|e| e.code())
}

#[test]
fn tables_are_read() {
    let bytes = Image::new(BYTES).build();
    let firmware = Firmware::parse(&bytes).unwrap();
    assert_eq!(firmware.gpa(), 0xffff_0000);
    assert_eq!(firmware.reset_eip(), Ok(0x80_b004));
    let area = |gpa, bytes| Ok(Some(Area { gpa, bytes }));
    assert_eq!(firmware.hash_table(), area(0x81_0c00, 0x400));
    assert_eq!(firmware.launch_secret(), area(0x81_0000, 0xc00));
    assert_eq!(firmware.svsm_entry(), Ok(None));
    let sev = firmware.sev_sections().unwrap();
    assert_eq!((sev.len(), sev[5].kind), (7, SevSectionKind::KernelHashes));
    let tdvf = firmware.tdvf_sections().unwrap();
    assert_eq!((tdvf.len(), tdvf[0].kind), (6, TdvfSectionKind::Bfv));
    assert!(tdvf[0].attributes.extended && !tdvf[0].attributes.augmented);
    assert_eq!(firmware.guids().count(), 5);
}

#[test]
fn the_length_of_the_file() {
    assert_eq!(parsed(&[0; 4096]), Ok(()));
    for bytes in [0, 1, 4095, 4097, FIRMWARE_BYTES_MAX + 4096] {
        assert_eq!(parsed(&vec![0; bytes]), Err("firmware.size"), "{bytes}");
    }
    let bytes = Image::new(BYTES).build();
    assert_eq!(parsed(&bytes[..BYTES - 1]), Err("firmware.size"));
}

/// Without a footer there are no tables, and the error says which is missing and what to do.
#[test]
fn an_image_without_tables() {
    let mut bytes = Image::new(BYTES).build();
    bytes[FOOTER + 2] ^= 1;
    let firmware = Firmware::parse(&bytes).unwrap();
    assert_eq!(firmware.hash_table(), Ok(None));
    for refused in [
        firmware.reset_eip().unwrap_err(),
        firmware.sev_sections().unwrap_err(),
        firmware.tdvf_sections().unwrap_err(),
    ] {
        assert_eq!(refused.code(), "firmware.missing");
        assert!(
            refused.help().starts_with("use firmware built with"),
            "{}",
            refused.help()
        );
    }
}

#[test]
fn the_footer_table_is_exact() {
    let good = Image::new(BYTES).build();
    let with_length = |length: u16| {
        let mut bytes = good.clone();
        bytes[FOOTER..FOOTER + 2].copy_from_slice(&length.to_le_bytes());
        parsed(&bytes)
    };
    let length = u16::from_le_bytes([good[FOOTER], good[FOOTER + 1]]);
    assert_eq!(with_length(length), Ok(()));
    // One byte more or less cuts an entry; shorter than the footer itself; longer than the file.
    for wrong in [length - 1, length + 1, 17, 0, u16::MAX] {
        assert_eq!(with_length(wrong), Err("firmware.footer.entry"), "{wrong}");
    }
    // The first entry read is the reset block's: 22 bytes that end where the footer begins.
    let entry = FOOTER - 18;
    assert_eq!(u16::from_le_bytes([good[entry], good[entry + 1]]), 22);
    for wrong in [17_u16, 0, 400] {
        let mut bytes = good.clone();
        bytes[entry..entry + 2].copy_from_slice(&wrong.to_le_bytes());
        let refused = Firmware::parse(&bytes).unwrap_err();
        assert_eq!(refused.code(), "firmware.footer.entry");
        assert!(refused.to_string().contains(&format!("{entry:#x}")), "{refused}");
    }
}

#[test]
fn an_entry_comes_once_and_has_its_length() {
    let mut image = Image::new(BYTES);
    image.entries.push((RESET_GUID, vec![0; 4]));
    assert_eq!(sev(&image), Err("firmware.footer.duplicate"));
    let mut image = Image::new(BYTES);
    image.entries[0].1.push(0);
    let bytes = image.build();
    assert_eq!(
        Firmware::parse(&bytes).unwrap().reset_eip().unwrap_err().code(),
        "firmware.length"
    );
    let mut image = Image::new(BYTES);
    image.entries[2] = (HASH_TABLE_GUID, vec![0; 7]);
    let bytes = image.build();
    assert_eq!(
        Firmware::parse(&bytes).unwrap().hash_table().unwrap_err().code(),
        "firmware.length"
    );
    image.entries[2] = (HASH_TABLE_GUID, vec![0; 8]);
    let bytes = image.build();
    assert_eq!(Firmware::parse(&bytes).unwrap().hash_table(), Ok(None));
}

#[test]
fn lists_lie_within_the_file() {
    for (offset, code) in [
        (0_u32, "firmware.truncated"),
        (15, "firmware.truncated"),
        (BYTES as u32 + 1, "firmware.truncated"),
        (u32::MAX, "firmware.truncated"),
        (Image::SEV_FROM_END as u32 + 4, "firmware.signature"),
    ] {
        let mut image = Image::new(BYTES);
        image.with_sev = false;
        image.entries.push((SEV_GUID, offset.to_le_bytes().to_vec()));
        assert_eq!(sev(&image), Err(code), "{offset}");
    }
}

#[test]
fn a_lists_header_is_exact() {
    for (list, code_of) in [
        (BYTES - Image::SEV_FROM_END, sections_of as fn(&[u8]) -> _),
        (BYTES - Image::TDVF_FROM_END, tdx_sections_of),
    ] {
        for (field, value, code) in [
            (0, 0, "firmware.signature"),
            (4, 0, "firmware.length"),
            (8, 2, "firmware.version"),
            (8, 0, "firmware.version"),
            (12, 1, "firmware.length"),
            (12, 65, "firmware.section.count"),
            (12, u32::MAX, "firmware.section.count"),
        ] {
            let mut bytes = Image::new(BYTES).build();
            bytes[list + field..list + field + 4].copy_from_slice(&u32::to_le_bytes(value));
            assert_eq!(code_of(&bytes), Err(code), "{field} {value}");
        }
    }
}

fn sections_of(bytes: &[u8]) -> Result<usize, &'static str> {
    let firmware = Firmware::parse(bytes).map_err(|e| e.code())?;
    firmware.sev_sections().map(|s| s.len()).map_err(|e| e.code())
}

fn tdx_sections_of(bytes: &[u8]) -> Result<usize, &'static str> {
    let firmware = Firmware::parse(bytes).map_err(|e| e.code())?;
    firmware.tdvf_sections().map(|s| s.len()).map_err(|e| e.code())
}

#[test]
fn sev_sections_that_no_guest_can_have() {
    let with = |index: usize, section| {
        let mut image = Image::new(BYTES);
        image.sev[index] = section;
        sev(&image)
    };
    assert_eq!(with(1, (0x80_9000, 0x3000, 1)), Ok(7));
    assert_eq!(with(1, (0x80_8000, 0x3000, 1)), Err("firmware.section.overlap"));
    assert_eq!(with(1, (0x80_0000, 0x1000, 1)), Err("firmware.section.overlap"));
    assert_eq!(with(6, (0xffff_f000, 0x1000, 1)), Ok(7));
    assert_eq!(
        with(6, (0xffff_f000, 0x2000, 1)),
        Err("firmware.section.outside_memory")
    );
    assert_eq!(with(6, (0x81_1001, 0x1000, 1)), Err("firmware.section.alignment"));
    assert_eq!(with(6, (0x81_1000, 0x1001, 1)), Err("firmware.section.alignment"));
    assert_eq!(with(6, (0x81_1000, 0x1000, 5)), Err("firmware.section.kind"));
    assert_eq!(with(6, (0x4000_0000, 0x1000_0000, 1)), Err("firmware.section.memory"));
    // IntelTdxX64 carries empty entries; an empty section overlaps nothing.
    assert_eq!(with(4, (0, 0, 4)), Ok(7));
    assert_eq!(with(6, (0x80_0000, 0, 1)), Ok(7));
}

#[test]
fn tdx_sections_that_no_guest_can_have() {
    let with = |index: usize, section| {
        let mut image = Image::new(BYTES);
        image.tdvf[index] = section;
        tdvf(&image)
    };
    let gpa = 0xffff_0000_u64;
    let rest = BYTES as u32 - 4096;
    let bfv = (4096, rest, gpa + 4096, u64::from(rest), 0, 1);
    assert_eq!(with(0, bfv), Ok(6));
    assert_eq!(
        with(0, (4097, bfv.1, bfv.2, bfv.3, 0, 1)),
        Err("firmware.section.outside_file")
    );
    assert_eq!(
        with(0, (u32::MAX, u32::MAX, bfv.2, 1 << 40, 0, 1)),
        Err("firmware.section.outside_file")
    );
    assert_eq!(
        with(0, (4096, bfv.1, bfv.2, bfv.3 - 4096, 0, 1)),
        Err("firmware.length")
    );
    assert_eq!(
        with(0, (4096, bfv.1, gpa, bfv.3, 0, 1)),
        Err("firmware.section.overlap")
    );
    assert_eq!(with(0, (4096, bfv.1, bfv.2, bfv.3, 7, 1)), Err("firmware.section.kind"));
    assert_eq!(
        with(0, (4096, bfv.1, bfv.2, bfv.3, 0, 4)),
        Err("firmware.section.attributes")
    );
    assert_eq!(
        with(2, (0, 0, 0x81_0800, 0x1000, 3, 0)),
        Err("firmware.section.alignment")
    );
    assert_eq!(
        with(2, (0, 0, 0x81_0000, 0x1800, 3, 0)),
        Err("firmware.section.alignment")
    );
    assert_eq!(
        with(2, (0, 0, u64::MAX - 4095, 0x1000, 3, 0)),
        Err("firmware.section.outside_memory")
    );
    assert_eq!(
        with(2, (0, 0, 1 << 32, 512 << 20, 3, 0)),
        Err("firmware.section.memory")
    );
    // Pages that come after the launch cost nothing now.
    assert_eq!(with(2, (0, 0, 1 << 32, 512 << 20, 4, 2)), Ok(6));
}

/// Each byte of the tables flipped: an answer or an error, and never a panic.
#[test]
fn no_flipped_bit_panics() {
    let good = Image::new(8192).build();
    let mut refused = 0;
    for at in good.len() - 0x1000..good.len() {
        for bit in [0, 3, 7] {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            let read = |firmware: Firmware<'_>| -> Result<(), FirmwareError> {
                firmware.reset_eip()?;
                firmware.hash_table()?;
                firmware.launch_secret()?;
                firmware.sev_sections()?;
                firmware.tdvf_sections()?;
                Ok(())
            };
            refused += usize::from(Firmware::parse(&bytes).and_then(read).is_err());
        }
    }
    assert!(refused > 500, "{refused}");
}

//! IGVM files: read, measured, and what is refused.

#[path = "support/igvm.rs"]
mod file;

use file::{File, page, registers, sample, seal};
use hanzo_attestation::digest::Digest256;
use hanzo_measured_boot::firmware::PAGE_BYTES;
use hanzo_measured_boot::igvm::{IGVM_BYTES_MAX, Igvm, IgvmError, Loader, ZeroPages};
use hanzo_measured_boot::sha384;
use hanzo_measured_boot::snp::{LaunchContext, PageKind, VMSA_GPA};

const SNP: &str = "2f2c53afc8e8140ea081949353a3fa9c33f4a5b05530623de02cfb9495bfe49e6ac802ed71a28bd9f6d9e05e34f69bc4";
const MRTD: &str = "d7e9cdbb319789f44486e82573644992ac965699928b9ba7bec4eeec91e5b2b40a1ac8ffd0af6aa7d20d008ead0c86f8";

fn digests(bytes: &[u8]) -> Result<(String, String), IgvmError> {
    let igvm = Igvm::parse(bytes)?;
    let snp = igvm.snp_digest(Loader::Kvm, ZeroPages::Normal)?;
    Ok((snp.to_string(), igvm.mrtd()?.to_string()))
}

fn kvm(file: &File) -> Result<(), &'static str> {
    let bytes = file.build();
    let igvm = Igvm::parse(&bytes).map_err(|e| e.code())?;
    igvm.snp_digest(Loader::Kvm, ZeroPages::Normal)
        .map(|_| ())
        .map_err(|e| e.code())
}

fn read(file: &File) -> Result<(), &'static str> {
    Igvm::parse(&file.build()).map(|_| ()).map_err(|e| e.code())
}

/// Crate `igvm` 0.5.0 wrote the same bytes in both formats, and its `measurement` module computed the same two digests.
#[test]
fn the_maintained_crate_agrees() {
    for (format, sha256) in [
        (1, "2ae083ca17c0c837efd3929d8a42242235870e20ec9339b6d9a2134482ebe681"),
        (2, "d1e12df8d163f2e6c89a8db86ab4c5c6227c72ffb0aa6e1f1ba07e8d20c1b350"),
    ] {
        let bytes = sample(format).build();
        assert_eq!(Digest256::of(&bytes).to_string(), sha256);
        assert_eq!(digests(&bytes).unwrap(), (SNP.to_owned(), MRTD.to_owned()));
    }
}

/// The same by the rules of SPEC.md, page after page, for normal and for native zero pages.
#[test]
fn the_order_of_pages() {
    let bytes = sample(1).build();
    let igvm = Igvm::parse(&bytes).unwrap();
    for (zeros, kind) in [
        (ZeroPages::Normal, PageKind::Normal),
        (ZeroPages::Native, PageKind::Zero),
    ] {
        let mut context = LaunchContext::default();
        context.image(0x10_0000, &page(3));
        match kind {
            PageKind::Normal => context.image(0x10_1000, &[0; PAGE_BYTES]),
            _ => context.pages(kind, 0x10_1000, 4096),
        }
        context.pages(PageKind::Unmeasured, 0x10_2000, 4096);
        context.pages(PageKind::Secrets, 0x10_3000, 4096);
        context.pages(PageKind::Cpuid, 0x10_4000, 4096);
        context.pages(PageKind::Unmeasured, 0x20_0000, 0x2000);
        context.page(PageKind::Vmsa, VMSA_GPA, &sha384(&[&registers()]));
        assert_eq!(igvm.snp_digest(Loader::Kvm, zeros), Ok(context.digest()));
        assert_eq!(igvm.snp_digest(Loader::AsWritten, zeros), Ok(context.digest()));
    }
}

/// A 2 MiB page is measured as 512 pages; shared ones are not measured.
#[test]
fn large_and_shared_pages() {
    let large: Vec<u8> = (0..512).flat_map(|i| page(i as u8)).collect();
    let mut one = File::new(1);
    one.pages(0x20_0000, 3, 1, 0, large.clone());
    one.pages(0x40_0000, 3, 1, 0, Vec::new());
    let mut many = File::new(1);
    for (index, page) in large.chunks(4096).enumerate() {
        many.pages(0x20_0000 + index as u64 * 4096, 3, 0, 0, page.to_vec());
    }
    for index in 0..512 {
        many.pages(0x40_0000 + index * 4096, 3, 0, 0, Vec::new());
    }
    assert_eq!(digests(&one.build()), digests(&many.build()));
    let mut shared = one.clone();
    shared.pages(0x60_0000, 3, 4, 0, page(1));
    assert_eq!(digests(&shared.build()), digests(&one.build()));
}

#[test]
fn contents_addresses_and_platforms_count() {
    let good = digests(&sample(1).build()).unwrap();
    let bytes = sample(1).build();
    let data = bytes.len() - 5 * 4096;
    // The measured page, the unmeasured one, CPUID, TDX's own page, the registers.
    for (page, changes) in [
        (0, (true, true)),
        (1, (false, false)),
        (2, (false, false)),
        (3, (false, true)),
        (4, (true, false)),
    ] {
        let mut flipped = bytes.clone();
        flipped[data + page * 4096 + 7] ^= 1;
        let got = digests(&flipped).unwrap();
        assert_eq!((got.0 != good.0, got.1 != good.1), changes, "page {page}");
    }
    let mut moved = File::new(1);
    moved.pages(0x10_1000, 3, 0, 0, page(3));
    let mut there = File::new(1);
    there.pages(0x10_0000, 3, 0, 0, page(3));
    assert_ne!(digests(&moved.build()), digests(&there.build()));
    let mut bare = sample(1).build();
    // A file whose SNP platform is one of another type.
    bare[24 + 8 + 5] = 1;
    seal(&mut bare);
    assert_eq!(digests(&bare).unwrap_err().code(), "igvm.platform");
}

#[test]
fn what_kvm_would_measure_otherwise() {
    let with = |change: fn(&mut File)| {
        let mut file = File::new(1);
        file.pages(0x10_0000, 3, 0, 0, page(3));
        change(&mut file);
        let bytes = file.build();
        let as_written = Igvm::parse(&bytes)
            .unwrap()
            .snp_digest(Loader::AsWritten, ZeroPages::Normal);
        assert!(as_written.is_ok());
        kvm(&file)
    };
    assert_eq!(with(|f| f.registers(VMSA_GPA, 0, registers())), Ok(()));
    assert_eq!(with(|_| {}), Ok(()));
    assert_eq!(with(|f| f.registers(0x10_1000, 0, registers())), Err("igvm.kvm"));
    assert_eq!(with(|f| f.registers(VMSA_GPA, 1, registers())), Err("igvm.kvm"));
    let twice = |f: &mut File| {
        f.registers(VMSA_GPA, 0, registers());
        f.registers(VMSA_GPA, 0, registers());
    };
    assert_eq!(with(twice), Err("igvm.kvm"));
    let not_last = |f: &mut File| {
        f.registers(VMSA_GPA, 0, registers());
        f.pages(0x10_1000, 1, 0, 0, page(1));
    };
    assert_eq!(with(not_last), Err("igvm.kvm"));
    let parameters_last = |f: &mut File| {
        f.registers(VMSA_GPA, 0, registers());
        f.parameters(0, 0x1000, 0x10_1000, 1);
    };
    assert_eq!(with(parameters_last), Err("igvm.kvm"));
    // Pages of another platform, and shared ones, may follow.
    let others_last = |f: &mut File| {
        f.registers(VMSA_GPA, 0, registers());
        f.pages(0x10_1000, 2, 0, 0, page(1));
        f.pages(0x10_2000, 1, 4, 0, page(1));
    };
    assert_eq!(with(others_last), Ok(()));
    let other_cr0 = |f: &mut File| {
        let mut page = registers();
        page[0x158] = 0x11;
        f.registers(VMSA_GPA, 0, page);
    };
    assert_eq!(with(other_cr0), Err("igvm.kvm"));
}

#[test]
fn the_fixed_header_is_exact() {
    let good = sample(2).build();
    assert!(Igvm::parse(&good).is_ok());
    for (at, value) in [
        (0, 0x1234_u32),
        (4, 0),
        (4, 3),
        (8, 24),
        (8, u32::MAX),
        (12, 0xffff_fff0), // Crate igvm 0.5.0 panics on this one.
        (12, 1),
        (16, 0),
        (16, good.len() as u32 + 1),
        (24, 1),
        (28, 65_536),
    ] {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        seal(&mut bytes);
        assert_eq!(
            Igvm::parse(&bytes).unwrap_err().code(),
            "igvm.header",
            "{at} {value:#x}"
        );
    }
    let mut bytes = good.clone();
    bytes[20] ^= 1;
    assert_eq!(Igvm::parse(&bytes).unwrap_err().code(), "igvm.header");
    assert_eq!(Igvm::parse(&good[..23]).unwrap_err().code(), "igvm.size");
    assert_eq!(
        Igvm::parse(&vec![0; IGVM_BYTES_MAX + 1]).unwrap_err().code(),
        "igvm.size"
    );
    assert_eq!(Igvm::parse(&good[..good.len() - 1]).unwrap_err().code(), "igvm.header");
    assert_eq!(
        Igvm::parse(&[&good[..], &[0]].concat()).unwrap_err().code(),
        "igvm.header"
    );
}

#[test]
fn headers_that_no_file_has() {
    let with = |change: fn(&mut File)| {
        let mut file = File::new(1);
        change(&mut file);
        read(&file)
    };
    assert_eq!(with(|_| {}), Ok(()));
    assert_eq!(with(|f| f.pages(0x10_0000, 3, 3, 0, Vec::new())), Err("igvm.value")); // 2 MiB page on a 1 MiB boundary.
    assert_eq!(with(|f| f.pages(0x10_0001, 3, 0, 0, Vec::new())), Err("igvm.value"));
    assert_eq!(
        with(|f| f.pages(u64::MAX - 4095, 3, 0, 0, Vec::new())),
        Err("igvm.value")
    );
    assert_eq!(with(|f| f.pages(0, 3, 8, 0, Vec::new())), Err("igvm.value"));
    assert_eq!(with(|f| f.pages(0, 3, 6, 0, Vec::new())), Err("igvm.value"));
    assert_eq!(with(|f| f.pages(0, 3, 0, 4, Vec::new())), Err("igvm.value"));
    assert_eq!(with(|f| f.pages(0, 3, 1, 1, Vec::new())), Err("igvm.value"));
    assert_eq!(with(|f| f.pages(0, 3, 0, 0, vec![1; 4095])), Err("igvm.outside_file"));
    assert_eq!(with(|f| f.registers(VMSA_GPA, 0, Vec::new())), Err("igvm.outside_file"));
    assert_eq!(with(|f| f.header(0x302, &[&[0; 16]])), Err("igvm.length"));
    assert_eq!(with(|f| f.header(0x306, &[&[0; 8]])), Err("igvm.kind"));
    assert_eq!(with(|f| f.header(0x102, &[&[0; 8]])), Err("igvm.kind"));
    assert_eq!(with(|f| f.header(0x8000_0340, &[&[0; 8]])), Ok(()));
    assert_eq!(with(|f| f.header(0x340, &[&[0; 8]])), Err("igvm.kind"));
    assert_eq!(with(|f| f.header(0x201, &[&[0; 8]])), Err("igvm.kind"));
    let late_platform = |f: &mut File| {
        f.pages(0, 3, 0, 0, Vec::new());
        f.header(0x1, &[&4_u32.to_le_bytes(), &[0, 0, 1, 0], &[0; 8]]);
    };
    assert_eq!(with(late_platform), Err("igvm.order"));
    let insert_twice = |f: &mut File| {
        f.parameters(0, 0x1000, 0x1000, 3);
        f.header(0x303, &[&[0; 16]]);
    };
    assert_eq!(with(insert_twice), Err("igvm.value"));
    let area_twice = |f: &mut File| {
        f.parameters(0, 0x1000, 0x1000, 3);
        f.parameters(0, 0x1000, 0x2000, 3);
    };
    assert_eq!(with(area_twice), Err("igvm.value"));
    assert_eq!(with(|f| f.parameters(0, 0x1001, 0x1000, 3)), Err("igvm.value"));
    assert_eq!(with(|f| f.parameters(0, 1 << 40, 0x1000, 3)), Err("igvm.memory"));
    let too_much = |f: &mut File| (0..41).for_each(|i| f.pages(i << 21, 3, 1, 0, Vec::new()));
    assert_eq!(with(too_much), Err("igvm.memory"));
    // A header that says more than there is.
    let mut bytes = sample(1).build();
    bytes[28..32].copy_from_slice(&u32::MAX.to_le_bytes());
    seal(&mut bytes);
    assert_eq!(Igvm::parse(&bytes).unwrap_err().code(), "igvm.truncated");
    // Platforms come once, each with one bit of its own.
    for (field, value) in [(8, 3_u8), (8, 0), (8, 2), (13, 3)] {
        let mut bytes = sample(1).build();
        bytes[24 + field] = value;
        seal(&mut bytes);
        assert_eq!(Igvm::parse(&bytes).unwrap_err().code(), "igvm.value", "{field}");
    }
}

/// Each bit of the headers flipped, with a checksum that is right again: an answer or an error, and never a panic.
#[test]
fn no_flipped_bit_panics() {
    let good = sample(1).build();
    let headers = good.len() - 5 * 4096;
    for bit in 0..8 * headers {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if bytes[4] == 1 && bytes[12..16] == good[12..16] {
            seal(&mut bytes);
        }
        let _ = digests(&bytes);
    }
}

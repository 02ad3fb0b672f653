//! PE images: what the Authenticode hash covers, and what is refused.

use hanzo_measured_boot::pe::{Padding, Pe};
use hanzo_measured_boot::{Digests, sha256};

use crate::images::{HEADERS, OPTIONAL_AT, PE_AT, pe, put, section, signed};

fn image() -> Vec<u8> {
    pe(&[section(".text", &[1; 64]), section(".data", &[2; 32])], b"")
}

fn measured(bytes: &[u8]) -> Digests {
    Pe::parse(bytes).unwrap().authenticode(Padding::AsMeasured)
}

#[test]
fn the_hash_covers_everything_but_checksum_and_certificates() {
    let plain = image();
    let by_hand = [
        &plain[..OPTIONAL_AT + 64],
        &plain[OPTIONAL_AT + 68..OPTIONAL_AT + 144],
        &plain[OPTIONAL_AT + 152..],
    ];
    assert_eq!(measured(&plain).sha256, sha256(&by_hand));
    // Checksum, certificate entry and certificates may change.
    let mut other = plain.clone();
    put(&mut other, OPTIONAL_AT + 64, &[9; 4]);
    assert_eq!(measured(&other), measured(&plain));
    let signed_image = signed(plain.clone(), &[7; 24]);
    assert!(Pe::parse(&signed_image).unwrap().is_signed());
    assert_eq!(measured(&signed_image), measured(&plain));
    // Any other byte may not: of the DOS stub, the headers, a section.
    for at in [
        0x3b,
        PE_AT + 8,
        OPTIONAL_AT + 60 + 12,
        HEADERS - 1,
        HEADERS,
        plain.len() - 1,
    ] {
        let mut other = plain.clone();
        other[at] ^= 1;
        assert_ne!(measured(&other), measured(&plain), "{at:#x}");
    }
}

#[test]
fn a_file_that_is_no_multiple_of_8_is_measured_as_it_is_and_signed_padded() {
    let mut odd = pe(&[section(".text", &[1; 64])], b"tail!");
    let image = Pe::parse(&odd).unwrap();
    let padded = image.authenticode(Padding::AsSigned);
    assert_ne!(image.authenticode(Padding::AsMeasured), padded);
    // Once it is signed the zeros are in the file, and what is measured is what the signature covers.
    assert_eq!(measured(&signed(odd.clone(), &[7; 16])), padded);
    odd.extend([0; 3]);
    let even = Pe::parse(&odd).unwrap();
    assert_eq!(even.authenticode(Padding::AsMeasured), padded);
    assert_eq!(even.authenticode(Padding::AsSigned), padded);
}

#[test]
fn sections_are_hashed_by_their_place_in_the_file() {
    let plain = image();
    let mut swapped = plain.clone();
    let (a, b) = (OPTIONAL_AT + 160, OPTIONAL_AT + 200);
    swapped[a..b].copy_from_slice(&plain[b..b + 40]);
    swapped[b..b + 40].copy_from_slice(&plain[a..b]);
    let by_hand = [
        &swapped[..OPTIONAL_AT + 64],
        &swapped[OPTIONAL_AT + 68..OPTIONAL_AT + 144],
        &swapped[OPTIONAL_AT + 152..],
    ];
    assert_eq!(measured(&swapped).sha256, sha256(&by_hand));
}

#[test]
fn damaged_images_are_refused_by_name() {
    let plain = image();
    let header = OPTIONAL_AT + 160;
    let big = u32::MAX.to_le_bytes();
    let cases: [(&str, usize, &[u8], &str); 12] = [
        ("no MZ", 0, b"ZM", "pe.magic"),
        ("PE header elsewhere", 0x3c, &0x80_u32.to_le_bytes(), "pe.magic"),
        ("PE header outside", 0x3c, &big, "pe.magic"),
        (
            "optional header of a ROM image",
            OPTIONAL_AT,
            &0x107_u16.to_le_bytes(),
            "pe.optional_magic",
        ),
        (
            "17 directories",
            OPTIONAL_AT + 108,
            &17_u32.to_le_bytes(),
            "pe.directories",
        ),
        (
            "more directories than bytes",
            OPTIONAL_AT + 108,
            &7_u32.to_le_bytes(),
            "pe.directories",
        ),
        ("97 sections", PE_AT + 6, &97_u16.to_le_bytes(), "pe.sections"),
        ("headers longer than the file", OPTIONAL_AT + 60, &big, "pe.headers"),
        (
            "headers without the section table",
            OPTIONAL_AT + 60,
            &0x100_u32.to_le_bytes(),
            "pe.headers",
        ),
        ("a section outside", header + 20, &big, "pe.section"),
        (
            "a section over the headers",
            header + 20,
            &0x3f8_u32.to_le_bytes(),
            "pe.overlap",
        ),
        (
            "a section over another",
            header + 20,
            &(HEADERS as u32 + 48).to_le_bytes(),
            "pe.section",
        ),
    ];
    assert!(Pe::parse(&plain).is_ok());
    for (what, at, value, code) in cases {
        let mut broken = plain.clone();
        put(&mut broken, at, value);
        assert_eq!(Pe::parse(&broken).unwrap_err().code(), code, "{what}");
    }
    let mut overlapping = plain.clone();
    put(&mut overlapping, header + 40 + 20, &(HEADERS as u32 + 32).to_le_bytes());
    assert_eq!(Pe::parse(&overlapping).unwrap_err().code(), "pe.overlap");
    // A certificate table that is not the end: bytes behind it would be neither hashed nor signed.
    let mut appended = signed(plain.clone(), &[7; 24]);
    appended.push(0);
    assert_eq!(Pe::parse(&appended).unwrap_err().code(), "pe.certificate");
    for (length, code) in [
        (0x20, "pe.truncated"),
        (PE_AT + 10, "pe.truncated"),
        (HEADERS - 1, "pe.headers"),
        (plain.len() - 1, "pe.section"),
    ] {
        assert_eq!(Pe::parse(&plain[..length]).unwrap_err().code(), code, "{length}");
    }
}

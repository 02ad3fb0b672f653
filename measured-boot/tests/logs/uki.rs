//! Unified kernel images: order, names, fill; and what has no single measurement.

use hanzo_measured_boot::Digests;
use hanzo_measured_boot::uki::Uki;

use crate::images::{Made, pe, section};

fn sections() -> Vec<Made> {
    // In another order than they are measured in.
    vec![
        section(".text", b"the stub"),
        section(".cmdline", b"console=ttyS0"),
        section(".pcrsig", b"{}"),
        section(".osrel", b"ID=hanzo\n"),
        section(".linux", b"kernel"),
        section(".initrd", b"initrd"),
    ]
}

#[test]
fn sections_are_measured_in_the_stubs_order_name_and_bytes() {
    let bytes = pe(&sections(), b"");
    let uki = Uki::parse(&bytes).unwrap();
    let measured = uki.measured();
    let names: Vec<_> = measured.iter().map(|s| s.name).collect();
    // Neither the stub's own code nor the signature over these very measurements.
    assert_eq!(names, [".linux", ".osrel", ".cmdline", ".initrd"]);
    assert_eq!(measured[0].name_digests, Digests::of(b".linux\0"));
    assert_eq!(measured[0].data_digests, Digests::of(b"kernel"));
    assert_eq!(uki.section(".cmdline"), Some(&b"console=ttyS0"[..]));
}

#[test]
fn bytes_are_measured_as_they_lie_in_memory() {
    let with = |memory| {
        let mut sections = sections();
        sections[4].memory = Some(memory);
        let bytes = pe(&sections, b"");
        Uki::parse(&bytes).map(|u| u.measured().first().map(|s| (s.name, s.data_digests)))
    };
    assert_eq!(with(4), Ok(Some((".linux", Digests::of(b"kern")))));
    assert_eq!(with(8), Ok(Some((".linux", Digests::of(b"kernel\0\0")))));
    assert_eq!(with(6 + 65_536).map(|_| ()), Ok(()));
    assert_eq!(with(7 + 65_536).unwrap_err().code(), "uki.section.fill");
    // No bytes in memory: not there.
    assert_eq!(with(0).unwrap_err().code(), "uki.no_kernel");
}

#[test]
fn images_without_one_measurement_are_refused() {
    for (name, code) in [
        (".initrd", "uki.section.twice"),
        (".profile", "uki.section.dependent"),
        (".dtbauto", "uki.section.dependent"),
        (".efifw", "uki.section.dependent"),
    ] {
        let mut sections = sections();
        sections.push(section(name, b"more"));
        assert_eq!(Uki::parse(&pe(&sections, b"")).unwrap_err().code(), code, "{name}");
    }
    let mut sections = sections();
    sections.remove(4);
    assert_eq!(Uki::parse(&pe(&sections, b"")).unwrap_err().code(), "uki.no_kernel");
    assert_eq!(Uki::parse(b"MZ").unwrap_err().code(), "pe.truncated");
}

#[test]
fn sections_go_to_pcr_11_and_to_rtmr2() {
    use hanzo_measured_boot::event::{Platform, registers_of};
    use hanzo_measured_boot::pcr::{BootImage, TpmBoot, predicted};
    use hanzo_measured_boot::pe::Padding;
    use hanzo_measured_boot::rtmr::{PREDICTED, TdBoot, TdImage};
    use hanzo_measured_boot::{sha256, sha384};

    let bytes = pe(&sections(), b"");
    let uki = Uki::parse(&bytes).unwrap();
    let image = uki.pe().authenticode(Padding::AsMeasured);
    let inner = Digests::of(b"inner kernel");
    let boot = TpmBoot {
        image: BootImage::Unified {
            image,
            inner_kernel: Some(inner),
            sections: uki.measured(),
            handover: None,
        },
        ..crate::local::boot()
    };
    let values = registers_of(Platform::Tpm, predicted(&boot.image), &boot.events());
    let parts: [&[u8]; 8] = [
        b".linux\0",
        b"kernel",
        b".osrel\0",
        b"ID=hanzo\n",
        b".cmdline\0",
        b"console=ttyS0",
        b".initrd\0",
        b"initrd",
    ];
    let by_hand = parts
        .iter()
        .fold([0; 32], |value, part| sha256(&[&value, &sha256(&[part]).0]).0);
    let of = |register| values.iter().find(|v| v.register == register);
    assert_eq!(of(11).unwrap().sha256.unwrap().0, by_hand);
    // What its stub hands on is not predicted, and not said to be zero either.
    assert!(of(9).is_none());
    // The kernel inside is measured after the separator.
    let separator = sha256(&[&[0; 4]]);
    let calling = sha256(&[b"Calling EFI Application from Boot Option"]);
    let by_hand = [image.sha256, calling, separator, inner.sha256]
        .iter()
        .fold([0; 32], |value, digest| sha256(&[&value, &digest.0]).0);
    assert_eq!(of(4).unwrap().sha256.unwrap().0, by_hand);

    let boot = TdBoot {
        image: TdImage::Unified {
            image: image.sha384,
            inner_kernel: None,
            sections: uki.measured(),
            load_options: sha384(&[b"options"]),
            initrd: Some(sha384(&[b"assembled"])),
        },
        ..crate::td::boot()
    };
    let values = registers_of(Platform::Tdx, &PREDICTED, &boot.events());
    let by_hand = parts
        .iter()
        .chain(&[&b"options"[..], b"assembled"])
        .fold([0; 48], |value, part| sha384(&[&value, &sha384(&[part]).0]).0);
    assert_eq!(values[2].sha384.0, by_hand);
}

#[test]
fn what_the_stub_hands_on_is_told_only_where_it_is_known() {
    let of = |more: Option<Made>| {
        let mut sections = sections();
        sections.retain(|made| made.name != ".pcrsig");
        sections.extend(more);
        let file = pe(&sections, b"");
        Uki::parse(&file).unwrap().handover()
    };
    let handover = of(None).unwrap();
    let options: Vec<u8> = b"console=ttyS0\0".iter().flat_map(|b| [*b, 0]).collect();
    assert_eq!(handover.load_options, Digests::of(&options));
    for name in [".ucode", ".pcrsig", ".pcrpkey", ".dtb"] {
        assert_eq!(
            of(Some(section(name, b"x"))).unwrap_err().code(),
            "uki.handover",
            "{name}"
        );
    }
    let with_line = |line: &[u8]| {
        let file = pe(
            &[
                section(".linux", b"k"),
                section(".cmdline", line),
                section(".initrd", b"abc"),
            ],
            b"",
        );
        Uki::parse(&file).unwrap().handover()
    };
    // Without .osrel the stub adds nothing.
    assert_eq!(with_line(b"quiet").unwrap().initrd, Some(Digests::of(b"abc")));
    for line in [&b"quiet "[..], b" quiet", b"quiet\n", b"qui\xc3\xa4t", &[b'a'; 2048]] {
        assert_eq!(with_line(line).unwrap_err().code(), "uki.command_line");
    }
}

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

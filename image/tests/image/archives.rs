//! The formats that are read and written: newc, Debian packages, ELF, modules.

use std::collections::BTreeMap;

use hanzo_image::ImageError;
use hanzo_image::cpio::{Archive, NUMBERS, read};
use hanzo_image::deb;
use hanzo_image::elf::Elf;
use hanzo_image::module::Modules;

use crate::support::{dynamic_program, kernel_files, member, module, program, xz};

fn refused<T: std::fmt::Debug>(outcome: Result<T, ImageError>) -> (&'static str, u64) {
    match outcome.unwrap_err() {
        ImageError::Malformed { offset, .. } => ("image.malformed", offset),
        other => (other.code(), 0),
    }
}

#[test]
fn an_archive_is_sorted_and_says_nothing_of_this_machine() {
    let mut archive = Archive::default();
    archive.file("usr/bin/b", b"bb".to_vec(), true);
    archive.file("a", b"a".to_vec(), false);
    archive.directory("proc");
    let bytes = archive.to_bytes();
    let entries = read("archive", &bytes).unwrap();
    let paths: Vec<_> = entries.iter().map(|entry| entry.path).collect();
    assert_eq!(paths, ["a", "proc", "usr", "usr/bin", "usr/bin/b"]);
    for (position, entry) in entries.iter().enumerate() {
        let [inode, mode, uid, gid, _, time, ..] = entry.numbers;
        assert_eq!((inode, uid, gid, time), (position as u32 + 1, 0, 0, 0));
        let expected = match entry.path {
            "a" => 0o100_644,
            "usr/bin/b" => 0o100_755,
            _ => 0o040_755,
        };
        assert_eq!(mode, expected, "{}", entry.path);
    }
    // Put in the other way round, the same bytes.
    let mut other = Archive::default();
    other.directory("proc");
    other.file("a", b"a".to_vec(), false);
    other.file("usr/bin/b", b"bb".to_vec(), true);
    assert_eq!(other.to_bytes(), bytes);
    assert_eq!(NUMBERS.len(), entries[0].numbers.len());
}

#[test]
fn an_archive_that_is_cut_or_longer_is_refused() {
    let mut archive = Archive::default();
    archive.file("a", b"abc".to_vec(), false);
    let bytes = archive.to_bytes();
    for end in 0..bytes.len() {
        assert_eq!(refused(read("archive", &bytes[..end])).0, "image.malformed", "{end}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(
        refused(read("archive", &longer)),
        ("image.malformed", bytes.len() as u64)
    );
    for (at, byte) in [(5, b'2'), (6, b'x'), (61, b'a'), (54, b'F'), (94, b'F')] {
        let mut changed = bytes.clone();
        changed[at] = byte;
        assert_eq!(refused(read("archive", &changed)).0, "image.malformed", "{at}");
    }
}

fn package(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        member(&mut out, name, bytes);
    }
    out
}

#[test]
fn files_come_out_of_a_package_and_its_neighbours_are_refused() {
    let whole = crate::support::deb(&[("usr/a", b"A"), ("usr/b", b"B")]);
    let files = |bytes: &[u8]| deb::files("p.deb", bytes, |path| path == "usr/a");
    let found = files(&whole).unwrap();
    assert_eq!(found, BTreeMap::from([("usr/a".to_owned(), b"A".to_vec())]));

    assert_eq!(refused(files(b"MZ")), ("image.malformed", 0));
    assert_eq!(refused(files(&whole[..40])), ("image.malformed", 8));
    assert_eq!(refused(files(&whole[..whole.len() - 9])).0, "image.malformed");
    let (binary, control) = (("debian-binary", &b"2.0\n"[..]), ("control.tar.xz", &b""[..]));
    for wrong in [
        package(&[("debian-binary", b"3.0\n"), control, ("data.tar", b"")]),
        package(&[control, binary, ("data.tar", b"")]),
        package(&[binary, ("data.tar", b""), control]),
        package(&[binary, control]),
        package(&[binary, control, ("data.tar.bz2", b"BZ")]),
        package(&[binary, control, ("data.tar.xz", b"no xz")]),
        package(&[binary, control, ("data.tar.zst", b"no zstd")]),
    ] {
        assert_eq!(refused(files(&wrong)).0, "image.malformed");
    }
    let mut endless = whole.clone();
    endless[8 + 48..8 + 58].copy_from_slice(b"9999999999");
    assert_eq!(refused(files(&endless)), ("image.malformed", 56));
}

#[test]
fn static_and_dynamic_programs_are_told_apart() {
    let is_static = |bytes: &[u8]| Elf::new("program", bytes).and_then(|elf| elf.is_static());
    assert!(is_static(&program()).unwrap());
    assert!(!is_static(&dynamic_program()).unwrap());
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(!is_static(&own).unwrap(), "this test is linked to libc");
    let mut other = program();
    other[18] = 183;
    assert_eq!(refused(is_static(&other)), ("image.malformed", 18));
    assert_eq!(refused(is_static(b"#!/bin/sh")), ("image.malformed", 0));
    let mut beyond = dynamic_program();
    beyond[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(refused(is_static(&beyond)).0, "image.malformed");
    for end in 0..dynamic_program().len().min(120) {
        // Whatever is cut off, an answer or an error, never a panic.
        let _ = is_static(&dynamic_program()[..end]);
    }
}

fn modules(files: Vec<(String, Vec<u8>)>) -> Modules {
    Modules::of("kernel.deb", files.into_iter().collect())
}

#[test]
fn modules_follow_those_they_need() {
    let picked = modules(kernel_files())
        .pick(&["virtio_net", "tsm", "sev-guest", "sev_guest"])
        .unwrap();
    let names: Vec<_> = picked.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(
        names,
        ["failover", "net_failover", "virtio_net", "configfs", "sev-guest"]
    );
    assert_eq!(picked[0].bytes, module("failover", ""));
}

#[test]
fn a_module_that_is_missing_circular_or_broken_is_refused_by_name() {
    let pick = |files| modules(files).pick(&["virtio_net"]);
    let without: Vec<_> = kernel_files()
        .into_iter()
        .filter(|(p, _)| !p.ends_with("/failover.ko.xz"))
        .collect();
    let error = pick(without).unwrap_err();
    assert_eq!(error.code(), "image.module.missing");
    assert!(
        error.to_string().contains("failover (needed by net_failover)"),
        "{error}"
    );

    let replaced = |bytes: Vec<u8>| -> Vec<_> {
        let files = kernel_files().into_iter();
        files
            .map(|(p, b)| {
                if p.ends_with("/failover.ko.xz") {
                    (p, bytes.clone())
                } else {
                    (p, b)
                }
            })
            .collect()
    };
    assert_eq!(
        refused(pick(replaced(xz(&module("failover", "virtio_net"))))).0,
        "image.malformed"
    );
    assert_eq!(refused(pick(replaced(xz(b"no module")))).0, "image.malformed");
    assert_eq!(refused(pick(replaced(b"no xz".to_vec()))).0, "image.malformed");
    let outside = xz(&module("failover", "../../etc/passwd"));
    assert_eq!(pick(replaced(outside)).unwrap_err().code(), "image.module.missing");
}
